"""The relations between published figures as equations over cells: what anybody can work out from the tables alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import pyarrow as pa

from pipeline.errors import RuleError
from pipeline.stages.protection.cells import Cell, Grid
from pipeline.stages.protection.rules import DisclosureRules, PriceRelation, RunningRelation, Side, SumRelation

Key = tuple[object, ...]
Terms = Sequence[tuple[int, int]]
"""Cells with their factors: 1 for a part and -1 for its total; in a line of prices, the price of a count. With these, the cells add up to zero."""
Series = tuple[object, ...]
"""A row of payments through the quarters: relation, project, payer and basis."""


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
        for terms in state_relation(relation, grids):
            if sum(sign * cells[cell].value for cell, sign in terms) != 0:
                table = relation.total.table if isinstance(relation, SumRelation) else relation.table
                raise RuleError(f"Relation {relation.id} of disclosure.json does not hold in table {table}: its figures do not add up.")
            if len({cell for cell, _ in terms}) != len(terms):
                raise RuleError(f"Relation {relation.id} of disclosure.json takes one figure twice.")
            equations.append(Equation(relation.id, terms))
    return equations


def state_relation(relation: SumRelation | RunningRelation, grids: Mapping[str, Grid]) -> Iterator[Terms]:
    """Yield every instance of a relation."""
    yield from _sums(relation, grids) if isinstance(relation, SumRelation) else _runnings(relation, grids)


def split_terms(terms: Terms) -> tuple[int | None, Sequence[int]]:
    """Return the total of a sum and its parts."""
    totals = [cell for cell, factor in terms if factor < 0]
    return (totals[0] if totals else None), [cell for cell, factor in terms if factor > 0]


def is_priced(terms: Terms) -> bool:
    """Say whether an equation has prices in it."""
    return any(abs(factor) != 1 for _, factor in terms)


@dataclass(frozen=True)
class Priced:
    """A payment and the counts that it pays for, each with its price in the smallest unit of money."""

    series: Series
    relation: str
    payment: int
    counts: Sequence[tuple[int, int]]

    @property
    def terms(self) -> Terms:
        """The equation that says so."""
        return [*self.counts, (self.payment, -1)]


def find_priced(grids: Mapping[str, Grid], tables: Mapping[str, pa.Table], rules: DisclosureRules) -> Sequence[Priced]:
    """Return each payment beside counts that all have a published price, whether or not it was made by that price."""
    found = []
    for relation in rules.prices:
        sides = (relation.payments, relation.counts)
        if any(side.table not in grids or side.column not in grids[side.table].places for side in sides) or relation.prices not in tables:
            continue
        prices = _prices(relation, tables[relation.prices])
        counts = _priced_counts(relation, grids[relation.counts.table], prices)
        grid = grids[relation.payments.table]
        matches = [grid.frame[name].to_pylist() for name in relation.match]
        names = [name for name in relation.series if name in grid.frame.column_names]
        series = [grid.frame[name].to_pylist() for name in names]
        for row in relation.payments.rows.numbers(grid.frame):
            payment = grid.places[relation.payments.column][row]
            paid_for = counts.get(tuple(column[row] for column in matches))
            if payment is not None and paid_for:
                found.append(Priced((relation.id, *(column[row] for column in series)), relation.id, payment, paid_for))
    return found


def _prices(relation: PriceRelation, frame: pa.Table) -> Mapping[Key, int]:
    """Return the newest price of each metric, in pence; none where there is no price."""
    columns = [frame[name].to_pylist() for name in relation.price_match]
    newest = frame[relation.newest].to_pylist()
    amounts: Sequence[Decimal | None] = frame[relation.price].to_pylist()
    found: dict[Key, int] = {}
    for row in sorted(range(frame.num_rows), key=lambda row: newest[row]):
        amount = amounts[row]
        if amount is not None and amount > 0:
            found[tuple(column[row] for column in columns)] = int(amount.scaleb(2))
    return found


def _priced_counts(relation: PriceRelation, grid: Grid, prices: Mapping[Key, int]) -> Mapping[Key, Sequence[tuple[int, int]]]:
    """Return the counts of each project and quarter with their prices; nothing where a price is not published."""
    matches = [grid.frame[name].to_pylist() for name in relation.match]
    keys = [grid.frame[name].to_pylist() for name in relation.price_match]
    found: dict[Key, list[tuple[int, int]]] = defaultdict(list)
    unpriced = set()
    for row in relation.counts.rows.numbers(grid.frame):
        cell = grid.places[relation.counts.column][row]
        if cell is None:
            continue
        price = prices.get(tuple(column[row] for column in keys))
        match = tuple(column[row] for column in matches)
        if price is None:
            unpriced.add(match)
        else:
            found[match].append((cell, price))
    return {match: counts for match, counts in found.items() if match not in unpriced}


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
