"""What happened, quarter by quarter: `outcomes_by_quarter`, `payments_by_quarter` and `service_users_by_quarter`.

A quarter with a return in force and no facts is a zero; a quarter without either is unavailable. The two are never written as one another.
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from pipeline.stages.frames import PEOPLE
from pipeline.stages.tabulation.contracts import Contracts
from pipeline.stages.tabulation.figures import ALL, RATIO_DECIMALS, attach, pence, pounds, quotient, status, with_decimals
from pipeline.stages.tabulation.sums import CHARACTERISTICS, Sums

_PROJECT_QUARTER = ("project_id", "quarter")
_METRIC_QUARTER = ("project_id", "metric_id", "quarter")


def _known(found: ir.IntegerValue, is_returned: ir.BooleanValue) -> ir.IntegerValue:
    """Return what the facts say, 0 where a return in force says nothing, null where no return does."""
    return ibis.coalesce(found, ibis.ifelse(is_returned, ibis.literal(0, "int64"), ibis.null("int64")))


def tabulate_outcomes(sums: Sums, contracts: Contracts, metrics: ir.Table) -> ir.Table:
    """Return achieved outcomes per project, metric and quarter, to date and against plan, with the people behind them.

    A metric that has facts and is not in the register gets rows without a unit, which the schema refuses: it is not left out in silence.
    """
    named = metrics.select("project_id", "metric_id")
    pairs = ibis.union(named, sums.outcomes.select("project_id", "metric_id"), distinct=True)
    pairs = attach(pairs, metrics.select("project_id", "metric_id", "unit"), ("project_id", "metric_id"))
    rows = contracts.quarters.join(pairs, "project_id").join(contracts.projects.select("project_id", "fund_id"), "project_id")
    rows = attach(rows, sums.outcomes, _METRIC_QUARTER)
    rows = rows.mutate(quantity=_known(rows.quantity, rows.is_returned), people=_known(rows.people, rows.is_returned))
    to_date = ibis.cumulative_window(group_by=(rows.project_id, rows.metric_id), order_by=rows.number)
    rows = rows.mutate(cumulative=rows.quantity.sum().over(to_date), newcomers=rows.new_people.fill_null(0).sum().over(to_date))
    rows = attach(rows, _planned_outcomes(contracts), _METRIC_QUARTER)
    rows = attach(rows, _planned_to_date(contracts), _METRIC_QUARTER)
    rows = attach(rows, contracts.choices, ("project_id",))
    share = quotient(rows.cumulative, rows.planned_cumulative_quantity, RATIO_DECIMALS)
    has_no_plan = rows.planned_cumulative_quantity.fill_null(0) == 0
    return rows.select(
        "fund_id",
        "project_id",
        "metric_id",
        "quarter",
        "unit",
        achieved_quantity=rows.quantity,
        achieved_quantity_status=status(rows.quantity),
        cumulative_quantity=rows.cumulative,
        cumulative_quantity_status=status(rows.cumulative),
        scenario=rows.scenario,
        plan_version=rows.plan_version,
        planned_quantity=rows.planned_quantity,
        planned_cumulative_quantity=rows.planned_cumulative_quantity,
        share_of_plan=with_decimals(share, RATIO_DECIMALS),
        share_of_plan_status=status(share, has_no_plan),
        as_of=ibis.literal(contracts.as_of),
        **{
            f"achieved_quantity{PEOPLE}": rows.people,
            f"cumulative_quantity{PEOPLE}": ibis.ifelse(rows.cumulative.notnull(), rows.newcomers, ibis.null("int64")),
        },
    )


def _planned_outcomes(contracts: Contracts) -> ir.Table:
    plans = contracts.plans.filter(contracts.plans.measure == "outcomes")
    return plans.group_by("project_id", "metric_id", "quarter").agg(planned_quantity=plans.expected_quantity.sum())


def _planned_to_date(contracts: Contracts) -> ir.Table:
    """Return what was planned up to each quarter shown, counting planned quarters that are not shown themselves."""
    plans = contracts.plans.filter(contracts.plans.measure == "outcomes").select(
        "project_id", "metric_id", "expected_quantity", planned=contracts.plans.number
    )
    quarters = contracts.quarters.select("project_id", "quarter", "number")
    rows = quarters.join(plans, [quarters.project_id == plans.project_id, plans.planned <= quarters.number])
    return rows.group_by("project_id", "metric_id", "quarter").agg(planned_cumulative_quantity=rows.expected_quantity.sum())


def people_behind(payments: ir.Table, by: tuple[str, ...]) -> ir.Table:
    """Return how many people stand behind payments taken together: the payer with the most decides, since payers share the same outcomes.

    Where nothing was paid for outcomes, the correction with the most people decides.
    """
    by_payer = payments.group_by(*by, "payer_id").agg(
        for_outcomes=payments.people.sum(where=payments.basis == "outcome"), otherwise=payments.people.max()
    )
    return by_payer.group_by(*by).agg(people=ibis.coalesce(by_payer.for_outcomes.max(), by_payer.otherwise.max()))


def tabulate_payments(sums: Sums, contracts: Contracts, payers: ir.Table, stays: ir.Table | None = None) -> ir.Table:
    """Return payments per project, payer, basis and quarter, and the total of each project and quarter with its plan.

    Args: stays, project, payer, basis and quarter of rows that earlier releases have.
    """
    rows = ibis.union(_parts(sums, contracts, payers, stays), _totals(sums, contracts))
    rows = rows.join(contracts.projects.select("project_id", "fund_id"), "project_id")
    rows = attach(rows, contracts.choices, ("project_id",))
    return rows.select(
        "fund_id",
        "project_id",
        "payer_id",
        "basis",
        "quarter",
        "payer_kind",
        paid_gbp=pounds(rows.paid_pence),
        paid_gbp_status=status(rows.paid_pence),
        scenario=rows.scenario,
        plan_version=rows.plan_version,
        planned_gbp=pounds(rows.planned_pence),
        as_of=ibis.literal(contracts.as_of),
        **{f"paid_gbp{PEOPLE}": rows.people},
    )


def _parts(sums: Sums, contracts: Contracts, payers: ir.Table, stays: ir.Table | None) -> ir.Table:
    plans = contracts.plans.filter((contracts.plans.measure == "payments") & contracts.plans.payer_id.notnull())
    planned = plans.group_by("project_id", "payer_id", "quarter").agg(planned_pence=pence(plans.expected_gbp.sum()))
    planned = planned.mutate(basis=ibis.literal("outcome"))
    paid = sums.payments if stays is None else _with_payments_of_nothing(sums.payments, contracts, stays)
    rows = attach(paid, payers.select("payer_id", payer_kind=payers.kind), ("payer_id",))
    rows = attach(rows, planned, ("project_id", "payer_id", "basis", "quarter"))
    return rows.select("project_id", "payer_id", "basis", "quarter", "payer_kind", "paid_pence", "planned_pence", "people")


def _with_payments_of_nothing(payments: ir.Table, contracts: Contracts, stays: ir.Table) -> ir.Table:
    """Return payments and, where an earlier release has a row that has none any more, though there still is a return, a payment of nothing."""
    key = ("project_id", "payer_id", "basis", "quarter")
    left = stays.filter(stays.payer_id != ALL).anti_join(payments, key)
    returned = contracts.returned.filter(contracts.returned.is_returned)
    nothing = left.semi_join(returned, _PROJECT_QUARTER).select(*key, paid_pence=ibis.literal(0, "int64"), people=ibis.literal(0, "int64"))
    columns = (*key, "paid_pence", "people")
    return ibis.union(payments.select(*columns), nothing.cast({name: payments[name].type() for name in columns}))


def _totals(sums: Sums, contracts: Contracts) -> ir.Table:
    plans = contracts.plans.filter(contracts.plans.measure == "payments")
    planned = plans.group_by("project_id", "quarter").agg(planned_pence=pence(plans.expected_gbp.sum()))
    due = plans.filter(plans.number <= contracts.last_ended)
    quarters = ibis.union(contracts.quarters.select("project_id", "quarter"), due.select("project_id", "quarter"), distinct=True)
    paid = sums.payments.group_by("project_id", "quarter").agg(paid_pence=sums.payments.paid_pence.sum())
    rows = attach(quarters, contracts.returned, _PROJECT_QUARTER)
    for more in (paid, planned, people_behind(sums.payments, _PROJECT_QUARTER)):
        rows = attach(rows, more, _PROJECT_QUARTER)
    return rows.select(
        "project_id",
        payer_id=ibis.literal(ALL),
        basis=ibis.literal(ALL),
        quarter=rows.quarter,
        payer_kind=ibis.literal(ALL),
        paid_pence=_known(rows.paid_pence, rows.is_returned.fill_null(False)),
        planned_pence=rows.planned_pence,
        people=rows.people,
    )


def tabulate_service_users(sums: Sums, contracts: Contracts, stays: ir.Table | None = None) -> ir.Table:
    """Return starts per project and quarter, in all and by one characteristic at a time.

    A project that returns counts only has totals that are unavailable and no categories.

    Args: stays, project, characteristic and category of rows that earlier releases have.
    """
    starts = sums.starts.group_by("project_id", "quarter").agg(found=sums.starts.people.sum())
    shown = attach(contracts.quarters.join(contracts.projects, "project_id"), starts, _PROJECT_QUARTER)
    shown = shown.filter(shown.is_returned | shown.found.notnull())
    totals = shown.select(
        "fund_id",
        "project_id",
        "quarter",
        characteristic=ibis.literal(ALL),
        category=ibis.literal(ALL),
        starts_count=ibis.ifelse(shown.counts_only, ibis.null("int64"), shown.found.fill_null(0)),
    )
    by_person = shown.filter(~shown.counts_only).select("fund_id", "project_id", "quarter")
    rows = ibis.union(totals, *[_by_characteristic(sums.starts, by_person, name, stays) for name in CHARACTERISTICS])
    return rows.select(
        "fund_id",
        "project_id",
        "quarter",
        "characteristic",
        "category",
        "starts_count",
        starts_count_status=status(rows.starts_count),
        as_of=ibis.literal(contracts.as_of),
    )


def _by_characteristic(starts: ir.Table, shown: ir.Table, name: str, stays: ir.Table | None) -> ir.Table:
    """Return a row for every quarter and every category that occurs in the project or did in an earlier release.

    Rows then do not go with small counts: one that goes says that nobody is left in it, and gives its neighbours away.
    """
    coded = starts.mutate(category=starts[name])
    counts = coded.group_by("project_id", "quarter", "category").agg(found=coded.people.sum())
    pairs = counts.select("project_id", "category")
    if stays is not None:
        pairs = ibis.union(pairs, stays.filter(stays.characteristic == name).select("project_id", "category"))
    rows = shown.join(pairs.distinct(), "project_id")
    rows = attach(rows, counts, ("project_id", "quarter", "category"))
    return rows.select(
        "fund_id", "project_id", "quarter", characteristic=ibis.literal(name), category=rows.category, starts_count=rows.found.fill_null(0)
    )
