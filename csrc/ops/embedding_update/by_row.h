// The entries of a batch by the row that they name: a stable sort by digits, whose cost is the batch's and not the
// table's. (sort_index counts every row, which pays where most of them have an entry.)
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace gnas {

struct ByRow {
  std::vector<int64_t> row;      // the rows that have an entry, ascending
  std::vector<int64_t> entries;  // where the entries of each begin in `entry`, and the number of all
  std::vector<int64_t> entry;    // ascending within a row
};

// Every index is 0 … rows - 1.
template <class I>
ByRow by_row(const I* index, int64_t count, int64_t rows) {
  constexpr int kDigit = 11;
  std::vector<int64_t> entry(count);
  std::vector<int64_t> next(count);
  for (int64_t e = 0; e < count; ++e) entry[e] = e;
  for (int shift = 0; shift < 63 && ((rows - 1) >> shift) > 0; shift += kDigit) {
    int64_t place[(1 << kDigit) + 1] = {};
    const auto digit = [&](int64_t e) { return (static_cast<int64_t>(index[e]) >> shift) & ((1 << kDigit) - 1); };
    for (int64_t e = 0; e < count; ++e) ++place[digit(e) + 1];
    for (int d = 0; d < 1 << kDigit; ++d) place[d + 1] += place[d];
    for (const int64_t e : entry) next[place[digit(e)]++] = e;
    std::swap(entry, next);
  }
  ByRow sorted;
  for (int64_t n = 0; n < count; ++n) {
    const int64_t row = static_cast<int64_t>(index[entry[n]]);
    if (!sorted.row.empty() && sorted.row.back() == row) continue;
    sorted.row.push_back(row);
    sorted.entries.push_back(n);
  }
  sorted.entries.push_back(count);
  sorted.entry = std::move(entry);
  return sorted;
}

}  // namespace gnas
