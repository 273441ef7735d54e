"""The statement of a release: who approved which MANIFEST, what the audit said, and of which log it is the outcome.

It is a function of the log up to the last approval and of the key that signs it, so that publishing again gives the same bytes. Everything in it is
public: actors by their id, hashes, instants; nothing of what the audit found. `pipeline/verifier.py` checks it without the log.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pipeline.domain.events import Recorded, ReleaseApproved, ReleaseAudited
from pipeline.domain.merkle import MerkleTree
from pipeline.domain.release import Release
from pipeline.domain.signing import SigningKey
from pipeline.errors import IntegrityError
from pipeline.verifier import FORMAT

LOCK = "+lock."
"""What stands in a version of the code before the hash of its lock file."""


def find_approvals(stream: Sequence[Recorded], release: Release) -> Sequence[Recorded]:
    """Return the events by which a release was approved as it stands. Raises: IntegrityError when there is none."""
    found = [recorded for recorded in stream if isinstance(recorded.event, ReleaseApproved) and _speaks_of(recorded.event, release)]
    if not found:
        raise IntegrityError(f"The log holds no approval of release {release.version} as it stands; nothing can be stated of it.")
    return found


def make_statement(
    fund_id: str, release: Release, earlier: Release | None, stream: Sequence[Recorded], tree: MerkleTree, key: SigningKey
) -> Mapping[str, Any]:
    """Return the statement of an approved release.

    Args: `earlier` is the version that it follows; `stream` are the events of the fund's releases; `tree` holds at least all events up to the last
    approval; `key` will sign.
    """
    approvals = find_approvals(stream, release)
    size, head = approvals[-1].position, approvals[-1].hash
    (*_, audit) = [recorded for recorded in stream if isinstance(recorded.event, ReleaseAudited) and _speaks_of(recorded.event, release)]
    passed = isinstance(audit.event, ReleaseAudited) and audit.event.passed
    code, _, lock = release.draft.code.partition(LOCK)

    def witness(position: int, event: str) -> Mapping[str, Any]:
        return {"position": position, "event": event, "inclusion": tree.inclusion(position, size)}

    return {
        "format": FORMAT,
        "fund_id": fund_id,
        "version": release.version,
        "manifest": release.manifest,
        "signed_at": instant(max(approvals[-1].recorded_at, key.valid_from)),
        "key": key.fingerprint,
        "audit": {"passed": passed, "audited_at": instant(audit.recorded_at), **witness(audit.position, audit.hash)},
        "approvals": [
            {
                "actor": approval.actor,
                "approved_at": instant(approval.recorded_at),
                "manifest": release.manifest,
                **witness(approval.position, approval.hash),
            }
            for approval in approvals
        ],
        "code": {"version": code, "lock": f"sha256:{lock}" if lock else None},
        "pinned": witness(release.draft.position, release.draft.chain_head),
        "log": {"merkle_root": tree.root(size), **witness(size, head)},
        "earlier": _earlier(earlier, stream, tree, size) if earlier else None,
    }


def _earlier(earlier: Release, stream: Sequence[Recorded], tree: MerkleTree, size: int) -> Mapping[str, Any]:
    before = find_approvals(stream, earlier)[-1].position
    return {
        "version": earlier.version,
        "manifest": earlier.manifest,
        "position": before,
        "merkle_root": tree.root(before),
        "consistency": tree.consistency(before, size),
    }


def _speaks_of(event: ReleaseApproved | ReleaseAudited, release: Release) -> bool:
    return (event.version, event.round, event.manifest) == (release.version, release.draft.round, release.manifest)


def statement_bytes(statement: Mapping[str, Any]) -> bytes:
    """Return a statement as it is signed and published."""
    return (json.dumps(statement, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def instant(moment: datetime) -> str:
    """Return an instant to the second, in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
