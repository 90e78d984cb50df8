// The sum over a row's edges of factor * code + shift. For spmm_quantized_simd.cpp.
//
// An edge is a load, a widening and a multiply-add. Rows are prefetched several edges ahead, line by line between the
// multiply-adds, and so are their scales.
#pragma once

#include "core/past.h"
#include "ops/spmm_quantized/decode.h"
#include "ops/spmm_quantized/spmm_quantized.h"

namespace gnas::GNAS_ISA {
namespace {

constexpr int kLine = 64;
// As many sums as leave registers for the rest.
constexpr int kMostSums = GNAS_VECTOR_BYTES == 64 ? 16 : 8;

// A piece of a row, or all of it: the edges begin … end-1, and where their sum goes.
struct Piece {
  int64_t begin;
  int64_t end;
  float* to;
  float shift;  // added to each column
  float scale;  // then multiplied with it: the mean divides
  bool past;    // written past the caches; `to` is aligned to a register then
};

template <class I>
struct Chunk {
  const I* indices;
  const float* weight;  // of edge e at e
  const uint8_t* codes;
  const float* scale;  // [cols]
  const float* zero;   // [cols], or null
  int64_t row_bytes;
  int64_t width;
  int64_t ahead;  // how many edges ahead rows are prefetched; never beyond the last edge

