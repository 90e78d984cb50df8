// Stands in for CUDA's header of this name. The compiler's own half does the rounding.
#pragma once

#include "cuda_runtime.h"

struct __half {
  _Float16 x;
  __half() = default;
  __half(float value) : x(static_cast<_Float16>(value)) {}
  __half(double value) : x(static_cast<_Float16>(value)) {}
  __half(int value) : x(static_cast<_Float16>(value)) {}
  operator float() const { return static_cast<float>(x); }
};
using half = __half;
struct alignas(4) __half2 {
  __half x;
  __half y;
};
using half2 = __half2;

inline float __half2float(__half a) { return static_cast<float>(a.x); }
inline __half __float2half(float a) { return __half(a); }
inline __half __float2half_rn(float a) { return __half(a); }
inline __half __double2half(double a) { return __half(a); }
inline unsigned short __half_as_ushort(__half a) { return static_cast<unsigned short>(gnas::emulator::bits_of(a)); }
inline __half __ushort_as_half(unsigned short a) { return gnas::emulator::from_bits<__half>(a); }

inline __half2 __halves2half2(__half a, __half b) { return {a, b}; }
inline __half2 make_half2(__half a, __half b) { return {a, b}; }
inline __half2 __half2half2(__half a) { return {a, a}; }
inline __half __low2half(__half2 a) { return a.x; }
inline __half __high2half(__half2 a) { return a.y; }
inline float __low2float(__half2 a) { return a.x; }
inline float __high2float(__half2 a) { return a.y; }
inline float2 __half22float2(__half2 a) { return {a.x, a.y}; }
inline __half2 __floats2half2_rn(float a, float b) { return {a, b}; }
inline __half2 __float22half2_rn(float2 a) { return {a.x, a.y}; }

// Sums and products of halves are exact in double, so they are rounded once.
inline __half __hadd(__half a, __half b) { return __half(static_cast<double>(a.x) + static_cast<double>(b.x)); }
inline __half __hsub(__half a, __half b) { return __half(static_cast<double>(a.x) - static_cast<double>(b.x)); }
inline __half __hmul(__half a, __half b) { return __half(static_cast<double>(a.x) * static_cast<double>(b.x)); }
inline __half __hfma(__half a, __half b, __half c) {
  return __half(static_cast<double>(a.x) * static_cast<double>(b.x) + static_cast<double>(c.x));
}
inline __half2 __hadd2(__half2 a, __half2 b) { return {__hadd(a.x, b.x), __hadd(a.y, b.y)}; }
inline __half2 __hmul2(__half2 a, __half2 b) { return {__hmul(a.x, b.x), __hmul(a.y, b.y)}; }
inline __half2 __hfma2(__half2 a, __half2 b, __half2 c) { return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)}; }
