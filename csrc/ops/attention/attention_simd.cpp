#include "core/bounds.h"
#include "core/exp.h"
#include "core/head_lanes.h"
#include "core/head_rows.h"
#include "core/rows.h"
#include "ops/attention/attention.h"

namespace gnas::GNAS_ISA {
namespace {

// A row's edges are taken a block at a time: scores, softmax, sum. A block's maximum may be above that of those before
// it: what they came to is then scaled down (Milakov and Gimelshein, 2018, online normalizer calculation).

// Rows are fetched so many bytes ahead, but not more than so many edges.
constexpr int64_t kAheadBytes = 16 * 1024;
constexpr int64_t kAheadEdges = 64;

template <class T, class I>
struct Graph {
  using A = Accumulator<T>;

  explicit Graph(const AttentionArgs& args)
      : indptr(static_cast<const I*>(args.indptr)),
        indices(static_cast<const I*>(args.indices)),
        edge(static_cast<const I*>(args.edge)),
        left(static_cast<const T*>(args.left)),
        right(static_cast<const T*>(args.right)),
        v(static_cast<const T*>(args.v)),
        bias(static_cast<const T*>(args.bias)),
        grad(static_cast<const T*>(args.grad)),
        edges(static_cast<A*>(args.edges)),
        a(args) {
    const int64_t dim = a.dim > a.dim_v ? a.dim : a.dim_v;
    wanted = edges_ahead(a.heads * dim * static_cast<int64_t>(sizeof(T)), kAheadBytes, kAheadEdges);
  }

  GNAS_INLINE int64_t place(int64_t e) const { return edge == nullptr ? e : static_cast<int64_t>(edge[e]); }

  // Before a chunk is walked; false (and a report) when one of its edges would read out of bounds.
  bool enter(int64_t chunk) {
    const int64_t begin = cut_at(indptr, a.rows, a.nnz, a.chunks, chunk).edge;
    const int64_t end = cut_at(indptr, a.rows, a.nnz, a.chunks, chunk + 1).edge;
    ahead = wanted < a.nnz - end ? wanted : a.nnz - end;
    return inside(a, indices, edge, begin, end);
  }

  GNAS_INLINE void block(int64_t begin, int64_t end, EdgeBlock& to) const {
    to.count = static_cast<int>(end - begin < kBlockEdges ? end - begin : kBlockEdges);
    for (int i = 0; i < to.count; ++i) {
      to.at[i] = indices[begin + i];
      to.ahead[i] = indices[begin + i + ahead];
    }
  }

  const I* indptr;
  const I* indices;
  const I* edge;
  const T* left;
  const T* right;
  const T* v;
  const T* bias;
  const T* grad;
  A* edges;
  int64_t wanted;
  int64_t ahead = 0;
  const AttentionArgs& a;
};

// A tile of heads: the columns that belong to it, and after how many registers its heads repeat.
struct Tile {
  int64_t first;
  int count;
  int period;
};

// A number of heads as whole tiles and a rest, divided once and not for every row.
template <class A>
struct Tiles {
  explicit Tiles(int64_t all)
      : heads(all), full(period_of<A>(kHeadTile)), rest(period_of<A>(static_cast<int>(all % kHeadTile))) {}

  template <class F>
  GNAS_INLINE void each(F&& f) const {
    int64_t first = 0;
    for (; first + kHeadTile <= heads; first += kHeadTile) f(Tile{first, kHeadTile, full});
    if (first < heads) f(Tile{first, static_cast<int>(heads - first), rest});
  }

