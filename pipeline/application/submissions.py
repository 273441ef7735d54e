"""The verbs of one return: receive, validate, accept or reject, withdraw."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.application.register import fund_record
from pipeline.application.services import Services, decide, read_ledger, seal, seal_file, unseal, unseal_path
from pipeline.domain import submission
from pipeline.domain.events import DomainEvent, FactFile, Recorded
from pipeline.domain.findings import Finding, is_blocking
from pipeline.domain.ledger import FACT_TABLES
from pipeline.domain.submission import Revision, RevisionKey, Submission, SubmissionKey
from pipeline.errors import NotAllowedError, RuleError, UnavailableError
from pipeline.ports import ReadReturn
from pipeline.stages import acceptance, contract, frames, intake, validation

TYPED_TABLES: tuple[str, ...] = ("participants", "outcomes", "payments")


@dataclass(frozen=True, kw_only=True)
class Received:
    """The revision that a delivery is, and whether it came in just now or was there already."""

    key: RevisionKey
    content: str
    is_new: bool
    received_at: datetime


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A revision and the report on it."""

    key: RevisionKey
    report: validation.Report


def receive(services: Services, delivery: Path, key: SubmissionKey | None = None, name: PurePath | None = None) -> Received:
    """Seal a delivery's bytes and give them a revision number; the same bytes again keep theirs.

    Which submission it is comes from `key`, or else from its place and file name (`name`, or the path itself); a delivery that says neither is
    kept as `unidentified`.
    """
    content, size_bytes = seal_file(services.restricted, delivery)
    key = key or intake.identify(name or delivery, content)
    state, appended = decide(
        services,
        key.stream,
        lambda events: submission.fold(key, events),
        lambda state: submission.decide_receive(state, content, size_bytes),
    )
    revision = state.with_content(content)
    if revision is None:
        raise RuleError(f"Submission {key} did not keep a delivery that it received.")
    return Received(key=RevisionKey(key, revision.number), content=content, is_new=bool(appended), received_at=revision.received_at)


def validate(services: Services, key: RevisionKey) -> Judged:
    """Judge a revision: file and structure first, then content and contract; seal the report.

    An accepted or withdrawn revision keeps its report. A rejected one is judged again, by what has been accepted since.
    """
    state = _load(services, key.submission)
    revision = state.revision(key.revision)
    if revision.state in ("accepted", "withdrawn"):
        return Judged(key=key, report=read_report(services, revision))
    report = _judge(services, key, revision)
    sealed = seal(services.restricted, report.to_bytes())
    decide(
        services,
        key.submission.stream,
        lambda events: submission.fold(key.submission, events),
        lambda state: submission.decide_validate(
            state,
            key.revision,
            passed=report.passed,
            report=sealed,
            findings=report.counts,
            rules=services.definitions.digests["rules"],
        ),
    )
    return Judged(key=key, report=report)


def accept(services: Services, key: RevisionKey) -> Submission:
    """Turn the rows of a revision that passed into facts. Identifiers become pseudonyms before anything is stored.

    Raises: NotAllowedError when the revision was not validated, did not pass, or was rejected or withdrawn; UnavailableError when the delivery cannot
    be read now, although it could be when it was validated.
    """
    state = _load(services, key.submission)
    revision = state.revision(key.revision)
    if revision.state == "accepted":
        return state
    if revision.state in ("rejected", "withdrawn"):
        raise NotAllowedError(f"Revision {key} is {revision.state} and cannot be accepted.")
    if revision.state != "validated" or not revision.passed:
        raise NotAllowedError(f"Revision {key} has not passed validation and cannot be accepted. `outcomes submission report {key}` says why.")
    read = services.reader.read(unseal_path(services.restricted, revision.content))
    if is_blocking(read.findings):
        rules = ", ".join(sorted({finding.rule for finding in read.findings}))
        raise UnavailableError(f"Revision {key} was read when it was validated, and cannot be read now ({rules}). Nothing was accepted; try again.")
    typed = _typed(services, read)
    facts = acceptance.to_facts(key.submission, services.definitions, typed, _pseudonyms(services, key.submission))
    rows = acceptance.count_rows(read.tables, facts)
    filled = {name: table for name, table in facts.items() if table.num_rows}
    files = list(frames.at_once(lambda name: _seal_facts(services, name, filled[name]), filled).values())

    def decision(state: Submission) -> Sequence[DomainEvent]:
        before = state.in_force
        replaces = before if before is not None and before.number < key.revision else None
        changes = acceptance.compare(read_facts(services, replaces.facts if replaces else ()), facts)
        return submission.decide_accept(state, key.revision, facts=files, rows=rows, replaces=replaces.number if replaces else None, changes=changes)

    state, _ = decide(services, key.submission.stream, lambda events: submission.fold(key.submission, events), decision)
    return state


