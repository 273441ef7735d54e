"""The template of a project's return: what it holds, and how the workbook and the CSV files of it are made."""

from __future__ import annotations

import csv
import io
import zipfile
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from openpyxl import Workbook, load_workbook

from pipeline.application.templates import make_template
from pipeline.domain.quarters import Quarter
from pipeline.errors import NotFoundError, UsageError
from pipeline.stages.registration import make_records
from pipeline.stages.template import Template, metrics_in_force, plan_template, write_template_zip
from pipeline.stages.template_book import LAST_ROW, write_template_book
from tests.factories import DEFINITIONS, KEY, World, at, register_rows, register_tables, return_tables

QUARTER = Quarter(2024, 2)
Row = dict[str, Any]


def register(change: Any = lambda rows: None) -> tuple[Any, Any]:
    """Return the records of a fund and of its project P1, with a second metric and a payer that has nothing to do with it."""
    rows = register_rows("P1")
    rows["payers"].append({"payer_id": "OTHER", "name": "Another council", "kind": "local"})
    rows["metrics"].append(rows["metrics"][0] | {"metric_id": "P1-M2", "name": "Finds work"})
    change(rows)
    records, findings = make_records(register_tables(rows), DEFINITIONS)
    assert not findings
    return records.fund, records.projects["P1"]


def template(change: Any = lambda rows: None, quarter: Quarter = QUARTER) -> Template:
    fund, project = register(change)
    return plan_template(fund, project, quarter, DEFINITIONS)


def book(change: Any = lambda rows: None) -> Workbook:
    return load_workbook(io.BytesIO(write_template_book(template(change))))


def price(metric_id: str, valid_from: date, valid_to: date | None = None) -> Row:
    row: Row = {"project_id": "P1", "metric_id": metric_id, "payer_id": "PAYER", "price_gbp": Decimal(50)}
    return row | {"valid_from": valid_from, "valid_to": valid_to}


def names(change: Any) -> list[str]:
    return [metric["metric_id"] for metric in metrics_in_force(register(change)[1], QUARTER)]


def test_a_metric_without_a_price_is_in_force() -> None:
    assert names(lambda rows: None) == ["P1-M1", "P1-M2"]


@pytest.mark.parametrize(
    ("valid_from", "valid_to", "is_in_force"),
    [
        (date(2024, 6, 30), None, True),
        (date(2024, 7, 1), None, False),
        (date(2023, 7, 1), date(2024, 4, 1), True),
        (date(2023, 7, 1), date(2024, 3, 31), False),
    ],
)
def test_a_metric_with_prices_is_in_force_while_one_of_them_is_valid(valid_from: date, valid_to: date | None, is_in_force: bool) -> None:
    found = names(lambda rows: rows["rate_card"].append(price("P1-M2", valid_from, valid_to)))
    assert ("P1-M2" in found) is is_in_force


@pytest.mark.parametrize(
    ("days", "is_in_force"),
    [
        ({"valid_from": "2024-07-01"}, False),
        ({"valid_from": "2024-06-30", "valid_to": None}, True),
        ({"valid_to": "2024-03-31"}, False),
        ({"valid_to": "2024-04-01"}, True),
    ],
)
def test_a_metric_that_says_from_and_until_when_it_stands_is_in_force_in_between(days: Row, is_in_force: bool) -> None:
    project = register()[1]
    dated = {**project, "metrics": [project["metrics"][0] | days]}
    assert bool(metrics_in_force(dated, QUARTER)) is is_in_force


@pytest.mark.parametrize(("first_day", "old_is_in_force"), [(date(2024, 4, 1), False), (date(2024, 4, 2), True)])
def test_a_metric_that_another_superseded_before_the_quarter_is_not_in_force(first_day: date, old_is_in_force: bool) -> None:
    def supersede(rows: dict[str, list[Row]]) -> None:
        rows["metrics"][1]["supersedes_metric_id"] = "P1-M1"
        rows["rate_card"].append(price("P1-M2", first_day))

    assert ("P1-M1" in names(supersede)) is old_is_in_force


