"""A real Airflow on loopback for one installation: scheduler, DAG processor and API server on SQLite, started and stopped by process id.

For the demo and for trying DAGs at the desk. Production runs Airflow's own way (see `infra/compose.yaml`).
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ATTEMPTS = 10
PARTS: tuple[tuple[str, ...], ...] = (("api-server", "--host", "127.0.0.1"), ("dag-processor",), ("scheduler",))


class AirflowError(Exception):
    """Airflow did not start, or a run did not end well."""


class LocalAirflow:
    """Airflow's three processes and its REST API, as a context manager."""

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        self.home = home
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {**environment, **self._settings()}
        self.processes: list[subprocess.Popen[bytes]] = []
        self.token = ""

    def _settings(self) -> Mapping[str, str]:
        return {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API_AUTH__JWT_SECRET": os.urandom(32).hex(),
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__INTERNAL_API_SECRET_KEY": os.urandom(32).hex(),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": str(max(2, os.cpu_count() or 2)),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "30",
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
            "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "False",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            # A worker that lingers after a task can make the scheduler take it for lost: beat quickly.
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "ignore",
        }

    def start(self) -> LocalAirflow:
        """Migrate Airflow's database, start its processes and wait until they are well. Raises: AirflowError."""
        self.home.mkdir(parents=True, exist_ok=True)
        self._run("db", "migrate")
        try:
            for part in PARTS:
                self._start(part)
            self._wait_until_healthy()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __enter__(self) -> LocalAirflow:
        return self if self.processes else self.start()

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            _signal_group(process, signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                _signal_group(process, signal.SIGKILL)
                process.wait()
            _signal_group(process, signal.SIGKILL)

    def _start(self, part: Sequence[str]) -> None:
        command = [sys.executable, "-m", "airflow", *part]
        with (self.home / f"{part[0]}.log").open("ab") as log:
            # A session of its own: the parts fork workers, and the whole group is stopped together.
            process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, cwd=self.home, start_new_session=True)  # noqa: S603
        self.processes.append(process)

    def _run(self, *arguments: str) -> None:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "airflow", *arguments], env=self.environment, cwd=self.home, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise AirflowError(f"airflow {' '.join(arguments)} failed:\n{done.stderr[-2000:]}")

    def _wait_until_healthy(self, seconds: int = 180) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for process in self.processes:
                if process.poll() is not None:
                    raise AirflowError(f"A part of Airflow ended while it started; see the logs in {self.home}.")
            try:
                self.token = self._call("GET", "/auth/token")["access_token"]
                health = self._call("GET", "/api/v2/monitor/health")
                if health["scheduler"]["status"] == health["dag_processor"]["status"] == "healthy" and len(self.dags()) >= 4:
                    return
            except (OSError, KeyError, AirflowError):
                pass
            time.sleep(1)
        raise AirflowError(f"Airflow was not ready after {seconds} seconds; see the logs in {self.home}.")

    def dags(self) -> Sequence[str]:
        """Return the ids of the DAGs that Airflow has read."""
        return [dag["dag_id"] for dag in self._call("GET", "/api/v2/dags?limit=50")["dags"]]

    def unpause(self, dag_id: str) -> None:
        """Let a DAG run."""
        self._call("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": False})

    def trigger(self, dag_id: str) -> str:
        """Start a run of a DAG; return its id. The run is named here, so that a request that got no answer can be made again."""
        run_id = f"manual__{uuid.uuid4()}"
        self._call("POST", f"/api/v2/dags/{dag_id}/dagRuns", {"logical_date": None, "dag_run_id": run_id})
        return run_id

    def runs(self, dag_id: str) -> Sequence[Mapping[str, Any]]:
        """Return the runs of a DAG as Airflow has recorded them, oldest first."""
        found: list[Mapping[str, Any]] = self._call("GET", f"/api/v2/dags/{dag_id}/dagRuns?limit=100")["dag_runs"]
        return sorted(found, key=lambda run: str(run["run_after"]))

    def tasks(self, dag_id: str, run_id: str) -> Sequence[Mapping[str, Any]]:
        """Return the task instances of a run as Airflow has recorded them."""
        found: list[Mapping[str, Any]] = self._call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=1000")["task_instances"]
        return found

    def wait(self, dag_id: str, *, at_least: int, seconds: int = 600) -> None:
        """Wait until a DAG has had so many runs and none is under way.

        Raises: AirflowError when a run failed or time is up.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            states = [str(run["state"]) for run in self.runs(dag_id)]
            if "failed" in states:
                raise AirflowError(f"A run of {dag_id} failed; see its task logs in {self.home / 'logs'}.")
            if len(states) >= at_least and not {"queued", "running"} & set(states):
                return
            time.sleep(1)
        raise AirflowError(f"{dag_id} was still running after {seconds} seconds; see {self.home / 'logs'}.")

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Ask the API; ask again while it answers that SQLite is locked, which several of Airflow's processes write to."""
        for is_last in (*[False] * ATTEMPTS, True):
            request = urllib.request.Request(  # noqa: S310 - always this machine's loopback
                self.url + path,
                method=method,
                data=json.dumps(body).encode() if body is not None else None,
                headers={"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"},
            )
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if method == "POST" and error.code == 409:
                    return {}  # the request before this one did go through
                if error.code < 500 or is_last:
                    raise AirflowError(f"Airflow answered {error.code} to {method} {path}: {error.read()[:500]!r}") from error
                time.sleep(1)
        raise AirflowError(f"Airflow did not answer {method} {path}.")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return
