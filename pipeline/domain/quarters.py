"""Reporting quarters: the period that a submission speaks of. Calendar quarters, written `2024-Q1`."""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import date

from pipeline.errors import UsageError

_WRITTEN = re.compile(r"([0-9]{4})-Q([1-4])", re.ASCII)


@dataclass(frozen=True, order=True)
class Quarter:
    """One calendar quarter; ordered by time."""

    year: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Quarter:
        """Read a quarter as it is written in returns and paths.

        Raises: UsageError when the text is not of the form 2024-Q1.
        """
        found = _WRITTEN.fullmatch(text)
        if found is None or found[1] == "0000":  # there is no year 0 in the calendar
            raise UsageError("A quarter is written like 2024-Q1 (year, hyphen, Q and 1 to 4).")
        return cls(int(found[1]), int(found[2]))

    @classmethod
    def of(cls, day: date) -> Quarter:
        """Return the quarter in which a day lies."""
        return cls(day.year, (day.month + 2) // 3)

    @property
    def start(self) -> date:
        """The first day."""
        return date(self.year, 3 * self.number - 2, 1)

    @property
    def end(self) -> date:
        """The last day."""
        month = 3 * self.number
        return date(self.year, month, monthrange(self.year, month)[1])

    def next(self) -> Quarter:
        """Return the quarter after this one."""
        return Quarter(self.year + self.number // 4, self.number % 4 + 1)

    def until(self, last: Quarter) -> tuple[Quarter, ...]:
        """Return this quarter and all that follow up to and including `last`; empty when `last` is earlier."""
        quarters: list[Quarter] = []
        quarter = self
        while quarter <= last:
            quarters.append(quarter)
            quarter = quarter.next()
        return tuple(quarters)

    def __str__(self) -> str:
        return f"{self.year:04d}-Q{self.number}"
