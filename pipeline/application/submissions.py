"""The verbs of one return: receive, validate, accept or reject, withdraw."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePath
from typing import Any

import pyarrow.compute as pc

from pipeline.application import corrections
from pipeline.application.erasures import check_kept
from pipeline.application.facts import TYPED_TABLES, DeliveredFacts, make_facts, pseudonyms_of, read_facts, seal_facts, type_tables
from pipeline.application.register import fund_record
from pipeline.application.services import Services, decide, hash_delivery, read_ledger, seal, seal_file, unseal, unseal_path
from pipeline.domain import submission
from pipeline.domain.events import DomainEvent, Recorded
from pipeline.domain.findings import Finding, Severity, is_blocking
from pipeline.domain.ledger import Ledger
from pipeline.domain.submission import Revision, RevisionKey, Submission, SubmissionKey
from pipeline.errors import HeldError, NotAllowedError, RuleError
from pipeline.stages import contract, difference, intake, personal_data, validation
from pipeline.stages.intake import content_name


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
    Raises: ErasedError when these very bytes were destroyed because they hold somebody who was erased.
    """
    check_kept(services, hash_delivery(delivery), "A file with the same bytes")
    content, size_bytes = seal_file(services.restricted, delivery)
    key = key or intake.identify(name or delivery, content)
    state, appended = decide(
        services,
        key.stream,
        lambda events: submission.fold(key, events),
        lambda state: submission.decide_receive(state, content, size_bytes),
    )
    revision = state.with_content(content)
    if revision is not None and revision.is_erased:  # by somebody who erased a person while these bytes came in again
        services.restricted.destroy(content_name(content))
        check_kept(services, content, "A file with the same bytes")
    if revision is None:
        raise RuleError(f"Submission {key} did not keep a delivery that it received.")
    return Received(key=RevisionKey(key, revision.number), content=content, is_new=bool(appended), received_at=revision.received_at)


def validate(services: Services, key: RevisionKey) -> Judged:
    """Judge a revision: file and structure first, then content and contract; seal the report.

    An accepted or withdrawn revision keeps its report. A rejected one is judged again, by what has been accepted since. One that was quarantined
    is never read again.
    """
    state = load(services, key.submission)
    revision = state.revision(key.revision)
    if revision.state in ("accepted", "withdrawn") or revision.is_quarantined or revision.is_erased:
        return Judged(key=key, report=read_report(services, revision))
    report = judge(services, key, revision, read_ledger(services))
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
            queries=sorted({finding.rule for finding in report.findings if finding.severity is Severity.QUERY}),
            quarantined=any(services.definitions.rule(rule).quarantine for rule in report.counts),
        ),
    )
    return Judged(key=key, report=report)


def accept(services: Services, key: RevisionKey, reason: str | None = None) -> Submission:
    """Turn the rows of a revision that passed into facts. Identifiers become pseudonyms before anything is stored.

    Args: reason, why it corrects what is published, a code of `correction_reason`; without it the one on the cover.
    Raises: NotAllowedError when the revision was not validated, did not pass, or was rejected or withdrawn; HeldError when it alters a published
    quarter and nobody says why, or has a query that must be explained; UnavailableError when the delivery cannot be read now, although it could be
    when it was validated.
    """
    corrections.check_reason(services, reason)
    state = load(services, key.submission)
    revision = state.revision(key.revision)
    if revision.state == "accepted":
        return state
    if revision.state in ("rejected", "withdrawn"):
        raise NotAllowedError(f"Revision {key} is {revision.state} and cannot be accepted.")
    if revision.state != "validated" or not revision.passed:
        raise NotAllowedError(f"Revision {key} has not passed validation and cannot be accepted. `outcomes submission report {key}` says why.")
    _check_explained(services, key, revision)
    delivered = make_facts(services, key, revision)

    def decision(state: Submission) -> Sequence[DomainEvent]:
        return _decide_accept(services, state, key, delivered, reason or delivered.reason)

    return _decide_simple(services, key, decision)


def _check_explained(services: Services, key: RevisionKey, revision: Revision) -> None:
    """Raise HeldError while a query that must be explained is not."""
    asked = [rule for rule in revision.unanswered if services.definitions.rule(rule).must_explain]
    if asked:
        raise HeldError(
            f"Revision {key} has queries that must be explained first ({', '.join(asked)}): `outcomes submission answer {key} RULE --because ...`.",
            why="queries_unanswered",
        )


def _decide_accept(services: Services, state: Submission, key: RevisionKey, delivered: DeliveredFacts, reason: str | None) -> Sequence[DomainEvent]:
    """Compare with what is in force, seal, and decide. Nothing is sealed for a revision that has to wait: no event would name it."""
    if state.revision(key.revision).state == "accepted":
        return ()
    replaces = corrections.replaced_by(state, key.revision)
    rows = corrections.compare_with(services, replaces, delivered.facts)
    altered = corrections.find_altered(services, state, key.revision, delivered.facts, rows)
    if altered and reason is None:
        raise HeldError(
            f"Revision {key} alters a quarter that is published in {', '.join(altered)}. Say why: `outcomes submission accept {key} --reason CODE`.",
            why="reason_needed",
        )
    sealed = seal(services.restricted, difference.write(rows)) if replaces is not None else None
    return submission.decide_accept(
        state,
        key.revision,
        facts=seal_facts(services, delivered.facts),
        rows=delivered.rows,
        replaces=replaces.number if replaces else None,
        changes=difference.count(rows),
        difference=sealed,
        reason=reason if replaces is not None or altered else None,
    )


