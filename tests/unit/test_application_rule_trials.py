"""The preview of a rule: what it would have found in the returns of the past, and that nothing is changed by looking."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.application import register, rule_trials, submissions
from pipeline.application.rule_trials import ProjectTrial, Trial
from pipeline.domain.findings import Severity
from pipeline.domain.submission import RevisionKey, SubmissionKey
from pipeline.errors import RuleError, UsageError
from tests.factories import DEFINITIONS, FUND, KEY, SECOND, Row, World, register_rows, register_tables, return_tables, take_in, write_return

RULE = "K-305"
"""A late fact, which is only noted as long as nobody changes the rule."""


def late(tables: dict[str, list[Row]]) -> None:
    """Let two outcomes be late."""
    for person in tables["participants"]:
        person["started_on"] = "2023-10-02"
    for outcome in tables["outcomes"][:2]:
        outcome |= {"achieved_on": "2023-12-20"}


@pytest.fixture
def world() -> World:
    """Give an installation with a return that has late outcomes and one that has none."""
    made = World()
    register.load_register(made.services(), Path())
    take_in(made, KEY, late)
    take_in(made, SECOND)
    return made


class Watched:
    """A `Progress` that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []
        self.done = 0

    @contextmanager
    def __call__(self, title: str, total: int) -> Iterator[Callable[[int], None]]:
        self.told.append((title, total))
        yield self._advance

    def _advance(self, done: int) -> None:
        self.done += done


def tried(world: World, rule: str = RULE, severity: Severity = Severity.ERROR, **others: Any) -> Trial:
    """Try a rule with another severity, with nothing written anywhere."""
    changed = replace(DEFINITIONS, rules={**DEFINITIONS.rules, rule: replace(DEFINITIONS.rule(rule), severity=severity)})
    before = world.log.head(), set(world.restricted.objects), set(world.public.objects)
    found = rule_trials.try_rule(replace(world.services(), definitions=changed), rule, Watched(), **others)
    assert (world.log.head(), set(world.restricted.objects), set(world.public.objects)) == before
    return found


def test_a_changed_rule_says_what_it_would_have_found_and_refused_by_project(world: World) -> None:
    found = tried(world)
    assert (found.severity, found.revisions, found.would_refuse) == (Severity.ERROR, {"P1/2024-Q1/1": 2}, ["P1/2024-Q1/1"])
    assert found.projects == [
        ProjectTrial(project_id="P1", judged=1, returns=1, places=2, places_then=2),
        ProjectTrial(project_id="P2", judged=1),
    ]
    assert found.total == ProjectTrial(project_id="all", judged=2, returns=1, places=2, places_then=2)


def test_a_rule_that_does_not_block_refuses_nothing(world: World) -> None:
    assert tried(world, severity=Severity.NOTE).would_refuse == []


def test_only_returns_in_force_are_judged_unless_all_are_asked_for(world: World, tmp_path: Path) -> None:
    tables = return_tables()
    tables["outcomes"][0] |= {"metric_id": "P1-M9"}
    submissions.submit(world.services(), write_return(tmp_path, tables), KEY)
    assert (tried(world, "K-301").total.judged, tried(world, "K-301").revisions) == (2, {})
    assert (tried(world, "K-301", is_every=True).total.judged, tried(world, "K-301", is_every=True).revisions) == (3, {"P1/2024-Q1/2": 1})


def test_returns_are_judged_by_what_was_known_then(world: World) -> None:
    take_in(world, SubmissionKey("P1", "2024-Q2"), people=2, outcomes=0, first=50)
    rows = register_rows()
    rows["projects"][0]["starts_on"] = rows["projects"][0]["starts_on"].replace(year=2024, month=3)
    register.load_tables(world.services(), register_tables(rows))
    assert tried(world, "K-306").revisions == {}, "the contract began before, when these returns were judged"


def test_returns_of_another_fund_are_left_out(world: World) -> None:
    assert tried(world, fund_id="F2").total.judged == 0
    assert tried(world, fund_id=FUND).total.judged == 2


def test_a_quarantined_delivery_is_not_read_for_it(world: World, tmp_path: Path) -> None:
    quarantine = replace(DEFINITIONS, rules={**DEFINITIONS.rules, RULE: replace(DEFINITIONS.rule(RULE), quarantine=True)})
    tables = return_tables()
    late(tables)
    tables["cover"][0] |= {"comment": "again"}
    submissions.submit(replace(world.services(), definitions=quarantine), write_return(tmp_path, tables), KEY)
    found = tried(world, is_every=True)
    assert (found.skipped, list(found.revisions), found.total.judged) == (["P1/2024-Q1/2"], ["P1/2024-Q1/1"], 2)
    assert "Not read, because quarantined: P1/2024-Q1/2" in rule_trials.describe(found)


def test_a_rule_that_there_is_not_cannot_be_tried(world: World) -> None:
    with pytest.raises(UsageError, match="no such rule"):
        rule_trials.try_rule(world.services(), "K-999", Watched())


def test_the_bar_counts_the_returns(world: World) -> None:
    bar = Watched()
    rule_trials.try_rule(world.services(), RULE, bar)
    assert (bar.told, bar.done) == ([("Returns", 2)], 2)


def test_a_judgement_that_the_log_does_not_hold_is_a_fault_of_ours() -> None:
    with pytest.raises(RuleError, match="holds no judgement"):
        rule_trials._as_known((), RevisionKey(KEY, 1))


def test_in_words_it_names_returns_and_says_that_nothing_was_changed(world: World) -> None:
    lines: Sequence[str] = rule_trials.describe(tried(world))
    assert lines[1] == "2 places in 1 of 2 returns; 2 places were found when they were judged."
    assert "Passed then, and would not pass: P1/2024-Q1/1" in lines
    assert lines[-1] == "Nothing was changed."
