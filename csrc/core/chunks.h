// How many chunks a graph is cut into, and who runs them.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <cstdint>

#include "core/fork.h"

namespace gnas {

// f(begin, end) over pieces of a range, on torch's threads where this process has them.
template <class F>
void parallel_for(int64_t begin, int64_t end, int64_t grain, const F& f) {
  if (threads_stayed_behind)
    f(begin, end);
  else
    torch::stable::parallel_for(begin, end, grain, f);
}

// A function of the graph alone, so that results do not depend on the number of threads.
inline int64_t work_chunks(int64_t rows, int64_t nnz) {
  const int64_t chunks = (rows + nnz) / 8192;
  return chunks < 1 ? 1 : chunks > 1024 ? 1024 : chunks;
}

// f(begin, end) over all chunks on torch's threads; a single chunk stays on this one.
template <class F>
void for_chunks(int64_t chunks, const F& f) {
  if (chunks == 1)
    f(0, 1);
  else
    parallel_for(0, chunks, 1, f);
}

}  // namespace gnas
