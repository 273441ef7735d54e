"""Funds made up from a seed that release again and again: new quarters, late returns, corrections, withdrawn returns, projects that leave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from random import Random
from typing import Any

import pyarrow as pa

from pipeline.adapters.definitions import find_definitions, load_definitions
from pipeline.domain.tables import Definitions
from pipeline.stages import frames
from pipeline.stages.protection import Past, protect
from tests.property.test_protection_laws import add_up, published, ratios

DEFINITIONS = load_definitions(find_definitions())
AS_OF = date(2025, 3, 31)
WITH_CELLS = ("service_users_by_quarter", "outcomes_by_quarter", "payments_by_quarter", "performance", "outcome_metrics")
Row = dict[str, Any]
Tables = Mapping[str, pa.Table]


class Fund:
    """What has happened so far in a fund, and its tables as tabulation would give them."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        self.projects = [f"P{number}" for number in range(random.randint(1, 4))]
        self.sector = {project: f"S{random.randint(1, 2)}" for project in self.projects}
        self.metrics = {project: [f"M{number}" for number in range(random.randint(1, 2))] for project in self.projects}
        self.price = {(p, m): random.choice((Decimal(500), Decimal("1250.50"), Decimal(3517))) for p in self.projects for m in self.metrics[p]}
        self.is_by_price = {project: random.random() < 0.7 for project in self.projects}
        self.shares = {project: random.choice(((1,), (1,), (1, 1))) for project in self.projects}
        self.size = random.choice((4, 9, 20))
        self.bands = random.randint(2, 3)
        self.quarters: list[str] = []
        self.starts: dict[tuple[str, str], Counter[tuple[int, int]]] = {}
        self.outcomes: dict[tuple[str, str, str], int] = {}
        self.extra: dict[tuple[str, str], int] = {}
        self.staying: dict[tuple[str, str], set[str]] = {}
        """Categories and payers whose rows stay once there were any, as tabulation lets them."""
        for _ in range(random.randint(1, 3)):
            self.next_quarter()

    def next_quarter(self) -> None:
        number = len(self.quarters)
        self.quarters.append(f"{2020 + number // 4}-Q{number % 4 + 1}")
        for project in self.projects:
            if self.random.random() < 0.9:
                self.hand_in(project, self.quarters[-1])

    def hand_in(self, project: str, quarter: str) -> None:
        people = self._count(self.size)
        self.starts[project, quarter] = Counter((min(self._count(1), self.bands - 1), self.random.randint(0, 1)) for _ in range(people))
        for metric in self.metrics[project]:
            self.outcomes[project, metric, quarter] = self._count(self.size)
        self.extra[project, quarter] = self.random.randint(1, 300)

    def go_on(self) -> None:
        """Let things happen until the next release."""
        if self.random.random() < 0.8:
            self.next_quarter()
        for project in self.projects:
            for quarter in self.quarters[:-1]:
                chance = self.random.random()
                if (project, quarter) not in self.starts:
                    if chance < 0.3:
                        self.hand_in(project, quarter)
                elif chance < 0.03:
                    del self.starts[project, quarter]
                    for metric in self.metrics[project]:
                        del self.outcomes[project, metric, quarter]
                elif chance < 0.12:
                    self.starts[project, quarter][self.random.randint(0, self.bands - 1), self.random.randint(0, 1)] += 1
                elif chance < 0.2:
                    key = (project, self.random.choice(self.metrics[project]), quarter)
                    self.outcomes[key] = max(0, self.outcomes[key] + self.random.choice((-1, 1, 2, 5)))
        if len(self.projects) > 1 and self.random.random() < 0.04:
            self.projects.remove(self.random.choice(self.projects))

    def tables(self) -> Tables:
        """The unprotected tables, with the people behind each figure."""
        rows: dict[str, list[Row]] = {name: [] for name in WITH_CELLS}
        sums = [self._project(project, rows) for project in self.projects]
        self._performance(sums, rows["performance"])
        return {name: _table(name, found) for name, found in rows.items()}

    def _count(self, mean: float) -> int:
        return 0 if self.random.random() < 0.2 else int(self.random.expovariate(1 / mean))

    def _project(self, project: str, rows: dict[str, list[Row]]) -> Row:
        returned = [quarter for quarter in self.quarters if (project, quarter) in self.starts]
        for place, name in enumerate(("age_band", "gender")):
            seen = self.staying.setdefault((project, name), set())
            seen.update(str(key[place]) for quarter in returned for key, count in self.starts[project, quarter].items() if count)
            for quarter in returned:
                for category in sorted(seen):
                    count = sum(count for key, count in self.starts[project, quarter].items() if str(key[place]) == category)
                    rows["service_users_by_quarter"].append(start(project, quarter, name, category, count))
        totals = [sum(self.starts[project, quarter].values()) for quarter in returned]
        rows["service_users_by_quarter"] += [start(project, q, "all", "all", n) for q, n in zip(returned, totals, strict=True)]
        achieved = [count for metric in self.metrics[project] for count in self._outcomes(project, metric, returned, rows)]
        paid = [self._payments(project, quarter, rows["payments_by_quarter"]) for quarter in returned]
        return {
            "project_id": project,
            "policy_sector": self.sector[project],
            "users_count": sum(totals) if returned else None,
            "outcomes_quantity": sum(achieved) if returned else None,
            "outcomes_quantity__people": sum(achieved) if returned else None,
            "paid_gbp": sum(paid, Decimal(0)) if returned else None,
            "paid_gbp__people": sum(achieved) if returned else None,
        }

    def _outcomes(self, project: str, metric: str, returned: Sequence[str], rows: dict[str, list[Row]]) -> list[int]:
        key = {"project_id": project, "metric_id": metric}
        contract = {"metric_name": metric, "definition": metric, "unit": "individual", "plan_kind": "initial", "agreed_on": AS_OF}
        rows["outcome_metrics"].append({**key, **contract, "plan_version": 1, "price_per_unit_gbp": self.price[project, metric]})
        found: list[int] = []
        for quarter in self.quarters:
            count = self.outcomes[project, metric, quarter] if quarter in returned else None
            found += [] if count is None else [count]
            to_date = sum(found) if found else None
            share = None if to_date is None else Decimal(to_date) / 40
            rows["outcomes_by_quarter"].append(
                {**key, "quarter": quarter, "unit": "individual", "planned_cumulative_quantity": 40}
                | published("achieved_quantity", count, people=count)
                | published("cumulative_quantity", to_date, people=to_date)
                | published("share_of_plan", share)
            )
        return found

    def _payments(self, project: str, quarter: str, rows: list[Row]) -> Decimal:
        counts = {metric: self.outcomes[project, metric, quarter] for metric in self.metrics[project]}
        paid = sum((self.price[project, metric] * count for metric, count in counts.items()), Decimal(0))
        if not self.is_by_price[project]:
            paid += self.extra[project, quarter]
        people, parts = sum(counts.values()), self.shares[project]
        seen = self.staying.setdefault((project, quarter), set())
        seen.update(f"PAYER{number}" for number in range(len(parts)) if people)
        for payer in sorted(seen):
            rows.append(payment(project, quarter, payer, "outcome", paid / len(parts) if people else Decimal(0), people))
        total = paid if people else Decimal(0)
        rows.append(payment(project, quarter, "all", "all", total, people if people else None))
        return total

    def _performance(self, projects: Sequence[Row], rows: list[Row]) -> None:
        sectors = []
        for sector in sorted({project["policy_sector"] for project in projects}):
            inside = [project for project in projects if project["policy_sector"] == sector]
            sectors.append(add_up(inside) | {"policy_sector": sector, "project_id": "all"})
        fund = add_up(sectors) | {"policy_sector": "all", "project_id": "all"}
        for level, found in (("project", projects), ("sector", sectors), ("fund", [fund])):
            for sums in found:
                row = {**sums, "level": level, "aggregation": "pooled", "scenario": "high", "projects_count": 1}
                for column in ("users_count", "outcomes_quantity", "paid_gbp"):
                    row |= published(column, sums[column])
                for name, ratio in ratios(sums).items():
                    row |= published(name, ratio, absent="z")
                rows.append(row)


