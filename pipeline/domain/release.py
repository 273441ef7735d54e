"""The versions of a fund's published data: their states, and the rules that keep published data honest.

One stream per fund, `release/{fund}`, holds all its versions, because the rules speak of several at once: at most one release is open, each is
based on the newest published one, and a version number is given out once. So one expected stream version guards them all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Literal

from pipeline.domain.events import (
    DomainEvent,
    Recorded,
    ReleaseApproved,
    ReleaseAudited,
    ReleaseBuilt,
    ReleaseDrafted,
    ReleaseFile,
    ReleasePublished,
    ReleaseReturned,
    ReleaseState,
    ReleaseWithdrawn,
)
from pipeline.errors import ConflictError, NotAllowedError, NotFoundError, UsageError

TRANSITIONS: Mapping[ReleaseState, frozenset[ReleaseState]] = {
    "drafted": frozenset({"drafted", "built"}),
    "built": frozenset({"drafted", "audited"}),
    "audited": frozenset({"drafted", "audited", "approved", "returned"}),
    "approved": frozenset({"published", "returned"}),
    "returned": frozenset({"drafted"}),
    "published": frozenset({"withdrawn"}),
    "withdrawn": frozenset(),
}
OPEN: frozenset[ReleaseState] = frozenset({"drafted", "built", "audited", "approved"})
FINAL: frozenset[ReleaseState] = frozenset({"published", "withdrawn"})
REPLACED = "replaced_by_draft"
RETURN_REASONS: tuple[str, ...] = ("figures_wrong", "returns_missing", "disclosure_risk", "rules_to_change", "not_now")
RETRACTION_REASONS: tuple[str, ...] = ("figures_wrong", "disclosure_risk", "legal_request", "published_in_error")

SILENCING_REASONS: frozenset[str] = frozenset({"disclosure_risk", "legal_request"})
"""Reasons of a withdrawal for which the values of a version are not repeated by the versions after it."""

Change = Literal["major", "minor", "patch"]
_WEIGHTS: tuple[Change, ...] = ("patch", "minor", "major")
Decision = Callable[["Releases"], Sequence[DomainEvent]]


@dataclass(frozen=True, order=True)
class Version:
    """A version of the published data, MAJOR.MINOR.PATCH. Source: design section 7, after the Data Package version recipe and DfE's rules."""

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str) -> Version:
        """Read `1.2.3` or `v1.2.3`. Raises: UsageError when the text is of another form."""
        found = re.fullmatch(r"v?(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})", text, re.ASCII)
        if found is None:
            raise UsageError("A version is written like 1.2.0.")
        return cls(int(found[1]), int(found[2]), int(found[3]))

    def raised(self, change: Change) -> Version:
        """Return the next version for a change of this weight."""
        if change == "major":
            return Version(self.major + 1, 0, 0)
        if change == "minor":
            return Version(self.major, self.minor + 1, 0)
        return Version(self.major, self.minor, self.patch + 1)

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


FIRST_VERSION = Version(1, 0, 0)


def _weight(base: str | None, version: Version) -> Change:
    """Return how weighty the step from a published version (None: nothing was published yet) to another is."""
    before = Version.parse(base) if base is not None else Version(0, 0, 0)
    if version.major != before.major:
        return "major"
    return "minor" if version.minor != before.minor else "patch"


@dataclass(frozen=True, kw_only=True)
class Release:
    """One version and what became of it. `drafted_by` is who asked for it: a draft that `build` gave another number keeps that person.

    `approvals` are the people who signed this candidate, in their order; `approved_by` is the one whose signature made it approved.
    """

    version: str
    draft: ReleaseDrafted
    drafted_by: str
    drafted_at: datetime
    state: ReleaseState = "drafted"
    manifest: str | None = None
    files: tuple[ReleaseFile, ...] = ()
    suppressed: Mapping[str, int] | None = None
    audit_passed: bool | None = None
    audit_report: str | None = None
    approvals: tuple[str, ...] = ()
    approved_by: str | None = None
    published_at: datetime | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Releases:
    """All versions of one fund, folded from its stream; `stream_version` is the version to expect on append."""

    fund_id: str
    stream_version: int = 0
    by_version: Mapping[str, Release] | None = None

    @property
    def stream(self) -> str:
        """The stream of the log that holds this fund's releases."""
        return release_stream(self.fund_id)

    @property
    def all(self) -> tuple[Release, ...]:
        """Every version, oldest first."""
        return tuple(sorted((self.by_version or {}).values(), key=lambda r: Version.parse(r.version)))

    @property
    def newest(self) -> Release | None:
        """The newest version that was ever published, withdrawn or not."""
        return next((r for r in reversed(self.all) if r.state in FINAL), None)

    @property
    def open(self) -> Release | None:
        """The release that is under way, if any."""
        return next((r for r in self.all if r.state in OPEN), None)

    def release(self, version: str) -> Release:
        """Return one version. Raises: NotFoundError when there is none."""
        found = (self.by_version or {}).get(str(Version.parse(version)))
        if found is None:
            raise NotFoundError(f"Fund {self.fund_id} has no release {version}. `outcomes release list` shows what there is.")
        return found


