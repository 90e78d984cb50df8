// Runs a CUDA kernel on the CPU, so that its logic can be tested without a GPU. Blocks run one after another, the
// threads of a block as fibers: each runs until it ends or waits for others, so threads are as far apart as barriers
// let them be. Every other block runs its threads in the opposite order: a missing barrier is wrong in one of the two.
//
// What is undefined on a GPU becomes a launch error with a line on stderr: lanes that wait for lanes that never come,
// a shuffle by a lane outside of its own mask, misaligned loads, indices beyond an array. Shared memory begins as
// garbage. Never shipped: `make emulate` builds it.
#pragma once

#include <cstdint>
#include <cstring>

namespace gnas::emulator {

// Errors by CUDA's numbers.
constexpr int kInvalidConfiguration = 9;
constexpr int kIllegalAddress = 700;
constexpr int kAssert = 710;
constexpr int kMisaligned = 716;
constexpr int kLaunchFailure = 719;

struct Size {
  unsigned x, y, z;
};

// Runs body(context) as every thread of every block.
void run(Size grid, Size block, void (*body)(void*), void* context);
int take_error();

// Ends the launch: no thread of it goes on. Without `what`, nothing is printed.
[[noreturn]] void fail(int error, const char* what);

// What the lanes of a warp do together. The number of each is handed over and a number comes back.
enum class Collective {
  sync,
  shuffle,
  ballot,
  all,
  any,
  match_any,
  match_all,
  add,
  min,
  max,
  min_signed,
  max_signed,
  and_,
  or_,
  xor_
};
uint64_t collective(Collective kind, unsigned mask, uint64_t value, int source = 0);

// __syncthreads; how many threads brought true.
int barrier(bool value);

template <class T>
uint64_t bits_of(T value) {
  static_assert(sizeof(T) <= 8, "a shuffle moves up to 8 bytes");
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return bits;
}
template <class T>
T from_bits(uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace gnas::emulator
