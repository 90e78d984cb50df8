// Heads that packs fit: a warp takes a row and as many of its heads as its lanes can stand on, 16 bytes a lane; lanes
// that are left take other edges of the row. The rows of several edges are under way at once, and their scores enter
// the softmax together: one new maximum, one scaling of what was summed before.
#pragma once

#include "ops/attention/columns.cuh"
#include "ops/attention/pieces.cuh"

namespace gnas {
namespace {

// Edges that a lane has under way: as many as its registers hold beside the sums.
template <class T>
constexpr int kAhead = sizeof(T) == 8 ? 2 : 4;
template <class T>
constexpr int kAheadBackward = sizeof(T) == 4 ? 4 : 2;
constexpr int kBlocks = 3;  // on a multiprocessor: enough warps to wait for memory

template <class T, class I, bool additive>
__global__ void __launch_bounds__(kThreads, kBlocks) rows_kernel(AttentionArgs a, Shape shape) {
  using C = Columns<T, I>;
  using A = typename C::A;
  constexpr int kSome = kAhead<T>;
  const C c(a, shape);
  const auto take = [&](int64_t row, int64_t begin, int64_t end, int64_t piece) {
    const Scores<T, I, additive> scores(c, row);
    Softmax<A, C::kPack> softmax;
    c.template walk<kSome>(begin, end, a.bias != nullptr, [&](const SomeEdges<I, kSome>& some) {
      typename C::Narrow key[kSome];
      typename C::Narrow value[kSome];
      A score[kSome];
      scores.read(some, key, score);
#pragma unroll
      for (int u = 0; u < kSome; ++u)
        value[u] = load_if<C::kPack>(c.inside_v && some.live[u], c.of_v(a.v, some.source[u]));
      if (!additive) {
#pragma unroll
        for (int u = 0; u < kSome; ++u) score[u] = scores.part(key[u]);
        sum_in_group(score, c.at.group);
      }
      A highest = -static_cast<A>(INFINITY);
#pragma unroll
      for (int u = 0; u < kSome; ++u) {
        score[u] = additive ? activate(a, score[u]) : scores.complete(score[u], some.place[u]);
        if (!some.live[u]) score[u] = -static_cast<A>(INFINITY);
        if (score[u] > highest) highest = score[u];
      }
      const A floor = softmax.raise(highest);
#pragma unroll
      for (int u = 0; u < kSome; ++u) {
        const A p = exp(score[u] - floor);
        softmax.sum += p;
        add_scaled(softmax.value, p, value[u]);
      }
    });
    softmax.add_turns(c.at.lanes);
    if (!c.first_turn()) return;
    if (piece >= 0) {
      if (c.inside_v) store(softmax.value, static_cast<A*>(shape.partial) + piece * c.width_v + c.column_v);
      if (c.of_head()) put_state(a, shape, piece, c.at.head, softmax.maximum, softmax.sum);
      return;
    }
    if (c.inside_v) store_scaled(softmax.value, softmax.inverse(), const_cast<T*>(c.of_v(a.out, row)));
    if (c.of_head()) static_cast<A*>(a.lse)[row * c.heads + c.at.head] = softmax.log_sum();
  };
  for_rows_and_pieces(shape.hubs, shape.front, static_cast<const I*>(a.indptr), a.rows, a.nnz, take);
}

template <class T, class I, bool additive>
__global__ void __launch_bounds__(kThreads, kBlocks) backward_rows_kernel(AttentionArgs a, Shape shape) {
  using C = Columns<T, I>;
  using A = typename C::A;
  constexpr int kSome = kAheadBackward<T>;
  const C c(a, shape);
  const auto take = [&](int64_t row, int64_t begin, int64_t end, int64_t piece) {
    const Scores<T, I, additive> scores(c, row);
    const typename C::Wide grad = widen(load_if<C::kPack>(c.inside_v, c.of_v(a.grad, row)));
    A mean[1] = {dot(grad, load_if<C::kPack>(c.inside_v, c.of_v(a.out, row)))};
    sum_in_group(mean, c.at.group);
    const A lse = c.template of_head<A>(a.lse, row);
    const A floor = lse == -static_cast<A>(INFINITY) ? A{0} : lse;
    typename C::Wide d_left = {};
    A d_side[1] = {0};  // additive
    c.template walk<kSome>(begin, end, true, [&](const SomeEdges<I, kSome>& some) {
      typename C::Narrow key[kSome];
      typename C::Narrow value[kSome];
      A score[kSome];
      A product[kSome];
      scores.read(some, key, score);
#pragma unroll
      for (int u = 0; u < kSome; ++u)
        value[u] = load_if<C::kPack>(c.inside_v && some.live[u], c.of_v(a.v, some.source[u]));
#pragma unroll
      for (int u = 0; u < kSome; ++u) {
        product[u] = dot(grad, value[u]);
        if (!additive) score[u] = scores.part(key[u]);
      }
      sum_in_group(product, c.at.group);
      if (!additive) {
        sum_in_group(score, c.at.group);
        // All before the first store, so that no bias is waited for alone.
#pragma unroll
        for (int u = 0; u < kSome; ++u) score[u] = scores.complete(score[u], some.place[u]);
      }
#pragma unroll
      for (int u = 0; u < kSome; ++u) {
        if (!some.live[u] || !c.at.inside) continue;
        const A p = exp(activate(a, score[u]) - floor);
        const A through = through_activation(a, score[u], p * (product[u] - mean[0]));
        A* to = static_cast<A*>(a.edges) + static_cast<int64_t>(some.place[u]) * (2 * c.heads) + c.at.head;
        // One store of both where two lanes stand on a head.
        for (int i = c.at.own; i < 2; i += c.at.group) to[i * c.heads] = i == 0 ? p : through;
        if (a.d_bias != nullptr && c.at.own == 0)
          narrow(through, static_cast<T*>(a.d_bias) + static_cast<int64_t>(some.place[u]) * c.heads + c.at.head);
        if (additive)
          d_side[0] += through;
        else
          add_scaled(d_left, through, key[u]);
      }
    });
    __syncwarp();
    A* partial = static_cast<A*>(shape.partial2);
    if (additive) {
      sum_over_turns(d_side, c.at.lanes);
      if (!c.of_head()) return;
      if (piece >= 0)
        partial[piece * c.heads + c.at.head] = d_side[0];
      else
        narrow(d_side[0], static_cast<T*>(a.d_left) + row * c.heads + c.at.head);
      return;
    }
    sum_over_turns(d_left.at, c.at.lanes);
    if (!c.first_turn() || !c.inside) return;
    if (piece >= 0)
      store(d_left, partial + piece * c.width + c.column);
    else
      store_scaled(d_left, static_cast<A>(a.scale), const_cast<T*>(c.of(a.d_left, row)));
  };
  for_rows_and_pieces(shape.hubs, shape.front, static_cast<const I*>(a.indptr), a.rows, a.nnz, take);
}

template <class T, class I, bool additive>
__global__ void __launch_bounds__(kThreads, kBlocks) backward_cols_kernel(AttentionArgs a, Shape shape) {
  using C = Columns<T, I>;
  using A = typename C::A;
  constexpr int kSome = kAhead<T>;
  const C c(a, shape);
  const auto take = [&](int64_t row, int64_t begin, int64_t end, int64_t piece) {
    typename C::Wide d_v = {};
    typename C::Wide d_right = {};
    A d_side[1] = {0};  // additive
    c.template walk<kSome>(begin, end, true, [&](const SomeEdges<I, kSome>& some) {
      typename C::Narrow grad[kSome];
      typename C::Narrow query[kSome];
      A p[kSome];
      A through[kSome];
#pragma unroll
      for (int u = 0; u < kSome; ++u) {
        const bool live = some.live[u] && c.at.inside;
        const A* from =
            static_cast<const A*>(a.edges) + static_cast<int64_t>(some.place[u]) * (2 * c.heads) + c.at.head;
        p[u] = live ? from[0] : A{0};
        through[u] = live ? from[c.heads] : A{0};
        grad[u] = load_if<C::kPack>(c.inside_v && live, c.of_v(a.grad, some.source[u]));
        if (!additive) query[u] = load_if<C::kPack>(c.inside && live, c.of(a.left, some.source[u]));
      }
#pragma unroll
      for (int u = 0; u < kSome; ++u) {
        add_scaled(d_v, p[u], grad[u]);
        if (additive)
          d_side[0] += through[u];
        else
          add_scaled(d_right, through[u], query[u]);
      }
    });
    sum_over_turns(d_v.at, c.at.lanes);
    if (additive)
      sum_over_turns(d_side, c.at.lanes);
    else
      sum_over_turns(d_right.at, c.at.lanes);
    if (!c.first_turn()) return;
    if (piece >= 0) {
      A* partial = static_cast<A*>(shape.partial2) + piece * c.width;
      if (c.inside_v) store(d_v, static_cast<A*>(shape.partial) + piece * c.width_v + c.column_v);
      if (additive && c.of_head()) partial[c.at.head] = d_side[0];
      if (!additive && c.inside) store(d_right, partial + c.column);
      return;
    }
    if (c.inside_v) store_scaled(d_v, A{1}, const_cast<T*>(c.of_v(a.d_v, row)));
    if (additive && c.of_head()) narrow(d_side[0], static_cast<T*>(a.d_right) + row * c.heads + c.at.head);
    if (!additive && c.inside) store_scaled(d_right, static_cast<A>(a.scale), const_cast<T*>(c.of(a.d_right, row)));
  };
  for_rows_and_pieces(shape.hubs, shape.front, static_cast<const I*>(a.indptr), a.rows, a.nnz, take);
}

}  // namespace
}  // namespace gnas
