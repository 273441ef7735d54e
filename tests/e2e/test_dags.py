"""The DAGs: what they are as text, and the whole way through a real Airflow (scheduler, DAG processor and API server on SQLite)."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.airflow_local import LocalAirflow
from pipeline import bootstrap, queries, worker
from pipeline.adapters.definitions import find_definitions, load_definitions
from pipeline.application import releases
from pipeline.application.register import load_register
from pipeline.domain.quarters import Quarter
from pipeline.samples import write_sample
from pipeline.settings import Settings
from pipeline.stages.return_files import write_zip
from tests.corpus.making import CANARY, spellings

ROOT = Path(__file__).resolve().parents[2]
DAGS = ROOT / "dags"
DAG_IDS = ["build_release", "ingest_submissions", "publish_releases", "verify_releases"]
XCOM_VALUE = re.compile(r"[A-Za-z0-9:/_.-]{1,200}")
FUND = "SYN-LCF"


def test_there_are_four_dag_files_each_under_sixty_lines() -> None:
    files = sorted(path.stem for path in DAGS.glob("*.py"))
    assert files == DAG_IDS
    for path in DAGS.glob("*.py"):
        assert len(path.read_text("utf-8").splitlines()) < 60, path.name


HEAVY = {"boto3", "duckdb", "eventsourcing", "frictionless", "great_expectations", "ibis", "numpy", "openpyxl", "pandas", "psycopg", "pyarrow"}
LIST_IMPORTS = """
import runpy, sys
import airflow.sdk, airflow.sdk.exceptions
before = set(sys.modules)
runpy.run_path(sys.argv[1])
print(*sorted({name.split(".")[0] for name in set(sys.modules) - before}))
"""


@pytest.mark.parametrize("name", DAG_IDS)
def test_reading_a_dag_file_imports_nothing_heavy(name: str) -> None:
    done = subprocess.run([sys.executable, "-c", LIST_IMPORTS, str(DAGS / f"{name}.py")], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    imported = set(done.stdout.splitlines()[-1].split())
    assert "pipeline" in imported
    assert not imported & HEAVY


@pytest.fixture(scope="module")
def way(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalAirflow, dict[str, str], Path]]:
    """A workspace with a small fund, and Airflow over it."""
    folder = tmp_path_factory.mktemp("airflow")
    sample = folder / "sample"
    write_sample(
        sample,
        definitions=load_definitions(find_definitions()),
        projects=2,
        quarters=1,
        participants=60,
        seed=3,
        first_quarter=Quarter.parse("2023-Q3"),
    )
    environment = {**os.environ, "OUTCOMES_HOME": str(folder / "workspace")}
    settings = Settings.parse(environment)
    bootstrap.initialise(settings)
    with bootstrap.open_services(environment, "steward.one") as services:
        assert load_register(services, sample / "register").is_loaded
    for part in ("deliveries", "broken"):
        shutil.copytree(sample / part, settings.inbox, dirs_exist_ok=True)
    _plant(settings.inbox)
    with LocalAirflow(folder / "airflow", environment) as airflow:
        for dag in airflow.dags():
            airflow.unpause(dag)
        yield airflow, environment, folder


def _plant(inbox: Path) -> None:
    """Drop two returns whose cells say what must not be repeated: one that does not pass, one that is set apart."""
    project, quarter = "SYN-P01", "2023-Q3"
    person = {"participant_ref": f"{CANARY}-1", "started_on": CANARY, "cohort": CANARY}
    outcome = {"outcome_ref": f"{CANARY}-O1", "participant_ref": f"{CANARY}-1", "metric_id": CANARY, "achieved_on": CANARY, "status": CANARY}
    payment = {"payment_ref": f"{CANARY}-P1", "payer_id": CANARY, "basis": CANARY, "amount_gbp": CANARY}
    tables = {"participants": [person], "outcomes": [outcome], "payments": [payment]}
    letter = {**tables, "participants": [person | {"cohort": f"{CANARY}@example.org"}]}
    definitions = load_definitions(find_definitions())
    for name, cells in (("mistaken", tables), ("personal", letter)):
        path = inbox / project / quarter / f"{project}_{quarter}_{name}.zip"
        path.write_bytes(write_zip(cells, project, quarter, definitions))


def test_the_whole_way_runs_on_a_real_airflow(way: tuple[LocalAirflow, dict[str, str], Path]) -> None:
    airflow, environment, folder = way
    assert sorted(airflow.dags()) == DAG_IDS

    airflow.trigger("ingest_submissions")
    airflow.wait("ingest_submissions", at_least=1)
    with bootstrap.open_services(environment) as services:
        states = [row.state for row in queries.revisions(services.log)]
    assert sorted(set(states)) == ["accepted", "rejected"]
    assert worker.list_deliveries(environment) == []

    candidate = _wait_for_candidate(airflow, environment)
    with bootstrap.open_services(environment, "steward.two") as services:
        releases.approve(services, FUND, candidate, str(queries.releases(services.log, FUND).release(candidate).manifest))
    airflow.trigger("publish_releases")
    airflow.wait("publish_releases", at_least=2)
    airflow.trigger("verify_releases")
    airflow.wait("verify_releases", at_least=1)

    public = folder / "workspace" / "public" / "datasets" / FUND / f"v{candidate}"
    assert (public / "MANIFEST").is_file()
    check = subprocess.run(["sha256sum", "--check", "--quiet", "MANIFEST"], cwd=public, capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stdout + check.stderr
    _check_labels(airflow)
    _check_asset_events(folder)
    _check_xcoms(folder)
    _check_nothing_is_repeated(folder)


def _wait_for_candidate(airflow: LocalAirflow, environment: dict[str, str]) -> str:
    """The asset that ingest_submissions updates sets build_release off by itself."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        with bootstrap.open_services(environment) as services:
            found = queries.releases(services.log, FUND).open
        if found is not None and found.state == "audited":
            airflow.wait("build_release", at_least=1)
            assert found.audit_passed
            return found.version
        time.sleep(1)
    raise AssertionError("no candidate came out of build_release")


