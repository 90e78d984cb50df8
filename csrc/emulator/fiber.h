// A stack of its own for each thread of a block, and the change from one to another. Stacks are kept for the next.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <utility>
#include <vector>
#ifndef __x86_64__
#include <ucontext.h>
#endif

namespace gnas::emulator {

constexpr size_t kStackBytes = size_t{128} << 10;

struct Stack {
  char* end;
#ifndef __x86_64__
  ucontext_t context;
#endif
};

// With a page below that may not be touched.
inline Stack* make_stack() {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  void* const at = mmap(nullptr, kStackBytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED || mprotect(at, page, PROT_NONE) != 0) std::abort();
  Stack* const stack = new Stack{};
  stack->end = static_cast<char*>(at) + kStackBytes + page;
  return stack;
}

inline std::vector<Stack*>& spare_stacks() {
  static std::vector<Stack*> spare;
  return spare;
}

class Fiber {
 public:
  bool begun() const { return stack_ != nullptr; }
  void begin(void (*entry)());
  void take_over(Fiber& other) { stack_ = std::exchange(other.stack_, nullptr); }
  void give_back() {
    if (stack_ != nullptr) spare_stacks().push_back(std::exchange(stack_, nullptr));
  }
  friend void change(Fiber& from, Fiber& to);

 private:
  Stack* stack_ = nullptr;
#ifdef __x86_64__
  void* at_ = nullptr;
#else
  ucontext_t own_;
#endif
};

#ifdef __x86_64__
// Keeps what a call must keep, on the stack that it leaves.
extern "C" __attribute__((visibility("hidden"))) void gnas_change_stack(void** from, void* to);
asm(R"(
.pushsection .text
.weak gnas_change_stack
.hidden gnas_change_stack
.type gnas_change_stack, @function
gnas_change_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size gnas_change_stack, . - gnas_change_stack
.popsection
)");

inline void change(Fiber& from, Fiber& to) { gnas_change_stack(&from.at_, to.at_); }
#else
inline void change(Fiber& from, Fiber& to) { swapcontext(&from.own_, &to.own_); }
#endif

inline void Fiber::begin(void (*entry)()) {
  std::vector<Stack*>& spare = spare_stacks();
  if (spare.empty()) spare.push_back(make_stack());
  stack_ = spare.back();
  spare.pop_back();
#ifdef __x86_64__
  // As after a call of entry, with six registers to take off.
  void** const top = reinterpret_cast<void**>(stack_->end) - 2;
  top[1] = nullptr;
  top[0] = reinterpret_cast<void*>(entry);
  at_ = top - 6;
#else
  getcontext(&own_);
  own_.uc_stack.ss_sp = stack_->end - kStackBytes;
  own_.uc_stack.ss_size = kStackBytes;
  own_.uc_link = nullptr;
  makecontext(&own_, entry, 0);
#endif
}

}  // namespace gnas::emulator
