// Registers of the width that this file is compiled for, and the loads and stores that convert to them.
//
// Included by *_simd.cpp only. Everything stands in an unnamed namespace inside GNAS_ISA: no symbol of it leaves the
// object, so no inline function compiled for AVX-512 can be picked by the linker for the baseline.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#if defined(__F16C__)
#include <immintrin.h>
#endif

#include "core/types.h"

#if defined(__AVX512F__)
#define GNAS_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define GNAS_VECTOR_BYTES 32
#else
#define GNAS_VECTOR_BYTES 16
#endif
#define GNAS_INLINE inline __attribute__((always_inline))
// The same for a lambda, after its arguments: one that is called from two places would not be inlined else.
#define GNAS_INLINED __attribute__((always_inline))

namespace gnas::GNAS_ISA {
namespace {

// Sums run in float32, in float64 for float64.
template <class T>
using Accumulator = std::conditional_t<std::is_same_v<T, double>, double, float>;

template <class A>
struct Lanes {
  static constexpr int count = GNAS_VECTOR_BYTES / static_cast<int>(sizeof(A));
  using Integer = std::conditional_t<sizeof(A) == 8, int64_t, int32_t>;
  typedef A Vector __attribute__((vector_size(GNAS_VECTOR_BYTES)));
  typedef Integer IntVector __attribute__((vector_size(GNAS_VECTOR_BYTES)));
};
template <class A>
using Vector = typename Lanes<A>::Vector;
template <class A>
using IntVector = typename Lanes<A>::IntVector;

// Calls f with 0 … N-1 as compile-time constants: arrays of registers stay in registers only when each index is one.
template <class F, int... I>
GNAS_INLINE void unrolled(F&& f, std::integer_sequence<int, I...>) {
  (f(std::integral_constant<int, I>{}), ...);
}
template <int N, class F>
GNAS_INLINE void unrolled(F&& f) {
  unrolled(static_cast<F&&>(f), std::make_integer_sequence<int, N>{});
}

template <class To, class From>
GNAS_INLINE To bit_copy(const From& from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  __builtin_memcpy(&to, &from, sizeof to);
  return to;
}

// One element.
GNAS_INLINE float widen(float x) { return x; }
GNAS_INLINE double widen(double x) { return x; }
GNAS_INLINE float widen(bf16 x) { return bit_copy<float>(static_cast<uint32_t>(x.bits) << 16); }
GNAS_INLINE float widen(f16 x) {
  const uint32_t sign = static_cast<uint32_t>(x.bits & 0x8000u) << 16;
  const uint32_t magnitude = x.bits & 0x7fffu;
  if (magnitude >= 0x7c00u) return bit_copy<float>(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
  // 2^112 moves the exponent from float16's bias to float32's; subnormals come out right as well.
  const float scaled = bit_copy<float>(magnitude << 13) * 0x1p112f;
  return bit_copy<float>(sign | bit_copy<uint32_t>(scaled));
}

GNAS_INLINE void narrow(float x, float* to) { *to = x; }
GNAS_INLINE void narrow(double x, double* to) { *to = x; }
// Round to nearest even; NaN stays NaN.
GNAS_INLINE void narrow(float x, bf16* to) {
  const uint32_t bits = bit_copy<uint32_t>(x);
  const uint32_t rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
  to->bits = static_cast<uint16_t>((x != x ? (bits | 0x400000u) : rounded) >> 16);
}
GNAS_INLINE void narrow(float x, f16* to) {
  const uint32_t bits = bit_copy<uint32_t>(x);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  uint32_t half;
  if (magnitude > 0x7f800000u) {
    half = 0x7e00u;
  } else if (magnitude >= 0x477ff000u) {  // 65520 and above round to infinity
    half = 0x7c00u;
  } else if (magnitude >= 0x38800000u) {  // a normal float16
    const uint32_t rebiased = magnitude - 0x38000000u;
    half = (rebiased + 0xfffu + ((rebiased >> 13) & 1u)) >> 13;
  } else {  // subnormal: adding 0.5 leaves the mantissa in units of 2^-24, rounded by the adder
    half = bit_copy<uint32_t>(bit_copy<float>(magnitude) + 0.5f) - 0x3f000000u;
  }
  to->bits = static_cast<uint16_t>(sign | half);
}

// One register's worth, from any address.
GNAS_INLINE Vector<float> load(const float* p) {
  Vector<float> v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
GNAS_INLINE Vector<double> load(const double* p) {
  Vector<double> v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
GNAS_INLINE Vector<float> load(const bf16* p) {
  typedef uint32_t Wide __attribute__((vector_size(GNAS_VECTOR_BYTES)));
// GCC 12 makes of a convertvector two halves that are widened and put together again: twice the instructions.
#if GNAS_VECTOR_BYTES == 64
  const Wide wide =
      bit_copy<Wide>(_mm512_maskz_cvtepu16_epi32(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))));
#elif GNAS_VECTOR_BYTES == 32
  const Wide wide = bit_copy<Wide>(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#else
  typedef uint16_t Half __attribute__((vector_size(GNAS_VECTOR_BYTES / 2)));
  Half half;
  __builtin_memcpy(&half, p, sizeof half);
  const Wide wide = __builtin_convertvector(half, Wide);
#endif
  return bit_copy<Vector<float>>(wide << 16);
}
GNAS_INLINE Vector<float> load(const f16* p) {
#if GNAS_VECTOR_BYTES == 64
  return bit_copy<Vector<float>>(
      _mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))));
#elif GNAS_VECTOR_BYTES == 32
  return bit_copy<Vector<float>>(_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#else
  return Vector<float>{widen(p[0]), widen(p[1]), widen(p[2]), widen(p[3])};
#endif
}

template <class A>
GNAS_INLINE void store(Vector<A> v, A* to) {
  __builtin_memcpy(to, &v, sizeof v);
}

// One register's worth, narrowed to the element type.
GNAS_INLINE void store_as(Vector<float> v, float* to) { store<float>(v, to); }
GNAS_INLINE void store_as(Vector<double> v, double* to) { store<double>(v, to); }
GNAS_INLINE void store_as(Vector<float> v, bf16* to) {
  typedef uint32_t Wide __attribute__((vector_size(GNAS_VECTOR_BYTES)));
  typedef uint16_t Half __attribute__((vector_size(GNAS_VECTOR_BYTES / 2)));
  const Wide bits = bit_copy<Wide>(v);
  const Wide rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
  const Half half = __builtin_convertvector((v != v ? bits | 0x400000u : rounded) >> 16, Half);
  __builtin_memcpy(to, &half, sizeof half);
}
GNAS_INLINE void store_as(Vector<float> v, f16* to) {
#if GNAS_VECTOR_BYTES == 64
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                      _mm512_maskz_cvtps_ph(0xffff, v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#elif GNAS_VECTOR_BYTES == 32
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
#else
  for (int lane = 0; lane < Lanes<float>::count; ++lane) narrow(v[lane], to + lane);
#endif
}

template <class A>
GNAS_INLINE A add_lanes(Vector<A> v) {
  A total = 0;
  for (int lane = 0; lane < Lanes<A>::count; ++lane) total += v[lane];
  return total;
}

// One round of add_lanes_of_all: pairs of registers that stand kApart from each other become one.
template <class A, int kApart>
GNAS_INLINE void fold_lanes(Vector<A> (&v)[Lanes<A>::count]) {
  constexpr int kLanes = Lanes<A>::count;
  IntVector<A> own{};
  IntVector<A> other{};
  for (int lane = 0; lane < kLanes; ++lane) {
    const int from = (lane & kApart) != 0 ? kLanes : 0;
    own[lane] = from + lane;
    other[lane] = from + (lane ^ kApart);
  }
  unrolled<kApart>([&](auto i) __attribute__((always_inline)) {
    v[i] = __builtin_shuffle(v[i], v[i + kApart], own) + __builtin_shuffle(v[i], v[i + kApart], other);
  });
  if constexpr (kApart > 1) fold_lanes<A, kApart / 2>(v);
}

// The sums of as many registers as one has lanes: lane i of the result is the sum of v[i], which is overwritten.
template <class A>
GNAS_INLINE Vector<A> add_lanes_of_all(Vector<A> (&v)[Lanes<A>::count]) {
  fold_lanes<A, Lanes<A>::count / 2>(v);
  return v[0];
}

// Calls f with a value of the element type and one of the index type.
template <class F>
void with_types(Dtype dtype, bool wide_index, F&& f) {
  const auto with_index = [&](auto element) {
    if (wide_index)
      f(element, int64_t{});
    else
      f(element, int32_t{});
  };
  switch (dtype) {
    case Dtype::f32:
      return with_index(float{});
    case Dtype::f64:
      return with_index(double{});
    case Dtype::bf16:
      return with_index(bf16{});
    case Dtype::f16:
      return with_index(f16{});
  }
}

}  // namespace
}  // namespace gnas::GNAS_ISA
