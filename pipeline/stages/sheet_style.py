"""How the workbooks look that we make for people: headings, colours, page set-up. Text is written as text, whatever sign it begins with."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

from openpyxl.cell import Cell
from openpyxl.styles import Alignment, Border, Font, PatternFill, Protection, Side
from openpyxl.worksheet.properties import PageSetupProperties
from openpyxl.worksheet.worksheet import Worksheet

DARK_BLUE, PALE_BLUE, PALE_GREY, PALE_YELLOW, WHITE, BLACK, GREY = "1D4F7C", "DCE8F2", "F3F2F1", "FFF7D6", "FFFFFF", "0B0C0C", "505A5F"
FACE = "Calibri"
LINE_HEIGHT, SIGN_WIDTH = 15, 1.1
THIN = Side(style="thin", color="B1B4B6")
BOX = Border(left=THIN, right=THIN, top=THIN, bottom=THIN)


def fill(color: str) -> PatternFill:
    """Return a fill of one colour."""
    return PatternFill("solid", fgColor=color)


def put(
    sheet: Worksheet, row: int, column: int, text: str | int, *, color: str = BLACK, size: int = 11, bold: bool = False, wrap: bool = True
) -> Cell:
    """Write text or a number into a cell, at its top. A text that begins like a formula stays text."""
    cell = sheet.cell(row, column, text)
    if isinstance(text, str):
        cell.data_type = "s"
    cell.font = Font(name=FACE, size=size, bold=bold, color=color)
    cell.alignment = Alignment(vertical="top", wrap_text=wrap)
    return cell


def fit_row(sheet: Worksheet, row: int, cells: Iterable[tuple[str, float]]) -> None:
    """Make a row as high as its wrapped texts need, each given with the width of its column: not every program does that by itself."""
    lines = max((ceil(len(text) * SIGN_WIDTH / width) for text, width in cells), default=1)
    sheet.row_dimensions[row].height = LINE_HEIGHT * max(lines, 1)


def head(sheet: Worksheet, row: int, column: int, text: str, *, is_strong: bool = True) -> Cell:
    """Write a heading: white on dark blue, or, where it matters less, dark on pale blue."""
    cell = put(sheet, row, column, text, bold=True, color=WHITE if is_strong else BLACK)
    cell.fill = fill(DARK_BLUE if is_strong else PALE_BLUE)
    cell.border = BOX
    cell.alignment = Alignment(vertical="center", wrap_text=True)
    cell.protection = Protection(locked=True)
    return cell


def set_up_page(sheet: Worksheet, *, repeat_first_row: bool) -> None:
    """Print a sheet on A4 across, as wide as the page, with the headings on every page."""
    sheet.page_setup.orientation = "landscape"
    sheet.page_setup.paperSize = 9
    sheet.page_setup.fitToWidth, sheet.page_setup.fitToHeight = 1, 0
    sheet.sheet_properties.pageSetUpPr = PageSetupProperties(fitToPage=True)
    if repeat_first_row:
        sheet.print_title_rows = "1:1"


def protect(sheet: Worksheet) -> None:
    """Keep the locked cells of a sheet from being changed by mistake; there is no password, so whoever must can lift it."""
    protection = sheet.protection
    # In the file a permission is written the other way round: False means that people may.
    protection.formatColumns = protection.formatRows = protection.sort = protection.autoFilter = False
    protection.insertRows = protection.deleteRows = False
    protection.enable()
