"""The facts of the log: every event type, its stable name, its schema number, and its one written form.

A stored event is named by `name` and `number`, never by a class path, so that code can move without breaking the log. When a payload changes,
raise the number, add an upcaster from the old one, and pin the old form as a golden file in `tests/golden/events/`.

No event carries a cell value of a return: only hashes, counts, codes and ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache
from typing import Any, ClassVar, Literal, cast
from uuid import UUID, uuid5

import rfc8785
from pydantic import TypeAdapter, ValidationError

from pipeline.domain.erasure import ParticipantErased, SubmissionRedacted
from pipeline.domain.event import DomainEvent as DomainEvent  # noqa: PLC0414 they are read from here, where all events are
from pipeline.domain.event import FactFile as FactFile  # noqa: PLC0414
from pipeline.errors import IntegrityError, RuleError

EVENT_NAMESPACE = UUID("6f1d3c1e-2a54-5d0b-9c1a-0f6f6f70656e")
FIRST_PREVIOUS = "0" * 64


@dataclass(frozen=True, kw_only=True)
class FundRegistered(DomainEvent):
    """A fund entered the register, or its entry changed. `record` is the hash of its sealed register record."""

    name: ClassVar[str] = "fund.registered"
    fund_id: str
    record: str


@dataclass(frozen=True, kw_only=True)
class ProjectRegistered(DomainEvent):
    """A project entered the register with its metrics, rate card, plans, payers and investments."""

    name: ClassVar[str] = "project.registered"
    fund_id: str
    project_id: str
    record: str


@dataclass(frozen=True, kw_only=True)
class ProjectRevised(DomainEvent):
    """A project's register entry changed; the entry before stays readable under its own hash."""

    name: ClassVar[str] = "project.revised"
    fund_id: str
    project_id: str
    record: str
    replaces: str


@dataclass(frozen=True, kw_only=True)
class RegisterRefused(DomainEvent):
    """A load of the register was refused for what it would have done to the one in force. `findings` counts by rule; in full they are sealed."""

    name: ClassVar[str] = "register.refused"
    fund_id: str
    findings: Mapping[str, int]
    report: str


@dataclass(frozen=True, kw_only=True)
class RegisterConfirmed(DomainEvent):
    """After a refused load, the register was loaded again as it stands."""

    name: ClassVar[str] = "register.confirmed"
    fund_id: str


@dataclass(frozen=True, kw_only=True)
class SubmissionReceived(DomainEvent):
    """A delivery's bytes were sealed. Nothing has been parsed."""

    name: ClassVar[str] = "submission.received"
    project_id: str
    quarter: str
    revision: int
    content: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class SubmissionValidated(DomainEvent):
    """A revision was judged. `findings` counts findings by rule; the report itself is sealed under `report`.

    `queries` names the rules whose findings ask for an explanation. `quarantined`: the bytes hold what must not travel, and are not read again.
    """

    name: ClassVar[str] = "submission.validated"
    number: ClassVar[int] = 2
    revision: int
    content: str
    passed: bool
    report: str
    findings: Mapping[str, int]
    rules: str
    queries: Sequence[str] = ()
    quarantined: bool = False


@dataclass(frozen=True, kw_only=True)
class RowCounts:
    """Row accounting of one revision: delivered rows = accepted rows + blank rows."""

    delivered: int
    accepted: int
    blank: int
    late: int


@dataclass(frozen=True, kw_only=True)
class RowChanges:
    """How the facts of a revision differ from those of the revision in force before it."""

    added: int
    changed: int
    removed: int


@dataclass(frozen=True, kw_only=True)
class SubmissionAccepted(DomainEvent):
    """A revision's rows became facts.

    `difference` is the hash of the sealed difference, row by row, from the revision that it replaces; `reason` is the coded reason of the correction.
    """

    name: ClassVar[str] = "submission.accepted"
    number: ClassVar[int] = 2
    revision: int
    content: str
    report: str
    facts: Sequence[FactFile]
    rows: RowCounts
    replaces: int | None
    changes: RowChanges
    difference: str | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class SubmissionHeld(DomainEvent):
    """A revision that passed waits for a person. `why` is a code: what has to be given before it can be accepted."""

    name: ClassVar[str] = "submission.held"
    revision: int
    content: str
    why: str


