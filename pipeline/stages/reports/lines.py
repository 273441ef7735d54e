"""The report as CSV: one line for each place that it names, and one for each finding that has none."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from pipeline.stages.validation import Report, ReportedPlace, ReportedRule

HEADINGS = ("severity", "rule", "title", "sheet", "cell", "row", "column", "did_you_mean", "message", "why", "fix", "count")


def write_lines(report: Report) -> bytes:
    """Return the report as CSV in UTF-8, gravest findings first. `count` is in full; places are listed up to the report's limit."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADINGS)
    for finding in report.findings:
        writer.writerows(_lines(finding))
    return text.getvalue().encode()


def _lines(finding: ReportedRule) -> Iterator[Sequence[object]]:
    nowhere = ReportedPlace(table="", place="", row=0, column="", cell="")
    for place in finding.places or (nowhere,):
        where = (place.place or place.table, place.cell, place.row or "", place.column, place.nearest)
        yield finding.severity, finding.rule, finding.title, *where, finding.message, finding.why, finding.fix, finding.count