def start(project: str, quarter: str, characteristic: str, category: str, count: int) -> Row:
    """One row of service users."""
    key = {"project_id": project, "quarter": quarter, "characteristic": characteristic, "category": category}
    return {**key, **published("starts_count", count)}


def payment(project: str, quarter: str, payer: str, basis: str, paid: Decimal, people: int | None) -> Row:
    """One row of payments."""
    key = {"project_id": project, "quarter": quarter, "payer_id": payer, "basis": basis, "payer_kind": "local"}
    return {**key, **published("paid_gbp", paid, people=people)}


def _table(name: str, rows: Sequence[Row]) -> pa.Table:
    schema = DEFINITIONS.table("published", name)
    filled = [{"fund_id": "FUND", "as_of": AS_OF, **row} for row in rows]
    table = frames.from_rows(schema, [{column: row.get(column) for column in schema.columns} for row in filled])
    for cell in DEFINITIONS.disclosure["tables"][name]["cells"]:
        if cell["people"] not in schema.columns:
            table = table.append_column(cell["people"], pa.array([row.get(cell["people"]) for row in filled], pa.int64()))
    return table


Protect = Callable[[Tables, Sequence[Past]], Tables]


def protect_with_all(tables: Tables, earlier: Sequence[Past], definitions: Definitions = DEFINITIONS) -> Tables:
    """Protect as a release does: against all releases before it."""
    return protect(tables, definitions, earlier).tables


