#include "core/device.cuh"
#include "ops/sddmm/sddmm.h"

namespace gnas {
namespace {

using namespace cuda;

// A warp takes a row and walks its edges; lanes share the columns of one edge and add up in a fixed order, so sums
// repeat exactly.
template <class T, class I>
__global__ void sddmm_kernel(SddmmArgs s) {
  using A = Accumulator<T>;
  const I* indptr = static_cast<const I*>(s.indptr);
  const I* indices = static_cast<const I*>(s.indices);
  const I* edge = static_cast<const I*>(s.edge);
  const I* select = static_cast<const I*>(s.select);
  const T* a = static_cast<const T*>(s.a);
  const T* b = static_cast<const T*>(s.b);
  const int64_t dim = s.width / s.heads;
  for (int64_t row = first_row(); row < s.rows; row += row_stride()) {
    const int64_t begin = indptr[row];
    const int64_t end = indptr[row + 1];
    require(begin >= 0 && begin <= end && end <= s.nnz);
    for (int64_t e = begin; e < end; ++e) {
      const int64_t c = indices[e];
      const int64_t place = edge == nullptr ? e : static_cast<int64_t>(edge[e]);
      require(static_cast<uint64_t>(c) < static_cast<uint64_t>(s.cols) &&
              static_cast<uint64_t>(place) < static_cast<uint64_t>(s.nnz));
      if (s.pairing != Pairing::dot) {
        for (int64_t f = lane(); f < s.width; f += kWarp) {
          const A left = widen(a[row * s.width + f]);
          const A right = widen(b[c * s.width + f]);
          narrow(s.pairing == Pairing::add ? left + right : left * right, static_cast<T*>(s.out) + e * s.width + f);
        }
        continue;
      }
      for (int64_t head = 0; head < s.heads; ++head) {
        A total = 0;
        for (int64_t f = head * dim + lane(); f < (head + 1) * dim; f += kWarp) {
          const A product = widen(a[row * s.width + f]) * widen(b[c * s.width + f]);
          if (select == nullptr || static_cast<int64_t>(select[row * s.width + f]) == place) total += product;
        }
        for (int apart = kWarp / 2; apart > 0; apart /= 2) total += __shfl_down_sync(0xffffffffu, total, apart);
        if (lane() == 0) narrow(total, static_cast<T*>(s.out) + place * s.heads + head);
      }
    }
  }
}

}  // namespace

int sddmm_cuda(const SddmmArgs& s, void* stream) {
  if (s.rows == 0 || s.nnz == 0) return cudaSuccess;
  with_types(s.dtype, s.wide_index, [&](auto element, auto index) {
    launch(sddmm_kernel<decltype(element), decltype(index)>, row_blocks(s.rows), kWarp * kWarpsPerBlock,
           static_cast<cudaStream_t>(stream), s);
  });
  return cudaGetLastError();
}

}  // namespace gnas
