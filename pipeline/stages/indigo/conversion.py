"""The whole way from an export to register tables, returns, findings and the account of every row, in the order in which one needs the other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Context, Decimal, localcontext

from pipeline.domain.findings import Finding, in_order
from pipeline.domain.quarters import Quarter
from pipeline.domain.submission import SubmissionKey
from pipeline.domain.tables import Definitions
from pipeline.stages.indigo.accounting import NOTHING, Accounting, Judgement, Judgements, account
from pipeline.stages.indigo.export import IndigoExport
from pipeline.stages.indigo.metrics import read_metrics, read_prices
from pipeline.stages.indigo.parties import Payers, read_commitments, read_investments, read_providers
from pipeline.stages.indigo.payments import Reported, read_payments
from pipeline.stages.indigo.plans import SCENARIO, Plans
from pipeline.stages.indigo.projects import Project, read_fund, read_memberships, read_projects
from pipeline.stages.indigo.results import read_results
from pipeline.stages.indigo.scope import PAYMENTS, Organisations, Row, count_rows_in, open_rows, shape, sort_rows

EXACT = Context(prec=100)
"""Digits enough to add up amounts of any written precision without rounding."""

NOT_ASSERTED = "NOASSERTION"
"""What SPDX writes when nobody has said under which licence the data stand."""

UNSTATED: Sequence[tuple[str, str, str]] = (
    ("projects", "return_kind", "counts"),
    ("projects_outcome_metrics", "is_once_per_person", "false"),
    ("projects_outcome_payments", "scenario", SCENARIO),
    ("projects_results", "status", "verified"),
    ("projects_results", "evidence_type", "not_known"),
)
"""What our tables ask and no column of the export answers: file, our column, and the value that stands there after an import."""


@dataclass(frozen=True, kw_only=True)
class IndigoImport:
    """What an export becomes.

    `register` has the rows of each table of schemas/register/, `returns` the rows of each table of schemas/submission/ for every project and
    quarter with something to report; both are empty when a file of the export could not be used, or the fund is not in it.
    """

    register: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    returns: Mapping[SubmissionKey, Mapping[str, Sequence[Row]]] = field(default_factory=dict)
    findings: Sequence[Finding] = ()
    accounting: Accounting = field(default_factory=Accounting)


def convert(
    export: IndigoExport, fund_id: str, definitions: Definitions, *, publisher: str | None = None, licence: str = NOT_ASSERTED
) -> IndigoImport:
    """Turn one fund of an export into register tables and returns, with a finding for whatever is not used as it stands.

    Args: publisher and licence are those of the data that will be published; by default the fund's host institution and none asserted.
    Raises: RuleError when the import does not account for every row, or a rule, schema or code list of ours is missing.
    Source: docs of the INDIGO data standard 4.1 on outcome payments, plans and results; schemas/rules/indigo.json.
    """
    faults = [definitions.rule(fault.rule).found(fault.table, 0, fault.heading) for fault in export.faults]
    if faults:
        return IndigoImport(findings=in_order(faults))
    with localcontext(EXACT):
        return _convert(export, fund_id, definitions, publisher, licence)


def _convert(export: IndigoExport, fund_id: str, definitions: Definitions, publisher: str | None, licence: str) -> IndigoImport:
    judgements = Judgements(definitions)
    organisations = Organisations(export, judgements)
    fund, host = read_fund(export, fund_id, organisations, judgements, publisher, licence)
    members = read_memberships(export, fund_id, judgements)
    if fund is None or not members:
        judgements.find("I-504", "projects_outcome_funds", "fund_id", fund=fund_id)
        return IndigoImport(findings=in_order(judgements.findings()))
    for table, name, value in UNSTATED:
        judgements.find("I-506", table, name=name, value=value)
    projects = read_projects(export, members, judgements)
    known = {project_id: project_id in projects for project_id in members}

    payers = Payers(host, organisations, definitions)
    commissioners = read_commitments(export, known, payers, judgements)
    providers = read_providers(export, known, organisations, judgements)
    investments, investors = read_investments(export, projects, known, organisations, judgements)
    metrics = read_metrics(export, known, judgements)
    rate_card = read_prices(export, projects, known, metrics, payers, judgements)

    planned, actual = _open_payments(export, known, judgements)
    plans = Plans(definitions)
    plans.read(export, known, planned, judgements)
    plans.add_targets(metrics, projects)
    payments = read_payments(actual, projects, metrics, payers)
    outcomes = read_results(list(open_rows(export, "projects_results", known, judgements)), projects, metrics)

    last_days = _last_days([*payments, *outcomes])
    parts = {"service_providers": providers, "commissioners": commissioners, "investors": investors}
    rows: Mapping[str, list[Row]] = {
        "funds": [fund],
        "projects": [
            _project_row(project, fund_id, last_days.get(project.project_id), parts, organisations, definitions) for project in projects.values()
        ],
        "metrics": [metric.row for metric in metrics.values()],
        "rate_card": rate_card,
        "plans": plans.rows,
        "payers": payers.rows,
        "investments": investments,
    }
    paid = sum((amount for entry in payments if isinstance(amount := entry.row["amount_gbp"], Decimal)), NOTHING)
    return IndigoImport(
        register={name: sort_rows(definitions, "register", name, table) for name, table in rows.items()},
        returns=_returns(payments, outcomes, definitions),
        findings=in_order(judgements.findings()),
        accounting=account(judgements.outcomes(), count_rows_in(export, fund_id), {"planned payments": plans.booked, "actual payments": paid}),
    )


def _open_payments(export: IndigoExport, known: Mapping[str, bool], judgements: Judgements) -> tuple[list[Judgement], list[Judgement]]:
    """Return the planned and the actual payment rows that can be judged further; refuse those that say neither."""
    planned: list[Judgement] = []
    actual: list[Judgement] = []
    for judgement in open_rows(export, PAYMENTS, known, judgements):
        if judgement.kind == "payments of no known type":
            judgement.find("I-518", "type")
            continue
        if judgement["type"] not in {"Planned", "Actual"}:
            judgement.find("I-510", "type")
        (planned if judgement.kind == "planned payments" else actual).append(judgement)
    return planned, actual


def _last_days(reported: Sequence[Reported]) -> Mapping[str, date]:
    days: dict[str, date] = {}
    for entry in reported:
        days[entry.project_id] = max(entry.day, days.get(entry.project_id, entry.day))
    return days


def _project_row(
    project: Project,
    fund_id: str,
    last_day: date | None,
    parts: Mapping[str, Mapping[str, Sequence[str]]],
    organisations: Organisations,
    definitions: Definitions,
) -> Row:
    """Return a project's register row; claims may be made until the last claim that was taken, when that is after the service."""
    is_late = last_day is not None and last_day > project.ends_on
    if is_late:
        project.judgement.note("I-535", "service_end_anticipated")
    values: Row = {
        "project_id": project.project_id,
        "fund_id": fund_id,
        "name": project.name,
        "policy_sector": project.policy_sector,
        "stage": project.stage,
        "starts_on": project.starts_on,
        "ends_on": project.ends_on,
        "claims_until": last_day if is_late else None,
        "contract_cap_gbp": project.contract_cap_gbp,
        "return_kind": "counts",
    }
    for column, of_project in parts.items():
        values[column] = organisations.names(of_project.get(project.project_id, ()))
    return shape(definitions, "register", "projects", values)


def _returns(
    payments: Sequence[Reported], outcomes: Sequence[Reported], definitions: Definitions
) -> Mapping[SubmissionKey, Mapping[str, Sequence[Row]]]:
    """Return one return per project and quarter in which something ended, rows in the order of the export."""
    collected: dict[SubmissionKey, dict[str, list[Row]]] = defaultdict(lambda: {"cover": [], "participants": [], "outcomes": [], "payments": []})
    for table, reported in (("outcomes", outcomes), ("payments", payments)):
        for entry in sorted(reported, key=lambda entry: entry.number):
            collected[SubmissionKey(entry.project_id, str(Quarter.of(entry.day)))][table].append(entry.row)
    for key, tables in collected.items():
        cover: Row = {"project_id": key.project_id, "quarter": key.quarter, "template_version": "1", "is_nil_return": "no"}
        tables["cover"].append(shape(definitions, "submission", "cover", cover))
    return {key: collected[key] for key in sorted(collected)}
