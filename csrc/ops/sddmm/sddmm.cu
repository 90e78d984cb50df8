#include "core/edges.cuh"
#include "core/heads.cuh"
#include "core/hubs.cuh"
#include "ops/sddmm/sddmm.h"

namespace gnas {
namespace {

using namespace cuda;

// A warp takes a row, or a piece of one of very many edges. Its lanes stand on as many heads as there is room for, 16
// bytes each, and those that are left take other edges; the rows of several edges are under way at once. A head wider
// than the warp is walked in steps. Products are added up in a fixed order, so sums repeat exactly.
constexpr int kAhead = 4;  // edges that a lane has under way
constexpr int kThreads = kWarp * kWarpsPerBlock;
constexpr int kBlocks = 3;  // on a multiprocessor: enough warps to wait for memory

struct Shape {
  Hubs hubs;
  unsigned front;  // blocks that take pieces
  HeadShape heads;
};

// Every lane of a group has the sums of the edges that it stands on. Where there are enough lanes, each writes one of
// them: neighbours in memory, by one store.
template <class T, class I, class A>
__device__ inline void put(const SddmmArgs& s, const HeadLane& at, const SomeEdges<I, kAhead>& some,
                           const A (&sum)[kAhead]) {
  if (!at.inside) return;
  T* out = static_cast<T*>(s.out) + at.head;
  if (at.group < kAhead) {
#pragma unroll
    for (int u = 0; u < kAhead; ++u)
      if (some.live[u] && at.own == 0) narrow(sum[u], out + static_cast<int64_t>(some.place[u]) * s.heads);
    return;
  }
  bool live = false;
  A mine = 0;
  I place = 0;
#pragma unroll
  for (int u = 0; u < kAhead; ++u) {
    if (at.own != u) continue;
    live = some.live[u];
    mine = sum[u];
    place = some.place[u];
  }
  if (live) narrow(mine, out + static_cast<int64_t>(place) * s.heads);
}

template <class T, class I, int kPack, bool selects>
__global__ void __launch_bounds__(kThreads, kBlocks) dot_kernel(SddmmArgs s, Shape shape) {
  using A = Accumulator<T>;
  const HeadLane at(shape.heads, s.heads);
  const int width = static_cast<int>(s.width);
  const int dim = width / static_cast<int>(s.heads);
  const T* b = static_cast<const T*>(s.b);
  const auto take = [&](int64_t row, int64_t begin, int64_t end, int64_t) {
    const T* a = static_cast<const T*>(s.a) + row * s.width;
    const I* select = static_cast<const I*>(s.select) + row * s.width;
    for_edges<kAhead>(static_cast<const I*>(s.indices), static_cast<const I*>(s.edge), begin, end, s.cols, s.nnz,
                      at.turn, at.turns, true, [&](const SomeEdges<I, kAhead>& some) {
                        A sum[kAhead] = {};
                        for (int f = at.own * kPack; f < dim && at.inside; f += at.group * kPack) {
                          const int column = at.head * dim + f;
                          const Pack<A, kPack> left = widen(load<kPack>(a + column));
                          Pack<I, kPack> chosen;
                          if (selects) chosen = load<kPack>(select + column);
                          Pack<T, kPack> right[kAhead];
#pragma unroll
                          for (int u = 0; u < kAhead; ++u)
                            if (some.live[u])
                              right[u] = load<kPack>(b + static_cast<int64_t>(some.source[u]) * width + column);
#pragma unroll
                          for (int u = 0; u < kAhead; ++u) {
                            if (!some.live[u]) continue;
#pragma unroll
                            for (int c = 0; c < kPack; ++c)
                              if (!selects || chosen.at[c] == some.place[u])
                                sum[u] += left.at[c] * static_cast<A>(widen(right[u].at[c]));
                          }
                        }
                        __syncwarp();
                        sum_in_group(sum, at.group);
                        put<T>(s, at, some, sum);
                      });
  };
  for_rows_and_pieces(shape.hubs, shape.front, static_cast<const I*>(s.indptr), s.rows, s.nnz, take);
}

// add and mul: the whole row is one head.
template <class T, class I, int kPack>
__global__ void __launch_bounds__(kThreads, kBlocks) elementwise_kernel(SddmmArgs s, Shape shape) {
  using A = Accumulator<T>;
  const HeadLane at(shape.heads, 1);
  const int width = static_cast<int>(s.width);
  const T* b = static_cast<const T*>(s.b);
  const bool adds = s.pairing == Pairing::add;
  const auto take = [&](int64_t row, int64_t begin, int64_t end, int64_t) {
    const T* a = static_cast<const T*>(s.a) + row * s.width;
    for_edges<kAhead>(static_cast<const I*>(s.indices), static_cast<const I*>(nullptr), begin, end, s.cols, s.nnz,
                      at.turn, at.turns, true, [&](const SomeEdges<I, kAhead>& some) {
                        for (int f = at.own * kPack; f < width; f += at.group * kPack) {
                          const Pack<A, kPack> left = widen(load<kPack>(a + f));
                          Pack<T, kPack> right[kAhead];
#pragma unroll
                          for (int u = 0; u < kAhead; ++u)
                            if (some.live[u])
                              right[u] = load<kPack>(b + static_cast<int64_t>(some.source[u]) * width + f);
#pragma unroll
                          for (int u = 0; u < kAhead; ++u) {
                            if (!some.live[u]) continue;
                            Pack<A, kPack> result = widen(right[u]);
#pragma unroll
                            for (int c = 0; c < kPack; ++c)
                              result.at[c] = adds ? left.at[c] + result.at[c] : left.at[c] * result.at[c];
                            store_narrow(result,
                                         static_cast<T*>(s.out) + static_cast<int64_t>(some.place[u]) * width + f);
                          }
                        }
                        __syncwarp();
                      });
  };
  for_rows_and_pieces(shape.hubs, shape.front, static_cast<const I*>(s.indptr), s.rows, s.nnz, take);
}

template <class T, class I, int kPack>
int run(const SddmmArgs& s, void* scratch, cudaStream_t on) {
  const int64_t dim = s.width / s.heads;
  Shape shape{hubs_in(s.nnz, scratch), 0, head_shape(s.heads, (dim + kPack - 1) / kPack)};
  const int64_t tiles = shape.heads.tiles(s.heads);
  if (tiles > 65535 || s.width > int64_t{1} << 30) return cudaErrorInvalidConfiguration;
  if (shape.hubs.split > 0) {
    shape.front = piece_blocks(shape.hubs);
    const int error = find_hubs<I>(shape.hubs, s.indptr, s.rows, s.nnz, on);
    if (error != cudaSuccess) return error;
  }
  const dim3 grid(shape.front + row_blocks(s.rows), static_cast<unsigned>(tiles));
  if (s.pairing != Pairing::dot)
    launch(elementwise_kernel<T, I, kPack>, grid, kThreads, on, s, shape);
  else if (s.select != nullptr)
    launch(dot_kernel<T, I, kPack, true>, grid, kThreads, on, s, shape);
  else
    launch(dot_kernel<T, I, kPack, false>, grid, kThreads, on, s, shape);
  return cudaGetLastError();
}

}  // namespace

int64_t sddmm_cuda_scratch(const SddmmArgs& s) { return hubs_of(s.nnz).bytes(); }

int sddmm_cuda(const SddmmArgs& s, void* scratch, void* stream) {
  if (s.rows == 0 || s.nnz == 0) return cudaSuccess;
  int error = cudaSuccess;
  with_types(s.dtype, s.wide_index, [&](auto element, auto index) {
    using T = decltype(element);
    using I = decltype(index);
    constexpr int kPack = kPackBytes / static_cast<int>(sizeof(T));
    const auto on = static_cast<cudaStream_t>(stream);
    const bool packs = s.width / s.heads % kPack == 0 && aligned(s.a) && aligned(s.b) && aligned(s.select) &&
                       (s.pairing == Pairing::dot || aligned(s.out));
    error = packs ? run<T, I, kPack>(s, scratch, on) : run<T, I, 1>(s, scratch, on);
  });
  return error;
}

}  // namespace gnas
