"""The register: seven typed tables become sealed records of one fund and its projects, and sealed records become tables again.

A record is a JSON document: rows keyed by the columns of `schemas/register/`, null where a cell is empty, days as ISO text, money as text with its
decimals, rows in the order of their key. What is wrong with a register is a finding of the rules R-407 to R-445; a register with a blocking
finding makes no record.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Any, cast

import pyarrow as pa
import rfc8785

from pipeline.domain.findings import Finding, in_order, is_blocking
from pipeline.domain.tables import Definitions, Field, TableSchema
from pipeline.stages import frames

Record = Mapping[str, Any]
Row = Mapping[str, Any]
Rows = Mapping[str, Sequence[Row]]

FUND_TABLES: tuple[str, ...] = ("funds", "payers")
PROJECT_TABLES: tuple[str, ...] = ("projects", "metrics", "rate_card", "plans", "investments")
REGISTER_TABLES: tuple[str, ...] = FUND_TABLES + PROJECT_TABLES
LATER_COLUMNS: Mapping[str, frozenset[str]] = {
    "funds": frozenset({"next_release_on"}),
    "metrics": frozenset({"cap_per_person", "valid_from", "valid_to"}),
    "rate_card": frozenset({"payer_cap_gbp", "payer_cap_share"}),
}
"""Columns that came to the register after records had been sealed: a file may leave them out, and a record that does not use them keeps its hash."""
LARGEST = 999_999_999_999
"""Fits the decimals of the tables, and the whole numbers that every JSON reader keeps exact."""
YEARS = range(1990, 2101)
"""A contract's day outside these years is a slip of the pen (0024, 9999), and would make a release expect returns for centuries."""

_REFERENCES: tuple[tuple[str, str, str], ...] = (
    ("projects", "fund_id", "funds"),
    ("metrics", "project_id", "projects"),
    ("metrics", "after_metric_id", "metrics"),
    ("metrics", "supersedes_metric_id", "metrics"),
    ("rate_card", "project_id", "projects"),
    ("rate_card", "metric_id", "metrics"),
    ("rate_card", "payer_id", "payers"),
    ("plans", "project_id", "projects"),
    ("plans", "metric_id", "metrics"),
    ("plans", "payer_id", "payers"),
    ("investments", "project_id", "projects"),
)
_IN_ORDER: tuple[tuple[str, str, str], ...] = (
    ("projects", "starts_on", "ends_on"),
    ("projects", "ends_on", "claims_until"),
    ("metrics", "valid_from", "valid_to"),
    ("rate_card", "valid_from", "valid_to"),
)
_MEASURES: Mapping[str, Mapping[str, bool]] = {
    "service_users": {"expected_quantity": True, "expected_gbp": False, "metric_id": False, "payer_id": False},
    "outcomes": {"metric_id": True, "expected_quantity": True, "expected_gbp": False, "payer_id": False},
    "payments": {"expected_gbp": True, "expected_quantity": False},
}
"""For each measure: the columns that must be filled (True) or empty (False)."""


@dataclass(frozen=True, kw_only=True)
class RegisterRecords:
    """The sealed records of one fund: its own, and one per project, by project id in order. Empty when a finding blocked."""

    fund_id: str
    fund: Record
    projects: Mapping[str, Record]


def make_records(tables: Mapping[str, pa.Table | Sequence[Row]], definitions: Definitions) -> tuple[RegisterRecords, Sequence[Finding]]:
    """Check typed register tables and make the records of their fund.

    Tables may have a column `row` that says where a row stands in its file; without it the first row is row 2. A table that is missing is empty.

    Returns: the records, empty when a finding blocks, and the findings.
    """
    rows = {name: _rows(tables.get(name, ()), definitions.table("register", name)) for name in REGISTER_TABLES}
    findings = in_order(finding for check in _CHECKS for finding in check(rows, definitions))
    if is_blocking(findings):
        return RegisterRecords(fund_id="", fund={}, projects={}), findings
    sealed = {name: _seal(rows[name], definitions.table("register", name)) for name in REGISTER_TABLES}
    fund = sealed["funds"][0]
    projects = {project["project_id"]: _project_record(project, sealed) for project in sealed["projects"]}
    return RegisterRecords(fund_id=fund["fund_id"], fund={"fund": fund, "payers": sealed["payers"]}, projects=projects), findings


