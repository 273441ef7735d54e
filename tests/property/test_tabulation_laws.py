"""What is true of the tables whatever was returned: parts add up, running sums run, order and files do not matter."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pipeline.adapters.definitions import find_definitions, load_definitions
from pipeline.adapters.warehouse import DuckDbWarehouse
from pipeline.domain.quarters import Quarter
from pipeline.stages.frames import PEOPLE, from_rows

DEFINITIONS = load_definitions(find_definitions())
RETURNS = pa.schema(
    [
        ("project_id", pa.string()),
        ("quarter", pa.string()),
        ("first_received_on", pa.date32()),
        ("revisions_count", pa.int64()),
        ("state", pa.string()),
        ("revision", pa.int64()),
        ("is_queried", pa.bool_()),
    ]
)
AS_OF = date(2024, 10, 1)
PROJECTS = {"P": "health", "Q": "health", "R": "education"}
METRICS = ("M", "N")
PAYERS = {"council": "local", "top_up": "fund"}
QUARTERS = tuple(str(quarter) for quarter in Quarter(2023, 4).until(Quarter(2024, 3)))
CHARACTERISTICS = {
    "age_band": ("18_to_24", "25_to_34"),
    "gender": ("female", "male"),
    "ethnicity": ("asian", "white"),
    "local_authority": ("E1", "E2"),
}

Row = dict[str, Any]
Tables = Mapping[str, pa.Table]


@dataclass(frozen=True)
class Case:
    """One fund: what was returned, what was planned, and the facts."""

    returned: Sequence[tuple[str, str]]
    plans: Sequence[Row]
    facts: Mapping[str, Sequence[Row]]


def _fact(number: int, project: str, quarter: str, lag: int) -> Row:
    returned = QUARTERS[min(QUARTERS.index(quarter) + lag, len(QUARTERS) - 1)]
    return {"project_id": project, "return_quarter": returned, "quarter": quarter, "is_late": quarter < returned, "source_row": number + 2}


def _outcomes(drawn: Sequence[tuple[str, str, int, str | None, str, int, str]]) -> list[Row]:
    return [
        _fact(number, project, quarter, lag)
        | {"outcome": f"o{number}", "participant": person, "metric_id": metric, "achieved_on": Quarter.parse(quarter).start}
        | {"quantity": quantity, "status": status, "evidence_type": "payslip"}
        for number, (project, quarter, lag, person, metric, quantity, status) in enumerate(drawn)
    ]


def _starts(drawn: Sequence[tuple[str, str, int, str, tuple[str, ...]]]) -> list[Row]:
    rows = [
        _fact(number, project, quarter, lag)
        | {"participant": person, "started_on": Quarter.parse(quarter).start}
        | dict(zip(CHARACTERISTICS, about, strict=True))
        for number, (project, quarter, lag, person, about) in enumerate(drawn)
    ]
    return list({(row["project_id"], row["participant"], row["return_quarter"]): row for row in rows}.values())


def _payments(drawn: Sequence[tuple[str, str, int, str, str, int | None, int]]) -> list[Row]:
    return [
        _fact(number, project, quarter, lag)
        | {"payment": f"p{number}", "payer_id": payer, "basis": basis, "quantity": quantity, "amount_gbp": Decimal(pence) / 100}
        | {"period_start": Quarter.parse(quarter).start, "period_end": Quarter.parse(quarter).end}
        for number, (project, quarter, lag, payer, basis, quantity, pence) in enumerate(drawn)
    ]


def _plans(drawn: Mapping[tuple[str, str, str, int], int]) -> list[Row]:
    rows = []
    for (project, quarter, measure, version), amount in drawn.items():
        row = {"project_id": project, "plan_version": version, "plan_kind": "final_award_offer", "scenario": "high", "quarter": quarter}
        row |= {"measure": measure, "expected_gbp" if measure == "payments" else "expected_quantity": amount}
        rows.append(row | ({"metric_id": "M"} if measure == "outcomes" else {}))
    return rows


@st.composite
def cases(draw: st.DrawFn) -> Case:
    projects, quarters, lags = st.sampled_from(sorted(PROJECTS)), st.sampled_from(QUARTERS), st.integers(0, 2)
    people = st.sampled_from("abcdef")
    about = st.tuples(*[st.sampled_from(codes) for codes in CHARACTERISTICS.values()])
    units, statuses = st.integers(1, 4), st.sampled_from(("verified", "verified", "claimed", "rejected"))
    bases = st.sampled_from(("outcome", "activity", "correction"))
    outcome = st.tuples(projects, quarters, lags, st.none() | people, st.sampled_from(METRICS), units, statuses)
    payment = st.tuples(projects, quarters, lags, st.sampled_from(sorted(PAYERS)), bases, st.none() | units, st.integers(-999_99, 9_999_99))
    measures = st.sampled_from(("service_users", "outcomes", "payments"))
    return Case(
        returned=sorted(draw(st.sets(st.tuples(projects, quarters)))),
        plans=_plans(draw(st.dictionaries(st.tuples(projects, quarters, measures, st.integers(1, 2)), st.integers(0, 9), max_size=20))),
        facts={
            "outcomes": _outcomes(draw(st.lists(outcome, max_size=40))),
            "service_starts": _starts(draw(st.lists(st.tuples(projects, quarters, lags, people, about), max_size=30))),
            "payments": _payments(draw(st.lists(payment, max_size=20))),
        },
    )


def _register(case: Case) -> Tables:
    described = {"name": "m", "definition": "As agreed.", "unit": "individual", "is_once_per_person": False}
    rows: dict[str, list[Row]] = {name: [] for name in DEFINITIONS.tables["register"]}
    rows["funds"] = [{"fund_id": "F", "name": "Fund", "publisher": "P", "return_due_days": 30, "licence": "CC-BY-4.0"}]
    rows["payers"] = [{"payer_id": payer, "name": payer, "kind": kind} for payer, kind in PAYERS.items()]
    rows["metrics"] = [{"project_id": project, "metric_id": metric, **described} for project in PROJECTS for metric in METRICS]
    rows["plans"] = list(case.plans)
    rows["projects"] = [
        {
            "project_id": project,
            "fund_id": "F",
            "name": project,
            "policy_sector": sector,
            "return_kind": "counts" if project == "R" else "participants",
        }
        | {"starts_on": date(2024, 1, 1), "ends_on": date(2024, 6, 30)}
        for project, sector in PROJECTS.items()
    ]
    frames = {name: from_rows(DEFINITIONS.table("register", name), found) for name, found in rows.items()}
    accepted = {"first_received_on": date(2024, 4, 20), "revisions_count": 1, "state": "accepted", "revision": 1}
    returns = [{"project_id": project, "quarter": quarter, **accepted} for project, quarter in case.returned]
    return {**frames, "returns": pa.Table.from_pylist(returns, schema=RETURNS)}


def _tabulate(case: Case, *, files: int = 1, shuffle: int | None = None, threads: int = 1) -> Tables:
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for name, ordered in case.facts.items():
            rows = list(ordered)
            if shuffle is not None:
                random.Random(shuffle).shuffle(rows)
            parts = [rows[part::files] for part in range(files)] if rows else []
            paths[name] = [Path(folder) / f"{name}-{part}.parquet" for part in range(len(parts))]
            for path, found in zip(paths[name], parts, strict=True):
                pq.write_table(from_rows(DEFINITIONS.table("facts", name), found), path)
        return DuckDbWarehouse(DEFINITIONS, threads=threads).tabulate(paths, _register(case), AS_OF)


_SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=[Phase.explicit, Phase.generate])
"""A tabulation takes a second: a failing case is shown as it was found, not made smaller."""


def _chosen(side: Mapping[str, Any], tables: Tables) -> list[Row]:
    rows = tables[side["table"]].to_pylist()
    rows = [row for row in rows if all(row[name] in values for name, values in side.get("where", {}).items())]
    return [row for row in rows if not any(row[name] in values for name, values in side.get("where_not", {}).items())]


def _sums(side: Mapping[str, Any], by: Sequence[str], tables: Tables) -> Mapping[tuple[Any, ...], Any]:
    sums: dict[tuple[Any, ...], Any] = {}
    for row in _chosen(side, tables):
        if row[side["column"]] is not None:
            key = tuple(row[name] for name in by)
            sums[key] = sums.get(key, 0) + row[side["column"]]
    return sums


def _totals_are_the_sums_of_their_parts(case: Case, tables: Tables) -> None:
    """Hold for every sum that the disclosure rules declare: protection reckons with them."""
    relations = [relation for relation in DEFINITIONS.disclosure["relations"] if relation["kind"] == "sum"]
    assert relations
    for relation in relations:
        totals = _sums(relation["total"], relation["match"], tables)
        for key, summed in _sums(relation["parts"], [*relation["match"], *relation["each"]], tables).items():
            assert totals[key[: len(relation["match"])]] == summed, relation["id"]


def _figures_to_date_are_running_sums_and_people_count_once(case: Case, tables: Tables) -> None:
    achieved = [row for row in case.facts["outcomes"] if row["status"] == "verified"]
    running: dict[tuple[str, str], int | None] = {}
    for row in tables["outcomes_by_quarter"].to_pylist():
        key = (row["project_id"], row["metric_id"])
        before = running.get(key)
        value = row["achieved_quantity"]
        running[key] = before if value is None else (before or 0) + value
        assert row["cumulative_quantity"] == running[key]
        mine = [fact for fact in achieved if (fact["project_id"], fact["metric_id"]) == key]
        in_quarter = [fact for fact in mine if fact["quarter"] == row["quarter"]]
        to_date = [fact for fact in mine if fact["quarter"] <= row["quarter"]]
        assert (value or 0) == sum(fact["quantity"] for fact in in_quarter)
        assert (row[f"achieved_quantity{PEOPLE}"] or 0) == _people(in_quarter)
        assert (row[f"cumulative_quantity{PEOPLE}"] or 0) == _people(to_date)
        if value is None:
            assert not in_quarter
            assert (row["project_id"], row["quarter"]) not in case.returned


def _people(facts: Sequence[Row]) -> int:
    named = {fact["participant"] for fact in facts} - {None}
    return len(named) + sum(fact["quantity"] for fact in facts if fact["participant"] is None)


def _nobody_is_lost_and_nobody_counts_twice(case: Case, tables: Tables) -> None:
    latest: dict[tuple[str, str], Row] = {}
    for row in sorted(case.facts["service_starts"], key=lambda row: row["return_quarter"]):
        latest[row["project_id"], row["participant"]] = row
    by_person = [row for row in latest.values() if row["project_id"] != "R"]
    for row in tables["service_users_by_quarter"].to_pylist():
        if row["project_id"] == "R":
            assert (row["characteristic"], row["starts_count"], row["starts_count_status"]) == ("all", None, "x")
            continue
        people = [person for person in by_person if (person["project_id"], person["quarter"]) == (row["project_id"], row["quarter"])]
        expected = [person for person in people if row["characteristic"] == "all" or person[row["characteristic"]] == row["category"]]
        assert row["starts_count"] == len(expected)
    totals = [row for row in tables["service_users_by_quarter"].to_pylist() if row["characteristic"] == "all"]
    assert sum(row["starts_count"] or 0 for row in totals) == len(by_person)
    for row in tables["performance"].to_pylist():
        if row["level"] == "project":
            mine = [fact for fact in case.facts["outcomes"] if fact["project_id"] == row["project_id"] and fact["status"] == "verified"]
            assert (row[f"outcomes_quantity{PEOPLE}"] or 0) == _people(mine)


def _every_pound_is_in_the_tables_once(case: Case, tables: Tables) -> None:
    rows = tables["payments_by_quarter"].to_pylist()
    paid = sum((fact["amount_gbp"] for fact in case.facts["payments"]), Decimal(0))
    assert sum((row["paid_gbp"] or Decimal(0) for row in rows if row["payer_id"] == "all"), Decimal(0)) == paid
    assert sum((row["paid_gbp"] for row in rows if row["payer_id"] != "all"), Decimal(0)) == paid


def _a_figure_is_published_exactly_where_it_has_a_value(_case: Case, tables: Tables) -> None:
    for name, table in tables.items():
        for column in table.column_names:
            if column.endswith("_status"):
                for row in table.to_pylist():
                    assert (row[column] == "published") == (row[column.removesuffix("_status")] is not None), f"{name}.{column}"
                    assert row[column] in ("published", "x", "z")


def _shares_are_rounded_half_to_even(_case: Case, tables: Tables) -> None:
    pairs = [
        (row, "share_of_plan", row["cumulative_quantity"], row["planned_cumulative_quantity"], 4) for row in tables["outcomes_by_quarter"].to_pylist()
    ]
    for row in tables["performance"].to_pylist():
        if row["aggregation"] == "pooled":
            pairs.append((row, "paid_share_of_plan", row["paid_gbp"], row["planned_gbp"], 4))
            pairs.append((row, "cost_per_outcome_gbp", row["paid_gbp"], row["outcomes_quantity"], 2))
    for row, name, numerator, denominator, decimals in pairs:
        if row[name] is not None:
            assert row[name] == round(Decimal(numerator) / Decimal(denominator), decimals)


LAWS = (
    _totals_are_the_sums_of_their_parts,
    _figures_to_date_are_running_sums_and_people_count_once,
    _nobody_is_lost_and_nobody_counts_twice,
    _every_pound_is_in_the_tables_once,
    _a_figure_is_published_exactly_where_it_has_a_value,
    _shares_are_rounded_half_to_even,
)


@settings(_SLOW, max_examples=15)
@given(cases())
def test_the_laws_of_figures_hold_whatever_was_returned(case: Case) -> None:
    tables = _tabulate(case)
    for law in LAWS:
        law(case, tables)


@settings(_SLOW, max_examples=8)
@given(cases(), st.integers(2, 4), st.integers(0, 99))
def test_the_order_of_rows_their_files_and_the_threads_do_not_matter(case: Case, files: int, shuffle: int) -> None:
    once, again = _tabulate(case), _tabulate(case, files=files, shuffle=shuffle, threads=4)
    assert {name: table.equals(again[name]) for name, table in once.items()} == dict.fromkeys(once, True)
