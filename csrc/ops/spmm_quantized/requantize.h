// A row of float32 as int8 codes and a scale, symmetric, rounded to the nearest. For *_simd.cpp.
#pragma once

#include "core/vector.h"

namespace gnas::GNAS_ISA {
namespace {

// Whether the row is finite; codes and scale are meaningless else. A row of zeros has scale 1.
GNAS_INLINE bool requantize_row(const float* row, int64_t width, int8_t* codes, float* scale) {
  float most = 0;
  bool finite = true;
  for (int64_t f = 0; f < width; ++f) {
    const float size = __builtin_fabsf(row[f]);
    finite &= size <= 3.402823466e38f;  // false for NaN as well
    most = size > most ? size : most;
  }
  const float step = most > 0 ? most / 127.0f : 1.0f;
  *scale = step;
  for (int64_t f = 0; f < width; ++f) {
    // Adding and taking away 1.5 * 2^23 rounds to the nearest integer, ties to even.
    const float ratio = row[f] / step;
    const float bounded = ratio > 127.0f ? 127.0f : ratio < -127.0f ? -127.0f : ratio;
    codes[f] = static_cast<int8_t>(bit_copy<int32_t>(bounded + 12582912.0f) - 0x4b400000);
  }
  return finite;
}

}  // namespace
}  // namespace gnas::GNAS_ISA
