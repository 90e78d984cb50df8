// The live sub-graph at the speed of memory: indices, places and weights of the live entries, one after the other.
#include <type_traits>

#include "core/bounds.h"
#include "ops/select_edges/compress.h"
#include "ops/select_edges/select_edges.h"

namespace gnas::GNAS_ISA {
namespace {

// Calls f with a value of the unsigned type of the indices: bits are moved, whatever they mean.
template <class F>
void with_index(bool wide, const F& f) {
  if (wide)
    f(uint64_t{});
  else
    f(uint32_t{});
}

// The bits of entries 64 * word … in `mask`, without those beyond the last entry.
inline uint64_t mask_word(const SelectArgs& a, int64_t word) {
  const int64_t left = a.nnz - word * kSelectWord;
  const uint64_t valid = left >= kSelectWord ? ~uint64_t{0} : (uint64_t{1} << left) - 1;
  if (a.mask == nullptr) return valid;
  uint64_t bits = 0;
  std::memcpy(&bits, a.mask + word * 8, left >= kSelectWord ? 8 : (left + 7) / 8);
  return bits & valid;
}

template <class I>
inline uint64_t bit_at(const SelectArgs& a, I place) {
  return a.mask[place >> 3] >> (place & 7) & 1;
}

// The same where each entry's bit is looked up, for `count` of them.
template <class I>
inline uint64_t looked_up_word(const SelectArgs& a, const I* edge, int64_t count) {
  uint64_t word = 0;
#if defined(__AVX512F__)
  const int64_t bytes = (a.nnz + 7) / 8;
  if constexpr (sizeof(I) == 4) {
    if (count == kSelectWord && bytes >= 4) {
      // Four bytes from the one with the bit on; at the end of the mask, the last four.
      constexpr __mmask16 kAll = 0xFFFF;
      const __m512i last = _mm512_set1_epi32(static_cast<int>(bytes - 4));
      for (int part = 0; part < 4; ++part) {
        const __m512i place = _mm512_loadu_si512(edge + 16 * part);
        const __m512i from = _mm512_maskz_min_epu32(kAll, _mm512_maskz_srli_epi32(kAll, place, 3), last);
        const __m512i bit = _mm512_sub_epi32(place, _mm512_maskz_slli_epi32(kAll, from, 3));
        const __m512i found = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), kAll, from, a.mask, 1);
        const __mmask16 set = _mm512_test_epi32_mask(found, _mm512_maskz_sllv_epi32(kAll, _mm512_set1_epi32(1), bit));
        word |= static_cast<uint64_t>(set) << (16 * part);
      }
      return word;
    }
  }
#endif
  for (int64_t n = 0; n < count; ++n) word |= bit_at(a, edge[n]) << n;
  return word;
}

// Everything that is looked up through an index, checked a block at a time.
template <class I>
bool block_inside(const SelectArgs& a, int64_t begin, int64_t end) {
  using Signed = std::make_signed_t<I>;
  return inside(a, static_cast<const Signed*>(a.indices), static_cast<const Signed*>(a.edge), begin, end);
}

template <class I>
void live_block(const SelectArgs& a, int64_t block) {
  using Signed = std::make_signed_t<I>;
  const I* edge = static_cast<const I*>(a.edge);
  const I* indices = static_cast<const I*>(a.indices);
  const Signed* remap = static_cast<const Signed*>(a.remap);
  const int64_t end = a.nnz < (block + 1) * kSelectBlock ? a.nnz : (block + 1) * kSelectBlock;
  a.base[block] = 0;
  if ((edge != nullptr || remap != nullptr) && !block_inside<I>(a, block * kSelectBlock, end)) return;
  int64_t count = 0;
  for (int64_t first = block * kSelectBlock; first < end; first += kSelectWord) {
    const int64_t size = end - first < kSelectWord ? end - first : kSelectWord;
    uint64_t word = a.mask != nullptr && edge != nullptr ? looked_up_word(a, edge + first, size)
                                                         : mask_word(a, first / kSelectWord);
    if (remap != nullptr) {
      uint64_t named = 0;
      for (int64_t n = 0; n < size; ++n) named |= static_cast<uint64_t>(remap[indices[first + n]] >= 0) << n;
      word &= named;
    }
    a.live[first / kSelectWord] = word;
    count += bits_of(word);
  }
  a.base[block] = count;
}

