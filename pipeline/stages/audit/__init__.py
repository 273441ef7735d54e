"""Attacks a candidate as an outsider would, from its public files alone, and fails it when an attack gets through.

Shares no code with protection: it builds its own picture of how figures hang together from the tables as read back and the disclosure rules, so that
what protection forgot is not forgotten twice. It fails closed: what cannot be audited is an error, not a pass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipeline.errors import RuleError
from pipeline.stages.audit.equations import Group, draw_lines, group_lines, settle
from pipeline.stages.audit.evidence import Evidence, gather_evidence
from pipeline.stages.audit.intervals import Intervals, find_intervals
from pipeline.stages.audit.lookups import Outcome, find_derived, find_leftovers, find_small_counts, find_subtractions, point_at
from pipeline.stages.audit.report import AuditReport, Weakness

__all__ = ["AuditReport", "Weakness", "audit"]


def audit(tables: Mapping[str, pa.Table], disclosure: Mapping[str, Any]) -> AuditReport:
    """Try to work out hidden figures from public tables.

    Args: `tables` as read back from the candidate's Parquet files; `disclosure` is disclosure.json.
    Raises: RuleError when there is nothing to audit, a table or column that must be looked at is missing or unknown, published figures contradict one
    another, or the solver fails.
    """
    if not tables:
        raise RuleError("The candidate has no table: there is nothing to audit.")
    evidence = gather_evidence(tables, disclosure)
    lines = draw_lines(evidence)
    groups = group_lines(lines)
    intervals = _solve(evidence, groups)
    outcomes = {
        "small_count": find_small_counts(evidence, disclosure),
        "leftover": find_leftovers(evidence, disclosure),
        "derived_shown": find_derived(evidence, disclosure),
        "subtraction": find_subtractions(evidence, lines),
        "linear": find_settled(evidence, groups),
        "interval": find_pinned(evidence, intervals),
    }
    weaknesses = sorted({weakness for _, found in outcomes.values() for weakness in found})
    return AuditReport(
        passed=not weaknesses,
        attacks={name: tried for name, (tried, _) in outcomes.items()},
        weaknesses=weaknesses,
        intervals=_describe(intervals),
    )


def find_settled(evidence: Evidence, groups: Sequence[Group]) -> Outcome:
    """Solve all lines together: a hidden figure that they determine is given away, however many each of them hides."""
    settled = [figure for group in groups for figure in settle(group)]
    return sum(len(group.figures) for group in groups), [point_at("linear", evidence.figures[figure], evidence) for figure in settled]


def find_pinned(evidence: Evidence, intervals: Sequence[Intervals]) -> Outcome:
    """Look for a hidden count that can have one value only, given that counts are whole and not below zero."""
    pinned = [figure for found in intervals for figure, (low, high) in found.solved.items() if low >= high]
    tried = sum(len(found.solved) + len(found.open) for found in intervals)
    return tried, [point_at("interval", evidence.figures[figure], evidence) for figure in pinned]


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
