"""The whole way by the command line, on the embedded parts and on real servers: SQLite and folders, PostgreSQL and the S3 API."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.definitions import find_definitions, load_definitions
from pipeline.domain.quarters import Quarter
from pipeline.samples import write_sample

OUTCOMES = str(Path(sys.executable).with_name("outcomes"))
PROJECT, QUARTER = "SYN-P01", "2023-Q4"


class Installation:
    """The command line over one choice of parts."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self.environment = {**os.environ, "PYTHONWARNINGS": "ignore", **settings}

    def run(self, *arguments: object) -> Any:
        done = subprocess.run([OUTCOMES, *map(str, arguments), "--json"], env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return json.loads(done.stdout)


@pytest.fixture(params=["embedded", "servers"])
def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Installation:
    settings = {"OUTCOMES_HOME": str(tmp_path / "workspace")}
    if request.param == "servers":
        store = request.getfixturevalue("s3_url")
        settings |= {
            "OUTCOMES_LOG_URL": request.getfixturevalue("postgres_url"),
            "OUTCOMES_RESTRICTED_URL": store.replace("/store?", "/restricted?"),
            "OUTCOMES_PUBLIC_URL": store.replace("/store?", "/public?"),
        }
    return Installation(settings)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts") / "sample"
    first = Quarter.parse("2023-Q3")
    definitions = load_definitions(find_definitions())
    write_sample(folder, definitions=definitions, projects=2, quarters=2, participants=200, seed=5, first_quarter=first)
    return folder


def test_two_deliveries_at_once_are_both_kept_and_one_is_in_force_in_what_is_published(installation: Installation, sample: Path) -> None:
    installation.run("init")
    installation.run("register", "load", sample / "register", "--as", "steward.one")
    installation.run("submission", "submit", *sorted((sample / "deliveries").rglob("*2023-Q3.*")))
    rivals = [path for part in ("deliveries", "corrections") for path in (sample / part / PROJECT / QUARTER).iterdir()]
    assert len(rivals) == 2

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda path: installation.run("submission", "submit", path, "--project", PROJECT, "--quarter", QUARTER), rivals))

    returns = [row for row in installation.run("submission", "list") if row["key"].startswith(f"{PROJECT}/{QUARTER}/")]
    assert [row["state"] for row in returns] == ["accepted", "accepted"]
    assert [row["is_in_force"] for row in returns] == [False, True]

    release = installation.run("release", "make", "--as", "steward.one")
    installation.run("release", "approve", "1.0.0", "--manifest", release["manifest"], "--as", "steward.two")
    installation.run("release", "publish", "1.0.0")
    verified = installation.run("verify")
    assert verified["chain"] is None
    assert [(version, found["problems"]) for version, found in verified["versions"]] == [("1.0.0", [])]
    assert verified["rebuilt"]["differing"] == []
