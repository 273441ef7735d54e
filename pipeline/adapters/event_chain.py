"""The written form of the log, and the walk that proves that nobody altered it.

Every event is two rows, inserted together and in this order: the event row, in its stream, with the canonical document; and the chain row, in the
stream `chain`, whose version is the event's position and whose state holds the document's hash, and a sum over itself. The unique key on (`chain`,
position) makes the positions gapless and lets only one writer have each; the unique key on (stream, version) is the optimistic lock. Knows rows, not
databases.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from eventsourcing.persistence import StoredEvent

from pipeline.domain.events import FIRST_PREVIOUS, Recorded, from_document, hash_document, to_document, write_document
from pipeline.errors import IntegrityError, UsageError
from pipeline.ports import Append, ChainFault, Head

CHAIN = "chain"
CHAIN_TOPIC = "chain#1"
EMPTY = Head(0, FIRST_PREVIOUS)
_STREAM = re.compile(r"[a-z]+(/[A-Za-z0-9][A-Za-z0-9._-]{0,127}){1,3}", re.ASCII)


def check_stream(stream: str) -> None:
    """Raise UsageError unless the text can name a stream; `chain`, which has no slash, never can."""
    if not _STREAM.fullmatch(stream):
        raise UsageError("A stream is named like submission/PROJECT/2024-Q1: a kind, then ids of letters, digits, . _ and -.")


def check_appends(appends: Sequence[Append], recorded_at: datetime) -> None:
    """Raise UsageError when the streams cannot be named so, one stands twice, or the instant has no time zone."""
    for append in appends:
        check_stream(append.stream)
    if len({append.stream for append in appends}) < len(appends):
        raise UsageError("One append names the same stream twice. Put its events into one.")
    if recorded_at.tzinfo is None:
        raise UsageError("An event is recorded at an instant with a time zone.")


def lay_out(appends: Sequence[Append], head: Head, *, actor: str, recorded_at: datetime) -> Sequence[tuple[Recorded, bytes]]:
    """Return the events as they will stand after `head`, each with its canonical document, in the order of positions."""
    laid: list[tuple[Recorded, bytes]] = []
    for append in appends:
        for number, event in enumerate(append.events, start=1):
            head = Head(head.position + 1, head.hash)
            document = write_document(
                to_document(
                    Recorded(
                        position=head.position,
                        stream=append.stream,
                        version=append.expected_version + number,
                        event=event,
                        recorded_at=recorded_at.astimezone(UTC),
                        actor=actor,
                        previous=head.hash,
                    )
                )
            )
            head = Head(head.position, hash_document(document))
            laid.append((read_event(document), document))
    return laid


def to_rows(laid: Sequence[tuple[Recorded, bytes]], attempt: str) -> list[StoredEvent]:
    """Return the rows to insert. `attempt` marks the chain rows, so that a writer who lost the answer knows its own rows again."""
    rows: list[StoredEvent] = []
    for recorded, document in laid:
        link: dict[str, Any] = {"attempt": attempt, "hash": recorded.hash, "stream": recorded.stream, "version": recorded.version}
        link["sum"] = hash_document(write_document(link))
        topic = f"{recorded.event.name}#{recorded.event.number}"
        rows.append(StoredEvent(recorded.stream, recorded.version, topic, document))
        rows.append(StoredEvent(CHAIN, recorded.position, CHAIN_TOPIC, write_document(link)))
    return rows


def read_event(document: bytes) -> Recorded:
    """Return the event of a stored document. Raises: IntegrityError when the document is none."""
    try:
        return from_document(json.loads(document), hash_document(document))
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError("The log holds an event that cannot be read. `outcomes events verify` says which.") from error


def read_head(row: StoredEvent) -> Head:
    """Return the head that a chain row speaks of. Raises: IntegrityError when it was altered."""
    return Head(row.originator_version, _read_link(row).hash)


@dataclass(frozen=True)
class _Link:
    hash: str
    stream: str
    version: int


def _read_link(row: StoredEvent) -> _Link:
    try:
        document = json.loads(stored_bytes(row))
        return _Link(document["hash"], document["stream"], document["version"])
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError("A chain row of the log cannot be read. `outcomes events verify` says which.") from error


def _is_sound(row: StoredEvent) -> bool:
    """Say whether a chain row that can be read is written as it was: its sum holds, where it has one (the first logs had none)."""
    document = _parse(stored_bytes(row))
    link: dict[str, Any] = {name: document.get(name) for name in ("attempt", "hash", "stream", "version")}
    if not isinstance(link["attempt"], str):
        return False
    known = write_document(link)
    return stored_bytes(row) in (known, write_document(link | {"sum": hash_document(known)}))


def stored_bytes(row: StoredEvent) -> bytes:
    """Return a row's state; SQLite gives text, or nothing, for what was edited by hand."""
    state = cast(object, row.state)
    if isinstance(state, str):
        return state.encode()
    return state if isinstance(state, bytes) else b""