def reject(services: Services, key: RevisionKey) -> Submission:
    """Refuse a revision with its report; none of its rows become facts."""
    return _decide_simple(services, key, lambda state: submission.decide_reject(state, key.revision))


def withdraw(services: Services, key: RevisionKey, reason: str) -> Submission:
    """Take an accepted revision back; the accepted revision before it is in force again."""
    return _decide_simple(services, key, lambda state: submission.decide_withdraw(state, key.revision, reason))


def conclude(services: Services, key: RevisionKey) -> Submission:
    """Accept a validated revision when it passed, reject it when it did not; what was decided already, by a person perhaps, stays."""
    state = _load(services, key.submission)
    revision = state.revision(key.revision)
    if revision.state not in ("received", "validated"):
        return state
    return reject(services, key) if revision.passed is False else accept(services, key)


def submit(services: Services, delivery: Path, key: SubmissionKey | None = None, name: PurePath | None = None) -> tuple[Received, Judged]:
    """Receive, validate and conclude one delivery in a row."""
    received = receive(services, delivery, key, name)
    judged = validate(services, received.key)
    conclude(services, received.key)
    return received, judged


def read_report(services: Services, revision: Revision) -> validation.Report:
    """Return the sealed report on a revision. Raises: NotAllowedError when it was not judged yet."""
    if revision.report is None:
        raise NotAllowedError(f"Revision {revision.number} has not been validated yet. `outcomes submission validate` does that.")
    return validation.Report.from_bytes(unseal(services.restricted, revision.report))


def read_facts(services: Services, files: Sequence[FactFile]) -> Mapping[str, pa.Table]:
    """Return facts by table from their sealed files; every fact table is there, empty when it has no file."""
    found: dict[str, list[pa.Table]] = {name: [] for name in FACT_TABLES}
    for file in files:
        path = unseal_path(services.restricted, file.sha256)
        found[file.table].append(pq.read_table(path, page_checksum_verification=True))
    schemas = {name: frames.arrow_schema(services.definitions.table("facts", name)) for name in FACT_TABLES}
    return {name: pa.concat_tables([schemas[name].empty_table(), *tables]) for name, tables in found.items()}


def _load(services: Services, key: SubmissionKey) -> Submission:
    return submission.fold(key, services.log.read_stream(key.stream))


def _decide_simple(services: Services, key: RevisionKey, decision: Callable[[Submission], Sequence[DomainEvent]]) -> Submission:
    def fold(events: Sequence[Recorded]) -> Submission:
        return submission.fold(key.submission, events)

    state, _ = decide(services, key.submission.stream, fold, decision)
    return state


