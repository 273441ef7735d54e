"""What every event is, and the fact file that several of them name. The events themselves are in `events`, those of an erasure in `erasure`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class DomainEvent:
    """Something that happened, in the past tense. Subclasses say what; the envelope says when and by whom."""

    name: ClassVar[str] = ""
    number: ClassVar[int] = 1


@dataclass(frozen=True, kw_only=True)
class FactFile:
    """One immutable Parquet file of facts, named by the hash of its bytes."""

    table: str
    sha256: str
    rows: int
    size_bytes: int
    number: int
