// A row to codes, in registers: its range, the code that it gets, and the codes of its entries. Included by *_simd.cpp
// only.
#pragma once

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "core/blocks.h"
#include "core/draws_vector.h"
#include "core/quantize.h"

namespace gnas::GNAS_ISA {
namespace {

// The largest of all lanes, in each of them; `larger` picks between two registers.
template <class A, int kApart, class V, class F>
GNAS_INLINE V over_lanes(V v, const F& larger) {
  if constexpr (kApart == 0) {
    return v;
  } else {
    IntVector<A> other;
    for (int lane = 0; lane < Lanes<A>::count; ++lane) other[lane] = lane ^ kApart;
    return over_lanes<A, kApart / 2>(larger(v, __builtin_shuffle(v, other)), larger);
  }
}

// All bits but the sign.
template <class A>
constexpr uint64_t kMagnitude = ~uint64_t{0} >> (65 - 8 * sizeof(A));

// False where an entry has no code.
template <bool kSymmetric, class T>
GNAS_INLINE bool range_of(const T* row, int64_t width, RowRange* range) {
  using A = Accumulator<T>;
  using Integer = typename Lanes<A>::Integer;
  constexpr int kHalf = Lanes<A>::count / 2;
  // Magnitudes in the order of their bits: NaN and infinities come last.
  const IntVector<A> magnitude = IntVector<A>{} + static_cast<Integer>(kMagnitude<A>);
  const auto above = [](IntVector<A> a, IntVector<A> b) GNAS_INLINED { return a > b ? a : b; };
  const auto less = [](Vector<A> a, Vector<A> b) GNAS_INLINED { return a < b ? a : b; };
  const auto greater = [](Vector<A> a, Vector<A> b) GNAS_INLINED { return a > b ? a : b; };
  *range = {};
  if (width == 0) return true;
  IntVector<A> largest[kRegisters] = {};
  Block<A> low;
  Block<A> high;
  const A first = widen(row[0]);
  each_register([&](auto r) GNAS_INLINED { low.v[r] = high.v[r] = Vector<A>{} + first; });
  each_block<A>(width, [&](int64_t f, auto whole, int64_t count) GNAS_INLINED {
    const Block<A> x = load_block<whole>(row + f, count);
    each_register([&](auto r) GNAS_INLINED {
      largest[r] = above(largest[r], bit_copy<IntVector<A>>(x.v[r]) & magnitude);
      if (kSymmetric) return;
      low.v[r] = less(x.v[r], low.v[r]);
      high.v[r] = greater(x.v[r], high.v[r]);
    });
  });
  each_register([&](auto r) GNAS_INLINED {
    largest[0] = above(largest[0], largest[r]);
    low.v[0] = less(low.v[0], low.v[r]);
    high.v[0] = greater(high.v[0], high.v[r]);
  });
  const Integer bits = over_lanes<A, kHalf>(largest[0], above)[0];
  range->largest = bit_copy<A>(bits);
  if (!kSymmetric) {
    range->low = over_lanes<A, kHalf>(low.v[0], less)[0];
    range->high = over_lanes<A, kHalf>(high.v[0], greater)[0];
  }
  return range->largest <= largest_coded(kSymmetric);
}

template <class T>
GNAS_INLINE bool range_of(const T* row, int64_t width, bool symmetric, RowRange* range) {
  return symmetric ? range_of<true>(row, width, range) : range_of<false>(row, width, range);
}

// Adding it leaves a number's nearest integer (of two, the even one) in the last bits.
template <class A>
constexpr A kRound = sizeof(A) == 4 ? static_cast<A>(0x1.8p23) : static_cast<A>(0x1.8p52);

template <class A>
struct Coder {
  Vector<A> scale;
  Vector<A> inverse;
  Vector<A> zero;
  Vector<A> low;
  Vector<A> high;
  bool invertible;  // else the inverse is no normal number

  Coder(const RowCode& code, const QuantizeSpec& s)
      : scale(Vector<A>{} + code.scale),
        inverse(Vector<A>{} + inverse_of<A>(code)),
        zero(Vector<A>{} + code.zero),
        low(Vector<A>{} + static_cast<A>(lowest_code(s))),
        high(Vector<A>{} + static_cast<A>(highest_code(s.bits))),
        invertible(code.scale < 0x1p120f) {}

