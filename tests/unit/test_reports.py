"""The one report in its forms: the same findings in each, marked where they stand, escaped, and nothing of what a cell said."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from typing import get_args

import pyarrow as pa
import pytest
from openpyxl import Workbook, load_workbook

from pipeline.domain.findings import Finding
from pipeline.domain.submission import RevisionKey
from pipeline.ports import ReturnTable
from pipeline.stages.reports import Form, write_report
from pipeline.stages.reports.marked_book import DRAWN_ROWS
from pipeline.stages.validation import Report, make_report
from tests.factories import DEFINITIONS

CANARY = "Zebedee"
FORMS: tuple[Form, ...] = get_args(Form)


def table(name: str, rows: int) -> ReturnTable:
    columns = DEFINITIONS.table("submission", name).columns
    numbers = pa.array(range(2, rows + 2), pa.int64())
    return ReturnTable(name, name, pa.table({"row": numbers, **{column: pa.array([CANARY] * rows, pa.string()) for column in columns}}))


TABLES = {name: table(name, rows) for name, rows in (("cover", 1), ("outcomes", 40), ("participants", 20), ("payments", 700))}


def at(rule: str, table: str = "", row: int = 0, column: str = "", **values: str) -> Finding:
    return DEFINITIONS.rule(rule).found(table, row, column, **values)


FINDINGS = (
    *(at("K-301", "outcomes", row, "metric_id", hint="Is M1 meant?") for row in range(2, 14)),
    at("K-303", "outcomes", 31, "achieved_on"),
    at("K-317", "payments", 4, "amount_gbp"),
    at("K-320", "payments", 4, "amount_gbp", quarter="2023-Q4"),
    at("C-225", "payments", 600, "metric_id"),
    at("K-305", "outcomes", 20, "achieved_on", quarter_start="2024-01-01"),
    at("F-044"),
)


def report(*findings: Finding, tables: dict[str, ReturnTable] | None = None) -> Report:
    key = RevisionKey.parse("P1/2024-Q1/2")
    return make_report(key=key, content="ab" * 32, definitions=DEFINITIONS, tables=TABLES if tables is None else tables, findings=findings)


def lines(found: Report) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(write_report(found, "csv").decode())))


def marked(found: Report) -> Workbook:
    return load_workbook(io.BytesIO(write_report(found, "xlsx")))


class Page(HTMLParser):
    """A page as a reader for the blind goes through it: tags with their attributes, and the text."""

    def __init__(self, found: Report) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.content = write_report(found, "html").decode()
        self.feed(self.content)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, attribute: str) -> list[str]:
        return [value for _, attributes in self.tags if (value := attributes.get(attribute)) is not None]


@pytest.mark.parametrize("form", FORMS)
def test_no_form_says_what_a_cell_said_and_the_same_report_gives_the_same_bytes(form: Form) -> None:
    content = write_report(report(*FINDINGS), form)
    assert content == write_report(report(*reversed(FINDINGS)), form)
    parts = [content]
    if form == "xlsx":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = [archive.read(name) for name in archive.namelist()]
    assert not any(CANARY.encode() in part for part in parts)


def test_json_is_the_report_as_it_was_sealed() -> None:
    found = report(*FINDINGS)
    assert Report.from_bytes(write_report(found, "json")) == found
    assert json.loads(write_report(found, "json"))["format"] == "openoutcomes.report/1"


def test_csv_has_a_line_for_each_place_and_one_for_a_finding_without_any() -> None:
    found = lines(report(*FINDINGS))
    assert [(line["rule"], line["cell"]) for line in found] == [
        *(("K-301", f"C{row}") for row in range(2, 12)),
        ("K-303", "D31"),
        ("K-320", "H4"),
        ("C-225", "C600"),
        ("F-044", ""),
        ("K-317", "H4"),
        ("K-305", "D20"),
    ]
    assert {line["count"] for line in found if line["rule"] == "K-301"} == {"12"}
    assert found[0]["sheet"] == "outcomes"
    assert found[0]["fix"] == DEFINITIONS.rule("K-301").fix


def test_csv_names_the_code_that_may_be_meant() -> None:
    tables = {"participants": replace(TABLES["participants"], cells=pa.table({"row": [2], "gender": ["femal"]}))}
    found = report(at("S-110", "participants", 2, "gender", codes="female, male"), tables=tables)
    assert lines(found)[0]["did_you_mean"] == "female"
    assert "Did you mean" in Page(found).text
    assert marked(found)["participants"]["H2"].value == "female"


def test_no_line_of_csv_begins_a_cell_like_a_formula() -> None:
    assert not [cell for line in lines(report(*FINDINGS)) for cell in line.values() if cell[:1] in set("=+-@\t")]


def test_a_page_says_first_what_must_be_mended_and_links_to_each_finding() -> None:
    page = Page(report(*FINDINGS))
    assert "There is a problem with this return" in page.text
    links = [link.removeprefix("#") for link in page.all("href")]
    assert set(links) <= set(page.all("id"))
    assert [link for link in links if link.startswith("finding-")] == [f"finding-{number}" for number in range(1, 8)]
    assert page.text.index("Must be mended") < page.text.index("Wants a look") < page.text.index("For information")
    assert "The first 10 of 12 places" in page.text


def test_a_page_of_a_return_without_findings_says_so() -> None:
    page = Page(report())
    assert "This return can be accepted" in page.text
    assert "761 rows were read. There is nothing to say of them." in page.text
    assert "1 row was read" in Page(report(tables={"cover": TABLES["cover"]})).text
    assert "What was read" not in Page(report(at("F-001"), tables={})).text


def test_a_page_is_whole_and_can_be_read_without_seeing_it() -> None:
    page = Page(report(*FINDINGS))
    names = [tag for tag, _ in page.tags]
    assert page.open == []
    assert page.tags[0] == ("html", {"lang": "en-GB"})
    assert [names.count(tag) for tag in ("title", "header", "main", "footer", "h1")] == [1, 1, 1, 1, 1]
    levels = [int(tag[1]) for tag in names if re.fullmatch("h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(attributes.get("scope") in {"col", "row"} for tag, attributes in page.tags if tag == "th")
    assert names.count("table") == names.count("caption") > 0
    assert len(page.all("id")) == len(set(page.all("id")))
    assert set(page.all("aria-labelledby")) <= set(page.all("id"))


def test_a_page_needs_nothing_from_elsewhere_and_runs_nothing() -> None:
    page = Page(report(*FINDINGS))
    assert not {"script", "link", "img", "iframe", "form", "object"} & {tag for tag, _ in page.tags}
    assert not page.all("src")
    assert "://" not in page.content
    assert "url(" not in page.content
    assert any("default-src 'none'" in content for content in page.all("content"))


def test_what_is_written_into_a_page_is_escaped() -> None:
    found = report(*FINDINGS)
    nasty = '"><script>alert(1)</script>{{ 7 * 7 }}'
    place = replace(found.findings[0].places[0], place=nasty, column=nasty, cell=nasty, nearest=nasty)
    rule = replace(found.findings[0], title=nasty, message=nasty, fix=nasty, why=nasty, places=[place])
    page = Page(replace(found, findings=[rule], content=nasty))
    assert "<script" not in page.content
    assert page.text.count(nasty) == 10


def luminance(color: str) -> float:
    digits = "".join(2 * digit for digit in color) if len(color) == 3 else color
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_text_of_a_page_stands_out_from_its_ground() -> None:
    rules = re.findall(r"([^{}]+)\{([^{}]*)\}", Page(report()).content.split("<style>")[1])
    checked = 0
    for _, body in rules:
        text = re.search(r"(?<![-\w])color:\s*#([0-9a-f]{3,6})", body)
        ground = re.search(r"background:\s*#([0-9a-f]{3,6})", body)
        if text is not None:
            light, dark = sorted((luminance(text[1]), luminance(ground[1] if ground else "fff")), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, body
            checked += 1
    assert checked >= 8


def test_a_workbook_marks_each_cell_where_it_stands_in_the_return() -> None:
    book = marked(report(*FINDINGS))
    assert book.sheetnames == ["findings", "outcomes", "payments"]
    sheet = book["outcomes"]
    assert [cell.value for cell in sheet[1]][:8] == list(DEFINITIONS.table("submission", "outcomes").columns)
    assert (sheet["C2"].value, sheet["D31"].value, sheet["D20"].value) == ("K-301", "K-303", "K-305")
    assert sheet["C2"].fill.fgColor.rgb != sheet["D20"].fill.fgColor.rgb
    assert book["payments"]["H4"].value == "K-320 K-317"


def test_a_workbook_lists_the_places_in_words_beside_them_and_leads_to_each() -> None:
    sheet = marked(report(*FINDINGS))["outcomes"]
    assert [cell.value for cell in sheet[2]][9:14] == ["C2", 2, "metric_id", "error", "K-301"]
    assert sheet["J2"].hyperlink.location == "'outcomes'!C2"


def test_a_place_far_down_is_listed_and_not_drawn() -> None:
    sheet = marked(report(*FINDINGS))["payments"]
    assert sheet.max_row < DRAWN_ROWS
    assert "C600" in [cell.value for cell in sheet["L"]]
    assert [row for row, _ in enumerate(sheet["L"], start=1) if sheet.cell(row, 12).hyperlink] == [2, 4]


def test_a_workbook_has_a_line_for_each_finding_also_for_one_without_a_place() -> None:
    sheet = marked(report(*FINDINGS))["findings"]
    assert [sheet.cell(row, 2).value for row in range(6, 13)] == ["K-301", "K-303", "K-320", "C-225", "F-044", "K-317", "K-305"]
    assert sheet["A1"].value == "Report on P1/2024-Q1/2: failed"
    assert marked(report())["findings"]["A2"].value == "Nothing to say."


def test_a_column_that_is_none_of_ours_is_marked_by_its_letter() -> None:
    sheet = marked(report(at("F-031", "outcomes", 1, "I"), tables={}))["outcomes"]
    assert (sheet["H1"].value, sheet["I1"].value) == ("H", "F-031")


def test_a_finding_of_a_whole_table_is_in_the_list_only() -> None:
    sheet = marked(report(at("F-043", "outcomes", merged="2"), tables={}))["outcomes"]
    assert [cell.value for cell in sheet[2]] == [None, None, None, None, "refuse", "F-043", None, DEFINITIONS.rule("F-043").message.format(merged=2)]
