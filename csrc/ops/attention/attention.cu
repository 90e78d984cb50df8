// Heads that packs fit go one way, all others another one, element by element. Rows of very many edges are taken in
// pieces. All folds run in a fixed order, without atomics, so results repeat exactly.
#include "core/hub_sums.cuh"
#include "ops/attention/any.cuh"
#include "ops/attention/packs.cuh"

namespace gnas {
namespace {

// The same work for heads that packs fit, and for any.
struct Kernels {
  void (*packs)(AttentionArgs, Shape);
  void (*any)(AttentionArgs, Shape);
  int64_t held;  // columns a head that `any` keeps in registers
};

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

// Launches what fits, then calls f(shape), which puts pieces together where there may be some.
template <class T, class I, class F>
int launch_on(const AttentionArgs& a, const Kernels& kernels, void* scratch, cudaStream_t on, const F& f) {
  constexpr int64_t kPack = kPackBytes / static_cast<int64_t>(sizeof(T));
  Shape shape{};
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
    launch(kernels.packs, dim3(blocks, static_cast<unsigned>(tiles)), kThreads, on, a, shape);
  } else {
    shape.heads = head_shape(1, widest);
    shape.tile = int64_t{shape.heads.group} * kColumns;
    // At least one tile, so that numbers a head are written where there are no columns.
    const int64_t tiles = kernels.held < 1 ? 1 : (kernels.held + shape.tile - 1) / shape.tile;
    if (a.heads > kMostTiles || tiles > kMostTiles) return cudaErrorInvalidConfiguration;
    launch(kernels.any, dim3(blocks, static_cast<unsigned>(a.heads), static_cast<unsigned>(tiles)), kThreads, on, a,
           shape);
  }
  const int error = cudaGetLastError();
  return error == cudaSuccess ? f(shape) : error;
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
    const Kernels kernels{rows_kernel<T, I, decltype(additive)::value>, any_rows_kernel<T, I>, a.dim_v};
    const auto on = static_cast<cudaStream_t>(stream);
    return launch_on<T, I>(a, kernels, scratch, on, [&](const Shape& s) { return merge_rows<T>(a, s, on); });
  });
}

int attention_backward_rows_cuda(const AttentionArgs& a, void* scratch, void* stream) {
  return with_kernel(a, [&](auto element, auto index, auto additive) -> int {
    using T = decltype(element);
    using I = decltype(index);
    const Kernels kernels{backward_rows_kernel<T, I, decltype(additive)::value>, any_backward_rows_kernel<T, I>, a.dim};
    const auto on = static_cast<cudaStream_t>(stream);
    return launch_on<T, I>(a, kernels, scratch, on, [&](const Shape& s) {
      return sum_pieces<T>(s.hubs, s.partial2, a.heads * a.dim, times<T>(a.scale), a.d_left, on);
    });
  });
}

int attention_backward_cols_cuda(const AttentionArgs& a, void* scratch, void* stream) {
  return with_kernel(a, [&](auto element, auto index, auto additive) -> int {
    using T = decltype(element);
    using I = decltype(index);
    const Kernels kernels{backward_cols_kernel<T, I, decltype(additive)::value>, any_backward_cols_kernel<T, I>,
                          a.dim > a.dim_v ? a.dim : a.dim_v};
    const auto on = static_cast<cudaStream_t>(stream);
    return launch_on<T, I>(a, kernels, scratch, on, [&](const Shape& s) {
      const int error = sum_pieces<T>(s.hubs, s.partial, a.heads * a.dim_v, times<T>(1), a.d_v, on);
      if (error != cudaSuccess) return error;
      return sum_pieces<T>(s.hubs, s.partial2, a.heads * a.dim, times<T>(a.scale), a.d_right, on);
    });
  });
}

}  // namespace gnas
