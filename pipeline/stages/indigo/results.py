"""Results: one figure per project and metric, cumulative over a period, as outcomes of the quarter in which the period ends."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from pipeline.stages.indigo.accounting import Judgement
from pipeline.stages.indigo.cells import read_count
from pipeline.stages.indigo.metrics import Metric, read_metric_id, registered_id
from pipeline.stages.indigo.payments import Period, Reported, check_service, read_period
from pipeline.stages.indigo.projects import Project
from pipeline.stages.indigo.scope import Row, shape

MOST = 1_000_000
"""Most units that one row of a return may hold: schemas/submission/outcomes.json."""


def read_results(results: Sequence[Judgement], projects: Mapping[str, Project], metrics: Mapping[tuple[str, str], Metric]) -> list[Reported]:
    """Return the results that can be used as rows of returns; a result of zero is taken and yields none."""
    read: dict[tuple[str, str], list[tuple[Judgement, Period, int]]] = defaultdict(list)
    for judgement in results:
        metric_id = read_metric_id(judgement)
        key = (judgement.project_id, metric_id)
        if not metric_id:
            judgement.find("I-583", "metric_id")
        elif key not in metrics:
            judgement.find("I-584", "metric_id")
        period = read_period(judgement)
        quantity = _read_quantity(judgement)
        if period is not None and quantity is not None:
            check_service(judgement, period, projects[judgement.project_id])
            read[key].append((judgement, period, quantity))
    reported: list[Reported] = []
    for key, of_metric in sorted(read.items()):
        usable = [entry for entry in of_metric if entry[0].is_usable]
        _query_overlaps(usable)
        reported += [_report(registered_id(*key), *entry) for entry in usable if entry[0].is_usable and entry[2] > 0]
    return reported


def _read_quantity(judgement: Judgement) -> int | None:
    quantity = read_count(judgement["achieved"])
    if quantity is None:
        judgement.find("I-585", "achieved")
        return None
    if judgement["achieved"] != str(quantity):
        judgement.find("I-510", "achieved")
    if quantity > MOST:
        judgement.find("I-586", "achieved", limit=str(MOST))
    judgement.find("I-587" if quantity == 0 else "I-588", "achieved")
    return quantity


def _query_overlaps(usable: Sequence[tuple[Judgement, Period, int]]) -> None:
    """Hold back results of one metric whose periods overlap: they are cumulative, and adding them up would count the same outcomes twice."""
    for number, (judgement, period, _) in enumerate(usable):
        others = [other for place, (_, other, _) in enumerate(usable) if place != number]
        if any(period == other or period.overlaps(other) for other in others):
            judgement.find("I-589", "end")


def _report(metric_id: str, judgement: Judgement, period: Period, quantity: int) -> Reported:
    values: Row = {
        "outcome_ref": f"res-{judgement.row.number}",
        "metric_id": metric_id,
        "achieved_on": period.end,
        "quantity": quantity,
        "status": "verified",
        "evidence_type": "not_known",
    }
    row = shape(judgement.definitions, "submission", "outcomes", values)
    return Reported(number=judgement.row.number, project_id=judgement.project_id, day=period.end, row=row)
