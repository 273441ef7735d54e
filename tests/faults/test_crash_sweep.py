"""Kill -9 before and after every durable act of the whole way: running again always ends in the same releases.

`make test` runs a spread of kills; `make faults` runs every one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.definitions import find_definitions, load_definitions
from pipeline.domain.quarters import Quarter
from pipeline.samples import write_sample

RUNNER = Path(__file__).with_name("crash_runner.py")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crash") / "sample"
    write_sample(
        folder,
        definitions=load_definitions(find_definitions()),
        projects=2,
        quarters=2,
        participants=200,
        seed=1,
        first_quarter=Quarter.parse("2023-Q3"),
    )
    return folder


def sweep(folder: Path, sample: Path, cases: Sequence[str]) -> Sequence[Mapping[str, Any]]:
    """Run cases in as many processes as there are cores; return what each case ended in."""
    folder.mkdir(exist_ok=True)
    workers = min(os.cpu_count() or 1, len(cases))
    with ThreadPoolExecutor(workers) as pool:
        return [result for part in pool.map(lambda worker: _run(folder, sample, cases[worker::workers]), range(workers)) for result in part]


def _run(folder: Path, sample: Path, cases: Sequence[str]) -> Sequence[Mapping[str, Any]]:
    command = [sys.executable, "-W", "ignore", str(RUNNER), str(folder), str(sample), *cases]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def check(folder: Path, sample: Path, *, step: int, only: str = "") -> int:
    """Sweep every `step`-th act, or only the appends, on both sides; return how many kills there were."""
    clean = sweep(folder, sample, ["clean"])[0]
    assert clean["chain"] == "None"
    assert len(clean["manifests"]) == 2, "the way should publish a first release and one after the corrections"
    acts = range(1, clean["appends" if only else "acts"] + 1, step)
    assert len(acts) > 3, "there must be acts to kill at"
    results = sweep(folder, sample, [f"{side}:{only}{act}" for act in acts for side in ("before", "after")])
    for result in results:
        assert result["was_killed"], result["case"]
        for what in ("manifests", "events", "head", "chain", "public"):
            assert result[what] == clean[what], f"{result['case']}: {what}"
    return len(results)


def test_killed_at_a_spread_of_acts_the_way_ends_in_the_same_releases(tmp_path: Path, sample: Path) -> None:
    assert check(tmp_path, sample, step=37) >= 8


@pytest.mark.faults
def test_killed_at_the_end_of_every_step_the_way_ends_in_the_same_releases(tmp_path: Path, sample: Path) -> None:
    assert check(tmp_path, sample, step=1, only="append:") >= 50


@pytest.mark.faults
def test_killed_at_every_act_the_way_ends_in_the_same_releases(tmp_path: Path, sample: Path) -> None:
    assert check(tmp_path, sample, step=1) >= 100
