#include "core/device.cuh"
#include "ops/attention/attention.h"

namespace gnas {
namespace {

using namespace cuda;

// A warp takes a row, a head and a tile of its columns. A group of lanes, as many as the head is wide, stands on one
// edge: it reads that edge's row in whole lines and folds its product; the warp's groups take edges by turns and keep a
// maximum, a sum and columns each (the online softmax), put together at the end. All folds run in a fixed order,
// without atomics, so results repeat exactly.
constexpr int kColumns = 8;  // that a lane holds
constexpr unsigned kAll = 0xffffffffu;

struct Shape {
  int group;     // lanes on an edge, a power of two
  int64_t tile;  // columns of a warp
};

Shape shape_of_warp(int64_t widest) {
  int group = 1;
  while (group < widest && group < kWarp) group *= 2;
  return {group, static_cast<int64_t>(group) * kColumns};
}

template <class A>
__device__ A sum_of_group(A value, int group) {
  for (int apart = 1; apart < group; apart *= 2) value += __shfl_xor_sync(kAll, value, apart);
  return value;
}
template <class A>
__device__ A sum_over_groups(A value, int group) {
  for (int apart = group; apart < kWarp; apart *= 2) value += __shfl_xor_sync(kAll, value, apart);
  return value;
}

template <class T, class I>
struct Walk {
  using A = Accumulator<T>;

  __device__ Walk(const AttentionArgs& args, Shape shape)
      : a(args),
        indptr(static_cast<const I*>(args.indptr)),
        indices(static_cast<const I*>(args.indices)),
        edge(static_cast<const I*>(args.edge)),
        group(shape.group),
        step(kWarp / shape.group),
        own(lane() % shape.group),
        turn(lane() / shape.group),
        head(blockIdx.y),
        first(static_cast<int64_t>(blockIdx.z) * shape.tile) {}

  __device__ void bounds(int64_t row, int64_t& begin, int64_t& end) const {
    begin = indptr[row];
    end = indptr[row + 1];
    require(begin >= 0 && begin <= end && end <= a.nnz);
  }
  // The row that edge e reads, and where its numbers stand.
  __device__ int64_t source(int64_t e, int64_t& place) const {
    const int64_t c = indices[e];
    place = edge == nullptr ? e : static_cast<int64_t>(edge[e]);
    require(static_cast<uint64_t>(c) < static_cast<uint64_t>(a.cols) &&
            static_cast<uint64_t>(place) < static_cast<uint64_t>(a.nnz));
    return c;
  }
  // Every lane of the warp must come here; groups without an edge bring `active` false and get 0.
  __device__ A dot(const T* one, const T* other, int64_t width, bool active) const {
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
    A value = dot(left, right, a.dim, active) * static_cast<A>(a.scale);
    if (a.bias != nullptr && active) value += widen(static_cast<const T*>(a.bias)[place * a.heads + head]);
    return value;
  }
  __device__ A activate(A x) const { return a.additive && !(x > A{0}) ? static_cast<A>(a.slope) * x : x; }

