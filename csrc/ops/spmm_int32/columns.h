// Sums over a row's edges for some of its columns, in int32. For spmm_int32_simd.cpp.
#pragma once

#include "core/vector.h"
#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace gnas::GNAS_ISA {
namespace {

// The edges begin … end-1 of a row, or a piece of it.
template <class I>
struct Edges {
  const I* indices;
  const int8_t* weight;
  const int8_t* codes;
  int64_t stride;
  int64_t begin;
  int64_t end;
  int64_t ahead;  // how many edges ahead rows are prefetched; never beyond the last edge

  GNAS_INLINE const int8_t* row_of(int64_t e) const { return codes + static_cast<int64_t>(indices[e]) * stride; }
  // That edge is not checked yet, so this is only a number.
  GNAS_INLINE void prefetch(int64_t e, int64_t column) const {
    const uintptr_t address = reinterpret_cast<uintptr_t>(codes) +
                              static_cast<uint64_t>(indices[e + ahead]) * static_cast<uint64_t>(stride) + column;
    __builtin_prefetch(reinterpret_cast<const void*>(address));
  }
};

template <class I>
void plain_columns(const Edges<I>& r, int64_t column, int64_t until, int32_t* to) {
  for (int64_t f = column; f < until; ++f) to[f] = 0;
  for (int64_t e = r.begin; e < r.end; ++e) {
    const int8_t* row = r.row_of(e);
    const int32_t w = r.weight[e];
    r.prefetch(e, column);
    for (int64_t f = column; f < until; ++f) to[f] += w * row[f];
  }
}

#if defined(__AVX2__)
constexpr int kPairColumns = 64;

// 64 columns, two edges at a time: their codes side by side as int16, times both weights, added up by pairs.
template <class I>
void pair_columns(const Edges<I>& r, int64_t column, int32_t* to) {
  constexpr int kParts = kPairColumns / 16;
  __m256i low[kParts];
  __m256i high[kParts];
  for (int part = 0; part < kParts; ++part) low[part] = high[part] = _mm256_setzero_si256();
  for (int64_t e = r.begin; e < r.end; e += 2) {
    const bool both = e + 1 < r.end;
    const int64_t other = both ? e + 1 : e;
    const int8_t* one = r.row_of(e) + column;
    const int8_t* two = r.row_of(other) + column;
    r.prefetch(e, column);
    r.prefetch(other, column);
    const uint32_t first = static_cast<uint16_t>(static_cast<int16_t>(r.weight[e]));
    const uint32_t second = both ? static_cast<uint16_t>(static_cast<int16_t>(r.weight[other])) : 0;
    const __m256i w = _mm256_set1_epi32(static_cast<int32_t>(first | second << 16));
#pragma GCC unroll 4
    for (int part = 0; part < kParts; ++part) {
      const __m256i a = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(one + part * 16)));
      const __m256i b = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(two + part * 16)));
      low[part] = _mm256_add_epi32(low[part], _mm256_madd_epi16(_mm256_unpacklo_epi16(a, b), w));
      high[part] = _mm256_add_epi32(high[part], _mm256_madd_epi16(_mm256_unpackhi_epi16(a, b), w));
    }
  }
  // Columns 0 … 3 and 8 … 11 of each sixteen stand in low, the others in high.
  for (int part = 0; part < kParts; ++part) {
    __m256i* at = reinterpret_cast<__m256i*>(to + column + part * 16);
    _mm256_storeu_si256(at, _mm256_permute2x128_si256(low[part], high[part], 0x20));
    _mm256_storeu_si256(at + 1, _mm256_permute2x128_si256(low[part], high[part], 0x31));
  }
}
#endif

#if GNAS_VECTOR_BYTES == 64
#define GNAS_VNNI __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))
constexpr int kQuadColumns = 64;

// The four weights from edge e on as the bytes of a number; those beyond the last edge are 0.
template <class I>
GNAS_INLINE int32_t four_weights(const Edges<I>& r, int64_t e) {
  int32_t four = 0;
  if (e + 4 <= r.end)
    __builtin_memcpy(&four, r.weight + e, 4);
  else
    __builtin_memcpy(&four, r.weight + e, r.end - e);
  return four;
}

// Two quarters of a, then two of b. (Without a mask the header of the compiler warns about itself.)
template <int kWhich>
GNAS_INLINE __m512i quarters(__m512i a, __m512i b) {
  return _mm512_maskz_shuffle_i32x4(0xffff, a, b, kWhich);
}

