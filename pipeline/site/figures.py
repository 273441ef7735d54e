"""Figures as people read them: a number, or the words that say why there is none. Suppressed, zero and missing are never written as one another."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal

from markupsafe import Markup

from pipeline.errors import IntegrityError
from pipeline.site.archive import Row

WITH_FIGURE = {"published": "", "p": "provisional", "r": "revised"}
WITHOUT_FIGURE = {"c": "hidden to protect people", "z": "not applicable", "x": "not available"}
"""How the statuses of a cell read. Source: schemas/codelists/cell_status.csv."""

MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December")
"""The English names: the locale of the machine that builds must not change the bytes."""

_PENCE = Decimal("0.01")
_KILOBYTE = 1000


@dataclass(frozen=True)
class Cell:
    """One figure with its status; `is_derived` says that it was worked out here, from published figures only, and stands in no file."""

    value: int | Decimal | None
    status: str = "published"
    is_derived: bool = False

    @property
    def number(self) -> Decimal | None:
        """The value for drawing, or None."""
        return None if self.value is None else Decimal(self.value)


MISSING = Cell(None, "x")
HIDDEN = "c"


def cell(row: Row | None, column: str) -> Cell:
    """Return the figure of a column with the status beside it; without a status column an empty cell is a missing one.

    Raises: IntegrityError when figure and status contradict each other: such a figure must not be shown.
    """
    if row is None:
        return MISSING
    value = row[column]
    status = row.get(f"{column}_status") or ("x" if value is None else "published")
    if (value is None) == (status in WITH_FIGURE) or status not in WITH_FIGURE | WITHOUT_FIGURE:
        raise IntegrityError(f"The status of a cell in column {column} does not fit the cell.")
    return Cell(value, status)


def ratio(top: Cell, bottom: Cell) -> Cell:
    """Return top divided by bottom, worked out here; hidden when either is hidden, not applicable when there is nothing to divide by."""
    for part in (top, bottom):
        if part.value is None:
            return Cell(None, part.status, is_derived=True)
    if not bottom.value:
        return Cell(None, "z", is_derived=True)
    return Cell((Decimal(top.value or 0) / Decimal(bottom.value)).quantize(Decimal("0.0001"), ROUND_HALF_UP), is_derived=True)


@dataclass(frozen=True)
class Sum:
    """The sum of the published figures among some, and how many of them are hidden or missing and so are not in it."""

    cell: Cell
    hidden: int
    missing: int

    @property
    def is_whole(self) -> bool:
        """Whether every figure is in it."""
        return not (self.hidden or self.missing)


def total(cells: Iterable[Cell]) -> Sum:
    """Return the sum of those figures that are published; a sum of none is missing, never zero."""
    figures = list(cells)
    shown = [item.value for item in figures if item.value is not None]
    hidden = sum(item.status == HIDDEN for item in figures)
    missing = sum(item.status == "x" for item in figures)
    if shown:
        return Sum(Cell(sum(map(Decimal, shown), Decimal(0)), is_derived=True), hidden, missing)
    return Sum(Cell(None, HIDDEN if hidden else "x", is_derived=True), hidden, missing)


def width(value: Decimal | None, largest: Decimal | None) -> str | None:
    """Return how long a bar is, in hundredths of the longest; None when there is nothing to draw."""
    if value is None or not largest or largest < 0:
        return None
    share = max(Decimal(0), min(Decimal(1), value / largest)) * 100
    return f"{share.quantize(_PENCE, ROUND_HALF_UP).normalize():f}"


def scale(shares: Iterable[Cell]) -> Decimal:
    """Return the share of plan at which a chart ends: at the plan, or beyond it as far as the largest share reaches, but never beyond twice the plan.

    One share far over its plan must not press all the others flat; its bar ends at the edge, and its figure stands beside it.
    """
    figures = [share.number for share in shares if share.number is not None]
    return max(Decimal(1), min(Decimal(2), max(figures, default=Decimal(1))))


def count(figure: Cell) -> Markup:
    """Write a whole number."""
    return _write(figure, lambda value: _grouped(value, 0))


def money(figure: Cell) -> Markup:
    """Write pounds, rounded to the whole pound; the exact sum stands in the markup and in the files."""
    return _write(figure, lambda value: _pounds(value, 0))


def price(figure: Cell) -> Markup:
    """Write pounds and pence."""
    return _write(figure, lambda value: _pounds(value, 2))


def percent(figure: Cell) -> Markup:
    """Write a share as a percentage with one decimal."""
    return _write(figure, lambda value: f"{_grouped(value * 100, 1)}%")


def multiple(figure: Cell) -> Markup:
    """Write a ratio with two decimals."""
    return _write(figure, lambda value: _grouped(value, 2))


def long_date(day: date | None) -> str:
    """Write a day as 5 April 2024; a day that is not known as not available."""
    return WITHOUT_FIGURE["x"] if day is None else f"{day.day} {MONTHS[day.month - 1]} {day.year}"


def quarter_name(quarter: str) -> str:
    """Write 2024-Q1 as January to March 2024."""
    year, number = quarter.split("-Q")
    first = 3 * int(number) - 3
    return f"{MONTHS[first]} to {MONTHS[first + 2]} {year}"


def file_size(size_bytes: int) -> str:
    """Write a size in the decimal units that people see in their file manager."""
    if size_bytes < _KILOBYTE:
        return f"{size_bytes} bytes"
    size, unit = (size_bytes / 1e3, "kB") if size_bytes < 1e6 else (size_bytes / 1e6, "MB")
    return f"{size:,.1f} {unit}"


def _write(figure: Cell, words: Callable[[Decimal], str]) -> Markup:
    """Return a figure as HTML. What is put in are digits and words of ours, never text of the data: no escaping, which took half of a build."""
    if figure.value is None:
        return Markup(f'<span class="no-figure">{WITHOUT_FIGURE[figure.status]}</span>')  # noqa: S704
    note = WITH_FIGURE[figure.status]
    kind = ' class="derived"' if figure.is_derived else ""
    suffix = f" [{note}]" if note else ""
    value = Decimal(figure.value)
    return Markup(f'<data value="{value:f}"{kind}>{words(value)}</data>{suffix}')  # noqa: S704


def _grouped(value: Decimal, decimals: int) -> str:
    rounded = value.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
    return _signed(rounded, f"{abs(rounded):,.{decimals}f}")


def _pounds(value: Decimal, decimals: int) -> str:
    rounded = value.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
    return _signed(rounded, f"£{abs(rounded):,.{decimals}f}")


def _signed(value: Decimal, words: str) -> str:
    """Put the true minus sign before a negative number: a hyphen is read out as a dash or not at all."""
    return f"\N{MINUS SIGN}{words}" if value < 0 else words
