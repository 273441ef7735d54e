"""One project's return for one quarter: its revisions and what may happen to them.

The stream `submission/{project}/{quarter}` holds every revision (delivery) of the return. In force is the highest accepted revision that was not
withdrawn, whatever the order in which revisions were accepted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from pipeline.domain.erasure import SubmissionRedacted
from pipeline.domain.events import (
    DomainEvent,
    FactFile,
    Recorded,
    RowChanges,
    RowCounts,
    SubmissionAccepted,
    SubmissionExplained,
    SubmissionHeld,
    SubmissionReceived,
    SubmissionRejected,
    SubmissionState,
    SubmissionValidated,
    SubmissionWithdrawn,
)
from pipeline.errors import NotAllowedError, NotFoundError, RuleError, UsageError

UNIDENTIFIED = "unidentified"
_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
_PERIOD = re.compile(r"[0-9]{4}-Q[1-4]|[0-9a-f]{16}", re.ASCII)

TRANSITIONS: Mapping[SubmissionState, frozenset[SubmissionState]] = {
    "received": frozenset({"validated", "rejected"}),
    "validated": frozenset({"validated", "accepted", "rejected"}),
    "accepted": frozenset({"withdrawn"}),
    # What was missing then may have been accepted since: the same bytes can be judged again.
    "rejected": frozenset({"validated"}),
    "withdrawn": frozenset(),
}
WITHDRAWAL_REASONS: tuple[str, ...] = ("sent_in_error", "wrong_project", "wrong_quarter", "found_wrong_after_acceptance", "requested_by_payer")
HOLD_REASONS: tuple[str, ...] = ("reason_needed", "queries_unanswered")
"""Why a revision that passed waits: it alters a published quarter and says no reason; its report asks what nobody has explained."""
WithdrawalReason = Literal["sent_in_error", "wrong_project", "wrong_quarter", "found_wrong_after_acceptance", "requested_by_payer"]


@dataclass(frozen=True, order=True)
class SubmissionKey:
    """Names a submission: one project, one quarter. A delivery that names neither is `unidentified` under the start of its hash."""

    project_id: str
    quarter: str

    def __post_init__(self) -> None:
        if not _PROJECT.fullmatch(self.project_id) or not _PERIOD.fullmatch(self.quarter):
            raise UsageError("A submission is named by a project id (letters, digits, . _ -) and a quarter like 2024-Q1.")

    @classmethod
    def parse(cls, text: str) -> SubmissionKey:
        """Read `PROJECT/QUARTER`. Raises: UsageError when the text is of another form."""
        project_id, _, quarter = text.partition("/")
        return cls(project_id, quarter)

    @property
    def stream(self) -> str:
        """The stream of the log that holds this submission."""
        return f"submission/{self.project_id}/{self.quarter}"

    def __str__(self) -> str:
        return f"{self.project_id}/{self.quarter}"


@dataclass(frozen=True, order=True)
class RevisionKey:
    """Names one delivery of a submission, written `PROJECT/QUARTER/REVISION`."""

    submission: SubmissionKey
    revision: int

    @classmethod
    def parse(cls, text: str) -> RevisionKey:
        """Read `PROJECT/QUARTER/REVISION`. Raises: UsageError when the text is of another form."""
        rest, _, number = text.rpartition("/")
        if not _NUMBER.fullmatch(number):
            raise UsageError("A revision is named like PROJECT/2024-Q1/1.")
        return cls(SubmissionKey.parse(rest), int(number))

    def __str__(self) -> str:
        return f"{self.submission}/{self.revision}"


@dataclass(frozen=True, kw_only=True)
class Revision:
    """One delivery and what became of it.

    `queries` are the rules whose findings ask for an explanation, `explanations` the hashes of those given; `held` says what it waits for.
    `is_erased`: its file and report were destroyed when a participant was erased, and `erased_rows` of its rows with them.
    """

    number: int
    content: str
    size_bytes: int
    received_at: datetime
    received_by: str
    state: SubmissionState = "received"
    passed: bool | None = None
    report: str | None = None
    rules: str | None = None
    findings: Mapping[str, int] = field(default_factory=dict)
    facts: Sequence[FactFile] = ()
    rows: RowCounts | None = None
    changes: RowChanges | None = None
    replaces: int | None = None
    difference: str | None = None
    correction_reason: str | None = None
    queries: tuple[str, ...] = ()
    explanations: Mapping[str, str] = field(default_factory=dict)
    is_quarantined: bool = False
    held: str | None = None
    withdrawal_reason: str | None = None
    is_erased: bool = False
    erased_rows: int = 0

    @property
    def unanswered(self) -> tuple[str, ...]:
        """The rules whose queries nobody has explained."""
        return tuple(rule for rule in self.queries if rule not in self.explanations)

    @property
    def waits_for_person(self) -> bool:
        """Whether nothing more can be done with it until somebody gives a reason or an explanation."""
        return self.held == "reason_needed" or (self.held is not None and bool(self.unanswered))

    @property
    def standing(self) -> str:
        """The state in words, with what a person should know of it."""
        said = {
            "quarantined": self.is_quarantined,
            "waits for a reason": self.held == "reason_needed",
            "waits for an explanation": self.held == "queries_unanswered" and bool(self.unanswered),
            "queried": self.state == "accepted" and bool(self.unanswered),
            "redacted": self.is_erased,
        }
        return self.state + "".join(f", {words}" for words, is_so in said.items() if is_so)


@dataclass(frozen=True, kw_only=True)
class Submission:
    """The state of one submission, folded from its stream; `version` is the stream version to expect on append."""

    key: SubmissionKey
    version: int = 0
    revisions: tuple[Revision, ...] = ()

    @property
    def in_force(self) -> Revision | None:
        """The revision whose facts count, if any."""
        return max((r for r in self.revisions if r.state == "accepted"), key=lambda r: r.number, default=None)

    def revision(self, number: int) -> Revision:
        """Return one revision. Raises: NotFoundError when there is none of that number."""
        if not 1 <= number <= len(self.revisions):
            raise NotFoundError(f"Submission {self.key} has no revision {number}; it has {len(self.revisions)}.")
        return self.revisions[number - 1]

    def with_content(self, content: str) -> Revision | None:
        """Return the revision that delivered exactly these bytes, if any."""
        return next((r for r in self.revisions if r.content == content), None)


def evolve(state: Submission, recorded: Recorded) -> Submission:
    """Return the state after one more event of the stream."""
    event = recorded.event
    state = replace(state, version=recorded.version)
    if isinstance(event, SubmissionReceived):
        revision = Revision(
            number=event.revision, content=event.content, size_bytes=event.size_bytes, received_at=recorded.recorded_at, received_by=recorded.actor
        )
        return replace(state, revisions=(*state.revisions, revision))
    if isinstance(event, SubmissionValidated):
        return _judged(state, event)
    if isinstance(event, SubmissionAccepted):
        return _accepted(state, event)
    if isinstance(event, SubmissionHeld):
        return _changed(state, event.revision, state_name=state.revision(event.revision).state, held=event.why)
    if isinstance(event, SubmissionExplained):
        before = state.revision(event.revision)
        return _changed(state, event.revision, state_name=before.state, explanations={**before.explanations, event.rule: event.explanation})
    if isinstance(event, SubmissionRejected):
        return _changed(state, event.revision, state_name="rejected", held=None)
    if isinstance(event, SubmissionWithdrawn):
        return _changed(state, event.revision, state_name="withdrawn", withdrawal_reason=event.reason)
    if isinstance(event, SubmissionRedacted):
        return _redacted(state, event)
    return state


def _redacted(state: Submission, event: SubmissionRedacted) -> Submission:
    """Return the state in which a revision's redacted files stand for those that were; a delivery that nobody accepted can only be refused now."""
    before = state.revision(event.revision)
    new = {file.old: file.new for file in event.files}
    facts = [new.get(file.sha256, file) for file in before.facts]
    return _changed(
        state,
        event.revision,
        state_name="rejected" if before.state in ("received", "validated") else before.state,
        facts=tuple(file for file in facts if file is not None),
        is_erased=True,
        erased_rows=before.erased_rows + event.rows,
        held=None,
    )


