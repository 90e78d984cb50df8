// Dense times dense, sampled at the edges of a graph: plain structs and kernel declarations, no Torch, no CUDA.
#pragma once

#include <cstdint>

#include "core/simd.h"
#include "core/types.h"

namespace gnas {

// out[edge[e]] = sum over f of a[row of e, f] * b[indices[e], f]; with `select`, only over those f where
// select[row of e, f] == edge[e].
struct SddmmArgs {
  const void* indptr;   // [rows + 1], index type
  const void* indices;  // [nnz], index type
  const void* edge;     // [nnz], index type; null for the identity
  const void* a;        // [rows, width]
  const void* b;        // [cols, width], a's type
  const void* select;   // [rows, width], index type, or null
  void* out;            // [nnz], a's type
  Fault* fault;         // CPU: an entry found out of bounds
  int64_t rows;
  int64_t cols;
  int64_t nnz;
  int64_t width;
  int64_t chunks;
  Dtype dtype;
  bool wide_index;
};

GNAS_KERNEL(sddmm_edges, const SddmmArgs& args, int64_t chunk_begin, int64_t chunk_end)

int sddmm_cuda(const SddmmArgs& args, void* stream);

}  // namespace gnas
