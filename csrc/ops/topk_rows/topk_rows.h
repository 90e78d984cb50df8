// The k entries of each row with the largest scores: plain functions, no Torch, no CUDA. The work is branches, in which
// no instruction set helps: there is one CPU kernel.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>

namespace gnas {

// A whole number that is ordered as the scores are: NaN above all, both zeros alike.
inline int64_t order_of(double score) {
  if (score != score) return INT64_MAX;
  score += 0.0;  // -0 becomes 0
  int64_t bits;
  std::memcpy(&bits, &score, sizeof bits);
  return bits < 0 ? bits ^ INT64_MAX : bits;
}

// keep[e] for the entries of rows begin … end - 1; among equals the earlier one. The row pointers were checked.
// `orders` and `sorting` are room for a number an entry each, so that no thread asks for memory.
template <class I, class T>
void keep_largest(const I* indptr, const T* scores, int64_t k, bool* keep, int64_t* orders, int64_t* sorting,
                  int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const int64_t first = indptr[row];
    const int64_t size = indptr[row + 1] - first;
    if (size <= k || k == 0) {
      std::fill(keep + first, keep + first + size, k != 0);
      continue;
    }
    int64_t* order = orders + first;
    int64_t* sorted = sorting + first;
    for (int64_t n = 0; n < size; ++n) sorted[n] = order[n] = order_of(scores[first + n]);
    std::nth_element(sorted, sorted + (k - 1), sorted + size, std::greater<>());
    const int64_t least = sorted[k - 1];
    // What stands before it is as large or larger: of those that equal it, so many stay.
    int64_t equal = std::count(sorted, sorted + k, least);
    for (int64_t n = 0; n < size; ++n) keep[first + n] = order[n] > least || (order[n] == least && equal-- > 0);
  }
}

}  // namespace gnas
