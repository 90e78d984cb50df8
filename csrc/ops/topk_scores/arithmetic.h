// How scores of each element type are summed: what stands in a lane (a unit), how units of a user and of items become
// sums, and sums scores.
//
// A unit is one float, or as many int8 codes as one instruction multiplies: two, or four with AVX512-VNNI. Sums of one
// score run over its units in order, whatever the tile that it is in: so a score does not depend on the batch.
// Included by topk_scores_simd.cpp only, hence the namespaces.
#pragma once

#include "core/blocks.h"
#include "core/vector.h"
#include "ops/topk_scores/topk_scores.h"
#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace gnas::GNAS_ISA {
namespace {

// Minus zero changes no number, so that nothing is left of it; plus zero would be an addition.
template <class S>
GNAS_INLINE Vector<S> splat(S x) {
  return x - Vector<S>{};
}

// A bit for each lane whose score is above the bar, or NaN.
GNAS_INLINE uint32_t above(Vector<float> score, Vector<float> bar) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask(bit_copy<__m512>(score), bit_copy<__m512>(bar), _CMP_NLE_UQ);
#elif defined(__AVX2__)
  return _mm256_movemask_ps(_mm256_cmp_ps(bit_copy<__m256>(score), bit_copy<__m256>(bar), _CMP_NLE_UQ));
#elif defined(__SSE2__)
  return _mm_movemask_ps(_mm_cmpnle_ps(bit_copy<__m128>(score), bit_copy<__m128>(bar)));
#else
  uint32_t mask = 0;
  for (int lane = 0; lane < Lanes<float>::count; ++lane) mask |= uint32_t{!(score[lane] <= bar[lane])} << lane;
  return mask;
#endif
}
GNAS_INLINE uint32_t above(Vector<double> score, Vector<double> bar) {
#if defined(__AVX512F__)
  return _mm512_cmp_pd_mask(bit_copy<__m512d>(score), bit_copy<__m512d>(bar), _CMP_NLE_UQ);
#elif defined(__AVX2__)
  return _mm256_movemask_pd(_mm256_cmp_pd(bit_copy<__m256d>(score), bit_copy<__m256d>(bar), _CMP_NLE_UQ));
#elif defined(__SSE2__)
  return _mm_movemask_pd(_mm_cmpnle_pd(bit_copy<__m128d>(score), bit_copy<__m128d>(bar)));
#else
  uint32_t mask = 0;
  for (int lane = 0; lane < Lanes<double>::count; ++lane) mask |= uint32_t{!(score[lane] <= bar[lane])} << lane;
  return mask;
#endif
}

// Is a score of many registers above its bar, or NaN?
#if defined(__AVX512F__)
// With AVX-512 a comparison goes on from the last one's mask.
template <class S>
struct AnyAbove {
  std::conditional_t<sizeof(S) == 8, __mmask8, __mmask16> none = static_cast<decltype(none)>(~0);

  GNAS_INLINE void look(Vector<float> score, Vector<float> bar) {
    none = _mm512_mask_cmp_ps_mask(none, bit_copy<__m512>(score), bit_copy<__m512>(bar), _CMP_LE_OQ);
  }
  GNAS_INLINE void look(Vector<double> score, Vector<double> bar) {
    none = _mm512_mask_cmp_pd_mask(none, bit_copy<__m512d>(score), bit_copy<__m512d>(bar), _CMP_LE_OQ);
  }
  GNAS_INLINE bool any() const { return none != static_cast<decltype(none)>(~0); }
};
#else
template <class S>
struct AnyAbove {
  IntVector<S> some{};

  GNAS_INLINE void look(Vector<S> score, Vector<S> bar) { some |= ~(score <= bar); }
  GNAS_INLINE bool any() const {
    typedef int64_t Wide __attribute__((vector_size(GNAS_VECTOR_BYTES)));
    const Wide wide = bit_copy<Wide>(some);
    int64_t bits = 0;
    for (int part = 0; part < GNAS_VECTOR_BYTES / 8; ++part) bits |= wide[part];
    return bits != 0;
  }
};
#endif

// Floats. Halves are widened when they are packed.
template <class T>
struct Floats {
  using Element = T;
  using Score = Accumulator<T>;
  using Unit = Score;
  using Sums = Vector<Score>;
  static constexpr int kPerUnit = 1;
  static constexpr bool kScaled = false;
  static constexpr bool kScreened = false;

  static GNAS_INLINE const T* users(const TopkScoresArgs& a) { return static_cast<const T*>(a.users); }
  static GNAS_INLINE const T* items(const TopkScoresArgs& a) { return static_cast<const T*>(a.items); }
  // As many units of an item as there are lanes.
  static GNAS_INLINE IntVector<Score> load_units(const T* from) { return bit_copy<IntVector<Score>>(load(from)); }
  static GNAS_INLINE Unit user_unit(const T* from, int64_t) { return widen(from[0]); }
  static GNAS_INLINE Sums start(int32_t) { return Sums{}; }
  static GNAS_INLINE Sums add(Sums sums, IntVector<Score> items, Unit user) {
    return sums + bit_copy<Sums>(items) * splat<Score>(user);
  }
  static GNAS_INLINE Vector<Score> scores(Sums sums, const Score*) { return sums; }
};

