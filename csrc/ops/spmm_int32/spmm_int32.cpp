// Schema, safety checks and entry of spmm_int32.
#include "ops/spmm_int32/spmm_int32.h"

#include "core/chunks.h"
#include "core/torch.h"
#ifndef GNAS_CUDA
#include "core/panels.h"
#endif

namespace gnas {
namespace {

void check_overflow(const char* op, const Fault& overflow) {
  GNAS_CHECK(overflow.edge < 0, op, ": row ", overflow.edge, " may not fit int32: it has more than ", kSafeDegree,
             " edges, and its weights without their signs add up to more than ", kSafeWeight,
             "; use smaller weights, or spmm_quantized");
}

#ifndef GNAS_CUDA
template <class I>
Fault first_too_large(const SpmmInt32Args& a) {
  const I* indptr = static_cast<const I*>(a.indptr);
  for (int64_t row = 0; row < a.rows; ++row) {
    if (!fits_int32(indptr, a.weight, row)) return {row};
  }
  return {};
}

// All rows of a panel, or of the whole.
void pass(const char* op, SpmmInt32Args a) {
  Fault fault;
  a.fault = &fault;
  const auto rows = GNAS_AT_LEVEL(spmm_int32_rows);
  for_chunks(a.chunks, [&](int64_t begin, int64_t end) { rows(a, begin, end); });
  if (a.chunks > 1 && fault.edge < 0) GNAS_AT_LEVEL(spmm_int32_carry)(a);
  check_fault(op, fault);
}

void run(const char* op, SpmmInt32Args a, const Tensor& codes) {
  check_overflow(op, a.wide_index ? first_too_large<int64_t>(a) : first_too_large<int32_t>(a));
  a.vnni = vnni();
  a.chunks = work_chunks(a.rows, a.nnz);
  OptionalTensor carry;
  if (a.chunks > 1) {
    carry = output_like(codes, {2 * a.chunks, a.width}, ScalarType::Int);
    a.carry = static_cast<int32_t*>(carry->data_ptr());
  }
  Panels({a.codes, a.cols, a.width, 1, a.nnz}).each([&](const Panel& panel) {
    SpmmInt32Args part = a;
    part.codes = static_cast<const int8_t*>(panel.data);
    part.stride = panel.stride;
    part.width = panel.width;
    part.out = advance(a.out, panel.column, sizeof(int32_t));
    pass(op, part);
  });
}
#endif

Tensor spmm_int32(const Tensor& indptr, const Tensor& indices, const Tensor& weight, const Tensor& codes) {
  const char* op = "spmm_int32";
  check_matrix(op, "codes", codes);
  GNAS_CHECK(codes.scalar_type() == ScalarType::Char, op, ": expected codes in int8");
  const Csr csr = check_csr(op, indptr, indices, codes);
  GNAS_CHECK(weight.dim() == 1 && weight.size(0) == csr.nnz, op, ": expected weight of shape [", csr.nnz, "], got ",
             shape_of(weight));
  GNAS_CHECK(weight.scalar_type() == ScalarType::Char, op, ": expected weight in int8");
  GNAS_CHECK(same_device(weight, codes), op, ": weight and codes are on different devices");
  const Tensor from = as_contiguous(codes);
  const Tensor by = as_contiguous(weight);
  Tensor out = output_like(codes, {csr.rows, codes.size(1)}, ScalarType::Int);
  SpmmInt32Args a{};
  a.indptr = indptr.data_ptr();
  a.indices = indices.data_ptr();
  a.weight = static_cast<const int8_t*>(by.data_ptr());
  a.codes = static_cast<const int8_t*>(from.data_ptr());
  a.out = static_cast<int32_t*>(out.data_ptr());
  a.rows = csr.rows;
  a.cols = codes.size(0);
  a.nnz = csr.nnz;
  a.width = a.stride = a.out_stride = codes.size(1);
  a.chunks = 1;
  a.wide_index = csr.wide_index;
#ifdef GNAS_CUDA
  const torch::stable::accelerator::DeviceGuard guard(codes.get_device_index());
  // A place on the device for a row that may not fit; reading it waits for the kernel.
  Tensor row = output_like(codes, {1}, ScalarType::Long);
  torch::stable::fill_(row, -1);
  a.overflow = static_cast<Fault*>(row.data_ptr());
  const Scratch scratch(codes, spmm_int32_cuda_scratch(a));
  check_launch(op, spmm_int32_cuda(a, scratch.data(), current_stream(codes)));
  const Tensor here = torch::stable::to(row, torch::stable::Device(torch::headeronly::DeviceType::CPU));
  check_overflow(op, Fault{*static_cast<const int64_t*>(here.data_ptr())});
#else
  run(op, a, codes);
#endif
  return out;
}

}  // namespace
}  // namespace gnas

#ifdef GNAS_CUDA
STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CUDA, m) {
#else
STABLE_TORCH_LIBRARY_FRAGMENT(gnas_ext, m) {
  // out[i] = sum over the edges e of row i of weight[e] * codes[indices[e]], in int32 and exact; a row that may not fit
  // is refused.
  m.def("spmm_int32(Tensor indptr, Tensor indices, Tensor weight, Tensor codes) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CPU, m) {
#endif
  m.impl("spmm_int32", TORCH_BOX(&gnas::spmm_int32));
}
