"""Participants: whose outcomes these are, when they started, and whether a reference still stands for the same person."""

from __future__ import annotations

import pyarrow.compute as pc

from pipeline.domain.findings import Finding
from pipeline.stages.contract.given import Given
from pipeline.stages.validation import MAX_PLACES, found_at, rows_where

_UNKNOWN = "not_known"


def check_people(given: Given) -> list[Finding]:
    """Return which participants are not known, started later, or are described otherwise than before; in a return of counts, that there are any."""
    if given.terms.is_counts:
        return [
            finding
            for table in ("participants", "outcomes")
            for finding in given.found("K-310", table, "participant_ref", given.table(table)["participant_ref"].is_valid())
        ]
    people = given.people
    return [
        *given.found("K-309", "outcomes", "participant_ref", people.of_outcome.is_null()),
        *given.found("K-308", "outcomes", "participant_ref", pc.invert(people.is_known.take(people.of_outcome))),
        *given.found("K-303", "outcomes", "achieved_on", pc.less(given.outcomes["achieved_on"], people.started_on.take(people.of_outcome))),
        *_check_described(given),
    ]


def _check_described(given: Given) -> list[Finding]:
    """Hold participants who come again against what the latest other return says of them. What was or is not known contradicts nothing."""
    if not given.context.earlier_starts.num_rows:
        return []
    starts = given.starts_latest_first
    place = pc.index_in(given.participant_names, value_set=starts["participant"].combine_chunks())
    before = starts.take(place)
    found = []
    for rule, column in (("K-328", "started_on"), ("K-329", "age_band"), ("K-329", "gender")):
        here, there = given.participants[column], before[column]
        is_other = pc.and_(pc.is_valid(place), pc.not_equal(here, there))
        if rule == "K-329":
            is_other = pc.and_(is_other, pc.and_(pc.not_equal(here, _UNKNOWN), pc.not_equal(there, _UNKNOWN)))
        quarters = before["return_quarter"].filter(pc.fill_null(is_other, False)).slice(0, MAX_PLACES).to_pylist()
        each = [{"quarter": quarter} for quarter in quarters]
        found += found_at(given.definitions.rule(rule), "participants", column, rows_where(given.participants, is_other), each)
    return found
