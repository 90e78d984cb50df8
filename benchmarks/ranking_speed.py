"""How much faster is ranking two tables of floats than the same in torch?

    python -m benchmarks.ranking_speed --data ../shared/data/gowalla

Lists of 20 for all users, seen items left out: `evaluate.top_k` on a `FactorModel`, beside what evaluators of
recommender libraries do: matmul, -inf on what was seen, topk, a block of users at a time. The rows are random, for what
they say does not change the work. Both run by turns in one process; a turn of each is run once more in a process of its
own, for its peak of memory, which Linux with glibc tells. Lists of both are compared.
"""

from __future__ import annotations

import argparse
import ctypes
import re
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import torch

from gnas_ext.data.interactions import n_items, n_users
from gnas_ext.data.split_files import read_split
from gnas_ext.evaluate import SeenItems, top_k
from gnas_ext.models.factors import FactorModel, Table

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from gnas_ext.data.interactions import Interactions

K, BLOCK, WIDTH = 20, 1024, 64
SIDES = ("ours", "torch")


def random_tables(train: Interactions) -> FactorModel:
    """Rows of 64 floats for the users and items of a log."""
    generator = torch.Generator().manual_seed(0)
    user, item = (torch.randn(rows(train), WIDTH, generator=generator) for rows in (n_users, n_items))
    return FactorModel(Table(user), Table(item))


def sides(data: Path) -> dict[str, Callable[[], NDArray[np.int32]]]:
    """What ranks all users of a data set, by name."""
    train = read_split(*(data / f"{part}.txt" for part in ("train", "valid", "test"))).train_and_valid
    model = random_tables(train)
    user, item, everyone = model.user.rows, model.item.rows, np.arange(model.n_users, dtype=np.int32)
    seen = SeenItems.from_interactions(train, model.n_users)

    def ours() -> NDArray[np.int32]:
        return top_k(model, everyone, K, seen)

    row, col = torch.from_numpy(seen.rows()), torch.from_numpy(seen.items).long()

    def in_torch() -> NDArray[np.int32]:
        lists = []
        for first in range(0, len(user), BLOCK):
            scores = user[first : first + BLOCK] @ item.T
            begin, end = seen.indptr[[first, min(first + BLOCK, len(user))]]
            scores[row[begin:end] - first, col[begin:end]] = -torch.inf
            lists.append(scores.topk(K).indices.int())
        return torch.cat(lists).numpy()

    return dict(zip(SIDES, (ours, in_torch), strict=True))


def timed(rank: Callable[[], NDArray[np.int32]]) -> tuple[float, float, NDArray[np.int32]]:
    """Seconds of the clock and of the processor, and the lists."""
    wall, busy = time.perf_counter(), time.process_time()
    lists = rank()
    return time.perf_counter() - wall, time.process_time() - busy, lists


def peak_of(rank: Callable[[], NDArray[np.int32]]) -> int:
    """The most memory that a call has beyond what was there before it, in KiB.

    Not of getrusage: it counts what was read before, and a parent's memory too.
    """
    ctypes.CDLL(None).malloc_trim(0)  # else what reading the log left would be used again, for nothing
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what is there now
    before = _peak()
    rank()
    return _peak() - before


def _peak() -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1])


def main() -> None:
    """Times both and prints a line a side; with --memory-of, one side once."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, required=True, help="folder with train.txt, valid.txt, test.txt")
    arguments.add_argument("--turns", type=int, default=5)
    arguments.add_argument("--memory-of", choices=SIDES, help="print what one side needs beyond what was there, in KiB")
    given = arguments.parse_args()
    ranks = sides(given.data)
    if given.memory_of:
        print(peak_of(ranks[given.memory_of]))
        return
    walls: dict[str, list[float]] = {side: [] for side in SIDES}
    busies: dict[str, list[float]] = {side: [] for side in SIDES}
    lists = {}
    for _ in range(given.turns):
        for side, rank in ranks.items():
            wall, busy, lists[side] = timed(rank)
            walls[side].append(wall)
            busies[side].append(busy)
    for side in SIDES:
        command = [sys.executable, "-m", "benchmarks.ranking_speed", "--data", str(given.data), "--memory-of", side]
        more = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(
            f"{side}, {torch.get_num_threads()} threads: {median(walls[side]):.1f} s, {median(busies[side]):.1f} s of "
            f"the processor, {more / 1024:.0f} MiB more"
        )
    same = float((lists["ours"] == lists["torch"]).mean())
    print(
        f"{median(walls['torch']) / median(walls['ours']):.1f} times by the clock, "
        f"{median(busies['torch']) / median(busies['ours']):.1f} by the processor; {same:.2%} of the places alike"
    )


if __name__ == "__main__":
    main()
