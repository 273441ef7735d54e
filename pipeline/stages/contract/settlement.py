"""What was paid against what was verified, to date: no unit twice, none without an outcome, none forgotten, and all payers alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.domain.findings import Finding
from pipeline.domain.quarters import Quarter
from pipeline.stages.contract.codes import is_known
from pipeline.stages.contract.given import Given, pence, pounds, total
from pipeline.stages.contract.prices import code_of, pairs, stands_on, with_units
from pipeline.stages.frames import equal_to


def check_settlement(given: Given) -> list[Finding]:
    """Return where payments and verified outcomes do not come out even; where a code is mistyped they cannot, and that is told by its own rule."""
    rate_card, metrics = given.terms.rate_card, list(given.terms.metrics)
    here, earlier = with_units(rate_card, given.payments), with_units(rate_card, given.context.earlier_payments)
    here = here.filter(pc.and_(is_known(here, "metric_id", metrics), is_known(here, "payer_id", given.payers)))
    has_outcomes = bool(pc.all(is_known(given.outcomes, "metric_id", metrics), min_count=0).as_py())
    has_payments = here.num_rows == given.payments.num_rows - given.payments["metric_id"].null_count
    overpaid = _check_paid(given, here, earlier) if has_outcomes else {}
    judged = {metric_id for metric_id, found in overpaid.items() if found}
    return [
        *(finding for found in overpaid.values() for finding in found),
        *(_check_split(given, here, earlier, judged) if has_payments else ()),
        *(_check_unpaid(given, here, earlier) if has_payments else ()),
        *_check_taken_back(given),
    ]


def _verified(frame: pa.Table) -> Mapping[str, int]:
    """Return the verified units of each metric."""
    sums = frame.filter(equal_to(frame["status"], "verified")).group_by("metric_id").aggregate([("quantity", "sum")])
    return dict(zip(sums["metric_id"].to_pylist(), sums["quantity_sum"].to_pylist(), strict=True))


def _check_paid(given: Given, here: pa.Table, earlier: pa.Table) -> Mapping[str, list[Finding]]:
    """Find by metric the first payment of a payer with which more units are paid for than were ever verified."""
    in_return, in_others = _verified(given.outcomes), _verified(given.context.earlier_outcomes)
    found: dict[str, list[Finding]] = defaultdict(list)
    for metric_id, payer_id in _pairs_in(here):
        code = code_of(metric_id, payer_id)
        mine = here.filter(equal_to(here["code"], code))
        running = pc.add(pc.cumulative_sum(mine["units"].combine_chunks()), total(earlier["units"].filter(equal_to(earlier["code"], code))))
        verified = in_return.get(metric_id, 0) + (in_others.get(metric_id) or 0)
        # A correction further down may take back what was too much.
        if running[-1].as_py() <= verified:
            continue
        values = {"payer_id": payer_id, "metric_id": metric_id, "paid_quantity": str(running[-1])}
        if verified:
            values["verified_quantity"] = str(verified)
        is_over = pc.and_(pc.greater(running, verified), pc.greater(mine["units"].combine_chunks(), 0))
        found[metric_id] += given.found_first("K-331" if verified else "K-330", "payments", "quantity", mine, is_over, **values)
    return found


def _pairs_in(payments: pa.Table) -> list[tuple[str, str]]:
    groups = payments.group_by(["metric_id", "payer_id"]).aggregate([])
    return sorted(zip(groups["metric_id"].to_pylist(), groups["payer_id"].to_pylist(), strict=True))


def _check_split(given: Given, here: pa.Table, earlier: pa.Table, judged: set[str]) -> list[Finding]:
    """Query where the payers of a metric pay for different numbers of units of one quarter."""
    units: dict[tuple[str, Quarter], dict[str, int]] = {}
    for (metric_id, payer_id, quarter), count in _units_by_day(here).items():
        units.setdefault((metric_id, quarter), defaultdict(int))[payer_id] += count
    for (metric_id, payer_id, quarter), count in _units_by_day(earlier).items():
        if (metric_id, quarter) in units:
            units[metric_id, quarter][payer_id] += count
    found = []
    for (metric_id, quarter), by_payer in sorted(units.items()):
        owing = sorted({rate["payer_id"] for rate in given.terms.rate_card if rate["metric_id"] == metric_id and stands_on(rate, quarter.end)})
        counts = {payer_id: by_payer.get(payer_id, 0) for payer_id in owing}
        if metric_id in judged or len(set(counts.values())) < 2:
            continue
        split = ", ".join(f"{payer_id} {count}" for payer_id, count in counts.items())
        is_of = pc.and_(equal_to(here["metric_id"], metric_id), pc.and_(_lies_in(here, quarter), equal_to(here["basis"], "outcome")))
        found += given.found_first("K-332", "payments", "quantity", here, is_of, metric_id=metric_id, quarter=str(quarter), split=split)
    return found


def _units_by_day(payments: pa.Table) -> dict[tuple[str, str, Quarter], int]:
    """Return units by metric, payer and quarter in which the claim period ends."""
    sums = payments.group_by(["metric_id", "payer_id", "period_end"]).aggregate([("units", "sum")])
    found: dict[tuple[str, str, Quarter], int] = defaultdict(int)
    for row in sums.to_pylist():
        if row["period_end"] is not None:
            found[row["metric_id"], row["payer_id"], Quarter.of(row["period_end"])] += row["units_sum"]
    return found


def _lies_in(payments: pa.Table, quarter: Quarter) -> pa.ChunkedArray:
    return pc.and_(pc.greater_equal(payments["period_end"], quarter.start), pc.less_equal(payments["period_end"], quarter.end))


def _check_unpaid(given: Given, here: pa.Table, earlier: pa.Table) -> list[Finding]:
    """Query units that were verified in returns before this one and are not paid for with it; where payments name no metric nobody can tell."""
    others = given.context.earlier_payments
    if any(_has_unnamed(payments) for payments in (given.payments, others)):
        return []
    outcomes = given.context.earlier_outcomes
    is_due = pc.and_(equal_to(outcomes["status"], "verified"), pc.less(outcomes["return_quarter"], given.context.key.quarter))
    due = outcomes.filter(pc.fill_null(is_due, False)).group_by(["metric_id", "achieved_on"]).aggregate([("quantity", "sum")]).to_pylist()
    found = []
    for metric_id, payer_id in pairs(given.terms.rate_card):
        rates = [rate for rate in given.terms.rate_card if (rate["metric_id"], rate["payer_id"]) == (metric_id, payer_id)]
        verified = sum(
            row["quantity_sum"] for row in due if row["metric_id"] == metric_id and any(stands_on(rate, row["achieved_on"]) for rate in rates)
        )
        caps = [rate["cap_quantity"] for rate in rates if rate["cap_quantity"] is not None]
        paid = sum(total(frame["units"].filter(equal_to(frame["code"], code_of(metric_id, payer_id)))) for frame in (here, earlier))
        unpaid = min([verified, *caps]) - paid
        if unpaid > 0:
            values = {"metric_id": metric_id, "payer_id": payer_id, "unpaid_quantity": str(unpaid), "verified_quantity": str(verified)}
            found.append(given.definitions.rule("K-333").found("payments", 0, "quantity", **values))
    return found


def _has_unnamed(payments: pa.Table) -> bool:
    is_unnamed = pc.and_(equal_to(payments["basis"], "outcome"), payments["metric_id"].is_null())
    return bool(pc.any(is_unnamed, min_count=0).as_py())


def _check_taken_back(given: Given) -> list[Finding]:
    """Query corrections that take back more than their payer ever paid, for their metric or, without one, at all."""
    payments, earlier = given.payments, given.context.earlier_payments
    is_back = pc.and_(equal_to(payments["basis"], "correction"), pc.less(payments["amount_gbp"], 0))
    back = payments.filter(pc.and_(is_back, is_known(payments, "payer_id", given.payers)))
    back = back.filter(pc.or_(back["metric_id"].is_null(), is_known(back, "metric_id", list(given.terms.metrics))))
    found = []
    groups = back.group_by(["payer_id", "metric_id"]).aggregate([]).to_pylist()
    for group in sorted(groups, key=lambda group: (group["payer_id"], group["metric_id"] or "")):
        payer_id, metric_id = group["payer_id"], group["metric_id"]
        sums = []
        for frame in (earlier, payments):
            of_payer = equal_to(frame["payer_id"], payer_id)
            is_of = of_payer if metric_id is None else pc.and_(of_payer, equal_to(frame["metric_id"], metric_id))
            sums.append(total(pence(frame["amount_gbp"].filter(is_of))))
        if sum(sums) >= 0:
            continue
        is_metric = back["metric_id"].is_null() if metric_id is None else equal_to(back["metric_id"], metric_id)
        is_first = pc.and_(equal_to(back["payer_id"], payer_id), is_metric)
        values = {"payer_id": payer_id, "of": "at all" if metric_id is None else f"for {metric_id}", "total_gbp": pounds(sum(sums))}
        found += given.found_first("K-334", "payments", "amount_gbp", back, is_first, **values)
    return found
