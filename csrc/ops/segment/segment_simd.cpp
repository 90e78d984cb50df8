#include "core/rows.h"
#include "core/vector.h"
#include "ops/segment/segment.h"

namespace gnas::GNAS_ISA {
namespace {

// A segment is one block of memory, read once from its beginning to its end: nothing to prefetch that the hardware
// does not fetch by itself. What counts is that it stays one stream, so entries are taken in tiles that stay in the
// nearest cache while all blocks of columns pass over them.
constexpr int64_t kTileBytes = 16 * 1024;
// Accumulators in registers: half of those that the instruction set has.
constexpr int kBlock = GNAS_VECTOR_BYTES == 64 ? 16 : 8;
// With the winners beside the values: half as many.
constexpr int kArgBlock = kBlock / 2;

// What one piece of a segment (all of it, unless a cut divides it) comes to.
template <class A, class I>
struct Piece {
  A* value;
  I* arg;  // where winners are asked for
};

// Some columns of some entries. `more`: after the entries that `to` holds already.
template <class T, int N>
GNAS_INLINE void sum_block(const T* src, int64_t entries, int64_t width, bool more, Accumulator<T>* to) {
  using A = Accumulator<T>;
  constexpr int kLanes = Lanes<A>::count;
  Vector<A> sum[N] = {};
  if (more) unrolled<N>([&](auto v) { sum[v] = load(to + v * kLanes); });
  for (int64_t e = 0; e < entries; ++e, src += width) unrolled<N>([&](auto v) { sum[v] += load(src + v * kLanes); });
  unrolled<N>([&](auto v) { store<A>(sum[v], to + v * kLanes); });
}

// Max, and min as the max of the negated values. The first of equal values wins; NaN wins over all.
template <class T, class I, int N, bool kArg>
GNAS_INLINE void max_block(const T* src, int64_t first, int64_t entries, int64_t width, bool more, Accumulator<T> sign,
                           Accumulator<T>* to, I* arg_to) {
  using A = Accumulator<T>;
  constexpr int kLanes = Lanes<A>::count;
  typedef I Places __attribute__((vector_size(kLanes * sizeof(I))));
  Vector<A> best[N];
  IntVector<A> winner[N];  // counted from `first`; -1 while the winner is one of those before
  unrolled<N>([&](auto v) {
    best[v] = sign * (more ? load(to + v * kLanes) : load(src + v * kLanes));
    winner[v] = IntVector<A>{} - (more ? 1 : 0);
  });
  if (!more) src += width;
  for (int64_t e = more ? 0 : 1; e < entries; ++e, src += width) {
    const auto offset = static_cast<typename Lanes<A>::Integer>(e);
    unrolled<N>([&](auto v) {
      const Vector<A> value = sign * load(src + v * kLanes);
      const IntVector<A> take = ((value > best[v]) | (value != value)) & (best[v] == best[v]);
      best[v] = take ? value : best[v];
      if constexpr (kArg) winner[v] = take ? IntVector<A>{} + offset : winner[v];
    });
  }
  unrolled<N>([&](auto v) {
    store<A>(sign * best[v], to + v * kLanes);
    if constexpr (kArg) {
      Places places = __builtin_convertvector(winner[v], Places);
      Places before{};
      if (more) __builtin_memcpy(&before, arg_to + v * kLanes, sizeof before);
      places = places < 0 ? before : places + static_cast<I>(first);
      __builtin_memcpy(arg_to + v * kLanes, &places, sizeof places);
    }
  });
}

// Fewer columns than a register has lanes: a register takes as many whole entries as fit into it, and what lies
// beyond them is read, as long as it is there, but not used.
template <class T>
void narrow_sum(const T* src, const T* src_end, int64_t entries, int64_t width, Accumulator<T>* to) {
  using A = Accumulator<T>;
  constexpr int kLanes = Lanes<A>::count;
  constexpr int kStreams = 4;
  const int64_t step = kLanes / width;
  Vector<A> sum[kStreams] = {};
  int64_t e = 0;
  for (; e + kStreams * step <= entries && (kStreams - 1) * step * width + kLanes <= src_end - src;
       e += kStreams * step, src += kStreams * step * width)
    unrolled<kStreams>([&](auto s) { sum[s] += load(src + s * step * width); });
  for (; e + step <= entries && kLanes <= src_end - src; e += step, src += step * width) sum[0] += load(src);
  A lanes[kLanes];
  store<A>((sum[0] + sum[1]) + (sum[2] + sum[3]), lanes);
  for (int64_t f = 0; f < width; ++f) {
    A total = 0;
    for (int64_t s = 0; s < step; ++s) total += lanes[s * width + f];
    to[f] = total;
  }
  for (; e < entries; ++e, src += width)
    for (int64_t f = 0; f < width; ++f) to[f] += widen(src[f]);
}

template <class T, class I>
void narrow_max(const T* src, int64_t first, int64_t entries, int64_t width, Accumulator<T> sign, Accumulator<T>* to,
                I* arg_to) {
  for (int64_t f = 0; f < width; ++f) {
    Accumulator<T> best = sign * widen(src[f]);
    int64_t winner = 0;
    for (int64_t e = 1; e < entries; ++e) {
      const Accumulator<T> value = sign * widen(src[e * width + f]);
      const bool leads = (value > best || value != value) && best == best;
      best = leads ? value : best;
      winner = leads ? e : winner;
    }
    to[f] = sign * best;
    if (arg_to != nullptr) arg_to[f] = static_cast<I>(first + winner);
  }
}

// Calls block(N, column) until all columns are covered, N registers at a time. With `overlap` the last block is moved
// back so that it is full: the columns that two blocks share are computed twice, alike.
template <int N, class F>
GNAS_INLINE void blocks(int64_t lanes, int64_t width, int64_t column, F&& block) {
  for (; width - column >= N * lanes; column += N * lanes) block(std::integral_constant<int, N>{}, column);
  if (column == width) return;
  if constexpr (N > 1)
    blocks<N / 2>(lanes, width, column, block);
  else
    block(std::integral_constant<int, 1>{}, width - lanes);
}

template <class T, class I>
struct Segments {
  explicit Segments(const SegmentArgs& args)
      : indptr(static_cast<const I*>(args.indptr)),
        src(static_cast<const T*>(args.src)),
        extreme(args.reduce == Reduce::max || args.reduce == Reduce::min),
        sign(args.reduce == Reduce::min ? -1 : 1),
        a(args) {}

