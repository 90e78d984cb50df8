// Schemas, safety checks and entries of spmm_blocks and spmm_ragged.
#include "ops/spmm_blocks/spmm_blocks.h"

#include <algorithm>

#include "core/torch.h"
#ifndef GNAS_CUDA
#include "ops/spmm_blocks/passes.h"
#endif

namespace gnas {
namespace {

struct Call {
  SpmmBlocksCall args;
  OptionalTensor weight;
  OptionalTensor group;
};

// Checks what both ops have in common. The tensors are kept: the pointers point into them.
Call prepare(const char* op, const Tensor& indptr, const Tensor& indices, const OptionalTensor& edge,
             const OptionalTensor& weight, const Tensor& x, const Tensor& mask, const OptionalTensor& group,
             int64_t grouped, int64_t width) {
  const Csr csr = check_csr(op, indptr, indices, x);
  check_edge(op, edge, indptr, csr.nnz);
  if (weight) {
    GNAS_CHECK(weight->dim() == 1 && weight->size(0) == csr.nnz, op, ": expected weight of shape [", csr.nnz, "], got ",
               shape_of(*weight));
    GNAS_CHECK(weight->scalar_type() == x.scalar_type(), op, ": expected weight in x's dtype");
    GNAS_CHECK(same_device(*weight, x), op, ": weight and x are on different devices");
  }
  const int64_t blocks = (width + kBlockColumns - 1) / kBlockColumns;
  GNAS_CHECK(width >= 0 && width <= INT32_MAX / 8, op, ": expected a width from 0 to ", INT32_MAX / 8, ", got ", width);
  GNAS_CHECK(mask.dim() == 2 && mask.size(1) == blocks, op, ": expected a mask of shape [groups, ", blocks,
             "] for a width of ", width, ", got ", shape_of(mask));
  GNAS_CHECK(mask.is_contiguous() && same_device(mask, x), op, ": expected a contiguous mask on x's device");
  GNAS_CHECK(group || mask.size(0) == 1, op, ": expected a mask of shape [1, ", blocks, "] without group, got ",
             shape_of(mask));
  if (group) {
    GNAS_CHECK(group->dim() == 1 && group->size(0) == grouped, op, ": expected group of shape [", grouped, "], got ",
               shape_of(*group));
    GNAS_CHECK(group->scalar_type() == ScalarType::Byte && same_device(*group, x), op,
               ": expected group in uint8 on x's device");
  }
  Call call{{}, as_contiguous(weight), as_contiguous(group)};
  SpmmBlocksCall& a = call.args;
  a.indptr = indptr.data_ptr();
  a.indices = indices.data_ptr();
  a.edge = pointer(edge);
  a.weight = pointer(call.weight);
  a.group = static_cast<const uint8_t*>(pointer(call.group));
  a.rows = csr.rows;
  a.nnz = csr.nnz;
  a.width = width;
  a.groups = mask.size(0);
  a.block_count = blocks;
  a.dtype = element_type(op, x);
  a.wide_index = csr.wide_index;
  if (call.group && call.group->is_cpu()) {
    uint8_t most = 0;
    for (int64_t i = 0; i < grouped; ++i) most = std::max(most, a.group[i]);
    GNAS_CHECK(grouped == 0 || most < a.groups, op, ": group has a value of ", static_cast<int>(most),
               ", but there are masks of ", a.groups, " groups");
  }
  return call;
}

#ifdef GNAS_CUDA
void run(const char* op, const SpmmBlocksCall& a, const Tensor& x) {
  const torch::stable::accelerator::DeviceGuard guard(x.get_device_index());
  const Scratch scratch(x, spmm_blocks_cuda_scratch(a));
  check_launch(op, spmm_blocks_cuda(a, scratch.data(), current_stream(x)));
}
#else
// More than this stays in no cache: live blocks are copied side by side into huge pages, so many bytes of a row at a
// time that more of the rows stay near (core/panels.h does the same for whole rows).
constexpr int64_t kLargeBytes = int64_t{32} << 20;
// More than this does not stay in the second level: side by side, live lines are not fetched with dead neighbours.
constexpr int64_t kCopiedBytes = int64_t{2} << 20;
constexpr int64_t kPanelBytes = 256;
// How often a row must be read for its copy to pay.
constexpr int64_t kReads = 8;
#endif

// The transpose is only for the backward, which Python registers; so is soft, which stands for blocks there.
Tensor spmm_blocks(const Tensor& indptr, const Tensor& indices, const OptionalTensor& edge,
                   const OptionalTensor& weight, const Tensor& x, const Tensor& blocks, const OptionalTensor&,
                   const OptionalTensor& group, bool by_row, bool mean, const OptionalTensor&, const OptionalTensor&,
                   const OptionalTensor&) {
  const char* op = "spmm_blocks";
  check_matrix(op, "x", x);
  GNAS_CHECK(blocks.scalar_type() == ScalarType::Bool, op, ": expected blocks of bool");
  Call call =
      prepare(op, indptr, indices, edge, weight, x, blocks, group, by_row ? indptr.size(0) - 1 : x.size(0), x.size(1));
  SpmmBlocksCall& a = call.args;
  const Tensor from = as_contiguous(x);
  const Tensor out = output_like(x, {a.rows, a.width});
  a.x = from.data_ptr();
  a.blocks = static_cast<const bool*>(blocks.data_ptr());
  a.out = out.data_ptr();
  a.cols = x.size(0);
  a.by_row = by_row;
  a.mean = mean;
#ifdef GNAS_CUDA
  run(op, a, x);
#else
  Mask mask{a.groups, a.block_count, std::vector<int32_t>(a.groups * a.block_count)};
  for (size_t i = 0; i < mask.rank.size(); ++i) mask.rank[i] = a.blocks[i] ? 0 : -1;
  Passes passes(op, a, std::move(mask), from);
  const int64_t element = static_cast<int64_t>(x.element_size());
  const size_t live = passes.live_columns();
  const int64_t bytes = a.cols * static_cast<int64_t>(live) * kBlockColumns * element;
  const bool pays = a.nnz >= kReads * a.cols;
  if (pays && bytes >= kLargeBytes && passes.listed())
    passes.copied(std::max<int64_t>(kPanelBytes / (kBlockColumns * element), 1));
  else if ((pays && bytes >= kCopiedBytes) || a.width % kBlockColumns != 0 || !passes.listed())
    // Where each edge has a mask, what a pass costs beside the lines is more than a panel saves.
    passes.copied(std::max<size_t>(live, 1));
  else
    passes.in_place();
#endif
  return out;
}

// x as rows of live blocks alone. `rank` says where each block stands in a row of its group, -1 for dead ones.
Tensor spmm_ragged(const Tensor& indptr, const Tensor& indices, const OptionalTensor& edge,
                   const OptionalTensor& weight, const Tensor& values, const Tensor& begin, const Tensor& rank,
                   const OptionalTensor& group, int64_t width, bool mean, const OptionalTensor&, const OptionalTensor&,
                   const OptionalTensor&) {
  const char* op = "spmm_ragged";
  GNAS_CHECK(values.dim() == 1 && values.size(0) % kBlockColumns == 0 && values.is_contiguous(), op,
             ": expected contiguous values of x of shape [16 * blocks], got ", shape_of(values));
  GNAS_CHECK(rank.scalar_type() == ScalarType::Int, op, ": expected rank in int32");
  Call call =
      prepare(op, indptr, indices, edge, weight, values, rank, group, begin.dim() == 1 ? begin.size(0) : -1, width);
  SpmmBlocksCall& a = call.args;
  check_index(op, "begin", begin, indptr, begin.size(0));
  GNAS_CHECK(begin.is_contiguous(), op, ": expected contiguous begin");
  const Tensor out = output_like(values, {a.rows, width});
  a.x = values.data_ptr();
  a.begin = begin.data_ptr();
  a.rank = static_cast<const int32_t*>(rank.data_ptr());
  a.out = out.data_ptr();
  a.cols = begin.size(0);
  a.stored = values.size(0) / kBlockColumns;
  a.mean = mean;
#ifdef GNAS_CUDA
  run(op, a, values);
#else
  const Mask mask{a.groups, a.block_count, std::vector<int32_t>(a.rank, a.rank + a.groups * a.block_count)};
  // How many blocks a row must have there: a dead block reads one too.
  std::vector<int64_t> needed(a.groups, 1);
  bool any = false;
  for (int64_t i = 0; i < a.groups * a.block_count; ++i) {
    needed[i / a.block_count] = std::max<int64_t>(needed[i / a.block_count], int64_t{mask.rank[i]} + 1);
    any |= mask.rank[i] >= 0;
  }
  const auto check_begin = [&](const auto* from) {
    for (int64_t i = 0; i < a.cols; ++i) {
      const int64_t rows_blocks = needed[a.group == nullptr ? 0 : a.group[i]];
      GNAS_CHECK(from[i] >= 0 && static_cast<int64_t>(from[i]) <= a.stored - rows_blocks, op, ": row ", i,
                 " begins at block ", from[i], ", which leaves less than its ", rows_blocks, " of the ", a.stored,
                 " blocks in values");
    }
  };
  if (any && a.wide_index) check_begin(static_cast<const int64_t*>(a.begin));
  if (any && !a.wide_index) check_begin(static_cast<const int32_t*>(a.begin));
  Passes(op, a, mask, values).in_place();
#endif
  return out;
}

}  // namespace
}  // namespace gnas