def register_tables(definitions: Definitions, fund_record: Record, project_records: Mapping[str, Record]) -> Mapping[str, pa.Table]:
    """Return records as the typed tables of the register, by schema name; rows in the order of their key."""
    projects = [project_records[project_id] for project_id in sorted(project_records)]
    sealed: dict[str, Sequence[Row]] = {"funds": [fund_record["fund"]], "payers": fund_record["payers"]}
    sealed["projects"] = [record["project"] for record in projects]
    for name in PROJECT_TABLES[1:]:
        sealed[name] = [row for record in projects for row in record[name]]
    return {name: _unseal(sealed[name], definitions.table("register", name)) for name in REGISTER_TABLES}


def record_bytes(record: Record) -> bytes:
    """Return the canonical bytes of a record. Source: RFC 8785 (JSON Canonicalization Scheme)."""
    return rfc8785.dumps(cast(dict[str, Any], record))


def check_revision(before: Record, after: Record, definitions: Definitions) -> Sequence[Finding]:
    """Return what a project's new record may not do to the one in force: metrics keep their meaning, agreed plan versions stay."""
    return in_order([*_check_kept_metrics(before, after, definitions), *_check_kept_plans(before, after, definitions)])


def _rows(table: pa.Table | Sequence[Row], schema: TableSchema) -> Sequence[Row]:
    given: Sequence[Row] = table.to_pylist() if isinstance(table, pa.Table) else table
    return [{"row": position, **dict.fromkeys(schema.columns), **row} for position, row in enumerate(given, start=2)]


def _project_record(project: Row, sealed: Rows) -> Record:
    own = {name: [row for row in sealed[name] if row["project_id"] == project["project_id"]] for name in PROJECT_TABLES[1:]}
    return {"project": project, **own}


def _seal(rows: Sequence[Row], schema: TableSchema) -> Sequence[Row]:
    later = LATER_COLUMNS.get(schema.name, frozenset())
    sealed = [
        {column.name: _seal_cell(row[column.name], column) for column in schema.fields if column.name not in later or row[column.name] is not None}
        for row in rows
    ]
    return sorted(sealed, key=lambda row: [(row[name] is not None, row[name]) for name in schema.primary_key])


def _seal_cell(cell: object, column: Field) -> object:
    if isinstance(cell, date):
        return cell.isoformat()
    if isinstance(cell, Decimal):
        return f"{cell:.{_decimals(column)}f}"
    return cell


def _unseal(rows: Sequence[Row], schema: TableSchema) -> pa.Table:
    typed = [{column.name: _unseal_cell(row.get(column.name), column) for column in schema.fields} for row in rows]
    return frames.conform(schema, frames.from_rows(schema, typed))


def _unseal_cell(cell: Any, column: Field) -> object:
    if cell is None:
        return None
    if column.type == "date":
        return date.fromisoformat(cell)
    return Decimal(cell) if column.type == "number" else cell


def _decimals(column: Field) -> int:
    return column.decimals if column.decimals is not None else 2


def _check_cells(rows: Rows, definitions: Definitions) -> Iterator[Finding]:
    """The same for every table: filled where required, known codes, well-formed ids, sensible figures, visible characters."""
    for name in REGISTER_TABLES:
        for column in definitions.table("register", name).fields:
            for row in rows[name]:
                yield from _check_cell(row[column.name], column, definitions, (name, row["row"], column.name))