  GNAS_INLINE Vector<A> place(Vector<A> x) const { return (x - zero) / scale; }
  GNAS_INLINE Vector<A> clip(Vector<A> place) const {
    const Vector<A> above = place < low ? low : place;
    return above > high ? high : above;
  }
};

// Sum over the row of ((x - zero) * (1 / scale) - code)^2, times scale^2. Columns that are equal modulo a block are
// added in turn, then those sums.
template <class T>
double squared_error(const T* row, int64_t width, const RowCode& code, const QuantizeSpec& s) {
  using A = Accumulator<T>;
  const Coder<A> coder(code, s);
  const Vector<A> round = Vector<A>{} + kRound<A>;
  Block<A> sum = {};
  each_block<A>(width, [&](int64_t f, auto whole, int64_t count) GNAS_INLINED {
    const Block<A> x = load_block<whole>(row + f, count);
    Block<A> off;
    each_register([&](auto r) GNAS_INLINED {
      const Vector<A> place = rounded((x.v[r] - coder.zero) * coder.inverse);
      off.v[r] = place - ((coder.clip(place) + round) - round);
    });
    if constexpr (!whole) {
      A lanes[kBlock<A>] = {};
      store_block<false>(off, lanes, count);
      off = load_block<true>(lanes, count);
    }
    each_register([&](auto r) GNAS_INLINED { sum.v[r] = sum.v[r] + rounded(off.v[r] * off.v[r]); });
  });
  A lanes[kBlock<A>];
  store_block<true>(sum, lanes, kBlock<A>);
  double total = 0;
  for (int i = 0; i < kBlock<A>; ++i) total += lanes[i];
  return total * code.scale * code.scale;
}

template <class T>
GNAS_INLINE RowCode choose_code(const T* row, int64_t width, const RowRange& range, const QuantizeSpec& s) {
  RowCode best = candidate(s, range, 0);
  if (!s.search) return best;
  double least = squared_error(row, width, best, s);
  for (int number = 1; number < candidates(s); ++number) {
    const RowCode code = candidate(s, range, number);
    const double error = squared_error(row, width, code, s);
    if (error < least) {
      least = error;
      best = code;
    }
  }
  return best;
}

// Random numbers are made so many at a time.
constexpr int64_t kDrawn = 128;

// Is a lane set?
template <class A>
GNAS_INLINE bool any(const IntVector<A>& mask) {
#if GNAS_VECTOR_BYTES == 64
  return _mm512_test_epi32_mask(bit_copy<__m512i>(mask), bit_copy<__m512i>(mask)) != 0;
#elif GNAS_VECTOR_BYTES == 32
  return _mm256_movemask_epi8(bit_copy<__m256i>(mask)) != 0;
#elif defined(__SSE2__)
  return _mm_movemask_epi8(bit_copy<__m128i>(mask)) != 0;
#else
  bool found = false;
  for (int lane = 0; lane < Lanes<A>::count; ++lane) found |= mask[lane] != 0;
  return found;
#endif
}

// Codes to the nearest, of places that were multiplied instead of divided: a division takes as long as all the rest.
// `rest` becomes the largest distance of a place from its code.
template <class A>
GNAS_INLINE IntBlock<A> multiplied_codes(const Block<A>& x, const Coder<A>& coder, Block<A>* rest) {
  IntBlock<A> codes;
  const Vector<A> round = Vector<A>{} + kRound<A>;
  const IntVector<A> magnitude = IntVector<A>{} + static_cast<typename Lanes<A>::Integer>(kMagnitude<A>);
  each_register([&](auto r) GNAS_INLINED {
    const Vector<A> place = coder.clip((x.v[r] - coder.zero) * coder.inverse);
    const Vector<A> moved = place + round;
    codes.v[r] = bit_copy<IntVector<A>>(moved) - bit_copy<IntVector<A>>(round);
    const Vector<A> off = bit_copy<Vector<A>>(bit_copy<IntVector<A>>(place - (moved - round)) & magnitude);
    rest->v[r] = off > rest->v[r] ? off : rest->v[r];
  });
  return codes;
}

// Would a division have given the same codes? Not for sure where a place is near the middle between two codes: the last
// of 24 bits of numbers up to 128 is worth 2^-17, and the two places are less than 2^-15 apart.
template <class A>
GNAS_INLINE bool sure(const Block<A>& rest) {
  IntVector<A> between{};
  each_register([&](auto r) GNAS_INLINED { between |= rest.v[r] > static_cast<A>(0.5 - 0x1p-14); });
  return !any<A>(between);
}

// Codes of a block: to the nearest, or up or down by the numbers that were drawn for it.
template <class A>
GNAS_INLINE IntBlock<A> codes_of(const Block<A>& x, const Coder<A>& coder, const uint32_t* drawn) {
  IntBlock<A> codes;
  const Vector<A> round = Vector<A>{} + kRound<A>;
  each_register([&](auto r) GNAS_INLINED {
    const Vector<A> place = coder.clip(coder.place(x.v[r]));
    const Vector<A> moved = place + round;
    codes.v[r] = bit_copy<IntVector<A>>(moved) - bit_copy<IntVector<A>>(round);
    if (drawn == nullptr) return;
    typename Narrow<A>::Drawn bits;
    __builtin_memcpy(&bits, drawn + r * Lanes<A>::count, sizeof bits);
    // Below 2^24, so the sign makes no difference; there is no conversion from unsigned before AVX-512.
    bits = bits >> 8 & 0xFFFFFF;
    const Vector<A> even = __builtin_convertvector(bits, Vector<A>) * static_cast<A>(0x1p-24);
    const Vector<A> rest = place - (moved - round);  // exact
    const IntVector<A> goes = even < (rest < 0 ? -rest : rest);
    codes.v[r] = codes.v[r] + (goes & ((rest < 0) | 1));
  });
  return codes;
}

// Codes as bytes, with what is added to them.
template <class A>
GNAS_INLINE void narrow_codes(const IntBlock<A>& codes, int32_t bias, uint8_t* to) {
  constexpr int kLanes = Lanes<A>::count;
  using Bytes = typename Narrow<A>::Bytes;
#if defined(__SSE2__) && GNAS_VECTOR_BYTES < 64
  // The compiler narrows lane by lane.
  if constexpr (sizeof(A) == 4) {
    __m128i four[4];
    const IntVector<A> up = IntVector<A>{} + bias;
    each_register([&](auto r) GNAS_INLINED {
      const IntVector<A> code = codes.v[r] + up;
      __builtin_memcpy(four + r * kLanes / 4, &code, sizeof code);
    });
    const __m128i narrow = _mm_packs_epi16(_mm_packs_epi32(four[0], four[1]), _mm_packs_epi32(four[2], four[3]));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), narrow);
    return;
  }
#endif
  each_register([&](auto r) GNAS_INLINED {
    const Bytes narrow = __builtin_convertvector(codes.v[r] + bias, Bytes);
    __builtin_memcpy(to + r * kLanes, &narrow, sizeof narrow);
  });
}