def test_the_lists_are_the_projects_own_metrics_and_payers_and_the_code_lists() -> None:
    found = template()
    assert found.lists["metrics"] == {"P1-M1": "Keeps the home", "P1-M2": "Finds work"}
    assert found.lists["payers"] == {"PAYER": "A council"}
    assert found.lists["is_nil_return"] == {"yes": "yes", "no": "no"}
    assert found.lists["age_band"] == DEFINITIONS.codelists["age_band"]
    assert "template_version" not in found.lists


def test_a_project_without_prices_and_plans_may_name_any_payer_of_the_fund() -> None:
    assert set(template(lambda rows: rows.update(rate_card=[], plans=[])).lists["payers"]) == {"OTHER", "PAYER"}


def test_the_day_by_which_it_is_expected_is_the_funds() -> None:
    assert template().due_on == date(2024, 7, 30)


def test_a_project_that_returns_counts_has_no_place_for_people() -> None:
    found = template(lambda rows: rows["projects"][0].update(return_kind="counts"))
    assert [table.name for table in found.tables] == ["cover", "outcomes", "payments"]
    assert all(field.name != "participant_ref" for table in found.tables for field in table.fields)


@pytest.mark.parametrize("quarter", [Quarter(2023, 2), Quarter(2025, 3)])
def test_there_is_no_template_for_a_quarter_outside_the_contract(quarter: Quarter) -> None:
    with pytest.raises(UsageError, match="runs from 2023-07-01 to 2025-06-30"):
        template(quarter=quarter)


def test_claims_may_be_returned_after_the_service_has_ended() -> None:
    assert template(lambda rows: rows["projects"][0].update(claims_until=date(2025, 9, 30)), Quarter(2025, 3)).quarter == Quarter(2025, 3)


def test_the_workbook_has_the_headings_that_every_return_has() -> None:
    found = book()
    assert found.sheetnames == ["guidance", "cover", "participants", "outcomes", "payments", "lists"]
    for name in ("cover", "participants", "outcomes", "payments"):
        assert tuple(cell.value for cell in found[name][1]) == DEFINITIONS.table("submission", name).columns
        assert found[name].freeze_panes in {"A2", "B2"}


def test_the_cover_says_whose_it_is_and_leaves_the_declaration_to_the_project() -> None:
    sheet = book()["cover"]
    cells = {heading.value: cell for heading, cell in zip(sheet[1], sheet[2], strict=True)}
    known = {name: cell.value for name, cell in cells.items() if cell.value is not None}
    assert known == {"project_id": "P1", "quarter": "2024-Q2", "template_version": "1"}
    assert {name for name, cell in cells.items() if cell.protection.locked} == set(known)
    choice = next(rule for rule in sheet.data_validations.dataValidation if str(rule.sqref) == "D2")
    assert "declares that this return is complete" in choice.prompt


def test_codes_are_chosen_from_the_sheet_of_lists() -> None:
    found = book()
    lists = [tuple(cell.value for cell in row) for row in found["lists"].iter_rows(min_row=2)]
    for name, column, expected in (
        ("outcomes", "C", ["P1-M1", "P1-M2"]),
        ("payments", "B", ["PAYER"]),
        ("payments", "C", ["P1-M1", "P1-M2"]),
        ("participants", "F", list(DEFINITIONS.codelists["gender"])),
        ("cover", "D", ["yes", "no"]),
    ):
        rule = next(rule for rule in found[name].data_validations.dataValidation if str(rule.sqref).startswith(f"{column}2"))
        first, last = (int(part.rpartition("$")[2]) for part in rule.formula1.removeprefix("lists!").split(":"))
        assert rule.type == "list"
        assert [code for _, code, _ in lists[first - 2 : last - 1]] == expected
    assert ("metrics", "P1-M1", "Keeps the home") in lists


def test_a_list_without_codes_is_no_list_to_choose_from() -> None:
    def strip(rows: dict[str, list[Row]]) -> None:
        rows.update(metrics=[], rate_card=[], plans=[])

    rule = next(rule for rule in book(strip)["outcomes"].data_validations.dataValidation if str(rule.sqref).startswith("C2"))
    assert rule.type == "textLength"


