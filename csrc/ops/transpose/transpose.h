// The transpose of a CSR by counting: plain structs and kernel declarations, no Torch, no CUDA.
#pragma once

#include <cstdint>

namespace gnas {

// Fills t_indptr [cols + 1], t_indices [nnz] (rows, ascending within a column) and t_edge [nnz] (where each entry of
// the transpose stands in the original). Returns the first entry whose column is out of bounds, or -1.
template <class I>
int64_t transpose_csr(const I* indptr, const I* indices, int64_t rows, int64_t cols, int64_t nnz, I* t_indptr,
                      I* t_indices, I* t_edge) {
  for (int64_t c = 0; c <= cols; ++c) t_indptr[c] = 0;
  for (int64_t e = 0; e < nnz; ++e) {
    if (static_cast<uint64_t>(indices[e]) >= static_cast<uint64_t>(cols)) return e;
    ++t_indptr[indices[e] + 1];
  }
  for (int64_t c = 0; c < cols; ++c) t_indptr[c + 1] += t_indptr[c];
  // t_indptr[c] walks to the end of column c while its entries are placed, and is moved back by one column after.
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t e = indptr[row]; e < static_cast<int64_t>(indptr[row + 1]); ++e) {
      const int64_t place = t_indptr[indices[e]]++;
      t_indices[place] = static_cast<I>(row);
      t_edge[place] = static_cast<I>(e);
    }
  }
  for (int64_t c = cols; c > 0; --c) t_indptr[c] = t_indptr[c - 1];
  t_indptr[0] = 0;
  return -1;
}

}  // namespace gnas