def _judged(state: Submission, event: SubmissionValidated) -> Submission:
    return _changed(
        state,
        event.revision,
        state_name="validated",
        passed=event.passed,
        report=event.report,
        findings=event.findings,
        rules=event.rules,
        queries=tuple(event.queries),
        is_quarantined=event.quarantined,
        held=None,
    )


def _accepted(state: Submission, event: SubmissionAccepted) -> Submission:
    return _changed(
        state,
        event.revision,
        state_name="accepted",
        facts=tuple(event.facts),
        rows=event.rows,
        changes=event.changes,
        replaces=event.replaces,
        difference=event.difference,
        correction_reason=event.reason,
        held=None,
    )


def _changed(state: Submission, number: int, *, state_name: SubmissionState, **changes: object) -> Submission:
    revision = replace(state.revision(number), state=state_name, **changes)  # type: ignore[arg-type]
    return replace(state, revisions=(*state.revisions[: number - 1], revision, *state.revisions[number:]))


def fold(key: SubmissionKey, events: Iterable[Recorded]) -> Submission:
    """Return the state that a stream's events lead to."""
    state = Submission(key=key)
    for recorded in events:
        state = evolve(state, recorded)
    return state


def _check(key: SubmissionKey, revision: Revision, target: SubmissionState) -> None:
    if target not in TRANSITIONS[revision.state]:
        raise NotAllowedError(f"Revision {key}/{revision.number} is {revision.state} and cannot become {target}.")


