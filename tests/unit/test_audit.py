"""Each attack of the audit, against tables that a careless protector might have written by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import highspy
import numpy as np
import pyarrow as pa
import pytest

from pipeline.errors import RuleError
from pipeline.stages.audit import AuditReport, Weakness, audit, intervals
from pipeline.stages.revisions import Revisions

SIDE = {"table": "counts", "column": "people_count"}
TOTAL = {**SIDE, "where": {"group": ["all"]}}
PARTS = {**SIDE, "where_not": {"group": ["all"]}}


def total(relation: str, whole: Mapping[str, Any], parts: Mapping[str, Any], match: Sequence[str]) -> dict[str, Any]:
    return {"id": relation, "kind": "sum", "total": whole, "parts": parts, "match": match, "each": []}


BY_GROUP = total("by_group", TOTAL, PARTS, ["area"])


def rules(*relations: Mapping[str, Any], **table: Any) -> dict[str, Any]:
    return {
        "threshold": {"value": 5},
        "hide_zeros": {"value": True},
        "status": {"suppressed": "c", "published": "published", "unavailable": "x", "not_applicable": "z"},
        "tables": {"counts": {"cells": [{"column": "people_count", "people": "people_count", "importance": 1}], **table}},
        "relations": list(relations),
    }


def counts(figures: Mapping[str, int | str], **more: Sequence[Any]) -> pa.Table:
    """One area whose groups have these counts; a text is a status, of a figure that is not given."""
    columns: dict[str, Any] = {
        "area": ["A"] * len(figures),
        "group": list(figures),
        "people_count": pa.array([None if isinstance(figure, str) else figure for figure in figures.values()], pa.int64()),
        "people_count_status": [figure if isinstance(figure, str) else "published" for figure in figures.values()],
    }
    return pa.table(columns | more)


def attack(figures: Mapping[str, int | str], *relations: Mapping[str, Any]) -> AuditReport:
    return audit({"counts": counts(figures)}, rules(*relations))


def found(report: AuditReport, name: str) -> list[str]:
    """The rows at which an attack got through, without the area."""
    return [weakness.row.removeprefix("A/") for weakness in report.weaknesses if weakness.attack == name]


def test_tables_without_a_weakness_pass() -> None:
    report = attack({"all": 59, "a": "c", "b": 40, "c": "c", "d": "x"}, BY_GROUP)

    assert report.passed
    assert not report.weaknesses
    assert report.attacks == {
        "small_count": 2,
        "leftover": 5,
        "derived_shown": 0,
        "price": 0,
        "subtraction": 2,
        "linear": 2,
        "interval": 2,
        "certificate": 2,
    }
    assert report.intervals == {"narrowest": 20, "widest": 20, "unbounded": 0, "large_components": 0}


def test_a_small_count_that_is_shown_is_found() -> None:
    report = attack({"a": 4, "b": 5, "c": 0})

    assert not report.passed
    assert found(report, "small_count") == ["a", "c"]


def test_a_zero_that_may_be_shown_is_no_small_count() -> None:
    table = {"counts": counts({"a": 0, "b": 1})}

    assert found(audit(table, rules() | {"hide_zeros": {"value": False}}), "small_count") == ["b"]


def test_a_weakness_names_the_place_and_never_the_value() -> None:
    report = attack({"all": 59, "a": "c", "b": 40, "c": 16}, BY_GROUP)

    assert report.weaknesses[0] == Weakness(attack="interval", table="counts", row="A/a", column="people_count")
    assert b"59" not in report.to_bytes()
    assert json.loads(report.to_bytes())["weaknesses"][0] == {"attack": "interval", "table": "counts", "row": "A/a", "column": "people_count"}
    assert report.to_bytes() == attack({"all": 59, "a": "c", "b": 40, "c": 16}, BY_GROUP).to_bytes()


def test_a_value_left_beside_the_marker_is_found() -> None:
    table = counts({"a": 9, "b": 9}, people_count_status=["c", "published"])

    assert found(audit({"counts": table}, rules()), "leftover") == ["a"]


@pytest.mark.parametrize("status", ["hidden", "x", "z"])
def test_a_status_that_means_nothing_or_something_else_is_found(status: str) -> None:
    table = counts({"a": 9, "b": 9}, people_count_status=[status, "published"])

    assert found(audit({"counts": table}, rules()), "leftover") == ["a"]


def test_a_value_that_is_missing_without_a_reason_is_found() -> None:
    assert found(attack({"a": "published", "b": 9}), "leftover") == ["a"]


def test_a_column_of_the_inside_is_found() -> None:
    table = counts({"a": 9}, people_count__people=[9])

    report = audit({"counts": table}, rules())

    assert report.weaknesses == [Weakness(attack="leftover", table="counts", row="", column="people_count__people")]


def test_a_figure_in_a_row_that_should_have_none_is_found() -> None:
    report = audit({"counts": counts({"a": 9, "mean": 9})}, rules(rows={"group": ["a"]}))

    assert found(report, "leftover") == ["mean"]


def test_a_share_of_a_hidden_count_is_found_whether_by_value_or_by_status() -> None:
    derived = [{"column": "share", "from": ["people_count"]}]
    table = counts({"a": "c", "b": "c", "c": "c", "d": 9}, share=[0.5, None, None, 0.9], share_status=["c", "published", "c", "published"])

    report = audit({"counts": table}, rules(derived=derived))

    assert found(report, "derived_shown") == ["a", "b"]
    assert report.attacks["derived_shown"] == 4


def test_an_average_over_a_hidden_share_is_found() -> None:
    derived = [{"column": "share", "from": ["people_count"]}]
    summaries = {"rows": {"kind": ["mean"]}, "of": {"level": ["project"], "kind": ["own"]}, "within": {"fund": ["area"]}, "columns": ["share"]}
    table = counts({"a": "c", "b": 9, "all": "z", "other": "z"}).append_column("kind", pa.array(["own", "own", "mean", "mean"]))
    table = table.append_column("level", pa.array(["project", "project", "fund", "fund"])).set_column(0, "area", pa.array(["A", "A", "A", "B"]))
    table = table.append_column("share", pa.array([None, 0.9, 0.7, 0.7])).append_column("share_status", pa.array(["c", *["published"] * 3]))

    assert found(audit({"counts": table}, rules(derived=derived, summaries=summaries)), "derived_shown") == ["all"]


def test_a_line_with_one_hidden_figure_is_found_by_subtraction() -> None:
    assert found(attack({"all": 59, "a": "c", "b": 40, "c": 16}, BY_GROUP), "subtraction") == ["a"]
    assert found(attack({"all": "c", "a": 40, "b": 16}, BY_GROUP), "subtraction") == ["all"]


def test_an_unavailable_part_does_not_cover_a_hidden_one() -> None:
    assert found(attack({"all": 59, "a": "c", "b": 40, "c": "x"}, BY_GROUP), "subtraction") == ["a"]


def test_a_total_that_is_unavailable_gives_nothing_away() -> None:
    assert attack({"all": "x", "a": "c", "b": 40}, BY_GROUP).passed


def test_a_running_total_gives_a_quarter_away_and_so_does_one_across_a_gap() -> None:
    figures = [("0", None, 7), ("1", 13, 20), ("2", None, None), ("3", None, None), ("4", 30, 53)]
    status = {"people_count_status": ["x", "published", "c", "x", "published"]}
    status["to_date_count_status"] = ["published", "published", "x", "x", "published"]
    columns = {"group": [row[0] for row in figures], "people_count": [row[1] for row in figures], "to_date_count": [row[2] for row in figures]}
    running = {"id": "to_date", "kind": "running", "table": "counts", "value": "people_count", "running": "to_date_count", "match": ["area"]}
    known = rules(running | {"order": "group"})
    known["tables"]["counts"]["cells"].append({"column": "to_date_count", "people": "to_date_count", "importance": 5})

    report = audit({"counts": pa.table({"area": ["A"] * 5, **columns, **status})}, known)

    assert [(weakness.row, weakness.column) for weakness in report.weaknesses if weakness.attack == "subtraction"] == [("A/2", "people_count")]


WAYS = (("row", "col"), ("col", "row"))
CROSS = {"w": (30, 47, 64, 89), "x": (90, 124, 5, 31), "y": (92, 100, 59, 85), "z": (800, 991, 651, 685)}


def both_ways() -> list[dict[str, Any]]:
    """Sums over the columns of each row, and over the rows of each column."""
    return [total(name, {**SIDE, "where": {other: ["all"]}}, {**SIDE, "where_not": {other: ["all"]}}, [name]) for name, other in WAYS]


def cross(hidden: set[str], kind: pa.DataType) -> tuple[pa.Table, dict[str, Any]]:
    """The 4 by 4 table of sdcTable's tests with some figures hidden, and its rules."""
    figures = {(row, col): figure for row, line in CROSS.items() for col, figure in zip("abcd", line, strict=True)}
    figures |= {(row, "all"): sum(line) for row, line in CROSS.items()}
    figures |= {("all", col): sum(line[number] for line in CROSS.values()) for number, col in enumerate("abcd")}
    rows = [(row, col, None if row + col in hidden else figure) for (row, col), figure in figures.items()]
    columns = {"row": [row[0] for row in rows], "col": [row[1] for row in rows], "people_count": pa.array([row[2] for row in rows], kind)}
    return pa.table({**columns, "people_count_status": ["c" if row[2] is None else "published" for row in rows]}), rules(*both_ways())


