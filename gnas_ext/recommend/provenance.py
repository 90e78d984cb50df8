"""Where does a model come from? The data it saw, what was done to it, and the programs that did it."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from gnas_ext.data.interactions import Interactions, Step

PACKAGES = ("gnas_ext", "torch", "numpy", "polars", "safetensors")


@dataclass(frozen=True)
class Provenance:
    """What somebody must know to make a model again.

    Attributes:
        data: what the log is, for people ("MovieTweetings 100k", a file name).
        steps: what reading and cleaning did, in order.
        guesses: what was guessed about the file.
        split_method: how the log was cut, for people.
        fingerprint: of the training data, see `fingerprint`.
        versions: version of each package, see `package_versions`.
        command: what to type to make it again; empty where it was made from Python.
    """

    data: str
    steps: tuple[Step, ...]
    split_method: str
    fingerprint: str
    guesses: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    command: str = ""


def fingerprint(train: Interactions, user_ids: pl.Series, item_ids: pl.Series) -> str:
    """Says whether two models were trained on the same data: equal rows in equal order, ids and times included.

    Args:
        train: the training rows.
        user_ids: the id behind each user code; ids behind codes that training lacks do not count.
        item_ids: the same for items.

    Returns:
        "sha256:" and 64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for codes, ids in ((train.user, user_ids), (train.item, item_ids)):
        known = ids.gather(np.unique(codes)).to_list()
        digest.update(json.dumps(known).encode())
        digest.update(codes.astype("<i4").tobytes())
    digest.update(b"no times" if train.timestamp is None else train.timestamp.astype("<i8").tobytes())
    return f"sha256:{digest.hexdigest()}"


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide what comes out; those that are not installed are left out."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
