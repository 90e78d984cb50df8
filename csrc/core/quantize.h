// What a row's codes stand for: its scale and zero from its range, and the candidates of a search for better ones.
// The same on the host and on CUDA, to the bit: sums and differences run in double on products that are exact in it, so
// that it makes no difference whether a compiler fuses them.
//
// Torch-free. The functions stand in an unnamed namespace, as in random.h.
#pragma once

#include <cstdint>

#include "core/random.h"

namespace gnas {

struct QuantizeSpec {
  int bits;         // 8, 4 or 2
  bool symmetric;   // codes -(2^(bits-1) - 1) … 2^(bits-1) - 1 and no zero; else all 2^bits codes
  bool stochastic;  // up or down, each as likely as the other is near; else to the nearest, and to even between two
  bool search;      // the candidate of least squared error; else the row's own range
  uint64_t seed;
  uint32_t family;  // of random numbers; a row is a stream of it, an entry takes the number of its column
};

// A number x has the code (x - zero) / scale.
struct RowCode {
  float scale;
  float zero;
};

struct RowRange {
  double largest;  // magnitude
  double low;      // of affine rows
  double high;
};

namespace {

// Families of random numbers: far from those that callers number from 0.
constexpr uint32_t kQuantizeFamily = 0x80000000u;
constexpr uint32_t kUpdateFamily = 0x80000001u;

// NaN and what is larger have no code: what float32 does not hold; in affine rows, half of that, since their codes
// count from the middle of a range that is twice as long.
constexpr double kLargestFloat = 0x1.fffffep127;
GNAS_ANYWHERE double largest_coded(bool symmetric) { return symmetric ? kLargestFloat : kLargestFloat / 2; }
// A scale below the normal numbers has too few bits to divide by: all codes of such a row are 0, under a scale of 1.
constexpr float kSmallestScale = 0x1p-126f;

// For the search, which multiplies: a division takes as long as all the rest of it.
template <class A>
GNAS_ANYWHERE A inverse_of(const RowCode& code) {
  return 1 / static_cast<A>(code.scale);
}

GNAS_ANYWHERE int highest_code(int bits) { return (1 << (bits - 1)) - 1; }
GNAS_ANYWHERE int lowest_code(const QuantizeSpec& s) { return -highest_code(s.bits) - (s.symmetric ? 0 : 1); }

// Candidates keep 32, 31 … 4 parts in 32 of a symmetric range; of an affine one they leave out 0 … 6 parts in 16 at
// the low end and as many at the high end, each with each. The first is the whole range, and wins among equals.
constexpr int kSymmetricCandidates = 29;
constexpr int kAffineCuts = 7;
GNAS_ANYWHERE int candidates(const QuantizeSpec& s) {
  return !s.search ? 1 : s.symmetric ? kSymmetricCandidates : kAffineCuts * kAffineCuts;
}

GNAS_ANYWHERE RowCode candidate(const QuantizeSpec& s, const RowRange& range, int number) {
  const int highest = highest_code(s.bits);
  if (s.symmetric) {
    const float scale = static_cast<float>(range.largest * (32 - number) / (32 * highest));
    if (scale < kSmallestScale) return {1.0f, 0.0f};
    // Where the last code would stand for what float32 does not hold, the next smaller scale.
    const bool beyond = static_cast<double>(scale) * highest > kLargestFloat;
    return {beyond ? static_cast<float>(scale * (1 - 0x1p-24)) : scale, 0.0f};
  }
  const double cut = static_cast<float>((range.high - range.low) / 16);
  const double low = range.low + cut * (number / kAffineCuts);
  const double high = range.high - cut * (number % kAffineCuts);
  const float scale = static_cast<float>((high - low) / ((1 << s.bits) - 1));
  if (scale < kSmallestScale) return {1.0f, static_cast<float>(low + 0.0)};  // never -0
  return {scale, static_cast<float>(low + static_cast<double>(scale) * (highest + 1))};
}

}  // namespace
}  // namespace gnas
