"""What the release command says in words."""

import json

from pipeline.cli.release import describe_weaknesses
from pipeline.stages.audit.report import AuditReport, Weakness
from pipeline.stages.audit.witnesses import Certificate


def report(count: int) -> dict[str, object]:
    weaknesses = [
        Weakness(attack="subtraction", table="outcomes_by_quarter", row=f"P1, M{number}", column="achieved_quantity") for number in range(count)
    ]
    found: dict[str, object] = json.loads(
        AuditReport(passed=not count, attacks={"subtraction": 9}, weaknesses=weaknesses, intervals={}, certificate=Certificate("", [])).to_bytes()
    )
    return found


def test_a_failed_audit_names_each_place_and_no_value() -> None:
    assert describe_weaknesses(report(2)) == [
        "  subtraction: outcomes_by_quarter P1, M0 achieved_quantity",
        "  subtraction: outcomes_by_quarter P1, M1 achieved_quantity",
    ]


def test_twenty_places_are_named_and_the_others_counted() -> None:
    lines = describe_weaknesses(report(23))
    assert len(lines) == 21
    assert lines[-1] == "  and 3 more"


def test_a_passed_audit_names_nothing() -> None:
    assert describe_weaknesses(report(0)) == []
