"""The facts in force at one position of the log, and the register entries that belong to them.

The ledger is what a release is made of: two positions with the same ledger digest lead to the same data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import rfc8785

from pipeline.domain.events import FactFile, FundRegistered, ProjectRegistered, ProjectRevised, Recorded
from pipeline.domain.submission import UNIDENTIFIED, Revision, Submission, SubmissionKey, evolve

FACT_TABLES: tuple[str, ...] = ("service_starts", "outcomes", "payments")


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """One fund's register entries and submissions at a position of the log.

    `funds` and `projects` map ids to the hash of the sealed register record in force; `fund_of` says whose a project is.
    """

    position: int = 0
    chain_head: str = "0" * 64
    funds: Mapping[str, str] = field(default_factory=dict)
    projects: Mapping[str, str] = field(default_factory=dict)
    fund_of: Mapping[str, str] = field(default_factory=dict)
    submissions: Mapping[SubmissionKey, Submission] = field(default_factory=dict)

    def in_force(self, fund_id: str) -> Mapping[SubmissionKey, Revision]:
        """Return the revision in force of each submission of a fund's projects, in the order of keys."""
        found: dict[SubmissionKey, Revision] = {}
        for key in sorted(self.submissions):
            revision = self.submissions[key].in_force
            if revision is not None and self.fund_of.get(key.project_id) == fund_id:
                found[key] = revision
        return found

    def facts(self, fund_id: str, table: str) -> tuple[FactFile, ...]:
        """Return the fact files in force of one table, in the order of submissions."""
        return tuple(file for revision in self.in_force(fund_id).values() for file in revision.facts if file.table == table)

    def records(self, fund_id: str) -> Mapping[str, str]:
        """Return the register record hash of each of a fund's projects, in the order of ids."""
        return {project: self.projects[project] for project in sorted(self.projects) if self.fund_of[project] == fund_id}

    def digest(self, fund_id: str) -> str:
        """Return a hash of all that a release of this fund would be made of."""
        document: dict[str, Any] = {
            "fund": self.funds.get(fund_id, ""),
            "projects": dict(self.records(fund_id)),
            "submissions": {str(key): _standing(submission) for key, submission in sorted(self.submissions.items()) if self._is_of(key, fund_id)},
        }
        return hashlib.sha256(rfc8785.dumps(document)).hexdigest()

    def _is_of(self, key: SubmissionKey, fund_id: str) -> bool:
        return self.fund_of.get(key.project_id) == fund_id


def _standing(submission: Submission) -> dict[str, object]:
    in_force = submission.in_force
    return {
        "revisions": [[revision.state, revision.received_at.date().isoformat()] for revision in submission.revisions],
        "in_force": in_force.number if in_force else 0,
        "facts": [[file.table, file.sha256] for file in in_force.facts] if in_force else [],
    }


def fold(events: Iterable[Recorded]) -> Ledger:
    """Return the ledger that events, in the order of the log, lead to."""
    position, chain_head = 0, "0" * 64
    funds: dict[str, str] = {}
    projects: dict[str, str] = {}
    fund_of: dict[str, str] = {}
    submissions: dict[SubmissionKey, Submission] = {}
    for recorded in events:
        position, chain_head = recorded.position, recorded.hash
        event = recorded.event
        if isinstance(event, FundRegistered):
            funds[event.fund_id] = event.record
        elif isinstance(event, ProjectRegistered | ProjectRevised):
            projects[event.project_id] = event.record
            fund_of[event.project_id] = event.fund_id
        elif recorded.stream.startswith("submission/"):
            key = SubmissionKey.parse(recorded.stream.removeprefix("submission/"))
            if key.project_id != UNIDENTIFIED:
                submissions[key] = evolve(submissions.get(key) or Submission(key=key), recorded)
    return Ledger(position=position, chain_head=chain_head, funds=funds, projects=projects, fund_of=fund_of, submissions=submissions)
