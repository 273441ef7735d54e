"""Figures are written as people in Britain read them, and never one kind of nothing for another."""

from datetime import date
from decimal import Decimal

import pytest

from pipeline.errors import IntegrityError
from pipeline.site.figures import Cell, cell, count, file_size, long_date, money, multiple, percent, price, quarter_name, ratio, scale, total, width

HIDDEN, MISSING, NOTHING = Cell(None, "c"), Cell(None, "x"), Cell(None, "z")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (count(Cell(1234567)), "1,234,567"),
        (count(Cell(0)), "0"),
        (money(Cell(Decimal("609956.44"))), "£609,956"),
        (money(Cell(Decimal("0.50"))), "£1"),
        (money(Cell(Decimal("-598.56"))), "\N{MINUS SIGN}£599"),
        (money(Cell(Decimal("-0.20"))), "£0"),
        (price(Cell(Decimal("344.03"))), "£344.03"),
        (percent(Cell(Decimal("2.1360"))), "213.6%"),
        (percent(Cell(Decimal("0.7495"))), "75.0%"),
        (multiple(Cell(Decimal("0.7751"))), "0.78"),
    ],
)
def test_a_figure_is_written_in_english_form(written: str, expected: str) -> None:
    assert expected in written
    assert written.startswith('<data value="')


def test_the_exact_value_stands_in_the_markup() -> None:
    assert money(Cell(Decimal("609956.44"))) == '<data value="609956.44">£609,956</data>'


@pytest.mark.parametrize(("figure", "words"), [(HIDDEN, "hidden to protect people"), (MISSING, "not available"), (NOTHING, "not applicable")])
def test_each_kind_of_nothing_has_its_words(figure: Cell, words: str) -> None:
    for write in (count, money, price, percent, multiple):
        assert write(figure) == f'<span class="no-figure">{words}</span>'


@pytest.mark.parametrize(("status", "note"), [("p", "[provisional]"), ("r", "[revised]")])
def test_a_provisional_or_revised_figure_says_so(status: str, note: str) -> None:
    assert count(Cell(12, status)) == f'<data value="12">12</data> {note}'


def test_a_figure_that_its_status_forbids_is_never_shown() -> None:
    for row in (
        {"a": 3, "a_status": "c"},
        {"a": 3, "a_status": "x"},
        {"a": None, "a_status": "published"},
        {"a": None, "a_status": "p"},
        {"a": 3, "a_status": "?"},
        {"a": None, "a_status": "?"},
    ):
        with pytest.raises(IntegrityError, match="column a"):
            cell(row, "a")


def test_without_a_status_an_empty_cell_is_missing() -> None:
    assert cell({"planned": None}, "planned") == MISSING
    assert cell({"planned": 0}, "planned") == Cell(0)
    assert cell(None, "planned") == MISSING


def test_a_ratio_with_a_hidden_part_is_hidden_and_by_zero_not_applicable() -> None:
    assert ratio(Cell(1), Cell(3)).value == Decimal("0.3333")
    assert ratio(HIDDEN, Cell(3)).status == "c"
    assert ratio(Cell(3), MISSING).status == "x"
    assert ratio(Cell(3), Cell(0)).status == "z"
    assert ratio(Cell(0), Cell(3)).value == 0


def test_a_sum_has_the_published_figures_only_and_counts_the_others() -> None:
    found = total([Cell(2), Cell(Decimal("3.50")), HIDDEN, MISSING, MISSING, NOTHING])
    assert (found.cell.value, found.hidden, found.missing, found.is_whole) == (Decimal("5.50"), 1, 2, False)
    assert total([Cell(2), NOTHING]).is_whole


def test_a_sum_of_nothing_is_no_zero() -> None:
    assert total([HIDDEN, MISSING]).cell.status == "c"
    assert total([MISSING]).cell.status == "x"
    assert total([]).cell.value is None


def test_a_bar_is_a_share_of_the_longest_and_stays_inside() -> None:
    assert width(Decimal(11), Decimal(40)) == "27.5"
    assert width(Decimal(50), Decimal(40)) == "100"
    assert width(Decimal(-5), Decimal(40)) == "0"
    assert width(None, Decimal(40)) is None
    assert width(Decimal(3), None) is None
    assert width(Decimal(0), Decimal(0)) is None


def test_a_chart_of_shares_ends_at_the_plan_or_at_the_largest_share_up_to_twice_the_plan() -> None:
    assert scale([Cell(Decimal("0.5")), HIDDEN]) == 1
    assert scale([Cell(Decimal("1.25")), Cell(Decimal("0.5"))]) == Decimal("1.25")
    assert scale([Cell(Decimal("10.5"))]) == 2
    assert scale([HIDDEN, MISSING]) == 1


def test_days_and_quarters_are_written_in_words() -> None:
    assert long_date(date(2024, 4, 5)) == "5 April 2024"
    assert long_date(None) == "not available"
    assert [quarter_name(f"2024-Q{number}") for number in (1, 4)] == ["January to March 2024", "October to December 2024"]


def test_sizes_are_written_in_the_unit_that_fits() -> None:
    assert [file_size(size) for size in (815, 4_300, 2_500_000)] == ["815 bytes", "4.3 kB", "2.5 MB"]
