"""Draws a fund: its projects, their contracts and prices, and how many people start in each quarter. What is drawn depends on the seed alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.domain.quarters import Quarter
from pipeline.errors import UsageError
from pipeline.samples.catalogue import AREAS, FUND_ID, FUND_PAYER_ID, METRICS, SECTORS, MetricKind

Integers = NDArray[np.int64]

PENNY = Decimal("0.01")
PRICE_RISE = Decimal("1.04")
USUAL_STARTS = 40
MOST_USUAL_STARTS = 150
FIRST_DAY = date(1970, 1, 1)


@dataclass(frozen=True, kw_only=True)
class SampleMetric:
    """One outcome metric of a project. `after` is the position of the metric that comes before it in its project.

    `prices` gives, by payer, the price of one unit until the rate card changes and from then on.
    """

    metric_id: str
    kind: MetricKind
    after: int | None
    is_once_per_person: bool
    prices: Mapping[str, tuple[Decimal, Decimal]]


@dataclass(frozen=True, kw_only=True)
class SampleProject:
    """One project and what was agreed with it. Quarters are counted from the first of the fund, which is 0.

    `first` is the quarter in which the service starts, `last` that in which it ends, `last_claim` the last in which an outcome can be claimed, `nil`
    one in which nothing happens, `paused` one that is paid for activity, `price_change` the first with new prices, `variation` the one in which a
    Variation Agreement is made; None where there is no such quarter.
    `success` says how the people fare against the plan; `plan_factor` and `variation_factor` how bold the plans are.
    """

    number: int
    project_id: str
    sector: str
    stage: str
    return_kind: Literal["participants", "counts"]
    metrics: Sequence[SampleMetric]
    council_id: str
    areas: Sequence[str]
    starts_on: date
    ends_on: date
    claims_until: date | None
    first: int
    last: int
    last_claim: int
    nil: int | None
    paused: int | None
    price_change: int | None
    variation: int | None
    starts: Integers
    success: float
    plan_factor: float
    variation_factor: float

    @property
    def payer_ids(self) -> tuple[str, str]:
        """Who pays: the local commissioner, and the fund its top-up."""
        return self.council_id, FUND_PAYER_ID

    def is_open(self, quarter: int) -> bool:
        """Say whether people can start in a quarter."""
        return self.first <= quarter <= self.last and quarter != self.nil

    def price(self, metric: SampleMetric, payer_id: str, quarter: int) -> Decimal:
        """Return what a payer pays for one unit that was achieved in a quarter."""
        before, after = metric.prices[payer_id]
        return before if self.price_change is None or quarter < self.price_change else after


@dataclass(frozen=True, kw_only=True)
class SampleFund:
    """A fund that has been drawn: the quarters in which returns are made, the councils by id, and the projects."""

    fund_id: str
    seed: int
    quarters: Sequence[Quarter]
    councils: Mapping[str, str]
    projects: Sequence[SampleProject]

    @property
    def bounds(self) -> Integers:
        """The first day of each quarter and the day after the last, counted from 1970-01-01."""
        days = [quarter.start for quarter in self.quarters] + [self.quarters[-1].next().start]
        return np.array([(day - FIRST_DAY).days for day in days], dtype=np.int64)


def draw_fund(*, projects: int, quarters: int, participants: int | None, seed: int, first_quarter: Quarter) -> SampleFund:
    """Draw a fund with its projects.

    Args: participants, the people (or families) of all projects that return person by person; without it about 40 a project and quarter, 0 to 150.
    Raises: UsageError when there is to be no project or no quarter, or a number is below 0.
    """
    if projects < 1 or quarters < 1 or seed < 0 or (participants is not None and participants < 0):
        raise UsageError("A sample needs at least one project and one quarter, and no number in it may be below 0.")
    rng = np.random.Generator(np.random.PCG64([seed, 0]))
    calendar = [first_quarter]
    while len(calendar) < quarters + 12:
        calendar.append(calendar[-1].next())
    councils = {f"SYN-C{number:02d}": f"Council {letters_of(number)}" for number in range(1, projects * 2 // 3 + 2)}
    drawn = [_draw_project(number, projects, quarters, calendar, list(councils), rng) for number in range(1, projects + 1)]
    starts = _draw_starts(drawn, quarters, participants, rng)
    return SampleFund(
        fund_id=FUND_ID,
        seed=seed,
        quarters=calendar[:quarters],
        councils=councils,
        projects=[replace(project, starts=starts[position]) for position, project in enumerate(drawn)],
    )


def _draw_project(
    number: int, projects: int, quarters: int, calendar: Sequence[Quarter], councils: Sequence[str], rng: np.random.Generator
) -> SampleProject:
    """Draw a project, but not yet how many start. Most of it follows from its number, so that a small sample too has every kind."""
    project_id = f"SYN-P{number:0{max(2, len(str(projects)))}d}"
    sector = SECTORS[(number - 1) % len(SECTORS)]
    is_counts = number == projects and projects >= 4
    first = quarters // 4 if number % 5 == 4 else 0
    has_ended = number % 9 == 8 and quarters >= 6
    last = quarters - 3 if has_ended else quarters + 1 + number % 4
    claims_later = has_ended or number % 3 > 0
    council = (number - 1) % len(councils)
    pause = min(3, quarters - 2)
    return SampleProject(
        number=number,
        project_id=project_id,
        sector=sector,
        stage="service_delivery_complete" if has_ended else "implementation",
        return_kind="counts" if is_counts else "participants",
        metrics=_draw_metrics(project_id, METRICS[sector][: 2 + (number * 3) % 5], councils[council], is_counts, rng),
        council_id=councils[council],
        areas=[f"E99{council * len(AREAS) + area + 1:06d}" for area in range(len(AREAS))],
        starts_on=calendar[first].start,
        ends_on=calendar[last].end,
        claims_until=calendar[last + 2].end if claims_later else None,
        first=first,
        last=last,
        last_claim=last + 2 if claims_later else last,
        nil=first if number % 7 == 3 and quarters > first + 1 else None,
        paused=pause if number % 2 == 0 and pause > first else None,
        price_change=_find_new_year(calendar[:quarters], first) if number % 3 == 0 else None,
        variation=first + max(1, (quarters - first) // 2) if number % 2 == 1 and quarters > first + 1 else None,
        success=float(rng.uniform(0.7, 1.15)),
        plan_factor=float(rng.uniform(0.9, 1.3)),
        variation_factor=float(rng.uniform(0.75, 1.15)),
        starts=np.zeros(quarters, dtype=np.int64),
    )


def _draw_metrics(project_id: str, kinds: Sequence[MetricKind], council_id: str, is_counts: bool, rng: np.random.Generator) -> Sequence[SampleMetric]:
    share = Decimal(int(rng.integers(14, 46))) / 100
    metrics = []
    for position, kind in enumerate(kinds, start=1):
        price = Decimal(5 * round(kind.price_gbp * float(rng.uniform(0.85, 1.25)) / 5)).quantize(PENNY)
        risen = (price * PRICE_RISE).quantize(PENNY)
        top_up, top_up_risen = (price * share).quantize(PENNY), (risen * share).quantize(PENNY)
        metrics.append(
            SampleMetric(
                metric_id=f"{project_id}-M{position}",
                kind=kind,
                after=None if is_counts else kind.after,
                is_once_per_person=not is_counts and not kind.is_counted_in_weeks,
                prices={council_id: (price - top_up, risen - top_up_risen), FUND_PAYER_ID: (top_up, top_up_risen)},
            )
        )
    return metrics


def _draw_starts(projects: Sequence[SampleProject], quarters: int, participants: int | None, rng: np.random.Generator) -> Integers:
    """Return how many people start, by project and quarter. Sizes vary widely, so that there are large figures and very small ones."""
    weights = rng.lognormal(0.0, 0.5, size=(len(projects), 1)) * rng.gamma(1.3, 1.0, size=(len(projects), quarters))
    is_open = np.array([[project.is_open(quarter) for quarter in range(quarters)] for project in projects])
    is_paused = np.array([[quarter == project.paused for quarter in range(quarters)] for project in projects])
    is_counts = np.array([project.return_kind == "counts" for project in projects])
    weights = np.where(is_open, weights, 0.0) * np.where(is_paused, 0.2, 1.0)
    starts = np.zeros(weights.shape, dtype=np.int64)
    for chosen, wanted in ((~is_counts, participants), (is_counts, None)):
        total = weights[chosen].sum()
        if total == 0:
            continue
        people = USUAL_STARTS * int(is_open[chosen].sum()) if wanted is None else wanted
        drawn = rng.multinomial(people, (weights[chosen] / total).ravel()).reshape(-1, quarters)
        starts[chosen] = np.minimum(drawn, MOST_USUAL_STARTS) if wanted is None else drawn
    return starts


def _find_new_year(calendar: Sequence[Quarter], first: int) -> int | None:
    """Return the first quarter of a new year after the service began."""
    return next((index for index, quarter in enumerate(calendar) if index > first and quarter.number == 1), None)


def letters_of(number: int) -> str:
    """Return A to Z, then AA and so on, for 1 and above."""
    letters = ""
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters
