"""Artefacts changed by somebody who wants to be believed, and what is said of them."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from safetensors.numpy import load_file, save_file

from gnas_ext.errors import InputError
from gnas_ext.recommend import load
from python_tests.recommend.conftest import ITEMS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray


Manifest: TypeAlias = dict[str, Any]

FILES = ["model.safetensors", "seen.safetensors", "users.parquet", "items.parquet", "card.md"]


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
