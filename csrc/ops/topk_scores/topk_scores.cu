#include "core/device.cuh"
#include "ops/topk_scores/topk_scores.h"

namespace gnas {
namespace {

constexpr int kThreads = 256;
constexpr int kUsers = 4;  // a block: each item that is read is used so often
constexpr int64_t kMostBlocks = 1024;
constexpr int64_t kKeyBytes = int64_t{256} << 20;

template <class S>
using Key = std::conditional_t<sizeof(S) == 8, unsigned __int128, unsigned long long>;

// The larger score first, of equal ones the smaller item: as on the CPU. 0 is no key: -inf has a larger one.
__device__ inline unsigned long long key_of(float score, int64_t item) {
  const unsigned bits = __float_as_uint(score + 0.0f);
  const unsigned order = bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
  return static_cast<unsigned long long>(order) << 32 | static_cast<unsigned>(~item);
}
__device__ inline unsigned __int128 key_of(double score, int64_t item) {
  const auto bits = static_cast<unsigned long long>(__double_as_longlong(score + 0.0));
  const unsigned long long order = bits >> 63 != 0 ? ~bits : bits | 1ull << 63;
  return static_cast<unsigned __int128>(order) << 64 | static_cast<unsigned>(~item);
}
__device__ inline float score_of(unsigned long long key) {
  const unsigned order = static_cast<unsigned>(key >> 32);
  return __uint_as_float(order >> 31 != 0 ? order ^ 0x80000000u : ~order);
}
__device__ inline double score_of(unsigned __int128 key) {
  const auto order = static_cast<unsigned long long>(key >> 64);
  return __longlong_as_double(static_cast<long long>(order >> 63 != 0 ? order ^ 1ull << 63 : ~order));
}
template <class K>
__device__ inline int64_t item_of(K key) {
  return static_cast<int64_t>(static_cast<unsigned>(~key));
}

// Rows that do not ascend are searched as well: few scores get here.
template <class I>
__device__ bool excluded(const TopkScoresArgs& a, int64_t user, int64_t item) {
  if (a.exclude_indptr == nullptr) return false;
  const int64_t begin = static_cast<const I*>(a.exclude_indptr)[user];
  const int64_t end = static_cast<const I*>(a.exclude_indptr)[user + 1];
  cuda::require(begin >= 0 && begin <= end && end <= a.exclude_nnz);
  for (int64_t e = begin; e < end; ++e)
    if (static_cast<int64_t>(static_cast<const I*>(a.exclude_indices)[e]) == item) return true;
  return false;
}

// All of a block: descending, by Batcher's bitonic network; `size` is a power of two.
template <class K>
__device__ void sort_descending(K* keys, int64_t size) {
  for (int64_t run = 2; run <= size; run *= 2) {
    for (int64_t apart = run / 2; apart > 0; apart /= 2) {
      __syncthreads();
      for (int64_t i = threadIdx.x; i < size; i += kThreads) {
        const int64_t other = i ^ apart;
        if (other <= i) continue;
        const K first = keys[i];
        const K second = keys[other];
        if (((i & run) == 0) == (first < second)) {
          keys[i] = second;
          keys[other] = first;
        }
      }
    }
  }
  __syncthreads();
}

// Products of an item with the users of a block.
template <class T, class S>
__device__ void products(const T* users, int64_t count, const T* item, int64_t width, S (&out)[kUsers]) {
  S sums[kUsers]{};
  for (int64_t f = 0; f < width; ++f) {
    const S x = cuda::widen(item[f]);
    for (int u = 0; u < kUsers; ++u)
      if (u < count) sums[u] += cuda::widen(users[u * width + f]) * x;
  }
  for (int u = 0; u < kUsers; ++u) out[u] = sums[u];
}
__device__ void products(const int8_t* users, int64_t count, const int8_t* item, int64_t width, float (&out)[kUsers]) {
  int sums[kUsers]{};
  // Rows of whole words are aligned to them: torch's memory is.
  const int64_t words =
      width % 4 == 0 && (reinterpret_cast<uintptr_t>(users) | reinterpret_cast<uintptr_t>(item)) % 4 == 0 ? width / 4
                                                                                                          : 0;
  for (int64_t f = 0; f < words; ++f) {
    const int x = reinterpret_cast<const int*>(item)[f];
    for (int u = 0; u < kUsers; ++u)
      if (u < count) sums[u] = __dp4a(reinterpret_cast<const int*>(users + u * width)[f], x, sums[u]);
  }
  for (int64_t f = 4 * words; f < width; ++f)
    for (int u = 0; u < kUsers; ++u)
      if (u < count) sums[u] += static_cast<int>(users[u * width + f]) * static_cast<int>(item[f]);
  for (int u = 0; u < kUsers; ++u) out[u] = static_cast<float>(sums[u]);
}

// A block has some users and goes through the catalogue, an item a thread. What is above a user's bar is noted; when
// there may be no room for another round, the notes are sorted, the best stay, and the worst of them is the bar.
template <class T, class S, class I>
__global__ void topk_scores_kernel(TopkScoresArgs a, int64_t capacity, Key<S>* scratch) {
  __shared__ int count[kUsers];
  __shared__ int has_nan[kUsers];
  __shared__ S bar[kUsers];
  const S nothing = -static_cast<S>(INFINITY);
  Key<S>* const own = scratch + blockIdx.x * kUsers * capacity;
  for (int64_t first = static_cast<int64_t>(blockIdx.x) * kUsers; first < a.rows;
       first += static_cast<int64_t>(gridDim.x) * kUsers) {
    const int64_t users = a.rows - first < kUsers ? a.rows - first : kUsers;
    __syncthreads();
    if (threadIdx.x < kUsers) {
      count[threadIdx.x] = has_nan[threadIdx.x] = 0;
      bar[threadIdx.x] = nothing;
    }
    __syncthreads();
    const auto keep_best = [&](int u, bool last) {
      Key<S>* const keys = own + u * capacity;
      if (!last && count[u] + kThreads <= capacity) return;  // the same for all threads
      for (int64_t i = count[u] + threadIdx.x; i < capacity; i += kThreads) keys[i] = 0;
      sort_descending(keys, capacity);
      if (threadIdx.x == 0 && count[u] >= a.keep) {
        count[u] = static_cast<int>(a.keep);
        if (a.keep > 0) bar[u] = score_of(keys[a.keep - 1]);
      }
      __syncthreads();
    };
    for (int64_t begin = 0; begin < a.catalogue; begin += kThreads) {
      for (int u = 0; u < users; ++u) keep_best(u, false);
      __syncthreads();  // all have looked at the counts before one goes up
      const int64_t at = begin + threadIdx.x;
      if (at < a.catalogue) {
        const int64_t item = a.allow != nullptr ? a.allow[at] : at;
        cuda::require(item >= 0 && item < a.items_count);
        S scores[kUsers];
        products(static_cast<const T*>(a.users) + first * a.width, users,
                 static_cast<const T*>(a.items) + item * a.width, a.width, scores);
        for (int u = 0; u < users; ++u) {
          S score = scores[u];
          if constexpr (sizeof(T) == 1) score = a.user_scale[first + u] * (a.item_scale[item] * score);
          if (score != score) has_nan[u] = 1;
          if (!(score > nothing) || score < bar[u] || excluded<I>(a, first + u, item)) continue;
          own[u * capacity + atomicAdd(&count[u], 1)] = key_of(score, item);
        }
      }
      __syncthreads();
    }
    for (int u = 0; u < users; ++u) {
      keep_best(u, true);
      const int64_t place = (first + u) * a.k;
      const int64_t found = has_nan[u] != 0 ? 0 : count[u];
      const S padding = has_nan[u] != 0 ? static_cast<S>(NAN) : nothing;
      for (int64_t c = threadIdx.x; c < a.k; c += kThreads) {
        static_cast<S*>(a.values)[place + c] = c < found ? score_of(own[u * capacity + c]) : padding;
        a.columns[place + c] = c < found ? item_of(own[u * capacity + c]) : -1;
      }
      __syncthreads();
    }
  }
}

int64_t capacity_of(const TopkScoresArgs& a) {
  int64_t size = 2048;
  while (size < 2 * a.keep + kThreads) size *= 2;
  return size;
}

int64_t blocks_of(const TopkScoresArgs& a) {
  const int64_t room = kKeyBytes / (kUsers * capacity_of(a) * a.key_bytes());
  const int64_t most = room < 1 ? 1 : room < kMostBlocks ? room : kMostBlocks;
  const int64_t wanted = (a.rows + kUsers - 1) / kUsers;
  return wanted < most ? wanted : most;
}

}  // namespace

int64_t topk_scores_cuda_keys(const TopkScoresArgs& a) { return blocks_of(a) * kUsers * capacity_of(a); }

int topk_scores_cuda(const TopkScoresArgs& a, void* scratch, void* stream) {
  if (a.rows == 0 || a.k == 0) return cudaSuccess;
  const auto on = static_cast<cudaStream_t>(stream);
  const auto launch = [&](auto element, auto score, auto index) {
    using S = decltype(score);
    cuda::launch(topk_scores_kernel<decltype(element), S, decltype(index)>, static_cast<unsigned>(blocks_of(a)),
                 kThreads, on, a, capacity_of(a), static_cast<Key<S>*>(scratch));
  };
  if (a.bytes())
    a.wide_index ? launch(int8_t{}, float{}, int64_t{}) : launch(int8_t{}, float{}, int32_t{});
  else
    cuda::with_types(a.dtype, a.wide_index,
                     [&](auto element, auto index) { launch(element, cuda::Accumulator<decltype(element)>{}, index); });
  return cudaGetLastError();
}

}  // namespace gnas
