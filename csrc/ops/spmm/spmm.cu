#include "core/found.cuh"
#include "ops/spmm/spmm.h"

namespace gnas {
namespace {

using namespace cuda;

// Lanes stand beside each other on a gathered row, and a warp's lanes that are left take other edges of the same row:
// of 64 floats a warp reads two rows at once. What the lanes of different edges have is folded at the end, in a fixed
// order. Rows of very many edges are taken in pieces.
//
// What hides the wait for a row is other warps: two rows under way in each of 64 warps, in 32 registers, take three
// quarters of the time of four rows in each of 24. Longer ones also waste turns, as most rows have few edges.
constexpr int kAhead = 2;
constexpr int kThreads = kWarp * kWarpsPerBlock;

// select: the sum of the edges that were chosen.
enum class Mode { sum, max, min, select };
// Where an edge's weight stands: nowhere, at the edge, at its place (if at all), or with those of other heads. What is
// not asked for takes no registers, which are what the number of warps hangs on.
enum class Weights { none, edge, place, heads };

// Columns of a lane.
template <class T>
constexpr int kWide = sizeof(T) == 8 ? 2 : 4;
// Blocks on a multiprocessor, by what fits its registers.
template <class T, class I>
constexpr int kBlocks = sizeof(T) == 8   ? 4
                        : sizeof(I) == 8 ? 6
                                         : 8;

struct Shape {
  Hubs hubs;
  void* partial;         // [pieces, width], accumulator type
  void* partial_winner;  // [pieces, width], index type
  unsigned front;        // blocks that take pieces
  int lanes;             // on a row of x
};

constexpr Fold fold_of(Mode mode) { return mode == Mode::max ? Fold::max : mode == Mode::min ? Fold::min : Fold::sum; }
template <class T, class I, Mode mode, int kPack>
using FoundBy = Found<Accumulator<T>, I, fold_of(mode), kPack>;

// Where this lane stands.
template <int kPack>
struct Place {
  __device__ Place(const SpmmArgs& a, int lanes)
      : turn(lane() / lanes),
        column((static_cast<int>(blockIdx.y) * lanes + lane() % lanes) * kPack),
        inside(column < static_cast<int>(a.width)) {}
  __device__ bool writes() const { return turn == 0 && inside; }

