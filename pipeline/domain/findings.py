"""What a check found: a rule, a severity and a place; never a cell value.

The rules themselves (titles, messages, what to do) are data in `schemas/rules/`; a finding names one by its id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """How much a finding weighs. A submission passes when it has no refusal and no error."""

    REFUSE = "refuse"
    ERROR = "error"
    QUERY = "query"
    NOTE = "note"


BLOCKING = frozenset({Severity.REFUSE, Severity.ERROR})


@dataclass(frozen=True, kw_only=True, order=True)
class Finding:
    """One breach of one rule at one place.

    `row` is the row as the person sees it in the file (the heading is row 1); `values` fills the placeholders of the rule's message and holds
    only what is ours: expected headings, known codes, limits, counts. Never what the cell said.
    """

    rule: str
    severity: Severity
    table: str = ""
    row: int = 0
    column: str = ""
    values: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One numbered rule of the catalogue. `message` has `{placeholders}`; `why` says why it matters, `fix` what to do.

    A query of a rule with `must_explain` has to be explained before the return is accepted; another is accepted and flagged until it is.
    A delivery that breaks a rule with `quarantine` holds what must not travel, personal data or an attack: it is refused and set apart. `limits` are
    the numbers at which a rule that must draw a line somewhere draws it.
    """

    id: str
    stage: str
    severity: Severity
    title: str
    message: str
    fix: str
    why: str = ""
    quarantine: bool = False
    must_explain: bool = False
    limits: Mapping[str, int] = field(default_factory=dict, hash=False)

    def found(self, table: str = "", row: int = 0, column: str = "", **values: str) -> Finding:
        """Return a finding of this rule at a place."""
        return Finding(rule=self.id, severity=self.severity, table=table, row=row, column=column, values=tuple(sorted(values.items())))


def is_blocking(findings: Iterable[Finding]) -> bool:
    """Say whether the findings keep a submission from being accepted."""
    return any(finding.severity in BLOCKING for finding in findings)


def count_by_rule(findings: Iterable[Finding]) -> Mapping[str, int]:
    """Return the number of findings of each rule, in the order of rule ids."""
    return dict(sorted(Counter(finding.rule for finding in findings).items()))


def in_order(findings: Iterable[Finding]) -> Sequence[Finding]:
    """Return the findings in reading order: gravest first, then by rule, table, row and column."""
    weight = {severity: number for number, severity in enumerate(Severity)}
    return sorted(findings, key=lambda f: (weight[f.severity], f.rule, f.table, f.row, f.column, f.values))
