from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
import torch

from gnas_ext.data.interactions import Interactions, Step
from gnas_ext.evaluate.compare import ModelResult
from gnas_ext.evaluate.seen import SeenItems
from gnas_ext.models import (
    CodedModel,
    FactorModel,
    GroupedTable,
    PackedTable,
    ProductTable,
    Table,
    fit_ease,
    fit_graph_filter,
    fit_item_knn,
    fit_popularity,
)
from gnas_ext.models.coded import pack_groups
from gnas_ext.models.response import plateau
from gnas_ext.ops.quantize_rows import quantize_rows
from gnas_ext.recommend import Provenance, load, save_artefact

if TYPE_CHECKING:
    from pathlib import Path

    from gnas_ext.models import Model
    from gnas_ext.recommend import Recommender

USERS, ITEMS, WIDTH = 12, 30, 5
# What an artefact can hold: two tables of either type, or a classic.
KINDS = ("int8", "float32", "coded", "popularity", "item_knn", "graph_filter", "item_weights")


@dataclass
class Sample:
    """A small model with everything that an artefact needs; tests change what they are about."""

    model: Model
    train: Interactions
    arguments: dict[str, Any]

    def save(self, folder: Path, **changes: Any) -> Path:
        return save_artefact(folder, **(self.arguments | changes))

    def reload(self, folder: Path, **changes: Any) -> Recommender:
        return load(self.save(folder, **changes))


def make_factors(dtype: str, prior: bool = True) -> FactorModel:
    generator = torch.Generator().manual_seed(1)

    def table(rows: int) -> Table:
        if dtype == "float32":
            return Table(torch.randn(rows, WIDTH, generator=generator))
        codes = torch.randint(-127, 128, (rows, WIDTH), generator=generator, dtype=torch.int8)
        return Table(codes, torch.rand(rows, generator=generator) / 100)

    return FactorModel(table(USERS), table(ITEMS), torch.rand(ITEMS, generator=generator) if prior else None)


def make_coded() -> CodedModel:
    """Every table of codes: users a byte a part, items in two groups, the prior in few bits."""
    generator = torch.Generator().manual_seed(1)
    codes = torch.randint(256, (USERS, 2), generator=generator, dtype=torch.uint8)
    user = ProductTable(codes, torch.randn(256, WIDTH, generator=generator).half(), (2, WIDTH - 2), 1.5)
    x = torch.randn(ITEMS, WIDTH, generator=generator)
    group = torch.arange(ITEMS) % 2
    tables = PackedTable(quantize_rows(x[group == 0], 4)), PackedTable(quantize_rows(x[:1], 2, symmetric=False))
    prior = PackedTable(quantize_rows(x[:, :1].contiguous(), 8))
    return CodedModel(user, GroupedTable(pack_groups(group), tables, ITEMS), prior)


def make_model(kind: str, train: Interactions) -> Model:
    if kind == "coded":
        return make_coded()
    if kind == "popularity":
        return fit_popularity(train, USERS, ITEMS)
    if kind == "item_knn":
        return fit_item_knn(train, USERS, ITEMS, neighbours=4)
    if kind == "item_weights":
        return fit_ease(train, USERS, ITEMS, l2=2.0)
    if kind == "graph_filter":
        point: dict[str, Any] = {"exponent": 0.4, "rank": 3, "low_weight": 0.2, "low_exponent": 0.4}
        return fit_graph_filter(train, USERS, ITEMS, response=partial(plateau, 4, 1.5), **point)
    return make_factors(kind)


@pytest.fixture(params=["int8", "float32"])
def dtype(request: pytest.FixtureRequest) -> str:
    """How the rows of two tables are stored."""
    chosen: str = request.param
    return chosen


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """What an artefact holds."""
    chosen: str = request.param
    return chosen


@pytest.fixture
def sample() -> Sample:
    return make_sample("int8")


def make_sample(kind: str, model: Model | None = None) -> Sample:
    """A small log and a model of a kind, or another model instead."""
    rng = np.random.default_rng(2)
    train = Interactions(
        rng.integers(0, USERS, 60).astype(np.int32), rng.integers(0, ITEMS, 60).astype(np.int32), np.arange(60)
    )
    model = model or make_model(kind, train)
    found = ModelResult("found model", {"recall@20": 0.2, "ndcg@20": 0.13}, model.size_bytes(), 0.25)
    item_ids = pl.Series([f"{7 * code:05d}" for code in range(ITEMS)])
    return Sample(
        model,
        train,
        {
            "model": model,
            "user_ids": pl.Series([f"0{code}" for code in range(USERS)]),
            "item_ids": item_ids,
            "seen": SeenItems.from_interactions(train, USERS),
            "genotype": {"dim": WIDTH, "hops": 3, "combine": "mean", "lr": 0.0123, "prior": True, "limits": [1, None]},
            "metrics": {"recall@20": 0.2, "ndcg@20": 0.13},
            "spread": {"recall@20": 0.02, "ndcg@20": 0.013},
            "provenance": Provenance(
                data="ratings.dat",
                steps=(Step("rating >= 6", 100, 60, "low | ratings"),),
                split_method="temporal",
                fingerprint="sha256:00",
                guesses=("user: column 1",),
                versions={"torch": "2.13.0"},
                command="gnas-ext search ratings.dat",
            ),
            "comparison": [found, ModelResult("popularity", {"recall@20": 0.1, "ndcg@20": 0.09}, 120, 0.01)],
            "titles": pl.DataFrame(
                {"item": item_ids.gather([3, 1]), "title": ["Film <3>", "Film | 1"], "genres": ["Drama|War", None]}
            ),
        },
    )


@pytest.fixture
def folder(tmp_path: Path, sample: Sample) -> Path:
    """A sample that is saved."""
    return sample.save(tmp_path / "a")
