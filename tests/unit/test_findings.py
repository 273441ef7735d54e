"""Findings: what blocks, how they are counted and ordered."""

from __future__ import annotations

import pytest

from pipeline.domain.findings import Finding, Rule, Severity, count_by_rule, in_order, is_blocking

RULE = Rule(id="S-101", stage="structure", severity=Severity.ERROR, title="Empty cell", message="Must be {what}.", fix="Fill it.")


def found(rule: str, severity: Severity, table: str = "outcomes", row: int = 0, column: str = "") -> Finding:
    return Finding(rule=rule, severity=severity, table=table, row=row, column=column)


@pytest.mark.parametrize(("severity", "blocks"), [("refuse", True), ("error", True), ("query", False), ("note", False)])
def test_refusals_and_errors_block_queries_and_notes_do_not(severity: str, blocks: bool) -> None:
    assert is_blocking([found("A-1", Severity.NOTE), found("A-2", Severity(severity))]) is blocks


def test_nothing_found_blocks_nothing() -> None:
    assert not is_blocking([])


def test_a_rule_makes_findings_of_its_own_severity_with_values_in_the_order_of_names() -> None:
    assert RULE.found("outcomes", 3, "metric_id", what="filled", limit="5") == Finding(
        rule="S-101", severity=Severity.ERROR, table="outcomes", row=3, column="metric_id", values=(("limit", "5"), ("what", "filled"))
    )


def test_findings_are_counted_by_rule_in_the_order_of_ids() -> None:
    counts = count_by_rule([found("S-102", Severity.ERROR), found("S-101", Severity.NOTE), found("S-102", Severity.ERROR)])
    assert list(counts.items()) == [("S-101", 1), ("S-102", 2)]


def test_findings_are_read_gravest_first_then_by_rule_and_place() -> None:
    ordered = [
        found("Z-9", Severity.REFUSE),
        found("A-1", Severity.ERROR, "outcomes", 2, "metric_id"),
        found("A-1", Severity.ERROR, "outcomes", 10, "achieved_on"),
        found("A-1", Severity.ERROR, "outcomes", 10, "metric_id"),
        found("A-1", Severity.ERROR, "payments", 1),
        found("B-1", Severity.QUERY),
        found("A-0", Severity.NOTE),
    ]
    assert in_order(reversed(ordered)) == ordered
