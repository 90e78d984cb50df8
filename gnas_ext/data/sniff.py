"""What kind of file is this: Parquet, JSON lines or text, and with which separator, header and columns?"""

from __future__ import annotations

import csv
import gzip
import json
import re
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import polars as pl

from gnas_ext.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection

_PARQUET = b"PAR1"
# What Polars raises for a file that it cannot read; on some damaged Parquet it panics.
REFUSALS = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)
GZIP = b"\x1f\x8b"
_HEAD_BYTES = 1 << 18
_ARCHIVES = {
    b"PK\x03\x04": ("a zip archive", "unpack it first"),
    b"\x28\xb5\x2f\xfd": ("compressed by zstd", "decompress it first (zstd -d) or use gzip"),
    _PARQUET: ("a Parquet file", "expected text here"),
    b"BZh": ("compressed by bzip2", "decompress it first (bunzip2) or use gzip"),
    b"\xfd7zXZ": ("compressed by xz", "decompress it first (unxz) or use gzip"),
    b"\xff\xfe": ("UTF-16 text", "convert it: iconv -f utf-16 -t utf-8"),
    b"\xfe\xff": ("UTF-16 text", "convert it: iconv -f utf-16 -t utf-8"),
}
_SEPARATORS = ("::", "\t", ",", ";", "|")
_COMMENTS = ("# ", "#\t", "%")
_VALUE = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|\d{4}[-/]\d\d?[-/]\d\d?([ T].*)?", re.IGNORECASE)


@dataclass(frozen=True)
class Layout:
    """How a file is laid out.

    Attributes:
        kind: what it is.
        columns: the names of its columns, all different; column_1, column_2 … for text without a header.
        separator: what stands between two fields of text.
        header: whether the first line of text names the columns.
        skip: lines of text before the header or, without one, before the data.
        sample: the first rows of text, as many cells as columns.
    """

    kind: Literal["parquet", "json", "text"]
    columns: tuple[str, ...]
    separator: str = ""
    header: bool = True
    skip: int = 0
    sample: tuple[tuple[str, ...], ...] = ()

    def describe(self) -> str:
        """The layout in words."""
        if self.kind == "text":
            header = "with a header" if self.header else "without a header"
            return f"text separated by {self.separator!r}, {header}"
        return "Parquet" if self.kind == "parquet" else "JSON lines"


def sniff(path: str | Path, sep: str | None = None, names: Collection[str] = ()) -> Layout:
    r"""Looks at a file's first bytes; its name's ending does not matter.

    Args:
        path: a file, perhaps compressed by gzip.
        sep: the separator, where the caller knows it; the word "tab" is the tab, as is a typed \t.
        names: column names that the caller expects; a first line that has one is a header.

    Raises:
        InputError: there is no such file, it is a folder, empty, compressed in another way, or not text.
    """
    head, whole = _head(path)
    if head.startswith(_PARQUET):
        return Layout("parquet", _parquet_columns(path))
    text = _decode(str(path), head)
    lines = text.replace("\r\n", "\n").split("\n")
    if not whole and len(lines) > 1:
        lines.pop()  # cut in its middle
    first = next((at for at, line in enumerate(lines) if line.strip() and not line.startswith(_COMMENTS)), None)
    if first is None:
        raise InputError(f"{path}: the file is empty; expected a line an interaction")
    lines = lines[first : first + 100]
    if sep is None and lines[0].lstrip().startswith(("{", "[")):
        return Layout("json", _json_columns(str(path), lines))
    return _text_layout(str(path), lines, sep, names, skip=first)


def refuse_unless_text(path: str | Path) -> None:
    """Raises InputError unless there is such a file and its first bytes are text."""
    _decode(str(path), _head(path)[0])


def _head(path: str | Path) -> tuple[bytes, bool]:
    """The first bytes, decompressed, and whether they are all there is."""
    file = Path(path).expanduser()
    if file.is_dir():
        inside = sorted(entry.name for entry in file.iterdir() if entry.is_file())[:3]
        hint = f" such as {file / inside[0]}" if inside else ""
        raise InputError(f"{path}: a folder; expected one file{hint}")
    try:
        with file.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
            whole = not stream.read(1)
        if head.startswith(GZIP):
            with gzip.open(file) as stream:
                head = stream.read(_HEAD_BYTES)
                whole = not stream.read(1)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file (looked in {file.absolute().parent})") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: damaged gzip file ({error}); fetch or compress it again") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if not head:
        raise InputError(f"{path}: the file is empty; expected a line an interaction")
    return head, whole


