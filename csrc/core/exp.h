// exp and log of whole registers, in float32 and float64, to within 2 units in the last place.
//
// Included by *_simd.cpp only. A call to libm an element would cost more than the rest of a softmax.
#pragma once

#include "core/vector.h"

namespace gnas::GNAS_ISA {
namespace {

template <class A>
struct Float;
template <>
struct Float<float> {
  using Integer = int32_t;
  static constexpr int kMantissa = 23;
  static constexpr int kBias = 127;
  static constexpr float kRound = 0x1.8p23f;  // adding it leaves the nearest integer in the low bits
  static constexpr float kLowest = -104.0f;   // exp is 0 below
  static constexpr float kHighest = 89.0f;    // and infinite above
  static constexpr int kExpDegree = 7;
  static constexpr int kLogDegree = 9;
  // ln 2 in two parts; the first has so few bits that n times it is exact.
  static constexpr float kLn2High = 0x1.63p-1f;
  static constexpr float kLn2Low = -0x1.bd0106p-13f;
};
template <>
struct Float<double> {
  using Integer = int64_t;
  static constexpr int kMantissa = 52;
  static constexpr int kBias = 1023;
  static constexpr double kRound = 0x1.8p52;
  static constexpr double kLowest = -746.0;
  static constexpr double kHighest = 710.0;
  static constexpr int kExpDegree = 13;
  static constexpr int kLogDegree = 21;
  static constexpr double kLn2High = 0x1.62e42feep-1;
  static constexpr double kLn2Low = 0x1.a39ef35793c76p-33;
};

template <class A>
constexpr A kInfinity = static_cast<A>(__builtin_inff());

template <class A>
GNAS_INLINE Vector<A> broadcast(A value) {
  return Vector<A>{} + value;
}

template <class A>
constexpr A inverse_factorial(int k) {
  double product = 1;
  for (int i = 2; i <= k; ++i) product *= i;
  return static_cast<A>(1 / product);
}

// 2^n for n such that the result is a normal number.
template <class A>
GNAS_INLINE Vector<A> power_of_two(IntVector<A> n) {
  return bit_copy<Vector<A>>((n + Float<A>::kBias) << Float<A>::kMantissa);
}

// exp(x) = 2^n * exp(r) with |r| <= ln(2) / 2 and the series of exp(r). The power of two is multiplied in two halves,
// so that denormal results come out right. NaN stays NaN. Where the result is 0, as in masked lanes, none is computed:
// a denormal number on the way costs more than all the rest.
template <class A>
GNAS_INLINE Vector<A> exp_lanes(Vector<A> x) {
  using F = Float<A>;
  const IntVector<A> vanishes = x < F::kLowest;
  x = vanishes ? Vector<A>{} : x;
  x = x > F::kHighest ? broadcast<A>(F::kHighest) : x;
  const Vector<A> shifted = x * static_cast<A>(1.4426950408889634) + F::kRound;
  const IntVector<A> n = bit_copy<IntVector<A>>(shifted) - bit_copy<typename F::Integer>(F::kRound);
  const Vector<A> whole = shifted - F::kRound;
  const Vector<A> r = (x - whole * F::kLn2High) - whole * F::kLn2Low;
  Vector<A> p = broadcast<A>(inverse_factorial<A>(F::kExpDegree));
  unrolled<F::kExpDegree>([&](auto k) { p = p * r + inverse_factorial<A>(F::kExpDegree - 1 - k); });
  const IntVector<A> half = n >> 1;
  const Vector<A> result = p * power_of_two<A>(half) * power_of_two<A>(n - half);
  return vanishes ? Vector<A>{} : result;
}

// What to subtract from scores before exp. Where all are -inf, 0 is as good as their maximum, and every exp becomes 0.
template <class A>
GNAS_INLINE Vector<A> finite_maximum(Vector<A> m) {
  return m == -kInfinity<A> ? Vector<A>{} : m;
}

// log(x) of positive normal numbers, and NaN of NaN: x = 2^n * m with sqrt(1/2) <= m < sqrt(2), and log(m) = 2 atanh((m
// - 1) / (m + 1)).
template <class A>
GNAS_INLINE Vector<A> log_lanes(Vector<A> x) {
  using F = Float<A>;
  using Integer = typename F::Integer;
  constexpr Integer kRootHalf = sizeof(A) == 4 ? Integer{0x3f3504f3} : static_cast<Integer>(0x3fe6a09e667f3bcdLL);
  const IntVector<A> bits = bit_copy<IntVector<A>>(x) - kRootHalf;
  const IntVector<A> n = bits >> F::kMantissa;
  const Vector<A> m = bit_copy<Vector<A>>((bits & ((Integer{1} << F::kMantissa) - 1)) + kRootHalf);
  const Vector<A> f = (m - 1) / (m + 1);
  const Vector<A> square = f * f;
  Vector<A> p = broadcast<A>(A{1} / F::kLogDegree);
  unrolled<F::kLogDegree / 2>([&](auto k) { p = p * square + A{1} / (F::kLogDegree - 2 - 2 * k); });
  const Vector<A> whole = __builtin_convertvector(n, Vector<A>);
  const Vector<A> log = whole * F::kLn2High + (whole * F::kLn2Low + (f + f) * p);
  return x == x ? log : x;
}

}  // namespace
}  // namespace gnas::GNAS_ISA
