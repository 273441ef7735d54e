"""`outcomes template` and `outcomes submission report` as people type them, over a real installation."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pipeline import bootstrap
from pipeline.application import submissions
from pipeline.application.register import load_tables
from pipeline.cli.app import app
from pipeline.domain.submission import SubmissionKey
from pipeline.settings import Settings
from tests.factories import register_rows, register_tables

RETURN = b"participant_ref,started_on\nA-1,spring\n"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An installation with a register and one rejected return, a table alone whose columns are missing."""
    folder = tmp_path_factory.mktemp("terminal")
    given = {"OUTCOMES_HOME": str(folder / "workspace"), "OUTCOMES_NOW": "2024-07-15T09:00:00+00:00"}
    bootstrap.initialise(Settings.parse(given))
    (folder / "return.csv").write_bytes(RETURN)
    with bootstrap.open_services(given, "team") as services:
        assert load_tables(services, register_tables(register_rows("P1"))).is_loaded
        assert not submissions.submit(services, folder / "return.csv", SubmissionKey("P1", "2024-Q2"))[1].report.passed
    return given


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_a_template_is_written_under_the_name_by_which_the_return_will_be_known(here: Path) -> None:
    done = run("template", "P1", "2024-Q2")
    assert done.exit_code == 0
    assert "outcomes submission submit P1_2024-Q2.xlsx" in done.output
    assert zipfile.is_zipfile(here / "P1_2024-Q2.xlsx")
    assert run("template", "P1", "2024-Q2", "--form", "csv").exit_code == 0
    assert "cover.csv" in zipfile.ZipFile(here / "P1_2024-Q2.zip").namelist()


def test_a_template_can_be_asked_for_twice_and_never_replaces_one_that_was_filled_in(here: Path) -> None:
    for _ in range(2):
        assert json.loads(run("template", "P1", "2024-Q2", "--output", "t.xlsx", "--json").output)["file"] == "t.xlsx"
    (here / "t.xlsx").write_bytes(b"filled in")
    done = run("template", "P1", "2024-Q2", "--output", "t.xlsx")
    assert (done.exit_code, "not written over" in done.output) == (2, True)
    assert (here / "t.xlsx").read_bytes() == b"filled in"


@pytest.mark.parametrize(("project", "quarter", "code"), [("P9", "2024-Q2", 4), ("P1", "2031-Q1", 2), ("P1", "spring", 2)])
def test_a_template_of_nothing_is_refused_with_advice(here: Path, project: str, quarter: str, code: int) -> None:
    done = run("template", project, quarter)
    assert (done.exit_code, "Error: " in done.output) == (code, True)
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("form", "beginning"), [("json", b'{"content"'), ("csv", b"severity,rule,"), ("html", b"<!DOCTYPE html>"), ("xlsx", b"PK\x03\x04")]
)
def test_a_report_is_written_in_each_form(here: Path, form: str, beginning: bytes) -> None:
    done = run("submission", "report", "P1/2024-Q2/1", "--format", form)
    assert done.exit_code == 0
    content = (here / f"P1_2024-Q2_1_report.{form}").read_bytes()
    assert content.startswith(beginning)
    assert b"spring" not in content


def test_a_report_is_printed_when_no_form_is_asked_for(here: Path) -> None:
    assert "P1/2024-Q2/1: failed with" in run("submission", "report", "P1/2024-Q2/1").output
    assert json.loads(run("submission", "report", "P1/2024-Q2/1", "--json").output)["verdict"] == "failed"


def test_a_report_for_a_file_needs_a_form_and_a_folder_that_is_there(here: Path) -> None:
    done = run("submission", "report", "P1/2024-Q2/1", "--output", "report.html")
    assert (done.exit_code, "--format" in done.output) == (2, True)
    done = run("submission", "report", "P1/2024-Q2/1", "--format", "html", "--output", "nowhere/report.html")
    assert (done.exit_code, "cannot be written" in done.output) == (2, True)
