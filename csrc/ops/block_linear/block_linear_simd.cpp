#include "core/vector.h"
#include "ops/block_linear/block_linear.h"

namespace gnas::GNAS_ISA {
namespace {

constexpr int kWide = static_cast<int>(kStrip);
template <class A>
constexpr int kRegisters = kWide / Lanes<A>::count;
// Rows whose sums with one strip fit the registers: each number of the weight that is loaded serves all of them.
template <class A>
constexpr int kRowsAtOnce = GNAS_VECTOR_BYTES == 64  ? 12 / kRegisters<A>
                            : 12 / kRegisters<A> < 2 ? 2
                                                     : 12 / kRegisters<A>;
// Rows that pass a strip before the next one: what is read of x stays near.
constexpr int64_t kRowsTogether = 96;

template <class T>
GNAS_INLINE void put(const BlockLinearArgs& a, int64_t row, int64_t strip,
                     const Vector<Accumulator<T>> (&sum)[kRegisters<Accumulator<T>>]) {
  using A = Accumulator<T>;
  T* to = static_cast<T*>(a.y) + row * a.out + strip * kStrip;
  if (__builtin_expect((strip + 1) * kStrip <= a.out, 1)) {
    unrolled<kRegisters<A>>([&](auto r) { store_as(sum[r], to + r * Lanes<A>::count); });
    return;
  }
  T last[kStrip];
  unrolled<kRegisters<A>>([&](auto r) { store_as(sum[r], last + r * Lanes<A>::count); });
  for (int64_t o = 0; o < a.out - strip * kStrip; ++o) to[o] = last[o];
}

// N rows from `row` on with one strip of outputs, over all inputs of its live blocks.
template <class T, int N>
GNAS_INLINE void rows_by_strip(const BlockLinearArgs& a, int64_t row, int64_t strip) {
  using A = Accumulator<T>;
  constexpr int kLanes = Lanes<A>::count;
  constexpr int kCount = kRegisters<A>;
  Vector<A> sum[N][kCount] = {};
  if (a.bias != nullptr) {
    const A* bias = static_cast<const A*>(a.bias) + strip * kStrip;
    unrolled<kCount>([&](auto r) GNAS_INLINED {
      const Vector<A> b = load(bias + r * kLanes);
      unrolled<N>([&](auto n) { sum[n][r] = b; });
    });
  }
  const A* weight = static_cast<const A*>(a.packed) + a.place[strip] * kStrip;
  for (int64_t run = a.strip[strip]; run < a.strip[strip + 1]; ++run) {
    const T* from = static_cast<const T*>(a.x) + row * a.in + a.runs[2 * run];
    const int64_t inputs = a.runs[2 * run + 1];
    for (int64_t i = 0; i < inputs; ++i, weight += kStrip) {
      Vector<A> w[kCount];
      unrolled<kCount>([&](auto r) { w[r] = load(weight + r * kLanes); });
      unrolled<N>([&](auto n) GNAS_INLINED {
        const A value = widen(from[n * a.in + i]);
        unrolled<kCount>([&](auto r) GNAS_INLINED { sum[n][r] += value * w[r]; });
      });
    }
  }
  unrolled<N>([&](auto n) GNAS_INLINED { put<T>(a, row + n, strip, sum[n]); });
}

// All rows from begin to end with one strip, as many at a time as fit; then half as many, and so on.
template <class T, int N>
GNAS_INLINE void strip_of_rows(const BlockLinearArgs& a, int64_t strip, int64_t begin, int64_t end) {
  for (; end - begin >= N; begin += N) rows_by_strip<T, N>(a, begin, strip);
  if constexpr (N > 1) strip_of_rows<T, N / 2>(a, strip, begin, end);
}

template <class T>
void linear_rows(const BlockLinearArgs& a, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; row += kRowsTogether) {
    const int64_t until = row + kRowsTogether < end ? row + kRowsTogether : end;
    for (int64_t strip = 0; strip < a.strips; ++strip)
      strip_of_rows<T, kRowsAtOnce<Accumulator<T>>>(a, strip, row, until);
  }
}

template <class T>
void pack(const PackBlocksArgs& a, int64_t begin, int64_t end) {
  using A = Accumulator<T>;
  const T* weight = static_cast<const T*>(a.weight);
  for (int64_t strip = begin; strip < end; ++strip) {
    A* to = static_cast<A*>(a.packed) + a.place[strip] * kStrip;
    for (int64_t run = a.strip[strip]; run < a.strip[strip + 1]; ++run) {
      for (int64_t i = a.runs[2 * run]; i < a.runs[2 * run] + a.runs[2 * run + 1]; ++i, to += kStrip) {
        for (int64_t o = 0; o < kStrip; ++o) {
          const int64_t output = strip * kStrip + o;
          to[o] = output < a.out ? widen(weight[output * a.in + i]) : A{0};
        }
      }
    }
  }
}

// The products of kOut outputs with 16 inputs, over all rows.
template <class T, int kOut>
GNAS_INLINE void outer(const BlockOuterArgs& a, int64_t output, int64_t input) {
  using A = Accumulator<T>;
  constexpr int kLanes = Lanes<A>::count;
  constexpr int kCount = kRegisters<A>;
  Vector<A> sum[kOut][kCount] = {};
  const T* y = static_cast<const T*>(a.y) + output;
  const T* x = static_cast<const T*>(a.x) + input;
  for (int64_t row = 0; row < a.rows; ++row, y += a.out, x += a.in) {
    Vector<A> value[kCount];
    unrolled<kCount>([&](auto r) { value[r] = load(x + r * kLanes); });
    unrolled<kOut>([&](auto o) GNAS_INLINED {
      const A w = widen(y[o]);
      unrolled<kCount>([&](auto r) GNAS_INLINED { sum[o][r] += w * value[r]; });
    });
  }
  unrolled<kOut>([&](auto o) GNAS_INLINED {
    T* to = static_cast<T*>(a.d) + (output + o) * a.in + input;
    unrolled<kCount>([&](auto r) { store_as(sum[o][r], to + r * kLanes); });
  });
}

// The same of a tile at the edge.
template <class T>
void outer_part(const BlockOuterArgs& a, int64_t output, int64_t outputs, int64_t input, int64_t inputs) {
  using A = Accumulator<T>;
  A sum[kTileOut][kTileIn] = {};
  const T* y = static_cast<const T*>(a.y) + output;
  const T* x = static_cast<const T*>(a.x) + input;
  for (int64_t row = 0; row < a.rows; ++row, y += a.out, x += a.in) {
    for (int64_t o = 0; o < outputs; ++o)
      for (int64_t i = 0; i < inputs; ++i) sum[o][i] += widen(y[o]) * widen(x[i]);
  }
  for (int64_t o = 0; o < outputs; ++o)
    for (int64_t i = 0; i < inputs; ++i) narrow(sum[o][i], static_cast<T*>(a.d) + (output + o) * a.in + input + i);
}

template <class T>
void outer_tiles(const BlockOuterArgs& a, int64_t begin, int64_t end) {
  // As many outputs at once as leave their sums in registers.
  constexpr int kOut = GNAS_VECTOR_BYTES == 64 ? 8 : kRegisters<Accumulator<T>> <= 2 ? 4 : 2;
  for (int64_t t = begin; t < end; ++t) {
    const int32_t* tile = a.tile + 4 * t;
    if (tile[1] == kTileOut && tile[3] == kTileIn) {
      for (int64_t o = 0; o < kTileOut; o += kOut) outer<T, kOut>(a, tile[0] + o, tile[2]);
    } else {
      outer_part<T>(a, tile[0], tile[1], tile[2], tile[3]);
    }
  }
}

}  // namespace

void block_linear_rows(const BlockLinearArgs& a, int64_t row_begin, int64_t row_end) {
  with_types(a.dtype, false, [&](auto element, auto) { linear_rows<decltype(element)>(a, row_begin, row_end); });
}

void pack_blocks(const PackBlocksArgs& a, int64_t strip_begin, int64_t strip_end) {
  with_types(a.dtype, false, [&](auto element, auto) { pack<decltype(element)>(a, strip_begin, strip_end); });
}

void block_outer_tiles(const BlockOuterArgs& a, int64_t tile_begin, int64_t tile_end) {
  with_types(a.dtype, false, [&](auto element, auto) { outer_tiles<decltype(element)>(a, tile_begin, tile_end); });
}

}  // namespace gnas::GNAS_ISA