HIDDEN = {"wa", "wb", "wc", "xa", "xc", "yb", "yd", "zb", "zd"}


@pytest.mark.parametrize("kind", [pa.int64(), pa.decimal128(18, 2)])
def test_lines_that_hide_two_figures_each_are_solved_together(kind: pa.DataType) -> None:
    """Known answer: w/b is 47; every other figure stays open."""
    table, known = cross(HIDDEN, kind)

    report = audit({"counts": table}, known)

    assert [weakness.row for weakness in report.weaknesses if weakness.attack == "linear"] == ["w/b"]
    assert found(report, "subtraction") == []


def test_one_more_hidden_figure_closes_the_known_weakness() -> None:
    table, known = cross(HIDDEN | {"xd"}, pa.int64())

    assert audit({"counts": table}, known).passed


def test_a_relation_that_is_declared_twice_changes_nothing() -> None:
    table, known = cross(HIDDEN, pa.int64())

    report = audit({"counts": table}, known | {"relations": [*known["relations"], *known["relations"]]})

    assert [weakness.row for weakness in report.weaknesses if weakness.attack == "linear"] == ["w/b"]


def sums_of(**parts: Sequence[str]) -> list[dict[str, Any]]:
    return [total(name, {**SIDE, "where": {"group": [name]}}, {**SIDE, "where": {"group": names}}, ["area"]) for name, names in parts.items()]


