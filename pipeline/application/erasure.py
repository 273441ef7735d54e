"""The verb that erases a participant: decided in one append, then destroyed, and taken up again where a machine died.

The person is named by the reference of their project, which is never kept, logged or returned. What is found by it: rows of facts, by pseudonym, in
every revision, in force or not; the uploads that hold the reference in clear; the reports on those; explanations that repeat it. A file that cannot
be read cannot be shown not to hold it, and goes too when it is the project's.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.application import erasures, releases
from pipeline.application.facts import fact_paths
from pipeline.application.services import Services, hash_file, read_ledger, seal, unseal, unseal_path
from pipeline.domain import release, submission
from pipeline.domain.erasure import REASONS, DestroyedObject, ParticipantErased, RedactedFile, SubmissionRedacted
from pipeline.domain.events import DomainEvent, FactFile, Recorded
from pipeline.domain.ledger import fold
from pipeline.domain.submission import UNIDENTIFIED, Revision, RevisionKey, Submission, SubmissionKey
from pipeline.errors import ConflictError, NotFoundError, StaleStreamError, UsageError
from pipeline.ports import Append
from pipeline.stages import acceptance
from pipeline.stages.frames import equal_to
from pipeline.stages.intake import content_name

ATTEMPTS = 20
PERSON = "participant"
"""The kind of the pseudonym, and the column of facts that bears it."""
REFERENCE = "participant_ref"
ENCODINGS: tuple[str, ...] = ("utf-8", "utf-16-le", "utf-16-be", "cp1252")
"""How a file that cannot be read as a return may have written the reference."""


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What can no longer be read after one erasure, and what became of the releases from before it. Names no person.

    `remaining` are objects that were to be destroyed and still stand: none when it is complete.
    """

    event: str
    position: int
    hash: str
    project_id: str
    reason: str
    erased_at: str
    erased_by: str
    destroyed: Sequence[DestroyedObject]
    redacted: Sequence[RedactedFile]
    releases: Sequence[str]
    remaining: Sequence[str]
    says: Sequence[str]

    @property
    def is_complete(self) -> bool:
        """Whether everything that was to be destroyed is gone."""
        return not self.remaining


