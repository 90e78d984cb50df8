// What is added to the scores of a panel of items, user by user.
//
// Included by topk_scores_simd.cpp only, hence the namespaces.
#pragma once

#include "ops/topk_scores/settle.h"
#include "ops/topk_scores/squares.h"

namespace gnas::GNAS_ISA {
namespace {

// The bias of the first `count` users of a block and of kItems items from place `first` on, [count, kItems]. Where
// users stand side by side in memory, as where a matrix of items by users was made, squares are transposed.
template <int kItems, class M>
void pack_bias(const Work<M>& work, int64_t first, int64_t count) {
  using S = typename M::Score;
  constexpr int kLanes = Lanes<S>::count;
  const TopkScoresArgs& a = work.a;
  const S* from = static_cast<const S*>(a.bias) + work.first_user * a.bias_row;
  const S* items[kItems];
  for (int lane = 0; lane < kItems; ++lane) {
    const int64_t inside = first + lane < work.end_item ? first + lane : work.end_item - 1;
    items[lane] = from + (a.allow != nullptr ? a.allow[inside] : inside) * a.bias_item;
  }
  int64_t row = 0;
  if (a.bias_item == 1 && a.allow == nullptr && first + kItems <= work.end_item) {
    for (; row < count; ++row)
      __builtin_memcpy(work.bias + row * kItems, items[0] + row * a.bias_row, kItems * sizeof(S));
  } else if (a.bias_row == 1) {
    for (; row + kLanes <= count; row += kLanes)
      for (int begin = 0; begin < kItems; begin += kLanes) {
        IntVector<S> square[kLanes];
        unrolled<kLanes>([&](auto lane) GNAS_INLINED {
          __builtin_memcpy(&square[lane], items[begin + lane] + row, sizeof square[lane]);
        });
        swap_squares<S, kLanes / 2>(square);
        unrolled<kLanes>([&](auto lane) GNAS_INLINED {
          __builtin_memcpy(work.bias + (row + lane) * kItems + begin, &square[lane], sizeof square[lane]);
        });
      }
  }
  for (; row < count; ++row)
    for (int lane = 0; lane < kItems; ++lane) work.bias[row * kItems + lane] = items[lane][row * a.bias_row];
}

}  // namespace
}  // namespace gnas::GNAS_ISA
