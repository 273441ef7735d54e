"""The template of one project's return for one quarter: which tables and columns it has, and which codes each column can be chosen from.

What the register says of the fund and the project comes in as their sealed records. The same records and definitions give the same bytes.
`template_book` makes a workbook of it; here it becomes a zip of CSV files.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from pipeline.domain.quarters import Quarter
from pipeline.domain.tables import Definitions, Field, TableSchema
from pipeline.errors import UsageError
from pipeline.stages.acceptance import SOURCES
from pipeline.stages.return_files import RETURN_TABLES, TEMPLATE_VERSION, zip_files

Record = Mapping[str, Any]

REGISTER_LISTS: Mapping[str, str] = {"metric_id": "metrics", "payer_id": "payers"}
"""Columns whose codes are the register's, not those of a code list."""

DATING: frozenset[tuple[str, str]] = frozenset((source.table, source.dated_by) for source in SOURCES.values())
"""The columns that place a row in time."""

KINDS: Mapping[str, str] = {"date": "date", "integer": "whole number", "number": "pounds and pence", "string": "text"}
HOW_TO: tuple[str, ...] = (
    "Fill in the sheets from left to right: a row for each person, outcome and payment, directly below the headings, which stay as they are.",
    "Dark headings must be filled in for every row; pale ones where you know. Click a cell to read what belongs in it.",
    "Where a cell offers a list, choose from it: the codes are explained on the sheet lists. Write dates as dates, amounts in pounds and pence.",
    "Use references of your own for people, outcomes and payments. Never a name, a date of birth, an address or a number given by a public body.",
    "If nothing happened in the quarter, choose yes under is_nil_return on the cover and leave the other sheets empty.",
    "Paste values only, no formulas. Add no sheets, columns, totals or notes: they would be refused, so that nothing personal travels by mistake.",
)
DECLARED = "is_nil_return"
DECLARATION = "By choosing, the project declares that this return is complete and correct to the best of its knowledge, and names nobody."


@dataclass(frozen=True, kw_only=True)
class TemplateTable:
    """One table of the template: the columns that this project fills in, a part of the table's own."""

    schema: TableSchema
    fields: Sequence[Field]

    @property
    def name(self) -> str:
        """The name of the table, and so of its sheet or file."""
        return self.schema.name


@dataclass(frozen=True, kw_only=True)
class Template:
    """What a template holds. `lists` maps the name of a list to its codes with their labels; `cover` are the cells that are filled in already.

    Dates of facts lie between `starts_on` and the end of the quarter. `due_on` is the last day on which the fund expects the return.
    """

    project: Record
    quarter: Quarter
    metrics: Sequence[Record]
    lists: Mapping[str, Mapping[str, str]]
    tables: Sequence[TemplateTable]
    cover: Mapping[str, str]
    starts_on: date
    due_on: date

    @property
    def title(self) -> str:
        """What the template is, in words."""
        return f"Quarterly return of {self.project['project_id']} for {self.quarter}"

    def needed(self, field: Field) -> str:
        """Return when a column must be filled in."""
        if field.name in self.cover:
            return "filled in"
        return "always" if field.is_required else "where known"

    def kind(self, field: Field) -> str:
        """Return in a few words what is written into a column."""
        name = list_of(field)
        return f"from the list {name}" if name in self.lists else KINDS[field.type]


