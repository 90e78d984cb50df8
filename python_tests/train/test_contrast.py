from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.nn.functional import cosine_similarity, cross_entropy

from gnas_ext.train import TrainOptions
from gnas_ext.train.contrast import info_nce, scored_and_views
from python_tests.logs import touches
from python_tests.train.conftest import equal, make_net, trained

if TYPE_CHECKING:
    from torch import Tensor

    from gnas_ext.data import Interactions
    from gnas_ext.models.lightgcn import LightGCN

KINDS = ["views", "layers"]


def drawn_views(nodes: int = 11, width: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    one, two = (torch.randn(nodes, width, generator=generator).requires_grad_() for _ in range(2))
    return one, two


def net_of(train: Interactions, seed: int = 3, **options: Any) -> LightGCN:
    return make_net(train, seed, **options)


def contrasted(kind: str, noise: float) -> TrainOptions:
    return TrainOptions(contrast=kind, contrast_noise=noise)  # type: ignore[arg-type]


@pytest.mark.parametrize("temperature", [0.1, 0.2, 1.0])
@pytest.mark.parametrize("nodes", [[3], [7, 0, 10, 4], list(range(11))])
def test_info_nce_is_the_cross_entropy_of_cosines(nodes: list[int], temperature: float) -> None:
    views, chosen = drawn_views(), torch.tensor(nodes)
    one, two = (view[chosen] for view in views)
    cosines = cosine_similarity(one[:, None], two[None], dim=2)
    expected = cross_entropy(cosines / temperature, torch.arange(len(nodes)))
    got = info_nce(views, chosen, temperature)
    torch.testing.assert_close(got, expected)
    for mine, plain in zip(torch.autograd.grad(got, views), torch.autograd.grad(expected, views), strict=True):
        torch.testing.assert_close(mine, plain, rtol=1e-4, atol=1e-5)


def test_without_contrast_there_are_no_views(train: Interactions) -> None:
    net = net_of(train)
    found, views = scored_and_views(net, TrainOptions())
    assert torch.equal(found, net.nodes())
    assert views is None


@pytest.mark.parametrize("combine", ["mean", "last", "learned", "concat"])
def test_two_views_without_noise_are_what_scores(train: Interactions, combine: str) -> None:
    net = net_of(train, combine=combine)
    found, views = scored_and_views(net, contrasted("views", 0.0))
    assert views is not None
    assert torch.equal(found, net.nodes())
    assert torch.equal(*views)
    torch.testing.assert_close(views[0], found)


@pytest.mark.parametrize("combine", ["mean", "last", "learned"])
def test_layers_without_noise_are_what_scores_and_the_first_hop(train: Interactions, combine: str) -> None:
    net = net_of(train, combine=combine)
    found, views = scored_and_views(net, contrasted("layers", 0.0))
    assert views is not None
    torch.testing.assert_close(found, net.nodes())
    assert torch.equal(views[0], found)
    torch.testing.assert_close(views[1], net_of(train, hops=1, combine="last").nodes())


def test_noise_makes_the_two_views_differ_and_not_what_scores(train: Interactions) -> None:
    net = net_of(train)
    found, views = scored_and_views(net, contrasted("views", 0.3))
    assert views is not None
    assert torch.equal(found, net.nodes())
    assert not torch.equal(*views)


def test_with_layers_what_scores_has_the_noise(train: Interactions) -> None:
    net = net_of(train)
    found, _ = scored_and_views(net, contrasted("layers", 0.3))
    assert not torch.allclose(found, net.nodes(), atol=0.01)


@pytest.mark.parametrize("noise", [0.05, 0.7])
def test_noise_has_its_length_in_each_hop_and_stays_in_the_orthant(train: Interactions, noise: float) -> None:
    net = net_of(train, hops=1)
    plain, noisy = net.layers()[1].detach(), net.layers(noise)[1].detach()
    torch.testing.assert_close((noisy - plain).norm(dim=1), torch.full((len(plain),), noise), rtol=1e-4, atol=1e-6)
    assert torch.equal(noisy.sign(), plain.sign())
    assert not torch.equal(net.layers(noise)[1], noisy)


def test_the_first_embeddings_have_no_noise(train: Interactions) -> None:
    net = net_of(train)
    assert torch.equal(net.layers(0.5)[0], net.table())


def test_noise_is_no_part_of_the_gradient(train: Interactions) -> None:
    """Where it goes follows from signs, which do not change a little."""
    net = net_of(train, combine="last")
    gradients = [torch.autograd.grad(net.layers(noise)[2].sum(), net.item)[0] for noise in (0.0, 0.5)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("kind", KINDS)
def test_training_with_contrast_repeats_for_a_seed(train: Interactions, kind: str) -> None:
    one, two, other = (
        trained(train, contrast=kind, epochs=1, net={"generator": torch.Generator().manual_seed(seed)})
        for seed in (1, 1, 2)
    )
    assert equal(one.model, two.model)
    assert not equal(one.model, other.model)


@pytest.mark.parametrize("kind", KINDS)
def test_contrast_adds_its_weighted_part_to_the_loss(train: Interactions, kind: str) -> None:
    """Of the users and of the items of the batch, none twice, each among its like."""
    chosen: dict[str, Any] = {"epochs": 1, "batch": len(train), "contrast_noise": 0.0, "contrast_temperature": 0.3}
    plain, half, twice = (
        trained(train, contrast=kind, contrast_weight=w, **chosen).epochs[0].loss for w in (0, 0.5, 2)
    )
    net = make_net(train)
    _, views = scored_and_views(net, contrasted(kind, 0.0))
    assert views is not None
    parts = 0.0
    for side in (slice(0, 40), slice(40, 70)):
        cosines = cosine_similarity(views[0][side, None], views[1][None, side], dim=2)
        parts += float(cross_entropy(cosines / 0.3, torch.arange(len(cosines))).detach())
    assert set(train.user.tolist()) == set(range(40))
    assert set(train.item.tolist()) == set(range(30))
    assert half - plain == pytest.approx(0.5 * parts, rel=1e-3)
    assert twice - plain == pytest.approx(2 * parts, rel=1e-3)


def test_contrast_tells_nodes_apart() -> None:
    train = touches()
    chosen: dict[str, Any] = {"epochs": 5, "net": {"combine": "last"}}
    without, with_contrast = (
        trained(train, contrast="views", contrast_weight=weight, **chosen).model.item.rows for weight in (0.0, 1.0)
    )
    near = [
        float((cosine_similarity(rows[:, None], rows[None], dim=2) / 0.2).exp().mean())
        for rows in (without, with_contrast)
    ]
    assert near[1] < 0.9 * near[0]


@pytest.mark.parametrize(
    ("kind", "net", "message"),
    [
        ("layers", {"hops": 0}, "expected hops of 1 or more with contrast 'layers', got 0"),
        ("views", {"hops": 0}, "expected hops of 1 or more with contrast 'views', got 0"),
        ("layers", {"combine": "concat"}, "expected combine other than 'concat', .* got 'concat' and 2"),
        ("layers", {"combine": "last", "hops": 1}, "other than 'last' with 1 hop, .* got 'last' and 1"),
    ],
)
def test_sides_that_would_be_one_are_refused(train: Interactions, kind: str, net: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trained(train, contrast=kind, net=net)
