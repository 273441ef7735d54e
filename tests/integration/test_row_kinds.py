"""One row of each kind stands for all: Great Expectations says the same of a big table as if it had been shown every row."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from pipeline.adapters import expectation_checks
from pipeline.adapters.definitions import find_definitions, load_definitions
from pipeline.adapters.expectation_checks import ExpectationChecker
from pipeline.adapters.row_kinds import find_kinds
from pipeline.domain.tables import Field
from pipeline.stages.frames import arrow_schema

DEFINITIONS = load_definitions(find_definitions())
SUITES = ("submission_outcomes", "submission_participants", "submission_payments")


def cells(column: Field, draw: random.Random, count: int) -> list[Any]:
    """Return cells of a column, from a few values on both sides of every limit, with empty ones among them."""
    pools: Mapping[str, Sequence[Any]] = {
        "string": list(DEFINITIONS.codelists.get(column.codelist or "", ())) or [f"{column.name}-{number}" for number in range(4)],
        "date": [date(2009, 12, 30) + timedelta(days=days) for days in range(5)],
        "integer": [0, 1, 2],
        "number": [Decimal("-1.00"), Decimal("0.00"), Decimal("0.01")],
    }
    return draw.choices([None, *pools[column.type]], k=count)


def drawn(suite: str, seed: int, count: int = 4000) -> pa.Table:
    schema = DEFINITIONS.table("submission", suite.partition("_")[2])
    draw = random.Random(seed)
    types = arrow_schema(schema)
    return pa.table({column.name: pa.array(cells(column, draw, count), types.field(column.name).type) for column in schema.fields})


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("seed", range(3))
def test_a_few_rows_find_all_that_every_row_would(suite: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expectation_checks, "MOST_PLACES", 100_000)
    table = drawn(suite, seed)
    rows = [3 * at + 2 for at in range(table.num_rows)]
    kinds = find_kinds(table, DEFINITIONS.suites[suite]["expectations"])
    assert kinds is not None
    assert len(kinds.shown) < table.num_rows / 2

    in_full = ExpectationChecker(DEFINITIONS, small_rows=table.num_rows).check(suite, table, rows)
    by_kind = ExpectationChecker(DEFINITIONS, small_rows=0).check(suite, table, rows)

    assert by_kind == in_full
    assert len({finding.rule for finding in by_kind}) >= min(2, len(DEFINITIONS.suites[suite]["expectations"]))


def expecting(kind: str, **given: Any) -> Sequence[Mapping[str, Any]]:
    return [{"type": kind, "kwargs": given}]


NULLITY = {"type": "nullity", "column": {"name": "note"}, "is_null": True}


@pytest.mark.parametrize(
    "expectations",
    [
        expecting("expect_column_values_to_be_unique", column="code"),
        expecting("expect_column_values_to_be_in_set", column="code", value_set=["a"], mostly=0.9),
        expecting("expect_column_values_to_be_in_set", column="none_of_ours", value_set=["a"]),
        expecting("expect_column_values_to_be_in_set", column="code", value_set=["a"], row_condition="note == 1"),
        expecting("expect_column_values_to_be_in_set", column="code", value_set=["a"], row_condition={"type": "and", "conditions": [NULLITY, {}]}),
        expecting("expect_column_values_to_be_in_set", column="different", value_set=["a"]),
    ],
)
def test_every_row_is_shown_when_an_expectation_speaks_of_more_than_single_rows_or_most_rows_are_of_a_kind_of_their_own(
    expectations: Sequence[Mapping[str, Any]],
) -> None:
    table = pa.table({"code": ["a"] * 10, "note": [None] * 10, "different": list("abcdefghij")})

    assert find_kinds(table, expectations) is None


def test_a_column_of_which_only_the_filling_counts_makes_two_kinds_however_many_values_it_has() -> None:
    table = pa.table({"code": ["a", "b"] * 5, "different": [None, *"bcdefghij"]})
    condition = {"type": "nullity", "column": {"name": "different"}, "is_null": True}

    kinds = find_kinds(table, expecting("expect_column_values_to_be_in_set", column="code", value_set=["a"], row_condition=condition))

    assert kinds is not None
    assert kinds.shown.tolist() == [0, 1, 2]
    assert kinds.spread(0, [1]) == [1, 3, 5, 7, 9]
    assert kinds.spread(0, []) == []


def test_an_empty_table_has_no_kinds_and_needs_no_rows() -> None:
    table = pa.table({"code": pa.array([], pa.string())})

    kinds = find_kinds(table, expecting("expect_column_values_to_be_in_set", column="code", value_set=["a"]))

    assert kinds is not None
    assert kinds.shown.tolist() == []
