"""What a project team and a steward do with a return beyond sending it, by the real command line in this process, over real parts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openpyxl import load_workbook
from typer.testing import CliRunner

from pipeline import worker
from pipeline.adapters.definitions import SOURCE_TREE
from pipeline.cli.app import app

FUND = "SYN-LCF"
QUERIES = ["C-225", "K-332"]
"""What a payment that does not say of which metric is asked about: the metric, and why the outcomes of that metric are not paid for."""
"""The query that a payment of another price than the rate card's raises."""
Run = Callable[..., Any]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Give an installation that has published the returns of a small synthetic fund, and the fund's folder."""
    folder = tmp_path_factory.mktemp("line")
    home, fund = folder / "home", folder / "fund"
    run = runner(home)
    run("init")
    run("sample", fund, "--projects", 2, "--quarters", 3, "--seed", 3)
    run("register", "load", fund / "register")
    run("submission", "submit", *sorted((fund / "deliveries").rglob("*.*")))
    publish(run)
    return home, fund


def runner(home: Path) -> Run:
    def run(*arguments: object, code: int = 0, actor: str = "steward") -> Any:
        environment = {"OUTCOMES_HOME": str(home), "OUTCOMES_ACTOR": actor}
        done = CliRunner(env=environment).invoke(app, [*map(str, arguments), "--json"])
        assert done.exit_code == code, (done.output[-2000:], done.exception)
        return json.loads(done.stdout)

    return run


def publish(run: Run) -> str:
    made = run("release", "make")
    run("release", "approve", made["version"], "--manifest", made["manifest"], actor="approver")
    run("release", "publish", made["version"])
    return str(made["version"])


def without_reason(workbook: Path, folder: Path) -> Path:
    """Save a correction again, with an empty reason on its cover, and a first payment for outcomes that no longer says of which metric."""
    book = load_workbook(workbook)
    cover = book["cover"]
    (column,) = [cell.column for cell in cover[1] if cell.value == "correction_reason"]
    cover.cell(row=2, column=column).value = None
    heading = [cell.value for cell in book["payments"][1]]
    paid = next(row for row in book["payments"].iter_rows(min_row=2) if row[heading.index("basis")].value == "outcome")
    paid[heading.index("metric_id")].value = None
    book.save(folder / workbook.name)
    return folder / workbook.name


def test_a_correction_is_shown_waits_is_accepted_explained_and_receipted(workspace: tuple[Path, Path], tmp_path: Path) -> None:
    home, fund = workspace
    run = runner(home)
    first, second = sorted((fund / "corrections").rglob("*.*"))[:2]
    project, quarter = first.parent.parent.name, first.parent.name
    folder = tmp_path / project / quarter
    folder.mkdir(parents=True)

    run("submission", "submit", without_reason(first, folder))
    key = f"{project}/{quarter}/2"
    (row,) = [row for row in run("submission", "list", "--project", project) if row["key"] == key]
    assert (row["standing"], row["held"]) == ("validated, waits for a reason", "reason_needed")

    assert worker.accept_submission(key, {"OUTCOMES_HOME": str(home)}) == f"{key}:validated", "a worker lets it wait, and does not fail"

    changes = run("submission", "changes", key)
    assert changes["needs_reason"]
    assert changes["difference_gbp"] != "0.00"
    assert changes["altered"] == ["1.0.0"]
    assert changes["changes"]["added"] == len([one for one in changes["rows"] if one["change"] == "added"]) > 0

    assert run("submission", "accept", key, code=6)["error"] == "HeldError"
    assert run("submission", "accept", key, "--reason", "left_out")["correction_reason"] == "left_out"
    assert run("submission", "changes", key)["rows"] == changes["rows"]

    (row,) = [row for row in run("submission", "list", "--project", project) if row["key"] == key]
    assert (row["standing"], row["unanswered"]) == ("accepted, queried", QUERIES)
    for asked, left in ((0, QUERIES[1:]), (1, [])):
        assert run("submission", "answer", key, QUERIES[asked], "--because", "Zebedee paid for several.")["unanswered"] == left
    assert [query["explanation"] for query in run("submission", "queries", key)] == ["Zebedee paid for several."] * 2
    assert run("submission", "report", key)["explained"] == QUERIES
    assert "Zebedee" not in json.dumps(run("events", "list"))

    (submitted,) = run("submission", "submit", second)
    assert run("submission", "list", "--project", submitted["revision"].split("/")[0])[-1]["correction_reason"] == "left_out", "said on the cover"

    version = publish(run)
    receipt = run("submission", "receipt", f"{project}/{quarter}", "--rows")
    assert [(one["version"], one["revision"]) for one in receipt["reached"]] == [("1.0.0", 1), (version, 2)]
    for one in receipt["revisions"]:
        assert one["delivered"] == sum(one["fates"].values()) > 0
        assert len(one["rows"]) == one["delivered"] - one["fates"].get("blank", 0)
    assert {status for cell in receipt["cells"] for status in cell["status"].values()} <= {"published", "suppressed"}
    assert {cell["table"] for cell in receipt["cells"]} >= {"service_users_by_quarter", "payments_by_quarter"}

    run("submission", "withdraw", key, "--reason", "sent_in_error")
    assert publish(run) > version
    assert run("submission", "receipt", key)["revisions"][0]["standing"] == "withdrawn"


def test_a_changed_rule_is_tried_on_the_past_and_nothing_changes(workspace: tuple[Path, Path], tmp_path: Path) -> None:
    home, _ = workspace
    run = runner(home)
    before = run("events", "verify")
    (rule,) = [rule for rule in run("rules") if rule["id"] == "K-305"]
    path = tmp_path / "stricter.json"
    path.write_text(json.dumps({"rules": [rule | {"severity": "error"}]}))

    installed, changed = run("rules", "try", "K-305"), run("rules", "try", "K-305", "--rules", path, "--fund", FUND)

    assert installed["total"]["judged"] == changed["total"]["judged"] > 0
    assert installed["total"]["places"] == installed["total"]["places_then"] == changed["total"]["places"] > 0
    assert (installed["trial"]["would_refuse"], len(changed["trial"]["would_refuse"])) == ([], changed["total"]["returns"])
    assert run("events", "verify") == before
    for name in ("schemas", "expectations"):
        shutil.copytree(SOURCE_TREE / name, tmp_path / "draft" / name)
    (tmp_path / "draft" / "schemas" / "rules" / "contract.json").unlink()
    assert run("rules", "try", "K-305", "--definitions", tmp_path / "draft", code=2)["error"] == "UsageError", "the rule is not in that folder"


def test_rules_are_listed_and_explained_as_before(workspace: tuple[Path, Path]) -> None:
    run = runner(workspace[0])
    rules = run("rules")
    assert len(rules) > 100
    assert run("rules", "list") == rules
    assert run("rules", "K-310") == run("rules", "show", "K-310") == next(rule for rule in rules if rule["id"] == "K-310")
    assert run("rules", "K-999", code=2)["error"] == "UsageError"
