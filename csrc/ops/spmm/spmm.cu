#include "core/device.cuh"
#include "ops/spmm/spmm.h"

namespace gnas {
namespace {

using namespace cuda;

// A warp takes a row and a tile of columns; lanes stand beside each other in the columns, so each gathered row is
// read in whole lines. Edges are taken 32 at a time: a lane loads one index and weight, all lanes share them. Sums
// run in edge order, without atomics, so they repeat exactly.
constexpr int kColumnsPerLane = 4;
constexpr int kTile = kWarp * kColumnsPerLane;

enum class Mode { sum, extreme, select };

template <class T, class I, Mode mode>
__global__ void spmm_kernel(SpmmArgs a) {
  using A = Accumulator<T>;
  const I* indptr = static_cast<const I*>(a.indptr);
  const I* indices = static_cast<const I*>(a.indices);
  const I* edge = static_cast<const I*>(a.edge);
  const T* weight = static_cast<const T*>(a.weight);
  const T* x = static_cast<const T*>(a.x);
  const I* select = static_cast<const I*>(a.select);
  const int64_t dim = a.heads > 1 ? a.width / a.heads : a.width;
  const A sign = a.reduce == Reduce::min ? A{-1} : A{1};
  const int64_t column = static_cast<int64_t>(blockIdx.y) * kTile + lane();

  for (int64_t row = first_row(); row < a.rows; row += row_stride()) {
    const int64_t begin = indptr[row];
    const int64_t end = indptr[row + 1];
    require(begin >= 0 && begin <= end && end <= a.nnz);
    A value[kColumnsPerLane] = {};
    int64_t winner[kColumnsPerLane] = {-1, -1, -1, -1};
    for (int64_t batch = begin; batch < end; batch += kWarp) {
      const int64_t mine = batch + lane();
      int64_t my_column = 0;
      int64_t my_place = 0;
      if (mine < end) {
        my_column = indices[mine];
        my_place = edge == nullptr ? mine : static_cast<int64_t>(edge[mine]);
        require(static_cast<uint64_t>(my_column) < static_cast<uint64_t>(a.cols) &&
                static_cast<uint64_t>(my_place) < static_cast<uint64_t>(a.nnz));
      }
      const int count = static_cast<int>(end - batch < kWarp ? end - batch : kWarp);
      for (int k = 0; k < count; ++k) {
        const int64_t source = __shfl_sync(0xffffffffu, my_column, k) * a.width;
        const int64_t place = __shfl_sync(0xffffffffu, my_place, k);
#pragma unroll
        for (int c = 0; c < kColumnsPerLane; ++c) {
          const int64_t f = column + c * kWarp;
          if (f >= a.width) continue;
          // Neighbouring lanes read the same weight, or those of neighbouring heads: one or two lines a warp.
          const A w = weight == nullptr ? A{1} : static_cast<A>(widen(weight[place * a.heads + f / dim]));
          const A product = w * widen(x[source + f]);
          if constexpr (mode == Mode::sum) {
            value[c] += product;
          } else if constexpr (mode == Mode::select) {
            if (static_cast<int64_t>(select[source + f]) == place) value[c] += product;
          } else {
            // The first of equal values wins; NaN wins over all.
            const bool leads = value[c] == value[c] && (sign * product > sign * value[c] || product != product);
            if (winner[c] < 0 || leads) {
              value[c] = product;
              winner[c] = batch + k;
            }
          }
        }
      }
    }
    const A scale = a.reduce == Reduce::mean && end - begin > 1 ? A{1} / static_cast<A>(end - begin) : A{1};
#pragma unroll
    for (int c = 0; c < kColumnsPerLane; ++c) {
      const int64_t f = column + c * kWarp;
      if (f >= a.width) continue;
      const int64_t place = row * a.width + f;
      const A result = scale * value[c];
      if (a.out != nullptr) narrow(result, static_cast<T*>(a.out) + place);
      if (a.hop_weight != nullptr) {
        const A* hop_weight = static_cast<const A*>(a.hop_weight);
        const A before = a.hop == 1 ? hop_weight[0] * static_cast<A>(widen(static_cast<const T*>(a.first)[place]))
                                    : static_cast<const A*>(a.sum)[place];
        const A sum = before + hop_weight[a.hop] * result;
        if (a.final != nullptr)
          narrow(sum, static_cast<T*>(a.final) + place);
        else
          static_cast<A*>(a.sum)[place] = sum;
      }
      if (mode == Mode::extreme && a.arg != nullptr)
        static_cast<I*>(a.arg)[row * a.width + f] = static_cast<I>(winner[c]);
    }
  }
}

}  // namespace

int spmm_cuda(const SpmmArgs& a, void* stream) {
  if (a.rows == 0 || a.width == 0) return cudaSuccess;
  const dim3 grid(row_blocks(a.rows), static_cast<unsigned>((a.width + kTile - 1) / kTile));
  const dim3 block(kWarp * kWarpsPerBlock);
  const auto on = static_cast<cudaStream_t>(stream);
  with_types(a.dtype, a.wide_index, [&](auto element, auto index) {
    using T = decltype(element);
    using I = decltype(index);
    if (a.select != nullptr)
      launch(spmm_kernel<T, I, Mode::select>, grid, block, on, a);
    else if (a.reduce == Reduce::max || a.reduce == Reduce::min)
      launch(spmm_kernel<T, I, Mode::extreme>, grid, block, on, a);
    else
      launch(spmm_kernel<T, I, Mode::sum>, grid, block, on, a);
  });
  return cudaGetLastError();
}

}  // namespace gnas