@dataclass(frozen=True, kw_only=True)
class SubmissionExplained(DomainEvent):
    """A query of a revision's report was answered. The words are sealed under `explanation`; a later answer takes the place of an earlier one."""

    name: ClassVar[str] = "submission.explained"
    revision: int
    rule: str
    explanation: str


@dataclass(frozen=True, kw_only=True)
class SubmissionRejected(DomainEvent):
    """A revision was refused with its report; none of its rows became facts."""

    name: ClassVar[str] = "submission.rejected"
    revision: int
    content: str
    report: str


@dataclass(frozen=True, kw_only=True)
class SubmissionWithdrawn(DomainEvent):
    """An accepted revision was taken back; the accepted revision before it is in force again."""

    name: ClassVar[str] = "submission.withdrawn"
    revision: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class ReleaseDrafted(DomainEvent):
    """A release was pinned to a log position and to the versions of rules, schemas and code."""

    name: ClassVar[str] = "release.drafted"
    version: str
    round: int
    base_version: str | None
    position: int
    chain_head: str
    as_of: date
    ledger: str
    rules: str
    schemas: str
    code: str


@dataclass(frozen=True, kw_only=True)
class ReleaseFile:
    """One file of a release: its path inside the version folder, the hash of its bytes, its size, and its rows if it is a table."""

    path: str
    sha256: str
    size_bytes: int
    rows: int | None = None


@dataclass(frozen=True, kw_only=True)
class ReleaseBuilt(DomainEvent):
    """A candidate was tabulated and protected. `manifest` is the hash of its MANIFEST file; `suppressed` counts hidden cells by table."""

    name: ClassVar[str] = "release.built"
    version: str
    round: int
    manifest: str
    files: Sequence[ReleaseFile]
    suppressed: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class ReleaseAudited(DomainEvent):
    """A candidate was attacked as an outsider would. The private audit report is sealed under `report`."""

    name: ClassVar[str] = "release.audited"
    version: str
    round: int
    manifest: str
    passed: bool
    report: str
    attacks: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class ReleaseApproved(DomainEvent):
    """A person who neither drafted it nor sent a return in it signed the manifest hash that they saw.

    `audit` is the report, `rules` the digest and `position` the log position that it stands on (None: not said by number 1). It is approved when
    `needed` different people have signed.
    """

    name: ClassVar[str] = "release.approved"
    number: ClassVar[int] = 2
    version: str
    round: int
    manifest: str
    audit: str | None = None
    rules: str | None = None
    position: int | None = None
    needed: int = 1


@dataclass(frozen=True, kw_only=True)
class ReleaseReturned(DomainEvent):
    """A person sent a candidate back. `reason` is a code, not free text."""

    name: ClassVar[str] = "release.returned"
    version: str
    round: int
    manifest: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class ReleasePublished(DomainEvent):
    """The files of an approved release stand in the public store, the manifest last."""

    name: ClassVar[str] = "release.published"
    version: str
    round: int
    manifest: str


@dataclass(frozen=True, kw_only=True)
class ReleaseWithdrawn(DomainEvent):
    """A published release was withdrawn with a public reason; its files stay."""

    name: ClassVar[str] = "release.withdrawn"
    version: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class SigningKeyAnnounced(DomainEvent):
    """The first key that signs releases came into force. Only its public half is here, and its fingerprint as `ssh-keygen -l` prints it."""

    name: ClassVar[str] = "signing_key.announced"
    public_key: str
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class SigningKeyReplaced(DomainEvent):
    """Another key came into force for signing releases; what the one before signed in its time stays verifiable."""

    name: ClassVar[str] = "signing_key.replaced"
    public_key: str
    fingerprint: str
    replaces: str


EVENT_TYPES: tuple[type[DomainEvent], ...] = (
    FundRegistered,
    ProjectRegistered,
    ProjectRevised,
    RegisterRefused,
    RegisterConfirmed,
    SubmissionReceived,
    SubmissionValidated,
    SubmissionAccepted,
    SubmissionHeld,
    SubmissionExplained,
    SubmissionRejected,
    SubmissionWithdrawn,
    SubmissionRedacted,
    ParticipantErased,
    ReleaseDrafted,
    ReleaseBuilt,
    ReleaseAudited,
    ReleaseApproved,
    ReleaseReturned,
    ReleasePublished,
    ReleaseWithdrawn,
    SigningKeyAnnounced,
    SigningKeyReplaced,
)
TYPE_BY_NAME: Mapping[str, type[DomainEvent]] = {kind.name: kind for kind in EVENT_TYPES}

