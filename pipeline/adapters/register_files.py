"""Reads the register from a folder of CSV files: one file per table, judged by Frictionless against `schemas/register/`, typed by pyarrow.

A file is read once, strictly; what Frictionless judges are the rows that will be typed. A table with a blocking finding is not returned.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.domain.findings import Finding, in_order, is_blocking
from pipeline.domain.tables import Definitions, Field, FieldType, TableSchema
from pipeline.errors import RuleError
from pipeline.stages import frames
from pipeline.stages.registration import LATER_COLUMNS, REGISTER_TABLES, describe_form

OPTIONAL_TABLES = frozenset({"investments"})
FINDINGS_LIMIT = 100_000

_WRITTEN: Mapping[FieldType, str] = {
    "integer": r"-?[0-9]{1,15}",
    "number": r"-?[0-9]{1,12}([.][0-9]{1,2})?",
    "date": r"[0-9]{4}-[0-9]{2}-[0-9]{2}",
    "boolean": "true|false",
}
"""The one way in which each type is written. Frictionless takes more: NaN, 1_000, 1e5, digits of other scripts."""

_IN_WORDS: Mapping[FieldType, str] = {
    "string": "a text",
    "integer": "a whole number",
    "number": "an amount with at most two decimals",
    "date": "a day like 2024-03-31",
    "boolean": "true or false",
}


@dataclass(frozen=True)
class _Sheet:
    """The filled rows of one file, each with its number as a person sees it (the heading is row 1)."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Sequence[int]


def read_register(folder: Path, definitions: Definitions) -> tuple[Mapping[str, pa.Table], Sequence[Finding]]:
    """Read a register's tables from a folder of CSV files.

    Returns: typed tables by schema name, each with a first column `row`, and the findings; a table that has a blocking finding is left out.
    """
    tables: dict[str, pa.Table] = {}
    findings: list[Finding] = list(_other_files(folder, definitions))
    for name in REGISTER_TABLES:
        schema, path = definitions.table("register", name), folder / f"{name}.csv"
        if path.is_file():
            sheet, found = _read_sheet(path, schema, definitions)
            findings += found
            if not is_blocking(found):
                tables[name] = _typed(sheet, schema)
        elif name in OPTIONAL_TABLES:
            tables[name] = _typed(_Sheet(schema.columns, (), ()), schema)
        else:
            findings.append(definitions.rule("R-401").found(name, expected=path.name))
    return tables, in_order(findings)


def _other_files(folder: Path, definitions: Definitions) -> Iterator[Finding]:
    others = [path for path in folder.glob("*.csv") if path.stem not in REGISTER_TABLES]
    if others:
        yield definitions.rule("R-410").found(count=str(len(others)))


