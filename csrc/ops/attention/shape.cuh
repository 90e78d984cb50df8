// What all kernels of attention are told beside their arguments, and the activation of their scores.
#pragma once

#include "core/heads.cuh"
#include "core/hubs.cuh"
#include "ops/attention/attention.h"

namespace gnas {
namespace {

using namespace cuda;

constexpr int kThreads = kWarp * kWarpsPerBlock;
constexpr int64_t kMostTiles = 65535;  // of a grid's second dimension, and of its third

struct Shape {
  Hubs hubs;
  void* partial;   // of pieces: [pieces, heads * dim_v], accumulator type
  void* partial2;  // the same; forward: [pieces, 2, heads], maximum and sum; backward: [pieces, heads * dim]
  unsigned front;  // blocks that take pieces
  HeadShape heads;
  int64_t tile;  // where no packs fit: columns of a warp
};

// leaky_relu where additive.
template <class A>
__device__ inline A activate(const AttentionArgs& a, A x) {
  return a.additive && !(x > A{0}) ? static_cast<A>(a.slope) * x : x;
}
template <class A>
__device__ inline A through_activation(const AttentionArgs& a, A x, A down) {
  return a.additive && !(x > A{0}) ? static_cast<A>(a.slope) * down : down;
}

}  // namespace
}  // namespace gnas
