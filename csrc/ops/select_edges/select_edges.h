// The part of a graph that a mask, a list of rows and a renaming of columns leave: plain structs and kernel
// declarations, no Torch, no CUDA.
//
// A pass counts, a prefix sum says where each block of entries goes, a pass compacts. Blocks have a fixed number of
// entries, so neither hubs nor empty rows unbalance them, and the result is the same whatever runs them.
#pragma once

#include <cstdint>

#include "core/simd.h"
#include "core/types.h"

namespace gnas {

constexpr int64_t kSelectWord = 64;     // entries a word of bits
constexpr int64_t kSelectBlock = 4096;  // entries a block

// Where a kept entry's weight stands: nobody asks; among the stored weights; or among those that the mask keeps.
enum class Places : int { none, stored, kept };

// Entry e is live where mask has the bit edge[e] and remap[indices[e]] is not negative. Bits are little-endian.
struct SelectArgs {
  const void* indptr;   // [rows + 1], index type
  const void* indices;  // [nnz], index type
  const void* edge;     // [nnz], index type: where an entry's weight and bit stand; null for the identity
  const void* weight;   // [nnz], elements of weight_bytes; null where no weights are wanted
  const uint8_t* mask;  // [(nnz + 7) / 8]; null for all ones
  const void* listed;   // [out_rows], index type: which rows, in which order; null for all
  const void* remap;    // [cols], index type: what a column is called, -1 for none; null for the identity
  uint64_t* live;       // [words]: the live entries, a bit each; where no rows are listed
  int64_t* base;        // [blocks + 1]: live entries of each block; then, before it. With listed rows: [out_rows + 1]
  uint64_t* kept;       // [words]: Places::kept: the mask without bits beyond the last entry
  int64_t* rank;        // [words]: Places::kept: bits of the mask before each word
  void* out_indptr;     // [out_rows + 1], index type
  void* out_indices;    // [live entries], index type
  void* out_edge;       // [live entries], index type; null for Places::none
  void* out_weight;     // [live entries]; null where weight is
  Fault* fault;         // CPU: an entry out of bounds
  Fault* row_fault;     // CPU: a listed row out of bounds
  int64_t rows;
  int64_t out_rows;
  int64_t cols;
  int64_t new_cols;  // CUDA: below which the names in remap are to be
  int64_t nnz;
  int64_t weight_bytes;  // 2, 4 or 8
  Places places;
  bool wide_index;  // int64 rather than int32

  constexpr int64_t words() const { return (nnz + kSelectWord - 1) / kSelectWord; }
  constexpr int64_t blocks() const { return (nnz + kSelectBlock - 1) / kSelectBlock; }
};

namespace {

// Calls f with a value as large as a weight.
template <class F>
void with_weight(int64_t bytes, const F& f) {
  if (bytes == 2)
    f(uint16_t{});
  else if (bytes == 4)
    f(uint32_t{});
  else
    f(uint64_t{});
}

}  // namespace

// All rows: marks what is live and counts it, a block at a time; then, with base summed, compacts.
GNAS_KERNEL(select_live, const SelectArgs& a, int64_t block_begin, int64_t block_end)
GNAS_KERNEL(select_copy, const SelectArgs& a, int64_t block_begin, int64_t block_end)
// Fills kept and rank.
GNAS_KERNEL(select_rank, const SelectArgs& a)
// Listed rows: counts into base; then, with base summed, compacts.
GNAS_KERNEL(select_count_rows, const SelectArgs& a, int64_t row_begin, int64_t row_end)
GNAS_KERNEL(select_copy_rows, const SelectArgs& a, int64_t row_begin, int64_t row_end)

// The same on a stream (a cudaStream_t); they return a cudaError_t. The first waits, and says how many are live.
int select_count_cuda(const SelectArgs& a, int64_t* total, void* stream);
int select_copy_cuda(const SelectArgs& a, void* stream);

}  // namespace gnas
