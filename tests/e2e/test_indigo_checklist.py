"""A second copy of an INDIGO export that quietly says other things under the same ids: nothing of it gets in, and the checklist says which.

What one snapshot can show of what really happened between two: metric ids used again with another meaning, and plans that were renumbered. Runs on
the synthetic twin always, and on the real snapshot beside the project wherever it is (in CI it must be).
"""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import bootstrap
from pipeline.application import checklist, importing, releases
from pipeline.application.register import load_tables, project_records
from pipeline.application.services import Services, read_ledger
from pipeline.errors import NotAllowedError
from pipeline.stages.indigo import HEADINGS, convert
from tests.indigo_twin import TWIN_FUND, make_twin, write_twin

SNAPSHOT = Path(__file__).resolve().parents[3] / "shared" / "data" / "indigo-2024-04-15"
Cells = dict[str, str]


@pytest.fixture(scope="module", params=["twin", "snapshot"])
def imported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Services, Path, str]]:
    """Give an installation with an export's register and a candidate of it, audited; the export's folder, and the fund.

    Its returns are left out: they take minutes, and nothing here hangs on them.
    """
    folder, fund = SNAPSHOT, "INDIGO-FUND-0012"
    if request.param == "twin":
        folder, fund = tmp_path_factory.mktemp("twin"), TWIN_FUND
        write_twin(folder, make_twin(projects=4))
    elif not SNAPSHOT.is_dir():
        missing = "The INDIGO export of 15 April 2024 is not in ../shared/data/indigo-2024-04-15."
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(f"{missing} It is not part of the project; the synthetic twin was tried instead.")
    environment = {"OUTCOMES_HOME": str(tmp_path_factory.mktemp("home")), "OUTCOMES_ACTOR": "steward.one"}
    bootstrap.initialise(bootstrap.Settings.parse(environment))
    with bootstrap.open_services(environment) as services:
        load_again(services, folder, fund)
        made = releases.make(services, fund)
        assert made is not None
        assert made.audit_passed
        yield services, folder, fund


def load_again(services: Services, folder: Path, fund: str) -> None:
    assert load_tables(services, convert(bootstrap.read_indigo_export(folder), fund, services.definitions).register).is_loaded


def take_in(services: Services, folder: Path, fund: str) -> bool:
    return importing.import_indigo(services, bootstrap.read_indigo_export(folder), fund, in_silence).summary.is_loaded


@contextmanager
def in_silence(title: str, total: int) -> Iterator[Callable[[int], None]]:
    yield lambda done: None


def altered(folder: Path, target: Path, table: str, change: Callable[[Cells], Mapping[str, str]]) -> Path:
    """Return a copy of an export in which the rows of one table were changed; cells are named as HEADINGS names them."""
    if not target.exists():
        shutil.copytree(folder, target)
    path = target / f"{table}.csv"
    headings = HEADINGS[table]
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        columns, rows = list(reader.fieldnames or ()), list(reader)
    changes = 0
    for row in rows:
        new = change({name: row.get(heading) or "" for name, heading in headings.items()})
        changes += bool(new)
        row.update({headings[name]: cell for name, cell in new.items()})
    assert changes, f"nothing was altered in {table}"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return target


def places(services: Services, fund: str, code: str) -> list[str]:
    return [place for check in checklist.make(services, fund, "1.0.0").errors if check.code == code for place in check.places]


def a_project_with_two_plans(services: Services, fund: str) -> str:
    records = project_records(services, read_ledger(services), fund)
    return next(name for name, record in records.items() if {row["plan_version"] for row in record["plans"]} >= {1, 2})


def a_metric(services: Services, fund: str) -> tuple[str, str]:
    records = project_records(services, read_ledger(services), fund)
    return next((name, row["metric_id"]) for name, record in records.items() for row in record["metrics"])


def swapped(plan: str) -> str:
    return {"plan1": "plan2", "plan2": "plan1"}[plan.strip().lower()]


def test_a_metric_id_used_again_with_another_meaning_is_caught(imported: tuple[Services, Path, str], tmp_path: Path) -> None:
    services, folder, fund = imported
    project, metric = a_metric(services, fund)
    assert places(services, fund, "metric_reused") == []

    def reuse(row: Cells) -> Mapping[str, str]:
        is_it = (row["project_id"].strip(), f"{project}.{row['metric_id'].strip()}") == (project, metric)
        return {"definition": "Something else that is much easier"} if is_it else {}

    assert not take_in(services, altered(folder, tmp_path / "copy", "projects_outcome_metrics", reuse), fund)
    assert places(services, fund, "metric_reused") == [f"{project} {metric}"]
    refused_then_confirmed(services, folder, fund)


def test_plans_that_were_renumbered_are_caught(imported: tuple[Services, Path, str], tmp_path: Path) -> None:
    services, folder, fund = imported
    project = a_project_with_two_plans(services, fund)

    def renumber(row: Cells) -> Mapping[str, str]:
        is_ours = row["project_id"].strip() == project and row["plan_id"].strip().lower() in ("plan1", "plan2")
        return {"plan_id": swapped(row["plan_id"])} if is_ours else {}

    copy = altered(folder, tmp_path / "copy", "projects_outcome_payments", renumber)
    assert not take_in(services, altered(folder, copy, "projects_outcome_payment_plans", renumber), fund)
    assert f"{project} plan 1" in places(services, fund, "plans_renumbered")
    refused_then_confirmed(services, folder, fund)


def refused_then_confirmed(services: Services, folder: Path, fund: str) -> None:
    """Check that the release cannot be approved, until the register as it was is loaded again: then nothing has changed."""
    item = releases.load(services, fund).release("1.0.0")
    with pytest.raises(NotAllowedError, match="cannot be approved"):
        releases.approve(replace(services, actor="steward.two"), fund, "1.0.0", str(item.manifest))
    load_again(services, folder, fund)
    assert checklist.make(services, fund, "1.0.0").errors == []
