"""Queries of a report and the team's answers: kept with the return, flagged until they are given, and never in the log."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import queries
from pipeline.application import explanations, register, submissions
from pipeline.application.facts import make_facts
from pipeline.domain import submission
from pipeline.domain.findings import Severity
from pipeline.domain.submission import RevisionKey, Submission
from pipeline.errors import HeldError, NotAllowedError, RuleError, UsageError
from tests.factories import DEFINITIONS, KEY, NOW, SECRET, World, return_tables, revision, write_return

RULE = "K-305"
"""A late fact: the rule asks, and does not refuse."""


def world_of(**changes: bool) -> World:
    """Return an installation with a registered fund, whose rule asks as the test needs it."""
    rules = {**DEFINITIONS.rules, RULE: replace(DEFINITIONS.rule(RULE), severity=Severity.QUERY, **changes)}  # type: ignore[arg-type]
    world = World(definitions=replace(DEFINITIONS, rules=rules))
    register.load_register(world.services(), Path())
    return world


def queried(world: World, folder: Path) -> RevisionKey:
    """Receive and validate a return with two late outcomes."""
    tables = return_tables(people=3, outcomes=2)
    for person in tables["participants"]:
        person["started_on"] = "2023-10-02"
    for outcome in tables["outcomes"]:
        outcome |= {"achieved_on": "2023-12-20"}
    key = submissions.receive(world.services("team"), write_return(folder, tables), KEY).key
    judged = submissions.validate(world.services(), key)
    assert (judged.report.passed, judged.report.counts[RULE]) == (True, 2)
    return key


def test_a_return_with_queries_is_accepted_and_flagged_until_they_are_explained(tmp_path: Path) -> None:
    world = world_of()
    key = queried(world, tmp_path)
    assert submissions.conclude(world.services(), key).revision(1).standing == "accepted, queried"
    (row,) = queries.revisions(world.log)
    assert (row.unanswered, row.explained, row.standing) == ((RULE,), [], "accepted, queried")
    explanations.answer(world.services("team"), key, RULE, "The evidence came late.")
    (row,) = queries.revisions(world.log)
    assert (row.unanswered, row.explained, row.standing) == ((), [RULE], "accepted")


def test_an_answer_is_sealed_and_the_log_holds_its_hash_only(tmp_path: Path) -> None:
    world = world_of()
    key = queried(world, tmp_path)
    explanations.answer(world.services("team"), key, RULE, f"  {SECRET} came\n late. ")
    assert SECRET not in world.payloads
    (query,) = explanations.queries(world.services(), key)
    assert (query.rule, query.count, query.explanation, query.answered_by, query.answered_at) == (RULE, 2, f"{SECRET} came late.", "team", NOW)


def test_the_same_answer_again_appends_nothing_and_another_takes_its_place(tmp_path: Path) -> None:
    world = world_of()
    key = queried(world, tmp_path)
    for words in ("One.", "One.", "Two.", "Two."):
        explanations.answer(world.services("team"), key, RULE, words)
    assert world.names.count("submission.explained") == 2
    assert [query.explanation for query in explanations.queries(world.services(), key)] == ["Two."]


def test_a_query_that_nobody_answered_is_listed_as_open(tmp_path: Path) -> None:
    world = world_of()
    (query,) = explanations.queries(world.services(), queried(world, tmp_path))
    assert (query.explanation, query.answered_by) == ("", None)


@pytest.mark.parametrize("because", ["", " \n ", "x" * 2001])
def test_an_answer_has_words_and_not_too_many(tmp_path: Path, because: str) -> None:
    world = world_of()
    with pytest.raises(UsageError, match="between 1 and 2,000 letters"):
        explanations.answer(world.services(), queried(world, tmp_path), RULE, because)


def test_only_what_the_report_asks_is_answered(tmp_path: Path) -> None:
    world = world_of()
    with pytest.raises(NotAllowedError, match=f"no query of that rule. It asks {RULE}"):
        explanations.answer(world.services(), queried(world, tmp_path), "K-301", "Because.")
    other = submissions.receive(world.services(), write_return(tmp_path, return_tables(people=1, outcomes=0)), KEY).key
    submissions.validate(world.services(), other)
    with pytest.raises(NotAllowedError, match="It asks nothing"):
        explanations.answer(world.services(), other, RULE, "Because.")


def test_what_was_rejected_is_not_explained_and_nothing_is_sealed(tmp_path: Path) -> None:
    world = world_of()
    key = queried(world, tmp_path)
    submissions.reject(world.services(), key)
    sealed = set(world.restricted.objects)
    with pytest.raises(NotAllowedError, match="is rejected; only a return that passed"):
        explanations.answer(world.services(), key, RULE, "Because.")
    assert set(world.restricted.objects) == sealed


def test_a_rule_can_ask_for_the_explanation_before_acceptance(tmp_path: Path) -> None:
    world = world_of(must_explain=True)
    key = queried(world, tmp_path)
    with pytest.raises(HeldError, match=rf"must be explained first \({RULE}\)"):
        submissions.accept(world.services(), key)
    for _ in range(2):
        held = submissions.conclude(world.services(), key).revision(1)
    assert (held.standing, held.waits_for_person, world.names.count("submission.held")) == ("validated, waits for an explanation", True, 1)
    explanations.answer(world.services("team"), key, RULE, "The evidence came late.")
    assert not queries.revision(world.log, key).waits_for_person, "a worker can take it on again"
    assert submissions.conclude(world.services(), key).revision(1).standing == "accepted"


def test_a_revision_waits_for_what_there_is_a_code_for(tmp_path: Path) -> None:
    world = world_of()
    key = queried(world, tmp_path)
    state = submission.fold(KEY, world.log.read_stream(KEY.stream))
    with pytest.raises(RuleError, match="cannot wait for better_weather"):
        submission.decide_hold(state, key.revision, "better_weather")
    submissions.accept(world.services(), key)
    assert submission.decide_hold(submission.fold(KEY, world.log.read_stream(KEY.stream)), 1, "reason_needed") == ()


def test_a_finding_that_there_is_not_is_not_explained(tmp_path: Path) -> None:
    world = world_of()
    queried(world, tmp_path)
    state: Submission = submission.fold(KEY, world.log.read_stream(KEY.stream))
    with pytest.raises(NotAllowedError, match="has no finding of rule K-301"):
        submission.decide_explain(state, 1, "K-301", "0" * 64)


class TestQuarantine:
    def quarantined(self, world: World, folder: Path) -> RevisionKey:
        key = submissions.receive(world.services("team"), write_return(folder, return_tables()), KEY).key
        world.reader.findings = [world.definitions.rule(RULE).found(quarter_start="2024-01-01")]
        assert not submissions.validate(world.services(), key).report.passed
        submissions.conclude(world.services(), key)
        world.reader.findings = ()
        return key

    def test_what_must_not_travel_is_refused_and_set_apart_whatever_the_severity(self, tmp_path: Path) -> None:
        world = world_of(quarantine=True)
        key = self.quarantined(world, tmp_path)
        found = queries.revision(world.log, key)
        assert (found.state, found.is_quarantined, found.standing) == ("rejected", True, "rejected, quarantined")
        assert [row.standing for row in queries.revisions(world.log)] == ["rejected, quarantined"]

    def test_its_bytes_are_never_read_again(self, tmp_path: Path) -> None:
        world = world_of(quarantine=True)
        key = self.quarantined(world, tmp_path)
        head = world.log.head()
        unread = world.services(reader=NoReader())
        assert not submissions.validate(unread, key).report.passed, "the report is there, from the store"
        submissions.submit(unread, write_return(tmp_path, return_tables()), KEY)
        with pytest.raises(NotAllowedError, match="is rejected and cannot be accepted"):
            submissions.accept(unread, key)
        assert world.log.head() == head

    def test_a_judgement_that_comes_after_the_quarantine_is_not_recorded(self, tmp_path: Path) -> None:
        world = world_of(quarantine=True)
        self.quarantined(world, tmp_path)
        state = submission.fold(KEY, world.log.read_stream(KEY.stream))
        assert submission.decide_validate(state, 1, passed=True, report="f" * 64, findings={}, rules="0" * 64) == ()

    def test_the_others_go_on_and_a_corrected_file_is_a_new_revision(self, tmp_path: Path) -> None:
        world = world_of(quarantine=True)
        self.quarantined(world, tmp_path)
        received, _ = submissions.submit(world.services(), write_return(tmp_path, return_tables(people=13)), KEY)
        assert (received.key, queries.revision(world.log, received.key).standing) == (revision(2), "accepted")

    def test_facts_are_not_made_of_it(self, tmp_path: Path) -> None:
        world = world_of(quarantine=True)
        key = self.quarantined(world, tmp_path)
        with pytest.raises(NotAllowedError, match="is quarantined; its bytes are not read again"):
            make_facts(world.services(reader=NoReader()), key, queries.revision(world.log, key))


class NoReader:
    """A `ReturnReader` of what must not be read."""

    def read(self, delivery: Path, meanwhile: object = None) -> object:
        raise AssertionError("A quarantined delivery was read.")
