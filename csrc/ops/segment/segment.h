// Rows that already stand together, reduced or repeated: plain structs and kernel declarations, no Torch, no CUDA.
#pragma once

#include <cstdint>

#include "core/simd.h"
#include "core/types.h"

namespace gnas {

// out[i, f] = reduce over the entries e of segment i of src[e, f]; segments without entries are zero.
struct SegmentArgs {
  const void* indptr;  // [rows + 1], index type
  const void* src;     // [nnz, width]
  void* out;           // [rows, width], src's type
  void* arg;           // max and min: the winning entry, [rows, width], index type, -1 where there is none; or null
  void* carry;         // CPU: [2 * chunks, width], accumulator type, for the segments that a cut divides
  void* carry_arg;     // CPU, with arg: the same in the index type
  int64_t rows;
  int64_t nnz;
  int64_t width;
  int64_t chunks;
  Dtype dtype;
  Reduce reduce;
  bool wide_index;  // int64 rather than int32
};

// out[e, f] = src[i, f] for the segment i of entry e; with `select`, zero unless select[i, f] == e.
struct GatherSegmentsArgs {
  const void* indptr;  // [rows + 1], index type
  const void* src;     // [rows, width]
  const void* select;  // [rows, width], index type, or null
  void* out;           // [nnz, width], src's type
  int64_t rows;
  int64_t nnz;
  int64_t width;
  int64_t chunks;
  Dtype dtype;
  bool wide_index;
};

GNAS_KERNEL(segment_rows, const SegmentArgs& a, int64_t chunk_begin, int64_t chunk_end)
GNAS_KERNEL(segment_carry, const SegmentArgs& a)
GNAS_KERNEL(gather_segments, const GatherSegmentsArgs& a, int64_t chunk_begin, int64_t chunk_end)

// Bytes that these work in.
int64_t segment_cuda_scratch(const SegmentArgs& a);
int64_t gather_segments_cuda_scratch(const GatherSegmentsArgs& a);

// Launch on a stream (a cudaStream_t); return a cudaError_t.
int segment_cuda(const SegmentArgs& a, void* scratch, void* stream);
int gather_segments_cuda(const GatherSegmentsArgs& a, void* scratch, void* stream);

}  // namespace gnas
