"""What comes again: references of other returns, and rows that are the same in everything but their reference."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.domain.findings import Finding
from pipeline.stages.contract.given import Given
from pipeline.stages.frames import equal_to
from pipeline.stages.validation import MAX_PLACES, found_at, rows_where

_PAYMENT = ("payer_id", "metric_id", "basis", "period_start", "period_end", "quantity", "amount_gbp", "paid_on", "reason")
_OUTCOME = ("metric_id", "achieved_on", "quantity", "status", "verified_on", "evidence_type")
_HERE, _ELSEWHERE = "of this return", "of an accepted return of another quarter"


def check_repeats(given: Given) -> list[Finding]:
    """Return which references were used in another return, and which rows seem to have been entered twice."""
    outcomes = given.outcomes
    if not given.terms.is_counts:
        outcomes = outcomes.append_column("participant", given.people.names.take(given.people.of_outcome))
    columns = _OUTCOME if given.terms.is_counts else (*_OUTCOME, "participant")
    return [
        *_check_used(given, "outcomes", outcomes, columns, ("K-311", "K-325")),
        *_check_used(given, "payments", given.payments, _PAYMENT, ("K-320", "K-335")),
        # A person's outcomes are held against each other by their claims; the counts of another return may well be the same.
        *(_check_twins(given, "outcomes", outcomes, None, columns) if given.terms.is_counts else ()),
        *_check_twins(given, "payments", given.payments, given.context.earlier_payments, _PAYMENT),
    ]


def _check_used(given: Given, table: str, frame: pa.Table, columns: Sequence[str], rules: tuple[str, str]) -> list[Finding]:
    """Find references of other returns: with the same values the row is there already, with other values it is another, or a correction."""
    kind = table.removesuffix("s")
    earlier = given.context.earlier_outcomes if table == "outcomes" else given.context.earlier_payments
    if not earlier.num_rows or not frame.num_rows:
        return []
    place = pc.index_in(given.named(table), value_set=earlier[kind].combine_chunks())
    used, before = frame.filter(place.is_valid()), earlier.take(place.drop_null())
    is_same = pa.repeat(pa.scalar(True), used.num_rows)
    for column in columns:
        left, right = used[column].combine_chunks(), before[column].combine_chunks()
        is_same = pc.and_(is_same, pc.or_(pc.fill_null(pc.equal(left, right), False), pc.and_(left.is_null(), right.is_null())))
    found = []
    for rule, mask in zip(rules, (is_same, pc.invert(is_same)), strict=True):
        each = [{"quarter": quarter or ""} for quarter in before["return_quarter"].filter(mask).slice(0, MAX_PLACES).to_pylist()]
        found += found_at(given.definitions.rule(rule), table, f"{kind}_ref", rows_where(used, mask), each)
    return found


def _check_twins(given: Given, table: str, frame: pa.Table, earlier: pa.Table | None, columns: Sequence[str]) -> list[Finding]:
    """Query rows that equal another in all columns but the reference; those whose reference was used before are told as such."""
    kind = table.removesuffix("s")
    rows = frame
    if earlier is not None and earlier.num_rows:
        rows = rows.filter(pc.invert(pc.is_in(given.named(table), value_set=earlier[kind].combine_chunks())))
    groups = rows.select(["row", *columns]).group_by(list(columns)).aggregate([("row", "min"), ("row", "count")])
    found = []
    if groups.num_rows < rows.num_rows:
        is_again = pc.invert(pc.is_in(rows["row"], value_set=groups["row_min"].combine_chunks()))
        found += given.found_in(rows, "K-327", table, f"{kind}_ref", is_again, where=_HERE)
    if earlier is not None and earlier.num_rows and rows.num_rows:
        before = earlier.select(list(columns)).append_column("is_before", pa.repeat(pa.scalar(True), earlier.num_rows))
        # A join leaves out rows with an empty cell, and payments have those: Arrow's groups take an empty cell as a value.
        mine = groups.append_column("is_before", pa.repeat(pa.scalar(False), groups.num_rows)).select([*columns, "is_before", "row_min"])
        both = (
            pa.concat_tables([mine, before], promote_options="default")
            .group_by(list(columns))
            .aggregate([("is_before", "max"), ("is_before", "min"), ("row_min", "min")])
        )
        is_in_both = pc.and_(equal_to(both["is_before_max"], True), equal_to(both["is_before_min"], False))
        firsts = both.filter(is_in_both)["row_min_min"].combine_chunks()
        found += given.found_in(rows, "K-327", table, f"{kind}_ref", pc.is_in(rows["row"], value_set=firsts), where=_ELSEWHERE)
    return found
