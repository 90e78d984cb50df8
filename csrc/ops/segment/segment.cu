#include "core/extreme.cuh"
#include "core/heads.cuh"
#include "core/hub_sums.cuh"
#include "core/teams.cuh"
#include "ops/segment/segment.h"

namespace gnas {
namespace {

using namespace cuda;

// Lanes stand beside each other on an entry, 16 bytes each, and as many such groups as the usual segment needs take its
// entries by turns, several under way each; a warp takes several segments where these are few. What the groups have is
// folded at the end, in a fixed order. Segments of very many entries are taken in pieces.
constexpr int kAhead = 4;  // entries that a lane has under way
constexpr int kThreads = kWarp * kWarpsPerBlock;

struct Shape {
  Hubs hubs;
  void* partial;         // of pieces: [pieces, width], accumulator type
  void* partial_winner;  // [pieces, width], index type
  unsigned front;        // blocks that take pieces
  int lanes;             // on an entry
  int team;              // on a segment
};

// A lane's pack of columns.
template <int kPack>
struct Place {
  __device__ Place(const Shape& shape, int64_t width, int team)
      : turn(lane() % team / shape.lanes),
        turns(team / shape.lanes),
        column((static_cast<int64_t>(blockIdx.y) * shape.lanes + lane() % shape.lanes) * kPack),
        inside(column < width) {}

  int turn;
  int turns;
  int64_t column;
  bool inside;
};

template <class T, class I, bool extreme, int kPack>
struct Columns {
  using A = Accumulator<T>;
  static constexpr int kWinners = extreme ? kPack : 1;

  __device__ Columns(const SegmentArgs& args, const Shape& shape, int team)
      : a(args), at(shape, args.width, team), sign(args.reduce == Reduce::min ? A{-1} : A{1}) {}

  __device__ void clear() {
#pragma unroll
    for (int c = 0; c < kPack; ++c) {
      value.at[c] = 0;
      winner.at[c % kWinners] = -1;
    }
  }
  __device__ void merge(int c, A other, I other_winner) {
    if (!extreme) {
      value.at[c] += other;
    } else if (leads(sign, other, other_winner, value.at[c], winner.at[c % kWinners])) {
      value.at[c] = other;
      winner.at[c % kWinners] = other_winner;
    }
  }
  __device__ void walk(int64_t begin, int64_t end) {
    const T* src = static_cast<const T*>(a.src) + at.column;
    for (int64_t base = begin + at.turn; base < end && at.inside; base += kAhead * at.turns) {
      Pack<T, kPack> ahead[kAhead];
#pragma unroll
      for (int u = 0; u < kAhead; ++u)
        if (base + u * at.turns < end) ahead[u] = load<kPack>(src + (base + u * at.turns) * a.width);
#pragma unroll
      for (int u = 0; u < kAhead; ++u) {
        if (base + u * at.turns >= end) continue;
#pragma unroll
        for (int c = 0; c < kPack; ++c)
          merge(c, static_cast<A>(widen(ahead[u].at[c])), static_cast<I>(base + u * at.turns));
      }
    }
    __syncwarp();
  }
  // Then every lane has what all lanes of its columns and its team found.
  __device__ void fold_lanes(int lanes, int team) {
    for (int apart = lanes; apart < team; apart *= 2) {
#pragma unroll
      for (int c = 0; c < kPack; ++c) {
        const A other = __shfl_xor_sync(kAllLanes, value.at[c], apart);
        merge(c, other, extreme ? __shfl_xor_sync(kAllLanes, winner.at[c % kWinners], apart) : I{0});
      }
    }
  }
  __device__ bool writes() const { return at.turn == 0 && at.inside; }

  __device__ void put_partial(const Shape& shape, int64_t piece) const {
    if (!writes()) return;
    const int64_t to = piece * a.width + at.column;
    store(value, static_cast<A*>(shape.partial) + to);
    if constexpr (extreme) store(winner, static_cast<I*>(shape.partial_winner) + to);
  }
  __device__ void put(int64_t row, int64_t entries) const {
    if (!writes() || row < 0) return;
    const A scale = a.reduce == Reduce::mean && entries > 1 ? A{1} / static_cast<A>(entries) : A{1};
    const int64_t to = row * a.width + at.column;
    store_scaled(value, scale, static_cast<T*>(a.out) + to);
    if constexpr (extreme) {
      if (a.arg != nullptr) store(winner, static_cast<I*>(a.arg) + to);
    }
  }

