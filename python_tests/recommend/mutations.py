"""How does a folder go wrong? Its files change byte by byte, or by people who know the formats and mend the hashes."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import pickle
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from safetensors.numpy import load, save

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping


@dataclass(frozen=True)
class Link:
    """A symbolic link in place of a file."""

    target: str


@dataclass(frozen=True)
class Folder:
    """A folder in place of a file."""


# What stands under a name; None for nothing.
Content: TypeAlias = bytes | Link | Folder | None
Files: TypeAlias = "dict[str, Content]"

MANIFEST, MODEL, SEEN, CARD = "manifest.json", "model.safetensors", "seen.safetensors", "card.md"
TABLES = ("users.parquet", "items.parquet")
_NUMBERS = (0, 1, -1, 2, 7, 127, 128, 255, 256, 2**15, 2**16, 2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 10**30)
_VALUES: tuple[Any, ...] = (
    *_NUMBERS,
    None,
    True,
    "",
    "x",
    [],
    {},
    [1],
    {"a": 1},
    0.5,
    1e308,
    "../../etc/passwd",
    "\ud800",
)
_DTYPES = (
    "F32",
    "F16",
    "BF16",
    "F64",
    "I8",
    "U8",
    "I16",
    "U16",
    "I32",
    "U32",
    "I64",
    "U64",
    "BOOL",
    "F8_E4M3",
    "F4",
    "x",
)
_DEEP = 3000

sprung: list[str] = []


def spring(what: str) -> None:
    """Notes that something was executed."""
    sprung.append(what)


class Trap:
    """A pickle that says so when it is read."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return spring, ("unpickled",)


def mutate(rng: random.Random, files: Mapping[str, bytes], other: Mapping[str, bytes]) -> tuple[Files, bool]:
    """Some files as they are after an accident or an attack.

    Args:
        rng: what is drawn from.
        files: a whole artefact.
        other: a whole artefact of another kind, to take pieces from.

    Returns:
        The files that differ, and whether the hashes fit again: whoever did it wants to be believed.
    """
    sealed = rng.random() < 0.75
    name = rng.choice(list(files))
    changed: Files = {name: _damaged(rng, name, files[name], other)}
    while rng.random() < 0.15:
        name = rng.choice(list(files))
        before = changed.get(name, files[name])
        if isinstance(before, bytes):
            changed[name] = _damaged(rng, name, before, other)
    if sealed:
        _seal(changed, files, specs=rng.random() < 0.7)
    return {name: content for name, content in changed.items() if content != files.get(name)}, sealed


def _damaged(rng: random.Random, name: str, content: bytes, other: Mapping[str, bytes]) -> Content:
    if rng.random() < 0.03:
        return _replaced(rng, name, other)
    if name in _KNOWING and rng.random() < 0.6:
        try:
            return rng.choice(_KNOWING[name])(rng, content)
        except Exception:  # what is damaged already cannot be changed with knowledge
            return _bytewise(rng, content, other[name])
    return _bytewise(rng, content, other[name])


def _replaced(rng: random.Random, name: str, other: Mapping[str, bytes]) -> Content:
    choices: list[Content] = [
        None,
        Folder(),
        Link("/dev/zero"),
        Link("../../../../../../etc/hostname"),
        Link(name),
        b"",
        pickle.dumps(Trap()),
        pickle.dumps({"a": np.zeros(3), "b": Trap()}, protocol=0),
        other[name],
        rng.choice(list(other.values())),
        rng.randbytes(rng.randrange(300)),
    ]
    return rng.choice(choices)


