// CUDA's arithmetic for cuda_runtime.h. What it promises to the bit is so; what it approximates is exact here.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "emulator.h"

using std::isfinite;
using std::isinf;
using std::isnan;

// CUDA has these for all pairs of numbers.
template <class A, class B>
constexpr auto min(A a, B b) -> std::enable_if_t<std::is_arithmetic_v<A> && std::is_arithmetic_v<B>, decltype(a + b)> {
  return b < a ? b : a;
}
template <class A, class B>
constexpr auto max(A a, B b) -> std::enable_if_t<std::is_arithmetic_v<A> && std::is_arithmetic_v<B>, decltype(a + b)> {
  return a < b ? b : a;
}

// Rounded, each operation by itself: the emulator is compiled without fused ones.
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __frcp_rn(float a) { return 1 / a; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __drcp_rn(double a) { return 1 / a; }
inline double __dsqrt_rn(double a) { return std::sqrt(a); }
inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }

inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
inline double rsqrt(double x) { return 1 / std::sqrt(x); }
inline float __frsqrt_rn(float x) { return static_cast<float>(1 / std::sqrt(static_cast<double>(x))); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __saturatef(float x) { return x > 0 ? x < 1 ? x : 1 : 0; }
// __expf and __logf are macros of the C library's names on some systems.
#undef __expf
#undef __logf
#define __expf(x) std::exp(static_cast<float>(x))
#define __exp2f(x) std::exp2(static_cast<float>(x))
#define __logf(x) std::log(static_cast<float>(x))
#define __log2f(x) std::log2(static_cast<float>(x))

inline unsigned __float_as_uint(float x) { return static_cast<unsigned>(gnas::emulator::bits_of(x)); }
inline int __float_as_int(float x) { return static_cast<int>(__float_as_uint(x)); }
inline float __uint_as_float(unsigned x) { return gnas::emulator::from_bits<float>(x); }
inline float __int_as_float(int x) { return __uint_as_float(static_cast<unsigned>(x)); }
inline long long __double_as_longlong(double x) { return static_cast<long long>(gnas::emulator::bits_of(x)); }
inline double __longlong_as_double(long long x) { return gnas::emulator::from_bits<double>(static_cast<uint64_t>(x)); }

// To whole numbers: what does not fit becomes the nearest that does, NaN 0.
template <class To, class From>
To gnas_whole(From rounded) {
  constexpr To kLeast = std::is_signed_v<To> ? static_cast<To>(To{1} << (8 * sizeof(To) - 2)) * -2 : To{0};
  constexpr To kMost = static_cast<To>(~kLeast);
  if (std::isnan(rounded)) return 0;
  if (rounded <= static_cast<From>(kLeast)) return kLeast;
  if (rounded >= static_cast<From>(kMost)) return kMost;
  return static_cast<To>(rounded);
}
inline int __float2int_rn(float x) { return gnas_whole<int>(std::rint(x)); }
inline int __float2int_rz(float x) { return gnas_whole<int>(std::trunc(x)); }
inline int __float2int_rd(float x) { return gnas_whole<int>(std::floor(x)); }
inline int __float2int_ru(float x) { return gnas_whole<int>(std::ceil(x)); }
inline unsigned __float2uint_rn(float x) { return gnas_whole<unsigned>(std::rint(x)); }
inline unsigned __float2uint_rz(float x) { return gnas_whole<unsigned>(std::trunc(x)); }
inline int __double2int_rn(double x) { return gnas_whole<int>(std::rint(x)); }
inline int __double2int_rz(double x) { return gnas_whole<int>(std::trunc(x)); }
inline long long __double2ll_rn(double x) { return gnas_whole<long long>(std::rint(x)); }
inline long long __float2ll_rn(float x) { return gnas_whole<long long>(std::rint(x)); }
inline float __int2float_rn(int x) { return static_cast<float>(x); }
inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }
inline float __ll2float_rn(long long x) { return static_cast<float>(x); }
inline double __int2double_rn(int x) { return x; }
inline float __double2float_rn(double x) { return static_cast<float>(x); }

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline int __clzll(long long x) { return x == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(x)); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline unsigned __brev(unsigned x) {
  unsigned turned = 0;
  for (int bit = 0; bit < 32; ++bit) turned |= (x >> bit & 1) << (31 - bit);
  return turned;
}
inline int __mulhi(int a, int b) { return static_cast<int>(static_cast<long long>(a) * b >> 32); }
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>(static_cast<unsigned long long>(a) * b >> 32);
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned by) {
  return static_cast<unsigned>((static_cast<uint64_t>(high) << 32 | low) << (by & 31) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned by) {
  return static_cast<unsigned>((static_cast<uint64_t>(high) << 32 | low) >> (by & 31));
}
inline unsigned __byte_perm(unsigned low, unsigned high, unsigned choice) {
  const uint64_t bytes = static_cast<uint64_t>(high) << 32 | low;
  unsigned result = 0;
  for (int b = 0; b < 4; ++b) {
    const unsigned nibble = choice >> (4 * b);
    unsigned byte = static_cast<unsigned>(bytes >> (8 * (nibble & 7))) & 0xFF;
    if ((nibble & 8) != 0) byte = byte >> 7 != 0 ? 0xFF : 0;
    result |= byte << (8 * b);
  }
  return result;
}

// Four bytes with four bytes, added to a number.
template <class Byte, class Number>
Number gnas_dot(Number a, Number b, Number sum) {
  Byte left[4], right[4];
  std::memcpy(left, &a, 4);
  std::memcpy(right, &b, 4);
  unsigned total = static_cast<unsigned>(sum);
  for (int i = 0; i < 4; ++i)
    total += static_cast<unsigned>(static_cast<Number>(left[i]) * static_cast<Number>(right[i]));
  return static_cast<Number>(total);
}
inline int __dp4a(int a, int b, int sum) { return gnas_dot<int8_t>(a, b, sum); }
inline unsigned __dp4a(unsigned a, unsigned b, unsigned sum) { return gnas_dot<uint8_t>(a, b, sum); }
