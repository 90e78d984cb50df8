// Items that codes could not rule out wait for each other, and are scored together.
//
// Included by topk_scores_simd.cpp only, hence the namespaces.
#pragma once

#include "ops/topk_scores/arithmetic.h"
#include "ops/topk_scores/squares.h"
#include "ops/topk_scores/users.h"

namespace gnas::GNAS_ISA {
namespace {

// Items of a user that codes could not rule out, for as many scores as a register has lanes.
struct Waiting {
  int32_t items[Lanes<float>::count];
  int32_t count;
};

template <class M>
struct Work {
  using S = typename M::Score;
  const TopkScoresArgs& a;
  int64_t first_user;
  int64_t end_item;
  State<S>* states;
  Waiting* waiting;  // one a user, where codes are looked at first
  S* bias;           // a panel's for each user, or null

  // Without a bias, sums of codes are compared before they are multiplied by the user's scale.
  bool unscaled() const { return M::kScaled && a.bias == nullptr; }
};

#if defined(__AVX512F__)
// Products of some columns, those of a whole register or fewer, for an item a lane.
template <bool kWhole>
GNAS_INLINE void add_features(const float* const* rows, const float* user, int64_t first, int64_t count,
                              Vector<float>& sums) {
  constexpr int kLanes = Lanes<float>::count;
  IntVector<float> units[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) {
    units[lane] = IntVector<float>{};
    if constexpr (kWhole)
      units[lane] = Floats<float>::load_units(rows[lane] + first);
    else
      __builtin_memcpy(&units[lane], rows[lane] + first, static_cast<size_t>(count) * sizeof(float));
  }
  swap_squares<float, kLanes / 2>(units);
  if constexpr (kWhole)
    unrolled<kLanes>([&](auto i) GNAS_INLINED { sums = Floats<float>::add(sums, units[i], user[first + i]); });
  else
    for (int64_t i = 0; i < count; ++i) sums = Floats<float>::add(sums, units[i], user[first + i]);
}

// Scores in float32, summed as a tile does, of the items that wait; in ascending order, as they came.
__attribute__((noinline)) void settle(const Work<Screened>& work, int64_t row) {
  constexpr int kLanes = Lanes<float>::count;
  const TopkScoresArgs& a = work.a;
  Waiting& waiting = work.waiting[row];
  if (waiting.count == 0) return;
  State<float>& state = work.states[row];
  const float* user = static_cast<const float*>(a.users) + (work.first_user + row) * a.width;
  const float* rows[kLanes];
  for (int lane = 0; lane < kLanes; ++lane)  // lanes without an item are not looked at
    rows[lane] = static_cast<const float*>(a.items) + waiting.items[lane < waiting.count ? lane : 0] * a.width;
  Vector<float> sums{};
  int64_t f = 0;
  for (; f + kLanes <= a.width; f += kLanes) add_features<true>(rows, user, f, kLanes, sums);
  if (f < a.width) add_features<false>(rows, user, f, a.width - f, sums);
  if (a.bias != nullptr) {
    const float* bias = static_cast<const float*>(a.bias) + (work.first_user + row) * a.bias_row;
    for (int lane = 0; lane < waiting.count; ++lane) sums[lane] += bias[waiting.items[lane] * a.bias_item];
  }
  for (int lane = 0; lane < waiting.count; ++lane) {
    const int64_t item = waiting.items[lane];
    if (sums[lane] != sums[lane]) state.has_nan = true;  // by its bias: rows that have codes are finite
    if (!(sums[lane] > state.bar) || excluded(a, work.first_user + row, item)) continue;
    take(a, state, key_of(sums[lane], item), work.unscaled());
  }
  waiting.count = 0;
}
#endif

}  // namespace
}  // namespace gnas::GNAS_ISA
