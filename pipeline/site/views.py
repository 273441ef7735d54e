"""What a fund's page and the comparison of its projects show, drawn from the published tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from pipeline.errors import IntegrityError
from pipeline.site.archive import Fund, Row, Version
from pipeline.site.figures import MISSING, Cell, Sum, cell, ratio, total, width

ALL = "all"
POOLED, MEAN, MEDIAN = "pooled", "mean", "median"


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One measure of performance against plan; the shares by each rule of aggregation. `is_money` says how its figures are written."""

    name: str
    is_money: bool
    actual: Cell
    planned: Cell
    pooled: Cell
    mean: Cell
    median: Cell


@dataclass(frozen=True, kw_only=True)
class Group:
    """The performance of a project, a sector or the whole fund, pooled; `name` and `id` say whose. `stage` is set for a project."""

    id: str
    name: str
    sector: str
    stage: str
    scenario: str
    plan_version: int | None
    projects_count: int
    users: Measure
    outcomes: Measure
    payments: Measure
    cost_per_outcome: Cell
    cost_per_outcome_mean: Cell
    cost_per_person: Cell
    cost_per_person_mean: Cell
    invested: Cell
    returned: Cell
    money_multiple: Cell
    money_multiple_mean: Cell
    money_multiple_median: Cell

    @property
    def measures(self) -> Sequence[Measure]:
        """The three measures, in the order of a person's way: start, outcome, payment."""
        return (self.users, self.outcomes, self.payments)


@dataclass(frozen=True, kw_only=True)
class Payments:
    """Payments of one year, or of one kind of payer: the sum of the published figures, of the plan, and the share of all payments."""

    name: str
    paid: Sum
    planned: Sum
    share: Cell = MISSING
    bar_paid: str | None = None
    bar_planned: str | None = None


@dataclass(frozen=True, kw_only=True)
class Returns:
    """How complete one quarter is: numbers of projects."""

    quarter: str
    expected: int
    in_release: int
    in_time: int
    late: int
    missing: int
    rejected: int


@dataclass(frozen=True, kw_only=True)
class FundView:
    """Everything that a fund's page shows."""

    as_of: date
    whole: Group
    sectors: Sequence[Group]
    projects: Sequence[Group]
    years: Sequence[Payments]
    payers: Sequence[Payments]
    returns: Sequence[Returns]


def fund_view(fund: Fund, newest: Version) -> FundView:
    """Return what the page of a fund shows of its newest version. Raises: IntegrityError when its tables lack a row that every release has."""
    rows = fund.tables["performance"]
    totals, payments = split_payments(fund.tables["payments_by_quarter"])
    sectors = sorted({row["policy_sector"] for row in rows if row["level"] == "sector"})
    return FundView(
        as_of=newest.as_of,
        whole=_group(fund, rows, "fund", ALL, ALL),
        sectors=[_group(fund, rows, "sector", sector, ALL) for sector in sectors],
        projects=[_group(fund, rows, "project", row["policy_sector"], row["project_id"]) for row in fund.tables["projects"]],
        years=_bars([_payments(year, rows_of) for year, rows_of in _grouped(totals, lambda row: row["quarter"][:4])]),
        payers=_shares([_payments(fund.label("payer_kind", kind), rows_of) for kind, rows_of in _grouped(payments, lambda row: row["payer_kind"])]),
        returns=[_returns(quarter, rows_of) for quarter, rows_of in _grouped(fund.tables["completeness"], lambda row: row["quarter"])],
    )


def split_payments(rows: Iterable[Row]) -> tuple[Sequence[Row], Sequence[Row]]:
    """Return the rows that are the totals of a quarter, and those of one payer on one basis; sums of other kinds are neither."""
    listed = list(rows)
    totals = [row for row in listed if (row["payer_id"], row["basis"]) == (ALL, ALL)]
    return totals, [row for row in listed if ALL not in (row["payer_id"], row["basis"])]


