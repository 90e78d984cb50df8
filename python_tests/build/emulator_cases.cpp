// Kernels whose outcome is known, for test_emulator.py: a line each, with the launch's error and what came out.
#include <cstdio>

#include "core/device.cuh"

using namespace gnas::cuda;

namespace {

constexpr unsigned kAll = 0xFFFFFFFFu;

__global__ void sum_kernel(int* out) {
  __shared__ int sums[2];
  int own = static_cast<int>(threadIdx.x);
  for (int apart = 16; apart > 0; apart /= 2) own += __shfl_xor_sync(kAll, own, apart);
  if (lane() == 0) sums[threadIdx.x / kWarp] = own;
  __syncthreads();
  if (threadIdx.x == 0) out[blockIdx.x] = sums[0] + sums[1];
}

__global__ void half_warps_kernel(int* out) {
  const unsigned mine = lane() < 16 ? 0xFFFFu : 0xFFFF0000u;
  const int first = lane() < 16 ? __shfl_sync(mine, lane(), 3) : __shfl_sync(mine, lane(), 20);
  const unsigned odd = __ballot_sync(mine, lane() & 1);
  if (lane() % 16 == 0) out[lane() / 16] = first + static_cast<int>(__popc(odd));
}

__global__ void garbage_kernel(int* out) {
  __shared__ int unset[1];
  if (blockIdx.x > 0) unset[0] = 1;  // no block does
  out[0] = unset[0];
}

__global__ void unordered_kernel(int* out) {
  __shared__ int left[kWarp];
  left[threadIdx.x] = 1;
  out[blockIdx.x] += left[(threadIdx.x + 1) % kWarp] == 1;  // no barrier before
}

__global__ void diverged_kernel(int* out) {
  if (threadIdx.x < 8)
    out[0] = __shfl_sync(kAll, out[0], 0);
  else
    __syncthreads();
}

__global__ void outside_kernel(int* out) { out[0] = __shfl_sync(1u, 1, 0); }

__global__ void misaligned_kernel(int* out) { out[0] = static_cast<int>(reinterpret_cast<const uint4*>(out + 1)->x); }

__global__ void beyond_kernel(int* out) {
  __shared__ int room[4];
  room[threadIdx.x] = 1;
  out[0] = room[0];
}

__global__ void trap_kernel(int* out) { require(out[0] < 0); }

template <class Kernel>
void show(const char* name, Kernel kernel, unsigned blocks, unsigned threads) {
  alignas(16) int out[8] = {};
  launch(kernel, blocks, threads, nullptr, static_cast<int*>(out));
  std::printf("%s %d %d %d\n", name, static_cast<int>(cudaGetLastError()), out[0], out[1]);
}

}  // namespace

int main() {
  show("sum", sum_kernel, 2, 64);
  show("half_warps", half_warps_kernel, 1, 32);
  show("garbage", garbage_kernel, 1, 1);
  show("unordered", unordered_kernel, 2, 32);
  show("diverged", diverged_kernel, 1, 32);
  show("outside", outside_kernel, 1, 32);
  show("misaligned", misaligned_kernel, 1, 1);
  show("beyond", beyond_kernel, 1, 8);
  show("trap", trap_kernel, 1, 32);
  show("too_many_threads", sum_kernel, 1, 2048);
  show("sum_again", sum_kernel, 2, 64);
  std::printf("half %d\n", __half_as_ushort(__float2half_rn(1.00048828125f)));           // between two: to even
  std::printf("bfloat16 %d\n", __bfloat16_as_ushort(__float2bfloat16_rn(1.01171875f)));  // the same
}
