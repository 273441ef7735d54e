"""What a project's page shows, in the style that the Life Chances Fund became known for: one bar per outcome metric in its own unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from pipeline.site.archive import Fund, Row
from pipeline.site.figures import Cell, cell, ratio, width
from pipeline.site.views import ALL, Group, split_payments

UNITS = {"individual": "individuals", "family": "families", "week": "weeks", "day": "days", "claim": "claims"}
"""Units of analysis in the plural. Source: schemas/codelists/unit.csv."""

COMPLETE = "complete"


@dataclass(frozen=True, kw_only=True)
class QuarterOfMetric:
    """One metric in one quarter."""

    quarter: str
    achieved: Cell
    planned: Cell
    cumulative: Cell
    planned_cumulative: Cell
    share_of_plan: Cell


@dataclass(frozen=True, kw_only=True)
class MetricView:
    """One outcome metric: achieved so far against the lifetime expectation of the plan that is named in words.

    Both bars are hundredths of the longer one; a bar that cannot be drawn is None.
    """

    id: str
    name: str
    definition: str | None
    unit: str
    supersedes: str | None
    achieved: Cell
    expected: Cell
    share: Cell
    bar_achieved: str | None
    bar_expected: str | None
    plan: str
    agreed_on: date | None
    price: Cell
    cap: Cell
    quarters: Sequence[QuarterOfMetric]


@dataclass(frozen=True, kw_only=True)
class PaymentView:
    """What was paid in one quarter, in all or by one payer on one basis. Bars are hundredths of the largest sum on the page."""

    quarter: str
    payer: str
    basis: str
    paid: Cell
    planned: Cell
    bar_paid: str | None = None
    bar_planned: str | None = None


@dataclass(frozen=True, kw_only=True)
class StartsView:
    """How many people started in one quarter, in all or in one category."""

    quarter: str
    characteristic: str
    category: str
    starts: Cell


@dataclass(frozen=True, kw_only=True)
class ReturnView:
    """What became of one quarter's return."""

    quarter: str
    due_on: date
    received_on: date | None
    days_late: int | None
    revisions: int
    state: str
    is_in_release: bool


@dataclass(frozen=True, kw_only=True)
class ProjectView:
    """Everything that a project's page shows."""

    group: Group
    is_complete: bool
    providers: str | None
    commissioners: str | None
    investors: str | None
    starts_on: date | None
    ends_on: date | None
    contract_cap: Cell
    capital_raised: Cell
    updated_on: date | None
    last_quarter: str | None
    metrics: Sequence[MetricView]
    totals: Sequence[PaymentView]
    payments: Sequence[PaymentView]
    starts: Sequence[StartsView]
    categories: Sequence[StartsView]
    returns: Sequence[ReturnView]


def project_view(fund: Fund, group: Group, tables: Mapping[str, Sequence[Row]]) -> ProjectView:
    """Return what the page of a project shows; `tables` has the rows of this project only."""
    about = tables["projects"][0]
    counted = [row for row in tables["completeness"] if row["is_in_release"]]
    totals, payments = split_payments(tables["payments_by_quarter"])
    starts = [_starts(fund, row) for row in tables["service_users_by_quarter"]]
    return ProjectView(
        group=group,
        is_complete=about["stage"] == COMPLETE,
        providers=about["service_providers"],
        commissioners=about["commissioners"],
        investors=about["investors"],
        starts_on=about["starts_on"],
        ends_on=about["ends_on"],
        contract_cap=cell(about, "contract_cap_gbp"),
        capital_raised=cell(about, "capital_raised_gbp"),
        updated_on=max((row["received_on"] for row in counted if row["received_on"]), default=None),
        last_quarter=max((row["quarter"] for row in counted), default=None),
        metrics=_metrics(fund, tables),
        totals=_totals(fund, totals),
        payments=[_payment(fund, row) for row in _in_time(payments)],
        starts=[item for item in starts if item.characteristic == ALL],
        categories=[item for item in starts if item.characteristic != ALL],
        returns=[_return(row) for row in tables["completeness"]],
    )


def _in_time(rows: Sequence[Row]) -> Sequence[Row]:
    return sorted(rows, key=lambda row: row["quarter"])


