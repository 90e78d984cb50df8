"""What does an artefact say about itself? `manifest.json`: what was found, how good it is, and a hash of every file."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gnas_ext.data.interactions import Step
from gnas_ext.errors import InputError
from gnas_ext.evaluate.compare import ModelResult
from gnas_ext.recommend._fields import Fields, Json
from gnas_ext.recommend.provenance import Provenance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

FORMAT = "gnas_ext artefact"
SCHEMA_VERSION = 2  # 1 had no spreads, and seen items as they are in memory; it still loads
OLDEST_SCHEMA = 1
NEEDS = "gnas_ext>=0.1.0"  # the first release that reads SCHEMA_VERSION; an older one names it when it refuses
MANIFEST = "manifest.json"
MODEL = "model.safetensors"
SEEN = "seen.safetensors"
USERS = "users.parquet"
ITEMS = "items.parquet"
CARD = "card.md"
FILES = (MODEL, SEEN, USERS, ITEMS, CARD)
LARGEST_MANIFEST = 4 << 20  # bytes; a real one has a few thousand
LARGEST_COUNT = 2**31 - 1  # users, items; their codes are int32
MEND = "copy the artefact again from where it was made, or make it anew with `gnas-ext search`"


@dataclass(frozen=True)
class TensorSpec:
    """Type and shape of one tensor of `model.safetensors`."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of its numbers, of a dtype that NumPy knows."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class FileSpec:
    """Length and hash of one file."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What `manifest.json` holds.

    Attributes:
        name: the model's name among those of `comparison`.
        kind: "factors", "coded_factors", "popularity", "item_knn", "graph_filter" or "item_weights": which tensors
            there are, and how they score.
        genotype: what the search chose, gene by gene.
        metrics: figures of this model on the test set ("ndcg@20").
        spread: how far such a figure may be off by the choice of test users: the standard error of the mean over
            them; none for figures that are no means.
        comparison: this model and those it was measured beside.
        provenance: the data, its cleaning, the versions.
        n_users: users that it serves.
        n_items: items that it recommends.
        size_bytes: bytes of all that scoring needs, as the model counts them: the tensors of `model.safetensors` and,
            for an item_knn, what users have touched, which stands in `seen.safetensors` alone.
        schema: version of the folder's layout.
        tensors: type and shape of each tensor of `model.safetensors`.
        files: length and hash of every other file of the folder.
    """

    name: str
    kind: str
    genotype: Mapping[str, Json]
    metrics: Mapping[str, float]
    spread: Mapping[str, float]
    comparison: tuple[ModelResult, ...]
    provenance: Provenance
    n_users: int
    n_items: int
    size_bytes: int
    tensors: Mapping[str, TensorSpec]
    files: Mapping[str, FileSpec]
    schema: int = SCHEMA_VERSION

    def to_json(self) -> str:
        """The text of `manifest.json`. Figures that are not finite become null.

        Raises:
            TypeError: the genotype holds something that JSON has no form for.
        """
        origin = self.provenance
        content: dict[str, Json] = {
            "format": FORMAT,
            "schema_version": SCHEMA_VERSION,
            "needs": NEEDS,
            "name": self.name,
            "kind": self.kind,
            "genotype": dict(self.genotype),
            "metrics": _finite(self.metrics),
            "spread": _finite(self.spread),
            "comparison": [
                {
                    "name": result.name,
                    "metrics": _finite(result.metrics),
                    "spread": _finite(result.spread),
                    "size_bytes": result.size_bytes,
                    "latency_ms": _finite_or_none(result.latency_ms),
                }
                for result in self.comparison
            ],
            "provenance": {
                "data": origin.data,
                "steps": [
                    {
                        "name": step.name,
                        "rows_before": step.rows_before,
                        "rows_after": step.rows_after,
                        "note": step.note,
                    }
                    for step in origin.steps
                ],
                "guesses": list(origin.guesses),
                "split_method": origin.split_method,
                "fingerprint": origin.fingerprint,
                "versions": dict(origin.versions),
                "command": origin.command,
            },
            "n_users": self.n_users,
            "n_items": self.n_items,
            "size_bytes": self.size_bytes,
            "tensors": {name: {"dtype": spec.dtype, "shape": list(spec.shape)} for name, spec in self.tensors.items()},
            "files": {name: {"bytes": spec.bytes, "sha256": spec.sha256} for name, spec in self.files.items()},
        }
        content["sha256"] = _own_hash(content)
        return json.dumps(content, indent=2, allow_nan=False) + "\n"


