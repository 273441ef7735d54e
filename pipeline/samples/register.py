"""Writes down what was agreed with a fund's projects: the rows of the seven register tables."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

from pipeline.domain.quarters import Quarter
from pipeline.domain.tables import Definitions
from pipeline.samples.catalogue import FUND_NAME, FUND_PAYER_ID, LICENCE, PUBLISHER, RETURN_DUE_DAYS
from pipeline.samples.fund import PENNY, Integers, SampleFund, SampleProject, letters_of
from pipeline.samples.plans import expected, plan

Row = dict[str, object]
Rows = Mapping[str, Sequence[Row]]
ROOM = Decimal("1.05")
"""How far a cap lies above what is expected in the best case, or was done in the end."""
MOST_WEEKS = 52
"""The weeks of the four quarters for which a person is followed."""
SHARE_ROOM = Decimal("0.10")
"""How far the share of the fund may lie above its part of the dearest price: payments for activity and corrections are not split by price."""


@dataclass(frozen=True, kw_only=True)
class Achieved:
    """What a project came to in the end: units by metric, and pounds paid. Caps are agreed so that they are not passed."""

    units: Integers
    paid_gbp: Decimal


def register_rows(fund: SampleFund, achieved: Mapping[str, Achieved]) -> Rows:
    """Return the rows of a fund's register, by table. `achieved` is by project id."""
    rows: dict[str, list[Row]] = {
        "funds": [{"fund_id": fund.fund_id, "name": FUND_NAME, "publisher": PUBLISHER, "return_due_days": RETURN_DUE_DAYS, "licence": LICENCE}],
        **{name: [] for name in ("payers", "projects", "metrics", "rate_card", "plans", "investments")},
    }
    rows["payers"] = [{"payer_id": payer_id, "name": name, "kind": "local"} for payer_id, name in fund.councils.items()]
    rows["payers"].append({"payer_id": FUND_PAYER_ID, "name": PUBLISHER, "kind": "fund"})
    for project in fund.projects:
        done = achieved[project.project_id]
        rows["projects"].append(_project(fund, project, done))
        rows["metrics"] += _metrics(project)
        rows["rate_card"] += _rate_card(fund, project, done)
        rows["plans"] += _plans(fund, project)
        rows["investments"] += _investments(fund, project)
    return rows


