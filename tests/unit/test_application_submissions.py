"""The verbs of one return, over an installation in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.application import register, submissions
from pipeline.application.facts import read_facts
from pipeline.application.services import ATTEMPTS, Services, decide, hash_file, read_ledger, seal, unseal, unseal_path
from pipeline.domain import submission
from pipeline.domain.events import RowChanges, RowCounts, SubmissionAccepted
from pipeline.domain.submission import RevisionKey, SubmissionKey
from pipeline.errors import ConflictError, IntegrityError, NotAllowedError, NotFoundError, UnavailableError, UsageError
from pipeline.stages.intake import content_name
from tests.factories import DEFINITIONS, FUND, KEY, SECRET, CrowdedLog, RacingLog, World, return_tables, revision, write_return
from tests.fakes import MemoryStore


@pytest.fixture
def world() -> World:
    """Give an installation with a registered fund."""
    return registered(World())


def registered(world: World) -> World:
    assert register.load_register(world.services(), Path()).is_loaded
    return world


def count(world: World, name: str) -> int:
    return world.names.count(name)


def delivered(world: World, folder: Path, key: SubmissionKey = KEY, **tables: Any) -> RevisionKey:
    """Receive a return that keeps the contract."""
    return submissions.receive(world.services(), write_return(folder, return_tables(key, **tables)), key).key


def validated(world: World, folder: Path, **tables: Any) -> RevisionKey:
    key = delivered(world, folder, **tables)
    assert submissions.validate(world.services(), key).report.passed
    return key


def accepted(world: World, folder: Path, **tables: Any) -> RevisionKey:
    key = validated(world, folder, **tables)
    submissions.accept(world.services(), key)
    return key


def faulty(world: World, folder: Path) -> RevisionKey:
    """Receive and validate a return that names a metric that there is not."""
    tables = return_tables()
    tables["outcomes"][0] |= {"metric_id": "P1-M9"}
    key = submissions.receive(world.services(), write_return(folder, tables), KEY).key
    assert not submissions.validate(world.services(), key).report.passed
    return key


def state_of(world: World, key: RevisionKey) -> submission.Revision:
    return submission.fold(key.submission, world.log.read_stream(key.submission.stream)).revision(key.revision)


def in_force(world: World, key: SubmissionKey = KEY) -> int | None:
    found = read_ledger(world.services()).in_force(FUND).get(key)
    return found.number if found else None


class TestReceive:
    def test_the_bytes_are_sealed_under_their_hash_before_anything_is_read(self, world: World, tmp_path: Path) -> None:
        path = tmp_path / "P1_2024-Q1.xlsx"
        path.write_bytes(b"anything at all")
        received = submissions.receive(world.services("team"), path)
        assert (received.key, received.is_new, received.content, received.received_at) == (revision(1), True, hash_file(path), world.clock.now)
        assert world.restricted.objects[content_name(received.content)] == b"anything at all"
        found = state_of(world, received.key)
        assert (world.names[-1], found.received_by, found.size_bytes) == ("submission.received", "team", 15)

    def test_the_same_bytes_again_append_nothing_and_keep_their_revision(self, world: World, tmp_path: Path) -> None:
        first = submissions.receive(world.services(), write_return(tmp_path, return_tables()))
        world.clock.advance()
        again = submissions.receive(world.services("bob"), write_return(tmp_path, return_tables(), "P1_2024-Q1 (1).json"))
        assert again == replace(first, is_new=False)
        assert count(world, "submission.received") == 1

    def test_other_bytes_are_the_next_revision(self, world: World, tmp_path: Path) -> None:
        assert [delivered(world, tmp_path, people=people) for people in (12, 13, 12)] == [revision(1), revision(2), revision(1)]

    @pytest.mark.parametrize(("place", "expected"), [("P2/2023-Q4/return.json", "P2/2023-Q4"), ("P2_2023-Q4 final.json", "P2/2023-Q4")])
    def test_a_delivery_says_whose_it_is_by_its_place_or_name(self, world: World, tmp_path: Path, place: str, expected: str) -> None:
        path = write_return(tmp_path, return_tables())
        assert str(submissions.receive(world.services(), path, name=PurePath(place)).key.submission) == expected

    def test_a_delivery_that_does_not_say_whose_it_is_is_kept_all_the_same(self, world: World, tmp_path: Path) -> None:
        received, judged = submissions.submit(world.services(), write_return(tmp_path, return_tables(), "results.json"))
        assert received.key.submission == SubmissionKey("unidentified", received.content[:16])
        assert (judged.report.counts, state_of(world, received.key).state) == ({"D-001": 1}, "rejected")
        assert content_name(received.content) in world.restricted.objects

    def test_a_delivery_that_races_with_another_is_decided_again(self, tmp_path: Path) -> None:
        log = RacingLog()
        world = registered(World(log=log))
        log.others = [lambda: delivered(world, tmp_path / "other", people=13)]
        assert delivered(world, tmp_path) == revision(2)
        assert (count(world, "submission.received"), [one.number for one in read_ledger(world.services()).submissions[KEY].revisions]) == (2, [1, 2])

    def test_two_that_bring_the_same_bytes_at_once_bring_one_revision(self, tmp_path: Path) -> None:
        log = RacingLog()
        world = registered(World(log=log))
        log.others = [lambda: delivered(world, tmp_path / "other")]
        assert delivered(world, tmp_path) == revision(1)
        assert count(world, "submission.received") == 1

    def test_a_file_that_is_written_to_while_it_is_taken_in_is_not_received(self, world: World, tmp_path: Path) -> None:
        path = write_return(tmp_path, return_tables())
        unfinished = GrowingStore(path)
        with pytest.raises(ConflictError, match="was written to while it was taken in"):
            submissions.receive(world.services(restricted=unfinished), path)
        assert count(world, "submission.received") == 0
        assert submissions.receive(world.services(restricted=unfinished), path).key == revision(1)

    def test_a_file_that_was_taken_away_is_not_found(self, world: World, tmp_path: Path) -> None:
        with pytest.raises(NotFoundError, match=r"P1_2024-Q1\.json is not there any more"):
            submissions.receive(world.services(), tmp_path / "P1_2024-Q1.json")


class GrowingStore(MemoryStore):
    """A store into which a file is put that somebody writes to at the same moment."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.more = path, b" "

    def put(self, name: str, content: bytes | Path) -> bool:
        if content == self.path:
            self.path.write_bytes(self.path.read_bytes() + self.more)
            self.more = b""
        return super().put(name, content)


