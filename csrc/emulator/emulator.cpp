#include "emulator.h"

#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <vector>

#include "cuda_runtime.h"
#include "fiber.h"

uint3 threadIdx;
uint3 blockIdx;
dim3 blockDim;
dim3 gridDim;

namespace gnas::emulator {
namespace {

constexpr int kWarp = 32;
constexpr int kMostThreads = 1024;
constexpr uint64_t kGarbage = 0xA5A5A5A5A5A5A5A5u;

struct Lane {
  Fiber fiber;  // not begun: without a stack
  uint3 index;
  Collective kind;
  unsigned mask;
  uint64_t value;
  int source;
};

struct Warp {
  unsigned live;     // lanes that have not ended
  unsigned ready;    // of those, the ones that could run
  unsigned waiting;  // in a collective
  unsigned barred;   // at __syncthreads
  Lane lane[kWarp];
};

// One launch at a time: callers' threads take turns. Not thread_local, as only shared memory is.
struct State {
  std::mutex turn;
  Warp warp[kMostThreads / kWarp];
  int warps;
  Warp* here;  // what runs now
  int number;
  Fiber host;
  void (*body)(void*);
  void* context;
  int live;
  int barred;
  int brought;   // true at this barrier
  int all_true;  // at the last one
  bool backward;
  uint64_t launches;
  int error;     // of this launch
  int last = 0;  // of all since the last look
} s;

Lane& lane_here() { return s.here->lane[s.number]; }

int first_of(unsigned lanes) { return s.backward ? 31 - __builtin_clz(lanes) : __builtin_ctz(lanes); }

// Who runs next: of this warp if one can, else of the next warp. False where nobody can.
bool choose() {
  const int at = static_cast<int>(s.here - s.warp);
  for (int i = 0; i < s.warps; ++i) {
    Warp& warp = s.warp[(at + (s.backward ? s.warps - i : i)) % s.warps];
    if (warp.ready == 0) continue;
    s.here = &warp;
    s.number = first_of(warp.ready);
    warp.ready &= ~(1u << s.number);
    return true;
  }
  return false;
}

void enter();

// Leaves this fiber for the one that was chosen, or for the host where none was.
void leave(Fiber& from, bool chosen) {
  Fiber& to = chosen ? lane_here().fiber : s.host;
  if (chosen) threadIdx = lane_here().index;
  if (chosen && !to.begun()) to.begin(&enter);
  change(from, to);
}

const char* name(Collective kind) {
  switch (kind) {
    case Collective::sync:
      return "__syncwarp";
    case Collective::shuffle:
      return "a shuffle";
    case Collective::ballot:
    case Collective::all:
    case Collective::any:
      return "a vote";
    case Collective::match_any:
    case Collective::match_all:
      return "a match";
    default:
      return "a reduction";
  }
}

// Nobody can run, but some have not ended: what each warp waits for.
void tell_deadlock() {
  std::string text = "threads wait for each other for ever:";
  int told = 0;
  for (int w = 0; w < s.warps && told < 8; ++w) {
    const Warp& warp = s.warp[w];
    for (int l = 0; l < kWarp && told < 8; ++l) {
      const unsigned bit = 1u << l;
      const bool first = l == 0 || (warp.live & bit >> 1) == 0 || warp.lane[l].mask != warp.lane[l - 1].mask ||
                         warp.lane[l].kind != warp.lane[l - 1].kind ||
                         ((warp.barred & bit) != 0) != ((warp.barred & bit >> 1) != 0);
      if ((warp.live & bit) == 0 || !first) continue;
      char line[160];
      if ((warp.barred & bit) != 0)
        std::snprintf(line, sizeof line, "\n  warp %d, from lane %d: at __syncthreads", w, l);
      else
        std::snprintf(line, sizeof line, "\n  warp %d, from lane %d: in %s of mask %08x", w, l, name(warp.lane[l].kind),
                      warp.lane[l].mask);
      text += line;
      ++told;
    }
  }
  s.error = kAssert;
  std::fprintf(stderr, "emulator: block %u,%u,%u: %s\n", blockIdx.x, blockIdx.y, blockIdx.z, text.c_str());
}

// Lets another thread run; returns when this one was chosen again.
void wait() {
  Fiber& mine = lane_here().fiber;
  const bool chosen = choose();
  if (!chosen) tell_deadlock();
  leave(mine, chosen);
}

void open_barrier() {
  for (int w = 0; w < s.warps; ++w) {
    s.warp[w].ready |= s.warp[w].barred;
    s.warp[w].barred = 0;
  }
  s.barred = 0;
  s.all_true = s.brought;
  s.brought = 0;
}

uint64_t reduced(const Warp& warp, Collective kind, unsigned lanes) {
  uint64_t result = 0;
  bool first = true;
  for (int l = 0; l < kWarp; ++l) {
    if ((lanes >> l & 1) == 0) continue;
    const uint32_t next = static_cast<uint32_t>(warp.lane[l].value);
    const uint32_t so_far = static_cast<uint32_t>(result);
    const bool less = kind == Collective::min_signed || kind == Collective::max_signed
                          ? static_cast<int32_t>(next) < static_cast<int32_t>(so_far)
                          : next < so_far;
    const bool low = kind == Collective::min || kind == Collective::min_signed;
    if (first)
      result = next;
    else if (kind == Collective::add)
      result = so_far + next;
    else if (kind == Collective::and_)
      result = so_far & next;
    else if (kind == Collective::or_)
      result = so_far | next;
    else if (kind == Collective::xor_)
      result = so_far ^ next;
    else
      result = less == low ? next : so_far;
    first = false;
  }
  return result;
}

// All lanes have come: what each gets takes the place of what it brought.
void finish(Warp& warp, Collective kind, unsigned lanes) {
  if (kind == Collective::sync) return;
  uint64_t result[kWarp];
  uint64_t common = 0;
  const auto each = [&](auto f) {
    for (unsigned left = lanes; left != 0; left &= left - 1) f(__builtin_ctz(left));
  };
  const auto same_as = [&](int l) {
    uint64_t equal = 0;
    each([&](int other) { equal |= uint64_t{warp.lane[other].value == warp.lane[l].value} << other; });
    return equal;
  };
  if (kind == Collective::ballot || kind == Collective::all || kind == Collective::any) {
    each([&](int l) { common |= uint64_t{warp.lane[l].value != 0} << l; });
    if (kind == Collective::all) common = common == lanes;
    if (kind == Collective::any) common = common != 0;
  } else if (kind == Collective::match_all) {
    common = same_as(__builtin_ctz(lanes)) == lanes ? lanes : 0;
  } else if (kind >= Collective::add) {
    common = reduced(warp, kind, lanes);
  }
  each([&](int l) {
    result[l] = common;
    if (kind == Collective::match_any) result[l] = same_as(l);
    if (kind != Collective::shuffle) return;
    // What a lane has that does not take part is undefined.
    const int source = warp.lane[l].source;
    result[l] = (lanes >> source & 1) != 0 ? warp.lane[source].value : kGarbage;
  });
  each([&](int l) { warp.lane[l].value = result[l]; });
}

// Has every lane of the mask come that has not ended? Then the collective takes place.
bool complete(Warp& warp, Collective kind, unsigned mask) {
  const unsigned lanes = mask & warp.live;
  if (lanes == 0 || (lanes & ~warp.waiting) != 0) return false;
  for (unsigned left = lanes; left != 0; left &= left - 1) {
    const Lane& lane = warp.lane[__builtin_ctz(left)];
    if (lane.kind != kind || lane.mask != mask) return false;
  }
  finish(warp, kind, lanes);
  warp.waiting &= ~lanes;
  warp.ready |= lanes;
  return true;
}

// A thread that ended is no longer waited for.
void end_thread() {
  Warp& warp = *s.here;
  warp.live &= ~(1u << s.number);
  --s.live;
  for (unsigned left = warp.waiting; left != 0; left &= left - 1) {
    const Lane& lane = warp.lane[__builtin_ctz(left)];
    if ((warp.waiting & left & -left) != 0) complete(warp, lane.kind, lane.mask);
  }
  if (s.live > 0 && s.barred == s.live) open_barrier();
}

// The life of a fiber: a thread, and whichever not yet begun comes after it, on the same stack.
void enter() {
  for (;;) {
    s.body(s.context);
    end_thread();
    Fiber& mine = lane_here().fiber;
    const bool chosen = choose();
    if (!chosen && s.live > 0) tell_deadlock();
    if (chosen && !lane_here().fiber.begun()) {
      lane_here().fiber.take_over(mine);
      threadIdx = lane_here().index;
      continue;
    }
    mine.give_back();
    Fiber gone;
    leave(gone, chosen);
  }
}

// Shared memory is this library's thread_local memory, and nothing else is.
struct Shared {
  void* begin = nullptr;
  size_t bytes = 0;
};
int find_shared(dl_phdr_info* library, size_t, void* found) {
  const auto here = reinterpret_cast<uintptr_t>(&find_shared);
  bool ours = false;
  size_t bytes = 0;
  for (int i = 0; i < library->dlpi_phnum; ++i) {
    const auto& part = library->dlpi_phdr[i];
    const uintptr_t begin = library->dlpi_addr + part.p_vaddr;
    ours |= part.p_type == PT_LOAD && here >= begin && here < begin + part.p_memsz;
    if (part.p_type == PT_TLS) bytes = part.p_memsz;
  }
  if (!ours) return 0;
  *static_cast<Shared*>(found) = {library->dlpi_tls_data, bytes};
  return 1;
}
// Without a variable of this thread's there would be no memory to find yet.
__attribute__((used)) thread_local char touched;

void run_block(Size block) {
  const int threads = static_cast<int>(block.x * block.y * block.z);
  s.warps = (threads + kWarp - 1) / kWarp;
  s.live = threads;
  s.barred = s.brought = 0;
  for (int w = 0; w < s.warps; ++w) {
    const int lanes = threads - w * kWarp < kWarp ? threads - w * kWarp : kWarp;
    Warp& warp = s.warp[w];
    warp.live = warp.ready = lanes == kWarp ? ~0u : (1u << lanes) - 1;
    warp.waiting = warp.barred = 0;
    for (int l = 0; l < lanes; ++l) {
      const unsigned t = static_cast<unsigned>(w * kWarp + l);
      warp.lane[l].index = {t % block.x, t / block.x % block.y, t / block.x / block.y};
      warp.lane[l].mask = 0;
    }
  }
  s.here = s.backward ? &s.warp[s.warps - 1] : s.warp;
  leave(s.host, choose());
  if (s.error == 0) return;
  for (int w = 0; w < s.warps; ++w)
    for (Lane& lane : s.warp[w].lane) lane.fiber.give_back();
}

bool allowed(Size grid, Size block) {
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  return grid.x > 0 && grid.x <= 0x7FFFFFFFu && grid.y > 0 && grid.y <= 65535 && grid.z > 0 && grid.z <= 65535 &&
         threads > 0 && threads <= kMostThreads && block.z <= 64;
}

}  // namespace

void run(Size grid, Size block, void (*body)(void*), void* context) {
  const std::lock_guard<std::mutex> lock(s.turn);
  if (!allowed(grid, block)) {
    s.last = kInvalidConfiguration;
    return;
  }
  touched = 0;
  Shared shared;
  dl_iterate_phdr(&find_shared, &shared);
  static const char* const order = std::getenv("GNAS_EMULATE_ORDER");
  s.body = body;
  s.context = context;
  s.error = 0;
  gridDim = dim3(grid.x, grid.y, grid.z);
  blockDim = dim3(block.x, block.y, block.z);
  const uint64_t blocks = uint64_t{grid.x} * grid.y * grid.z;
  const bool from_last = order == nullptr ? (s.launches & 1) != 0 : *order == 'b';
  for (uint64_t n = 0; n < blocks && s.error == 0; ++n) {
    const uint64_t b = from_last ? blocks - 1 - n : n;
    blockIdx = {static_cast<unsigned>(b % grid.x), static_cast<unsigned>(b / grid.x % grid.y),
                static_cast<unsigned>(b / grid.x / grid.y)};
    s.backward = order == nullptr ? ((s.launches + n) & 1) != 0 : *order == 'b';
    std::memset(shared.begin, static_cast<int>(kGarbage & 0xFF), shared.bytes);
    run_block(block);
  }
  ++s.launches;
  if (s.error != 0) s.last = s.error;
}

int take_error() {
  const std::lock_guard<std::mutex> lock(s.turn);
  const int error = s.last;
  s.last = 0;
  return error;
}

void fail(int error, const char* what) {
  if (what != nullptr)
    std::fprintf(stderr, "emulator: block %u,%u,%u thread %u,%u,%u: %s\n", blockIdx.x, blockIdx.y, blockIdx.z,
                 threadIdx.x, threadIdx.y, threadIdx.z, what);
  s.error = error;
  leave(lane_here().fiber, false);
  std::abort();  // nobody comes back
}

uint64_t collective(Collective kind, unsigned mask, uint64_t value, int source) {
  Warp& warp = *s.here;
  const unsigned bit = 1u << s.number;
  Lane& lane = warp.lane[s.number];
  if ((mask & bit) == 0) fail(kAssert, "a lane stands outside of its own mask");
  lane.kind = kind;
  lane.mask = mask;
  lane.value = value;
  lane.source = source;
  warp.waiting |= bit;
  if (complete(warp, kind, mask))
    warp.ready &= ~bit;  // and goes on
  else
    wait();
  return lane.value;
}

int barrier(bool value) {
  Warp& warp = *s.here;
  const unsigned bit = 1u << s.number;
  warp.barred |= bit;
  s.brought += value;
  if (++s.barred == s.live) {
    open_barrier();
    warp.ready &= ~bit;
  } else {
    wait();
  }
  return s.all_true;
}

}  // namespace gnas::emulator

// The kernels are compiled with -fsanitize=alignment,bounds,shift: what is called then. `where` begins with the place
// in the sources.
namespace {
[[noreturn]] void report(int error, const char* what, const void* where) {
  struct Place {
    const char* file;
    uint32_t line;
    uint32_t column;
  };
  const Place& place = *static_cast<const Place*>(where);
  char text[320];
  std::snprintf(text, sizeof text, "%s at %s:%u:%u", what, place.file, place.line, place.column);
  gnas::emulator::fail(error, text);
}
}  // namespace

extern "C" {
void __ubsan_handle_type_mismatch_v1(void* where, void*) {
  report(gnas::emulator::kMisaligned, "a misaligned address", where);
}
void __ubsan_handle_out_of_bounds(void* where, void*) {
  report(gnas::emulator::kIllegalAddress, "an index beyond the array", where);
}
void __ubsan_handle_shift_out_of_bounds(void* where, void*, void*) {
  report(gnas::emulator::kAssert, "a shift by too many bits", where);
}
}
