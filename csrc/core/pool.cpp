#include "core/pool.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <list>
#include <mutex>
#include <unordered_map>

namespace gnas::pool {
namespace {

constexpr int64_t kHugePage = int64_t{2} << 20;
// Smaller outputs come from malloc, which serves them without a page fault.
constexpr int64_t kSmallest = 2 * kHugePage;

struct Block {
  void* address;
  int64_t bytes;
};

class Pool {
 public:
  void* take(int64_t bytes) {
    if (bytes < kSmallest) return nullptr;
    const int64_t rounded = (bytes + kHugePage - 1) / kHugePage * kHugePage;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (limit_ == 0) return nullptr;
      // The smallest block that fits, unless a quarter of it would lie idle.
      auto best = kept_.end();
      for (auto block = kept_.begin(); block != kept_.end(); ++block) {
        if (block->bytes < rounded || block->bytes - rounded > rounded / 4) continue;
        if (best == kept_.end() || block->bytes < best->bytes) best = block;
      }
      if (best != kept_.end()) {
        const Block block = *best;
        kept_.erase(best);
        kept_bytes_ -= block.bytes;
        lend(block);
        ++reused_;
        return block.address;
      }
    }
    const Block block{map(rounded), rounded};
    if (block.address == nullptr) return nullptr;
    const std::lock_guard<std::mutex> lock(mutex_);
    lend(block);
    ++mapped_;
    return block.address;
  }

  void give(void* address) {
    std::list<Block> surplus;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      const auto found = lent_.find(address);
      const Block block{address, found->second};
      lent_.erase(found);
      lent_bytes_ -= block.bytes;
      kept_.push_back(block);
      kept_bytes_ += block.bytes;
      surplus = above(limit_);
    }
    unmap(surplus);
  }

  Stats stats() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return {limit_, kept_bytes_, lent_bytes_, reused_, mapped_};
  }

  void set_limit(int64_t bytes) {
    std::list<Block> surplus;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      limit_ = bytes;
      surplus = above(limit_);
    }
    unmap(surplus);
  }

  int64_t trim() {
    std::list<Block> surplus;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      surplus = above(0);
    }
    return unmap(surplus);
  }

  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }

 private:
  void lend(const Block& block) {
    lent_[block.address] = block.bytes;
    lent_bytes_ += block.bytes;
  }

  // The oldest of the kept blocks, until no more than `bytes` are kept.
  std::list<Block> above(int64_t bytes) {
    std::list<Block> surplus;
    while (kept_bytes_ > bytes) {
      kept_bytes_ -= kept_.front().bytes;
      surplus.splice(surplus.end(), kept_, kept_.begin());
    }
    return surplus;
  }

  // Aligned to huge pages, which is what lets the kernel use them; null when there is no memory.
  static void* map(int64_t bytes) {
    void* raw = mmap(nullptr, bytes + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED) return nullptr;
    const auto start = reinterpret_cast<uintptr_t>(raw);
    const uintptr_t aligned = (start + kHugePage - 1) / kHugePage * kHugePage;
    if (aligned > start) munmap(raw, aligned - start);
    if (aligned - start < static_cast<uintptr_t>(kHugePage))
      munmap(reinterpret_cast<void*>(aligned + bytes), kHugePage - (aligned - start));
    madvise(reinterpret_cast<void*>(aligned), bytes, MADV_HUGEPAGE);  // where it is refused, small pages do
    return reinterpret_cast<void*>(aligned);
  }

  static int64_t unmap(const std::list<Block>& blocks) {
    int64_t bytes = 0;
    for (const Block& block : blocks) {
      munmap(block.address, block.bytes);
      bytes += block.bytes;
    }
    return bytes;
  }

  // An eighth of the memory, at most 2 GiB.
  static int64_t default_limit() {
    const int64_t memory = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
    return std::min(memory / 8, int64_t{2} << 30);
  }

  std::mutex mutex_;
  std::list<Block> kept_;  // oldest first
  std::unordered_map<void*, int64_t> lent_;
  int64_t limit_ = default_limit();
  int64_t kept_bytes_ = 0;
  int64_t lent_bytes_ = 0;
  int64_t reused_ = 0;
  int64_t mapped_ = 0;
};

Pool& pool() {
  // Never destroyed: tensors may outlive static objects.
  static Pool* const the_pool = [] {
    auto* made = new Pool;
    // A child of fork must not find the lock held by a thread that it does not have.
    pthread_atfork([] { pool().lock(); }, [] { pool().unlock(); }, [] { pool().unlock(); });
    return made;
  }();
  return *the_pool;
}

}  // namespace

void* take(int64_t bytes) { return pool().take(bytes); }
void give(void* block) { pool().give(block); }
Stats stats() { return pool().stats(); }
void set_limit(int64_t bytes) { pool().set_limit(bytes); }
int64_t trim() { return pool().trim(); }

}  // namespace gnas::pool
