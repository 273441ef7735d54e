"""The changes of a version as a table: every cell that differs from the version before, with old, new and causes; and the same summed up.

A figure that is hidden in one of the two versions shows neither value, and its cause says no more than its status does; one that is hidden in both,
or hidden where the other version has no row, is not there at all. Called for a candidate, and by whoever compares two published versions.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.domain.release import Change, Version
from pipeline.domain.tables import Definitions, TableSchema
from pipeline.stages.causes import TOTAL, Cause, Explainer
from pipeline.stages.comparison import HIDDEN, STATUS, Differences, TableDifferences, is_figure
from pipeline.stages.frames import conform, equal_to

NAME = "changes"
JOINT = ";"
SUMMARY = "changes.json"
FORMAT = "openoutcomes.changes/1"
MASKED = frozenset({"hidden", "shown"})

Explain = Callable[[str, str, Mapping[str, str | None], str], Cause]
"""Takes table, column, key of the row and change; says why."""


def make_changes(differences: Differences, definitions: Definitions, explainer: Explainer | None) -> pa.Table:
    """Return the table of changes of a version; without a row for a fund's first version.

    Args: explainer, None for the first version only.
    """
    if differences.is_first or explainer is None:
        return _table([], definitions)
    return list_changes(differences, definitions, lambda table, column, row, change: _why(explainer, table, column, row, change))


def list_changes(differences: Differences, definitions: Definitions, explain: Explain) -> pa.Table:
    """Return the changes between two versions, sorted by table, row and column; `explain` is asked for the cause of each.

    Cells of a table or column that came or went are not listed one by one: the changelog names the table or the column.
    """
    rows = []
    for table, schema in ((table, table.schema) for table in differences.tables.values() if table.schema is not None):
        key = schema.primary_key
        for cell in _cells(table, schema):
            row, column, change = {name: cell[name] for name in key}, str(cell["column"]), str(cell["change"])
            cause = explain(table.name, column, row, change)
            project = row.get("project_id")
            place = (table.name, row_key(row.values()), column, None if project == TOTAL else project, row.get("quarter"))
            said = (JOINT.join(codes) or None for codes in (cause.causes, cause.reasons, cause.sources))
            rows.append((*place, change, *(cell[name] for name in ("old", "old_status", "new", "new_status")), *said))
    return _table(rows, definitions)


def row_key(values: Any) -> str:
    """Return the key of a row as one text."""
    return "/".join("" if value is None else str(value).replace("%", "%25").replace("/", "%2F") for value in values)


def row_keys(table: pa.Table, key: Sequence[str]) -> pa.Array:
    """Return the key of every row as `row_key` writes it."""
    texts = [table[name].combine_chunks().cast(pa.string()) for name in key]
    safe = [pc.replace_substring(pc.replace_substring(pc.fill_null(text, ""), "%", "%25"), "/", "%2F") for text in texts]
    return pc.binary_join_element_wise(*safe, "/")


def count_causes(changes: pa.Table) -> Sequence[tuple[Cause, int]]:
    """Return how many cells changed of each cause, the most frequent first."""
    columns = [changes[name].to_pylist() for name in ("causes", "reasons", "sources")]
    counted = Counter(zip(*columns, strict=True))
    ordered = sorted(counted.items(), key=lambda item: (-item[1], *(part or "" for part in item[0])))
    return [(Cause(*(tuple(_split(part)) for part in parts)), cells) for parts, cells in ordered]


def weight(base_version: str | None, version: str) -> Change | None:
    """Return by the numbers how weighty the step from a version to the next is; None for the first."""
    if base_version is None:
        return None
    old, new = Version.parse(base_version), Version.parse(version)
    return "major" if new.major != old.major else "minor" if new.minor != old.minor else "patch"


def summarise(changes: pa.Table, differences: Differences, version: str, base_version: str | None) -> bytes:
    """Return `changes.json`: for each table how many cells changed and how, and of what cause; whether the version breaks its readers."""
    step = weight(base_version, version)
    kinds: dict[str, Counter[str]] = {}
    for table, change in zip(changes["table_name"].to_pylist(), changes["change"].to_pylist(), strict=True):
        kinds.setdefault(table, Counter())[change] += 1
    document = {
        "format": FORMAT,
        "version": version,
        "base_version": base_version,
        "weight": step or "first",
        "is_breaking": step == "major",
        "cells": changes.num_rows,
        "tables": {name: _about(table, kinds.get(name, Counter())) for name, table in differences.tables.items()},
        "causes": [
            {"causes": list(why.causes), "reasons": list(why.reasons), "sources": list(why.sources), "cells": cells}
            for why, cells in count_causes(changes)
        ],
    }
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def _about(table: TableDifferences, kinds: Mapping[str, int]) -> Mapping[str, Any]:
    return {
        "cells": dict(sorted(kinds.items())),
        "is_new": table.is_new,
        "is_gone": table.schema is None,
        "rows_added": table.rows_added,
        "rows_removed": table.rows_removed,
        "columns_added": list(table.columns_added),
        "columns_removed": list(table.columns_removed),
        "columns_retyped": list(table.columns_retyped),
    }


def _split(codes: str | None) -> list[str]:
    return codes.split(JOINT) if codes else []


def _why(explainer: Explainer, table: str, column: str, row: Mapping[str, str | None], change: str) -> Cause:
    if change in MASKED:
        return explainer.suppression()
    return explainer.explain(table, column, row, is_row_new=change in ("added", "removed"))


def _table(rows: Sequence[tuple[str | None, ...]], definitions: Definitions) -> pa.Table:
    schema = definitions.table("history", NAME)
    cells = {name: pa.array([row[number] for row in rows], pa.string()) for number, name in enumerate(schema.columns)}
    return conform(schema, pa.table(cells))


def _cells(table: TableDifferences, schema: TableSchema) -> Iterator[dict[str, str | None]]:
    """Yield the changed cells of a table as mappings of text: those of rows that stand in both versions, then figures of rows that came and went."""
    key = schema.primary_key
    yield from table.cells.to_pylist()
    for change, rows, side, other in (("added", table.came, "new", "old"), ("removed", table.went, "old", "new")):
        if not rows.num_rows or not set(key) <= set(rows.column_names):
            continue
        for column in _figure_columns(schema, rows):
            has_status = column + STATUS in rows.column_names
            status = rows[column + STATUS] if has_status else pa.chunked_array([pa.nulls(rows.num_rows, pa.string())])
            cells = pa.table(
                {name: rows[name].cast(pa.string()) for name in key} | {side: rows[column].cast(pa.string()), side + STATUS: status.cast(pa.string())}
            )
            for cell in cells.filter(pc.and_(pc.is_valid(cells[side]), pc.invert(equal_to(cells[side + STATUS], HIDDEN)))).to_pylist():
                yield cell | {"column": column, "change": change, other: None, other + STATUS: None}


def _figure_columns(schema: TableSchema, rows: pa.Table) -> Sequence[str]:
    return [column.name for column in schema.fields if is_figure(schema, column) and column.name in rows.column_names]
