// Where a lane stands on rows whose heads packs fit, and the scores of edges from what the lanes read there.
#pragma once

#include "core/edges.cuh"
#include "ops/attention/shape.cuh"

namespace gnas {
namespace {

// A lane's pack of columns, the same of every head, and how to get at it.
template <class T, class I>
struct Columns {
  using A = Accumulator<T>;
  static constexpr int kPack = kPackBytes / static_cast<int>(sizeof(T));
  using Wide = Pack<A, kPack>;
  using Narrow = Pack<T, kPack>;

  __device__ Columns(const AttentionArgs& args, const Shape& shape)
      : a(args),
        at(shape.heads, args.heads),
        heads(static_cast<int>(args.heads)),
        dim(static_cast<int>(args.dim)),
        dim_v(static_cast<int>(args.dim_v)),
        width(heads * dim),
        width_v(heads * dim_v),
        column(at.head * dim + at.own * kPack),
        column_v(at.head * dim_v + at.own * kPack),
        inside(at.inside && at.own * kPack < dim),
        inside_v(at.inside && at.own * kPack < dim_v) {}

  __device__ const T* of(const void* base, int64_t row) const {
    return static_cast<const T*>(base) + row * width + column;
  }
  __device__ const T* of_v(const void* base, int64_t row) const {
    return static_cast<const T*>(base) + row * width_v + column_v;
  }
  // Of [rows, heads]; 0 where there is no such head.
  template <class N>
  __device__ A of_head(const void* base, int64_t row) const {
    return at.inside ? static_cast<A>(widen(static_cast<const N*>(base)[row * heads + at.head])) : A{0};
  }
  template <int kCount, class F>
  __device__ void walk(int64_t begin, int64_t end, bool places, const F& f) const {
    for_edges<kCount>(static_cast<const I*>(a.indices), static_cast<const I*>(a.edge), begin, end, a.cols, a.nnz,
                      at.turn, at.turns, places, f);
  }
  __device__ bool first_turn() const { return at.turn == 0; }
  // The lane that writes numbers a head.
  __device__ bool of_head() const { return at.turn == 0 && at.inside && at.own == 0; }

  const AttentionArgs& a;
  HeadLane at;
  int heads;
  int dim;
  int dim_v;
  int width;
  int width_v;
  int column;
  int column_v;
  bool inside;
  bool inside_v;
};

// The scores of some edges before activation, one row's side of them, and the rows that give them.
template <class T, class I, bool additive>
struct Scores {
  using C = Columns<T, I>;
  using A = typename C::A;

  __device__ Scores(const C& columns, int64_t row) : c(columns) {
    if (additive)
      left = c.template of_head<T>(c.a.left, row);
    else
      query = widen(load_if<C::kPack>(c.inside, c.of(c.a.left, row)));
  }
  template <int kCount>
  __device__ void read(const SomeEdges<I, kCount>& some, typename C::Narrow (&key)[kCount], A (&score)[kCount]) const {
#pragma unroll
    for (int u = 0; u < kCount; ++u) {
      if (additive)
        score[u] = some.live[u] ? left + c.template of_head<T>(c.a.right, some.source[u]) : A{0};
      else
        key[u] = load_if<C::kPack>(c.inside && some.live[u], c.of(c.a.right, some.source[u]));
    }
  }
  // A lane's part of a product, which sum_in_group() completes.
  __device__ A part(const typename C::Narrow& key) const { return dot(query, key); }
  __device__ A complete(A sum, I place) const {
    sum *= static_cast<A>(c.a.scale);
    return c.a.bias == nullptr ? sum : sum + c.template of_head<T>(c.a.bias, place);
  }

  const C& c;
  A left;
  typename C::Wide query;
};

}  // namespace
}  // namespace gnas
