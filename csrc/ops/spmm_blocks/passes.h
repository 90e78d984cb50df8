// One call of spmm_blocks or spmm_ragged on the CPU: which blocks are read and written, in how many passes over the
// graph. For spmm_blocks.cpp.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "core/chunks.h"
#include "core/torch.h"
#include "ops/spmm_blocks/spmm_blocks.h"

namespace gnas {
namespace {

// Larger results are written past the caches.
constexpr int64_t kStreamedBytes = int64_t{8} << 20;

// Which blocks are live, by group: rank says where a block stands in a row of live blocks, or -1.
struct Mask {
  int64_t groups;
  int64_t blocks;
  std::vector<int32_t> rank;

  bool live(int64_t group, int64_t block) const { return rank[group * blocks + block] >= 0; }
  bool live_somewhere(int64_t block) const {
    for (int64_t group = 0; group < groups; ++group)
      if (live(group, block)) return true;
    return false;
  }
};

// The tables of one pass, for the blocks in `column`.
struct Tables {
  std::vector<int32_t> column;
  std::vector<int32_t> offset;
  std::vector<BlockTable> table;
  std::vector<int32_t> live;
  std::vector<int32_t> count;

  Tables(const Mask& m, std::vector<int32_t> columns) : column(std::move(columns)) {
    const int64_t blocks = static_cast<int64_t>(column.size());
    table.assign((blocks + 15) / 16 * m.groups, BlockTable{});
    live.assign(m.groups * blocks, 0);
    offset.assign(m.groups * blocks, 0);
    count.assign(m.groups, 0);
    for (int64_t group = 0; group < m.groups; ++group) {
      for (int64_t b = 0; b < blocks; ++b) {
        if (!m.live(group, column[b])) continue;
        table[b / 16 * m.groups + group].mask[b % 16] = -1;
        live[group * blocks + count[group]++] = static_cast<int32_t>(b);
      }
    }
  }

  int32_t most() const { return count.empty() ? 0 : *std::max_element(count.begin(), count.end()); }

  // block(group, b, k) says how many blocks after the beginning of a source row block b stands, the k-th live one.
  template <class Block>
  void place(int64_t element, const Block& block) {
    const int64_t blocks = static_cast<int64_t>(column.size());
    const auto groups = static_cast<int64_t>(count.size());
    for (int64_t group = 0; group < groups; ++group) {
      const int64_t last = std::max(count[group] - 1, 0) * kBlockColumns * element;
      for (int64_t word = 0; word < (blocks + 15) / 16; ++word)
        table[word * groups + group].last = static_cast<int32_t>(last);
      for (int32_t k = 0; k < count[group]; ++k) {
        const int64_t b = live[group * blocks + k];
        const auto at = static_cast<int32_t>(block(group, b, k) * kBlockColumns * element);
        offset[group * blocks + b] = at;
        table[b / 16 * groups + group].offset[b % 16] = at;
      }
    }
  }
};

// One call on the CPU, in one or several passes over the graph.
class Passes {
 public:
  Passes(const char* op, const SpmmBlocksCall& c, Mask mask, const Tensor& x)
      : op_(op), mask_(std::move(mask)), x_(x), element_(static_cast<int64_t>(x.element_size())) {
    a_.indptr = c.indptr;
    a_.indices = c.indices;
    a_.edge = c.edge;
    a_.weight = c.weight;
    a_.x = c.x;
    a_.begin = c.begin;
    a_.group = c.group;
    a_.out = c.out;
    a_.rows = c.rows;
    a_.cols = c.cols;
    a_.nnz = c.nnz;
    a_.width = c.width;
    a_.x_stride = c.width;
    a_.out_blocks = c.block_count;
    a_.chunks = work_chunks(c.rows, c.nnz);
    a_.dtype = c.dtype;
    a_.by_row = c.by_row;
    a_.listed = c.by_row || c.groups == 1;
    a_.mean = c.mean;
    a_.wide_index = c.wide_index;
    a_.stream = c.dtype == Dtype::f32 && c.width % kBlockColumns == 0 &&
                c.rows * c.width * element_ >= kStreamedBytes && reinterpret_cast<uintptr_t>(c.out) % 64 == 0;
    find_dead();
    if (a_.chunks > 1) {
      carry_ =
          output_like(x, {2 * a_.chunks, std::max<int64_t>(columns_.size(), 1) * kBlockColumns}, accumulator(a_.dtype));
      a_.carry = carry_->data_ptr();
    }
  }

