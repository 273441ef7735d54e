"""How long looking back takes: the changes between two versions, and a table as of a day. `make bench`; figures in docs/performance.md.

The short version, in `make test`, runs the same way over a hundredth of the cells: it proves that the measurement works, and holds no figure.
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
VERSIONS = 20
DAY = "2023-06-30"


def run(task: str, *arguments: object) -> Mapping[str, Any]:
    """Run a task of `history_work` in a process of its own; return what it printed."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.history_work", task, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: Mapping[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(folder: Path, cells: int, versions: int, runs: int = 3) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Print what was measured; return the changes between the two newest versions, and the table as of a day."""
    made = run("prepare", folder, cells, versions)
    assert abs(made["figures"] - cells) < cells * 0.2
    two = (f"1.{versions - 2}.0", f"1.{versions - 1}.0")

    def best(task: str, *arguments: object) -> Mapping[str, Any]:
        return min((run(task, folder, *arguments) for _ in range(runs)), key=lambda found: float(found["seconds"]))

    ours, plain, known = best("find_changes", *two), best("join_with_pandas", *two), best("read_as_of", DAY)
    triangles = run("write_triangles", folder)
    print(f"\n{made['figures']:,} published figures over {versions} versions, {made['newest']:,} of them in the newest")
    for what, found in (("Changes", ours), ("Outer join in pandas", plain), ("As of a day", known), ("Triangles, written", triangles)):
        print(f"  {what}: {found['seconds']:.2f} s, {found['cells']:,} cells, peak {found['peak_mb']:,} MB")
    assert ours["cells"] == made["changed"] > 0
    return ours, known


def test_the_measurements_of_looking_back_work_on_a_hundredth_of_the_cells(tmp_path: Path) -> None:
    ours, known = measure(tmp_path, 50_000, 5, runs=1)
    assert ours["seconds"] > 0
    assert known["version"] == "1.4.0"


@pytest.mark.bench
def test_changes_between_two_of_twenty_versions_take_under_five_seconds_and_a_table_as_of_a_day_under_one(tmp_path: Path) -> None:
    ours, known = measure(tmp_path, 5_000_000, VERSIONS)
    assert ours["seconds"] < 5
    assert known["seconds"] < 1
