from __future__ import annotations

import dataclasses
import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from gnas_ext.data.interactions import Interactions
from gnas_ext.errors import InputError
from gnas_ext.evaluate.seen import SeenItems
from gnas_ext.models import (
    CodedModel,
    FactorModel,
    GraphFilter,
    ItemKNN,
    ItemWeights,
    Popularity,
    ProductTable,
    Table,
    fit_item_knn,
)
from gnas_ext.recommend import is_artefact, load
from gnas_ext.recommend._coded import coded_tensors
from gnas_ext.recommend._seen import read_seen, write_seen
from gnas_ext.recommend.manifest import SCHEMA_VERSION, SEEN
from python_tests.recommend.conftest import ITEMS, KINDS, USERS, WIDTH, Sample, make_factors, make_sample

if TYPE_CHECKING:
    from gnas_ext.models import Model


def stored(folder: Path) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    found: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]] = load_file(folder / "model.safetensors")
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def arrays(model: Model) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    """Everything that a model is made of."""
    if isinstance(model, Popularity):
        return {"weight": model.weight.numpy(), "users": np.array(model.n_users)}
    if isinstance(model, ItemKNN):
        matrices = {"history": model.history, "similarity": model.similarity}
        return {
            f"{name}.{part}": getattr(matrix, part)
            for name, matrix in matrices.items()
            for part in ("data", "indices", "indptr")
        }
    if isinstance(model, GraphFilter):
        scales = np.array([*dataclasses.astuple(model.scales), model.constant, model.top], dtype=np.float32)
        return {
            "scales": scales,
            "history": model.history.indices,
            **{name: getattr(model, name).numpy() for name in ("series", "vectors", "gain")},
        }
    if isinstance(model, CodedModel):
        return {name: tensor.numpy() for name, tensor in coded_tensors(model, None).items()}  # type: ignore[arg-type]
    if isinstance(model, ItemWeights):
        return {"history": model.history.indices, "weight": model.weight.numpy()}
    assert isinstance(model, FactorModel)
    parts = (model.user.rows, model.user.scale, model.item.rows, model.item.scale, model.prior)
    return {str(place): part.numpy() for place, part in enumerate(parts) if part is not None}


def test_the_model_comes_back_as_it_was(tmp_path: Path, kind: str) -> None:
    sample = make_sample(kind)
    loaded, saved = arrays(sample.reload(tmp_path / "a").model), arrays(sample.model)
    assert loaded.keys() == saved.keys()
    for name, array in saved.items():
        assert loaded[name].dtype == array.dtype
        assert np.array_equal(loaded[name], array)


def test_a_model_without_prior_comes_back_without(tmp_path: Path, dtype: str) -> None:
    model = make_sample(dtype, make_factors(dtype, prior=False)).reload(tmp_path / "a").model
    assert isinstance(model, FactorModel)
    assert model.prior is None


def test_rows_cut_from_one_tensor_come_back(tmp_path: Path, sample: Sample) -> None:
    both = torch.arange(42.0).reshape(USERS + ITEMS - 28, 3).T.contiguous().T  # neither contiguous nor apart
    model = FactorModel(Table(both[:4]), Table(both[4:]))
    seen = SeenItems(np.zeros(5, np.int64), np.zeros(0, np.int32))
    loaded = sample.reload(tmp_path / "a", model=model, seen=seen, comparison=[]).model
    assert isinstance(loaded, FactorModel)
    assert torch.equal(torch.cat([loaded.user.rows, loaded.item.rows]), both)


def test_int8_takes_a_quarter_of_the_bytes_and_its_scales(tmp_path: Path) -> None:
    small, large = (
        make_sample(dtype, make_factors(dtype, prior=False)).reload(tmp_path / dtype).manifest
        for dtype in ("int8", "float32")
    )
    assert large.size_bytes == 4 * (USERS + ITEMS) * WIDTH
    assert small.size_bytes == (USERS + ITEMS) * (WIDTH + 4)


