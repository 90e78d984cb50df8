/* Stands in for libtorch_cuda where torch has none, so that the CUDA ops can be linked, and only linked, without a
 * GPU and without NVIDIA's packages. Never shipped. */
#include <stdint.h>

int32_t aoti_torch_get_current_cuda_stream(int32_t device_index, void** stream) {
  (void)device_index;
  *stream = 0;
  return 0;
}
