"""The register's files are read strictly, judged by Frictionless, and typed; every rule about files fires."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from pipeline.adapters.definitions import find_definitions, load_definitions
from pipeline.adapters.register_files import read_register
from pipeline.errors import RuleError
from pipeline.stages.registration import make_records

DEFINITIONS = load_definitions(find_definitions())
PLANS = "project_id,plan_version,plan_kind,agreed_on,scenario,quarter,measure,metric_id,payer_id,expected_quantity,expected_gbp"
FILES: Mapping[str, str] = {
    "funds": "fund_id,name,publisher,return_due_days,licence\nF,A fund,A publisher,30,OGL-UK-3.0\n",
    "payers": "payer_id,name,kind\nTOP-UP,The fund,fund\nCOUNCIL,Council A,local\n",
    "projects": (
        "project_id,fund_id,name,policy_sector,stage,service_providers,commissioners,investors,starts_on,ends_on,claims_until,contract_cap_gbp,return_kind\n"
        'P1,F,Project 1,health,,"Provider A; Provider B",,,2023-04-01,2024-03-31,,100000,participants\n'
    ),
    "metrics": (
        "metric_id,project_id,name,definition,unit,is_once_per_person,after_metric_id,after_days,supersedes_metric_id\n"
        'M1,P1,Start,"Starts, and stays a day.",individual,true,,,\n'
    ),
    "rate_card": "project_id,metric_id,payer_id,price_gbp,cap_quantity,valid_from,valid_to\nP1,M1,COUNCIL,750.5,90,2023-04-01,\n",
    "plans": f"{PLANS}\nP1,1,final_award_offer,2023-01-09,high,2023-Q2,service_users,,,20,\n",
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write the register's files, some of them otherwise; None leaves a file out."""

    def write_files(**others: str | bytes | None) -> Path:
        for name, text in {**FILES, **others}.items():
            if text is not None:
                (tmp_path / f"{name}.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
        return tmp_path

    return write_files


def places(folder: Path) -> list[tuple[str, str, int, str]]:
    findings = read_register(folder, DEFINITIONS)[1]
    for finding in findings:
        assert "{" not in DEFINITIONS.rule(finding.rule).message.format(**dict(finding.values))
    return [(finding.rule, finding.table, finding.row, finding.column) for finding in findings]


def test_files_become_typed_tables_with_the_rows_as_a_person_sees_them(write: Callable[..., Path]) -> None:
    tables, findings = read_register(write(), DEFINITIONS)
    assert findings == []
    assert tables["projects"].to_pylist() == [
        {
            "row": 2,
            "project_id": "P1",
            "fund_id": "F",
            "name": "Project 1",
            "policy_sector": "health",
            "stage": None,
            "service_providers": "Provider A; Provider B",
            "commissioners": None,
            "investors": None,
            "starts_on": date(2023, 4, 1),
            "ends_on": date(2024, 3, 31),
            "claims_until": None,
            "contract_cap_gbp": Decimal("100000.00"),
            "return_kind": "participants",
        }
    ]
    assert tables["rate_card"]["price_gbp"].to_pylist() == [Decimal("750.50")]
    assert tables["metrics"]["is_once_per_person"].to_pylist() == [True]


def test_what_was_read_makes_records(write: Callable[..., Path]) -> None:
    tables, _ = read_register(write(), DEFINITIONS)
    records, findings = make_records(tables, DEFINITIONS)
    assert findings == []
    assert list(records.projects) == ["P1"]


def test_investments_may_be_missing(write: Callable[..., Path]) -> None:
    tables, _ = read_register(write(), DEFINITIONS)
    assert tables["investments"].num_rows == 0
    assert tables["investments"].column_names == ["row", *DEFINITIONS.table("register", "investments").columns]


def test_columns_may_stand_in_any_order_and_blank_rows_are_passed_over(write: Callable[..., Path]) -> None:
    folder = write(payers="\ufeffkind,payer_id,name\r\n\r\nfund,TOP-UP,The fund\r\n,,\r\nlocal,COUNCIL,Council A\r\n")
    tables, findings = read_register(folder, DEFINITIONS)
    assert findings == []
    assert tables["payers"].to_pylist() == [
        {"row": 3, "payer_id": "TOP-UP", "name": "The fund", "kind": "fund"},
        {"row": 5, "payer_id": "COUNCIL", "name": "Council A", "kind": "local"},
    ]


def test_a_missing_file_is_found_and_so_is_a_missing_folder(write: Callable[..., Path], tmp_path: Path) -> None:
    assert places(write(plans=None)) == [("R-401", "plans", 0, "")]
    assert {rule for rule, *_ in places(tmp_path / "nowhere")} == {"R-401"}


@pytest.mark.parametrize(
    ("table", "text", "expected"),
    [
        ("payers", b"payer_id,name,kind\nA,Caf\xe9,fund\n", ("R-402", "payers", 0, "")),
        ("payers", 'payer_id,name,kind\nA,"The fund,fund\nB,Council,local\n', ("R-402", "payers", 0, "")),
        ("payers", "payer_id,name\nA,The fund\n", ("R-403", "payers", 1, "kind")),
        ("payers", "payer_id,name,kind,email\nA,The fund,fund,a@b\n", ("R-404", "payers", 1, "")),
        ("payers", "payer_id,name,kind,name\nA,The fund,fund,The fund\n", ("R-404", "payers", 1, "")),
        ("payers", "payer_id,name,kind\nA,The fund\n", ("R-405", "payers", 2, "")),
        ("payers", "payer_id,name,kind\nA,The fund,fund,more\n", ("R-405", "payers", 2, "")),
        ("funds", FILES["funds"].replace("30", "thirty"), ("R-406", "funds", 2, "return_due_days")),
        ("funds", FILES["funds"].replace("30", "3_0"), ("R-406", "funds", 2, "return_due_days")),
        ("funds", FILES["funds"].replace("30", "\uff13\uff10"), ("R-406", "funds", 2, "return_due_days")),
        ("funds", FILES["funds"].replace("30", "0"), ("R-409", "funds", 2, "return_due_days")),
        ("funds", FILES["funds"].replace("30", "181"), ("R-409", "funds", 2, "return_due_days")),
        ("rate_card", FILES["rate_card"].replace("750.5", "NaN"), ("R-406", "rate_card", 2, "price_gbp")),
        ("rate_card", FILES["rate_card"].replace("750.5", "7.5e2"), ("R-406", "rate_card", 2, "price_gbp")),
        ("rate_card", FILES["rate_card"].replace("750.5", "750.505"), ("R-406", "rate_card", 2, "price_gbp")),
        ("rate_card", FILES["rate_card"].replace("750.5", '"1,750"'), ("R-406", "rate_card", 2, "price_gbp")),
        ("rate_card", FILES["rate_card"].replace("750.5", ""), ("R-407", "rate_card", 2, "price_gbp")),
        ("rate_card", FILES["rate_card"].replace("2023-04-01", "2023-02-31"), ("R-406", "rate_card", 2, "valid_from")),
        ("rate_card", FILES["rate_card"].replace("2023-04-01", "01/04/2023"), ("R-406", "rate_card", 2, "valid_from")),
        ("metrics", FILES["metrics"].replace("true", "yes"), ("R-406", "metrics", 2, "is_once_per_person")),
        ("metrics", FILES["metrics"].replace("individual", "person"), ("R-408", "metrics", 2, "unit")),
        ("metrics", FILES["metrics"].replace("M1,", "M 1,"), ("R-409", "metrics", 2, "metric_id")),
        ("plans", FILES["plans"].replace("2023-Q2", "2023-Q5"), ("R-409", "plans", 2, "quarter")),
    ],
)
def test_a_fault_is_found_where_it_stands_and_its_table_is_not_returned(
    write: Callable[..., Path], table: str, text: str | bytes, expected: tuple[str, str, int, str]
) -> None:
    folder = write(**{table: text})
    assert places(folder) == [expected]
    tables, _ = read_register(folder, DEFINITIONS)
    assert table not in tables
    assert len(tables) == 6


def test_an_empty_file_lacks_all_its_columns(write: Callable[..., Path]) -> None:
    assert [rule for rule, *_ in places(write(payers=""))] == ["R-403", "R-403", "R-403"]


def test_all_faults_of_a_file_are_found_at_once(write: Callable[..., Path]) -> None:
    text = "payer_id,name,kind\n,The fund,fund\nB,,council\nC\nD,Council D,local\n"
    assert places(write(payers=text)) == [
        ("R-405", "payers", 4, ""),
        ("R-407", "payers", 2, "payer_id"),
        ("R-407", "payers", 3, "name"),
        ("R-408", "payers", 3, "kind"),
    ]


def test_other_files_are_noted_and_do_not_block(write: Callable[..., Path]) -> None:
    folder = write(notes="anything\n")
    tables, _ = read_register(folder, DEFINITIONS)
    assert places(folder) == [("R-410", "", 0, "")]
    assert len(tables) == 7


def test_no_finding_says_what_a_cell_said(write: Callable[..., Path]) -> None:
    secret = "Zebra-Quince-77"
    broken = {name: text.replace("P1", f"{secret}!").replace("30,", f"{secret},").replace("local", secret) for name, text in FILES.items()}
    findings = read_register(write(**broken), DEFINITIONS)[1]
    assert len(findings) >= 5
    assert secret not in repr(findings)


@pytest.mark.parametrize("constraints", [{"minimum": "many", "pattern": 5}, {"unique": True}])
def test_a_schema_of_ours_that_cannot_be_judged_by_is_a_fault_of_ours(write: Callable[..., Path], constraints: Mapping[str, object]) -> None:
    payers = DEFINITIONS.table("register", "payers")
    fields = [payers.fields[0], replace(payers.fields[1], constraints=constraints), payers.fields[2]]
    register = {**DEFINITIONS.tables["register"], "payers": replace(payers, fields=fields)}
    folder = write(payers="payer_id,name,kind\nA,Council,local\nB,Council,local\n")
    with pytest.raises(RuleError):
        read_register(folder, replace(DEFINITIONS, tables={**DEFINITIONS.tables, "register": register}))
