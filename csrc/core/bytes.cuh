// Bytes of words on CUDA.
#pragma once

#include "core/device.cuh"

namespace gnas::cuda {

// Four bytes of the eight of two words: hexadecimal digit i of `which` says which one becomes byte i; 4 … 7 are those
// of `high`.
template <uint32_t which>
__device__ inline uint32_t bytes_of(uint32_t low, uint32_t high) {
#ifdef __CUDACC__
  return __byte_perm(low, high, which);
#else
  const uint64_t both = static_cast<uint64_t>(high) << 32 | low;
  uint32_t word = 0;
  for (int i = 0; i < 4; ++i) word |= static_cast<uint32_t>(both >> (8 * (which >> (4 * i) & 7)) & 0xFF) << (8 * i);
  return word;
#endif
}

// Byte i of a word, which is u, as the number u - bias. 2^23 + u is a float whose last byte is u: that makes two quick
// instructions, where the GPU's own conversion is a slow one.
template <int i, int bias>
__device__ inline float byte_number(uint32_t word) {
#ifdef __CUDACC__
  return __uint_as_float(bytes_of<0x7440 | i>(word, 0x4B000000u)) - static_cast<float>((1 << 23) + bias);
#else
  return static_cast<float>(static_cast<int>(word >> (8 * i) & 0xFF) - bias);
#endif
}

}  // namespace gnas::cuda
