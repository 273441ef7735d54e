"""Metrics and payers: known to the contract, and in force on the day."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.domain.findings import Finding
from pipeline.stages.contract.given import Given, Record
from pipeline.stages.frames import equal_to
from pipeline.stages.validation import MAX_PLACES, found_at

_LISTED_CODES = 20


def check_codes(given: Given) -> list[Finding]:
    """Return where a metric or payer is none of the contract's, or a metric was not in force."""
    metrics = sorted(given.terms.metrics)
    found = _unknown(given, "K-302", "payments", "payer_id", given.payers)
    for table in ("outcomes", "payments"):
        found += _unknown_metrics(given, table, metrics)
    for metric in given.terms.metrics.values():
        found += _not_in_force(given, metric)
    return found


def is_known(frame: pa.Table, column: str, codes: Sequence[str]) -> pa.ChunkedArray:
    """Return where a column holds one of some codes."""
    return pc.is_in(frame[column], value_set=pa.array(codes, pa.string()))


def _unknown_metrics(given: Given, table: str, metrics: Sequence[str]) -> list[Finding]:
    """Refuse rows of another contract of the fund; they are no mistyped rows of this one."""
    unknown = _unknown(given, "K-301", table, "metric_id", metrics)
    elsewhere = sorted(set(given.context.metrics_elsewhere()) - set(metrics)) if unknown else []
    if not elsewhere:
        return unknown
    is_elsewhere = is_known(given.table(table), "metric_id", elsewhere)
    others = given.found("K-323", table, "metric_id", is_elsewhere, project_id=given.context.key.project_id)
    return [*others, *_unknown(given, "K-301", table, "metric_id", metrics, but=is_elsewhere)]


def _unknown(given: Given, rule: str, table: str, column: str, codes: Sequence[str], but: pa.ChunkedArray | None = None) -> list[Finding]:
    frame = given.table(table)
    is_unknown = pc.and_(frame[column].is_valid(), pc.invert(is_known(frame, column, codes)))
    bad = frame.filter(is_unknown if but is None else pc.and_(is_unknown, pc.invert(but)))
    hints = [{"hint": _hint(cell, codes)} for cell in bad[column].slice(0, MAX_PLACES).to_pylist()]
    return found_at(given.definitions.rule(rule), table, column, bad["row"].combine_chunks(), hints)


def _hint(cell: str, codes: Sequence[str]) -> str:
    """Return a sentence that names codes of the register only: the one most like the cell, or else those that there are."""
    nearest = difflib.get_close_matches(cell, codes, n=1)
    if nearest:
        return f"Is {nearest[0]} meant?"
    more = f" and {len(codes) - _LISTED_CODES} more" if len(codes) > _LISTED_CODES else ""
    return f"There are: {', '.join(codes[:_LISTED_CODES])}{more}." if codes else "There is none."


def _not_in_force(given: Given, metric: Record) -> list[Finding]:
    """Find what was achieved, or is paid for a time that lies whole, before the metric came into force or after it was retired."""
    first, last = metric.get("valid_from"), metric.get("valid_to")
    if first is None and last is None:
        return []
    values = {"in_force": " ".join([f"from {first}"] * bool(first) + [f"until {last}"] * bool(last)), "hint": _successors(given, metric)}
    found = []
    for table, begins, ends in (("outcomes", "achieved_on", "achieved_on"), ("payments", "period_start", "period_end")):
        frame = given.table(table)
        is_out = pa.repeat(pa.scalar(False), frame.num_rows)
        if first is not None:
            is_out = pc.or_(is_out, pc.less(frame[ends], date.fromisoformat(first)))
        if last is not None:
            is_out = pc.or_(is_out, pc.greater(frame[begins], date.fromisoformat(last)))
        found += given.found("K-322", table, "metric_id", pc.and_(equal_to(frame["metric_id"], metric["metric_id"]), is_out), **values)
    return found


def _successors(given: Given, metric: Record) -> str:
    """Return a sentence that names what took a metric's place, and what it took the place of."""
    after = [other for other, record in given.terms.metrics.items() if record.get("supersedes_metric_id") == metric["metric_id"]]
    before = metric.get("supersedes_metric_id")
    told = [f"{' and '.join(sorted(after))} took its place."] * bool(after) + [f"It took the place of {before}."] * bool(before)
    return " ".join(told) or "Nothing took its place."
