// Schemas, safety checks and entries of block_linear and block_outer.
#include "ops/block_linear/block_linear.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "core/chunks.h"
#include "core/torch.h"

namespace gnas {
namespace {

void check_mask(const char* op, const Tensor& mask, int64_t out, int64_t in, int64_t block_out, int64_t block_in,
                const Tensor& x) {
  GNAS_CHECK(block_out > 0 && block_in > 0 && block_out % kStrip == 0 && block_in % kStrip == 0, op,
             ": expected blocks of multiples of ", kStrip, ", got ", block_out, " by ", block_in);
  GNAS_CHECK(out <= INT32_MAX && in <= INT32_MAX && block_out <= INT32_MAX && block_in <= INT32_MAX, op,
             ": expected less than 2^31 outputs and inputs");
  const int64_t down = (out + block_out - 1) / block_out;
  const int64_t across = (in + block_in - 1) / block_in;
  GNAS_CHECK(mask.dim() == 2 && mask.size(0) == down && mask.size(1) == across, op, ": expected mask of shape [", down,
             ", ", across, "], got ", shape_of(mask));
  GNAS_CHECK(mask.scalar_type() == ScalarType::Bool && mask.is_contiguous() && same_device(mask, x), op,
             ": expected a contiguous mask of bool on x's device");
}

BlockMask as_mask(const Tensor& mask, int64_t block_out, int64_t block_in) {
  return {static_cast<const bool*>(mask.data_ptr()), block_out, block_in, mask.size(1)};
}

#ifndef GNAS_CUDA
// The live blocks as the kernel walks them.
struct Strips {
  std::vector<int32_t> runs;
  std::vector<int64_t> strip{0};
  std::vector<int64_t> place{0};

