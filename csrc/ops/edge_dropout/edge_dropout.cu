#include "core/device.cuh"
#include "ops/edge_dropout/edge_dropout.h"

namespace gnas {
namespace {

using namespace cuda;

constexpr int kThreads = 256;

__device__ inline int64_t first_byte() { return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ inline int64_t byte_stride() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

// A thread a byte: two blocks of four draws.
__global__ void independent_kernel(DropoutArgs a) {
  for (int64_t byte = first_byte(); 8 * byte < a.nnz; byte += byte_stride()) {
    uint32_t bits = 0;
    for (int half = 0; half < 2; ++half) {
      const Philox draws = dropout_draws(a, static_cast<uint64_t>(2 * byte + half));
      for (int n = 0; n < 4; ++n) {
        const int64_t e = 8 * byte + 4 * half + n;
        bits |= static_cast<uint32_t>(e < a.nnz && draws.word[n] >= a.threshold) << (4 * half + n);
      }
    }
    a.mask[byte] = static_cast<uint8_t>(bits);
  }
}

// A thread a byte: the row of its first entry is searched, those of the next follow.
template <class I>
__global__ void pairs_kernel(DropoutArgs a) {
  const I* indptr = static_cast<const I*>(a.indptr);
  const I* indices = static_cast<const I*>(a.indices);
  const Philox key = pair_key(a);
  for (int64_t byte = first_byte(); 8 * byte < a.nnz; byte += byte_stride()) {
    int64_t row = 0;
    for (int64_t high = a.rows; row < high;) {
      const int64_t middle = row + (high - row) / 2;
      if (static_cast<int64_t>(indptr[middle + 1]) <= 8 * byte)
        row = middle + 1;
      else
        high = middle;
    }
    uint32_t bits = 0;
    for (int64_t e = 8 * byte; e < a.nnz && e < 8 * byte + 8; ++e) {
      while (row < a.rows && static_cast<int64_t>(indptr[row + 1]) <= e) ++row;
      const int64_t col = indices[e];
      require(row < a.rows && static_cast<uint64_t>(col) < static_cast<uint64_t>(a.cols));
      const bool kept = pair_draw(key, static_cast<uint64_t>(row), static_cast<uint64_t>(col)) >= a.threshold;
      bits |= static_cast<uint32_t>(kept) << (e & 7);
    }
    a.mask[byte] = static_cast<uint8_t>(bits);
  }
}

}  // namespace

int edge_dropout_cuda(const DropoutArgs& a, void* stream) {
  if (a.nnz == 0) return cudaSuccess;
  const auto on = static_cast<cudaStream_t>(stream);
  const int64_t wanted = ((a.nnz + 7) / 8 + kThreads - 1) / kThreads;
  const unsigned blocks = static_cast<unsigned>(wanted < (1 << 20) ? wanted : 1 << 20);
  if (a.indptr == nullptr)
    launch(independent_kernel, blocks, kThreads, on, a);
  else if (a.wide_index)
    launch(pairs_kernel<int64_t>, blocks, kThreads, on, a);
  else
    launch(pairs_kernel<int32_t>, blocks, kThreads, on, a);
  return cudaGetLastError();
}

}  // namespace gnas
