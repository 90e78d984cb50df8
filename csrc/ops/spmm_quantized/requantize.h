// A row of float32 as int8 codes and a scale, symmetric, rounded to the nearest: to the bit as quantize_rows has it.
// For *_simd.cpp.
#pragma once

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include "core/vector.h"

namespace gnas::GNAS_ISA {
namespace {

// The largest magnitude as its bits, in whose order NaN and infinities come last.
GNAS_INLINE int32_t largest_bits(const float* row, int64_t width) {
  constexpr int kLanes = Lanes<float>::count;
  constexpr int32_t kMagnitude = 0x7fffffff;
  IntVector<float> most{};
  int64_t f = 0;
  for (; f + kLanes <= width; f += kLanes) {
    const IntVector<float> bits = bit_copy<IntVector<float>>(load(row + f)) & kMagnitude;
    most = bits > most ? bits : most;
  }
  int32_t largest = 0;
  for (int lane = 0; lane < kLanes; ++lane) largest = most[lane] > largest ? most[lane] : largest;
  for (; f < width; ++f) {
    const int32_t bits = bit_copy<int32_t>(row[f]) & kMagnitude;
    largest = bits > largest ? bits : largest;
  }
  return largest;
}

// The step from one code to the next. Where it has too few bits to divide by, all codes are 0 under a scale of 1; where
// the last code would stand for what float32 does not hold, it is the next smaller one.
GNAS_INLINE float step_of(float largest) {
  const float step = largest / 127.0f;
  if (step < 0x1p-126f) return 1.0f;
  const bool beyond = static_cast<double>(step) * 127 > 0x1.fffffep127;
  return beyond ? static_cast<float>(step * (1 - 0x1p-24)) : step;
}

// Adding 1.5 * 2^23 leaves a number's nearest integer, of two the even one, in the last bits.
constexpr float kRound = 0x1.8p23f;

// Whether the row is finite; codes and scale are meaningless else.
GNAS_INLINE bool requantize_row(const float* row, int64_t width, int8_t* codes, float* scale) {
  constexpr int kLanes = Lanes<float>::count;
  const float largest = bit_copy<float>(largest_bits(row, width));
  const float step = step_of(largest);
  *scale = step;
  int64_t f = 0;
  for (; f + kLanes <= width; f += kLanes) {
    Vector<float> place = load(row + f) / step;
    place = place < -127.0f ? Vector<float>{} - 127.0f : place;
    place = place > 127.0f ? Vector<float>{} + 127.0f : place;
    const IntVector<float> code = bit_copy<IntVector<float>>(place + kRound);
#if GNAS_VECTOR_BYTES == 64
    _mm_storeu_si128(reinterpret_cast<__m128i*>(codes + f),
                     _mm512_maskz_cvtepi32_epi8(0xffff, bit_copy<__m512i>(code)));
#else
    for (int lane = 0; lane < kLanes; ++lane) codes[f + lane] = static_cast<int8_t>(code[lane]);
#endif
  }
  for (; f < width; ++f) {
    const float place = row[f] / step;
    const float clipped = place < -127.0f ? -127.0f : place > 127.0f ? 127.0f : place;
    codes[f] = static_cast<int8_t>(bit_copy<int32_t>(clipped + kRound));
  }
  return largest <= 0x1.fffffep127f;
}

}  // namespace
}  // namespace gnas::GNAS_ISA