  const AttentionArgs& a;
  const I* indptr;
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
__global__ void rows_kernel(AttentionArgs a, Shape shape) {
  using A = Accumulator<T>;
  const Walk<T, I> w(a, shape);
  const A infinity = static_cast<A>(INFINITY);
  for (int64_t row = first_row(); row < a.rows; row += row_stride()) {
    int64_t begin;
    int64_t end;
    w.bounds(row, begin, end);
    A maximum = -infinity;
    A sum = 0;
    A value[kColumns] = {};
    for (int64_t base = begin; base < end; base += w.step) {
      const int64_t e = base + w.turn;
      const bool active = e < end;
      int64_t place = 0;
      const int64_t c = active ? w.source(e, place) : w.source(begin, place);
      const A s = w.activate(w.score(row, c, place, active));
      if (!active) continue;
      const A higher = s > maximum ? s : maximum;
      const A floor = higher == -infinity ? A{0} : higher;
      const A before = exp(maximum - floor);
      const A p = exp(s - floor);
      maximum = higher;
      sum = sum * before + p;
      const T* v = static_cast<const T*>(a.v) + (c * a.heads + w.head) * a.dim_v;
#pragma unroll
      for (int k = 0; k < kColumns; ++k) {
        const int64_t f = w.first + k * w.group + w.own;
        if (f < a.dim_v) value[k] = value[k] * before + p * widen(v[f]);
      }
    }
    __syncwarp();
    for (int apart = w.group; apart < kWarp; apart *= 2) {
      const A other = __shfl_xor_sync(kAll, maximum, apart);
      const A higher = other > maximum ? other : maximum;
      const A ours = maximum == -infinity ? A{1} : exp(maximum - higher);
      const A theirs = other == -infinity ? A{1} : exp(other - higher);
      sum = sum * ours + __shfl_xor_sync(kAll, sum, apart) * theirs;
#pragma unroll
      for (int k = 0; k < kColumns; ++k) value[k] = value[k] * ours + __shfl_xor_sync(kAll, value[k], apart) * theirs;
      maximum = higher;
    }
    if (w.turn != 0) continue;
    const A scale = sum == A{0} ? A{0} : A{1} / sum;
    T* out = static_cast<T*>(a.out) + (row * a.heads + w.head) * a.dim_v;
#pragma unroll
    for (int k = 0; k < kColumns; ++k) {
      const int64_t f = w.first + k * w.group + w.own;
      if (f < a.dim_v) narrow(value[k] * scale, out + f);
    }
    if (w.first == 0 && w.own == 0)
      static_cast<A*>(a.lse)[row * a.heads + w.head] = sum == A{0} ? -infinity : maximum + log(sum);
  }
}

template <class T, class I>
__global__ void backward_rows_kernel(AttentionArgs a, Shape shape) {
  using A = Accumulator<T>;
  const Walk<T, I> w(a, shape);
  const A infinity = static_cast<A>(INFINITY);
  const int64_t width = a.additive ? 1 : a.dim;
  for (int64_t row = first_row(); row < a.rows; row += row_stride()) {
    int64_t begin;
    int64_t end;
    w.bounds(row, begin, end);
    const int64_t at = row * a.heads + w.head;
    const T* grad = static_cast<const T*>(a.grad) + at * a.dim_v;
    const A mean = w.dot(grad, static_cast<const T*>(a.out) + at * a.dim_v, a.dim_v, true);
    const A lse = static_cast<const A*>(a.lse)[at];
    const A floor = lse == -infinity ? A{0} : lse;
    A value[kColumns] = {};
    for (int64_t base = begin; base < end; base += w.step) {
      const int64_t e = base + w.turn;
      const bool active = e < end;
      int64_t place = 0;
      const int64_t c = active ? w.source(e, place) : w.source(begin, place);
      const A x = w.score(row, c, place, active);
      const A product = w.dot(grad, static_cast<const T*>(a.v) + (c * a.heads + w.head) * a.dim_v, a.dim_v, active);
      if (!active) continue;
      const A p = exp(w.activate(x) - floor);
      const A down = p * (product - mean);
      const A through = a.additive && !(x > A{0}) ? static_cast<A>(a.slope) * down : down;
      if (w.first == 0 && w.own == 0) {
        A* to = static_cast<A*>(a.edges) + place * 2 * a.heads + w.head;
        to[0] = p;
        to[a.heads] = through;
        if (a.d_bias != nullptr) narrow(through, static_cast<T*>(a.d_bias) + place * a.heads + w.head);
      }
      const T* right = static_cast<const T*>(a.right) + (c * a.heads + w.head) * a.dim;
#pragma unroll
      for (int k = 0; k < kColumns; ++k) {
        const int64_t f = w.first + k * w.group + w.own;
        if (f < width) value[k] += a.additive ? through : through * widen(right[f]);
      }
    }
    __syncwarp();
    T* out = static_cast<T*>(a.d_left) + at * a.dim;
    const A scale = a.additive ? A{1} : static_cast<A>(a.scale);
#pragma unroll
    for (int k = 0; k < kColumns; ++k) {
      const A total = sum_over_groups(value[k], w.group);
      const int64_t f = w.first + k * w.group + w.own;
      if (w.turn == 0 && f < width) narrow(scale * total, out + f);
    }
  }
}

template <class T, class I>
__global__ void backward_cols_kernel(AttentionArgs a, Shape shape) {
  using A = Accumulator<T>;
  const Walk<T, I> w(a, shape);
  for (int64_t row = first_row(); row < a.rows; row += row_stride()) {
    int64_t begin;
    int64_t end;
    w.bounds(row, begin, end);
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
        const int64_t f = w.first + k * w.group + w.own;
        if (f < a.dim_v) d_v[k] += p * widen(grad[f]);
        if (f < a.dim) d_right[k] += a.additive ? through : through * widen(left[f]);
      }
    }
    __syncwarp();
    const int64_t at = row * a.heads + w.head;
    const A scale = a.additive ? A{1} : static_cast<A>(a.scale);
#pragma unroll
    for (int k = 0; k < kColumns; ++k) {
      const A total_v = sum_over_groups(d_v[k], w.group);
      const A total_right = sum_over_groups(d_right[k], w.group);
      const int64_t f = w.first + k * w.group + w.own;
      if (w.turn != 0) continue;
      if (f < a.dim_v) narrow(total_v, static_cast<T*>(a.d_v) + at * a.dim_v + f);
      if (f < a.dim) narrow(scale * total_right, static_cast<T*>(a.d_right) + at * a.dim + f);
    }
  }
}

// `held` columns a head are kept in registers, at least one, so that numbers a head are written where there are none.
template <class F>
int with_shape(const AttentionArgs& a, int64_t held, F&& f) {
  if (a.rows == 0) return cudaSuccess;
  const int64_t widest = a.dim > a.dim_v ? a.dim : a.dim_v;
  const Shape shape = shape_of_warp(widest);
  const int64_t tiles = held < 1 ? 1 : (held + shape.tile - 1) / shape.tile;
  if (a.heads > 65535 || tiles > 65535) return cudaErrorInvalidConfiguration;
  const dim3 grid(row_blocks(a.rows), static_cast<unsigned>(a.heads), static_cast<unsigned>(tiles));
  with_types(a.dtype, a.wide_index, [&](auto element, auto index) { f(element, index, grid, shape); });
  return cudaGetLastError();
}

constexpr int kThreads = kWarp * kWarpsPerBlock;

}  // namespace

int attention_rows_cuda(const AttentionArgs& a, void* stream) {
  return with_shape(a, a.dim_v, [&](auto element, auto index, dim3 grid, Shape shape) {
    launch(rows_kernel<decltype(element), decltype(index)>, grid, kThreads, static_cast<cudaStream_t>(stream), a,
           shape);
  });
}

int attention_backward_rows_cuda(const AttentionArgs& a, void* stream) {
  return with_shape(a, a.dim, [&](auto element, auto index, dim3 grid, Shape shape) {
    launch(backward_rows_kernel<decltype(element), decltype(index)>, grid, kThreads, static_cast<cudaStream_t>(stream),
           a, shape);
  });
}

int attention_backward_cols_cuda(const AttentionArgs& a, void* stream) {
  return with_shape(a, a.dim > a.dim_v ? a.dim : a.dim_v, [&](auto element, auto index, dim3 grid, Shape shape) {
    launch(backward_cols_kernel<decltype(element), decltype(index)>, grid, kThreads, static_cast<cudaStream_t>(stream),
           a, shape);
  });
}

}  // namespace gnas
