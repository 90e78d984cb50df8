// Which instruction set the CPU kernels run with. Every kernel is compiled once per level, in a namespace named
// after it (GNAS_ISA), and the level is chosen at run time: a wheel runs on any x86-64 and is fast on a new one.
#pragma once

#include <string>
#include <vector>

namespace gnas {

enum class Simd : int { baseline = 0, avx2 = 1, avx512 = 2 };

// The level in use: the best that was compiled and that this machine offers, unless set_simd_level chose another.
Simd simd_level();

// Names of the levels that can run here, worst first.
std::vector<std::string> simd_levels();

// Throws std::invalid_argument for a name that is unknown or that this machine does not offer.
void set_simd_level(const std::string& name);
std::string simd_level_name();

// Do kernels of avx512 that have a way with dot products of bytes (AVX512-VNNI) take it? Where the machine offers it,
// unless switched off. Only few kernels have one: it is no level of its own, which would compile all of them again.
bool vnni();

// Switches it, so that both ways can be tested. Throws std::invalid_argument where the machine does not offer it.
void set_vnni(bool enabled);

}  // namespace gnas

// Declares a kernel at every level that is compiled in: GNAS_X86_LEVELS says how many.
#define GNAS_KERNEL_AT(level, name, ...) \
  namespace level {                      \
  void name(__VA_ARGS__);                \
  }
// GNAS_AT_LEVEL is the kernel of the level in use.
#if GNAS_X86_LEVELS == 3
#define GNAS_KERNEL(name, ...)                \
  GNAS_KERNEL_AT(baseline, name, __VA_ARGS__) \
  GNAS_KERNEL_AT(avx2, name, __VA_ARGS__)     \
  GNAS_KERNEL_AT(avx512, name, __VA_ARGS__)
#define GNAS_AT_LEVEL(name)                                    \
  (::gnas::simd_level() == ::gnas::Simd::avx512 ? avx512::name \
   : ::gnas::simd_level() == ::gnas::Simd::avx2 ? avx2::name   \
                                                : baseline::name)
#elif GNAS_X86_LEVELS == 2
#define GNAS_KERNEL(name, ...)                \
  GNAS_KERNEL_AT(baseline, name, __VA_ARGS__) \
  GNAS_KERNEL_AT(avx2, name, __VA_ARGS__)
#define GNAS_AT_LEVEL(name) (::gnas::simd_level() == ::gnas::Simd::avx2 ? avx2::name : baseline::name)
#else
#define GNAS_KERNEL(name, ...) GNAS_KERNEL_AT(baseline, name, __VA_ARGS__)
#define GNAS_AT_LEVEL(name) (baseline::name)
#endif
