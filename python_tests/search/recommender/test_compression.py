from __future__ import annotations

import random
from itertools import product
from typing import Any

import pytest
import torch

from gnas_ext.compress import DistilOptions, Recipe, teach
from gnas_ext.compress.steps import Bits, Codes, Columns, Distil, Fold, Groups, Mask
from gnas_ext.data import n_items, n_users
from gnas_ext.errors import InputError
from gnas_ext.models import CodedModel, FactorModel, GroupedTable, ProductTable, Table
from gnas_ext.search import SearchSpace
from gnas_ext.search.recommender import build, build_classic, classic_space, compress, recipe_of
from gnas_ext.search.recommender import compression as module
from gnas_ext.search.recommender.sequence import is_sequence, sequence_genes
from python_tests.logs import touches
from python_tests.search.recommender.conftest import same

TRAIN = touches()
SPACE = SearchSpace(module.further_genes(), is_sequence)


def factors(width: int = 16) -> FactorModel:
    generator = torch.Generator().manual_seed(0)
    user, item = (Table(torch.randn(rows, width, generator=generator)) for rows in (n_users(TRAIN), n_items(TRAIN)))
    return FactorModel(user, item, torch.rand(len(item), generator=generator))


@pytest.mark.parametrize(
    ("genes", "steps"),
    [
        ({"bits": 32}, ()),
        ({"bits": 8}, (Bits(8),)),
        ({"bits": 2, "bits_taught": True}, (Bits(2, epochs=4),)),
        ({"bits": 2, "bits_taught": False, "bits_calibrated": True}, (Bits(2, calibrated=True),)),
        ({"columns_kept": 0.75, "columns_taught": False, "bits": 32}, (Columns(12),)),
        ({"columns_kept": 0.5, "columns_taught": True, "bits": 4}, (Columns(8), Distil(4), Bits(4))),
        ({"codes": "nearest", "columns_a_byte": 3}, (Codes(6, 6),)),
        (
            {"columns_kept": 0.5, "columns_taught": True, "columns_by": "schedule", "bits": 32},
            (Mask(8, 4, "magnitude"),),
        ),
        (
            {"columns_kept": 0.5, "columns_taught": True, "columns_by": "learned", "bits": 8, "rare_rows": "alike"},
            (Mask(8, 4, "learned"), Bits(8)),
        ),
        ({"bits": 8, "rare_rows": "fewer_bits"}, (Groups(0.5, 8, 4),)),
        ({"bits": 8, "rare_rows": "folded"}, (Fold(0.25), Bits(8))),
        ({"recipe_order": "free", "recipe_steps": 1, "step_1": "groups 8 4", "bits": 4}, (Groups(0.5, 8, 4),)),
        (
            {"recipe_order": "free", "recipe_steps": 2, "step_1": "fold 1/4", "step_2": "codes 1/4"},
            (Fold(0.25), Codes(4, 4)),
        ),
        (
            {
                "recipe_order": "free",
                "recipe_steps": 4,
                "step_1": "refit 1/2",
                "step_2": "mask 1/2",
                "step_3": "distil",
                "step_4": "columns 3/4",
            },
            (Codes(8, 8, solves=1), Mask(8, 4), Distil(4), Columns(6)),
        ),
        (
            {"columns_kept": 0.5, "columns_taught": True, "codes": "refit", "columns_a_byte": 2, "rare_share": 0.5},
            (Columns(8), Distil(4), Codes(4, 4, solves=1, rare_share=0.5, rare_bytes=2)),
        ),
    ],
)
def test_genes_name_a_recipe(genes: dict[str, Any], steps: tuple[Any, ...]) -> None:
    assert recipe_of(genes, 16) == Recipe(steps)


@pytest.mark.parametrize("width", [1, 4, 5, 64, 300])
def test_every_recipe_suits_every_width(width: int) -> None:
    """Bytes a row are what product codes can be: from a sixteenth of the columns to all of them."""
    for tokens in SPACE.sequences():
        if not SPACE.allows(tokens):
            continue
        columns = width
        for step in recipe_of(SPACE.decode(tokens).as_dict(), width).steps:
            if isinstance(step, Columns | Mask):
                columns = step.keep
            if isinstance(step, Codes):
                assert all(columns / 16 <= size <= columns for size in (step.user_bytes, step.item_bytes))
                assert not step.rare_share or columns / 16 <= step.rare_bytes <= columns
        assert 1 <= columns <= width


