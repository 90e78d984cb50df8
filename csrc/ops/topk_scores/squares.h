// Registers whose lanes change places: what lies in rows is wanted in columns.
//
// Included by topk_scores_simd.cpp only, hence the namespaces.
#pragma once

#include "core/vector.h"

namespace gnas::GNAS_ISA {
namespace {

// One round of a transposition: squares of kApart lanes beside the diagonal change places.
template <class S, int kApart>
GNAS_INLINE void swap_squares(IntVector<S> (&v)[Lanes<S>::count]) {
  constexpr int kLanes = Lanes<S>::count;
  IntVector<S> upper{};
  IntVector<S> lower{};
  for (int lane = 0; lane < kLanes; ++lane) {
    upper[lane] = (lane & kApart) == 0 ? lane : kLanes + lane - kApart;
    lower[lane] = (lane & kApart) == 0 ? lane + kApart : kLanes + lane;
  }
  unrolled<kLanes>([&](auto i) GNAS_INLINED {
    if constexpr ((i & kApart) == 0) {
      const IntVector<S> first = v[i];
      v[i] = __builtin_shuffle(first, v[i + kApart], upper);
      v[i + kApart] = __builtin_shuffle(first, v[i + kApart], lower);
    }
  });
  if constexpr (kApart > 1) swap_squares<S, kApart / 2>(v);
}

}  // namespace
}  // namespace gnas::GNAS_ISA
