#include "core/bits.h"
#include "core/bounds.h"
#include "core/quantize_vector.h"
#include "core/rows.h"
#include "ops/spmm_quantized/spmm_quantized.h"
#include "ops/spmm_quantized/sum.h"

namespace gnas::GNAS_ISA {
namespace {

// How far ahead rows are prefetched: as many edges as there are lines to be under way.
constexpr int64_t kBytesAhead = 4 * 1024;
constexpr int64_t kMostAhead = 64;

template <class I>
float mean_of(const SpmmQuantizedArgs& a, int64_t row) {
  const I* indptr = static_cast<const I*>(a.indptr);
  const int64_t degree = static_cast<int64_t>(indptr[row + 1]) - static_cast<int64_t>(indptr[row]);
  return a.mean && degree > 1 ? 1 / static_cast<float>(degree) : 1;
}

// The weights of the edges begin … end-1, in their order; in `scratch` where they are not there so already.
template <class I>
const float* weights_of(const SpmmQuantizedArgs& a, int64_t begin, int64_t end, float* scratch) {
  if (a.weight != nullptr && a.edge == nullptr) return a.weight + begin;
  const I* edge = a.edge == nullptr ? nullptr : static_cast<const I*>(a.edge) + begin;
  for (int64_t e = 0; e < end - begin; ++e) scratch[e] = a.weight == nullptr ? 1 : a.weight[edge[e]];
  return scratch;
}

// Is the result larger than the caches, and does each register of it begin where one may be written past them?
bool writes_past(const SpmmQuantizedArgs& a) {
  if (a.scale != nullptr || a.rows * a.out_stride * static_cast<int64_t>(sizeof(float)) < kPastBytes) return false;
  const auto place = reinterpret_cast<uintptr_t>(a.out);
  return place % GNAS_VECTOR_BYTES == 0 && a.out_stride % kFloats == 0;
}

// The codes and the scale of a row that is whole: what quantize_rows makes of it.
void write_codes(const SpmmQuantizedArgs& a, int64_t row, const float* values) {
  const int64_t width = a.table.width;
  RowRange range;
  if (!range_of<true>(values, width, &range)) {
    __atomic_store_n(&a.infinite->edge, row, __ATOMIC_RELAXED);
    return;
  }
  const RowCode code = candidate(requantizing(), range, 0);
  a.scale[row] = code.scale;
  code_row<8>(values, width, row, code, requantizing(), reinterpret_cast<uint8_t*>(a.codes + row * width));
}

template <int kBits, class I>
void run_chunks(const SpmmQuantizedArgs& a, int64_t chunk_begin, int64_t chunk_end, float* scratch) {
  const I* indptr = static_cast<const I*>(a.indptr);
  const int64_t width = a.table.width;
  float* values = scratch;  // of a row that is quantised again
  float* ordered = scratch + (width + 15) / 16 * 16;
  Chunk<I> c{};
  c.indices = static_cast<const I*>(a.indices);
  c.codes = static_cast<const uint8_t*>(a.table.codes);
  c.scale = a.table.scale;
  c.zero = a.table.zero;
  c.row_bytes = a.table.row_bytes;
  c.width = width;
  const int64_t wanted = edges_ahead(c.row_bytes, kBytesAhead, kMostAhead);
  const bool past = writes_past(a);
  for (int64_t chunk = chunk_begin; chunk < chunk_end; ++chunk) {
    const int64_t begin = cut_at(indptr, a.rows, a.nnz, a.chunks, chunk).edge;
    const int64_t end = cut_at(indptr, a.rows, a.nnz, a.chunks, chunk + 1).edge;
    if (!inside(a, c.indices, static_cast<const I*>(a.edge), begin, end)) continue;
    c.weight = weights_of<I>(a, begin, end, ordered) - begin;
    c.ahead = wanted < a.nnz - end ? wanted : a.nnz - end;
    with_sum<kBits, I>(width, [&](auto kernel) GNAS_INLINED {
      walk_chunk(
          indptr, a.rows, a.nnz, a.chunks, chunk,
          [&](int64_t row, int64_t from, int64_t until) GNAS_INLINED {
            float* to = a.scale != nullptr ? values : a.out + row * a.out_stride;
            kernel(c, Piece{from, until, to, shift_of(c, from, until), mean_of<I>(a, row), past});
            if (a.scale != nullptr) write_codes(a, row, to);
          },
          [&](int64_t slot, int64_t, int64_t from, int64_t until) {
            AnySum<kBits, I>{}(c, Piece{from, until, a.carry + slot * width, shift_of(c, from, until), 1, false});
          });
    });
  }
  if (past) finish_past();
}

// Puts the pieces of divided rows together, in their order.
template <class I>
void run_carry(const SpmmQuantizedArgs& a) {
  const int64_t width = a.table.width;
  for_divided_rows(
      static_cast<const I*>(a.indptr), a.rows, a.nnz, a.chunks,
      [&](int64_t into, int64_t other) {
        for (int64_t f = 0; f < width; ++f) a.carry[into * width + f] += a.carry[other * width + f];
      },
      [&](int64_t row, int64_t from) {
        float* values = a.carry + from * width;
        float* to = a.scale != nullptr ? values : a.out + row * a.out_stride;
        const float scale = mean_of<I>(a, row);
        for (int64_t f = 0; f < width; ++f) to[f] = scale * values[f];
        if (a.scale != nullptr) write_codes(a, row, to);
      });
}

// Dot products of one row of a and the rows of the table.
template <int kBits, class I>
void dot_chunks(const SddmmQuantizedArgs& a, int64_t chunk_begin, int64_t chunk_end) {
  constexpr int kParts = kShare<kBits>;
  const I* indptr = static_cast<const I*>(a.indptr);
  const I* indices = static_cast<const I*>(a.indices);
  const I* edge = static_cast<const I*>(a.edge);
  const uint8_t* codes = static_cast<const uint8_t*>(a.table.codes);
  const int64_t width = a.table.width;
  const auto row_dots = [&](int64_t row, int64_t from, int64_t until) {
    const float* left = a.a + row * width;
    float total = 0;
    if (a.table.zero != nullptr) {
      for (int64_t f = 0; f < width; ++f) total += left[f];
    }
    for (int64_t e = from; e < until; ++e) {
      const int64_t other = static_cast<int64_t>(indices[e]);
      const uint8_t* right = codes + other * a.table.row_bytes;
      Vector<float> sum{};
      for (int64_t f = 0; f < width; f += kUnit<kBits>) {
        const int64_t left_over = width - f;
        Vector<float> value[kParts];
        if (left_over >= kUnit<kBits>) {
          decode<kBits>(load_bytes(right + f / kParts), value);
          in_order<kBits>(value);
          unrolled<kParts>([&](auto k) { sum += value[k] * load(left + f + k * kFloats); });
        } else {
          decode<kBits>(load_bytes(right + f / kParts, (left_over + kParts - 1) / kParts), value);
          in_order<kBits>(value);
          float with[kUnit<kBits>] = {};
          for (int64_t i = 0; i < left_over; ++i) with[i] = left[f + i];
          unrolled<kParts>([&](auto k) { sum += value[k] * load(with + k * kFloats); });
        }
      }
      const float zero = a.table.zero == nullptr ? 0 : a.table.zero[other];
      a.out[edge == nullptr ? e : static_cast<int64_t>(edge[e])] =
          a.table.scale[other] * add_lanes<float>(sum) + zero * total;
    }
  };
  for (int64_t chunk = chunk_begin; chunk < chunk_end; ++chunk) {
    const int64_t begin = cut_at(indptr, a.rows, a.nnz, a.chunks, chunk).edge;
    const int64_t end = cut_at(indptr, a.rows, a.nnz, a.chunks, chunk + 1).edge;
    if (!inside(a, indices, edge, begin, end)) continue;
    walk_chunk(indptr, a.rows, a.nnz, a.chunks, chunk, row_dots,
               [&](int64_t, int64_t row, int64_t from, int64_t until) { row_dots(row, from, until); });
  }
}

}  // namespace

void spmm_quantized_rows(const SpmmQuantizedArgs& a, int64_t chunk_begin, int64_t chunk_end, float* scratch) {
  with_bits_and_index(a.table.bits, a.wide_index, [&](auto bits, auto index) {
    run_chunks<decltype(bits)::value, decltype(index)>(a, chunk_begin, chunk_end, scratch);
  });
}

void spmm_quantized_carry(const SpmmQuantizedArgs& a) {
  if (a.wide_index)
    run_carry<int64_t>(a);
  else
    run_carry<int32_t>(a);
}

void sddmm_quantized_rows(const SddmmQuantizedArgs& a, int64_t chunk_begin, int64_t chunk_end) {
  with_bits_and_index(a.table.bits, a.wide_index, [&](auto bits, auto index) {
    dot_chunks<decltype(bits)::value, decltype(index)>(a, chunk_begin, chunk_end);
  });
}

}  // namespace gnas::GNAS_ISA
