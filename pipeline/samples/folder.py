"""Puts a synthetic fund into a folder: its register, the deliveries of all projects, some corrections of them, and one broken return."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.domain.quarters import Quarter
from pipeline.domain.tables import Definitions
from pipeline.ports import Progress
from pipeline.samples.facts import ProjectFacts, decide_claims, draw_facts
from pipeline.samples.fund import SampleFund, SampleProject, draw_fund
from pipeline.samples.register import Achieved, register_rows, write_register
from pipeline.samples.returns import forget, make_return
from pipeline.stages.return_files import Cells, write_workbook, write_zip

WORKBOOK_ROWS = 5_000
"""Bigger returns are zipped CSV: no person fills in a workbook of that size, and openpyxl takes minutes."""
BROKEN_ROWS = 200
"""The broken return is short, so that a person can find what is wrong with it."""

Tables = Mapping[str, pa.Table]


@dataclass(frozen=True, kw_only=True)
class SampleSummary:
    """What stands in the folder. Participants are distinct people, returned or not; outcomes and payments are rows of the deliveries."""

    fund_id: str
    register: Path
    deliveries: Sequence[Path] = field(default_factory=list)
    corrections: Sequence[Path] = field(default_factory=list)
    broken: Sequence[Path] = field(default_factory=list)
    participants: int = 0
    outcomes: int = 0
    payments: int = 0
    nil_returns: int = 0

    def describe(self) -> Sequence[str]:
        """Return the summary in words, line by line."""
        return (
            f"{len(self.deliveries):,} returns of fund {self.fund_id}, {self.nil_returns:,} of them nil: {self.participants:,} participants, "
            f"{self.outcomes:,} outcomes, {self.payments:,} payments.",
            f"Beside them, for trying: {len(self.corrections)} corrections of returns, {len(self.broken)} return that is broken.",
        )


def _show_nothing(title: str, total: int) -> AbstractContextManager[Callable[[int], None]]:  # noqa: ARG001 - the names are the port's
    return nullcontext(lambda _: None)


def write_sample(
    folder: Path,
    *,
    projects: int,
    quarters: int,
    participants: int = 0,
    seed: int,
    first_quarter: Quarter,
    definitions: Definitions,
    progress: Progress = _show_nothing,
) -> SampleSummary:
    """Write a synthetic fund: `register/`, and `deliveries/`, `corrections/` and `broken/`, each with PROJECT/QUARTER/PROJECT_QUARTER.xlsx or .zip.

    The same arguments give the same bytes. One project has not returned its last quarter. The corrections are second deliveries of last quarters;
    they and the broken return have names of their own, so that all folders can be copied into one inbox.

    Args: participants, the people of all projects together, 0 for about 40 a project and quarter.
    Raises: UsageError when there is to be no project or no quarter, or a number is below 0.
    """
    fund = draw_fund(projects=projects, quarters=quarters, participants=participants or None, seed=seed, first_quarter=first_quarter)
    summary = SampleSummary(fund_id=fund.fund_id, register=folder / "register")
    achieved: dict[str, Achieved] = {}
    with progress("Writing returns", projects * quarters) as advance:
        for project in fund.projects:
            facts = draw_facts(fund, project)
            summary, paid_gbp = _write_project(folder, facts, summary, definitions)
            achieved[project.project_id] = Achieved(units=facts.units(), paid_gbp=paid_gbp)
            advance(quarters)
    write_register(folder / "register", register_rows(fund, achieved), definitions)
    return summary


def _write_project(folder: Path, facts: ProjectFacts, summary: SampleSummary, definitions: Definitions) -> tuple[SampleSummary, Decimal]:
    """Write one project's files; return the summary with them, and the pounds paid once everything has been corrected."""
    fund, project = facts.fund, facts.project
    last = len(fund.quarters) - 1
    forgotten = forget(facts, last) if _is_corrected(fund, project) else None
    settled = decide_claims(facts)
    paid_gbp = Decimal(0)
    for quarter in range(project.first, last + 1):
        final = make_return(settled, quarter)
        first = make_return(facts, quarter, forgotten) if quarter == last else final
        paid_gbp += pc.sum(final["payments"]["amount_gbp"], min_count=0).as_py()
        if quarter == last and _is_missing(fund, project):
            continue
        path = _write_return(folder / "deliveries", facts, quarter, first, definitions)
        summary = _counted(summary, path, first)
        if quarter == last and forgotten is not None:
            corrected = make_return(settled, quarter, correction_reason="left_out")
            path = _write_return(folder / "corrections", facts, quarter, corrected, definitions, "_corrected")
            summary = replace(summary, corrections=[*summary.corrections, path])
        if quarter == last and _is_broken(fund, project):
            path = _place(folder / "broken", facts, quarter, "_draft.xlsx")
            path.write_bytes(write_workbook(_break(first, fund.quarters[quarter]), project.project_id, str(fund.quarters[quarter]), definitions))
            summary = replace(summary, broken=[*summary.broken, path])
    people = 0 if project.return_kind == "counts" else len(facts.people.started)
    return replace(summary, participants=summary.participants + people), paid_gbp


