"""How does a model become tensors with names, and how are those read back without trusting them?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from gnas_ext.errors import InputError
from gnas_ext.evaluate.seen import SeenItems
from gnas_ext.models.factors import FactorModel, Table
from gnas_ext.recommend.manifest import MEND, MODEL, SEEN, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray
    from torch import Tensor

USER_ROWS, USER_SCALE = "user.rows", "user.scale"
ITEM_ROWS, ITEM_SCALE = "item.rows", "item.scale"
PRIOR = "prior"
INDPTR, INDICES = "indptr", "items"


def tensors_of(model: FactorModel) -> dict[str, Tensor]:
    """Every tensor of a model under the name that it has in `model.safetensors`."""
    named = {
        USER_ROWS: model.user.rows,
        USER_SCALE: model.user.scale,
        ITEM_ROWS: model.item.rows,
        ITEM_SCALE: model.item.scale,
        PRIOR: model.prior,
    }
    return {name: tensor.detach().cpu().contiguous() for name, tensor in named.items() if tensor is not None}


def specs_of(tensors: Mapping[str, Tensor]) -> dict[str, TensorSpec]:
    """Type and shape of each tensor."""
    return {name: TensorSpec(_dtype(tensor.numpy()), tuple(tensor.shape)) for name, tensor in tensors.items()}


def write_model(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes the tensors as they are."""
    save_file({name: tensor.numpy() for name, tensor in tensors.items()}, path)


def write_seen(path: Path, seen: SeenItems) -> None:
    """Writes what each user has touched in training."""
    save_file({INDPTR: seen.indptr, INDICES: seen.items}, path)


def read_model(folder: Path, specs: Mapping[str, TensorSpec]) -> FactorModel:
    """Reads a model and checks every number of it.

    Args:
        folder: the artefact.
        specs: type and shape of each tensor, as the manifest has them.

    Raises:
        InputError: the file is damaged, holds other tensors than the manifest says, tensors that do not fit
            together, codes outside -127 … 127, or numbers that are not finite.
    """
    path = folder / MODEL
    found = _read(path)
    _check_specs(path, found, specs)
    try:
        model = FactorModel(
            user=_table(path, found, USER_ROWS, USER_SCALE),
            item=_table(path, found, ITEM_ROWS, ITEM_SCALE),
            prior=_floats(path, PRIOR, found.get(PRIOR)),
        )
    except (ValueError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: {error}; {MEND}") from error
    if model.user.rows.shape[1] != model.item.rows.shape[1]:
        widths = f"{model.user.rows.shape[1]} and {model.item.rows.shape[1]}"
        raise InputError(f"{path}: expected user rows as wide as item rows, got {widths}; {MEND}")
    if model.prior is not None and model.prior.shape != (model.n_items,):
        raise InputError(f"{path}: expected {PRIOR} of shape [{model.n_items}], got {list(model.prior.shape)}; {MEND}")
    return model


def read_seen(folder: Path, n_users: int, n_items: int) -> SeenItems:
    """Reads what each user has touched in training and checks that every index can be used.

    Raises:
        InputError: the file is damaged, is not for this many users, or points at an item that there is not.
    """
    path = folder / SEEN
    found = _read(path)
    wanted = {INDPTR: "int64", INDICES: "int32"}
    got = {name: _dtype(array) for name, array in found.items()}
    if got != wanted or any(array.ndim != 1 for array in found.values()):
        raise InputError(f"{path}: expected {_words(wanted)}, one-dimensional, got {_words(got)}; {MEND}")
    indptr, items = found[INDPTR], found[INDICES]
    if len(indptr) != n_users + 1:
        raise InputError(f"{path}: expected {INDPTR} of length {n_users + 1} (users + 1), got {len(indptr)}; {MEND}")
    if indptr[0] != 0 or indptr[-1] != len(items) or np.any(indptr[1:] < indptr[:-1]):
        raise InputError(f"{path}: expected {INDPTR} to rise from 0 to {len(items)}; {MEND}")
    if len(items) and (items.min() < 0 or items.max() >= n_items):
        raise InputError(f"{path}: expected items in 0 … {n_items - 1}, got {items.min()} … {items.max()}; {MEND}")
    falls = np.flatnonzero(items[1:] <= items[:-1]) + 1
    if not np.isin(falls, indptr).all():
        raise InputError(f"{path}: expected each user's items in rising order; {MEND}")
    return SeenItems(indptr=indptr, items=items)


def _read(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with safe_open(path, framework="np") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error}); {MEND}") from error


def _check_specs(path: Path, found: Mapping[str, NDArray[Any]], specs: Mapping[str, TensorSpec]) -> None:
    got = {name: TensorSpec(_dtype(array), array.shape) for name, array in found.items()}
    known = {USER_ROWS, USER_SCALE, ITEM_ROWS, ITEM_SCALE, PRIOR}
    for name in sorted(known | got.keys() | specs.keys()):
        if name not in known and name in got:
            raise InputError(f"{path}: unknown tensor {name!r}; expected {', '.join(sorted(known))}; {MEND}")
        if got.get(name) != specs.get(name):
            raise InputError(
                f"{path}: {name}: the manifest says {_spec_words(specs.get(name))}, "
                f"the file has {_spec_words(got.get(name))}; {MEND}"
            )
    for name in (USER_ROWS, ITEM_ROWS):
        if name not in got:
            raise InputError(f"{path}: tensor {name} is missing; {MEND}")


def _table(path: Path, found: Mapping[str, NDArray[Any]], rows: str, scale: str) -> Table:
    codes = found[rows]
    if codes.dtype == np.int8:
        if np.any(codes == -128):
            raise InputError(f"{path}: {rows}: expected codes in -127 … 127, got -128; {MEND}")
        return Table(torch.from_numpy(codes), _floats(path, scale, found.get(scale)))
    kept = _floats(path, rows, codes)
    assert kept is not None
    return Table(kept, _floats(path, scale, found.get(scale)))


def _floats(path: Path, name: str, array: NDArray[Any] | None) -> Tensor | None:
    if array is None:
        return None
    if array.dtype != np.float32:
        raise InputError(f"{path}: {name}: expected float32, got {_dtype(array)}; {MEND}")
    if not np.isfinite(array).all():
        raise InputError(f"{path}: {name}: expected finite numbers, got NaN or infinity; {MEND}")
    return torch.from_numpy(array)


def _dtype(array: NDArray[Any]) -> str:
    return str(array.dtype)


def _words(dtypes: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {dtype}" for name, dtype in sorted(dtypes.items())) or "nothing"


def _spec_words(spec: TensorSpec | None) -> str:
    return "nothing" if spec is None else f"{spec.dtype} {list(spec.shape)}"
