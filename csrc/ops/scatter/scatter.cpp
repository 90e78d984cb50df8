// Schemas, safety checks and CPU entries of scatter and gather_rows. On CUDA they are made of other ops, in
// gnas_ext/ops/scatter.py.
#include "ops/scatter/scatter.h"

#include "core/chunks.h"
#include "ops/sort_index/entry.h"
#include "ops/spmm/entry.h"

#ifndef GNAS_CUDA
#include <algorithm>
#include <limits>
#include <vector>

namespace gnas {
namespace {

constexpr int64_t kWideBytes = 256;
constexpr int64_t kManyEntries = 1 << 16;

int64_t entry(const ScatterArgs& a, int64_t e) {
  return a.wide_index ? static_cast<const int64_t*>(a.index)[e] : static_cast<const int32_t*>(a.index)[e];
}

// How the output is divided among threads: by rows, so that each part has about as many entries (told from a sample),
// and by columns too where one row has so many that it would keep a thread busy while the others wait.
std::vector<ScatterPart> parts_of(const ScatterArgs& a, int64_t threads) {
  constexpr int64_t kSmall = 1 << 16;  // elements below which a second thread costs more than it gives
  constexpr int64_t kSamples = 64;     // a thread
  const int64_t lane = 64 / (a.dtype == Dtype::f64 ? 8 : 4);
  const int64_t lines = (a.width + lane - 1) / lane;
  if (threads <= 1 || a.entries * std::max<int64_t>(a.width, 8) < kSmall) return {{0, a.rows, 0, a.width, 0}};
  const int64_t samples = std::min(kSamples * threads, a.entries);
  std::vector<int64_t> drawn(samples);
  for (int64_t s = 0; s < samples; ++s)
    drawn[s] = std::clamp<int64_t>(entry(a, s * (a.entries / samples)), 0, std::max<int64_t>(a.rows - 1, 0));
  std::sort(drawn.begin(), drawn.end());
  for (int64_t across = 1;; across *= 2) {
    across = std::min({across, lines, threads});
    const int64_t down = (threads + across - 1) / across;
    std::vector<int64_t> cuts{0};
    int64_t most = 0;
    for (int64_t k = 1, held = 0; k <= down; ++k) {
      cuts.push_back(k == down ? a.rows : std::max(cuts.back(), drawn[k * samples / down]));
      const int64_t until = std::lower_bound(drawn.begin(), drawn.end(), cuts.back()) - drawn.begin();
      most = std::max(most, (k == down ? samples : until) - held);
      held = until;
    }
    if (most * down > 2 * samples && across < lines && across < threads) continue;
    std::vector<ScatterPart> parts;
    for (int64_t k = 0; k < down; ++k)
      for (int64_t c = 0; c < across; ++c)
        parts.push_back(
            {cuts[k], cuts[k + 1], lines * c / across * lane, std::min(a.width, lines * (c + 1) / across * lane), 0});
    return parts;
  }
}

Tensor scatter(const Tensor& src, const Tensor& index, int64_t size, const std::string& reduce) {
  const char* op = "scatter";
  check_matrix(op, "src", src);
  GNAS_CHECK(size >= 0, op, ": expected size of 0 or more, got ", size);
  GNAS_CHECK(reduce == "sum" || reduce == "mean", op, ": expected reduce sum or mean, got ", reduce);
  const ScalarType type = index.scalar_type();
  GNAS_CHECK(type == ScalarType::Int || type == ScalarType::Long, op, ": expected index of int32 or int64");
  GNAS_CHECK(index.dim() == 1 && index.size(0) == src.size(0), op, ": expected index of shape [", src.size(0),
             "], got ", shape_of(index));
  const Tensor from = as_contiguous(src);
  const Tensor places = as_contiguous(index);
  // Wide rows: what it takes to sort the index is less than what it saves, writing each row of the output once.
  if (src.size(0) >= kManyEntries && src.size(1) * static_cast<int64_t>(src.element_size()) >= kWideBytes) {
    const bool narrow = std::max(src.size(0), size) < std::numeric_limits<int32_t>::max();
    const auto [indptr, perm, ascends] = sort_entries(op, places, size, narrow);
    return reduce_rows(op, indptr, perm, from, reduce == "mean" ? Reduce::mean : Reduce::sum);
  }
  const Tensor out = output_like(src, {size, src.size(1)});
  ScatterArgs a{};
  a.index = places.data_ptr();
  a.src = from.data_ptr();
  a.out = out.data_ptr();
  a.rows = size;
  a.entries = src.size(0);
  a.width = src.size(1);
  a.dtype = element_type(op, src);
  a.wide_index = type == ScalarType::Long;
  OptionalTensor wider;
  if (a.dtype == Dtype::bf16 || a.dtype == Dtype::f16) wider = output_like(src, {size, src.size(1)}, ScalarType::Float);
  a.sum = wider ? wider->data_ptr() : a.out;
  OptionalTensor count;
  if (reduce == "mean") {
    count = torch::stable::new_empty(index, {size}, ScalarType::Long);
    a.count = count->data_ptr();
  }
  std::vector<ScatterPart> parts = parts_of(a, torch::stable::get_num_threads());
  const auto kernel = GNAS_AT_LEVEL(scatter_part);
  for_chunks(static_cast<int64_t>(parts.size()), [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) kernel(a, parts[p]);
  });
  int64_t found = 0;
  for (const ScatterPart& part : parts)
    if (part.column_begin == 0) found += part.found;
  if (found != a.entries) {
    int64_t e = 0;
    while (entry(a, e) >= 0 && entry(a, e) < size) ++e;
    GNAS_CHECK(false, op, ": index[", e, "] is ", entry(a, e), ", expected 0 or more and less than size ", size);
  }
  if (wider || count) {
    const auto finish = GNAS_AT_LEVEL(scatter_finish);
    parallel_for(0, size, 1024, [&](int64_t begin, int64_t end) { finish(a, begin, end); });
  }
  return out;
}

Tensor gather_rows(const Tensor& x, const Tensor& index) {
  const char* op = "gather_rows";
  check_matrix(op, "x", x);
  const ScalarType type = index.scalar_type();
  GNAS_CHECK(type == ScalarType::Int || type == ScalarType::Long, op, ": expected index of int32 or int64");
  GNAS_CHECK(index.dim() == 1, op, ": expected index of shape [entries], got ", shape_of(index));
  element_type(op, x);
  const Tensor from = as_contiguous(x);
  const Tensor places = as_contiguous(index);
  const Tensor out = output_like(x, {index.size(0), x.size(1)});
  Fault fault;
  GatherRowsArgs a{};
  a.index = places.data_ptr();
  a.x = from.data_ptr();
  a.out = out.data_ptr();
  a.fault = &fault;
  a.rows = x.size(0);
  a.entries = index.size(0);
  a.row_bytes = x.size(1) * static_cast<int64_t>(x.element_size());
  a.wide_index = type == ScalarType::Long;
  const auto kernel = GNAS_AT_LEVEL(gather_rows);
  parallel_for(0, a.entries, 4096, [&](int64_t begin, int64_t end) { kernel(a, begin, end); });
  GNAS_CHECK(fault.edge < 0, op, ": index[", fault.edge, "] is out of bounds: negative, or not below ", a.rows);
  return out;
}

}  // namespace
}  // namespace gnas

STABLE_TORCH_LIBRARY_FRAGMENT(gnas_ext, m) {
  // out[i] = sum or mean over the entries e with index[e] == i of src[e]; a row without entries is zero.
  m.def("scatter(Tensor src, Tensor index, SymInt size, str reduce) -> Tensor");
  // out[e] = x[index[e]].
  m.def("gather_rows(Tensor x, Tensor index) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CPU, m) {
  m.impl("scatter", TORCH_BOX(&gnas::scatter));
  m.impl("gather_rows", TORCH_BOX(&gnas::gather_rows));
}
#endif
