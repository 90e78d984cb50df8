"""How do other programs use what was found? As lists, as vectors, or as a scorer, each checked before it is there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from gnas_ext.errors import InputError
from gnas_ext.recommend import _folder
from gnas_ext.recommend.export.lists import write_lists
from gnas_ext.recommend.export.onnx_graph import write_onnx
from gnas_ext.recommend.export.scorer import write_program
from gnas_ext.recommend.export.vectors import HOLDS, write_vectors

if TYPE_CHECKING:
    import os

    from gnas_ext.recommend.recommender import Recommender

Form = Literal["parquet", "faiss", "torch", "onnx"]
FORMS: tuple[Form, ...] = get_args(Form)

__all__ = ["FORMS", "Form", "export"]


def export(
    recommender: Recommender,
    to: Form,
    out: str | os.PathLike[str],
    *,
    k: int = 20,
    exclude_seen: bool = True,
    overwrite: bool = False,
) -> Path:
    """Writes a recommender in another form and compares what was written with the recommender's own scores.

    What disagrees is not kept. `out` is there whole or not at all.

    Args:
        recommender: a loaded artefact.
        to: "parquet": the k best items of every user, one file, written a block of users at a time, columns as
            `Recommender.recommend` gives them. "faiss": `user.npy` and `item.npy`, float32, whose inner products are
            the scores, and the id behind each row as Parquet, in a folder. "torch": a program of `torch.export` (.pt2).
            "onnx": an ONNX graph (the extra `export`). The last two score all items for a batch of users.
        out: the file, or for faiss the folder, to write.
        k: length of the lists.
        exclude_seen: leave out of the lists what a user has touched.
        overwrite: replace what is there already.

    Returns:
        Where it was written.

    Raises:
        InputError: a form that this kind of model has not, k below 1, something there already, a disk that is full,
            or an export that scores otherwise.
    """
    target = Path(out).resolve()
    if to not in FORMS:
        raise InputError(f"export: expected one of {', '.join(FORMS)}, got {to!r}")
    if k < 1:
        raise InputError(f"export: expected k of 1 or more, got {k}")
    _check_target(target, to == "faiss", overwrite)
    try:
        with _folder.replacing(target) if to == "faiss" else _folder.replacing_file(target) as fresh:
            match to:
                case "parquet":
                    write_lists(recommender, fresh, k, exclude_seen)
                case "faiss":
                    write_vectors(recommender, fresh)
                case "torch":
                    write_program(recommender.model, fresh)
                case "onnx":
                    write_onnx(recommender.model, fresh)
    except OSError as error:
        raise InputError(f"{target}: the export cannot be written: {error.strerror or error}") from error
    return target


def _check_target(target: Path, folder: bool, overwrite: bool) -> None:
    if not target.exists():
        return
    if target.is_dir() != folder:
        raise InputError(f"{target}: is a {'file' if folder else 'folder'}; name another")
    if folder and (others := sorted({path.name for path in target.iterdir()} - HOLDS)):
        raise InputError(f"{target}: also holds {others[0]}; name a new or an empty folder")
    if not overwrite and not (folder and not any(target.iterdir())):
        raise InputError(f"{target}: is already there; name another or allow overwriting (--overwrite)")
