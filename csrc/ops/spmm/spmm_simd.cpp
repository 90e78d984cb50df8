#include "core/partition.h"
#include "core/vector.h"
#include "ops/spmm/spmm.h"

namespace gnas::GNAS_ISA {
namespace {

// Edges are walked outside, columns inside, in blocks that fit the registers. The row needed `kAheadBytes` of rows
// from now is prefetched line by line between the multiply-adds: in a burst the same prefetches gain nothing.
constexpr int64_t kAheadBytes = 24 * 1024;
constexpr int kLine = 64;

template <class T, class I>
struct Graph {
  explicit Graph(const SpmmArgs& args)
      : indptr(static_cast<const I*>(args.indptr)),
        indices(static_cast<const I*>(args.indices)),
        edge(static_cast<const I*>(args.edge)),
        weight(static_cast<const T*>(args.weight)),
        x(static_cast<const T*>(args.x)),
        select(static_cast<const I*>(args.select)),
        a(args) {}

  // The column of an edge, or -1 (and a report) when it or its weight would be read out of bounds.
  GNAS_INLINE int64_t column(int64_t e) const {
    const int64_t c = indices[e];
    const bool inside = static_cast<uint64_t>(c) < static_cast<uint64_t>(a.cols) &&
                        (edge == nullptr || static_cast<uint64_t>(edge[e]) < static_cast<uint64_t>(a.nnz));
    if (__builtin_expect(inside, 1)) return c;
    __atomic_store_n(&a.fault->edge, e, __ATOMIC_RELAXED);
    return -1;
  }
  GNAS_INLINE int64_t place(int64_t e) const { return edge == nullptr ? e : static_cast<int64_t>(edge[e]); }
  GNAS_INLINE Accumulator<T> weight_of(int64_t e) const { return weight == nullptr ? 1 : widen(weight[place(e)]); }

