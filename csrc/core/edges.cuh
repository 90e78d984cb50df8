// The edges of a row, walked by a warp: 32 indices are read at once and handed to the lanes that want them.
#pragma once

#include "core/device.cuh"

namespace gnas::cuda {

// Some edges of a row that a lane takes at once. Where one is not `live`, there are no more.
template <class I, int kAhead>
struct SomeEdges {
  bool live[kAhead];
  I source[kAhead];  // the row that it reads
  I place[kAhead];   // where its numbers stand, for who asked for places
};

// Calls f(some) for edges begin … end, of which the lanes of a turn take every turns-th. All lanes of a warp come as
// often, so f may shuffle. The indices were not checked before: here they are.
template <int kAhead, class I, class F>
__device__ inline void for_edges(const I* indices, const I* edge, int64_t begin, int64_t end, int64_t cols, int64_t nnz,
                                 int turn, int turns, bool places, const F& f) {
  for (int64_t batch = begin; batch < end; batch += kWarp) {
    const int64_t mine = batch + lane();
    I my_source = 0;
    I my_place = 0;
    if (mine < end) {
      my_source = indices[mine];
      my_place = edge == nullptr ? static_cast<I>(mine) : edge[mine];
      require(static_cast<uint64_t>(my_source) < static_cast<uint64_t>(cols) &&
              static_cast<uint64_t>(my_place) < static_cast<uint64_t>(nnz));
    }
    const int count = static_cast<int>(end - batch < kWarp ? end - batch : kWarp);
    for (int base = 0; base < count; base += turns * kAhead) {
      SomeEdges<I, kAhead> some;
#pragma unroll
      for (int u = 0; u < kAhead; ++u) {
        const int k = base + u * turns + turn;
        some.live[u] = k < count;
        some.source[u] = __shfl_sync(kAllLanes, my_source, static_cast<unsigned>(k) % kWarp);
        some.place[u] = places ? __shfl_sync(kAllLanes, my_place, static_cast<unsigned>(k) % kWarp) : I{0};
      }
      f(some);
    }
  }
}

}  // namespace gnas::cuda
