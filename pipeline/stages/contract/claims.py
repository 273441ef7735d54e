"""What a person's outcomes allow each other: claims that stand once, metrics that follow one another, caps per person, and doubles."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.domain.findings import Finding
from pipeline.stages.contract.given import Given, Record, Terms, look_up, total
from pipeline.stages.frames import equal_to

COLUMNS = ["row", "metric_id", "status", "quantity", "achieved_on"]
"""What is looked at here: every filter copies its columns, and a million rows of all of them are a hundred megabytes."""


def check_claims(given: Given) -> list[Finding]:
    """Return which outcomes of a person cannot stand beside that person's others; a return of counts has no persons."""
    if given.terms.is_counts:
        return []
    outcomes, people, before = given.outcomes, given.people, given.context.earlier_outcomes
    is_once = pc.is_in(outcomes["metric_id"], value_set=pa.array(given.terms.once, pa.string()))
    found = given.found("K-315", "outcomes", "quantity", pc.and_(is_once, pc.greater(outcomes["quantity"], 1)))
    earlier = _claims(before.append_column("person", pc.index_in(before["participant"], value_set=people.names).cast(pa.int64())), given.terms)
    here = outcomes.select(COLUMNS).append_column("person", people.of_outcome)
    if before.num_rows:
        # What was reported before under the same reference is told as such.
        here = here.filter(pc.invert(pc.is_in(given.outcome_names, value_set=before["outcome"].combine_chunks())))
    here = _claims(here, given.terms)
    found += _check_once(given, here, earlier) + _check_same_day(given, here, earlier)
    for metric_id, metric in given.terms.metrics.items():
        if metric["after_metric_id"] is not None:
            found += _check_sequence(metric_id, metric, given, here, earlier)
        if metric.get("cap_per_person") is not None and not metric["is_once_per_person"]:
            found += _check_cap(metric_id, metric["cap_per_person"], given, here, earlier)
    return found


def _claims(outcomes: pa.Table, terms: Terms) -> pa.Table:
    """Return the outcomes that were not rejected and have a person and a known metric, with `claim`: a number for each person and metric."""
    metrics = list(terms.metrics)
    number = pc.index_in(outcomes["metric_id"], value_set=pa.array(metrics, pa.string())).cast(pa.int64())
    claim = pc.add(pc.multiply(outcomes["person"], len(metrics)), number)
    return outcomes.append_column("claim", claim).filter(pc.and_(claim.is_valid(), pc.not_equal(outcomes["status"], "rejected")))


def _check_once(given: Given, here: pa.Table, earlier: pa.Table) -> list[Finding]:
    claims = here.filter(pc.is_in(here["metric_id"], value_set=pa.array(given.terms.once, pa.string())))
    firsts = claims.group_by("claim").aggregate([("row", "min")])["row_min"]
    is_again = pc.invert(pc.is_in(claims["row"], value_set=firsts.combine_chunks()))
    is_claimed = pc.is_in(claims["claim"], value_set=earlier["claim"].combine_chunks())
    return [
        *given.found_in(claims, "K-312", "outcomes", "metric_id", is_again),
        *given.found_in(claims, "K-313", "outcomes", "metric_id", is_claimed),
    ]


def _check_same_day(given: Given, here: pa.Table, earlier: pa.Table) -> list[Finding]:
    """Query outcomes of one person, metric and day where the metric may be claimed several times; where it may not, that is an error of its own."""
    claims = here.filter(pc.invert(pc.is_in(here["metric_id"], value_set=pa.array(given.terms.once, pa.string()))))
    code = _claim_and_day(claims)
    firsts = claims.select(["row"]).append_column("code", code).group_by("code").aggregate([("row", "min")])["row_min"]
    is_again = pc.invert(pc.is_in(claims["row"], value_set=firsts.combine_chunks()))
    is_before = pc.is_in(code, value_set=_claim_and_day(earlier).combine_chunks())
    return given.found_in(claims, "K-326", "outcomes", "outcome_ref", pc.or_(is_again, is_before))


def _claim_and_day(claims: pa.Table) -> pa.ChunkedArray:
    """Return a number for each claim and day: days since 1970 fit below a million."""
    return pc.add(pc.multiply(claims["claim"], 1_000_000), claims["achieved_on"].cast(pa.int32()).cast(pa.int64()))


def _check_sequence(metric_id: str, metric: Record, given: Given, here: pa.Table, earlier: pa.Table) -> list[Finding]:
    columns = ["person", "achieved_on"]
    firsts = [frame.filter(equal_to(frame["metric_id"], metric["after_metric_id"])).select(columns) for frame in (here, earlier)]
    before = pa.concat_tables(firsts, promote_options="default")
    first = before.group_by("person").aggregate([("achieved_on", "min")])
    claims = here.filter(equal_to(here["metric_id"], metric_id))
    earliest = look_up(claims["person"].combine_chunks(), first["person"], first["achieved_on_min"])
    days = metric["after_days"] or 0
    due = pc.add(earliest.cast(pa.int32()), pa.scalar(days, pa.int32())).cast(pa.date32())
    is_early = pc.fill_null(pc.less(claims["achieved_on"], due), True)
    values = {"after_metric_id": metric["after_metric_id"], "after_days": str(days)}
    return given.found_in(claims, "K-314", "outcomes", "achieved_on", is_early, **values)


def _check_cap(metric_id: str, cap: int, given: Given, here: pa.Table, earlier: pa.Table) -> list[Finding]:
    """Find for each person the first row with which the units of a metric pass the most for one person."""
    claims = here.filter(equal_to(here["metric_id"], metric_id)).sort_by([("person", "ascending"), ("row", "ascending")])
    if not total(claims["quantity"]):
        return []
    mine = earlier.filter(equal_to(earlier["metric_id"], metric_id)).group_by("person").aggregate([("quantity", "sum")])
    persons = claims["person"].combine_chunks()
    before = pc.fill_null(look_up(persons, mine["person"], mine["quantity_sum"]), 0)
    summed, own = pc.cumulative_sum(claims["quantity"].combine_chunks()), claims["quantity"].combine_chunks()
    until_person = pc.subtract(summed, own).take(pc.index_in(persons, value_set=persons))
    running = pc.add(pc.subtract(summed, until_person), before)
    was_within = pc.or_(pc.less_equal(pc.subtract(running, own), cap), pc.equal(summed, pc.add(until_person, own)))
    is_passed = pc.and_(pc.greater(running, cap), was_within)
    return given.found_in(claims, "K-336", "outcomes", "quantity", is_passed, metric_id=metric_id, cap_per_person=str(cap))
