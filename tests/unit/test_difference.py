"""The difference between two revisions, row by row: by place and column, never by what a cell says."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pyarrow as pa

from pipeline.domain.events import RowChanges
from pipeline.stages import acceptance, difference
from tests.factories import DEFINITIONS, KEY, SECRET, Row, return_tables


def pseudonyms(kind: str, references: pa.Array) -> pa.Array:
    return pa.array([None if item is None else f"{kind}:{item}" for item in references.to_pylist()], pa.string())


def facts(tables: Mapping[str, list[Row]]) -> Mapping[str, pa.Table]:
    typed = {}
    for name in ("participants", "outcomes", "payments"):
        schema = DEFINITIONS.table("submission", name)
        columns: dict[str, Any] = {column: pa.array([row.get(column) for row in tables[name]], pa.string()) for column in schema.columns}
        typed[name] = acceptance.type_cells(schema, pa.table({"row": pa.array(range(2, len(tables[name]) + 2), pa.int64()), **columns}))
    return acceptance.to_facts(KEY, DEFINITIONS, typed, pseudonyms)


def changed() -> tuple[Mapping[str, pa.Table], Mapping[str, pa.Table]]:
    """Return the facts of a return, and of one with a row more, a row less and two rows changed."""
    before, after = return_tables(people=3, outcomes=2), return_tables(people=4, outcomes=2)
    after["outcomes"] = after["outcomes"][1:]
    after["participants"][1] |= {"gender": "male", "left_on": "2024-03-01"}
    after["payments"][0] |= {"amount_gbp": "150.00"}
    return facts(before), facts(after)


def test_rows_are_named_by_table_change_place_and_column() -> None:
    rows = difference.compare(*changed()).to_pylist()
    assert [(row["table"], row["change"], row["row"], row["replaced_row"], row["columns"]) for row in rows] == [
        ("participants", "changed", 3, 3, "left_on gender"),
        ("participants", "added", 5, None, ""),
        ("outcomes", "removed", None, 2, ""),
        ("payments", "changed", 2, 2, "amount_gbp"),
    ]
    assert difference.count(difference.compare(*changed())) == RowChanges(added=1, changed=2, removed=1)


def test_an_outcome_of_somebody_else_is_changed_in_its_reference() -> None:
    before, after = return_tables(people=3, outcomes=1), return_tables(people=3, outcomes=1)
    after["outcomes"][0] |= {"participant_ref": f"{SECRET}-2"}
    assert difference.compare(facts(before), facts(after))["columns"].to_pylist() == ["participant_ref"]


def test_a_row_of_another_day_is_changed_in_that_day_only() -> None:
    before, after = return_tables(people=1, outcomes=0), return_tables(people=1, outcomes=0)
    after["participants"][0] |= {"started_on": "2023-12-30"}
    assert difference.compare(facts(before), facts(after))["columns"].to_pylist() == ["started_on"]


def test_a_row_that_only_moved_is_no_difference() -> None:
    before, after = return_tables(), return_tables()
    after["participants"].reverse()
    assert difference.compare(facts(before), facts(after)).num_rows == 0


def test_pounds_are_compared_by_payer_and_a_payer_of_one_side_only_counts_from_nothing() -> None:
    before, after = return_tables(outcomes=8), return_tables(outcomes=8)
    after["payments"].append(after["payments"][0] | {"payment_ref": "other", "payer_id": "COUNCIL", "amount_gbp": "-20.50"})
    found = difference.compare_payments(facts(before), facts(after))
    assert [(item.payer_id, item.difference_gbp) for item in found] == [("COUNCIL", Decimal("-20.50")), ("PAYER", Decimal(0))]
    assert [(item.before_gbp, item.after_gbp) for item in found][1] == (Decimal("800.00"), Decimal("800.00"))


def test_a_difference_reads_back_and_holds_nothing_that_a_cell_says() -> None:
    rows = difference.compare(*changed())
    content = difference.write(rows)
    assert difference.read(content).equals(rows.combine_chunks())
    assert difference.write(rows) == content
    assert not [word for word in (SECRET, "participant:", "PAYER", "E08000003") if word.encode() in content]
