"""What protection hides and what it leaves, on tables small enough to check by eye."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from decimal import Decimal
from typing import Any

import highspy
import pyarrow as pa
import pytest

from pipeline.adapters.definitions import find_definitions, load_definitions
from pipeline.domain.tables import Definitions, Field, TableSchema
from pipeline.errors import RuleError
from pipeline.stages import frames
from pipeline.stages.audit import audit
from pipeline.stages.protection import Past, Protected, protect
from pipeline.stages.protection.solver import MovementSolver

STATUS = {"suppressed": "c", "published": "published", "unavailable": "x", "not_applicable": "z"}
TOTAL = {"table": "counts", "column": "people_count", "where": {"group": ["all"]}}
PARTS = {"table": "counts", "column": "people_count", "where_not": {"group": ["all"]}}
COUNTS_TO_DATE = {"table": "counts", "value": "people_count", "running": "to_date_count"}
TO_DATE = {"id": "to_date", "kind": "running", **COUNTS_TO_DATE, "match": ["area"], "order": "group"}


def total(relation: str, whole: Mapping[str, Any], parts: Mapping[str, Any], match: Sequence[str]) -> dict[str, Any]:
    return {"id": relation, "kind": "sum", "total": whole, "parts": parts, "match": match, "each": []}


BY_GROUP = total("by_group", TOTAL, PARTS, ["area"])


def schema(name: str, key: Sequence[str], figures: Mapping[str, str]) -> TableSchema:
    required = {"required": True}
    texts = [Field(name=column, type="string", title=column, description=column, constraints=required) for column in key]
    numbers = []
    for column, kind in figures.items():
        numbers.append(Field(name=column, type=kind, title=column, description=column, decimals=2 if kind == "number" else None))  # type: ignore[arg-type]
        numbers.append(Field(name=f"{column}_status", type="string", title=column, description=column, constraints=required))
    return TableSchema(name=name, title=name, description=name, grain="a row", version=1, fields=[*texts, *numbers], primary_key=key)


def counts_rules(*relations: Mapping[str, Any], column: str = "people_count", **table: Any) -> dict[str, Any]:
    cells = [{"column": "people_count", "people": "people_count", "importance": 1}]
    return {
        "threshold": {"value": 5},
        "hide_zeros": {"value": True},
        "status": STATUS,
        "tables": {"counts": {"cells": cells, **table}},
        "relations": list(relations),
    }


def definitions(disclosure: Mapping[str, Any], *tables: TableSchema) -> Definitions:
    published = {table.name: table for table in tables or (schema("counts", ["area", "group"], {"people_count": "integer"}),)}
    return Definitions(tables={"published": published}, codelists={}, rules={}, disclosure=disclosure, suites={}, digests={})  # type: ignore[dict-item]


def frame(table: TableSchema, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows as tabulation gives them: statuses filled where they are plain, columns of people kept."""
    names = [column for column in table.columns if column.endswith("_status")]
    filled = [{name: "x" if row.get(name.removesuffix("_status")) is None else "published" for name in names} | dict(row) for row in rows]
    made = frames.from_rows(table, filled)
    for column in sorted({name for row in rows for name in row} - {*table.columns}):
        made = made.append_column(column, pa.array([row.get(column) for row in rows], pa.int64()))
    return made


def protect_counts(figures: Mapping[str, int | None], *relations: Mapping[str, Any], rules: Mapping[str, Any] | None = None) -> Protected:
    """Protect one area whose groups have these counts."""
    known = definitions(rules or counts_rules(*relations))
    rows = [{"area": "A", "group": group, "people_count": count} for group, count in figures.items()]
    return protect({"counts": frame(known.table("published", "counts"), rows)}, known)


def shown(protected: Protected, table: str = "counts", key: str = "group", column: str = "people_count") -> dict[str, Any]:
    """The figures by key; those that are hidden are given by their marker, those that do not exist by their status."""
    rows = protected.tables[table].to_pylist()
    return {row[key]: row[column] if row[f"{column}_status"] == "published" else row[f"{column}_status"] for row in rows}


def test_counts_below_the_threshold_lose_their_value_and_bear_the_marker() -> None:
    protected = protect_counts({"a": 4, "b": 5, "c": 0, "d": 1})

    assert shown(protected) == {"a": "c", "b": 5, "c": "c", "d": "c"}
    assert protected.tables["counts"]["people_count"].to_pylist() == [None, 5, None, None]


