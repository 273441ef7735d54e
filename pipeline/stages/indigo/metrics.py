"""Outcome metrics, the prices of their units, and the targets that a plan is made of."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from pipeline.domain.tables import Definitions
from pipeline.stages.indigo.accounting import Judgement, Judgements
from pipeline.stages.indigo.cells import code_of, is_well_formed, read_count, read_id, read_money, read_own_id, read_words
from pipeline.stages.indigo.export import IndigoExport
from pipeline.stages.indigo.parties import Payers
from pipeline.stages.indigo.projects import Project
from pipeline.stages.indigo.scope import Row, open_rows, shape

NAME_LENGTH = 80
ELLIPSIS = "…"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric that is registered: its row, its target if it states one, and the judgement of its row."""

    row: Row
    target: int | None
    judgement: Judgement


def read_metrics(export: IndigoExport, known: Mapping[str, bool], judgements: Judgements) -> Mapping[tuple[str, str], Metric]:
    """Return the metrics that can be registered, by project and metric id."""
    units = units_in_results(export, known, judgements.definitions)
    usable = list(open_rows(export, "projects_outcome_metrics", known, judgements))
    times = Counter((judgement.project_id, read_own_id(judgement["metric_id"]).text) for judgement in usable)
    metrics: dict[tuple[str, str], Metric] = {}
    for judgement in usable:
        metric_id = read_metric_id(judgement)
        key = (judgement.project_id, metric_id)
        if not metric_id or not is_well_formed(registered_id(*key)):
            judgement.find("I-547", "metric_id")
        elif times[key] > 1:
            judgement.find("I-548", "metric_id")
        definition = read_words(judgement["definition"])
        if definition.is_changed:
            judgement.find("I-508", "definition")
        if not definition.text:
            judgement.find("I-549", "definition")
        if not judgement.is_usable:
            continue
        judgement.find("I-519", "metric_id")
        values: Row = {
            "metric_id": registered_id(*key),
            "project_id": judgement.project_id,
            "name": _short_name(judgement, definition.text),
            "definition": definition.text,
            "unit": _read_unit(judgement, units.get(key)),
            "is_once_per_person": False,
        }
        row = shape(judgements.definitions, "register", "metrics", values)
        metrics[key] = Metric(row=row, target=_read_target(judgement), judgement=judgement)
    return metrics


def registered_id(project_id: str, metric_id: str) -> str:
    """Return the id under which the register holds a metric: INDIGO's are unique inside a project only, ours for ever."""
    return f"{project_id}.{metric_id}"


def read_metric_id(judgement: Judgement) -> str:
    """Return the metric id of a row; note when it was not written as it is used."""
    metric_id = read_own_id(judgement["metric_id"])
    if metric_id.is_changed:
        judgement.find("I-507", "metric_id")
    return metric_id.text


def units_in_results(export: IndigoExport, known: Mapping[str, bool], definitions: Definitions) -> Mapping[tuple[str, str], str]:
    """Return the units that results name in so many words (`weeks`), by project and metric; none where two results differ."""
    named: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in export.rows("projects_results"):
        project_id = read_id(row["project_id"]).text
        unit = code_of(definitions.codelists["unit"], row["description"])
        if project_id in known and unit is not None:
            named[project_id, read_own_id(row["metric_id"]).text].add(unit)
    return {key: next(iter(units)) for key, units in named.items() if len(units) == 1}


def _short_name(judgement: Judgement, definition: str) -> str:
    if len(definition) <= NAME_LENGTH:
        return definition
    judgement.find("I-550", "definition", limit=str(NAME_LENGTH))
    head = definition[:NAME_LENGTH]
    return (head.rsplit(" ", 1)[0] if " " in head else head).rstrip(" ,;:.-") + ELLIPSIS


def _read_unit(judgement: Judgement, in_results: str | None) -> str:
    """Return the unit that the results name, else that of the metric; `other` when neither says."""
    codes = judgement.definitions.codelists["unit"]
    unit = code_of(codes, judgement["unit_type"])
    if unit is None or unit == "other":
        unit = code_of(codes, judgement["unit_description"]) or unit
    if in_results is not None and in_results != unit:
        judgement.find("I-552", "unit_type", unit=in_results)
        return in_results
    if unit is None:
        judgement.find("I-551", "unit_type")
    return unit or "other"


def _read_target(judgement: Judgement) -> int | None:
    """Return the target; the targeted number of service users stands for it where the target itself is empty."""
    column = "target"
    if not judgement["target"].strip():
        if not judgement["targeted_number"].strip():
            judgement.find("I-554", "target")
            return None
        column = "targeted_number"
    target = read_count(judgement[column])
    if target is None:
        judgement.find("I-555", column)
    elif column == "targeted_number":
        judgement.find("I-553", column)
    if target == 0:
        judgement.find("I-556", column)
    return target


def read_prices(
    export: IndigoExport,
    projects: Mapping[str, Project],
    known: Mapping[str, bool],
    metrics: Mapping[tuple[str, str], Metric],
    payers: Payers,
    judgements: Judgements,
) -> list[Row]:
    """Return the rate card: one price per metric, paid by all who committed together, from the first day of the service."""
    usable = list(open_rows(export, "projects_outcome_pricings", known, judgements))
    times = Counter((judgement.project_id, read_own_id(judgement["metric_id"]).text) for judgement in usable)
    rows: list[Row] = []
    for judgement in usable:
        key = (judgement.project_id, read_metric_id(judgement))
        if key not in metrics:
            judgement.find("I-557", "metric_id")
        elif times[key] > 1:
            judgement.find("I-558", "metric_id")
        price = _read_price(judgement)
        committed = sorted(payers.committed.get(judgement.project_id, ()))
        judgement.find("I-560" if committed else "I-561", "metric_id")
        if judgement.is_usable:
            values: Row = {
                "project_id": judgement.project_id,
                "metric_id": registered_id(*key),
                "payer_id": payers.book(committed, judgement, "metric_id"),
                "price_gbp": price,
                "valid_from": projects[judgement.project_id].starts_on,
            }
            rows.append(shape(judgements.definitions, "register", "rate_card", values))
    return rows


def _read_price(judgement: Judgement) -> Decimal:
    money = read_money(judgement["price"])
    if not money.is_sensible:
        judgement.find("I-559", "price")
    elif money.precision != "pence":
        judgement.find("I-545" if money.precision == "noise" else "I-546", "price")
    if read_words(judgement["currency"]).text.upper() != "GBP":
        judgement.find("I-544", "currency")
    return money.pence
