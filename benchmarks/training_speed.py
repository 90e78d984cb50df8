"""How much faster is a pass of LightGCN than the reference loop and PyG's?

    python -m benchmarks.training_speed --data ../shared/data/gowalla

3 hops, 64 floats, BPR, steps of 2,048 touches with one negative each, Adam, an L2 penalty on the batch. The rivals are
written as their users write them: the reference loop multiplies the normalised adjacency by `torch.sparse.mm` at each
step (CSR, the faster of torch's formats), PyG's `LightGCN` propagates by `edge_index` (make install-bench). All make
the same step from the same embeddings, by turns; losses are compared, medians are scaled to a pass.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from gnas_ext.data.interactions import n_items, n_users
from gnas_ext.data.split_files import read_split
from gnas_ext.graph import bipartite
from gnas_ext.models.joint import JointGraph
from gnas_ext.models.lightgcn import LightGCN
from gnas_ext.train import TrainOptions
from gnas_ext.train.step import Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from gnas_ext.data.interactions import Interactions
    from gnas_ext.graph.csr import CSR

DIM, HOPS, BATCH, DECAY, LR = 64, 3, 2048, 1e-4, 1e-3


def ours(train: Interactions, graph: CSR, start: Tensor) -> Callable[[Tensor, Tensor], float]:
    """`train.fit`'s own step."""
    net = LightGCN(graph, DIM, HOPS, start=start)
    options = TrainOptions(batch=BATCH, lr=LR, weight_decay=DECAY)
    step = Step(net, train, options, None, torch.Generator())

    def made(rows: Tensor, drawn: Tensor) -> float:
        # The same negatives as the rivals'.
        step.sampler.own = lambda users, touched: drawn  # type: ignore[method-assign]
        return step(rows)

    return made


class Rival:
    """A step around something that propagates."""

    def __init__(self, train: Interactions, users: int, start: Tensor, propagate: Callable[[Tensor], Tensor]) -> None:
        self.user, self.item = (torch.from_numpy(side).long() for side in (train.user, train.item))
        self.users = users
        self.table = torch.nn.Parameter(start.clone())
        self.propagate = propagate
        self.optimizer = torch.optim.Adam([self.table], lr=LR)

    def __call__(self, rows: Tensor, drawn: Tensor) -> float:
        """A step on some rows of the log with these negatives; its loss."""
        user, item = self.user[rows], self.item[rows]
        nodes = self.propagate(self.table)
        touching, touched, other = nodes[user], nodes[item + self.users], nodes[drawn + self.users]
        loss = -functional.logsigmoid((touching * touched).sum(1) - (touching * other).sum(1)).mean()
        first = self.table[user].square().sum() + self.table[item + self.users].square().sum()
        loss = loss + DECAY * first / len(rows)
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        self.optimizer.step()
        return float(loss.detach())


def reference(graph: CSR) -> Callable[[Tensor], Tensor]:
    """The loop of the paper's code: a sparse product a hop, a mean over the stacked layers."""
    a = JointGraph(graph).csr
    assert a.weight is not None
    square = torch.sparse_csr_tensor(a.indptr.long(), a.indices.long(), a.weight, a.shape)

    def propagate(table: Tensor) -> Tensor:
        layers = [table]
        for _ in range(HOPS):
            layers.append(torch.sparse.mm(square, layers[-1]))
        return torch.stack(layers, 1).mean(1)

    return propagate


def pyg(graph: CSR, start: Tensor) -> Callable[[Tensor], Tensor] | None:
    """PyG's model on `edge_index`; None where it is not installed."""
    try:
        from torch_geometric.nn.models import LightGCN as PygLightGCN
    except ImportError:
        return None
    bare = JointGraph(graph).structure
    edges = torch.stack([bare.indices.long(), bare.row_index().long()])
    model: Any = PygLightGCN(bare.rows, DIM, HOPS)

    def propagate(table: Tensor) -> Tensor:
        del model.embedding.weight
        model.embedding.weight = table
        found: Tensor = model.get_embedding(edges)
        return found

    return propagate


def main() -> None:
    """Times all by turns and prints a line each."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, required=True, help="folder with train.txt, valid.txt, test.txt")
    arguments.add_argument("--turns", type=int, default=7)
    given = arguments.parse_args()
    train = read_split(*(given.data / f"{part}.txt" for part in ("train", "valid", "test"))).train_and_valid
    users, items = n_users(train), n_items(train)
    graph = bipartite(train.user, train.item, users, items)
    start = torch.randn(users + items, DIM, generator=torch.Generator().manual_seed(0)) * 0.1
    steps: dict[str, Callable[[Tensor, Tensor], float]] = {
        "gnas_ext": ours(train, graph, start),
        "torch.sparse.mm loop": Rival(train, users, start, reference(graph)),
    }
    convolved = pyg(graph, start)
    if convolved is not None:
        steps["PyG LightGCN"] = Rival(train, users, start, convolved)
    generator = torch.Generator().manual_seed(1)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    losses: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(given.turns + 1):
        rows = torch.randperm(len(train), generator=generator)[:BATCH]
        drawn = torch.randint(items, (BATCH,), generator=generator)
        for name, step in steps.items():
            began = time.perf_counter()
            losses[name].append(step(rows, drawn))
            if turn:  # the first one warms up
                seconds[name].append(time.perf_counter() - began)
    passes = math.ceil(len(train) / BATCH)
    best = median(seconds["gnas_ext"])
    for name, times in seconds.items():
        apart = max(abs(a - b) for a, b in zip(losses[name], losses["gnas_ext"], strict=True))
        print(
            f"{name}: {1000 * median(times):.0f} ms a step, {median(times) * passes:.1f} s a pass of {passes} steps, "
            f"{median(times) / best:.1f} times ours; loss {losses[name][-1]:.7f}, ours within {apart:.1e}",
            flush=True,
        )


if __name__ == "__main__":
    main()
