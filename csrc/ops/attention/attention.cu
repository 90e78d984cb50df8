#include "core/edges.cuh"
#include "core/heads.cuh"
#include "core/hub_sums.cuh"
#include "ops/attention/attention.h"

namespace gnas {
namespace {

using namespace cuda;

// A warp takes a row and as many of its heads as its lanes can stand on, 16 bytes a lane; lanes that are left take
// other edges of the row. The rows of several edges are under way at once, and their scores enter the softmax together:
// one new maximum, one scaling of what was summed before (the online softmax). Heads that no packs fit go another way,
// below: a warp a head, element by element. Rows of very many edges are taken in pieces. All folds run in a fixed
// order, without atomics, so results repeat exactly.

// Edges that a lane has under way: as many as its registers hold beside the sums.
template <class T>
constexpr int kAhead = sizeof(T) == 8 ? 2 : 4;
template <class T>
constexpr int kAheadBackward = sizeof(T) == 4 ? 4 : 2;
constexpr int kThreads = kWarp * kWarpsPerBlock;
constexpr int kBlocks = 3;  // on a multiprocessor: enough warps to wait for memory

struct Shape {
  Hubs hubs;
  void* partial;   // of pieces: [pieces, heads * dim_v], accumulator type
  void* partial2;  // the same; forward: [pieces, 2, heads], maximum and sum; backward: [pieces, heads * dim]
  unsigned front;  // blocks that take pieces
  HeadShape heads;
  int64_t tile;  // where no packs fit: columns of a warp
};

// What a softmax has taken in: its maximum, and the sums of exp(score - maximum) and of the same times a row.
template <class A, int kCount>
struct Softmax {
  A maximum = -static_cast<A>(INFINITY);
  A sum = 0;
  Pack<A, kCount> value = {};

