"""What differs between the log positions of two versions: which returns and which entries of the register, and where in the facts.

Called for a candidate that follows a published version. Reads the facts of the returns that differ, and of people of whom they speak; nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.application.facts import read_facts
from pipeline.application.services import Services, read_ledger, unseal
from pipeline.domain.events import FactFile, ReleaseDrafted
from pipeline.domain.ledger import Ledger
from pipeline.domain.quarters import Quarter
from pipeline.domain.submission import Revision, Submission, SubmissionKey
from pipeline.stages import causes
from pipeline.stages.acceptance import SOURCES
from pipeline.stages.causes import DELIVERIES, DUE_RETURNS, RETURNS, STARTS, Record, Touch, Trace, Tracing
from pipeline.stages.receipt import CHARACTERISTICS

COLUMNS: Mapping[str, Sequence[str]] = {
    STARTS: ("project_id", "return_quarter", "quarter", "source_row", SOURCES[STARTS].key, *CHARACTERISTICS),
    "outcomes": ("project_id", "quarter", "metric_id", "quantity", "status"),
    "payments": ("project_id", "quarter", "payer_id", "basis", "amount_gbp"),
}
"""The columns of facts that published cells are made of."""


@dataclass(frozen=True, kw_only=True)
class _Return:
    """A return that differs, and its revision in force before and after, if there was one."""

    key: SubmissionKey
    before: Revision | None
    after: Revision | None
    trace: int

    @property
    def files(self) -> tuple[Sequence[FactFile], Sequence[FactFile]]:
        """The fact files before and after."""
        return tuple(one.facts if one else () for one in (self.before, self.after))  # type: ignore[return-value]

    @property
    def is_erasure(self) -> bool:
        """Whether it is the same delivery with other facts: rows of a participant were taken out, and what was before is gone."""
        return self.before is not None and self.after is not None and self.before.number == self.after.number


def find_tracing(services: Services, fund_id: str, earlier: ReleaseDrafted, pinned: ReleaseDrafted) -> Tracing:
    """Return what differs between the log position of a published version and that of a draft."""
    before, after = read_ledger(services, earlier.position), read_ledger(services, pinned.position)
    days = timedelta(days=_record(services, after.funds[fund_id])["fund"]["return_due_days"])
    traces: list[Trace] = []
    touches: list[Touch] = []
    differing: list[_Return] = []
    for key, submission in sorted(after.submissions.items()):
        was = before.submissions.get(key) or Submission(key=key)
        if after.fund_of.get(key.project_id) != fund_id or _standing(was) == _standing(submission):
            continue
        place = {"project_id": key.project_id, "quarter": key.quarter}
        touches.append(Touch(len(traces), DELIVERIES, place))
        if _facts(was) != _facts(submission):
            differing.append(_Return(key=key, before=was.in_force, after=submission.in_force, trace=len(traces)))
            if (was.in_force is None) != (submission.in_force is None):
                is_due = Quarter.parse(key.quarter).end + days <= pinned.as_of
                touches += [Touch(len(traces), part, place) for part in (RETURNS, *([DUE_RETURNS] if is_due else []))]
        traces.append(_trace(was, submission, Quarter.parse(key.quarter).end + days <= earlier.as_of))
    for one in [one for one in differing if one.is_erasure]:
        touches.append(Touch(one.trace, RETURNS, {"project_id": one.key.project_id, "quarter": one.key.quarter}))
        touches += causes.touch_everything(one.trace, read_facts(services, one.files[1], COLUMNS))
    for one in [one for one in differing if not one.is_erasure]:
        facts = [read_facts(services, [file for file in files if file.table != STARTS], COLUMNS) for files in one.files]
        touches += causes.touch_sums(one.trace, facts[0], facts[1])
    touches += _touch_starts(services, fund_id, before, after, differing)
    for name, old, new in _records(before, after, fund_id):
        touches += causes.touch_record(len(traces), _record(services, old), _record(services, new), earlier.as_of, pinned.as_of)
        traces.append(Trace(causes=("register",), source=f"register/{name}"))
    return Tracing(
        traces=traces,
        touches=touches,
        since=earlier.as_of,
        as_of=pinned.as_of,
        is_other_method=(earlier.rules, earlier.schemas, earlier.code) != (pinned.rules, pinned.schemas, pinned.code),
        is_other_protection=earlier.rules != pinned.rules,
    )


def _standing(submission: Submission) -> tuple[tuple[str, date], ...]:
    """Return what the published tables say of a return, apart from its facts."""
    states = [(f"{revision.state}{[file.sha256 for file in revision.facts]}", revision.received_at.date()) for revision in submission.revisions]
    return tuple(states)


def _facts(submission: Submission) -> tuple[int, Sequence[str]] | None:
    revision = submission.in_force
    return None if revision is None else (revision.number, [file.sha256 for file in revision.facts])


def _trace(was: Submission, now: Submission, is_due: bool) -> Trace:
    """Return why a return differs. `is_due`: it was already due when the version before was made."""
    before, after = was.in_force, now.in_force
    if _facts(was) == _facts(now):
        return Trace(causes=("delivery",), source=f"{now.key}/{len(now.revisions)}", project_id=now.key.project_id, quarter=now.key.quarter)
    shown = after or before
    source = f"{now.key}/{shown.number if shown else len(now.revisions)}"
    first = after.number if after else 0
    if before is None:
        return Trace(causes=("late_return" if is_due else "new_period",), source=source, project_id=now.key.project_id, quarter=now.key.quarter)
    then = now.revisions[before.number - 1]
    withdrawn = [then] if then.state == "withdrawn" else []
    corrected = [one for one in now.revisions if before.number < one.number <= first and one.state == "accepted"]
    kinds = (("correction", corrected), ("withdrawal", withdrawn))
    return Trace(
        causes=tuple(cause for cause, found in kinds if found) or ("erasure",),
        source=source,
        project_id=now.key.project_id,
        quarter=now.key.quarter,
        reasons=tuple(
            sorted(
                {one.correction_reason for one in corrected if one.correction_reason}
                | {one.withdrawal_reason for one in withdrawn if one.withdrawal_reason}
            )
        ),
    )


def _touch_starts(services: Services, fund_id: str, before: Ledger, after: Ledger, differing: Sequence[_Return]) -> Iterator[Touch]:
    """Yield where people are counted because of returns that differ: the latest return of the project that speaks of somebody decides."""
    for project_id in sorted({one.key.project_id for one in differing}):
        ours = [one for one in differing if one.key.project_id == project_id and not one.is_erasure]
        people = causes.people_of([_read_starts(services, files) for one in ours for files in one.files])
        now = after.in_force(fund_id)
        sides = [
            _read_starts(
                services, [file for key, one in side.items() if key.project_id == project_id for file in _as_it_stands(one, now.get(key)).facts]
            )
            for side in (before.in_force(fund_id), now)
        ]
        spoken = [side.filter(pc.is_in(side[SOURCES[STARTS].key], value_set=people)) for side in sides]
        yield from causes.touch_starts({one.key.quarter: one.trace for one in ours}, spoken[0], spoken[1])


def _as_it_stands(revision: Revision, now: Revision | None) -> Revision:
    """Return a revision with the facts that it has today: what was erased from it since cannot be read."""
    return now if now is not None and now.number == revision.number else revision


def _read_starts(services: Services, files: Sequence[FactFile]) -> pa.Table:
    return read_facts(services, [file for file in files if file.table == STARTS], COLUMNS)[STARTS]


def _records(before: Ledger, after: Ledger, fund_id: str) -> Iterator[tuple[str, str | None, str | None]]:
    """Yield the entries of the register that differ: id, and the hash of the record before and after."""
    if before.funds.get(fund_id) != after.funds[fund_id]:
        yield fund_id, before.funds.get(fund_id), after.funds[fund_id]
    old, new = before.records(fund_id), after.records(fund_id)
    yield from ((name, old.get(name), new[name]) for name in new if old.get(name) != new[name])


def _record(services: Services, digest: str | None) -> Record:
    record: Record = json.loads(unseal(services.restricted, digest)) if digest else {}
    return record
