"""A synthetic INDIGO export with the same kinds of dirt as the real one, and what was planted in it."""

from __future__ import annotations

import csv
import random
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from pipeline.stages.indigo import HEADINGS

TWIN_FUND = "INDIGO-FUND-9012"
HOST = "INDIGO-ORG-9000"


@dataclass
class Twin:
    """A synthetic export and what was planted in it: rows and pounds by kind, and rows by rule."""

    tables: dict[str, list[dict[str, str]]] = field(default_factory=lambda: {name: [] for name in HEADINGS})
    rows: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    pounds: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    planted: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, table: str, **cells: str) -> None:
        self.tables[table].append(cells)

    def pay(self, kind: str, pounds: str, rules: Sequence[str] = (), **cells: str) -> None:
        whole = {"amount": pounds, "currency": "GBP", "type": kind, **cells}
        self.add("projects_outcome_payments", **whole)
        self.rows[kind] += 1
        self.pounds[kind] += Decimal(pounds) if re.fullmatch(r"[0-9.]+", pounds) else Decimal(0)
        for rule in rules:
            self.planted[rule] += 1


def month(index: int) -> str:
    return f"{2019 + index // 12}-{index % 12 + 1:02d}"


def make_twin(projects: int = 30) -> Twin:
    """Return a twin with so many projects, at least three; of every three two were paid."""
    chance = random.Random(20240415)
    twin = Twin()
    twin.add("funds", fund_id=TWIN_FUND, name="Synthetic Chances Fund", host=HOST)
    twin.add("organisations", organisation_id=HOST, name="Ministry of Outcomes")
    for number in range(projects):
        make_project(twin, chance, number, is_paid=number < max(3, 2 * projects // 3))
    plant(twin)
    chance.shuffle(twin.tables["projects_outcome_payments"])
    return twin


def make_project(twin: Twin, chance: random.Random, number: int, *, is_paid: bool) -> None:
    owned = {"project_id": f"INDIGO-POJ-{9000 + number}"}
    council = f"INDIGO-ORG-{9001 + number}"
    twin.add("organisations", organisation_id=council, name=f"Council {number}")
    service = {"service_start": "2019-01", "service_end_anticipated": "2023-12"}
    kind = {"policy_sector": "Homelessness", "stage": "Implementation", "cap_currency": "GBP", "cap": str(chance.randrange(10**6, 10**7))}
    twin.add("projects", **owned, name=f"Project\nnumber {number}", **service, **kind)
    twin.add("projects_outcome_funds", **owned, fund_id=TWIN_FUND if number else f"{TWIN_FUND}\t")
    for organisation in (HOST, council):
        twin.add("projects_outcome_payment_commitments", **owned, organisation_id=organisation)
    for metric in range(1, 5):
        definition = f"Metric {metric}: a home, a job or a place\nin school is kept for {metric} quarters"
        twin.add("projects_outcome_metrics", **owned, metric_id=f"outcomemetric{metric}", definition=definition, targeted_number=str(metric * 10))
        achieved = str(chance.randrange(0, 500))
        twin.add("projects_results", **owned, metric_id=f"outcomemetric{metric}", start="2019-01", end="2023-06", achieved=achieved)
    if not is_paid:
        return
    payer = f"{HOST}, {council}" if number % 2 else f"{council},{HOST}"
    for plan in (1, 2):
        twin.add("projects_outcome_payment_plans", **owned, plan_id=f"plan{plan}", start="2019-01")
        for quarter in range(18):
            amount = f"{chance.randrange(10**8) / 7:.10f}" if quarter % 6 == 5 else str(chance.randrange(10**5))
            period = {"start": month(3 * quarter), "end": month(3 * quarter + 2)}
            twin.pay("Planned", amount, **owned, **period, payer=payer, plan_id=f" Plan{plan}" if plan == 2 else "plan1")
    for quarter in range(12):
        period = {"start": month(3 * quarter), "end": month(3 * quarter + 2)}
        twin.pay("Actual", str(chance.randrange(1, 10**6)), **owned, **period, payer=payer)


def plant(twin: Twin) -> None:
    """Plant dirt of every kind that the real export has, in the years after the clean payments."""
    one = {"project_id": "INDIGO-POJ-9001", "payer": HOST}
    two = {"project_id": "INDIGO-POJ-9002", "payer": HOST}
    late, end = {"start": "2022-01", "end": "2022-03"}, {"start": "2022-10", "end": "2022-12"}
    twin.pay("Actual", "60500", ["I-563"], **one, start="2023-12", end="2023-02")
    twin.pay("Actual", "300010", ["I-580"], **one, **late, notes="covid claim payment")
    twin.pay("Actual", "150005", ["I-580"], **one, **late, notes="covid claim payment")
    twin.pay("Actual", "0", ["I-581", "I-570"], **one, **late)
    twin.pay("Actual", "=B7-B8", ["I-567"], **one, **end)
    twin.pay("Actual", "2.5M (estimate)", ["I-568"], **one, **end)
    twin.pay("Actual", "500.125", ["I-546"], **one, **end)
    twin.pay("Actual", "71000.25000000001", ["I-545"], **one, **end)
    twin.pay("Actual", "900", **two, **end)
    twin.pay("Actual", "900", ["I-579"], **two, **end)
    twin.pay("Actual", "39", ["I-564"], **two, start="2023-01", end="2023-10")
    twin.pay("Actual", "17", ["I-562"], **two, start="2023-13", end="2023-13")
    twin.pay("Planned", "", ["I-566"], **two, start="2025-01", end="2025-03", plan_id="plan1")
    twin.pay("Planned", "410000", ["I-593"], **two, start="2025-04", end="2025-06", plan_id="plan1")
    twin.pay("Planned", "420000", ["I-593"], **two, start="2025-04", end="2025-06", plan_id="plan1")


def write_twin(folder: Path, twin: Twin) -> None:
    """Write the twin as an export: headings in another order, bookkeeping and contact columns between, cells of several lines, CRLF and a mark."""
    chance = random.Random(7)
    for name, headings in HEADINGS.items():
        columns = [*headings, "contact", "sources"]
        chance.shuffle(columns)
        names = {**headings, "contact": "Contact e-mail - (Value)", "sources": "Sources"}
        with (folder / f"{name}.csv").open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([names[column] for column in columns])
            for row in twin.tables[name]:
                writer.writerow([row.get(column, "somebody@example.org" if column == "contact" else "") for column in columns])
