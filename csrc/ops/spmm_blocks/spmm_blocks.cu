#include "core/device.cuh"
#include "ops/spmm_blocks/spmm_blocks.h"

namespace gnas {
namespace {

using namespace cuda;

// As spmm: a warp a row and a tile of columns, edges 32 at a time. Half a warp reads one block, so a dead block is
// skipped by all the lanes that would read it. Sums run in edge order, without atomics: they repeat exactly.
constexpr int kColumnsPerLane = 4;
constexpr int kTile = kWarp * kColumnsPerLane;

template <class T, class I>
__global__ void spmm_blocks_kernel(SpmmBlocksCall a) {
  using A = Accumulator<T>;
  const I* indptr = static_cast<const I*>(a.indptr);
  const I* indices = static_cast<const I*>(a.indices);
  const I* edge = static_cast<const I*>(a.edge);
  const I* row_begin = static_cast<const I*>(a.begin);
  const T* weight = static_cast<const T*>(a.weight);
  const T* x = static_cast<const T*>(a.x);
  const int64_t column = static_cast<int64_t>(blockIdx.y) * kTile + lane();

  for (int64_t row = first_row(); row < a.rows; row += row_stride()) {
    const int64_t begin = indptr[row];
    const int64_t end = indptr[row + 1];
    require(begin >= 0 && begin <= end && end <= a.nnz);
    A value[kColumnsPerLane] = {};
    for (int64_t batch = begin; batch < end; batch += kWarp) {
      const int64_t mine = batch + lane();
      int64_t my_source = 0;
      int64_t my_group = 0;
      A my_weight = 1;
      if (mine < end) {
        my_source = indices[mine];
        const int64_t place = edge == nullptr ? mine : static_cast<int64_t>(edge[mine]);
        require(static_cast<uint64_t>(my_source) < static_cast<uint64_t>(a.cols) &&
                static_cast<uint64_t>(place) < static_cast<uint64_t>(a.nnz));
        if (a.group != nullptr) my_group = a.group[a.by_row ? row : my_source];
        require(my_group < a.groups);
        if (weight != nullptr) my_weight = widen(weight[place]);
      }
      const int count = static_cast<int>(end - batch < kWarp ? end - batch : kWarp);
      for (int k = 0; k < count; ++k) {
        const int64_t source = __shfl_sync(0xffffffffu, my_source, k);
        const int64_t group = __shfl_sync(0xffffffffu, my_group, k);
        const A w = __shfl_sync(0xffffffffu, my_weight, k);
#pragma unroll
        for (int c = 0; c < kColumnsPerLane; ++c) {
          const int64_t f = column + c * kWarp;
          if (f >= a.width) continue;
          const int64_t entry = group * a.block_count + f / kBlockColumns;
          if (row_begin == nullptr) {
            if (a.blocks[entry]) value[c] += w * widen(x[source * a.width + f]);
          } else if (a.rank[entry] >= 0) {
            const int64_t block = static_cast<int64_t>(row_begin[source]) + a.rank[entry];
            require(static_cast<uint64_t>(block) < static_cast<uint64_t>(a.stored));
            value[c] += w * widen(x[block * kBlockColumns + f % kBlockColumns]);
          }
        }
      }
    }
    const A scale = a.mean && end - begin > 1 ? A{1} / static_cast<A>(end - begin) : A{1};
#pragma unroll
    for (int c = 0; c < kColumnsPerLane; ++c) {
      const int64_t f = column + c * kWarp;
      if (f < a.width) narrow(scale * value[c], static_cast<T*>(a.out) + row * a.width + f);
    }
  }
}

}  // namespace

int spmm_blocks_cuda(const SpmmBlocksCall& a, void* stream) {
  if (a.rows == 0 || a.width == 0) return cudaSuccess;
  const dim3 grid(row_blocks(a.rows), static_cast<unsigned>((a.width + kTile - 1) / kTile));
  const dim3 block(kWarp * kWarpsPerBlock);
  const auto on = static_cast<cudaStream_t>(stream);
  with_types(a.dtype, a.wide_index, [&](auto element, auto index) {
    launch(spmm_blocks_kernel<decltype(element), decltype(index)>, grid, block, on, a);
  });
  return cudaGetLastError();
}

}  // namespace gnas
