"""What was agreed: contracts, rate cards, plans; and the quarters over which a project is shown. Makes `projects` and `outcome_metrics`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import ibis
import ibis.expr.types as ir

from pipeline.domain.quarters import Quarter
from pipeline.stages.tabulation.figures import attach, number_of, number_of_day, pence, pounds, written
from pipeline.stages.tabulation.sums import Keep, Sums

SCENARIOS = ("high", "medium", "low")
"""In the order of preference: figures are held against the best case of the latest plan, as INDIGO does."""

NO_PLAN = 0


@dataclass(frozen=True)
class Contracts:
    """What the quarterly tables need of the register.

    `projects`: project_id, fund_id, policy_sector, counts_only. `quarters`: one row per project and quarter shown: number, is_returned.
    `returned`: one row per project and quarter with a return in force.
    `choices`: one row per project with a plan: plan_version, scenario. `plans`: the rows of those versions and scenarios, with `number`.
    `last_ended`: the number of the last quarter that had ended by `as_of`.
    """

    projects: ir.Table
    quarters: ir.Table
    returned: ir.Table
    choices: ir.Table
    plans: ir.Table
    last_ended: int
    as_of: date


def read_contracts(register: Mapping[str, ir.Table], sums: Sums, as_of: date, keep: Keep) -> Contracts:
    """Return what was agreed as it stood at `as_of`."""
    projects = register["projects"]
    returns = register["returns"]
    last_ended = last_ended_quarter(as_of)
    returned = returns.filter(returns.revision.notnull()).select("project_id", "quarter", is_returned=True)
    quarters = attach(quarters_shown(projects, sums, last_ended), returned, ("project_id", "quarter"))
    choices = keep("chosen_plans", choose_plans(agreed_plans(register["plans"], as_of)))
    plans = register["plans"].join(choices, ["project_id", "plan_version", "scenario"])
    return Contracts(
        projects=projects.select("project_id", "fund_id", "policy_sector", counts_only=projects.return_kind == "counts"),
        quarters=keep("quarters_shown", quarters.mutate(is_returned=quarters.is_returned.fill_null(False))),
        returned=returned,
        choices=choices,
        plans=keep("plans_in_force", plans.mutate(number=number_of(plans.quarter))),
        last_ended=last_ended,
        as_of=as_of,
    )


def last_ended_quarter(as_of: date) -> int:
    """Return the running number of the last quarter that had ended by a day."""
    quarter = Quarter.of(as_of)
    return running_number(quarter) - (0 if quarter.end <= as_of else 1)


def running_number(quarter: Quarter) -> int:
    """Return the running number of a quarter, as `figures.number_of` has it."""
    return quarter.year * 4 + quarter.number - 1


def last_contract_day(projects: ir.Table) -> ir.DateValue:
    """Return the last day on which an outcome may be claimed or the service runs, whichever is later."""
    return ibis.greatest(projects.claims_until.fill_null(projects.ends_on), projects.ends_on)


def quarters_shown(projects: ir.Table, sums: Sums, last_ended: int) -> ir.Table:
    """Return the quarters of each project: those of the contract that have ended, stretched to hold every fact.

    Shape: project_id, number, quarter; without gaps.
    """
    spoken = ibis.union(*[table.select("project_id", "quarter") for table in (sums.outcomes, sums.starts, sums.payments)], distinct=True)
    numbered = spoken.mutate(number=number_of(spoken.quarter))
    facts = numbered.group_by("project_id").agg(first_fact=numbered.number.min(), last_fact=numbered.number.max())
    spans = attach(
        projects.select("project_id", first=number_of_day(projects.starts_on), last=number_of_day(last_contract_day(projects))),
        facts,
        ("project_id",),
    )
    ended = ibis.least(spans["last"], last_ended)
    first = ibis.least(spans["first"], spans.first_fact.fill_null(spans["first"]))
    last = ibis.greatest(ended, spans.last_fact.fill_null(ended))
    shown = spans.mutate(first=first, last=last)
    shown = shown.filter(shown["last"] >= shown["first"])
    rows = shown.select("project_id", number=ibis.range(shown["first"], shown["last"] + 1).unnest())
    return rows.mutate(quarter=written(rows.number))


def agreed_plans(plans: ir.Table, as_of: date) -> ir.Table:
    """Return the rows of plans that had been agreed by a day; a plan without a date counts as agreed."""
    return plans.filter(plans.agreed_on.isnull() | (plans.agreed_on <= as_of))


def choose_plans(agreed: ir.Table) -> ir.Table:
    """Return each project's latest plan version and, in it, the best scenario that has rows."""
    latest = agreed.group_by("project_id").agg(plan_version=agreed.plan_version.max())
    rows = agreed.join(latest, ["project_id", "plan_version"])
    return rows.group_by("project_id", "plan_version").agg(scenario=scenario_at(rank_of(rows.scenario).min()))


