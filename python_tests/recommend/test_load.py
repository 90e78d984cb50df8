from __future__ import annotations

import io
import pickle
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gnas_ext.errors import InputError
from gnas_ext.recommend import load
from python_tests.recommend.conftest import ITEMS, USERS, Sample
from python_tests.recommend.sealing import (
    FILES,
    Manifest,
    refusal,
    reseal,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


def test_resealing_alone_changes_nothing(folder: Path) -> None:
    reseal(folder)
    assert load(folder).n_users == USERS


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert f"{name}: file is missing" in refusal(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_named(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-1])
    assert f"{name}: expected {len(content)} bytes, got {len(content) - 1}" in refusal(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "seen.safetensors"])
@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_a_truncated_tensor_file_with_right_hashes_is_named(folder: Path, name: str, kept: int) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:kept])
    reseal(folder)
    assert f"{name}: not a readable safetensors file" in refusal(folder)


def test_a_huge_header_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes((1 << 62).to_bytes(8, "little") + b"{}")
    reseal(folder)
    assert "model.safetensors: not a readable safetensors file" in refusal(folder)


def test_a_pickle_is_never_opened(folder: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (type(tmp_path).mkdir, (str(tmp_path / "sprung"),))

    for name in FILES:
        (folder / name).write_bytes(pickle.dumps(Trap()))
    reseal(folder)
    assert "not a readable safetensors file" in refusal(folder)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "model.safetensors/../../x", "other.bin"])
def test_a_manifest_names_no_other_file(folder: Path, path: str) -> None:
    reseal(folder, lambda manifest: manifest["files"].update({path: {"bytes": 1, "sha256": "00"}}))
    assert f"names the file {path!r}" in refusal(folder)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("users", lambda t: t.rename({"user": "u"}), "expected columns user, got u"),
        ("users", lambda t: pl.DataFrame({"user": pl.repeat("a", 1 << 20, eager=True)}), "safetensors, got more"),
        ("users", lambda t: t.head(3), "expected 12 rows, one a user of model.safetensors, got 3"),
        ("users", lambda t: t.with_columns(user=pl.lit("a")), "none twice"),
        ("users", lambda t: t.with_columns(user=pl.lit(None, pl.String)), "without nulls"),
        ("users", lambda t: t.with_columns(user=pl.lit(0.5)), "strings or whole numbers, got double"),
        ("items", lambda t: t.drop("genres"), "expected columns item, title, genres, got item, title"),
        ("items", lambda t: t.with_columns(title=pl.lit(1)), "expected title as strings, got int32"),
    ],
)
def test_ids_that_do_not_fit_are_refused(
    folder: Path, name: str, change: Callable[[pl.DataFrame], pl.DataFrame], message: str
) -> None:
    path = folder / f"{name}.parquet"
    change(pl.read_parquet(path)).write_parquet(path)
    reseal(folder)
    refused = refusal(folder)
    assert f"{name}.parquet: " in refused
    assert message in refused


def test_what_else_a_parquet_file_says_is_not_read(folder: Path) -> None:
    path = folder / "items.parquet"
    said = {b"\xff": b"\xfe", b"pandas": b"\xff"}
    pq.write_table(pq.read_table(path).replace_schema_metadata(said), path)
    reseal(folder)
    assert load(folder).titles.columns == ["item", "title", "genres"]


def _items(titles: Sequence[str | None], dictionary: bool = True, rows: int = 7) -> bytes:
    ids = [f"{7 * code:05d}" for code in range(len(titles))]
    table = pa.table({"item": ids, "title": titles, "genres": ["x"] * len(titles)})
    target = io.BytesIO()
    pq.write_table(table, target, compression="zstd", use_dictionary=dictionary, row_group_size=rows)
    return target.getvalue()


