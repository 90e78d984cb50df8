// Random numbers by counter (Philox4x32-10; Salmon, Moraes, Dror and Shaw, 2011): the n-th number of a stream is a
// function of (seed, stream, n) alone. No state passes between rows, so the same numbers come out at any number of
// threads, at every instruction set, and on CUDA.
//
// Torch-free, for the host and the device. Everything stands in an unnamed namespace: no inline function compiled for
// AVX-512 leaves its object.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define GNAS_ANYWHERE __host__ __device__ inline
#else
#define GNAS_ANYWHERE inline
#endif

namespace gnas {
namespace {

struct Philox {
  uint32_t word[4];
};

// Ten rounds of multiplication over a counter of four words, under a key of two.
GNAS_ANYWHERE Philox philox4x32(Philox counter, uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t left = uint64_t{0xD2511F53u} * counter.word[0];
    const uint64_t right = uint64_t{0xCD9E8D57u} * counter.word[2];
    counter = {{static_cast<uint32_t>(right >> 32) ^ counter.word[1] ^ key0, static_cast<uint32_t>(right),
                static_cast<uint32_t>(left >> 32) ^ counter.word[3] ^ key1, static_cast<uint32_t>(left)}};
    key0 += 0x9E3779B9u;  // the golden ratio
    key1 += 0xBB67AE85u;  // the root of 3, less 1
  }
  return counter;
}

// A whole number from 0 to end - 1, each as likely as the other; end is 1 or more. `draws.next()` is 32 even bits.
template <class Source>
GNAS_ANYWHERE uint64_t draw_below(Source& draws, uint64_t end) {
  if (end <= 0xFFFFFFFFu) {  // by multiplication, and again where the few that are one too many fall (Lemire, 2019)
    const uint32_t size = static_cast<uint32_t>(end);
    uint64_t product = uint64_t{draws.next()} * size;
    if (static_cast<uint32_t>(product) < size) {
      const uint32_t surplus = (0u - size) % size;
      while (static_cast<uint32_t>(product) < surplus) product = uint64_t{draws.next()} * size;
    }
    return product >> 32;
  }
  uint64_t mask = end - 1;
  for (int shift = 1; shift < 64; shift *= 2) mask |= mask >> shift;
  uint64_t drawn;
  do {
    const uint64_t high = draws.next();
    drawn = (high << 32 | draws.next()) & mask;
  } while (drawn >= end);
  return drawn;
}

// The numbers of one stream in turn: 2^34 of them for each of 2^64 streams and 2^32 families under a seed.
class Draws {
 public:
  // A stream is what draws on its own, such as a row; a family keeps two uses of one seed apart.
  GNAS_ANYWHERE Draws(uint64_t seed, uint64_t stream, uint32_t family = 0)
      : counter_{{0, family, static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)}},
        key0_(static_cast<uint32_t>(seed)),
        key1_(static_cast<uint32_t>(seed >> 32)) {}

  // 32 even bits.
  GNAS_ANYWHERE uint32_t next() {
    if (used_ == 4) {
      block_ = philox4x32(counter_, key0_, key1_);
      ++counter_.word[0];
      used_ = 0;
    }
    // By comparison, not by address: the block stays in registers on a GPU.
    const int at = used_++;
    return at == 0 ? block_.word[0] : at == 1 ? block_.word[1] : at == 2 ? block_.word[2] : block_.word[3];
  }

  // A whole number from 0 to end - 1, each as likely as the other; end is 1 or more.
  GNAS_ANYWHERE uint64_t below(uint64_t end) { return draw_below(*this, end); }

  // In [0, 1), of 24 bits.
  GNAS_ANYWHERE float uniform() { return static_cast<float>(next() >> 8) * 0x1p-24f; }

 private:
  Philox counter_;
  Philox block_{};
  uint32_t key0_;
  uint32_t key1_;
  int used_ = 4;
};

}  // namespace
}  // namespace gnas
