// Schema, safety checks and CPU entry of communities. A graph on CUDA is taken to the CPU, in
// gnas_ext/ops/communities.py: it is done once a graph.
#include "ops/communities/communities.h"

#include "core/torch.h"

#ifndef GNAS_CUDA
namespace gnas {
namespace {

Tensor communities(const Tensor& indptr, const Tensor& indices, int64_t most, int64_t rounds) {
  const char* op = "communities";
  const Csr csr = check_csr(op, indptr, indices, indptr);
  GNAS_CHECK(most >= 1 && rounds >= 0, op, ": expected most of 1 or more and rounds of 0 or more, got ", most, " and ",
             rounds);
  const Tensor label = output_like(indptr, {csr.rows});
  const auto with = [&](auto index) {
    using I = decltype(index);
    const I* column = static_cast<const I*>(indices.data_ptr());
    for (int64_t e = 0; e < csr.nnz; ++e)
      if (static_cast<uint64_t>(column[e]) >= static_cast<uint64_t>(csr.rows)) check_fault(op, Fault{e});
    propagate_labels(static_cast<const I*>(indptr.data_ptr()), column, csr.rows, most, rounds,
                     static_cast<I*>(label.data_ptr()));
  };
  csr.wide_index ? with(int64_t{}) : with(int32_t{});
  return label;
}

}  // namespace
}  // namespace gnas

STABLE_TORCH_LIBRARY_FRAGMENT(gnas_ext, m) {
  // A label a node of a graph of shape [n, n], by label propagation; no more than `most` nodes have one.
  m.def("communities(Tensor indptr, Tensor indices, int most, int rounds) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CPU, m) { m.impl("communities", TORCH_BOX(&gnas::communities)); }
#endif
