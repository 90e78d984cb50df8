#include "core/hub_sums.cuh"
#include "core/pack.cuh"
#include "core/runs.cuh"
#include "core/share.cuh"
#include "ops/spmm_blocks/spmm_blocks.h"

namespace gnas {
namespace {

using namespace cuda;

// As spmm: lanes stand beside each other on a gathered row, 16 bytes each, and those that are left take other edges of
// the same row. They stand on live blocks alone: those of the row's list. Where groups are of rows that are read, there
// is one list, of the blocks that are live in any group, and each edge's own dead blocks are not read.
constexpr int kAhead = 4;
constexpr int kThreads = kWarp * kWarpsPerBlock;
constexpr int kBlock = static_cast<int>(kBlockColumns);

struct Lists {
  int32_t* order;  // [lists, block_count], the live blocks first, each part ascending
  int32_t* live;   // [lists], how many are
  int64_t lists;

  int64_t bytes(int64_t block_count) const { return (4 * lists * (block_count + 1) + 255) / 256 * 256; }
};

struct Shape {
  Runs runs;
  Lists lists;
  void* partial;   // [pieces, 16 * block_count], accumulator type, in the order of the list
  unsigned width;  // of a row of x
  bool by_edge;    // each edge has its own blocks
};

__device__ inline bool is_live(const SpmmBlocksCall& a, int64_t entry) {
  return a.rank != nullptr ? a.rank[entry] >= 0 : a.blocks[entry];
}

// A warp a list. Tensors without elements are null here: that of rows when there are none, that of groups too.
__global__ void list_blocks_kernel(SpmmBlocksCall a, Lists lists, bool by_edge) {
  for (int64_t list = first_row(); list < lists.lists; list += row_stride()) {
    int32_t* order = lists.order + list * a.block_count;
    int32_t found = 0;
    int32_t live = 0;
    for (int part = 0; part < 2; ++part) {
      const bool wanted = part == 0;
      for (int64_t first = 0; first < a.block_count; first += kWarp) {
        const int64_t block = first + lane();
        bool on = false;
        if (block < a.block_count) {
          const int64_t groups = by_edge || a.groups == 0 ? a.groups : 1;
          for (int64_t g = 0; g < groups && !on; ++g) on = is_live(a, (list + g) * a.block_count + block);
        }
        const bool mine = block < a.block_count && on == wanted;
        const unsigned bits = __ballot_sync(kAllLanes, mine);
        if (mine) order[found + __popc(bits & ((1u << lane()) - 1))] = static_cast<int32_t>(block);
        found += __popc(bits);
      }
      if (wanted) live = found;
    }
    if (lane() == 0) lists.live[list] = live;
  }
}

// Where this lane stands: on 16 bytes of a block of the row's list; which edges of 32 it takes: turn, turn + groups …
struct Lanes {
  int lanes;  // on a row
  int turn;
  int groups;
  int block;
  int within;  // its first column of the block
  int place;   // of that column among those of the list
  bool inside;
};

// An edge, where a lane has it: how to find the blocks of its source.
template <class I>
struct Source {
  I row;  // or the block that the row begins at
  int group;
};

// Where a source has what this lane reads; null where that is dead.
template <class T, class I>
__device__ inline const T* block_of(const SpmmBlocksCall& a, const Shape& shape, const Lanes& lanes,
                                    const Source<I>& source) {
  const T* x = static_cast<const T*>(a.x);
  const int64_t entry = source.group * a.block_count + lanes.block;
  if (a.begin == nullptr) {
    if (shape.by_edge && !a.blocks[entry]) return nullptr;
    return x + offset_of(source.row, shape.width) + lanes.block * kBlock + lanes.within;
  }
  const int32_t rank = a.rank[entry];
  if (rank < 0) return nullptr;
  const int64_t stored = static_cast<int64_t>(source.row) + rank;
  require(static_cast<uint64_t>(stored) < static_cast<uint64_t>(a.stored));
  return x + stored * kBlock + lanes.within;
}

// What edges of a row come to in the columns of this lane.
template <class T, int kPack, class I>
__device__ inline void sum_edges(const SpmmBlocksCall& a, const Shape& shape, const Lanes& lanes, const Edges<I>& edges,
                                 Accumulator<T> (&v)[kPack]) {
  using A = Accumulator<T>;
  const I* indices = static_cast<const I*>(a.indices) + edges.begin;
  const I* edge = static_cast<const I*>(a.edge);
  const T* weight = static_cast<const T*>(a.weight);
#pragma unroll
  for (int c = 0; c < kPack; ++c) v[c] = 0;
  I column = edges.column;
  for (int batch = 0; batch < edges.count; batch += kWarp) {
    const int count = edges.count - batch < kWarp ? edges.count - batch : kWarp;
    Source<I> mine{column, 0};
    column = column_of(indices, batch + kWarp, edges.count);
    A my_weight = 1;
    if (lane() < count) {
      const I row = mine.row;
      require(static_cast<uint64_t>(row) < static_cast<uint64_t>(a.cols));
      if (shape.by_edge) mine.group = a.group[row];
      require(mine.group < a.groups);
      if (a.begin != nullptr) mine.row = static_cast<const I*>(a.begin)[row];
      if (weight != nullptr) {
        int64_t place = int64_t{edges.begin} + batch + lane();
        if (edge != nullptr) place = edge[place];
        require(static_cast<uint64_t>(place) < static_cast<uint64_t>(a.nnz));
        my_weight = widen(weight[place]);
      }
    }
    for (int base = 0; base < count; base += lanes.groups * kAhead) {
      Pack<T, kPack> ahead[kAhead];
      bool live[kAhead];
#pragma unroll
      for (int u = 0; u < kAhead; ++u) {
        const int k = base + u * lanes.groups + lanes.turn;
        const Source<I> source{from_lane(mine.row, k), from_lane(mine.group, k)};
        const T* from = nullptr;
        if (k < count && lanes.inside) from = block_of<T>(a, shape, lanes, source);
        live[u] = from != nullptr;
        if (live[u]) ahead[u] = load<kPack>(from);
      }
#pragma unroll
      for (int u = 0; u < kAhead; ++u) {
        const A w = from_lane(my_weight, base + u * lanes.groups + lanes.turn);
        if (!live[u]) continue;
#pragma unroll
        for (int c = 0; c < kPack; ++c) v[c] += w * static_cast<A>(widen(ahead[u].at[c]));
      }
    }
  }
}

template <class T>
__device__ inline Accumulator<T> scale_of(const SpmmBlocksCall& a, int64_t degree) {
  using A = Accumulator<T>;
  return a.mean && degree > 1 ? A{1} / static_cast<A>(degree) : A{1};
}

// Which list a row has.
__device__ inline int64_t list_of(const SpmmBlocksCall& a, int64_t row) {
  if (!a.by_row || a.group == nullptr) return 0;
  const int64_t group = a.group[row];
  require(group < a.groups);
  return group;
}

template <class T, class I, int kPack>
__global__ void __launch_bounds__(kThreads, sizeof(T) == 8 ? 3 : 4) spmm_blocks_kernel(SpmmBlocksCall a, Shape shape) {
  using A = Accumulator<T>;
  constexpr int kOfBlock = kBlock / kPack;  // lanes on a block
  const int width = static_cast<int>(a.width);
  const auto take = [&](const Edges<I>& edges) {
    const int64_t list = list_of(a, edges.row);
    const int32_t* order = shape.lists.order + list * a.block_count;
    const int packs = shape.lists.live[list] * kOfBlock;
    for (int first = 0; first < packs;) {
      const int left = packs - first;
      Lanes lanes{kWarp, 0, 1, 0, 0, 0, false};
      while (lanes.lanes / 2 >= left) lanes.lanes /= 2;
      lanes.turn = lane() / lanes.lanes;
      lanes.groups = kWarp / lanes.lanes;
      const int pack = first + lane() % lanes.lanes;
      first += lanes.lanes;
      if (pack < packs) {
        lanes.block = order[pack / kOfBlock];
        lanes.within = pack % kOfBlock * kPack;
        lanes.place = pack * kPack;
        lanes.inside = lanes.block * kBlock + lanes.within < width;
      }
      A v[kPack];
      sum_edges<T, kPack, I>(a, shape, lanes, edges, v);
      const Share share = sum_and_share(v, kWarp / 2, lanes.lanes);
      if (!lanes.inside || !share.only) continue;
      if (edges.piece >= 0) {
        A* to = static_cast<A*>(shape.partial) + edges.piece * (a.block_count * kBlock) + lanes.place + share.first;
        store_share(v, share.count, true, to, kPack);
        continue;
      }
      const A scale = scale_of<T>(a, edges.count);
      T narrowed[kPack];
#pragma unroll
      for (int c = 0; c < kPack; ++c) narrow(scale * v[c], &narrowed[c]);
      T* to = static_cast<T*>(a.out) + edges.row * a.width + lanes.block * kBlock + lanes.within + share.first;
      store_share(narrowed, share.count, true, to, kPack);
    }
    if (edges.piece >= 0) return;
    // The dead blocks of the row are zeros.
    const int all = static_cast<int>(a.block_count) * kOfBlock;
    for (int pack = packs + lane(); pack < all; pack += kWarp) {
      const int column = order[pack / kOfBlock] * kBlock + pack % kOfBlock * kPack;
      if (column < width) store(Pack<T, kPack>{}, static_cast<T*>(a.out) + edges.row * a.width + column);
    }
  };
  for_runs_and_pieces(shape.runs, static_cast<const I*>(a.indptr), static_cast<const I*>(a.indices), a.rows, a.nnz,
                      take);
}

template <class T, class I>
__global__ void __launch_bounds__(kThreads) spmm_blocks_hubs_kernel(SpmmBlocksCall a, Shape shape) {
  using A = Accumulator<T>;
  const I* indptr = static_cast<const I*>(a.indptr);
  const int64_t all = a.block_count * kBlock;
  for (int64_t h = blockIdx.x; h < shape.runs.hubs.hubs(); h += gridDim.x) {
    const Hub hub = shape.runs.hubs.hub[h];
    const int64_t list = list_of(a, hub.row);
    const int64_t live = int64_t{shape.lists.live[list]} * kBlock;
    A* partial = static_cast<A*>(shape.partial);
    sum_pieces_in_place(partial, all, hub, live);
    const A scale = scale_of<T>(a, static_cast<int64_t>(indptr[hub.row + 1]) - static_cast<int64_t>(indptr[hub.row]));
    for (int64_t place = threadIdx.x; place < all; place += kThreads) {
      const int64_t column =
          int64_t{shape.lists.order[list * a.block_count + place / kBlock]} * kBlock + place % kBlock;
      if (column >= a.width) continue;
      const A sum = place < live ? partial[hub.first * all + place] : A{0};
      narrow(scale * sum, static_cast<T*>(a.out) + hub.row * a.width + column);
    }
  }
}

bool by_edge(const SpmmBlocksCall& a) { return a.group != nullptr && !a.by_row; }

Lists lists_of(const SpmmBlocksCall& a) { return {nullptr, nullptr, a.group != nullptr && a.by_row ? a.groups : 1}; }

template <class T, class I>
int run(const SpmmBlocksCall& a, const Shape& shape, cudaStream_t on) {
  constexpr int kPack = kPackBytes / static_cast<int>(sizeof(T));
  launch(list_blocks_kernel, row_blocks(shape.lists.lists), kThreads, on, a, shape.lists, shape.by_edge);
  const int error = find_hubs<I>(shape.runs.hubs, a.indptr, a.rows, a.nnz, on);
  if (error != cudaSuccess) return error;
  const unsigned blocks = run_blocks(shape.runs, a.rows);
  if (a.width % kPack == 0 && aligned(a.x) && aligned(a.out))
    launch(spmm_blocks_kernel<T, I, kPack>, blocks, kThreads, on, a, shape);
  else
    launch(spmm_blocks_kernel<T, I, 1>, blocks, kThreads, on, a, shape);
  if (shape.runs.hubs.split > 0)
    launch(spmm_blocks_hubs_kernel<T, I>, blocks_of_hubs(shape.runs.hubs), kThreads, on, a, shape);
  return cudaGetLastError();
}

}  // namespace

int64_t spmm_blocks_cuda_scratch(const SpmmBlocksCall& a) {
  const Hubs h = hubs_of(a.nnz);
  const int64_t sum = a.dtype == Dtype::f64 ? 8 : 4;
  return lists_of(a).bytes(a.block_count) + h.bytes() + h.piece_room * a.block_count * kBlockColumns * sum;
}

int spmm_blocks_cuda(const SpmmBlocksCall& a, void* scratch, void* stream) {
  if (a.rows == 0 || a.width == 0) return cudaSuccess;
  const auto on = static_cast<cudaStream_t>(stream);
  auto* memory = static_cast<uint8_t*>(scratch);
  Shape shape{};
  shape.lists = lists_of(a);
  shape.lists.order = reinterpret_cast<int32_t*>(memory);
  shape.lists.live = shape.lists.order + shape.lists.lists * a.block_count;
  memory += shape.lists.bytes(a.block_count);
  shape.runs = runs_of(a.rows, a.nnz, memory);
  shape.partial = memory + shape.runs.hubs.bytes();
  shape.width = static_cast<unsigned>(a.width);
  shape.by_edge = by_edge(a);
  int error = cudaSuccess;
  with_types(a.dtype, a.wide_index,
             [&](auto element, auto index) { error = run<decltype(element), decltype(index)>(a, shape, on); });
  return error;
}

}  // namespace gnas
