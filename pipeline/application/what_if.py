"""What a release would be with other inputs: another threshold, without a project, with a return that waits. Nothing is appended or sealed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.application import releases
from pipeline.application.candidates import read_earlier, tabulate
from pipeline.application.facts import make_facts
from pipeline.application.services import Services, read_ledger
from pipeline.domain.events import FactFile, ReleaseDrafted
from pipeline.domain.ledger import Ledger
from pipeline.domain.release import Version, next_version
from pipeline.domain.submission import RevisionKey
from pipeline.errors import NotAllowedError, NotFoundError, UsageError
from pipeline.stages import acceptance, comparison, protection
from pipeline.stages.comparison import TableDifferences

SHOWN_CELLS = 20


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is to be different: fewer people below which a figure is hidden or more, projects left out, returns that wait taken in."""

    threshold: int | None = None
    without: Sequence[str] = ()
    including: Sequence[RevisionKey] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be different."""
        return self.threshold is None and not self.without and not self.including


@dataclass(frozen=True, kw_only=True)
class ChangedCell:
    """One cell that would differ: changed, hidden, shown or status. Values stand for `changed` only, and are those that the public would see."""

    table: str
    cell: Mapping[str, str]
    column: str
    change: str
    old: str | None
    new: str | None


@dataclass(frozen=True, kw_only=True)
class TableEffect:
    """How one table would differ: rows and figures that appear and vanish, and cells by what would happen to them."""

    table: str
    rows_added: int
    rows_removed: int
    counts: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How the release would differ from the one that would be made now; `hidden` is the number of hidden cells by table, now and then."""

    question: Question
    position: int
    tables: Sequence[TableEffect]
    cells: Sequence[ChangedCell]
    hidden: Mapping[str, tuple[int, int]]


def what_if(services: Services, fund_id: str, question: Question) -> Answer:
    """Make the release of a fund twice in memory, as it would be now and with other inputs, and compare them cell by cell.

    Both are protected against every release before them. Neither is audited: that is for what is really drafted.
    Raises: UsageError when nothing is to be different or the threshold is below 1; NotFoundError when there is no such fund, project or return;
    NotAllowedError when a return has not passed.
    """
    if question.is_empty:
        raise UsageError("Say what shall be different: --threshold, --without or --with.")
    if question.threshold is not None and question.threshold < 1:
        raise UsageError("The threshold is a number of people, 1 at least.")
    ledger = read_ledger(services)
    if fund_id not in ledger.funds:
        raise NotFoundError(f"There is no fund {fund_id} in the register.")
    _check_projects(ledger, fund_id, question)
    now = _protect(services, fund_id, ledger, {})
    with _waiting(services, ledger, question.including) as (given, files):
        other = _protect(_with_threshold(services, question.threshold), fund_id, _without(given, question.without), files)
    return _answer(question, ledger.position, now, other, services)


def describe(answer: Answer) -> Sequence[str]:
    """Return an answer as lines for a terminal."""
    lines = [f"As of log position {answer.position}; nothing was changed."]
    for effect in answer.tables:
        told = ", ".join(f"{count} cells {change}" for change, count in effect.counts.items() if count)
        hidden, then = answer.hidden[effect.table]
        lines.append(
            f"{effect.table}: {effect.rows_added} rows appear, {effect.rows_removed} vanish{'; ' + told if told else ''}. Hidden: {hidden}, {then}."
        )
    for cell in answer.cells[:SHOWN_CELLS]:
        values = f" from {cell.old} to {cell.new}" if cell.change == "changed" else ""
        lines.append(f"  {cell.table} {' / '.join(filter(None, cell.cell.values()))} {cell.column}: {cell.change}{values}")
    if len(answer.cells) > SHOWN_CELLS:
        lines.append(f"  and {len(answer.cells) - SHOWN_CELLS} more; --json has all.")
    return lines if answer.tables else [*lines, "Nothing that is published would differ."]


def _check_projects(ledger: Ledger, fund_id: str, question: Question) -> None:
    known = ledger.records(fund_id)
    for project_id in (*question.without, *(key.submission.project_id for key in question.including)):
        if project_id not in known:
            raise NotFoundError(f"Fund {fund_id} has no project {project_id}.")


