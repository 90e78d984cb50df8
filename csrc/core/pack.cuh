// Several elements beside each other that a lane of a CUDA kernel reads or writes at once, 16 bytes at a time.
#pragma once

#include "core/device.cuh"
#include "core/once.cuh"

namespace gnas::cuda {

constexpr int kPackBytes = 16;

// What is read at once: 16 bytes, or 8.
template <int kBytes>
using Word = std::conditional_t<kBytes % kPackBytes == 0, uint4, uint2>;
template <int kBytes>
constexpr bool kInWords = kBytes % 8 == 0;

template <class T, int kCount>
struct alignas(kInWords<sizeof(T) * kCount> ? alignof(Word<sizeof(T) * kCount>) : alignof(T)) Pack {
  T at[kCount];
};

// From memory that no kernel writes meanwhile; aligned as a pack is.
template <int kCount, class T>
__device__ inline Pack<T, kCount> load(const T* from) {
  Pack<T, kCount> pack;
  if constexpr (kInWords<sizeof(pack)>) {
    using W = Word<sizeof(pack)>;
#pragma unroll
    for (int i = 0; i < static_cast<int>(sizeof(pack) / sizeof(W)); ++i)
      reinterpret_cast<W*>(&pack)[i] = __ldg(reinterpret_cast<const W*>(from) + i);
  } else {
#pragma unroll
    for (int i = 0; i < kCount; ++i) pack.at[i] = from[i];
  }
  return pack;
}

// What nobody reads soon: it drives nothing out of the second-level cache.
template <int kCount, class T>
__device__ inline void store(const Pack<T, kCount>& pack, T* to) {
  if constexpr (kInWords<sizeof(pack)>) {
    using W = Word<sizeof(pack)>;
#pragma unroll
    for (int i = 0; i < static_cast<int>(sizeof(pack) / sizeof(W)); ++i)
      store_once(reinterpret_cast<W*>(to) + i, reinterpret_cast<const W*>(&pack)[i]);
  } else {
#pragma unroll
    for (int i = 0; i < kCount; ++i) to[i] = pack.at[i];
  }
}

// Rounded to the type of memory.
template <int kCount, class T, class A>
__device__ inline void store_scaled(const Pack<A, kCount>& pack, A scale, T* to) {
  Pack<T, kCount> narrowed;
#pragma unroll
  for (int c = 0; c < kCount; ++c) narrow(scale * pack.at[c], &narrowed.at[c]);
  store(narrowed, to);
}
template <int kCount, class T, class A>
__device__ inline void store_narrow(const Pack<A, kCount>& pack, T* to) {
  store_scaled(pack, A{1}, to);
}

inline bool aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % kPackBytes == 0; }

// Lanes that stand beside each other on a row of `packs` packs: a power of two. The warp's other lanes take other rows.
inline int lanes_of(int64_t packs) {
  int lanes = 1;
  while (lanes < packs && lanes < kWarp) lanes *= 2;
  return lanes;
}

}  // namespace gnas::cuda
