#!/bin/sh
# Does every .cu compile and link, without a GPU and without a CUDA torch? Linked against a stand-in of libtorch_cuda,
# with unresolved symbols as errors. Run by `make cuda-check`, with .venv/bin first on the PATH.
set -eu
cd "$(dirname "$0")/.."
if ! command -v nvcc >/dev/null && ! [ -x "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" ]; then
  echo "cuda-check: skipped, there is no nvcc here"
  exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if ! cmake -G Ninja -S . -B "$work" -DGNAS_PYTHON="$(command -v python)" -DGNAS_CUDA=stub >"$work/configure.log" 2>&1; then
  cat "$work/configure.log"
  exit 1
fi
for code in 'code=\[sm_80\]' 'code=\[compute_90,sm_90\]'; do
  if ! grep -q "$code" "$work/compile_commands.json"; then
    echo "cuda-check: the build makes no $code"
    exit 1
  fi
done
cmake --build "$work" --target gnas_cuda
echo "cuda-check: $(ls csrc/ops/*/*.cu | wc -l) CUDA files compile and link for sm_80, sm_90 and PTX"
