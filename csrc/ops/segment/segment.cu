#include "core/device.cuh"
#include "ops/segment/segment.h"

namespace gnas {
namespace {

using namespace cuda;

// A warp takes a segment and a tile of columns; lanes stand beside each other in the columns, so whole lines are read.
// Sums run in the order of the entries, without atomics, so they repeat exactly.
constexpr int kColumnsPerLane = 4;
constexpr int kTile = kWarp * kColumnsPerLane;

template <class T, class I, bool extreme>
__global__ void segment_kernel(SegmentArgs a) {
  using A = Accumulator<T>;
  const I* indptr = static_cast<const I*>(a.indptr);
  const T* src = static_cast<const T*>(a.src);
  const A sign = a.reduce == Reduce::min ? A{-1} : A{1};
  const int64_t column = static_cast<int64_t>(blockIdx.y) * kTile + lane();

  for (int64_t row = first_row(); row < a.rows; row += row_stride()) {
    const int64_t begin = indptr[row];
    const int64_t end = indptr[row + 1];
    require(begin >= 0 && begin <= end && end <= a.nnz);
    A value[kColumnsPerLane] = {};
    int64_t winner[kColumnsPerLane] = {-1, -1, -1, -1};
#pragma unroll 4
    for (int64_t e = begin; e < end; ++e) {
#pragma unroll
      for (int c = 0; c < kColumnsPerLane; ++c) {
        const int64_t f = column + c * kWarp;
        if (f >= a.width) continue;
        const A next = widen(src[e * a.width + f]);
        if constexpr (extreme) {
          // The first of equal values wins; NaN wins over all.
          const bool leads = value[c] == value[c] && (sign * next > sign * value[c] || next != next);
          if (winner[c] < 0 || leads) {
            value[c] = next;
            winner[c] = e;
          }
        } else {
          value[c] += next;
        }
      }
    }
    const A scale = a.reduce == Reduce::mean && end - begin > 1 ? A{1} / static_cast<A>(end - begin) : A{1};
#pragma unroll
    for (int c = 0; c < kColumnsPerLane; ++c) {
      const int64_t f = column + c * kWarp;
      if (f >= a.width) continue;
      narrow(scale * value[c], static_cast<T*>(a.out) + row * a.width + f);
      if (extreme && a.arg != nullptr) static_cast<I*>(a.arg)[row * a.width + f] = static_cast<I>(winner[c]);
    }
  }
}

template <class T, class I>
__global__ void gather_segments_kernel(GatherSegmentsArgs a) {
  const I* indptr = static_cast<const I*>(a.indptr);
  const T* src = static_cast<const T*>(a.src);
  const I* select = static_cast<const I*>(a.select);
  T* out = static_cast<T*>(a.out);
  for (int64_t row = first_row(); row < a.rows; row += row_stride()) {
    const int64_t begin = indptr[row];
    const int64_t end = indptr[row + 1];
    require(begin >= 0 && begin <= end && end <= a.nnz);
    for (int64_t f = lane(); f < a.width; f += kWarp) {
      const T value = src[row * a.width + f];
      if (select == nullptr) {
        for (int64_t e = begin; e < end; ++e) out[e * a.width + f] = value;
      } else {
        T zero;
        narrow(Accumulator<T>{0}, &zero);
        const int64_t chosen = select[row * a.width + f];
        for (int64_t e = begin; e < end; ++e) out[e * a.width + f] = e == chosen ? value : zero;
      }
    }
  }
}

}  // namespace

int segment_cuda(const SegmentArgs& a, void* stream) {
  if (a.rows == 0 || a.width == 0) return cudaSuccess;
  const dim3 grid(row_blocks(a.rows), static_cast<unsigned>((a.width + kTile - 1) / kTile));
  const dim3 block(kWarp * kWarpsPerBlock);
  const auto on = static_cast<cudaStream_t>(stream);
  with_types(a.dtype, a.wide_index, [&](auto element, auto index) {
    using T = decltype(element);
    using I = decltype(index);
    if (a.reduce == Reduce::max || a.reduce == Reduce::min)
      launch(segment_kernel<T, I, true>, grid, block, on, a);
    else
      launch(segment_kernel<T, I, false>, grid, block, on, a);
  });
  return cudaGetLastError();
}

int gather_segments_cuda(const GatherSegmentsArgs& a, void* stream) {
  if (a.nnz == 0 || a.width == 0) return cudaSuccess;
  with_types(a.dtype, a.wide_index, [&](auto element, auto index) {
    launch(gather_segments_kernel<decltype(element), decltype(index)>, row_blocks(a.rows), kWarp * kWarpsPerBlock,
           static_cast<cudaStream_t>(stream), a);
  });
  return cudaGetLastError();
}

}  // namespace gnas
