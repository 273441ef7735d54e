"""The report as a workbook with the cells marked: cell C5 of a sheet here is cell C5 of the return. It holds none of the return's values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from openpyxl import Workbook
from openpyxl.utils import column_index_from_string, get_column_letter
from openpyxl.utils.cell import coordinate_from_string
from openpyxl.worksheet.hyperlink import Hyperlink
from openpyxl.worksheet.worksheet import Worksheet

from pipeline.domain.findings import Severity
from pipeline.stages.return_files import save_book
from pipeline.stages.sheet_style import BOX, DARK_BLUE, GREY, fill, fit_row, head, put, set_up_page
from pipeline.stages.validation import Report, ReportedPlace, ReportedRule, count_in_words

DRAWN_ROWS = 500
"""How far down cells are drawn and marked. What lies below is in the list of places all the same."""

COLOURS: Mapping[Severity, str] = {Severity.REFUSE: "F4B8AD", Severity.ERROR: "F4CDC6", Severity.QUERY: "D2E2F1", Severity.NOTE: "EEEFEF"}
FINDINGS = (("Severity", 11), ("Rule", 9), ("Title", 30), ("Places", 9), ("What is wrong", 50), ("What to do", 50), ("Why it matters", 50))
PLACES = (("Cell", 9), ("Row", 8), ("Column", 20), ("Severity", 11), ("Rule", 9), ("Did you mean", 20), ("What is wrong", 80))
GRID_WIDTH = 14
Placed = tuple[ReportedRule, ReportedPlace]


def write_marked_book(report: Report) -> bytes:
    """Return the report as a workbook: a sheet of findings, then one for each table with marked cells, and beside them the places in words."""
    book = Workbook()
    book.remove(book.worksheets[0])
    _write_findings(book.create_sheet("findings"), report)
    columns = {table.table: table.columns for table in report.tables}
    for name, placed in _by_table(report).items():
        _write_table(book.create_sheet(name), columns.get(name, ()), placed)
    for sheet in book.worksheets:
        set_up_page(sheet, repeat_first_row=False)
    return save_book(book, title=f"Report on {report.key}")


def _by_table(report: Report) -> Mapping[str, Sequence[Placed]]:
    """Return the places of each table that has any, in the order of the findings."""
    found: dict[str, list[Placed]] = {}
    for finding in report.findings:
        for place in finding.places:
            found.setdefault(place.table, []).append((finding, place))
    return dict(sorted(found.items()))


def _write_findings(sheet: Worksheet, report: Report) -> None:
    put(sheet, 1, 1, f"Report on {report.key}: {report.verdict}", size=16, bold=True, color=DARK_BLUE, wrap=False)
    sums = count_in_words(report)
    put(sheet, 2, 1, f"{sums[0].upper()}{sums[1:]}." if sums else "Nothing to say.", wrap=False)
    put(sheet, 3, 1, "Each sheet behind this one marks cells where they stand in the return. It holds no values.", color=GREY, wrap=False)
    for column, (heading, width) in enumerate(FINDINGS, start=1):
        head(sheet, 5, column, heading)
        sheet.column_dimensions[get_column_letter(column)].width = width
    for row, finding in enumerate(report.findings, start=6):
        cells: Sequence[str | int] = (str(finding.severity), finding.rule, finding.title, finding.count, finding.message, finding.fix, finding.why)
        for column, text in enumerate(cells, start=1):
            cell = put(sheet, row, column, text)
            cell.border = BOX
            if column == 1:
                cell.fill = fill(COLOURS[finding.severity])
        fit_row(sheet, row, ((str(text), width) for text, (_, width) in zip(cells, FINDINGS, strict=True)))
    sheet.freeze_panes = "A6"


def _write_table(sheet: Worksheet, columns: Sequence[str], placed: Sequence[Placed]) -> None:
    marks = dict(_marks(placed))
    width = max(len(columns), *(column for _, column in marks), 0)
    height = max((row for row, _ in marks), default=1)
    for column in range(1, width + 1):
        head(sheet, 1, column, columns[column - 1] if column <= len(columns) else get_column_letter(column), is_strong=False)
        sheet.column_dimensions[get_column_letter(column)].width = GRID_WIDTH
        for row in range(2, height + 1):
            sheet.cell(row, column).border = BOX
    for (row, column), findings in marks.items():
        cell = put(sheet, row, column, " ".join(dict.fromkeys(finding.rule for finding in findings)), bold=True)
        cell.fill, cell.border = fill(COLOURS[findings[0].severity]), BOX
    _write_places(sheet, width + 2, placed)
    sheet.freeze_panes = "A2"


def _marks(placed: Sequence[Placed]) -> Iterator[tuple[tuple[int, int], Sequence[ReportedRule]]]:
    """Yield each cell that can be drawn, by row and column, with what was found in it, gravest first."""
    found: dict[tuple[int, int], list[ReportedRule]] = {}
    for finding, place in placed:
        if place.cell and place.row <= DRAWN_ROWS:
            letters, row = coordinate_from_string(place.cell)
            found.setdefault((row, column_index_from_string(letters)), []).append(finding)
    yield from found.items()


def _write_places(sheet: Worksheet, first: int, placed: Sequence[Placed]) -> None:
    """Write the places in words beside the marked cells; each leads to its cell."""
    for column, (heading, width) in enumerate(PLACES, start=first):
        head(sheet, 1, column, heading)
        sheet.column_dimensions[get_column_letter(column)].width = width
    for row, (finding, place) in enumerate(placed, start=2):
        cells = (place.cell, place.row or "", place.column, str(finding.severity), finding.rule, place.nearest, finding.message)
        for column, text in enumerate(cells, start=first):
            put(sheet, row, column, text, wrap=False).border = BOX
        if place.cell and place.row <= DRAWN_ROWS:
            target = f"'{sheet.title}'!{place.cell}"
            sheet.cell(row, first).hyperlink = Hyperlink(ref=f"{get_column_letter(first)}{row}", location=target)
