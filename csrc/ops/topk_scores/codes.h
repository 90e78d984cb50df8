// float32 rows as int8 codes, and how much a sum of the codes' products may be off the score.
//
// With x = s (q + e) for an entry of a user and y = t (p + d) for one of an item, codes q and p and |e|, |d| <= h,
//
//     sum x y <= s t (sum q p + h (sum |q| + sum |p|) + h^2 width)
//
// h is a half, and a little, for the scale and the quotient are rounded. The score itself is rounded too: by at most
// width 2^-24 of the sum of magnitudes, which is no more than 127.5^2 width in units of s t. So is what the sum of
// codes becomes when it is multiplied by s and t, where it has to be, for a bias: three times.
//
// Included by topk_scores_simd.cpp only, hence the namespaces.
#pragma once

#include "core/vector.h"
#include "ops/topk_scores/topk_scores.h"

namespace gnas::GNAS_ISA {
namespace {

constexpr double kOff = 0.5 + 4e-5;  // 127 quotients of three roundings

// What a score may have beyond the sum of products, but for the slack of its two rows.
GNAS_INLINE int32_t missed_beside(int64_t width) {
  const double columns = static_cast<double>(width);
  return static_cast<int32_t>(kOff * kOff * columns + columns * (columns + 4) * (127.5 * 127.5 * 1.02 / 0x1p24)) + 2;
}

void write_codes(const float* rows, int64_t width, int64_t begin, int64_t end, const TopkCodes& to, bool* fit) {
  constexpr float kLeast = 1e-15f;
  constexpr float kMost = 1e15f;
  constexpr float kRounder = 0x1.8p23f;  // adding it leaves the nearest whole number in the last bits
  for (int64_t row = begin; row < end; ++row) {
    const float* x = rows + row * width;
    int8_t* codes = to.codes + row * width;
    // Magnitudes in the order of their bits: NaN and infinities come last.
    int32_t bits = 0;
    for (int64_t f = 0; f < width; ++f) {
      const int32_t magnitude = bit_copy<int32_t>(x[f]) & 0x7fffffff;
      bits = magnitude > bits ? magnitude : bits;
    }
    const float largest = bit_copy<float>(bits);
    if (!(largest == 0 || (largest >= kLeast && largest <= kMost))) {
      *fit = false;
      return;
    }
    const float inverse = largest == 0 ? 0 : 127 / largest;
    int32_t sum = 0;
    for (int64_t f = 0; f < width; ++f) {
      const int32_t code = bit_copy<int32_t>(x[f] * inverse + kRounder) - bit_copy<int32_t>(kRounder);
      codes[f] = static_cast<int8_t>(code);
      sum += code < 0 ? -code : code;
    }
    to.scale[row] = largest / 127;
    to.slack[row] = static_cast<int32_t>(kOff * sum) + 1;
  }
}

}  // namespace
}  // namespace gnas::GNAS_ISA
