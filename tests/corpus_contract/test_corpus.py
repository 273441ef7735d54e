"""A corpus of returns with one mistake each: every mistake gives its finding at its place, and nothing else that blocks.

The mistakes are made in good returns when the tests run; none is stored. Together they fire every rule on content and contract, and those on
deliveries; the structure of a return has a corpus of its own, so a few stand here for the order of the stages.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest

from pipeline.domain.findings import Severity
from pipeline.domain.submission import RevisionKey, SubmissionKey
from pipeline.stages.validation import make_report
from tests.corpus_contract.given import (
    BEFORE,
    CHECKER,
    DEFINITIONS,
    LAST,
    NOW,
    Return,
    as_typed,
    judge,
    judge_content_at_once,
    outcome,
    payment,
    person,
    revised,
)

Place = tuple[str, int, str]
NOWHERE: Place = ("", 0, "")


@dataclass(frozen=True)
class Mistake:
    """One mistake in a good return: the rule that must speak, where, and queries that the same mistake rightly raises beside it."""

    rule: str
    place: Place
    make: Callable[[Return], object]
    project: str = "P1"
    also: frozenset[str] = frozenset()
    said: Mapping[str, str] | None = None


def cell(rule: str, table: str, row: int, column: str, text: str | None, also: str = "", project: str = "P1") -> Mistake:
    """Return the mistake of one wrong cell, found where it was made."""
    return Mistake(rule, (table, row, column), lambda given: given.cell(table, row, column, text), project, frozenset(also.split()))


def mistake(rule: str, place: Place, make: Callable[[Return], object], also: str = "", project: str = "P1", **said: str) -> Mistake:
    return Mistake(rule, place, make, project, frozenset(also.split()), said or None)


def cells(table: str, row: int, **texts: str | None) -> Callable[[Return], None]:
    def make(given: Return) -> None:
        given.rows[table][row - 2].update(texts)

    return make


def again(table: str, row: int, **changes: str | None) -> Callable[[Return], None]:
    return lambda given: given.again(table, row, **changes)


def both(*makes: Callable[[Return], object]) -> Callable[[Return], None]:
    def make(given: Return) -> None:
        for one in makes:
            one(given)

    return make


def rate(metric_id: str, payer_id: str, **changes: Any) -> Callable[[Return], None]:
    def make(given: Return) -> None:
        (found,) = [row for row in given.terms["rate_card"] if (row["metric_id"], row["payer_id"]) == (metric_id, payer_id)]
        found.update(changes)

    return make


def project(**changes: Any) -> Callable[[Return], None]:
    return lambda given: given.terms["project"].update(changes)


def metric(metric_id: str, **changes: Any) -> Callable[[Return], None]:
    def make(given: Return) -> None:
        (found,) = [row for row in given.terms["metrics"] if row["metric_id"] == metric_id]
        found.update(changes)

    return make


def payer(payer_id: str, **changes: Any) -> Callable[[Return], None]:
    def make(given: Return) -> None:
        for row in given.terms["rate_card"]:
            if row["payer_id"] == payer_id:
                row.update(changes)

    return make


def without_payer_caps(given: Return) -> None:
    for row in given.terms["rate_card"]:
        row.pop("payer_cap_gbp", None)
        row.pop("payer_cap_share", None)


def as_of(**changes: Any) -> Callable[[Return], None]:
    def make(given: Return) -> None:
        for name, value in changes.items():
            setattr(given, name, value)

    return make


def quarter(name: str) -> Callable[[Return], None]:
    """Send the return for another quarter, cover and all."""

    def make(given: Return) -> None:
        given.quarter = name
        given.rows["cover"][0]["quarter"] = name
        given.earlier.pop(name, None)

    return make


def as_revision(change: Callable[[Return], object]) -> Callable[[Return], None]:
    """Make the mistake in a second delivery of a return that was accepted."""

    def make(given: Return) -> None:
        given.replaced = revised(given).replaced
        change(given)

    return make


def without(table: str, *rows: int) -> Callable[[Return], None]:
    def make(given: Return) -> None:
        given.rows[table] = [row for number, row in enumerate(given.rows[table], start=2) if number not in rows]

    return make


def only_late_rows(given: Return) -> None:
    """Keep of the return nothing but outcomes of the last quarter, and what is paid for them."""
    given.rows["participants"] = []
    given.rows["outcomes"] = [outcome(f"D-L{n}", f"C-{n}", "HOURS", "2024-03-21", 2) for n in range(1, 7)]
    given.rows["payments"] = [payment("D-P1", "COUNCIL", "HOURS", 12, "108.00", LAST), payment("D-P2", "FUND", "HOURS", 12, "36.00", LAST)]


def ten_times_the_newcomers(given: Return) -> None:
    given.earlier[LAST]["participants"] += [person(f"C-{n}", "2024-01-08") for n in range(8, 22)]
    given.rows["participants"] = [person(f"D-{n}", "2024-04-01") for n in range(1, 211)]


def the_last_return_again(given: Return) -> None:
    """Send the figures of the last quarter for this one, under new references and with the days of this quarter."""
    rows = json.loads(json.dumps(given.earlier[LAST]).replace("2024-03-31", "2024-06-30").replace("2024-01-0", "2024-04-0"))
    for table, column in (("outcomes", "outcome_ref"), ("payments", "payment_ref")):
        for row in rows[table]:
            row[column] += "-X"
    given.rows |= {name: rows[name] for name in ("outcomes", "payments")}


def round_payments(given: Return) -> None:
    for number, row in enumerate(given.rows["payments"][2:], start=1):
        row["amount_gbp"] = f"{1000 * number}.00"


def round_counts(given: Return) -> None:
    for number, row in enumerate(given.rows["outcomes"], start=1):
        row["quantity"] = str(10 * number)
    given.rows["payments"][0] |= {"quantity": "10", "amount_gbp": "500.00"}
    given.rows["payments"][1] |= {"quantity": "10", "amount_gbp": "250.00"}


def repeated_activity(**changes: str) -> Callable[[Return], None]:
    """Report a payment for activity of the last quarter again."""
    return lambda given: given.rows["payments"].__setitem__(-1, given.earlier[LAST]["payments"][-1] | changes)


def unpaid(given: Return) -> None:
    """Leave out what the council paid in the last quarter for hours; nor does this return make up for it."""
    given.earlier[LAST]["payments"] = [row for row in given.earlier[LAST]["payments"] if row["payment_ref"] != f"{LAST}-HOURS-COUNCIL"]
    given.rows["payments"] = [row for row in given.rows["payments"] if row["metric_id"] != "HOURS"]
    given.rows["outcomes"] = [row for row in given.rows["outcomes"] if row["metric_id"] != "HOURS"]


COVERS = [
    mistake("D-001", NOWHERE, as_of(project="unidentified")),
    mistake("D-002", NOWHERE, as_of(project="P9"), also="D-010"),
    mistake("D-004", NOWHERE, as_of(quarter="0000-Q1"), also="D-011"),
    mistake("D-005", NOWHERE, quarter("2023-Q2")),
    mistake("D-006", NOWHERE, both(project(claims_until="2024-03-30"), project(ends_on="2024-03-30"))),
    mistake("D-007", NOWHERE, as_of(received_on=date(2024, 3, 31))),
    mistake("D-008", NOWHERE, lambda given: given.rows.pop("cover")),
    mistake("D-009", ("cover", 0, ""), again("cover", 2)),
    mistake("D-009", ("cover", 0, ""), without("cover", 2)),
    mistake("D-010", ("cover", 2, "project_id"), cells("cover", 2, project_id="P2"), project_id="P1"),
    mistake("D-011", ("cover", 2, "quarter"), cells("cover", 2, quarter="2024-Q3"), quarter=NOW),
    mistake("D-012", NOWHERE, lambda given: given.rows.update(participants=[], outcomes=[], payments=[])),
    mistake("D-013", ("cover", 2, "is_nil_return"), cells("cover", 2, is_nil_return="yes"), rows="34"),
    mistake("D-015", NOWHERE, as_of(accepted_as=(SubmissionKey("P1", LAST), SubmissionKey("C1", NOW))), accepted_for=LAST),
    mistake("D-015", NOWHERE, as_of(accepted_as=(SubmissionKey("C1", NOW),)), accepted_for="another project"),
]

STRUCTURE = [
    cell("S-101", "participants", 3, "gender", None),
    cell("S-101", "outcomes", 5, "achieved_on", None),
    cell("S-103", "outcomes", 12, "quantity", "8.5"),
    cell("S-108", "outcomes", 12, "quantity", "0"),
    cell("S-110", "outcomes", 4, "status", "verifed"),
    cell("S-110", "participants", 2, "age_band", "25-34"),
    cell("S-102", "payments", 4, "payer_id", None),
]

CONTENT = [
    cell("C-201", "payments", 3, "period_start", "2009-12-31"),
    cell("C-201", "payments", 10, "period_start", "2009-12-31"),
    cell("C-201", "payments", 5, "paid_on", "2009-12-31", also="C-230"),
    cell("C-202", "participants", 4, "left_on", "2024-04-02"),
    cell("C-202", "participants", 8, "left_on", "2023-12-31"),
    cell("C-211", "outcomes", 6, "verified_on", None),
    cell("C-211", "outcomes", 18, "verified_on", None),
    cell("C-212", "outcomes", 17, "verified_on", "2024-06-20"),
    cell("C-213", "outcomes", 10, "verified_on", "2024-05-22"),
    cell("C-213", "outcomes", 2, "verified_on", "2024-03-01"),
    cell("C-221", "payments", 10, "period_end", "2024-03-31"),
    mistake("C-221", ("payments", 10, "period_end"), cells("payments", 10, period_start="2024-05-02", period_end="2024-05-01")),
    cell("C-222", "payments", 11, "reason", None),
    cell("C-223", "payments", 2, "reason", "overpaid"),
    cell("C-223", "payments", 10, "reason", "other"),
    cell("C-224", "payments", 10, "metric_id", "START"),
    cell("C-225", "payments", 9, "metric_id", None, also="K-332"),
    mistake("C-226", ("payments", 8, "quantity"), cells("payments", 8, quantity=None), also="K-332"),
    cell("C-227", "payments", 10, "quantity", "1"),
    cell("C-228", "payments", 10, "amount_gbp", "-150.00"),
    cell("C-229", "payments", 10, "amount_gbp", "0.00"),
    cell("C-229", "payments", 5, "amount_gbp", "0.00", project="C1"),
    cell("C-230", "payments", 2, "paid_on", "2024-03-31"),
    cell("C-230", "payments", 10, "paid_on", "2024-03-31"),
]

CODES = [
    mistake("K-301", ("outcomes", 2, "metric_id"), cells("outcomes", 2, metric_id="STRAT"), hint="Is START meant?"),
    mistake("K-301", ("outcomes", 12, "metric_id"), cells("outcomes", 12, metric_id="xyz"), hint="There are: HOURS, KEEP, NEW, OLD, START."),
    cell("K-301", "payments", 6, "metric_id", "HOUR"),
    cell("K-301", "payments", 11, "metric_id", "start"),
    cell("K-301", "outcomes", 3, "metric_id", "MEEAL", project="C1"),
    mistake("K-302", ("payments", 4, "payer_id"), cells("payments", 4, payer_id="COUNSIL"), hint="Is COUNCIL meant?"),
    cell("K-302", "payments", 10, "payer_id", "TREASURY"),
    mistake("K-322", ("outcomes", 18, "metric_id"), cells("outcomes", 18, metric_id="OLD"), hint="NEW took its place."),
    mistake(
        "K-322",
        ("outcomes", 16, "metric_id"),
        cells("outcomes", 16, participant_ref="C-3", achieved_on="2024-03-30"),
        hint="It took the place of OLD.",
    ),
    mistake(
        "K-322", ("outcomes", 14, "metric_id"), metric("HOURS", valid_to="2024-06-03"), hint="Nothing took its place.", in_force="until 2024-06-03"
    ),
    mistake("K-322", ("outcomes", 2, "metric_id"), metric("START", valid_from="2024-04-12"), hint="Nothing took its place."),
    mistake("K-322", ("payments", 11, "metric_id"), cells("payments", 11, metric_id="OLD"), hint="NEW took its place."),
    mistake("K-323", ("outcomes", 13, "metric_id"), cells("outcomes", 13, metric_id="BEDS"), project_id="P1"),
    mistake("K-323", ("payments", 11, "metric_id"), cells("payments", 11, metric_id="MEALS"), project_id="P1"),
    cell("K-323", "outcomes", 3, "metric_id", "HOURS", project="C1"),
]

DAYS = [
    cell("K-303", "outcomes", 2, "achieved_on", "2024-03-31"),
    cell("K-303", "outcomes", 17, "achieved_on", "2023-10-05"),
    mistake("K-303", ("outcomes", 3, "achieved_on"), cells("participants", 3, started_on="2024-04-13")),
    mistake("K-304", ("participants", 8, "started_on"), cells("participants", 8, started_on="2024-07-01"), quarter_end="2024-06-30"),
    mistake("K-304", ("outcomes", 17, "achieved_on"), cells("outcomes", 17, achieved_on="2024-07-01"), quarter_end="2024-06-30"),
    cell("K-304", "payments", 10, "period_end", "2024-07-01"),
    mistake("K-304", ("outcomes", 3, "achieved_on"), cells("outcomes", 3, achieved_on="2024-07-02", verified_on="2024-07-03"), project="C1"),
    mistake("K-306", ("participants", 8, "started_on"), cells("participants", 8, started_on="2023-06-30"), starts_on="2023-07-01"),
    mistake("K-306", ("outcomes", 3, "achieved_on"), cells("outcomes", 3, achieved_on="2023-06-30"), project="C1", starts_on="2023-07-01"),
    mistake("K-306", ("payments", 10, "period_end"), cells("payments", 10, period_start="2023-04-01", period_end="2023-06-30")),
    mistake("K-307", ("participants", 8, "started_on"), both(project(claims_until="2024-06-20"), cells("participants", 8, started_on="2024-06-21"))),
    mistake("K-307", ("outcomes", 17, "achieved_on"), both(project(claims_until="2024-06-20"), cells("outcomes", 17, achieved_on="2024-06-21"))),
    mistake("K-307", ("payments", 10, "period_start"), both(project(claims_until="2024-06-20"), cells("payments", 10, period_start="2024-06-21"))),
    mistake("K-321", ("participants", 3, "left_on"), cells("participants", 3, left_on="2024-07-11"), received_on="2024-07-10"),
    cell("K-321", "outcomes", 9, "verified_on", "2024-07-11"),
    cell("K-321", "payments", 10, "paid_on", "2025-06-30"),
    mistake("K-324", NOWHERE, only_late_rows, rows="6", quarter=LAST),
]

PEOPLE = [
    cell("K-308", "outcomes", 14, "participant_ref", "B-7"),
    cell("K-308", "outcomes", 5, "participant_ref", "D-44"),
    mistake("K-308", ("outcomes", 7, "participant_ref"), without("participants", 7)),
    cell("K-309", "outcomes", 8, "participant_ref", None),
    cell("K-310", "outcomes", 2, "participant_ref", "D-1", project="C1"),
    mistake(
        "K-310", ("participants", 2, "participant_ref"), lambda given: given.rows["participants"].append(person("D-1", "2024-04-02")), project="C1"
    ),
    mistake("K-312", ("outcomes", 7, "metric_id"), cells("outcomes", 7, participant_ref="D-1")),
    mistake("K-312", ("outcomes", 11, "metric_id"), cells("outcomes", 11, participant_ref="C-3")),
    mistake("K-312", ("outcomes", 19, "metric_id"), again("outcomes", 17, outcome_ref="D-S9")),
    mistake("K-313", ("outcomes", 17, "metric_id"), cells("outcomes", 17, participant_ref="B-5")),
    mistake("K-313", ("outcomes", 8, "metric_id"), cells("outcomes", 8, participant_ref="B-2")),
    cell("K-314", "outcomes", 8, "achieved_on", "2024-04-10"),
    mistake("K-314", ("outcomes", 11, "achieved_on"), cells("outcomes", 11, participant_ref="C-7"), after_metric_id="START", after_days="91"),
    mistake("K-314", ("outcomes", 9, "achieved_on"), cells("outcomes", 9, participant_ref="D-7")),
    mistake("K-315", ("outcomes", 17, "quantity"), cells("outcomes", 17, quantity="2")),
    mistake("K-315", ("outcomes", 2, "quantity"), cells("outcomes", 2, quantity="2")),
    mistake("K-326", ("outcomes", 19, "outcome_ref"), again("outcomes", 13, outcome_ref="D-H9", quantity="1")),
    mistake("K-326", ("outcomes", 13, "outcome_ref"), cells("outcomes", 13, participant_ref="D-1")),
    mistake("K-326", ("outcomes", 14, "outcome_ref"), cells("outcomes", 14, achieved_on="2023-12-20", verified_on="2024-04-02")),
    mistake("K-328", ("participants", 9, "started_on"), again("participants", 8, participant_ref="C-1", started_on="2024-01-02"), quarter=LAST),
    mistake("K-328", ("participants", 9, "started_on"), again("participants", 8, participant_ref="B-3"), quarter=BEFORE),
    mistake(
        "K-329", ("participants", 9, "gender"), again("participants", 8, participant_ref="C-1", started_on="2024-01-01", gender="male"), quarter=LAST
    ),
    mistake("K-329", ("participants", 9, "age_band"), again("participants", 8, participant_ref="C-1", started_on="2024-01-01", age_band="50_to_64")),
    mistake("K-336", ("outcomes", 14, "quantity"), cells("outcomes", 14, quantity="21"), metric_id="HOURS", cap_per_person="40"),
    mistake(
        "K-336",
        ("outcomes", 19, "quantity"),
        again("outcomes", 12, outcome_ref="D-H9", achieved_on="2024-06-04", verified_on="2024-06-04", quantity="33"),
    ),
]

REPEATS = [
    mistake(
        "K-311", ("outcomes", 19, "outcome_ref"), lambda given: given.rows["outcomes"].append(dict(given.earlier[LAST]["outcomes"][0])), quarter=LAST
    ),
    mistake("K-311", ("outcomes", 19, "outcome_ref"), lambda given: given.rows["outcomes"].append(dict(given.earlier[BEFORE]["outcomes"][5]))),
    mistake("K-325", ("outcomes", 17, "outcome_ref"), cells("outcomes", 17, outcome_ref="C-S1"), quarter=LAST),
    mistake("K-325", ("outcomes", 13, "outcome_ref"), cells("outcomes", 13, outcome_ref="B-H2"), quarter=BEFORE),
    cell("K-325", "outcomes", 2, "outcome_ref", f"{LAST}-1", project="C1"),
    mistake("K-320", ("payments", 9, "payment_ref"), repeated_activity(), project="C1", quarter=LAST),
    mistake("K-335", ("payments", 10, "payment_ref"), cells("payments", 10, payment_ref=f"{LAST}-START-FUND"), quarter=LAST),
    mistake("K-335", ("payments", 11, "payment_ref"), cells("payments", 11, payment_ref=f"{BEFORE}-START-COUNCIL"), quarter=BEFORE),
    cell("K-335", "payments", 4, "payment_ref", f"{LAST}-A2", project="C1"),
    mistake("K-327", ("payments", 12, "payment_ref"), again("payments", 10, payment_ref="D-A2"), where="of this return"),
    mistake("K-327", ("payments", 10, "payment_ref"), again("payments", 9, payment_ref="X"), project="C1", where="of this return"),
    mistake("K-327", ("outcomes", 8, "outcome_ref"), again("outcomes", 7, outcome_ref="X"), project="C1"),
    mistake(
        "K-327", ("payments", 9, "payment_ref"), repeated_activity(payment_ref="X"), project="C1", where="of an accepted return of another quarter"
    ),
]

MONEY = [
    mistake("K-316", ("payments", 2, "amount_gbp"), cells("payments", 2, amount_gbp="3601.00"), price_gbp="600.00", valid_from="2023-07-01"),
    cell("K-316", "payments", 7, "amount_gbp", "1020.00"),
    cell("K-316", "payments", 9, "amount_gbp", "39.99"),
    mistake("K-316", ("payments", 4, "amount_gbp"), rate("KEEP", "COUNCIL", price_gbp="901.00"), price_gbp="901.00"),
    cell("K-316", "payments", 3, "amount_gbp", "325.01", project="C1"),
    mistake(
        "K-317",
        ("payments", 4, "metric_id"),
        cells("payments", 4, metric_id="MEALS", amount_gbp="405.00", basis="outcome", quantity="3"),
        project="C1",
    ),
    mistake("K-317", ("payments", 9, "metric_id"), rate("NEW", "FUND", valid_to="2024-06-29")),
    mistake(
        "K-318", ("payments", 2, "quantity"), rate("START", "COUNCIL", cap_quantity=16), cap_quantity="16", total_quantity="17", payer_id="COUNCIL"
    ),
    mistake("K-318", ("payments", 7, "quantity"), rate("HOURS", "FUND", cap_quantity=89), metric_id="HOURS", total_quantity="90"),
    mistake("K-319", ("payments", 10, "amount_gbp"), project(contract_cap_gbp="23500.00"), contract_cap_gbp="23500.00", total_gbp="23517.00"),
    mistake("K-319", ("payments", 10, "amount_gbp"), both(without_payer_caps, cells("payments", 10, amount_gbp="20000.00")), total_gbp="43367.00"),
    mistake(
        "K-330", ("payments", 8, "quantity"), both(without("outcomes", 15, 16), without("payments", 9), rate("NEW", "FUND", valid_to="2024-06-01"))
    ),
    mistake(
        "K-331", ("payments", 2, "quantity"), cells("payments", 2, quantity="7", amount_gbp="4200.00"), paid_quantity="18", verified_quantity="17"
    ),
    mistake("K-331", ("payments", 3, "quantity"), cells("payments", 3, quantity="8", amount_gbp="1600.00"), paid_quantity="19"),
    mistake(
        "K-331", ("payments", 12, "quantity"), again("payments", 6, payment_ref="X", paid_on="2024-06-29"), payer_id="COUNCIL", metric_id="HOURS"
    ),
    mistake(
        "K-331",
        ("payments", 12, "quantity"),
        again("payments", 4, payment_ref="X", period_start="2024-01-01", period_end="2024-03-31", paid_on="2024-04-01"),
    ),
    mistake("K-332", ("payments", 4, "quantity"), without("payments", 5), split="COUNCIL 4, FUND 0", metric_id="KEEP", quarter=NOW),
    mistake("K-332", ("payments", 6, "quantity"), cells("payments", 7, quantity="33", amount_gbp="99.00"), split="COUNCIL 34, FUND 33"),
    mistake(
        "K-332", ("payments", 2, "quantity"), cells("payments", 3, quantity="12", amount_gbp="300.00"), project="C1", split="COUNCIL 13, FUND 12"
    ),
    mistake("K-333", ("payments", 0, "quantity"), unpaid, metric_id="HOURS", payer_id="COUNCIL", unpaid_quantity="26"),
    mistake(
        "K-334", ("payments", 11, "amount_gbp"), cells("payments", 11, amount_gbp="-10500.00"), also="K-338", total_gbp="-300.00", of="for START"
    ),
    mistake(
        "K-334",
        ("payments", 11, "amount_gbp"),
        cells("payments", 11, payer_id="FUND", metric_id="NEW", quantity="2", amount_gbp="-41.00"),
        of="for NEW",
    ),
    mistake(
        "K-334",
        ("payments", 11, "amount_gbp"),
        cells("payments", 11, metric_id=None, quantity=None, amount_gbp="-18000.00"),
        also="K-338",
        of="at all",
    ),
    mistake(
        "K-337",
        ("payments", 4, "amount_gbp"),
        payer("COUNCIL", payer_cap_gbp="17000.00"),
        payer_id="COUNCIL",
        payer_cap_gbp="17000.00",
        total_gbp="17667.00",
    ),
    mistake("K-337", ("payments", 10, "amount_gbp"), cells("payments", 10, amount_gbp="12500.00"), payer_cap_gbp="30000.00", total_gbp="30017.00"),
    mistake(
        "K-338",
        ("payments", 3, "amount_gbp"),
        payer("FUND", payer_cap_share="0.2"),
        payer_id="FUND",
        total_gbp="5850.00",
        all_gbp="23517.00",
        payer_cap_share="0.2",
    ),
    mistake("K-338", ("payments", 3, "amount_gbp"), cells("payments", 10, payer_id="FUND", amount_gbp="5000.00"), payer_cap_share="0.35"),
]

MOVEMENT = [
    mistake("K-339", ("participants", 0, "participant_ref"), as_revision(without("participants", 8)), removed_rows="1"),
    mistake("K-339", ("outcomes", 0, "outcome_ref"), as_revision(without("outcomes", 17, 18)), removed_rows="2"),
    mistake("K-339", ("payments", 0, "payment_ref"), as_revision(without("payments", 10)), removed_rows="1"),
    mistake("K-339", ("payments", 0, "payment_ref"), as_revision(cells("payments", 10, payment_ref="D-A7")), removed_rows="1"),
    mistake(
        "K-340", ("outcomes", 0, "quantity"), as_revision(cells("outcomes", 17, status="rejected", verified_on="2024-06-20")), before="7", now="6"
    ),
    mistake("K-340", ("outcomes", 0, "quantity"), as_revision(cells("outcomes", 3, quantity="32")), project="C1", figure="The units of MEALS"),
    mistake("K-340", ("payments", 0, "amount_gbp"), as_revision(cells("payments", 10, amount_gbp="120.00")), before="7743.00 GBP", now="7713.00 GBP"),
    mistake(
        "K-341", ("outcomes", 3, "quantity"), cells("outcomes", 3, quantity="370"), project="C1", figure="The units of MEALS", before="37", now="370"
    ),
    mistake("K-341", ("participants", 0, "participant_ref"), ten_times_the_newcomers, figure="The number of participants", before="21", now="210"),
    mistake(
        "K-341", ("payments", 4, "amount_gbp"), both(without_payer_caps, cells("payments", 4, amount_gbp="38000.00")), also="K-319", project="C1"
    ),
    mistake("K-342", NOWHERE, the_last_return_again, project="C1", quarter=LAST),
    mistake("K-343", ("payments", 0, "amount_gbp"), round_payments, project="C1", figures="6", multiple="1,000 GBP"),
    mistake("K-343", ("outcomes", 0, "quantity"), round_counts, project="C1", figures="6", multiple="10"),
]

CORPUS = [*COVERS, *STRUCTURE, *CONTENT, *CODES, *DAYS, *PEOPLE, *REPEATS, *MONEY, *MOVEMENT]


@pytest.fixture(scope="module", autouse=True)
def _judged_content() -> None:
    judge_content_at_once([*(Return.good(name) for name in ("P1", "C1")), *(made(wrong) for wrong in CORPUS)])


def made(wrong: Mistake) -> Return:
    given = Return.good(wrong.project)
    wrong.make(given)
    return given


@pytest.mark.parametrize("project_id", ["P1", "C1"])
def test_the_good_returns_have_no_findings_and_nor_do_they_as_revisions(project_id: str) -> None:
    assert judge(Return.good(project_id)) == []
    assert judge(revised(Return.good(project_id))) == []


@pytest.mark.parametrize("wrong", CORPUS, ids=lambda wrong: f"{wrong.rule}-{'-'.join(str(part) for part in wrong.place)}")
def test_one_mistake_gives_its_finding_at_its_place_and_nothing_else(wrong: Mistake) -> None:
    findings = judge(made(wrong))

    told = [finding for finding in findings if finding.severity is not Severity.NOTE and finding.rule not in wrong.also]
    assert [(finding.rule, finding.table, finding.row, finding.column) for finding in told] == [(wrong.rule, *wrong.place)]
    assert all(DEFINITIONS.rule(rule).severity in ("query", "refuse") for rule in wrong.also)
    assert (wrong.said or {}).items() <= dict(told[0].values).items()
    assert {finding.rule for finding in findings} >= wrong.also
    report = make_report(key=RevisionKey.parse(f"{wrong.project}/{NOW}/1"), content="0" * 64, definitions=DEFINITIONS, tables={}, findings=findings)
    assert report.passed == (DEFINITIONS.rule(wrong.rule).severity in (Severity.QUERY, Severity.NOTE))


def test_the_corpus_is_large_and_fires_every_rule_on_content_and_contract() -> None:
    assert len(CORPUS) >= 120
    ours = {rule.id for rule in DEFINITIONS.rules.values() if rule.stage in ("content", "contract", "delivery")}
    # Notes block nothing and ask for nothing: they have tests of their own. A project without a fund cannot be loaded into a register.
    assert ours - {wrong.rule for wrong in CORPUS} == {"C-214", "K-305", "D-003", "D-014"}


def test_every_rule_of_ours_says_why_it_matters_and_what_to_do() -> None:
    for rule in DEFINITIONS.rules.values():
        if rule.stage in ("content", "contract", "delivery"):
            assert all(text.endswith(".") for text in (rule.why, rule.fix)), rule.id
            assert rule.message.endswith((".", "{hint}")), rule.id
            assert not rule.quarantine


def test_content_that_is_judged_at_once_is_judged_as_it_is_alone() -> None:
    for wrong in (CONTENT[2], CONTENT[5]):
        given = made(wrong)
        name = wrong.place[0]
        frame = as_typed(given.rows)[name]
        alone = CHECKER.check(f"submission_{name}", frame, frame["row"].to_pylist())
        at_once = [finding for finding in judge(given) if finding.rule.startswith("C-")]
        assert [(finding.rule, finding.row, finding.column) for finding in alone] == [(f.rule, f.row, f.column) for f in at_once] != []
