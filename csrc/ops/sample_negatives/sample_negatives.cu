#include "core/device.cuh"
#include "ops/sample_negatives/sample_negatives.h"

namespace gnas {
namespace {

using namespace cuda;

constexpr int kThreads = 256;

// A thread takes the four draws of a block of Philox.
template <class I>
__global__ void negatives_kernel(NegativeArgs a) {
  const int64_t draws = a.batch * a.count;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t block = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; 4 * block < draws;
       block += stride) {
    const Philox first = first_draws(a, block);
    for (int r = 0; r < 4 && 4 * block + r < draws; ++r) {
      const int64_t item = draw_negative<I>(a, 4 * block + r, first.word[r]);
      require(item != -2);
      static_cast<I*>(a.out)[4 * block + r] = static_cast<I>(item);
    }
  }
}

}  // namespace

int sample_negatives_cuda(const NegativeArgs& a, void* stream) {
  if (a.batch == 0 || a.count == 0) return cudaSuccess;
  const auto on = static_cast<cudaStream_t>(stream);
  const int64_t wanted = ((a.batch * a.count + 3) / 4 + kThreads - 1) / kThreads;
  const unsigned blocks = static_cast<unsigned>(wanted < (1 << 20) ? wanted : 1 << 20);
  if (a.wide_index)
    launch(negatives_kernel<int64_t>, blocks, kThreads, on, a);
  else
    launch(negatives_kernel<int32_t>, blocks, kThreads, on, a);
  return cudaGetLastError();
}

}  // namespace gnas