def _judge(services: Services, key: RevisionKey, revision: Revision) -> validation.Report:
    context = _contract_context(services, key.submission, revision)
    read = services.reader.read(unseal_path(services.restricted, revision.content))
    findings: list[Finding] = [*read.findings, *contract.check_delivery(context, services.definitions, read.tables)]
    if not is_blocking(findings):
        findings += services.structure.check(read.tables)
    if not is_blocking(findings):
        typed = _typed(services, read)
        for name in TYPED_TABLES:
            if typed[name].num_rows:
                findings += services.content.check(f"submission_{name}", typed[name], typed[name]["row"].to_pylist())
        findings += contract.check(context, services.definitions, typed, _pseudonyms(services, key.submission))
    return validation.make_report(
        key=key,
        content=revision.content,
        definitions=services.definitions,
        tables=read.tables,
        findings=findings,
    )


def _typed(services: Services, read: ReadReturn) -> Mapping[str, pa.Table]:
    def type_table(name: str) -> pa.Table:
        schema = services.definitions.table("submission", name)
        return acceptance.type_cells(schema, read.tables[name].cells) if name in read.tables else acceptance.no_rows(schema)

    return frames.at_once(type_table, TYPED_TABLES)


def _pseudonyms(services: Services, key: SubmissionKey) -> Callable[[str, pa.Array], pa.Array]:
    return lambda kind, references: services.pseudonymiser.pseudonyms(key.project_id, kind, references)


def _seal_facts(services: Services, name: str, table: pa.Table) -> FactFile:
    schema = services.definitions.table("facts", name)
    content = acceptance.write_facts(table, schema)
    return FactFile(table=name, sha256=seal(services.restricted, content), rows=table.num_rows, size_bytes=len(content), number=schema.version)


def _contract_context(services: Services, key: SubmissionKey, revision: Revision) -> contract.ContractContext:
    ledger = read_ledger(services)
    project = ledger.projects.get(key.project_id)
    fund_id = ledger.fund_of.get(key.project_id)
    in_force = ledger.in_force(fund_id or "")
    others = [found for other, found in in_force.items() if other.project_id == key.project_id and other.quarter != key.quarter]
    earlier = _read_judged(services, [file for other in others for file in other.facts])
    before = in_force.get(key)
    return contract.ContractContext(
        key=key,
        received_on=revision.received_at.date(),
        fund=dict(fund_record(services, ledger, fund_id)) if fund_id else None,
        project=_project_record(services, project) if project else None,
        known_participants=pc.unique(earlier["service_starts"]["participant"]),
        earlier_outcomes=earlier["outcomes"],
        earlier_payments=earlier["payments"],
        earlier_starts=earlier["service_starts"],
        replaced=_read_judged(services, before.facts if before is not None and before.number < revision.number else ()),
        accepted_as=[other for other, found in ledger.submissions.items() if other != key and _has_accepted(found, revision.content)],
        metrics_elsewhere=lambda: _metrics(services, [ledger.projects[other] for other in ledger.records(fund_id or "") if other != key.project_id]),
    )


def _has_accepted(other: Submission, content: str) -> bool:
    return other.in_force is not None and other.in_force.content == content


def _read_judged(services: Services, files: Sequence[FactFile]) -> Mapping[str, pa.Table]:
    """Return what the rules of the contract look at of sealed facts, by table."""
    found: dict[str, list[pa.Table]] = {name: [] for name in FACT_TABLES}
    for file in files:
        path, columns = unseal_path(services.restricted, file.sha256), list(contract.EARLIER_COLUMNS[file.table])
        found[file.table].append(pq.read_table(path, columns=columns, page_checksum_verification=True))
    schemas = {name: frames.arrow_schema(services.definitions.table("facts", name)) for name in FACT_TABLES}
    return {
        name: pa.concat_tables([schemas[name].empty_table().select(list(contract.EARLIER_COLUMNS[name])), *tables]) for name, tables in found.items()
    }


def _project_record(services: Services, record: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(unseal(services.restricted, record))
    return found


def _metrics(services: Services, records: Sequence[str]) -> frozenset[str]:
    return frozenset(metric["metric_id"] for record in records for metric in _project_record(services, record)["metrics"])
