"""The receipt of a return: every delivered row has one fate, and published cells are looked up where the public looks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.application import receipts, releases, submissions
from pipeline.application.receipts import Receipt, RowFate
from pipeline.domain.events import RowCounts
from pipeline.domain.submission import SubmissionKey
from pipeline.errors import IntegrityError, NotFoundError, RuleError
from pipeline.stages import receipt
from tests.factories import FUND, KEY, SECRET, World, at, return_tables, take_in, write_return

LATER = SubmissionKey("P1", "2024-Q2")


@pytest.fixture
def published() -> World:
    """Give an installation that has published both returns."""
    return at("published")


def made(world: World, key: SubmissionKey = KEY, number: int | None = None) -> Receipt:
    """Return a receipt, in which the rows delivered are the sum over fates."""
    found = receipts.make(world.services(), key, number)
    for one in found.revisions:
        assert one.delivered == sum((one.fates or {}).values())
    return found


def corrected(**others: Any) -> dict[str, Any]:
    tables = return_tables(people=13, outcomes=8) | others
    tables["outcomes"] = tables["outcomes"][:7]
    tables["payments"][0] |= {"quantity": "7", "amount_gbp": "700.00"}
    tables["participants"][0] |= {"gender": "male"}
    tables["cover"][0] |= {"correction_reason": "left_out"}
    return tables


class TestFates:
    def test_rows_in_force_count_in_the_quarter_of_the_return(self, published: World) -> None:
        (one,) = made(published).revisions
        assert (one.delivered, one.fates, one.standing, one.versions) == (21, {"in_force": 21}, "accepted", ["1.0.0"])
        assert one.rows[0] == RowFate(table="participants", row=2, fate="in_force", quarter="2024-Q1")

    def test_late_rows_count_in_the_quarter_in_which_they_happened(self, published: World) -> None:
        def make_late(tables: dict[str, list[dict[str, Any]]]) -> None:
            tables["participants"][0] |= {"started_on": "2024-03-30"}

        take_in(published, LATER, make_late, people=2, outcomes=0, first=50)
        (one,) = made(published, LATER).revisions
        assert one.fates == {"in_force": 1, "late": 1}
        assert one.rows[0] == RowFate(table="participants", row=2, fate="late", quarter="2024-Q1")

    def test_people_whom_a_later_return_speaks_of_again_count_as_that_one_says(self, published: World) -> None:
        def tell_again(tables: dict[str, list[dict[str, Any]]]) -> None:
            for person in tables["participants"]:
                person |= {"started_on": "2024-01-10", "left_on": "2024-05-05"}

        take_in(published, LATER, tell_again, people=2, outcomes=0, first=1)
        (one,) = made(published).revisions
        assert one.fates == {"in_force": 19, "superseded": 2}

    def test_rows_of_a_replaced_revision_stand_unchanged_or_changed_or_were_left_out(self, published: World, tmp_path: Path) -> None:
        submissions.submit(published.services(), write_return(tmp_path, corrected()), KEY)
        first, second = made(published).revisions
        assert (first.replaced_by, first.fates) == (2, {"same": 18, "changed": 2, "removed": 1})
        assert [row for row in first.rows if row.fate in ("changed", "removed")] == [
            RowFate(table="participants", row=2, fate="changed", quarter="2024-Q1"),
            RowFate(table="outcomes", row=9, fate="removed", quarter="2024-Q1"),
            RowFate(table="payments", row=2, fate="changed", quarter="2024-Q1"),
        ]
        assert (second.replaced_by, second.fates, second.correction_reason) == (None, {"in_force": 21}, "left_out")

    def test_a_withdrawn_revision_takes_its_rows_back_and_those_before_count_again(self, published: World, tmp_path: Path) -> None:
        received, _ = submissions.submit(published.services(), write_return(tmp_path, corrected()), KEY)
        submissions.withdraw(published.services(), received.key, "sent_in_error")
        first, second = made(published).revisions
        assert (first.replaced_by, first.fates) == (None, {"in_force": 21})
        assert (second.fates, second.withdrawal_reason, second.versions) == ({"withdrawn": 21}, "sent_in_error", [])

    def test_a_refused_revision_names_the_rows_and_rules_of_its_report(self, published: World, tmp_path: Path) -> None:
        tables = return_tables(people=13)
        tables["outcomes"][2] |= {"metric_id": SECRET}
        submissions.submit(published.services(), write_return(tmp_path, tables), KEY)
        refused = made(published).revisions[1]
        assert (refused.standing, refused.delivered, refused.fates, refused.rules) == ("rejected", 22, {"refused": 22}, {"K-301": 1, "K-340": 1})
        assert refused.rows == [RowFate(table="outcomes", row=4, fate="refused", rules=["K-301"])]
        assert SECRET not in "\n".join(receipts.describe(made(published)))

    def test_rows_of_a_revision_that_waits_wait(self, published: World, tmp_path: Path) -> None:
        tables = corrected()
        del tables["cover"][0]["correction_reason"]
        submissions.submit(published.services(), write_return(tmp_path, tables), KEY)
        waits = made(published, number=2).revisions[0]
        assert (waits.standing, waits.fates, waits.rows) == ("validated, waits for a reason", {"waiting": 21}, ())

    def test_what_nobody_has_read_has_no_count(self, published: World, tmp_path: Path) -> None:
        submissions.receive(published.services(), write_return(tmp_path, corrected()), KEY)
        unread = receipts.make(published.services(), KEY, 2)
        assert (unread.revisions[0].delivered, unread.revisions[0].fates) == (None, None)
        assert "  Nobody has read it yet." in receipts.describe(unread)

    def test_a_row_without_a_fate_is_a_fault_of_ours(self) -> None:
        with pytest.raises(RuleError, match="does not add up: 3 rows were delivered, 1 have a fate"):
            receipt.count_fates(receipt.ROWS.empty_table(), RowCounts(delivered=3, accepted=2, blank=1, late=0))

    def test_a_delivery_of_nobody_is_refused_and_reaches_nothing(self, published: World, tmp_path: Path) -> None:
        received, _ = submissions.submit(published.services(), write_return(tmp_path, return_tables(), "results.json"))
        found = made(published, received.key.submission)
        assert (found.revisions[0].fates, found.revisions[0].rules, found.reached) == ({"refused": 21}, {"D-001": 1}, [])

    def test_a_return_that_never_came_has_no_receipt(self, published: World) -> None:
        with pytest.raises(NotFoundError, match="Nothing was delivered for P1/2024-Q3"):
            receipts.make(published.services(), SubmissionKey("P1", "2024-Q3"))


class TestCells:
    def cells(self, world: World, table: str) -> dict[tuple[str, ...], tuple[int, dict[str, str]]]:
        return {tuple(cell.cell.values()): (cell.rows, dict(cell.status)) for cell in made(world).cells if cell.table == table}

    def test_each_cell_says_how_many_rows_feed_it_and_whether_it_is_published(self, published: World) -> None:
        assert self.cells(published, "outcomes_by_quarter") == {("P1", "P1-M1", "2024-Q1"): (8, {"1.0.0": "published"})}
        assert self.cells(published, "payments_by_quarter") == {("P1", "PAYER", "outcome", "2024-Q1"): (1, {"1.0.0": "published"})}
        people = self.cells(published, "service_users_by_quarter")
        assert people["P1", "2024-Q1", "gender", "female"] == (12, {"1.0.0": "published"})
        assert {cell[2] for cell in people} == {"age_band", "gender", "ethnicity", "local_authority"}

    def test_a_hidden_cell_is_told_as_suppressed(self) -> None:
        world = at("published")

        def one_man(tables: dict[str, list[dict[str, Any]]]) -> None:
            tables["participants"][0] |= {"gender": "male"}

        take_in(world, LATER, one_man, people=12, outcomes=0, first=50)
        publish(world)
        cells = {tuple(cell.cell.values()): dict(cell.status) for cell in made(world, LATER).cells}
        assert cells["P1", "2024-Q2", "gender", "male"] == {"1.1.0": "suppressed"}

    def test_a_claim_feeds_no_cell_until_it_is_verified(self, published: World) -> None:
        def only_claimed(tables: dict[str, list[dict[str, Any]]]) -> None:
            tables["outcomes"][0] |= {"status": "claimed", "verified_on": None}
            tables["payments"] = []

        take_in(published, LATER, only_claimed, people=2, outcomes=1, first=50)
        publish(published)
        assert {cell.table for cell in made(published, LATER).cells} == {"service_users_by_quarter"}

    def test_every_version_that_the_return_reached_is_named_with_its_revision(self, published: World, tmp_path: Path) -> None:
        submissions.submit(published.services(), write_return(tmp_path, corrected()), KEY)
        publish(published)
        found = made(published)
        assert [(item.version, item.revision, item.state) for item in found.reached] == [("1.0.0", 1, "published"), ("1.1.0", 2, "published")]
        assert [one.versions for one in found.revisions] == [["1.0.0"], ["1.1.0"]]
        assert [item.version for item in made(published, number=2).reached] == ["1.1.0"]
        (outcomes,) = [cell for cell in found.cells if cell.table == "outcomes_by_quarter"]
        assert (outcomes.rows, outcomes.status) == (7, {"1.0.0": "published", "1.1.0": "published"})

    def test_before_anything_is_published_it_has_reached_nothing(self) -> None:
        found = made(at("audited"))
        assert (found.reached, found.cells) == ([], [])
        assert "Reached no published version yet." in receipts.describe(found)

    def test_a_public_file_that_somebody_altered_is_not_believed(self, published: World) -> None:
        published.public.objects[f"datasets/{FUND}/v1.0.0/MANIFEST"] += b"\n"
        with pytest.raises(IntegrityError, match="not the one that was approved"):
            receipts.make(published.services(), KEY)


def publish(world: World) -> None:
    candidate = releases.make(world.services(), FUND)
    assert candidate is not None
    releases.approve(world.services("bob"), FUND, candidate.version, str(candidate.manifest))
    releases.publish(world.services("worker"), FUND, candidate.version)


def test_a_receipt_in_words_names_rows_and_cells_and_no_reference(published: World, tmp_path: Path) -> None:
    submissions.submit(published.services(), write_return(tmp_path, corrected()), KEY)
    lines = "\n".join(receipts.describe(made(published)))
    for words in (
        "replaced by revision 2",
        "outcomes row 9: removed (2024-Q1)",
        "Reached 1.0.0 (published) with revision 1",
        "8 rows; published in 1.0.0",
    ):
        assert words in lines
    assert SECRET not in lines
    assert not receipts.make(published.services(), KEY, with_rows=False).revisions[0].rows


def test_asking_for_a_receipt_changes_nothing(published: World) -> None:
    head, sealed = published.log.head(), set(published.restricted.objects)
    made(published)
    assert (published.log.head(), set(published.restricted.objects)) == (head, sealed)
