"""Payments that were made: what counts, what has to be asked, and the rows of the returns that come of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from pipeline.domain.quarters import Quarter
from pipeline.stages.indigo.accounting import Judgement
from pipeline.stages.indigo.cells import MOST, months_of, read_day, read_money, read_words
from pipeline.stages.indigo.metrics import Metric, read_metric_id, registered_id
from pipeline.stages.indigo.parties import Payers, read_payer_ids
from pipeline.stages.indigo.projects import Project
from pipeline.stages.indigo.scope import Row, shape

ACTIVITY_MARK = "covid claim payment"
"""The remark by which the export tells a payment for activity (COVID-19 terms, median scenario) from one for outcomes."""


@dataclass(frozen=True, order=True)
class Period:
    """A claim period, both days included."""

    start: date
    end: date

    @property
    def quarter(self) -> Quarter:
        """The quarter in which the period ends: the quarter that it is counted in."""
        return Quarter.of(self.end)

    def overlaps(self, other: Period) -> bool:
        """Say whether two different periods share a day."""
        return self != other and self.start <= other.end and other.start <= self.end


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One actual payment row, read."""

    judgement: Judgement
    project: Project
    period: Period
    amount: Decimal
    basis: str
    payers: tuple[str, ...]
    metric_id: str | None


@dataclass(frozen=True, kw_only=True)
class Reported:
    """One row of a return: the row of the export that it comes from, where it belongs, the last day it speaks of, and the row."""

    number: int
    project_id: str
    day: date
    row: Row


def read_period(judgement: Judgement) -> Period | None:
    """Return the period of a row; None when a date is missing or wrong, or the period ends before it starts."""
    start, end = read_day(judgement["start"]), read_day(judgement["end"], is_end=True)
    for column, day in (("start", start), ("end", end)):
        if day is None:
            judgement.find("I-562", column)
    if start is None or end is None:
        return None
    if end.day < start.day:
        judgement.find("I-563", "end")
        return None
    if start.is_partial or end.is_partial:
        judgement.find("I-509", "end")
    return Period(start.day, end.day)


def read_amount(judgement: Judgement, *, finer: str) -> Decimal:
    """Return a row's amount in pence; put on record whatever is wrong with it. `finer` is the rule for amounts finer than a penny."""
    money = read_money(judgement["amount"])
    faults = {"empty": "I-566", "formula": "I-567", "not_a_number": "I-568"}
    if money.fault:
        judgement.find(faults[money.fault], "amount")
    elif not money.is_sensible:
        judgement.find("I-569", "amount", limit=str(MOST))
    elif money.precision != "pence":
        judgement.find("I-545" if money.precision == "noise" else finer, "amount")
    currency = read_words(judgement["currency"])
    if currency.text.upper() != "GBP":
        judgement.find("I-544", "currency")
    elif currency.text != judgement["currency"] or currency.text != "GBP":
        judgement.find("I-510", "currency")
    return money.pence


def read_payments(
    actual: Sequence[Judgement], projects: Mapping[str, Project], metrics: Mapping[tuple[str, str], Metric], payers: Payers
) -> list[Reported]:
    """Return the actual payments that can be used as rows of returns. `actual` has the actual rows that can be judged further."""
    claims = [claim for judgement in actual if (claim := _read_claim(judgement, projects[judgement.project_id], metrics, payers)) is not None]
    by_project: dict[str, list[Claim]] = defaultdict(list)
    for claim in claims:
        if claim.judgement.is_usable:
            by_project[claim.project.project_id].append(claim)
    for of_project in by_project.values():
        _compare(of_project)
    return [_report(claim, payers) for claim in claims if claim.judgement.is_usable]


def note_length(judgement: Judgement, period: Period) -> None:
    """Note a claim period that is not three months long, or is three months but no calendar quarter."""
    if months_of(period.start, period.end) != 3:
        judgement.find("I-564", "end")
    elif (period.start, period.end) != (period.quarter.start, period.quarter.end):
        judgement.find("I-565", "end")


