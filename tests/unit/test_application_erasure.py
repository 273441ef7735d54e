"""Erasing a participant: what goes, what stays, what says so, and that it ends the same wherever it died."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipeline.application import corrections, erasure, erasures, explanations, proofs, receipts, releases, submissions
from pipeline.application.facts import read_facts
from pipeline.application.services import read_ledger
from pipeline.domain.erasure import ParticipantErased, SubmissionRedacted
from pipeline.domain.events import FactFile
from pipeline.domain.submission import SubmissionKey
from pipeline.errors import ConflictError, ErasedError, NotAllowedError, NotFoundError, UsageError
from pipeline.stages.intake import content_name
from tests.factories import (
    FUND,
    KEY,
    SECOND,
    SECRET,
    Crash,
    RacingLog,
    Row,
    World,
    at,
    published_objects,
    return_tables,
    revision,
    take_in,
    world_at,
    write_return,
)

ONE = f"{SECRET}-1"
LATER = SubmissionKey("P1", "2024-Q2")
PERSON = "requested_by_person"


def pseudonym(world: World, project: str = "P1", reference: str = ONE) -> str:
    return str(world.services().pseudonymiser.pseudonyms(project, "participant", pa.array([reference]))[0].as_py())


def erase(world: World, reference: str = ONE, **given: Any) -> list[erasure.Certificate]:
    return list(erasure.erase(world.services("steward"), "P1", reference, PERSON, **given))


def traces(world: World, name: str) -> list[str]:
    """Return the sealed objects in whose bytes a name stands; facts are read, because their pages are compressed.

    The other project's upload is not looked at: it has people of its own, whom it calls by the same references.
    """
    import pyarrow.parquet as pq

    theirs = content_name(submissions.load(world.services(), SECOND).revision(1).content)
    found = []
    for key, sealed in world.restricted.objects.items():
        is_table = sealed.startswith(b"PAR1")
        content = json.dumps(pq.read_table(pa.BufferReader(sealed)).to_pylist(), default=str).encode() if is_table else sealed
        if f'"{name}"'.encode() in content and key != theirs:
            found.append(key)
    return found


def people(world: World, key: SubmissionKey = KEY) -> int:
    facts = read_facts(world.services(), [file for revision in submissions.load(world.services(), key).revisions for file in revision.facts])
    return int(facts["service_starts"].num_rows)


def publish_next(world: World) -> str:
    made = releases.make(world.services("ann"), FUND)
    assert made is not None
    assert made.audit_passed
    releases.approve(world.services("bob"), FUND, made.version, str(made.manifest))
    return releases.publish(world.services("worker"), FUND, made.version).version


class TestErase:
    def test_rows_go_from_the_facts_and_the_upload_and_its_report_are_destroyed(self) -> None:
        world = at("published")
        before = submissions.load(world.services(), KEY).revision(1)
        assert traces(world, ONE)
        assert traces(world, pseudonym(world))
        (made,) = erase(world)
        assert (traces(world, ONE), traces(world, pseudonym(world))) == ([], [])
        assert not world.restricted.exists(content_name(before.content))
        assert not world.restricted.exists(content_name(str(before.report)))
        assert [(item.kind, item.of) for item in made.destroyed] == [
            ("facts", "P1/2024-Q1/1"),
            ("facts", "P1/2024-Q1/1"),
            ("delivery", "P1/2024-Q1/1"),
            ("report", "P1/2024-Q1/1"),
        ]
        after = submissions.load(world.services(), KEY).revision(1)
        assert (after.state, after.is_erased, after.erased_rows, after.standing) == ("accepted", True, 2, "accepted, redacted")
        assert {file.table: file.rows for file in after.facts} == {"service_starts": 11, "outcomes": 7, "payments": 1}

    def test_everybody_else_stays(self) -> None:
        world = at("published")
        facts = {file.table: file for file in submissions.load(world.services(), KEY).revision(1).facts}
        was = read_facts(world.services(), [facts["service_starts"]])["service_starts"]
        erase(world)
        now = read_facts(world.services(), submissions.load(world.services(), KEY).revision(1).facts)["service_starts"]
        assert now.equals(was.filter(pc.not_equal(was["participant"], pseudonym(world))))
        assert submissions.load(world.services(), SECOND).revision(1).is_erased is False

    def test_the_event_holds_hashes_and_counts_and_neither_reference_nor_pseudonym(self) -> None:
        world = at("published")
        erase(world)
        assert world.names[-2:] == ["participant.erased", "submission.redacted"]
        assert ONE not in world.payloads
        assert pseudonym(world) not in world.payloads
        event = world.events[-2].event
        assert isinstance(event, ParticipantErased)
        assert [(file.table, file.rows) for file in event.files] == [("service_starts", 1), ("outcomes", 1)]
        assert world.log.verify() is None

    def test_revisions_that_no_longer_count_are_redacted_too(self) -> None:
        world = at("published")
        take_in(world, people=13)
        submissions.withdraw(world.services("team"), revision(2), "sent_in_error")
        erase(world)
        assert traces(world, pseudonym(world)) == []
        assert [one.erased_rows for one in submissions.load(world.services(), KEY).revisions] == [2, 2]
        assert submissions.load(world.services(), KEY).in_force == submissions.load(world.services(), KEY).revision(1)

    def test_a_person_of_several_quarters_goes_from_all(self) -> None:
        world = at("published")
        take_in(world, LATER, people=3, outcomes=0, first=1)
        (made,) = erase(world)
        assert {item.of for item in made.destroyed} == {"P1/2024-Q1/1", "P1/2024-Q2/1"}
        assert traces(world, pseudonym(world)) == []

    def test_a_file_of_which_nothing_is_left_is_replaced_by_none(self) -> None:
        world = at("published")
        take_in(world, LATER, people=1, outcomes=1, first=50)
        erase(world, f"{SECRET}-50")
        assert [file.table for file in submissions.load(world.services(), LATER).revision(1).facts] == ["payments"]
        assert erasures.read_erasures(world.services()).resolve(file_of(world)) is None

    def test_refused_deliveries_that_hold_the_reference_are_destroyed_and_others_stay(self, tmp_path: Path) -> None:
        world = at("returned in")
        tables = [return_tables(LATER, first=50), return_tables(LATER, people=2)]
        for rows in tables:
            rows["outcomes"][0]["metric_id"] = "P9"
        kept, _ = submissions.submit(world.services(), write_return(tmp_path, tables[0], "a.json"), LATER)
        gone, _ = submissions.submit(world.services(), write_return(tmp_path, tables[1], "b.json"), LATER)
        erase(world)
        state = submissions.load(world.services(), LATER)
        assert [one.is_erased for one in state.revisions] == [False, True]
        assert (world.restricted.exists(content_name(kept.content)), world.restricted.exists(content_name(gone.content))) == (True, False)
        assert state.revision(2).state == "rejected"

    def test_a_delivery_that_waits_and_holds_the_reference_is_refused_for_good(self, tmp_path: Path) -> None:
        world = at("published")
        path = write_return(tmp_path, return_tables(LATER, people=2, outcomes=0))
        received = submissions.receive(world.services("team"), path, LATER)
        submissions.validate(world.services("team"), received.key)
        erase(world)
        assert submissions.load(world.services(), LATER).revision(1).state == "rejected"
        assert submissions.conclude(world.services(), received.key).revision(1).state == "rejected"
        with pytest.raises(NotAllowedError, match="is rejected and cannot be accepted"):
            submissions.accept(world.services(), received.key)
        with pytest.raises(ErasedError, match="The report on revision 1 was destroyed"):
            submissions.validate(world.services(), received.key)

    def test_a_worker_that_read_the_delivery_before_cannot_accept_it_after(self, tmp_path: Path) -> None:
        log = RacingLog()
        world = world_at("published").copy(log)
        received = submissions.receive(world.services("team"), write_return(tmp_path, return_tables(LATER, people=2, outcomes=0)), LATER)
        submissions.validate(world.services("team"), received.key)
        log.others = [lambda: erase(world)]
        with pytest.raises(NotAllowedError, match="is rejected and cannot become accepted"):
            submissions.accept(world.services("team"), received.key)
        assert "submission.accepted" not in world.names[-3:]

    def test_what_cannot_be_read_is_destroyed_when_it_is_the_projects_and_searched_when_it_is_nobodys(self, tmp_path: Path) -> None:
        import zipfile

        world = at("published")
        world.reader.findings = [world.definitions.rule("F-001").found()]
        (tmp_path / "broken.bin").write_bytes(b"\x00")
        ours = submissions.receive(world.services(), tmp_path / "broken.bin", LATER)
        deliveries = {}
        for name, content in (("clear", ONE), ("wide", ONE.encode("utf-16-le")), ("none", "somebody else")):
            path = tmp_path / f"{name}.dat"
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            deliveries[name] = submissions.receive(world.services(), path)
        with zipfile.ZipFile(tmp_path / "packed.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.csv", f"x,{ONE}\n" * 50)
        deliveries["packed"] = submissions.receive(world.services(), tmp_path / "packed.zip")
        erase(world)
        assert not world.restricted.exists(content_name(ours.content))
        assert {name: world.restricted.exists(content_name(one.content)) for name, one in deliveries.items()} == {
            "clear": False,
            "wide": False,
            "none": True,
            "packed": False,
        }

    def test_what_was_quarantined_is_not_read_again_and_goes(self, tmp_path: Path) -> None:
        world = at("published")
        rule = next(rule for rule in world.definitions.rules.values() if rule.quarantine)
        world.reader.findings = [rule.found()]
        path = write_return(tmp_path, return_tables(LATER, first=50))
        received, _ = submissions.submit(world.services(), path, LATER)
        assert submissions.load(world.services(), LATER).revision(1).is_quarantined
        erase(world)
        assert not world.restricted.exists(content_name(received.content))

    def test_the_same_bytes_under_another_name_are_gone_there_too(self, tmp_path: Path) -> None:
        world = at("returned in")
        path = write_return(tmp_path, return_tables(KEY))
        other, _ = submissions.submit(world.services(), path, SubmissionKey("P2", "2023-Q4"))
        assert other.content == submissions.load(world.services(), KEY).revision(1).content
        erase(world)
        assert submissions.load(world.services(), other.key.submission).revision(1).is_erased

    def test_an_explanation_that_repeats_the_reference_is_destroyed_and_others_stay(self) -> None:
        world = at("returned in")

        def overpay(tables: dict[str, list[Row]]) -> None:
            tables["payments"][0] |= {"quantity": None, "basis": "activity", "reason": "covid", "amount_gbp": "60000.00"}

        take_in(world, LATER, overpay, first=50)
        explanations.answer(world.services("team"), revision(1, LATER), "K-319", "The cap is being raised.")
        explanations.answer(world.services("team"), revision(1, LATER), "K-319", f"It is for {SECRET}-50 alone.")
        (made,) = erase(world, f"{SECRET}-50")
        assert [item.kind for item in made.destroyed].count("explanation") == 1
        assert any(b"The cap is being raised" in content for content in world.restricted.objects.values())
        assert not any(f"for {SECRET}-50 alone".encode() in content for content in world.restricted.objects.values())

    def test_copies_in_the_inbox_are_destroyed_and_other_files_stay(self, tmp_path: Path) -> None:
        world = at("published")
        inbox = tmp_path / "inbox"
        theirs = write_return(inbox, return_tables(KEY), "P1/2024-Q1/return.json")
        others = write_return(inbox, return_tables(SECOND), "P2/2024-Q1/return.json")
        erase(world, inbox=inbox)
        assert (theirs.exists(), others.exists()) == (False, True)

    def test_the_same_bytes_sent_again_are_not_taken_in(self, tmp_path: Path) -> None:
        world = at("published")
        erase(world)
        before = dict(world.restricted.objects)
        with pytest.raises(ErasedError, match="A file with the same bytes was destroyed when a participant was erased"):
            submissions.submit(world.services("team"), write_return(tmp_path, return_tables(KEY)), KEY)
        assert world.restricted.objects == before

    def test_bytes_that_come_in_again_while_they_are_erased_are_destroyed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        world = at("published")
        path = write_return(tmp_path, return_tables(KEY))
        real = submissions.seal_file

        def seal_late(*given: Any) -> Any:
            erase(world)
            return real(*given)

        monkeypatch.setattr(submissions, "seal_file", seal_late)
        with pytest.raises(ErasedError, match="A file with the same bytes"):
            submissions.receive(world.services("team"), path, KEY)
        assert traces(world, ONE) == []

    def test_a_return_that_comes_in_at_the_same_time_is_found_by_looking_again(self) -> None:
        log = RacingLog()
        world = world_at("published").copy(log)
        log.others = [lambda: take_in(world, people=13)]
        made = erase(world)
        assert len(made) == 1
        assert traces(world, pseudonym(world)) == []
        assert {item.of for item in made[0].destroyed} == {"P1/2024-Q1/1", "P1/2024-Q1/2"}

    def test_when_returns_keep_coming_it_gives_up_and_says_so(self) -> None:
        from tests.factories import CrowdedLog

        log = CrowdedLog()
        world = world_at("published").copy(log)
        with pytest.raises(ConflictError, match="kept coming in"):
            erase(world)
        assert log.attempts == erasure.ATTEMPTS

    def test_erasing_somebody_of_whom_nothing_is_held_appends_nothing(self) -> None:
        world = at("published")
        assert erase(world, "nobody") == []
        erase(world)
        head = world.log.head()
        assert erase(world) == []
        assert world.log.head() == head

    def test_a_second_person_can_be_erased_from_the_same_return(self) -> None:
        world = at("published")
        erase(world)
        (made,) = erase(world, f"{SECRET}-2")
        assert {item.kind for item in made.destroyed} == {"facts"}
        assert submissions.load(world.services(), KEY).revision(1).erased_rows == 4
        assert traces(world, pseudonym(world, reference=f"{SECRET}-2")) == []
        facts = read_facts(world.services(), read_ledger(world.services(), 6).submissions[KEY].revision(1).facts)
        assert facts["service_starts"].num_rows == 10

    @pytest.mark.parametrize("reference", ["", "  \n", "one\ntwo"])
    def test_a_reference_is_one_line(self, reference: str) -> None:
        with pytest.raises(UsageError, match="one reference, on one line"):
            erase(at("published"), reference)

    def test_an_unknown_project_or_reason_is_refused(self) -> None:
        world = at("published")
        with pytest.raises(NotFoundError, match="There is no project P9"):
            erasure.erase(world.services(), "P9", ONE, PERSON)
        with pytest.raises(UsageError, match="one of requested_by_person"):
            erasure.erase(world.services(), "P1", ONE, "because")

    def test_planning_appends_and_destroys_nothing(self) -> None:
        world = at("published")
        head, before = world.log.head(), set(world.restricted.objects)
        plan = erasure.find(world.services(), "P1", ONE)
        assert [str(key) for key in plan.files] == ["P1/2024-Q1/1"]
        assert (world.log.head(), before <= set(world.restricted.objects)) == (head, True)


def file_of(world: World) -> FactFile:
    """Return the fact file that an erasure replaced by none."""
    erased = world.events[-2].event
    assert isinstance(erased, ParticipantErased)
    old = next(file for file in erased.files if file.new is None)
    return FactFile(table=old.table, sha256=old.old, rows=1, size_bytes=1, number=1)


class TestCrash:
    @pytest.fixture
    def complete(self) -> tuple[int, set[str]]:
        world = at("published")
        erase(world)
        return world.log.head().position, set(world.restricted.objects)

    def steps(self, world: World, dies_at: int) -> Iterator[None]:
        """Let the store die at the n-th object that is destroyed."""
        real, count = world.restricted.destroy, 0

        def destroy(name: str) -> bool:
            nonlocal count
            count += 1
            if count == dies_at:
                raise Crash
            return real(name)

        world.restricted.destroy = destroy  # type: ignore[method-assign]
        yield
        world.restricted.destroy = real  # type: ignore[method-assign]

    @pytest.mark.parametrize("dies_at", [1, 2, 3, 4])
    @pytest.mark.parametrize("again", ["erase", "finish"])
    def test_destruction_that_died_is_taken_up_again_and_ends_the_same(self, dies_at: int, again: str, complete: tuple[int, set[str]]) -> None:
        world = at("published")
        for _ in self.steps(world, dies_at):
            with pytest.raises(Crash):
                erase(world)
        assert not erasure.certificates(world.services())[0].is_complete
        if again == "erase":
            assert erase(world) == []
        else:
            erasure.finish(world.services())
        assert (world.log.head().position, set(world.restricted.objects)) == complete
        assert erasure.certificates(world.services())[0].is_complete

    def test_until_it_is_finished_no_release_counts_the_rows(self) -> None:
        world = at("published")
        for _ in self.steps(world, 1):
            with pytest.raises(Crash):
                erase(world)
        unfinished = releases.draft(world.services("ann"), FUND).release
        assert unfinished is not None
        assert read_ledger(world.services()).facts(FUND, "service_starts")[0].rows == 11


class TestReaders:
    def test_what_is_published_stays_and_verifies_and_the_release_says_why_it_cannot_be_rebuilt(self) -> None:
        world = at("published")
        files = published_objects(world)
        (made,) = erase(world)
        assert published_objects(world) == files
        assert made.releases == [f"{FUND}/1.0.0"]
        proof = proofs.verify(world.services(), FUND)
        assert (proof.is_whole, proof.rebuilt) == (True, None)
        assert proof.erased is not None
        assert made.event in proof.erased
        with pytest.raises(ErasedError, match=r"release 1\.0\.0 was made of, which can be verified and no longer rebuilt, was destroyed") as raised:
            proofs.rebuild(world.services(), FUND, "1.0.0")
        assert raised.value.exit_code == 10

    def test_a_release_of_after_the_erasure_can_be_rebuilt(self) -> None:
        world = at("published")
        erase(world)
        version = publish_next(world)
        assert proofs.rebuild(world.services(), FUND, version).differing == []
        proof = proofs.verify(world.services(), FUND)
        assert (proof.is_whole, proof.erased) == (True, None)

    def test_the_next_release_counts_without_them_and_passes_its_audit(self) -> None:
        world = at("published")
        erase(world)
        version = publish_next(world)
        changelog = published_objects(world, version)["CHANGELOG.md"].decode()
        assert version == "1.0.1"
        assert "`starts_count` from 12 to 11" in changelog

    def test_where_few_are_left_the_next_release_hides_what_would_tell_or_is_refused(self) -> None:
        """The disclosure machinery decides, by its own rules: a difference of one person against the version before must not name them."""
        world = at("returned in")
        take_in(world, LATER, people=5, outcomes=5, first=50)
        publish_next(world)
        erase(world, f"{SECRET}-50")
        made = releases.make(world.services("ann"), FUND)
        assert made is not None
        if not made.audit_passed:
            with pytest.raises(NotAllowedError, match="failed its disclosure audit"):
                releases.approve(world.services("bob"), FUND, made.version, str(made.manifest))
            return
        rows = releases.read_candidate(world.services(), made)["service_users_by_quarter"].to_pylist()
        found = [row for row in rows if (row["project_id"], row["quarter"]) == ("P1", "2024-Q2")]
        assert found
        assert all(row["starts_count"] != 4 for row in found)

    def test_a_receipt_accounts_for_the_rows_that_were_erased(self) -> None:
        world = at("published")
        erase(world)
        (one,) = receipts.make(world.services(), KEY).revisions
        assert one.fates == {"in_force": 19, "erased": 2}
        assert one.delivered == 21
        assert "2 were erased with the person of whom they spoke" in "\n".join(receipts.describe(receipts.make(world.services(), KEY)))

    def test_a_correction_after_an_erasure_is_compared_with_what_is_left(self) -> None:
        world = at("published")
        take_in(world, people=13)
        erase(world)
        shown = corrections.show(world.services(), revision(2))
        assert shown.changes.added == 1
        take_in(world, people=14, first=2)
        assert submissions.load(world.services(), KEY).in_force == submissions.load(world.services(), KEY).revision(3)

    def test_what_was_destroyed_is_told_from_what_is_missing(self) -> None:
        world = at("published")
        erase(world)
        with pytest.raises(ErasedError, match="The report on revision 1 was destroyed"):
            submissions.read_report(world.services(), submissions.load(world.services(), KEY).revision(1))
        (file,) = [file for file in read_ledger(world.services()).facts(FUND, "payments") if file.rows][:1]
        world.restricted.objects.pop(content_name(file.sha256))
        with pytest.raises(NotFoundError):
            read_facts(world.services(), [file])

    def test_a_certificate_can_be_made_again_from_the_log_and_names_nobody(self) -> None:
        world = at("published")
        (made,) = erase(world)
        assert erasure.certificates(world.services()) == [made]
        assert SECRET not in json.dumps(made.__dict__, default=str)
        with pytest.raises(NotFoundError, match="holds no erasure"):
            erasure.certify(world.services(), world.events[0])

    def test_a_redaction_says_how_many_rows_went(self) -> None:
        world = at("published")
        erase(world)
        event = world.events[-1].event
        assert isinstance(event, SubmissionRedacted)
        assert (event.revision, event.rows) == (1, 2)