def _decode(path: str, head: bytes) -> str:
    for magic, (what, mend) in _ARCHIVES.items():
        if head.startswith(magic):
            raise InputError(f"{path}: {what}; {mend}")
    text = head.decode("utf-8-sig", errors="replace")
    strange = sum(sign == "\ufffd" or (sign < " " and sign not in "\t\r\n\x1c\x1d\x1e\x1f\x01") for sign in text)
    if b"\0" in head or strange > len(text) / 10:
        raise InputError(f"{path}: not a text file; expected CSV, TSV, '::'-separated text, JSON lines or Parquet")
    return text


def _parquet_columns(path: str | Path) -> tuple[str, ...]:
    try:
        return tuple(pl.scan_parquet(Path(path).expanduser(), glob=False).collect_schema())
    except REFUSALS as error:
        raise InputError(f"{path}: damaged Parquet file ({first_line(error)}); write it again") from None


def _json_columns(path: str, lines: list[str]) -> tuple[str, ...]:
    if lines[0].lstrip().startswith("["):
        raise InputError(f"{path}: one JSON array; expected one object a line. Convert it: jq -c '.[]' {path}")
    keys: dict[str, None] = {}
    for line in lines:
        try:
            found = json.loads(line)
        except ValueError:
            continue  # a bad line is counted when it is read
        if isinstance(found, dict):
            keys.update(dict.fromkeys(found))
    if not keys:
        raise InputError(f'{path}: no line is a JSON object; expected lines such as {{"user": 1, "item": 2}}')
    return tuple(keys)


def _text_layout(path: str, lines: list[str], sep: str | None, names: Collection[str], skip: int) -> Layout:
    separator = _guess_separator(path, lines) if sep is None else {"\\t": "\t", "tab": "\t"}.get(sep, sep)
    if separator == "" or "\n" in separator:
        raise InputError(f"{path}: --sep {sep!r}: expected one or more characters within a line")
    rows = _fields(lines, separator)
    first = [cell.strip() for cell in rows[0]]
    header = not any(_VALUE.fullmatch(cell) for cell in first) or not set(first).isdisjoint(names)
    width = len(first) if header else _consistency(rows)[0]
    if width < 2:
        raise InputError(f"{path}: no {separator!r} between fields in {lines[0][:40]!r}; name the separator with --sep")
    return Layout(
        "text",
        _unique(first) if header else tuple(f"column_{at + 1}" for at in range(width)),
        separator,
        header,
        skip,
        tuple(tuple(cell.strip() for cell in row) for row in rows[header:] if len(row) == width),
    )


def _fields(lines: list[str], separator: str) -> list[list[str]]:
    """The cells of lines: as CSV where that is consistent, since quotes may hold separators and line ends."""
    plain = [line.split(separator) for line in lines if line.strip()]
    if len(separator) > 1:
        return plain
    try:
        quoted = [row for row in csv.reader([line + "\n" for line in lines], delimiter=separator) if row]
    except csv.Error:
        return plain
    return quoted if _consistency(quoted)[1] >= _consistency(plain)[1] else plain


def _consistency(rows: list[list[str]]) -> tuple[int, float]:
    """The most frequent number of cells and the share of rows that have it."""
    width, count = Counter(map(len, rows)).most_common(1)[0]
    return width, count / len(rows)


def _guess_separator(path: str, lines: list[str]) -> str:
    """The separator that cuts most lines into the same number of fields; of several, the most fields."""
    best, best_width = "", 1
    for separator in _SEPARATORS:
        width, share = _consistency(_fields(lines, separator))
        if width > best_width and share >= 0.8:
            best, best_width = separator, width
    if best:
        return best
    width, share = _consistency(_fields(lines, " "))
    if width > 1 and share >= 0.8:
        return " "
    if width > 1 and all(re.fullmatch(r"\d+( \d+)*\s*", line) for line in lines if line.strip()):
        raise InputError(
            f"{path}: lines differ in length, as in published splits ('user item item …'); "
            "give such files as --train, --valid and --test (gnas_ext.data.read_split)"
        )
    messy = max(_SEPARATORS, key=lambda separator: sum(separator in line for line in lines))
    if sum(messy in line for line in lines) * 2 > len(lines):
        return messy
    raise InputError(f"{path}: no separator cuts its lines alike, such as {lines[0][:40]!r}; name it with --sep")


def _unique(names: list[str]) -> tuple[str, ...]:
    seen: set[str] = set()
    out = []
    for at, name in enumerate(names):
        new = name or f"column_{at + 1}"
        while new in seen:
            new += "_again"
        seen.add(new)
        out.append(new)
    return tuple(out)


def first_line(error: BaseException) -> str:
    """The first line of a library's message, for use within one of ours."""
    lines = str(error).strip().splitlines()
    return lines[0][:100] if lines else type(error).__name__
