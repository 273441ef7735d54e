"""Rows become facts: text cells get their types, references become pseudonyms, and every delivered row is accounted for.

Called for returns that passed. What is written is the same bytes for the same rows, whatever their order in the return.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.domain.events import RowCounts
from pipeline.domain.quarters import Quarter
from pipeline.domain.submission import SubmissionKey
from pipeline.domain.tables import Definitions, Field, TableSchema
from pipeline.errors import RuleError
from pipeline.ports import ReturnTable
from pipeline.stages import frames

Pseudonyms = Callable[[str, pa.Array], pa.Array]
"""Takes a kind (`participant`, `outcome`, `payment`) and references of one project; returns a pseudonym for each, null for null."""

ROW_GROUP_ROWS = 131_072
ROW = pa.field("row", pa.int64(), nullable=False)
_WRITTEN_FORMS: Mapping[str, str] = {"integer": r"^-?[0-9]+$", "number": r"^-?[0-9]+(\.[0-9]+)?$", "date": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}
"""Arrow's own parsers also take 0x10 and 1e3, which no person means."""


@dataclass(frozen=True, kw_only=True)
class FactSource:
    """Which return table a fact table is made of: the column that dates it, and its references with the kind and name of their pseudonyms.

    The natural key is the pseudonym of the first reference.
    """

    table: str
    dated_by: str
    references: Mapping[str, tuple[str, str]]

    @property
    def key(self) -> str:
        """The column of the fact table that identifies a fact within its project."""
        return next(iter(self.references.values()))[1]


SOURCES: Mapping[str, FactSource] = {
    "service_starts": FactSource(table="participants", dated_by="started_on", references={"participant_ref": ("participant", "participant")}),
    "outcomes": FactSource(
        table="outcomes",
        dated_by="achieved_on",
        references={"outcome_ref": ("outcome", "outcome"), "participant_ref": ("participant", "participant")},
    ),
    "payments": FactSource(table="payments", dated_by="period_end", references={"payment_ref": ("payment", "payment")}),
}


def type_cells(schema: TableSchema, cells: pa.Table) -> pa.Table:
    """Return the text cells of a return table as the types of its schema, after the column `row`; an optional column left out is empty.

    Raises: RuleError when a cell does not parse or a required column is missing: the structure should have been checked before.
    """
    columns = {"row": cells["row"].cast(pa.int64())}
    for field in schema.fields:
        columns[field.name] = _type_column(schema, field, cells)
    return pa.table(columns, schema=_typed_schema(schema)).combine_chunks()


def no_rows(schema: TableSchema) -> pa.Table:
    """Return the typed form of a return table that was not delivered."""
    return _typed_schema(schema).empty_table()


def to_facts(key: SubmissionKey, definitions: Definitions, typed: Mapping[str, pa.Table], pseudonyms: Pseudonyms) -> Mapping[str, pa.Table]:
    """Return the facts of a return: every fact table, one row per row of its return table, in pseudonyms only.

    Shape: the columns of `schemas/facts/`; sorted by quarter and natural key; a return table that was not delivered gives no rows.
    Raises: RuleError when a column that must be filled is empty, or a reference stands twice.
    """

    def settle(name: str) -> pa.Table:
        source = SOURCES[name]
        rows = typed[source.table] if source.table in typed else no_rows(definitions.table("submission", source.table))
        return _settle(definitions.table("facts", name), source, _name_rows(key, source, rows, pseudonyms))

    return frames.at_once(settle, SOURCES)


