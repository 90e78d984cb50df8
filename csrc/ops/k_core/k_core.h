// Which rows and columns keep k entries, by peeling: plain functions, no Torch, no CUDA.
#pragma once

#include <cstdint>
#include <vector>

namespace gnas {

// A graph and its transpose; the columns of `to` are below the number of rows of the other.
template <class I>
struct Side {
  const I* indptr;
  const I* to;
  int64_t size;
  int64_t least;  // entries that one of this side has to keep
  bool* kept;     // [size]
};

// Each entry is taken away once from each side, so the work is rows + columns + entries (Batagelj and Zaversnik, 2003).
template <class I>
void peel(const Side<I>& rows, const Side<I>& cols) {
  struct Open {
    std::vector<int64_t> left;  // entries that are still there
    std::vector<int64_t> gone;  // taken away, its entries not yet
  };
  const auto open = [](const Side<I>& side) {
    Open state{std::vector<int64_t>(side.size), {}};
    for (int64_t n = 0; n < side.size; ++n) {
      state.left[n] = static_cast<int64_t>(side.indptr[n + 1]) - static_cast<int64_t>(side.indptr[n]);
      side.kept[n] = state.left[n] >= side.least;
      if (!side.kept[n]) state.gone.push_back(n);
    }
    return state;
  };
  Open row = open(rows);
  Open col = open(cols);
  const auto spread = [](const Side<I>& from, Open& of, const Side<I>& to, Open& other) {
    while (!of.gone.empty()) {
      const int64_t n = of.gone.back();
      of.gone.pop_back();
      for (int64_t e = from.indptr[n]; e < static_cast<int64_t>(from.indptr[n + 1]); ++e) {
        const int64_t m = from.to[e];
        if (--other.left[m] < to.least && to.kept[m]) {
          to.kept[m] = false;
          other.gone.push_back(m);
        }
      }
    }
  };
  while (!row.gone.empty() || !col.gone.empty()) {
    spread(rows, row, cols, col);
    spread(cols, col, rows, row);
  }
}

}  // namespace gnas
