// A warp sums the rows of the table that its row's edges read, and quantises the sums again where that is asked for.
#include "core/hub_sums.cuh"
#include "core/quantize.cuh"
#include "core/share.cuh"
#include "ops/spmm_quantized/lanes.cuh"

namespace gnas {
namespace {

// Of eight codes a lane and not 16 bytes of them the sums leave registers for many warps, and of rows so small it is
// the number of warps that hides the wait. So few rows are under way a lane.
constexpr int kAhead = 2;     // rows that a lane has under way
constexpr int kResident = 6;  // blocks on a multiprocessor, which bounds registers

constexpr int64_t kWidestSum = int64_t{65535} * kWarp * kColumns;  // tiles are a grid's second dimension

template <int kBits>
__device__ inline void add_codes(const Codes<kBits>& codes, float factor, float (&v)[kColumns]) {
  float x[kColumns];
  numbers_of<kBits>(codes, x);
#pragma unroll
  for (int c = 0; c < kColumns; ++c) v[c] += factor * x[c];
}

// How a table's rows are read: from anywhere, byte by byte; or eight codes at once, perhaps as if once.
enum class Read { bytes, packs, packs_once };

// What the zeros of rows come to, which is the same in all columns. Apart from codes, whose sums need the registers.
template <class I>
__device__ inline float sum_zeros(const SpmmQuantizedArgs& a, const Edges<I>& edges) {
  float sum = 0;
#pragma unroll 1
  for (int k = lane(); k < edges.count; k += kWarp) {
    const I e = edges.begin + static_cast<I>(k);
    const float zero = a.table.zero[static_cast<const I*>(a.indices)[e]];
    sum += a.weight == nullptr ? zero : a.weight[place_of(static_cast<const I*>(a.edge), e, a.nnz)] * zero;
  }
  __syncwarp();
  for (int apart = kWarp / 2; apart > 0; apart /= 2) sum += __shfl_xor_sync(kAllLanes, sum, apart);
  return sum;
}

// What edges of a row come to in a tile of columns; each lane has its share of them then. Always in the same order.
template <int kBits, Read kRead, class I>
__device__ inline Share sum_edges(const SpmmQuantizedArgs& a, const Shape& shape, const Lanes& lanes,
                                  const Edges<I>& edges, float (&v)[kColumns]) {
  const I* indices = static_cast<const I*>(a.indices);
  const uint8_t* first = first_codes(a.table, lanes);
#pragma unroll
  for (int c = 0; c < kColumns; ++c) v[c] = 0;
  Codes<kBits> ahead[kAhead] = {};
  for (int batch = 0; batch < edges.count; batch += kWarp) {
    const int count = edges.count - batch < kWarp ? edges.count - batch : kWarp;
    I my_row = 0;
    float my_scale = 0;
    float my_weight = 1;
    if (lane() < count) {
      const I e = edges.begin + static_cast<I>(batch + lane());
      my_row = load_once(indices + e);
      if (a.weight != nullptr) my_weight = a.weight[place_of(static_cast<const I*>(a.edge), e, a.nnz)];
      require(static_cast<uint64_t>(my_row) < static_cast<uint64_t>(a.cols));
      my_scale = __ldg(a.table.scale + my_row);
    }
    const int readable = lanes.inside ? count : 0;
    const auto read = [&](int base) {
      I row[kAhead];
#pragma unroll
      for (int u = 0; u < kAhead; ++u) row[u] = from_lane(my_row, base + u * lanes.groups + lanes.turn);
#pragma unroll
      for (int u = 0; u < kAhead; ++u)
        if (base + u * lanes.groups + lanes.turn < readable)
          ahead[u] = codes_of<kBits, kRead != Read::bytes>(first, shape, lanes, row[u], kRead == Read::packs_once);
    };
    // The first codes are under way before their scales are waited for.
    read(0);
    const float my_factor = my_scale * my_weight;
    for (int base = 0;;) {
      // The factor of an edge beyond the last one is zero, and codes that were not read are numbers.
      float factor[kAhead];
#pragma unroll
      for (int u = 0; u < kAhead; ++u) factor[u] = from_lane(my_factor, base + u * lanes.groups + lanes.turn);
      add_codes(ahead[0], factor[0], v);
#pragma unroll
      for (int u = 1; u < kAhead; ++u)
        if (base + u * lanes.groups < count) add_codes(ahead[u], factor[u], v);
      base += kAhead * lanes.groups;
      if (base >= count) break;
      read(base);
    }
  }
  const Share share = sum_and_share(v, kWarp / 2, shape.lanes);
  if (a.table.zero != nullptr) {
    const float shift = sum_zeros(a, edges);
#pragma unroll
    for (int c = 0; c < kColumns; ++c) v[c] += shift;
  }
  return share;
}

__device__ inline float scale_of(const SpmmQuantizedArgs& a, int64_t degree) {
  return a.mean && degree > 1 ? 1.0f / static_cast<float>(degree) : 1.0f;
}

// The largest magnitude of a row's results, and whether all are finite.
struct Most {
  float magnitude = 0;
  bool finite = true;
  __device__ void take(float x) {
    finite = finite && fabsf(x) <= 3.402823466e38f;
    magnitude = fmaxf(magnitude, fabsf(x));
  }
};

// The code of a row that is quantised again, in every lane of the warp; its scale is written.
__device__ inline RowCode code_again(const SpmmQuantizedArgs& a, int64_t row, Most most) {
  for (int apart = kWarp / 2; apart > 0; apart /= 2)
    most.magnitude = fmaxf(most.magnitude, __shfl_xor_sync(kAllLanes, most.magnitude, apart));
  if (!__all_sync(kAllLanes, most.finite) && lane() == 0) a.infinite->edge = row;
  const RowCode code = candidate(requantizing(), {most.magnitude, 0, 0}, 0);
  if (lane() == 0) a.scale[row] = code.scale;
  return code;
}

// kAgain: rows are quantised again. Their scale is known when all columns are; those of several tiles are summed twice,
// which gives the same. Else a tile is the grid's second dimension.
template <int kBits, Read kRead, bool kAgain, class I>
__global__ void __launch_bounds__(kThreads, kResident) spmm_quantized_kernel(SpmmQuantizedArgs a, Shape shape) {
  const int width = static_cast<int>(a.table.width);
  const auto scaled_sum = [&](const Edges<I>& edges, bool mean, const Lanes& lanes, float (&v)[kColumns]) {
    const Share share = sum_edges<kBits, kRead, I>(a, shape, lanes, edges, v);
    if (mean) {
      const float scale = scale_of(a, edges.count);
#pragma unroll
      for (int c = 0; c < kColumns; ++c) v[c] *= scale;
    }
    return share;
  };
  for_row_or_piece(
      shape.runs, static_cast<const I*>(a.indptr), a.rows, a.nnz, [&](const Edges<I>& edges, auto is_piece) {
        constexpr bool kPiece = decltype(is_piece)::value;
        float v[kColumns];
        if constexpr (kPiece || !kAgain) {
          for (int tile = kAgain ? 0 : blockIdx.y; tile < shape.tiles; ++tile) {
            const Lanes lanes = lanes_in<kBits>(shape, tile, width);
            const Share share = scaled_sum(edges, a.mean && !kPiece, lanes, v);
            float* to = kPiece ? shape.partial + int64_t{edges.piece} * width : a.out + edges.row * a.out_stride;
            const int first = lanes.column + share.first;
            if (lanes.inside && share.only) store_share(v, share.count, shape.whole, to + first, width - first);
            if (!kAgain) break;
          }
        } else {
          const int visits = shape.tiles > 1 ? 2 * shape.tiles : 1;
          Most most;
          RowCode code{};
          for (int visit = 0; visit < visits; ++visit) {
            const Lanes lanes = lanes_in<kBits>(shape, visit < shape.tiles ? visit : visit - shape.tiles, width);
            const Share share = scaled_sum(edges, a.mean, lanes, v);
            const int first = lanes.column + share.first;
            if (visit < shape.tiles) {
#pragma unroll
              for (int c = 0; c < kColumns; ++c)
                if (lanes.inside && c < share.count && first + c < width) most.take(v[c]);
              if (visit == shape.tiles - 1) code = code_again(a, edges.row, most);
            }
            if (shape.tiles > 1 && visit < shape.tiles) continue;
            int8_t codes[kColumns];
#pragma unroll
            for (int c = 0; c < kColumns; ++c)
              codes[c] = static_cast<int8_t>(cuda::code_of(v[c], code, requantizing(), edges.row, first + c));
            if (lanes.inside && share.only)
              store_share(codes, share.count, shape.whole, a.codes + edges.row * width + first, width - first);
          }
        }
      });
}

template <class I>
__global__ void __launch_bounds__(kThreads) spmm_quantized_hubs_kernel(SpmmQuantizedArgs a, Shape shape) {
  const I* indptr = static_cast<const I*>(a.indptr);
  const int64_t width = a.table.width;
  for (int64_t h = blockIdx.x; h < shape.runs.hubs.hubs(); h += gridDim.x) {
    const Hub hub = shape.runs.hubs.hub[h];
    sum_pieces_in_place(shape.partial, width, hub, width);
    if (threadIdx.x >= kWarp) continue;
    const float* sum = shape.partial + hub.first * width;
    const float scale = scale_of(a, static_cast<int64_t>(indptr[hub.row + 1]) - static_cast<int64_t>(indptr[hub.row]));
    if (a.scale == nullptr) {
      for (int64_t f = lane(); f < width; f += kWarp) a.out[hub.row * a.out_stride + f] = sum[f] * scale;
      continue;
    }
    Most most;
    for (int64_t f = lane(); f < width; f += kWarp) most.take(sum[f] * scale);
    const RowCode code = code_again(a, hub.row, most);
    for (int64_t f = lane(); f < width; f += kWarp)
      a.codes[hub.row * width + f] =
          static_cast<int8_t>(cuda::code_of(sum[f] * scale, code, requantizing(), hub.row, f));
  }
}

template <int kBits, Read kRead, class I>
void launch_rows(const SpmmQuantizedArgs& a, const Shape& shape, cudaStream_t on) {
  const unsigned blocks = shape.runs.front + row_blocks(a.rows);
  const dim3 grid(blocks, static_cast<unsigned>(shape.tiles));
  if (a.scale == nullptr)
    launch(spmm_quantized_kernel<kBits, kRead, false, I>, grid, kThreads, on, a, shape);
  else
    launch(spmm_quantized_kernel<kBits, kRead, true, I>, blocks, kThreads, on, a, shape);
}

}  // namespace

int64_t spmm_quantized_cuda_scratch(const SpmmQuantizedArgs& a) {
  const Hubs h = hubs_of(a.nnz);
  return h.bytes() + h.piece_room * a.table.width * static_cast<int64_t>(sizeof(float));
}

int spmm_quantized_cuda(const SpmmQuantizedArgs& a, void* scratch, void* stream) {
  if (a.rows == 0) return cudaSuccess;
  if (a.table.width > kWidestSum) return cudaErrorInvalidValue;
  const auto on = static_cast<cudaStream_t>(stream);
  Shape shape = shape_of(a.table, a.rows, a.nnz, scratch);
  if (shape.runs.hubs.split > 0)
    shape.partial = reinterpret_cast<float*>(static_cast<uint8_t*>(scratch) + shape.runs.hubs.bytes());
  shape.whole = a.table.width % kColumns == 0 && aligned(a.out) && a.out_stride % kColumns == 0 && aligned(a.codes);
  return launch_with(a, shape, on, [&](auto bits, auto whole, auto index) {
    using I = decltype(index);
    constexpr int kBits = decltype(bits)::value;
    if (!decltype(whole)::value)
      launch_rows<kBits, Read::bytes, I>(a, shape, on);
    else if (shape.once)
      launch_rows<kBits, Read::packs_once, I>(a, shape, on);
    else
      launch_rows<kBits, Read::packs, I>(a, shape, on);
    if (shape.runs.hubs.split > 0)
      launch(spmm_quantized_hubs_kernel<I>, blocks_of_hubs(shape.runs.hubs), kThreads, on, a, shape);
  });
}

}  // namespace gnas
