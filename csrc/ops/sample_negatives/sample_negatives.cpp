// Schema, safety checks and entries of sample_negatives. The work is branches and waiting for memory, in which no
// instruction set helps: there is one CPU kernel.
#include "ops/sample_negatives/sample_negatives.h"

#include "core/chunks.h"
#include "core/torch.h"

namespace gnas {
namespace {

#ifndef GNAS_CUDA
constexpr int64_t kBlocksAThread = 1 << 10;

// Blocks of four draws begin … end - 1.
template <class I>
void draw_blocks(const NegativeArgs& a, int64_t begin, int64_t end, Fault& fault) {
  const int64_t draws = a.batch * a.count;
  I* out = static_cast<I*>(a.out);
  for (int64_t block = begin; block < end; ++block) {
    const Philox first = first_draws(a, block);
    for (int64_t draw = 4 * block; draw < draws && draw < 4 * block + 4; ++draw) {
      const int64_t item = draw_negative<I>(a, draw, first.word[draw & 3]);
      if (item == -2) __atomic_store_n(&fault.edge, draw / a.count, __ATOMIC_RELAXED);
      out[draw] = static_cast<I>(item);
    }
  }
}
#endif

Tensor sample_negatives(const Tensor& users, const OptionalTensor& indptr, const OptionalTensor& indices,
                        const OptionalTensor& cumulative, int64_t items, int64_t count, int64_t seed, int64_t family) {
  const char* op = "sample_negatives";
  const ScalarType type = users.scalar_type();
  GNAS_CHECK(type == ScalarType::Int || type == ScalarType::Long, op, ": expected users of int32 or int64");
  GNAS_CHECK(users.dim() == 1, op, ": expected users of shape [batch], got ", shape_of(users));
  GNAS_CHECK(items >= 0 && (type == ScalarType::Long || items <= INT32_MAX), op,
             ": expected items of 0 or more that users' dtype can number, got ", items);
  GNAS_CHECK(count >= 0 && (count == 0 || users.size(0) <= INT64_MAX / 8 / count), op,
             ": expected count of 0 or more, got ", count);
  GNAS_CHECK(family >= 0 && family <= UINT32_MAX, op, ": expected family of 0 … 2^32 - 1, got ", family);
  GNAS_CHECK(indptr.has_value() == indices.has_value(), op, ": expected indptr and indices both or neither");
  // Not check_csr: a batch of a thousand users must not pay for the row pointers of all. The kernel checks those it
  // reads.
  if (indptr) {
    GNAS_CHECK(indptr->dim() == 1 && indptr->size(0) >= 1, op, ": expected indptr of shape [rows + 1], got ",
               shape_of(*indptr));
    GNAS_CHECK(indices->dim() == 1, op, ": expected indices of shape [nnz], got ", shape_of(*indices));
    check_index(op, "indices", *indices, *indptr, indices->size(0));
    check_index(op, "users", users, *indptr, users.size(0));
  }
  if (cumulative) {
    GNAS_CHECK(cumulative->dim() == 1 && cumulative->size(0) == items, op, ": expected cumulative of shape [", items,
               "], got ", shape_of(*cumulative));
    GNAS_CHECK(cumulative->scalar_type() == ScalarType::Long, op, ": expected cumulative of int64");
    GNAS_CHECK(same_device(*cumulative, users), op, ": cumulative and users are on different devices");
  }
  const Tensor from = as_contiguous(users);
  const OptionalTensor pointers = as_contiguous(indptr);
  const OptionalTensor columns = as_contiguous(indices);
  const OptionalTensor sums = as_contiguous(cumulative);
  const Tensor out = output_like(users, {users.size(0), count});
  const NegativeArgs args{from.data_ptr(),
                          pointer(pointers),
                          pointer(columns),
                          static_cast<const int64_t*>(pointer(sums)),
                          out.data_ptr(),
                          indptr ? indptr->size(0) - 1 : 0,
                          indices ? indices->size(0) : 0,
                          items,
                          users.size(0),
                          count,
                          static_cast<uint64_t>(seed),
                          static_cast<uint32_t>(family),
                          type == ScalarType::Long};
#ifdef GNAS_CUDA
  const torch::stable::accelerator::DeviceGuard guard(users.get_device_index());
  check_launch(op, sample_negatives_cuda(args, current_stream(users)));
#else
  Fault fault;
  parallel_for(0, (args.batch * count + 3) / 4, kBlocksAThread, [&](int64_t begin, int64_t end) {
    args.wide_index ? draw_blocks<int64_t>(args, begin, end, fault) : draw_blocks<int32_t>(args, begin, end, fault);
  });
  GNAS_CHECK(fault.edge < 0, op, ": users[", fault.edge, "] is no row of the positives, or one of them is no item");
#endif
  return out;
}

}  // namespace
}  // namespace gnas

#ifdef GNAS_CUDA
STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CUDA, m) {
#else
STABLE_TORCH_LIBRARY_FRAGMENT(gnas_ext, m) {
  // Items at random, `count` for each user, none of those in the user's row; -1 where none is left. As likely as
  // `cumulative`, the running sums of whole weights, says.
  m.def(
      "sample_negatives(Tensor users, Tensor? indptr, Tensor? indices, Tensor? cumulative, SymInt items, SymInt count, "
      "int seed, int family) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CPU, m) {
#endif
  m.impl("sample_negatives", TORCH_BOX(&gnas::sample_negatives));
}
