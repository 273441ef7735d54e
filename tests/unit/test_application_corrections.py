"""What a revision changes, and the coded reason that altering a published quarter needs, over an installation in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipeline import queries
from pipeline.application import corrections, register, releases, submissions
from pipeline.application.services import read_ledger
from pipeline.domain import submission
from pipeline.domain.submission import Revision, RevisionKey
from pipeline.errors import HeldError, NotAllowedError, UsageError
from pipeline.ports import ReadReturn, idle
from pipeline.stages.intake import content_name
from tests.factories import FUND, KEY, SECRET, JsonReader, Row, World, at, return_tables, revision, write_return


@pytest.fixture
def published() -> World:
    """Give an installation that has published both returns."""
    return at("published")


class CoverReader(JsonReader):
    """A reader of returns whose cover has the columns of the template before it had a reason."""

    def read(self, delivery: Path, meanwhile: Callable[[], object] = idle) -> ReadReturn:
        tables = dict(super().read(delivery).tables)
        tables["cover"] = replace(tables["cover"], cells=tables["cover"].cells.drop_columns(["correction_reason"]))
        return ReadReturn(tables)


def registered() -> World:
    world = World()
    register.load_register(world.services(), Path())
    return world


def validated(world: World, folder: Path, tables: dict[str, list[Row]]) -> RevisionKey:
    key = submissions.receive(world.services("team"), write_return(folder, tables), KEY).key
    assert submissions.validate(world.services(), key).report.passed
    return key


def corrected(**cover: Any) -> dict[str, list[Row]]:
    """Return the published return with one person more and less money."""
    tables = return_tables(people=13, outcomes=8)
    tables["outcomes"] = tables["outcomes"][:7]
    tables["payments"][0] |= {"quantity": "7", "amount_gbp": "700.00"}
    tables["cover"][0] |= cover
    return tables


def found(world: World, key: RevisionKey) -> Revision:
    return queries.revision(world.log, key)


class TestShow:
    def test_a_revision_shows_what_it_changes_before_it_is_accepted(self, published: World, tmp_path: Path) -> None:
        key = validated(published, tmp_path, corrected())
        head = published.log.head()
        shown = corrections.show(published.services(), key)
        assert [(row.table, row.change, row.row, row.replaced_row, row.columns) for row in shown.rows] == [
            ("participants", "added", 14, 0, []),
            ("outcomes", "removed", 0, 9, []),
            ("payments", "changed", 2, 2, ["quantity", "amount_gbp"]),
        ]
        assert [(item.payer_id, item.difference_gbp) for item in shown.payers] == [("PAYER", Decimal("-100.00"))]
        assert (shown.replaces, shown.difference_gbp, shown.altered, shown.needs_reason) == (1, Decimal("-100.00"), ["1.0.0"], True)
        assert published.log.head() == head

    def test_the_difference_is_kept_and_shown_the_same_after_acceptance(self, published: World, tmp_path: Path) -> None:
        key = validated(published, tmp_path, corrected())
        before = corrections.show(published.services(), key)
        submissions.accept(published.services(), key, "entered_twice")
        after = corrections.show(published.services(), key)
        assert (after.rows, after.payers, after.changes, after.reason) == (before.rows, before.payers, before.changes, "entered_twice")
        kept = found(published, key)
        assert kept.difference is not None
        assert SECRET.encode() not in published.restricted.objects[content_name(kept.difference)]

    def test_the_first_revision_adds_every_row_and_keeps_no_difference(self, tmp_path: Path) -> None:
        world = registered()
        key = validated(world, tmp_path, return_tables(people=2, outcomes=1))
        shown = corrections.show(world.services(), key)
        assert (shown.replaces, shown.changes.added, shown.difference_gbp, shown.altered) == (None, 4, Decimal("100.00"), ())
        submissions.accept(world.services(), key)
        assert found(world, key).difference is None
        assert corrections.show(world.services(), key).changes == shown.changes

    def test_what_did_not_pass_changes_nothing(self, published: World, tmp_path: Path) -> None:
        tables = return_tables(people=13)
        tables["outcomes"][0] |= {"metric_id": "P1-M9"}
        key = submissions.receive(published.services(), write_return(tmp_path, tables), KEY).key
        submissions.validate(published.services(), key)
        with pytest.raises(NotAllowedError, match="has not passed"):
            corrections.show(published.services(), key)

    def test_in_words_it_names_rows_columns_and_pounds_and_no_reference(self, published: World, tmp_path: Path) -> None:
        lines = "\n".join(corrections.describe(corrections.show(published.services(), validated(published, tmp_path, corrected()))))
        for words in ("1 rows added, 1 changed, 1 removed", "row 9 of the file before", "-£100.00", "published in 1.0.0", "--reason CODE"):
            assert words in lines
        assert SECRET not in lines

    def test_as_a_document_it_has_the_difference_of_each_payer(self, published: World, tmp_path: Path) -> None:
        document = corrections.show(published.services(), validated(published, tmp_path, corrected())).to_document()
        assert document["payers"] == [
            {"payer_id": "PAYER", "before_gbp": Decimal("800.00"), "after_gbp": Decimal("700.00"), "difference_gbp": Decimal("-100.00")}
        ]
        assert (document["revision"], document["needs_reason"]) == ("P1/2024-Q1/2", True)

    def test_in_words_only_the_first_rows_are_named_and_the_first_revision_has_nothing_before_it(self, tmp_path: Path) -> None:
        world = registered()
        lines = "\n".join(corrections.describe(corrections.show(world.services(), validated(world, tmp_path, return_tables()))))
        assert "against nothing before it: 21 rows added" in lines
        assert "row 11; and 2 more" in lines
        assert "published in" not in lines

    def test_in_words_a_payer_for_whom_nothing_changes_is_left_out(self, published: World, tmp_path: Path) -> None:
        lines = "\n".join(corrections.describe(corrections.show(published.services(), validated(published, tmp_path, return_tables(people=13)))))
        assert "PAYER" not in lines


class TestReason:
    def test_what_alters_a_published_quarter_is_not_accepted_without_a_reason(self, published: World, tmp_path: Path) -> None:
        key = validated(published, tmp_path, corrected())
        sealed = set(published.restricted.objects)
        with pytest.raises(HeldError, match=r"alters a quarter that is published in 1\.0\.0"):
            submissions.accept(published.services(), key)
        assert (found(published, key).state, set(published.restricted.objects)) == ("validated", sealed), "no fact is sealed that no event names"

    def test_concluding_lets_it_wait_and_twice_appends_once(self, published: World, tmp_path: Path) -> None:
        key = validated(published, tmp_path, corrected())
        for _ in range(2):
            submissions.conclude(published.services(), key)
        assert (found(published, key).standing, published.names.count("submission.held")) == ("validated, waits for a reason", 1)
        assert [row.standing for row in queries.revisions(published.log, "P1")] == ["accepted", "validated, waits for a reason"]

    def test_what_waits_for_a_person_is_no_work_for_a_worker(self, published: World, tmp_path: Path) -> None:
        path = write_return(tmp_path / "inbox", corrected())
        assert len(queries.waiting(published.log, tmp_path / "inbox")) == 1
        submissions.submit(published.services(), path, KEY)
        assert queries.waiting(published.log, tmp_path / "inbox") == []
        assert [item.standing for item in queries.deliveries(published.log, tmp_path / "inbox")] == ["validated, waits for a reason"]

    def test_a_reason_accepts_it_and_is_kept(self, published: World, tmp_path: Path) -> None:
        key = validated(published, tmp_path, corrected())
        submissions.conclude(published.services(), key)
        for _ in range(2):
            submissions.accept(published.services("steward"), key, "left_out")
        kept = found(published, key)
        assert (kept.standing, kept.correction_reason, kept.held, published.names.count("submission.accepted")) == (
            "accepted, queried",  # the figures have fallen, and nobody has said why yet
            "left_out",
            None,
            3,
        )

    def test_a_reason_on_the_cover_will_do(self, published: World, tmp_path: Path) -> None:
        received, _ = submissions.submit(published.services(), write_return(tmp_path, corrected(correction_reason="left_out")), KEY)
        assert (found(published, received.key).state, found(published, received.key).correction_reason) == ("accepted", "left_out")

    def test_what_a_person_refuses_waits_no_more(self, published: World, tmp_path: Path) -> None:
        key = validated(published, tmp_path, corrected())
        submissions.conclude(published.services(), key)
        submissions.reject(published.services(), key)
        assert found(published, key).standing == "rejected"

    def test_a_reason_given_when_it_is_submitted_will_do(self, published: World, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="needs a coded reason"):
            submissions.submit(published.services(), write_return(tmp_path, corrected()), KEY, reason="because")
        received, _ = submissions.submit(published.services(), write_return(tmp_path, corrected()), KEY, reason="other")
        assert (found(published, received.key).state, found(published, received.key).correction_reason) == ("accepted", "other")

    def test_a_first_return_corrects_nothing_whatever_its_cover_says(self, tmp_path: Path) -> None:
        world = registered()
        received, _ = submissions.submit(world.services(), write_return(tmp_path, corrected(correction_reason="left_out")), KEY)
        assert (found(world, received.key).state, found(world, received.key).correction_reason) == ("accepted", None)

    def test_a_cover_without_the_column_gives_no_reason(self, published: World, tmp_path: Path) -> None:
        published.reader = CoverReader()
        received, _ = submissions.submit(published.services(), write_return(tmp_path, corrected(correction_reason="other")), KEY)
        assert found(published, received.key).held == "reason_needed"

    def test_a_reason_that_is_no_code_is_refused_and_not_repeated(self, published: World, tmp_path: Path) -> None:
        key = validated(published, tmp_path, corrected())
        with pytest.raises(UsageError, match="one of overpaid") as caught:
            submissions.accept(published.services(), key, SECRET)
        assert SECRET not in str(caught.value)

    def test_nothing_is_asked_where_nothing_published_changes(self, published: World, tmp_path: Path) -> None:
        tables = return_tables(people=12, outcomes=8)
        tables["participants"].reverse()
        received, _ = submissions.submit(published.services(), write_return(tmp_path, tables), KEY)
        assert found(published, received.key).state == "accepted"

    def test_nothing_is_asked_before_anything_is_published(self, tmp_path: Path) -> None:
        world = at("audited")
        received, _ = submissions.submit(world.services(), write_return(tmp_path, corrected()), KEY)
        assert found(world, received.key).state == "accepted"

    def test_a_return_that_comes_in_place_of_a_withdrawn_one_alters_what_is_published_too(self, published: World, tmp_path: Path) -> None:
        submissions.withdraw(published.services(), revision(1), "sent_in_error")
        received, _ = submissions.submit(published.services(), write_return(tmp_path, corrected()), KEY)
        assert found(published, received.key).held == "reason_needed"

    def test_a_revision_that_would_not_come_into_force_alters_nothing(self, published: World, tmp_path: Path) -> None:
        earlier = validated(published, tmp_path / "a", corrected())
        submissions.submit(published.services(), write_return(tmp_path / "b", corrected(correction_reason="other", comment="again")), KEY)
        assert submissions.accept(published.services(), earlier).revision(2).state == "accepted"
        in_force = read_ledger(published.services()).in_force(FUND)[KEY]
        assert in_force.number == 3


def test_withdrawing_a_correction_restores_the_revision_before_and_the_next_release_says_so(published: World, tmp_path: Path) -> None:
    tables = corrected(correction_reason="left_out")
    received, _ = submissions.submit(published.services(), write_return(tmp_path, tables), KEY)
    first = releases.make(published.services(), FUND)
    assert first is not None
    releases.approve(published.services("bob"), FUND, first.version, str(first.manifest))
    releases.publish(published.services("worker"), FUND, first.version)
    submissions.withdraw(published.services(), received.key, "found_wrong_after_acceptance")
    state = submission.fold(KEY, published.log.read_stream(KEY.stream))
    assert state.in_force is not None
    assert state.in_force.number == 1
    second = releases.make(published.services(), FUND)
    assert second is not None
    releases.approve(published.services("bob"), FUND, second.version, str(second.manifest))
    releases.publish(published.services("worker"), FUND, second.version)
    outcomes = [
        published.public.objects[f"datasets/{FUND}/v{version}/outcomes_by_quarter.csv"] for version in ("1.0.0", first.version, second.version)
    ]
    without_day = [[line.rsplit(b",", 1)[0] for line in table.splitlines()] for table in outcomes]
    assert without_day[0] == without_day[2]
    assert without_day[0] != without_day[1]
    changelog = published.public.objects[f"datasets/{FUND}/v{second.version}/CHANGELOG.md"].decode()
    assert "payments_by_quarter" in changelog
    assert "800" in changelog