def release_stream(fund_id: str) -> str:
    """Return the name of the stream that holds a fund's releases."""
    return f"release/{fund_id}"


def evolve(state: Releases, recorded: Recorded) -> Releases:
    """Return the state after one more event of the stream."""
    event = recorded.event
    releases = dict(state.by_version or {})
    if isinstance(event, ReleaseDrafted):
        open_release, drafted_by = state.open, recorded.actor
        if open_release is not None and open_release.version != event.version:
            releases[open_release.version] = replace(open_release, state="returned", reason=REPLACED)
            is_renumbered = replace(open_release.draft, version=event.version, round=event.round) == event
            drafted_by = open_release.drafted_by if is_renumbered else drafted_by
        releases[event.version] = Release(version=event.version, draft=event, drafted_by=drafted_by, drafted_at=recorded.recorded_at)
    elif isinstance(event, ReleaseBuilt):
        releases[event.version] = replace(
            releases[event.version], state="built", manifest=event.manifest, files=tuple(event.files), suppressed=event.suppressed
        )
    elif isinstance(event, ReleaseAudited):
        releases[event.version] = replace(releases[event.version], state="audited", audit_passed=event.passed, audit_report=event.report)
    elif isinstance(event, ReleaseApproved):
        releases[event.version] = _signed(releases[event.version], event, recorded.actor)
    elif isinstance(event, ReleaseReturned):
        releases[event.version] = replace(releases[event.version], state="returned", reason=event.reason)
    elif isinstance(event, ReleasePublished):
        releases[event.version] = replace(releases[event.version], state="published", published_at=recorded.recorded_at)
    elif isinstance(event, ReleaseWithdrawn):
        releases[event.version] = replace(releases[event.version], state="withdrawn", reason=event.reason)
    return replace(state, stream_version=recorded.version, by_version=releases)


def _signed(release: Release, event: ReleaseApproved, actor: str) -> Release:
    """Return a release that one more person signed; it is approved once as many different people have as the event says are needed."""
    approvals = tuple(dict.fromkeys((*release.approvals, actor)))
    if len(approvals) < event.needed:
        return replace(release, approvals=approvals)
    return replace(release, approvals=approvals, state="approved", approved_by=actor)


def fold(fund_id: str, events: Iterable[Recorded]) -> Releases:
    """Return the state that a fund's release stream leads to."""
    state = Releases(fund_id=fund_id)
    for recorded in events:
        state = evolve(state, recorded)
    return state


def _check(release: Release, target: ReleaseState) -> None:
    if target not in TRANSITIONS[release.state]:
        raise NotAllowedError(f"Release {release.version} is {release.state} and cannot become {target}.")


def next_version(state: Releases, change: Change) -> Version:
    """Return the version number that a change of this weight leads to.

    The number of a release that was approved and then returned is spent: some of its files may stand in the public store already.
    """
    newest = state.newest
    version = FIRST_VERSION if newest is None else Version.parse(newest.version).raised(change)
    while _is_spent((state.by_version or {}).get(str(version))):
        version = version.raised("patch")
    return version


def _is_spent(release: Release | None) -> bool:
    return release is not None and release.state == "returned" and release.approved_by is not None


def is_same_draft(release: Release, draft: ReleaseDrafted) -> bool:
    """Say whether a draft would bring the same data by the same rules: a later log position alone is no news."""
    ours = release.draft
    return (ours.ledger, ours.rules, ours.schemas, ours.base_version) == (draft.ledger, draft.rules, draft.schemas, draft.base_version)


