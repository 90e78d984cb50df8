#!/bin/sh
# Do the ops read or write out of bounds, use what was freed, or overflow? Their tests under the address and undefined
# behaviour sanitizers, in a build of its own. `thread` looks instead for data races between threads that call the ops.
#   ci/sanitize.sh [address | thread] [pytest arguments…]
# Run by `make sanitize`, with .venv/bin first on the PATH.
set -eu
cd "$(dirname "$0")/.."
kind=${1:-address}
[ $# -gt 0 ] && shift
case $kind in
  address) flags=address,undefined runtime=libasan.so ;;
  thread) flags=thread runtime=libtsan.so ;;
  *)
    echo "sanitize: expected address or thread, got $kind"
    exit 2
    ;;
esac
library=$(${CXX:-g++} -print-file-name=$runtime)
if ! [ -e "$library" ]; then
  echo "sanitize: skipped, ${CXX:-g++} brings no $runtime"
  exit 0
fi

# A copy of the package and its tests, so that the libraries of the checkout stay as they are.
work=$PWD/build/sanitize-$kind
rm -rf "$work/copy"
mkdir -p "$work/copy"
cp -r gnas_ext python_tests benchmarks pyproject.toml "$work/copy"
rm -rf "$work"/copy/gnas_ext/lib "$work"/copy/gnas_ext/_C.*.so
if ! cmake -G Ninja -S . -B "$work/cmake" -DGNAS_PYTHON="$(command -v python)" -DGNAS_OUTPUT="$work/built" \
  -DGNAS_SANITIZE=$flags -DGNAS_LEVELS_HERE=on -DGNAS_CUDA=off >"$work/configure.log" 2>&1; then
  cat "$work/configure.log"
  exit 1
fi
cmake --build "$work/cmake"
cp -r "$work"/built/* "$work/copy/gnas_ext"
cd "$work/copy"

# The runtime must come before Python's own libraries, and libstdc++ with it, or its exceptions are not seen. Python and
# torch do not free all that they hold at the end: that is not looked for.
LD_PRELOAD="$library $(${CXX:-g++} -print-file-name=libstdc++.so.6)"
ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1
UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
# torch and its OpenMP are built without the sanitizer: a barrier of theirs is not seen, so only what happens in our own
# library between callers' threads, each of which works alone, is reported.
TSAN_OPTIONS=halt_on_error=1:ignore_noninstrumented_modules=1:report_signal_unsafe=0
export LD_PRELOAD ASAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS
if [ $# -eq 0 ] && [ "$kind" = thread ]; then
  set -- python_tests/ops/test_threads.py -k callers
elif [ $# -eq 0 ]; then
  set -- python_tests/ops
fi
# A block of the pool has no bounds that the sanitizer knows; the pool's own tests switch it on.
GNAS_EXT_POOL_BYTES=0
export GNAS_EXT_POOL_BYTES
python - <<'CHECK'
import gnas_ext, sys
sys.exit(None if "/build/sanitize-" in gnas_ext.__file__ else f"sanitize: {gnas_ext.__file__} is not the sanitized build")
CHECK
python -m pytest -q -p no:cacheprovider "$@"
unset GNAS_EXT_POOL_BYTES
exec python -m pytest -q -p no:cacheprovider python_tests/test_memory.py