def _check_labels(airflow: LocalAirflow) -> None:
    runs = airflow.runs("ingest_submissions")
    labels = {
        str(task["rendered_map_index"])
        for run in runs
        for task in airflow.tasks("ingest_submissions", str(run["dag_run_id"]))
        if str(task["task_id"]).endswith("validate_submission") and task["state"] == "success"
    }
    assert labels
    for label in labels:
        assert re.fullmatch(r"[A-Za-z0-9._-]+/[0-9]{4}-Q[1-4]/[0-9]+", label), "a mapped task should be named by its return"


def _rows(folder: Path, query: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(f"file:{folder / 'airflow' / 'airflow.db'}?mode=ro", uri=True) as database:
        found = database.execute(query).fetchall()
    database.close()
    return found


def _check_asset_events(folder: Path) -> None:
    events = _rows(folder, "select asset.name from asset_event join asset on asset.id = asset_event.asset_id")
    assert {name for (name,) in events} == {"accepted_submissions", "published_releases"}


def _check_xcoms(folder: Path) -> None:
    values = _rows(folder, "select key, value from xcom where key = 'return_value'")
    assert values, "there must be XCom values to look at"
    for _, value in values:
        for text in re.findall(r'"((?:[^"\\]|\\.)*)"', str(value)):
            assert XCOM_VALUE.fullmatch(text), "XCom carries ids and hashes only"


def _check_nothing_is_repeated(folder: Path) -> None:
    """Look for the planted text in everything that Airflow wrote, database and logs, and in the log of events."""
    paths = [path for path in (folder / "airflow").rglob("*") if path.is_file()] + sorted((folder / "workspace").glob("log.sqlite*"))
    assert len([path for path in paths if path.suffix == ".log"]) > 10
    for path in paths:
        content = path.read_bytes()
        for spelling in spellings(CANARY):
            assert spelling not in content, path.relative_to(folder)


def test_a_task_that_runs_again_appends_nothing(way: tuple[LocalAirflow, dict[str, str], Path]) -> None:
    airflow, environment, _ = way
    with bootstrap.open_services(environment) as services:
        before = services.log.head()
    for dag in ("ingest_submissions", "publish_releases", "build_release"):
        runs = len(airflow.runs(dag))
        airflow.trigger(dag)
        airflow.wait(dag, at_least=runs + 1)
    with bootstrap.open_services(environment) as services:
        assert services.log.head() == before
