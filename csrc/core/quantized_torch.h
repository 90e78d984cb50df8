// The Torch side of quantised rows: what memory safety needs of them, once for every op that takes them.
#pragma once

#include "core/quantized.h"
#include "core/torch.h"

namespace gnas {

// Checked, as plain pointers. The tensors must be contiguous, and stay alive as long as the result is used.
inline QuantizedTable check_quantized(const char* op, const Tensor& codes, const Tensor& scale,
                                      const OptionalTensor& zero, int64_t bits, int64_t width) {
  GNAS_CHECK(bits == 8 || bits == 4 || bits == 2, op, ": expected bits of 8, 4 or 2, got ", bits);
  GNAS_CHECK(codes.dim() == 2 && width >= 0 && codes.size(1) == (width * bits + 7) / 8, op,
             ": expected codes of shape [rows, ", (width * bits + 7) / 8, "] for ", width, " columns of ", bits,
             " bits, got ", shape_of(codes));
  GNAS_CHECK(codes.scalar_type() == (bits == 8 ? ScalarType::Char : ScalarType::Byte), op, ": expected codes in ",
             bits == 8 ? "int8" : "uint8");
  GNAS_CHECK(codes.is_contiguous(), op, ": expected contiguous codes");
  const auto check_row_numbers = [&](const char* name, const Tensor& t) {
    GNAS_CHECK(t.dim() == 1 && t.size(0) == codes.size(0), op, ": expected ", name, " of shape [", codes.size(0),
               "], one a row, got ", shape_of(t));
    GNAS_CHECK(t.scalar_type() == ScalarType::Float && t.is_contiguous(), op, ": expected contiguous ", name,
               " in float32");
    GNAS_CHECK(same_device(t, codes), op, ": ", name, " and codes are on different devices");
  };
  check_row_numbers("scale", scale);
  if (zero) check_row_numbers("zero", *zero);
  return {codes.data_ptr(),
          static_cast<const float*>(scale.data_ptr()),
          static_cast<const float*>(pointer(zero)),
          codes.size(0),
          width,
          codes.size(1),
          static_cast<int>(bits)};
}

}  // namespace gnas
