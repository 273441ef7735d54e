"""Days: inside the contract, the quarter and the time for claims, and not still to come."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.domain.findings import Finding
from pipeline.domain.quarters import Quarter
from pipeline.stages.acceptance import SOURCES
from pipeline.stages.contract.given import Given


def check_days(given: Given) -> list[Finding]:
    """Return which days lie where none may lie, and which make a fact late."""
    quarter, terms, received_on = given.quarter, given.terms, given.context.received_on
    found = []
    for source in SOURCES.values():
        table, column = source.table, source.dated_by
        days = given.table(table)[column]
        found += given.found("K-304", table, column, pc.greater(days, quarter.end), quarter_end=str(quarter.end))
        found += given.found("K-306", table, column, pc.less(days, terms.starts_on), starts_on=str(terms.starts_on))
        if table != "participants":
            # Participants whose record changed come again with the start that they always had.
            found += given.found("K-305", table, column, pc.less(days, quarter.start), quarter_start=str(quarter.start))
    # A claim period often ends with the quarter, after the contract has: only one that begins after the contract lies outside it.
    for table, column in (("participants", "started_on"), ("outcomes", "achieved_on"), ("payments", "period_start")):
        mask = pc.greater(given.table(table)[column], terms.claims_until)
        found += given.found("K-307", table, column, mask, claims_until=str(terms.claims_until))
    for table, column in (("participants", "left_on"), ("outcomes", "verified_on"), ("payments", "paid_on")):
        found += given.found("K-321", table, column, pc.greater(given.table(table)[column], received_on), received_on=str(received_on))
    return found + _check_elsewhere(given)


def _check_elsewhere(given: Given) -> list[Finding]:
    """Query a return of which nothing lies in its quarter and all starts and outcomes lie in one and the same before it."""
    rule = given.definitions.rule("K-324")
    known = given.context.earlier_starts["participant"].combine_chunks()
    # Whoever comes again lies elsewhere by right.
    is_new = pc.invert(pc.is_in(given.participant_names, value_set=known)) if len(known) else pa.repeat(pa.scalar(True), len(given.participants))
    starts, achieved = given.participants.filter(is_new)["started_on"], given.outcomes["achieved_on"]
    ends = given.payments["period_end"]
    rows = len(starts) + len(achieved)
    extremes = [pc.min_max(days).as_py() for days in (starts, achieved, ends) if len(days)]
    if rows < rule.limits["least_rows"] or not extremes or any(extreme["max"] >= given.quarter.start for extreme in extremes):
        return []
    quarters = {Quarter.of(extreme[end]) for extreme in extremes for end in ("min", "max")}
    return [rule.found(rows=str(rows), quarter=str(quarters.pop()))] if len(quarters) == 1 else []