// Stores `count` codes of a block; what is left of the last byte is zero bits.
template <bool kWhole, int kBits, class A>
GNAS_INLINE void store_codes(const IntBlock<A>& codes, uint8_t* to, int64_t count) {
  constexpr int kBytes = kBlock<A> * kBits / 8;
  alignas(16) uint8_t bytes[kBlock<A>];
  alignas(16) uint8_t packed[kBytes];
  if constexpr (kBits == 8) {
    narrow_codes(codes, 0, kWhole ? to : bytes);
    if constexpr (!kWhole) copy_few(to, bytes, count);
    return;
  }
  narrow_codes(codes, 1 << (kBits - 1), bytes);
  if constexpr (!kWhole) {
    const uint8_t zeros[kBlock<A>] = {};
    copy_few(bytes + count, zeros, kBlock<A> - count);
  }
  uint8_t* into = kWhole ? to : packed;
  unrolled<kBlock<A> / 8>([&](auto i) GNAS_INLINED {
    uint64_t eight;
    __builtin_memcpy(&eight, bytes + 8 * i, 8);
    if constexpr (kBits == 4) {
      eight = (eight | eight >> 4) & 0x00FF00FF00FF00FFu;
      eight = (eight | eight >> 8) & 0x0000FFFF0000FFFFu;
      eight |= eight >> 16;
    } else {
      eight = (eight | eight >> 6) & 0x000F000F000F000Fu;
      eight = (eight | eight >> 12) & 0x000000FF000000FFu;
      eight |= eight >> 24;
    }
    __builtin_memcpy(into + kBits * i, &eight, kBits);
  });
  if constexpr (!kWhole) copy_few(to, packed, (count * kBits + 7) / 8);
}

// A row's codes, once its scale is known.
template <int kBits, class T>
GNAS_INLINE void code_row(const T* row, int64_t width, int64_t number, const RowCode& code, const QuantizeSpec& s,
                          uint8_t* to) {
  using A = Accumulator<T>;
  const Coder<A> coder(code, s);
  if (!s.stochastic) {
    Block<A> rest{};
    if (coder.invertible) {
      each_block<A>(width, [&](int64_t f, auto whole, int64_t count) GNAS_INLINED {
        const IntBlock<A> codes = multiplied_codes(load_block<whole>(row + f, count), coder, &rest);
        store_codes<whole, kBits>(codes, to + f * kBits / 8, count);
      });
      if (sure(rest)) return;
    }
    each_block<A>(width, [&](int64_t f, auto whole, int64_t count) GNAS_INLINED {
      const IntBlock<A> codes = codes_of(load_block<whole>(row + f, count), coder, nullptr);
      store_codes<whole, kBits>(codes, to + f * kBits / 8, count);
    });
    return;
  }
  uint32_t drawn[kDrawn];  // any beyond the row: those codes are dropped
  for (int64_t from = 0; from < width; from += kDrawn) {
    const int64_t some = width - from < kDrawn ? width - from : kDrawn;
    draw(s, number, from, some, drawn);
    each_block<A>(some, [&](int64_t f, auto whole, int64_t count) GNAS_INLINED {
      const IntBlock<A> codes = codes_of(load_block<whole>(row + from + f, count), coder, drawn + f);
      store_codes<whole, kBits>(codes, to + (from + f) * kBits / 8, count);
    });
  }
}

// Of the rows that have no codes, the first: kernels find them in any order.
inline void refuse(int64_t* refused, int64_t row) {
  int64_t first = __atomic_load_n(refused, __ATOMIC_RELAXED);
  while (row < first && !__atomic_compare_exchange_n(refused, &first, row, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
}

}  // namespace
}  // namespace gnas::GNAS_ISA
