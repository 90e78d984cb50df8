// The online softmax: what it has taken in can be scaled to a new maximum, and added to what another one took in.
#pragma once

#include <cmath>

#include "core/pack.cuh"

namespace gnas {
namespace {

using namespace cuda;

// What a softmax has taken in: its maximum, and the sums of exp(score - maximum) and of the same times a row.
template <class A, int kCount>
struct Softmax {
  A maximum = -static_cast<A>(INFINITY);
  A sum = 0;
  Pack<A, kCount> value = {};

  __device__ bool low() const { return maximum == -static_cast<A>(INFINITY); }
  __device__ void scale(A by) {
    sum *= by;
#pragma unroll
    for (int c = 0; c < kCount; ++c) value.at[c] *= by;
  }
  // Returns what to subtract from scores before exp.
  __device__ A raise(A score) {
    const A higher = score > maximum ? score : maximum;
    const A floor = higher == -static_cast<A>(INFINITY) ? A{0} : higher;
    scale(exp(maximum - floor));
    maximum = higher;
    return floor;
  }
  __device__ void add(const Softmax& other) {
    const A higher = other.maximum > maximum ? other.maximum : maximum;
    // At a maximum of -inf there are zeros, or NaN.
    scale(low() ? A{1} : exp(maximum - higher));
    const A theirs = other.low() ? A{1} : exp(other.maximum - higher);
    sum += other.sum * theirs;
#pragma unroll
    for (int c = 0; c < kCount; ++c) value.at[c] += other.value.at[c] * theirs;
    maximum = higher;
  }
  __device__ void add_turns(int lanes) {
    for (int apart = lanes; apart < kWarp; apart *= 2) {
      Softmax other{};
      other.maximum = __shfl_xor_sync(kAllLanes, maximum, apart);
      other.sum = __shfl_xor_sync(kAllLanes, sum, apart);
#pragma unroll
      for (int c = 0; c < kCount; ++c) other.value.at[c] = __shfl_xor_sync(kAllLanes, value.at[c], apart);
      add(other);
    }
  }
  __device__ A inverse() const { return sum == A{0} ? A{0} : A{1} / sum; }
  __device__ A log_sum() const { return sum == A{0} ? -static_cast<A>(INFINITY) : maximum + log(sum); }
};

}  // namespace
}  // namespace gnas
