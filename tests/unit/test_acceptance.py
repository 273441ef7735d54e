"""Rows become facts."""

import io
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.adapters.definitions import load_definitions
from pipeline.domain.events import RowChanges, RowCounts
from pipeline.domain.submission import SubmissionKey
from pipeline.errors import RuleError
from pipeline.ports import ReturnTable
from pipeline.stages import difference, frames
from pipeline.stages.acceptance import count_rows, no_rows, to_facts, type_cells, write_facts

DEFINITIONS = load_definitions(Path(__file__).parents[2])
KEY = SubmissionKey("P1", "2024-Q1")
PARTICIPANT = {"participant_ref": "A-1", "started_on": "2024-02-03", "age_band": "18-24", "gender": "female", "ethnicity": "asian"}
PARTICIPANT |= {"local_authority": "E08000003"}
OUTCOME = {"outcome_ref": "O-1", "participant_ref": "A-1", "metric_id": "M1", "achieved_on": "2024-02-10", "quantity": "1", "status": "claimed"}
OUTCOME |= {"evidence_type": "employer"}
PAYMENT = {"payment_ref": "Y-1", "payer_id": "FUND", "metric_id": "M1", "basis": "outcome", "period_start": "2024-01-01", "period_end": "2024-03-31"}
PAYMENT |= {"quantity": "2", "amount_gbp": "100.5"}


def cells(*rows: Mapping[str, str | None], first: int = 2) -> pa.Table:
    names = sorted({name for row in rows for name in row})
    columns: dict[str, Any] = {name: pa.array([row.get(name) for row in rows], pa.string()) for name in names}
    return pa.table({"row": pa.array(range(first, first + len(rows)), pa.int64()), **columns})


def typed(name: str, *rows: Mapping[str, str | None]) -> pa.Table:
    return type_cells(DEFINITIONS.table("submission", name), cells(*rows))


def named(kind: str, references: pa.Array) -> pa.Array:
    return pa.array([None if item is None else f"{kind}:{hash_of(item)}" for item in references.to_pylist()], pa.string())


def hash_of(reference: str) -> str:
    return reference[::-1]


def facts_of(**tables: pa.Table) -> Mapping[str, pa.Table]:
    return to_facts(KEY, DEFINITIONS, tables, named)


def outcome_facts(*rows: Mapping[str, str | None]) -> Mapping[str, pa.Table]:
    return facts_of(outcomes=typed("outcomes", *rows))


def test_text_cells_get_the_types_of_the_schema_after_the_row() -> None:
    table = typed("payments", PAYMENT | {"paid_on": None}, PAYMENT | {"payment_ref": "Y-2", "amount_gbp": "-7", "paid_on": "2024-04-02"})
    assert table.schema == pa.schema([pa.field("row", pa.int64(), nullable=False), *frames.arrow_schema(DEFINITIONS.table("submission", "payments"))])
    assert table["row"].to_pylist() == [2, 3]
    assert table["amount_gbp"].to_pylist() == [Decimal("100.50"), Decimal("-7.00")]
    assert table["quantity"].to_pylist() == [2, 2]
    assert table["paid_on"].to_pylist() == [None, date(2024, 4, 2)]
    assert table["reason"].null_count == 2


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("quantity", "0x10"),
        ("quantity", "1.0"),
        ("quantity", "99999999999999999999"),
        ("amount_gbp", "1e3"),
        ("amount_gbp", "NaN"),
        ("amount_gbp", "+5"),
        ("amount_gbp", "1.005"),
        ("amount_gbp", "99999999999999999999"),
        ("period_end", "2024-02-31"),
        ("period_end", "31/03/2024"),
    ],
)
def test_a_cell_that_does_not_parse_is_our_fault_and_is_not_repeated(column: str, cell: str) -> None:
    with pytest.raises(RuleError, match=f"payments has cells in {column}") as caught:
        typed("payments", PAYMENT | {column: cell})
    assert cell not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_empty_cell_that_must_be_filled_is_our_fault() -> None:
    with pytest.raises(RuleError, match="empty cells in payer_id"):
        typed("payments", PAYMENT | {"payer_id": None})


