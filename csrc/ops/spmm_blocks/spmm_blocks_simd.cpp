#include "core/bounds.h"
#include "core/past.h"
#include "core/rows.h"
#include "core/vector.h"
#include "ops/spmm_blocks/spmm_blocks.h"

namespace gnas::GNAS_ISA {
namespace {

// How far ahead rows are prefetched: as many edges as there are lines to be under way.
constexpr int64_t kBytesAhead = 4 * 1024;
constexpr int64_t kMostAhead = 64;
constexpr int kBlock = static_cast<int>(kBlockColumns);

// Registers a block, and blocks whose sums fit the registers at once.
template <class A>
constexpr int kRegisters = kBlock / Lanes<A>::count;
template <class A>
constexpr int kMostBlocks =
    (GNAS_VECTOR_BYTES == 64 ? 16 : 8) / kRegisters<A> < 1 ? 1 : (GNAS_VECTOR_BYTES == 64 ? 16 : 8) / kRegisters<A>;

// Whose weight an edge has: none; its own, in the order of the entries; or one that is looked up.
enum class Weights { none, entry, looked_up };

template <class T, class I, Weights kWeights, bool kRagged>
struct Graph {
  using Element = T;
  using Index = I;

  explicit Graph(const SpmmBlocksArgs& args)
      : indptr(static_cast<const I*>(args.indptr)),
        indices(static_cast<const I*>(args.indices)),
        edge(static_cast<const I*>(args.edge)),
        weight(static_cast<const T*>(args.weight)),
        x(reinterpret_cast<uintptr_t>(args.x)),
        begin(static_cast<const I*>(args.begin)),
        row_bytes(static_cast<uintptr_t>(args.x_stride) * sizeof(T)),
        a(args) {}

  GNAS_INLINE Accumulator<T> weight_of(int64_t e) const {
    if constexpr (kWeights == Weights::none) return 1;
    if constexpr (kWeights == Weights::entry) return widen(weight[e]);
    if (weight == nullptr) return 1;  // for types whose calls are not told apart
    if (edge == nullptr) return widen(weight[e]);
    __builtin_prefetch(weight + static_cast<int64_t>(edge[e + ahead]));
    return widen(weight[static_cast<int64_t>(edge[e])]);
  }
  // Where the row of a source begins.
  GNAS_INLINE uintptr_t row_of(int64_t source) const {
    if constexpr (kRagged) return x + static_cast<uintptr_t>(begin[source]) * (kBlock * sizeof(T));
    return x + static_cast<uintptr_t>(source) * row_bytes;
  }