def write_register(folder: Path, rows: Rows, definitions: Definitions) -> None:
    """Write register rows as CSV files with the headings of `schemas/register/`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in sorted(rows):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, definitions.table("register", name).columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows([{column: _written(cell) for column, cell in row.items()} for row in rows[name]])


def _written(cell: object) -> str:
    if cell is None:
        return ""
    return str(cell).lower() if isinstance(cell, bool) else str(cell)


def _project(fund: SampleFund, project: SampleProject, done: Achieved) -> Row:
    return {
        "project_id": project.project_id,
        "fund_id": fund.fund_id,
        "name": f"Project {project.number:02d}",
        "policy_sector": project.sector,
        "stage": project.stage,
        "service_providers": "; ".join(f"Provider {letters_of(number)}" for number in (project.number, project.number + 1)[: 1 + project.number % 2]),
        "commissioners": f"{fund.councils[project.council_id]}; {PUBLISHER}",
        "investors": "; ".join(_investors(project)),
        "starts_on": project.starts_on,
        "ends_on": project.ends_on,
        "claims_until": project.claims_until,
        "contract_cap_gbp": _contract_cap(project, done),
        "return_kind": project.return_kind,
    }


def _contract_cap(project: SampleProject, done: Achieved) -> Decimal:
    planned = max(_total(project, scenario) for scenario in ("high", "medium"))
    return (Decimal(int(max(planned, done.paid_gbp) * ROOM) // 1000 + 1) * 1000).quantize(PENNY)


def _payer_caps(project: SampleProject, payer_id: str, cap: Decimal) -> Row:
    """Return what a payer has agreed to pay at most: the fund a share of everything, in some projects the council an amount."""
    if payer_id != FUND_PAYER_ID:
        return {"payer_cap_gbp": cap if project.number % 4 == 1 else None}
    parts = [metric.prices[payer_id][0] / sum(before for before, _ in metric.prices.values()) for metric in project.metrics]
    return {"payer_cap_share": (max(parts) + SHARE_ROOM).quantize(Decimal("0.01"))}


def _metrics(project: SampleProject) -> Sequence[Row]:
    return [
        {
            "metric_id": metric.metric_id,
            "project_id": project.project_id,
            "name": metric.kind.name,
            "definition": metric.kind.definition,
            "unit": metric.kind.unit,
            "is_once_per_person": metric.is_once_per_person,
            "after_metric_id": None if metric.after is None else project.metrics[metric.after].metric_id,
            "after_days": None if metric.after is None else metric.kind.after_days,
            "supersedes_metric_id": None,
            "cap_per_person": MOST_WEEKS if metric.kind.is_counted_in_weeks and project.return_kind == "participants" else None,
        }
        for metric in project.metrics
    ]


def _rate_card(fund: SampleFund, project: SampleProject, done: Achieved) -> Sequence[Row]:
    """Return a price per metric and payer, and from the new year on a second one where prices change. Every other metric has a cap."""
    change = None if project.price_change is None else fund.quarters[project.price_change].start
    units = expected(project, "high").units
    rows: list[Row] = []
    for position, metric in enumerate(project.metrics):
        most = max(sum(units[position]), int(done.units[position]))
        cap = None if position % 2 else (int(most * ROOM) // 10 + 1) * 10
        for payer_id in project.payer_ids:
            row: Row = {"project_id": project.project_id, "metric_id": metric.metric_id, "payer_id": payer_id, "cap_quantity": cap}
            row |= _payer_caps(project, payer_id, _contract_cap(project, done))
            before, after = metric.prices[payer_id]
            until = None if change is None else change - timedelta(days=1)
            rows.append({**row, "price_gbp": before, "valid_from": project.starts_on, "valid_to": until})
            if change is not None:
                rows.append({**row, "price_gbp": after, "valid_from": change, "valid_to": None})
    return rows


def _plans(fund: SampleFund, project: SampleProject) -> Sequence[Row]:
    rows: list[Row] = []
    for wanted in plan(project):
        agreed_on = project.starts_on - timedelta(days=60) if wanted.version == 1 else _variation_day(fund, project)
        quarter = fund.quarters[0]
        for index in range(project.last_claim + 1):
            if index >= project.first:
                given: Row = {
                    "project_id": project.project_id,
                    "plan_version": wanted.version,
                    "plan_kind": "final_award_offer" if wanted.version == 1 else "variation_agreement",
                    "agreed_on": agreed_on,
                    "scenario": wanted.scenario,
                    "quarter": str(quarter),
                }
                users, units = wanted.users[index], [quantities[index] for quantities in wanted.units]
                rows += _measures(given, project, users, units, {payer_id: pounds[index] for payer_id, pounds in wanted.gbp.items()})
            quarter = quarter.next()
    return rows


def _measures(given: Row, project: SampleProject, users: int, units: Sequence[int], gbp: Mapping[str, Decimal]) -> Sequence[Row]:
    outcomes = [
        {**given, "measure": "outcomes", "metric_id": metric.metric_id, "expected_quantity": quantity}
        for metric, quantity in zip(project.metrics, units, strict=True)
    ]
    payments = [{**given, "measure": "payments", "payer_id": payer_id, "expected_gbp": pounds.quantize(PENNY)} for payer_id, pounds in gbp.items()]
    return [{**given, "measure": "service_users", "expected_quantity": users}, *outcomes, *payments]


def _variation_day(fund: SampleFund, project: SampleProject) -> date:
    quarter: Quarter = fund.quarters[project.variation or project.first]
    return quarter.start + timedelta(days=14)


def _investments(fund: SampleFund, project: SampleProject) -> Sequence[Row]:
    """Return one investment, or two; about a fifth of what the contract may pay, drawn in part and returned in part."""
    committed = (_total(project, "medium") / 5 // 1000 + 1) * 1000
    drawn = committed * (75 + project.number * 7 % 26) / 100
    returned = drawn * (40 + project.number * 13 % 75) / 100 if len(fund.quarters) > project.first + 2 else Decimal(0)
    investors = _investors(project)
    return [
        {
            "investment_id": f"{project.project_id}-I{number}",
            "project_id": project.project_id,
            "investor": investor,
            "committed_gbp": (committed / len(investors)).quantize(PENNY),
            "drawn_gbp": (drawn / len(investors)).quantize(PENNY),
            "returned_gbp": (returned / len(investors)).quantize(PENNY),
        }
        for number, investor in enumerate(investors, start=1)
    ]


def _investors(project: SampleProject) -> Sequence[str]:
    return [f"Investor {letters_of(1 + (project.number + number) % 5)}" for number in range(1 + (project.number % 3 == 0))]


def _total(project: SampleProject, scenario: str) -> Decimal:
    return sum((pounds for by_quarter in expected(project, scenario).gbp.values() for pounds in by_quarter), Decimal(0))
