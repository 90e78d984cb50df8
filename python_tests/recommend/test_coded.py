from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from gnas_ext.compress.product import small_books
from gnas_ext.errors import InputError
from gnas_ext.models import CodedModel
from gnas_ext.models.coded import in_floats
from gnas_ext.recommend import load
from gnas_ext.recommend._coded import coded_model, coded_tensors
from gnas_ext.recommend._tensors import Tensors
from python_tests.recommend.conftest import ITEMS, USERS, make_coded, make_sample

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

SEEN = make_sample("coded").arguments["seen"]
ALL = np.arange(USERS, dtype=np.int32)


def arrays() -> dict[str, Any]:
    return {name: tensor.numpy() for name, tensor in coded_tensors(make_coded(), SEEN).items()}


def test_a_loaded_model_of_codes_scores_as_before(tmp_path: Path) -> None:
    sample = make_sample("coded")
    loaded = sample.reload(tmp_path / "a").model
    assert isinstance(loaded, CodedModel)
    assert np.array_equal(loaded.score(ALL).numpy(), sample.model.score(ALL).numpy())


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("user.codes", None, "unknown tensor|missing"),
        ("user.codes", lambda x: x[:5], "user: expected 12 rows, got 5"),
        ("user.codes", lambda x: x[:, :1], r"expected codes of shape \[n, 2\]"),
        ("user.codes", lambda x: x.astype(np.int64), "expected uint8 or int8, got int64"),
        ("user.codebook", lambda x: x * np.float16(np.inf), "codebook: expected finite numbers"),
        ("user.codebook", lambda x: x[:, 1:], r"expected a codebook of shape \[256, 5\]"),
        ("user.length", lambda x: -x, "finite length of 0 or more"),
        ("user.layout", lambda x: x[None], "layout, one-dimensional, got 2"),
        ("user.layout", None, "tensor user.layout is missing"),
        ("item.group", lambda x: x[:-1], "expected group of shape"),
        ("item.group", lambda x: x * 0, "expected a table of 30 rows, or of 1 for all, for group 0, got 15"),
        ("item.0.scale", None, "tensor item.0.scale is missing"),
        ("item.0.layout", lambda x: x * 2, "expected bits of 8, 4 or 2, got 8|expected codes of shape"),
        ("item.0.layout", lambda x: x[:1], "layout of bits and width, got 1 numbers"),
        ("prior.codes", lambda x: x[:-1], "prior"),
        ("prior.rows", lambda x: np.zeros((ITEMS, 1), np.float32), "unknown tensor 'prior.rows'"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(tmp_path: Path, name: str, change: Any, message: str) -> None:
    found = arrays()
    if change is None:
        del found[name]
    else:
        found[name] = change(found.get(name))
    with pytest.raises(InputError, match=message):
        coded_model(Tensors(tmp_path / "model.safetensors", found), SEEN, ITEMS)


def test_codebooks_of_8_bits_are_stored_and_checked(tmp_path: Path) -> None:
    model = small_books(make_coded())
    found = {name: tensor.numpy() for name, tensor in coded_tensors(model, SEEN).items()}
    assert found["user.codebook"].dtype == np.int8
    path = tmp_path / "model.safetensors"
    assert torch.equal(coded_model(Tensors(path, found), SEEN, ITEMS).user.float(), model.user.float())
    with pytest.raises(InputError, match="codebook_scale: expected finite numbers"):
        coded_model(Tensors(path, found | {"user.codebook_scale": found["user.codebook_scale"] * np.nan}), SEEN, ITEMS)
    without = {name: array for name, array in found.items() if name != "user.codebook_scale"}
    with pytest.raises(InputError, match=r"user: .*int8 without a scale"):
        coded_model(Tensors(path, without), SEEN, ITEMS)


def test_codes_answer_as_the_floats_that_they_stand_for(tmp_path: Path) -> None:
    """Lists of users and of strangers, similar items, reasons: all of them, for codes and for the same in float32."""
    coded = make_sample("coded").reload(tmp_path / "coded")
    floats = make_sample("float32", in_floats(make_coded())).reload(tmp_path / "floats")
    some = ["00021", "00007"]
    answers = [
        (
            one.recommend(one.user_ids, k=ITEMS),
            one.recommend("03", items=[*some, "00070"], exclude_seen=False),
            one.recommend_for_items(some),
            one.similar("00021"),
            one.explain("03", "00021").reasons,
            one.explain_for_items(some, "00070").reasons,
        )
        for one in (coded, floats)
    ]
    for mine, wanted in zip(*answers, strict=True):
        assert mine.height
        assert mine.equals(wanted)


def test_no_row_is_decoded_before_somebody_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_sample("coded").save(tmp_path / "a")

    def decoded(model: CodedModel) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(CodedModel, "decoded", decoded)
    recommender = load(folder)
    with pytest.raises(AssertionError, match="decoded"):
        recommender.recommend("03")
