"""How the files and cells of an INDIGO export are read: headings, rows, dates, money, ids."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from pipeline.adapters.definitions import load_definitions
from pipeline.adapters.indigo_export import read_export
from pipeline.errors import UsageError
from pipeline.stages.indigo import HEADINGS, FileFault, convert
from pipeline.stages.indigo.cells import read_count, read_day, read_ids, read_money, read_plan

DEFINITIONS = load_definitions(Path(__file__).resolve().parents[2])
FUND, PROJECT, HOST, COUNCIL = "INDIGO-FUND-9001", "INDIGO-POJ-9001", "INDIGO-ORG-9001", "INDIGO-ORG-9002"
ROWS: Mapping[str, Mapping[str, str]] = {
    "funds": {"fund_id": FUND, "name": "Second Chances Fund", "host": HOST},
    "organisations": {"organisation_id": HOST, "name": "Ministry of Outcomes"},
    "projects": {"project_id": PROJECT, "name": "Homes First", "service_start": "2023-01", "service_end_actual": "2023-12"},
    "projects_outcome_funds": {"project_id": PROJECT, "fund_id": FUND},
    "projects_outcome_payments": {
        "project_id": PROJECT,
        "start": "2023-04",
        "end": "2023-06",
        "payer": HOST,
        "type": "Actual",
        "currency": "GBP",
        "amount": "1200",
    },
}


@pytest.mark.parametrize(
    ("cell", "is_end", "expected"),
    [
        ("2023", False, date(2023, 1, 1)),
        ("2023", True, date(2023, 12, 31)),
        ("2024-02", True, date(2024, 2, 29)),
        (" 2023-04-05 ", True, date(2023, 4, 5)),
        ("2023-02-30", False, None),
        ("2023-13", False, None),
        ("2023-00", False, None),
        ("0203-01", False, None),
        ("1989-12", False, None),
        ("current", True, None),
        ("", False, None),
    ],
)
def test_dates_of_three_precisions_are_read_and_nothing_else(cell: str, is_end: bool, expected: date | None) -> None:
    found = read_day(cell, is_end=is_end)

    assert (found.day if found else None) == expected


@pytest.mark.parametrize(
    ("cell", "amount", "fault", "precision"),
    [
        ("1200", Decimal(1200), None, "pence"),
        (" 71000.25000000001", Decimal("71000.25000000001"), None, "noise"),
        ("150021.3071982411", Decimal("150021.3071982411"), None, "finer"),
        ("=A7", None, "formula", "pence"),
        ("", None, "empty", "pence"),
        ("£5", None, "not_a_number", "pence"),
        ("NaN", None, "not_a_number", "pence"),
        ("1e400", None, "not_a_number", "pence"),
        ("٣", None, "not_a_number", "pence"),
    ],
)
def test_money_is_read_exactly_or_not_at_all(cell: str, amount: Decimal | None, fault: str | None, precision: str) -> None:
    money = read_money(cell)

    assert (money.amount, money.fault, money.precision) == (amount, fault, precision)


def test_counts_plans_and_lists_of_ids_are_read_in_the_forms_that_occur() -> None:
    assert [read_count(cell) for cell in ("12", "12.0", "0", "-1", "1.5", "twelve", "")] == [12, 12, 0, None, None, None, None]
    assert [read_plan(cell) for cell in ("plan2", " Plan1", "plan0", "final")] == [(2, False), (1, True), (None, False), (None, False)]
    assert read_ids("INDIGO-ORG-2,INDIGO-ORG-1; indigo-org-1, ") == ("INDIGO-ORG-1", "INDIGO-ORG-2")


def write_folder(folder: Path) -> None:
    for name, headings in HEADINGS.items():
        lines = [list(headings.values())]
        if name in ROWS:
            lines.append([ROWS[name].get(column, "") for column in headings])
        (folder / f"{name}.csv").write_text("".join(",".join(f'"{cell}"' for cell in line) + "\n" for line in lines), "utf-8")


def test_an_export_is_read_from_its_folder_and_imported(tmp_path: Path) -> None:
    write_folder(tmp_path)

    result = convert(read_export(tmp_path), FUND, DEFINITIONS, publisher="Ministry of Figures", licence="OGL-UK-3.0")

    assert result.accounting.kinds["actual payments"].pounds_taken == Decimal(1200)
    assert (result.register["funds"][0]["publisher"], result.register["funds"][0]["licence"]) == ("Ministry of Figures", "OGL-UK-3.0")


def test_files_are_read_by_their_headings_with_rows_as_a_spreadsheet_shows_them(tmp_path: Path) -> None:
    write_folder(tmp_path)
    text = 'Trading name,NAME ,ID\nx,"Ministry of\nOutcomes",INDIGO-ORG-9001\n\ny,Anytown Council,INDIGO-ORG-9002,extra\n,,\n'
    (tmp_path / "organisations.csv").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())

    rows = read_export(tmp_path).rows("organisations")

    assert [(row.number, row["organisation_id"], row.is_ragged) for row in rows] == [(2, HOST, False), (4, COUNCIL, True), (5, "", False)]
    assert set(rows[0].cells) == {"organisation_id", "name"}


def test_a_file_that_is_missing_broken_or_lacks_a_column_stops_the_import_and_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path)
    (tmp_path / "funds.csv").unlink()
    (tmp_path / "projects.csv").write_bytes(b"ID\n\xff\n")
    (tmp_path / "projects_results.csv").write_text('"Project ID\n', "utf-8")
    (tmp_path / "organisations.csv").write_text("ID,Name,Name\n", "utf-8")
    (tmp_path / "projects_outcome_funds.csv").write_text("", "utf-8")

    export = read_export(tmp_path)
    result = convert(export, FUND, DEFINITIONS)

    assert set(export.faults) == {
        FileFault("I-501", "funds"),
        FileFault("I-503", "projects"),
        FileFault("I-503", "projects_results"),
        FileFault("I-502", "organisations", "Name"),
        FileFault("I-502", "projects_outcome_funds", "Project ID"),
        FileFault("I-502", "projects_outcome_funds", "Id"),
    }
    assert export.rows("funds") == ()
    assert [(finding.rule, finding.table, finding.column) for finding in result.findings] == sorted(
        (fault.rule, fault.table, fault.heading) for fault in export.faults
    )
    assert (result.register, result.returns, result.accounting.outcomes) == ({}, {}, ())


def test_an_export_without_the_columns_that_may_be_missing_is_read(tmp_path: Path) -> None:
    write_folder(tmp_path)
    whole = read_export(tmp_path)
    for name in ("projects_results", "projects_outcome_payment_plans", "projects_outcome_payments"):
        path = tmp_path / f"{name}.csv"
        path.write_text(path.read_text("utf-8").replace("(In Sandboxes)", "Other").replace('"Notes"', '"More"'), "utf-8")

    assert read_export(tmp_path) == whole


def test_a_folder_that_is_not_there_is_a_wrong_call(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a folder"):
        read_export(tmp_path / "nowhere")
