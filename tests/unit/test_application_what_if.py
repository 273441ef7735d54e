"""What if: a release with other inputs, made in memory, beside the one that would be made now; and nothing is left of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.application import submissions
from pipeline.application.what_if import Answer, Question, describe, what_if
from pipeline.domain.submission import RevisionKey, SubmissionKey
from pipeline.errors import NotAllowedError, NotFoundError, UsageError
from tests.factories import FUND, KEY, SECRET, World, at, return_tables, revision, take_in, write_return

LATER = SubmissionKey("P1", "2024-Q2")


def ask(world: World, **question: Any) -> Answer:
    return what_if(world.services(), FUND, Question(**question))


def wait_with(world: World, folder: Path, **tables: int) -> RevisionKey:
    """Deliver a return that passes and is not accepted yet."""
    received = submissions.receive(world.services("team"), write_return(folder, return_tables(LATER, **tables)), LATER)
    assert submissions.validate(world.services("team"), received.key).report.passed
    return received.key


def changed(answer: Answer, table: str) -> dict[tuple[str, ...], tuple[str, str | None, str | None]]:
    return {(*cell.cell.values(), cell.column): (cell.change, cell.old, cell.new) for cell in answer.cells if cell.table == table}


def test_a_greater_threshold_hides_more_and_a_smaller_one_shows_what_was_hidden() -> None:
    world = at("returned in")
    stricter = ask(world, threshold=10)
    found = changed(stricter, "outcomes_by_quarter")
    assert found["P1", "P1-M1", "2024-Q1", "achieved_quantity"] == ("hidden", None, None)
    assert stricter.hidden["outcomes_by_quarter"][1] > stricter.hidden["outcomes_by_quarter"][0]
    take_in(world, LATER, people=3, outcomes=3, first=50)
    looser = ask(world, threshold=1)
    assert "shown" in {cell.change for cell in looser.cells}
    assert all((cell.old, cell.new) == (None, None) for cell in looser.cells if cell.change != "changed")


def test_without_a_project_its_rows_vanish_and_totals_fall() -> None:
    world = at("returned in")
    answer = ask(world, without=["P2"])
    effects = {effect.table: effect for effect in answer.tables}
    assert (effects["projects"].rows_added, effects["projects"].rows_removed) == (0, 1)
    assert ("changed", "1600.00", "800.00") in changed(answer, "performance").values()


def test_with_a_return_that_waits_its_rows_appear(tmp_path: Path) -> None:
    world = at("published")
    key = wait_with(world, tmp_path, first=50)
    answer = ask(world, including=[key])
    effects = {effect.table: effect for effect in answer.tables}
    assert effects["outcomes_by_quarter"].rows_added >= 1
    found = changed(answer, "completeness")
    assert found["P1", "2024-Q2", "state"] == ("changed", "received", "accepted")


def test_asking_leaves_nothing_behind(tmp_path: Path) -> None:
    world = at("published")
    key = wait_with(world, tmp_path, first=50)
    before = (world.log.head(), dict(world.restricted.objects), dict(world.public.objects))
    ask(world, threshold=3, without=["P2"], including=[key])
    assert (world.log.head(), world.restricted.objects, world.public.objects) == before


def test_the_answer_is_what_would_be_released_if_it_were_done(tmp_path: Path) -> None:
    from pipeline.application import releases

    world = at("returned in")
    key = wait_with(world, tmp_path, first=50)
    answer = ask(world, including=[key])
    before = releases.make(world.copy().services("ann"), FUND)
    submissions.accept(world.services("team"), key)
    after = releases.make(world.services("ann"), FUND)
    assert before is not None
    assert after is not None
    assert {name: count for name, (_, count) in answer.hidden.items()} == after.suppressed
    assert {name: count for name, (count, _) in answer.hidden.items()} == before.suppressed


def test_in_words_it_names_tables_and_cells_and_no_reference() -> None:
    world = at("returned in")
    text = "\n".join(describe(ask(world, without=["P2"])))
    assert "nothing was changed" in text
    assert "projects: 0 rows appear, 1 vanish" in text
    assert "more; --json has all." in text or "from" in text
    assert SECRET not in text


def test_where_nothing_would_differ_it_says_so() -> None:
    world = at("returned in")
    assert "Nothing that is published would differ." in describe(ask(world, threshold=5))


def test_many_cells_are_counted_and_not_all_told() -> None:
    world = at("returned in")
    answer = ask(world, threshold=100)
    assert len(answer.cells) > 20
    assert describe(answer)[-1] == f"  and {len(answer.cells) - 20} more; --json has all."


def test_a_question_must_ask_something_that_can_be() -> None:
    world = at("returned in")
    with pytest.raises(UsageError, match="Say what shall be different"):
        ask(world)
    with pytest.raises(UsageError, match="1 at least"):
        ask(world, threshold=0)
    with pytest.raises(NotFoundError, match="has no project P9"):
        ask(world, without=["P9"])
    with pytest.raises(NotFoundError, match="Nothing was delivered for P1/2024-Q3"):
        ask(world, including=[RevisionKey(SubmissionKey("P1", "2024-Q3"), 1)])
    with pytest.raises(NotAllowedError, match="is accepted; only one that passed and waits"):
        ask(world, including=[revision(1, KEY)])
    with pytest.raises(NotFoundError, match="There is no fund F1"):
        ask(World(), threshold=3)
