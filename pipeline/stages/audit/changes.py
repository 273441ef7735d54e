"""The attack on the file of changes: does it show what the tables hide, or say more of a hidden figure than its status does?

Reads the file as an outsider has it, against the public tables of the candidate and of the version before, by code that neither protection nor the
stage that wrote the file uses.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa

from pipeline.errors import RuleError
from pipeline.stages.audit.evidence import STATUS
from pipeline.stages.audit.report import Weakness

ABOUT_HIDDEN = frozenset({"suppression", "method"})
"""The causes that may stand beside a figure that is hidden in one of two versions: they tell no more than its status does."""

MADE_OF: Mapping[str, tuple[str, str]] = {
    "users_count": ("service_users_by_quarter", "starts_count"),
    "outcomes_quantity": ("outcomes_by_quarter", "achieved_quantity"),
    "paid_gbp": ("payments_by_quarter", "paid_gbp"),
}
"""The totals of `performance`, and the table and column whose figures they add up."""

Tables = Mapping[str, pa.Table]
Keys = Mapping[str, Sequence[str]]
Cell = tuple[str | None, str | None]
"""What a version publishes in a cell, as text, and its status; both None where the row or the column is not there."""


@dataclass(frozen=True)
class ChangesFile:
    """What a candidate says has changed: the table, its sum (`changes.json`) and its changelog in words."""

    table: pa.Table
    summary: bytes
    words: bytes


def attack_changes(
    file: ChangesFile, now: Tables, before: Tables | None, keys: Mapping[str, Sequence[str]], hidden: str
) -> tuple[int, list[Weakness]]:
    """Look for a value that the tables do not publish, and for words about a figure that is hidden in one of the two versions.

    Args: before, the version before, None when there is none; keys, the key columns of each table; hidden, the status of a hidden figure.
    Returns: how many changes were looked at, and where the attack got through.
    Raises: RuleError when a table that a change speaks of cannot be looked at.
    """
    read = {"old": _Reader(before or {}, keys), "new": _Reader(now, keys)}
    found: list[Weakness] = []
    rows = file.table.to_pylist()
    for row in rows:
        place = (str(row["table_name"]), str(row["row_key"]), str(row["column_name"]))
        cells = {side: reader.cell(*place) for side, reader in read.items()}
        found += [
            Weakness(attack=attack, table=place[0], row=place[1], column=place[2]) for attack, is_through in _judge(row, cells, hidden) if is_through
        ]
    return len(rows), [*found, *_judge_sources(rows, now, before or {}, hidden), *_judge_summary(file), *_judge_words(file, rows)]


def _judge(row: Mapping[str, Any], cells: Mapping[str, Cell], hidden: str) -> Iterator[tuple[str, bool]]:
    (old, old_status), (new, new_status) = cells["old"], cells["new"]
    is_hidden = hidden in (old_status, new_status)
    yield "changes_old", row["old"] is not None and (is_hidden or row["old"] != old)
    yield "changes_new", row["new"] is not None and (is_hidden or row["new"] != new)
    yield "changes_status", (row["old_status"], row["new_status"]) != (old_status, new_status)
    yield "changes_hidden", old_status == new_status == hidden or (is_hidden and None in (old_status, new_status))
    says_more = not set(str(row["causes"]).split(";")) <= ABOUT_HIDDEN or row["reasons"] is not None or row["sources"] is not None
    yield "changes_cause", is_hidden and says_more


def _judge_sources(rows: Sequence[Mapping[str, Any]], now: Tables, before: Tables, hidden: str) -> Iterator[Weakness]:
    """Look for a total that names the returns that changed it and leaves one out whose own figure is hidden: then that figure did not change it.

    Which returns differ is public: completeness names the revision of each.
    """
    differing = _revisions(now) ^ _revisions(before)
    sectors = dict(zip(*(now["projects"][name].to_pylist() for name in ("project_id", "policy_sector")), strict=True)) if "projects" in now else {}
    veiled = {column: _hidden_quarters(part, (now, before), hidden) for column, part in MADE_OF.items()}
    for row in rows:
        if row["table_name"] != "performance" or row["sources"] is None or row["column_name"] not in veiled:
            continue
        _, sector, project, *_ = str(row["row_key"]).split("/")
        named = {tuple(source.split("/")[:2]) for source in str(row["sources"]).split(";")}
        for place in sorted({(project_id, quarter) for project_id, quarter, _ in differing} & veiled[row["column_name"]]):
            if project in ("all", place[0]) and sector in ("all", sectors.get(place[0])) and place not in named:
                yield Weakness(attack="changes_omission", table="performance", row=str(row["row_key"]), column=str(row["column_name"]))


def _revisions(tables: Tables) -> set[tuple[str, str, int]]:
    """Return which revision of which return is in a version."""
    if "completeness" not in tables:
        return set()
    columns = [tables["completeness"][name].to_pylist() for name in ("project_id", "quarter", "revision")]
    return {(project, quarter, revision) for project, quarter, revision in zip(*columns, strict=True) if revision is not None}


def _hidden_quarters(part: tuple[str, str], versions: Sequence[Tables], hidden: str) -> set[tuple[str, str]]:
    """Return the projects and quarters of which a version hides a figure."""
    table, column = part
    found: set[tuple[str, str]] = set()
    for tables in versions:
        if table in tables and column + STATUS in tables[table].column_names:
            columns = [tables[table][name].to_pylist() for name in ("project_id", "quarter", column + STATUS)]
            names = tables[table]["characteristic"].to_pylist() if "characteristic" in tables[table].column_names else ["all"] * len(columns[0])
            found |= {
                (project, quarter) for project, quarter, status, name in zip(*columns, names, strict=True) if status == hidden and name == "all"
            }
    return found


def _judge_summary(file: ChangesFile) -> Iterator[Weakness]:
    """Look whether the sum is one of the table's rows and nothing else: a count of its own could tell of cells that are not listed."""
    document = json.loads(file.summary)
    counted = Counter(zip(file.table["table_name"].to_pylist(), file.table["change"].to_pylist(), strict=True))
    told = Counter({(name, change): cells for name, table in document["tables"].items() for change, cells in table["cells"].items()})
    causes = Counter(zip(*(file.table[name].to_pylist() for name in ("causes", "reasons", "sources")), strict=True))
    named: Counter[Any] = Counter()
    for entry in document["causes"]:
        named[tuple(";".join(entry[name]) or None for name in ("causes", "reasons", "sources"))] += entry["cells"]
    if told != counted or named != causes or document["cells"] != file.table.num_rows:
        yield Weakness(attack="changes_summary", table="changes", row="", column="")