  GNAS_INLINE const uint8_t* row_of(int64_t e) const { return codes + static_cast<int64_t>(indices[e]) * row_bytes; }
  // That edge is not checked yet, so this is only a number.
  GNAS_INLINE uintptr_t row_ahead(int64_t e) const {
    return reinterpret_cast<uintptr_t>(codes) +
           static_cast<uint64_t>(indices[e + ahead]) * static_cast<uint64_t>(row_bytes);
  }
};

GNAS_INLINE void prefetch(uintptr_t address) { __builtin_prefetch(reinterpret_cast<const void*>(address)); }

// An edge's weight times its row's scale.
template <class I>
GNAS_INLINE float factor_of(const Chunk<I>& c, int64_t e) {
  prefetch(reinterpret_cast<uintptr_t>(c.scale) + static_cast<uint64_t>(c.indices[e + c.ahead]) * sizeof(float));
  return c.weight[e] * c.scale[c.indices[e]];
}

// What the zeros of a piece's rows come to, which is the same in every column.
template <class I>
GNAS_INLINE float shift_of(const Chunk<I>& c, int64_t begin, int64_t end) {
  float sum = 0;
  if (c.zero == nullptr) return sum;
  for (int64_t e = begin; e < end; ++e) {
    prefetch(reinterpret_cast<uintptr_t>(c.zero) + static_cast<uint64_t>(c.indices[e + c.ahead]) * sizeof(float));
    sum += c.weight[e] * c.zero[c.indices[e]];
  }
  return sum;
}

// Columns that N registers hold, from `column` on.
template <int kBits, class I, int N>
GNAS_INLINE void sum_block(const Chunk<I>& c, int64_t column, const Piece& p) {
  constexpr int kParts = kShare<kBits>;
  constexpr int kLoads = N / kParts;
  // Few sums would wait for each other: edges take turns among copies, which are added up at the end.
  constexpr int kTurns = N == 1 ? 4 : N == 2 ? 2 : 1;
  const int64_t offset = column / kParts;
  Vector<float> sum[kTurns][N] = {};
  const auto take = [&](int64_t e, Vector<float>(&into)[N]) __attribute__((always_inline)) {
    const uint8_t* row = c.row_of(e) + offset;
    const uintptr_t ahead = c.row_ahead(e) + offset;
    const float w = factor_of(c, e);
    unrolled<kLoads>([&](auto l) __attribute__((always_inline)) {
      if constexpr (l * kFloats % kLine == 0) prefetch(ahead + l * kFloats);
      Vector<float> value[kParts];
      decode<kBits>(load_bytes(row + l * kFloats), value);
      unrolled<kParts>([&](auto k) __attribute__((always_inline)) { into[l * kParts + k] += w * value[k]; });
    });
  };
  int64_t e = p.begin;
  for (; e + kTurns <= p.end; e += kTurns) {
    unrolled<kTurns>([&](auto turn) __attribute__((always_inline)) { take(e + turn, sum[turn]); });
  }
  if constexpr (kTurns > 1) {
    for (; e < p.end; ++e) take(e, sum[0]);
    unrolled<N>([&](auto v) __attribute__((always_inline)) {
      if constexpr (kTurns == 4)
        sum[0][v] = (sum[0][v] + sum[1][v]) + (sum[2][v] + sum[3][v]);
      else
        sum[0][v] += sum[1][v];
    });
  }
  unrolled<kLoads>([&](auto l) __attribute__((always_inline)) {
    Vector<float> value[kParts];
    unrolled<kParts>([&](auto k) { value[k] = sum[0][l * kParts + k]; });
    in_order<kBits>(value);
    unrolled<kParts>([&](auto k) __attribute__((always_inline)) {
      const Vector<float> result = (value[k] + p.shift) * p.scale;
      float* to = p.to + column + (l * kParts + k) * kFloats;
      if (p.past)
        store_past(result, to);
      else
        store<float>(result, to);
    });
  });
}

// The last columns, fewer than one load makes.
template <int kBits, class I>
void sum_rest(const Chunk<I>& c, int64_t column, const Piece& p) {
  constexpr int kParts = kShare<kBits>;
  const int64_t offset = column / kParts;
  const int64_t count = c.width - column;
  const int64_t bytes = (count + kParts - 1) / kParts;
  Vector<float> sum[kParts] = {};
  for (int64_t e = p.begin; e < p.end; ++e) {
    prefetch(c.row_ahead(e) + offset);
    Vector<float> value[kParts];
    decode<kBits>(load_bytes(c.row_of(e) + offset, bytes), value);
    const float w = factor_of(c, e);
    unrolled<kParts>([&](auto k) __attribute__((always_inline)) { sum[k] += w * value[k]; });
  }
  in_order<kBits>(sum);
  float flat[kUnit<kBits>];
  unrolled<kParts>([&](auto k) { store<float>((sum[k] + p.shift) * p.scale, flat + k * kFloats); });
  for (int64_t f = 0; f < count; ++f) p.to[column + f] = flat[f];
}

// Rows of any width.
template <int kBits, class I>
struct AnySum {
  void operator()(const Chunk<I>& c, const Piece& p) const {
    int64_t column = 0;
    for (; c.width - column >= kMostSums * kFloats; column += kMostSums * kFloats)
      sum_block<kBits, I, kMostSums>(c, column, p);
    for (; c.width - column >= 4 * kFloats; column += 4 * kFloats) sum_block<kBits, I, 4>(c, column, p);
    if constexpr (kShare<kBits> < 4) {
      for (; c.width - column >= kUnit<kBits>; column += kUnit<kBits>) sum_block<kBits, I, kShare<kBits>>(c, column, p);
    }
    if (column < c.width) sum_rest<kBits, I>(c, column, p);
  }
};

// Rows of N registers, no more and no less.
template <int kBits, class I, int N>
struct WholeSum {
  GNAS_INLINE void operator()(const Chunk<I>& c, const Piece& p) const { sum_block<kBits, I, N>(c, 0, p); }
};

// Calls walk with the kernel for this width: chosen once, not again in every row.
template <int kBits, class I, class Walk>
GNAS_INLINE void with_sum(int64_t width, const Walk& walk) {
  switch (width % kFloats == 0 ? width / kFloats : 0) {
    case 4:
      return walk(WholeSum<kBits, I, 4>{});
    case 8:
      return walk(WholeSum<kBits, I, 8>{});
    case kMostSums == 16 ? 16:
      -1 : return walk(WholeSum<kBits, I, kMostSums>{});
    default:
      return walk(AnySum<kBits, I>{});
  }
}

}  // namespace
}  // namespace gnas::GNAS_ISA
