// Schema, safety checks and entries of topk_scores.
#include "ops/topk_scores/topk_scores.h"

#include "core/quantized_torch.h"
#include "core/torch.h"
#ifndef GNAS_CUDA
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <memory>

#include "core/chunks.h"
#endif

namespace gnas {
namespace {

using Best = std::tuple<Tensor, Tensor>;

// Above, a sum of products of two int8 codes may not fit in int32.
constexpr int64_t kWidestCodes = 131071;

void check_side(const char* op, const char* name, const Tensor& side, const OptionalTensor& scale) {
  check_matrix(op, name, side);
  if (!scale) {
    element_type(op, side);
    return;
  }
  check_quantized(op, side, *scale, std::nullopt, 8, side.size(1));
  GNAS_CHECK(side.size(1) <= kWidestCodes, op, ": expected at most ", kWidestCodes,
             " columns of int8, whose sums fit in int32, got ", side.size(1));
}

#ifndef GNAS_CUDA
// Ascending and within the items: then no item comes twice, and of equal scores the smaller item comes first.
void check_allow(const char* op, const Tensor& allow, int64_t items) {
  const auto* item = static_cast<const int64_t*>(allow.data_ptr());
  const int64_t count = allow.size(0);
  for (int64_t at = 0; at < count; ++at)
    GNAS_CHECK(item[at] >= 0 && item[at] < items && (at == 0 || item[at - 1] < item[at]), op,
               ": expected allow to ascend within 0 ... ", items - 1, ", got ", item[at], " at ", at);
}

// Rows that ascend can be searched; null where they do already, else a copy in which they do. An item that is none is
// refused, as by every op.
template <class I>
std::unique_ptr<I[]> sorted_rows(const char* op, const I* indptr, const I* indices, int64_t rows, int64_t items) {
  std::atomic<bool> sorted{true};
  std::atomic<bool> inside{true};
  parallel_for(0, rows, 4096, [&](int64_t begin, int64_t end) {
    bool ascends = true;
    bool fits = true;
    for (int64_t row = begin; row < end; ++row) {
      I last = 0;
      for (int64_t e = indptr[row]; e < static_cast<int64_t>(indptr[row + 1]); ++e) {
        ascends &= last <= indices[e];
        fits &= static_cast<uint64_t>(indices[e]) < static_cast<uint64_t>(items);
        last = indices[e];
      }
    }
    if (!ascends) sorted = false;
    if (!fits) inside = false;
  });
  if (!inside) {
    Fault fault{0};
    while (static_cast<uint64_t>(indices[fault.edge]) < static_cast<uint64_t>(items)) ++fault.edge;
    check_fault(op, fault);
  }
  if (sorted) return nullptr;
  std::unique_ptr<I[]> copy(new I[indptr[rows]]);
  std::copy(indices, indices + indptr[rows], copy.get());
  parallel_for(0, rows, 1024, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) std::sort(copy.get() + indptr[row], copy.get() + indptr[row + 1]);
  });
  return copy;
}

struct Free {
  void operator()(void* block) const { std::free(block); }
};
using Memory = std::unique_ptr<void, Free>;

Memory memory(int64_t bytes) { return Memory(std::aligned_alloc(64, static_cast<size_t>((bytes + 63) / 64 * 64))); }

// Work goes in units, a block of users by a range of items, to whoever is free.
constexpr int64_t kUnits = 16;
constexpr int64_t kBlockBytes = 256 << 10;  // of users' rows: half of them stay in the second cache
constexpr int64_t kKeyBytes = 8 << 20;
constexpr int64_t kFewestItems = 2048;  // in a range
constexpr int64_t kItemsAKey = 16;      // as well: what ranges keep for the merge must stay small beside all scores

// 84 users are 6 tiles of 14, and 14 of 6.
constexpr int64_t kUsers = 84;

int64_t users_a_block(const TopkScoresArgs& a, int64_t chunk) {
  if (chunk > 0) return std::min(chunk, a.rows);
  const int64_t row = std::max<int64_t>(1, a.width) * (a.wide_score() ? 8 : a.bytes() ? 2 : 4);
  const int64_t most = std::min(kBlockBytes / row, kKeyBytes / (a.capacity() * a.key_bytes()));
  return std::min(std::max<int64_t>(1, std::min<int64_t>(most / kUsers, 6)) * kUsers, a.rows);
}

template <class Run>
void on_threads(const char* op, int64_t units, int64_t scratch_bytes, const Run& run) {
  std::atomic<int64_t> next{0};
  std::atomic<bool> enough{true};
  parallel_for(0, std::min<int64_t>(units, 1024), 1, [&](int64_t, int64_t) {
    // A thread that finds no memory says so: an exception may not leave it.
    const Memory scratch = memory(scratch_bytes);
    if (scratch == nullptr) {
      enough = false;
      return;
    }
    for (int64_t unit = next++; unit < units; unit = next++) run(unit, scratch.get());
  });
  GNAS_CHECK(enough, op, ": not enough memory");
}

