// Schemas, safety checks and entries of attention, gat and their gradients.
#include "ops/attention/attention.h"

#include <utility>

#include "core/chunks.h"
#include "core/torch.h"

namespace gnas {
namespace {

// Keeps what the arguments' pointers point into.
struct Call {
  AttentionArgs args;
  Tensor left;
  Tensor right;
  Tensor v;
  OptionalTensor bias;
};

void check_like(const char* op, const char* name, const Tensor& t, int64_t rows, int64_t width, const Tensor& like) {
  GNAS_CHECK(t.dim() == 2 && t.size(0) == rows && t.size(1) == width, op, ": expected ", name, " of shape [", rows,
             ", ", width, "], got ", shape_of(t));
  GNAS_CHECK(t.scalar_type() == like.scalar_type(), op, ": expected ", name, " in x's dtype");
  GNAS_CHECK(same_device(t, like), op, ": ", name, " is on another device");
}

// What the two have in common. `dim` is a head's width in left and right, or 1 where they are added.
Call prepare(const char* op, const Tensor& indptr, const Tensor& indices, const OptionalTensor& edge,
             const Tensor& left, const Tensor& right, const Tensor& v, const OptionalTensor& bias, int64_t heads) {
  check_matrix(op, "x", v);
  const Dtype dtype = element_type(op, v);
  const Csr csr = check_csr(op, indptr, indices, v);
  check_edge(op, edge, indptr, csr.nnz);
  check_matrix(op, "the left side", left);
  GNAS_CHECK(heads >= 1 && v.size(1) % heads == 0 && left.size(1) % heads == 0, op, ": widths ", left.size(1), " and ",
             v.size(1), " are not multiples of ", heads, " heads");
  check_like(op, "the left side", left, csr.rows, left.size(1), v);
  check_like(op, "the right side", right, v.size(0), left.size(1), v);
  if (bias) check_like(op, "bias", *bias, csr.nnz, heads, v);
  Call call{{}, as_contiguous(left), as_contiguous(right), as_contiguous(v), as_contiguous(bias)};
  AttentionArgs& a = call.args;
  a.indptr = indptr.data_ptr();
  a.indices = indices.data_ptr();
  a.edge = pointer(edge);
  a.left = call.left.data_ptr();
  a.right = call.right.data_ptr();
  a.v = call.v.data_ptr();
  a.bias = pointer(call.bias);
  a.rows = csr.rows;
  a.cols = v.size(0);
  a.nnz = csr.nnz;
  a.heads = heads;
  a.dim = left.size(1) / heads;
  a.dim_v = v.size(1) / heads;
  a.dtype = dtype;
  a.wide_index = csr.wide_index;
  return call;
}

#ifdef GNAS_CUDA
using Kernel = int (*)(const AttentionArgs&, void*, void*);

void run(const char* op, const AttentionArgs& a, const Tensor& v, Kernel kernel) {
  const Scratch scratch(v, attention_cuda_scratch(a));
  check_launch(op, kernel(a, scratch.data(), current_stream(v)));
}
#define GNAS_RUN(op, args, v, name, carry) run(op, args, v, name##_cuda)
#else
using Kernel = void (*)(const AttentionArgs&, int64_t, int64_t);
using Carry = void (*)(const AttentionArgs&);

void run(const char* op, AttentionArgs a, const Tensor& v, Kernel kernel, Carry carry) {
  Fault fault;
  a.fault = &fault;
  a.chunks = work_chunks(a.rows, a.nnz);
  a.carry_width = attention_carry_width(a);
  const Tensor slots = output_like(v, {2 * a.chunks, a.carry_width}, accumulator(a.dtype));
  a.carry = slots.data_ptr();
  for_chunks(a.chunks, [&](int64_t begin, int64_t end) { kernel(a, begin, end); });
  check_fault(op, fault);
  if (a.chunks > 1) carry(a);
}
#define GNAS_RUN(op, args, v, name, carry) run(op, args, v, GNAS_AT_LEVEL(name), GNAS_AT_LEVEL(carry))
#endif

std::tuple<Tensor, Tensor> forward(const char* op, Call& call) {
  AttentionArgs& a = call.args;
  const Tensor out = output_like(call.v, {a.rows, a.heads * a.dim_v});
  const Tensor lse = output_like(call.v, {a.rows, a.heads}, accumulator(a.dtype));
  a.out = out.data_ptr();
  a.lse = lse.data_ptr();
#ifdef GNAS_CUDA
  const torch::stable::accelerator::DeviceGuard guard(call.v.get_device_index());
#endif
  GNAS_RUN(op, a, call.v, attention_rows, attention_carry);
  return {out, lse};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> backward(const char* op, Call& call, const Tensor& out, const Tensor& lse,
                                                    const Tensor& grad, const Tensor& t_indptr, const Tensor& t_indices,
                                                    const OptionalTensor& t_edge) {
  AttentionArgs& a = call.args;
  check_like(op, "out", out, a.rows, a.heads * a.dim_v, call.v);
  check_like(op, "grad", grad, a.rows, a.heads * a.dim_v, call.v);
  GNAS_CHECK(
      lse.dim() == 2 && lse.size(0) == a.rows && lse.size(1) == a.heads && lse.scalar_type() == accumulator(a.dtype),
      op, ": expected lse of shape [", a.rows, ", ", a.heads, "], float32 (float64 for float64), got ", shape_of(lse));
  GNAS_CHECK(same_device(lse, call.v), op, ": lse is on another device");
  const Csr transposed = check_csr(op, t_indptr, t_indices, call.v);
  GNAS_CHECK(transposed.rows == a.cols && transposed.nnz == a.nnz && transposed.wide_index == a.wide_index, op,
             ": expected a transpose of ", a.cols, " rows and ", a.nnz, " entries, of the graph's index type, got ",
             transposed.rows, " and ", transposed.nnz);
  check_edge(op, t_edge, t_indptr, a.nnz);

  const Tensor result = as_contiguous(out);
  const Tensor sums = as_contiguous(lse);
  const Tensor gradient = as_contiguous(grad);
  // Places that only a corrupt call leaves out are zero, so that nothing stale is read.
  const Tensor edges = a.edge != nullptr ? torch::stable::new_zeros(call.v, {a.nnz, 2, a.heads}, accumulator(a.dtype))
                                         : output_like(call.v, {a.nnz, 2, a.heads}, accumulator(a.dtype));
  const Tensor d_left = output_like(call.v, {a.rows, a.heads * a.dim});
  const Tensor d_right = output_like(call.v, {a.cols, a.heads * a.dim});
  const Tensor d_v = output_like(call.v, {a.cols, a.heads * a.dim_v});
  const int64_t biases = a.bias == nullptr ? 0 : a.nnz;
  const Tensor d_bias =
      a.edge != nullptr ? torch::stable::new_zeros(call.v, {biases, a.heads}) : output_like(call.v, {biases, a.heads});
  a.out = result.data_ptr();
  a.lse = sums.data_ptr();
  a.grad = gradient.data_ptr();
  a.edges = edges.data_ptr();
  a.d_left = d_left.data_ptr();
  a.d_right = d_right.data_ptr();
  a.d_v = d_v.data_ptr();
  a.d_bias = a.bias == nullptr ? nullptr : d_bias.data_ptr();
#ifdef GNAS_CUDA
  const torch::stable::accelerator::DeviceGuard guard(call.v.get_device_index());
#endif
  GNAS_RUN(op, a, call.v, attention_backward_rows, attention_backward_rows_carry);
  a.indptr = t_indptr.data_ptr();
  a.indices = t_indices.data_ptr();
  a.edge = pointer(t_edge);
  std::swap(a.rows, a.cols);
  GNAS_RUN(op, a, call.v, attention_backward_cols, attention_backward_cols_carry);
  return {d_left, d_right, d_v, d_bias};
}

std::tuple<Tensor, Tensor> attention(const Tensor& indptr, const Tensor& indices, const OptionalTensor& edge,
                                     const Tensor& q, const Tensor& k, const Tensor& v, const OptionalTensor& bias,
                                     int64_t heads, double scale, const OptionalTensor&, const OptionalTensor&,
                                     const OptionalTensor&) {
  Call call = prepare("attention", indptr, indices, edge, q, k, v, bias, heads);
  call.args.scale = scale;
  return forward("attention", call);
}

std::tuple<Tensor, Tensor, Tensor, Tensor> attention_backward(
    const Tensor& indptr, const Tensor& indices, const OptionalTensor& edge, const Tensor& q, const Tensor& k,
    const Tensor& v, const OptionalTensor& bias, int64_t heads, double scale, const Tensor& out, const Tensor& lse,
    const Tensor& grad, const Tensor& t_indptr, const Tensor& t_indices, const OptionalTensor& t_edge) {
  const char* op = "attention_backward";
  Call call = prepare(op, indptr, indices, edge, q, k, v, bias, heads);
  call.args.scale = scale;
  return backward(op, call, out, lse, grad, t_indptr, t_indices, t_edge);
}

Call prepare_gat(const char* op, const Tensor& indptr, const Tensor& indices, const OptionalTensor& edge,
                 const Tensor& a_dst, const Tensor& a_src, const Tensor& x, double negative_slope) {
  check_matrix(op, "a_dst", a_dst);
  Call call = prepare(op, indptr, indices, edge, a_dst, a_src, x, std::nullopt, a_dst.size(1));
  call.args.additive = true;
  call.args.scale = 1;
  call.args.slope = negative_slope;
  return call;
}

std::tuple<Tensor, Tensor> gat(const Tensor& indptr, const Tensor& indices, const OptionalTensor& edge,
                               const Tensor& a_dst, const Tensor& a_src, const Tensor& x, double negative_slope,
                               const OptionalTensor&, const OptionalTensor&, const OptionalTensor&) {
  Call call = prepare_gat("gat", indptr, indices, edge, a_dst, a_src, x, negative_slope);
  return forward("gat", call);
}

std::tuple<Tensor, Tensor, Tensor> gat_backward(const Tensor& indptr, const Tensor& indices, const OptionalTensor& edge,
                                                const Tensor& a_dst, const Tensor& a_src, const Tensor& x,
                                                double negative_slope, const Tensor& out, const Tensor& lse,
                                                const Tensor& grad, const Tensor& t_indptr, const Tensor& t_indices,
                                                const OptionalTensor& t_edge) {
  const char* op = "gat_backward";
  Call call = prepare_gat(op, indptr, indices, edge, a_dst, a_src, x, negative_slope);
  const auto [d_dst, d_src, d_x, none] = backward(op, call, out, lse, grad, t_indptr, t_indices, t_edge);
  return {d_dst, d_src, d_x};
}

}  // namespace
}  // namespace gnas

#ifdef GNAS_CUDA
STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CUDA, m) {
#else
STABLE_TORCH_LIBRARY_FRAGMENT(gnas_ext, m) {
  // A head h at a time, which owns as many columns as the others: s[e] = scale * <q[row of e], k[indices[e]]> +
  // bias[edge[e]], p = softmax of s over each row's entries, out[i] = sum over the entries e of row i of
  // p[e] * v[indices[e]]; and the logarithm of each row's sum of exp(s), [rows, heads], in the accumulator's type.
  m.def(
      "attention(Tensor indptr, Tensor indices, Tensor? edge, Tensor q, Tensor k, Tensor v, Tensor? bias, int heads, "
      "float scale, Tensor? t_indptr, Tensor? t_indices, Tensor? t_edge) -> (Tensor, Tensor)");
  // The gradients of q, k, v and bias ([0, heads] without one).
  m.def(
      "attention_backward(Tensor indptr, Tensor indices, Tensor? edge, Tensor q, Tensor k, Tensor v, Tensor? bias, "
      "int heads, float scale, Tensor out, Tensor lse, Tensor grad, Tensor t_indptr, Tensor t_indices, "
      "Tensor? t_edge) -> (Tensor, Tensor, Tensor, Tensor)");
  // The same with s[e] = leaky_relu(a_dst[row of e] + a_src[indices[e]]), a_dst of [rows, heads], a_src of
  // [cols, heads], and x for v.
  m.def(
      "gat(Tensor indptr, Tensor indices, Tensor? edge, Tensor a_dst, Tensor a_src, Tensor x, float negative_slope, "
      "Tensor? t_indptr, Tensor? t_indices, Tensor? t_edge) -> (Tensor, Tensor)");
  // The gradients of a_dst, a_src and x.
  m.def(
      "gat_backward(Tensor indptr, Tensor indices, Tensor? edge, Tensor a_dst, Tensor a_src, Tensor x, "
      "float negative_slope, Tensor out, Tensor lse, Tensor grad, Tensor t_indptr, Tensor t_indices, Tensor? t_edge) "
      "-> (Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CPU, m) {
#endif
  m.impl("attention", TORCH_BOX(&gnas::attention));
  m.impl("attention_backward", TORCH_BOX(&gnas::attention_backward));
  m.impl("gat", TORCH_BOX(&gnas::gat));
  m.impl("gat_backward", TORCH_BOX(&gnas::gat_backward));
}
