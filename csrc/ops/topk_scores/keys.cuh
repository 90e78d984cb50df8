// A score and its item as one whole number, as on the CPU, and what is done with such keys on CUDA: sorting, and
// finding out which items a user does not get.
#pragma once

#include "core/device.cuh"
#include "ops/topk_scores/topk_scores.h"

namespace gnas {
namespace {

template <class S>
using Key = std::conditional_t<sizeof(S) == 8, unsigned __int128, unsigned long long>;
template <class S>
using Order = std::conditional_t<sizeof(S) == 8, unsigned long long, unsigned>;

template <class S>
constexpr S kNever = -static_cast<S>(INFINITY);

// Whole numbers in the order of the scores. Both zeros are one.
__device__ inline unsigned order_of(float score) {
  const unsigned bits = __float_as_uint(score + 0.0f);
  return bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
}
__device__ inline unsigned long long order_of(double score) {
  const auto bits = static_cast<unsigned long long>(__double_as_longlong(score + 0.0));
  return bits >> 63 != 0 ? ~bits : bits | 1ull << 63;
}
__device__ inline float score_at(unsigned order) {
  return __uint_as_float(order >> 31 != 0 ? order ^ 0x80000000u : ~order);
}
__device__ inline double score_at(unsigned long long order) {
  return __longlong_as_double(static_cast<long long>(order >> 63 != 0 ? order ^ 1ull << 63 : ~order));
}

// The largest score that is less than the one of an order. Minus zero, next to zero, is not.
template <class O>
__device__ auto score_below(O order) {
  const auto next = score_at(order - 1);
  return next < score_at(order) ? next : score_at(order - 2);
}

// The larger score first, of equal ones the smaller item. 0 is no key: -inf has a larger one.
template <class S>
__device__ Key<S> key_of(S score, int64_t item) {
  return static_cast<Key<S>>(order_of(score)) << (8 * sizeof(S)) | static_cast<unsigned>(~item);
}
template <class K>
__device__ int64_t item_of(K key) {
  return static_cast<int64_t>(static_cast<unsigned>(~key));
}
__device__ inline float score_of(unsigned long long key) { return score_at(static_cast<unsigned>(key >> 32)); }
__device__ inline double score_of(unsigned __int128 key) {
  return score_at(static_cast<unsigned long long>(key >> 64));
}

// Where a user's excluded items stand.
struct Range {
  int64_t begin;
  int64_t end;
};
__device__ inline Range excluded_range(const TopkScoresArgs& a, int64_t user) {
  if (a.exclude_indptr == nullptr) return {0, 0};
  const auto at = [&](int64_t row) {
    return a.wide_index ? static_cast<const int64_t*>(a.exclude_indptr)[row]
                        : static_cast<int64_t>(static_cast<const int32_t*>(a.exclude_indptr)[row]);
  };
  const Range range{at(user), at(user + 1)};
  cuda::require(range.begin >= 0 && range.begin <= range.end && range.end <= a.exclude_nnz);
  return range;
}

// Rows that do not ascend are searched as well: few keys get here, and the threads that ask go through the same row.
template <class I>
__device__ bool names(const void* indices, Range range, int64_t item) {
  bool found = false;
#pragma unroll 4
  for (int64_t e = range.begin; e < range.end; ++e)
    found |= static_cast<int64_t>(static_cast<const I*>(indices)[e]) == item;
  return found;
}
__device__ inline bool excluded(const TopkScoresArgs& a, Range range, int64_t item) {
  return a.wide_index ? names<int64_t>(a.exclude_indices, range, item) : names<int32_t>(a.exclude_indices, range, item);
}

// Descending, by a bitonic network (Batcher, 1968) whose comparisons all point the same way: so what is beyond `count`
// need not be there. For threads `first`, `first` + 1 ... of `threads`, which wait for each other by `wait`.
template <class K, class Wait>
__device__ void sort_descending(K* keys, int count, int first, int threads, Wait wait) {
  for (int apart = 1; apart < count; apart *= 2) {  // runs of `apart` are sorted; two become one
    for (int step = apart; step > 0; step /= 2) {
      for (int pair = first;; pair += threads) {
        const int offset = pair & (step - 1);
        const int low = 2 * (pair - offset) + offset;
        if (low >= count) break;
        const int high = step == apart ? low + 2 * (step - offset) - 1 : low + step;
        if (high >= count) continue;
        const K one = keys[low];
        const K other = keys[high];
        if (one < other) {
          keys[low] = other;
          keys[high] = one;
        }
      }
      wait();
    }
  }
}

}  // namespace
}  // namespace gnas
