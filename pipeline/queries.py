"""What people and DAGs ask: read models folded from the log, for the command line, the portal and Airflow. Nothing here changes anything."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipeline.domain import ledger, release, submission
from pipeline.domain.events import to_payload
from pipeline.domain.release import Release, Releases
from pipeline.domain.submission import UNIDENTIFIED, RevisionKey, Submission, SubmissionKey
from pipeline.errors import NotFoundError
from pipeline.ports import EventLog
from pipeline.stages import intake

DECIDED = frozenset({"accepted", "rejected", "withdrawn"})


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One file of the inbox: whose it is by its place and name, the hash of its bytes, and how far it has come.

    `state` is `new` when the log has not got these bytes for that submission, otherwise the revision's state; `standing` says the same in words.
    """

    key: SubmissionKey
    content: str
    path: Path
    state: str
    standing: str
    waits_for_person: bool = False

    @property
    def id(self) -> str:
        """A name that says whose it is and which bytes: PROJECT/QUARTER/first 16 digits of the hash."""
        return f"{self.key}/{self.content[:16]}"


@dataclass(frozen=True, kw_only=True)
class RevisionRow:
    """One revision as a list shows it."""

    key: str
    state: str
    received_at: datetime
    received_by: str
    size_bytes: int
    rows: int | None
    late_rows: int | None
    findings: Mapping[str, int]
    is_in_force: bool
    standing: str
    is_quarantined: bool
    held: str | None
    unanswered: Sequence[str]
    explained: Sequence[str]
    correction_reason: str | None


@dataclass(frozen=True, kw_only=True)
class EventRow:
    """One event as a list shows it."""

    position: int
    stream: str
    version: int
    name: str
    recorded_at: datetime
    actor: str
    hash: str
    payload: Mapping[str, object]


def deliveries(log: EventLog, inbox: Path) -> Sequence[Delivery]:
    """Return every file of the inbox in the order of ids; hidden files and those still being written (`.part`) are not looked at."""
    known = ledger_of_all_submissions(log)
    found = []
    for path in sorted(inbox.rglob("*")) if inbox.is_dir() else []:
        relative = path.relative_to(inbox)
        if not path.is_file() or path.suffix == ".part" or any(part.startswith(".") for part in relative.parts):
            continue
        try:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:  # taken away since it was listed
            continue
        key = intake.identify(relative, content)
        revision = known[key].with_content(content) if key in known else None
        found.append(
            Delivery(
                key=key,
                content=content,
                path=path,
                state=revision.state if revision else "new",
                standing=revision.standing if revision else "new",
                waits_for_person=revision is not None and revision.waits_for_person,
            )
        )
    return sorted(found, key=lambda delivery: delivery.id)


def waiting(log: EventLog, inbox: Path) -> Sequence[Delivery]:
    """Return the files of the inbox that nothing was decided about yet, each content once; what waits for a person does not wait for a worker."""
    found = {delivery.id: delivery for delivery in deliveries(log, inbox) if delivery.state not in DECIDED and not delivery.waits_for_person}
    return [found[name] for name in sorted(found)]


def first_wave(found: Sequence[Delivery]) -> Sequence[Delivery]:
    """Return, of each project, the deliveries of its earliest quarter only.

    A return is judged by what was accepted of earlier quarters, so those must be decided first.
    """
    earliest: dict[str, str] = {}
    for delivery in found:
        project_id, quarter = delivery.key.project_id, delivery.key.quarter
        earliest[project_id] = min(quarter, earliest.get(project_id, quarter))
    return [one for one in found if one.key.project_id == UNIDENTIFIED or one.key.quarter == earliest[one.key.project_id]]


def find_delivery(log: EventLog, inbox: Path, delivery_id: str) -> Delivery:
    """Return one file of the inbox by its id. Raises: NotFoundError when no file has that content any more."""
    for delivery in deliveries(log, inbox):
        if delivery.id == delivery_id:
            return delivery
    raise NotFoundError(f"The inbox has no delivery {delivery_id} any more. List them again with `outcomes submission inbox`.")


def ledger_of_all_submissions(log: EventLog) -> Mapping[SubmissionKey, Submission]:
    """Return every submission, the unidentified ones too."""
    found: dict[SubmissionKey, Submission] = {}
    for recorded in log.read():
        if recorded.stream.startswith("submission/"):
            key = SubmissionKey.parse(recorded.stream.removeprefix("submission/"))
            found[key] = submission.evolve(found.get(key) or Submission(key=key), recorded)
    return found


def revisions(log: EventLog, project_id: str | None = None, state: str | None = None) -> Sequence[RevisionRow]:
    """Return the revisions of all submissions in the order of keys, those of one project or state only if named."""
    rows = []
    for key, found in sorted(ledger_of_all_submissions(log).items()):
        if project_id is None or key.project_id == project_id:
            rows += [row for row in _revision_rows(found) if state is None or row.state == state]
    return rows


def revision(log: EventLog, key: RevisionKey) -> submission.Revision:
    """Return one revision. Raises: NotFoundError."""
    return submission.fold(key.submission, log.read_stream(key.submission.stream)).revision(key.revision)


def releases(log: EventLog, fund_id: str) -> Releases:
    """Return all versions of a fund's published data."""
    return release.fold(fund_id, log.read_stream(release.release_stream(fund_id)))


def approved(log: EventLog) -> Sequence[tuple[str, Release]]:
    """Return the releases of all funds that are approved and not published, with their fund."""
    return [(fund_id, item) for fund_id in funds(log) for item in releases(log, fund_id).all if item.state == "approved"]


def funds(log: EventLog) -> Sequence[str]:
    """Return the ids of the registered funds, in order."""
    return sorted(ledger.fold(log.read()).funds)


def events(log: EventLog, stream: str | None = None, after: int = 0) -> Iterator[EventRow]:
    """Yield events in the order of the log, those of one stream only if named."""
    for recorded in log.read(after=after):
        if stream is None or recorded.stream == stream or recorded.stream.startswith(f"{stream}/"):
            yield EventRow(
                position=recorded.position,
                stream=recorded.stream,
                version=recorded.version,
                name=recorded.event.name,
                recorded_at=recorded.recorded_at,
                actor=recorded.actor,
                hash=recorded.hash,
                payload=to_payload(recorded.event),
            )


def _revision_rows(found: Submission) -> Sequence[RevisionRow]:
    in_force = found.in_force
    return [
        RevisionRow(
            key=str(RevisionKey(found.key, item.number)),
            state=item.state,
            received_at=item.received_at,
            received_by=item.received_by,
            size_bytes=item.size_bytes,
            rows=item.rows.accepted if item.rows else None,
            late_rows=item.rows.late if item.rows else None,
            findings=item.findings,
            is_in_force=in_force is not None and in_force.number == item.number,
            standing=item.standing,
            is_quarantined=item.is_quarantined,
            held=item.held,
            unanswered=item.unanswered,
            explained=sorted(item.explanations),
            correction_reason=item.correction_reason,
        )
        for item in found.revisions
    ]
