"""Where the rules on money and movement draw their lines: what counts to date, what a correction takes back, and what is not told twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pipeline.domain.findings import Finding
from pipeline.stages.contract import check
from tests.corpus_contract.given import BEFORE, DEFINITIONS, LAST, Return, Row, as_typed, named, outcome, payment, person, revised


def found(given: Return) -> list[Finding]:
    return check(given.context(), DEFINITIONS, as_typed(given.rows), named)


def rules(given: Return) -> list[str]:
    return [finding.rule for finding in found(given)]


def good(change: Callable[[Return], Any] = lambda given: None, project: str = "P1") -> Return:
    given = Return.good(project)
    change(given)
    return given


def correction(payer: str, metric: str | None, quantity: int | None, amount: str, reason: str = "overpaid") -> Row:
    return payment(f"X-{payer}-{amount}", payer, metric, quantity, amount, basis="correction", reason=reason)


def overpaid(given: Return) -> None:
    for row in given.rows["payments"][:2]:
        row["amount_gbp"] = f"{int(row['amount_gbp'][:-3]) // 6 * 7}.00"
        row["quantity"] = "7"


def test_a_unit_paid_for_too_much_by_every_payer_is_told_for_each() -> None:
    assert rules(good(overpaid)) == ["K-331", "K-331"]


def test_a_correction_of_whole_units_takes_them_back_and_one_of_a_part_of_the_price_does_not() -> None:
    given = good(overpaid)
    given.rows["payments"] += [correction("COUNCIL", "START", 1, "-600.00"), correction("FUND", "START", 1, "-200.00")]
    assert rules(given) == []
    given = good(overpaid)
    given.rows["payments"] += [correction("COUNCIL", "START", 1, "-599.00"), correction("FUND", "START", 1, "-200.00")]
    assert rules(given) == ["K-331"]


def test_a_payment_moved_to_another_payer_is_no_second_payment() -> None:
    given = good(lambda given: given.rows["payments"][0].update(payer_id="FUND", amount_gbp="1200.00"))
    given.rows["payments"][0]["paid_on"] = "2024-06-29"
    assert set(rules(given)) == {"K-331"}
    given.rows["payments"] += [correction("FUND", "START", 6, "-1200.00", "wrong_payer"), correction("COUNCIL", "START", 6, "3600.00", "wrong_payer")]
    assert rules(given) == []


def test_outcomes_that_are_only_claimed_cannot_be_paid_for() -> None:
    def claim(given: Return) -> None:
        for row in given.rows["outcomes"]:
            if row["metric_id"] == "NEW":
                row.update(status="claimed", verified_on=None)

    assert rules(good(claim)) == ["K-330", "K-330"]


def test_what_was_verified_before_is_paid_oldest_first_and_asked_for_while_it_is_not() -> None:
    def late(given: Return) -> None:
        given.earlier[LAST]["payments"].pop(1)
        given.rows |= {name: [row for row in given.rows[name] if row["metric_id"] != "START"] for name in ("outcomes", "payments")}

    assert rules(good(lambda given: given.earlier[LAST]["payments"].pop(1))) == [], "the payer paid for as many since"
    given = good(late)
    assert [(finding.rule, dict(finding.values)["unpaid_quantity"]) for finding in found(given)] == [("K-333", "6")]
    given.rows["payments"].append(payment("LATE", "FUND", "START", 6, "1200.00", LAST, paid_on="2024-04-20"))
    assert rules(given) == ["K-305"]


def test_units_over_the_cap_are_never_paid_and_nobody_asks_for_them() -> None:
    def cap(given: Return) -> None:
        for row in given.terms["rate_card"]:
            if row["metric_id"] == "HOURS":
                row["cap_quantity"] = 30
        for quarter in given.earlier.values():
            quarter["payments"] = [row for row in quarter["payments"] if row["metric_id"] != "HOURS" or row["payment_ref"].startswith(BEFORE)]
        given.rows["payments"] = [row for row in given.rows["payments"] if row["metric_id"] != "HOURS"]

    assert rules(good(cap)) == []


def test_payments_that_name_no_metric_leave_open_what_is_unpaid() -> None:
    def unnamed(given: Return) -> None:
        given.earlier[LAST]["payments"] = [payment(f"{LAST}-ALL", "COUNCIL", None, None, "9000.00", LAST)]

    assert "K-333" not in rules(good(unnamed))


def test_a_mistyped_code_is_told_once_and_not_as_missing_outcomes_or_payments() -> None:
    assert rules(good(lambda given: given.rows["outcomes"][0].update(metric_id="STRAT"))) == ["K-301"]
    assert rules(good(lambda given: given.rows["payments"][0].update(metric_id="STRAT"))) == ["K-301"]
    assert rules(good(lambda given: given.rows["payments"][0].update(payer_id="COUNSIL"))) == ["K-302"]


@pytest.mark.parametrize(("terms", "rule"), [({"cap_quantity": 10}, "K-318"), ({"payer_cap_gbp": "9000.00"}, "K-337")])
def test_a_return_that_only_takes_back_is_not_kept_out_by_a_cap_that_was_passed_before(terms: Row, rule: str) -> None:
    def lower(given: Return) -> None:
        for row in given.terms["rate_card"]:
            if row["payer_id"] == "COUNCIL" and row["metric_id"] == "START":
                row.update(terms)
            elif row["payer_id"] == "COUNCIL":
                row.pop("payer_cap_gbp")

    if rule == "K-337":
        with_cap = good(lambda given: [row.update(terms) for row in given.terms["rate_card"] if row["payer_id"] == "COUNCIL"])
    else:
        with_cap = good(lower)
    assert rule in rules(with_cap)
    with_cap.rows["payments"] = [correction("COUNCIL", "START", 1, "-600.00"), correction("FUND", "START", 1, "-200.00")]
    assert rule not in rules(with_cap)


def test_a_person_who_is_over_the_cap_already_is_told_at_the_next_row_and_not_at_every_one() -> None:
    def lower(given: Return) -> None:
        next(row for row in given.terms["metrics"] if row["metric_id"] == "HOURS")["cap_per_person"] = 15
        given.rows["outcomes"] += [outcome("D-H8", "B-1", "HOURS", "2024-06-05", 1), outcome("D-H9", "D-2", "HOURS", "2024-06-06", 1)]

    told = [(finding.row, finding.rule) for finding in found(good(lower)) if finding.rule == "K-336"]
    assert told == [(14, "K-336"), (20, "K-336")]


def test_what_was_not_known_of_a_person_may_become_known() -> None:
    def known(given: Return) -> None:
        given.earlier[LAST]["participants"][0].update(gender="not_known", age_band="not_known")
        given.rows["participants"].append(person("C-1", "2024-01-01") | {"left_on": "2024-05-01"})

    assert rules(good(known)) == []
    there = good(lambda given: given.rows["participants"].append(person("C-1", "2024-01-01") | {"gender": "not_known"}))
    assert rules(there) == []


def test_a_revision_may_add_and_raise_but_rows_that_are_gone_are_not_also_figures_that_fell() -> None:
    more = revised(good())
    more.rows["participants"].append(person("D-8", "2024-04-08"))
    more.rows["payments"][9]["amount_gbp"] = "151.00"
    assert rules(more) == []
    fewer = revised(good())
    fewer.rows["payments"].pop(9)
    assert rules(fewer) == ["K-339"]


def test_a_project_that_has_just_begun_may_grow_quickly() -> None:
    def many(given: Return) -> None:
        given.rows["outcomes"][1]["quantity"] = "370"

    assert rules(good(many, "C1")) == ["K-341"]
    assert rules(good(lambda given: (many(given), given.earlier.pop(BEFORE)), "C1")) == []


def test_a_return_of_counts_may_report_late_units_of_a_day_that_was_reported_before() -> None:
    late = good(lambda given: given.rows["outcomes"].append(outcome("LATE", None, "MEALS", "2024-03-31", 2)), "C1")
    assert rules(late) == ["K-305"]


def test_no_message_says_what_a_cell_of_a_person_said() -> None:
    given = good(lambda given: given.rows["participants"].append(person("C-1", "2024-01-02") | {"gender": "male", "age_band": "50_to_64"}))
    said = repr([finding.values for finding in found(given)])
    assert rules(given) == ["K-328", "K-329", "K-329"]
    assert not any(text in said for text in ("C-1", "2024-01", "male", "50_to_64", "25_to_34"))
