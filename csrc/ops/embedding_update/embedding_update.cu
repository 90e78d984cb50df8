#include "core/quantize.cuh"
#include "ops/embedding_update/embedding_update.h"

namespace gnas {
namespace {

using namespace cuda;

// refused[0] is the first step, refused[1] its row: looked up once all steps are through.
__device__ void refuse(const EmbeddingUpdateArgs& a, int64_t step) {
  if (lane() == 0) atomicMin(reinterpret_cast<unsigned long long*>(a.refused), static_cast<unsigned long long>(step));
}

// A warp takes the first entry of a row, and with it all that follow.
__device__ bool begins(const EmbeddingUpdateArgs& a, int64_t step) {
  return step == 0 || a.row[step - 1] != a.row[step];
}

template <class T>
__global__ void update_kernel(EmbeddingUpdateArgs a, float* all_rooms) {
  const int64_t width = a.table.width;
  for (int64_t step = first_row(); step < a.steps; step += row_stride()) {
    if (!begins(a, step)) continue;
    const int64_t row = a.row[step];
    if (row < 0 || row >= a.table.rows) {
      refuse(a, step);
      continue;
    }
    float* room = all_rooms + step * width;
    int64_t end = step + 1;
    while (end < a.steps && a.row[end] == row) ++end;
    for (int64_t f = lane(); f < width; f += kWarp) {
      float total = widen(static_cast<const T*>(a.grad)[a.entry[step] * width + f]);
      for (int64_t e = step + 1; e < end; ++e)
        total = sum(total, widen(static_cast<const T*>(a.grad)[a.entry[e] * width + f]));
      room[f] = total;
    }
    __syncwarp();
    const double square = block_sum<float>(width, [&](int64_t f) { return product(room[f], room[f]); });
    __syncwarp();
    const float state = sum(a.state[row], static_cast<float>(square / static_cast<double>(width)));
    const float rate = a.lr / (sqrtf(state) + a.eps);
    for (int64_t f = lane(); f < width; f += kWarp)
      room[f] = sum(value_of<float>(a.table, row, f), -product(rate, room[f]));
    __syncwarp();
    const auto x = [&](int64_t f) { return room[f]; };
    RowRange range;
    if (!range_of<float>(x, width, a.spec.symmetric, &range) || !(state >= 0 && state <= kLargestFloat)) {
      refuse(a, step);
      continue;
    }
    const RowCode code = candidate(a.spec, range, 0);
    if (lane() == 0) {
      a.new_state[step] = state;
      a.scale[step] = code.scale;
      if (a.zero != nullptr) a.zero[step] = code.zero;
    }
    code_row(x, width, row, code, a.spec, a.codes + step * width);
  }
}

__global__ void name_kernel(EmbeddingUpdateArgs a) {
  if (a.refused[0] < a.steps) a.refused[1] = a.row[a.refused[0]];
}

// The table is written by this kernel alone, after every step was found right.
__global__ void put_kernel(EmbeddingUpdateArgs a) {
  const int64_t width = a.table.width;
  for (int64_t step = first_row(); step < a.steps; step += row_stride()) {
    if (!begins(a, step)) continue;
    const int64_t row = a.row[step];
    uint8_t* codes = const_cast<uint8_t*>(static_cast<const uint8_t*>(a.table.codes)) + row * width;
    for (int64_t f = lane(); f < width; f += kWarp) codes[f] = a.codes[step * width + f];
    if (lane() != 0) continue;
    const_cast<float*>(a.table.scale)[row] = a.scale[step];
    if (a.zero != nullptr) const_cast<float*>(a.table.zero)[row] = a.zero[step];
    const_cast<float*>(a.state)[row] = a.new_state[step];
  }
}

}  // namespace

int embedding_update_cuda(const EmbeddingUpdateArgs& a, float* room, void* stream, int64_t* refused) {
  const auto on = static_cast<cudaStream_t>(stream);
  const unsigned blocks = row_blocks(a.steps);
  constexpr unsigned kThreads = kWarp * kWarpsPerBlock;
  cudaError_t error = cudaMemcpyAsync(a.refused, refused, 2 * sizeof *refused, cudaMemcpyHostToDevice, on);
  if (error != cudaSuccess) return error;
  if (a.dtype == Dtype::bf16)
    launch(update_kernel<__nv_bfloat16>, blocks, kThreads, on, a, room);
  else if (a.dtype == Dtype::f16)
    launch(update_kernel<__half>, blocks, kThreads, on, a, room);
  else
    launch(update_kernel<float>, blocks, kThreads, on, a, room);
  launch(name_kernel, 1, 1, on, a);
  error = cudaGetLastError();
  if (error != cudaSuccess) return error;
  error = cudaMemcpyAsync(refused, a.refused, 2 * sizeof *refused, cudaMemcpyDeviceToHost, on);
  if (error != cudaSuccess) return error;
  error = cudaStreamSynchronize(on);
  if (error != cudaSuccess || refused[0] < a.steps) return error;
  launch(put_kernel, blocks, kThreads, on, a);
  return cudaGetLastError();
}

}  // namespace gnas
