"""What a new revision changes, before it is accepted and ever after; and whether it alters what is published, which needs a coded reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal

import pyarrow as pa

from pipeline.application.facts import make_facts, read_facts
from pipeline.application.services import Services, read_ledger, unseal
from pipeline.domain import release, submission
from pipeline.domain.events import Recorded, RowChanges
from pipeline.domain.release import FINAL, Release, release_stream
from pipeline.domain.submission import Revision, RevisionKey, Submission, SubmissionKey
from pipeline.errors import NotAllowedError, UsageError
from pipeline.stages import difference
from pipeline.stages.difference import PayerDifference

REASONS = "correction_reason"
"""The code list of reasons."""
SHOWN_ROWS = 10


@dataclass(frozen=True, kw_only=True)
class ChangedRow:
    """One row that a revision adds, changes or removes: where it stands in the new file and in the one that is replaced; 0 where it does not."""

    table: str
    change: str
    row: int
    replaced_row: int
    columns: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Correction:
    """What a revision changes. `replaces` is the revision before it, None when it is the first; `altered` are the published versions it differs from.

    `reason` is the coded reason that was given, on the cover or when it was accepted.
    """

    key: RevisionKey
    state: str
    replaces: int | None
    changes: RowChanges
    rows: Sequence[ChangedRow]
    payers: Sequence[PayerDifference]
    difference_gbp: Decimal
    altered: Sequence[str]
    reason: str | None

    @property
    def needs_reason(self) -> bool:
        """Whether somebody has to give a reason before it can be accepted."""
        return self.state == "validated" and bool(self.altered) and self.reason is None

    def to_document(self) -> dict[str, object]:
        """Return the correction as a program reads it."""
        return {
            "revision": str(self.key),
            "state": self.state,
            "replaces": self.replaces,
            "changes": self.changes,
            "rows": self.rows,
            "payers": [asdict(payer) | {"difference_gbp": payer.difference_gbp} for payer in self.payers],
            "difference_gbp": self.difference_gbp,
            "altered": self.altered,
            "reason": self.reason,
            "needs_reason": self.needs_reason,
        }


def show(services: Services, key: RevisionKey) -> Correction:
    """Return what a revision changes, or changed when it was accepted.

    Raises: NotAllowedError when it was not validated, did not pass, or was rejected.
    """
    state = submission.fold(key.submission, services.log.read_stream(key.submission.stream))
    revision = state.revision(key.revision)
    if revision.state in ("accepted", "withdrawn"):
        return _kept(services, state, revision)
    if revision.state != "validated" or not revision.passed:
        raise NotAllowedError(f"Revision {key} is {revision.state} and has not passed; only what could be accepted changes anything.")
    delivered = make_facts(services, key, revision)
    before = replaced_by(state, key.revision)
    rows = compare_with(services, before, delivered.facts)
    altered = find_altered(services, state, key.revision, delivered.facts, rows)
    facts = read_facts(services, before.facts if before else ())
    return _correction(key, revision, before, (facts, delivered.facts), rows, altered, delivered.reason)


def replaced_by(state: Submission, number: int) -> Revision | None:
    """Return the revision in force that a revision of this number would replace; None when there is none before it."""
    before = state.in_force
    return before if before is not None and before.number < number else None


def compare_with(services: Services, before: Revision | None, facts: Mapping[str, pa.Table]) -> pa.Table:
    """Return the difference of facts from those of a revision; from nothing when there is none."""
    return difference.compare(read_facts(services, before.facts if before else ()), facts)


def find_altered(services: Services, state: Submission, number: int, facts: Mapping[str, pa.Table], rows: pa.Table) -> Sequence[str]:
    """Return the published versions that hold this quarter, when the given facts of a revision differ from those that the newest of them holds.

    Args: rows, the difference of the facts from the revision that they would replace.
    Returns: nothing when the revision would not come into force, or the quarter was never published.
    """
    in_force = state.in_force
    if (in_force is not None and in_force.number > number) or all(one.rows is None for one in state.revisions):
        return ()
    published = published_of(services, state.key)
    if not published:
        return ()
    standing = published[-1][1]
    altered = rows if in_force is not None and in_force.number == standing.number else compare_with(services, standing, facts)
    return [item.version for item, _ in published] if altered.num_rows else ()


def published_of(services: Services, key: SubmissionKey) -> Sequence[tuple[Release, Revision]]:
    """Return the published versions that hold facts of a submission, each with the revision that was in force at its position; oldest first."""
    fund_id = read_ledger(services).fund_of.get(key.project_id)
    if fund_id is None:
        return ()
    events: Sequence[Recorded] = services.log.read_stream(key.stream)
    found = []
    for item in release.fold(fund_id, services.log.read_stream(release_stream(fund_id))).all:
        if item.state in FINAL:
            then = submission.fold(key, [event for event in events if event.position <= item.draft.position]).in_force
            found += [(item, then)] if then is not None else []
    return found


def check_reason(services: Services, reason: str | None) -> str | None:
    """Return a reason that is one of the code list. Raises: UsageError when it is not."""
    codes = services.definitions.codelists[REASONS]
    if reason is not None and reason not in codes:
        raise UsageError(f"A correction needs a coded reason: one of {', '.join(codes)}.")
    return reason


def describe(correction: Correction) -> Sequence[str]:
    """Return a correction as lines for a terminal."""
    changes = correction.changes
    against = f"revision {correction.replaces}" if correction.replaces else "nothing before it"
    lines = [f"{correction.key} against {against}: {changes.added:,} rows added, {changes.changed:,} changed, {changes.removed:,} removed."]
    groups: dict[tuple[str, str], list[ChangedRow]] = {}
    for row in correction.rows:
        groups.setdefault((row.table, row.change), []).append(row)
    for (table, change), rows in groups.items():
        more = f"; and {len(rows) - SHOWN_ROWS:,} more" if len(rows) > SHOWN_ROWS else ""
        lines.append(f"  {table}, {change}: {'; '.join(_spoken(row) for row in rows[:SHOWN_ROWS])}{more}")
    for payer in correction.payers:
        if payer.difference_gbp:
            lines.append(f"  {payer.payer_id}: £{payer.before_gbp:,} before, £{payer.after_gbp:,} after; {_signed(payer.difference_gbp)}")
    lines.append(f"  Payments in all: {_signed(correction.difference_gbp)}")
    if correction.altered:
        lines.append(f"It alters a quarter that is published in {', '.join(correction.altered)}; reason: {correction.reason or 'none given'}.")
    if correction.needs_reason:
        lines.append(f"It waits: `outcomes submission accept {correction.key} --reason CODE`, or send it with a reason on the cover.")
    return lines


def _spoken(row: ChangedRow) -> str:
    where = f"row {row.row}" if row.row else f"row {row.replaced_row} of the file before"
    return f"{where} ({', '.join(row.columns)})" if row.columns else where


def _signed(pounds: Decimal) -> str:
    return f"{'-' if pounds < 0 else '+'}£{abs(pounds):,}"


def _kept(services: Services, state: Submission, revision: Revision) -> Correction:
    before = state.revision(revision.replaces) if revision.replaces else None
    old, new = (read_facts(services, one.facts if one else ()) for one in (before, revision))
    rows = difference.read(unseal(services.restricted, revision.difference)) if revision.difference else difference.compare(old, new)
    return _correction(RevisionKey(state.key, revision.number), revision, before, (old, new), rows, (), revision.correction_reason)


def _correction(
    key: RevisionKey,
    revision: Revision,
    before: Revision | None,
    facts: tuple[Mapping[str, pa.Table], Mapping[str, pa.Table]],
    rows: pa.Table,
    altered: Sequence[str],
    reason: str | None,
) -> Correction:
    payers = difference.compare_payments(*facts)
    return Correction(
        key=key,
        state=revision.state,
        replaces=before.number if before else None,
        changes=difference.count(rows),
        rows=[
            ChangedRow(
                table=row["table"],
                change=row["change"],
                row=row["row"] or 0,
                replaced_row=row["replaced_row"] or 0,
                columns=row["columns"].split(),
            )
            for row in rows.to_pylist()
        ],
        payers=payers,
        difference_gbp=sum((payer.difference_gbp for payer in payers), Decimal(0)),
        altered=altered,
        reason=reason,
    )
