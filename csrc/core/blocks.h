// A row as blocks of 64 bytes of what sums run in, in registers. Included by *_simd.cpp only.
//
// Blocks are alike whatever the width of a register, and nothing is fused that another instruction set would not: so
// every level gives the same bits, and CUDA as well.
#pragma once

#include "core/vector.h"

#if defined(__x86_64__)
#define GNAS_IN_REGISTER "+v"
#elif defined(__aarch64__)
#define GNAS_IN_REGISTER "+w"
#else
#define GNAS_IN_REGISTER "+m"
#endif

namespace gnas::GNAS_ISA {
namespace {

template <class A>
constexpr int kBlock = 64 / static_cast<int>(sizeof(A));
constexpr int kRegisters = 64 / GNAS_VECTOR_BYTES;

template <class A>
struct Block {
  Vector<A> v[kRegisters];
};
template <class A>
struct IntBlock {
  IntVector<A> v[kRegisters];
};

// As many bytes, and words of 32 bits, as a register has lanes.
template <class A>
struct Narrow {
  typedef int8_t Bytes __attribute__((vector_size(Lanes<A>::count)));
  typedef int32_t Drawn __attribute__((vector_size(4 * Lanes<A>::count)));
};

template <class F>
GNAS_INLINE void each_register(F&& f) {
  unrolled<kRegisters>(static_cast<F&&>(f));
}

// A product rounded before it is added to: the compiler cannot fuse the two.
template <class V>
GNAS_INLINE V rounded(V product) {
  asm("" : GNAS_IN_REGISTER(product));
  return product;
}

// f(first entry of a block, whether it is whole, how many entries it has), whole ones first.
template <class A, class F>
GNAS_INLINE void each_block(int64_t width, F&& f) {
  int64_t at = 0;
  for (; at + kBlock<A> <= width; at += kBlock<A>) f(at, std::true_type{}, int64_t{kBlock<A>});
  if (at < width) f(at, std::false_type{}, width - at);
}

// For the few elements of a last block: the compiler would make a loop over registers, or a call, of it.
template <class T>
GNAS_INLINE void copy_few(T* to, const T* from, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    to[i] = from[i];
    asm("");
  }
}

// The rest of a block that is not whole repeats its first entry.
template <bool kWhole, class T>
GNAS_INLINE Block<Accumulator<T>> load_block(const T* p, int64_t count) {
  using A = Accumulator<T>;
  Block<A> block;
  T part[kBlock<A>];
  if constexpr (!kWhole) {
    for (int i = 0; i < kBlock<A>; ++i) part[i] = p[0];
    copy_few(part, p, count);
    p = part;
  }
  each_register([&](auto r) GNAS_INLINED { block.v[r] = load(p + r * Lanes<A>::count); });
  return block;
}

template <bool kWhole, class T>
GNAS_INLINE void store_block(const Block<Accumulator<T>>& block, T* to, int64_t count) {
  using A = Accumulator<T>;
  T part[kBlock<A>];
  T* into = kWhole ? to : part;
  each_register([&](auto r) GNAS_INLINED { store_as(block.v[r], into + r * Lanes<A>::count); });
  if constexpr (!kWhole) copy_few(to, part, count);
}

}  // namespace
}  // namespace gnas::GNAS_ISA
