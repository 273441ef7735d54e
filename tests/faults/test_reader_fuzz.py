"""Whatever bytes come in, the readers give tables in which no row is lost, or findings: never an exception. Briefly always, at length in faults."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.adapters.reader import ContainedReader
from pipeline.adapters.reading import child
from pipeline.domain.findings import Severity
from pipeline.ports import ReadReturn
from tests.corpus.making import COVER, OUTCOMES, archive, book_bytes, good_tables, saved, zip_bytes
from tests.factories import DEFINITIONS

SHORT, LONG = 60, 1500
BLANKS = " \t\u00a0\u2003"
Rows = list[list[str]]

cells = st.one_of(
    st.just(""),
    st.sampled_from(
        ["1", "A-1", "2024-01-31", "verified", " x ", "\u00a0", "a,b", 'a"b', "a;b", "x\ny", "TOTAL", "=1", "\u00e9", "e\u0301", "\u200b", *OUTCOMES]
    ),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12),
)
rows = st.lists(st.lists(cells, min_size=8, max_size=8), max_size=12)
separators = st.sampled_from([",", ";", "\t", "|"])
line_ends = st.sampled_from(["\n", "\r\n", "\r"])
encodings = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"])


class InProcessReader(ContainedReader):
    """The same reader without the containment: thousands of processes would take hours."""

    def _run(self, folder: Path, *_: object) -> None:
        child.answer_request(folder, json.loads((folder / child.REQUEST).read_text("utf-8")))


def read(content: bytes) -> ReadReturn:
    with TemporaryDirectory() as folder:
        delivery = Path(folder) / "delivery"
        delivery.write_bytes(content)
        return InProcessReader(DEFINITIONS, memory_mb=1024, seconds=30).read(delivery)


def filled(given: Rows) -> int:
    """Count the rows in which something stands, as a person would: the oracle knows nothing of the readers."""
    return sum(
        any(cell.strip(BLANKS + "\u1680\u2000\u2001\u2002\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000\ufeff\n\v\f\r") for cell in row)
        for row in given
    )


def assert_rows_are_conserved(answer: ReadReturn, given: Rows | None) -> None:
    """Rows in = accepted + refused + blank: a return that is refused is refused whole, another holds every filled row."""
    if any(finding.severity is Severity.REFUSE for finding in answer.findings):
        assert answer.tables == {}
        return
    table = answer.tables["outcomes"]
    numbers = table.cells["row"].to_pylist()
    assert numbers == sorted(set(numbers))
    if numbers:
        assert table.cells.num_rows + table.blank_rows == numbers[-1] - 1
    if given is not None:
        assert table.cells.num_rows == filled(given)


def check_csv(given: Rows, separator: str, line_end: str, encoding: str) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=separator, lineterminator=line_end)
    writer.writerows([OUTCOMES, *given])
    content = text.getvalue().encode(encoding, "replace")
    as_read = list(csv.reader(io.StringIO(content.decode(encoding), newline=""), delimiter=separator))[1:]

    assert_rows_are_conserved(read(content), as_read)
    assert_rows_are_conserved(read(archive({"outcomes.csv": content})), as_read)


def check_workbook(given: Rows) -> None:
    book = openpyxl.Workbook()
    del book["Sheet"]
    for name, table in {"cover": [COVER, ["P1", "2024-Q1", "1", "no", ""]], "outcomes": [OUTCOMES, *given]}.items():
        sheet = book.create_sheet(name)
        for number, row in enumerate(table, start=1):
            for column, value in enumerate(row, start=1):
                if value and not openpyxl.cell.cell.ILLEGAL_CHARACTERS_RE.search(value):
                    cell: Any = sheet.cell(number, column)
                    cell.data_type, cell._value = "s", value
    kept = [
        [openpyxl.cell.cell.ILLEGAL_CHARACTERS_RE.sub("", cell) if not openpyxl.cell.cell.ILLEGAL_CHARACTERS_RE.search(cell) else "" for cell in row]
        for row in given
    ]

    assert_rows_are_conserved(read(saved(book)), kept)


def check_damage(kind: str, damage: list[tuple[int, int]], cut: int) -> None:
    """Damage a good file at some bytes, and cut it."""
    tables = good_tables()
    content = bytearray(zip_bytes(tables) if kind == "zip" else book_bytes(tables) if kind == "xlsx" else _stored(tables))
    for place, byte in damage:
        content[place % len(content)] = byte
    answer = read(bytes(content[: len(content) - cut % len(content)]))

    assert_rows_are_conserved_in_any(answer)


def _stored(tables: dict[str, Rows]) -> bytes:
    """Return an archive that is not compressed, so that damage reaches the rows (their check sums notice)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(zip_bytes(tables))) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return buffer.getvalue()


def assert_rows_are_conserved_in_any(answer: ReadReturn) -> None:
    if any(finding.severity is Severity.REFUSE for finding in answer.findings):
        assert answer.tables == {}
        return
    assert answer.tables
    for table in answer.tables.values():
        numbers = table.cells["row"].to_pylist()
        assert not numbers or table.cells.num_rows + table.blank_rows == numbers[-1] - 1


bounded = settings(max_examples=SHORT, deadline=None, suppress_health_check=list(HealthCheck))
unhurried = settings(max_examples=LONG, deadline=None, suppress_health_check=list(HealthCheck))
damages = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=4)


@bounded
@given(rows, separators, line_ends, encodings)
def test_no_row_of_a_csv_is_lost(given: Rows, separator: str, line_end: str, encoding: str) -> None:
    check_csv(given, separator, line_end, encoding)


@bounded
@given(rows)
def test_no_row_of_a_workbook_is_lost(given: Rows) -> None:
    check_workbook(given)


@bounded
@given(st.sampled_from(["zip", "xlsx", "stored"]), damages, st.integers(0, 200))
def test_a_damaged_file_is_read_whole_or_refused(kind: str, damage: list[tuple[int, int]], cut: int) -> None:
    check_damage(kind, damage, cut)


@bounded
@given(st.binary(max_size=2000))
def test_bytes_of_any_kind_are_a_finding(content: bytes) -> None:
    answer = read(content)

    assert answer.findings
    assert_rows_are_conserved_in_any(answer)


@pytest.mark.faults
@unhurried
@given(rows, separators, line_ends, encodings)
def test_no_row_of_a_csv_is_lost_in_a_long_run(given: Rows, separator: str, line_end: str, encoding: str) -> None:
    check_csv(given, separator, line_end, encoding)


@pytest.mark.faults
@unhurried
@given(rows)
def test_no_row_of_a_workbook_is_lost_in_a_long_run(given: Rows) -> None:
    check_workbook(given)


@pytest.mark.faults
@unhurried
@given(st.sampled_from(["zip", "xlsx", "stored"]), damages, st.integers(0, 200))
def test_a_damaged_file_is_read_whole_or_refused_in_a_long_run(kind: str, damage: list[tuple[int, int]], cut: int) -> None:
    check_damage(kind, damage, cut)


@pytest.mark.faults
@unhurried
@given(st.binary(max_size=4000))
def test_bytes_of_any_kind_are_a_finding_in_a_long_run(content: bytes) -> None:
    answer = read(content)

    assert answer.findings
    assert_rows_are_conserved_in_any(answer)
