"""Calendar quarters: how they are written, where days fall, and how they follow one another."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.quarters import Quarter
from pipeline.errors import UsageError

days = st.dates(date(1, 1, 1), date(9999, 12, 31))


def test_each_month_lies_in_its_quarter() -> None:
    assert [Quarter.of(date(2024, month, 28)).number for month in range(1, 13)] == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2024-Q1", date(2024, 1, 1), date(2024, 3, 31)),
        ("2023-Q2", date(2023, 4, 1), date(2023, 6, 30)),
        ("2023-Q3", date(2023, 7, 1), date(2023, 9, 30)),
        ("2023-Q4", date(2023, 10, 1), date(2023, 12, 31)),
        ("0001-Q1", date(1, 1, 1), date(1, 3, 31)),
        ("9999-Q4", date(9999, 10, 1), date(9999, 12, 31)),
    ],
)
def test_a_quarter_runs_from_its_first_day_to_its_last(text: str, start: date, end: date) -> None:
    quarter = Quarter.parse(text)
    assert (quarter.start, quarter.end, str(quarter)) == (start, end, text)


@pytest.mark.parametrize(
    "text", ["", "2024", "2024Q1", "2024-Q0", "2024-Q5", "2024-q1", "24-Q1", "2024-Q1 ", "2024-Q1\n", "\u0662\u0660\u0662\u0664-Q1", "0000-Q1"]
)
def test_what_is_no_quarter_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="written like 2024-Q1"):
        Quarter.parse(text)


def test_the_quarter_after_the_last_of_a_year_is_the_first_of_the_next() -> None:
    assert [str(quarter) for quarter in Quarter(2023, 3).until(Quarter(2024, 2))] == ["2023-Q3", "2023-Q4", "2024-Q1", "2024-Q2"]


def test_until_an_earlier_quarter_there_is_none() -> None:
    assert Quarter(2024, 1).until(Quarter(2023, 4)) == ()
    assert Quarter(2024, 1).until(Quarter(2024, 1)) == (Quarter(2024, 1),)


@given(days)
def test_every_day_lies_in_the_quarter_that_it_is_of(day: date) -> None:
    quarter = Quarter.of(day)
    assert quarter.start <= day <= quarter.end
    assert Quarter.parse(str(quarter)) == quarter


@given(st.dates(date(1, 1, 1), date(9999, 9, 30)))
def test_a_quarter_starts_on_the_day_after_the_one_before_ends(day: date) -> None:
    quarter = Quarter.of(day)
    assert quarter.next().start == quarter.end + timedelta(days=1)


@given(days, days)
def test_quarters_are_ordered_like_their_days_and_like_their_text(one: date, other: date) -> None:
    first, second = Quarter.of(one), Quarter.of(other)
    assert (first < second) == (first.end < second.start) == (str(first) < str(second))
