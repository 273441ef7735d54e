"""How the projects stand against plan at the as-of date: `performance`.

Three rules of aggregation, never mixed: `pooled` are sums and ratios of sums; `mean` and `median` speak of the projects' own ratios as they are
published, so that anybody can make them again from the project rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import ibis
import ibis.expr.types as ir

from pipeline.stages.frames import PEOPLE
from pipeline.stages.tabulation.contracts import SCENARIOS, Contracts, rank_of, scenario_at
from pipeline.stages.tabulation.figures import ALL, NOT_APPLICABLE, RATIO_DECIMALS, attach, pence, pounds, quotient, status, with_decimals
from pipeline.stages.tabulation.quarterly import people_behind
from pipeline.stages.tabulation.sums import Keep, Sums

_FIGURES = ("users", "outcomes", "paid")
_SHARES = {figure: f"{figure}_share_of_plan" for figure in _FIGURES}
_COSTS = {"outcomes": "cost_per_outcome_gbp", "users": "cost_per_person_gbp"}
_MULTIPLE = "money_multiple"
_DECIMALS = {**dict.fromkeys(_SHARES.values(), RATIO_DECIMALS), **dict.fromkeys(_COSTS.values(), 2), _MULTIPLE: RATIO_DECIMALS}
_PLANNED = {figure: f"{figure}_planned" for figure in _FIGURES}
_ADDED = (*_FIGURES, "outcomes_people", "paid_people", "invested", "returned")
_AMOUNTS = (*_ADDED, *_PLANNED.values())
_RETURNS = ("expected", "missing")


@dataclass(frozen=True)
class _Level:
    """One level of aggregation and what tells its rows apart; the other names say `all`."""

    name: str
    keys: tuple[str, ...]


_PROJECT = _Level("project", ("fund_id", "policy_sector", "project_id"))
_ABOVE = (_Level("sector", ("fund_id", "policy_sector")), _Level("fund", ("fund_id",)))


def tabulate_performance(sums: Sums, contracts: Contracts, quarterly: Mapping[str, ir.Table], investments: ir.Table, keep: Keep) -> ir.Table:
    """Return performance by project, sector and fund. `quarterly` are the finished quarterly tables, completeness among them."""
    figures = keep("figures_of_projects", figures_of_projects(sums, contracts, quarterly, investments))
    projects = keep("performance_of_projects", _pool(figures, _PROJECT))
    ratios = keep("ratios_of_projects", _ratios_of(projects))
    pooled = [_pool(figures, level) for level in _ABOVE]
    summaries = [_summarise(ratios, figures, level) for level in _ABOVE]
    return _publish(ibis.union(projects, *pooled, *summaries), contracts.as_of)


def figures_of_projects(sums: Sums, contracts: Contracts, quarterly: Mapping[str, ir.Table], investments: ir.Table) -> ir.Table:
    """Return each project's figures to date, money in pence, ratios not yet taken. Shape: one row per project."""
    outcomes, payments, users = (quarterly[name] for name in ("outcomes_by_quarter", "payments_by_quarter", "service_users_by_quarter"))
    starts, totals = users.filter(users.characteristic == ALL), payments.filter(payments.payer_id == ALL)
    rows = contracts.projects
    for more in (
        contracts.choices,
        starts.group_by("project_id").agg(users=starts.starts_count.sum()),
        outcomes.group_by("project_id").agg(outcomes=outcomes.achieved_quantity.sum()),
        totals.group_by("project_id").agg(paid=pence(totals.paid_gbp.sum())),
        sums.outcomes.group_by("project_id").agg(unnamed=sums.outcomes.unnamed.sum()),
        sums.achievers.rename(named="people"),
        people_behind(sums.payments, ("project_id",)).rename(paid_people="people"),
        _planned_to_date(contracts),
        _returns_of(quarterly["completeness"]),
        investments.group_by("project_id").agg(invested=pence(investments.drawn_gbp.sum()), returned=pence(investments.returned_gbp.sum())),
    ):
        rows = attach(rows, more, ("project_id",))
    achievers = rows.named.fill_null(0) + rows.unnamed.fill_null(0)
    rows = rows.mutate(outcomes_people=ibis.ifelse(rows.outcomes.notnull(), achievers, ibis.null("int64")), rank=rank_of(rows.scenario))
    return rows.select("fund_id", "policy_sector", "project_id", "plan_version", "rank", *_AMOUNTS, *_RETURNS)


