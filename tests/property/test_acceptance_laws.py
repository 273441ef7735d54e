"""Laws of acceptance, over made-up returns: rows are conserved, bytes repeat, order does not matter, references never come through."""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.adapters.definitions import find_definitions, load_definitions
from pipeline.adapters.pseudonyms import KeyedPseudonymiser
from pipeline.domain.submission import RevisionKey, SubmissionKey
from pipeline.ports import ReturnTable
from pipeline.stages import difference, frames
from pipeline.stages.acceptance import count_rows, to_facts, type_cells, write_facts
from pipeline.stages.contract import ContractContext, check, check_delivery
from pipeline.stages.validation import describe, make_report

DEFINITIONS = load_definitions(find_definitions())
KEY = SubmissionKey("P1", "2024-Q1")
ROOT = bytes(range(32))
Rows = list[dict[str, str | None]]
Return = dict[str, Rows]
FIXED = {
    "age_band": "18-24", "gender": "female", "ethnicity": "asian", "local_authority": "E08000003", "metric_id": "M1", "payer_id": "FUND",
    "evidence_type": "employer", "basis": "outcome", "period_start": "2024-01-01",
}  # fmt: skip

references = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9/._-]{0,39}", fullmatch=True)
days = st.dates(date(2023, 1, 1), date(2024, 3, 31)).map(str)
numbers = st.integers(1, 1_000_000).map(str)
amounts = st.decimals(-999_999_999, 999_999_999, places=2).map(lambda amount: f"{amount:f}")
participants = st.fixed_dictionaries({"participant_ref": references, "started_on": days, "left_on": st.none() | days})
outcomes = st.fixed_dictionaries(
    {
        "outcome_ref": references,
        "participant_ref": st.none() | references,
        "achieved_on": days,
        "quantity": numbers,
        "status": st.sampled_from(["claimed", "verified", "rejected"]),
    }
)
payments = st.fixed_dictionaries({"payment_ref": references, "period_end": days, "quantity": st.none() | numbers, "amount_gbp": amounts})
returns = st.fixed_dictionaries(
    {
        "participants": st.lists(participants, max_size=6, unique_by=lambda row: row["participant_ref"]),
        "outcomes": st.lists(outcomes, max_size=8, unique_by=lambda row: row["outcome_ref"]),
        "payments": st.lists(payments, max_size=6, unique_by=lambda row: row["payment_ref"]),
    }
)


def deliver(rows: Return, blank: int = 0) -> Mapping[str, ReturnTable]:
    tables = {}
    for name, items in rows.items():
        columns: dict[str, Any] = {"row": pa.array(range(2, len(items) + 2), pa.int64())}
        for column in DEFINITIONS.table("submission", name).columns:
            columns[column] = pa.array([item.get(column, FIXED.get(column)) for item in items], pa.string())
        tables[name] = ReturnTable(name=name, place=name, cells=pa.table(columns), blank_rows=blank)
    return tables


def typed(tables: Mapping[str, ReturnTable]) -> Mapping[str, pa.Table]:
    return {name: type_cells(DEFINITIONS.table("submission", name), table.cells) for name, table in tables.items()}


def pseudonyms(kind: str, values: pa.Array) -> pa.Array:
    return KeyedPseudonymiser(ROOT).pseudonyms("P1", kind, values)


def accept(rows: Return) -> Mapping[str, pa.Table]:
    return to_facts(KEY, DEFINITIONS, typed(deliver(rows)), pseudonyms)


def written(facts: Mapping[str, pa.Table]) -> dict[str, bytes]:
    return {name: write_facts(table, DEFINITIONS.table("facts", name)) for name, table in facts.items()}


@given(rows=returns, blank=st.integers(0, 3))
@settings(deadline=None)
def test_every_row_is_a_fact_or_blank_and_nothing_is_added(rows: Return, blank: int) -> None:
    counts = count_rows(deliver(rows, blank), accept(rows))
    assert counts.accepted == sum(len(items) for items in rows.values())
    assert counts.delivered == counts.accepted + counts.blank
    assert counts.blank == 3 * blank


@given(rows=returns)
@settings(deadline=None)
def test_accepting_twice_gives_the_same_bytes(rows: Return) -> None:
    assert written(accept(rows)) == written(accept(rows))


@given(rows=returns)
@settings(deadline=None)
def test_facts_read_back_are_the_facts_written(rows: Return) -> None:
    facts = accept(rows)
    for name, content in written(facts).items():
        assert pq.read_table(io.BytesIO(content), page_checksum_verification=True).equals(facts[name])


