"""The verbs of one release, over an installation in memory; tabulation, protection, audit and publication are the real ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from pipeline.application import register, releases, submissions
from pipeline.application.candidates import make_candidate
from pipeline.application.services import Services
from pipeline.domain.release import Release
from pipeline.domain.submission import SubmissionKey
from pipeline.domain.tables import Definitions
from pipeline.errors import ConflictError, IntegrityError, NotAllowedError, NotFoundError, ObjectConflictError, RuleError, UsageError
from pipeline.ports import Append
from pipeline.stages.intake import content_name
from pipeline.verifier import PROOFS
from tests.factories import (
    DEFINITIONS,
    FUND,
    SECRET,
    Crash,
    RacingLog,
    Row,
    World,
    at,
    digest,
    manifest_of,
    published_objects,
    register_rows,
    register_tables,
    release_of,
    return_tables,
    revision,
    take_in,
    world_at,
    write_return,
)

LISTS = ("versions.json", "latest.json", "pins.json", "feed.json", "feed.xml", "revisions.parquet", "revisions.csv")


def older(tables: dict[str, list[Row]]) -> None:
    """Make half of the people older than any that came before: a code that the published tables have no row for yet."""
    for row in tables["participants"][:6]:
        row["age_band"] = "25_to_34"


def correct(world: World) -> None:
    """Take in a correction that brings nothing that the published tables have no row for."""
    take_in(world, people=13)


def correct_with_a_new_code(world: World) -> None:
    take_in(world, change=older)


def states(world: World) -> dict[str, str]:
    return {item.version: item.state for item in releases.load(world.services(), FUND).all}


def release_events(world: World) -> list[str]:
    return [name.removeprefix("release.") for name in world.names if name.startswith("release.")]


def index(world: World, name: str) -> Any:
    return json.loads(world.public.objects[f"datasets/{FUND}/{name}.json"])


def publish_next(world: World) -> Release:
    """Make, approve and publish whatever is new."""
    made = releases.make(world.services("ann"), FUND)
    assert made is not None
    assert made.audit_passed
    releases.approve(world.services("bob"), FUND, made.version, str(made.manifest))
    return releases.publish(world.services("worker"), FUND, made.version)


class TestDraft:
    def test_a_draft_pins_the_log_as_it_stands(self) -> None:
        world = at("returned in")
        head = world.log.head()
        drafted = releases.draft(world.services("ann"), FUND)
        assert drafted.is_new
        assert drafted.release is not None
        pinned = drafted.release.draft
        assert (pinned.version, pinned.round, pinned.base_version, pinned.position, pinned.chain_head) == ("1.0.0", 1, None, head.position, head.hash)
        assert (pinned.as_of, pinned.code, drafted.release.drafted_by) == (world.clock.now.date(), "0.1.0", "ann")
        assert (pinned.rules, pinned.schemas) == (DEFINITIONS.digests["disclosure"], DEFINITIONS.digests["schemas"])

    def test_drafting_again_appends_nothing(self) -> None:
        world = at("drafted")
        again = releases.draft(world.services("bob"), FUND)
        assert (again.is_new, again.release, release_events(world)) == (False, release_of(world), ["drafted"])

    def test_a_fund_that_is_not_registered_is_not_found(self) -> None:
        with pytest.raises(NotFoundError, match="There is no fund F1"):
            releases.draft(World().services(), FUND)

    def test_when_nothing_differs_from_what_is_published_nothing_is_drafted(self) -> None:
        world = at("published")
        assert (releases.draft(world.services(), FUND).release, releases.make(world.services(), FUND)) == (None, None)
        assert release_events(world)[-1] == "published"

    def test_a_person_can_ask_for_a_version_although_nothing_differs(self) -> None:
        world = at("published")
        drafted = releases.draft(world.services(), FUND, "major").release
        assert drafted is not None
        assert (drafted.version, drafted.draft.base_version) == ("2.0.0", "1.0.0")

    @pytest.mark.parametrize(
        ("step", "version"),
        [
            (correct, "1.0.1"),
            (lambda world: take_in(world, SubmissionKey("P1", "2023-Q4"), first=50), "1.1.0"),
            (lambda world: register.load_tables(world.services(), register_tables(register_rows("P1", "P2", "P3"))), "1.1.0"),
            (lambda world: submissions.withdraw(world.services(), revision(1), "sent_in_error"), "1.0.1"),
        ],
        ids=["correction", "quarter", "project", "withdrawal"],
    )
    def test_what_went_in_since_gives_the_number(self, step: Callable[[World], object], version: str) -> None:
        world = at("published")
        step(world)
        drafted = releases.draft(world.services(), FUND).release
        assert drafted is not None
        assert drafted.version == version

    def test_other_disclosure_rules_give_a_major_version(self) -> None:
        world = at("published")
        drafted = releases.draft(world.services(definitions=other_definitions("disclosure")), FUND).release
        assert drafted is not None
        assert drafted.version == "2.0.0"

    def test_a_draft_that_races_with_another_finds_it_made(self) -> None:
        log = RacingLog()
        world = world_at("returned in").copy(log)
        log.others = [lambda: releases.draft(world.services("bob"), FUND)]
        drafted = releases.draft(world.services("ann"), FUND)
        assert drafted.release is not None
        assert (drafted.is_new, drafted.release.drafted_by, release_events(world)) == (False, "bob", ["drafted"])


def other_definitions(kind: str) -> Definitions:
    return replace(DEFINITIONS, digests={**DEFINITIONS.digests, kind: digest("other")})


class TestBuild:
    def test_a_candidate_is_sealed_file_by_file_and_nothing_of_it_is_public(self) -> None:
        world = at("built")
        built = release_of(world)
        assert {file.path for file in built.files} >= {"MANIFEST", "datapackage.json", "projects.csv", "projects.parquet", "CHANGELOG.md"}
        for file in built.files:
            content = world.restricted.objects[content_name(file.sha256)]
            assert (hashlib.sha256(content).hexdigest(), len(content)) == (file.sha256, file.size_bytes)
        assert world.public.objects == {}

    def test_tables_say_how_many_rows_they_have_and_other_files_do_not(self) -> None:
        rows = {file.path: file.rows for file in release_of(at("built")).files}
        assert (rows["projects.csv"], rows["projects.parquet"], rows["MANIFEST"], rows["codelists.csv"]) == (2, 2, None, None)

    def test_building_again_appends_nothing(self) -> None:
        world = at("built")
        assert (releases.build(world.services("bob"), FUND, "1.0.0"), release_events(world)) == (release_of(world), ["drafted", "built"])

    def test_the_same_draft_gives_the_same_bytes_in_another_installation(self) -> None:
        world = at("drafted")
        releases.build(world.services("somebody else"), FUND, "1.0.0")
        assert manifest_of(world) == manifest_of(at("built"))

    def test_the_bytes_do_not_depend_on_what_came_into_the_log_since(self) -> None:
        world = at("drafted")
        correct(world)
        assert releases.build(world.services(), FUND, "1.0.0").manifest == manifest_of(at("built"))

    def test_two_workers_at_once_build_once(self) -> None:
        log = RacingLog()
        world = world_at("drafted").copy(log)
        log.others = [lambda: releases.build(world.services("bob"), FUND, "1.0.0")]
        assert releases.build(world.services("ann"), FUND, "1.0.0").state == "built"
        assert release_events(world) == ["drafted", "built"]

    def test_the_number_is_raised_when_the_figures_need_more(self) -> None:
        world = at("published")
        correct_with_a_new_code(world)
        assert releases.draft(world.services("ann"), FUND).release == release_of(world, "1.0.1")
        built = releases.build(world.services("worker"), FUND, "1.0.1")
        assert (built.version, built.state, states(world)) == ("1.1.0", "built", {"1.0.0": "published", "1.0.1": "returned", "1.1.0": "built"})
        assert json.loads(world.restricted.objects[content_name(sealed(built, "datapackage.json"))])["version"] == "1.1.0"

    def test_building_the_number_that_was_raised_again_leads_to_the_same_candidate(self) -> None:
        world = at("published")
        correct_with_a_new_code(world)
        releases.draft(world.services("ann"), FUND)
        assert releases.build(world.services("worker"), FUND, "1.0.1") == releases.build(world.services("worker"), FUND, "1.0.1")
        assert release_events(world)[-3:] == ["drafted", "drafted", "built"]

    @pytest.mark.parametrize(("required", "is_refused"), [("patch", False), ("minor", True), ("major", True), (None, False)])
    def test_a_number_that_says_less_than_what_changed_is_refused(self, required: Any, is_refused: bool) -> None:
        world = at("published")
        correct(world)
        drafted = releases.draft(world.services("ann"), FUND).release
        assert drafted is not None
        candidate = replace(make_candidate(world.services(), FUND, drafted.draft), required_change=required)
        if is_refused:
            with pytest.raises(NotAllowedError, match=rf"Release 1\.0\.1 changes more than its number says: .* must be a {required} version"):
                releases._record_build(world.services(), FUND, drafted, candidate)
            assert states(world)["1.0.1"] == "drafted"
        else:
            assert releases._record_build(world.services(), FUND, drafted, candidate).state == "built"

    def test_a_build_that_somebody_drafted_over_is_not_recorded(self) -> None:
        log = RacingLog()
        world = world_at("drafted").copy(log)

        def draft_over() -> None:
            log.others = []
            correct(world)
            releases.draft(world.services("bob"), FUND)

        log.others = [draft_over]
        with pytest.raises(ConflictError, match="drafted anew while it was built"):
            releases.build(world.services("ann"), FUND, "1.0.0")
        assert (release_of(world).state, release_of(world).draft.round) == ("drafted", 2)

    @pytest.mark.parametrize("kind", ["schemas", "disclosure"])
    def test_a_draft_cannot_be_built_or_audited_with_other_definitions(self, kind: str) -> None:
        services: dict[str, Any] = {"definitions": other_definitions(kind)}
        with pytest.raises(NotAllowedError, match="drafted with other schemas or disclosure rules than are installed"):
            releases.build(at("drafted").services(**services), FUND, "1.0.0")
        with pytest.raises(NotAllowedError, match="drafted with other schemas or disclosure rules than are installed"):
            releases.audit(at("built").services(**services), FUND, "1.0.0")

    def test_other_words_in_a_validation_rule_change_no_byte_of_a_release(self) -> None:
        world = at("drafted")
        releases.build(world.services(definitions=other_definitions("rules")), FUND, "1.0.0")
        assert manifest_of(world) == manifest_of(at("built"))

    def test_a_table_that_breaks_its_suite_is_our_fault_and_nothing_is_built(self) -> None:
        world = at("drafted")
        world.content.found = {"published_projects": [DEFINITIONS.rule("P-601").found("projects", 2, "project_name")]}
        with pytest.raises(RuleError, match="Table projects is not fit to publish: 1 findings, first P-601 in column project_name"):
            releases.build(world.services(), FUND, "1.0.0")
        assert states(world) == {"1.0.0": "drafted"}

    def test_a_log_that_is_not_what_was_pinned_is_an_integrity_error(self) -> None:
        world = at("drafted")
        drifts: list[dict[str, Any]] = [{"ledger": digest("other")}, {"chain_head": digest("other")}]
        for pins in drifts:
            with pytest.raises(IntegrityError, match=r"is not what release 1\.0\.0 was pinned to"):
                make_candidate(world.services(), FUND, replace(release_of(world).draft, **pins))

    def test_a_published_version_that_somebody_altered_is_no_ground_for_the_next(self) -> None:
        world = at("published")
        correct(world)
        releases.draft(world.services(), FUND)
        name = f"datasets/{FUND}/v1.0.0/MANIFEST"
        world.public.objects[name] += b"\n"
        with pytest.raises(IntegrityError, match=r"MANIFEST of release 1\.0\.0 is not the one that was approved"):
            releases.build(world.services(), FUND, "1.0.1")

    def test_a_return_that_is_not_accepted_is_counted_as_received_or_rejected(self) -> None:
        world = at("returned in")
        with TemporaryDirectory() as folder:
            path = write_return(Path(folder), return_tables(SubmissionKey("P2", "2023-Q4")) | {"outcomes": [{"metric_id": SECRET}]})
            submissions.receive(world.services(), path, SubmissionKey("P2", "2023-Q4"))
            submissions.receive(world.services(), path, SubmissionKey("STRANGER", "2023-Q4"))
        made = releases.make(world.services(), FUND)
        assert made is not None
        table = releases.read_candidate(world.services(), made)["completeness"]
        found = {(row["project_id"], row["quarter"]): row["state"] for row in table.to_pylist()}
        assert (found["P2", "2023-Q4"], found["P2", "2024-Q1"]) == ("received", "accepted")
        assert {project for project, _ in found} == {"P1", "P2"}


def sealed(built: Release, path: str) -> str:
    return next(file.sha256 for file in built.files if file.path == path)


def stricter(services: Services) -> Services:
    """Return services whose audit takes a rulebook that the candidate was not protected by, for the same."""
    disclosure = deepcopy(dict(services.definitions.disclosure))
    disclosure["threshold"]["value"] = 100
    return replace(services, definitions=replace(services.definitions, disclosure=disclosure))


class TestAudit:
    def test_a_candidate_is_audited_from_its_files_once(self) -> None:
        world = at("built")
        audited = [releases.audit(world.services(), FUND, "1.0.0") for _ in range(2)]
        assert (audited[0], audited[0].audit_passed, release_events(world)) == (audited[1], True, ["drafted", "built", "audited"])
        assert json.loads(world.restricted.objects[content_name(str(audited[0].audit_report))])["passed"] is True

    def test_a_draft_has_nothing_to_audit(self) -> None:
        with pytest.raises(NotAllowedError, match="has no candidate yet"):
            releases.audit(at("drafted").services(), FUND, "1.0.0")

    def test_a_candidate_that_gives_something_away_fails_and_cannot_be_approved(self) -> None:
        world = at("built")
        assert releases.audit(stricter(world.services()), FUND, "1.0.0").audit_passed is False
        with pytest.raises(NotAllowedError, match="failed its disclosure audit"):
            releases.approve(world.services("bob"), FUND, "1.0.0", manifest_of(world))

    def test_a_sealed_file_that_somebody_altered_is_not_audited(self) -> None:
        world = at("built")
        world.restricted.objects[content_name(sealed(release_of(world), "projects.parquet"))] = b"PAR1"
        with pytest.raises(IntegrityError, match="no longer has the bytes that were sealed"):
            releases.audit(world.services(), FUND, "1.0.0")


class TestApprove:
    def test_another_person_approves_what_they_saw_once(self) -> None:
        world = at("audited")
        for _ in range(2):
            approved = releases.approve(world.services("bob"), FUND, "1.0.0", manifest_of(world))
        assert (approved.state, approved.approved_by, release_events(world)[-1]) == ("approved", "bob", "approved")
        assert release_events(world).count("approved") == 1

    def test_another_hash_than_the_candidates_is_a_conflict(self) -> None:
        with pytest.raises(ConflictError, match="Look at it again before you approve"):
            releases.approve(at("audited").services("bob"), FUND, "1.0.0", digest("what they saw"))

    def test_nobody_approves_their_own_draft_even_when_the_build_gave_it_another_number(self) -> None:
        world = at("published")
        correct_with_a_new_code(world)
        releases.draft(world.services("ann"), FUND)
        made = releases.make(world.services("worker"), FUND)
        assert made is not None
        assert made.version == "1.1.0"
        with pytest.raises(NotAllowedError, match="was drafted by ann; another person must approve it"):
            releases.approve(world.services("ann"), FUND, "1.1.0", str(made.manifest))
        assert releases.approve(world.services("bob"), FUND, "1.1.0", str(made.manifest)).state == "approved"

    def test_what_was_returned_is_not_drafted_again_before_something_has_changed(self) -> None:
        world = at("audited")
        for _ in range(2):
            assert releases.return_(world.services("bob"), FUND, "1.0.0", manifest_of(world), "figures_wrong").state == "returned"
        assert release_events(world).count("returned") == 1
        with pytest.raises(NotAllowedError, match=r"was returned \(figures_wrong\) and nothing has changed since"):
            releases.draft(world.services("ann"), FUND)
        correct(world)
        drafted = releases.draft(world.services("ann"), FUND).release
        assert drafted is not None
        assert drafted.draft.round == 2

    def test_nothing_is_drafted_over_a_release_that_waits_for_publication(self) -> None:
        world = at("approved")
        correct(world)
        with pytest.raises(NotAllowedError, match="is approved and waits for publication"):
            releases.draft(world.services(), FUND)


class TestPublish:
    def test_the_files_come_first_then_what_proves_them_the_manifest_last_and_then_the_index(self) -> None:
        world = at("approved")
        published = releases.publish(world.services("worker"), FUND, "1.0.0")
        folder = f"datasets/{FUND}/v1.0.0"
        files = [f"{folder}/{file.path}" for file in published.files if file.path != "MANIFEST"]
        proofs = [f"{folder}/{path}" for path in ("MANIFEST.sig", "MANIFEST.time", "release.json", "release.json.sig")]
        lists = [f"datasets/{FUND}/{name}" for name in ("notices/1.0.0.json", *LISTS)]
        assert world.public.puts == [*files, *proofs, f"datasets/{FUND}/allowed_signers", f"{folder}/MANIFEST", *lists]
        assert len(files) > 10
        assert {path: hashlib.sha256(content).hexdigest() for path, content in published_objects(world).items() if path not in PROOFS} == {
            file.path: file.sha256 for file in published.files
        }

    def test_the_event_is_appended_when_the_files_stand_and_not_before(self) -> None:
        world = at("approved")
        files = len(release_of(world).files) + len(PROOFS)
        world.public.dies_after = files + 1  # and the allowed signers
        with pytest.raises(Crash):
            releases.publish(world.services("worker"), FUND, "1.0.0")
        assert (len(published_objects(world)), states(world)) == (files, {"1.0.0": "approved"})

    def test_publishing_again_appends_nothing_and_changes_no_byte(self) -> None:
        world = at("published")
        before = dict(world.public.objects)
        assert releases.publish(world.services("worker"), FUND, "1.0.0").state == "published"
        assert (world.public.objects, release_events(world).count("published")) == (before, 1)

    @pytest.mark.parametrize("side", ["dies_before", "dies_after"])
    def test_publishing_that_dies_anywhere_ends_the_same_when_it_is_done_again(self, side: str) -> None:
        expected = world_at("published")
        puts = len(release_of(expected).files) + len(PROOFS) + 2 + len(LISTS)
        for place in range(1, puts + 1):
            world = at("approved")
            setattr(world.public, side, place)
            with pytest.raises(Crash):
                releases.publish(world.services("worker"), FUND, "1.0.0")
            is_listed = f"datasets/{FUND}/versions.json" in world.public.objects
            assert not is_listed or "MANIFEST" in published_objects(world)
            setattr(world.public, side, 0)
            releases.publish(world.services("worker"), FUND, "1.0.0")
            assert (world.public.objects, world.log.head()) == (expected.public.objects, expected.log.head()), place

    def test_what_was_not_approved_cannot_be_published_and_no_file_of_it_is(self) -> None:
        world = at("audited")
        with pytest.raises(NotAllowedError, match="is audited and cannot become published"):
            releases.publish(world.services(), FUND, "1.0.0")
        assert world.public.objects == {}

    def test_a_sealed_file_that_somebody_altered_is_not_published(self) -> None:
        world = at("approved")
        world.restricted.objects[content_name(sealed(release_of(world), "performance.csv"))] = b"other"
        with pytest.raises(IntegrityError, match="no longer has the bytes that were sealed"):
            releases.publish(world.services(), FUND, "1.0.0")
        assert ("MANIFEST" in published_objects(world), states(world)) == (False, {"1.0.0": "approved"})

    def test_a_release_without_its_manifest_among_its_files_is_not_published(self) -> None:
        world = at("approved")
        log = [recorded.event for recorded in world.events if recorded.stream == f"release/{FUND}"]
        built = replace(log[1], files=[file for file in release_of(world).files if file.path != "MANIFEST"])  # type: ignore[call-arg]
        other = at("returned in")
        for version, event in enumerate([log[0], built, *log[2:]]):
            other.log.append([Append(f"release/{FUND}", version, [event])], actor="bob", recorded_at=world.clock.now)
        with pytest.raises(IntegrityError, match="has no manifest among its files"):
            releases.publish(other.services(), FUND, "1.0.0")

    def test_other_bytes_under_a_public_name_stop_the_publication(self) -> None:
        world = at("approved")
        world.public.objects[f"datasets/{FUND}/v1.0.0/projects.csv"] = b"other"
        with pytest.raises(ObjectConflictError, match=r"projects\.csv"):
            releases.publish(world.services(), FUND, "1.0.0")
        assert ("MANIFEST" in published_objects(world), states(world)) == (False, {"1.0.0": "approved"})

    def test_a_release_that_was_returned_while_its_files_went_out_does_not_block_the_next(self) -> None:
        world = at("approved")
        world.public.dies_after = 5
        with pytest.raises(Crash):
            releases.publish(world.services("worker"), FUND, "1.0.0")
        world.public.dies_after = 0
        releases.return_(world.services("cleo"), FUND, "1.0.0", manifest_of(world), "disclosure_risk")
        correct(world)
        assert publish_next(world).version == "1.0.1"
        assert (index(world, "latest")["version"], states(world)) == ("1.0.1", {"1.0.0": "returned", "1.0.1": "published"})

    def test_the_next_version_is_based_on_the_one_before_and_says_what_changed(self) -> None:
        world = at("published")
        correct(world)
        assert publish_next(world).draft.base_version == "1.0.0"
        changelog = published_objects(world, "1.0.1")["CHANGELOG.md"].decode()
        assert "Version 1.0.1 follows version 1.0.0" in changelog
        assert "`starts_count` from 12 to 13" in changelog

    def test_a_correction_that_empties_a_category_is_released_and_its_row_stays(self) -> None:
        """A row that went would say that nobody is left: the release with the correction could then not be made."""

        def with_men(tables: dict[str, list[Row]]) -> None:
            for row in tables["participants"][:6]:
                row["gender"] = "male"

        world = at("returned in")
        take_in(world, change=with_men)
        publish_next(world)
        take_in(world, people=13)
        second = publish_next(world)
        lines = published_objects(world, second.version)["service_users_by_quarter.csv"].decode().splitlines()
        assert [line.split(",")[2:7] for line in lines if ",gender,male," in line] == [["2024-Q1", "gender", "male", "", "c"]]

    def test_the_certificate_of_an_audited_release_holds_and_an_altered_one_does_not(self) -> None:
        world = at("published")
        assert releases.check_certificate(world.services(), FUND, "1.0.0") == []
        sealed = json.loads(world.restricted.get(content_name(str(release_of(world).audit_report))))["certificate"]
        world.restricted.objects[content_name(sealed)] = b'{"lines":"","groups":[]}'
        with pytest.raises(IntegrityError):
            releases.check_certificate(world.services(), FUND, "1.0.0")

    def test_a_release_that_was_not_audited_has_no_certificate(self) -> None:
        with pytest.raises(NotAllowedError, match="has not been audited"):
            releases.check_certificate(at("built").services(), FUND, "1.0.0")

    def test_the_index_lists_every_version_and_names_the_newest_that_stands(self) -> None:
        world = at("published")
        correct(world)
        publish_next(world)
        listed = [(item["version"], item["status"], item["path"], item["reason"]) for item in index(world, "versions")["versions"]]
        assert listed == [("1.0.0", "published", "v1.0.0/", None), ("1.0.1", "published", "v1.0.1/", None)]
        assert index(world, "latest") == {"fund_id": FUND, "version": "1.0.1", "path": "v1.0.1/", "manifest": manifest_of(world, "1.0.1")}


class TestWithdraw:
    def test_a_withdrawn_version_keeps_its_files_and_is_said_to_be_withdrawn(self) -> None:
        world = at("published")
        correct(world)
        publish_next(world)
        before = published_objects(world, "1.0.1")
        for _ in range(2):
            releases.withdraw(world.services(), FUND, "1.0.1", "figures_wrong")
        assert (published_objects(world, "1.0.1"), release_events(world).count("withdrawn")) == (before, 1)
        listed = [(item["status"], item["reason"]) for item in index(world, "versions")["versions"]]
        assert listed == [("published", None), ("withdrawn", "figures_wrong")]
        assert index(world, "latest")["version"] == "1.0.0"

    def test_when_no_version_stands_none_is_the_latest(self) -> None:
        world = at("published")
        releases.withdraw(world.services(), FUND, "1.0.0", "disclosure_risk")
        assert index(world, "latest") == {"fund_id": FUND, "version": None, "path": None, "manifest": None}

    def test_what_was_withdrawn_can_be_published_again_under_the_next_number(self) -> None:
        world = at("published")
        releases.withdraw(world.services(), FUND, "1.0.0", "published_in_error")
        assert publish_next(world).version == "1.0.1"
        assert index(world, "latest")["version"] == "1.0.1"

    def test_publishing_a_withdrawn_version_again_changes_nothing(self) -> None:
        world = at("published")
        releases.withdraw(world.services(), FUND, "1.0.0", "legal_request")
        assert releases.publish(world.services(), FUND, "1.0.0").state == "withdrawn"
        assert (index(world, "latest")["version"], release_events(world).count("published")) == (None, 1)

    def test_a_withdrawal_needs_a_coded_reason(self) -> None:
        with pytest.raises(UsageError, match="one of figures_wrong"):
            releases.withdraw(at("published").services(), FUND, "1.0.0", "because")


def test_no_reference_of_a_return_reaches_an_event_or_a_public_file() -> None:
    world = world_at("published")
    assert SECRET not in world.payloads
    assert all(SECRET.encode() not in content for content in world.public.objects.values())