  Strips(const BlockMask& mask, int64_t out, int64_t in) {
    for (int64_t first = 0; first < out; first += kStrip) {
      const bool* live = mask.live + first / mask.block_out * mask.across;
      int64_t inputs = 0;
      bool open = false;
      for (int64_t block = 0; block < mask.across; ++block) {
        const int64_t begin = block * mask.block_in;
        const int64_t length = std::min(mask.block_in, in - begin);
        if (live[block] && open) {  // neighbours are one run
          runs.back() += static_cast<int32_t>(length);
        } else if (live[block]) {
          runs.push_back(static_cast<int32_t>(begin));
          runs.push_back(static_cast<int32_t>(length));
        }
        open = live[block];
        if (open) inputs += length;
      }
      strip.push_back(static_cast<int64_t>(runs.size()) / 2);
      place.push_back(place.back() + inputs);
    }
  }
};
#endif

// The backward, which Python registers, calls this with the weight transposed.
Tensor block_linear(const Tensor& x, const Tensor& weight, const Tensor& mask, const OptionalTensor& bias,
                    int64_t block_out, int64_t block_in) {
  const char* op = "block_linear";
  check_matrix(op, "x", x);
  check_matrix(op, "weight", weight);
  const int64_t out = weight.size(0);
  const int64_t in = weight.size(1);
  GNAS_CHECK(x.size(1) == in, op, ": expected x of shape [rows, ", in, "], got ", shape_of(x));
  GNAS_CHECK(weight.scalar_type() == x.scalar_type() && same_device(weight, x), op,
             ": expected weight in x's dtype, on its device");
  check_mask(op, mask, out, in, block_out, block_in, x);
  if (bias)
    GNAS_CHECK(
        bias->dim() == 1 && bias->size(0) == out && bias->scalar_type() == x.scalar_type() && same_device(*bias, x), op,
        ": expected bias of shape [", out, "] in x's dtype, on its device, got ", shape_of(*bias));
  const Tensor from = as_contiguous(x);
  const Tensor by = as_contiguous(weight);
  const OptionalTensor added = as_contiguous(bias);
  const Tensor y = output_like(x, {x.size(0), out});
  const BlockMask live = as_mask(mask, block_out, block_in);
  BlockLinearArgs a{};
  a.x = from.data_ptr();
  a.y = y.data_ptr();
  a.rows = x.size(0);
  a.in = in;
  a.out = out;
  a.strips = (out + kStrip - 1) / kStrip;
  a.dtype = element_type(op, x);
#ifdef GNAS_CUDA
  a.bias = pointer(added);
  const torch::stable::accelerator::DeviceGuard guard(x.get_device_index());
  check_launch(op, block_linear_cuda(a, by.data_ptr(), live, current_stream(x)));
#else
  const Strips strips(live, out, in);
  const Tensor packed = output_like(x, {strips.place.back(), kStrip}, accumulator(a.dtype));
  const PackBlocksArgs pack{
      by.data_ptr(), packed.data_ptr(), strips.runs.data(), strips.strip.data(), strips.place.data(), in, out, a.dtype};
  const auto pack_strips = GNAS_AT_LEVEL(pack_blocks);
  parallel_for(0, a.strips, 4, [&](int64_t begin, int64_t end) { pack_strips(pack, begin, end); });
  a.packed = packed.data_ptr();
  a.runs = strips.runs.data();
  a.strip = strips.strip.data();
  a.place = strips.place.data();
  OptionalTensor wide;
  if (added) {
    // A column of one input, packed like the rest.
    wide = output_like(x, {a.strips, kStrip}, accumulator(a.dtype));
    std::vector<int32_t> runs;
    std::vector<int64_t> place(a.strips + 1);
    for (int64_t s = 0; s <= a.strips; ++s) place[s] = s;
    for (int64_t s = 0; s < a.strips; ++s) runs.insert(runs.end(), {0, 1});
    pack_strips({added->data_ptr(), wide->data_ptr(), runs.data(), place.data(), place.data(), 1, out, a.dtype}, 0,
                a.strips);
    a.bias = wide->data_ptr();
  }
  const auto rows = GNAS_AT_LEVEL(block_linear_rows);
  parallel_for(0, a.rows, 96, [&](int64_t begin, int64_t end) { rows(a, begin, end); });
#endif
  return y;
}

// The gradient of block_linear's weight: y^T x in live blocks.
Tensor block_outer(const Tensor& y, const Tensor& x, const Tensor& mask, int64_t block_out, int64_t block_in) {
  const char* op = "block_outer";
  check_matrix(op, "y", y);
  check_matrix(op, "x", x);
  GNAS_CHECK(y.size(0) == x.size(0), op, ": expected y of shape [", x.size(0), ", out], got ", shape_of(y));
  GNAS_CHECK(y.scalar_type() == x.scalar_type() && same_device(x, y), op, ": expected y in x's dtype, on its device");
  const int64_t out = y.size(1);
  const int64_t in = x.size(1);
  check_mask(op, mask, out, in, block_out, block_in, x);
  const Tensor left = as_contiguous(y);
  const Tensor right = as_contiguous(x);
  const Tensor d = output_like(x, {out, in});
  const BlockMask live = as_mask(mask, block_out, block_in);
  BlockOuterArgs a{left.data_ptr(), right.data_ptr(), nullptr, d.data_ptr(), x.size(0), out, in, element_type(op, x)};
#ifdef GNAS_CUDA
  const torch::stable::accelerator::DeviceGuard guard(x.get_device_index());
  check_launch(op, block_outer_cuda(a, live, current_stream(x)));
#else
  std::memset(a.d, 0, static_cast<size_t>(out * in) * x.element_size());
  std::vector<int32_t> tiles;
  for (int64_t o = 0; o < out; o += kTileOut) {
    for (int64_t i = 0; i < in; i += kTileIn) {
      if (!live.live[o / block_out * live.across + i / block_in]) continue;
      tiles.insert(tiles.end(), {static_cast<int32_t>(o), static_cast<int32_t>(std::min(kTileOut, out - o)),
                                 static_cast<int32_t>(i), static_cast<int32_t>(std::min(kTileIn, in - i))});
    }
  }
  a.tile = tiles.data();
  const auto kernel = GNAS_AT_LEVEL(block_outer_tiles);
  parallel_for(0, static_cast<int64_t>(tiles.size()) / 4, 4,
               [&](int64_t begin, int64_t end) { kernel(a, begin, end); });
#endif
  return d;
}

}  // namespace
}  // namespace gnas

#ifdef GNAS_CUDA
STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CUDA, m) {
#else
STABLE_TORCH_LIBRARY_FRAGMENT(gnas_ext, m) {
  // y = x (weight ⊙ mask)^T + bias, for a mask of blocks of [block_out, block_in].
  m.def("block_linear(Tensor x, Tensor weight, Tensor mask, Tensor? bias, int block_out, int block_in) -> Tensor");
  // (y^T x) ⊙ mask.
  m.def("block_outer(Tensor y, Tensor x, Tensor mask, int block_out, int block_in) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CPU, m) {
#endif
  m.impl("block_linear", TORCH_BOX(&gnas::block_linear));
  m.impl("block_outer", TORCH_BOX(&gnas::block_outer));
}
