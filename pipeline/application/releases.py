"""The verbs of one release: draft, build, audit, approve or return, publish, withdraw."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from pipeline.application import catalogue, checklist, history, signing
from pipeline.application.candidates import Candidate, make_candidate, read_earlier, tell_audit
from pipeline.application.services import Services, decide, read_ledger, seal, unseal
from pipeline.domain import release
from pipeline.domain.events import DomainEvent, Recorded, ReleaseDrafted
from pipeline.domain.ledger import Ledger
from pipeline.domain.release import Change, Release, Releases, Version
from pipeline.errors import IntegrityError, NotAllowedError, NotFoundError
from pipeline.stages import audit as attack
from pipeline.stages import comparison
from pipeline.stages.verification import read_parquet

MANIFEST, CHANGES = "MANIFEST", "changes.parquet"


@dataclass(frozen=True, kw_only=True)
class Drafted:
    """What drafting led to: the open release, or None when the data in force are published already."""

    release: Release | None
    is_new: bool


def draft(services: Services, fund_id: str, change: Change | None = None) -> Drafted:
    """Pin a release of a fund to the log as it stands; nothing is drafted when nothing differs from what is published.

    The version number is the least that the rule allows, as far as can be told before building; `change` asks for a weightier one.
    Raises: NotFoundError when the fund is not registered; NotAllowedError when an approved release waits for publication.
    """
    ledger = read_ledger(services)
    if fund_id not in ledger.funds:
        raise NotFoundError(f"There is no fund {fund_id} in the register.")
    digests = services.definitions.digests

    def decision(state: Releases) -> Sequence[DomainEvent]:
        newest = state.newest
        if newest is not None and change is None and _is_published(newest, ledger.digest(fund_id), digests):
            return ()
        return release.decide_draft(
            state,
            version=release.next_version(state, change or _likely_change(services, newest, ledger, fund_id)),
            position=ledger.position,
            chain_head=ledger.chain_head,
            as_of=services.clock().date(),
            ledger=ledger.digest(fund_id),
            rules=digests["disclosure"],
            schemas=digests["schemas"],
            code=services.code,
        )

    state, appended = _decide(services, fund_id, decision)
    return Drafted(release=state.open, is_new=bool(appended))


def build(services: Services, fund_id: str, version: str) -> Release:
    """Tabulate and protect a draft; seal the files of the candidate. Unprotected tables exist in memory only.

    When the figures differ by more than the drafted number says, the draft is replaced by one with the right number, and that one is built:
    look at the version of the release returned.
    Raises: NotAllowedError when rules or schemas changed since the draft; RuleError when a table fails its own suite.
    """
    state = load(services, fund_id)
    drafted = state.release(version)
    if drafted.manifest is not None:
        return drafted
    pinned = drafted.draft
    check_definitions(services, pinned)
    candidate = make_candidate(services, fund_id, pinned)
    least = release.next_version(state, candidate.required_change or "patch")
    if least > Version.parse(drafted.version):
        renumbered, _ = _decide(services, fund_id, lambda now: release.decide_renumber(now, pinned, least))
        drafted = renumbered.release(str(least))
        candidate = make_candidate(services, fund_id, drafted.draft)
    return _record_build(services, fund_id, drafted, candidate)


def audit(services: Services, fund_id: str, version: str) -> Release:
    """Attack a candidate as an outsider would, from its files and those of all releases before it; seal the private report."""
    drafted = load(services, fund_id).release(version)
    if drafted.manifest is None:
        raise NotAllowedError(f"Release {version} has no candidate yet. Build it first.")
    if drafted.audit_passed is not None:
        return drafted
    check_definitions(services, drafted.draft)
    tables = read_candidate(services, drafted)
    earlier = read_earlier(services, fund_id, drafted.draft)
    told = tell_audit(services, fund_id, drafted.draft, earlier)
    report = attack.audit(
        tables,
        services.definitions.disclosure,
        told.earlier,
        told.revisions,
        told.by_price,
        changes=_read_changes(services, drafted),
        base=earlier[-1].public if earlier else None,
        keys={name: schema.primary_key for name, schema in services.definitions.tables["published"].items()},
    )
    if told.shown is not None:
        since = attack.find_since_erasure(tables, services.definitions.disclosure, [past.public for past in earlier], told.shown, told.by_price)
        report = report.with_more("since_erasure", since)
    seal(services.restricted, report.certificate.to_bytes())
    sealed = seal(services.restricted, report.to_bytes())
    manifest = drafted.manifest
    state, _ = _decide(
        services,
        fund_id,
        lambda now: release.decide_audit(now, version, manifest=manifest, passed=report.passed, report=sealed, attacks=dict(report.attacks)),
    )
    return state.release(version)


def check_certificate(services: Services, fund_id: str, version: str) -> Sequence[str]:
    """Check the certificate of an audited release against the public side of all releases, without a solver; return what is wrong with it.

    Raises: NotAllowedError when it was not audited yet, or rules or schemas changed since the draft; IntegrityError when it cannot be read.
    """
    audited = load(services, fund_id).release(version)
    if audited.audit_report is None:
        raise NotAllowedError(f"Release {version} has not been audited; it has no certificate yet.")
    check_definitions(services, audited.draft)
    name = json.loads(unseal(services.restricted, audited.audit_report)).get("certificate")
    if name is None:
        raise NotAllowedError(f"Release {version} was audited before certificates were made. Draft it again.")
    certificate = attack.Certificate.parse(unseal(services.restricted, name))
    earlier = read_earlier(services, fund_id, audited.draft)
    told = tell_audit(services, fund_id, audited.draft, earlier)
    tables = read_candidate(services, audited)
    return attack.check(certificate, tables, services.definitions.disclosure, told.earlier, told.revisions, told.by_price)


def suppression(services: Services, fund_id: str, version: str) -> Mapping[str, Mapping[str, object]]:
    """Return by table how many cells of a release are hidden, for what reason, and which part of the totals: for the steward.

    Worked out again from the log, so that what it tells is kept nowhere.
    Raises: NotAllowedError when rules or schemas changed since the draft.
    """
    pinned = load(services, fund_id).release(version).draft
    check_definitions(services, pinned)
    return make_candidate(services, fund_id, pinned).suppression


def approve(services: Services, fund_id: str, version: str, manifest: str) -> Release:
    """Approve the candidate whose manifest hash the approver saw.

    Raises: NotAllowedError when the approver drafted it or sent a return in it, or an error of its checklist stands; ConflictError when the hash is
    another.
    """
    state = load(services, fund_id)
    sent = checklist.submitters(read_ledger(services, state.release(version).draft.position), fund_id)

    def decision(now: Releases) -> Sequence[DomainEvent]:
        return release.decide_approve(now, version, manifest=manifest, actor=services.actor, submitters=sent, needed=services.approvals_needed)

    if decision(state):
        checklist.refuse(checklist.make(services, fund_id, version))
    state, _ = _decide(services, fund_id, decision)
    return state.release(version)


def return_(services: Services, fund_id: str, version: str, manifest: str, reason: str) -> Release:
    """Send a candidate back with a coded reason."""
    state, _ = _decide(services, fund_id, lambda now: release.decide_return(now, version, manifest=manifest, reason=reason))
    return state.release(version)


def publish(services: Services, fund_id: str, version: str) -> Release:
    """Put an approved release's files in the public store, signed, the manifest last, and record it; publishing again repairs and adds nothing.

    Raises: NotAllowedError when it is not approved; IntegrityError when a sealed file is not what was approved; ConflictError when other bytes
    stand under a public name; ConfigurationError when the key to sign with is not at hand.
    """
    state = load(services, fund_id)
    approved = state.release(version)
    if approved.state not in release.FINAL:
        release.check_publishable(state, approved)
        checklist.check_standing(services, fund_id, approved)
        _copy_out(services, state, approved)
        state, _ = _decide(services, fund_id, lambda now: release.decide_publish(now, version, manifest=str(approved.manifest)))
    elif signing.load_keys(services):
        signing.write_signers(services, fund_id)
    tell(services, fund_id)
    return state.release(version)


def withdraw(services: Services, fund_id: str, version: str, reason: str) -> Release:
    """Withdraw a published release with a public reason. Its files stay; the index says that it is withdrawn."""
    state, _ = _decide(services, fund_id, lambda now: release.decide_withdraw(now, version, reason))
    tell(services, fund_id)
    return state.release(version)


def make(services: Services, fund_id: str, change: Change | None = None) -> Release | None:
    """Draft, build and audit in a row; None when there is nothing to release."""
    drafted = draft(services, fund_id, change).release
    if drafted is None:
        return None
    return audit(services, fund_id, build(services, fund_id, drafted.version).version)


def load(services: Services, fund_id: str) -> Releases:
    """Return all versions of a fund."""
    return release.fold(fund_id, services.log.read_stream(release.release_stream(fund_id)))


def read_candidate(services: Services, built: Release) -> Mapping[str, pa.Table]:
    """Return the tables of a candidate, read back from its sealed files."""
    by_path = {file.path: file.sha256 for file in built.files}
    return comparison.read_published(lambda path: unseal(services.restricted, by_path[path]))


def _read_changes(services: Services, built: Release) -> attack.ChangesFile | None:
    """Return what a candidate says has changed; None when it was built before versions said that."""
    by_path = {file.path: file.sha256 for file in built.files}
    if CHANGES not in by_path:
        return None
    table, summary, words = (unseal(services.restricted, by_path[path]) for path in (CHANGES, "changes.json", "CHANGELOG.md"))
    return attack.ChangesFile(read_parquet(table), summary, words)


def tell(services: Services, fund_id: str) -> None:
    """Write everything that is derived from all versions of a fund: the lists and feeds first, then the revision triangles."""
    catalogue.write_index(services, fund_id)
    history.write_triangles(services.public, services.definitions, fund_id)


def version_folder(fund_id: str, version: str) -> str:
    """Return the folder of the public store that holds one version."""
    return f"datasets/{fund_id}/v{version}"


def _decide(services: Services, fund_id: str, decision: release.Decision) -> tuple[Releases, Sequence[Recorded]]:
    return decide(services, release.release_stream(fund_id), lambda events: release.fold(fund_id, events), decision)


def _is_published(newest: Release, ledger: str, digests: Mapping[str, str]) -> bool:
    pinned = newest.draft
    return newest.state == "published" and (pinned.ledger, pinned.rules, pinned.schemas) == (ledger, digests["disclosure"], digests["schemas"])


def _likely_change(services: Services, newest: Release | None, ledger: Ledger, fund_id: str) -> Change:
    """Guess the weight of a change from what went in; `build` raises the number when the figures say more."""
    if newest is None:
        return "minor"
    if newest.draft.rules != services.definitions.digests["disclosure"]:
        return "major"
    before = read_ledger(services, newest.draft.position)
    quarters = {key.quarter for key in ledger.in_force(fund_id)} - {key.quarter for key in before.in_force(fund_id)}
    projects = set(ledger.records(fund_id)) - set(before.records(fund_id))
    return "minor" if quarters or projects else "patch"


def check_definitions(services: Services, pinned: ReleaseDrafted) -> None:
    """Raise NotAllowedError unless the schemas and disclosure rules that a draft pinned are those installed."""
    digests = services.definitions.digests
    if (pinned.rules, pinned.schemas) != (digests["disclosure"], digests["schemas"]):
        raise NotAllowedError(
            f"Release {pinned.version} was drafted with other schemas or disclosure rules than are installed (code {pinned.code}). "
            "Draft it again, or install the version that drafted it."
        )


def _record_build(services: Services, fund_id: str, drafted: Release, candidate: Candidate) -> Release:
    release.check_number(drafted, candidate.required_change)
    for content in candidate.files.values():
        seal(services.restricted, content)
    state, _ = _decide(
        services,
        fund_id,
        lambda now: release.decide_build(
            now, drafted.draft, manifest=candidate.manifest, files=candidate.entries, suppressed=dict(candidate.suppressed)
        ),
    )
    return state.release(drafted.version)


def _copy_out(services: Services, state: Releases, approved: Release) -> None:
    folder = version_folder(state.fund_id, approved.version)
    manifest = next((file for file in approved.files if file.path == MANIFEST), None)
    if manifest is None or manifest.sha256 != approved.manifest:
        raise IntegrityError(f"Release {approved.version} has no manifest among its files. Build it again.")
    for file in approved.files:
        if file is not manifest:
            services.public.put(f"{folder}/{file.path}", unseal(services.restricted, file.sha256))
    for path, content in signing.sign(services, state, approved).items():
        services.public.put(f"{folder}/{path}", content)
    signing.write_signers(services, state.fund_id)
    services.public.put(f"{folder}/{MANIFEST}", unseal(services.restricted, manifest.sha256))