def _is_corrected(fund: SampleFund, project: SampleProject) -> bool:
    """Say whether the last quarter comes a second time: for the first two projects in which somebody started then."""
    able = [other.number for other in fund.projects if other.return_kind == "participants" and other.starts[-1] > 0 and not _is_missing(fund, other)]
    return project.number in able[:2]


def _is_missing(fund: SampleFund, project: SampleProject) -> bool:
    """Say whether the project has not returned the last quarter."""
    return project.number == 5 and len(fund.quarters) >= 3


def _is_broken(fund: SampleFund, project: SampleProject) -> bool:
    """Say whether there is a broken return of the project's last quarter: for one project, whose true return stands among the deliveries."""
    return project.number == min(3, len(fund.projects))


def _counted(summary: SampleSummary, path: Path, tables: Tables) -> SampleSummary:
    return replace(
        summary,
        deliveries=[*summary.deliveries, path],
        outcomes=summary.outcomes + tables["outcomes"].num_rows,
        payments=summary.payments + tables["payments"].num_rows,
        nil_returns=summary.nil_returns + (tables["cover"]["is_nil_return"][0].as_py() == "yes"),
    )


def _write_return(folder: Path, facts: ProjectFacts, quarter: int, tables: Tables, definitions: Definitions, addition: str = "") -> Path:
    """Write a return in the form that the project uses: every fourth sends CSV files, and so does everybody who has very many rows."""
    is_zip = facts.project.number % 4 == 2 or sum(table.num_rows for table in tables.values()) > WORKBOOK_ROWS
    path = _place(folder, facts, quarter, f"{addition}.{'zip' if is_zip else 'xlsx'}")
    write = write_zip if is_zip else write_workbook
    path.write_bytes(write(tables, facts.project.project_id, str(facts.fund.quarters[quarter]), definitions))
    return path


def _place(folder: Path, facts: ProjectFacts, quarter: int, ending: str) -> Path:
    project_id, period = facts.project.project_id, str(facts.fund.quarters[quarter])
    path = folder / project_id / period / f"{project_id}_{period}{ending}"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _break(tables: Tables, quarter: Quarter) -> Mapping[str, Cells]:
    """Return a return with what goes wrong most often: an unknown metric, a reference twice, a day that does not exist, a payment of nobody."""
    rows = {name: tables[name].slice(0, BROKEN_ROWS).to_pylist() for name in tables}
    for outcome in rows["outcomes"][:1]:
        rows["outcomes"].append(dict(outcome))
        outcome["metric_id"] = "M-OLD"
    for participant in rows["participants"][:1]:
        participant["started_on"] = "31/02/2022"
    nobodys = {"payment_ref": "P-NEW", "basis": "activity", "period_start": quarter.start, "period_end": quarter.end, "amount_gbp": Decimal(250)}
    rows["payments"].append(nobodys)
    return rows