  const I* indptr;
  const I* indices;
  const I* edge;
  const T* weight;
  uintptr_t x;
  const I* begin;
  uintptr_t row_bytes;
  const SpmmBlocksArgs& a;
  int64_t ahead = 0;  // entries up to so many beyond a chunk are checked with it
};

// One piece of a row, or all of it: the edges begin … end-1, and where their sums go.
template <class T>
struct Piece {
  int64_t begin;
  int64_t end;
  Accumulator<T>* slot;  // of a part of a row; null for a whole row
  int64_t row;
  Accumulator<T> scale;  // of a whole row: the mean divides
};

// Where the sums of blocks go, of which `list` or, without one, their order from `block` on says which they are. Not
// inlined: it is there for every number of blocks.
template <class T>
__attribute__((noinline)) void put(const SpmmBlocksArgs& a, const Piece<T>& p, const int32_t* list, int64_t block,
                                   int64_t count, const Accumulator<T>* sum) {
  using A = Accumulator<T>;
  constexpr int kLanes = Lanes<A>::count;
  for (int64_t k = 0; k < count; ++k, sum += kBlock) {
    const int64_t at = list == nullptr ? block + k : list[k];
    if (p.slot != nullptr) {
      std::memcpy(p.slot + at * kBlock, sum, kBlock * sizeof(A));
      continue;
    }
    const int64_t column = static_cast<int64_t>(a.column[at]) * kBlock;
    T* to = static_cast<T*>(a.out) + p.row * a.width + column;
    if (a.stream) {
      unrolled<kRegisters<A>>([&](auto r) { store_past(p.scale * load(sum + r * kLanes), to + r * kLanes); });
    } else if (__builtin_expect(column + kBlock <= a.width, 1)) {
      unrolled<kRegisters<A>>([&](auto r) { store_as(p.scale * load(sum + r * kLanes), to + r * kLanes); });
    } else {
      for (int64_t f = 0; f < a.width - column; ++f) narrow(static_cast<A>(p.scale * sum[f]), to + f);
    }
  }
}

template <int N, class T, class A = Accumulator<T>>
GNAS_INLINE void put_all(const SpmmBlocksArgs& a, const Piece<T>& p, const int32_t* list, int64_t block,
                         const Vector<A> (&sum)[N][kRegisters<A>]) {
  alignas(GNAS_VECTOR_BYTES) A sums[N * kBlock];
  unrolled<N>([&](auto b) GNAS_INLINED {
    unrolled<kRegisters<A>>([&](auto r) { store<A>(sum[b][r], sums + b * kBlock + r * Lanes<A>::count); });
  });
  put<T>(a, p, list, block, N, sums);
}

GNAS_INLINE void prefetch(uintptr_t address) { __builtin_prefetch(reinterpret_cast<const void*>(address)); }

// N blocks of a list that is the same for all edges of the row.
template <int N, class G, class T = typename G::Element>
GNAS_INLINE void sum_listed(const G& g, const int32_t* list, const int32_t* offset, const Piece<T>& p) {
  using A = Accumulator<T>;
  constexpr int kLanes = Lanes<A>::count;
  constexpr int kCount = kRegisters<A>;
  // Few sums would wait for each other: edges take turns among copies, which are added up at the end.
  constexpr int kTurns = N * kCount == 1 ? 4 : N * kCount == 2 ? 2 : 1;
  Vector<A> sum[kTurns][N][kCount] = {};
  uintptr_t at[N];
  unrolled<N>([&](auto b) { at[b] = static_cast<uintptr_t>(offset[list[b]]); });
  const auto take = [&](int64_t e, Vector<A>(&into)[N][kCount]) GNAS_INLINED {
    const uintptr_t row = g.row_of(g.indices[e]);
    const uintptr_t ahead = g.row_of(g.indices[e + g.ahead]);
    const A w = g.weight_of(e);
    unrolled<N>([&](auto b) GNAS_INLINED {
      prefetch(ahead + at[b]);
      const T* from = reinterpret_cast<const T*>(row + at[b]);
      unrolled<kCount>([&](auto r) GNAS_INLINED { into[b][r] += w * load(from + r * kLanes); });
    });
  };
  int64_t e = p.begin;
  for (; e + kTurns <= p.end; e += kTurns) unrolled<kTurns>([&](auto turn) GNAS_INLINED { take(e + turn, sum[turn]); });
  if constexpr (kTurns > 1) {
    for (; e < p.end; ++e) take(e, sum[0]);
    unrolled<N>([&](auto b) GNAS_INLINED {
      unrolled<kCount>([&](auto r) GNAS_INLINED {
        if constexpr (kTurns == 4)
          sum[0][b][r] = (sum[0][b][r] + sum[1][b][r]) + (sum[2][b][r] + sum[3][b][r]);
        else
          sum[0][b][r] += sum[1][b][r];
      });
    });
  }
  put_all<N, T>(g.a, p, list, 0, sum[0]);
}

// The blocks from `block` on, of sources whose group says which are live. Without a branch on the group, which changes
// from edge to edge: a dead block reads the first line of its row, which is read anyway, and leaves it out.
template <int N, class G, class T = typename G::Element>
GNAS_INLINE void sum_masked(const G& g, int64_t block, const Piece<T>& p) {
  using A = Accumulator<T>;
  using Integer = typename Lanes<A>::Integer;
  constexpr int kLanes = Lanes<A>::count;
  constexpr int64_t kBytes = kBlock * sizeof(T);
  const SpmmBlocksArgs& a = g.a;
  const int shift = static_cast<int>(block % 16);
  const BlockTable* const tables = a.table + block / 16 * a.groups;
  const uint8_t* const groups = a.group;
  const int64_t first = block * kBytes;
  const int64_t last = a.row_bytes - kBytes;  // where the last line of the widest row begins
  const bool uniform = a.uniform;
  Vector<A> sum[N][kRegisters<A>] = {};
  for (int64_t e = p.begin; e < p.end; ++e) {
    const int64_t source = g.indices[e];
    const int64_t later = g.indices[e + g.ahead];
    const BlockTable& table = tables[groups[source]];
    const int64_t end = uniform ? last : tables[groups[later]].last;
    const uintptr_t row = g.row_of(source);
    const uintptr_t ahead = g.row_of(later);
    const A w = g.weight_of(e);
    unrolled<N>([&](auto b) GNAS_INLINED {
      const int64_t line = first + b * kBytes;
      if (line <= last) prefetch(ahead + static_cast<uintptr_t>(line < end ? line : end));
      const T* from = reinterpret_cast<const T*>(row + static_cast<uintptr_t>(table.offset[shift + b]));
      // Cut out, not multiplied by zero: what is dead may be NaN. The mask comes from memory: to make it would take the
      // ports that the sums need.
      const IntVector<A> mask = IntVector<A>{} + static_cast<Integer>(table.mask[shift + b]);
      unrolled<kRegisters<A>>([&](auto r) GNAS_INLINED {
        sum[b][r] += w * bit_copy<Vector<A>>(bit_copy<IntVector<A>>(load(from + r * kLanes)) & mask);
      });
    });
  }
  put_all<N, T>(a, p, nullptr, block, sum);
}

// Calls pass(N, at) for as many blocks at a time as fit the registers.
template <int N, class Pass>
GNAS_INLINE void in_parts(int64_t blocks, int64_t at, const Pass& pass) {
  for (; blocks - at >= N; at += N) pass(std::integral_constant<int, N>{}, at);
  if constexpr (N > 1) in_parts<N / 2>(blocks, at, pass);
}

template <class G, class T = typename G::Element>
void sum_piece(const G& g, const Piece<T>& p) {
  const SpmmBlocksArgs& a = g.a;
  constexpr int kMost = kMostBlocks<Accumulator<T>>;
  if (a.listed) {
    const int64_t group = a.by_row && a.group != nullptr ? a.group[p.row] : 0;
    const int32_t* list = a.live + group * a.blocks;
    const int32_t* offset = a.offset + group * a.blocks;
    in_parts<kMost>(a.count[group], 0,
                    [&](auto n, int64_t at) GNAS_INLINED { sum_listed<n>(g, list + at, offset, p); });
  } else {
    in_parts<kMost>(a.blocks, 0, [&](auto n, int64_t at) GNAS_INLINED { sum_masked<n>(g, at, p); });
  }
}

// Calls walk with the kernel for rows of exactly so many blocks, if there is one: chosen once, not again in every row.
template <int N, class G, class Walk>
GNAS_INLINE bool with_whole_row(const G& g, const Walk& walk) {
  using T = typename G::Element;
  const SpmmBlocksArgs& a = g.a;
  const bool one_list = a.listed && (!a.by_row || a.group == nullptr);
  if (one_list && a.count[0] == N) {
    walk([](const G& graph, const Piece<T>& p) GNAS_INLINED { sum_listed<N>(graph, graph.a.live, graph.a.offset, p); });
    return true;
  }
  if (!a.listed && a.blocks == N) {
    walk([](const G& graph, const Piece<T>& p) GNAS_INLINED { sum_masked<N>(graph, 0, p); });
    return true;
  }
  if constexpr (N > 1)
    return with_whole_row<N / 2>(g, walk);
  else
    return false;
}

// The blocks of a written row that nothing is read for.
template <class T>
GNAS_INLINE void put_zeros(const SpmmBlocksArgs& a, int64_t row) {
  if (a.deaths == nullptr) return;
  const int64_t group = a.by_row && a.group != nullptr ? a.group[row] : 0;
  T* to = static_cast<T*>(a.out) + row * a.width;
  for (int64_t d = 0; d < a.deaths[group]; ++d) {
    const int64_t column = static_cast<int64_t>(a.dead[group * a.out_blocks + d]) * kBlock;
    if (a.stream)
      unrolled<kRegisters<Accumulator<T>>>(
          [&](auto r) { store_past(Vector<Accumulator<T>>{}, to + column + r * Lanes<Accumulator<T>>::count); });
    else if (column + kBlock <= a.width)
      std::memset(to + column, 0, kBlock * sizeof(T));
    else
      std::memset(to + column, 0, (a.width - column) * sizeof(T));
  }
}

template <class G>
Accumulator<typename G::Element> scale_of(const G& g, int64_t row) {
  using T = typename G::Element;
  const int64_t degree = static_cast<int64_t>(g.indptr[row + 1]) - static_cast<int64_t>(g.indptr[row]);
  return g.a.mean && degree > 1 ? 1 / static_cast<Accumulator<T>>(degree) : 1;
}

template <class T>
Accumulator<T>* slot_of(const SpmmBlocksArgs& a, int64_t slot) {
  return static_cast<Accumulator<T>*>(a.carry) + slot * a.blocks * kBlock;
}

// The rows of a chunk, and its pieces of divided rows.
template <class G, class Kernel>
void run_chunk(const G& g, int64_t chunk, const Kernel& kernel) {
  using T = typename G::Element;
  const SpmmBlocksArgs& a = g.a;
  walk_chunk(
      g.indptr, a.rows, a.nnz, a.chunks, chunk,
      [&](int64_t row, int64_t from, int64_t until) GNAS_INLINED {
        kernel(g, Piece<T>{from, until, nullptr, row, scale_of(g, row)});
        put_zeros<T>(a, row);
      },
      [&](int64_t slot, int64_t row, int64_t from, int64_t until) {
        // What the row's group leaves out is added up with the rest.
        std::memset(slot_of<T>(a, slot), 0, a.blocks * kBlock * sizeof(Accumulator<T>));
        sum_piece(g, Piece<T>{from, until, slot_of<T>(a, slot), row, 1});
      });
}

template <class G>
void run_chunks_of(const SpmmBlocksArgs& a, int64_t chunk_begin, int64_t chunk_end) {
  using T = typename G::Element;
  G g(a);
  const int64_t wanted = edges_ahead(a.row_bytes, kBytesAhead, kMostAhead);
  for (int64_t chunk = chunk_begin; chunk < chunk_end; ++chunk) {
    const int64_t begin = cut_at(g.indptr, a.rows, a.nnz, a.chunks, chunk).edge;
    const int64_t end = cut_at(g.indptr, a.rows, a.nnz, a.chunks, chunk + 1).edge;
    g.ahead = wanted < a.nnz - end ? wanted : a.nnz - end;
    // With the entries that are looked up ahead: their group is read, not only guessed at.
    if (!inside(a, g.indices, g.edge, begin, end + g.ahead)) continue;
    if (!with_whole_row<kMostBlocks<Accumulator<T>>>(g, [&](const auto& kernel) { run_chunk(g, chunk, kernel); }))
      run_chunk(g, chunk, [](const G& graph, const Piece<T>& p) { sum_piece(graph, p); });
  }
  finish_past();
}

template <class T, class I, bool kRagged>
void run_chunks(const SpmmBlocksArgs& a, int64_t chunk_begin, int64_t chunk_end) {
  // For the types that most models have, for the size of the library.
  if constexpr (std::is_same_v<T, float> || std::is_same_v<T, bf16>) {
    if (a.weight == nullptr) return run_chunks_of<Graph<T, I, Weights::none, kRagged>>(a, chunk_begin, chunk_end);
    if (a.edge == nullptr) return run_chunks_of<Graph<T, I, Weights::entry, kRagged>>(a, chunk_begin, chunk_end);
  }
  run_chunks_of<Graph<T, I, Weights::looked_up, kRagged>>(a, chunk_begin, chunk_end);
}

// Puts the pieces of divided rows together, in their order.
template <class T, class I>
void run_carry(const SpmmBlocksArgs& a) {
  using A = Accumulator<T>;
  const Graph<T, I, Weights::looked_up, false> g(a);
  for_divided_rows(
      g.indptr, a.rows, a.nnz, a.chunks,
      [&](int64_t into, int64_t other) {
        A* sum = slot_of<T>(a, into);
        const A* more = slot_of<T>(a, other);
        for (int64_t f = 0; f < a.blocks * kBlock; ++f) sum[f] += more[f];
      },
      [&](int64_t row, int64_t from) {
        const A scale = scale_of(g, row);
        const A* sum = slot_of<T>(a, from);
        for (int64_t block = 0; block < a.blocks; ++block) {
          const int64_t column = static_cast<int64_t>(a.column[block]) * kBlock;
          T* to = static_cast<T*>(a.out) + row * a.width + column;
          const int64_t width = a.width - column < kBlock ? a.width - column : kBlock;
          for (int64_t f = 0; f < width; ++f) narrow(static_cast<A>(scale * sum[block * kBlock + f]), to + f);
        }
        put_zeros<T>(a, row);
      });
}

}  // namespace

void spmm_blocks_rows(const SpmmBlocksArgs& a, int64_t chunk_begin, int64_t chunk_end) {
  with_types(a.dtype, a.wide_index, [&](auto element, auto index) {
    using T = decltype(element);
    using I = decltype(index);
    if (a.begin != nullptr)
      run_chunks<T, I, true>(a, chunk_begin, chunk_end);
    else
      run_chunks<T, I, false>(a, chunk_begin, chunk_end);
  });
}

void spmm_blocks_carry(const SpmmBlocksArgs& a) {
  with_types(a.dtype, a.wide_index,
             [&](auto element, auto index) { run_carry<decltype(element), decltype(index)>(a); });
}

void copy_blocks(const CopyBlocksArgs& a, int64_t row_begin, int64_t row_end) {
  const int64_t block = kBlockColumns * a.element;
  for (int64_t row = row_begin; row < row_end; ++row) {
    const int64_t group = a.group == nullptr ? 0 : a.group[row];
    const char* from = static_cast<const char*>(a.x) + row * a.width * a.element;
    char* to = static_cast<char*>(a.to) + row * a.to_stride * a.element;
    for (int32_t k = 0; k < a.count[group]; ++k, to += block) {
      const int64_t at = a.column[a.live[group * a.blocks + k]] * block;
      const int64_t bytes = a.width * a.element - at;
      if (__builtin_expect(bytes >= block, 1)) {
        if (block == 64)
          std::memcpy(to, from + at, 64);  // a length that the compiler knows
        else
          std::memcpy(to, from + at, block);
      } else {
        std::memcpy(to, from + at, bytes);
        std::memset(to + bytes, 0, block - bytes);
      }
    }
  }
}

}  // namespace gnas::GNAS_ISA
