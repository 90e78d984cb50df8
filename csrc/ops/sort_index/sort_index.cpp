// Schema, safety checks and CPU entry of sort_index. On CUDA it is a stable sort, registered in
// gnas_ext/ops/sort_index.py.
#include "ops/sort_index/sort_index.h"

#include "core/chunks.h"
#include "ops/sort_index/entry.h"

#ifndef GNAS_CUDA
#include <algorithm>
#include <limits>
#include <vector>

namespace gnas {
namespace {

template <class I, class O>
bool run(const char* op, const Tensor& index, int64_t size, const Tensor& indptr, const Tensor& perm) {
  // A block costs a pass over the rows: worth it while there are more entries than rows.
  const int64_t entries = index.size(0);
  const int64_t most =
      std::min<int64_t>({torch::stable::get_num_threads(), 16, entries / std::max<int64_t>(size, 8192)});
  const int64_t blocks = std::max<int64_t>(most, 1);
  const auto type = sizeof(O) == 8 ? ScalarType::Long : ScalarType::Int;
  const Tensor counts = torch::stable::new_empty(index, {blocks, size}, type);
  const SortIndex<I, O> sort{static_cast<const I*>(index.data_ptr()),
                             static_cast<O*>(indptr.data_ptr()),
                             static_cast<O*>(perm.data_ptr()),
                             static_cast<O*>(counts.data_ptr()),
                             size,
                             entries,
                             blocks};
  std::vector<int64_t> wrong(blocks, -1);
  std::vector<char> ascends(blocks, 0);
  for_chunks(blocks, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      bool sorted = false;
      wrong[b] = sort.count(b, &sorted);
      ascends[b] = sorted;
    }
  });
  for (const int64_t e : wrong)
    GNAS_CHECK(e < 0, op, ": index[", e, "] is ", static_cast<int64_t>(sort.index[e]),
               ", expected 0 or more and less than size ", size);
  sort.place();
  for_chunks(blocks, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) sort.fill(b);
  });
  return std::all_of(ascends.begin(), ascends.end(), [](char sorted) { return sorted; });
}

}  // namespace

std::tuple<Tensor, Tensor, bool> sort_entries(const char* op, const Tensor& index, int64_t size, bool narrow) {
  const ScalarType type = index.scalar_type();
  GNAS_CHECK(type == ScalarType::Int || type == ScalarType::Long, op, ": expected index of int32 or int64");
  GNAS_CHECK(index.dim() == 1, op, ": expected index of shape [entries], got ", shape_of(index));
  GNAS_CHECK(size >= 0, op, ": expected size of 0 or more, got ", size);
  constexpr int64_t kLargest = std::numeric_limits<int32_t>::max();
  narrow |= type == ScalarType::Int;
  GNAS_CHECK(!narrow || (size < kLargest && index.size(0) < kLargest), op, ": ", index.size(0), " entries and ", size,
             " rows are too many for int32");
  const Tensor from = as_contiguous(index);
  const ScalarType as = narrow ? ScalarType::Int : ScalarType::Long;
  const Tensor indptr = output_like(index, {size + 1}, as);
  const Tensor perm = output_like(index, {index.size(0)}, as);
  const bool ascends = !narrow                    ? run<int64_t, int64_t>(op, from, size, indptr, perm)
                       : type == ScalarType::Long ? run<int64_t, int32_t>(op, from, size, indptr, perm)
                                                  : run<int32_t, int32_t>(op, from, size, indptr, perm);
  return {indptr, perm, ascends};
}

namespace {

std::tuple<Tensor, Tensor, Tensor> sort_index(const Tensor& index, int64_t size, bool narrow) {
  const auto [indptr, perm, ascends] = sort_entries("sort_index", index, size, narrow);
  const Tensor sorted = output_like(index, {}, ScalarType::Bool);
  *static_cast<bool*>(sorted.data_ptr()) = ascends;
  return {indptr, perm, sorted};
}

}  // namespace
}  // namespace gnas

STABLE_TORCH_LIBRARY_FRAGMENT(gnas_ext, m) {
  // Where each row's entries begin, the entries by row (ascending within one), and whether they were so already.
  m.def("sort_index(Tensor index, SymInt size, bool narrow) -> (Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CPU, m) { m.impl("sort_index", TORCH_BOX(&gnas::sort_index)); }
#endif