@pytest.mark.parametrize("kind", ["int8", "float32", "coded", "popularity"])
def test_the_bytes_are_those_of_the_stored_tensors(tmp_path: Path, kind: str) -> None:
    folder = make_sample(kind).save(tmp_path / "a")
    assert load(folder).manifest.size_bytes == sum(array.nbytes for array in stored(folder).values())


@pytest.mark.parametrize("kind", ["item_knn", "item_weights"])
def test_the_bytes_of_a_model_with_histories_are_its_tensors_and_those(tmp_path: Path, kind: str) -> None:
    sample = make_sample(kind)
    folder = sample.save(tmp_path / "a")
    pairs = len(sample.arguments["seen"].items)
    history = pairs * (1 + 4) + (USERS + 1) * 4  # a one and a column a pair, and row pointers
    assert load(folder).manifest.size_bytes == history + sum(array.nbytes for array in stored(folder).values())


def test_the_history_of_an_item_knn_is_stored_once(tmp_path: Path) -> None:
    folder = make_sample("item_knn").save(tmp_path / "a")
    assert set(stored(folder)) == {"similar.indptr", "similar.items", "similar.weight"}


def test_an_item_knn_of_another_history_is_refused(tmp_path: Path) -> None:
    sample = make_sample("item_knn")
    other = fit_item_knn(sample.train.select(np.arange(59)), USERS, ITEMS)
    with pytest.raises(ValueError, match=r"expected ItemKNN\.history to be `seen`"):
        sample.save(tmp_path / "a", model=other)


def test_an_item_knn_with_unsorted_columns_is_refused(tmp_path: Path) -> None:
    sample = make_sample("item_knn")
    assert isinstance(sample.model, ItemKNN)
    unsorted = sample.model.similarity.copy()
    unsorted.indices[:] = unsorted.indices[::-1].copy()
    unsorted.has_canonical_format = False
    with pytest.raises(ValueError, match="sorted columns, none twice"):
        sample.save(tmp_path / "a", model=replace(sample.model, similarity=unsorted))


def test_a_model_of_another_class_is_refused(tmp_path: Path, sample: Sample) -> None:
    class Stranger:
        n_users, n_items = USERS, ITEMS

    with pytest.raises(TypeError, match=r"expected a model of the classes FactorModel, .*, got Stranger"):
        sample.save(tmp_path / "a", model=Stranger())


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("int8", "an item's row, plus a prior for each item. Rows have 5 numbers of 8 bits."),
        ("float32", "Rows have 5 numbers of 32 bits."),
        ("coded", "plus a prior for each item. Rows are kept in codes: 216 bytes a user and "),
        ("popularity", "everybody is recommended the same"),
        ("item_knn", "pairs of similar items."),
        ("graph_filter", "filtered over the graph"),
        ("item_weights", "a weight for each pair of items."),
    ],
)
def test_the_card_says_how_items_are_scored(tmp_path: Path, kind: str, says: str) -> None:
    assert says in (make_sample(kind).save(tmp_path / "a") / "card.md").read_text()


def test_seen_items_come_back(tmp_path: Path, sample: Sample) -> None:
    seen = sample.reload(tmp_path / "a").seen
    for user in range(USERS):
        assert seen.of(user).tolist() == sorted(set(sample.train.item[sample.train.user == user].tolist()))


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(st.sets(st.integers(0, 299)), min_size=1, max_size=9),
    more=st.sampled_from([1, 2, 200, 70_000]),
)
def test_any_seen_items_come_back(tmp_path_factory: pytest.TempPathFactory, rows: list[set[int]], more: int) -> None:
    items = [sorted(item * more for item in row) for row in rows]
    counts = [len(row) for row in rows]
    flat = [item for row in items for item in row]
    seen = SeenItems(np.cumsum([0, *counts], dtype=np.int64), np.array(flat, dtype=np.int32))
    folder = tmp_path_factory.mktemp("seen")
    write_seen(folder / SEEN, seen)
    read = read_seen(folder, len(rows), 300 * more, SCHEMA_VERSION)
    assert [read.of(user).tolist() for user in range(len(rows))] == items
    assert (str(read.indptr.dtype), str(read.items.dtype)) == ("int64", "int32")


