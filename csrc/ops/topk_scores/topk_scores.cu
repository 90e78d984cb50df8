// Users go in rounds. Of each: the scores of a sample of the items give each user a filter; then each block goes with a
// tile of users through a split of the catalogue, and notes what is above their filters; then the splits are merged.
// A round has about as many blocks as the GPU runs at once, or some times as many.
#include <cmath>

#include "ops/topk_scores/merge.cuh"
#include "ops/topk_scores/tiles.cuh"

namespace gnas {
namespace {

constexpr int64_t kListBytes = int64_t{256} << 20;
constexpr int64_t kMergedBytes = int64_t{64} << 20;
constexpr int64_t kFewestKeys = 256;  // that a list has room for
constexpr int64_t kLeastSlack = 64;   // that a list has beyond the best and a tile

// A tile, how many of them a multiprocessor has at once, and the items of a group.
struct Shape {
  int users;
  int items;
  int blocks;
  int group;
};
constexpr Shape kOne{1, kRowThreads, kRowBlocks<float, 1>, kRowGroup};
constexpr Shape kOneOfBytes{1, kRowThreads, kRowBlocks<int8_t, 1>, kRowGroup};
constexpr Shape kFew{8, kRowThreads, kRowBlocks<float, 8>, kRowGroup};
constexpr Shape kSome{32, 256, 2, kTileGroup};
constexpr Shape kMany{128, 128, 2, kTileGroup};
constexpr Shape kDoubles{64, 64, 2, kTileGroup};

struct Plan {
  Shape shape;
  Round round;    // the first one; without pointers
  int64_t users;  // of a round, in all but the last
  int64_t slots;  // blocks that the GPU runs at once
  int64_t room;   // lists are there for so many blocks
  int64_t merge_blocks;
};

int64_t up(int64_t number, int64_t by) { return (number + by - 1) / by; }

int64_t capacity_of(const TopkScoresArgs& a, const Shape& shape) {
  const int64_t wanted = up(a.keep + shape.items + kLeastSlack, 32) * 32;
  return wanted > kFewestKeys ? wanted : kFewestKeys;
}

Shape shape_of(const TopkScoresArgs& a) {
  const auto fits = [&](const Shape& shape) {
    return shape.users * capacity_of(a, shape) * a.key_bytes() <= kListBytes;
  };
  if (a.rows > kFew.users) {
    if (a.wide_score() && fits(kDoubles)) return kDoubles;
    if (!a.wide_score() && a.rows > 2 * kSome.users && fits(kMany)) return kMany;
    if (!a.wide_score() && fits(kSome)) return kSome;
  }
  if (a.rows > 1 && fits(kFew)) return kFew;
  return a.bytes() ? kOneOfBytes : kOne;
}

// Filters cost the scores of the sample, and spare as many keys as are above the best of the sample and below those of
// all: so its size is the root of what there is of both. A key costs about as much as 10 scores.
void plan_sample(const TopkScoresArgs& a, const Shape& shape, Round& r) {
  const double wanted = static_cast<double>(a.keep) + static_cast<double>(a.exclude_nnz) / static_cast<double>(a.rows);
  const double items = std::sqrt(10.0 * wanted * static_cast<double>(a.catalogue));
  const double most = kMostMaxima * shape.group;
  const int64_t tiles = up(static_cast<int64_t>(items < most ? items : most), shape.items);
  if (4 * tiles > r.item_tiles || wanted > static_cast<double>(tiles * (shape.items / shape.group))) return;
  r.sample_tiles = static_cast<int>(tiles);
  r.maxima_count = static_cast<int>(tiles * (shape.items / shape.group));
}

// How many splits, for the blocks of a round to end together; and how long it takes then, in tiles.
struct Share {
  int64_t splits;
  int64_t time;
};
Share share_of(int64_t user_tiles, int64_t item_tiles, int64_t slots, int64_t room) {
  constexpr int64_t kMostWaves = 8;
  constexpr int64_t kBlockBesides = 2;  // what else a block takes
  constexpr int64_t kRoundBesides = 3;
  if (item_tiles == 0) return {0, kRoundBesides};
  Share best{1, INT64_MAX};
  for (int64_t waves = 1; waves <= kMostWaves; ++waves) {
    int64_t splits = waves * slots / user_tiles;
    if (splits > room / user_tiles) splits = room / user_tiles;
    if (splits > item_tiles) splits = item_tiles;
    if (splits < 1) splits = 1;
    const int64_t time = up(user_tiles * splits, slots) * (up(item_tiles, splits) + kBlockBesides) + kRoundBesides;
    if (time < best.time) best = {splits, time};
  }
  return best;
}

Plan plan_of(const TopkScoresArgs& a) {
  Plan plan{};
  plan.shape = shape_of(a);
  plan.slots = int64_t{cuda::processors()} * plan.shape.blocks;
  Round& r = plan.round;
  const int64_t capacity = capacity_of(a, plan.shape);
  const int64_t list_bytes = plan.shape.users * capacity * a.key_bytes();
  r.capacity = static_cast<int>(capacity);
  r.item_tiles = static_cast<int>(up(a.catalogue, plan.shape.items));

  const int64_t room = kListBytes / list_bytes > 1 ? kListBytes / list_bytes : 1;
  if (r.item_tiles > 0) plan_sample(a, plan.shape, r);
  const int64_t maxima_bytes = int64_t{plan.shape.users} * (r.maxima_count + 1) * a.key_bytes() / 2;
  const int64_t maxima_room = kListBytes / maxima_bytes > 1 ? kListBytes / maxima_bytes : 1;

  const int64_t user_tiles = up(a.rows, plan.shape.users);
  const int64_t fewest = up(user_tiles, room < maxima_room ? room : maxima_room);
  constexpr int64_t kMoreRounds = 16;
  int64_t least = INT64_MAX;
  for (int64_t rounds = fewest; rounds < fewest + kMoreRounds && rounds <= user_tiles; ++rounds) {
    const int64_t tiles = up(user_tiles, rounds);
    const Share share = share_of(tiles, r.item_tiles, plan.slots, room);
    if (rounds * share.time >= least) continue;
    least = rounds * share.time;
    plan.users = tiles * plan.shape.users < a.rows ? tiles * plan.shape.users : a.rows;
    plan.room = tiles * (share.splits > 1 ? share.splits : 1);
  }
  r.merge_capacity = static_cast<int>(kMergeBytes / a.key_bytes());
  plan.merge_blocks = plan.users;
  if (a.keep + capacity > r.merge_capacity) {
    r.merge_capacity = static_cast<int>(2 * (a.keep + capacity));
    const int64_t blocks = kMergedBytes / (r.merge_capacity * a.key_bytes());
    plan.merge_blocks = blocks < 1 ? 1 : blocks < plan.users ? blocks : plan.users;
  }
  return plan;
}

// The users from `first` on: how many of them, and how the blocks are shared out.
Round round_at(const TopkScoresArgs& a, const Plan& plan, int64_t first) {
  Round r = plan.round;
  r.first_user = first;
  r.users = static_cast<int>(a.rows - first < plan.users ? a.rows - first : plan.users);
  r.splits = static_cast<int>(share_of(up(r.users, plan.shape.users), r.item_tiles, plan.slots, plan.room).splits);
  r.sample_splits = r.splits < r.sample_tiles ? r.splits : r.sample_tiles;
  return r;
}

// Shares `scratch` out, for every round alike; how many bytes of it are taken.
int64_t place(const TopkScoresArgs& a, const Plan& plan, void* scratch, Round& r) {
  int64_t at = 0;
  const auto take = [&](int64_t bytes) {
    void* const found = static_cast<char*>(scratch) + at;
    at += up(bytes, 16) * 16;
    return found;
  };
  const int64_t score_bytes = a.wide_score() ? 8 : 4;
  const int64_t lists = plan.room * plan.shape.users;
  r.lists = take(lists * r.capacity * a.key_bytes());
  r.counts = static_cast<int*>(take(lists * static_cast<int64_t>(sizeof(int))));
  if (r.sample_tiles > 0) {
    r.filters = take(plan.users * score_bytes);
    r.maxima = take(plan.users * r.maxima_count * score_bytes);
  }
  if (r.merge_capacity * a.key_bytes() > kMergeBytes)
    r.merged = take(plan.merge_blocks * r.merge_capacity * a.key_bytes());
  return at;
}

template <class T, bool kBias>
void launch_scores(const TopkScoresArgs& a, const Plan& plan, const Round& r, bool sample, cudaStream_t stream) {
  const unsigned blocks = static_cast<unsigned>(up(r.users, plan.shape.users) * (sample ? r.sample_splits : r.splits));
  const auto with = [&](auto kernel, int threads) { cuda::launch(kernel, blocks, threads, stream, a, r, sample); };
  if (plan.shape.users == kOne.users) return with(rows_kernel<T, kOne.users, kBias>, kRowThreads);
  if (plan.shape.users == kFew.users) return with(rows_kernel<T, kFew.users, kBias>, kRowThreads);
  if constexpr (sizeof(T) == 8) {
    with(tiles_kernel<T, 1, 1, 4, kBias>, kTileThreads);
  } else if (plan.shape.users == kSome.users) {
    with(tiles_kernel<T, 1, 2, 2, kBias>, kTileThreads);
  } else {
    with(tiles_kernel<T, 2, 2, 4, kBias>, kTileThreads);
  }
}

template <class T>
void launch_scores(const TopkScoresArgs& a, const Plan& plan, const Round& r, bool sample, cudaStream_t stream) {
  if (a.bias != nullptr) return launch_scores<T, true>(a, plan, r, sample, stream);
  launch_scores<T, false>(a, plan, r, sample, stream);
}

template <class T>
void launch_round(const TopkScoresArgs& a, const Plan& plan, const Round& r, cudaStream_t stream) {
  using S = typename Units<T>::Score;
  // Of few users, each has a larger block.
  const int threads = r.users > 2 * cuda::processors() ? 256 : kMostThreads;
  if (r.sample_tiles > 0) {
    launch_scores<T>(a, plan, r, true, stream);
    cuda::launch(filters_kernel<S>, static_cast<unsigned>(r.users), threads, stream, a, r);
  }
  if (r.item_tiles > 0) launch_scores<T>(a, plan, r, false, stream);
  const int64_t blocks = plan.merge_blocks < r.users ? plan.merge_blocks : r.users;
  cuda::launch(merge_kernel<S>, static_cast<unsigned>(blocks), threads, stream, a, r);
}

}  // namespace

int64_t topk_scores_cuda_scratch(const TopkScoresArgs& a) {
  if (a.rows == 0 || a.k == 0) return 0;
  const Plan plan = plan_of(a);
  Round r = round_at(a, plan, 0);
  return place(a, plan, nullptr, r);
}

int topk_scores_cuda(const TopkScoresArgs& a, void* scratch, void* stream) {
  if (a.rows == 0 || a.k == 0) return cudaSuccess;
  const Plan plan = plan_of(a);
  for (int64_t first = 0; first < a.rows; first += plan.users) {
    Round r = round_at(a, plan, first);
    place(a, plan, scratch, r);
    const auto run = [&](auto element) {
      launch_round<decltype(element)>(a, plan, r, static_cast<cudaStream_t>(stream));
    };
    if (a.bytes())
      run(int8_t{});
    else
      cuda::with_types(a.dtype, false, [&](auto element, auto) { run(element); });
  }
  return cudaGetLastError();
}

}  // namespace gnas
