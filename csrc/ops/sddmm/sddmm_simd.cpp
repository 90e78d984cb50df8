#include "core/partition.h"
#include "core/vector.h"
#include "ops/sddmm/sddmm.h"

namespace gnas::GNAS_ISA {
namespace {

// Rows of b are fetched this many edges ahead: the gather, not the arithmetic, is what waits.
constexpr int64_t kAhead = 24;

template <class T>
GNAS_INLINE Accumulator<T> dot(const T* a, const T* b, const T* ahead, int64_t width) {
  using A = Accumulator<T>;
  constexpr int kLanes = Lanes<A>::count;
  Vector<A> sum[4] = {};
  int64_t f = 0;
  for (; f + 4 * kLanes <= width; f += 4 * kLanes) {
    unrolled<4>([&](auto v) {
      if constexpr (v * kLanes * static_cast<int>(sizeof(T)) % 64 == 0) __builtin_prefetch(ahead + f + v * kLanes);
      sum[v] += load(a + f + v * kLanes) * load(b + f + v * kLanes);
    });
  }
  for (; f + kLanes <= width; f += kLanes) {
    __builtin_prefetch(ahead + f);
    sum[0] += load(a + f) * load(b + f);
  }
  A total = add_lanes<A>((sum[0] + sum[1]) + (sum[2] + sum[3]));
  for (; f < width; ++f) total += widen(a[f]) * widen(b[f]);
  return total;
}

template <class T, class I>
GNAS_INLINE Accumulator<T> dot_selected(const T* a, const T* b, const I* select, I self, int64_t width) {
  Accumulator<T> total = 0;
  for (int64_t f = 0; f < width; ++f) total += select[f] == self ? widen(a[f]) * widen(b[f]) : Accumulator<T>{0};
  return total;
}

template <class T, class I>
void run_chunks(const SddmmArgs& s, int64_t chunk_begin, int64_t chunk_end) {
  const I* indptr = static_cast<const I*>(s.indptr);
  const I* indices = static_cast<const I*>(s.indices);
  const I* edge = static_cast<const I*>(s.edge);
  const I* select = static_cast<const I*>(s.select);
  const T* a = static_cast<const T*>(s.a);
  const T* b = static_cast<const T*>(s.b);
  T* out = static_cast<T*>(s.out);
  for (int64_t chunk = chunk_begin; chunk < chunk_end; ++chunk) {
    const Cut from = cut_at(indptr, s.rows, s.nnz, s.chunks, chunk);
    const Cut until = cut_at(indptr, s.rows, s.nnz, s.chunks, chunk + 1);
    int64_t e = from.edge;
    for (int64_t row = from.row; row <= until.row && e < until.edge; ++row) {
      const int64_t row_end = indptr[row + 1];
      const int64_t end = row_end < until.edge ? row_end : until.edge;
      for (; e < end; ++e) {
        const int64_t c = indices[e];
        const int64_t place = edge == nullptr ? e : static_cast<int64_t>(edge[e]);
        if (__builtin_expect(static_cast<uint64_t>(c) >= static_cast<uint64_t>(s.cols) ||
                                 static_cast<uint64_t>(place) >= static_cast<uint64_t>(s.nnz),
                             0)) {
          __atomic_store_n(&s.fault->edge, e, __ATOMIC_RELAXED);
          continue;
        }
        const int64_t next = indices[e + kAhead < s.nnz ? e + kAhead : s.nnz - 1];
        const Accumulator<T> total = select == nullptr
                                         ? dot(a + row * s.width, b + c * s.width, b + next * s.width, s.width)
                                         : dot_selected<T, I>(a + row * s.width, b + c * s.width,
                                                              select + row * s.width, static_cast<I>(place), s.width);
        narrow(total, out + place);
      }
    }
  }
}

}  // namespace

void sddmm_edges(const SddmmArgs& s, int64_t chunk_begin, int64_t chunk_end) {
  with_types(s.dtype, s.wide_index, [&](auto element, auto index) {
    run_chunks<decltype(element), decltype(index)>(s, chunk_begin, chunk_end);
  });
}

}  // namespace gnas::GNAS_ISA
