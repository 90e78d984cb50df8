// The element types that cross from the Torch side to the kernels, as plain data: no Torch, no CUDA.
#pragma once

#include <cstdint>

namespace gnas {

enum class Dtype : int { f32, f64, bf16, f16 };
enum class Reduce : int { sum, mean, max, min };

// Storage of the half types on the host; CUDA has its own.
struct bf16 {
  uint16_t bits;
};
struct f16 {
  uint16_t bits;
};

// Where a kernel reports an entry that would read out of bounds; -1 while there is none.
struct Fault {
  int64_t edge = -1;
};

}  // namespace gnas
