"""A published folder is opened with what the public has: frictionless, DuckDB, pandas, sha256sum, a spreadsheet program."""

import csv
import io
import json
import shutil
import subprocess
import sys
from datetime import date, timedelta
from decimal import Decimal

import duckdb
import openpyxl
import pandas as pd
import pytest

from pipeline.adapters.definitions import find_definitions, load_definitions
from pipeline.stages.frames import from_rows
from pipeline.stages.publication import ReleaseAbout, render
from pipeline.stages.verification import verify_folder
from tests.factories import published_objects
from tests.unit.test_history import told

DEFINITIONS = load_definitions(find_definitions())
TABLES = sorted(DEFINITIONS.tables["published"])
ROWS = 120
ABOUT = ReleaseAbout(
    fund_id="SAMPLE-FUND",
    fund_name="Sample fund",
    publisher="Sample department",
    licence="OGL-UK-3.0",
    version="1.0.0",
    base_version=None,
    as_of=date(2024, 6, 30),
    drafted_on=date(2024, 7, 15),
    log_position=1,
    chain_head="a" * 64,
    ledger="b" * 64,
    rules=DEFINITIONS.digests["rules"],
    schemas=DEFINITIONS.digests["schemas"],
    disclosure=DEFINITIONS.digests["disclosure"],
    code="0.1.0",
    threshold=5,
)


def cell(column, number, key):
    """Make up a cell; every third one that may be empty is, and texts are as awkward as names are."""
    if column.name == "quarter":
        return f"20{10 + number // 4}-Q{number % 4 + 1}"
    if "enum" in column.constraints:
        return column.constraints["enum"][number % len(column.constraints["enum"])]
    if column.name not in key and not column.is_required and number % 3 == 2:
        return None
    made = {
        "string": f'00{number:03}, "{column.name}"\nZoë',
        "integer": number,
        "number": Decimal(number * 37 - 500).scaleb(-(column.decimals or 2)),
        "boolean": number % 2 == 0,
        "date": date(2024, 1, 1) + timedelta(days=number),
    }
    return made[column.type]


def made_up(schema):
    rows = [{column.name: cell(column, number, schema.primary_key) for column in schema.fields} for number in range(ROWS)]
    for row in rows:
        for name in [name for name in row if f"{name}_status" in row]:
            row[f"{name}_status"] = "published" if row[name] is not None else "c"
    return from_rows(schema, rows)


@pytest.fixture(scope="module")
def tables():
    return {name: made_up(DEFINITIONS.table("published", name)) for name in TABLES}


@pytest.fixture(scope="module")
def folder(tables, tmp_path_factory):
    folder = tmp_path_factory.mktemp("release")
    for path, content in render(tables, DEFINITIONS, ABOUT, None).items():
        (folder / path).write_bytes(content)
    return folder