def test_zeros_stay_when_the_rules_say_so() -> None:
    rules = counts_rules() | {"hide_zeros": {"value": False}}

    assert shown(protect_counts({"a": 4, "b": 0}, rules=rules)) == {"a": "c", "b": 0}


def test_a_figure_that_does_not_exist_keeps_its_status_and_is_no_cell() -> None:
    protected = protect_counts({"a": None, "b": 4})

    assert shown(protected) == {"a": "x", "b": "c"}
    assert protected.hidden == {"counts": 1}


def test_the_cheapest_other_part_is_hidden_when_a_total_would_give_a_count_back() -> None:
    protected = protect_counts({"all": 59, "a": 3, "b": 40, "c": 16}, BY_GROUP)

    assert shown(protected) == {"all": 59, "a": "c", "b": 40, "c": "c"}
    assert (protected.primary, protected.secondary) == ({"counts": 1}, {"counts": 1})


def test_two_hidden_zeros_do_not_hide_one_another_when_the_total_says_that_nobody_is_left() -> None:
    protected = protect_counts({"all": 50, "a": 0, "b": 0, "c": 20, "d": 30}, BY_GROUP)

    assert shown(protected) == {"all": 50, "a": "c", "b": "c", "c": "c", "d": 30}


def test_a_hidden_count_has_at_least_three_possible_values() -> None:
    rules = counts_rules(BY_GROUP) | {"hide_zeros": {"value": False}}

    protected = protect_counts({"all": 21, "a": 1, "b": 0, "c": 20}, rules=rules)

    assert shown(protected) == {"all": 21, "a": "c", "b": 0, "c": "c"}


def test_a_total_is_hidden_when_its_parts_cannot_hide_a_part() -> None:
    assert shown(protect_counts({"all": 4, "a": 4}, BY_GROUP)) == {"all": "c", "a": "c"}


def test_a_part_that_is_unavailable_is_no_part_of_the_sum() -> None:
    protected = protect_counts({"all": 50, "a": 20, "b": 30, "c": None}, BY_GROUP)

    assert shown(protected) == {"all": 50, "a": 20, "b": 30, "c": "x"}


def test_where_no_total_is_available_parts_may_be_hidden_alone() -> None:
    assert shown(protect_counts({"all": None, "a": 3, "b": 30}, BY_GROUP)) == {"all": "x", "a": "c", "b": 30}


def test_several_lines_together_do_not_give_a_figure_back() -> None:
    """The 4 by 4 table of sdcTable's tests: each line hides two, yet w/b is 47. One more hidden figure is enough."""
    table = schema("cross", ["row", "col"], {"figure_count": "integer"})
    protected = protect({"cross": cross_table(table)}, definitions(cross_rules(), table))

    hidden = {(row["row"], row["col"]) for row in protected.tables["cross"].to_pylist() if row["figure_count"] is None}
    assert hidden > HIDDEN_IN_CROSS
    assert protected.secondary == {"cross": 1}
    assert audit(protected.tables, cross_rules()).passed


CROSS = {
    "w": {"a": 30, "b": 47, "c": 64, "d": 89},
    "x": {"a": 90, "b": 124, "c": 5, "d": 31},
    "y": {"a": 92, "b": 100, "c": 59, "d": 85},
    "z": {"a": 800, "b": 991, "c": 651, "d": 685},
}
HIDDEN_IN_CROSS = {(pair[0], pair[1]) for pair in ("wa", "wb", "wc", "xa", "xc", "yb", "yd", "zb", "zd")}


def cross_table(table: TableSchema, column: str = "figure_count") -> pa.Table:
    figures = {(row, col): figure for row, line in CROSS.items() for col, figure in line.items()}
    figures |= {(row, "all"): sum(line.values()) for row, line in CROSS.items()}
    figures |= {("all", col): sum(line[col] for line in CROSS.values()) for col in "abcd"}
    figures["all", "all"] = sum(sum(line.values()) for line in CROSS.values())
    behind = [{f"{column}__people": 1 if key in HIDDEN_IN_CROSS else 50} for key in figures]
    rows = [{"row": key[0], "col": key[1], column: figure} for key, figure in figures.items()]
    return frame(table, [{**row, **people} for row, people in zip(rows, behind, strict=True)])


