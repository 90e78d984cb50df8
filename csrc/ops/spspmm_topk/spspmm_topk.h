// The best k entries of each row of a sparse product: plain structs and kernel declarations, no Torch, no CUDA.
#pragma once

#include <cstdint>

#include "core/simd.h"
#include "core/types.h"

namespace gnas {

// Row i of a times b, of which the k largest values are kept, the lower column first among equal ones.
struct TopkArgs {
  const void* a_indptr;   // [rows + 1], index type
  const void* a_indices;  // [a's entries], index type, checked by the caller
  const void* a_weight;   // [a's entries], or null for ones
  const void* b_indptr;   // [inner + 1], index type
  const void* b_indices;  // [b's entries], index type, checked by the caller
  const void* b_weight;   // [b's entries], or null for ones
  void* indices;          // [rows, k], index type; what is not there is 0
  void* values;           // [rows, k], the weights' type
  void* count;            // [rows], index type: how many are there
  int64_t rows;
  int64_t cols;
  int64_t k;
  bool exclude_diagonal;
  bool wide_value;  // float64, else float32
  bool wide_index;
};

// Bytes of zeros that one thread needs: a sum and a mark for each column, the columns in use, and 2 k candidates.
inline int64_t topk_scratch(const TopkArgs& a) {
  return (a.cols + 1) * ((a.wide_value ? 16 : 8) + (a.wide_index ? 8 : 4)) + (2 * a.k + 1) * 16;
}

GNAS_KERNEL(topk_rows, const TopkArgs& args, int64_t row_begin, int64_t row_end, void* scratch)

}  // namespace gnas
