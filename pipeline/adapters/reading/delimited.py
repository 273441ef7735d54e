"""Reads CSV (RFC 4180). The cells come from pyarrow; Python's own reader goes over the same bytes first and judges them.

Two readers must see the same rows, and a line break inside a cell is refused wherever no free text is expected: so a quote that was opened and
never closed can hide nothing.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path
from typing import IO, NoReturn

import pyarrow as pa
import pyarrow.csv

from pipeline.adapters.reading.canonical import (
    Findings,
    Layout,
    RefusedError,
    TableForm,
    WrittenTable,
    find_heading_row,
    key,
    known_headings,
    match_headings,
)
from pipeline.adapters.reading.containers import Caps
from pipeline.adapters.reading.tables import TableWriter
from pipeline.adapters.reading.texts import BLOCK_BYTES, SIGNS, Opener, Text, prepare
from pipeline.stages.personal_data import find_in_texts

LONGEST_CELL = 32_767
"""What a cell of a spreadsheet holds at most."""

IGNORED_MEMBERS = ("__macosx/", ".ds_store", "thumbs.db")
"""What file managers add to an archive of their own accord."""

ARCHIVES = ("zip", "xlsx", "xlsm", "xls", "ods", "7z", "rar", "gz", "tar")

HEADING_ROWS = 20
"""How far down headings are looked for, to say where they are."""

_THOUSANDS, _REST = re.compile("[-£ ]{0,3}[0-9]{1,3}", re.ASCII), re.compile(r"[0-9]{3}(?:\.[0-9]*)?", re.ASCII)


@dataclass(frozen=True)
class Source:
    """One file as both readers get it."""

    opener: Opener
    separator: str


@dataclass
class Survey:
    """What the second reader saw of one file: its headings and how many records follow, blank ones apart; `is_whole` when each fits the headings."""

    headings: Sequence[str]
    records: int = 0
    is_whole: bool = True
    blank: array[int] = field(default_factory=lambda: array("q"))


def read_csv(delivery: Path, forms: Mapping[str, TableForm], folder: Path, caps: Caps, findings: Findings) -> list[WrittenTable]:
    """Read a delivery that is one table; its headings say which."""

    def opener() -> IO[bytes]:
        return delivery.open("rb")

    text = prepare(opener, "", folder, findings)
    records = _first_records(text, forms.values(), "", findings)
    form = _form_of(records.rows[0], forms)
    if form is None:
        _refuse_headings(records, forms.values(), "", findings)
    source = _source(text, records, form, "", findings)
    table = _read_table(source, form, f"{form.name}.csv", folder, caps, findings)
    return [] if table is None else [table]


def read_archive(delivery: Path, forms: Mapping[str, TableForm], folder: Path, caps: Caps, findings: Findings) -> list[WrittenTable]:
    """Read an archive of CSV files, each named after its table."""
    tables: list[WrittenTable] = []
    with zipfile.ZipFile(delivery) as archive:
        for form, entry in _members(archive, forms, findings):
            try:
                table = _read_member(archive, entry, form, folder, caps, findings)
            except RefusedError:
                continue
            tables.extend([] if table is None else [table])
    return tables


def _members(archive: zipfile.ZipFile, forms: Mapping[str, TableForm], findings: Findings) -> Iterator[tuple[TableForm, zipfile.ZipInfo]]:
    by_key = {key(name): form for name, form in forms.items()}
    taken: set[str] = set()
    for position, entry in enumerate(archive.infolist(), start=1):
        if entry.is_dir() or entry.filename.casefold().startswith(IGNORED_MEMBERS) or entry.filename.casefold().endswith(IGNORED_MEMBERS):
            continue
        stem, _, ending = entry.filename.replace("\\", "/").rpartition("/")[2].rpartition(".")
        form = by_key.get(key(stem)) if ending.casefold() == "csv" else None
        if ending.casefold() in ARCHIVES:
            findings.refuse("F-019", position=position)
        if form is None:
            if not is_ours(stem):
                findings.add("F-036", position=position)
                check_name(stem, f"The name of file {position}", findings)
        elif form.name in taken:
            findings.add("F-037", table=form.name)
        else:
            taken.add(form.name)
            yield form, entry
    if not taken:
        findings.refuse("F-039")


def is_ours(name: str) -> bool:
    """Say whether a sheet or file is a part of the template that holds no data: guidance, or the lists that cells are chosen from."""
    plain = key(name)
    return plain in {"guidance", "lists"} or name.strip().casefold().startswith("lists_")


def check_name(name: str, where: str, findings: Findings) -> None:
    """Find personal data in the name of a sheet or file."""
    for kind in find_in_texts([re.sub("[_.-]+", " ", name), name]):
        findings.add("H-020", where=where, kind=kind)


def _read_member(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, form: TableForm, folder: Path, caps: Caps, findings: Findings
) -> WrittenTable | None:
    def opener() -> IO[bytes]:
        return archive.open(entry)

    text = prepare(opener, form.name, folder, findings)
    records = _first_records(text, [form], form.name, findings)
    if not known_headings(form, records.rows[0]):
        _refuse_headings(records, [form], form.name, findings)
    return _read_table(_source(text, records, form, form.name, findings), form, f"{form.name}.csv", folder, caps, findings)


@dataclass(frozen=True)
class _Records:
    """The first records of a file, and the sign that they were separated by."""

    separator: str
    rows: Sequence[Sequence[str]]


def _first_records(text: Text, forms: Collection[TableForm], table: str, findings: Findings) -> _Records:
    """Return the first records, separated by the sign under which most headings are known; a comma when none is better."""
    best, known, fault = _Records(",", [[]]), 0, ""
    for separator in [text.separator] if text.separator else SIGNS:
        try:
            records = _Records(separator, _first_rows(text, separator))
        except csv.Error as error:
            fault = fault or _rule_of(error)
            continue
        found = max(known_headings(form, records.rows[0]) for form in forms)
        if found > known or best.rows == [[]]:
            best, known = records, found
    if fault and not known:
        findings.refuse(fault, table=table, row=1)
    return best


def _first_rows(text: Text, separator: str) -> Sequence[Sequence[str]]:
    with _open_text(text.opener) as file:
        csv.field_size_limit(LONGEST_CELL)
        first = next(csv.reader(file, strict=True, delimiter=separator), [])
        return [first, *_few(csv.reader(file, delimiter=separator))]


def _few(records: Iterator[Sequence[str]]) -> Sequence[Sequence[str]]:
    """Return some more records, as far as they can be read: they only help to say where the headings are."""
    rows: list[Sequence[str]] = []
    with suppress(csv.Error):
        rows.extend(islice(records, HEADING_ROWS - 1))
    return rows


def _refuse_headings(records: _Records, forms: Collection[TableForm], table: str, findings: Findings) -> NoReturn:
    """Say why the first row has no heading that is known: it stands further down, or nowhere."""
    for form in forms:
        if row := find_heading_row(form, records.rows):
            findings.refuse("F-047", table=form.name, row=row, heading_row=row)
    has_other = len(records.rows[0]) == 1 and any(sign in records.rows[0][0] for sign in SIGNS)
    findings.refuse("F-026" if has_other else "F-030", table=table, row=1)


def _source(text: Text, records: _Records, form: TableForm, table: str, findings: Findings) -> Source:
    if text.has_unusual_ends and not form.free_text:
        findings.add("F-056", table=table)
    if records.separator != "," and text.separator is None:
        findings.add("F-054", table=table, row=1, sign=SIGNS[records.separator])
    return Source(text.opener, records.separator)


def _open_text(opener: Opener) -> io.TextIOWrapper:
    return io.TextIOWrapper(opener(), encoding="utf-8-sig", newline="")


def _rule_of(error: csv.Error) -> str:
    return "F-025" if "field limit" in str(error) else "F-022"


def _form_of(headings: Sequence[str], forms: Mapping[str, TableForm]) -> TableForm | None:
    """Return the table that most headings belong to; none when no heading is known."""
    known = {name: known_headings(form, headings) for name, form in forms.items()}
    best = max(known, key=lambda name: known[name])
    return forms[best] if known[best] else None


def _read_table(source: Source, form: TableForm, place: str, folder: Path, caps: Caps, findings: Findings) -> WrittenTable | None:
    """Return the table, or None when findings say why it cannot be read."""
    survey = _survey(source, form, findings)
    if len(survey.headings) > caps.columns:
        findings.refuse("F-034", table=form.name, row=1, limit=caps.columns)
    layout = match_headings(form, survey.headings, findings)
    if layout is None or not survey.is_whole:
        return None
    with TableWriter(folder, form, layout, findings) as writer:
        if _write_rows(source, survey, layout, writer) != survey.records - len(survey.blank):
            findings.refuse("F-027", table=form.name)
    return writer.written(place)


def _survey(source: Source, form: TableForm, findings: Findings) -> Survey:
    """Go over all records with Python's strict reader. A loop over every row, on purpose: it is the independent witness (0.7 s a million rows)."""
    with _open_text(source.opener) as text:
        reader = csv.reader(text, strict=True, delimiter=source.separator)
        csv.field_size_limit(LONGEST_CELL)
        row = 0
        try:
            survey = Survey(headings=next(reader, []))
            row, width, line = 1, len(survey.headings), reader.line_num
            for row, record in enumerate(reader, start=2):
                line += 1
                if len(record) == width and reader.line_num == line:
                    continue
                _note_record(record, row, width, reader.line_num > line, form, survey, findings)
                line = reader.line_num
        except csv.Error as error:
            findings.refuse(_rule_of(error), table=form.name, row=row + 1)
    survey.records = row - 1
    return survey