def _metrics(fund: Fund, tables: Mapping[str, Sequence[Row]]) -> Sequence[MetricView]:
    """Return the metrics in the order of the plan table, each against the plan version that its figures name, or the latest."""
    quarters: dict[str, list[Row]] = {}
    for row in _in_time(tables["outcomes_by_quarter"]):
        quarters.setdefault(row["metric_id"], []).append(row)
    plans: dict[str, dict[int, Row]] = {}
    for row in tables["outcome_metrics"]:
        plans.setdefault(row["metric_id"], {})[row["plan_version"]] = row
    return [_metric(fund, versions, quarters.get(metric, [])) for metric, versions in plans.items()]


def _metric(fund: Fund, plans: dict[int, Row], quarters: Sequence[Row]) -> MetricView:
    last = quarters[-1] if quarters else None
    scenario = (last and last["scenario"]) or "high"
    plan = plans.get(last["plan_version"] if last else -1) or plans[max(plans)]
    achieved, expected = cell(last, "cumulative_quantity"), cell(plan, f"target_{scenario}_quantity")
    largest = max((item for item in (achieved.number, expected.number) if item is not None), default=None)
    return MetricView(
        id=plan["metric_id"],
        name=plan["metric_name"],
        definition=plan["definition"],
        unit=UNITS.get(plan["unit"], "units"),
        supersedes=plan["supersedes_metric_id"],
        achieved=achieved,
        expected=expected,
        share=ratio(achieved, expected),
        bar_achieved=width(achieved.number, largest),
        bar_expected=width(expected.number, largest),
        plan=_plan_words(fund, plan, scenario),
        agreed_on=plan["agreed_on"],
        price=cell(plan, "price_per_unit_gbp"),
        cap=cell(plan, "cap_quantity"),
        quarters=[_quarter(row) for row in quarters],
    )


def _plan_words(fund: Fund, plan: Row, scenario: str) -> str:
    if not plan["plan_version"]:
        return "in no plan"
    kind = fund.label("plan_kind", plan["plan_kind"])
    return f"{fund.label('scenario', scenario)}, {kind}{', ' if kind else ''}plan version {plan['plan_version']}"


def _quarter(row: Row) -> QuarterOfMetric:
    return QuarterOfMetric(
        quarter=row["quarter"],
        achieved=cell(row, "achieved_quantity"),
        planned=cell(row, "planned_quantity"),
        cumulative=cell(row, "cumulative_quantity"),
        planned_cumulative=cell(row, "planned_cumulative_quantity"),
        share_of_plan=cell(row, "share_of_plan"),
    )


def _totals(fund: Fund, rows: Sequence[Row]) -> Sequence[PaymentView]:
    items = [_payment(fund, row) for row in _in_time(rows)]
    largest: Decimal | None = max((n for item in items for n in (item.paid.number, item.planned.number) if n is not None), default=None)
    return [
        PaymentView(
            quarter=item.quarter,
            payer=item.payer,
            basis=item.basis,
            paid=item.paid,
            planned=item.planned,
            bar_paid=width(item.paid.number, largest),
            bar_planned=width(item.planned.number, largest),
        )
        for item in items
    ]


def _payment(fund: Fund, row: Row) -> PaymentView:
    return PaymentView(
        quarter=row["quarter"],
        payer=f"{row['payer_id']} ({fund.label('payer_kind', row['payer_kind']).lower()})",
        basis=fund.label("payment_basis", row["basis"]),
        paid=cell(row, "paid_gbp"),
        planned=cell(row, "planned_gbp"),
    )


def _starts(fund: Fund, row: Row) -> StartsView:
    return StartsView(
        quarter=row["quarter"],
        characteristic=row["characteristic"],
        category=fund.label(row["characteristic"], row["category"]),
        starts=cell(row, "starts_count"),
    )


def _return(row: Row) -> ReturnView:
    return ReturnView(
        quarter=row["quarter"],
        due_on=row["due_on"],
        received_on=row["received_on"],
        days_late=row["days_late"],
        revisions=row["revisions_count"],
        state=row["state"].replace("_", " "),
        is_in_release=row["is_in_release"],
    )