def write_facts(table: pa.Table, schema: TableSchema) -> bytes:
    """Return facts as Parquet; the same rows give the same bytes (with one version of pyarrow).

    No dictionary pages, which keep values that were filtered out before; page checksums, without which a flipped bit is read as another number.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(
        table.select(list(schema.columns)).cast(frames.arrow_schema(schema)),
        sink,
        version="2.6",
        compression="zstd",
        use_dictionary=False,
        store_schema=False,
        write_page_checksum=True,
        row_group_size=ROW_GROUP_ROWS,
    )
    content: bytes = sink.getvalue().to_pybytes()
    return content


def count_rows(tables: Mapping[str, ReturnTable], facts: Mapping[str, pa.Table]) -> RowCounts:
    """Account for every delivered row: each became a fact or was blank.

    Raises: RuleError when a table does not add up; nothing may be accepted then.
    """
    delivered = accepted = blank = late = 0
    for name, source in SOURCES.items():
        table = tables.get(source.table)
        rows = table.cells.num_rows + table.blank_rows if table else 0
        blanks = table.blank_rows if table else 0
        if rows != facts[name].num_rows + blanks:
            raise RuleError(
                f"Table {source.table} does not add up: {rows} rows delivered, {facts[name].num_rows} accepted, {blanks} blank. Nothing was accepted."
            )
        delivered, accepted, blank = delivered + rows, accepted + facts[name].num_rows, blank + blanks
        late += pc.sum(facts[name]["is_late"], min_count=0).as_py()
    return RowCounts(delivered=delivered, accepted=accepted, blank=blank, late=late)


def _typed_schema(schema: TableSchema) -> pa.Schema:
    return pa.schema([ROW, *frames.arrow_schema(schema)])


def _type_column(schema: TableSchema, field: Field, cells: pa.Table) -> pa.ChunkedArray:
    target = frames.arrow_type(field)
    if field.name not in cells.column_names:
        if field.is_required:
            raise RuleError(f"Table {schema.name} lacks its column {field.name}; its structure was not checked.")
        return pa.chunked_array([pa.nulls(cells.num_rows, target)])
    column = cells[field.name]
    form = _WRITTEN_FORMS.get(field.type)
    if form is not None and pc.any(pc.invert(pc.match_substring_regex(column, form)), min_count=0).as_py():
        raise RuleError(f"Table {schema.name} has cells in {field.name} that are no {field.type}; its structure was not checked.")
    try:
        typed = column.cast(target)
    except pa.ArrowInvalid:
        # Arrow's message repeats the cell.
        raise RuleError(f"Table {schema.name} has cells in {field.name} that are no {field.type}; its structure was not checked.") from None
    if field.is_required and typed.null_count:
        raise RuleError(f"Table {schema.name} has empty cells in {field.name}; its structure was not checked.")
    return typed


def _name_rows(key: SubmissionKey, source: FactSource, rows: pa.Table, pseudonyms: Pseudonyms) -> pa.Table:
    """Return typed rows with pseudonyms in the place of references, and the columns that say where and when they belong."""
    quarters = _quarters(rows[source.dated_by].combine_chunks())
    columns = {
        "project_id": _repeat(key.project_id, rows.num_rows),
        "return_quarter": _repeat(key.quarter, rows.num_rows),
        "quarter": quarters,
        "is_late": pc.less(quarters, pa.scalar(key.quarter)),
        "source_row": rows["row"],
    }
    columns |= {name: pseudonyms(kind, rows[reference].combine_chunks()) for reference, (kind, name) in source.references.items()}
    columns |= {name: rows[name] for name in rows.column_names if name != "row" and name not in source.references}
    return pa.table(columns)


def _settle(schema: TableSchema, source: FactSource, frame: pa.Table) -> pa.Table:
    """Return facts in the declared shape and order. `frames.conform` would sort by project first, which is the same in every row."""
    frame = frame.select(list(schema.columns))
    empty = [field.name for field in schema.fields if field.is_required and frame[field.name].null_count]
    if empty:
        raise RuleError(f"Facts {schema.name} have empty cells in {', '.join(empty)}, which must be filled.")
    by_key = pc.sort_indices(frame[source.key])
    keys = frame[source.key].take(by_key).combine_chunks()
    if pc.any(pc.equal(keys[1:], keys[:-1]), min_count=0).as_py():
        raise RuleError(f"Facts {schema.name} have one reference twice; the structure of the return was not checked.")
    quarters = frame["quarter"].combine_chunks().dictionary_encode()
    ranks = pc.rank(quarters.dictionary, tiebreaker="dense").take(quarters.indices)
    # Arrow's sort is stable: within a quarter the keys stay in order.
    order = by_key.take(pc.array_sort_indices(ranks.take(by_key)))
    return frame.take(order).cast(frames.arrow_schema(schema)).combine_chunks()


def _repeat(text: str, times: int) -> pa.Array:
    return pa.repeat(pa.scalar(text, pa.string()), times)


def _quarters(days: pa.Array) -> pa.Array:
    """Return the quarter of each day, as text; each distinct day is worked out once."""
    encoded = days.dictionary_encode()
    names = pa.array([None if day is None else str(Quarter.of(day)) for day in encoded.dictionary.to_pylist()], pa.string())
    return names.take(encoded.indices)
