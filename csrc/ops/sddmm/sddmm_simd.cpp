#include "core/bounds.h"
#include "core/narrow_rows.h"
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
  GNAS_INLINE void put(int64_t to, Accumulator<T> value) const {
    narrow(s.more ? value + widen(out[to]) : value, out + to);
  }
  // Where the row of a later edge begins. That edge is not checked yet, so this is only a number.
  GNAS_INLINE uintptr_t row_ahead(int64_t e) const {
    return reinterpret_cast<uintptr_t>(b) + static_cast<uint64_t>(indices[e + ahead]) * (s.b_stride * sizeof(T));
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

// Dots of rows narrower than a register, a register's worth at a time. The last ones, too, are added up that way: a dot
// does not depend on where its edge stands.
template <class T, class I>
void narrow_dots(const Arrays<T, I>& g, Cursor<T, I>& at, int64_t until) {
  using A = Accumulator<T>;
  constexpr int kLanes = Lanes<A>::count;
  const NarrowRows<T> left(g.a, g.s.rows, g.s.a_stride, g.dim);
  const NarrowRows<T> right(g.b, g.s.cols, g.s.b_stride, g.dim);
  IntVector<A> inside{};
  for (int lane = 0; lane < kLanes; ++lane) inside[lane] = lane < g.dim ? -1 : 0;
  const auto products = [&]() GNAS_INLINED {
    at.settle();
    __builtin_prefetch(reinterpret_cast<const void*>(g.row_ahead(at.edge)));
    const Vector<A> product = left.template at<kLanes>(at.row * g.s.a_stride) *
                              right.template at<kLanes>(static_cast<int64_t>(g.indices[at.edge]) * g.s.b_stride);
    ++at.edge;
    return bit_copy<Vector<A>>(bit_copy<IntVector<A>>(product) & inside);
  };
  while (until - at.edge >= kLanes) {
    Vector<A> sum[kLanes];
    const int64_t first = at.edge;
    unrolled<kLanes>([&](auto k) GNAS_INLINED { sum[k] = products(); });
    const Vector<A> total = add_lanes_of_all<A>(sum);
    if (g.edge == nullptr)
      store_as(g.s.more ? total + load(g.out + first) : total, g.out + first);
    else
      for (int k = 0; k < kLanes; ++k) g.put(static_cast<int64_t>(g.edge[first + k]), total[k]);
  }
  Vector<A> sum[kLanes]{};
  const int64_t first = at.edge;
  for (int k = 0; at.edge < until; ++k) sum[k] = products();
  const Vector<A> total = add_lanes_of_all<A>(sum);
  for (int64_t e = first; e < until; ++e) g.put(g.place(e), total[static_cast<int>(e - first)]);
}

// The products of one head of one edge, added up lane by lane, and a prefetch of what a later edge needs. N: how many
// registers a head fills, no more and no less; 0 where the compiler does not know.
template <class T, class I, int N = 0>
GNAS_INLINE Vector<Accumulator<T>> lane_sums(const Arrays<T, I>& g, int64_t row, int64_t e, int64_t column) {
  using A = Accumulator<T>;
  constexpr int kLanes = Lanes<A>::count;
  constexpr int kBytes = kLanes * static_cast<int>(sizeof(T));
  constexpr int kSums = N > 0 && N < 4 ? N : 4;
  const T* left = g.a + row * g.s.a_stride + column;
  const T* right = g.b + static_cast<int64_t>(g.indices[e]) * g.s.b_stride + column;
  const uintptr_t ahead = g.row_ahead(e) + column * sizeof(T);
  Vector<A> sum[kSums] = {};
  const auto take = [&](int64_t f, auto v) GNAS_INLINED {
    if constexpr (v * kBytes % kLine == 0)
      __builtin_prefetch(reinterpret_cast<const void*>(ahead + f * sizeof(T) + v * kBytes));
    sum[v % kSums] += load(left + f + v * kLanes) * load(right + f + v * kLanes);
  };
  if constexpr (N > 0) {
    unrolled<N>([&](auto v) GNAS_INLINED { take(0, v); });
    if constexpr (kSums == 4) return (sum[0] + sum[1]) + (sum[2] + sum[3]);
    if constexpr (kSums == 2) return sum[0] + sum[1];
    return sum[0];
  } else {
    int64_t f = 0;
    for (; f + 4 * kLanes <= g.dim; f += 4 * kLanes) unrolled<4>([&](auto v) GNAS_INLINED { take(f, v); });
    for (; f + kLanes <= g.dim; f += kLanes) take(f, std::integral_constant<int, 0>{});
    Vector<A> all = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    for (int lane = 0; f < g.dim; ++f, ++lane) all[lane] += widen(left[f]) * widen(right[f]);
    return all;
  }
}

// One at a time: the ends of chunks, narrow heads, winners only.
template <class T, class I>
Accumulator<T> one_dot(const Arrays<T, I>& g, int64_t row, int64_t e, int64_t column) {
  using A = Accumulator<T>;
  const T* left = g.a + row * g.s.a_stride + column;
  const T* right = g.b + static_cast<int64_t>(g.indices[e]) * g.s.b_stride + column;
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

// As many dots at a time as a register has lanes, so that their lanes are added up together, while there are so many.
template <class T, class I, int N>
void dots_in_turn(const Arrays<T, I>& g, Cursor<T, I>& at, int64_t until) {
  using A = Accumulator<T>;
  constexpr int kLanes = Lanes<A>::count;
  const int64_t heads = N > 0 ? 1 : g.s.heads;
  while ((until - at.edge) * heads - at.head >= kLanes) {
    Vector<A> sum[kLanes];
    const int64_t first = at.edge * heads + at.head;
    int64_t to[kLanes] = {};
    unrolled<kLanes>([&](auto k) GNAS_INLINED {
      at.settle();
      if (g.edge != nullptr) to[k] = static_cast<int64_t>(g.edge[at.edge]) * heads + at.head;
      sum[k] = lane_sums<T, I, N>(g, at.row, at.edge, N > 0 ? 0 : at.head * g.dim);
      if constexpr (N > 0)
        ++at.edge;
      else
        at.advance();
    });
    const Vector<A> total = add_lanes_of_all<A>(sum);
    if (g.edge == nullptr) {
      store_as(g.s.more ? total + load(g.out + first) : total, g.out + first);
    } else {
      for (int k = 0; k < kLanes; ++k) g.put(to[k], total[k]);
    }
  }
}

template <class T, class I>
void dots(const Arrays<T, I>& g, Cursor<T, I> at, int64_t until) {
  constexpr int kLanes = Lanes<Accumulator<T>>::count;
  const int64_t heads = g.s.heads;
  if (g.select == nullptr && heads == 1 && g.dim > 0 && g.dim < kLanes) narrow_dots(g, at, until);
  if (g.dim >= kLanes && g.select == nullptr) {
    // For the types that most models have, for the size of the library.
    constexpr bool kCommon = std::is_same_v<T, float> || std::is_same_v<T, bf16>;
    const int64_t registers = kCommon && heads == 1 && g.dim % kLanes == 0 ? g.dim / kLanes : 0;
    if constexpr (kCommon) {
      if (registers == 1) dots_in_turn<T, I, 1>(g, at, until);
      if (registers == 2) dots_in_turn<T, I, 2>(g, at, until);
      if (registers == 4) dots_in_turn<T, I, 4>(g, at, until);
      if (registers == 8) dots_in_turn<T, I, 8>(g, at, until);
    }
    dots_in_turn<T, I, 0>(g, at, until);
  }
  while (at.edge < until) {
    at.settle();
    g.put(g.place(at.edge) * heads + at.head, one_dot<T, I>(g, at.row, at.edge, at.head * g.dim));
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
  const int64_t wanted = edges_ahead(s.width * static_cast<int64_t>(sizeof(T)), kBytesAhead, kMostAhead);
  for (int64_t chunk = chunk_begin; chunk < chunk_end; ++chunk) {
    const Cut from = cut_at(g.indptr, s.rows, s.nnz, s.chunks, chunk);
    const int64_t until = cut_at(g.indptr, s.rows, s.nnz, s.chunks, chunk + 1).edge;
    if (from.edge == until) continue;
    if (!inside(s, g.indices, g.edge, from.edge, until)) continue;
    g.ahead = wanted < s.nnz - until ? wanted : s.nnz - until;
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
