"""What should a person know before using a model? The text of `card.md`."""

from __future__ import annotations

import math
from importlib import resources
from typing import TYPE_CHECKING

import jinja2

from gnas_ext.evaluate.cost import human_bytes

if TYPE_CHECKING:
    from gnas_ext.recommend.manifest import Manifest


def card(manifest: Manifest) -> str:
    """A model card in Markdown: what it is, its data, its figures beside the baselines', how to use it, its limits."""
    # Nothing here is HTML; what could break the tables or the prose is taken out by `plain`.
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    environment.filters |= {"plain": _plain, "bytes": human_bytes, "figure": _figure}
    template = resources.files(__package__).joinpath("card.md.j2").read_text(encoding="utf-8")
    tables = [spec for name, spec in manifest.tensors.items() if name.endswith(".rows")]
    return environment.from_string(template).render(
        manifest=manifest,
        origin=manifest.provenance,
        bits=max((_BITS[spec.dtype] for spec in tables), default=0),
        width=max((spec.shape[1] for spec in tables), default=0),
        prior=any(name.startswith("prior") for name in manifest.tensors),
        row_bytes={
            "user": _bytes_of(manifest, "user.") / max(1, manifest.n_users),
            "item": _bytes_of(manifest, "item.") / max(1, manifest.n_items),
        },
    )


_BITS = {"int8": 8, "float32": 32}


def _bytes_of(manifest: Manifest, prefix: str) -> int:
    return sum(spec.size_bytes for name, spec in manifest.tensors.items() if name.startswith(prefix))


def _plain(value: object) -> str:
    """A value as Markdown text of one line: what a table or a link is made of stands as itself."""
    words = " ".join(str(value).split())
    for mark in "\\|`*_<>[]":
        words = words.replace(mark, f"\\{mark}")
    return words


def _figure(value: float | None, digits: int = 4) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"
