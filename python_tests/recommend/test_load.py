from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from safetensors.numpy import load_file, save_file

from gnas_ext.errors import InputError
from gnas_ext.recommend import load
from python_tests.recommend.conftest import ITEMS, USERS, Sample, make_sample

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Manifest = dict[str, Any]

SAMPLES = Path(__file__).parent / "samples" / "schema-1"
FILES = ["model.safetensors", "seen.safetensors", "users.parquet", "items.parquet", "card.md"]


@pytest.fixture
def folder(tmp_path: Path, sample: Sample) -> Path:
    return sample.save(tmp_path / "a")


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sample("int8").save(tmp_path_factory.mktemp("shared") / "a")


@pytest.fixture(scope="module", params=["popularity", "item_knn", "graph_filter", "item_weights"])
def shared_classic(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sample(request.param).save(tmp_path_factory.mktemp("shared") / "a")


def reseal(folder: Path, change: Callable[[Manifest], None] = lambda manifest: None) -> None:
    """Makes all hashes right again, as somebody would who wants to be believed."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for name in FILES:
        content = (folder / name).read_bytes()
        manifest["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    change(manifest)
    del manifest["sha256"]
    spelled = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    manifest["sha256"] = hashlib.sha256(spelled.encode()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def reseal_with_tensors(folder: Path) -> None:
    """Likewise where types or shapes of the model's tensors have changed."""
    found = load_file(folder / "model.safetensors")
    specs = {name: {"dtype": str(array.dtype), "shape": list(array.shape)} for name, array in found.items()}
    reseal(folder, lambda manifest: manifest.update(tensors=specs))


def refusal(folder: Path) -> str:
    """The one line with which a folder is refused."""
    with pytest.raises(InputError) as caught:
        load(folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


def refusal_or_none(folder: Path) -> str | None:
    """None where the folder can be read and used; anything but an `InputError` fails the test."""
    try:
        recommender = load(folder)
        # Numbers may be finite and their products not: that is found when a user is served.
        recommender.recommend(recommender.user_ids, k=ITEMS)
    except InputError as error:
        return str(error)
    return None


def change_tensor(path: Path, name: str, change: Callable[[NDArray[Any]], NDArray[Any] | None]) -> None:
    tensors = load_file(path)
    changed = change(tensors[name])
    if changed is None:
        del tensors[name]
    else:
        tensors[name] = changed
    save_file(tensors, path)


def put(place: int, value: float) -> Callable[[NDArray[Any]], NDArray[Any]]:
    def change(array: NDArray[Any]) -> NDArray[Any]:
        changed = array.copy()
        changed.flat[place] = value
        return changed

    return change


def test_resealing_alone_changes_nothing(folder: Path) -> None:
    reseal(folder)
    assert load(folder).n_users == USERS


@settings(max_examples=25, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_refused(shared_folder: Path, name: str, data: st.DataObject) -> None:
    path = shared_folder / name
    before = path.read_bytes()
    bit = data.draw(st.integers(0, 8 * len(before) - 1))
    damaged = bytearray(before)
    damaged[bit // 8] ^= 1 << bit % 8
    path.write_bytes(damaged)
    try:
        assert name in refusal(shared_folder)
    finally:
        path.write_bytes(before)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_flipped_bit_in_the_manifest_is_refused_or_changes_nothing(shared_folder: Path, data: st.DataObject) -> None:
    path = shared_folder / "manifest.json"
    before = path.read_bytes()
    bit = data.draw(st.integers(0, 8 * len(before) - 1))
    damaged = bytearray(before)
    damaged[bit // 8] ^= 1 << bit % 8
    path.write_bytes(damaged)
    try:
        message = refusal_or_none(shared_folder)
        if message is None:  # 1e-3 is 1E-3
            assert json.loads(damaged) == json.loads(before)
        else:
            assert "manifest.json" in message
    finally:
        path.write_bytes(before)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("name", FILES[:-1])
def test_a_damaged_file_with_right_hashes_is_refused_or_read_whole(
    shared_folder: Path, name: str, data: st.DataObject
) -> None:
    damage(shared_folder, name, data)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_damaged_tensors_of_classics_with_right_hashes_are_refused_or_read_whole(
    shared_classic: Path, data: st.DataObject
) -> None:
    damage(shared_classic, "model.safetensors", data)


def damage(folder: Path, name: str, data: st.DataObject) -> None:
    """Writes other bytes into a file, makes the hashes right, and reads and uses it where it is not refused."""
    path, seal = folder / name, folder / "manifest.json"
    before = path.read_bytes(), seal.read_bytes()
    damaged = bytearray(before[0])
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged[: data.draw(st.sampled_from([len(damaged), len(damaged) // 2]))])
    reseal(folder)
    try:
        message = refusal_or_none(folder)
        assert message is None or "\n" not in message
    finally:
        path.write_bytes(before[0])
        seal.write_bytes(before[1])


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


def packed(numbers: list[int]) -> NDArray[np.uint8]:
    """Numbers as `seen.safetensors` holds them, by another way than ours: lowest bytes first, then the second ones …"""
    planes = b"".join(bytes(number >> 8 * byte & 255 for number in numbers) for byte in range(4))
    return np.frombuffer(zlib.compress(planes), np.uint8)


def write_seen(folder: Path, counts: NDArray[Any] | list[int], gaps: NDArray[Any] | list[int]) -> None:
    both = {"counts": counts, "gaps": gaps}
    save_file({name: packed(a) if isinstance(a, list) else a for name, a in both.items()}, folder / "seen.safetensors")


def test_seen_items_are_gaps(folder: Path) -> None:
    write_seen(folder, [3, 0, 1] + [0] * 9, [2, 0, 4, 29])
    reseal(folder)
    seen = load(folder).seen
    assert [seen.of(user).tolist() for user in range(4)] == [[2, 3, 8], [], [29], []]


NOBODY = [0] * 11


@pytest.mark.parametrize(
    ("counts", "gaps", "message"),
    [
        ([1, *NOBODY], [ITEMS], "expected items in 0 … 29, got 30"),
        ([2, *NOBODY], [20, 9], "expected items in 0 … 29, got 30"),
        ([3, *NOBODY], [2**32 - 1] * 3, "expected items in 0 … 29, got 12884901887"),
        ([31, *NOBODY], [0] * 31, "expected at most 30 items a user, got 31"),
        ([2**32 - 1, *NOBODY], [0], "expected at most 30 items a user, got 4294967295"),
        ([1, *NOBODY], [0, 0], "gaps: expected 1 compressed numbers"),
        ([2, *NOBODY], [0], "gaps: expected 2 compressed numbers"),
        (NOBODY, [], "counts: expected 12 compressed numbers"),
        ([*NOBODY, 0, 0], [], "counts: expected 12 compressed numbers"),
        (np.arange(3.0), [], "counts: expected uint8, got float64"),
        (np.frombuffer(b"no zlib", np.uint8), [], "counts: not compressed numbers"),
        (np.append(packed([0] * 12), np.uint8(0)), [], "and nothing else"),
        (packed([0] * 12)[:-1].copy(), [], "and nothing else"),
        (np.frombuffer(zlib.compress(bytes(10 << 20)), np.uint8), [], "expected 12 compressed numbers of 4 bytes"),
    ],
)
def test_seen_items_that_cannot_be_are_refused(
    folder: Path, counts: NDArray[Any] | list[int], gaps: list[int], message: str
) -> None:
    write_seen(folder, counts, gaps)
    reseal(folder)
    refused = refusal(folder)
    assert "seen.safetensors: " in refused
    assert message in refused


@pytest.mark.parametrize("kind", ["int8", "item_knn"])
def test_an_artefact_of_the_first_schema_answers_as_when_it_was_written(kind: str) -> None:
    recommender = load(SAMPLES / kind)
    wanted = pl.read_parquet(SAMPLES / f"{kind}.parquet")
    assert recommender.manifest.spread == {}
    assert_frame_equal(recommender.recommend(recommender.user_ids, k=ITEMS), wanted, abs_tol=1e-6)


@pytest.mark.parametrize(
    ("tensor", "change", "message"),
    [
        ("items", put(0, ITEMS), "expected items in 0 … 29, got"),
        ("items", put(0, -1), "expected items in 0 … 29, got -1"),
        ("items", lambda a: a[::-1].copy(), "expected items of each row in rising order"),
        ("items", lambda a: a[1:], "expected indptr to rise from 0"),
        ("items", lambda a: a.astype(np.int64), "items: expected int32, got int64"),
        ("items", lambda a: a[:, None], "one-dimensional"),
        ("items", lambda a: None, "tensor items is missing"),
        ("indptr", lambda a: a.astype(np.int32), "indptr: expected int64, got int32"),
        ("indptr", put(0, 1), "expected indptr to rise from 0"),
        ("indptr", put(4, 0), "expected indptr to rise from 0"),
        ("indptr", put(-1, 1 << 40), "expected indptr to rise from 0"),
        ("indptr", lambda a: a[1:], "expected indptr of length 13 (rows + 1), got 12"),
    ],
)
def test_seen_items_of_the_first_schema_that_cannot_be_are_refused(
    tmp_path: Path, tensor: str, change: Callable[[NDArray[Any]], NDArray[Any] | None], message: str
) -> None:
    folder = Path(shutil.copytree(SAMPLES / "int8", tmp_path / "a"))
    change_tensor(folder / "seen.safetensors", tensor, change)
    reseal(folder)
    refused = refusal(folder)
    assert "seen.safetensors: " in refused
    assert message in refused


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("users", lambda t: t.rename({"user": "u"}), "expected columns user, got u"),
        ("users", lambda t: pl.DataFrame({"user": pl.repeat("a", 1 << 20, eager=True)}), "safetensors, got more"),
        ("users", lambda t: t.head(3), "expected 12 rows, one a user of model.safetensors, got 3"),
        ("users", lambda t: t.with_columns(user=pl.lit("a")), "none twice"),
        ("users", lambda t: t.with_columns(user=pl.lit(None, pl.String)), "without nulls"),
        ("users", lambda t: t.with_columns(user=pl.lit(0.5)), "strings or whole numbers, got Float64"),
        ("items", lambda t: t.drop("genres"), "expected columns item, title, genres, got item, title"),
        ("items", lambda t: t.with_columns(title=pl.lit(1)), "expected title as strings, got Int32"),
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
