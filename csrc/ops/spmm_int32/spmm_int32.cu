#include "core/bytes.cuh"
#include "core/hub_sums.cuh"
#include "core/pack.cuh"
#include "core/runs.cuh"
#include "core/share.cuh"
#include "ops/spmm_int32/spmm_int32.h"

namespace gnas {
namespace {

using namespace cuda;

// As spmm_quantized: eight codes a lane, lanes that are left take other edges of the row. Four edges at a time: one
// dp4a multiplies their codes of a column with their weights. Rows that may not fit are reported, and what is written
// for them means nothing.
constexpr int kColumns = 8;
constexpr int kAhead = 4;
constexpr int kThreads = kWarp * kWarpsPerBlock;
constexpr int kResident = 5;  // blocks on a multiprocessor, which bounds registers

struct Shape {
  Runs runs;
  uint32_t* partial;  // [pieces, width]
  int64_t* weights;   // [pieces], what their weights add up to without signs
  int lanes;          // on a row of codes
  int tiles;          // that a row has
  unsigned stride;
  bool whole;  // results are stored several at a time
};

struct Codes {
  uint32_t word[2];
};

// kWhole: rows are aligned to eight codes, and have a whole number of them. Else codes beyond a row are zero.
template <bool kWhole>
__device__ inline Codes codes_at(const int8_t* from, int left) {
  Codes codes{};
  if constexpr (kWhole) {
    const uint2 both = __ldg(reinterpret_cast<const uint2*>(from));
    codes.word[0] = both.x;
    codes.word[1] = both.y;
  } else {
    for (int b = 0; b < kColumns; ++b) {
      if (b < left) codes.word[b / 4] |= static_cast<uint32_t>(static_cast<uint8_t>(from[b])) << (8 * (b % 4));
    }
  }
  return codes;
}

__device__ inline uint32_t add_products(uint32_t codes, uint32_t weights, uint32_t sum) {
  return static_cast<uint32_t>(__dp4a(static_cast<int>(codes), static_cast<int>(weights), static_cast<int>(sum)));
}

// Adds the codes of four edges times their weights, a byte each, in four columns.
__device__ inline void add_edges(uint32_t a, uint32_t b, uint32_t c, uint32_t d, uint32_t weights, uint32_t* v) {
  const uint32_t ab = bytes_of<0x5140>(a, b);
  const uint32_t cd = bytes_of<0x5140>(c, d);
  v[0] = add_products(bytes_of<0x5410>(ab, cd), weights, v[0]);
  v[1] = add_products(bytes_of<0x7632>(ab, cd), weights, v[1]);
  const uint32_t ab_high = bytes_of<0x7362>(a, b);
  const uint32_t cd_high = bytes_of<0x7362>(c, d);
  v[2] = add_products(bytes_of<0x5410>(ab_high, cd_high), weights, v[2]);
  v[3] = add_products(bytes_of<0x7632>(ab_high, cd_high), weights, v[3]);
}

__device__ inline int64_t sum_of_lanes(int64_t x) {
  for (int apart = kWarp / 2; apart > 0; apart /= 2) x += __shfl_xor_sync(kAllLanes, x, apart);
  return x;
}

template <bool kWhole, class I>
__global__ void __launch_bounds__(kThreads, kResident) spmm_int32_kernel(SpmmInt32Args a, Shape shape) {
  const int width = static_cast<int>(a.width);
  const int turn = lane() / shape.lanes;
  const int groups = kWarp / shape.lanes;
  const auto take = [&](const Edges<I>& edges) {
    const I* indices = static_cast<const I*>(a.indices) + edges.begin;
    const int8_t* weight = a.weight + edges.begin;
    for (int tile = 0; tile < shape.tiles; ++tile) {
      const int at = (tile * shape.lanes + lane() % shape.lanes) * kColumns;
      const bool inside = at < width;
      const int8_t* codes = a.codes + at;
      uint32_t v[kColumns] = {};
      int64_t my_total = 0;
      I column = edges.column;
      for (int batch = 0; batch < edges.count; batch += kWarp) {
        const int count = edges.count - batch < kWarp ? edges.count - batch : kWarp;
        const I my_row = column;
        column = column_of(indices, batch + kWarp, edges.count);
        int my_weight = 0;
        if (lane() < count) {
          require(static_cast<uint64_t>(my_row) < static_cast<uint64_t>(a.cols));
          my_weight = weight[batch + lane()];
        }
        my_total += my_weight < 0 ? -my_weight : my_weight;
        for (int base = 0; base < count; base += groups * kAhead) {
          Codes ahead[kAhead];
          uint32_t weights = 0;
#pragma unroll
          for (int u = 0; u < kAhead; ++u) {
            ahead[u] = {};
            const int k = base + u * groups + turn;
            const I row = from_lane(my_row, k);
            const int w = from_lane(my_weight, k);
            if (k < count) weights |= static_cast<uint32_t>(w & 0xFF) << (8 * u);
            if (k < count && inside) ahead[u] = codes_at<kWhole>(codes + offset_of(row, shape.stride), width - at);
          }
#pragma unroll
          for (int half = 0; half < 2; ++half)
            add_edges(ahead[0].word[half], ahead[1].word[half], ahead[2].word[half], ahead[3].word[half], weights,
                      v + 4 * half);
        }
      }
      const Share share = sum_and_share(v, kWarp / 2, shape.lanes);
      if (tile == 0 && (edges.piece >= 0 || edges.count > kSafeDegree)) {
        const int64_t total = sum_of_lanes(my_total);
        if (lane() == 0 && edges.piece >= 0) shape.weights[edges.piece] = total;
        if (lane() == 0 && edges.piece < 0 && total > kSafeWeight) a.overflow->edge = edges.row;
      }
      if (!inside || !share.only) continue;
      const int first = at + share.first;
      if (edges.piece >= 0) {
        store_share(v, share.count, shape.whole, shape.partial + int64_t{edges.piece} * width + first, width - first);
      } else {
        auto* to = reinterpret_cast<uint32_t*>(a.out) + edges.row * a.out_stride + first;
        store_share(v, share.count, shape.whole, to, width - first);
      }
    }
  };
  for_runs_and_pieces(shape.runs, static_cast<const I*>(a.indptr), static_cast<const I*>(a.indices), a.rows, a.nnz,
                      take);
}

template <class I>
__global__ void __launch_bounds__(kThreads) spmm_int32_hubs_kernel(SpmmInt32Args a, Shape shape) {
  const I* indptr = static_cast<const I*>(a.indptr);
  for (int64_t h = blockIdx.x; h < shape.runs.hubs.hubs(); h += gridDim.x) {
    const Hub hub = shape.runs.hubs.hub[h];
    sum_pieces_in_place(shape.partial, a.width, hub, a.width);
    if (threadIdx.x >= kWarp) continue;
    int64_t my_total = 0;
    for (int64_t k = lane(); k < hub.pieces; k += kWarp) my_total += shape.weights[hub.first + k];
    const int64_t total = sum_of_lanes(my_total);
    const int64_t degree = static_cast<int64_t>(indptr[hub.row + 1]) - static_cast<int64_t>(indptr[hub.row]);
    if (lane() == 0 && degree > kSafeDegree && total > kSafeWeight) a.overflow->edge = hub.row;
    const uint32_t* sum = shape.partial + hub.first * a.width;
    for (int64_t f = lane(); f < a.width; f += kWarp) a.out[hub.row * a.out_stride + f] = static_cast<int32_t>(sum[f]);
  }
}

template <class I>
int run(const SpmmInt32Args& a, const Shape& shape, cudaStream_t on) {
  const int error = find_hubs<I>(shape.runs.hubs, a.indptr, a.rows, a.nnz, on);
  if (error != cudaSuccess) return error;
  const unsigned blocks = run_blocks(shape.runs, a.rows);
  if (reinterpret_cast<uintptr_t>(a.codes) % kColumns == 0 && a.stride % kColumns == 0 && a.width % kColumns == 0)
    launch(spmm_int32_kernel<true, I>, blocks, kThreads, on, a, shape);
  else
    launch(spmm_int32_kernel<false, I>, blocks, kThreads, on, a, shape);
  if (shape.runs.hubs.split > 0)
    launch(spmm_int32_hubs_kernel<I>, blocks_of_hubs(shape.runs.hubs), kThreads, on, a, shape);
  return cudaGetLastError();
}

}  // namespace

int64_t spmm_int32_cuda_scratch(const SpmmInt32Args& a) {
  const Hubs h = hubs_of(a.nnz);
  return h.bytes() + h.piece_room * (8 + a.width * 4) + 4;
}

int spmm_int32_cuda(const SpmmInt32Args& a, void* scratch, void* stream) {
  if (a.rows == 0) return cudaSuccess;
  constexpr int64_t kWidest = int64_t{1} << 28;  // columns of a row are counted in int
  if (a.width > kWidest || a.stride > kWidest) return cudaErrorInvalidValue;
  Shape shape{};
  shape.runs = runs_of(a.rows, a.nnz, scratch);
  shape.lanes = lanes_of((a.width + kColumns - 1) / kColumns);
  const int64_t columns = int64_t{shape.lanes} * kColumns;
  shape.tiles = a.width > columns ? static_cast<int>((a.width + columns - 1) / columns) : 1;
  shape.stride = static_cast<unsigned>(a.stride);
  shape.whole = a.width % kColumns == 0 && aligned(a.out) && a.out_stride % kColumns == 0;
  if (shape.runs.hubs.split > 0) {
    // The numbers come first: they are aligned to sixteen bytes, of whatever number of pieces.
    shape.partial = reinterpret_cast<uint32_t*>(static_cast<uint8_t*>(scratch) + shape.runs.hubs.bytes());
    shape.weights = reinterpret_cast<int64_t*>(shape.partial + (shape.runs.hubs.piece_room * a.width + 1) / 2 * 2);
  }
  const auto on = static_cast<cudaStream_t>(stream);
  return a.wide_index ? run<int64_t>(a, shape, on) : run<int32_t>(a, shape, on);
}

}  // namespace gnas
