"""How one cell of an INDIGO export is understood: ids, words, dates of three precisions, money, counts.

Every function says whether it changed what it read, so that the caller can put the change on record. None of them guesses.
"""

from __future__ import annotations

import calendar
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Literal

PENNY = Decimal("0.01")
MOST = Decimal(999_999_999)
"""Most pounds that one row of a return may hold (schemas/submission/payments.json); more is a slip of the pen in any contract."""
NOISE = Decimal("1e-9")
"""Within this distance of whole pence, more decimals are the noise of binary fractions and not an amount."""

MoneyFault = Literal["empty", "formula", "not_a_number"]
Precision = Literal["pence", "noise", "finer"]

_INDIGO_ID = re.compile(r"INDIGO-[A-Z]+-[0-9]+", re.ASCII)
_OWN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_NOT_IN_ID = re.compile(r"[^A-Za-z0-9._-]+", re.ASCII)
_DAY = re.compile(r"((?:199|20[0-9])[0-9])(?:-([0-9]{2})(?:-([0-9]{2}))?)?", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,30})?", re.ASCII)
_COUNT = re.compile(r"([0-9]{1,9})(?:\.0+)?", re.ASCII)
_PLAN = re.compile(r"plan([1-9][0-9]?)", re.ASCII)


@dataclass(frozen=True)
class Words:
    """Text as it is used, and whether that differs from what the cell held."""

    text: str
    is_changed: bool


@dataclass(frozen=True)
class Day:
    """A day, and whether the cell named only its year or month."""

    day: date
    is_partial: bool


@dataclass(frozen=True)
class Money:
    """An amount in pounds exactly as the cell states it, or the reason why it states none."""

    amount: Decimal | None
    fault: MoneyFault | None = None

    @property
    def is_sensible(self) -> bool:
        """Whether there is an amount that is not negative and not above MOST."""
        return self.amount is not None and 0 <= self.amount <= MOST

    @property
    def precision(self) -> Precision:
        """Say whether the amount is in whole pence, in pence but for noise, or finer."""
        amount = self.amount or Decimal(0)
        distance = abs(amount - amount.quantize(PENNY, ROUND_HALF_EVEN))
        if distance == 0:
            return "pence"
        return "noise" if distance <= NOISE else "finer"

    @property
    def pence(self) -> Decimal:
        """The amount in whole pence, half to even; zero when there is none."""
        return (self.amount or Decimal(0)).quantize(PENNY, ROUND_HALF_EVEN)


def read_words(cell: str) -> Words:
    """Read text: spaces, tabs and line breaks become single spaces, none at the ends; characters that cannot be seen are left out."""
    spaced = " ".join(cell.split())
    text = "".join(character for character in spaced if unicodedata.category(character) not in {"Cc", "Cf", "Cs"})
    return Words(text, text != cell)


def read_id(cell: str) -> Words:
    """Read an INDIGO identifier, in capitals and without spaces around it."""
    text = cell.strip()
    capitals = text.upper()
    if _INDIGO_ID.fullmatch(capitals):
        text = capitals
    return Words(text, text != cell)


def read_ids(cell: str) -> tuple[str, ...]:
    """Read the identifiers of a cell that may name several, separated by commas or semicolons; sorted, each once."""
    parts = (read_id(part).text for part in cell.replace(";", ",").split(","))
    return tuple(sorted({part for part in parts if part}))


def read_own_id(cell: str) -> Words:
    """Read an id that is unique inside a project (`outcomemetric1`), in small letters and without spaces around it."""
    text = cell.strip().lower()
    return Words(text, text != cell)


def is_well_formed(identifier: str) -> bool:
    """Say whether the register can hold an id: letters, digits, dot, underscore and hyphen, at most 64."""
    return _OWN_ID.fullmatch(identifier) is not None


def make_id(cell: str) -> Words:
    """Read an id of which only the letters, digits, dots, underscores and hyphens can be kept; others become one hyphen."""
    text = _NOT_IN_ID.sub("-", cell.strip()).strip("-._")[:64]
    return Words(text, text != cell)


def read_plan(cell: str) -> tuple[int | None, bool]:
    """Read the number of a plan (`plan2`), and whether the cell wrote it in another way; None when it is no plan."""
    text = cell.strip().lower()
    found = _PLAN.fullmatch(text)
    return (int(found[1]), text != cell) if found else (None, False)


def read_day(cell: str, *, is_end: bool = False) -> Day | None:
    """Read YYYY, YYYY-MM or YYYY-MM-DD as the first day, or at the end of a period the last; None when it is no date from 1990 on."""
    found = _DAY.fullmatch(cell.strip())
    if found is None:
        return None
    year, month, day = int(found[1]), found[2], found[3]
    number = int(month) if month else (12 if is_end else 1)
    if not 1 <= number <= 12:
        return None
    last = calendar.monthrange(year, number)[1]
    wanted = int(day) if day else (last if is_end else 1)
    if not 1 <= wanted <= last:
        return None
    return Day(date(year, number, wanted), is_partial=day is None)


def read_money(cell: str) -> Money:
    """Read an amount: digits with a point and at most a leading minus; no symbols, no separators, no formulas."""
    text = cell.strip()
    if not text:
        return Money(None, "empty")
    if text.startswith("="):
        return Money(None, "formula")
    if not _NUMBER.fullmatch(text):
        return Money(None, "not_a_number")
    return Money(Decimal(text))


def read_count(cell: str) -> int | None:
    """Read a whole number that is not negative; None when the cell holds anything else."""
    found = _COUNT.fullmatch(cell.strip())
    return int(found[1]) if found else None


def code_of(codelist: Mapping[str, str], cell: str) -> str | None:
    """Return the code whose label a cell names, whatever its case and in singular or plural; None when there is none."""
    wanted = read_words(cell).text.casefold()
    for code, label in codelist.items():
        name = label.casefold()
        if wanted in {name, f"{name}s", f"{name.removesuffix('y')}ies"}:
            return code
    return None


def months_of(start: date, end: date) -> int:
    """Return how many calendar months a period touches; zero or less when it ends before it starts."""
    return (end.year - start.year) * 12 + end.month - start.month + 1
