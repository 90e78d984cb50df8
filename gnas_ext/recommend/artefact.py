"""What is shipped? A folder: the model's tensors, the ids behind its rows, who has seen what, and a card for people."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from gnas_ext.errors import InputError
from gnas_ext.recommend import _folder
from gnas_ext.recommend._id_files import check_before_writing
from gnas_ext.recommend._kinds import kind_of, tensors_of
from gnas_ext.recommend._seen import write_seen
from gnas_ext.recommend._tensors import specs_of, write_tensors
from gnas_ext.recommend.card import card
from gnas_ext.recommend.manifest import (
    CARD,
    FILES,
    ITEMS,
    MANIFEST,
    MODEL,
    SEEN,
    USERS,
    FileSpec,
    Manifest,
    is_artefact,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from gnas_ext.evaluate.compare import ModelResult
    from gnas_ext.evaluate.seen import SeenItems
    from gnas_ext.models.base import Model
    from gnas_ext.recommend._fields import Json
    from gnas_ext.recommend.provenance import Provenance

FACTS = ("title", "genres")


def save_artefact(
    folder: str | os.PathLike[str],
    *,
    model: Model,
    user_ids: pl.Series,
    item_ids: pl.Series,
    seen: SeenItems,
    genotype: Mapping[str, Json],
    metrics: Mapping[str, float],
    provenance: Provenance,
    spread: Mapping[str, float] | None = None,
    name: str = "found model",
    comparison: Sequence[ModelResult] = (),
    titles: pl.DataFrame | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes a trained model as a folder that `load` reads.

    The folder appears whole or not at all; an artefact that it replaces stays until the new one is complete. The
    same arguments give the same bytes.

    Args:
        folder: where to; folders above it are made.
        model: what to ship: a model of one of the kinds of `_kinds.py`.
        user_ids: the id behind each user code, strings or whole numbers. There may be more of them than the model has
            rows, as in a `Split`: ids without a row are left out.
        item_ids: the same for items.
        seen: training items of each user, for all users of the model. With an ItemKNN it is the model's history, which
            is stored here and not a second time with the model.
        genotype: what the search chose; JSON values.
        metrics: figures of this model on the test set ("ndcg@20"); those that are not finite read back as NaN.
        provenance: the data and what was done to it.
        spread: standard error of those figures ("ndcg@20"), where it is known.
        name: the model's name in `comparison`.
        comparison: the models that were measured in one run, this one among them.
        titles: facts about items: columns `item` (its id), `title`, `genres`; the last two may be missing.
        overwrite: replace an artefact that is already there.

    Returns:
        The folder.

    Raises:
        InputError: the folder holds something else, or holds an artefact and `overwrite` is not set, or cannot be
            written; or the model holds NaN or infinity; or ids or titles are longer than 512 bytes on average and
            come to more than 32 MiB.
        TypeError: a model of another class.
        ValueError: arguments that do not fit together.
    """
    target = Path(folder).resolve()
    ids = _ids("user", user_ids, model.n_users), _ids("item", item_ids, model.n_items)
    if seen.n_users != model.n_users:
        raise ValueError(f"save_artefact: expected seen items of {model.n_users} users, got {seen.n_users}")
    if seen.items.max(initial=-1) >= model.n_items:
        raise ValueError(f"save_artefact: expected seen items below {model.n_items}, got {seen.items.max()}")
    users, items = ids[0].to_frame("user"), _with_facts(ids[1], titles)
    for table in (users, items):
        check_before_writing(table)
    tensors = tensors_of(model, seen)
    try:
        _folder.recover(target)
        _check_target(target, overwrite)
        with _folder.replacing(target) as fresh:
            write_tensors(fresh / MODEL, tensors)
            write_seen(fresh / SEEN, seen)
            users.write_parquet(fresh / USERS)
            items.write_parquet(fresh / ITEMS)
            manifest = Manifest(
                name=name,
                kind=kind_of(model).name,
                genotype=genotype,
                metrics=metrics,
                spread=spread or {},
                comparison=tuple(comparison),
                provenance=provenance,
                n_users=model.n_users,
                n_items=model.n_items,
                size_bytes=model.size_bytes(),
                tensors=specs_of(tensors),
                files={},
            )
            (fresh / CARD).write_text(card(manifest), encoding="utf-8")
            hashed = {file: file_spec(fresh / file) for file in FILES}
            (fresh / MANIFEST).write_text(replace(manifest, files=hashed).to_json(), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{target}: the artefact cannot be written: {error.strerror or error}") from error
    return target


def _ids(what: str, ids: pl.Series, count: int) -> pl.Series:
    """The ids of the codes that the model knows."""
    if ids.dtype != pl.String and not ids.dtype.is_integer():
        raise ValueError(f"save_artefact: expected {what} ids that are strings or whole numbers, got {ids.dtype}")
    if len(ids) < count:
        raise ValueError(f"save_artefact: expected {count} {what} ids, one a row of the model, got {len(ids)}")
    if count == 0:
        raise ValueError(f"save_artefact: expected a model of at least one {what}, got none")
    kept = ids.head(count)
    if kept.null_count() or kept.n_unique() < count:
        raise ValueError(f"save_artefact: expected {what} ids without nulls, none twice")
    return kept


def _with_facts(item_ids: pl.Series, titles: pl.DataFrame | None) -> pl.DataFrame:
    """Items in code order with title and genres, null where they are not known."""
    items = item_ids.to_frame("item")
    known = pl.DataFrame({"item": item_ids.head(0)}) if titles is None else titles
    facts = known.select(
        pl.col("item").cast(item_ids.dtype, strict=False),
        *(
            pl.col(fact).cast(pl.String) if fact in known.columns else pl.lit(None, pl.String).alias(fact)
            for fact in FACTS
        ),
    )
    return items.join(facts.unique("item", keep="last"), on="item", how="left", maintain_order="left")


def _check_target(target: Path, overwrite: bool) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise InputError(f"{target}: is a file; an artefact is a folder, name another")
    others = sorted({path.name for path in target.iterdir()} - {*FILES, MANIFEST})
    if is_artefact(target):
        if not overwrite:
            raise InputError(f"{target}: an artefact is already there; name another folder or allow overwriting")
        if others:
            raise InputError(f"{target}: also holds {others[0]}, which overwriting would delete; move it away first")
    elif any(target.iterdir()):
        raise InputError(f"{target}: holds other files and no artefact; name a new or an empty folder")


def file_spec(path: Path) -> FileSpec:
    """Length and hash of a file."""
    with path.open("rb") as file:
        return FileSpec(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())