def decide_draft(
    state: Releases, *, version: Version, position: int, chain_head: str, as_of: date, ledger: str, rules: str, schemas: str, code: str
) -> Sequence[DomainEvent]:
    """Pin a release; a draft that brings nothing new appends nothing, unless it asks for a greater version number.

    Raises: NotAllowedError when an approved release waits for publication, the version is not after the newest or is spent, or a person returned the
    same data under a number of the same weight.
    """
    newest, open_release = state.newest, state.open
    draft = ReleaseDrafted(
        version=str(version),
        round=1,
        base_version=newest.version if newest else None,
        position=position,
        chain_head=chain_head,
        as_of=as_of,
        ledger=ledger,
        rules=rules,
        schemas=schemas,
        code=code,
    )
    if open_release is not None and is_same_draft(open_release, draft) and Version.parse(open_release.version) >= version:
        return ()
    if open_release is not None and open_release.state == "approved":
        raise NotAllowedError(f"Release {open_release.version} is approved and waits for publication. Publish it or return it, then draft again.")
    if newest is not None and version <= Version.parse(newest.version):
        raise NotAllowedError(f"Version {version} is not after {newest.version}, the newest published one.")
    _check_not_returned(state, draft)
    before = (state.by_version or {}).get(draft.version)
    if before is not None:
        _check(before, "drafted")
        if _is_spent(before):
            raise NotAllowedError(f"Release {version} was approved once, and its files may be public already. Draft a later number.")
        draft = replace(draft, round=before.draft.round + 1)
    return (draft,)


def _check_not_returned(state: Releases, draft: ReleaseDrafted) -> None:
    """Raise NotAllowedError when a person returned the same data under a number of the same weight or a greater one."""
    asked = _weight(draft.base_version, Version.parse(draft.version))
    for release in state.all:
        is_returned = release.state == "returned" and release.reason != REPLACED and is_same_draft(release, draft)
        if is_returned and _WEIGHTS.index(_weight(draft.base_version, Version.parse(release.version))) >= _WEIGHTS.index(asked):
            raise NotAllowedError(f"Release {release.version} was returned ({release.reason}) and nothing has changed since.")


def decide_renumber(state: Releases, pinned: ReleaseDrafted, version: Version) -> Sequence[DomainEvent]:
    """Replace a draft by one that pins the same and has a greater version number; again appends nothing.

    Raises: NotAllowedError when the draft is not open any more; ConflictError when it was drafted anew meanwhile.
    """
    release = state.release(pinned.version)
    earlier = (state.by_version or {}).get(str(version))
    if release.state != "drafted":
        if earlier is not None and is_same_draft(earlier, pinned):
            return ()
        raise NotAllowedError(f"Release {pinned.version} is {release.state}; only a draft gets another number.")
    _check_pinned(release, pinned)
    return (replace(pinned, version=str(version), round=earlier.draft.round + 1 if earlier else 1),)


def _check_pinned(release: Release, pinned: ReleaseDrafted) -> None:
    if release.draft != pinned:
        raise ConflictError(f"Release {release.version} was drafted anew while it was built. Build it again.")


def check_number(release: Release, required: Change | None) -> None:
    """Raise NotAllowedError when a version's number says less than what it changes. Args: required, the least weight that they call for."""
    base = release.draft.base_version
    if required is None or _WEIGHTS.index(_weight(base, Version.parse(release.version))) >= _WEIGHTS.index(required):
        return
    raise NotAllowedError(
        f"Release {release.version} changes more than its number says: after {base or 'nothing'} it must be a {required} version. "
        "Draft it again; nothing was recorded."
    )


def decide_build(
    state: Releases, pinned: ReleaseDrafted, *, manifest: str, files: Sequence[ReleaseFile], suppressed: Mapping[str, int]
) -> Sequence[DomainEvent]:
    """Record the candidate that a draft led to; the same bytes again append nothing.

    Raises: ConflictError when it was drafted anew meanwhile, or the same draft gave other bytes before (a build must be a function of its draft).
    """
    release = state.release(pinned.version)
    _check_pinned(release, pinned)
    if release.manifest is not None:
        if release.manifest == manifest:
            return ()
        raise ConflictError(f"Release {release.version} was built before with other bytes from the same draft. Draft it again and look why.")
    _check(release, "built")
    return (ReleaseBuilt(version=release.version, round=release.draft.round, manifest=manifest, files=files, suppressed=suppressed),)