// How many bits of the mask stand before a place.
template <class I>
inline I rank_of(const SelectArgs& a, I place) {
  const int64_t word = static_cast<int64_t>(place / kSelectWord);
  return static_cast<I>(a.rank[word] + bits_of(a.kept[word] & ((uint64_t{1} << (place % kSelectWord)) - 1)));
}

// What one word of 64 entries leaves, of all that is asked for, from `out` on.
template <class I, class W>
struct Copy {
  explicit Copy(const SelectArgs& args)
      : a(args),
        indices(static_cast<const I*>(args.indices)),
        edge(static_cast<const I*>(args.edge)),
        remap(static_cast<const I*>(args.remap)),
        weight(static_cast<const W*>(args.weight)),
        out_indices(static_cast<I*>(args.out_indices)),
        out_edge(static_cast<I*>(args.out_edge)),
        out_weight(static_cast<W*>(args.out_weight)) {}

  void word(int64_t first, uint64_t live, int64_t out) const {
    if (edge == nullptr && remap == nullptr && weight != nullptr && out_edge == nullptr) {
      compress_both(indices + first, weight + first, live, out_indices + out, out_weight + out);
      return;
    }
    const int64_t count = bits_of(live);
    compress(indices + first, live, out_indices + out);
    if (remap != nullptr) {
      for (int64_t n = out; n < out + count; ++n) out_indices[n] = remap[out_indices[n]];
    }
    if (edge == nullptr) {
      if (weight != nullptr) compress(weight + first, live, out_weight + out);
      if (out_edge == nullptr) return;
      if (a.places == Places::kept) {
        for (int64_t n = out; n < out + count; ++n) out_edge[n] = static_cast<I>(n);
      } else {
        I* to = out_edge + out;
        for_bits(live, [&](int bit) { *to++ = static_cast<I>(first + bit); });
      }
      return;
    }
    if (weight == nullptr && out_edge == nullptr) return;
    I place[kSelectWord];
    compress(edge + first, live, place);
    if (weight != nullptr) {
      for (int64_t n = 0; n < count; ++n) out_weight[out + n] = weight[place[n]];
    }
    if (out_edge == nullptr) return;
    if (a.places == Places::kept) {
      for (int64_t n = 0; n < count; ++n) out_edge[out + n] = rank_of(a, place[n]);
    } else {
      std::memcpy(out_edge + out, place, count * sizeof(I));
    }
  }

  const SelectArgs& a;
  const I* indices;
  const I* edge;
  const I* remap;
  const W* weight;
  I* out_indices;
  I* out_edge;
  W* out_weight;
};

