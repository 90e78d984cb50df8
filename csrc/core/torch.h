// The Torch side of every op: what memory safety needs is checked here, once for the CPU and CUDA, and tensors become
// plain pointers. Only the stable ABI is used, so that one build serves every torch from 2.11 on.
#pragma once

#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <initializer_list>
#include <optional>
#include <string>
#include <tuple>

#include "core/pool.h"
#include "core/types.h"

namespace gnas {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using OptionalTensor = std::optional<Tensor>;

#define GNAS_CHECK STD_TORCH_CHECK

inline std::string shape_of(const Tensor& t) {
  std::string text = "[";
  for (int64_t d = 0; d < t.dim(); ++d) text += (d == 0 ? "" : ", ") + std::to_string(t.size(d));
  return text + "]";
}

inline Dtype element_type(const char* op, const Tensor& x) {
  switch (x.scalar_type()) {
    case ScalarType::Float:
      return Dtype::f32;
    case ScalarType::Double:
      return Dtype::f64;
    case ScalarType::BFloat16:
      return Dtype::bf16;
    case ScalarType::Half:
      return Dtype::f16;
    default:
      GNAS_CHECK(false, op, ": expected x of float32, float64, bfloat16 or float16");
  }
  return Dtype::f32;
}

inline bool same_device(const Tensor& a, const Tensor& b) {
  return a.is_cpu() == b.is_cpu() && (a.is_cpu() || a.get_device_index() == b.get_device_index());
}

inline void check_matrix(const char* op, const char* name, const Tensor& t) {
  GNAS_CHECK(t.dim() == 2, op, ": expected ", name, " of shape [rows, width], got ", shape_of(t));
}

// An index vector of a given length, of the same type and device as `like`.
inline void check_index(const char* op, const char* name, const Tensor& t, const Tensor& like, int64_t length) {
  GNAS_CHECK(t.dim() == 1 && t.size(0) == length, op, ": expected ", name, " of shape [", length, "], got ",
             shape_of(t));
  GNAS_CHECK(t.scalar_type() == like.scalar_type(), op, ": expected ", name, " in indptr's dtype");
  GNAS_CHECK(same_device(t, like), op, ": ", name, " and indptr are on different devices");
}

// A CSR whose arrays can be walked safely: the row pointers begin at 0, never decrease and end at nnz. (Columns are
// checked by the kernels as they read them.)
struct Csr {
  int64_t rows;
  int64_t nnz;
  bool wide_index;
};

template <class I>
void check_row_pointers(const char* op, const I* indptr, int64_t rows, int64_t nnz) {
  GNAS_CHECK(indptr[0] == 0, op, ": indptr[0] is ", indptr[0], ", expected 0");
  bool sorted = true;
  for (int64_t row = 0; row < rows; ++row) sorted &= indptr[row] <= indptr[row + 1];
  if (!sorted) {
    int64_t row = 0;
    while (indptr[row] <= indptr[row + 1]) ++row;
    GNAS_CHECK(false, op, ": indptr decreases at ", row + 1, ": ", indptr[row], " then ", indptr[row + 1]);
  }
  GNAS_CHECK(static_cast<int64_t>(indptr[rows]) == nnz, op, ": indptr ends at ", indptr[rows], ", but there are ", nnz,
             " indices");
}

// Row pointers alone: segments of `nnz` numbers.
inline Csr check_segments(const char* op, const Tensor& indptr, int64_t nnz, const Tensor& like) {
  GNAS_CHECK(indptr.dim() == 1 && indptr.size(0) >= 1, op, ": expected indptr of shape [rows + 1], got ",
             shape_of(indptr));
  const ScalarType type = indptr.scalar_type();
  GNAS_CHECK(type == ScalarType::Int || type == ScalarType::Long, op, ": expected indptr of int32 or int64");
  GNAS_CHECK(same_device(indptr, like), op, ": the graph and the features are on different devices");
  GNAS_CHECK(indptr.is_contiguous(), op, ": expected contiguous indptr");
  const Csr csr{indptr.size(0) - 1, nnz, type == ScalarType::Long};
  if (indptr.is_cpu()) {
    if (csr.wide_index)
      check_row_pointers(op, static_cast<const int64_t*>(indptr.data_ptr()), csr.rows, csr.nnz);
    else
      check_row_pointers(op, static_cast<const int32_t*>(indptr.data_ptr()), csr.rows, csr.nnz);
  }
  return csr;
}

inline Csr check_csr(const char* op, const Tensor& indptr, const Tensor& indices, const Tensor& like) {
  GNAS_CHECK(indices.dim() == 1, op, ": expected indices of shape [nnz], got ", shape_of(indices));
  GNAS_CHECK(indptr.is_contiguous() && indices.is_contiguous(), op, ": expected contiguous indptr and indices");
  const Csr csr = check_segments(op, indptr, indices.size(0), like);
  check_index(op, "indices", indices, indptr, csr.nnz);
  return csr;
}

// Where the weight of each entry stands; its values are checked by the kernels.
inline void check_edge(const char* op, const OptionalTensor& edge, const Tensor& indptr, int64_t nnz) {
  if (!edge) return;
  check_index(op, "edge", *edge, indptr, nnz);
  GNAS_CHECK(edge->is_contiguous(), op, ": expected contiguous edge");
}

inline Reduce parse_reduce(const char* op, const std::string& reduce, bool only_extreme) {
  if (!only_extreme && reduce == "sum") return Reduce::sum;
  if (!only_extreme && reduce == "mean") return Reduce::mean;
  if (reduce == "max") return Reduce::max;
  if (reduce == "min") return Reduce::min;
  GNAS_CHECK(false, op, ": expected reduce ", only_extreme ? "max or min" : "sum, mean, max or min", ", got ", reduce);
  return Reduce::sum;
}

// The type that sums of a type run in.
inline ScalarType accumulator(Dtype dtype) { return dtype == Dtype::f64 ? ScalarType::Double : ScalarType::Float; }

inline void check_fault(const char* op, const Fault& fault) {
  GNAS_CHECK(fault.edge < 0, op, ": entry ", fault.edge,
             " of the graph is out of bounds: its index is negative, or not below the number of columns (or of edges, "
             "for edge)");
}

// 0 for types that no op returns in large outputs: the pool does not serve them.
inline int64_t element_bytes(ScalarType type) {
  switch (type) {
    case ScalarType::Double:
    case ScalarType::Long:
      return 8;
    case ScalarType::Float:
    case ScalarType::Int:
      return 4;
    case ScalarType::BFloat16:
    case ScalarType::Half:
      return 2;
    case ScalarType::Char:
    case ScalarType::Byte:
      return 1;
    default:
      return 0;
  }
}

// Where an op writes what it returns: uninitialised, contiguous, on the device of `like`. Large ones come from the
// pool, others straight from the allocator: a call through the dispatcher costs as much as a small op.
inline Tensor output_like(const Tensor& like, std::initializer_list<int64_t> sizes,
                          std::optional<ScalarType> dtype = std::nullopt) {
  constexpr size_t kMostDimensions = 4;
  GNAS_CHECK(sizes.size() <= kMostDimensions, "output_like: expected at most 4 dimensions, got ", sizes.size());
  const ScalarType type = dtype.value_or(like.scalar_type());
  int64_t strides[kMostDimensions];
  int64_t elements = 1;
  for (size_t d = sizes.size(); d-- > 0;) {
    strides[d] = elements;
    elements *= *(sizes.begin() + d);
  }
#ifndef GNAS_CUDA
  if (void* block = pool::take(elements * element_bytes(type))) {
    const torch::headeronly::IntHeaderOnlyArrayRef shape(sizes.begin(), sizes.size());
    return torch::stable::from_blob(block, shape, {strides, sizes.size()},
                                    torch::stable::Device(torch::headeronly::DeviceType::CPU), type, &pool::give);
  }
#endif
  int32_t device = 0;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(like.get(), &device));
  AtenTensorHandle made = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(static_cast<int64_t>(sizes.size()), sizes.begin(), strides,
                                                  torch::stable::detail::to<int32_t>(torch::stable::detail::from(type)),
                                                  device, like.get_device_index(), &made));
  return Tensor(made);
}

