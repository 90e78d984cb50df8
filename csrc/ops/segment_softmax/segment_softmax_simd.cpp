#include "core/exp.h"
#include "core/head_lanes.h"
#include "core/rows.h"
#include "ops/segment_softmax/segment_softmax.h"

namespace gnas::GNAS_ISA {
namespace {

template <class A>
GNAS_INLINE Vector<A> inverse(Vector<A> sum) {
  return sum == 0 ? Vector<A>{} : 1 / sum;
}
template <class A>
GNAS_INLINE A exp_one(A x) {
  return exp_lanes<A>(broadcast<A>(x))[0];
}

// Entries of one row: `n` numbers, edges × heads, in the order of memory.
template <class T>
struct Span {
  const T* x;
  const T* grad;
  T* out;
  int64_t n;
  const T* x_limit;     // reading may go up to here
  const T* grad_limit;  // and here
  T* out_limit;         // and what is written up to here is written again later
  int heads;
  int period;
};

// A row of up to N registers stays in them: one read, one write.
template <int N, class T>
GNAS_INLINE void forward_in_registers(const Span<T>& s) {
  using A = Accumulator<T>;
  constexpr int64_t kLanes = Lanes<A>::count;
  constexpr int64_t kLast = (N - 1) * kLanes;
  Vector<A> v[N];
  unrolled<N - 1>([&](auto i) { v[i] = load(s.x + i * kLanes); });
  v[N - 1] = load_some(s.x + kLast, s.n - kLast, s.x_limit, -kInfinity<A>);
  Vector<A> m = v[0];
  unrolled<N>([&](auto i) { m = Max{}(m, v[i]); });
  m = finite_maximum<A>(fold<A>(m, s.heads, Max{}));
  Vector<A> sum = {};
  unrolled<N>([&](auto i) {
    v[i] = exp_lanes<A>(v[i] - m);
    sum += v[i];
  });
  const Vector<A> scale = inverse<A>(fold<A>(sum, s.heads, Add{}));
  unrolled<N - 1>([&](auto i) { store_as(v[i] * scale, s.out + i * kLanes); });
  store_some(v[N - 1] * scale, s.out + kLast, s.n - kLast, s.out_limit);
}

template <int N, class T>
GNAS_INLINE void backward_in_registers(const Span<T>& s) {
  using A = Accumulator<T>;
  constexpr int64_t kLanes = Lanes<A>::count;
  constexpr int64_t kLast = (N - 1) * kLanes;
  Vector<A> y[N];
  Vector<A> g[N];
  unrolled<N - 1>([&](auto i) {
    y[i] = load(s.x + i * kLanes);
    g[i] = load(s.grad + i * kLanes);
  });
  y[N - 1] = load_some(s.x + kLast, s.n - kLast, s.x_limit, A{0});
  g[N - 1] = load_some(s.grad + kLast, s.n - kLast, s.grad_limit, A{0});
  Vector<A> sum = {};
  unrolled<N>([&](auto i) { sum += y[i] * g[i]; });
  sum = fold<A>(sum, s.heads, Add{});
  unrolled<N - 1>([&](auto i) { store_as(y[i] * (g[i] - sum), s.out + i * kLanes); });
  store_some(y[N - 1] * (g[N - 1] - sum), s.out + kLast, s.n - kLast, s.out_limit);
}

// A number or two a head that a row, or a piece of one, comes to: maximum and sum of the forward, sum of the backward.
template <class A>
struct State {
  Pattern<A> maximum;
  Pattern<A> sum;
};

template <class T>
void measure(const Span<T>& s, State<Accumulator<T>>& state) {
  using A = Accumulator<T>;
  fill<A>(state.sum, s.period, 0);
  if (s.grad != nullptr) {
    accumulate_lanes<A>(s.n, s.period, state.sum, [&](Vector<A> held, int64_t i, int64_t count, int) GNAS_INLINED {
      return held + load_some(s.x + i, count, s.x_limit, A{0}) * load_some(s.grad + i, count, s.grad_limit, A{0});
    });
  } else {
    fill<A>(state.maximum, s.period, -kInfinity<A>);
    accumulate_lanes<A>(s.n, s.period, state.maximum, [&](Vector<A> held, int64_t i, int64_t count, int) GNAS_INLINED {
      return Max{}(held, load_some(s.x + i, count, s.x_limit, -kInfinity<A>));
    });
    fold_pattern<A>(state.maximum, s.heads, s.period, Max{});
    accumulate_lanes<A>(s.n, s.period, state.sum,
                        [&](Vector<A> held, int64_t i, int64_t count, int place) GNAS_INLINED {
                          const Vector<A> x = load_some(s.x + i, count, s.x_limit, -kInfinity<A>);
                          return held + exp_lanes<A>(x - finite_maximum<A>(state.maximum.at(place)));
                        });
  }
  fold_pattern<A>(state.sum, s.heads, s.period, Add{});
}

// The exp is computed again rather than kept: half types would lose digits.
template <class T>
void write(const Span<T>& s, State<Accumulator<T>>& state) {
  using A = Accumulator<T>;
  if (s.grad != nullptr) {
    each_register<A>(s.n, s.period, [&](int64_t i, int64_t count, int place) GNAS_INLINED {
      const Vector<A> y = load_some(s.x + i, count, s.x_limit, A{0});
      const Vector<A> g = load_some(s.grad + i, count, s.grad_limit, A{0});
      store_some(y * (g - state.sum.at(place)), s.out + i, count, s.out_limit);
    });
    return;
  }
  for (int place = 0; place < s.period; ++place) {
    state.maximum.put(place, finite_maximum<A>(state.maximum.at(place)));
    state.sum.put(place, inverse<A>(state.sum.at(place)));
  }
  each_register<A>(s.n, s.period, [&](int64_t i, int64_t count, int place) GNAS_INLINED {
    const Vector<A> x = load_some(s.x + i, count, s.x_limit, -kInfinity<A>);
    const Vector<A> y = exp_lanes<A>(x - state.maximum.at(place)) * state.sum.at(place);
    store_some(y, s.out + i, count, s.out_limit);
  });
}

// A long row whose shares can stand in `out` before they are scaled.
template <class T>
void forward_in_place(const Span<T>& s, State<T>& state) {
  fill<T>(state.maximum, s.period, -kInfinity<T>);
  fill<T>(state.sum, s.period, 0);
  accumulate_lanes<T>(s.n, s.period, state.maximum, [&](Vector<T> held, int64_t i, int64_t count, int) GNAS_INLINED {
    return Max{}(held, load_some(s.x + i, count, s.x_limit, -kInfinity<T>));
  });
  fold_pattern<T>(state.maximum, s.heads, s.period, Max{});
  for (int place = 0; place < s.period; ++place) state.maximum.put(place, finite_maximum<T>(state.maximum.at(place)));
  accumulate_lanes<T>(s.n, s.period, state.sum, [&](Vector<T> held, int64_t i, int64_t count, int place) GNAS_INLINED {
    const Vector<T> x = load_some(s.x + i, count, s.x_limit, -kInfinity<T>);
    const Vector<T> share = exp_lanes<T>(x - state.maximum.at(place));
    store_some(share, s.out + i, count, s.out_limit);
    return held + share;
  });
  fold_pattern<T>(state.sum, s.heads, s.period, Add{});
  for (int place = 0; place < s.period; ++place) state.sum.put(place, inverse<T>(state.sum.at(place)));
  each_register<T>(s.n, s.period, [&](int64_t i, int64_t count, int place) GNAS_INLINED {
    const Vector<T> share = load_some(const_cast<const T*>(s.out + i), count, const_cast<const T*>(s.out_limit), T{0});
    store_some(share * state.sum.at(place), s.out + i, count, s.out_limit);
  });
}

template <class T>
GNAS_INLINE void whole(const Span<T>& s) {
  constexpr int64_t kLanes = Lanes<Accumulator<T>>::count;
  if (s.n == 0) return;
  if (s.period > 1 || s.n > 4 * kLanes) {
    State<Accumulator<T>> state;
    if constexpr (std::is_same_v<T, Accumulator<T>>) {
      if (s.grad == nullptr) {
        forward_in_place<T>(s, state);
        return;
      }
    }
    measure<T>(s, state);
    write<T>(s, state);
    return;
  }
  const int registers = static_cast<int>((s.n + kLanes - 1) / kLanes);
  const auto run = [&](auto count) {
    if (s.grad != nullptr)
      backward_in_registers<count>(s);
    else
      forward_in_registers<count>(s);
  };
  if (registers == 1)
    run(std::integral_constant<int, 1>{});
  else if (registers == 2)
    run(std::integral_constant<int, 2>{});
  else if (registers == 3)
    run(std::integral_constant<int, 3>{});
  else
    run(std::integral_constant<int, 4>{});
}

// More heads than a tile: a register holds heads of one edge. The last one is moved back so that it is full: the heads
// that two registers share are computed twice, alike.
template <class T, class F>
GNAS_INLINE void each_column(int64_t heads, F&& f) {
  constexpr int64_t kLanes = Lanes<Accumulator<T>>::count;
  for (int64_t h = 0; h < heads; h += kLanes) f(h + kLanes <= heads ? h : heads - kLanes);
}

template <class T>
void measure_columns(const SegmentSoftmaxArgs& a, int64_t begin, int64_t end, Accumulator<T>* maximum,
                     Accumulator<T>* sum) {
  using A = Accumulator<T>;
  const T* x = static_cast<const T*>(a.x);
  const T* grad = static_cast<const T*>(a.grad);
  each_column<T>(a.heads, [&](int64_t h) {
    Vector<A> m = broadcast<A>(-kInfinity<A>);
    Vector<A> total = {};
    if (grad != nullptr) {
      for (int64_t e = begin; e < end; ++e) total += load(x + e * a.heads + h) * load(grad + e * a.heads + h);
    } else {
      for (int64_t e = begin; e < end; ++e) m = Max{}(m, load(x + e * a.heads + h));
      const Vector<A> finite = finite_maximum<A>(m);
      for (int64_t e = begin; e < end; ++e) total += exp_lanes<A>(load(x + e * a.heads + h) - finite);
    }
    store<A>(m, maximum + h);
    store<A>(total, sum + h);
  });
}

template <class T>
void write_columns(const SegmentSoftmaxArgs& a, int64_t begin, int64_t end, const Accumulator<T>* maximum,
                   const Accumulator<T>* sum) {
  using A = Accumulator<T>;
  const T* x = static_cast<const T*>(a.x);
  const T* grad = static_cast<const T*>(a.grad);
  T* out = static_cast<T*>(a.out);
  each_column<T>(a.heads, [&](int64_t h) {
    const Vector<A> m = finite_maximum<A>(load(maximum + h));
    const Vector<A> total = load(sum + h);
    const Vector<A> scale = inverse<A>(total);
    for (int64_t e = begin; e < end; ++e) {
      const int64_t at = e * a.heads + h;
      const Vector<A> y = load(x + at);
      store_as(grad != nullptr ? y * (load(grad + at) - total) : exp_lanes<A>(y - m) * scale, out + at);
    }
  });
}

template <class T>
GNAS_INLINE Span<T> span(const SegmentSoftmaxArgs& a, int period, int64_t begin, int64_t end, int64_t out_end) {
  const T* x = static_cast<const T*>(a.x);
  const T* grad = static_cast<const T*>(a.grad);
  T* out = static_cast<T*>(a.out);
  const int64_t first = begin * a.heads;
  return {x + first,
          grad == nullptr ? nullptr : grad + first,
          out + first,
          (end - begin) * a.heads,
          x + a.nnz * a.heads,
          grad == nullptr ? nullptr : grad + a.nnz * a.heads,
          out + out_end * a.heads,
          static_cast<int>(a.heads),
          period};
}

// A piece's numbers: maximum, then sum, a head each.
template <class T>
Accumulator<T>* carry_slot(const SegmentSoftmaxArgs& a, int64_t slot) {
  return static_cast<Accumulator<T>*>(a.carry) + slot * 2 * a.heads;
}

template <class T>
void measure_piece(const SegmentSoftmaxArgs& a, int period, int64_t begin, int64_t end, Accumulator<T>* to) {
  using A = Accumulator<T>;
  if (a.heads > kHeadTile) {
    measure_columns<T>(a, begin, end, to, to + a.heads);
    return;
  }
  const Span<T> s = span<T>(a, period, begin, end, end);
  State<A> state;
  fill<A>(state.maximum, s.period, 0);
  measure<T>(s, state);
  for (int64_t h = 0; h < a.heads; ++h) {
    to[h] = state.maximum.lane[h];
    to[a.heads + h] = state.sum.lane[h];
  }
}

template <class T>
void write_piece(const SegmentSoftmaxArgs& a, int period, int64_t begin, int64_t end, const Accumulator<T>* from) {
  using A = Accumulator<T>;
  if (a.heads > kHeadTile) {
    write_columns<T>(a, begin, end, from, from + a.heads);
    return;
  }
  const Span<T> s = span<T>(a, period, begin, end, end);
  State<A> state;
  spread<A>(from, s.heads, s.period, state.maximum);
  spread<A>(from + a.heads, s.heads, s.period, state.sum);
  write<T>(s, state);
}

template <class T, class I>
void run_rows(const SegmentSoftmaxArgs& a, int64_t chunk_begin, int64_t chunk_end) {
  const I* indptr = static_cast<const I*>(a.indptr);
  const int period = a.heads > kHeadTile ? 1 : period_of<Accumulator<T>>(static_cast<int>(a.heads));
  for (int64_t chunk = chunk_begin; chunk < chunk_end; ++chunk) {
    const int64_t last = cut_at(indptr, a.rows, a.nnz, a.chunks, chunk + 1).edge;
    const auto row = [&](int64_t, int64_t begin, int64_t end) {
      if (a.heads <= kHeadTile) {
        whole<T>(span<T>(a, period, begin, end, last));
      } else {
        // The tail slot is free until the chunk's last piece.
        measure_piece<T>(a, period, begin, end, carry_slot<T>(a, 2 * chunk + 1));
        write_piece<T>(a, period, begin, end, carry_slot<T>(a, 2 * chunk + 1));
      }
    };
    walk_chunk(indptr, a.rows, a.nnz, a.chunks, chunk, row, [&](int64_t slot, int64_t, int64_t begin, int64_t end) {
      measure_piece<T>(a, period, begin, end, carry_slot<T>(a, slot));
    });
  }
}

// Each slot of a divided row gets what the row comes to, its pieces taken in their order.
template <class T, class I>
void run_carry(const SegmentSoftmaxArgs& a) {
  using A = Accumulator<T>;
  int64_t latest = -1;
  const auto add = [&](int64_t into, int64_t other) {
    A* const sum = carry_slot<T>(a, into);
    const A* const more = carry_slot<T>(a, other);
    latest = other;
    for (int64_t h = 0; h < a.heads; ++h) {
      const A maximum = Max{}(sum[h], more[h]);
      const auto scale = [&](A own) {
        return a.grad != nullptr || own == -kInfinity<A> ? A{1} : exp_one<A>(own - maximum);
      };
      sum[a.heads + h] = scale(sum[h]) * sum[a.heads + h] + scale(more[h]) * more[a.heads + h];
      sum[h] = maximum;
    }
  };
  const auto finish = [&](int64_t, int64_t first) {
    // After the first, every second slot up to the latest, which may be a head.
    for (int64_t slot = first; slot < latest;) {
      slot = slot + 2 < latest ? slot + 2 : latest;
      for (int64_t h = 0; h < 2 * a.heads; ++h) carry_slot<T>(a, slot)[h] = carry_slot<T>(a, first)[h];
    }
  };
  for_divided_rows(static_cast<const I*>(a.indptr), a.rows, a.nnz, a.chunks, add, finish);
}

template <class T, class I>
void run_pieces(const SegmentSoftmaxArgs& a, int64_t chunk_begin, int64_t chunk_end) {
  const I* indptr = static_cast<const I*>(a.indptr);
  const int period = a.heads > kHeadTile ? 1 : period_of<Accumulator<T>>(static_cast<int>(a.heads));
  for (int64_t chunk = chunk_begin; chunk < chunk_end; ++chunk) {
    walk_chunk(
        indptr, a.rows, a.nnz, a.chunks, chunk, [](int64_t, int64_t, int64_t) {},
        [&](int64_t slot, int64_t, int64_t begin, int64_t end) {
          if (begin < end) write_piece<T>(a, period, begin, end, carry_slot<T>(a, slot));
        });
  }
}

}  // namespace

void segment_softmax_rows(const SegmentSoftmaxArgs& a, int64_t chunk_begin, int64_t chunk_end) {
  with_types(a.dtype, a.wide_index, [&](auto element, auto index) {
    run_rows<decltype(element), decltype(index)>(a, chunk_begin, chunk_end);
  });
}

void segment_softmax_carry(const SegmentSoftmaxArgs& a) {
  with_types(a.dtype, a.wide_index,
             [&](auto element, auto index) { run_carry<decltype(element), decltype(index)>(a); });
}

void segment_softmax_pieces(const SegmentSoftmaxArgs& a, int64_t chunk_begin, int64_t chunk_end) {
  with_types(a.dtype, a.wide_index, [&](auto element, auto index) {
    run_pieces<decltype(element), decltype(index)>(a, chunk_begin, chunk_end);
  });
}

}  // namespace gnas::GNAS_ISA
