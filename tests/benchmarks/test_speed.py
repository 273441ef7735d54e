"""How long the big work takes, as ratios to what bare DuckDB takes for the same bytes in the same run. `make bench`; figures in docs/performance.md.

The short version, in `make test`, runs the same way over a hundredth of the rows: it proves that the measurement works, and holds no figure.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUNS = 3
DAGS = sorted(path.stem for path in (ROOT / "dags").glob("*.py"))


def run(task: str, *arguments: object) -> Mapping[str, Any]:
    """Run a task of `work` in a process of its own; return what it printed."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.work", task, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: Mapping[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def best(task: str, *arguments: object, runs: int = RUNS) -> Mapping[str, Any]:
    """Return the quickest of several runs: what else the machine does can only slow one down."""
    return min((run(task, *arguments) for _ in range(runs)), key=lambda found: float(found["seconds"]))


def say(what: str, ours: Mapping[str, Any], bare: Mapping[str, Any]) -> float:
    """Print one figure and return the ratio."""
    ratio = ours["seconds"] / bare["seconds"]
    print(f"\n{what}: {ours['seconds']:.2f} s, bare DuckDB {bare['seconds']:.2f} s, ratio {ratio:.1f}, peak {ours['peak_mb']:,} MB")
    for step, seconds in ours.get("steps", {}).items():
        print(f"  {step} {seconds:.2f} s")
    return float(ratio)


def measure_accept(home: Path, rows: int, runs: int = RUNS) -> float:
    """Return the ratio of accepting a return to turning its CSV files into Parquet."""
    made = run("prepare_return", home, rows)
    assert abs(made["outcomes"] - rows) < rows * 0.05
    bare = best("convert_csv", home, runs=runs)
    what = f"Accept {made['outcomes']:,} outcomes of {made['participants']:,} people (validated before in {made['validate_seconds']:.0f} s)"
    return say(what, best("accept_return", home, made["revision"], runs=runs), bare)


def measure_release(home: Path, rows: int, runs: int = RUNS) -> tuple[float, int]:
    """Return the ratio of making and publishing a release to grouping the same facts, and the most memory held, in MB."""
    made = run("prepare_facts", home, rows)
    assert abs(made["facts"] - rows) < rows * 0.1
    bare = best("group_facts", home, runs=runs)
    ours = best("release_facts", home, runs=runs)
    return say(f"Make and publish a release from {made['facts']:,} facts", ours, bare), int(ours["peak_mb"])


def seconds_beyond(code: str, baseline: str, runs: int = 5) -> float:
    """Return by how much longer a fresh interpreter takes for `code` than for `baseline`, the quickest of each."""
    timed = "import time; started = time.perf_counter(); {0}; print(time.perf_counter() - started)"

    def quickest(text: str) -> float:
        command = [sys.executable, "-W", "ignore", "-c", timed.format(text)]
        return min(float(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()[-1]) for _ in range(runs))

    return quickest(code) - quickest(baseline)


def test_the_measurements_work_on_a_hundredth_of_the_rows(tmp_path: Path) -> None:
    assert measure_accept(tmp_path / "accept", 10_000, runs=1) > 0
    ratio, peak_mb = measure_release(tmp_path / "release", 100_000, runs=1)
    assert ratio > 0
    assert peak_mb < 4096


@pytest.mark.bench
def test_a_million_outcomes_are_accepted_in_ten_times_what_duckdb_takes_for_the_csv(tmp_path: Path) -> None:
    assert measure_accept(tmp_path, 1_000_000) <= 10


@pytest.mark.bench
def test_a_release_from_ten_million_facts_takes_six_times_the_bare_group_by_and_under_four_gigabytes(tmp_path: Path) -> None:
    ratio, peak_mb = measure_release(tmp_path, 10_000_000)
    assert ratio <= 6
    assert peak_mb < 4096


@pytest.mark.bench
@pytest.mark.parametrize("dag", DAGS)
def test_reading_a_dag_file_takes_under_a_second_beyond_the_sdk(dag: str) -> None:
    sdk = "import airflow.sdk, airflow.sdk.exceptions, runpy"
    seconds = seconds_beyond(f"{sdk}; runpy.run_path('dags/{dag}.py')", sdk)
    print(f"\nRead dags/{dag}.py: {seconds:.2f} s beyond the SDK")
    assert seconds < 1


@pytest.mark.bench
def test_help_comes_in_half_a_second(tmp_path: Path) -> None:
    command = (
        "import subprocess, sys, pathlib; subprocess.run([str(pathlib.Path(sys.executable).with_name('outcomes')), '--help'], capture_output=True)"
    )
    seconds = seconds_beyond(command, "import subprocess, sys, pathlib")
    print(f"\noutcomes --help: {seconds:.2f} s")
    assert seconds < 0.5