def cross_rules(column: str = "figure_count") -> dict[str, Any]:
    def side(**filters: Any) -> dict[str, Any]:
        return {"table": "cross", "column": column, **filters}

    across = total("across", side(where={"col": ["all"]}), side(where_not={"col": ["all"]}), ["row"])
    down = total("down", side(where={"row": ["all"]}), side(where_not={"row": ["all"]}), ["col"])
    cells = [{"column": column, "people": f"{column}__people", "importance": 1}]
    return counts_rules(across, down) | {"tables": {"cross": {"cells": cells}}}


def test_tables_that_share_figures_are_protected_together() -> None:
    """The linked tables of sdcTable's tests: each alone is safe, but small firms less county 1 leave K and N; so N goes too."""
    firms = [("A", 1, "small", 2), ("B", 1, "small", 2), ("I", 1, "small", 8), ("J", 1, "small", 8)]
    firms += [("K", 2, "small", 3), ("L", 2, "big", 3), ("M", 2, "big", 3), ("N", 2, "small", 7)]
    table = schema("counts", ["level", "county", "size", "firm"], {"people_count": "integer"})
    rows = [{"level": "firm", "county": f"county {county}", "size": size, "firm": firm, "people_count": n} for firm, county, size, n in firms]
    for county in ("county 1", "county 2"):
        number = sum(row["people_count"] for row in rows if row["level"] == "firm" and row["county"] == county)
        rows.append({"level": "county", "county": county, "size": "all", "firm": "all", "people_count": number})
    for size in ("big", "small"):
        number = sum(row["people_count"] for row in rows if row["level"] == "firm" and row["size"] == size)
        rows.append({"level": "size", "county": "all", "size": size, "firm": "all", "people_count": number})
    parts = {"table": "counts", "column": "people_count", "where": {"level": ["firm"]}}
    relations = [total(by, {**parts, "where": {"level": [by]}}, parts, [by]) for by in ("county", "size")]
    rules = counts_rules(*relations) | {"threshold": {"value": 4}}

    protected = protect({"counts": frame(table, rows)}, definitions(rules, table))

    assert shown(protected, key="firm")["N"] == "c"
    assert protected.secondary == {"counts": 1}


def test_running_totals_do_not_give_a_quarter_back() -> None:
    table = schema("counts", ["area", "group"], {"people_count": "integer", "to_date_count": "integer"})
    rules = counts_rules(TO_DATE)
    rules["tables"]["counts"]["cells"].append({"column": "to_date_count", "people": "to_date_count", "importance": 5})
    values = {"2024-Q1": 20, "2024-Q2": 3, "2024-Q3": None, "2024-Q4": 30}
    rows, running = [], 0
    for quarter, value in values.items():
        running += value or 0
        rows.append({"area": "A", "group": quarter, "people_count": value, "to_date_count": running})

    protected = protect({"counts": frame(table, rows)}, definitions(rules, table))

    assert shown(protected)["2024-Q2"] == "c"
    assert shown(protected, column="to_date_count")["2024-Q4"] == 53
    assert audit(protected.tables, rules).passed


def test_a_running_total_that_starts_before_any_value_says_nothing() -> None:
    table = schema("counts", ["area", "group"], {"people_count": "integer", "to_date_count": "integer"})
    rules = counts_rules(TO_DATE)
    rules["tables"]["counts"]["cells"].append({"column": "to_date_count", "people": "to_date_count", "importance": 5})
    rows = [
        {"area": "A", "group": "1", "people_count": None, "to_date_count": 40},
        {"area": "A", "group": "2", "people_count": 30, "to_date_count": None},
    ]

    protected = protect({"counts": frame(table, rows)}, definitions(rules, table))

    assert protected.hidden == {"counts": 0}


PAYMENTS = schema("payments", ["area", "payer"], {"paid_gbp": "number"})


def payments_rules() -> dict[str, Any]:
    side = {"table": "payments", "column": "paid_gbp"}
    relation = total("paid", {**side, "where": {"payer": ["all"]}}, {**side, "where_not": {"payer": ["all"]}}, ["area"])
    return counts_rules(relation) | {"tables": {"payments": {"cells": [{"column": "paid_gbp", "people": "paid_gbp__people", "importance": 1}]}}}


