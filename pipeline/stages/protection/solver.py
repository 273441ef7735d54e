"""The linear programs of protection, solved by HiGHS: how far a hidden figure can move, and what else must be hidden so that it can.

Both speak of changes from the true values, so that standing still keeps every equation. HiGHS runs in one thread, in the same way everywhere in this
project: two settings in one process make it fail.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import RuleError
from pipeline.stages.protection.equations import Terms

ROUNDING = 1e-6
"""Changes are whole numbers; the solver's are taken as such when they are as near as this."""

NODES = 2_000
"""So many branches are looked at for a movement in whole units; then there counts as none. Not a time: the pattern must not depend on the machine."""

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Matrix:
    """Equations row by row, as HiGHS takes them: where each begins, then its columns and their factors.

    In lines of prices HiGHS counts money in units of the highest price (`scales`, of each column), so that no factor is large.
    """

    starts: npt.NDArray[np.int32]
    columns: npt.NDArray[np.int32]
    signs: Vector
    scales: Vector

    @property
    def scaled(self) -> Vector:
        """The factors as HiGHS takes them: each row in its largest factor."""
        factors: Vector = self.signs * self.scales[self.columns]
        largest: Vector = np.maximum.reduceat(np.abs(factors), self.starts[:-1])
        scaled: Vector = factors / np.repeat(largest, np.diff(self.starts))
        return scaled


class MovementSolver:
    """Finds the furthest changes of single cells of one component, and remembers how far all cells went in any solution."""

    def __init__(self, cells: Sequence[int], equations: Sequence[Terms], floors: Mapping[int, float]) -> None:
        self._cells = cells
        self._column = {cell: column for column, cell in enumerate(cells)}
        self._floors = np.array([floors[cell] for cell in cells], dtype=np.float64)
        self._matrix = _matrix(equations, self._column, self._floors)
        self._programs: dict[bool, Any] = {}
        self._low = np.zeros(len(cells))
        self._high = np.zeros(len(cells))

    def reach(self, cell: int, wanted: int) -> tuple[float, float]:
        """Return how far a cell moves down and up: over `wanted` whole units in all, or its furthest when that is less."""
        column = self._column[cell]
        for direction in (1, -1):
            if self._high[column] - self._low[column] >= wanted:
                break
            self._push(column, direction, wanted)
        return float(self._low[column]), float(self._high[column])

    def _push(self, column: int, direction: int, wanted: int) -> None:
        """Move one cell as far as it goes; where the furthest movement is not in whole units, the furthest that is.

        A count of people is whole: at prices of their own few whole counts add up to a sum, however wide their intervals.
        """
        for in_whole in (False, True):
            changes = self._furthest(column, direction, wanted, in_whole=in_whole)
            if changes is None:
                return
            whole = np.rint(changes)
            if self._is_movement(changes, whole):
                self._low = np.minimum(self._low, whole)
                self._high = np.maximum(self._high, whole)
                return

    def _furthest(self, column: int, direction: int, wanted: int, *, in_whole: bool) -> Vector | None:
        floor = float(self._floors[column])
        program = self._program(in_whole=in_whole)
        program.changeColCost(column, -float(direction))
        program.changeColBounds(column, max(floor, -float(wanted)), float(wanted))
        changes = _run(program, may_fail=in_whole)
        program.changeColCost(column, 0.0)
        program.changeColBounds(column, floor, math.inf)
        return None if changes is None else changes * self._matrix.scales

    def _program(self, *, in_whole: bool) -> Any:
        if in_whole not in self._programs:
            program = _open(self._matrix, np.zeros(len(self._cells)), self._floors, np.full(len(self._cells), math.inf))
            if in_whole:
                _ask_for_whole(program, [not math.isinf(floor) for floor in self._floors])
            self._programs[in_whole] = program
        return self._programs[in_whole]

    def _is_movement(self, changes: Vector, whole: Vector) -> bool:
        """Say whether a solution is a movement in whole units, checked without trusting the solver."""
        if (np.abs(changes - whole) > ROUNDING * self._matrix.scales).any() or (whole < self._floors).any():
            return False
        sums = np.add.reduceat(self._matrix.signs * whole[self._matrix.columns], self._matrix.starts[:-1])
        return not sums.any()