def test_a_figure_in_three_lines_stays_open_when_others_give_way() -> None:
    hidden = dict.fromkeys("abcyz", "c")

    assert attack({**hidden, "ab": 20, "bc": 30, "byz": 40}, *sums_of(ab=["a", "b"], bc=["b", "c"], byz=["b", "y", "z"])).passed


def test_figures_that_no_whole_numbers_fit_do_not_pass() -> None:
    """Any two of three add up to one: each would have to be a half."""
    relations = sums_of(ab=["a", "b"], bc=["b", "c"], ac=["a", "c"])

    report = attack({"a": "c", "b": "c", "c": "c", "ab": 1, "bc": 1, "ac": 1}, *relations)

    assert found(report, "interval") == ["a", "b", "c"]


def test_counts_that_can_only_be_zero_are_found_by_their_interval_alone() -> None:
    report = attack({"all": 50, "a": "c", "b": "c", "c": 50}, BY_GROUP)

    assert {weakness.attack for weakness in report.weaknesses} == {"interval"}
    assert found(report, "interval") == ["a", "b"]


def test_the_same_figures_as_money_stay_open_for_money_can_be_taken_back() -> None:
    table = counts({"all": 50, "a": "c", "b": "c", "c": 50})
    money = table.set_column(2, "people_count", table["people_count"].cast(pa.decimal128(21, 2)))

    report = audit({"counts": money}, rules(BY_GROUP))

    assert report.passed
    assert report.attacks["interval"] == 0


