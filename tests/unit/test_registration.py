"""Registers become records and tables again; every rule of the register fires."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.adapters.definitions import find_definitions, load_definitions
from pipeline.domain.findings import Finding, Severity
from pipeline.stages import frames
from pipeline.stages.registration import LARGEST, LATER_COLUMNS, REGISTER_TABLES, check_revision, make_records, record_bytes, register_tables

Rows = dict[str, list[dict[str, Any]]]
DEFINITIONS = load_definitions(find_definitions())
PLANNED: Mapping[str, Any] = {
    "project_id": "P1",
    "plan_version": 1,
    "plan_kind": "final_award_offer",
    "agreed_on": date(2023, 1, 9),
    "scenario": "high",
    "quarter": "2023-Q2",
}
VARIED: Mapping[str, Any] = {**PLANNED, "plan_version": 2, "plan_kind": "variation_agreement", "agreed_on": date(2023, 11, 1)}
PRICED: Mapping[str, Any] = {"project_id": "P1", "metric_id": "P1-A", "payer_id": "COUNCIL", "cap_quantity": 90}
REGISTER: Mapping[str, list[dict[str, Any]]] = {
    "funds": [{"fund_id": "F", "name": "A fund", "publisher": "A publisher", "return_due_days": 30, "licence": "OGL-UK-3.0"}],
    "payers": [{"payer_id": "TOP-UP", "name": "The fund", "kind": "fund"}, {"payer_id": "COUNCIL", "name": "Council A", "kind": "local"}],
    "projects": [
        {
            "project_id": number,
            "fund_id": "F",
            "name": f"Project {number}",
            "policy_sector": "health",
            "stage": "implementation",
            "starts_on": date(2023, 4, 1),
            "ends_on": date(2024, 3, 31),
            "claims_until": date(2024, 9, 30),
            "contract_cap_gbp": Decimal("100000.00"),
            "return_kind": "participants",
        }
        for number in ("P2", "P1")
    ],
    "metrics": [
        {"metric_id": "P1-A", "project_id": "P1", "name": "Start", "definition": "Starts.", "unit": "individual", "is_once_per_person": True},
        {
            "metric_id": "P1-B",
            "project_id": "P1",
            "name": "Lasts",
            "definition": "Lasts 13 weeks.",
            "unit": "individual",
            "is_once_per_person": True,
            "after_metric_id": "P1-A",
            "after_days": 91,
        },
        {"metric_id": "P2-A", "project_id": "P2", "name": "Week", "definition": "A week.", "unit": "week", "is_once_per_person": False},
    ],
    "rate_card": [
        {**PRICED, "price_gbp": Decimal("750.50"), "valid_from": date(2023, 4, 1), "valid_to": date(2023, 12, 31)},
        {**PRICED, "price_gbp": Decimal("800.00"), "valid_from": date(2024, 1, 1)},
        {**PRICED, "price_gbp": Decimal("249.50"), "valid_from": date(2023, 4, 1), "payer_id": "TOP-UP", "cap_quantity": None},
    ],
    "plans": [
        {**PLANNED, "measure": "service_users", "expected_quantity": 20},
        {**PLANNED, "measure": "outcomes", "metric_id": "P1-A", "expected_quantity": 12},
        {**PLANNED, "measure": "payments", "payer_id": "COUNCIL", "expected_gbp": Decimal("9006.00")},
        {**VARIED, "measure": "service_users", "expected_quantity": 25},
    ],
    "investments": [{"investment_id": "I1", "project_id": "P1", "investor": "Investor A", "committed_gbp": Decimal("5000.00")}],
}


def typed(rows: Rows) -> Mapping[str, pa.Table]:
    return {name: frames.from_rows(DEFINITIONS.table("register", name), rows[name]) for name in REGISTER_TABLES}


def found(change: Callable[[Rows], object]) -> list[tuple[str, str, int, str]]:
    """Return rule, table, row and column of what is found after a change of the register."""
    rows = copy.deepcopy(dict(REGISTER))
    change(rows)
    findings = make_records(rows, DEFINITIONS)[1]
    for finding in findings:
        assert "{" not in DEFINITIONS.rule(finding.rule).message.format(**dict(finding.values))
    return [(finding.rule, finding.table, finding.row, finding.column) for finding in findings]


def test_a_good_register_has_no_findings_and_one_record_per_project() -> None:
    records, findings = make_records(typed(dict(REGISTER)), DEFINITIONS)
    assert findings == []
    assert records.fund_id == "F"
    assert list(records.projects) == ["P1", "P2"]
    assert records.fund["payers"] == [
        {"payer_id": "COUNCIL", "name": "Council A", "kind": "local"},
        {"payer_id": "TOP-UP", "name": "The fund", "kind": "fund"},
    ]


def test_a_record_holds_every_column_with_days_and_money_as_text_and_null_for_empty() -> None:
    records, _ = make_records(dict(REGISTER), DEFINITIONS)
    record = records.projects["P1"]
    assert record["project"]["starts_on"] == "2023-04-01"
    assert record["project"]["contract_cap_gbp"] == "100000.00"
    assert record["project"]["service_providers"] is None
    assert [price["valid_from"] for price in record["rate_card"]] == ["2023-04-01", "2024-01-01", "2023-04-01"]
    assert record["investments"][0]["drawn_gbp"] is None
    assert all(set(plan) == set(DEFINITIONS.table("register", "plans").columns) for plan in record["plans"])


def test_records_become_the_typed_tables_that_they_were_made_of() -> None:
    tables = typed(dict(REGISTER))
    records, _ = make_records(tables, DEFINITIONS)
    back = register_tables(DEFINITIONS, records.fund, records.projects)
    assert list(back) == list(REGISTER_TABLES)
    for name in REGISTER_TABLES:
        assert back[name].equals(frames.conform(DEFINITIONS.table("register", name), tables[name])), name
    assert make_records(back, DEFINITIONS)[0] == records


def test_a_record_from_before_a_column_came_is_still_a_table_and_one_that_does_not_use_the_column_keeps_its_hash() -> None:
    records, _ = make_records(typed(copy.deepcopy(dict(REGISTER))), DEFINITIONS)
    assert not any(LATER_COLUMNS["metrics"] & set(metric) for metric in records.projects["P1"]["metrics"])
    tables = register_tables(DEFINITIONS, records.fund, records.projects)
    assert tables["metrics"]["valid_to"].null_count == tables["metrics"].num_rows > 0

    rows = copy.deepcopy(dict(REGISTER))
    rows["metrics"][0] |= {"valid_to": date(2024, 3, 1), "cap_per_person": 4}
    changed, findings = make_records(typed(rows), DEFINITIONS)
    assert findings == []
    assert {"valid_to": "2024-03-01", "cap_per_person": 4}.items() <= changed.projects["P1"]["metrics"][0].items()
    assert register_tables(DEFINITIONS, changed.fund, changed.projects)["metrics"]["cap_per_person"].to_pylist().count(4) == 1


def test_a_fund_without_investments_has_an_empty_table_of_them() -> None:
    records, _ = make_records({**REGISTER, "investments": []}, DEFINITIONS)
    back = register_tables(DEFINITIONS, records.fund, records.projects)
    assert back["investments"].num_rows == 0
    assert back["investments"].schema == frames.arrow_schema(DEFINITIONS.table("register", "investments"))


@given(st.data())
def test_the_order_of_rows_does_not_change_a_byte_of_the_records(data: st.DataObject) -> None:
    shuffled = {name: data.draw(st.permutations(rows)) for name, rows in REGISTER.items()}
    first, second = (make_records(rows, DEFINITIONS)[0] for rows in (dict(REGISTER), shuffled))
    assert record_bytes(first.fund) == record_bytes(second.fund)
    assert [record_bytes(record) for record in first.projects.values()] == [record_bytes(record) for record in second.projects.values()]


def test_the_bytes_of_a_record_are_pinned() -> None:
    records, _ = make_records(dict(REGISTER), DEFINITIONS)
    assert record_bytes(records.fund).startswith(b'{"fund":{"fund_id":"F","licence":"OGL-UK-3.0"')
    assert hashlib.sha256(record_bytes(records.projects["P1"])).hexdigest() == "bbe4ba327c6058f8f4ad6330c4c1ed611990c2c4697a19bd09b4707a94b620ca"


FAULTS: Sequence[tuple[Callable[[Rows], object], tuple[str, str, int, str]]] = [
    (lambda r: r["projects"][0].update(name=None), ("R-407", "projects", 2, "name")),
    (lambda r: r["projects"][0].update(policy_sector="wellness"), ("R-408", "projects", 2, "policy_sector")),
    (lambda r: r["investments"][0].update(investment_id="../I1"), ("R-409", "investments", 2, "investment_id")),
    (lambda r: r["projects"][1].update(claims_until=date(9999, 1, 1)), ("R-409", "projects", 3, "claims_until")),
    (lambda r: r["metrics"][0].update(definition="Sta\u200brts."), ("R-412", "metrics", 2, "definition")),
    (lambda r: r["funds"].append({**r["funds"][0], "fund_id": "G"}), ("R-420", "funds", 0, "")),
    (lambda r: r["funds"].clear(), ("R-420", "funds", 0, "")),
    (lambda r: r["payers"].append(r["payers"][0]), ("R-421", "payers", 4, "payer_id")),
    (lambda r: r["plans"].append(dict(r["plans"][0])), ("R-421", "plans", 6, "project_id")),
    (lambda r: r["projects"][0].update(fund_id="G"), ("R-422", "projects", 2, "fund_id")),
    (lambda r: r["metrics"][2].update(project_id="P9"), ("R-422", "metrics", 4, "project_id")),
    (lambda r: r["metrics"][1].update(after_metric_id="P1-Z"), ("R-422", "metrics", 3, "after_metric_id")),
    (lambda r: r["metrics"][1].update(supersedes_metric_id="P1-Z"), ("R-422", "metrics", 3, "supersedes_metric_id")),
    (lambda r: r["rate_card"][0].update(project_id="P9"), ("R-422", "rate_card", 2, "project_id")),
    (lambda r: r["rate_card"][0].update(metric_id="P1-Z"), ("R-422", "rate_card", 2, "metric_id")),
    (lambda r: r["rate_card"][0].update(payer_id="NOBODY"), ("R-422", "rate_card", 2, "payer_id")),
    (lambda r: r["plans"][1].update(metric_id="P1-Z"), ("R-422", "plans", 3, "metric_id")),
    (lambda r: r["plans"][2].update(payer_id="NOBODY"), ("R-422", "plans", 4, "payer_id")),
    (lambda r: r["plans"][0].update(project_id="P9"), ("R-422", "plans", 2, "project_id")),
    (lambda r: r["investments"][0].update(project_id="P9"), ("R-422", "investments", 2, "project_id")),
    (lambda r: r["metrics"][2].update(metric_id="P1-A"), ("R-423", "metrics", 4, "metric_id")),
    (lambda r: r["rate_card"][2].update(metric_id="P2-A"), ("R-424", "rate_card", 4, "metric_id")),
    (lambda r: r["plans"][1].update(metric_id="P2-A"), ("R-424", "plans", 3, "metric_id")),
    (lambda r: r["metrics"][1].update(after_metric_id="P2-A"), ("R-424", "metrics", 3, "after_metric_id")),
    (lambda r: r["projects"][0].update(ends_on=date(2023, 3, 31)), ("R-425", "projects", 2, "ends_on")),
    (lambda r: r["projects"][0].update(claims_until=date(2024, 3, 30)), ("R-425", "projects", 2, "claims_until")),
    (lambda r: r["rate_card"][0].update(valid_to=date(2023, 3, 31)), ("R-425", "rate_card", 2, "valid_to")),
    (lambda r: r["rate_card"][0].update(valid_to=date(2024, 1, 1)), ("R-426", "rate_card", 3, "valid_from")),
    (lambda r: r["rate_card"][0].update(valid_to=None), ("R-426", "rate_card", 3, "valid_from")),
    (lambda r: r["rate_card"][1].update(payer_cap_gbp=Decimal(5)), ("R-433", "rate_card", 3, "payer_cap_gbp")),
    (lambda r: r["rate_card"][1].update(payer_cap_share=Decimal("0.5")), ("R-433", "rate_card", 3, "payer_cap_share")),
    (lambda r: r["metrics"][0].update(valid_from=date(2024, 1, 2), valid_to=date(2024, 1, 1)), ("R-425", "metrics", 2, "valid_to")),
    (lambda r: r["plans"][3].update(plan_version=3), ("R-427", "plans", 5, "plan_version")),
    (lambda r: r["plans"][1].update(agreed_on=date(2023, 1, 10)), ("R-428", "plans", 3, "agreed_on")),
    (lambda r: r["plans"][1].update(agreed_on=None), ("R-428", "plans", 3, "agreed_on")),
    (lambda r: r["plans"][3].update(plan_kind="final_award_offer"), ("R-429", "plans", 5, "plan_kind")),
    (lambda r: r["plans"][0].update(expected_quantity=None), ("R-430", "plans", 2, "expected_quantity")),
    (lambda r: r["plans"][0].update(metric_id="P1-A"), ("R-430", "plans", 2, "metric_id")),
    (lambda r: r["plans"][1].update(metric_id=None), ("R-430", "plans", 3, "metric_id")),
    (lambda r: r["plans"][1].update(payer_id="COUNCIL"), ("R-430", "plans", 3, "payer_id")),
    (lambda r: r["plans"][2].update(expected_gbp=None), ("R-430", "plans", 4, "expected_gbp")),
    (lambda r: r["plans"][2].update(expected_quantity=3), ("R-430", "plans", 4, "expected_quantity")),
    (lambda r: r["metrics"][0].update(after_metric_id="P1-A"), ("R-431", "metrics", 2, "after_metric_id")),
    (lambda r: r["metrics"][0].update(supersedes_metric_id="P1-A"), ("R-431", "metrics", 2, "supersedes_metric_id")),
    (lambda r: r["rate_card"][2].update(price_gbp=Decimal("-0.01")), ("R-432", "rate_card", 4, "price_gbp")),
    (lambda r: r["plans"][0].update(expected_quantity=LARGEST + 1), ("R-432", "plans", 2, "expected_quantity")),
]


@pytest.mark.parametrize(("change", "expected"), FAULTS)
def test_a_fault_is_found_where_it_stands_and_nowhere_else(change: Callable[[Rows], object], expected: tuple[str, str, int, str]) -> None:
    assert expected in found(change)
    assert {rule for rule, *_ in found(change)} <= {expected[0], "R-422", "R-424"}


def test_two_metrics_that_wait_for_each_other_are_both_found() -> None:
    circles = found(lambda r: r["metrics"][0].update(after_metric_id="P1-B"))
    assert circles == [("R-431", "metrics", 2, "after_metric_id"), ("R-431", "metrics", 3, "after_metric_id")]


def test_prices_that_follow_each_other_day_by_day_do_not_overlap() -> None:
    assert found(lambda r: r["rate_card"][0].update(valid_to=date(2023, 12, 31))) == []


def test_payments_may_be_planned_for_all_metrics_and_payers_together() -> None:
    assert found(lambda r: r["plans"][2].update(payer_id=None, metric_id=None)) == []


def test_a_row_is_named_by_where_it_stands_in_its_file() -> None:
    tables = dict(typed(dict(REGISTER)))
    numbered = tables["investments"].add_column(0, "row", pa.array([41]))
    broken = numbered.set_column(2, "project_id", pa.array(["P9"]))
    _, findings = make_records({**tables, "investments": broken}, DEFINITIONS)
    assert [(finding.rule, finding.row) for finding in findings] == [("R-422", 41)]


def test_a_register_with_a_blocking_finding_makes_no_records() -> None:
    records, findings = make_records({**REGISTER, "funds": []}, DEFINITIONS)
    assert findings
    assert (records.fund_id, records.fund, records.projects) == ("", {}, {})


def test_a_query_does_not_keep_a_register_from_being_loaded() -> None:
    rows = copy.deepcopy(dict(REGISTER))
    rows["plans"][3]["plan_kind"] = "final_award_offer"
    records, findings = make_records(rows, DEFINITIONS)
    assert [finding.severity for finding in findings] == [Severity.QUERY]
    assert list(records.projects) == ["P1", "P2"]


def test_no_finding_says_what_a_cell_said() -> None:
    secret = "Zebra-Quince-77"
    rows = copy.deepcopy(dict(REGISTER))
    for name in REGISTER_TABLES:
        for column in DEFINITIONS.table("register", name).fields:
            if column.type == "string":
                rows[name][0][column.name] = f"{secret} {column.name}"
    _, findings = make_records(rows, DEFINITIONS)
    assert findings
    assert secret not in repr(findings)


def revised(change: Callable[[dict[str, Any]], object]) -> list[Finding]:
    before = make_records(dict(REGISTER), DEFINITIONS)[0].projects["P1"]
    after = copy.deepcopy(dict(before))
    change(after)
    findings = list(check_revision(before, after, DEFINITIONS))
    for finding in findings:
        assert "{" not in DEFINITIONS.rule(finding.rule).message.format(**dict(finding.values))
    return findings


REWRITINGS: Sequence[tuple[Callable[[dict[str, Any]], object], str, str, Mapping[str, str]]] = [
    (lambda p: p["metrics"][0].update(unit="family"), "R-441", "unit", {"metric_id": "P1-A", "part": "unit"}),
    (lambda p: p["metrics"][1].update(definition="Lasts 26 weeks."), "R-441", "definition", {"metric_id": "P1-B", "part": "definition"}),
    (lambda p: p["metrics"].pop(1), "R-442", "", {"metric_id": "P1-B"}),
    (lambda p: p["plans"].pop(), "R-443", "plan_version", {"version": "2"}),
    (lambda p: p["plans"][0].update(expected_quantity=21), "R-444", "plan_version", {"version": "1"}),
    (lambda p: p["plans"].pop(0), "R-444", "plan_version", {"version": "1"}),
    (lambda p: p["plans"][3].update(expected_quantity=21), "R-445", "plan_version", {"version": "2"}),
]


@pytest.mark.parametrize(("change", "rule", "column", "values"), REWRITINGS)
def test_a_revision_may_not_rewrite_what_was_agreed(
    change: Callable[[dict[str, Any]], object], rule: str, column: str, values: Mapping[str, str]
) -> None:
    assert [(finding.rule, finding.column, dict(finding.values)) for finding in revised(change)] == [(rule, column, values)]


def test_a_change_of_the_latest_plan_version_is_a_query_only() -> None:
    assert [finding.severity for finding in revised(lambda p: p["plans"][3].update(expected_quantity=21))] == [Severity.QUERY]


def test_a_revision_may_add_metrics_and_plan_versions_and_change_names_and_prices() -> None:
    def change(project: dict[str, Any]) -> None:
        project["metrics"][0]["name"] = "Begins"
        project["metrics"].append({**project["metrics"][0], "metric_id": "P1-C", "supersedes_metric_id": "P1-A"})
        project["plans"].append({**project["plans"][3], "plan_version": 3})
        project["rate_card"][0]["price_gbp"] = "751.00"

    assert revised(change) == []


def test_every_rule_about_what_a_register_says_fires_in_a_test_above() -> None:
    fired = {expected[0] for _, expected in FAULTS} | {rule for _, rule, *_ in REWRITINGS}
    written = {"R-401", "R-402", "R-403", "R-404", "R-405", "R-406", "R-410"}  # these are about files: see the tests of the register's files
    assert fired | written == {rule.id for rule in DEFINITIONS.rules.values() if rule.stage == "register"}