def find_cheapest_move(
    cell: int, growth: int, equations: Sequence[Terms], *, floors: Mapping[int, float], prices: Mapping[int, float]
) -> Sequence[int] | None:
    """Return the cells that take part in the cheapest movement in which one cell grows by a given number of units, counts in whole units for a count.

    Args: `floors` and `prices` say of every cell how far down it can go and what it costs to move it by one unit.
    Returns: None when the cell cannot grow so far whatever is hidden.
    """
    cells = sorted(prices)
    column = {name: number for number, name in enumerate(cells)}
    count = len(cells)
    once = _matrix(equations, column, np.array([floors[name] for name in cells]))
    rows = np.repeat(np.arange(len(equations)), np.diff(once.starts))
    order = np.argsort(np.concatenate([rows, rows]), kind="stable")
    twice = Matrix(
        once.starts * 2,
        np.concatenate([once.columns, once.columns + count])[order],
        np.concatenate([once.signs, -once.signs])[order],
        np.concatenate([once.scales, once.scales]),
    )
    costs = np.array([prices[name] for name in cells], dtype=np.float64)
    upper = np.concatenate([np.full(count, math.inf), [-floors[name] for name in cells]])
    lower = np.zeros(2 * count)
    lower[column[cell]] = upper[column[cell]] = growth
    upper[column[cell] + count] = 0.0
    solver = _open(twice, np.concatenate([costs, costs]), lower, upper)
    changes = _run(solver, may_fail=True)
    is_count = np.array([not math.isinf(floors[name]) for name in cells] * 2)
    if changes is not None and not math.isinf(floors[cell]) and (np.abs(changes - np.rint(changes)) > ROUNDING)[is_count].any():
        _ask_for_whole(solver, is_count)
        changes = _run(solver, may_fail=True)
    if changes is None:
        return None
    return [name for number, name in enumerate(cells) if abs(changes[number] - changes[number + count]) > ROUNDING]


def _matrix(equations: Sequence[Terms], column: Mapping[int, int], floors: Vector) -> Matrix:
    starts = np.cumsum([0, *(len(terms) for terms in equations)], dtype=np.int32)
    columns = np.array([column[cell] for terms in equations for cell, _ in terms], dtype=np.int32)
    signs = np.array([sign for terms in equations for _, sign in terms], dtype=np.float64)
    highest = max(abs(factor) for terms in equations for _, factor in terms)
    return Matrix(starts, columns, signs, np.where(np.isinf(floors), float(highest), 1.0))


def _open(matrix: Matrix, costs: Vector, lower: Vector, upper: Vector) -> Any:
    """Return a solver that holds one program: equations that add up to zero, costs to make small."""
    import highspy

    program = highspy.HighsLp()
    program.num_col_, program.num_row_ = len(costs), len(matrix.starts) - 1
    program.col_cost_, program.col_lower_, program.col_upper_ = costs, lower, upper
    program.row_lower_ = program.row_upper_ = np.zeros(len(matrix.starts) - 1)
    program.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    program.a_matrix_.start_, program.a_matrix_.index_, program.a_matrix_.value_ = matrix.starts, matrix.columns, matrix.scaled
    solver: Any = highspy.Highs()  # type: ignore[no-untyped-call]
    for name, value in (("output_flag", False), ("threads", 1), ("solver", "simplex"), ("presolve", "off")):
        solver.setOptionValue(name, value)
    if solver.passModel(program) != highspy.HighsStatus.kOk:
        raise RuleError("The solver does not take the equations of the published tables: nothing was protected.")
    return solver


def _ask_for_whole(solver: Any, is_count: Iterable[bool]) -> None:
    """Let the program look for whole counts; money follows from them."""
    import highspy

    solver.setOptionValue("mip_max_nodes", NODES)
    for column, whole in enumerate(is_count):
        if whole:
            solver.changeColIntegrality(column, highspy.HighsVarType.kInteger)


def _run(solver: Any, *, may_fail: bool = False) -> Any:
    """Return the solution, or None when there is none and that is allowed. Raises: RuleError when the solver gives no answer."""
    import highspy

    status = solver.run()
    if solver.getModelStatus() in (highspy.HighsModelStatus.kUnknown, highspy.HighsModelStatus.kSolveError):
        solver.clearSolver()  # what the last objective left behind can lead it astray
        status = solver.run()
    state = solver.getModelStatus()
    if status == highspy.HighsStatus.kOk and state == highspy.HighsModelStatus.kOptimal:
        return np.array(solver.getSolution().col_value, dtype=np.float64)
    if may_fail and state in (
        highspy.HighsModelStatus.kInfeasible,
        highspy.HighsModelStatus.kUnboundedOrInfeasible,
        highspy.HighsModelStatus.kSolutionLimit,
    ):
        return None
    raise RuleError("The solver gave no answer about how far hidden figures can move: nothing was protected.")
