// What can this machine do at best? Rows gathered in a given order with nothing else to do, and memory read and copied.
// Compiled by the suite for the machine that it runs on; no part of the package.
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace {

constexpr int64_t kLine = 64;
constexpr int64_t kAhead = 64;  // rows: far enough that none is waited for
using Line = uint64_t __attribute__((vector_size(kLine)));

inline Line load(const char* from) {
  Line line;
  memcpy(&line, from, kLine);
  return line;
}

inline uint64_t folded(const Line& line) {
  uint64_t all = 0;
  for (int i = 0; i < 8; ++i) all ^= line[i];
  return all;
}

// A register for each line of a row: nothing is written but the checksum.
template <int LINES>
uint64_t gather(const char* table, const int32_t* index, int64_t count, int threads) {
  uint64_t checksum = 0;
#pragma omp parallel num_threads(threads) reduction(^ : checksum)
  {
    Line sum[LINES] = {};
#pragma omp for schedule(static)
    for (int64_t e = 0; e < count; ++e) {
      const char* row = table + LINES * kLine * index[e];
      const char* ahead = table + LINES * kLine * index[e + kAhead < count ? e + kAhead : e];
#pragma GCC unroll 16
      for (int i = 0; i < LINES; ++i) {
        __builtin_prefetch(ahead + i * kLine);
        sum[i] ^= load(row + i * kLine);
      }
    }
    for (const Line& part : sum) checksum ^= folded(part);
  }
  return checksum;
}

}  // namespace

extern "C" {

// Rows of 64, 128, 256, 512 or 1,024 bytes at index[0] … index[count - 1]. A checksum, so that nothing is left out; 0
// for another number of bytes.
uint64_t gather_rows(const char* table, int64_t bytes, const int32_t* index, int64_t count, int threads) {
  switch (bytes) {
    case 64:
      return gather<1>(table, index, count, threads);
    case 128:
      return gather<2>(table, index, count, threads);
    case 256:
      return gather<4>(table, index, count, threads);
    case 512:
      return gather<8>(table, index, count, threads);
    case 1024:
      return gather<16>(table, index, count, threads);
    default:
      return 0;
  }
}

uint64_t read_all(const char* from, int64_t bytes, int threads) {
  uint64_t checksum = 0;
#pragma omp parallel num_threads(threads) reduction(^ : checksum)
  {
    Line sum[4] = {};
#pragma omp for schedule(static)
    for (int64_t four = 0; four < bytes / (4 * kLine); ++four)
      for (int i = 0; i < 4; ++i) sum[i] ^= load(from + (4 * four + i) * kLine);
    for (const Line& part : sum) checksum ^= folded(part);
  }
  return checksum;
}

// With stores that pass the caches by, where there are such: a line that is written need not be read first.
void copy_all(char* to, const char* from, int64_t bytes, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t line = 0; line < bytes / kLine; ++line) {
#ifdef __SSE2__
    for (int64_t i = line * kLine; i < (line + 1) * kLine; i += 16)
      _mm_stream_si128(reinterpret_cast<__m128i*>(to + i), _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i)));
#else
    memcpy(to + line * kLine, from + line * kLine, kLine);
#endif
  }
}

}  // extern "C"