def plan_template(fund: Record, project: Record, quarter: Quarter, definitions: Definitions) -> Template:
    """Return the template of a project's return.

    Args: fund and project, their sealed register records.
    Raises: UsageError when the contract has no such quarter: a return of it would be refused.
    """
    terms = project["project"]
    starts_on, until = date.fromisoformat(terms["starts_on"]), date.fromisoformat(terms["claims_until"] or terms["ends_on"])
    if quarter.end < starts_on or quarter.start > until:
        raise UsageError(f"The contract of {terms['project_id']} runs from {starts_on} to {until}; there is no return for {quarter}.")
    metrics = metrics_in_force(project, quarter)
    tables = [_table(definitions.table("submission", name), terms["return_kind"]) for name in RETURN_TABLES]
    kept = [table for table in tables if table.fields]
    lists = {"metrics": {metric["metric_id"]: metric["name"] for metric in metrics}, "payers": _payers(fund, project)}
    cover = {"project_id": terms["project_id"], "quarter": str(quarter), "template_version": TEMPLATE_VERSION}
    for field in (field for table in kept for field in table.fields):
        name = list_of(field)
        if name is not None and name not in lists and name not in cover:
            lists[name] = definitions.codelists[name] if field.codelist else {code: code for code in field.constraints["enum"]}
    return Template(
        project=terms,
        quarter=quarter,
        metrics=metrics,
        lists=lists,
        tables=kept,
        cover=cover,
        starts_on=starts_on,
        due_on=quarter.end + timedelta(days=fund["fund"]["return_due_days"]),
    )


def metrics_in_force(project: Record, quarter: Quarter) -> Sequence[Record]:
    """Return the metrics that can be achieved in a quarter: in force and, if priced at all, priced on one of its days; not superseded before it."""
    prices: dict[str, list[Record]] = {metric["metric_id"]: [] for metric in project["metrics"]}
    for price in project["rate_card"]:
        prices.setdefault(price["metric_id"], []).append(price)
    first_day = {name: min((price["valid_from"] for price in priced), default="") for name, priced in prices.items()}
    superseded = {metric["supersedes_metric_id"] for metric in project["metrics"] if first_day[metric["metric_id"]] <= quarter.start.isoformat()}
    return [
        metric
        for metric in project["metrics"]
        if metric["metric_id"] not in superseded
        and _is_valid(metric, quarter)
        and (not prices[metric["metric_id"]] or any(_is_valid(price, quarter) for price in prices[metric["metric_id"]]))
    ]


def list_of(field: Field) -> str | None:
    """Return the name of the list that a column's cells are chosen from; None when they are typed."""
    if field.codelist is not None or field.name in REGISTER_LISTS:
        return field.codelist or REGISTER_LISTS[field.name]
    return field.name if "enum" in field.constraints else None


def write_template_zip(template: Template) -> bytes:
    """Return the template as a zip of CSV files: the tables with their headings, the cover filled in, the lists and the guidance."""
    files = []
    for table in template.tables:
        names = [field.name for field in table.fields]
        rows = [[template.cover.get(name, "") for name in names]] if table.name == "cover" else []
        files.append((f"{table.name}.csv", _csv([names, *rows])))
    lists = [(name, code, label) for name, codes in template.lists.items() for code, label in codes.items()]
    guidance = [
        (table.name, field.name, template.needed(field), template.kind(field), field.description)
        for table in template.tables
        for field in table.fields
    ]
    files.append(("lists.csv", _csv([("list", "code", "label"), *lists])))
    files.append(("guidance.csv", _csv([("table", "column", "needed", "kind", "what_it_is"), *guidance])))
    return zip_files(files)


def _table(schema: TableSchema, return_kind: str) -> TemplateTable:
    """Return a table as a project fills it in: one that returns numbers only has no participants, and no place to refer to one."""
    if return_kind != "counts":
        return TemplateTable(schema=schema, fields=schema.fields)
    fields = () if schema.name == "participants" else [field for field in schema.fields if field.name != "participant_ref"]
    return TemplateTable(schema=schema, fields=fields)


def _payers(fund: Record, project: Record) -> Mapping[str, str]:
    """Return the payers that the contract's prices and plans name, or all of the fund where they name none."""
    named = {row["payer_id"] for row in (*project["rate_card"], *project["plans"])} - {None}
    payers = {payer["payer_id"]: payer["name"] for payer in fund["payers"]}
    return {payer_id: name for payer_id, name in payers.items() if payer_id in named} or payers


def _is_valid(row: Record, quarter: Quarter) -> bool:
    """Say whether a row of the register is valid on a day of a quarter; where it does not say from or until when, it always was or still is."""
    first, last = row.get("valid_from"), row.get("valid_to")
    return (first is None or first <= quarter.end.isoformat()) and (last is None or last >= quarter.start.isoformat())


def _csv(rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
