"""The template as people use it: filled in, saved by LibreOffice, accepted by the real way in; and with one mistake in it, one finding."""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook, load_workbook

from pipeline import bootstrap
from pipeline.application import submissions
from pipeline.application.register import load_tables
from pipeline.application.services import Services
from pipeline.application.templates import make_template
from pipeline.domain.quarters import Quarter
from pipeline.domain.submission import SubmissionKey
from pipeline.settings import Settings
from pipeline.stages.validation import Report
from tests.factories import register_rows, register_tables

Row = dict[str, Any]
QUARTER, BEFORE = Quarter(2024, 2), Quarter(2024, 1)
KEY = SubmissionKey("P1", str(QUARTER))
Change = Callable[[Workbook], object]


def register() -> dict[str, list[Row]]:
    """Return the rows of a register: a first and a sustained outcome, once a person each, and counselling that is claimed each time."""
    rows = register_rows("P1")
    first = rows["metrics"][0]
    rows["metrics"] += [
        first | {"metric_id": "P1-M2", "name": "Keeps the home for longer", "after_metric_id": "P1-M1", "after_days": 60},
        first | {"metric_id": "P1-M3", "name": "Attends counselling", "is_once_per_person": False},
    ]
    price: Row = rows["rate_card"][0]
    rows["rate_card"] += [
        price | {"metric_id": "P1-M2", "price_gbp": Decimal(250)},
        price | {"metric_id": "P1-M3", "price_gbp": Decimal(20), "valid_from": date(2024, 5, 1), "cap_quantity": 50},
    ]
    return rows


def starts(*references: str, month: str) -> list[Row]:
    person = {"started_on": date.fromisoformat(f"{month}-10"), "age_band": "18_to_24", "gender": "female", "ethnicity": "white"}
    return [person | {"participant_ref": reference, "local_authority": "E08000003"} for reference in references]


def outcome(reference: str, person: str, metric_id: str, day: str, verified: str) -> Row:
    row: Row = {"outcome_ref": reference, "participant_ref": person, "metric_id": metric_id, "achieved_on": date.fromisoformat(day)}
    return row | {"quantity": 1, "status": "verified", "verified_on": date.fromisoformat(verified), "evidence_type": "tenancy_agreement"}


def payment(reference: str, metric_id: str, quantity: int, amount: str, month: str) -> Row:
    row: Row = {"payment_ref": reference, "payer_id": "PAYER", "metric_id": metric_id, "basis": "outcome", "quantity": quantity}
    days = {"period_start": date.fromisoformat(f"{month}-01"), "period_end": date.fromisoformat(f"{month}-30")}
    return row | days | {"amount_gbp": Decimal(amount)}


EARLIER: Mapping[str, list[Row]] = {
    "participants": starts("A-1", "A-2", month="2024-01"),
    "outcomes": [outcome("O-1", "A-1", "P1-M1", "2024-01-20", "2024-01-25"), outcome("O-2", "A-2", "P1-M1", "2024-01-22", "2024-01-25")],
    "payments": [payment("PAY-1", "P1-M1", 2, "200.00", "2024-01")],
}
GOOD: Mapping[str, list[Row]] = {
    "participants": starts("B-1", "B-2", "B-3", month="2024-04"),
    "outcomes": [
        outcome("O-3", "B-1", "P1-M1", "2024-05-20", "2024-06-01"),
        outcome("O-4", "B-2", "P1-M1", "2024-05-21", "2024-06-01"),
        outcome("O-5", "A-1", "P1-M2", "2024-04-20", "2024-05-02"),
        outcome("O-6", "B-3", "P1-M3", "2024-05-05", "2024-05-06"),
        outcome("O-7", "B-3", "P1-M3", "2024-05-12", "2024-05-13"),
    ],
    "payments": [
        payment("PAY-2", "P1-M1", 2, "200.00", "2024-06"),
        payment("PAY-3", "P1-M2", 1, "250.00", "2024-06"),
        payment("PAY-4", "P1-M3", 2, "40.00", "2024-06"),
    ],
}


def fill_in(template: bytes, tables: Mapping[str, list[Row]]) -> Workbook:
    """Fill in the cells of a template, and choose the declaration, as a person would."""
    book = load_workbook(io.BytesIO(template))
    book["cover"]["D2"] = "no"
    for name, rows in tables.items():
        columns = {cell.value: cell.column for cell in book[name][1]}
        for number, row in enumerate(rows, start=2):
            for column, value in row.items():
                book[name].cell(number, columns[column]).value = value
    return book


