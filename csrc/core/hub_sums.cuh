// What the pieces of hubs (core/hubs.cuh) come to, put together in an order that is always the same.
#pragma once

#include "core/hubs.cuh"

namespace gnas::cuda {

// A block takes a hub, and a lane a column of it. Each of the block's warps takes every so many-th piece, so that a hub
// of thousands of pieces does not wait for one warp; what the warps have is added in their order. All threads of the
// block come, with nothing in `own`; the first warp gets the whole. of(piece) is what one comes to, add(a, b) adds b to
// a; neither is asked where a lane is not `inside`.
template <class State, class Of, class Add>
__device__ inline State fold_pieces(const Hub& hub, bool inside, State own, const Of& of, const Add& add) {
  // As bytes: what is shared may not begin as anything.
  alignas(State) __shared__ unsigned char memory[kWarpsPerBlock][kWarp][sizeof(State)];
  const auto state_of = [](int of_warp) { return reinterpret_cast<State*>(memory[of_warp][lane()]); };
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  if (inside) {
#pragma unroll 4
    for (int64_t k = warp; k < hub.pieces; k += kWarpsPerBlock) add(own, of(hub.first + k));
  }
  *state_of(warp) = own;
  __syncthreads();
  if (warp == 0 && inside) {
    for (int w = 1; w < kWarpsPerBlock; ++w) add(own, *state_of(w));
  }
  __syncthreads();
  return own;
}

// The column of this lane, and whether it is the first warp, which writes what fold_pieces() gave.
__device__ inline int64_t column_of_lane() { return static_cast<int64_t>(blockIdx.y) * kWarp + lane(); }
__device__ inline bool first_warp() { return threadIdx.x < kWarp; }

// Launches a kernel of blocks that take hubs and tiles of 32 columns, if any row can be a hub. What comes back is the
// error of what was launched before, too.
template <class... Parameters, class... Arguments>
int launch_hubs(void (*kernel)(Parameters...), const Hubs& h, int64_t columns, cudaStream_t stream,
                const Arguments&... arguments) {
  constexpr int64_t kMost = 1024;
  constexpr int64_t kMostTiles = 65535;
  const int64_t tiles = (columns + kWarp - 1) / kWarp;
  if (h.split == 0 || columns == 0) return cudaGetLastError();
  if (tiles > kMostTiles) return cudaErrorInvalidConfiguration;
  const int64_t wanted = tiles < kMost ? kMost / tiles : 1;
  launch(kernel, dim3(static_cast<unsigned>(h.hub_room < wanted ? h.hub_room : wanted), static_cast<unsigned>(tiles)),
         kWarp * kWarpsPerBlock, stream, arguments...);
  return cudaGetLastError();
}

struct Plus {
  template <class A>
  __device__ void operator()(A& a, A b) const {
    a += b;
  }
};

// out[row] = scale(row) * the sum over row's pieces of partial[piece].
template <class T, class Scale>
__global__ void sum_pieces_kernel(Hubs h, const Accumulator<T>* partial, int64_t width, Scale scale, T* out) {
  using A = Accumulator<T>;
  const int64_t column = column_of_lane();
  const bool inside = column < width;
  for (int64_t number = blockIdx.x; number < h.hubs(); number += gridDim.x) {
    const Hub hub = h.hub[number];
    const A sum =
        fold_pieces(hub, inside, A{0}, [&](int64_t piece) { return partial[piece * width + column]; }, Plus{});
    if (first_warp() && inside) narrow(scale(hub.row) * sum, out + hub.row * width + column);
  }
}
template <class T, class Scale>
int sum_pieces(const Hubs& h, const void* partial, int64_t width, Scale scale, void* out, cudaStream_t stream) {
  return launch_hubs(sum_pieces_kernel<T, Scale>, h, width, stream, h, static_cast<const Accumulator<T>*>(partial),
                     width, scale, static_cast<T*>(out));
}

// By a block that does more with a hub than write its sum: rows first … first + pieces of partial, `stride` numbers
// apart, are added up into the first one.
template <class A>
__device__ inline void sum_pieces_in_place(A* partial, int64_t stride, const Hub& hub, int64_t columns) {
  for (int64_t tile = 0; tile < columns; tile += kWarp) {
    const int64_t column = tile + lane();
    const bool inside = column < columns;
    const A sum =
        fold_pieces(hub, inside, A{0}, [&](int64_t piece) { return partial[piece * stride + column]; }, Plus{});
    if (first_warp() && inside) partial[hub.first * stride + column] = sum;
  }
  __syncthreads();
}

}  // namespace gnas::cuda