  // Entries begin … end-1, all columns.
  void piece(int64_t begin, int64_t end, Piece<Accumulator<T>, I> to) const {
    using A = Accumulator<T>;
    constexpr int kLanes = Lanes<A>::count;
    const int64_t width = a.width;
    if (begin == end) {
      for (int64_t f = 0; f < width; ++f) to.value[f] = 0;
      if (to.arg != nullptr)
        for (int64_t f = 0; f < width; ++f) to.arg[f] = -1;
      return;
    }
    if (width < kLanes) {
      if (extreme)
        narrow_max<T, I>(src + begin * width, begin, end - begin, width, sign, to.value, to.arg);
      else
        narrow_sum<T>(src + begin * width, src + a.nnz * width, end - begin, width, to.value);
      return;
    }
    const int64_t fits = kTileBytes / (width * static_cast<int64_t>(sizeof(T)));
    const int64_t tile = fits < 16 ? 16 : fits;
    for (int64_t e = begin; e < end; e += tile) {
      const int64_t entries = e + tile < end ? tile : end - e;
      const T* from = src + e * width;
      if (extreme)
        max_columns(from, e, entries, e > begin, to);
      else
        sum_columns(from, entries, e > begin, to.value);
    }
  }

  GNAS_INLINE void sum_columns(const T* from, int64_t entries, bool more, Accumulator<T>* to) const {
    using A = Accumulator<T>;
    constexpr int kLanes = Lanes<A>::count;
    const int64_t tail = a.width % kLanes;
    // The columns that the last block shares with the one before must be added to what stood there, not to its sum.
    Vector<A> before{};
    if (more && tail != 0) before = load(to + a.width - kLanes);
    blocks<kBlock>(kLanes, a.width, 0, [&](auto n, int64_t column) {
      if (more && column % kLanes != 0) store<A>(before, to + column);
      sum_block<T, n>(from + column, entries, a.width, more, to + column);
    });
  }

  GNAS_INLINE void max_columns(const T* from, int64_t first, int64_t entries, bool more,
                               Piece<Accumulator<T>, I> to) const {
    constexpr int kLanes = Lanes<Accumulator<T>>::count;
    // Taking the max of a column twice changes nothing: the first of equal values stays.
    if (to.arg == nullptr)
      blocks<kBlock>(kLanes, a.width, 0, [&](auto n, int64_t column) {
        max_block<T, I, n, false>(from + column, first, entries, a.width, more, sign, to.value + column, nullptr);
      });
    else
      blocks<kArgBlock>(kLanes, a.width, 0, [&](auto n, int64_t column) {
        max_block<T, I, n, true>(from + column, first, entries, a.width, more, sign, to.value + column,
                                 to.arg + column);
      });
  }

  GNAS_INLINE Accumulator<T> scale(int64_t row) const {
    const int64_t entries = static_cast<int64_t>(indptr[row + 1]) - static_cast<int64_t>(indptr[row]);
    return a.reduce == Reduce::mean && entries > 1 ? Accumulator<T>{1} / static_cast<Accumulator<T>>(entries) : 1;
  }

  // Writes a finished row: the mean divides here, so that a divided segment is divided once.
  void finish(int64_t row, Piece<Accumulator<T>, I> from) const {
    T* out = static_cast<T*>(a.out) + row * a.width;
    const Accumulator<T> by = scale(row);
    for (int64_t f = 0; f < a.width; ++f) narrow(by * from.value[f], out + f);
    if (a.arg != nullptr) std::memcpy(static_cast<I*>(a.arg) + row * a.width, from.arg, a.width * sizeof(I));
  }

