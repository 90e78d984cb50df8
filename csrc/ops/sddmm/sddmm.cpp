// Schema, safety checks and entries of sddmm.
#include "ops/sddmm/sddmm.h"

#include "core/chunks.h"
#include "core/torch.h"

namespace gnas {
namespace {

Tensor sddmm(const Tensor& indptr, const Tensor& indices, const OptionalTensor& edge, const Tensor& a, const Tensor& b,
             const OptionalTensor& select, const OptionalTensor&, const OptionalTensor&, const OptionalTensor&) {
  const char* op = "sddmm";
  check_matrix(op, "a", a);
  check_matrix(op, "b", b);
  const Csr csr = check_csr(op, indptr, indices, a);
  GNAS_CHECK(a.size(0) == csr.rows, op, ": expected a of shape [", csr.rows, ", width], got ", shape_of(a));
  GNAS_CHECK(a.size(1) == b.size(1), op, ": a and b differ in width: ", shape_of(a), " and ", shape_of(b));
  GNAS_CHECK(a.scalar_type() == b.scalar_type(), op, ": expected a and b in one dtype");
  GNAS_CHECK(same_device(a, b), op, ": a and b are on different devices");
  if (edge) {
    check_index(op, "edge", *edge, indptr, csr.nnz);
    GNAS_CHECK(edge->is_contiguous(), op, ": expected contiguous edge");
  }
  if (select) {
    GNAS_CHECK(select->dim() == 2 && select->size(0) == a.size(0) && select->size(1) == a.size(1), op,
               ": expected select of a's shape ", shape_of(a), ", got ", shape_of(*select));
    GNAS_CHECK(select->scalar_type() == indptr.scalar_type(), op, ": expected select in indptr's dtype");
    GNAS_CHECK(same_device(*select, a), op, ": select and a are on different devices");
  }
  const Tensor left = torch::stable::contiguous(a);
  const Tensor right = torch::stable::contiguous(b);
  const OptionalTensor chosen = contiguous(select);
  // `edge` may name a place twice or never only in a corrupt call; zeros, so that such a call reads nothing stale.
  const Tensor out = edge ? torch::stable::new_zeros(a, {csr.nnz}) : output_like(a, {csr.nnz});

  SddmmArgs args{};
  args.indptr = indptr.data_ptr();
  args.indices = indices.data_ptr();
  args.edge = pointer(edge);
  args.a = left.data_ptr();
  args.b = right.data_ptr();
  args.select = pointer(chosen);
  args.out = out.data_ptr();
  args.rows = csr.rows;
  args.cols = b.size(0);
  args.nnz = csr.nnz;
  args.width = a.size(1);
  args.dtype = element_type(op, a);
  args.wide_index = csr.wide_index;
#ifdef GNAS_CUDA
  const torch::stable::accelerator::DeviceGuard guard(a.get_device_index());
  check_launch(op, sddmm_cuda(args, current_stream(a)));
#else
  Fault fault;
  args.fault = &fault;
  args.chunks = work_chunks(csr.rows, csr.nnz);
  const auto kernel = GNAS_AT_LEVEL(sddmm_edges);
  for_chunks(args.chunks, [&](int64_t begin, int64_t end) { kernel(args, begin, end); });
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
  // out[edge[e]] = sum over f of a[row of e, f] * b[indices[e], f], where select[row of e, f] == edge[e] if given.
  m.def(
      "sddmm(Tensor indptr, Tensor indices, Tensor? edge, Tensor a, Tensor b, Tensor? select, Tensor? t_indptr, "
      "Tensor? t_indices, Tensor? t_edge) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CPU, m) {
#endif
  m.impl("sddmm", TORCH_BOX(&gnas::sddmm));
}
