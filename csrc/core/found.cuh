// What the lanes of some columns have found in the rows that they saw: their sum, or the largest or smallest number and
// where it stood. Of those a NaN wins over all, and of equal ones the first.
#pragma once

#include <limits>

#include "core/hub_sums.cuh"
#include "core/pack.cuh"

namespace gnas::cuda {

enum class Fold { sum, max, min };

// Behind every place: where nothing was seen.
template <class I>
constexpr I kNowhere = std::numeric_limits<I>::max();

template <class A, class I, Fold fold, int kPack>
struct Found {
  static constexpr bool kExtreme = fold != Fold::sum;
  static constexpr int kWinners = kExtreme ? kPack : 1;

  Found() = default;
  // `first` is the first place that the lane will see: where none is better than what is there at first, it has won.
  __device__ explicit Found(I first) {
#pragma unroll
    for (int c = 0; c < kPack; ++c) {
      value.at[c] = !kExtreme ? A{0} : static_cast<A>(fold == Fold::min ? INFINITY : -INFINITY);
      winner.at[c % kWinners] = first;
    }
  }

  __device__ static bool better(A one, A other) { return fold == Fold::min ? one < other : one > other; }

  // The next one of column c; places come in their order.
  __device__ void add(int c, A number, I place) {
    if constexpr (!kExtreme) {
      value.at[c] += number;
    } else if (value.at[c] == value.at[c] && (better(number, value.at[c]) || number != number)) {
      value.at[c] = number;
      winner.at[c] = place;
    }
  }

  // What others found, before these or after.
  __device__ void merge(int c, A number, I place) {
    if constexpr (!kExtreme) {
      value.at[c] += number;
    } else {
      const bool nan = number != number;
      const bool leads = nan != (value.at[c] != value.at[c]) ? nan
                         : !nan && number != value.at[c]     ? better(number, value.at[c])
                                                             : place < winner.at[c];
      if (!leads) return;
      value.at[c] = number;
      winner.at[c] = place;
    }
  }
  __device__ void merge(const Found& other) {
#pragma unroll
    for (int c = 0; c < kPack; ++c) merge(c, other.value.at[c], other.winner.at[c % kWinners]);
  }

  // Over lanes that are so far apart, twice as far, and so on, up to `until`: each has then what all of them found.
  __device__ void fold_lanes(int apart, int until) {
    for (; apart < until; apart *= 2) {
#pragma unroll
      for (int c = 0; c < kPack; ++c) {
        const A other = __shfl_xor_sync(kAllLanes, value.at[c], apart);
        merge(c, other, kExtreme ? __shfl_xor_sync(kAllLanes, winner.at[c % kWinners], apart) : I{0});
      }
    }
  }

  // Of a row without entries.
  __device__ void none() {
#pragma unroll
    for (int c = 0; c < kPack; ++c) {
      value.at[c] = 0;
      winner.at[c % kWinners] = -1;
    }
  }

  // As partial results, number `at` and those beside it.
  __device__ void put(void* values, void* winners, int64_t at) const {
    store(value, static_cast<A*>(values) + at);
    if constexpr (kExtreme) store(winner, static_cast<I*>(winners) + at);
  }
  __device__ static Found of(const void* values, const void* winners, int64_t at) {
    Found found;
    found.value = load<kPack>(static_cast<const A*>(values) + at);
    if constexpr (kExtreme) found.winner = load<kPack>(static_cast<const I*>(winners) + at);
    return found;
  }

  Pack<A, kPack> value;
  Pack<I, kWinners> winner;
};

// By a kernel that launch_hubs() starts: what the pieces of each hub found, of `put`, is put together, and by the first
// warp handed to put(found, row, column, entries).
template <class F, class I, class Put>
__device__ inline void for_found_hubs(const Hubs& hubs, const I* indptr, const void* values, const void* winners,
                                      int64_t width, const Put& put) {
  const int64_t column = column_of_lane();
  const bool inside = column < width;
  for (int64_t number = blockIdx.x; number < hubs.hubs(); number += gridDim.x) {
    const Hub hub = hubs.hub[number];
    F found = fold_pieces(
        hub, inside, F(kNowhere<I>), [&](int64_t piece) { return F::of(values, winners, piece * width + column); },
        [](F& all, const F& other) { all.merge(other); });
    if (!first_warp() || !inside) continue;
    const int64_t entries = static_cast<int64_t>(indptr[hub.row + 1]) - static_cast<int64_t>(indptr[hub.row]);
    put(found, hub.row, column, entries);
  }
}

}  // namespace gnas::cuda
