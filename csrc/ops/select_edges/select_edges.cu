#include "core/device.cuh"
#include "ops/select_edges/select_edges.h"

namespace gnas {
namespace {

using namespace cuda;

constexpr int kWord = 32;                          // entries a word of bits here: one a lane
constexpr int kBlockWords = kSelectBlock / kWord;  // words a block of entries
constexpr int kThreads = kBlockWords;              // threads that take a block: one a word in the sums
constexpr int kWarps = kThreads / kWarp;
constexpr int kScanThreads = 1024;

__device__ inline uint32_t* live_words(const SelectArgs& a) { return reinterpret_cast<uint32_t*>(a.live); }

template <class I>
__device__ inline int64_t place_of(const SelectArgs& a, int64_t e) {
  if (a.edge == nullptr) return e;
  const int64_t place = static_cast<const I*>(a.edge)[e];
  require(static_cast<uint64_t>(place) < static_cast<uint64_t>(a.nnz));
  return place;
}

__device__ inline bool bit_at(const SelectArgs& a, int64_t place) {
  return a.mask == nullptr || (a.mask[place >> 3] >> (place & 7) & 1) != 0;
}

// The new name of an entry's column; -1 where it has none.
template <class I>
__device__ inline int64_t name_of(const SelectArgs& a, int64_t e) {
  const int64_t c = static_cast<const I*>(a.indices)[e];
  require(static_cast<uint64_t>(c) < static_cast<uint64_t>(a.cols));
  return a.remap == nullptr ? c : static_cast<int64_t>(static_cast<const I*>(a.remap)[c]);
}

template <class I>
__device__ inline bool is_live(const SelectArgs& a, int64_t e) {
  return bit_at(a, place_of<I>(a, e)) && name_of<I>(a, e) >= 0;
}

// What the numbers of the threads before this one in its block come to, and those of all kCount of them.
template <int kCount, class N>
__device__ inline N sum_before(N own, N* all) {
  __shared__ N sums[kCount];
  const int t = static_cast<int>(threadIdx.x);
  sums[t] = own;
  __syncthreads();
  for (int apart = 1; apart < kCount; apart *= 2) {
    const N other = t >= apart ? sums[t - apart] : 0;
    __syncthreads();
    sums[t] += other;
    __syncthreads();
  }
  const N before = sums[t] - own;
  *all = sums[kCount - 1];
  __syncthreads();
  return before;
}

// Marks what is live and counts it: a block of threads a block of entries.
template <class I>
__global__ void live_kernel(SelectArgs a) {
  for (int64_t block = blockIdx.x; block < a.blocks(); block += gridDim.x) {
    for (int word = static_cast<int>(threadIdx.x) / kWarp; word < kBlockWords; word += kWarps) {
      const int64_t first = block * kSelectBlock + word * kWord;
      if (first >= a.words() * kSelectWord) break;
      const int64_t e = first + lane();
      const uint32_t bits = __ballot_sync(0xffffffffu, e < a.nnz && is_live<I>(a, e));
      if (lane() == 0) live_words(a)[first / kWord] = bits;
    }
    __syncthreads();
    const int64_t mine = block * kBlockWords + threadIdx.x;
    int all = 0;
    sum_before<kThreads>(mine < 2 * a.words() ? __popc(live_words(a)[mine]) : 0, &all);
    if (threadIdx.x == 0) a.base[block] = all;
  }
}

// Numbers become the sum of those before them; what all come to. By one block of threads, so that no other has to be
// waited for.
__device__ inline int64_t scan(int64_t* number, int64_t count) {
  int64_t carried = 0;
  for (int64_t first = 0; first < count; first += kScanThreads) {
    const int64_t at = first + threadIdx.x;
    int64_t all = 0;
    const int64_t before = sum_before<kScanThreads>(at < count ? number[at] : int64_t{0}, &all);
    if (at < count) number[at] = carried + before;
    carried += all;
  }
  return carried;
}

// What all come to is written behind them.
__global__ void scan_kernel(int64_t* number, int64_t count) {
  const int64_t all = scan(number, count);
  if (threadIdx.x == 0) number[count] = all;
}

// kept: the mask by words of 64, without bits beyond the last entry; rank: how many bits each has.
__global__ void kept_kernel(SelectArgs a) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t w = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; w < a.words(); w += step) {
    uint64_t bits = 0;
    for (int64_t place = w * kSelectWord; place < (w + 1) * kSelectWord && place < a.nnz; ++place)
      bits |= static_cast<uint64_t>(bit_at(a, place)) << (place % kSelectWord);
    a.kept[w] = bits;
    a.rank[w] = __popcll(bits);
  }
}