def protect_payments(payers: Mapping[str, tuple[str, int | None]]) -> Protected:
    rows = [{"area": "A", "payer": payer, "paid_gbp": Decimal(paid), "paid_gbp__people": people} for payer, (paid, people) in payers.items()]
    rows.append({"area": "A", "payer": "all", "paid_gbp": sum(row["paid_gbp"] for row in rows), "paid_gbp__people": 90})
    return protect({"payments": frame(PAYMENTS, rows)}, definitions(payments_rules(), PAYMENTS))


def test_money_is_hidden_for_the_people_behind_it_and_not_for_its_size() -> None:
    protected = protect_payments({"few": ("9000.00", 2), "many": ("12.50", 40), "more": ("90.10", 50), "none": ("3.00", None), "nobody": ("0.00", 0)})

    found = shown(protected, "payments", "payer", "paid_gbp")
    assert found == {
        "few": "c",
        "many": Decimal("12.50"),
        "more": Decimal("90.10"),
        "none": Decimal("3.00"),
        "nobody": "c",
        "all": Decimal("9105.60"),
    }


def test_money_that_was_taken_back_can_hide_money_that_was_paid() -> None:
    protected = protect_payments({"few": ("900.00", 2), "back": ("-10.00", 30), "many": ("1000.00", 40)})

    found = shown(protected, "payments", "payer", "paid_gbp")
    assert found == {"few": "c", "back": "c", "many": Decimal("1000.00"), "all": Decimal("1890.00")}


def test_money_in_a_circle_of_lines_is_freed_too() -> None:
    """Payers by years: two hidden payments in each line, one of which is worked out from all lines together, as in the table of counts above."""
    table = schema("cross", ["row", "col"], {"figure_gbp": "number"})
    rules = cross_rules("figure_gbp")

    protected = protect({"cross": cross_table(table, "figure_gbp")}, definitions(rules, table))

    assert protected.secondary == {"cross": 1}
    assert audit(protected.tables, rules).passed


def test_the_counts_of_people_never_leave() -> None:
    protected = protect_payments({"many": ("12.50", 40)})

    assert protected.tables["payments"].column_names == list(PAYMENTS.columns)


def test_shares_of_value_say_what_was_lost() -> None:
    protected = protect_counts({"all": 59, "a": 3, "b": 40, "c": 16}, BY_GROUP)

    assert protected.value_share == {"counts.people_count": Decimal("0.1610")}


DERIVED = schema("results", ["level", "project", "kind"], {"people_count": "integer", "per_plan": "number"})


def results_rules() -> dict[str, Any]:
    table = {
        "cells": [{"column": "people_count", "people": "people_count", "importance": 1}],
        "rows": {"kind": ["pooled"]},
        "derived": [{"column": "per_plan", "from": ["people_count"]}],
        "summaries": {"rows": {"kind": ["mean"]}, "of": {"level": ["project"], "kind": ["pooled"]}, "within": {"fund": []}, "columns": ["per_plan"]},
    }
    return counts_rules() | {"tables": {"results": table}}


def protect_results(*rows: Mapping[str, Any]) -> dict[tuple[str, str], Any]:
    protected = protect({"results": frame(DERIVED, rows)}, definitions(results_rules(), DERIVED))
    return {(row["project"], row["kind"]): (row["per_plan"], row["per_plan_status"]) for row in protected.tables["results"].to_pylist()}


def result(project: str, count: int | None, share: str | None, status: str = "published", kind: str = "pooled") -> dict[str, Any]:
    key = {"level": "fund" if project == "all" else "project", "project": project, "kind": kind}
    return {**key, "people_count": count, "per_plan": share and Decimal(share), "per_plan_status": status}


def test_a_share_goes_with_the_count_that_it_was_made_of_and_an_average_with_the_share() -> None:
    found = protect_results(result("A", 3, "0.30"), result("B", 9, "0.90"), result("all", None, "0.60", kind="mean"))

    assert found == {("A", "pooled"): (None, "c"), ("B", "pooled"): (Decimal("0.90"), "published"), ("all", "mean"): (None, "c")}


