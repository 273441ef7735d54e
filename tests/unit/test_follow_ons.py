"""One mistake gives one finding, and never makes a return that failed pass."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

from pipeline.adapters.definitions import find_definitions, load_definitions
from pipeline.domain.findings import Finding, Severity, is_blocking
from pipeline.ports import ReturnTable
from pipeline.stages.follow_ons import CAUSES, OF_DELIVERY, WRONG_STARTS, without_follow_ons

DEFINITIONS = load_definitions(find_definitions())


def at(rule: str, table: str = "payments", row: int = 2, column: str = "metric_id", **values: str) -> Finding:
    return DEFINITIONS.rule(rule).found(table, row, column, **values)


def left(*findings: Finding, tables: dict[str, ReturnTable] | None = None) -> list[str]:
    return [finding.rule for finding in without_follow_ons(findings, DEFINITIONS, tables or {})]


def people(*references: str | None, name: str = "participants") -> ReturnTable:
    rows = pa.array(range(2, 2 + len(references)), pa.int64())
    return ReturnTable(name, name, pa.table({"row": rows, "participant_ref": pa.array(references, pa.string())}))


def test_every_rule_that_is_named_exists_and_none_follows_from_itself() -> None:
    for cause, consequences in CAUSES.items():
        followers = consequences.in_cell | consequences.in_row
        assert {cause, *followers} <= set(DEFINITIONS.rules)
        assert cause not in followers
        assert all(cause not in CAUSES[rule].in_row | CAUSES[rule].in_cell for rule in followers & set(CAUSES))
    assert {*OF_DELIVERY, *WRONG_STARTS} <= set(DEFINITIONS.rules)


@pytest.mark.parametrize("code", ["K-301", "K-302"])
def test_an_unknown_metric_or_payer_gives_no_findings_about_prices_and_caps(code: str) -> None:
    assert left(at(code), at("K-317"), at("K-318", column="quantity"), at("K-316", column="amount_gbp")) == [code]


def test_an_unknown_metric_and_an_unknown_payer_are_two_mistakes() -> None:
    assert left(at("K-301"), at("K-302", column="payer_id")) == ["K-301", "K-302"]


def test_what_another_column_or_stage_says_stays() -> None:
    assert left(at("K-301"), at("K-320", column="payment_ref"), at("C-226", column="quantity")) == ["K-301", "K-320", "C-226"]


def test_another_row_or_table_is_another_mistake() -> None:
    assert left(at("K-301"), at("K-317", row=3), at("K-316", table="outcomes")) == ["K-301", "K-317", "K-316"]


def test_a_day_in_the_wrong_year_gives_one_finding() -> None:
    day = {"table": "outcomes", "column": "achieved_on"}
    rules = ("C-201", "K-303", "K-305", "K-306", "K-314")
    assert left(*(at(rule, **day) for rule in rules), at("C-213", "outcomes", column="verified_on")) == ["C-201"]  # type: ignore[arg-type]


def test_a_day_far_ahead_is_after_the_quarter_and_nothing_else() -> None:
    day = {"table": "outcomes", "column": "achieved_on"}
    rules = [at(rule, **day) for rule in ("K-304", "K-307", "K-321")]  # type: ignore[arg-type]
    assert left(*rules, at("K-322", "outcomes"), at("K-321", "outcomes", column="verified_on")) == ["K-304", "K-321"]


def test_a_metric_that_is_not_in_force_is_another_mistake_than_an_unknown_payer() -> None:
    assert left(at("K-302", column="payer_id"), at("K-322"), at("K-317")) == ["K-302", "K-322"]


def test_a_claim_that_stands_twice_is_not_also_alike() -> None:
    assert left(*(at(rule, "outcomes") for rule in ("K-312", "K-326", "K-327"))) == ["K-312"]


def test_two_wrong_days_of_one_row_are_two_mistakes() -> None:
    assert left(at("K-304", column="period_end"), at("K-307", column="period_start")) == ["K-304", "K-307"]
    assert left(at("K-304", column="period_end"), at("K-307", column="period_end")) == ["K-304"]


def test_a_wrong_start_explains_the_outcomes_before_it_and_no_others() -> None:
    findings = [at("K-304", "participants", 3, "started_on"), *(at("K-303", "outcomes", row, "achieved_on") for row in (2, 3, 4))]
    tables = {"participants": people("A", "B"), "outcomes": people("B", "A", "B", name="outcomes")}
    kept = without_follow_ons(findings, DEFINITIONS, tables)
    assert [(finding.rule, finding.row) for finding in kept] == [("K-304", 3), ("K-303", 3)]


def test_a_wrong_start_explains_nothing_where_nobody_is_named() -> None:
    findings = [at("K-304", "participants", 2, "started_on"), at("K-303", "outcomes", 2, "achieved_on")]
    assert left(*findings) == ["K-304", "K-303"]
    assert left(*findings, tables={"participants": people(None), "outcomes": people(None, name="outcomes")}) == ["K-304", "K-303"]


def test_a_sheet_that_was_not_read_explains_that_the_return_is_empty() -> None:
    assert left(DEFINITIONS.rule("F-036").found(position="3"), DEFINITIONS.rule("D-012").found()) == ["F-036"]
    assert left(DEFINITIONS.rule("D-012").found(), DEFINITIONS.rule("F-001").found()) == ["D-012", "F-001"]


def test_a_finding_is_never_left_out_for_one_that_weighs_less() -> None:
    mild = replace(at("K-301"), severity=Severity.NOTE)
    assert left(mild, at("K-317")) == ["K-301", "K-317"]


def test_a_finding_that_sets_a_delivery_apart_is_never_left_out() -> None:
    apart = replace(DEFINITIONS, rules={**DEFINITIONS.rules, "K-317": replace(DEFINITIONS.rule("K-317"), quarantine=True)})
    assert [finding.rule for finding in without_follow_ons([at("K-301"), at("K-317"), at("K-318", column="quantity")], apart, {})] == [
        "K-301",
        "K-317",
    ]


def test_a_return_that_failed_still_fails() -> None:
    for cause, consequences in CAUSES.items():
        for rule in consequences.in_row | consequences.in_cell:
            kept = without_follow_ons([at(cause), at(rule)], DEFINITIONS, {})
            assert is_blocking(kept) == is_blocking([at(cause), at(rule)])


def test_findings_that_are_left_out_are_not_counted() -> None:
    findings = [at("K-301", row=2), *(at("K-317", row=row, count="3") for row in (2, 3, 4))]
    kept = without_follow_ons(findings, DEFINITIONS, {})
    assert [(finding.rule, finding.row, finding.values) for finding in kept[1:]] == [("K-317", 3, (("count", "2"),)), ("K-317", 4, (("count", "2"),))]


def test_a_count_in_other_words_is_left_alone() -> None:
    kept = without_follow_ons([at("K-301"), at("K-317"), at("K-317", row=3, count="many")], DEFINITIONS, {})
    assert kept[1].values == (("count", "many"),)
