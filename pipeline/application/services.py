"""What every verb is given, and the two habits that all verbs share: sealing bytes under their hash, and deciding until the append goes through."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pipeline.domain import ledger
from pipeline.domain.events import DomainEvent, Recorded
from pipeline.domain.tables import Definitions
from pipeline.errors import ConflictError, IntegrityError, NotFoundError, StaleStreamError
from pipeline.ports import (
    Append,
    Clock,
    ContentChecker,
    EventLog,
    ObjectStore,
    Pseudonymiser,
    ReadRegister,
    RestrictedStore,
    ReturnReader,
    Signer,
    StructureChecker,
    Warehouse,
)
from pipeline.stages.intake import content_name

ATTEMPTS = 20
State = TypeVar("State")


@dataclass(frozen=True, kw_only=True)
class Services:
    """The world as the verbs see it. `actor` is who acts; `code` is the version of the code that acts, with the hash of its lock file.

    `approvals_needed` is how many people have to approve a release.
    """

    log: EventLog
    restricted: RestrictedStore
    public: ObjectStore
    reader: ReturnReader
    structure: StructureChecker
    content: ContentChecker
    pseudonymiser: Pseudonymiser
    signer: Signer
    warehouse: Warehouse
    read_register: ReadRegister
    definitions: Definitions
    clock: Clock
    actor: str
    code: str
    approvals_needed: int = 1


def seal(store: ObjectStore, content: bytes) -> str:
    """Store bytes under their hash and return it; bytes that are there already are left as they are."""
    digest = hashlib.sha256(content).hexdigest()
    store.put(content_name(digest), content)
    return digest


def seal_file(store: ObjectStore, path: Path) -> tuple[str, int]:
    """Store a file's bytes under their hash; return it and the number of bytes.

    Raises: NotFoundError when the file is gone; ConflictError when somebody wrote to it meanwhile.
    """
    digest = hash_delivery(path)
    store.put(content_name(digest), path)
    sealed = store.local(content_name(digest))
    if hash_file(sealed) != digest:
        raise ConflictError(f"{path.name} was written to while it was taken in. Take it in again when it is complete.")
    return digest, sealed.stat().st_size


def hash_delivery(path: Path) -> str:
    """Return the SHA-256 of a file that is to be taken in. Raises: NotFoundError when it is gone."""
    try:
        return hash_file(path)
    except FileNotFoundError:
        raise NotFoundError(f"{path.name} is not there any more.") from None


def unseal(store: ObjectStore, digest: str) -> bytes:
    """Return sealed bytes. Raises: NotFoundError; IntegrityError when the bytes no longer have that hash."""
    content = store.get(content_name(digest))
    if hashlib.sha256(content).hexdigest() != digest:
        raise IntegrityError(f"The object {content_name(digest)} no longer has the bytes that were sealed. Restore it from a copy.")
    return content


def unseal_path(store: ObjectStore, digest: str) -> Path:
    """Return a local path of sealed bytes. Raises: NotFoundError; IntegrityError when the bytes no longer have that hash."""
    path = store.local(content_name(digest))
    if hash_file(path) != digest:
        raise IntegrityError(f"The object {content_name(digest)} no longer has the bytes that were sealed. Restore it from a copy.")
    return path


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def decide(
    services: Services,
    stream: str,
    fold: Callable[[Sequence[Recorded]], State],
    decision: Callable[[State], Sequence[DomainEvent]],
) -> tuple[State, Sequence[Recorded]]:
    """Fold a stream, decide, append; when somebody else appended meanwhile, read again and decide again.

    Returns: the state after the append, and what was appended (nothing when the decision was to do nothing).
    Raises: ConflictError when others kept getting in first; whatever the decision raises.
    """
    for _ in range(ATTEMPTS):
        events = services.log.read_stream(stream)
        decided = decision(fold(events))
        if not decided:
            return fold(events), ()
        try:
            appended = services.log.append([Append(stream, len(events), decided)], actor=services.actor, recorded_at=services.clock())
        except StaleStreamError:
            continue
        return fold([*events, *appended]), appended
    raise ConflictError(f"Others kept changing {stream}. Nothing was lost; run the command again.")


def read_ledger(services: Services, position: int | None = None) -> ledger.Ledger:
    """Return the ledger at a position of the log, or at its end."""
    return ledger.fold(services.log.read(up_to=position))
