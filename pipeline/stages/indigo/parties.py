"""Who takes part: service providers, outcome payers alone and together, investors and what they committed."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal

from pipeline.domain.tables import Definitions
from pipeline.stages.indigo.accounting import Judgement, Judgements
from pipeline.stages.indigo.cells import is_well_formed, make_id, read_id, read_ids, read_money, read_words
from pipeline.stages.indigo.export import IndigoExport
from pipeline.stages.indigo.projects import Project
from pipeline.stages.indigo.scope import Organisations, Row, open_rows, shape

DIGEST_LENGTH = 16
REST_ID = "not-itemised"
"""Id of the investment that stands for what a project says was committed beyond its itemised investments."""


class Payers:
    """The payers of a fund: organisations that committed or paid, and the groups of them that one cell names without a split."""

    def __init__(self, host: str, organisations: Organisations, definitions: Definitions) -> None:
        self.committed: dict[str, list[str]] = defaultdict(list)
        self._host = host
        self._organisations = organisations
        self._definitions = definitions
        self._rows: dict[str, Row] = {}

    @property
    def rows(self) -> list[Row]:
        """The payers as rows of the register."""
        return list(self._rows.values())

    def knows(self, organisation_id: str) -> bool:
        """Say whether an organisation can be a payer: the export has it, with a name."""
        return is_well_formed(organisation_id) and self._organisations.name(organisation_id) is not None

    def register(self, organisation_id: str, judgement: Judgement, column: str) -> None:
        """Register one known organisation as a payer; note, at its first mention, that the export does not say of what kind it is."""
        if organisation_id in self._rows:
            return
        kind = "fund" if organisation_id == self._host else "local"
        if kind == "local":
            judgement.note("I-536", column)
        self._add(organisation_id, self._organisations.name(organisation_id) or organisation_id, kind)

    def book(self, organisation_ids: Sequence[str], judgement: Judgement, column: str) -> str:
        """Return the payer that stands for one or several known organisations, registered."""
        for organisation_id in organisation_ids:
            self.register(organisation_id, judgement, column)
        if len(organisation_ids) == 1:
            return organisation_ids[0]
        payer_id = joint_id(organisation_ids)
        if payer_id not in self._rows:
            self._add(payer_id, self._organisations.names(organisation_ids) or payer_id, "joint")
        return payer_id

    def _add(self, payer_id: str, name: str, kind: str) -> None:
        self._rows[payer_id] = shape(self._definitions, "register", "payers", {"payer_id": payer_id, "name": name, "kind": kind})


def joint_id(organisation_ids: Sequence[str]) -> str:
    """Return the id of several payers together: their ids joined by dots, or, when that is too long, their number and a hash of them."""
    joined = ".".join(sorted(organisation_ids))
    if is_well_formed(joined):
        return joined
    return f"joint.{len(organisation_ids)}.{hashlib.sha256(joined.encode()).hexdigest()[:DIGEST_LENGTH]}"


def read_commitments(export: IndigoExport, known: Mapping[str, bool], payers: Payers, judgements: Judgements) -> Mapping[str, Sequence[str]]:
    """Register every organisation that committed to pay; return them by project, in the order of the export."""
    for judgement in open_rows(export, "projects_outcome_payment_commitments", known, judgements):
        organisation_id = _organisation(judgement)
        if not payers.knows(organisation_id):
            judgement.find("I-534", "organisation_id")
            continue
        payers.register(organisation_id, judgement, "organisation_id")
        if organisation_id not in payers.committed[judgement.project_id]:
            payers.committed[judgement.project_id].append(organisation_id)
    return payers.committed


def read_providers(export: IndigoExport, known: Mapping[str, bool], organisations: Organisations, judgements: Judgements) -> Mapping[str, list[str]]:
    """Return the organisations that provide each project's service, in the order of the export."""
    providers: dict[str, list[str]] = defaultdict(list)
    for judgement in open_rows(export, "projects_service_provisions", known, judgements):
        organisation_id = _organisation(judgement)
        if organisations.name(organisation_id) is None:
            judgement.find("I-534", "organisation_id")
        else:
            providers[judgement.project_id].append(organisation_id)
    return providers


