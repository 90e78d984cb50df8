#include "core/vector.h"
#include "ops/spspmm_topk/spspmm_topk.h"

namespace gnas::GNAS_ISA {
namespace {

template <class T>
struct Slot {
  T sum;
  std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t> mark;  // the row that the sum belongs to
};

// A value as a whole number that grows with it: one comparison orders NaN, above all, and both zeros, as one.
GNAS_INLINE uint32_t order_of(float x) {
  const uint32_t bits = bit_copy<uint32_t>(x + 0.0f);
  return x != x ? ~0u : bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
}
GNAS_INLINE uint64_t order_of(double x) {
  const uint64_t bits = bit_copy<uint64_t>(x + 0.0);
  return x != x ? ~uint64_t{0} : bits >> 63 != 0 ? ~bits : bits | uint64_t{1} << 63;
}

template <class T, class I>
struct Candidate {
  decltype(order_of(T{})) order;
  I col;

  bool before(const Candidate& other) const { return order != other.order ? order > other.order : col < other.col; }
};

// Moves the first `k` of `count` candidates to the front, in no order (quickselect; Hoare, 1961). No two are equal.
template <class C>
void select(C* candidates, int64_t count, int64_t k) {
  int64_t low = 0;
  int64_t high = count - 1;
  while (low < high) {
    const C pivot = candidates[low + (high - low) / 2];
    int64_t i = low;
    int64_t j = high;
    while (i <= j) {
      while (candidates[i].before(pivot)) ++i;
      while (pivot.before(candidates[j])) --j;
      if (i > j) break;
      const C other = candidates[i];
      candidates[i++] = candidates[j];
      candidates[j--] = other;
    }
    if (k <= j + 1)
      high = j;
    else if (k > i)
      low = i;
    else
      return;
  }
}

// Heap sort: the first comes first.
template <class C>
void sort(C* candidates, int64_t count) {
  const auto sink = [&](int64_t at, int64_t end) {
    const C moved = candidates[at];
    for (int64_t child = 2 * at + 1; child < end; child = 2 * at + 1) {
      if (child + 1 < end && candidates[child].before(candidates[child + 1])) ++child;
      if (!moved.before(candidates[child])) break;
      candidates[at] = candidates[child];
      at = child;
    }
    candidates[at] = moved;
  };
  for (int64_t at = count / 2 - 1; at >= 0; --at) sink(at, count);
  for (int64_t end = count - 1; end > 0; --end) {
    const C last = candidates[end];
    candidates[end] = candidates[0];
    candidates[0] = last;
    sink(0, end);
  }
}

// Row by row (Gustavson, 1978): the sums stand in one array over all columns, which stays in the cache; what is left in
// it from the row before is told by its mark, so nothing is cleared.
template <class T, class I>
void run_rows(const TopkArgs& a, int64_t row_begin, int64_t row_end, void* scratch) {
  using C = Candidate<T, I>;
  static_assert(sizeof(C) <= 16 && sizeof(Slot<T>) == 2 * sizeof(T), "topk_scratch has the sizes");
  using Mark = decltype(Slot<T>::mark);
  const I* a_indptr = static_cast<const I*>(a.a_indptr);
  const I* a_indices = static_cast<const I*>(a.a_indices);
  const T* a_weight = static_cast<const T*>(a.a_weight);
  const I* b_indptr = static_cast<const I*>(a.b_indptr);
  const I* b_indices = static_cast<const I*>(a.b_indices);
  const T* b_weight = static_cast<const T*>(a.b_weight);
  C* candidates = static_cast<C*>(scratch);
  Slot<T>* slots = reinterpret_cast<Slot<T>*>(static_cast<char*>(scratch) + (2 * a.k + 1) * 16);
  I* used = reinterpret_cast<I*>(slots + a.cols);  // one more than columns: the next is written before it is known
  for (int64_t row = row_begin; row < row_end; ++row) {
    const Mark mark = static_cast<Mark>(row - row_begin + 1);
    int64_t uses = 0;
    for (int64_t e = a_indptr[row]; e < static_cast<int64_t>(a_indptr[row + 1]); ++e) {
      const int64_t inner = a_indices[e];
      const T left = a_weight == nullptr ? T{1} : a_weight[e];
      const auto add = [&](int64_t col, T product) {
        Slot<T>& slot = slots[col];
        const bool fresh = slot.mark != mark;
        used[uses] = static_cast<I>(col);
        uses += fresh;
        slot.sum = (fresh ? T{0} : slot.sum) + product;
        slot.mark = mark;
      };
      const int64_t end = b_indptr[inner + 1];
      if (b_weight == nullptr)
        for (int64_t f = b_indptr[inner]; f < end; ++f) add(b_indices[f], left);
      else
        for (int64_t f = b_indptr[inner]; f < end; ++f) add(b_indices[f], left * b_weight[f]);
    }
    // The best so far and as many new ones; when they are full, the better half stays and its worst is the bar.
    int64_t count = 0;
    C bar{0, 0};
    bool barred = false;
    for (int64_t n = 0; n < uses && a.k > 0; ++n) {
      const C candidate{order_of(slots[used[n]].sum), used[n]};
      if (barred && !candidate.before(bar)) continue;
      if (a.exclude_diagonal && static_cast<int64_t>(candidate.col) == row) continue;
      candidates[count++] = candidate;
      if (count < 2 * a.k) continue;
      select(candidates, count, a.k);
      count = a.k;
      bar = candidates[0];
      for (int64_t c = 1; c < count; ++c)
        if (bar.before(candidates[c])) bar = candidates[c];
      barred = true;
    }
    if (count > a.k) {
      select(candidates, count, a.k);
      count = a.k;
    }
    sort(candidates, count);
    I* indices = static_cast<I*>(a.indices) + row * a.k;
    T* values = static_cast<T*>(a.values) + row * a.k;
    for (int64_t c = 0; c < a.k; ++c) {
      indices[c] = c < count ? candidates[c].col : I{0};
      values[c] = c < count ? slots[candidates[c].col].sum : T{0};
    }
    static_cast<I*>(a.count)[row] = static_cast<I>(count);
  }
}

}  // namespace

void topk_rows(const TopkArgs& a, int64_t row_begin, int64_t row_end, void* scratch) {
  with_types(a.wide_value ? Dtype::f64 : Dtype::f32, a.wide_index, [&](auto element, auto index) {
    if constexpr (sizeof(element) >= 4) run_rows<decltype(element), decltype(index)>(a, row_begin, row_end, scratch);
  });
}

}  // namespace gnas::GNAS_ISA
