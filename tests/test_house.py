"""The rules of the house that no linter knows: the reference is up to date, every code is documented, nothing names what it must not."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
from pathlib import Path

import pytest

from pipeline.adapters.definitions import find_definitions, load_definitions
from pipeline.domain.events import EVENT_TYPES
from pipeline.domain.tables import GROUPS

ROOT = Path(__file__).resolve().parents[1]


def _reference() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("build_reference", ROOT / "docs" / "build_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return dict(module.pages())


def _written() -> dict[str, str]:
    folder = ROOT / "docs" / "reference"
    return {path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in folder.rglob("*") if path.is_file()}


def test_the_reference_is_what_make_docs_would_write() -> None:
    written, expected = _written(), {name: page.rstrip() + "\n" for name, page in _reference().items()}
    assert len(expected) > 200
    wrong = sorted(name for name in written.keys() | expected.keys() if written.get(name) != expected.get(name))
    assert not wrong, f"{len(wrong)} pages of docs/reference are out of date, {wrong[0]} among them: run `make docs`"


def test_every_event_command_rule_and_table_is_in_the_reference() -> None:
    import typer

    from pipeline.cli.app import app

    text = _written()
    definitions = load_definitions(find_definitions())
    for kind in EVENT_TYPES:
        assert f"## {kind.name}, number {kind.number}" in text["events.md"]
    for rule in definitions.rules.values():
        assert f"[{rule.id}](rules/{rule.id}.md)" in text["rules.md"]
        assert f"# {rule.id} {rule.title}\n" in text[f"rules/{rule.id}.md"]
    for group in GROUPS:
        for table in definitions.tables[group]:
            assert f"### {table}\n" in text["tables.md"]
    commands = typer.main.get_command(app)
    named = [f"outcomes {name}" for name in commands.commands] + [
        f"outcomes {name} {child}" for name, group in commands.commands.items() for child in getattr(group, "commands", {})
    ]
    leaves = [name for name in named if not any(other.startswith(f"{name} ") for other in named)]
    assert len(leaves) > 20
    for name in leaves:
        assert f"## {name}\n" in text["commands.md"], name


def test_every_command_has_an_example() -> None:
    text = (ROOT / "docs" / "reference" / "commands.md").read_text("utf-8")
    for section in text.split("\n## ")[1:]:
        if not section.startswith("outcomes version"):
            assert "Example" in section, section.splitlines()[0]


def test_every_rule_says_in_a_sentence_or_two_why_it_matters() -> None:
    rules = list(load_definitions(find_definitions()).rules.values())
    assert len(rules) > 300
    for rule in rules:
        assert re.fullmatch(r"[0-9A-Z][^\n]{20,200}\.", rule.why), rule.id
        assert rule.why.count(". ") <= 1, rule.id


def test_every_rule_that_an_expectation_names_exists() -> None:
    definitions = load_definitions(find_definitions())
    named = [expectation["meta"]["rule"] for suite in definitions.suites.values() for expectation in suite["expectations"]]
    assert len(named) > 30
    assert set(named) <= set(definitions.rules)


def test_every_published_table_has_a_suite_and_a_place_in_the_disclosure_rules() -> None:
    definitions = load_definitions(find_definitions())
    for table in definitions.tables["published"]:
        assert f"published_{table}" in definitions.suites
        assert table in definitions.disclosure["tables"]


def test_the_lock_file_has_a_hash_for_everything_and_names_no_host() -> None:
    text = (ROOT / "requirements.lock").read_text("utf-8")
    assert "://" not in text
    pins = re.findall(r"^([a-z0-9][a-z0-9._\[\]-]*)==", text, re.MULTILINE)
    assert len(pins) > 150
    blocks = re.split(r"(?m)^(?=[a-z0-9])", text)[1:]
    assert all("--hash=sha256:" in block for block in blocks)


def test_no_python_file_is_much_longer_than_a_room_should_be() -> None:
    files = [*ROOT.glob("pipeline/**/*.py"), *ROOT.glob("dags/*.py"), *ROOT.glob("infra/*.py")]
    assert len(files) > 40
    for path in files:
        assert len(path.read_text("utf-8").splitlines()) <= 450, path.relative_to(ROOT)


@pytest.mark.parametrize("folder", ["pipeline", "dags"])
def test_there_is_no_assert_outside_tests(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        assert not re.search(r"(?m)^\s*assert\s", path.read_text("utf-8")), path.relative_to(ROOT)


def test_no_tracked_file_equals_a_file_of_the_real_data() -> None:
    data = ROOT.parent / "shared" / "data"
    if not data.is_dir():
        return
    real = {path.read_bytes() for path in data.rglob("*.csv")}
    tracked = subprocess.run(["git", "ls-files", "-z", "*.csv", "*.json"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, tracked):
        assert (ROOT / name).read_bytes() not in real, name


def test_every_json_file_of_ours_is_written_in_one_way() -> None:
    for path in [*ROOT.glob("schemas/**/*.json"), *ROOT.glob("expectations/*.json")]:
        text = path.read_text("utf-8")
        assert json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n" == text, path.relative_to(ROOT)