def test_an_average_stays_when_every_share_in_it_is_shown() -> None:
    found = protect_results(result("A", 3, None, "z"), result("B", 9, "0.90"), result("all", None, "0.90", kind="mean"))

    assert found == {("A", "pooled"): (None, "z"), ("B", "pooled"): (Decimal("0.90"), "published"), ("all", "mean"): (Decimal("0.90"), "published")}


def test_where_the_rules_leave_a_figure_no_room_the_audit_has_the_last_word() -> None:
    """Two declared sums of which one holds a part more: that part is zero, whatever is hidden."""
    lesser = BY_GROUP | {"id": "lesser", "parts": {**TOTAL, "where": {"group": ["a"]}}}
    rules = counts_rules(BY_GROUP, lesser)

    protected = protect_counts({"all": 9, "a": 9, "b": 0}, rules=rules)

    assert shown(protected) == {"all": "c", "a": "c", "b": "c"}
    assert {weakness.attack for weakness in audit(protected.tables, rules).weaknesses} == {"linear", "interval"}


def test_what_is_hidden_does_not_depend_on_the_order_of_rows() -> None:
    first = protect_counts({"all": 70, "a": 3, "b": 20, "c": 20, "d": 27}, BY_GROUP)
    second = protect_counts({"d": 27, "c": 20, "b": 20, "a": 3, "all": 70}, BY_GROUP)

    assert first.tables["counts"].equals(second.tables["counts"])
    assert shown(first)["b"] == "c"


def broken(path: str, value: Any) -> dict[str, Any]:
    """The rules of `results` with one place changed; the last name of the path is set, or dropped when the value is None."""
    rules = deepcopy(results_rules() | {"relations": [RESULTS_SUM]})
    place: Any = rules
    *names, last = path.split(".")
    for name in names:
        place = place[int(name)] if name.isdigit() else place[name]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return rules


RESULTS_SIDE = {"table": "results", "column": "people_count"}
RESULTS_SUM = total("fund", {**RESULTS_SIDE, "where": {"level": ["fund"]}}, {**RESULTS_SIDE, "where": {"level": ["project"]}}, ["kind"])


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("tables.results", None, "results must stand both"),
        ("tables.more", {"cells": []}, "more must stand both"),
        ("tables.results.derived", [], "per_plan of results must have a status and stand in"),
        ("tables.results.cells", [], "people_count of results must have a status"),
        ("tables.results.derived.0.from", ["planned_count"], "planned_count, which is no cell"),
        ("tables.results.rows", {"sort": ["pooled"]}, "has no column sort"),
        ("tables.results.summaries.of", {"kind": ["pooled"]}, "exactly one column of level"),
        ("relations.0.kind", "product", "fund of disclosure.json is of a kind"),
        ("relations.0.total.column", "per_plan", "speaks of per_plan"),
        ("relations.0.total.table", "elsewhere", "speaks of people_count"),
        ("relations.0.match", ["place"], "has no column place"),
    ],
)
def test_rules_that_forget_something_or_name_what_is_not_there_protect_nothing(path: str, value: Any, message: str) -> None:
    with pytest.raises(RuleError, match=message):
        protect({"results": frame(DERIVED, [result("A", 9, "0.30")])}, definitions(broken(path, value), DERIVED))


def test_a_relation_that_does_not_hold_is_named_without_a_value() -> None:
    with pytest.raises(RuleError) as raised:
        protect_counts({"all": 71, "a": 30, "b": 40}, BY_GROUP)

    assert "by_group" in str(raised.value)
    assert "counts" in str(raised.value)
    assert not any(value in str(raised.value) for value in ("71", "30", "40"))


def test_a_running_relation_that_does_not_hold_is_named() -> None:
    with pytest.raises(RuleError, match="to_date"):
        protect_counts({"a": 30, "b": 40}, TO_DATE | {"running": "people_count"})


def test_a_figure_taken_twice_by_one_relation_is_refused() -> None:
    """A total that is among its own parts adds up only when the others come to zero."""
    with pytest.raises(RuleError, match="takes one figure twice"):
        protect_counts({"all": 50, "a": 0}, BY_GROUP | {"parts": {**PARTS, "where_not": {}}})


