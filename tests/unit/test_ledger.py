"""The ledger: what is in force at a position of the log, and when two positions lead to the same data."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from pipeline.domain.events import (
    DomainEvent,
    FundRegistered,
    ProjectRegistered,
    ProjectRevised,
    Recorded,
    SubmissionAccepted,
    SubmissionReceived,
    SubmissionRejected,
    SubmissionValidated,
    SubmissionWithdrawn,
)
from pipeline.domain.ledger import FACT_TABLES, Ledger, fold
from pipeline.domain.submission import SubmissionKey
from tests.factories import KEY, NOW, digest, fact_file, recorded, row_changes, row_counts

REGISTER = [
    ("fund/F1", FundRegistered(fund_id="F1", record=digest("fund 1"))),
    ("fund/F2", FundRegistered(fund_id="F2", record=digest("fund 2"))),
    ("project/P2", ProjectRegistered(fund_id="F1", project_id="P2", record=digest("P2"))),
    ("project/P1", ProjectRegistered(fund_id="F1", project_id="P1", record=digest("P1"))),
    ("project/P9", ProjectRegistered(fund_id="F2", project_id="P9", record=digest("P9"))),
]
Told = tuple[str, DomainEvent]


def log(*told: Told, days: Mapping[int, int] | None = None) -> list[Recorded]:
    """Return events as they stand in a log; `days` says of a position how many days late it was recorded."""
    versions: dict[str, int] = {}
    found = []
    for position, (stream, event) in enumerate(told, start=1):
        versions[stream] = versions.get(stream, 0) + 1
        at = NOW + timedelta(days=(days or {}).get(position, 0))
        found.append(recorded(event, stream=stream, version=versions[stream], position=position, at=at))
    return found


def received(key: SubmissionKey = KEY, number: int = 1, word: str = "one") -> Told:
    return key.stream, SubmissionReceived(project_id=key.project_id, quarter=key.quarter, revision=number, content=digest(word), size_bytes=1)


def validated(key: SubmissionKey = KEY, number: int = 1) -> Told:
    return key.stream, SubmissionValidated(
        revision=number, content=digest("one"), passed=True, report=digest("report"), findings={}, rules=digest("rules")
    )


def accepted(key: SubmissionKey = KEY, number: int = 1, *words: str) -> Told:
    files = [fact_file(table, f"{word} {table}") for word in (words or ("facts",)) for table in ("outcomes", "payments")]
    given: dict[str, Any] = {"facts": files, "rows": row_counts(), "replaces": None, "changes": row_changes()}
    return key.stream, SubmissionAccepted(revision=number, content=digest("one"), report=digest("report"), **given)


def withdrawn(number: int = 1) -> Told:
    return KEY.stream, SubmissionWithdrawn(revision=number, reason="sent_in_error")


def test_an_empty_log_is_an_empty_ledger() -> None:
    assert fold([]) == Ledger()
    assert Ledger().facts("F1", "outcomes") == ()


def test_the_ledger_stands_at_the_last_event_and_knows_its_hash() -> None:
    events = log(*REGISTER)
    assert (fold(events).position, fold(events).chain_head) == (5, events[-1].hash)


def test_projects_belong_to_their_fund_and_stand_in_the_order_of_ids() -> None:
    ledger = fold(log(*REGISTER))
    assert list(ledger.records("F1").items()) == [("P1", digest("P1")), ("P2", digest("P2"))]
    assert (ledger.funds["F2"], ledger.fund_of["P9"]) == (digest("fund 2"), "F2")


def test_a_revised_project_has_its_new_record() -> None:
    ledger = fold(log(*REGISTER, ("project/P1", ProjectRevised(fund_id="F1", project_id="P1", record=digest("new"), replaces=digest("P1")))))
    assert ledger.records("F1")["P1"] == digest("new")


def test_facts_in_force_come_in_the_order_of_submissions_and_of_one_fund_only() -> None:
    second, other = SubmissionKey("P2", "2023-Q4"), SubmissionKey("P9", "2024-Q1")
    told = [step for key in (second, other, KEY) for step in (received(key), validated(key), accepted(key, 1, str(key)))]
    ledger = fold(log(*REGISTER, *told))
    assert ledger.facts("F1", "outcomes") == (fact_file("outcomes", "P1/2024-Q1 outcomes"), fact_file("outcomes", "P2/2023-Q4 outcomes"))
    assert (list(ledger.in_force("F1")), list(ledger.in_force("F2"))) == ([KEY, second], [other])
    assert ledger.facts("F1", "service_starts") == ()


def test_a_submission_of_no_registered_project_counts_for_no_fund() -> None:
    stranger = SubmissionKey("P7", "2024-Q1")
    ledger = fold(log(*REGISTER, received(stranger), validated(stranger), accepted(stranger)))
    assert (ledger.in_force("F1"), ledger.in_force("F2"), ledger.in_force("")) == ({}, {}, {})
    assert ledger.digest("F1") == fold(log(*REGISTER)).digest("F1")


def test_an_unidentified_delivery_is_no_part_of_the_ledger() -> None:
    lost = SubmissionKey("unidentified", "0123456789abcdef")
    ledger = fold(log(*REGISTER, received(lost)))
    assert (ledger.submissions, ledger.position) == ({}, 6)


def test_only_what_was_accepted_and_not_withdrawn_is_in_force() -> None:
    steps = [received(), validated(), accepted(), received(number=2, word="two"), validated(number=2), accepted(KEY, 2, "second"), withdrawn(2)]
    numbers = []
    for count in range(len(steps) + 1):
        found = fold(log(*REGISTER, *steps[:count])).in_force("F1").get(KEY)
        numbers.append(found.number if found else None)
    assert numbers == [None, None, None, 1, 1, 1, 2, 1]


def test_every_fact_table_of_the_schemas_is_one_that_the_ledger_knows() -> None:
    from tests.factories import DEFINITIONS

    assert set(FACT_TABLES) == set(DEFINITIONS.tables["facts"])


def test_the_digest_is_the_same_whenever_the_same_things_hold() -> None:
    one = fold(log(*REGISTER, received(), validated(), accepted()))
    other = fold(log(*reversed(REGISTER), ("release/F1", withdrawn()[1]), received(), validated(), accepted()))
    assert one.digest("F1") == other.digest("F1")
    assert len(one.digest("F1")) == 64


@pytest.mark.parametrize(
    "step",
    [
        ("fund/F1", FundRegistered(fund_id="F1", record=digest("renamed"))),
        ("project/P1", ProjectRevised(fund_id="F1", project_id="P1", record=digest("new"), replaces=digest("P1"))),
        ("project/P3", ProjectRegistered(fund_id="F1", project_id="P3", record=digest("P3"))),
        received(SubmissionKey("P2", "2024-Q1")),
        received(number=2, word="two"),
        withdrawn(),
    ],
    ids=lambda step: step[1].name,
)
def test_the_digest_moves_with_all_that_a_release_is_made_of(step: Told) -> None:
    before = [*REGISTER, received(), validated(), accepted()]
    assert fold(log(*before, step)).digest("F1") != fold(log(*before)).digest("F1")


def test_the_digest_moves_with_the_facts_and_with_the_day_of_receipt() -> None:
    steps = [*REGISTER, received(), validated()]
    assert fold(log(*steps, accepted(KEY, 1, "a"))).digest("F1") != fold(log(*steps, accepted(KEY, 1, "b"))).digest("F1")
    assert fold(log(*steps, days={6: 1})).digest("F1") != fold(log(*steps)).digest("F1")


def test_the_digest_does_not_move_with_another_fund() -> None:
    before = [*REGISTER, received(), validated(), accepted()]
    other = SubmissionKey("P9", "2024-Q1")
    after = [*before, received(other), validated(other), ("fund/F2", FundRegistered(fund_id="F2", record=digest("renamed")))]
    assert fold(log(*after)).digest("F1") == fold(log(*before)).digest("F1")


def test_a_rejected_return_is_remembered_but_brings_no_facts() -> None:
    ledger = fold(log(*REGISTER, received(), validated(), (KEY.stream, SubmissionRejected(revision=1, content=digest("one"), report=digest("r")))))
    assert (ledger.submissions[KEY].revisions[0].state, ledger.in_force("F1")) == ("rejected", {})
