// Where can the library be loaded? Some small helpers of the compiler's C++ library live in newer ones only
// (glibc 2.32, libstdc++ 9 and 11), though nothing that they do needs that. They are defined here, for this library
// alone, so that it loads wherever torch 2.11 does: glibc 2.28, manylinux_2_28. `make wheel-check` looks with
// auditwheel. They are weak for compilers that bring their C++ library as an archive, which has them too.
#include <exception>
#include <new>
#include <sstream>

#if defined(__GLIBC__) && defined(__GLIBCXX__)

// shared_ptr asks it whether plain additions will do: no, always count atomically.
extern "C" {
__attribute__((weak, visibility("hidden"))) char __libc_single_threaded = 0;
}

// A copy and a destruction of an exception_ptr by the names that they have had since GCC 4.4.
extern "C" {
void gnas_copy_exception(void* to, const void* from) __asm__("_ZNSt15__exception_ptr13exception_ptrC1ERKS0_");
void gnas_destroy_exception(void* of) __asm__("_ZNSt15__exception_ptr13exception_ptrD1Ev");
}

namespace std {

// GLIBCXX_3.4.29: containers call it when a size overflows.
__attribute__((weak)) void __throw_bad_array_new_length() { throw bad_array_new_length(); }

// GLIBCXX_3.4.26: the constructors without arguments, which older libraries inline.
template basic_ostringstream<char>::basic_ostringstream();
template basic_stringstream<char>::basic_stringstream();

// CXXABI_1.3.13: what the two were made of, before newer headers inlined them. A copy that nobody destroys holds one
// reference more; destroying one that nobody made gives it back.
namespace __exception_ptr {
__attribute__((weak)) void exception_ptr::_M_addref() noexcept {
  void* copy = nullptr;
  gnas_copy_exception(&copy, this);
}
__attribute__((weak)) void exception_ptr::_M_release() noexcept {
  gnas_destroy_exception(this);
  *reinterpret_cast<void**>(this) = nullptr;
}
}  // namespace __exception_ptr

}  // namespace std

#endif
