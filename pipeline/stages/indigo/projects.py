"""The fund and its projects: who belongs to it, what they are called, when their service runs, and how much may be paid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from pipeline.stages.indigo.accounting import Judgement, Judgements
from pipeline.stages.indigo.cells import Day, code_of, is_well_formed, read_day, read_id, read_money, read_words
from pipeline.stages.indigo.export import IndigoExport
from pipeline.stages.indigo.scope import Organisations, Row, shape

RETURN_DUE_DAYS = 90
"""Days after a quarter by which a return is due. The export has none; the fund's own register can change it."""

STARTS: Sequence[tuple[str, str]] = (("service_start", ""), ("contract_signed", "I-525"))
ENDS: Sequence[tuple[str, str]] = (
    ("service_end_actual", ""),
    ("service_end_anticipated", ""),
    ("completion_actual", "I-526"),
    ("completion_anticipated", "I-526"),
)
"""Columns in the order in which they are asked, each with the rule to put on record when it is the one that answers."""


@dataclass(frozen=True, kw_only=True)
class Project:
    """One project that can be registered, and the judgement of its row."""

    project_id: str
    name: str
    policy_sector: str
    stage: str | None
    starts_on: date
    ends_on: date
    contract_cap_gbp: Decimal | None
    judgement: Judgement

    @property
    def invested_gbp(self) -> Decimal | None:
        """What the project as a whole says was committed to it: the exact amount, else the least."""
        for column in ("invested_exact", "invested_min"):
            if (money := read_money(self.judgement[column])).amount is not None:
                return money.pence if _is_sterling(self.judgement, "invested_currency") else None
        return None


def read_fund(
    export: IndigoExport, fund_id: str, organisations: Organisations, judgements: Judgements, publisher: str | None, licence: str
) -> tuple[Row | None, str]:
    """Return the fund's register row (None when the export has no such fund) and the id of the organisation that hosts the fund."""
    rows = [row for row in export.rows("funds") if read_id(row["fund_id"]).text == fund_id]
    opened = [judgements.open("funds", "funds", row, "") for row in rows]
    for judgement in opened:
        _note_id(judgement, "fund_id", read_id(judgement["fund_id"]).is_changed)
        _read_name(judgement)
        if len(rows) > 1:
            judgement.find("I-521", "fund_id")
        judgement.find("I-506", name="publisher", value="named when importing" if publisher else "the fund's host institution")
        judgement.find("I-506", name="return_due_days", value=str(RETURN_DUE_DAYS))
        judgement.find("I-506", name="licence", value=licence)
    if len(opened) != 1 or not opened[0].is_usable:
        return None, ""
    name, host = read_words(opened[0]["name"]).text, read_id(opened[0]["host"]).text
    fund: Row = {
        "fund_id": fund_id,
        "name": name,
        "publisher": publisher or organisations.name(host) or name,
        "return_due_days": RETURN_DUE_DAYS,
        "licence": licence,
    }
    return shape(judgements.definitions, "register", "funds", fund), host


def read_memberships(export: IndigoExport, fund_id: str, judgements: Judgements) -> Mapping[str, Judgement]:
    """Return the fund's projects by id, each with its first row of membership."""
    members: dict[str, Judgement] = {}
    for row in export.rows("projects_outcome_funds"):
        found, project_id = read_id(row["fund_id"]), read_id(row["project_id"])
        if found.text != fund_id:
            continue
        judgement = judgements.open("memberships", "projects_outcome_funds", row, project_id.text)
        _note_id(judgement, "fund_id", found.is_changed)
        _note_id(judgement, "project_id", project_id.is_changed)
        if project_id.text in members:
            judgement.find("I-513", "project_id")
        else:
            members[project_id.text] = judgement
    return members


def read_projects(export: IndigoExport, members: Mapping[str, Judgement], judgements: Judgements) -> Mapping[str, Project]:
    """Return the projects that can be registered, by id in order. Their memberships are refused when they cannot."""
    rows = [row for row in export.rows("projects") if read_id(row["project_id"]).text in members]
    times = Counter(read_id(row["project_id"]).text for row in rows)
    projects: dict[str, Project] = {}
    for row in rows:
        project_id = read_id(row["project_id"])
        judgement = judgements.open("projects", "projects", row, project_id.text)
        _note_id(judgement, "project_id", project_id.is_changed)
        if not members[project_id.text].is_usable:
            judgement.find("I-512", "project_id")
        if times[project_id.text] > 1:
            judgement.find("I-521", "project_id")
        if not is_well_formed(project_id.text):
            judgement.find("I-520", "project_id")
        project = _read_project(judgement)
        if project is not None:
            projects[project_id.text] = project
    for member, membership in members.items():
        if member not in projects:
            membership.find("I-512" if times[member] else "I-522", "project_id")
    return dict(sorted(projects.items()))


def _read_project(judgement: Judgement) -> Project | None:
    definitions = judgement.definitions
    name = _read_name(judgement)
    starts, ends = _first_day(judgement, STARTS), _first_day(judgement, ENDS, is_end=True)
    if starts is None:
        judgement.find("I-523", "service_start")
    if ends is None:
        judgement.find("I-524", "service_end_anticipated")
    if starts and ends and ends.day < starts.day:
        judgement.find("I-527", "service_end_anticipated")
    sector = code_of(definitions.codelists["policy_sector"], judgement["policy_sector"])
    stage = code_of(definitions.codelists["stage"], judgement["stage"])
    if sector is None:
        judgement.find("I-528", "policy_sector")
    if stage is None:
        judgement.find("I-529", "stage")
    if starts is None or ends is None or not judgement.is_usable:
        return None
    return Project(
        project_id=judgement.project_id,
        name=name,
        policy_sector=sector or "other",
        stage=stage,
        starts_on=starts.day,
        ends_on=ends.day,
        contract_cap_gbp=_read_cap(judgement),
        judgement=judgement,
    )


def _read_name(judgement: Judgement) -> str:
    name = read_words(judgement["name"])
    if name.is_changed:
        judgement.find("I-508", "name")
    if not name.text:
        judgement.find("I-533", "name")
    return name.text


def _first_day(judgement: Judgement, columns: Sequence[tuple[str, str]], *, is_end: bool = False) -> Day | None:
    for column, rule in columns:
        day = read_day(judgement[column], is_end=is_end)
        if day is None:
            if judgement[column].strip():
                judgement.find("I-515", column)
            continue
        if rule:
            judgement.find(rule, column)
        if day.is_partial:
            judgement.find("I-509", column)
        return day
    return None


def _read_cap(judgement: Judgement) -> Decimal | None:
    money = read_money(judgement["cap"])
    if money.fault == "empty":
        return None
    if not money.is_sensible or money.precision == "finer" or not _is_sterling(judgement, "cap_currency"):
        judgement.find("I-530", "cap")
        return None
    if money.precision == "noise":
        judgement.find("I-545", "cap")
    return money.pence


def _is_sterling(judgement: Judgement, column: str) -> bool:
    return read_words(judgement[column]).text.upper() == "GBP"


def _note_id(judgement: Judgement, column: str, is_changed: bool) -> None:
    if is_changed:
        judgement.find("I-507", column)
