"""Real parts for tests: a PostgreSQL server and an S3 server on loopback, started once a session and stopped at its end."""

from __future__ import annotations

import getpass
import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

_NUMBERS = itertools.count(1)


REAL_PARTS = {"PostgreSQL": ("postgres", "servers]"), "the S3 API": ("s3", "servers]", "cloud_template"), "Airflow": ("e2e/test_dags",)}
"""What the names of tests on real servers have in them."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests ran on each real server: cores that share the tests print dots only."""
    passed = [report.nodeid.lower() for report in terminalreporter.stats.get("passed", []) if report.when == "call"]
    for part, signs in REAL_PARTS.items():
        count = sum(any(sign in nodeid for sign in signs) for nodeid in passed)
        terminalreporter.write_line(f"Passed on {part}: {count}")


@dataclass(frozen=True)
class PostgresServer:
    """A running server; `url` names one of its databases."""

    host: str
    port: int
    user: str
    password: str
    data: Path

    def url(self, database: str) -> str:
        return f"postgresql://{self.user}:{self.password}@{self.host}:{self.port}/{database}"

    def run(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Start PostgreSQL with its own tools, as another user when the tests run as root (it refuses to run as root)."""
    folder = Path(tempfile.mkdtemp(prefix="outcomes-postgres-"))
    try:
        server = _make_cluster(folder)
        port = _start(server.data)
        try:
            yield PostgresServer(server.host, port, server.user, server.password, server.data)
        finally:
            _postgres_tool("pg_ctl", "stop", "-D", str(server.data), "-m", "immediate", "-w")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """Give the URL of an empty database that is dropped afterwards."""
    name = f"outcomes_{next(_NUMBERS)}"
    postgres_server.run(f"CREATE DATABASE {name}")
    yield postgres_server.url(name)
    postgres_server.run(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Start moto's S3 server; give its address."""
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()
    if server._server is not None:
        server._server.server_close()  # stop() leaves the listening socket open


@pytest.fixture
def aws_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Give boto3 made-up credentials, and keep it from this machine's own and from any proxy."""
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower() in ("http_proxy", "https_proxy", "all_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-aws-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-aws-credentials"))


@pytest.fixture
def s3_url(s3_endpoint: str, aws_environment: None) -> str:
    """Give the URL of a store in a new, empty bucket."""
    import boto3

    bucket = f"outcomes-{next(_NUMBERS)}"
    client = boto3.client("s3", endpoint_url=s3_endpoint, region_name="eu-west-2")
    client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-2"})
    client.close()
    return f"s3://{bucket}/store?endpoint_url={s3_endpoint}&region=eu-west-2"


def _make_cluster(folder: Path) -> PostgresServer:
    user = _server_user()
    shutil.chown(folder, user)
    folder.chmod(0o755)
    password_file, data = folder / "password", folder / "data"
    password = "open sesame: 'p@ss/word'"
    password_file.write_text(password)
    password_file.chmod(0o644)
    _postgres_tool(
        "initdb", "-D", str(data), "-U", "outcomes", "--pwfile", str(password_file), "-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync"
    )
    return PostgresServer("127.0.0.1", 0, "outcomes", "open%20sesame%3A%20%27p%40ss%2Fword%27", data)


def _start(data: Path) -> int:
    """Start the server on a free port; try another when somebody took it in between."""
    for is_last in (False, False, False, False, True):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off -c max_connections=60"
        try:
            _postgres_tool("pg_ctl", "start", "-D", str(data), "-l", str(data / "server.log"), "-o", options, "-w")
            break
        except RuntimeError:
            if is_last:
                raise
    return port


def _server_user() -> str:
    if os.geteuid() != 0:
        return getpass.getuser()
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody", getpass.getuser()) if name in known)


def _postgres_tool(name: str, *arguments: str) -> None:
    found = [shutil.which(name), f"/usr/local/bin/{name}", *sorted(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), reverse=True)]
    program = next((path for path in found if path and Path(path).is_file()), None)
    if program is None:
        pytest.fail(f"{name} was not found. The tests need PostgreSQL's server programs: install the package postgresql, or put {name} on the PATH.")
    prefix = ["runuser", "-u", _server_user(), "--"] if os.geteuid() == 0 else []
    with tempfile.TemporaryFile("w+") as output:  # not a pipe: the server would inherit it and keep it open
        done = subprocess.run([*prefix, program, *arguments], cwd="/", stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            output.seek(0)
            raise RuntimeError(f"{name} {arguments[0]} failed as user {_server_user()}: {output.read()[-2000:]}")
