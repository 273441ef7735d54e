"""The checklist of a release and its approval: every item fires, an error keeps it from being approved, and nobody approves what is theirs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.adapters.definitions import load_definitions
from pipeline.adapters.signing import FileSigner
from pipeline.application import checklist, erasure, register, releases, submissions
from pipeline.domain.checklist import Checklist, Item, found, merge
from pipeline.domain.events import ReleaseApproved
from pipeline.domain.submission import SubmissionKey
from pipeline.errors import ConflictError, NotAllowedError, RuleError
from pipeline.stages import checks, comparison
from tests.factories import (
    DEFINITIONS,
    FUND,
    KEY,
    ROOT,
    SECRET,
    Row,
    World,
    at,
    manifest_of,
    plan_row,
    register_rows,
    register_tables,
    release_of,
    return_tables,
    revision,
    take_in,
    write_return,
)

LATER = SubmissionKey("P1", "2024-Q2")


def made(world: World, version: str = "1.0.0") -> Checklist:
    return checklist.make(world.services(), FUND, version)


def places(world: World, code: str, version: str = "1.0.0") -> Sequence[str] | None:
    """Return where an item of the checklist was found, None when it was not."""
    return next((check.places for check in made(world, version).checks if check.code == code), None)


def load(world: World, rows: dict[str, list[Row]]) -> None:
    register.load_tables(world.services("steward"), register_tables(rows))


def changed(table: str, place: int = 0, **values: Any) -> dict[str, list[Row]]:
    rows = register_rows()
    rows[table][place] |= values
    return rows


def make_next(world: World) -> str:
    """Make whatever is new; return its version."""
    candidate = releases.make(world.services("ann"), FUND)
    assert candidate is not None
    return candidate.version


def approve(world: World, version: str = "1.0.0", actor: str = "bob", **services: Any) -> Any:
    return releases.approve(world.services(actor, **services), FUND, version, manifest_of(world, version))


class TestItems:
    def test_a_draft_that_was_not_built_has_no_checklist(self) -> None:
        with pytest.raises(NotAllowedError, match="has no candidate yet"):
            made(at("drafted"))

    def test_a_candidate_that_was_not_audited_says_so(self) -> None:
        world = at("built")
        assert places(world, "not_audited") == []
        assert places(at("audited"), "not_audited") is None

    def test_a_failed_audit_says_so(self) -> None:
        world = at("built")
        disclosure = {**DEFINITIONS.disclosure, "threshold": {**DEFINITIONS.disclosure["threshold"], "value": 100}}
        releases.audit(world.services(definitions=replace(DEFINITIONS, disclosure=disclosure)), FUND, "1.0.0")
        assert places(world, "audit_failed") == []
        (error,) = made(world).errors
        assert error.mend == f"outcomes release return 1.0.0 --manifest {manifest_of(world)} --reason disclosure_risk"

    def test_missing_returns_name_project_and_quarter(self) -> None:
        assert places(at("audited"), "returns_missing") == [f"{project}/2023-{quarter}" for project in ("P1", "P2") for quarter in ("Q3", "Q4")]

    def test_returns_that_came_and_are_not_accepted_are_named(self, tmp_path: Path) -> None:
        world = at("returned in")
        path = write_return(tmp_path, return_tables(SubmissionKey("P2", "2023-Q4")) | {"outcomes": [{"metric_id": SECRET}]})
        submissions.receive(world.services("team"), path, SubmissionKey("P2", "2023-Q4"))
        assert places(world, "returns_left_out", make_next(world)) == ["P2/2023-Q4"]
        assert places(at("audited"), "returns_left_out") is None

    def test_queries_that_nobody_explained_are_named_until_somebody_does(self) -> None:
        from pipeline.application import explanations

        world = at("returned in")

        def overpay(tables: dict[str, list[Row]]) -> None:
            tables["payments"][0] |= {"quantity": None, "basis": "activity", "reason": "covid", "amount_gbp": "60000.00"}

        take_in(world, LATER, overpay, first=50)
        version = make_next(world)
        open_queries = places(world, "queries_open", version)
        assert open_queries
        assert "P1/2024-Q2/1 K-319" in open_queries
        explanations.answer(world.services("team"), revision(1, LATER), "K-319", "The cap is being raised.")
        assert "P1/2024-Q2/1 K-319" not in (places(world, "queries_open", version) or ())
        assert places(world, "over_cap", version) == ["P1"]
        assert places(world, "news_since", version) is None

    def test_less_achieved_in_all_than_by_the_version_before_is_named(self) -> None:
        world = at("published")
        take_in(world, people=13, outcomes=6)
        version = make_next(world)
        assert places(world, "cumulative_fell", version) == ["P1 P1-M1"]
        take_in(world, people=13, outcomes=9)
        assert places(world, "cumulative_fell", make_next(world)) is None

    @pytest.mark.parametrize(
        ("rows", "code", "place"),
        [
            (lambda: changed("metrics", definition="Something easier."), "metric_reused", "P1 P1-M1"),
            (lambda: changed("metrics", 1, unit="family"), "metric_reused", "P2 P2-M1"),
            (lambda: changed("metrics", metric_id="P1-M2"), "metric_gone", "P1 P1-M1"),
            (lambda: changed("plans", 0, expected_quantity=21), "plan_changed", "P1 plan 1"),
        ],
    )
    def test_metrics_and_plans_that_changed_their_meaning_since_the_version_before_are_named(
        self, rows: Callable[[], dict[str, list[Row]]], code: str, place: str
    ) -> None:
        """The door would refuse most of these: whatever came into the register another way is seen here."""
        world = at("published")
        given = rows()
        for table in ("rate_card", "plans"):
            for row in given[table]:
                row["metric_id"] = given["metrics"][0]["metric_id"] if row.get("metric_id") == "P1-M1" else row.get("metric_id")
        without_door(world, given)
        found = dict(checks_of(world))
        assert place in found[code]

    def test_an_agreed_plan_that_says_another_thing_under_its_number_is_a_renumbering(self) -> None:
        before, after = register_rows("P1"), register_rows("P1")
        for rows, quantities in ((before, (20, 30)), (after, (30, 40))):
            rows["plans"] = [plan_row("P1", plan_version=1, measure="service_users", expected_quantity=quantities[0])]
            rows["plans"].append(
                plan_row("P1", plan_version=2, plan_kind="variation_agreement", measure="service_users", expected_quantity=quantities[1])
            )
        then, now = (records_of(rows) for rows in (before, after))
        assert list(checks.check_records(then, now, DEFINITIONS)) == [("plans_renumbered", "P1 plan 1"), ("plan_changed", "P1 plan 2")]

    def test_a_refused_load_of_the_register_stands_in_the_way_until_it_is_loaded_as_it_was(self) -> None:
        world = at("audited")
        load(world, changed("metrics", definition="Something easier."))
        assert places(world, "metric_reused") == ["P1 P1-M1"]
        with pytest.raises(NotAllowedError, match=r"A metric id was used for another meaning \(P1 P1-M1\)"):
            approve(world)
        load(world, register_rows())
        assert places(world, "metric_reused") is None
        assert approve(world).state == "approved"

    def test_a_project_without_a_plan_is_named(self) -> None:
        rows = register_rows()
        rows["plans"] = [row for row in rows["plans"] if row["project_id"] == "P1"]
        world = World()
        load(world, rows)
        take_in(world)
        assert places(world, "plan_missing", make_next(world)) == ["P2"]

    def test_a_break_is_a_warning_under_a_major_number_and_an_error_under_another(self) -> None:
        schema = DEFINITIONS.table("published", "projects")
        table = pa.table({"project_id": ["P1"], "gone": ["x"]})
        differences = comparison.Differences(
            is_first=False,
            tables={
                "projects": comparison.TableDifferences(
                    name="projects", schema=schema, cells=table, came=table, went=table, columns_removed=("gone",)
                )
            },
        )
        said = {
            version: list(checks.check_break(differences, "1.0.0", version, method_changed=changed))
            for version, changed in (("2.0.0", False), ("1.1.0", False))
        }
        assert said == {"2.0.0": [("number_breaks", "projects")], "1.1.0": [("schema_break", "projects")]}
        nothing = comparison.Differences(is_first=False, tables={})
        assert list(checks.check_break(nothing, "1.0.0", "1.0.1", method_changed=True)) == [("schema_break", "method that protects people")]
        assert list(checks.check_break(differences, None, "1.0.0", method_changed=False)) == []

    def test_the_day_of_the_next_release_is_asked_for_and_taken_from_the_register(self) -> None:
        assert places(at("audited"), "next_release_missing") == []
        world = World()
        load(world, changed("funds", next_release_on=world.clock.now.date() + timedelta(days=90)))
        take_in(world)
        assert places(world, "next_release_missing", make_next(world)) is None
        fund = {"fund": {"next_release_on": "2024-06-03"}}
        assert list(checks.check_next_release(fund, date(2024, 6, 3))) == [("next_release_missing", "")]

    def test_a_missing_key_is_named(self, tmp_path: Path) -> None:
        services = at("audited").services(signer=FileSigner(tmp_path / "release.key"))
        assert "key_missing" in [check.code for check in checklist.make(services, FUND, "1.0.0").checks]
        assert list(checks.check_key(has_key=True)) == []

    def test_a_return_taken_back_since_the_draft_is_an_error_and_voids_an_approval(self) -> None:
        world = at("audited")
        submissions.withdraw(world.services("team"), revision(1), "sent_in_error")
        assert (places(world, "return_withdrawn"), places(world, "news_since")) == (["P1/2024-Q1/1"], [])
        with pytest.raises(NotAllowedError, match="cannot be approved: A return in it was withdrawn"):
            approve(world)
        world = at("approved")
        submissions.withdraw(world.services("team"), revision(1), "sent_in_error")
        with pytest.raises(NotAllowedError, match="no longer stands as it was approved: a return in it was withdrawn"):
            releases.publish(world.services("worker"), FUND, "1.0.0")
        assert world.public.objects == {}

    def test_a_participant_erased_since_the_draft_is_an_error_and_voids_an_approval(self) -> None:
        world = at("audited")
        erasure.erase(world.services("steward"), "P1", f"{SECRET}-1", "requested_by_person")
        position = world.log.head().position - 1
        assert places(world, "participant_erased") == [f"event {position}"]
        with pytest.raises(NotAllowedError, match="cannot be approved: A participant in it was erased"):
            approve(world)
        world = at("approved")
        erasure.erase(world.services("steward"), "P1", f"{SECRET}-1", "requested_by_person")
        with pytest.raises(NotAllowedError, match="no longer stands as it was approved: a participant in it was erased"):
            releases.publish(world.services("worker"), FUND, "1.0.0")

    def test_every_item_of_the_data_is_found_by_some_check(self) -> None:
        source = "".join((ROOT / "pipeline" / path).read_text() for path in ("stages/checks.py", "application/checklist.py"))
        assert len(DEFINITIONS.checklist) > 15
        for code in DEFINITIONS.checklist:
            assert f'"{code}"' in source, code


def records_of(rows: dict[str, list[Row]]) -> Any:
    from pipeline.stages import registration

    made, _ = registration.make_records(register_tables(rows), DEFINITIONS)
    return made.projects


def without_door(world: World, rows: dict[str, list[Row]]) -> None:
    """Put a register into the log that the door refuses."""
    from pipeline.application.services import read_ledger, seal
    from pipeline.domain.events import ProjectRevised
    from pipeline.ports import Append
    from pipeline.stages import registration

    ledger = read_ledger(world.services())
    for project_id, record in records_of(rows).items():
        digest = seal(world.restricted, registration.record_bytes(record))
        if digest != ledger.projects[project_id]:
            stream = f"project/{project_id}"
            event = ProjectRevised(fund_id=FUND, project_id=project_id, record=digest, replaces=ledger.projects[project_id])
            world.log.append([Append(stream, len(world.log.read_stream(stream)), [event])], actor="somebody", recorded_at=world.clock())


def checks_of(world: World) -> Any:
    """Return what the register's checks say between the published version and the register as it is."""
    from pipeline.application.register import project_records
    from pipeline.application.services import read_ledger

    services = world.services()
    then, now = (project_records(services, read_ledger(services, at), FUND) for at in (release_of(world).draft.position, None))
    return merge(checks.check_records(then, now, DEFINITIONS)).items()


