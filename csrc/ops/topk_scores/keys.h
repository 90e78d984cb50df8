// A score and its item as one whole number, so that a single comparison orders them: the larger score first, and of
// equal ones the smaller item.
//
// Included by topk_scores_simd.cpp only, hence the namespaces.
#pragma once

#include "core/vector.h"

namespace gnas::GNAS_ISA {
namespace {

template <class S>
using Key = std::conditional_t<sizeof(S) == 8, unsigned __int128, uint64_t>;

// No score is NaN here. Both zeros are one.
GNAS_INLINE uint32_t order_of(float score) {
  const uint32_t bits = bit_copy<uint32_t>(score + 0.0f);
  return bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
}
GNAS_INLINE uint64_t order_of(double score) {
  const uint64_t bits = bit_copy<uint64_t>(score + 0.0);
  return bits >> 63 != 0 ? ~bits : bits | uint64_t{1} << 63;
}

template <class S>
GNAS_INLINE S score_at(uint64_t order) {
  if constexpr (sizeof(S) == 4) {
    const uint32_t bits = static_cast<uint32_t>(order);
    return bit_copy<float>(bits >> 31 != 0 ? bits ^ 0x80000000u : ~bits);
  } else {
    return bit_copy<double>(order >> 63 != 0 ? order ^ uint64_t{1} << 63 : ~order);
  }
}

// The largest score that is less than the one of an order. Minus zero, next to zero, is not.
template <class S>
GNAS_INLINE S score_below(uint64_t order) {
  const S next = score_at<S>(order - 1);
  return next < score_at<S>(order) ? next : score_at<S>(order - 2);
}

template <class S>
GNAS_INLINE Key<S> key_of(S score, int64_t item) {
  return static_cast<Key<S>>(order_of(score)) << (8 * sizeof(S)) | static_cast<uint32_t>(~item);
}

GNAS_INLINE int64_t item_of(uint64_t key) { return static_cast<uint32_t>(~key); }
GNAS_INLINE int64_t item_of(unsigned __int128 key) { return static_cast<uint32_t>(~key); }

GNAS_INLINE float score_of(uint64_t key) { return score_at<float>(key >> 32); }
GNAS_INLINE double score_of(unsigned __int128 key) { return score_at<double>(static_cast<uint64_t>(key >> 64)); }

// Puts a key where it belongs among `keep` that descend; the last one drops out. Before the first there must be a key
// that is above all, and what is not there yet is 0: room up to a multiple of 8. Without a branch: which place it gets
// cannot be foretold.
GNAS_INLINE void insert(uint64_t* keys, int64_t keep, uint64_t key) {
  typedef uint64_t Eight __attribute__((vector_size(64)));
  const Eight wanted = Eight{} + key;
  for (int64_t at = (keep - 1) / 8 * 8; at >= 0; at -= 8) {
    Eight here;
    Eight before;
    __builtin_memcpy(&here, keys + at, sizeof here);
    __builtin_memcpy(&before, keys + at - 1, sizeof before);
    const Eight moved = before < wanted ? before : wanted;
    const Eight after = here > moved ? here : moved;
    __builtin_memcpy(keys + at, &after, sizeof after);
  }
}
GNAS_INLINE void insert(unsigned __int128* keys, int64_t keep, unsigned __int128 key) {
  int64_t at = keep - 1;
  for (; keys[at - 1] < key; --at) keys[at] = keys[at - 1];
  if (keys[at] < key) keys[at] = key;
}

// Moves the `keep` largest of `count` keys to the front, in no order (quickselect; Hoare, 1961). No two are equal.
template <class K>
void select_largest(K* keys, int64_t count, int64_t keep) {
  int64_t low = 0;
  int64_t high = count - 1;
  while (low < high) {
    const K pivot = keys[low + (high - low) / 2];
    int64_t i = low;
    int64_t j = high;
    while (i <= j) {
      while (keys[i] > pivot) ++i;
      while (pivot > keys[j]) --j;
      if (i > j) break;
      const K other = keys[i];
      keys[i++] = keys[j];
      keys[j--] = other;
    }
    if (keep <= j + 1)
      high = j;
    else if (keep > i)
      low = i;
    else
      return;
  }
}

// The largest first. Heap sort, and insertions where there are few.
template <class K>
void sort_descending(K* keys, int64_t count) {
  if (count <= 64) {
    for (int64_t i = 1; i < count; ++i) {
      const K moved = keys[i];
      int64_t at = i;
      for (; at > 0 && keys[at - 1] < moved; --at) keys[at] = keys[at - 1];
      keys[at] = moved;
    }
    return;
  }
  const auto sink = [&](int64_t at, int64_t end) {
    const K moved = keys[at];
    for (int64_t child = 2 * at + 1; child < end; child = 2 * at + 1) {
      if (child + 1 < end && keys[child] > keys[child + 1]) ++child;
      if (!(moved > keys[child])) break;
      keys[at] = keys[child];
      at = child;
    }
    keys[at] = moved;
  };
  for (int64_t at = count / 2 - 1; at >= 0; --at) sink(at, count);
  for (int64_t end = count - 1; end > 0; --end) {
    const K last = keys[end];
    keys[end] = keys[0];
    keys[0] = last;
    sink(0, end);
  }
}

}  // namespace
}  // namespace gnas::GNAS_ISA