  int turn;  // which of the edges that a warp takes at once
  int column;
  bool inside;
};

// Edges begin … end of one row.
template <class T, class I, Mode mode, Weights weights, int kPack>
__device__ FoundBy<T, I, mode, kPack> walk(const SpmmArgs& a, const Place<kPack>& at, int lanes, I begin, I end) {
  using A = Accumulator<T>;
  constexpr bool kHeads = weights == Weights::heads;
  constexpr bool kPlaces = kHeads || mode == Mode::select;
  constexpr bool kOne = weights == Weights::edge || weights == Weights::place;
  const I* indices = static_cast<const I*>(a.indices);
  const I* edge = static_cast<const I*>(a.edge);
  const T* weight = static_cast<const T*>(a.weight);
  const T* x = static_cast<const T*>(a.x) + at.column;
  // Checked indices are not negative, and no tile begins beyond 31 bits: a product of 32 bits each is one instruction.
  using U = std::make_unsigned_t<I>;
  const auto width = static_cast<uint32_t>(a.width);
  const int groups = kWarp / lanes;
  const int64_t head = kHeads ? at.column / (a.width / a.heads) : 0;
  FoundBy<T, I, mode, kPack> found(at.turn < end - begin ? begin + at.turn : kNowhere<I>);
  for (I batch = begin; batch < end; batch += kWarp) {
    const I mine = batch + lane();
    I my_source = 0;
    I my_place = 0;
    A my_weight = 1;
    if (mine < end) {
      my_source = load_once(indices + mine);
      require(static_cast<uint64_t>(my_source) < static_cast<uint64_t>(a.cols));
      if (weights == Weights::place || kPlaces) {
        my_place = edge == nullptr ? mine : load_once(edge + mine);
        require(static_cast<uint64_t>(my_place) < static_cast<uint64_t>(a.nnz));
      }
      if (weights == Weights::edge) my_weight = widen(weight[mine]);
      if (weights == Weights::place && weight != nullptr) my_weight = widen(weight[my_place]);
    }
    const int count = end - batch < kWarp ? static_cast<int>(end - batch) : kWarp;
    for (int base = 0; base < count; base += groups * kAhead) {
      Pack<T, kPack> ahead[kAhead];
      A w[kAhead];
      I source[kAhead];
      I place[kAhead];
#pragma unroll
      for (int u = 0; u < kAhead; ++u) {
        const int k = base + u * groups + at.turn;
        source[u] = __shfl_sync(kAllLanes, my_source, static_cast<unsigned>(k) % kWarp);
        w[u] = kOne ? __shfl_sync(kAllLanes, my_weight, static_cast<unsigned>(k) % kWarp) : A{1};
        place[u] = kPlaces ? __shfl_sync(kAllLanes, my_place, static_cast<unsigned>(k) % kWarp) : I{0};
        if (k < count && at.inside) {
          ahead[u] = load<kPack>(x + static_cast<uint64_t>(static_cast<U>(source[u])) * width);
          if (kHeads) w[u] = static_cast<A>(widen(weight[static_cast<int64_t>(place[u]) * a.heads + head]));
        }
      }
#pragma unroll
      for (int u = 0; u < kAhead; ++u) {
        const int k = base + u * groups + at.turn;
        if (k >= count || !at.inside) continue;
        const I* chosen = static_cast<const I*>(a.select) + static_cast<int64_t>(source[u]) * a.width + at.column;
#pragma unroll
        for (int c = 0; c < kPack; ++c) {
          const A x_at = static_cast<A>(widen(ahead[u].at[c]));
          const A product = weights == Weights::none ? x_at : w[u] * x_at;
          if (mode != Mode::select || chosen[c] == place[u]) found.add(c, product, batch + k);
        }
      }
    }
  }
  __syncwarp();
  found.fold_lanes(lanes, kWarp);
  return found;
}

// What a hop of propagate adds to the sum over hops.
template <class T, int kPack, class A>
__device__ inline void put_hop(const SpmmArgs& a, const Pack<A, kPack>& result, int64_t place) {
  const A* hop_weight = static_cast<const A*>(a.hop_weight);
  Pack<A, kPack> sum;
  if (a.hop == 1) {
    const Pack<T, kPack> first = load<kPack>(static_cast<const T*>(a.first) + place);
#pragma unroll
    for (int c = 0; c < kPack; ++c) sum.at[c] = hop_weight[0] * static_cast<A>(widen(first.at[c]));
  } else {
    // Not load(): this very lane writes it back.
    sum = *reinterpret_cast<const Pack<A, kPack>*>(static_cast<const A*>(a.sum) + place);
  }
#pragma unroll
  for (int c = 0; c < kPack; ++c) sum.at[c] += hop_weight[a.hop] * result.at[c];
  if (a.final != nullptr)
    store_narrow(sum, static_cast<T*>(a.final) + place);
  else
    store(sum, static_cast<A*>(a.sum) + place);
}

template <class T, class I, Mode mode, int kPack>
__device__ void put(const SpmmArgs& a, FoundBy<T, I, mode, kPack>& found, int64_t row, int64_t column, int64_t degree) {
  using A = Accumulator<T>;
  const int64_t place = row * a.width + column;
  if constexpr (found.kExtreme) {
    if (degree == 0) found.none();
    if (a.arg != nullptr) store(found.winner, static_cast<I*>(a.arg) + place);
  } else {
    const A scale = a.reduce == Reduce::mean && degree > 1 ? A{1} / static_cast<A>(degree) : A{1};
#pragma unroll
    for (int c = 0; c < kPack; ++c) found.value.at[c] *= scale;
  }
  if (a.out != nullptr) store_narrow(found.value, static_cast<T*>(a.out) + place);
  if (mode == Mode::sum && a.hop_weight != nullptr) put_hop<T>(a, found.value, place);
}

template <class T, class I, Mode mode, Weights weights, int kPack>
__global__ void __launch_bounds__(kThreads, (kBlocks<T, I>)) spmm_kernel(SpmmArgs a, Shape shape) {
  const Part<I> part = part_of_warp(shape.hubs, shape.front, static_cast<const I*>(a.indptr), a.rows, a.nnz);
  if (!part.any) return;
  const Place<kPack> at(a, shape.lanes);
  auto found = walk<T, I, mode, weights, kPack>(a, at, shape.lanes, part.begin, part.end);
  if (!at.writes()) return;
  if (blockIdx.x < shape.front)
    found.put(shape.partial, shape.partial_winner, piece_of_warp() * a.width + at.column);
  else
    put<T, I, mode, kPack>(a, found, row_of_warp(shape.front), at.column, part.end - part.begin);
}

template <class T, class I, Mode mode>
__global__ void spmm_hubs_kernel(SpmmArgs a, Shape shape) {
  using F = FoundBy<T, I, mode, 1>;
  for_found_hubs<F>(shape.hubs, static_cast<const I*>(a.indptr), shape.partial, shape.partial_winner, a.width,
                    [&](F& found, int64_t row, int64_t column, int64_t entries) {
                      put<T, I, mode, 1>(a, found, row, column, entries);
                    });
}

// Of numbers of all columns of all pieces; what stands behind them is aligned as they are.
int64_t partial_bytes(const SpmmArgs& a, const Hubs& h, int64_t element) {
  return (h.piece_room * a.width * element + kPackBytes - 1) / kPackBytes * kPackBytes;
}

template <class T, class I, Mode mode, int kPack>
int run(const SpmmArgs& a, void* scratch, cudaStream_t on) {
  Shape shape{hubs_in(a.nnz, scratch), nullptr, nullptr, 0, lanes_of((a.width + kPack - 1) / kPack)};
  const int64_t columns = int64_t{shape.lanes} * kPack;
  const int64_t tiles = (a.width + columns - 1) / columns;
  if (tiles > 65535) return cudaErrorInvalidConfiguration;
  if (shape.hubs.split > 0) {
    shape.front = pieces_at_once(shape.hubs);
    shape.partial = static_cast<uint8_t*>(scratch) + shape.hubs.bytes();
    shape.partial_winner = static_cast<uint8_t*>(shape.partial) + partial_bytes(a, shape.hubs, sizeof(Accumulator<T>));
    const int error = find_hubs<I>(shape.hubs, a.indptr, a.rows, a.nnz, on);
    if (error != cudaSuccess) return error;
  }
  const dim3 grid(shape.front + row_blocks(a.rows), static_cast<unsigned>(tiles));
  const auto start = [&](auto kernel) { launch(kernel, grid, kThreads, on, a, shape); };
  if (a.heads > 1) {
    start(spmm_kernel<T, I, mode, Weights::heads, kPack>);
  } else if (a.weight == nullptr && a.edge == nullptr) {
    start(spmm_kernel<T, I, mode, Weights::none, kPack>);
  } else if (a.edge == nullptr && kPack > 1 && mode != Mode::select) {
    start(spmm_kernel<T, I, mode, Weights::edge, kPack>);
  } else {  // places are looked at where there are no weights too: one that is out of range is refused
    start(spmm_kernel<T, I, mode, Weights::place, kPack>);
  }
  return launch_hubs(spmm_hubs_kernel<T, I, mode>, shape.hubs, a.width, on, a, shape);
}

template <class T, class I, int kPack>
int run_mode(const SpmmArgs& a, void* scratch, cudaStream_t on) {
  if (a.select != nullptr) return run<T, I, Mode::select, kPack>(a, scratch, on);
  if (a.reduce == Reduce::max) return run<T, I, Mode::max, kPack>(a, scratch, on);
  if (a.reduce == Reduce::min) return run<T, I, Mode::min, kPack>(a, scratch, on);
  return run<T, I, Mode::sum, kPack>(a, scratch, on);
}

bool all_aligned(const SpmmArgs& a) {
  return aligned(a.x) && aligned(a.out) && aligned(a.arg) && aligned(a.first) && aligned(a.sum) && aligned(a.final);
}

}  // namespace

int64_t spmm_cuda_scratch(const SpmmArgs& a) {
  const Hubs h = hubs_of(a.nnz);
  const bool extreme = a.reduce == Reduce::max || a.reduce == Reduce::min;
  return h.bytes() + partial_bytes(a, h, a.dtype == Dtype::f64 ? 8 : 4) +
         (extreme ? partial_bytes(a, h, a.wide_index ? 8 : 4) : 0);
}

int spmm_cuda(const SpmmArgs& a, void* scratch, void* stream) {
  if (a.rows == 0 || a.width == 0) return cudaSuccess;
  int error = cudaSuccess;
  with_types(a.dtype, a.wide_index, [&](auto element, auto index) {
    using T = decltype(element);
    using I = decltype(index);
    const auto on = static_cast<cudaStream_t>(stream);
    // A pack belongs to one head.
    const bool packs = a.width / a.heads % kWide<T> == 0 && all_aligned(a);
    error = packs ? run_mode<T, I, kWide<T>>(a, scratch, on) : run_mode<T, I, 1>(a, scratch, on);
  });
  return error;
}

}  // namespace gnas