def put(sheet: str, **cells: Any) -> Change:
    """Return a change that puts values into cells of one sheet."""

    def change(book: Workbook) -> None:
        for cell, value in cells.items():
            book[sheet][cell] = value

    return change


def activity(reference: str, amount: str) -> Row:
    """Return the cells of a payment for activity, in the row below the payments of the good return."""
    cells: Row = {"A5": reference, "B5": "PAYER", "D5": "activity", "E5": date(2024, 6, 1), "F5": date(2024, 6, 30)}
    return cells | {"H5": Decimal(amount)}


@dataclass(frozen=True)
class Mistake:
    """One mistake and the one finding that it must give: rule and places as the person sees them."""

    rule: str
    places: str
    change: Change
    nearest: str = ""


MISTAKES = (
    Mistake("S-101", "participants F3", put("participants", F3=None)),
    Mistake("S-110", "participants F2", put("participants", F2="femal"), nearest="female"),
    Mistake("S-105", "participants B4", put("participants", B4="spring")),
    Mistake("S-103", "outcomes E2", put("outcomes", E2="one")),
    Mistake("S-104", "payments H2", put("payments", H2="about 200")),
    Mistake("S-111", "participants H4", put("participants", H4="E0800003")),
    Mistake("S-113", "outcomes A3", put("outcomes", A3="O-3")),
    Mistake("F-031", "outcomes I1", put("outcomes", I1="client", I2="x")),
    Mistake("F-032", "participants 1", lambda book: book["participants"].delete_cols(8)),
    Mistake("F-036", "", lambda book: book.create_sheet("more")),
    Mistake("F-040", "cover", lambda book: book.remove(book["cover"])),
    Mistake("D-010", "cover A2", put("cover", A2="P2")),
    Mistake("D-013", "cover D2", put("cover", D2="yes")),
    Mistake("K-301", "payments C4", put("payments", C4="P1-M33")),
    Mistake("K-302", "payments B3", put("payments", B3="PAYR")),
    Mistake("K-303", "outcomes D2", put("outcomes", D2=date(2024, 4, 2))),
    Mistake("K-304", "outcomes D5", put("outcomes", D5=date(2024, 7, 2), G5=date(2024, 7, 3))),
    Mistake("K-304", "outcomes D5", put("outcomes", D5=date(2042, 5, 5))),
    Mistake("K-306", "participants B2", put("participants", B2=date(2023, 6, 30))),
    Mistake("K-308", "outcomes B2", put("outcomes", B2="B-11")),
    Mistake("K-312", "outcomes C3", put("outcomes", B3="B-1")),
    Mistake("K-313", "outcomes C3", put("outcomes", B3="A-2")),
    Mistake("K-314", "outcomes D4", put("outcomes", D4=date(2024, 4, 20), B4="B-1")),
    Mistake("K-315", "outcomes E2", put("outcomes", E2=2)),
    Mistake("K-316", "payments H2", put("payments", H2=Decimal("200.01"))),
    Mistake("K-317", "payments C4", put("payments", E4=date(2024, 4, 1), F4=date(2024, 4, 29))),
    Mistake("K-318", "payments G4", lambda book: (put("outcomes", E6=59)(book), put("payments", G4=60, H4=Decimal(1200))(book))),
    Mistake("K-319", "payments H5", put("payments", **activity("PAY-5", "50000.00"))),
    Mistake("K-306", "outcomes D2", put("outcomes", D2=date(2004, 5, 20))),
    Mistake("C-202", "participants C2", put("participants", C2=date(2024, 4, 9))),
    Mistake("C-213", "outcomes G2", put("outcomes", G2=date(2024, 5, 19))),
    Mistake("C-221", "payments F2", put("payments", E2=date(2024, 6, 30), F2=date(2024, 6, 1))),
    Mistake("C-228", "payments H2", put("payments", H2=Decimal(-200))),
    Mistake("K-304", "participants B2", put("participants", B2=date(2024, 7, 10))),
)


