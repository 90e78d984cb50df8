// Schemas, safety checks and entries of quantize_rows and dequantize_rows.
#include "ops/quantize_rows/quantize_rows.h"

#include "core/chunks.h"
#include "core/quantized_torch.h"
#include "core/torch.h"

namespace gnas {
namespace {

#ifdef GNAS_CUDA
int64_t run(const char* op, QuantizeRowsArgs a, const Tensor& x) {
  const torch::stable::accelerator::DeviceGuard guard(x.get_device_index());
  const Tensor first = output_like(x, {1}, ScalarType::Long);
  a.refused = static_cast<int64_t*>(first.data_ptr());
  int64_t refused = a.rows;
  check_launch(op, quantize_rows_cuda(a, current_stream(x), &refused));
  return refused;
}

void run(const char* op, const DequantizeRowsArgs& a, const Tensor& codes) {
  const torch::stable::accelerator::DeviceGuard guard(codes.get_device_index());
  check_launch(op, dequantize_rows_cuda(a, current_stream(codes)));
}
#else
// Rows a piece: enough work to be worth a thread.
int64_t grain(int64_t width) { return 1 + (1 << 14) / (width + 1); }

int64_t run(const char*, QuantizeRowsArgs a, const Tensor&) {
  int64_t refused = a.rows;
  a.refused = &refused;
  const auto kernel = GNAS_AT_LEVEL(quantize_rows);
  parallel_for(0, a.rows, grain(a.width), [&](int64_t begin, int64_t end) { kernel(a, begin, end); });
  return refused;
}

void run(const char*, const DequantizeRowsArgs& a, const Tensor&) {
  const auto kernel = GNAS_AT_LEVEL(dequantize_rows);
  parallel_for(0, a.table.rows, grain(a.table.width), [&](int64_t begin, int64_t end) { kernel(a, begin, end); });
}
#endif

std::tuple<Tensor, Tensor, Tensor> quantize_rows(const Tensor& x, int64_t bits, const std::string& rounding,
                                                 const std::string& clip, bool symmetric, int64_t seed) {
  const char* op = "quantize_rows";
  check_matrix(op, "x", x);
  GNAS_CHECK(bits == 8 || bits == 4 || bits == 2, op, ": expected bits of 8, 4 or 2, got ", bits);
  GNAS_CHECK(rounding == "nearest" || rounding == "stochastic", op, ": expected rounding nearest or stochastic, got ",
             rounding);
  GNAS_CHECK(clip == "minmax" || clip == "mse", op, ": expected clip minmax or mse, got ", clip);
  const Tensor from = as_contiguous(x);
  const int64_t rows = x.size(0);
  const int64_t row_bytes = (x.size(1) * bits + 7) / 8;
  const Tensor codes = output_like(x, {rows, row_bytes}, bits == 8 ? ScalarType::Char : ScalarType::Byte);
  const Tensor scale = output_like(x, {rows}, ScalarType::Float);
  const Tensor zero = output_like(x, {symmetric ? 0 : rows}, ScalarType::Float);
  const QuantizeRowsArgs args{from.data_ptr(),
                              static_cast<uint8_t*>(codes.data_ptr()),
                              static_cast<float*>(scale.data_ptr()),
                              symmetric ? nullptr : static_cast<float*>(zero.data_ptr()),
                              nullptr,
                              rows,
                              x.size(1),
                              row_bytes,
                              element_type(op, x),
                              {static_cast<int>(bits), symmetric, rounding == "stochastic", clip == "mse",
                               static_cast<uint64_t>(seed), kQuantizeFamily}};
  const int64_t refused = run(op, args, x);
  GNAS_CHECK(refused == rows, op, ": row ", refused, " holds NaN, Inf or a number beyond ",
             symmetric ? "float32" : "half of float32's range", ", which has no code");
  return {codes, scale, zero};
}

Tensor dequantize_rows(const Tensor& codes, const Tensor& scale, const OptionalTensor& zero, int64_t bits,
                       int64_t width, ScalarType dtype) {
  const char* op = "dequantize_rows";
  const QuantizedTable table = check_quantized(op, codes, scale, zero, bits, width);
  const Tensor out = output_like(codes, {table.rows, width}, dtype);
  run(op, DequantizeRowsArgs{table, out.data_ptr(), element_type(op, out)}, codes);
  return out;
}

}  // namespace
}  // namespace gnas

#ifdef GNAS_CUDA
STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CUDA, m) {
#else
STABLE_TORCH_LIBRARY_FRAGMENT(gnas_ext, m) {
  // Codes, scales and zeros (none for symmetric rows).
  m.def(
      "quantize_rows(Tensor x, int bits, str rounding, str clip, bool symmetric, int seed) -> (Tensor, Tensor, "
      "Tensor)");
  // scale[i] * code[i, f] + zero[i].
  m.def(
      "dequantize_rows(Tensor codes, Tensor scale, Tensor? zero, int bits, SymInt width, ScalarType dtype) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CPU, m) {
#endif
  m.impl("quantize_rows", TORCH_BOX(&gnas::quantize_rows));
  m.impl("dequantize_rows", TORCH_BOX(&gnas::dequantize_rows));
}
