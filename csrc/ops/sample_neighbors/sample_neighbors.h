// Which of a row's entries are drawn: plain structs and functions for the host and the device, no Torch.
//
// The draws of a row depend on the seed and on its place in the batch alone (core/random.h), and the host and the
// device run the function below: so the same entries come out at any number of threads and on CUDA.
#pragma once

#include <cstdint>

#include "core/random.h"

namespace gnas {

struct SampleArgs {
  const void* indptr;      // [rows + 1], index type
  const void* indices;     // [nnz], index type
  const void* nodes;       // [count], index type: the rows to draw from
  const void* out_indptr;  // [count + 1], index type: how many entries each gets
  void* out_indices;       // [drawn], index type
  void* out_edge;          // [drawn], index type: where each entry stands
  int64_t rows;
  int64_t nnz;
  int64_t count;
  int64_t drawn;
  uint64_t seed;
  uint32_t family;
  bool replace;
  bool wide_index;
};

int sample_neighbors_cuda(const SampleArgs& args, void* stream);

namespace {

// Where the entries of one row come from and go to.
struct SampleRow {
  int64_t begin;  // its first entry
  int64_t size;   // its entries
  int64_t place;  // where the drawn ones go
  int64_t count;  // how many are drawn
  bool right;     // false: it must not be touched
};

template <class I>
GNAS_ANYWHERE SampleRow sample_row(const SampleArgs& s, int64_t position) {
  const I* indptr = static_cast<const I*>(s.indptr);
  const I* out_indptr = static_cast<const I*>(s.out_indptr);
  const int64_t row = static_cast<const I*>(s.nodes)[position];
  const int64_t place = out_indptr[position];
  const int64_t place_end = out_indptr[position + 1];
  if (static_cast<uint64_t>(row) >= static_cast<uint64_t>(s.rows)) return {0, 0, 0, 0, false};
  const int64_t begin = indptr[row];
  const int64_t end = indptr[row + 1];
  const int64_t size = end - begin;
  const int64_t count = place_end - place;
  const bool inside =
      0 <= begin && begin <= end && end <= s.nnz && 0 <= place && place <= place_end && place_end <= s.drawn;
  return {begin, size, place, count, inside && (s.replace ? size > 0 || count == 0 : count <= size)};
}

// edge[0 … count - 1]: with replacement in the order of the draws, else ascending.
template <class I>
GNAS_ANYWHERE void draw_entries(const SampleArgs& s, int64_t position, const SampleRow& row, I* edge) {
  Draws draws(s.seed, static_cast<uint64_t>(position), s.family);
  if (s.replace) {
    for (int64_t n = 0; n < row.count; ++n)
      edge[n] = static_cast<I>(row.begin + static_cast<int64_t>(draws.below(row.size)));
    return;
  }
  if (row.count > 64 && row.count > 8 * row.size / row.count) {  // selection sampling (Knuth, 3.4.2, algorithm S)
    int64_t n = 0;
    for (int64_t e = 0; n < row.count; ++e) {
      if (static_cast<int64_t>(draws.below(row.size - e)) < row.count - n) edge[n++] = static_cast<I>(row.begin + e);
    }
    return;
  }
  // Floyd's algorithm (Bentley and Floyd, 1987): one draw an entry; one that is taken stands for the newest place.
  for (int64_t n = 0; n < row.count; ++n) {
    const int64_t last = row.size - row.count + n;
    const I drawn = static_cast<I>(row.begin + static_cast<int64_t>(draws.below(last + 1)));
    int64_t at = n;
    while (at > 0 && edge[at - 1] > drawn) --at;
    if (at > 0 && edge[at - 1] == drawn) {
      edge[n] = static_cast<I>(row.begin + last);
      continue;
    }
    for (int64_t m = n; m > at; --m) edge[m] = edge[m - 1];
    edge[at] = drawn;
  }
}

}  // namespace
}  // namespace gnas
