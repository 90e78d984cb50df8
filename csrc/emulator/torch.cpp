// Stands in for what the ops use of a CUDA torch: one device, one stream. Hidden, so that this library alone is bound
// to it.
#include <cstdint>

extern "C" {
#pragma GCC visibility push(hidden)
int32_t aoti_torch_get_current_cuda_stream(int32_t, void** stream) {
  *stream = nullptr;
  return 0;
}
int32_t aoti_torch_create_device_guard(int32_t, void** guard) {
  *guard = nullptr;
  return 0;
}
int32_t aoti_torch_delete_device_guard(void*) { return 0; }
#pragma GCC visibility pop
}