  __device__ bool low() const { return maximum == -static_cast<A>(INFINITY); }
  __device__ void scale(A by) {
    sum *= by;
#pragma unroll
    for (int c = 0; c < kCount; ++c) value.at[c] *= by;
  }
  // Returns what to subtract from scores before exp.
  __device__ A raise(A score) {
    const A higher = score > maximum ? score : maximum;
    const A floor = higher == -static_cast<A>(INFINITY) ? A{0} : higher;
    scale(exp(maximum - floor));
    maximum = higher;
    return floor;
  }
  __device__ void add(const Softmax& other) {
    const A higher = other.maximum > maximum ? other.maximum : maximum;
    // At a maximum of -inf there are zeros, or NaN.
    scale(low() ? A{1} : exp(maximum - higher));
    const A theirs = other.low() ? A{1} : exp(other.maximum - higher);
    sum += other.sum * theirs;
#pragma unroll
    for (int c = 0; c < kCount; ++c) value.at[c] += other.value.at[c] * theirs;
    maximum = higher;
  }
  __device__ void add_turns(int lanes) {
    for (int apart = lanes; apart < kWarp; apart *= 2) {
      Softmax other{};
      other.maximum = __shfl_xor_sync(kAllLanes, maximum, apart);
      other.sum = __shfl_xor_sync(kAllLanes, sum, apart);
#pragma unroll
      for (int c = 0; c < kCount; ++c) other.value.at[c] = __shfl_xor_sync(kAllLanes, value.at[c], apart);
      add(other);
    }
  }
  __device__ A inverse() const { return sum == A{0} ? A{0} : A{1} / sum; }
  __device__ A log_sum() const { return sum == A{0} ? -static_cast<A>(INFINITY) : maximum + log(sum); }
};

template <class A>
__device__ inline void put_state(const AttentionArgs& a, const Shape& shape, int64_t piece, int64_t head, A maximum,
                                 A sum) {
  A* state = static_cast<A*>(shape.partial2) + piece * 2 * a.heads + head;
  state[0] = maximum;
  state[a.heads] = sum;
}

// leaky_relu where additive.
template <class A>
__device__ inline A activate(const AttentionArgs& a, A x) {
  return a.additive && !(x > A{0}) ? static_cast<A>(a.slope) * x : x;
}
template <class A>
__device__ inline A through_activation(const AttentionArgs& a, A x, A down) {
  return a.additive && !(x > A{0}) ? static_cast<A>(a.slope) * down : down;
}

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

template <class T, class I, bool additive>
__global__ void __launch_bounds__(kThreads, kBlocks) rows_kernel(AttentionArgs a, Shape shape) {
  using C = Columns<T, I>;
  using A = typename C::A;
  constexpr int kSome = kAhead<T>;
  const C c(a, shape);
  const auto take = [&](int64_t row, int64_t begin, int64_t end, int64_t piece) {
    const Scores<T, I, additive> scores(c, row);
    Softmax<A, C::kPack> softmax;
    c.template walk<kSome>(begin, end, a.bias != nullptr, [&](const SomeEdges<I, kSome>& some) {
      typename C::Narrow key[kSome];
      typename C::Narrow value[kSome];
      A score[kSome];
      scores.read(some, key, score);
#pragma unroll
      for (int u = 0; u < kSome; ++u)
        value[u] = load_if<C::kPack>(c.inside_v && some.live[u], c.of_v(a.v, some.source[u]));
      if (!additive) {
#pragma unroll
        for (int u = 0; u < kSome; ++u) score[u] = scores.part(key[u]);
        sum_in_group(score, c.at.group);
      }
      A highest = -static_cast<A>(INFINITY);
#pragma unroll
      for (int u = 0; u < kSome; ++u) {
        score[u] = additive ? activate(a, score[u]) : scores.complete(score[u], some.place[u]);
        if (!some.live[u]) score[u] = -static_cast<A>(INFINITY);
        if (score[u] > highest) highest = score[u];
      }
      const A floor = softmax.raise(highest);
#pragma unroll
      for (int u = 0; u < kSome; ++u) {
        const A p = exp(score[u] - floor);
        softmax.sum += p;
        add_scaled(softmax.value, p, value[u]);
      }
    });
    softmax.add_turns(c.at.lanes);
    if (!c.first_turn()) return;
    if (piece >= 0) {
      if (c.inside_v) store(softmax.value, static_cast<A*>(shape.partial) + piece * c.width_v + c.column_v);
      if (c.of_head()) put_state(a, shape, piece, c.at.head, softmax.maximum, softmax.sum);
      return;
    }
    if (c.inside_v) store_scaled(softmax.value, softmax.inverse(), const_cast<T*>(c.of_v(a.out, row)));
    if (c.of_head()) static_cast<A*>(a.lse)[row * c.heads + c.at.head] = softmax.log_sum();
  };
  for_rows_and_pieces(shape.hubs, shape.front, static_cast<const I*>(a.indptr), a.rows, a.nnz, take);
}

// A block takes a hub and columns; as in sum_pieces_kernel, its warps take pieces by turns.
template <class T>
__global__ void merge_rows_kernel(AttentionArgs a, Shape shape) {
  using A = Accumulator<T>;
  __shared__ A parts[kWarpsPerBlock][3][kWarp];
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int64_t dim = a.dim_v > 0 ? a.dim_v : 1;
  const int64_t column = static_cast<int64_t>(blockIdx.y) * kWarp + lane();
  const bool inside = column < a.heads * dim;
  const int64_t head = column / dim;
  for (int64_t number = blockIdx.x; number < shape.hubs.hubs(); number += gridDim.x) {
    const Hub hub = shape.hubs.hub[number];
    Softmax<A, 1> softmax;
    if (inside) {
#pragma unroll 2
      for (int64_t k = warp; k < hub.pieces; k += kWarpsPerBlock) {
        const A* state = static_cast<const A*>(shape.partial2) + (hub.first + k) * 2 * a.heads + head;
        Softmax<A, 1> other;
        other.maximum = state[0];
        other.sum = state[a.heads];
        if (a.dim_v > 0)
          other.value.at[0] = static_cast<const A*>(shape.partial)[(hub.first + k) * a.heads * dim + column];
        softmax.add(other);
      }
    }
    parts[warp][0][lane()] = softmax.maximum;
    parts[warp][1][lane()] = softmax.sum;
    parts[warp][2][lane()] = softmax.value.at[0];
    __syncthreads();
    if (warp == 0 && inside) {
      for (int w = 1; w < kWarpsPerBlock; ++w)
        softmax.add({parts[w][0][lane()], parts[w][1][lane()], {{parts[w][2][lane()]}}});
      if (a.dim_v > 0)
        narrow(softmax.value.at[0] * softmax.inverse(), static_cast<T*>(a.out) + hub.row * a.heads * dim + column);
      if (column % dim == 0) static_cast<A*>(a.lse)[hub.row * a.heads + head] = softmax.log_sum();
    }
    __syncthreads();
  }
}

template <class T, class I, bool additive>
__global__ void __launch_bounds__(kThreads, kBlocks) backward_rows_kernel(AttentionArgs a, Shape shape) {
  using C = Columns<T, I>;
  using A = typename C::A;
  constexpr int kSome = kAheadBackward<T>;
  const C c(a, shape);
  const auto take = [&](int64_t row, int64_t begin, int64_t end, int64_t piece) {
    const Scores<T, I, additive> scores(c, row);
    const typename C::Wide grad = widen(load_if<C::kPack>(c.inside_v, c.of_v(a.grad, row)));
    A mean[1] = {dot(grad, load_if<C::kPack>(c.inside_v, c.of_v(a.out, row)))};
    sum_in_group(mean, c.at.group);
    const A lse = c.template of_head<A>(a.lse, row);
    const A floor = lse == -static_cast<A>(INFINITY) ? A{0} : lse;
    typename C::Wide d_left = {};
    A d_side[1] = {0};  // additive
    c.template walk<kSome>(begin, end, true, [&](const SomeEdges<I, kSome>& some) {
      typename C::Narrow key[kSome];
      typename C::Narrow value[kSome];
      A score[kSome];
      A product[kSome];
      scores.read(some, key, score);
#pragma unroll
      for (int u = 0; u < kSome; ++u)
        value[u] = load_if<C::kPack>(c.inside_v && some.live[u], c.of_v(a.v, some.source[u]));
#pragma unroll
      for (int u = 0; u < kSome; ++u) {
        product[u] = dot(grad, value[u]);
        if (!additive) score[u] = scores.part(key[u]);
      }
      sum_in_group(product, c.at.group);
      if (!additive) {
        sum_in_group(score, c.at.group);
        // All before the first store, so that no bias is waited for alone.
#pragma unroll
        for (int u = 0; u < kSome; ++u) score[u] = scores.complete(score[u], some.place[u]);
      }
#pragma unroll
      for (int u = 0; u < kSome; ++u) {
        if (!some.live[u] || !c.at.inside) continue;
        const A p = exp(activate(a, score[u]) - floor);
        const A through = through_activation(a, score[u], p * (product[u] - mean[0]));
        A* to = static_cast<A*>(a.edges) + static_cast<int64_t>(some.place[u]) * (2 * c.heads) + c.at.head;
        // One store of both where two lanes stand on a head.
        for (int i = c.at.own; i < 2; i += c.at.group) to[i * c.heads] = i == 0 ? p : through;
        if (a.d_bias != nullptr && c.at.own == 0)
          narrow(through, static_cast<T*>(a.d_bias) + static_cast<int64_t>(some.place[u]) * c.heads + c.at.head);
        if (additive)
          d_side[0] += through;
        else
          add_scaled(d_left, through, key[u]);
      }
    });
    __syncwarp();
    A* partial = static_cast<A*>(shape.partial2);
    if (additive) {
      sum_over_turns(d_side, c.at.lanes);
      if (!c.of_head()) return;
      if (piece >= 0)
        partial[piece * c.heads + c.at.head] = d_side[0];
      else
        narrow(d_side[0], static_cast<T*>(a.d_left) + row * c.heads + c.at.head);
      return;
    }
    sum_over_turns(d_left.at, c.at.lanes);
    if (!c.first_turn() || !c.inside) return;
    if (piece >= 0)
      store(d_left, partial + piece * c.width + c.column);
    else
      store_scaled(d_left, static_cast<A>(a.scale), const_cast<T*>(c.of(a.d_left, row)));
  };
  for_rows_and_pieces(shape.hubs, shape.front, static_cast<const I*>(a.indptr), a.rows, a.nnz, take);
}

template <class T, class I, bool additive>
__global__ void __launch_bounds__(kThreads, kBlocks) backward_cols_kernel(AttentionArgs a, Shape shape) {
  using C = Columns<T, I>;
  using A = typename C::A;
  constexpr int kSome = kAhead<T>;
  const C c(a, shape);
  const auto take = [&](int64_t row, int64_t begin, int64_t end, int64_t piece) {
    typename C::Wide d_v = {};
    typename C::Wide d_right = {};
    A d_side[1] = {0};  // additive
    c.template walk<kSome>(begin, end, true, [&](const SomeEdges<I, kSome>& some) {
      typename C::Narrow grad[kSome];
      typename C::Narrow query[kSome];
      A p[kSome];
      A through[kSome];
#pragma unroll
      for (int u = 0; u < kSome; ++u) {
        const bool live = some.live[u] && c.at.inside;
        const A* from =
            static_cast<const A*>(a.edges) + static_cast<int64_t>(some.place[u]) * (2 * c.heads) + c.at.head;
        p[u] = live ? from[0] : A{0};
        through[u] = live ? from[c.heads] : A{0};
        grad[u] = load_if<C::kPack>(c.inside_v && live, c.of_v(a.grad, some.source[u]));
        if (!additive) query[u] = load_if<C::kPack>(c.inside && live, c.of(a.left, some.source[u]));
      }
#pragma unroll
      for (int u = 0; u < kSome; ++u) {
        add_scaled(d_v, p[u], grad[u]);
        if (additive)
          d_side[0] += through[u];
        else
          add_scaled(d_right, through[u], query[u]);
      }
    });
    sum_over_turns(d_v.at, c.at.lanes);
    if (additive)
      sum_over_turns(d_side, c.at.lanes);
    else
      sum_over_turns(d_right.at, c.at.lanes);
    if (!c.first_turn()) return;
    if (piece >= 0) {
      A* partial = static_cast<A*>(shape.partial2) + piece * c.width;
      if (c.inside_v) store(d_v, static_cast<A*>(shape.partial) + piece * c.width_v + c.column_v);
      if (additive && c.of_head()) partial[c.at.head] = d_side[0];
      if (!additive && c.inside) store(d_right, partial + c.column);
      return;
    }
    if (c.inside_v) store_scaled(d_v, A{1}, const_cast<T*>(c.of_v(a.d_v, row)));
    if (additive && c.of_head()) narrow(d_side[0], static_cast<T*>(a.d_right) + row * c.heads + c.at.head);
    if (!additive && c.inside) store_scaled(d_right, static_cast<A>(a.scale), const_cast<T*>(c.of(a.d_right, row)));
  };
  for_rows_and_pieces(shape.hubs, shape.front, static_cast<const I*>(a.indptr), a.rows, a.nnz, take);
}

// Heads of any width: a warp takes a row, a head and a tile of its columns. A group of lanes, as many as the head is
// wide, stands on one edge; the warp's groups take edges by turns.
constexpr int kColumns = 8;  // that a lane holds

template <class A>
__device__ inline A sum_of_group(A value, int group) {
  A sum[1] = {value};
  sum_in_group(sum, group);
  return sum[0];
}

template <class T, class I>
struct Walk {
  using A = Accumulator<T>;

