// What the kernels of this room read: the arrays with their types, and an edge's weight. For spmm_simd.cpp.
#pragma once

#include "core/narrow_rows.h"
#include "core/past.h"
#include "core/vector.h"
#include "ops/spmm/spmm.h"

namespace gnas::GNAS_ISA {
namespace {

constexpr int kLine = 64;

template <class T, class I>
struct Graph {
  explicit Graph(const SpmmArgs& args)
      : indptr(static_cast<const I*>(args.indptr)),
        indices(static_cast<const I*>(args.indices)),
        edge(static_cast<const I*>(args.edge)),
        weight(static_cast<const T*>(args.weight)),
        x(static_cast<const T*>(args.x)),
        narrow(x, args.cols, args.x_stride, args.width),
        select(static_cast<const I*>(args.select)),
        heads(args.heads),
        dim(args.heads > 1 ? args.width / args.heads : args.width),
        past(writes_past(args)),
        a(args) {}

  // Is the result larger than the caches, and made of whole registers of float32 that stand where they may be written
  // past them? Not between hops: the next one reads it.
  static bool writes_past(const SpmmArgs& args) {
    constexpr int64_t kLanes = Lanes<float>::count;
    return std::is_same_v<T, float> && args.hop_weight == nullptr && args.heads == 1 &&
           args.rows * args.out_stride * static_cast<int64_t>(sizeof(float)) >= kPastBytes &&
           args.width % kLanes == 0 && args.out_stride % kLanes == 0 &&
           reinterpret_cast<uintptr_t>(args.out) % GNAS_VECTOR_BYTES == 0;
  }

  GNAS_INLINE int64_t place(int64_t e) const { return edge == nullptr ? e : static_cast<int64_t>(edge[e]); }
  GNAS_INLINE Accumulator<T> weight_of(int64_t e, int64_t head) const {
    return weight == nullptr ? 1 : widen(weight[place(e) * heads + head]);
  }
  // The weights of all heads, one a lane; for no more heads than lanes.
  GNAS_INLINE Vector<Accumulator<T>> weights_of(int64_t e) const {
    using A = Accumulator<T>;
    const int64_t from = place(e) * heads;
    if (from + Lanes<A>::count <= a.nnz * heads) return load(weight + from);
    Vector<A> last{};
    for (int64_t head = 0; head < heads; ++head) last[head] = widen(weight[from + head]);
    return last;
  }
  GNAS_INLINE const T* row_of(int64_t e) const { return x + static_cast<int64_t>(indices[e]) * a.x_stride; }
  // Its columns from `column` on, and beyond: no more lanes than a register's.
  template <int kCount>
  GNAS_INLINE Part<Accumulator<T>, kCount> part_of(int64_t e, int64_t column) const {
    return narrow.template at<kCount>(static_cast<int64_t>(indices[e]) * a.x_stride + column);
  }
  // Where the row of a later edge begins, to prefetch it. That edge is not checked yet, so this is only a number.
  GNAS_INLINE uintptr_t row_ahead(int64_t e) const {
    return reinterpret_cast<uintptr_t>(x) + static_cast<uint64_t>(indices[e + ahead]) * (a.x_stride * sizeof(T));
  }

  const I* indptr;
  const I* indices;
  const I* edge;
  const T* weight;
  const T* x;
  NarrowRows<T> narrow;  // of x
  const I* select;
  int64_t heads;
  int64_t dim;        // columns a head
  bool past;          // sums are written past the caches
  int64_t ahead = 0;  // how many edges ahead rows are prefetched; never beyond the last edge
  const SpmmArgs& a;
};

GNAS_INLINE void prefetch(uintptr_t address) { __builtin_prefetch(reinterpret_cast<const void*>(address)); }

// One piece of a row, or all of it: the edges begin … end-1, and where their sum, or winner, goes.
template <class T, class I>
struct Piece {
  int64_t begin;
  int64_t end;
  Accumulator<T>* value;  // a slot for a part of a row; null for a whole row
  I* arg;                 // max and min: the winners
  int64_t row;            // a whole row
  Accumulator<T> scale;   // of a whole row: the mean divides
};

// Writes results of a whole row from `column` on, and what a hop makes of them.
template <class T, class I, class V, class Load, class Store>
GNAS_INLINE void finish(const Graph<T, I>& g, int64_t row, int64_t column, V value, const Load& load_at,
                        const Store& store_at) {
  using A = Accumulator<T>;
  const SpmmArgs& a = g.a;
  if (a.out != nullptr) store_at(value, static_cast<T*>(a.out) + row * a.out_stride + column);
  if (a.hop_weight == nullptr) return;
  const int64_t place = row * a.sum_stride + column;
  const A* weight = static_cast<const A*>(a.hop_weight);
  const V before = a.hop == 1 ? weight[0] * load_at(static_cast<const T*>(a.first) + place)
                              : load_at(static_cast<const A*>(a.sum) + place);
  const V sum = before + weight[a.hop] * value;
  if (a.final != nullptr)
    store_at(sum, static_cast<T*>(a.final) + place);
  else
    store_at(sum, static_cast<A*>(a.sum) + place);
}

// Writes N registers of results that begin at `column`.
template <class T, class I, int N>
GNAS_INLINE void put(const Graph<T, I>& g, const Piece<T, I>& p, int64_t column, Vector<Accumulator<T>> (&value)[N]) {
  using A = Accumulator<T>;
  constexpr int kLanes = Lanes<A>::count;
  if (p.value != nullptr) {
    unrolled<N>([&](auto v) { store<A>(value[v], p.value + column + v * kLanes); });
    return;
  }
  if constexpr (std::is_same_v<T, float>) {
    if (g.past) {
      float* const to = static_cast<float*>(g.a.out) + p.row * g.a.out_stride + column;
      unrolled<N>([&](auto v) __attribute__((always_inline)) { store_past(p.scale * value[v], to + v * kLanes); });
      return;
    }
  }
  const auto load_at = [](const auto* from) __attribute__((always_inline)) { return load(from); };
  const auto store_at = [](Vector<A> v, auto* to) __attribute__((always_inline)) { store_as(v, to); };
  unrolled<N>([&](auto v) __attribute__((always_inline)) {
    finish(g, p.row, column + v * kLanes, p.scale * value[v], load_at, store_at);
  });
}

template <class T, class I>
GNAS_INLINE void put_one(const Graph<T, I>& g, const Piece<T, I>& p, int64_t column, Accumulator<T> value) {
  using A = Accumulator<T>;
  if (p.value != nullptr) {
    p.value[column] = value;
    return;
  }
  const auto load_at = [](const auto* from) { return static_cast<A>(widen(*from)); };
  const auto store_at = [](A v, auto* to) { narrow(v, to); };
  finish(g, p.row, column, static_cast<A>(p.scale * value), load_at, store_at);
}

// Writes `count` results that begin at `column`.
template <int kCount, class T, class I>
GNAS_INLINE void put_part(const Graph<T, I>& g, const Piece<T, I>& p, int64_t column, int64_t count,
                          Part<Accumulator<T>, kCount> value) {
  using A = Accumulator<T>;
  A all[kCount];
  std::memcpy(all, &value, sizeof all);
  if (p.value == nullptr && g.a.hop_weight == nullptr) {
    T* const to = static_cast<T*>(g.a.out) + p.row * g.a.out_stride + column;
    for (int64_t f = 0; f < count; ++f) narrow(static_cast<A>(p.scale * all[f]), to + f);
    return;
  }
  for (int64_t f = 0; f < count; ++f) put_one(g, p, column + f, all[f]);
}

}  // namespace
}  // namespace gnas::GNAS_ISA
