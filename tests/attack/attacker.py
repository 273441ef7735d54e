"""An attacker who has every release. Shares no code with the pipeline: reads public tables, knows the rules, the rate card and how figures add up.

It is stronger than anybody outside: of each hidden figure it is told whether it changed from one release to the next. What it is not told is a value.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import highspy
import numpy as np
import pyarrow as pa

PRIME = (1 << 61) - 1
Place = tuple[str, ...]
Line = dict[int, int]
Tables = Mapping[str, pa.Table]


def rows_of(tables: Tables, name: str) -> list[dict[str, Any]]:
    return tables[name].to_pylist() if name in tables else []


def read_figures(tables: Tables) -> dict[Place, int | None]:
    """Every figure by its place; None when it is hidden. Money in pence."""
    found: dict[Place, int | None] = {}

    def note(row: Mapping[str, Any], column: str, place: Place) -> None:
        if row[f"{column}_status"] not in ("x", "z"):
            value = row[column]
            found[place] = None if value is None else round(value * 100) if column.endswith("_gbp") else value

    for row in rows_of(tables, "service_users_by_quarter"):
        note(row, "starts_count", ("start", row["project_id"], row["quarter"], row["characteristic"], row["category"]))
    for row in rows_of(tables, "outcomes_by_quarter"):
        for column in ("achieved", "cumulative"):
            note(row, f"{column}_quantity", (column, row["project_id"], row["quarter"], row["metric_id"]))
    for row in rows_of(tables, "payments_by_quarter"):
        note(row, "paid_gbp", ("paid", row["project_id"], row["quarter"], row["payer_id"], row["basis"]))
    for row in rows_of(tables, "performance"):
        if row["aggregation"] == "pooled":
            for column in ("users_count", "outcomes_quantity", "paid_gbp"):
                note(row, column, ("sum", column, row["level"], row["policy_sector"], row["project_id"]))
    return found


def is_count(place: Place) -> bool:
    return place[0] != "paid" and place[1] != "paid_gbp"


def lines_of(figures: Mapping[Place, int | None], tables: Tables, by_price: frozenset[str]) -> list[dict[Place, int]]:
    """Every combination of figures that is zero: how the publisher's own description says that they add up."""
    lines: list[dict[Place, int]] = []
    groups: dict[tuple[Place, str], list[Place]] = defaultdict(list)
    for place in figures:
        if place[0] == "start" and place[3] != "all":
            groups[("start", place[1], place[2], "all", "all"), place[3]].append(place)
        elif place[0] == "start":
            groups[project_sum("users_count", place[1], tables), ""].append(place)
        elif place[0] == "achieved":
            groups[project_sum("outcomes_quantity", place[1], tables), ""].append(place)
        elif place[0] == "cumulative":
            parts = [other for other in figures if other[0] == "achieved" and other[1::2] == place[1::2] and other[2] <= place[2]]
            groups[place, ""] = parts
        elif place[0] == "paid" and place[3] != "all":
            groups[("paid", place[1], place[2], "all", "all"), ""].append(place)
        elif place[0] == "paid":
            groups[project_sum("paid_gbp", place[1], tables), ""].append(place)
        elif place[2] == "project":
            groups[("sum", place[1], "sector", place[3], "all"), ""].append(place)
        elif place[2] == "sector":
            groups[("sum", place[1], "fund", "all", "all"), ""].append(place)
    for (total, _), parts in groups.items():
        if total in figures and parts:
            lines.append({total: -1, **dict.fromkeys(parts, 1)})
    return lines + price_lines(figures, tables, by_price)


def project_sum(column: str, project: str, tables: Tables) -> Place:
    sectors = {row["project_id"]: row["policy_sector"] for row in rows_of(tables, "performance") if row["level"] == "project"}
    return ("sum", column, "project", sectors.get(project, ""), project)


