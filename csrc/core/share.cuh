// Sums over lanes of a warp that have parts of the same numbers: half of what is left goes to the one lane of each
// pair, half to the other, so that each step exchanges half as much, and in the end all lanes have something to write.
#pragma once

#include "core/once.cuh"

namespace gnas::cuda {

// Which of the numbers a lane has in the end: `count` from `first` on, at the front of its array.
struct Share {
  int first;
  int count;  // a power of two, the same in all lanes
  bool only;  // else a lane before it has the same ones
};

// Over the lanes whose numbers differ in bits from … to, powers of two, from >= to: none where from < to.
template <int kCount, class A>
__device__ inline Share sum_and_share(A (&v)[kCount], int from, int to) {
  Share share{0, kCount, true};
  int apart = from;
#pragma unroll
  for (int half = kCount / 2; half >= 1; half /= 2) {
    if (apart < to) break;
    const bool high = (lane() & apart) != 0;
#pragma unroll
    for (int c = 0; c < half; ++c) {
      const A given = high ? v[c] : v[c + half];
      const A kept = high ? v[c + half] : v[c];
      v[c] = kept + __shfl_xor_sync(kAllLanes, given, apart);
    }
    if (high) share.first += half;
    share.count = half;
    apart /= 2;
  }
  for (; apart >= to; apart /= 2) {
    v[0] += __shfl_xor_sync(kAllLanes, v[0], apart);
    share.only = share.only && (lane() & apart) == 0;
  }
  return share;
}

template <class Word, class T>
__device__ inline void store_word(const T* from, T* to) {
  Word word;
  __builtin_memcpy(&word, from, sizeof word);
  store_once(reinterpret_cast<Word*>(to), word);
}

// A lane's share of kCount numbers, one beside the other. `whole`: memory is aligned as for all of them.
template <int kCount, class T>
__device__ inline void store_share(const T (&v)[kCount], int count, bool whole, T* to, int64_t room) {
  if (!whole) {
#pragma unroll
    for (int c = 0; c < kCount; ++c)
      if (c < count && c < room) to[c] = v[c];
    return;
  }
#pragma unroll
  for (int n = kCount; n >= 1; n /= 2) {
    if (n != count) continue;
    constexpr int kSize = static_cast<int>(sizeof(T));
    const int bytes = n * kSize;
    if (bytes >= 16) {
#pragma unroll
      for (int c = 0; c < n; c += 16 / kSize) store_word<uint4>(v + c, to + c);
    } else if (bytes == 8) {
      store_word<uint2>(v, to);
    } else if (bytes == 4) {
      store_word<uint32_t>(v, to);
    } else if (bytes == 2) {
      store_word<uint16_t>(v, to);
    } else {
      to[0] = v[0];
    }
  }
}

}  // namespace gnas::cuda
