"""The relations between published figures as equations over cells: what anybody can work out from the tables alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipeline.errors import RuleError
from pipeline.stages.protection.cells import Cell, Grid
from pipeline.stages.protection.rules import DisclosureRules, RunningRelation, Side, SumRelation

Key = tuple[object, ...]
Terms = Sequence[tuple[int, int]]
"""Cells with their signs (1 or -1). Signed, the cells add up to zero."""


@dataclass(frozen=True, slots=True)
class Equation:
    """One instance of a relation."""

    relation: str
    terms: Terms


def build_equations(grids: Mapping[str, Grid], cells: Sequence[Cell], rules: DisclosureRules) -> Sequence[Equation]:
    """Return every equation that the declared relations give over cells that have a value.

    A part that is unavailable is left out, as tabulation leaves it out of the total; where no part or no total has a value there is no equation.

    Raises: RuleError when the unprotected figures do not keep a declared relation.
    """
    equations = []
    for relation in rules.relations:
        found = _sums(relation, grids) if isinstance(relation, SumRelation) else _runnings(relation, grids)
        for terms in found:
            if sum(sign * cells[cell].value for cell, sign in terms) != 0:
                table = relation.total.table if isinstance(relation, SumRelation) else relation.table
                raise RuleError(f"Relation {relation.id} of disclosure.json does not hold in table {table}: its figures do not add up.")
            if len({cell for cell, _ in terms}) != len(terms):
                raise RuleError(f"Relation {relation.id} of disclosure.json takes one figure twice.")
            equations.append(Equation(relation.id, terms))
    return equations


def _sums(relation: SumRelation, grids: Mapping[str, Grid]) -> Iterator[Terms]:
    totals = _group(relation.total, grids, relation.match)
    parts = _group(relation.parts, grids, (*relation.match, *relation.each))
    for key, summed in parts.items():
        found = totals.get(key[: len(relation.match)], [])
        if len(found) > 1:
            raise RuleError(f"Relation {relation.id} of disclosure.json finds more than one total for the same parts.")
        if found:
            yield [(found[0], -1), *((cell, 1) for cell in summed)]


def _group(side: Side, grids: Mapping[str, Grid], by: Sequence[str]) -> Mapping[Key, Sequence[int]]:
    """Return the cells of one side by the values of some columns, in the order in which they first stand in the table."""
    grid = grids[side.table]
    columns = [grid.frame[name].to_pylist() for name in by]
    places = grid.places[side.column]
    groups: dict[Key, list[int]] = defaultdict(list)
    for row in side.rows.numbers(grid.frame):
        cell = places[row]
        if cell is not None:
            groups[tuple(column[row] for column in columns)].append(cell)
    return groups


def _runnings(relation: RunningRelation, grids: Mapping[str, Grid]) -> Iterator[Terms]:
    """Yield each running figure as the one before it and the values since."""
    grid = grids[relation.table]
    columns = [grid.frame[name].to_pylist() for name in relation.match]
    order = grid.frame[relation.order].to_pylist()
    groups: dict[Key, list[int]] = defaultdict(list)
    for row in range(grid.frame.num_rows):
        groups[tuple(column[row] for column in columns)].append(row)
    for rows in groups.values():
        since: list[tuple[int, int]] = []
        for row in sorted(rows, key=lambda row: order[row]):
            value, running = grid.places[relation.value][row], grid.places[relation.running][row]
            if value is not None:
                since.append((value, 1))
            if running is None:
                continue
            if since:
                yield [*since, (running, -1)]
            since = [(running, 1)]
