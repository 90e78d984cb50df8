#include "core/bounds.h"
#include "core/partition.h"
#include "core/vector.h"
#include "ops/sddmm/sddmm.h"

namespace gnas::GNAS_ISA {
namespace {

// Rows of b are fetched as many edges ahead as there are lines to be under way: the gather is what waits.
constexpr int64_t kBytesAhead = 4 * 1024;
constexpr int64_t kMostAhead = 32;
constexpr int64_t kLine = 64;

template <class T, class I>
struct Arrays {
  explicit Arrays(const SddmmArgs& args)
      : indptr(static_cast<const I*>(args.indptr)),
        indices(static_cast<const I*>(args.indices)),
        edge(static_cast<const I*>(args.edge)),
        select(static_cast<const I*>(args.select)),
        a(static_cast<const T*>(args.a)),
        b(static_cast<const T*>(args.b)),
        out(static_cast<T*>(args.out)),
        dim(args.width / args.heads),
        s(args) {}
  GNAS_INLINE int64_t place(int64_t e) const { return edge == nullptr ? e : static_cast<int64_t>(edge[e]); }
  // Where the row of a later edge begins. That edge is not checked yet, so this is only a number.
  GNAS_INLINE uintptr_t row_ahead(int64_t e) const {
    return reinterpret_cast<uintptr_t>(b) + static_cast<uint64_t>(indices[e + ahead]) * (s.width * sizeof(T));
  }

  const I* indptr;
  const I* indices;
  const I* edge;
  const I* select;
  const T* a;
  const T* b;
  T* out;
  int64_t dim;  // columns a head
  int64_t ahead = 0;
  const SddmmArgs& s;
};

// The heads of the edges of a chunk, one after the other, with the row that each edge stands in.
template <class T, class I>
struct Cursor {
  GNAS_INLINE void settle() {
    while (edge >= row_end) row_end = g.indptr[++row + 1];
  }
  GNAS_INLINE void advance() {
    if (++head == g.s.heads) {
      head = 0;
      ++edge;
    }
  }