@pytest.mark.parametrize("dictionary", [True, False])
def test_titles_are_read_as_they_were_written(folder: Path, dictionary: bool) -> None:
    titles = [None if code % 5 == 0 else "once" if code % 3 else f"title {code}" for code in range(ITEMS)]
    (folder / "items.parquet").write_bytes(_items(titles, dictionary))
    reseal(folder)
    assert load(folder).titles["title"].to_list() == titles


GROWTH = """
import sys
from pathlib import Path
from gnas_ext.errors import InputError
from gnas_ext.recommend import load

def most():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) >> 10

load(sys.argv[1])
before = most()
try:
    load(sys.argv[2])
except InputError as error:
    print(error)
print(most() - before)
"""


def _growth(whole: Path, folder: Path) -> tuple[list[str], int]:
    """What is said of an artefact, and MiB that it takes at most beyond what a whole one does: in a new process."""
    command = [sys.executable, "-c", GROWTH, str(whole), str(folder)]
    *said, most = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return said, int(most)


def test_a_long_string_that_every_row_names_is_held_once(folder: Path, tmp_path: Path) -> None:
    whole = shutil.copytree(folder, tmp_path / "whole")
    small = _items(["\0" * (16 << 20)] * ITEMS, rows=ITEMS)
    assert len(small) < 1 << 15
    (folder / "items.parquet").write_bytes(small)
    reseal(folder)
    said, most = _growth(whole, folder)
    assert said == []
    assert most < 240  # of 480


@pytest.mark.parametrize("dictionary", [True, False])
def test_more_bytes_than_titles_need_are_refused_before_they_are_there(
    folder: Path, tmp_path: Path, dictionary: bool
) -> None:
    whole = shutil.copytree(folder, tmp_path / "whole")
    many = [f"{code}" + "\0" * (16 << 20) for code in range(ITEMS)]
    (folder / "items.parquet").write_bytes(_items(many, dictionary))
    reseal(folder)
    said, most = _growth(whole, folder)
    assert "bytes of title, expected 67,108,864 at most" in said[0]
    assert most < 160  # of 480


def test_what_could_not_be_read_again_is_not_written(sample: Sample, tmp_path: Path) -> None:
    titles = pl.DataFrame({"item": sample.arguments["item_ids"], "title": ["x" * (2 << 20)] * ITEMS})
    with pytest.raises(InputError, match=r"titles have 62,914,560 bytes, expected 33,554,432 at most; shorten them"):
        sample.save(tmp_path / "large", titles=titles)
    assert not (tmp_path / "large").exists()


def test_strings_that_are_not_utf8_are_refused(folder: Path) -> None:
    path = folder / "items.parquet"
    pl.read_parquet(path).write_parquet(path, compression="uncompressed", statistics=False)
    before = path.read_bytes()
    assert before.count(b"00007") == 1
    path.write_bytes(before.replace(b"00007", b"000\xff7"))
    reseal(folder)
    assert "items.parquet: not a readable Parquet file" in refusal(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "seen.safetensors"])
@pytest.mark.parametrize("length", [(1 << 16) + 1, 2**64 - 1])
def test_a_header_out_of_proportion_is_refused_unread(folder: Path, name: str, length: int) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(length.to_bytes(8, "little") + content[8:] + b" " * (1 << 17))
    reseal(folder)
    assert f"{name}: not a readable safetensors file (a header of {length} bytes, expected 65536" in refusal(folder)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" * 50, b"user\n1\n"])
def test_a_file_that_is_no_parquet_is_named(folder: Path, content: bytes) -> None:
    (folder / "users.parquet").write_bytes(content)
    reseal(folder)
    assert "users.parquet: not a readable Parquet file" in refusal(folder)


def test_a_newer_schema_says_what_to_install(folder: Path) -> None:
    reseal(folder, lambda manifest: manifest.update(schema_version=3, needs="gnas_ext>=1.4.0"))
    assert refusal(folder).endswith("schema version 3 is newer than this gnas_ext reads (2); install gnas_ext>=1.4.0")


