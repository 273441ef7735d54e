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
    """A total is the sum of its parts with the same `match`; with `each`, once for every value of those columns.

    `absent_is_zero`: a part without a row is a zero that everybody can read, not a figure that is yet to come.
    """

    id: str
    total: Side
    parts: Side
    match: Sequence[str]
    each: Sequence[str]
    absent_is_zero: bool = False

    @property
    def places(self) -> frozenset[tuple[str, str]]:
        """The tables and columns of figures that it ties."""
        return frozenset({(self.total.table, self.total.column), (self.parts.table, self.parts.column)})


@dataclass(frozen=True, kw_only=True)
class RunningRelation:
    """A running figure is the sum of the values up to its place in `order`."""

    id: str
    table: str
    value: str
    running: str
    match: Sequence[str]
    order: str
    absent_is_zero: bool = False

    @property
    def places(self) -> frozenset[tuple[str, str]]:
        """The tables and columns of figures that it ties."""
        return frozenset({(self.table, self.value), (self.table, self.running)})


@dataclass(frozen=True, kw_only=True)
class PriceRelation:
    """A payment is the sum, over the counts with the same `match`, of the published price of each times the count.

    A price is found by `price_match`; of several the one with the highest `newest` counts. `series` are the columns that tell payments of different
    kinds apart: one kind may be made by price and another not.
    """

    id: str
    payments: Side
    counts: Side
    match: Sequence[str]
    prices: str
    price: str
    price_match: Sequence[str]
    newest: str
    series: Sequence[str]


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
    prices: Sequence[PriceRelation] = ()

    @property
    def price_ids(self) -> frozenset[str]:
        """The relations that are of prices."""
        return frozenset(relation.id for relation in self.prices)


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
    prices = [_read_price(entry) for entry in disclosure.get("prices", [])]
    for relation in (*relations, *prices):
        for table, cell, others in _columns_of(relation):
            _check_relation(relation.id, tables.get(table), cell)
            for column in others:
                schemas[table].field(column)
    for relation in prices:
        if relation.prices not in schemas:
            raise RuleError(f"Relation {relation.id} of disclosure.json takes prices from {relation.prices}, which is no published table.")
        for column in (relation.price, relation.newest, *relation.price_match):
            schemas[relation.prices].field(column)
    _check_plan(tables, disclosure, (*relations, *prices))
    return DisclosureRules(
        threshold=disclosure["threshold"]["value"],
        hides_zeros=disclosure["hide_zeros"]["value"],
        suppressed=status["suppressed"],
        shown=frozenset(status.values()) - absent - {status["suppressed"]},
        absent=absent,
        tables=tables,
        relations=relations,
        prices=prices,
    )


def _check_plan(
    tables: Mapping[str, TableRules],
    disclosure: Mapping[str, Any],
    relations: Sequence[SumRelation | RunningRelation | PriceRelation],
) -> None:
    """Raise RuleError when a column of figures has no place in the table plan, or hangs together with nothing and nobody said that this is meant."""
    if "plan" not in disclosure:
        return
    plan = {(place["table"], place["column"]) for place in disclosure["plan"]["keep"]}
    related = {(table, cell) for relation in relations for table, cell, _ in _columns_of(relation)}
    alone = {(place["table"], place["column"]) for place in disclosure["plan"].get("alone", [])}
    cells = {(name, cell.column) for name, table in tables.items() for cell in table.cells}
    for table, column in sorted(cells ^ plan):
        raise RuleError(f"Column {column} of {table} must stand both in the cells and in the table plan of disclosure.json.")
    for table, column in sorted(cells - related - alone):
        raise RuleError(f"Column {column} of {table} stands in no relation of disclosure.json: what could be worked out from it would not be seen.")


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
        return SumRelation(
            id=entry["id"],
            total=_side(entry["total"]),
            parts=_side(entry["parts"]),
            match=entry["match"],
            each=entry["each"],
            absent_is_zero=entry.get("absent_parts") == "zero",
        )
    raise RuleError(f"Relation {entry['id']} of disclosure.json is of a kind that is not known.")


def _read_price(entry: Mapping[str, Any]) -> PriceRelation:
    return PriceRelation(
        id=entry["id"],
        payments=_side(entry["payments"]),
        counts=_side(entry["counts"]),
        match=entry["match"],
        prices=entry["prices"]["table"],
        price=entry["prices"]["column"],
        price_match=entry["prices"]["match"],
        newest=entry["prices"]["newest"],
        series=entry["series"],
    )


def _side(entry: Mapping[str, Any]) -> Side:
    return Side(table=entry["table"], column=entry["column"], rows=_rows(entry.get("where", {}), entry.get("where_not", {})))


def _rows(where: Mapping[str, Sequence[str]], where_not: Mapping[str, Sequence[str]]) -> Rows:
    return Rows(where=where, where_not=where_not)


def _columns_of(relation: SumRelation | RunningRelation | PriceRelation) -> Iterator[tuple[str, str, Sequence[str]]]:
    """Yield for each column of figures in a relation: its table, its name, and the columns that choose and match rows."""
    if isinstance(relation, RunningRelation):
        others = (*relation.match, relation.order)
        yield from ((relation.table, column, others) for column in (relation.value, relation.running))
        return
    if isinstance(relation, PriceRelation):
        yield relation.payments.table, relation.payments.column, (*relation.match, *relation.payments.rows.columns)
        yield relation.counts.table, relation.counts.column, (*relation.match, *relation.price_match, *relation.counts.rows.columns)
        return
    yield relation.total.table, relation.total.column, (*relation.match, *relation.total.rows.columns)
    yield relation.parts.table, relation.parts.column, (*relation.match, *relation.each, *relation.parts.rows.columns)


def _check_relation(relation_id: str, table: TableRules | None, column: str) -> None:
    if table is None or column not in {cell.column for cell in table.cells}:
        raise RuleError(f"Relation {relation_id} of disclosure.json speaks of {column}, which is no cell there.")
