#include "core/device.cuh"
#include "ops/spmm_int32/spmm_int32.h"

namespace gnas {
namespace {

using namespace cuda;

constexpr unsigned kAll = 0xffffffffu;

// A warp takes a row; a lane takes a column of each 32, four edges at a time: one dp4a multiplies their codes with
// their weights. Rows that may not fit are reported and left alone.
template <class I>
__global__ void spmm_int32_kernel(SpmmInt32Args a) {
  const I* indptr = static_cast<const I*>(a.indptr);
  const I* indices = static_cast<const I*>(a.indices);
  for (int64_t row = first_row(); row < a.rows; row += row_stride()) {
    const int64_t begin = indptr[row];
    const int64_t end = indptr[row + 1];
    require(begin >= 0 && begin <= end && end <= a.nnz);
    if (!fits_int32(indptr, a.weight, row)) {
      if (lane() == 0) a.overflow->edge = row;
      continue;
    }
    // All lanes take each tile of columns, those beyond the last one too: they share what they load.
    for (int64_t tile = 0; tile < a.width; tile += kWarp) {
      const int64_t column = tile + lane();
      int32_t sum = 0;
      for (int64_t batch = begin; batch < end; batch += kWarp) {
        const int64_t mine = batch + lane();
        int64_t my_row = 0;
        int my_weight = 0;
        if (mine < end) {
          const int64_t source = static_cast<int64_t>(indices[mine]);
          require(static_cast<uint64_t>(source) < static_cast<uint64_t>(a.cols));
          my_row = source * a.stride;
          my_weight = a.weight[mine];
        }
        const int count = static_cast<int>(end - batch < kWarp ? end - batch : kWarp);
        for (int k = 0; k < count; k += 4) {
          // Edges beyond the last have the weight 0 and read row 0, which is there.
          uint32_t codes = 0;
          uint32_t weights = 0;
#pragma unroll
          for (int j = 0; j < 4; ++j) {
            const int64_t source = __shfl_sync(kAll, my_row, k + j);
            const int w = __shfl_sync(kAll, my_weight, k + j);
            const int8_t code = column < a.width ? a.codes[source + column] : int8_t{0};
            codes |= static_cast<uint32_t>(static_cast<uint8_t>(code)) << (8 * j);
            weights |= static_cast<uint32_t>(static_cast<uint8_t>(w)) << (8 * j);
          }
          sum = __dp4a(static_cast<int>(codes), static_cast<int>(weights), sum);
        }
      }
      if (column < a.width) a.out[row * a.out_stride + column] = sum;
    }
  }
}

}  // namespace

int spmm_int32_cuda(const SpmmInt32Args& a, void* stream) {
  if (a.rows == 0) return cudaSuccess;
  const auto on = static_cast<cudaStream_t>(stream);
  const unsigned blocks = row_blocks(a.rows);
  if (a.wide_index)
    launch(spmm_int32_kernel<int64_t>, blocks, kWarp * kWarpsPerBlock, on, a);
  else
    launch(spmm_int32_kernel<int32_t>, blocks, kWarp * kWarpsPerBlock, on, a);
  return cudaGetLastError();
}

}  // namespace gnas
