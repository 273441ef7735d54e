"""Prices: the rate that stands when a claim period ends, and what a payment comes to by it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.domain.findings import Finding
from pipeline.stages.contract.codes import is_known
from pipeline.stages.contract.given import Given, Record
from pipeline.stages.frames import equal_to
from pipeline.stages.validation import MAX_PLACES, found_at

_CODE_SEPARATOR = "\n"


def check_prices(given: Given) -> list[Finding]:
    """Return which payments for outcomes have no price, or another than the one on the rate card at the end of their claim period."""
    rate_card = given.terms.rate_card
    is_judged = pc.and_(is_known(given.payments, "metric_id", list(given.terms.metrics)), is_known(given.payments, "payer_id", given.payers))
    paid = with_rates(rate_card, given.payments.filter(pc.and_(is_judged, equal_to(given.payments["basis"], "outcome"))))
    # Without a quantity there is no amount to expect; the content rules ask for it.
    is_priced = pc.and_(paid["rate"].is_valid(), paid["quantity"].is_valid())
    wrong = paid.filter(pc.and_(is_priced, pc.invert(pc.fill_null(pc.equal(_due(rate_card, paid), paid["amount_gbp"]), False))))
    rates = [rate_card[number] for number in wrong["rate"].slice(0, MAX_PLACES).to_pylist()]
    each = [{"price_gbp": rate["price_gbp"], "valid_from": rate["valid_from"]} for rate in rates]
    return [
        *found_at(given.definitions.rule("K-316"), "payments", "amount_gbp", wrong["row"].combine_chunks(), each),
        *given.found_in(paid, "K-317", "payments", "metric_id", paid["rate"].is_null()),
    ]


def with_rates(rate_card: Sequence[Record], payments: pa.Table) -> pa.Table:
    """Return payments with `code`, their metric and payer, and `rate`, the number of the rate that stood when their claim period ended."""
    code = pc.binary_join_element_wise(payments["metric_id"], payments["payer_id"], _CODE_SEPARATOR)
    payments = payments.append_column("code", code)
    return payments.append_column("rate", _find_rates(rate_card, payments))


def with_units(rate_card: Sequence[Record], payments: pa.Table) -> pa.Table:
    """Return payments of a metric with `code`, `rate` and `units`: how many units of the metric each pays for, or takes back.

    A correction moves whole units when it comes to exactly the price of its quantity; otherwise it only changes what was paid for them.
    """
    payments = with_rates(rate_card, payments.filter(payments["metric_id"].is_valid()))
    quantity, amount = pc.fill_null(payments["quantity"], 0).combine_chunks(), payments["amount_gbp"].combine_chunks()
    due = _due(rate_card, payments)
    sign = pc.if_else(pc.fill_null(pc.equal(due, amount), False), 1, pc.if_else(pc.fill_null(pc.equal(due, pc.negate(amount)), False), -1, 0))
    is_outcome, is_correction = (equal_to(payments["basis"], basis).combine_chunks() for basis in ("outcome", "correction"))
    units = pc.if_else(is_outcome, quantity, pc.if_else(is_correction, pc.multiply(quantity, sign), 0))
    return payments.append_column("units", units.cast(pa.int64()))


def code_of(metric_id: str, payer_id: str) -> str:
    """Return metric and payer as payments carry them in `code`."""
    return _CODE_SEPARATOR.join((metric_id, payer_id))


def pairs(rate_card: Sequence[Record]) -> Sequence[tuple[str, str]]:
    """Return the metrics and payers of a rate card, in order."""
    return sorted({(rate["metric_id"], rate["payer_id"]) for rate in rate_card})


def stands_on(rate: Record, day: date) -> bool:
    """Say whether a rate is valid on a day."""
    return date.fromisoformat(rate["valid_from"]) <= day and (rate["valid_to"] is None or day <= date.fromisoformat(rate["valid_to"]))


def _due(rate_card: Sequence[Record], payments: pa.Table) -> pa.Array:
    prices = pa.array([Decimal(rate["price_gbp"]) for rate in rate_card], pa.decimal128(18, 2))
    return pc.multiply(prices.take(payments["rate"].combine_chunks()), payments["quantity"].combine_chunks())


def _find_rates(rate_card: Sequence[Record], paid: pa.Table) -> pa.Array:
    """Return for each payment the number of the rate that stood when its claim period ended; of several the one that began last; null for none."""
    generations: dict[int, list[int]] = {}
    for number, rate in enumerate(rate_card):
        same = [other for other in rate_card[:number] if (other["metric_id"], other["payer_id"]) == (rate["metric_id"], rate["payer_id"])]
        generations.setdefault(len(same), []).append(number)
    ended = paid["period_end"].combine_chunks()
    chosen = pa.nulls(paid.num_rows, pa.int64())
    for _, numbers in sorted(generations.items()):
        codes = pa.array([code_of(rate_card[n]["metric_id"], rate_card[n]["payer_id"]) for n in numbers], pa.string())
        place = pc.index_in(paid["code"].combine_chunks(), value_set=codes)
        valid_from, valid_to = (_days(rate_card[n][column] for n in numbers).take(place) for column in ("valid_from", "valid_to"))
        stands = pc.and_(pc.greater_equal(ended, valid_from), pc.fill_null(pc.less_equal(ended, valid_to), True))
        chosen = pc.if_else(pc.fill_null(stands, False), pa.array(numbers, pa.int64()).take(place), chosen)
    return chosen


def _days(texts: Iterable[str | None]) -> pa.Array:
    return pa.array([None if text is None else date.fromisoformat(text) for text in texts], pa.date32())
