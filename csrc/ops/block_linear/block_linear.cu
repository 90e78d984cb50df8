#include "core/device.cuh"
#include "ops/block_linear/block_linear.h"

namespace gnas {
namespace {

using namespace cuda;

// Blocks of threads make 16 by 16 results from 16 by 16 tiles in shared memory. Masks are of blocks of multiples of 16,
// so a tile is live or dead as a whole, and dead ones are neither read nor multiplied.
//
// Outputs run along x of the grid, where there is room for any number; along y, which ends at 65535, blocks take
// further tiles by striding.
constexpr int kSide = 16;
constexpr int64_t kMostDown = 65535;

template <class T>
__device__ Accumulator<T> at(const T* m, int64_t row, int64_t rows, int64_t column, int64_t columns) {
  return row < rows && column < columns ? static_cast<Accumulator<T>>(widen(m[row * columns + column]))
                                        : Accumulator<T>{0};
}

template <class T>
__global__ void block_linear_kernel(BlockLinearArgs a, const T* weight, BlockMask mask) {
  using A = Accumulator<T>;
  __shared__ A left[kSide][kSide + 1];
  __shared__ A right[kSide][kSide + 1];
  const T* x = static_cast<const T*>(a.x);
  const int64_t first_output = static_cast<int64_t>(blockIdx.x) * kSide;
  const int64_t output = first_output + threadIdx.x;
  const bool* live = mask.live + first_output / mask.block_out * mask.across;
  const int64_t tiles = (a.rows + kSide - 1) / kSide;
  for (int64_t tile = blockIdx.y; tile < tiles; tile += gridDim.y) {
    const int64_t row = tile * kSide + threadIdx.y;
    A sum = a.bias != nullptr && output < a.out ? static_cast<A>(widen(static_cast<const T*>(a.bias)[output])) : A{0};
    for (int64_t input = 0; input < a.in; input += kSide) {
      if (!live[input / mask.block_in]) continue;
      __syncthreads();
      left[threadIdx.y][threadIdx.x] = at(x, row, a.rows, input + threadIdx.x, a.in);
      right[threadIdx.y][threadIdx.x] = at(weight, first_output + threadIdx.y, a.out, input + threadIdx.x, a.in);
      __syncthreads();
      for (int i = 0; i < kSide; ++i) sum += left[threadIdx.y][i] * right[threadIdx.x][i];
    }
    if (row < a.rows && output < a.out) narrow(sum, static_cast<T*>(a.y) + row * a.out + output);
  }
}

template <class T>
__global__ void block_outer_kernel(BlockOuterArgs a, BlockMask mask) {
  using A = Accumulator<T>;
  __shared__ A left[kSide][kSide + 1];
  __shared__ A right[kSide][kSide + 1];
  const T* y = static_cast<const T*>(a.y);
  const T* x = static_cast<const T*>(a.x);
  const int64_t first_output = static_cast<int64_t>(blockIdx.x) * kSide;
  const int64_t output = first_output + threadIdx.y;
  const int64_t tiles = (a.in + kSide - 1) / kSide;
  for (int64_t tile = blockIdx.y; tile < tiles; tile += gridDim.y) {
    const int64_t input = tile * kSide + threadIdx.x;
    A sum = 0;
    if (mask.live[first_output / mask.block_out * mask.across + tile * kSide / mask.block_in]) {
      for (int64_t row = 0; row < a.rows; row += kSide) {
        __syncthreads();
        left[threadIdx.y][threadIdx.x] = at(y, row + threadIdx.y, a.rows, first_output + threadIdx.x, a.out);
        right[threadIdx.y][threadIdx.x] = at(x, row + threadIdx.y, a.rows, input, a.in);
        __syncthreads();
        for (int r = 0; r < kSide; ++r) sum += left[r][threadIdx.y] * right[r][threadIdx.x];
      }
    }
    if (output < a.out && input < a.in) narrow(sum, static_cast<T*>(a.d) + output * a.in + input);
  }
}

dim3 grid_of(int64_t across, int64_t down) {
  const int64_t tiles = (down + kSide - 1) / kSide;
  return {static_cast<unsigned>((across + kSide - 1) / kSide),
          static_cast<unsigned>(tiles < kMostDown ? tiles : kMostDown)};
}

}  // namespace

int block_linear_cuda(const BlockLinearArgs& a, const void* weight, const BlockMask& mask, void* stream) {
  if (a.rows == 0 || a.out == 0) return cudaSuccess;
  const dim3 grid = grid_of(a.out, a.rows);
  const auto on = static_cast<cudaStream_t>(stream);
  with_types(a.dtype, false, [&](auto element, auto) {
    using T = decltype(element);
    launch(block_linear_kernel<T>, grid, dim3(kSide, kSide), on, a, static_cast<const T*>(weight), mask);
  });
  return cudaGetLastError();
}

int block_outer_cuda(const BlockOuterArgs& a, const BlockMask& mask, void* stream) {
  if (a.out == 0 || a.in == 0) return cudaSuccess;
  const dim3 grid = grid_of(a.out, a.in);
  const auto on = static_cast<cudaStream_t>(stream);
  with_types(a.dtype, false, [&](auto element, auto) {
    launch(block_outer_kernel<decltype(element)>, grid, dim3(kSide, kSide), on, a, mask);
  });
  return cudaGetLastError();
}

}  // namespace gnas
