"""Draws what happens in a project: who starts and leaves, which outcomes they reach, and what becomes of those.

Everything is drawn a column at a time, so that a fund of millions of people takes seconds. Days are counted from 1970-01-01, quarters from the first
of the fund.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.samples.catalogue import AGE_BANDS, AREAS, ETHNICITIES, GENDERS
from pipeline.samples.fund import Integers, SampleFund, SampleMetric, SampleProject

Flags = NDArray[np.bool_]

VERIFIED, REJECTED, CLAIMED = 0, 1, 2
REJECTED_SHARE = 0.05
LATE_SHARE = 0.06
PENDING_SHARE = 0.15
LEAVING_SHARE = 0.6
EVIDENCE_SHARES = (0.93, 0.055, 0.015)
"""How often the evidence is the metric's own, a self-certification, or not known."""


@dataclass(frozen=True, kw_only=True)
class People:
    """The participants of a project, one element each, in the order of their first days. `left` is -1 for those who are still served."""

    started: Integers
    start_quarter: Integers
    left: Integers
    age_band: Integers
    gender: Integers
    ethnicity: Integers
    area: Integers


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """The outcomes of a project, one element each, in the order of their references.

    `reported` is the quarter whose return brings the outcome, later than the one in which it was achieved when it is late. `metric` counts from 0.
    """

    person: Integers
    metric: Integers
    achieved: Integers
    quantity: Integers
    reported: Integers
    status: Integers
    decided: Integers
    evidence: Integers

    def where(self, chosen: Flags) -> Outcomes:
        """Return the outcomes for which a flag is set."""
        return Outcomes(**{name: getattr(self, name)[chosen] for name in Outcomes.__dataclass_fields__})


@dataclass(frozen=True, kw_only=True)
class ProjectFacts:
    """Everything that happens in one project. `bounds` are the first days of the quarters, and the day after the last."""

    fund: SampleFund
    project: SampleProject
    people: People
    outcomes: Outcomes
    bounds: Integers

    def quarter_of(self, days: Integers) -> Integers:
        """Return the quarters in which days lie."""
        return np.searchsorted(self.bounds, days, side="right") - 1

    def units(self) -> Integers:
        """Return the units of each metric that are verified over all quarters, or still may be."""
        stands = self.outcomes.status != REJECTED
        return np.bincount(self.outcomes.metric[stands], self.outcomes.quantity[stands], len(self.project.metrics)).astype(np.int64)


def draw_facts(fund: SampleFund, project: SampleProject) -> ProjectFacts:
    """Draw what happens in a project. It depends on the seed and the project's number, not on the projects around it."""
    rng = np.random.Generator(np.random.PCG64([fund.seed, project.number]))
    bounds = fund.bounds
    people = _draw_people(project, bounds, rng)
    outcomes = _draw_outcomes(project, people, bounds, rng)
    people = _let_leave(people, outcomes, int(bounds[-1]), rng)
    return ProjectFacts(fund=fund, project=project, people=people, outcomes=outcomes, bounds=bounds)


def decide_claims(facts: ProjectFacts) -> ProjectFacts:
    """Return what happened when the claims that were still open have been verified."""
    status = np.where(facts.outcomes.status == CLAIMED, VERIFIED, facts.outcomes.status)
    return replace(facts, outcomes=replace(facts.outcomes, status=status))


def _draw_people(project: SampleProject, bounds: Integers, rng: np.random.Generator) -> People:
    quarters = np.repeat(np.arange(len(project.starts)), project.starts)
    started = np.sort(rng.integers(bounds[quarters], bounds[quarters + 1]))

    def draw(weights: Sequence[float]) -> Integers:
        return rng.choice(len(weights), size=len(started), p=np.array(weights) / sum(weights))

    return People(
        started=started,
        start_quarter=quarters,
        left=np.full(len(started), -1),
        age_band=draw(list(AGE_BANDS[project.sector].values())),
        gender=draw(list(GENDERS.values())),
        ethnicity=draw(list(ETHNICITIES.values())),
        area=draw(AREAS),
    )


