"""What became of every row: taken, queried or refused, by which rules, and the sums that must come out.

A row's disposition is that of its gravest finding, and how grave a finding is stands in `schemas/rules/indigo.json`: a note leaves the row taken, a
query holds it back until the provider has answered, an error or refusal means that it cannot be used.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from pipeline.domain.findings import BLOCKING, Finding, Severity
from pipeline.domain.tables import Definitions
from pipeline.errors import RuleError
from pipeline.stages.indigo.export import HEADINGS, ExportRow

Disposition = Literal["taken", "queried", "refused"]
Kind = Literal[
    "funds",
    "memberships",
    "projects",
    "service provisions",
    "payment commitments",
    "investments",
    "metrics",
    "prices",
    "payment plans",
    "planned payments",
    "actual payments",
    "payments of no known type",
    "results",
]
MONEY_KINDS: frozenset[Kind] = frozenset({"planned payments", "actual payments", "payments of no known type"})
"""Kinds of row whose pounds are accounted for as well as their number."""

NOTHING = Decimal(0)


@dataclass(frozen=True, kw_only=True)
class RowOutcome:
    """What became of one row of the export. `pounds` is exactly what its amount cell says, zero when that is no number or there is none."""

    kind: Kind
    table: str
    row: int
    project_id: str
    disposition: Disposition
    rules: tuple[str, ...]
    pounds: Decimal


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Rows and pounds in = taken + queried + refused."""

    rows_in: int = 0
    rows_taken: int = 0
    rows_queried: int = 0
    rows_refused: int = 0
    pounds_in: Decimal = NOTHING
    pounds_taken: Decimal = NOTHING
    pounds_queried: Decimal = NOTHING
    pounds_refused: Decimal = NOTHING


@dataclass(frozen=True, kw_only=True)
class RuleTally:
    """Rows on which one rule was found, and their pounds. A row may come under several rules, so these do not add up to the rows in."""

    rows: int
    pounds: Decimal


@dataclass(frozen=True, kw_only=True)
class Accounting:
    """The account of an import.

    `outcomes` has one entry per row of the fund, in the order of files and rows. `kinds`, `projects` (by kind, then project) and `rules` (by kind,
    then rule) are its sums. `rounding` is, by kind, what the pounds booked in register and returns exceed the pounds taken by (rounding to pence).
    """

    outcomes: tuple[RowOutcome, ...] = ()
    kinds: Mapping[Kind, Tally] = field(default_factory=dict)
    projects: Mapping[Kind, Mapping[str, Tally]] = field(default_factory=dict)
    rules: Mapping[Kind, Mapping[str, RuleTally]] = field(default_factory=dict)
    rounding: Mapping[Kind, Decimal] = field(default_factory=dict)


class Judgement:
    """One row under judgement: what was found on it so far."""

    def __init__(self, definitions: Definitions, kind: Kind, table: str, row: ExportRow, project_id: str, pounds: Decimal) -> None:
        self.kind: Kind = kind
        self.table = table
        self.row = row
        self.project_id = project_id
        self.pounds = pounds
        self.findings: list[Finding] = []
        self.definitions = definitions

    def __getitem__(self, column: str) -> str:
        """Return a cell of the row."""
        return self.row[column]

    def find(self, rule_id: str, column: str = "", **values: str) -> None:
        """Put a finding on record, once per rule and column. `column` is our name of it; the finding names its heading."""
        heading = HEADINGS[self.table][column] if column else ""
        finding = self.definitions.rule(rule_id).found(self.table, self.row.number, heading, **values)
        if finding not in self.findings:
            self.findings.append(finding)

    def note(self, rule_id: str, column: str = "", **values: str) -> None:
        """Put on record what does not change what becomes of the row, which may be in use already.

        Raises: RuleError when the catalogue gives the rule another severity than note.
        """
        if self.definitions.rule(rule_id).severity is not Severity.NOTE:
            raise RuleError(f"Rule {rule_id} is found on rows that are already in use, so its severity can only be note.")
        self.find(rule_id, column, **values)

    @property
    def disposition(self) -> Disposition:
        """What the findings so far lead to."""
        severities = {finding.severity for finding in self.findings}
        if severities & BLOCKING:
            return "refused"
        return "queried" if Severity.QUERY in severities else "taken"

    @property
    def is_usable(self) -> bool:
        """Whether nothing found so far keeps the row from being used."""
        return self.disposition == "taken"

    def outcome(self) -> RowOutcome:
        """Return what became of the row."""
        return RowOutcome(
            kind=self.kind,
            table=self.table,
            row=self.row.number,
            project_id=self.project_id,
            disposition=self.disposition,
            rules=tuple(sorted({finding.rule for finding in self.findings})),
            pounds=self.pounds,
        )


