"""The receipt of a return: what became of every row of every revision, and where its figures are published."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from pipeline.application.candidates import read_published
from pipeline.application.corrections import published_of
from pipeline.application.facts import read_facts
from pipeline.application.services import Services
from pipeline.application.submissions import read_report
from pipeline.domain import ledger, submission
from pipeline.domain.events import FactFile, RowCounts
from pipeline.domain.ledger import Ledger
from pipeline.domain.release import Release
from pipeline.domain.submission import Revision, RevisionKey, Submission, SubmissionKey
from pipeline.errors import NotFoundError
from pipeline.stages import receipt
from pipeline.stages.acceptance import SOURCES
from pipeline.stages.receipt import FedCell
from pipeline.stages.validation import Report

_SOURCE_TABLES = frozenset(source.table for source in SOURCES.values())


@dataclass(frozen=True, kw_only=True)
class RowFate:
    """What became of one row. `quarter` is the one in which it counts or counted; `rules` are those that the report names for it."""

    table: str
    row: int
    fate: str
    quarter: str = ""
    rules: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class RevisionReceipt:
    """What became of one delivery: `delivered` rows = the sum of `fates`; both are None while nobody has read it.

    `rows` are all rows with a fate of their own, empty when nobody asked for them. Of a revision that was refused they are those that its report
    names; `rules` are why it was.
    """

    key: RevisionKey
    standing: str
    delivered: int | None
    fates: Mapping[str, int] | None
    replaced_by: int | None
    correction_reason: str | None
    withdrawal_reason: str | None
    rules: Mapping[str, int]
    versions: Sequence[str]
    rows: Sequence[RowFate]


@dataclass(frozen=True, kw_only=True)
class Reached:
    """A published version that the return reached, by which of its revisions, and whether that version stands."""

    version: str
    revision: int
    state: str


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """The receipt of a return, or of one delivery of it."""

    key: SubmissionKey
    in_force: int | None
    revisions: Sequence[RevisionReceipt]
    reached: Sequence[Reached]
    cells: Sequence[FedCell]


def make(services: Services, key: SubmissionKey, number: int | None = None, *, with_rows: bool = True) -> Receipt:
    """Return the receipt of a return, of one revision only if named; row by row if wanted.

    Figures are looked up in the public files, never in tables from before protection. Totals and ratios that a figure enters are not listed.
    Raises: NotFoundError when there is no such return or revision; IntegrityError when a public file is not what was approved.
    """
    events = list(services.log.read())
    now = ledger.fold(events)
    state = submission.fold(key, [event for event in events if event.stream == key.stream])
    if not state.revisions:
        raise NotFoundError(f"Nothing was delivered for {key}. `outcomes submission list` shows what was.")
    chosen = [state.revision(number)] if number is not None else list(state.revisions)
    reached = [(item, revision) for item, revision in published_of(services, key) if number is None or revision.number == number]
    made = [
        _of_revision(services, now, state, revision, [item.version for item, one in reached if one.number == revision.number]) for revision in chosen
    ]
    return Receipt(
        key=key,
        in_force=state.in_force.number if state.in_force else None,
        revisions=made if with_rows else [replace(one, rows=()) for one in made],
        reached=[Reached(version=item.version, revision=revision.number, state=item.state) for item, revision in reached],
        cells=_cells(
            services, now.fund_of.get(key.project_id, ""), key, [(item, one, ledger.fold(events[: item.draft.position])) for item, one in reached]
        ),
    )


def describe(made: Receipt) -> Sequence[str]:
    """Return a receipt as lines for a terminal."""
    lines = [f"{made.key}: {f'revision {made.in_force} is in force' if made.in_force else 'no revision is in force'}."]
    for one in made.revisions:
        lines += ["", f"{one.key}: {one.standing}" + (f", replaced by revision {one.replaced_by}" if one.replaced_by else "") + "."]
        if one.delivered is None or one.fates is None:
            lines.append("  Nobody has read it yet.")
            continue
        lines.append(f"  {one.delivered:,} rows delivered:")
        lines += [f"  {count:>9,} {receipt.MEANINGS[fate]}" for fate, count in one.fates.items()]
        lines += [f"  Refused by {rule}: {count:,} places" for rule, count in one.rules.items()]
        lines += [_row_line(row) for row in one.rows]
    lines += ["", *(f"Reached {item.version} ({item.state}) with revision {item.revision}." for item in made.reached)]
    lines += [] if made.reached else ["Reached no published version yet."]
    for cell in made.cells:
        said = ", ".join(f"{status} in {version}" for version, status in cell.status.items())
        lines.append(f"  {cell.table} {' / '.join(cell.cell.values())}: {cell.rows:,} rows; {said}")
    return lines


def _row_line(row: RowFate) -> str:
    quarter = f" ({row.quarter})" if row.quarter else ""
    return f"    {row.table} row {row.row}: {row.fate}{quarter}{' by ' + ', '.join(row.rules) if row.rules else ''}"


def _of_revision(services: Services, now: Ledger, state: Submission, revision: Revision, versions: Sequence[str]) -> RevisionReceipt:
    key = RevisionKey(state.key, revision.number)
    replaced_by = _replaced_by(state, revision)
    made = RevisionReceipt(
        key=key,
        standing=revision.standing,
        delivered=None,
        fates=None,
        replaced_by=replaced_by.number if replaced_by else None,
        correction_reason=revision.correction_reason,
        withdrawal_reason=revision.withdrawal_reason,
        rules={},
        versions=versions,
        rows=(),
    )
    if revision.rows is not None:
        rows = _fates(services, now, state.key, revision, replaced_by)
        fates = receipt.count_fates(rows, revision.rows, revision.erased_rows)
        return replace(made, delivered=revision.rows.delivered, fates=fates, rows=[RowFate(**row) for row in rows.to_pylist()])
    if revision.report is None:
        return made
    return _undecided(made, revision, read_report(services, revision))


def _replaced_by(state: Submission, revision: Revision) -> Revision | None:
    """Return the accepted revision that took the place of another: the next one that still stands."""
    if revision.state != "accepted":
        return None
    return next((one for one in state.revisions[revision.number :] if one.state == "accepted"), None)


def _fates(services: Services, now: Ledger, key: SubmissionKey, revision: Revision, replaced_by: Revision | None) -> pa.Table:
    facts = read_facts(services, revision.facts)
    if revision.state == "withdrawn":
        return receipt.rows_withdrawn(facts)
    if replaced_by is not None:
        return receipt.rows_replaced(facts, read_facts(services, replaced_by.facts))
    return receipt.rows_in_force(facts, _told_later(services, now, key))


def _undecided(made: RevisionReceipt, revision: Revision, report: Report) -> RevisionReceipt:
    """Return the receipt of a revision that was judged and is in no fact file: its rows wait, or were refused with it."""
    fate = "waiting" if revision.state == "validated" and revision.passed else "refused"
    tables = [table for table in report.tables if table.table in _SOURCE_TABLES]
    counts = RowCounts(delivered=sum(table.delivered for table in tables), accepted=0, blank=sum(table.blank for table in tables), late=0)
    rows = counts.delivered - counts.blank
    fates = {name: count for name, count in ((fate, rows), ("blank", counts.blank)) if count}
    if fate == "waiting":
        return replace(made, delivered=counts.delivered, fates=fates)
    named: dict[tuple[str, int], set[str]] = {}
    for finding in report.findings:
        for where in finding.places:
            if where.row and where.table in _SOURCE_TABLES:
                named.setdefault((where.table, where.row), set()).add(finding.rule)
    listed = [RowFate(table=table, row=row, fate=fate, rules=sorted(rules)) for (table, row), rules in sorted(named.items())]
    return replace(made, delivered=counts.delivered, fates=fates, rules=report.counts, rows=listed)


def _told_later(services: Services, at: Ledger, key: SubmissionKey) -> pa.Array:
    """Return the people, by pseudonym, of whom the returns in force of the project's later quarters speak again."""
    later = _later(at, key)
    return read_facts(services, later)["service_starts"]["participant"].combine_chunks().unique()


def _later(at: Ledger, key: SubmissionKey) -> Sequence[FactFile]:
    in_force = at.in_force(at.fund_of.get(key.project_id, ""))
    return [
        file
        for other, revision in in_force.items()
        if other.project_id == key.project_id and other.quarter > key.quarter
        for file in revision.facts
        if file.table == "service_starts"
    ]


def _cells(services: Services, fund_id: str, key: SubmissionKey, reached: Iterable[tuple[Release, Revision, Ledger]]) -> Sequence[FedCell]:
    """Return the cells that the facts of a return feed, with their status in each version that it reached; the newest version gives the rows."""
    labels = {code: word for word, code in services.definitions.disclosure["status"].items()}
    found: dict[tuple[str, ...], FedCell] = {}
    for item, revision, at in reached:
        facts = read_facts(services, revision.facts)
        status = receipt.read_status(read_published(services, fund_id, item), labels)
        for cell in receipt.fed_cells(facts, _told_later(services, at, key)):
            place = receipt.place(cell)
            before = found[place].status if place in found else {}
            found[place] = replace(cell, status={**before, item.version: status.get(place, "not there")})
    return [found[place] for place in sorted(found)]
