"""Reads `schemas/` and `expectations/` into `Definitions`, and digests them so that a release can name the rules it was made by."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import rfc8785

from pipeline.domain.checklist import Item
from pipeline.domain.findings import Rule, Severity
from pipeline.domain.tables import GROUPS, Definitions, Field, FieldType, TableSchema
from pipeline.errors import ConfigurationError, RuleError

SOURCE_TREE = Path(__file__).resolve().parents[2]
INSTALLED = Path(__file__).resolve().parents[1] / "definitions"


def find_definitions() -> Path:
    """Return the folder that holds `schemas/` and `expectations/`: beside an installed package's code, or the source tree.

    Raises: ConfigurationError when neither is there.
    """
    for folder in (INSTALLED, SOURCE_TREE):
        if (folder / "schemas" / "published").is_dir():
            return folder
    raise ConfigurationError("The schemas were not found beside the code. Install the package again, or set OUTCOMES_DEFINITIONS.")


def find_lock() -> str | None:
    """Return the SHA-256 of the lock file of the code's dependencies, if it was installed with the code."""
    for folder in (INSTALLED, SOURCE_TREE):
        if (folder / "requirements.lock").is_file():
            return hashlib.sha256((folder / "requirements.lock").read_bytes()).hexdigest()
    return None


def load_definitions(folder: Path) -> Definitions:
    """Read everything that is data and not code.

    Raises: RuleError when a file is not what it should be; ConfigurationError when the folder holds no schemas.
    """
    if not (folder / "schemas").is_dir():
        raise ConfigurationError(f"{folder} holds no schemas/ folder. Set OUTCOMES_DEFINITIONS to the folder that does.")
    schemas = folder / "schemas"
    disclosure = _read_json(schemas / "published" / "disclosure.json")
    rules = _read_rules(schemas / "rules")
    tables = {group: _read_tables(schemas / group) for group in GROUPS}
    codelists = {path.stem: _read_codelist(path) for path in sorted((schemas / "codelists").glob("*.csv"))}
    suites = {path.stem: _read_json(path) for path in sorted((folder / "expectations").glob("*.json"))}
    return Definitions(
        tables=tables,
        codelists=codelists,
        rules=rules,
        disclosure=disclosure,
        suites=suites,
        checklist=_read_checklist(schemas / "checklist.json"),
        digests={
            "schemas": _digest([*(path for group in GROUPS for path in schemas.glob(f"{group}/*.json")), *schemas.glob("codelists/*.csv")]),
            "rules": _digest([*(schemas / "rules").glob("*.json"), *(folder / "expectations").glob("*.json")]),
            "disclosure": hashlib.sha256(rfc8785.dumps(disclosure)).hexdigest(),
        },
        history={name: _read_json(schemas / "history" / f"{name}.json") for name in ("lineage", "standing")},
    )


def with_rules(definitions: Definitions, path: Path) -> Definitions:
    """Return definitions in which the rules of one more catalogue file take the place of those of the same id, or join them; for trying them out.

    Raises: RuleError when the file is not what it should be.
    """
    with _written_right(path):
        found = [_read_rule(entry) for entry in _read_json(path)["rules"]]
    return replace(definitions, rules=dict(sorted({**definitions.rules, **{rule.id: rule for rule in found}}.items())))


@contextmanager
def _written_right(path: Path) -> Iterator[None]:
    """Say which file is not what it should be, whatever it is that reading it stumbles over."""
    try:
        yield
    except KeyError as error:
        raise RuleError(f"{path.parent.name}/{path.name} has no {error}, which it must have.") from error
    except (OSError, ValueError, TypeError) as error:
        raise RuleError(f"{path.parent.name}/{path.name} cannot be read: {error}") from error


def _read_json(path: Path) -> dict[str, Any]:
    with _written_right(path):
        document = json.loads(path.read_text("utf-8"))
        if not isinstance(document, dict):
            raise TypeError("it is no JSON object")
        return document


def _read_tables(folder: Path) -> Mapping[str, TableSchema]:
    found = {}
    for path in sorted(folder.glob("*.json")):
        document = _read_json(path)
        if "fields" in document:
            with _written_right(path):
                found[path.stem] = _read_table(document)
            _check_table(path, found[path.stem])
    if not found:
        raise RuleError(f"There is no table schema in {folder.name}/.")
    return found


def _read_table(document: Mapping[str, Any]) -> TableSchema:
    fields = [
        Field(
            name=entry["name"],
            type=entry["type"],
            title=entry["title"],
            description=entry["description"],
            unit=entry.get("unit"),
            decimals=entry.get("decimals"),
            codelist=entry.get("codelist"),
            constraints=entry.get("constraints", {}),
        )
        for entry in document["fields"]
    ]
    return TableSchema(
        name=document["name"],
        title=document["title"],
        description=document["description"],
        grain=document["grain"],
        version=document["version"],
        fields=fields,
        primary_key=document["primaryKey"],
    )


def _check_table(path: Path, table: TableSchema) -> None:
    """Raise RuleError when a schema cannot be what it says: a type that is none, a column twice, a key of other columns."""
    where = f"{path.parent.name}/{path.name}"
    if table.name != path.stem:
        raise RuleError(f"{where} is named {table.name} inside.")
    for column in table.fields:
        if column.type not in get_args(FieldType):
            raise RuleError(f"{where} gives {column.name} the type {column.type}, which there is not.")
    if len(set(table.columns)) < len(table.columns) or not set(table.primary_key) <= set(table.columns) or not table.primary_key:
        raise RuleError(f"{where} has a column twice, or a key that its columns do not make.")


def _read_codelist(path: Path) -> Mapping[str, str]:
    with _written_right(path):
        rows = [(row["code"], row["label"]) for row in csv.DictReader(io.StringIO(path.read_text("utf-8")))]
    codes = {code: label for code, label in rows if code and label}
    if not codes or len(codes) < len(rows):
        raise RuleError(f"The code list {path.stem} is empty, has a code twice, or a code without a label.")
    return codes


def _read_rules(folder: Path) -> Mapping[str, Rule]:
    """Return the rules of every catalogue file by id, in order. Raises: RuleError when two files give the same id."""
    rules: dict[str, Rule] = {}
    for path in sorted(folder.glob("*.json")):
        with _written_right(path):
            found = [_read_rule(entry) for entry in _read_json(path)["rules"]]
        for rule in found:
            if rule.id in rules:
                raise RuleError(f"The rule {rule.id} stands twice in the catalogue.")
            rules[rule.id] = rule
    return dict(sorted(rules.items()))


def _read_checklist(path: Path) -> Mapping[str, Item]:
    with _written_right(path):
        items = [Item(**entry) for entry in _read_json(path)["items"]]
    if not items or len({item.code for item in items}) < len(items):
        raise RuleError("The checklist is empty, or has an item twice.")
    return {item.code: item for item in items}


def _read_rule(entry: Mapping[str, Any]) -> Rule:
    return Rule(
        id=entry["id"],
        stage=entry["stage"],
        severity=Severity(entry["severity"]),
        title=entry["title"],
        message=entry["message"],
        fix=entry["fix"],
        why=entry.get("why", ""),
        quarantine=entry.get("quarantine", False),
        must_explain=entry.get("must_explain", False),
        limits=entry.get("limits", {}),
    )


def _digest(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f"{path.parent.name}/{path.name}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
