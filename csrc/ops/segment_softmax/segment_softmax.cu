#include "core/hubs.cuh"
#include "core/teams.cuh"
#include "ops/segment_softmax/segment_softmax.h"

namespace gnas {
namespace {

using namespace cuda;

// A team of lanes takes a row: heads stand beside each other in the lanes, as in memory, and the lanes that are left
// take further entries. Rows of the usual length stay in registers between the two looks at them. Rows of very many
// entries are taken in pieces: what each comes to, what they come to together, and then what is written. All folds run
// in a fixed order, without atomics.
constexpr int kHeld = 4;  // entries that a lane keeps, and has under way at once
constexpr int kThreads = kWarp * kWarpsPerBlock;
// Blocks on a multiprocessor: a lane has little under way, so that many are wanted.
template <class T, bool backward>
constexpr int kBlocks = sizeof(T) == 8 ? 3
                        : backward     ? 5
                                       : 6;

struct Shape {
  Hubs hubs;
  void* partial;   // of pieces: [pieces, 2, heads], accumulator type: maximum and sum, of the first that of all
  unsigned front;  // blocks that take pieces
  int tile;        // lanes on an entry, a head each
  int team;        // lanes on a row
};

// Of scores: their maximum, and the sum of exp(score - maximum). Backward: the sum alone.
template <class A, bool backward>
struct Sum {
  A maximum = -static_cast<A>(INFINITY);
  A sum = 0;

  __device__ bool low() const { return maximum == -static_cast<A>(INFINITY); }
  __device__ A floor() const { return low() ? A{0} : maximum; }
  // Raises the maximum. Where there was none, the sum is 0, or NaN.
  __device__ void raise(A value) {
    if (!(value > maximum)) return;
    sum *= low() ? A{1} : exp(maximum - value);
    maximum = value;
  }
  __device__ void add(A other_maximum, A other_sum) {
    if (backward) {
      sum += other_sum;
    } else {
      raise(other_maximum);
      sum += other_maximum == -static_cast<A>(INFINITY) ? other_sum : other_sum * exp(other_maximum - maximum);
    }
  }
  // Over lanes that are so far apart, and twice as far, and so on.
  __device__ void add_lanes(int apart, int until) {
    for (; apart < until; apart *= 2) {
      const A other_maximum = backward ? A{0} : __shfl_xor_sync(kAllLanes, maximum, apart);
      add(other_maximum, __shfl_xor_sync(kAllLanes, sum, apart));
    }
  }
};

// A lane's head, and every so many-th entry of its team's row.
template <class T, bool backward>
struct Lane {
  using A = Accumulator<T>;
  static constexpr int kHeldGrad = backward ? kHeld : 1;

  __device__ Lane(const SegmentSoftmaxArgs& args, const Shape& shape, int team_lanes)
      : a(args),
        team(team_lanes),
        tile(shape.tile),
        head(static_cast<int64_t>(blockIdx.y) * shape.tile + lane() % shape.tile),
        first(lane() % team_lanes / shape.tile),
        step(team_lanes / shape.tile),
        apart(team_lanes / shape.tile * static_cast<int>(args.heads)),
        mine(head < args.heads) {}

  struct Held {
    A x[kHeld];
    A grad[kHeldGrad];
  };

  // How many of the entries from e on there are, if not more than are held.
  __device__ int left(int64_t e, int64_t end) const {
    if (!mine || e >= end) return 0;
    return end - e < kHeld * step ? static_cast<int>(end - e) : kHeld * step;
  }
  __device__ int64_t at(int64_t e) const { return e * a.heads + head; }

  // From entry e on; nothing where there are no more.
  __device__ void read(int64_t e, int64_t end, Held& to) const {
    const int count = left(e, end);
    const T* x = static_cast<const T*>(a.x) + at(e);
    const T* grad = static_cast<const T*>(a.grad) + at(e);
#pragma unroll
    for (int u = 0; u < kHeld; ++u) {
      const bool there = u * step < count;
      to.x[u] = there ? static_cast<A>(widen(x[u * apart])) : backward ? A{0} : low();
      if (backward) to.grad[u % kHeldGrad] = there ? static_cast<A>(widen(grad[u * apart])) : A{0};
    }
  }
  __device__ static A low() { return -static_cast<A>(INFINITY); }