  int64_t heads;
  int full;
  int rest;
};

template <class T>
GNAS_INLINE HeadRows<T> columns(const T* base, int64_t heads, int64_t dim, Tile tile) {
  return {base + tile.first * dim, heads * dim, tile.count, dim};
}

// What goes into the softmax, or, where additive, into leaky_relu: one number an edge and head.
template <class T, class I>
GNAS_INLINE void scores(const Graph<T, I>& g, int64_t row, int64_t begin, Tile tile, const EdgeBlock& block,
                        Accumulator<T>* to) {
  using A = Accumulator<T>;
  const AttentionArgs& a = g.a;
  const T* left = g.left + (row * a.heads + tile.first) * a.dim;
  if (a.additive) {
    const T* right = g.right + tile.first;
    for (int edge = 0; edge < block.count; ++edge) {
      const T* side = right + block.at[edge] * a.heads;
      __builtin_prefetch(right + block.ahead[edge] * a.heads);
      for (int head = 0; head < tile.count; ++head)
        to[edge * tile.count + head] = widen(left[head]) + widen(side[head]);
    }
    return;
  }
  dots<T>(left, columns(g.right, a.heads, a.dim, tile), block, static_cast<A>(a.scale), to);
  if (g.bias == nullptr) return;
  for (int edge = 0; edge < block.count; ++edge) {
    const T* bias = g.bias + g.place(begin + edge) * a.heads + tile.first;
    for (int head = 0; head < tile.count; ++head) to[edge * tile.count + head] += widen(bias[head]);
  }
}

// leaky_relu where additive.
template <class A>
struct Activation {
  explicit Activation(const AttentionArgs& a) : slope(a.additive ? static_cast<A>(a.slope) : A{1}) {}
  GNAS_INLINE Vector<A> operator()(Vector<A> x) const { return x > 0 ? x : slope * x; }
  A slope;
};

template <class A>
struct State {
  Pattern<A> maximum;
  Pattern<A> sum;
};

// What a piece of a row comes to: sums of exp(s - maximum) * v in acc, and of exp(s - maximum) in state.
template <class T, class I>
void forward_piece(const Graph<T, I>& g, int64_t row, int64_t begin, int64_t end, Tile tile,
                   State<Accumulator<T>>& state, Accumulator<T>* acc) {
  using A = Accumulator<T>;
  const AttentionArgs& a = g.a;
  const int period = tile.period;
  const Activation<A> activation(a);
  const HeadRows<T> values = columns(g.v, a.heads, a.dim_v, tile);
  for (int64_t f = 0; f < tile.count * a.dim_v; ++f) acc[f] = 0;
  fill<A>(state.maximum, period, -kInfinity<A>);
  fill<A>(state.sum, period, 0);
  EdgeBlock block;
  BlockNumbers<A> s;
  for (int64_t e = begin; e < end; e += kBlockEdges) {
    g.block(e, end, block);
    scores<T, I>(g, row, e, tile, block, s.at);
    const int64_t n = block.count * tile.count;
    const A* const limit = s.at + sizeof s.at / sizeof(A);
    Pattern<A> before;
    for (int place = 0; place < period; ++place) before.put(place, state.maximum.at(place));
    accumulate_lanes<A>(n, period, state.maximum, [&](Vector<A> held, int64_t i, int64_t count, int) GNAS_INLINED {
      return Max{}(held, activation(load_some(s.at + i, count, limit, -kInfinity<A>)));
    });
    fold_pattern<A>(state.maximum, tile.count, period, Max{});
    if (e > begin) {
      Pattern<A> factor;
      for (int place = 0; place < period; ++place) {
        factor.put(place, exp_lanes<A>(before.at(place) - finite_maximum<A>(state.maximum.at(place))));
        state.sum.put(place, state.sum.at(place) * factor.at(place));
      }
      for (int head = 0; head < tile.count; ++head)
        for (int64_t f = 0; f < a.dim_v; ++f) acc[head * a.dim_v + f] *= factor.lane[head];
    }
    accumulate_lanes<A>(n, period, state.sum, [&](Vector<A> held, int64_t i, int64_t count, int place) GNAS_INLINED {
      const Vector<A> x = activation(load_some<A>(s.at + i, count, limit, -kInfinity<A>));
      const Vector<A> p = exp_lanes<A>(x - finite_maximum<A>(state.maximum.at(place)));
      store<A>(p, s.at + i);
      return held + p;
    });
    add_rows<T>(s.at, values, block, block.ahead, acc);
  }
  fold_pattern<A>(state.sum, tile.count, period, Add{});
}

// Divides by the sum and leaves its logarithm. maximum and sum are a number a head, with room for a register behind.
template <class T>
void finish_forward(const AttentionArgs& a, int64_t row, Tile tile, const Accumulator<T>* acc,
                    const Accumulator<T>* maximum, const Accumulator<T>* sum) {
  using A = Accumulator<T>;
  T* out = static_cast<T*>(a.out) + (row * a.heads + tile.first) * a.dim_v;
  A* lse = static_cast<A*>(a.lse) + row * a.heads + tile.first;
  for (int head = 0; head < tile.count; ++head) {
    const A scale = sum[head] == 0 ? A{0} : A{1} / sum[head];
    for (int64_t f = 0; f < a.dim_v; ++f) narrow(acc[f] * scale, out + f);
    acc += a.dim_v;
    out += a.dim_v;
  }
  for (int head = 0; head < tile.count; head += Lanes<A>::count) {
    const Vector<A> total = load(sum + head);
    const Vector<A> value = total == 0 ? broadcast<A>(-kInfinity<A>) : load(maximum + head) + log_lanes<A>(total);
    store_some(value, lse + head, tile.count - head, lse + tile.count);
  }
}

template <class T>
Accumulator<T>* carry_slot(const AttentionArgs& a, int64_t slot) {
  return static_cast<Accumulator<T>*>(a.carry) + slot * a.carry_width;
}

template <class T, class I>
void run_rows(const AttentionArgs& a, int64_t chunk_begin, int64_t chunk_end) {
  using A = Accumulator<T>;
  Graph<T, I> g(a);
  const Tiles<Accumulator<T>> tiles(a.heads);
  State<A> state;
  for (int64_t chunk = chunk_begin; chunk < chunk_end; ++chunk) {
    if (!g.enter(chunk)) continue;
    const auto piece = [&](int64_t slot, int64_t row, int64_t begin, int64_t end) {
      tiles.each([&](Tile tile) {
        A* const to = carry_slot<T>(a, slot);
        A* const numbers = to + a.heads * a.dim_v + tile.first;
        forward_piece<T, I>(g, row, begin, end, tile, state, to + tile.first * a.dim_v);
        for (int head = 0; head < tile.count; ++head) {
          numbers[head] = state.maximum.lane[head];
          numbers[a.heads + head] = state.sum.lane[head];
        }
      });
    };
    const auto whole = [&](int64_t row, int64_t begin, int64_t end) {
      // The tail slot doubles as the row's buffer: no piece needs it before the last.
      A* const acc = carry_slot<T>(a, 2 * chunk + 1);
      tiles.each([&](Tile tile) {
        forward_piece<T, I>(g, row, begin, end, tile, state, acc);
        finish_forward<T>(a, row, tile, acc, state.maximum.lane, state.sum.lane);
      });
    };
    walk_chunk(g.indptr, a.rows, a.nnz, a.chunks, chunk, whole, piece);
  }
}

template <class A>
GNAS_INLINE A exp_one(A x) {
  return exp_lanes<A>(broadcast<A>(x))[0];
}

// Puts the pieces of divided rows together, in their order.
template <class T, class I>
void run_carry(const AttentionArgs& a) {
  using A = Accumulator<T>;
  const int64_t width = a.heads * a.dim_v;
  const Tiles<A> tiles(a.heads);
  const auto add = [&](int64_t slot, int64_t other) {
    A* const into = carry_slot<T>(a, slot);
    const A* const more = carry_slot<T>(a, other);
    for (int64_t head = 0; head < a.heads; ++head) {
      const A maximum = Max{}(into[width + head], more[width + head]);
      const auto scale = [&](A own) { return own == -kInfinity<A> ? A{1} : exp_one<A>(own - maximum); };
      const A ours = scale(into[width + head]);
      const A theirs = scale(more[width + head]);
      A& sum = into[width + a.heads + head];
      sum = ours * sum + theirs * more[width + a.heads + head];
      for (int64_t f = head * a.dim_v; f < (head + 1) * a.dim_v; ++f) into[f] = ours * into[f] + theirs * more[f];
      into[width + head] = maximum;
    }
  };
  const auto finish = [&](int64_t row, int64_t slot) {
    const A* const from = carry_slot<T>(a, slot);
    tiles.each([&](Tile tile) {
      BlockNumbers<A> maximum;
      BlockNumbers<A> sum;
      for (int head = 0; head < tile.count; ++head) {
        maximum.at[head] = from[width + tile.first + head];
        sum.at[head] = from[width + a.heads + tile.first + head];
      }
      finish_forward<T>(a, row, tile, from + tile.first * a.dim_v, maximum.at, sum.at);
    });
  };
  for_divided_rows(static_cast<const I*>(a.indptr), a.rows, a.nnz, a.chunks, add, finish);
}

// The gradient of `left` that a piece of a row makes, and the two numbers of each of its edges.
template <class T, class I>
void backward_row_piece(const Graph<T, I>& g, int64_t row, int64_t begin, int64_t end, Tile tile, Accumulator<T>* acc) {
  using A = Accumulator<T>;
  const AttentionArgs& a = g.a;
  const int period = tile.period;
  const Activation<A> activation(a);
  const HeadRows<T> keys = columns(g.right, a.heads, a.dim, tile);
  const HeadRows<T> values = columns(g.v, a.heads, a.dim_v, tile);
  const T* grad = g.grad + (row * a.heads + tile.first) * a.dim_v;
  for (int64_t f = 0; f < tile.count * a.dim; ++f) acc[f] = 0;
  EdgeBlock block;
  BlockNumbers<A> s;
  BlockNumbers<A> p;
  BlockNumbers<A> d;
  // The mean of the gradients of the shares, which is <grad, out>.
  Pattern<A> mean;
  Pattern<A> lse;
  Pattern<A> total;
  block.at[0] = block.ahead[0] = row;
  block.count = 1;
  dots<T>(grad, columns(static_cast<const T*>(a.out), a.heads, a.dim_v, tile), block, A{1}, d.at);
  spread<A>(d.at, tile.count, period, mean);
  spread<A>(static_cast<const A*>(a.lse) + row * a.heads + tile.first, tile.count, period, lse);
  for (int place = 0; place < period; ++place) lse.put(place, finite_maximum<A>(lse.at(place)));
  fill<A>(total, period, 0);
  for (int64_t e = begin; e < end; e += kBlockEdges) {
    g.block(e, end, block);
    scores<T, I>(g, row, e, tile, block, s.at);
    dots<T>(grad, values, block, A{1}, d.at);
    const int64_t n = block.count * tile.count;
    const A* const limit = s.at + sizeof s.at / sizeof(A);
    accumulate_lanes<A>(n, period, total, [&](Vector<A> held, int64_t i, int64_t count, int place) GNAS_INLINED {
      const Vector<A> x = load_some(s.at + i, count, limit, -kInfinity<A>);
      const Vector<A> share = exp_lanes<A>(activation(x) - lse.at(place));
      const Vector<A> down = keep_lanes<A>(share * (load(d.at + i) - mean.at(place)), count, 0);
      const Vector<A> through = x > 0 ? down : activation.slope * down;
      store<A>(share, p.at + i);
      store<A>(through, d.at + i);
      return held + through;
    });
    for (int edge = 0; edge < block.count; ++edge) {
      const int64_t place = g.place(e + edge);
      A* const to = g.edges + place * 2 * a.heads + tile.first;
      for (int head = 0; head < tile.count; ++head) {
        to[head] = p.at[edge * tile.count + head];
        to[a.heads + head] = d.at[edge * tile.count + head];
      }
      if (a.d_bias == nullptr) continue;
      T* const bias = static_cast<T*>(a.d_bias) + place * a.heads + tile.first;
      for (int head = 0; head < tile.count; ++head) narrow(d.at[edge * tile.count + head], bias + head);
    }
    if (!a.additive) add_rows<T>(d.at, keys, block, block.at, acc);
  }
  if (!a.additive) return;
  fold_pattern<A>(total, tile.count, period, Add{});
  for (int head = 0; head < tile.count; ++head) acc[head] = total.lane[head];
}

// The gradients of `right` and v that a piece of a column makes, from what the rows left of each edge.
template <class T, class I>
void backward_col_piece(const Graph<T, I>& g, int64_t begin, int64_t end, Tile tile, Accumulator<T>* d_right,
                        Accumulator<T>* d_v) {
  using A = Accumulator<T>;
  const AttentionArgs& a = g.a;
  const HeadRows<T> queries = columns(g.left, a.heads, a.dim, tile);
  const HeadRows<T> grads = columns(g.grad, a.heads, a.dim_v, tile);
  for (int64_t f = 0; f < tile.count * a.dim; ++f) d_right[f] = 0;
  for (int64_t f = 0; f < tile.count * a.dim_v; ++f) d_v[f] = 0;
  EdgeBlock block;
  BlockNumbers<A> p;
  BlockNumbers<A> d;
  for (int64_t e = begin; e < end; e += kBlockEdges) {
    g.block(e, end, block);
    for (int edge = 0; edge < block.count; ++edge) {
      __builtin_prefetch(g.edges + g.place(e + edge + g.ahead) * 2 * a.heads + tile.first);
      const A* from = g.edges + g.place(e + edge) * 2 * a.heads + tile.first;
      for (int head = 0; head < tile.count; ++head) {
        p.at[edge * tile.count + head] = from[head];
        d.at[edge * tile.count + head] = from[a.heads + head];
        if (a.additive) d_right[head] += from[a.heads + head];
      }
    }
    add_rows<T>(p.at, grads, block, block.ahead, d_v);
    if (!a.additive) add_rows<T>(d.at, queries, block, block.ahead, d_right);
  }
}

template <class T>
void write_scaled(const Accumulator<T>* from, Accumulator<T> scale, int64_t count, T* to) {
  for (int64_t f = 0; f < count; ++f) narrow(scale * from[f], to + f);
}

// d_left, or d_right and d_v, of a finished row: `from` holds one after the other.
template <class T>
void finish_backward(const AttentionArgs& a, int64_t row, bool cols, const Accumulator<T>* from) {
  using A = Accumulator<T>;
  const int64_t width = a.heads * a.dim;
  const A scale = a.additive ? A{1} : static_cast<A>(a.scale);
  write_scaled<T>(from, scale, width, static_cast<T*>(cols ? a.d_right : a.d_left) + row * width);
  if (!cols) return;
  const int64_t width_v = a.heads * a.dim_v;
  write_scaled<T>(from + width, A{1}, width_v, static_cast<T*>(a.d_v) + row * width_v);
}

template <class T, class I>
void run_backward(const AttentionArgs& a, bool cols, int64_t chunk_begin, int64_t chunk_end) {
  using A = Accumulator<T>;
  Graph<T, I> g(a);
  const Tiles<Accumulator<T>> tiles(a.heads);
  for (int64_t chunk = chunk_begin; chunk < chunk_end; ++chunk) {
    if (!g.enter(chunk)) continue;
    const auto piece = [&](int64_t slot, int64_t row, int64_t begin, int64_t end) {
      A* const to = carry_slot<T>(a, slot);
      tiles.each([&](Tile tile) {
        A* const first = to + tile.first * a.dim;
        if (cols)
          backward_col_piece<T, I>(g, begin, end, tile, first, to + a.heads * a.dim + tile.first * a.dim_v);
        else
          backward_row_piece<T, I>(g, row, begin, end, tile, first);
      });
    };
    const auto whole = [&](int64_t row, int64_t begin, int64_t end) {
      piece(2 * chunk + 1, row, begin, end);
      finish_backward<T>(a, row, cols, carry_slot<T>(a, 2 * chunk + 1));
    };
    walk_chunk(g.indptr, a.rows, a.nnz, a.chunks, chunk, whole, piece);
  }
}

template <class T, class I>
void run_backward_carry(const AttentionArgs& a, bool cols) {
  const int64_t width = a.heads * a.dim + (cols ? a.heads * a.dim_v : 0);
  const auto add = [&](int64_t into, int64_t other) {
    Accumulator<T>* const sum = carry_slot<T>(a, into);
    const Accumulator<T>* const more = carry_slot<T>(a, other);
    for (int64_t f = 0; f < width; ++f) sum[f] += more[f];
  };
  const auto finish = [&](int64_t row, int64_t slot) { finish_backward<T>(a, row, cols, carry_slot<T>(a, slot)); };
  for_divided_rows(static_cast<const I*>(a.indptr), a.rows, a.nnz, a.chunks, add, finish);
}

}  // namespace

void attention_rows(const AttentionArgs& a, int64_t chunk_begin, int64_t chunk_end) {
  with_types(a.dtype, a.wide_index, [&](auto element, auto index) {
    run_rows<decltype(element), decltype(index)>(a, chunk_begin, chunk_end);
  });
}

void attention_carry(const AttentionArgs& a) {
  with_types(a.dtype, a.wide_index,
             [&](auto element, auto index) { run_carry<decltype(element), decltype(index)>(a); });
}

void attention_backward_rows(const AttentionArgs& a, int64_t chunk_begin, int64_t chunk_end) {
  with_types(a.dtype, a.wide_index, [&](auto element, auto index) {
    run_backward<decltype(element), decltype(index)>(a, false, chunk_begin, chunk_end);
  });
}

void attention_backward_rows_carry(const AttentionArgs& a) {
  with_types(a.dtype, a.wide_index,
             [&](auto element, auto index) { run_backward_carry<decltype(element), decltype(index)>(a, false); });
}

void attention_backward_cols(const AttentionArgs& a, int64_t chunk_begin, int64_t chunk_end) {
  with_types(a.dtype, a.wide_index, [&](auto element, auto index) {
    run_backward<decltype(element), decltype(index)>(a, true, chunk_begin, chunk_end);
  });
}

void attention_backward_cols_carry(const AttentionArgs& a) {
  with_types(a.dtype, a.wide_index,
             [&](auto element, auto index) { run_backward_carry<decltype(element), decltype(index)>(a, true); });
}

}  // namespace gnas::GNAS_ISA