class TestValidate:
    def test_a_return_that_keeps_the_contract_passes_and_its_report_is_sealed(self, world: World, tmp_path: Path) -> None:
        key = delivered(world, tmp_path)
        judged = submissions.validate(world.services(), key)
        found = state_of(world, key)
        assert (judged.report.verdict, found.state, found.passed, found.findings) == ("passed", "validated", True, {})
        assert (found.rules, submissions.read_report(world.services(), found)) == (DEFINITIONS.digests["rules"], judged.report)

    def test_validating_again_appends_nothing(self, world: World, tmp_path: Path) -> None:
        key = validated(world, tmp_path)
        submissions.validate(world.services(), key)
        assert count(world, "submission.validated") == 1

    def test_what_is_wrong_is_counted_by_rule_in_the_log(self, world: World, tmp_path: Path) -> None:
        assert state_of(world, faulty(world, tmp_path)).findings == {"K-301": 1}

    def test_other_rules_judge_again_until_the_return_is_decided(self, world: World, tmp_path: Path) -> None:
        key = validated(world, tmp_path)
        world.structure.found = {"structure": [DEFINITIONS.rule("S-101").found("outcomes", 2, "metric_id")]}
        assert not submissions.validate(world.services(), key).report.passed
        world.structure.found = {}
        submissions.validate(world.services(), key)
        submissions.accept(world.services(), key)
        world.structure.found = {"structure": [DEFINITIONS.rule("S-101").found("outcomes", 2, "metric_id")]}
        assert submissions.validate(world.services(), key).report.passed
        assert count(world, "submission.validated") == 3

    @pytest.mark.parametrize("stage", ["reader", "structure", "content", "contract"])
    def test_content_and_contract_are_judged_only_when_file_and_structure_are_right(self, world: World, tmp_path: Path, stage: str) -> None:
        tables = return_tables()
        tables["outcomes"][0] |= {"metric_id": "P1-M9"}
        key = submissions.receive(world.services(), write_return(tmp_path, tables), KEY).key
        content = DEFINITIONS.rule("C-211").found("outcomes", 2, "verified_on")
        structure = DEFINITIONS.rule("S-101").found("outcomes", 2, "metric_id")
        given: dict[str, tuple[Any, Any, dict[str, int]]] = {
            "reader": ([DEFINITIONS.rule("F-015").found()], structure, {"F-015": 1}),
            "structure": ((), structure, {"S-101": 1}),
            "content": ((), None, {"C-211": 1, "K-301": 1}),
            "contract": ((), None, {"K-301": 1}),
        }
        world.reader.findings, found, expected = given[stage]
        world.structure.found = {"structure": [found]} if found else {}
        world.content.found = {"submission_outcomes": [content]} if stage != "contract" else {}
        assert submissions.validate(world.services(), key).report.counts == expected

    def test_the_other_quarters_of_the_project_are_known_to_the_judgement(self, world: World, tmp_path: Path) -> None:
        accepted(world, tmp_path)
        later = SubmissionKey("P1", "2024-Q2")
        tables = return_tables(later) | {"participants": []}
        key = submissions.receive(world.services(), write_return(tmp_path, tables), later).key
        assert set(submissions.validate(world.services(), key).report.counts) == {"K-313"}, "known people, but the outcome can be claimed once"

    def test_a_return_of_an_unknown_project_is_refused_by_name_of_the_rule(self, world: World, tmp_path: Path) -> None:
        stranger = SubmissionKey("P7", "2024-Q1")
        received, judged = submissions.submit(world.services(), write_return(tmp_path, return_tables(stranger)), stranger)
        assert (judged.report.counts, state_of(world, received.key).state) == ({"D-002": 1}, "rejected")

    def test_a_revision_that_is_not_there_is_not_found(self, world: World) -> None:
        with pytest.raises(NotFoundError, match="has no revision 1"):
            submissions.validate(world.services(), revision(1))

    def test_a_report_that_there_is_not_cannot_be_read(self, world: World, tmp_path: Path) -> None:
        key = delivered(world, tmp_path)
        with pytest.raises(NotAllowedError, match="not been validated yet"):
            submissions.read_report(world.services(), state_of(world, key))

    def test_a_judgement_that_comes_after_somebody_elses_decision_is_not_recorded(self, tmp_path: Path) -> None:
        log = RacingLog()
        world = registered(World(log=log))
        key = validated(world, tmp_path)
        log.others = [lambda: submissions.accept(world.services(), key)]
        world.structure.found = {"structure": [DEFINITIONS.rule("S-101").found("outcomes", 2, "metric_id")]}
        submissions.validate(world.services(), key)
        assert (state_of(world, key).state, count(world, "submission.validated")) == ("accepted", 1)


