"""The rules of the contract: each fires where it should, and nowhere else."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.adapters.definitions import load_definitions
from pipeline.domain.findings import Finding, Severity
from pipeline.domain.submission import RevisionKey, SubmissionKey
from pipeline.errors import RuleError
from pipeline.ports import ReturnTable
from pipeline.stages import frames
from pipeline.stages.acceptance import type_cells
from pipeline.stages.contract import EARLIER_COLUMNS, ContractContext, check, check_delivery
from pipeline.stages.validation import MAX_PLACES, make_report

DEFINITIONS = load_definitions(Path(__file__).parents[2])
Row = dict[str, Any]

PROJECT = {"project_id": "P1", "fund_id": "F", "starts_on": "2023-02-01", "ends_on": "2024-12-31", "claims_until": None}
PROJECT |= {"contract_cap_gbp": "10000.00", "return_kind": "participants"}
METRICS = [
    {"metric_id": "JOB", "is_once_per_person": True, "after_metric_id": None, "after_days": None},
    {"metric_id": "JOB-13", "is_once_per_person": True, "after_metric_id": "JOB", "after_days": 91},
    {"metric_id": "HOURS", "is_once_per_person": False, "after_metric_id": None, "after_days": None},
]
RATES = [
    {"metric_id": "JOB", "payer_id": "FUND", "price_gbp": "100.00", "cap_quantity": 20, "valid_from": "2023-01-01", "valid_to": "2023-12-31"},
    {"metric_id": "JOB", "payer_id": "FUND", "price_gbp": "110.00", "cap_quantity": 20, "valid_from": "2024-01-01", "valid_to": None},
    {"metric_id": "HOURS", "payer_id": "FUND", "price_gbp": "10.00", "cap_quantity": None, "valid_from": "2023-01-01", "valid_to": None},
]
RECORD = {"project": PROJECT, "metrics": METRICS, "rate_card": RATES, "plans": [], "investments": []}
FUND = {"fund": {"fund_id": "F"}, "payers": [{"payer_id": "FUND"}, {"payer_id": "COUNCIL"}]}

PARTICIPANT = {"participant_ref": "A-1", "started_on": "2024-01-10", "age_band": "18-24", "gender": "female", "ethnicity": "asian"}
PARTICIPANT |= {"local_authority": "E08000003"}
OUTCOME = {"outcome_ref": "O-1", "participant_ref": "A-1", "metric_id": "JOB", "achieved_on": "2024-02-10", "quantity": "1", "status": "claimed"}
OUTCOME |= {"evidence_type": "employer"}
PAYMENT = {"payment_ref": "Y-1", "payer_id": "FUND", "metric_id": "JOB", "basis": "outcome", "period_start": "2024-01-01", "period_end": "2024-03-31"}
PAYMENT |= {"quantity": "2", "amount_gbp": "220.00"}


VERIFIED = [
    {"outcome": f"outcome:{metric}", "metric_id": metric, "achieved_on": date(2024, 5, 1), "quantity": 10_000, "status": "verified"}
    | {"return_quarter": "2024-Q2"}
    for metric in ("JOB", "JOB-13", "HOURS")
]
"""So many outcomes were verified, in a later return, that no test runs out of them by the way."""


def earlier(name: str, rows: Sequence[Row] | None) -> pa.Table:
    schema = frames.arrow_schema(DEFINITIONS.table("facts", name))
    return pa.table({column: pa.array([row.get(column) for row in rows or ()], schema.field(column).type) for column in EARLIER_COLUMNS[name]})


def context(
    *,
    outcomes: Sequence[Row] | None = None,
    payments: Sequence[Row] | None = None,
    starts: Sequence[Row] | None = None,
    replaced: Mapping[str, Sequence[Row]] | None = None,
    **project: Any,
) -> ContractContext:
    return ContractContext(
        key=SubmissionKey("P1", "2024-Q1"),
        received_on=date(2024, 4, 15),
        fund=FUND,
        project=RECORD | {"project": PROJECT | project},
        known_participants=pa.array(["participant:OLD"]),
        earlier_outcomes=earlier("outcomes", [*(outcomes or ()), *VERIFIED]),
        earlier_payments=earlier("payments", payments),
        earlier_starts=earlier("service_starts", starts),
        replaced={name: earlier(name, replaced.get(name)) for name in EARLIER_COLUMNS} if replaced else {},
    )


def typed(name: str, rows: Sequence[Row]) -> pa.Table:
    schema = DEFINITIONS.table("submission", name)
    columns = {column: pa.array([row.get(column) for row in rows], pa.string()) for column in schema.columns}
    return type_cells(schema, pa.table({"row": pa.array(range(2, len(rows) + 2), pa.int64()), **columns}))


def named(kind: str, references: pa.Array) -> pa.Array:
    return pa.array([None if item is None else f"{kind}:{item}" for item in references.to_pylist()], pa.string())


def found(given: ContractContext | None = None, participants: Sequence[Row] | None = None, **tables: Sequence[Row]) -> list[Finding]:
    rows = {"participants": [PARTICIPANT] if participants is None else participants, **tables}
    return check(given or context(), DEFINITIONS, {name: typed(name, item) for name, item in rows.items()}, named)


def places(findings: list[Finding], rule: str) -> list[tuple[str, int, str]]:
    return [(finding.table, finding.row, finding.column) for finding in findings if finding.rule == rule]


def others(findings: list[Finding], *expected: str) -> set[str]:
    return {finding.rule for finding in findings} - set(expected)


def test_a_return_that_keeps_the_contract_has_no_findings() -> None:
    assert found(outcomes=[OUTCOME, OUTCOME | {"outcome_ref": "O-2", "metric_id": "HOURS", "quantity": "9"}], payments=[PAYMENT]) == []


def test_an_empty_return_has_no_findings() -> None:
    assert check(context(), DEFINITIONS, {}, named) == []


@pytest.mark.parametrize("given", [replace(context(), project=None), replace(context(), fund=None)])
def test_contract_rules_need_a_registered_project_and_fund(given: ContractContext) -> None:
    with pytest.raises(RuleError, match="check the delivery first"):
        check(given, DEFINITIONS, {}, named)


def test_an_unknown_metric_is_named_by_place_with_the_nearest_code_of_the_register() -> None:
    findings = found(
        outcomes=[OUTCOME | {"metric_id": "JOBB"}, OUTCOME | {"outcome_ref": "2", "metric_id": "zzz"}], payments=[PAYMENT | {"metric_id": "HOUR"}]
    )
    unknown = [finding for finding in findings if finding.rule == "K-301"]
    assert [(finding.table, finding.row, finding.column, dict(finding.values)["hint"]) for finding in unknown] == [
        ("outcomes", 2, "metric_id", "Is JOB meant?"),
        ("outcomes", 3, "metric_id", "There are: HOURS, JOB, JOB-13."),
        ("payments", 2, "metric_id", "Is HOURS meant?"),
    ]
    assert "zzz" not in repr(findings)


def test_an_unknown_payer_is_named_by_place() -> None:
    findings = found(payments=[PAYMENT | {"payer_id": "COUNCILS", "basis": "activity", "metric_id": None, "quantity": None}])
    assert places(findings, "K-302") == [("payments", 2, "payer_id")]
    assert others(findings, "K-302") == set()


def test_a_register_without_codes_and_one_with_many_give_a_hint_all_the_same() -> None:
    many = [{"payer_id": f"{number:04d}"} for number in range(30)]
    for payers, hint in (([], "There is none."), (many, "There are: " + ", ".join(f"{number:04d}" for number in range(20)) + " and 10 more.")):
        given = replace(context(), fund=FUND | {"payers": payers})
        assert [dict(item.values)["hint"] for item in found(given, payments=[PAYMENT]) if item.rule == "K-302"] == [hint]


def test_an_outcome_before_the_start_is_an_error() -> None:
    outcomes = [OUTCOME | {"achieved_on": "2024-01-09"}, OUTCOME | {"outcome_ref": "2", "metric_id": "HOURS", "achieved_on": "2024-01-10"}]
    findings = found(outcomes=outcomes)
    assert places(findings, "K-303") == [("outcomes", 2, "achieved_on")]
    assert others(findings, "K-303") == set()


def test_the_start_of_a_participant_of_earlier_returns_is_that_of_the_latest() -> None:
    starts = [
        {"participant": "participant:B", "started_on": date(2023, 3, 1), "return_quarter": "2023-Q1"},
        {"participant": "participant:B", "started_on": date(2024, 2, 1), "return_quarter": "2023-Q4"},
        {"participant": "participant:B", "started_on": date(2023, 5, 1), "return_quarter": "2023-Q2"},
    ]
    outcomes = [
        OUTCOME | {"outcome_ref": day, "participant_ref": "B", "metric_id": "HOURS", "achieved_on": day} for day in ("2024-01-31", "2024-02-01")
    ]
    findings = found(context(starts=starts), outcomes=outcomes)
    assert places(findings, "K-303") == [("outcomes", 2, "achieved_on")]
    assert others(findings, "K-303") == set()


def test_this_returns_start_wins_over_an_earlier_one() -> None:
    starts = [{"participant": "participant:A-1", "started_on": date(2024, 3, 1), "return_quarter": "2023-Q4"}]
    findings = found(context(starts=starts), outcomes=[OUTCOME])
    assert others(findings, "K-328") == set(), "that the start has changed is asked, and the outcome is judged by the new one"


def test_dates_after_the_quarter_are_errors() -> None:
    findings = found(
        participants=[PARTICIPANT, PARTICIPANT | {"participant_ref": "A-2", "started_on": "2024-04-01"}],
        outcomes=[OUTCOME | {"achieved_on": "2024-04-01"}, OUTCOME | {"outcome_ref": "2", "metric_id": "HOURS", "achieved_on": "2024-03-31"}],
        payments=[PAYMENT | {"period_end": "2024-04-01"}],
    )
    assert places(findings, "K-304") == [("outcomes", 2, "achieved_on"), ("participants", 3, "started_on"), ("payments", 2, "period_end")]
    assert others(findings, "K-304") == set()
    assert {finding.values for finding in findings} == {(("quarter_end", "2024-03-31"),)}


def test_late_facts_are_noted_and_participants_who_come_again_are_not() -> None:
    findings = found(
        participants=[PARTICIPANT | {"started_on": "2023-05-01"}],
        outcomes=[OUTCOME | {"achieved_on": "2023-12-31"}],
        payments=[PAYMENT | {"period_start": "2023-10-01", "period_end": "2023-12-31", "amount_gbp": "200.00"}],
    )
    assert places(findings, "K-305") == [("outcomes", 2, "achieved_on"), ("payments", 2, "period_end")]
    assert {finding.severity for finding in findings} == {Severity.NOTE}


def test_dates_before_the_contract_are_errors() -> None:
    findings = found(
        participants=[PARTICIPANT | {"started_on": "2023-01-31"}],
        outcomes=[OUTCOME | {"achieved_on": "2023-01-31"}],
        payments=[PAYMENT | {"period_start": "2023-01-01", "period_end": "2023-01-31", "amount_gbp": "200.00"}],
    )
    assert places(findings, "K-306") == [("outcomes", 2, "achieved_on"), ("participants", 2, "started_on"), ("payments", 2, "period_end")]
    assert others(findings, "K-306", "K-305") == set()


@pytest.mark.parametrize(("claims_until", "ends_on"), [("2024-02-09", "2024-01-31"), (None, "2024-02-09")])
def test_dates_after_the_last_claim_are_errors_and_that_is_the_end_of_the_service_unless_said(claims_until: str | None, ends_on: str) -> None:
    findings = found(
        context(claims_until=claims_until, ends_on=ends_on),
        participants=[PARTICIPANT | {"started_on": "2024-02-10"}],
        outcomes=[OUTCOME],
        payments=[PAYMENT, PAYMENT | {"payment_ref": "2", "period_start": "2024-02-10"}],
    )
    assert places(findings, "K-307") == [("outcomes", 2, "achieved_on"), ("participants", 2, "started_on"), ("payments", 3, "period_start")]
    assert others(findings, "K-307") == set()
    assert {finding.values for finding in findings} == {(("claims_until", "2024-02-09"),)}


def test_a_participant_must_be_known_from_this_return_or_another() -> None:
    outcomes = [OUTCOME | {"outcome_ref": ref, "participant_ref": ref} for ref in ("A-1", "OLD", "NEW")]
    findings = found(outcomes=outcomes)
    assert places(findings, "K-308") == [("outcomes", 4, "participant_ref")]
    assert others(findings, "K-308") == set()


def test_an_outcome_needs_a_participant_in_a_return_of_persons() -> None:
    findings = found(outcomes=[OUTCOME | {"participant_ref": None}])
    assert places(findings, "K-309") == [("outcomes", 2, "participant_ref")]
    assert others(findings, "K-309") == set()


def test_a_return_of_counts_refers_to_no_participant() -> None:
    findings = found(context(return_kind="counts"), outcomes=[OUTCOME, OUTCOME | {"outcome_ref": "2", "participant_ref": None, "quantity": "50"}])
    assert places(findings, "K-310") == [("outcomes", 2, "participant_ref"), ("participants", 2, "participant_ref")]
    assert others(findings, "K-310") == set()


def test_an_outcome_of_another_quarter_may_not_come_again() -> None:
    same = {"outcome": "outcome:O-1", "participant": "participant:A-1", "metric_id": "JOB", "achieved_on": date(2024, 2, 10), "status": "claimed"}
    same |= {"quantity": 1, "evidence_type": "employer", "return_quarter": "2024-Q2"}
    for before, rule in ((same, "K-311"), (same | {"quantity": 2}, "K-325"), (same | {"participant": None}, "K-325")):
        findings = found(context(outcomes=[before]), outcomes=[OUTCOME, OUTCOME | {"outcome_ref": "O-2", "metric_id": "HOURS"}])
        assert places(findings, rule) == [("outcomes", 2, "outcome_ref")]
        assert others(findings, rule) == set()
        assert findings[0].values == (("quarter", "2024-Q2"),)


def test_a_metric_that_counts_once_is_not_claimed_twice_in_a_return() -> None:
    rows = [("1", "A-1", "claimed"), ("2", "A-1", "verified"), ("3", "OLD", "claimed"), ("4", "A-1", "rejected")]
    findings = found(outcomes=[OUTCOME | {"outcome_ref": ref, "participant_ref": who, "status": status} for ref, who, status in rows])
    assert places(findings, "K-312") == [("outcomes", 3, "metric_id")]
    assert others(findings, "K-312") == set()


def test_a_rejected_claim_does_not_use_up_a_metric_that_counts_once() -> None:
    assert found(outcomes=[OUTCOME | {"outcome_ref": "1", "status": "rejected"}, OUTCOME]) == []


@pytest.mark.parametrize(
    ("participant", "metric", "status", "is_claimed"),
    [
        ("participant:A-1", "JOB", "claimed", True),
        ("participant:A-1", "JOB", "verified", True),
        ("participant:A-1", "JOB", "rejected", False),
        ("participant:A-1", "JOB-13", "claimed", False),
        ("participant:OLD", "JOB", "claimed", False),
        (None, "JOB", "claimed", False),
        ("participant:A-1", "FORMER", "claimed", False),
    ],
)
def test_a_metric_that_counts_once_is_not_claimed_again_in_another_quarter(
    participant: str | None, metric: str, status: str, is_claimed: bool
) -> None:
    before = {"outcome": "outcome:9", "participant": participant, "metric_id": metric, "achieved_on": date(2023, 6, 1), "status": status}
    findings = found(context(outcomes=[before]), outcomes=[OUTCOME])
    assert places(findings, "K-313") == ([("outcomes", 2, "metric_id")] if is_claimed else [])
    assert others(findings, "K-313") == set()


SUSTAINED = OUTCOME | {"outcome_ref": "O-13", "metric_id": "JOB-13", "achieved_on": "2024-03-31"}


@pytest.mark.parametrize(
    ("day", "status", "is_early"), [("2023-12-31", "claimed", False), ("2024-01-01", "verified", True), ("2023-12-31", "rejected", True)]
)
def test_a_sustained_outcome_follows_the_first_one_after_its_days(day: str, status: str, is_early: bool) -> None:
    first = {"outcome": "outcome:9", "participant": "participant:OLD", "metric_id": "JOB", "achieved_on": date.fromisoformat(day), "status": status}
    findings = found(context(outcomes=[first]), outcomes=[SUSTAINED | {"participant_ref": "OLD"}])
    assert places(findings, "K-314") == ([("outcomes", 2, "achieved_on")] if is_early else [])
    assert others(findings, "K-314") == set()
    assert all(finding.values == (("after_days", "91"), ("after_metric_id", "JOB")) for finding in findings)


def test_a_sustained_outcome_may_follow_one_of_the_same_return_but_not_somebody_elses() -> None:
    participants = [PARTICIPANT | {"participant_ref": ref, "started_on": "2023-05-01"} for ref in ("A-1", "A-2")]
    first = OUTCOME | {"achieved_on": "2023-12-31"}
    findings = found(participants=participants, outcomes=[first, SUSTAINED, SUSTAINED | {"outcome_ref": "2", "participant_ref": "A-2"}])
    assert places(findings, "K-314") == [("outcomes", 4, "achieved_on")]


def test_a_sustained_outcome_that_was_rejected_needs_nothing_before_it() -> None:
    assert found(outcomes=[SUSTAINED | {"status": "rejected"}]) == []


def test_a_metric_that_counts_once_has_quantity_one() -> None:
    findings = found(outcomes=[OUTCOME | {"quantity": "2"}, OUTCOME | {"outcome_ref": "2", "metric_id": "HOURS", "quantity": "2"}])
    assert places(findings, "K-315") == [("outcomes", 2, "quantity")]
    assert others(findings, "K-315") == set()


@pytest.mark.parametrize(
    ("changes", "price"),
    [
        ({"amount_gbp": "220.00"}, None),
        ({"amount_gbp": "220.01"}, ("110.00", "2024-01-01")),
        ({"quantity": None}, None),
        ({"period_start": "2023-10-01", "period_end": "2023-12-31"}, ("100.00", "2023-01-01")),
        ({"period_start": "2023-10-01", "period_end": "2023-12-31", "amount_gbp": "200.00"}, None),
        ({"basis": "correction", "amount_gbp": "1.00", "reason": "underpaid"}, None),
        ({"basis": "activity", "amount_gbp": "5.00"}, None),
    ],
)
def test_an_amount_that_is_not_price_times_quantity_is_an_error(changes: Row, price: tuple[str, str] | None) -> None:
    findings = [finding for finding in found(payments=[PAYMENT | changes]) if finding.rule != "K-305"]
    assert places(findings, "K-316") == ([("payments", 2, "amount_gbp")] if price else [])
    assert [finding.values for finding in findings] == ([(("price_gbp", price[0]), ("valid_from", price[1]))] if price else [])
    assert all(finding.severity == Severity.ERROR for finding in findings)


@pytest.mark.parametrize("changes", [{"payer_id": "COUNCIL"}, {"metric_id": "JOB-13"}])
def test_a_payment_for_what_is_not_on_the_rate_card_is_queried(changes: Row) -> None:
    findings = found(payments=[PAYMENT, PAYMENT | {"payment_ref": "2"} | changes])
    assert places(findings, "K-317") == [("payments", 3, "metric_id")]
    assert others(findings, "K-317") == set()


def test_a_rate_that_has_run_out_is_not_on_the_rate_card() -> None:
    given = replace(context(), project=RECORD | {"rate_card": RATES[:1]})
    assert others(found(given, payments=[PAYMENT])) == {"K-317"}


def test_a_contract_without_a_rate_card_queries_every_payment_for_an_outcome() -> None:
    given = replace(context(), project=RECORD | {"rate_card": []})
    assert places(found(given, payments=[PAYMENT]), "K-317") == [("payments", 2, "metric_id")]


def test_units_over_the_cap_of_a_metric_are_queried_at_the_row_that_passes_it() -> None:
    before = [
        {"payment": "1", "metric_id": "JOB", "payer_id": "FUND", "basis": "outcome", "quantity": 16, "amount_gbp": 1600},
        {"payment": "2", "metric_id": "JOB", "payer_id": "FUND", "basis": "correction", "quantity": 16, "amount_gbp": 0},
        {"payment": "3", "metric_id": "HOURS", "payer_id": "FUND", "basis": "outcome", "quantity": 500, "amount_gbp": 0},
    ]
    rows = [PAYMENT | {"payment_ref": str(number), "paid_on": f"2024-04-0{number + 1}"} for number in range(4)]
    findings = found(context(payments=before), payments=rows)
    assert places(findings, "K-318") == [("payments", 4, "quantity")]
    assert others(findings, "K-318") == set()
    assert findings[0].values == (("cap_quantity", "20"), ("metric_id", "JOB"), ("payer_id", "FUND"), ("total_quantity", "24"))


def test_payments_over_the_cap_of_the_contract_are_queried_at_the_row_that_passes_it() -> None:
    before = [{"payment": "1", "metric_id": None, "payer_id": "FUND", "basis": "activity", "quantity": None, "amount_gbp": 9780}]
    rows = [PAYMENT, PAYMENT | {"payment_ref": "2", "paid_on": "2024-04-02"}]
    findings = found(context(payments=before), payments=rows)
    assert places(findings, "K-319") == [("payments", 3, "amount_gbp")]
    assert findings[0].values == (("contract_cap_gbp", "10000.00"), ("total_gbp", "10220.00"))
    assert others(findings, "K-319") == set()


def test_payments_that_a_correction_brings_back_under_the_cap_are_not_queried() -> None:
    before = [{"payment": "1", "metric_id": None, "payer_id": "FUND", "basis": "activity", "quantity": None, "amount_gbp": 9800}]
    back = PAYMENT | {"payment_ref": "2", "basis": "correction", "quantity": None, "amount_gbp": "-20.00", "reason": "overpaid"}
    assert found(context(payments=before), payments=[PAYMENT, back]) == []


def test_a_contract_without_a_cap_is_never_over_it() -> None:
    assert found(context(contract_cap_gbp=None), payments=[PAYMENT | {"basis": "activity", "amount_gbp": "999999999"}]) == []


def test_a_payment_of_another_quarter_may_not_come_again() -> None:
    same = {"payment": "payment:Y-1", "metric_id": "JOB", "payer_id": "FUND", "basis": "outcome", "quantity": 2, "amount_gbp": 220}
    same |= {"period_start": date(2024, 1, 1), "period_end": date(2024, 3, 31), "return_quarter": "2024-Q2"}
    for before, rule in ((same, "K-320"), (same | {"amount_gbp": 1}, "K-335"), (same | {"metric_id": None}, "K-335")):
        findings = found(context(payments=[before]), payments=[PAYMENT, PAYMENT | {"payment_ref": "Y-2", "paid_on": "2024-04-02"}])
        assert places(findings, rule) == [("payments", 2, "payment_ref")]
        assert others(findings, rule) == set()
        assert findings[0].values == (("quarter", "2024-Q2"),)


def test_many_breaches_are_listed_up_to_a_limit_and_counted_in_full() -> None:
    outcomes = [OUTCOME | {"outcome_ref": str(number), "metric_id": "NONE"} for number in range(MAX_PLACES + 5)]
    findings = [finding for finding in found(outcomes=outcomes) if finding.rule == "K-301"]
    assert [finding.row for finding in findings] == list(range(2, MAX_PLACES + 2))
    assert dict(findings[-1].values)["count"] == str(MAX_PLACES + 5)


def test_every_message_of_the_contract_can_be_filled() -> None:
    days = [date(2023, 1, 1) + timedelta(days=100 * number) for number in range(6)]
    outcomes = [
        OUTCOME | {"outcome_ref": str(day), "achieved_on": str(day), "metric_id": metric, "quantity": "2"}
        for day in days
        for metric in ("JOB", "X", "JOB-13")
    ]
    findings = found(outcomes=outcomes, payments=[PAYMENT | {"payer_id": "X", "quantity": "100"}, PAYMENT | {"payment_ref": "2", "quantity": "999"}])
    key = RevisionKey.parse("P1/2024-Q1/1")
    alone = [make_report(key=key, content="0" * 64, definitions=DEFINITIONS, tables={}, findings=[finding]) for finding in findings]
    assert {rule for report in alone for rule in report.counts} >= {
        "K-301",
        "K-302",
        "K-303",
        "K-304",
        "K-305",
        "K-306",
        "K-312",
        "K-314",
        "K-315",
        "K-316",
        "K-318",
    }


# Deliveries as a whole


def delivery(name: str, *rows: Mapping[str, str | None], columns: tuple[str, ...] = ()) -> ReturnTable:
    names = columns or tuple(DEFINITIONS.table("submission", name).columns)
    cells = {column: pa.array([row.get(column) for row in rows], pa.string()) for column in names}
    return ReturnTable(name=name, place=name, cells=pa.table({"row": pa.array(range(2, len(rows) + 2), pa.int64()), **cells}))


COVER = {"project_id": "P1", "quarter": "2024-Q1", "template_version": "1", "is_nil_return": "no"}


def judged(given: ContractContext | None = None, *tables: ReturnTable) -> list[Finding]:
    return check_delivery(given or context(), DEFINITIONS, {table.name: table for table in tables})


def rules(given: ContractContext | None = None, *tables: ReturnTable) -> list[str]:
    return [finding.rule for finding in judged(given, *(tables or (delivery("cover", COVER), delivery("outcomes", OUTCOME))))]


def of(project: str, quarter: str) -> ContractContext:
    return replace(context(), key=SubmissionKey(project, quarter))


def test_a_delivery_of_a_registered_project_and_quarter_has_no_findings() -> None:
    assert rules() == []


def test_a_delivery_that_nobody_can_place_is_refused_with_one_finding() -> None:
    assert rules(replace(of("unidentified", "0123456789abcdef"), project=None, fund=None)) == ["D-001"]


def test_a_delivery_of_an_unknown_project_is_refused() -> None:
    assert rules(replace(context(), project=None, fund=None)) == ["D-002"]


def test_a_project_of_no_fund_is_refused() -> None:
    assert rules(replace(context(), fund=None)) == ["D-003"]


@pytest.mark.parametrize("quarter", ["0123456789abcdef", "0000-Q1", "9999-Q4"])
def test_a_quarter_that_is_none_is_refused(quarter: str) -> None:
    assert rules(of("P1", quarter), delivery("outcomes", OUTCOME)) == ["D-004", "D-014"]
    assert rules(replace(of("P1", quarter), project=None), delivery("outcomes", OUTCOME)) == ["D-002", "D-004", "D-014"]


@pytest.mark.parametrize(
    ("quarter", "rule", "values"),
    [
        ("2022-Q4", "D-005", (("starts_on", "2023-02-01"),)),
        ("2023-Q1", None, ()),
        ("2024-Q2", None, ()),
        ("2024-Q3", "D-007", (("quarter_start", "2024-07-01"), ("received_on", "2024-04-15"))),
    ],
)
def test_a_quarter_before_the_contract_or_still_in_the_future_is_refused(quarter: str, rule: str | None, values: tuple[tuple[str, str], ...]) -> None:
    findings = judged(of("P1", quarter), delivery("cover", COVER | {"quarter": quarter}), delivery("outcomes", OUTCOME))
    assert [(finding.rule, finding.severity, finding.values) for finding in findings] == ([(rule, Severity.REFUSE, values)] if rule else [])


@pytest.mark.parametrize(("claims_until", "expected"), [("2023-12-31", ["D-006"]), ("2024-01-01", [])])
def test_a_quarter_after_the_last_claim_is_refused(claims_until: str, expected: list[str]) -> None:
    assert rules(context(claims_until=claims_until)) == expected


def test_several_tables_need_a_cover() -> None:
    assert rules(None, delivery("outcomes", OUTCOME), delivery("payments", PAYMENT)) == ["D-008"]


def test_one_table_alone_is_noted() -> None:
    assert rules(None, delivery("outcomes", OUTCOME)) == ["D-014"]


@pytest.mark.parametrize("rows", [0, 2])
def test_a_cover_has_one_row(rows: int) -> None:
    (finding,) = judged(None, delivery("cover", *[COVER] * rows), delivery("outcomes", OUTCOME))
    assert (finding.rule, finding.table, finding.values) == ("D-009", "cover", (("rows", str(rows)),))


@pytest.mark.parametrize(("column", "cell", "rule", "expected"), [("project_id", "P2", "D-010", "P1"), ("quarter", "2024-Q2", "D-011", "2024-Q1")])
def test_a_cover_that_names_another_project_or_quarter_is_refused_without_saying_which(column: str, cell: str, rule: str, expected: str) -> None:
    (finding,) = judged(None, delivery("cover", COVER | {column: cell}), delivery("outcomes", OUTCOME))
    assert (finding.rule, finding.severity, finding.row, finding.column) == (rule, Severity.REFUSE, 2, column)
    assert finding.values == ((column, expected),)


def test_nothing_delivered_needs_a_declaration() -> None:
    assert rules(None, delivery("cover", COVER), delivery("outcomes")) == ["D-012"]
    assert rules(None, delivery("outcomes")) == ["D-012", "D-014"]
    assert rules(None, delivery("cover", COVER | {"is_nil_return": "yes"}), delivery("outcomes")) == []


def test_a_nil_return_has_no_rows() -> None:
    (finding,) = judged(
        None, delivery("cover", COVER | {"is_nil_return": "yes"}), delivery("outcomes", OUTCOME, OUTCOME), delivery("payments", PAYMENT)
    )
    assert (finding.rule, finding.row, finding.column, finding.values) == ("D-013", 2, "is_nil_return", (("rows", "3"),))


def test_empty_missing_and_doubled_cells_of_a_cover_are_left_to_the_structure_check() -> None:
    empty = delivery("cover", dict.fromkeys(COVER))
    missing = delivery("cover", COVER, columns=("template_version",))
    doubled = ReturnTable(
        name="cover", place="cover", cells=pa.Table.from_arrays([pa.array([2]), pa.array(["X"]), pa.array(["X"])], ["row", "quarter", "quarter"])
    )
    for cover in (empty, missing, doubled):
        assert rules(None, cover, delivery("outcomes")) == []


def test_a_file_that_could_not_be_read_is_judged_by_its_project_and_quarter_only() -> None:
    assert judged(of("P1", "2022-Q4")) == [DEFINITIONS.rule("D-005").found(starts_on="2023-02-01")]
    assert judged() == []
