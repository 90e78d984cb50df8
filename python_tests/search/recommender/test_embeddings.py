from __future__ import annotations

import random
from typing import Any

import pytest

from gnas_ext.errors import InputError
from gnas_ext.search.recommender import build, embedding_recipes, embedding_space
from gnas_ext.search.recommender import embeddings as module
from gnas_ext.search.recommender.sequence import is_sequence
from gnas_ext.search.recommender.taught import UNTAUGHT
from gnas_ext.search.recommender.trained import train_genotype
from python_tests.logs import touches
from python_tests.search.recommender.conftest import same

TRAIN = touches()
SPACE = embedding_space(TRAIN)
# Small, and few passes, so that all values can be tried.
SMALL: dict[str, Any] = {
    **module.SOFTMAX,
    "dim": 8,
    "hops": 2,
    "negatives": 64,
    "batch": 512,
    "epochs": 5,
    "edge_decay": False,
    "recent_draws": False,
}
# Genes that live only where others have some value.
LIVE: dict[str, dict[str, Any]] = {
    "restart": {"combine": "pagerank", "restart": 0.2},
    "edge_scores": {"edges_kept": 0.5, "edge_scores": "magnitude"},
    "item_share": {"item_neighbours": 10, "item_share": 0.3},
    "margin": {"loss": "cosine_contrastive", "margin": 0.2, "negative_weight": 10.0},
    "negative_weight": {"loss": "cosine_contrastive", "margin": 0.0, "negative_weight": 10.0},
    "uniformity": {"loss": "alignment_uniformity", "uniformity": 1.0},
    "contrast_weight": {
        "contrast": "views",
        "contrast_weight": 0.1,
        "contrast_noise": 0.1,
        "contrast_temperature": 0.2,
    },
    "contrast_noise": {
        "contrast": "layers",
        "contrast_weight": 0.1,
        "contrast_noise": 0.1,
        "contrast_temperature": 0.2,
    },
    "contrast_temperature": {
        "contrast": "views",
        "contrast_weight": 0.1,
        "contrast_noise": 0.1,
        "contrast_temperature": 0.2,
    },
    "optimizer": {"hops": 0, "optimizer": "adam", "weight_decay": 0.01},
    "similarity": {"loss": "bpr", "negatives_from": "uniform"},
    # 30 items drawn of 30 stand for themselves.
    "corrected": {"negatives_from": "popularity"},
    "prior_half_life_days": {"prior": True},
    "edge_half_life_days": {"edge_decay": True},
    "draw_half_life_days": {"recent_draws": True},
    "teacher_weight": {"teacher": "gf_cf"},
    "transform_bits": {"transform": "relu", "transform_bits": 32},
    "recipe_steps": {"recipe_order": "free", "recipe_steps": 1},
    "step_1": {"recipe_order": "free", "recipe_steps": 1, "step_1": "solve"},
    "step_2": {"recipe_order": "free", "recipe_steps": 2, "step_2": "fold 1/4"},
    "step_3": {"recipe_order": "free", "recipe_steps": 3, "step_2": "fold 1/4", "step_3": "columns 1/2"},
    "step_4": {
        "recipe_order": "free",
        "recipe_steps": 4,
        "step_2": "fold 1/4",
        "step_3": "columns 1/2",
        "step_4": "bits 8",
    },
    "columns_taught": {"columns_kept": 0.5},
    "columns_by": {"columns_kept": 0.5, "columns_taught": True, "columns_by": "cut"},
    "rare_rows": {"bits": 8, "rare_rows": "alike"},
    "columns_a_byte": {"codes": "nearest"},
    "rare_share": {"codes": "refit"},
    "bits_taught": {"bits": 4},
    "bits_calibrated": {"bits": 2, "bits_taught": False},
}
FILLING: dict[str, Any] = {name: value for genes in LIVE.values() for name, value in genes.items()} | {
    "edges_kept": 1.0,
    "prior": False,
    "transform": "none",
    "recipe_order": "fixed",
    "recipe_steps": 4,
    "step_1": "solve",
    "step_2": "fold 1/4",
    "step_3": "columns 1/2",
    "step_4": "bits 8",
    "similarity": "cosine",
    "temperature": 0.15,
    "negatives": 64,
    "corrected": False,
    "teacher": "none",
    "teacher_weight": 0.5,
    "columns_kept": 1.0,
    "columns_taught": False,
    "columns_by": "cut",
    "bits": 32,
    "rare_rows": "alike",
    "codes": "none",
    "columns_a_byte": 2,
    "rare_share": 0.0,
    "bits_taught": False,
    "bits_calibrated": False,
    "prior_half_life_days": SPACE.genes["prior_half_life_days"].values[3],
    "edge_half_life_days": SPACE.genes["edge_half_life_days"].values[3],
    "draw_half_life_days": SPACE.genes["draw_half_life_days"].values[3],
}


