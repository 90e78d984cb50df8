// Schemas, safety checks and entries of spmm, spmm_out, spmm_arg, spmm_select and propagate.
#include "ops/spmm/spmm.h"

#include "core/chunks.h"
#include "core/torch.h"
#ifndef GNAS_CUDA
#include "core/panels.h"
#include "ops/scatter/scatter.h"
#include "ops/spmm/entry.h"
#endif

namespace gnas {
namespace {

#ifdef GNAS_CUDA
void run(const char* op, const SpmmArgs& a, const Tensor& x, const Tensor&) {
  const torch::stable::accelerator::DeviceGuard guard(x.get_device_index());
  const Scratch scratch(x, spmm_cuda_scratch(a));
  check_launch(op, spmm_cuda(a, scratch.data(), current_stream(x)));
}
#else
// What the pieces of divided rows come to, until they are put together.
struct Carry {
  Carry(SpmmArgs& a, const Tensor& x, const Tensor& indices) {
    a.chunks = work_chunks(a.rows, a.nnz);
    if (a.chunks == 1) return;
    value = output_like(x, {2 * a.chunks, a.width}, accumulator(a.dtype));
    a.carry = value->data_ptr();
    if (a.arg == nullptr) return;
    arg = output_like(indices, {2 * a.chunks, a.width});
    a.carry_arg = arg->data_ptr();
  }
  OptionalTensor value;
  OptionalTensor arg;
};

// All rows of a panel, or of the whole.
void pass(const char* op, SpmmArgs a) {
  Fault fault;
  a.fault = &fault;
  const auto rows = GNAS_AT_LEVEL(spmm_rows);
  for_chunks(a.chunks, [&](int64_t begin, int64_t end) { rows(a, begin, end); });
  if (a.chunks > 1) GNAS_AT_LEVEL(spmm_carry)(a);
  check_fault(op, fault);
}

// The weights in the order of the entries, for calls that read them more than once. Null where they are so already.
OptionalTensor ordered_weights(const char* op, SpmmArgs& a, const Tensor& x) {
  if (a.edge == nullptr || a.weight == nullptr) return std::nullopt;
  const Tensor ordered = output_like(x, {a.nnz, a.heads});
  Fault fault;
  const GatherRowsArgs gather{
      a.edge,      a.weight, ordered.data_ptr(), &fault, a.nnz, a.nnz, a.heads * static_cast<int64_t>(x.element_size()),
      a.wide_index};
  const auto rows = GNAS_AT_LEVEL(gather_rows);
  parallel_for(0, a.nnz, 1 << 14, [&](int64_t begin, int64_t end) { rows(gather, begin, end); });
  check_fault(op, fault);
  a.edge = nullptr;
  a.weight = ordered.data_ptr();
  return ordered;
}

// Heads and winners are told from the column's place in the whole row: such calls are not divided.
Panels panels_of(const SpmmArgs& a, const Tensor& x) {
  const bool whole = a.heads > 1 || a.select != nullptr;
  return Panels({a.x, a.cols, a.width, static_cast<int64_t>(x.element_size()), whole ? 0 : a.nnz});
}

SpmmArgs of_panel(SpmmArgs a, const Panel& panel) {
  a.x = panel.data;
  a.x_stride = panel.stride;
  a.width = panel.width;
  return a;
}

void run(const char* op, SpmmArgs a, const Tensor& x, const Tensor& indices) {
  const Carry carry(a, x, indices);
  OptionalTensor weights;
  const Panels panels = panels_of(a, x);
  if (panels.count() > 1) weights = ordered_weights(op, a, x);
  panels.each([&](const Panel& panel) {
    SpmmArgs part = of_panel(a, panel);
    part.out = advance(a.out, panel.column, x.element_size());
    part.arg = advance(a.arg, panel.column, indices.element_size());
    pass(op, part);
  });
}
#endif

struct Call {
  SpmmArgs args;
  Tensor x;
  OptionalTensor weight;
};

// Checks what spmm, spmm_arg and spmm_select have in common. The tensors are kept: the pointers point into them.
Call prepare(const char* op, const Tensor& indptr, const Tensor& indices, const OptionalTensor& edge,
             const OptionalTensor& weight, const Tensor& x) {
  check_matrix(op, "x", x);
  const Csr csr = check_csr(op, indptr, indices, x);
  check_edge(op, edge, indptr, csr.nnz);
  if (weight) {
    GNAS_CHECK((weight->dim() == 1 || weight->dim() == 2) && weight->size(0) == csr.nnz, op,
               ": expected weight of shape [", csr.nnz, "] or [", csr.nnz, ", heads], got ", shape_of(*weight));
    GNAS_CHECK(weight->scalar_type() == x.scalar_type(), op, ": expected weight in x's dtype");
    GNAS_CHECK(same_device(*weight, x), op, ": weight and x are on different devices");
  }
  Call call{{}, as_contiguous(x), as_contiguous(weight)};
  SpmmArgs& a = call.args;
  a.indptr = indptr.data_ptr();
  a.indices = indices.data_ptr();
  a.edge = pointer(edge);
  a.weight = pointer(call.weight);
  a.x = call.x.data_ptr();
  a.rows = csr.rows;
  a.cols = x.size(0);
  a.nnz = csr.nnz;
  a.width = a.x_stride = a.out_stride = a.sum_stride = x.size(1);
  a.heads = weight && weight->dim() == 2 ? weight->size(1) : 1;
  GNAS_CHECK(a.heads > 0 && a.width % a.heads == 0, op, ": expected a width that is a multiple of the ", a.heads,
             " heads of weight, got ", a.width);
  a.dtype = element_type(op, x);
  a.wide_index = csr.wide_index;
  return call;
}

// The transpose is only for the backward, which Python registers.
Tensor spmm(const Tensor& indptr, const Tensor& indices, const OptionalTensor& edge, const OptionalTensor& weight,
            const Tensor& x, const std::string& reduce, const OptionalTensor&, const OptionalTensor&,
            const OptionalTensor&) {
  Call call = prepare("spmm", indptr, indices, edge, weight, x);
  Tensor out = output_like(x, {call.args.rows, call.args.width});
  call.args.reduce = parse_reduce("spmm", reduce, false);
  call.args.out = out.data_ptr();
  run("spmm", call.args, call.x, indices);
  return out;
}

bool overlap(const Tensor& a, const Tensor& b) {
  const auto begin = [](const Tensor& t) { return reinterpret_cast<uintptr_t>(t.data_ptr()); };
  const auto bytes = [](const Tensor& t) { return static_cast<uintptr_t>(t.numel() * t.element_size()); };
  return begin(a) < begin(b) + bytes(b) && begin(b) < begin(a) + bytes(a);
}

// spmm into memory that is there.
void spmm_out(const Tensor& indptr, const Tensor& indices, const OptionalTensor& edge, const OptionalTensor& weight,
              const Tensor& x, const std::string& reduce, Tensor out) {
  const char* op = "spmm_out";
  Call call = prepare(op, indptr, indices, edge, weight, x);
  GNAS_CHECK(out.dim() == 2 && out.size(0) == call.args.rows && out.size(1) == call.args.width && out.is_contiguous(),
             op, ": expected a contiguous out of shape [", call.args.rows, ", ", call.args.width, "], got ",
             shape_of(out));
  GNAS_CHECK(out.scalar_type() == x.scalar_type(), op, ": expected out in x's dtype");
  GNAS_CHECK(same_device(out, x), op, ": out and x are on different devices");
  // What was made contiguous is a copy, which nothing overlaps.
  GNAS_CHECK(!overlap(out, call.x) && !(call.weight && overlap(out, *call.weight)) && !overlap(out, indices) &&
                 !overlap(out, indptr) && !(edge && overlap(out, *edge)),
             op, ": out shares memory with an input, which is read after out is written");
  call.args.reduce = parse_reduce(op, reduce, false);
  call.args.out = out.data_ptr();
  run(op, call.args, call.x, indices);
}

std::tuple<Tensor, Tensor> spmm_arg(const Tensor& indptr, const Tensor& indices, const OptionalTensor& weight,
                                    const Tensor& x, const std::string& reduce, const OptionalTensor&,
                                    const OptionalTensor&, const OptionalTensor&) {
  Call call = prepare("spmm_arg", indptr, indices, std::nullopt, weight, x);
  Tensor out = output_like(x, {call.args.rows, call.args.width});
  Tensor arg = output_like(indices, {call.args.rows, call.args.width});
  call.args.reduce = parse_reduce("spmm_arg", reduce, true);
  call.args.out = out.data_ptr();
  call.args.arg = arg.data_ptr();
  run("spmm_arg", call.args, call.x, indices);
  return {out, arg};
}

Tensor spmm_select(const Tensor& indptr, const Tensor& indices, const OptionalTensor& edge,
                   const OptionalTensor& weight, const Tensor& x, const Tensor& select, const OptionalTensor&,
                   const OptionalTensor&, const OptionalTensor&) {
  Call call = prepare("spmm_select", indptr, indices, edge, weight, x);
  GNAS_CHECK(select.dim() == 2 && select.size(0) == x.size(0) && select.size(1) == x.size(1),
             "spmm_select: expected select of x's shape ", shape_of(x), ", got ", shape_of(select));
  GNAS_CHECK(select.scalar_type() == indptr.scalar_type(), "spmm_select: expected select in indptr's dtype");
  GNAS_CHECK(same_device(select, x), "spmm_select: select and x are on different devices");
  const Tensor chosen = as_contiguous(select);
  Tensor out = output_like(x, {call.args.rows, call.args.width});
  call.args.reduce = Reduce::sum;
  call.args.select = chosen.data_ptr();
  call.args.out = out.data_ptr();
  run("spmm_select", call.args, call.x, indices);
  return out;
}

// Calls hop(arguments) for hop 1 … hops, with two buffers that go round.
template <class Hop>
void hops_of(SpmmArgs a, int64_t hops, const Tensor& x, const Hop& hop) {
  void* const final = a.final;
  OptionalTensor buffer[2];
  for (a.hop = 1; a.hop <= hops; ++a.hop) {
    OptionalTensor& next = buffer[a.hop % 2];
    if (a.hop < hops && !next) next = output_like(x, {a.rows, a.width});
    a.out = a.hop < hops ? next->data_ptr() : nullptr;
    a.out_stride = a.width;
    a.final = a.hop < hops ? nullptr : final;
    hop(a);
    a.x = a.out;
    a.x_stride = a.width;
  }
}

// sum over k of hop_weight[k] * A^k x. Two buffers go round, and each hop adds to the sum as it writes: no hop is kept,
// none is read again.
Tensor propagate(const Tensor& indptr, const Tensor& indices, const OptionalTensor& edge, const OptionalTensor& weight,
                 const Tensor& x, const Tensor& hop_weight, const OptionalTensor&, const OptionalTensor&,
                 const OptionalTensor&) {
  const char* op = "propagate";
  Call call = prepare(op, indptr, indices, edge, weight, x);
  SpmmArgs& a = call.args;
  GNAS_CHECK(a.rows == a.cols, op, ": expected x of shape [", a.rows, ", width] for a square graph, got ", shape_of(x));
  GNAS_CHECK(hop_weight.dim() == 1 && hop_weight.size(0) >= 2, op,
             ": expected hop_weight of shape [hops + 1] for at least one hop, got ", shape_of(hop_weight));
  GNAS_CHECK(hop_weight.scalar_type() == accumulator(a.dtype), op,
             ": expected hop_weight in float32, or in float64 for x in float64");
  GNAS_CHECK(same_device(hop_weight, x), op, ": hop_weight and x are on different devices");
  const int64_t hops = hop_weight.size(0) - 1;
  const Tensor weights = as_contiguous(hop_weight);
  Tensor out = output_like(x, {a.rows, a.width});
  // The sum of halves is kept wide until it is whole.
  const bool wide = a.dtype == Dtype::f32 || a.dtype == Dtype::f64;
  const Tensor sum = wide || hops == 1 ? out : output_like(x, {a.rows, a.width}, accumulator(a.dtype));
  a.reduce = Reduce::sum;
  a.hop_weight = weights.data_ptr();
  a.first = call.x.data_ptr();
  a.sum = sum.data_ptr();
  a.final = out.data_ptr();
#ifdef GNAS_CUDA
  hops_of(a, hops, x, [&](const SpmmArgs& hop) { run(op, hop, x, indices); });
#else
  const Carry carry(a, x, indices);
  OptionalTensor ordered;
  if (hops > 1) ordered = ordered_weights(op, a, x);
  // All hops of a panel before the next one: what lies between two hops is no wider than a panel.
  panels_of(a, x).each([&](const Panel& panel) {
    SpmmArgs part = of_panel(a, panel);
    part.first = advance(a.first, panel.column, x.element_size());
    part.sum = advance(a.sum, panel.column, sum.element_size());
    part.final = advance(a.final, panel.column, x.element_size());
    hops_of(part, hops, x, [&](const SpmmArgs& hop) { pass(op, hop); });
  });
#endif
  return out;
}

}  // namespace

#ifndef GNAS_CUDA
Tensor reduce_rows(const char* op, const Tensor& indptr, const Tensor& indices, const Tensor& x, Reduce reduce) {
  Call call = prepare(op, indptr, indices, std::nullopt, std::nullopt, x);
  Tensor out = output_like(x, {call.args.rows, call.args.width});
  call.args.reduce = reduce;
  call.args.out = out.data_ptr();
  run(op, call.args, call.x, indices);
  return out;
}
#endif

}  // namespace gnas

