#include "core/vector.h"
#include "ops/topk_scores/arithmetic.h"
#include "ops/topk_scores/bias.h"
#include "ops/topk_scores/codes.h"
#include "ops/topk_scores/settle.h"
#include "ops/topk_scores/squares.h"
#include "ops/topk_scores/topk_scores.h"
#include "ops/topk_scores/users.h"

namespace gnas::GNAS_ISA {
namespace {

// A tile of users by two registers of items has its sums in registers: all but four of them.
constexpr int kVectors = 2;
constexpr int kTile = GNAS_VECTOR_BYTES == 64 ? 14 : 6;
constexpr int kSmallTile = 4;

template <class M>
constexpr int kPanel = kVectors * Lanes<typename M::Score>::count;  // items a panel

// The few scores of a user and a panel that are above the filter. Items come in ascending order: one that equals the
// bar is behind all that made it.
template <class M>
GNAS_INLINE void offer(const Work<M>& work, int64_t row, uint32_t mask, const typename M::Score* scores,
                       int64_t first_item) {
  using S = typename M::Score;
  const TopkScoresArgs& a = work.a;
  State<S>& state = work.states[row];
  do {
    const int lane = __builtin_ctz(mask);
    if (first_item + lane >= work.end_item) return;
    const auto item = [&]()
                          GNAS_INLINED { return a.allow != nullptr ? a.allow[first_item + lane] : first_item + lane; };
    if constexpr (M::kScreened) {
      Waiting& waiting = work.waiting[row];
      waiting.items[waiting.count++] = static_cast<int32_t>(item());
      if (waiting.count == Lanes<float>::count) settle(work, row);
    } else {
      S score = scores[lane];
      if (work.unscaled()) score = state.scale * score;
      if (score != score) state.has_nan = true;
      if (!(score > state.bar) || excluded(a, work.first_user + row, item())) continue;
      take(a, state, key_of(score, item()), work.unscaled());
    }
  } while ((mask &= mask - 1) != 0);
}

// The scores of all users of a tile. Who has some above the filter is found for all without a branch.
template <class M, int R>
__attribute__((noinline)) void offer_all(const Work<M>& work, int64_t row, const typename M::Score* scores,
                                         int64_t first_item) {
  using S = typename M::Score;
  constexpr int kLanes = Lanes<S>::count;
  uint32_t masks[R];
  uint32_t users = 0;
  for (int r = 0; r < R; ++r) {
    const Vector<S> filter = splat<S>(work.states[row + r].filter);
    const S* own = scores + r * kPanel<M>;
    masks[r] = above(load(own), filter) | above(load(own + kLanes), filter) << kLanes;
    users |= static_cast<uint32_t>(masks[r] != 0) << r;
  }
  for (; users != 0; users &= users - 1) {
    const int r = __builtin_ctz(users);
    offer<M>(work, row + r, masks[r], scores + r * kPanel<M>, first_item);
  }
}

// Sums of R users by a panel of items stay in registers, and so do nearly all scores: few are above the filter.
template <class M, int R, bool kBias>
GNAS_INLINE void tile(const Work<M>& work, int64_t row, const typename M::Unit* users, const typename M::Unit* panel,
                      int64_t steps, int64_t first_item) {
  using S = typename M::Score;
  constexpr int kLanes = Lanes<S>::count;
  State<S>* states = work.states + row;
  typename M::Sums sums[R][kVectors];
  unrolled<kVectors>([&](auto v) GNAS_INLINED {
    typename M::Sums more{};
    if constexpr (M::kScreened) __builtin_memcpy(&more, panel + (steps + 1) * kPanel<M> + v * kLanes, sizeof more);
    unrolled<R>([&](auto r) GNAS_INLINED {
      sums[r][v] = M::start(states[r].start);
      if constexpr (M::kScreened) sums[r][v] += more;
    });
  });
  const typename M::Unit* unit = panel;
  for (int64_t step = 0; step < steps; ++step, unit += kPanel<M>, users += R) {
    IntVector<S> items[kVectors];
    unrolled<kVectors>([&](auto v) GNAS_INLINED { __builtin_memcpy(&items[v], unit + v * kLanes, sizeof items[v]); });
    unrolled<R>([&](auto r) GNAS_INLINED {
      unrolled<kVectors>([&](auto v) GNAS_INLINED { sums[r][v] = M::add(sums[r][v], items[v], users[r]); });
    });
  }
  const S* scale = reinterpret_cast<const S*>(unit);
  Vector<S> scores[R][kVectors];
  AnyAbove<S> found[kVectors];
  unrolled<R>([&](auto r) GNAS_INLINED {
    const Vector<S> filter = splat<S>(states[r].filter);
    unrolled<kVectors>([&](auto v) GNAS_INLINED {
      scores[r][v] = M::scores(sums[r][v], scale + v * kLanes);
      if constexpr (kBias) {
        if constexpr (M::kScaled) scores[r][v] = M::scaled(scores[r][v], states[r].scale);
        scores[r][v] += load(work.bias + (row + r) * kPanel<M> + v * kLanes);
      }
      found[v].look(scores[r][v], filter);
    });
  });
  if (!found[0].any() && !found[1].any()) return;
  S kept[R * kPanel<M>];
  unrolled<R>([&](auto r) GNAS_INLINED {
    unrolled<kVectors>([&](auto v) GNAS_INLINED { store<S>(scores[r][v], kept + r * kPanel<M> + v * kLanes); });
  });
  offer_all<M, R>(work, row, kept, first_item);
}

// How many users the tile at `row` of a block has. Their units stand side by side.
GNAS_INLINE int tile_of(int64_t left) { return left >= kTile ? kTile : left >= kSmallTile ? kSmallTile : 1; }

template <class M>
void pack_users(const TopkScoresArgs& a, int64_t first, int64_t count, int64_t steps, typename M::Unit* packed) {
  const auto* users = M::users(a) + first * a.width;
  for (int64_t row = 0; row < count;) {
    const int size = tile_of(count - row);
    for (int r = 0; r < size; ++r)
      for (int64_t step = 0; step < steps; ++step) {
        const int64_t f = step * M::kPerUnit;
        packed[(row * steps) + step * size + r] = M::user_unit(users + (row + r) * a.width + f, a.width - f);
      }
    row += size;
  }
}

// Items `first` and on, side by side in the lanes: [steps][kPanel] units, then the scales, then what codes miss.
template <class M>
void pack_panel(const Work<M>& work, int64_t first, int64_t steps, typename M::Unit* panel) {
  using S = typename M::Score;
  using T = typename M::Element;
  constexpr int kLanes = Lanes<S>::count;
  const TopkScoresArgs& a = work.a;
  const int64_t width = a.width;
  for (int v = 0; v < kVectors; ++v) {
    const T* rows[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) {
      const int64_t at = first + v * kLanes + lane;
      const int64_t inside = at < work.end_item ? at : work.end_item - 1;  // lanes without an item are not looked at
      const int64_t item = a.allow != nullptr ? a.allow[inside] : inside;
      rows[lane] = M::items(a) + item * width;
      if constexpr (M::kScaled)
        reinterpret_cast<float*>(panel + steps * kPanel<M>)[v * kLanes + lane] = M::item_scale(a)[item];
      if constexpr (M::kScreened) panel[(steps + 1) * kPanel<M> + v * kLanes + lane] = a.item_codes.slack[item];
    }
    int64_t step = 0;
    for (; step < steps; step += kLanes) {
      const int64_t f = step * M::kPerUnit;
      IntVector<S> units[kLanes];
      if (f + kLanes * M::kPerUnit <= width) {
        unrolled<kLanes>([&](auto lane) GNAS_INLINED { units[lane] = M::load_units(rows[lane] + f); });
      } else {
        for (int lane = 0; lane < kLanes; ++lane) {
          T end[kLanes * M::kPerUnit]{};
          for (int64_t n = 0; n < width - f; ++n) end[n] = rows[lane][f + n];
          units[lane] = M::load_units(end);
        }
      }
      swap_squares<S, kLanes / 2>(units);
      typename M::Unit* to = panel + step * kPanel<M> + v * kLanes;
      if (step + kLanes <= steps)
        unrolled<kLanes>([&](auto i)
                             GNAS_INLINED { __builtin_memcpy(to + i * kPanel<M>, &units[i], sizeof units[i]); });
      else
        for (int64_t i = 0; i < steps - step; ++i) __builtin_memcpy(to + i * kPanel<M>, &units[i], sizeof units[0]);
    }
  }
}

#if defined(__AVX512F__)
// int8 rows of a single user: packing costs more than the products, so each item is multiplied as it lies, and what
// stands in the lanes is added up for 16 items at once. `user`: whole registers, zeros at the end. Side by side: the
// items of the panel lie one after the other, and there are as many as it has lanes.
template <bool kSideBySide, bool kBias>
GNAS_INLINE void panel_of_one(const Work<Quads>& work, const int8_t* user, int64_t first) {
  constexpr int kLanes = Lanes<float>::count;
  constexpr int64_t kAhead = 4096;  // bytes; what the processor fetches by itself comes late
  const TopkScoresArgs& a = work.a;
  const auto* items = static_cast<const int8_t*>(a.items);
  State<float>& state = work.states[0];
  float scores[kPanel<Quads>];
  AnyAbove<float> found;
  if constexpr (kBias) pack_bias<kPanel<Quads>>(work, first, 1);
  for (int v = 0; v < kVectors; ++v) {
    const int8_t* rows[kLanes];
    float scale[kLanes];
    const int64_t begin = first + v * kLanes;
    for (int lane = 0; lane < kLanes && !kSideBySide; ++lane) {
      // Lanes without an item are not looked at.
      const int64_t inside = begin + lane < work.end_item ? begin + lane : work.end_item - 1;
      const int64_t item = a.allow != nullptr ? a.allow[inside] : inside;
      rows[lane] = items + item * a.width;
      scale[lane] = a.item_scale[item];
    }
    const int8_t* const start = items + begin * a.width;
    Vector<int32_t> sums[kLanes]{};
    for (int64_t f = 0; f < a.width; f += GNAS_VECTOR_BYTES) {
      const int64_t left = a.width - f;
      const __mmask64 mask = left < GNAS_VECTOR_BYTES ? (uint64_t{1} << left) - 1 : ~uint64_t{0};
      Vector<int32_t> own;
      __builtin_memcpy(&own, user + f, sizeof own);
      unrolled<kLanes>([&](auto lane) GNAS_INLINED {
        const int8_t* from = (kSideBySide ? start + lane * a.width : rows[lane]) + f;
        __builtin_prefetch(from + kAhead);
        const auto codes = bit_copy<Vector<int32_t>>(_mm512_maskz_loadu_epi8(mask, from));
        sums[lane] = Quads::dot(sums[lane], codes ^ static_cast<int32_t>(0x80808080u), own);
      });
    }
    Vector<float> some =
        Quads::scores(add_lanes_of_all<int32_t>(sums) + state.start, kSideBySide ? a.item_scale + begin : scale);
    if constexpr (kBias) some = Quads::scaled(some, state.scale) + load(work.bias + v * kLanes);
    store<float>(some, scores + v * kLanes);
    found.look(some, splat<float>(state.filter));
  }
  if (found.any()) offer_all<Quads, 1>(work, 0, scores, first);
}

template <bool kBias>
void items_of_one(const Work<Quads>& work, const int8_t* user, int64_t item) {
  if (work.a.allow == nullptr)
    for (; item + kPanel<Quads> <= work.end_item; item += kPanel<Quads>) panel_of_one<true, kBias>(work, user, item);
  for (; item < work.end_item; item += kPanel<Quads>) panel_of_one<false, kBias>(work, user, item);
}
#endif

// Where the next array of a thread's memory begins.
template <class T>
T* carve(char*& at, int64_t count) {
  T* const found = reinterpret_cast<T*>(at);
  at += (count * static_cast<int64_t>(sizeof(T)) + 63) / 64 * 64;
  return found;
}

// Items from `item` on, up to work.end_item, for all users of a block.
template <class M, bool kBias>
void scan_with(const Work<M>& work, int64_t item, int64_t count, int64_t steps, const typename M::Unit* users,
               typename M::Unit* panel) {
  for (; item < work.end_item; item += kPanel<M>) {
    pack_panel<M>(work, item, steps, panel);
    if constexpr (kBias) pack_bias<kPanel<M>>(work, item, count);
    for (int64_t row = 0; row < count;) {
      const int size = tile_of(count - row);
      const typename M::Unit* from = users + row * steps;
      if (size == kTile)
        tile<M, kTile, kBias>(work, row, from, panel, steps, item);
      else if (size == kSmallTile)
        tile<M, kSmallTile, kBias>(work, row, from, panel, steps, item);
      else
        tile<M, 1, kBias>(work, row, from, panel, steps, item);
      row += size;
    }
  }
}

template <class M>
void scan(const Work<M>& work, int64_t item, int64_t count, int64_t steps, const typename M::Unit* users,
          typename M::Unit* panel) {
  if (work.bias != nullptr) return scan_with<M, true>(work, item, count, steps, users, panel);
  scan_with<M, false>(work, item, count, steps, users, panel);
}

template <class M>
void run_unit(const TopkScoresArgs& a, int64_t block, int64_t range, void* scratch) {
  using S = typename M::Score;
  using Unit = typename M::Unit;
  static_assert(sizeof(State<S>) <= kTopkScoresStateBytes && kPanel<M> * sizeof(Unit) <= kTopkScoresPanelBytes &&
                    sizeof(Key<S>) == (sizeof(S) == 8 ? 16 : 8),
                "topk_scores_scratch has the sizes");
  const int64_t steps = (a.width + M::kPerUnit - 1) / M::kPerUnit;
  const int64_t first_user = block * a.block;
  const int64_t count = a.rows - first_user < a.block ? a.rows - first_user : a.block;
  char* at = static_cast<char*>(scratch);
  Unit* const panel = carve<Unit>(at, (steps + 1) * kPanel<M>);
  Unit* const users = carve<Unit>(at, count * steps);
  if constexpr (M::kPerUnit == 4)  // a single user is read by whole registers
    for (int64_t unit = steps; unit % Lanes<S>::count != 0; ++unit) users[unit] = 0;
  State<S>* const states = carve<State<S>>(at, count);
  Key<S>* const keys = carve<Key<S>>(at, count * a.capacity());
  begin_users(a, count, states, keys);
  S* const bias = a.bias == nullptr ? nullptr : carve<S>(at, count * kPanel<M>);
  const Work<M> work{a, first_user, a.range_at(range + 1), states, nullptr, bias};
  for (int64_t row = 0; row < count; ++row) {
    State<S>& state = states[row];
    if constexpr (M::kScaled) {
      state.scale = a.user_scale[first_user + row];
      if constexpr (M::kPerUnit == 4) {
        state.start = M::start_of(M::users(a) + (first_user + row) * a.width, a.width);
      }
    }
    if (a.ranges > 1) begin_at_bar(a, first_user + row, state, work.unscaled());
  }
  pack_users<M>(a, first_user, count, steps, users);
  int64_t item = a.range_at(range);
#if defined(__AVX512F__)
  if constexpr (M::kPerUnit == 4) {
    if (count == 1) {
      const auto* codes = reinterpret_cast<const int8_t*>(users);
      bias == nullptr ? items_of_one<false>(work, codes, item) : items_of_one<true>(work, codes, item);
      item = work.end_item;
    }
  }
#endif
  scan(work, item, count, steps, users, panel);
  end_users(a, first_user, count, range, states, work.unscaled());
}

#if defined(__AVX512F__)
// float32 rows of which all but a few scores are ruled out by int8 codes: the sum of the codes' products and the most
// that they can miss is above the bar, or the score is not. The first items are scored at once: they make the bar.
void run_screened(const TopkScoresArgs& a, int64_t block, int64_t range, void* scratch) {
  using Plain = Floats<float>;
  static_assert(sizeof(Waiting) <= kTopkScoresWaitingBytes && kPanel<Plain> == kPanel<Screened>,
                "topk_scores_scratch has the sizes");
  const int64_t units = (a.width + Screened::kPerUnit - 1) / Screened::kPerUnit;
  const int64_t first_user = block * a.block;
  const int64_t count = a.rows - first_user < a.block ? a.rows - first_user : a.block;
  char* at = static_cast<char*>(scratch);
  float* const panel = carve<float>(at, (a.width + 2) * kPanel<Plain>);
  float* const users = carve<float>(at, count * a.width);
  int32_t* const codes = carve<int32_t>(at, count * units);
  Waiting* const waiting = carve<Waiting>(at, count);
  State<float>* const states = carve<State<float>>(at, count);
  Key<float>* const keys = carve<Key<float>>(at, count * a.capacity());
  begin_users(a, count, states, keys);
  if (a.ranges > 1)
    for (int64_t row = 0; row < count; ++row) begin_at_bar(a, first_user + row, states[row], false);
  const int64_t first = a.range_at(range);
  const int64_t end = a.range_at(range + 1);
  const int64_t screened = first + kTopkScoresUnscreened < end ? first + kTopkScoresUnscreened : end;
  pack_users<Plain>(a, first_user, count, a.width, users);
  float* const bias = a.bias == nullptr ? nullptr : carve<float>(at, count * kPanel<Plain>);
  scan(Work<Plain>{a, first_user, screened, states, nullptr, bias}, first, count, a.width, users, panel);
  const Work<Screened> work{a, first_user, end, states, waiting, bias};
  for (int64_t row = 0; row < count; ++row) {
    const int64_t user = first_user + row;
    State<float>& state = states[row];
    state.scale = a.user_codes.scale[user];
    state.start = Screened::start_of(Screened::users(a) + user * a.width, a.width);
    state.start += a.user_codes.slack[user] + missed_beside(a.width);
    set_bar(state, state.bar, work.unscaled());
    waiting[row].count = 0;
  }
  pack_users<Screened>(a, first_user, count, units, codes);
  scan(work, screened, count, units, codes, reinterpret_cast<int32_t*>(panel));
  for (int64_t row = 0; row < count; ++row) settle(work, row);
  end_users(a, first_user, count, range, states, work.unscaled());
}
#endif

template <class S>
void merge(const TopkScoresArgs& a, int64_t begin, int64_t end, void* scratch) {
  Key<S>* const keys = static_cast<Key<S>*>(scratch);
  for (int64_t user = begin; user < end; ++user) {
    int64_t count = 0;
    bool has_nan = false;
    for (int64_t range = 0; range < a.ranges; ++range) {
      const int64_t place = user * a.ranges + range;
      const int64_t more = a.partial_count[place];
      has_nan |= more < 0;
      if (more <= 0) continue;
      __builtin_memcpy(keys + count, static_cast<const Key<S>*>(a.partial) + place * a.keep, more * sizeof(Key<S>));
      count += more;
    }
    write_best<S>(a, user, keys, count, has_nan);
  }
}

}  // namespace

void topk_scores_unit(const TopkScoresArgs& a, int64_t block, int64_t range, void* scratch) {
#if defined(__AVX512F__)
  if (a.user_codes.codes != nullptr) return run_screened(a, block, range, scratch);
#endif
  if (!a.bytes()) {
    with_types(a.dtype, false,
               [&](auto element, auto) { run_unit<Floats<decltype(element)>>(a, block, range, scratch); });
    return;
  }
#if defined(__AVX512F__)
  if (a.vnni) return run_unit<Quads>(a, block, range, scratch);
#endif
  run_unit<Pairs>(a, block, range, scratch);
}

void topk_scores_codes(const float* rows, int64_t width, int64_t begin, int64_t end, const TopkCodes& to, bool* fit) {
  write_codes(rows, width, begin, end, to, fit);
}

void topk_scores_merge(const TopkScoresArgs& a, int64_t begin, int64_t end, void* scratch) {
  a.wide_score() ? merge<double>(a, begin, end, scratch) : merge<float>(a, begin, end, scratch);
}

}  // namespace gnas::GNAS_ISA