def test_seen_items_are_read_as_the_docs_say(tmp_path: Path, sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = load(sample.save(tmp_path / "artefact")).seen
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs" / "artefact.md").read_text(encoding="utf-8")
    read: dict[str, np.ndarray[tuple[int], np.dtype[np.int64]]] = {}
    exec(page.split("```python\n")[1].split("```")[0], read)
    assert read["counts"].tolist() == seen.counts.tolist()
    assert read["items"].tolist() == seen.items.tolist()


def test_seen_items_take_less_than_half_the_bytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pairs = Interactions(rng.integers(0, 500, 20_000).astype(np.int32), rng.integers(0, 9000, 20_000).astype(np.int32))
    seen = SeenItems.from_interactions(pairs, 500)
    write_seen(tmp_path / SEEN, seen)
    assert (tmp_path / SEEN).stat().st_size < (seen.items.nbytes + seen.indptr.nbytes) / 2


def test_manifest_comes_back(tmp_path: Path, sample: Sample) -> None:
    manifest = sample.reload(tmp_path / "a").manifest
    wanted = sample.arguments
    assert manifest.genotype == wanted["genotype"]
    assert manifest.metrics == wanted["metrics"]
    assert manifest.spread == wanted["spread"]
    assert list(manifest.comparison) == wanted["comparison"]
    assert manifest.provenance == wanted["provenance"]


def test_a_figure_that_is_not_finite_reads_back_as_nan(tmp_path: Path, sample: Sample) -> None:
    metrics = sample.reload(tmp_path / "a", metrics={"a": float("nan"), "b": float("inf"), "c": 0.5}).manifest.metrics
    assert np.isnan([metrics["a"], metrics["b"]]).all()
    assert metrics["c"] == 0.5


@pytest.mark.parametrize("dtype", [pl.String, pl.Int64, pl.UInt8])
def test_ids_keep_their_type(tmp_path: Path, sample: Sample, dtype: pl.DataType) -> None:
    user_ids = pl.Series(range(USERS)).cast(dtype)
    item_ids = pl.Series(range(ITEMS)).cast(dtype)
    loaded = sample.reload(tmp_path / "a", user_ids=user_ids, item_ids=item_ids, titles=None)
    assert loaded.user_ids.to_list() == user_ids.to_list()
    assert loaded.user_ids.dtype == dtype
    assert loaded.titles.get_column("item").to_list() == item_ids.to_list()


@settings(max_examples=15, deadline=None)
@given(names=st.lists(st.text(st.characters(codec="utf-8")), min_size=USERS, max_size=USERS, unique=True))
def test_any_text_is_an_id(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    loaded = make_sample("int8").reload(
        tmp_path_factory.mktemp("ids") / "a", user_ids=pl.Series(names, dtype=pl.String)
    )
    assert loaded.user_ids.to_list() == names


def test_ids_behind_the_tables_are_left_out(tmp_path: Path, sample: Sample) -> None:
    longer = pl.concat([sample.arguments["user_ids"], pl.Series(["only in test"])])
    assert sample.reload(tmp_path / "a", user_ids=longer).user_ids.to_list() == longer.to_list()[:USERS]


def test_titles_stand_beside_their_items(tmp_path: Path, sample: Sample) -> None:
    titles = sample.reload(tmp_path / "a").titles
    assert titles.height == ITEMS
    assert titles.row(3) == ("00021", "Film <3>", "Drama|War")
    assert titles.row(1) == ("00007", "Film | 1", None)
    assert titles.get_column("title").null_count() == ITEMS - 2


def test_a_title_given_twice_makes_no_second_item(tmp_path: Path, sample: Sample) -> None:
    twice = pl.concat([sample.arguments["titles"]] * 2)
    assert sample.reload(tmp_path / "a", titles=twice).titles.height == ITEMS


def test_titles_without_genres_are_enough(tmp_path: Path, sample: Sample) -> None:
    loaded = sample.reload(tmp_path / "a", titles=sample.arguments["titles"].drop("genres"))
    assert loaded.titles.columns == ["item", "title", "genres"]
    assert loaded.titles.get_column("title").null_count() == ITEMS - 2


def test_the_same_model_gives_the_same_bytes(tmp_path: Path, kind: str) -> None:
    sample = make_sample(kind)
    assert contents(sample.save(tmp_path / "a")) == contents(sample.save(tmp_path / "b"))


def test_whoever_may_read_the_folder_may_read_its_files(tmp_path: Path, sample: Sample) -> None:
    folder = sample.save(tmp_path / "a")
    allowed = folder.stat().st_mode & 0o444
    assert {path.stat().st_mode & 0o444 for path in folder.iterdir()} == {allowed}


def test_folders_above_are_made(tmp_path: Path, sample: Sample) -> None:
    assert is_artefact(sample.save(tmp_path / "new" / "folders" / "a"))


def test_nothing_but_the_artefact_is_left_behind(tmp_path: Path, sample: Sample) -> None:
    sample.save(tmp_path / "a")
    sample.save(tmp_path / "a", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_the_card_names_figures_of_the_model_and_of_the_baseline(tmp_path: Path, sample: Sample) -> None:
    card = (sample.save(tmp_path / "a") / "card.md").read_text()
    assert "| **found model** | 0.2000 | 0.1300 | 498 B | 0.250 |" in card
    assert "| popularity | 0.1000 | 0.0900 | 120 B | 0.010 |" in card


def test_the_card_says_how_far_a_figure_may_be_off(tmp_path: Path, sample: Sample) -> None:
    card = (sample.save(tmp_path / "a") / "card.md").read_text()
    assert "| ndcg@20 | 0.1300 | 0.0130 |" in card


def test_the_card_keeps_strangers_words_out_of_its_markup(tmp_path: Path, sample: Sample) -> None:
    bad = replace(sample.arguments["provenance"], data="x | y\n# <script>alert(1)</script> [z](http://z)")
    card = (sample.save(tmp_path / "a", provenance=bad) / "card.md").read_text()
    assert r"x \| y # \<script\>alert(1)\</script\> \[z\](http://z)" in card


def test_a_folder_with_other_files_is_refused_and_kept(tmp_path: Path, sample: Sample) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="holds other files and no artefact"):
        sample.save(tmp_path, overwrite=True)
    assert contents(tmp_path) == {"notes.txt": b"mine"}


def test_a_file_in_the_way_is_refused(tmp_path: Path, sample: Sample) -> None:
    (tmp_path / "a").write_text("mine")
    with pytest.raises(InputError, match="is a file"):
        sample.save(tmp_path / "a", overwrite=True)


def test_an_empty_folder_may_be_filled(tmp_path: Path, sample: Sample) -> None:
    (tmp_path / "a").mkdir()
    assert is_artefact(sample.save(tmp_path / "a"))


def test_an_artefact_is_replaced_only_when_asked(tmp_path: Path, sample: Sample) -> None:
    folder = sample.save(tmp_path / "a")
    before = contents(folder)
    with pytest.raises(InputError, match="already there"):
        sample.save(folder, genotype={})
    assert contents(folder) == before
    assert sample.reload(folder, genotype={"dim": 1}, overwrite=True).manifest.genotype == {"dim": 1}


def test_overwriting_does_not_delete_what_others_put_there(tmp_path: Path, sample: Sample) -> None:
    folder = sample.save(tmp_path / "a")
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"also holds notes\.txt"):
        sample.save(folder, overwrite=True)
    assert (folder / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("step", ["write_tensors", "write_seen", "card", "file_spec"])
def test_a_failure_while_writing_leaves_the_old_artefact(
    tmp_path: Path, sample: Sample, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    folder = sample.save(tmp_path / "a")
    before = contents(folder)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"gnas_ext.recommend.artefact.{step}", stop)
    with pytest.raises(KeyboardInterrupt):
        sample.save(folder, genotype={}, overwrite=True)
    assert contents(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_failing_second_rename_puts_the_old_artefact_back(
    tmp_path: Path, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = sample.save(tmp_path / "a")
    before = contents(folder)
    rename = os.rename

    def only_the_old_one_moves(source: Path, target: Path) -> None:
        if source.name.endswith(".tmp"):
            raise OSError(errno.EIO, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", only_the_old_one_moves)
    with pytest.raises(InputError, match="cannot be written: Input/output error"):
        sample.save(folder, genotype={}, overwrite=True)
    assert contents(folder) == before


def test_a_crash_between_the_two_renames_loses_nothing(
    tmp_path: Path, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = sample.save(tmp_path / "a")
    before = contents(folder)
    rename = os.rename

    def die(source: Path, target: Path) -> None:
        if source.name.endswith(".tmp"):
            raise KeyboardInterrupt
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", die)
        with pytest.raises(KeyboardInterrupt):
            sample.save(folder, genotype={}, overwrite=True)
    with pytest.raises(InputError, match=r"rename .*\.a\.previous back to it"):
        load(folder)
    with pytest.raises(InputError, match="already there"):
        sample.save(folder)
    assert contents(folder) == before


def test_a_full_disk_is_one_line(tmp_path: Path, sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("gnas_ext.recommend.artefact.write_seen", full)
    with pytest.raises(InputError, match="cannot be written: No space left on device"):
        sample.save(tmp_path / "a")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_that_are_not_finite_are_not_written(tmp_path: Path, kind: str) -> None:
    sample = make_sample(kind)
    if isinstance(sample.model, ItemKNN):
        sample.model.similarity.data[3] = np.inf
    elif isinstance(sample.model, Popularity | ItemWeights):
        sample.model.weight[3] = torch.inf
    elif isinstance(sample.model, GraphFilter):
        sample.model.vectors[3] = torch.inf
    elif isinstance(sample.model, FactorModel) and sample.model.prior is not None:
        sample.model.prior[3] = torch.inf
    elif isinstance(sample.model, CodedModel):
        assert isinstance(sample.model.user, ProductTable)
        sample.model.user.codebook[3] = torch.inf
    with pytest.raises(InputError, match="is not finite"):
        sample.save(tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_a_diverged_model_is_not_written(tmp_path: Path, sample: Sample) -> None:
    rows = torch.full((USERS, WIDTH), torch.nan)
    with pytest.raises(InputError, match=r"user\.rows is not finite: did training diverge"):
        sample.save(tmp_path / "a", model=FactorModel(Table(rows), Table(torch.zeros(ITEMS, WIDTH))))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"user_ids": pl.Series(["a"])}, "expected 12 user ids"),
        ({"user_ids": pl.Series(["a"] * USERS)}, "none twice"),
        ({"user_ids": pl.Series(["a", None] * USERS)}, "without nulls"),
        ({"item_ids": pl.Series([0.5] * ITEMS)}, "strings or whole numbers"),
        ({"seen": SeenItems(np.zeros(3, np.int64), np.zeros(0, np.int32))}, "seen items of 12 users, got 2"),
        (
            {"seen": SeenItems(np.array([0] * USERS + [1]), np.array([ITEMS], np.int32))},
            "seen items below 30, got 30",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    tmp_path: Path, sample: Sample, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        sample.save(tmp_path / "a", **changes)
    assert not list(tmp_path.iterdir())
