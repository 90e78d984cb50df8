// Schemas, safety checks and entries of spmm_quantized, spmm_requantized and sddmm_quantized.
#include "ops/spmm_quantized/spmm_quantized.h"

#include "core/chunks.h"
#include "core/quantized_torch.h"
#include "core/torch.h"
#ifndef GNAS_CUDA
#include <memory>

#include "ops/spmm_quantized/gatherable.h"
#endif

namespace gnas {
namespace {

// The graph and the table of a call, checked. The tensors are kept: the pointers point into them.
struct Call {
  SpmmQuantizedArgs args;
  OptionalTensor weight;
};

Call prepare(const char* op, const Tensor& indptr, const Tensor& indices, const OptionalTensor& edge,
             const OptionalTensor& weight, const Tensor& codes, const Tensor& scale, const OptionalTensor& zero,
             int64_t bits, int64_t width, const std::string& reduce) {
  const QuantizedTable table = check_quantized(op, codes, scale, zero, bits, width);
  const Csr csr = check_csr(op, indptr, indices, codes);
  check_edge(op, edge, indptr, csr.nnz);
  if (weight) {
    GNAS_CHECK(weight->dim() == 1 && weight->size(0) == csr.nnz, op, ": expected weight of shape [", csr.nnz, "], got ",
               shape_of(*weight));
    GNAS_CHECK(weight->scalar_type() == ScalarType::Float, op, ": expected weight in float32");
    GNAS_CHECK(same_device(*weight, codes), op, ": weight and codes are on different devices");
  }
  GNAS_CHECK(reduce == "sum" || reduce == "mean", op, ": expected reduce sum or mean, got ", reduce);
  Call call{{}, as_contiguous(weight)};
  SpmmQuantizedArgs& a = call.args;
  a.indptr = indptr.data_ptr();
  a.indices = indices.data_ptr();
  a.edge = pointer(edge);
  a.weight = static_cast<const float*>(pointer(call.weight));
  a.table = table;
  a.out_stride = width;
  a.rows = csr.rows;
  a.cols = table.rows;
  a.nnz = csr.nnz;
  a.chunks = 1;
  a.mean = reduce == "mean";
  a.wide_index = csr.wide_index;
  return call;
}

void check_finite(const char* op, const Fault& infinite) {
  GNAS_CHECK(infinite.edge < 0, op, ": row ", infinite.edge,
             " of the result is not finite and has no scale: look at the weights, or leave out_bits out");
}

#ifdef GNAS_CUDA
void run(const char* op, SpmmQuantizedArgs a, const Tensor& codes) {
  const torch::stable::accelerator::DeviceGuard guard(codes.get_device_index());
  const Scratch scratch(codes, spmm_quantized_cuda_scratch(a));
  check_launch(op, spmm_quantized_cuda(a, scratch.data(), current_stream(codes)));
}
#else
// All rows of a panel, or of the whole.
void pass(const char* op, SpmmQuantizedArgs a) {
  Fault fault;
  Fault infinite;
  a.fault = &fault;
  a.infinite = &infinite;
  const auto rows = GNAS_AT_LEVEL(spmm_quantized_rows);
  for_chunks(a.chunks, [&](int64_t begin, int64_t end) {
    const std::unique_ptr<float[]> scratch(new float[spmm_quantized_scratch(a)]);
    rows(a, begin, end, scratch.get());
  });
  // What a chunk that was refused left behind is not put together.
  if (a.chunks > 1 && fault.edge < 0) GNAS_AT_LEVEL(spmm_quantized_carry)(a);
  check_fault(op, fault);
  check_finite(op, infinite);
}

void run(const char* op, SpmmQuantizedArgs a, const Tensor& codes) {
  a.chunks = work_chunks(a.rows, a.nnz);
  OptionalTensor carry;
  if (a.chunks > 1) {
    carry = output_like(codes, {2 * a.chunks, a.table.width}, ScalarType::Float);
    a.carry = static_cast<float*>(carry->data_ptr());
  }
  Gatherable(a).each([&](const TablePanel& panel) {
    SpmmQuantizedArgs part = a;
    part.table = panel.table;
    part.out = advance(a.out, panel.column, sizeof(float));
    pass(op, part);
  });
}
#endif

// The master rows are only for the backward, which Python registers, and so is the transpose.
Tensor spmm_quantized(const Tensor& indptr, const Tensor& indices, const OptionalTensor& edge,
                      const OptionalTensor& weight, const Tensor& codes, const Tensor& scale,
                      const OptionalTensor& zero, const OptionalTensor&, int64_t bits, int64_t width,
                      const std::string& reduce, const OptionalTensor&, const OptionalTensor&, const OptionalTensor&) {
  const char* op = "spmm_quantized";
  const Call call = prepare(op, indptr, indices, edge, weight, codes, scale, zero, bits, width, reduce);
  SpmmQuantizedArgs a = call.args;
  Tensor out = output_like(codes, {a.rows, width}, ScalarType::Float);
  a.out = static_cast<float*>(out.data_ptr());
  run(op, a, codes);
  return out;
}

std::tuple<Tensor, Tensor> spmm_requantized(const Tensor& indptr, const Tensor& indices, const OptionalTensor& edge,
                                            const OptionalTensor& weight, const Tensor& codes, const Tensor& scale,
                                            const OptionalTensor& zero, int64_t bits, int64_t width,
                                            const std::string& reduce) {
  const char* op = "spmm_requantized";
  const Call call = prepare(op, indptr, indices, edge, weight, codes, scale, zero, bits, width, reduce);
  SpmmQuantizedArgs a = call.args;
  Tensor new_codes = output_like(codes, {a.rows, width}, ScalarType::Char);
  Tensor new_scale = output_like(codes, {a.rows}, ScalarType::Float);
  a.codes = static_cast<int8_t*>(new_codes.data_ptr());
  a.scale = static_cast<float*>(new_scale.data_ptr());
#ifdef GNAS_CUDA
  // A place on the device for the first row that is not finite; reading it waits for the kernel.
  Tensor row = output_like(codes, {1}, ScalarType::Long);
  torch::stable::fill_(row, -1);
  a.infinite = static_cast<Fault*>(row.data_ptr());
  run(op, a, codes);
  const Tensor here = torch::stable::to(row, torch::stable::Device(torch::headeronly::DeviceType::CPU));
  check_finite(op, Fault{*static_cast<const int64_t*>(here.data_ptr())});
#else
  run(op, a, codes);
#endif
  return {new_codes, new_scale};
}

Tensor sddmm_quantized(const Tensor& indptr, const Tensor& indices, const OptionalTensor& edge, const Tensor& a,
                       const Tensor& codes, const Tensor& scale, const OptionalTensor& zero, const OptionalTensor&,
                       int64_t bits, int64_t width, const OptionalTensor&, const OptionalTensor&,
                       const OptionalTensor&) {
  const char* op = "sddmm_quantized";
  const Call call = prepare(op, indptr, indices, edge, std::nullopt, codes, scale, zero, bits, width, "sum");
  const SpmmQuantizedArgs& graph = call.args;
  GNAS_CHECK(a.dim() == 2 && a.size(0) == graph.rows && a.size(1) == width, op, ": expected a of shape [", graph.rows,
             ", ", width, "], got ", shape_of(a));
  GNAS_CHECK(a.scalar_type() == ScalarType::Float, op, ": expected a in float32");
  GNAS_CHECK(same_device(a, codes), op, ": a and codes are on different devices");
  const Tensor left = as_contiguous(a);
  Tensor out = output_like(a, {graph.nnz});
  Fault fault;
  SddmmQuantizedArgs args{graph.indptr,
                          graph.indices,
                          graph.edge,
                          static_cast<const float*>(left.data_ptr()),
                          graph.table,
                          static_cast<float*>(out.data_ptr()),
                          &fault,
                          graph.rows,
                          graph.cols,
                          graph.nnz,
                          work_chunks(graph.rows, graph.nnz),
                          graph.wide_index};
#ifdef GNAS_CUDA
  const torch::stable::accelerator::DeviceGuard guard(codes.get_device_index());
  const Scratch scratch(codes, sddmm_quantized_cuda_scratch(args));
  check_launch(op, sddmm_quantized_cuda(args, scratch.data(), current_stream(codes)));
#else
  const auto rows = GNAS_AT_LEVEL(sddmm_quantized_rows);
  for_chunks(args.chunks, [&](int64_t begin, int64_t end) { rows(args, begin, end); });
  check_fault(op, fault);
#endif
  return out;
}

}  // namespace
}  // namespace gnas

