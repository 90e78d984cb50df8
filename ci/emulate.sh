#!/bin/sh
# Do the CUDA kernels compute what they should? Without a GPU: they run on the CPU, in place of the CPU's own kernels
# (csrc/emulator), under the tests of the ops. `address` looks for what they read or write out of bounds as well.
#   ci/emulate.sh [address] [pytest arguments…]
# Run by `make emulate`, with .venv/bin first on the PATH. How fast they are, and what two blocks that run at once do to
# each other, is for `make gpu-check`.
set -eu
cd "$(dirname "$0")/.."
work=$PWD/build/emulate
sanitize=
if [ "${1:-}" = address ]; then
  shift
  work=$work-address
  sanitize=address
fi
mkdir -p "$work"
if ! cmake -G Ninja -S . -B "$work" -DGNAS_PYTHON="$(command -v python)" -DGNAS_CUDA=emulate -DGNAS_SANITIZE=$sanitize \
  >"$work/configure.log" 2>&1; then
  cat "$work/configure.log"
  exit 1
fi
cmake --build "$work" --target gnas_emulated

GNAS_EMULATED=$work/gnas_ext/lib/libgnas_emulated.so
TORCH_CPP_LOG_LEVEL=ERROR # without torch's word on each kernel that is replaced
OMP_NUM_THREADS=1
export GNAS_EMULATED TORCH_CPP_LOG_LEVEL OMP_NUM_THREADS
if [ -n "$sanitize" ]; then
  LD_PRELOAD="$(${CXX:-g++} -print-file-name=libasan.so) $(${CXX:-g++} -print-file-name=libstdc++.so.6)"
  ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:detect_stack_use_after_return=0
  export LD_PRELOAD ASAN_OPTIONS
else
  # What is allocated holds garbage, so that a result which depends on it shows.
  MALLOC_PERTURB_=1
  export MALLOC_PERTURB_
fi
[ $# -gt 0 ] || set -- python_tests/ops
exec python -m pytest -q -p no:cacheprovider "$@"
