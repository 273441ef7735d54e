"""Makes the files of a return: a workbook like the template, or a zip of CSV files. The same tables always give the same bytes.

A workbook has the sheets guidance, cover, participants, outcomes, payments and lists. The template that a project fills in is made by `template`.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.csv as pa_csv
from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.datavalidation import DataValidation
from openpyxl.worksheet.worksheet import Worksheet
from openpyxl.writer.excel import ExcelWriter

from pipeline.domain.tables import Definitions, TableSchema

Cells: TypeAlias = "pa.Table | Sequence[Mapping[str, object]]"

RETURN_TABLES: tuple[str, ...] = ("cover", "participants", "outcomes", "payments")
TEMPLATE_VERSION = "1"
MADE_AT = datetime(2021, 1, 1)  # noqa: DTZ001 - a workbook's own dates have no time zone
ZIPPED_AT = (1980, 1, 1, 0, 0, 0)
MONEY = "#,##0.00"
DATE = "yyyy-mm-dd"
LAST_CHECKED_ROW = 20_000


def write_workbook(tables: Mapping[str, Cells], project_id: str, quarter: str, definitions: Definitions) -> bytes:
    """Return a return as a workbook. A table that is not given has its headings only; a cover that is not given names project and quarter."""
    book = Workbook(write_only=True)
    _write_guidance(book.create_sheet("guidance"), definitions)
    for name in RETURN_TABLES:
        schema = definitions.table("submission", name)
        cells = tables.get(name, [_cover(project_id, quarter)] if name == "cover" else ())
        _write_table(book.create_sheet(name), schema, cells, definitions)
    _write_lists(book.create_sheet("lists"), definitions)
    return save_book(book, title=f"Quarterly return of {project_id} for {quarter}")


def write_zip(tables: Mapping[str, Cells], project_id: str, quarter: str, definitions: Definitions) -> bytes:
    """Return a return as a zip of CSV files, one per table."""
    covered = {"cover": [_cover(project_id, quarter)], **tables}
    return zip_files((f"{name}.csv", _csv(definitions.table("submission", name), covered.get(name, ()))) for name in RETURN_TABLES)


def _cover(project_id: str, quarter: str) -> Mapping[str, object]:
    return {"project_id": project_id, "quarter": quarter, "template_version": TEMPLATE_VERSION}


def _rows(schema: TableSchema, cells: Cells) -> Iterator[Sequence[object]]:
    if isinstance(cells, pa.Table):
        yield from zip(*(cells[name].to_pylist() for name in schema.columns), strict=True)
    else:
        yield from ([row.get(name) for name in schema.columns] for row in cells)


def _write_table(sheet: Worksheet, schema: TableSchema, cells: Cells, definitions: Definitions) -> None:
    sheet.freeze_panes = "A2"
    money = {position for position, column in enumerate(schema.fields) if column.type == "number"}
    for position, column in enumerate(schema.fields, start=1):
        sheet.column_dimensions[get_column_letter(position)].width = max(14, len(column.name) + 2)
        if column.codelist is not None:
            sheet.data_validations.append(_choice(position, _list_range(column.codelist, definitions)))
    sheet.append([_styled(sheet, name, bold=True) for name in schema.columns])
    for row in _rows(schema, cells):
        sheet.append([_styled(sheet, cell, number_format=MONEY) if position in money else _cell(sheet, cell) for position, cell in enumerate(row)])


def _cell(sheet: Worksheet, cell: Any) -> Any:
    return _styled(sheet, cell, number_format=DATE) if isinstance(cell, date) else cell


def _styled(sheet: Worksheet, cell: Any, *, bold: bool = False, number_format: str | None = None) -> Any:
    if cell is None or (number_format == MONEY and not isinstance(cell, Decimal)):
        return cell
    styled = WriteOnlyCell(sheet, cell)
    if bold:
        styled.font = Font(bold=True)
    if number_format is not None:
        styled.number_format = number_format
    return styled


def _choice(position: int, cells: str) -> DataValidation:
    """Return a list to choose from. It points to cells: Excel takes a comma inside a code written out here for the next code."""
    letter = get_column_letter(position)
    return DataValidation(type="list", formula1=cells, allow_blank=True, sqref=f"{letter}2:{letter}{LAST_CHECKED_ROW}")


def _code_lists(definitions: Definitions) -> Sequence[str]:
    """Return the code lists that returns use, in the order in which they stand on the sheet `lists`."""
    fields = [column for name in RETURN_TABLES for column in definitions.table("submission", name).fields]
    return sorted({column.codelist for column in fields if column.codelist is not None})


def _list_range(codelist: str, definitions: Definitions) -> str:
    letter = get_column_letter(2 * _code_lists(definitions).index(codelist) + 1)
    return f"lists!${letter}$2:${letter}${len(definitions.codelists[codelist]) + 1}"


def _write_lists(sheet: Worksheet, definitions: Definitions) -> None:
    """Write each code list as two columns, codes and labels."""
    names = _code_lists(definitions)
    sheet.freeze_panes = "A2"
    sheet.append([_styled(sheet, heading, bold=True) for name in names for heading in (name, f"{name}_label")])
    columns = [column for name in names for column in zip(*definitions.codelists[name].items(), strict=True)]
    for position in range(max(len(column) for column in columns)):
        sheet.append([column[position] if position < len(column) else None for column in columns])


def _write_guidance(sheet: Worksheet, definitions: Definitions) -> None:
    """Write what each column of each sheet is for."""
    for letter, width in (("A", 16), ("B", 20), ("C", 12), ("D", 12), ("E", 90)):
        sheet.column_dimensions[letter].width = width
    for line in (
        "Quarterly return. Fill in the sheets cover, participants, outcomes and payments; leave the headings as they are.",
        "Write days as dates, amounts in pounds and pence, and codes as on the sheet lists. Use your own references, never names.",
        "If nothing happened in the quarter, write yes under is_nil_return on the cover and leave the other sheets empty.",
    ):
        sheet.append([line])
    sheet.append([])
    sheet.append([_styled(sheet, heading, bold=True) for heading in ("Sheet", "Column", "Type", "Needed", "What it is")])
    for name in RETURN_TABLES:
        for column in definitions.table("submission", name).fields:
            sheet.append([name, column.name, column.type, "always" if column.is_required else "where known", column.description])


def save_book(book: Workbook, title: str) -> bytes:
    """Return a workbook's bytes without the time at which it was made, which openpyxl and zip would put in."""
    book.properties.title = title
    book.properties.creator = "Open Outcomes"
    book.properties.created = book.properties.modified = MADE_AT
    loose = io.BytesIO()
    with zipfile.ZipFile(loose, "w", zipfile.ZIP_STORED) as archive:
        ExcelWriter(book, archive).write_data()
    with zipfile.ZipFile(loose) as archive:
        return zip_files((name, archive.read(name)) for name in archive.namelist())


def zip_files(files: Iterable[tuple[str, bytes]]) -> bytes:
    """Return files as a zip that says nothing of when and where it was made."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, content in files:
            entry = zipfile.ZipInfo(name, ZIPPED_AT)
            entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
            archive.writestr(entry, content)
    return packed.getvalue()


def _csv(schema: TableSchema, cells: Cells) -> bytes:
    if isinstance(cells, pa.Table):
        sink = io.BytesIO()
        pa_csv.write_csv(cells.select(list(schema.columns)), sink)
        return sink.getvalue()
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(schema.columns)
    writer.writerows(_rows(schema, cells))
    return text.getvalue().encode()
