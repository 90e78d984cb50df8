from __future__ import annotations

import errno
import sys
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal

from gnas_ext.errors import InputError
from gnas_ext.evaluate.rank import top_k, top_k_scores
from gnas_ext.models import FactorModel, ItemWeights, Popularity
from gnas_ext.recommend.export import export
from python_tests.recommend.conftest import ITEMS, USERS, Sample, make_coded, make_factors, make_sample

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from gnas_ext.recommend import Recommender

LISTS = "gnas_ext.recommend.export.lists"
EVERYBODY = np.arange(USERS, dtype=np.int32)


@pytest.fixture
def recommender(tmp_path: Path, sample: Sample) -> Recommender:
    return sample.reload(tmp_path / "a")


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def taken(recommender: Recommender) -> NDArray[Any]:
    """What a scorer takes for all users but the last, by hand."""
    if not isinstance(recommender.model, ItemWeights):
        return np.arange(USERS - 1)
    histories = np.zeros((USERS - 1, ITEMS), np.float32)
    for user, row in enumerate(histories):
        row[recommender.seen.of(user)] = 1
    return histories


# Lists.


@pytest.mark.parametrize(("k", "exclude_seen"), [(1, True), (7, True), (7, False), (99, True)])
def test_lists_are_those_of_recommend(tmp_path: Path, kind: str, k: int, exclude_seen: bool) -> None:
    recommender = make_sample(kind).reload(tmp_path / "a")
    file = export(recommender, "parquet", tmp_path / "lists.parquet", k=k, exclude_seen=exclude_seen)
    wanted = recommender.recommend(recommender.user_ids, k=k, exclude_seen=exclude_seen)
    assert_frame_equal(pl.read_parquet(file), wanted, abs_tol=1e-6)


def test_lists_are_written_some_users_at_a_time(
    tmp_path: Path, recommender: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[int]] = []

    def noted(model: Any, users: NDArray[np.int32], *more: Any) -> Any:
        asked.append(users.tolist())
        return top_k_scores(model, users, *more)

    monkeypatch.setattr(f"{LISTS}.top_k_scores", noted)
    monkeypatch.setattr(f"{LISTS}._ENTRIES_AT_ONCE", 20)
    file = export(recommender, "parquet", tmp_path / "lists.parquet", k=4)
    assert asked == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11]]
    assert pl.read_parquet(file)["user"].unique(maintain_order=True).to_list() == recommender.user_ids.to_list()


def test_a_user_who_has_seen_everything_has_no_row(tmp_path: Path, sample: Sample) -> None:
    recommender = sample.reload(tmp_path / "a")
    seen = recommender.seen
    everything = replace(
        seen,
        indptr=np.concatenate([[0], seen.indptr[1:] - seen.indptr[1] + ITEMS]),
        items=np.concatenate([np.arange(ITEMS, dtype=np.int32), seen.items[seen.indptr[1] :]]),
    )
    recommender.seen = everything
    lists = pl.read_parquet(export(recommender, "parquet", tmp_path / "lists.parquet"))
    assert lists["user"].unique(maintain_order=True).to_list() == recommender.user_ids.to_list()[1:]


