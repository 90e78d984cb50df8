// Sums over each row's neighbours of live column blocks alone: plain structs and kernel declarations, no Torch, no
// CUDA.
//
// A block is 16 columns: a cache line of float32. A mask says for each group of rows which blocks are live; the others
// count as zeros. The groups are those of the rows that are read, or of the rows that are written.
#pragma once

#include <cstdint>

#include "core/simd.h"
#include "core/types.h"

namespace gnas {

constexpr int64_t kBlockColumns = 16;

// 16 blocks of the rows of a group.
struct alignas(256) BlockTable {
  int32_t last;        // where the last live block of the whole row begins, in bytes; 0 where there is none
  int32_t offset[16];  // where each block begins; 0 for dead ones
  int32_t mask[16];    // -1 where live, else 0
};

// Some of the blocks in one pass over the graph, counted 0 … blocks-1; `column` says which they are.
//
// Where all edges of a row have the same live blocks (groups of written rows, or one group of all), those are walked as
// a list. Else each edge has a mask, and the live blocks of a source row must stand side by side from its beginning.
struct SpmmBlocksArgs {
  const void* indptr;       // [rows + 1], index type
  const void* indices;      // [nnz], index type
  const void* edge;         // [nnz], index type: where an edge's weight stands; null for the identity
  const void* weight;       // [nnz], x's type; null for all ones
  const void* x;            // source row i begins at block begin[i], or at element i * x_stride where begin is null
  const void* begin;        // [cols], index type, or null
  const uint8_t* group;     // of a row that is read, or written where by_row; null where there is one group
  const int32_t* column;    // [blocks], which block of out this is
  const int32_t* offset;    // [groups, blocks], bytes from where a source row begins; 0 for dead blocks
  const BlockTable* table;  // [ceil(blocks / 16), groups], where each edge has a mask
  const int32_t* live;      // [groups, blocks], the live ones first
  const int32_t* count;     // [groups], how many are live
  const int32_t* dead;      // [groups, out_blocks], blocks of out that are zero; written by the first pass alone
  const int32_t* deaths;    // [groups], how many, or null in later passes
  void* out;                // [rows, width], x's type
  void* carry;              // [2 * chunks, blocks * 16], accumulator type, for the rows that a cut divides
  Fault* fault;
  int64_t rows;
  int64_t cols;
  int64_t nnz;
  int64_t width;
  int64_t x_stride;
  int64_t row_bytes;  // at most, of the live blocks of a source row
  int64_t blocks;
  int64_t groups;
  int64_t out_blocks;
  int64_t chunks;
  Dtype dtype;
  bool by_row;  // group is that of the row that is written
  bool listed;  // walk the lists of live blocks; else every block, masked
  bool mean;
  bool uniform;     // as many live blocks in every group
  bool stream;      // rows of out are whole cache lines, and so many that they should pass by the caches
  bool wide_index;  // int64 rather than int32
};

GNAS_KERNEL(spmm_blocks_rows, const SpmmBlocksArgs& a, int64_t chunk_begin, int64_t chunk_end)
GNAS_KERNEL(spmm_blocks_carry, const SpmmBlocksArgs& a)

// Copies the live blocks of each row side by side: row i to `to` + i * to_stride, the rest of a last block filled up
// with zeros.
struct CopyBlocksArgs {
  const void* x;  // [rows, width]
  void* to;
  const uint8_t* group;   // [rows] or null
  const int32_t* column;  // [blocks]
  const int32_t* live;    // [groups, blocks]
  const int32_t* count;   // [groups]
  int64_t width;
  int64_t to_stride;  // elements
  int64_t blocks;
  int64_t element;  // bytes
};

GNAS_KERNEL(copy_blocks, const CopyBlocksArgs& a, int64_t row_begin, int64_t row_end)

// A call as a whole, and what CUDA takes: all blocks in one launch.
struct SpmmBlocksCall {
  const void* indptr;
  const void* indices;
  const void* edge;
  const void* weight;
  const void* x;         // [cols, width], or rows of live blocks where begin is not null
  const void* begin;     // [cols], index type, or null
  const int32_t* rank;   // with begin: [groups, blocks], where in a source row this block stands; -1 where dead
  const bool* blocks;    // without: [groups, blocks]
  const uint8_t* group;  // null where there is one group
  void* out;             // [rows, width]
  int64_t rows;
  int64_t cols;
  int64_t nnz;
  int64_t width;
  int64_t groups;
  int64_t block_count;  // blocks a row, [ceil(width / 16)]
  int64_t stored;       // with begin: blocks in x
  Dtype dtype;
  bool by_row;
  bool mean;
  bool wide_index;
};

// Bytes of the device's memory that a call works in.
int64_t spmm_blocks_cuda_scratch(const SpmmBlocksCall& a);
// Launches on a stream (a cudaStream_t); returns a cudaError_t.
int spmm_blocks_cuda(const SpmmBlocksCall& a, void* scratch, void* stream);

}  // namespace gnas
