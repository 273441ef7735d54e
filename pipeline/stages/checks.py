"""The checks of the checklist: what frames and register records say against a release. Pure; each gives pairs of an item's code and a place.

A place is a project, quarter, metric, payer or table; never a figure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.domain.release import Version
from pipeline.domain.tables import Definitions
from pipeline.stages import comparison, registration
from pipeline.stages.receipt import ACHIEVED

Places = Iterator[tuple[str, str]]
Record = Mapping[str, Any]

BY_RULE: Mapping[str, str] = {
    "R-441": "metric_reused",
    "R-442": "metric_gone",
    "R-443": "plans_renumbered",
    "R-444": "plans_renumbered",
    "R-445": "plan_changed",
}
"""Which item a rule about a changed register record belongs to."""
LEFT_OUT = ("received", "validated", "rejected", "withdrawn")
"""The states of completeness in which something came and nothing of it counts."""


def check_returns(completeness: pa.Table) -> Places:
    """Tell which returns are missing, and which came and count for nothing."""
    for row in completeness.select(["project_id", "quarter", "state", "is_expected", "is_in_release"]).to_pylist():
        place = f"{row['project_id']}/{row['quarter']}"
        if row["state"] == "missing":
            yield "returns_missing", place
        elif row["state"] in LEFT_OUT and not row["is_in_release"]:
            yield "returns_left_out", place


def check_records(before: Mapping[str, Record], now: Mapping[str, Record], definitions: Definitions) -> Places:
    """Tell what became of metrics and plans between the register of the version before and that of this one; and who has no plan."""
    for project_id, record in now.items():
        if not record["plans"]:
            yield "plan_missing", project_id
        if project_id in before:
            for finding in registration.check_revision(before[project_id], record, definitions):
                yield from place_of(project_id, finding.rule, dict(finding.values))


def check_refusal(findings: Sequence[Mapping[str, Any]]) -> Places:
    """Tell what a refused load of the register would have done."""
    for finding in findings:
        yield from place_of(finding["project_id"], finding["rule"], finding["values"])


def place_of(project_id: str, rule: str, values: Mapping[str, str]) -> Places:
    """Give the item that a rule about a changed record belongs to, and the metric or plan version that it speaks of."""
    if rule in BY_RULE:
        yield BY_RULE[rule], f"{project_id} {values.get('metric_id') or 'plan ' + values.get('version', '')}".strip()


def check_cumulatives(before: pa.Table, now: pa.Table) -> Places:
    """Tell which metrics have less achieved in all than by the version before. Args: verified outcomes as facts."""
    was, is_now = (_achieved(outcomes) for outcomes in (before, now))
    for (project_id, metric_id), units in sorted(was.items()):
        if is_now.get((project_id, metric_id), 0) < units:
            yield "cumulative_fell", f"{project_id} {metric_id}"


def check_caps(payments: pa.Table, records: Mapping[str, Record]) -> Places:
    """Tell which contracts were paid more for than their cap."""
    sums = payments.group_by("project_id").aggregate([("amount_gbp", "sum")])
    paid = dict(zip(sums["project_id"].to_pylist(), sums["amount_gbp_sum"].to_pylist(), strict=True))
    for project_id, record in records.items():
        cap = record["project"].get("contract_cap_gbp")
        if cap is not None and paid.get(project_id, Decimal(0)) > Decimal(cap):
            yield "over_cap", project_id


def check_break(differences: comparison.Differences, base: str | None, version: str, *, method_changed: bool) -> Places:
    """Tell which tables break against the version before, and whether the number says so."""
    if base is None:
        return
    is_major = Version.parse(version).major > Version.parse(base).major
    for name, table in differences.tables.items():
        if table.is_breaking:
            yield "number_breaks" if is_major else "schema_break", name
    if method_changed:
        yield "number_breaks" if is_major else "schema_break", "method that protects people"


def check_next_release(fund: Record, as_of: date) -> Places:
    """Tell when the register names no coming day of the next release."""
    day = fund["fund"].get("next_release_on")
    if day is None or date.fromisoformat(day) <= as_of:
        yield "next_release_missing", ""


def check_key(*, has_key: bool) -> Places:
    """Tell when there is no key here that could sign the release."""
    if not has_key:
        yield "key_missing", ""


def _achieved(outcomes: pa.Table) -> Mapping[tuple[str, str], int]:
    verified = outcomes.filter(pc.equal(outcomes["status"], ACHIEVED))
    sums = verified.group_by(["project_id", "metric_id"]).aggregate([("quantity", "sum")])
    return {(row["project_id"], row["metric_id"]): row["quantity_sum"] for row in sums.to_pylist()}
