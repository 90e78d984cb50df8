// Rows to codes of 8, 4 or 2 bits, and back: plain structs, no Torch, no CUDA.
#pragma once

#include <cstdint>

#include "core/quantize.h"
#include "core/quantized.h"
#include "core/simd.h"
#include "core/types.h"

namespace gnas {

struct QuantizeRowsArgs {
  const void* x;     // [rows, width]
  uint8_t* codes;    // [rows, row_bytes]
  float* scale;      // [rows]
  float* zero;       // [rows]; null for symmetric rows
  int64_t* refused;  // the first row that holds what has no code; `rows` while there is none
  int64_t rows;
  int64_t width;
  int64_t row_bytes;
  Dtype dtype;
  QuantizeSpec spec;
};

struct DequantizeRowsArgs {
  QuantizedTable table;
  void* out;  // [rows, width]
  Dtype dtype;
};

GNAS_KERNEL(quantize_rows, const QuantizeRowsArgs& a, int64_t begin, int64_t end)
GNAS_KERNEL(dequantize_rows, const DequantizeRowsArgs& a, int64_t begin, int64_t end)

// Waits for the result: the host has to know the refused row.
int quantize_rows_cuda(const QuantizeRowsArgs& a, void* stream, int64_t* refused);
int dequantize_rows_cuda(const DequantizeRowsArgs& a, void* stream);

}  // namespace gnas
