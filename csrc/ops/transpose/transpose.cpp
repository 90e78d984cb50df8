// Schema, safety checks and CPU entry of transpose. On CUDA it is a stable sort, registered in
// gnas_ext/ops/transpose.py.
#include "ops/transpose/transpose.h"

#include "core/torch.h"

#ifndef GNAS_CUDA
namespace gnas {
namespace {

std::tuple<Tensor, Tensor, Tensor> transpose(const Tensor& indptr, const Tensor& indices, int64_t cols) {
  const char* op = "transpose";
  const Csr csr = check_csr(op, indptr, indices, indptr);
  GNAS_CHECK(cols >= 0, op, ": expected cols of 0 or more, got ", cols);
  const Tensor t_indptr = output_like(indptr, {cols + 1});
  const Tensor t_indices = output_like(indptr, {csr.nnz});
  const Tensor t_edge = output_like(indptr, {csr.nnz});
  const auto with = [&](auto index) {
    using I = decltype(index);
    return transpose_csr(static_cast<const I*>(indptr.data_ptr()), static_cast<const I*>(indices.data_ptr()), csr.rows,
                         cols, csr.nnz, static_cast<I*>(t_indptr.data_ptr()), static_cast<I*>(t_indices.data_ptr()),
                         static_cast<I*>(t_edge.data_ptr()));
  };
  const Fault fault{csr.wide_index ? with(int64_t{}) : with(int32_t{})};
  check_fault(op, fault);
  return {t_indptr, t_indices, t_edge};
}

}  // namespace
}  // namespace gnas

STABLE_TORCH_LIBRARY_FRAGMENT(gnas_ext, m) {
  // The CSR of the transpose, and where each of its entries stands in the original.
  m.def("transpose(Tensor indptr, Tensor indices, int cols) -> (Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CPU, m) { m.impl("transpose", TORCH_BOX(&gnas::transpose)); }
#endif
