"""The verbs of the key that signs releases, and what stands beside a MANIFEST: its signature and the signed statement.

A key enters the log when it first signs, or when it replaces another. What is signed, and the time of signing, come from the log alone, so that
a publication that died can be run again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.application.services import Services, decide, unseal
from pipeline.domain import release, signing
from pipeline.domain.events import FundRegistered
from pipeline.domain.merkle import MerkleTree
from pipeline.domain.release import Release, Releases
from pipeline.domain.signing import SigningKey
from pipeline.errors import NotAllowedError
from pipeline.stages.statement import make_statement, statement_bytes
from pipeline.verifier import SIGNATURE, SIGNING_TIME, STATEMENT, STATEMENT_SIGNATURE, compact_instant

SIGNERS = "allowed_signers"


@dataclass(frozen=True, kw_only=True)
class Rotated:
    """What a rotation led to: the key in force, and the one that it took the place of."""

    key: SigningKey
    replaced: SigningKey | None


def load_keys(services: Services) -> tuple[SigningKey, ...]:
    """Return all keys that the log knows, the one in force last."""
    return signing.fold(services.log.read_stream(signing.STREAM))


def announce(services: Services) -> SigningKey:
    """Return the key in force, which enters the log when it is the first. Raises: ConfigurationError when the key at hand is another."""
    public_key = services.signer.public_key()
    keys, _ = decide(services, signing.STREAM, signing.fold, lambda keys: signing.decide_announce(keys, public_key))
    return keys[-1]


def rotate(services: Services) -> Rotated:
    """Put a new key in the place of the one in force; a rotation that died before its end is finished, and nothing else is done.

    Raises: NotAllowedError when an approved release waits for publication: it might carry a signature of the old key already.
    """
    public_key = services.signer.prepare_next()
    for fund_id in _funds(services):
        waiting = release.fold(fund_id, services.log.read_stream(release.release_stream(fund_id))).open
        if waiting is not None and waiting.state == "approved":
            raise NotAllowedError(f"Release {waiting.version} of {fund_id} is approved and waits. Publish it or return it, then replace the key.")
    keys, _ = decide(services, signing.STREAM, signing.fold, lambda keys: signing.decide_replace(keys, public_key))
    for fund_id in _funds(services):
        if services.public.exists(signers_path(fund_id)):
            write_signers(services, fund_id)
    services.signer.adopt_next()
    return Rotated(key=keys[-1], replaced=keys[-2] if len(keys) > 1 else None)


def sign(services: Services, state: Releases, approved: Release) -> Mapping[str, bytes]:
    """Return what stands beside the MANIFEST of an approved release, by path: signature, time of signing, statement and the statement's signature."""
    key = announce(services)
    manifest = unseal(services.restricted, str(approved.manifest))
    statement, time = state_release(services, state, approved, key, read_tree(services))
    signature = services.signer.sign
    return {SIGNATURE: signature(manifest), SIGNING_TIME: time, STATEMENT: statement, STATEMENT_SIGNATURE: signature(statement)}


def state_release(services: Services, state: Releases, stated: Release, key: SigningKey, tree: MerkleTree) -> tuple[bytes, bytes]:
    """Return the statement that the log leads to for a release, and the file with its time of signing."""
    stream = services.log.read_stream(state.stream)
    earlier = state.release(stated.draft.base_version) if stated.draft.base_version else None
    statement = make_statement(state.fund_id, stated, earlier, stream, tree, key)
    return statement_bytes(statement), f"{compact_instant(statement['signed_at'])}\n".encode()


def read_tree(services: Services) -> MerkleTree:
    """Return the whole log as a Merkle tree. Raises: IntegrityError when the log does not hold."""
    return MerkleTree([recorded.hash for recorded in services.log.read()])


def write_signers(services: Services, fund_id: str) -> None:
    """Write for the public by which keys a fund's releases are signed, and when each was in force."""
    services.public.replace(signers_path(fund_id), signing.allowed_signers(load_keys(services), fund_id))


def signers_path(fund_id: str) -> str:
    """Return where in the public store a fund's allowed signers stand."""
    return f"datasets/{fund_id}/{SIGNERS}"


def _funds(services: Services) -> Sequence[str]:
    return sorted({recorded.event.fund_id for recorded in services.log.read() if isinstance(recorded.event, FundRegistered)})
