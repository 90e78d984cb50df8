// Dot products: lanes stand on row i of a, too, and on those of the table; an edge is theirs, and those left take other
// edges. A hub's pieces have nothing to be put together.
#include "core/share.cuh"
#include "ops/spmm_quantized/lanes.cuh"

namespace gnas {
namespace {

constexpr int64_t kWidest = int64_t{1} << 27;  // columns of a row are counted in int

template <int kBits, bool kWhole, class I>
__global__ void __launch_bounds__(kThreads, 4) sddmm_quantized_kernel(SddmmQuantizedArgs a, Shape shape) {
  constexpr int kRows = kBits == 8 ? 4 : 8;  // under way, of a lane
  const int width = static_cast<int>(a.table.width);
  const auto take = [&](const Edges<I>& edges) {
    const I* indices = static_cast<const I*>(a.indices) + edges.begin;
    for (int tile = 0; tile < shape.tiles; ++tile) {
      const Lanes lanes = lanes_in<kBits>(shape, tile, width);
      const uint8_t* first = first_codes(a.table, lanes);
      float left[kColumns];
      float left_sum = 0;
#pragma unroll
      for (int c = 0; c < kColumns; ++c) {
        left[c] = lanes.column + c < width ? a.a[edges.row * width + lanes.column + c] : 0.0f;
        left_sum += left[c];
      }
      for (int apart = shape.lanes / 2; apart > 0; apart /= 2) left_sum += __shfl_xor_sync(kAllLanes, left_sum, apart);
      I column = edges.column;
      for (int batch = 0; batch < edges.count; batch += kWarp) {
        const int count = edges.count - batch < kWarp ? edges.count - batch : kWarp;
        const I my_row = column;
        column = column_of(indices, batch + kWarp, edges.count);
        float my_scale = 0;
        float my_zero = 0;
        I my_place = 0;
        if (lane() < count) {
          require(static_cast<uint64_t>(my_row) < static_cast<uint64_t>(a.cols));
          my_scale = a.table.scale[my_row];
          if (a.table.zero != nullptr) my_zero = a.table.zero[my_row];
          my_place =
              static_cast<I>(place_of(static_cast<const I*>(a.edge), int64_t{edges.begin} + batch + lane(), a.nnz));
        }
        for (int base = 0; base < count; base += lanes.groups * kRows) {
          Codes<kBits> ahead[kRows];
          float dot[kRows];
#pragma unroll
          for (int u = 0; u < kRows; ++u) {
            ahead[u] = {};
            const int k = base + u * lanes.groups + lanes.turn;
            const I row = from_lane(my_row, k);
            if (k < count && lanes.inside) ahead[u] = codes_of<kBits, kWhole>(first, shape, lanes, row, shape.once);
          }
#pragma unroll
          for (int u = 0; u < kRows; ++u) {
            float x[kColumns];
            numbers_of<kBits>(ahead[u], x);
            dot[u] = 0;
#pragma unroll
            for (int c = 0; c < kColumns; ++c) dot[u] += left[c] * x[c];
          }
          const Share share = sum_and_share(dot, shape.lanes / 2, 1);
#pragma unroll
          for (int c = 0; c < kRows; ++c) {
            if (c >= share.count) continue;
            const int k = base + (share.first + c) * lanes.groups + lanes.turn;
            const float scale = from_lane(my_scale, k);
            const float zero = from_lane(my_zero, k);
            const I place = from_lane(my_place, k);
            if (k >= count || !share.only) continue;
            // Of several tiles, the same lane has written the one before.
            const float before = tile == 0 ? 0.0f : a.out[place];
            a.out[place] = before + (scale * dot[c] + zero * left_sum);
          }
        }
      }
    }
  };
  for_runs_and_pieces(shape.runs, static_cast<const I*>(a.indptr), static_cast<const I*>(a.indices), a.rows, a.nnz,
                      take);
}

}  // namespace

int64_t sddmm_quantized_cuda_scratch(const SddmmQuantizedArgs& a) { return hubs_of(a.nnz).bytes(); }

int sddmm_quantized_cuda(const SddmmQuantizedArgs& a, void* scratch, void* stream) {
  if (a.rows == 0) return cudaSuccess;
  if (a.table.width > kWidest) return cudaErrorInvalidValue;
  const auto on = static_cast<cudaStream_t>(stream);
  const Shape shape = shape_of(a.table, a.rows, a.nnz, scratch);
  return launch_with(a, shape, on, [&](auto bits, auto whole, auto index) {
    launch(sddmm_quantized_kernel<decltype(bits)::value, decltype(whole)::value, decltype(index)>,
           run_blocks(shape.runs, a.rows), kThreads, on, a, shape);
  });
}

}  // namespace gnas
