from __future__ import annotations

import pytest
import torch

from gnas_ext.models import hops as linear

HOPS = [0, 1, 2, 5]


@pytest.mark.parametrize("hops", HOPS)
@pytest.mark.parametrize(("loop", "residual"), [(0.0, 0.0), (1.0, 0.0), (0.0, 0.3), (0.4, 0.9)])
def test_layers_are_polynomials_of_the_graph(hops: int, loop: float, residual: float) -> None:
    """By their recursion on a matrix of any kind."""
    generator = torch.Generator().manual_seed(0)
    graph = torch.randn(6, 6, generator=generator, dtype=torch.float64) / 3
    first = torch.randn(6, 2, generator=generator, dtype=torch.float64)
    expected = [first]
    for _ in range(hops):
        looped = (graph @ expected[-1] + loop * expected[-1]) / (1 + loop)
        expected.append((1 - residual) * looped + residual * first)
    powers = torch.stack([torch.linalg.matrix_power(graph, power) @ first for power in range(hops + 1)])
    found = torch.einsum("kp,pnd->knd", linear.layers(hops, loop, residual).double(), powers)
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-5, atol=1e-6)


def test_without_loop_and_residual_layer_k_is_power_k() -> None:
    assert torch.equal(linear.layers(4), torch.eye(5))


@pytest.mark.parametrize(
    ("combine", "hops", "wanted"),
    [
        ("mean", 3, [0.25, 0.25, 0.25, 0.25]),
        ("learned", 1, [0.5, 0.5]),
        ("concat", 1, [0.5, 0.5]),
        ("last", 2, [0, 0, 1]),
        ("halving", 2, [4 / 7, 2 / 7, 1 / 7]),
        ("pagerank", 2, [0.3, 0.21, 0.49]),
    ],
)
def test_shares_are_what_they_are_called(combine: linear.Combine, hops: int, wanted: list[float]) -> None:
    assert linear.shares(combine, hops, restart=0.3) == pytest.approx(wanted)


@pytest.mark.parametrize("hops", HOPS)
@pytest.mark.parametrize("combine", ["mean", "learned", "last", "halving", "pagerank"])
@pytest.mark.parametrize("restart", [0.01, 0.5, 1.0])
def test_shares_are_one_together(combine: linear.Combine, hops: int, restart: float) -> None:
    found = linear.shares(combine, hops, restart)
    assert len(found) == hops + 1
    assert sum(found) == pytest.approx(1)
    assert min(found) >= 0


@pytest.mark.parametrize("restart", [0.1, 0.6])
def test_pagerank_is_the_last_layer_of_appnp(restart: float) -> None:
    shares = torch.tensor(linear.shares("pagerank", 4, restart))
    torch.testing.assert_close(shares, linear.layers(4, residual=restart)[-1])
