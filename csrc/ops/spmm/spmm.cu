#include "core/extreme.cuh"
#include "core/hubs.cuh"
#include "core/pack.cuh"
#include "ops/spmm/spmm.h"

namespace gnas {
namespace {

using namespace cuda;

// Lanes stand beside each other on a gathered row, 16 bytes each, and a warp's lanes that are left take other edges of
// the same row: of 64 floats a warp reads two rows at once, and several more before it needs the first. What the lanes
// of different edges have is folded at the end, in a fixed order. Rows of very many edges are taken in pieces.
constexpr unsigned kAll = 0xffffffffu;
constexpr int kAhead = 4;  // rows that a lane has under way
constexpr int kThreads = kWarp * kWarpsPerBlock;

enum class Mode { sum, extreme, select };

struct Shape {
  Hubs hubs;
  void* partial;         // [pieces, width], accumulator type
  void* partial_winner;  // [pieces, width], index type
  unsigned front;        // blocks that take pieces
  int lanes;             // on a row of x
};

template <class T, class I, Mode mode, int kPack>
struct Columns {
  using A = Accumulator<T>;

  __device__ Columns(const SpmmArgs& args, int lanes_of_row)
      : a(args),
        lanes(lanes_of_row),
        turn(lane() / lanes_of_row),
        groups(kWarp / lanes_of_row),
        column((static_cast<int64_t>(blockIdx.y) * lanes_of_row + lane() % lanes_of_row) * kPack),
        inside(column < args.width),
        sign(args.reduce == Reduce::min ? A{-1} : A{1}) {}

  __device__ void clear() {
#pragma unroll
    for (int c = 0; c < kPack; ++c) {
      value.at[c] = 0;
      winner.at[c] = -1;
    }
  }

  __device__ void fold(const Pack<T, kPack>& x, A weight, int64_t source, int64_t e, int64_t place) {
#pragma unroll
    for (int c = 0; c < kPack; ++c) {
      const A product = weight * static_cast<A>(widen(x.at[c]));
      if constexpr (mode == Mode::sum) {
        value.at[c] += product;
      } else if constexpr (mode == Mode::select) {
        const I chosen = static_cast<const I*>(a.select)[source * a.width + column + c];
        if (static_cast<int64_t>(chosen) == place) value.at[c] += product;
      } else if (leads(sign, product, static_cast<I>(e), value.at[c], winner.at[c])) {
        value.at[c] = product;
        winner.at[c] = static_cast<I>(e);
      }
    }
  }

  __device__ void merge(const Pack<A, kPack>& other, const Pack<I, kPack>& other_winner) {
#pragma unroll
    for (int c = 0; c < kPack; ++c) {
      if constexpr (mode != Mode::extreme) {
        value.at[c] += other.at[c];
      } else if (leads(sign, other.at[c], other_winner.at[c], value.at[c], winner.at[c])) {
        value.at[c] = other.at[c];
        winner.at[c] = other_winner.at[c];
      }
    }
  }

  // Edges begin … end of one row, and then every lane has what all lanes of its columns found.
  __device__ void walk(int64_t begin, int64_t end) {
    const I* indices = static_cast<const I*>(a.indices);
    const I* edge = static_cast<const I*>(a.edge);
    const T* weight = static_cast<const T*>(a.weight);
    const T* x = static_cast<const T*>(a.x);
    const bool by_head = a.heads > 1;
    const int64_t head = by_head ? column / (a.width / a.heads) : 0;
    for (int64_t batch = begin; batch < end; batch += kWarp) {
      const int64_t mine = batch + lane();
      I my_source = 0;
      I my_place = 0;
      A my_weight = 1;
      if (mine < end) {
        my_source = indices[mine];
        my_place = edge == nullptr ? static_cast<I>(mine) : edge[mine];
        require(static_cast<uint64_t>(my_source) < static_cast<uint64_t>(a.cols) &&
                static_cast<uint64_t>(my_place) < static_cast<uint64_t>(a.nnz));
        if (weight != nullptr && !by_head) my_weight = widen(weight[my_place]);
      }
      const int count = static_cast<int>(end - batch < kWarp ? end - batch : kWarp);
      for (int base = 0; base < count; base += groups * kAhead) {
        Pack<T, kPack> ahead[kAhead];
        A w[kAhead];
        int64_t source[kAhead];
        int64_t place[kAhead];
#pragma unroll
        for (int u = 0; u < kAhead; ++u) {
          const int k = base + u * groups + turn;
          source[u] = __shfl_sync(kAll, my_source, k % kWarp);
          w[u] = __shfl_sync(kAll, my_weight, k % kWarp);
          if (mode == Mode::select || by_head) place[u] = __shfl_sync(kAll, my_place, k % kWarp);
          if (k < count && inside) {
            ahead[u] = load<kPack>(x + source[u] * a.width + column);
            if (by_head) w[u] = widen(weight[place[u] * a.heads + head]);
          }
        }
#pragma unroll
        for (int u = 0; u < kAhead; ++u) {
          const int k = base + u * groups + turn;
          if (k < count && inside) fold(ahead[u], w[u], source[u], batch + k, place[u]);
        }
      }
    }
    fold_lanes();
  }

