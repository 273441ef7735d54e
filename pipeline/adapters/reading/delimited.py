"""Reads CSV: UTF-8, commas, RFC 4180. The cells come from pyarrow; Python's own reader goes over the same bytes first and judges them.

Two readers must see the same rows, and a line break inside a cell is refused wherever no free text is expected: so a quote that was opened and
never closed can hide nothing.
"""

from __future__ import annotations

import codecs
import csv
import io
import zipfile
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.csv

from pipeline.adapters.reading.canonical import (
    Findings,
    Layout,
    RefusedError,
    TableForm,
    TableWriter,
    WrittenTable,
    heading_names,
    key,
    match_headings,
)
from pipeline.adapters.reading.containers import Caps

Opener = Callable[[], IO[bytes]]

BLOCK_BYTES = 8 * 1024 * 1024
LONGEST_CELL = 32_767
"""What a cell of a spreadsheet holds at most."""

IGNORED_MEMBERS = ("__macosx/", ".ds_store", "thumbs.db")
"""What file managers add to an archive of their own accord."""

SEPARATORS = ";\t|"


@dataclass
class Survey:
    """What the second reader saw of one file: its headings and how many records follow, blank ones apart."""

    headings: Sequence[str]
    records: int = 0
    blank: array[int] = field(default_factory=lambda: array("q"))


def read_csv(delivery: Path, forms: Mapping[str, TableForm], folder: Path, caps: Caps, findings: Findings) -> list[WrittenTable]:
    """Read a delivery that is one table; its headings say which."""

    def opener() -> IO[bytes]:
        return delivery.open("rb")

    _check_text(opener, "", findings)
    headings = _headings(opener, "", findings)
    form = _form_of(headings, forms)
    if form is None:
        findings.refuse("F-026" if _has_other_separator(headings) else "F-030", row=1)
    table = _read_table(opener, form, f"{form.name}.csv", folder, caps, findings)
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
        if form is None:
            if not is_ours(stem):
                findings.add("F-036", position=position)
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


def _read_member(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, form: TableForm, folder: Path, caps: Caps, findings: Findings
) -> WrittenTable | None:
    def opener() -> IO[bytes]:
        return archive.open(entry)

    _check_text(opener, form.name, findings)
    return _read_table(opener, form, f"{form.name}.csv", folder, caps, findings)


def _check_text(opener: Opener, table: str, findings: Findings) -> None:
    """Refuse bytes that are not UTF-8 text with something in it."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")("strict")
    lines, is_blank = 1, True
    with opener() as file:
        while True:
            block = file.read(BLOCK_BYTES)
            if b"\0" in block or (lines == 1 and is_blank and block.startswith((b"\xff\xfe", b"\xfe\xff"))):
                findings.refuse("F-021", table=table)
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                findings.refuse("F-020", table=table, row=lines + error.object[: error.start].count(b"\n"))
            is_blank = is_blank and not text.strip()
            lines += block.count(b"\n")
            if not block:
                break
    if is_blank:
        findings.refuse("F-001", table=table)


def _headings(opener: Opener, table: str, findings: Findings) -> Sequence[str]:
    with _text(opener) as text:
        try:
            csv.field_size_limit(LONGEST_CELL)
            return next(csv.reader(text, strict=True), [])
        except csv.Error as error:
            findings.refuse(_rule_of(error), table=table, row=1)


def _text(opener: Opener) -> io.TextIOWrapper:
    return io.TextIOWrapper(opener(), encoding="utf-8-sig", newline="")


def _rule_of(error: csv.Error) -> str:
    return "F-025" if "field limit" in str(error) else "F-022"


def _form_of(headings: Sequence[str], forms: Mapping[str, TableForm]) -> TableForm | None:
    """Return the table that most headings belong to; none when no heading is known."""
    known = {name: sum(key(heading) in heading_names(form) for heading in headings) for name, form in forms.items()}
    best = max(known, key=lambda name: known[name])
    return forms[best] if known[best] else None


def _has_other_separator(headings: Sequence[str]) -> bool:
    return len(headings) == 1 and any(separator in headings[0] for separator in SEPARATORS)


def _read_table(opener: Opener, form: TableForm, place: str, folder: Path, caps: Caps, findings: Findings) -> WrittenTable | None:
    """Return the table, or None when findings say why it cannot be read."""
    before = len(findings.found)
    survey = _survey(opener, form, findings)
    if len(survey.headings) > caps.columns:
        findings.refuse("F-034", table=form.name, row=1, limit=caps.columns)
    if _has_other_separator(survey.headings):
        findings.refuse("F-026", table=form.name, row=1)
    layout = match_headings(form, survey.headings, findings)
    if layout is None or len(findings.found) > before:
        return None
    with TableWriter(folder, form, layout) as writer:
        if _write_rows(opener, survey, layout, writer) != survey.records - len(survey.blank):
            findings.refuse("F-027", table=form.name)
    return writer.written(place, findings)


def _survey(opener: Opener, form: TableForm, findings: Findings) -> Survey:
    """Go over all records with Python's strict reader. A loop over every row, on purpose: it is the independent witness (0.7 s a million rows)."""
    with _text(opener) as text:
        reader = csv.reader(text, strict=True)
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
    if is_broken and not form.has_free_text:
        findings.add("F-023", table=form.name, row=row)
    elif not record:
        survey.blank.append(row)
    elif len(record) != width:
        findings.add("F-024", table=form.name, row=row, cells=len(record), headings=width)


def _write_rows(opener: Opener, survey: Survey, layout: Layout, writer: TableWriter) -> int:
    """Write every record that pyarrow sees; return how many that were."""
    wanted = {position: f"c{position}" for position in (*layout.positions.values(), *layout.spare)}
    rows, seen = _row_numbers(survey), 0
    with opener() as file:
        batches = pyarrow.csv.open_csv(
            file,
            read_options=pyarrow.csv.ReadOptions(
                use_threads=False,
                block_size=BLOCK_BYTES,
                column_names=[f"c{position}" for position in range(len(survey.headings))],
                skip_rows_after_names=1,
            ),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=True),
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