def _returns_of(completeness: ir.Table) -> ir.Table:
    """Return how many returns of each project were expected, and how many of those are missing."""
    due = completeness.filter(completeness.is_expected)
    return due.group_by("project_id").agg(expected=due.count(), missing=due.count(where=~due.is_in_release))


def _planned_to_date(contracts: Contracts) -> ir.Table:
    plans = contracts.plans.filter(contracts.plans.number <= contracts.last_ended)
    return plans.group_by("project_id").agg(
        users_planned=plans.expected_quantity.sum(where=plans.measure == "service_users"),
        outcomes_planned=plans.expected_quantity.sum(where=plans.measure == "outcomes"),
        paid_planned=pence(plans.expected_gbp.sum(where=plans.measure == "payments")),
    )


def _pool(figures: ir.Table, level: _Level) -> ir.Table:
    """Return sums, and ratios of sums, of one level.

    A plan is added only where the figure that it is held against is known, since what is missing is not a zero. Where some project has an amount of
    one figure and the other is unknown, a ratio of the sums would mislead: it is unavailable.
    """
    planned = {name: ibis.coalesce(figures[name].sum(where=figures[figure].notnull()), figures[name].sum()) for figure, name in _PLANNED.items()}
    sums = figures.group_by(*level.keys).agg(
        projects_count=figures.count(),
        plan_version=figures.plan_version.max(),
        rank=figures["rank"].min(),
        **{name: figures[name].sum() for name in (*_ADDED, *_RETURNS)},
        **planned,
        **{f"{share}_misleads": _is_one_sided(figures, figure, _PLANNED[figure]) for figure, share in _SHARES.items()},
        **{f"{cost}_misleads": _is_one_sided(figures, "paid", figure) | _is_one_sided(figures, figure, "paid") for figure, cost in _COSTS.items()},
        **{f"{_MULTIPLE}_misleads": _is_one_sided(figures, "invested", "returned") | _is_one_sided(figures, "returned", "invested")},
    )
    if level is not _PROJECT:
        sums = sums.mutate(plan_version=ibis.null("int64"))
    return _arrange(sums, level, ibis.literal("pooled"), _ratios(sums), _absences(sums))


def _is_one_sided(figures: ir.Table, one: str, other: str) -> ir.BooleanValue:
    """Say whether some project has an amount of one figure while the other is unknown."""
    return (figures[one].notnull() & (figures[one] != 0) & figures[other].isnull()).any()


def _ratios(sums: ir.Table) -> Mapping[str, ir.IntegerValue]:
    """Return the ratios of sums, in whole units of their last decimal."""
    ratios = {share: quotient(sums[figure], sums[_PLANNED[figure]], RATIO_DECIMALS) for figure, share in _SHARES.items()}
    ratios |= {cost: quotient(sums.paid, sums[figure]) for figure, cost in _COSTS.items()}
    ratios[_MULTIPLE] = quotient(sums.returned, sums.invested, RATIO_DECIMALS)
    return {name: ibis.ifelse(sums[f"{name}_misleads"], ibis.null("int64"), ratio) for name, ratio in ratios.items()}


def _absences(sums: ir.Table) -> Mapping[str, ir.BooleanValue]:
    """Say which ratios do not apply: a share without a plan, a cost without anything to divide by."""
    shares = {share: sums[_PLANNED[figure]].fill_null(0) == 0 for figure, share in _SHARES.items()}
    return shares | {cost: (sums[figure] == 0).fill_null(False) for figure, cost in _COSTS.items()}


def _arrange(
    rows: ir.Table, level: _Level, aggregation: ir.StringValue, ratios: Mapping[str, ir.IntegerValue], absences: Mapping[str, ir.BooleanValue]
) -> ir.Table:
    """Return rows of one level in the columns that all levels share."""
    return rows.select(
        fund_id=rows.fund_id,
        level=ibis.literal(level.name),
        **{name: rows[name] if name in level.keys else ibis.literal(ALL) for name in ("policy_sector", "project_id")},
        aggregation=aggregation,
        projects_count=rows.projects_count,
        plan_version=rows.plan_version,
        rank=rows["rank"],
        **{name: rows[name] for name in (*_AMOUNTS, *_RETURNS)},
        **ratios,
        **{f"{name}_status": status(ratios[name], absent) for name, absent in absences.items()},
    )


