// The sum over those edges only that stand in `select`: the transpose of taking the max. For spmm_simd.cpp.
#pragma once

#include "ops/spmm/graph.h"

namespace gnas::GNAS_ISA {
namespace {

template <class T, class I>
void select_piece(const Graph<T, I>& g, const Piece<T, I>& p) {
  using A = Accumulator<T>;
  constexpr int64_t kBlock = 64;  // columns that are summed at a time, on the stack
  for (int64_t head = 0; head < g.heads; ++head) {
    const int64_t until = (head + 1) * g.dim;
    for (int64_t column = head * g.dim; column < until; column += kBlock) {
      A sum[kBlock] = {};
      const int64_t count = until - column < kBlock ? until - column : kBlock;
      for (int64_t e = p.begin; e < p.end; ++e) {
        const T* row = g.row_of(e) + column;
        const I* chosen = g.select + static_cast<int64_t>(g.indices[e]) * g.a.x_stride + column;
        const A w = g.weight_of(e, head);
        const I self = static_cast<I>(g.place(e));
        for (int64_t f = 0; f < count; ++f) sum[f] += chosen[f] == self ? w * widen(row[f]) : A{0};
      }
      for (int64_t f = 0; f < count; ++f) put_one(g, p, column + f, sum[f]);
    }
  }
}

}  // namespace
}  // namespace gnas::GNAS_ISA