@dataclass(frozen=True)
class Desk:
    """An installation with one accepted quarter, and what it said of the returns of the next.

    `good` are the reports on one return as openpyxl wrote it and as LibreOffice saved it; `reports` are on each mistake, saved by LibreOffice.
    """

    services: Services
    good: Mapping[str, Report]
    reports: Sequence[Report]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("template")
    environment = {"OUTCOMES_HOME": str(folder / "workspace"), "OUTCOMES_NOW": "2024-07-15T09:00:00+00:00"}
    bootstrap.initialise(Settings.parse(environment))
    with bootstrap.open_services(environment, "team") as services:
        assert load_tables(services, register_tables(register())).is_loaded
        first = folder / "first.xlsx"
        fill_in(make_template(services, "P1", BEFORE, "xlsx"), EARLIER).save(first)
        assert submissions.submit(services, first, SubmissionKey("P1", str(BEFORE)))[1].report.counts == {}
        template = make_template(services, "P1", QUARTER, "xlsx")
        written, saved = folder / "openpyxl", folder / "libreoffice"
        written.mkdir()
        fill_in(template, GOOD).save(written / "good.xlsx")
        for number, mistake in enumerate(MISTAKES):
            book = fill_in(template, GOOD)
            mistake.change(book)
            book.save(written / f"{number}.xlsx")
        save_again(written, saved)
        reports = [judge(services, saved / f"{number}.xlsx") for number in range(len(MISTAKES))]
        good = {way.name: submissions.submit(services, way / "good.xlsx", KEY)[1].report for way in (written, saved)}
        yield Desk(services, good, reports)


def judge(services: Services, file: Path, key: SubmissionKey = KEY) -> Report:
    """Return the report on a return that is not accepted, so that the next one is not held against it."""
    return submissions.validate(services, submissions.receive(services, file, key).key).report


def save_again(written: Path, saved: Path) -> None:
    """Open workbooks in LibreOffice and save them under another folder, all in one call: starting it is what takes time."""
    office = shutil.which("soffice") or shutil.which("soffice", path="/usr/lib/libreoffice/program")
    if office is None:
        pytest.fail("soffice was not found. The tests need LibreOffice Calc: run `make system`, or install the package libreoffice-calc.")
    profile = f"-env:UserInstallation={(written.parent / 'profile').as_uri()}"
    files = sorted(map(str, written.glob("*.xlsx")))
    done = subprocess.run(
        [office, profile, "--headless", "--norestore", "--convert-to", "xlsx:Calc MS Excel 2007 XML", "--outdir", str(saved), *files],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert len(list(saved.glob("*.xlsx"))) == len(files), done.stderr[-2000:]


@pytest.mark.parametrize("way", ["openpyxl", "libreoffice"])
def test_a_template_that_was_filled_in_is_accepted(desk: Desk, way: str) -> None:
    assert desk.good[way].findings == []
    assert {table.table: table.delivered for table in desk.good[way].tables} == {"cover": 1, "participants": 3, "outcomes": 5, "payments": 3}


def test_the_two_ways_give_two_files_and_the_same_rows(desk: Desk) -> None:
    assert desk.good["openpyxl"].content != desk.good["libreoffice"].content
    assert desk.good["openpyxl"].tables == desk.good["libreoffice"].tables


def test_there_are_at_least_thirty_mistakes() -> None:
    assert len(MISTAKES) >= 30


@pytest.mark.parametrize("number", range(len(MISTAKES)), ids=[f"{mistake.rule} {mistake.places}" for mistake in MISTAKES])
def test_each_single_mistake_gives_exactly_its_finding_at_its_place(desk: Desk, number: int) -> None:
    mistake, report = MISTAKES[number], desk.reports[number]
    assert set(report.counts) == {mistake.rule}
    places = [place for finding in report.findings for place in finding.places]
    assert ", ".join(f"{place.place or place.table} {place.cell or place.row or ''}".strip() for place in places) == mistake.places
    assert [place.nearest for place in places if place.nearest] == ([mistake.nearest] if mistake.nearest else [])


def test_a_formula_that_was_never_calculated_is_found(desk: Desk, tmp_path: Path) -> None:
    book = fill_in(make_template(desk.services, "P1", QUARTER, "xlsx"), GOOD)
    book["payments"]["H2"] = "=100*G2"
    book.save(tmp_path / "formula.xlsx")
    assert set(judge(desk.services, tmp_path / "formula.xlsx").counts) == {"F-042"}


def test_a_nil_return_is_one_choice(desk: Desk, tmp_path: Path) -> None:
    quarter = QUARTER.next()
    for choice, counts in (("yes", {}), ("no", {"D-012": 1}), (None, {"S-101": 1})):
        book = fill_in(make_template(desk.services, "P1", quarter, "xlsx"), {})
        book["cover"]["D2"] = choice
        book.save(tmp_path / f"{choice}.xlsx")
        assert judge(desk.services, tmp_path / f"{choice}.xlsx", SubmissionKey("P1", str(quarter))).counts == counts