def read_manifest(folder: Path) -> Manifest:
    """Reads and checks `manifest.json`.

    Raises:
        InputError: it is missing, damaged, of another program, of a newer schema, or says what cannot be.
    """
    path = folder / MANIFEST
    content = _parse(path)
    fields = Fields(content, str(path))
    if content.get("format") != FORMAT:
        raise InputError(f'{path}: not a manifest of gnas_ext; expected "format": "{FORMAT}"')
    schema = fields.count("schema_version")
    if schema > SCHEMA_VERSION:
        needed = fields.text("needs")
        raise InputError(
            f"{path}: schema version {schema} is newer than this gnas_ext reads ({SCHEMA_VERSION}); "
            f"install {_requirement(needed)}"
        )
    if schema < OLDEST_SCHEMA:
        raise InputError(f"{path}: there is no schema version {schema}; expected {OLDEST_SCHEMA} … {SCHEMA_VERSION}")
    given = content.pop("sha256", None)
    if given != _own_hash(content):
        raise InputError(f"{path}: changed since it was written (its own sha256 differs); {MEND}")
    manifest = _manifest(fields, path, schema)
    if max(manifest.n_users, manifest.n_items) > LARGEST_COUNT:
        raise InputError(f"{path}: expected at most {LARGEST_COUNT} users and items; {MEND}")
    return manifest


def is_artefact(folder: Path) -> bool:
    """Whether a folder holds an artefact of ours, of whatever version and however damaged its other files are."""
    try:
        return _parse(folder / MANIFEST).get("format") == FORMAT
    except InputError:
        return False


def _parse(path: Path) -> dict[str, Json]:
    if not path.is_file():
        raise InputError(f"{path}: file is missing; an artefact is the whole folder that `gnas-ext search` writes")
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_MANIFEST + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if len(text) > LARGEST_MANIFEST:
        raise InputError(f"{path}: expected at most {LARGEST_MANIFEST} bytes, got more; {MEND}")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON; {MEND}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a JSON object; {MEND}")
    return content


def _manifest(fields: Fields, path: Path, schema: int) -> Manifest:
    files = {}
    listed = fields.fields("files")
    if unknown := [name for name in listed.names() if name not in FILES]:
        raise InputError(f"{path}: names the file {unknown[0]!r}; expected {', '.join(FILES)} and nothing else")
    for name in FILES:
        spec = listed.fields(name)
        files[name] = FileSpec(spec.count("bytes"), spec.text("sha256"))
    tensors = {}
    for name in fields.fields("tensors").names():
        spec = fields.fields("tensors").fields(name)
        tensors[name] = TensorSpec(spec.text("dtype"), spec.counts("shape"))
    origin = fields.fields("provenance")
    return Manifest(
        name=fields.text("name"),
        kind=fields.text("kind"),
        genotype=fields.anything("genotype"),
        metrics=fields.numbers("metrics"),
        spread=_spread(fields, schema),
        comparison=tuple(
            ModelResult(
                name=row.text("name"),
                metrics=row.numbers("metrics"),
                size_bytes=row.count("size_bytes"),
                latency_ms=row.number("latency_ms"),
                spread=_spread(row, schema),
            )
            for row in fields.objects("comparison")
        ),
        provenance=Provenance(
            data=origin.text("data"),
            steps=_steps(origin.objects("steps")),
            guesses=origin.strings("guesses"),
            split_method=origin.text("split_method"),
            fingerprint=origin.text("fingerprint"),
            versions=origin.texts("versions"),
            command=origin.text("command"),
        ),
        n_users=fields.count("n_users"),
        n_items=fields.count("n_items"),
        size_bytes=fields.count("size_bytes"),
        tensors=tensors,
        files=files,
        schema=schema,
    )


def _spread(fields: Fields, schema: int) -> dict[str, float]:
    return fields.numbers("spread") if schema > 1 else {}


def _steps(rows: Sequence[Fields]) -> tuple[Step, ...]:
    return tuple(
        Step(row.text("name"), row.count("rows_before"), row.count("rows_after"), row.text("note")) for row in rows
    )


def _own_hash(content: Mapping[str, Json]) -> str:
    """Of everything in the manifest but this hash itself, in one fixed spelling."""
    try:
        spelled = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except ValueError:  # NaN or an infinity, which we never write
        return ""
    return hashlib.sha256(spelled.encode()).hexdigest()


def _requirement(text: str) -> str:
    """What a newer artefact asks for, if it is a requirement on gnas_ext and nothing else: people will paste it."""
    name, mark, version = text.partition(">=")
    if name == "gnas_ext" and mark and version.replace(".", "").isalnum() and len(version) <= 20:
        return text
    return "the latest gnas_ext"


def _finite(figures: Mapping[str, float]) -> dict[str, Json]:
    return {name: _finite_or_none(value) for name, value in figures.items()}


def _finite_or_none(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
