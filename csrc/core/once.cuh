// Memory that a kernel reads or writes once: it goes first when the second-level cache needs room, so that what is read
// again stays.
#pragma once

#include "core/device.cuh"

namespace gnas::cuda {

template <class T>
__device__ inline T load_once(const T* from) {
#ifdef __CUDACC__
  return __ldcs(from);
#else
  return *from;
#endif
}

template <class T>
__device__ inline void store_once(T* to, const T& value) {
#ifdef __CUDACC__
  __stcs(to, value);
#else
  *to = value;
#endif
}

}  // namespace gnas::cuda
