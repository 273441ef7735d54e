"""Reads .xlsx workbooks: values by calamine, after a scan of the same XML by an independent reader (`sheet_scan`) that must see the same rows."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from itertools import islice
from pathlib import Path

import pyarrow as pa
from python_calamine import CalamineWorkbook

from pipeline.adapters.reading.canonical import (
    BLANKS,
    Findings,
    Layout,
    RefusedError,
    TableForm,
    WrittenTable,
    find_heading_row,
    key,
    known_headings,
    letter,
    match_headings,
)
from pipeline.adapters.reading.containers import Caps
from pipeline.adapters.reading.delimited import HEADING_ROWS, is_ours
from pipeline.adapters.reading.sheet_scan import DeclarationError, Sheet, SheetScan, find_blank_strings, list_relations, list_sheets, scan_sheet
from pipeline.adapters.reading.surroundings import find_unseen_styles, look_around
from pipeline.adapters.reading.tables import TableWriter

Cell = str | int | float | bool | date | datetime | time | timedelta

BATCH_ROWS = 50_000
PENCE = 2
FLOAT_DUST = 1e-9
"""How far a number may lie from one of two decimals and still be taken as that: what is left of sums such as 0.1 + 0.2."""

WHOLE_FLOATS = 1e15
"""Up to here a float holds every whole number."""

BOMB_CELLS = 1_000_000_000
"""A sheet of a few filled cells that spans more than this was made to exhaust whoever opens it."""


def read_workbook(delivery: Path, forms: Mapping[str, TableForm], folder: Path, caps: Caps, findings: Findings) -> list[WrittenTable]:
    """Read the sheets of a workbook that are tables of ours; the cover is one of them."""
    tables: list[WrittenTable] = []
    with zipfile.ZipFile(delivery) as archive:
        try:
            listed = list_sheets(archive)
            if {relation.part for relation in list_relations(archive) if relation.kind == "worksheet"} - {sheet.part for sheet in listed}:
                findings.refuse("F-015", cause="sheet not listed")
            look_around(archive, listed, forms, findings)
            sheets = _sheets_of(listed, forms, findings)
            blank_strings, unseen = find_blank_strings(archive), find_unseen_styles(archive)
            scans = {
                name: _scan(scan_sheet(archive, sheet.part, blank_strings, unseen), forms[name], caps, findings) for name, sheet in sheets.items()
            }
            _check_cover(scans, findings)
        except DeclarationError:
            findings.refuse("F-016")
    with CalamineWorkbook.from_path(str(delivery)) as workbook:
        for name, scan in scans.items():
            if scan is None or not scan.filled:
                continue
            try:
                rows = _rows(workbook, sheets[name].name)
                table = _read_sheet(rows, forms[name], scan, folder, findings)
            except RefusedError:
                continue
            tables.extend([] if table is None else [table])
    return tables


def _sheets_of(sheets: Sequence[Sheet], forms: Mapping[str, TableForm], findings: Findings) -> dict[str, Sheet]:
    """Return the sheet of each table; a sheet that is none of ours, twice there or hidden is a finding."""
    by_key = {key(name): name for name in forms}
    chosen: dict[str, Sheet] = {}
    for sheet in sheets:
        name = by_key.get(key(sheet.name))
        if name is None and is_ours(sheet.name):
            continue
        if not sheet.is_visible:
            findings.add("F-038", table=name or "", position=sheet.position)
        if name is None:
            findings.add("F-036", position=sheet.position)
        elif name in chosen:
            findings.add("F-037", table=name)
        else:
            chosen[name] = sheet
    if not chosen:
        findings.refuse("F-039")
    return chosen


def _check_cover(scans: Mapping[str, SheetScan | None], findings: Findings) -> None:
    """A workbook is made from the template, which has a cover; a scan that failed has its own finding."""
    scan = scans.get("cover", SheetScan())
    if scan is not None and not scan.filled:
        findings.add("F-040", table="cover")


def _scan(scan: SheetScan, form: TableForm, caps: Caps, findings: Findings) -> SheetScan | None:
    """Return where something stands in a sheet, or None when it must not be loaded or cannot be trusted."""
    if scan.last_row * scan.columns > BOMB_CELLS:
        findings.add("F-017", table=form.name)
        return None
    if scan.columns > caps.columns or scan.last_row * scan.columns > caps.cells:
        findings.add("F-034", table=form.name, limit=caps.columns)
        return None
    for rule, places in (("F-041", scan.errors), ("F-042", scan.uncalculated), ("F-071", scan.commands), ("F-074", scan.formulas)):
        for row, column in places:
            findings.add(rule, table=form.name, row=row, column=letter(column))
    if scan.merged:
        findings.add("F-043", table=form.name, merged=scan.merged)
    if scan.is_disordered:
        findings.add("F-027", table=form.name)
    _note_unseen(scan, form, findings)
    return None if scan.errors or scan.uncalculated or scan.commands or scan.merged or scan.is_disordered else scan


def _note_unseen(scan: SheetScan, form: TableForm, findings: Findings) -> None:
    """Ask about what a person who looks at the sheet does not see; all of it was read."""
    columns = sum(max(0, min(last, scan.columns - 1) - first + 1) for first, last in scan.hidden_columns)
    if scan.hidden_rows or columns:
        findings.add("F-075", table=form.name, rows=scan.hidden_rows, columns=columns)
    if scan.is_filtered:
        findings.add("F-076", table=form.name)
    if scan.unseen:
        findings.add("F-077", table=form.name, cells=scan.unseen)
    if 0 < scan.stated_rows < scan.last_row:
        findings.add("F-078", table=form.name, stated=scan.stated_rows, rows=scan.last_row)


def _rows(workbook: CalamineWorkbook, name: str) -> Iterator[Sequence[Cell]]:
    """Yield the rows of a sheet from row 1, each from column A."""
    sheet = workbook.get_sheet_by_name(name)
    offset = [""] * (sheet.start[1] if sheet.start else 0)
    for row in sheet.iter_rows():
        yield offset + row if offset else row


def _read_sheet(rows: Iterator[Sequence[Cell]], form: TableForm, scan: SheetScan, folder: Path, findings: Findings) -> WrittenTable | None:
    headings = [_written(cell) or "" for cell in next(rows, [])]
    if not known_headings(form, headings):
        below = [[_written(cell) or "" for cell in row] for row in islice(rows, HEADING_ROWS)]
        if row := find_heading_row(form, below):
            findings.refuse("F-047", table=form.name, row=row + 1, heading_row=row + 1)
    layout = match_headings(form, headings, findings)
    if layout is None:
        return None
    filled: list[int] = []
    with TableWriter(folder, form, layout, findings) as writer:
        for numbers, batch in _batches(rows):
            filled.extend(numbers)
            writer.write(pa.array(numbers, pa.int64()), _columns(batch, layout))
    if filled != [row for row in scan.filled if row > 1]:
        findings.refuse("F-027", table=form.name)
    return writer.written(form.name)


def _batches(rows: Iterator[Sequence[Cell]]) -> Iterator[tuple[list[int], list[Sequence[Cell]]]]:
    """Yield the rows below the headings in which something stands, with their numbers."""
    filled = ((number, row) for number, row in enumerate(rows, start=2) if not _is_blank(row))
    while batch := list(islice(filled, BATCH_ROWS)):
        yield [number for number, _ in batch], [row for _, row in batch]


def _is_blank(row: Sequence[Cell]) -> bool:
    return row.count("") == len(row) or all(isinstance(cell, str) and not cell.strip(BLANKS) for cell in row)


def _columns(batch: Sequence[Sequence[Cell]], layout: Layout) -> dict[int, pa.StringArray]:
    positions = (*layout.positions.values(), *layout.spare)
    return {position: pa.array([_written(row[position]) for row in batch], pa.string()) for position in positions}


def _written(cell: Cell) -> str | None:
    """Return a cell as text: numbers as short as they can be, days in ISO form."""
    if isinstance(cell, str):
        return cell or None
    if isinstance(cell, bool):
        return "TRUE" if cell else "FALSE"
    if isinstance(cell, float):
        return _number(cell)
    if isinstance(cell, datetime):
        return cell.date().isoformat() if cell.time() == time() else cell.isoformat()
    if isinstance(cell, date | time):
        return cell.isoformat()
    return str(cell)


def _number(value: float) -> str:
    rounded = round(value, PENCE)
    if abs(value - rounded) < FLOAT_DUST:
        value = rounded
    return str(int(value)) if value.is_integer() and abs(value) < WHOLE_FLOATS else repr(value)
