// What the CUDA kernels share: element conversion, and the one launch shape that they use, a warp a row.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

#include "core/types.h"

namespace gnas::cuda {

template <class T>
using Accumulator = std::conditional_t<std::is_same_v<T, double>, double, float>;

__device__ inline float widen(float x) { return x; }
__device__ inline double widen(double x) { return x; }
__device__ inline float widen(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ inline float widen(__half x) { return __half2float(x); }

__device__ inline void narrow(float x, float* to) { *to = x; }
__device__ inline void narrow(double x, double* to) { *to = x; }
__device__ inline void narrow(float x, __nv_bfloat16* to) { *to = __float2bfloat16_rn(x); }
__device__ inline void narrow(float x, __half* to) { *to = __float2half_rn(x); }

constexpr int kWarp = 32;
constexpr int kWarpsPerBlock = 8;
constexpr unsigned kAllLanes = 0xFFFFFFFFu;

// The row of this warp; rows beyond the grid are reached by striding, so any number of rows fits.
__device__ inline int64_t first_row() {
  return static_cast<int64_t>(blockIdx.x) * kWarpsPerBlock + threadIdx.x / kWarp;
}
__device__ inline int64_t row_stride() { return static_cast<int64_t>(gridDim.x) * kWarpsPerBlock; }
__device__ inline int lane() { return static_cast<int>(threadIdx.x) % kWarp; }

// An index that would read out of bounds stops the kernel: the stream reports a launch failure, nothing is read.
__device__ inline void require(bool holds) {
  if (!holds) __trap();
}

inline unsigned row_blocks(int64_t rows) {
  const int64_t blocks = (rows + kWarpsPerBlock - 1) / kWarpsPerBlock;
  return static_cast<unsigned>(blocks < (int64_t{1} << 30) ? blocks : int64_t{1} << 30);
}

// How many multiprocessors the GPU has. Does not wait for it; the stand-in for CUDA has few, so that work is shared
// out.
inline int processors() {
#ifdef __CUDACC__
  int device = 0;
  int count = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device);
  return count > 0 ? count : 1;
#else
  return 3;
#endif
}

// The one place where kernels are launched. Without nvcc there is a stand-in for CUDA, which runs them on the CPU.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, cudaStream_t stream, const Arguments&... arguments) {
#ifdef __CUDACC__
  kernel<<<grid, block, 0, stream>>>(static_cast<Parameters>(arguments)...);
#else
  emulate(grid, block, [=] { kernel(static_cast<Parameters>(arguments)...); });
#endif
}

// Calls f with a value of the element type and one of the index type.
template <class F>
void with_types(Dtype dtype, bool wide_index, F&& f) {
  const auto with_index = [&](auto element) {
    if (wide_index)
      f(element, int64_t{});
    else
      f(element, int32_t{});
  };
  switch (dtype) {
    case Dtype::f32:
      return with_index(float{});
    case Dtype::f64:
      return with_index(double{});
    case Dtype::bf16:
      return with_index(__nv_bfloat16{});
    case Dtype::f16:
      return with_index(__half{});
  }
}

}  // namespace gnas::cuda
