// What the filters of a round are, from a sample's scores, and the best of all splits.
#pragma once

#include "ops/topk_scores/bounds.cuh"
#include "ops/topk_scores/lists.cuh"

namespace gnas {
namespace {

constexpr int kMostMaxima = 4096;
constexpr int kMergeBytes = 32 << 10;
constexpr int kFewKeys = 512;  // that are put in order by counting, for each, how many are larger

// A user's filter is just below a score that so many groups of the sample reach that, whatever is excluded, `keep`
// items do. To the last bit is not worth the time.
template <class S>
__global__ void __launch_bounds__(kMostThreads) filters_kernel(TopkScoresArgs a, Round r) {
  __shared__ Order<S> orders[kMostMaxima];
  __shared__ Parts<Order<S>> parts;
  for (int u = static_cast<int>(blockIdx.x); u < r.users; u += static_cast<int>(gridDim.x)) {
    __syncthreads();  // the last user is done
    for (int i = threadIdx.x; i < r.maxima_count; i += blockDim.x)
      orders[i] = order_of(static_cast<const S*>(r.maxima)[int64_t{u} * r.maxima_count + i]);
    const Range seen = excluded_range(a, r.first_user + u);
    const int64_t wanted = a.keep + seen.end - seen.begin;
    Order<S> found = 0;
    if (wanted <= r.maxima_count) {
      const int enough = static_cast<int>(wanted + wanted / 8 + 1);
      found =
          bound_of(parts, r.maxima_count, static_cast<int>(wanted), enough, [&](int i) { return orders[i]; }).number;
    }
    if (threadIdx.x == 0) static_cast<S*>(r.filters)[u] = found > order_of(kNever<S>) ? score_below(found) : kNever<S>;
  }
}

// Writes those of `count` keys that are among the `keep` largest where they belong: each behind all that are larger.
// For all threads of a block; a few of them a key.
template <class K, class Write>
__device__ void write_ranked(const K* keys, int count, int keep, Write write) {
  const int thread = static_cast<int>(threadIdx.x);
  const int threads = static_cast<int>(blockDim.x);
  int together = 1;
  while (together < cuda::kWarp && 2 * together * count <= threads) together *= 2;
  const int own = thread % together;
  for (int first = 0; first < count; first += threads / together) {
    const int i = first + thread / together;
    const K key = keys[i < count ? i : count - 1];
    int rank = 0;
#pragma unroll 4
    for (int j = own; j < count; j += together) rank += keys[j] > key ? 1 : 0;
    for (int apart = 1; apart < together; apart *= 2) rank += __shfl_xor_sync(cuda::kAllLanes, rank, apart);
    if (own == 0 && i < count && rank < keep) write(rank, key);
  }
}

// A block has a user: keys of as many lists as there is room for at a time.
template <class S>
__global__ void __launch_bounds__(kMostThreads) merge_kernel(TopkScoresArgs a, Round r) {
  struct Keys {
    alignas(16) Key<S> at[kMergeBytes / sizeof(Key<S>)];
    Key<S> few[kFewKeys];
  };
  __shared__ Keys shared;
  __shared__ int count;
  __shared__ int total;
  __shared__ int has_nan;
  __shared__ int chosen;
  __shared__ Parts<Order<S>> parts;
  constexpr int kAtOnce = 4;  // keys of a list that one thread reads: few lists have more
  constexpr int kLanes = 8;   // of a list that has more, or some times as many where lists are few
  const int thread = static_cast<int>(threadIdx.x);
  const int threads = static_cast<int>(blockDim.x);
  Key<S>* const keys =
      r.merged == nullptr ? shared.at : static_cast<Key<S>*>(r.merged) + int64_t{blockIdx.x} * r.merge_capacity;
  const int keep = static_cast<int>(a.keep);
  // The largest of `many` keys, `keep` or more but not more than `enough`, in shared.few: how many they are, and an
  // order that they have or exceed. None if too many scores are equal.
  struct Some {
    int count;
    Order<S> least;
  };
  const auto choose = [&](int many, int enough) {
    if (keep > kFewKeys) return Some{0, 0};
    if (thread == 0) chosen = 0;
    const auto at = [&](int i) { return static_cast<Order<S>>(keys[i] >> (8 * sizeof(S))); };
    const auto bound = bound_of(parts, many, keep, enough, at);
    if (bound.reaching > enough) return Some{0, 0};
    for (int i = thread; i < many; i += threads)
      if (at(i) >= bound.number) shared.few[atomicAdd(&chosen, 1)] = keys[i];
    __syncthreads();
    return Some{bound.reaching, bound.number};
  };
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
        if (known > keep) {
          const Some best = choose(known, keep);
          if (best.count > 0) {
            for (int i = thread; i < keep; i += threads) keys[i] = shared.few[i];
            bar = static_cast<Key<S>>(best.least) << (8 * sizeof(S));
          } else {
            sort_descending(keys, known, thread, threads, [] { __syncthreads(); });
            bar = keys[keep - 1];
          }
          if (thread == 0) count = keep;
        } else {
          together = (lists_now + 1) / 2;
        }
        continue;
      }
      const auto add = [&](Key<S> key) {
        if (key > bar && !excluded(a, seen, item_of(key))) keys[atomicAdd(&count, 1)] = key;
      };
      for (int s = thread; s < lists_now; s += threads) {
        const int more = counts[split + s];
        const Key<S>* const list = lists + int64_t{split + s} * r.capacity;
        Key<S> first[kAtOnce];
#pragma unroll
        for (int i = 0; i < kAtOnce; ++i) first[i] = i < more ? list[i] : Key<S>{0};
#pragma unroll
        for (int i = 0; i < kAtOnce; ++i) add(first[i]);
      }
      int lanes = kLanes;
      while (2 * lanes * lists_now <= threads) lanes *= 2;
      for (int s = thread / lanes; s < lists_now; s += threads / lanes) {
        const int more = counts[split + s];
        const Key<S>* const list = lists + int64_t{split + s} * r.capacity;
        for (int i = kAtOnce + thread % lanes; i < more; i += lanes) add(list[i]);
      }
      __syncthreads();
      split += lists_now;
    }
    __syncthreads();
    const int all = has_nan != 0 ? 0 : count;
    const int found = all < keep ? all : keep;
    const int64_t place = (r.first_user + u) * a.k;
    const auto write = [&](int64_t c, Key<S> key) {
      static_cast<S*>(a.values)[place + c] = score_of(key);
      a.columns[place + c] = item_of(key);
    };
    const int spare = keep + keep / 4 + cuda::kWarp;
    const int enough = spare < kFewKeys ? spare : kFewKeys;
    const Some best = all > enough ? choose(all, enough) : Some{0, 0};
    if (best.count > 0) {
      write_ranked(shared.few, best.count, found, write);
    } else if (all <= kFewKeys) {
      write_ranked(keys, all, found, write);
    } else {
      sort_descending(keys, all, thread, threads, [] { __syncthreads(); });
      for (int c = thread; c < found; c += threads) write(c, keys[c]);
    }
    const S padding = has_nan != 0 ? static_cast<S>(NAN) : kNever<S>;
    for (int64_t c = found + thread; c < a.k; c += threads) {
      static_cast<S*>(a.values)[place + c] = padding;
      a.columns[place + c] = -1;
    }
  }
}

}  // namespace
}  // namespace gnas
