"""What is read of an INDIGO export: its files, the headings of the columns that are used, and its rows as text.

Columns are known by their headings; a leaf heading ends in `- (Value)`. Names, e-mail addresses and addresses of persons stand in columns that are
not listed here, so they are never read. Source: INDIGO data standard 4.1, export "all data per data type" as CSV.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

VALUE = " - (Value)"

HEADINGS: Mapping[str, Mapping[str, str]] = {
    "funds": {
        "fund_id": "ID",
        "name": "Fund - Name",
        "host": "Fund - Host institution of Outcome Fund",
    },
    "organisations": {
        "organisation_id": "ID",
        "name": "Name",
    },
    "projects": {
        "project_id": "ID",
        "name": f"Impact Bond Name{VALUE}",
        "stage": f"Stage of Development{VALUE}",
        "policy_sector": f"Purpose and classifications - Policy sector{VALUE}",
        "contract_signed": f"Dates - Date outcomes contract signed{VALUE}",
        "completion_anticipated": f"Dates - Anticipated completion date{VALUE}",
        "completion_actual": f"Dates - Actual completion date{VALUE}",
        "service_start": f"Dates - Start date of service provision{VALUE}",
        "service_end_anticipated": f"Dates - Anticipated end date of service provision{VALUE}",
        "service_end_actual": f"Dates - Actual end date of service provision{VALUE}",
        "cap_currency": f"Overall project finance - Maximum potential outcome payment - Currency{VALUE}",
        "cap": f"Overall project finance - Maximum potential outcome payment - Amount{VALUE}",
        "invested_currency": f"Overall project finance - Total investment commitment - Currency{VALUE}",
        "invested_min": f"Overall project finance - Total investment commitment - Amount - Min{VALUE}",
        "invested_exact": f"Overall project finance - Total investment commitment - Amount - Exact{VALUE}",
    },
    "projects_outcome_funds": {
        "project_id": "Project ID",
        "fund_id": "Id",
    },
    "projects_service_provisions": {
        "project_id": "Project ID",
        "organisation_id": f"Organisation ID{VALUE}",
    },
    "projects_outcome_payment_commitments": {
        "project_id": "Project ID",
        "organisation_id": f"Organisation ID{VALUE}",
    },
    "projects_investments": {
        "project_id": "Project ID",
        "investment_id": "Id",
        "organisation_id": f"Organisation ID{VALUE}",
        "currency": f"Investment Commitment - Currency{VALUE}",
        "min": f"Investment Commitment - Amount - Min{VALUE}",
        "exact": f"Investment Commitment - Amount - Exact{VALUE}",
    },
    "projects_outcome_metrics": {
        "project_id": "Project ID",
        "metric_id": "Id",
        "definition": f"Outcome Definition{VALUE}",
        "targeted_number": f"Targeted number of service users Or beneficiaries (total){VALUE}",
        "unit_type": f"Unit type of targeted Service users or beneficiaries{VALUE}",
        "unit_description": f"Unit description of Service user or beneficiaries{VALUE}",
        "target": f"Outcome metric target{VALUE}",
    },
    "projects_outcome_pricings": {
        "project_id": "Project ID",
        "metric_id": f"Outcome Metric Id{VALUE}",
        "currency": f"Currency{VALUE}",
        "price": f"Price Per Unit - Amount{VALUE}",
    },
    "projects_outcome_payment_plans": {
        "project_id": "Project ID",
        "plan_id": f"Outcome Payment Plan Id{VALUE}",
        "start": f"Period - Start{VALUE}",
        "sandboxes": "(In Sandboxes)",
    },
    "projects_outcome_payments": {
        "project_id": "Project ID",
        "plan_id": f"Outcome Payment Plan Id{VALUE}",
        "metric_id": f"Outcome Metric Id{VALUE}",
        "start": f"Period - Start{VALUE}",
        "end": f"Period - End{VALUE}",
        "payer": f"Payer Organisation ID{VALUE}",
        "type": f"Type{VALUE}",
        "currency": f"Payments - Currency{VALUE}",
        "amount": f"Payments - Amount{VALUE}",
        "sandboxes": "(In Sandboxes)",
        "notes": "Notes",
    },
    "projects_results": {
        "project_id": "Project ID",
        "metric_id": f"Outcome Metric Id{VALUE}",
        "start": f"Period - Start{VALUE}",
        "end": f"Period - End{VALUE}",
        "achieved": f"Outcomes achieved{VALUE}",
        "description": f"Other Description of result{VALUE}",
        "sandboxes": "(In Sandboxes)",
    },
}
"""For each file (its name without .csv): our name of a column, and its heading."""

OPTIONAL: frozenset[str] = frozenset({"sandboxes", "notes"})
"""Columns without which a file can still be used; their cells are then empty."""


@dataclass(frozen=True)
class ExportRow:
    """One record of one file. `number` is the row that a spreadsheet shows (the heading is row 1); cells are text, empty when there is none."""

    number: int
    cells: Mapping[str, str]
    is_ragged: bool = False

    def __getitem__(self, column: str) -> str:
        """Return the cell under one of our column names, as it stands in the file."""
        return self.cells[column]


@dataclass(frozen=True, order=True)
class FileFault:
    """What is wrong with a whole file: a rule, the file's name without .csv, and the heading if it is about one column."""

    rule: str
    table: str
    heading: str = ""


@dataclass(frozen=True, kw_only=True)
class IndigoExport:
    """The rows of an export by file, in the order of the files, and what was wrong with the files themselves."""

    tables: Mapping[str, Sequence[ExportRow]]
    faults: Sequence[FileFault] = ()

    def rows(self, table: str) -> Sequence[ExportRow]:
        """Return the rows of one file; none when the file could not be read (a fault then says so)."""
        return self.tables.get(table, ())