def _draw_outcomes(project: SampleProject, people: People, bounds: Integers, rng: np.random.Generator) -> Outcomes:
    """Draw metric by metric; one that follows another is reached only by those whose outcome before it was not rejected."""
    drawn: list[Outcomes] = []
    for position, metric in enumerate(project.metrics):
        if metric.kind.is_counted_in_weeks:
            person, achieved, quantity = _draw_weeks(metric, project, people, bounds, rng)
            soonest = np.zeros(len(person), dtype=np.int64)
        else:
            before = drawn[metric.after] if metric.after is not None else None
            person, achieved, soonest = _draw_once(metric, project, people, before, rng)
            quantity = np.ones(len(person), dtype=np.int64)
        drawn.append(_report(project, position, (person, achieved, quantity, soonest), bounds, rng))
    names = Outcomes.__dataclass_fields__
    together = {name: np.concatenate([getattr(outcomes, name) for outcomes in drawn]) for name in names}
    order = np.lexsort((together["metric"], together["person"], together["achieved"]))
    return Outcomes(**{name: values[order] for name, values in together.items()})


def _draw_once(
    metric: SampleMetric, project: SampleProject, people: People, before: Outcomes | None, rng: np.random.Generator
) -> tuple[Integers, Integers, Integers]:
    """Return who reaches a metric, on which day, and the first quarter whose return may say so (not before that of the metric before)."""
    if before is None:
        person, since, soonest = np.arange(len(people.started)), people.started, np.zeros(len(people.started), dtype=np.int64)
        rate = metric.kind.rate * project.success
    else:
        stands = before.status != REJECTED
        person, since, soonest = before.person[stands], before.achieved[stands] + metric.kind.after_days, before.reported[stands]
        rate = metric.kind.rate
    is_reached = rng.random(len(person)) < rate
    achieved = since + 1 + rng.integers(0, metric.kind.spread_days + 1, size=len(person))
    return person[is_reached], achieved[is_reached], soonest[is_reached]


def _draw_weeks(
    metric: SampleMetric, project: SampleProject, people: People, bounds: Integers, rng: np.random.Generator
) -> tuple[Integers, Integers, Integers]:
    """Return for up to four quarters after each start how many full weeks the person brings, and the last day of those."""
    drawn = []
    for later in range(4):
        quarter = people.start_quarter + later
        person = np.flatnonzero((rng.random(len(quarter)) < metric.kind.rate * project.success) & (quarter < len(bounds) - 1))
        first, after = bounds[quarter[person]], bounds[quarter[person] + 1]
        achieved = after - 1 - rng.integers(0, 14, size=len(person))
        weeks = np.minimum((achieved - np.maximum(first, people.started[person])) // 7, 13)
        drawn.append(np.stack([person, achieved, weeks])[:, weeks > 0])
    person, achieved, weeks = np.concatenate(drawn, axis=1)
    return person, achieved, weeks


def _report(
    project: SampleProject, metric: int, reached: tuple[Integers, Integers, Integers, Integers], bounds: Integers, rng: np.random.Generator
) -> Outcomes:
    """Draw which outcomes a payer accepts and which are reported late; drop those that nobody will have heard of by the last quarter."""
    person, achieved, quantity, soonest = reached
    last = len(bounds) - 2
    size = len(person)
    quarter = np.searchsorted(bounds, achieved, side="right") - 1
    reported = np.maximum(quarter + (rng.random(size) < LATE_SHARE), soonest)
    is_pending = (rng.random(size) < PENDING_SHARE) & (quarter == last)
    status = np.where(is_pending, CLAIMED, np.where(rng.random(size) < REJECTED_SHARE, REJECTED, VERIFIED))
    is_told = (achieved < bounds[-1]) & (reported <= last)
    if project.paused is not None:
        is_told &= quarter != project.paused
    told = np.minimum(reported, last)
    earliest = np.minimum(np.maximum(achieved, bounds[told]), bounds[told + 1] - 1)
    decided = earliest + (rng.random(size) * (np.minimum(bounds[told + 1], earliest + 28) - earliest)).astype(np.int64)
    evidence = rng.choice(len(EVIDENCE_SHARES), size=size, p=EVIDENCE_SHARES)
    columns = (person, np.full(size, metric), achieved, quantity, reported, status, decided, evidence)
    return Outcomes(**{name: column[is_told] for name, column in zip(Outcomes.__dataclass_fields__, columns, strict=True)})


def _let_leave(people: People, outcomes: Outcomes, end: int, rng: np.random.Generator) -> People:
    """Let most people leave some months after their start, and nobody before the last outcome that is known of them."""
    size = len(people.started)
    left = people.started + 30 + rng.exponential(160, size=size).astype(np.int64)
    np.maximum.at(left, outcomes.person, outcomes.achieved)
    is_leaving = (rng.random(size) < LEAVING_SHARE) & (left < end)
    return replace(people, left=np.where(is_leaving, left, -1))