def _bytewise(rng: random.Random, content: bytes, other: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        place, length = rng.randrange(len(changed) + 1), rng.choice((1, 1, 2, 4, 8, 30))
        match rng.randrange(9):
            case 0 | 1:
                if place < len(changed):
                    changed[place] ^= 1 << rng.randrange(8)
            case 2:
                changed[place : place + length] = rng.randbytes(length)
            case 3:
                changed[place:place] = rng.randbytes(length)
            case 4:
                del changed[place : place + length]
            case 5:
                del changed[place:]
            case 6:
                number = rng.choice(_NUMBERS) & (2**64 - 1)
                changed[place : place + length] = struct.pack("<Q", number)[:length]
            case 7:
                start = rng.randrange(len(changed) + 1)
                changed[place:place] = changed[start : start + rng.randrange(60)]
            case _:
                start = rng.randrange(len(other) + 1)
                changed[place : place + length] = other[start : start + length]
    return bytes(changed)


def _seal(changed: Files, files: Mapping[str, bytes], specs: bool) -> None:
    """Makes hashes, and types and shapes of tensors, right again where there is anything to make right."""
    manifest = changed.get(MANIFEST, files[MANIFEST])
    if not isinstance(manifest, bytes):
        return
    try:
        tree = json.loads(manifest)
        listed = tree["files"]
        for name in listed:
            content = changed.get(name, files.get(name))
            if name in changed and isinstance(content, bytes):
                listed[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        model = changed.get(MODEL)
        if specs and isinstance(model, bytes):
            found = load(model)
            tree["tensors"] = {key: {"dtype": str(a.dtype), "shape": list(a.shape)} for key, a in found.items()}
    except Exception:  # damaged beyond that
        pass
    else:
        changed[MANIFEST] = spelled(tree)


def spelled(tree: Any) -> bytes:
    """A manifest with its own hash, whatever is in it."""
    if isinstance(tree, dict):
        tree.pop("sha256", None)
        words = json.dumps(tree, sort_keys=True, separators=(",", ":"))
        tree["sha256"] = hashlib.sha256(words.encode()).hexdigest()
    return json.dumps(tree).encode()


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Every place in a JSON tree: its holder and its key or index."""
    found: list[tuple[Any, Any]] = []
    waiting = [tree]
    while waiting:
        holder = waiting.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        found += [(holder, key) for key in keys]
        waiting += [holder[key] for key in keys if isinstance(holder[key], dict | list)]
    return found


def _tree(rng: random.Random, tree: Any) -> Any:
    """A JSON tree with some places changed."""
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        holder, key = rng.choice(_places(tree))
        value = holder[key]
        match rng.randrange(6):
            case 0 | 1:
                holder[key] = copy.deepcopy(rng.choice(_VALUES))
            case 2:
                del holder[key]
            case 3 if isinstance(value, int | float):
                holder[key] = value + rng.choice((-1, 1, 0.5, 2**31))
            case 4 if isinstance(holder, dict):
                holder[rng.choice(("../x", "/etc/passwd", "extra", "__metadata__", ""))] = value
            case _:
                elsewhere, place = rng.choice(_places(tree))
                holder[key] = copy.deepcopy(elsewhere[place])
    return tree


def _manifest(rng: random.Random, content: bytes) -> bytes:
    return spelled(_tree(rng, json.loads(content)))


def _manifest_as_text(rng: random.Random, content: bytes) -> bytes:
    text = content.decode()
    old = rng.choice(('"schema_version": 2', '"n_users": 12', '"n_items": 30', '"lr": 0.0123', '"name"'))
    deep = "[" * _DEEP + "]" * _DEEP
    key = old.split(":")[0]
    values = ("NaN", "1e999", "-0", "3", '{"a":1,"a":2}', deep, "9" * 5000, "1" + "0" * 400, '"\\u0000"', "1.0")
    return text.replace(old, f"{key}: {rng.choice(values)}", 1).encode()


def _header(rng: random.Random, content: bytes) -> bytes:
    """The header of a safetensors file: types, shapes, offsets, its length."""
    length = struct.unpack("<Q", content[:8])[0]
    tree, rest = json.loads(content[8 : 8 + length]), content[8 + length :]
    match rng.randrange(5):
        case 0:
            return struct.pack("<Q", rng.choice(_NUMBERS) & (2**64 - 1)) + content[8:]
        case 1:
            rng.choice(list(tree.values()))["dtype"] = rng.choice(_DTYPES)
        case 2:
            one = rng.choice(list(tree.values()))
            one["shape"] = [rng.choice((*one["shape"], *_NUMBERS)) for _ in range(rng.randrange(5))]
        case 3:
            header = json.dumps(tree)[:-1] + ', "extra": ' + "[" * _DEEP + "}"
            return struct.pack("<Q", len(header)) + header.encode() + rest
        case _:
            tree = _tree(rng, tree)
    header = json.dumps(tree)
    header += " " * rng.choice((0, 0, 1, 7, 1 << 16))
    return struct.pack("<Q", len(header)) + header.encode() + rest


def _array(rng: random.Random, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    """An array of other numbers, another type or another shape; None for no array."""
    changed = array.copy()
    match rng.randrange(8):
        case 0:
            return None
        case 1:
            return changed[: rng.randrange(len(changed) + 1)]
        case 2:
            return np.concatenate([changed, changed[: rng.randrange(len(changed) + 1)]])
        case 3:
            return changed.astype(
                rng.choice(("int8", "uint8", "int32", "int64", "float16", "float32", "float64", "bool"))
            )
        case 4:
            return changed.reshape(rng.choice(((-1,), (1, -1), (-1, 1), (1, 1, -1))))
        case 5:
            return changed[::-1].copy()
    values: tuple[float, ...] = (0, 1, -1, 29, 30, 127, -128)
    if changed.dtype.kind == "f":
        values = (*values, np.nan, np.inf, -np.inf, 3e38, 1e-40, -0.0)
    elif changed.dtype.itemsize > 1:
        values = (*values, np.iinfo(changed.dtype).max, np.iinfo(changed.dtype).min)
    with np.errstate(all="ignore"):
        for _ in range(rng.choice((1, 1, 3))):
            if changed.size:
                changed.flat[rng.randrange(changed.size)] = np.array(rng.choice(values)).astype(changed.dtype)
    return changed


def _tensors(rng: random.Random, content: bytes) -> bytes:
    tensors = dict(load(content))
    name = rng.choice(list(tensors))
    changed = _array(rng, tensors.pop(name))
    if changed is not None:
        tensors[rng.choice((name, name, name, name, "extra"))] = changed
    return bytes(save(tensors))


def _unpacked(rng: random.Random, content: bytes) -> bytes:
    """Seen items that are other numbers, packed as they should be."""
    tensors = dict(load(content))
    name = rng.choice(list(tensors))
    raw = np.frombuffer(zlib.decompress(tensors[name].tobytes()), np.uint8)
    numbers = np.ascontiguousarray(raw.reshape(4, -1).T).view("<u4").ravel()
    changed = _array(rng, numbers)
    planes = (numbers if changed is None else changed.astype("<u4").ravel()).view(np.uint8).reshape(-1, 4).T.tobytes()
    planes = rng.choice((planes, planes, planes, planes + b"\0", planes[:-1], bytes(1 << 20)))
    packed = zlib.compress(planes, rng.randrange(10))
    tensors[name] = np.frombuffer(rng.choice((packed, packed, packed + b"x", packed[:-1])), np.uint8)
    return bytes(save(tensors))


def _footer(rng: random.Random, content: bytes) -> bytes:
    """The footer of a Parquet file, which says what is where."""
    return _some_bytes(rng, content, _pages_end(content), len(content))


def _pages(rng: random.Random, content: bytes) -> bytes:
    """Pages of a Parquet file, not compressed, so that what is changed in them reaches the decoder."""
    target = io.BytesIO()
    table = _read(content)
    table.write_parquet(target, compression="uncompressed", statistics=rng.random() < 0.5)
    return _some_bytes(rng, target.getvalue(), 4, _pages_end(target.getvalue()))


def _read(content: bytes) -> pl.DataFrame:
    """A table, which may be damaged already: Polars would panic, which is no exception that could be caught."""
    table = pq.read_table(io.BytesIO(content)).replace_schema_metadata(None)
    table.validate(full=True)
    return pl.DataFrame(table)


def _pages_end(content: bytes) -> int:
    return len(content) - 8 - int(struct.unpack("<I", content[-8:-4])[0])


def _some_bytes(rng: random.Random, content: bytes, start: int, end: int) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        place = rng.randrange(start, end)
        flipped = changed[place] ^ 1 << rng.randrange(8)
        changed[place] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256), flipped))
    return bytes(changed)


def _frame(rng: random.Random, content: bytes) -> bytes:
    """A table of other columns, types or rows."""
    table = _read(content)
    column = rng.choice(table.columns)
    match rng.randrange(7):
        case 0:
            table = table.drop(column)
        case 1:
            table = table.with_columns(pl.lit(rng.choice((None, 1, "x", 0.5))).alias(column))
        case 2:
            table = table.head(rng.randrange(table.height + 1))
        case 3:
            table = pl.concat([table, table.head(rng.randrange(1, 9))])
        case 4:
            types = (pl.Int8, pl.UInt64, pl.Float32, pl.Binary, pl.Categorical, pl.Boolean, pl.Date)
            table = table.with_columns(pl.col(column).cast(rng.choice(types), strict=False))
        case 5:
            table = table.with_columns(pl.struct(pl.col(column)).alias(column))
        case _:
            table = table.sample(fraction=1.0, shuffle=True, seed=rng.randrange(1 << 30))
    target = io.BytesIO()
    table.write_parquet(target, compression=rng.choice(("zstd", "uncompressed", "snappy", "lz4")))
    return target.getvalue()


_KNOWING: dict[str, tuple[Callable[[random.Random, bytes], bytes], ...]] = {
    MANIFEST: (_manifest, _manifest, _manifest, _manifest_as_text),
    MODEL: (_header, _tensors, _tensors),
    SEEN: (_header, _tensors, _unpacked, _unpacked),
    TABLES[0]: (_footer, _pages, _frame),
    TABLES[1]: (_footer, _pages, _frame),
}
