// The order that max and min go by on CUDA.
#pragma once

#include "core/device.cuh"

namespace gnas::cuda {

// Does a candidate come before the best so far? The first of equal values wins; NaN wins over all; places below 0 are
// none. `sign` is -1 for min.
template <class A, class I>
__device__ inline bool leads(A sign, A value, I at, A best, I best_at) {
  if (at < 0 || best_at < 0) return at >= 0;
  const bool nan = value != value;
  if (nan != (best != best)) return nan;
  if (!nan && value != best) return sign * value > sign * best;
  return at < best_at;
}

}  // namespace gnas::cuda
