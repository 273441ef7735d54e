"""What the audit found: how often each attack was tried, and where one got through. Private, and without a single value."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from pipeline.domain.events import write_document
from pipeline.stages.audit.witnesses import Certificate


@dataclass(frozen=True, kw_only=True, order=True)
class Weakness:
    """One place at which an attack got through. `row` is the key of the row as text, empty when a whole column is meant."""

    attack: str
    table: str
    row: str
    column: str


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """The verdict on a candidate.

    `attacks` says of how many cells each attack was tried. `intervals` says of the hidden counts how many values the worst and the best hidden of
    them can have (`narrowest`, `widest`, 0 when there is none), how many have no upper end (`unbounded`), and in how many components, too large to
    solve for every cell, the narrow cells were solved for and the others shown to be open by two solutions (`large_components`).
    `releases` were attacked together; `given_before` hidden figures were given away by earlier releases already, which no candidate can take back.
    The `certificate` is sealed by itself; the report names its hash.
    """

    passed: bool
    attacks: Mapping[str, int]
    weaknesses: Sequence[Weakness]
    intervals: Mapping[str, int]
    certificate: Certificate
    releases: int = 1
    given_before: int = 0

    def with_more(self, attack: str, found: Sequence[Weakness]) -> AuditReport:
        """Return the report with what one more attack found."""
        return replace(
            self, passed=self.passed and not found, attacks={**self.attacks, attack: len(found)}, weaknesses=sorted({*self.weaknesses, *found})
        )

    def to_bytes(self) -> bytes:
        """Return the report as canonical JSON. Source: RFC 8785."""
        return write_document(
            {
                "passed": self.passed,
                "attacks": dict(self.attacks),
                "weaknesses": [asdict(weakness) for weakness in self.weaknesses],
                "intervals": dict(self.intervals),
                "releases": self.releases,
                "given_before": self.given_before,
                "certificate": hashlib.sha256(self.certificate.to_bytes()).hexdigest(),
            }
        )
