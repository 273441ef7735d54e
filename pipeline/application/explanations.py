"""The verb that answers a query of a report, and what was answered. The words are sealed in the restricted store; the log holds their hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import rfc8785

from pipeline.application.services import Services, decide, seal, unseal
from pipeline.application.submissions import read_report
from pipeline.domain import submission
from pipeline.domain.events import DomainEvent, SubmissionExplained
from pipeline.domain.findings import Severity
from pipeline.domain.submission import RevisionKey, Submission
from pipeline.errors import NotAllowedError, UsageError

FORMAT = "openoutcomes.explanation/1"
MAX_LETTERS = 2_000


@dataclass(frozen=True, kw_only=True)
class Query:
    """One query of a report, and the team's answer; `explanation` is empty until there is one."""

    rule: str
    message: str
    count: int
    explanation: str = ""
    answered_by: str | None = None
    answered_at: datetime | None = None


def answer(services: Services, key: RevisionKey, rule: str, because: str) -> Submission:
    """Answer a query of a revision's report; the same answer again appends nothing, another takes its place.

    Raises: UsageError when the answer is empty or longer than MAX_LETTERS; NotAllowedError when the report does not ask this, or the revision was
    rejected or withdrawn.
    """
    words = " ".join(because.split())
    if not words or len(words) > MAX_LETTERS:
        raise UsageError(f"An explanation has between 1 and {MAX_LETTERS:,} letters.")
    state = submission.fold(key.submission, services.log.read_stream(key.submission.stream))
    asked = {finding.rule for finding in read_report(services, state.revision(key.revision)).findings if finding.severity is Severity.QUERY}
    if rule not in asked:
        told = f"It asks {', '.join(sorted(asked))}." if asked else "It asks nothing."
        raise NotAllowedError(f"The report on {key} has no query of that rule. {told}")
    content = rfc8785.dumps({"format": FORMAT, "revision": str(key), "rule": rule, "explanation": words})
    digest = hashlib.sha256(content).hexdigest()

    def decision(now: Submission) -> Sequence[DomainEvent]:
        decided = submission.decide_explain(now, key.revision, rule, digest)
        if decided:
            seal(services.restricted, content)
        return decided

    state, _ = decide(services, key.submission.stream, lambda events: submission.fold(key.submission, events), decision)
    return state


def queries(services: Services, key: RevisionKey) -> Sequence[Query]:
    """Return the queries of a revision's report with the answers that were given, in the order of the report.

    Raises: NotAllowedError when it was not judged yet.
    """
    events = services.log.read_stream(key.submission.stream)
    revision = submission.fold(key.submission, events).revision(key.revision)
    given = {
        recorded.event.rule: recorded
        for recorded in events
        if isinstance(recorded.event, SubmissionExplained) and recorded.event.revision == key.revision
    }
    found = []
    for finding in read_report(services, revision).findings:
        if finding.severity is Severity.QUERY:
            answered = given.get(finding.rule)
            found.append(
                Query(
                    rule=finding.rule,
                    message=finding.message,
                    count=finding.count,
                    explanation=_words(services, revision.explanations[finding.rule]) if answered else "",
                    answered_by=answered.actor if answered else None,
                    answered_at=answered.recorded_at if answered else None,
                )
            )
    return found


def _words(services: Services, digest: str) -> str:
    return str(json.loads(unseal(services.restricted, digest))["explanation"])