def weakened(**rules: Any) -> Protect:
    """Protection by other rules than the public ones."""
    disclosure = {name: value for name, value in DEFINITIONS.disclosure.items() if name != "plan"} | rules
    definitions = replace(DEFINITIONS, disclosure=disclosure)
    return lambda tables, earlier: protect_with_all(tables, earlier, definitions)


Gate = Callable[[Sequence[Past]], bool]


def releases(seed: int, versions: int | None = None, by: Protect = protect_with_all, gate: Gate = lambda _: True) -> Sequence[Past]:
    """Every release of a fund up to a number of versions, each protected when its time came; what the gate refuses is never published."""
    fund = Fund(seed)
    made: list[Past] = []
    for number in range(versions or 1 + seed % 12):
        if number:
            fund.go_on()
        tables = fund.tables()
        candidate = Past(true=tables, public=by(tables, made))
        if gate([*made, candidate]):
            made.append(candidate)
    return made


@dataclass
class Erased:
    """A fund of which a participant was erased: its releases as the public has them, the true tables as they were, and as they can be made again."""

    public: list[Tables]
    true: list[Tables]
    again: list[Tables]


def with_an_erasure(seed: int, versions: int) -> Erased:
    """Release a fund a number of times; before the last release one person is erased from every quarter's facts, in force or not."""
    fund = Fund(seed)
    then: list[Fund] = []
    found = Erased([], [], [])
    for number in range(versions):
        if number:
            fund.go_on()
        if number == versions - 1:
            _erase_somebody([*then, fund])
        fund.tables()  # the rows that it has from now on stay
        then.append(deepcopy(fund))
        found.again = [deepcopy(past).tables() for past in then]
        tables = found.again[-1]
        found.public.append(
            protect_with_all(tables, [Past(public=public, true=true) for public, true in zip(found.public, found.again, strict=False)])
        )
        found.true.append(tables)
    return found


def _erase_somebody(funds: Sequence[Fund]) -> None:
    """Take one person out of the oldest quarter that has anybody, wherever that quarter's return still holds them."""
    places = [(key, person) for key, people in sorted(funds[0].starts.items()) for person in sorted(people) if people[person]]
    for key, person in places[:1]:
        for fund in funds:
            if fund.starts.get(key, Counter())[person]:
                fund.starts[key][person] -= 1