Payload = Mapping[str, Any]
UPCASTERS: dict[tuple[str, int], Callable[[Payload], Payload]] = {
    ("submission.validated", 1): lambda payload: {**payload, "queries": [], "quarantined": False},
    ("submission.accepted", 1): lambda payload: {**payload, "difference": None, "reason": None},
    ("release.approved", 1): lambda payload: {**payload, "audit": None, "rules": None, "position": None, "needed": 1},
}
"""From (name, old number) to a function that turns the old payload into the next number's."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """One event as it stands in the log: the envelope around what happened.

    `position` counts all events from 1 without a gap; `version` counts those of the stream. `hash` covers everything here but itself, and so,
    through `previous`, every event before.
    """

    position: int
    stream: str
    version: int
    event: DomainEvent
    recorded_at: datetime
    actor: str
    previous: str
    hash: str = field(default="")

    @property
    def id(self) -> UUID:
        """The event's identity, from where it stands."""
        return uuid5(EVENT_NAMESPACE, f"{self.stream}|{self.version}")


@cache
def _adapter(name: str) -> TypeAdapter[DomainEvent]:
    return TypeAdapter(TYPE_BY_NAME[name])


def to_payload(event: DomainEvent) -> dict[str, Any]:
    """Return the event's payload as plain JSON values."""
    return cast(dict[str, Any], _adapter(event.name).dump_python(event, mode="json"))


def from_payload(name: str, number: int, payload: Payload) -> DomainEvent:
    """Return the event that a stored payload speaks of, upcasting old schema numbers.

    Raises: IntegrityError when the name or the number is not known, or the payload does not fit.
    """
    kind = TYPE_BY_NAME.get(name)
    if kind is None:
        raise IntegrityError(f"The log holds an event named {name!r} that this version of the code does not know.")
    while number < kind.number:
        upcast = UPCASTERS.get((name, number))
        if upcast is None:
            raise RuleError(f"There is no upcaster for {name} from schema number {number}.")
        payload, number = upcast(payload), number + 1
    if number > kind.number:
        raise IntegrityError(f"{name} stands in the log with schema number {number}; this code reads up to {kind.number}. Upgrade it.")
    try:
        return _adapter(name).validate_python(dict(payload))
    except ValidationError as error:
        raise IntegrityError(f"A stored {name} has a payload of another shape ({error.error_count()} fields do not fit).") from None


def to_document(recorded: Recorded) -> dict[str, Any]:
    """Return the JSON document that is stored and hashed for one event."""
    return {
        "position": recorded.position,
        "stream": recorded.stream,
        "version": recorded.version,
        "id": str(recorded.id),
        "name": recorded.event.name,
        "number": recorded.event.number,
        "recorded_at": recorded.recorded_at.isoformat(timespec="microseconds"),
        "actor": recorded.actor,
        "payload": to_payload(recorded.event),
        "previous": recorded.previous,
    }


def write_document(document: Mapping[str, Any]) -> bytes:
    """Return the canonical bytes of a document. Source: RFC 8785 (JSON Canonicalization Scheme)."""
    return rfc8785.dumps(cast(dict[str, Any], document))


def hash_document(document: bytes) -> str:
    """Return the SHA-256 of canonical bytes, in hexadecimal."""
    return hashlib.sha256(document).hexdigest()


def from_document(document: Mapping[str, Any], digest: str) -> Recorded:
    """Return the recorded event of a stored document whose bytes hash to `digest`."""
    return Recorded(
        position=document["position"],
        stream=document["stream"],
        version=document["version"],
        event=from_payload(document["name"], document["number"], document["payload"]),
        recorded_at=datetime.fromisoformat(document["recorded_at"]),
        actor=document["actor"],
        previous=document["previous"],
        hash=digest,
    )


ReleaseState = Literal["drafted", "built", "audited", "approved", "returned", "published", "withdrawn"]
SubmissionState = Literal["received", "validated", "accepted", "rejected", "withdrawn"]
