// Schemas, safety checks and entries of edge_dropout and edge_dropout_pairs.
#include "ops/edge_dropout/edge_dropout.h"

#include "core/chunks.h"
#include "core/torch.h"

namespace gnas {
namespace {

constexpr int64_t kBytesAThread = 1 << 12;

Tensor run(const char* op, DropoutArgs a, const Tensor& like, double p, int64_t seed, int64_t stream) {
  GNAS_CHECK(p >= 0 && p <= 1, op, ": expected p from 0 to 1, got ", p);
  a.seed = static_cast<uint64_t>(seed);
  a.stream = static_cast<uint64_t>(stream);
  a.threshold = static_cast<uint64_t>(p * 4294967296.0);
  const int64_t bytes = (a.nnz + 7) / 8;
  const Tensor mask = output_like(like, {bytes}, ScalarType::Byte);
  a.mask = static_cast<uint8_t*>(mask.data_ptr());
#ifdef GNAS_CUDA
  const torch::stable::accelerator::DeviceGuard guard(like.get_device_index());
  check_launch(op, edge_dropout_cuda(a, current_stream(like)));
#else
  Fault fault;
  a.fault = &fault;
  const auto kernel = GNAS_AT_LEVEL(edge_dropout);
  parallel_for(0, bytes, kBytesAThread, [&](int64_t begin, int64_t end) { kernel(a, begin, end); });
  check_fault(op, fault);
#endif
  return mask;
}

// `like` says on which device.
Tensor edge_dropout(const Tensor& like, int64_t nnz, double p, int64_t seed, int64_t stream) {
  const char* op = "edge_dropout";
  GNAS_CHECK(nnz >= 0 && nnz < int64_t{1} << 34, op, ": expected nnz of 0 to 2^34 - 1, got ", nnz);
  DropoutArgs a{};
  a.nnz = nnz;
  return run(op, a, like, p, seed, stream);
}

Tensor edge_dropout_pairs(const Tensor& indptr, const Tensor& indices, int64_t cols, double p, int64_t seed,
                          int64_t stream) {
  const char* op = "edge_dropout_pairs";
  const Csr csr = check_csr(op, indptr, indices, indptr);
  GNAS_CHECK(csr.rows <= int64_t{1} << 32 && cols >= 0 && cols <= int64_t{1} << 32, op,
             ": expected rows and cols of 0 to 2^32, got ", csr.rows, " and ", cols);
  DropoutArgs a{};
  a.indptr = indptr.data_ptr();
  a.indices = indices.data_ptr();
  a.rows = csr.rows;
  a.cols = cols;
  a.nnz = csr.nnz;
  a.wide_index = csr.wide_index;
  return run(op, a, indptr, p, seed, stream);
}

}  // namespace
}  // namespace gnas

#ifdef GNAS_CUDA
STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CUDA, m) {
#else
STABLE_TORCH_LIBRARY_FRAGMENT(gnas_ext, m) {
  // A bit an entry, little-endian, zero with probability p; on the device of `like`.
  m.def("edge_dropout(Tensor like, SymInt nnz, float p, int seed, int stream) -> Tensor");
  // The same, with one draw for both directions of an edge.
  m.def("edge_dropout_pairs(Tensor indptr, Tensor indices, SymInt cols, float p, int seed, int stream) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(gnas_ext, CPU, m) {
#endif
  m.impl("edge_dropout", TORCH_BOX(&gnas::edge_dropout));
  m.impl("edge_dropout_pairs", TORCH_BOX(&gnas::edge_dropout_pairs));
}
