"""The verbs that prove: is the log whole, are the public files those that were approved, does the log still lead to the same bytes."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.application import catalogue, history, releases, signing
from pipeline.application.candidates import make_candidate
from pipeline.application.erasures import erased, read_erasures
from pipeline.application.services import Services, read_ledger
from pipeline.domain.events import ReleasePublished
from pipeline.domain.release import FINAL, Release, Releases
from pipeline.domain.signing import SigningKey, allowed_signers
from pipeline.errors import ErasedError, IntegrityError, NotAllowedError, NotFoundError
from pipeline.ports import ChainFault, Head
from pipeline.stages import verification
from pipeline.verifier import MANIFEST, STATEMENT

Versions = Sequence[tuple[str, verification.Verification]]


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """What building a release again gave: the files whose bytes differ from those recorded (none when all is well)."""

    version: str
    files: int
    differing: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Proof:
    """One look at everything that can be proven for a fund.

    `signers_stand`: the public allowed signers are the keys that the log knows; `unknown` are public versions that it does not know; `lists` are
    the lists, notices, feeds and triangles beside the versions that are not what they lead to; `erased` says
    why the newest release cannot be rebuilt, where that is so: no fault.
    """

    fund_id: str
    chain: ChainFault | None
    versions: Versions
    rebuilt: Rebuilt | None
    signers_stand: bool = True
    unknown: Sequence[str] = ()
    lists: Sequence[str] = ()
    erased: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether nothing was found wrong."""
        stands = self.chain is None and self.signers_stand and not self.unknown and not self.lists and all(found.ok for _, found in self.versions)
        return stands and not (self.rebuilt and self.rebuilt.differing)


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


def verify_version(services: Services, fund_id: str, published: Release, signers: bytes | None = None) -> verification.Verification:
    """Check a published version's files against the manifest that was approved, and its signatures against the keys that were in force."""
    folder = f"{releases.version_folder(fund_id, published.version)}/"
    return verification.verify_folder(
        lambda: [name.removeprefix(folder) for name in services.public.names(folder)],
        lambda path: services.public.get(folder + path),
        expected_manifest=published.manifest,
        signers=signers,
    )


def verify(services: Services, fund_id: str, *, with_rebuild: bool = True) -> Proof:
    """Verify the log, every published version and its signatures, and that the newest can be built again byte for byte (only if all else is well).

    Raises: NotFoundError when nothing was published; NotAllowedError when other schemas or rules are installed than the newest was made with.
    """
    state = releases.load(services, fund_id)
    published = [item for item in state.all if item.state in FINAL]
    unknown = _find_unknown(services, state)
    if unknown and not published:
        raise IntegrityError(f"Version {unknown[0]} of {fund_id} is public and the log knows nothing of it: the end of the log is gone. Restore it.")
    if not published:
        raise NotFoundError(f"Fund {fund_id} has published nothing yet; there is nothing to verify.")
    keys = signing.load_keys(services)
    signers = allowed_signers(keys, fund_id) if keys else None
    signed = {item.version for item in published if keys and _published_at(services, state, item) > keys[0].position}
    versions: Versions = [(item.version, verify_version(services, fund_id, item, signers if item.version in signed else None)) for item in published]
    newest = published[-1].version
    chain = services.log.verify(_published_head(services, fund_id, newest, is_signed=newest in signed) if versions[-1][1].ok else None)
    if chain is None:
        versions = _check_statements(services, state, dict(versions), signed, keys)
    stands = not signed or _stands(services, signing.signers_path(fund_id), signers)
    proof = Proof(fund_id=fund_id, chain=chain, versions=versions, rebuilt=None, signers_stand=stands, unknown=unknown)
    if proof.is_whole:
        proof = replace(proof, lists=_find_other_lists(services, fund_id))
    if not with_rebuild or not proof.is_whole:
        return proof
    try:
        return replace(proof, rebuilt=rebuild(services, fund_id, newest))
    except ErasedError as error:
        return replace(proof, erased=str(error))


def _find_other_lists(services: Services, fund_id: str) -> Sequence[str]:
    """Return what stands beside the versions and is not what log and versions lead to: somebody altered it, or publishing was interrupted."""
    lists = _others(services, catalogue.make_index(services, fund_id))
    # Triangles are made of what the list of versions names, so they are asked for when that stands.
    return lists or _others(services, history.make_triangle_files(services.public, services.definitions, fund_id)[1])


def _others(services: Services, expected: Mapping[str, bytes]) -> Sequence[str]:
    return [name for name, content in sorted(expected.items()) if not _stands(services, name, content)]


def _find_unknown(services: Services, state: Releases) -> Sequence[str]:
    """Return the public versions that nobody approved, by the log: it was cut off, or somebody put them there."""
    folder = f"datasets/{state.fund_id}/v"
    public = {name.removeprefix(folder).split("/")[0] for name in services.public.names(folder) if name.endswith(f"/{MANIFEST}")}
    return sorted(public - {item.version for item in state.all if item.approved_by is not None})


def _published_at(services: Services, state: Releases, published: Release) -> int:
    """Return the position of the event by which a release was published."""
    stream = services.log.read_stream(state.stream)
    return max(
        recorded.position for recorded in stream if isinstance(recorded.event, ReleasePublished) and recorded.event.version == published.version
    )


def _check_statements(
    services: Services, state: Releases, found: Mapping[str, verification.Verification], signed: Collection[str], keys: Sequence[SigningKey]
) -> Versions:
    """Return what was found, and where a statement whose signature is good is not the one that this log leads to."""
    tree = signing.read_tree(services)
    checked = []
    for version, result in found.items():
        if version in signed and result.ok:
            statement = services.public.get(f"{releases.version_folder(state.fund_id, version)}/{STATEMENT}")
            (key,) = [key for key in keys if key.fingerprint == json.loads(statement)["key"]]
            if signing.state_release(services, state, state.release(version), key, tree)[0] != statement:
                problem = verification.Problem(STATEMENT, "disagrees: it is signed, but it is not what the log says of this version")
                result = replace(result, problems=(problem,))  # noqa: PLW2901
        checked.append((version, result))
    return checked


def _stands(services: Services, name: str, content: bytes | None) -> bool:
    try:
        return services.public.get(name) == content
    except NotFoundError:
        return False


def _published_head(services: Services, fund_id: str, version: str, *, is_signed: bool) -> Head:
    """Return the head of the log that a published version names: what a log rewritten whole cannot agree with."""
    folder = releases.version_folder(fund_id, version)
    if is_signed:
        log = json.loads(services.public.get(f"{folder}/{STATEMENT}"))["log"]
        return Head(position=log["position"], hash=log["event"])
    package = json.loads(services.public.get(f"{folder}/datapackage.json"))
    return Head(position=package["openoutcomes"]["log_position"], hash=package["openoutcomes"]["chain_head"])
