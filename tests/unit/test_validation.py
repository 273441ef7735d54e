"""Findings become a report and a verdict."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.adapters.definitions import load_definitions
from pipeline.domain.findings import Finding, Rule, Severity
from pipeline.domain.submission import RevisionKey
from pipeline.errors import IntegrityError, RuleError
from pipeline.ports import ReturnTable
from pipeline.stages.validation import MAX_PLACES, Report, describe, found_at, make_report, rows_where

DEFINITIONS = load_definitions(Path(__file__).parents[2])
KEY = RevisionKey.parse("P1/2024-Q1/2")
CONTENT = "ab" * 32


def table(name: str, columns: list[str], rows: int = 3, blank: int = 0) -> ReturnTable:
    cells = pa.table({"row": pa.array(range(2, rows + 2), pa.int64()), **{column: pa.nulls(rows, pa.string()) for column in columns}})
    return ReturnTable(name=name, place=name.capitalize(), cells=cells, blank_rows=blank)


TABLES = {"outcomes": table("outcomes", ["outcome_ref", "metric_id"], blank=1), "cover": table("cover", ["project_id"], rows=1)}


def report(*findings: Finding, tables: dict[str, ReturnTable] | None = None) -> Report:
    return make_report(key=KEY, content=CONTENT, definitions=DEFINITIONS, tables=TABLES if tables is None else tables, findings=findings)


def unknown_metric(row: int, hint: str = "Is M1 meant?") -> Finding:
    return DEFINITIONS.rule("K-301").found("outcomes", row, "metric_id", hint=hint)


def test_a_return_without_findings_passes() -> None:
    found = report()
    assert (found.passed, found.verdict, found.counts, found.severities, found.findings) == (True, "passed", {}, {}, [])


@pytest.mark.parametrize(("rule", "passes"), [("D-001", False), ("K-308", False), ("K-317", True), ("D-014", True)])
def test_refusals_and_errors_fail_a_return_and_queries_and_notes_do_not(rule: str, passes: bool) -> None:
    assert report(DEFINITIONS.rule(rule).found("outcomes", 2)).passed is passes


def test_rows_are_counted_per_table_with_blank_ones() -> None:
    assert [(item.table, item.place, item.delivered, item.blank) for item in report().tables] == [
        ("cover", "Cover", 1, 0),
        ("outcomes", "Outcomes", 4, 1),
    ]


def test_a_place_names_sheet_row_column_and_cell_as_the_person_sees_them() -> None:
    (place,) = report(unknown_metric(4)).findings[0].places
    assert (place.table, place.place, place.row, place.column, place.cell) == ("outcomes", "Outcomes", 4, "metric_id", "B4")


def test_cells_are_found_by_the_order_of_headings_as_delivered_beyond_the_letter_z() -> None:
    wide = {"outcomes": table("outcomes", [*(f"column_{number}" for number in range(27)), "metric_id"])}
    assert report(unknown_metric(2), tables=wide).findings[0].places[0].cell == "AB2"


def test_a_place_without_a_row_or_a_delivered_column_has_no_cell() -> None:
    rule = DEFINITIONS.rule("K-308")
    places = (
        report(rule.found("outcomes", 0, "metric_id"), rule.found("outcomes", 3, "verified_on"), rule.found("payments", 3, "payer_id"))
        .findings[0]
        .places
    )
    assert [(place.place, place.cell) for place in places] == [("Outcomes", ""), ("Outcomes", ""), ("", "")]


def test_a_finding_about_the_whole_delivery_has_no_places() -> None:
    assert report(DEFINITIONS.rule("D-001").found()).findings[0].places == []


def test_findings_are_grouped_by_rule_and_message_gravest_first_with_ten_places_each() -> None:
    late = DEFINITIONS.rule("K-305").found("outcomes", 2, "achieved_on", quarter_start="2024-01-01")
    found = report(late, *(unknown_metric(row) for row in range(2, 14)), unknown_metric(99, "There is none."))
    assert [(item.rule, item.severity, item.count, len(item.places)) for item in found.findings] == [
        ("K-301", Severity.ERROR, 12, 10),
        ("K-301", Severity.ERROR, 1, 1),
        ("K-305", Severity.NOTE, 1, 1),
    ]
    assert found.findings[0].message == "The contract of this project has no such outcome metric. Is M1 meant?"
    assert found.counts == {"K-301": 13, "K-305": 1}
    assert found.severities == {"error": 13, "note": 1}


def test_what_is_not_listed_is_counted_all_the_same() -> None:
    rows = pa.array(range(2, 2 + MAX_PLACES + 500), pa.int64())
    findings = found_at(DEFINITIONS.rule("K-308"), "outcomes", "participant_ref", rows)
    assert len(findings) == MAX_PLACES
    found = report(*findings, DEFINITIONS.rule("K-308").found("payments", 2, "payer_id"))
    assert found.counts == {"K-308": MAX_PLACES + 501}
    assert found.findings[0].count == MAX_PLACES + 501


def test_findings_that_each_give_the_count_in_full_are_counted_once() -> None:
    rule = DEFINITIONS.rule("K-308")
    found = report(
        *(rule.found("outcomes", row, "participant_ref", count="7") for row in (2, 3, 4)), rule.found("payments", 2, "payer_id", count="1")
    )
    assert found.counts == {"K-308": 8}


def test_a_count_that_is_no_number_counts_for_nothing() -> None:
    assert report(DEFINITIONS.rule("K-308").found("outcomes", 2, "participant_ref", count="many")).counts == {"K-308": 1}


def test_a_column_whose_heading_is_none_of_ours_is_named_by_its_letters() -> None:
    assert report(DEFINITIONS.rule("K-308").found("outcomes", 1, "AB")).findings[0].places[0].cell == "AB1"


def test_a_cell_is_named_by_its_letters_even_when_the_table_was_refused() -> None:
    assert report(DEFINITIONS.rule("F-031").found("outcomes", 1, "I"), tables={}).findings[0].places[0].cell == "I1"


def test_exactly_as_many_as_can_be_listed_are_counted_once() -> None:
    rows = pa.array(range(MAX_PLACES), pa.int64())
    assert report(*found_at(DEFINITIONS.rule("K-308"), "outcomes", "", rows)).counts == {"K-308": MAX_PLACES}


def test_each_listed_row_can_have_values_of_its_own() -> None:
    findings = found_at(DEFINITIONS.rule("K-301"), "outcomes", "metric_id", pa.array([2, 5]), [{"hint": "a"}, {"hint": "b"}])
    assert [(finding.row, finding.values) for finding in findings] == [(2, (("hint", "a"),)), (5, (("hint", "b"),))]


def test_rows_are_listed_in_order_and_an_unknown_mask_does_not_count() -> None:
    frame = pa.table({"row": pa.array([9, 4, 7], pa.int64())})
    assert rows_where(frame, pa.array([True, True, None])).to_pylist() == [4, 9]


def test_the_same_findings_in_another_order_give_the_same_bytes() -> None:
    findings = [unknown_metric(3), unknown_metric(2), DEFINITIONS.rule("D-014").found()]
    assert report(*findings).to_bytes() == report(*reversed(findings)).to_bytes()


def test_a_report_is_read_back_as_it_was() -> None:
    found = report(unknown_metric(3), DEFINITIONS.rule("D-014").found())
    assert Report.from_bytes(found.to_bytes()) == found


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"format":"other/1"}', b"\xff", b'{"format":"openoutcomes.report/1","submission":"x"}'])
def test_what_is_no_report_is_not_read(content: bytes) -> None:
    with pytest.raises(IntegrityError, match="sealed report"):
        Report.from_bytes(content)


def test_a_finding_of_no_known_rule_is_our_fault() -> None:
    with pytest.raises(RuleError, match="X-999"):
        report(Finding(rule="X-999", severity=Severity.ERROR))


def test_a_placeholder_that_no_check_fills_is_our_fault() -> None:
    with pytest.raises(RuleError, match="K-305"):
        report(DEFINITIONS.rule("K-305").found("outcomes", 2, "achieved_on"))


def test_values_are_put_in_once_even_when_they_hold_braces() -> None:
    rule = Rule(id="K-301", stage="contract", severity=Severity.ERROR, title="", message="", fix="")
    assert report(rule.found("outcomes", 2, "metric_id", hint="{0.__class__}")).findings[0].message.endswith("{0.__class__}")


def test_a_report_is_described_for_a_terminal() -> None:
    many = [unknown_metric(row) for row in range(2, 14)]
    assert describe(report(*many, DEFINITIONS.rule("K-317").found("outcomes", 5), DEFINITIONS.rule("D-014").found())) == [
        "P1/2024-Q1/2: failed with 12 errors, 1 query, 1 note.",
        "  cover (Cover): 1 row",
        "  outcomes (Outcomes): 4 rows, of which 1 blank",
        "",
        "error K-301: Unknown outcome metric (12 places)",
        "  The contract of this project has no such outcome metric. Is M1 meant?",
        "  Where: " + "; ".join(f"Outcomes B{row} (metric_id)" for row in range(2, 12)) + "; and 2 more",
        "  What to do: Use a metric id of this project's contract, exactly as in the register.",
        "",
        "query K-317: Not on the rate card (1 place)",
        "  The rate card has no price for this metric and payer at the end of the claim period.",
        "  Where: Outcomes row 5",
        "  What to do: Correct the metric, the payer or the period, or ask the data steward to complete the rate card.",
        "",
        "note D-014: One table alone (1 place)",
        "  The delivery is one table without a cover. It is taken as the whole return: the other tables count as empty.",
        "  What to do: If other tables belong to this return, send them together, as a workbook or a zip file.",
    ]


def test_a_clean_report_is_described_in_a_line_and_its_tables() -> None:
    assert describe(report(tables={})) == ["P1/2024-Q1/2: passed, nothing to say."]


def mistyped(*cells: str | None, column: str = "gender", rule: str = "S-110") -> list[str]:
    """Return the codes that a report names for cells of one column, each of which breaks a rule."""
    name = "cover" if column == "is_nil_return" else "participants"
    rows = pa.array(range(2, 2 + len(cells)), pa.int64())
    tables = {name: ReturnTable(name=name, place=name, cells=pa.table({"row": rows, column: pa.array(cells, pa.string())}))}
    values = {"codes": "", "limit": ""}
    findings = [DEFINITIONS.rule(rule).found(name, row, column, **values) for row in rows.to_pylist()]
    return [place.nearest for place in report(*findings, tables=tables).findings[0].places]


def test_the_code_that_is_most_like_a_mistyped_one_is_named() -> None:
    assert mistyped("Femal", "MALE", "not known", "Another gender") == ["female", "male", "not_known", "another"]
    assert mistyped("18-24", "65 +", column="age_band") == ["18_to_24", ""]
    assert mistyped("yess", column="is_nil_return") == ["yes"]


def test_no_code_is_named_for_what_is_like_none_of_them_nor_for_other_rules() -> None:
    assert mistyped("Zebedee", None) == ["", ""]
    assert mistyped("Femal", rule="S-112") == [""]


def test_no_code_is_named_for_a_place_that_was_not_delivered() -> None:
    rule = DEFINITIONS.rule("S-110")
    places = report(rule.found("outcomes", 99, "status", codes=""), rule.found("outcomes", 2, "status", codes="")).findings[0].places
    assert [place.nearest for place in places] == ["", ""]


def test_a_report_says_why_a_rule_matters_and_which_columns_a_table_has() -> None:
    found = report(DEFINITIONS.rule("S-101").found("outcomes", 2, "metric_id"))
    assert found.findings[0].why == DEFINITIONS.rule("S-101").why
    assert [table.columns for table in found.tables] == [["project_id"], ["outcome_ref", "metric_id"]]


def test_what_follows_from_another_finding_is_not_in_the_report() -> None:
    rule = DEFINITIONS.rule("K-317")
    assert report(unknown_metric(2), rule.found("outcomes", 2, "metric_id"), rule.found("outcomes", 3, "metric_id")).counts == {
        "K-301": 1,
        "K-317": 1,
    }


def test_a_report_that_was_sealed_before_these_were_in_it_is_still_read() -> None:
    document = report(unknown_metric(3)).to_document()
    del document["findings"][0]["why"], document["findings"][0]["places"][0]["nearest"]
    for table in document["tables"]:
        del table["columns"]
    found = Report.from_bytes(json.dumps(document).encode())
    assert (found.findings[0].why, found.findings[0].places[0].nearest, found.tables[0].columns) == ("", "", ())