def _read_sheet(path: Path, schema: TableSchema, definitions: Definitions) -> tuple[_Sheet, Sequence[Finding]]:
    try:
        records = list(csv.reader(io.StringIO(path.read_text("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error):
        return _Sheet((), (), ()), [definitions.rule("R-402").found(schema.name)]
    filled = [(number, record) for number, record in enumerate(records[1:], start=2) if any(record)]
    sheet = _Sheet(records[0] if records else (), [record for _, record in filled], [number for number, _ in filled])
    findings = list(_check_headings(sheet.headings, schema, definitions)) or list(_check_rows(sheet, schema, definitions))
    return sheet, findings


def _check_headings(headings: Sequence[str], schema: TableSchema, definitions: Definitions) -> Iterator[Finding]:
    for column in schema.columns:
        if column not in headings and column not in LATER_COLUMNS.get(schema.name, ()):
            yield definitions.rule("R-403").found(schema.name, 1, column, expected=column)
    for position, heading in enumerate(headings, start=1):
        if heading not in schema.columns or heading in headings[: position - 1]:
            yield definitions.rule("R-404").found(schema.name, 1, position=str(position), expected=", ".join(schema.columns))


def _check_rows(sheet: _Sheet, schema: TableSchema, definitions: Definitions) -> Sequence[Finding]:
    """Let Frictionless judge the cells, and then the way in which those are written that it let pass."""
    columns = [schema.field(heading) for heading in sheet.headings]
    findings = {_finding_of(error, sheet, schema, definitions) for error in _judge(sheet, columns, definitions)}
    faulty = {(finding.row, finding.column) for finding in findings}
    broken = {finding.row for finding in findings if finding.rule == "R-405"}
    findings = {finding for finding in findings if finding.rule == "R-405" or finding.row not in broken}
    for position, column in enumerate(columns):
        written = re.compile(_WRITTEN.get(column.type, ".*"), re.ASCII | re.DOTALL)
        for number, row in zip(sheet.numbers, sheet.rows, strict=True):
            if number not in broken and row[position] and (number, column.name) not in faulty and not written.fullmatch(row[position]):
                findings.add(definitions.rule("R-406").found(schema.name, number, column.name, type=_IN_WORDS[column.type]))
    return sorted(findings)


def _judge(sheet: _Sheet, columns: Sequence[Field], definitions: Definitions) -> Sequence[Any]:
    """Return what Frictionless has to say. Raises: RuleError when it does not take our schema."""
    from frictionless import FrictionlessException, Resource, Schema

    try:
        schema = Schema.from_descriptor({"fields": [_descriptor(column, definitions) for column in columns]})
    except FrictionlessException as error:
        raise RuleError("Frictionless does not take a schema of the register; see schemas/register/.") from error
    report = Resource(data=[list(sheet.headings), *sheet.rows], schema=schema).validate(limit_errors=FINDINGS_LIMIT)
    return [*report.errors, *(error for task in report.tasks for error in task.errors)]


def _descriptor(column: Field, definitions: Definitions) -> dict[str, Any]:
    constraints = dict(column.constraints)
    if column.codelist is not None:
        constraints["enum"] = list(definitions.codelists[column.codelist])
    described: dict[str, Any] = {"name": column.name, "type": column.type, "constraints": constraints}
    if column.type == "boolean":
        described |= {"trueValues": ["true"], "falseValues": ["false"]}
    return described


def _finding_of(error: Any, sheet: _Sheet, schema: TableSchema, definitions: Definitions) -> Finding:
    """Return our finding for an error of Frictionless, without the cells that it carries.

    Raises: RuleError when the error is none about a cell: then the rows were not judged.
    """
    if error.type in ("missing-cell", "extra-cell"):
        return definitions.rule("R-405").found(schema.name, _number(error, sheet), expected=str(len(sheet.headings)))
    if error.type not in ("type-error", "constraint-error"):
        raise RuleError(f"Frictionless reports {error.type} for the register table {schema.name}, of which no rule speaks.")
    column = schema.field(error.field_name)
    place = (schema.name, _number(error, sheet), column.name)
    if error.type == "type-error":
        return definitions.rule("R-406").found(*place, type=_IN_WORDS[column.type])
    constraint = error.note.split('"')[1]
    if constraint == "required":
        return definitions.rule("R-407").found(*place)
    if constraint == "enum" and column.codelist is not None:
        return definitions.rule("R-408").found(*place, codelist=column.codelist, codes=", ".join(definitions.codelists[column.codelist]))
    limits = {"minimum": "at least", "maximum": "at most"}
    allowed = f"{limits[constraint]} {column.constraints[constraint]}" if constraint in limits else describe_form(column)
    return definitions.rule("R-409").found(*place, allowed=allowed)


def _number(error: Any, sheet: _Sheet) -> int:
    position: int = error.row_number - 2
    return sheet.numbers[position]


def _typed(sheet: _Sheet, schema: TableSchema) -> pa.Table:
    columns = dict.fromkeys(schema.columns, [""] * len(sheet.rows))
    columns |= {name: [row[position] for row in sheet.rows] for position, name in enumerate(sheet.headings)}
    typed = pa.table(
        {column.name: pa.array([_value(text, column.type) for text in columns[column.name]], frames.arrow_type(column)) for column in schema.fields}
    )
    return typed.add_column(0, pa.field("row", pa.int64(), nullable=False), pa.array(sheet.numbers, pa.int64()))


def _value(text: str, kind: FieldType) -> object:
    if not text:
        return None
    if kind == "boolean":
        return text == "true"
    if kind == "integer":
        return int(text)
    if kind == "number":
        return Decimal(text)
    return date.fromisoformat(text) if kind == "date" else text
