"""What is left of the statements once everything published is put in: lines over hidden figures, and which figures they settle exactly."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from pipeline.errors import RuleError
from pipeline.stages.audit.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Line:
    """The hidden figures of one statement, with signs or prices, and what they add up to."""

    signs: Mapping[int, int]
    sum: int
    is_priced: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Hidden figures that hang together, in order, and the lines that tie them."""

    figures: Sequence[int]
    lines: Sequence[Line]


def draw_lines(evidence: Evidence) -> Sequence[Line]:
    """Return one line for each statement with a hidden figure: addends less total."""
    lines = []
    for statement in evidence.statements:
        signs: dict[int, int] = {}
        known = 0
        factors = statement.factors or [1] * len(statement.addends)
        for figure, sign in (*zip(statement.addends, factors, strict=True), (statement.total, -1)):
            value = evidence.figures[figure].value
            if value is not None:
                known += sign * value
            elif figure in signs:
                raise RuleError(f"Relation {statement.relation} of disclosure.json takes one figure twice: it cannot be audited.")
            else:
                signs[figure] = sign
        if signs:
            lines.append(Line(signs, -known, bool(statement.factors)))
    return lines


def group_lines(lines: Sequence[Line]) -> Sequence[Group]:
    """Return the lines by which hidden figures hang together, each group on its own."""
    parent: dict[int, int] = {}

    def root(figure: int) -> int:
        while parent.setdefault(figure, figure) != figure:
            parent[figure] = parent[parent[figure]]
            figure = parent[figure]
        return figure

    for line in lines:
        first, *others = sorted(line.signs)
        for other in others:
            one, two = sorted((root(first), root(other)))
            parent[two] = one
        root(first)
    gathered: dict[int, list[Line]] = defaultdict(list)
    for line in lines:
        gathered[root(min(line.signs))].append(line)
    return [Group(sorted({figure for line in gathered[key] for figure in line.signs}), gathered[key]) for key in sorted(gathered)]


def settle(group: Group) -> Sequence[int]:
    """Return the figures of a group that its lines settle, whatever values the figures may have.

    Exact: a vector that every line sends to zero is built from arbitrary large numbers. Where it is not zero the figure is proven free; where it is
    zero by chance alone (one in 2^60) the verdict errs on the side of caution.
    """
    steps = _solve_order(group)
    pivots = {pivot for pivot, _ in steps}
    vector = {figure: Fraction(_large_number(figure)) for figure in group.figures if figure not in pivots}
    for pivot, row in reversed(steps):
        rest = sum((factor * vector[figure] for figure, factor in row.items() if figure != pivot), Fraction(0))
        vector[pivot] = -rest / row[pivot]
    return [figure for figure in group.figures if vector[figure] == 0]


def _large_number(figure: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"audit {figure}".encode(), digest_size=8).digest(), "big") | 1


def _solve_order(group: Group) -> Sequence[tuple[int, Mapping[int, Fraction]]]:
    """Return lines with the figure that each is solved for, such that only later ones are needed for it.

    Lines that hold a figure no other open line holds come first, at no cost; what remains is eliminated exactly, shortest line first.
    """
    rows = [{figure: Fraction(sign) for figure, sign in line.signs.items()} for line in group.lines]
    where: dict[int, set[int]] = defaultdict(set)
    for number, row in enumerate(rows):
        for figure in row:
            where[figure].add(number)
    steps: list[tuple[int, Mapping[int, Fraction]]] = []
    lone = sorted(figure for figure, numbers in where.items() if len(numbers) == 1)
    remaining = set(range(len(rows)))
    while remaining:
        if lone:
            pivot = lone.pop()
            if len(where[pivot]) != 1:
                continue
            number = next(iter(where[pivot]))
        else:
            number = min(remaining, key=lambda number: (len(rows[number]), number))
            if not rows[number]:
                remaining.discard(number)
                continue
            pivot = min(rows[number], key=lambda figure: (len(where[figure]), figure))
            _clear(rows, where, number, pivot)
        steps.append((pivot, rows[number]))
        remaining.discard(number)
        for figure in rows[number]:
            where[figure].discard(number)
            if len(where[figure]) == 1:
                lone.append(figure)
    return steps


def _clear(rows: Sequence[dict[int, Fraction]], where: Mapping[int, set[int]], number: int, pivot: int) -> None:
    """Take a figure out of every other row that holds it."""
    for other in sorted(where[pivot] - {number}):
        factor = rows[other][pivot] / rows[number][pivot]
        for figure, value in rows[number].items():
            rest = rows[other].get(figure, Fraction(0)) - factor * value
            if rest:
                rows[other][figure] = rest
                where[figure].add(other)
            else:
                rows[other].pop(figure, None)
                where[figure].discard(other)