  __device__ Walk(const AttentionArgs& args, const Shape& shape)
      : a(args),
        indices(static_cast<const I*>(args.indices)),
        edge(static_cast<const I*>(args.edge)),
        group(shape.heads.group),
        step(kWarp / shape.heads.group),
        own(lane() % shape.heads.group),
        turn(lane() / shape.heads.group),
        head(blockIdx.y),
        first(static_cast<int64_t>(blockIdx.z) * shape.tile) {}

  // The row that edge e reads, and where its numbers stand.
  __device__ int64_t source(int64_t e, int64_t& place) const {
    const int64_t c = indices[e];
    place = edge == nullptr ? e : static_cast<int64_t>(edge[e]);
    require(static_cast<uint64_t>(c) < static_cast<uint64_t>(a.cols) &&
            static_cast<uint64_t>(place) < static_cast<uint64_t>(a.nnz));
    return c;
  }
  // Every lane of the warp must come here; groups without an edge bring `active` false and get 0.
  __device__ A product(const T* one, const T* other, int64_t width, bool active) const {
    A sum = 0;
    if (active)
      for (int64_t f = own; f < width; f += group) sum += widen(one[f]) * widen(other[f]);
    return sum_of_group(sum, group);
  }
  // What goes into the softmax, or, where additive, into leaky_relu.
  __device__ A score(int64_t row, int64_t c, int64_t place, bool active) const {
    const T* left = static_cast<const T*>(a.left) + (row * a.heads + head) * a.dim;
    const T* right = static_cast<const T*>(a.right) + (c * a.heads + head) * a.dim;
    if (a.additive) return widen(left[0]) + widen(right[0]);
    A value = product(left, right, a.dim, active) * static_cast<A>(a.scale);
    if (a.bias != nullptr && active) value += widen(static_cast<const T*>(a.bias)[place * a.heads + head]);
    return value;
  }
  // The f-th column of a lane, of a head of `width`.
  __device__ int64_t column(int k) const { return first + k * group + own; }

