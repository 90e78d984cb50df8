// Schemas, safety checks and entries of segment_softmax and segment_softmax_backward.
#include "ops/segment_softmax/segment_softmax.h"

#include "core/chunks.h"
#include "core/torch.h"

namespace gnas {
namespace {

#ifdef GNAS_CUDA
void run(const char* op, const SegmentSoftmaxArgs& a, const Tensor& x) {
  const torch::stable::accelerator::DeviceGuard guard(x.get_device_index());
  const Scratch scratch(x, segment_softmax_cuda_scratch(a));
  check_launch(op, segment_softmax_cuda(a, scratch.data(), current_stream(x)));
}
#else
void run(const char*, SegmentSoftmaxArgs a, const Tensor& x) {
  if (a.nnz == 0 || a.heads == 0) return;
  a.chunks = work_chunks(a.rows, a.nnz);
  const Tensor carry = output_like(x, {2 * a.chunks, 2, a.heads}, accumulator(a.dtype));
  a.carry = carry.data_ptr();
  const auto rows = GNAS_AT_LEVEL(segment_softmax_rows);
  for_chunks(a.chunks, [&](int64_t begin, int64_t end) { rows(a, begin, end); });
  if (a.chunks == 1) return;
  GNAS_AT_LEVEL(segment_softmax_carry)(a);
  const auto pieces = GNAS_AT_LEVEL(segment_softmax_pieces);
  for_chunks(a.chunks, [&](int64_t begin, int64_t end) { pieces(a, begin, end); });
}
#endif

// The length of indptr and of x's first dimension is all the structure there is.
Tensor softmax(const char* op, const Tensor& indptr, const Tensor& x, const OptionalTensor& grad) {
  GNAS_CHECK(x.dim() == 1 || x.dim() == 2, op, ": expected x of shape [nnz] or [nnz, heads], got ", shape_of(x));
  SegmentSoftmaxArgs a{};
  a.dtype = element_type(op, x);
  const Csr csr = check_segments(op, indptr, x.size(0), x);
  if (grad) {
    GNAS_CHECK(shape_of(*grad) == shape_of(x), op, ": expected grad of x's shape ", shape_of(x), ", got ",
               shape_of(*grad));
    GNAS_CHECK(grad->scalar_type() == x.scalar_type(), op, ": expected grad in x's dtype");
    GNAS_CHECK(same_device(*grad, x), op, ": grad and x are on different devices");
  }
  const Tensor from = as_contiguous(x);
  const OptionalTensor gradient = as_contiguous(grad);
  const Tensor out = x.dim() == 1 ? output_like(x, {x.size(0)}) : output_like(x, {x.size(0), x.size(1)});
  a.indptr = indptr.data_ptr();
  a.x = from.data_ptr();
  a.grad = pointer(gradient);
  a.out = out.data_ptr();
  a.rows = csr.rows;
  a.nnz = csr.nnz;
  a.heads = x.dim() == 1 ? 1 : x.size(1);
  a.wide_index = csr.wide_index;
  run(op, a, x);
  return out;
}

Tensor segment_softmax(const Tensor& indptr, const Tensor& score) {
  return softmax("segment_softmax", indptr, score, std::nullopt);
}

Tensor segment_softmax_backward(const Tensor& indptr, const Tensor& out, const Tensor& grad) {
  return softmax("segment_softmax_backward", indptr, out, grad);
}

}  // namespace
}  // namespace gnas

#ifdef GNAS_CUDA
STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CUDA, m) {
#else
STABLE_TORCH_LIBRARY_FRAGMENT(gnas_ext, m) {
  // out[e] = exp(score[e]) / sum of the same over the entries of e's row; a head at a time for score of [nnz, heads].
  m.def("segment_softmax(Tensor indptr, Tensor score) -> Tensor");
  // out[e] = x[e] * (grad[e] - sum of x * grad over the entries of e's row): the gradient, x being what came out.
  m.def("segment_softmax_backward(Tensor indptr, Tensor x, Tensor grad) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CPU, m) {
#endif
  m.impl("segment_softmax", TORCH_BOX(&gnas::segment_softmax));
  m.impl("segment_softmax_backward", TORCH_BOX(&gnas::segment_softmax_backward));
}
