"""The attacks that need no more than looking: figures that should not be there, and subtraction in a single line."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from pipeline.stages.audit.equations import Line
from pipeline.stages.audit.evidence import STATUS, Evidence, Figure, PublicTable
from pipeline.stages.audit.report import Weakness

INTERNAL = "__"
"""Column names with this are of the pipeline's inside."""

Outcome = tuple[int, Sequence[Weakness]]
"""How many cells an attack tried, and where it got through."""


def find_small_counts(evidence: Evidence, disclosure: Mapping[str, Any]) -> Outcome:
    """Look for a published count below the threshold: of people, or of outcomes, behind which there are no more people than that."""
    lowest = 0 if disclosure["hide_zeros"]["value"] else 1
    shown = [figure for figure in evidence.figures if figure.is_count and figure.value is not None]
    small = [figure for figure in shown if figure.value is not None and lowest <= figure.value < disclosure["threshold"]["value"]]
    return len(shown), [point_at("small_count", figure) for figure in small]


def find_leftovers(evidence: Evidence, disclosure: Mapping[str, Any]) -> Outcome:
    """Look for what protection should have taken away: inner columns, values beside the marker, statuses that mean nothing, figures out of place."""
    tried = 0
    found = []
    for name, table in evidence.tables.items():
        rules = disclosure["tables"][name]
        found += [Weakness(attack="leftover", table=name, row="", column=column) for column in table.frame.column_names if INTERNAL in column]
        meant = set(table.rows(rules.get("rows", {})))
        cells = {cell["column"] for cell in rules["cells"]}
        for column in _columns_with_status(rules):
            tried += table.frame.num_rows
            for row in _ill_marked(table, column, disclosure["status"]):
                found.append(Weakness(attack="leftover", table=name, row=table.key(row), column=column))
            strays = [row for row in range(table.frame.num_rows) if column in cells and row not in meant and table.figures[column][row] is not None]
            found += [Weakness(attack="leftover", table=name, row=table.key(row), column=column) for row in strays]
    return tried, found


def _columns_with_status(rules: Mapping[str, Any]) -> Sequence[str]:
    return [entry["column"] for entry in (*rules["cells"], *rules.get("derived", []))]


def _ill_marked(table: PublicTable, column: str, codes: Mapping[str, str]) -> Iterator[int]:
    empty = {codes["suppressed"], codes["unavailable"], codes["not_applicable"]}
    for row, (value, status) in enumerate(zip(table.column(column), table.column(column + STATUS), strict=True)):
        if status not in codes.values() or (value is None) != (status in empty):
            yield row


def find_derived(evidence: Evidence, disclosure: Mapping[str, Any]) -> Outcome:
    """Look for shares, costs and averages that are shown although a figure that they are made of is hidden."""
    tried = 0
    found = []
    marker = disclosure["status"]["suppressed"]
    for name, table in evidence.tables.items():
        rules = disclosure["tables"][name]
        for column, row, parts in (*_derived_parts(table, rules), *_summary_parts(table, rules)):
            tried += 1
            if _is_shown(table, column, row, disclosure["status"]) and any(table.column(part + STATUS)[place] == marker for part, place in parts):
                found.append(Weakness(attack="derived_shown", table=name, row=table.key(row), column=column))
    return tried, found


Made = tuple[str, int, Sequence[tuple[str, int]]]
"""A figure that is made of others: its column and row, and theirs."""


def _derived_parts(table: PublicTable, rules: Mapping[str, Any]) -> Iterator[Made]:
    for derived in rules.get("derived", []):
        for row in range(table.frame.num_rows):
            yield derived["column"], row, [(part, row) for part in derived["from"]]


def _summary_parts(table: PublicTable, rules: Mapping[str, Any]) -> Iterator[Made]:
    """Yield each figure of a summary row with the rows that it sums up."""
    if "summaries" not in rules:
        return
    summaries = rules["summaries"]
    (level,) = {*summaries["of"]} - {*summaries["rows"]}
    summed = table.rows(summaries["of"])
    for row in table.rows(summaries["rows"]):
        same = [table.column(name) for name in summaries["within"][table.column(level)[row]]]
        rows = [other for other in summed if all(column[other] == column[row] for column in same)]
        for column in summaries["columns"]:
            yield column, row, [(column, other) for other in rows]


def _is_shown(table: PublicTable, column: str, row: int, codes: Mapping[str, str]) -> bool:
    empty = (codes["suppressed"], codes["unavailable"], codes["not_applicable"])
    return table.column(column)[row] is not None or table.column(column + STATUS)[row] not in empty


def find_subtractions(evidence: Evidence, lines: Sequence[Line], given: Collection[int] = ()) -> Outcome:
    """Subtract, in each line, what is shown from the total: a line with one hidden figure gives it away."""
    tried = {figure for line in lines for figure in line.signs}
    bare = {figure for line in lines if len(line.signs) == 1 for figure in line.signs if evidence.figures[figure].is_count or not line.is_priced} - {
        *given
    }
    return len(tried), [point_at("subtraction", evidence.figures[number]) for number in sorted(bare)]


def point_at(attack: str, figure: Figure) -> Weakness:
    """Return the weakness of one figure."""
    return Weakness(attack=attack, table=figure.table, row=figure.home.key(figure.row), column=figure.column)
