// What the pieces of a hub (core/hubs.cuh) come to together, by a block of threads a hub.
#pragma once

#include "core/hubs.cuh"

namespace gnas::cuda {

// Rows first … first + pieces of partial, `stride` numbers apart, are added up into the first one. Each warp adds every
// eighth, then their sums are added: an order that is always the same.
template <class A>
__device__ inline void sum_pieces(A* partial, int64_t stride, int64_t first, int64_t pieces, int64_t columns) {
  __shared__ A sums[kWarpsPerBlock][kWarp];
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  for (int64_t tile = 0; tile < columns; tile += kWarp) {
    const int64_t column = tile + lane();
    A own = 0;
    if (column < columns) {
#pragma unroll 4
      for (int64_t k = warp; k < pieces; k += kWarpsPerBlock) own += partial[(first + k) * stride + column];
    }
    sums[warp][lane()] = own;
    __syncthreads();
    if (warp == 0 && column < columns) {
      A total = sums[0][lane()];
      for (int w = 1; w < kWarpsPerBlock; ++w) total += sums[w][lane()];
      partial[first * stride + column] = total;
    }
    __syncthreads();
  }
}

}  // namespace gnas::cuda