@dataclass
class ChainWalk:
    """One reading of the whole log, row by row, up to the first fault.

    `rows` are all rows in the order in which they were inserted; `stands` says whether a chain row exists for a position; `expected` is a head that
    was noted elsewhere (in a release's manifest, say): without it a log whose end was cut off looks whole.
    """

    rows: Iterator[StoredEvent]
    stands: Callable[[int], bool]
    expected: Head | None = None
    position: int = 0

    def __post_init__(self) -> None:
        self._previous = FIRST_PREVIOUS
        self._versions: dict[str, int] = {}

    def first_fault(self) -> ChainFault | None:
        """Return the first position that does not hold, with the reason, or None."""
        for row in self.rows:
            self.position += 1
            reason = self._judge(row)
            if reason is not None:
                return ChainFault(self.position, reason)
        if self.expected is not None and self.position < self.expected.position:
            return ChainFault(self.position + 1, f"the log ends at {self.position} but once reached {self.expected.position}: its end was removed")
        return None

    def _judge(self, row: StoredEvent) -> str | None:
        if row.originator_id == CHAIN:
            return "the event row was removed" if row.originator_version == self.position else "a chain row that belongs to no event was inserted"
        link_row = next(self.rows, None)
        if link_row is None or link_row.originator_id != CHAIN:
            return "the chain row is missing: it was removed, or the event row was inserted"
        if link_row.originator_version != self.position:
            moved = self.stands(self.position)
            return "the rows are not in their order: some were moved or inserted" if moved else "the event was removed with its chain row"
        digest = hash_document(stored_bytes(row))
        reason = self._compare(row, link_row, digest)
        if reason is None and self.expected is not None and self.position == self.expected.position and digest != self.expected.hash:
            reason = "the hash is not the one that was once noted for this position: the log was rewritten"
        self._previous = digest
        return reason

    def _compare(self, row: StoredEvent, link_row: StoredEvent, digest: str) -> str | None:
        try:
            link = _read_link(link_row)
        except IntegrityError:
            return "the chain row was edited"
        if link.hash != digest:
            return self._edited(link.hash, digest)
        if (link.stream, link.version, link_row.topic) != (row.originator_id, row.originator_version, CHAIN_TOPIC):
            return "the event row was moved in or between streams, or the chain row was edited"
        if not _is_sound(link_row):
            return "the chain row was edited"
        return self._rewritten(row)

    def _edited(self, linked: str, digest: str) -> str:
        """Say which of two rows that disagree was edited: the event after them, if there is one, bears witness."""
        following = next(self.rows, None)
        witness = _parse(stored_bytes(following)).get("previous") if following is not None else None
        if witness == linked:
            return "the event row was edited"
        return "the chain row was edited" if witness == digest else "the event row or its chain row was edited"

    def _rewritten(self, row: StoredEvent) -> str | None:
        """Judge a document that agrees with its chain row, but may have been written to by somebody who made new hashes."""
        document = _parse(stored_bytes(row))
        stream, version = str(row.originator_id), row.originator_version
        stated = (document.get("position"), document.get("stream"), document.get("version"), f"{document.get('name')}#{document.get('number')}")
        if stated != (self.position, stream, version, row.topic):
            return "the event row does not say what its document says: it was rewritten or moved"
        if document.get("previous") != self._previous:
            return "the event does not carry the hash of the event before it: one of the two was rewritten"
        if version != self._versions.get(stream, 0) + 1:
            return f"the version in the stream does not follow {self._versions.get(stream, 0)}: an event was removed or inserted"
        self._versions[stream] = version
        return None


def _parse(state: bytes) -> dict[str, Any]:
    try:
        document = json.loads(state)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
