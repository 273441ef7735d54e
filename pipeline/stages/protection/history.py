"""All releases as one system: which figures of a candidate are the same unknowns as figures of earlier releases, and what those have given away.

An earlier release is read as the public has it. What it hid is looked up in the tables that it was made of, made again from the log: a figure that
did not change from one release to the next is one unknown in both, and an attacker may know that it did not change.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from pipeline.domain.tables import Definitions, TableSchema
from pipeline.stages import frames
from pipeline.stages.protection.cells import Cell, Grid, decimals_of
from pipeline.stages.protection.equations import Equation, Priced, Terms, find_priced, split_terms, state_relation
from pipeline.stages.protection.movement import Component, find_fixed
from pipeline.stages.protection.prices import find_series, link_prices
from pipeline.stages.protection.rules import STATUS, DisclosureRules, SumRelation

Place = tuple[object, ...]
"""Table, column and the values of the key."""
Tables = Mapping[str, pa.Table]


@dataclass(frozen=True, kw_only=True)
class Past:
    """One earlier release: its tables as the public has them, and as they were before protection."""

    public: Tables
    true: Tables


@dataclass(frozen=True)
class About:
    """What tells how tables are to be read."""

    rules: DisclosureRules
    definitions: Definitions


@dataclass(frozen=True)
class Union:
    """The cells of a candidate, then the hidden figures that only earlier releases have, with everything that ties them.

    `known` is what earlier releases have given away and the candidate leaves as it is; `kept` is what they hid and has not changed; `revised` are
    the other figures of the candidate whose place was last shown with another value.
    """

    cells: Sequence[Cell]
    equations: Sequence[Equation]
    known: frozenset[int] = frozenset()
    kept: frozenset[int] = frozenset()
    revised: frozenset[int] = frozenset()


@dataclass
class _Release:
    """One release: its figures by number, with their places and true values, which of them are shown, and its equations."""

    places: list[Place] = field(default_factory=list)
    values: list[int] = field(default_factory=list)
    shown: list[bool] = field(default_factory=list)
    counts: list[bool] = field(default_factory=list)
    small: list[bool] = field(default_factory=list)
    totals: set[Place] = field(default_factory=set)
    """The counts whose parts have a row only where there is somebody."""
    equations: Sequence[Equation] = ()
    priced: Sequence[Priced] = ()


def unite(
    candidate: Mapping[str, Grid],
    cells: Sequence[Cell],
    equations: Sequence[Equation],
    priced: Sequence[Priced],
    earlier: Sequence[Past],
    about: About,
) -> Union:
    """Return the union of a candidate with the releases before it, oldest first.

    A series of payments that was made by price in any release is taken to be so in all, where it comes out: the contract says it.
    """
    counts = [cell.is_count for cell in cells]
    now = _Release(_places(candidate, cells, about), [cell.value for cell in cells], counts=counts, equations=equations, priced=priced)
    now.totals = _totals(now, candidate, about.rules)
    past = [_read(release, about) for release in earlier]
    series = {found for release in [*past, now] for found in find_series(release.priced, release.values)}
    for release in [*past, now]:
        release.equations = [*release.equations, *link_prices(release.priced, release.values, series)]
    merger = _Merger(now, about.rules)
    old: list[Equation] = []
    for release in merger.follow(past):
        old += [Equation(equation.relation, merger.translate(release, equation)) for equation in release.equations]
    known = merger.known_cells
    old = _without(_distinct(old), merger.known_variables)
    given = _given([*old, *_without(now.equations, known)]) if earlier else frozenset()
    return Union(
        cells=[*cells, *merger.past_cells],
        equations=_without(_distinct([*old, *_without(now.equations, known)]), given),
        known=known | given,
        kept=merger.kept,
        revised=merger.revised,
    )


def _places(grids: Mapping[str, Grid], cells: Sequence[Cell], about: About) -> list[Place]:
    places: list[Place] = [()] * len(cells)
    for name, grid in grids.items():
        keys = _keys(about.definitions.table("published", name), grid.frame)
        for column, numbers in grid.places.items():
            for row, number in enumerate(numbers):
                if number is not None:
                    places[number] = (name, column, *keys[row])
    return places


def _keys(schema: TableSchema, frame: pa.Table) -> Sequence[Place]:
    return list(zip(*(frame[key].to_pylist() for key in schema.primary_key), strict=True))


def _read(past: Past, about: About) -> _Release:
    """Return one earlier release. What it did not publish at all it cannot give away: tables and columns that it lacks are left out."""
    release = _Release()
    grids: dict[str, Grid] = {}
    for name, table in about.rules.tables.items():
        schema = about.definitions.table("published", name)
        if name not in past.public or not set(schema.primary_key) <= {*past.public[name].column_names}:
            continue
        frame = past.public[name]
        columns = [rule.column for rule in table.cells if {rule.column, rule.column + STATUS} <= {*frame.column_names}]
        grids[name] = Grid(frame, {column: _read_column(release, past, schema, column, about.rules) for column in columns})
    places = {(name, column) for name, grid in grids.items() for column in grid.places}
    release.totals = _totals(release, grids, about.rules)
    release.equations = [
        Equation(relation.id, terms) for relation in about.rules.relations if relation.places <= places for terms in state_relation(relation, grids)
    ]
    release.priced = find_priced(grids, past.public, about.rules)
    return release


def _totals(release: _Release, grids: Mapping[str, Grid], rules: DisclosureRules) -> set[Place]:
    found: set[int] = set()
    for relation in rules.relations:
        if isinstance(relation, SumRelation) and relation.absent_is_zero and relation.total.column in grids[relation.total.table].places:
            numbers = grids[relation.total.table].places[relation.total.column]
            rows = relation.total.rows.numbers(grids[relation.total.table].frame)
            found.update(number for row in rows if (number := numbers[row]) is not None and release.counts[number])
    return {release.places[number] for number in found}


def _read_column(release: _Release, past: Past, schema: TableSchema, column: str, rules: DisclosureRules) -> Sequence[int | None]:
    """Add the figures of one column to a release; return the number of each row's figure. A hidden one that cannot be looked up counts as 0."""
    frame, true = past.public[schema.name], past.true.get(schema.name)
    really = {} if true is None else dict(zip(_keys(schema, true), _whole(schema, true, column), strict=True))
    decimals = decimals_of(schema.field(column))
    numbers: list[int | None] = []
    for key, value, status in zip(_keys(schema, frame), _whole(schema, frame, column), frame[column + STATUS].to_pylist(), strict=True):
        if status in rules.absent:
            numbers.append(None)
            continue
        numbers.append(len(release.places))
        truth = really.get(key) if value is None else value
        release.places.append((schema.name, column, *key))
        release.values.append(truth or 0)
        release.shown.append(value is not None)
        release.counts.append(decimals is None)
        release.small.append(decimals is None and (truth or 0) < rules.threshold)
    return numbers


