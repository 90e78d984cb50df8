// Schemas, safety checks and entries of segment_reduce, segment_arg and gather_segments.
#include "ops/segment/segment.h"

#include "core/chunks.h"
#include "core/torch.h"

namespace gnas {
namespace {

// The tensors are kept: the pointers point into them.
struct Call {
  SegmentArgs args;
  Tensor src;
};

Call prepare(const char* op, const Tensor& src, const Tensor& indptr) {
  check_matrix(op, "src", src);
  const Csr csr = check_segments(op, indptr, src.size(0), src);
  Call call{{}, as_contiguous(src)};
  SegmentArgs& a = call.args;
  a.indptr = indptr.data_ptr();
  a.src = call.src.data_ptr();
  a.rows = csr.rows;
  a.nnz = csr.nnz;
  a.width = src.size(1);
  a.dtype = element_type(op, src);
  a.wide_index = csr.wide_index;
  return call;
}

#ifdef GNAS_CUDA
void run(const char* op, const SegmentArgs& a, const Tensor& src, const Tensor&) {
  const torch::stable::accelerator::DeviceGuard guard(src.get_device_index());
  const Scratch scratch(src, segment_cuda_scratch(a));
  check_launch(op, segment_cuda(a, scratch.data(), current_stream(src)));
}
#else
void run(const char*, SegmentArgs a, const Tensor& src, const Tensor& indptr) {
  if (a.rows == 0 || a.width == 0) return;
  a.chunks = work_chunks(a.rows, a.nnz);
  const Tensor carry = output_like(src, {2 * a.chunks, a.width}, accumulator(a.dtype));
  a.carry = carry.data_ptr();
  OptionalTensor carry_arg;
  if (a.arg != nullptr) {
    carry_arg = output_like(indptr, {2 * a.chunks, a.width});
    a.carry_arg = carry_arg->data_ptr();
  }
  const auto rows = GNAS_AT_LEVEL(segment_rows);
  for_chunks(a.chunks, [&](int64_t begin, int64_t end) { rows(a, begin, end); });
  if (a.chunks > 1) GNAS_AT_LEVEL(segment_carry)(a);
}
#endif

Tensor segment_reduce(const Tensor& src, const Tensor& indptr, const std::string& reduce) {
  Call call = prepare("segment_reduce", src, indptr);
  call.args.reduce = parse_reduce("segment_reduce", reduce, false);
  const Tensor out = output_like(src, {call.args.rows, call.args.width});
  call.args.out = out.data_ptr();
  run("segment_reduce", call.args, call.src, indptr);
  return out;
}

std::tuple<Tensor, Tensor> segment_arg(const Tensor& src, const Tensor& indptr, const std::string& reduce) {
  Call call = prepare("segment_arg", src, indptr);
  call.args.reduce = parse_reduce("segment_arg", reduce, true);
  const Tensor out = output_like(src, {call.args.rows, call.args.width});
  const Tensor arg = output_like(indptr, {call.args.rows, call.args.width});
  call.args.out = out.data_ptr();
  call.args.arg = arg.data_ptr();
  run("segment_arg", call.args, call.src, indptr);
  return {out, arg};
}

Tensor gather_segments(const Tensor& src, const Tensor& indptr, const OptionalTensor& select, int64_t nnz) {
  const char* op = "gather_segments";
  check_matrix(op, "src", src);
  GNAS_CHECK(nnz >= 0, op, ": expected nnz of 0 or more, got ", nnz);
  const Csr csr = check_segments(op, indptr, nnz, src);
  GNAS_CHECK(src.size(0) == csr.rows, op, ": expected src of shape [", csr.rows, ", width], got ", shape_of(src));
  if (select) {
    GNAS_CHECK(select->dim() == 2 && select->size(0) == src.size(0) && select->size(1) == src.size(1), op,
               ": expected select of src's shape ", shape_of(src), ", got ", shape_of(*select));
    GNAS_CHECK(select->scalar_type() == indptr.scalar_type(), op, ": expected select in indptr's dtype");
    GNAS_CHECK(same_device(*select, src), op, ": select and src are on different devices");
  }
  const Tensor from = as_contiguous(src);
  const OptionalTensor chosen = as_contiguous(select);
  const Tensor out = output_like(src, {nnz, src.size(1)});
  GatherSegmentsArgs args{};
  args.indptr = indptr.data_ptr();
  args.src = from.data_ptr();
  args.select = pointer(chosen);
  args.out = out.data_ptr();
  args.rows = csr.rows;
  args.nnz = nnz;
  args.width = src.size(1);
  args.dtype = element_type(op, src);
  args.wide_index = csr.wide_index;
#ifdef GNAS_CUDA
  const torch::stable::accelerator::DeviceGuard guard(src.get_device_index());
  const Scratch scratch(src, gather_segments_cuda_scratch(args));
  check_launch(op, gather_segments_cuda(args, scratch.data(), current_stream(src)));
#else
  args.chunks = work_chunks(csr.rows, nnz);
  const auto kernel = GNAS_AT_LEVEL(gather_segments);
  for_chunks(args.chunks, [&](int64_t begin, int64_t end) { kernel(args, begin, end); });
#endif
  return out;
}

}  // namespace
}  // namespace gnas

#ifdef GNAS_CUDA
STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CUDA, m) {
#else
STABLE_TORCH_LIBRARY_FRAGMENT(gnas_ext, m) {
  // out[i] = reduce over the entries e of segment i of src[e]; a segment without entries is zero. The gradient of max
  // and min needs segment_arg.
  m.def("segment_reduce(Tensor src, Tensor indptr, str reduce) -> Tensor");
  // Max or min, with the winning entry of each element (-1 in segments without entries).
  m.def("segment_arg(Tensor src, Tensor indptr, str reduce) -> (Tensor, Tensor)");
  // out[e, f] = src[i, f] for the segment i of entry e, where select[i, f] == e if given.
  m.def("gather_segments(Tensor src, Tensor indptr, Tensor? select, SymInt nnz) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CPU, m) {
#endif
  m.impl("segment_reduce", TORCH_BOX(&gnas::segment_reduce));
  m.impl("segment_arg", TORCH_BOX(&gnas::segment_arg));
  m.impl("gather_segments", TORCH_BOX(&gnas::gather_segments));
}
