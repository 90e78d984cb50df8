// Rows of a graph with so many entries that one warp would be waited for: they are divided into pieces, which any warp
// takes, and what the pieces come to is put together in their order. No atomics on numbers: results repeat exactly.
// Nothing is known about the rows on the host, so that no launch waits: scratch has room for as many pieces as there
// can be.
#pragma once

#include "core/device.cuh"

namespace gnas::cuda {

struct HubPiece {
  int64_t row;
  int64_t number;  // of the row's pieces
};

struct Hub {
  int64_t row;
  int64_t first;  // its pieces stand beside each other from here
  int64_t pieces;
};

struct Hubs {
  int64_t split = 0;  // entries of a piece; 0 where no row can have more
  int64_t piece_room = 0;
  int64_t hub_room = 0;
  unsigned long long* counts = nullptr;  // of pieces, of hubs
  HubPiece* piece = nullptr;
  Hub* hub = nullptr;

  __host__ __device__ bool divides(int64_t entries) const { return split > 0 && entries > split; }
  __device__ int64_t pieces() const { return static_cast<int64_t>(counts[0]); }
  __device__ int64_t hubs() const { return static_cast<int64_t>(counts[1]); }
  int64_t bytes() const {
    if (split == 0) return 0;
    const int64_t all = 2 * static_cast<int64_t>(sizeof *counts) + piece_room * static_cast<int64_t>(sizeof(HubPiece)) +
                        hub_room * static_cast<int64_t>(sizeof(Hub));
    return (all + 255) / 256 * 256;
  }
};

// Pieces are small beside the work of a multiprocessor, and few beside the graph.
inline Hubs hubs_of(int64_t nnz) {
  constexpr int64_t kLeast = 256;
  constexpr int64_t kMostPieces = int64_t{1} << 17;
  Hubs h;
  int64_t split = kLeast;
  while (2 * nnz / split > kMostPieces) split *= 2;
  if (nnz <= split) return h;
  h.split = split;
  // A row of d > split entries has at most d / split + 1 <= 2 d / split pieces. In fours: what stands behind a number a
  // piece and column is aligned, whatever their types.
  h.piece_room = (2 * nnz / split + 3) / 4 * 4;
  h.hub_room = nnz / split;
  return h;
}

// The same in scratch of bytes().
inline Hubs hubs_in(int64_t nnz, void* scratch) {
  Hubs h = hubs_of(nnz);
  if (h.split == 0) return h;
  h.counts = static_cast<unsigned long long*>(scratch);
  h.piece = reinterpret_cast<HubPiece*>(h.counts + 2);
  h.hub = reinterpret_cast<Hub*>(h.piece + h.piece_room);
  return h;
}

template <class I>
__global__ void find_hubs_kernel(Hubs h, const I* indptr, int64_t rows, int64_t nnz) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; row < rows; row += step) {
    const int64_t begin = indptr[row];
    const int64_t end = indptr[row + 1];
    require(begin >= 0 && begin <= end && end <= nnz);
    if (!h.divides(end - begin)) continue;
    const int64_t pieces = (end - begin + h.split - 1) / h.split;
    const auto first = static_cast<int64_t>(atomicAdd(h.counts, static_cast<unsigned long long>(pieces)));
    const auto number = static_cast<int64_t>(atomicAdd(h.counts + 1, 1ull));
    require(first + pieces <= h.piece_room && number < h.hub_room);
    h.hub[number] = {row, first, pieces};
    for (int64_t k = 0; k < pieces; ++k) h.piece[first + k] = {row, k};
  }
}

template <class I>
int find_hubs(const Hubs& h, const void* indptr, int64_t rows, int64_t nnz, cudaStream_t stream) {
  if (h.split == 0) return cudaSuccess;
  const cudaError_t error = cudaMemsetAsync(h.counts, 0, 2 * sizeof *h.counts, stream);
  if (error != cudaSuccess) return error;
  constexpr int kThreads = 256;
  constexpr int64_t kMostBlocks = 1024;
  const int64_t blocks = (rows + kThreads - 1) / kThreads;
  launch(find_hubs_kernel<I>, static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks), kThreads, stream, h,
         static_cast<const I*>(indptr), rows, nnz);
  return cudaGetLastError();
}

// Blocks that take pieces, at the front of a grid whose others take rows; they are taken first, being the longest.
inline unsigned piece_blocks(const Hubs& h) {
  constexpr int64_t kMost = 528;  // four on each multiprocessor of a large GPU
  const int64_t wanted = (h.piece_room + kWarpsPerBlock - 1) / kWarpsPerBlock;
  return static_cast<unsigned>(wanted < kMost ? wanted : kMost);
}

