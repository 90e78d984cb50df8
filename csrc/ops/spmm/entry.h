// spmm without weights for the CPU entries of other ops.
#pragma once

#include "core/torch.h"

namespace gnas {

Tensor reduce_rows(const char* op, const Tensor& indptr, const Tensor& indices, const Tensor& x, Reduce reduce);

}  // namespace gnas