def test_intervals_are_those_of_the_handbook() -> None:
    """Known answer: Geurts 1992, table 10. The four hidden figures lie in [3,6], [1,4], [0,3] and [0,3]."""
    rows = {"1": ("c", "c", 7), "2": ("c", "c", 3), "3": (3, 3, 6), "all": (9, 7, 16)}
    flat = [(row, col, figure) for row, line in rows.items() for col, figure in zip(("1", "2", "all"), line, strict=True)]
    table = counts({f"{row}{col}": figure for row, col, figure in flat}, row=[row for row, _, _ in flat], col=[col for _, col, _ in flat])

    report = audit({"counts": table}, rules(*both_ways()))

    assert report.intervals == {"narrowest": 4, "widest": 4, "unbounded": 0, "large_components": 0}
    assert found(report, "interval") == []


def test_figures_without_an_upper_end_are_counted() -> None:
    assert attack({"all": "c", "a": "c", "b": 16}, BY_GROUP).intervals == {"narrowest": 0, "widest": 0, "unbounded": 2, "large_components": 0}


def test_in_a_large_component_narrow_figures_are_solved_for_and_the_others_shown_to_be_open() -> None:
    groups: dict[str, int | str] = {f"{number:03d}": "c" for number in range(intervals.LARGE + 30)}

    open_report = attack({"all": 900, **groups}, BY_GROUP)
    closed_report = attack({"all": 0, **groups}, BY_GROUP)

    assert open_report.intervals["large_components"] == 1
    assert open_report.attacks["interval"] == len(groups)
    assert found(open_report, "interval") == []
    assert found(closed_report, "interval") == list(groups)


def test_in_a_large_component_two_solutions_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "LARGE", 1)

    report = attack({"all": 900, "a": "c", "b": "c"}, BY_GROUP)

    assert report.attacks["interval"] == 2
    assert report.passed


def test_in_a_large_component_figures_without_an_end_are_tried_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "LARGE", 2)
    monkeypatch.setattr(intervals, "SWEEPS", 1)

    report = attack({"all": "c", "a": "c", "b": "c", "c": 16}, BY_GROUP)

    assert report.attacks["interval"] == 3
    assert not found(report, "interval")


def test_a_candidate_without_a_table_cannot_pass() -> None:
    with pytest.raises(RuleError, match="nothing to audit"):
        audit({}, rules())


@pytest.mark.parametrize("column", ["people_count", "people_count_status", "area"])
def test_a_table_without_a_column_that_is_needed_cannot_pass(column: str) -> None:
    with pytest.raises(RuleError, match=f"has no column {column}"):
        audit({"counts": counts({"all": 9, "a": 9}).drop_columns([column])}, rules(BY_GROUP))


def test_tables_that_are_missing_or_not_covered_cannot_pass() -> None:
    with pytest.raises(RuleError, match="no table counts"):
        audit({"more": counts({"a": 9})}, rules() | {"tables": {"more": {"cells": []}, **rules()["tables"]}})
    with pytest.raises(RuleError, match="more does not stand"):
        audit({"counts": counts({"a": 9}), "more": counts({"a": 9})}, rules())
    with pytest.raises(RuleError, match="Column other_status"):
        audit({"counts": counts({"a": 9}, other_status=["published"])}, rules())


def test_rows_that_cannot_be_told_apart_cannot_pass() -> None:
    table = pa.concat_tables([counts({"a": 1}), counts({"a": 1})])

    with pytest.raises(RuleError, match="cannot be told apart"):
        audit({"counts": table}, rules())


def test_figures_that_are_neither_counts_nor_exact_amounts_cannot_pass() -> None:
    with pytest.raises(RuleError, match="neither a count nor an exact amount"):
        audit({"counts": counts({"a": 9}, people_count=[9.0])}, rules())


def test_shown_figures_that_do_not_add_up_cannot_pass() -> None:
    with pytest.raises(RuleError, match="do not keep relation by_group"):
        attack({"all": 59, "a": 40, "b": 16}, BY_GROUP)


