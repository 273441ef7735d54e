"""How a return's figures move: against the last return, and against the revision that it replaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.domain.findings import Finding
from pipeline.stages.acceptance import SOURCES
from pipeline.stages.contract.codes import is_known
from pipeline.stages.contract.given import Given, pence, pounds, total
from pipeline.stages.frames import equal_to

_TOTAL = "The total of payments"


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What a return comes to: people who are in its participants table, units that stand by metric, and pence by payer and in all."""

    people: int
    units: Mapping[str, int]
    pence: Mapping[str, int]

    @classmethod
    def of(cls, participants: pa.Table, outcomes: pa.Table, payments: pa.Table) -> Figures:
        """Add up a return, or the facts of one."""
        standing = outcomes.filter(pc.not_equal(outcomes["status"], "rejected")).group_by("metric_id").aggregate([("quantity", "sum")])
        paid = payments.select(["payer_id"]).append_column("pence", pence(payments["amount_gbp"])).group_by("payer_id").aggregate([("pence", "sum")])
        return cls(
            people=participants.num_rows,
            units=dict(zip(standing["metric_id"].to_pylist(), standing["quantity_sum"].to_pylist(), strict=True)),
            pence=dict(zip(paid["payer_id"].to_pylist(), paid["pence_sum"].to_pylist(), strict=True)),
        )

    @property
    def count(self) -> int:
        """How many figures there are."""
        return bool(self.people) + len(self.units) + len(self.pence)

    @property
    def weight(self) -> int:
        """How many people and units there are together."""
        return self.people + sum(self.units.values())


def check_movement(given: Given) -> list[Finding]:
    """Return which figures ask for a word, because they fall, jump, stay exactly the same or are all round."""
    return [*_check_replaced(given), *_check_last(given), *_check_round(given)]


def _check_replaced(given: Given) -> list[Finding]:
    """Query rows that the replaced revision had and this one has not and, where none are gone, figures that have fallen."""
    replaced = given.context.replaced
    if not any(table.num_rows for table in replaced.values()):
        return []
    found, complete = [], set()
    for fact, source in SOURCES.items():
        removed = replaced[fact].num_rows - total(pc.is_in(replaced[fact][source.key], value_set=given.named(fact)).cast(pa.int64()))
        if removed:
            found.append(given.definitions.rule("K-339").found(source.table, 0, next(iter(source.references)), removed_rows=str(removed)))
        else:
            complete.add(source.table)
    before, now = Figures.of(*(replaced[fact] for fact in SOURCES)), _figures(given)
    rule = given.definitions.rule("K-340")
    for metric_id in sorted(before.units) if "outcomes" in complete else ():
        if now.units.get(metric_id, 0) < before.units[metric_id]:
            values = {"figure": f"The units of {metric_id}", "before": str(before.units[metric_id]), "now": str(now.units.get(metric_id, 0))}
            found.append(rule.found("outcomes", 0, "quantity", **values))
    for payer_id in sorted(before.pence) if "payments" in complete else ():
        if now.pence.get(payer_id, 0) < before.pence[payer_id]:
            figures = {"before": f"{pounds(before.pence[payer_id])} GBP", "now": f"{pounds(now.pence.get(payer_id, 0))} GBP"}
            found.append(rule.found("payments", 0, "amount_gbp", figure=f"The payments of {payer_id}", **figures))
    return found


def _check_last(given: Given) -> list[Finding]:
    """Query figures that are many times those of the last returns before this one, or all exactly those of the last."""
    context = given.context
    tables = (context.earlier_starts, context.earlier_outcomes, context.earlier_payments)
    names = {name for frame in tables for name in pc.unique(frame["return_quarter"]).to_pylist()}
    jump, same = given.definitions.rule("K-341"), given.definitions.rule("K-342")
    last = sorted(name for name in names if name and name < context.key.quarter)[-jump.limits["most_returns"] :]
    if not last:
        return []
    before = [Figures.of(*(frame.filter(equal_to(frame["return_quarter"], name)) for frame in tables)) for name in last]
    now = _figures(given)
    is_enough = now.count >= same.limits["least_figures"] and (now.weight >= same.limits["least_units"] or not now.weight)
    found = [same.found(quarter=last[-1])] if now == before[-1] and is_enough else []
    # A project that has just begun grows quickly.
    return found + (_check_jumps(given, before, now) if len(before) >= jump.limits["least_returns"] else [])


def _check_jumps(given: Given, before: Sequence[Figures], now: Figures) -> list[Finding]:
    """Find what is at least `factor` times the most that it was, if that was not next to nothing; at the row that adds most to it."""
    rule = given.definitions.rule("K-341")
    factor, least, least_pence = rule.limits["factor"], rule.limits["least_units"], rule.limits["least_gbp"] * 100
    shared = {"factor": str(factor), "returns": str(len(before))}
    found = []
    people = max(figures.people for figures in before)
    if now.people >= factor * people >= factor * least:
        values = {"figure": "The number of participants", "before": str(people), "now": str(now.people)}
        found.append(rule.found("participants", 0, "participant_ref", **shared, **values))
    for metric_id in sorted(set(now.units) & set(given.terms.metrics)):
        units = max(figures.units.get(metric_id, 0) for figures in before)
        if now.units[metric_id] >= factor * units >= factor * least:
            values = {"figure": f"The units of {metric_id}", "before": str(units), "now": str(now.units[metric_id])}
            mine = given.outcomes.filter(equal_to(given.outcomes["metric_id"], metric_id))
            found += _at_most(given, "outcomes", "quantity", mine, {**shared, **values})
    paid_before, paid_now = max(sum(figures.pence.values()) for figures in before), sum(now.pence.values())
    # Where units jump, what is paid for them does too.
    if not found and paid_now >= factor * paid_before >= factor * least_pence:
        values = {"figure": _TOTAL, "before": f"{pounds(paid_before)} GBP", "now": f"{pounds(paid_now)} GBP"}
        found += _at_most(given, "payments", "amount_gbp", given.payments, {**shared, **values})
    return found


def _at_most(given: Given, table: str, column: str, frame: pa.Table, values: Mapping[str, str]) -> list[Finding]:
    return given.found_first("K-341", table, column, frame, pc.equal(frame[column], pc.max(frame[column])), **values)


def _check_round(given: Given) -> list[Finding]:
    """Query columns of counts, and of amounts that follow from no price, of which every figure is round."""
    rule = given.definitions.rule("K-343")
    priced = [rate["metric_id"] for rate in given.terms.rate_card]
    is_free = pc.invert(pc.and_(equal_to(given.payments["basis"], "outcome"), is_known(given.payments, "metric_id", priced)))
    amounts = pence(given.payments.filter(is_free)["amount_gbp"])
    counts = given.outcomes["quantity"].combine_chunks() if given.terms.is_counts else pa.array([], pa.int64())
    multiple, multiple_gbp = rule.limits["multiple"], rule.limits["multiple_gbp"]
    found = []
    for table, column, figures, step, spoken in (
        ("outcomes", "quantity", counts, multiple, str(multiple)),
        ("payments", "amount_gbp", amounts, multiple_gbp * 100, f"{Decimal(multiple_gbp):,} GBP"),
    ):
        is_round = pc.equal(pc.multiply(pc.divide(figures, step), step), figures)
        if len(figures) >= rule.limits["least_figures"] and pc.all(is_round).as_py():
            found.append(rule.found(table, 0, column, figures=str(len(figures)), multiple=spoken))
    return found


def _figures(given: Given) -> Figures:
    return Figures.of(given.participants, given.outcomes, given.payments)
