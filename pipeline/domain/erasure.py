"""The events of an erasure: what is destroyed and what takes its place, decided before anything is touched.

Neither the person's reference nor their pseudonym is in them: only hashes of files, and how many rows went.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pipeline.domain.event import DomainEvent, FactFile

REASONS: tuple[str, ...] = ("requested_by_person", "requested_by_team", "court_order", "collected_in_error")
"""Why a participant is erased. Source: UK GDPR Article 17(1), in the words of a team."""
KINDS: tuple[str, ...] = ("delivery", "facts", "report", "explanation")
"""What can be destroyed: the uploaded file, a file of facts, the report on a delivery, the words that answered a query."""


@dataclass(frozen=True, kw_only=True)
class RedactedFile:
    """One file of facts and the one without the person's rows; `new` is None when no row was left."""

    old: str
    new: FactFile | None
    table: str
    rows: int


@dataclass(frozen=True, kw_only=True)
class DestroyedObject:
    """One sealed object that is destroyed whole: what it was, and of which delivery."""

    sha256: str
    kind: str
    of: str


@dataclass(frozen=True, kw_only=True)
class SubmissionRedacted(DomainEvent):
    """Rows of a revision were erased; its delivery and report are destroyed. `rows` counts those that went, over all its files."""

    name: ClassVar[str] = "submission.redacted"
    revision: int
    files: Sequence[RedactedFile]
    rows: int


@dataclass(frozen=True, kw_only=True)
class ParticipantErased(DomainEvent):
    """A participant of a project was erased from everything that is held of them. What is named here is destroyed after this was appended."""

    name: ClassVar[str] = "participant.erased"
    project_id: str
    reason: str
    files: Sequence[RedactedFile]
    destroyed: Sequence[DestroyedObject]
