"""Gives out what happened in a project as quarterly returns that keep to the contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.samples.catalogue import AGE_BANDS, ETHNICITIES, GENDERS
from pipeline.samples.facts import CLAIMED, VERIFIED, Flags, Outcomes, ProjectFacts
from pipeline.samples.fund import PENNY, Integers
from pipeline.samples.plans import expected

Row = dict[str, object]

STATUSES = ("verified", "rejected", "claimed")
PARTICIPANTS = pa.schema(
    [
        ("participant_ref", pa.string()),
        ("started_on", pa.date32()),
        ("left_on", pa.date32()),
        ("cohort", pa.string()),
        ("age_band", pa.string()),
        ("gender", pa.string()),
        ("ethnicity", pa.string()),
        ("local_authority", pa.string()),
    ]
)
OUTCOMES = pa.schema(
    [
        ("outcome_ref", pa.string()),
        ("participant_ref", pa.string()),
        ("metric_id", pa.string()),
        ("achieved_on", pa.date32()),
        ("quantity", pa.int64()),
        ("status", pa.string()),
        ("verified_on", pa.date32()),
        ("evidence_type", pa.string()),
    ]
)
PAYMENTS = pa.schema(
    [
        ("payment_ref", pa.string()),
        ("payer_id", pa.string()),
        ("metric_id", pa.string()),
        ("basis", pa.string()),
        ("period_start", pa.date32()),
        ("period_end", pa.date32()),
        ("quantity", pa.int64()),
        ("amount_gbp", pa.decimal128(18, 2)),
        ("paid_on", pa.date32()),
        ("reason", pa.string()),
    ]
)


def make_return(facts: ProjectFacts, quarter: int, forgotten: Flags | None = None, correction_reason: str | None = None) -> Mapping[str, pa.Table]:
    """Return the tables of one quarter's return.

    Args: forgotten, the people whom a first delivery leaves out, until a second one puts it right; nor does it know the first newcomer's gender;
    correction_reason, why a second delivery comes, for its cover.
    """
    if facts.project.return_kind == "counts":
        participants = PARTICIPANTS.empty_table()
        outcomes, told = _counted_outcomes(facts, quarter)
    else:
        participants = _participants(facts, quarter, forgotten)
        outcomes, told = _outcomes(facts, quarter, forgotten)
    payments = _payments(facts, quarter, told)
    is_nil = not (participants.num_rows or outcomes.num_rows or payments.num_rows)
    return {"cover": _cover(facts, quarter, is_nil, correction_reason), "participants": participants, "outcomes": outcomes, "payments": payments}


def forget(facts: ProjectFacts, quarter: int) -> Flags:
    """Choose whom the first delivery of the last quarter leaves out: a tenth of those who started in it, and at least one."""
    newest = np.flatnonzero(facts.people.start_quarter == quarter)
    people = np.zeros(len(facts.people.started), dtype=np.bool_)
    people[newest[len(newest) - (len(newest) + 9) // 10 :]] = True
    return people


def _cover(facts: ProjectFacts, quarter: int, is_nil: bool, correction_reason: str | None) -> pa.Table:
    comment = "Referrals were paused in this quarter; payers paid for activity." if quarter == facts.project.paused else None
    row = {
        "project_id": facts.project.project_id,
        "quarter": str(facts.fund.quarters[quarter]),
        "template_version": "1",
        "is_nil_return": "yes" if is_nil else "no",
        "comment": comment,
        "correction_reason": correction_reason,
    }
    return pa.table({name: pa.array([cell], pa.string()) for name, cell in row.items()})


def _participants(facts: ProjectFacts, quarter: int, forgotten: Flags | None) -> pa.Table:
    """Return those who started in the quarter, and those whose record changed in it because they left."""
    people = facts.people
    left_quarter = np.where(people.left >= 0, facts.quarter_of(people.left), len(facts.bounds))
    is_told = (people.start_quarter == quarter) | ((left_quarter == quarter) & (people.start_quarter < quarter))
    if forgotten is not None:
        is_told &= ~forgotten
    chosen = np.flatnonzero(is_told)
    has_left = left_quarter[chosen] == quarter
    gender = people.gender[chosen]
    if forgotten is not None:
        newcomers = np.flatnonzero(people.start_quarter[chosen] == quarter)
        gender[newcomers[:1]] = list(GENDERS).index("not_known")
    cohorts = (people.start_quarter[chosen] - facts.project.first) // 4 + 1
    columns = [
        _references(facts, "", chosen + 1),
        _days(people.started[chosen]),
        _days(people.left[chosen], ~has_left),
        pc.binary_join_element_wise("Cohort", pa.array(cohorts).cast(pa.string()), " "),
        _codes(list(AGE_BANDS[facts.project.sector]), people.age_band[chosen]),
        _codes(list(GENDERS), gender),
        _codes(list(ETHNICITIES), people.ethnicity[chosen]),
        _codes(facts.project.areas, people.area[chosen]),
    ]
    return pa.table(columns, schema=PARTICIPANTS)


def _outcomes(facts: ProjectFacts, quarter: int, forgotten: Flags | None) -> tuple[pa.Table, Outcomes]:
    """Return the outcomes that the quarter's return reports, as its table and as columns."""
    every = facts.outcomes
    is_told = every.reported == quarter
    if forgotten is not None:
        is_told &= ~forgotten[every.person]
    rows = np.flatnonzero(is_told)
    chosen = every.where(is_told)
    metrics = facts.project.metrics
    evidence = np.where(chosen.evidence == 0, chosen.metric, len(metrics) + chosen.evidence - 1)
    columns = [
        _references(facts, "O", rows + 1),
        _references(facts, "", chosen.person + 1),
        _codes([metric.metric_id for metric in metrics], chosen.metric),
        _days(chosen.achieved),
        pa.array(chosen.quantity),
        _codes(STATUSES, chosen.status),
        _days(chosen.decided, chosen.status == CLAIMED),
        _codes([*(metric.kind.evidence for metric in metrics), "self_certification", "not_known"], evidence),
    ]
    return pa.table(columns, schema=OUTCOMES), chosen