def _check_cell(cell: object, column: Field, definitions: Definitions, place: tuple[str, int, str]) -> Iterator[Finding]:
    pattern = column.constraints.get("pattern")
    if cell is None:
        if column.is_required:
            yield definitions.rule("R-407").found(*place)
    elif isinstance(cell, str):
        if column.codelist is not None and cell not in definitions.codelists[column.codelist]:
            codes = ", ".join(definitions.codelists[column.codelist])
            yield definitions.rule("R-408").found(*place, codelist=column.codelist, codes=codes)
        elif pattern is not None and not re.fullmatch(pattern, cell, re.ASCII):
            yield definitions.rule("R-409").found(*place, allowed=describe_form(column))
        elif any(_is_unseen(character) for character in cell):
            yield definitions.rule("R-412").found(*place)
    elif isinstance(cell, int | Decimal) and not 0 <= cell <= LARGEST:
        yield definitions.rule("R-432").found(*place, limit=str(LARGEST))
    elif isinstance(cell, date) and cell.year not in YEARS:
        yield definitions.rule("R-409").found(*place, allowed=f"a day of the years {YEARS[0]} to {YEARS[-1]}")


def describe_form(column: Field) -> str:
    """Return in words how a text must be written that has a pattern."""
    if column.name == "quarter":
        return "a quarter like 2024-Q1"
    return "an id: up to 64 letters, digits, points, hyphens and underscores, the first of them a letter or digit"


