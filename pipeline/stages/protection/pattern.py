"""Which cells to hide so that no hidden one can be worked out: the place where another method would be put in.

First line by line, with the cheapest cell that helps; then, where lines taken together still give a figure away, by the cheapest movement that
frees it.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence

from pipeline.stages.protection.equations import Terms, is_priced
from pipeline.stages.protection.history import Union
from pipeline.stages.protection.movement import Component, find_weak
from pipeline.stages.protection.solver import find_cheapest_move

PRIMARY_WIDTH = 2
"""A figure hidden for its people must have at least three possible values (source: disclosure handbook practice, W = 2)."""
SECONDARY_WIDTH = 1
"""Any other hidden figure must have at least two: one that is known protects nobody."""
EFFORT = 4_000
"""So many cells are looked at, again and again, for what need not have been hidden; then what is hidden stays hidden."""
HIDDEN_PRICE = 1e-4
"""Moving what is hidden already costs next to nothing."""


def find_pattern(union: Union, candidate: int, aside: frozenset[int] = frozenset()) -> frozenset[int]:
    """Return the numbers of the cells to hide: the primary ones, and as few and cheap others as the method finds.

    Args: `candidate` says how many of the first cells are the candidate's; the others are hidden in earlier releases and stay so. `aside` are
    further cells of the candidate that must be hidden.
    """
    pattern = _Pattern(union, candidate, aside)
    for number, cell in enumerate(union.cells):
        if cell.is_primary or number >= candidate or number in union.kept or number in aside:
            pattern.hide(number)
    pattern.fill_lines()
    pattern.free_components()
    pattern.show_needless()
    return frozenset(number for number in pattern.hidden if number < candidate)


class _Pattern:
    """What is hidden so far, and what still has to be looked at."""

    def __init__(self, union: Union, candidate: int, aside: frozenset[int]) -> None:
        self.hidden: set[int] = set()
        self._cells = union.cells
        self._candidate = candidate
        self._kept = union.kept | aside
        self._effort = 0
        self._equations = [equation.terms for equation in union.equations]
        self._touching: dict[int, list[int]] = defaultdict(list)
        for number, terms in enumerate(self._equations):
            for cell, _ in terms:
                self._touching[cell].append(number)
        self._wanted: dict[int, int] = {}
        self._lines: deque[int] = deque()
        self._unsettled: list[int] = []
        self._settled: set[int] = set()

    def hide(self, cell: int) -> None:
        """Hide one cell and look again at what it touches."""
        if cell in self.hidden:
            return
        self.hidden.add(cell)
        figure = self._cells[cell]
        self._wanted[cell] = PRIMARY_WIDTH if figure.is_primary and figure.is_count else SECONDARY_WIDTH
        self._lines.extend(self._touching[cell])
        heapq.heappush(self._unsettled, cell)

    def fill_lines(self) -> None:
        """Hide, line by line, until no line taken alone gives one of its hidden cells away."""
        while self._lines:
            line = self._equations[self._lines.popleft()]
            while (choice := self._choose(line)) is not None:
                self.hide(choice)

    def _choose(self, line: Terms) -> int | None:
        """Return the cheapest cell of a line that hides enough, else the cheapest at all; None when nothing is wanting or left."""
        if self._is_safe(line, None):
            return None
        payments = [cell for cell, factor in line if factor < 0 and cell not in self.hidden] if is_priced(line) else []
        if payments:
            return payments[0]
        shown = sorted((cell for cell, _ in line if cell not in self.hidden), key=self._price)
        enough = (cell for cell in shown if self._is_safe(line, cell))
        return next(enough, shown[0] if shown else None)

    def _is_safe(self, line: Terms, extra: int | None) -> bool:
        """Say whether a line taken alone leaves its hidden cells, and one extra if given, as much room as is wanted."""
        hidden = [(cell, sign) for cell, sign in line if cell in self.hidden or cell == extra]
        if len(hidden) < 2:
            return not hidden
        if is_priced(line):  # whole counts at prices of their own are few: a payment that is shown may tell them, so it goes with them
            return all(cell in self.hidden for cell, factor in line if factor < 0)
        signs = {sign for _, sign in hidden}
        if len(signs) == 2 or not all(self._cells[cell].is_count for cell, _ in hidden):
            return True
        return sum(self._cells[cell].value for cell, _ in hidden) >= max(self._wanted.get(cell, SECONDARY_WIDTH) for cell, _ in hidden)

    def _price(self, cell: int) -> tuple[int, int, int]:
        return self._cells[cell].importance, abs(self._cells[cell].value), cell

    def free_components(self) -> None:
        """Hide more until no lines taken together give a hidden cell away, as far as hiding can bring that about.

        A cell that can move goes on being able to when more is hidden, so each is settled once.
        """
        while self._unsettled:
            start = heapq.heappop(self._unsettled)
            if start in self._settled or not self._touching[start]:
                continue
            component = self._component(start)
            weak = find_weak(component, {cell: self._wanted[cell] for cell in component.cells if cell not in self._settled})
            self._settled.update(cell for cell in component.cells if cell not in weak)
            if weak:
                heapq.heappush(self._unsettled, start)
                for cell in weak:
                    heapq.heappush(self._unsettled, cell)
                self._free_all(weak)
                self.fill_lines()

    def _free_all(self, weak: Mapping[int, float]) -> None:
        """Free weak cells one after the other, primary ones first; those that an earlier one has helped are looked at again later."""
        freed: set[int] = set()
        for cell in sorted(weak, key=lambda cell: (not self._cells[cell].is_primary, cell)):
            if cell not in freed:
                freed.update(self._free(cell, weak[cell], is_first=not freed))

    def show_needless(self) -> None:
        """Show again, dearest first, what was hidden for others and is no longer needed by any."""
        extra = [cell for cell in self.hidden if cell < self._candidate and cell not in self._kept and not self._cells[cell].is_primary]
        for cell in sorted(extra, key=self._price, reverse=True):
            self.hidden.discard(cell)
            if not self._is_quiet_around(cell):
                self.hidden.add(cell)

    def _is_quiet_around(self, shown: int) -> bool:
        """Say whether nothing that shares a line with a cell is weak."""
        lines = [self._equations[line] for line in self._touching[shown]]
        if not all(self._is_safe(line, None) for line in lines):
            return False
        seen: set[int] = set()
        for cell in sorted({cell for line in lines for cell, _ in line} & self.hidden):
            if cell not in seen:
                component = self._component(cell)
                self._effort += len(component.cells)
                if self._effort > EFFORT or find_weak(component, self._wanted):
                    return False
                seen.update(component.cells)
        return True

    def _component(self, start: int) -> Component:
        """Return the hidden cells that hang together with one."""
        cells, lines, waiting = {start}, set[int](), [start]
        while waiting:
            for line in self._touching[waiting.pop()]:
                if line not in lines:
                    lines.add(line)
                    new = {cell for cell, _ in self._equations[line] if cell in self.hidden} - cells
                    cells |= new
                    waiting.extend(new)
        equations = [[term for term in self._equations[line] if term[0] in cells] for line in sorted(lines)]
        return Component(sorted(cells), equations, {cell: self._floor(cell) for cell in cells})

    def _floor(self, cell: int) -> float:
        return -float(self._cells[cell].value) if self._cells[cell].is_count else -math.inf

    def _free(self, cell: int, low: float, *, is_first: bool) -> Sequence[int]:
        """Hide what the cheapest movement of a cell needs; return the cells that it moves.

        Where hiding everything would not give the room that is wanted, less is asked for, and in the end nothing: the audit has the last word.
        """
        around, lines = self._surroundings(cell)
        floors = {other: self._floor(other) for other in around}
        prices = {other: self._move_price(other) for other in around}
        while self._wanted[cell]:
            moved = find_cheapest_move(cell, round(low) + self._wanted[cell], lines, floors=floors, prices=prices)
            if moved is not None and not (is_first and self.hidden.issuperset(moved)):
                for other in moved:
                    self.hide(other)
                return moved
            self._wanted[cell] -= 1
        return [cell]

    def _surroundings(self, start: int) -> tuple[Sequence[int], Sequence[Terms]]:
        """Return all cells, hidden or not, that hang together with one, and their equations."""
        cells, lines, waiting = {start}, set[int](), [start]
        while waiting:
            for line in self._touching[waiting.pop()]:
                if line not in lines:
                    lines.add(line)
                    new = {cell for cell, _ in self._equations[line]} - cells
                    cells |= new
                    waiting.extend(new)
        return sorted(cells), [self._equations[line] for line in sorted(lines)]

    def _move_price(self, cell: int) -> float:
        if cell in self.hidden:
            return HIDDEN_PRICE
        return self._cells[cell].importance * (1.0 + math.log2(1.0 + abs(self._cells[cell].value)))
