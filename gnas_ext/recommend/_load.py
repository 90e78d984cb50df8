"""Can this folder be trusted? Every file of an artefact is checked before a number of it is used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gnas_ext.errors import InputError
from gnas_ext.recommend import _folder
from gnas_ext.recommend._id_files import read_ids
from gnas_ext.recommend._kinds import KINDS, model_of
from gnas_ext.recommend._seen import read_seen
from gnas_ext.recommend._tensors import Tensors
from gnas_ext.recommend.artefact import FACTS, file_spec
from gnas_ext.recommend.manifest import FILES, ITEMS, MANIFEST, MEND, MODEL, USERS, FileSpec, read_manifest
from gnas_ext.recommend.recommender import Recommender

if TYPE_CHECKING:
    import os


def load(folder: str | os.PathLike[str]) -> Recommender:
    """Reads an artefact and checks all of it: hashes, shapes, types, ranges, NaN. Nothing is unpickled or run.

    Args:
        folder: what `save_artefact` or `gnas-ext search` wrote.

    Raises:
        InputError: it is missing, incomplete, changed since it was written, inconsistent, or of a newer schema.
    """
    path = Path(folder)
    if not path.is_dir():
        raise InputError(_no_folder(path))
    manifest = read_manifest(path)
    try:
        for name in FILES:
            _check_file(path / name, manifest.files[name])
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be read: {error.strerror}") from error
    if manifest.kind not in KINDS:
        raise InputError(f"{path / MANIFEST}: expected a kind of {', '.join(KINDS)}, got {manifest.kind!r}; {MEND}")
    seen = read_seen(path, manifest.n_users, manifest.n_items, manifest.schema)
    found = Tensors.read(path / MODEL)
    model = model_of(KINDS[manifest.kind], found, manifest.tensors, seen, manifest.n_items)
    if (model.n_users, model.n_items) != (manifest.n_users, manifest.n_items):
        raise InputError(
            f"{path / MANIFEST}: says {manifest.n_users} users and {manifest.n_items} items, "
            f"{MODEL} has {model.n_users} and {model.n_items}; {MEND}"
        )
    if model.size_bytes() != manifest.size_bytes:
        raise InputError(
            f"{path / MANIFEST}: says {manifest.size_bytes} bytes, {MODEL} has {model.size_bytes()}; {MEND}"
        )
    return Recommender(
        model=model,
        user_ids=read_ids(path / USERS, "user", model.n_users, ()).get_column("user"),
        titles=read_ids(path / ITEMS, "item", model.n_items, FACTS),
        seen=seen,
        manifest=manifest,
    )


def _no_folder(path: Path) -> str:
    if path.exists():
        return f"{path}: is a file; name the folder that holds {MANIFEST}"
    if _folder.previous(path).is_dir():
        return f"{path}: no such folder; a replacement was cut short, rename {_folder.previous(path)} back to it"
    return f"{path}: no such folder; name the folder that `gnas-ext search` wrote"


def _check_file(path: Path, wanted: FileSpec) -> None:
    if not path.is_file():
        raise InputError(f"{path}: file is missing; {MEND}")
    if (size := path.stat().st_size) != wanted.bytes:
        raise InputError(f"{path}: expected {wanted.bytes} bytes, got {size}; {MEND}")
    if file_spec(path) != wanted:
        raise InputError(f"{path}: changed since it was written (its sha256 differs); {MEND}")
