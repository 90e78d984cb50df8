// Schema, safety checks and CPU entry of k_core. On CUDA it is rounds of torch ops, registered in
// gnas_ext/ops/k_core.py.
#include "ops/k_core/k_core.h"

#include "core/torch.h"

#ifndef GNAS_CUDA
namespace gnas {
namespace {

template <class I>
void check_columns(const char* op, const Tensor& indices, int64_t cols) {
  const I* column = static_cast<const I*>(indices.data_ptr());
  int64_t fault = -1;
  for (int64_t e = indices.size(0) - 1; e >= 0; --e)
    if (static_cast<uint64_t>(column[e]) >= static_cast<uint64_t>(cols)) fault = e;
  check_fault(op, Fault{fault});
}

std::tuple<Tensor, Tensor> k_core(const Tensor& indptr, const Tensor& indices, const Tensor& t_indptr,
                                  const Tensor& t_indices, int64_t k_rows, int64_t k_cols) {
  const char* op = "k_core";
  const Csr csr = check_csr(op, indptr, indices, indptr);
  const Csr t = check_csr(op, t_indptr, t_indices, indptr);
  check_index(op, "t_indices", t_indices, indptr, csr.nnz);
  const Tensor rows = output_like(indptr, {csr.rows}, ScalarType::Bool);
  const Tensor cols = output_like(indptr, {t.rows}, ScalarType::Bool);
  const auto with = [&](auto index) {
    using I = decltype(index);
    check_columns<I>(op, indices, t.rows);
    check_columns<I>(op, t_indices, csr.rows);
    const auto side = [](const Tensor& p, const Tensor& i, int64_t least, const Tensor& kept) {
      return Side<I>{static_cast<const I*>(p.data_ptr()), static_cast<const I*>(i.data_ptr()), p.size(0) - 1, least,
                     static_cast<bool*>(kept.data_ptr())};
    };
    peel(side(indptr, indices, k_rows, rows), side(t_indptr, t_indices, k_cols, cols));
  };
  csr.wide_index ? with(int64_t{}) : with(int32_t{});
  return {rows, cols};
}

}  // namespace
}  // namespace gnas

STABLE_TORCH_LIBRARY_FRAGMENT(gnas_ext, m) {
  // Which rows keep k_rows entries and which columns k_cols when all others are taken away, again and again.
  m.def(
      "k_core(Tensor indptr, Tensor indices, Tensor t_indptr, Tensor t_indices, int k_rows, int k_cols) -> (Tensor, "
      "Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CPU, m) { m.impl("k_core", TORCH_BOX(&gnas::k_core)); }
#endif
