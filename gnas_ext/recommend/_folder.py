"""How is a folder or a file replaced without a moment in which it is half written? By renaming a finished sibling."""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def previous(target: Path) -> Path:
    """Where the old folder stands for the moment between two renames, and is found again after a crash there."""
    return target.with_name(f".{target.name}.previous")


def recover(target: Path) -> None:
    """Puts the old folder back where a crash between two renames left none."""
    if not target.exists() and previous(target).exists():
        os.rename(previous(target), target)


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Gives an empty sibling of `target`; it takes the place of `target` when the block ends without an error.

    Whatever happens in the block, `target` is either as before or complete. The caller decides beforehand whether
    an existing `target` may go.

    Raises:
        OSError: the disk is full, or the folder above `target` cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    fresh.mkdir()
    try:
        yield fresh
        _flush(fresh)
        if target.exists():
            _swap(fresh, target)
        else:
            os.rename(fresh, target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


@contextmanager
def replacing_file(target: Path) -> Iterator[Path]:
    """The same for a file: gives the name of a sibling that the block writes.

    Raises:
        OSError: the disk is full, or the folder above `target` cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    # The ending stays: some writers go by it.
    fresh = target.with_name(f".{target.stem}.{secrets.token_hex(4)}.tmp{target.suffix}")
    try:
        yield fresh
        _to_disk(fresh)
        os.replace(fresh, target)
        _to_disk(target.parent)
    finally:
        fresh.unlink(missing_ok=True)


def _swap(fresh: Path, target: Path) -> None:
    old = previous(target)
    shutil.rmtree(old, ignore_errors=True)
    os.rename(target, old)
    try:
        os.rename(fresh, target)
    except OSError:
        os.rename(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _flush(folder: Path) -> None:
    """Has the contents on the disk before the rename is: after a power failure a rename may outlive what it names."""
    for path in (*folder.iterdir(), folder):
        _to_disk(path)


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
