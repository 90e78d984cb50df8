// Schemas, safety checks and entries of segment_reduce, segment_arg and gather_segments.
#include "ops/segment/segment.h"

#include "core/chunks.h"
#include "core/torch.h"

namespace gnas {
namespace {

Reduce parse(const char* op, const std::string& reduce, bool only_extreme) {
  if (!only_extreme && reduce == "sum") return Reduce::sum;
  if (!only_extreme && reduce == "mean") return Reduce::mean;
  if (reduce == "max") return Reduce::max;
  if (reduce == "min") return Reduce::min;
  GNAS_CHECK(false, op, ": expected reduce ", only_extreme ? "max or min" : "sum, mean, max or min", ", got ", reduce);
  return Reduce::sum;
}

// Checks that the segments tile `nnz` entries, and returns whether indptr is of int64.
bool check_segments(const char* op, const Tensor& indptr, int64_t nnz, const Tensor& like) {
  GNAS_CHECK(indptr.dim() == 1 && indptr.size(0) >= 1, op, ": expected indptr of shape [rows + 1], got ",
             shape_of(indptr));
  const ScalarType type = indptr.scalar_type();
  GNAS_CHECK(type == ScalarType::Int || type == ScalarType::Long, op, ": expected indptr of int32 or int64");
  GNAS_CHECK(same_device(indptr, like), op, ": indptr and src are on different devices");
  GNAS_CHECK(indptr.is_contiguous(), op, ": expected contiguous indptr");
  const bool wide = type == ScalarType::Long;
  if (indptr.is_cpu()) {
    if (wide)
      check_row_pointers(op, static_cast<const int64_t*>(indptr.data_ptr()), indptr.size(0) - 1, nnz);
    else
      check_row_pointers(op, static_cast<const int32_t*>(indptr.data_ptr()), indptr.size(0) - 1, nnz);
  }
  return wide;
}

// The tensors are kept: the pointers point into them.
struct Call {
  SegmentArgs args;
  Tensor src;
};

Call prepare(const char* op, const Tensor& src, const Tensor& indptr) {
  check_matrix(op, "src", src);
  const bool wide = check_segments(op, indptr, src.size(0), src);
  Call call{{}, as_contiguous(src)};
  SegmentArgs& a = call.args;
  a.indptr = indptr.data_ptr();
  a.src = call.src.data_ptr();
  a.rows = indptr.size(0) - 1;
  a.nnz = src.size(0);
  a.width = src.size(1);
  a.dtype = element_type(op, src);
  a.wide_index = wide;
  return call;
}

#ifdef GNAS_CUDA
void run(const char* op, const SegmentArgs& a, const Tensor& src, const Tensor&) {
  const torch::stable::accelerator::DeviceGuard guard(src.get_device_index());
  check_launch(op, segment_cuda(a, current_stream(src)));
}
#else
void run(const char*, SegmentArgs a, const Tensor& src, const Tensor& indptr) {
  if (a.rows == 0 || a.width == 0) return;
  a.chunks = work_chunks(a.rows, a.nnz);
  const auto accumulator = a.dtype == Dtype::f64 ? ScalarType::Double : ScalarType::Float;
  const Tensor carry = torch::stable::new_empty(src, {2 * a.chunks, a.width}, accumulator);
  a.carry = carry.data_ptr();
  OptionalTensor carry_arg;
  if (a.arg != nullptr) {
    carry_arg = torch::stable::new_empty(indptr, {2 * a.chunks, a.width});
    a.carry_arg = carry_arg->data_ptr();
  }
  const auto rows = GNAS_AT_LEVEL(segment_rows);
  for_chunks(a.chunks, [&](int64_t begin, int64_t end) { rows(a, begin, end); });
  if (a.chunks > 1) GNAS_AT_LEVEL(segment_carry)(a);
}
#endif

Tensor segment_reduce(const Tensor& src, const Tensor& indptr, const std::string& reduce) {
  Call call = prepare("segment_reduce", src, indptr);
  call.args.reduce = parse("segment_reduce", reduce, false);
  const Tensor out = output_like(src, {call.args.rows, call.args.width});
  call.args.out = out.data_ptr();
  run("segment_reduce", call.args, call.src, indptr);
  return out;
}

std::tuple<Tensor, Tensor> segment_arg(const Tensor& src, const Tensor& indptr, const std::string& reduce) {
  Call call = prepare("segment_arg", src, indptr);
  call.args.reduce = parse("segment_arg", reduce, true);
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
  const bool wide = check_segments(op, indptr, nnz, src);
  const int64_t rows = indptr.size(0) - 1;
  GNAS_CHECK(src.size(0) == rows, op, ": expected src of shape [", rows, ", width], got ", shape_of(src));
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
  args.rows = rows;
  args.nnz = nnz;
  args.width = src.size(1);
  args.dtype = element_type(op, src);
  args.wide_index = wide;
#ifdef GNAS_CUDA
  const torch::stable::accelerator::DeviceGuard guard(src.get_device_index());
  check_launch(op, gather_segments_cuda(args, current_stream(src)));
#else
  args.chunks = work_chunks(rows, nnz);
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
