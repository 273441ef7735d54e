"""The template as a workbook: lists to choose from, dates and money formatted, a word on every column, headings that cannot be typed over; no macros.

What it must hold is decided in `template`; here it gets its shape. A cell says what belongs in it by the input message of its data validation, not by
a comment: a return with comments is asked about.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date

from openpyxl import Workbook
from openpyxl.styles import Alignment, Font, Protection
from openpyxl.utils import get_column_letter
from openpyxl.workbook.protection import WorkbookProtection
from openpyxl.worksheet.datavalidation import DataValidation
from openpyxl.worksheet.worksheet import Worksheet

from pipeline.domain.tables import Field
from pipeline.stages.return_files import DATE, MONEY, save_book
from pipeline.stages.sheet_style import BLACK, BOX, DARK_BLUE, FACE, GREY, PALE_GREY, PALE_YELLOW, fill, fit_row, head, protect, put, set_up_page
from pipeline.stages.template import DATING, DECLARATION, DECLARED, HOW_TO, REGISTER_LISTS, Template, TemplateTable, list_of

LAST_ROW = 1_048_576
TEXT = "@"
"""The format of text: without it a spreadsheet makes numbers of references such as 0012, and days of those such as MAR-1."""

FORMATS = {"date": DATE, "number": MONEY, "integer": "0", "string": TEXT}
WIDTHS = {"date": 14, "number": 15, "integer": 11, "string": 20}
LONG_TEXT_WIDTH = 70
FIRST_DAY = date(2000, 1, 1)
LONGEST_PROMPT, LONGEST_PROMPT_TITLE = 255, 32
GUIDANCE_WIDTHS = (18, 22, 16, 27, 80)


def write_template_book(template: Template) -> bytes:
    """Return the template as a workbook."""
    book = Workbook()
    book.remove(book.worksheets[0])
    _write_guidance(book.create_sheet("guidance"), template)
    for table in template.tables:
        sheet = book.create_sheet(table.name)
        if table.name == "cover":
            _write_cover(sheet, table, template)
        else:
            _write_table(sheet, table, template)
    _write_lists(book.create_sheet("lists"), template)
    for sheet in book.worksheets:
        set_up_page(sheet, repeat_first_row=sheet.title != "guidance")
        protect(sheet)
    book.security = WorkbookProtection(lockStructure=True)
    return save_book(book, template.title)


def _write_guidance(sheet: Worksheet, template: Template) -> None:
    for position, width in enumerate(GUIDANCE_WIDTHS, start=1):
        sheet.column_dimensions[get_column_letter(position)].width = width
    sheet.sheet_view.showGridLines = False
    row = _write_lines(sheet, 1, _opening(template))
    row = _write_rows(sheet, row, "Columns", ("Sheet", "Column", "Needed", "What to write", "What it is"), _columns(template))
    metrics = [
        (metric["metric_id"], metric["unit"], "once a person" if metric["is_once_per_person"] else "each time", metric["name"], metric["definition"])
        for metric in template.metrics
    ]
    _write_rows(sheet, row, "Outcome metrics in force", ("Metric", "Unit", "Claimed", "Name", "What must be true"), metrics)


def _opening(template: Template) -> Iterator[tuple[str, int, bool]]:
    quarter = template.quarter
    yield str(template.project["name"]), 18, True
    yield f"{template.title} ({_spoken(quarter.start)} to {_spoken(quarter.end)}). Send it by {_spoken(template.due_on)}.", 12, False
    yield "How to fill it in", 14, True
    for number, step in enumerate(HOW_TO, start=1):
        yield f"{number}. {step}", 11, False
    yield "Declaration", 14, True
    yield f"On the cover, under {DECLARED}: {DECLARATION[0].lower()}{DECLARATION[1:]}", 11, False


def _write_lines(sheet: Worksheet, row: int, lines: Iterator[tuple[str, int, bool]]) -> int:
    for text, size, is_bold in lines:
        put(sheet, row, 1, text, size=size, bold=is_bold, color=DARK_BLUE if is_bold else BLACK, wrap=False)
        sheet.row_dimensions[row].height = 1.7 * size
        row += 1
    return row + 1


def _columns(template: Template) -> Iterator[Sequence[str]]:
    for table in template.tables:
        for field in table.fields:
            yield table.name, field.name, template.needed(field), template.kind(field), field.description


def _write_rows(sheet: Worksheet, row: int, title: str, headings: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> int:
    put(sheet, row, 1, title, size=14, bold=True, color=DARK_BLUE, wrap=False)
    sheet.row_dimensions[row].height = 24
    row += 1
    for column, heading in enumerate(headings, start=1):
        head(sheet, row, column, heading)
    for cells in rows:
        row += 1
        for column, text in enumerate(cells, start=1):
            put(sheet, row, column, text).border = BOX
        fit_row(sheet, row, zip(cells, GUIDANCE_WIDTHS, strict=True))
    return row + 2


def _write_cover(sheet: Worksheet, table: TemplateTable, template: Template) -> None:
    """Write the one row of the cover: what is known already is locked, the rest waits to be filled in."""
    _write_headings(sheet, table, template)
    for position, field in enumerate(table.fields, start=1):
        known = template.cover.get(field.name)
        cell = put(sheet, 2, position, known) if known is not None else sheet.cell(2, position)
        cell.number_format, cell.border = TEXT, BOX
        cell.protection = Protection(locked=known is not None)
        cell.fill = fill(PALE_GREY if known is not None else PALE_YELLOW)
        cell.alignment = Alignment(vertical="top", wrap_text=True)
        sheet.data_validations.append(_validation(table, field, template, cells=f"{get_column_letter(position)}2"))
    sheet.row_dimensions[2].height = 60
    sheet.freeze_panes = "A2"
    sheet.sheet_view.selection[0].activeCell = sheet.sheet_view.selection[0].sqref = "D2"


def _write_table(sheet: Worksheet, table: TemplateTable, template: Template) -> None:
    """Write the headings of a table over open columns: every cell below a heading may be filled in, and nothing beside them."""
    _write_headings(sheet, table, template)
    for position, field in enumerate(table.fields, start=1):
        letter = get_column_letter(position)
        column = sheet.column_dimensions[letter]
        column.number_format = FORMATS[field.type]
        column.protection = Protection(locked=False)
        column.font = Font(name=FACE, size=11)
        sheet.data_validations.append(_validation(table, field, template, cells=f"{letter}2:{letter}{LAST_ROW}"))
    sheet.freeze_panes = "B2"


def _write_headings(sheet: Worksheet, table: TemplateTable, template: Template) -> None:
    sheet.row_dimensions[1].height = 32
    for position, field in enumerate(table.fields, start=1):
        head(sheet, 1, position, field.name, is_strong=field.is_required)
        codes = template.lists.get(list_of(field) or "", {})
        longest = max((len(code) for code in codes), default=0)
        width = LONG_TEXT_WIDTH if "maxLength" in field.constraints else WIDTHS[field.type]
        sheet.column_dimensions[get_column_letter(position)].width = max(width, len(field.name) + 4, longest + 4)


def _validation(table: TemplateTable, field: Field, template: Template, *, cells: str) -> DataValidation:
    """Return what a column allows and says of itself. Other codes of the register can be typed too: a late outcome may have an old metric."""
    found = _allowed(table, field, template)
    found.sqref = cells
    found.allow_blank = True
    found.promptTitle, found.prompt = _short(field.title, LONGEST_PROMPT_TITLE), _short(_prompt(field, template), LONGEST_PROMPT)
    found.showInputMessage = found.showErrorMessage = True
    found.errorStyle = "warning" if field.name in REGISTER_LISTS else "stop"
    found.errorTitle = _short(field.title, LONGEST_PROMPT_TITLE)
    found.error = _short(f"This is not what the column takes. {_prompt(field, template)}", LONGEST_PROMPT)
    return found


def _allowed(table: TemplateTable, field: Field, template: Template) -> DataValidation:
    name = list_of(field)
    if name is not None and template.lists.get(name):
        return DataValidation(type="list", formula1=_list_range(name, template))
    limits = field.constraints
    if field.type == "date" and (table.name, field.name) in DATING:
        return DataValidation(type="date", operator="between", formula1=_day(template.starts_on), formula2=_day(template.quarter.end))
    if field.type == "date":
        return DataValidation(type="date", operator="greaterThanOrEqual", formula1=_day(FIRST_DAY))
    if field.type in ("integer", "number"):
        lowest, highest = str(limits["minimum"]), str(limits["maximum"])
        return DataValidation(type="whole" if field.type == "integer" else "decimal", operator="between", formula1=lowest, formula2=highest)
    longest = limits.get("maxLength", 64)
    return DataValidation(type="textLength", operator="lessThanOrEqual", formula1=str(longest))


def _list_range(name: str, template: Template) -> str:
    """Return where the codes of a list stand, which come one list below the other."""
    above = sum(len(codes) for codes in list(template.lists.values())[: list(template.lists).index(name)])
    return f"lists!$B${above + 2}:$B${above + 1 + len(template.lists[name])}"


def _write_lists(sheet: Worksheet, template: Template) -> None:
    """Write the codes of each list with their labels, one list below the other."""
    for position, (heading, width) in enumerate((("list", 24), ("code", 36), ("label", 80)), start=1):
        head(sheet, 1, position, heading)
        sheet.column_dimensions[get_column_letter(position)].width = width
    rows = [(name, code, label) for name, codes in template.lists.items() for code, label in codes.items()]
    for row, (name, code, label) in enumerate(rows, start=2):
        is_first = row == 2 or rows[row - 3][0] != name
        for position, text in enumerate((name, code, label), start=1):
            cell = put(sheet, row, position, text, color=BLACK if position == 2 else GREY, bold=is_first and position == 1)
            cell.number_format, cell.border = TEXT, BOX
    sheet.freeze_panes = "A2"


def _prompt(field: Field, template: Template) -> str:
    if field.name == DECLARED:
        return f"{field.description} {DECLARATION}"
    kind = template.kind(field)
    needed = "Must be filled in." if field.is_required else "Fill in where it applies."
    return f"{field.description} {kind[0].upper()}{kind[1:]}. {needed}"


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _day(day: date) -> str:
    return f"DATE({day.year},{day.month},{day.day})"


def _spoken(day: date) -> str:
    return f"{day.day} {day:%B %Y}"