def _note_record(record: Sequence[str], row: int, width: int, is_broken: bool, form: TableForm, survey: Survey, findings: Findings) -> None:
    if is_broken and not form.free_text:
        survey.is_whole = False
        findings.add("F-023", table=form.name, row=row)
    elif not record:
        survey.blank.append(row)
    elif len(record) != width:
        survey.is_whole = False
        is_amount = len(record) > width and any(_THOUSANDS.fullmatch(cell) and _REST.match(after) for cell, after in pairwise(record))
        findings.add("F-029" if is_amount else "F-024", table=form.name, row=row, cells=len(record), headings=width)


def _write_rows(source: Source, survey: Survey, layout: Layout, writer: TableWriter) -> int:
    """Write every record that pyarrow sees; return how many that were."""
    wanted = {position: f"c{position}" for position in (*layout.positions.values(), *layout.spare)}
    rows, seen = _row_numbers(survey), 0
    if not survey.records:
        return 0
    with source.opener() as file:
        batches = pyarrow.csv.open_csv(
            file,
            read_options=pyarrow.csv.ReadOptions(
                use_threads=False,
                block_size=BLOCK_BYTES,
                column_names=[f"c{position}" for position in range(len(survey.headings))],
                skip_rows_after_names=1,
            ),
            parse_options=pyarrow.csv.ParseOptions(delimiter=source.separator, newlines_in_values=True, ignore_empty_lines=True),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(wanted.values(), pa.string()), include_columns=list(wanted.values()), strings_can_be_null=False
            ),
        )
        for batch in batches:
            if seen + batch.num_rows <= len(rows):
                writer.write(rows.slice(seen, batch.num_rows), {position: batch.column(name) for position, name in wanted.items()})
            seen += batch.num_rows
    return seen


def _row_numbers(survey: Survey) -> pa.Int64Array:
    """Return the number of every record that is not a blank line, the heading being row 1."""
    every = pa.arange(2, survey.records + 2)
    if not survey.blank:
        return every
    return every.filter(pa.compute.invert(pa.compute.is_in(every, pa.array(survey.blank, pa.int64()))))
