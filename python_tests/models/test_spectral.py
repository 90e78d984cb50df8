from __future__ import annotations

import numpy as np
import pytest
import torch

from gnas_ext.graph import bipartite
from gnas_ext.models.spectral import spectral_start
from gnas_ext.ops import spmm
from python_tests.logs import touches


@pytest.mark.parametrize("dim", [1, 5, 12])
def test_products_are_the_best_of_their_rank(dim: int) -> None:
    train = touches()
    graph = bipartite(train.user, train.item, 40, 30)
    dense = spmm(graph, torch.eye(30)).numpy()
    left, values, right = np.linalg.svd(dense)
    best = (left[:, :dim] * values[:dim]) @ right[:dim]
    start = spectral_start(graph, dim).numpy()
    got = start[:40] @ start[40:].T
    # All scaled alike.
    np.testing.assert_allclose(got * (best.std() / got.std()), best, atol=5e-3 * best.std())


def test_numbers_are_spread_as_drawn_ones() -> None:
    train = touches()
    start = spectral_start(bipartite(train.user, train.item, 40, 30), 8)
    assert float(start.std()) == pytest.approx(0.1, rel=1e-4)


def test_beyond_the_rank_of_the_graph_it_is_drawn() -> None:
    train = touches()
    graph = bipartite(train.user, train.item, 40, 30)
    one, two = (spectral_start(graph, 50, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert one.shape == (70, 50)
    assert one[:, 30:].std() == pytest.approx(0.1, rel=0.1)
    assert not torch.equal(one[:, 30:], two[:, 30:])


def test_an_empty_graph_has_a_start() -> None:
    none = np.zeros(0, np.int32)
    assert spectral_start(bipartite(none, none, 3, 2), 4).isfinite().all()


def test_nodes_without_edges_are_drawn() -> None:
    """At zero a cosine has no direction."""
    start = spectral_start(bipartite(np.array([0, 1], np.int32), np.array([2, 2], np.int32), 3, 4), 2)
    idle = [2, 3, 4, 6]
    assert (start[idle] != 0).all()
    assert not torch.equal(start[2], start[3])