def test_two_totals_for_the_same_parts_are_refused() -> None:
    with pytest.raises(RuleError, match="more than one total"):
        protect_counts({"all": 40, "sum": 40, "a": 40}, BY_GROUP | {"total": {**TOTAL, "where": {"group": ["all", "sum"]}}})


def test_tables_that_are_missing_unknown_or_without_a_column_are_refused() -> None:
    known = definitions(payments_rules(), PAYMENTS)
    table = frame(PAYMENTS, [{"area": "A", "payer": "all", "paid_gbp": Decimal(1), "paid_gbp__people": 9}])

    with pytest.raises(RuleError, match="Table payments is missing"):
        protect({}, known)
    with pytest.raises(RuleError, match="changes does not stand"):
        protect({"payments": table, "changes": table}, known)
    with pytest.raises(RuleError, match="without its columns paid_gbp__people"):
        protect({"payments": table.drop_columns(["paid_gbp__people"])}, known)


@pytest.mark.parametrize("row", [{"people_count": 9, "people_count_status": "x"}, {"people_count": None, "people_count_status": "published"}])
def test_a_figure_that_does_not_agree_with_its_status_is_refused(row: Mapping[str, Any]) -> None:
    known = definitions(counts_rules())

    with pytest.raises(RuleError, match="does not agree with its status"):
        protect({"counts": frame(known.table("published", "counts"), [{"area": "A", "group": "a", **row}])}, known)


def test_a_figure_in_a_row_that_should_have_none_is_refused() -> None:
    with pytest.raises(RuleError, match="in a row of which"):
        protect_results(result("all", 9, "0.30", kind="mean"))


def test_a_count_below_zero_is_refused() -> None:
    with pytest.raises(RuleError, match="count below zero"):
        protect_counts({"a": -1})


def test_the_solver_is_believed_in_whole_numbers_only() -> None:
    """Three figures, each two of which may change by one together, can all change by half: their sum by one and not by one and a half."""
    pairs = [(0, 1), (1, 2), (0, 2)]
    above = [[(one, 1), (two, 1), (3 + number, 1)] for number, (one, two) in enumerate(pairs)]
    below = [[(one, 1), (two, 1), (6 + number, -1)] for number, (one, two) in enumerate(pairs)]
    floors = {**dict.fromkeys(range(3), -9.0), **dict.fromkeys(range(3, 9), -1.0), 9: -9.0}

    solver = MovementSolver(range(10), [*above, *below, [(0, 1), (1, 1), (2, 1), (9, -1)]], floors)

    assert solver.reach(9, 4) == (-1.0, 1.0)


@pytest.mark.parametrize("call", ["run", "passModel"])
def test_nothing_is_protected_when_the_solver_fails(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(highspy.Highs, call, lambda *_: highspy.HighsStatus.kError)
    table = schema("cross", ["row", "col"], {"figure_count": "integer"})

    with pytest.raises(RuleError, match="nothing was protected"):
        protect({"cross": cross_table(table)}, definitions(cross_rules(), table))


def protect_again(figures: Mapping[str, int], before: Sequence[Mapping[str, int]], rules: Mapping[str, Any]) -> tuple[dict[str, Any], Protected]:
    """Protect one area after it was released with other figures."""
    known = definitions(rules)
    past: list[Past] = []
    for each in (*before, figures):
        true = {"counts": frame(known.table("published", "counts"), [{"area": "A", "group": group, "people_count": n} for group, n in each.items()])}
        protected = protect(true, known, past)
        past.append(Past(public=protected.tables, true=true))
    return shown(protected), protected


def test_a_figure_that_an_earlier_release_showed_and_that_is_the_same_is_not_hidden_for_others() -> None:
    first = {"all": 65, "a": 10, "b": 16, "c": 39}

    found, _ = protect_again({"all": 58, "a": 3, "b": 16, "c": 39}, [first], counts_rules(BY_GROUP))

    assert (found["b"], found["c"]) == (16, 39)
    assert (found["all"], found["a"]) == ("c", "c")


def test_a_figure_that_was_hidden_for_others_and_is_the_same_stays_hidden() -> None:
    first = {"all": 59, "a": 3, "b": 40, "c": 16}

    found, protected = protect_again({"all": 70, "a": 14, "b": 40, "c": 16}, [first], counts_rules(BY_GROUP))

    assert found["c"] == "c"
    assert protected.kept == {"counts": 1}


def test_a_revision_that_would_give_a_hidden_count_away_is_deferred_and_counted() -> None:
    first = {"all": 65, "a": 10, "b": 16, "c": 39}

    _, protected = protect_again({"all": 58, "a": 3, "b": 16, "c": 39}, [first], counts_rules(BY_GROUP))

    assert protected.deferred == {"counts": 1}
    assert protected.suppression["counts"]["revision_deferred"] == 1


def test_a_zero_whose_row_was_not_there_before_hides_no_other_figure() -> None:
    rules = counts_rules({**BY_GROUP, "absent_parts": "zero"})

    found, _ = protect_again({"all": 40, "a": 10, "b": 30, "new": 0}, [{"all": 40, "a": 10, "b": 30}], rules)

    assert found == {"all": 40, "a": 10, "b": 30, "new": "c"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rules: rules["plan"]["keep"].pop(), "must stand both in the cells and in the table plan"),
        (lambda rules: rules["relations"].clear(), "stands in no relation of disclosure.json"),
    ],
)
def test_a_table_without_its_relations_or_its_place_in_the_plan_fails_the_build(change: Any, message: str) -> None:
    rules = counts_rules(BY_GROUP) | {"plan": {"keep": [{"table": "counts", "column": "people_count"}]}}
    protect_counts({"all": 10, "a": 10}, rules=rules)

    change(rules)

    with pytest.raises(RuleError, match=message):
        protect_counts({"all": 10, "a": 10}, rules=rules)