class TestChecklist:
    def test_it_names_who_may_not_approve_and_how_many_have(self) -> None:
        one = checklist.make(at("audited").services(approvals_needed=2), FUND, "1.0.0")
        assert (one.drafted_by, one.submitters, one.approvals, one.needed) == ("ann", ["team"], (), 2)

    def test_in_words_it_gives_each_item_with_places_and_what_mends_it(self) -> None:
        text = "\n".join(checklist.describe(made(at("audited"))))
        assert "WARNING returns_missing: Returns were due and did not come; the figures are built without them. (P1/2023-Q3" in text
        assert "Nothing keeps it from being approved." in text
        assert "Not by ann, who drafted it, nor by those who sent its returns: team." in text

    def test_many_places_are_counted_and_not_all_told(self) -> None:
        world = at("audited")
        one = replace(made(world), checks=[replace(made(world).checks[0], places=[f"P{number}" for number in range(14)])], submitters=[])
        text = "\n".join(checklist.describe(one))
        assert "P9 and 4 more" in text
        assert "who drafted it." in text

    def test_errors_come_first_and_are_counted(self) -> None:
        world = at("built")
        one = made(world)
        assert [check.severity for check in one.checks] == sorted((check.severity for check in one.checks), key=("error", "warning").index)
        assert "1 errors keep it from being approved." in checklist.describe(one)

    def test_it_says_no_value_of_a_return(self) -> None:
        world = at("audited")
        assert SECRET not in "\n".join(checklist.describe(made(world)))

    def test_an_unknown_item_or_weight_is_our_fault(self) -> None:
        with pytest.raises(RuleError, match="has no item wrong"):
            found(DEFINITIONS.checklist, {"wrong": ()})
        with pytest.raises(RuleError, match="a severity that there is not"):
            Item(code="a", severity="grave", title="", message="", mend="")  # type: ignore[arg-type]

    @pytest.mark.parametrize("items", [[], "twice"])
    def test_a_checklist_that_is_empty_or_has_an_item_twice_is_our_fault(self, items: Any, tmp_path: Path) -> None:
        import shutil

        for folder in ("schemas", "expectations"):
            shutil.copytree(ROOT / folder, tmp_path / folder)
        path = tmp_path / "schemas" / "checklist.json"
        given = json.loads(path.read_text())
        path.write_text(json.dumps({"items": given["items"][:1] * 2 if items == "twice" else items}))
        with pytest.raises(RuleError, match="empty, or has an item twice"):
            load_definitions(tmp_path)


