"""Personal data is found where none belongs, and ordinary references, codes and comments are left alone."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pytest

from pipeline.domain.findings import Finding, Severity
from pipeline.ports import ReturnTable
from pipeline.stages import personal_data
from pipeline.stages.validation import MAX_PLACES
from tests.factories import DEFINITIONS


def check(table: str, column: str, cells: Sequence[str | None]) -> Sequence[Finding]:
    """Return what is found in one column of a table, the first cell standing in row 2."""
    rows = pa.table({"row": pa.arange(2, len(cells) + 2), column: pa.array(cells, pa.string())})
    return personal_data.check(DEFINITIONS, {table: ReturnTable(table, table, rows)})


def rules(table: str, column: str, *cells: str | None) -> list[str]:
    return [finding.rule for finding in check(table, column, cells)]


@pytest.mark.parametrize(
    ("comment", "rule"),
    [
        ("Ask Mrs Smith.", "H-001"),
        ("Dr. O\u2019Neill has signed", "H-001"),
        ("mail me: jo.bloggs@example.org", "H-002"),
        ("call 07700 900123 after six", "H-003"),
        ("call +44 (0)7700 900123", "H-003"),
        ("our office, 0161 496 0000", "H-003"),
        ("his number, QQ 12 34 56 C, was wrong", "H-004"),
        ("NHS 943 476 5919", "H-005"),
        ("NHS 9434765919.", "H-005"),
        ("she lives in M1 1AE now", "H-006"),
        ("DOB 1.2.1987", "H-007"),
        ("a boy born on 12 March 2009", "H-007"),
        ("UPRN: 100023336956", "H-008"),
    ],
)
def test_a_comment_that_speaks_of_a_person_is_found(comment: str, rule: str) -> None:
    assert rules("cover", "comment", comment) == [rule]


@pytest.mark.parametrize(
    "comment",
    [
        "Paid £1,200.50 for 12 outcomes in 2024-Q1; 3 are late.",
        "We met the council on 12/03/2024 and on 2024-04-02.",
        "Numbers for E08000003 and E08000025 were swapped; see invoice 2024-0017.",
        "Miss out on nothing: 10 of 12 tenancies were kept.",
        "The Dr and the Rev agreed; mr is not a name.",
        "Order 9434765918 has no right check digit, and 1234567890 none either.",
        "Reference AB123456, without its last letter.",
        "Q1 2024 P1 M1 2 OC 1AB",
        "The project was born in Manchester in 2019.",
        "at 10 a.m. @ the office",
        "Reached 100 people, 0.5 % more; 07/08 was better, 2019-2021 worse.",
        "GB123456A is a prefix that is never given out.",
    ],
)
def test_an_ordinary_comment_is_left_alone(comment: str) -> None:
    assert rules("cover", "comment", comment) == []


@pytest.mark.parametrize(
    ("reference", "rule"),
    [
        ("Jane Smith", "H-001"),
        ("Smith, Jane", "H-001"),
        ("Mr J Smith", None),
        ("Miss Smith", "H-001"),
        ("jane@example.org", "H-002"),
        ("07700900123", "H-003"),
        ("+44 7700 900123", "H-003"),
        ("QQ123456C", "H-004"),
        ("ref-QQ123456C", "H-004"),
        ("9434765919", "H-005"),
        ("943-476-5919", "H-005"),
        ("SW1A1AA", "H-006"),
        ("m1 1ae", "H-006"),
        ("12/03/1987", "H-007"),
        ("UPRN10002333695", "H-008"),
        ("JS19870312", "H-009"),
        ("JS-12031987", "H-009"),
    ],
)
def test_a_reference_that_names_a_person_is_found(reference: str, rule: str | None) -> None:
    assert rules("participants", "participant_ref", reference) == ([rule] if rule else [])


@pytest.mark.parametrize(
    "reference",
    [
        "P-0001", "SYN-01-P000123", "INDIGO-POJ-0001/17", "LCF-2024-000017", "HR202401A", "AB123456", "0000000000", "1234567890", "100000001",
        "Client A", "Case Seven", "Family Two", "T1", "A1-2BC", "e3b0c44298fc1c149afbf4c8996fb924", "JS20240131", "XX99991399", "GB123456A",
        "OC12AB", "20240131", "0161-1", "12345678901",
    ],
)  # fmt: skip
def test_an_ordinary_reference_is_left_alone(reference: str) -> None:
    assert rules("participants", "participant_ref", reference, "another") == []


def test_ten_digits_that_happen_to_pass_the_check_are_references_where_most_do_not() -> None:
    numbers = [f"4{at:09d}" for at in range(2000)]
    passing = [number for number in numbers if personal_data._holds_nhs_number(number)]

    assert 100 < len(passing) < 300
    assert check("outcomes", "outcome_ref", numbers) == []
    assert {finding.rule for finding in check("outcomes", "outcome_ref", passing)} == {"H-005"}


def test_both_ways_of_working_out_the_check_digit_agree() -> None:
    numbers = [f"{at:010d}" for at in (*range(4_000_000_000, 4_000_003_000), 9434765919, 9434765918, 6_000_000_005)]
    texts = pa.array(numbers)

    assert personal_data._has_check_digit(texts, pa.array([True] * len(numbers))).to_pylist() == [
        personal_data._holds_nhs_number(number) for number in numbers
    ]


def test_codes_that_look_like_postcodes_are_references_where_few_do() -> None:
    assert check("outcomes", "outcome_ref", [*(f"K{at:04d}" for at in range(100)), "BD12AB"]) == []
    assert [finding.row for finding in check("outcomes", "outcome_ref", ["K1", "BD1 2AB"])] == [3]


def test_labels_dates_and_amounts_are_not_taken_for_people() -> None:
    assert rules("participants", "ethnicity", "White British", "Not Known") == []
    assert rules("participants", "cohort", "North London", "Year One") == []
    assert rules("participants", "local_authority", "E08000003") == []
    assert rules("participants", "local_authority", "M1 1AE") == ["H-006"]
    assert rules("cover", "project_id", "BD12AB") == []
    assert rules("payments", "payer_id", "9434765919", "QQ123456C") == ["H-004"]
    assert rules("outcomes", "achieved_on", "2024-01-31", "31/01/2024") == []
    assert rules("outcomes", "outcome_ref", "2024-01-31") == []
    assert rules("payments", "amount_gbp", "9434765919", "07700900123.00") == []
    assert rules("outcomes", "quantity", "1", None) == []
    assert rules("outcomes", "status", "jane@example.org") == ["H-002"]


def test_every_row_is_named_and_the_value_never_is() -> None:
    findings = check("participants", "participant_ref", ["A1", "QQ123456C", None, "A2", "QQ123456C"])

    assert [(finding.rule, finding.table, finding.row, finding.column) for finding in findings] == [
        ("H-004", "participants", 3, "participant_ref"),
        ("H-004", "participants", 6, "participant_ref"),
    ]
    assert "QQ123456C" not in repr(findings)


def test_many_rows_are_counted_and_the_first_are_named() -> None:
    findings = check("participants", "participant_ref", [f"a{at}@example.org" for at in range(MAX_PLACES + 5)])

    assert len(findings) == MAX_PLACES
    assert dict(findings[-1].values)["count"] == str(MAX_PLACES + 5)


def test_initials_and_a_birthday_are_a_query_and_all_else_sets_the_delivery_apart() -> None:
    ours = [rule for rule in DEFINITIONS.rules.values() if rule.id.startswith("H-")]

    assert len(ours) >= 11
    for rule in ours:
        assert rule.quarantine == (rule.severity is Severity.REFUSE)
        assert rule.why, rule.id
    assert [rule.id for rule in ours if not rule.quarantine] == ["H-009"]


@pytest.mark.parametrize(
    ("heading", "kind"),
    [
        ("client_name", "a name"),
        ("firstName", "a name"),
        ("Name", "a name"),
        ("E-mail address", "an e-mail address"),
        ("Mobile", "a telephone number"),
        ("NI no.", "a National Insurance number"),
        ("nhs_number", "an NHS number"),
        ("Home address", "a full postcode"),
        ("D.O.B.", "a date of birth"),
        ("UPRN", "a property reference (UPRN)"),
        ("case notes", "case notes"),
        ("project name", None),
        ("outcome", None),
        ("weather", None),
        ("amount", None),
        ("", None),
    ],
)
def test_a_heading_that_smells_of_personal_data_is_known(heading: str, kind: str | None) -> None:
    assert personal_data.kind_of_heading(heading) == kind


def test_texts_beside_the_tables_are_looked_through() -> None:
    assert personal_data.find_in_texts(["fine", "also fine"]) == []
    assert personal_data.find_in_texts([]) == []
    assert personal_data.find_in_texts(["call 07700 900123", "QQ123456C", "QQ123456C"]) == ["a telephone number", "a National Insurance number"]
