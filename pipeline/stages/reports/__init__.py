"""One report in four forms: JSON for programs, CSV with a line for each place, a page to read, and a workbook with the cells marked.

Every form says the same and holds what the report holds: rules, places and counts, never what a cell said. The same report gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

from pipeline.stages.validation import Report

Form: TypeAlias = Literal["json", "csv", "html", "xlsx"]


def write_report(report: Report, form: Form) -> bytes:
    """Return a report in one of its forms."""
    return _WRITERS[form](report)


def _json(report: Report) -> bytes:
    return report.to_bytes()


def _csv(report: Report) -> bytes:
    from pipeline.stages.reports.lines import write_lines

    return write_lines(report)


def _html(report: Report) -> bytes:
    from pipeline.stages.reports.page import write_page

    return write_page(report)


def _xlsx(report: Report) -> bytes:
    from pipeline.stages.reports.marked_book import write_marked_book

    return write_marked_book(report)


_WRITERS: Mapping[Form, Callable[[Report], bytes]] = {"json": _json, "csv": _csv, "html": _html, "xlsx": _xlsx}
