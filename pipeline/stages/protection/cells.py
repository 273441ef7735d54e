"""The published tables taken apart into cells: what each figure is worth, and which must be hidden for the people behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from pipeline.domain.tables import Definitions, Field, TableSchema
from pipeline.errors import RuleError
from pipeline.stages import frames
from pipeline.stages.protection.rules import STATUS, CellRule, DisclosureRules, TableRules


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure that has a value.

    `value` is whole: a count, or money in its smallest unit. A count is never below zero and everybody knows it; money may be anything.
    """

    table: str
    column: str
    value: int
    is_count: bool
    importance: int
    is_primary: bool


@dataclass(frozen=True)
class Grid:
    """One table in the order of its key, and the number of the cell at each place of its columns of figures (None: there is no figure)."""

    frame: pa.Table
    places: Mapping[str, Sequence[int | None]]


def read_cells(tables: Mapping[str, pa.Table], rules: DisclosureRules, definitions: Definitions) -> tuple[Mapping[str, Grid], Sequence[Cell]]:
    """Return the tables and their cells, in the order of tables, columns and keys.

    Raises: RuleError when a table or a column is missing, or a figure and its status do not agree.
    """
    for name, table in rules.tables.items():
        if name not in tables and table.cells:
            raise RuleError(f"Table {name} is missing: nothing can be protected without it.")
    grids: dict[str, Grid] = {}
    cells: list[Cell] = []
    for name in sorted(tables):
        if name not in rules.tables:
            raise RuleError(f"Table {name} does not stand in disclosure.json.")
        frame = _order(definitions.table("published", name), rules.tables[name], tables[name])
        grids[name] = _read_grid(name, frame, rules, definitions.table("published", name), cells)
    return grids, cells


def _order(schema: TableSchema, rules: TableRules, frame: pa.Table) -> pa.Table:
    """Return a frame with the declared columns in their types and the counts of people, in the order of its key."""
    people = [cell.people for cell in rules.cells if cell.people not in schema.columns]
    missing = [name for name in (*schema.columns, *people) if name not in frame.column_names]
    if missing:
        raise RuleError(f"Table {schema.name} was made without its columns {', '.join(missing)}.")
    columns = {column.name: frame[column.name].cast(frames.arrow_type(column)) for column in schema.fields}
    columns |= {name: frame[name].cast(pa.int64()) for name in people}
    ordered = pa.table(columns).sort_by([(name, "ascending") for name in schema.primary_key])
    frames.check_key(schema, ordered)
    return ordered


def _read_grid(name: str, frame: pa.Table, rules: DisclosureRules, schema: TableSchema, cells: list[Cell]) -> Grid:
    table = rules.tables[name]
    for column in (*(cell.column for cell in table.cells), *(derived.column for derived in table.derived)):
        _check_statuses(name, column, frame, rules)
    meant = table.rows.mask(frame).to_pylist()
    places = {}
    for rule in table.cells:
        makes = partial(_make_cell, table=name, rule=rule, decimals=decimals_of(schema.field(rule.column)), rules=rules)
        places[rule.column] = _read_column(frame, rule, meant, makes, cells)
    return Grid(frame, places)


def decimals_of(column: Field) -> int | None:
    """Return the decimals of a column of money; None for a count."""
    return None if column.type == "integer" else frames.arrow_type(column).scale


def _check_statuses(name: str, column: str, frame: pa.Table, rules: DisclosureRules) -> None:
    for value, status in zip(frame[column].to_pylist(), frame[column + STATUS].to_pylist(), strict=True):
        if status not in (rules.absent if value is None else rules.shown):
            raise RuleError(f"Table {name} has a figure in {column} that does not agree with its status.")


def _read_column(
    frame: pa.Table, rule: CellRule, meant: Sequence[bool], makes: Callable[[Any, int | None], Cell], cells: list[Cell]
) -> Sequence[int | None]:
    """Add the figures of a column to the cells; return the number of each row's cell."""
    found: list[int | None] = []
    for is_meant, value, people in zip(meant, frame[rule.column].to_pylist(), frame[rule.people].to_pylist(), strict=True):
        if value is not None and not is_meant:
            raise RuleError(f"There is a figure in {rule.column} in a row of which disclosure.json says that it has none.")
        found.append(None if value is None else len(cells))
        if value is not None:
            cells.append(makes(value, people))
    return found


def _make_cell(value: Any, people: int | None, *, table: str, rule: CellRule, decimals: int | None, rules: DisclosureRules) -> Cell:
    whole = value if decimals is None else int(value.scaleb(decimals))
    if decimals is None and whole < 0:
        raise RuleError(f"Table {table} has a count below zero in {rule.column}.")
    return Cell(table, rule.column, whole, decimals is None, rule.importance, is_small(people, rules))


def is_small(people: int | None, rules: DisclosureRules) -> bool:
    """Say whether so few people stand behind a figure that it must be hidden. None: the figure does not speak of people."""
    if people is None:
        return False
    return (0 if rules.hides_zeros else 1) <= people < rules.threshold