def test_every_published_default_names_its_source_and_the_plan_keeps_lifetime_figures_longest() -> None:
    disclosure = load_definitions(find_definitions()).disclosure

    assert all(disclosure[rule]["source"] for rule in ("threshold", "hide_zeros", "interval", "releases", "plan"))
    importance = {(name, cell["column"]): cell["importance"] for name, rules in disclosure["tables"].items() for cell in rules["cells"]}
    kept = [importance[place["table"], place["column"]] for place in disclosure["plan"]["keep"]]
    assert kept == sorted(kept, reverse=True)
    assert disclosure["plan"]["keep"][0]["table"] == "performance"


PRICED = {
    "id": "by_price",
    "payments": {"table": "counts", "column": "paid_gbp"},
    "counts": {"table": "counts", "column": "people_count"},
    "match": ["area", "group"],
    "prices": {"table": "card", "column": "price_gbp", "match": ["area"], "newest": "area"},
    "series": ["area"],
}


def test_a_payment_that_the_published_price_would_turn_into_a_hidden_count_is_hidden_with_it() -> None:
    counts = schema("counts", ["area", "group"], {"people_count": "integer", "paid_gbp": "number"})
    card = TableSchema(
        name="card",
        title="card",
        description="card",
        grain="a row",
        version=1,
        fields=[
            Field(name="area", type="string", title="area", description="area", constraints={"required": True}),
            Field(name="price_gbp", type="number", title="price", description="price", decimals=2),
        ],
        primary_key=["area"],
    )
    rules = counts_rules(BY_GROUP) | {"prices": [PRICED]}
    rules["tables"]["counts"]["cells"].append({"column": "paid_gbp", "people": "paid_gbp__people", "importance": 3})
    rules["tables"]["card"] = {"cells": []}
    values = {"all": 59, "a": 3, "b": 40, "c": 16}
    rows = [{"area": "A", "group": group, "people_count": n, "paid_gbp": Decimal(n * 500), "paid_gbp__people": n} for group, n in values.items()]
    tables = {"counts": frame(counts, rows), "card": frames.from_rows(card, [{"area": "A", "price_gbp": Decimal(500)}])}

    protected = protect(tables, definitions(rules, counts, card))
    without = protect(tables, definitions(rules | {"prices": []}, counts, card))

    assert shown(protected)["c"] == "c"
    assert shown(protected, column="paid_gbp")["c"] == "c"
    assert shown(without, column="paid_gbp")["c"] == Decimal("8000.00")
    report = audit(without.tables, rules)
    assert "price" in {weakness.attack for weakness in report.weaknesses}
    assert audit(protected.tables, rules).passed
