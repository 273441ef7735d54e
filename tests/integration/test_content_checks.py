"""Great Expectations really runs the suites of `expectations/`; every expectation fires, a broken one is our fault, and no cell value comes out."""

from __future__ import annotations

import dataclasses
import logging
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from pipeline.adapters.definitions import find_definitions, load_definitions
from pipeline.adapters.expectation_checks import MOST_PLACES, ExpectationChecker
from pipeline.domain.findings import Finding, Severity
from pipeline.domain.tables import Definitions, TableSchema
from pipeline.errors import RuleError
from pipeline.stages.frames import arrow_type

CANARY = "Zebedee-Canary"
DAY = date(2024, 3, 31)
SUITES = load_definitions(find_definitions()).suites

PARTICIPANT = {
    "participant_ref": "A1", "started_on": date(2024, 1, 1), "left_on": None, "cohort": None, "age_band": "18_to_24", "gender": "female",
    "ethnicity": "white", "local_authority": "E08000003",
}  # fmt: skip
OUTCOME = {
    "outcome_ref": "O1", "participant_ref": "A1", "metric_id": "M1", "achieved_on": date(2024, 2, 1), "quantity": 1, "status": "verified",
    "verified_on": date(2024, 2, 1), "evidence_type": "payslip",
}  # fmt: skip
PAYMENT = {
    "payment_ref": "Y1", "payer_id": "F1", "metric_id": "M1", "basis": "outcome", "period_start": date(2024, 1, 1), "period_end": DAY,
    "quantity": 3, "amount_gbp": Decimal("1234.50"), "paid_on": None, "reason": None,
}  # fmt: skip
OF_FUND = {"fund_id": "F", "project_id": "P1"}
PLAN = {"scenario": "high", "plan_version": 2}
FIGURES = (
    "users_count",
    "users_share_of_plan",
    "outcomes_quantity",
    "outcomes_share_of_plan",
    "paid_gbp",
    "paid_share_of_plan",
    "cost_per_outcome_gbp",
)
VALID: Mapping[str, Mapping[str, Any]] = {
    "submission_participants": PARTICIPANT,
    "submission_outcomes": OUTCOME,
    "submission_payments": PAYMENT,
    "published_projects": {
        **OF_FUND, "project_name": "Home", "policy_sector": "homelessness", "stage": "implementation", "service_providers": "A; B",
        "commissioners": None, "investors": None, "starts_on": date(2020, 1, 1), "ends_on": DAY, "contract_cap_gbp": Decimal(5),
        "capital_raised_gbp": None,
    },
    "published_outcome_metrics": {
        **OF_FUND, "metric_id": "M1", "plan_version": 1, "metric_name": "Tenancy", "definition": "Kept", "unit": "individual",
        "supersedes_metric_id": None, "plan_kind": "final_award_offer", "agreed_on": DAY, "price_per_unit_gbp": Decimal("100.00"),
        "cap_quantity": None, "target_high_quantity": 10, "target_medium_quantity": 8, "target_low_quantity": 0,
    },
    "published_outcomes_by_quarter": {
        **OF_FUND, "metric_id": "M1", "quarter": "2024-Q1", "unit": "individual", "achieved_quantity": 6, "achieved_quantity_status": "published",
        "cumulative_quantity": 9, "cumulative_quantity_status": "published", **PLAN, "planned_quantity": 5, "planned_cumulative_quantity": 10,
        "share_of_plan": Decimal("0.9000"), "share_of_plan_status": "published", "as_of": DAY,
    },
    "published_payments_by_quarter": {
        **OF_FUND, "payer_id": "F1", "basis": "correction", "quarter": "2024-Q1", "payer_kind": "local", "paid_gbp": Decimal("-5.00"),
        "paid_gbp_status": "published", **PLAN, "planned_gbp": None, "as_of": DAY,
    },
    "published_service_users_by_quarter": {
        **OF_FUND, "quarter": "2024-Q1", "characteristic": "local_authority", "category": "E08000003", "starts_count": None,
        "starts_count_status": "c", "as_of": DAY,
    },
    "published_performance": {
        "fund_id": "F", "level": "project", "policy_sector": "homelessness", "project_id": "P1", "aggregation": "pooled", "as_of": DAY,
        "scenario": "high", "plan_version": None, "projects_count": 1, "users_planned_count": 5, "outcomes_planned_quantity": 5,
        "planned_gbp": Decimal(5),
        **dict.fromkeys(FIGURES, 1), **dict.fromkeys((f"{name}_status" for name in FIGURES), "published"),
        "cost_per_person_gbp": None, "cost_per_person_gbp_status": "z",
        "invested_gbp": Decimal(5), "returned_gbp": Decimal(6), "money_multiple": Decimal("1.2"),
    },
    "published_completeness": {
        **OF_FUND, "quarter": "2024-Q1", "due_on": DAY, "is_expected": True, "received_on": DAY, "days_late": 0, "revisions_count": 1,
        "state": "accepted", "revision": 1, "is_in_release": True, "as_of": DAY,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def definitions() -> Definitions:
    return load_definitions(find_definitions())


@pytest.fixture(scope="module")
def checker(definitions: Definitions) -> ExpectationChecker:
    return ExpectationChecker(definitions)


def schema_of(definitions: Definitions, suite: str) -> TableSchema:
    group, _, name = suite.partition("_")
    return definitions.table("published" if group == "published" else "submission", name)


def key_of_row(schema: TableSchema) -> str:
    """Return the column of the key that tells the rows of a test apart."""
    return "project_id" if "project_id" in schema.primary_key else schema.primary_key[0]


def table(definitions: Definitions, suite: str, *changes: Mapping[str, Any]) -> pa.Table:
    """Return a typed table of valid rows, each with a key of its own, with the cells that a test changes."""
    schema = schema_of(definitions, suite)
    key = key_of_row(schema)
    rows = [{**VALID[suite], key: f"{VALID[suite][key]}-{at}", **change} for at, change in enumerate(changes)]
    return pa.Table.from_pylist(rows, schema=pa.schema([(column.name, arrow_type(column)) for column in schema.fields]))


def places(findings: Sequence[Finding]) -> list[tuple[str, str, int, str]]:
    return [(finding.rule, finding.table, finding.row, finding.column) for finding in findings]


@pytest.mark.parametrize("suite", sorted(SUITES))
def test_a_right_table_meets_its_suite_and_so_does_an_empty_one(definitions: Definitions, checker: ExpectationChecker, suite: str) -> None:
    assert checker.check(suite, table(definitions, suite, {}, {}, {})) == []
    assert checker.check(suite, table(definitions, suite)) == []


@pytest.mark.parametrize(
    ("suite", "change", "rule", "column"),
    [
        ("submission_payments", {"period_start": date(2009, 12, 31)}, "C-201", "period_start"),
        ("submission_participants", {"left_on": date(2023, 12, 31)}, "C-202", "left_on"),
        ("submission_outcomes", {"verified_on": None}, "C-211", "verified_on"),
        ("submission_outcomes", {"verified_on": None, "status": "rejected"}, "C-211", "verified_on"),
        ("submission_outcomes", {"verified_on": None, "participant_ref": None}, "C-214", "verified_on"),
        ("submission_outcomes", {"status": "claimed"}, "C-212", "verified_on"),
        ("submission_outcomes", {"verified_on": date(2024, 1, 31)}, "C-213", "verified_on"),
        ("submission_payments", {"period_end": date(2023, 12, 31)}, "C-221", "period_end"),
        ("submission_payments", {"basis": "correction"}, "C-222", "reason"),
        ("submission_payments", {"reason": "overpaid"}, "C-223", "reason"),
        ("submission_payments", {"basis": "activity", "quantity": None}, "C-224", "metric_id"),
        ("submission_payments", {"metric_id": None, "quantity": None}, "C-225", "metric_id"),
        ("submission_payments", {"quantity": None}, "C-226", "quantity"),
        ("submission_payments", {"basis": "activity", "metric_id": None}, "C-227", "quantity"),
        ("submission_payments", {"amount_gbp": Decimal("-0.01")}, "C-228", "amount_gbp"),
        ("submission_payments", {"amount_gbp": Decimal(0), "quantity": 0}, "C-229", "amount_gbp"),
        ("submission_payments", {"paid_on": date(2023, 12, 31)}, "C-230", "paid_on"),
    ],
)
def test_each_rule_on_content_fires_where_the_person_sees_it(
    definitions: Definitions, checker: ExpectationChecker, suite: str, change: Mapping[str, Any], rule: str, column: str
) -> None:
    findings = checker.check(suite, table(definitions, suite, {}, change, {}), rows=[2, 7, 9])

    assert places(findings) == [(rule, suite.partition("_")[2], 7, column)]
    assert findings[0].severity is {"C-214": Severity.NOTE, "C-225": Severity.QUERY, "C-229": Severity.QUERY, "C-230": Severity.QUERY}.get(
        rule, Severity.ERROR
    )
    assert dict(findings[0].values) == {"count": "1"}


@pytest.mark.parametrize(
    "change",
    [
        {"basis": "correction", "reason": "overpaid", "amount_gbp": Decimal(-5)},
        {"basis": "correction", "reason": "underpaid", "metric_id": None, "quantity": None},
        {"basis": "activity", "metric_id": None, "quantity": None},
        {"paid_on": date(2024, 1, 1)},
    ],
)
def test_corrections_and_payments_for_activity_have_their_own_form(
    definitions: Definitions, checker: ExpectationChecker, change: Mapping[str, Any]
) -> None:
    assert checker.check("submission_payments", table(definitions, "submission_payments", change)) == []


def sample(schema: TableSchema, column: str) -> Any:
    """Return a value that a column may hold."""
    samples = {"string": "x", "integer": 7, "number": Decimal(7), "boolean": True, "date": DAY}
    return samples[schema.field(column).type]


def satisfying(schema: TableSchema, condition: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the cells of a row that a condition of an expectation speaks of."""
    if condition is None:
        return {}
    if condition["type"] == "and":
        return {column: cell for part in condition["conditions"] for column, cell in satisfying(schema, part).items()}
    column = condition["column"]["name"]
    if condition["type"] == "nullity":
        return {column: None if condition["is_null"] else sample(schema, column)}
    wanted = condition["parameter"]
    return {column: {"==": lambda: wanted, "IN": lambda: wanted[0], "!=": lambda: sample(schema, column)}[condition["operator"]]()}


def violating(schema: TableSchema, expectation: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cells of a row that does not meet an expectation."""
    words = expectation["kwargs"]
    column, kind = words.get("column"), expectation["type"].removeprefix("expect_")
    cells = satisfying(schema, words.get("row_condition"))
    if kind == "column_values_to_not_be_null":
        return {**cells, column: None}
    if kind == "column_values_to_be_null":
        return {**cells, column: sample(schema, column)}
    if kind == "column_values_to_be_between":
        return {**cells, column: date(2009, 12, 31) if schema.field(column).type == "date" else words["min_value"] - 1}
    if kind == "column_values_to_not_be_in_set":
        return {**cells, column: words["value_set"][0]}
    if kind in {"column_values_to_be_in_set", "column_values_to_match_regex"}:
        return {**cells, column: CANARY if schema.field(column).type == "string" else 99}
    if kind == "column_pair_values_a_to_be_greater_than_b":
        later = sample(schema, words["column_B"])
        return {words["column_B"]: later, words["column_A"]: later - (timedelta(1) if isinstance(later, date) else 1)}
    if kind == "column_unique_value_count_to_be_between":
        return {column: date(2020, 1, 1) if schema.field(column).type == "date" else "another"}
    assert kind in {"compound_columns_to_be_unique", "column_values_to_be_unique"}
    return {key_of_row(schema): "the same"}


@pytest.mark.parametrize("suite", sorted(SUITES))
def test_every_expectation_of_every_suite_fires_and_says_nothing_of_the_cells(
    definitions: Definitions, checker: ExpectationChecker, suite: str
) -> None:
    schema = schema_of(definitions, suite)
    expectations = SUITES[suite]["expectations"]
    faulty = [violating(schema, expectation) for expectation in expectations]
    repeated = {key_of_row(schema): "the same"}

    findings = checker.check(suite, table(definitions, suite, *faulty, repeated))

    found = {(finding.rule, finding.row, finding.column) for finding in findings}
    for row, expectation in enumerate(expectations, start=2):
        words = expectation["kwargs"]
        column = words.get("column") or words.get("column_A") or words["column_list"][0]
        is_of_table = expectation["type"] == "expect_column_unique_value_count_to_be_between"
        assert (expectation["meta"]["rule"], 0 if is_of_table else row, column) in found
    assert CANARY not in repr(findings)
    assert {finding.table for finding in findings} == {suite.partition("_")[2]}


@pytest.mark.parametrize("suite", sorted(name for name in SUITES if name.startswith("published_")))
def test_the_suite_of_a_published_table_says_all_that_its_schema_says_and_refuses(definitions: Definitions, suite: str) -> None:
    schema = schema_of(definitions, suite)
    said = {(entry["meta"]["rule"], entry["kwargs"].get("column", "")) for entry in SUITES[suite]["expectations"]}

    assert {("P-601", column.name) for column in schema.fields if column.is_required} <= said
    assert {("P-604", column.name) for column in schema.fields if "enum" in column.constraints and not column.name.endswith("_status")} <= said
    assert {("P-605", column.name) for column in schema.fields if column.name == "quarter"} <= said
    for figure in [name.removesuffix("_status") for name in schema.columns if name.endswith("_status")]:
        assert {("P-603", f"{figure}_status"), ("P-607", figure), ("P-608", figure)} <= said
    keys = [entry for entry in SUITES[suite]["expectations"] if entry["meta"]["rule"] == "P-602"]
    assert [entry["kwargs"].get("column_list") or [entry["kwargs"]["column"]] for entry in keys] == [list(schema.primary_key)]
    assert all(definitions.rule(rule).severity is Severity.REFUSE for rule, _ in said)


def test_every_published_table_and_every_submitted_table_with_rows_has_a_suite(definitions: Definitions) -> None:
    published = {f"published_{name}" for name in definitions.tables["published"]}
    submitted = {f"submission_{name}" for name in definitions.tables["submission"] if name != "cover"}

    assert set(definitions.suites) == published | submitted
    assert all(suite["name"] == name for name, suite in definitions.suites.items())


def test_the_code_lists_that_a_suite_repeats_are_the_code_lists(definitions: Definitions) -> None:
    lists = {frozenset(codes) for codes in definitions.codelists.values()}
    enums = {frozenset(column.constraints.get("enum", ())) for schema in definitions.tables["published"].values() for column in schema.fields}
    for suite in definitions.suites.values():
        for entry in suite["expectations"]:
            if entry["meta"]["rule"] in {"P-603", "P-604"}:
                codes = frozenset(entry["kwargs"]["value_set"])
                assert codes in enums | lists or codes - {"all"} in lists


def test_every_rule_that_a_suite_names_is_used_and_says_what_to_do(definitions: Definitions) -> None:
    named = {entry["meta"]["rule"] for suite in definitions.suites.values() for entry in suite["expectations"]}
    ours = {rule.id: rule for rule in definitions.rules.values() if rule.id.startswith(("C-", "P-"))}

    assert named == set(ours)
    assert all(rule.title and rule.message.endswith(".") and rule.fix.endswith(".") and "{" not in rule.message for rule in ours.values())


def test_very_many_places_are_counted_and_the_first_are_named(definitions: Definitions, checker: ExpectationChecker) -> None:
    faulty = table(definitions, "submission_outcomes", *([{"verified_on": None}] * (MOST_PLACES + 5)))

    findings = checker.check("submission_outcomes", faulty)

    assert [finding.row for finding in findings] == list(range(2, MOST_PLACES + 2))
    assert {dict(finding.values)["count"] for finding in findings} == {str(MOST_PLACES + 5)}


def with_expectation(definitions: Definitions, **expectation: Any) -> Definitions:
    return dataclasses.replace(definitions, suites={"submission_outcomes": {"name": "submission_outcomes", "expectations": [expectation]}})


RULE = {"rule": "C-211"}
STATUS_IS_NULL = {"type": "expect_column_values_to_be_null", "kwargs": {"column": "status"}}


@pytest.mark.parametrize(
    "expectation",
    [
        {"type": "expect_column_values_to_be_null", "kwargs": {"column": "no_such_column"}, "meta": RULE},
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "metric_id", "min_value": 3}, "meta": RULE},
        {"type": "expect_column_values_to_match_regex", "kwargs": {"column": "metric_id", "regex": "["}, "meta": RULE},
        {"type": "expect_nonsense", "kwargs": {"column": "status"}, "meta": RULE},
        {"type": "expect_column_values_to_be_null", "kwargs": {"columns": "status"}, "meta": RULE},
        {
            "type": "expect_column_values_to_be_null",
            "kwargs": {
                "column": "status",
                "row_condition": {"type": "comparison", "column": {"name": "metric_id"}, "operator": ">", "parameter": 5},
            },
            "meta": RULE,
        },
        {"type": "expect_table_columns_to_match_set", "kwargs": {"column_set": 5}, "meta": RULE},
        {**STATUS_IS_NULL, "meta": {"rule": "C-999"}},
        {**STATUS_IS_NULL, "meta": {}},
        STATUS_IS_NULL,
    ],
)
def test_an_expectation_that_cannot_be_evaluated_is_our_fault_and_quotes_nothing(
    definitions: Definitions, expectation: Mapping[str, Any], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = with_expectation(definitions, **expectation)
    rows = table(definitions, "submission_outcomes", {"metric_id": CANARY, "status": CANARY})

    with caplog.at_level(logging.DEBUG), pytest.raises(RuleError) as raised:
        ExpectationChecker(broken).check("submission_outcomes", rows)

    assert CANARY not in str(raised.value)
    assert raised.value.__cause__ is None
    assert CANARY not in caplog.text + "".join(capfd.readouterr())


def test_a_suite_that_is_not_there_or_expects_nothing_is_our_fault(definitions: Definitions, checker: ExpectationChecker) -> None:
    empty = dataclasses.replace(definitions, suites={"submission_outcomes": {"name": "submission_outcomes", "expectations": []}})
    rows = table(definitions, "submission_outcomes", {})

    with pytest.raises(RuleError, match="no expectation suite submission_people"):
        checker.check("submission_people", rows)
    with pytest.raises(RuleError, match="expects nothing"):
        ExpectationChecker(empty).check("submission_outcomes", rows)


def test_checking_prints_and_logs_no_cell(
    definitions: Definitions, checker: ExpectationChecker, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG):
        findings = checker.check("submission_outcomes", table(definitions, "submission_outcomes", {"metric_id": CANARY, "verified_on": None}))

    assert len(findings) == 1
    assert CANARY not in repr(findings) + caplog.text + "".join(capfd.readouterr())


def test_the_import_of_great_expectations_leaves_out_what_no_suite_uses_and_spares_nobody_else_anything() -> None:
    code = """
import gc, sys, threading
from pipeline.adapters.expectation_checks import _LeanImports, import_expectations
import_expectations()
print("sqlalchemy" in sys.modules, "scipy.stats._stats_py" in sys.modules)
print(any(isinstance(finder, _LeanImports) for finder in sys.meta_path), gc.isenabled())
import scipy.stats, sqlalchemy
print(round(scipy.stats.norm.cdf(0), 2), import_expectations().__name__)
sys.meta_path.insert(0, _LeanImports())
del sys.modules["sqlalchemy"]
def other(): print(bool(__import__("importlib").util.find_spec("sqlalchemy")))
thread = threading.Thread(target=other); thread.start(); thread.join()
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=find_definitions(), capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["False", "False", "False", "True", "0.5", "great_expectations", "True"]
