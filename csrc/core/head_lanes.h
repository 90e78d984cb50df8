// Numbers of several heads in the lanes of a register, edge after edge as they stand in memory: which lane belongs to
// which head, and what each head's lanes come to.
//
// Included by *_simd.cpp only. With 1, 2, 4 or 8 heads every register has the same pattern; with 3, 5, 6 or 7 the
// pattern comes again after that many registers.
#pragma once

#include "core/vector.h"

namespace gnas::GNAS_ISA {
namespace {

// Heads are taken this many at a time, so that patterns and buffers stand on the stack.
constexpr int kHeadTile = 16;

template <class A>
constexpr int kPatternLanes =
    (kHeadTile - 1) * Lanes<A>::count > kHeadTile ? (kHeadTile - 1) * Lanes<A>::count : kHeadTile;

// A number a head, laid out as the lanes ask for it.
template <class A>
struct alignas(GNAS_VECTOR_BYTES) Pattern {
  A lane[kPatternLanes<A>];

  GNAS_INLINE Vector<A> at(int place) const { return load(lane + place * Lanes<A>::count); }
  GNAS_INLINE void put(int place, Vector<A> v) { store<A>(v, lane + place * Lanes<A>::count); }
};

// After how many registers the lanes' heads repeat; 1 for those numbers of heads that divide a register.
template <class A>
GNAS_INLINE int period_of(int heads) {
  int a = heads;
  int b = Lanes<A>::count;
  while (b != 0) {
    const int rest = a % b;
    a = b;
    b = rest;
  }
  return heads / a;
}

template <class A>
GNAS_INLINE Vector<A> first_lanes() {
  Vector<A> v;
  for (int lane = 0; lane < Lanes<A>::count; ++lane) v[lane] = static_cast<A>(lane);
  return v;
}

// The first `count` lanes of v, `fill` in the others.
template <class A>
GNAS_INLINE Vector<A> keep_lanes(Vector<A> v, int64_t count, A fill) {
  return first_lanes<A>() < static_cast<A>(count) ? v : Vector<A>{} + fill;
}

// `count` elements from p on, fewer than a register has lanes, and `fill` after them. Nothing at or beyond `limit` is
// read.
template <class T>
GNAS_INLINE Vector<Accumulator<T>> load_part(const T* p, int64_t count, const T* limit, Accumulator<T> fill) {
  using A = Accumulator<T>;
  if (__builtin_expect(limit - p >= Lanes<A>::count, 1)) return keep_lanes<A>(load(p), count, fill);
  T part[Lanes<A>::count] = {};
  for (int64_t i = 0; i < count; ++i) part[i] = p[i];
  return keep_lanes<A>(load(part), count, fill);
}

template <class T>
GNAS_INLINE Vector<Accumulator<T>> load_some(const T* p, int64_t count, const T* limit, Accumulator<T> fill) {
  return count >= Lanes<Accumulator<T>>::count ? load(p) : load_part(p, count, limit, fill);
}

// The first `count` lanes to p. What lies between them and `limit` may be overwritten.
template <class T>
GNAS_INLINE void store_part(Vector<Accumulator<T>> v, T* p, int64_t count, T* limit) {
  if (__builtin_expect(limit - p >= Lanes<Accumulator<T>>::count, 1)) {
    store_as(v, p);
    return;
  }
  T part[Lanes<Accumulator<T>>::count];
  store_as(v, part);
  for (int64_t i = 0; i < count; ++i) p[i] = part[i];
}

template <class T>
GNAS_INLINE void store_some(Vector<Accumulator<T>> v, T* p, int64_t count, T* limit) {
  if (count >= Lanes<Accumulator<T>>::count)
    store_as(v, p);
  else
    store_part(v, p, count, limit);
}

template <int kBy, class V, int... I>
GNAS_INLINE V rotate(V v, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(v, v, ((I + kBy) % static_cast<int>(sizeof...(I)))...);
}

struct Add {
  template <class V>
  GNAS_INLINE V operator()(V a, V b) const {
    return a + b;
  }
};
// NaN in either is left out: it shows in the sum that follows.
struct Max {
  template <class V>
  GNAS_INLINE V operator()(V a, V b) const {
    return b > a ? b : a;
  }
};

// Each lane becomes what all the lanes of its head come to; `heads` divides the number of lanes.
template <class A, class Op>
GNAS_INLINE Vector<A> fold(Vector<A> v, int heads, Op op) {
  constexpr int kLanes = Lanes<A>::count;
  constexpr auto kEach = std::make_integer_sequence<int, kLanes>{};
  if constexpr (kLanes >= 16)
    if (heads <= 8) v = op(v, rotate<8>(v, kEach));
  if constexpr (kLanes >= 8)
    if (heads <= 4) v = op(v, rotate<4>(v, kEach));
  if constexpr (kLanes >= 4)
    if (heads <= 2) v = op(v, rotate<2>(v, kEach));
  if (heads <= 1) v = op(v, rotate<1>(v, kEach));
  return v;
}

// From a number a head to a pattern.
template <class A>
GNAS_INLINE void spread(const A* by_head, int heads, int period, Pattern<A>& to) {
  int head = 0;
  for (int lane = 0; lane < period * Lanes<A>::count; ++lane) {
    to.lane[lane] = by_head[head];
    head = head + 1 == heads ? 0 : head + 1;
  }
}

// The same of a whole pattern, where heads and lanes do not divide each other.
template <class A, class Op>
void fold_pattern(Pattern<A>& pattern, int heads, int period, Op op) {
  if (period == 1) {
    pattern.put(0, fold<A>(pattern.at(0), heads, op));
    return;
  }
  A by_head[kHeadTile];
  for (int head = 0; head < heads; ++head) by_head[head] = pattern.lane[head];
  int head = 0;
  for (int lane = heads; lane < period * Lanes<A>::count; ++lane) {
    by_head[head] = op(by_head[head], pattern.lane[lane]);
    head = head + 1 == heads ? 0 : head + 1;
  }
  spread<A>(by_head, heads, period, pattern);
}

// f(offset, lanes in use, place in the pattern) for each register of n numbers.
template <class A, class F>
GNAS_INLINE void each_register(int64_t n, int period, F&& f) {
  constexpr int64_t kLanes = Lanes<A>::count;
  int64_t i = 0;
  int place = 0;
  for (; i + kLanes <= n; i += kLanes) {
    f(i, kLanes, place);
    place = place + 1 == period ? 0 : place + 1;
  }
  if (i < n) f(i, n - i, place);
}

// acc[place] = step(acc[place], offset, lanes in use, place) for each register of n numbers.
template <class A, class F>
GNAS_INLINE void accumulate_lanes(int64_t n, int period, Pattern<A>& acc, F&& step) {
  if (period == 1) {
    Vector<A> held = acc.at(0);
    each_register<A>(n, 1,
                     [&](int64_t i, int64_t count, int place) GNAS_INLINED { held = step(held, i, count, place); });
    acc.put(0, held);
  } else {
    each_register<A>(n, period, [&](int64_t i, int64_t count, int place) GNAS_INLINED {
      acc.put(place, step(acc.at(place), i, count, place));
    });
  }
}

template <class A>
GNAS_INLINE void fill(Pattern<A>& pattern, int period, A value) {
  for (int place = 0; place < period; ++place) pattern.put(place, Vector<A>{} + value);
}

}  // namespace
}  // namespace gnas::GNAS_ISA
