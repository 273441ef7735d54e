"""What people and DAGs ask: the inbox, revisions, releases and events, read from the log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline import queries
from pipeline.application import register, submissions
from pipeline.application.services import hash_file
from pipeline.domain.events import ReleaseApproved, ReleasePublished
from pipeline.domain.submission import SubmissionKey
from pipeline.errors import NotFoundError
from pipeline.ports import Append
from tests.factories import FUND, KEY, NOW, World, digest, drafted, register_rows, register_tables, return_tables, revision, write_return


@pytest.fixture
def world() -> World:
    """Give an installation with a registered fund."""
    made = World()
    register.load_register(made.services(), Path())
    return made


def drop(inbox: Path, name: str, **tables: Any) -> Path:
    return write_return(inbox, return_tables(**tables), name)


def test_an_inbox_that_is_not_there_is_empty(world: World, tmp_path: Path) -> None:
    assert queries.deliveries(world.log, tmp_path / "inbox") == []


def test_deliveries_are_named_by_whose_they_are_and_what_they_hold_in_order(world: World, tmp_path: Path) -> None:
    drop(tmp_path, "P2_2024-Q1.xlsx")
    path = drop(tmp_path, "P1/2024-Q1/return.xlsx")
    drop(tmp_path, "results.xlsx")
    found = queries.deliveries(world.log, tmp_path)
    content = hash_file(path)
    assert [str(item.key).split("/")[0] for item in found] == ["P1", "P2", "unidentified"]
    assert (found[0].id, found[0].path, found[0].state) == (f"P1/2024-Q1/{content[:16]}", path, "new")
    assert str(found[2].key) == f"unidentified/{content[:16]}"


@pytest.mark.parametrize("name", [".hidden.xlsx", ".git/P1_2024-Q1.xlsx", "P1_2024-Q1.xlsx.part"])
def test_hidden_files_and_those_still_being_written_are_not_looked_at(world: World, tmp_path: Path, name: str) -> None:
    drop(tmp_path, name)
    assert queries.deliveries(world.log, tmp_path) == []


def test_a_file_that_is_taken_away_while_the_inbox_is_listed_does_not_stop_the_others(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(tmp_path, "P1_2024-Q1.xlsx")
    (tmp_path / "P0_2024-Q1.xlsx").symlink_to(tmp_path / "gone")
    is_file = Path.is_file
    monkeypatch.setattr(Path, "is_file", lambda path: path.is_symlink() or is_file(path))
    assert [item.key for item in queries.deliveries(world.log, tmp_path)] == [KEY]


def test_a_delivery_says_how_far_it_has_come(world: World, tmp_path: Path) -> None:
    path = drop(tmp_path, "P1_2024-Q1.json")
    states = [queries.deliveries(world.log, tmp_path)[0].state]
    for verb in (lambda: submissions.receive(world.services(), path), lambda: submissions.validate(world.services(), revision(1))):
        verb()
        states.append(queries.deliveries(world.log, tmp_path)[0].state)
    assert states == ["new", "received", "validated"]


def test_what_was_decided_waits_no_more_and_each_content_waits_once(world: World, tmp_path: Path) -> None:
    drop(tmp_path, "P1_2024-Q1.json")
    drop(tmp_path, "P1_2024-Q1 (1).json")
    assert len(queries.deliveries(world.log, tmp_path)) == 2
    (waiting,) = queries.waiting(world.log, tmp_path)
    submissions.submit(world.services(), waiting.path, waiting.key)
    assert queries.waiting(world.log, tmp_path) == []
    assert {item.state for item in queries.deliveries(world.log, tmp_path)} == {"accepted"}


def test_the_earliest_quarter_of_each_project_is_judged_first(world: World, tmp_path: Path) -> None:
    names = ["P1_2024-Q1.json", "P1_2023-Q4.json", "P1_2023-Q4 again.json", "P2_2024-Q1.json", "results.json", "others.json"]
    for people, name in enumerate(names):
        drop(tmp_path, name, people=people)
    found = queries.first_wave(queries.waiting(world.log, tmp_path))
    assert [str(item.key) for item in found if item.key.project_id != "unidentified"] == ["P1/2023-Q4", "P1/2023-Q4", "P2/2024-Q1"]
    assert len(found) == 5


def test_an_unidentified_delivery_waits_no_more_once_it_was_rejected(world: World, tmp_path: Path) -> None:
    path = drop(tmp_path, "results.json")
    submissions.submit(world.services(), path)
    assert queries.waiting(world.log, tmp_path) == []


def test_a_delivery_is_found_by_its_id_while_it_is_there(world: World, tmp_path: Path) -> None:
    drop(tmp_path, "P1_2023-Q4.json")
    path = drop(tmp_path, "P1_2024-Q1.json")
    _, delivery = queries.waiting(world.log, tmp_path)
    assert queries.find_delivery(world.log, tmp_path, delivery.id) == delivery
    path.unlink()
    with pytest.raises(NotFoundError, match=r"no delivery P1/2024-Q1/.* any more"):
        queries.find_delivery(world.log, tmp_path, delivery.id)


@pytest.fixture
def told(world: World, tmp_path: Path) -> World:
    """Give an installation with an accepted return, its correction, and a broken return of another project."""
    submissions.submit(world.services(), drop(tmp_path, "P1_2024-Q1.json", people=12))
    submissions.submit(world.services("team"), drop(tmp_path, "P1_2024-Q1.json", people=13))
    tables = return_tables(SubmissionKey("P2", "2024-Q1"))
    tables["outcomes"][0] |= {"metric_id": "P1-M1"}
    submissions.submit(world.services(), write_return(tmp_path, tables, "P2_2024-Q1.json"))
    return world


def test_revisions_are_listed_with_what_became_of_them(told: World) -> None:
    rows = queries.revisions(told.log)
    assert [(row.key, row.state, row.is_in_force, row.rows, row.late_rows, dict(row.findings)) for row in rows] == [
        ("P1/2024-Q1/1", "accepted", False, 21, 0, {}),
        ("P1/2024-Q1/2", "accepted", True, 22, 0, {}),
        ("P2/2024-Q1/1", "rejected", False, None, None, {"K-323": 1}),
    ]
    assert (rows[1].received_by, rows[1].received_at, rows[1].size_bytes > 0) == ("team", NOW, True)


def test_revisions_can_be_asked_for_by_project_and_state(told: World) -> None:
    assert [row.key for row in queries.revisions(told.log, project_id="P2")] == ["P2/2024-Q1/1"]
    assert [row.key for row in queries.revisions(told.log, state="accepted")] == ["P1/2024-Q1/1", "P1/2024-Q1/2"]
    assert queries.revisions(told.log, project_id="P2", state="accepted") == []


def test_unidentified_revisions_are_listed_too(world: World, tmp_path: Path) -> None:
    submissions.receive(world.services(), drop(tmp_path, "results.json"))
    assert [row.key.split("/")[0] for row in queries.revisions(world.log)] == ["unidentified"]


def test_a_revision_is_found_by_its_key(told: World) -> None:
    assert queries.revision(told.log, revision(2)).state == "accepted"
    with pytest.raises(NotFoundError, match="has no revision 3"):
        queries.revision(told.log, revision(3))


def test_funds_are_listed_in_order(world: World) -> None:
    rows = register_rows("P3")
    rows["funds"][0] |= {"fund_id": "A1"}
    rows["projects"][0] |= {"fund_id": "A1"}
    register.load_tables(world.services(), register_tables(rows))
    assert queries.funds(world.log) == ["A1", FUND]


def test_approved_releases_wait_until_they_are_published(world: World) -> None:
    assert (queries.releases(world.log, FUND).all, queries.approved(world.log)) == ((), [])
    events = [drafted(), ReleaseApproved(version="1.0.0", round=1, manifest=digest("m"))]
    world.log.append([Append("release/F1", 0, events)], actor="bob", recorded_at=NOW)
    assert [(fund, item.version, item.approved_by) for fund, item in queries.approved(world.log)] == [(FUND, "1.0.0", "bob")]
    world.log.append([Append("release/F1", 2, [ReleasePublished(version="1.0.0", round=1, manifest=digest("m"))])], actor="worker", recorded_at=NOW)
    assert (queries.approved(world.log), [item.state for item in queries.releases(world.log, FUND).all]) == ([], ["published"])


def test_events_are_listed_in_the_order_of_the_log(told: World) -> None:
    rows = list(queries.events(told.log))
    assert [row.position for row in rows] == list(range(1, 13))
    assert (rows[0].stream, rows[0].version, rows[0].name, rows[0].actor) == ("fund/F1", 1, "fund.registered", "ann")
    assert (rows[0].payload["fund_id"], rows[-1].hash) == (FUND, told.log.head().hash)


def test_events_can_be_asked_for_by_stream_or_its_beginning_and_after_a_position(told: World) -> None:
    assert {row.stream for row in queries.events(told.log, "submission/P1")} == {"submission/P1/2024-Q1"}
    assert [row.name for row in queries.events(told.log, "submission/P2/2024-Q1", after=10)] == ["submission.validated", "submission.rejected"]
    assert list(queries.events(told.log, "submission/P")) == []
