"""Which shapes of graph do the ops have to survive? Built once, without weights, on the CPU, with int64 indices."""

from __future__ import annotations

from functools import cache

import torch

from gnas_ext import CSR
from python_tests.emulated import EMULATED

SMALL = ("empty", "isolated", "random", "duplicates", "single_row", "zero_rows", "zero_cols")
# More than one chunk of work, so that several threads run and cuts divide rows. Kernels of CUDA have no chunks, and
# emulated they take long.
LARGE = ("one_hub", "desert")
_SHARE = 16 if EMULATED else 1
# Rows and columns of so many entries that CUDA takes them in pieces, beside some that it just does not.
HUBS = "hubs"


@cache
def make(name: str) -> CSR:
    """One of SMALL or LARGE, HUBS, "square" or "hubs_among_many"."""
    random = torch.Generator().manual_seed(len(name))

    def drawn(high: int, count: int) -> torch.Tensor:
        return torch.randint(high, (count,), generator=random)

    def coo(rows: int, cols: int, *parts: torch.Tensor) -> CSR:
        row = torch.cat(parts)
        return CSR.from_coo(row, drawn(cols, len(row)), None, (rows, cols))

    match name:
        case "empty":
            return coo(5, 4, drawn(1, 0))
        case "isolated":  # the first, the last and runs of rows between have no entry
            return coo(60, 33, drawn(4, 50) * 7 + 9)
        case "random":
            return coo(90, 70, drawn(90, 600))
        case "square":
            return coo(40, 40, drawn(40, 300))
        case "duplicates":
            return coo(6, 3, drawn(6, 80))
        case "single_row":
            return coo(1, 7, drawn(1, 20))
        case "zero_rows":
            return coo(0, 5, drawn(1, 0))
        case "zero_cols":
            return CSR(torch.zeros(5, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), None, (4, 0))
        case "one_hub":  # row 3 alone is divided by seven cuts
            return coo(40, 3000 // _SHARE, drawn(1, 60_000 // _SHARE) + 3, drawn(30, 200))
        case "desert":  # cuts in rows without entries, in hubs and between them
            rows = 12_000 // _SHARE
            hubs = torch.tensor([0, 1, rows // 2, rows // 2 + 1, rows - 1]).repeat_interleave(9_000 // _SHARE)
            return coo(rows, 50, hubs, drawn(rows, 2_000 // _SHARE))
        case "hubs_among_many":  # CUDA takes some rows in pieces, and small rows several a warp
            sizes = torch.tensor([300, 5_000, 257, 256, 1_000, 600])
            return coo(66_001, 400, torch.arange(6).mul(13_200).repeat_interleave(sizes), drawn(66_001, 90_000))
        case "hubs":
            degrees = [3, 257, 0, 300, 1, 256, 5000, 2, 0, 0, 512, 7, 513, 30, 1000, 1, 0]
            row = torch.arange(len(degrees)).repeat_interleave(torch.tensor(degrees))
            col = drawn(90, len(row)) * drawn(2, len(row))  # half of them in column 0
            return CSR.from_coo(row, col, None, (len(degrees), 90))
    raise ValueError(f"no graph named {name}")