class TestAccept:
    def test_every_row_becomes_a_fact_in_one_file_for_each_table(self, world: World, tmp_path: Path) -> None:
        key = accepted(world, tmp_path, people=12, outcomes=8)
        found = state_of(world, key)
        assert {file.table: file.rows for file in found.facts} == {"service_starts": 12, "outcomes": 8, "payments": 1}
        assert (found.rows, found.changes) == (
            RowCounts(delivered=21, accepted=21, blank=0, late=0),
            RowChanges(added=21, changed=0, removed=0),
        )

    def test_facts_are_read_back_as_they_were_written(self, world: World, tmp_path: Path) -> None:
        facts = read_facts(world.services(), state_of(world, accepted(world, tmp_path, people=3, outcomes=2)).facts)
        assert {name: table.num_rows for name, table in facts.items()} == {"service_starts": 3, "outcomes": 2, "payments": 1}
        assert read_facts(world.services(), ())["outcomes"].schema == facts["outcomes"].schema

    def test_accepting_again_appends_nothing(self, world: World, tmp_path: Path) -> None:
        key = accepted(world, tmp_path)
        submissions.accept(world.services(), key)
        assert count(world, "submission.accepted") == 1

    def test_two_workers_at_once_accept_once(self, tmp_path: Path) -> None:
        log = RacingLog()
        world = registered(World(log=log))
        key = validated(world, tmp_path)
        log.others = [lambda: submissions.accept(world.services(), key)]
        assert submissions.accept(world.services(), key).revision(1).state == "accepted"
        assert count(world, "submission.accepted") == 1

    def test_a_table_that_was_not_delivered_brings_no_facts(self, world: World, tmp_path: Path) -> None:
        tables = return_tables()
        del tables["payments"]
        received, _ = submissions.submit(world.services(), write_return(tmp_path, tables), KEY)
        assert {file.table for file in state_of(world, received.key).facts} == {"service_starts", "outcomes"}

    def test_a_nil_return_has_no_facts_and_is_in_force(self, world: World, tmp_path: Path) -> None:
        tables = return_tables(people=0, outcomes=0)
        tables["cover"][0] |= {"is_nil_return": "yes"}
        received, _ = submissions.submit(world.services(), write_return(tmp_path, tables), KEY)
        assert (state_of(world, received.key).facts, in_force(world)) == ((), 1)

    def test_what_was_not_validated_cannot_be_accepted(self, world: World, tmp_path: Path) -> None:
        key = delivered(world, tmp_path)
        with pytest.raises(NotAllowedError, match="P1/2024-Q1/1 has not passed validation"):
            submissions.accept(world.services(), key)

    def test_what_did_not_pass_cannot_be_accepted(self, world: World, tmp_path: Path) -> None:
        key = faulty(world, tmp_path)
        with pytest.raises(NotAllowedError, match="has not passed validation and cannot be accepted"):
            submissions.accept(world.services(), key)
        assert in_force(world) is None

    def test_what_was_rejected_or_withdrawn_is_not_said_to_have_failed(self, world: World, tmp_path: Path) -> None:
        rejected = validated(world, tmp_path)
        submissions.reject(world.services(), rejected)
        withdrawn = accepted(world, tmp_path, people=13)
        submissions.withdraw(world.services(), withdrawn, "sent_in_error")
        for key, state in ((rejected, "rejected"), (withdrawn, "withdrawn")):
            with pytest.raises(NotAllowedError, match=f"is {state} and cannot be accepted"):
                submissions.accept(world.services(), key)

    def test_a_delivery_that_cannot_be_read_now_is_not_accepted_as_an_empty_one(self, world: World, tmp_path: Path) -> None:
        accepted(world, tmp_path)
        key = validated(world, tmp_path, people=13)
        world.reader.findings = [DEFINITIONS.rule("F-014").found(memory_mb="64", seconds="1")]
        with pytest.raises(UnavailableError, match=r"cannot be read now \(F-014\). Nothing was accepted"):
            submissions.accept(world.services(), key)
        assert (in_force(world), state_of(world, key).state) == (1, "validated")
        world.reader.findings = ()
        assert submissions.accept(world.services(), key).revision(2).state == "accepted"

    def test_a_delivery_that_somebody_altered_is_not_accepted(self, world: World, tmp_path: Path) -> None:
        key = validated(world, tmp_path)
        world.restricted.objects[content_name(state_of(world, key).content)] = b"{}"
        with pytest.raises(IntegrityError, match="no longer has the bytes that were sealed"):
            submissions.accept(world.services(), key)

    def test_a_later_revision_replaces_the_earlier_and_says_how_it_differs(self, world: World, tmp_path: Path) -> None:
        accepted(world, tmp_path, people=12, outcomes=8)
        tables = return_tables(people=13, outcomes=8)
        tables["outcomes"] = tables["outcomes"][1:]
        tables["payments"][0] |= {"amount_gbp": "700.00", "quantity": "7"}
        received, _ = submissions.submit(world.services(), write_return(tmp_path, tables), KEY)
        assert (in_force(world), state_of(world, received.key).changes) == (2, RowChanges(added=1, changed=1, removed=1))
        assert replaced(world) == [None, 1]

    def test_an_earlier_revision_accepted_after_a_later_one_stays_out_of_force(self, world: World, tmp_path: Path) -> None:
        first, second = validated(world, tmp_path, people=12), validated(world, tmp_path, people=13)
        submissions.accept(world.services(), second)
        submissions.accept(world.services(), first)
        assert (in_force(world), replaced(world)) == (2, [None, None])