def test_a_newer_schema_names_no_other_package(folder: Path) -> None:
    reseal(folder, lambda manifest: manifest.update(schema_version=3, needs="malware>=1; rm -rf /"))
    assert refusal(folder).endswith("install the latest gnas_ext")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop("genotype"), "field 'genotype' is missing"),
        (lambda m: m.update(genotype=[1]), "field 'genotype': expected an object, got [1]"),
        (lambda m: m.update(name=3), "field 'name': expected a string, got 3"),
        (lambda m: m.update(n_users=-1), "field 'n_users': expected a whole number >= 0, got -1"),
        (lambda m: m.update(n_users=True), "field 'n_users': expected a whole number >= 0, got True"),
        (lambda m: m.update(n_users=13), "seen.safetensors: counts: expected 13 compressed numbers"),
        (lambda m: m.update(n_users=10**30), "expected at most 2147483647 users and items"),
        (lambda m: m.update(n_items=31), "says 12 users and 31 items, model.safetensors has 12 and 30"),
        (
            lambda m: m.update(kind="forest"),
            "popularity, item_knn, graph_filter, item_weights, got 'forest'",
        ),
        (lambda m: m.pop("kind"), "field 'kind' is missing"),
        (lambda m: m.update(size_bytes=1), "says 1 bytes, model.safetensors has 498"),
        (lambda m: m.pop("spread"), "field 'spread' is missing"),
        (lambda m: m.update(spread={"a": "b"}), "spread: field 'a': expected a number or null, got 'b'"),
        (lambda m: m.update(metrics={"a": "b"}), "metrics: field 'a': expected a number or null, got 'b'"),
        (lambda m: m.update(metrics={"a": 10**400}), "metrics: field 'a': expected a number that a float holds"),
        (lambda m: m.update(comparison=[{"name": "x"}]), "comparison[0]: field 'metrics' is missing"),
        (lambda m: m.update(comparison=[3]), "comparison[0]: expected an object, got 3"),
        (lambda m: m.update(comparison={}), "field 'comparison': expected an array, got {}"),
        (lambda m: m["tensors"]["prior"].update(shape=[-1]), "field 'shape': expected an array of whole numbers"),
        (lambda m: m["provenance"].update(guesses=[3]), "field 'guesses': expected an array of strings"),
        (lambda m: m["files"].pop("card.md"), "field 'card.md' is missing"),
        (lambda m: m.update(schema_version=0), "there is no schema version 0; expected 1 … 2"),
        (lambda m: m.update(format="other"), "not a manifest of gnas_ext"),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(folder: Path, change: Callable[[Manifest], Any], message: str) -> None:
    reseal(folder, change)
    refused = refusal(folder)
    assert message in refused


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"a": ' * 9000, "\udcff", "9" * 9999, "{}" + " " * (5 << 20)])
def test_a_file_that_is_no_manifest_is_refused(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert "manifest.json: " in refusal(folder)


def test_nan_in_a_manifest_is_refused(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace("0.13", "NaN", 1))
    assert "changed since it was written" in refusal(folder)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none").startswith(f"{tmp_path / 'none'}: no such folder")


def test_a_file_is_no_artefact(folder: Path) -> None:
    assert "is a file; name the folder" in refusal(folder / "manifest.json")


def test_an_empty_folder_is_no_artefact(tmp_path: Path) -> None:
    assert "manifest.json: file is missing" in refusal(tmp_path)


def test_a_folder_in_place_of_a_file_is_refused(folder: Path) -> None:
    (folder / "card.md").unlink()
    (folder / "card.md").mkdir()
    assert "card.md: file is missing" in refusal(folder)


def test_marks_in_the_path_are_not_patterns(tmp_path: Path, sample: Sample) -> None:
    assert sample.reload(tmp_path / "day=1 [a*?]" / "b=2").n_users == USERS
