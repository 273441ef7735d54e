"""The verbs that prove: is the log whole, are the public files those that were approved, does the log still lead to the same bytes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.application import releases
from pipeline.application.candidates import make_candidate
from pipeline.application.erasures import erased, read_erasures
from pipeline.application.services import Services, read_ledger
from pipeline.domain.release import FINAL, Release
from pipeline.errors import ErasedError, NotAllowedError, NotFoundError
from pipeline.ports import ChainFault, Head
from pipeline.stages import verification


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """What building a release again gave: the files whose bytes differ from those recorded (none when all is well)."""

    version: str
    files: int
    differing: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Proof:
    """One look at everything that can be proven for a fund. `erased` says why the newest release cannot be rebuilt, where that is so: no fault."""

    fund_id: str
    chain: ChainFault | None
    versions: Sequence[tuple[str, verification.Verification]]
    rebuilt: Rebuilt | None
    erased: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether nothing was found wrong."""
        return self.chain is None and all(found.ok for _, found in self.versions) and not (self.rebuilt and self.rebuilt.differing)


def rebuild(services: Services, fund_id: str, version: str) -> Rebuilt:
    """Build a release again from the log and compare every byte with what was recorded.

    Raises: NotAllowedError when it was never built, or other schemas or rules are installed than it was made with; ErasedError when rows that it
    was made of were erased.
    """
    recorded = releases.load(services, fund_id).release(version)
    if recorded.manifest is None:
        raise NotAllowedError(f"Release {version} has not been built; there is nothing to compare with.")
    gone = read_erasures(services).of_ledger(read_ledger(services, recorded.draft.position), fund_id)
    if gone:
        raise erased(f"A part of what release {version} was made of, which can be verified and no longer rebuilt,", gone)
    releases.check_definitions(services, recorded.draft)
    candidate = make_candidate(services, fund_id, recorded.draft)
    before = {file.path: file.sha256 for file in recorded.files}
    after = {file.path: file.sha256 for file in candidate.entries}
    return Rebuilt(
        version=version, files=len(after), differing=sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    )


def verify_version(services: Services, fund_id: str, published: Release) -> verification.Verification:
    """Check a published version's files against the manifest that was approved."""
    folder = f"{releases.version_folder(fund_id, published.version)}/"
    return verification.verify_folder(
        lambda: [name.removeprefix(folder) for name in services.public.names(folder)],
        lambda path: services.public.get(folder + path),
        expected_manifest=published.manifest,
    )


def verify(services: Services, fund_id: str, *, with_rebuild: bool = True) -> Proof:
    """Verify the log, every published version, and that the newest can be built again byte for byte (only if nothing else is wrong).

    Raises: NotFoundError when nothing was published; NotAllowedError when other schemas or rules are installed than the newest was made with.
    """
    state = releases.load(services, fund_id)
    published = [item for item in state.all if item.state in FINAL]
    if not published:
        raise NotFoundError(f"Fund {fund_id} has published nothing yet; there is nothing to verify.")
    newest = published[-1].version
    versions = [(item.version, verify_version(services, fund_id, item)) for item in published]
    chain = services.log.verify(_published_head(services, fund_id, newest) if versions[-1][1].ok else None)
    proof = Proof(fund_id=fund_id, chain=chain, versions=versions, rebuilt=None)
    if not with_rebuild or not proof.is_whole:
        return proof
    try:
        return replace(proof, rebuilt=rebuild(services, fund_id, newest))
    except ErasedError as error:
        return replace(proof, erased=str(error))


def _published_head(services: Services, fund_id: str, version: str) -> Head:
    """Return the head of the log that a published version names: what a log rewritten whole cannot agree with."""
    package = json.loads(services.public.get(f"{releases.version_folder(fund_id, version)}/datapackage.json"))
    return Head(position=package["openoutcomes"]["log_position"], hash=package["openoutcomes"]["chain_head"])
