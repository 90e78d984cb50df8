// What a block notes of its users: the keys of all scores that may be among the best, in a list for each user. A score
// must be above the user's filter; when a list may have no room for another tile of items, its best stay, and the worst
// of those is the filter from then on.
#pragma once

#include "ops/topk_scores/keys.cuh"

namespace gnas {
namespace {

// Some users, whose scores are worked on in one launch of each kernel. A block has a tile of users and a split of the
// catalogue.
struct Round {
  int64_t first_user;
  int users;
  int splits;
  int item_tiles;
  int sample_tiles;  // those that filters begin with; 0: none
  int sample_splits;
  int maxima_count;    // of a user
  int capacity;        // of a list
  int merge_capacity;  // of the keys that the merge has at a time
  void* lists;         // [users, splits, capacity] keys
  int* counts;         // [users, splits]: how many of them there are; -1: a score was NaN
  void* filters;       // [users] scores
  void* maxima;        // [users, maxima_count] scores: the largest of some items each
  void* merged;        // [blocks of the merge, merge_capacity] keys, or null: they fit in shared memory
};

// The same number, of which the compiler knows nothing: what follows from it is not computed ahead of a loop, to stand
// in registers that the loop needs.
__device__ inline int hidden(int number) {
#ifdef __CUDACC__
  asm volatile("" : "+r"(number));
#endif
  return number;
}

template <class S, int kUsers>
struct Own {
  S filter[kUsers];
  int count[kUsers];
  int has_nan[kUsers];
  int full[2];  // may a list have no room for the next tile? Of even and of odd tiles: the next one's notes may begin

  __device__ void begin(const TopkScoresArgs& a, const Round& r, int first) {
    for (int u = threadIdx.x; u < kUsers; u += blockDim.x) {
      count[u] = has_nan[u] = 0;
      filter[u] = r.sample_tiles > 0 && first + u < r.users ? static_cast<const S*>(r.filters)[first + u] : kNever<S>;
    }
    if (threadIdx.x < 2) full[threadIdx.x] = 0;
    __syncthreads();
  }

  // Room for `more` keys of a user. Each tile has at most kItems of them.
  template <int kItems>
  __device__ int reserve(const Round& r, int u, int more, int tile) {
    const int slot = atomicAdd(&count[u], more);
    if (slot + more > r.capacity - kItems) full[tile & 1] = 1;
    return slot;
  }

  // All threads, after a tile whose notes filled a list. A warp a user, in memory `spare` that is shared by the block.
  template <int kItems, int kSpareBytes>
  __device__ void keep_best(const TopkScoresArgs& a, const Round& r, int first, int split, int tile, void* spare) {
    __syncthreads();  // all have looked at `full`
    constexpr int kSpare = kSpareBytes / static_cast<int>(sizeof(Key<S>));
    const int warps = static_cast<int>(blockDim.x) / cuda::kWarp;
    const int thread = hidden(threadIdx.x);
    const int warp = thread / cuda::kWarp;
    const int lane = thread % cuda::kWarp;
    first = hidden(first);
    for (int u = warp; u < kUsers; u += warps) {
      const int noted = count[u];
      if (noted <= r.capacity - kItems) continue;
      Key<S>* const list = static_cast<Key<S>*>(r.lists) + (int64_t{first + u} * r.splits + split) * r.capacity;
      Key<S>* const keys = noted <= kSpare / warps ? static_cast<Key<S>*>(spare) + kSpare / warps * warp : list;
      const Range seen = excluded_range(a, r.first_user + first + u);
      __syncwarp();  // all lanes have the count
      for (int i = lane; i < noted; i += cuda::kWarp) {
        const Key<S> key = list[i];
        keys[i] = excluded(a, seen, item_of(key)) ? Key<S>{0} : key;
      }
      __syncwarp();
      sort_descending(keys, noted, lane, cuda::kWarp, [] { __syncwarp(); });
      // What is excluded is last.
      int kept = 0;
      for (int more = noted < a.keep ? noted : static_cast<int>(a.keep); more > 0;) {
        const int half = more / 2;
        const bool is_key = keys[kept + half] != 0;
        kept += is_key ? half + 1 : 0;
        more = is_key ? more - half - 1 : half;
      }
      if (keys != list)
        for (int i = lane; i < kept; i += cuda::kWarp) list[i] = keys[i];
      if (lane == 0) {
        count[u] = kept;
        // Items ascend: of equal scores, those to come are behind.
        if (kept == a.keep) {
          const S bar = score_of(keys[kept - 1]);
          if (bar > filter[u]) filter[u] = bar;
        }
        if (has_nan[u] != 0) {
          count[u] = 0;
          filter[u] = -kNever<S>;
        }
      }
    }
    if (threadIdx.x == 0) full[tile & 1] = 0;
    __syncthreads();
  }

  __device__ void end(const Round& r, int first, int split) {
    __syncthreads();
    for (int u = threadIdx.x; u < kUsers && first + u < r.users; u += blockDim.x)
      r.counts[int64_t{first + u} * r.splits + split] = has_nan[u] != 0 ? -1 : count[u];
  }
};

// The tiles of a split. A sample's tiles are spread over the catalogue.
struct Tiles {
  int begin;
  int end;
};
__device__ inline Tiles tiles_of(const Round& r, bool sample, int split) {
  const int64_t tiles = sample ? r.sample_tiles : r.item_tiles;
  const int64_t splits = sample ? r.sample_splits : r.splits;
  return {static_cast<int>(tiles * split / splits), static_cast<int>(tiles * (split + 1) / splits)};
}
__device__ inline int64_t place_of(const Round& r, bool sample, int tile) {
  return sample ? int64_t{tile} * r.item_tiles / r.sample_tiles : tile;
}

// The item at a place of the catalogue; places beyond it have the last one's.
__device__ inline int64_t item_at(const TopkScoresArgs& a, int64_t at) {
  const int64_t inside = at < a.catalogue ? at : a.catalogue - 1;
  if (a.allow == nullptr) return inside;
  const int64_t item = a.allow[inside];
  cuda::require(item >= 0 && item < a.items_count);
  return item;
}

}  // namespace
}  // namespace gnas
