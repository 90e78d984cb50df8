from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from python_tests.recommend.conftest import ITEMS, make_sample
from python_tests.recommend.sealing import (
    change_tensor,
    put,
    refusal,
    reseal,
    reseal_with_tensors,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.mark.parametrize("tensor", ["user.scale", "item.scale", "prior"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(folder: Path, tensor: str, value: float) -> None:
    change_tensor(folder / "model.safetensors", tensor, put(3, value))
    reseal(folder)
    assert f"model.safetensors: {tensor}: expected finite numbers" in refusal(folder)


def test_float_rows_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    folder = make_sample("float32").save(tmp_path / "a")
    change_tensor(folder / "model.safetensors", "item.rows", put(7, np.nan))
    reseal(folder)
    assert "item.rows: expected finite numbers" in refusal(folder)


def test_a_code_that_int8_has_and_we_do_not_is_refused(folder: Path) -> None:
    change_tensor(folder / "model.safetensors", "item.rows", put(7, -128))
    reseal(folder)
    assert "item.rows: expected codes in -127 … 127, got -128" in refusal(folder)


@pytest.mark.parametrize(
    ("tensor", "change", "message"),
    [
        ("user.rows", lambda a: a[:-1], "the manifest says int8 [12, 5], the file has int8 [11, 5]"),
        ("user.rows", lambda a: a.astype(np.int16), "the manifest says int8 [12, 5], the file has int16 [12, 5]"),
        ("prior", lambda a: None, "prior: the manifest says float32 [30], the file has nothing"),
    ],
)
def test_a_manifest_that_lies_about_a_tensor_is_refused(
    folder: Path, tensor: str, change: Callable[[NDArray[Any]], NDArray[Any] | None], message: str
) -> None:
    change_tensor(folder / "model.safetensors", tensor, change)
    reseal(folder)
    assert message in refusal(folder)


@pytest.mark.parametrize(
    ("tensor", "change", "message"),
    [
        ("user.rows", lambda a: a[:-1], "expected scale of shape [11], got [12]"),
        ("user.rows", lambda a: a.flatten(), "expected rows of shape [n, width], got [60]"),
        ("user.rows", lambda a: a.astype(np.int16), "user.rows: expected float32 or int8, got int16"),
        ("user.rows", lambda a: a.astype(np.float32), "expected torch.int8 rows with a scale"),
        ("user.rows", lambda a: a[:, 1:].copy(), "expected user rows as wide as item rows, got 4 and 5"),
        ("user.rows", lambda a: None, "tensor user.rows is missing"),
        ("user.scale", lambda a: None, "expected torch.float32 rows without a scale"),
        ("user.scale", lambda a: a.astype(np.float64), "user.scale: expected float32, got float64"),
        ("prior", lambda a: a[1:], "expected prior of shape [30], got [29]"),
        ("prior", lambda a: None, "says 498 bytes"),
    ],
)
def test_tensors_that_do_not_fit_together_are_refused(
    folder: Path, tensor: str, change: Callable[[NDArray[Any]], NDArray[Any] | None], message: str
) -> None:
    change_tensor(folder / "model.safetensors", tensor, change)
    reseal_with_tensors(folder)
    assert message in refusal(folder)


@pytest.mark.parametrize(
    ("kind", "tensor", "change", "message"),
    [
        ("graph_filter", "filter.numbers", put(5, 0.0), "filter.numbers: expected a largest eigenvalue above 0"),
        ("graph_filter", "filter.numbers", lambda a: a[1:], "expected filter.numbers of shape [6], got [5]"),
        ("graph_filter", "filter.series", lambda a: a[:0], "expected filter.series of shape [degree + 1], 1024 at"),
        ("graph_filter", "filter.series", lambda a: np.repeat(a, 1000), "1024 at most, got ["),
        ("graph_filter", "filter.series", put(1, np.nan), "filter.series: expected finite numbers"),
        ("graph_filter", "filter.vectors", lambda a: a[1:], "expected filter.vectors of shape [30, rank], got [29, 3]"),
        ("graph_filter", "filter.gain", lambda a: a[1:], "expected filter.gain of shape [3], got [2]"),
        ("item_weights", "item.weight", lambda a: a[1:], "expected item.weight of shape [30, 30], got [29, 30]"),
        ("popularity", "weight", put(3, np.nan), "weight: expected finite numbers"),
        ("popularity", "weight", put(3, -np.inf), "weight: expected finite numbers"),
        ("popularity", "weight", lambda a: a[1:], "expected weight of shape [30], got [29]"),
        ("popularity", "weight", lambda a: a[:, None], "expected weight of shape [30], got [30, 1]"),
        ("popularity", "weight", lambda a: a.astype(np.float64), "weight: expected float32, got float64"),
        ("popularity", "weight", lambda a: None, "tensor weight is missing"),
        ("item_knn", "similar.weight", put(3, np.nan), "similar.weight: expected finite numbers"),
        ("item_knn", "similar.weight", put(3, np.inf), "similar.weight: expected finite numbers"),
        ("item_knn", "similar.weight", lambda a: a[1:], "expected similar.weight of shape ["),
        ("item_knn", "similar.weight", lambda a: a.astype(np.float16), "similar.weight: expected float32, got float16"),
        ("item_knn", "similar.items", put(0, ITEMS), "expected similar.items in 0 … 29, got "),
        ("item_knn", "similar.items", put(5, -1), "expected similar.items in 0 … 29, got -1"),
        ("item_knn", "similar.items", lambda a: a[::-1].copy(), "expected similar.items of each row in rising order"),
        ("item_knn", "similar.items", lambda a: np.repeat(a[:1], len(a)), "of each row in rising order"),
        ("item_knn", "similar.items", lambda a: a[1:], "expected similar.indptr to rise from 0 to"),
        ("item_knn", "similar.items", lambda a: a[None], "one-dimensional, got 1 and 2"),
        ("item_knn", "similar.items", lambda a: a.astype(np.float32), "similar.items: expected int32 or int64"),
        ("item_knn", "similar.items", lambda a: None, "tensor similar.items is missing"),
        ("item_knn", "similar.indptr", put(0, 1), "expected similar.indptr to rise from 0"),
        ("item_knn", "similar.indptr", put(9, 0), "expected similar.indptr to rise from 0"),
        ("item_knn", "similar.indptr", put(-1, 1 << 30), "expected similar.indptr to rise from 0"),
        ("item_knn", "similar.indptr", lambda a: a[1:], "expected similar.indptr of length 31 (rows + 1), got 30"),
        ("item_knn", "similar.indptr", lambda a: a.astype(np.uint8), "similar.indptr: expected int32 or int64"),
    ],
)
def test_tensors_of_classics_that_cannot_be_are_refused(
    tmp_path: Path,
    kind: str,
    tensor: str,
    change: Callable[[NDArray[Any]], NDArray[Any] | None],
    message: str,
) -> None:
    folder = make_sample(kind).save(tmp_path / "a")
    change_tensor(folder / "model.safetensors", tensor, change)
    reseal_with_tensors(folder)
    refused = refusal(folder)
    assert "model.safetensors: " in refused
    assert message in refused


@pytest.mark.parametrize(("kind", "claimed"), [("popularity", "factors"), ("item_knn", "popularity")])
def test_a_model_of_another_kind_than_the_manifest_says_is_refused(tmp_path: Path, kind: str, claimed: str) -> None:
    folder = make_sample(kind).save(tmp_path / "a")
    reseal(folder, lambda manifest: manifest.update(kind=claimed))
    assert "unknown tensor" in refusal(folder)


def test_an_unknown_tensor_is_refused(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {"extra": np.zeros(1, np.float32)}, folder / "model.safetensors")
    reseal(folder)
    assert "unknown tensor 'extra'" in refusal(folder)
