// Sparse times dense, where the dense rows are quantised: plain structs and kernel declarations, no Torch, no CUDA.
#pragma once

#include <cstdint>

#include "core/quantize.h"
#include "core/quantized.h"
#include "core/simd.h"
#include "core/types.h"

namespace gnas {

// How results are quantised again: as quantize_rows does by default.
namespace {
constexpr QuantizeSpec requantizing() { return {8, true, false, false, 0, 0}; }
}  // namespace

// out[i, f] = sum, or mean, over the edges e of row i of weight[edge[e]] * (scale[j] * code[j, f] + zero[j]), j =
// indices[e]; rows without edges are zero.
struct SpmmQuantizedArgs {
  const void* indptr;    // [rows + 1], index type
  const void* indices;   // [nnz], index type
  const void* edge;      // [nnz], index type: where an edge's weight stands; null for the identity
  const float* weight;   // [nnz]; null for all ones
  QuantizedTable table;  // [cols, width]; a panel of it has its own width and row_bytes
  float* out;            // [rows, width], unless rows are quantised again
  int64_t out_stride;    // from one row to the next
  int8_t* codes;         // quantised again: [rows, width]
  float* scale;          // [rows]; null where rows stay float32
  float* carry;          // CPU: [2 * chunks, width], for the rows that a cut divides
  Fault* fault;          // CPU: an entry found out of bounds
  Fault* infinite;       // a row to be quantised again that is not finite; on CUDA in the device's memory
  int64_t rows;
  int64_t cols;
  int64_t nnz;
  int64_t chunks;
  bool mean;
  bool wide_index;  // int64 rather than int32
};

// The dot product of row i of a and the row of the table, an edge: out[edge[e]] = sum over f of a[i, f] * (scale[j] *
// code[j, f] + zero[j]).
struct SddmmQuantizedArgs {
  const void* indptr;
  const void* indices;
  const void* edge;
  const float* a;  // [rows, width]
  QuantizedTable table;
  float* out;  // [nnz]
  Fault* fault;
  int64_t rows;
  int64_t cols;
  int64_t nnz;
  int64_t chunks;
  bool wide_index;
};

// Numbers that a thread needs for itself: the weights of a chunk's edges in their order, and a row.
inline int64_t spmm_quantized_scratch(const SpmmQuantizedArgs& a) {
  return (a.rows + a.nnz) / a.chunks + 2 + a.table.width + 16;
}

GNAS_KERNEL(spmm_quantized_rows, const SpmmQuantizedArgs& a, int64_t chunk_begin, int64_t chunk_end, float* scratch)
GNAS_KERNEL(spmm_quantized_carry, const SpmmQuantizedArgs& a)
GNAS_KERNEL(sddmm_quantized_rows, const SddmmQuantizedArgs& a, int64_t chunk_begin, int64_t chunk_end)

// Bytes of the device's memory that a call works in.
int64_t spmm_quantized_cuda_scratch(const SpmmQuantizedArgs& a);
int64_t sddmm_quantized_cuda_scratch(const SddmmQuantizedArgs& a);
// Launch on a stream (a cudaStream_t); return a cudaError_t.
int spmm_quantized_cuda(const SpmmQuantizedArgs& a, void* scratch, void* stream);
int sddmm_quantized_cuda(const SddmmQuantizedArgs& a, void* scratch, void* stream);

}  // namespace gnas
