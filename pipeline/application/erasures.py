"""What was erased, as readers of facts and of releases have to know it: which file took the place of which, and which event says so.

Facts of before an erasure are read without the rows that are gone; a release of before it can be verified, and no longer rebuilt.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.application.services import Services
from pipeline.domain.erasure import ParticipantErased
from pipeline.domain.events import FactFile, Recorded
from pipeline.domain.ledger import FACT_TABLES, Ledger
from pipeline.errors import ErasedError


@dataclass(frozen=True, kw_only=True)
class Erasures:
    """All erasures of the log: `by_file` gives for a fact file the one in its place (None: nothing was left) and the event that says so.

    `by_object` gives for everything that was destroyed the event.
    """

    by_file: Mapping[str, tuple[FactFile | None, Recorded]] = field(default_factory=dict)
    by_object: Mapping[str, Recorded] = field(default_factory=dict)

    def resolve(self, file: FactFile) -> FactFile | None:
        """Return the file that holds today what a fact file held, without the rows that were erased; None when nothing was left."""
        found: FactFile | None = file
        while found is not None and found.sha256 in self.by_file:
            found = self.by_file[found.sha256][0]
        return found

    def resolve_all(self, files: Iterable[FactFile]) -> Sequence[FactFile]:
        """Return the files that hold today what fact files held."""
        return [found for found in map(self.resolve, files) if found is not None]

    def of_ledger(self, at: Ledger, fund_id: str) -> Sequence[Recorded]:
        """Return the erasures of rows that a ledger holds, in the order of the log."""
        files = {file.sha256 for table in FACT_TABLES for file in at.facts(fund_id, table)}
        events = {event.position: event for sha256, (_, event) in self.by_file.items() if sha256 in files}
        return [events[position] for position in sorted(events)]


def read_erasures(services: Services) -> Erasures:
    """Return all that was erased, up to the end of the log."""
    by_file: dict[str, tuple[FactFile | None, Recorded]] = {}
    by_object: dict[str, Recorded] = {}
    for recorded in events(services):
        erased = recorded.event
        if isinstance(erased, ParticipantErased):
            by_file |= {file.old: (file.new, recorded) for file in erased.files}
            by_object |= {item.sha256: recorded for item in erased.destroyed}
    return Erasures(by_file=by_file, by_object=by_object)


def events(services: Services) -> Sequence[Recorded]:
    """Return the events of all erasures, in the order of the log."""
    return [recorded for recorded in services.log.read() if isinstance(recorded.event, ParticipantErased)]


def erased_since(services: Services, at: Ledger, fund_id: str) -> Sequence[str]:
    """Return, as places of a checklist, the erasures of rows that a ledger holds: the events, never whom they were of."""
    return [f"event {event.position}" for event in read_erasures(services).of_ledger(at, fund_id)]


def check_kept(services: Services, digest: str, what: str) -> None:
    """Raise ErasedError when a sealed object was destroyed by an erasure."""
    event = read_erasures(services).by_object.get(digest)
    if event is not None:
        raise erased(what, [event])


def erased(what: str, by: Sequence[Recorded]) -> ErasedError:
    """Return the error that says which events destroyed something."""
    named = ", ".join(f"event {event.id} at position {event.position}" for event in by)
    return ErasedError(f"{what} was destroyed when a participant was erased ({named}). `outcomes participant erasures` lists what is gone.")
