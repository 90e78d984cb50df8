#include "core/device.cuh"
#include "ops/sample_neighbors/sample_neighbors.h"

namespace gnas {
namespace {

using namespace cuda;

// A warp takes a row: the draws follow one another, so its first lane makes them; all lanes copy.
template <class I>
__global__ void sample_kernel(SampleArgs s) {
  const I* indices = static_cast<const I*>(s.indices);
  for (int64_t position = first_row(); position < s.count; position += row_stride()) {
    const SampleRow row = sample_row<I>(s, position);
    require(row.right);
    I* edge = static_cast<I*>(s.out_edge) + row.place;
    I* out = static_cast<I*>(s.out_indices) + row.place;
    const bool whole = !s.replace && row.count == row.size;
    if (!whole && lane() == 0) draw_entries(s, position, row, edge);
    __syncwarp();
    for (int64_t n = lane(); n < row.count; n += kWarp) {
      const I e = whole ? static_cast<I>(row.begin + n) : edge[n];
      edge[n] = e;
      out[n] = indices[e];
    }
  }
}

}  // namespace

int sample_neighbors_cuda(const SampleArgs& s, void* stream) {
  if (s.count == 0) return cudaSuccess;
  const auto on = static_cast<cudaStream_t>(stream);
  const unsigned blocks = row_blocks(s.count);
  if (s.wide_index)
    launch(sample_kernel<int64_t>, blocks, kWarp * kWarpsPerBlock, on, s);
  else
    launch(sample_kernel<int32_t>, blocks, kWarp * kWarpsPerBlock, on, s);
  return cudaGetLastError();
}

}  // namespace gnas
