#include "ops/edge_dropout/edge_dropout.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace gnas::GNAS_ISA {
namespace {

// The bits of one byte: two blocks of four draws.
inline uint8_t byte_of(const DropoutArgs& a, int64_t byte) {
  uint32_t bits = 0;
  for (int half = 0; half < 2; ++half) {
    const Philox draws = dropout_draws(a, static_cast<uint64_t>(2 * byte + half));
    for (int n = 0; n < 4; ++n) bits |= static_cast<uint32_t>(draws.word[n] >= a.threshold) << (4 * half + n);
  }
  return static_cast<uint8_t>(bits);
}

#if defined(__AVX512F__)
constexpr __mmask8 kAll = 0xFF;

// The high and the low halves of 32-bit products, each word in the low half of a lane of 64 bits.
struct Product {
  __m512i high;
  __m512i low;
};
inline Product product(__m512i word, uint32_t by) {
  const __m512i whole = _mm512_maskz_mul_epu32(kAll, word, _mm512_set1_epi64(by));
  return {_mm512_maskz_srli_epi64(kAll, whole, 32), whole};
}

// Bits 0 … 7 to places 0, 4, 8 …
inline uint32_t spread(uint32_t bits) {
  bits = (bits | bits << 12) & 0x000F000Fu;
  bits = (bits | bits << 6) & 0x03030303u;
  return (bits | bits << 3) & 0x11111111u;
}

// Four bytes of the mask: eight blocks of four draws side by side, the same numbers as one by one. What stands in the
// upper halves of the lanes is never read: multiplication and comparison take the lower ones.
inline uint32_t four_bytes(const DropoutArgs& a, int64_t byte) {
  const __m512i first = _mm512_set1_epi64(static_cast<int64_t>(static_cast<uint32_t>(2 * byte)));
  __m512i c0 = _mm512_add_epi64(first, _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0));
  __m512i c1 = _mm512_set1_epi64(kDropoutFamily);
  __m512i c2 = _mm512_set1_epi64(static_cast<int64_t>(a.stream & 0xFFFFFFFFu));
  __m512i c3 = _mm512_set1_epi64(static_cast<int64_t>(a.stream >> 32));
  uint32_t key0 = static_cast<uint32_t>(a.seed);
  uint32_t key1 = static_cast<uint32_t>(a.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const Product left = product(c0, 0xD2511F53u);
    const Product right = product(c2, 0xCD9E8D57u);
    c0 = _mm512_xor_si512(_mm512_xor_si512(right.high, c1), _mm512_set1_epi64(key0));
    c1 = right.low;
    c2 = _mm512_xor_si512(_mm512_xor_si512(left.high, c3), _mm512_set1_epi64(key1));
    c3 = left.low;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  const __m512i threshold = _mm512_set1_epi64(static_cast<int64_t>(a.threshold));
  const __m512i lower = _mm512_set1_epi64(0xFFFFFFFF);
  const auto kept = [&](__m512i word) __attribute__((always_inline)) {
    return spread(_mm512_cmpge_epu64_mask(_mm512_and_si512(word, lower), threshold));
  };
  return kept(c0) | kept(c1) << 1 | kept(c2) << 2 | kept(c3) << 3;
}
#endif

void independent(const DropoutArgs& a, int64_t begin, int64_t end) {
  int64_t byte = begin;
#if defined(__AVX512F__)
  for (; byte + 4 <= end; byte += 4) {
    const uint32_t bits = four_bytes(a, byte);
    __builtin_memcpy(a.mask + byte, &bits, 4);
  }
#endif
  for (; byte < end; ++byte) a.mask[byte] = byte_of(a, byte);
}

// Both directions of an edge share a draw.
template <class I>
void of_pairs(const DropoutArgs& a, int64_t begin, int64_t end) {
  const I* indptr = static_cast<const I*>(a.indptr);
  const I* indices = static_cast<const I*>(a.indices);
  const Philox key = pair_key(a);
  const int64_t until = a.nnz < 8 * end ? a.nnz : 8 * end;
  int64_t row = 0;
  for (int64_t high = a.rows; row < high;) {  // the first row that ends after the first entry
    const int64_t middle = row + (high - row) / 2;
    if (static_cast<int64_t>(indptr[middle + 1]) <= 8 * begin)
      row = middle + 1;
    else
      high = middle;
  }
  for (int64_t byte = begin; byte < end; ++byte) a.mask[byte] = 0;
  for (int64_t e = 8 * begin; e < until; ++e) {
    while (static_cast<int64_t>(indptr[row + 1]) <= e) ++row;
    const int64_t col = indices[e];
    if (static_cast<uint64_t>(col) >= static_cast<uint64_t>(a.cols)) {
      __atomic_store_n(&a.fault->edge, e, __ATOMIC_RELAXED);
      return;
    }
    const bool kept = pair_draw(key, static_cast<uint64_t>(row), static_cast<uint64_t>(col)) >= a.threshold;
    a.mask[e >> 3] = static_cast<uint8_t>(a.mask[e >> 3] | static_cast<unsigned>(kept) << (e & 7));
  }
}

}  // namespace

void edge_dropout(const DropoutArgs& a, int64_t begin, int64_t end) {
  if (a.indptr != nullptr) {
    if (a.wide_index)
      of_pairs<int64_t>(a, begin, end);
    else
      of_pairs<int32_t>(a, begin, end);
    return;
  }
  independent(a, begin, end);
  // What stands beyond the last entry.
  if (8 * end > a.nnz && a.nnz % 8 != 0) a.mask[end - 1] &= static_cast<uint8_t>((1u << (a.nnz % 8)) - 1);
}

}  // namespace gnas::GNAS_ISA