@dataclass
class Plan:
    """What one erasure would do: redacted files by revision, everything destroyed, and the version at which each stream was looked at."""

    files: dict[RevisionKey, list[RedactedFile]] = field(default_factory=dict)
    destroyed: list[DestroyedObject] = field(default_factory=list)
    versions: dict[SubmissionKey, int] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether nothing of the person is held."""
        return not self.files

    def to_appends(self, services: Services, project_id: str, reason: str) -> Sequence[Append]:
        """Return the events, in the streams that were looked at, as one append."""
        stream = f"project/{project_id}"
        files = {file.old: file for found in self.files.values() for file in found}
        erased = ParticipantErased(project_id=project_id, reason=reason, files=list(files.values()), destroyed=self.destroyed)
        by_submission: dict[SubmissionKey, list[DomainEvent]] = {}
        for key, found in sorted(self.files.items()):
            redacted = SubmissionRedacted(revision=key.revision, files=found, rows=sum(file.rows for file in found))
            by_submission.setdefault(key.submission, []).append(redacted)
        return [
            Append(stream, len(services.log.read_stream(stream)), [erased]),
            *(Append(key.stream, self.versions[key], events) for key, events in by_submission.items()),
        ]


def erase(services: Services, project_id: str, reference: str, reason: str, inbox: Path | None = None) -> Sequence[Certificate]:
    """Erase a participant of a project from everything that is held of them; again finds nothing more, and finishes what a crash left undone.

    Args: reference, as the project's returns name the person; reason, one of erasure.REASONS; inbox, the folder whose copies of destroyed uploads go.
    Returns: a certificate for each append that it took: one, or none when nothing is held.
    Raises: NotFoundError when the project is not known; UsageError when reference or reason cannot be; ConflictError when others kept coming first.
    """
    if reason not in REASONS:
        raise UsageError(f"An erasure needs a reason: one of {', '.join(REASONS)}.")
    finish(services, inbox)
    made: list[Recorded] = []
    for _ in range(ATTEMPTS):
        plan = find(services, project_id, reference)
        if plan.is_empty:
            return [certify(services, recorded) for recorded in made]
        try:
            appended = services.log.append(plan.to_appends(services, project_id, reason), actor=services.actor, recorded_at=services.clock())
        except StaleStreamError:
            continue
        made.append(appended[0])
        finish(services, inbox)
    raise ConflictError(f"Returns of {project_id} kept coming in. What was found is destroyed; run the command again for the rest.")


def find(services: Services, project_id: str, reference: str) -> Plan:
    """Return what is held of a participant, and seal the redacted files that would take the place of those that hold their rows.

    Raises: NotFoundError when the project is not known; UsageError when the reference is empty or no single line.
    """
    name = reference.strip()
    if not name or len(name.splitlines()) > 1:
        raise UsageError("A participant is named by one reference, on one line.")
    events = list(services.log.read())
    known = _all_submissions(events)
    if project_id not in fold(events).projects and not any(key.project_id == project_id for key in known):
        raise NotFoundError(f"There is no project {project_id}, and nothing was delivered for it. `outcomes submission list` shows what was.")
    pseudonym = str(services.pseudonymiser.pseudonyms(project_id, PERSON, pa.array([name]))[0].as_py())
    plan = Plan()
    contents: set[str] = set()
    for key, state in known.items():
        if key.project_id not in (project_id, UNIDENTIFIED):
            continue
        for revision in state.revisions:
            files = [file for found in revision.facts for file in _redact(services, found, pseudonym)] if key.project_id == project_id else []
            if files or _delivery_holds(services, key, revision, name):
                plan.files[RevisionKey(key, revision.number)] = files
                contents.add(revision.content)
    # The same bytes may have been delivered for another quarter, or by nobody: they are gone from there too.
    for key, state in known.items():
        for revision in state.revisions:
            if revision.content in contents:
                plan.files.setdefault(RevisionKey(key, revision.number), [])
                plan.versions[key] = state.version
    for at in sorted(plan.files):
        plan.destroyed += _objects(services, at, known[at.submission].revision(at.revision), plan.files[at], name)
    return plan


def finish(services: Services, inbox: Path | None = None) -> None:
    """Destroy everything that erasures have decided to destroy, and say so of the versions that it touches; what is gone already stays gone."""
    decided = erasures.events(services)
    objects = [item for recorded in decided for item in _destroyed(recorded)]
    for item in objects:
        services.restricted.destroy(content_name(item.sha256))
    deliveries = {item.sha256 for item in objects if item.kind == "delivery"}
    if inbox is not None and inbox.is_dir() and deliveries:
        for path in [path for path in inbox.rglob("*") if path.is_file()]:
            if hash_file(path) in deliveries:
                path.unlink(missing_ok=True)
    if decided:
        for fund_id in sorted(read_ledger(services).funds):
            state = releases.load(services, fund_id)
            if state.newest is not None:
                releases.tell(services, fund_id)


def certificates(services: Services) -> Sequence[Certificate]:
    """Return the certificates of all erasures, in the order of the log."""
    return [certify(services, recorded) for recorded in erasures.events(services)]


def certify(services: Services, recorded: Recorded) -> Certificate:
    """Return the certificate of one erasure, from its event, what still stands, and the releases that were made before it."""
    event = recorded.event
    if not isinstance(event, ParticipantErased):
        raise NotFoundError(f"Position {recorded.position} of the log holds no erasure.")
    return Certificate(
        event=str(recorded.id),
        position=recorded.position,
        hash=recorded.hash,
        project_id=event.project_id,
        reason=event.reason,
        erased_at=recorded.recorded_at.isoformat(),
        erased_by=recorded.actor,
        destroyed=event.destroyed,
        redacted=event.files,
        releases=_releases(services, recorded),
        remaining=sorted({item.sha256 for item in event.destroyed if services.restricted.exists(content_name(item.sha256))}),
        says=SAYS,
    )


SAYS: tuple[str, ...] = (
    "The objects named under destroyed can no longer be read; the files of facts named under redacted were replaced by others without the rows.",
    "Published aggregates stay as they are, and verify as before. The releases named can be verified, and no longer rebuilt.",
    "Copies that this installation does not know of, backups above all, are not covered: let them expire, or destroy them.",
)


def _destroyed(recorded: Recorded) -> Sequence[DestroyedObject]:
    return recorded.event.destroyed if isinstance(recorded.event, ParticipantErased) else ()


def _all_submissions(events: Sequence[Recorded]) -> Mapping[SubmissionKey, Submission]:
    found: dict[SubmissionKey, Submission] = {}
    for recorded in events:
        if recorded.stream.startswith("submission/"):
            key = SubmissionKey.parse(recorded.stream.removeprefix("submission/"))
            found[key] = submission.evolve(found.get(key) or Submission(key=key), recorded)
    return dict(sorted(found.items()))


def _redact(services: Services, file: FactFile, pseudonym: str) -> Iterator[RedactedFile]:
    """Give the file without a person's rows, sealed already; nothing when it has none."""
    schema = services.definitions.table("facts", file.table)
    if PERSON not in schema.columns:
        return
    for kept, path in fact_paths(services, [file]):
        rows = pq.read_table(path, page_checksum_verification=True)
        is_theirs = equal_to(rows[PERSON], pseudonym)
        count = pc.sum(is_theirs, min_count=0).as_py()
        if count:
            yield RedactedFile(old=kept.sha256, new=_seal_rest(services, kept, rows.filter(pc.invert(is_theirs))), table=file.table, rows=count)


