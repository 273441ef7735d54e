"""Laws of protection, over synthetic funds of every shape: what it hides stays hidden from the audit and from an attacker who tries every table."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import pyarrow as pa
import pytest

from pipeline.adapters.definitions import find_definitions, load_definitions
from pipeline.stages import frames
from pipeline.stages.audit import audit
from pipeline.stages.protection import Protected, protect

ROOT = Path(__file__).parents[2]
AS_OF = date(2025, 3, 31)
CATEGORIES = {"age_band": 6, "gender": 4, "ethnicity": 6, "local_authority": 9}
SEEDS = range(100)
STEPS = 2
"""The attacker tries every value up to so many below and above the true one: enough to show that a figure is open."""
DEFINITIONS = load_definitions(find_definitions())
Row = dict[str, Any]


class World:
    """A fund made up from a seed: tables as tabulation gives them, with the people behind each figure."""

    def __init__(
        self, seed: int, projects: int = 3, quarters: int = 3, metrics: int = 2, size: int = 20, categories: Mapping[str, int] = CATEGORIES
    ) -> None:
        self.random = Random(seed)
        self.size = size
        self.categories = categories
        self.quarters = [f"{2022 + number // 4}-Q{number % 4 + 1}" for number in range(quarters)]
        self.rows: dict[str, list[Row]] = {name: [] for name in DEFINITIONS.tables["published"]}
        sums = [self._project(f"P{number:02d}", f"sector-{number % 3}", metrics) for number in range(projects)]
        self._performance(sums)
        self.tables = {name: self._table(name, rows) for name, rows in self.rows.items()}

    def _table(self, name: str, rows: Sequence[Row]) -> pa.Table:
        schema = DEFINITIONS.table("published", name)
        filled = [{"fund_id": "FUND", "as_of": AS_OF, **row} for row in rows]
        table = frames.from_rows(schema, [{column: row.get(column) for column in schema.columns} for row in filled])
        for cell in DEFINITIONS.disclosure["tables"][name]["cells"]:
            if cell["people"] not in schema.columns:
                table = table.append_column(cell["people"], pa.array([row.get(cell["people"]) for row in filled], pa.int64()))
        return table

    def _count(self, mean: float) -> int:
        """A count with many small values and zeros."""
        return 0 if self.random.random() < 0.2 else int(self.random.expovariate(1 / mean))

    def _project(self, project: str, sector: str, metrics: int) -> Row:
        scale = self.size * self.random.choice((0.2, 1.0, 3.0))
        returned = [quarter for quarter in self.quarters if self.random.random() < 0.9]
        users = self._starts(project, returned, scale)
        outcomes = [count for number in range(metrics) for count in self._outcomes(project, f"M{number}", returned, scale / metrics)]
        paid = self._payments(project, returned, scale)
        return {
            "project_id": project,
            "policy_sector": sector,
            "users_count": sum(users) if returned else None,
            "outcomes_quantity": sum(outcomes) if returned else None,
            "outcomes_quantity__people": sum(outcomes) if returned else None,
            "paid_gbp": sum(paid, Decimal(0)) if returned else None,
            "paid_gbp__people": sum(outcomes) if returned else None,
        }

    def _starts(self, project: str, returned: Sequence[str], scale: float) -> Sequence[int]:
        totals = [self._count(scale) for _ in returned]
        spread = {name: [self._split(total, count) for total in totals] for name, count in self.categories.items()}
        for place, quarter in enumerate(returned):
            self._start(project, quarter, "all", "all", totals[place])
            for name, splits in spread.items():
                for category in range(self.categories[name]):
                    if any(split[category] for split in splits):
                        self._start(project, quarter, name, f"{name}-{category}", splits[place][category])
        return totals

    def _start(self, project: str, quarter: str, characteristic: str, category: str, count: int) -> None:
        key = {"project_id": project, "quarter": quarter, "characteristic": characteristic, "category": category}
        self.rows["service_users_by_quarter"].append({**key, **published("starts_count", count)})

    def _split(self, total: int, parts: int) -> Sequence[int]:
        chosen = self.random.choices(range(parts), weights=[2.0**-number for number in range(parts)], k=total)
        return [chosen.count(number) for number in range(parts)]

    def _outcomes(self, project: str, metric: str, returned: Sequence[str], scale: float) -> list[int]:
        unit, per_person = self.random.choice((("individual", 1), ("week", 4)))
        found: list[int] = []
        for quarter in self.quarters:
            if quarter in returned:
                found.append(self._count(scale) * per_person)
            achieved = found[-1] if quarter in returned else None
            to_date = sum(found) if found else None
            plan = self.random.choice((0, 40))
            share = Decimal(to_date) / plan if to_date is not None and plan else None
            self.rows["outcomes_by_quarter"].append(
                {"project_id": project, "metric_id": metric, "quarter": quarter, "unit": unit, "planned_cumulative_quantity": plan}
                | published("achieved_quantity", achieved, people=None if achieved is None else achieved // per_person)
                | published("cumulative_quantity", to_date, people=None if to_date is None else to_date // per_person)
                | published("share_of_plan", share, absent="x" if plan else "z")
            )
        return found

    def _payments(self, project: str, returned: Sequence[str], scale: float) -> list[Decimal]:
        totals = []
        for quarter in returned:
            parts = []
            for payer, basis in (("FUND", "outcome"), ("COUNCIL", "outcome"), ("COUNCIL", "activity"), ("COUNCIL", "correction")):
                people = self._count(scale)
                if people and (basis == "outcome" or self.random.random() < 0.2):
                    paid = Decimal(people * self.random.randint(300, 310)) * (-1 if basis == "correction" else 1)
                    parts.append((payer, basis, paid, None if basis == "activity" else people))
            behind = [people for *_, people in parts if people is not None]
            total = ("all", "all", sum((paid for _, _, paid, _ in parts), Decimal(0)), max(behind) if behind else None)
            totals.append(total[2])
            for payer, basis, paid, people in (*parts, total):
                key = {"project_id": project, "quarter": quarter, "payer_id": payer, "basis": basis, "payer_kind": "local"}
                self.rows["payments_by_quarter"].append({**key, **published("paid_gbp", paid, people=people)})
        return totals

    def _performance(self, projects: Sequence[Row]) -> None:
        by_sector: dict[str, list[Row]] = defaultdict(list)
        for project in projects:
            by_sector[project["policy_sector"]].append(project)
            self._pooled("project", project)
        sectors = [add_up(rows) | {"policy_sector": sector, "project_id": "all"} for sector, rows in sorted(by_sector.items())]
        for sector in sectors:
            self._pooled("sector", sector)
            self._averages("sector", sector["policy_sector"], by_sector[sector["policy_sector"]])
        self._pooled("fund", add_up(sectors) | {"policy_sector": "all", "project_id": "all"})
        self._averages("fund", "all", projects)

    def _pooled(self, level: str, sums: Row) -> None:
        row = {**sums, "level": level, "aggregation": "pooled", "scenario": "high", "projects_count": 1}
        for column in ("users_count", "outcomes_quantity", "paid_gbp"):
            row |= published(column, sums[column])
        row |= {column: value for name, ratio in ratios(sums).items() for column, value in published(name, ratio, absent="z").items()}
        self.rows["performance"].append(row)

    def _averages(self, level: str, sector: str, projects: Sequence[Row]) -> None:
        found = [ratios(project) for project in projects]
        for aggregation in ("mean", "median"):
            row: Row = {"level": level, "policy_sector": sector, "project_id": "all", "aggregation": aggregation, "scenario": "high"}
            row |= {"projects_count": len(projects), "users_count_status": "z", "outcomes_quantity_status": "z", "paid_gbp_status": "z"}
            for name in found[0]:
                known = [each[name] for each in found if each[name] is not None]
                value = None if not known else median(known) if aggregation == "median" else sum(known, Decimal(0)) / len(known)
                row |= published(name, value, absent="z")
            self.rows["performance"].append(row)


def published(column: str, value: Any, people: int | None = None, absent: str = "x") -> Row:
    """A figure with its status, rounded if it is money or a ratio, and the people behind it."""
    if isinstance(value, Decimal):
        value = value.quantize(Decimal("0.01") if column.endswith("_gbp") else Decimal("0.0001"))
    row = {column: value, f"{column}_status": absent if value is None else "published"}
    return row if people is None else {**row, f"{column}__people": people}


def add_up(rows: Iterable[Row]) -> Row:
    """The sums over rows, of what is known."""
    found: Row = {}
    for column in ("users_count", "outcomes_quantity", "outcomes_quantity__people", "paid_gbp", "paid_gbp__people"):
        known = [row[column] for row in rows if row[column] is not None]
        found[column] = sum(known[1:], known[0]) if known else None
    return found


def ratios(sums: Row) -> Mapping[str, Decimal | None]:
    """Shares of a plan of fifty and of a thousand pounds, and what an outcome and a person cost."""
    users, outcomes, paid = sums["users_count"], sums["outcomes_quantity"], sums["paid_gbp"]
    return {
        "users_share_of_plan": None if users is None else Decimal(users) / 50,
        "outcomes_share_of_plan": None if outcomes is None else Decimal(outcomes) / 50,
        "paid_share_of_plan": None if paid is None else Decimal(paid) / 1000,
        "cost_per_outcome_gbp": Decimal(paid) / outcomes if outcomes else None,
        "cost_per_person_gbp": Decimal(paid) / users if users else None,
    }


def worlds() -> Iterable[World]:
    """Funds small and large, with few and many projects, quarters and metrics."""
    for seed in SEEDS:
        yield World(seed, projects=1 + seed % 4, quarters=1 + seed % 5, metrics=1 + seed % 3, size=(4, 12, 60)[seed % 3])


@pytest.fixture(scope="module")
def protected_worlds() -> Sequence[tuple[World, Protected]]:
    return [(world, protect(world.tables, DEFINITIONS)) for world in worlds()]


def figures(protected: Protected) -> Iterable[tuple[str, str, list[Any], list[str]]]:
    """Every column that may be hidden, with its values and statuses."""
    for name, rules in DEFINITIONS.disclosure["tables"].items():
        for rule in (*rules["cells"], *rules.get("derived", [])):
            table = protected.tables[name]
            yield name, rule["column"], table[rule["column"]].to_pylist(), table[f"{rule['column']}_status"].to_pylist()


def test_what_is_protected_passes_the_audit(protected_worlds: Sequence[tuple[World, Protected]]) -> None:
    for _, protected in protected_worlds:
        report = audit(protected.tables, DEFINITIONS.disclosure)
        assert report.passed, report.weaknesses
    assert sum(sum(protected.primary.values()) for _, protected in protected_worlds) > 1000
    assert sum(sum(protected.secondary.values()) for _, protected in protected_worlds) > 100


def test_a_figure_is_either_the_true_one_or_hidden(protected_worlds: Sequence[tuple[World, Protected]]) -> None:
    for world, protected in protected_worlds:
        for name, column, values, statuses in figures(protected):
            schema = DEFINITIONS.table("published", name)
            true = world.tables[name].sort_by([(key, "ascending") for key in schema.primary_key])
            kept = [value if status == "c" else after for value, after, status in zip(true[column].to_pylist(), values, statuses, strict=True)]
            assert kept == true[column].to_pylist()
            assert all((value is None) == (status in "cxz") for value, status in zip(values, statuses, strict=True))


def test_no_count_of_people_from_0_to_4_is_published(protected_worlds: Sequence[tuple[World, Protected]]) -> None:
    for _, protected in protected_worlds:
        for name, column, values, _ in figures(protected):
            if (name, column) in {("service_users_by_quarter", "starts_count"), ("performance", "users_count")}:
                assert not [value for value in values if value is not None and value < 5]


def test_the_counts_of_what_was_hidden_are_those_of_the_markers(protected_worlds: Sequence[tuple[World, Protected]]) -> None:
    for _, protected in protected_worlds:
        markers = dict.fromkeys(protected.tables, 0)
        for name, _, _, statuses in figures(protected):
            markers[name] += statuses.count("c")
        assert markers == protected.hidden


def test_the_order_of_rows_changes_nothing() -> None:
    for seed in range(10):
        world = World(seed)
        shuffled = {name: table.take(pa.array(shuffle(world.random, table.num_rows), pa.int64())) for name, table in world.tables.items()}
        first, second = protect(world.tables, DEFINITIONS), protect(shuffled, DEFINITIONS)
        assert all(first.tables[name].equals(second.tables[name]) for name in first.tables)


def shuffle(random: Random, count: int) -> Sequence[int]:
    return random.sample(range(count), count)


def test_the_seed_of_hashes_changes_nothing() -> None:
    """The same fund is protected in two processes that order sets and mappings of text in different ways."""
    command = [sys.executable, "-c", "from tests.property.test_protection_laws import digest_of_world; print(digest_of_world())"]
    digests = set()
    for seed in ("1", "2"):
        done = subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": seed}, cwd=ROOT, capture_output=True, check=True, text=True)
        digests.add(done.stdout.strip())
    assert digests == {digest_of_world()}


def digest_of_world() -> str:
    protected = protect(World(7, projects=4, quarters=4).tables, DEFINITIONS)
    return sha256(repr([(name, table.to_pylist()) for name, table in sorted(protected.tables.items())]).encode()).hexdigest()


def test_a_higher_threshold_never_shows_what_a_lower_one_hides_for_its_people() -> None:
    for seed in range(10):
        world = World(seed)
        before: set[tuple[str, str, int]] = set()
        for threshold in (3, 5, 10, 30):
            rules = {**DEFINITIONS.disclosure, "threshold": {"value": threshold}, "relations": [], "prices": []}
            del rules["plan"]  # which would miss the relations
            protected = protect(world.tables, replace(DEFINITIONS, disclosure=rules))
            hidden = {(name, column, row) for name, column, _, statuses in figures(protected) for row, status in enumerate(statuses) if status == "c"}
            assert before <= hidden
            before = hidden


Place = tuple[str, ...]
Sums = Sequence[tuple[Place, Sequence[Place]]]


@dataclass(frozen=True)
class Puzzle:
    """Figures by place, as they are and as they are published (None: hidden), those behind which few people stand, and which are sums of which."""

    true: Mapping[Place, int]
    public: Mapping[Place, int | None]
    small: frozenset[Place]
    sums: Sums

    @property
    def hidden(self) -> Sequence[Place]:
        return [place for place, value in sorted(self.public.items()) if value is None]


def test_an_attacker_who_tries_every_table_does_not_find_the_people_of_a_category() -> None:
    found = [tiny_fund(seed, pose_starts, projects=1, quarters=2, categories={"gender": 2, "age_band": 3}) for seed in range(60)]

    assert sum(found) > 200


def test_an_attacker_who_tries_every_table_does_not_find_the_outcomes_of_a_quarter() -> None:
    found = [tiny_fund(seed, pose_outcomes, projects=1, quarters=3, metrics=2) for seed in range(60)]

    assert sum(found) > 200


def test_the_attacker_finds_what_is_not_protected() -> None:
    """One hidden part of a total that is shown."""
    puzzle = Puzzle(
        {("all",): 30, ("a",): 3, ("b",): 27}, {("all",): 30, ("a",): None, ("b",): 27}, frozenset({("a",)}), [(("all",), [("a",), ("b",)])]
    )

    assert attack(puzzle) == {("a",): {3}}


def tiny_fund(seed: int, pose: Callable[[Mapping[str, pa.Table], Mapping[str, pa.Table]], Puzzle], **shape: Any) -> int:
    """Attack one fund; return how many figures were hidden in it. Each small one must be able to have three values, each other two."""
    world = World(seed, size=(4, 8, 15)[seed % 3], **shape)
    puzzle = pose(world.tables, protect(world.tables, DEFINITIONS).tables)
    possible = attack(puzzle)
    assert all(len(values) >= (3 if place in puzzle.small else 2) for place, values in possible.items())
    return len(possible)


def pose_starts(true: Mapping[str, pa.Table], public: Mapping[str, pa.Table]) -> Puzzle:
    """People who started, by category, quarter, project, sector and fund."""
    found = []
    for tables in (true, public):
        rows = tables["service_users_by_quarter"].to_pylist()
        counts = {(row["quarter"], row["characteristic"], row["category"]): row["starts_count"] for row in rows}
        found.append({**counts, **pooled(tables, "users_count")})
    parts: dict[tuple[Place, str], list[Place]] = defaultdict(list)
    for place in found[0]:
        if len(place) == 3:
            parts[("project",) if place[1] == "all" else (place[0], "all", "all"), place[1]].append(place)
    small = frozenset(place for place, value in found[0].items() if value < 5)
    return Puzzle(found[0], found[1], small, [*((whole, addends) for (whole, _), addends in parts.items()), *levels(found[0])])


def pose_outcomes(true: Mapping[str, pa.Table], public: Mapping[str, pa.Table]) -> Puzzle:
    """Outcomes of metrics by quarter and to date, and of the project, sector and fund."""
    found = []
    for tables in (true, public):
        rows = sorted(tables["outcomes_by_quarter"].to_pylist(), key=lambda row: (row["metric_id"], row["quarter"]))
        counts = {
            (row["metric_id"], row["quarter"], kind): row[f"{kind}_quantity"]
            for row in rows
            for kind in ("achieved", "cumulative")
            if row[f"{kind}_quantity_status"] != "x"
        }
        found.append({**counts, **pooled(tables, "outcomes_quantity")})
    achieved = [place for place in found[0] if place[-1] == "achieved"]
    sums: list[tuple[Place, Sequence[Place]]] = [(("project",), achieved)] if achieved else []
    for metric, quarter, kind in [place for place in found[0] if place[-1] == "cumulative"]:
        sums.append(((metric, quarter, kind), [place for place in achieved if place[0] == metric and place[1] <= quarter]))
    small = {
        (row["metric_id"], row["quarter"], kind)
        for row in true["outcomes_by_quarter"].to_pylist()
        for kind in ("achieved", "cumulative")
        if (row[f"{kind}_quantity__people"] or 0) < 5
    }
    return Puzzle(found[0], found[1], frozenset(small), [*sums, *levels(found[0])])


def pooled(tables: Mapping[str, pa.Table], column: str) -> dict[Place, int | None]:
    rows = [row for row in tables["performance"].to_pylist() if row["aggregation"] == "pooled" and row[f"{column}_status"] != "x"]
    return {(row["level"],): row[column] for row in rows}


def levels(places: Mapping[Place, int]) -> Sums:
    """With one project, its sector and the fund hold the same figure."""
    return [((above,), [(below,)]) for above, below in (("sector", "project"), ("fund", "sector")) if (below,) in places]


def attack(puzzle: Puzzle) -> Mapping[Place, set[int]]:
    """Return the values that hidden figures have in all ways of filling them in that keep the sums, or in as many as prove each of them open."""
    possible: dict[Place, set[int]] = {place: set() for place in puzzle.hidden}
    for solution in solutions(puzzle):
        for place, value in solution.items():
            possible[place].add(value)
        if all(len(values) >= 3 for values in possible.values()):
            break
    return possible


def solutions(puzzle: Puzzle) -> Iterable[Mapping[Place, int]]:
    """Every way to fill the hidden places with whole numbers near the true ones that keeps the sums, one place after the other."""
    filled: dict[Place, int] = {place: value for place, value in puzzle.public.items() if value is not None}
    touching = {place: [(whole, addends) for whole, addends in puzzle.sums if place == whole or place in addends] for place in puzzle.hidden}

    def fits(place: Place) -> bool:
        for whole, addends in touching[place]:
            known = [filled[addend] for addend in addends if addend in filled]
            if whole in filled and (sum(known) > filled[whole] or (len(known) == len(addends) and sum(known) != filled[whole])):
                return False
        return True

    def fill(number: int) -> Iterable[Mapping[Place, int]]:
        if number == len(puzzle.hidden):
            yield {place: filled[place] for place in puzzle.hidden}
            return
        place = puzzle.hidden[number]
        for value in range(max(0, puzzle.true[place] - STEPS), puzzle.true[place] + STEPS + 1):
            filled[place] = value
            if fits(place):
                yield from fill(number + 1)
        filled.pop(place, None)

    return fill(0)