#ifdef GNAS_CUDA
STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CUDA, m) {
#else
STABLE_TORCH_LIBRARY_FRAGMENT(gnas_ext, m) {
  // out[i] = sum over the edges e of row i of weight[edge[e]] * x[indices[e]], over live column blocks alone: those of
  // the group of the row that is read, or, by_row, of the row that is written. The mean divides by all edges.
  m.def(
      "spmm_blocks(Tensor indptr, Tensor indices, Tensor? edge, Tensor? weight, Tensor x, Tensor blocks, Tensor? soft, "
      "Tensor? group, bool by_row, bool mean, Tensor? t_indptr, Tensor? t_indices, Tensor? t_edge) -> Tensor");
  // The same of rows that hold their live blocks alone: row i begins at block begin[i] of values.
  m.def(
      "spmm_ragged(Tensor indptr, Tensor indices, Tensor? edge, Tensor? weight, Tensor values, Tensor begin, "
      "Tensor rank, Tensor? group, int width, bool mean, Tensor? t_indptr, Tensor? t_indices, Tensor? t_edge) -> "
      "Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CPU, m) {
#endif
  m.impl("spmm_blocks", TORCH_BOX(&gnas::spmm_blocks));
  m.impl("spmm_ragged", TORCH_BOX(&gnas::spmm_ragged));
}
