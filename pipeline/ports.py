"""What the verbs need from the world, as protocols.

Each is fulfilled by one file of `adapters/` and, in tests, by a fake that passes the same suite.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pipeline.domain.events import DomainEvent, Recorded
from pipeline.domain.findings import Finding

if TYPE_CHECKING:
    import pyarrow as pa

Clock = Callable[[], datetime]
"""Returns the present instant, aware, in UTC."""


@dataclass(frozen=True)
class Head:
    """The end of the log: how many events it holds and the hash of the last."""

    position: int
    hash: str


@dataclass(frozen=True)
class Append:
    """Events for one stream that stands at `expected_version` (0: it does not exist)."""

    stream: str
    expected_version: int
    events: Sequence[DomainEvent]


@dataclass(frozen=True)
class ChainFault:
    """The first place at which the log no longer agrees with itself."""

    position: int
    reason: str


class EventLog(Protocol):
    """An append-only log of streams with a gapless position and a hash chain over all."""

    def append(self, appends: Sequence[Append], *, actor: str, recorded_at: datetime) -> Sequence[Recorded]:
        """Append to one or several streams, all or nothing.

        Raises: StaleStreamError when a stream is not at its expected version; UnavailableError when the log cannot be reached.
        """
        ...

    def read_stream(self, stream: str) -> Sequence[Recorded]:
        """Return the events of one stream in their order; empty when there is none."""
        ...

    def read(self, after: int = 0, up_to: int | None = None) -> Iterator[Recorded]:
        """Yield all events in the order of positions, those after `after` up to and including `up_to`."""
        ...

    def head(self) -> Head:
        """Return the end of the log."""
        ...

    def verify(self, expected: Head | None = None) -> ChainFault | None:
        """Read everything again; return the first fault, or None when the chain holds from end to end.

        `expected` is a head that was noted elsewhere, in a release's manifest for instance: only with it can a log whose end was cut off, or that was
        rewritten whole, be told from a good one.
        """
        ...


class ObjectStore(Protocol):
    """A store in which nothing is ever overwritten. Names are relative paths with `/`."""

    def put(self, name: str, content: bytes | Path) -> bool:
        """Store bytes, or the bytes of a file, under a name; visible whole or not at all, and durable on return.

        Returns: True when they were new, False when the same bytes stood there already.
        Raises: ObjectConflictError when other bytes stand there; UnavailableError when the store cannot be written.
        """
        ...

    def replace(self, name: str, content: bytes) -> None:
        """Write a derived document (an index, an alias) that can be made again from what is immutable."""
        ...

    def get(self, name: str) -> bytes:
        """Return an object's bytes. Raises: NotFoundError."""
        ...

    def local(self, name: str) -> Path:
        """Return a path on this machine at which the object's bytes can be read; fetched and kept if the store is remote. Raises: NotFoundError."""
        ...

    def exists(self, name: str) -> bool:
        """Say whether an object stands under a name."""
        ...

    def names(self, prefix: str = "") -> Iterator[str]:
        """Yield the names that start with a prefix, in order. Nothing that must be right depends on this."""
        ...


class RestrictedStore(ObjectStore, Protocol):
    """The store of what is not public. Only here can an object be destroyed: what is published stays."""

    def destroy(self, name: str) -> bool:
        """Destroy an object with every copy and version of it that the store keeps, and what a writer of it left behind when it died.

        Returns: whether there was anything; destroying it again finds nothing.
        Raises: UnavailableError when the store keeps it all the same.
        """
        ...


@dataclass(frozen=True)
class ReturnTable:
    """One table of a return as it was delivered: every cell text, rows numbered as the person sees them.

    `cells` has one text column per heading and, first, the column `row` (64-bit integer, the heading is row 1). Empty cells are null.
    `place` is the sheet or file name, cleaned for display.
    """

    name: str
    place: str
    cells: pa.Table
    blank_rows: int = 0


@dataclass(frozen=True)
class ReadReturn:
    """What a reader made of a delivery: its tables, or the findings that say why there are none."""

    tables: Mapping[str, ReturnTable]
    findings: Sequence[Finding] = ()


def idle() -> None:
    """Do nothing while somebody else works."""


class ReturnReader(Protocol):
    """Reads a delivery into canonical tables in a contained child process."""

    def read(self, delivery: Path, meanwhile: Callable[[], object] = idle) -> ReadReturn:
        """Return the tables of a delivery. A hostile or broken file is a finding; it never takes the caller down.

        `meanwhile` is called once while the child reads: for what would otherwise be waited for afterwards.
        """
        ...


class StructureChecker(Protocol):
    """Judges the structure of a return's tables against `schemas/submission/`."""

    def check(self, tables: Mapping[str, ReturnTable]) -> Sequence[Finding]:
        """Return what is structurally wrong. Raises: RuleError when a schema of ours is broken."""
        ...


class ContentChecker(Protocol):
    """Runs the expectation suites."""

    def prepare(self) -> None:
        """Load what takes long to load, so that the first check does not."""
        ...

    def check(self, suite: str, table: pa.Table, rows: Sequence[int] | None = None) -> Sequence[Finding]:
        """Return which expectations of a suite a table does not meet. `rows` maps the table's rows to those that the person sees.

        Raises: RuleError when an expectation could not be evaluated: that is our fault, never the data's.
        """
        ...


class Pseudonymiser(Protocol):
    """Turns a project's own references into pseudonyms that nobody can turn back without the key."""

    def pseudonyms(self, project_id: str, kind: str, references: pa.Array) -> pa.Array:
        """Return one pseudonym per reference (nulls stay null), the same for the same project, kind and reference."""
        ...


class Signer(Protocol):
    """Holds the private key that signs releases. Nothing private ever leaves it."""

    def public_key(self) -> str:
        """Return the public half as OpenSSH writes it. Raises: ConfigurationError when there is no key, or none that can be used."""
        ...

    def sign(self, content: bytes) -> bytes:
        """Return the signature of bytes in the form of `ssh-keygen -Y sign`; the same key and bytes give the same signature."""
        ...

    def prepare_next(self) -> str:
        """Make the key that is to come after the present one, unless it waits already; return its public half."""
        ...

    def adopt_next(self) -> None:
        """Put the key that waits in the place of the present one, which is destroyed; nothing when none waits."""
        ...


class Warehouse(Protocol):
    """Runs table expressions over fact files and register tables: DuckDB on one machine."""

    def tabulate(self, facts: Mapping[str, Sequence[Path]], register: Mapping[str, pa.Table], as_of: date) -> Mapping[str, pa.Table]:
        """Return every table of `stages.tabulation`, evaluated over the given fact files and register tables, unprotected, in memory."""
        ...


class Progress(Protocol):
    """Tells a person at a terminal how far long work is."""

    def __call__(self, title: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """Open a bar; the function that it gives is told how many units were done."""
        ...


ReadRegister = Callable[[Path], "tuple[Mapping[str, pa.Table], Sequence[Finding]]"]
"""Reads a folder of register files into typed tables, with what was wrong in them."""
