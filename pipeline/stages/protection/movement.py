"""How far hidden figures can move while everything that is published stays true.

A movement changes hidden figures only and keeps every equation: signed, the changes in an equation add up to zero. A figure that cannot move is
known to everybody who can subtract; one that can hardly move is nearly known. Changes are counted in whole units from the true value.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.stages.protection.equations import Terms
from pipeline.stages.protection.solver import MovementSolver

PRIME = (1 << 61) - 1
SWEEPS = 60
"""Narrowing stops after so many visits of each equation; in a tree it has long come to rest."""

Span = tuple[float, float]
"""The furthest changes downwards (0 or less) and upwards (0 or more)."""


@dataclass(frozen=True)
class Component:
    """Hidden cells that hang together through equations. `floors` are the furthest changes downwards that a figure's nature allows."""

    cells: Sequence[int]
    equations: Sequence[Terms]
    floors: Mapping[int, float]

    @property
    def is_tree(self) -> bool:
        """Whether no way leads round in a circle; then narrowing equation by equation is exact."""
        if any(abs(factor) != 1 for terms in self.equations for _, factor in terms):
            return False
        return sum(len(terms) for terms in self.equations) == len(self.cells) + len(self.equations) - 1


def find_weak(component: Component, wanted: Mapping[int, int]) -> Mapping[int, float]:
    """Return which cells cannot move over as many units as is wanted of them, with their furthest change downwards.

    Args: `wanted` names the cells to look at; others of the component only have to give way.
    """
    spans = narrow(component) if component.is_tree else _solve(component, wanted)
    return {cell: spans[cell][0] for cell in component.cells if cell in wanted and spans[cell][1] - spans[cell][0] < wanted[cell]}


def narrow(component: Component) -> Mapping[int, Span]:
    """Return how far each cell can move at most, from one equation at a time until nothing changes."""
    spans: dict[int, Span] = {cell: (component.floors[cell], math.inf) for cell in component.cells}
    touching: dict[int, list[int]] = defaultdict(list)
    for number, terms in enumerate(component.equations):
        for cell, _ in terms:
            touching[cell].append(number)
    waiting = deque(range(len(component.equations)))
    queued = set(waiting)
    visits: Counter[int] = Counter()
    while waiting:
        number = waiting.popleft()
        queued.discard(number)
        visits[number] += 1
        for cell in _tighten(component.equations[number], spans):
            for other in touching[cell]:
                if other not in queued and visits[other] < SWEEPS:
                    queued.add(other)
                    waiting.append(other)
    return spans


def _tighten(terms: Terms, spans: dict[int, Span]) -> Sequence[int]:
    """Narrow every cell of one equation by the others; return those that changed."""
    sides = [spans[cell] if sign > 0 else (-spans[cell][1], -spans[cell][0]) for cell, sign in terms]
    lows, highs = _Total(), _Total()
    for low, high in sides:
        lows.add(low)
        highs.add(high)
    changed = []
    for (cell, sign), (low, high) in zip(terms, sides, strict=True):
        at_least = max(low, -highs.without(high))
        at_most = min(high, -lows.without(low))
        if (at_least, at_most) != (low, high):
            spans[cell] = (at_least, at_most) if sign > 0 else (-at_most, -at_least)
            changed.append(cell)
    return changed


@dataclass
class _Total:
    """A sum that can be asked without one of its terms although some are infinite."""

    finite: float = 0
    infinite: Counter[float] = field(default_factory=Counter)

    def add(self, term: float) -> None:
        if math.isinf(term):
            self.infinite[term] += 1
        else:
            self.finite += term

    def without(self, term: float) -> float:
        for bound, count in self.infinite.items():
            if count > (term == bound):
                return bound
        return self.finite if math.isinf(term) else self.finite - term


def find_fixed(component: Component) -> frozenset[int]:
    """Return the cells that no movement changes at all, whatever the size and sign of the figures.

    One movement with arbitrary values in its free cells is worked out exactly, in the whole numbers modulo a prime: a cell that stands still in it
    is fixed, but for one chance in the size of the prime, which would hide a figure more and never one less.
    """
    steps, touched = _eliminate(component)
    changes = {cell: _arbitrary(cell) for cell in component.cells if cell not in touched}
    for pivot, equation in reversed(steps):
        known = sum(sign * changes[cell] for cell, sign in equation.items() if cell != pivot)
        changes[pivot] = -known * pow(equation[pivot], -1, PRIME) % PRIME
    return frozenset(cell for cell, change in changes.items() if change == 0)


def _eliminate(component: Component) -> tuple[Sequence[tuple[int, Mapping[int, int]]], frozenset[int]]:
    """Return equations in an order in which each can be solved for its pivot once the later ones are solved, and all pivots."""
    equations = [dict(terms) for terms in component.equations]
    holding: dict[int, set[int]] = defaultdict(set)
    for number, equation in enumerate(equations):
        for cell in equation:
            holding[cell].add(number)
    open_equations = set(range(len(equations)))
    steps: list[tuple[int, Mapping[int, int]]] = []
    while open_equations:
        number = min(open_equations, key=lambda number: (len(equations[number]), number))
        open_equations.discard(number)
        equation = equations[number]
        for cell in equation:
            holding[cell].discard(number)
        if not equation:
            continue
        pivot = min(equation, key=lambda cell: (len(holding[cell]), cell))
        steps.append((pivot, equation))
        for other in sorted(holding[pivot]):
            _subtract(equations[other], equation, pivot, other, holding)
    return steps, frozenset(pivot for pivot, _ in steps)


def _subtract(target: dict[int, int], equation: Mapping[int, int], pivot: int, number: int, holding: Mapping[int, set[int]]) -> None:
    factor = target[pivot] * pow(equation[pivot], -1, PRIME) % PRIME
    for cell, value in equation.items():
        rest = (target.get(cell, 0) - factor * value) % PRIME
        if rest:
            target[cell] = rest
            holding[cell].add(number)
        else:
            target.pop(cell, None)
            holding[cell].discard(number)


def _arbitrary(cell: int) -> int:
    return int.from_bytes(hashlib.sha256(str(cell).encode()).digest()[:7], "big") + 1


def _solve(component: Component, wanted: Mapping[int, int]) -> Mapping[int, Span]:
    """Return how far each wanted cell is shown to move: as far as is wanted, or its furthest when that is less. Without a floor, all or nothing."""
    solver = MovementSolver(component.cells, component.equations, component.floors)
    fixed = find_fixed(component)
    found: dict[int, Span] = {}
    for cell in component.cells:
        if cell in fixed:
            found[cell] = (0.0, 0.0)
        elif math.isinf(component.floors[cell]):
            found[cell] = (-math.inf, math.inf)
        elif cell in wanted:
            found[cell] = solver.reach(cell, wanted[cell])
    return found