class Judgements:
    """All rows under judgement, and the findings that belong to no row."""

    def __init__(self, definitions: Definitions) -> None:
        self.definitions = definitions
        self._open: list[Judgement] = []
        self._loose: list[Finding] = []

    def open(self, kind: Kind, table: str, row: ExportRow, project_id: str, pounds: Decimal = NOTHING) -> Judgement:
        """Begin to judge a row. A row that has more or fewer cells than the heading is refused at once."""
        judgement = Judgement(self.definitions, kind, table, row, project_id, pounds)
        if row.is_ragged:
            judgement.find("I-505")
        self._open.append(judgement)
        return judgement

    def find(self, rule_id: str, table: str, column: str = "", row: int = 0, **values: str) -> None:
        """Put on record what was found outside the rows that are accounted for."""
        heading = HEADINGS[table][column] if column else ""
        finding = self.definitions.rule(rule_id).found(table, row, heading, **values)
        if finding not in self._loose:
            self._loose.append(finding)

    def findings(self) -> Iterator[Finding]:
        """Yield everything found."""
        yield from self._loose
        for judgement in self._open:
            yield from judgement.findings

    def outcomes(self) -> tuple[RowOutcome, ...]:
        """Return what became of every row, in the order of files and rows."""
        return tuple(sorted((judgement.outcome() for judgement in self._open), key=lambda outcome: (outcome.table, outcome.row)))


def account(outcomes: Sequence[RowOutcome], rows_in: Mapping[Kind, Sequence[Decimal]], booked: Mapping[Kind, Decimal]) -> Accounting:
    """Return the account of an import, checked against what was counted in the export itself.

    Args: rows_in has, by kind, the pounds of each row of the fund, read from the export without any judgement; booked is what went into register
    and returns.
    Raises: RuleError when rows or pounds in are not those taken, queried and refused: the import is at fault, not the export.
    """
    by_kind: dict[Kind, list[RowOutcome]] = defaultdict(list)
    for outcome in outcomes:
        by_kind[outcome.kind].append(outcome)
    for kind in sorted(set(by_kind) | set(rows_in)):
        found, counted = by_kind.get(kind, []), rows_in.get(kind, ())
        if len(found) != len(counted) or sum((o.pounds for o in found), NOTHING) != sum(counted, NOTHING):
            raise RuleError(f"The import does not account for every row of the {kind}: {len(counted)} came in, {len(found)} were judged.")
    kinds = {kind: _tally(by_kind[kind]) for kind in sorted(by_kind)}
    return Accounting(
        outcomes=tuple(outcomes),
        kinds=kinds,
        projects={kind: _by_project(by_kind[kind]) for kind in sorted(by_kind)},
        rules={kind: _by_rule(by_kind[kind]) for kind in sorted(by_kind)},
        rounding={kind: booked[kind] - kinds[kind].pounds_taken for kind in sorted(booked) if kind in kinds},
    )


def _tally(outcomes: Iterable[RowOutcome]) -> Tally:
    rows: dict[str, int] = defaultdict(int)
    pounds: dict[str, Decimal] = defaultdict(Decimal)
    for outcome in outcomes:
        for column in ("in", outcome.disposition):
            rows[column] += 1
            pounds[column] += outcome.pounds
    return Tally(
        rows_in=rows["in"],
        rows_taken=rows["taken"],
        rows_queried=rows["queried"],
        rows_refused=rows["refused"],
        pounds_in=pounds["in"],
        pounds_taken=pounds["taken"],
        pounds_queried=pounds["queried"],
        pounds_refused=pounds["refused"],
    )


def _by_project(outcomes: Iterable[RowOutcome]) -> Mapping[str, Tally]:
    of_project: dict[str, list[RowOutcome]] = defaultdict(list)
    for outcome in outcomes:
        of_project[outcome.project_id].append(outcome)
    return {project_id: _tally(of_project[project_id]) for project_id in sorted(of_project)}


def _by_rule(outcomes: Iterable[RowOutcome]) -> Mapping[str, RuleTally]:
    of_rule: dict[str, list[Decimal]] = defaultdict(list)
    for outcome in outcomes:
        for rule in outcome.rules:
            of_rule[rule].append(outcome.pounds)
    return {rule: RuleTally(rows=len(of_rule[rule]), pounds=sum(of_rule[rule], NOTHING)) for rule in sorted(of_rule)}