// int8 codes: what both ways have in common.
struct Codes {
  using Element = int8_t;
  using Score = float;
  using Unit = int32_t;
  using Sums = IntVector<float>;
  static constexpr bool kScaled = true;
  static constexpr bool kScreened = false;

  static GNAS_INLINE const int8_t* users(const TopkScoresArgs& a) { return static_cast<const int8_t*>(a.users); }
  static GNAS_INLINE const int8_t* items(const TopkScoresArgs& a) { return static_cast<const int8_t*>(a.items); }
  static GNAS_INLINE const float* item_scale(const TopkScoresArgs& a) { return a.item_scale; }
  static GNAS_INLINE Sums start(int32_t first) { return Sums{} + first; }
  static GNAS_INLINE Vector<float> scores(Sums sums, const float* item_scale) {
    return __builtin_convertvector(sums, Vector<float>) * load(item_scale);
  }
  // Whole scores, to which a bias is added; rounded, so that they are the same at every instruction set.
  static GNAS_INLINE Vector<float> scaled(Vector<float> scores, float user_scale) {
    return rounded(scores * splat<float>(user_scale));
  }
};

// Two codes a unit, as int16: their products are summed exactly in int32.
struct Pairs : Codes {
  static constexpr int kPerUnit = 2;

  static GNAS_INLINE Sums load_units(const int8_t* from) {
    typedef int8_t Narrow __attribute__((vector_size(GNAS_VECTOR_BYTES / 2)));
    typedef int16_t Wide __attribute__((vector_size(GNAS_VECTOR_BYTES)));
    Narrow codes;
    __builtin_memcpy(&codes, from, sizeof codes);
    return bit_copy<Sums>(__builtin_convertvector(codes, Wide));
  }
  static GNAS_INLINE Unit user_unit(const int8_t* from, int64_t count) {
    const uint32_t low = static_cast<uint16_t>(static_cast<int16_t>(from[0]));
    const uint32_t high = count > 1 ? static_cast<uint16_t>(static_cast<int16_t>(from[1])) : 0;
    return static_cast<int32_t>(low | high << 16);
  }
  static GNAS_INLINE Sums add(Sums sums, Sums items, Unit user) {
#if defined(__AVX512BW__)
    return sums + bit_copy<Sums>(_mm512_madd_epi16(bit_copy<__m512i>(items), _mm512_set1_epi32(user)));
#elif defined(__AVX2__)
    return sums + bit_copy<Sums>(_mm256_madd_epi16(bit_copy<__m256i>(items), _mm256_set1_epi32(user)));
#elif defined(__SSE2__)
    return sums + bit_copy<Sums>(_mm_madd_epi16(bit_copy<__m128i>(items), _mm_set1_epi32(user)));
#else
    return sums + (items << 16 >> 16) * static_cast<int16_t>(user) + (items >> 16) * (user >> 16);
#endif
  }
};

#if defined(__AVX512F__)
// Four codes a unit. The instruction wants one factor unsigned: items are packed as code + 128, and the sums start at
// -128 times the sum of the user's codes.
struct Quads : Codes {
  static constexpr int kPerUnit = 4;

  // Where a user's sums begin.
  static GNAS_INLINE int32_t start_of(const int8_t* user, int64_t width) {
    int32_t sum = 0;
    for (int64_t f = 0; f < width; ++f) sum += user[f];
    return -128 * sum;
  }
  static GNAS_INLINE Sums load_units(const int8_t* from) {
    Sums codes;
    __builtin_memcpy(&codes, from, sizeof codes);
    return codes ^ static_cast<int32_t>(0x80808080u);
  }
  static GNAS_INLINE Unit user_unit(const int8_t* from, int64_t count) {
    uint32_t unit = 0;
    for (int64_t f = 0; f < kPerUnit && f < count; ++f) unit |= uint32_t{static_cast<uint8_t>(from[f])} << (8 * f);
    return static_cast<int32_t>(unit);
  }
  // In assembly: the intrinsic can only be inlined into functions that are compiled for AVX512-VNNI as a whole.
  static GNAS_INLINE Sums dot(Sums sums, Sums items, Sums user) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(items), "v"(user));
    return sums;
  }
  static GNAS_INLINE Sums add(Sums sums, Sums items, Unit user) { return dot(sums, items, Sums{} + user); }
};

// The codes of float32 rows: what no score is above.
struct Screened : Quads {
  static constexpr bool kScreened = true;

  static GNAS_INLINE const int8_t* users(const TopkScoresArgs& a) { return a.user_codes.codes; }
  static GNAS_INLINE const int8_t* items(const TopkScoresArgs& a) { return a.item_codes.codes; }
  static GNAS_INLINE const float* item_scale(const TopkScoresArgs& a) { return a.item_codes.scale; }
  static GNAS_INLINE Vector<float> scaled(Vector<float> scores, float user_scale) {
    return scores * splat<float>(user_scale);
  }
};
#endif

}  // namespace
}  // namespace gnas::GNAS_ISA
