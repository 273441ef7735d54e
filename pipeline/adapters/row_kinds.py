"""Which rows of a big table stand for all of them, when expectations judge each row by itself.

An expectation such as "not before 2010" says the same of every row that has the same cells in the columns that it names. So one row of each kind is
shown to Great Expectations, which takes microseconds and copies for every row, and what it says holds for all rows of that kind: no check is looser.
Rows of one kind have the same cells where an expectation looks at values, and are empty or filled alike where it only looks at that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Numbers = npt.NDArray[np.int64]

BY_FILLING = frozenset({"expect_column_values_to_be_null", "expect_column_values_to_not_be_null"})
BY_VALUE = frozenset(
    {
        "expect_column_values_to_be_between",
        "expect_column_values_to_be_in_set",
        "expect_column_values_to_not_be_in_set",
        "expect_column_values_to_match_regex",
        "expect_column_pair_values_a_to_be_greater_than_b",
    }
)
"""The expectations that judge each row by the cells of the columns that they name, and by nothing else."""

COLUMNS = ("column", "column_A", "column_B")
LIMITS = frozenset({"min_value", "max_value", "strict_min", "strict_max", "value_set", "regex", "or_equal", "ignore_row_if", "row_condition"})
"""What such an expectation may be given. With `mostly`, for instance, it speaks of the table as a whole."""


class _UnknownConditionError(Exception):
    """A row condition has a form whose columns are not known here."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What an expectation looks at in a column: its values, or only whether there are any."""

    column: str
    is_by_value: bool


@dataclass(frozen=True, kw_only=True)
class RowKinds:
    """The rows that stand for all: their positions in the table, in order; and what each expectation looks at."""

    shown: Numbers
    looks: Sequence[Sequence[Look]]
    table: pa.Table

    def spread(self, number: int, places: Sequence[int]) -> Sequence[int]:
        """Return all rows of the table that are of one kind, for an expectation, with the shown rows at the given places; in order."""
        if not places:
            return places
        kinds = _kinds(self.table, self.looks[number])
        spread: Sequence[int] = np.flatnonzero(np.isin(kinds, kinds[self.shown[list(places)]])).tolist()
        return spread


def find_kinds(table: pa.Table, expectations: Sequence[Mapping[str, Any]]) -> RowKinds | None:
    """Return the rows that stand for all under every expectation; None when one does not judge rows by themselves, or too many would stand."""
    looks = [_looks(expectation) for expectation in expectations]
    if any(not columns or not {look.column for look in columns} <= set(table.column_names) for columns in looks):
        return None
    shown = np.zeros(table.num_rows, bool)
    for columns in {tuple(columns) for columns in looks}:
        shown[_firsts(_kinds(table, columns))] = True
    if 2 * np.count_nonzero(shown) > table.num_rows:
        return None
    return RowKinds(shown=np.flatnonzero(shown), looks=looks, table=table)


def _looks(expectation: Mapping[str, Any]) -> Sequence[Look]:
    """Return what an expectation looks at; nothing when it does not judge rows by themselves."""
    kind, given = expectation["type"], expectation.get("kwargs", {})
    if kind not in BY_VALUE | BY_FILLING or not set(given) <= {*COLUMNS, *LIMITS}:
        return ()
    try:
        looked = {Look(column=given[name], is_by_value=kind in BY_VALUE) for name in COLUMNS if name in given}
        looked |= set(_looks_of_condition(given.get("row_condition")))
    except _UnknownConditionError:
        return ()
    by_value = {look.column for look in looked if look.is_by_value}
    return sorted((look for look in looked if look.is_by_value or look.column not in by_value), key=lambda look: look.column)


def _looks_of_condition(condition: Any) -> Iterator[Look]:
    if condition is None:
        return
    match condition:
        case {"type": "and" | "or", "conditions": list(conditions)}:
            for part in conditions:
                yield from _looks_of_condition(part)
        case {"type": "comparison", "column": {"name": str(name)}}:
            yield Look(column=name, is_by_value=True)
        case {"type": "nullity", "column": {"name": str(name)}}:
            yield Look(column=name, is_by_value=False)
        case _:
            raise _UnknownConditionError


def _kinds(table: pa.Table, looks: Sequence[Look]) -> Numbers:
    """Return the kind of each row: a number from 0 on, in the order in which the kinds come up."""
    kinds = np.zeros(table.num_rows, np.int64)
    for look in looks:
        column = table[look.column] if look.is_by_value else table[look.column].is_valid()
        codes = _numbered(column.combine_chunks())
        kinds = _numbered(pa.array(kinds * (codes.max(initial=0) + 1) + codes))
    return kinds


def _numbered(cells: pa.Array) -> Numbers:
    """Return the same number for the same cell, empty ones among them, counted from 0 in the order in which they come up."""
    numbers: Numbers = pc.dictionary_encode(cells, null_encoding="encode").indices.to_numpy().astype(np.int64)
    return numbers


def _firsts(kinds: Numbers) -> Numbers:
    """Return where each kind comes up first."""
    firsts = np.zeros(int(kinds.max(initial=-1)) + 1, np.int64)
    firsts[kinds[::-1]] = np.arange(len(kinds) - 1, -1, -1)
    return firsts
