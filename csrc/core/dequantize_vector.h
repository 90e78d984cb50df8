// Codes of a row to the numbers that they stand for, in registers. Included by *_simd.cpp only.
#pragma once

#include "core/blocks.h"
#include "core/quantized.h"

namespace gnas::GNAS_ISA {
namespace {

// `count` codes of a block as numbers; the others are any.
template <bool kWhole, int kBits, class A>
GNAS_INLINE Block<A> load_codes(const uint8_t* from, int64_t count) {
  constexpr int kLanes = Lanes<A>::count;
  constexpr int kBytes = kBlock<A> * kBits / 8;
  using Bytes = typename Narrow<A>::Bytes;
  alignas(16) uint8_t packed[kBytes] = {};
  alignas(16) uint8_t bytes[kBlock<A>];
  if constexpr (!kWhole) {
    copy_few(packed, from, (count * kBits + 7) / 8);
    from = packed;
  }
  if constexpr (kBits < 8) {
    unrolled<kBlock<A> / 8>([&](auto i) GNAS_INLINED {
      uint64_t eight = 0;
      __builtin_memcpy(&eight, from + kBits * i, kBits);
      if constexpr (kBits == 4) {
        eight = (eight | eight << 16) & 0x0000FFFF0000FFFFu;
        eight = (eight | eight << 8) & 0x00FF00FF00FF00FFu;
        eight = (eight | eight << 4) & 0x0F0F0F0F0F0F0F0Fu;
      } else {
        eight = (eight | eight << 24) & 0x000000FF000000FFu;
        eight = (eight | eight << 12) & 0x000F000F000F000Fu;
        eight = (eight | eight << 6) & 0x0303030303030303u;
      }
      __builtin_memcpy(bytes + 8 * i, &eight, 8);
    });
    from = bytes;
  }
  const int32_t bias = kBits == 8 ? 0 : 1 << (kBits - 1);
  Block<A> block;
  each_register([&](auto r) GNAS_INLINED {
    Bytes narrow;
    __builtin_memcpy(&narrow, from + r * kLanes, sizeof narrow);
    block.v[r] = __builtin_convertvector(__builtin_convertvector(narrow, IntVector<A>) - bias, Vector<A>);
  });
  return block;
}

// What `count` codes of a row from column f on stand for.
template <bool kWhole, int kBits, class A>
GNAS_INLINE Block<A> values_of(const QuantizedTable& t, int64_t row, int64_t f, int64_t count) {
  const uint8_t* codes = static_cast<const uint8_t*>(t.codes) + row * t.row_bytes + f * kBits / 8;
  Block<A> x = load_codes<kWhole, kBits, A>(codes, count);
  const Vector<A> scale = Vector<A>{} + t.scale[row];
  each_register([&](auto r) GNAS_INLINED {
    x.v[r] = rounded(scale * x.v[r]);
    if (t.zero != nullptr) x.v[r] = x.v[r] + t.zero[row];
  });
  return x;
}

}  // namespace
}  // namespace gnas::GNAS_ISA
