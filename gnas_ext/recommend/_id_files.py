"""Which ids does a Parquet file hold? Read as if a stranger had written it.

Arrow reads it, not Polars: Arrow's reader is fuzzed by its authors and refuses what it cannot read, while Polars 2.1
asks for as much memory as a damaged page claims to hold, which ends the process. Strings are read as dictionaries, so
that one that is named by every row is held once, a row group at a time, and more bytes than ids and titles need are
refused: by what the file says of itself, then by what came. A page that lies may still take 2 GiB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from gnas_ext.errors import InputError
from gnas_ext.recommend.manifest import MEND, MODEL

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_STRINGS = (pa.string(), pa.large_string(), pa.string_view())
# What a column may come to: so many bytes, or so many a row.
_BYTES, _ROW_BYTES = 64 << 20, 1024


def read_ids(path: Path, what: str, count: int, facts: Sequence[str]) -> pl.DataFrame:
    """The ids of a column and the strings beside them, [count, 1 + facts], no id null or twice.

    Args:
        path: a Parquet file.
        what: the column of ids: strings or whole numbers.
        count: rows there should be.
        facts: the other columns, all strings.

    Raises:
        InputError: it cannot be read, or holds anything else.
    """
    wanted = [what, *facts]
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
        if schema.names != wanted:
            raise InputError(f"{path}: expected columns {', '.join(wanted)}, got {', '.join(schema.names)}; {MEND}")
        _check_types(path, schema, what)
        strings = [field.name for field in schema if field.type in _STRINGS]
        with pq.ParquetFile(path, read_dictionary=strings) as file:
            table = _first_rows(path, file, schema, count + 1)
    except InputError:
        raise
    except (pa.ArrowException, pl.exceptions.PolarsError, OSError, ValueError, MemoryError) as error:
        raise InputError(f"{path}: not a readable Parquet file; {MEND}") from error
    ids = table.get_column(what)
    if len(ids) != count:
        got = "more" if len(ids) > count else len(ids)
        raise InputError(f"{path}: expected {count} rows, one a {what} of {MODEL}, got {got}; {MEND}")
    if ids.null_count() or ids.n_unique() < count:
        raise InputError(f"{path}: expected ids without nulls, none twice; {MEND}")
    return table


def _check_types(path: Path, schema: pa.Schema, what: str) -> None:
    for field in schema:
        if field.type in _STRINGS:
            continue
        if field.name != what:
            raise InputError(f"{path}: expected {field.name} as strings, got {field.type}; {MEND}")
        if not pa.types.is_integer(field.type):
            raise InputError(f"{path}: expected ids that are strings or whole numbers, got {field.type}; {MEND}")


def _first_rows(path: Path, file: pq.ParquetFile, schema: pa.Schema, count: int) -> pl.DataFrame:
    """As many rows: one more than expected shows that there are too many, however many they are."""
    columns = [_Column(field) for field in schema]
    most, rows = most_bytes(count), 0
    for group in range(file.num_row_groups):
        said = file.metadata.row_group(group)
        for place, column in enumerate(columns):
            _check_bytes(path, column, column.bytes + said.column(place).total_uncompressed_size, most)
        # All rows at once: the dictionary of a later batch would hold those of the ones before, again and again.
        for batch in file.iter_batches(row_groups=[group], batch_size=count, use_threads=False):
            rows += len(batch)
            for column, part in zip(columns, batch.columns, strict=True):
                column.take(part)
                _check_bytes(path, column, column.bytes, most)
            if rows >= count:
                break
        if rows >= count:
            break
    # Columns alone: what else the footer says of them is nobody's business here, and need not be UTF-8.
    return pl.DataFrame({column.name: pl.concat(column.parts) for column in columns}).head(count)


def most_bytes(rows: int) -> int:
    """What a column may come to."""
    return max(_BYTES, _ROW_BYTES * rows)


def check_before_writing(table: pl.DataFrame) -> None:
    """InputError where `read_ids` would refuse what is to be written, for its size.

    Args:
        table: ids, and facts beside them.
    """
    for column in table:
        size = int(column.str.len_bytes().sum()) if column.dtype == pl.String else 0
        if size > (most := most_bytes(len(column)) // 2):
            raise InputError(
                f"{column.name}s have {size:,} bytes, expected {most:,} at most; shorten them, such as to titles alone"
            )


def _check_bytes(path: Path, column: _Column, size: int, most: int) -> None:
    if size > most:
        raise InputError(f"{path}: {size:,} bytes of {column.name}, expected {most:,} at most; {MEND}")


class _Column:
    """Collects a column as Polars has it; strings of a dictionary are shared, not copied."""

    def __init__(self, field: pa.Field) -> None:
        self.name = field.name
        self.parts = [_series(pa.array([], field.type))]
        self.bytes = 0

    def take(self, part: pa.Array) -> None:
        """Adds what a batch has of it."""
        if not isinstance(part, pa.DictionaryArray):
            self.bytes += part.nbytes
            self.parts.append(_series(part))
            return
        self.bytes += part.indices.nbytes + part.dictionary.nbytes
        self.parts.append(_series(part.dictionary).gather(_series(part.indices)))


def _series(part: pa.Array) -> pl.Series:
    """The array without a dictionary, checked: Polars takes Arrow's word for UTF-8 and for offsets."""
    part.validate(full=True)
    found = pl.from_arrow(part)
    assert isinstance(found, pl.Series)
    return found
