"""What is measured of validation, each task in a process of its own, like those of `work`: our whole verb, Frictionless and Great Expectations.

The return has one table of fifteen columns: the schema of outcomes with seven columns more, in a copy of the definitions that belongs to the
benchmark. All imports are done before the clock starts, on every side; what they cost is in the figure for the cold start.

python -m tests.benchmarks.validation_work TASK ARGUMENT...
"""

from __future__ import annotations

import csv
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import time
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from pipeline import bootstrap
from pipeline.adapters.definitions import find_definitions, load_definitions
from pipeline.adapters.expectation_checks import import_expectations
from pipeline.application import register, submissions
from pipeline.application.services import unseal
from pipeline.domain.submission import RevisionKey, SubmissionKey
from pipeline.ports import ReadReturn, ReturnReader, idle
from pipeline.samples.register import write_register
from pipeline.settings import Settings
from tests.factories import DEFINITIONS, register_rows
from tests.factories import return_tables as small_return

KEY = SubmissionKey("P1", "2024-Q1")
ROWS_PER_PERSON = 20
REFERENCE = "[A-Za-z0-9][A-Za-z0-9/._-]{0,39}"
MORE_COLUMNS: tuple[Mapping[str, Any], ...] = (
    {"name": "evidence_ref", "type": "string", "constraints": {"required": True, "pattern": REFERENCE}},
    {"name": "evidence_on", "type": "date", "constraints": {"required": True}},
    {"name": "hours_count", "type": "integer", "unit": "hours", "constraints": {"required": True, "minimum": 0, "maximum": 10000}},
    {"name": "claimed_gbp", "type": "number", "unit": "GBP", "decimals": 2, "constraints": {"required": True, "minimum": 0, "maximum": 999999}},
    {"name": "site_code", "type": "string", "constraints": {"required": True, "pattern": "[EWSN][0-9]{8}"}},
    {"name": "gender", "type": "string", "codelist": "gender", "constraints": {"required": True}},
    {"name": "comment", "type": "string", "constraints": {"maxLength": 16}},
)


def prepare_wide(home: str, rows: str, kind: str) -> Mapping[str, Any]:
    """Make a return of so many rows, all right or all `bad`, as CSV or as `xlsx`, and take it in."""
    folder = Path(home)
    definitions = _definitions(folder)
    bootstrap.initialise(Settings.parse(_environment(folder)))
    given = register_rows("P1")
    given["metrics"] = [{**metric, "is_once_per_person": False} for metric in given["metrics"]]
    write_register(folder / "register", given, load_definitions(definitions))
    tables = _tables(int(rows), is_bad=kind == "bad")
    for name, table in tables.items():
        pyarrow.csv.write_csv(table, folder / f"{name}.csv", pyarrow.csv.WriteOptions(quoting_style="needed"))
    delivery = _write_workbook(folder, tables) if kind == "xlsx" else _write_archive(folder, tables)
    with bootstrap.open_services(_environment(folder), "bench") as services:
        if not register.load_register(services, folder / "register").is_loaded:
            raise SystemExit("The register of the benchmark does not load.")
        received = submissions.receive(services, delivery, KEY)
    return {"revision": str(received.key), "columns": tables["outcomes"].num_columns}


def validate_wide(home: str, revision: str) -> Mapping[str, Any]:
    """Judge the return with the verb, from reading the sealed bytes to the sealed report."""
    from frictionless import resources  # noqa: F401

    import_expectations()
    with bootstrap.open_services(_environment(Path(home)), "bench") as opened:
        reader = TimedReader(opened.reader)
        services = replace(opened, reader=reader)
        key = RevisionKey.parse(revision)
        started = time.perf_counter()
        report = submissions.validate(services, key).report
        seconds = time.perf_counter() - started
        size = len(report.to_bytes())
        sealed = submissions.load(services, key.submission).revision(key.revision).report
        if sealed is None or len(unseal(services.restricted, sealed)) != size:
            raise SystemExit("The report of the benchmark was not sealed.")
    steps = {"read": reader.seconds, "judge": seconds - reader.seconds}
    return {"seconds": seconds, "steps": steps, "passed": report.passed, "counts": dict(report.counts), "report_bytes": size}


@dataclass
class TimedReader:
    """A `ReturnReader` that notes how long reading took."""

    reader: ReturnReader
    seconds: float = 0

    def read(self, delivery: Path, meanwhile: Callable[[], object] = idle) -> ReadReturn:
        started = time.perf_counter()
        found = self.reader.read(delivery, meanwhile)
        self.seconds += time.perf_counter() - started
        return found