// Codes pay where many users share those of the items, and where few items are ever among a user's best.
constexpr int64_t kFewestScreened = 256;
constexpr int64_t kItemsABest = 128;
constexpr int64_t kNarrowest = 16;
constexpr int64_t kWidest = 2048;

bool worth_screening(const TopkScoresArgs& a) {
  return a.vnni && !a.bytes() && a.dtype == Dtype::f32 && a.rows >= kFewestScreened && a.width >= kNarrowest &&
         a.width <= kWidest && a.catalogue >= 4 * kTopkScoresUnscreened && a.catalogue >= kItemsABest * a.keep &&
         a.items_count <= 4 * a.catalogue;
}

int64_t codes_bytes(int64_t rows, int64_t width) { return rows * (8 + width); }

// Codes of rows in memory that is large enough, or none where they do not fit a row.
TopkCodes codes_of(const void* rows, int64_t count, int64_t width, void* memory) {
  auto* scale = static_cast<float*>(memory);
  auto* slack = reinterpret_cast<int32_t*>(scale + count);
  const TopkCodes codes{reinterpret_cast<int8_t*>(slack + count), scale, slack};
  std::atomic<bool> all_fit{true};
  const auto kernel = GNAS_AT_LEVEL(topk_scores_codes);
  parallel_for(0, count, 4096, [&](int64_t begin, int64_t end) {
    bool fit = true;
    kernel(static_cast<const float*>(rows), width, begin, end, codes, &fit);
    if (!fit) all_fit = false;
  });
  return all_fit ? codes : TopkCodes{};
}

void run(const char* op, TopkScoresArgs a, int64_t chunk) {
  a.vnni = vnni();
  Memory codes;
  if (worth_screening(a)) {
    const int64_t of_items = (codes_bytes(a.items_count, a.width) + 63) / 64 * 64;
    codes = memory(of_items + codes_bytes(a.rows, a.width));  // without it, all scores are computed
    if (codes != nullptr) a.item_codes = codes_of(a.items, a.items_count, a.width, codes.get());
    if (a.item_codes.codes != nullptr)
      a.user_codes = codes_of(a.users, a.rows, a.width, static_cast<char*>(codes.get()) + of_items);
  }
  a.block = users_a_block(a, chunk);
  const int64_t blocks = a.blocks();
  const int64_t fewest = std::max(kFewestItems, kItemsAKey * a.keep);
  a.ranges = std::max<int64_t>(1, std::min((kUnits + blocks - 1) / blocks, a.catalogue / fewest));
  Memory partial;
  Memory count;
  Memory bars;
  if (a.ranges > 1) {
    partial = memory(a.rows * a.ranges * a.keep * a.key_bytes());
    count = memory(a.rows * a.ranges * static_cast<int64_t>(sizeof(int64_t)));
    bars = memory(a.rows * static_cast<int64_t>(sizeof(uint64_t)));
    GNAS_CHECK(partial != nullptr && count != nullptr && bars != nullptr, op, ": not enough memory");
    a.bars = static_cast<uint64_t*>(bars.get());
    std::fill_n(a.bars, a.rows, uint64_t{0});
    a.partial = partial.get();
    a.partial_count = static_cast<int64_t*>(count.get());
  }
  const int64_t scratch = topk_scores_scratch(a);
  const auto kernel = GNAS_AT_LEVEL(topk_scores_unit);
  on_threads(op, blocks * a.ranges, scratch,
             [&](int64_t unit, void* own) { kernel(a, unit / a.ranges, unit % a.ranges, own); });
  if (a.ranges == 1) return;
  const auto merge = GNAS_AT_LEVEL(topk_scores_merge);
  constexpr int64_t kTogether = 16;
  on_threads(op, (a.rows + kTogether - 1) / kTogether, scratch, [&](int64_t unit, void* own) {
    merge(a, unit * kTogether, std::min(a.rows, (unit + 1) * kTogether), own);
  });
}
#endif