def test_every_genotype_is_compressed_and_again_the_same() -> None:
    model = factors()
    rng = random.Random(0)
    for _ in range(20):
        genes: dict[str, Any] = SPACE.sample(rng).as_dict()
        found = compress(genes, model, TRAIN, seed=2)
        assert (found.n_users, found.n_items) == (40, 30)
        if genes["recipe_order"] == "fixed":
            assert found.user.width == (16 if genes["columns_kept"] == 1 else 16 * genes["columns_kept"])
        assert same(found, compress(genes, model, TRAIN, seed=2))


def test_all_sequences_of_two_steps_can_be_built() -> None:
    model, count = factors(8), 0
    lists = teach(model, TRAIN, 10, 10, 0)
    for first, second in product(sequence_genes({})["step_1"].values, repeat=2):
        genes = {"recipe_order": "free", "recipe_steps": 2, "step_1": first, "step_2": second}
        if is_sequence(genes):
            options = DistilOptions(best=10, drawn=10)
            found = recipe_of(genes, 8).apply(model, TRAIN, options=options, lists=lists)
            assert (found.n_users, found.n_items) == (40, 30)
            count += 1
    assert count > 100


def test_it_is_the_recipe_of_the_genes() -> None:
    genes = {"columns_kept": 0.5, "columns_taught": True, "codes": "refit", "columns_a_byte": 2, "rare_share": 0.5}
    model = factors()
    wanted = recipe_of(genes, 16).apply(model, TRAIN, options=DistilOptions(seed=5))
    got = compress(genes, model, TRAIN, seed=5)
    assert isinstance(got, CodedModel)
    assert isinstance(got.item, GroupedTable)
    assert same(got, wanted)


def test_a_genotype_from_before_these_genes_means_what_it_meant() -> None:
    genotype: dict[str, Any] = {"family": "matrix_factorization", "dim": 8, "unseen_weight": 0.1}
    genotype |= {"regularization": 1.0, "bits": 8}
    later = {"recipe_order": "fixed", "columns_kept": 1.0, "codes": "none", "rare_rows": "alike"}
    wanted = classic_space(TRAIN).genotype(genotype | later)
    assert same(build_classic(genotype, TRAIN), build_classic(wanted, TRAIN))


@pytest.mark.parametrize(("genes", "there"), [({"bits": 32}, False), ({"bits": 4}, True)])
def test_what_is_compressed_is_kept_beside_what_it_was(genes: dict[str, Any], there: bool) -> None:
    genotype = {"family": "matrix_factorization", "dim": 8, "unseen_weight": 0.1, "regularization": 1.0}
    built = build(genotype | genes, TRAIN)
    assert (built.uncompressed is not None) == there
    if built.uncompressed is not None:
        assert same(built.uncompressed, build_classic(genotype | {"bits": 32}, TRAIN))


def test_a_large_log_has_some_users_taught_and_the_others_nearest_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    genes = {"codes": "refit", "columns_a_byte": 4, "rare_share": 0.0}
    model = factors()
    monkeypatch.setattr(module, "_MOST_SCORES", 10 * 30)
    taught: list[int] = []

    def noted(*given: Any) -> Any:
        lists = teach(*given)
        taught.append(len(lists))
        return lists

    monkeypatch.setattr(module, "teach", noted)
    found = compress(genes, model, TRAIN)
    assert taught == [10]
    assert isinstance(found, CodedModel)
    assert isinstance(found.user, ProductTable)
    assert found.user.float().isfinite().all()


@pytest.mark.parametrize("codes", ["none", "nearest", "refit"])
def test_a_model_that_diverged_is_refused(codes: str) -> None:
    model = factors()
    model.item.rows[3, 2] = torch.nan
    with pytest.raises(InputError, match="row 3 holds NaN or Inf and cannot be stored; did training diverge"):
        compress({"codes": codes, "columns_a_byte": 2, "rare_share": 0.0, "bits": 32}, model, TRAIN)
