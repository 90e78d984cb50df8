// How the lanes of a warp stand on rows of several heads: a group of them beside each other on each head, a pack of its
// columns each, and as many heads as there is room for. Lanes that are left take other edges of the same row, by turns.
#pragma once

#include "core/pack.cuh"

namespace gnas::cuda {

// Both are powers of two.
struct HeadShape {
  int group;  // lanes on a head
  int lanes;  // on all heads that a warp takes at once

  int64_t tiles(int64_t heads) const { return (heads + lanes / group - 1) / (lanes / group); }
};

// For heads of so many packs.
inline HeadShape head_shape(int64_t heads, int64_t packs) {
  HeadShape shape{lanes_of(packs), 0};
  shape.lanes = shape.group;
  while (shape.lanes < kWarp && shape.lanes / shape.group < heads) shape.lanes *= 2;
  return shape;
}

// This lane's place; blockIdx.y counts the tiles of heads.
struct HeadLane {
  __device__ HeadLane(HeadShape shape, int64_t heads)
      : group(shape.group),
        lanes(shape.lanes),
        own(lane() % shape.group),
        turn(lane() / shape.lanes),
        turns(kWarp / shape.lanes),
        head(static_cast<int>(blockIdx.y) * (shape.lanes / shape.group) + lane() % shape.lanes / shape.group),
        inside(head < heads) {}

  int group;
  int lanes;
  int own;   // of the lanes on its head
  int turn;  // which edges it takes
  int turns;
  int head;
  bool inside;  // is there such a head?
};

// Every lane gets the sums over its group. All lanes of the warp must come.
template <int kCount, class A>
__device__ inline void sum_in_group(A (&value)[kCount], int group) {
  for (int apart = 1; apart < group; apart *= 2) {
#pragma unroll
    for (int u = 0; u < kCount; ++u) value[u] += __shfl_xor_sync(kAllLanes, value[u], apart);
  }
}

// The same over the turns.
template <int kCount, class A>
__device__ inline void sum_over_turns(A (&value)[kCount], int lanes) {
  for (int apart = lanes; apart < kWarp; apart *= 2) {
#pragma unroll
    for (int u = 0; u < kCount; ++u) value[u] += __shfl_xor_sync(kAllLanes, value[u], apart);
  }
}

template <int kCount, class T, class A>
__device__ inline A dot(const Pack<A, kCount>& one, const Pack<T, kCount>& other) {
  A sum = 0;
#pragma unroll
  for (int c = 0; c < kCount; ++c) sum += one.at[c] * static_cast<A>(widen(other.at[c]));
  return sum;
}

template <int kCount, class T, class A>
__device__ inline void add_scaled(Pack<A, kCount>& to, A scale, const Pack<T, kCount>& from) {
#pragma unroll
  for (int c = 0; c < kCount; ++c) to.at[c] += scale * static_cast<A>(widen(from.at[c]));
}

// Zeros where there is nothing to read.
template <int kCount, class T>
__device__ inline Pack<T, kCount> load_if(bool there, const T* from) {
  Pack<T, kCount> pack;
  static_assert(sizeof(pack) == kPackBytes, "one read");
  *reinterpret_cast<uint4*>(&pack) = there ? __ldg(reinterpret_cast<const uint4*>(from)) : make_uint4(0, 0, 0, 0);
  return pack;
}

template <int kCount, class T>
__device__ inline Pack<Accumulator<T>, kCount> widen(const Pack<T, kCount>& pack) {
  Pack<Accumulator<T>, kCount> wide;
#pragma unroll
  for (int c = 0; c < kCount; ++c) wide.at[c] = widen(pack.at[c]);
  return wide;
}

}  // namespace gnas::cuda
