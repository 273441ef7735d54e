"""The four scans over the facts. Each gives a small table of sums; everything that is published is made from these and the register.

Facts may be ten million rows, sums are a few thousand: an engine that keeps the sums reads the facts once and never again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import ibis
import ibis.expr.types as ir

from pipeline.stages.tabulation.figures import attach, pence

Keep = Callable[[str, ir.Table], ir.Table]
"""Takes the name and the expression of an intermediate that several tables need; gives the same rows, perhaps already computed."""

CHARACTERISTICS = ("age_band", "gender", "ethnicity", "local_authority")
ACHIEVED = "verified"


@dataclass(frozen=True)
class Sums:
    """What the facts come to.

    `outcomes`: one row per project, metric, quarter: quantity, people, new_people (those whose first quarter it is), unnamed (quantity of rows
    without a participant; each unit counts as a person and is part of the other two).
    `achievers`: one row per project: people with an outcome of any metric, named ones only.
    `starts`: one row per project, quarter and combination of characteristics: people.
    `payments`: one row per project, payer, basis, quarter: paid_pence, people (null where the payment is not about people).
    """

    outcomes: ir.Table
    achievers: ir.Table
    starts: ir.Table
    payments: ir.Table


def sum_facts(outcomes: ir.Table, starts: ir.Table, payments: ir.Table, keep: Keep) -> Sums:
    """Return the sums over all facts; `keep` is offered each of them."""
    achieved = outcomes.filter(outcomes.status == ACHIEVED)
    return Sums(
        outcomes=keep("sums_of_outcomes", sum_outcomes(achieved)),
        achievers=keep("sums_of_achievers", count_achievers(achieved)),
        starts=keep("sums_of_starts", count_starts(starts)),
        payments=keep("sums_of_payments", sum_payments(payments)),
    )


def sum_outcomes(achieved: ir.Table) -> ir.Table:
    """Add up achieved outcomes. A participant who appears in several quarters is new in the first of them only."""
    sums = achieved.group_by("project_id", "metric_id", "quarter").agg(
        quantity=achieved.quantity.sum(),
        named=achieved.participant.nunique(),
        unnamed=achieved.quantity.sum(where=achieved.participant.isnull()).fill_null(0),
    )
    named = achieved.filter(achieved.participant.notnull())
    firsts = named.group_by("project_id", "metric_id", "participant").agg(quarter=named.quarter.min())
    newcomers = firsts.group_by("project_id", "metric_id", "quarter").agg(newcomers=firsts.count())
    rows = attach(sums, newcomers, ("project_id", "metric_id", "quarter"))
    return rows.select(
        "project_id",
        "metric_id",
        "quarter",
        "quantity",
        "unnamed",
        people=rows.named + rows.unnamed,
        new_people=rows.newcomers.fill_null(0) + rows.unnamed,
    )


def count_achievers(achieved: ir.Table) -> ir.Table:
    """Count the participants of each project who achieved anything; a person with several metrics counts once."""
    return achieved.group_by("project_id").agg(people=achieved.participant.nunique())


def count_starts(starts: ir.Table) -> ir.Table:
    """Count people by start quarter and characteristics, each as their latest return has them."""
    by_person = ibis.window(group_by=(starts.project_id, starts.participant), order_by=(starts.return_quarter.desc(), starts.source_row.desc()))
    placed = starts.mutate(place=ibis.row_number().over(by_person))
    latest = placed.filter(placed.place == 0)
    return latest.group_by("project_id", "quarter", *CHARACTERISTICS).agg(people=latest.count())


def sum_payments(payments: ir.Table) -> ir.Table:
    """Add up payments. People stand behind payments for outcomes, and behind corrections that say for how many."""
    sums = payments.group_by("project_id", "payer_id", "basis", "quarter").agg(
        paid_pence=pence(payments.amount_gbp.sum()), quantity=payments.quantity.sum()
    )
    people = ibis.cases((sums.basis == "outcome", sums.quantity), (sums.basis == "correction", sums.quantity.abs()))
    return sums.mutate(people=people).drop("quantity")