def test_lists_that_are_not_the_best_are_not_kept(
    tmp_path: Path, recommender: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{LISTS}.top_k_scores", lambda model, users, k, seen: top_k_scores(model, users, k, None))
    assert "not kept" in refusal(lambda: export(recommender, "parquet", tmp_path / "lists.parquet"))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_numbers_that_end_in_nan_are_one_line(tmp_path: Path, recommender: Recommender) -> None:
    assert isinstance(recommender.model, FactorModel)
    recommender.model = replace(recommender.model, prior=torch.full((ITEMS,), torch.nan))
    assert "with NaN" in refusal(lambda: export(recommender, "parquet", tmp_path / "lists.parquet"))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_an_interrupt_stays_one_and_leaves_nothing(
    tmp_path: Path, recommender: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"{LISTS}.top_k_scores", stop)
    with pytest.raises(KeyboardInterrupt):
        export(recommender, "parquet", tmp_path / "lists.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


# Vectors.


@pytest.mark.parametrize("prior", [True, False])
@pytest.mark.parametrize("dtype", ["int8", "float32", "coded"])
def test_inner_products_of_the_vectors_are_the_scores(tmp_path: Path, dtype: str, prior: bool) -> None:
    coded = make_coded() if prior else replace(make_coded(), prior=None)
    model = coded if dtype == "coded" else make_factors(dtype, prior)
    recommender = make_sample(dtype, model).reload(tmp_path / "a")
    folder = export(recommender, "faiss", tmp_path / "vectors")
    user, item = np.load(folder / "user.npy"), np.load(folder / "item.npy")
    assert user.dtype == item.dtype == np.float32
    assert user.flags.c_contiguous
    assert user.shape[1] == item.shape[1] == 5 + prior
    wanted = recommender.model.score(EVERYBODY).numpy()
    np.testing.assert_allclose(user.astype(np.float64) @ item.T.astype(np.float64), wanted, rtol=1e-5, atol=1e-4)


def test_each_vector_has_its_id(tmp_path: Path, recommender: Recommender) -> None:
    folder = export(recommender, "faiss", tmp_path / "vectors")
    assert pl.read_parquet(folder / "users.parquet")["user"].equals(recommender.user_ids)
    assert pl.read_parquet(folder / "items.parquet").equals(recommender.titles)


def test_vectors_are_written_some_rows_at_a_time(
    tmp_path: Path, recommender: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = export(recommender, "faiss", tmp_path / "whole")
    monkeypatch.setattr("gnas_ext.recommend.export.vectors._AT_ONCE", 7)
    pieces = export(recommender, "faiss", tmp_path / "pieces")
    for name in ("user.npy", "item.npy"):
        assert (whole / name).read_bytes() == (pieces / name).read_bytes()


@pytest.mark.peers
def test_faiss_finds_our_lists(tmp_path: Path, dtype: str) -> None:
    import faiss

    recommender = make_sample(dtype).reload(tmp_path / "a")
    folder = export(recommender, "faiss", tmp_path / "vectors")
    user, item = np.load(folder / "user.npy"), np.load(folder / "item.npy")
    index = faiss.IndexFlatIP(item.shape[1])
    index.add(item)
    assert index.search(user, 5)[1].tolist() == top_k(recommender.model, EVERYBODY, 5).tolist()


# Scorers.

SCORERS = ["int8", "float32", "coded", "popularity", "item_weights"]


@pytest.mark.parametrize("kind", SCORERS)
def test_a_program_scores_any_number_of_users(tmp_path: Path, kind: str) -> None:
    recommender = make_sample(kind).reload(tmp_path / "a")
    file = export(recommender, "torch", tmp_path / "scorer.pt2")
    program = torch.export.load(file).module()
    wanted = recommender.model.score(EVERYBODY[:-1])
    torch.testing.assert_close(program(torch.from_numpy(taken(recommender))), wanted)
    torch.testing.assert_close(program(torch.from_numpy(taken(recommender)[:1])), wanted[:1])


def test_a_program_does_not_hold_the_name_it_was_written_under(tmp_path: Path, recommender: Recommender) -> None:
    with zipfile.ZipFile(export(recommender, "torch", tmp_path / "scorer.pt2")) as archive:
        assert not any(".tmp" in name for name in archive.namelist())


@pytest.mark.parametrize("kind", SCORERS)
def test_an_onnx_graph_scores_any_number_of_users(tmp_path: Path, kind: str) -> None:
    recommender = make_sample(kind).reload(tmp_path / "a")
    file = export(recommender, "onnx", tmp_path / "scorer.onnx")
    session = onnxruntime.InferenceSession(file)
    name = session.get_inputs()[0].name
    wanted = recommender.model.score(EVERYBODY[:-1]).numpy()
    for count in (USERS - 1, 1):
        (scores,) = session.run(["scores"], {name: taken(recommender)[:count]})
        np.testing.assert_allclose(scores, wanted[:count], rtol=1e-5, atol=1e-4)


def test_int8_rows_stay_int8(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    model = make_factors("int8")
    wide = replace(
        model,
        user=replace(model.user, rows=torch.randint(-127, 128, (USERS, 4000), generator=generator, dtype=torch.int8)),
        item=replace(model.item, rows=torch.randint(-127, 128, (ITEMS, 4000), generator=generator, dtype=torch.int8)),
    )
    recommender = make_sample("int8", wide).reload(tmp_path / "a")
    for form in ("torch", "onnx"):
        file = export(recommender, form, tmp_path / form)
        assert file.stat().st_size < 1.3 * wide.size_bytes()


@pytest.mark.parametrize(("form", "module"), [("torch", "scorer"), ("onnx", "onnx_graph"), ("faiss", "vectors")])
def test_an_export_that_scores_otherwise_is_not_kept(
    tmp_path: Path, recommender: Recommender, monkeypatch: pytest.MonkeyPatch, form: Any, module: str
) -> None:
    score = FactorModel.score
    monkeypatch.setattr(FactorModel, "score", lambda model, users: score(model, users) * 1.001)
    assert "scores a user otherwise by 0.001" in refusal(lambda: export(recommender, form, tmp_path / "out"))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


# What is refused.


@pytest.mark.parametrize("kind", ["item_knn", "graph_filter"])
@pytest.mark.parametrize("form", ["faiss", "torch", "onnx"])
def test_a_kind_that_has_no_such_form_is_refused(tmp_path: Path, kind: str, form: Any) -> None:
    recommender = make_sample(kind).reload(tmp_path / "a")
    said = refusal(lambda: export(recommender, form, tmp_path / "out"))
    assert f"a {type(recommender.model).__name__} has no {form} form" in said
    assert said.endswith("its lists can be exported: --to parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_popularity_has_no_vectors(tmp_path: Path) -> None:
    recommender = make_sample("popularity").reload(tmp_path / "a")
    assert isinstance(recommender.model, Popularity)
    assert "has no faiss form" in refusal(lambda: export(recommender, "faiss", tmp_path / "out"))


@pytest.mark.parametrize(
    ("arguments", "said"), [({"to": "csv"}, "expected one of parquet, faiss"), ({"k": 0}, "k of 1")]
)
def test_what_cannot_be_is_refused(
    tmp_path: Path, recommender: Recommender, arguments: dict[str, Any], said: str
) -> None:
    whole: dict[str, Any] = {"to": "parquet", "out": tmp_path / "out"} | arguments
    assert said in refusal(lambda: export(recommender, **whole))


def test_onnx_without_its_extra_says_what_to_install(
    tmp_path: Path, recommender: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    said = refusal(lambda: export(recommender, "onnx", tmp_path / "out"))
    assert said == "export: --to onnx needs onnxruntime: pip install 'gnas_ext[export]'"


def test_what_is_there_is_replaced_only_when_asked(tmp_path: Path, recommender: Recommender) -> None:
    for form, name in (("parquet", "lists"), ("faiss", "vectors")):
        export(recommender, form, tmp_path / name)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="is already there"):
            export(recommender, form, tmp_path / name)  # type: ignore[arg-type]
        export(recommender, form, tmp_path / name, overwrite=True)  # type: ignore[arg-type]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "lists", "vectors"]


def test_other_files_are_never_replaced(tmp_path: Path, recommender: Recommender) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    for form, said in (("faiss", "also holds notes.txt"), ("parquet", "is a folder")):
        out = tmp_path / "mine"
        assert said in refusal(lambda: export(recommender, form, out, overwrite=True))  # type: ignore[arg-type]  # noqa: B023
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"
    assert "is a file" in refusal(lambda: export(recommender, "faiss", tmp_path / "mine" / "notes.txt", overwrite=True))


@pytest.mark.parametrize(("form", "step"), [("parquet", "write_lists"), ("faiss", "write_vectors")])
def test_a_full_disk_is_one_line(
    tmp_path: Path, recommender: Recommender, monkeypatch: pytest.MonkeyPatch, form: Any, step: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(f"gnas_ext.recommend.export.{step}", full)
    said = refusal(lambda: export(recommender, form, tmp_path / "out"))
    assert said.endswith("the export cannot be written: No space left on device")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_marks_in_the_path_are_not_patterns(tmp_path: Path, recommender: Recommender) -> None:
    assert export(recommender, "parquet", tmp_path / "day=1 [a*?]" / "b=2").is_file()
