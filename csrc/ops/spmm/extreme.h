// The max or min over a row's edges, with the edge that won. For spmm_simd.cpp.
//
// Min is the max of the negated values. The first of equal values wins; NaN wins over all.
#pragma once

#include "ops/spmm/graph.h"

namespace gnas::GNAS_ISA {
namespace {

// The edge at `offset` of a piece against the best so far. The first one takes every lane, so that the others need no
// test for an empty one.
template <class A>
GNAS_INLINE void challenge(Vector<A>& best, IntVector<A>& winner, Vector<A> value, int64_t offset) {
  if (offset == 0) {
    best = value;
    winner = IntVector<A>{};
    return;
  }
  // Not "not greater": false where either is NaN. So a NaN takes the lead, unless one holds it.
  const IntVector<A> take = ~(value <= best) & (best == best);
  best = take ? value : best;
  winner = take ? IntVector<A>{} + static_cast<typename Lanes<A>::Integer>(offset) : winner;
}

template <class T, class I, int N>
GNAS_INLINE void extreme_block(const Graph<T, I>& g, int64_t column, int64_t head, Accumulator<T> sign,
                               const Piece<T, I>& p) {
  using A = Accumulator<T>;
  constexpr int kLanes = Lanes<A>::count;
  Vector<A> best[N] = {};
  IntVector<A> winner[N];
  unrolled<N>([&](auto v) { winner[v] = IntVector<A>{} - 1; });
  for (int64_t e = p.begin; e < p.end; ++e) {
    const T* row = g.row_of(e) + column;
    const uintptr_t ahead = g.row_ahead(e) + column * sizeof(T);
    const A w = sign * g.weight_of(e, head);
    unrolled<N>([&](auto v) __attribute__((always_inline)) {
      if constexpr (v * kLanes * static_cast<int>(sizeof(T)) % kLine == 0) prefetch(ahead + v * kLanes * sizeof(T));
      challenge<A>(best[v], winner[v], w * load(row + v * kLanes), e - p.begin);
    });
  }
  if (p.begin < p.end) unrolled<N>([&](auto v) { best[v] = sign * best[v]; });  // no -0 in rows without edges
  put<T, I, N>(g, p, column, best);
  if (p.arg == nullptr) return;
  unrolled<N>([&](auto v) {
    I* to = p.arg + column + v * kLanes;
    for (int lane = 0; lane < kLanes; ++lane) to[lane] = static_cast<I>(winner[v][lane]);
    if (p.begin < p.end) {
      for (int lane = 0; lane < kLanes; ++lane) to[lane] += static_cast<I>(p.begin);
    }
  });
}

// Fewer columns than a register has lanes.
template <class T, class I>
void extreme_narrow(const Graph<T, I>& g, int64_t column, int64_t until, int64_t head, Accumulator<T> sign,
                    const Piece<T, I>& p) {
  using A = Accumulator<T>;
  constexpr int kLanes = Lanes<A>::count;
  const int64_t count = until - column;
  if (count == 0) return;
  Vector<A> best{};
  IntVector<A> winner = IntVector<A>{} - 1;
  for (int64_t e = p.begin; e < p.end; ++e) {
    prefetch(g.row_ahead(e) + column * sizeof(T));
    const A w = sign * g.weight_of(e, head);
    challenge<A>(best, winner, w * g.template part_of<kLanes>(e, column), e - p.begin);
  }
  if (p.begin < p.end) best = sign * best;
  put_part<kLanes>(g, p, column, count, best);
  if (p.arg == nullptr) return;
  for (int64_t f = 0; f < count; ++f) p.arg[column + f] = static_cast<I>(winner[f] + (p.begin < p.end ? p.begin : 0));
}

template <class T, class I>
void extreme_piece(const Graph<T, I>& g, const Piece<T, I>& p) {
  constexpr int kLanes = Lanes<Accumulator<T>>::count;
  const Accumulator<T> sign = g.a.reduce == Reduce::min ? -1 : 1;
  for (int64_t head = 0; head < g.heads; ++head) {
    const int64_t until = (head + 1) * g.dim;
    int64_t column = head * g.dim;
    if (g.dim < kLanes) {
      extreme_narrow<T, I>(g, column, until, head, sign, p);
      continue;
    }
    while (column < until) {
      if (until - column >= 4 * kLanes) {
        extreme_block<T, I, 4>(g, column, head, sign, p);
        column += 4 * kLanes;
      } else {
        column = until - column < kLanes ? until - kLanes : column;
        extreme_block<T, I, 1>(g, column, head, sign, p);
        column += kLanes;
      }
    }
  }
}

}  // namespace
}  // namespace gnas::GNAS_ISA