def _is_unseen(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs") and character not in "\t\r\n"


def _check_one_fund(rows: Rows, definitions: Definitions) -> Iterator[Finding]:
    if len(rows["funds"]) != 1:
        yield definitions.rule("R-420").found("funds", count=str(len(rows["funds"])))


def _check_keys(rows: Rows, definitions: Definitions) -> Iterator[Finding]:
    for name in REGISTER_TABLES:
        key = definitions.table("register", name).primary_key
        seen = set()
        for row in rows[name]:
            values = tuple(row[column] for column in key)
            if values in seen:
                yield definitions.rule("R-421").found(name, row["row"], key[0], key=", ".join(key))
            seen.add(values)


def _check_references(rows: Rows, definitions: Definitions) -> Iterator[Finding]:
    ids = {
        name: {row[column] for row in rows[name]}
        for name, column in (("funds", "fund_id"), ("payers", "payer_id"), ("projects", "project_id"), ("metrics", "metric_id"))
    }
    for name, column, referenced in _REFERENCES:
        for row in rows[name]:
            if row[column] is not None and row[column] not in ids[referenced]:
                yield definitions.rule("R-422").found(name, row["row"], column, referenced=referenced)


def _check_metrics_own(rows: Rows, definitions: Definitions) -> Iterator[Finding]:
    """A metric id is unique in the fund, and is used by rows of its own project only."""
    owner: dict[str, str] = {}
    for row in rows["metrics"]:
        if owner.setdefault(row["metric_id"], row["project_id"]) != row["project_id"]:
            yield definitions.rule("R-423").found("metrics", row["row"], "metric_id")
    for name, column, referenced in _REFERENCES:
        for row in rows[name] if referenced == "metrics" else ():
            if owner.get(row[column], row["project_id"]) != row["project_id"]:
                yield definitions.rule("R-424").found(name, row["row"], column)


def _check_dates(rows: Rows, definitions: Definitions) -> Iterator[Finding]:
    for name, earlier, later in _IN_ORDER:
        for row in rows[name]:
            if row[earlier] is not None and row[later] is not None and row[later] < row[earlier]:
                yield definitions.rule("R-425").found(name, row["row"], later, earlier=earlier)


def _check_prices_apart(rows: Rows, definitions: Definitions) -> Iterator[Finding]:
    dated = [row for row in rows["rate_card"] if row["valid_from"] is not None]
    for prices in _grouped(dated, ("project_id", "metric_id", "payer_id")).values():
        last = date.min
        for row in sorted(prices, key=lambda row: (row["valid_from"], row["row"])):
            if row["valid_from"] <= last:
                yield definitions.rule("R-426").found("rate_card", row["row"], "valid_from")
            last = max(last, row["valid_to"] or date.max)


def _check_payer_caps(rows: Rows, definitions: Definitions) -> Iterator[Finding]:
    for terms in _grouped(rows["rate_card"], ("project_id", "payer_id")).values():
        for column in ("payer_cap_gbp", "payer_cap_share"):
            for row in terms:
                if row[column] != terms[0][column]:
                    yield definitions.rule("R-433").found("rate_card", row["row"], column)


def _check_versions(rows: Rows, definitions: Definitions) -> Iterator[Finding]:
    versioned = [row for row in rows["plans"] if row["plan_version"] is not None]
    for plan in _grouped(versioned, ("project_id",)).values():
        first: dict[int, Row] = {}
        for row in plan:
            start = first.setdefault(row["plan_version"], row)
            for column in ("plan_kind", "agreed_on"):
                if row[column] != start[column]:
                    yield definitions.rule("R-428").found("plans", row["row"], column)
        for before, version in pairwise([0, *sorted(first)]):
            row = first[version]
            if version > before + 1:
                yield definitions.rule("R-427").found("plans", row["row"], "plan_version", expected=str(before + 1))
            if (row["plan_kind"] == "final_award_offer") != (version == 1):
                yield definitions.rule("R-429").found("plans", row["row"], "plan_kind")


def _check_measures(rows: Rows, definitions: Definitions) -> Iterator[Finding]:
    for row in rows["plans"]:
        for column, is_filled in _MEASURES.get(row["measure"], {}).items():
            if (row[column] is not None) != is_filled:
                state = "filled" if is_filled else "empty"
                yield definitions.rule("R-430").found("plans", row["row"], column, measure=row["measure"], state=state)


def _check_circles(rows: Rows, definitions: Definitions) -> Iterator[Finding]:
    for column in ("after_metric_id", "supersedes_metric_id"):
        before = {row["metric_id"]: row[column] for row in rows["metrics"]}
        for row in rows["metrics"]:
            walked = {row["metric_id"]}
            metric = row[column]
            while metric is not None and metric not in walked:
                walked.add(metric)
                metric = before.get(metric)
            if metric == row["metric_id"]:
                yield definitions.rule("R-431").found("metrics", row["row"], column)


_CHECKS: tuple[Callable[[Rows, Definitions], Iterable[Finding]], ...] = (
    _check_cells,
    _check_one_fund,
    _check_keys,
    _check_references,
    _check_metrics_own,
    _check_dates,
    _check_prices_apart,
    _check_payer_caps,
    _check_versions,
    _check_measures,
    _check_circles,
)


def _check_kept_metrics(before: Record, after: Record, definitions: Definitions) -> Iterator[Finding]:
    metrics = {metric["metric_id"]: metric for metric in after["metrics"]}
    for metric in before["metrics"]:
        now = metrics.get(metric["metric_id"])
        if now is None:
            yield definitions.rule("R-442").found("metrics", metric_id=metric["metric_id"])
            continue
        for column in ("definition", "unit"):
            if now[column] != metric[column]:
                yield definitions.rule("R-441").found("metrics", column=column, metric_id=metric["metric_id"], part=column)


def _check_kept_plans(before: Record, after: Record, definitions: Definitions) -> Iterator[Finding]:
    plans, now = (_grouped(record["plans"], ("plan_version",)) for record in (before, after))
    latest = max(plans, default=())
    for version in plans:
        if version not in now:
            yield definitions.rule("R-443").found("plans", column="plan_version", version=str(version[0]))
        elif now[version] != plans[version]:
            rule = definitions.rule("R-445" if version == latest else "R-444")
            yield rule.found("plans", column="plan_version", version=str(version[0]))


def _grouped(rows: Sequence[Row], columns: Sequence[str]) -> Mapping[tuple[Any, ...], Sequence[Row]]:
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[column] for column in columns)].append(row)
    return groups
