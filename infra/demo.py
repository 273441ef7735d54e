"""The demo: the whole way once, on a real Airflow, from dropped files to two verified releases.

    python -m infra.demo        (make demo)

Everything lies in `.demo/`. A second run finds that there is nothing to do, changes nothing, and says so.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console

from infra.airflow_local import ROOT, LocalAirflow
from pipeline.domain.quarters import Quarter

DEMO = ROOT / ".demo"
HOME = DEMO / "workspace"
SAMPLE = DEMO / "sample"
INBOX = HOME / "inbox"
FUND = "SYN-LCF"
DRAFTER, APPROVER = "service:worker", "steward.two"


def main() -> int:
    """Run the demo; return its exit code."""
    started = time.monotonic()
    os.environ["OUTCOMES_HOME"] = str(HOME)
    _say("Open Outcomes demo", f"workspace {HOME.relative_to(ROOT)}, public data {(HOME / 'public').relative_to(ROOT)}")
    _prepare()
    first, second = _is_published("1.0.0"), _deliver_all(dry_run=True) == 0
    if first and second and not _outcomes("submission", "inbox", "--json", quiet=True, waiting=True):
        _say("Nothing to do", "every delivery was decided and every release published before; nothing was changed.")
    else:
        with _start() as airflow:
            _say("Airflow is up", f"{airflow.url}, its records and logs in {(DEMO / 'airflow').relative_to(ROOT)}")
            for dag in airflow.dags():
                airflow.unpause(dag)
            _first_release(airflow)
            _correction(airflow)
            _verify(airflow)
            _show_runs(airflow)
    _show_published()
    _say("Done", f"in {time.monotonic() - started:.0f} seconds.")
    return 0


def _start() -> LocalAirflow:
    with Console(stderr=True).status("Airflow starts ..."):
        return LocalAirflow(DEMO / "airflow", os.environ).start()


def _prepare() -> None:
    _outcomes("init")
    if not SAMPLE.exists():
        # The three quarters that ended last, so that the demo's returns are due now.
        first = Quarter.of(datetime.now(UTC).date() - timedelta(days=275))
        _outcomes("sample", str(SAMPLE), "--projects", "4", "--quarters", "3", "--seed", "1", "--first-quarter", str(first))
    _outcomes("register", "load", str(SAMPLE / "register"), "--as", "steward.one")


def _deliver_all(*, dry_run: bool) -> int:
    """Copy what is not in the inbox yet, as a team's upload would; return how many files were missing."""
    missing = [path for folder in ("deliveries", "broken") for path in _files(SAMPLE / folder) if not (INBOX / path).exists()]
    missing += [path for path in _files(SAMPLE / "corrections") if not (INBOX / path).exists()]
    return len(missing) if dry_run else sum(_drop(SAMPLE / folder) for folder in ("deliveries", "broken"))


def _files(folder: Path) -> Sequence[Path]:
    return [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]


def _drop(folder: Path) -> int:
    dropped = 0
    for path in _files(folder):
        target = INBOX / path
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_suffix(target.suffix + ".part")
            shutil.copyfile(folder / path, part)
            part.rename(target)
            dropped += 1
    return dropped


def _first_release(airflow: LocalAirflow) -> None:
    dropped = _deliver_all(dry_run=False)
    _say("Deliveries dropped in the inbox", f"{dropped} files; the DAG ingest_submissions takes them in, a project's quarters one after the other.")
    _run(airflow, "ingest_submissions")
    while _outcomes("submission", "inbox", "--json", quiet=True, waiting=True):
        _wait(airflow, "ingest_submissions", at_least=2)
        time.sleep(1)
    counts = _count_states()
    _say("Returns judged", ", ".join(f"{number} {state}" for state, number in sorted(counts.items())))
    for row in _outcomes("submission", "list", "--state", "rejected", "--json", quiet=True):
        _say("A bad return and its report", row["key"])
        _outcomes("submission", "report", row["key"], check=False)
    _release(airflow)


def _correction(airflow: LocalAirflow) -> None:
    dropped = _drop(SAMPLE / "corrections")
    if dropped:
        _say("A corrected return", f"{dropped} files dropped in the inbox; the same way again.")
        _run(airflow, "ingest_submissions")
    _release(airflow)