  // A whole segment: straight into the output where that has the accumulator's type.
  GNAS_INLINE void whole(int64_t row, int64_t begin, int64_t end, Piece<Accumulator<T>, I> spare) const {
    if constexpr (std::is_same_v<T, Accumulator<T>>) {
      T* out = static_cast<T*>(a.out) + row * a.width;
      piece(begin, end, {out, a.arg != nullptr ? static_cast<I*>(a.arg) + row * a.width : nullptr});
      const T by = scale(row);
      if (by != 1)
        for (int64_t f = 0; f < a.width; ++f) out[f] *= by;
    } else {
      piece(begin, end, spare);
      finish(row, spare);
    }
  }

  void combine(Piece<Accumulator<T>, I> into, Piece<Accumulator<T>, I> other) const {
    for (int64_t f = 0; f < a.width; ++f) {
      const Accumulator<T> value = other.value[f];
      const Accumulator<T> held = into.value[f];
      if (!extreme) {
        into.value[f] += value;
      } else if (held == held && (sign * value > sign * held || value != value)) {
        into.value[f] = value;
        if (into.arg != nullptr) into.arg[f] = other.arg[f];
      }
    }
  }

  Piece<Accumulator<T>, I> slot(int64_t number) const {
    return {static_cast<Accumulator<T>*>(a.carry) + number * a.width,
            a.arg != nullptr ? static_cast<I*>(a.carry_arg) + number * a.width : nullptr};
  }

  const I* indptr;
  const T* src;
  const bool extreme;
  const Accumulator<T> sign;
  const SegmentArgs& a;
};

template <class T, class I>
void run_chunks(const SegmentArgs& a, int64_t chunk_begin, int64_t chunk_end) {
  const Segments<T, I> s(a);
  for (int64_t chunk = chunk_begin; chunk < chunk_end; ++chunk) {
    // The tail slot doubles as the row buffer: it is written last, when no whole row needs it any more.
    walk_chunk(
        s.indptr, a.rows, a.nnz, a.chunks, chunk,
        [&](int64_t row, int64_t begin, int64_t end) { s.whole(row, begin, end, s.slot(2 * chunk + 1)); },
        [&](int64_t slot, int64_t, int64_t begin, int64_t end) { s.piece(begin, end, s.slot(slot)); });
  }
}

template <class T, class I>
void run_carry(const SegmentArgs& a) {
  const Segments<T, I> s(a);
  for_divided_rows(
      s.indptr, a.rows, a.nnz, a.chunks, [&](int64_t into, int64_t other) { s.combine(s.slot(into), s.slot(other)); },
      [&](int64_t row, int64_t from) { s.finish(row, s.slot(from)); });
}

template <class T, class I>
void run_gather(const GatherSegmentsArgs& a, int64_t chunk_begin, int64_t chunk_end) {
  const I* indptr = static_cast<const I*>(a.indptr);
  for (int64_t chunk = chunk_begin; chunk < chunk_end; ++chunk) {
    const Cut from = cut_at(indptr, a.rows, a.nnz, a.chunks, chunk);
    const Cut until = cut_at(indptr, a.rows, a.nnz, a.chunks, chunk + 1);
    int64_t e = from.edge;
    for (int64_t row = from.row; row <= until.row && e < until.edge; ++row) {
      const int64_t row_end = indptr[row + 1];
      const int64_t end = row_end < until.edge ? row_end : until.edge;
      const T* src = static_cast<const T*>(a.src) + row * a.width;
      const I* select = a.select == nullptr ? nullptr : static_cast<const I*>(a.select) + row * a.width;
      for (; e < end; ++e) {
        T* out = static_cast<T*>(a.out) + e * a.width;
        if (select == nullptr) {
          if (a.width < 8)
            for (int64_t f = 0; f < a.width; ++f) out[f] = src[f];
          else
            std::memcpy(out, src, a.width * sizeof(T));
        } else {
          const I self = static_cast<I>(e);
          for (int64_t f = 0; f < a.width; ++f) out[f] = select[f] == self ? src[f] : T{};
        }
      }
    }
  }
}

}  // namespace

void segment_rows(const SegmentArgs& a, int64_t chunk_begin, int64_t chunk_end) {
  with_types(a.dtype, a.wide_index, [&](auto element, auto index) {
    run_chunks<decltype(element), decltype(index)>(a, chunk_begin, chunk_end);
  });
}

void segment_carry(const SegmentArgs& a) {
  with_types(a.dtype, a.wide_index,
             [&](auto element, auto index) { run_carry<decltype(element), decltype(index)>(a); });
}

void gather_segments(const GatherSegmentsArgs& a, int64_t chunk_begin, int64_t chunk_end) {
  with_types(a.dtype, a.wide_index, [&](auto element, auto index) {
    run_gather<decltype(element), decltype(index)>(a, chunk_begin, chunk_end);
  });
}

}  // namespace gnas::GNAS_ISA
