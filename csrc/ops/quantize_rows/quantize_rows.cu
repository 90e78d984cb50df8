#include "core/quantize.cuh"
#include "ops/quantize_rows/quantize_rows.h"

namespace gnas {
namespace {

using namespace cuda;

template <class T>
__global__ void quantize_kernel(QuantizeRowsArgs a) {
  using A = cuda::Accumulator<T>;
  for (int64_t row = first_row(); row < a.rows; row += row_stride()) {
    const T* from = static_cast<const T*>(a.x) + row * a.width;
    const auto x = [&](int64_t f) { return static_cast<A>(widen(from[f])); };
    RowRange range;
    if (!range_of<A>(x, a.width, a.spec.symmetric, &range)) {
      if (lane() == 0)
        atomicMin(reinterpret_cast<unsigned long long*>(a.refused), static_cast<unsigned long long>(row));
      continue;
    }
    const RowCode code = choose_code<A>(x, a.width, range, a.spec);
    if (lane() == 0) {
      a.scale[row] = code.scale;
      if (a.zero != nullptr) a.zero[row] = code.zero;
    }
    code_row(x, a.width, row, code, a.spec, a.codes + row * a.row_bytes);
  }
}

template <class T>
__global__ void dequantize_kernel(DequantizeRowsArgs a) {
  using A = cuda::Accumulator<T>;
  for (int64_t row = first_row(); row < a.table.rows; row += row_stride()) {
    T* out = static_cast<T*>(a.out) + row * a.table.width;
    for (int64_t f = lane(); f < a.table.width; f += kWarp) narrow(value_of<A>(a.table, row, f), out + f);
  }
}

}  // namespace

int quantize_rows_cuda(const QuantizeRowsArgs& a, void* stream, int64_t* refused) {
  *refused = a.rows;
  if (a.rows == 0) return cudaSuccess;
  const auto on = static_cast<cudaStream_t>(stream);
  cudaError_t error = cudaMemcpyAsync(a.refused, refused, sizeof *refused, cudaMemcpyHostToDevice, on);
  if (error != cudaSuccess) return error;
  with_types(a.dtype, false, [&](auto element, auto) {
    launch(quantize_kernel<decltype(element)>, row_blocks(a.rows), kWarp * kWarpsPerBlock, on, a);
  });
  error = cudaGetLastError();
  if (error != cudaSuccess) return error;
  error = cudaMemcpyAsync(refused, a.refused, sizeof *refused, cudaMemcpyDeviceToHost, on);
  return error == cudaSuccess ? cudaStreamSynchronize(on) : error;
}

int dequantize_rows_cuda(const DequantizeRowsArgs& a, void* stream) {
  if (a.table.rows == 0 || a.table.width == 0) return cudaSuccess;
  const auto on = static_cast<cudaStream_t>(stream);
  with_types(a.dtype, false, [&](auto element, auto) {
    launch(dequantize_kernel<decltype(element)>, row_blocks(a.table.rows), kWarp * kWarpsPerBlock, on, a);
  });
  return cudaGetLastError();
}

}  // namespace gnas