def test_every_column_says_what_belongs_in_it_as_short_as_excel_demands() -> None:
    found = book()
    for name in ("cover", "participants", "outcomes", "payments"):
        rules = found[name].data_validations.dataValidation
        assert len(rules) == len(DEFINITIONS.table("submission", name).fields)
        for rule in rules:
            assert rule.showInputMessage
            assert 0 < len(rule.prompt) <= 255
            assert 0 < len(rule.promptTitle) <= 32
            assert len(rule.error) <= 255


def test_days_lie_between_the_start_of_the_contract_and_the_end_of_the_quarter() -> None:
    rule = next(rule for rule in book()["outcomes"].data_validations.dataValidation if str(rule.sqref) == f"D2:D{LAST_ROW}")
    assert (rule.type, rule.formula1, rule.formula2) == ("date", "DATE(2023,7,1)", "DATE(2024,6,30)")


def test_columns_have_the_format_of_what_they_hold_and_references_stay_text() -> None:
    sheet = book()["payments"]
    formats = {sheet[f"{letter}1"].value: sheet.column_dimensions[letter].number_format for letter in "ABEGH"}
    assert formats == {"payment_ref": "@", "payer_id": "@", "period_start": "yyyy-mm-dd", "quantity": "0", "amount_gbp": "#,##0.00"}


def test_headings_are_locked_without_a_password_and_the_cells_below_are_not() -> None:
    found = book()
    assert found.security.lockStructure
    for sheet in found.worksheets:
        assert sheet.protection.sheet
        assert sheet.protection.password is None
    sheet = found["outcomes"]
    assert all(cell.protection.locked for cell in sheet[1])
    assert not any(sheet.column_dimensions[cell.column_letter].protection.locked for cell in sheet[1])


def test_a_workbook_has_neither_macros_nor_comments_and_the_same_bytes_every_time() -> None:
    content = write_template_book(template())
    assert content == write_template_book(template())
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert not [name for name in archive.namelist() if "vba" in name.casefold() or "comment" in name.casefold()]


def test_a_name_of_the_register_that_looks_like_a_formula_is_no_formula() -> None:
    found = book(lambda rows: rows["metrics"][0].update(name="=1+1", definition='=HYPERLINK("x")'))
    assert not [cell.coordinate for sheet in found.worksheets for row in sheet.iter_rows() for cell in row if cell.data_type == "f"]


def test_the_csv_form_has_the_same_headings_and_cover_and_the_lists() -> None:
    content = write_template_zip(template())
    assert content == write_template_zip(template())
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: list(csv.reader(io.StringIO(archive.read(name).decode()))) for name in archive.namelist()}
    assert list(files) == ["cover.csv", "participants.csv", "outcomes.csv", "payments.csv", "lists.csv", "guidance.csv"]
    headings, cells = files["cover.csv"]
    assert headings == list(DEFINITIONS.table("submission", "cover").columns)
    assert [cell for cell in cells if cell] == ["P1", "2024-Q2", "1"]
    assert files["payments.csv"] == [list(DEFINITIONS.table("submission", "payments").columns)]
    assert ["metrics", "P1-M1", "Keeps the home"] in files["lists.csv"]
    assert ["cover", "project_id", "filled in", "text", "Project that returns."] in files["guidance.csv"]


@pytest.mark.parametrize("form", ["xlsx", "csv"])
def test_a_template_is_made_from_the_register_in_the_log(form: Any) -> None:
    world = at("returned in")
    before = world.names
    made = make_template(world.services(), "P1", QUARTER, form)
    assert zipfile.is_zipfile(io.BytesIO(made))
    assert world.names == before
    assert return_tables(KEY)["cover"][0]["template_version"] == template().cover["template_version"]


def test_there_is_no_template_for_a_project_that_is_not_registered() -> None:
    with pytest.raises(NotFoundError, match="register show"):
        make_template(World().services(), "P9", QUARTER, "xlsx")
