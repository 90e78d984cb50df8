// Are the entries of a graph inside? Checked a chunk at a time, in registers, before anything is read through them.
// Included by *_simd.cpp only, hence the namespaces.
#pragma once

#include <cstdint>
#include <type_traits>

namespace gnas::GNAS_ISA {
namespace {

// The first of index[begin … end-1] that is negative or not below `limit`, or -1.
template <class I>
inline int64_t first_outside(const I* index, int64_t begin, int64_t end, int64_t limit) {
  using U = std::make_unsigned_t<I>;
  // Where all values of the type are below the limit, only negative ones are outside.
  constexpr int64_t kMost = sizeof(I) == 4 ? INT32_MAX : INT64_MAX;
  if (limit > 0) {
    const U last = static_cast<U>((limit - 1 < kMost ? limit - 1 : kMost));
    U outside = 0;
    for (int64_t e = begin; e < end; ++e) outside |= static_cast<U>(static_cast<U>(index[e]) > last);
    if (outside == 0) return -1;
  }
  for (int64_t e = begin; e < end; ++e) {
    if (index[e] < 0 || static_cast<int64_t>(index[e]) >= limit) return e;
  }
  return -1;
}

// Before a chunk of a graph is walked: are all of its entries inside? If not, one is reported.
template <class I, class Args>
inline bool inside(const Args& a, const I* indices, const I* edge, int64_t begin, int64_t end) {
  int64_t outside = first_outside(indices, begin, end, a.cols);
  if (outside < 0 && edge != nullptr) outside = first_outside(edge, begin, end, a.nnz);
  if (outside >= 0) __atomic_store_n(&a.fault->edge, outside, __ATOMIC_RELAXED);
  return outside < 0;
}

// How many edges ahead rows are fetched: about so many bytes' worth, and at least 4.
inline int64_t edges_ahead(int64_t row_bytes, int64_t bytes, int64_t most) {
  const int64_t edges = bytes / (row_bytes + 1);
  return edges < 4 ? 4 : edges > most ? most : edges;
}

}  // namespace
}  // namespace gnas::GNAS_ISA
