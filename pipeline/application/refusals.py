"""Loads of the register that were refused for what they would have done to the one in force: recorded, so that whoever approves a release is told.

A refusal stands until the register is loaded again, mended or as it was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import rfc8785

from pipeline.application.services import Services, seal, unseal
from pipeline.domain.events import DomainEvent, RegisterConfirmed, RegisterRefused
from pipeline.domain.findings import Finding, count_by_rule, is_blocking
from pipeline.errors import StaleStreamError
from pipeline.ports import Append

FORMAT = "openoutcomes.register-refusal/1"


def record(services: Services, fund_id: str, against: Mapping[str, Sequence[Finding]]) -> None:
    """Record that a load was refused for what its projects' records would have changed; the same refusal again appends nothing.

    Args: against, by project, what is wrong with its new record beside the one in force. What is wrong within the files alone is not recorded.
    """
    found = [(project_id, finding) for project_id, findings in sorted(against.items()) for finding in findings]
    if not is_blocking(finding for _, finding in found):
        return
    listed: list[dict[str, Any]] = [
        {"project_id": project_id, "rule": finding.rule, "severity": str(finding.severity), "column": finding.column, "values": dict(finding.values)}
        for project_id, finding in found
    ]
    content = rfc8785.dumps({"format": FORMAT, "fund_id": fund_id, "findings": listed})
    before = standing(services, fund_id)
    if before is not None and before.report == hashlib.sha256(content).hexdigest():
        return
    report = seal(services.restricted, content)
    refused = RegisterRefused(fund_id=fund_id, findings=count_by_rule(finding for _, finding in found), report=report)
    _append(services, fund_id, refused)


def standing(services: Services, fund_id: str, up_to: int | None = None) -> RegisterRefused | None:
    """Return the refusal that nothing has followed yet, if any: at a position of the log, or at its end."""
    found: RegisterRefused | None = None
    for recorded in services.log.read(up_to=up_to):
        event = recorded.event
        if isinstance(event, RegisterRefused) and event.fund_id == fund_id:
            found = event
        elif recorded.stream == f"fund/{fund_id}":
            found = None
    return found


def confirm(appends: list[Append], services: Services, fund_id: str) -> None:
    """Add to the appends of a load that went through that the refusal before it no longer stands."""
    stream = f"fund/{fund_id}"
    confirmed = RegisterConfirmed(fund_id=fund_id)
    for place, append in enumerate(appends):
        if append.stream == stream:
            appends[place] = Append(stream, append.expected_version, [*append.events, confirmed])
            return
    appends.append(Append(stream, len(services.log.read_stream(stream)), [confirmed]))


def read(services: Services, refused: RegisterRefused) -> Sequence[Mapping[str, Any]]:
    """Return what was wrong, a finding each with its project."""
    findings: Sequence[Mapping[str, Any]] = json.loads(unseal(services.restricted, refused.report))["findings"]
    return findings


def _append(services: Services, fund_id: str, event: DomainEvent) -> None:
    stream = f"fund/{fund_id}"
    for _ in range(20):
        try:
            services.log.append([Append(stream, len(services.log.read_stream(stream)), [event])], actor=services.actor, recorded_at=services.clock())
        except StaleStreamError:
            continue
        return
