"""A candidate: the files that a draft leads to. A function of the draft alone, so that a release can be built again byte for byte."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from pipeline.application.erasures import read_erasures
from pipeline.application.register import fund_record, project_records
from pipeline.application.services import Services, read_ledger, unseal_path
from pipeline.application.tracing import find_tracing
from pipeline.domain import release
from pipeline.domain.events import ReleaseDrafted, ReleaseFile
from pipeline.domain.findings import in_order
from pipeline.domain.ledger import FACT_TABLES, Ledger
from pipeline.domain.release import Change, Release, Version
from pipeline.errors import IntegrityError, RuleError
from pipeline.stages import audit, changes, comparison, frames, protection, publication, redaction, registration, revisions, tabulation
from pipeline.stages.causes import Explainer, veil
from pipeline.stages.revisions import Revisions

RETURNS = pa.schema(
    [
        ("project_id", pa.string()),
        ("quarter", pa.string()),
        ("first_received_on", pa.date32()),
        ("revisions_count", pa.int64()),
        ("state", pa.string()),
        ("revision", pa.int64()),
        ("is_queried", pa.bool_()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """The files of a release before anybody approved them; `required_change` is the least weight of version change that they call for.

    `suppression` says by table how many cells are hidden and why: for the steward, never for the public.
    """

    files: Mapping[str, bytes]
    entries: Sequence[ReleaseFile]
    manifest: str
    suppressed: Mapping[str, int]
    suppression: Mapping[str, Mapping[str, object]]
    required_change: Change | None


def make_candidate(services: Services, fund_id: str, pinned: ReleaseDrafted) -> Candidate:
    """Make the files of a draft: tabulate, protect, check, compare with the version before, render.

    Raises: IntegrityError when the log at the pinned position is not what was pinned; RuleError when a table fails its suite.
    """
    ledger = read_ledger(services, pinned.position)
    if ledger.digest(fund_id) != pinned.ledger or ledger.chain_head != pinned.chain_head:
        raise IntegrityError(f"The log at position {pinned.position} is not what release {pinned.version} was pinned to. `outcomes events verify`.")
    earlier = read_earlier(services, fund_id, pinned)
    unprotected = tabulate(services, ledger, fund_id, pinned, [past.public for past in earlier])
    protected = protection.protect(unprotected, services.definitions, earlier)
    _check_tables(services, protected.tables)
    base = _base(services, fund_id, pinned)
    before = read_published(services, fund_id, base) if base else None
    differences = comparison.compare(before, protected.tables, services.definitions.tables["published"])
    about = _about(services, ledger, fund_id, pinned)
    if base is not None and _was_silenced(services, fund_id, base.version, pinned.position):
        differences = comparison.without_old(differences)
        note = f"Version {base.version} was withdrawn ({base.reason}); the values that it had are not repeated here, and are told as empty."
        about = replace(about, public_notes=(*about.public_notes, note))
    cells = changes.make_changes(differences, services.definitions, _explainer(services, fund_id, base, pinned, (before or {}, protected.tables)))
    files = publication.render(protected.tables, services.definitions, about, differences, cells)
    tables = {**protected.tables, changes.NAME: cells}
    rows = {f"{name}.{form}": table.num_rows for name, table in tables.items() for form in ("csv", "parquet")}
    entries = [
        ReleaseFile(path=path, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content), rows=rows.get(path))
        for path, content in sorted(files.items())
    ]
    return Candidate(
        files=files,
        entries=entries,
        manifest=hashlib.sha256(files["MANIFEST"]).hexdigest(),
        suppressed=protected.hidden,
        suppression=protected.suppression,
        required_change=comparison.required_change(differences, method_changed=base is not None and base.draft.rules != pinned.rules),
    )


def _explainer(
    services: Services, fund_id: str, base: Release | None, pinned: ReleaseDrafted, public: Sequence[Mapping[str, pa.Table]]
) -> Explainer | None:
    """Return what says why cells changed since the version before; None when there is none. Args: public, the tables of that version and of this."""
    if base is None:
        return None
    projects = public[-1]["projects"]
    return Explainer(
        tracing=veil(find_tracing(services, fund_id, base.draft, pinned), public),
        lineage=services.definitions.history["lineage"],
        order=list(services.definitions.codelists["change_cause"]),
        sectors=dict(zip(projects["project_id"].to_pylist(), projects["policy_sector"].to_pylist(), strict=True)),
    )


def read_earlier(services: Services, fund_id: str, pinned: ReleaseDrafted) -> Sequence[protection.Past]:
    """Return all releases published before a draft, withdrawn ones too: as the public has them, and made again from the log at their positions.

    Raises: NotFoundError and IntegrityError when public files are not what was approved.
    """
    found = []
    for item in _before(services, fund_id, pinned):
        public = read_published(services, fund_id, item)
        ledger = read_ledger(services, item.draft.position)
        found.append(protection.Past(public=public, true=tabulate(services, ledger, fund_id, item.draft, [public])))
    return found


@dataclass(frozen=True, kw_only=True)
class Told:
    """What the audit is told besides the candidate's files.

    The public tables of the releases before, as they would be without the rows that were erased since; and of the true tables two facts and no value:
    which figures changed from release to release (`shown`: by what was published, if rows were erased), and which payments are made by price.
    """

    earlier: Sequence[Mapping[str, pa.Table]]
    revisions: Sequence[Revisions]
    shown: Sequence[Revisions] | None
    by_price: Sequence[frozenset[tuple[object, ...]]]


def tell_audit(services: Services, fund_id: str, pinned: ReleaseDrafted, earlier: Sequence[protection.Past]) -> Told:
    """Return what an attacker is supposed to know besides the public files of a draft and the releases before it."""
    now = tabulate(services, read_ledger(services, pinned.position), fund_id, pinned, [past.public for past in earlier])
    definitions = services.definitions
    gone = list(zip(earlier, _lost_rows(services, fund_id, pinned), strict=True))
    shown = [redaction.as_published(past.true, past.public, definitions) if is_lost else past.true for past, is_lost in gone]
    true = [*(past.true for past in earlier), now]
    return Told(
        earlier=[redaction.as_redacted(past.public, past.true, definitions) if is_lost else past.public for past, is_lost in gone],
        revisions=revisions.add_revisions(revisions.count_revisions([*shown, now], definitions), revisions.count_revisions(true, definitions)),
        shown=revisions.count_revisions([*shown, now], definitions) if any(is_lost for _, is_lost in gone) else None,
        by_price=audit.find_made_by_price(true, definitions.disclosure),
    )


def _lost_rows(services: Services, fund_id: str, pinned: ReleaseDrafted) -> Sequence[bool]:
    """Return of each release before a draft whether rows that it was made of were erased since."""
    gone = read_erasures(services)
    return [bool(gone.by_file and gone.of_ledger(read_ledger(services, item.draft.position), fund_id)) for item in _before(services, fund_id, pinned)]


def _before(services: Services, fund_id: str, pinned: ReleaseDrafted) -> Sequence[Release]:
    stream = release.fold(fund_id, services.log.read_stream(release.release_stream(fund_id)))
    return [item for item in stream.all if item.state in release.FINAL and Version.parse(item.version) < Version.parse(pinned.version)]


def read_published(services: Services, fund_id: str, published: Release) -> Mapping[str, pa.Table]:
    """Return the tables of a published version, read from its public files.

    Raises: NotFoundError when a file is missing; IntegrityError when one is not what was approved.
    """
    folder = f"datasets/{fund_id}/v{published.version}"
    if hashlib.sha256(services.public.get(f"{folder}/MANIFEST")).hexdigest() != published.manifest:
        raise IntegrityError(f"The public MANIFEST of release {published.version} is not the one that was approved. Restore {folder}/ from a copy.")
    return comparison.read_published(lambda path: services.public.get(f"{folder}/{path}"))


def tabulate(
    services: Services,
    ledger: Ledger,
    fund_id: str,
    pinned: ReleaseDrafted,
    public: Sequence[Mapping[str, pa.Table]],
    elsewhere: Mapping[str, Path] | None = None,
) -> Mapping[str, pa.Table]:
    """Return the tables of a ledger before protection, in memory. The rows of the releases in `public` stay, with nothing left in them or not.

    Args: elsewhere, where fact files lie that are not in the restricted store.
    """
    kept = read_erasures(services)  # not only where a file is gone: until an erasure is finished, its rows still stand there
    lent = elsewhere or {}
    paths = {
        table: [lent.get(file.sha256) or unseal_path(services.restricted, file.sha256) for file in kept.resolve_all(ledger.facts(fund_id, table))]
        for table in FACT_TABLES
    }
    records = project_records(services, ledger, fund_id)
    register = dict(registration.register_tables(services.definitions, fund_record(services, ledger, fund_id), records))
    register["returns"] = _returns(ledger, fund_id)
    register |= _shown_rows(public)
    return services.warehouse.tabulate(paths, register, pinned.as_of)


def _shown_rows(public: Sequence[Mapping[str, pa.Table]]) -> Mapping[str, pa.Table]:
    """Return the keys of the rows that releases have in the tables whose rows stay, by the names that tabulation gives them."""
    found = {}
    for table, (name, schema) in tabulation.STAYING.items():
        frames_of = [tables[table].select(schema.names).cast(schema) for tables in public if table in tables]
        found[name] = pa.concat_tables([schema.empty_table(), *frames_of]).group_by(schema.names).aggregate([])
    return found


def _returns(ledger: Ledger, fund_id: str) -> pa.Table:
    rows = []
    for key, submission in sorted(ledger.submissions.items()):
        if ledger.fund_of.get(key.project_id) != fund_id or not submission.revisions:
            continue
        in_force, last = submission.in_force, submission.revisions[-1]
        state = "accepted" if in_force else {"validated": "received"}.get(last.state, last.state)
        rows.append(
            {
                "project_id": key.project_id,
                "quarter": key.quarter,
                "first_received_on": submission.revisions[0].received_at.date(),
                "revisions_count": len(submission.revisions),
                "state": state,
                "revision": in_force.number if in_force else None,
                "is_queried": bool(in_force.queries) if in_force else None,
            }
        )
    return pa.Table.from_pylist(rows, schema=RETURNS)


def _check_tables(services: Services, tables: Mapping[str, pa.Table]) -> None:
    for name, table in sorted(tables.items()):
        findings = services.content.check(f"published_{name}", frames.conform(services.definitions.table("published", name), table))
        if findings:
            first = in_order(findings)[0]
            raise RuleError(
                f"Table {name} is not fit to publish: {len(findings)} findings, first {first.rule} in column {first.column or '(table)'}. "
                "The code that made it is wrong, not the returns."
            )


def _about(services: Services, ledger: Ledger, fund_id: str, pinned: ReleaseDrafted) -> publication.ReleaseAbout:
    fund = fund_record(services, ledger, fund_id)["fund"]
    disclosure = services.definitions.disclosure
    return publication.ReleaseAbout(
        fund_id=fund_id,
        fund_name=fund["name"],
        publisher=fund["publisher"],
        licence=fund["licence"],
        version=pinned.version,
        base_version=pinned.base_version,
        as_of=pinned.as_of,
        drafted_on=pinned.as_of,
        log_position=pinned.position,
        chain_head=pinned.chain_head,
        ledger=pinned.ledger,
        rules=pinned.rules,  # not those installed: nothing may enter the files that the draft did not pin
        schemas=pinned.schemas,
        disclosure=pinned.rules,
        code=pinned.code,
        threshold=int(disclosure["threshold"]["value"]),
        public_notes=(),
    )


def _was_silenced(services: Services, fund_id: str, version: str, position: int) -> bool:
    """Say whether a version had been withdrawn, by a log position, for a reason for which its values are not to be repeated."""
    events = [event for event in services.log.read_stream(release.release_stream(fund_id)) if event.position <= position]
    return release.fold(fund_id, events).release(version).reason in release.SILENCING_REASONS


def _base(services: Services, fund_id: str, pinned: ReleaseDrafted) -> Release | None:
    if pinned.base_version is None:
        return None
    return release.fold(fund_id, services.log.read_stream(release.release_stream(fund_id))).release(pinned.base_version)
