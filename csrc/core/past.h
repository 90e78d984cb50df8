// Writes past the caches, for results that no cache would hold until they are read: the line is not read from memory
// before it is written. Reading it is up to a fifth of the time of a product.
#pragma once

#include "core/vector.h"

namespace gnas::GNAS_ISA {
namespace {

// Results from this size on.
constexpr int64_t kPastBytes = int64_t{32} << 20;

// `to` is aligned to a register.
#if GNAS_VECTOR_BYTES == 64
GNAS_INLINE void store_past(Vector<float> v, float* to) { _mm512_stream_ps(to, bit_copy<__m512>(v)); }
#elif GNAS_VECTOR_BYTES == 32
GNAS_INLINE void store_past(Vector<float> v, float* to) { _mm256_stream_ps(to, bit_copy<__m256>(v)); }
#endif
template <class V, class T>
GNAS_INLINE void store_past(V v, T* to) {
  store_as(v, to);
}

// What was written so is there for other threads from here on.
GNAS_INLINE void finish_past() {
#if GNAS_VECTOR_BYTES >= 32
  _mm_sfence();
#endif
}

}  // namespace
}  // namespace gnas::GNAS_ISA
