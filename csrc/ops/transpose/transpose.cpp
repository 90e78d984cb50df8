// Schemas, safety checks and CPU entries of transpose and coo_to_csr. On CUDA they are stable sorts, registered in
// gnas_ext/ops/transpose.py.
#include "ops/transpose/transpose.h"

#include "core/chunks.h"
#include "core/torch.h"

#ifndef GNAS_CUDA
namespace gnas {
namespace {

using Sort = std::tuple<Tensor, Tensor, Tensor>;

template <class I>
void sort_into(const char* op, const Keyed<I>& in, const Sort& out) {
  const Sorted<I> to{static_cast<I*>(std::get<0>(out).data_ptr()), static_cast<I*>(std::get<1>(out).data_ptr()),
                     static_cast<I*>(std::get<2>(out).data_ptr())};
  const SortResult result = sort_by_key(in, to, [](int64_t n, const auto& f) { for_chunks(n, f); });
  GNAS_CHECK(result.fault != SortFault::out_of_memory, op, ": not enough memory");
  check_fault(op, Fault{result.entry});
}

Sort outputs(const char* op, const Tensor& like, int64_t keys, int64_t count) {
  GNAS_CHECK(like.scalar_type() == ScalarType::Long || count <= INT32_MAX, op, ": ", count,
             " entries are too many for int32: use int64 indices");
  return {output_like(like, {keys + 1}), output_like(like, {count}), output_like(like, {count})};
}

Sort transpose(const Tensor& indptr, const Tensor& indices, int64_t cols) {
  const char* op = "transpose";
  const Csr csr = check_csr(op, indptr, indices, indptr);
  GNAS_CHECK(cols >= 0, op, ": expected cols of 0 or more, got ", cols);
  const Sort out = outputs(op, indptr, cols, csr.nnz);
  const auto with = [&](auto index) {
    using I = decltype(index);
    sort_into<I>(op,
                 {static_cast<const I*>(indices.data_ptr()), nullptr, static_cast<const I*>(indptr.data_ptr()),
                  csr.rows, cols, csr.rows, csr.nnz},
                 out);
  };
  csr.wide_index ? with(int64_t{}) : with(int32_t{});
  return out;
}

Sort coo_to_csr(const Tensor& row, const Tensor& col, int64_t rows, int64_t cols) {
  const char* op = "coo_to_csr";
  GNAS_CHECK(row.dim() == 1, op, ": expected row of shape [nnz], got ", shape_of(row));
  GNAS_CHECK(row.scalar_type() == ScalarType::Int || row.scalar_type() == ScalarType::Long, op,
             ": expected row of int32 or int64");
  const int64_t count = row.size(0);
  GNAS_CHECK(col.dim() == 1 && col.size(0) == count, op, ": expected col of shape [", count, "], got ", shape_of(col));
  GNAS_CHECK(col.scalar_type() == row.scalar_type(), op, ": expected col in row's dtype");
  GNAS_CHECK(same_device(col, row), op, ": row and col are on different devices");
  GNAS_CHECK(rows >= 0 && cols >= 0, op, ": expected rows and cols of 0 or more, got ", rows, " and ", cols);
  const Tensor by = as_contiguous(row);
  const Tensor along = as_contiguous(col);
  const Sort out = outputs(op, row, rows, count);
  const auto with = [&](auto index) {
    using I = decltype(index);
    sort_into<I>(
        op,
        {static_cast<const I*>(by.data_ptr()), static_cast<const I*>(along.data_ptr()), nullptr, 0, rows, cols, count},
        out);
  };
  row.scalar_type() == ScalarType::Long ? with(int64_t{}) : with(int32_t{});
  return out;
}

}  // namespace
}  // namespace gnas

STABLE_TORCH_LIBRARY_FRAGMENT(gnas_ext, m) {
  // The CSR of the transpose, and where each of its entries stands in the original.
  m.def("transpose(Tensor indptr, Tensor indices, int cols) -> (Tensor, Tensor, Tensor)");
  // The CSR of entries in any order, and where each of its entries stood; the order is kept within a row.
  m.def("coo_to_csr(Tensor row, Tensor col, int rows, int cols) -> (Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CPU, m) {
  m.impl("transpose", TORCH_BOX(&gnas::transpose));
  m.impl("coo_to_csr", TORCH_BOX(&gnas::coo_to_csr));
}
#endif
