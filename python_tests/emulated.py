"""Do CUDA's kernels run here, on the CPU and in place of its own? `make emulate` names the library that has them."""

from __future__ import annotations

import os

import torch

import gnas_ext  # noqa: F401  (the ops whose kernels it replaces)

EMULATED = "GNAS_EMULATED" in os.environ
if EMULATED:
    torch.ops.load_library(os.environ["GNAS_EMULATED"])  # type: ignore[no-untyped-call]


def refused(message: str) -> str:
    """What a call with a corrupt graph says: a CUDA kernel traps, and names no entry."""
    return f"{message}|CUDA error 719" if EMULATED else message