def _whole(schema: TableSchema, frame: pa.Table, column: str) -> Sequence[int | None]:
    declared = schema.field(column)
    decimals = decimals_of(declared)
    values = frame[column].cast(frames.arrow_type(declared)).to_pylist()
    return [value if value is None or decimals is None else int(value.scaleb(decimals)) for value in values]


Unknown = tuple[int, int]
"""An identity, and how often the figure has changed by then."""


class _Merger:
    """Goes through the releases in their order and says which variable each hidden figure is.

    A figure is the same unknown as long as its value, and for a total what it is made of, does not change. Variables are numbers of the candidate's
    cells, where one of them is the same unknown, and further numbers otherwise.
    """

    def __init__(self, now: _Release, rules: DisclosureRules) -> None:
        self._now = now
        self._rules = rules
        self._numbers: dict[object, int] = {}
        self._value: dict[int, int] = {}
        self._era: dict[int, int] = defaultdict(int)
        self._known: set[Unknown] = set()
        self._seen: set[Unknown] = set()
        self._last_shown: dict[Place, bool] = {}
        self._figures: dict[int, Sequence[Unknown]] = {}
        self._variable: dict[Unknown, int] = {}
        self._extra: list[Cell] = []
        self._small: dict[Unknown, bool] = {}

    def follow(self, releases: Sequence[_Release]) -> Sequence[_Release]:
        """Take in all releases and then the candidate; return the releases."""
        coming = self._coming([*releases, self._now])
        for release in releases:
            self._figures[id(release)] = self._take(release, release.shown, coming)
        mine = self._take(self._now, [False] * len(self._now.places), coming)
        self.known_cells = frozenset(number for number, key in enumerate(mine) if key in self._known)
        self.kept = frozenset(number for number, key in enumerate(mine) if key in self._seen and key not in self._known)
        shown_before = [self._last_shown.get(place, False) for place in self._now.places]
        self.revised = frozenset(number for number, was_shown in enumerate(shown_before) if was_shown and number not in self.known_cells)
        self._variable = {key: number for number, key in enumerate(mine)}
        return releases

    @property
    def known_variables(self) -> frozenset[int]:
        """What releases have shown, among all variables."""
        return frozenset(self._variable[key] for key in self._known if key in self._variable)

    @property
    def past_cells(self) -> Sequence[Cell]:
        """The figures of earlier releases that no cell of the candidate stands for."""
        return self._extra

    def translate(self, release: _Release, equation: Equation) -> Terms:
        """Return the terms of an equation of an earlier release over variables."""
        figures = self._figures[id(release)]
        terms = []
        for figure, factor in equation.terms:
            key = figures[figure]
            if key not in self._variable:
                self._variable[key] = len(self._now.places) + len(self._extra)
                table, column, *_ = release.places[figure]
                self._extra.append(Cell(str(table), str(column), release.values[figure], release.counts[figure], 1, release.small[figure]))
            terms.append((self._variable[key], factor))
        return sorted(terms)

    def _take(self, release: _Release, shown: Sequence[bool], coming: Mapping[Place, Mapping[Place, None]]) -> Sequence[Unknown]:
        found = []
        for ident, place, value, is_shown in zip(self._identify(release), release.places, release.values, shown, strict=True):
            found.append(self._note(ident, value, is_shown=is_shown))
            if release is not self._now:
                self._last_shown[place] = is_shown
        here = dict(zip(release.places, found, strict=True))
        for total, parts in coming.items():
            if total in here:  # a part without a row is a zero that everybody can read
                for part in parts:
                    if part not in here:
                        self._note(self._numbers.setdefault((part, frozenset()), len(self._numbers)), 0, is_shown=True)
        with_parts = {release.places[whole] for equation in release.equations if (whole := split_terms(equation.terms)[0]) is not None}
        bare = release.totals - with_parts
        self._known.update(here[total] for total in bare if not self._value[here[total][0]])  # and so is a total without any part
        if release is not self._now:
            self._seen.update(found)
        return found

    def _note(self, ident: int, value: int, *, is_shown: bool) -> Unknown:
        if self._value.setdefault(ident, value) != value:
            self._era[ident] += 1
            self._value[ident] = value
        key = (ident, self._era[ident])
        if is_shown:
            self._known.add(key)
        return key

    def _coming(self, releases: Sequence[_Release]) -> Mapping[Place, Mapping[Place, None]]:
        """Return, for each total whose parts come and go, all parts that it has in any release."""
        names = {relation.id for relation in self._rules.relations if relation.absent_is_zero}
        found: dict[Place, dict[Place, None]] = {}
        for release in releases:
            for equation in release.equations:
                total, parts = split_terms(equation.terms)
                if equation.relation in names and total is not None:
                    found.setdefault(release.places[total], {}).update((release.places[part], None) for part in parts)
        return found

    def _identify(self, release: _Release) -> Sequence[int]:
        """Return a number for each figure: of its place and, for a total over places that only time brings, of its parts."""
        left_out = {relation.id for relation in self._rules.relations if relation.absent_is_zero} | self._rules.price_ids
        made_of: dict[int, list[int]] = defaultdict(list)
        for equation in release.equations:
            total, parts = split_terms(equation.terms)
            if total is not None and equation.relation not in left_out:
                made_of[total] += parts
        found: dict[int, int] = {}

        def identify(figure: int) -> int:
            if figure not in found:
                parts = frozenset(identify(part) for part in made_of.get(figure, ()))
                found[figure] = self._numbers.setdefault((release.places[figure], parts), len(self._numbers))
            return found[figure]

        return [identify(figure) for figure in range(len(release.places))]