  __device__ void fold_lanes() {
    for (int apart = lanes; apart < kWarp; apart *= 2) {
      Pack<A, kPack> other;
      Pack<I, kPack> other_winner;
#pragma unroll
      for (int c = 0; c < kPack; ++c) {
        other.at[c] = __shfl_xor_sync(kAll, value.at[c], apart);
        if (mode == Mode::extreme) other_winner.at[c] = __shfl_xor_sync(kAll, winner.at[c], apart);
      }
      merge(other, other_winner);
    }
  }

  __device__ bool writes() const { return turn == 0 && inside; }

  __device__ void put_partial(const Shape& shape, int64_t piece) const {
    if (!writes()) return;
    store(value, static_cast<A*>(shape.partial) + piece * a.width + column);
    if (mode == Mode::extreme) store(winner, static_cast<I*>(shape.partial_winner) + piece * a.width + column);
  }

  __device__ void add_partials(const Shape& shape, int64_t first, int64_t pieces) {
    for (int64_t k = turn; k < pieces && inside; k += groups) {
      Pack<I, kPack> other_winner;
      const int64_t at = (first + k) * a.width + column;
      const Pack<A, kPack> other = load<kPack>(static_cast<const A*>(shape.partial) + at);
      if (mode == Mode::extreme) other_winner = load<kPack>(static_cast<const I*>(shape.partial_winner) + at);
      merge(other, other_winner);
    }
    __syncwarp();
    fold_lanes();
  }

  __device__ void put(int64_t row, int64_t degree) const {
    if (!writes()) return;
    const A scale = a.reduce == Reduce::mean && degree > 1 ? A{1} / static_cast<A>(degree) : A{1};
    const int64_t place = row * a.width + column;
    Pack<A, kPack> result;
#pragma unroll
    for (int c = 0; c < kPack; ++c) result.at[c] = scale * value.at[c];
    if (a.out != nullptr) put_narrow(result, static_cast<T*>(a.out) + place);
    if (mode == Mode::extreme && a.arg != nullptr) store(winner, static_cast<I*>(a.arg) + place);
    if (mode == Mode::sum && a.hop_weight != nullptr) put_hop(result, place);
  }

  // What a hop of propagate adds to the sum over hops.
  __device__ void put_hop(const Pack<A, kPack>& result, int64_t place) const {
    const A* hop_weight = static_cast<const A*>(a.hop_weight);
    Pack<A, kPack> sum;
    if (a.hop == 1) {
      const Pack<T, kPack> first = load<kPack>(static_cast<const T*>(a.first) + place);
#pragma unroll
      for (int c = 0; c < kPack; ++c) sum.at[c] = hop_weight[0] * static_cast<A>(widen(first.at[c]));
    } else {
      // Not load(): this very lane writes it back.
      const Pack<A, kPack>* before = reinterpret_cast<const Pack<A, kPack>*>(static_cast<const A*>(a.sum) + place);
      sum = *before;
    }
#pragma unroll
    for (int c = 0; c < kPack; ++c) sum.at[c] += hop_weight[a.hop] * result.at[c];
    if (a.final != nullptr)
      put_narrow(sum, static_cast<T*>(a.final) + place);
    else
      store(sum, static_cast<A*>(a.sum) + place);
  }

