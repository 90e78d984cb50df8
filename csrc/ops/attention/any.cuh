// Heads of any width: a warp takes a row, a head and a tile of its columns. A group of lanes, as many as the head is
// wide, stands on one edge; the warp's groups take edges by turns.
#pragma once

#include "ops/attention/pieces.cuh"

namespace gnas {
namespace {

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

}  // namespace
}  // namespace gnas
