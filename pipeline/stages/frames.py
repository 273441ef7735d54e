"""Arrow tables in the shape that a schema declares: types, order of columns, order of rows. Every stage speaks through these."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.domain.tables import Field, TableSchema
from pipeline.errors import RuleError

Made = TypeVar("Made")

PEOPLE = "__people"
"""Suffix of the columns that count the people behind a figure. They exist in memory only and are never published."""


def arrow_type(column: Field) -> pa.DataType:
    """Return the Arrow type of a declared column: numbers are decimals, text is never dictionary-encoded."""
    types: Mapping[str, pa.DataType] = {"string": pa.string(), "integer": pa.int64(), "boolean": pa.bool_(), "date": pa.date32()}
    if column.type == "number":
        return pa.decimal128(18, column.decimals if column.decimals is not None else 2)
    return types[column.type]


def arrow_schema(table: TableSchema) -> pa.Schema:
    """Return the Arrow schema of a declared table, columns in order."""
    return pa.schema([pa.field(column.name, arrow_type(column), nullable=not column.is_required) for column in table.fields])


def from_rows(table: TableSchema, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return rows as a table of the declared types; columns that a row lacks are null."""
    schema = arrow_schema(table)
    return pa.table({name: pa.array([row.get(name) for row in rows], schema.field(name).type) for name in schema.names}, schema=schema)


def conform(table: TableSchema, frame: pa.Table) -> pa.Table:
    """Return a frame with exactly the declared columns and types, sorted by its key; extra columns are dropped.

    Raises: RuleError when a declared column is missing, is of another type, has nulls that the schema forbids, or the key repeats.
    """
    missing = [name for name in table.columns if name not in frame.column_names]
    if missing:
        raise RuleError(f"Table {table.name} was made without its columns {', '.join(missing)}.")
    schema = arrow_schema(table)
    frame = pa.table([_cast(table, frame[column.name], column) for column in schema], schema=schema)
    frame = frame.sort_by([(name, "ascending") for name in table.primary_key])
    check_key(table, frame)
    return frame.combine_chunks()


def _cast(table: TableSchema, cells: pa.ChunkedArray, column: pa.Field) -> pa.ChunkedArray:
    if not column.nullable and cells.null_count:
        raise RuleError(f"Table {table.name} has empty cells in {column.name}, which must be filled.")
    try:
        return cells.cast(column.type)
    except pa.ArrowException:  # its message may repeat a cell
        raise RuleError(f"Table {table.name} has cells in {column.name} that cannot be {column.type}.") from None


def check_key(table: TableSchema, frame: pa.Table) -> None:
    """Raise RuleError when two rows of a frame have the same key."""
    keys = frame.select(list(table.primary_key))
    if keys.group_by(list(table.primary_key)).aggregate([]).num_rows != keys.num_rows:
        raise RuleError(f"Table {table.name} has two rows with one key ({', '.join(table.primary_key)}).")


def equal_to(column: pa.ChunkedArray, value: object) -> pa.ChunkedArray:
    """Return where a column holds a value; nulls count as not equal."""
    return pc.fill_null(pc.equal(column, pa.scalar(value, column.type)), False)


def at_once(make: Callable[[str], Made], names: Iterable[str]) -> Mapping[str, Made]:
    """Return what `make` makes of each table, worked on at the same time: Arrow's kernels leave the interpreter free."""
    tables = list(names)
    with ThreadPoolExecutor(max_workers=max(1, len(tables))) as pool:
        return dict(zip(tables, pool.map(make, tables), strict=True))
