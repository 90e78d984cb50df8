// Rows of a graph, several beside each other a warp, and pieces of hubs (core/hubs.cuh). While a row is worked on, the
// columns of the next one are under way: of a short row most of the time is waiting, and that is one wait less.
#pragma once

#include "core/hubs.cuh"
#include "core/once.cuh"

namespace gnas::cuda {

// How the rows of a graph are laid out over warps: each takes a piece, or rows beside each other, and no more.
struct Runs {
  Hubs hubs;
  unsigned front;  // blocks that take pieces, at the front of the grid
  int rows;        // that a warp takes
};

inline Runs runs_of(int64_t rows, int64_t nnz, void* scratch) {
  constexpr int64_t kMany = int64_t{1} << 16;
  const Hubs hubs = hubs_in(nnz, scratch);
  return {hubs, pieces_at_once(hubs), rows >= kMany ? 4 : 1};
}

inline unsigned run_blocks(const Runs& runs, int64_t rows) {
  return runs.front + row_blocks((rows + runs.rows - 1) / runs.rows);
}

// The column of this lane's edge, of the 32 from `from` on of a row that has `count` of them.
template <class I>
__device__ inline I column_of(const I* row, int from, int count) {
  return from + lane() < count ? load_once(row + from + lane()) : I{0};
}

// What another lane has; lanes are counted round.
template <class T>
__device__ inline T from_lane(T x, int lane) {
  return __shfl_sync(kAllLanes, x, lane);
}

// How far from the first row a row stands, which is no negative number.
__device__ inline int64_t offset_of(int32_t row, unsigned stride) {
  return static_cast<int64_t>(uint64_t{static_cast<uint32_t>(row)} * stride);
}
__device__ inline int64_t offset_of(int64_t row, unsigned stride) { return row * static_cast<int64_t>(stride); }

// Edges of a row: all of them, or a piece of a hub. No row that is not divided has more of them than an int holds.
template <class I>
struct Edges {
  int64_t row;
  I begin;
  int count;
  int piece;  // its number, or -1
  I column;   // of this lane's first edge, unchecked
};

// Calls f(edges) for what this warp takes.
template <class I, class F>
__device__ inline void for_runs_and_pieces(const Runs& runs, const I* indptr, const I* indices, int64_t rows,
                                           int64_t nnz, const F& f) {
  int64_t row = 0;
  int piece = -1;
  int count = 1;
  I bound = 0;  // lane r has where row r of the run begins
  if (blockIdx.x < runs.front) {
    const Part<I> part = piece_part(runs.hubs, indptr, nnz);
    if (!part.any) return;
    piece = static_cast<int>(piece_of_warp());
    row = runs.hubs.piece[piece].row;
    bound = lane() == 0 ? part.begin : part.end;
  } else {
    row = row_of_warp(runs.front) * runs.rows;
    if (row >= rows) return;
    count = static_cast<int>(rows - row < runs.rows ? rows - row : runs.rows);
    bound = indptr[row + (lane() < count ? lane() : count)];
  }
  const I before = __shfl_sync(kAllLanes, bound, lane() == 0 ? 0 : lane() - 1);
  require(bound >= 0 && before <= bound && static_cast<int64_t>(bound) <= nnz);
  const I first = __shfl_sync(kAllLanes, bound, 0);
  const I second = __shfl_sync(kAllLanes, bound, 1);
  const bool divides = piece < 0 && runs.hubs.split > 0;
  I next = 0;
  if (static_cast<int64_t>(first) + lane() < second) next = load_once(indices + first + lane());
  for (int r = 0; r < count; ++r) {
    const I begin = __shfl_sync(kAllLanes, bound, r);
    const I end = __shfl_sync(kAllLanes, bound, r + 1);
    const I column = next;
    const I next_end = __shfl_sync(kAllLanes, bound, r + 2);
    if (r + 1 < count && static_cast<int64_t>(end) + lane() < next_end) next = load_once(indices + end + lane());
    // Hubs are left to those who take their pieces.
    if (divides && static_cast<int64_t>(end) - begin > runs.hubs.split) continue;
    f(Edges<I>{row + r, begin, static_cast<int>(end - begin), piece, column});
  }
}

// Of kernels that fill a multiprocessor with warps, which hide the waits of each other: a warp takes one row, or one
// piece, and reads no columns ahead. Calls f(edges, whether they are a piece), the latter as a constant.
template <class I, class F>
__device__ inline void for_row_or_piece(const Runs& runs, const I* indptr, int64_t rows, int64_t nnz, const F& f) {
  if (blockIdx.x < runs.front) {
    const Part<I> part = piece_part(runs.hubs, indptr, nnz);
    const int count = static_cast<int>(part.end - part.begin);
    if (part.any) f(Edges<I>{0, part.begin, count, static_cast<int>(piece_of_warp()), I{0}}, std::true_type{});
  } else {
    const Part<I> part = row_part(runs.hubs, runs.front, indptr, rows, nnz);
    const int count = static_cast<int>(part.end - part.begin);
    if (part.any) f(Edges<I>{row_of_warp(runs.front), part.begin, count, -1, I{0}}, std::false_type{});
  }
}

}  // namespace gnas::cuda
