"""The disclosure rules as this stage reads them, and the check that no published column was forgotten."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.domain.tables import Definitions, TableSchema
from pipeline.errors import RuleError

STATUS = "_status"


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Which rows of a table are meant: those whose columns hold one of the values, and none of the values that are ruled out."""

    where: Mapping[str, Sequence[str]]
    where_not: Mapping[str, Sequence[str]]

    def mask(self, frame: pa.Table) -> pa.ChunkedArray | pa.Array:
        """Return where a frame has such a row."""
        mask = pa.array([True] * frame.num_rows, pa.bool_())
        for column, values in self.where.items():
            mask = pc.and_(mask, pc.is_in(frame[column], pa.array(values, pa.string())))
        for column, values in self.where_not.items():
            mask = pc.and_not(mask, pc.is_in(frame[column], pa.array(values, pa.string())))
        return mask

    def numbers(self, frame: pa.Table) -> list[int]:
        """Return the numbers of such rows in a frame, from 0."""
        numbers: list[int] = pc.indices_nonzero(self.mask(frame)).to_pylist()
        return numbers

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are looked at."""
        return (*self.where, *self.where_not)


@dataclass(frozen=True, kw_only=True)
class CellRule:
    """A column whose figures may have to be hidden. `people` counts who stands behind one; a higher `importance` is hidden later."""

    column: str
    people: str
    importance: int


@dataclass(frozen=True, kw_only=True)
class DerivedRule:
    """A column that is worked out from cells of its row and goes with them."""

    column: str
    parts: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class SummaryRule:
    """Rows whose columns sum up the same columns of other rows: `within` says for each level which columns pick those."""

    rows: Rows
    of: Rows
    level: str
    within: Mapping[str, Sequence[str]]
    columns: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class TableRules:
    """What may have to be hidden in one table."""

    cells: Sequence[CellRule]
    rows: Rows
    derived: Sequence[DerivedRule]
    summary: SummaryRule | None


@dataclass(frozen=True, kw_only=True)
class Side:
    """One side of a relation: a column of the chosen rows of a table."""

    table: str
    column: str
    rows: Rows


@dataclass(frozen=True, kw_only=True)
class SumRelation:
    """A total is the sum of its parts with the same `match`; with `each`, once for every value of those columns."""

    id: str
    total: Side
    parts: Side
    match: Sequence[str]
    each: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class RunningRelation:
    """A running figure is the sum of the values up to its place in `order`."""

    id: str
    table: str
    value: str
    running: str
    match: Sequence[str]
    order: str


@dataclass(frozen=True, kw_only=True)
class DisclosureRules:
    """Everything that decides what is hidden. `shown` are the statuses of a figure that has a value."""

    threshold: int
    hides_zeros: bool
    suppressed: str
    shown: frozenset[str]
    absent: frozenset[str]
    tables: Mapping[str, TableRules]
    relations: Sequence[SumRelation | RunningRelation]


def read_rules(definitions: Definitions) -> DisclosureRules:
    """Return the disclosure rules, checked against the published schemas.

    Raises: RuleError when a published table or a column with a status is named nowhere, or a rule names what is not there.
    """
    disclosure = definitions.disclosure
    schemas = definitions.tables["published"]
    status = disclosure["status"]
    absent = frozenset({status["unavailable"], status["not_applicable"]})
    for name in sorted({*schemas} ^ {*disclosure["tables"]}):
        raise RuleError(f"Table {name} must stand both in schemas/published/ and in the tables of disclosure.json.")
    tables = {name: _read_table(schemas[name], entry) for name, entry in sorted(disclosure["tables"].items())}
    relations = [_read_relation(entry) for entry in disclosure["relations"]]
    for relation in relations:
        for table, cell, others in _columns_of(relation):
            _check_relation(relation.id, tables.get(table), cell)
            for column in others:
                schemas[table].field(column)
    return DisclosureRules(
        threshold=disclosure["threshold"]["value"],
        hides_zeros=disclosure["hide_zeros"]["value"],
        suppressed=status["suppressed"],
        shown=frozenset(status.values()) - absent - {status["suppressed"]},
        absent=absent,
        tables=tables,
        relations=relations,
    )


def _read_table(schema: TableSchema, entry: Mapping[str, Any]) -> TableRules:
    rules = TableRules(
        cells=[CellRule(**cell) for cell in entry["cells"]],
        rows=_rows(entry.get("rows", {}), {}),
        derived=[DerivedRule(column=derived["column"], parts=derived["from"]) for derived in entry.get("derived", [])],
        summary=_read_summary(entry["summaries"]) if "summaries" in entry else None,
    )
    named = [*(cell.column for cell in rules.cells), *(derived.column for derived in rules.derived)]
    with_status = [column.removesuffix(STATUS) for column in schema.columns if column.endswith(STATUS)]
    for column in sorted({*named} ^ {*with_status}):
        raise RuleError(f"Column {column} of {schema.name} must have a status and stand in disclosure.json as a cell or a derived column.")
    cells = {cell.column for cell in rules.cells}
    parts = {part for derived in rules.derived for part in derived.parts}
    for column in sorted(parts - cells):
        raise RuleError(f"A derived column of {schema.name} comes from {column}, which is no cell in disclosure.json.")
    for column in (*named, *rules.rows.columns, *_summary_columns(rules.summary)):
        schema.field(column)
    return rules


def _read_summary(entry: Mapping[str, Any]) -> SummaryRule:
    rows, of = _rows(entry["rows"], {}), _rows(entry["of"], {})
    levels = [column for column in of.where if column not in rows.where]
    if len(levels) != 1:
        raise RuleError("The summaries of disclosure.json must choose the rows that they sum up by exactly one column of level.")
    return SummaryRule(rows=rows, of=of, level=levels[0], within=entry["within"], columns=entry["columns"])


def _summary_columns(summary: SummaryRule | None) -> tuple[str, ...]:
    if summary is None:
        return ()
    return (*summary.rows.columns, *summary.of.columns, *summary.columns, *(name for names in summary.within.values() for name in names))


def _read_relation(entry: Mapping[str, Any]) -> SumRelation | RunningRelation:
    if entry["kind"] == "running":
        return RunningRelation(**{name: entry[name] for name in ("id", "table", "value", "running", "match", "order")})
    if entry["kind"] == "sum":
        return SumRelation(id=entry["id"], total=_side(entry["total"]), parts=_side(entry["parts"]), match=entry["match"], each=entry["each"])
    raise RuleError(f"Relation {entry['id']} of disclosure.json is of a kind that is not known.")


def _side(entry: Mapping[str, Any]) -> Side:
    return Side(table=entry["table"], column=entry["column"], rows=_rows(entry.get("where", {}), entry.get("where_not", {})))


def _rows(where: Mapping[str, Sequence[str]], where_not: Mapping[str, Sequence[str]]) -> Rows:
    return Rows(where=where, where_not=where_not)


def _columns_of(relation: SumRelation | RunningRelation) -> Iterator[tuple[str, str, Sequence[str]]]:
    """Yield for each column of figures in a relation: its table, its name, and the columns that choose and match rows."""
    if isinstance(relation, RunningRelation):
        others = (*relation.match, relation.order)
        yield from ((relation.table, column, others) for column in (relation.value, relation.running))
        return
    yield relation.total.table, relation.total.column, (*relation.match, *relation.total.rows.columns)
    yield relation.parts.table, relation.parts.column, (*relation.match, *relation.each, *relation.parts.rows.columns)


def _check_relation(relation_id: str, table: TableRules | None, column: str) -> None:
    if table is None or column not in {cell.column for cell in table.cells}:
        raise RuleError(f"Relation {relation_id} of disclosure.json speaks of {column}, which is no cell there.")
