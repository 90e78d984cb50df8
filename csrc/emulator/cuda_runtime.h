// Stands in for CUDA's header of this name where kernels run on the CPU: what the kernels use of it, and little more.
// Names and meanings are CUDA's (Programming Guide, "C++ Language Extensions"; Math API).
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "emulator.h"
#include "vectors.h"

#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(bytes) alignas(bytes)
// A block runs on one thread of the CPU, and no other block does meanwhile.
#define __shared__ static thread_local

struct dim3 {
  unsigned x;
  unsigned y;
  unsigned z;
  constexpr dim3(unsigned across = 1, unsigned down = 1, unsigned deep = 1) : x(across), y(down), z(deep) {}
};

extern uint3 threadIdx;
extern uint3 blockIdx;
extern dim3 blockDim;
extern dim3 gridDim;
constexpr int warpSize = 32;

// Called by gnas::cuda::launch.
template <class F>
void emulate(dim3 grid, dim3 block, F body) {
  gnas::emulator::run(
      {grid.x, grid.y, grid.z}, {block.x, block.y, block.z}, [](void* f) { (*static_cast<F*>(f))(); }, &body);
}

// The host's side. There is one stream, and what it is given is done at once.
using cudaStream_t = struct CUstream_st*;
enum cudaError_t : int { cudaSuccess = 0, cudaErrorInvalidValue = 1, cudaErrorInvalidConfiguration = 9 };
enum cudaMemcpyKind { cudaMemcpyHostToHost, cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };

