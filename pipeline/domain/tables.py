"""What a table is: its columns, types, units and grain, as declared in `schemas/`. Data, not code, decides; this gives it a shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pipeline.domain.checklist import Item
from pipeline.domain.findings import Rule
from pipeline.errors import RuleError

FieldType = Literal["string", "integer", "number", "boolean", "date"]
Group = Literal["submission", "register", "facts", "published", "history"]
GROUPS: tuple[Group, ...] = ("submission", "register", "facts", "published", "history")


@dataclass(frozen=True, kw_only=True)
class Field:
    """One column. `decimals` is the scale of a number; `codelist` names the code list that its values come from."""

    name: str
    type: FieldType
    title: str
    description: str
    unit: str | None = None
    decimals: int | None = None
    codelist: str | None = None
    constraints: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_required(self) -> bool:
        """Whether an empty cell is an error."""
        return bool(self.constraints.get("required", False))


@dataclass(frozen=True, kw_only=True)
class TableSchema:
    """One table: its grain in words, its columns in order, and its key."""

    name: str
    title: str
    description: str
    grain: str
    version: int
    fields: Sequence[Field]
    primary_key: Sequence[str]

    def field(self, name: str) -> Field:
        """Return one column. Raises: RuleError when the schema has none of that name."""
        for column in self.fields:
            if column.name == name:
                return column
        raise RuleError(f"The schema of {self.name} has no column {name}.")

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return tuple(column.name for column in self.fields)


@dataclass(frozen=True, kw_only=True)
class Definitions:
    """Everything that is data and not code: table schemas, code lists, rules, disclosure rules, and a digest of each part.

    `codelists` maps a list's name to code and label; `digests` has `schemas`, `rules` and `disclosure`; `checklist` is what is looked at before a
    release goes out, by code; `history` has the documents of `schemas/history/` that are no table: of what each published cell is made (`lineage`),
    and when a figure is final (`standing`).
    """

    tables: Mapping[Group, Mapping[str, TableSchema]]
    codelists: Mapping[str, Mapping[str, str]]
    rules: Mapping[str, Rule]
    disclosure: Mapping[str, Any]
    suites: Mapping[str, Mapping[str, Any]]
    digests: Mapping[str, str]
    history: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    checklist: Mapping[str, Item] = field(default_factory=dict)

    def table(self, group: Group, name: str) -> TableSchema:
        """Return one table schema. Raises: RuleError when there is none of that name."""
        found = self.tables[group].get(name)
        if found is None:
            raise RuleError(f"There is no schema {group}/{name}.")
        return found

    def rule(self, rule_id: str) -> Rule:
        """Return one rule of the catalogue. Raises: RuleError when there is none of that id."""
        found = self.rules.get(rule_id)
        if found is None:
            raise RuleError(f"The rule catalogue has no rule {rule_id}.")
        return found