def _seal_rest(services: Services, file: FactFile, rest: pa.Table) -> FactFile | None:
    if not rest.num_rows:
        return None
    content = acceptance.write_facts(rest, services.definitions.table("facts", file.table))
    sha256 = seal(services.restricted, content)
    return FactFile(table=file.table, sha256=sha256, rows=rest.num_rows, size_bytes=len(content), number=file.number)


def _delivery_holds(services: Services, key: SubmissionKey, revision: Revision, name: str) -> bool:
    """Say whether an upload that became no facts holds the reference, or cannot be shown not to."""
    if revision.rows is not None or revision.is_erased:
        return False
    is_ours = key.project_id != UNIDENTIFIED
    path = unseal_path(services.restricted, revision.content)
    if revision.is_quarantined:
        return is_ours or _bytes_hold(path, name)
    read = services.reader.read(path)
    if not read.tables:
        return is_ours or _bytes_hold(path, name)
    columns = [table.cells[column] for table in read.tables.values() for column in table.cells.column_names if column != "row"]
    return any(pc.any(equal_to(pc.utf8_trim_whitespace(column), name), min_count=0).as_py() for column in columns)


def _bytes_hold(path: Path, name: str) -> bool:
    """Say whether a file, or a file in it when it is a zip, has the reference among its bytes."""
    signs = [name.encode(encoding, errors="ignore") for encoding in ENCODINGS]
    return any(sign and sign in content for content in _contents(path) for sign in signs)


def _contents(path: Path) -> Iterator[bytes]:
    content = path.read_bytes()
    yield content
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.infolist():
                if member.file_size <= 1 << 28:
                    yield archive.read(member)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, ValueError):
        return


def _objects(services: Services, at: RevisionKey, revision: Revision, files: Sequence[RedactedFile], name: str) -> Iterator[DestroyedObject]:
    """Give what is destroyed of one revision."""
    found = [(file.old, "facts") for file in files]
    if not revision.is_erased:
        found.append((revision.content, "delivery"))
        found += [(revision.report, "report")] if revision.report else []
    for digest in dict.fromkeys(revision.explanations.values()):
        if services.restricted.exists(content_name(digest)) and name.encode() in unseal(services.restricted, digest):
            found.append((digest, "explanation"))
    yield from (DestroyedObject(sha256=digest, kind=kind, of=str(at)) for digest, kind in found)


def _releases(services: Services, recorded: Recorded) -> Sequence[str]:
    """Return the releases, as FUND/VERSION, whose facts an erasure redacted."""
    events = list(services.log.read())
    gone = erasures.read_erasures(services)
    found = []
    for fund_id in sorted(fold(events).funds):
        for item in release.fold(fund_id, [event for event in events if event.stream == release.release_stream(fund_id)]).all:
            then = fold(event for event in events if event.position <= item.draft.position)
            if item.state in release.FINAL and recorded.position in [event.position for event in gone.of_ledger(then, fund_id)]:
                found.append(f"{fund_id}/{item.version}")
    return found
