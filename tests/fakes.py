"""Stand-ins for tests, in memory. Each passes the contract suite of the real thing."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock

from pipeline.adapters.event_chain import EMPTY, check_appends, check_stream, lay_out, read_event
from pipeline.adapters.object_store import check_name, check_source
from pipeline.domain.events import Recorded
from pipeline.errors import NotFoundError, ObjectConflictError, StaleStreamError
from pipeline.ports import Append, ChainFault, Head


@dataclass
class FixedClock:
    """A clock that stands still until it is told to move."""

    now: datetime = datetime(2025, 1, 31, 9, 30, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, by: timedelta = timedelta(minutes=1)) -> None:
        self.now += by


@dataclass
class MemoryLog:
    """An `EventLog` of documents in a list."""

    documents: list[bytes] = field(default_factory=list)
    _writing: Lock = field(default_factory=Lock, repr=False)

    def append(self, appends: Sequence[Append], *, actor: str, recorded_at: datetime) -> Sequence[Recorded]:
        check_appends(appends, recorded_at)
        with self._writing:
            for append in appends:
                version = len(self.read_stream(append.stream))
                if version != append.expected_version:
                    raise StaleStreamError(f"{append.stream} stands at version {version}, not at {append.expected_version}.")
            laid = lay_out(appends, self.head(), actor=actor, recorded_at=recorded_at)
            self.documents.extend(document for _, document in laid)
            return [recorded for recorded, _ in laid]

    def read_stream(self, stream: str) -> Sequence[Recorded]:
        check_stream(stream)
        return [recorded for recorded in self.read() if recorded.stream == stream]

    def read(self, after: int = 0, up_to: int | None = None) -> Iterator[Recorded]:
        for document in self.documents[max(after, 0) : up_to]:
            yield read_event(document)

    def head(self) -> Head:
        return Head(len(self.documents), read_event(self.documents[-1]).hash) if self.documents else EMPTY

    def verify(self, expected: Head | None = None) -> ChainFault | None:
        previous = EMPTY.hash
        for position, recorded in enumerate(self.read(), start=1):
            if (recorded.position, recorded.previous) != (position, previous):
                return ChainFault(position, "the event does not follow the one before it")
            previous = recorded.hash
            if expected is not None and expected.position == position and expected.hash != previous:
                return ChainFault(position, "the hash is not the one that was once noted for this position")
        if expected is not None and len(self.documents) < expected.position:
            return ChainFault(len(self.documents) + 1, "the end of the log was removed")
        return None


class MemoryStore:
    """An `ObjectStore` of bytes in a mapping; local copies are written to a temporary folder."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self._folder: Path | None = None
        self._writing = Lock()

    def put(self, name: str, content: bytes | Path) -> bool:
        check_name(name)
        check_source(content)
        new = content if isinstance(content, bytes) else content.read_bytes()
        with self._writing:
            if name not in self.objects:
                self.objects[name] = new
                return True
        if self.objects[name] != new:
            raise ObjectConflictError(f"Other bytes stand under {name} already; stored objects are never overwritten.")
        return False

    def replace(self, name: str, content: bytes) -> None:
        check_name(name)
        self.objects[name] = content

    def get(self, name: str) -> bytes:
        if not self.exists(name):
            raise NotFoundError(f"The store holds no object {name}.")
        return self.objects[name]

    def local(self, name: str) -> Path:
        content = self.get(name)
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="outcomes-memory-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def exists(self, name: str) -> bool:
        check_name(name)
        return name in self.objects

    def names(self, prefix: str = "") -> Iterator[str]:
        yield from sorted(name for name in self.objects if name.startswith(prefix))


class RestrictedMemoryStore(MemoryStore):
    """A `RestrictedStore` of bytes in a mapping."""

    def destroy(self, name: str) -> bool:
        check_name(name)
        if self._folder is not None:
            (self._folder / name).unlink(missing_ok=True)
        return self.objects.pop(name, None) is not None
