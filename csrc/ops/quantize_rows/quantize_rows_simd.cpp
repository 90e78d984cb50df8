#include "core/bits.h"
#include "core/dequantize_vector.h"
#include "core/quantize_vector.h"
#include "ops/quantize_rows/quantize_rows.h"

namespace gnas::GNAS_ISA {
namespace {

template <int kBits, class T>
void quantize(const QuantizeRowsArgs& a, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const T* x = static_cast<const T*>(a.x) + row * a.width;
    RowRange range;
    if (!range_of(x, a.width, a.spec.symmetric, &range)) return refuse(a.refused, row);
    const RowCode code = choose_code(x, a.width, range, a.spec);
    a.scale[row] = code.scale;
    if (a.zero != nullptr) a.zero[row] = code.zero;
    code_row<kBits>(x, a.width, row, code, a.spec, a.codes + row * a.row_bytes);
  }
}

template <int kBits, class T>
void dequantize(const DequantizeRowsArgs& a, int64_t begin, int64_t end) {
  using A = Accumulator<T>;
  const int64_t width = a.table.width;
  for (int64_t row = begin; row < end; ++row) {
    T* out = static_cast<T*>(a.out) + row * width;
    each_block<A>(width, [&](int64_t f, auto whole, int64_t count) GNAS_INLINED {
      store_block<whole>(values_of<whole, kBits, A>(a.table, row, f, count), out + f, count);
    });
  }
}

}  // namespace

void quantize_rows(const QuantizeRowsArgs& a, int64_t begin, int64_t end) {
  with_types(a.dtype, false, [&](auto element, auto) {
    with_bits(a.spec.bits, [&](auto bits) { quantize<bits, decltype(element)>(a, begin, end); });
  });
}

void dequantize_rows(const DequantizeRowsArgs& a, int64_t begin, int64_t end) {
  with_types(a.dtype, false, [&](auto element, auto) {
    with_bits(a.table.bits, [&](auto bits) { dequantize<bits, decltype(element)>(a, begin, end); });
  });
}

}  // namespace gnas::GNAS_ISA
