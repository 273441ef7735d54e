"""The process that reads has no network, no environment and starts no programs: tried from inside it, by Python and around Python."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.adapters import reader
from pipeline.adapters.definitions import find_definitions, load_definitions
from pipeline.adapters.reader import ContainedReader

ROOT = Path(__file__).resolve().parents[2]
PRELUDE = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from pipeline.adapters.reading.isolation import isolate; is_unshared = isolate()\n"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def run(code: str, *, isolated: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-I", "-c", (PRELUDE if isolated else "") + code], env={}, capture_output=True, text=True, timeout=60)


def connect_by_machine_code(port: int) -> str:
    """Return code that connects without Python's socket module, which the audit hook does not see."""
    return (
        "import ctypes, struct\n"
        "kernel = ctypes.CDLL(None, use_errno=True)\n"
        f"address = struct.pack('=H', 2) + struct.pack('!H', {port}) + bytes([127, 0, 0, 1]) + bytes(8)\n"
        "print(kernel.connect(kernel.socket(2, 1, 0), address, len(address)))\n"
    )


def test_python_in_the_reading_process_cannot_open_a_socket(listener: socket.socket) -> None:
    code = f"import socket; socket.create_connection(('127.0.0.1', {listener.getsockname()[1]}))"

    assert run(code, isolated=False).returncode == 0
    done = run(code)
    assert done.returncode != 0
    assert "PermissionError: The reading process has no network" in done.stderr


def test_machine_code_in_the_reading_process_reaches_nobody_where_the_kernel_gives_it_its_own_network(listener: socket.socket) -> None:
    code = connect_by_machine_code(listener.getsockname()[1])

    assert run(code, isolated=False).stdout == "0\n"
    unshared, connected = run("print(is_unshared)\n" + code).stdout.split()
    assert unshared in ("True", "False")
    assert connected == ("-1" if unshared == "True" else "0")


@pytest.mark.parametrize("code", ["import os; os.system('true')", "import subprocess; subprocess.run(['true'])", "import os; os.fork()"])
def test_the_reading_process_starts_no_programs(code: str) -> None:
    done = run(code)

    assert done.returncode != 0
    assert "starts no programs" in done.stderr


def test_a_delivery_is_read_by_a_process_that_was_cut_off_and_knows_nothing_of_its_surroundings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    """The real reader, with code added to its child that tries what it must not be able to do."""
    monkeypatch.setenv("OUTCOMES_SECRET", "Zebedee")
    seen = tmp_path / "seen.json"
    probe = (
        "import json, os, sys\n"
        "def denied(do):\n"
        "    try:\n"
        "        do()\n"
        "    except PermissionError:\n"
        "        return True\n"
        "    return False\n"
        "import socket\n"
        f"connects = lambda: socket.create_connection(('127.0.0.1', {listener.getsockname()[1]}))\n"
        f"open({str(seen)!r}, 'w').write(json.dumps([denied(connects), denied(os.fork), sorted(os.environ)]))\n"
    )
    start, call = reader.START.rsplit("main(", 1)
    monkeypatch.setattr(reader, "START", f"{start.rstrip()}\n{probe}main({call}")
    delivery = tmp_path / "delivery"
    delivery.write_bytes(b"payment_ref,payer_id,basis,period_start,period_end,amount_gbp\nY1,F,outcome,2024-01-01,2024-03-31,5\n")

    answer = ContainedReader(load_definitions(find_definitions()), memory_mb=1024, seconds=30).read(delivery)

    no_network, no_programs, environment = json.loads(seen.read_text())
    assert (no_network, no_programs) == (True, True)
    assert set(environment) <= {*reader.ENVIRONMENT, "LC_CTYPE"}
    assert answer.tables["payments"].cells["payment_ref"].to_pylist() == ["Y1"]
