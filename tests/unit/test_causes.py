"""Every change of a published cell names its cause, traced through the log: over an installation in memory, against worlds in which only one thing
happened."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from pipeline.application import history, proofs, register, releases, submissions
from pipeline.application.candidates import make_candidate
from pipeline.application.tracing import find_tracing
from pipeline.domain.events import ReleaseDrafted
from pipeline.domain.release import Release
from pipeline.domain.submission import SubmissionKey
from pipeline.stages.causes import Cause, Touch, Trace, Tracing, touch_record
from pipeline.stages.changes import list_changes, row_key
from pipeline.stages.comparison import compare
from pipeline.stages.frames import equal_to
from pipeline.stages.verification import read_parquet
from tests.factories import (
    DEFINITIONS,
    FUND,
    KEY,
    SECOND,
    SECRET,
    Row,
    World,
    at,
    digest,
    published_objects,
    register_rows,
    register_tables,
    release_of,
    revision,
    take_in,
)

Cells = dict[tuple[str, str, str], Row]
DAY = date(2024, 3, 31)
AUTUMN, SUMMER, WINTER = SubmissionKey("P1", "2023-Q4"), SubmissionKey("P1", "2024-Q2"), SubmissionKey("P2", "2023-Q4")


def publish_next(world: World) -> Release:
    """Make, approve and publish whatever is new."""
    made = releases.make(world.services("ann"), FUND)
    assert made is not None
    assert made.audit_passed
    releases.approve(world.services("bob"), FUND, made.version, str(made.manifest))
    published = releases.publish(world.services("worker"), FUND, made.version)
    world.clock.advance(timedelta(days=1))
    return published


def candidate_cells(world: World) -> Cells:
    """Return the changes of what would be released next, by table, row and column."""
    drafted = releases.draft(world.services(), FUND).release
    assert drafted is not None
    return cells_of(read_parquet(make_candidate(world.services(), FUND, drafted.draft).files["changes.parquet"]))


def cells_of(changes: pa.Table) -> Cells:
    return {(row["table_name"], row["row_key"], row["column_name"]): row for row in changes.to_pylist()}


def published_cells(world: World, version: str) -> Cells:
    return cells_of(read_parquet(published_objects(world, version)["changes.parquet"]))


def whys(cells: Cells) -> set[tuple[str, str | None, str | None]]:
    return {(row["causes"], row["reasons"], row["sources"]) for row in cells.values()}


def correct(world: World) -> None:
    take_in(world, people=13)


def late(world: World) -> None:
    take_in(world, WINTER, first=50)


def late_rows(tables: dict[str, list[Row]]) -> None:
    """Let the last six outcomes of a summer return, and the people who achieved them, belong to the spring."""
    for row in tables["outcomes"][-6:]:
        row["achieved_on"], row["verified_on"] = "2024-03-20", "2024-03-25"
    for row in tables["participants"][8:14]:
        row["started_on"] = "2024-02-10"


def come_in_time(world: World) -> None:
    take_in(world, SUMMER, first=100, people=20, outcomes=14, change=late_rows)


def dearer(world: World) -> None:
    rows = register_rows()
    rows["plans"] = [
        row | {"expected_quantity": 40} if row.get("metric_id") == "P2-M1" and row["measure"] == "outcomes" else row for row in rows["plans"]
    ]
    rows["plans"] += [row | {"plan_version": 2, "plan_kind": "variation_agreement"} for row in rows["plans"] if row["project_id"] == "P2"]
    rows["plans"] = [row for row in rows["plans"] if not (row["project_id"] == "P2" and row["plan_version"] == 1)] + [
        row for row in register_rows()["plans"] if row["project_id"] == "P2"
    ]
    register.load_tables(world.services("steward"), register_tables(rows))


STEPS: dict[str, tuple[Callable[[World], None], str]] = {
    "P1/2024-Q1/2": (correct, "correction"),
    "P2/2023-Q4/1": (late, "late_return"),
    "P1/2024-Q2/1": (come_in_time, "new_period"),
    "register/P2": (dearer, "register"),
}


def test_every_cell_names_exactly_what_changes_it_when_nothing_else_happens() -> None:
    def after(*sources: str) -> Cells:
        world = at("published")
        world.clock.advance(timedelta(days=40))
        for source in sources:
            STEPS[source][0](world)
        return candidate_cells(world)

    alone = {source: {place for place, row in after(source).items() if row["sources"]} for source in STEPS}
    assert min(len(cells) for cells in alone.values()) > 5
    together = after(*STEPS)
    new_rows = [place for place, row in together.items() if row["causes"] == "new_period" and row["change"] == "added"]
    looked_at = 0
    for place, row in together.items():
        expected = {source for source, cells in alone.items() if place in cells}
        if place in new_rows:  # the period is the cause; what else adds to its totals is not told twice
            expected = {source for source in expected if source.split("/")[1] == row["quarter"]}
        assert set((row["sources"] or "").split(";")) - {""} == expected, (place, row)
        looked_at += len(expected)
    assert looked_at > 100
    assert {source for row in together.values() for source in (row["sources"] or "").split(";")} >= set(STEPS)


@pytest.mark.parametrize("source", STEPS)
def test_one_thing_that_happened_is_the_only_cause_that_is_named(source: str) -> None:
    world = at("published")
    step, cause = STEPS[source]
    step(world)
    found = whys(candidate_cells(world))
    assert {causes for causes, _, named in found if named == source} <= {cause, "late_row"}
    assert {named for _, _, named in found} <= {source, None}
    assert {causes for causes, _, named in found if named is None} <= {"time_passed", "new_period", "suppression"}


def test_a_correction_carries_its_reason_and_the_row_shows_old_and_new() -> None:
    world = at("published")
    correct(world)
    cells = candidate_cells(world)
    row = cells["service_users_by_quarter", "P1/2024-Q1/all/all", "starts_count"]
    assert (row["change"], row["old"], row["new"], row["old_status"], row["new_status"]) == ("changed", "12", "13", "published", "published")
    assert (row["causes"], row["reasons"], row["sources"]) == ("correction", "other", "P1/2024-Q1/2")
    assert (row["project_id"], row["quarter"]) == ("P1", "2024-Q1")
    assert ("outcomes_by_quarter", "P1/P1-M1/2024-Q1", "achieved_quantity") not in cells


def test_rows_that_a_later_return_tells_of_an_earlier_quarter_are_told_late() -> None:
    world = at("published")
    come_in_time(world)
    row = candidate_cells(world)["outcomes_by_quarter", "P1/P1-M1/2024-Q1", "achieved_quantity"]
    assert (row["old"], row["new"], row["causes"], row["sources"]) == ("8", "14", "late_row", "P1/2024-Q2/1")


def test_two_corrections_between_two_versions_are_one_cause_with_both_reasons() -> None:
    world = at("published")
    take_in(world, people=13)
    rows = {row["reasons"] for row in candidate_cells(world).values()}
    assert rows == {"other"}
    take_in(world, people=14)
    cells = candidate_cells(world)
    assert whys(cells) == {("correction", "other", "P1/2024-Q1/3")}
    assert cells["service_users_by_quarter", "P1/2024-Q1/all/all", "starts_count"]["new"] == "14"


def test_a_withdrawn_return_is_named_with_its_reason() -> None:
    world = at("published")
    submissions.withdraw(world.services(), revision(1, SECOND), "sent_in_error")
    cells = candidate_cells(world)
    row = cells["outcomes_by_quarter", "P2/P2-M1/2024-Q1", "achieved_quantity"]
    assert (row["old"], row["new"], row["new_status"]) == ("8", None, "x")
    assert (row["causes"], row["reasons"], row["sources"]) == ("withdrawal", "sent_in_error", "P2/2024-Q1/1")
    gone = cells["payments_by_quarter", "P2/PAYER/outcome/2024-Q1", "paid_gbp"]
    assert (gone["change"], gone["old"], gone["new"], gone["causes"]) == ("removed", "800.00", None, "withdrawal")


def test_a_correction_that_was_withdrawn_brings_the_revision_before_back() -> None:
    world = at("published")
    correct(world)
    publish_next(world)
    submissions.withdraw(world.services(), revision(2), "found_wrong_after_acceptance")
    row = candidate_cells(world)["service_users_by_quarter", "P1/2024-Q1/all/all", "starts_count"]
    assert (row["old"], row["new"], row["causes"], row["reasons"]) == ("13", "12", "withdrawal", "found_wrong_after_acceptance")


def test_a_withdrawn_revision_and_the_one_that_was_sent_instead_are_both_named() -> None:
    world = at("published")
    submissions.withdraw(world.services(), revision(1), "sent_in_error")
    correct(world)
    row = candidate_cells(world)["service_users_by_quarter", "P1/2024-Q1/all/all", "starts_count"]
    assert (row["causes"], row["reasons"], row["sources"]) == ("correction;withdrawal", "other;sent_in_error", "P1/2024-Q1/2")


def test_a_return_that_was_received_and_not_accepted_changes_completeness_only(tmp_path: Any) -> None:
    from tests.factories import return_tables, write_return

    world = at("published")
    submissions.receive(world.services("team"), write_return(tmp_path, return_tables(AUTUMN)), AUTUMN)
    cells = candidate_cells(world)
    assert {place[0] for place in cells} == {"completeness"}
    assert whys(cells) == {("delivery", None, "P1/2023-Q4/1")}


def test_what_only_time_changes_says_so() -> None:
    world = at("published")
    world.clock.advance(timedelta(days=60))
    drafted = releases.draft(world.services(), FUND, "minor").release
    assert drafted is not None
    cells = cells_of(read_parquet(make_candidate(world.services(), FUND, drafted.draft).files["changes.parquet"]))
    assert cells["completeness", "P2/2024-Q2", "state"]["causes"] == "time_passed"
    assert whys(cells) == {("time_passed", None, None), ("new_period", None, None)}


def test_a_figure_that_goes_into_hiding_tells_no_value_and_no_cause_but_that() -> None:
    world = at("published")
    take_in(world, outcomes=3)
    cells = candidate_cells(world)
    row = cells["outcomes_by_quarter", "P1/P1-M1/2024-Q1", "achieved_quantity"]
    assert (row["change"], row["old"], row["new"], row["old_status"], row["new_status"]) == ("hidden", None, None, "published", "c")
    hidden = {place: row for place, row in cells.items() if row["change"] == "hidden"}
    assert len(hidden) > 3
    assert whys(hidden) == {("suppression", None, None)}
    assert {row["causes"] for row in cells.values() if row["change"] == "changed"} == {"correction"}


def test_a_figure_that_stays_hidden_is_not_there_whatever_became_of_it() -> None:
    world = at("published")
    take_in(world, outcomes=3)
    publish_next(world)
    take_in(world, outcomes=2)
    assert releases.draft(world.services(), FUND).release is not None
    hidden = ("outcomes_by_quarter", "P1/P1-M1/2024-Q1", "achieved_quantity")
    assert hidden not in candidate_cells(world)


def test_a_figure_that_comes_out_of_hiding_tells_no_value_either() -> None:
    world = at("published")
    take_in(world, outcomes=3)
    publish_next(world)
    take_in(world, outcomes=9)
    shown = {place: row for place, row in candidate_cells(world).items() if row["change"] == "shown"}
    assert shown
    assert {(row["old"], row["new"], row["causes"]) for row in shown.values()} == {(None, None, "suppression")}


def test_a_hidden_figure_in_a_new_row_is_not_listed() -> None:
    world = at("published")
    take_in(world, AUTUMN, first=60, people=3, outcomes=2)
    cells = candidate_cells(world)
    assert not [place for place in cells if place[0] == "service_users_by_quarter" and place[1].startswith("P1/2023-Q4/")]
    assert not [row for row in cells.values() if row["change"] == "added" and row["new_status"] == "c"]


def test_a_total_names_a_return_whose_own_figure_is_hidden_whether_or_not_it_made_a_difference() -> None:
    def sources(outcomes: int) -> str:
        world = at("published")
        take_in(world, SECOND, people=12, outcomes=9)  # the total changes by this one alone, when the other has no outcome
        take_in(world, AUTUMN, first=60, people=12, outcomes=outcomes)
        cells = candidate_cells(world)
        assert cells["outcomes_by_quarter", "P1/P1-M1/2023-Q4", "achieved_quantity"]["change"] == "hidden"
        return str(cells["performance", "fund/all/all/pooled", "outcomes_quantity"]["sources"])

    assert sources(0) == sources(2) == "P1/2023-Q4/1;P2/2024-Q1/2"


@pytest.mark.parametrize(("reason", "old"), [("disclosure_risk", None), ("legal_request", None), ("figures_wrong", "12")])
def test_values_of_a_version_that_was_withdrawn_to_protect_people_are_not_repeated(reason: str, old: str | None) -> None:
    world = at("published")
    releases.withdraw(world.services(), FUND, "1.0.0", reason)
    take_in(world, people=13)
    submissions.withdraw(world.services(), revision(1, SECOND), "sent_in_error")
    published = publish_next(world)
    cells = published_cells(world, published.version)
    row = cells["service_users_by_quarter", "P1/2024-Q1/all/all", "starts_count"]
    assert (row["old"], row["new"], row["causes"]) == (old, "13", "correction")
    assert {row["old"] is None for row in cells.values() if row["change"] == "removed"} <= {old is None}
    words = published_objects(world, published.version)["CHANGELOG.md"].decode()
    assert ("are not repeated here" in words) == (old is None)
    assert ("`starts_count` from 12 to 13" in words) == (old is not None)
    assert proofs.rebuild(world.services(), FUND, published.version).differing == []
    between = history.compare_versions(world.public, DEFINITIONS, FUND, "1.0.0", published.version)
    assert between.cells.equals(read_parquet(published_objects(world, published.version)["changes.parquet"]))


def test_other_rules_of_protection_are_a_cause_of_what_is_hidden() -> None:
    world = at("published")
    drafted = release_of(world).draft
    other = find_tracing(world.services(), FUND, drafted, replace(drafted, rules=digest("other")))
    assert (other.is_other_method, other.is_other_protection, other.traces) == (True, True, [])


def test_a_first_version_has_no_changes_and_says_so() -> None:
    files = published_objects(at("published"))
    assert read_parquet(files["changes.parquet"]).num_rows == 0
    summary = json.loads(files["changes.json"])
    assert (summary["weight"], summary["is_breaking"], summary["cells"], summary["causes"]) == ("first", False, 0, [])
    assert "Why figures changed" not in files["CHANGELOG.md"].decode()


def test_the_changelog_names_causes_with_counts_and_who_is_missing() -> None:
    world = at("published")
    late(world)
    world.clock.advance(timedelta(days=60))
    publish_next(world)
    words = published_objects(world, "1.1.0")["CHANGELOG.md"].decode()
    assert "cells: late return: P2 for 2023-Q4 (revision 1)" in words
    assert "- 2024-Q2: P1 (missing), P2 (missing)" in words


def test_the_summary_counts_the_cells_of_each_table_and_cause() -> None:
    world = at("published")
    correct(world)
    publish_next(world)
    cells = published_cells(world, "1.0.1")
    summary = json.loads(published_objects(world, "1.0.1")["changes.json"])
    assert (summary["version"], summary["base_version"], summary["weight"], summary["cells"]) == ("1.0.1", "1.0.0", "patch", len(cells))
    assert summary["causes"] == [{"causes": ["correction"], "reasons": ["other"], "sources": ["P1/2024-Q1/2"], "cells": len(cells)}]
    assert sum(table["cells"].get("changed", 0) for table in summary["tables"].values()) == len(cells)


def test_a_version_with_changes_is_built_again_byte_for_byte_and_names_nobody() -> None:
    world = at("published")
    for step, _ in STEPS.values():
        step(world)
    published = publish_next(world)
    correct(world)
    assert proofs.rebuild(world.services(), FUND, published.version).differing == []
    assert all(SECRET.encode() not in content for content in published_objects(world, published.version).values())


def test_every_published_column_says_of_what_it_is_made() -> None:
    lineage = DEFINITIONS.history["lineage"]["tables"]
    parts = {entry["part"] for table in lineage.values() for column in table["columns"].values() for entry in column["made_of"]}
    assert lineage.keys() == DEFINITIONS.tables["published"].keys()
    for name, schema in DEFINITIONS.tables["published"].items():
        cells = {column for column in schema.columns if not column.endswith("_status") and column != "as_of"} - set(schema.primary_key)
        assert lineage[name]["columns"].keys() == cells, name
        assert lineage[name]["rows"]
    assert parts >= {"outcomes", "payments", "service_starts", "projects", "metrics", "rate_card", "plans.outcomes", "investments", "payers"}


def test_the_codes_of_the_lists_are_those_of_the_schema_and_of_the_words() -> None:
    from pipeline.stages.changelog import CAUSE_WORDS

    assert list(CAUSE_WORDS) == list(DEFINITIONS.codelists["change_cause"])
    assert list(DEFINITIONS.table("history", "changes").field("change").constraints["enum"]) == list(DEFINITIONS.codelists["change_kind"])


def test_a_row_is_named_by_its_key_without_doubt() -> None:
    assert row_key(["a/b", "50%", None, 3]) == "a%2Fb/50%25//3"
    assert row_key(["a", "b"]) != row_key(["a/b"])


@pytest.mark.parametrize(
    ("part", "before", "after", "expected"),
    [
        ("rate_card", {"metric_id": "M", "payer_id": "A", "price_gbp": "1"}, {"metric_id": "M", "payer_id": "A", "price_gbp": "2"}, "rate_card"),
        ("investments", {"investor": "A", "drawn_gbp": "1"}, {"investor": "A", "drawn_gbp": "2"}, "investments"),
    ],
)
def test_a_register_record_is_compared_part_by_part(part: str, before: Row, after: Row, expected: str) -> None:
    project = {"project_id": "P1", "policy_sector": "homelessness"}
    record = {"project": project, "metrics": [{"metric_id": "M"}]}
    touches: Sequence[Touch] = list(touch_record(3, record | {part: [before]}, record | {part: [after]}, DAY, DAY))
    assert {(touch.trace, touch.part, touch.place["project_id"]) for touch in touches} == {(3, expected, "P1")}
    assert list(touch_record(3, record, record, DAY, DAY)) == []


def test_a_plan_counts_from_the_day_on_which_it_was_agreed_and_where_it_adds_up_to_something_else() -> None:
    def planned(version: int, agreed_on: str, *quantities: int) -> list[Row]:
        row: Row = {"plan_version": version, "agreed_on": agreed_on, "scenario": "medium", "measure": "outcomes", "metric_id": "M", "payer_id": None}
        return [row | {"quarter": f"2024-Q{number}", "expected_quantity": quantity} for number, quantity in enumerate(quantities, start=1)]

    project = {"project_id": "P1", "policy_sector": "homelessness"}
    first, second = planned(1, "2024-01-01", 10, 10), planned(2, "2024-06-01", 10, 12)
    records = [{"project": project, "plans": plans} for plans in (first, [*first, *second])]
    touches = list(touch_record(0, records[0], records[1], DAY, date(2024, 6, 30)))
    assert {(touch.part, touch.place.get("quarter"), touch.amount) for touch in touches} == {
        ("plan_versions", None, None),
        ("plans", None, None),
        ("plans.outcomes", "2024-Q2", Decimal(2)),
    }
    assert {touch.part for touch in touch_record(0, records[0], records[1], DAY, DAY)} == {"plan_versions"}


def test_a_change_of_the_funds_own_entry_is_traced_to_it_and_told() -> None:
    world = at("published")
    rows = register_rows()
    rows["payers"] = [row | {"kind": "central"} for row in rows["payers"]]
    register.load_tables(world.services("steward"), register_tables(rows))
    cells = candidate_cells(world)
    row = cells["payments_by_quarter", "P1/PAYER/outcome/2024-Q1", "payer_kind"]
    assert (row["old"], row["new"], row["causes"], row["sources"]) == ("local", "central", "register", "register/F1")
    publish_next(world)
    newest = releases.load(world.services(), FUND).newest
    assert newest is not None
    words = published_objects(world, newest.version)["CHANGELOG.md"].decode()
    assert "change of the register: register entry F1" in words


def test_a_table_that_is_gone_and_rows_of_another_grain_are_not_listed_cell_by_cell() -> None:
    from pipeline.application.candidates import read_published

    world = at("published")
    now = read_published(world.services(), FUND, release_of(world))
    name = "service_users_by_quarter"
    coarser = now[name].filter(equal_to(now[name]["characteristic"], "all")).drop_columns(["category"])
    differences = compare({name: coarser, "gone": coarser}, {name: now[name]}, DEFINITIONS.tables["published"])
    cells = list_changes(differences, DEFINITIONS, lambda *_: Cause(("method",)))
    assert set(cells["change"].to_pylist()) == {"added"}
    assert set(cells["table_name"].to_pylist()) == {name}


def test_an_untraced_change_says_that_it_was_made_again() -> None:
    from pipeline.stages.causes import Explainer

    tracing = Tracing(traces=[Trace(causes=("register",), source="register/P9")], touches=[], since=date(2024, 6, 30), as_of=date(2024, 6, 30))
    row = {"project_id": "P1", "metric_id": "M", "quarter": "2024-Q1"}
    for method, cause in ((False, "recomputed"), (True, "method")):
        explainer = Explainer(replace(tracing, is_other_method=method), DEFINITIONS.history["lineage"], list(DEFINITIONS.codelists["change_cause"]))
        assert explainer.explain("outcomes_by_quarter", "achieved_quantity", row, is_row_new=False).causes == (cause,)
        assert explainer.explain("a table of long ago", "a_column", row, is_row_new=False).causes == (cause,)


def test_an_erased_participant_is_a_cause_of_its_own() -> None:
    from pipeline.application.tracing import _trace
    from pipeline.domain.submission import Submission

    world = at("published")
    state = _submission(world)
    shorter = replace(state.revisions[0], facts=tuple(replace(file, sha256=digest(file.table)) for file in state.revisions[0].facts))
    found = _trace(state, Submission(key=KEY, version=4, revisions=(shorter,)), is_due=True)
    assert (found.causes, found.source, found.reasons) == (("erasure",), "P1/2024-Q1/1", ())


def test_an_erased_participant_is_named_wherever_the_return_counts_and_what_was_erased_is_not_read() -> None:
    from pipeline.application import tracing
    from pipeline.application.services import read_ledger
    from pipeline.stages.intake import content_name

    world = at("published")
    before = _submission(world).in_force
    take_in(world, people=11)
    corrected = _submission(world).in_force
    assert before is not None
    assert corrected is not None
    ledgers = [read_ledger(world.services()), read_ledger(world.services())]
    erased = replace(corrected, number=before.number)
    for ledger, revision_of in zip(ledgers, (before, erased), strict=True):
        ledger.submissions[KEY] = replace(_submission(world), revisions=(revision_of,))  # type: ignore[index]
    for file in before.facts:
        if file.sha256 not in {other.sha256 for other in corrected.facts}:
            del world.restricted.objects[content_name(file.sha256)]
    drafted = release_of(world).draft
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracing, "read_ledger", lambda services, position: ledgers.pop(0))
        found = find_tracing(world.services(), FUND, drafted, drafted)
    assert [trace.causes for trace in found.traces] == [("erasure",)]
    assert {touch.part for touch in found.touches} == {
        *("deliveries", "returns", "outcomes", "payments", "service_starts", "service_starts.by_characteristic")
    }
    assert {touch.amount for touch in found.touches} == {None}


def _submission(world: World) -> Any:
    from pipeline.application.services import read_ledger

    return read_ledger(world.services()).submissions[KEY]


def test_a_tracing_of_a_version_against_itself_finds_nothing() -> None:
    world = at("published")
    drafted: ReleaseDrafted = release_of(world).draft
    found = find_tracing(world.services(), FUND, drafted, drafted)
    assert (found.traces, found.touches, found.is_other_method) == ([], [], False)