def price_lines(figures: Mapping[Place, int | None], tables: Tables, by_price: frozenset[str]) -> list[dict[Place, int]]:
    prices = {(row["project_id"], row["metric_id"]): round(row["price_per_unit_gbp"] * 100) for row in rows_of(tables, "outcome_metrics")}
    lines = []
    for place in figures:
        if place[0] == "paid" and place[3] == "all" and place[1] in by_price:
            counts = {other: prices[other[1], other[3]] for other in figures if other[0] == "achieved" and other[1:3] == place[1:3]}
            if counts:
                lines.append({place: -1, **counts})
    return lines


@dataclass
class Knowledge:
    """All releases as one system. Unknowns are numbered; an unknown stands for a figure through all releases in which it is known not to change."""

    places: list[Place] = field(default_factory=list)
    values: list[int | None] = field(default_factory=list)
    true: list[int] = field(default_factory=list)
    since: list[int] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    by_absence: set[int] = field(default_factory=set)

    @property
    def hidden(self) -> list[int]:
        return [number for number, value in enumerate(self.values) if value is None]


def gather(  # noqa: PLR0912
    public: Sequence[Tables], true: Sequence[Tables], by_price: frozenset[str], *, silent: int | None = None
) -> Knowledge:
    """Put all releases together. The true tables only say what changed, and are kept to compare with in the end.

    Of a `silent` release only the outline is looked at, none of its figures: what then is known of it the releases before it have told.
    """
    known = Knowledge()
    latest: dict[Place, tuple[int, object, int]] = {}
    seen_lines: set[tuple[tuple[int, int], ...]] = set()
    earlier_totals: list[set[Place]] = []
    for version, (tables, really) in enumerate(zip(public, true, strict=True)):
        figures, values = read_figures(tables), read_figures(really)
        lines = lines_of(figures, tables, by_price)
        made_of: dict[Place, list[Place]] = defaultdict(list)
        for line in lines:
            for total, factor in line.items():
                if factor == -1 and total[0] in ("sum", "cumulative"):
                    made_of[total] += [part for part in line if part != total]

        def parts(place: Place, made_of: Mapping[Place, list[Place]] = made_of) -> object:
            return frozenset((part, parts(part)) for part in made_of.get(place, ()))

        numbers: dict[Place, int] = {}
        for place, value in figures.items():
            truth, signature = values[place], parts(place)
            assert truth is not None
            before = latest.get(place)
            if before is not None and before[1] == signature and before[2] == truth:
                number = before[0]
            else:
                number = len(known.places)
                known.places.append(place)
                known.values.append(None)
                known.true.append(truth)
                known.since.append(version)
                total = ("start", place[1], place[2], "all", "all")
                if place[0] == "start" and truth == 0 and before is None and any(total in totals for totals in earlier_totals):
                    known.by_absence.add(number)
                if place == total and truth == 0 and not any(other[:3] == place[:3] and other[3] != "all" for other in figures):
                    known.by_absence.add(number)  # nobody of any category: anybody can read that from the rows that are not there
            latest[place] = (number, signature, truth)
            numbers[place] = number
            if value is not None and version != silent:
                known.values[number] = value
        earlier_totals.append(set(figures))
        for line in lines:
            terms = {numbers[place]: factor for place, factor in line.items()}
            if tuple(sorted(terms.items())) not in seen_lines:
                seen_lines.add(tuple(sorted(terms.items())))
                known.lines.append(terms)
    for number in known.by_absence:
        known.values[number] = 0
    return known


def open_lines(known: Knowledge) -> list[tuple[Line, int]]:
    """The lines over hidden figures, and what they add up to."""
    found = []
    for line in known.lines:
        rest = {number: factor for number, factor in line.items() if known.values[number] is None}
        constant = -sum(factor * (known.values[number] or 0) for number, factor in line.items() if number not in rest)
        if rest:
            found.append((rest, constant))
    return found


def determine(known: Knowledge) -> set[int]:
    """Return the hidden figures that all lines together settle; not those that the rows which are not there give away by themselves."""
    found = fixed_modulo([line for line, _ in open_lines(known)], known.hidden)
    return found - readable(known) if found else found


