// Rows of several heads: the dot product of one row with each of a block's rows, and the sum of a block's rows by
// weight, a head at a time.
//
// Included by *_simd.cpp only. Both walk whole registers where a head fills some, or shares one with others evenly;
// else they walk a head at a time. Rows needed later are fetched line by line between the multiply-adds.
#pragma once

#include "core/head_lanes.h"

namespace gnas::GNAS_ISA {
namespace {

// A block of edges: which rows they read, and which rows an edge some way ahead will.
constexpr int kBlockEdges = 64;
struct EdgeBlock {
  int64_t at[kBlockEdges];
  int64_t ahead[kBlockEdges];
  int count;
};

// Numbers of a block, edges × heads, with room for a register after them.
template <class A>
struct alignas(GNAS_VECTOR_BYTES) BlockNumbers {
  A at[kBlockEdges * kHeadTile + Lanes<A>::count];
};

// Those columns of a matrix that belong to a tile of heads.
template <class T>
struct HeadRows {
  const T* base;
  int64_t stride;  // columns of the matrix
  int heads;
  int64_t dim;  // columns a head
};

// How many lanes of a register belong to one head: all, some power of two, or 0 where heads do not fit the registers.
template <class A>
GNAS_INLINE int lanes_a_head(int heads, int64_t dim) {
  constexpr int kLanes = Lanes<A>::count;
  if (dim % kLanes == 0) return dim == 0 ? 0 : kLanes;
  const bool even = dim < kLanes && (dim & (dim - 1)) == 0 && heads * dim % kLanes == 0;
  return even ? static_cast<int>(dim) : 0;
}

template <class A, class F>
GNAS_INLINE void with_lanes_a_head(int lanes, F&& f) {
  constexpr int kLanes = Lanes<A>::count;
  const auto call = [&](auto n) {
    if constexpr (n <= kLanes) f(n);
  };
  switch (lanes) {
    case 0:
      return call(std::integral_constant<int, 0>{});
    case 1:
      return call(std::integral_constant<int, 1>{});
    case 2:
      return call(std::integral_constant<int, 2>{});
    case 4:
      return call(std::integral_constant<int, 4>{});
    case 8:
      return call(std::integral_constant<int, 8>{});
    default:
      return call(std::integral_constant<int, 16>{});
  }
}

// Sums of neighbouring lanes: those of a, then those of b.
template <class V, int... I>
GNAS_INLINE V add_pairs(V a, V b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, (2 * I)...) + __builtin_shufflevector(a, b, (2 * I + 1)...);
}

// Takes N registers and folds them into one that holds the sums of N neighbouring lanes, in order.
template <int N, class A, class F>
GNAS_INLINE Vector<A> fold_units(F& next) {
  if constexpr (N == 1) {
    return next();
  } else {
    const Vector<A> first = fold_units<N / 2, A>(next);
    const Vector<A> second = fold_units<N / 2, A>(next);
    return add_pairs(first, second, std::make_integer_sequence<int, Lanes<A>::count>{});
  }
}

template <int kPer, class T>
void dots_folded(const T* one, const HeadRows<T>& rows, const EdgeBlock& block, Accumulator<T> scale,
                 Accumulator<T>* to) {
  using A = Accumulator<T>;
  constexpr int kLanes = Lanes<A>::count;
  // An edge has `units` sums of `parts` registers.
  const int64_t parts = kPer == kLanes ? rows.dim / kLanes : 1;
  const int64_t units = kPer == kLanes ? rows.heads : rows.heads * rows.dim / kLanes;
  const int64_t total = block.count * units;
  int edge = 0;
  int64_t unit = 0;
  const T* row = rows.base + block.at[0] * rows.stride;
  const T* ahead = rows.base + block.ahead[0] * rows.stride;
  const auto next = [&]() GNAS_INLINED {
    const int64_t begin = unit * parts * kLanes;
    Vector<A> sum = load(one + begin) * load(row + begin);
    __builtin_prefetch(ahead + begin);
    for (int64_t f = begin + kLanes; f < begin + parts * kLanes; f += kLanes) {
      __builtin_prefetch(ahead + f);
      sum += load(one + f) * load(row + f);
    }
    if (++unit == units) {
      unit = 0;
      if (++edge < block.count) {
        row = rows.base + block.at[edge] * rows.stride;
        ahead = rows.base + block.ahead[edge] * rows.stride;
      }
    }
    return sum;
  };
  int64_t done = 0;
  for (; done + kPer <= total; done += kPer) {
    store<A>(fold_units<kPer, A>(next) * scale, to);
    to += kLanes;
  }
  if (done == total) return;
  const auto next_if_any = [&] { return done++ < total ? next() : Vector<A>{}; };
  store<A>(fold_units<kPer, A>(next_if_any) * scale, to);
}

template <class T>
void dots_by_head(const T* one, const HeadRows<T>& rows, const EdgeBlock& block, Accumulator<T> scale,
                  Accumulator<T>* to) {
  using A = Accumulator<T>;
  constexpr int kLanes = Lanes<A>::count;
  for (int edge = 0; edge < block.count; ++edge) {
    const T* row = rows.base + block.at[edge] * rows.stride;
    const T* ahead = rows.base + block.ahead[edge] * rows.stride;
    const T* side = one;
    for (int head = 0; head < rows.heads; ++head) {
      __builtin_prefetch(ahead);
      Vector<A> sum = {};
      int64_t f = 0;
      for (; f + kLanes <= rows.dim; f += kLanes) {
        __builtin_prefetch(ahead + f);
        sum += load(side + f) * load(row + f);
      }
      A dot = fold<A>(sum, 1, Add{})[0];
      for (; f < rows.dim; ++f) dot += widen(side[f]) * widen(row[f]);
      *to++ = dot * scale;
      side += rows.dim;
      row += rows.dim;
      ahead += rows.dim;
    }
  }
}

// to[e, h] = scale * <one[h], row of e[h]>. What stands up to a register behind these is overwritten.
template <class T>
GNAS_INLINE void dots(const T* one, const HeadRows<T>& rows, const EdgeBlock& block, Accumulator<T> scale,
                      Accumulator<T>* to) {
  with_lanes_a_head<Accumulator<T>>(lanes_a_head<Accumulator<T>>(rows.heads, rows.dim), [&](auto per) {
    if constexpr (per == 0)
      dots_by_head<T>(one, rows, block, scale, to);
    else
      dots_folded<per, T>(one, rows, block, scale, to);
  });
}

template <int kPer, class V, int... I>
GNAS_INLINE V repeat_lanes(V v, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(v, v, (I / kPer)...);
}

// Which head a register's first column belongs to, counted rather than divided.
struct HeadOf {
  int64_t head;
  int64_t column;  // within the head

