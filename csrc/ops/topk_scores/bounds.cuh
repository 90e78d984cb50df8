// Which of many numbers are the largest: by how many there are in each part of their range, and again in the part where
// the last of them is. One pass or two are enough for most, where sorting takes dozens of steps.
#pragma once

#include "core/device.cuh"

namespace gnas {
namespace {

constexpr int kMostThreads = 1024;

// What the threads of a block share while they look for a bound.
template <class O>
struct Parts {
  O least;
  O most;
  int inside[kMostThreads];  // how many numbers are in each part
  int warps[cuda::kWarp];    // in all parts of a warp
  int chosen;
  int reaching;
  int above;
};

template <class O>
struct Bound {
  O number;
  int reaching;
};

__device__ inline int bits_of(unsigned x) { return 32 - __clz(static_cast<int>(x)); }
__device__ inline int bits_of(unsigned long long x) { return 64 - __clzll(static_cast<long long>(x)); }

// A number that at least `wanted` of `count` reach, and at most `enough`, unless too many are equal; 0 < wanted <=
// count and wanted <= enough. at(i): the i-th number. All threads of a block, a power of 2 of them.
template <class O, class At>
__device__ Bound<O> bound_of(Parts<O>& parts, int count, int wanted, int enough, At at) {
  const int thread = static_cast<int>(threadIdx.x);
  const int threads = static_cast<int>(blockDim.x);
  const int warp = thread / cuda::kWarp;
  const int lane = thread % cuda::kWarp;
  if (thread == 0) {
    parts.least = ~O{0};
    parts.most = 0;
  }
  __syncthreads();
  O least = ~O{0};
  O most = 0;
  for (int i = thread; i < count; i += threads) {
    const O number = at(i);
    least = number < least ? number : least;
    most = number > most ? number : most;
  }
  for (int apart = cuda::kWarp / 2; apart > 0; apart /= 2) {
    const O one = __shfl_xor_sync(cuda::kAllLanes, least, apart);
    const O other = __shfl_xor_sync(cuda::kAllLanes, most, apart);
    least = one < least ? one : least;
    most = other > most ? other : most;
  }
  if (lane == 0) {
    atomicMin(&parts.least, least);
    atomicMax(&parts.most, most);
  }
  __syncthreads();
  O low = parts.least;
  O high = parts.most;
  int above = 0;  // numbers above `high`
  while (true) {
    const int excess = bits_of(high - low) - (bits_of(static_cast<unsigned>(threads)) - 1);
    const int shift = excess > 0 ? excess : 0;
    parts.inside[thread] = 0;
    __syncthreads();
    for (int i = thread; i < count; i += threads) {
      const O number = at(i);
      if (number >= low && number <= high) atomicAdd(&parts.inside[static_cast<int>((number - low) >> shift)], 1);
    }
    __syncthreads();
    // The first thread has the uppermost part: a sum over the threads so far is that of the numbers down to its own.
    const int part = threads - 1 - thread;
    const int own = parts.inside[part];
    int sum = own;
    for (int apart = 1; apart < cuda::kWarp; apart *= 2) {
      const int before = __shfl_up_sync(cuda::kAllLanes, sum, apart);
      if (lane >= apart) sum += before;
    }
    if (lane == cuda::kWarp - 1) parts.warps[warp] = sum;
    __syncthreads();
    int before = lane < warp ? parts.warps[lane] : 0;
    for (int apart = cuda::kWarp / 2; apart > 0; apart /= 2) before += __shfl_xor_sync(cuda::kAllLanes, before, apart);
    sum += above + before;
    if (sum >= wanted && sum - own < wanted) {
      parts.chosen = part;
      parts.reaching = sum;
      parts.above = sum - own;
    }
    __syncthreads();
    const O last = (O{1} << shift) - 1;
    low += static_cast<O>(parts.chosen) << shift;
    if (high - low > last) high = low + last;
    above = parts.above;
    if (shift == 0 || parts.reaching <= enough) return {low, parts.reaching};
  }
}

}  // namespace
}  // namespace gnas
