// Sums of int8 codes times int8 weights in int32, exact: plain structs and kernel declarations, no Torch, no CUDA.
#pragma once

#include <cstdint>

#include "core/simd.h"
#include "core/types.h"

namespace gnas {

// No product of two int8 is above 128 * 128, so a row of this many edges, or fewer, stays inside int32.
constexpr int64_t kSafeDegree = INT32_MAX / (128 * 128);
// What the weights of a row may add up to, without their signs, so that it does.
constexpr int64_t kSafeWeight = INT32_MAX / 128;

// out[i, f] = sum over the edges e of row i of weight[e] * codes[indices[e], f]; rows without edges are zero.
struct SpmmInt32Args {
  const void* indptr;    // [rows + 1], index type
  const void* indices;   // [nnz], index type
  const int8_t* weight;  // [nnz]
  const int8_t* codes;   // [cols, width], the rows `stride` bytes apart
  int32_t* out;          // [rows, width], the rows out_stride numbers apart
  int32_t* carry;        // CPU: [2 * chunks, width], for the rows that a cut divides
  Fault* fault;          // CPU: an entry found out of bounds
  Fault* overflow;       // a row that may not fit int32; on CUDA in the device's memory
  int64_t rows;
  int64_t cols;
  int64_t nnz;
  int64_t width;
  int64_t stride;
  int64_t out_stride;
  int64_t chunks;
  bool wide_index;  // int64 rather than int32
  bool vnni;        // CPU, avx512: whether its dot products of bytes are used
};

// Is the sum over this row's edges sure to fit? By its degree, and where that is too large, by its weights.
template <class I>
constexpr bool fits_int32(const I* indptr, const int8_t* weight, int64_t row) {
  const int64_t begin = indptr[row];
  const int64_t end = indptr[row + 1];
  if (end - begin <= kSafeDegree) return true;
  int64_t total = 0;
  for (int64_t e = begin; e < end; ++e) total += weight[e] < 0 ? -static_cast<int64_t>(weight[e]) : weight[e];
  return total <= kSafeWeight;
}

GNAS_KERNEL(spmm_int32_rows, const SpmmInt32Args& a, int64_t chunk_begin, int64_t chunk_end)
GNAS_KERNEL(spmm_int32_carry, const SpmmInt32Args& a)

// Bytes of the device's memory that a call works in.
int64_t spmm_int32_cuda_scratch(const SpmmInt32Args& a);
// Launches on a stream (a cudaStream_t); returns a cudaError_t.
int spmm_int32_cuda(const SpmmInt32Args& a, void* scratch, void* stream);

}  // namespace gnas
