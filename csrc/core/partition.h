// How the rows and edges of a CSR are cut into chunks of equal work (Merrill and Garland, 2016, merge-based SpMV).
//
// Work is rows + edges, so neither a hub nor a desert of empty rows unbalances a chunk. The cuts depend on the graph
// alone, never on the number of threads: that is why results repeat exactly whatever runs them.
// Included by *_simd.cpp only, hence the namespaces.
#pragma once

#include <cstdint>

namespace gnas::GNAS_ISA {
namespace {

struct Cut {
  int64_t row;   // rows before it are finished
  int64_t edge;  // edges before it are consumed; may lie inside `row`
};

// Where chunk `chunk` of `chunks` begins.
template <class I>
Cut cut_at(const I* indptr, int64_t rows, int64_t nnz, int64_t chunks, int64_t chunk) {
  const int64_t work = rows + nnz;
  const int64_t target = work / chunks * chunk + work % chunks * chunk / chunks;
  int64_t low = 0;
  int64_t high = rows;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (static_cast<int64_t>(indptr[middle + 1]) + middle + 1 <= target)
      low = middle + 1;
    else
      high = middle;
  }
  return {low, target - low};
}

}  // namespace
}  // namespace gnas::GNAS_ISA
