"""What the public is told of a version beside its state: that a return in it was taken back, or that it can no longer be rebuilt.

Derived from the log, so that the list of versions can be written again at any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.application.erasures import read_erasures
from pipeline.application.services import Services
from pipeline.domain import ledger
from pipeline.domain.events import SubmissionWithdrawn
from pipeline.domain.release import Release

Note = Mapping[str, object]


def of_versions(services: Services, fund_id: str, published: Sequence[Release]) -> Mapping[str, Sequence[Note]]:
    """Return the notes of each version that has any.

    A return that was taken back is named by project, quarter and coded reason; an erasure by its event alone, which says whose nobody was.
    """
    events = list(services.log.read())
    erasures = read_erasures(services)
    if not erasures.by_file and not any(isinstance(recorded.event, SubmissionWithdrawn) for recorded in events):
        return {}
    now = ledger.fold(events)
    found: dict[str, Sequence[Note]] = {}
    for item in published:
        then = ledger.fold(recorded for recorded in events if recorded.position <= item.draft.position)
        notes: list[Note] = []
        for key, revision in then.in_force(fund_id).items():
            today = now.submissions[key].revision(revision.number)
            if today.state == "withdrawn":
                notes.append({"kind": "return_withdrawn", "project_id": key.project_id, "quarter": key.quarter, "reason": today.withdrawal_reason})
        notes += [{"kind": "no_longer_rebuildable", "event": str(event.id)} for event in erasures.of_ledger(then, fund_id)]
        found |= {item.version: notes} if notes else {}
    return found