def replaced(world: World) -> list[int | None]:
    return [recorded.event.replaces for recorded in world.events if isinstance(recorded.event, SubmissionAccepted)]


class TestDecisions:
    def test_what_did_not_pass_is_rejected_once(self, world: World, tmp_path: Path) -> None:
        key = faulty(world, tmp_path)
        assert [submissions.conclude(world.services(), key).revision(1).state for _ in range(2)] == ["rejected", "rejected"]
        assert count(world, "submission.rejected") == 1

    def test_what_passed_is_accepted_once(self, world: World, tmp_path: Path) -> None:
        key = validated(world, tmp_path)
        assert [submissions.conclude(world.services(), key).revision(1).state for _ in range(2)] == ["accepted", "accepted"]
        assert count(world, "submission.accepted") == 1

    def test_what_was_never_judged_cannot_be_concluded(self, world: World, tmp_path: Path) -> None:
        key = delivered(world, tmp_path)
        with pytest.raises(NotAllowedError, match="has not passed validation"):
            submissions.conclude(world.services(), key)

    @pytest.mark.parametrize("decision", ["reject", "withdraw"])
    def test_what_a_person_decided_stays_when_the_same_bytes_come_again(self, world: World, tmp_path: Path, decision: str) -> None:
        if decision == "reject":
            submissions.reject(world.services(), validated(world, tmp_path))
        else:
            submissions.withdraw(world.services(), accepted(world, tmp_path), "wrong_quarter")
        before = world.names
        received, judged = submissions.submit(world.services(), write_return(tmp_path, return_tables()), KEY)
        assert (received.is_new, judged.report.passed, in_force(world), world.names) == (False, True, None, before)

    def test_a_rejected_return_is_accepted_when_it_comes_again_and_what_was_missing_is_there_now(self, world: World, tmp_path: Path) -> None:
        later = SubmissionKey("P1", "2024-Q2")
        path = write_return(tmp_path, return_tables(later, first=50) | {"participants": []}, "P1_2024-Q2.json")
        first, judged = submissions.submit(world.services(), path)
        assert (judged.report.counts, state_of(world, first.key).state) == ({"K-308": 8}, "rejected")
        submissions.submit(world.services(), write_return(tmp_path, return_tables(first=50, outcomes=0)), KEY)
        again, judged = submissions.submit(world.services(), path)
        assert (again.key, again.is_new, judged.report.passed, in_force(world, later)) == (first.key, False, True, 1)

    def test_the_same_return_submitted_twice_is_taken_in_once(self, world: World, tmp_path: Path) -> None:
        for _ in range(2):
            received, judged = submissions.submit(world.services(), write_return(tmp_path, return_tables()), KEY)
        assert (received.is_new, judged.report.passed) == (False, True)
        assert [count(world, f"submission.{step}") for step in ("received", "validated", "accepted")] == [1, 1, 1]

    def test_withdrawing_brings_the_earlier_revision_into_force_again_and_twice_appends_once(self, world: World, tmp_path: Path) -> None:
        accepted(world, tmp_path, people=12)
        second = accepted(world, tmp_path, people=13)
        assert in_force(world) == 2
        for _ in range(2):
            submissions.withdraw(world.services(), second, "sent_in_error")
        assert (in_force(world), count(world, "submission.withdrawn")) == (1, 1)

    def test_a_withdrawal_needs_a_coded_reason(self, world: World, tmp_path: Path) -> None:
        key = accepted(world, tmp_path)
        with pytest.raises(UsageError, match="A withdrawal needs a reason"):
            submissions.withdraw(world.services(), key, f"{SECRET} asked for it")

    def test_what_counts_cannot_be_rejected(self, world: World, tmp_path: Path) -> None:
        key = accepted(world, tmp_path)
        with pytest.raises(NotAllowedError, match="is accepted and cannot become rejected"):
            submissions.reject(world.services(), key)

    def test_deciding_gives_up_when_others_are_always_faster(self, tmp_path: Path) -> None:
        log = CrowdedLog()
        services = World(log=log).services()
        with pytest.raises(ConflictError, match=r"Others kept changing submission/P1/2024-Q1. Nothing was lost"):
            submissions.receive(services, write_return(tmp_path, return_tables()), KEY)
        assert log.attempts == ATTEMPTS

    def test_deciding_to_do_nothing_appends_nothing(self, world: World) -> None:
        before = world.names
        state, appended = decide(world.services(), KEY.stream, lambda events: submission.fold(KEY, events), lambda state: ())
        assert (state.revisions, appended, world.names) == ((), (), before)


