// How the lanes of a warp stand on gathered rows of codes, beside each other, eight codes each; those that are left
// take other edges of the same row.
#pragma once

#include "core/bits.h"
#include "core/pack.cuh"
#include "core/runs.cuh"
#include "ops/spmm_quantized/codes.cuh"
#include "ops/spmm_quantized/spmm_quantized.h"

namespace gnas {
namespace {

constexpr int kThreads = kWarp * kWarpsPerBlock;

// Of a table with very many rows the scales fill the second-level cache, and are worth it: 32 bytes of them are those
// of eight rows. There codes are read as if once, so that they drive out no scales.
constexpr int64_t kScalesThatStay = int64_t{12} << 20;  // bytes, a quarter of an H100's cache

struct Shape {
  Runs runs;
  float* partial;  // of sums: [pieces, width]
  int lanes;       // on a row of codes, a power of two
  int lanes_log;   // which one
  int tiles;       // that a row has
  unsigned row_bytes;
  bool whole;  // of sums: results are stored several at a time
  bool once;   // codes are read as if once
};

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

// A lane's codes in the first row of the table, and in any. Where they begin is computed once, outside of loops: asked
// for within, it costs registers.
__device__ inline const uint8_t* first_codes(const QuantizedTable& table, const Lanes& lanes) {
  return static_cast<const uint8_t*>(table.codes) + lanes.at;
}
template <int kBits, bool kWhole, class I>
__device__ inline Codes<kBits> codes_of(const uint8_t* first, const Shape& shape, const Lanes& lanes, I row,
                                        bool once) {
  return codes_at<kBits, kWhole>(first + offset_of(row, shape.row_bytes), static_cast<int>(shape.row_bytes) - lanes.at,
                                 once);
}

// Where an edge's number stands, in weights or in results.
template <class I>
__device__ inline int64_t place_of(const I* edge, int64_t e, int64_t nnz) {
  if (edge == nullptr) return e;
  const int64_t place = edge[e];
  require(static_cast<uint64_t>(place) < static_cast<uint64_t>(nnz));
  return place;
}

inline Shape shape_of(const QuantizedTable& table, int64_t rows, int64_t nnz, void* scratch) {
  Shape shape{};
  shape.runs = runs_of(rows, nnz, scratch);
  shape.lanes = lanes_of((table.width + kColumns - 1) / kColumns);
  while (1 << shape.lanes_log < shape.lanes) ++shape.lanes_log;
  const int64_t columns = int64_t{shape.lanes} * kColumns;
  shape.tiles = table.width > columns ? static_cast<int>((table.width + columns - 1) / columns) : 1;
  shape.row_bytes = static_cast<unsigned>(table.row_bytes);
  const int64_t scales = table.rows * (table.zero != nullptr ? 2 : 1) * static_cast<int64_t>(sizeof(float));
  shape.once = scales > kScalesThatStay;
  return shape;
}

// Finds the hubs, then calls f with the number of bits, whether rows of the table are whole packs, and a value of the
// index type. Returns the first error, of f's launches too.
template <class Args, class F>
int launch_with(const Args& a, const Shape& shape, cudaStream_t on, const F& f) {
  const QuantizedTable& table = a.table;
  const bool whole = reinterpret_cast<uintptr_t>(table.codes) % static_cast<unsigned>(table.bits) == 0 &&
                     table.row_bytes % table.bits == 0;
  int error = cudaSuccess;
  with_bits_and_index(table.bits, a.wide_index, [&](auto bits, auto index) {
    error = find_hubs<decltype(index)>(shape.runs.hubs, a.indptr, a.rows, a.nnz, on);
    if (error != cudaSuccess) return;
    if (whole)
      f(bits, std::true_type{}, index);
    else
      f(bits, std::false_type{}, index);
  });
  return error != cudaSuccess ? error : cudaGetLastError();
}

}  // namespace
}  // namespace gnas
