"""Attacks a candidate as an outsider would, from its public files alone, and fails it when an attack gets through.

Shares no code with protection: it builds its own picture of how figures hang together from the tables as read back and the disclosure rules, so that
what protection forgot is not forgotten twice. It fails closed: what cannot be audited is an error, not a pass.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from pipeline.errors import RuleError
from pipeline.stages.audit.certificate import certify
from pipeline.stages.audit.changes import ChangesFile, attack_changes
from pipeline.stages.audit.equations import Group, Line, draw_lines, group_lines, settle
from pipeline.stages.audit.evidence import Evidence, gather_evidence
from pipeline.stages.audit.intervals import Intervals, find_intervals
from pipeline.stages.audit.lookups import Outcome, find_derived, find_leftovers, find_small_counts, find_subtractions, point_at
from pipeline.stages.audit.prices import Key, Prices, find_divisions, find_made_by_price, judge_prices
from pipeline.stages.audit.releases import Union, unite
from pipeline.stages.audit.report import AuditReport, Weakness
from pipeline.stages.audit.witnesses import Certificate, check_certificate
from pipeline.stages.revisions import Revisions

__all__ = ["AuditReport", "Certificate", "ChangesFile", "Weakness", "audit", "check", "find_made_by_price", "find_since_erasure"]

NARROWEST = 2
"""A count that is known to be small must be able to have at least three values. Source: disclosure.json, `interval`."""


def audit(
    tables: Mapping[str, pa.Table],
    disclosure: Mapping[str, Any],
    earlier: Sequence[Mapping[str, pa.Table]] = (),
    revisions: Sequence[Revisions] = (),
    by_price: Sequence[frozenset[Key]] = (),
    *,
    changes: ChangesFile | None = None,
    base: Mapping[str, pa.Table] | None = None,
    keys: Mapping[str, Sequence[str]] | None = None,
) -> AuditReport:
    """Try to work out hidden figures from public tables: those of the candidate, and of all releases together.

    Args: `tables` as read back from the candidate's Parquet files; `disclosure` is disclosure.json; `earlier` the public tables of earlier releases,
    oldest first; `revisions` say what changed, and `by_price` (from `find_made_by_price`) which payments are made by price, for each of these and the
    candidate; `changes` is what the candidate itself says has changed since `base`, the last of these as the public has it, `keys` the key columns.
    Raises: RuleError when there is nothing to audit, a table or column that must be looked at is missing or unknown, published figures contradict one
    another, or the solver fails.
    """
    if not tables:
        raise RuleError("The candidate has no table: there is nothing to audit.")
    now = gather_evidence(tables, disclosure)
    union = unite(tables, disclosure, earlier, revisions, by_price)
    prices = judge_prices(now, tables, disclosure, by_price[-1] if by_price else None)
    lines = _lines(union, prices)
    plain = group_lines([line for line in lines if not line.is_priced])
    intervals = _solve(union.evidence, plain)
    given = _given_before(union, prices) | {figure for figure in union.readable if any(found.solved.get(figure) == (0.0, 0.0) for found in intervals)}
    outcomes = {
        "small_count": find_small_counts(now, disclosure),
        "leftover": find_leftovers(now, disclosure),
        "derived_shown": find_derived(now, disclosure),
        "price": find_divisions(now, prices, {number for number, figure in enumerate(union.old.figures) if figure.value is not None}),
        "subtraction": find_subtractions(union.evidence, lines, given),
        "linear": find_settled(union.evidence, plain, group_lines(lines), given),
        "interval": find_pinned(union.evidence, intervals, disclosure, given),
    }
    if changes is not None:
        outcomes["changes"] = attack_changes(changes, tables, base, keys or {}, disclosure["status"]["suppressed"])
    named = {(weakness.table, weakness.row, weakness.column) for _, found in outcomes.values() for weakness in found}
    certificate, outcomes["certificate"] = _certify(union, lines, given, disclosure, named)
    weaknesses = sorted({weakness for _, found in outcomes.values() for weakness in found})
    return AuditReport(
        passed=not weaknesses,
        attacks={name: tried for name, (tried, _) in outcomes.items()},
        weaknesses=weaknesses,
        intervals=_describe(intervals),
        releases=len(earlier) + 1,
        given_before=len(given),
        certificate=certificate,
    )


def find_since_erasure(
    tables: Mapping[str, pa.Table],
    disclosure: Mapping[str, Any],
    earlier: Sequence[Mapping[str, pa.Table]],
    revisions: Sequence[Revisions],
    by_price: Sequence[frozenset[Key]] = (),
) -> Sequence[Weakness]:
    """Solve all lines of a candidate and of releases from before an erasure as the public really has them: an attacker need not know of it.

    What was hidden then cannot be made again, so nothing is asked that depends on it: only whether lines settle a figure, whatever they add up to.

    Args: as for `audit`, but `earlier` as published, and `revisions` of what they showed.
    """
    now = gather_evidence(tables, disclosure)
    union = unite(tables, disclosure, earlier, revisions, by_price)
    prices = judge_prices(now, tables, disclosure, by_price[-1] if by_price else None)
    lines = _lines(union, prices)
    plain = group_lines([line for line in lines if not line.is_priced])
    _, found = find_settled(union.evidence, plain, group_lines(lines), _given_before(union, prices) | union.readable)
    return [replace(weakness, attack="since_erasure") for weakness in found]


def check(
    certificate: Certificate,
    tables: Mapping[str, pa.Table],
    disclosure: Mapping[str, Any],
    earlier: Sequence[Mapping[str, pa.Table]] = (),
    revisions: Sequence[Revisions] = (),
    by_price: Sequence[frozenset[Key]] = (),
) -> Sequence[str]:
    """Return what is wrong with a release's certificate; nothing when it proves that no hidden figure can be known. No solver takes part.

    Args: as for `audit`.
    """
    union = unite(tables, disclosure, earlier, revisions, by_price)
    prices = judge_prices(gather_evidence(tables, disclosure), tables, disclosure, by_price[-1] if by_price else None)
    lines = _lines(union, prices)
    wanted = _wanted(union, lines, _given_before(union, prices) | union.readable)
    return check_certificate(certificate, lines, _counts(union), wanted, disclosure["threshold"]["value"])


def _lines(union: Union, prices: Prices) -> Sequence[Line]:
    return draw_lines(replace(union.evidence, statements=[*union.evidence.statements, *prices.statements]))


def _given_before(union: Union, prices: Prices) -> frozenset[int]:
    """Return the figures that the releases before the candidate settle by themselves."""
    old = replace(union.old, statements=[*union.old.statements, *(prices.statements if union.old.statements else ())])
    return frozenset(figure for group in group_lines(draw_lines(old)) for figure in settle(group))


def _counts(union: Union) -> frozenset[int]:
    return frozenset(number for number, figure in enumerate(union.evidence.figures) if figure.is_count and figure.value is None)


def _wanted(union: Union, lines: Sequence[Line], given: Collection[int]) -> frozenset[int]:
    """Return the hidden figures that need witnesses: counts, and money that is not made by a price of counts."""
    priced = {figure for group in group_lines(lines) if any(line.is_priced for line in group.lines) for figure in group.figures}
    tied = {figure for line in lines for figure in line.signs}
    return frozenset((_counts(union) & tied) | (tied - priced)) - {*given}


def _certify(
    union: Union, lines: Sequence[Line], given: Collection[int], disclosure: Mapping[str, Any], named: Collection[tuple[str, str, str]]
) -> tuple[Certificate, Outcome]:
    """Return the certificate, and as weaknesses the figures without witnesses that no attack has named yet."""
    wanted = _wanted(union, lines, given)
    certificate, missing = certify(lines, _counts(union), wanted, disclosure["threshold"]["value"])
    found = [point_at("certificate", union.evidence.figures[figure]) for figure in sorted(missing)]
    return certificate, (len(wanted), [weakness for weakness in found if (weakness.table, weakness.row, weakness.column) not in named])


def find_settled(evidence: Evidence, plain: Sequence[Group], groups: Sequence[Group], given: Collection[int] = ()) -> Outcome:
    """Solve all lines together: a hidden figure that they determine is given away, however many each of them hides.

    Of money that only the price of a count tells, nobody is told anything: the count was shown.
    """
    settled = {figure for group in plain for figure in settle(group)}
    settled |= {figure for group in groups if group not in plain for figure in settle(group) if evidence.figures[figure].is_count}
    found = [point_at("linear", evidence.figures[figure]) for figure in sorted(settled - {*given})]
    return sum(len(group.figures) for group in groups), found


def find_pinned(evidence: Evidence, intervals: Sequence[Intervals], disclosure: Mapping[str, Any], given: Collection[int] = ()) -> Outcome:
    """Look for a hidden count that can have one value only, or is known to be small and can have two.

    It is known that counts are whole and not below zero.
    """
    threshold = disclosure["threshold"]["value"]
    pinned = [
        figure
        for found in intervals
        for figure, (low, high) in found.solved.items()
        if figure not in given and (low >= high or (high < threshold and high - low < NARROWEST))
    ]
    tried = sum(len(found.solved) + len(found.open) for found in intervals)
    return tried, [point_at("interval", evidence.figures[figure]) for figure in pinned]


def _solve(evidence: Evidence, groups: Sequence[Group]) -> Sequence[Intervals]:
    counts = frozenset(number for number, figure in enumerate(evidence.figures) if figure.is_count and figure.value is None)
    return [find_intervals(group, counts) for group in groups]


def _describe(intervals: Sequence[Intervals]) -> Mapping[str, int]:
    """Return how well hidden the hidden counts are, in numbers of values that they can have."""
    spans = [high - low + 1 for found in intervals for low, high in found.solved.values()]
    bounded = [int(span) for span in spans if math.isfinite(span)]
    return {
        "narrowest": min(bounded, default=0),
        "widest": max(bounded, default=0),
        "unbounded": len(spans) - len(bounded),
        "large_components": sum(found.is_large for found in intervals),
    }
