"""How long a return takes to be judged, beside Frictionless run plainly on the same file in the same run. `make bench`; see docs/performance.md.

The short versions, in `make test`, judge a few thousand rows the same way: they prove that the measurement works, and hold no figure.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
REVISION = "P1/2024-Q1/1"
MILLION = 1_000_000
REPORT_BYTES = 2_000_000
BAD_RULES = {"F-064": 1, "S-101": 1, "S-103": 1, "S-104": 1, "S-105": 1, "S-106": 1, "S-107": 1, "S-109": 1, "S-110": 3, "S-111": 3, "S-112": 1}
"""How many columns of the bad return break each rule in every row; the references repeat as well (S-113), all but the first."""


def run(task: str, *arguments: object) -> Mapping[str, Any]:
    """Run a task of `validation_work` in a process of its own; return what it printed."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.validation_work", task, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: Mapping[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def best(task: str, *arguments: object, runs: int) -> Mapping[str, Any]:
    """Return the quickest of several runs: what else the machine does can only slow one down."""
    return min((run(task, *arguments) for _ in range(runs)), key=lambda found: float(found["seconds"]))


def say(what: str, found: Mapping[str, Any]) -> None:
    print(f"\n{what}: {found['seconds']:.2f} s, peak {found['peak_mb']:,} MB")
    for step, seconds in found.get("steps", {}).items():
        print(f"  {step} {seconds:.2f} s")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """How many times longer Frictionless takes than the whole verb, and than its judging alone; and the most memory that the verb held."""

    verb: float
    judging: float
    peak_mb: int


def measure_good(home: Path, rows: int, kind: str, runs: int = 1) -> Measured:
    """Judge a return that is right, by the verb and by Frictionless."""
    made = run("prepare_wide", home, rows, kind)
    assert made["columns"] == 15
    ours = best("validate_wide", home, made["revision"], runs=runs)
    plain = run("run_frictionless", home, kind)
    assert ours["passed"], ours["counts"]
    assert plain["passed"]
    assert plain["rows"] > rows
    say(f"Validate {rows:,} rows of fifteen columns ({kind})", ours)
    say("  Frictionless, plainly, with keys", plain)
    if kind != "xlsx":
        expected = best("run_expectations", home, runs=runs)
        assert expected["passed"]
        say("  Great Expectations, plainly, the content rules only", expected)
    measured = Measured(verb=plain["seconds"] / ours["seconds"], judging=plain["seconds"] / ours["steps"]["judge"], peak_mb=ours["peak_mb"])
    print(f"  ratio {measured.verb:.1f}, without reading {measured.judging:.1f}")
    return measured


def measure_bad(home: Path, rows: int) -> int:
    """Judge a return that is wrong in every cell; return the most memory held, in MB. Its report must be complete in counts and bounded in size."""
    made = run("prepare_wide", home, rows, "bad")
    found = run("validate_wide", home, made["revision"])
    say(f"Validate {rows:,} rows that are all bad ({found['report_bytes']:,} bytes of report)", found)
    assert not found["passed"]
    assert found["counts"] == {**{rule: columns * rows for rule, columns in BAD_RULES.items()}, "S-113": rows - 1}
    assert found["report_bytes"] < REPORT_BYTES
    return int(found["peak_mb"])


def measure_cold(home: Path, rows: int, runs: int = 1) -> float:
    """Return in how many seconds the command judges a return in a fresh process."""
    made = run("prepare_wide", home, rows, "good")
    found = best("validate_cold", home, made["revision"], runs=runs)
    say(f"outcomes submission validate, {rows:,} rows, from a cold start", found)
    assert found["code"] == 0
    return float(found["seconds"])


@pytest.mark.parametrize("kind", ["good", "xlsx"])
def test_the_measurements_work_on_a_few_rows(tmp_path: Path, kind: str) -> None:
    measured = measure_good(tmp_path, 2_000, kind)

    assert measured.judging > measured.verb > 0
    assert measured.peak_mb < 1024


def test_a_return_that_is_all_bad_is_counted_in_full_and_reported_in_bounds(tmp_path: Path) -> None:
    assert measure_bad(tmp_path, 2_000) < 1024


def test_a_return_is_judged_by_the_command_in_a_fresh_process(tmp_path: Path) -> None:
    assert measure_cold(tmp_path, 500) > 0


@pytest.mark.bench
def test_a_million_rows_are_judged_fifteen_times_faster_than_by_frictionless_and_under_a_gigabyte(tmp_path: Path) -> None:
    """The ratio of judging alone; the reading before it has two independent readers, of which one is plain Python on purpose."""
    measured = measure_good(tmp_path, MILLION, "csv", runs=3)
    assert measured.judging >= 15
    assert measured.verb >= 7
    assert measured.peak_mb < 1024


@pytest.mark.bench
def test_a_million_bad_rows_are_counted_in_full_and_reported_in_bounds_under_a_gigabyte(tmp_path: Path) -> None:
    assert measure_bad(tmp_path, MILLION) < 1024


@pytest.mark.bench
def test_a_workbook_of_a_hundred_thousand_rows_takes_a_third_of_what_frictionless_takes(tmp_path: Path) -> None:
    assert measure_good(tmp_path, MILLION // 10, "xlsx", runs=3).verb >= 3


@pytest.mark.bench
def test_five_thousand_rows_are_judged_in_three_seconds_from_a_cold_start(tmp_path: Path) -> None:
    assert measure_cold(tmp_path, 5_000, runs=3) < 3
