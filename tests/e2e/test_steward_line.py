"""What a steward does beyond making releases, by the real command line in this process: checklist, what if, retract, erase."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline.cli.app import app

PROJECT = "SYN-P02"
Run = Callable[..., Any]


def runner(home: Path) -> Run:
    def run(*arguments: object, code: int | tuple[int, ...] = 0, actor: str = "steward", given: str | None = None) -> Any:
        environment = {"OUTCOMES_HOME": str(home), "OUTCOMES_ACTOR": actor}
        done = CliRunner(env=environment).invoke(app, [*map(str, arguments), "--json"], input=given)
        assert done.exit_code in (code if isinstance(code, tuple) else (code,)), (done.output[-2000:], done.exception)
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, str]:
    """Give an installation that has published a small fund, and the reference of somebody in it."""
    folder = tmp_path_factory.mktemp("steward")
    run = runner(folder / "home")
    run("init")
    run("sample", folder / "fund", "--projects", 2, "--quarters", 2, "--participants", 120, "--seed", 1, "--first-quarter", "2023-Q3")
    run("register", "load", folder / "fund" / "register")
    run("submission", "submit", *sorted((folder / "fund" / "deliveries").rglob("*.*")), actor="team")
    made = run("release", "make")
    run("release", "approve", made["version"], "--manifest", made["manifest"], actor="approver")
    run("release", "publish", made["version"])
    with zipfile.ZipFile(next((folder / "fund" / "deliveries" / PROJECT).rglob("*.zip"))) as archive:
        rows = csv.DictReader(io.StringIO(archive.read("participants.csv").decode("utf-8-sig")))
        return run, next(rows)["participant_ref"]


def test_the_way_of_a_steward_from_checklist_to_erasure(published: tuple[Run, str], tmp_path: Path) -> None:
    run, reference = published
    listed = run("release", "checklist", "1.0.0")
    assert "next_release_missing" in [check["code"] for check in listed["checks"]]
    assert run("release", "what-if", "--without", "SYN-P01")["tables"]
    assert run("release", "what-if", code=2)["error"] == "UsageError"

    planned = run("participant", "erase", PROJECT, "--reason", "requested_by_person", "--dry-run", given=f"{reference}\n")
    assert planned["rows"] >= 1
    ref_file, certificate = tmp_path / "ref.txt", tmp_path / "erased.json"
    ref_file.write_text(reference)
    erase = ("participant", "erase", PROJECT, "--reason", "requested_by_person", "--ref-file", ref_file)
    (made,) = run(*erase, "--certificate", certificate)
    assert (made["releases"], made["remaining"]) == (["SYN-LCF/1.0.0"], [])
    assert reference not in certificate.read_text()
    assert run(*erase) == []
    assert run("participant", "erasures") == run("participant", "finish") == [made]
    assert run("release", "rebuild", "1.0.0", code=10)["error"] == "ErasedError"
    assert made["event"] in run("verify", code=10)["erased"]
    assert run("verify", "--no-rebuild")["erased"] is None
    missing = run("participant", "erase", PROJECT, "--reason", "court_order", "--ref-file", tmp_path / "none.txt", code=2)
    assert missing["error"] == "UsageError"

    notice = tmp_path / "notice.md"
    # What is left of so small a fund may say too much: then the audit refuses the correcting release, and the command says so by its exit code.
    taken_back = run("submission", "retract", "SYN-P01", "2023-Q4", "--reason", "wrong_quarter", "--notice", notice, code=(0, 1))
    assert taken_back["withdrawn"] == [1]
    assert taken_back["candidate"]["state"] == "audited"
    assert "was withdrawn: it was of another quarter." in notice.read_text()
