// Scores of a tile of users by the tiles of a split, and what of them is noted: the keys of those above the filters, or
// in the sample that the filters come from, the largest of each group.
#pragma once

#include "ops/topk_scores/lists.cuh"
#include "ops/topk_scores/units.cuh"

namespace gnas {
namespace {

constexpr int kTileThreads = 256;
constexpr int kTileGroup = 4;  // items of which the sample keeps the largest score
constexpr int kStep = 16;      // units of each row that are in shared memory at a time

// Many users. A thread has 4 · kUserQuads users by 4 · kItemQuads items in registers; a warp 4 × 8 threads; a block
// kUserWarps by as many warps as are left.
template <class T, int kUserQuads, int kItemQuads, int kUserWarps>
struct Tile {
  using U = Units<T>;
  using Unit = typename U::Unit;
  using S = typename U::Score;
  static constexpr int kItemWarps = kTileThreads / cuda::kWarp / kUserWarps;
  static constexpr int kUsers = 16 * kUserQuads * kUserWarps;
  static constexpr int kItems = 32 * kItemQuads * kItemWarps;
  static constexpr int kOwnUsers = 4 * kUserQuads;
  static constexpr int kOwnItems = 4 * kItemQuads;

  // A unit's users, then its items; rows of units are 4 banks apart.
  struct Stage {
    alignas(16) Unit at[2][kStep][kUsers + kItems + 4];
  };

  // Of int8 rows: what their sums are multiplied by. The items' are those of even and of odd tiles.
  struct Scales {
    float user[U::kScaled ? kUsers : 1];
    float item[2][U::kScaled ? kItems : 1];
  };

  // Which users and items of the tile this thread has: four side by side, and as many 16 users or 32 items on.
  static __device__ int first_user(int thread) {
    return thread / cuda::kWarp % kUserWarps * 16 * kUserQuads + thread % cuda::kWarp / 8 * 4;
  }
  static __device__ int first_item(int thread) {
    return thread / cuda::kWarp / kUserWarps * 32 * kItemQuads + thread % 8 * 4;
  }
  static __device__ constexpr int user(int i) { return i / 4 * 16 + i % 4; }
  static __device__ constexpr int item(int j) { return j / 4 * 32 + j % 4; }

  // Rows stand one beside the other: four threads read a row's kStep units, and each transposes its own four. Rows of
  // the later units are eight places off, so that those four meet different banks.
  template <int kRows>
  struct Reader {
    static constexpr int kQuads = (kRows * 4 + kTileThreads - 1) / kTileThreads;
    const T* row[kQuads];
    typename U::Raw raw[kQuads];

    static __device__ int row_at(int n) { return static_cast<int>(threadIdx.x) / 4 + n * (kTileThreads / 4); }
    __device__ void read(int unit, int width, bool whole) {
      const int first = (unit + static_cast<int>(threadIdx.x) % 4 * 4) * (U::kElements / 4);
      load_raw<T>([&](int n) { return row[n]; }, first, width, whole, raw);
    }
    __device__ void stage(Unit (*to)[kUsers + kItems + 4], int offset) const {
      const int part = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
      for (int n = 0; n < kQuads; ++n) {
        if (row_at(n) >= kRows) continue;
        const Quad<Unit> quad = U::widen(raw[n]);
#pragma unroll
        for (int e = 0; e < 4; ++e) to[4 * part + e][offset + (row_at(n) ^ (part / 2 * 8))] = quad.x[e];
      }
    }
  };

