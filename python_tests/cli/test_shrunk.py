from __future__ import annotations

from typing import Any

import pytest

from gnas_ext.cli.shrunk import row_lines, shrunk
from gnas_ext.compress import recall_by_popularity
from gnas_ext.evaluate.compare import measure
from gnas_ext.models import CodedModel
from gnas_ext.search.recommender import build
from python_tests import logs

SPLIT = logs.split()
FACTORS: dict[str, Any] = {"family": "matrix_factorization", "dim": 8, "unseen_weight": 0.1, "regularization": 1.0}


def test_both_are_measured_on_test() -> None:
    built = build(FACTORS | {"columns_kept": 0.5, "columns_taught": False, "bits": 4}, SPLIT.train_and_valid)
    result = measure("found", built.model, SPLIT.train_and_valid, SPLIT.test)
    found = shrunk(built, result, SPLIT)
    assert found is not None
    assert built.uncompressed is not None
    before = measure("before", built.uncompressed, SPLIT.train_and_valid, SPLIT.test)
    assert found.metrics_after == {name: result.metrics[name] for name in ("recall@20", "ndcg@20")}
    assert found.metrics_before == {name: before.metrics[name] for name in ("recall@20", "ndcg@20")}
    assert (found.bytes_before, found.bytes_after) == (before.size_bytes, result.size_bytes)
    assert found.pruned == {"user": (0.5,), "item": (0.5,)}
    after = recall_by_popularity(built.model, SPLIT.train_and_valid, SPLIT.test)
    assert list(found.deciles_after) == pytest.approx(after, nan_ok=True)
    assert found.latency_after == result.latency_ms
    assert any("ms a user" in line for line in found.cost_lines())


@pytest.mark.parametrize("genes", [{"bits": 32}, {"family": "popularity"}])
def test_a_model_that_is_not_compressed_has_no_report(genes: dict[str, Any]) -> None:
    built = build(FACTORS | genes, SPLIT.train_and_valid)
    assert shrunk(built, measure("m", built.model, SPLIT.train_and_valid, SPLIT.test), SPLIT) is None


def test_an_artefact_says_how_many_bits_a_number_takes() -> None:
    lines = {bits: row_lines(build(FACTORS | {"bits": bits}, SPLIT.train).model) for bits in (32, 8, 4)}
    assert lines[32] == []
    # A scale a row: 32 bits over 8 numbers.
    assert lines[8] == ["user: 12.00 bits a number", "item: 12.00 bits a number"]
    assert lines[4] == ["user: 8.00 bits a number", "item: 8.00 bits a number"]


def test_codes_are_counted_without_what_rows_share() -> None:
    model = build(FACTORS | {"codes": "nearest", "columns_a_byte": 4}, SPLIT.train).model
    assert isinstance(model, CodedModel)
    assert row_lines(model) == ["user: 2.00 bits a number", "item: 2.00 bits a number"]


def test_codebooks_may_outweigh_a_very_small_log() -> None:
    built = build(FACTORS | {"codes": "nearest", "columns_a_byte": 2}, SPLIT.train_and_valid)
    found = shrunk(built, measure("m", built.model, SPLIT.train_and_valid, SPLIT.test), SPLIT)
    assert found is not None
    assert found.told == f"{found.bytes_after / found.bytes_before:.1f} times larger"
