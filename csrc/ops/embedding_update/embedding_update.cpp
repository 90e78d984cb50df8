// Schema, safety checks and entries of embedding_update_int8.
#include "ops/embedding_update/embedding_update.h"

#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "core/chunks.h"
#include "core/quantized_torch.h"
#include "core/torch.h"
#include "ops/embedding_update/by_row.h"

namespace gnas {
namespace {

// What a table is told to become; the tensors behind the pointers of `args` are the caller's.
struct Update {
  EmbeddingUpdateArgs args;
  Tensor codes;
  Tensor scale;
  OptionalTensor zero;
  Tensor index;
  Tensor grad;
  Tensor state;
};

// Where the steps are computed, before they are put in place.
struct Aside {
  Aside(EmbeddingUpdateArgs& a, const Tensor& like)
      : codes(output_like(like, {a.steps, a.table.width}, ScalarType::Char)),
        numbers(output_like(like, {3, a.steps}, ScalarType::Float)) {
    a.codes = static_cast<uint8_t*>(codes.data_ptr());
    a.scale = static_cast<float*>(numbers.data_ptr());
    a.new_state = a.scale + a.steps;
    a.zero = a.spec.symmetric ? nullptr : a.new_state + a.steps;
  }
  Tensor codes;
  Tensor numbers;
};

void check_steps(const char* op, int64_t refused, int64_t steps, int64_t row) {
  GNAS_CHECK(refused == steps, op, ": the step of row ", row,
             " is not finite: its gradient holds NaN or Inf or is too large to square, or lr or its state is wrong");
}

#ifdef GNAS_CUDA
// The rows of the entries in order, and the entries by row.
std::tuple<Tensor, Tensor> sorted(const Tensor& index) {
  std::array<StableIValue, 4> stack{torch::stable::detail::from(index),
                                    torch::stable::detail::from(std::optional<bool>(true)),
                                    torch::stable::detail::from(int64_t{0}), torch::stable::detail::from(false)};
  TORCH_ERROR_CODE_CHECK(torch_call_dispatcher("aten::sort", "stable", stack.data(), TORCH_ABI_VERSION));
  return {torch::stable::detail::to<Tensor>(stack[0]), torch::stable::detail::to<Tensor>(stack[1])};
}

void run(const char* op, Update& u) {
  EmbeddingUpdateArgs& a = u.args;
  const torch::stable::accelerator::DeviceGuard guard(u.codes.get_device_index());
  const Tensor wide = torch::stable::to(u.index, ScalarType::Long);
  const auto [row, entry] = sorted(wide);
  a.row = static_cast<const int64_t*>(row.data_ptr());
  a.entry = static_cast<const int64_t*>(entry.data_ptr());
  a.steps = u.index.size(0);
  const Aside aside(a, u.codes);
  const Tensor room = output_like(u.codes, {a.steps, a.table.width}, ScalarType::Float);
  // The refused step, and its row.
  const Tensor first = output_like(u.codes, {2}, ScalarType::Long);
  a.refused = static_cast<int64_t*>(first.data_ptr());
  int64_t refused[2] = {a.steps, -1};
  check_launch(op, embedding_update_cuda(a, static_cast<float*>(room.data_ptr()), current_stream(u.codes), refused));
  GNAS_CHECK(refused[0] == a.steps || (refused[1] >= 0 && refused[1] < a.table.rows), op, ": index holds ", refused[1],
             ", expected 0 or more and less than the ", a.table.rows, " rows");
  check_steps(op, refused[0], a.steps, refused[1]);
}
#else
template <class I>
ByRow checked_order(const char* op, const Tensor& index, int64_t rows) {
  const I* at = static_cast<const I*>(index.data_ptr());
  const int64_t count = index.size(0);
  for (int64_t e = 0; e < count; ++e)
    GNAS_CHECK(at[e] >= 0 && static_cast<int64_t>(at[e]) < rows, op, ": index[", e, "] is ", at[e],
               ", expected 0 or more and less than the ", rows, " rows");
  return by_row(at, count, rows);
}

void run(const char* op, Update& u) {
  EmbeddingUpdateArgs& a = u.args;
  const ByRow order = u.index.scalar_type() == ScalarType::Long ? checked_order<int64_t>(op, u.index, a.table.rows)
                                                                : checked_order<int32_t>(op, u.index, a.table.rows);
  a.row = order.row.data();
  a.entry = order.entry.data();
  a.entries = order.entries.data();
  a.steps = static_cast<int64_t>(order.row.size());
  const Aside aside(a, u.codes);
  int64_t refused = a.steps;
  a.refused = &refused;
  const int64_t width = a.table.width;
  const auto kernel = GNAS_AT_LEVEL(embedding_update);
  const int64_t grain = 1 + (1 << 13) / (width + 1);
  parallel_for(0, a.steps, grain, [&](int64_t begin, int64_t end) {
    std::vector<float> room((width + 15) / 16 * 16);
    kernel(a, room.data(), begin, end);
  });
  check_steps(op, refused, a.steps, refused < a.steps ? a.row[refused] : -1);
  auto* codes = static_cast<uint8_t*>(u.codes.data_ptr());
  auto* scale = static_cast<float*>(u.scale.data_ptr());
  auto* zero = u.zero ? static_cast<float*>(u.zero->data_ptr()) : nullptr;
  auto* state = static_cast<float*>(u.state.data_ptr());
  parallel_for(0, a.steps, grain, [&](int64_t begin, int64_t end) {
    for (int64_t step = begin; step < end; ++step) {
      const int64_t row = a.row[step];
      std::memcpy(codes + row * width, a.codes + step * width, width);
      scale[row] = a.scale[step];
      if (zero != nullptr) zero[row] = a.zero[step];
      state[row] = a.new_state[step];
    }
  });
}
#endif

void embedding_update_int8(const Tensor& codes, const Tensor& scale, const OptionalTensor& zero, const Tensor& index,
                           const Tensor& grad, const Tensor& state, double lr, double eps, int64_t seed) {
  const char* op = "embedding_update_int8";
  GNAS_CHECK(codes.dim() == 2, op, ": expected codes of shape [rows, width], got ", shape_of(codes));
  const QuantizedTable table = check_quantized(op, codes, scale, zero, 8, codes.size(1));
  GNAS_CHECK(index.dim() == 1, op, ": expected index of shape [batch], got ", shape_of(index));
  const ScalarType type = index.scalar_type();
  GNAS_CHECK(type == ScalarType::Int || type == ScalarType::Long, op, ": expected index of int32 or int64");
  GNAS_CHECK(grad.dim() == 2 && grad.size(0) == index.size(0) && grad.size(1) == table.width, op,
             ": expected grad of shape [", index.size(0), ", ", table.width, "], got ", shape_of(grad));
  GNAS_CHECK(state.dim() == 1 && state.size(0) == table.rows, op, ": expected state of shape [", table.rows, "], got ",
             shape_of(state));
  GNAS_CHECK(state.scalar_type() == ScalarType::Float && state.is_contiguous(), op,
             ": expected contiguous state in float32");
  GNAS_CHECK(same_device(index, codes) && same_device(grad, codes) && same_device(state, codes), op,
             ": index, grad, state and codes are on different devices");
  GNAS_CHECK(std::isfinite(static_cast<float>(lr)), op, ": expected a finite lr, got ", lr);
  GNAS_CHECK(static_cast<float>(eps) > 0 && std::isfinite(static_cast<float>(eps)), op,
             ": expected an eps above 0, got ", eps);
  // The table and its state have no more than float32.
  const bool wide = element_type(op, grad) == Dtype::f64;
  const Tensor narrowed = wide ? torch::stable::to(grad, ScalarType::Float) : grad;
  Update u{{}, codes, scale, zero, as_contiguous(index), as_contiguous(narrowed), state};
  EmbeddingUpdateArgs& a = u.args;
  a.table = table;
  a.state = static_cast<const float*>(state.data_ptr());
  a.grad = u.grad.data_ptr();
  a.dtype = element_type(op, u.grad);
  a.lr = static_cast<float>(lr);
  a.eps = static_cast<float>(eps);
  a.spec = {8, !zero, true, false, static_cast<uint64_t>(seed), kUpdateFamily};
  if (index.size(0) == 0 || table.width == 0) return;
  run(op, u);
}

}  // namespace
}  // namespace gnas

#ifdef GNAS_CUDA
STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CUDA, m) {
#else
STABLE_TORCH_LIBRARY_FRAGMENT(gnas_ext, m) {
  // A step of row-wise Adagrad on the rows that index names, and their state.
  m.def(
      "embedding_update_int8(Tensor(a!) codes, Tensor(b!) scale, Tensor(c!)? zero, Tensor index, Tensor grad, "
      "Tensor(d!) state, float lr, float eps, int seed) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CPU, m) {
#endif
  m.impl("embedding_update_int8", TORCH_BOX(&gnas::embedding_update_int8));
}
