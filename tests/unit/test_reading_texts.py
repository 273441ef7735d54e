"""What a CSV file is written in is found out, said, and undone: the cells that come out are those that a person sees."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.adapters.reader import ContainedReader
from pipeline.adapters.reading import cells, child, texts
from pipeline.adapters.reading.canonical import MOST_PLACES
from pipeline.ports import ReadReturn
from tests.corpus.making import CANARY, OUTCOMES, archive, csv_bytes, good_tables, zip_bytes
from tests.factories import DEFINITIONS

Read = Callable[[bytes], ReadReturn]
ROW = good_tables()["outcomes"][1]


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


def table_of(*references: str) -> str:
    return csv_bytes([OUTCOMES, *([reference, *ROW[1:]] for reference in references)]).decode()


def references(answer: ReadReturn) -> list[str]:
    found: list[str] = answer.tables["outcomes"].cells["outcome_ref"].to_pylist()
    return found


def places(answer: ReadReturn) -> list[tuple[str, int, str]]:
    return [(finding.rule, finding.row, finding.column) for finding in answer.findings]


@pytest.mark.parametrize(("encoding", "rule", "row"), [("utf-8-sig", "F-050", 1), ("utf-16", "F-051", 1), ("cp1252", "F-052", 3), ("utf-8", "", 0)])
def test_letters_come_out_as_they_were_meant(read: Read, encoding: str, rule: str, row: int) -> None:
    answer = read(table_of("A1", "Zo\u00eb\u2019s \u00a35").encode(encoding))

    assert references(answer) == ["A1", "Zo\u00eb\u2019s \u00a35"]
    assert places(answer) == ([(rule, row, "")] if rule else [])


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
@pytest.mark.parametrize("line_end", ["\r\n", "\n", "\r"])
def test_blocks_may_end_anywhere(read: Read, monkeypatch: pytest.MonkeyPatch, size: int, line_end: str) -> None:
    monkeypatch.setattr(texts, "BLOCK_BYTES", size)
    good = table_of(*(f"\u00e9{at}" for at in range(20))).replace("\r\n", line_end)

    assert len(references(read(good.encode()))) == 20
    assert len(references(read(good.encode("utf-16")))) == 20
    found = read(good.encode() + b"\xa3" + b",".join(cell.encode() for cell in ROW))
    assert places(found) == [("F-020", 22, "")]
    assert ("F-052", 2, "") in places(read(good.encode("cp1252")))


def test_half_a_letter_at_the_end_of_utf_16_is_refused(read: Read) -> None:
    assert places(read(table_of("A1").encode("utf-16") + b"x")) == [("F-020", 3, ""), ("F-051", 1, "")]


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_another_separator_is_taken_where_the_headings_are_known_under_it(read: Read, separator: str) -> None:
    content = csv_bytes([OUTCOMES, ["A,1", *ROW[1:]]], separator)

    alone, packed, named = (read(each) for each in (content, archive({"outcomes.csv": content}), f"sep={separator}\n".encode() + content))

    assert [references(answer) for answer in (alone, packed, named)] == [["A,1"]] * 3
    assert places(alone) == places(packed) == [("F-054", 1, "")]
    assert "F-055" in [finding.rule for finding in named.findings]


def test_headings_in_quotation_marks_are_read_under_the_separator_that_fits(read: Read) -> None:
    for separator in (",", ";"):
        content = separator.join(f'"{heading}"' for heading in OUTCOMES).encode() + b"\r\n" + csv_bytes([ROW], separator)

        assert references(read(content)) == [ROW[0]]


def test_a_reference_that_is_a_heading_makes_no_row_of_headings(read: Read) -> None:
    assert places(read(table_of("A1", "outcome_ref").encode())) == []


def test_rows_are_counted_without_the_line_that_names_the_separator(read: Read) -> None:
    answer = read(b"\xef\xbb\xbfSEP=,\r\n" + table_of("A1", "TOTAL").encode())

    assert ("F-062", 3, "outcome_ref") in places(answer)
    assert answer.tables["outcomes"].cells["row"].to_pylist() == [2, 3]


def test_a_table_of_headings_alone_is_empty_and_no_fault(read: Read) -> None:
    answer = read(csv_bytes([OUTCOMES]).removesuffix(b"\r\n"))

    assert places(answer) == []
    assert answer.tables["outcomes"].cells.num_rows == 0


def test_what_was_tidied_is_counted_for_each_column_and_the_first_row_is_named(read: Read) -> None:
    answer = read(table_of("A1", " A2", "A3\u00a0", "e\u0301").encode())

    assert references(answer) == ["A1", "A2", "A3", "\u00e9"]
    assert [(finding.rule, finding.row, dict(finding.values)["count"]) for finding in answer.findings] == [("F-064", 3, "2"), ("F-066", 5, "1")]


def test_every_cell_that_breaks_a_rule_is_counted_and_the_first_are_named(read: Read) -> None:
    answer = read(table_of(*(f"=1+{at}" for at in range(MOST_PLACES + 7))).encode())

    assert {finding.rule for finding in answer.findings} == {"F-070"}
    assert len(answer.findings) == MOST_PLACES
    assert dict(answer.findings[0].values)["count"] == str(MOST_PLACES + 7)


def test_the_sign_that_nobody_sees_is_named_by_its_code_point_and_nothing_else_of_the_cell(read: Read) -> None:
    answer = read(table_of(f"{CANARY}\u200b1", f"{CANARY}\u0430").encode())

    assert [(finding.rule, dict(finding.values)["code_point"]) for finding in answer.findings] == [("F-065", "U+0430"), ("F-067", "U+200B")]
    assert CANARY not in repr(answer.findings)


@pytest.mark.parametrize("amount", ["-5", "-1234.50", "+3", "1E+05", "-", "2024-01-31", "A/1.2_b:c"])
def test_typed_numbers_and_ordinary_references_are_not_taken_for_formulas(read: Read, amount: str) -> None:
    assert places(read(table_of(amount).encode())) == []


@pytest.mark.parametrize(
    "comment",
    [
        "- see the plan (again)", "We said \u201cno\u201d; they said 'yes' -- twice.", "5 < 6 and a > b", "Costs rose by 3 % + inflation",
        "caf\u00e9 \u2013 na\u00efve",
        "\u03a3 is a sum", 'the "old" rate', "first line\nsecond line", "100 | 200", "Total cost is known",
    ],
)  # fmt: skip
def test_an_ordinary_comment_is_left_as_it_is(read: Read, comment: str) -> None:
    tables = good_tables()
    tables["cover"][1][4] = comment

    answer = read(zip_bytes(tables))

    assert places(answer) == []
    assert answer.tables["cover"].cells["comment"].to_pylist() == [comment]


def test_a_column_is_looked_through_from_where_its_slice_begins() -> None:
    column = pa.array(["<b>", "A1", None, "A2", "=x"])

    assert not cells._is_plain(column)
    assert cells._is_plain(column.slice(1, 3))
    assert not cells._is_plain(column.slice(3))
    assert cells._is_plain(column.slice(1, 0))
    assert cells._is_plain(pa.nulls(3, pa.string()))
