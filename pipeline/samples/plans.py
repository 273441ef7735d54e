"""What was expected of a project: service users, outcomes and payments by quarter, for each plan version and scenario."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from pipeline.samples.fund import SampleProject

SCENARIOS: Mapping[str, float] = {"high": 1.2, "medium": 1.0, "low": 0.75}
WEEKS_A_QUARTER = 9
DAYS_A_QUARTER = 91
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Expected:
    """One scenario of one plan version. By quarter, counted from the first of the fund: users, units of each metric, pounds from each payer."""

    version: int
    scenario: str
    users: Sequence[int]
    units: Sequence[Sequence[int]]
    gbp: Mapping[str, Sequence[Decimal]]


def plan(project: SampleProject) -> Sequence[Expected]:
    """Return every plan version of a project in every scenario, versions first to last."""
    versions = (1,) if project.variation is None else (1, 2)
    return [_expect(project, version, scenario) for version in versions for scenario in SCENARIOS]


def expected(project: SampleProject, scenario: str) -> Expected:
    """Return the latest plan version in one scenario."""
    return next(found for found in reversed(plan(project)) if found.scenario == scenario)


def _expect(project: SampleProject, version: int, scenario: str) -> Expected:
    users = _users(project, version) * SCENARIOS[scenario]
    units: list[Floats] = []
    for metric in project.metrics:
        before = users if metric.kind.after is None else units[metric.kind.after]
        if metric.kind.is_counted_in_weeks:
            units.append(metric.kind.rate * WEEKS_A_QUARTER * (users + _later(users, 1) + _later(users, 2) + _later(users, 3)))
        else:
            days = metric.kind.after_days + metric.kind.spread_days / 2
            units.append(metric.kind.rate * _later(before, round(days / DAYS_A_QUARTER)))
    whole = [[round(float(quantity)) for quantity in quantities] for quantities in units]
    return Expected(
        version=version,
        scenario=scenario,
        users=[round(float(number)) for number in users],
        units=whole,
        gbp={payer_id: _pounds(project, payer_id, whole) for payer_id in project.payer_ids},
    )


def _users(project: SampleProject, version: int) -> Floats:
    """Return how many are expected to start, by quarter up to the last in which an outcome can be claimed. The first quarter is for setting up."""
    users = np.zeros(project.last_claim + 1)
    served = project.starts[project.starts > 0]
    usual = float(served.mean()) if served.size else 0.0
    users[project.first : project.last + 1] = usual * project.plan_factor
    users[project.first] /= 2
    if version > 1 and project.variation is not None:
        users[project.variation :] *= project.variation_factor
    return users


def _later(by_quarter: Floats, quarters: int) -> Floats:
    moved = np.zeros_like(by_quarter)
    moved[quarters:] = by_quarter[: len(by_quarter) - quarters]
    return moved


def _pounds(project: SampleProject, payer_id: str, units: Sequence[Sequence[int]]) -> Sequence[Decimal]:
    quarters = range(project.last_claim + 1)
    return [
        sum((project.price(metric, payer_id, quarter) * units[position][quarter] for position, metric in enumerate(project.metrics)), Decimal(0))
        for quarter in quarters
    ]