// Pointer of an optional argument that was checked; null where it is absent.
inline const void* pointer(const OptionalTensor& t) { return t ? t->data_ptr() : nullptr; }

inline Tensor as_contiguous(const Tensor& t) { return t.is_contiguous() ? t : torch::stable::contiguous(t); }
inline OptionalTensor as_contiguous(const OptionalTensor& t) {
  return t ? OptionalTensor(as_contiguous(*t)) : std::nullopt;
}

#ifdef GNAS_CUDA
inline void* current_stream(const Tensor& t) {
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(t.get_device_index(), &stream));
  return stream;
}
// Memory that a call works in, if it needs any. Given back when the call returns: what runs later on the stream comes
// after.
class Scratch {
 public:
  Scratch(const Tensor& like, int64_t bytes) {
    if (bytes > 0) memory_ = output_like(like, {bytes}, ScalarType::Byte);
  }
  void* data() const { return memory_ ? memory_->data_ptr() : nullptr; }

 private:
  OptionalTensor memory_;
};

inline void check_launch(const char* op, int error) { GNAS_CHECK(error == 0, op, ": CUDA error ", error); }
#endif

}  // namespace gnas

// The key under which ops register what they have for CUDA: the CPU's, where its kernels run emulated.
#ifdef GNAS_EMULATE
#define CUDA CPU
#endif