class TestPrivacy:
    def test_no_reference_of_a_return_reaches_an_event_a_report_or_a_fact(self, world: World, tmp_path: Path) -> None:
        submissions.withdraw(world.services(), accepted(world, tmp_path), "sent_in_error")
        tables = return_tables(people=13)
        tables["outcomes"][0] |= {"metric_id": SECRET, "participant_ref": f"{SECRET}-stranger"}
        tables["payments"][0] |= {"payer_id": SECRET}
        received, judged = submissions.submit(world.services(), write_return(tmp_path, tables), KEY)
        assert state_of(world, received.key).state == "rejected"
        assert {"K-301", "K-302", "K-308"} <= set(judged.report.counts)
        assert SECRET not in world.payloads
        assert SECRET not in judged.report.to_bytes().decode()
        for name, content in sealed_besides_deliveries(world).items():
            assert SECRET.encode() not in content, name

    def test_facts_speak_of_people_by_pseudonym_only(self, world: World, tmp_path: Path) -> None:
        found = state_of(world, accepted(world, tmp_path, people=3, outcomes=2))
        for file in found.facts:
            rows = pq.read_table(unseal_path(world.restricted, file.sha256)).to_pylist()
            assert rows
            assert SECRET not in repr(rows)

    def test_errors_do_not_repeat_what_a_cell_says(self, world: World, tmp_path: Path) -> None:
        tables = return_tables()
        tables["outcomes"][0] |= {"achieved_on": SECRET}
        key = submissions.receive(world.services(), write_return(tmp_path, tables), KEY).key
        with pytest.raises(Exception, match="its structure was not checked") as caught:
            submissions.validate(world.services(), key)
        assert SECRET not in str(caught.value)


def sealed_besides_deliveries(world: World) -> Mapping[str, bytes]:
    deliveries = {content_name(one.content) for found in read_ledger(world.services()).submissions.values() for one in found.revisions}
    return {name: content for name, content in world.restricted.objects.items() if name not in deliveries}


class TestSealing:
    def test_sealed_bytes_come_back_until_somebody_alters_them(self, world: World) -> None:
        services: Services = world.services()
        digest = seal(services.restricted, b"something")
        assert (seal(services.restricted, b"something"), unseal(services.restricted, digest)) == (digest, b"something")
        world.restricted.objects[content_name(digest)] = b"something else"
        with pytest.raises(IntegrityError, match="Restore it from a copy"):
            unseal(services.restricted, digest)
        with pytest.raises(IntegrityError, match="Restore it from a copy"):
            unseal_path(services.restricted, digest)

    def test_a_report_that_is_none_is_an_integrity_error(self, world: World, tmp_path: Path) -> None:
        key = validated(world, tmp_path)
        found = replace(state_of(world, key), report=seal(world.restricted, json.dumps({"format": "other"}).encode()))
        with pytest.raises(IntegrityError, match="not of the format"):
            submissions.read_report(world.services(), found)
