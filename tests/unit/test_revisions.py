"""What is told of changes between releases: how often, never to what."""

from __future__ import annotations

from pipeline.stages.revisions import count_revisions
from tests.attack.worlds import DEFINITIONS, Fund

PLACE = ("outcomes_by_quarter", "achieved_quantity", "P0", "M0", "2020-Q1")


def fund() -> Fund:
    made = Fund(7)
    made.hand_in("P0", "2020-Q1")
    made.outcomes["P0", "M0", "2020-Q1"] = 4
    return made


def test_a_figure_that_changes_is_counted_and_one_that_does_not_is_not() -> None:
    made = fund()
    before = made.tables()
    made.outcomes["P0", "M0", "2020-Q1"] = 6

    found = count_revisions([before, before, made.tables()], DEFINITIONS)

    assert [release.changes[PLACE] for release in found] == [0, 0, 1]


def test_a_figure_that_goes_and_comes_back_with_its_value_has_not_changed() -> None:
    made = fund()
    before = made.tables()
    starts = made.starts.pop(("P0", "2020-Q1"))
    without = made.tables()
    made.starts["P0", "2020-Q1"] = starts

    assert count_revisions([before, without, made.tables()], DEFINITIONS)[-1].changes[PLACE] == 0
