"""How much faster is a full-rank evaluation than RecBole's?

    R="recbole==1.2.1 colorlog==4.7.2 colorama==0.4.4 absl-py cloudpickle joblib narwhals pandas python-dateutil"
    R="$R pytz scikit-learn six tabulate tensorboard texttable thop threadpoolctl tqdm tzdata"
    pip install --target rivals --no-deps $R
    PYTHONPATH=rivals python -m benchmarks.evaluator_speed --data ../shared/data/gowalla

By name, for RecBole asks for a ray that is years old; its evaluator needs none.

Recall and NDCG at 20 of all test users of a log from two tables of 64 random floats: `evaluate` beside what RecBole's
trainer does of a batch (scores by matmul, -inf on the padding and on what was seen, its `Collector`), and its
`Evaluator` at the end. RecBole would take as many users at once as fit 4,096 scores, which here is one; it gets 512 or
whatever --block says, and its batches are ready before the clock starts, where ours are not. Both run by turns in one
process; they must agree.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.ranking_speed import K, random_tables
from gnas_ext.data.split_files import read_split
from gnas_ext.evaluate import SeenItems, evaluate
from gnas_ext.evaluate.evaluate import judged_users

if TYPE_CHECKING:
    from torch import Tensor

    from gnas_ext.data.interactions import Interactions
    from gnas_ext.models.factors import FactorModel

CONFIG = {
    "eval_args": {"mode": "full"},
    "topk": [K],
    "device": "cpu",
    "metrics": ["Recall", "NDCG"],
    "metric_decimal_place": 6,
}


class RecBole:
    """Its evaluation of two tables; items begin at 1, for 0 is its padding."""

    def __init__(self, model: FactorModel, train: Interactions, test: Interactions, block: int) -> None:
        self.user = model.user.rows
        self.item = torch.cat([torch.zeros(1, model.item.width), model.item.rows])
        users = judged_users(model.n_users, train, test)
        seen, held = (SeenItems.from_interactions(part, model.n_users) for part in (train, test))
        self.batches = [
            (torch.from_numpy(some).long(), *pairs(seen.select(some)), *pairs(held.select(some)))
            for some in np.split(users, range(block, len(users), block))
        ]

    def __call__(self) -> dict[str, float]:
        """The metrics."""
        from recbole.evaluator import Collector, Evaluator

        collector: Any = Collector(CONFIG)
        for users, row, col, positive_user, positive_item in self.batches:
            scores = self.user[users] @ self.item.T
            scores[:, 0] = -np.inf
            scores[row, col] = -np.inf
            collector.eval_batch_collect(scores, None, positive_user, positive_item)
        return dict(Evaluator(CONFIG).evaluate(collector.get_data_struct()))


def pairs(some: SeenItems) -> tuple[Tensor, Tensor]:
    """Rows of a batch and their items, as RecBole counts them."""
    return torch.from_numpy(some.rows()).long(), torch.from_numpy(some.items).long() + 1


def main() -> None:
    """Times both and prints a line a side."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, required=True, help="folder with train.txt, valid.txt, test.txt")
    arguments.add_argument("--turns", type=int, default=3)
    arguments.add_argument("--block", type=int, default=512, help="users that RecBole gets at once")
    given = arguments.parse_args()
    warnings.simplefilter("ignore")  # of RecBole's imports
    vars(np)["float"] = float  # a name that numpy 1.24 dropped, and that its NDCG asks for
    split = read_split(*(given.data / f"{part}.txt" for part in ("train", "valid", "test")))
    train, test = split.train_and_valid, split.test
    model = random_tables(train)
    rival = RecBole(model, train, test, given.block)
    rival()  # its imports
    took: dict[str, list[float]] = {"ours": [], "RecBole": []}
    for _ in range(given.turns):
        start = time.perf_counter()
        ours = evaluate(model, train, test, (K,))
        took["ours"].append(time.perf_counter() - start)
        start = time.perf_counter()
        theirs = rival()
        took["RecBole"].append(time.perf_counter() - start)
    for metric in ("recall", "ndcg"):
        if abs(ours[f"{metric}@{K}"] - theirs[f"{metric}@{K}"]) > 2e-6:
            raise SystemExit(f"{metric}@{K}: ours {ours[f'{metric}@{K}']}, RecBole's {theirs[f'{metric}@{K}']}")
    for side, seconds in took.items():
        print(f"{side}, {torch.get_num_threads()} threads: {median(seconds):.2f} s")
    print(f"{median(took['RecBole']) / median(took['ours']):.1f} times")


if __name__ == "__main__":
    main()