def _ratios_of(projects: ir.Table) -> ir.Table:
    """Return the projects' own ratios one below the other. Shape: fund_id, policy_sector, ratio, value (null when there is none), is_absent."""
    return ibis.union(
        *[
            projects.select(
                "fund_id",
                "policy_sector",
                ratio=ibis.literal(name),
                value=projects[name],
                is_absent=ibis.literal(False) if name == _MULTIPLE else projects[f"{name}_status"] == NOT_APPLICABLE,
            )
            for name in _DECIMALS
        ]
    )


def _summarise(ratios: ir.Table, figures: ir.Table, level: _Level) -> ir.Table:
    """Return the mean and the median of the projects' own ratios, with no sums beside them."""
    by_ratio = (*level.keys, "ratio")
    absent = ratios.group_by(*by_ratio).agg(is_absent=ratios.is_absent.all())
    middles = attach(absent, _mean_and_median(ratios.filter(ratios.value.notnull()), by_ratio), by_ratio)
    long = ibis.union(
        *[
            middles.select(*by_ratio, "is_absent", aggregation=ibis.literal(aggregation), value=middles[aggregation])
            for aggregation in ("mean", "median")
        ]
    )
    wide = long.group_by(*level.keys, "aggregation").agg(
        **{name: long.value.max(where=long.ratio == name) for name in _DECIMALS},
        **{f"{name}_absent": long.is_absent.any(where=long.ratio == name) for name in _DECIMALS},
    )
    scopes = figures.group_by(*level.keys).agg(
        projects_count=figures.count(), rank=figures["rank"].min(), **{name: figures[name].sum() for name in _RETURNS}
    )
    rows = attach(wide, scopes, level.keys).mutate(plan_version=ibis.null("int64"), **{name: ibis.null("int64") for name in _AMOUNTS})
    absences = {name: rows[f"{name}_absent"] for name in (*_SHARES.values(), *_COSTS.values())}
    return _arrange(rows, level, rows.aggregation, {name: rows[name] for name in _DECIMALS}, absences)


def _mean_and_median(ratios: ir.Table, by: tuple[str, ...]) -> ir.Table:
    """Return both for each group of known ratios; a median between two of them is their mean."""
    group = [ratios[name] for name in by]
    placed = ratios.mutate(place=ibis.row_number().over(group_by=group, order_by=ratios.value), size=ratios.value.count().over(group_by=group))
    is_middle = (placed.place == (placed["size"] - 1) // 2) | (placed.place == placed["size"] // 2)
    sums = placed.group_by(*by).agg(
        total=placed.value.sum(), values=placed.count(), middle=placed.value.sum(where=is_middle), middles=is_middle.sum()
    )
    return sums.select(*by, mean=quotient(sums.total, sums["values"]), median=quotient(sums.middle, sums.middles))


def _publish(rows: ir.Table, as_of: date) -> ir.Table:
    is_summary = rows.aggregation != "pooled"
    money = {"paid_gbp": rows.paid, "planned_gbp": rows.paid_planned, "invested_gbp": rows.invested, "returned_gbp": rows.returned}
    figures = {"users_count": rows.users, "outcomes_quantity": rows.outcomes, "paid_gbp": rows.paid}
    return rows.select(
        "fund_id",
        "level",
        "policy_sector",
        "project_id",
        "aggregation",
        "plan_version",
        "projects_count",
        *[f"{name}_status" for name in (*_SHARES.values(), *_COSTS.values())],
        as_of=ibis.literal(as_of),
        scenario=scenario_at(rows["rank"]).fill_null(SCENARIOS[0]),
        users_count=rows.users,
        users_planned_count=rows.users_planned,
        outcomes_quantity=rows.outcomes,
        outcomes_planned_quantity=rows.outcomes_planned,
        **{name: pounds(amount) for name, amount in money.items()},
        **{name: with_decimals(rows[name], decimals) for name, decimals in _DECIMALS.items()},
        **{f"{name}_status": status(figure, is_summary) for name, figure in figures.items()},
        returns_expected_count=rows.expected.fill_null(0),
        returns_missing_count=rows.missing.fill_null(0),
        **{f"outcomes_quantity{PEOPLE}": rows.outcomes_people, f"paid_gbp{PEOPLE}": rows.paid_people},
    )