def _judge_words(file: ChangesFile, rows: Sequence[Mapping[str, Any]]) -> Iterator[Weakness]:
    """Look whether the words tell an old and a new value of a cell that the table does not tell them of."""
    pairs = {(row["column_name"], row["old"] or "empty", row["new"] or "empty") for row in rows if row["change"] == "changed"}
    for line in file.words.decode().splitlines():
        if not line.startswith("- ") or "` from " not in line or " to " not in line:
            continue
        column = line.split("`")[1]
        values = tuple(text.replace("\\", "") for text in line.split("` from ", 1)[1].split(" to ", 1))
        if "a text" not in values and (column, *values) not in pairs:
            yield Weakness(attack="changes_words", table="changes", row="", column=column)


class _Reader:
    """Reads cells of public tables by the key that the file of changes names them by."""

    def __init__(self, tables: Tables, keys: Keys) -> None:
        self._tables = tables
        self._keys = keys
        self._rows: dict[str, Mapping[str, int]] = {}
        self._columns: dict[tuple[str, str], Sequence[Any]] = {}

    def cell(self, table: str, row: str, column: str) -> Cell:
        """Return what is published in a cell."""
        number = self._numbers(table).get(row)
        if number is None or column not in self._tables[table].column_names:
            return None, None
        has_status = column + STATUS in self._tables[table].column_names
        return self._value(table, column, number), self._value(table, column + STATUS, number) if has_status else None

    def _value(self, table: str, column: str, number: int) -> str | None:
        if (table, column) not in self._columns:
            self._columns[table, column] = self._tables[table][column].to_pylist()
        return _written(self._columns[table, column][number])

    def _numbers(self, table: str) -> Mapping[str, int]:
        if table not in self._tables:
            return {}
        if table not in self._rows:
            if table not in self._keys:
                raise RuleError(f"The file of changes speaks of table {table}, whose key is not known: it cannot be audited.")
            columns = [self._tables[table][name].to_pylist() for name in self._keys[table]]
            self._rows[table] = {"/".join(_escaped(value) for value in row): number for number, row in enumerate(zip(*columns, strict=True))}
        return self._rows[table]


def _escaped(value: object) -> str:
    return (_written(value) or "").replace("%", "%25").replace("/", "%2F")


def _written(value: object) -> str | None:
    """Return a value as the CSV files write it."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