def _distinct(equations: Sequence[Equation]) -> list[Equation]:
    """Return each equation once, whatever releases it stands in."""
    found: dict[tuple[tuple[int, int], ...], Equation] = {}
    for equation in equations:
        found.setdefault(tuple(sorted(equation.terms)), equation)
    return list(found.values())


def _without(equations: Sequence[Equation], known: frozenset[int]) -> list[Equation]:
    """Return equations without figures that are known, and none that says nothing then."""
    left = [Equation(equation.relation, [term for term in equation.terms if term[0] not in known]) for equation in equations]
    return [equation for equation in left if equation.terms]


def _given(old: Sequence[Equation]) -> frozenset[int]:
    """Return what earlier releases determine when the candidate shows nothing: no candidate can take that back.

    A new total over old parts is among it: when a return is withdrawn, what the others add up to was known before.
    """
    fixed: set[int] = set()
    for component in _components(old):
        fixed |= find_fixed(component)
    return frozenset(fixed)


def _components(equations: Sequence[Equation]) -> Iterator[Component]:
    touching: dict[int, list[int]] = defaultdict(list)
    for number, equation in enumerate(equations):
        for variable, _ in equation.terms:
            touching[variable].append(number)
    seen: set[int] = set()
    for start in sorted(touching):
        if start in seen:
            continue
        cells, lines, waiting = {start}, set[int](), [start]
        while waiting:
            for line in touching[waiting.pop()]:
                if line not in lines:
                    lines.add(line)
                    new = {variable for variable, _ in equations[line].terms} - cells
                    cells |= new
                    waiting.extend(new)
        seen |= cells
        yield Component(sorted(cells), [equations[line].terms for line in sorted(lines)], {})
