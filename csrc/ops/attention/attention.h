// Attention over each row's neighbours, and its gradient: plain structs and kernel declarations, no Torch, no CUDA.
#pragma once

#include <cstdint>

#include "core/simd.h"
#include "core/types.h"

namespace gnas {

// A head at a time: s[e] = scale * <left[row of e], right[indices[e]]> + bias[edge[e]], or, where `additive`,
// leaky_relu(left[row of e] + right[indices[e]]); p = softmax of s over a row's entries;
// out[i] = sum over the edges e of row i of p[e] * v[indices[e]].
//
// The backward goes over the rows (d_left, and p and the gradient of s of each edge), then over the columns, by the
// transpose in indptr, indices and edge (d_right, d_v). Only numbers a head are kept of an edge, never a row.
struct AttentionArgs {
  const void* indptr;   // [rows + 1], index type
  const void* indices;  // [nnz], index type
  const void* edge;     // [nnz], index type: where an edge's numbers stand; null for the identity
  const void* left;     // [rows, heads * dim]
  const void* right;    // [cols, heads * dim]
  const void* v;        // [cols, heads * dim_v]
  const void* bias;     // [nnz, heads] or null
  void* out;            // [rows, heads * dim_v]
  void* lse;            // [rows, heads], accumulator type: log of the sum of exp(s), -inf where there is no edge
  const void* grad;     // backward: of out
  void* edges;          // backward: [nnz, 2, heads], accumulator type: p, and the gradient of what `left` enters
  void* d_left;
  void* d_right;
  void* d_v;
  void* d_bias;  // [nnz, heads] or null
  void* carry;   // CPU: [2 * chunks, carry_width], accumulator type, for the rows that a cut divides
  Fault* fault;  // CPU: an entry found out of bounds
  int64_t rows;  // of the graph that is walked: over the columns, those of the transpose
  int64_t cols;
  int64_t nnz;
  int64_t heads;
  int64_t dim;  // 1 where additive
  int64_t dim_v;
  int64_t chunks;
  int64_t carry_width;
  double scale;
  double slope;
  bool additive;
  Dtype dtype;
  bool wide_index;  // int64 rather than int32
};

GNAS_KERNEL(attention_rows, const AttentionArgs& a, int64_t chunk_begin, int64_t chunk_end)
GNAS_KERNEL(attention_carry, const AttentionArgs& a)
GNAS_KERNEL(attention_backward_rows, const AttentionArgs& a, int64_t chunk_begin, int64_t chunk_end)
GNAS_KERNEL(attention_backward_rows_carry, const AttentionArgs& a)
GNAS_KERNEL(attention_backward_cols, const AttentionArgs& a, int64_t chunk_begin, int64_t chunk_end)
GNAS_KERNEL(attention_backward_cols_carry, const AttentionArgs& a)

// How wide a slot of `carry` must be.
inline int64_t attention_carry_width(const AttentionArgs& a) {
  const int64_t forward = a.heads * a.dim_v + 2 * a.heads;
  const int64_t backward = a.heads * a.dim_v + a.heads * a.dim;
  return forward > backward ? forward : backward;
}

// Bytes that each of these works in.
int64_t attention_cuda_scratch(const AttentionArgs& a);

// Launch on a stream (a cudaStream_t); return a cudaError_t.
int attention_rows_cuda(const AttentionArgs& a, void* scratch, void* stream);
int attention_backward_rows_cuda(const AttentionArgs& a, void* scratch, void* stream);
int attention_backward_cols_cuda(const AttentionArgs& a, void* scratch, void* stream);

}  // namespace gnas
