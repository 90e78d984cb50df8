// Several elements beside each other that a lane of a CUDA kernel reads or writes at once, 16 bytes at a time.
#pragma once

#include "core/device.cuh"

namespace gnas::cuda {

constexpr int kPackBytes = 16;

template <class T, int kCount>
struct alignas(sizeof(T) * kCount % kPackBytes == 0 ? kPackBytes : alignof(T)) Pack {
  T at[kCount];
};

// From memory that no kernel writes meanwhile; aligned to 16 bytes where a pack has as many.
template <int kCount, class T>
__device__ inline Pack<T, kCount> load(const T* from) {
  Pack<T, kCount> pack;
  if constexpr (sizeof(pack) % kPackBytes == 0) {
#pragma unroll
    for (int i = 0; i < static_cast<int>(sizeof(pack)) / kPackBytes; ++i)
      reinterpret_cast<uint4*>(&pack)[i] = __ldg(reinterpret_cast<const uint4*>(from) + i);
  } else {
#pragma unroll
    for (int i = 0; i < kCount; ++i) pack.at[i] = from[i];
  }
  return pack;
}

template <int kCount, class T>
__device__ inline void store(const Pack<T, kCount>& pack, T* to) {
  if constexpr (sizeof(pack) % kPackBytes == 0) {
#pragma unroll
    for (int i = 0; i < static_cast<int>(sizeof(pack)) / kPackBytes; ++i)
      reinterpret_cast<uint4*>(to)[i] = reinterpret_cast<const uint4*>(&pack)[i];
  } else {
#pragma unroll
    for (int i = 0; i < kCount; ++i) to[i] = pack.at[i];
  }
}

inline bool aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % kPackBytes == 0; }

// Lanes that stand beside each other on a row of `packs` packs: a power of two. The warp's other lanes take other rows.
inline int lanes_of(int64_t packs) {
  int lanes = 1;
  while (lanes < packs && lanes < kWarp) lanes *= 2;
  return lanes;
}

}  // namespace gnas::cuda
