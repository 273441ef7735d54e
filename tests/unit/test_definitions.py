"""The definitions: those that we ship hold together, and a broken one is named instead of used."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters import definitions as module
from pipeline.adapters.definitions import find_definitions, load_definitions, with_rules
from pipeline.domain.tables import GROUPS
from pipeline.errors import ConfigurationError, RuleError
from pipeline.stages.frames import PEOPLE
from tests.factories import DEFINITIONS, ROOT

TABLES = [(group, name) for group in GROUPS for name in DEFINITIONS.tables[group]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a copy of the definitions that can be broken."""
    shutil.copytree(ROOT / "schemas", tmp_path / "schemas")
    shutil.copytree(ROOT / "expectations", tmp_path / "expectations")
    return tmp_path


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def places(node: Any) -> Iterator[Mapping[str, Any]]:
    """Yield every part of the disclosure rules that speaks of columns of a table."""
    if isinstance(node, dict):
        if "table" in node:
            yield node
        for child in node.values():
            yield from places(child)
    elif isinstance(node, list):
        for child in node:
            yield from places(child)


def test_there_is_something_of_every_kind() -> None:
    assert all(DEFINITIONS.tables[group] for group in GROUPS)
    assert min(len(DEFINITIONS.rules), len(DEFINITIONS.codelists), len(DEFINITIONS.suites)) > 5
    assert set(DEFINITIONS.digests) == {"schemas", "rules", "disclosure"}


@pytest.mark.parametrize(("group", "name"), TABLES)
def test_every_code_list_that_a_column_names_is_there(group: Any, name: str) -> None:
    named = {column.codelist for column in DEFINITIONS.table(group, name).fields} - {None}
    assert named <= set(DEFINITIONS.codelists)


@pytest.mark.parametrize(("group", "name"), TABLES)
def test_every_column_is_explained_and_every_key_must_be_filled_unless_it_is_of_a_plan(group: Any, name: str) -> None:
    table = DEFINITIONS.table(group, name)
    assert all(column.title and column.description for column in table.fields)
    optional = {column for column in table.primary_key if not table.field(column).is_required}
    assert not optional or (group, name) == ("register", "plans")


def test_every_published_table_is_named_in_the_disclosure_rules_and_no_other() -> None:
    assert set(DEFINITIONS.disclosure["tables"]) == set(DEFINITIONS.tables["published"])


def test_a_table_without_cells_to_protect_says_why() -> None:
    for name, entry in DEFINITIONS.disclosure["tables"].items():
        assert entry["cells"] or entry["reason"], name


def test_the_disclosure_rules_speak_of_columns_that_there_are() -> None:
    for name, entry in DEFINITIONS.disclosure["tables"].items():
        table = DEFINITIONS.table("published", name)
        protected = [item["column"] for item in [*entry["cells"], *entry.get("derived", [])]]
        assert {f"{column}_status" for column in protected} | set(protected) <= set(table.columns)
        assert {item["people"].removesuffix(PEOPLE) for item in entry["cells"]} <= set(table.columns)


def test_the_relations_between_cells_speak_of_columns_that_there_are() -> None:
    relations = list(places(DEFINITIONS.disclosure["relations"]))
    assert len(relations) > 10
    for part in relations:
        columns = DEFINITIONS.table("published", part["table"]).columns
        named = [part[name] for name in ("column", "value", "running", "order") if name in part]
        assert {*named, *part.get("where", ()), *part.get("where_not", ())} <= set(columns)


def test_every_figure_that_may_be_hidden_has_a_status_of_the_code_list() -> None:
    for table in DEFINITIONS.tables["published"].values():
        for column in table.fields:
            if column.name.endswith("_status"):
                assert column.name.removesuffix("_status") in table.columns
                assert set(column.constraints["enum"]) == set(DEFINITIONS.codelists["cell_status"])


