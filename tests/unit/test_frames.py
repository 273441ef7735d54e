"""Frames: tables in the shape that a schema declares, and what happens to one that does not fit."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from pipeline.domain.tables import Field, TableSchema
from pipeline.errors import RuleError
from pipeline.stages import frames

REQUIRED = {"required": True}


def column(name: str, kind: Any, **others: Any) -> Field:
    return Field(name=name, type=kind, title=name, description=name, **others)


TABLE = TableSchema(
    name="results",
    title="Results",
    description="What was achieved.",
    grain="one row per project and day",
    version=1,
    primary_key=["project_id", "day"],
    fields=[
        column("project_id", "string", constraints=REQUIRED),
        column("day", "date", constraints=REQUIRED),
        column("people", "integer"),
        column("paid_gbp", "number"),
        column("share", "number", decimals=4),
        column("is_late", "boolean"),
    ],
)
DAY = date(2024, 1, 31)


def rows(*given: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([dict.fromkeys(TABLE.columns) | {"project_id": "P1", "day": DAY} | row for row in given])


def test_each_declared_type_has_one_arrow_type() -> None:
    assert [str(item.type) for item in frames.arrow_schema(TABLE)] == [
        "string",
        "date32[day]",
        "int64",
        "decimal128(18, 2)",
        "decimal128(18, 4)",
        "bool",
    ]


def test_required_columns_must_be_filled_and_the_others_need_not() -> None:
    assert [item.nullable for item in frames.arrow_schema(TABLE)] == [False, False, True, True, True, True]


def test_rows_become_a_table_in_which_what_they_lack_is_null() -> None:
    table = frames.from_rows(TABLE, [{"project_id": "P1", "day": DAY, "paid_gbp": Decimal("1.5")}])
    assert table.schema == frames.arrow_schema(TABLE)
    assert table.to_pylist() == [{"project_id": "P1", "day": DAY, "people": None, "paid_gbp": Decimal("1.50"), "share": None, "is_late": None}]


def test_no_rows_become_an_empty_table() -> None:
    assert frames.from_rows(TABLE, []).equals(frames.arrow_schema(TABLE).empty_table())


def test_a_frame_is_brought_to_the_declared_columns_types_and_order() -> None:
    given = rows({"project_id": "P2"}, {"people": 3}, {"day": date(2023, 1, 1), "paid_gbp": Decimal("2")})
    shuffled = given.select(list(reversed(given.column_names))).append_column("extra", pa.array([1, 2, 3]))
    made = frames.conform(TABLE, shuffled)
    assert made.schema == frames.arrow_schema(TABLE)
    assert [(row["project_id"], row["day"]) for row in made.to_pylist()] == [("P1", date(2023, 1, 1)), ("P1", DAY), ("P2", DAY)]


def test_a_frame_of_several_pieces_becomes_one() -> None:
    made = frames.conform(TABLE, pa.concat_tables([rows({"project_id": name}) for name in ("B", "A")]))
    assert (made["project_id"].num_chunks, made["project_id"].to_pylist()) == (1, ["A", "B"])


def test_a_dictionary_encoded_column_becomes_plain_text() -> None:
    given = rows({}).set_column(0, "project_id", pa.array(["P1"]).dictionary_encode())
    assert frames.conform(TABLE, given).schema.field("project_id").type == pa.string()


def test_a_missing_column_is_named() -> None:
    with pytest.raises(RuleError, match="results was made without its columns people, share"):
        frames.conform(TABLE, rows({}).drop_columns(["people", "share"]))


def test_an_empty_cell_that_must_be_filled_is_named_by_its_column() -> None:
    with pytest.raises(RuleError, match="results has empty cells in day"):
        frames.conform(TABLE, rows({}, {"day": None}))


@pytest.mark.parametrize(("name", "cell"), [("people", "Zebedee"), ("paid_gbp", "1.005"), ("day", "31/01/2024"), ("is_late", "perhaps")])
def test_a_cell_of_another_type_is_named_by_its_column_and_not_repeated(name: str, cell: str) -> None:
    given = rows({})
    with pytest.raises(RuleError, match=f"results has cells in {name} that cannot be") as caught:
        frames.conform(TABLE, given.set_column(TABLE.columns.index(name), name, pa.array([cell])))
    assert cell not in str(caught.value)
    assert caught.value.__suppress_context__


def test_two_rows_with_one_key_are_refused() -> None:
    with pytest.raises(RuleError, match=r"two rows with one key \(project_id, day\)"):
        frames.conform(TABLE, rows({"people": 1}, {"people": 2}))


def test_a_value_is_found_where_it_stands_and_not_where_there_is_none() -> None:
    found = frames.equal_to(rows({"people": 3}, {"people": None}, {"people": 4})["people"], 3)
    assert found.to_pylist() == [True, False, False]
