// Schema, safety checks and entries of sample_neighbors. The work is branches and waiting for memory, in which no
// instruction set helps: there is one CPU kernel.
#include "ops/sample_neighbors/sample_neighbors.h"

#include <algorithm>

#include "core/chunks.h"
#include "core/torch.h"

namespace gnas {
namespace {

#ifndef GNAS_CUDA
// Rows begin … end - 1 of the batch.
template <class I>
void sample_rows(const SampleArgs& s, int64_t begin, int64_t end, Fault& fault) {
  const I* indices = static_cast<const I*>(s.indices);
  for (int64_t position = begin; position < end; ++position) {
    const SampleRow row = sample_row<I>(s, position);
    if (!row.right) {
      __atomic_store_n(&fault.edge, position, __ATOMIC_RELAXED);
      continue;
    }
    I* edge = static_cast<I*>(s.out_edge) + row.place;
    if (!s.replace && row.count == row.size) {
      for (int64_t n = 0; n < row.count; ++n) edge[n] = static_cast<I>(row.begin + n);
    } else {
      draw_entries(s, position, row, edge);
    }
    I* out = static_cast<I*>(s.out_indices) + row.place;
    for (int64_t n = 0; n < row.count; ++n) out[n] = indices[edge[n]];
  }
}

// The rows in chunks of equal work.
template <class I>
void sample(const SampleArgs& s, Fault& fault) {
  const I* out_indptr = static_cast<const I*>(s.out_indptr);
  const int64_t chunks = work_chunks(s.count, s.drawn);
  const auto row_at = [&](int64_t chunk) {
    const int64_t target = (s.count + s.drawn) / chunks * chunk;
    int64_t low = 0;
    int64_t high = s.count;
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      if (static_cast<int64_t>(out_indptr[middle]) + middle < target)
        low = middle + 1;
      else
        high = middle;
    }
    return chunk == chunks ? s.count : low;
  };
  for_chunks(chunks, [&](int64_t begin, int64_t end) { sample_rows<I>(s, row_at(begin), row_at(end), fault); });
}
#endif

std::tuple<Tensor, Tensor> sample_neighbors(const Tensor& indptr, const Tensor& indices, const Tensor& nodes,
                                            const Tensor& out_indptr, int64_t drawn, bool replace, int64_t seed,
                                            int64_t family) {
  const char* op = "sample_neighbors";
  // Not check_csr: a batch of a thousand rows must not pay for the row pointers of all. The kernel checks those it
  // reads.
  const ScalarType type = indptr.scalar_type();
  GNAS_CHECK(type == ScalarType::Int || type == ScalarType::Long, op, ": expected indptr of int32 or int64");
  GNAS_CHECK(indptr.dim() == 1 && indptr.size(0) >= 1, op, ": expected indptr of shape [rows + 1], got ",
             shape_of(indptr));
  GNAS_CHECK(indices.dim() == 1, op, ": expected indices of shape [nnz], got ", shape_of(indices));
  GNAS_CHECK(nodes.dim() == 1, op, ": expected nodes of shape [count], got ", shape_of(nodes));
  check_index(op, "indices", indices, indptr, indices.size(0));
  check_index(op, "nodes", nodes, indptr, nodes.size(0));
  check_index(op, "out_indptr", out_indptr, indptr, nodes.size(0) + 1);
  GNAS_CHECK(drawn >= 0, op, ": expected drawn of 0 or more, got ", drawn);
  GNAS_CHECK(family >= 0 && family <= UINT32_MAX, op, ": expected family of 0 … 2^32 - 1, got ", family);
  const Tensor pointers = as_contiguous(indptr);
  const Tensor columns = as_contiguous(indices);
  const Tensor from = as_contiguous(nodes);
  const Tensor to = as_contiguous(out_indptr);
  const Tensor out_indices = output_like(indptr, {drawn});
  const Tensor out_edge = output_like(indptr, {drawn});
  const SampleArgs args{pointers.data_ptr(),
                        columns.data_ptr(),
                        from.data_ptr(),
                        to.data_ptr(),
                        out_indices.data_ptr(),
                        out_edge.data_ptr(),
                        indptr.size(0) - 1,
                        indices.size(0),
                        nodes.size(0),
                        drawn,
                        static_cast<uint64_t>(seed),
                        static_cast<uint32_t>(family),
                        replace,
                        type == ScalarType::Long};
#ifdef GNAS_CUDA
  const torch::stable::accelerator::DeviceGuard guard(indptr.get_device_index());
  check_launch(op, sample_neighbors_cuda(args, current_stream(indptr)));
#else
  const auto ends = [&](auto index) {
    const auto* p = static_cast<const decltype(index)*>(to.data_ptr());
    return p[0] == 0 && static_cast<int64_t>(p[args.count]) == drawn;
  };
  GNAS_CHECK(args.wide_index ? ends(int64_t{}) : ends(int32_t{}), op, ": expected out_indptr from 0 to ", drawn);
  Fault fault;
  args.wide_index ? sample<int64_t>(args, fault) : sample<int32_t>(args, fault);
  GNAS_CHECK(fault.edge < 0, op, ": nodes[", fault.edge,
             "] is no row of the graph, or has fewer entries than out_indptr asks for");
#endif
  return {out_indices, out_edge};
}

}  // namespace
}  // namespace gnas

#ifdef GNAS_CUDA
STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CUDA, m) {
#else
STABLE_TORCH_LIBRARY_FRAGMENT(gnas_ext, m) {
  // Entries of row nodes[i] at random, out_indptr[i + 1] - out_indptr[i] of them, drawn = out_indptr[-1] in all: their
  // columns, and where they stand.
  m.def(
      "sample_neighbors(Tensor indptr, Tensor indices, Tensor nodes, Tensor out_indptr, SymInt drawn, bool replace, "
      "int seed, int family) -> (Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CPU, m) {
#endif
  m.impl("sample_neighbors", TORCH_BOX(&gnas::sample_neighbors));
}