def check_service(judgement: Judgement, period: Period, project: Project) -> None:
    """Query a row whose period ends before the service starts; note one whose period only begins before it."""
    if period.end < project.starts_on:
        judgement.find("I-516", "end", starts_on=project.starts_on.isoformat())
    elif period.start < project.starts_on:
        judgement.find("I-517", "start", starts_on=project.starts_on.isoformat())


def _read_claim(judgement: Judgement, project: Project, metrics: Mapping[tuple[str, str], Metric], payers: Payers) -> Claim | None:
    period = read_period(judgement)
    amount = read_amount(judgement, finer="I-546")
    if period is None:
        return None
    note_length(judgement, period)
    check_service(judgement, period, project)
    if judgement["plan_id"].strip():
        judgement.find("I-571", "plan_id")
    metric_id = read_metric_id(judgement) or None
    if metric_id is not None and (project.project_id, metric_id) not in metrics:
        judgement.find("I-572", "metric_id")
    if amount == 0:
        judgement.find("I-570", "amount")
    basis = _read_basis(judgement)
    claimed_of = _read_payers(judgement, payers)
    return Claim(
        judgement=judgement,
        project=project,
        period=period,
        amount=amount,
        basis=basis,
        payers=claimed_of,
        metric_id=metric_id if basis == "outcome" else None,
    )


def _read_basis(judgement: Judgement) -> str:
    remark = read_words(judgement["notes"]).text.casefold()
    if remark == ACTIVITY_MARK:
        judgement.find("I-573", "notes")
        return "activity"
    if remark:
        judgement.find("I-574", "notes")
    return "outcome"


def _read_payers(judgement: Judgement, payers: Payers) -> tuple[str, ...]:
    """Return who paid: whoever the row names, else all who committed to pay the project."""
    named = read_payer_ids(judgement)
    if not all(payers.knows(organisation_id) for organisation_id in named):
        judgement.find("I-577", "payer")
    if len(named) > 1:
        judgement.find("I-575", "payer", payers=str(len(named)))
    if named:
        return named
    committed = tuple(sorted(payers.committed.get(judgement.project_id, ())))
    judgement.find("I-576" if committed else "I-578", "payer")
    return committed


def _compare(claims: Sequence[Claim]) -> None:
    """Compare the payments of one project with one another: repeats, rival activity payments, shared and overlapping periods."""
    seen: set[tuple[object, ...]] = set()
    activity: dict[Period, set[Decimal]] = defaultdict(set)
    for claim in sorted(claims, key=lambda claim: claim.judgement.row.number):
        same = (claim.period, claim.payers, claim.basis, claim.metric_id, claim.amount)
        if same in seen:
            claim.judgement.find("I-579", "amount")
        seen.add(same)
        if claim.basis == "activity":
            activity[claim.period].add(claim.amount)
    times = Counter(claim.period for claim in claims)
    for claim in claims:
        if claim.basis == "activity" and len(activity[claim.period]) > 1:
            claim.judgement.find("I-580", "amount")
        if times[claim.period] > 1:
            claim.judgement.find("I-581", "end")
        if any(claim.period.overlaps(other) for other in times):
            claim.judgement.find("I-582", "end")


def _report(claim: Claim, payers: Payers) -> Reported:
    judgement = claim.judgement
    values: Row = {
        "payment_ref": f"pay-{judgement.row.number}",
        "payer_id": payers.book(claim.payers, judgement, "payer"),
        "metric_id": claim.metric_id and registered_id(claim.project.project_id, claim.metric_id),
        "basis": claim.basis,
        "period_start": claim.period.start,
        "period_end": claim.period.end,
        "amount_gbp": claim.amount,
    }
    return Reported(
        number=judgement.row.number,
        project_id=claim.project.project_id,
        day=claim.period.end,
        row=shape(judgement.definitions, "submission", "payments", values),
    )