def _counted_outcomes(facts: ProjectFacts, quarter: int) -> tuple[pa.Table, Outcomes]:
    """Return the decided outcomes of a project that returns counts: a row per metric, quarter of achievement and decision."""
    every = facts.outcomes
    kept = every.where((every.reported == quarter) & (every.status != CLAIMED))
    achieved = facts.quarter_of(kept.achieved)
    counts = np.zeros((len(facts.project.metrics), len(facts.bounds), len(STATUSES)), dtype=np.int64)
    np.add.at(counts, (kept.metric, achieved, kept.status), kept.quantity)
    calendar = facts.fund.quarters
    rows: list[Row] = [
        {
            "outcome_ref": _reference(facts, quarter, "O", number),
            "metric_id": facts.project.metrics[metric].metric_id,
            "achieved_on": calendar[when].end,
            "quantity": int(counts[metric, when, status]),
            "status": STATUSES[status],
            "verified_on": calendar[quarter].end,
            "evidence_type": facts.project.metrics[metric].kind.evidence,
        }
        for number, (metric, when, status) in enumerate(np.argwhere(counts).tolist(), start=1)
    ]
    return _table(rows, OUTCOMES), kept


def _payments(facts: ProjectFacts, quarter: int, chosen: Outcomes) -> pa.Table:
    """Return what was paid: price times the units verified, by payer, metric and quarter of achievement; for activity; and corrections."""
    project = facts.project
    units = np.zeros((len(project.metrics), len(facts.bounds)), dtype=np.int64)
    is_paid = chosen.status == VERIFIED
    np.add.at(units, (chosen.metric[is_paid], facts.quarter_of(chosen.achieved[is_paid])), chosen.quantity[is_paid])
    rows: list[Row] = []
    for position, when in np.argwhere(units).tolist():
        metric, quantity = project.metrics[position], int(units[position, when])
        for payer_id in project.payer_ids:
            amount = project.price(metric, payer_id, when) * quantity
            rows.append({"payer_id": payer_id, "metric_id": metric.metric_id, "basis": "outcome", "when": when, "quantity": quantity, "gbp": amount})
    if quarter == project.paused:
        plan = expected(project, "medium")
        activity = {payer_id: plan.gbp[payer_id][quarter] for payer_id in project.payer_ids}
        rows += [{"payer_id": payer_id, "basis": "activity", "when": quarter, "gbp": gbp} for payer_id, gbp in activity.items() if gbp]
    rows += _corrections(facts, quarter)
    return _table([_payment(facts, quarter, number, row) for number, row in enumerate(rows, start=1)], PAYMENTS)


def _corrections(facts: ProjectFacts, quarter: int) -> Sequence[Row]:
    """Return corrections of what the return before said was paid for the first metric: too much, or a part of it by the wrong payer."""
    project, before = facts.project, quarter - 1
    metric, outcomes = project.metrics[0], facts.outcomes
    paid = outcomes.where((outcomes.metric == 0) & (outcomes.status == VERIFIED) & (outcomes.reported == before))
    quantity = int(paid.quantity[facts.quarter_of(paid.achieved) == before].sum())
    if project.number % 3 != 1 or quarter < project.first + 2 or not quantity:
        return ()
    council, fund = project.payer_ids
    part = (project.price(metric, fund, before) / 10).quantize(PENNY) * quantity
    given: Row = {"metric_id": metric.metric_id, "basis": "correction", "when": before, "quantity": quantity}
    if quarter == project.first + 2:
        return ({**given, "payer_id": council, "gbp": -part, "reason": "overpaid"},)
    if quarter == project.first + 3:
        return (
            {**given, "payer_id": council, "gbp": -part, "reason": "wrong_payer"},
            {**given, "payer_id": fund, "gbp": part, "reason": "wrong_payer"},
        )
    return ()


def _payment(facts: ProjectFacts, quarter: int, number: int, row: Row) -> Row:
    """Return a row of the payments table; its claim period is the quarter of achievement, and it was paid at the end of the quarter of the return."""
    period = facts.fund.quarters[int(str(row["when"]))]
    return {
        **row,
        "payment_ref": _reference(facts, quarter, "P", number),
        "period_start": period.start,
        "period_end": period.end,
        "amount_gbp": row["gbp"],
        "paid_on": facts.fund.quarters[quarter].end,
    }


def _reference(facts: ProjectFacts, quarter: int, letter: str, number: int) -> str:
    return f"{_short(facts)}-{str(facts.fund.quarters[quarter]).replace('-', '')}-{letter}{number:03d}"


def _references(facts: ProjectFacts, letter: str, numbers: Integers) -> pa.Array:
    digits = pc.utf8_lpad(pa.array(numbers).cast(pa.string()), 7, "0")
    return pc.binary_join_element_wise(f"{_short(facts)}-{letter}", digits, "")


def _short(facts: ProjectFacts) -> str:
    return facts.project.project_id.removeprefix("SYN-")


def _codes(codes: Sequence[str], positions: Integers) -> pa.Array:
    return pa.array(codes, pa.string()).take(pa.array(positions))


def _days(days: Integers, is_empty: Flags | None = None) -> pa.Array:
    return pa.array(days.astype(np.int32), mask=is_empty).view(pa.date32())


def _table(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    return pa.table({name: pa.array([row.get(name) for row in rows], schema.field(name).type) for name in schema.names}, schema=schema)
