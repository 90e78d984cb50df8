// A step of row-wise Adagrad on a table of int8: plain structs, no Torch, no CUDA.
#pragma once

#include <cstdint>

#include "core/quantize.h"
#include "core/quantized.h"
#include "core/simd.h"
#include "core/types.h"

namespace gnas {

// Steps are computed aside and put in place once all are known to be right: a call that is refused has written nothing.
// A step is a row of the table that the batch names, with its entries. On the CPU there are as many as such rows, on
// CUDA as many as entries: those whose row began earlier are empty.
struct EmbeddingUpdateArgs {
  QuantizedTable table;
  const float* state;      // [rows]
  const void* grad;        // [batch, width]
  const int64_t* row;      // the row of each step
  const int64_t* entry;    // [batch]: by row, ascending within one
  const int64_t* entries;  // where the entries of each step begin, and the batch at the end; not on CUDA
  int64_t steps;
  Dtype dtype;  // of grad: never f64
  float lr;
  float eps;
  QuantizeSpec spec;
  uint8_t* codes;    // aside, [steps, width]
  float* scale;      // [steps]
  float* zero;       // [steps]; null for symmetric rows
  float* new_state;  // [steps]
  int64_t* refused;  // the first step whose row or state would not be finite; `steps` while there is none
};

// `room` has width floats, rounded up to a multiple of 64 bytes.
GNAS_KERNEL(embedding_update, const EmbeddingUpdateArgs& a, float* room, int64_t begin, int64_t end)

// `room` has a row of floats a step. Waits for the result; writes the table only if no step was refused.
int embedding_update_cuda(const EmbeddingUpdateArgs& a, float* room, void* stream, int64_t* refused);

}  // namespace gnas
