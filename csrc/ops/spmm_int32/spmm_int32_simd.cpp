#include "core/bounds.h"
#include "core/rows.h"
#include "ops/spmm_int32/columns.h"
#include "ops/spmm_int32/spmm_int32.h"

namespace gnas::GNAS_ISA {
namespace {

// How far ahead rows are prefetched: as many edges as there are lines to be under way.
constexpr int64_t kBytesAhead = 4 * 1024;
constexpr int64_t kMostAhead = 32;

template <class I>
void sum_row(const SpmmInt32Args& a, const Edges<I>& r, int32_t* to) {
  int64_t column = 0;
#if GNAS_VECTOR_BYTES == 64
  if (a.vnni) {
    while (column < a.width) {
      const int64_t left = a.width - column;
      const int64_t count = left < 4 * kQuadColumns ? left : 4 * kQuadColumns;
      if (count > 2 * kQuadColumns)
        quad_columns<I, 4>(r, column, count, to);
      else if (count > kQuadColumns)
        quad_columns<I, 2>(r, column, count, to);
      else
        quad_columns<I, 1>(r, column, count, to);
      column += count;
    }
    return;
  }
#endif
#if defined(__AVX2__)
  for (; a.width - column >= kPairColumns; column += kPairColumns) pair_columns(r, column, to);
#endif
  if (column < a.width) plain_columns(r, column, a.width, to);
}

template <class I>
void run_chunks(const SpmmInt32Args& a, int64_t chunk_begin, int64_t chunk_end) {
  const I* indptr = static_cast<const I*>(a.indptr);
  Edges<I> r{static_cast<const I*>(a.indices), a.weight, a.codes, a.stride, 0, 0, 0};
  const int64_t wanted = edges_ahead(a.stride, kBytesAhead, kMostAhead);
  for (int64_t chunk = chunk_begin; chunk < chunk_end; ++chunk) {
    const int64_t begin = cut_at(indptr, a.rows, a.nnz, a.chunks, chunk).edge;
    const int64_t end = cut_at(indptr, a.rows, a.nnz, a.chunks, chunk + 1).edge;
    if (!inside(a, r.indices, static_cast<const I*>(nullptr), begin, end)) continue;
    r.ahead = wanted < a.nnz - end ? wanted : a.nnz - end;
    const auto sum = [&](int64_t from, int64_t until, int32_t* to) {
      r.begin = from;
      r.end = until;
      sum_row(a, r, to);
    };
    walk_chunk(
        indptr, a.rows, a.nnz, a.chunks, chunk,
        [&](int64_t row, int64_t from, int64_t until) { sum(from, until, a.out + row * a.out_stride); },
        [&](int64_t slot, int64_t, int64_t from, int64_t until) { sum(from, until, a.carry + slot * a.width); });
  }
}

// Puts the pieces of divided rows together. Modulo 2^32, as the pieces are.
template <class I>
void run_carry(const SpmmInt32Args& a) {
  for_divided_rows(
      static_cast<const I*>(a.indptr), a.rows, a.nnz, a.chunks,
      [&](int64_t into, int64_t other) {
        for (int64_t f = 0; f < a.width; ++f) {
          int32_t& sum = a.carry[into * a.width + f];
          sum = static_cast<int32_t>(static_cast<uint32_t>(sum) + static_cast<uint32_t>(a.carry[other * a.width + f]));
        }
      },
      [&](int64_t row, int64_t from) {
        std::memcpy(a.out + row * a.out_stride, a.carry + from * a.width, a.width * sizeof(int32_t));
      });
}

}  // namespace

void spmm_int32_rows(const SpmmInt32Args& a, int64_t chunk_begin, int64_t chunk_end) {
  if (a.wide_index)
    run_chunks<int64_t>(a, chunk_begin, chunk_end);
  else
    run_chunks<int32_t>(a, chunk_begin, chunk_end);
}

void spmm_int32_carry(const SpmmInt32Args& a) {
  if (a.wide_index)
    run_carry<int64_t>(a);
  else
    run_carry<int32_t>(a);
}

}  // namespace gnas::GNAS_ISA