def _with_threshold(services: Services, threshold: int | None) -> Services:
    if threshold is None:
        return services
    disclosure = services.definitions.disclosure
    changed = {**disclosure, "threshold": {**disclosure["threshold"], "value": threshold}}
    return replace(services, definitions=replace(services.definitions, disclosure=changed))


def _without(ledger: Ledger, projects: Sequence[str]) -> Ledger:
    kept = {key: found for key, found in ledger.submissions.items() if key.project_id not in projects}
    return replace(ledger, projects={name: record for name, record in ledger.projects.items() if name not in projects}, submissions=kept)


@contextmanager
def _waiting(services: Services, ledger: Ledger, keys: Sequence[RevisionKey]) -> Iterator[tuple[Ledger, Mapping[str, Path]]]:
    """Give the ledger in which returns that wait are accepted, and where their facts lie: in a folder that is gone afterwards."""
    submissions = dict(ledger.submissions)
    paths: dict[str, Path] = {}
    with tempfile.TemporaryDirectory(prefix="outcomes-what-if-") as folder:
        for key in keys:
            state = submissions.get(key.submission)
            if state is None:
                raise NotFoundError(f"Nothing was delivered for {key.submission}. `outcomes submission list` shows what was.")
            revision = state.revision(key.revision)
            if revision.state != "validated" or not revision.passed:
                raise NotAllowedError(f"Revision {key} is {revision.state}; only one that passed and waits can be tried.")
            delivered = make_facts(services, key, revision)
            facts = []
            for name, table in delivered.facts.items():
                if table.num_rows:
                    schema = services.definitions.table("facts", name)
                    sha256 = f"{key} {name}"
                    paths[sha256] = Path(folder) / f"{len(paths)}.parquet"
                    content = acceptance.write_facts(table, schema)
                    paths[sha256].write_bytes(content)
                    facts.append(FactFile(table=name, sha256=sha256, rows=table.num_rows, size_bytes=len(content), number=schema.version))
            accepted = replace(revision, state="accepted", facts=tuple(facts), rows=delivered.rows)
            place = key.revision - 1
            submissions[key.submission] = replace(state, revisions=(*state.revisions[:place], accepted, *state.revisions[place + 1 :]))
        yield replace(ledger, submissions=submissions), paths


def _protect(services: Services, fund_id: str, ledger: Ledger, files: Mapping[str, Path]) -> protection.Protected:
    pinned = _pin(services, fund_id, ledger)
    earlier = read_earlier(services, fund_id, pinned)
    unprotected = tabulate(services, ledger, fund_id, pinned, [past.public for past in earlier], files)
    return protection.protect(unprotected, services.definitions, earlier)


def _pin(services: Services, fund_id: str, ledger: Ledger) -> ReleaseDrafted:
    """Return the draft that would be made now, under a number that follows everything that was published."""
    state = releases.load(services, fund_id)
    digests = services.definitions.digests
    return ReleaseDrafted(
        version=str(next_version(state, "major") if state.newest else Version(1, 0, 0)),
        round=1,
        base_version=state.newest.version if state.newest else None,
        position=ledger.position,
        chain_head=ledger.chain_head,
        as_of=services.clock().date(),
        ledger=ledger.digest(fund_id),
        rules=digests["disclosure"],
        schemas=digests["schemas"],
        code=services.code,
    )


def _answer(question: Question, position: int, now: protection.Protected, other: protection.Protected, services: Services) -> Answer:
    differences = comparison.compare(now.tables, other.tables, services.definitions.tables["published"])
    touched = [table for table in differences.tables.values() if not table.is_empty]
    return Answer(
        question=question,
        position=position,
        tables=[
            TableEffect(table=table.name, rows_added=table.rows_added, rows_removed=table.rows_removed, counts=dict(table.counts))
            for table in touched
        ],
        cells=[cell for table in touched for cell in _cells(table)],
        hidden={name: (now.hidden[name], other.hidden[name]) for name in sorted(now.tables)},
    )


def _cells(table: TableDifferences) -> Iterator[ChangedCell]:
    key = table.schema.primary_key if table.schema else ()
    for row in table.cells.to_pylist():
        yield ChangedCell(
            table=table.name,
            cell={name: row[name] or "" for name in key},
            column=row["column"],
            change=row["change"],
            old=row["old"],
            new=row["new"],
        )