  const I* indptr;
  const I* indices;
  const I* edge;
  const T* weight;
  const T* x;
  const I* select;
  const SpmmArgs& a;
};

// What one piece of a row (all of it, unless a cut divides it) comes to, for `count` columns from `column` on.
template <class A, class I>
struct Piece {
  A* value;
  I* arg;  // max and min only
};

template <class T, class I, int N>
GNAS_INLINE void sum_block(const Graph<T, I>& g, int64_t begin, int64_t end, int64_t column, Accumulator<T>* to) {
  using A = Accumulator<T>;
  constexpr int kLanes = Lanes<A>::count;
  constexpr int64_t kBlockBytes = N * kLanes * static_cast<int64_t>(sizeof(T));
  constexpr int64_t kFits = kAheadBytes / kBlockBytes;
  constexpr int64_t kAhead = kFits < 64 ? kFits : 64;
  const int64_t width = g.a.width;
  const int64_t last = g.a.nnz - 1;
  Vector<A> sum[N] = {};
  for (int64_t e = begin; e < end; ++e) {
    const int64_t c = g.column(e);
    if (c < 0) continue;
    const T* row = g.x + c * width + column;
    const T* ahead = g.x + static_cast<int64_t>(g.indices[e + kAhead < last ? e + kAhead : last]) * width + column;
    const A w = g.weight_of(e);
    unrolled<N>([&](auto v) {
      if constexpr (v * kLanes * static_cast<int>(sizeof(T)) % kLine == 0) __builtin_prefetch(ahead + v * kLanes);
      sum[v] += w * load(row + v * kLanes);
    });
  }
  unrolled<N>([&](auto v) { store<A>(sum[v], to + v * kLanes); });
}

// Max, and min as the max of the negated values. The first of equal values wins; NaN wins over all.
template <class T, class I, int N>
GNAS_INLINE void max_block(const Graph<T, I>& g, int64_t begin, int64_t end, int64_t column, Accumulator<T> sign,
                           Accumulator<T>* to, I* arg_to) {
  using A = Accumulator<T>;
  constexpr int kLanes = Lanes<A>::count;
  Vector<A> best[N] = {};
  IntVector<A> winner[N];
  unrolled<N>([&](auto v) { winner[v] = IntVector<A>{} - 1; });
  for (int64_t e = begin; e < end; ++e) {
    const int64_t c = g.column(e);
    if (c < 0) continue;
    const T* row = g.x + c * g.a.width + column;
    const A w = sign * g.weight_of(e);
    const auto offset = static_cast<typename Lanes<A>::Integer>(e - begin);
    unrolled<N>([&](auto v) {
      const Vector<A> value = w * load(row + v * kLanes);
      const IntVector<A> leads = ((value > best[v]) | (value != value)) & (best[v] == best[v]);
      const IntVector<A> take = leads | (winner[v] < 0);
      best[v] = take ? value : best[v];
      winner[v] = take ? IntVector<A>{} + offset : winner[v];
    });
  }
  unrolled<N>([&](auto v) {
    store<A>(winner[v] < 0 ? best[v] : sign * best[v], to + v * kLanes);  // no -0 in rows without edges
    for (int lane = 0; lane < kLanes; ++lane)
      arg_to[v * kLanes + lane] = static_cast<I>(winner[v][lane] < 0 ? -1 : begin + winner[v][lane]);
  });
}

// The sum over those edges only that stand in `select`: the transpose of taking the max.
template <class T, class I>
GNAS_INLINE void select_block(const Graph<T, I>& g, int64_t begin, int64_t end, int64_t column, int64_t count,
                              Accumulator<T>* to) {
  using A = Accumulator<T>;
  for (int64_t f = 0; f < count; ++f) to[f] = 0;
  for (int64_t e = begin; e < end; ++e) {
    const int64_t c = g.column(e);
    if (c < 0) continue;
    const T* row = g.x + c * g.a.width + column;
    const I* chosen = g.select + c * g.a.width + column;
    const A w = g.weight_of(e);
    const I self = static_cast<I>(g.place(e));
    for (int64_t f = 0; f < count; ++f) to[f] += chosen[f] == self ? w * widen(row[f]) : A{0};
  }
}

// Fewer columns than a register has lanes.
template <class T, class I>
void narrow_sum(const Graph<T, I>& g, int64_t begin, int64_t end, int64_t count, Accumulator<T>* to) {
  for (int64_t f = 0; f < count; ++f) to[f] = 0;
  for (int64_t e = begin; e < end; ++e) {
    const int64_t c = g.column(e);
    if (c < 0) continue;
    const Accumulator<T> w = g.weight_of(e);
    for (int64_t f = 0; f < count; ++f) to[f] += w * widen(g.x[c * g.a.width + f]);
  }
}

template <class T, class I>
void narrow_max(const Graph<T, I>& g, int64_t begin, int64_t end, int64_t count, Accumulator<T> sign,
                Accumulator<T>* to, I* arg_to) {
  for (int64_t f = 0; f < count; ++f) {
    to[f] = 0;
    arg_to[f] = -1;
  }
  for (int64_t e = begin; e < end; ++e) {
    const int64_t c = g.column(e);
    if (c < 0) continue;
    const Accumulator<T> w = g.weight_of(e);
    for (int64_t f = 0; f < count; ++f) {
      const Accumulator<T> value = w * widen(g.x[c * g.a.width + f]);
      const bool leads = to[f] == to[f] && (sign * value > sign * to[f] || value != value);
      if (arg_to[f] < 0 || leads) {
        to[f] = value;
        arg_to[f] = static_cast<I>(e);
      }
    }
  }
}

// All columns of one piece, in blocks. The last block is moved back so that it is full: the columns that two blocks
// share are computed twice, alike.
template <class T, class I>
void piece(const Graph<T, I>& g, int64_t begin, int64_t end, Piece<Accumulator<T>, I> to) {
  using A = Accumulator<T>;
  constexpr int kLanes = Lanes<A>::count;
  const int64_t width = g.a.width;
  if (g.select != nullptr) {
    select_block<T, I>(g, begin, end, 0, width, to.value);
    return;
  }
  const bool extreme = g.a.reduce == Reduce::max || g.a.reduce == Reduce::min;
  const A sign = g.a.reduce == Reduce::min ? -1 : 1;
  if (width < kLanes) {
    if (extreme)
      narrow_max<T, I>(g, begin, end, width, sign, to.value, to.arg);
    else
      narrow_sum<T, I>(g, begin, end, width, to.value);
    return;
  }
  int64_t column = 0;
  while (column < width) {
    const int64_t left = width - column;
    if (extreme) {
      if (left >= 4 * kLanes) {
        max_block<T, I, 4>(g, begin, end, column, sign, to.value + column, to.arg + column);
        column += 4 * kLanes;
      } else {
        column = left < kLanes ? width - kLanes : column;
        max_block<T, I, 1>(g, begin, end, column, sign, to.value + column, to.arg + column);
        column += kLanes;
      }
    } else if (left >= 8 * kLanes) {
      sum_block<T, I, 8>(g, begin, end, column, to.value + column);
      column += 8 * kLanes;
    } else if (left >= 4 * kLanes) {
      sum_block<T, I, 4>(g, begin, end, column, to.value + column);
      column += 4 * kLanes;
    } else if (left >= 2 * kLanes) {
      sum_block<T, I, 2>(g, begin, end, column, to.value + column);
      column += 2 * kLanes;
    } else {
      column = left < kLanes ? width - kLanes : column;
      sum_block<T, I, 1>(g, begin, end, column, to.value + column);
      column += kLanes;
    }
  }
}

// Writes a finished row: the mean divides here, so that a divided row is divided once.
template <class T, class I>
void finish(const Graph<T, I>& g, int64_t row, Piece<Accumulator<T>, I> from) {
  using A = Accumulator<T>;
  const int64_t width = g.a.width;
  T* out = static_cast<T*>(g.a.out) + row * width;
  const int64_t degree = static_cast<int64_t>(g.indptr[row + 1]) - static_cast<int64_t>(g.indptr[row]);
  const A scale = g.a.reduce == Reduce::mean && degree > 1 ? A{1} / static_cast<A>(degree) : A{1};
  for (int64_t f = 0; f < width; ++f) narrow(scale * from.value[f], out + f);
  if (from.arg != nullptr) std::memcpy(static_cast<I*>(g.a.arg) + row * width, from.arg, width * sizeof(I));
}

template <class T, class I>
Piece<Accumulator<T>, I> carry_slot(const SpmmArgs& a, int64_t slot) {
  return {static_cast<Accumulator<T>*>(a.carry) + slot * a.width,
          a.carry_arg == nullptr ? nullptr : static_cast<I*>(a.carry_arg) + slot * a.width};
}

template <class T, class I>
void run_chunks(const SpmmArgs& a, int64_t chunk_begin, int64_t chunk_end) {
  const Graph<T, I> g(a);
  const int64_t width = a.width;
  for (int64_t chunk = chunk_begin; chunk < chunk_end; ++chunk) {
    const Cut from = cut_at(g.indptr, a.rows, a.nnz, a.chunks, chunk);
    const Cut until = cut_at(g.indptr, a.rows, a.nnz, a.chunks, chunk + 1);
    // The tail slot doubles as the row buffer: it is written last, when no whole row needs it any more.
    const auto head = carry_slot<T, I>(a, 2 * chunk);
    const auto tail = carry_slot<T, I>(a, 2 * chunk + 1);
    int64_t edge = from.edge;
    for (int64_t row = from.row; row < until.row; ++row) {
      const int64_t end = g.indptr[row + 1];
      const bool divided = edge > static_cast<int64_t>(g.indptr[row]);
      if (divided) {
        piece<T, I>(g, edge, end, head);
      } else if constexpr (std::is_same_v<T, Accumulator<T>>) {
        if (a.reduce != Reduce::mean) {  // nothing left to do to the values: they go straight out
          piece<T, I>(g, edge, end,
                      {static_cast<T*>(a.out) + row * width,
                       a.arg == nullptr ? nullptr : static_cast<I*>(a.arg) + row * width});
        } else {
          piece<T, I>(g, edge, end, tail);
          finish<T, I>(g, row, tail);
        }
      } else {
        piece<T, I>(g, edge, end, tail);
        finish<T, I>(g, row, tail);
      }
      edge = end;
    }
    if (until.row < a.rows && until.edge > edge) piece<T, I>(g, edge, until.edge, tail);
  }
}

template <class T, class I>
void combine(const SpmmArgs& a, Piece<Accumulator<T>, I> into, Piece<Accumulator<T>, I> other) {
  using A = Accumulator<T>;
  const bool extreme = a.arg != nullptr;
  const A sign = a.reduce == Reduce::min ? -1 : 1;
  for (int64_t f = 0; f < a.width; ++f) {
    const A value = other.value[f];
    if (!extreme) {
      into.value[f] += value;
    } else if (other.arg[f] >= 0) {
      const A held = into.value[f];
      if (into.arg[f] < 0 || (held == held && (sign * value > sign * held || value != value))) {
        into.value[f] = value;
        into.arg[f] = other.arg[f];
      }
    }
  }
}

// Puts the pieces of divided rows together, in their order.
template <class T, class I>
void run_carry(const SpmmArgs& a) {
  const Graph<T, I> g(a);
  Cut from = cut_at(g.indptr, a.rows, a.nnz, a.chunks, 0);
  int64_t open = -1;  // the slot that holds the sum of a divided row's pieces so far
  for (int64_t chunk = 0; chunk < a.chunks; ++chunk) {
    const Cut until = cut_at(g.indptr, a.rows, a.nnz, a.chunks, chunk + 1);
    if (from.row < until.row && open >= 0) {
      combine<T, I>(a, carry_slot<T, I>(a, open), carry_slot<T, I>(a, 2 * chunk));
      finish<T, I>(g, from.row, carry_slot<T, I>(a, open));
      open = -1;
    }
    const int64_t row_begin = until.row < a.rows ? static_cast<int64_t>(g.indptr[until.row]) : a.nnz;
    if (until.edge > (from.edge > row_begin ? from.edge : row_begin)) {
      if (open < 0)
        open = 2 * chunk + 1;
      else
        combine<T, I>(a, carry_slot<T, I>(a, open), carry_slot<T, I>(a, 2 * chunk + 1));
    }
    from = until;
  }
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
