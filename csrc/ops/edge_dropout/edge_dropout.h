// Which edges stay, at random: a bit an edge, from a counter. Plain structs and kernel declarations, no Torch, no CUDA.
#pragma once

#include <cstdint>

#include "core/random.h"
#include "core/simd.h"
#include "core/types.h"

namespace gnas {

// Keeps these draws apart from those of other ops under the same seed.
constexpr uint32_t kDropoutFamily = 0xED6ED809u;

// Bit e of mask is set where a draw of 32 bits is not below `threshold`: the e-th of the stream; or, where a graph is
// given, the first of a counter that the two ends of entry e make, whichever way round.
struct DropoutArgs {
  const void* indptr;   // [rows + 1], index type; null for independent draws
  const void* indices;  // [nnz], index type
  uint8_t* mask;        // [(nnz + 7) / 8]; bits beyond the last entry are zero
  Fault* fault;         // CPU: an entry out of bounds
  int64_t rows;
  int64_t cols;
  int64_t nnz;
  uint64_t seed;
  uint64_t stream;
  uint64_t threshold;  // 0 … 2^32: the probability of being dropped, times 2^32
  bool wide_index;     // int64 rather than int32
};

// Bytes begin … end - 1 of the mask.
GNAS_KERNEL(edge_dropout, const DropoutArgs& a, int64_t begin, int64_t end)

int edge_dropout_cuda(const DropoutArgs& a, void* stream);

namespace {

// The four draws of entries 4 * block … 4 * block + 3.
GNAS_ANYWHERE Philox dropout_draws(const DropoutArgs& a, uint64_t block) {
  return philox4x32({{static_cast<uint32_t>(block), kDropoutFamily, static_cast<uint32_t>(a.stream),
                      static_cast<uint32_t>(a.stream >> 32)}},
                    static_cast<uint32_t>(a.seed), static_cast<uint32_t>(a.seed >> 32));
}

// The key under which pairs draw: the seed and the stream, as the counter has room for the pair alone.
GNAS_ANYWHERE Philox pair_key(const DropoutArgs& a) {
  return philox4x32({{0, kDropoutFamily + 1, static_cast<uint32_t>(a.stream), static_cast<uint32_t>(a.stream >> 32)}},
                    static_cast<uint32_t>(a.seed), static_cast<uint32_t>(a.seed >> 32));
}

// The draw of a pair of nodes, below 2^32 each, whichever comes first.
GNAS_ANYWHERE uint32_t pair_draw(const Philox& key, uint64_t one, uint64_t other) {
  const uint64_t low = one < other ? one : other;
  const uint64_t high = one < other ? other : one;
  return philox4x32({{static_cast<uint32_t>(low), static_cast<uint32_t>(high), kDropoutFamily, 0}}, key.word[0],
                    key.word[1])
      .word[0];
}

}  // namespace
}  // namespace gnas
