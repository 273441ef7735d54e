"""Which returns were due, which came, and which count: `completeness`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import ibis
import ibis.expr.types as ir

from pipeline.domain.quarters import Quarter
from pipeline.stages.tabulation.contracts import last_contract_day, running_number
from pipeline.stages.tabulation.figures import attach, last_day, number_of, number_of_day, written


def tabulate_completeness(register: Mapping[str, ir.Table], as_of: date) -> ir.Table:
    """Return a row per project and quarter of its contract up to the one that holds `as_of`, and per return for any other quarter.

    A return for a quarter outside the contract was never expected, but its figures may be in the release and so it has a row.
    """
    funds = register["funds"].select("fund_id", "return_due_days")
    projects = register["projects"].select("project_id", "fund_id").join(funds, "fund_id")
    rows = _quarters(register, as_of).join(projects, "project_id")
    rows = attach(rows, register["returns"], ("project_id", "quarter"))
    due_on = (last_day(rows.number) + rows.return_due_days.as_interval("D")).cast("date")
    rows = rows.mutate(due_on=due_on, is_expected=rows.is_in_contract & (due_on <= ibis.literal(as_of)))
    late = rows.first_received_on.delta(rows.due_on, unit="day").cast("int64")
    without_return = ibis.ifelse(rows.is_expected, "missing", "not_due")
    return rows.select(
        "fund_id",
        "project_id",
        "quarter",
        "due_on",
        "is_expected",
        received_on=rows.first_received_on,
        days_late=ibis.greatest(late, ibis.ifelse(late.isnull(), ibis.null("int64"), 0)),
        revisions_count=rows.revisions_count.fill_null(0),
        state=rows.state.fill_null(without_return),
        revision=rows.revision,
        is_in_release=rows.revision.notnull(),
        as_of=ibis.literal(as_of),
        is_queried=rows.is_queried,
        is_excluded=rows.revision.isnull() & (rows.revisions_count.fill_null(0) > 0),
    )


def _quarters(register: Mapping[str, ir.Table], as_of: date) -> ir.Table:
    """Return the quarters that have a row. Shape: project_id, quarter, number, is_in_contract."""
    projects, returns = register["projects"], register["returns"]
    last = ibis.least(number_of_day(last_contract_day(projects)), running_number(Quarter.of(as_of)))
    spans = projects.select("project_id", first=number_of_day(projects.starts_on), last=last)
    spans = spans.filter(spans["last"] >= spans["first"])
    inside = spans.select("project_id", number=ibis.range(spans["first"], spans["last"] + 1).unnest())
    quarters = ibis.union(inside, returns.select("project_id", number=number_of(returns.quarter)), distinct=True)
    rows = attach(quarters, inside.mutate(is_in_contract=True), ("project_id", "number"))
    return rows.select("project_id", "number", quarter=written(rows.number), is_in_contract=rows.is_in_contract.fill_null(False))
