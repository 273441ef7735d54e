"""What a delivery is read as, and what is refused. Most tests read in this process; those on containment start the real child."""

from __future__ import annotations

import errno
import io
import json
import os
import resource
import stat
import sys
import time as clock
import zipfile
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from datetime import time as hour
from itertools import pairwise
from pathlib import Path
from typing import Any

import openpyxl
import psutil  # type: ignore[import-untyped]
import pyarrow as pa
import pytest
from openpyxl.comments import Comment
from openpyxl.utils.datetime import CALENDAR_MAC_1904

from pipeline.adapters.definitions import find_definitions, load_definitions
from pipeline.adapters.reader import ContainedReader
from pipeline.adapters.reading import child, delimited, workbooks
from pipeline.adapters.reading.canonical import MOST_PLACES, letter
from pipeline.adapters.reading.containers import Caps
from pipeline.domain.findings import Severity
from pipeline.domain.tables import Definitions
from pipeline.errors import ConfigurationError
from pipeline.ports import ReadReturn

CANARY = "Zebedee-Canary"
COVER: list[list[Any]] = [["project_id", "quarter", "template_version", "is_nil_return", "comment"], ["P1", "2024-Q1", "1", "no", None]]
OUTCOMES = ["outcome_ref", "participant_ref", "metric_id", "achieved_on", "quantity", "status", "verified_on", "evidence_type"]
OUTCOME = ["O1", "A1", "M1", "2024-01-31", "1", "verified", "2024-02-01", "payslip"]
PAYMENTS_HEADING = "payment_ref,payer_id,basis,period_start,period_end,amount_gbp"
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"

Read = Callable[..., ReadReturn]


class InProcessReader(ContainedReader):
    """The same reader without the containment, so that the child's code runs where tests and coverage can see it."""

    def _run(self, folder: Path, *_: object) -> None:
        child.answer_request(folder, json.loads((folder / child.REQUEST).read_text("utf-8")))


@pytest.fixture(scope="module")
def definitions() -> Definitions:
    return load_definitions(find_definitions())


@pytest.fixture
def read(definitions: Definitions, tmp_path: Path) -> Read:
    def read_bytes(content: bytes, **caps: int) -> ReadReturn:
        delivery = tmp_path / "delivery"
        delivery.write_bytes(content)
        return InProcessReader(definitions, memory_mb=1024, seconds=20, caps=Caps(**caps)).read(delivery)

    return read_bytes


@pytest.fixture
def read_contained(definitions: Definitions, tmp_path: Path) -> Read:
    def read_bytes(content: bytes, memory_mb: int = 1024, seconds: int = 20) -> ReadReturn:
        delivery = tmp_path / "delivery"
        delivery.write_bytes(content)
        return ContainedReader(definitions, memory_mb=memory_mb, seconds=seconds).read(delivery)

    return read_bytes


def csv_of(*rows: Sequence[str]) -> bytes:
    return "".join(",".join(row) + "\r\n" for row in rows).encode()


def workbook(sheets: Mapping[str, Sequence[Sequence[Any]]], change: Callable[[openpyxl.Workbook], None] = lambda _: None) -> bytes:
    book = openpyxl.Workbook()
    del book["Sheet"]
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(list(row))
    change(book)
    return saved(book)


