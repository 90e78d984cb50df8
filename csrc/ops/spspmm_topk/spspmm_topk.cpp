// Schema, safety checks and CPU entry of spspmm_topk. On CUDA it is blocks of spmm, registered in
// gnas_ext/ops/spspmm_topk.py.
#include "ops/spspmm_topk/spspmm_topk.h"

#ifndef GNAS_CUDA
#include <algorithm>
#include <memory>
#include <new>
#include <vector>

#include "core/chunks.h"
#include "core/torch.h"

namespace gnas {
namespace {

// Every column is read many times, so all are checked once, before.
template <class I>
void check_columns(const char* op, const Tensor& indices, int64_t cols) {
  const I* column = static_cast<const I*>(indices.data_ptr());
  const int64_t count = indices.size(0);
  for (int64_t e = 0; e < count; ++e)
    if (static_cast<uint64_t>(column[e]) >= static_cast<uint64_t>(cols)) check_fault(op, Fault{e});
}

// How many products come before each row.
template <class I>
std::vector<int64_t> products(const TopkArgs& a) {
  const I* a_indptr = static_cast<const I*>(a.a_indptr);
  const I* a_indices = static_cast<const I*>(a.a_indices);
  const I* b_indptr = static_cast<const I*>(a.b_indptr);
  std::vector<int64_t> before(a.rows + 1);
  int64_t sum = 0;
  for (int64_t row = 0; row < a.rows; ++row) {
    before[row] = sum;
    for (int64_t e = a_indptr[row]; e < static_cast<int64_t>(a_indptr[row + 1]); ++e)
      sum += b_indptr[a_indices[e] + 1] - b_indptr[a_indices[e]];
    ++sum;
  }
  before[a.rows] = sum;
  return before;
}

// Rows are summed one by one, so where they are cut between threads makes no difference.
void run(const char* op, const TopkArgs& a, const std::vector<int64_t>& before) {
  const int64_t chunks = work_chunks(0, before.back());
  const auto row_at = [&](int64_t chunk) {
    return std::lower_bound(before.begin(), before.end(),
                            before.back() / chunks * chunk + (chunk == chunks ? before.back() % chunks : 0)) -
           before.begin();
  };
  bool enough = true;
  const auto kernel = GNAS_AT_LEVEL(topk_rows);
  for_chunks(chunks, [&](int64_t begin, int64_t end) {
    // A thread that finds no memory says so: an exception may not leave it.
    const std::unique_ptr<char[]> scratch(new (std::nothrow) char[topk_scratch(a)]());
    if (scratch == nullptr)
      __atomic_store_n(&enough, false, __ATOMIC_RELAXED);
    else
      kernel(a, row_at(begin), row_at(end), scratch.get());
  });
  GNAS_CHECK(enough, op, ": not enough memory");
}

void check_weight(const char* op, const char* name, const OptionalTensor& weight, const Tensor& indices,
                  const OptionalTensor& other) {
  if (!weight) return;
  GNAS_CHECK(weight->dim() == 1 && weight->size(0) == indices.size(0), op, ": expected ", name, " of shape [",
             indices.size(0), "], got ", shape_of(*weight));
  GNAS_CHECK(weight->scalar_type() == ScalarType::Float || weight->scalar_type() == ScalarType::Double, op,
             ": expected ", name, " of float32 or float64");
  GNAS_CHECK(!other || other->scalar_type() == weight->scalar_type(), op, ": expected both weights in one dtype");
  GNAS_CHECK(same_device(*weight, indices), op, ": ", name, " and the graph are on different devices");
}

std::tuple<Tensor, Tensor, Tensor> spspmm_topk(const Tensor& a_indptr, const Tensor& a_indices,
                                               const OptionalTensor& a_weight, const Tensor& b_indptr,
                                               const Tensor& b_indices, const OptionalTensor& b_weight, int64_t cols,
                                               int64_t k, bool exclude_diagonal) {
  const char* op = "spspmm_topk";
  const Csr a = check_csr(op, a_indptr, a_indices, a_indptr);
  const Csr b = check_csr(op, b_indptr, b_indices, a_indptr);
  GNAS_CHECK(a.wide_index == b.wide_index, op, ": expected both graphs with one index dtype");
  GNAS_CHECK(cols >= 0 && k >= 0, op, ": expected cols and k of 0 or more, got ", cols, " and ", k);
  check_weight(op, "a_weight", a_weight, a_indices, std::nullopt);
  check_weight(op, "b_weight", b_weight, b_indices, a_weight);
  const OptionalTensor left = as_contiguous(a_weight);
  const OptionalTensor right = as_contiguous(b_weight);
  const ScalarType type = left ? left->scalar_type() : right ? right->scalar_type() : ScalarType::Float;
  const Tensor indices = output_like(a_indptr, {a.rows, k});
  const Tensor values = output_like(a_indptr, {a.rows, k}, type);
  const Tensor count = output_like(a_indptr, {a.rows});
  const TopkArgs args{a_indptr.data_ptr(),
                      a_indices.data_ptr(),
                      pointer(left),
                      b_indptr.data_ptr(),
                      b_indices.data_ptr(),
                      pointer(right),
                      indices.data_ptr(),
                      values.data_ptr(),
                      count.data_ptr(),
                      a.rows,
                      cols,
                      k,
                      exclude_diagonal,
                      type == ScalarType::Double,
                      a.wide_index};
  const auto with = [&](auto index) {
    using I = decltype(index);
    check_columns<I>(op, a_indices, b.rows);
    check_columns<I>(op, b_indices, cols);
    run(op, args, products<I>(args));
  };
  a.wide_index ? with(int64_t{}) : with(int32_t{});
  return {indices, values, count};
}

}  // namespace
}  // namespace gnas

STABLE_TORCH_LIBRARY_FRAGMENT(gnas_ext, m) {
  // Columns and values of the k largest entries of each row of a @ b, the largest first, and how many there are.
  m.def(
      "spspmm_topk(Tensor a_indptr, Tensor a_indices, Tensor? a_weight, Tensor b_indptr, Tensor b_indices, Tensor? "
      "b_weight, SymInt cols, SymInt k, bool exclude_diagonal) -> (Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CPU, m) { m.impl("spspmm_topk", TORCH_BOX(&gnas::spspmm_topk)); }
#endif
