// Dense with dense, sampled at the edges of a graph: plain structs and kernel declarations, no Torch, no CUDA.
#pragma once

#include <cstdint>

#include "core/simd.h"
#include "core/types.h"

namespace gnas {

enum class Pairing : int { dot, add, mul };

// dot: out[edge[e], h] = sum over the columns f of head h of a[row of e, f] * b[indices[e], f]; with `select`, only
// over those f where select[row of e, f] == edge[e]. add and mul: out[e, f] = a[row of e, f] + or * b[indices[e], f].
struct SddmmArgs {
  const void* indptr;   // [rows + 1], index type
  const void* indices;  // [nnz], index type
  const void* edge;     // [nnz], index type; null for the identity
  const void* a;        // [rows, width]
  const void* b;        // [cols, width], a's type
  const void* select;   // [rows, width], index type, or null
  void* out;            // dot: [nnz, heads], add and mul: [nnz, width]; a's type
  Fault* fault;         // CPU: an entry found out of bounds
  int64_t rows;
  int64_t cols;
  int64_t nnz;
  int64_t width;
  // CPU: elements from one row to the next, of a and of b: `width`, unless the call is a panel of wider matrices. The
  // dots of a panel after the first are added to what is there. (CUDA takes whole matrices.)
  int64_t a_stride;
  int64_t b_stride;
  bool more;
  int64_t heads;  // 1 or more; head h owns columns h * width / heads … (h + 1) * width / heads - 1
  int64_t chunks;
  Pairing pairing;
  Dtype dtype;
  bool wide_index;
};

GNAS_KERNEL(sddmm_edges, const SddmmArgs& args, int64_t chunk_begin, int64_t chunk_end)

// Bytes that sddmm_cuda works in.
int64_t sddmm_cuda_scratch(const SddmmArgs& args);

// Launches on a stream (a cudaStream_t); returns a cudaError_t.
int sddmm_cuda(const SddmmArgs& args, void* scratch, void* stream);

}  // namespace gnas
