#include "core/dequantize_vector.h"
#include "core/quantize_vector.h"
#include "ops/embedding_update/embedding_update.h"

namespace gnas::GNAS_ISA {
namespace {

using A = float;

// Rows of a large table come from memory: what a later step reads of them is fetched ahead.
void fetch(const EmbeddingUpdateArgs& a, int64_t step) {
  const int64_t row = a.row[step];
  const char* codes = static_cast<const char*>(a.table.codes) + row * a.table.row_bytes;
  for (int64_t byte = 0; byte < a.table.row_bytes && byte < 512; byte += 64) __builtin_prefetch(codes + byte);
  __builtin_prefetch(a.table.scale + row);
  __builtin_prefetch(a.state + row);
  if (a.table.zero != nullptr) __builtin_prefetch(a.table.zero + row);
}

// The gradients of a step's entries, added in their order. Returns the sum of the squares.
template <class T>
double add_entries(const EmbeddingUpdateArgs& a, int64_t step, float* room) {
  const int64_t width = a.table.width;
  const T* grad = static_cast<const T*>(a.grad);
  Block<A> square = {};
  each_block<A>(width, [&](int64_t f, auto whole, int64_t count) GNAS_INLINED {
    Block<A> sum = load_block<whole>(grad + a.entry[a.entries[step]] * width + f, count);
    for (int64_t e = a.entries[step] + 1; e < a.entries[step + 1]; ++e) {
      const Block<A> next = load_block<whole>(grad + a.entry[e] * width + f, count);
      each_register([&](auto r) GNAS_INLINED { sum.v[r] = sum.v[r] + next.v[r]; });
    }
    store_block<whole>(sum, room + f, count);
    if constexpr (!whole) {
      for (int64_t i = count; i < kBlock<A>; ++i) room[f + i] = 0;
      sum = load_block<true>(room + f, count);
    }
    each_register([&](auto r) GNAS_INLINED { square.v[r] = square.v[r] + rounded(sum.v[r] * sum.v[r]); });
  });
  float lanes[kBlock<A>];
  store_block<true>(square, lanes, kBlock<A>);
  double total = 0;
  for (int i = 0; i < kBlock<A>; ++i) total += lanes[i];
  return total;
}

template <class T>
void update(const EmbeddingUpdateArgs& a, float* room, int64_t begin, int64_t end) {
  constexpr int64_t kAhead = 24;
  const int64_t width = a.table.width;
  for (int64_t step = begin; step < end && step < begin + kAhead; ++step) fetch(a, step);
  for (int64_t step = begin; step < end; ++step) {
    if (step + kAhead < end) fetch(a, step + kAhead);
    const int64_t row = a.row[step];
    const double square = add_entries<T>(a, step, room);
    const float state = a.state[row] + static_cast<float>(square / width);
    const float rate = a.lr / (__builtin_sqrtf(state) + a.eps);
    each_block<A>(width, [&](int64_t f, auto whole, int64_t count) GNAS_INLINED {
      const Block<A> sum = load_block<true>(room + f, count);
      Block<A> x = values_of<whole, 8, A>(a.table, row, f, count);
      each_register([&](auto r) GNAS_INLINED { x.v[r] = x.v[r] - rounded(rate * sum.v[r]); });
      store_block<true>(x, room + f, count);
    });
    RowRange range;
    if (!range_of(room, width, a.spec.symmetric, &range) || !(state >= 0 && state <= kLargestFloat))
      return refuse(a.refused, step);
    const RowCode code = candidate(a.spec, range, 0);
    a.new_state[step] = state;
    a.scale[step] = code.scale;
    if (a.zero != nullptr) a.zero[step] = code.zero;
    code_row<8>(room, width, row, code, a.spec, a.codes + step * width);
  }
}

}  // namespace

void embedding_update(const EmbeddingUpdateArgs& a, float* room, int64_t begin, int64_t end) {
  if (a.dtype == Dtype::bf16)
    update<bf16>(a, room, begin, end);
  else if (a.dtype == Dtype::f16)
    update<f16>(a, room, begin, end);
  else
    update<float>(a, room, begin, end);
}

}  // namespace gnas::GNAS_ISA