  __device__ static A highest_of(const Held& held) {
    A highest = low();
#pragma unroll
    for (int u = 0; u < kHeld; ++u)
      if (held.x[u] > highest) highest = held.x[u];
    return highest;
  }
  __device__ static void add(const Held& held, Sum<A, backward>& sum) {
#pragma unroll
    for (int u = 0; u < kHeld; ++u)
      sum.sum += backward ? held.x[u] * held.grad[u % kHeldGrad] : exp(held.x[u] - sum.floor());
  }
  __device__ void add_entries(int64_t e, int64_t end, Sum<A, backward>& sum) const {
    for (; e < end; e += kHeld * step) {
      Held held;
      read(e, end, held);
      if (!backward) sum.raise(highest_of(held));
      add(held, sum);
    }
  }

  // What is held, for which `result` says what to write.
  template <class F>
  __device__ void write(int64_t e, int64_t end, const F& result) const {
    const int count = left(e, end);
    T* out = static_cast<T*>(a.out) + at(e);
#pragma unroll
    for (int u = 0; u < kHeld; ++u)
      if (u * step < count) narrow(result(u), out + u * apart);
  }
  __device__ static A share(const Held& held, int u, const Sum<A, backward>& sum, A scale) {
    return backward ? held.x[u] * (held.grad[u % kHeldGrad] - sum.sum) : exp(held.x[u] - sum.floor()) * scale;
  }
  __device__ void write_entries(int64_t e, int64_t end, const Sum<A, backward>& sum, A scale) const {
    for (; e < end; e += kHeld * step) {
      Held held;
      read(e, end, held);
      write(e, end, [&](int u) { return share(held, u, sum, scale); });
    }
  }
  __device__ static A scale_of(const Sum<A, backward>& sum) { return sum.sum == A{0} ? A{0} : A{1} / sum.sum; }

  // The whole row. All lanes of the warp must come.
  __device__ void row(int64_t begin, int64_t end) const {
    const int64_t e = begin + first;
    Held held;
    read(e, end, held);
    Sum<A, backward> sum;
    add_entries(e + kHeld * step, end, sum);
    __syncwarp();
    if (backward) {
      add(held, sum);
    } else {
      // The maximum first: then each entry that is held needs one exp.
      A highest = sum.maximum > highest_of(held) ? sum.maximum : highest_of(held);
      for (int lanes = tile; lanes < team; lanes *= 2) {
        const A other = __shfl_xor_sync(kAllLanes, highest, lanes);
        if (other > highest) highest = other;
      }
      sum.raise(highest);
#pragma unroll
      for (int u = 0; u < kHeld; ++u) {
        held.x[u] = exp(held.x[u] - sum.floor());
        sum.sum += held.x[u];
      }
    }
    for (int lanes = tile; lanes < team; lanes *= 2) sum.sum += __shfl_xor_sync(kAllLanes, sum.sum, lanes);
    const A scale = backward ? A{1} : scale_of(sum);
    write(e, end, [&](int u) { return backward ? share(held, u, sum, scale) : held.x[u] * scale; });
    write_entries(e + kHeld * step, end, sum, scale);
  }

  __device__ A* state(const Shape& shape, int64_t piece) const {
    return static_cast<A*>(shape.partial) + piece * 2 * a.heads + head;
  }