inline cudaError_t cudaGetLastError() { return static_cast<cudaError_t>(gnas::emulator::take_error()); }
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaGetLastError(); }
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t) {
  std::memmove(to, from, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t) {
  std::memset(to, value, bytes);
  return cudaSuccess;
}

[[noreturn]] inline void __trap() { gnas::emulator::fail(gnas::emulator::kLaunchFailure, nullptr); }

// Barriers. Memory is in order: blocks do not run at once.
inline void __syncthreads() { gnas::emulator::barrier(false); }
inline int __syncthreads_count(int value) { return gnas::emulator::barrier(value != 0); }
inline int __syncthreads_or(int value) { return gnas::emulator::barrier(value != 0) > 0; }
inline int __syncthreads_and(int value) { return gnas::emulator::barrier(value == 0) == 0; }
inline void __threadfence() {}
inline void __threadfence_block() {}

// A warp's collectives.
inline int gnas_lane() {
  return static_cast<int>((threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % warpSize);
}
inline void __syncwarp(unsigned mask = 0xFFFFFFFFu) {
  gnas::emulator::collective(gnas::emulator::Collective::sync, mask, 0);
}
template <class T>
T gnas_shuffle(unsigned mask, T value, int source) {
  using namespace gnas::emulator;
  return from_bits<T>(collective(Collective::shuffle, mask, bits_of(value), source));
}
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = warpSize) {
  return gnas_shuffle(mask, value, (gnas_lane() & ~(width - 1)) | (source & (width - 1)));
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned apart, int width = warpSize) {
  const int own = gnas_lane();
  const int source = own - static_cast<int>(apart);
  return gnas_shuffle(mask, value, source < (own & ~(width - 1)) ? own : source);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned apart, int width = warpSize) {
  const int own = gnas_lane();
  const int source = own + static_cast<int>(apart);
  return gnas_shuffle(mask, value, source > (own | (width - 1)) ? own : source);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = warpSize) {
  const int own = gnas_lane();
  const int source = own ^ bits;
  return gnas_shuffle(mask, value, source > (own | (width - 1)) ? own : source);
}
inline unsigned __ballot_sync(unsigned mask, int value) {
  using namespace gnas::emulator;
  return static_cast<unsigned>(collective(Collective::ballot, mask, value != 0));
}
inline int __all_sync(unsigned mask, int value) {
  using namespace gnas::emulator;
  return static_cast<int>(collective(Collective::all, mask, value != 0));
}
inline int __any_sync(unsigned mask, int value) {
  using namespace gnas::emulator;
  return static_cast<int>(collective(Collective::any, mask, value != 0));
}
template <class T>
unsigned __match_any_sync(unsigned mask, T value) {
  using namespace gnas::emulator;
  return static_cast<unsigned>(collective(Collective::match_any, mask, bits_of(value)));
}
template <class T>
unsigned __match_all_sync(unsigned mask, T value, int* all) {
  using namespace gnas::emulator;
  const auto lanes = static_cast<unsigned>(collective(Collective::match_all, mask, bits_of(value)));
  *all = lanes != 0;
  return lanes;
}
#define GNAS_REDUCTION(name, type, kind)                                                        \
  inline type name(unsigned mask, type value) {                                                 \
    using namespace gnas::emulator;                                                             \
    return static_cast<type>(collective(Collective::kind, mask, static_cast<uint32_t>(value))); \
  }
GNAS_REDUCTION(__reduce_add_sync, unsigned, add)
GNAS_REDUCTION(__reduce_add_sync, int, add)
GNAS_REDUCTION(__reduce_min_sync, unsigned, min)
GNAS_REDUCTION(__reduce_min_sync, int, min_signed)
GNAS_REDUCTION(__reduce_max_sync, unsigned, max)
GNAS_REDUCTION(__reduce_max_sync, int, max_signed)
GNAS_REDUCTION(__reduce_and_sync, unsigned, and_)
GNAS_REDUCTION(__reduce_or_sync, unsigned, or_)
GNAS_REDUCTION(__reduce_xor_sync, unsigned, xor_)
#undef GNAS_REDUCTION

// Atomics: one thread runs at a time. Each returns what was there before.
template <class T, class F>
T gnas_exchange(T* at, F&& f) {
  const T before = *at;
  *at = f(before);
  return before;
}
template <class T>
using GnasSame = std::enable_if_t<true, T>;  // not deduced: an argument converts to the type of what is pointed to
template <class T>
T atomicAdd(T* at, GnasSame<T> value) {
  return gnas_exchange(at, [&](T before) { return static_cast<T>(before + value); });
}
template <class T>
T atomicSub(T* at, GnasSame<T> value) {
  return gnas_exchange(at, [&](T before) { return static_cast<T>(before - value); });
}
template <class T>
T atomicMin(T* at, GnasSame<T> value) {
  return gnas_exchange(at, [&](T before) { return value < before ? value : before; });
}
template <class T>
T atomicMax(T* at, GnasSame<T> value) {
  return gnas_exchange(at, [&](T before) { return value > before ? value : before; });
}
template <class T>
T atomicAnd(T* at, GnasSame<T> value) {
  return gnas_exchange(at, [&](T before) { return before & value; });
}
template <class T>
T atomicOr(T* at, GnasSame<T> value) {
  return gnas_exchange(at, [&](T before) { return before | value; });
}
template <class T>
T atomicXor(T* at, GnasSame<T> value) {
  return gnas_exchange(at, [&](T before) { return before ^ value; });
}
template <class T>
T atomicExch(T* at, GnasSame<T> value) {
  return gnas_exchange(at, [&](T) { return value; });
}
template <class T>
T atomicCAS(T* at, GnasSame<T> expected, GnasSame<T> value) {
  return gnas_exchange(at, [&](T before) { return before == expected ? value : before; });
}

// Loads and stores with a hint to the caches.
template <class T>
T __ldg(const T* at) {
  return *at;
}
template <class T>
T __ldca(const T* at) {
  return *at;
}
template <class T>
T __ldcg(const T* at) {
  return *at;
}
template <class T>
T __ldcs(const T* at) {
  return *at;
}
template <class T>
T __ldlu(const T* at) {
  return *at;
}
template <class T>
T __ldcv(const T* at) {
  return *at;
}
template <class T>
void __stwb(T* at, GnasSame<T> value) {
  *at = value;
}
template <class T>
void __stcg(T* at, GnasSame<T> value) {
  *at = value;
}
template <class T>
void __stcs(T* at, GnasSame<T> value) {
  *at = value;
}
template <class T>
void __stwt(T* at, GnasSame<T> value) {
  *at = value;
}

#include "arithmetic.h"
