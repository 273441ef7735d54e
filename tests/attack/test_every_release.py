"""The attacker who has every release, against protection as it is and against protection with a part of it taken out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from pipeline.stages.audit import AuditReport, audit, find_made_by_price, find_since_erasure
from pipeline.stages.protection import Past, protect
from pipeline.stages.redaction import as_published, as_redacted
from pipeline.stages.revisions import add_revisions, count_revisions
from tests.attack.attacker import Knowledge, determine, gather, intervals, is_count, readable
from tests.attack.worlds import DEFINITIONS, Fund, Protect, protect_with_all, releases, weakened, with_an_erasure

THRESHOLD = 5
MANY = 1000


def by_price(seed: int) -> frozenset[str]:
    fund = Fund(seed)
    return frozenset(project for project in fund.projects if fund.is_by_price[project])


def attacked(seed: int, versions: int | None = None, by: Protect = protect_with_all) -> Knowledge:
    made = releases(seed, versions, by)
    return gather([release.public for release in made], [release.true for release in made], by_price(seed))


def exposed_by(made: Sequence[Past], seed: int) -> list[tuple[str, ...]]:
    """The places of small counts that the releases together settle, but for those that the releases before theirs had told already."""
    public, true = [release.public for release in made], [release.true for release in made]
    known = gather(public, true, by_price(seed))
    found = {(known.places[number], known.since[number]) for number in determine(known) if known.true[number] < THRESHOLD}
    for version in range(1, len(made)) if found else ():
        before = gather(public[: version + 1], true[: version + 1], by_price(seed), silent=version)
        found -= {(before.places[number], version) for number in determine(before) if before.since[number] == version}
    return sorted(place for place, _ in found if is_count(place))


def small_counts(known: Knowledge, numbers: Iterable[int]) -> list[tuple[str, ...]]:
    """The places, among these, of counts of fewer people than the threshold."""
    return [known.places[number] for number in numbers if is_count(known.places[number]) and known.true[number] < THRESHOLD]


def audited(made: Sequence[Past], **rules: Any) -> AuditReport:
    disclosure = {**DEFINITIONS.disclosure, **rules}
    changes = count_revisions([release.true for release in made], DEFINITIONS)
    by_price = find_made_by_price([release.true for release in made], disclosure)
    return audit(made[-1].public, disclosure, [release.public for release in made[:-1]], changes, by_price)


@pytest.mark.parametrize("seed", range(30))
def test_nothing_small_is_worked_out_from_all_releases_of_a_fund(seed: int) -> None:
    known = attacked(seed, versions=1 + seed % 5)

    assert known.hidden
    assert small_counts(known, determine(known)) == []


def passes(made: Sequence[Past]) -> bool:
    return audited(made).passed


def versions_of(seed: int) -> int:
    return 1 + seed % (12 if seed % 10 == 0 else 5)


@pytest.mark.faults
def test_nothing_small_is_worked_out_in_a_thousand_funds_from_the_releases_that_pass_the_audit() -> None:
    hidden = refused = 0
    exposed: dict[int, list[tuple[str, ...]]] = {}
    narrow: dict[int, list[tuple[str, ...]]] = {}
    for seed in range(MANY):
        made = releases(seed, versions_of(seed), gate=passes)
        refused += versions_of(seed) - len(made)
        known = gather([release.public for release in made], [release.true for release in made], by_price(seed))
        hidden += len(small_counts(known, known.hidden))
        if places := exposed_by(made, seed):
            exposed[seed] = places
        if seed < MANY // 10 and (places := too_narrow(known)):
            narrow[seed] = places

    assert exposed == {}
    assert narrow == {}
    assert hidden > 10 * MANY
    assert refused < MANY // 20


def too_narrow(known: Knowledge) -> list[tuple[str, ...]]:
    """The places of hidden small counts that a linear program leaves fewer than three values."""
    told = readable(known)
    wanted = [number for number in known.hidden if is_count(known.places[number]) and known.true[number] < THRESHOLD and number not in told]
    return [known.places[number] for number, span in intervals(known, wanted).items() if span[1] - span[0] < 2]


def test_a_new_total_over_old_parts_is_told_by_the_releases_before_it_and_counted_as_such() -> None:
    """Earlier releases tell what two hidden quarters add up to; when the others are withdrawn, that sum is a small figure of its own."""
    made = releases(316, 4)
    known = gather([release.public for release in made], [release.true for release in made], by_price(316))
    report = audited(made)

    assert small_counts(known, determine(known))
    assert exposed_by(made, 316) == []
    assert report.passed
    assert report.given_before > 0


@pytest.mark.parametrize("seed", range(100, 106))
def test_no_small_count_is_left_with_fewer_than_three_values(seed: int) -> None:
    known = attacked(seed, versions=3)

    assert small_counts(known, known.hidden)
    assert too_narrow(known) == []


WITHOUT: dict[str, Protect] = {
    "secondary suppression": weakened(relations=[], prices=[]),
    "cross-release": lambda tables, earlier: protect(tables, DEFINITIONS, earlier[:0]).tables,
    "price": weakened(prices=[]),
    "cumulative": weakened(relations=[relation for relation in DEFINITIONS.disclosure["relations"] if relation["kind"] != "running"]),
}


@pytest.mark.parametrize("part", WITHOUT)
def test_the_attacker_gets_through_where_a_part_of_protection_is_missing(part: str) -> None:
    recovered = [len(small_counts(known, determine(known))) for known in (attacked(seed, 4, WITHOUT[part]) for seed in range(3, 9))]

    assert sum(recovered) > 0


@pytest.mark.parametrize("part", WITHOUT)
def test_the_audit_fails_a_release_where_a_part_of_protection_is_missing(part: str) -> None:
    reports = [audited(releases(seed, 4, WITHOUT[part])) for seed in range(3, 9)]
    attacks = Counter(weakness.attack for report in reports for weakness in report.weaknesses)

    assert sum(not report.passed for report in reports) > 0
    assert attacks["price" if part == "price" else "linear"] > 0


@pytest.mark.parametrize("seed", range(20, 28))
def test_a_release_that_was_protected_with_all_before_it_passes_the_audit(seed: int) -> None:
    made = releases(seed, 3)

    report = audited(made)

    assert report.weaknesses == []
    assert report.releases == len(made)


def attack_after_an_erasure(seed: int, versions: int) -> tuple[bool, list[tuple[str, ...]]]:
    """Whether the audit lets a release pass that follows an erasure, and what an attacker gets who has the releases before it as they were.

    The attacker is told of every figure whether it changed, the erased rows counted; the audit cannot be told that of what was hidden before.
    """
    fund, disclosure = with_an_erasure(seed, versions), DEFINITIONS.disclosure
    before = list(zip(fund.public[:-1], fund.again, strict=False))
    shown = [*(as_published(again, public, DEFINITIONS) for public, again in before), fund.again[-1]]
    by_price = find_made_by_price(fund.again, disclosure)
    seen, changed = count_revisions(shown, DEFINITIONS), count_revisions(fund.again, DEFINITIONS)
    told = [as_redacted(public, again, DEFINITIONS) for public, again in before]
    report = audit(fund.public[-1], disclosure, told, add_revisions(seen, changed), by_price)
    since = find_since_erasure(fund.public[-1], disclosure, fund.public[:-1], seen, by_price)
    made = [Past(public=public, true=true) for public, true in zip(fund.public, fund.true, strict=True)]
    return report.with_more("since_erasure", since).passed, exposed_by(made, seed)


@pytest.mark.parametrize("seed", range(40, 56))
def test_a_release_after_an_erasure_gives_nothing_small_away_to_who_has_those_before_it(seed: int) -> None:
    passed, exposed = attack_after_an_erasure(seed, versions=2 + seed % 4)

    assert not passed or exposed == []


def test_releases_can_go_on_after_an_erasure() -> None:
    assert sum(attack_after_an_erasure(seed, versions=3)[0] for seed in range(40, 52)) >= 8


def test_an_unchanged_figure_stays_shown_or_hidden() -> None:
    made = releases(7, 5)
    changes = count_revisions([release.true for release in made], DEFINITIONS)
    moved = Counter[str]()
    for before, after, old, new in zip(made, made[1:], changes, changes[1:], strict=False):
        for name, column in (("service_users_by_quarter", "starts_count"), ("outcomes_by_quarter", "achieved_quantity")):
            states = [
                {
                    tuple(row[key] for key in old.keys[name]): row[f"{column}_status"]
                    for row in release.public[name].to_pylist()
                    if row[f"{column}_status"] in ("c", "published")
                }
                for release in (before, after)
            ]
            for key in states[0].keys() & states[1].keys():
                place = (name, column, *key)
                if old.changes[place] == new.changes[place]:
                    moved["stayed" if states[0][key] == states[1][key] else "moved"] += 1

    assert moved["stayed"] > 50
    assert moved["moved"] == 0


def test_the_same_releases_are_protected_in_the_same_way_again() -> None:
    first, again = releases(11, 3), releases(11, 3)

    assert all(one.public[name].equals(other.public[name]) for one, other in zip(first, again, strict=True) for name in one.public)


def test_with_protection_off_the_audit_names_every_count_of_few_people() -> None:
    off = weakened(threshold={"value": 0}, hide_zeros={"value": False})
    made = releases(8, 2, off)
    small = [
        f"FUND/{row['project_id']}/{row['quarter']}/{row['characteristic']}/{row['category']}"
        for row in made[-1].true["service_users_by_quarter"].to_pylist()
        if row["starts_count"] < THRESHOLD
    ]

    named = {weakness.row for weakness in audited(made).weaknesses if weakness.attack == "small_count"}

    assert small
    assert named >= set(small)
