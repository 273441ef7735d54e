"""What the audit says against answers from outside the project: intervals by another package and another solver, and cases from the literature.

The files stand beside the project, not in it; in CI they must be there. Elsewhere a table made up by hand is tried instead.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.stages.audit import audit
from pipeline.stages.audit.equations import draw_lines, group_lines
from pipeline.stages.audit.evidence import gather_evidence
from pipeline.stages.audit.intervals import find_intervals

GOLD = Path(__file__).resolve().parents[3] / "shared" / "data" / "disclosure"
Tree = Mapping[str, Sequence[Sequence[str]]]
"""For each total the ways in which it is divided."""
GEO: Tree = {"Total": [["Iceland", "Portugal", "Spain"]]}
SECTORS: Tree = {"Total": [["Agriculture", "Entertainment", "Governmental", "Industry"]]}
BLOCS: Tree = {"Total": [["EU", "nonEU"]], "EU": [["Portugal", "Spain"]], "nonEU": [["Iceland"]]}
OWNERS: Tree = {"Total": [["private", "public"]], "private": [["Agriculture", "Entertainment", "Industry"]], "public": [["Governmental"]]}
NEEDS: Tree = {"Total": [["annet", "arbeid", "soshjelp", "trygd"]]}
LETTERS: Tree = {"Total": [list("ABCDEFGH")]}
COUNTIES: Tree = {
    "Total": [["1", "4", "5", "6", "8", "10"], ["300", "400"]],
    **{county: [list(regions)] for county, regions in {"1": "AI", "4": "B", "5": "CD", "6": "EF", "8": "GH", "10": "JK"}.items()},
    "300": [list("ABCDEFGH")],
    "400": [list("IJK")],
}
CASES: Mapping[str, tuple[Tree, Tree, int]] = {
    "gold_intervals_dominance_n1_k80.csv": (SECTORS, GEO, 4),
    "gold_intervals_hier.csv": (OWNERS, BLOCS, 11),
    "gold_smallcounts_z1_maxN5_intervals.csv": (LETTERS, NEEDS, 5),
    "gold_smallcounts_z2_maxN3_intervals.csv": (COUNTIES, NEEDS, 9),
}
TWIN = "row,col,value,lo,up,suppressed\n" + "\n".join(
    # Geurts 1992, table 10: the first cell must lie between 3 and 6.
    ["1,1,5,3,6,TRUE", "1,2,2,1,4,TRUE", "2,1,1,0,3,TRUE", "2,2,2,0,3,TRUE", "3,1,3,NA,NA,FALSE", "3,2,3,NA,NA,FALSE"]
)
TWIN += (
    "\nTotal,1,9,NA,NA,FALSE\nTotal,2,7,NA,NA,FALSE\n1,Total,7,NA,NA,FALSE\n2,Total,3,NA,NA,FALSE\n3,Total,6,NA,NA,FALSE\nTotal,Total,16,NA,NA,FALSE"
)


def read_case(name: str) -> tuple[list[dict[str, str]], Tree, Tree, int]:
    rows_of, columns_of, count = CASES[name]
    if (GOLD / name).is_file():
        return list(csv.DictReader((GOLD / name).read_text("utf-8").splitlines())), rows_of, columns_of, count
    if os.environ.get("CI") == "true":
        pytest.fail(f"The known answers are not in ../shared/data/disclosure: {name} is missing.")
    return twin()


def twin() -> tuple[list[dict[str, str]], Tree, Tree, int]:
    return list(csv.DictReader(TWIN.splitlines())), {"Total": [["1", "2", "3"]]}, {"Total": [["1", "2"]]}, 4


def sums(dimension: str, tree: Tree, match: str) -> list[dict[str, Any]]:
    side = {"table": "known", "column": "value"}
    return [
        {"id": f"{dimension} {total} {number}", "kind": "sum", "total": {**side, "where": {dimension: [total]}}, "match": [match], "each": []}
        | {"parts": {**side, "where": {dimension: list(parts)}}}
        for total, ways in tree.items()
        for number, parts in enumerate(ways)
    ]


def pose(rows: Sequence[Mapping[str, str]], one: Tree, other: Tree) -> tuple[dict[str, pa.Table], dict[str, Any]]:
    """The published table, in tenths, with the relations that its margins are."""
    first, second, value = list(rows[0])[:3]
    hidden = [row["suppressed"] == "TRUE" for row in rows]
    table = {
        first: [row[first] for row in rows],
        second: [row[second] for row in rows],
        "value": pa.array([None if gone else round(float(row[value]) * 10) for row, gone in zip(rows, hidden, strict=True)], pa.int64()),
        "value_status": ["c" if gone else "published" for gone in hidden],
    }
    rules = {
        "threshold": {"value": 0},
        "hide_zeros": {"value": False},
        "status": {"suppressed": "c", "published": "published", "unavailable": "x", "not_applicable": "z"},
        "tables": {"known": {"cells": [{"column": "value", "people": "other", "importance": 1}]}},
        "relations": [*sums(first, one, second), *sums(second, other, first)],
    }
    return {"known": pa.table(table)}, rules


@pytest.mark.parametrize("name", [*CASES, "twin"])
def test_the_intervals_are_those_of_another_package_and_solver(name: str) -> None:
    rows, one, other, count = twin() if name == "twin" else read_case(name)
    tables, rules = pose(rows, one, other)
    evidence = gather_evidence(tables, rules)
    hidden = frozenset(number for number, figure in enumerate(evidence.figures) if figure.value is None)
    solved = [find_intervals(group, hidden).solved for group in group_lines(draw_lines(evidence))]
    found = {evidence.figures[number].row: span for spans in solved for number, span in spans.items()}

    known = {row: (round(float(values["lo"]) * 10), round(float(values["up"]) * 10)) for row, values in enumerate(rows) if values["lo"] != "NA"}
    assert len(known) == count
    assert {row: found[row] for row in known} == known


def test_a_pattern_that_another_package_found_safe_passes() -> None:
    rows, one, other, _ = read_case("gold_smallcounts_z1_maxN5_intervals.csv")

    assert audit(*pose(rows, one, other)).passed
