#include "core/simd.h"

#include <atomic>
#include <stdexcept>

namespace gnas {
namespace {

constexpr const char* kNames[] = {"baseline", "avx2", "avx512"};

bool offered(Simd level) {
#ifdef GNAS_X86_LEVELS
  switch (level) {
    case Simd::baseline:
      return true;
    case Simd::avx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    case Simd::avx512:
      return GNAS_X86_LEVELS == 3 && offered(Simd::avx2) && __builtin_cpu_supports("avx512f") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl");
  }
  return false;
#else
  return level == Simd::baseline;
#endif
}

Simd best() {
  if (offered(Simd::avx512)) return Simd::avx512;
  return offered(Simd::avx2) ? Simd::avx2 : Simd::baseline;
}

std::atomic<Simd>& current() {
  static std::atomic<Simd> level{best()};
  return level;
}

bool offers_vnni() {
#ifdef GNAS_X86_LEVELS
  return offered(Simd::avx512) && __builtin_cpu_supports("avx512vnni");
#else
  return false;
#endif
}

std::atomic<bool>& vnni_switch() {
  static std::atomic<bool> enabled{offers_vnni()};
  return enabled;
}

}  // namespace

bool vnni() { return simd_level() == Simd::avx512 && vnni_switch().load(std::memory_order_relaxed); }

void set_vnni(bool enabled) {
  if (enabled && !offers_vnni()) throw std::invalid_argument("vnni: this machine does not offer AVX512-VNNI");
  vnni_switch().store(enabled, std::memory_order_relaxed);
}

Simd simd_level() { return current().load(std::memory_order_relaxed); }

std::string simd_level_name() { return kNames[static_cast<int>(simd_level())]; }

std::vector<std::string> simd_levels() {
  std::vector<std::string> names;
  for (int level = 0; level < 3; ++level)
    if (offered(static_cast<Simd>(level))) names.emplace_back(kNames[level]);
  return names;
}

void set_simd_level(const std::string& name) {
  std::string here;
  for (int level = 0; level < 3; ++level) {
    if (!offered(static_cast<Simd>(level))) continue;
    if (name == kNames[level]) {
      current().store(static_cast<Simd>(level), std::memory_order_relaxed);
      return;
    }
    here += (here.empty() ? "" : ", ") + std::string(kNames[level]);
  }
  throw std::invalid_argument(name + ": this machine offers " + here);
}

}  // namespace gnas
