// The sum over a row's edges. For spmm_simd.cpp.
//
// Edges are walked outside, columns inside, in blocks that fit the registers. The row that is needed `ahead` edges
// from now is prefetched line by line between the multiply-adds: in a burst the same prefetches gain nothing.
#pragma once

#include "ops/spmm/graph.h"

namespace gnas::GNAS_ISA {
namespace {

// Whose weight an edge has: none; its own, in the order of the entries; one that is looked up (placed elsewhere, or one
// head of several); or those of all heads, one a lane.
enum class Weights { none, entry, looked_up, lanes };

// The head of each of a register's columns, of which the first is `column`.
template <class A>
GNAS_INLINE IntVector<A> heads_from(int64_t column, int64_t dim) {
  typename Lanes<A>::Integer head[Lanes<A>::count];
  for (int lane = 0; lane < Lanes<A>::count; ++lane)
    head[lane] = static_cast<typename Lanes<A>::Integer>((column + lane) / dim);
  return bit_copy<IntVector<A>>(head);
}

template <class T, class I, Weights kWeights, int N>
GNAS_INLINE void sum_block(const Graph<T, I>& g, int64_t column, int64_t head, const Piece<T, I>& p) {
  using A = Accumulator<T>;
  constexpr int kLanes = Lanes<A>::count;
  // Few sums would wait for each other: edges take turns among copies, which are added up at the end.
  constexpr int kTurns = N == 1 ? 4 : N == 2 ? 2 : 1;
  Vector<A> sum[kTurns][N] = {};
  // The head of each lane; of one register only where it is not asked for.
  IntVector<A> head_of[kWeights == Weights::lanes ? N : 1] = {};
  if constexpr (kWeights == Weights::lanes) {
    unrolled<N>([&](auto v) { head_of[v] = heads_from<A>(column + v * kLanes, g.dim); });
  }
  const auto take = [&](int64_t e, Vector<A>(&into)[N]) __attribute__((always_inline)) {
    const T* row = g.row_of(e) + column;
    const uintptr_t ahead = g.row_ahead(e) + column * sizeof(T);
    A w = 1;
    Vector<A> heads{};
    if constexpr (kWeights == Weights::entry) {
      w = widen(g.weight[e]);
    } else if constexpr (kWeights == Weights::looked_up) {
      if (g.edge != nullptr) __builtin_prefetch(g.weight + static_cast<uint64_t>(g.edge[e + g.ahead]) * g.heads);
      w = g.weight_of(e, head);
    } else if constexpr (kWeights == Weights::lanes) {
      heads = g.weights_of(e);
    }
    unrolled<N>([&](auto v) __attribute__((always_inline)) {
      if constexpr (v * kLanes * static_cast<int>(sizeof(T)) % kLine == 0) prefetch(ahead + v * kLanes * sizeof(T));
      const Vector<A> value = load(row + v * kLanes);
      if constexpr (kWeights == Weights::none)
        into[v] += value;
      else if constexpr (kWeights == Weights::lanes)
        into[v] += __builtin_shuffle(heads, head_of[v]) * value;
      else
        into[v] += w * value;
    });
  };
  int64_t e = p.begin;
  for (; e + kTurns <= p.end; e += kTurns) {
    unrolled<kTurns>([&](auto turn) __attribute__((always_inline)) { take(e + turn, sum[turn]); });
  }
  if constexpr (kTurns > 1) {
    for (; e < p.end; ++e) take(e, sum[0]);
    unrolled<N>([&](auto v) __attribute__((always_inline)) {
      if constexpr (kTurns == 4)
        sum[0][v] = (sum[0][v] + sum[1][v]) + (sum[2][v] + sum[3][v]);
      else
        sum[0][v] += sum[1][v];
    });
  }
  put<T, I, N>(g, p, column, sum[0]);
}

// The weight of an edge that has one, or none.
template <Weights kWeights, class T, class I>
GNAS_INLINE Accumulator<T> one_weight(const Graph<T, I>& g, int64_t e, int64_t head) {
  if constexpr (kWeights == Weights::none) return 1;
  if constexpr (kWeights == Weights::entry) return widen(g.weight[e]);
  return g.weight_of(e, head);
}

// One column or two: a register would be all but empty. Two sums take turns, for one would wait for itself.
template <class T, class I, Weights kWeights, int kColumns>
GNAS_INLINE void sum_few(const Graph<T, I>& g, int64_t column, int64_t head, const Piece<T, I>& p) {
  using A = Accumulator<T>;
  A sum[2][kColumns] = {};
  const auto take = [&](int64_t e, A(&into)[kColumns]) GNAS_INLINED {
    const T* row = g.row_of(e) + column;
    prefetch(g.row_ahead(e) + column * sizeof(T));
    const A w = one_weight<kWeights>(g, e, head);
    unrolled<kColumns>([&](auto f) GNAS_INLINED { into[f] += w * widen(row[f]); });
  };
  int64_t e = p.begin;
  for (; e + 2 <= p.end; e += 2) {
    take(e, sum[0]);
    take(e + 1, sum[1]);
  }
  if (e < p.end) take(e, sum[0]);
  for (int f = 0; f < kColumns; ++f) put_one(g, p, column + f, sum[0][f] + sum[1][f]);
}

// Fewer columns than a register has lanes, of several heads.
template <class T, class I>
void sum_heads(const Graph<T, I>& g, int64_t column, int64_t until, const Piece<T, I>& p) {
  using A = Accumulator<T>;
  A sum[Lanes<A>::count] = {};
  const int64_t count = until - column;
  for (int64_t e = p.begin; e < p.end; ++e) {
    const T* row = g.row_of(e) + column;
    prefetch(g.row_ahead(e) + column * sizeof(T));
    for (int64_t f = 0; f < count; ++f) sum[f] += g.weight_of(e, (column + f) / g.dim) * widen(row[f]);
  }
  for (int64_t f = 0; f < count; ++f) put_one(g, p, column + f, sum[f]);
}

// No more columns than a register, or a part of one, has lanes.
template <class T, class I, Weights kWeights, int kCount>
GNAS_INLINE void sum_part(const Graph<T, I>& g, int64_t column, int64_t until, int64_t head, const Piece<T, I>& p) {
  using A = Accumulator<T>;
  const int64_t count = until - column;
  Part<A, kCount> sum[2]{};
  const auto take = [&](int64_t e, Part<A, kCount>& into) GNAS_INLINED {
    prefetch(g.row_ahead(e) + column * sizeof(T));
    into += one_weight<kWeights>(g, e, head) * g.template part_of<kCount>(e, column);
  };
  int64_t e = p.begin;
  for (; e + 2 <= p.end; e += 2) {
    take(e, sum[0]);
    take(e + 1, sum[1]);
  }
  if (e < p.end) take(e, sum[0]);
  put_part<kCount>(g, p, column, count, sum[0] + sum[1]);
}

// Calls f with how many columns a kernel is for that takes so many: one or two, or up to the lanes of a part of a
// register; halves are widened a register at a time.
template <class T, class F>
GNAS_INLINE void for_columns(int64_t count, const F& f) {
  constexpr int kLanes = Lanes<Accumulator<T>>::count;
  constexpr bool kParts = std::is_same_v<T, Accumulator<T>>;
  if (count == 0) return;
  if (count == 1) return f(std::integral_constant<int, 1>{});
  if (count == 2) return f(std::integral_constant<int, 2>{});
  if constexpr (kParts && kLanes > 4)
    if (count <= 4) return f(std::integral_constant<int, 4>{});
  if constexpr (kParts && kLanes > 8)
    if (count <= 8) return f(std::integral_constant<int, 8>{});
  f(std::integral_constant<int, kLanes>{});
}

// Fewer columns than a register has lanes.
template <class T, class I, Weights kWeights, int kColumns>
GNAS_INLINE void sum_narrow(const Graph<T, I>& g, int64_t column, int64_t until, int64_t head, const Piece<T, I>& p) {
  if constexpr (kColumns <= 2)
    sum_few<T, I, kWeights, kColumns>(g, column, head, p);
  else
    sum_part<T, I, kWeights, kColumns>(g, column, until, head, p);
}
template <class T, class I, Weights kWeights>
void sum_narrow(const Graph<T, I>& g, int64_t column, int64_t until, int64_t head, const Piece<T, I>& p) {
  for_columns<T>(until - column,
                 [&](auto columns) GNAS_INLINED { sum_narrow<T, I, kWeights, columns>(g, column, until, head, p); });
}

// The columns from `column` to `until`, at least a register's worth. The last block is moved back so that it is full:
// the columns that two blocks share are computed twice, alike.
template <class T, class I, Weights kWeights>
GNAS_INLINE void sum_columns(const Graph<T, I>& g, int64_t column, int64_t until, int64_t head, const Piece<T, I>& p) {
  constexpr int kLanes = Lanes<Accumulator<T>>::count;
  while (column < until) {
    const int64_t left = until - column;
    if (left >= 4 * kLanes) {
      sum_block<T, I, kWeights, 4>(g, column, head, p);
      column += 4 * kLanes;
      continue;
    }
    if (left < kLanes && g.a.hop_weight != nullptr) {  // a hop must not count a column twice
      if constexpr (kWeights == Weights::lanes)
        sum_heads<T, I>(g, column, until, p);
      else
        sum_narrow<T, I, kWeights>(g, column, until, head, p);
      return;
    }
    column = left < kLanes ? until - kLanes : column;
    sum_block<T, I, kWeights, 1>(g, column, head, p);
    column += kLanes;
  }
}

template <class T, class I>
void sum_piece(const Graph<T, I>& g, const Piece<T, I>& p) {
  constexpr int64_t kLanes = Lanes<Accumulator<T>>::count;
  const int64_t width = g.a.width;
  if (g.heads > 1 && (width < kLanes || g.heads > kLanes)) {
    for (int64_t head = 0; head < g.heads; ++head) {
      const int64_t column = head * g.dim;
      if (g.dim < kLanes)
        sum_narrow<T, I, Weights::looked_up>(g, column, column + g.dim, head, p);
      else
        sum_columns<T, I, Weights::looked_up>(g, column, column + g.dim, head, p);
    }
  } else if (width < kLanes) {
    sum_narrow<T, I, Weights::looked_up>(g, 0, width, 0, p);
  } else if (g.heads > 1) {
    sum_columns<T, I, Weights::lanes>(g, 0, width, -1, p);
  } else if (g.weight == nullptr) {
    sum_columns<T, I, Weights::none>(g, 0, width, 0, p);
  } else if (g.edge == nullptr) {
    sum_columns<T, I, Weights::entry>(g, 0, width, 0, p);
  } else {
    sum_columns<T, I, Weights::looked_up>(g, 0, width, 0, p);
  }
}

// A row of fewer columns than a register has lanes, as `for_columns` has them.
template <class T, class I, Weights kWeights, int kColumns>
struct NarrowSum {
  GNAS_INLINE void operator()(const Graph<T, I>& g, const Piece<T, I>& p) const {
    sum_narrow<T, I, kWeights, kColumns>(g, 0, g.a.width, 0, p);
  }
};

// A row whose columns are N registers, no more and no less.
template <class T, class I, Weights kWeights, int N>
struct WholeSum {
  GNAS_INLINE void operator()(const Graph<T, I>& g, const Piece<T, I>& p) const {
    sum_block<T, I, kWeights, N>(g, 0, 0, p);
  }
};

// Calls walk with the kernel for this width and these weights, if there is one: chosen once, not again in every row,
// which is a quarter of the time at 16 columns.
template <class T, class I, Weights kWeights, class Walk>
bool with_whole_sum_of(const Graph<T, I>& g, const Walk& walk) {
  constexpr int kLanes = Lanes<Accumulator<T>>::count;
  if (g.a.width < kLanes) {
    for_columns<T>(g.a.width, [&](auto columns) { walk(NarrowSum<T, I, kWeights, columns>{}); });
    return true;
  }
  switch (g.a.width % kLanes == 0 ? g.a.width / kLanes : 0) {
    case 1:
      walk(WholeSum<T, I, kWeights, 1>{});
      return true;
    case 2:
      walk(WholeSum<T, I, kWeights, 2>{});
      return true;
    case 4:
      walk(WholeSum<T, I, kWeights, 4>{});
      return true;
    case 8:
      walk(WholeSum<T, I, kWeights, 8>{});
      return true;
    default:
      return false;
  }
}
template <class T, class I, class Walk>
bool with_whole_sum(const Graph<T, I>& g, const Walk& walk) {
  // For the types that most models have, for the size of the library.
  if constexpr (std::is_same_v<T, float> || std::is_same_v<T, bf16>) {
    if (g.heads > 1 || g.select != nullptr || g.a.reduce == Reduce::max || g.a.reduce == Reduce::min) return false;
    if (g.weight == nullptr) return with_whole_sum_of<T, I, Weights::none>(g, walk);
    if (g.edge == nullptr) return with_whole_sum_of<T, I, Weights::entry>(g, walk);
    return with_whole_sum_of<T, I, Weights::looked_up>(g, walk);
  }
  return false;
}

}  // namespace
}  // namespace gnas::GNAS_ISA
