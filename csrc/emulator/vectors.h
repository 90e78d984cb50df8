// CUDA's vector types, with its alignment: a load of 16 bytes from elsewhere is found.
#pragma once

#define GNAS_VECTORS(type, name, bytes)                                          \
  struct name##1 { type x; };                                                    \
  struct alignas(2 * bytes) name##2 { type x, y; };                              \
  struct name##3 { type x, y, z; };                                              \
  struct alignas(4 * bytes <= 16 ? 4 * bytes : 16) name##4 { type x, y, z, w; }; \
  constexpr name##1 make_##name##1(type x) { return {x}; }                       \
  constexpr name##2 make_##name##2(type x, type y) { return {x, y}; }            \
  constexpr name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; } \
  constexpr name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
GNAS_VECTORS(signed char, char, 1)
GNAS_VECTORS(unsigned char, uchar, 1)
GNAS_VECTORS(short, short, 2)
GNAS_VECTORS(unsigned short, ushort, 2)
GNAS_VECTORS(int, int, 4)
GNAS_VECTORS(unsigned, uint, 4)
GNAS_VECTORS(long long, longlong, 8)
GNAS_VECTORS(unsigned long long, ulonglong, 8)
GNAS_VECTORS(float, float, 4)
GNAS_VECTORS(double, double, 8)
#undef GNAS_VECTORS