def test_a_required_column_that_is_missing_is_our_fault() -> None:
    with pytest.raises(RuleError, match="lacks its column payer_id"):
        typed("payments", {name: cell for name, cell in PAYMENT.items() if name != "payer_id"})


def test_a_table_that_was_not_delivered_has_its_columns_and_no_rows() -> None:
    schema = DEFINITIONS.table("submission", "outcomes")
    assert no_rows(schema).schema == type_cells(schema, cells(OUTCOME)).schema
    assert no_rows(schema).num_rows == 0


def test_outcomes_become_facts_in_pseudonyms_dated_by_their_quarter() -> None:
    facts = outcome_facts(OUTCOME, OUTCOME | {"outcome_ref": "O-2", "participant_ref": None, "achieved_on": "2023-12-31"})
    assert facts["outcomes"].select(["project_id", "return_quarter", "quarter", "is_late", "source_row", "outcome", "participant"]).to_pylist() == [
        {
            "project_id": "P1",
            "return_quarter": "2024-Q1",
            "quarter": "2023-Q4",
            "is_late": True,
            "source_row": 3,
            "outcome": "outcome:2-O",
            "participant": None,
        },
        {
            "project_id": "P1",
            "return_quarter": "2024-Q1",
            "quarter": "2024-Q1",
            "is_late": False,
            "source_row": 2,
            "outcome": "outcome:1-O",
            "participant": "participant:1-A",
        },
    ]


def test_participants_and_payments_become_facts_dated_by_start_and_end_of_period() -> None:
    facts = facts_of(participants=typed("participants", PARTICIPANT), payments=typed("payments", PAYMENT))
    assert facts["service_starts"].select(["participant", "quarter", "age_band"]).to_pylist() == [
        {"participant": "participant:1-A", "quarter": "2024-Q1", "age_band": "18-24"}
    ]
    assert facts["payments"].select(["payment", "quarter", "amount_gbp"]).to_pylist() == [
        {"payment": "payment:1-Y", "quarter": "2024-Q1", "amount_gbp": Decimal("100.50")}
    ]
    assert facts["outcomes"].num_rows == 0


def test_every_fact_table_has_its_declared_shape_even_when_empty() -> None:
    for name, table in facts_of().items():
        assert table.schema == frames.arrow_schema(DEFINITIONS.table("facts", name))


def test_facts_are_sorted_by_quarter_and_pseudonym() -> None:
    rows = [OUTCOME | {"outcome_ref": ref, "achieved_on": day} for ref, day in (("3", "2024-01-05"), ("1", "2024-03-05"), ("2", "2023-11-05"))]
    assert outcome_facts(*rows)["outcomes"]["outcome"].to_pylist() == ["outcome:2", "outcome:1", "outcome:3"]


def test_one_reference_twice_is_our_fault_and_is_not_repeated() -> None:
    with pytest.raises(RuleError, match="one reference twice") as caught:
        outcome_facts(OUTCOME, OUTCOME)
    assert "O-1" not in str(caught.value)


def test_a_fact_without_its_pseudonym_is_our_fault() -> None:
    with pytest.raises(RuleError, match="empty cells in outcome,"):
        to_facts(KEY, DEFINITIONS, {"outcomes": typed("outcomes", OUTCOME)}, lambda kind, references: pa.nulls(len(references), pa.string()))


def test_facts_are_read_back_from_parquet_as_they_were() -> None:
    schema = DEFINITIONS.table("facts", "outcomes")
    table = outcome_facts(OUTCOME, OUTCOME | {"outcome_ref": "O-2", "participant_ref": None})["outcomes"]
    content = write_facts(table, schema)
    assert content == write_facts(table.slice(0), schema)
    read = pq.read_table(io.BytesIO(content), page_checksum_verification=True)
    assert read.equals(table)
    assert pa.concat_tables([frames.arrow_schema(schema).empty_table(), read]).num_rows == 2