  const AttentionArgs& a;
  const I* indices;
  const I* edge;
  int group;
  int step;
  int own;
  int turn;
  int64_t head;
  int64_t first;
};

template <class T, class I>
__global__ void any_rows_kernel(AttentionArgs a, Shape shape) {
  using A = Accumulator<T>;
  const Walk<T, I> w(a, shape);
  const auto take = [&](int64_t row, int64_t begin, int64_t end, int64_t piece) {
    Softmax<A, kColumns> softmax{};
    for (int64_t base = begin; base < end; base += w.step) {
      const int64_t e = base + w.turn;
      const bool active = e < end;
      int64_t place = 0;
      const int64_t c = active ? w.source(e, place) : w.source(begin, place);
      const A s = activate(a, w.score(row, c, place, active));
      if (!active) continue;
      const A p = exp(s - softmax.raise(s));
      softmax.sum += p;
      const T* v = static_cast<const T*>(a.v) + (c * a.heads + w.head) * a.dim_v;
#pragma unroll
      for (int k = 0; k < kColumns; ++k)
        if (w.column(k) < a.dim_v) softmax.value.at[k] += p * widen(v[w.column(k)]);
    }
    __syncwarp();
    softmax.add_turns(w.group);
    if (w.turn != 0) return;
    const A scale = softmax.inverse();
    T* out = static_cast<T*>(a.out) + (row * a.heads + w.head) * a.dim_v;
    A* partial = static_cast<A*>(shape.partial) + (piece * a.heads + w.head) * a.dim_v;
#pragma unroll
    for (int k = 0; k < kColumns; ++k) {
      const int64_t f = w.column(k);
      if (f >= a.dim_v) continue;
      if (piece >= 0)
        partial[f] = softmax.value.at[k];
      else
        narrow(softmax.value.at[k] * scale, out + f);
    }
    if (w.first != 0 || w.own != 0) return;
    if (piece >= 0)
      put_state(a, shape, piece, w.head, softmax.maximum, softmax.sum);
    else
      static_cast<A*>(a.lse)[row * a.heads + w.head] = softmax.log_sum();
  };
  for_rows_and_pieces(shape.hubs, shape.front, static_cast<const I*>(a.indptr), a.rows, a.nnz, take);
}

template <class T, class I>
__global__ void any_backward_rows_kernel(AttentionArgs a, Shape shape) {
  using A = Accumulator<T>;
  const Walk<T, I> w(a, shape);
  const int64_t width = a.additive ? 1 : a.dim;
  const auto take = [&](int64_t row, int64_t begin, int64_t end, int64_t piece) {
    const int64_t at = row * a.heads + w.head;
    const T* grad = static_cast<const T*>(a.grad) + at * a.dim_v;
    const A mean = w.product(grad, static_cast<const T*>(a.out) + at * a.dim_v, a.dim_v, true);
    const A lse = static_cast<const A*>(a.lse)[at];
    const A floor = lse == -static_cast<A>(INFINITY) ? A{0} : lse;
    A value[kColumns] = {};
    for (int64_t base = begin; base < end; base += w.step) {
      const int64_t e = base + w.turn;
      const bool active = e < end;
      int64_t place = 0;
      const int64_t c = active ? w.source(e, place) : w.source(begin, place);
      const A x = w.score(row, c, place, active);
      const T* v = static_cast<const T*>(a.v) + (c * a.heads + w.head) * a.dim_v;
      const A product = w.product(grad, v, a.dim_v, active);
      if (!active) continue;
      const A p = exp(activate(a, x) - floor);
      const A through = through_activation(a, x, p * (product - mean));
      if (w.first == 0 && w.own == 0) {
        A* to = static_cast<A*>(a.edges) + place * 2 * a.heads + w.head;
        to[0] = p;
        to[a.heads] = through;
        if (a.d_bias != nullptr) narrow(through, static_cast<T*>(a.d_bias) + place * a.heads + w.head);
      }
      const T* right = static_cast<const T*>(a.right) + (c * a.heads + w.head) * a.dim;
#pragma unroll
      for (int k = 0; k < kColumns; ++k)
        if (w.column(k) < width) value[k] += a.additive ? through : through * widen(right[w.column(k)]);
    }
    __syncwarp();
    sum_over_turns(value, w.group);
    if (w.turn != 0) return;
    T* out = static_cast<T*>(a.d_left) + at * a.dim;
    A* partial = static_cast<A*>(shape.partial2) + (piece * a.heads + w.head) * a.dim;
    const A scale = a.additive ? A{1} : static_cast<A>(a.scale);
#pragma unroll
    for (int k = 0; k < kColumns; ++k) {
      const int64_t f = w.column(k);
      if (f >= width) continue;
      if (piece >= 0)
        partial[f] = value[k];
      else
        narrow(scale * value[k], out + f);
    }
  };
  for_rows_and_pieces(shape.hubs, shape.front, static_cast<const I*>(a.indptr), a.rows, a.nnz, take);
}

template <class T, class I>
__global__ void any_backward_cols_kernel(AttentionArgs a, Shape shape) {
  using A = Accumulator<T>;
  const Walk<T, I> w(a, shape);
  const auto take = [&](int64_t row, int64_t begin, int64_t end, int64_t piece) {
    A d_v[kColumns] = {};
    A d_right[kColumns] = {};
    for (int64_t e = begin + w.turn; e < end; e += w.step) {
      int64_t place = 0;
      const int64_t c = w.source(e, place);
      const A* from = static_cast<const A*>(a.edges) + place * 2 * a.heads + w.head;
      const A p = from[0];
      const A through = from[a.heads];
      const T* grad = static_cast<const T*>(a.grad) + (c * a.heads + w.head) * a.dim_v;
      const T* left = static_cast<const T*>(a.left) + (c * a.heads + w.head) * a.dim;
#pragma unroll
      for (int k = 0; k < kColumns; ++k) {
        const int64_t f = w.column(k);
        if (f < a.dim_v) d_v[k] += p * widen(grad[f]);
        if (f < a.dim) d_right[k] += a.additive ? through : through * widen(left[f]);
      }
    }
    __syncwarp();
    sum_over_turns(d_v, w.group);
    sum_over_turns(d_right, w.group);
    if (w.turn != 0) return;
    const int64_t at = (piece >= 0 ? piece : row) * a.heads + w.head;
    const A scale = a.additive ? A{1} : static_cast<A>(a.scale);
#pragma unroll
    for (int k = 0; k < kColumns; ++k) {
      const int64_t f = w.column(k);
      if (piece >= 0) {
        if (f < a.dim_v) static_cast<A*>(shape.partial)[at * a.dim_v + f] = d_v[k];
        if (f < a.dim) static_cast<A*>(shape.partial2)[at * a.dim + f] = d_right[k];
      } else {
        if (f < a.dim_v) narrow(d_v[k], static_cast<T*>(a.d_v) + at * a.dim_v + f);
        if (f < a.dim) narrow(scale * d_right[k], static_cast<T*>(a.d_right) + at * a.dim + f);
      }
    }
  };
  for_rows_and_pieces(shape.hubs, shape.front, static_cast<const I*>(a.indptr), a.rows, a.nnz, take);
}

// Every row the same.
template <class A>
struct Times {
  A scale;
  __device__ A operator()(int64_t) const { return scale; }
};

template <class T>
Times<Accumulator<T>> times(double scale) {
  return {static_cast<Accumulator<T>>(scale)};
}

template <class T>
bool packs_fit(const AttentionArgs& a) {
  constexpr int64_t kPack = kPackBytes / static_cast<int64_t>(sizeof(T));
  constexpr int64_t kMost = int64_t{1} << 30;
  const int64_t widest = a.dim > a.dim_v ? a.dim : a.dim_v;
  return (a.additive || a.dim % kPack == 0) && a.dim_v % kPack == 0 && widest <= kWarp * kPack &&
         a.heads * widest <= kMost &&
         (a.additive || (aligned(a.left) && aligned(a.right) && aligned(a.d_left) && aligned(a.d_right))) &&
         aligned(a.v) && aligned(a.out) && aligned(a.grad) && aligned(a.d_v);
}

// Calls with_packs or without with a grid and what the kernels need beside the arguments. `held` columns a head are
// kept in registers.
template <class T, class I, class Packs, class Any>
int launch_on(const AttentionArgs& a, int64_t held, void* scratch, cudaStream_t on, Shape& shape,
              const Packs& with_packs, const Any& without) {
  constexpr int64_t kPack = kPackBytes / static_cast<int64_t>(sizeof(T));
  constexpr int64_t kMostTiles = 65535;
  shape.hubs = hubs_in(a.nnz, scratch);
  if (shape.hubs.split > 0) {
    shape.front = piece_blocks(shape.hubs);
    shape.partial = static_cast<uint8_t*>(scratch) + shape.hubs.bytes();
    shape.partial2 = static_cast<Accumulator<T>*>(shape.partial) + shape.hubs.piece_room * a.heads * a.dim_v;
    const int error = find_hubs<I>(shape.hubs, a.indptr, a.rows, a.nnz, on);
    if (error != cudaSuccess) return error;
  }
  const int64_t widest = a.dim > a.dim_v ? a.dim : a.dim_v;
  const unsigned blocks = shape.front + row_blocks(a.rows);
  if (packs_fit<T>(a)) {
    shape.heads = head_shape(a.heads, (widest + kPack - 1) / kPack);
    const int64_t tiles = shape.heads.tiles(a.heads);
    if (tiles > kMostTiles) return cudaErrorInvalidConfiguration;
    with_packs(dim3(blocks, static_cast<unsigned>(tiles)));
  } else {
    shape.heads = head_shape(1, widest);
    shape.tile = int64_t{shape.heads.group} * kColumns;
    // At least one tile, so that numbers a head are written where there are no columns.
    const int64_t tiles = held < 1 ? 1 : (held + shape.tile - 1) / shape.tile;
    if (a.heads > kMostTiles || tiles > kMostTiles) return cudaErrorInvalidConfiguration;
    without(dim3(blocks, static_cast<unsigned>(a.heads), static_cast<unsigned>(tiles)));
  }
  return cudaGetLastError();
}

// Calls f with the types and the choice between dot products and sums.
template <class F>
int with_kernel(const AttentionArgs& a, const F& f) {
  if (a.rows == 0) return cudaSuccess;
  int error = cudaSuccess;
  with_types(a.dtype, a.wide_index, [&](auto element, auto index) {
    error = a.additive ? f(element, index, std::true_type{}) : f(element, index, std::false_type{});
  });
  return error;
}

}  // namespace

int64_t attention_cuda_scratch(const AttentionArgs& a) {
  const Hubs h = hubs_of(a.nnz);
  const int64_t dim = a.dim > 2 ? a.dim : 2;
  return h.bytes() + h.piece_room * a.heads * (a.dim_v + dim) * (a.dtype == Dtype::f64 ? 8 : 4);
}

int attention_rows_cuda(const AttentionArgs& a, void* scratch, void* stream) {
  return with_kernel(a, [&](auto element, auto index, auto additive) -> int {
    using T = decltype(element);
    using I = decltype(index);
    const auto on = static_cast<cudaStream_t>(stream);
    Shape s{};
    const int error = launch_on<T, I>(
        a, a.dim_v, scratch, on, s,
        [&](dim3 grid) { launch(rows_kernel<T, I, decltype(additive)::value>, grid, kThreads, on, a, s); },
        [&](dim3 grid) { launch(any_rows_kernel<T, I>, grid, kThreads, on, a, s); });
    if (error != cudaSuccess || s.hubs.split == 0) return error;
    const int64_t tiles = (a.heads * (a.dim_v > 0 ? a.dim_v : 1) + kWarp - 1) / kWarp;
    if (tiles > 65535) return cudaErrorInvalidConfiguration;
    launch(merge_rows_kernel<T>, dim3(blocks_of_hubs(s.hubs), static_cast<unsigned>(tiles)), kThreads, on, a, s);
    return cudaGetLastError();
  });
}

int attention_backward_rows_cuda(const AttentionArgs& a, void* scratch, void* stream) {
  return with_kernel(a, [&](auto element, auto index, auto additive) -> int {
    using T = decltype(element);
    using I = decltype(index);
    const auto on = static_cast<cudaStream_t>(stream);
    Shape s{};
    const int error = launch_on<T, I>(
        a, a.dim, scratch, on, s,
        [&](dim3 grid) { launch(backward_rows_kernel<T, I, decltype(additive)::value>, grid, kThreads, on, a, s); },
        [&](dim3 grid) { launch(any_backward_rows_kernel<T, I>, grid, kThreads, on, a, s); });
    if (error != cudaSuccess) return error;
    return sum_pieces<T>(s.hubs, s.partial2, a.heads * a.dim, times<T>(a.scale), a.d_left, on);
  });
}

int attention_backward_cols_cuda(const AttentionArgs& a, void* scratch, void* stream) {
  return with_kernel(a, [&](auto element, auto index, auto additive) -> int {
    using T = decltype(element);
    using I = decltype(index);
    const auto on = static_cast<cudaStream_t>(stream);
    Shape s{};
    int error = launch_on<T, I>(
        a, a.dim > a.dim_v ? a.dim : a.dim_v, scratch, on, s,
        [&](dim3 grid) { launch(backward_cols_kernel<T, I, decltype(additive)::value>, grid, kThreads, on, a, s); },
        [&](dim3 grid) { launch(any_backward_cols_kernel<T, I>, grid, kThreads, on, a, s); });
    if (error == cudaSuccess) error = sum_pieces<T>(s.hubs, s.partial, a.heads * a.dim_v, times<T>(1), a.d_v, on);
    if (error != cudaSuccess) return error;
    return sum_pieces<T>(s.hubs, s.partial2, a.heads * a.dim, times<T>(a.scale), a.d_right, on);
  });
}

}  // namespace gnas
