// The random numbers of a row's entries, in registers: those of random.h. Included by *_simd.cpp only.
#pragma once

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "core/quantize.h"
#include "core/vector.h"

namespace gnas::GNAS_ISA {
namespace {

typedef uint64_t Words __attribute__((vector_size(GNAS_VECTOR_BYTES)));

// The product of the low halves.
GNAS_INLINE Words multiply(Words a, Words b) {
#if GNAS_VECTOR_BYTES == 64
  return bit_copy<Words>(_mm512_maskz_mul_epu32(0xff, bit_copy<__m512i>(a), bit_copy<__m512i>(b)));
#elif GNAS_VECTOR_BYTES == 32
  return bit_copy<Words>(_mm256_mul_epu32(bit_copy<__m256i>(a), bit_copy<__m256i>(b)));
#elif defined(__SSE2__)
  return bit_copy<Words>(_mm_mul_epu32(bit_copy<__m128i>(a), bit_copy<__m128i>(b)));
#else
  return (a & 0xFFFFFFFFu) * (b & 0xFFFFFFFFu);
#endif
}

// Numbers `first` … `first` + count - 1 of a row's stream, and a few more: Philox as in random.h, a block a lane.
inline void draw(const QuantizeSpec& s, int64_t row, int64_t first, int64_t count, uint32_t* to) {
  constexpr int kLanes = GNAS_VECTOR_BYTES / 8;
  constexpr uint64_t kLow = 0xFFFFFFFFu;
  Words own;
  Words other;
  Words step;
  for (int lane = 0; lane < kLanes; ++lane) {
    step[lane] = lane;
    own[lane] = lane % 2 == 0 ? lane / 2 : kLanes + lane / 2;
    other[lane] = own[lane] + kLanes / 2;
  }
  for (int64_t at = 0; at < count; at += 4 * kLanes) {
    Words c0 = step + static_cast<uint64_t>((first + at) / 4);
    Words c1 = Words{} + s.family;
    Words c2 = Words{} + (static_cast<uint64_t>(row) & kLow);
    Words c3 = Words{} + (static_cast<uint64_t>(row) >> 32);
    uint32_t key0 = static_cast<uint32_t>(s.seed);
    uint32_t key1 = static_cast<uint32_t>(s.seed >> 32);
    for (int round = 0; round < 10; ++round) {
      const Words left = multiply(c0, Words{} + uint64_t{0xD2511F53u});
      const Words right = multiply(c2, Words{} + uint64_t{0xCD9E8D57u});
      // The high halves of c1 and c3 are not cleared: only c0 and c2 are multiplied, by their low halves.
      c0 = (right >> 32) ^ c1 ^ uint64_t{key0};
      c1 = right;
      c2 = (left >> 32) ^ c3 ^ uint64_t{key1};
      c3 = left;
      key0 += 0x9E3779B9u;
      key1 += 0xBB67AE85u;
    }
    const Words low = (c0 & kLow) | c1 << 32;
    const Words high = (c2 & kLow) | c3 << 32;
    const Words front = __builtin_shuffle(low, high, own);
    const Words back = __builtin_shuffle(low, high, other);
    __builtin_memcpy(to + at, &front, sizeof front);
    __builtin_memcpy(to + at + 2 * kLanes, &back, sizeof back);
  }
}

}  // namespace
}  // namespace gnas::GNAS_ISA