def test_every_expectation_names_a_rule_that_there_is() -> None:
    named = [expectation["meta"]["rule"] for suite in DEFINITIONS.suites.values() for expectation in suite["expectations"]]
    assert len(named) > len(DEFINITIONS.suites)
    assert set(named) <= set(DEFINITIONS.rules)


def test_every_published_table_has_a_suite_and_so_has_every_table_of_a_return() -> None:
    expected = {f"published_{name}" for name in DEFINITIONS.tables["published"]}
    expected |= {f"submission_{name}" for name in DEFINITIONS.tables["submission"] if name != "cover"}
    assert set(DEFINITIONS.suites) == expected


def test_every_rule_says_what_is_wrong_and_what_to_do() -> None:
    assert all(rule.title and rule.message and rule.fix and rule.stage for rule in DEFINITIONS.rules.values())
    assert list(DEFINITIONS.rules) == sorted(DEFINITIONS.rules)


def test_what_is_not_defined_is_named() -> None:
    with pytest.raises(RuleError, match="no schema published/nothing"):
        DEFINITIONS.table("published", "nothing")
    with pytest.raises(RuleError, match="no rule X-1"):
        DEFINITIONS.rule("X-1")
    with pytest.raises(RuleError, match="payers has no column nothing"):
        DEFINITIONS.table("register", "payers").field("nothing")


def test_the_definitions_are_found_in_the_source_tree() -> None:
    assert find_definitions() == ROOT


def test_the_definitions_of_an_installed_package_lie_beside_its_code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INSTALLED", folder)
    assert find_definitions() == folder


def test_a_package_without_definitions_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INSTALLED", tmp_path)
    monkeypatch.setattr(module, "SOURCE_TREE", tmp_path)
    with pytest.raises(ConfigurationError, match="set OUTCOMES_DEFINITIONS"):
        find_definitions()


def test_a_folder_without_schemas_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"{tmp_path} holds no schemas/ folder"):
        load_definitions(tmp_path)


def test_the_same_files_have_the_same_digests_wherever_they_lie(folder: Path) -> None:
    assert load_definitions(folder).digests == DEFINITIONS.digests


@pytest.mark.parametrize(
    ("path", "moved"),
    [
        ("schemas/register/payers.json", {"schemas"}),
        ("schemas/facts/outcomes.json", {"schemas"}),
        ("schemas/codelists/unit.csv", {"schemas"}),
        ("schemas/rules/delivery.json", {"rules"}),
        ("expectations/published_projects.json", {"rules"}),
        ("schemas/published/disclosure.json", {"schemas"}),
    ],
)
def test_a_byte_more_moves_the_digest_of_its_kind(folder: Path, path: str, moved: set[str]) -> None:
    (folder / path).write_bytes((folder / path).read_bytes() + b"\n")
    digests = load_definitions(folder).digests
    assert {name for name in digests if digests[name] != DEFINITIONS.digests[name]} == moved


def test_another_threshold_moves_the_digest_of_the_disclosure_rules(folder: Path) -> None:
    change(folder / "schemas/published/disclosure.json", threshold={"value": 10})
    assert load_definitions(folder).digests["disclosure"] != DEFINITIONS.digests["disclosure"]


def test_a_rule_that_stands_in_two_files_is_named(folder: Path) -> None:
    shutil.copy(folder / "schemas/rules/delivery.json", folder / "schemas/rules/again.json")
    with pytest.raises(RuleError, match="rule D-001 stands twice"):
        load_definitions(folder)


@pytest.mark.parametrize("content", ["{", "[]", "nothing", '"text"'])
@pytest.mark.parametrize("path", ["schemas/register/payers.json", "schemas/rules/delivery.json", "expectations/published_projects.json"])
def test_a_file_that_is_no_json_object_is_named(folder: Path, path: str, content: str) -> None:
    (folder / path).write_text(content)
    with pytest.raises(RuleError, match=Path(path).name):
        load_definitions(folder)