// Calls f(row, begin, end, piece) for the pieces that this warp takes, where the first `front` blocks of the grid do.
template <class I, class F>
__device__ inline void for_pieces(const Hubs& h, unsigned front, const I* indptr, const F& f) {
  const int64_t pieces = h.pieces();
  for (int64_t p = static_cast<int64_t>(blockIdx.x) * kWarpsPerBlock + threadIdx.x / kWarp; p < pieces;
       p += static_cast<int64_t>(front) * kWarpsPerBlock) {
    const HubPiece piece = h.piece[p];
    const int64_t begin = static_cast<int64_t>(indptr[piece.row]) + piece.number * h.split;
    const int64_t end = indptr[piece.row + 1];
    f(piece.row, begin, end - begin < h.split ? end : begin + h.split, p);
  }
}

// The same, and for whole rows, with piece -1. The first `front` blocks of the grid are those of piece_blocks().
template <class I, class F>
__device__ inline void for_rows_and_pieces(const Hubs& h, unsigned front, const I* indptr, int64_t rows, int64_t nnz,
                                           const F& f) {
  if (blockIdx.x < front) {
    for_pieces(h, front, indptr, f);
    return;
  }
  const int64_t warp = threadIdx.x / kWarp;
  const int64_t stride = static_cast<int64_t>(gridDim.x - front) * kWarpsPerBlock;
  for (int64_t row = static_cast<int64_t>(blockIdx.x - front) * kWarpsPerBlock + warp; row < rows; row += stride) {
    const int64_t begin = indptr[row];
    const int64_t end = indptr[row + 1];
    require(begin >= 0 && begin <= end && end <= nnz);
    if (!h.divides(end - begin)) f(row, begin, end, int64_t{-1});
  }
}

// What one warp of a grid without loops takes: a piece of a hub in the first `front` blocks, and a whole row in the
// others. Which one is told by the block alone, so that no register has to hold it.
template <class I>
struct Part {
  bool any;  // is there something for this warp?
  I begin;
  I end;
};

inline unsigned pieces_at_once(const Hubs& h) {
  return static_cast<unsigned>((h.piece_room + kWarpsPerBlock - 1) / kWarpsPerBlock);
}
__device__ inline int64_t piece_of_warp() { return first_row(); }
__device__ inline int64_t row_of_warp(unsigned front) {
  return first_row() - static_cast<int64_t>(front) * kWarpsPerBlock;
}

template <class I>
__device__ inline Part<I> checked(const Part<I>& part, int64_t nnz) {
  require(part.begin >= 0 && part.begin <= part.end && static_cast<int64_t>(part.end) <= nnz);
  return part;
}
template <class I>
__device__ inline Part<I> piece_part(const Hubs& h, const I* indptr, int64_t nnz) {
  const int64_t number = piece_of_warp();
  if (number >= h.pieces()) return {false, 0, 0};
  const HubPiece piece = h.piece[number];
  Part<I> part{true, indptr[piece.row] + static_cast<I>(piece.number * h.split), indptr[piece.row + 1]};
  if (h.divides(part.end - part.begin)) part.end = part.begin + static_cast<I>(h.split);
  return checked(part, nnz);
}
template <class I>
__device__ inline Part<I> row_part(const Hubs& h, unsigned front, const I* indptr, int64_t rows, int64_t nnz) {
  const int64_t row = row_of_warp(front);
  if (row >= rows) return {false, 0, 0};
  Part<I> part{true, indptr[row], indptr[row + 1]};
  // Hubs are left to those who take their pieces.
  part.any = !h.divides(static_cast<int64_t>(part.end) - static_cast<int64_t>(part.begin));
  return checked(part, nnz);
}
template <class I>
__device__ inline Part<I> part_of_warp(const Hubs& h, unsigned front, const I* indptr, int64_t rows, int64_t nnz) {
  return blockIdx.x < front ? piece_part(h, indptr, nnz) : row_part(h, front, indptr, rows, nnz);
}

// Blocks of a kernel that puts pieces together, a block a hub, where hubs may have thousands of pieces.
inline unsigned blocks_of_hubs(const Hubs& h) {
  constexpr int64_t kMost = 1024;
  return static_cast<unsigned>(h.hub_room < kMost ? h.hub_room : kMost);
}

}  // namespace gnas::cuda
