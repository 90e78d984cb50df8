// Dense products with a weight that is pruned in blocks: plain structs and kernel declarations, no Torch, no CUDA.
#pragma once

#include <cstdint>

#include "core/simd.h"
#include "core/types.h"

namespace gnas {

// y[r, o] = bias[o] + sum over the live blocks (b_o, b_i) with o in b_o, i in b_i of x[r, i] * weight[o, i].
//
// On the CPU the weight comes packed by `pack_blocks`: for each strip of kStrip outputs the inputs of its live blocks,
// one after another, kStrip numbers an input; `inputs` says which inputs those are.
struct BlockLinearArgs {
  const void* x;         // [rows, in]
  const void* packed;    // [inputs of all strips, kStrip], accumulator type
  const int32_t* runs;   // CPU: pairs (first input, number of inputs) of live blocks, strip after strip
  const int64_t* strip;  // CPU: [strips + 1], where each strip's runs begin
  const int64_t* place;  // CPU: [strips + 1], where each strip begins in `packed`
  const void* bias;      // [strips * kStrip], accumulator type (CPU); CUDA: [out], x's type; or null
  void* y;               // [rows, out], x's type
  int64_t rows;
  int64_t in;
  int64_t out;
  int64_t strips;
  Dtype dtype;
};

constexpr int64_t kStrip = 16;

GNAS_KERNEL(block_linear_rows, const BlockLinearArgs& a, int64_t row_begin, int64_t row_end)

struct PackBlocksArgs {
  const void* weight;  // [out, in]
  void* packed;
  const int32_t* runs;
  const int64_t* strip;
  const int64_t* place;
  int64_t in;
  int64_t out;
  Dtype dtype;
};

GNAS_KERNEL(pack_blocks, const PackBlocksArgs& a, int64_t strip_begin, int64_t strip_end)

// d[o, i] = sum over r of y[r, o] * x[r, i] in live blocks, zero in dead ones.
struct BlockOuterArgs {
  const void* y;        // [rows, out]
  const void* x;        // [rows, in]
  const int32_t* tile;  // CPU: [tiles, 4]: first output, outputs, first input, inputs
  void* d;              // [out, in]; the CPU kernel writes the tiles alone
  int64_t rows;
  int64_t out;
  int64_t in;
  Dtype dtype;
};

// Outputs and inputs of a tile, at most.
constexpr int64_t kTileOut = 8;
constexpr int64_t kTileIn = 16;

GNAS_KERNEL(block_outer_tiles, const BlockOuterArgs& a, int64_t tile_begin, int64_t tile_end)

// CUDA: the mask as it is, a thread an element of the result.
struct BlockMask {
  const bool* live;  // [ceil(out / block_out), ceil(in / block_in)]
  int64_t block_out;
  int64_t block_in;
  int64_t across;  // blocks across: ceil(in / block_in)
};

int block_linear_cuda(const BlockLinearArgs& a, const void* weight, const BlockMask& mask, void* stream);
int block_outer_cuda(const BlockOuterArgs& a, const BlockMask& mask, void* stream);

}  // namespace gnas
