"""What became of the rows of a return: a fate for each, and the published cells that they feed.

A receipt names rows by table and number, and cells by the codes that are published. It holds no reference, pseudonym, date or amount of a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.domain.events import RowCounts
from pipeline.errors import RuleError
from pipeline.stages import difference, frames
from pipeline.stages.acceptance import SOURCES

MEANINGS: Mapping[str, str] = {
    "in_force": "count in the quarter of the return",
    "late": "count in the earlier quarter in which they happened",
    "superseded": "were told again by a later quarter's return, which counts instead",
    "same": "stand unchanged in the revision that replaced this one",
    "changed": "were changed by the revision that replaced this one",
    "removed": "were left out by the revision that replaced this one",
    "withdrawn": "were taken back with the revision",
    "waiting": "passed and wait to be accepted",
    "refused": "were refused with the revision",
    "erased": "were erased with the person of whom they spoke",
    "blank": "were blank",
}
"""The fates that a row can meet, and what they say of rows."""
ACHIEVED = "verified"
CHARACTERISTICS: tuple[str, ...] = ("age_band", "gender", "ethnicity", "local_authority")
ROWS = pa.schema([("table", pa.string()), ("row", pa.int64()), ("fate", pa.string()), ("quarter", pa.string())])
FED: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "outcomes_by_quarter": ("achieved_quantity_status", ("project_id", "metric_id", "quarter")),
    "payments_by_quarter": ("paid_gbp_status", ("project_id", "payer_id", "basis", "quarter")),
    "service_users_by_quarter": ("starts_count_status", ("project_id", "quarter", "characteristic", "category")),
}
"""The published tables that facts feed directly: the status of the figure, and the columns that name its cell."""

Facts = Mapping[str, pa.Table]


@dataclass(frozen=True, kw_only=True)
class FedCell:
    """One published figure that rows of a return feed; `status` says by version whether it is published or suppressed there."""

    table: str
    cell: Mapping[str, str]
    rows: int
    status: Mapping[str, str] = field(default_factory=dict)


def rows_in_force(facts: Facts, told_later: pa.Array) -> pa.Table:
    """Return the fate of each row of a revision in force. Args: told_later, pseudonyms of people whom a later quarter's return speaks of again."""
    found = []
    for name, source in SOURCES.items():
        fates = pc.if_else(facts[name]["is_late"], "late", "in_force")
        if name == "service_starts":
            fates = pc.if_else(_is_told(facts, told_later), "superseded", fates)
        found.append(_rows(source.table, facts[name], fates))
    return pa.concat_tables(found)


def rows_replaced(facts: Facts, by: Facts) -> pa.Table:
    """Return the fate of each row of a revision that another one replaced."""
    changes = difference.compare(facts, by)
    found = []
    for name, source in SOURCES.items():
        of_table = changes.filter(frames.equal_to(changes["table"], source.table))
        fates = pa.repeat(pa.scalar("same", pa.string()), facts[name].num_rows)
        for change in ("changed", "removed"):
            places = of_table.filter(frames.equal_to(of_table["change"], change))["replaced_row"].combine_chunks()
            fates = pc.if_else(pc.is_in(facts[name]["source_row"].combine_chunks(), value_set=places), change, fates)
        found.append(_rows(source.table, facts[name], fates))
    return pa.concat_tables(found)


def rows_withdrawn(facts: Facts) -> pa.Table:
    """Return the fate of each row of a revision that was taken back."""
    return pa.concat_tables(
        [_rows(source.table, facts[name], pa.repeat(pa.scalar("withdrawn", pa.string()), facts[name].num_rows)) for name, source in SOURCES.items()]
    )


def count_fates(rows: pa.Table, counts: RowCounts, erased: int = 0) -> Mapping[str, int]:
    """Return how many delivered rows met each fate, blank and erased ones too, in the order of MEANINGS.

    Raises: RuleError when they do not add up to the rows delivered: a row would be lost.
    """
    counted = {str(item["values"]): int(item["counts"]) for item in pc.value_counts(rows["fate"].combine_chunks()).to_pylist()}
    counted |= {"blank": counts.blank, "erased": erased}
    if sum(counted.values()) != counts.delivered:
        raise RuleError(f"A receipt does not add up: {counts.delivered} rows were delivered, {sum(counted.values())} have a fate.")
    return {fate: counted[fate] for fate in MEANINGS if counted.get(fate)}


def fed_cells(facts: Facts, told_later: pa.Array) -> Sequence[FedCell]:
    """Return the published cells that facts feed, with the number of rows behind each: outcomes once verified, people as they were told last."""
    outcomes = facts["outcomes"].filter(frames.equal_to(facts["outcomes"]["status"], ACHIEVED))
    starts = facts["service_starts"].filter(pc.invert(_is_told(facts, told_later)))
    found = _count("outcomes_by_quarter", outcomes) + _count("payments_by_quarter", facts["payments"])
    for name in CHARACTERISTICS:
        columns = {"project_id": starts["project_id"], "quarter": starts["quarter"], "category": starts[name]}
        columns["characteristic"] = pa.chunked_array([pa.repeat(pa.scalar(name, pa.string()), starts.num_rows)])
        found += _count("service_users_by_quarter", pa.table(columns))
    return found


def read_status(tables: Mapping[str, pa.Table], labels: Mapping[str, str]) -> Mapping[tuple[str, ...], str]:
    """Return what the public files of a version say of each cell that facts can feed, by table and the codes of the cell.

    Args: labels, from the codes of a status to words.
    """
    found = {}
    for name, (status, key) in FED.items():
        if name in tables:
            columns = [tables[name][column].to_pylist() for column in (*key, status)]
            found.update({(name, *_texts(row[:-1])): labels.get(row[-1], str(row[-1])) for row in zip(*columns, strict=True)})
    return found


def place(cell: FedCell) -> tuple[str, ...]:
    """Return what `read_status` knows a cell by."""
    return (cell.table, *cell.cell.values())


def _is_told(facts: Facts, told_later: pa.Array) -> pa.ChunkedArray:
    return pc.is_in(facts["service_starts"]["participant"], value_set=told_later)


def _rows(table: str, facts: pa.Table, fates: pa.Array) -> pa.Table:
    columns = {
        "table": pa.repeat(pa.scalar(table, pa.string()), facts.num_rows),
        "row": facts["source_row"],
        "fate": fates,
        "quarter": facts["quarter"],
    }
    return pa.table(columns, schema=ROWS).sort_by("row")


def _count(table: str, facts: pa.Table) -> list[FedCell]:
    _, key = FED[table]
    counted = facts.select(list(key)).group_by(list(key)).aggregate([([], "count_all")]).sort_by([(column, "ascending") for column in key])
    return [
        FedCell(table=table, cell=dict(zip(key, _texts([row[column] for column in key]), strict=True)), rows=row["count_all"])
        for row in counted.to_pylist()
    ]


def _texts(values: Sequence[object]) -> tuple[str, ...]:
    return tuple("" if value is None else str(value) for value in values)