  const Arrays<T, I>& g;
  int64_t row;
  int64_t row_end;
  int64_t edge;
  int64_t head = 0;
};

// The products of one head of one edge, added up lane by lane, and a prefetch of what a later edge needs.
template <class T, class I>
GNAS_INLINE Vector<Accumulator<T>> lane_sums(const Arrays<T, I>& g, int64_t row, int64_t e, int64_t column) {
  using A = Accumulator<T>;
  constexpr int kLanes = Lanes<A>::count;
  constexpr int kBytes = kLanes * static_cast<int>(sizeof(T));
  const T* left = g.a + row * g.s.width + column;
  const T* right = g.b + static_cast<int64_t>(g.indices[e]) * g.s.width + column;
  const uintptr_t ahead = g.row_ahead(e) + column * sizeof(T);
  Vector<A> sum[4] = {};
  int64_t f = 0;
  for (; f + 4 * kLanes <= g.dim; f += 4 * kLanes) {
    unrolled<4>([&](auto v) __attribute__((always_inline)) {
      if constexpr (v * kBytes % kLine == 0)
        __builtin_prefetch(reinterpret_cast<const void*>(ahead + f * sizeof(T) + v * kBytes));
      sum[v] += load(left + f + v * kLanes) * load(right + f + v * kLanes);
    });
  }
  for (; f + kLanes <= g.dim; f += kLanes) {
    __builtin_prefetch(reinterpret_cast<const void*>(ahead + f * sizeof(T)));
    sum[0] += load(left + f) * load(right + f);
  }
  Vector<A> all = (sum[0] + sum[1]) + (sum[2] + sum[3]);
  for (int lane = 0; f < g.dim; ++f, ++lane) all[lane] += widen(left[f]) * widen(right[f]);
  return all;
}

// One at a time: the ends of chunks, narrow heads, winners only.
template <class T, class I>
Accumulator<T> one_dot(const Arrays<T, I>& g, int64_t row, int64_t e, int64_t column) {
  using A = Accumulator<T>;
  const T* left = g.a + row * g.s.width + column;
  const T* right = g.b + static_cast<int64_t>(g.indices[e]) * g.s.width + column;
  A total = 0;
  if (g.select != nullptr) {
    const I* chosen = g.select + row * g.s.width + column;
    const I self = static_cast<I>(g.place(e));
    for (int64_t f = 0; f < g.dim; ++f) total += chosen[f] == self ? widen(left[f]) * widen(right[f]) : A{0};
    return total;
  }
  if (g.dim >= Lanes<A>::count) return add_lanes<A>(lane_sums<T, I>(g, row, e, column));
  __builtin_prefetch(reinterpret_cast<const void*>(g.row_ahead(e) + column * sizeof(T)));
  for (int64_t f = 0; f < g.dim; ++f) total += widen(left[f]) * widen(right[f]);
  return total;
}

template <class T, class I>
void dots(const Arrays<T, I>& g, Cursor<T, I> at, int64_t until) {
  using A = Accumulator<T>;
  constexpr int kLanes = Lanes<A>::count;
  const int64_t heads = g.s.heads;
  if (g.dim >= kLanes && g.select == nullptr) {
    // As many dots at a time as a register has lanes, so that their lanes are added up together.
    while ((until - at.edge) * heads - at.head >= kLanes) {
      Vector<A> sum[kLanes];
      const int64_t first = at.edge * heads + at.head;
      int64_t to[kLanes] = {};
      unrolled<kLanes>([&](auto k) __attribute__((always_inline)) {
        at.settle();
        if (g.edge != nullptr) to[k] = static_cast<int64_t>(g.edge[at.edge]) * heads + at.head;
        sum[k] = lane_sums<T, I>(g, at.row, at.edge, at.head * g.dim);
        at.advance();
      });
      const Vector<A> total = add_lanes_of_all<A>(sum);
      if (g.edge == nullptr) {
        store_as(total, g.out + first);
      } else {
        for (int k = 0; k < kLanes; ++k) narrow(total[k], g.out + to[k]);
      }
    }
  }
  while (at.edge < until) {
    at.settle();
    narrow(one_dot<T, I>(g, at.row, at.edge, at.head * g.dim), g.out + g.place(at.edge) * heads + at.head);
    at.advance();
  }
}

// add and mul: a row an edge.
template <class T, class I, bool kAdd>
void pairs(const Arrays<T, I>& g, Cursor<T, I> at, int64_t until) {
  const int64_t width = g.s.width;
  for (; at.edge < until; ++at.edge) {
    at.settle();
    const T* left = g.a + at.row * width;
    const T* right = g.b + static_cast<int64_t>(g.indices[at.edge]) * width;
    T* out = g.out + at.edge * width;
    const uintptr_t ahead = g.row_ahead(at.edge);
    for (int64_t f = 0; f < width * static_cast<int64_t>(sizeof(T)); f += kLine)
      __builtin_prefetch(reinterpret_cast<const void*>(ahead + f));
    for (int64_t f = 0; f < width; ++f)
      narrow(kAdd ? widen(left[f]) + widen(right[f]) : widen(left[f]) * widen(right[f]), out + f);
  }
}

template <class T, class I>
void run_chunks(const SddmmArgs& s, int64_t chunk_begin, int64_t chunk_end) {
  Arrays<T, I> g(s);
  const int64_t row_bytes = s.width * static_cast<int64_t>(sizeof(T)) + 1;
  const int64_t wanted = kBytesAhead / row_bytes < 4 ? 4 : kBytesAhead / row_bytes;
  for (int64_t chunk = chunk_begin; chunk < chunk_end; ++chunk) {
    const Cut from = cut_at(g.indptr, s.rows, s.nnz, s.chunks, chunk);
    const int64_t until = cut_at(g.indptr, s.rows, s.nnz, s.chunks, chunk + 1).edge;
    if (from.edge == until) continue;
    int64_t outside = first_outside(g.indices, from.edge, until, s.cols);
    if (outside < 0 && g.edge != nullptr) outside = first_outside(g.edge, from.edge, until, s.nnz);
    if (outside >= 0) {
      __atomic_store_n(&s.fault->edge, outside, __ATOMIC_RELAXED);
      continue;
    }
    g.ahead = wanted < kMostAhead ? wanted : kMostAhead;
    if (g.ahead > s.nnz - until) g.ahead = s.nnz - until;
    const Cursor<T, I> at{g, from.row, static_cast<int64_t>(g.indptr[from.row + 1]), from.edge};
    if (s.pairing == Pairing::dot)
      dots<T, I>(g, at, until);
    else if (s.pairing == Pairing::add)
      pairs<T, I, true>(g, at, until);
    else
      pairs<T, I, false>(g, at, until);
  }
}

}  // namespace

void sddmm_edges(const SddmmArgs& s, int64_t chunk_begin, int64_t chunk_end) {
  with_types(s.dtype, s.wide_index, [&](auto element, auto index) {
    run_chunks<decltype(element), decltype(index)>(s, chunk_begin, chunk_end);
  });
}

}  // namespace gnas::GNAS_ISA
