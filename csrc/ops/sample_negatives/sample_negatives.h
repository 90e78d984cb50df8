// Which items are drawn for a user: plain structs and functions for the host and the device, no Torch.
//
// The numbers of a draw depend on the seed and on its place in the batch alone (core/random.h), whole numbers decide
// all, and the host and the device run the functions below: so the same items come out at any number of threads and on
// CUDA. No other draw is waited for, so draws can be made in any order.
#pragma once

#include <cstdint>

#include "core/random.h"

namespace gnas {

// By weight, a positive is drawn again so many times; then the items that are left are counted. More would pay only for
// users whose positives have most of the weight.
constexpr int kNegativeTries = 16;

struct NegativeArgs {
  const void* users;          // [batch], index type; read where there are positives
  const void* indptr;         // [rows + 1], index type; null: no positives
  const void* indices;        // [nnz], index type: the positives, each row strictly ascending
  const int64_t* cumulative;  // [items], running sums of the weights; null: all items alike
  void* out;                  // [batch, count], index type
  int64_t rows;
  int64_t nnz;
  int64_t items;
  int64_t batch;
  int64_t count;
  uint64_t seed;
  uint32_t family;
  bool wide_index;
};

int sample_negatives_cuda(const NegativeArgs& args, void* stream);

namespace {

// The numbers of draw 4 * q + r. Four draws share a block of Philox: the first number of draw r is word r of block 0 of
// stream q, and the further ones, which few need, are the words of blocks 1 + r, 5 + r, 9 + r, …
class NegativeDraws {
 public:
  GNAS_ANYWHERE NegativeDraws(const NegativeArgs& a, int64_t draw, uint32_t first)
      : counter_{{1 + static_cast<uint32_t>(draw & 3), a.family, static_cast<uint32_t>(draw >> 2),
                  static_cast<uint32_t>(draw >> 34)}},
        key0_(static_cast<uint32_t>(a.seed)),
        key1_(static_cast<uint32_t>(a.seed >> 32)),
        first_(first) {}

  // 32 even bits.
  GNAS_ANYWHERE uint32_t next() {
    if (used_ < 0) {
      used_ = 4;
      return first_;
    }
    if (used_ == 4) {
      block_ = philox4x32(counter_, key0_, key1_);
      counter_.word[0] += 4;
      used_ = 0;
    }
    const int at = used_++;
    return at == 0 ? block_.word[0] : at == 1 ? block_.word[1] : at == 2 ? block_.word[2] : block_.word[3];
  }

 private:
  Philox counter_;
  Philox block_{};
  uint32_t key0_;
  uint32_t key1_;
  uint32_t first_;
  int used_ = -1;
};

// The first numbers of draws 4 * block … 4 * block + 3.
GNAS_ANYWHERE Philox first_draws(const NegativeArgs& a, int64_t block) {
  return philox4x32({{0, a.family, static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32)}},
                    static_cast<uint32_t>(a.seed), static_cast<uint32_t>(a.seed >> 32));
}

// How many of `size` places in turn come before the first for which `before` is false. Without branches, which a search
// for a random number would mispredict every other time.
template <class F>
GNAS_ANYWHERE int64_t places_before(int64_t size, const F& before) {
  int64_t low = 0;
  for (int64_t left = size; left > 0;) {
    const int64_t step = (left + 1) / 2;
    low += step & -static_cast<int64_t>(before(low + step - 1));
    left -= step;
  }
  return low;
}

// The item whose share of the weights holds `at`: the first with a running sum above it. Never beyond the last one.
GNAS_ANYWHERE int64_t item_at(const NegativeArgs& a, int64_t at) {
  return places_before(a.items - 1, [&](int64_t item) { return a.cumulative[item] <= at; });
}

template <class I>
GNAS_ANYWHERE bool is_positive(const I* row, int64_t size, int64_t item) {
  const int64_t place = places_before(size, [&](int64_t m) { return static_cast<int64_t>(row[m]) < item; });
  return place < size && static_cast<int64_t>(row[place]) == item;
}

// An item that is not among the `size` positives of row, each as likely as another; -1 where there is none. Exact with
// one number: before place m of the row stand row[m] - m items that are no positives.
template <class I>
GNAS_ANYWHERE int64_t draw_evenly(const NegativeArgs& a, const I* row, int64_t size, NegativeDraws& draws) {
  if (a.items <= size) return -1;
  const int64_t at = static_cast<int64_t>(draw_below(draws, static_cast<uint64_t>(a.items - size)));
  return at + places_before(size, [&](int64_t m) { return static_cast<int64_t>(row[m]) - m <= at; });
}

// The same, as likely as its weight says. A positive is drawn again; after kNegativeTries of them a number below the
// weight that is left says which, by a walk over the positives. -2 where one is no item.
template <class I>
GNAS_ANYWHERE int64_t draw_by_weight(const NegativeArgs& a, const I* row, int64_t size, NegativeDraws& draws) {
  const int64_t total = a.items > 0 ? a.cumulative[a.items - 1] : 0;
  if (total <= 0) return -1;
  const int tries = size > 0 ? kNegativeTries : 1;
  for (int n = 0; n < tries; ++n) {
    const int64_t item = item_at(a, static_cast<int64_t>(draw_below(draws, static_cast<uint64_t>(total))));
    if (!is_positive(row, size, item)) return item;
  }
  const auto before = [&](int64_t item) { return item > 0 ? a.cumulative[item - 1] : int64_t{0}; };
  int64_t left = total;
  for (int64_t m = 0; m < size; ++m) {
    const int64_t item = row[m];
    if (static_cast<uint64_t>(item) >= static_cast<uint64_t>(a.items)) return -2;
    left -= a.cumulative[item] - before(item);
  }
  if (left <= 0) return -1;
  int64_t at = static_cast<int64_t>(draw_below(draws, static_cast<uint64_t>(left)));
  for (int64_t m = 0; m < size && before(row[m]) <= at; ++m) at += a.cumulative[row[m]] - before(row[m]);
  return item_at(a, at);
}

// What draw 4 * block + r is, given its first number; -2 where the user's row must not be touched.
template <class I>
GNAS_ANYWHERE int64_t draw_negative(const NegativeArgs& a, int64_t draw, uint32_t first) {
  const I* row = nullptr;
  int64_t size = 0;
  if (a.indptr != nullptr) {
    const I* indptr = static_cast<const I*>(a.indptr);
    const int64_t user = static_cast<const I*>(a.users)[draw / a.count];
    if (static_cast<uint64_t>(user) >= static_cast<uint64_t>(a.rows)) return -2;
    const int64_t begin = indptr[user];
    const int64_t end = indptr[user + 1];
    if (begin < 0 || begin > end || end > a.nnz) return -2;
    row = static_cast<const I*>(a.indices) + begin;
    size = end - begin;
  }
  NegativeDraws draws(a, draw, first);
  return a.cumulative == nullptr ? draw_evenly(a, row, size, draws) : draw_by_weight(a, row, size, draws);
}

}  // namespace
}  // namespace gnas