def decide_audit(state: Releases, version: str, *, manifest: str, passed: bool, report: str, attacks: Mapping[str, int]) -> Sequence[DomainEvent]:
    """Record the audit of a candidate; auditing it again appends nothing.

    Raises: ConflictError when the candidate was built anew meanwhile.
    """
    release = state.release(version)
    if release.audit_passed is not None and release.manifest == manifest:
        return ()
    _check(release, "audited")
    if release.manifest != manifest:
        raise ConflictError(f"Release {release.version} changed while it was audited. Audit it again.")
    return (ReleaseAudited(version=release.version, round=release.draft.round, manifest=manifest, passed=passed, report=report, attacks=attacks),)


def decide_approve(
    state: Releases, version: str, *, manifest: str, actor: str, submitters: Collection[str] = (), needed: int = 1
) -> Sequence[DomainEvent]:
    """Approve the candidate whose manifest hash the approver saw; the same approval again appends nothing.

    Args: submitters, who sent the returns that are in it; needed, how many different people have to approve.
    Raises: NotAllowedError when the approver drafted it or sent a return in it, or the audit failed; ConflictError when the hash is not the
    candidate's.
    """
    release = state.release(version)
    if release.state in ("audited", "approved", "published") and release.manifest == manifest and actor in release.approvals:
        return ()
    _check(release, "approved")
    if release.manifest != manifest:
        raise ConflictError(f"The manifest hash given is not that of release {release.version} as it stands. Look at it again before you approve.")
    if not release.audit_passed:
        raise NotAllowedError(f"Release {release.version} failed its disclosure audit and cannot be approved.")
    if actor == release.drafted_by:
        raise NotAllowedError(f"Release {release.version} was drafted by {actor}; another person must approve it.")
    if actor in submitters:
        raise NotAllowedError(f"Release {release.version} holds a return that {actor} sent; a person who sent none of them must approve it.")
    pinned = release.draft
    return (
        ReleaseApproved(
            version=release.version,
            round=pinned.round,
            manifest=manifest,
            audit=release.audit_report,
            rules=pinned.rules,
            position=pinned.position,
            needed=needed,
        ),
    )


def decide_return(state: Releases, version: str, *, manifest: str, reason: str) -> Sequence[DomainEvent]:
    """Send a candidate back; returning it again appends nothing.

    Raises: UsageError when the reason is not one of RETURN_REASONS; ConflictError when the hash is not the candidate's.
    """
    if reason not in RETURN_REASONS:
        raise UsageError(f"A return needs a reason: one of {', '.join(RETURN_REASONS)}.")
    release = state.release(version)
    if release.manifest != manifest:
        raise ConflictError(f"The manifest hash given is not that of release {release.version} as it stands. Look at it again.")
    if release.state == "returned":
        return ()
    _check(release, "returned")
    return (ReleaseReturned(version=release.version, round=release.draft.round, manifest=manifest, reason=reason),)


def decide_publish(state: Releases, version: str, *, manifest: str) -> Sequence[DomainEvent]:
    """Record that an approved release stands in the public store; publishing it again appends nothing.

    Raises: NotAllowedError when it is not approved or no longer follows the newest version; ConflictError when another manifest was approved.
    """
    release = state.release(version)
    if release.state == "published" and release.manifest == manifest:
        return ()
    check_publishable(state, release)
    if release.manifest != manifest:
        raise ConflictError(f"Release {release.version} was approved with another manifest than the one published.")
    return (ReleasePublished(version=release.version, round=release.draft.round, manifest=manifest),)


def check_publishable(state: Releases, release: Release) -> None:
    """Raise NotAllowedError unless the release is approved and follows the newest published version."""
    _check(release, "published")
    newest = state.newest
    if release.draft.base_version != (newest.version if newest else None):
        raise NotAllowedError(f"Release {release.version} was drafted on {release.draft.base_version}, not the newest any more. Draft it again.")


def decide_withdraw(state: Releases, version: str, reason: str) -> Sequence[DomainEvent]:
    """Withdraw a published release with a public reason; withdrawing it again appends nothing.

    Raises: UsageError when the reason is not one of RETRACTION_REASONS.
    """
    if reason not in RETRACTION_REASONS:
        raise UsageError(f"A withdrawal needs a reason: one of {', '.join(RETRACTION_REASONS)}.")
    release = state.release(version)
    if release.state == "withdrawn":
        return ()
    _check(release, "withdrawn")
    return (ReleaseWithdrawn(version=release.version, reason=reason),)
