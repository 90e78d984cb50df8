// Softmax over each row's entries, a head at a time: plain structs and kernel declarations, no Torch, no CUDA.
#pragma once

#include <cstdint>

#include "core/simd.h"
#include "core/types.h"

namespace gnas {

// Forward: out[e, h] = exp(x[e, h] - m) / (the sum of the same over the entries of e's row), m their maximum; zero
// where all of them are -inf. Backward, where grad is given and x is what the forward returned: out[e, h] = x[e, h] *
// (grad[e, h] - the sum of x * grad over the entries of e's row).
struct SegmentSoftmaxArgs {
  const void* indptr;  // [rows + 1], index type
  const void* x;       // [nnz, heads]
  const void* grad;    // [nnz, heads], x's type; null for the forward
  void* out;           // [nnz, heads], x's type
  void* carry;         // CPU: [2 * chunks, 2, heads], accumulator type, for the rows that a cut divides
  int64_t rows;
  int64_t nnz;
  int64_t heads;
  int64_t chunks;
  Dtype dtype;
  bool wide_index;  // int64 rather than int32
};

// Whole rows, and what the pieces of divided rows come to; then the rows that these pieces make; then the pieces.
GNAS_KERNEL(segment_softmax_rows, const SegmentSoftmaxArgs& a, int64_t chunk_begin, int64_t chunk_end)
GNAS_KERNEL(segment_softmax_carry, const SegmentSoftmaxArgs& a)
GNAS_KERNEL(segment_softmax_pieces, const SegmentSoftmaxArgs& a, int64_t chunk_begin, int64_t chunk_end)

// Bytes that segment_softmax_cuda works in.
int64_t segment_softmax_cuda_scratch(const SegmentSoftmaxArgs& a);

// Launches on a stream (a cudaStream_t); returns a cudaError_t.
int segment_softmax_cuda(const SegmentSoftmaxArgs& a, void* scratch, void* stream);

}  // namespace gnas
