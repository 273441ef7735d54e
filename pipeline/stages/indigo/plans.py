"""Plans: what each version of a plan expected to be paid in each quarter, and the targets of the metrics in the latest version."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from pipeline.domain.quarters import Quarter
from pipeline.domain.tables import Definitions
from pipeline.stages.indigo.accounting import NOTHING, Judgement, Judgements
from pipeline.stages.indigo.cells import read_day, read_plan
from pipeline.stages.indigo.export import IndigoExport
from pipeline.stages.indigo.metrics import Metric, registered_id
from pipeline.stages.indigo.payments import Period, note_length, read_amount, read_period
from pipeline.stages.indigo.projects import Project
from pipeline.stages.indigo.scope import Row, open_rows, shape

SCENARIO = "high"
"""What INDIGO compares with: the high case of the Final Award Offer or of the latest Variation Agreement."""

PlanKey = tuple[str, int]
"""A project and the version of its plan."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One planned payment row, read."""

    judgement: Judgement
    key: PlanKey
    period: Period
    amount: Decimal


class Plans:
    """The plans of a fund: rows of the register, the latest version of each project, and the pounds booked."""

    def __init__(self, definitions: Definitions) -> None:
        self.rows: list[Row] = []
        self.latest: dict[str, int] = {}
        self.booked: Decimal = NOTHING
        self._definitions = definitions
        self._agreed: dict[PlanKey, date] = {}

    def read(self, export: IndigoExport, known: Mapping[str, bool], planned: Sequence[Judgement], judgements: Judgements) -> None:
        """Take the planned payments into the plans. `planned` has the planned rows that can be judged further."""
        expected = [entry for judgement in planned if (entry := _read_planned(judgement)) is not None]
        listed = self._read_listed(list(open_rows(export, "projects_outcome_payment_plans", known, judgements)), {entry.key for entry in expected})
        _query_doubles(expected)
        _query_gaps(expected)
        by_quarter: dict[tuple[PlanKey, Quarter], list[Planned]] = defaultdict(list)
        for entry in expected:
            if entry.key not in listed:
                entry.judgement.find("I-595", "plan_id")
            if entry.judgement.is_usable:
                by_quarter[entry.key, entry.period.quarter].append(entry)
        for (key, quarter), entries in sorted(by_quarter.items(), key=lambda item: item[0]):
            self._add_payments(key, quarter, entries)

    def add_targets(self, metrics: Mapping[tuple[str, str], Metric], projects: Mapping[str, Project]) -> None:
        """Take the metrics' targets into the latest version, all in the quarter in which the service ends."""
        for (project_id, metric_id), metric in sorted(metrics.items()):
            if metric.target is None:
                continue
            key = (project_id, self.latest.get(project_id, 1))
            quarter = Quarter.of(projects[project_id].ends_on)
            metric.judgement.note("I-599", quarter=str(quarter), version=str(key[1]))
            self._add(key, quarter, {"measure": "outcomes", "metric_id": registered_id(project_id, metric_id), "expected_quantity": metric.target})

    def _read_listed(self, rows: Sequence[Judgement], planned: set[PlanKey]) -> set[PlanKey]:
        listed: set[PlanKey] = set()
        for judgement in rows:
            number = _read_number(judgement)
            if number is None:
                continue
            key = (judgement.project_id, number)
            if key in listed:
                judgement.find("I-596", "plan_id")
            elif key not in planned:
                judgement.find("I-597", "plan_id")
            else:
                listed.add(key)
                self._read_agreed(judgement, key)
        return listed

    def _read_agreed(self, judgement: Judgement, key: PlanKey) -> None:
        day = read_day(judgement["start"])
        if day is None:
            judgement.find("I-515", "start")
            return
        judgement.find("I-598", "start")
        if day.is_partial:
            judgement.find("I-509", "start")
        self._agreed[key] = day.day

    def _add_payments(self, key: PlanKey, quarter: Quarter, entries: Sequence[Planned]) -> None:
        amount = sum((entry.amount for entry in entries), NOTHING)
        if len(entries) > 1:
            for entry in entries:
                entry.judgement.note("I-594", "end")
        self.booked += amount
        self.latest[key[0]] = max(key[1], self.latest.get(key[0], 1))
        self._add(key, quarter, {"measure": "payments", "expected_gbp": amount})

    def _add(self, key: PlanKey, quarter: Quarter, values: Row) -> None:
        project_id, version = key
        whole: Row = {
            "project_id": project_id,
            "plan_version": version,
            "plan_kind": "final_award_offer" if version == 1 else "variation_agreement",
            "agreed_on": self._agreed.get(key),
            "scenario": SCENARIO,
            "quarter": str(quarter),
            **values,
        }
        self.rows.append(shape(self._definitions, "register", "plans", whole))


def _read_number(judgement: Judgement) -> int | None:
    number, is_changed = read_plan(judgement["plan_id"])
    if number is None:
        judgement.find("I-592", "plan_id")
    elif is_changed:
        judgement.find("I-507", "plan_id")
    return number


def _read_planned(judgement: Judgement) -> Planned | None:
    number = _read_number(judgement)
    period = read_period(judgement)
    amount = read_amount(judgement, finer="I-591")
    if judgement["metric_id"].strip():
        judgement.find("I-590", "metric_id")
    if judgement["notes"].strip():
        judgement.find("I-574", "notes")
    if number is None or period is None:
        return None
    note_length(judgement, period)
    return Planned(judgement=judgement, key=(judgement.project_id, number), period=period, amount=amount)


def _query_doubles(expected: Sequence[Planned]) -> None:
    """Hold back rows that give one period of one plan more than once: a plan expects one amount, and the export does not say which."""
    usable = [entry for entry in expected if entry.judgement.is_usable]
    times = Counter((entry.key, entry.period) for entry in usable)
    for entry in usable:
        if times[entry.key, entry.period] > 1:
            entry.judgement.find("I-593", "start")


def _query_gaps(expected: Sequence[Planned]) -> None:
    """Hold back versions that follow a missing one: a version changes the one before it, and the register numbers them without gaps."""
    usable = [entry for entry in expected if entry.judgement.is_usable]
    present = {entry.key for entry in usable}
    for entry in usable:
        project_id, version = entry.key
        if any((project_id, earlier) not in present for earlier in range(1, version)):
            entry.judgement.find("I-537", "plan_id")
