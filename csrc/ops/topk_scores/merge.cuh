// What the filters of a round are, from a sample's scores, and the best of all splits.
#pragma once

#include "ops/topk_scores/lists.cuh"

namespace gnas {
namespace {

constexpr int kMostThreads = 1024;
constexpr int kMostMaxima = 4096;
constexpr int kMergeBytes = 32 << 10;

// A user's filter is just below a score that so many groups of the sample reach that, whatever is excluded, `keep`
// items do. Found by its leading bits: what the rest would add is not worth the time.
template <class S>
__global__ void __launch_bounds__(kMostThreads) filters_kernel(TopkScoresArgs a, Round r) {
  constexpr int kBits = sizeof(S) == 8 ? 24 : 20;
  __shared__ Order<S> orders[kMostMaxima];
  __shared__ int reached[kBits];
  for (int u = static_cast<int>(blockIdx.x); u < r.users; u += static_cast<int>(gridDim.x)) {
    __syncthreads();  // the last user is done
    for (int i = threadIdx.x; i < r.maxima_count; i += blockDim.x)
      orders[i] = order_of(static_cast<const S*>(r.maxima)[int64_t{u} * r.maxima_count + i]);
    if (threadIdx.x < kBits) reached[threadIdx.x] = 0;
    const Range seen = excluded_range(a, r.first_user + u);
    const int64_t wanted = a.keep + seen.end - seen.begin;
    __syncthreads();
    Order<S> found = 0;
    for (int bit = 0; bit < kBits && wanted <= r.maxima_count; ++bit) {
      const Order<S> next = found | Order<S>{1} << (8 * sizeof(S) - 1 - bit);
      int count = 0;
      for (int i = threadIdx.x; i < r.maxima_count; i += blockDim.x) count += orders[i] >= next ? 1 : 0;
      for (int apart = 1; apart < cuda::kWarp; apart *= 2) count += __shfl_xor_sync(kAllLanes, count, apart);
      if (cuda::lane() == 0) atomicAdd(&reached[bit], count);
      __syncthreads();
      if (reached[bit] >= wanted) found = next;
    }
    if (threadIdx.x == 0) static_cast<S*>(r.filters)[u] = found > order_of(kNever<S>) ? score_below(found) : kNever<S>;
  }
}

// A block has a user: keys of as many lists as there is room for at a time.
template <class S>
__global__ void __launch_bounds__(kMostThreads) merge_kernel(TopkScoresArgs a, Round r) {
  struct Keys {
    alignas(16) Key<S> at[kMergeBytes / sizeof(Key<S>)];
  };
  __shared__ Keys shared;
  __shared__ int count;
  __shared__ int total;
  __shared__ int has_nan;
  constexpr int kLanes = 8;  // a list
  const int thread = static_cast<int>(threadIdx.x);
  const int threads = static_cast<int>(blockDim.x);
  Key<S>* const keys =
      r.merged == nullptr ? shared.at : static_cast<Key<S>*>(r.merged) + int64_t{blockIdx.x} * r.merge_capacity;
  for (int u = static_cast<int>(blockIdx.x); u < r.users; u += static_cast<int>(gridDim.x)) {
    const int* const counts = r.counts + int64_t{u} * r.splits;
    const Key<S>* const lists = static_cast<const Key<S>*>(r.lists) + int64_t{u} * r.splits * r.capacity;
    const Range seen = excluded_range(a, r.first_user + u);
    Key<S> bar = 0;
    int split = 0;
    int together = r.splits;
    __syncthreads();  // the last user is written
    if (thread == 0) count = has_nan = 0;
    while (split < r.splits) {
      const int lists_now = together < r.splits - split ? together : r.splits - split;
      if (thread == 0) total = 0;
      __syncthreads();
      int own = 0;
      for (int s = thread; s < lists_now; s += threads) {
        const int more = counts[split + s];
        if (more < 0) has_nan = 1;
        own += more;
      }
      if (own != 0) atomicAdd(&total, own);
      __syncthreads();
      if (has_nan != 0) break;
      const int known = count;
      const int wanted = known + total;
      __syncthreads();  // all have looked
      if (wanted > r.merge_capacity) {
        if (known > a.keep) {
          sort_descending(keys, known, thread, threads, [] { __syncthreads(); });
          bar = keys[a.keep - 1];
          if (thread == 0) count = static_cast<int>(a.keep);
        } else {
          together = (lists_now + 1) / 2;
        }
        continue;
      }
      for (int s = thread / kLanes; s < lists_now; s += threads / kLanes) {
        const int more = counts[split + s];
        for (int i = thread % kLanes; i < more; i += kLanes) {
          const Key<S> key = lists[int64_t{split + s} * r.capacity + i];
          if (key > bar && !excluded(a, seen, item_of(key))) keys[atomicAdd(&count, 1)] = key;
        }
      }
      __syncthreads();
      split += lists_now;
    }
    __syncthreads();
    const int all = has_nan != 0 ? 0 : count;
    sort_descending(keys, all, thread, threads, [] { __syncthreads(); });
    const int64_t found = all < a.keep ? all : a.keep;
    const S padding = has_nan != 0 ? static_cast<S>(NAN) : kNever<S>;
    const int64_t place = (r.first_user + u) * a.k;
    for (int64_t c = thread; c < a.k; c += threads) {
      static_cast<S*>(a.values)[place + c] = c < found ? score_of(keys[c]) : padding;
      a.columns[place + c] = c < found ? item_of(keys[c]) : -1;
    }
  }
}

}  // namespace
}  // namespace gnas