  static __device__ void multiply(const Unit (*from)[kUsers + kItems + 4], Unit (&sums)[kOwnUsers][kOwnItems]) {
#pragma unroll
    for (int k = 0; k < kStep; ++k) {
      Quad<Unit> users[kUserQuads];
      Quad<Unit> items[kItemQuads];
      const int off = k / 8 * 8;
#pragma unroll
      for (int q = 0; q < kUserQuads; ++q)
        users[q] = *reinterpret_cast<const Quad<Unit>*>(&from[k][(first_user(threadIdx.x) ^ off) + 16 * q]);
#pragma unroll
      for (int q = 0; q < kItemQuads; ++q)
        items[q] = *reinterpret_cast<const Quad<Unit>*>(&from[k][kUsers + (first_item(threadIdx.x) ^ off) + 32 * q]);
#pragma unroll
      for (int i = 0; i < kOwnUsers; ++i)
#pragma unroll
        for (int j = 0; j < kOwnItems; ++j)
          sums[i][j] = add_product(users[i / 4].x[i % 4], items[j / 4].x[j % 4], sums[i][j]);
    }
  }
};

template <class S>
__device__ S larger(S a, S b) {
  return b > a ? b : a;  // a where b is NaN
}

// What is added to the score of a user of the round and of the item at a place; beyond the last of either, theirs.
template <class S>
__device__ S bias_at(const TopkScoresArgs& a, const Round& r, int user, int64_t at) {
  const int64_t row = r.first_user + (user < r.users ? user : r.users - 1);
  return static_cast<const S*>(a.bias)[row * a.bias_row + item_at(a, at) * a.bias_item];
}

// kBias: with a bias. Kernels of their own, for its addresses would push what the others need out of the registers.
template <class T, int kUserQuads, int kItemQuads, int kUserWarps, bool kBias>
__global__ void __launch_bounds__(kTileThreads, 2) tiles_kernel(TopkScoresArgs a, Round r, bool sample) {
  using Of = Tile<T, kUserQuads, kItemQuads, kUserWarps>;
  using U = Units<T>;
  using Unit = typename U::Unit;
  using S = typename U::Score;
  __shared__ typename Of::Stage stage;
  __shared__ typename Of::Scales scales;
  __shared__ Own<S, Of::kUsers> own;
  const int splits = sample ? r.sample_splits : r.splits;
  const int split = static_cast<int>(blockIdx.x) % splits;
  const int first = static_cast<int>(blockIdx.x) / splits * Of::kUsers;  // user of the round
  own.begin(a, r, first);
  const auto tiles = tiles_of(r, sample, split);
  const int width = static_cast<int>(a.width);
  const int units = (width + U::kElements / 4 - 1) / (U::kElements / 4);
  const int steps = units > kStep ? (units + kStep - 1) / kStep : 1;
  const bool whole = whole_quads<T>(a.users, width) && whole_quads<T>(a.items, width);

  // What is read next.
  typename Of::template Reader<Of::kUsers> users;
  typename Of::template Reader<Of::kItems> items;
  int next_tile = tiles.begin;
  int next_step = 0;
  float next_scale = 0;
  if constexpr (U::kScaled) {
    static_assert(Of::kUsers <= kTileThreads && Of::kItems <= kTileThreads, "a thread has one of each");
    const int user = first + static_cast<int>(threadIdx.x);
    if (threadIdx.x < Of::kUsers) scales.user[threadIdx.x] = user < r.users ? a.user_scale[r.first_user + user] : 0.0f;
  }
#pragma unroll
  for (int n = 0; n < users.kQuads; ++n) {
    const int user = first + users.row_at(n);
    users.row[n] = static_cast<const T*>(a.users) + (r.first_user + (user < r.users ? user : r.users - 1)) * a.width;
  }
  const auto read = [&] {
    if (next_step == 0) {
      const int64_t begin = place_of(r, sample, next_tile) * Of::kItems;
#pragma unroll
      for (int n = 0; n < items.kQuads; ++n)
        items.row[n] = static_cast<const T*>(a.items) + item_at(a, begin + items.row_at(n)) * a.width;
      if constexpr (U::kScaled)
        if (threadIdx.x < Of::kItems) next_scale = a.item_scale[item_at(a, begin + threadIdx.x)];
    }
    users.read(next_step * kStep, width, whole);
    items.read(next_step * kStep, width, whole);
    if (++next_step == steps) {
      next_step = 0;
      ++next_tile;
    }
  };

  Unit sums[Of::kOwnUsers][Of::kOwnItems]{};
  int buffer = 0;
  if (tiles.begin < tiles.end) read();
  for (int tile = tiles.begin; tile < tiles.end; ++tile) {
    for (int step = 0; step < steps; ++step, buffer ^= 1) {
      // Who writes here has passed the barrier that all came to with their products of this buffer behind them.
      users.stage(stage.at[buffer], 0);
      items.stage(stage.at[buffer], Of::kUsers);
      if constexpr (U::kScaled)
        if (step == 0 && threadIdx.x < Of::kItems) scales.item[tile & 1][threadIdx.x] = next_scale;
      __syncthreads();
      if (step == 0) {
        if (tile > tiles.begin && own.full[(tile - 1) & 1] != 0)
          own.template keep_best<Of::kItems, sizeof(stage.at) / 2>(a, r, first, split, tile - 1, stage.at[buffer ^ 1]);
#pragma unroll
        for (int i = 0; i < Of::kOwnUsers; ++i)
#pragma unroll
          for (int j = 0; j < Of::kOwnItems; ++j) sums[i][j] = 0;
      }
      if (next_tile < tiles.end) read();
      Of::multiply(stage.at[buffer], sums);
    }

    const int thread = hidden(threadIdx.x);
    const int tile_user = hidden(first);
    const int own_user = Of::first_user(thread);
    const int own_item = Of::first_item(thread);
    const int64_t begin = place_of(r, sample, tile) * Of::kItems + own_item;
    S scores[Of::kOwnUsers][Of::kOwnItems];
    float item_scale[Of::kOwnItems]{};
    unsigned inside = 0;
#pragma unroll
    for (int j = 0; j < Of::kOwnItems; ++j) {
      inside |= static_cast<unsigned>(begin + Of::item(j) < a.catalogue) << j;
      if constexpr (U::kScaled) item_scale[j] = scales.item[tile & 1][own_item + Of::item(j)];
    }
#pragma unroll
    for (int i = 0; i < Of::kOwnUsers; ++i) {
      float user_scale = 0;
      if constexpr (U::kScaled) user_scale = scales.user[own_user + Of::user(i)];
#pragma unroll
      for (int j = 0; j < Of::kOwnItems; ++j) scores[i][j] = U::score(sums[i][j], user_scale, item_scale[j]);
    }
    if constexpr (kBias) {
#pragma unroll
      for (int i = 0; i < Of::kOwnUsers; ++i)
#pragma unroll
        for (int j = 0; j < Of::kOwnItems; ++j)
          scores[i][j] = plus(scores[i][j], bias_at<S>(a, r, tile_user + own_user + Of::user(i), begin + Of::item(j)));
    }
    if (sample) {
#pragma unroll
      for (int i = 0; i < Of::kOwnUsers; ++i) {
        const int user = tile_user + own_user + Of::user(i);
        if (user >= r.users) continue;
        S* const to = static_cast<S*>(r.maxima) + int64_t{user} * r.maxima_count + tile * (Of::kItems / kTileGroup);
#pragma unroll
        for (int q = 0; q < kItemQuads; ++q) {
          S most = kNever<S>;
#pragma unroll
          for (int j = 4 * q; j < 4 * q + 4; ++j)
            if ((inside >> j & 1) != 0) most = larger(most, scores[i][j]);
          to[(own_item + 32 * q) / kTileGroup] = most;
        }
      }
      continue;
    }
    // A user's scores of this thread together; room is asked for all users at once, for the answers take a while.
    unsigned noted[kUserQuads]{};  // a byte a user, a bit an item
    int slot[Of::kOwnUsers];
#pragma unroll
    for (int i = 0; i < Of::kOwnUsers; ++i) {
      const int u = own_user + Of::user(i);
      const S filter = own.filter[u];
      unsigned mine = 0;
#pragma unroll
      for (int j = 0; j < Of::kOwnItems; ++j) mine |= static_cast<unsigned>(!(scores[i][j] <= filter)) << j;
      mine = tile_user + u < r.users ? mine & inside : 0;
      noted[i / 4] |= mine << (8 * (i % 4));
      slot[i] = 0;
      if (mine != 0) slot[i] = own.template reserve<Of::kItems>(r, u, __popc(mine), tile);
    }
    auto* const list = static_cast<Key<S>*>(r.lists) + (int64_t{tile_user + own_user} * r.splits + split) * r.capacity;
    const int apart = r.splits * r.capacity;
#pragma unroll
    for (int i = 0; i < Of::kOwnUsers; ++i) {
      const unsigned mine = noted[i / 4] >> (8 * (i % 4)) & 0xFF;
      if (mine == 0) continue;
      Key<S>* to = list + int64_t{Of::user(i)} * apart + slot[i];
#pragma unroll
      for (int j = 0; j < Of::kOwnItems; ++j) {
        if ((mine >> j & 1) == 0) continue;
        if (scores[i][j] != scores[i][j]) own.has_nan[own_user + Of::user(i)] = 1;
        const int64_t at = begin + Of::item(j);
        *to++ = key_of(scores[i][j], a.allow != nullptr ? a.allow[at] : at);
      }
    }
  }
  if (!sample) own.end(r, first, split);
}

// Few users: a thread an item, whose row a warp puts into shared memory, 32 rows at a time. The GPU waits for memory,
// so the next rows are under way meanwhile.
constexpr int kRowThreads = 128;
constexpr int kRowGroup = 16;  // items of which the sample keeps the largest score

// Rows of int8 are short: for as many bytes to be under way, there are more blocks.
template <class T, int kUsers>
constexpr int kRowBlocks = sizeof(T) == 1 && kUsers == 1 ? 7 : 4;

template <class T, int kUsers, bool kBias>
__global__ void __launch_bounds__(kRowThreads, kRowBlocks<T, kUsers>)
    rows_kernel(TopkScoresArgs a, Round r, bool sample) {
  using U = Units<T>;
  using Unit = typename U::Unit;
  using S = typename U::Score;
  constexpr int kItems = kRowThreads;
  constexpr int kUnits = sizeof(T) == 1 || sizeof(T) == 8 ? 16 : kUsers == 1 ? 64 : 32;  // of a row, at a time
  constexpr int kQuads = kUnits / 4;
  constexpr int kPerUnit = U::kElements / 4;
  struct Stage {
    alignas(16) Unit at[kRowThreads][kUnits + 4];
  };
  __shared__ Stage stage;
  __shared__ Own<S, kUsers> own;
  const int splits = sample ? r.sample_splits : r.splits;
  const int split = static_cast<int>(blockIdx.x) % splits;
  const int first = static_cast<int>(blockIdx.x) / splits * kUsers;
  own.begin(a, r, first);
  const auto tiles = tiles_of(r, sample, split);
  const int width = static_cast<int>(a.width);
  const int units = (width + kPerUnit - 1) / kPerUnit;
  const int steps = units > kUnits ? (units + kUnits - 1) / kUnits : 1;
  const bool whole = whole_quads<T>(a.users, width) && whole_quads<T>(a.items, width);
  const int warp_row = static_cast<int>(threadIdx.x) / cuda::kWarp * cuda::kWarp;
  const auto user_row = [&](int u) {
    const int user = first + u < r.users ? first + u : r.users - 1;
    return static_cast<const T*>(a.users) + (r.first_user + user) * a.width;
  };

  typename U::Raw raw[kQuads];
  int next_tile = tiles.begin;
  int next_step = 0;
  float next_scale = 0;
  float user_scale[kUsers]{};
  if constexpr (U::kScaled) {
#pragma unroll
    for (int u = 0; u < kUsers; ++u)
      if (first + u < r.users) user_scale[u] = a.user_scale[r.first_user + first + u];
  }
  const auto read = [&] {
    const int64_t begin = place_of(r, sample, next_tile) * kItems + warp_row;
    const int lane = hidden(threadIdx.x) % cuda::kWarp;
    const auto row = [&](int n) {
      return static_cast<const T*>(a.items) + item_at(a, begin + (n * cuda::kWarp + lane) / kQuads) * a.width;
    };
    load_raw<T>(row, (next_step * kUnits + lane % kQuads * 4) * kPerUnit, width, whole, raw);
    if constexpr (U::kScaled)
      if (next_step == 0) next_scale = a.item_scale[item_at(a, begin + lane)];
    if (++next_step == steps) {
      next_step = 0;
      ++next_tile;
    }
  };

  if (tiles.begin < tiles.end) read();
  for (int tile = tiles.begin; tile < tiles.end; ++tile) {
    Unit sums[kUsers]{};
    const float item_scale = next_scale;
    for (int step = 0; step < steps; ++step) {
#pragma unroll
      for (int n = 0; n < kQuads; ++n) {
        const int place = n * cuda::kWarp + cuda::lane();
        *reinterpret_cast<Quad<Unit>*>(&stage.at[warp_row + place / kQuads][place % kQuads * 4]) = U::widen(raw[n]);
      }
      __syncwarp();
      if (step == 0) {
        __syncthreads();  // all have noted what they had to of the last tile
        if (tile > tiles.begin && own.full[(tile - 1) & 1] != 0)
          own.template keep_best<kItems, 0>(a, r, first, split, tile - 1, nullptr);
      }
      if (next_tile < tiles.end) read();
      const int begin = step * kUnits;
      const int end = units - begin < kUnits ? units - begin : kUnits;
#pragma unroll(kUsers == 1 ? 4 : 1)
      for (int unit = 0; unit < end; unit += 4) {
        const auto item = *reinterpret_cast<const Quad<Unit>*>(&stage.at[threadIdx.x][unit]);
#pragma unroll
        for (int u = 0; u < kUsers; ++u) {
          typename U::Raw own_raw[1];
          load_raw<T>([&](int) { return user_row(u); }, (begin + unit) * kPerUnit, width, whole, own_raw);
          const Quad<Unit> user = U::widen(own_raw[0]);
#pragma unroll
          for (int e = 0; e < 4; ++e) sums[u] = add_product(user.x[e], item.x[e], sums[u]);
        }
      }
      __syncwarp();
    }
    const int64_t at = place_of(r, sample, tile) * kItems + threadIdx.x;
    const bool inside = at < a.catalogue;
#pragma unroll
    for (int u = 0; u < kUsers; ++u) {
      S score = U::score(sums[u], user_scale[u], item_scale);
      if constexpr (kBias) score = plus(score, bias_at<S>(a, r, first + u, at));
      if (sample) {
        S most = inside && score == score ? score : kNever<S>;
        for (int apart = 1; apart < kRowGroup; apart *= 2)
          most = larger(most, __shfl_xor_sync(cuda::kAllLanes, most, apart));
        S* const to = static_cast<S*>(r.maxima) + int64_t{first + u} * r.maxima_count + tile * (kItems / kRowGroup);
        if (threadIdx.x % kRowGroup == 0 && first + u < r.users) to[threadIdx.x / kRowGroup] = most;
      } else if (inside && first + u < r.users && !(score <= own.filter[u])) {
        if (score != score) own.has_nan[u] = 1;
        const int slot = own.template reserve<kItems>(r, u, 1, tile);
        static_cast<Key<S>*>(r.lists)[(int64_t{first + u} * r.splits + split) * r.capacity + slot] =
            key_of(score, a.allow != nullptr ? a.allow[at] : at);
      }
    }
  }
  if (!sample) own.end(r, first, split);
}

}  // namespace
}  // namespace gnas
