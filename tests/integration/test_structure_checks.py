"""Both checkers really judge returns against `schemas/submission/`; every rule fires, and no finding says what a cell said."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pytest

from pipeline.adapters import duckdb_checks, frictionless_checks
from pipeline.adapters.definitions import find_definitions, load_definitions
from pipeline.adapters.duckdb_checks import DuckDbChecker
from pipeline.adapters.frictionless_checks import MOST_PLACES, FrictionlessChecker
from pipeline.adapters.reader import cells_schema
from pipeline.domain.findings import Finding
from pipeline.domain.tables import Definitions, Field
from pipeline.errors import RuleError
from pipeline.ports import ReturnTable, StructureChecker

CANARY = "Zebedee Canary"
ROWS: Mapping[str, Mapping[str, str | None]] = {
    "cover": {"project_id": "P1", "quarter": "2024-Q1", "template_version": "1", "is_nil_return": "no", "comment": "All went well.\nTwo left."},
    "participants": {
        "participant_ref": "A1", "started_on": "2024-01-01", "left_on": None, "cohort": "Cohort 1", "age_band": "18_to_24", "gender": "female",
        "ethnicity": "not_known", "local_authority": "E08000003",
    },
    "outcomes": {
        "outcome_ref": "O/1", "participant_ref": "A1", "metric_id": "M1", "achieved_on": "2024-02-29", "quantity": "1", "status": "verified",
        "verified_on": "2024-03-01", "evidence_type": "payslip",
    },
    "payments": {
        "payment_ref": "Y1", "payer_id": "F1", "metric_id": "M1", "basis": "outcome", "period_start": "2024-01-01", "period_end": "2024-03-31",
        "quantity": "3", "amount_gbp": "1234.50", "paid_on": None, "reason": None,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def definitions() -> Definitions:
    return load_definitions(find_definitions())


def make_checker(kind: str, definitions: Definitions) -> StructureChecker:
    return FrictionlessChecker(definitions) if kind == "frictionless" else DuckDbChecker(definitions, small_rows=0)


@pytest.fixture(scope="module", params=["frictionless", "duckdb"])
def checker(request: pytest.FixtureRequest, definitions: Definitions) -> StructureChecker:
    return make_checker(request.param, definitions)


def table(definitions: Definitions, name: str, *rows: Mapping[str, str | None], first: int = 2) -> ReturnTable:
    """Return a table of valid rows with the cells that a test changes; the first row is numbered `first`."""
    schema = cells_schema(definitions.table("submission", name))
    full = [{"row": at, **ROWS[name], **row} for at, row in enumerate(rows, start=first)]
    return ReturnTable(name=name, place=name, cells=pa.Table.from_pylist(full, schema=schema))


def places(findings: Sequence[Finding]) -> list[tuple[str, str, int, str]]:
    return [(finding.rule, finding.table, finding.row, finding.column) for finding in findings]


def test_a_valid_return_has_no_structural_finding(definitions: Definitions, checker: StructureChecker) -> None:
    assert checker.check({name: table(definitions, name, {}) for name in ROWS}) == []


def test_empty_tables_are_structurally_right(definitions: Definitions, checker: StructureChecker) -> None:
    assert checker.check({name: table(definitions, name) for name in ("participants", "outcomes", "payments")}) == []


@pytest.mark.parametrize(
    ("name", "column", "text", "rule"),
    [
        ("outcomes", "metric_id", None, "S-101"),
        ("payments", "payer_id", None, "S-102"),
        *(
            ("outcomes", "quantity", text, "S-103")
            for text in ("1.5", "1_000", "1,000", "\u0661", "\uff11\uff10", "1e3", "ten", "1234567890", "+5", " ")
        ),
        *(
            ("payments", "amount_gbp", text, "S-104")
            for text in (
                "NaN",
                "INF",
                "1e309",
                "1_000",
                "£5",
                "1,000",
                "(5)",
                "12.345",
                "\uff11\uff10",
                "9" * 400,
                "5.",
                ".5",
                "5\n",
                "--5",
                "sNaN",
                "-s_NaN1",
            )
        ),
        *(
            ("outcomes", "achieved_on", text, "S-105")
            for text in ("31/01/2024", "2024-1-31", "24-01-31", "2024-01-31T00:00:00", "\u0662\u0660\u0662\u0664-01-31", "TBC")
        ),
        *(("outcomes", "achieved_on", text, "S-106") for text in ("2024-02-30", "2023-02-29", "2024-13-01", "0000-01-01")),
        *(("outcomes", "achieved_on", text, "S-107") for text in ("0024-01-31", "1999-12-31", "2101-01-01", "9999-12-31")),
        ("outcomes", "quantity", "0", "S-108"),
        ("outcomes", "quantity", "1000001", "S-109"),
        ("outcomes", "status", "Verified", "S-110"),
        ("cover", "template_version", "2", "S-110"),
        *(("participants", "participant_ref", text, "S-111") for text in (CANARY, "\u0410\u0031", "A1\n", "=cmd", "A\u200b1", "x" * 41)),
        ("participants", "local_authority", "E0800000", "S-111"),
        ("cover", "quarter", "2024-Q5", "S-111"),
        ("cover", "comment", "x" * 501, "S-112"),
        *(("cover", "comment", text, "S-114") for text in ("=1+1", "@SUM", "-2", "\uff1d1", "a\x00b", "a\x1bb", "a\u202eb", "a\u200bb")),
    ],
)
def test_every_faulty_cell_breaks_one_rule_at_its_place(
    definitions: Definitions, checker: StructureChecker, name: str, column: str, text: str | None, rule: str
) -> None:
    findings = checker.check({name: table(definitions, name, {column: text}, first=7)})

    assert places(findings) == [(rule, name, 7, column)]


def test_the_message_of_every_finding_is_filled_with_what_is_ours(definitions: Definitions, checker: StructureChecker) -> None:
    faults: dict[str, Sequence[Mapping[str, str | None]]] = {
        "cover": [{"comment": "x" * 501, "quarter": CANARY, "template_version": CANARY}, {"comment": f"={CANARY}"}],
        "participants": [
            {"participant_ref": CANARY, "gender": CANARY, "started_on": "2024-02-31"},
            {"participant_ref": CANARY, "left_on": "1999-01-01"},
        ],
        "outcomes": [{"quantity": "0", "achieved_on": CANARY}, {"quantity": "1000001", "outcome_ref": "O2", "metric_id": None}],
        "payments": [{"amount_gbp": CANARY, "payer_id": None, "quantity": CANARY}],
    }

    findings = checker.check({name: table(definitions, name, *rows) for name, rows in faults.items()})
    messages = {finding.rule: definitions.rule(finding.rule).message.format(**dict(finding.values)) for finding in findings}

    assert set(messages) == {f"S-{number}" for number in range(101, 116)}
    assert CANARY not in repr(findings)
    assert "female, male, another, not_known" in messages["S-110"]
    assert "row 2 as well" in messages["S-113"]
    assert "between 2000-01-01 and 2100-12-31" in messages["S-107"]
    assert "2 rows" in messages["S-115"]


def test_a_reference_that_stands_twice_is_found_at_the_later_row(definitions: Definitions, checker: StructureChecker) -> None:
    rows = [{"outcome_ref": reference} for reference in ("O1", "O2", "O1", "O3", "O1")]

    findings = checker.check({"outcomes": table(definitions, "outcomes", *rows, first=10)})

    assert [(place, dict(finding.values)["other"]) for place, finding in zip(places(findings), findings, strict=True)] == [
        (("S-113", "outcomes", 12, "outcome_ref"), "10"),
        (("S-113", "outcomes", 14, "outcome_ref"), "12"),
    ]


def test_empty_references_are_empty_cells_and_not_repeated_ones(definitions: Definitions, checker: StructureChecker) -> None:
    findings = checker.check({"outcomes": table(definitions, "outcomes", {"outcome_ref": None}, {"outcome_ref": None})})

    assert places(findings) == [("S-101", "outcomes", 2, "outcome_ref"), ("S-101", "outcomes", 3, "outcome_ref")]


def test_an_empty_cover_breaks_only_the_rule_on_its_rows(definitions: Definitions, checker: StructureChecker) -> None:
    assert places(checker.check({"cover": table(definitions, "cover")})) == [("S-115", "cover", 0, "")]


def test_columns_that_are_missing_or_not_ours_are_refused_without_their_headings(definitions: Definitions, checker: StructureChecker) -> None:
    cells = table(definitions, "outcomes", {}).cells.drop_columns(["outcome_ref"]).append_column(CANARY, pa.array(["x"]))

    findings = checker.check({"outcomes": ReturnTable(name="outcomes", place="outcomes", cells=cells)})

    assert places(findings) == [("S-116", "outcomes", 1, "outcome_ref"), ("S-117", "outcomes", 1, "")]
    assert CANARY not in repr(findings)


def test_columns_may_stand_in_any_order_and_optional_ones_may_be_left_out(definitions: Definitions, checker: StructureChecker) -> None:
    cells = table(definitions, "outcomes", {}).cells.drop_columns(["participant_ref", "verified_on"])
    cells = cells.select(["row", *reversed(cells.column_names[1:])])

    assert checker.check({"outcomes": ReturnTable(name="outcomes", place="outcomes", cells=cells)}) == []


def test_one_wrong_code_in_very_many_rows_is_counted_and_its_first_places_named(definitions: Definitions, checker: StructureChecker) -> None:
    rows = [{"outcome_ref": f"O{at}", "status": "maybe", "metric_id": None} for at in range(MOST_PLACES + 5)]

    findings = checker.check({"outcomes": table(definitions, "outcomes", *rows)})

    assert len(findings) == 2 * MOST_PLACES
    assert {(finding.rule, dict(finding.values)["count"]) for finding in findings} == {("S-101", "1005"), ("S-110", "1005")}
    assert [finding.row for finding in findings[:3]] == [2, 3, 4]


def test_more_different_faults_than_frictionless_lists_are_said_so_and_counted_in_full_in_big_tables(
    definitions: Definitions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frictionless_checks, "MOST_ERRORS", 3)
    rows = [{"outcome_ref": f"O{at}", "status": f"maybe{at}"} for at in range(5)]
    given = {"outcomes": table(definitions, "outcomes", *rows)}

    reference, compiled = (make_checker(kind, definitions).check(given) for kind in ("frictionless", "duckdb"))

    assert [finding.rule for finding in reference] == ["S-110"] * 3 + ["S-118"]
    assert dict(reference[-1].values)["limit"] == "3"
    assert [(finding.rule, dict(finding.values)["count"]) for finding in compiled] == [("S-110", "5")] * 5


@pytest.mark.parametrize(("rows", "engine"), [(2, "frictionless"), (3, "duckdb")])
def test_small_tables_are_judged_by_frictionless_and_bigger_ones_by_duckdb(
    definitions: Definitions, monkeypatch: pytest.MonkeyPatch, rows: int, engine: str
) -> None:
    used = []
    monkeypatch.setattr(FrictionlessChecker, "check_column", lambda *_: iter(used.append("frictionless") or ()))
    monkeypatch.setattr(duckdb_checks, "_count_wrong", lambda _, compiled: used.append("duckdb") or dict.fromkeys(compiled, 0))

    DuckDbChecker(definitions, small_rows=2).check({"outcomes": table(definitions, "outcomes", *[{}] * rows)})

    assert set(used) == {engine}


def test_a_fault_of_duckdb_is_our_fault_and_quotes_no_cell(definitions: Definitions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duckdb_checks, "_case", lambda name, _: f"cast({name} as integer)")
    given = {"outcomes": table(definitions, "outcomes", {"outcome_ref": CANARY})}

    with pytest.raises(RuleError, match="table outcomes") as raised:
        make_checker("duckdb", definitions).check(given)

    assert CANARY not in str(raised.value)


def test_a_key_of_several_columns_is_repeated_only_when_all_of_them_are_and_empty_ones_count(definitions: Definitions) -> None:
    keys = [("P1", "2024-Q1"), ("P1", None), ("P1", "2024-Q2"), ("P1", "2024-Q1"), (None, None), ("P1", None), (None, None)]
    given = {"cover": table(definitions, "cover", *({"project_id": project, "quarter": quarter} for project, quarter in keys))}

    reference, compiled = (make_checker(kind, definitions).check(given) for kind in ("frictionless", "duckdb"))

    assert compiled == reference
    assert [(finding.row, dict(finding.values)["other"]) for finding in compiled if finding.rule == "S-113"] == [(5, "2"), (7, "3")]


def test_more_repeated_keys_than_are_listed_are_counted_in_full(definitions: Definitions, checker: StructureChecker) -> None:
    findings = checker.check({"outcomes": table(definitions, "outcomes", *[{}] * (MOST_PLACES + 5))})

    assert [(finding.row, dict(finding.values)) for finding in findings[:2]] == [
        (3, {"other": "2", "count": "1004"}),
        (4, {"other": "3", "count": "1004"}),
    ]
    assert len(findings) == MOST_PLACES


def test_tables_with_gaps_in_their_row_numbers_and_several_chunks_keep_their_places(definitions: Definitions, checker: StructureChecker) -> None:
    first, second = table(definitions, "outcomes", {"quantity": "x"}, first=4), table(definitions, "outcomes", {"quantity": "x"}, first=9)
    cells = pa.concat_tables([first.cells, second.cells])

    findings = checker.check({"outcomes": ReturnTable(name="outcomes", place="outcomes", cells=cells)})

    assert places(findings) == [
        ("S-103", "outcomes", 4, "quantity"), ("S-103", "outcomes", 9, "quantity"), ("S-113", "outcomes", 9, "outcome_ref"),
    ]  # fmt: skip


def changed(definitions: Definitions, **changes: Any) -> Definitions:
    """Return the definitions with the quantity of outcomes declared otherwise."""
    outcomes = definitions.table("submission", "outcomes")
    fields = [dataclasses.replace(column, **changes) if column.name == "quantity" else column for column in outcomes.fields]
    submission = {**definitions.tables["submission"], "outcomes": dataclasses.replace(outcomes, fields=fields)}
    return dataclasses.replace(definitions, tables={**definitions.tables, "submission": submission})


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "nonsense"},
        {"constraints": {"maxLength": 3}},
        {"type": "string", "constraints": {"pattern": "["}},
        {"type": "string", "codelist": "no_such_list"},
        {"type": "string", "constraints": {"minLength": 5}},
        {"type": "boolean"},
    ],
)
@pytest.mark.parametrize("kind", ["frictionless", "duckdb"])
def test_a_broken_schema_of_ours_is_our_fault_and_never_the_data_s(definitions: Definitions, kind: str, changes: dict[str, Any]) -> None:
    with pytest.raises(RuleError) as raised:
        make_checker(kind, changed(definitions, **changes)).check({"outcomes": table(definitions, "outcomes", {"quantity": CANARY[:4]})})

    assert CANARY[:4] not in str(raised.value)


def test_a_table_that_is_not_in_the_schemas_is_our_fault(definitions: Definitions, checker: StructureChecker) -> None:
    with pytest.raises(RuleError, match="submission/people"):
        checker.check({"people": table(definitions, "outcomes", {})})


@pytest.mark.parametrize("error_type", ["source-error", "schema-error"])
def test_an_error_that_frictionless_should_not_make_is_our_fault(definitions: Definitions, monkeypatch: pytest.MonkeyPatch, error_type: str) -> None:
    class Unexpected:
        type = error_type

    monkeypatch.setattr(frictionless_checks, "_errors", lambda *_: iter([Unexpected()]))
    schema, checker = definitions.table("submission", "outcomes"), FrictionlessChecker(definitions)
    cells = table(definitions, "outcomes", {}).cells

    for judge in (checker._check_headings, checker._check_key, lambda schema, cells: checker.check_column(schema, schema.fields[0], cells)):
        with pytest.raises(RuleError, match=error_type):
            list(judge(schema, cells))


def test_every_constraint_of_the_schemas_is_one_that_is_enforced(definitions: Definitions) -> None:
    """Frictionless passes over words of a schema that it does not know: uniqueKeys and categories, for instance."""
    enforced = {"required", "pattern", "enum", "minimum", "maximum", "maxLength"}
    folder = find_definitions() / "schemas" / "submission"
    for name, schema in definitions.tables["submission"].items():
        document = json.loads((folder / f"{name}.json").read_text("utf-8"))
        assert set(document) <= {"name", "title", "description", "grain", "version", "fields", "primaryKey"}
        for column in schema.fields:
            assert set(column.constraints) <= enforced
            assert isinstance(column, Field)


def test_every_structural_rule_says_what_to_do(definitions: Definitions) -> None:
    ours = [rule for rule in definitions.rules.values() if rule.id.startswith("S-")]

    assert [rule.id for rule in ours] == [f"S-{number}" for number in range(101, 119)]
    assert all(rule.stage == "structure" and rule.title and rule.message.endswith(".") and rule.fix.endswith(".") for rule in ours)