def run_frictionless(home: str, kind: str) -> Mapping[str, Any]:
    """Let Frictionless judge the same file by the same schemas, with keys."""
    from frictionless import Package, Resource, Schema
    from frictionless.formats import ExcelControl

    folder = Path(home)
    os.chdir(folder)
    definitions = load_definitions(_definitions(folder))

    def resource(name: str) -> Resource:
        schema = Schema.from_descriptor(_plain_schema(folder, name, definitions.codelists))
        if kind == "xlsx":
            return Resource(name=name, path="return.xlsx", format="xlsx", control=ExcelControl(sheet=name), schema=schema)
        return Resource(name=name, path=f"{name}.csv", format="csv", schema=schema)

    package = Package(resources=[resource("participants"), resource("outcomes")])
    started = time.perf_counter()
    report = package.validate(limit_errors=100_000)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "passed": report.valid, "rows": sum(task.stats.get("rows", 0) for task in report.tasks)}


def run_expectations(home: str) -> Mapping[str, Any]:
    """Let Great Expectations judge the same file by the same suite, read by pandas."""
    import great_expectations as gx
    import pandas as pd

    warnings.simplefilter("ignore")
    folder = Path(home)
    suite = load_definitions(_definitions(folder)).suites["submission_outcomes"]
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    started = time.perf_counter()
    frame = pd.read_csv(folder / "outcomes.csv", parse_dates=["achieved_on", "verified_on", "evidence_on"])
    batch = context.data_sources.add_pandas("plain").add_dataframe_asset("plain").add_batch_definition_whole_dataframe("plain")
    expectations = [dict(entry) for entry in suite["expectations"]]
    result = batch.get_batch({"dataframe": frame}).validate(gx.ExpectationSuite(name="plain", expectations=expectations))
    return {"seconds": time.perf_counter() - started, "passed": bool(result.success)}


def validate_cold(home: str, revision: str) -> Mapping[str, Any]:
    """Judge a return by the command, in a fresh process."""
    command = [sys.executable, "-W", "ignore", "-m", "pipeline.cli", "submission", "validate", revision]
    started = time.perf_counter()
    done = subprocess.run(command, env=dict(_environment(Path(home))), capture_output=True, text=True, check=False)
    return {"seconds": time.perf_counter() - started, "code": done.returncode}


def _definitions(folder: Path) -> Path:
    """Return a copy of the definitions in which outcomes have fifteen columns."""
    copy = folder / "definitions"
    if not copy.is_dir():
        for name in ("schemas", "expectations"):
            shutil.copytree(find_definitions() / name, copy / name)
        path = copy / "schemas" / "submission" / "outcomes.json"
        schema = json.loads(path.read_text("utf-8"))
        schema["fields"] += [{"title": column["name"], "description": column["name"], **column} for column in MORE_COLUMNS]
        path.write_text(json.dumps(schema), "utf-8")
    return copy