def _release(airflow: LocalAirflow) -> None:
    """Wait for the candidate that the accepted returns set off, approve it as another person, and let the DAG publish it."""
    deadline = time.monotonic() + 300
    while not (audited := [row for row in _releases() if row["state"] == "audited"]):
        # The asset that ingest_submissions updates sets build_release off by itself.
        _wait(airflow, "build_release", at_least=1)
        if time.monotonic() > deadline:
            raise SystemExit("No candidate came out of build_release.")
        time.sleep(1)
    candidate = audited[-1]
    _outcomes("release", "show", candidate["version"])
    _outcomes("release", "approve", candidate["version"], "--manifest", candidate["manifest"], "--as", APPROVER)
    _run(airflow, "publish_releases")
    if not _is_published(candidate["version"]):
        raise SystemExit(f"Release {candidate['version']} was approved and not published.")
    print((_version_folder(candidate["version"]) / "CHANGELOG.md").read_text("utf-8")[:2500])


def _verify(airflow: LocalAirflow) -> None:
    _say("Verification", "the DAG verify_releases checks the log, the public files, and builds the newest release again.")
    _run(airflow, "verify_releases")


def _run(airflow: LocalAirflow, dag: str) -> None:
    before = len(airflow.runs(dag))
    airflow.trigger(dag)
    _wait(airflow, dag, at_least=before + 1)


def _wait(airflow: LocalAirflow, dag: str, *, at_least: int) -> None:
    """Wait for a DAG; whoever looks on at a terminal sees that something is going on."""
    with Console(stderr=True).status(f"Airflow runs {dag} ..."):
        airflow.wait(dag, at_least=at_least)


def _show_runs(airflow: LocalAirflow) -> None:
    _say("DAG runs in Airflow's own records", "")
    for dag in airflow.dags():
        for run in airflow.runs(dag):
            tasks = airflow.tasks(dag, run["dag_run_id"])
            states = sorted({str(task["state"]) for task in tasks})
            print(f"  {dag:20} {run['run_type']:16} {run['state']:8} {len(tasks):4} tasks: {', '.join(states)}")


def _show_published() -> None:
    _say("Published", f"in {(HOME / 'public' / 'datasets' / FUND).relative_to(ROOT)}")
    for row in _releases():
        if row["state"] == "published":
            folder = _version_folder(row["version"]).relative_to(ROOT)
            hidden = sum(row["suppressed"].values())
            print(f"  {folder}: {len(row['files'])} files, {hidden} cells hidden, approved by {row['approved_by']}")
    _outcomes("site", "build", "--output", str(DEMO / "site"))
    print("\nVerify it yourself:")
    print(f"  cd {folder} && sha256sum -c MANIFEST")
    print(f"  OUTCOMES_HOME={HOME.relative_to(ROOT)} .venv/bin/outcomes verify")
    print("Look at what happened:")
    print(f"  OUTCOMES_HOME={HOME.relative_to(ROOT)} .venv/bin/outcomes events list")


def _releases() -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = _outcomes("release", "list", "--json", quiet=True)
    return found


def _is_published(version: str) -> bool:
    return any(row["version"] == version and row["state"] == "published" for row in _releases())


def _version_folder(version: str) -> Path:
    return HOME / "public" / "datasets" / FUND / f"v{version}"


def _count_states() -> Mapping[str, int]:
    counts: dict[str, int] = {}
    for row in _outcomes("submission", "list", "--json", quiet=True):
        counts[row["state"]] = counts.get(row["state"], 0) + 1
    return counts


def _outcomes(*arguments: str, quiet: bool = False, check: bool = True, waiting: bool = False) -> Any:
    """Run the command line as a person would; with `quiet` return its JSON instead of showing it."""
    if not quiet:
        print(f"$ outcomes {' '.join(arguments)}", flush=True)
    command = [sys.executable, "-m", "pipeline.cli", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, check=False, capture_output=quiet, text=True)  # noqa: S603
    if check and done.returncode:
        raise SystemExit(f"outcomes {' '.join(arguments)} ended with {done.returncode}\n{done.stderr or ''}")
    document = json.loads(done.stdout) if quiet else None
    return [item for item in document if item["state"] not in ("accepted", "rejected", "withdrawn")] if waiting else document


def _say(title: str, words: str) -> None:
    print(f"\n== {title}" + (f": {words}" if words else ""), flush=True)


if __name__ == "__main__":
    sys.exit(main())