def reject(services: Services, key: RevisionKey) -> Submission:
    """Refuse a revision with its report; none of its rows become facts."""
    return _decide_simple(services, key, lambda state: submission.decide_reject(state, key.revision))


def withdraw(services: Services, key: RevisionKey, reason: str) -> Submission:
    """Take an accepted revision back; the accepted revision before it is in force again."""
    return _decide_simple(services, key, lambda state: submission.decide_withdraw(state, key.revision, reason))


def conclude(services: Services, key: RevisionKey, reason: str | None = None) -> Submission:
    """Accept a validated revision when it passed, reject it when it did not; what was decided already, by a person perhaps, stays.

    Args: reason, the coded reason of a correction, for one that needs it.
    One that needs a reason or an explanation which nobody has given yet is held: it waits for a person, and nothing fails.
    """
    state = load(services, key.submission)
    revision = state.revision(key.revision)
    if revision.state not in ("received", "validated"):
        return state
    if revision.passed is False:
        return reject(services, key)
    try:
        return accept(services, key, reason)
    except HeldError as error:
        why = error.why
        return _decide_simple(services, key, lambda state: submission.decide_hold(state, key.revision, why))


def submit(
    services: Services, delivery: Path, key: SubmissionKey | None = None, name: PurePath | None = None, reason: str | None = None
) -> tuple[Received, Judged]:
    """Receive, validate and conclude one delivery in a row."""
    corrections.check_reason(services, reason)
    received = receive(services, delivery, key, name)
    judged = validate(services, received.key)
    conclude(services, received.key, reason)
    return received, judged


def load(services: Services, key: SubmissionKey) -> Submission:
    """Return a submission as its stream has it; without revisions when nothing was delivered."""
    return submission.fold(key, services.log.read_stream(key.stream))


def judge(services: Services, key: RevisionKey, revision: Revision, known: Ledger) -> validation.Report:
    """Return the report on a revision, judged against what a ledger knows; nothing is recorded."""
    context = _contract_context(services, key.submission, revision, known)
    read = services.reader.read(unseal_path(services.restricted, revision.content), services.content.prepare)
    findings: list[Finding] = [*read.findings, *contract.check_delivery(context, services.definitions, read.tables)]
    findings += personal_data.check(services.definitions, read.tables)
    if not is_blocking(findings):
        findings += services.structure.check(read.tables)
    if not is_blocking(findings):
        typed = type_tables(services, read)
        for name in TYPED_TABLES:
            if typed[name].num_rows:
                findings += services.content.check(f"submission_{name}", typed[name], typed[name]["row"].to_pylist())
        findings += contract.check(context, services.definitions, typed, pseudonyms_of(services, key.submission))
    return validation.make_report(
        key=key,
        content=revision.content,
        definitions=services.definitions,
        tables=read.tables,
        findings=findings,
    )


def read_report(services: Services, revision: Revision) -> validation.Report:
    """Return the sealed report on a revision. Raises: NotAllowedError when it was not judged yet."""
    if revision.report is None:
        raise NotAllowedError(f"Revision {revision.number} has not been validated yet. `outcomes submission validate` does that.")
    if revision.is_erased:
        check_kept(services, revision.report, f"The report on revision {revision.number}")
    return validation.Report.from_bytes(unseal(services.restricted, revision.report))


def _decide_simple(services: Services, key: RevisionKey, decision: Callable[[Submission], Sequence[DomainEvent]]) -> Submission:
    def fold(events: Sequence[Recorded]) -> Submission:
        return submission.fold(key.submission, events)

    state, _ = decide(services, key.submission.stream, fold, decision)
    return state


def _contract_context(services: Services, key: SubmissionKey, revision: Revision, ledger: Ledger) -> contract.ContractContext:
    project = ledger.projects.get(key.project_id)
    fund_id = ledger.fund_of.get(key.project_id)
    in_force = ledger.in_force(fund_id or "")
    others = [found for other, found in in_force.items() if other.project_id == key.project_id and other.quarter != key.quarter]
    earlier = read_facts(services, [file for other in others for file in other.facts], contract.EARLIER_COLUMNS)
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
        replaced=read_facts(services, before.facts if before is not None and before.number < revision.number else (), contract.EARLIER_COLUMNS),
        accepted_as=[other for other, found in ledger.submissions.items() if other != key and _has_accepted(found, revision.content)],
        metrics_elsewhere=lambda: _metrics(services, [ledger.projects[other] for other in ledger.records(fund_id or "") if other != key.project_id]),
    )


def _has_accepted(other: Submission, content: str) -> bool:
    return other.in_force is not None and other.in_force.content == content


def _project_record(services: Services, record: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(unseal(services.restricted, record))
    return found


def _metrics(services: Services, records: Sequence[str]) -> frozenset[str]:
    return frozenset(metric["metric_id"] for record in records for metric in _project_record(services, record)["metrics"])
