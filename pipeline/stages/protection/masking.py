"""Taking hidden figures out of the tables, and with them whatever they could be worked back from."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.domain.tables import TableSchema
from pipeline.stages import frames
from pipeline.stages.protection.cells import Grid
from pipeline.stages.protection.rules import STATUS, DisclosureRules, SummaryRule, TableRules

Mask = Sequence[bool]


def mask_table(schema: TableSchema, grid: Grid, hidden: Collection[int], table: TableRules, rules: DisclosureRules) -> tuple[pa.Table, int]:
    """Return a table as it may be published, and how many derived figures went with the hidden cells."""
    cells = {rule.column: [number in hidden for number in grid.places[rule.column]] for rule in table.cells}
    derived = _derived_masks(grid.frame, cells, table, rules)
    frame = grid.frame
    for column, mask in {**cells, **derived}.items():
        frame = _blank(frame, column, mask, rules.suppressed)
    return frames.conform(schema, frame), sum(sum(mask) for mask in derived.values())


def _derived_masks(frame: pa.Table, cells: Mapping[str, Mask], table: TableRules, rules: DisclosureRules) -> Mapping[str, Mask]:
    """Return where derived figures must go: those that exist and come from a hidden cell, or sum up one that goes."""
    masks: dict[str, list[bool]] = {}
    for rule in table.derived:
        any_part = [any(parts) for parts in zip(*(cells[part] for part in rule.parts), strict=True)]
        masks[rule.column] = [is_hidden and exists for is_hidden, exists in zip(any_part, _exists(frame, rule.column, rules), strict=True)]
    if table.summary is not None:
        for column in table.summary.columns:
            exists = _exists(frame, column, rules)
            for row in _summaries_of_hidden(frame, table.summary, masks[column]):
                masks[column][row] = exists[row]
    return masks


def _exists(frame: pa.Table, column: str, rules: DisclosureRules) -> Mask:
    return [status not in rules.absent for status in frame[column + STATUS].to_pylist()]


def _summaries_of_hidden(frame: pa.Table, summary: SummaryRule, mask: Mask) -> Sequence[int]:
    """Return the rows that sum up, among others, a row whose figure goes."""
    going = [row for row in summary.of.numbers(frame) if mask[row]]
    found: list[int] = []
    levels = frame[summary.level].to_pylist()
    for level, by in summary.within.items():
        columns = [frame[name].to_pylist() for name in by]
        touched = {tuple(column[row] for column in columns) for row in going}
        found += [row for row in summary.rows.numbers(frame) if levels[row] == level and tuple(column[row] for column in columns) in touched]
    return found


def _blank(frame: pa.Table, column: str, mask: Mask, marker: str) -> pa.Table:
    flags = pa.array(mask, pa.bool_())
    values = pc.if_else(flags, pa.scalar(None, frame[column].type), frame[column])
    statuses = pc.if_else(flags, pa.scalar(marker, pa.string()), frame[column + STATUS])
    frame = frame.set_column(frame.column_names.index(column), column, values)
    return frame.set_column(frame.column_names.index(column + STATUS), column + STATUS, statuses)
