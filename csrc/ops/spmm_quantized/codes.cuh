// Eight codes of 8, 4 or 2 bits as a lane reads them, and the numbers that they are. For *.cu; the CPU has decode.h.
#pragma once

#include "core/bytes.cuh"
#include "core/once.cuh"

namespace gnas {
namespace {

using namespace cuda;

constexpr int kColumns = 8;

template <class T>
__device__ inline T load_codes(const uint8_t* from, bool once) {
  return once ? load_once(reinterpret_cast<const T*>(from)) : __ldg(reinterpret_cast<const T*>(from));
}

// Eight codes, which are as many bytes as a code has bits.
template <int kBits>
struct Codes {
  uint32_t word[kBits == 8 ? 2 : 1];
};

// kWhole: rows are aligned to eight codes, and have a whole number of them. Else they may begin anywhere, and bytes
// beyond a row are zero.
template <int kBits, bool kWhole>
__device__ inline Codes<kBits> codes_at(const uint8_t* from, int left, bool once) {
  Codes<kBits> codes{};
  if constexpr (kWhole) {
    if constexpr (kBits == 8) {
      const uint2 both = load_codes<uint2>(from, once);
      codes.word[0] = both.x;
      codes.word[1] = both.y;
    } else if constexpr (kBits == 4) {
      codes.word[0] = load_codes<uint32_t>(from, once);
    } else {
      codes.word[0] = load_codes<uint16_t>(from, once);
    }
  } else {
    for (int b = 0; b < kBits; ++b) {
      if (b < left) codes.word[b / 4] |= static_cast<uint32_t>(from[b]) << (8 * (b % 4));
    }
  }
  return codes;
}

// Codes as numbers, in order.
template <int kBits>
__device__ inline void numbers_of(const Codes<kBits>& codes, float (&x)[kColumns]) {
  uint32_t a = codes.word[0];
  if constexpr (kBits == 8) {
    a ^= 0x80808080u;
    const uint32_t b = codes.word[1] ^ 0x80808080u;
    x[0] = byte_number<0, 128>(a), x[1] = byte_number<1, 128>(a);
    x[2] = byte_number<2, 128>(a), x[3] = byte_number<3, 128>(a);
    x[4] = byte_number<0, 128>(b), x[5] = byte_number<1, 128>(b);
    x[6] = byte_number<2, 128>(b), x[7] = byte_number<3, 128>(b);
  } else if constexpr (kBits == 4) {
    const uint32_t b = a >> 4 & 0x0F0F0F0Fu;
    a &= 0x0F0F0F0Fu;
    x[0] = byte_number<0, 8>(a), x[1] = byte_number<0, 8>(b);
    x[2] = byte_number<1, 8>(a), x[3] = byte_number<1, 8>(b);
    x[4] = byte_number<2, 8>(a), x[5] = byte_number<2, 8>(b);
    x[6] = byte_number<3, 8>(a), x[7] = byte_number<3, 8>(b);
  } else {
    // Two bytes: those beside them get the codes that stand two bits further on.
    a |= a << 14;
    const uint32_t b = a >> 4 & 0x03030303u;
    a &= 0x03030303u;
    x[0] = byte_number<0, 2>(a), x[4] = byte_number<1, 2>(a);
    x[1] = byte_number<2, 2>(a), x[5] = byte_number<3, 2>(a);
    x[2] = byte_number<0, 2>(b), x[6] = byte_number<1, 2>(b);
    x[3] = byte_number<2, 2>(b), x[7] = byte_number<3, 2>(b);
  }
}

}  // namespace
}  // namespace gnas