def _plain_schema(folder: Path, name: str, codelists: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Return a schema as Frictionless takes it: code lists as enumerations, and the keys."""
    document = json.loads((folder / "definitions" / "schemas" / "submission" / f"{name}.json").read_text("utf-8"))
    fields = []
    for column in document["fields"]:
        limits = dict(column.get("constraints", {}))
        if "codelist" in column:
            limits["enum"] = list(codelists[column["codelist"]])
        fields.append({"name": column["name"], "type": column["type"], "constraints": limits})
    plain = {"fields": fields, "primaryKey": document["primaryKey"]}
    if name == "outcomes":
        reference = {"resource": "participants", "fields": ["participant_ref"]}
        plain["foreignKeys"] = [{"fields": ["participant_ref"], "reference": reference}]
    return plain


def _tables(rows: int, *, is_bad: bool) -> Mapping[str, pa.Table]:
    people = max(rows // ROWS_PER_PERSON, 1)
    small = small_return(KEY, people=1, outcomes=1)
    person = {name: np.repeat(small["participants"][0].get(name, ""), people) for name in DEFINITIONS.table("submission", "participants").columns}
    person["participant_ref"] = np.array([f"P1/{number:08d}" for number in range(people)])
    return {
        "cover": pa.table({name: [text] for name, text in small["cover"][0].items()}),
        "participants": pa.table(person),
        "outcomes": pa.table(_bad_outcomes(rows) if is_bad else _outcomes(rows, people)),
    }


def _outcomes(rows: int, people: int) -> dict[str, Any]:
    draw = np.random.default_rng(1)
    days = np.array([str(date(2024, 1, 15) + timedelta(days=number)) for number in range(140)])
    achieved = draw.integers(0, 70, rows)
    status = draw.choice(["claimed", "verified", "rejected"], rows, p=[0.2, 0.7, 0.1])
    decided = np.where(status == "claimed", "", days[achieved + draw.integers(0, 60, rows)])
    return {
        "outcome_ref": np.array([f"2024-Q1/{number:08d}" for number in range(rows)]),
        "participant_ref": np.array([f"P1/{number:08d}" for number in draw.integers(0, people, rows)]),
        "metric_id": np.repeat("P1-M1", rows),
        "achieved_on": days[achieved],
        "quantity": np.repeat("1", rows),
        "status": status,
        "verified_on": decided,
        "evidence_type": np.repeat("tenancy_agreement", rows),
        "evidence_ref": np.array([f"EV-{number:09d}" for number in draw.integers(0, 10**9, rows)]),
        "evidence_on": days[draw.integers(0, 140, rows)],
        "hours_count": draw.integers(0, 2000, rows).astype(str),
        "claimed_gbp": np.array([f"{pence / 100:.2f}" for pence in draw.integers(0, 10**7, rows)]),
        "site_code": np.array([f"E{number:08d}" for number in draw.integers(6_000_000, 6_000_400, rows)]),
        "gender": draw.choice(["female", "male", "another", "not_known"], rows),
        "comment": np.where(draw.random(rows) < 0.1, "Seen at a visit", "Nothing to add"),
    }


LONG = "more than fits "  # and a blank at its end
"""With a number before it longer than a comment may be, and no longer: a million rows must stay under the size that a delivery may have."""


def _bad_outcomes(rows: int) -> dict[str, Any]:
    """Return rows that are wrong in every column, each cell of most columns in its own way."""
    numbers = range(rows)
    return {
        "outcome_ref": np.repeat("again", rows),
        "participant_ref": np.array([f"no name {number}" for number in numbers]),
        "metric_id": np.repeat("", rows),
        "achieved_on": np.array([f"{number % 28 + 1:02d}/13/{number}" for number in numbers]),
        "quantity": np.array([f"{number}_000" for number in numbers]),
        "status": np.array([f"maybe {number}" for number in numbers]),
        "verified_on": np.repeat("2024-02-31", rows),
        "evidence_type": np.array([f"letter {number}" for number in numbers]),
        "evidence_ref": np.array([f"see letter {number}" for number in numbers]),
        "evidence_on": np.repeat("0024-01-31", rows),
        "hours_count": np.array([str(10_001 + number) for number in numbers]),
        "claimed_gbp": np.array([f"{number}e309" for number in numbers]),
        "site_code": np.array([f"X{number}" for number in numbers]),
        "gender": np.array([f"F{number}" for number in numbers]),
        "comment": np.array([f"{number}: {LONG}" for number in numbers]),
    }


def _write_archive(folder: Path, tables: Mapping[str, pa.Table]) -> Path:
    path = folder / "return.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name in tables:
            archive.write(folder / f"{name}.csv", f"{name}.csv")
    return path


def _write_workbook(folder: Path, tables: Mapping[str, pa.Table]) -> Path:
    from openpyxl import Workbook

    workbook = Workbook(write_only=True)
    for name in tables:
        sheet = workbook.create_sheet(name)
        for row in csv.reader(io.StringIO((folder / f"{name}.csv").read_text("utf-8"))):
            sheet.append([cell or None for cell in row])
    path = folder / "return.xlsx"
    workbook.save(path)
    return path


def _environment(folder: Path) -> Mapping[str, str]:
    return {
        **os.environ,
        "OUTCOMES_HOME": str(folder / "workspace"),
        "OUTCOMES_NOW": "2024-06-30T12:00:00+00:00",
        "OUTCOMES_DEFINITIONS": str(folder / "definitions"),
    }


TASKS = {task.__name__: task for task in (prepare_wide, validate_wide, run_frictionless, run_expectations, validate_cold)}

if __name__ == "__main__":
    found = TASKS[sys.argv[1]](*sys.argv[2:])
    print(json.dumps({**found, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}))