class TestApproval:
    def test_an_approval_names_the_manifest_the_audit_the_rules_and_the_log_position(self) -> None:
        world = at("audited")
        approved = approve(world)
        event = world.events[-1].event
        assert event == ReleaseApproved(
            version="1.0.0",
            round=1,
            manifest=manifest_of(world),
            audit=approved.audit_report,
            rules=DEFINITIONS.digests["disclosure"],
            position=approved.draft.position,
            needed=1,
        )

    def test_nobody_approves_a_release_that_holds_a_return_that_they_sent(self) -> None:
        world = at("audited")
        with pytest.raises(NotAllowedError, match="holds a return that team sent"):
            approve(world, actor="team")
        assert "release.approved" not in world.names

    def test_a_warning_needs_nothing(self) -> None:
        world = at("audited")
        assert [check.severity for check in made(world).checks].count("warning") > 0
        assert approve(world).state == "approved"

    def test_a_release_that_two_must_approve_is_approved_by_the_second(self) -> None:
        world = at("audited")
        first = approve(world, approvals_needed=2)
        assert (first.state, first.approvals, first.approved_by) == ("audited", ("bob",), None)
        again = approve(world, approvals_needed=2)
        assert (again, world.names.count("release.approved")) == (first, 1)
        with pytest.raises(NotAllowedError, match="is audited and cannot become published"):
            releases.publish(world.services("worker"), FUND, "1.0.0")
        with pytest.raises(NotAllowedError, match="was drafted by ann"):
            approve(world, actor="ann", approvals_needed=2)
        second = approve(world, actor="cleo", approvals_needed=2)
        assert (second.state, second.approvals, second.approved_by) == ("approved", ("bob", "cleo"), "cleo")
        assert releases.publish(world.services("worker"), FUND, "1.0.0").state == "published"

    def test_a_new_draft_voids_the_approvals_before_it(self) -> None:
        world = at("audited")
        approve(world, approvals_needed=2)
        seen = manifest_of(world)
        take_in(world, people=13)
        version = make_next(world)
        assert release_of(world, version).approvals == ()
        with pytest.raises(ConflictError, match="Look at it again before you approve"):
            releases.approve(world.services("cleo", approvals_needed=2), FUND, version, seen)

    def test_somebody_whose_candidate_was_drafted_over_while_they_looked_approves_nothing(self) -> None:
        world = at("audited")
        seen = manifest_of(world)
        take_in(world, KEY, people=13)
        releases.draft(world.services("ann"), FUND)
        with pytest.raises(NotAllowedError, match="is drafted and cannot become approved"):
            releases.approve(world.services("bob"), FUND, "1.0.0", seen)
