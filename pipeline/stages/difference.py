"""How one revision's facts differ from another's, row by row: added, changed, removed; which columns; how many pounds.

A difference names rows as they stand in the two files and the columns that changed. It holds no reference, pseudonym or cell, so it can be kept
and shown; what the cells say stays in the two fact files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.domain.events import RowChanges
from pipeline.stages.acceptance import SOURCES, FactSource

ROWS = pa.schema(
    [
        pa.field("table", pa.string(), nullable=False),
        pa.field("change", pa.string(), nullable=False),
        pa.field("row", pa.int64()),
        pa.field("replaced_row", pa.int64()),
        pa.field("columns", pa.string(), nullable=False),
    ]
)
CHANGES: tuple[str, ...] = ("added", "changed", "removed")
_DERIVED = frozenset({"project_id", "return_quarter", "quarter", "is_late", "source_row"})
"""Columns of facts that say where and when a row belongs. They follow from the others, or do not matter: a row that only moved is the same."""

Facts = Mapping[str, pa.Table]


@dataclass(frozen=True, kw_only=True)
class PayerDifference:
    """What a payer paid by the facts before and by those after, in pounds."""

    payer_id: str
    before_gbp: Decimal
    after_gbp: Decimal

    @property
    def difference_gbp(self) -> Decimal:
        """How much more was paid, below zero when less."""
        return self.after_gbp - self.before_gbp


def compare(before: Facts, after: Facts) -> pa.Table:
    """Return how facts differ from those before, by natural key.

    Shape: one row per fact added, changed or removed; `row` in the new file, `replaced_row` in the old one, null where there is none; `columns` of
    the return table, separated by spaces; by table, those of the new file first, in the order of its rows.
    """
    return pa.concat_tables([_compare(before[name], after[name], source) for name, source in SOURCES.items()])


def count(rows: pa.Table) -> RowChanges:
    """Return how many rows of a difference are of each change."""
    added, changed, removed = (pc.sum(pc.equal(rows["change"], change), min_count=0).as_py() for change in CHANGES)
    return RowChanges(added=added, changed=changed, removed=removed)


def compare_payments(before: Facts, after: Facts) -> list[PayerDifference]:
    """Return what each payer paid before and after, in the order of payers; those for whom nothing is different too."""
    sums = [_paid(facts["payments"]) for facts in (before, after)]
    payers = sorted(sums[0].keys() | sums[1].keys())
    return [PayerDifference(payer_id=payer, before_gbp=sums[0].get(payer, Decimal(0)), after_gbp=sums[1].get(payer, Decimal(0))) for payer in payers]


def write(rows: pa.Table) -> bytes:
    """Return a difference as Parquet; the same difference gives the same bytes (with one version of pyarrow)."""
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, version="2.6", compression="zstd", use_dictionary=False, store_schema=False, write_page_checksum=True)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def read(content: bytes) -> pa.Table:
    """Return a difference from its sealed bytes."""
    return pq.read_table(pa.BufferReader(content), page_checksum_verification=True).cast(ROWS)


def _compare(old: pa.Table, new: pa.Table, source: FactSource) -> pa.Table:
    if not old.num_rows:  # a first revision, which may have a million rows
        return _rows(source, "added", row=new["source_row"]).sort_by("row")
    places = pc.index_in(new[source.key], value_set=old[source.key].combine_chunks()).combine_chunks()
    is_kept = places.is_valid()
    was, now = old.take(places.filter(is_kept)), new.filter(is_kept)
    columns = _changed_columns(was, now, source)
    is_changed = pc.not_equal(columns, "")
    is_gone = pc.invert(pc.is_in(old[source.key], value_set=new[source.key].combine_chunks()))
    found = pa.concat_tables(
        [
            _rows(source, "added", row=new["source_row"].filter(places.is_null())),
            _rows(source, "changed", now["source_row"].filter(is_changed), was["source_row"].filter(is_changed), columns.filter(is_changed)),
            _rows(source, "removed", replaced_row=old["source_row"].filter(is_gone)),
        ]
    )
    return found.sort_by([("row", "ascending"), ("replaced_row", "ascending")])


def _rows(
    source: FactSource, change: str, row: pa.ChunkedArray | None = None, replaced_row: pa.ChunkedArray | None = None, columns: pa.Array | None = None
) -> pa.Table:
    count = len(row) if row is not None else len(replaced_row if replaced_row is not None else ())
    given = {
        "table": pa.repeat(pa.scalar(source.table, pa.string()), count),
        "change": pa.repeat(pa.scalar(change, pa.string()), count),
        "row": pa.nulls(count, pa.int64()) if row is None else row,
        "replaced_row": pa.nulls(count, pa.int64()) if replaced_row is None else replaced_row,
        "columns": pa.repeat(pa.scalar("", pa.string()), count) if columns is None else columns,
    }
    return pa.table(given, schema=ROWS)


def _changed_columns(was: pa.Table, now: pa.Table, source: FactSource) -> pa.Array:
    """Return for each pair of rows the return table's columns that differ, separated by spaces; empty when none does."""
    references = {name: reference for reference, (_, name) in source.references.items()}
    names = [name for name in now.column_names if name not in _DERIVED and name != source.key]
    # Arrow's join that skips nulls gives no row at all where every part is null, so what is the same is said by nothing instead.
    said = [pc.if_else(_differs(was[name], now[name]), f"{references.get(name, name)} ", "") for name in names]
    return pc.utf8_rtrim_whitespace(pc.binary_join_element_wise(*said, ""))


def _differs(left: pa.ChunkedArray, right: pa.ChunkedArray) -> pa.Array:
    was, now = left.combine_chunks(), right.combine_chunks()
    return pc.if_else(pc.and_(was.is_valid(), now.is_valid()), pc.not_equal(was, now), pc.not_equal(was.is_valid(), now.is_valid()))


def _paid(payments: pa.Table) -> Mapping[str, Decimal]:
    sums = payments.group_by("payer_id").aggregate([("amount_gbp", "sum")])
    return dict(zip(sums["payer_id"].to_pylist(), sums["amount_gbp_sum"].to_pylist(), strict=True))
