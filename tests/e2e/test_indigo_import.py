"""The import as its user runs it: the command, then a release whose sums by project are those that were taken; the second time nothing changes.

Runs on the synthetic twin always, and on the real snapshot beside the project wherever it is (in CI it must be).
"""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from pipeline import bootstrap
from pipeline.application import releases
from pipeline.application.candidates import make_candidate
from pipeline.stages.audit import audit
from pipeline.stages.comparison import read_published
from tests.indigo_twin import TWIN_FUND, make_twin, write_twin

SNAPSHOT = Path(__file__).resolve().parents[3] / "shared" / "data" / "indigo-2024-04-15"
THRESHOLD = 5
OUTCOMES = str(Path(sys.executable).with_name("outcomes"))


class Workspace:
    """An installation, and the command line over it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {**os.environ, "OUTCOMES_HOME": str(home), "PYTHONWARNINGS": "ignore"}

    def run(self, *arguments: object) -> Any:
        done = subprocess.run([OUTCOMES, *map(str, arguments), "--json"], env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return json.loads(done.stdout)

    def head(self) -> object:
        return self.run("events", "verify")


@pytest.fixture(scope="module", params=["twin", "snapshot"])
def export(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    if request.param == "twin":
        folder = tmp_path_factory.mktemp("twin")
        write_twin(folder, make_twin(projects=4))
        yield folder, TWIN_FUND
        return
    if not SNAPSHOT.is_dir():
        missing = "The INDIGO export of 15 April 2024 is not in ../shared/data/indigo-2024-04-15."
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(f"{missing} It is not part of the project; the synthetic twin was tried instead.")
    yield SNAPSHOT, "INDIGO-FUND-0012"


def taken(account: Path) -> Mapping[str, Decimal]:
    """Return the pounds of actual payments that were taken, by project."""
    pounds: dict[str, Decimal] = defaultdict(Decimal)
    with account.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["kind"] == "actual payments" and row["disposition"] == "taken":
                pounds[row["project_id"]] += Decimal(row["pounds"])
    return pounds


def attacked_without_protection(environment: Mapping[str, str], fund: str) -> tuple[set[str], set[str]]:
    """Build the release again with protection off; return the small counts that it then shows, and those that the audit names."""
    with bootstrap.open_services(environment) as services:
        rules = services.definitions.disclosure
        off = {name: value for name, value in rules.items() if name != "plan"} | {"threshold": {"value": 0}, "hide_zeros": {"value": False}}
        bare = replace(services, definitions=replace(services.definitions, disclosure=off))
        candidate = make_candidate(bare, fund, releases.load(services, fund).release("1.0.0").draft)
        tables = read_published(lambda path: candidate.files[path])
        report = audit(tables, rules)
        shown = services.public.get(f"datasets/{fund}/v1.0.0/outcomes_by_quarter.parquet")
    assert not report.passed
    column = pq.read_table(io.BytesIO(shown))["achieved_quantity"].to_pylist()
    assert not [count for count in column if count is not None and count < THRESHOLD]
    rows = tables["outcomes_by_quarter"].to_pylist()
    small = [row for row in rows if row["achieved_quantity"] is not None and row["achieved_quantity"] < THRESHOLD]
    return (
        {"/".join(row[key] for key in ("fund_id", "project_id", "metric_id", "quarter")) for row in small},
        {found.row for found in report.weaknesses if (found.attack, found.column) == ("small_count", "achieved_quantity")},
    )


def test_a_release_of_an_import_shows_the_sums_that_were_taken(export: tuple[Path, str], tmp_path: Path) -> None:
    folder, fund = export
    workspace, account = Workspace(tmp_path / "workspace"), tmp_path / "account.csv"
    workspace.run("init")
    done = workspace.run("import", "indigo", folder, "--fund", fund, "--report", account, "--as", "steward.one")
    assert done["is_loaded"]
    assert done["returns_rejected"] == []

    release = workspace.run("release", "make", "--as", "steward.one")
    assert release["audit_passed"]
    workspace.run("release", "approve", "1.0.0", "--manifest", release["manifest"], "--as", "steward.two")
    workspace.run("release", "publish", "1.0.0")

    table = workspace.home / "public" / "datasets" / fund / "v1.0.0" / "performance.parquet"
    rows = duckdb.sql(f"select project_id, paid_gbp from '{table}' where level = 'project' and aggregation = 'pooled'").fetchall()
    published = {project_id: pounds for project_id, pounds in rows if pounds is not None}
    sums = taken(account)
    assert sums
    assert set(sums) <= set(published)
    for project_id, pounds in published.items():
        assert abs(sums.get(project_id, Decimal(0)) - pounds) < Decimal("0.01"), project_id
    if fund == "INDIGO-FUND-0012":
        kinds = done["kinds"]["actual payments"]
        assert (done["projects"], kinds["rows_in"], kinds["pounds_in"]) == (30, 297, "94755758")
        assert sum(published.values()) == Decimal("94199228.00")

    assert workspace.run("release", "certificate", "1.0.0")["holds"]
    small, named = attacked_without_protection(workspace.environment, fund)
    assert small
    assert named >= small

    head = workspace.head()
    again = workspace.run("import", "indigo", folder, "--fund", fund, "--as", "steward.one")
    assert (again["returns_new"], again["returns_known"]) == (0, done["returns_new"])
    assert workspace.head() == head