// As many lowest bits as there are columns left.
GNAS_INLINE uint64_t first_bits(int64_t left) {
  return left >= 64 ? ~uint64_t{0} : left <= 0 ? 0 : ~uint64_t{0} >> (64 - left);
}

// Up to 64 N columns, four edges at a time: vpdpbusd multiplies the unsigned codes + 128 of four edges with their
// signed weights. What the 128 adds is taken away at the end; modulo 2^32 that is exact, whatever was in between.
template <class I, int N>
GNAS_VNNI void quad_columns(const Edges<I>& r, int64_t column, int64_t count, int32_t* to) {
  const __m512i flip = _mm512_set1_epi8(static_cast<char>(0x80));
  __m512i sum[N][4];
#pragma GCC unroll 4
  for (int n = 0; n < N; ++n) {
    for (int k = 0; k < 4; ++k) sum[n][k] = _mm512_setzero_si512();
  }
  uint32_t total = 0;
  for (int64_t e = r.begin; e < r.end; e += 4) {
    const int64_t most = r.end - 1;
    const int64_t edge[4] = {e, e + 1 < most ? e + 1 : most, e + 2 < most ? e + 2 : most, e + 3 < most ? e + 3 : most};
    const int8_t* row[4];
    for (int k = 0; k < 4; ++k) row[k] = r.row_of(edge[k]) + column;
    const int32_t four = four_weights(r, e);
    for (int k = 0; k < 4; ++k) total += static_cast<uint32_t>(static_cast<int8_t>(four >> (8 * k)));
    const __m512i w = _mm512_set1_epi32(four);
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) {
      const __mmask64 mask = first_bits(count - n * 64);
      for (int k = 0; k < 4; ++k) r.prefetch(edge[k], column + n * 64);
      const __m512i a = _mm512_xor_si512(_mm512_maskz_loadu_epi8(mask, row[0] + n * 64), flip);
      const __m512i b = _mm512_xor_si512(_mm512_maskz_loadu_epi8(mask, row[1] + n * 64), flip);
      const __m512i c = _mm512_xor_si512(_mm512_maskz_loadu_epi8(mask, row[2] + n * 64), flip);
      const __m512i d = _mm512_xor_si512(_mm512_maskz_loadu_epi8(mask, row[3] + n * 64), flip);
      const __m512i ab_low = _mm512_unpacklo_epi8(a, b);
      const __m512i ab_high = _mm512_unpackhi_epi8(a, b);
      const __m512i cd_low = _mm512_unpacklo_epi8(c, d);
      const __m512i cd_high = _mm512_unpackhi_epi8(c, d);
      sum[n][0] = _mm512_dpbusd_epi32(sum[n][0], _mm512_unpacklo_epi16(ab_low, cd_low), w);
      sum[n][1] = _mm512_dpbusd_epi32(sum[n][1], _mm512_unpackhi_epi16(ab_low, cd_low), w);
      sum[n][2] = _mm512_dpbusd_epi32(sum[n][2], _mm512_unpacklo_epi16(ab_high, cd_high), w);
      sum[n][3] = _mm512_dpbusd_epi32(sum[n][3], _mm512_unpackhi_epi16(ab_high, cd_high), w);
    }
  }
  const __m512i excess = _mm512_set1_epi32(static_cast<int32_t>(total * 128u));
#pragma GCC unroll 4
  for (int n = 0; n < N; ++n) {
    __m512i s[4];
    for (int k = 0; k < 4; ++k) s[k] = _mm512_sub_epi32(sum[n][k], excess);
    // Quarter q of s[k] holds columns 16 q + 4 k …: a transposition of quarters.
    const __m512i even_low = quarters<0x88>(s[0], s[1]);
    const __m512i even_high = quarters<0x88>(s[2], s[3]);
    const __m512i odd_low = quarters<0xdd>(s[0], s[1]);
    const __m512i odd_high = quarters<0xdd>(s[2], s[3]);
    __m512i out[4] = {quarters<0x88>(even_low, even_high), quarters<0x88>(odd_low, odd_high),
                      quarters<0xdd>(even_low, even_high), quarters<0xdd>(odd_low, odd_high)};
    const uint64_t mask = first_bits(count - n * 64);
    for (int k = 0; k < 4; ++k)
      _mm512_mask_storeu_epi32(to + column + n * 64 + k * 16, static_cast<__mmask16>(mask >> (16 * k)), out[k]);
  }
}
#endif

}  // namespace
}  // namespace gnas::GNAS_ISA
