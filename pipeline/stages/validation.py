"""Findings become a report and a verdict: what is wrong with a return, by which rule, where, and what to do.

A report holds rules, places and counts, never what a cell said, and no instant: the same return under the same rules gives the same bytes.
"""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import rfc8785

from pipeline.domain.findings import BLOCKING, Finding, Rule, Severity, in_order
from pipeline.domain.submission import RevisionKey
from pipeline.domain.tables import Definitions
from pipeline.errors import IntegrityError, OpenOutcomesError, RuleError
from pipeline.ports import ReturnTable
from pipeline.stages.follow_ons import COUNT, without_follow_ons

FORMAT = "openoutcomes.report/1"
MAX_PLACES = 1_000
"""The most findings that one check of one column gives; the last of them says how many there are in all."""
SHOWN_PLACES = 10
"""The most places that a report shows for one message."""
ALIKE = 0.6
"""How like a code a cell must be, from 0 to 1, for the code to be named as the one that may be meant."""

CODE_RULE = "S-110"
_LETTERS = re.compile("[A-Z]{1,3}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class ReportedPlace:
    """Where a rule was broken. `place` is the sheet or file as delivered; `cell` is like C5; empty or 0 when it is no single column or row.

    `nearest` is the valid code most like what the cell says, where there is one: a word of ours, never the cell's own.
    """

    table: str
    place: str
    row: int
    column: str
    cell: str
    nearest: str = ""


@dataclass(frozen=True, kw_only=True)
class ReportedRule:
    """A rule that was broken, with one message; `count` is in full, `places` are the first ten; `why` says why the rule matters."""

    rule: str
    severity: Severity
    title: str
    message: str
    fix: str
    count: int
    places: Sequence[ReportedPlace]
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class ReportedTable:
    """How many rows of a table were delivered, how many of those were blank, and which of our columns it has, from left to right."""

    table: str
    place: str
    delivered: int
    blank: int
    columns: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Report:
    """The judgement of one revision. `content` is the hash of what was judged, `rules` the digest of the rules it was judged by.

    `counts` is by rule and `severities` by severity, both in full; `findings` are in reading order, gravest first.
    """

    key: RevisionKey
    content: str
    rules: str
    passed: bool
    counts: Mapping[str, int]
    severities: Mapping[str, int]
    tables: Sequence[ReportedTable]
    findings: Sequence[ReportedRule]

    @property
    def verdict(self) -> str:
        """`passed` or `failed`."""
        return "passed" if self.passed else "failed"

    def to_document(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return {
            "format": FORMAT,
            "submission": str(self.key.submission),
            "revision": self.key.revision,
            "content": self.content,
            "rules": self.rules,
            "verdict": self.verdict,
            "counts": dict(self.counts),
            "severities": dict(self.severities),
            "tables": [asdict(table) for table in self.tables],
            "findings": [asdict(finding) for finding in self.findings],
        }

    def to_bytes(self) -> bytes:
        """Return the canonical bytes of the report. Source: RFC 8785 (JSON Canonicalization Scheme)."""
        return rfc8785.dumps(self.to_document())

    @classmethod
    def from_bytes(cls, content: bytes) -> Report:
        """Read a sealed report. Raises: IntegrityError when the bytes are not a report of this format."""
        try:
            return _from_document(json.loads(content))
        except (ValueError, KeyError, TypeError, OpenOutcomesError):
            raise IntegrityError(f"A sealed report is not of the format {FORMAT}. Validate the return again, or upgrade the code.") from None


def found_at(
    rule: Rule, table: str, column: str, rows: pa.Array, values: Mapping[str, str] | Sequence[Mapping[str, str]] = MappingProxyType({})
) -> list[Finding]:
    """Return the findings of one rule in one column: one for each row up to MAX_PLACES, of which the last says how many there are in all.

    Args: rows, the offending rows in order; values, of the rule's message, the same for all or one mapping for each row that is listed.
    """
    listed = rows.slice(0, MAX_PLACES).to_pylist()
    each = [values] * len(listed) if isinstance(values, Mapping) else values
    return [rule.found(table, row, column, **each[number], **_in_full(number, len(rows))) for number, row in enumerate(listed)]


def _in_full(number: int, count: int) -> dict[str, str]:
    return {COUNT: str(count)} if count > MAX_PLACES and number == MAX_PLACES - 1 else {}


def rows_where(frame: pa.Table, mask: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Return the numbers of the rows for which a mask is true, in order; a mask that is null does not count."""
    rows = frame["row"].filter(pc.fill_null(mask, False)).combine_chunks()
    return rows.take(pc.sort_indices(rows))


def make_report(
    *, key: RevisionKey, content: str, definitions: Definitions, tables: Mapping[str, ReturnTable], findings: Sequence[Finding]
) -> Report:
    """Group findings by rule and message, count them, and give the verdict: it passes when no finding blocks and none sets the delivery apart.

    What follows from other findings is left out.

    Raises: RuleError when a finding names no rule of the catalogue, or leaves a placeholder of its message empty.
    """
    findings = without_follow_ons(findings, definitions, tables)
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in in_order(findings):
        groups.setdefault((finding.rule, _message(definitions.rule(finding.rule), finding)), []).append(finding)
    weights = _weights(findings)
    reported = [_reported(definitions, rule, message, group, tables, weights) for (rule, message), group in groups.items()]
    counts: Counter[str] = Counter()
    severities: Counter[str] = Counter()
    for item in reported:
        counts[item.rule] += item.count
        severities[item.severity] += item.count
    return Report(
        key=key,
        content=content,
        rules=definitions.digests["rules"],
        passed=not any(item.severity in BLOCKING or definitions.rule(item.rule).quarantine for item in reported),
        counts=dict(sorted(counts.items())),
        severities={str(severity): severities[severity] for severity in Severity if severities[severity]},
        tables=[
            ReportedTable(
                table=name,
                place=table.place,
                delivered=table.cells.num_rows + table.blank_rows,
                blank=table.blank_rows,
                columns=_headings(table),
            )
            for name, table in sorted(tables.items())
        ],
        findings=reported,
    )


def describe(report: Report) -> Sequence[str]:
    """Return the report as lines for a terminal."""
    sums = count_in_words(report)
    lines = [f"{report.key}: {report.verdict}{f' with {sums}' if sums else ', nothing to say'}."]
    for table in report.tables:
        blank = f", of which {table.blank} blank" if table.blank else ""
        lines.append(f"  {table.table} ({table.place}): {_counted(table.delivered, 'row')}{blank}")
    for finding in report.findings:
        lines += ["", f"{finding.severity} {finding.rule}: {finding.title} ({_counted(finding.count, 'place')})", f"  {finding.message}"]
        if finding.places:
            more = finding.count - len(finding.places)
            lines.append(f"  Where: {'; '.join(_spoken(place) for place in finding.places)}{f'; and {more:,} more' if more else ''}")
        lines.append(f"  What to do: {finding.fix}")
    return lines


def count_in_words(report: Report) -> str:
    """Return how many findings of each severity a report has, gravest first; empty when there are none."""
    return ", ".join(_counted(count, _NOUNS[Severity(name)]) for name, count in report.severities.items())


_NOUNS: Mapping[Severity, str] = {Severity.REFUSE: "refusal", Severity.ERROR: "error", Severity.QUERY: "query", Severity.NOTE: "note"}


def _counted(count: int, noun: str) -> str:
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else plural}"


def _spoken(place: ReportedPlace) -> str:
    where = place.cell or (f"row {place.row}" if place.row else "")
    meant = f"; perhaps {place.nearest}" if place.nearest else ""
    column = f"({place.column}{meant})" if place.column else ""
    return " ".join(part for part in (place.place or place.table, where, column) if part)


def _message(rule: Rule, finding: Finding) -> str:
    try:
        return rule.message.format_map(dict(finding.values))
    except (KeyError, ValueError, IndexError) as error:
        raise RuleError(f"The message of rule {rule.id} has a placeholder that the check does not fill.") from error


def _weights(findings: Sequence[Finding]) -> Mapping[Finding, int]:
    """Return how many breaches a finding stands for, where that is more than one: the last of its rule, table and column for those not listed."""
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in in_order(findings):
        groups.setdefault((finding.rule, finding.table, finding.column), []).append(finding)
    weights = {}
    for group in groups.values():
        counts = [dict(finding.values).get(COUNT, "") for finding in group]
        in_full = max((int(count) for count in counts if count.isascii() and count.isdigit()), default=0)
        if in_full > len(group):
            weights[group[-1]] = in_full - len(group) + 1
    return weights


def _reported(
    definitions: Definitions,
    rule_id: str,
    message: str,
    group: Sequence[Finding],
    tables: Mapping[str, ReturnTable],
    weights: Mapping[Finding, int],
) -> ReportedRule:
    rule = definitions.rule(rule_id)
    located = [finding for finding in group if finding.table]
    return ReportedRule(
        rule=rule.id,
        severity=group[0].severity,
        title=rule.title,
        message=message,
        fix=rule.fix,
        count=sum(weights.get(finding, 1) for finding in group),
        places=[_place(finding, tables.get(finding.table), definitions) for finding in located[:SHOWN_PLACES]],
        why=rule.why,
    )


def _place(finding: Finding, table: ReturnTable | None, definitions: Definitions) -> ReportedPlace:
    return ReportedPlace(
        table=finding.table,
        place=table.place if table else "",
        row=finding.row,
        column=finding.column,
        cell=_cell(finding, table),
        nearest=_nearest(finding, table, definitions) if table and finding.rule == CODE_RULE else "",
    )


def _nearest(finding: Finding, table: ReturnTable, definitions: Definitions) -> str:
    """Return the code whose name or label is most like what a cell says; empty when none is like it."""
    at = pc.index(table.cells["row"], finding.row).as_py()
    if at < 0 or finding.column not in table.cells.column_names:
        return ""
    field = definitions.table("submission", finding.table).field(finding.column)
    codes = definitions.codelists[field.codelist] if field.codelist else {code: code for code in field.constraints.get("enum", ())}
    known = {_plain(word): code for code, label in codes.items() for word in (label, code)}
    alike = difflib.get_close_matches(_plain(table.cells[finding.column][at].as_py() or ""), known, n=1, cutoff=ALIKE)
    return known[alike[0]] if alike else ""


def _plain(word: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", word.casefold()))


def _headings(table: ReturnTable) -> list[str]:
    return [heading for heading in table.cells.column_names if heading != "row"]


def _cell(finding: Finding, table: ReturnTable | None) -> str:
    """Return the A1 reference of a finding in its table as delivered; empty when it has no row, or the column was not delivered.

    A reader names a column whose heading is none of ours by its letters.
    """
    headings = _headings(table) if table else []
    if finding.row and _LETTERS.fullmatch(finding.column):
        return f"{finding.column}{finding.row}"
    if not finding.row or finding.column not in headings:
        return ""
    letters, number = "", headings.index(finding.column) + 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return f"{letters}{finding.row}"


def _from_document(document: Mapping[str, Any]) -> Report:
    if document["format"] != FORMAT:
        raise IntegrityError("The format of the report is not known.")
    return Report(
        key=RevisionKey.parse(f"{document['submission']}/{document['revision']}"),
        content=document["content"],
        rules=document["rules"],
        passed=document["verdict"] == "passed",
        counts=document["counts"],
        severities=document["severities"],
        tables=[ReportedTable(**table) for table in document["tables"]],
        findings=[
            ReportedRule(
                **{
                    **finding,
                    "severity": Severity(finding["severity"]),
                    "places": [ReportedPlace(**place) for place in finding["places"]],
                }
            )
            for finding in document["findings"]
        ],
    )
