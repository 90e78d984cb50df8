// sort_index for the CPU entries of other ops.
#pragma once

#include "core/torch.h"

namespace gnas {

// Where each row's entries begin, the entries by row, and whether they were so already. Errors name `op`.
std::tuple<Tensor, Tensor, bool> sort_entries(const char* op, const Tensor& index, int64_t size, bool narrow);

}  // namespace gnas