def test_a_file_that_is_not_there_is_named(folder: Path) -> None:
    (folder / "schemas/published/disclosure.json").unlink()
    with pytest.raises(RuleError, match=r"published/disclosure\.json cannot be read"):
        load_definitions(folder)


@pytest.mark.parametrize("key", ["name", "title", "description", "grain", "version", "primaryKey"])
def test_a_schema_that_lacks_a_part_is_named_with_the_part(folder: Path, key: str) -> None:
    path = folder / "schemas/register/payers.json"
    path.write_text(json.dumps({name: value for name, value in json.loads(path.read_text()).items() if name != key}))
    with pytest.raises(RuleError, match=rf"register/payers\.json has no '{key}'"):
        load_definitions(folder)


@pytest.mark.parametrize("broken", [{"severity": "dreadful"}, {"fix": None}])
def test_a_rule_that_is_not_whole_is_refused(folder: Path, broken: dict[str, Any]) -> None:
    path = folder / "schemas/rules/delivery.json"
    rule = {name: value for name, value in (json.loads(path.read_text())["rules"][0] | broken).items() if value is not None}
    change(path, rules=[rule])
    with pytest.raises(RuleError, match=r"rules/delivery\.json"):
        load_definitions(folder)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"name": "others"}, "is named others inside"),
        ({"primaryKey": ["nothing"]}, "a key that its columns do not make"),
        ({"primaryKey": []}, "a key that its columns do not make"),
        ({"fields": [{"name": "payer_id", "type": "text", "title": "Payer", "description": "Who pays."}]}, "the type text, which there is not"),
        ({"fields": [{"name": "payer_id", "type": "string", "title": "Payer", "description": "Who pays."}] * 2}, "has a column twice"),
    ],
)
def test_a_schema_that_cannot_be_what_it_says_is_refused(folder: Path, broken: dict[str, Any], words: str) -> None:
    change(folder / "schemas/register/payers.json", **broken)
    with pytest.raises(RuleError, match=words):
        load_definitions(folder)


def test_a_group_without_a_schema_is_named(folder: Path) -> None:
    for path in (folder / "schemas/facts").glob("*.json"):
        path.unlink()
    with pytest.raises(RuleError, match="no table schema in facts/"):
        load_definitions(folder)


@pytest.mark.parametrize("content", ["", "code,label\n", "code,label\na,One\na,Another\n", "code,label\na\n", "code,label\n,Nothing\n"])
def test_a_code_list_that_is_empty_or_says_a_code_twice_is_named(folder: Path, content: str) -> None:
    (folder / "schemas/codelists/unit.csv").write_text(content)
    with pytest.raises(RuleError, match="code list unit is empty, has a code twice"):
        load_definitions(folder)


def test_a_code_list_with_other_columns_is_named(folder: Path) -> None:
    (folder / "schemas/codelists/unit.csv").write_text("letter,meaning\na,One\n")
    with pytest.raises(RuleError, match=r"codelists/unit\.csv has no 'code'"):
        load_definitions(folder)


def test_a_rule_of_another_file_takes_the_place_of_ours_or_joins_them(tmp_path: Path) -> None:
    path = tmp_path / "stricter.json"
    rule = {"id": "K-305", "stage": "contract", "severity": "error", "title": "Late fact", "message": "Late.", "fix": "Ask.", "must_explain": True}
    path.write_text(json.dumps({"rules": [rule, rule | {"id": "K-001"}]}))
    tried = with_rules(DEFINITIONS, path)
    assert (tried.rule("K-305").severity, tried.rule("K-305").must_explain, DEFINITIONS.rule("K-305").severity) == ("error", True, "note")
    assert list(tried.rules) == sorted({*DEFINITIONS.rules, "K-001"})
    path.write_text(json.dumps({"rules": [{"id": "K-305"}]}))
    with pytest.raises(RuleError, match="has no 'stage'"):
        with_rules(DEFINITIONS, path)
