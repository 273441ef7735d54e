"""What outcomes contracts of each policy sector are like: metrics, the people they serve, the words they use. Invented, in the shape of the real."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

FUND_ID = "SYN-LCF"
FUND_PAYER_ID = "SYN-LCF-FUND"
FUND_NAME = "Synthetic Life Chances Fund"
PUBLISHER = "Example Outcomes Fund"
LICENCE = "OGL-UK-3.0"
RETURN_DUE_DAYS = 30


@dataclass(frozen=True, kw_only=True)
class MetricKind:
    """One outcome metric: what counts, how often it is reached, and what one unit costs.

    `after` is the position, in its sector's list, of the metric that comes before it, at least `after_days` earlier. `rate` is the share of those who
    could reach it and do; `spread_days` is how long that may take.
    """

    name: str
    definition: str
    evidence: str
    price_gbp: int
    rate: float
    spread_days: int
    unit: str = "individual"
    after: int | None = None
    after_days: int = 0

    @property
    def is_counted_in_weeks(self) -> bool:
        """Whether a participant brings weeks in every quarter, and not one outcome once."""
        return self.unit == "week"


def _sustained(first: MetricKind, what: str, evidence: str, *, prices: tuple[int, int]) -> tuple[MetricKind, MetricKind]:
    """Return the two metrics that say that an outcome lasted 13 and 26 weeks. They follow a metric that stands first in its list."""
    return (
        MetricKind(
            name=f"{what} for 13 weeks",
            definition=f"{what} for 13 weeks after the outcome '{first.name}', shown by {evidence.replace('_', ' ')}.",
            evidence=evidence,
            price_gbp=prices[0],
            rate=0.72,
            spread_days=20,
            unit=first.unit,
            after=0,
            after_days=91,
        ),
        MetricKind(
            name=f"{what} for 26 weeks",
            definition=f"{what} for 26 weeks after the outcome '{first.name}', shown by {evidence.replace('_', ' ')}.",
            evidence=evidence,
            price_gbp=prices[1],
            rate=0.76,
            spread_days=20,
            unit=first.unit,
            after=1,
            after_days=91,
        ),
    )


def _once(name: str, definition: str, evidence: str, price_gbp: int, rate: float, spread_days: int, unit: str = "individual") -> MetricKind:
    return MetricKind(name=name, definition=definition, evidence=evidence, price_gbp=price_gbp, rate=rate, spread_days=spread_days, unit=unit)


_HOME = _once("Moves into a home", "Signs a tenancy of at least six months.", "tenancy_agreement", 1400, 0.55, 80)
_JOB = _once("Starts a job", "Starts paid work of at least 16 hours a week.", "employer_letter", 1200, 0.42, 90)
_FAMILY = _once(
    "Family plan agreed", "The family and its key worker agree a plan and keep to it for four weeks.", "provider_record", 900, 0.7, 50, "family"
)
_SCHOOL = _once("Attends regularly", "Attends at least 90 per cent of the sessions of a half term.", "administrative_record", 650, 0.5, 75)
_HEALTH = _once("Takes up support", "Completes a first course of support sessions.", "provider_record", 300, 0.68, 45)
_SETTLED = _once("Settled in the community", "Lives at an approved address for four weeks after release.", "administrative_record", 1100, 0.52, 60)

METRICS: Mapping[str, Sequence[MetricKind]] = {
    "homelessness": (
        _HOME,
        *_sustained(_HOME, "Keeps the home", "tenancy_agreement", prices=(1900, 2600)),
        _once("Better wellbeing", "Wellbeing score rises by at least three points.", "assessment", 300, 0.35, 120),
        _once("Joins treatment", "Attends the first three appointments of a treatment programme.", "provider_record", 450, 0.18, 100),
        _once("Starts volunteering or training", "Takes part for at least four weeks.", "self_certification", 400, 0.12, 150),
    ),
    "employment_and_training": (
        _JOB,
        *_sustained(_JOB, "In work", "payslip", prices=(1700, 2400)),
        _once("Gains a qualification", "Gains a recognised qualification at level 1 or above.", "administrative_record", 600, 0.22, 160),
        _once("Job search plan", "Completes a plan with a work coach.", "provider_record", 150, 0.8, 30),
        _once("Better confidence", "Confidence score rises by at least two points.", "assessment", 200, 0.3, 100),
    ),
    "child_and_family_welfare": (
        _FAMILY,
        *_sustained(_FAMILY, "Child stays safely at home", "administrative_record", prices=(2200, 3400)),
        MetricKind(
            name="Weeks out of care",
            definition="Each full week that the child lives with the family and not in care.",
            evidence="administrative_record",
            price_gbp=85,
            rate=0.62,
            spread_days=0,
            unit="week",
        ),
        _once("Better family functioning", "Family functioning score leaves the range of concern.", "assessment", 700, 0.33, 120, "family"),
        _once("Parent completes programme", "One parent completes the parenting programme.", "provider_record", 500, 0.4, 110, "family"),
    ),
    "education": (
        _SCHOOL,
        *_sustained(_SCHOOL, "Keeps attending", "administrative_record", prices=(800, 1100)),
        _once("Better behaviour", "Fewer exclusions than in the term before.", "administrative_record", 350, 0.34, 110),
        _once("Progress in English or mathematics", "Moves up at least one level.", "assessment", 500, 0.28, 150),
        _once("Trusted adult", "Completes twelve sessions with a mentor.", "provider_record", 250, 0.6, 95),
    ),
    "health": (
        _HEALTH,
        *_sustained(_HEALTH, "Keeps up self-care", "assessment", prices=(500, 750)),
        MetricKind(
            name="Weeks of independent living",
            definition="Each full week lived at home without a care package.",
            evidence="administrative_record",
            price_gbp=60,
            rate=0.45,
            spread_days=0,
            unit="week",
        ),
        _once("Better wellbeing", "Wellbeing score rises by at least three points.", "assessment", 280, 0.38, 100),
        _once("Joins a group", "Takes part in a local group four times.", "self_certification", 120, 0.25, 120),
    ),
    "criminal_justice": (
        _SETTLED,
        *_sustained(_SETTLED, "No new conviction", "administrative_record", prices=(1600, 2900)),
        _once("Starts training or work", "Starts training or paid work.", "employer_letter", 900, 0.24, 130),
        _once("Completes the programme", "Attends at least ten of twelve sessions.", "provider_record", 400, 0.48, 100),
        _once("Mentor relationship", "Meets a mentor for eight weeks.", "provider_record", 220, 0.5, 80),
    ),
}
SECTORS: tuple[str, ...] = tuple(METRICS)

AGE_BANDS: Mapping[str, Mapping[str, float]] = {
    "homelessness": {"16_to_17": 3, "18_to_24": 30, "25_to_34": 28, "35_to_49": 27, "50_to_64": 9, "65_and_over": 1.5, "not_known": 1.5},
    "employment_and_training": {"16_to_17": 12, "18_to_24": 45, "25_to_34": 24, "35_to_49": 13, "50_to_64": 5, "not_known": 1},
    "child_and_family_welfare": {"under_11": 38, "11_to_15": 44, "16_to_17": 15, "18_to_24": 2, "not_known": 1},
    "education": {"under_11": 14, "11_to_15": 68, "16_to_17": 16, "18_to_24": 1, "not_known": 1},
    "health": {"18_to_24": 4, "25_to_34": 9, "35_to_49": 21, "50_to_64": 33, "65_and_over": 32, "not_known": 1},
    "criminal_justice": {"16_to_17": 8, "18_to_24": 38, "25_to_34": 31, "35_to_49": 18, "50_to_64": 4, "not_known": 1},
}
GENDERS: Mapping[str, float] = {"female": 46, "male": 51, "another": 1.6, "not_known": 1.4}
ETHNICITIES: Mapping[str, float] = {"white": 76, "asian": 9, "black": 7, "mixed": 4.5, "other": 1.5, "not_known": 2}
AREAS: tuple[float, ...] = (62, 26, 9, 3)
"""Shares of the areas that a project works in, from the largest to the smallest."""
