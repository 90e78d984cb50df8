// The elements of a word of 64 whose bits are set, one after the other. For select_edges_simd.cpp.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace gnas::GNAS_ISA {
namespace {

inline int64_t bits_of(uint64_t word) { return __builtin_popcountll(word); }

// Calls f(place of a bit) for each bit that is set, the lowest first.
template <class F>
inline void for_bits(uint64_t word, const F& f) {
  for (; word != 0; word &= word - 1) f(__builtin_ctzll(word));
}

#if defined(__AVX512F__)
// Vectors are loaded and stored under a mask: nothing is read that is not live, nothing written beyond the last one,
// where another thread's block begins.
inline void compress(const uint32_t* from, uint64_t live, uint32_t* to) {
  for (int part = 0; part < 4; ++part, from += 16) {
    const __mmask16 bits = static_cast<__mmask16>(live >> (16 * part));
    const int count = __builtin_popcount(bits);
    const __mmask16 first = static_cast<__mmask16>((uint32_t{1} << count) - 1);
    _mm512_mask_storeu_epi32(to, first, _mm512_maskz_compress_epi32(bits, _mm512_maskz_loadu_epi32(bits, from)));
    to += count;
  }
}
inline void compress(const uint64_t* from, uint64_t live, uint64_t* to) {
  for (int part = 0; part < 8; ++part, from += 8) {
    const __mmask8 bits = static_cast<__mmask8>(live >> (8 * part));
    const int count = __builtin_popcount(bits);
    const __mmask8 first = static_cast<__mmask8>((uint32_t{1} << count) - 1);
    _mm512_mask_storeu_epi64(to, first, _mm512_maskz_compress_epi64(bits, _mm512_maskz_loadu_epi64(bits, from)));
    to += count;
  }
}
// Compression of 16 bits is not in every AVX-512: they are widened for it. (All lanes are named: GCC 12 warns of the
// undefined ones that the plain conversions begin with.)
inline void compress(const uint16_t* from, uint64_t live, uint16_t* to) {
  for (int part = 0; part < 4; ++part, from += 16) {
    const __mmask16 bits = static_cast<__mmask16>(live >> (16 * part));
    const int count = __builtin_popcount(bits);
    const __mmask16 first = static_cast<__mmask16>((uint32_t{1} << count) - 1);
    const __m512i wide = _mm512_maskz_cvtepu16_epi32(0xFFFF, _mm256_maskz_loadu_epi16(bits, from));
    _mm256_mask_storeu_epi16(to, first, _mm512_maskz_cvtepi32_epi16(0xFFFF, _mm512_maskz_compress_epi32(bits, wide)));
    to += count;
  }
}
// Two arrays under one mask.
inline void compress_both(const uint32_t* from, const uint32_t* other, uint64_t live, uint32_t* to,
                          uint32_t* other_to) {
  for (int part = 0; part < 4; ++part, from += 16, other += 16) {
    const __mmask16 bits = static_cast<__mmask16>(live >> (16 * part));
    const int count = __builtin_popcount(bits);
    const __mmask16 first = static_cast<__mmask16>((uint32_t{1} << count) - 1);
    _mm512_mask_storeu_epi32(to, first, _mm512_maskz_compress_epi32(bits, _mm512_maskz_loadu_epi32(bits, from)));
    const __m512i kept = _mm512_maskz_compress_epi32(bits, _mm512_maskz_loadu_epi32(bits, other));
    _mm512_mask_storeu_epi32(other_to, first, kept);
    to += count;
    other_to += count;
  }
}
#else
template <class T>
inline void compress(const T* from, uint64_t live, T* to) {
  if (live == ~uint64_t{0}) {
    std::memcpy(to, from, 64 * sizeof(T));
    return;
  }
  for_bits(live, [&](int bit) __attribute__((always_inline)) { *to++ = from[bit]; });
}
#endif

template <class T, class U>
inline void compress_both(const T* from, const U* other, uint64_t live, T* to, U* other_to) {
  compress(from, live, to);
  compress(other, live, other_to);
}

}  // namespace
}  // namespace gnas::GNAS_ISA
