"""What does compute-sanitizer look at? Every op on a small graph, forward and backward; on CUDA unless told `cpu`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

import gnas_ext  # noqa: F401  (registers the ops)
from python_tests.ops.samples import SAMPLES

# Two element types and two index types reach every kernel's branches but the arithmetic, which is the same code.
DTYPES = ((torch.float32, torch.int64), (torch.bfloat16, torch.int32))


def once(op: Any, arguments: tuple[Any, ...]) -> None:
    """A call and, where something needs a gradient, its backward."""
    result = op(*arguments)
    parts: Any = result if isinstance(result, (tuple, list)) else [result]  # None where an op returns nothing
    outputs: list[Any] = [part for part in parts if part is not None and part.requires_grad]
    leaves = [part for part in arguments if isinstance(part, torch.Tensor) and part.requires_grad]
    if outputs and leaves:
        torch.autograd.grad(sum(part.float().sum() for part in outputs), leaves, allow_unused=True)


def main(device: torch.device) -> None:
    """All samples of all ops."""
    calls = 0
    for name, samples in sorted(SAMPLES.items()):
        op = getattr(torch.ops.gnas_ext, name)
        for dtype, index in DTYPES:
            for arguments in samples(index, dtype, device):
                once(op, arguments)
                calls += 1
        if device.type == "cuda":
            torch.cuda.synchronize()
    print(f"gpu_cases: {calls} calls of {len(SAMPLES)} ops on {device}")


if __name__ == "__main__":
    main(torch.device(sys.argv[1] if len(sys.argv) > 1 else "cuda"))
