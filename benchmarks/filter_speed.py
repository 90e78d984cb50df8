"""How much faster is a graph filter than the same in torch's and SciPy's sparse products?

    python -m benchmarks.filter_speed --data ../shared/data/gowalla

Ours and the rival are built and rank some of the users, by turns, in one run; medians of the turns are scaled to all
users. The rival is what the authors' code does: `scipy.sparse.linalg.svds` for the vectors, torch's CSR products for
every hop of the polynomial, dense products for the low-pass part, `torch.topk`. Lists of both are compared.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import svds

from gnas_ext.data.interactions import n_items, n_users
from gnas_ext.data.split_files import read_split
from gnas_ext.evaluate import SeenItems, top_k
from gnas_ext.models.matrix import interaction_matrix
from gnas_ext.models.response import monomial, plateau
from gnas_ext.search.recommender import build_training_free
from gnas_ext.search.recommender.training_free import CHEBYCF, GF_CF

if TYPE_CHECKING:
    from numpy.polynomial import Chebyshev
    from numpy.typing import NDArray
    from torch import Tensor

    from gnas_ext.data.interactions import Interactions

K, BLOCK = 20, 1024


class Shape(NamedTuple):
    """What a rival computes: score = D^e h(P) D^-e x + weight D^f V V^T D^-f x."""

    response: Chebyshev
    exponent: float
    rank: int
    weight: float
    low_exponent: float


RIVALS = {
    "gf-cf": (GF_CF, Shape(monomial([0.0, 1.0]), 0.0, 256, 0.3, 0.5)),
    "chebycf": (CHEBYCF, Shape(plateau(8, 1.5), 0.4, 512, 0.2, 0.4)),
}


class Rival:
    """The filter in SciPy and torch.

    Args:
        train: the interactions.
        shape: the filter.
        vectors: V, where it is known already; else svds finds it.
    """

    def __init__(self, train: Interactions, shape: Shape, vectors: NDArray[np.float32] | None = None) -> None:
        self.shape = shape
        self.touched = interaction_matrix(train, n_users(train), n_items(train))
        user, item = (np.maximum(self.touched.sum(axis), 1) for axis in (1, 0))
        scaled: Any = sparse.diags_array(user**-0.5) @ self.touched @ sparse.diags_array(item**-0.5)
        graph: Any = sparse.csr_array(scaled).astype(np.float32)
        self.vectors = torch.from_numpy(svds(graph, shape.rank)[2].T.copy() if vectors is None else vectors)
        self.graph, self.back = (_torch(part) for part in (graph, graph.T.tocsr()))
        self.item = torch.from_numpy(item.astype(np.float32))[:, None]

    def top(self, users: NDArray[np.int32]) -> Tensor:
        """The lists of a block of users."""
        x = torch.from_numpy(self.touched[users].toarray()).T.contiguous()
        shape = self.shape
        scores = self.item**shape.exponent * self._passed(x * self.item**-shape.exponent)
        low = self.vectors @ (self.vectors.T @ (x * self.item**-shape.low_exponent))
        scores = (scores + shape.weight * self.item**shape.low_exponent * low).T.contiguous()
        scores[x.T > 0] = -torch.inf
        return scores.topk(K).indices

    def _passed(self, x: Tensor) -> Tensor:
        if self.shape.response.degree() == 1:  # as GF-CF has it: one hop, no series
            one: Tensor = self.back @ (self.graph @ x)
            return one

        def stretched(y: Tensor) -> Tensor:
            return 2 * (self.back @ (self.graph @ y)) - y

        before, now = x, stretched(x)
        series = self.shape.response.coef.tolist()
        total: Tensor = series[0] * before + series[1] * now
        for share in series[2:]:
            before, now = now, 2 * stretched(now) - before
            total += share * now
        return total


def _torch(matrix: Any) -> Tensor:
    indptr, indices = (torch.from_numpy(part.astype(np.int64)) for part in (matrix.indptr, matrix.indices))
    return torch.sparse_csr_tensor(indptr, indices, torch.from_numpy(matrix.data), size=matrix.shape)


def main() -> None:
    """Times both and prints a line a filter."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, required=True, help="folder with train.txt, valid.txt, test.txt")
    arguments.add_argument("--filters", default=",".join(RIVALS))
    arguments.add_argument("--users", type=int, default=2048, help="ranked a turn")
    arguments.add_argument("--turns", type=int, default=3)
    arguments.add_argument("--no-svds", action="store_true", help="the rival's vectors are given to it, untimed")
    given = arguments.parse_args()
    split = read_split(*(given.data / f"{part}.txt" for part in ("train", "valid", "test")))
    train = split.train_and_valid
    seen = SeenItems.from_interactions(train, n_users(train))
    users = np.random.default_rng(0).permutation(n_users(train))[: given.users].astype(np.int32)
    scale = n_users(train) / len(users)
    for name in given.filters.split(","):
        genotype, shape = RIVALS[name]
        start = time.perf_counter()
        model: Any = build_training_free(genotype, train)
        ours_fit = time.perf_counter() - start
        vectors = model.vectors / model._degree[:, None] ** shape.low_exponent
        start = time.perf_counter()
        rival = Rival(train, shape, vectors.numpy() if given.no_svds else None)
        rival_fit = time.perf_counter() - start
        ours, theirs, same = [], [], 0.0
        top_k(model, users[:1], K, seen)  # the hops of the model are made once
        for _ in range(given.turns):
            start = time.perf_counter()
            lists = top_k(model, users, K, seen)
            ours.append((time.perf_counter() - start) * scale)
            start = time.perf_counter()
            blocks = [rival.top(users[first : first + BLOCK]) for first in range(0, len(users), BLOCK)]
            theirs.append((time.perf_counter() - start) * scale)
            same = float((torch.cat(blocks).numpy() == lists).mean())
        ours_all, theirs_all = ours_fit + median(ours), rival_fit + median(theirs)
        print(
            f"{name}, {torch.get_num_threads()} threads: ours {ours_fit:.1f} + {median(ours):.1f} s, "
            f"rival {rival_fit:.1f} + {median(theirs):.1f} s: {theirs_all / ours_all:.1f} times; "
            f"{same:.2%} of the places alike",
            flush=True,
        )


if __name__ == "__main__":
    main()
