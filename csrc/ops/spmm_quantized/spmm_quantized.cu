#include "core/bits.h"
#include "core/device.cuh"
#include "core/quantize.cuh"
#include "ops/spmm_quantized/spmm_quantized.h"

namespace gnas {
namespace {

using namespace cuda;

constexpr unsigned kAll = 0xffffffffu;
// A lane takes as many codes as stand in four bytes.
template <int kBits>
constexpr int kColumns = 32 / kBits;

// The number that four bytes of a row make, from byte `at` on; bytes beyond the row are zero. Rows may begin anywhere.
__device__ inline uint32_t four_bytes(const uint8_t* row, int64_t at, int64_t row_bytes) {
  if (at + 4 <= row_bytes && (reinterpret_cast<uintptr_t>(row + at) & 3) == 0)
    return *reinterpret_cast<const uint32_t*>(row + at);
  uint32_t word = 0;
  for (int b = 0; b < 4; ++b) {
    if (at + b < row_bytes) word |= static_cast<uint32_t>(row[at + b]) << (8 * b);
  }
  return word;
}

template <int kBits>
__device__ inline float code_of(uint32_t word, int k) {
  if constexpr (kBits == 8)
    return static_cast<float>(static_cast<int8_t>(word >> (8 * k)));
  else
    return static_cast<float>(static_cast<int>((word >> (kBits * k)) & ((1u << kBits) - 1)) - (1 << (kBits - 1)));
}

// An edge's neighbour, and where its weight stands; both are checked.
struct Entry {
  int64_t column;
  int64_t place;
};

template <class I>
__device__ inline Entry entry_of(const I* indices, const I* edge, int64_t e, int64_t cols, int64_t nnz) {
  const Entry entry{static_cast<int64_t>(indices[e]), edge == nullptr ? e : static_cast<int64_t>(edge[e])};
  require(static_cast<uint64_t>(entry.column) < static_cast<uint64_t>(cols) &&
          static_cast<uint64_t>(entry.place) < static_cast<uint64_t>(nnz));
  return entry;
}

// A warp takes a row and its columns a tile at a time; each lane has kColumns beside each other. Edges are taken 32 at
// a time: a lane loads one factor, all lanes share them. Sums run in edge order, without atomics.
template <int kBits, class I>
__device__ void sum_tile(const SpmmQuantizedArgs& a, int64_t begin, int64_t end, int64_t tile,
                         float (&sum)[kColumns<kBits>]) {
  const I* indices = static_cast<const I*>(a.indices);
  const I* edge = static_cast<const I*>(a.edge);
  const uint8_t* codes = static_cast<const uint8_t*>(a.table.codes);
  const int64_t at = tile * (kWarp * 4) + lane() * 4;  // the first of this lane's bytes
  float shift = 0;
#pragma unroll
  for (int k = 0; k < kColumns<kBits>; ++k) sum[k] = 0;
  for (int64_t batch = begin; batch < end; batch += kWarp) {
    const int64_t mine = batch + lane();
    int64_t my_row = 0;
    float my_factor = 0;
    float my_shift = 0;
    if (mine < end) {
      const Entry entry = entry_of(indices, edge, mine, a.cols, a.nnz);
      const float w = a.weight == nullptr ? 1.0f : a.weight[entry.place];
      my_row = entry.column * a.table.row_bytes;
      my_factor = w * a.table.scale[entry.column];
      my_shift = a.table.zero == nullptr ? 0.0f : w * a.table.zero[entry.column];
    }
    const int count = static_cast<int>(end - batch < kWarp ? end - batch : kWarp);
    for (int k = 0; k < count; ++k) {
      const int64_t row = __shfl_sync(kAll, my_row, k);
      const float factor = __shfl_sync(kAll, my_factor, k);
      shift += __shfl_sync(kAll, my_shift, k);
      const uint32_t word = four_bytes(codes + row, at, a.table.row_bytes);
#pragma unroll
      for (int c = 0; c < kColumns<kBits>; ++c) sum[c] += factor * code_of<kBits>(word, c);
    }
  }
  const float scale = a.mean && end - begin > 1 ? 1.0f / static_cast<float>(end - begin) : 1.0f;
#pragma unroll
  for (int k = 0; k < kColumns<kBits>; ++k) sum[k] = (sum[k] + shift) * scale;
}

template <int kBits, class I>
__global__ void spmm_quantized_kernel(SpmmQuantizedArgs a) {
  constexpr int kMine = kColumns<kBits>;
  const I* indptr = static_cast<const I*>(a.indptr);
  const int64_t width = a.table.width;
  const int64_t tiles = (a.table.row_bytes + kWarp * 4 - 1) / (kWarp * 4);
  for (int64_t row = first_row(); row < a.rows; row += row_stride()) {
    const int64_t begin = indptr[row];
    const int64_t end = indptr[row + 1];
    require(begin >= 0 && begin <= end && end <= a.nnz);
    float sum[kMine];
    float most = 0;
    bool finite = true;
    for (int64_t tile = 0; tile < tiles; ++tile) {
      sum_tile<kBits, I>(a, begin, end, tile, sum);
      const int64_t column = (tile * kWarp + lane()) * kMine;
      for (int k = 0; k < kMine; ++k) {
        if (column + k >= width) continue;
        if (a.scale == nullptr) a.out[row * a.out_stride + column + k] = sum[k];
        finite = finite && fabsf(sum[k]) <= 3.402823466e38f;
        most = fmaxf(most, fabsf(sum[k]));
      }
    }
    if (a.scale == nullptr) continue;
    // The scale is known when all columns are: those of several tiles are summed again, which gives the same.
    for (int apart = kWarp / 2; apart > 0; apart /= 2) most = fmaxf(most, __shfl_xor_sync(kAll, most, apart));
    if (!__all_sync(kAll, finite) && lane() == 0) a.infinite->edge = row;
    const RowCode code = candidate(requantizing(), {most, 0, 0}, 0);
    if (lane() == 0) a.scale[row] = code.scale;
    for (int64_t tile = 0; tile < tiles; ++tile) {
      if (tiles > 1) sum_tile<kBits, I>(a, begin, end, tile, sum);
      const int64_t column = (tile * kWarp + lane()) * kMine;
      for (int k = 0; k < kMine; ++k) {
        if (column + k >= width) continue;
        a.codes[row * width + column + k] =
            static_cast<int8_t>(cuda::code_of(sum[k], code, requantizing(), row, column + k));
      }
    }
  }
}

template <int kBits, class I>
__global__ void sddmm_quantized_kernel(SddmmQuantizedArgs a) {
  constexpr int kMine = kColumns<kBits>;
  const I* indptr = static_cast<const I*>(a.indptr);
  const I* indices = static_cast<const I*>(a.indices);
  const I* edge = static_cast<const I*>(a.edge);
  const uint8_t* codes = static_cast<const uint8_t*>(a.table.codes);
  const int64_t width = a.table.width;
  for (int64_t row = first_row(); row < a.rows; row += row_stride()) {
    const int64_t begin = indptr[row];
    const int64_t end = indptr[row + 1];
    require(begin >= 0 && begin <= end && end <= a.nnz);
    const float* left = a.a + row * width;
    for (int64_t e = begin; e < end; ++e) {
      const Entry entry = entry_of(indices, edge, e, a.cols, a.nnz);
      const float zero = a.table.zero == nullptr ? 0.0f : a.table.zero[entry.column];
      const float scale = a.table.scale[entry.column];
      float sum = 0;
      for (int64_t at = lane() * 4; at < a.table.row_bytes; at += kWarp * 4) {
        const uint32_t word = four_bytes(codes + entry.column * a.table.row_bytes, at, a.table.row_bytes);
        const int64_t column = at * (8 / kBits);
        for (int k = 0; k < kMine && column + k < width; ++k)
          sum += left[column + k] * (scale * code_of<kBits>(word, k) + zero);
      }
      for (int apart = kWarp / 2; apart > 0; apart /= 2) sum += __shfl_xor_sync(kAll, sum, apart);
      if (lane() == 0) a.out[entry.place] = sum;
    }
  }
}

}  // namespace

int spmm_quantized_cuda(const SpmmQuantizedArgs& a, void* stream) {
  if (a.rows == 0) return cudaSuccess;
  const auto on = static_cast<cudaStream_t>(stream);
  with_bits_and_index(a.table.bits, a.wide_index, [&](auto bits, auto index) {
    launch(spmm_quantized_kernel<decltype(bits)::value, decltype(index)>, row_blocks(a.rows), kWarp * kWarpsPerBlock,
           on, a);
  });
  return cudaGetLastError();
}

int sddmm_quantized_cuda(const SddmmQuantizedArgs& a, void* stream) {
  if (a.rows == 0) return cudaSuccess;
  const auto on = static_cast<cudaStream_t>(stream);
  with_bits_and_index(a.table.bits, a.wide_index, [&](auto bits, auto index) {
    launch(sddmm_quantized_kernel<decltype(bits)::value, decltype(index)>, row_blocks(a.rows), kWarp * kWarpsPerBlock,
           on, a);
  });
  return cudaGetLastError();
}

}  // namespace gnas
