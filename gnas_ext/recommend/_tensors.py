"""How are named arrays written to a file, and read back from a stranger's without trusting them?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from gnas_ext.errors import InputError
from gnas_ext.recommend.manifest import MEND, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

_LARGEST_HEADER = 1 << 16  # bytes; a real one has a few hundred


class Tensors:
    """The arrays of one file; what is taken from it is checked, and a refusal names the file and the array.

    Args:
        path: where they stand.
        arrays: by name.
    """

    def __init__(self, path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.path = path
        self._arrays = arrays

    @classmethod
    def read(cls, path: Path) -> Tensors:
        """All arrays of a safetensors file; InputError where it is none, or where its header is out of proportion."""
        try:
            with path.open("rb") as raw:
                header = int.from_bytes(raw.read(8), "little")
            if header > _LARGEST_HEADER:
                raise ValueError(f"a header of {header} bytes, expected {_LARGEST_HEADER} at most")
            with safe_open(path, framework="np") as file:
                return cls(path, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 - no mapping
        except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(f"{path}: not a readable safetensors file ({error}); {MEND}") from error

    def refuse(self, reason: str) -> InputError:
        """What to raise."""
        return InputError(f"{self.path}: {reason}; {MEND}")

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._arrays[name]

    def check_names(self, needed: Sequence[str], optional: Sequence[str]) -> None:
        """InputError unless all needed arrays are there, and none that is not named."""
        known = (*needed, *optional)
        for name in sorted(self._arrays):
            if name not in known:
                raise self.refuse(f"unknown tensor {name!r}; expected {', '.join(known)}")
        for name in needed:
            if name not in self:
                raise self.refuse(f"tensor {name} is missing")

    def check_specs(self, specs: Mapping[str, TensorSpec]) -> None:
        """InputError unless the arrays are of the types and shapes that the manifest says."""
        got = {name: TensorSpec(str(array.dtype), array.shape) for name, array in self._arrays.items()}
        for name in sorted(got.keys() | specs.keys()):
            if got.get(name) != specs.get(name):
                says, has = _words(specs.get(name)), _words(got.get(name))
                raise self.refuse(f"{name}: the manifest says {says}, the file has {has}")

    def typed(self, name: str, *dtypes: str) -> NDArray[Any]:
        """An array, of one of the types."""
        array = self[name]
        if str(array.dtype) not in dtypes:
            raise self.refuse(f"{name}: expected {' or '.join(dtypes)}, got {array.dtype}")
        return array

    def floats(self, name: str) -> Tensor:
        """Finite float32 numbers."""
        array = self.typed(name, "float32")
        if not np.isfinite(array).all():
            raise self.refuse(f"{name}: expected finite numbers, got NaN or infinity")
        return torch.from_numpy(array)

    def vector(self, name: str, length: int) -> Tensor:
        """As many finite float32 numbers."""
        array = self.floats(name)
        if array.shape != (length,):
            raise self.refuse(f"expected {name} of shape [{length}], got {list(array.shape)}")
        return array

    def codes(self, name: str) -> Tensor:
        """int8 numbers in -127 … 127."""
        array = self.typed(name, "int8")
        if np.any(array == -128):
            raise self.refuse(f"{name}: expected codes in -127 … 127, got -128")
        return torch.from_numpy(array)

    def rows(self, names: tuple[str, str], n_rows: int, n_cols: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Compressed rows that can be used: pointers that rise from 0 to the end, columns in range, rising in a row."""
        indptr, items = self[names[0]], self[names[1]]
        if indptr.ndim != 1 or items.ndim != 1:
            raise self.refuse(
                f"expected {names[0]} and {names[1]}, one-dimensional, got {indptr.ndim} and {items.ndim}"
            )
        if len(indptr) != n_rows + 1:
            raise self.refuse(f"expected {names[0]} of length {n_rows + 1} (rows + 1), got {len(indptr)}")
        if indptr[0] != 0 or indptr[-1] != len(items) or np.any(indptr[1:] < indptr[:-1]):
            raise self.refuse(f"expected {names[0]} to rise from 0 to {len(items)}")
        if len(items) and (items.min() < 0 or items.max() >= n_cols):
            raise self.refuse(f"expected {names[1]} in 0 … {n_cols - 1}, got {items.min()} … {items.max()}")
        falls = np.flatnonzero(items[1:] <= items[:-1]) + 1
        if not np.isin(falls, indptr).all():
            raise self.refuse(f"expected {names[1]} of each row in rising order")
        return indptr, items


def specs_of(tensors: Mapping[str, Tensor]) -> dict[str, TensorSpec]:
    """Type and shape of each tensor, as `Tensors.check_specs` wants them."""
    return {name: TensorSpec(str(tensor.numpy().dtype), tuple(tensor.shape)) for name, tensor in tensors.items()}


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes tensors as they are."""
    write_arrays(path, {name: tensor.numpy() for name, tensor in tensors.items()})


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes arrays as they are, to be read by whoever may read the folder."""
    save_file(dict(arrays), path)
    # safetensors lets nobody else read what it writes, and what serves may be somebody else.
    path.chmod(path.parent.stat().st_mode & 0o666)


def _words(spec: TensorSpec | None) -> str:
    return "nothing" if spec is None else f"{spec.dtype} {list(spec.shape)}"
