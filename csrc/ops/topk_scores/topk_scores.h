// The best k columns of each row of a dense product that is never in memory: plain structs and kernel declarations, no
// Torch, no CUDA.
#pragma once

#include <cstdint>

#include "core/simd.h"
#include "core/types.h"

namespace gnas {

// Codes of float32 rows, by which most scores are ruled out before they are computed.
struct TopkCodes {
  int8_t* codes;   // [rows, width]; null: there are none
  float* scale;    // [rows]: an entry is scale * (code + what it is off, at most a half and a little)
  int32_t* slack;  // [rows]: the half of the sum of the codes' magnitudes, and a little
};

// Score (i, j) is the product of row i of users and row j of items: a float, or of int8 rows the exact whole number
// times item_scale[j] times user_scale[i], in float32 and in this order. To it the bias is added. Larger scores come
// first, of equal ones the smaller item. -inf means never.
struct TopkScoresArgs {
  const void* users;        // [rows, width], floats of a dtype, or int8
  const void* items;        // [items, width], likewise
  const float* user_scale;  // [rows], or null: the rows are floats
  const float* item_scale;  // [items], or null
  const void* bias;         // [rows, items] of the scores' type, apart by its strides; or null
  int64_t bias_row;         // elements from one row to the next
  int64_t bias_item;
  const void* exclude_indptr;   // [rows + 1], index type; or null: nothing is left out
  const void* exclude_indices;  // index type, ascending in each row
  const int64_t* allow;         // [catalogue]: the items that take part, ascending, checked; or null: all
  void* values;                 // [rows, k], float32 (float64 for float64); -inf where no item is left
  int64_t* columns;             // [rows, k]; -1 where no item is left. All of a row with a NaN: NaN and -1
  void* partial;                // [rows, ranges, keep] keys, where there is more than one range
  uint64_t* bars;          // [rows], zeros, where there is more than one range: order_of a score that k items reach
  int64_t* partial_count;  // [rows, ranges]: how many of them there are; -1: a score was NaN
  TopkCodes user_codes;
  TopkCodes item_codes;
  int64_t rows;
  int64_t items_count;
  int64_t exclude_nnz;
  int64_t catalogue;  // items that take part
  int64_t width;
  int64_t k;
  int64_t keep;    // min(k, catalogue)
  int64_t block;   // users that are worked on together
  int64_t ranges;  // parts of the catalogue that are worked on apart, and merged
  Dtype dtype;     // of floats
  bool vnni;       // int8 by AVX512-VNNI
  bool wide_index;

  bool bytes() const { return user_scale != nullptr; }
  bool wide_score() const { return !bytes() && dtype == Dtype::f64; }
  // Keys hold a score and its item: 16 bytes for float64, 8 for float32.
  int64_t key_bytes() const { return wide_score() ? 16 : 8; }
  // Few keys are kept in order, 8 at a time, behind what is above all; of many the better half is found now and then.
  bool in_order() const { return keep <= 64; }
  int64_t capacity() const { return in_order() ? 8 + (keep + 7) / 8 * 8 : 2 * keep; }
  int64_t blocks() const { return (rows + block - 1) / block; }
  int64_t range_at(int64_t range) const { return catalogue / ranges * range + catalogue % ranges * range / ranges; }
};

constexpr int64_t kTopkScoresPanelBytes = 128;  // of one step, at the widest level
constexpr int64_t kTopkScoresStateBytes = 64;   // of one user
constexpr int64_t kTopkScoresWaitingBytes = 72;
constexpr int64_t kTopkScoresUnscreened = 512;  // the first items, from which the bars are

// Bytes that a thread needs, aligned to 64: the users' block, a panel of items with its scales, keys and states.
inline int64_t topk_scores_scratch(const TopkScoresArgs& a) {
  const int64_t unit = a.wide_score() ? 8 : 4;
  const int64_t steps = a.bytes() ? (a.width + 1) / 2 : a.width;
  const int64_t codes = a.user_codes.codes == nullptr ? 0 : a.width + 4 + kTopkScoresWaitingBytes;
  const int64_t bias = a.bias == nullptr ? 0 : kTopkScoresPanelBytes;
  const int64_t own = a.block * (steps * unit + codes + bias + kTopkScoresStateBytes + a.capacity() * a.key_bytes());
  const int64_t merge = a.ranges * a.keep * a.key_bytes();
  const int64_t most = own > merge ? own : merge;
  return most + (steps + 2) * kTopkScoresPanelBytes + 7 * 64;
}

// Works on the users of a block and on the items of a range.
GNAS_KERNEL(topk_scores_unit, const TopkScoresArgs& args, int64_t block, int64_t range, void* scratch)
// Writes the codes of some rows; *fit becomes false, and they are of no use, where a row has a NaN, an infinity or a
// magnitude out of 1e-15 ... 1e15 as its largest.
GNAS_KERNEL(topk_scores_codes, const float* rows, int64_t width, int64_t begin, int64_t end, const TopkCodes& to,
            bool* fit)
// Puts the ranges of some users together.
GNAS_KERNEL(topk_scores_merge, const TopkScoresArgs& args, int64_t begin, int64_t end, void* scratch)

// `scratch`: so many bytes, aligned to 16.
int64_t topk_scores_cuda_scratch(const TopkScoresArgs& a);
int topk_scores_cuda(const TopkScoresArgs& a, void* scratch, void* stream);

}  // namespace gnas
