"""Which ids does a Parquet file hold? Read as if a stranger had written it.

Arrow reads it, not Polars: Arrow's reader is fuzzed by its authors and refuses what it cannot read, while Polars 2.1
asks for as much memory as a damaged page claims to hold, which ends the process.
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
        with pq.ParquetFile(path, memory_map=False) as file:
            schema = file.schema_arrow
            if schema.names != wanted:
                raise InputError(f"{path}: expected columns {', '.join(wanted)}, got {', '.join(schema.names)}; {MEND}")
            _check_types(path, schema, what)
            table = _first_rows(file, count + 1)
    except InputError:
        raise
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
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


def _first_rows(file: pq.ParquetFile, count: int) -> pl.DataFrame:
    """As many rows: one more than expected shows that there are too many, however many they are."""
    found: list[pa.RecordBatch] = []
    for batch in file.iter_batches(batch_size=count, use_threads=False):
        batch.validate(full=True)  # strings that are not UTF-8, offsets that lead astray: Polars takes Arrow's word
        found.append(batch)
        if sum(map(len, found)) >= count:
            break
    table = pa.Table.from_batches(found, file.schema_arrow).slice(0, count)
    # Columns alone: what else the footer says of them is nobody's business here, and need not be UTF-8.
    return pl.DataFrame({name: pl.from_arrow(table.column(name)) for name in table.column_names})
