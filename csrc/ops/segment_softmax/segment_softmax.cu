#include "core/device.cuh"
#include "ops/segment_softmax/segment_softmax.h"

namespace gnas {
namespace {

using namespace cuda;

// A warp takes a row. Heads stand beside each other in the lanes, as in memory, and what lanes are left take further
// edges: with 4 heads a warp reads 8 edges at once. Each head's lanes are folded in a fixed order, without atomics.
template <class T, class I>
__global__ void segment_softmax_kernel(SegmentSoftmaxArgs a, int tile) {
  using A = Accumulator<T>;
  const I* indptr = static_cast<const I*>(a.indptr);
  const T* x = static_cast<const T*>(a.x);
  const T* grad = static_cast<const T*>(a.grad);
  T* out = static_cast<T*>(a.out);
  const A infinity = static_cast<A>(INFINITY);
  const int64_t head = static_cast<int64_t>(blockIdx.y) * tile + lane() % tile;
  const int first = lane() / tile;
  const int step = kWarp / tile;
  const bool mine = head < a.heads;
  for (int64_t row = first_row(); row < a.rows; row += row_stride()) {
    const int64_t begin = indptr[row];
    const int64_t end = indptr[row + 1];
    require(begin >= 0 && begin <= end && end <= a.nnz);
    A maximum = -infinity;
    A sum = 0;
    if (mine) {
      for (int64_t e = begin + first; e < end; e += step) {
        const int64_t at = e * a.heads + head;
        const A value = widen(x[at]);
        if (grad != nullptr) {
          sum += value * widen(grad[at]);
        } else if (value > maximum) {
          // One read for both: what was summed so far is scaled to the new maximum. (1, and NaN for an infinite value.)
          sum = sum * exp(maximum - value) + exp(value - value);
          maximum = value;
        } else if (value != -infinity) {
          sum += exp(value - maximum);
        }
      }
    }
    for (int apart = tile; apart < kWarp; apart *= 2) {
      const A other_maximum = __shfl_xor_sync(0xffffffffu, maximum, apart);
      const A other_sum = __shfl_xor_sync(0xffffffffu, sum, apart);
      if (grad != nullptr) {
        sum += other_sum;
      } else {
        const A higher = other_maximum > maximum ? other_maximum : maximum;
        const A own = maximum == -infinity ? sum : sum * exp(maximum - higher);
        const A other = other_maximum == -infinity ? other_sum : other_sum * exp(other_maximum - higher);
        sum = own + other;
        maximum = higher;
      }
    }
    if (!mine) continue;
    const A floor = maximum == -infinity ? A{0} : maximum;
    const A scale = sum == A{0} ? A{0} : A{1} / sum;
    for (int64_t e = begin + first; e < end; e += step) {
      const int64_t at = e * a.heads + head;
      const A value = widen(x[at]);
      narrow(grad != nullptr ? value * (widen(grad[at]) - sum) : exp(value - floor) * scale, out + at);
    }
  }
}

}  // namespace

int segment_softmax_cuda(const SegmentSoftmaxArgs& a, void* stream) {
  if (a.rows == 0 || a.nnz == 0 || a.heads == 0) return cudaSuccess;
  int tile = 1;
  while (tile < a.heads && tile < kWarp) tile *= 2;
  const dim3 grid(row_blocks(a.rows), static_cast<unsigned>((a.heads + tile - 1) / tile));
  with_types(a.dtype, a.wide_index, [&](auto element, auto index) {
    launch(segment_softmax_kernel<decltype(element), decltype(index)>, grid, kWarp * kWarpsPerBlock,
           static_cast<cudaStream_t>(stream), a, tile);
  });
  return cudaGetLastError();
}

}  // namespace gnas
