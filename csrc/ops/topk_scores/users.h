// What is known of each user while the items go by: the best so far, and the bar that others must be above.
//
// Included by topk_scores_simd.cpp only, hence the namespaces.
#pragma once

#include "core/vector.h"
#include "ops/topk_scores/keys.h"
#include "ops/topk_scores/topk_scores.h"

namespace gnas::GNAS_ISA {
namespace {

// What is known of a user so far.
template <class S>
struct State {
  S filter;  // scores (of int8 rows: before the user's scale) that are not above cannot be among the best
  S bar;     // the worst of the best k, once there are k
  float scale;
  int32_t start;  // where the sums begin
  int64_t count;  // keys
  bool has_nan;
  Key<S>* keys;
};

// Is it in the user's row of what is left out?
template <class I>
bool contains(const TopkScoresArgs& a, int64_t user, int64_t item) {
  const I* indptr = static_cast<const I*>(a.exclude_indptr);
  const I* indices = static_cast<const I*>(a.exclude_indices);
  int64_t low = indptr[user];
  int64_t high = indptr[user + 1];
  const int64_t end = high;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (static_cast<int64_t>(indices[middle]) < item)
      low = middle + 1;
    else
      high = middle;
  }
  return low < end && static_cast<int64_t>(indices[low]) == item;
}

GNAS_INLINE bool excluded(const TopkScoresArgs& a, int64_t user, int64_t item) {
  if (a.exclude_indptr == nullptr) return false;
  return a.wide_index ? contains<int64_t>(a, user, item) : contains<int32_t>(a, user, item);
}

// A number that is not above whatever, times the user's scale, rounds to more than the bar.
GNAS_INLINE float before_scale(float bar, float scale) {
  constexpr float kMost = 3.4e38f;
  if (!(scale > 0)) return scale == 0 && bar >= 0 ? kMost : -__builtin_inff();
  const double exact = (static_cast<double>(bar) - 1e-44) / static_cast<double>(scale);
  const double lower = exact - (exact < 0 ? -exact : exact) * 1e-6 - 1e-44;
  return lower > static_cast<double>(kMost) && bar < __builtin_inff() ? kMost : static_cast<float>(lower);
}

template <class S>
void set_bar(State<S>& state, S bar, bool scaled) {
  state.bar = state.filter = bar;
  if constexpr (sizeof(S) == 4)
    if (scaled) state.filter = before_scale(bar, state.scale);
}

// Keeps the best, and a bar for what comes.
template <class S>
__attribute__((noinline)) void keep_best(State<S>& state, int64_t keep, bool scaled) {
  select_largest(state.keys, state.count, keep);
  Key<S> worst = state.keys[0];
  for (int64_t c = 1; c < keep; ++c)
    if (state.keys[c] < worst) worst = state.keys[c];
  state.count = keep;
  set_bar(state, score_of(worst), scaled);
}

template <class S>
GNAS_INLINE void take(const TopkScoresArgs& a, State<S>& state, Key<S> key, bool scaled) {
  if (a.in_order()) {
    insert(state.keys, a.keep, key);
    state.count += state.count < a.keep;
    if (state.count == a.keep) set_bar(state, score_of(state.keys[a.keep - 1]), scaled);
  } else {
    state.keys[state.count++] = key;
    if (state.count == a.capacity()) keep_best(state, a.keep, scaled);
  }
}

// A range that is begun later need not collect k items anew: what k items of another one reach, an item of this one
// must reach too; as much is enough, for it may be the smaller item. So what is kept of a range depends on who was
// first, but never the best of all.
template <class S>
void begin_at_bar(const TopkScoresArgs& a, int64_t user, State<S>& state, bool scaled) {
  const uint64_t order = __atomic_load_n(a.bars + user, __ATOMIC_RELAXED);
  if (order != 0) set_bar(state, score_below<S>(order), scaled);
}

template <class S>
void tell_bar(const TopkScoresArgs& a, int64_t user, S bar) {
  const uint64_t order = order_of(bar);
  uint64_t known = __atomic_load_n(a.bars + user, __ATOMIC_RELAXED);
  while (known < order &&
         !__atomic_compare_exchange_n(a.bars + user, &known, order, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
}

// Writes what is left of a user's keys, the best first.
template <class S>
void write_best(const TopkScoresArgs& a, int64_t user, Key<S>* keys, int64_t count, bool has_nan) {
  S* values = static_cast<S*>(a.values) + user * a.k;
  int64_t* columns = a.columns + user * a.k;
  if (has_nan) count = 0;
  if (count > a.keep) {
    select_largest(keys, count, a.keep);
    count = a.keep;
  }
  sort_descending(keys, count);
  const S padding = has_nan ? static_cast<S>(__builtin_nanf("")) : -static_cast<S>(__builtin_inff());
  for (int64_t c = 0; c < a.k; ++c) {
    values[c] = c < count ? score_of(keys[c]) : padding;
    columns[c] = c < count ? item_of(keys[c]) : -1;
  }
}

// Users of a block before their first item; each has room for `capacity` keys.
template <class S>
void begin_users(const TopkScoresArgs& a, int64_t count, State<S>* states, Key<S>* keys) {
  constexpr S kNothing = -static_cast<S>(__builtin_inff());
  for (int64_t row = 0; row < count; ++row) {
    State<S>& state = states[row];
    state = {kNothing, kNothing, 1, 0, 0, false, keys + row * a.capacity()};
    if (!a.in_order()) continue;
    for (int64_t c = 0; c < a.capacity(); ++c) state.keys[c] = c < 8 ? ~Key<S>{0} : Key<S>{0};
    state.keys += 8;
  }
}

// Users of a block after their last item of a range.
template <class S>
void end_users(const TopkScoresArgs& a, int64_t first_user, int64_t count, int64_t range, State<S>* states,
               bool scaled) {
  for (int64_t row = 0; row < count; ++row) {
    State<S>& state = states[row];
    const int64_t user = first_user + row;
    if (a.ranges == 1) {
      write_best<S>(a, user, state.keys, state.count, state.has_nan);
      continue;
    }
    if (state.count > a.keep) keep_best(state, a.keep, scaled);
    if (state.count == a.keep && state.bar > -static_cast<S>(__builtin_inff())) tell_bar(a, user, state.bar);
    const int64_t place = user * a.ranges + range;
    a.partial_count[place] = state.has_nan ? -1 : state.count;
    __builtin_memcpy(static_cast<Key<S>*>(a.partial) + place * a.keep, state.keys, state.count * sizeof(Key<S>));
  }
}

}  // namespace
}  // namespace gnas::GNAS_ISA
