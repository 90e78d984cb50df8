// Wide features are taken a panel of columns at a time, copied to where gathering is cheap. On the CPU.
//
// Random rows of a large matrix miss the caches and, on small pages, the translation of addresses as well. A panel
// holds the columns that make up four cache lines, its rows lie side by side in huge pages of the pool, and one panel
// is there at a time: more of it stays in the caches. The copy reads the matrix once, a product reads every row as
// often as the graph has edges a column.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "core/chunks.h"
#include "core/pool.h"
#include "core/types.h"

namespace gnas {

// A matrix of which a graph's edges read rows at random.
struct Gathered {
  const void* data;  // [rows, width]
  int64_t rows;
  int64_t width;
  int64_t element;  // bytes
  int64_t reads;    // rows read in all
};

// Columns of it, in the matrix itself or in a copy.
struct Panel {
  const void* data;
  int64_t stride;  // elements from one row to the next
  int64_t column;  // the first
  int64_t width;
};

class Panels {
 public:
  // Where `divisible` is false, all columns are one panel.
  explicit Panels(const Gathered& x, bool divisible = true) : x_(x), width_(x.width) {
    const int64_t bytes = x.rows * x.width * x.element;
    if (bytes < kLargeBytes || x.reads < reads_that_pay(bytes) * x.rows) return;
    const int64_t width = divisible ? std::min(x.width, kPanelBytes / x.element) : x.width;
    if (on_huge_pages() && (width == x.width || x.rows * kPanelBytes > kLargeBytes)) return;
    stride_ = (width * x.element + kLine - 1) / kLine * kLine / x.element;
    copy_ = static_cast<char*>(pool::take(x.rows * stride_ * x.element));
    if (copy_ != nullptr) width_ = width;
  }
  ~Panels() {
    if (copy_ != nullptr) pool::give(copy_);
  }
  Panels(const Panels&) = delete;
  Panels& operator=(const Panels&) = delete;

  int64_t count() const { return width_ == x_.width ? 1 : (x_.width + width_ - 1) / width_; }

  // Calls pass(panel) for each.
  template <class Pass>
  void each(const Pass& pass) const {
    if (copy_ == nullptr) {
      pass(Panel{x_.data, x_.width, 0, x_.width});
      return;
    }
    for (int64_t column = 0; column < x_.width; column += width_) {
      const Panel panel{copy_, stride_, column, std::min(width_, x_.width - column)};
      copy(panel);
      pass(panel);
    }
  }

 private:
  static constexpr int64_t kPanelBytes = 256;
  static constexpr int64_t kLine = 64;
  // Smaller matrices fit the last level of cache.
  static constexpr int64_t kLargeBytes = int64_t{32} << 20;
  // How often a row must be read for its copy to pay: more often where the matrix is not much larger than the cache.
  static int64_t reads_that_pay(int64_t bytes) { return bytes < 4 * kLargeBytes ? 16 : 8; }

  // Did the user ask torch for huge pages? A copy gains less then.
  static bool on_huge_pages() {
    static const char* const asked = std::getenv("THP_MEM_ALLOC_ENABLE");
    return asked != nullptr && asked[0] == '1';
  }

  void copy(const Panel& panel) const {
    const char* from = static_cast<const char*>(x_.data) + panel.column * x_.element;
    const int64_t from_stride = x_.width * x_.element;
    const int64_t to_stride = stride_ * x_.element;
    const int64_t bytes = panel.width * x_.element;
    parallel_for(0, x_.rows, 4096, [&](int64_t begin, int64_t end) {
      if (bytes == from_stride && bytes == to_stride) {
        std::memcpy(copy_ + begin * bytes, from + begin * bytes, (end - begin) * bytes);
      } else if (bytes == kPanelBytes) {  // a length that the compiler knows
        for (int64_t row = begin; row < end; ++row)
          std::memcpy(copy_ + row * to_stride, from + row * from_stride, kPanelBytes);
      } else {
        for (int64_t row = begin; row < end; ++row)
          std::memcpy(copy_ + row * to_stride, from + row * from_stride, bytes);
      }
    });
  }

  const Gathered x_;
  int64_t width_;
  int64_t stride_ = 0;
  char* copy_ = nullptr;
};

// `elements` elements further on.
template <class P>
P advance(P from, int64_t elements, int64_t bytes) {
  if (from == nullptr) return nullptr;
  return reinterpret_cast<P>(reinterpret_cast<uintptr_t>(from) + static_cast<uintptr_t>(elements * bytes));
}

}  // namespace gnas
