// Memory for outputs that is used again: plain C++, no Torch.
//
// glibc hands every block above 32 MB back to the system, so that each large output is mapped anew and faults in page
// by page: more time than the arithmetic takes. Blocks of the pool stay mapped, in huge pages, and go round. A block is
// handed out again only after the tensor that held it has given it back.
#pragma once

#include <cstdint>

namespace gnas::pool {

struct Stats {
  int64_t limit;   // bytes that may be kept while nobody uses them
  int64_t kept;    // bytes kept and unused
  int64_t in_use;  // bytes that live tensors hold
  int64_t reused;  // blocks that were handed out again
  int64_t mapped;  // blocks that had to be mapped
};

// A block of at least `bytes` bytes, or null where the pool does not serve: too small, switched off, out of memory.
void* take(int64_t bytes);
// Takes a block back. It is kept, unless that goes over the limit even without older blocks.
void give(void* block);

Stats stats();
// 0 switches the pool off; what is kept above the limit is unmapped.
void set_limit(int64_t bytes);
// Unmaps what is kept and unused; how many bytes that was.
int64_t trim();

}  // namespace gnas::pool
