#include "core/found.cuh"
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
  __device__ bool writes() const { return turn == 0 && inside; }

  int turn;
  int turns;
  int64_t column;
  bool inside;
};

// Entries begin … end of one segment: every lane of the team has then what all of them found in its columns.
template <class T, class I, Fold fold, int kPack>
__device__ Found<Accumulator<T>, I, fold, kPack> walk(const SegmentArgs& a, const Place<kPack>& at, int lanes,
                                                      int64_t begin, int64_t end) {
  using A = Accumulator<T>;
  const T* src = static_cast<const T*>(a.src) + at.column;
  const int64_t first = begin + at.turn;
  Found<A, I, fold, kPack> found(first < end ? static_cast<I>(first) : kNowhere<I>);
  for (int64_t base = first; base < end && at.inside; base += kAhead * at.turns) {
    Pack<T, kPack> ahead[kAhead];
#pragma unroll
    for (int u = 0; u < kAhead; ++u)
      if (base + u * at.turns < end) ahead[u] = load<kPack>(src + (base + u * at.turns) * a.width);
#pragma unroll
    for (int u = 0; u < kAhead; ++u) {
      if (base + u * at.turns >= end) continue;
#pragma unroll
      for (int c = 0; c < kPack; ++c)
        found.add(c, static_cast<A>(widen(ahead[u].at[c])), static_cast<I>(base + u * at.turns));
    }
  }
  __syncwarp();
  found.fold_lanes(lanes, lanes * at.turns);
  return found;
}

template <class T, class I, Fold fold, int kPack>
__device__ void put(const SegmentArgs& a, Found<Accumulator<T>, I, fold, kPack>& found, int64_t row, int64_t column,
                    int64_t entries) {
  using A = Accumulator<T>;
  const int64_t to = row * a.width + column;
  if (found.kExtreme && entries == 0) found.none();
  const A scale = a.reduce == Reduce::mean && entries > 1 ? A{1} / static_cast<A>(entries) : A{1};
  store_scaled(found.value, scale, static_cast<T*>(a.out) + to);
  if constexpr (found.kExtreme) {
    if (a.arg != nullptr) store(found.winner, static_cast<I*>(a.arg) + to);
  }
}

template <class T, class I, Fold fold, int kPack>
__global__ void __launch_bounds__(kThreads, 4) segment_kernel(SegmentArgs a, Shape shape) {
  const I* indptr = static_cast<const I*>(a.indptr);
  if (blockIdx.x < shape.front) {
    const Place<kPack> at(shape, a.width, kWarp);
    for_pieces(shape.hubs, shape.front, indptr, [&](int64_t, int64_t begin, int64_t end, int64_t piece) {
      const auto found = walk<T, I, fold, kPack>(a, at, shape.lanes, begin, end);
      if (at.writes()) found.put(shape.partial, shape.partial_winner, piece * a.width + at.column);
    });
    return;
  }
  const Place<kPack> at(shape, a.width, shape.team);
  for_team_rows(shape.hubs, shape.front, indptr, a.rows, a.nnz, shape.team,
                [&](int64_t row, int64_t begin, int64_t end) {
                  auto found = walk<T, I, fold, kPack>(a, at, shape.lanes, begin, end);
                  if (at.writes() && row >= 0) put<T, I, fold, kPack>(a, found, row, at.column, end - begin);
                });
}

template <class T, class I, Fold fold>
__global__ void segment_hubs_kernel(SegmentArgs a, Shape shape) {
  using F = Found<Accumulator<T>, I, fold, 1>;
  for_found_hubs<F>(shape.hubs, static_cast<const I*>(a.indptr), shape.partial, shape.partial_winner, a.width,
                    [&](F& found, int64_t row, int64_t column, int64_t entries) {
                      put<T, I, fold, 1>(a, found, row, column, entries);
                    });
}

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

template <class T, class I, Fold fold, int kPack>
int run(const SegmentArgs& a, void* scratch, cudaStream_t on) {
  Shape shape{};
  dim3 grid;
  const int error = prepare<I>(a, kPack, scratch, on, shape, grid);
  if (error != cudaSuccess) return error;
  if (shape.hubs.split > 0) {
    shape.partial = static_cast<uint8_t*>(scratch) + shape.hubs.bytes();
    shape.partial_winner = static_cast<Accumulator<T>*>(shape.partial) + shape.hubs.piece_room * a.width;
  }
  launch(segment_kernel<T, I, fold, kPack>, grid, kThreads, on, a, shape);
  return launch_hubs(segment_hubs_kernel<T, I, fold>, shape.hubs, a.width, on, a, shape);
}

template <class T, class I, int kPack>
int run(const SegmentArgs& a, void* scratch, cudaStream_t on) {
  if (a.reduce == Reduce::max) return run<T, I, Fold::max, kPack>(a, scratch, on);
  if (a.reduce == Reduce::min) return run<T, I, Fold::min, kPack>(a, scratch, on);
  return run<T, I, Fold::sum, kPack>(a, scratch, on);
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
