// Sparse times dense, reduced over each row's neighbours: plain structs and kernel declarations, no Torch, no CUDA.
#pragma once

#include <cstdint>

#include "core/simd.h"
#include "core/types.h"

namespace gnas {

// out[i, f] = reduce over the edges e of row i of weight[edge[e], head of f] * x[indices[e], f]; rows without edges are
// zero.
struct SpmmArgs {
  const void* indptr;   // [rows + 1], index type
  const void* indices;  // [nnz], index type
  const void* edge;     // [nnz], index type: where an edge's weight stands; null for the identity
  const void* weight;   // [nnz, heads], x's type; null for all ones
  const void* x;        // [cols, width]
  void* out;            // [rows, width], x's type
  void* arg;            // max and min: the winning edge, [rows, width], index type, -1 for rows without edges
  const void* select;   // spmm_select: [cols, width], index type; an edge counts only where it stands here
  void* carry;          // CPU: [2 * chunks, width], accumulator type, for the rows that a cut divides
  void* carry_arg;      // CPU, max and min: the same in the index type
  // One hop of propagate (else null): the values v that spmm would write also count towards a sum over hops,
  // sum[i] = hop_weight[hop] * v[i] + (hop == 1 ? hop_weight[0] * first[i] : sum[i]).
  const void* hop_weight;  // [hops + 1], accumulator type
  const void* first;       // [rows, width], x's type: what hop 1 began with
  void* sum;               // [rows, width], accumulator type
  void* final;             // [rows, width], x's type: of the last hop, where the sum goes; `out` is null then
  int64_t hop;
  Fault* fault;  // CPU: an entry found out of bounds
  int64_t rows;
  int64_t cols;
  int64_t nnz;
  int64_t width;
  // CPU: elements from one row to the next, of x; of out and arg; of first, sum and final. All are `width` unless the
  // call is a panel of wider matrices. (CUDA takes whole matrices.)
  int64_t x_stride;
  int64_t out_stride;
  int64_t sum_stride;
  int64_t heads;  // 1 or more; head h owns columns h * width / heads … (h + 1) * width / heads - 1
  int64_t chunks;
  Dtype dtype;
  Reduce reduce;
  bool wide_index;  // int64 rather than int32
};

GNAS_KERNEL(spmm_rows, const SpmmArgs& a, int64_t chunk_begin, int64_t chunk_end)
GNAS_KERNEL(spmm_carry, const SpmmArgs& a)

// Bytes that spmm_cuda works in.
int64_t spmm_cuda_scratch(const SpmmArgs& a);

// Launches on a stream (a cudaStream_t); returns a cudaError_t.
int spmm_cuda(const SpmmArgs& a, void* scratch, void* stream);

}  // namespace gnas