  const SegmentSoftmaxArgs& a;
  int team;
  int tile;
  int64_t head;
  int first;
  int step;   // from an entry of the lane to its next
  int apart;  // the same in memory
  bool mine;
};

// The first blocks take pieces, a warp each, and write what they come to; the others take rows.
template <class T, class I, bool backward>
__global__ void __launch_bounds__(kThreads, kBlocks<T, backward>)
    segment_softmax_kernel(SegmentSoftmaxArgs a, Shape shape) {
  using A = Accumulator<T>;
  const I* indptr = static_cast<const I*>(a.indptr);
  if (blockIdx.x < shape.front) {
    const Lane<T, backward> of(a, shape, kWarp);
    for_pieces(shape.hubs, shape.front, indptr, [&](int64_t, int64_t begin, int64_t end, int64_t piece) {
      Sum<A, backward> sum;
      of.add_entries(begin + of.first, end, sum);
      __syncwarp();
      sum.add_lanes(of.tile, kWarp);
      if (!of.mine || of.first != 0) return;
      of.state(shape, piece)[0] = sum.maximum;
      of.state(shape, piece)[a.heads] = sum.sum;
    });
    return;
  }
  const Lane<T, backward> of(a, shape, shape.team);
  for_team_rows(shape.hubs, shape.front, indptr, a.rows, a.nnz, shape.team,
                [&](int64_t, int64_t begin, int64_t end) { of.row(begin, end); });
}

// A block takes a hub: what its pieces come to together stands where that of the first was.
template <class T, bool backward>
__global__ void __launch_bounds__(kThreads) merge_pieces_kernel(SegmentSoftmaxArgs a, Shape shape) {
  using A = Accumulator<T>;
  __shared__ A parts[kWarpsPerBlock][2][kWarp];
  const Lane<T, backward> of(a, shape, kWarp);
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  for (int64_t number = blockIdx.x; number < shape.hubs.hubs(); number += gridDim.x) {
    const Hub hub = shape.hubs.hub[number];
    Sum<A, backward> sum;
    if (of.mine) {
#pragma unroll 4
      for (int64_t k = warp * of.step + of.first; k < hub.pieces; k += kWarpsPerBlock * of.step) {
        const A* state = of.state(shape, hub.first + k);
        sum.add(state[0], state[a.heads]);
      }
    }
    __syncwarp();
    sum.add_lanes(of.tile, kWarp);
    parts[warp][0][lane()] = sum.maximum;
    parts[warp][1][lane()] = sum.sum;
    __syncthreads();
    if (warp == 0 && of.first == 0 && of.mine) {
      for (int w = 1; w < kWarpsPerBlock; ++w) sum.add(parts[w][0][lane()], parts[w][1][lane()]);
      of.state(shape, hub.first)[0] = sum.maximum;
      of.state(shape, hub.first)[a.heads] = sum.sum;
    }
    __syncthreads();
  }
}

template <class T, class I, bool backward>
__global__ void __launch_bounds__(kThreads) write_pieces_kernel(SegmentSoftmaxArgs a, Shape shape) {
  const Lane<T, backward> of(a, shape, kWarp);
  for_pieces(shape.hubs, gridDim.x, static_cast<const I*>(a.indptr),
             [&](int64_t, int64_t begin, int64_t end, int64_t piece) {
               if (!of.mine) return;
               const int64_t first = piece - shape.hubs.piece[piece].number;
               Sum<Accumulator<T>, backward> sum;
               sum.maximum = of.state(shape, first)[0];
               sum.sum = of.state(shape, first)[a.heads];
               of.write_entries(begin + of.first, end, sum, of.scale_of(sum));
             });
}

template <class T, class I, bool backward>
int run(const SegmentSoftmaxArgs& a, void* scratch, cudaStream_t on) {
  Shape shape{hubs_in(a.nnz, scratch), nullptr, 0, 1, kWarp};
  while (shape.tile < a.heads && shape.tile < kWarp) shape.tile *= 2;
  shape.team = team_of(a.rows, a.nnz, shape.tile, kHeld);
  const int64_t tiles = (a.heads + shape.tile - 1) / shape.tile;
  if (tiles > 65535 || a.heads > int64_t{1} << 24) return cudaErrorInvalidConfiguration;
  const auto y = static_cast<unsigned>(tiles);
  const bool divided = shape.hubs.split > 0;
  if (divided) {
    shape.front = piece_blocks(shape.hubs);
    shape.partial = static_cast<uint8_t*>(scratch) + shape.hubs.bytes();
    const int error = find_hubs<I>(shape.hubs, a.indptr, a.rows, a.nnz, on);
    if (error != cudaSuccess) return error;
  }
  launch(segment_softmax_kernel<T, I, backward>, dim3(shape.front + team_blocks(a.rows, shape.team), y), kThreads, on,
         a, shape);
  if (divided) {
    launch(merge_pieces_kernel<T, backward>, dim3(blocks_of_hubs(shape.hubs), y), kThreads, on, a, shape);
    launch(write_pieces_kernel<T, I, backward>, dim3(shape.front, y), kThreads, on, a, shape);
  }
  return cudaGetLastError();
}

}  // namespace

int64_t segment_softmax_cuda_scratch(const SegmentSoftmaxArgs& a) {
  const Hubs h = hubs_of(a.nnz);
  return h.bytes() + h.piece_room * 2 * a.heads * (a.dtype == Dtype::f64 ? 8 : 4);
}

int segment_softmax_cuda(const SegmentSoftmaxArgs& a, void* scratch, void* stream) {
  if (a.rows == 0 || a.nnz == 0 || a.heads == 0) return cudaSuccess;
  int error = cudaSuccess;
  with_types(a.dtype, a.wide_index, [&](auto element, auto index) {
    using T = decltype(element);
    using I = decltype(index);
    const auto on = static_cast<cudaStream_t>(stream);
    error = a.grad == nullptr ? run<T, I, false>(a, scratch, on) : run<T, I, true>(a, scratch, on);
  });
  return error;
}

}  // namespace gnas
