// Rows of few numbers, several to a warp: each is taken by a team of the warp's lanes, beside each other.
#pragma once

#include "core/hubs.cuh"

namespace gnas::cuda {

// Lanes for a row of the usual length, `lanes` an entry, where each has `ahead` entries under way: as few as hold it at
// once, with room for one half longer. A power of two, as `lanes` is.
inline int team_of(int64_t rows, int64_t nnz, int lanes, int ahead) {
  constexpr int kFewest = 4;
  const int64_t entries = nnz / (rows > 0 ? rows : 1) + 1;
  int team = lanes > kFewest ? lanes : kFewest;
  while (team < kWarp && 2 * int64_t{team} * ahead < 3 * entries * lanes) team *= 2;
  return team;
}

inline unsigned team_blocks(int64_t rows, int team) {
  const int teams = kWarp / team;
  return row_blocks((rows + teams - 1) / teams);
}

// Calls f(row, begin, end) for the row of this lane's team; blocks `front` and later take rows. All lanes of a warp
// come as often, so f may shuffle: those without a row, or with one that is divided into pieces, with row -1 and no
// entries.
template <class I, class F>
__device__ inline void for_team_rows(const Hubs& h, unsigned front, const I* indptr, int64_t rows, int64_t nnz,
                                     int team, const F& f) {
  const int teams = kWarp / team;
  const int64_t stride = static_cast<int64_t>(gridDim.x - front) * kWarpsPerBlock * teams;
  const int64_t first = (static_cast<int64_t>(blockIdx.x - front) * kWarpsPerBlock + threadIdx.x / kWarp) * teams;
  for (int64_t base = first; base < rows; base += stride) {
    int64_t row = base + lane() / team;
    int64_t begin = 0;
    int64_t end = 0;
    if (row < rows) {
      begin = indptr[row];
      end = indptr[row + 1];
      require(begin >= 0 && begin <= end && end <= nnz);
    }
    if (row >= rows || h.divides(end - begin)) {
      row = -1;
      end = begin;
    }
    f(row, begin, end);
  }
}

}  // namespace gnas::cuda
