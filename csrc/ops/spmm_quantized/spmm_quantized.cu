#include "core/bits.h"
#include "core/bytes.cuh"
#include "core/pack.cuh"
#include "core/hub_sums.cuh"
#include "core/quantize.cuh"
#include "core/runs.cuh"
#include "core/share.cuh"
#include "ops/spmm_quantized/spmm_quantized.h"

namespace gnas {
namespace {

using namespace cuda;

// As spmm (ops/spmm/spmm.cu): lanes stand beside each other on a gathered row, eight codes each, and those that are
// left take other edges of the same row. Eight codes and not 16 bytes of them: the sums of 16 codes fill registers, and
// of rows so small it is the number of warps that hides the wait. So few rows are under way a lane.
//
// Of a table with very many rows the scales fill the second-level cache, and are worth it: 32 bytes of them are those
// of eight rows. There codes are read as if once, so that they drive out no scales.
constexpr int kColumns = 8;
constexpr int kThreads = kWarp * kWarpsPerBlock;
constexpr int kAhead = 2;     // rows that a lane has under way
constexpr int kResident = 6;  // blocks on a multiprocessor, which bounds registers

constexpr int64_t kScalesThatStay = int64_t{12} << 20;  // bytes, a quarter of an H100's cache

struct Shape {
  Runs runs;
  float* partial;  // [pieces, width]
  int lanes;       // on a row of codes, a power of two
  int lanes_log;   // which one
  int tiles;       // that a row has
  unsigned row_bytes;
  bool whole;  // results are stored several at a time
  bool once;   // codes are read as if once
};

template <class T>
__device__ inline T load_codes(const uint8_t* from, bool once) {
  return once ? load_once(reinterpret_cast<const T*>(from)) : __ldg(reinterpret_cast<const T*>(from));
}

// Eight codes, which are as many bytes as a code has bits.
template <int kBits>
struct Codes {
  uint32_t word[kBits == 8 ? 2 : 1];
};

// kWhole: rows are aligned to eight codes, and have a whole number of them. Else they may begin anywhere, and bytes
// beyond a row are zero.
template <int kBits, bool kWhole>
__device__ inline Codes<kBits> codes_at(const uint8_t* from, int left, bool once) {
  Codes<kBits> codes{};
  if constexpr (kWhole) {
    if constexpr (kBits == 8) {
      const uint2 both = load_codes<uint2>(from, once);
      codes.word[0] = both.x;
      codes.word[1] = both.y;
    } else if constexpr (kBits == 4) {
      codes.word[0] = load_codes<uint32_t>(from, once);
    } else {
      codes.word[0] = load_codes<uint16_t>(from, once);
    }
  } else {
    for (int b = 0; b < kBits; ++b) {
      if (b < left) codes.word[b / 4] |= static_cast<uint32_t>(from[b]) << (8 * (b % 4));
    }
  }
  return codes;
}

// Codes as numbers, in order.
template <int kBits>
__device__ inline void numbers_of(const Codes<kBits>& codes, float (&x)[kColumns]) {
  uint32_t a = codes.word[0];
  if constexpr (kBits == 8) {
    a ^= 0x80808080u;
    const uint32_t b = codes.word[1] ^ 0x80808080u;
    x[0] = byte_number<0, 128>(a), x[1] = byte_number<1, 128>(a);
    x[2] = byte_number<2, 128>(a), x[3] = byte_number<3, 128>(a);
    x[4] = byte_number<0, 128>(b), x[5] = byte_number<1, 128>(b);
    x[6] = byte_number<2, 128>(b), x[7] = byte_number<3, 128>(b);
  } else if constexpr (kBits == 4) {
    const uint32_t b = a >> 4 & 0x0F0F0F0Fu;
    a &= 0x0F0F0F0Fu;
    x[0] = byte_number<0, 8>(a), x[1] = byte_number<0, 8>(b);
    x[2] = byte_number<1, 8>(a), x[3] = byte_number<1, 8>(b);
    x[4] = byte_number<2, 8>(a), x[5] = byte_number<2, 8>(b);
    x[6] = byte_number<3, 8>(a), x[7] = byte_number<3, 8>(b);
  } else {
    // Two bytes: those beside them get the codes that stand two bits further on.
    a |= a << 14;
    const uint32_t b = a >> 4 & 0x03030303u;
    a &= 0x03030303u;
    x[0] = byte_number<0, 2>(a), x[4] = byte_number<1, 2>(a);
    x[1] = byte_number<2, 2>(a), x[5] = byte_number<3, 2>(a);
    x[2] = byte_number<0, 2>(b), x[6] = byte_number<1, 2>(b);
    x[3] = byte_number<2, 2>(b), x[7] = byte_number<3, 2>(b);
  }
}

template <int kBits>
__device__ inline void add_codes(const Codes<kBits>& codes, float factor, float (&v)[kColumns]) {
  float x[kColumns];
  numbers_of<kBits>(codes, x);
#pragma unroll
  for (int c = 0; c < kColumns; ++c) v[c] += factor * x[c];
}

// How a table's rows are read: from anywhere, byte by byte; or eight codes at once, perhaps as if once.
enum class Read { bytes, packs, packs_once };

// Where an edge's weight stands.
template <class I>
__device__ inline int64_t place_of(const I* edge, int64_t e, int64_t nnz) {
  if (edge == nullptr) return e;
  const int64_t place = edge[e];
  require(static_cast<uint64_t>(place) < static_cast<uint64_t>(nnz));
  return place;
}

// The eight columns of this lane in a tile, and which edges of 32 it takes: turn, turn + groups …
struct Lanes {
  int turn;
  int groups;
  int at;      // first of its bytes in a row
  int column;  // first of its columns
  bool inside;
};

template <int kBits>
__device__ inline Lanes lanes_in(const Shape& shape, int tile, int width) {
  const int pack = (tile << shape.lanes_log) + (lane() & (shape.lanes - 1));
  return {lane() >> shape.lanes_log, kWarp >> shape.lanes_log, pack * kBits, pack * kColumns, pack * kColumns < width};
}

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
  const uint8_t* codes = static_cast<const uint8_t*>(a.table.codes) + lanes.at;
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
          ahead[u] = codes_at<kBits, kRead != Read::bytes>(codes + offset_of(row[u], shape.row_bytes),
                                                           static_cast<int>(shape.row_bytes) - lanes.at,
                                                           kRead == Read::packs_once);
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

// Lanes stand on row i of a, too, and on those of the table: an edge is theirs, and those left take other edges. A
// hub's pieces have nothing to be put together.
template <int kBits, bool kWhole, class I>
__global__ void __launch_bounds__(kThreads, 4) sddmm_quantized_kernel(SddmmQuantizedArgs a, Shape shape) {
  constexpr int kRows = kBits == 8 ? 4 : 8;  // under way, of a lane
  const int width = static_cast<int>(a.table.width);
  const auto take = [&](const Edges<I>& edges) {
    const I* indices = static_cast<const I*>(a.indices) + edges.begin;
    for (int tile = 0; tile < shape.tiles; ++tile) {
      const Lanes lanes = lanes_in<kBits>(shape, tile, width);
      const uint8_t* codes = static_cast<const uint8_t*>(a.table.codes) + lanes.at;
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
            if (k < count && lanes.inside)
              ahead[u] = codes_at<kBits, kWhole>(codes + offset_of(row, shape.row_bytes),
                                                 static_cast<int>(shape.row_bytes) - lanes.at, shape.once);
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

constexpr int64_t kWidest = int64_t{1} << 27;                      // columns of a row are counted in int
constexpr int64_t kWidestSum = int64_t{65535} * kWarp * kColumns;  // tiles are a grid's second dimension

Shape shape_of(const QuantizedTable& table, int64_t rows, int64_t nnz, void* scratch) {
  Shape shape{};
  shape.runs = runs_of(rows, nnz, scratch);
  shape.lanes = lanes_of((table.width + kColumns - 1) / kColumns);
  while (1 << shape.lanes_log < shape.lanes) ++shape.lanes_log;
  const int64_t columns = int64_t{shape.lanes} * kColumns;
  shape.tiles = table.width > columns ? static_cast<int>((table.width + columns - 1) / columns) : 1;
  shape.row_bytes = static_cast<unsigned>(table.row_bytes);
  const int64_t scales = table.rows * (table.zero != nullptr ? 2 : 1) * static_cast<int64_t>(sizeof(float));
  shape.once = scales > kScalesThatStay;
  if (shape.runs.hubs.split > 0)
    shape.partial = reinterpret_cast<float*>(static_cast<uint8_t*>(scratch) + shape.runs.hubs.bytes());
  return shape;
}

// Calls f with the number of bits, whether rows of the table are whole packs, and a value of the index type.
template <class F>
void with_table(const QuantizedTable& table, bool wide_index, const F& f) {
  const bool whole = reinterpret_cast<uintptr_t>(table.codes) % static_cast<unsigned>(table.bits) == 0 &&
                     table.row_bytes % table.bits == 0;
  with_bits_and_index(table.bits, wide_index, [&](auto bits, auto index) {
    if (whole)
      f(bits, std::true_type{}, index);
    else
      f(bits, std::false_type{}, index);
  });
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

int64_t sddmm_quantized_cuda_scratch(const SddmmQuantizedArgs& a) { return hubs_of(a.nnz).bytes(); }

int spmm_quantized_cuda(const SpmmQuantizedArgs& a, void* scratch, void* stream) {
  if (a.rows == 0) return cudaSuccess;
  if (a.table.width > kWidestSum) return cudaErrorInvalidValue;
  const auto on = static_cast<cudaStream_t>(stream);
  Shape shape = shape_of(a.table, a.rows, a.nnz, scratch);
  shape.whole = a.table.width % kColumns == 0 && aligned(a.out) && a.out_stride % kColumns == 0 && aligned(a.codes);
  int error = cudaSuccess;
  with_table(a.table, a.wide_index, [&](auto bits, auto whole, auto index) {
    using I = decltype(index);
    constexpr int kBits = decltype(bits)::value;
    constexpr bool kWhole = decltype(whole)::value;
    error = find_hubs<I>(shape.runs.hubs, a.indptr, a.rows, a.nnz, on);
    if (error != cudaSuccess) return;
    if (!kWhole)
      launch_rows<kBits, Read::bytes, I>(a, shape, on);
    else if (shape.once)
      launch_rows<kBits, Read::packs_once, I>(a, shape, on);
    else
      launch_rows<kBits, Read::packs, I>(a, shape, on);
    if (shape.runs.hubs.split > 0)
      launch(spmm_quantized_hubs_kernel<I>, blocks_of_hubs(shape.runs.hubs), kThreads, on, a, shape);
  });
  return error != cudaSuccess ? error : cudaGetLastError();
}

int sddmm_quantized_cuda(const SddmmQuantizedArgs& a, void* scratch, void* stream) {
  if (a.rows == 0) return cudaSuccess;
  if (a.table.width > kWidest) return cudaErrorInvalidValue;
  const auto on = static_cast<cudaStream_t>(stream);
  const Shape shape = shape_of(a.table, a.rows, a.nnz, scratch);
  int error = cudaSuccess;
  with_table(a.table, a.wide_index, [&](auto bits, auto whole, auto index) {
    using I = decltype(index);
    error = find_hubs<I>(shape.runs.hubs, a.indptr, a.rows, a.nnz, on);
    if (error != cudaSuccess) return;
    launch(sddmm_quantized_kernel<decltype(bits)::value, decltype(whole)::value, I>, run_blocks(shape.runs, a.rows),
           kThreads, on, a, shape);
  });
  return error != cudaSuccess ? error : cudaGetLastError();
}

}  // namespace gnas