def rank_of(scenario: ir.StringValue) -> ir.IntegerValue:
    """Return the place of a scenario in the order of preference, 0 for the best."""
    return ibis.cases(*[(scenario == name, place) for place, name in enumerate(SCENARIOS)])


def scenario_at(rank: ir.IntegerValue) -> ir.StringValue:
    """Return the scenario at a place of the order of preference."""
    return ibis.cases(*[(rank == place, name) for place, name in enumerate(SCENARIOS)])


def tabulate_projects(register: Mapping[str, ir.Table]) -> ir.Table:
    """Return the published table of projects."""
    investments = register["investments"]
    raised = investments.group_by("project_id").agg(capital_raised_gbp=pounds(pence(investments.committed_gbp.sum())))
    rows = attach(register["projects"], raised, ("project_id",))
    return rows.select(
        "fund_id",
        "project_id",
        "policy_sector",
        "stage",
        "service_providers",
        "commissioners",
        "investors",
        "starts_on",
        "ends_on",
        "contract_cap_gbp",
        "capital_raised_gbp",
        project_name=rows.name,
    )


def tabulate_outcome_metrics(register: Mapping[str, ir.Table], as_of: date) -> ir.Table:
    """Return the published table of metrics: each with every plan version agreed by `as_of`, or version 0 when it is in none."""
    key = ("project_id", "metric_id")
    metrics = register["metrics"].join(register["projects"].select("project_id", "fund_id"), "project_id")
    rows = attach(metrics, _targets(agreed_plans(register["plans"], as_of)), key)
    rows = attach(rows, _prices(register), key)
    return rows.select(
        "fund_id",
        "project_id",
        "metric_id",
        "definition",
        "unit",
        "supersedes_metric_id",
        "plan_kind",
        "agreed_on",
        "cap_quantity",
        *[f"target_{scenario}_quantity" for scenario in SCENARIOS],
        metric_name=rows.name,
        plan_version=rows.plan_version.fill_null(NO_PLAN),
        price_per_unit_gbp=pounds(rows.price_pence),
    )


def _targets(agreed: ir.Table) -> ir.Table:
    targets = agreed.filter((agreed.measure == "outcomes") & agreed.metric_id.notnull())
    return targets.group_by("project_id", "metric_id", "plan_version").agg(
        plan_kind=targets.plan_kind.max(),
        agreed_on=targets.agreed_on.max(),
        **{f"target_{scenario}_quantity": targets.expected_quantity.sum(where=targets.scenario == scenario) for scenario in SCENARIOS},
    )


def _prices(register: Mapping[str, ir.Table]) -> ir.Table:
    """Return the price of a unit on the pricing day: the last day of the contract, or the last before it on which the rate card held a price.

    One day for all payers, so that a payer who was replaced is not added to the one who came after.
    """
    projects = register["projects"]
    cards = register["rate_card"].join(projects.select("project_id", ends=last_contract_day(projects)), "project_id")
    cards = cards.filter(cards.valid_from <= cards.ends)
    cards = cards.mutate(until=ibis.least(cards.valid_to.fill_null(cards.ends), cards.ends))
    days = cards.group_by("project_id", "metric_id").agg(priced_on=cards.until.max())
    valid = cards.join(days, ["project_id", "metric_id"])
    valid = valid.filter((valid.valid_from <= valid.priced_on) & (valid.until >= valid.priced_on))
    by_payer = ibis.window(group_by=(valid.project_id, valid.metric_id, valid.payer_id), order_by=valid.valid_from.desc())
    valid = valid.mutate(place=ibis.row_number().over(by_payer))
    latest = valid.filter(valid.place == 0)
    return latest.group_by("project_id", "metric_id").agg(price_pence=pence(latest.price_gbp.sum()), cap_quantity=latest.cap_quantity.max())