Best topk_scores(const Tensor& users, const OptionalTensor& user_scale, const Tensor& items,
                 const OptionalTensor& item_scale, const OptionalTensor& exclude_indptr,
                 const OptionalTensor& exclude_indices, const OptionalTensor& allow, int64_t k, int64_t chunk,
                 const OptionalTensor& bias) {
  const char* op = "topk_scores";
  GNAS_CHECK(user_scale.has_value() == item_scale.has_value(), op, ": expected scales of both sides, or of none");
  check_side(op, "users", users, user_scale);
  check_side(op, "items", items, item_scale);
  GNAS_CHECK(users.size(1) == items.size(1), op, ": users and items differ in width: ", shape_of(users), " and ",
             shape_of(items));
  GNAS_CHECK(users.scalar_type() == items.scalar_type(), op, ": expected users and items in one dtype");
  GNAS_CHECK(same_device(users, items), op, ": users and items are on different devices");
  GNAS_CHECK(k >= 0 && chunk >= 0, op, ": expected k and chunk of 0 or more, got ", k, " and ", chunk);
  GNAS_CHECK(items.size(0) < (int64_t{1} << 31), op, ": expected less than 2^31 items, got ", items.size(0));
  GNAS_CHECK(exclude_indptr.has_value() == exclude_indices.has_value(), op,
             ": expected both exclude_indptr and exclude_indices, or neither");
  TopkScoresArgs args{};
  if (exclude_indptr) {
    args.wide_index = check_csr(op, *exclude_indptr, *exclude_indices, users).wide_index;
    GNAS_CHECK(exclude_indptr->size(0) == users.size(0) + 1, op, ": expected exclude_indptr of shape [",
               users.size(0) + 1, "], got ", shape_of(*exclude_indptr));
  }
  if (allow) {
    GNAS_CHECK(allow->dim() == 1 && allow->scalar_type() == ScalarType::Long, op,
               ": expected allow of shape [count], int64, got ", shape_of(*allow));
    GNAS_CHECK(same_device(*allow, users), op, ": allow and users are on different devices");
  }
  const ScalarType score = user_scale ? ScalarType::Float : accumulator(element_type(op, users));
  if (bias) {
    GNAS_CHECK(bias->dim() == 2 && bias->size(0) == users.size(0) && bias->size(1) == items.size(0) &&
                   bias->scalar_type() == score,
               op, ": expected bias of shape [", users.size(0), ", ", items.size(0), "] in the scores' dtype, got ",
               shape_of(*bias));
    GNAS_CHECK(same_device(*bias, users), op, ": bias and users are on different devices");
  }
  const Tensor left = as_contiguous(users);
  const Tensor right = as_contiguous(items);
  const OptionalTensor allowed = as_contiguous(allow);
  args.users = left.data_ptr();
  args.items = right.data_ptr();
  args.user_scale = static_cast<const float*>(pointer(user_scale));
  args.item_scale = static_cast<const float*>(pointer(item_scale));
  args.exclude_indptr = pointer(exclude_indptr);
  args.exclude_indices = pointer(exclude_indices);
  args.allow = static_cast<const int64_t*>(pointer(allowed));
  args.bias = pointer(bias);
  args.bias_row = bias ? bias->stride(0) : 0;
  args.bias_item = bias ? bias->stride(1) : 0;
  args.rows = users.size(0);
  args.items_count = items.size(0);
  args.exclude_nnz = exclude_indices ? exclude_indices->size(0) : 0;
  args.catalogue = allow ? allow->size(0) : items.size(0);
  args.width = users.size(1);
  args.k = k;
  args.keep = k < args.catalogue ? k : args.catalogue;
  args.dtype = user_scale ? Dtype::f32 : element_type(op, users);
  args.block = args.ranges = 1;
  Tensor values = output_like(users, {args.rows, k}, score);
  Tensor columns = output_like(users, {args.rows, k}, ScalarType::Long);
  args.values = values.data_ptr();
  args.columns = static_cast<int64_t*>(columns.data_ptr());
#ifdef GNAS_CUDA
  const torch::stable::accelerator::DeviceGuard guard(users.get_device_index());
  GNAS_CHECK(args.width < (int64_t{1} << 30), op, ": expected less than 2^30 columns, got ", args.width);
  const Tensor scratch = output_like(users, {topk_scores_cuda_scratch(args)}, ScalarType::Byte);
  check_launch(op, topk_scores_cuda(args, scratch.data_ptr(), current_stream(users)));
#else
  if (allowed) check_allow(op, *allowed, items.size(0));
  const auto with = [&](auto index) {
    using I = decltype(index);
    std::unique_ptr<I[]> sorted;
    if (exclude_indptr) {
      sorted = sorted_rows(op, static_cast<const I*>(args.exclude_indptr), static_cast<const I*>(args.exclude_indices),
                           args.rows, args.items_count);
      if (sorted != nullptr) args.exclude_indices = sorted.get();
    }
    if (args.rows > 0 && args.keep > 0) run(op, args, chunk);
  };
  if (args.keep == 0) {
    torch::stable::fill_(columns, -1);
    torch::stable::fill_(values, -HUGE_VAL);
  }
  args.wide_index ? with(int64_t{}) : with(int32_t{});
#endif
  return {values, columns};
}

}  // namespace
}  // namespace gnas

#ifdef GNAS_CUDA
STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CUDA, m) {
#else
STABLE_TORCH_LIBRARY_FRAGMENT(gnas_ext, m) {
  // Values and columns of the k largest entries of each row of users @ items.T + bias, the largest first. `allow`:
  // ascending.
  m.def(
      "topk_scores(Tensor users, Tensor? user_scale, Tensor items, Tensor? item_scale, Tensor? exclude_indptr, Tensor? "
      "exclude_indices, Tensor? allow, SymInt k, SymInt chunk, Tensor? bias=None) -> (Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CPU, m) {
#endif
  m.impl("topk_scores", TORCH_BOX(&gnas::topk_scores));
}