def _grouped(rows: Iterable[Row], key: Callable[[Row], str]) -> Sequence[tuple[str, Sequence[Row]]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return sorted(groups.items())


def _group(fund: Fund, rows: Sequence[Row], level: str, sector: str, project_id: str) -> Group:
    by_rule = {row["aggregation"]: row for row in rows if (row["level"], row["policy_sector"], row["project_id"]) == (level, sector, project_id)}
    pooled, mean, median = (by_rule.get(rule) for rule in (POOLED, MEAN, MEDIAN))
    if pooled is None:
        raise IntegrityError(f"The table performance of {fund.id} has no pooled row of a {level}.")
    about = next((row for row in fund.tables["projects"] if row["project_id"] == project_id), None)

    def measure(name: str, actual: str, planned: str, share: str, *, is_money: bool = False) -> Measure:
        return Measure(
            name=name,
            is_money=is_money,
            actual=cell(pooled, actual),
            planned=cell(pooled, planned),
            pooled=cell(pooled, share),
            mean=cell(mean, share),
            median=cell(median, share),
        )

    return Group(
        id=project_id,
        name=about["project_name"] if about else fund.label("policy_sector", sector),
        sector=fund.label("policy_sector", sector),
        stage=fund.label("stage", about["stage"]) if about else "",
        scenario=fund.label("scenario", pooled["scenario"]).lower(),
        plan_version=pooled["plan_version"],
        projects_count=pooled["projects_count"],
        users=measure("Service users", "users_count", "users_planned_count", "users_share_of_plan"),
        outcomes=measure("Outcomes", "outcomes_quantity", "outcomes_planned_quantity", "outcomes_share_of_plan"),
        payments=measure("Payments", "paid_gbp", "planned_gbp", "paid_share_of_plan", is_money=True),
        cost_per_outcome=cell(pooled, "cost_per_outcome_gbp"),
        cost_per_outcome_mean=cell(mean, "cost_per_outcome_gbp"),
        cost_per_person=cell(pooled, "cost_per_person_gbp"),
        cost_per_person_mean=cell(mean, "cost_per_person_gbp"),
        invested=cell(pooled, "invested_gbp"),
        returned=cell(pooled, "returned_gbp"),
        money_multiple=cell(pooled, "money_multiple"),
        money_multiple_mean=cell(mean, "money_multiple"),
        money_multiple_median=cell(median, "money_multiple"),
    )


def _payments(name: str, rows: Sequence[Row]) -> Payments:
    paid, planned = total(cell(row, "paid_gbp") for row in rows), total(cell(row, "planned_gbp") for row in rows)
    return Payments(name=name, paid=paid, planned=planned)


def _bars(years: Sequence[Payments]) -> Sequence[Payments]:
    figures = [number for item in years for number in (item.paid.cell.number, item.planned.cell.number) if number is not None]
    largest = max(figures, default=None)
    return [replace(item, bar_paid=width(item.paid.cell.number, largest), bar_planned=width(item.planned.cell.number, largest)) for item in years]


def _shares(payers: Sequence[Payments]) -> Sequence[Payments]:
    """Give each kind of payer its share of all payments. Only where no figure is hidden or missing: a share of a part would mislead."""
    whole = total(item.paid.cell for item in payers)
    if not all(item.paid.is_whole for item in payers):
        return payers
    return [replace(item, share=ratio(item.paid.cell, whole.cell)) for item in payers]


def _returns(quarter: str, rows: Sequence[Row]) -> Returns:
    came = [row for row in rows if row["received_on"] is not None]
    return Returns(
        quarter=quarter,
        expected=sum(row["is_expected"] for row in rows),
        in_release=sum(row["is_in_release"] for row in rows),
        in_time=sum(not row["days_late"] for row in came),
        late=sum(bool(row["days_late"]) for row in came),
        missing=sum(row["state"] == "missing" for row in rows),
        rejected=sum(row["state"] == "rejected" for row in rows),
    )


def by_project(fund: Fund) -> Mapping[str, Mapping[str, Sequence[Row]]]:
    """Return each table's rows by project, read once for all pages."""
    found: dict[str, dict[str, list[Row]]] = {row["project_id"]: {name: [] for name in fund.tables} for row in fund.tables["projects"]}
    for name, rows in fund.tables.items():
        for row in rows:
            if row["project_id"] in found:
                found[row["project_id"]][name].append(row)
    return found
