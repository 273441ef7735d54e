"""Finds the witnesses of a certificate: whole tables that agree with all public figures and differ in the hidden ones.

HiGHS proposes, in the same single thread as elsewhere in this project; only tables of whole numbers that keep every line exactly are taken. Where the
corners of a linear program are not whole, it is asked for whole numbers.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import RuleError
from pipeline.stages.audit.equations import Group, Line, group_lines
from pipeline.stages.audit.witnesses import WIDTH, Certificate, Witnesses, digest_lines, leaves_open

SHAKES = 6
NODES = 2_000
"""So many branches are looked at for one whole table; then there counts as none. Not a time: the answer must not depend on the machine."""

Table = tuple[int, ...]
Vector = npt.NDArray[np.float64]


def certify(lines: Sequence[Line], counts: Collection[int], wanted: Collection[int], threshold: int) -> tuple[Certificate, frozenset[int]]:
    """Return a certificate for as many of the wanted figures as can be had, and those for which none was found.

    Args: as in `witnesses.check_certificate`.
    Raises: RuleError when the solver does not take the lines, or the published figures contradict one another.
    """
    groups = []
    missing: set[int] = set()
    for group in group_lines(lines):
        mine = [figure for figure in group.figures if figure in wanted]
        if mine:
            search = _Search(group, frozenset(counts), threshold)
            missing.update(search.find(mine))
            groups.append(search.witnesses(mine))
    return Certificate(digest_lines(lines), groups), frozenset(missing)


class _Search:
    """Looks for the whole tables of one group."""

    def __init__(self, group: Group, counts: frozenset[int], threshold: int) -> None:
        self._group = group
        self._counts = counts
        self._threshold = threshold
        self._column = {figure: column for column, figure in enumerate(group.figures)}
        self._tables: dict[Table, None] = {}
        self._program = _Program(group, self._column, [figure in counts for figure in group.figures])

    def find(self, wanted: Sequence[int]) -> Sequence[int]:
        """Collect tables until each wanted figure has two; return the figures that have not."""
        for number in range(SHAKES):
            self._take(self._program.corner(number))
            if all(self._is_open(figure) for figure in wanted):
                return []
        return [figure for figure in wanted if not self._open(figure)]

    def witnesses(self, wanted: Sequence[int]) -> Witnesses:
        """Return the tables that are needed, and for each figure the two that it needs."""
        pairs = {figure: pair for figure in wanted if (pair := self._pair(figure)) is not None}
        needed = sorted({table for pair in pairs.values() for table in pair})
        place = {table: number for number, table in enumerate(needed)}
        tables = list(self._tables)
        return Witnesses(
            self._group.figures,
            [tables[table] for table in needed],
            {figure: (place[one], place[other]) for figure, (one, other) in pairs.items()},
        )

    def _pair(self, figure: int) -> tuple[int, int] | None:
        values = [table[self._column[figure]] for table in self._tables]
        if not values:
            return None
        low, high = values.index(min(values)), values.index(max(values))
        return (low, high) if leaves_open(values[low], values[high], self._limit(figure)) else None

    def _is_open(self, figure: int) -> bool:
        return self._pair(figure) is not None

    def _limit(self, figure: int) -> int | None:
        return self._threshold if figure in self._counts else None

    def _open(self, figure: int) -> bool:
        """Push a figure up and down, first anywhere and then to whole tables, until two tables leave it open."""
        for whole in (False, True):
            for direction in (1, -1):
                if self._is_open(figure):
                    return True
                self._take(self._program.push(self._column[figure], direction, self._around(figure), whole=whole))
        return self._is_open(figure)

    def _around(self, figure: int) -> int | None:
        """Return a value from which the figure is to be pushed away, but not far, so that the other figures can stay whole."""
        values = [table[self._column[figure]] for table in self._tables]
        return min(values, default=None)

    def _take(self, point: Vector | None) -> None:
        if point is None:
            return
        table: Table = tuple(round(value) for value in point)
        kept = all(sum(sign * table[self._column[figure]] for figure, sign in line.signs.items()) == line.sum for line in self._group.lines)
        if kept and all(table[self._column[figure]] >= 0 for figure in self._group.figures if figure in self._counts):
            self._tables[table] = None


class _Program:
    """The lines of one group for HiGHS. Money stands in units of the highest price, so that no factor is large."""

    def __init__(self, group: Group, column: dict[int, int], is_count: Sequence[bool]) -> None:
        import highspy

        self._highspy = highspy
        unit = float(max(abs(factor) for line in group.lines for factor in line.signs.values()))
        self._scale = np.where(np.array(is_count), 1.0, unit)
        self._lower = np.where(np.array(is_count), 0.0, -math.inf)
        self._whole = np.array(is_count)
        starts = np.cumsum([0, *(len(line.signs) for line in group.lines)], dtype=np.int32)
        index = np.array([column[figure] for line in group.lines for figure in line.signs], dtype=np.int32)
        factors = np.array([factor for line in group.lines for factor in line.signs.values()], dtype=np.float64) * self._scale[index]
        largest = np.maximum.reduceat(np.abs(factors), starts[:-1])
        program = highspy.HighsLp()
        program.num_col_, program.num_row_ = len(is_count), len(group.lines)
        program.col_cost_ = np.zeros(len(is_count))
        program.col_lower_, program.col_upper_ = self._lower, np.full(len(is_count), math.inf)
        program.row_lower_ = program.row_upper_ = np.array([line.sum for line in group.lines], dtype=np.float64) / largest
        program.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        program.a_matrix_.start_, program.a_matrix_.index_ = starts, index
        program.a_matrix_.value_ = factors / np.repeat(largest, np.diff(starts))
        self._solvers: dict[bool, Any] = {}
        self._model = program

    def corner(self, number: int) -> Vector | None:
        """Return a corner in an arbitrary direction in which every count is kept small or grows; None when that has no end."""
        bits = hashlib.shake_128(f"certificate {number}".encode()).digest(len(self._lower))
        costs = np.array([1.0 if number == 0 or bit & 1 else -1.0 for bit in bits]) * self._whole
        return self._solve(costs, None, whole=False)

    def push(self, column: int, direction: int, around: int | None, *, whole: bool) -> Vector | None:
        """Return a table in which one figure is as small or as large as it can be, no further than WIDTH from a given value."""
        costs = np.zeros(len(self._lower))
        costs[column] = -float(direction)
        step = WIDTH if self._whole[column] else 1.0
        base = 0.0 if around is None else around / self._scale[column]
        bounds = (max(float(self._lower[column]), base - step), base + step)
        return self._solve(costs, (column, bounds) if around is not None else None, whole=whole)

    def _solve(self, costs: Vector, bound: tuple[int, tuple[float, float]] | None, *, whole: bool) -> Vector | None:
        solver = self._solver(whole=whole)
        columns = np.arange(len(costs), dtype=np.int32)
        solver.changeColsCost(len(costs), columns, costs)
        if bound is not None:
            solver.changeColBounds(bound[0], *bound[1])
        solver.run()
        state = solver.getModelStatus()
        states = self._highspy.HighsModelStatus
        point = np.array(solver.getSolution().col_value, dtype=np.float64) * self._scale if state == states.kOptimal else None
        if bound is not None:
            solver.changeColBounds(bound[0], float(self._lower[bound[0]]), math.inf)
        return point

    def _solver(self, *, whole: bool) -> Any:
        if whole not in self._solvers:
            solver: Any = self._highspy.Highs()  # type: ignore[no-untyped-call]
            for name, value in (("output_flag", False), ("threads", 1), ("mip_max_nodes", NODES)):
                solver.setOptionValue(name, value)
            if solver.passModel(self._model) != self._highspy.HighsStatus.kOk:
                raise RuleError("The solver does not take the lines of the candidate: it has no certificate.")
            if whole:
                kinds = [self._highspy.HighsVarType.kInteger if is_count else self._highspy.HighsVarType.kContinuous for is_count in self._whole]
                for column, kind in enumerate(kinds):
                    solver.changeColIntegrality(column, kind)
            self._solvers[whole] = solver
        return self._solvers[whole]