def saved(book: openpyxl.Workbook) -> bytes:
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def archive(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return buffer.getvalue()


def with_part(content: bytes, part: str, change: Callable[[bytes], bytes]) -> bytes:
    """Return a workbook with one part rewritten."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, change(old.read(name)) if name == part else old.read(name))
    return buffer.getvalue()


def rules(answer: ReadReturn) -> list[str]:
    return [finding.rule for finding in answer.findings]


def places(answer: ReadReturn) -> list[tuple[str, str, int, str]]:
    return [(finding.rule, finding.table, finding.row, finding.column) for finding in answer.findings]


def column(answer: ReadReturn, table: str, name: str) -> list[str | None]:
    cells: list[str | None] = answer.tables[table].cells[name].to_pylist()
    return cells


def test_a_workbook_becomes_canonical_tables_with_the_rows_that_people_see(read: Read) -> None:
    answer = read(workbook({"cover": COVER, "outcomes": [OUTCOMES, OUTCOME, [None] * 8, ["O2", *OUTCOME[1:]]]}))

    assert rules(answer) == ["F-059"]
    outcomes = answer.tables["outcomes"]
    assert outcomes.cells.schema == pa.schema([("row", pa.int64()), *((name, pa.string()) for name in OUTCOMES)])
    assert outcomes.cells["row"].to_pylist() == [2, 4]
    assert (outcomes.blank_rows, outcomes.place) == (1, "outcomes")
    assert list(answer.tables) == ["cover", "participants", "outcomes", "payments"]
    assert answer.tables["participants"].cells.num_rows == 0
    assert answer.tables["participants"].cells.column_names[:2] == ["row", "participant_ref"]


def test_typed_cells_of_a_workbook_become_the_shortest_text(read: Read) -> None:
    amounts = [
        10.0,
        12.5,
        0.1 + 0.2,
        200084.4148982412,
        -3,
        1e16,
        1e-07,
        True,
        date(2024, 1, 31),
        datetime(2024, 1, 31, 12, 30),
        hour(9, 30),
        timedelta(3),
    ]
    rows = [[f"Y{at}", "F1", "outcome", date(2024, 1, 1), datetime(2024, 3, 31), amount] for at, amount in enumerate(amounts)]

    answer = read(workbook({"cover": COVER, "payments": [PAYMENTS_HEADING.split(","), *rows]}))

    assert column(answer, "payments", "amount_gbp") == [
        "10", "12.5", "0.3", "200084.4148982412", "-3", "1e+16", "1e-07", "TRUE", "2024-01-31", "2024-01-31T12:30:00",
        "09:30:00", "3 days, 0:00:00",
    ]  # fmt: skip
    assert set(column(answer, "payments", "period_end")) == {"2024-03-31"}


def test_a_workbook_that_counts_its_days_from_1904_gives_the_days_that_people_see(read: Read) -> None:
    def count_from_1904(book: openpyxl.Workbook) -> None:
        book.epoch = CALENDAR_MAC_1904

    answer = read(workbook({"cover": COVER, "outcomes": [OUTCOMES, [*OUTCOME[:3], date(2024, 1, 31), *OUTCOME[4:]]]}, count_from_1904))

    assert column(answer, "outcomes", "achieved_on") == ["2024-01-31"]


def test_one_csv_is_the_table_that_its_headings_belong_to_and_has_no_cover(read: Read) -> None:
    answer = read(csv_of(OUTCOMES, OUTCOME))

    assert answer.findings == []
    assert column(answer, "outcomes", "outcome_ref") == ["O1"]
    assert answer.tables["outcomes"].place == "outcomes.csv"
    assert "cover" not in answer.tables


def test_an_archive_of_csv_files_is_read_by_member_name(read: Read) -> None:
    answer = read(
        archive(
            {
                "return/Cover.csv": csv_of(["project_id", "quarter", "template_version", "is_nil_return"], ["P1", "2024-Q1", "1", "no"]),
                "return/outcomes.CSV": csv_of(OUTCOMES, OUTCOME),
                "__MACOSX/return/._outcomes.csv": b"\0",
                "lists_metrics.csv": b"anything",
            }
        )
    )

    assert answer.findings == []
    assert column(answer, "cover", "project_id") == ["P1"]
    assert column(answer, "outcomes", "metric_id") == ["M1"]


def test_headings_are_found_by_name_or_title_in_any_order_case_and_spacing(read: Read) -> None:
    headings = ["Evidence", " STATUS:", "Outcome ref", "outcome\u00a0metric", "Achieved On", "QUANTITY"]

    answer = read(csv_of(headings, ["payslip", "claimed", "O1", "M1", "2024-01-31", "1"]))

    assert [(finding.rule, finding.column) for finding in answer.findings] == [
        ("F-057", "achieved_on"), ("F-057", "metric_id"), ("F-057", "outcome_ref"), ("F-057", "quantity"), ("F-057", "status"), ("F-058", ""),
    ]  # fmt: skip
    assert [column(answer, "outcomes", name) for name in ("outcome_ref", "metric_id", "evidence_type")] == [["O1"], ["M1"], ["payslip"]]
    assert answer.tables["outcomes"].cells.column_names == [
        "row", "evidence_type", "status", "outcome_ref", "metric_id", "achieved_on", "quantity",
    ]  # fmt: skip


def test_cells_are_trimmed_and_composed_and_empty_text_is_null(read: Read) -> None:
    row = ["\u00a0O1 ", "Zoe\u0301", "M1", "2024-01-31", "1", "verified", " ", "payslip\t"]

    answer = read(csv_of(OUTCOMES, row, OUTCOME))

    assert column(answer, "outcomes", "outcome_ref")[0] == "O1"
    assert column(answer, "outcomes", "participant_ref")[0] == "Zo\u00e9"
    assert column(answer, "outcomes", "verified_on")[0] is None
    assert column(answer, "outcomes", "evidence_type")[0] == "payslip"


def test_blank_rows_of_a_csv_are_counted_and_do_not_move_the_row_numbers(read: Read) -> None:
    answer = read(csv_of(OUTCOMES) + b"\r\n" + csv_of(OUTCOME) + b",,,,,,,\r\n\r\n" + csv_of(["O2", *OUTCOME[1:]]) + b",,,,,,,\r\n\r\n")

    assert answer.tables["outcomes"].cells["row"].to_pylist() == [3, 6]
    assert answer.tables["outcomes"].blank_rows == 3


@pytest.mark.parametrize("line_end", ["\n", "\r", "\r\n"])
def test_every_kind_of_line_end_is_read(read: Read, line_end: str) -> None:
    answer = read(csv_of(OUTCOMES, OUTCOME, ["O2", *OUTCOME[1:]]).decode().replace("\r\n", line_end).encode())

    assert answer.tables["outcomes"].cells["row"].to_pylist() == [2, 3]


def test_a_comment_may_go_over_several_lines(read: Read) -> None:
    answer = read(archive({"cover.csv": b'project_id,quarter,template_version,is_nil_return,comment\nP1,2024-Q1,1,no,"one\ntwo"\n'}))

    assert answer.findings == []
    assert column(answer, "cover", "comment") == ["one\ntwo"]


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"", "F-001"),
        (b"\xef\xbb\xbf \r\n\t", "F-001"),
        (b"%PDF-1.7", "F-002"),
        (b'  {"resources": []}', "F-002"),
        (b"<html>", "F-002"),
        (b"\x1f\x8b\x08", "F-002"),
        (b"PAR1", "F-002"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "F-002"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"), "F-004"),
        (archive({"word/document.xml": b""}), "F-002"),
        (archive({"content.xml": b""}), "F-002"),
        (archive({"xl/workbook.bin": b""}), "F-002"),
        (archive({"picture.png": b""}), "F-002"),
        (archive({}), "F-002"),
        (archive({"[Content_Types].xml": b"", "xl/workbook.xml": b"", "xl/vbaProject.bin": b""}), "F-003"),
        ("outcome_ref".encode("utf-32"), "F-021"),
        ("outcome_ref".encode("utf-16-le"), "F-021"),
        (b"PK\x03\x04 and nothing more", "F-015"),
        (archive({"cover.csv": b""}), "F-001"),
        (archive({"other.csv": b"a"}), "F-039"),
    ],
)
def test_what_is_no_return_is_refused_with_its_rule(read: Read, content: bytes, rule: str) -> None:
    answer = read(content)

    assert rule in rules(answer)
    assert answer.tables == {}


def test_every_rule_on_files_says_what_to_do(definitions: Definitions) -> None:
    ours = [rule for rule in definitions.rules.values() if rule.id.startswith("F-")]

    assert ours
    assert all(rule.stage == "file" and rule.title and rule.message.endswith(".") and rule.fix.endswith(".") for rule in ours)


@pytest.mark.parametrize(
    ("content", "caps", "rule"),
    [
        (b"x" * 2_000_000, {"file_mb": 1}, "F-010"),
        (archive({f"{at}.csv": b"" for at in range(4)}), {"members": 3}, "F-011"),
        (archive({"outcomes.csv": b" " * 2_000_000}), {"unpacked_mb": 1}, "F-012"),
        (archive({"outcomes.csv": b" " * 20_000_000}), {}, "F-018"),
        (archive({"../outcomes.csv": b"x"}), {}, "F-013"),
        (archive({"/outcomes.csv": b"x"}), {}, "F-013"),
        (archive({"c:\\outcomes.csv": b"x"}), {}, "F-013"),
        (archive({"outcomes.csv": b"x", "OUTCOMES.csv": b"x"}), {}, "F-013"),
    ],
)
def test_an_archive_is_refused_before_it_is_unpacked(read: Read, content: bytes, caps: dict[str, int], rule: str) -> None:
    answer = read(content, **caps)

    assert rules(answer) == [rule]
    assert answer.tables == {}


def test_symbolic_links_and_locked_entries_of_an_archive_are_refused(read: Read) -> None:
    link = zipfile.ZipInfo("outcomes.csv")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        packed.writestr(link, "/etc/passwd")
    locked = bytearray(archive({"outcomes.csv": b"x"}))
    locked[6] |= 1
    locked[locked.index(b"PK\x01\x02") + 8] |= 1

    assert rules(read(buffer.getvalue())) == ["F-013"]
    assert rules(read(bytes(locked))) == ["F-005"]


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (csv_of(OUTCOMES, OUTCOME) + b"O2,\xa3\xc2\xa3,M1,2024-01-31,1,claimed,,payslip\r\n", ("F-020", "", 3, "")),
        (csv_of(OUTCOMES, OUTCOME) + b"O2,\0,M1,2024-01-31,1,claimed,,payslip\r\n", ("F-021", "", 3, "")),
        (
            csv_of(OUTCOMES, OUTCOME) + b'"O2,A,M1,2024-01-31,1,claimed,,payslip\r\nO3,A,M1,2024-01-31,1,claimed,,payslip',
            ("F-022", "outcomes", 3, ""),
        ),
        (csv_of(OUTCOMES, OUTCOME) + b'"O2"x,A,M1,2024-01-31,1,claimed,,payslip\r\n', ("F-022", "outcomes", 3, "")),
        (csv_of(OUTCOMES) + b'"O2,A\r\nO3",A,M1,2024-01-31,1,claimed,,payslip\r\n', ("F-023", "outcomes", 2, "")),
        (csv_of(OUTCOMES, OUTCOME, OUTCOME[:-1]), ("F-024", "outcomes", 3, "")),
        (csv_of(OUTCOMES, [*OUTCOME, ""]), ("F-024", "outcomes", 2, "")),
        (csv_of(OUTCOMES, ["x" * 40_000, *OUTCOME[1:]]), ("F-025", "outcomes", 2, "")),
        (csv_of(["x" * 40_000]), ("F-025", "", 1, "")),
        (b"one;two;three", ("F-026", "", 1, "")),
        (archive({"outcomes.csv": b"one\ttwo"}), ("F-026", "outcomes", 1, "")),
        (b"Return of the project\r\n" + csv_of(OUTCOMES), ("F-047", "outcomes", 2, "")),
        (b"Return of the project\r\n", ("F-030", "", 1, "")),
        (csv_of([*OUTCOMES, CANARY], [*OUTCOME, CANARY]), ("F-031", "outcomes", 1, "I")),
        (csv_of([*OUTCOMES, ""], [*OUTCOME, CANARY]), ("F-031", "outcomes", 1, "I")),
        (csv_of(OUTCOMES[:-1], OUTCOME[:-1]), ("F-032", "outcomes", 1, "evidence_type")),
        (csv_of([*OUTCOMES, "Outcome Ref"], [*OUTCOME, "O1"]), ("F-033", "outcomes", 1, "outcome_ref")),
        (csv_of(OUTCOMES + [""] * 300), ("F-034", "outcomes", 1, "")),
    ],
)
def test_a_broken_csv_is_refused_at_its_place(read: Read, content: bytes, place: tuple[str, str, int, str]) -> None:
    answer = read(content)

    assert places(answer) == [place]
    assert answer.tables == {}


def test_no_finding_repeats_what_the_file_says(read: Read) -> None:
    answer = read(archive({f"{CANARY}.csv": b"x", "outcomes.csv": csv_of([*OUTCOMES, CANARY], [CANARY] * 3), "payments.csv": CANARY.encode()}))

    assert {"F-024", "F-030", "F-031", "F-036"} <= set(rules(answer))
    assert CANARY not in repr(answer)


def test_many_places_of_one_rule_are_counted_and_the_first_are_named(read: Read) -> None:
    answer = read(csv_of(OUTCOMES, *([["x"]] * (MOST_PLACES + 5))))

    assert len(answer.findings) == MOST_PLACES
    assert dict(answer.findings[0].values) == {"cells": "1", "headings": "8", "count": str(MOST_PLACES + 5)}


def test_two_files_for_one_table_and_files_of_no_table_are_findings(read: Read) -> None:
    answer = read(archive({"a/outcomes.csv": csv_of(OUTCOMES), "b/outcomes.csv": csv_of(OUTCOMES), "people.txt": b"x"}))

    assert rules(answer) == ["F-037", "F-036"]


def test_an_unknown_sheet_blocks_the_return_but_what_can_be_read_is_read(read: Read) -> None:
    answer = read(workbook({"cover": COVER, "Guidance": [["text"]], "lists_codes": [["x"]], "people": [["x"]], "outcomes": [OUTCOMES, OUTCOME]}))

    assert places(answer) == [("F-036", "", 0, "")]
    assert answer.findings[0].severity is Severity.ERROR
    assert column(answer, "outcomes", "outcome_ref") == ["O1"]


def test_a_hidden_sheet_is_a_query_unless_it_is_part_of_the_template(read: Read) -> None:
    def hide(book: openpyxl.Workbook) -> None:
        book["lists"].sheet_state = "hidden"
        book["outcomes"].sheet_state = "veryHidden"

    answer = read(workbook({"cover": COVER, "lists": [["x"]], "outcomes": [OUTCOMES, OUTCOME]}, hide))

    assert places(answer) == [("F-038", "outcomes", 0, "")]
    assert answer.findings[0].severity is Severity.QUERY
    assert column(answer, "outcomes", "outcome_ref") == ["O1"]


def test_sheets_that_are_missing_or_twice_there_are_findings(read: Read) -> None:
    assert rules(read(workbook({"outcomes": [OUTCOMES]}))) == ["F-040"]
    assert rules(read(workbook({"cover": [], "outcomes": [OUTCOMES]}))) == ["F-040"]
    assert rules(read(workbook({"people": [["x"]]}))) == ["F-039", "F-036"]
    assert rules(read(workbook({"cover": COVER, "outcomes": [OUTCOMES], "Outcomes ": [OUTCOMES]}))) == ["F-037"]


def test_headings_of_a_sheet_are_checked_and_every_sheet_is_looked_at(read: Read) -> None:
    answer = read(workbook({"cover": COVER, "outcomes": [[*OUTCOMES, CANARY], [*OUTCOME, 1]], "payments": [PAYMENTS_HEADING.split(",")[1:]]}))

    assert places(answer) == [("F-031", "outcomes", 1, "I"), ("F-032", "payments", 1, "payment_ref")]


def test_error_cells_uncalculated_formulas_and_merged_cells_are_refused_where_they_stand(read: Read) -> None:
    def spoil(book: openpyxl.Workbook) -> None:
        sheet = book["outcomes"]
        sheet["B2"].data_type, sheet["B2"].value = "e", "#N/A"
        sheet["E3"] = "=1+1"
        book["cover"].merge_cells("D2:E2")

    answer = read(workbook({"cover": COVER, "outcomes": [OUTCOMES, OUTCOME, OUTCOME]}, spoil))

    assert places(answer) == [("F-041", "outcomes", 2, "B"), ("F-042", "outcomes", 3, "E"), ("F-043", "cover", 0, "")]


def test_comments_in_a_workbook_are_a_query(read: Read) -> None:
    def comment(book: openpyxl.Workbook) -> None:
        book["outcomes"]["A2"].comment = Comment(CANARY, CANARY)

    answer = read(workbook({"cover": COVER, "outcomes": [OUTCOMES, OUTCOME]}, comment))

    assert rules(answer) == ["F-044"]
    assert answer.tables["outcomes"].cells.num_rows == 1


def test_a_table_must_begin_in_the_first_cell_and_have_no_gaps_or_places_would_be_wrong(read: Read) -> None:
    shifted = read(workbook({"cover": COVER, "outcomes": [["", *OUTCOMES], ["", *OUTCOME]]}))
    gap = read(csv_of([*OUTCOMES[:2], "", *OUTCOMES[2:], ""], [*OUTCOME[:2], "", *OUTCOME[2:], ""]))
    below = read(workbook({"cover": COVER, "outcomes": [[], OUTCOMES, OUTCOME]}))

    assert places(shifted) == [("F-035", "outcomes", 1, "A")]
    assert places(gap) == [("F-035", "outcomes", 1, "C")]
    assert places(below) == [("F-047", "outcomes", 2, "")]


def shared_string_workbook(rows: str, strings: Sequence[str]) -> bytes:
    """Return a workbook as spreadsheet programs write it, texts in a part of their own; `rows` is the XML of the outcomes sheet."""
    documents = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    packages = "http://schemas.openxmlformats.org/package/2006"
    names = "".join(f'<c t="s"><v>{at}</v></c>' for at in range(len(OUTCOMES)))
    cover = "".join("<row>" + "".join(f'<c t="inlineStr"><is><t>{cell}</t></is></c>' for cell in row[:4]) + "</row>" for row in COVER)
    sheet = f'<worksheet xmlns="{MAIN}"><sheetData>{{}}</sheetData></worksheet>'
    return archive(
        {
            "[Content_Types].xml": (
                f'<Types xmlns="{packages}/content-types"><Default Extension="xml" ContentType="application/xml"/>'
                '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/></Types>'
            ).encode(),
            "_rels/.rels": (
                f'<Relationships xmlns="{packages}/relationships"><Relationship Id="r1" Type="{documents}/officeDocument" Target="xl/workbook.xml"/>'
                "</Relationships>"
            ).encode(),
            "xl/workbook.xml": (
                f'<workbook xmlns="{MAIN}" xmlns:r="{documents}"><sheets><sheet name="cover" sheetId="1" r:id="r1"/>'
                '<sheet name="outcomes" sheetId="2" r:id="r2"/></sheets></workbook>'
            ).encode(),
            "xl/_rels/workbook.xml.rels": (
                f'<Relationships xmlns="{packages}/relationships"><Relationship Id="r1" Type="{documents}/worksheet" Target="worksheets/sheet1.xml"/>'
                f'<Relationship Id="r2" Type="{documents}/worksheet" Target="/xl/worksheets/sheet2.xml"/>'
                f'<Relationship Id="r3" Type="{documents}/sharedStrings" Target="sharedStrings.xml"/></Relationships>'
            ).encode(),
            "xl/sharedStrings.xml": (
                f'<sst xmlns="{MAIN}">' + "".join(f"<si><t>{text}</t></si>" for text in (*OUTCOMES, *strings)) + "</sst>"
            ).encode(),
            "xl/worksheets/sheet1.xml": sheet.format(cover).encode(),
            "xl/worksheets/sheet2.xml": sheet.format(f"<row>{names}</row>{rows}").encode(),
        }
    )


def test_texts_in_a_part_of_their_own_and_cells_without_a_reference_are_read(read: Read) -> None:
    answer = read(shared_string_workbook('<row><c t="s"><v>8</v></c></row><row r="4"><c r="A4" t="s"><v>9</v></c></row>', ["O1", "O2"]))

    assert rules(answer) == ["F-059"]
    assert answer.tables["outcomes"].cells["row"].to_pylist() == [2, 4]
    assert column(answer, "outcomes", "outcome_ref") == ["O1", "O2"]


def test_shared_strings_with_nothing_but_blanks_make_no_row(read: Read) -> None:
    inline = read(workbook({"cover": COVER, "outcomes": [OUTCOMES, OUTCOME, [" \u00a0"] * 8]}))
    shared = read(shared_string_workbook('<row><c t="s"><v>8</v></c></row><row><c t="s"><v>9</v></c></row>', ["O1", "\u00a0"]))

    assert inline.tables["outcomes"].cells["row"].to_pylist() == [2]
    assert shared.tables["outcomes"].cells["row"].to_pylist() == [2]


def test_a_wrong_dimension_hides_no_row(read: Read) -> None:
    many = workbook({"cover": COVER, "outcomes": [OUTCOMES, *([f"O{at}", *OUTCOME[1:]] for at in range(999))]})

    lying = with_part(many, "xl/worksheets/sheet2.xml", lambda part: part.replace(b'<dimension ref="A1:H1000"', b'<dimension ref="A1:H2"'))

    assert b'ref="A1:H2"' in zipfile.ZipFile(io.BytesIO(lying)).read("xl/worksheets/sheet2.xml")
    assert read(lying).tables["outcomes"].cells.num_rows == 999


def test_a_row_that_would_hide_another_is_refused(read: Read) -> None:
    book = workbook({"cover": COVER, "outcomes": [OUTCOMES, OUTCOME]})

    def twice(part: bytes) -> bytes:
        row = part[part.index(b'<row r="2"') : part.index(b"</sheetData>")]
        return part.replace(row, row + row)

    assert places(read(with_part(book, "xl/worksheets/sheet2.xml", twice))) == [("F-027", "outcomes", 0, "")]
    assert rules(read(with_part(book, "xl/worksheets/sheet2.xml", lambda part: part.replace(b'r="A2"', b'r="A7"')))) == ["F-027", "F-078"]


def test_rows_that_the_two_readers_do_not_both_see_are_refused(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    book = workbook({"cover": COVER, "outcomes": [OUTCOMES, OUTCOME, OUTCOME]})
    see_all = workbooks._rows
    monkeypatch.setattr(workbooks, "_rows", lambda *sheet: list(see_all(*sheet))[:-1].__iter__())
    survey_all = delimited._survey

    def survey_one_less(*file: Any) -> delimited.Survey:
        survey = survey_all(*file)
        survey.records -= 1
        return survey

    monkeypatch.setattr(delimited, "_survey", survey_one_less)

    assert places(read(book)) == [("F-027", "cover", 0, ""), ("F-027", "outcomes", 0, "")]
    assert places(read(csv_of(OUTCOMES, OUTCOME, OUTCOME))) == [("F-027", "outcomes", 0, "")]


def test_long_sheets_are_taken_over_in_batches(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbooks, "BATCH_ROWS", 2)

    answer = read(workbook({"cover": COVER, "outcomes": [OUTCOMES, OUTCOME, [None] * 8, OUTCOME, OUTCOME, OUTCOME]}))

    assert answer.tables["outcomes"].cells["row"].to_pylist() == [2, 4, 5, 6]
    assert answer.tables["outcomes"].blank_rows == 1


def test_a_table_with_headings_alone_is_empty(read: Read) -> None:
    answer = read(csv_of(OUTCOMES, [""] * 8))

    assert answer.findings == []
    assert (answer.tables["outcomes"].cells.num_rows, answer.tables["outcomes"].blank_rows) == (0, 0)


def test_a_far_cell_is_refused_before_a_grid_is_built(read: Read) -> None:
    def far(book: openpyxl.Workbook) -> None:
        book["outcomes"]["XFD1048576"] = 1

    answer = read(workbook({"cover": COVER, "outcomes": [OUTCOMES, OUTCOME]}, far))

    assert places(answer) == [("F-017", "outcomes", 0, "")]


def test_entity_declarations_are_refused(read: Read) -> None:
    book = workbook({"cover": COVER, "outcomes": [OUTCOMES, OUTCOME]})
    laughs = b'<!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol1 "' + b"&lol;" * 10 + b'">]>'

    answer = read(with_part(book, "xl/worksheets/sheet2.xml", lambda part: laughs + part.partition(b"?>")[2] if b"?>" in part else laughs + part))

    assert rules(answer) == ["F-016"]


def test_a_workbook_with_a_part_missing_or_cut_off_is_damaged(read: Read) -> None:
    book = workbook({"cover": COVER, "outcomes": [OUTCOMES, OUTCOME]})

    cut = with_part(book, "xl/worksheets/sheet2.xml", lambda part: part[: len(part) // 2])
    unlisted = with_part(book, "xl/workbook.xml", lambda part: part.replace(b'<sheet name="outcomes"', b'<sheets name="outcomes"'))

    assert rules(read(cut)) == ["F-015"]
    assert rules(read(unlisted)) == ["F-015"]
    assert rules(read(book[: len(book) // 2])) == ["F-015"]
    assert rules(read(with_part(book, "xl/_rels/workbook.xml.rels", lambda _: b"<Relationships/>"))) == ["F-015"]


def test_columns_are_lettered_as_in_a_spreadsheet() -> None:
    assert [letter(at) for at in (0, 25, 26, 701, 702, 16383)] == ["A", "Z", "AA", "ZZ", "AAA", "XFD"]


def test_the_contained_child_reads_a_small_return_quickly(read_contained: Read) -> None:
    content = workbook({"cover": COVER, "outcomes": [OUTCOMES, *([f"O{at}", *OUTCOME[1:]] for at in range(50))]})
    read_contained(content)

    start = clock.monotonic()
    answer = read_contained(content)

    assert answer.findings == []
    assert answer.tables["outcomes"].cells.num_rows == 50
    assert clock.monotonic() - start < 5  # well under 0.5 s on a quiet machine


def test_reading_leaves_no_process_and_no_folder_behind(read_contained: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    before = set(psutil.Process().children())

    read_contained(csv_of(OUTCOMES, OUTCOME))

    assert [path.name for path in tmp_path.iterdir()] == ["delivery"]
    assert set(psutil.Process().children()) <= before


def far_cell_bomb() -> bytes:
    """A workbook of a few kilobytes that says it has 17 billion cells; calamine alone asks for 549 GB and dies."""

    def stretch(part: bytes) -> bytes:
        part = part.replace(b'<dimension ref="A1:H2"', b'<dimension ref="A1:XFD1048576"')
        return part.replace(b"</sheetData>", b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>')

    return with_part(workbook({"cover": COVER, "outcomes": [OUTCOMES, OUTCOME]}), "xl/worksheets/sheet2.xml", stretch)


def billion_laughs() -> bytes:
    """A sheet whose entities would grow to gigabytes."""
    names = [f"l{at}" for at in range(10)]
    entities = b"".join(f'<!ENTITY {name} "{f"&{before};" * 10}">'.encode() for before, name in pairwise(names))
    sheet = b'<!DOCTYPE worksheet [<!ENTITY l0 "lol">' + entities + b"]>"
    sheet += f'<worksheet xmlns="{MAIN}"><sheetData><row r="1"><c r="A1" t="str"><v>&l9;</v></c></row></sheetData></worksheet>'.encode()
    return with_part(workbook({"cover": COVER, "outcomes": [OUTCOMES, OUTCOME]}), "xl/worksheets/sheet2.xml", lambda _: sheet)


def zip_bomb() -> bytes:
    """400 MB of blanks in 400 kB."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed, packed.open("outcomes.csv", "w", force_zip64=True) as member:
        member.write(",".join(OUTCOMES).encode() + b"\n")
        for _ in range(400):
            member.write(b" " * 1_000_000)
    return buffer.getvalue()


def unclosed_quote() -> bytes:
    return csv_of(OUTCOMES, OUTCOME, ['"O2', *OUTCOME[1:]], ["O3", *OUTCOME[1:]])


@pytest.mark.parametrize(
    ("make", "rule"),
    [(far_cell_bomb, "F-017"), (billion_laughs, "F-016"), (zip_bomb, "F-018"), (unclosed_quote, "F-022")],
)
def test_hostile_files_are_contained_and_refused(read_contained: Read, make: Callable[[], bytes], rule: str) -> None:
    answer = read_contained(make())

    assert rules(answer) == [rule]
    assert answer.tables == {}


def test_a_file_that_needs_more_memory_than_allowed_is_a_finding(read_contained: Read) -> None:
    """Its one far cell lies within what a sheet may span, but the grid of calamine does not fit into the memory that is given."""

    def stretch(book: openpyxl.Workbook) -> None:
        book["outcomes"]["H1048576"] = 1

    content = workbook({"cover": COVER, "outcomes": [OUTCOMES, OUTCOME]}, stretch)

    assert read_contained(content, memory_mb=2048).tables["outcomes"].blank_rows == 1_048_573
    answer = read_contained(content, memory_mb=450)

    assert rules(answer) == ["F-014"]
    assert answer.tables == {}
    assert dict(answer.findings[0].values)["memory_mb"] == "450"


def test_a_file_that_takes_too_long_is_a_finding_and_its_process_is_ended(definitions: Definitions, tmp_path: Path) -> None:
    class StuckReader(ContainedReader):
        def _request(self, delivery: Path) -> dict[str, Any]:
            os.mkfifo(tmp_path / "never")
            return {**super()._request(delivery), "delivery": str(tmp_path / "never")}

    before = set(psutil.Process().children())
    start = clock.monotonic()
    answer = StuckReader(definitions, memory_mb=1024, seconds=2).read(tmp_path)

    assert rules(answer) == ["F-014"]
    assert clock.monotonic() - start < 15
    assert set(psutil.Process().children()) <= before


def test_what_takes_long_is_done_while_the_child_reads_and_costs_the_delivery_none_of_its_time(definitions: Definitions, tmp_path: Path) -> None:
    delivery = tmp_path / "outcomes.csv"
    delivery.write_bytes(csv_of(OUTCOMES))
    done: list[bool] = []

    def work() -> None:
        clock.sleep(3)
        done.append(True)

    answer = ContainedReader(definitions, memory_mb=1024, seconds=2).read(delivery, work)

    assert done == [True]
    assert answer.tables["outcomes"].place == "outcomes.csv"


@pytest.mark.parametrize(
    ("fault", "rule"),
    [(MemoryError(), "F-014"), (OSError(errno.EFBIG, CANARY), "F-014"), (OSError(errno.EIO, CANARY), "F-015"), (BaseException(CANARY), "F-015")],
)
def test_whatever_a_parser_dies_of_is_a_finding_without_its_words(
    read: Read, monkeypatch: pytest.MonkeyPatch, fault: BaseException, rule: str
) -> None:
    def fail(*_: object) -> None:
        raise fault

    monkeypatch.setitem(child.READERS, "csv", fail)

    answer = read(csv_of(OUTCOMES))

    assert rules(answer) == [rule]
    assert CANARY not in repr(answer)


def test_an_interruption_is_passed_on(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(child.READERS, "csv", interrupt)

    with pytest.raises(KeyboardInterrupt):
        read(csv_of(OUTCOMES))


def test_the_child_confines_itself_before_it_opens_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: dict[int, tuple[int, int]] = {}
    monkeypatch.setattr(resource, "setrlimit", limits.__setitem__)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    request = {"memory_mb": 300, "seconds": 7, "delivery": str(tmp_path / "nothing"), "caps": {}, "tables": []}
    (tmp_path / child.REQUEST).write_text(json.dumps(request), "utf-8")

    child.main(tmp_path)

    assert limits[resource.RLIMIT_AS] == (300 * 1024 * 1024, 300 * 1024 * 1024)
    assert limits[resource.RLIMIT_CPU] == (7, 7)
    assert {resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_CORE} < set(limits)
    assert json.loads((tmp_path / child.ANSWER).read_text("utf-8"))["findings"][0]["rule"] == "F-015"
    with pytest.raises(ModuleNotFoundError):
        sys.meta_path[0].find_spec("pandas", None)
    assert sys.meta_path[0].find_spec("json", None) is None


def test_too_little_memory_to_start_at_all_is_our_fault_and_not_the_file_s(read_contained: Read) -> None:
    with pytest.raises(ConfigurationError, match="OUTCOMES_READER_MEMORY_MB"):
        read_contained(csv_of(OUTCOMES), memory_mb=1, seconds=1)
