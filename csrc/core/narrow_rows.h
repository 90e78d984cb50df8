// Rows that are narrower than a register, read a register or a part of one at a time: what stands in the lanes beyond a
// row is whatever follows it, and is not to be looked at. The end of the matrix is there once more, for what would be
// read beyond it.
//
// Included by *_simd.cpp only, hence the namespaces.
#pragma once

#include "core/vector.h"

namespace gnas::GNAS_ISA {
namespace {

// A part of a register, or all of it.
template <class A, int kCount>
struct PartOf {
  typedef A Vector __attribute__((vector_size(kCount * sizeof(A))));
};
template <class A, int kCount>
using Part = typename PartOf<A, kCount>::Vector;

template <class T>
class NarrowRows {
 public:
  NarrowRows(const T* rows, int64_t count, int64_t stride, int64_t width)
      : rows_(rows), whole_((count - 1) * stride + width - kLanes) {
    for (int64_t lane = whole_ < 0 ? -whole_ : 0; lane < kLanes; ++lane) end_[lane] = rows[whole_ + lane];
  }

  // kCount numbers from an offset on, which is that of a number of the matrix; halves by the register only.
  template <int kCount>
  GNAS_INLINE Part<Accumulator<T>, kCount> at(int64_t offset) const {
    const T* const from = offset <= whole_ ? rows_ + offset : end_ + (offset - whole_);  // without a branch
    if constexpr (std::is_same_v<T, Accumulator<T>>) {
      Part<T, kCount> part;
      std::memcpy(&part, from, sizeof part);
      return part;
    } else {
      static_assert(kCount == kLanes);
      return load(from);
    }
  }

 private:
  static constexpr int kLanes = Lanes<Accumulator<T>>::count;

  const T* rows_;
  int64_t whole_;  // the last offset from which a whole register may be read
  T end_[2 * kLanes]{};
};

}  // namespace
}  // namespace gnas::GNAS_ISA
