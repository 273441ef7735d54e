"""The checklist of a release: what stands in the way of approving it, each with the command that mends it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from pipeline.application import refusals
from pipeline.application.candidates import read_published
from pipeline.application.erasures import erased_since
from pipeline.application.facts import read_facts
from pipeline.application.register import fund_record, project_records
from pipeline.application.services import Services, read_ledger, unseal
from pipeline.domain import checklist, ledger, release
from pipeline.domain.checklist import Check, Checklist
from pipeline.domain.ledger import Ledger
from pipeline.domain.release import Release, Releases
from pipeline.errors import ConfigurationError, NotAllowedError
from pipeline.stages import checks, comparison
from pipeline.stages.checks import Places

LOOKED_AT = {"service_starts": (), "outcomes": ("project_id", "metric_id", "quantity", "status"), "payments": ("project_id", "amount_gbp")}
SHOWN_PLACES = 10


def make(services: Services, fund_id: str, version: str) -> Checklist:
    """Return what stands in the way of a candidate.

    Raises: NotAllowedError when it was not built yet; IntegrityError when a sealed or public file is not what was recorded.
    """
    stream = release.release_stream(fund_id)
    state = release.fold(fund_id, services.log.read_stream(stream))
    item = state.release(version)
    if item.manifest is None:
        raise NotAllowedError(f"Release {version} has no candidate yet. Build it first.")
    then = read_ledger(services, item.draft.position)
    return Checklist(
        version=item.version,
        state=item.state,
        manifest=item.manifest,
        checks=_checks(services, fund_id, state, item, then),
        drafted_by=item.drafted_by,
        submitters=sorted(submitters(then, fund_id)),
        approvals=item.approvals,
        needed=services.approvals_needed,
    )


def submitters(at: Ledger, fund_id: str) -> frozenset[str]:
    """Return who delivered the returns that are in a release."""
    return frozenset(revision.received_by for revision in at.in_force(fund_id).values())


def check_standing(services: Services, fund_id: str, item: Release) -> None:
    """Raise NotAllowedError when something that a candidate counts was taken back or erased after it was drafted: that voids every approval."""
    events = list(services.log.read())
    then, now = ledger.fold(event for event in events if event.position <= item.draft.position), ledger.fold(events)
    void = [*_taken_back(fund_id, then, now), *(("participant_erased", place) for place in erased_since(services, then, fund_id))]
    if void:
        titles = sorted({services.definitions.checklist[code].title.lower() for code, _ in void})
        raise NotAllowedError(
            f"Release {item.version} no longer stands as it was approved: {' and '.join(titles)} ({', '.join(place for _, place in void)}). "
            f"Send it back with `outcomes release return {item.version}`, then draft it again."
        )


def describe(made: Checklist) -> Sequence[str]:
    """Return a checklist as lines for a terminal."""
    lines = [f"{made.version}: {made.state}. Manifest: {made.manifest}"]
    for check in made.checks:
        more = f" and {len(check.places) - SHOWN_PLACES} more" if len(check.places) > SHOWN_PLACES else ""
        where = f" ({', '.join(check.places[:SHOWN_PLACES])}{more})" if check.places else ""
        lines += [f"{check.severity.upper()} {check.code}: {check.message}{where}", f"  {check.mend}"]
    count = len(made.errors)
    lines.append(f"{count} errors keep it from being approved." if count else "Nothing keeps it from being approved.")
    lines.append(f"Approved by {len(made.approvals)} of {made.needed}. Not by {made.drafted_by}, who drafted it" + _not_by(made) + ".")
    return lines


def refuse(made: Checklist) -> None:
    """Raise NotAllowedError while an error stands."""
    if made.errors:
        titles = "; ".join(_told(check) for check in made.errors)
        raise NotAllowedError(
            f"Release {made.version} cannot be approved: {titles}. `outcomes release checklist {made.version}` says how to mend it."
        )


def _told(check: Check) -> str:
    return f"{check.title}{' (' + ', '.join(check.places[:SHOWN_PLACES]) + ')' if check.places else ''}"


def _not_by(made: Checklist) -> str:
    return f", nor by those who sent its returns: {', '.join(made.submitters)}" if made.submitters else ""


def _has_key(services: Services) -> bool:
    try:
        services.signer.public_key()
    except ConfigurationError:
        return False
    return True


def _checks(services: Services, fund_id: str, state: Releases, item: Release, then: Ledger) -> Sequence[Check]:
    now = read_ledger(services)
    base = state.release(item.draft.base_version) if item.draft.base_version else None
    tables = _read_candidate(services, item)
    records, fund = project_records(services, then, fund_id), fund_record(services, then, fund_id)
    refused = refusals.standing(services, fund_id)
    facts = _facts(services, then, fund_id)
    places = checklist.merge(
        _check_audit(item),
        checks.check_returns(tables["completeness"]),
        checks.check_caps(facts["payments"], records),
        checks.check_next_release(fund, item.draft.as_of),
        checks.check_key(has_key=_has_key(services)),
        checks.check_refusal(refusals.read(services, refused) if refused else ()),
        _check_base(services, fund_id, item, base, (tables, facts["outcomes"], records)),
        _check_queries(then, now, fund_id),
        _taken_back(fund_id, then, now),
        (("participant_erased", place) for place in erased_since(services, then, fund_id)),
        [("news_since", "")] if now.digest(fund_id) != then.digest(fund_id) else (),
    )
    return checklist.found(services.definitions.checklist, places, version=item.version, manifest=str(item.manifest))


def _read_candidate(services: Services, item: Release) -> Mapping[str, pa.Table]:
    by_path = {file.path: file.sha256 for file in item.files}
    return comparison.read_published(lambda path: unseal(services.restricted, by_path[path]))


def _facts(services: Services, at: Ledger, fund_id: str) -> Mapping[str, pa.Table]:
    files = [file for table in ("outcomes", "payments") for file in at.facts(fund_id, table)]
    return read_facts(services, files, LOOKED_AT)


def _check_audit(item: Release) -> Places:
    if item.audit_passed is None:
        yield "not_audited", ""
    elif not item.audit_passed:
        yield "audit_failed", ""


def _check_base(
    services: Services, fund_id: str, item: Release, base: Release | None, ours: tuple[Mapping[str, pa.Table], pa.Table, Mapping[str, checks.Record]]
) -> Places:
    """Compare with the version before: its public tables, its facts and its register. A first version is compared with the first register."""
    tables, outcomes, records = ours
    if base is None:
        yield from checks.check_records(_first_records(services, fund_id, item), records, services.definitions)
        return
    differences = comparison.compare(read_published(services, fund_id, base), tables, services.definitions.tables["published"])
    method_changed = base.draft.rules != item.draft.rules
    yield from checks.check_break(differences, base.version, item.version, method_changed=method_changed)
    at = read_ledger(services, base.draft.position)
    yield from checks.check_records(project_records(services, at, fund_id), records, services.definitions)
    yield from checks.check_cumulatives(_facts(services, at, fund_id)["outcomes"], outcomes)


def _first_records(services: Services, fund_id: str, item: Release) -> Mapping[str, checks.Record]:
    """Return the records with which the projects of a fund first entered the register."""
    first: dict[str, str] = {}
    for recorded in services.log.read(up_to=item.draft.position):
        event = recorded.event
        if recorded.stream.startswith("project/") and getattr(event, "fund_id", None) == fund_id:
            first.setdefault(str(getattr(event, "project_id", "")), str(getattr(event, "record", "")))
    return project_records(services, Ledger(projects=first, fund_of=dict.fromkeys(first, fund_id)), fund_id)


def _check_queries(then: Ledger, now: Ledger, fund_id: str) -> Places:
    for key, revision in then.in_force(fund_id).items():
        for rule in now.submissions[key].revision(revision.number).unanswered:
            yield "queries_open", f"{key}/{revision.number} {rule}"


def _taken_back(fund_id: str, then: Ledger, now: Ledger) -> Iterator[tuple[str, str]]:
    for key, revision in then.in_force(fund_id).items():
        if now.submissions[key].revision(revision.number).state == "withdrawn":
            yield "return_withdrawn", f"{key}/{revision.number}"
