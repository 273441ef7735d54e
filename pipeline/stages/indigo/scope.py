"""Which rows of the export are the fund's, and the names of organisations: what every other file of this package stands on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal

from pipeline.domain.tables import Definitions, Group
from pipeline.errors import RuleError
from pipeline.stages.indigo.accounting import MONEY_KINDS, NOTHING, Judgement, Judgements, Kind
from pipeline.stages.indigo.cells import read_id, read_money, read_words
from pipeline.stages.indigo.export import ExportRow, IndigoExport

Cell = str | int | bool | Decimal | date | None
Row = dict[str, Cell]

KIND_OF_TABLE: Mapping[str, Kind] = {
    "projects": "projects",
    "projects_service_provisions": "service provisions",
    "projects_outcome_payment_commitments": "payment commitments",
    "projects_investments": "investments",
    "projects_outcome_metrics": "metrics",
    "projects_outcome_pricings": "prices",
    "projects_outcome_payment_plans": "payment plans",
    "projects_results": "results",
}
PAYMENTS = "projects_outcome_payments"
KIND_OF_TYPE: Mapping[str, Kind] = {"planned": "planned payments", "actual": "actual payments"}


def payment_kind(row: ExportRow) -> Kind:
    """Return whether a payment row is planned, actual, or says neither."""
    return KIND_OF_TYPE.get(row["type"].strip().casefold(), "payments of no known type")


def pounds_of(kind: Kind, row: ExportRow) -> Decimal:
    """Return exactly what the amount cell of a payment row says; zero when it is no number, and for rows that are no payments."""
    return (read_money(row["amount"]).amount or NOTHING) if kind in MONEY_KINDS else NOTHING


def count_rows_in(export: IndigoExport, fund_id: str) -> Mapping[Kind, Sequence[Decimal]]:
    """Return, by kind, the pounds of every row of the fund, read straight from the export: what the account must come back to."""
    memberships = [row for row in export.rows("projects_outcome_funds") if read_id(row["fund_id"]).text == fund_id]
    members = {read_id(row["project_id"]).text for row in memberships}
    counted: dict[Kind, list[Decimal]] = defaultdict(list)
    counted["funds"] = [NOTHING for row in export.rows("funds") if read_id(row["fund_id"]).text == fund_id]
    counted["memberships"] = [NOTHING] * len(memberships)
    for table in (*KIND_OF_TABLE, PAYMENTS):
        for row in export.rows(table):
            if read_id(row["project_id"]).text in members:
                kind = KIND_OF_TABLE.get(table) or payment_kind(row)
                counted[kind].append(pounds_of(kind, row))
    return counted


def open_rows(export: IndigoExport, table: str, projects: Mapping[str, bool], judgements: Judgements) -> Iterator[Judgement]:
    """Open every row of one file that belongs to the fund; yield those that can be judged further.

    Args: projects says of each of the fund's projects whether it could be registered.
    """
    for row in export.rows(table):
        project_id = read_id(row["project_id"])
        if project_id.text not in projects:
            continue
        kind = KIND_OF_TABLE.get(table) or payment_kind(row)
        judgement = judgements.open(kind, table, row, project_id.text, pounds_of(kind, row))
        if project_id.is_changed:
            judgement.find("I-507", "project_id")
        if row.cells.get("sandboxes", "").strip():
            judgement.find("I-511", "sandboxes")
        if not projects[project_id.text]:
            judgement.find("I-512", "project_id")
        if judgement.is_usable:
            yield judgement


class Organisations:
    """The organisations of the export by id; their names only."""

    def __init__(self, export: IndigoExport, judgements: Judgements) -> None:
        self._judgements = judgements
        self._rows: dict[str, ExportRow] = {}
        for row in export.rows("organisations"):
            organisation_id = read_id(row["organisation_id"]).text
            if row.is_ragged:
                judgements.find("I-505", "organisations", row=row.number)
            elif organisation_id in self._rows:
                judgements.find("I-514", "organisations", "organisation_id", row.number)
            elif read_words(row["name"]).text:
                self._rows[organisation_id] = row

    def name(self, organisation_id: str) -> str | None:
        """Return an organisation's name, or None when the export has no organisation of that id with a name."""
        row = self._rows.get(organisation_id)
        if row is None:
            return None
        name = read_words(row["name"])
        if name.is_changed:
            self._judgements.find("I-508", "organisations", "name", row.number)
        return name.text

    def names(self, organisation_ids: Sequence[str]) -> str | None:
        """Return the names of organisations, each once, separated by semicolons; None when there are none."""
        names = [self.name(organisation_id) for organisation_id in dict.fromkeys(organisation_ids)]
        return "; ".join(name for name in names if name) or None


def shape(definitions: Definitions, group: Group, table: str, values: Row) -> Row:
    """Return a row with all columns of its schema in order, those not given empty. Raises: RuleError when a column is not of the schema."""
    columns = definitions.table(group, table).columns
    unknown = sorted(set(values) - set(columns))
    if unknown:
        raise RuleError(f"The import makes columns that {group}/{table} does not have: {', '.join(unknown)}.")
    return {column: values.get(column) for column in columns}


def sort_rows(definitions: Definitions, group: Group, table: str, rows: Sequence[Row]) -> list[Row]:
    """Return rows in the order of their key; an empty part of a key comes first."""
    key = definitions.table(group, table).primary_key
    return sorted(rows, key=lambda row: tuple((row[column] is not None, str(row[column])) for column in key))
