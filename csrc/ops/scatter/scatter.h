// Rows added up wherever an index sends them, in one pass and without a sort: plain structs and kernel declarations, no
// Torch, no CUDA.
#pragma once

#include <cstdint>

#include "core/simd.h"
#include "core/types.h"

namespace gnas {

// out[i, f] = sum (or mean) over the entries e with index[e] == i of src[e, f], in the order of the entries.
struct ScatterArgs {
  const void* index;  // [entries], index type
  const void* src;    // [entries, width]
  void* sum;          // [rows, width], accumulator type; the output itself where that has the same type
  void* out;          // [rows, width], src's type
  void* count;        // [rows], int64, for the mean; else null
  int64_t rows;
  int64_t entries;
  int64_t width;
  Dtype dtype;
  bool wide_index;  // int64 rather than int32
};

// A part of the output, all of which one thread computes. Parts do not depend on each other, and what they come to does
// not depend on how the output was divided.
struct ScatterPart {
  int64_t row_begin;
  int64_t row_end;
  int64_t column_begin;
  int64_t column_end;
  int64_t found;  // set by the kernel: entries whose row lies in the part
};

// out[e] = x[index[e]].
struct GatherRowsArgs {
  const void* index;  // [entries], index type
  const void* x;      // [rows, width]
  void* out;          // [entries, width], x's type
  Fault* fault;       // an entry found out of bounds
  int64_t rows;
  int64_t entries;
  int64_t row_bytes;
  bool wide_index;
};

GNAS_KERNEL(scatter_part, const ScatterArgs& a, ScatterPart& part)
// Divides and rounds whole rows, where there is something to divide or to round.
GNAS_KERNEL(scatter_finish, const ScatterArgs& a, int64_t row_begin, int64_t row_end)
GNAS_KERNEL(gather_rows, const GatherRowsArgs& a, int64_t begin, int64_t end)

}  // namespace gnas
