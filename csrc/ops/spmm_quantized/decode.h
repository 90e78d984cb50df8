// Codes of 8, 4 or 2 bits as registers of float32. For *_simd.cpp.
//
// A byte holds kShare codes. A register's worth of bytes is widened once and makes kShare registers, of which register
// k has columns k, k + kShare, …: sums are kept in that order and brought back once a row.
#pragma once

#include "core/vector.h"
#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace gnas::GNAS_ISA {
namespace {

constexpr int kFloats = Lanes<float>::count;
template <int kBits>
constexpr int kShare = 8 / kBits;
// Columns that one load makes.
template <int kBits>
constexpr int kUnit = kFloats * kShare<kBits>;

typedef uint8_t Bytes __attribute__((vector_size(kFloats)));

GNAS_INLINE Bytes load_bytes(const uint8_t* p) {
  Bytes v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

// The first `count` bytes, the others zero; nothing beyond is read.
GNAS_INLINE Bytes load_bytes(const uint8_t* p, int64_t count) {
#if GNAS_VECTOR_BYTES == 64
  return bit_copy<Bytes>(_mm_maskz_loadu_epi8(static_cast<__mmask16>((1u << count) - 1), p));
#else
  Bytes v{};
  for (int64_t i = 0; i < count; ++i) v[i] = p[i];
  return v;
#endif
}

// Bytes as integers, one a lane. (The compiler takes them apart one by one when asked to convert the vector.)
GNAS_INLINE IntVector<float> widen_unsigned(Bytes bytes) {
#if GNAS_VECTOR_BYTES == 64
  return bit_copy<IntVector<float>>(_mm512_maskz_cvtepu8_epi32(0xffff, bit_copy<__m128i>(bytes)));
#elif GNAS_VECTOR_BYTES == 32
  return bit_copy<IntVector<float>>(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(bit_copy<int64_t>(bytes))));
#else
  typedef uint8_t Register __attribute__((vector_size(16)));
  const Register low = bit_copy<Register>(IntVector<float>{bit_copy<int32_t>(bytes), 0, 0, 0});
  const Register spread = __builtin_shuffle(low, Register{0, 15, 15, 15, 1, 15, 15, 15, 2, 15, 15, 15, 3, 15, 15, 15});
  return bit_copy<IntVector<float>>(spread);
#endif
}

GNAS_INLINE IntVector<float> widen_signed(Bytes bytes) {
#if GNAS_VECTOR_BYTES == 64
  return bit_copy<IntVector<float>>(_mm512_maskz_cvtepi8_epi32(0xffff, bit_copy<__m128i>(bytes)));
#elif GNAS_VECTOR_BYTES == 32
  return bit_copy<IntVector<float>>(_mm256_cvtepi8_epi32(_mm_cvtsi64_si128(bit_copy<int64_t>(bytes))));
#else
  return (widen_unsigned(bytes) << 24) >> 24;
#endif
}

template <int kBits>
GNAS_INLINE void decode(Bytes bytes, Vector<float> (&to)[kShare<kBits>]) {
  if constexpr (kBits == 8) {
    to[0] = __builtin_convertvector(widen_signed(bytes), Vector<float>);
  } else {
    const IntVector<float> wide = widen_unsigned(bytes);
#if GNAS_VECTOR_BYTES == 64
    // A look-up takes the lowest four bits of each lane as they are: no mask, no conversion, no subtraction.
    const Vector<float> value = kBits == 4 ? Vector<float>{-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7}
                                           : Vector<float>{-2, -1, 0, 1, -2, -1, 0, 1, -2, -1, 0, 1, -2, -1, 0, 1};
    unrolled<kShare<kBits>>([&](auto k) __attribute__((always_inline)) {
      to[k] = _mm512_maskz_permutexvar_ps(0xffff, bit_copy<__m512i>(wide >> (k * kBits)), value);
    });
#else
    unrolled<kShare<kBits>>([&](auto k) __attribute__((always_inline)) {
      const IntVector<float> code = ((wide >> (k * kBits)) & ((1 << kBits) - 1)) - (1 << (kBits - 1));
      to[k] = __builtin_convertvector(code, Vector<float>);
    });
#endif
  }
}

// a[0], b[0], a[1], b[1] … in both.
GNAS_INLINE void interleave(Vector<float>& a, Vector<float>& b) {
  IntVector<float> low{};
  IntVector<float> high{};
  for (int lane = 0; lane < kFloats; ++lane) {
    low[lane] = lane / 2 + lane % 2 * kFloats;
    high[lane] = low[lane] + kFloats / 2;
  }
  const Vector<float> first = __builtin_shuffle(a, b, low);
  b = __builtin_shuffle(a, b, high);
  a = first;
}

// Registers in decode's order, in the order of their columns.
template <int kBits>
GNAS_INLINE void in_order(Vector<float> (&v)[kShare<kBits>]) {
  if constexpr (kBits == 4) {
    interleave(v[0], v[1]);
  } else if constexpr (kBits == 2) {
    interleave(v[0], v[2]);
    interleave(v[1], v[3]);
    interleave(v[0], v[1]);
    interleave(v[2], v[3]);
  }
}

}  // namespace
}  // namespace gnas::GNAS_ISA
