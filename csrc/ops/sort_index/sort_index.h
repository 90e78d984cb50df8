// A stable sort of row numbers by counting: plain structs and functions, no Torch, no CUDA.
#pragma once

#include <cstdint>

namespace gnas {

// The index is cut into blocks that count and place their own entries: a block a thread. A stable sort is unique, so
// what comes out does not depend on the number of blocks.
template <class I, class O>
struct SortIndex {
  const I* index;  // [entries]
  O* indptr;       // [rows + 1]: where each row's entries begin in perm
  O* perm;         // [entries]: the entries by row, ascending within one
  O* counts;       // [blocks, rows]: entries a block and row, then where the next of them goes
  int64_t rows;
  int64_t entries;
  int64_t blocks;

  int64_t begin_of(int64_t block) const { return entries / blocks * block + entries % blocks * block / blocks; }

  // Counts a block. Returns its first entry that is out of bounds, or -1; says whether the block ascends.
  int64_t count(int64_t block, bool* ascends) const {
    O* mine = counts + block * rows;
    for (int64_t row = 0; row < rows; ++row) mine[row] = 0;
    const int64_t begin = begin_of(block);
    bool sorted = true;
    for (int64_t e = begin; e < begin_of(block + 1); ++e) {
      if (static_cast<uint64_t>(static_cast<int64_t>(index[e])) >= static_cast<uint64_t>(rows)) return e;
      sorted &= e == 0 || index[e - 1] <= index[e];
      ++mine[index[e]];
    }
    *ascends = sorted;
    return -1;
  }

  // Turns counts into places: by row, then by block.
  void place() const {
    O total = 0;
    for (int64_t row = 0; row < rows; ++row) {
      indptr[row] = total;
      for (int64_t block = 0; block < blocks; ++block) {
        const O here = counts[block * rows + row];
        counts[block * rows + row] = total;
        total += here;
      }
    }
    indptr[rows] = total;
  }

  void fill(int64_t block) const {
    O* next = counts + block * rows;
    for (int64_t e = begin_of(block); e < begin_of(block + 1); ++e) perm[next[index[e]]++] = static_cast<O>(e);
  }
};

}  // namespace gnas