@given(rows=returns, random=st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_rows_changes_nothing_but_where_they_stood(rows: Return, random: Any) -> None:
    shuffled = {name: random.sample(items, len(items)) for name, items in rows.items()}
    before, after = accept(rows), accept(shuffled)
    assert written({name: place_free(table) for name, table in before.items()}) == written({name: place_free(table) for name, table in after.items()})
    changes = difference.count(difference.compare(before, after))
    assert (changes.added, changes.changed, changes.removed) == (0, 0, 0)


def place_free(table: pa.Table) -> pa.Table:
    zeros = pa.array([0] * table.num_rows, pa.int64())
    return table.set_column(table.schema.get_field_index("source_row"), table.schema.field("source_row"), zeros)


@given(old=returns, new=returns)
@settings(deadline=None)
def test_changes_between_revisions_add_up(old: Return, new: Return) -> None:
    before, after = accept(old), accept(new)
    changes = difference.count(difference.compare(before, after))
    rows_before, rows_after = (sum(table.num_rows for table in facts.values()) for facts in (before, after))
    assert rows_before - changes.removed == rows_after - changes.added
    assert 0 <= changes.changed <= rows_after - changes.added


@given(values=st.lists(references, min_size=1, unique=True))
@settings(deadline=None)
def test_pseudonyms_repeat_and_differ_between_references_projects_and_kinds(values: list[str]) -> None:
    column = pa.array(values)

    def named(project: str, kind: str) -> list[str]:
        found: list[str] = KeyedPseudonymiser(ROOT).pseudonyms(project, kind, column).to_pylist()
        return found

    kinds = [named(project, kind) for project in ("P1", "P2") for kind in ("participant", "outcome", "payment")]
    assert named("P1", "participant") == kinds[0]
    assert len({name for names in kinds for name in names}) == 6 * len(values)
    assert named("P1", "participant")[::-1] == KeyedPseudonymiser(ROOT).pseudonyms("P1", "participant", column[::-1]).to_pylist()


def canaries(rows: Return) -> Return:
    """Every reference marked, so that it can be searched for."""
    return {
        name: [{column: f"CANARY-{cell}"[:40] if cell and column.endswith("_ref") else cell for column, cell in item.items()} for item in items]
        for name, items in rows.items()
    }


@given(rows=returns)
@settings(deadline=None)
def test_no_reference_stands_in_a_fact_file(rows: Return) -> None:
    # Compression could hide a value from a search of the bytes, so what the file says is searched too.
    for content in written(to_facts(KEY, DEFINITIONS, typed(deliver(unique(canaries(rows)))), pseudonyms)).values():
        assert b"CANARY" not in content
        assert "CANARY" not in repr(pq.read_table(io.BytesIO(content)).to_pylist())


def unique(rows: Return) -> Return:
    """Drop rows whose references became one when they were cut to the longest length allowed."""
    keys = {"participants": "participant_ref", "outcomes": "outcome_ref", "payments": "payment_ref"}
    return {name: list({item[keys[name]]: item for item in items}.values()) for name, items in rows.items()}


@given(rows=returns)
@settings(deadline=None)
def test_no_cell_stands_in_a_report(rows: Return) -> None:
    marked: Return = {
        name: [item | {"metric_id": "CANARY-M", "payer_id": "CANARY-Y", "cohort": "CANARY"} for item in items]
        for name, items in canaries(rows).items()
    }
    marked["cover"] = [{"project_id": "CANARY-P", "quarter": "CANARY-Q", "is_nil_return": "CANARY-N", "comment": "CANARY"}]
    tables = deliver(marked)
    context = made_context()
    findings = check_delivery(context, DEFINITIONS, tables)
    findings += check(context, DEFINITIONS, typed({name: table for name, table in tables.items() if name != "cover"}), pseudonyms)
    report = make_report(key=RevisionKey(KEY, 1), content="0" * 64, definitions=DEFINITIONS, tables=tables, findings=findings)
    assert not report.passed
    assert b"CANARY" not in report.to_bytes()
    assert "CANARY" not in "\n".join(describe(report))
    assert "CANARY" not in repr(findings)


def made_context() -> ContractContext:
    """A contract that knows none of what the returns say, in which earlier quarters have said something of everything."""
    project = {"starts_on": "2023-06-01", "ends_on": "2024-01-31", "claims_until": None, "contract_cap_gbp": "1.00", "return_kind": "participants"}
    metric = {"metric_id": "M1", "is_once_per_person": True, "after_metric_id": "M1", "after_days": 1}
    rate = {"metric_id": "M1", "payer_id": "FUND", "price_gbp": "1.00", "cap_quantity": 1, "valid_from": "2023-01-01", "valid_to": None}
    earlier = {name: frames.arrow_schema(DEFINITIONS.table("facts", name)).empty_table() for name in ("outcomes", "payments", "service_starts")}
    return ContractContext(
        key=KEY,
        received_on=date(2024, 3, 31) + timedelta(days=10),
        fund={"fund": {}, "payers": [{"payer_id": "FUND"}]},
        project={"project": project, "metrics": [metric], "rate_card": [rate]},
        known_participants=pa.array([], pa.string()),
        earlier_outcomes=earlier["outcomes"],
        earlier_payments=earlier["payments"],
        earlier_starts=earlier["service_starts"],
    )
