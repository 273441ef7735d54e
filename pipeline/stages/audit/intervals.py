"""The attack by intervals: hidden counts are whole and not below zero, so lines that leave a figure open may still leave it one single value.

HiGHS finds the smallest and the largest value of each hidden count. It runs in one thread, in the same way everywhere in this project: two settings
in one process make it fail. Every point that it returns is checked before it is believed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import RuleError
from pipeline.stages.audit.equations import Group, Line

LARGE = 400
"""In a group of more hidden figures than this, intervals are for the narrowest; of the others it is enough that two solutions differ in them."""
SHAKES = 12
SWEEPS = 25
TOLERANCE = 1e-6

Interval = tuple[float, float]
Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Intervals:
    """Of one group: the interval of each count that was solved for, the counts that two whole solutions show to be open, and whether it was large."""

    solved: Mapping[int, Interval]
    open: frozenset[int]
    is_large: bool


def find_intervals(group: Group, counts: frozenset[int]) -> Intervals:
    """Return what values the hidden counts of a group can have.

    Raises: RuleError when the published figures contradict one another, or the solver gives no answer that holds.
    """
    wanted = [figure for figure in group.figures if figure in counts]
    if not wanted:
        return Intervals({}, frozenset(), False)
    program = _Program(group, counts)
    if len(group.figures) <= LARGE:
        return Intervals({figure: program.interval(figure) for figure in wanted}, frozenset(), False)
    program.shake()
    outer = narrow(group, counts)
    solved: dict[int, Interval] = {}
    for figure in sorted(wanted, key=lambda figure: (outer[figure][1] - outer[figure][0], figure)):
        if len(solved) < LARGE or not program.is_open(figure):
            solved[figure] = program.interval(figure)
    return Intervals(solved, frozenset(figure for figure in wanted if figure not in solved), True)


def narrow(group: Group, counts: frozenset[int]) -> Mapping[int, Interval]:
    """Return an interval in which each figure must lie, from single lines, as far as a fixed number of sweeps leads."""
    found: dict[int, Interval] = {figure: (0.0 if figure in counts else -math.inf, math.inf) for figure in group.figures}
    for _ in range(SWEEPS):
        before = dict(found)
        for line in group.lines:
            for figure in line.signs:
                found[figure] = _from_line(line, figure, found)
        if found == before:
            break
    return found


def _from_line(line: Line, figure: int, found: Mapping[int, Interval]) -> Interval:
    """Return the interval of a figure as one line and the intervals of its other figures leave it."""
    low = high = float(line.sum)
    for other, sign in line.signs.items():
        if other != figure:
            least, most = found[other]
            low -= most if sign > 0 else -least
            high -= least if sign > 0 else -most
    if line.signs[figure] < 0:
        low, high = -high, -low
    return max(found[figure][0], low), min(found[figure][1], high)


class _Program:
    """The lines of one group as a linear program whose objective is one figure at a time."""

    def __init__(self, group: Group, counts: frozenset[int]) -> None:
        import highspy

        self._highspy = highspy
        self._column = {figure: column for column, figure in enumerate(group.figures)}
        self._lower = np.array([0.0 if figure in counts else -math.inf for figure in group.figures])
        self._starts = np.cumsum([0, *(len(line.signs) for line in group.lines)], dtype=np.int32)
        self._index = np.array([self._column[figure] for line in group.lines for figure in line.signs], dtype=np.int32)
        self._signs = np.array([sign for line in group.lines for sign in line.signs.values()], dtype=np.float64)
        self._sums = np.array([line.sum for line in group.lines], dtype=np.float64)
        self._least = np.full(len(group.figures), math.inf)
        self._most = np.full(len(group.figures), -math.inf)
        self._solver = self._open()

    def _open(self) -> Any:
        program = self._highspy.HighsLp()
        program.num_col_, program.num_row_ = len(self._lower), len(self._sums)
        program.col_cost_ = np.zeros(len(self._lower))
        program.col_lower_, program.col_upper_ = self._lower, np.full(len(self._lower), self._highspy.kHighsInf)
        program.row_lower_ = program.row_upper_ = self._sums
        program.a_matrix_.format_ = self._highspy.MatrixFormat.kRowwise
        program.a_matrix_.start_, program.a_matrix_.index_, program.a_matrix_.value_ = self._starts, self._index, self._signs
        solver: Any = self._highspy.Highs()  # type: ignore[no-untyped-call]
        for name, value in (("output_flag", False), ("threads", 1), ("solver", "simplex"), ("presolve", "off")):
            solver.setOptionValue(name, value)
        if solver.passModel(program) != self._highspy.HighsStatus.kOk:
            raise RuleError("The solver does not take the lines of the candidate: it was not audited.")
        return solver

    def shake(self) -> None:
        """Look for solutions that differ in many figures at once, by objectives of arbitrary signs."""
        columns = np.arange(len(self._lower), dtype=np.int32)
        for number in range(SHAKES):
            bits = hashlib.shake_128(f"audit {number}".encode()).digest(len(columns))
            self._solver.changeColsCost(len(columns), columns, np.array([1.0 if bit & 1 else -1.0 for bit in bits]))
            self._run()
        self._solver.changeColsCost(len(columns), columns, np.zeros(len(columns)))

    def interval(self, figure: int) -> Interval:
        """Return the smallest and the largest whole value that a figure can have."""
        column = self._column[figure]
        return float(math.ceil(self._extreme(column, 1) - TOLERANCE)), _floor(self._extreme(column, -1) + TOLERANCE)

    def is_open(self, figure: int) -> bool:
        """Say whether two whole solutions met so far differ in a figure."""
        column = self._column[figure]
        return bool(self._least[column] < self._most[column])

    def _extreme(self, column: int, direction: int) -> float:
        self._solver.changeColCost(column, float(direction))
        point = self._run()
        self._solver.changeColCost(column, 0.0)
        return -direction * math.inf if point is None else float(point[column])

    def _run(self) -> Vector | None:
        """Return the best point, checked; None when there is no end to what is better."""
        states = self._highspy.HighsModelStatus
        status = self._solver.run()
        if self._solver.getModelStatus() not in (states.kOptimal, states.kUnbounded, states.kInfeasible):
            self._solver.clearSolver()  # what the last objective left behind can lead it astray
            status = self._solver.run()
        state = self._solver.getModelStatus()
        if state == states.kInfeasible:
            raise RuleError("Published figures contradict one another: the candidate was not audited.")
        if status != self._highspy.HighsStatus.kOk or state not in (states.kOptimal, states.kUnbounded):
            raise RuleError("The solver gave no answer: the candidate was not audited.")
        if state == states.kUnbounded:
            return None
        point: Vector = np.array(self._solver.getSolution().col_value, dtype=np.float64)
        self._check(point)
        return point

    def _check(self, point: Vector) -> None:
        """Raise RuleError when a point breaks a line; remember a whole one, which proves what values figures can have."""
        scale = max(1.0, float(np.abs(point).max()))
        if np.abs(self._residuals(point)).max() > TOLERANCE * scale or (point < self._lower - TOLERANCE).any():
            raise RuleError("The solver's answer does not hold: the candidate was not audited.")
        whole = np.rint(point)
        if not self._residuals(whole).any() and (whole >= self._lower).all():
            self._least, self._most = np.minimum(self._least, whole), np.maximum(self._most, whole)

    def _residuals(self, point: Vector) -> Vector:
        sums: Vector = np.add.reduceat(self._signs * point[self._index], self._starts[:-1]) - self._sums
        return sums


def _floor(value: float) -> float:
    return value if math.isinf(value) else float(math.floor(value))
