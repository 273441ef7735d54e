"""The event log on the recorders of the `eventsourcing` library: append with expected versions, read, verify.

An append reads the head, lays out its events behind it and inserts all rows at once. If somebody else was faster the unique keys refuse it: then
either a stream has moved on, which the caller must hear, or only the head has, and the append is tried again. How rows look is in `event_chain`,
where they stand in `event_databases`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from threading import Lock
from types import TracebackType
from typing import Self
from uuid import uuid4

from eventsourcing.persistence import ApplicationRecorder, Notification, StoredEvent
from eventsourcing.persistence import IntegrityError as KeyTakenError

from pipeline.adapters.event_chain import CHAIN, EMPTY, ChainWalk, check_appends, check_stream, lay_out, read_event, read_head, stored_bytes, to_rows
from pipeline.adapters.event_databases import driver_faults, parse_log_url
from pipeline.domain.events import Recorded
from pipeline.errors import IntegrityError, StaleStreamError, UnavailableError
from pipeline.ports import Append, ChainFault, Head

ATTEMPTS = 40
FIRST_PAUSE, LONGEST_PAUSE = 0.004, 0.25
PAGE_ROWS = 2000


def open_log(url: str) -> RecorderLog:
    """Open the log that a URL names.

    Raises: ConfigurationError when the URL is none or the tables were not made; UnavailableError when the database cannot be reached.
    """
    opened = parse_log_url(url).open()
    return RecorderLog(opened.recorder, place=opened.place, close=opened.close)


def migrate_log(url: str) -> bool:
    """Make the tables of the log. Safe to run again, and by several at once.

    Returns: True when this call made them, False when they were there.
    Raises: ConfigurationError, UnavailableError.
    """
    return parse_log_url(url).migrate()


class RecorderLog:
    """An `EventLog` on a recorder with text ids. Close it, or use it in a `with` block; threads may share it."""

    def __init__(
        self,
        recorder: ApplicationRecorder,
        *,
        place: str,
        close: Callable[[], None],
        pause: Callable[[float], None] = time.sleep,
        attempt_name: Callable[[], str] = lambda: uuid4().hex,
    ) -> None:
        self._recorder = recorder
        self._place = place
        self._close = close
        self._pause = pause
        self._attempt_name = attempt_name
        self._writing = Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give back the connections."""
        self._close()

    def append(self, appends: Sequence[Append], *, actor: str, recorded_at: datetime) -> Sequence[Recorded]:
        """Append to one or several streams, all or nothing.

        Raises: StaleStreamError when a stream is not at its expected version; UnavailableError when the log cannot be reached or is too busy.
        """
        check_appends(appends, recorded_at)
        attempt_name = self._attempt_name()
        with self._writing:
            for number in range(ATTEMPTS):
                self._check_versions(appends)
                laid = lay_out(appends, self.head(), actor=actor, recorded_at=recorded_at)
                if self._insert(to_rows(laid, attempt_name)):
                    return [recorded for recorded, _ in laid]
                self._pause(random.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2**number)))  # noqa: S311 spreads writers, guards no secret
        raise UnavailableError(f"The log at {self._place} is too busy: others were faster {ATTEMPTS} times. Run the command again.")

    def read_stream(self, stream: str) -> Sequence[Recorded]:
        """Return the events of one stream in their order; empty when there is none."""
        check_stream(stream)
        with driver_faults(self._place):
            rows = self._recorder.select_events(stream)
        return [read_event(stored_bytes(row)) for row in rows]

    def read(self, after: int = 0, up_to: int | None = None) -> Iterator[Recorded]:
        """Yield all events in the order of positions, those after `after` up to and including `up_to`.

        Raises: IntegrityError when a position is missing, or an event is not the one that its chain row speaks of.
        """
        position, previous = max(after, 0), ""
        document = b""
        # Rows are numbered in the order of insertion, two for each event; PostgreSQL leaves gaps where an insert was refused, so an event's rows
        # never come earlier than this, but may come later.
        for row in self._rows(2 * position + 1):
            if row.originator_id != CHAIN:
                document = stored_bytes(row)
                continue
            link = read_head(row)
            if link.position <= position:
                continue
            if up_to is not None and link.position > up_to:
                return
            recorded = read_event(document)
            if (recorded.position, recorded.hash) != (position + 1, link.hash) or previous not in ("", recorded.previous):
                raise IntegrityError(f"The log does not hold what was recorded at position {position + 1}. `outcomes events verify` says more.")
            position, previous = recorded.position, recorded.hash
            yield recorded

    def head(self) -> Head:
        """Return the end of the log."""
        with driver_faults(self._place):
            rows = self._recorder.select_events(CHAIN, desc=True, limit=1)
        return read_head(rows[0]) if rows else EMPTY

    def verify(self, expected: Head | None = None) -> ChainFault | None:
        """Read everything again; return the first fault, or None when the chain holds from end to end and reaches `expected`."""
        walk = ChainWalk(self._rows(None), self._stands, expected)
        try:
            return walk.first_fault()
        except IntegrityError as error:
            return ChainFault(walk.position + 1, str(error))

    def _check_versions(self, appends: Sequence[Append]) -> None:
        for append in appends:
            with driver_faults(self._place):
                rows = self._recorder.select_events(append.stream, desc=True, limit=1)
            version = rows[0].originator_version if rows else 0
            if version != append.expected_version:
                raise StaleStreamError(
                    f"{append.stream} stands at version {version}, not at {append.expected_version}: somebody else was there first. Read it again."
                )

    def _insert(self, rows: Sequence[StoredEvent]) -> bool:
        """Say whether the rows stand. The library inserts again when it loses the connection, so a taken key may be our own."""
        if not rows:
            return True
        try:
            with driver_faults(self._place):
                self._recorder.insert_events(rows)
        except KeyTakenError:
            return self._find_link(rows[1].originator_version) == rows[1].state
        return True

    def _find_link(self, position: int) -> bytes | None:
        with driver_faults(self._place):
            rows = self._recorder.select_events(CHAIN, gt=position - 1, lte=position)
        return stored_bytes(rows[0]) if rows else None

    def _stands(self, position: int) -> bool:
        return self._find_link(position) is not None

    def _rows(self, start: int | None) -> Iterator[Notification]:
        """Yield rows in the order of insertion, page by page, each page in its own short transaction."""
        limit = PAGE_ROWS
        while True:
            try:
                with driver_faults(self._place):
                    page = self._recorder.select_notifications(start, limit)
            except TypeError as error:
                # The library cannot make bytes of a state that was emptied by hand. Go on row by row, so that the place is known.
                if limit == 1:
                    raise IntegrityError("a row has lost its content") from error
                limit = 1
                continue
            yield from page
            if len(page) < limit:
                return
            start = page[-1].id + 1
