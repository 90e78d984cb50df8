// Schema, safety checks and entries of select_edges.
#include "ops/select_edges/select_edges.h"

#include "core/chunks.h"
#include "core/torch.h"

namespace gnas {
namespace {

using Selected = std::tuple<Tensor, Tensor, Tensor, Tensor>;

Places parse_places(const char* op, const std::string& places) {
  if (places == "none") return Places::none;
  if (places == "stored") return Places::stored;
  GNAS_CHECK(places == "kept", op, ": expected places none, stored or kept, got ", places);
  return Places::kept;
}

#ifdef GNAS_CUDA
Tensor part_like(const Tensor& like, int64_t size) { return output_like(like, {size}); }

int64_t count(const char* op, const SelectArgs& a, const Tensor& indptr) {
  int64_t total = 0;
  check_launch(op, select_count_cuda(a, &total, current_stream(indptr)));
  return total;
}
void copy(const char* op, const SelectArgs& a, const Tensor& indptr) {
  check_launch(op, select_copy_cuda(a, current_stream(indptr)));
}
#else
// Where a part of the entries goes. One of 2 to 4 MiB is a block of the pool as well, of 4: a call makes several and
// frees them soon, whereupon malloc hands the pages back to the system, to fault in again at the next call.
Tensor part_like(const Tensor& like, int64_t size) {
  constexpr int64_t kLeast = int64_t{2} << 20;
  const int64_t bytes = size * element_bytes(like.scalar_type());
  void* block = bytes >= kLeast && bytes < 2 * kLeast ? pool::take(2 * kLeast) : nullptr;
  if (block == nullptr) return output_like(like, {size});
  const int64_t stride = 1;
  return torch::stable::from_blob(block, {&size, 1}, {&stride, 1},
                                  torch::stable::Device(torch::headeronly::DeviceType::CPU), like.scalar_type(),
                                  &pool::give);
}

// Numbers become the sum of those before them; what all come to is returned and written behind them.
int64_t sum_before(int64_t* number, int64_t count) {
  int64_t sum = 0;
  for (int64_t n = 0; n < count; ++n) {
    const int64_t here = number[n];
    number[n] = sum;
    sum += here;
  }
  return number[count] = sum;
}

constexpr int64_t kBlocksAThread = 4;  // fewer are not worth another thread
constexpr int64_t kBlocksToCopy = 1024;
constexpr int64_t kRowsAThread = 1024;

int64_t count(const char* op, const SelectArgs& a, const Tensor&) {
  if (a.places == Places::kept && a.edge != nullptr) GNAS_AT_LEVEL(select_rank)(a);
  if (a.listed != nullptr) {
    const auto rows = GNAS_AT_LEVEL(select_count_rows);
    parallel_for(0, a.out_rows, kRowsAThread, [&](int64_t begin, int64_t end) { rows(a, begin, end); });
    GNAS_CHECK(a.row_fault->edge < 0, op, ": rows[", a.row_fault->edge, "] is none of the graph's ", a.rows, " rows");
    check_fault(op, *a.fault);
    return sum_before(a.base, a.out_rows);
  }
  const auto live = GNAS_AT_LEVEL(select_live);
  // Without look-ups it is a copy of the mask: quicker than waking a thread, up to millions of entries.
  const int64_t blocks = a.edge == nullptr && a.remap == nullptr ? kBlocksToCopy : kBlocksAThread;
  parallel_for(0, a.blocks(), blocks, [&](int64_t begin, int64_t end) { live(a, begin, end); });
  check_fault(op, *a.fault);
  return sum_before(a.base, a.blocks());
}

void copy(const char* op, const SelectArgs& a, const Tensor&) {
  const auto set_pointer = [&](auto index, int64_t row, int64_t value) {
    static_cast<decltype(index)*>(a.out_indptr)[row] = static_cast<decltype(index)>(value);
  };
  const auto set = [&](int64_t row, int64_t value) {
    a.wide_index ? set_pointer(int64_t{}, row, value) : set_pointer(int32_t{}, row, value);
  };
  if (a.listed != nullptr) {
    const auto rows = GNAS_AT_LEVEL(select_copy_rows);
    parallel_for(0, a.out_rows, kRowsAThread, [&](int64_t begin, int64_t end) { rows(a, begin, end); });
    set(a.out_rows, a.base[a.out_rows]);
    return;
  }
  if (a.nnz == 0) {
    for (int64_t row = 0; row <= a.rows; ++row) set(row, 0);
    return;
  }
  const auto blocks = GNAS_AT_LEVEL(select_copy);
  parallel_for(0, a.blocks(), kBlocksAThread, [&](int64_t begin, int64_t end) { blocks(a, begin, end); });
  check_fault(op, *a.fault);
}

// A renaming is read by every entry: it is checked once.
template <class I>
void check_names(const char* op, const I* remap, int64_t count, int64_t cols) {
  for (int64_t c = 0; c < count; ++c)
    GNAS_CHECK(remap[c] >= -1 && static_cast<int64_t>(remap[c]) < cols, op, ": remap[", c, "] is ", remap[c],
               ", expected -1 or one of the ", cols, " new columns");
}
#endif

// The old columns are counted by `cols`; with a remap, the new ones by `new_cols`.
Selected select_edges(const Tensor& indptr, const Tensor& indices, const OptionalTensor& edge,
                      const OptionalTensor& weight, const OptionalTensor& mask, const OptionalTensor& rows,
                      const OptionalTensor& remap, int64_t cols, int64_t new_cols, const std::string& places) {
  const char* op = "select_edges";
  const Csr csr = check_csr(op, indptr, indices, indptr);
  check_edge(op, edge, indptr, csr.nnz);
  GNAS_CHECK(cols >= 0 && new_cols >= 0, op, ": expected cols of 0 or more, got ", cols < 0 ? cols : new_cols);
  SelectArgs a{};
  a.places = parse_places(op, places);
  a.weight_bytes = 4;
  OptionalTensor numbers, bits, list, names;
  if (weight) {
    GNAS_CHECK(weight->dim() == 1 && weight->size(0) == csr.nnz, op, ": expected weight of shape [", csr.nnz, "], got ",
               shape_of(*weight));
    element_type("select_edges: weight", *weight);
    GNAS_CHECK(same_device(*weight, indptr), op, ": weight and indptr are on different devices");
    numbers = as_contiguous(*weight);
    a.weight_bytes = static_cast<int64_t>(weight->element_size());
  }
  if (mask) {
    GNAS_CHECK(mask->dim() == 1 && mask->size(0) == (csr.nnz + 7) / 8, op, ": expected mask of shape [",
               (csr.nnz + 7) / 8, "], a bit an entry, got ", shape_of(*mask));
    GNAS_CHECK(mask->scalar_type() == ScalarType::Byte, op, ": expected mask in uint8");
    GNAS_CHECK(same_device(*mask, indptr), op, ": mask and indptr are on different devices");
    bits = as_contiguous(*mask);
  }
  if (rows) {
    GNAS_CHECK(rows->dim() == 1, op, ": expected rows of shape [count], got ", shape_of(*rows));
    check_index(op, "rows", *rows, indptr, rows->size(0));
    list = as_contiguous(*rows);
  }
  if (remap) {
    check_index(op, "remap", *remap, indptr, cols);
    names = as_contiguous(*remap);
  }
  // What is left is counted by the mask's bits: nothing else may take entries away.
  GNAS_CHECK(a.places != Places::kept || (mask && !rows && !remap), op,
             ": expected a mask, no rows and no remap for places kept");
  a.rows = csr.rows;
  a.out_rows = list ? list->size(0) : csr.rows;
  a.cols = cols;
  a.new_cols = new_cols;
  a.nnz = csr.nnz;
  a.wide_index = csr.wide_index;
  a.indptr = indptr.data_ptr();
  a.indices = indices.data_ptr();
  a.edge = pointer(edge);
  a.weight = pointer(numbers);
  a.mask = static_cast<const uint8_t*>(pointer(bits));
  a.listed = list && list->size(0) == 0 ? a.indptr : pointer(list);  // an empty list has no address, but is one
  a.remap = pointer(names);
#ifdef GNAS_CUDA
  const torch::stable::accelerator::DeviceGuard guard(indptr.get_device_index());
#else
  if (remap && csr.wide_index)
    check_names(op, static_cast<const int64_t*>(a.remap), cols, new_cols);
  else if (remap)
    check_names(op, static_cast<const int32_t*>(a.remap), cols, new_cols);
#endif
  Fault fault, row_fault;
  a.fault = &fault;
  a.row_fault = &row_fault;
  // live, kept and rank by words, then base.
  const int64_t words = a.words();
  const int64_t bases = (list ? a.out_rows : a.blocks()) + 1;
  const Tensor scratch = output_like(indptr, {3 * words + bases}, ScalarType::Long);
  auto* at = static_cast<int64_t*>(scratch.data_ptr());
  a.live = reinterpret_cast<uint64_t*>(at);
  a.kept = reinterpret_cast<uint64_t*>(at + words);
  a.rank = at + 2 * words;
  a.base = at + 3 * words;
  const int64_t total = count(op, a, indptr);
  GNAS_CHECK(csr.wide_index || total <= INT32_MAX, op, ": ", total,
             " entries are too many for int32: use int64 indices");
  const Tensor out_indptr = output_like(indptr, {a.out_rows + 1});
  const Tensor out_indices = part_like(indptr, total);
  const Tensor out_edge = part_like(indptr, a.places == Places::none ? 0 : total);
  const Tensor out_weight = numbers ? part_like(*numbers, total) : output_like(indptr, {0}, ScalarType::Float);
  a.out_indptr = out_indptr.data_ptr();
  a.out_indices = out_indices.data_ptr();
  a.out_edge = a.places == Places::none ? nullptr : out_edge.data_ptr();
  a.out_weight = numbers ? out_weight.data_ptr() : nullptr;
  copy(op, a, indptr);
  return {out_indptr, out_indices, out_edge, out_weight};
}

}  // namespace
}  // namespace gnas

#ifdef GNAS_CUDA
STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CUDA, m) {
#else
STABLE_TORCH_LIBRARY_FRAGMENT(gnas_ext, m) {
  // The live part of a graph: indptr, indices, where each entry's weight stands (empty for places none) and the
  // weights (empty without). Entry e is live where mask, packed, has the bit edge[e] and remap[indices[e]] is not -1.
  m.def(
      "select_edges(Tensor indptr, Tensor indices, Tensor? edge, Tensor? weight, Tensor? mask, Tensor? rows, Tensor? "
      "remap, SymInt cols, SymInt new_cols, str places) -> (Tensor, Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CPU, m) {
#endif
  m.impl("select_edges", TORCH_BOX(&gnas::select_edges));
}