  const SegmentArgs& a;
  Place<kPack> at;
  A sign;
  Pack<A, kPack> value;
  Pack<I, kWinners> winner;
};

template <class T, class I, bool extreme, int kPack>
__global__ void __launch_bounds__(kThreads, 4) segment_kernel(SegmentArgs a, Shape shape) {
  const I* indptr = static_cast<const I*>(a.indptr);
  if (blockIdx.x < shape.front) {
    Columns<T, I, extreme, kPack> mine(a, shape, kWarp);
    for_pieces(shape.hubs, shape.front, indptr, [&](int64_t, int64_t begin, int64_t end, int64_t piece) {
      mine.clear();
      mine.walk(begin, end);
      mine.fold_lanes(shape.lanes, kWarp);
      mine.put_partial(shape, piece);
    });
    return;
  }
  Columns<T, I, extreme, kPack> mine(a, shape, shape.team);
  for_team_rows(shape.hubs, shape.front, indptr, a.rows, a.nnz, shape.team,
                [&](int64_t row, int64_t begin, int64_t end) {
                  mine.clear();
                  mine.walk(begin, end);
                  mine.fold_lanes(shape.lanes, shape.team);
                  mine.put(row, end - begin);
                });
}

// Max and min of hubs: a block takes a hub and columns; as in sum_pieces_kernel, its warps take pieces by turns.
template <class T, class I>
__global__ void merge_extremes_kernel(SegmentArgs a, Shape shape) {
  using A = Accumulator<T>;
  __shared__ A values[kWarpsPerBlock][kWarp];
  __shared__ I winners[kWarpsPerBlock][kWarp];
  const A sign = a.reduce == Reduce::min ? A{-1} : A{1};
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int64_t column = static_cast<int64_t>(blockIdx.y) * kWarp + lane();
  for (int64_t number = blockIdx.x; number < shape.hubs.hubs(); number += gridDim.x) {
    const Hub hub = shape.hubs.hub[number];
    A value = 0;
    I winner = -1;
    const auto merge = [&](A other, I other_winner) {
      if (!leads(sign, other, other_winner, value, winner)) return;
      value = other;
      winner = other_winner;
    };
    if (column < a.width) {
#pragma unroll 4
      for (int64_t k = warp; k < hub.pieces; k += kWarpsPerBlock) {
        const int64_t from = (hub.first + k) * a.width + column;
        merge(static_cast<const A*>(shape.partial)[from], static_cast<const I*>(shape.partial_winner)[from]);
      }
    }
    values[warp][lane()] = value;
    winners[warp][lane()] = winner;
    __syncthreads();
    if (warp == 0 && column < a.width) {
      for (int w = 1; w < kWarpsPerBlock; ++w) merge(values[w][lane()], winners[w][lane()]);
      narrow(value, static_cast<T*>(a.out) + hub.row * a.width + column);
      if (a.arg != nullptr) static_cast<I*>(a.arg)[hub.row * a.width + column] = winner;
    }
    __syncthreads();
  }
}

// What a sum is multiplied by.
template <class A, class I>
struct Scale {
  const I* indptr;  // null: nothing, for sums
  __device__ A operator()(int64_t row) const {
    return indptr == nullptr ? A{1} : A{1} / static_cast<A>(indptr[row + 1] - indptr[row]);
  }
};

template <class T, class I, int kPack, bool selects>
__global__ void __launch_bounds__(kThreads, 4) gather_segments_kernel(GatherSegmentsArgs a, Shape shape) {
  const I* indptr = static_cast<const I*>(a.indptr);
  T* out = static_cast<T*>(a.out);
  const auto repeat = [&](const Place<kPack>& at, int64_t row, int64_t begin, int64_t end) {
    if (!at.inside || row < 0 || begin + at.turn >= end) return;
    const Pack<T, kPack> value = load<kPack>(static_cast<const T*>(a.src) + row * a.width + at.column);
    Pack<I, kPack> chosen;
    if (selects) chosen = load<kPack>(static_cast<const I*>(a.select) + row * a.width + at.column);
#pragma unroll 4
    for (int64_t e = begin + at.turn; e < end; e += at.turns) {
      Pack<T, kPack> result = value;
      if (selects) {
#pragma unroll
        for (int c = 0; c < kPack; ++c)
          if (static_cast<int64_t>(chosen.at[c]) != e) narrow(Accumulator<T>{0}, &result.at[c]);
      }
      store(result, out + e * a.width + at.column);
    }
  };
  if (blockIdx.x < shape.front) {
    const Place<kPack> at(shape, a.width, kWarp);
    for_pieces(shape.hubs, shape.front, indptr,
               [&](int64_t row, int64_t begin, int64_t end, int64_t) { repeat(at, row, begin, end); });
    return;
  }
  const Place<kPack> at(shape, a.width, shape.team);
  for_team_rows(shape.hubs, shape.front, indptr, a.rows, a.nnz, shape.team,
                [&](int64_t row, int64_t begin, int64_t end) { repeat(at, row, begin, end); });
}

// Finds the hubs; sets the grid of a kernel that takes pieces and rows.
template <class I, class Args>
int prepare(const Args& a, int pack, void* scratch, cudaStream_t on, Shape& shape, dim3& grid) {
  shape.hubs = hubs_in(a.nnz, scratch);
  shape.lanes = lanes_of((a.width + pack - 1) / pack);
  shape.team = team_of(a.rows, a.nnz, shape.lanes, kAhead);
  const int64_t columns = int64_t{shape.lanes} * pack;
  const int64_t tiles = (a.width + columns - 1) / columns;
  if (tiles > 65535) return cudaErrorInvalidConfiguration;
  if (shape.hubs.split > 0) shape.front = piece_blocks(shape.hubs);
  grid = dim3(shape.front + team_blocks(a.rows, shape.team), static_cast<unsigned>(tiles));
  return find_hubs<I>(shape.hubs, a.indptr, a.rows, a.nnz, on);
}

template <class T, class I, int kPack>
int run(const SegmentArgs& a, void* scratch, cudaStream_t on) {
  using A = Accumulator<T>;
  Shape shape{};
  dim3 grid;
  const int error = prepare<I>(a, kPack, scratch, on, shape, grid);
  if (error != cudaSuccess) return error;
  if (shape.hubs.split > 0) {
    shape.partial = static_cast<uint8_t*>(scratch) + shape.hubs.bytes();
    shape.partial_winner = static_cast<A*>(shape.partial) + shape.hubs.piece_room * a.width;
  }
  if (a.reduce != Reduce::max && a.reduce != Reduce::min) {
    launch(segment_kernel<T, I, false, kPack>, grid, kThreads, on, a, shape);
    const Scale<A, I> scale{a.reduce == Reduce::mean ? static_cast<const I*>(a.indptr) : nullptr};
    return sum_pieces<T>(shape.hubs, shape.partial, a.width, scale, a.out, on);
  }
  launch(segment_kernel<T, I, true, kPack>, grid, kThreads, on, a, shape);
  if (shape.hubs.split > 0) {
    const int64_t tiles = (a.width + kWarp - 1) / kWarp;
    if (tiles > 65535) return cudaErrorInvalidConfiguration;
    launch(merge_extremes_kernel<T, I>, dim3(blocks_of_hubs(shape.hubs), static_cast<unsigned>(tiles)), kThreads, on, a,
           shape);
  }
  return cudaGetLastError();
}

template <class T, class I, int kPack>
int run(const GatherSegmentsArgs& a, void* scratch, cudaStream_t on) {
  Shape shape{};
  dim3 grid;
  const int error = prepare<I>(a, kPack, scratch, on, shape, grid);
  if (error != cudaSuccess) return error;
  if (a.select != nullptr)
    launch(gather_segments_kernel<T, I, kPack, true>, grid, kThreads, on, a, shape);
  else
    launch(gather_segments_kernel<T, I, kPack, false>, grid, kThreads, on, a, shape);
  return cudaGetLastError();
}

template <class Args>
int run_packs(const Args& a, bool packs, void* scratch, void* stream) {
  int error = cudaSuccess;
  with_types(a.dtype, a.wide_index, [&](auto element, auto index) {
    using T = decltype(element);
    using I = decltype(index);
    constexpr int kPack = kPackBytes / static_cast<int>(sizeof(T));
    const auto on = static_cast<cudaStream_t>(stream);
    error = packs && a.width % kPack == 0 ? run<T, I, kPack>(a, scratch, on) : run<T, I, 1>(a, scratch, on);
  });
  return error;
}

}  // namespace

int64_t segment_cuda_scratch(const SegmentArgs& a) {
  const Hubs h = hubs_of(a.nnz);
  const bool extreme = a.reduce == Reduce::max || a.reduce == Reduce::min;
  const int64_t winner = !extreme ? 0 : a.wide_index ? 8 : 4;
  return h.bytes() + h.piece_room * a.width * ((a.dtype == Dtype::f64 ? 8 : 4) + winner);
}

int64_t gather_segments_cuda_scratch(const GatherSegmentsArgs& a) { return hubs_of(a.nnz).bytes(); }

int segment_cuda(const SegmentArgs& a, void* scratch, void* stream) {
  if (a.rows == 0 || a.width == 0) return cudaSuccess;
  return run_packs(a, aligned(a.src) && aligned(a.out) && aligned(a.arg), scratch, stream);
}

int gather_segments_cuda(const GatherSegmentsArgs& a, void* scratch, void* stream) {
  if (a.nnz == 0 || a.width == 0 || a.rows == 0) return cudaSuccess;
  return run_packs(a, aligned(a.src) && aligned(a.out) && aligned(a.select), scratch, stream);
}

}  // namespace gnas