def readable(known: Knowledge) -> set[int]:
    """Return the figures that follow from nothing but the zeros that missing rows tell."""
    bare = [{number: factor for number, factor in line.items() if number not in known.by_absence} for line in known.lines]
    return fixed_modulo([line for line in bare if line], [number for number in range(len(known.places)) if number not in known.by_absence])


def fixed_modulo(lines: Sequence[Line], hidden: Sequence[int]) -> set[int]:
    """Return the figures that stand still in an arbitrary solution of the lines with zero on the right."""
    rows = [{number: factor % PRIME for number, factor in line.items()} for line in lines]
    where: dict[int, set[int]] = defaultdict(set)
    for index, row in enumerate(rows):
        for number in row:
            where[number].add(index)
    steps: list[tuple[int, Line]] = []
    left = set(range(len(rows)))
    while left:
        index = min(left, key=lambda index: len(rows[index]))
        left.discard(index)
        row = rows[index]
        if not row:
            continue
        pivot = min(row, key=lambda number: len(where[number] & left))
        inverse = pow(row[pivot], -1, PRIME)
        for other in [other for other in where[pivot] if other in left]:
            factor = rows[other][pivot] * inverse % PRIME
            for number, value in row.items():
                rest = (rows[other].get(number, 0) - factor * value) % PRIME
                if rest:
                    rows[other][number] = rest
                    where[number].add(other)
                else:
                    rows[other].pop(number, None)
                    where[number].discard(other)
        steps.append((pivot, row))
    pivots = {pivot for pivot, _ in steps}
    moves = {number: draw(number) for number in hidden if number not in pivots}
    for pivot, row in reversed(steps):
        rest = sum(factor * moves[number] for number, factor in row.items() if number != pivot)
        moves[pivot] = -rest * pow(row[pivot], -1, PRIME) % PRIME
    return {number for number, move in moves.items() if move == 0}


def draw(number: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"attacker {number}".encode(), digest_size=7).digest(), "big") + 1


def intervals(known: Knowledge, wanted: Sequence[int]) -> dict[int, tuple[float, float]]:
    """Return the smallest and the largest value that a linear program leaves to hidden counts: not below zero, whole, all lines kept."""
    hidden = known.hidden
    column = {number: place for place, number in enumerate(hidden)}
    program = highspy.HighsLp()
    lines = open_lines(known)
    program.num_col_, program.num_row_ = len(hidden), len(lines)
    program.col_cost_ = np.zeros(len(hidden))
    program.col_lower_ = np.array([0.0 if is_count(known.places[number]) else -math.inf for number in hidden])
    program.col_upper_ = np.full(len(hidden), math.inf)
    program.row_lower_ = program.row_upper_ = np.array([float(constant) for _, constant in lines])
    program.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    program.a_matrix_.start_ = np.cumsum([0, *(len(line) for line, _ in lines)], dtype=np.int32)
    program.a_matrix_.index_ = np.array([column[number] for line, _ in lines for number in line], dtype=np.int32)
    program.a_matrix_.value_ = np.array([float(factor) for line, _ in lines for factor in line.values()])
    solver = highspy.Highs()
    for name, value in (("output_flag", False), ("threads", 1), ("solver", "simplex"), ("presolve", "off")):
        solver.setOptionValue(name, value)
    solver.passModel(program)
    found = {}
    for number in wanted:
        ends = []
        for direction in (1.0, -1.0):
            solver.changeColCost(column[number], direction)
            solver.run()
            state = solver.getModelStatus()
            assert state in (highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kUnbounded), state
            point = solver.getSolution().col_value[column[number]]
            ends.append(point if state == highspy.HighsModelStatus.kOptimal else -direction * math.inf)
        solver.changeColCost(column[number], 0.0)
        low = math.ceil(ends[0] - 1e-6)
        found[number] = (float(low), ends[1] if math.isinf(ends[1]) else float(math.floor(ends[1] + 1e-6)))
    return found