def read_investments(
    export: IndigoExport, projects: Mapping[str, Project], known: Mapping[str, bool], organisations: Organisations, judgements: Judgements
) -> tuple[list[Row], Mapping[str, list[str]]]:
    """Return the investments as register rows, and the investors of each project in the order of the export."""
    usable = [(judgement, make_id(judgement["investment_id"])) for judgement in open_rows(export, "projects_investments", known, judgements)]
    times = Counter((judgement.project_id, investment_id.text) for judgement, investment_id in usable)
    rows: list[Row] = []
    investors: dict[str, list[str]] = defaultdict(list)
    for judgement, investment_id in usable:
        organisation_id = _organisation(judgement)
        name = organisations.name(organisation_id)
        if investment_id.is_changed:
            judgement.find("I-507", "investment_id")
        if not investment_id.text:
            judgement.find("I-538", "investment_id")
        elif times[judgement.project_id, investment_id.text] > 1:
            judgement.find("I-539", "investment_id")
        if name is None:
            judgement.find("I-534", "organisation_id")
        committed = _read_committed(judgement, projects[judgement.project_id])
        if judgement.is_usable:
            investors[judgement.project_id].append(organisation_id)
            rows.append(_investment(judgements.definitions, judgement.project_id, investment_id.text, name, committed))
    rows += _rest(projects, rows, judgements.definitions)
    return rows, investors


def _read_committed(judgement: Judgement, project: Project) -> Decimal | None:
    """Return the exact amount, else the least; put on record which, and whether the currency had to be taken from the project."""
    column = "exact" if judgement["exact"].strip() else "min"
    money = read_money(judgement[column])
    if money.fault == "empty":
        judgement.find("I-540", "exact")
        return None
    if not money.is_sensible:
        judgement.find("I-541", column)
        return None
    if column == "min":
        judgement.find("I-542", "min")
    currency = read_words(judgement["currency"]).text.upper()
    if not currency and project.invested_gbp is not None:
        judgement.find("I-543", "currency")
    elif currency != "GBP":
        judgement.find("I-544", "currency")
    if money.precision != "pence":
        judgement.find("I-545" if money.precision == "noise" else "I-546", column)
    return money.pence


def _rest(projects: Mapping[str, Project], rows: Sequence[Row], definitions: Definitions) -> list[Row]:
    """Return, for each project that says more was committed to it than its investments add up to, one row without investor for the rest."""
    itemised: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        if isinstance(committed := row["committed_gbp"], Decimal):
            itemised[str(row["project_id"])] += committed
    rest: list[Row] = []
    for project_id, project in projects.items():
        if project.invested_gbp is None:
            continue
        difference = project.invested_gbp - itemised[project_id]
        if difference > 0:
            column = "invested_exact" if project.judgement["invested_exact"].strip() else "invested_min"
            project.judgement.note("I-531", column)
            rest.append(_investment(definitions, project_id, REST_ID, None, difference))
        elif difference < 0:
            project.judgement.note("I-532", "invested_exact")
    return rest


def _investment(definitions: Definitions, project_id: str, investment_id: str, investor: str | None, committed: Decimal | None) -> Row:
    values: Row = {"investment_id": investment_id, "project_id": project_id, "investor": investor, "committed_gbp": committed}
    return shape(definitions, "register", "investments", values)


def _organisation(judgement: Judgement) -> str:
    organisation_id = read_id(judgement["organisation_id"])
    if organisation_id.is_changed:
        judgement.find("I-507", "organisation_id")
    return organisation_id.text


def read_payer_ids(judgement: Judgement) -> tuple[str, ...]:
    """Return the organisations that a payment's payer cell names; note when an id was not written as it is used."""
    cell = judgement["payer"]
    ids = read_ids(cell)
    parts = [part.strip() for part in cell.replace(";", ",").split(",")]
    if sorted({part for part in parts if part}) != list(ids) or cell != cell.strip():
        judgement.find("I-507", "payer")
    return ids
