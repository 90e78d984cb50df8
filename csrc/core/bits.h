// A number of bits that is known at run time, as a constant for templates: 8, 4 or 2. For the host.
#pragma once

#include <cstdint>
#include <type_traits>

namespace gnas {
namespace {

// Calls f with it.
template <class F>
void with_bits(int bits, F&& f) {
  if (bits == 8)
    f(std::integral_constant<int, 8>{});
  else if (bits == 4)
    f(std::integral_constant<int, 4>{});
  else
    f(std::integral_constant<int, 2>{});
}

// Calls f with it and a value of the index type.
template <class F>
void with_bits_and_index(int bits, bool wide_index, F&& f) {
  with_bits(bits, [&](auto constant) {
    if (wide_index)
      f(constant, int64_t{});
    else
      f(constant, int32_t{});
  });
}

}  // namespace
}  // namespace gnas
