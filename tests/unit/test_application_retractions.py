"""Taking a whole return back: one act lists what it touched, corrects it, tells the public, and marks what was published."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from pipeline.application import releases, retractions, submissions
from pipeline.domain.submission import WITHDRAWAL_REASONS, SubmissionKey
from pipeline.errors import NotAllowedError, NotFoundError, RuleError, UsageError
from pipeline.stages import notices
from tests.factories import FUND, KEY, SECOND, SECRET, World, at, published_objects, release_of, return_tables, take_in, write_return

LATER = SubmissionKey("P1", "2024-Q2")


def retract(world: World, key: SubmissionKey = KEY) -> retractions.Retraction:
    return retractions.retract(world.services("ann"), key, "wrong_quarter")


def versions(world: World) -> list[Any]:
    found: list[Any] = json.loads(world.public.objects[f"datasets/{FUND}/versions.json"])["versions"]
    return found


def test_every_accepted_revision_is_withdrawn_so_that_none_counts_again() -> None:
    world = at("published")
    take_in(world, people=13)
    made = retract(world)
    state = submissions.load(world.services(), KEY)
    assert (made.withdrawn, state.in_force) == ([1, 2], None)
    assert [one.state for one in state.revisions] == ["withdrawn", "withdrawn"]


def test_the_versions_tables_cells_and_totals_that_it_touched_are_listed_with_what_the_public_sees_of_them() -> None:
    world = at("published")
    made = retract(world)
    assert [(item.version, item.revision, item.state) for item in made.reached] == [("1.0.0", 1, "published")]
    assert {cell.table for cell in made.cells} == {"outcomes_by_quarter", "payments_by_quarter", "service_users_by_quarter"}
    assert all(cell.status == {"1.0.0": "published"} for cell in made.cells)
    totals = {(cell.cell["of"], cell.cell["column"]) for cell in made.totals}
    assert totals >= {("project P1", "paid_gbp"), ("sector homelessness", "paid_gbp"), (f"fund {FUND}", "paid_gbp"), (f"fund {FUND}", "users_count")}
    assert ("project P2", "paid_gbp") not in totals


def test_payment_totals_are_told_by_payer_to_the_steward() -> None:
    made = retract(at("published"))
    assert ([(payer.payer_id, str(payer.before_gbp)) for payer in made.payers], str(made.paid_gbp)) == ([("PAYER", "800.00")], "800.00")


def test_the_correcting_release_is_drafted_built_and_audited() -> None:
    world = at("published")
    made = retract(world)
    assert made.candidate is not None
    assert (made.candidate.state, made.candidate.version) == ("audited", "1.0.1")
    table = releases.read_candidate(world.services(), made.candidate)["payments_by_quarter"].to_pylist()
    assert {row["project_id"] for row in table if row["paid_gbp"]} == {"P2"}


def test_earlier_versions_stay_as_they_are_and_are_marked() -> None:
    world = at("published")
    files = published_objects(world)
    retract(world)
    note = {"kind": "return_withdrawn", "project_id": "P1", "quarter": "2024-Q1", "reason": "wrong_quarter"}
    assert [(item["version"], item["status"], item["notes"]) for item in versions(world)] == [("1.0.0", "published", [note])]
    assert published_objects(world) == files


def test_a_version_that_did_not_hold_it_is_not_marked() -> None:
    world = at("published")
    take_in(world, LATER, first=50)
    made = retract(world, LATER)
    assert made.reached == []
    assert made.candidate is None or made.candidate.draft.base_version == "1.0.0"
    assert [item["notes"] for item in versions(world)] == [[]]


def test_the_notice_says_what_happened_in_words_without_a_figure() -> None:
    world = at("published")
    made = retract(world)
    assert made.notice == (
        "# A fund: a return was withdrawn\n\n"
        "On 2024-06-08 the return of Project P1 (P1) for 2024-Q1 was withdrawn: it was of another quarter.\n\n"
        "Versions 1.0.0 hold its figures, in `outcomes_by_quarter`, `payments_by_quarter`, `performance`, `service_users_by_quarter`. "
        "They stay as they are, and are marked in the list of versions.\n\n"
        "Version 1.0.1 is being prepared without it.\n"
    )


def test_doing_it_again_withdraws_nothing_more_and_tells_the_same() -> None:
    world = at("published")
    first = retract(world)
    head = world.log.head()
    again = retract(world)
    assert (again, world.log.head()) == (first, head)


def test_while_another_release_waits_for_publication_the_correcting_one_waits_too() -> None:
    world = at("approved")
    made = retract(world)
    assert made.candidate is None
    assert made.waits is not None
    assert "is approved and waits for publication" in made.waits
    assert made.waits in retractions.describe(made)
    releases.return_(world.services("bob"), FUND, "1.0.0", str(release_of(world).manifest), "figures_wrong")
    assert retract(world).candidate is not None


def test_nothing_is_taken_back_that_was_never_delivered_or_never_accepted(tmp_path: Any) -> None:
    world = at("published")
    with pytest.raises(NotFoundError, match="Nothing was delivered for P1/2024-Q2"):
        retract(world, LATER)
    submissions.receive(world.services("team"), write_return(tmp_path, return_tables(LATER)), LATER)
    with pytest.raises(NotAllowedError, match="Nothing of P1/2024-Q2 was ever accepted"):
        retract(world, LATER)
    with pytest.raises(UsageError, match="one of sent_in_error"):
        retractions.retract(world.services(), SECOND, "because")


def test_in_words_it_lists_all_and_names_no_reference() -> None:
    world = at("published")
    text = "\n".join(retractions.describe(retract(world)))
    for words in (
        "P1/2024-Q1: withdrawn (wrong_quarter), revisions 1; none is in force.",
        "Reached 1.0.0 (published) with revision 1.",
        "payments_by_quarter P1 / PAYER / outcome / 2024-Q1: published in 1.0.0",
        "performance fund F1 / paid_gbp: published in 1.0.0",
        "PAYER: £800.00 were said to be paid",
        "The correcting release is 1.0.1; it passed its audit.",
        "a return was withdrawn",
    ):
        assert words in text
    assert SECRET not in text


def test_every_reason_has_words_and_another_is_our_fault() -> None:
    assert set(notices.REASONS) == set(WITHDRAWAL_REASONS)
    about = notices.WithdrawnReturn(
        fund="A fund",
        project="A project",
        project_id="P1",
        quarter="2024-Q1",
        reason="sent_in_error",
        on=date(2024, 6, 3),
        versions=[],
        tables=[],
        corrected_by=None,
    )
    assert "No published version held its figures." in notices.withdrawn_return(about)
    with pytest.raises(RuleError, match="has no words"):
        notices.withdrawn_return(notices.WithdrawnReturn(**{**about.__dict__, "reason": "because"}))
