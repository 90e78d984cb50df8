// Rows to codes on CUDA, a warp a row: the arithmetic of core/quantize_vector.h, to the bit. Products are rounded by
// __fmul_rn and the like, which the compiler does not fuse.
#pragma once

#include "core/device.cuh"
#include "core/quantize.h"
#include "core/quantized.h"

namespace gnas::cuda {

__device__ inline float product(float a, float b) { return __fmul_rn(a, b); }
__device__ inline double product(double a, double b) { return __dmul_rn(a, b); }
__device__ inline float sum(float a, float b) { return __fadd_rn(a, b); }
__device__ inline double sum(double a, double b) { return __dadd_rn(a, b); }

// The code of entry f as a number, before it is clipped and rounded.
template <class A>
__device__ A place_of(A x, const RowCode& code) {
  return sum(x, -static_cast<A>(code.zero)) / static_cast<A>(code.scale);
}

template <class A>
__device__ A clipped(A place, const QuantizeSpec& s) {
  const A low = static_cast<A>(lowest_code(s));
  const A high = static_cast<A>(highest_code(s.bits));
  return place < low ? low : place > high ? high : place;
}

// Entry f of a stream: number f, of 24 bits in [0, 1).
__device__ inline float number_of(const QuantizeSpec& s, int64_t row, int64_t f) {
  const Philox counter{{static_cast<uint32_t>(f / 4), s.family, static_cast<uint32_t>(row),
                        static_cast<uint32_t>(static_cast<uint64_t>(row) >> 32)}};
  const Philox drawn = philox4x32(counter, static_cast<uint32_t>(s.seed), static_cast<uint32_t>(s.seed >> 32));
  const int word = static_cast<int>(f % 4);
  const uint32_t bits = word == 0   ? drawn.word[0]
                        : word == 1 ? drawn.word[1]
                        : word == 2 ? drawn.word[2]
                                    : drawn.word[3];
  return static_cast<float>(bits >> 8) * 0x1p-24f;
}

template <class A>
__device__ int code_of(A x, const RowCode& code, const QuantizeSpec& s, int64_t row, int64_t f) {
  const A place = clipped(place_of(x, code), s);
  const A nearest = rint(place);
  const int rounded = static_cast<int>(nearest);
  if (!s.stochastic) return rounded;
  const A rest = place - nearest;
  const A even = static_cast<A>(number_of(s, row, f));
  if (!(even < (rest < 0 ? -rest : rest))) return rounded;
  return rest < 0 ? rounded - 1 : rounded + 1;
}

// The range of a row, in every lane. False where an entry has no code. `x(f)` is entry f, in the type of sums.
template <class A, class X>
__device__ bool range_of(const X& x, int64_t width, bool symmetric, RowRange* range) {
  bool right = true;
  A largest = 0;
  A low = 0;
  A high = 0;
  if (width > 0) low = high = x(0);
  for (int64_t f = lane(); f < width; f += kWarp) {
    const A value = x(f);
    const A magnitude = value < 0 ? -value : value;
    right = right && static_cast<double>(magnitude) <= largest_coded(symmetric);  // false for NaN
    if (magnitude > largest) largest = magnitude;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  for (int apart = kWarp / 2; apart > 0; apart /= 2) {
    const A other_largest = __shfl_xor_sync(kAllLanes, largest, apart);
    const A other_low = __shfl_xor_sync(kAllLanes, low, apart);
    const A other_high = __shfl_xor_sync(kAllLanes, high, apart);
    if (other_largest > largest) largest = other_largest;
    if (other_low < low) low = other_low;
    if (other_high > high) high = other_high;
  }
  *range = {static_cast<double>(largest), static_cast<double>(low), static_cast<double>(high)};
  return __all_sync(kAllLanes, right);
}

// As many sums as a block of 64 bytes has entries, each in its own lane, then those in turn; in every lane.
template <class A, class Term>
__device__ double block_sum(int64_t width, const Term& term) {
  constexpr int kBlock = 64 / static_cast<int>(sizeof(A));
  A own = 0;
  if (lane() < kBlock) {
    for (int64_t f = lane(); f < width; f += kBlock) own = sum(own, term(f));
  }
  double total = 0;
  for (int from = 0; from < kBlock; ++from) total += static_cast<double>(__shfl_sync(kAllLanes, own, from));
  return total;
}

template <class A, class X>
__device__ double squared_error(const X& x, int64_t width, const RowCode& code, const QuantizeSpec& s) {
  const A inverse = inverse_of<A>(code);
  const double total = block_sum<A>(width, [&](int64_t f) {
    const A place = product(sum(x(f), -static_cast<A>(code.zero)), inverse);
    const A off = place - rint(clipped(place, s));
    return product(off, off);
  });
  return total * code.scale * code.scale;
}

template <class A, class X>
__device__ RowCode choose_code(const X& x, int64_t width, const RowRange& range, const QuantizeSpec& s) {
  RowCode best = candidate(s, range, 0);
  if (!s.search) return best;
  double least = squared_error<A>(x, width, best, s);
  for (int number = 1; number < candidates(s); ++number) {
    const RowCode code = candidate(s, range, number);
    const double error = squared_error<A>(x, width, code, s);
    if (error < least) {
      least = error;
      best = code;
    }
  }
  return best;
}

// A lane fills a byte at a time.
template <class X>
__device__ void code_row(const X& x, int64_t width, int64_t row, const RowCode& code, const QuantizeSpec& s,
                         uint8_t* to) {
  const int in_byte = 8 / s.bits;
  const int bias = s.bits == 8 ? 0 : 1 << (s.bits - 1);
  const int64_t bytes = (width * s.bits + 7) / 8;
  for (int64_t byte = lane(); byte < bytes; byte += kWarp) {
    unsigned filled = 0;
    for (int i = 0; i < in_byte && byte * in_byte + i < width; ++i) {
      const int64_t f = byte * in_byte + i;
      const unsigned bits = static_cast<unsigned>(code_of(x(f), code, s, row, f) + bias) & 0xFFu;
      filled |= bits << (i * s.bits);
    }
    to[byte] = static_cast<uint8_t>(filled);
  }
}

// What a code stands for.
template <class A>
__device__ A value_of(const QuantizedTable& t, int64_t row, int64_t f) {
  const uint8_t byte = static_cast<const uint8_t*>(t.codes)[row * t.row_bytes + f * t.bits / 8];
  const int in_byte = 8 / t.bits;
  const int code = t.bits == 8 ? static_cast<int8_t>(byte)
                               : ((byte >> (f % in_byte * t.bits)) & ((1 << t.bits) - 1)) - (1 << (t.bits - 1));
  const A value = product(static_cast<A>(t.scale[row]), static_cast<A>(code));
  return t.zero == nullptr ? value : sum(value, static_cast<A>(t.zero[row]));
}

}  // namespace gnas::cuda
