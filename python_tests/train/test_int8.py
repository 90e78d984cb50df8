"""Training on tables of int8: does it learn, touch the batch alone, and never hold a table in float32?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gnas_ext.data import Interactions, n_items, n_users
from gnas_ext.evaluate import evaluate
from gnas_ext.graph import bipartite
from gnas_ext.models.int8_factors import Int8Factors
from gnas_ext.ops import dequantize_rows
from gnas_ext.search.recommender import build, embedding_space
from gnas_ext.search.recommender.embeddings import SOFTMAX
from gnas_ext.search.recommender.space import fit_recipe
from gnas_ext.train import TrainOptions, fit
from gnas_ext.train.optimizers import Int8Adagrad
from gnas_ext.train.step import Step
from python_tests import logs
from python_tests.train.conftest import make_net

if TYPE_CHECKING:
    from gnas_ext.models import FactorModel

LOSSES = ["bpr", "softmax", "multinomial", "cosine_contrastive", "alignment_uniformity"]


def int8_net(train: Interactions, dim: int = 8, seed: int = 0) -> Int8Factors:
    graph = bipartite(train.user, train.item, n_users(train), n_items(train))
    return Int8Factors(graph, dim, torch.Generator().manual_seed(seed))


def options_of(**chosen: Any) -> TrainOptions:
    return TrainOptions(**{"optimizer": "int8_adagrad", "negatives": 4, "margin": -1.0, "lr": 0.1, **chosen})


@pytest.mark.parametrize("loss", LOSSES)
def test_rows_that_no_batch_touched_stay_as_they_are(train: Interactions, loss: str) -> None:
    net = int8_net(train)
    before = [(table.codes.clone(), table.scale.clone()) for table in (net.user, net.item)]
    step = Step(net, train, options_of(loss=loss), None, torch.Generator().manual_seed(0))
    rows = torch.arange(5)
    step(rows)
    moved = [(table.codes != codes).any(1) for table, (codes, _) in zip((net.user, net.item), before, strict=True)]
    assert set(moved[0].nonzero()[:, 0].tolist()) == set(train.user[:5].tolist())
    assert moved[1][train.item[:5]].all()
    assert bool(moved[1].all()) == (loss == "multinomial")
    still = ~moved[0]
    assert torch.equal(net.user.scale[still], before[0][1][still])


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_losses_and_steps_are_those_of_floats(train: Interactions, loss: str, similarity: str) -> None:
    """Row-wise Adagrad from the same rows: the same loss, and rows that are off by no more than a code."""
    chosen: dict[str, Any] = {"loss": loss, "similarity": similarity, "temperature": 0.5, "negatives": 9}
    chosen |= {"margin": 0.0, "weight_decay": 0.01}
    net = int8_net(train)
    start = torch.cat([dequantize_rows(net.user), dequantize_rows(net.item)])
    floats = make_net(train, hops=0, dim=8, start=start)
    found = []
    for one, optimizer in ((net, "int8_adagrad"), (floats, "rowwise_adagrad")):
        step = Step(one, train, options_of(**chosen, optimizer=optimizer), None, torch.Generator().manual_seed(4))
        found.append(step(torch.arange(60)))
    assert found[0] == pytest.approx(found[1], rel=1e-5)
    for table, rows in ((net.user, floats.user), (net.item, floats.item)):
        off = (dequantize_rows(table) - rows.detach()).abs()
        assert (off <= 1.01 * table.scale[:, None] + 1e-6).all()


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_it_learns_as_well_as_floats_do_and_comes_out_in_int8(similarity: str) -> None:
    split = logs.split(times=False)
    train = split.train

    def trained(net: Any, optimizer: str) -> FactorModel:
        options = options_of(
            loss="softmax", similarity=similarity, temperature=0.2, optimizer=optimizer, negatives=32, epochs=15, seed=1
        )
        return fit(net, train, options).model

    small = trained(int8_net(train, 16), "int8_adagrad")
    large = trained(make_net(train, hops=0, dim=16), "rowwise_adagrad")
    ours, theirs = (evaluate(model, train, split.valid)["ndcg@20"] for model in (small, large))
    assert ours > 0.95 * theirs
    assert small.user.rows.dtype == small.item.rows.dtype == torch.int8
    if similarity == "cosine":
        torch.testing.assert_close(small.item.float().norm(dim=1), torch.ones(small.n_items))


def test_a_study_repeats_at_any_number_of_threads(train: Interactions) -> None:
    found = []
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(fit(int8_net(train), train, options_of(loss="softmax", epochs=3, seed=5)).model)
    torch.set_num_threads(before)
    for one, two in ((found[0].user, found[1].user), (found[0].item, found[1].item)):
        assert torch.equal(one.rows, two.rows)
        assert one.scale is not None
        assert two.scale is not None
        assert torch.equal(one.scale, two.scale)


def test_small_steps_are_not_lost(train: Interactions) -> None:
    """Steps of a hundredth of a code add up, for they are rounded at random."""
    net = int8_net(train)
    optimizer = Int8Adagrad(1.0, torch.Generator().manual_seed(0))
    row = torch.tensor([3])
    before = dequantize_rows(net.user)[3].clone()
    for _ in range(400):
        leaf = optimizer.rows(net.user, row)
        optimizer._squares[id(net.user)] = torch.full((net.user.rows,), 1e4)
        leaf.grad = torch.full_like(leaf, -float(net.user.scale[3]))
        optimizer.step()
    moved = (dequantize_rows(net.user)[3] - before).mean()
    assert float(moved) == pytest.approx(400 * float(before.abs().max() / 127) / 100, rel=0.35)


def test_a_step_makes_nothing_as_long_as_a_table(train: Interactions) -> None:
    net = int8_net(train)
    optimizer = Int8Adagrad(0.1, torch.Generator().manual_seed(0))
    lengths: list[int] = []

    class Watched(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor) and func.name().startswith(("aten::zeros", "aten::empty", "aten::full")):
                lengths.append(out.numel())
            return out

    for _ in range(2):
        lengths.clear()
        with Watched():  # type: ignore[no-untyped-call]
            optimizer.rows(net.user, torch.tensor([3])).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    assert max(lengths, default=0) < net.user.rows


@pytest.mark.parametrize("int8", [False, True])
def test_int8_rows_and_their_optimizer_belong_together(train: Interactions, int8: bool) -> None:
    net = int8_net(train) if int8 else make_net(train, hops=0)
    options = options_of(optimizer="adam" if int8 else "int8_adagrad")
    with pytest.raises(ValueError, match="expected optimizer 'int8_adagrad' for Int8Factors and for nothing else"):
        fit(net, train, options)


@pytest.mark.parametrize(("genes", "stored"), [({"bits": 32}, "int8"), ({"bits": 8}, "int8"), ({"bits": 4}, "coded")])
def test_a_genotype_names_it(genes: dict[str, Any], stored: str) -> None:
    train = logs.touches()
    recipe = {**SOFTMAX, "hops": 0, "optimizer": "int8_adagrad", "dim": 16, "epochs": 5, "recent_draws": False}
    built = build(fit_recipe(embedding_space(train), recipe | genes), train, epochs=2)
    assert (type(built.model).__name__ == "FactorModel") == (stored == "int8")
    assert (built.uncompressed is None) == (stored == "int8")


def test_no_table_is_ever_in_floats() -> None:
    """No result of any operator of torch's is as large as one of the two tables."""
    rng = np.random.default_rng(0)
    log = Interactions(rng.integers(0, 100_000, 4000).astype(np.int32), rng.integers(0, 100_000, 4000).astype(np.int32))
    log = Interactions(np.append(log.user, 99_999).astype(np.int32), np.append(log.item, 99_999).astype(np.int32))
    graph = bipartite(log.user, log.item, 100_000, 100_000)
    largest = [0]

    class Watched(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            for one in out if isinstance(out, tuple | list) else (out,):
                if isinstance(one, torch.Tensor) and one.is_floating_point():
                    largest[0] = max(largest[0], one.numel())
            return out

    with Watched():  # type: ignore[no-untyped-call]
        net = Int8Factors(graph, 64, torch.Generator().manual_seed(0))
        fit(net, log, options_of(loss="softmax", epochs=1, batch=1024, similarity="cosine"))
    assert largest[0] <= 65_536 * 64 < 100_000 * 64