  // The rows of x as they are: of whole blocks, for lists, or ragged.
  void in_place() {
    Tables tables(mask_, columns_);
    tables.place(element_, [&](int64_t group, int64_t b, int64_t) -> int64_t {
      return a_.begin == nullptr ? tables.column[b] : mask_.rank[group * mask_.blocks + tables.column[b]];
    });
    pass(tables);
  }

  // Copies live blocks, at most `most` of a row, and sums those; then the next ones.
  void copied(size_t most) {
    OptionalTensor rows;
    int64_t room = -1;
    for (size_t from = 0; from == 0 || from < columns_.size(); from += most) {
      const auto begin = columns_.begin() + static_cast<int64_t>(from);
      Tables tables(mask_, {begin, begin + static_cast<int64_t>(std::min(most, columns_.size() - from))});
      // Where groups are those of written rows, a row that is read is needed whole.
      Tables stored = a_.by_row ? Tables(everything(), tables.column) : tables;
      const int64_t stride = std::max<int64_t>(stored.most(), 1) * kBlockColumns;
      if (stride > room) {
        rows = std::nullopt;
        rows = output_like(x_, {a_.cols, stride});
        room = stride;
      }
      const CopyBlocksArgs copy{x_.data_ptr(),
                                rows->data_ptr(),
                                a_.by_row ? nullptr : a_.group,
                                stored.column.data(),
                                stored.live.data(),
                                stored.count.data(),
                                a_.width,
                                stride,
                                static_cast<int64_t>(stored.column.size()),
                                element_};
      const auto kernel = GNAS_AT_LEVEL(copy_blocks);
      parallel_for(0, a_.cols, 4096, [&](int64_t first, int64_t last) { kernel(copy, first, last); });
      tables.place(element_, [&](int64_t, int64_t b, int64_t k) { return a_.by_row ? b : k; });
      a_.x = rows->data_ptr();
      a_.x_stride = stride;
      pass(tables);
    }
  }

  size_t live_columns() const { return columns_.size(); }
  bool listed() const { return a_.listed; }

 private:
  Mask everything() const { return {1, mask_.blocks, std::vector<int32_t>(mask_.blocks, 0)}; }

  // The blocks that are live in some group, and for each list those of `out` that nothing is summed for.
  void find_dead() {
    for (int64_t block = 0; block < mask_.blocks; ++block)
      if (mask_.live_somewhere(block)) columns_.push_back(static_cast<int32_t>(block));
    const int64_t lists = a_.by_row ? mask_.groups : 1;
    dead_.assign(lists * mask_.blocks, 0);
    deaths_.assign(lists, 0);
    for (int64_t list = 0; list < lists; ++list) {
      for (int64_t block = 0; block < mask_.blocks; ++block) {
        if (a_.by_row ? mask_.live(list, block) : mask_.live_somewhere(block)) continue;
        dead_[list * mask_.blocks + deaths_[list]++] = static_cast<int32_t>(block);
      }
    }
    a_.dead = dead_.data();
    a_.deaths = deaths_.data();
  }

  void pass(const Tables& tables) {
    a_.column = tables.column.data();
    a_.offset = tables.offset.data();
    a_.table = tables.table.data();
    a_.groups = mask_.groups;
    a_.live = tables.live.data();
    a_.count = tables.count.data();
    a_.blocks = static_cast<int64_t>(tables.column.size());
    a_.uniform = std::all_of(tables.count.begin(), tables.count.end(), [&](int32_t n) { return n == tables.count[0]; });
    a_.row_bytes = tables.most() * kBlockColumns * element_;
    Fault fault;
    a_.fault = &fault;
    const auto rows = GNAS_AT_LEVEL(spmm_blocks_rows);
    for_chunks(a_.chunks, [&](int64_t begin, int64_t end) { rows(a_, begin, end); });
    if (a_.chunks > 1) GNAS_AT_LEVEL(spmm_blocks_carry)(a_);
    check_fault(op_, fault);
    a_.deaths = nullptr;
  }

  const char* op_;
  const Mask mask_;
  const Tensor& x_;
  const int64_t element_;
  SpmmBlocksArgs a_{};
  std::vector<int32_t> columns_;
  std::vector<int32_t> dead_;
  std::vector<int32_t> deaths_;
  OptionalTensor carry_;
};

}  // namespace
}  // namespace gnas
