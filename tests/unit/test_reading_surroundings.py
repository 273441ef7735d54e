"""What stands in a workbook beside its tables is looked through and not kept; what the template itself brings is left alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path, PurePath

import openpyxl
import pytest
from openpyxl.comments import Comment
from openpyxl.styles import Font, PatternFill
from openpyxl.styles.colors import Color

from pipeline.adapters.reader import ContainedReader
from pipeline.adapters.reading import child
from pipeline.application import register, submissions
from pipeline.domain.findings import Finding
from pipeline.ports import ReadReturn
from pipeline.stages import validation
from tests.corpus.delivered import SHEET
from tests.corpus.making import CANARY, book_bytes, csv_bytes, good_tables, with_parts, zip_bytes
from tests.factories import DEFINITIONS, KEY, World

NUMBER = "QQ471234C"
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
Book = openpyxl.Workbook
Read = Callable[[bytes], ReadReturn]


class InProcessReader(ContainedReader):
    """The same reader without the containment."""

    def _run(self, folder: Path, *_: object) -> None:
        child.answer_request(folder, json.loads((folder / child.REQUEST).read_text("utf-8")))


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read_bytes(content: bytes) -> ReadReturn:
        delivery = tmp_path / "delivery"
        delivery.write_bytes(content)
        return InProcessReader(DEFINITIONS, memory_mb=1024, seconds=20).read(delivery)

    return read_bytes


def said(findings: object) -> list[tuple[str, str]]:
    """Return rule and place in words of each finding on personal data."""
    return [(finding.rule, dict(finding.values).get("where", "")) for finding in findings if isinstance(finding, Finding)]  # type: ignore[attr-defined]


def test_a_hidden_sheet_is_looked_through_wherever_its_texts_stand(read: Read) -> None:
    def hide(book: Book) -> None:
        book.create_sheet("people").append(["x", "y"])
        book["people"].sheet_state = "hidden"

    content = book_bytes(change=hide)
    strings = f'<sst xmlns="{MAIN}"><si><t>fine</t></si><si><r><t>QQ47</t></r><r><t>1234C</t></r></si></sst>'.encode()
    relation = (
        b'<Relationship Id="rS" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/sharedStrings" Target="sharedStrings.xml"/>'
    )
    sheet = f'<worksheet xmlns="{MAIN}"><sheetData><row><c t="s"><v>1</v></c><c><v>7</v></c><c/></row></sheetData></worksheet>'.encode()
    shared = with_parts(
        content,
        {
            "xl/sharedStrings.xml": strings,
            "xl/_rels/workbook.xml.rels": lambda part: part.replace(b"</Relationships>", relation + b"</Relationships>"),
            "xl/worksheets/sheet5.xml": sheet,
        },
    )

    assert said(read(content).findings) == [("F-036", ""), ("F-038", "")]
    assert said(read(shared).findings) == [("H-020", "Sheet 5"), ("F-036", ""), ("F-038", "")]
    assert NUMBER not in repr(read(shared).findings)


def test_numbers_of_a_foreign_sheet_are_looked_through_too(read: Read) -> None:
    answer = read(book_bytes(change=lambda book: book.create_sheet("more").append([9434765919])))

    assert said(answer.findings) == [("H-020", "Sheet 5"), ("F-036", "")]


def test_comments_are_looked_through_one_by_one(read: Read) -> None:
    def comment(*texts: str) -> bytes:
        def change(book: Book) -> None:
            for row, text in enumerate(texts, start=2):
                book["outcomes"].cell(row, 1).comment = Comment(text, "Jane Smith")

        return book_bytes(change=change)

    assert said(read(comment("seen", "QQ47", "1234C")).findings) == [("F-044", "")]
    assert said(read(comment("seen", f"is {NUMBER}")).findings) == [("H-020", "A comment"), ("F-044", "")]
    threaded = with_parts(
        book_bytes(), {"xl/threadedComments/threadedComment1.xml": f"<ThreadedComments><text>{NUMBER}</text></ThreadedComments>".encode()}
    )
    assert said(read(threaded).findings) == [("H-020", "A comment"), ("F-044", "")]


def test_what_the_template_brings_is_left_alone(read: Read) -> None:
    def template(book: Book) -> None:
        lists = book.create_sheet("lists")
        lists.append(["Mr Nobody"])
        lists.sheet_state = "hidden"
        book.create_sheet("Guidance").append(["Write to help@example.org"])
        for cell in book["outcomes"][1]:
            cell.font, cell.fill = Font(color="FFFFFFFF"), PatternFill("solid", fgColor="FF003366")
        book["outcomes"].auto_filter.ref = "A1:H3"
        for column in ("J", "K"):
            book["outcomes"].column_dimensions[column].hidden = True
        book["outcomes"].row_dimensions[50].hidden = True

    assert read(book_bytes(change=template)).findings == []


def test_hidden_rows_and_columns_are_counted_where_something_stands(read: Read) -> None:
    def hide(book: Book) -> None:
        sheet = book["outcomes"]
        sheet.row_dimensions[2].hidden = sheet.row_dimensions[9].hidden = True
        sheet.column_dimensions["G"].hidden = sheet.column_dimensions["H"].hidden = True
        sheet["B2"].font = Font(color=Color(theme=0))

    answer = read(book_bytes(change=hide))

    assert [(finding.rule, {name: value for name, value in finding.values if name != "count"}) for finding in answer.findings] == [
        ("F-075", {"rows": "1", "columns": "2"}),
        ("F-077", {"cells": "1"}),
    ]
    assert answer.tables["outcomes"].cells.num_rows == 2


def test_every_formula_with_a_result_is_a_query_where_it_stands(read: Read) -> None:
    cell = b'<c r="E2" t="inlineStr"><is><t>1</t></is></c>'
    spoilt = with_parts(book_bytes(), {SHEET: lambda part: part.replace(cell, b'<c r="E2"><f>SUM(1,0)</f><v>1</v></c>')})

    answer = read(spoilt)

    assert [(finding.rule, finding.row, finding.column) for finding in answer.findings] == [("F-074", 2, "E")]
    assert answer.tables["outcomes"].cells["quantity"].to_pylist() == ["1", "1"]


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd", "CON", "-rf", f"{CANARY}\u202efdp.exe", "\U0001f600.xlsx", "a" * 300 + ".csv", f"{CANARY}; rm -rf",
        f"{CANARY}\r\nADMIN ok",
        f"<script>{CANARY}</script>.csv", "C:\\temp\\x.csv", "nul\0name", "", ".", "..",
    ],
)  # fmt: skip
def test_a_file_name_is_neither_followed_nor_repeated(name: str, tmp_path: Path) -> None:
    world = World()
    register.load_register(world.services("steward"), Path())
    delivery = tmp_path / "upload"
    delivery.write_bytes(zip_bytes(good_tables(), {"outcomes.csv": csv_bytes(good_tables()["outcomes"])}))
    services = world.services("team", reader=InProcessReader(DEFINITIONS, memory_mb=1024, seconds=20))

    received, judged = submissions.submit(services, delivery, KEY, PurePath(name))
    unknown = submissions.receive(services, delivery, None, PurePath(name))

    assert (received.key.submission, judged.report.passed) == (KEY, True)
    assert unknown.key.submission.project_id == "unidentified"
    log = b"".join(world.log.documents).decode()
    for text in {name, CANARY, "passwd", "script"} - {"", ".", "..", "CON"}:
        assert text not in log
        assert text not in "\n".join(validation.describe(judged.report))
    assert all(PurePath(stored).parts[0] in ("sha256", "datasets") for stored in world.restricted.objects)
