"""Loads the native libraries: which ones there are, and which instruction set the CPU kernels use."""

from __future__ import annotations

import os
from pathlib import Path

import torch

OLDEST_TORCH = (2, 11)

if tuple(int(part) for part in torch.__version__.split(".")[:2]) < OLDEST_TORCH:
    raise ImportError(f"gnas_ext needs torch 2.11 or later, found {torch.__version__}: pip install 'torch>=2.11'")

from gnas_ext import _C  # noqa: E402  (links to the op library, so it must come after torch)

_CUDA_LIBRARY = Path(__file__).parent / "lib" / "libgnas_cuda.so"
CUDA_LOADED = torch.version.cuda is not None and _CUDA_LIBRARY.exists()
if CUDA_LOADED:
    torch.ops.load_library(str(_CUDA_LIBRARY))  # type: ignore[no-untyped-call]


def simd_levels() -> list[str]:
    """Instruction sets that the CPU kernels can use on this machine, worst first."""
    return _C.simd_levels()


def simd_level() -> str:
    """The instruction set in use: the best one, unless `set_simd_level` or GNAS_EXT_SIMD chose another."""
    return _C.simd_level()


def set_simd_level(name: str) -> None:
    """Makes the CPU kernels use an instruction set, in all threads.

    Args:
        name: "baseline", "avx2" or "avx512".

    Raises:
        ValueError: the name is unknown or this machine does not offer it.
    """
    _C.set_simd_level(name)


def build_info() -> dict[str, str]:
    """What the native libraries were built with and which of them are loaded.

    Returns:
        `compiler`, `torch_headers` (the torch built against), `torch` (the torch running), `simd` (in use),
        `simd_levels` (on offer), `cuda` (how the CUDA library was built, or why not) and `cuda_loaded`.
    """
    return {
        **_C.build_info(),
        "torch": torch.__version__,
        "simd": simd_level(),
        "simd_levels": ", ".join(simd_levels()),
        "cuda_loaded": "yes" if CUDA_LOADED else "no",
    }


if "GNAS_EXT_SIMD" in os.environ:
    try:
        _C.set_simd_level(os.environ["GNAS_EXT_SIMD"])
    except ValueError as error:
        raise ValueError(f"GNAS_EXT_SIMD={error}") from None
