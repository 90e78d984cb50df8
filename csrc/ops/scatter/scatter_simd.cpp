#include "core/vector.h"
#include "ops/scatter/scatter.h"

namespace gnas::GNAS_ISA {
namespace {

// Entries looked at before those that lie in the part are added: their numbers stay in the nearest cache.
constexpr int64_t kBatch = 2048;
// Rows fetched ahead. Those of the output are known as soon as the index is; those of src follow each other with gaps,
// which the hardware does not expect.
constexpr int64_t kAhead = 12;
constexpr int64_t kLine = 64;

// to[f] += from[f], while the same columns of two rows to come are fetched line by line.
template <class T, int N>
GNAS_INLINE void add_block(const T* from, Accumulator<T>* to, const T* from_ahead, const Accumulator<T>* to_ahead) {
  using A = Accumulator<T>;
  constexpr int kLanes = Lanes<A>::count;
  unrolled<N>([&](auto v) {
    if constexpr (v * kLanes * static_cast<int>(sizeof(T)) % kLine == 0) __builtin_prefetch(from_ahead + v * kLanes);
    if constexpr (v * kLanes * static_cast<int>(sizeof(A)) % kLine == 0) __builtin_prefetch(to_ahead + v * kLanes, 1);
    store<A>(load(to + v * kLanes) + load(from + v * kLanes), to + v * kLanes);
  });
}

template <class T>
GNAS_INLINE void add_row(const T* from, Accumulator<T>* to, const T* from_ahead, const Accumulator<T>* to_ahead,
                         int64_t width) {
  using A = Accumulator<T>;
  constexpr int kLanes = Lanes<A>::count;
  int64_t f = 0;
  for (; f + 4 * kLanes <= width; f += 4 * kLanes) add_block<T, 4>(from + f, to + f, from_ahead + f, to_ahead + f);
  for (; f + kLanes <= width; f += kLanes) add_block<T, 1>(from + f, to + f, from_ahead + f, to_ahead + f);
  if (f == width) return;
  __builtin_prefetch(from_ahead + f);
  __builtin_prefetch(to_ahead + f, 1);
  for (; f < width; ++f) to[f] += widen(from[f]);
}

// Entries of one number. What lies outside the part is added to a number that nobody reads: a branch could not be
// foreseen, and a list of those inside costs more than they do.
template <class T, class I>
void run_numbers(const ScatterArgs& a, ScatterPart& part) {
  using A = Accumulator<T>;
  const I* index = static_cast<const I*>(a.index);
  const T* src = static_cast<const T*>(a.src);
  A* sum = static_cast<A*>(a.sum);
  auto* count = static_cast<int64_t*>(a.count);
  const auto first = static_cast<uint64_t>(part.row_begin);
  const auto rows = static_cast<uint64_t>(part.row_end) - first;
  std::memset(sum + part.row_begin, 0, rows * sizeof(A));
  if (count != nullptr) std::memset(count + part.row_begin, 0, rows * sizeof(int64_t));
  A other = 0;
  int64_t outside = 0;
  int64_t found = 0;
  for (int64_t e = 0; e < a.entries; ++e) {
    const auto row = static_cast<int64_t>(index[e]);
    const bool mine = static_cast<uint64_t>(row) - first < rows;
    *(mine ? sum + row : &other) += widen(src[e]);
    if (count != nullptr) ++*(mine ? count + row : &outside);
    found += mine;
  }
  part.found = found;
}

template <class T, class I>
void run_part(const ScatterArgs& a, ScatterPart& part) {
  if (a.width == 1) return run_numbers<T, I>(a, part);
  using A = Accumulator<T>;
  const I* index = static_cast<const I*>(a.index);
  const T* src = static_cast<const T*>(a.src) + part.column_begin;
  A* sum = static_cast<A*>(a.sum) + part.column_begin;
  // All parts of the same rows would count alike: the one with the first column does.
  int64_t* count = part.column_begin == 0 ? static_cast<int64_t*>(a.count) : nullptr;
  const int64_t width = part.column_end - part.column_begin;
  const auto first = static_cast<uint64_t>(part.row_begin);
  const auto rows = static_cast<uint64_t>(part.row_end) - first;
  for (int64_t row = part.row_begin; row < part.row_end; ++row) {
    std::memset(sum + row * a.width, 0, width * sizeof(A));
    if (count != nullptr) count[row] = 0;
  }
  int32_t mine[kBatch];  // entries of the batch that lie in the part
  part.found = 0;
  for (int64_t batch = 0; batch < a.entries; batch += kBatch) {
    const int64_t size = a.entries - batch < kBatch ? a.entries - batch : kBatch;
    int64_t found = 0;
    for (int64_t e = 0; e < size; ++e) {  // without a branch, which could not be foreseen
      mine[found] = static_cast<int32_t>(e);
      found += static_cast<uint64_t>(static_cast<int64_t>(index[batch + e])) - first < rows;
    }
    part.found += found;
    for (int64_t k = 0; k < found; ++k) {
      const int64_t e = batch + mine[k];
      const int64_t next = batch + mine[k + kAhead < found ? k + kAhead : found - 1];
      add_row<T>(src + e * a.width, sum + static_cast<int64_t>(index[e]) * a.width, src + next * a.width,
                 sum + static_cast<int64_t>(index[next]) * a.width, width);
    }
    if (count != nullptr)
      for (int64_t k = 0; k < found; ++k) ++count[index[batch + mine[k]]];
  }
}

template <class T>
void run_finish(const ScatterArgs& a, int64_t begin, int64_t end) {
  using A = Accumulator<T>;
  for (int64_t row = begin; row < end; ++row) {
    const int64_t entries = a.count == nullptr ? 1 : static_cast<const int64_t*>(a.count)[row];
    if (a.sum == a.out && entries <= 1) continue;
    const A scale = entries > 1 ? A{1} / static_cast<A>(entries) : A{1};
    const A* sum = static_cast<const A*>(a.sum) + row * a.width;
    T* out = static_cast<T*>(a.out) + row * a.width;
    for (int64_t f = 0; f < a.width; ++f) narrow(scale * sum[f], out + f);
  }
}

// kBytes: of a row; 0 where the compiler need not know.
template <class I, int64_t kBytes>
void run_gather(const GatherRowsArgs& a, int64_t begin, int64_t end) {
  const int64_t row_bytes = kBytes > 0 ? kBytes : a.row_bytes;
  const I* index = static_cast<const I*>(a.index);
  const char* x = static_cast<const char*>(a.x);
  char* out = static_cast<char*>(a.out);
  for (int64_t e = begin; e < end; ++e) {
    const int64_t row = index[e];
    if (__builtin_expect(static_cast<uint64_t>(row) >= static_cast<uint64_t>(a.rows), 0)) {
      __atomic_store_n(&a.fault->edge, e, __ATOMIC_RELAXED);
      continue;
    }
    const int64_t next = e + kAhead < end ? e + kAhead : e;
    // Not checked yet: nothing is read there, and the address is a number.
    const auto ahead = reinterpret_cast<uintptr_t>(x) +
                       static_cast<uint64_t>(static_cast<int64_t>(index[next])) * static_cast<uint64_t>(row_bytes);
    for (int64_t byte = 0; byte < row_bytes; byte += kLine)
      __builtin_prefetch(reinterpret_cast<const char*>(ahead + static_cast<uint64_t>(byte)));
    std::memcpy(out + e * row_bytes, x + row * row_bytes, row_bytes);
  }
}

// Single numbers are as common as rows: weights are brought in order this way.
template <class I>
void gather_of(const GatherRowsArgs& a, int64_t begin, int64_t end) {
  if (a.row_bytes == 4)
    run_gather<I, 4>(a, begin, end);
  else if (a.row_bytes == 2)
    run_gather<I, 2>(a, begin, end);
  else
    run_gather<I, 0>(a, begin, end);
}

}  // namespace

void scatter_part(const ScatterArgs& a, ScatterPart& part) {
  with_types(a.dtype, a.wide_index,
             [&](auto element, auto index) { run_part<decltype(element), decltype(index)>(a, part); });
}

void scatter_finish(const ScatterArgs& a, int64_t row_begin, int64_t row_end) {
  with_types(a.dtype, a.wide_index, [&](auto element, auto) { run_finish<decltype(element)>(a, row_begin, row_end); });
}

void gather_rows(const GatherRowsArgs& a, int64_t begin, int64_t end) {
  if (a.wide_index)
    gather_of<int64_t>(a, begin, end);
  else
    gather_of<int32_t>(a, begin, end);
}

}  // namespace gnas::GNAS_ISA
