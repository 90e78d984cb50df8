from __future__ import annotations

import random

import pytest
import torch

from gnas_ext.search import Categorical, Integer, SearchSpace, Tokens
from gnas_ext.search import autoencoder as module
from gnas_ext.search.autoencoder import AutoEncoder, reproducible

SPACE = SearchSpace(
    {
        "deep": Categorical([True, False]),
        "hops": Integer(1, 5, when={"deep": [True]}),
        "agg": Categorical(["sum", "mean", "max"]),
        "dim": Integer(1, 9),
    }
)


def sequences(count: int, seed: int) -> list[Tokens]:
    rng = random.Random(seed)
    return [SPACE.encode(SPACE.sample(rng)) for _ in range(count)]


def loss(tokens: Tokens) -> tuple[float]:
    """The larger `dim`, the better, and `max` better still."""
    return (-(tokens[3] - 5) / 3 - (tokens[2] == 3),)


def taught(seed: int = 0) -> AutoEncoder:
    known = sequences(60, 1)
    network = AutoEncoder(SPACE.sizes, 1, seed)
    with reproducible():
        network.fit(known, [loss(tokens) for tokens in known], sequences(200, 2))
    return network


@pytest.fixture(scope="module")
def network() -> AutoEncoder:
    return taught()


def test_what_is_encoded_is_decoded_to_itself_also_where_no_loss_was_known(network: AutoEncoder) -> None:
    fresh = sequences(100, 3)
    decoded = network.decode(network.encode(network.words(fresh)))
    assert sum(a == b for a, b in zip(fresh, decoded, strict=True)) >= 90


def test_its_head_ranks_sequences(network: AutoEncoder) -> None:
    fresh = sequences(100, 3)
    expected = network.expect(network.encode(network.words(fresh)))[:, 0].detach()
    truth = torch.tensor([loss(tokens)[0] for tokens in fresh])
    assert torch.corrcoef(torch.stack([expected, truth]))[0, 1] > 0.8


def test_down_the_slope_less_is_lost(network: AutoEncoder) -> None:
    start = network.encode(network.words(sequences(30, 4)))
    way = network.descend(start, torch.ones(30, 1), steps=5, stride=0.1, noise=0.0, seed=0)
    expected = [float(network.expect(points).detach().mean()) for points in (start, *way)]
    assert expected == sorted(expected, reverse=True)
    truth = [sum(loss(tokens)[0] for tokens in network.decode(points)) for points in (start, way[-1])]
    assert truth[1] < truth[0]


def test_points_stay_on_the_sphere(network: AutoEncoder) -> None:
    start = network.encode(network.words(sequences(30, 4)))
    for points in network.descend(start, torch.ones(30, 1), steps=3, stride=0.3, noise=2.0, seed=0):
        torch.testing.assert_close(points.norm(dim=1), torch.ones(30))


def test_tokens_that_a_gene_does_not_have_are_not_decoded(network: AutoEncoder) -> None:
    anywhere = torch.randn(200, module.LATENT, generator=torch.Generator().manual_seed(0))
    for tokens in network.decode(anywhere):
        assert all(0 <= token <= size for token, size in zip(tokens, SPACE.sizes, strict=True))


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEPS", 15)


@pytest.mark.usefixtures("short")
def test_weights_follow_from_the_seed_whatever_the_threads_and_the_generators() -> None:
    threads = torch.get_num_threads()
    first = taught().state_dict()
    torch.manual_seed(17)
    torch.set_num_threads(threads + 1)
    try:
        again, other = taught().state_dict(), taught(seed=1).state_dict()
        assert torch.get_num_threads() == threads + 1
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.usefixtures("short")
def test_the_generator_of_the_process_is_left_alone() -> None:
    before = torch.get_rng_state()
    network = taught()
    network.descend(network.encode(network.words(sequences(3, 4))), torch.ones(3, 1), 1, 0.1, 1.0, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
