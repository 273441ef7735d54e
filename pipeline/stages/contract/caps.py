"""Caps: the most that may be paid for a metric, by a payer, and under the contract; running totals over the life of the contract."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.domain.findings import Finding
from pipeline.stages.contract.given import Given, pence, pounds, total
from pipeline.stages.contract.prices import code_of, pairs, with_units
from pipeline.stages.frames import equal_to


def check_caps(given: Given) -> list[Finding]:
    """Return the first payments that pass a cap."""
    if not given.payments.num_rows:
        return []
    return [*_check_metric_caps(given), *_check_payer_caps(given), *_check_contract_cap(given)]


def _check_metric_caps(given: Given) -> list[Finding]:
    rate_card = given.terms.rate_card
    if not any(rate["cap_quantity"] is not None for rate in rate_card):
        return []
    here, earlier = with_units(rate_card, given.payments), with_units(rate_card, given.context.earlier_payments)
    caps = pa.array([rate["cap_quantity"] for rate in rate_card], pa.int64())
    found = []
    for metric_id, payer_id in pairs(rate_card):
        code = code_of(metric_id, payer_id)
        mine = here.filter(equal_to(here["code"], code))
        before = total(earlier["units"].filter(equal_to(earlier["code"], code)))
        running = pc.add(pc.cumulative_sum(mine["units"].combine_chunks()), before)
        is_over = pc.and_(pc.greater(running, caps.take(mine["rate"].combine_chunks())), pc.greater(mine["units"].combine_chunks(), 0))
        first = pc.index(is_over, True).as_py()
        limit = rate_card[mine["rate"][first].as_py()]["cap_quantity"] if first >= 0 else None
        # A correction further down may bring the sum back under the cap.
        if limit is None or running[-1].as_py() <= limit:
            continue
        values = {"metric_id": metric_id, "payer_id": payer_id, "cap_quantity": str(limit), "total_quantity": str(running[-1])}
        found += given.found_first("K-318", "payments", "quantity", mine, is_over, **values)
    return found


def _check_payer_caps(given: Given) -> list[Finding]:
    found = []
    payers = {rate["payer_id"]: rate for rate in given.terms.rate_card}
    everybody = total(pence(given.payments["amount_gbp"])) + total(pence(given.context.earlier_payments["amount_gbp"]))
    for payer_id, rate in sorted(payers.items()):
        cap, share = rate.get("payer_cap_gbp"), rate.get("payer_cap_share")
        mine = given.payments.filter(equal_to(given.payments["payer_id"], payer_id))
        if not mine.num_rows or (cap is None and share is None):
            continue
        earlier = given.context.earlier_payments
        before = total(pence(earlier["amount_gbp"].filter(equal_to(earlier["payer_id"], payer_id))))
        running = pc.add(pc.cumulative_sum(pence(mine["amount_gbp"])), before)
        total_gbp = pounds(running[-1].as_py())
        if cap is not None and running[-1].as_py() > int(Decimal(cap) * 100):
            is_over = pc.and_(pc.greater(running, int(Decimal(cap) * 100)), pc.greater(mine["amount_gbp"], 0))
            found += given.found_first(
                "K-337", "payments", "amount_gbp", mine, is_over, payer_id=payer_id, payer_cap_gbp=f"{Decimal(cap):.2f}", total_gbp=total_gbp
            )
        # A penny for each row is what prices that were split and rounded may come to.
        allowed = int(Decimal(share) * everybody) + given.payments.num_rows + earlier.num_rows if share is not None else None
        if allowed is not None and running[-1].as_py() > max(0, allowed):
            values = {
                "payer_id": payer_id,
                "payer_cap_share": str(Decimal(share or 0).normalize()),
                "total_gbp": total_gbp,
                "all_gbp": pounds(everybody),
            }
            found += given.found_first("K-338", "payments", "amount_gbp", mine, pc.greater(mine["amount_gbp"], 0), **values)
    return found


def _check_contract_cap(given: Given) -> list[Finding]:
    cap = given.terms.cap
    if cap is None:
        return []
    running = pc.add(pc.cumulative_sum(pence(given.payments["amount_gbp"])), total(pence(given.context.earlier_payments["amount_gbp"])))
    is_over = pc.greater(running, int(cap * 100))
    # A correction further down may bring the sum back under the cap.
    if not is_over[-1].as_py():
        return []
    values = {"contract_cap_gbp": f"{cap:.2f}", "total_gbp": pounds(running[-1].as_py())}
    return given.found_first("K-319", "payments", "amount_gbp", given.payments, is_over, **values)
