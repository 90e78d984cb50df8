// Schema, safety checks and entries of sddmm.
#include "ops/sddmm/sddmm.h"

#include "core/chunks.h"
#include "core/torch.h"
#ifndef GNAS_CUDA
#include "core/panels.h"
#endif

namespace gnas {
namespace {

struct Call {
  SddmmArgs args;
  Tensor a;
  Tensor b;
};

// Checks what sddmm and sddmm_elementwise have in common. The tensors are kept: the pointers point into them.
Call prepare(const char* op, const Tensor& indptr, const Tensor& indices, const OptionalTensor& edge, const Tensor& a,
             const Tensor& b) {
  check_matrix(op, "a", a);
  check_matrix(op, "b", b);
  const Csr csr = check_csr(op, indptr, indices, a);
  GNAS_CHECK(a.size(0) == csr.rows, op, ": expected a of shape [", csr.rows, ", width], got ", shape_of(a));
  GNAS_CHECK(a.size(1) == b.size(1), op, ": a and b differ in width: ", shape_of(a), " and ", shape_of(b));
  GNAS_CHECK(a.scalar_type() == b.scalar_type(), op, ": expected a and b in one dtype");
  GNAS_CHECK(same_device(a, b), op, ": a and b are on different devices");
  check_edge(op, edge, indptr, csr.nnz);
  Call call{{}, as_contiguous(a), as_contiguous(b)};
  SddmmArgs& args = call.args;
  args.indptr = indptr.data_ptr();
  args.indices = indices.data_ptr();
  args.edge = pointer(edge);
  args.a = call.a.data_ptr();
  args.b = call.b.data_ptr();
  args.rows = csr.rows;
  args.cols = b.size(0);
  args.nnz = csr.nnz;
  args.width = args.a_stride = args.b_stride = a.size(1);
  args.heads = 1;
  args.dtype = element_type(op, a);
  args.wide_index = csr.wide_index;
  return call;
}

#ifdef GNAS_CUDA
void run(const char* op, const SddmmArgs& args, const Tensor& a) {
  const torch::stable::accelerator::DeviceGuard guard(a.get_device_index());
  const Scratch scratch(a, sddmm_cuda_scratch(args));
  check_launch(op, sddmm_cuda(args, scratch.data(), current_stream(a)));
}
#else
void run(const char* op, SddmmArgs args, const Tensor& a) {
  args.chunks = work_chunks(args.rows, args.nnz);
  const auto kernel = GNAS_AT_LEVEL(sddmm_edges);
  const auto element = static_cast<int64_t>(a.element_size());
  const bool gathers = args.pairing == Pairing::dot && args.select == nullptr;
  // Halves are rounded once, at the end of the whole row; heads are told from the column's place in it.
  const bool divisible = args.heads == 1 && (args.dtype == Dtype::f32 || args.dtype == Dtype::f64);
  Panels({args.b, args.cols, args.width, element, gathers ? args.nnz : 0}, divisible).each([&](const Panel& panel) {
    SddmmArgs part = args;
    Fault fault;
    part.fault = &fault;
    part.a = advance(args.a, panel.column, element);
    part.b = panel.data;
    part.b_stride = panel.stride;
    part.width = panel.width;
    part.more = panel.column > 0;
    for_chunks(args.chunks, [&](int64_t begin, int64_t end) { kernel(part, begin, end); });
    check_fault(op, fault);
  });
}
#endif

// The transpose is only for the backward, which Python registers.
Tensor sddmm(const Tensor& indptr, const Tensor& indices, const OptionalTensor& edge, const Tensor& a, const Tensor& b,
             const OptionalTensor& select, int64_t heads, const OptionalTensor&, const OptionalTensor&,
             const OptionalTensor&) {
  const char* op = "sddmm";
  Call call = prepare(op, indptr, indices, edge, a, b);
  SddmmArgs& args = call.args;
  args.heads = heads > 1 ? heads : 1;
  GNAS_CHECK(heads >= 0 && args.width % args.heads == 0, op, ": expected a width that is a multiple of the ", heads,
             " heads, got ", args.width);
  if (select) {
    GNAS_CHECK(select->dim() == 2 && select->size(0) == a.size(0) && select->size(1) == a.size(1), op,
               ": expected select of a's shape ", shape_of(a), ", got ", shape_of(*select));
    GNAS_CHECK(select->scalar_type() == indptr.scalar_type(), op, ": expected select in indptr's dtype");
    GNAS_CHECK(same_device(*select, a), op, ": select and a are on different devices");
  }
  const OptionalTensor chosen = as_contiguous(select);
  args.select = pointer(chosen);
  Tensor out = heads == 0 ? output_like(a, {args.nnz}) : output_like(a, {args.nnz, heads});
  // `edge` may name a place twice or never only in a corrupt call; zeros, so that such a call reads nothing stale.
  if (edge) torch::stable::zero_(out);
  args.out = out.data_ptr();
  run(op, args, a);
  return out;
}

Tensor sddmm_elementwise(const Tensor& indptr, const Tensor& indices, const Tensor& a, const Tensor& b,
                         const std::string& pairing, const OptionalTensor&, const OptionalTensor&,
                         const OptionalTensor&) {
  const char* op = "sddmm_elementwise";
  Call call = prepare(op, indptr, indices, std::nullopt, a, b);
  GNAS_CHECK(pairing == "add" || pairing == "mul", op, ": expected op add or mul, got ", pairing);
  call.args.pairing = pairing == "add" ? Pairing::add : Pairing::mul;
  Tensor out = output_like(a, {call.args.nnz, call.args.width});
  call.args.out = out.data_ptr();
  run(op, call.args, a);
  return out;
}

}  // namespace
}  // namespace gnas

#ifdef GNAS_CUDA
STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CUDA, m) {
#else
STABLE_TORCH_LIBRARY_FRAGMENT(gnas_ext, m) {
  // out[edge[e], h] = sum over the columns f of head h of a[row of e, f] * b[indices[e], f], where
  // select[row of e, f] == edge[e] if given. 0 heads: one head, and an output of one dimension.
  m.def(
      "sddmm(Tensor indptr, Tensor indices, Tensor? edge, Tensor a, Tensor b, Tensor? select, int heads, "
      "Tensor? t_indptr, Tensor? t_indices, Tensor? t_edge) -> Tensor");
  // out[e, f] = a[row of e, f] + or * b[indices[e], f].
  m.def(
      "sddmm_elementwise(Tensor indptr, Tensor indices, Tensor a, Tensor b, str op, Tensor? t_indptr, "
      "Tensor? t_indices, Tensor? t_edge) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CPU, m) {
#endif
  m.impl("sddmm", TORCH_BOX(&gnas::sddmm));
  m.impl("sddmm_elementwise", TORCH_BOX(&gnas::sddmm_elementwise));
}
