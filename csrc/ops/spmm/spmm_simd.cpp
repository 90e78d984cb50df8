#include "core/bounds.h"
#include "core/rows.h"
#include "ops/spmm/extreme.h"
#include "ops/spmm/select.h"
#include "ops/spmm/sum.h"

namespace gnas::GNAS_ISA {
namespace {

// How far ahead rows are prefetched: as many edges as there are lines to be under way.
constexpr int64_t kBytesAhead = 4 * 1024;
constexpr int64_t kMostAhead = 64;

template <class T, class I>
void reduce_piece(const Graph<T, I>& g, const Piece<T, I>& p) {
  if (g.select != nullptr)
    select_piece<T, I>(g, p);
  else if (g.a.reduce == Reduce::max || g.a.reduce == Reduce::min)
    extreme_piece<T, I>(g, p);
  else
    sum_piece<T, I>(g, p);
}

template <class T, class I>
Accumulator<T> scale_of(const Graph<T, I>& g, int64_t row) {
  const int64_t degree = static_cast<int64_t>(g.indptr[row + 1]) - static_cast<int64_t>(g.indptr[row]);
  return g.a.reduce == Reduce::mean && degree > 1 ? 1 / static_cast<Accumulator<T>>(degree) : 1;
}

template <class T, class I>
Piece<T, I> slot_of(const SpmmArgs& a, int64_t slot) {
  return {0,
          0,
          static_cast<Accumulator<T>*>(a.carry) + slot * a.width,
          a.carry_arg == nullptr ? nullptr : static_cast<I*>(a.carry_arg) + slot * a.width,
          -1,
          1};
}

// The rows of a chunk, and its pieces of divided rows.
template <class T, class I, class Kernel>
void run_chunk(const Graph<T, I>& g, int64_t chunk, const Kernel& kernel) {
  const SpmmArgs& a = g.a;
  walk_chunk(
      g.indptr, a.rows, a.nnz, a.chunks, chunk,
      [&](int64_t row, int64_t from, int64_t until) GNAS_INLINED {
        I* arg = a.arg == nullptr ? nullptr : static_cast<I*>(a.arg) + row * a.out_stride;
        kernel(g, Piece<T, I>{from, until, nullptr, arg, row, scale_of(g, row)});
      },
      [&](int64_t slot, int64_t, int64_t from, int64_t until) {
        Piece<T, I> p = slot_of<T, I>(a, slot);
        p.begin = from;
        p.end = until;
        reduce_piece<T, I>(g, p);
      });
}

template <class T, class I>
void run_chunks(const SpmmArgs& a, int64_t chunk_begin, int64_t chunk_end) {
  Graph<T, I> g(a);
  const int64_t wanted = edges_ahead(a.width * static_cast<int64_t>(sizeof(T)), kBytesAhead, kMostAhead);
  for (int64_t chunk = chunk_begin; chunk < chunk_end; ++chunk) {
    const int64_t begin = cut_at(g.indptr, a.rows, a.nnz, a.chunks, chunk).edge;
    const int64_t end = cut_at(g.indptr, a.rows, a.nnz, a.chunks, chunk + 1).edge;
    if (!inside(a, g.indices, g.edge, begin, end)) continue;
    g.ahead = wanted < a.nnz - end ? wanted : a.nnz - end;
    if (!with_whole_sum(g, [&](auto kernel) { run_chunk(g, chunk, kernel); })) run_chunk(g, chunk, reduce_piece<T, I>);
  }
  if (g.past) finish_past();
}

template <class T, class I>
void combine(const SpmmArgs& a, const Piece<T, I>& into, const Piece<T, I>& other) {
  using A = Accumulator<T>;
  const bool extreme = a.reduce == Reduce::max || a.reduce == Reduce::min;
  const A sign = a.reduce == Reduce::min ? -1 : 1;
  for (int64_t f = 0; f < a.width; ++f) {
    const A value = other.value[f];
    const A held = into.value[f];
    if (!extreme) {
      into.value[f] += value;
    } else if (held == held && (sign * value > sign * held || value != value)) {
      into.value[f] = value;
      if (into.arg != nullptr) into.arg[f] = other.arg[f];
    }
  }
}

// Puts the pieces of divided rows together, in their order.
template <class T, class I>
void run_carry(const SpmmArgs& a) {
  const Graph<T, I> g(a);
  for_divided_rows(
      g.indptr, a.rows, a.nnz, a.chunks,
      [&](int64_t into, int64_t other) { combine<T, I>(a, slot_of<T, I>(a, into), slot_of<T, I>(a, other)); },
      [&](int64_t row, int64_t from) {
        const Piece<T, I> p = slot_of<T, I>(a, from);
        const Piece<T, I> whole{0, 0, nullptr, nullptr, row, scale_of(g, row)};
        for (int64_t f = 0; f < a.width; ++f) put_one(g, whole, f, p.value[f]);
        if (a.arg != nullptr) std::memcpy(static_cast<I*>(a.arg) + row * a.out_stride, p.arg, a.width * sizeof(I));
      });
}

}  // namespace

void spmm_rows(const SpmmArgs& a, int64_t chunk_begin, int64_t chunk_end) {
  with_types(a.dtype, a.wide_index, [&](auto element, auto index) {
    run_chunks<decltype(element), decltype(index)>(a, chunk_begin, chunk_end);
  });
}

void spmm_carry(const SpmmArgs& a) {
  with_types(a.dtype, a.wide_index,
             [&](auto element, auto index) { run_carry<decltype(element), decltype(index)>(a); });
}

}  // namespace gnas::GNAS_ISA