// The first row that begins at `entry` or later; rows where there is none.
template <class I>
int64_t first_row_from(const SelectArgs& a, const I* indptr, int64_t entry) {
  int64_t low = 0;
  int64_t high = a.rows;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (static_cast<int64_t>(indptr[middle]) < entry)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

// A block also says where the rows begin that begin in it; the last one, those after the last entry too.
template <class I, class W>
void copy_block(const SelectArgs& a, const Copy<I, W>& copy, int64_t block) {
  const I* indptr = static_cast<const I*>(a.indptr);
  I* out_indptr = static_cast<I*>(a.out_indptr);
  const int64_t begin = block * kSelectBlock;
  const int64_t end = a.nnz < begin + kSelectBlock ? a.nnz : begin + kSelectBlock;
  // Where nothing was looked up through them, the indices are checked only here, as they come into the cache.
  if (a.edge == nullptr && a.remap == nullptr && !block_inside<I>(a, begin, end)) return;
  const uint64_t* live = a.live + begin / kSelectWord;
  int64_t before[kSelectBlock / kSelectWord];  // where what each word leaves begins
  int64_t out = a.base[block];
  for (int64_t word = 0; begin + word * kSelectWord < end; ++word) {
    before[word] = out;
    // An empty mask would write nothing too, but a store of nothing beyond the output takes the processor long.
    if (live[word] == 0) continue;
    copy.word(begin + word * kSelectWord, live[word], out);
    out += bits_of(live[word]);
  }
  const int64_t last_row = end < a.nnz ? first_row_from(a, indptr, end) : a.rows + 1;
  for (int64_t row = first_row_from(a, indptr, begin); row < last_row; ++row) {
    const int64_t at = static_cast<int64_t>(indptr[row]) - begin;
    const int64_t word = at / kSelectWord;
    out_indptr[row] =
        begin + at == end
            ? static_cast<I>(out)
            : static_cast<I>(before[word] + bits_of(live[word] & ((uint64_t{1} << (at % kSelectWord)) - 1)));
  }
}

// Is an entry of a listed row live?
template <class I>
inline bool is_live(const SelectArgs& a, int64_t e) {
  using Signed = std::make_signed_t<I>;
  if (a.mask != nullptr) {
    const I place = a.edge == nullptr ? static_cast<I>(e) : static_cast<const I*>(a.edge)[e];
    if (bit_at(a, place) == 0) return false;
  }
  return a.remap == nullptr || static_cast<const Signed*>(a.remap)[static_cast<const I*>(a.indices)[e]] >= 0;
}

template <class I>
void count_rows(const SelectArgs& a, int64_t begin, int64_t end) {
  const I* indptr = static_cast<const I*>(a.indptr);
  const I* listed = static_cast<const I*>(a.listed);
  for (int64_t i = begin; i < end; ++i) {
    a.base[i] = 0;
    if (static_cast<uint64_t>(listed[i]) >= static_cast<uint64_t>(a.rows)) {
      __atomic_store_n(&a.row_fault->edge, i, __ATOMIC_RELAXED);
      continue;
    }
    const int64_t from = static_cast<int64_t>(indptr[listed[i]]);
    const int64_t until = static_cast<int64_t>(indptr[listed[i] + 1]);
    if (!block_inside<I>(a, from, until)) continue;
    if (a.mask == nullptr && a.remap == nullptr) {
      a.base[i] = until - from;
      continue;
    }
    int64_t count = 0;
    for (int64_t e = from; e < until; ++e) count += is_live<I>(a, e);
    a.base[i] = count;
  }
}

template <class I, class W>
void copy_rows(const SelectArgs& a, int64_t begin, int64_t end) {
  const Copy<I, W> copy(a);
  const I* indptr = static_cast<const I*>(a.indptr);
  const I* listed = static_cast<const I*>(a.listed);
  const bool all = a.mask == nullptr && a.remap == nullptr;
  for (int64_t i = begin; i < end; ++i) {
    int64_t out = a.base[i];
    static_cast<I*>(a.out_indptr)[i] = static_cast<I>(out);
    const int64_t until = static_cast<int64_t>(indptr[listed[i] + 1]);
    for (int64_t first = static_cast<int64_t>(indptr[listed[i]]); first < until; first += kSelectWord) {
      const int64_t size = until - first < kSelectWord ? until - first : kSelectWord;
      uint64_t live = 0;
      if (all)
        live = size == kSelectWord ? ~uint64_t{0} : (uint64_t{1} << size) - 1;
      else
        for (int64_t n = 0; n < size; ++n) live |= static_cast<uint64_t>(is_live<I>(a, first + n)) << n;
      copy.word(first, live, out);
      out += bits_of(live);
    }
  }
}

}  // namespace

void select_live(const SelectArgs& a, int64_t block_begin, int64_t block_end) {
  with_index(a.wide_index, [&](auto index) {
    for (int64_t block = block_begin; block < block_end; ++block) live_block<decltype(index)>(a, block);
  });
}

void select_copy(const SelectArgs& a, int64_t block_begin, int64_t block_end) {
  with_index(a.wide_index, [&](auto index) {
    with_weight(a.weight_bytes, [&](auto weight) {
      const Copy<decltype(index), decltype(weight)> copy(a);
      for (int64_t block = block_begin; block < block_end; ++block) copy_block(a, copy, block);
    });
  });
}

void select_rank(const SelectArgs& a) {
  int64_t sum = 0;
  for (int64_t word = 0; word < a.words(); ++word) {
    a.kept[word] = mask_word(a, word);
    a.rank[word] = sum;
    sum += bits_of(a.kept[word]);
  }
}

void select_count_rows(const SelectArgs& a, int64_t row_begin, int64_t row_end) {
  with_index(a.wide_index, [&](auto index) { count_rows<decltype(index)>(a, row_begin, row_end); });
}

void select_copy_rows(const SelectArgs& a, int64_t row_begin, int64_t row_end) {
  with_index(a.wide_index, [&](auto index) {
    with_weight(a.weight_bytes,
                [&](auto weight) { copy_rows<decltype(index), decltype(weight)>(a, row_begin, row_end); });
  });
}

}  // namespace gnas::GNAS_ISA