#ifdef GNAS_CUDA
STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CUDA, m) {
#else
STABLE_TORCH_LIBRARY_FRAGMENT(gnas_ext, m) {
  // out[i] = reduce over the edges e of row i of weight[edge[e]] * x[indices[e]]; a row without edges is zero. Weights
  // of [nnz, heads] weigh each head's columns. The gradient of max and min needs spmm_arg.
  m.def(
      "spmm(Tensor indptr, Tensor indices, Tensor? edge, Tensor? weight, Tensor x, str reduce, Tensor? t_indptr, "
      "Tensor? t_indices, Tensor? t_edge) -> Tensor");
  m.def(
      "spmm_out(Tensor indptr, Tensor indices, Tensor? edge, Tensor? weight, Tensor x, str reduce, Tensor(a!) out) -> "
      "()");
  // The same for max and min, with the winning edge of each element (-1 in rows without edges).
  m.def(
      "spmm_arg(Tensor indptr, Tensor indices, Tensor? weight, Tensor x, str reduce, Tensor? t_indptr, "
      "Tensor? t_indices, Tensor? t_edge) -> (Tensor, Tensor)");
  // out[i, f] = sum over the edges e of row i with select[indices[e], f] == edge[e] of weight[edge[e]] * x[indices[e],
  // f].
  m.def(
      "spmm_select(Tensor indptr, Tensor indices, Tensor? edge, Tensor? weight, Tensor x, Tensor select, "
      "Tensor? t_indptr, Tensor? t_indices, Tensor? t_edge) -> Tensor");
  // sum over k of hop_weight[k] * A^k x, for the square matrix A of the graph.
  m.def(
      "propagate(Tensor indptr, Tensor indices, Tensor? edge, Tensor? weight, Tensor x, Tensor hop_weight, "
      "Tensor? t_indptr, Tensor? t_indices, Tensor? t_edge) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CPU, m) {
#endif
  m.impl("spmm", TORCH_BOX(&gnas::spmm));
  m.impl("spmm_out", TORCH_BOX(&gnas::spmm_out));
  m.impl("spmm_arg", TORCH_BOX(&gnas::spmm_arg));
  m.impl("propagate", TORCH_BOX(&gnas::propagate));
  m.impl("spmm_select", TORCH_BOX(&gnas::spmm_select));
}
