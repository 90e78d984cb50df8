#!/bin/sh
# Do the CUDA kernels compute what they should? Without a GPU: they run on the CPU, in place of the CPU's own kernels
# (csrc/emulator), under the tests of every backend.
#   ci/emulate.sh [pytest arguments…]
# Run by `make emulate`, with .venv/bin first on the PATH. It does not tell how fast they are, nor what memory they read
# out of bounds: for that there is `make gpu-check`.
set -eu
cd "$(dirname "$0")/.."
work=$PWD/build/emulate
mkdir -p "$work"
if ! cmake -G Ninja -S . -B "$work" -DGNAS_PYTHON="$(command -v python)" -DGNAS_CUDA=emulate >"$work/configure.log" 2>&1; then
  cat "$work/configure.log"
  exit 1
fi
cmake --build "$work" --target gnas_emulated
GNAS_EMULATED=$work/gnas_ext/lib/libgnas_emulated.so
# What is allocated holds garbage, so that a result which depends on it shows.
MALLOC_PERTURB_=1
# Without torch's word on each kernel that is replaced.
TORCH_CPP_LOG_LEVEL=ERROR
OMP_NUM_THREADS=1
export GNAS_EMULATED MALLOC_PERTURB_ TORCH_CPP_LOG_LEVEL OMP_NUM_THREADS
[ $# -gt 0 ] || set -- python_tests/ops
exec python -m pytest -q -p no:cacheprovider "$@"