def frictionless(folder):
    command = [sys.executable, "-m", "frictionless", "validate", "datapackage.json", "--json"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return run.returncode, json.loads(run.stdout)


def test_frictionless_finds_the_data_package_valid_and_looks_at_every_file(folder):
    code, report = frictionless(folder)
    assert [error for task in report["tasks"] for error in task["errors"]] == []
    assert (code, report["valid"]) == (0, True)
    assert len(report["tasks"]) == 2 * len(TABLES) + 1


@pytest.mark.parametrize("version", ["1.0.0", "1.1.0"])
def test_frictionless_finds_a_version_with_its_changes_valid(tmp_path, version):
    for path, content in published_objects(told(), version).items():
        (tmp_path / path).write_bytes(content)
    code, report = frictionless(tmp_path)
    assert (code, report["valid"], len(report["tasks"])) == (0, True, 2 * (len(TABLES) + 1) + 1)
    assert "changes.csv" in [task["place"] for task in report["tasks"]]


@pytest.mark.parametrize("path", ["projects.csv", "projects.parquet"])
def test_frictionless_finds_an_altered_file(folder, tmp_path, path):
    shutil.copytree(folder, tmp_path / "copy")
    content = bytearray((tmp_path / "copy" / path).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "copy" / path).write_bytes(bytes(content))
    code, report = frictionless(tmp_path / "copy")
    assert code != 0
    assert [task["place"] for task in report["tasks"] if not task["valid"]] == [path]


def test_sha256sum_checks_the_manifest(folder):
    run = subprocess.run(["sha256sum", "--strict", "-c", "MANIFEST"], cwd=folder, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout
    assert len(run.stdout.splitlines()) == 3 * len(TABLES) + 7


def test_frictionless_is_told_the_delimiter_and_does_not_guess_it_from_names(tables, tmp_path):
    names = "One;'Two';'Three';'Four';'Five'"
    schema = DEFINITIONS.table("published", "projects")
    rows = [{column.name: names if column.type == "string" else None for column in schema.fields} | {"project_id": f"P{n}"} for n in range(40)]
    for path, content in render(tables | {"projects": from_rows(schema, rows)}, DEFINITIONS, ABOUT, None).items():
        (tmp_path / path).write_bytes(content)
    assert frictionless(tmp_path)[0] == 0


def test_our_own_verification_passes(folder):
    result = verify_folder(lambda: [path.name for path in folder.iterdir()], lambda path: (folder / path).read_bytes())
    assert result.problems == ()


@pytest.mark.parametrize("name", TABLES)
def test_duckdb_reads_csv_and_parquet_with_the_same_rows_and_sums(folder, tables, name):
    schema = DEFINITIONS.table("published", name)
    figures = [column.name for column in schema.fields if column.type in ("integer", "number")] or ["1"]
    sums = ", ".join(f"sum({column})::decimal(30, 4)" for column in figures)
    with duckdb.connect() as connection:
        found = [connection.execute(f"select count(*), {sums} from '{folder / name}.{kind}'").fetchone() for kind in ("csv", "parquet")]
    assert found[0] == found[1]
    assert found[0][0] == tables[name].num_rows
    for column, total in zip(figures, found[0][1:], strict=True):
        assert total == (sum(value for value in tables[name][column].to_pylist() if value is not None) if column != "1" else ROWS)


@pytest.mark.parametrize("name", TABLES)
def test_pandas_reads_csv_and_parquet_with_the_same_rows_and_sums(folder, tables, name):
    schema = DEFINITIONS.table("published", name)
    from_csv = pd.read_csv(folder / f"{name}.csv", dtype={column.name: "string" for column in schema.fields if column.type == "string"})
    from_parquet = pd.read_parquet(folder / f"{name}.parquet")
    assert list(from_csv.columns) == list(from_parquet.columns) == list(schema.columns)
    assert len(from_csv) == len(from_parquet) == tables[name].num_rows
    for column in schema.fields:
        assert from_csv[column.name].isna().tolist() == from_parquet[column.name].isna().tolist()
        if column.type in ("integer", "number"):
            assert float(from_csv[column.name].sum()) == pytest.approx(float(from_parquet[column.name].dropna().sum()))
        if column.type == "string":
            assert from_csv[column.name].dropna().tolist() == from_parquet[column.name].dropna().tolist()


def test_the_standard_csv_reader_sees_the_codes_of_every_list(folder):
    rows = list(csv.DictReader(io.StringIO((folder / "codelists.csv").read_text("utf-8"))))
    assert {row["list"] for row in rows} == set(DEFINITIONS.codelists)
    assert len(rows) == sum(len(codes) for codes in DEFINITIONS.codelists.values())


if shutil.which("soffice"):

    def test_a_spreadsheet_program_opens_a_csv_file(folder, tmp_path):
        profile = f"-env:UserInstallation={(tmp_path / 'profile').as_uri()}"
        command = ["soffice", profile, "--headless", "--infilter=CSV:44,34,76,1", "--convert-to", "xlsx", "--outdir", str(tmp_path)]
        subprocess.run([*command, str(folder / "projects.csv")], check=True, capture_output=True, timeout=120)
        sheet = openpyxl.load_workbook(tmp_path / "projects.xlsx", read_only=False).active
        assert sheet.max_row == ROWS + 1
