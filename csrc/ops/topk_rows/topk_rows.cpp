// Schema, safety checks and CPU entry of topk_rows. On CUDA it is two stable sorts, registered in
// gnas_ext/ops/edge_masks.py.
#include "ops/topk_rows/topk_rows.h"

#include <memory>

#include "core/chunks.h"
#include "core/torch.h"

#ifndef GNAS_CUDA
namespace gnas {
namespace {

// Rows in chunks of equal work.
template <class I, class T>
void run(const I* indptr, const T* scores, int64_t k, bool* keep, const Csr& csr) {
  const int64_t chunks = work_chunks(csr.rows, csr.nnz);
  const auto row_at = [&](int64_t chunk) {
    const I entry = static_cast<I>(csr.nnz / chunks * chunk);
    return chunk == chunks ? csr.rows : std::lower_bound(indptr, indptr + csr.rows, entry) - indptr;
  };
  const std::unique_ptr<int64_t[]> room(new int64_t[2 * csr.nnz]);
  for_chunks(chunks, [&](int64_t begin, int64_t end) {
    keep_largest(indptr, scores, k, keep, room.get(), room.get() + csr.nnz, begin == 0 ? 0 : row_at(begin),
                 row_at(end));
  });
}

Tensor topk_rows(const Tensor& indptr, const Tensor& scores, int64_t k) {
  const char* op = "topk_rows";
  GNAS_CHECK(scores.dim() == 1, op, ": expected scores of shape [nnz], got ", shape_of(scores));
  GNAS_CHECK(k >= 0, op, ": expected k of 0 or more, got ", k);
  const Csr csr = check_segments(op, indptr, scores.size(0), scores);
  const ScalarType type = scores.scalar_type();
  GNAS_CHECK(type == ScalarType::Float || type == ScalarType::Double, op, ": expected scores of float32 or float64");
  const Tensor from = as_contiguous(scores);
  const Tensor out = output_like(scores, {csr.nnz}, ScalarType::Bool);
  auto* keep = static_cast<bool*>(out.data_ptr());
  const auto with = [&](auto index) {
    using I = decltype(index);
    const I* pointers = static_cast<const I*>(indptr.data_ptr());
    if (type == ScalarType::Float)
      run(pointers, static_cast<const float*>(from.data_ptr()), k, keep, csr);
    else
      run(pointers, static_cast<const double*>(from.data_ptr()), k, keep, csr);
  };
  csr.wide_index ? with(int64_t{}) : with(int32_t{});
  return out;
}

}  // namespace
}  // namespace gnas

STABLE_TORCH_LIBRARY_FRAGMENT(gnas_ext, m) {
  // Which entries are among the k of their row with the largest scores; among equals the earlier one.
  m.def("topk_rows(Tensor indptr, Tensor scores, int k) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CPU, m) { m.impl("topk_rows", TORCH_BOX(&gnas::topk_rows)); }
#endif
