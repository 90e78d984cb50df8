// A large table of codes, copied to where gathering is cheap, as core/panels.h does it for other features. On the CPU.
//
// Rows lie side by side in huge pages of the pool, and their scales behind them. (In the row itself, where a cache line
// has room for both, they make an edge wait for one line instead of two, but the table twice as large: slower.) Rows
// above four cache lines are copied a panel of columns at a time.
#pragma once

#include <algorithm>
#include <cstring>

#include "core/chunks.h"
#include "core/panels.h"  // advance
#include "core/pool.h"
#include "ops/spmm_quantized/spmm_quantized.h"

namespace gnas {

// Columns of a table, in itself or in a copy.
struct TablePanel {
  QuantizedTable table;
  int64_t column;  // the first
};

class Gatherable {
 public:
  explicit Gatherable(const SpmmQuantizedArgs& a) : table_(a.table), bytes_(a.table.row_bytes) {
    if (table_.rows * bytes_ < kLargeBytes || a.nnz < kReads * table_.rows) return;
    // A row that is quantised again has to be there as a whole.
    const int64_t bytes = a.scale != nullptr ? bytes_ : std::min(bytes_, kPanelBytes);
    stride_ = bytes > kLine ? rounded(bytes) : power_of_two(bytes);
    const int64_t scales = table_.rows * static_cast<int64_t>(sizeof(float));
    copy_ = static_cast<char*>(pool::take(table_.rows * stride_ + 4 + scales));
    if (copy_ != nullptr) bytes_ = bytes;
  }
  ~Gatherable() {
    if (copy_ != nullptr) pool::give(copy_);
  }
  Gatherable(const Gatherable&) = delete;
  Gatherable& operator=(const Gatherable&) = delete;

  // Calls pass(panel) for each.
  template <class Pass>
  void each(const Pass& pass) const {
    if (copy_ == nullptr) {
      pass(TablePanel{table_, 0});
      return;
    }
    QuantizedTable part = table_;
    part.codes = copy_;
    part.row_bytes = stride_;
    // Where a float may begin.
    char* scale = copy_ + (table_.rows * stride_ + 3) / 4 * 4;
    std::memcpy(scale, table_.scale, table_.rows * sizeof(float));
    part.scale = reinterpret_cast<const float*>(scale);
    for (int64_t from = 0; from < table_.row_bytes; from += bytes_) {
      const int64_t bytes = std::min(bytes_, table_.row_bytes - from);
      const int64_t column = from * 8 / table_.bits;
      copy(from, bytes);
      part.width = std::min(bytes * 8 / table_.bits, table_.width - column);
      pass(TablePanel{part, column});
    }
  }

 private:
  static constexpr int64_t kPanelBytes = 256;
  static constexpr int64_t kLine = 64;
  // Smaller tables miss the caches too seldom.
  static constexpr int64_t kLargeBytes = int64_t{12} << 20;
  // How often a row must be read for its copy to pay.
  static constexpr int64_t kReads = 8;

  static int64_t rounded(int64_t bytes) { return (bytes + kLine - 1) / kLine * kLine; }
  // Rows that share a line do not cross it.
  static int64_t power_of_two(int64_t bytes) {
    int64_t size = 1;
    while (size < bytes) size *= 2;
    return size;
  }

  void copy(int64_t from, int64_t bytes) const {
    parallel_for(0, table_.rows, 4096, [&](int64_t begin, int64_t end) {
      switch (bytes) {
        case 16:
          return copy_rows<16>(from, bytes, begin, end);
        case 32:
          return copy_rows<32>(from, bytes, begin, end);
        case 64:
          return copy_rows<64>(from, bytes, begin, end);
        case 128:
          return copy_rows<128>(from, bytes, begin, end);
        case 256:
          return copy_rows<256>(from, bytes, begin, end);
        default:
          return copy_rows<0>(from, bytes, begin, end);
      }
    });
  }

  // A length that the compiler knows, or 0.
  template <int64_t kBytes>
  void copy_rows(int64_t from, int64_t bytes, int64_t begin, int64_t end) const {
    const char* codes = static_cast<const char*>(table_.codes) + from;
    for (int64_t row = begin; row < end; ++row) {
      std::memcpy(copy_ + row * stride_, codes + row * table_.row_bytes, kBytes > 0 ? kBytes : bytes);
    }
  }

  const QuantizedTable table_;
  int64_t bytes_;       // of a row that are copied at a time
  int64_t stride_ = 0;  // from one row of the copy to the next
  char* copy_ = nullptr;
};

}  // namespace gnas