def test_fact_files_have_no_dictionaries_and_no_metadata_and_are_compressed() -> None:
    table = outcome_facts(OUTCOME)["outcomes"].replace_schema_metadata({"pandas": "{}", "note": "O-1"})
    file = pq.ParquetFile(io.BytesIO(write_facts(table, DEFINITIONS.table("facts", "outcomes"))))
    assert file.metadata.metadata is None
    columns = [file.metadata.row_group(0).column(number) for number in range(file.metadata.num_columns)]
    assert {column.compression for column in columns} == {"ZSTD"}
    assert not any(column.has_dictionary_page for column in columns)


def test_a_flipped_bit_in_a_fact_file_is_noticed() -> None:
    content = bytearray(write_facts(outcome_facts(OUTCOME)["outcomes"], DEFINITIONS.table("facts", "outcomes")))
    column = pq.ParquetFile(io.BytesIO(bytes(content))).metadata.row_group(0).column(0)
    content[column.data_page_offset + column.total_compressed_size - 3] ^= 1
    with pytest.raises(OSError, match="CRC"):
        pq.read_table(io.BytesIO(bytes(content)), page_checksum_verification=True)


def delivered(name: str, table: pa.Table, blank: int = 0) -> ReturnTable:
    return ReturnTable(name=name, place=name, cells=table, blank_rows=blank)


def test_every_delivered_row_is_a_fact_or_blank() -> None:
    facts = outcome_facts(OUTCOME, OUTCOME | {"outcome_ref": "O-2", "achieved_on": "2023-12-31"})
    tables = {"outcomes": delivered("outcomes", cells(OUTCOME, OUTCOME), 3), "payments": delivered("payments", cells(), 1)}
    tables["cover"] = delivered("cover", cells({"project_id": "P1"}))
    assert count_rows(tables, facts) == RowCounts(delivered=6, accepted=2, blank=4, late=1)


def test_nothing_delivered_adds_up_to_nothing() -> None:
    assert count_rows({}, facts_of()) == RowCounts(delivered=0, accepted=0, blank=0, late=0)


def test_a_row_that_got_lost_or_came_from_nowhere_stops_acceptance() -> None:
    with pytest.raises(RuleError, match="outcomes does not add up: 3 rows delivered, 1 accepted, 1 blank"):
        count_rows({"outcomes": delivered("outcomes", cells(OUTCOME, OUTCOME), 1)}, outcome_facts(OUTCOME))
    with pytest.raises(RuleError, match="outcomes does not add up: 0 rows delivered, 1 accepted, 0 blank"):
        count_rows({}, outcome_facts(OUTCOME))


def compare(before: Mapping[str, pa.Table], after: Mapping[str, pa.Table]) -> RowChanges:
    return difference.count(difference.compare(before, after))


def test_revisions_are_compared_row_by_row_by_their_references() -> None:
    other = {"outcome_ref": "O-2", "verified_on": None}
    before = outcome_facts(OUTCOME, OUTCOME | other, OUTCOME | {"outcome_ref": "O-3"})
    after = outcome_facts(OUTCOME | {"outcome_ref": "O-4"}, OUTCOME | other | {"verified_on": "2024-03-01"}, OUTCOME)
    assert compare(before, after) == RowChanges(added=1, changed=1, removed=1)
    assert compare(after, before) == RowChanges(added=1, changed=1, removed=1)


def test_a_row_that_only_moved_in_the_return_is_not_changed() -> None:
    rows = [OUTCOME, OUTCOME | {"outcome_ref": "O-2"}]
    assert compare(outcome_facts(*rows), outcome_facts(*reversed(rows))) == RowChanges(added=0, changed=0, removed=0)


def test_a_changed_amount_is_a_change() -> None:
    before, after = (facts_of(payments=typed("payments", PAYMENT | {"amount_gbp": amount})) for amount in ("100.50", "100.51"))
    assert compare(before, after) == RowChanges(added=0, changed=1, removed=0)


def test_against_nothing_every_row_is_added() -> None:
    assert compare(facts_of(), outcome_facts(OUTCOME)) == RowChanges(added=1, changed=0, removed=0)
