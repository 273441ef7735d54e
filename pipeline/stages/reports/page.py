"""The report as one page of HTML that needs nothing else: no scripts, no fonts, no pictures. What is written into it is escaped by Jinja2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.domain.findings import Severity
from pipeline.stages.validation import Report, ReportedRule, count_in_words


@dataclass(frozen=True, kw_only=True)
class Part:
    """The findings that ask the same of the team, each with the number by which links find it."""

    id: str
    title: str
    advice: str
    findings: Sequence[tuple[int, ReportedRule]]


_PARTS: tuple[tuple[str, frozenset[Severity], str, str], ...] = (
    ("mend", frozenset({Severity.REFUSE, Severity.ERROR}), "Must be mended", "The return is not accepted while it has any of these."),
    ("explain", frozenset({Severity.QUERY}), "Wants a look", "These may be right. Check each one, and say so if it is."),
    ("note", frozenset({Severity.NOTE}), "For information", "There is nothing to do if these are meant."),
)


def write_page(report: Report) -> bytes:
    """Return the report as a page."""
    numbered = list(enumerate(report.findings, start=1))
    parts = [
        Part(id=name, title=title, advice=advice, findings=[item for item in numbered if item[1].severity in severities])
        for name, severities, title, advice in _PARTS
    ]
    environment = Environment(
        loader=PackageLoader("pipeline.stages.reports"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template("report.html").render(
        report=report,
        parts=[part for part in parts if part.findings],
        sums=count_in_words(report),
        rows=sum(table.delivered for table in report.tables),
    )
    return page.encode()