def whole(**genes: Any) -> dict[str, Any]:
    """The small genotype with other genes; those that live by them take a value."""
    return SPACE.genotype(FILLING | SMALL | genes).as_dict()


def test_recipes_are_of_the_space_with_times_and_without() -> None:
    for times in (True, False):
        space = embedding_space(touches(times=times))
        for recipe in embedding_recipes(space):
            assert space.genotype(recipe).as_dict() == recipe


@pytest.mark.parametrize("gene", [name for name in SPACE.names if name not in ("family", "epochs")])
def test_every_value_of_every_gene_makes_another_model(gene: str) -> None:
    base = whole(**LIVE.get(gene, {}))
    # A rate that falls has fallen by the second step.
    model = build(base, TRAIN, epochs=2).model
    kinds = 0
    for value in SPACE.genes[gene].values:
        if value == base[gene] or not is_sequence(base | {gene: value}):
            continue
        kinds += 1
        changed = build(whole(**LIVE.get(gene, {}) | {gene: value}), TRAIN, epochs=2).model
        # A step of the log takes it whole: larger ones are the same; a catalogue of 30 has no more to draw.
        if gene not in ("batch", "negatives"):
            assert not same(changed, model), f"{gene}={value} changes nothing"
    assert kinds


def test_a_genotype_from_before_pruning_and_teachers_is_what_it_was() -> None:
    whole_one = whole(transform="linear")
    later = (*module.UNTOUCHED, *UNTAUGHT)
    assert set(later) < set(whole_one)
    old = {name: value for name, value in whole_one.items() if name not in later}
    assert same(build(old, TRAIN, epochs=1).model, build(whole_one, TRAIN, epochs=1).model)


def test_every_genotype_can_be_built() -> None:
    rng = random.Random(0)
    # Wide tables take seconds to code, whatever the log.
    drawn = (SPACE.sample(rng) for _ in range(60))
    narrow = [genotype for genotype in drawn if int(str(genotype["dim"])) <= 16]
    assert len(narrow) > 15
    for genotype in narrow:
        built = build(genotype, TRAIN, epochs=1)
        assert (built.model.n_users, built.model.n_items) == (40, 30)
        assert len(built.curve) == 1


def test_passes_end_where_the_genotype_or_the_caller_says() -> None:
    assert len(build(whole(epochs=5), TRAIN).curve) == 5
    assert len(build(whole(epochs=5), TRAIN, epochs=3).curve) == 3


def test_a_batch_is_the_genotypes() -> None:
    assert same(train_genotype(whole(batch=512), TRAIN).model, train_genotype(whole(batch=16_384), TRAIN).model)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"loss": "hinge"}, "gene 'loss': expected one of"),
        ({"hopes": 3}, "gene 'hopes' is unknown"),
        ({"temperature": 0.123}, "gene 'temperature': expected one of"),
        ({"hops": 9}, "gene 'hops'"),
    ],
)
def test_what_is_unknown_is_refused_by_its_gene(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build({**whole(), **changed}, TRAIN)


def test_what_is_missing_is_refused_by_its_gene() -> None:
    genotype = whole()
    del genotype["temperature"]
    with pytest.raises(InputError, match="gene 'temperature' is missing"):
        build(genotype, TRAIN)


def test_a_search_begins_with_recipes_that_can_be_trained() -> None:
    log = touches(times=False)
    for recipe in embedding_recipes(embedding_space(log)):
        size = (40 + 30) * 4 * 4 + (30 * 4 if recipe["prior"] else 0)
        assert build({**recipe, "dim": 4}, log, epochs=1).model.size_bytes() == size


def test_half_lives_of_one_log_are_good_for_a_longer_one() -> None:
    log = touches()
    order = log.timestamp.argsort() if log.timestamp is not None else None
    assert order is not None
    genotype = embedding_recipes(embedding_space(log.select(order[: len(order) // 2])))[-1]
    assert "prior_half_life_days" in genotype
    build(genotype, log, epochs=1)
    with pytest.raises(InputError, match="gene 'prior_half_life_days': expected days above 0, got -1"):
        build(genotype | {"prior_half_life_days": -1}, log, epochs=1)
