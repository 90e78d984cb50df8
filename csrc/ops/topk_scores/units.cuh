// How scores of each element type are summed on CUDA. A unit is one number, or four int8 codes, which one instruction
// multiplies. The sum of a score runs over its units in order, whatever kernel it is in: it does not depend on the
// batch.
#pragma once

#include "core/device.cuh"

namespace gnas {
namespace {

// Four units, which are moved together.
template <class U>
struct alignas(16) Quad {
  U x[4];
};

__device__ inline float add_product(float a, float b, float sum) { return fmaf(a, b, sum); }
__device__ inline double add_product(double a, double b, double sum) { return fma(a, b, sum); }
__device__ inline int add_product(int a, int b, int sum) { return __dp4a(a, b, sum); }

// A bias after the score, which was rounded: the compiler would fuse the scale of int8 rows with the addition.
__device__ inline float plus(float score, float bias) { return __fadd_rn(score, bias); }
__device__ inline double plus(double score, double bias) { return score + bias; }

// `Raw`: four units as they lie in memory. Narrow elements stand in whole words there: one by one they would take a
// register each, and instructions to part and to join them.
template <class T>
struct Units {
  using Unit = cuda::Accumulator<T>;
  using Score = Unit;
  static constexpr int kElements = 4;  // of four units
  static constexpr bool kScaled = false;

  struct alignas(16) Raw {
    T x[4];
  };
  static __device__ void put(Raw& raw, int e, T element) { raw.x[e] = element; }
  static __device__ Quad<Unit> widen(const Raw& raw) {
    Quad<Unit> quad;
#pragma unroll
    for (int e = 0; e < 4; ++e) quad.x[e] = raw.x[e];
    return quad;
  }
  static __device__ Score score(Unit sum, float, float) { return sum; }
};

template <class T>
struct Halves {
  using Unit = float;
  using Score = float;
  static constexpr int kElements = 4;
  static constexpr bool kScaled = false;

  struct alignas(8) Raw {
    unsigned x[2];
  };
  static __device__ void put(Raw& raw, int e, T element) {
    unsigned short bits;
    memcpy(&bits, &element, sizeof bits);
    raw.x[e / 2] |= static_cast<unsigned>(bits) << (16 * (e % 2));
  }
  static __device__ Quad<float> widen(const Raw& raw) {
    Quad<float> quad;
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const auto bits = static_cast<unsigned short>(raw.x[e / 2] >> (16 * (e % 2)));
      T element;
      memcpy(&element, &bits, sizeof bits);
      quad.x[e] = cuda::widen(element);
    }
    return quad;
  }
  static __device__ float score(float sum, float, float) { return sum; }
};
template <>
struct Units<__half> : Halves<__half> {};
template <>
struct Units<__nv_bfloat16> : Halves<__nv_bfloat16> {};

template <>
struct Units<int8_t> {
  using Unit = int;
  using Score = float;
  static constexpr int kElements = 16;
  static constexpr bool kScaled = true;

  struct alignas(16) Raw {
    unsigned x[4];
  };
  static __device__ void put(Raw& raw, int e, int8_t code) {
    raw.x[e / 4] |= static_cast<unsigned>(static_cast<uint8_t>(code)) << (8 * (e % 4));
  }
  static __device__ Quad<int> widen(const Raw& raw) {
    Quad<int> quad;
#pragma unroll
    for (int e = 0; e < 4; ++e) quad.x[e] = static_cast<int>(raw.x[e]);
    return quad;
  }
  static __device__ float score(int sum, float user_scale, float item_scale) {
    return user_scale * (item_scale * static_cast<float>(sum));
  }
};

// Can rows be read four units at a time?
template <class T>
__device__ bool whole_quads(const void* rows, int width) {
  using Raw = typename Units<T>::Raw;
  return width % Units<T>::kElements == 0 && reinterpret_cast<uintptr_t>(rows) % alignof(Raw) == 0;
}

// Four units of each of kRows rows, from element `first` on; zeros beyond the rows. row(n): where row n begins.
template <class T, int kRows, class Row>
__device__ void load_raw(Row row, int first, int width, bool whole, typename Units<T>::Raw (&raw)[kRows]) {
  using Raw = typename Units<T>::Raw;
  if (whole && first < width) {
#pragma unroll
    for (int n = 0; n < kRows; ++n) raw[n] = *reinterpret_cast<const Raw*>(row(n) + first);
    return;
  }
#pragma unroll
  for (int n = 0; n < kRows; ++n) {
    raw[n] = Raw{};
    if (whole) continue;
    const T* const from = row(n) + first;
#pragma unroll
    for (int e = 0; e < Units<T>::kElements; ++e)
      if (first + e < width) Units<T>::put(raw[n], e, from[e]);
  }
}

}  // namespace
}  // namespace gnas
