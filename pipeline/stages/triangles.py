"""Revision triangles: what every version says of every figure, how much it was revised, and whether it is final; and what that comes to.

Made from public tables alone. A figure that is hidden has no value, no revision and no standing here; a version that was withdrawn is left out by
whoever calls. The rule of what is final is data: `schemas/history/standing.json`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.domain.quarters import Quarter
from pipeline.domain.tables import Definitions, TableSchema
from pipeline.stages.changes import row_keys
from pipeline.stages.comparison import STATUS
from pipeline.stages.frames import conform

NAME = "revisions"
NUMBER = pa.decimal128(18, 4)
PLACE = ("table_name", "row_key", "column_name")


@dataclass(frozen=True, kw_only=True)
class Edition:
    """One version as it is read here: its number as text, the day of its figures, its public tables."""

    version: str
    as_of: date
    tables: Mapping[str, pa.Table]


@dataclass(frozen=True, kw_only=True)
class RevisionStatistics:
    """How the figures of one column were revised, over those that two versions or more have published.

    `revised_share` is the part of them whose last value is another than the first; `mean_revision` and `mean_absolute_revision` are last minus first,
    over all of them; `mean_versions_to_last` is in how many versions on average the value was reached that then stayed.
    """

    table: str
    column: str
    figures: int
    revised_share: float
    mean_revision: float
    mean_absolute_revision: float
    mean_versions_to_last: float


def make_triangles(editions: Sequence[Edition], definitions: Definitions) -> pa.Table:
    """Return every figure of every version. Args: editions, oldest first.

    Shape: the columns of `schemas/history/revisions.json`, sorted by table, row, column and version number.
    """
    schema = definitions.table("history", NAME)
    parts = [
        part
        for number, edition in enumerate(editions, start=1)
        for name, table in sorted(edition.tables.items())
        if name in definitions.tables["published"]
        for part in _figures(definitions.table("published", name), table, edition, number)
    ]
    if not parts:
        return conform(schema, pa.table({name: pa.array([], pa.null()) for name in schema.columns}))
    rows = pa.concat_tables(parts).sort_by([(name, "ascending") for name in (*PLACE, "version_number")]).combine_chunks()
    rows = rows.append_column("revision", _revision(rows))
    rows = rows.append_column("standing", _standing(rows, definitions.history["standing"]))
    order = rows.select([*schema.columns])
    return pa.table({column: order[column] for column in schema.columns})


def _figures(schema: TableSchema, table: pa.Table, edition: Edition, number: int) -> list[pa.Table]:
    """Return the figures that may be revised: those with a status."""
    if not set(schema.primary_key) <= set(table.column_names):
        return []
    keys, rows = row_keys(table, schema.primary_key), table.num_rows
    quarter = table["quarter"].combine_chunks() if "quarter" in table.column_names else pa.nulls(rows, pa.string())
    found = []
    for column in schema.columns:
        if column + STATUS in table.column_names and column in table.column_names:
            cells = {
                "table_name": pa.repeat(schema.name, rows),
                "row_key": keys,
                "column_name": pa.repeat(column, rows),
                "version": pa.repeat(edition.version, rows),
                "version_number": pa.repeat(pa.scalar(number, pa.int64()), rows),
                "as_of": pa.repeat(pa.scalar(edition.as_of, pa.date32()), rows),
                "quarter": quarter,
                "value": _number(table[column].combine_chunks()),
                "value_status": table[column + STATUS].combine_chunks(),
            }
            found.append(pa.table(cells))
    return found


def _number(cells: pa.Array) -> pa.Array:
    """Return counts and amounts as one type. A whole number of 64 bits needs a wider decimal on the way."""
    return (cells.cast(pa.decimal128(23, 4)) if pa.types.is_integer(cells.type) else cells).cast(NUMBER)


def _cells(rows: pa.Table) -> pa.Array:
    """Return a number for the cell of each sorted row: one more wherever another cell begins."""
    begins = pa.array([True] * min(rows.num_rows, 1), pa.bool_())
    if rows.num_rows > 1:
        differs = [pc.not_equal(rows[name].combine_chunks().slice(1), rows[name].combine_chunks().slice(0, rows.num_rows - 1)) for name in PLACE]
        begins = pa.concat_arrays([begins, pc.or_(pc.or_(differs[0], differs[1]), differs[2])])
    return pc.cumulative_sum(begins.cast(pa.int64()))


def _revision(rows: pa.Table) -> pa.Array:
    """Return how much each figure differs from the one last published of its cell; null for the first and where there is no figure."""
    value, cell = rows["value"].combine_chunks(), _cells(rows)
    last = pc.fill_null_forward(pc.if_else(pc.is_valid(value), _numbered(rows), None))
    before = pa.concat_arrays([pa.nulls(1, pa.int64()), last.slice(0, len(last) - 1)])
    is_same = pc.fill_null(pc.equal(cell.take(before), cell), False)
    return pc.if_else(is_same, pc.subtract(value, value.take(before)), None).cast(NUMBER)


def _first(rows: pa.Table) -> pa.Array:
    """Return the figure first published of the cell of each row."""
    value = rows["value"].combine_chunks()
    published = pa.table({"cell": _cells(rows), "place": _numbered(rows)}).filter(pc.is_valid(value))
    firsts = published.group_by("cell", use_threads=False).aggregate([("place", "min")])
    return value.take(firsts["place_min"].combine_chunks().take(pc.index_in(_cells(rows), value_set=firsts["cell"].combine_chunks())))


def _numbered(rows: pa.Table) -> pa.Array:
    return pa.array(range(rows.num_rows), pa.int64())


def _standing(rows: pa.Table, rule: Mapping[str, Any]) -> pa.Array:
    """Return whether each figure is provisional, revised or final by the rule; null where there is no figure."""
    days = timedelta(days=int(rule["final_after_days"]["value"]))
    quarters = rows["quarter"].combine_chunks().unique()
    finals = pa.array([None if text is None else Quarter.parse(text).end + days for text in quarters.to_pylist()], pa.date32())
    final_on = finals.take(pc.index_in(rows["quarter"].combine_chunks(), value_set=quarters))
    is_final = pc.fill_null(pc.greater_equal(rows["as_of"].combine_chunks(), final_on), False)
    is_revised = pc.fill_null(pc.not_equal(rows["value"].combine_chunks(), _first(rows)), False)
    told = pc.if_else(is_final, "final", pc.if_else(is_revised, "revised", "provisional"))
    return pc.if_else(pc.is_valid(rows["value"].combine_chunks()), told, None)


def measure(triangles: pa.Table) -> Sequence[RevisionStatistics]:
    """Return how the figures of each column were revised, by table and column; columns of which no figure was published twice are left out."""
    rows = triangles.append_column("cell", _cells(triangles)).filter(pc.is_valid(triangles["value"]))
    rows = rows.append_column("is_other", pc.fill_null(pc.not_equal(rows["revision"], pa.scalar(0, NUMBER)), False))
    rows = rows.append_column("place", _numbered(rows))
    rows = rows.append_column("other_place", pc.if_else(rows["is_other"], rows["place"], None))
    keys = ["cell", "table_name", "column_name"]
    added: list[Any] = [("place", "min"), ("place", "max"), ("place", "count"), ("other_place", "max")]
    cells = rows.group_by(keys, use_threads=False).aggregate(added)
    cells = cells.filter(pc.greater(cells["place_count"], 1))
    value = rows["value"].combine_chunks()
    change = pc.cast(pc.subtract(value.take(cells["place_max"].combine_chunks()), value.take(cells["place_min"].combine_chunks())), pa.float64())
    steps = pc.add(pc.subtract(pc.coalesce(cells["other_place_max"], cells["place_min"]), cells["place_min"]), 1)
    cells = cells.append_column("change", change).append_column("size", pc.abs(change)).append_column("steps", steps)
    cells = cells.append_column("revised", pc.cast(pc.not_equal(change, 0), pa.float64()))
    means: list[Any] = [(name, "mean") for name in ("revised", "change", "size", "steps")] + [("cell", "count")]
    found = (
        cells.group_by(["table_name", "column_name"], use_threads=False)
        .aggregate(means)
        .sort_by([("table_name", "ascending"), ("column_name", "ascending")])
    )
    return [
        RevisionStatistics(
            table=row["table_name"],
            column=row["column_name"],
            figures=row["cell_count"],
            revised_share=round(row["revised_mean"], 4),
            mean_revision=round(row["change_mean"], 4),
            mean_absolute_revision=round(row["size_mean"], 4),
            mean_versions_to_last=round(row["steps_mean"], 2),
        )
        for row in found.to_pylist()
    ]
