"""The verbs as a worker calls them: text ids in, text ids out, services opened and closed around each call.

Airflow's tasks are one line each because of this room, and any other runner can call the same functions. Ids are `PROJECT/QUARTER/...` for returns
and `FUND/VERSION` for releases; nothing else passes between two calls. DAG files import this module each time that they are read, so it imports
nothing heavy before it is called.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.errors import IntegrityError, NotAllowedError

if TYPE_CHECKING:
    from pipeline.application.services import Services

ACTOR = "service:worker"


@contextmanager
def _services(environment: Mapping[str, str] | None) -> Iterator[Services]:
    from pipeline import bootstrap

    given = os.environ if environment is None else environment
    with bootstrap.open_services(given, given.get("OUTCOMES_ACTOR") or ACTOR) as services:
        yield services


def list_deliveries(environment: Mapping[str, str] | None = None) -> list[str]:
    """Return the ids of the files in the inbox to be decided next: of each project those of its earliest undecided quarter."""
    from pipeline import bootstrap, queries

    given = os.environ if environment is None else environment
    with _services(given) as services:
        return [delivery.id for delivery in queries.first_wave(queries.waiting(services.log, bootstrap.inbox_of(given)))]


def receive_submission(delivery: str, environment: Mapping[str, str] | None = None) -> str:
    """Seal a delivery of the inbox; return the id of its revision."""
    from pipeline import bootstrap, queries
    from pipeline.application import submissions

    given = os.environ if environment is None else environment
    with _services(given) as services:
        found = queries.find_delivery(services.log, bootstrap.inbox_of(given), delivery)
        return str(submissions.receive(services, found.path, found.key).key)


def validate_submission(revision: str, environment: Mapping[str, str] | None = None) -> str:
    """Judge a revision; return its id."""
    from pipeline.application import submissions
    from pipeline.domain.submission import RevisionKey

    with _services(environment) as services:
        return str(submissions.validate(services, RevisionKey.parse(revision)).key)


def accept_submission(revision: str, environment: Mapping[str, str] | None = None) -> str:
    """Accept a revision that passed, reject one that did not; return its id and state."""
    from pipeline.application import submissions
    from pipeline.domain.submission import RevisionKey

    key = RevisionKey.parse(revision)
    with _services(environment) as services:
        return f"{key}:{submissions.conclude(services, key).revision(key.revision).state}"


def draft_releases(environment: Mapping[str, str] | None = None) -> list[str]:
    """Draft a release of every fund whose data differ from what is published; return the ids of those that wait to be built or audited."""
    from pipeline import queries
    from pipeline.application import releases

    with _services(environment) as services:
        drafted = [(fund, releases.draft(services, fund).release) for fund in queries.funds(services.log)]
    return [f"{fund}/{release.version}" for fund, release in drafted if release and release.state in ("drafted", "built")]


def build_candidate(release: str, environment: Mapping[str, str] | None = None) -> str:
    """Build a draft; return the id of what was built, whose number may be greater than the draft's."""
    from pipeline.application import releases

    fund, _, version = release.rpartition("/")
    with _services(environment) as services:
        return f"{fund}/{releases.build(services, fund, version).version}"


def audit_candidate(release: str, environment: Mapping[str, str] | None = None) -> str:
    """Audit a candidate; return its id. Raises: NotAllowedError when hidden cells can be worked out."""
    from pipeline.application import releases

    fund, _, version = release.rpartition("/")
    with _services(environment) as services:
        audited = releases.audit(services, fund, version)
    if not audited.audit_passed:
        raise NotAllowedError(f"The audit can work out hidden cells of {release}; see `outcomes release show {version} --fund {fund}`.")
    return release


def list_approved(environment: Mapping[str, str] | None = None) -> list[str]:
    """Return the ids of the releases that are approved and not published."""
    from pipeline import queries

    with _services(environment) as services:
        return [f"{fund}/{release.version}" for fund, release in queries.approved(services.log)]


def publish_release(release: str, environment: Mapping[str, str] | None = None) -> str:
    """Publish an approved release; return its id."""
    from pipeline.application import releases

    fund, _, version = release.rpartition("/")
    with _services(environment) as services:
        return f"{fund}/{releases.publish(services, fund, version).version}"


def list_published(environment: Mapping[str, str] | None = None) -> list[str]:
    """Return the ids of the funds that have published something."""
    from pipeline import queries

    with _services(environment) as services:
        return [fund for fund in queries.funds(services.log) if queries.releases(services.log, fund).newest]


def verify_fund(fund: str, environment: Mapping[str, str] | None = None) -> str:
    """Verify everything that can be proven for a fund; return the head of the log.

    Raises: IntegrityError when the log, a public file or the rebuilt release is not what was recorded.
    """
    from pipeline.application import proofs

    with _services(environment) as services:
        proof, head = proofs.verify(services, fund), services.log.head()
    if not proof.is_whole:
        raise IntegrityError(f"What {fund} published is not what was approved; `outcomes verify --fund {fund}` names the places.")
    return head.hash