  __device__ static void put_narrow(const Pack<A, kPack>& from, T* to) {
    Pack<T, kPack> narrowed;
#pragma unroll
    for (int c = 0; c < kPack; ++c) narrow(from.at[c], &narrowed.at[c]);
    store(narrowed, to);
  }

  const SpmmArgs& a;
  int lanes;
  int turn;
  int groups;
  int64_t column;
  bool inside;
  A sign;
  Pack<A, kPack> value;
  Pack<I, kPack> winner;
};

template <class T, class I, Mode mode, int kPack>
__global__ void __launch_bounds__(kThreads) spmm_kernel(SpmmArgs a, Shape shape) {
  Columns<T, I, mode, kPack> mine(a, shape.lanes);
  for_rows_and_pieces(shape.hubs, shape.front, static_cast<const I*>(a.indptr), a.rows, a.nnz,
                      [&](int64_t row, int64_t begin, int64_t end, int64_t piece) {
                        mine.clear();
                        mine.walk(begin, end);
                        if (piece < 0)
                          mine.put(row, end - begin);
                        else
                          mine.put_partial(shape, piece);
                      });
}

template <class T, class I, Mode mode, int kPack>
__global__ void spmm_hubs_kernel(SpmmArgs a, Shape shape) {
  Columns<T, I, mode, kPack> mine(a, shape.lanes);
  const I* indptr = static_cast<const I*>(a.indptr);
  for (int64_t h = first_row(); h < shape.hubs.hubs(); h += row_stride()) {
    const Hub hub = shape.hubs.hub[h];
    mine.clear();
    mine.add_partials(shape, hub.first, hub.pieces);
    mine.put(hub.row, static_cast<int64_t>(indptr[hub.row + 1]) - static_cast<int64_t>(indptr[hub.row]));
  }
}

// Of numbers of all columns of all pieces; what stands behind them is aligned as they are.
int64_t partial_bytes(const SpmmArgs& a, const Hubs& h, int64_t element) {
  return (h.piece_room * a.width * element + kPackBytes - 1) / kPackBytes * kPackBytes;
}

template <class T, class I, Mode mode, int kPack>
int run(const SpmmArgs& a, void* scratch, cudaStream_t on) {
  using A = Accumulator<T>;
  Shape shape{hubs_in(a.nnz, scratch), nullptr, nullptr, 0, lanes_of((a.width + kPack - 1) / kPack)};
  const int64_t columns = int64_t{shape.lanes} * kPack;
  const int64_t tiles = (a.width + columns - 1) / columns;
  if (tiles > 65535) return cudaErrorInvalidConfiguration;
  if (shape.hubs.split > 0) {
    shape.front = piece_blocks(shape.hubs);
    shape.partial = static_cast<uint8_t*>(scratch) + shape.hubs.bytes();
    shape.partial_winner = static_cast<uint8_t*>(shape.partial) + partial_bytes(a, shape.hubs, sizeof(A));
    const int error = find_hubs<I>(shape.hubs, a.indptr, a.rows, a.nnz, on);
    if (error != cudaSuccess) return error;
  }
  const auto y = static_cast<unsigned>(tiles);
  launch(spmm_kernel<T, I, mode, kPack>, dim3(shape.front + row_blocks(a.rows), y), kThreads, on, a, shape);
  if (shape.hubs.split > 0)
    launch(spmm_hubs_kernel<T, I, mode, kPack>, dim3(hub_blocks(shape.hubs), y), kThreads, on, a, shape);
  return cudaGetLastError();
}

template <class T, class I, int kPack>
int run_mode(const SpmmArgs& a, void* scratch, cudaStream_t on) {
  if (a.select != nullptr) return run<T, I, Mode::select, kPack>(a, scratch, on);
  if (a.reduce == Reduce::max || a.reduce == Reduce::min) return run<T, I, Mode::extreme, kPack>(a, scratch, on);
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
    constexpr int kPack = kPackBytes / static_cast<int>(sizeof(T));
    const auto on = static_cast<cudaStream_t>(stream);
    // A pack belongs to one head.
    const bool packs = a.width / a.heads % kPack == 0 && all_aligned(a);
    error = packs ? run_mode<T, I, kPack>(a, scratch, on) : run_mode<T, I, 1>(a, scratch, on);
  });
  return error;
}

}  // namespace gnas
