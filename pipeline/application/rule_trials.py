"""The preview of a rule: what a new or changed rule would have found in the returns of the past, before it is switched on. Nothing is recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipeline.application.services import Services
from pipeline.application.submissions import judge
from pipeline.domain import ledger
from pipeline.domain.events import Recorded, SubmissionValidated
from pipeline.domain.findings import Severity
from pipeline.domain.ledger import Ledger
from pipeline.domain.submission import Revision, RevisionKey
from pipeline.errors import RuleError, UsageError
from pipeline.ports import Progress


@dataclass(frozen=True, kw_only=True)
class ProjectTrial:
    """What the rule would have found in one project: in how many of the returns judged, at how many places, and at how many it was found then."""

    project_id: str
    judged: int = 0
    returns: int = 0
    places: int = 0
    places_then: int = 0


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What a rule would have found. `would_refuse` passed then and would not pass now; `skipped` are quarantined, which nobody reads again."""

    rule: str
    severity: Severity
    title: str
    projects: Sequence[ProjectTrial]
    revisions: Mapping[str, int]
    would_refuse: Sequence[str]
    skipped: Sequence[str] = field(default=())

    @property
    def total(self) -> ProjectTrial:
        """The sum over projects."""
        names = ("judged", "returns", "places", "places_then")
        return ProjectTrial(project_id="all", **{name: sum(getattr(project, name) for project in self.projects) for name in names})


def try_rule(services: Services, rule: str, progress: Progress, *, fund_id: str | None = None, is_every: bool = False) -> Trial:
    """Judge the returns of the past by the definitions that the services carry, and say what one rule finds.

    Each return is judged against what was known when it was last judged: the register and the ledger at that position of the log.

    Args: fund_id, only this fund's projects; is_every, all revisions that were ever judged, not only those in force.
    Raises: UsageError when the catalogue has no such rule.
    """
    if rule not in services.definitions.rules:
        raise UsageError("There is no such rule in the catalogue that is tried. `outcomes rules` lists those installed.")
    events = list(services.log.read())
    chosen = _choose(events, fund_id, is_every=is_every)
    projects: dict[str, ProjectTrial] = {}
    revisions: dict[str, int] = {}
    would_refuse: list[str] = []
    with progress("Returns", len(chosen)) as advance:
        for key, revision in chosen:
            if not revision.is_quarantined:
                report = judge(services, key, revision, _as_known(events, key))
                places = report.counts.get(rule, 0)
                projects[key.submission.project_id] = _added(projects, key, places, revision.findings.get(rule, 0))
                revisions |= {str(key): places} if places else {}
                would_refuse += [str(key)] if places and revision.passed and not report.passed else []
            advance(1)
    tried = services.definitions.rule(rule)
    return Trial(
        rule=rule,
        severity=tried.severity,
        title=tried.title,
        projects=[projects[project_id] for project_id in sorted(projects)],
        revisions=revisions,
        would_refuse=would_refuse,
        skipped=[str(key) for key, revision in chosen if revision.is_quarantined],
    )


def describe(trial: Trial) -> Sequence[str]:
    """Return a trial as lines for a terminal."""
    total = trial.total
    lines = [
        f"{trial.rule} ({trial.severity}): {trial.title}",
        f"{total.places:,} places in {total.returns:,} of {total.judged:,} returns; {total.places_then:,} places were found when they were judged.",
    ]
    for project in trial.projects:
        if project.places or project.places_then:
            lines.append(
                f"  {project.project_id}: {project.places:,} places in {project.returns:,} of {project.judged:,}; then {project.places_then:,}"
            )
    if trial.would_refuse:
        lines.append(f"Passed then, and would not pass: {', '.join(trial.would_refuse)}")
    if trial.skipped:
        lines.append(f"Not read, because quarantined: {', '.join(trial.skipped)}")
    return [*lines, "Nothing was changed."]


def _choose(events: Sequence[Recorded], fund_id: str | None, *, is_every: bool) -> Sequence[tuple[RevisionKey, Revision]]:
    now = ledger.fold(events)
    chosen = []
    for key in sorted(now.submissions):
        if key.project_id in now.fund_of and fund_id in (None, now.fund_of[key.project_id]):
            submission = now.submissions[key]
            revisions = submission.revisions if is_every else [one for one in (submission.in_force,) if one is not None]
            chosen += [(RevisionKey(key, revision.number), revision) for revision in revisions if revision.report is not None]
    return chosen


def _as_known(events: Sequence[Recorded], key: RevisionKey) -> Ledger:
    """Return the ledger as it was when a revision was last judged."""
    for recorded in reversed(events):
        event = recorded.event
        if recorded.stream == key.submission.stream and isinstance(event, SubmissionValidated) and event.revision == key.revision:
            return ledger.fold(events[: recorded.position - 1])
    raise RuleError(f"Revision {key} has a report, and the log holds no judgement of it.")


def _added(projects: Mapping[str, ProjectTrial], key: RevisionKey, places: int, places_then: int) -> ProjectTrial:
    project_id = key.submission.project_id
    so_far = projects.get(project_id) or ProjectTrial(project_id=project_id)
    return replace(
        so_far,
        judged=so_far.judged + 1,
        returns=so_far.returns + bool(places),
        places=so_far.places + places,
        places_then=so_far.places_then + places_then,
    )
