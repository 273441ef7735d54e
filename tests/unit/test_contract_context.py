"""What a return is judged against comes from the log: the other returns in force, the revision that it replaces, and the fund's other contracts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.application import register, submissions
from pipeline.domain.submission import SubmissionKey
from tests.factories import KEY, SECOND, World, return_tables, revision, write_return

NEXT = SubmissionKey("P1", "2024-Q2")


@pytest.fixture
def world() -> World:
    made = World()
    register.load_register(made.services("steward"), Path())
    return made


def alone(folder: Path) -> Path:
    """Write a return that is one table without a cover: nothing in the file says whose it is."""
    return write_return(folder, {"participants": return_tables()["participants"]}, "people.json")


def counts(world: World, folder: Path, key: SubmissionKey = KEY, change: Callable[[dict[str, list[Any]]], Any] = lambda tables: None) -> set[str]:
    tables = return_tables(key)
    change(tables)
    _, judged = submissions.submit(world.services("team"), write_return(folder, tables), key)
    return set(judged.report.counts)


@pytest.mark.parametrize(("other", "message"), [(NEXT, "for 2024-Q1."), (SECOND, "for another project.")])
def test_a_file_that_is_in_force_for_another_return_is_refused(world: World, tmp_path: Path, other: SubmissionKey, message: str) -> None:
    submissions.submit(world.services(), alone(tmp_path), KEY)
    _, judged = submissions.submit(world.services(), alone(tmp_path), other)
    assert set(judged.report.counts) == {"D-014", "D-015"}
    assert judged.report.findings[0].message.endswith(message)
    assert not judged.report.passed


def test_a_file_that_was_sent_under_the_wrong_name_may_be_sent_again_when_it_was_withdrawn(world: World, tmp_path: Path) -> None:
    submissions.submit(world.services(), alone(tmp_path), KEY)
    submissions.withdraw(world.services(), revision(1), "wrong_quarter")
    _, judged = submissions.submit(world.services(), alone(tmp_path), NEXT)
    assert judged.report.passed


def test_a_revision_is_held_against_the_one_that_it_replaces(world: World, tmp_path: Path) -> None:
    assert counts(world, tmp_path) == set()
    assert counts(world, tmp_path, change=lambda tables: tables["participants"].pop()) == {"K-339"}
    assert counts(world, tmp_path, change=lambda tables: tables["participants"][0].update(gender="male")) == set(), "compared to what is in force"


def test_metrics_of_the_funds_other_contracts_are_known_as_such(world: World, tmp_path: Path) -> None:
    assert counts(world, tmp_path, change=lambda tables: tables["outcomes"][0].update(metric_id="P2-M1")) == {"K-323"}
    assert counts(world, tmp_path, change=lambda tables: tables["outcomes"][0].update(metric_id="P3-M1")) == {"K-301"}


def test_what_was_verified_and_paid_in_other_returns_counts_to_date(world: World, tmp_path: Path) -> None:
    assert counts(world, tmp_path, change=lambda tables: tables.update(payments=[])) == set()

    def pay_both(tables: dict[str, list[Any]]) -> None:
        tables["participants"] = [row | {"participant_ref": f"N{number}"} for number, row in enumerate(tables["participants"])]
        tables["outcomes"] = [row | {"participant_ref": f"N{number}"} for number, row in enumerate(tables["outcomes"])]
        tables["payments"][0] |= {"quantity": "16", "amount_gbp": "1600.00"}

    assert counts(world, tmp_path, NEXT, pay_both) == set(), "eight of the last quarter and eight of this one"


def test_what_was_verified_before_and_is_paid_in_no_return_is_queried(world: World, tmp_path: Path) -> None:
    counts(world, tmp_path, change=lambda tables: tables.update(payments=[]))
    assert counts(world, tmp_path, NEXT, lambda tables: tables.update(outcomes=[], payments=[], participants=tables["participants"][:1])) >= {"K-333"}