  template <int kPer, int kLanes>
  GNAS_INLINE void step(int64_t dim) {
    if constexpr (kPer < kLanes) {
      head += kLanes / kPer;
    } else {
      column += kLanes;
      const bool next = column == dim;
      head += next;
      column = next ? 0 : column;
    }
  }
};

template <int kPer, int N, class T>
GNAS_INLINE void add_columns(const Accumulator<T>* weight, const HeadRows<T>& rows, const EdgeBlock& block,
                             const int64_t* ahead, int64_t column, HeadOf& at, Accumulator<T>* to) {
  using A = Accumulator<T>;
  constexpr int kLanes = Lanes<A>::count;
  constexpr auto kEach = std::make_integer_sequence<int, kLanes>{};
  int64_t head[N];
  Vector<A> sum[N];
  unrolled<N>([&](auto v) {
    head[v] = at.head;
    at.template step<kPer, kLanes>(rows.dim);
    sum[v] = load(to + column + v * kLanes);
  });
  for (int edge = 0; edge < block.count; ++edge) {
    const T* row = rows.base + block.at[edge] * rows.stride + column;
    const T* later = rows.base + ahead[edge] * rows.stride + column;
    unrolled<N>([&](auto v) {
      if constexpr (v * kLanes * static_cast<int>(sizeof(T)) % 64 == 0) __builtin_prefetch(later + v * kLanes);
      if constexpr (kPer == kLanes)
        sum[v] += weight[head[v]] * load(row + v * kLanes);
      else
        sum[v] += repeat_lanes<kPer>(load(weight + head[v]), kEach) * load(row + v * kLanes);
    });
    weight += rows.heads;
  }
  unrolled<N>([&](auto v) { store<A>(sum[v], to + column + v * kLanes); });
}

template <int kPer, class T>
void add_rows_folded(const Accumulator<T>* weight, const HeadRows<T>& rows, const EdgeBlock& block,
                     const int64_t* ahead, Accumulator<T>* to) {
  constexpr int kLanes = Lanes<Accumulator<T>>::count;
  const int64_t width = rows.heads * rows.dim;
  int64_t column = 0;
  HeadOf at{0, 0};
  for (; column + 8 * kLanes <= width; column += 8 * kLanes)
    add_columns<kPer, 8, T>(weight, rows, block, ahead, column, at, to);
  for (; column + 4 * kLanes <= width; column += 4 * kLanes)
    add_columns<kPer, 4, T>(weight, rows, block, ahead, column, at, to);
  for (; column + kLanes <= width; column += kLanes)
    add_columns<kPer, 1, T>(weight, rows, block, ahead, column, at, to);
}

template <class T>
void add_rows_by_head(const Accumulator<T>* weight, const HeadRows<T>& rows, const EdgeBlock& block,
                      const int64_t* ahead, Accumulator<T>* to) {
  using A = Accumulator<T>;
  constexpr int kLanes = Lanes<A>::count;
  for (int edge = 0; edge < block.count; ++edge) {
    const T* row = rows.base + block.at[edge] * rows.stride;
    const T* later = rows.base + ahead[edge] * rows.stride;
    A* sum = to;
    for (int head = 0; head < rows.heads; ++head) {
      const A w = *weight++;
      __builtin_prefetch(later);
      int64_t f = 0;
      for (; f + kLanes <= rows.dim; f += kLanes) {
        __builtin_prefetch(later + f);
        store<A>(load(sum + f) + w * load(row + f), sum + f);
      }
      for (; f < rows.dim; ++f) sum[f] += w * widen(row[f]);
      sum += rows.dim;
      row += rows.dim;
      later += rows.dim;
    }
  }
}

// to[h] += sum over the block's edges e of weight[e, h] * row of e[h]. Weights stand with room for a register behind.
template <class T>
GNAS_INLINE void add_rows(const Accumulator<T>* weight, const HeadRows<T>& rows, const EdgeBlock& block,
                          const int64_t* ahead, Accumulator<T>* to) {
  with_lanes_a_head<Accumulator<T>>(lanes_a_head<Accumulator<T>>(rows.heads, rows.dim), [&](auto per) {
    if constexpr (per == 0)
      add_rows_by_head<T>(weight, rows, block, ahead, to);
    else
      add_rows_folded<per, T>(weight, rows, block, ahead, to);
  });
}

}  // namespace
}  // namespace gnas::GNAS_ISA