def decide_receive(state: Submission, content: str, size_bytes: int) -> Sequence[DomainEvent]:
    """Take in a delivery; bytes that are already there append nothing."""
    if state.with_content(content) is not None:
        return ()
    return (
        SubmissionReceived(
            project_id=state.key.project_id, quarter=state.key.quarter, revision=len(state.revisions) + 1, content=content, size_bytes=size_bytes
        ),
    )


def decide_validate(
    state: Submission,
    number: int,
    *,
    passed: bool,
    report: str,
    findings: Mapping[str, int],
    rules: str,
    queries: Sequence[str] = (),
    quarantined: bool = False,
) -> Sequence[DomainEvent]:
    """Record the judgement of a revision; the same judgement again, or one that comes after acceptance, appends nothing.

    A rejected revision is open again only when it failed then and passes now: what a person refused although it passed stays refused. What was
    quarantined stays so.
    """
    revision = state.revision(number)
    stays_rejected = revision.state == "rejected" and (revision.passed or not passed or revision.is_erased)
    if revision.state in ("accepted", "withdrawn") or revision.report == report or stays_rejected or revision.is_quarantined:
        return ()
    _check(state.key, revision, "validated")
    return (
        SubmissionValidated(
            revision=number,
            content=revision.content,
            passed=passed and not quarantined,
            report=report,
            findings=findings,
            rules=rules,
            queries=queries,
            quarantined=quarantined,
        ),
    )


def decide_accept(
    state: Submission,
    number: int,
    *,
    facts: Sequence[FactFile],
    rows: RowCounts,
    replaces: int | None,
    changes: RowChanges,
    difference: str | None = None,
    reason: str | None = None,
) -> Sequence[DomainEvent]:
    """Accept a revision whose last judgement passed; accepting it again appends nothing.

    Raises: NotAllowedError when it was not validated, did not pass, or was rejected or withdrawn.
    """
    revision = state.revision(number)
    if revision.state == "accepted":
        return ()
    _check(state.key, revision, "accepted")
    if not revision.passed or revision.report is None:
        raise NotAllowedError(f"Revision {state.key}/{number} did not pass validation; see its report, mend the return and send it again.")
    return (
        SubmissionAccepted(
            revision=number,
            content=revision.content,
            report=revision.report,
            facts=facts,
            rows=rows,
            replaces=replaces,
            changes=changes,
            difference=difference,
            reason=reason,
        ),
    )


def decide_hold(state: Submission, number: int, why: str) -> Sequence[DomainEvent]:
    """Let a revision that passed wait for a person; one that waits for the same already, or was decided meanwhile, appends nothing.

    Raises: RuleError when the reason is not one of HOLD_REASONS.
    """
    if why not in HOLD_REASONS:
        raise RuleError(f"A return cannot wait for {why}; it waits for one of {', '.join(HOLD_REASONS)}.")
    revision = state.revision(number)
    if revision.state != "validated" or not revision.passed or revision.held == why:
        return ()
    return (SubmissionHeld(revision=number, content=revision.content, why=why),)


def decide_explain(state: Submission, number: int, rule: str, explanation: str) -> Sequence[DomainEvent]:
    """Answer a query of a revision's report; the same answer again appends nothing, another takes its place.

    Args: explanation, the hash under which the words are sealed.
    Raises: NotAllowedError when the revision does not stand validated or accepted, or its report does not ask this.
    """
    revision = state.revision(number)
    if revision.state not in ("validated", "accepted"):
        raise NotAllowedError(f"Revision {state.key}/{number} is {revision.state}; only a return that passed, or waits to be decided, is explained.")
    if rule not in revision.findings:
        raise NotAllowedError(f"The report on {state.key}/{number} has no finding of rule {rule}. `outcomes submission report` shows what it asks.")
    if revision.explanations.get(rule) == explanation:
        return ()
    return (SubmissionExplained(revision=number, rule=rule, explanation=explanation),)


def decide_reject(state: Submission, number: int) -> Sequence[DomainEvent]:
    """Refuse a revision with its report; refusing it again appends nothing.

    Raises: NotAllowedError when it was never judged, or stands accepted or withdrawn.
    """
    revision = state.revision(number)
    if revision.state == "rejected":
        return ()
    _check(state.key, revision, "rejected")
    if revision.report is None:
        raise NotAllowedError(f"Revision {state.key}/{number} has no report yet; validate it first.")
    return (SubmissionRejected(revision=number, content=revision.content, report=revision.report),)


def decide_withdraw(state: Submission, number: int, reason: str) -> Sequence[DomainEvent]:
    """Take an accepted revision back; withdrawing it again appends nothing.

    Raises: UsageError when the reason is not one of WITHDRAWAL_REASONS; NotAllowedError when the revision is not accepted.
    """
    if reason not in WITHDRAWAL_REASONS:
        raise UsageError(f"A withdrawal needs a reason: one of {', '.join(WITHDRAWAL_REASONS)}.")
    revision = state.revision(number)
    if revision.state == "withdrawn":
        return ()
    _check(state.key, revision, "withdrawn")
    return (SubmissionWithdrawn(revision=number, reason=reason),)
