// What the pieces of hubs come to, put together: out[row] = scale(row) * the sum over row's pieces of partial[piece].
#pragma once

#include "core/hubs.cuh"

namespace gnas::cuda {

// A block takes a hub and the columns of a warp. Each of its warps takes every so many-th piece, so that a hub of
// thousands of pieces does not wait for one warp; what the warps have is added in their order.
template <class T, class Scale>
__global__ void sum_pieces_kernel(Hubs h, const Accumulator<T>* partial, int64_t width, Scale scale, T* out) {
  using A = Accumulator<T>;
  __shared__ A sums[kWarpsPerBlock][kWarp];
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int64_t column = static_cast<int64_t>(blockIdx.y) * kWarp + lane();
  for (int64_t number = blockIdx.x; number < h.hubs(); number += gridDim.x) {
    const Hub hub = h.hub[number];
    A sum = 0;
    if (column < width) {
#pragma unroll 4
      for (int64_t k = warp; k < hub.pieces; k += kWarpsPerBlock) sum += partial[(hub.first + k) * width + column];
    }
    sums[warp][lane()] = sum;
    __syncthreads();
    if (warp == 0 && column < width) {
      for (int w = 1; w < kWarpsPerBlock; ++w) sum += sums[w][lane()];
      narrow(scale(hub.row) * sum, out + hub.row * width + column);
    }
    __syncthreads();
  }
}

template <class T, class Scale>
int sum_pieces(const Hubs& h, const void* partial, int64_t width, Scale scale, void* out, cudaStream_t stream) {
  constexpr int64_t kMostTiles = 65535;
  const int64_t tiles = (width + kWarp - 1) / kWarp;
  if (h.split == 0 || width == 0) return cudaSuccess;
  if (tiles > kMostTiles) return cudaErrorInvalidConfiguration;
  launch(sum_pieces_kernel<T, Scale>, dim3(blocks_of_hubs(h), static_cast<unsigned>(tiles)), kWarp * kWarpsPerBlock,
         stream, h, static_cast<const Accumulator<T>*>(partial), width, scale, static_cast<T*>(out));
  return cudaGetLastError();
}

}  // namespace gnas::cuda
