// Walks a chunk of a CSR row by row: whole rows, and the pieces of rows that a cut divides.
//
// A chunk has two slots for pieces: the head (the end of a row that began in an earlier chunk) and the tail (the
// beginning, or the middle, of a row that goes on in the next one). `for_divided_rows` puts them together in order.
// Included by *_simd.cpp only, hence the namespaces.
#pragma once

#include <cstdint>

#include "core/partition.h"

namespace gnas::GNAS_ISA {
namespace {

// Calls whole(row, begin, end) and piece(slot, row, begin, end) for the edges begin … end-1 of each row.
template <class I, class Whole, class Piece>
inline void walk_chunk(const I* indptr, int64_t rows, int64_t nnz, int64_t chunks, int64_t chunk, const Whole& whole,
                       const Piece& piece) {
  const Cut from = cut_at(indptr, rows, nnz, chunks, chunk);
  const Cut until = cut_at(indptr, rows, nnz, chunks, chunk + 1);
  int64_t edge = from.edge;
  for (int64_t row = from.row; row < until.row; ++row) {
    const int64_t end = indptr[row + 1];
    if (edge > static_cast<int64_t>(indptr[row]))
      piece(2 * chunk, row, edge, end);
    else
      whole(row, edge, end);
    edge = end;
  }
  if (until.row < rows && until.edge > edge) piece(2 * chunk + 1, until.row, edge, until.edge);
}

// For each divided row, calls add(into, other) for its slots from the second on, then finish(row, into).
template <class I, class Add, class Finish>
inline void for_divided_rows(const I* indptr, int64_t rows, int64_t nnz, int64_t chunks, const Add& add,
                             const Finish& finish) {
  Cut from = cut_at(indptr, rows, nnz, chunks, 0);
  int64_t open = -1;  // the slot that holds what a divided row's pieces come to so far
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const Cut until = cut_at(indptr, rows, nnz, chunks, chunk + 1);
    if (from.row < until.row && open >= 0) {
      // A row that a cut divides exactly at its end has no head here.
      if (static_cast<int64_t>(indptr[from.row + 1]) > from.edge) add(open, 2 * chunk);
      finish(from.row, open);
      open = -1;
    }
    const int64_t row_begin = until.row < rows ? static_cast<int64_t>(indptr[until.row]) : nnz;
    if (until.edge > (from.edge > row_begin ? from.edge : row_begin)) {
      if (open < 0)
        open = 2 * chunk + 1;
      else
        add(open, 2 * chunk + 1);
    }
    from = until;
  }
}

}  // namespace
}  // namespace gnas::GNAS_ISA