#ifdef GNAS_CUDA
STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CUDA, m) {
#else
STABLE_TORCH_LIBRARY_FRAGMENT(gnas_ext, m) {
  // out[i] = reduce over the edges e of row i of weight[edge[e]] * (scale[j] * code[j] + zero[j]), j = indices[e]; a
  // row without edges is zero. master gets the gradient of the rows; its values are not read.
  m.def(
      "spmm_quantized(Tensor indptr, Tensor indices, Tensor? edge, Tensor? weight, Tensor codes, Tensor scale, "
      "Tensor? zero, Tensor? master, int bits, int width, str reduce, Tensor? t_indptr, Tensor? t_indices, "
      "Tensor? t_edge) -> Tensor");
  // The same as int8 codes and a scale a row.
  m.def(
      "spmm_requantized(Tensor indptr, Tensor indices, Tensor? edge, Tensor? weight, Tensor codes, Tensor scale, "
      "Tensor? zero, int bits, int width, str reduce) -> (Tensor, Tensor)");
  // out[edge[e]] = dot product of a[i] and scale[j] * code[j] + zero[j]: the gradient of those weights.
  m.def(
      "sddmm_quantized(Tensor indptr, Tensor indices, Tensor? edge, Tensor a, Tensor codes, Tensor scale, Tensor? "
      "zero, "
      "Tensor? master, int bits, int width, Tensor? t_indptr, Tensor? t_indices, Tensor? t_edge) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CPU, m) {
#endif
  m.impl("spmm_quantized", TORCH_BOX(&gnas::spmm_quantized));
  m.impl("spmm_requantized", TORCH_BOX(&gnas::spmm_requantized));
  m.impl("sddmm_quantized", TORCH_BOX(&gnas::sddmm_quantized));
}