// rank has no room behind its last word for what all come to, which nobody needs.
__global__ void rank_kernel(SelectArgs a) { scan(a.rank, a.words()); }

// Writes entry e as number `out` of what is left.
template <class I, class W>
__device__ inline void put(const SelectArgs& a, int64_t e, int64_t out) {
  static_cast<I*>(a.out_indices)[out] = static_cast<I>(name_of<I>(a, e));
  const int64_t place = place_of<I>(a, e);
  if (a.out_weight != nullptr) static_cast<W*>(a.out_weight)[out] = static_cast<const W*>(a.weight)[place];
  if (a.out_edge == nullptr) return;
  int64_t where = place;
  if (a.places == Places::kept) {
    where = out;
    if (a.edge != nullptr) {
      const int64_t w = place / kSelectWord;
      where = a.rank[w] + __popcll(a.kept[w] & ((uint64_t{1} << (place % kSelectWord)) - 1));
    }
  }
  static_cast<I*>(a.out_edge)[out] = static_cast<I>(where);
}

template <class I, class W>
__global__ void copy_kernel(SelectArgs a) {
  __shared__ int before[kBlockWords];
  const int t = static_cast<int>(threadIdx.x);
  for (int64_t block = blockIdx.x; block < a.blocks(); block += gridDim.x) {
    const int64_t mine = block * kBlockWords + t;
    int all = 0;
    before[t] = sum_before<kThreads>(mine < 2 * a.words() ? __popc(live_words(a)[mine]) : 0, &all);
    __syncthreads();
    for (int word = t / kWarp; word < kBlockWords; word += kWarps) {
      const int64_t first = block * kSelectBlock + word * kWord;
      if (first >= a.nnz) break;
      const uint32_t bits = live_words(a)[first / kWord];
      if ((bits >> lane() & 1) != 0)
        put<I, W>(a, first + lane(), a.base[block] + before[word] + __popc(bits & ((1u << lane()) - 1)));
    }
    __syncthreads();
  }
}

// Where each row begins among what is left.
template <class I>
__global__ void pointer_kernel(SelectArgs a) {
  const I* indptr = static_cast<const I*>(a.indptr);
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; row <= a.rows; row += step) {
    const int64_t entry = indptr[row];
    require(entry >= 0 && entry <= a.nnz && (row == a.rows || entry <= indptr[row + 1]));
    const int64_t block = entry / kSelectBlock;
    int64_t out = a.base[block < a.blocks() ? block : a.blocks()];
    if (entry < a.nnz) {
      for (int64_t w = block * kBlockWords; w < entry / kWord; ++w) out += __popc(live_words(a)[w]);
      out += __popc(live_words(a)[entry / kWord] & ((1u << (entry % kWord)) - 1));
    } else {
      out = a.base[a.blocks()];
    }
    static_cast<I*>(a.out_indptr)[row] = static_cast<I>(out);
  }
}

struct Range {
  int64_t begin;
  int64_t end;
};

template <class I>
__device__ inline Range listed_row(const SelectArgs& a, int64_t i) {
  const int64_t row = static_cast<const I*>(a.listed)[i];
  require(static_cast<uint64_t>(row) < static_cast<uint64_t>(a.rows));
  const I* indptr = static_cast<const I*>(a.indptr);
  const Range range{static_cast<int64_t>(indptr[row]), static_cast<int64_t>(indptr[row + 1])};
  require(range.begin >= 0 && range.begin <= range.end && range.end <= a.nnz);
  return range;
}

// A warp a listed row: how many of its entries are live.
template <class I>
__global__ void count_rows_kernel(SelectArgs a) {
  for (int64_t i = first_row(); i < a.out_rows; i += row_stride()) {
    const Range range = listed_row<I>(a, i);
    int64_t count = 0;
    for (int64_t first = range.begin; first < range.end; first += kWarp) {
      const int64_t e = first + lane();
      count += __popc(__ballot_sync(0xffffffffu, e < range.end && is_live<I>(a, e)));
    }
    if (lane() == 0) a.base[i] = count;
  }
}

