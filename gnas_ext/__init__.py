"""Fast sparse ops for PyTorch, and a search for small graph recommenders on top of them.

`from gnas_ext import CSR, ops` is all that a project that wants the ops needs; it costs torch and numpy. For people
with a log there are `gnas_ext.read_log`, `gnas_ext.search` and `gnas_ext.load`, which load on first use and need the
extra `gnas_ext[search]`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gnas_ext import memory
from gnas_ext._native import build_info, set_simd_level, simd_level, simd_levels
from gnas_ext.graph.csr import CSR

if TYPE_CHECKING:
    from gnas_ext.data import read_log
    from gnas_ext.recommend import load

__all__ = [
    "CSR",
    "build_info",
    "load",
    "memory",
    "ops",
    "read_log",
    "search",
    "set_simd_level",
    "simd_level",
    "simd_levels",
]
__version__ = "0.1.0"

# Loaded on first use: module, and the name in it (the module itself where there is none).
_LATER = {
    "read_log": ("gnas_ext.data", "read_log"),
    "load": ("gnas_ext.recommend", "load"),
    "search": ("gnas_ext.search", None),
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'gnas_ext' has no attribute {name!r}")
    module, attribute = _LATER[name]
    try:
        loaded = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.startswith("gnas_ext"):
            raise
        raise ModuleNotFoundError(
            f"gnas_ext.{name} needs {error.name}: pip install 'gnas_ext[search]'", name=error.name
        ) from error
    return loaded if attribute is None else getattr(loaded, attribute)
