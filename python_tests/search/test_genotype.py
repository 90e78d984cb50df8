from __future__ import annotations

import json
import pickle

import pytest

from gnas_ext.search import Categorical, Genotype, Integer, LogFloat, SearchSpace

SPACE = SearchSpace({"hops": Integer(1, 4), "agg": Categorical(["sum", None]), "lr": LogFloat(1e-4, 1e-1)})
GENOTYPE = SPACE.genotype({"lr": 0.1, "hops": 3, "agg": None})


def test_it_reads_as_a_mapping_in_the_order_of_the_space() -> None:
    assert list(GENOTYPE.items()) == [("hops", 3), ("agg", None), ("lr", 0.1)]


def test_it_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        GENOTYPE["hops"] = 4  # type: ignore[index]
    GENOTYPE.as_dict()["hops"] = 4
    assert GENOTYPE["hops"] == 3


def test_a_gene_that_it_lacks_is_named_and_has_a_default() -> None:
    with pytest.raises(KeyError, match="gene 'days' is dead or unknown in hops=3 agg=None"):
        GENOTYPE["days"]
    assert GENOTYPE.get("days", 7) == 7
    assert "days" not in GENOTYPE


def test_equal_genotypes_are_one_key() -> None:
    assert {GENOTYPE, Genotype({"agg": None, "lr": 0.1, "hops": 3})} == {GENOTYPE}


def test_its_string_is_short() -> None:
    assert str(GENOTYPE) == "hops=3 agg=None lr=0.1"


def test_it_survives_json_and_pickle() -> None:
    assert SPACE.genotype(json.loads(json.dumps(GENOTYPE.as_dict()))) == GENOTYPE
    assert pickle.loads(pickle.dumps(GENOTYPE)) == GENOTYPE