template <class I, class W>
__global__ void copy_rows_kernel(SelectArgs a) {
  for (int64_t i = first_row(); i < a.out_rows; i += row_stride()) {
    const Range range = listed_row<I>(a, i);
    int64_t out = a.base[i];
    if (lane() == 0) static_cast<I*>(a.out_indptr)[i] = static_cast<I>(out);
    for (int64_t first = range.begin; first < range.end; first += kWarp) {
      const int64_t e = first + lane();
      const bool live = e < range.end && is_live<I>(a, e);
      const uint32_t bits = __ballot_sync(0xffffffffu, live);
      if (live) put<I, W>(a, e, out + __popc(bits & ((1u << lane()) - 1)));
      out += __popc(bits);
    }
  }
  if (blockIdx.x == 0 && threadIdx.x == 0)
    static_cast<I*>(a.out_indptr)[a.out_rows] = static_cast<I>(a.base[a.out_rows]);
}

// A renaming is read by every entry: it is checked once.
template <class I>
__global__ void check_names_kernel(const I* remap, int64_t count, int64_t cols) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t c = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; c < count; c += step)
    require(remap[c] >= -1 && static_cast<int64_t>(remap[c]) < cols);
}

unsigned grid(int64_t blocks) {
  constexpr int64_t kMost = int64_t{1} << 30;
  return static_cast<unsigned>(blocks < 1 ? 1 : blocks < kMost ? blocks : kMost);
}

template <class F>
void with_index(bool wide, const F& f) {
  if (wide)
    f(int64_t{});
  else
    f(int32_t{});
}

}  // namespace

int select_count_cuda(const SelectArgs& a, int64_t* total, void* stream) {
  const auto on = static_cast<cudaStream_t>(stream);
  const int64_t numbers = a.listed != nullptr ? a.out_rows : a.blocks();
  if (a.remap != nullptr && a.cols > 0) {
    with_index(a.wide_index, [&](auto index) {
      using I = decltype(index);
      launch(check_names_kernel<I>, grid((a.cols + 255) / 256), 256, on, static_cast<const I*>(a.remap), a.cols,
             a.new_cols);
    });
  }
  if (a.places == Places::kept && a.edge != nullptr && a.nnz > 0) {
    launch(kept_kernel, grid((a.words() + 255) / 256), 256, on, a);
    launch(rank_kernel, 1, kScanThreads, on, a);
  }
  with_index(a.wide_index, [&](auto index) {
    using I = decltype(index);
    if (a.listed != nullptr && a.out_rows > 0)
      launch(count_rows_kernel<I>, row_blocks(a.out_rows), kWarp * kWarpsPerBlock, on, a);
    else if (a.listed == nullptr && a.nnz > 0)
      launch(live_kernel<I>, grid(a.blocks()), kThreads, on, a);
  });
  launch(scan_kernel, 1, kScanThreads, on, a.base, numbers);
  int error = cudaGetLastError();
  if (error == cudaSuccess) error = cudaMemcpyAsync(total, a.base + numbers, sizeof *total, cudaMemcpyDeviceToHost, on);
  return error != cudaSuccess ? error : static_cast<int>(cudaStreamSynchronize(on));
}

int select_copy_cuda(const SelectArgs& a, void* stream) {
  const auto on = static_cast<cudaStream_t>(stream);
  with_index(a.wide_index, [&](auto index) {
    with_weight(a.weight_bytes, [&](auto weight) {
      using I = decltype(index);
      using W = decltype(weight);
      if (a.listed != nullptr) {
        const unsigned blocks = a.out_rows > 0 ? row_blocks(a.out_rows) : 1;
        launch(copy_rows_kernel<I, W>, blocks, kWarp * kWarpsPerBlock, on, a);
        return;
      }
      if (a.nnz > 0) launch(copy_kernel<I, W>, grid(a.blocks()), kThreads, on, a);
      launch(pointer_kernel<I>, grid((a.rows + 256) / 256), 256, on, a);
    });
  });
  return cudaGetLastError();
}

}  // namespace gnas
