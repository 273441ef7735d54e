"""What an outsider has in hand: the public tables, and what is known of how their figures hang together.

Built from the published files and the disclosure rules alone, by code that protection does not use, so that a fault there is not repeated here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pyarrow as pa

from pipeline.errors import RuleError

STATUS = "_status"


@dataclass
class PublicTable:
    """One table as read back: its columns as lists, and the numbers of the figures at each place."""

    name: str
    frame: pa.Table
    columns: dict[str, list[Any]] = field(default_factory=dict)
    figures: dict[str, list[int | None]] = field(default_factory=dict)

    def column(self, name: str) -> list[Any]:
        """Return the values of a column. Raises: RuleError when the table has none of that name."""
        if name not in self.columns:
            if name not in self.frame.column_names:
                raise RuleError(f"The candidate's table {self.name} has no column {name}: it cannot be audited.")
            self.columns[name] = self.frame[name].to_pylist()
        return self.columns[name]

    def rows(self, where: Mapping[str, Iterable[Any]], where_not: Mapping[str, Iterable[Any]] | None = None) -> list[int]:
        """Return the rows whose columns have one of the values, and none of those ruled out."""
        kept = list(range(self.frame.num_rows))
        for name, values in where.items():
            wanted, column = set(values), self.column(name)
            kept = [row for row in kept if column[row] in wanted]
        for name, values in (where_not or {}).items():
            unwanted, column = set(values), self.column(name)
            kept = [row for row in kept if column[row] not in unwanted]
        return kept

    def key(self, row: int) -> str:
        """Return the key of a row as text."""
        return "/".join(str(self.column(name)[row]) for name in self.key_columns)

    @cached_property
    def key_columns(self) -> Sequence[str]:
        """The first text columns that together tell all rows apart. Raises: RuleError when none do."""
        names = [column.name for column in self.frame.schema if _is_text(column.type) and not column.name.endswith(STATUS)]
        for count in range(1, len(names) + 1):
            if len(set(zip(*(self.column(name) for name in names[:count]), strict=True))) == self.frame.num_rows:
                return names[:count]
        raise RuleError(f"The candidate's table {self.name} has rows that cannot be told apart: it cannot be audited.")


@dataclass(frozen=True, slots=True)
class Figure:
    """One published place for a number. `value` is whole (counts, or money in its smallest unit); None when it is hidden."""

    home: PublicTable = field(compare=False, repr=False)
    row: int
    column: str
    value: int | None
    is_count: bool

    @property
    def table(self) -> str:
        """The name of the table in which it stands."""
        return self.home.name


@dataclass(frozen=True, slots=True)
class Statement:
    """A total and what it is made of, by numbers of figures; each addend counts `factors` times, once where there are none."""

    relation: str
    total: int
    addends: Sequence[int]
    factors: Sequence[int] = ()


@dataclass(frozen=True)
class Evidence:
    """Everything that an outsider can hold against the hidden figures."""

    tables: Mapping[str, PublicTable]
    figures: Sequence[Figure]
    statements: Sequence[Statement]


def gather_evidence(tables: Mapping[str, pa.Table], disclosure: Mapping[str, Any]) -> Evidence:
    """Return the figures and statements of public tables.

    Raises: RuleError when a table or column that must be looked at is missing or not covered, or published figures do not add up.
    """
    for name in sorted({*tables} - {*disclosure["tables"]}):
        raise RuleError(f"The candidate's table {name} does not stand in disclosure.json: it cannot be audited.")
    for name, rules in sorted(disclosure["tables"].items()):
        if rules["cells"] and name not in tables:
            raise RuleError(f"The candidate has no table {name}: it cannot be audited.")
    return _gather({name: PublicTable(name, frame) for name, frame in sorted(tables.items())}, disclosure, disclosure["relations"])


def gather_past(tables: Mapping[str, pa.Table], disclosure: Mapping[str, Any]) -> Evidence:
    """Return the figures and statements of an earlier release; what it did not publish it cannot tell."""
    public = {name: PublicTable(name, frame) for name, frame in sorted(tables.items()) if name in disclosure["tables"]}
    return _gather(public, disclosure, [relation for relation in disclosure["relations"] if _tables_of(relation) <= {*public}])


def _gather(public: Mapping[str, PublicTable], disclosure: Mapping[str, Any], relations: Sequence[Mapping[str, Any]]) -> Evidence:
    figures: list[Figure] = []
    for name, table in public.items():
        _check_statuses(table, disclosure["tables"][name])
        for cell in disclosure["tables"][name]["cells"]:
            table.figures[cell["column"]] = list(_read_figures(table, cell["column"], disclosure, figures))
    statements = [statement for relation in relations for statement in _state(relation, public)]
    _check_sums(figures, statements)
    return Evidence(public, figures, statements)


def _tables_of(relation: Mapping[str, Any]) -> set[str]:
    return {relation["table"]} if "table" in relation else {relation["total"]["table"], relation["parts"]["table"]}


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _check_statuses(table: PublicTable, rules: Mapping[str, Any]) -> None:
    named = {entry["column"] for entry in (*rules["cells"], *rules.get("derived", []))}
    for name in table.frame.column_names:
        if name.endswith(STATUS) and name.removesuffix(STATUS) not in named:
            raise RuleError(f"Column {name} of the candidate's table {table.name} is not covered by disclosure.json: it cannot be audited.")


def _read_figures(table: PublicTable, column: str, disclosure: Mapping[str, Any], figures: list[Figure]) -> Iterator[int | None]:
    """Yield for each row the number of its figure, None where there is none; add the figures."""
    status = disclosure["status"]
    values, statuses = table.column(column), table.column(column + STATUS)
    kind = table.frame.schema.field(column).type
    if not (pa.types.is_integer(kind) or pa.types.is_decimal(kind)):
        raise RuleError(f"Column {column} of the candidate's table {table.name} is neither a count nor an exact amount: it cannot be audited.")
    for row, value in enumerate(values):
        is_hidden = statuses[row] == status["suppressed"]
        if not is_hidden and (value is None or statuses[row] in (status["unavailable"], status["not_applicable"])):
            yield None
            continue
        whole = None if is_hidden else value if pa.types.is_integer(kind) else int(value.scaleb(kind.scale))
        yield len(figures)
        figures.append(Figure(table, row, column, whole, pa.types.is_integer(kind)))


def _state(relation: Mapping[str, Any], tables: Mapping[str, PublicTable]) -> Iterator[Statement]:
    if relation["kind"] == "sum":
        yield from _state_sums(relation, tables)
    elif relation["kind"] == "running":
        yield from _state_runnings(relation, tables[relation["table"]])
    else:
        raise RuleError(f"Relation {relation['id']} of disclosure.json is of a kind that the audit does not know.")


def _state_sums(relation: Mapping[str, Any], tables: Mapping[str, PublicTable]) -> Iterator[Statement]:
    totals = {key: figures[0] for key, figures in _by_key(relation["total"], tables, relation["match"])}
    for key, figures in _by_key(relation["parts"], tables, [*relation["match"], *relation["each"]]):
        total = totals.get(key[: len(relation["match"])])
        if total is not None:
            yield Statement(relation["id"], total, figures)


def _by_key(side: Mapping[str, Any], tables: Mapping[str, PublicTable], names: Sequence[str]) -> list[tuple[tuple[Any, ...], list[int]]]:
    table = tables[side["table"]]
    columns = [table.column(name) for name in names]
    found: dict[tuple[Any, ...], list[int]] = {}
    for row in table.rows(side.get("where", {}), side.get("where_not")):
        figure = table.figures[side["column"]][row]
        if figure is not None:
            found.setdefault(tuple(column[row] for column in columns), []).append(figure)
    return list(found.items())


def _state_runnings(relation: Mapping[str, Any], table: PublicTable) -> Iterator[Statement]:
    order = table.column(relation["order"])
    columns = [table.column(name) for name in relation["match"]]
    rows = sorted(range(table.frame.num_rows), key=lambda row: (*(column[row] for column in columns), order[row]))
    before: tuple[Any, ...] | None = None
    pending: list[int] = []
    for row in rows:
        key = tuple(column[row] for column in columns)
        if key != before:
            before, pending = key, []
        value, running = table.figures[relation["value"]][row], table.figures[relation["running"]][row]
        if value is not None:
            pending.append(value)
        if running is not None:
            if pending:
                yield Statement(relation["id"], running, pending)
            pending = [running]


def _check_sums(figures: Sequence[Figure], statements: Iterable[Statement]) -> None:
    """Raise RuleError when a statement about shown figures only is not true: then the rules are not what the tables are made by."""
    for statement in statements:
        values = [figures[number].value for number in statement.addends]
        total = figures[statement.total].value
        known = [value for value in values if value is not None]
        if total is not None and len(known) == len(values) and sum(known) != total:
            raise RuleError(f"Published figures do not keep relation {statement.relation} in table {figures[statement.total].table}.")
