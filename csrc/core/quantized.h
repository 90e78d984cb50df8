// Rows of numbers in 8, 4 or 2 bits each, as plain data: entry f of row i is scale[i] * code[i, f] + zero[i]. How codes
// are packed is said in gnas_ext/ops/quantized_rows.py. No Torch, no CUDA.
#pragma once

#include <cstdint>

namespace gnas {

struct QuantizedTable {
  const void* codes;   // [rows, row_bytes]: int8, or packed uint8 of code + 2^(bits - 1)
  const float* scale;  // [rows]
  const float* zero;   // [rows]; null where every one is 0
  int64_t rows;
  int64_t width;      // numbers a row
  int64_t row_bytes;  // from one row to the next
  int bits;           // 8, 4 or 2
};

}  // namespace gnas
