// The softmax of a hub: each of its pieces leaves what it took in, and those are added in their order.
#pragma once

#include "core/hub_sums.cuh"
#include "ops/attention/shape.cuh"
#include "ops/attention/softmax.cuh"

namespace gnas {
namespace {

template <class A>
__device__ inline void put_state(const AttentionArgs& a, const Shape& shape, int64_t piece, int64_t head, A maximum,
                                 A sum) {
  A* state = static_cast<A*>(shape.partial2) + piece * 2 * a.heads + head;
  state[0] = maximum;
  state[a.heads] = sum;
}

template <class T>
__global__ void merge_rows_kernel(AttentionArgs a, Shape shape) {
  using A = Accumulator<T>;
  using S = Softmax<A, 1>;
  const int64_t dim = a.dim_v > 0 ? a.dim_v : 1;
  const int64_t column = column_of_lane();
  const bool inside = column < a.heads * dim;
  const int64_t head = column / dim;
  const auto of_piece = [&](int64_t piece) {
    const A* state = static_cast<const A*>(shape.partial2) + piece * 2 * a.heads + head;
    S found;
    found.maximum = state[0];
    found.sum = state[a.heads];
    if (a.dim_v > 0) found.value.at[0] = static_cast<const A*>(shape.partial)[piece * a.heads * dim + column];
    return found;
  };
  for (int64_t number = blockIdx.x; number < shape.hubs.hubs(); number += gridDim.x) {
    const Hub hub = shape.hubs.hub[number];
    const S softmax = fold_pieces(hub, inside, S{}, of_piece, [](S& all, const S& other) { all.add(other); });
    if (!first_warp() || !inside) continue;
    if (a.dim_v > 0)
      narrow(softmax.value.at[0] * softmax.inverse(), static_cast<T*>(a.out) + hub.row * a.heads * dim + column);
    if (column % dim == 0) static_cast<A*>(a.lse)[hub.row * a.heads + head] = softmax.log_sum();
  }
}

template <class T>
int merge_rows(const AttentionArgs& a, const Shape& shape, cudaStream_t stream) {
  return launch_hubs(merge_rows_kernel<T>, shape.hubs, a.heads * (a.dim_v > 0 ? a.dim_v : 1), stream, a, shape);
}

}  // namespace
}  // namespace gnas