def test_figures_that_contradict_one_another_around_hidden_ones_cannot_pass() -> None:
    with pytest.raises(RuleError, match="contradict one another"):
        attack({"all": 10, "a": "c", "b": "c", "c": 16}, BY_GROUP)


def test_a_relation_of_an_unknown_kind_or_with_one_figure_twice_cannot_pass() -> None:
    with pytest.raises(RuleError, match="kind that the audit does not know"):
        attack({"a": 9}, BY_GROUP | {"kind": "product"})
    with pytest.raises(RuleError, match="takes one figure twice"):
        attack({"all": "c", "a": "c"}, BY_GROUP | {"parts": SIDE})


def test_money_is_compared_to_the_penny() -> None:
    table = counts({"all": 2, "a": 1, "b": 1}, people_count=[Decimal("0.30"), Decimal("0.10"), Decimal("0.20")])

    assert audit({"counts": table}, rules(BY_GROUP, cells=[{"column": "people_count", "people": "people_count__people", "importance": 1}])).passed


@pytest.mark.parametrize(
    ("call", "answer", "message"),
    [
        ("run", highspy.HighsStatus.kError, "gave no answer"),
        ("passModel", highspy.HighsStatus.kError, "does not take"),
        ("getSolution", SimpleNamespace(col_value=np.array([7.0, 7.0])), "does not hold"),
    ],
)
def test_a_candidate_does_not_pass_when_the_solver_fails(call: str, answer: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(highspy.Highs, call, lambda *_: answer)

    with pytest.raises(RuleError, match=message):
        attack({"all": 59, "a": "c", "b": "c", "c": 16}, BY_GROUP)


def revised(*changed: str, releases: int = 2) -> list[Revisions]:
    """Of each release, that these groups changed in the last."""
    keys = {"counts": ["area", "group"]}
    last = {("counts", "people_count", "A", group): 1 for group in changed}
    return [*(Revisions(keys=keys, changes={}) for _ in range(releases - 1)), Revisions(keys=keys, changes=last)]


def test_a_hidden_count_that_an_earlier_release_helps_to_work_out_is_found() -> None:
    known = rules(BY_GROUP)
    before = {"counts": counts({"all": 59, "a": "c", "b": 40, "c": "c"})}
    now = {"counts": counts({"all": 59, "a": "c", "b": "c", "c": 16})}

    report = audit(now, known, [before], revised())

    assert audit(now, known).passed
    assert found(report, "subtraction") == ["a"]
    assert report.releases == 2


def test_an_earlier_release_says_nothing_of_a_count_that_has_changed() -> None:
    before = {"counts": counts({"all": 59, "a": "c", "b": 40, "c": "c"})}
    now = {"counts": counts({"all": 61, "a": "c", "b": "c", "c": 16})}

    assert audit(now, rules(BY_GROUP), [before], revised("all", "a", "b", "c")).passed


def test_what_an_earlier_release_gave_away_by_itself_is_counted_and_fails_no_later_one() -> None:
    bare = {"counts": counts({"all": 59, "a": "c", "b": 40, "c": 16})}

    report = audit(bare, rules(BY_GROUP), [bare], revised())

    assert report.weaknesses == []
    assert report.given_before == 1


def test_a_small_count_with_two_possible_values_is_found() -> None:
    report = attack({"all": 41, "a": "c", "b": 40, "c": "c"}, BY_GROUP)

    assert found(report, "interval") == ["a", "c"]


def test_releases_whose_changes_are_not_told_are_not_audited() -> None:
    table = {"counts": counts({"all": 59, "a": "c", "b": 40, "c": "c"})}

    with pytest.raises(RuleError, match="not told what changed"):
        audit(table, rules(BY_GROUP), [table])


def test_a_figure_that_is_said_not_to_have_changed_and_has_is_an_error() -> None:
    before, now = ({"counts": counts({"a": number, "b": 9})} for number in (7, 8))

    with pytest.raises(RuleError, match="did not change and which has changed"):
        audit(now, rules(), [before], revised())
