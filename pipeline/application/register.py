"""The verbs of the register: load it from files, and read its records back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.application import refusals
from pipeline.application.services import Services, read_ledger, seal, unseal
from pipeline.domain.events import DomainEvent, FundRegistered, ProjectRegistered, ProjectRevised
from pipeline.domain.findings import Finding, in_order, is_blocking
from pipeline.domain.ledger import Ledger
from pipeline.errors import NotAllowedError, NotFoundError
from pipeline.ports import Append
from pipeline.stages import registration

Record = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class RegisterLoad:
    """What a load of the register did. Nothing was loaded when a finding blocks."""

    fund_id: str
    registered: Sequence[str]
    revised: Sequence[str]
    unchanged: int
    findings: Sequence[Finding]
    is_loaded: bool


def load_register(services: Services, folder: Path) -> RegisterLoad:
    """Load a fund's register from a folder of CSV files; entries that did not change append nothing.

    Raises: ConflictError (StaleStreamError) when somebody else loaded at the same time.
    """
    tables, findings = services.read_register(folder)
    if is_blocking(findings):
        return RegisterLoad(fund_id="", registered=(), revised=(), unchanged=0, findings=in_order(findings), is_loaded=False)
    return load_tables(services, tables, findings)


def load_tables(services: Services, tables: Mapping[str, pa.Table], found: Sequence[Finding] = ()) -> RegisterLoad:
    """Load a fund's register from typed tables.

    Raises: NotAllowedError when a project is another fund's; ConflictError (StaleStreamError) when somebody else loaded at the same time.
    """
    records, findings = registration.make_records(tables, services.definitions)
    ledger = read_ledger(services)
    findings = [*found, *findings]
    against: dict[str, Sequence[Finding]] = {}
    for project_id, record in records.projects.items():
        if project_id in ledger.projects:
            if ledger.fund_of[project_id] != records.fund_id:
                raise NotAllowedError(
                    f"Project {project_id} belongs to fund {ledger.fund_of[project_id]}; a project keeps its fund. Nothing was loaded."
                )
            before = json.loads(unseal(services.restricted, ledger.projects[project_id]))
            against[project_id] = registration.check_revision(before, record, services.definitions)
            findings += against[project_id]
    if is_blocking(findings):
        refusals.record(services, records.fund_id, against)
        return RegisterLoad(fund_id=records.fund_id, registered=(), revised=(), unchanged=0, findings=in_order(findings), is_loaded=False)
    appends, registered, revised = _changes(services, records, ledger)
    if refusals.standing(services, records.fund_id):
        refusals.confirm(appends, services, records.fund_id)
    if appends:
        services.log.append(appends, actor=services.actor, recorded_at=services.clock())
    unchanged = len(records.projects) - len(registered) - len(revised)
    return RegisterLoad(
        fund_id=records.fund_id, registered=registered, revised=revised, unchanged=unchanged, findings=in_order(findings), is_loaded=True
    )


def _changes(services: Services, records: registration.RegisterRecords, ledger: Ledger) -> tuple[list[Append], list[str], list[str]]:
    appends: list[Append] = []
    registered: list[str] = []
    revised: list[str] = []

    def add(stream: str, event: DomainEvent) -> None:
        # The version at the ledger's position, not at the end of the log: whoever loaded since then must make this append fail.
        version = sum(recorded.position <= ledger.position for recorded in services.log.read_stream(stream))
        appends.append(Append(stream, version, [event]))

    fund_record = seal(services.restricted, registration.record_bytes(records.fund))
    if ledger.funds.get(records.fund_id) != fund_record:
        add(f"fund/{records.fund_id}", FundRegistered(fund_id=records.fund_id, record=fund_record))
    for project_id, document in sorted(records.projects.items()):
        record = seal(services.restricted, registration.record_bytes(document))
        before = ledger.projects.get(project_id)
        if before is None:
            add(f"project/{project_id}", ProjectRegistered(fund_id=records.fund_id, project_id=project_id, record=record))
            registered.append(project_id)
        elif before != record:
            add(f"project/{project_id}", ProjectRevised(fund_id=records.fund_id, project_id=project_id, record=record, replaces=before))
            revised.append(project_id)
    return appends, registered, revised


def fund_record(services: Services, ledger: Ledger, fund_id: str) -> Record:
    """Return a fund's register record in force. Raises: NotFoundError when the fund is not registered."""
    if fund_id not in ledger.funds:
        raise NotFoundError(f"There is no fund {fund_id} in the register. `outcomes register load DIR` loads one.")
    document: Record = json.loads(unseal(services.restricted, ledger.funds[fund_id]))
    return document


def project_records(services: Services, ledger: Ledger, fund_id: str) -> Mapping[str, Record]:
    """Return the register record in force of each of a fund's projects, by project id."""
    return {project_id: json.loads(unseal(services.restricted, digest)) for project_id, digest in ledger.records(fund_id).items()}


def sole_fund(ledger: Ledger, fund_id: str | None) -> str:
    """Return the fund that is meant: the one named, or the only one there is.

    Raises: NotFoundError when there is no such fund, or none or several and none was named.
    """
    if fund_id is not None and fund_id in ledger.funds:
        return fund_id
    if fund_id is None and len(ledger.funds) == 1:
        return next(iter(ledger.funds))
    known = ", ".join(sorted(ledger.funds)) or "none yet: `outcomes register load DIR` loads one"
    raise NotFoundError(f"Say which fund with --fund. Registered: {known}.")
