"""Tables made from a few facts, with results worked out by hand. The expressions run on the real DuckDB, over real Parquet files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.adapters.definitions import find_definitions, load_definitions
from pipeline.adapters.warehouse import DuckDbWarehouse
from pipeline.domain.quarters import Quarter
from pipeline.errors import IntegrityError, RuleError, UnavailableError
from pipeline.stages import tabulation
from pipeline.stages.frames import PEOPLE, arrow_schema, from_rows
from pipeline.stages.tabulation import figures
from pipeline.stages.tabulation.completeness import tabulate_completeness
from pipeline.stages.tabulation.contracts import read_contracts, tabulate_outcome_metrics, tabulate_projects
from pipeline.stages.tabulation.quarterly import tabulate_outcomes, tabulate_payments, tabulate_service_users
from pipeline.stages.tabulation.sums import sum_facts

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
AS_OF = date(2024, 11, 15)
"""The third quarter of 2024 has ended, the fourth has not."""

Row = dict[str, Any]


class Fund:
    """A fund that a test fills: register rows, returns and facts, then tables."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.register: dict[str, list[Row]] = {name: [] for name in DEFINITIONS.tables["register"]}
        self.facts: dict[str, list[Row]] = {name: [] for name in DEFINITIONS.tables["facts"]}
        self.returns: list[Row] = []
        self.before: dict[str, list[Row]] = {}
        self._made: dict[tuple[str, int, date], list[Row]] = {}
        self.register["funds"].append({"fund_id": "F", "name": "Fund", "publisher": "P", "return_due_days": 30, "licence": "CC-BY-4.0"})
        for payer, kind in (("central", "central"), ("council", "local"), ("top_up", "fund")):
            self.register["payers"].append({"payer_id": payer, "name": payer, "kind": kind})

    def project(self, project: str = "P", metrics: Sequence[str] = ("M",), **changed: Any) -> None:
        row = {"project_id": project, "fund_id": "F", "name": f"Project {project}", "policy_sector": "health", "return_kind": "participants"}
        self.register["projects"].append({**row, "starts_on": date(2024, 1, 10), "ends_on": date(2024, 12, 31), **changed})
        for metric in metrics:
            described = {"name": metric, "definition": "As agreed.", "unit": "individual", "is_once_per_person": False}
            self.register["metrics"].append({"project_id": project, "metric_id": metric, **described})

    def plan(self, quarter: str, measure: str, amount: object, *, project: str = "P", **changed: Any) -> None:
        column = "expected_gbp" if measure == "payments" else "expected_quantity"
        row = {"project_id": project, "plan_version": 1, "plan_kind": "final_award_offer", "scenario": "high", "quarter": quarter, "measure": measure}
        if measure == "outcomes":
            row["metric_id"] = "M"
        self.register["plans"].append({**row, column: Decimal(str(amount)) if measure == "payments" else amount, **changed})

    def returned(self, *quarters: str, project: str = "P", **changed: Any) -> None:
        row = {"project_id": project, "first_received_on": date(2024, 4, 20), "revisions_count": 1, "state": "accepted", "revision": 1}
        self.returns.extend({**row, "quarter": quarter, **changed} for quarter in quarters)

    def start(self, person: str, quarter: str, *, project: str = "P", return_quarter: str | None = None, **changed: Any) -> None:
        row = self._fact("service_starts", project, quarter, return_quarter)
        about = {"age_band": "18_to_24", "gender": "female", "ethnicity": "asian", "local_authority": "E09000001"}
        self.facts["service_starts"].append({**row, "participant": person, "started_on": Quarter.parse(quarter).start, **about, **changed})

    def outcome(self, person: str | None, quarter: str, *, project: str = "P", return_quarter: str | None = None, **changed: Any) -> None:
        row = self._fact("outcomes", project, quarter, return_quarter)
        row |= {"outcome": f"o{row['source_row']}", "participant": person, "metric_id": "M", "achieved_on": Quarter.parse(quarter).start}
        self.facts["outcomes"].append({**row, "quantity": 1, "status": "verified", "evidence_type": "payslip", **changed})

    def payment(self, payer: str, quarter: str, amount: str, quantity: int | None = None, *, project: str = "P", **changed: Any) -> None:
        row = self._fact("payments", project, quarter, None)
        row |= {"payment": f"p{row['source_row']}", "payer_id": payer, "basis": "outcome", "amount_gbp": Decimal(amount), "quantity": quantity}
        whole = Quarter.parse(quarter)
        self.facts["payments"].append({**row, "period_start": whole.start, "period_end": whole.end, **changed})

    def _fact(self, table: str, project: str, quarter: str, return_quarter: str | None) -> Row:
        returned = return_quarter or quarter
        number = len(self.facts[table]) + 2
        return {"project_id": project, "return_quarter": returned, "quarter": quarter, "is_late": quarter < returned, "source_row": number}

    def paths(self) -> Mapping[str, Sequence[Path]]:
        """Write one file per table that has rows; a table without any has no file."""
        written = {}
        for name, rows in self.facts.items():
            path = self.folder / f"{name}.parquet"
            if rows:
                pq.write_table(from_rows(DEFINITIONS.table("facts", name), rows), path)
            written[name] = [path] if rows else []
        return written

    def frames(self) -> Mapping[str, pa.Table]:
        frames = {name: from_rows(DEFINITIONS.table("register", name), rows) for name, rows in self.register.items()}
        before = {name: pa.Table.from_pylist(self.before.get(name, []), schema=schema) for name, schema in tabulation.STAYING.values()}
        return {**frames, "returns": pa.Table.from_pylist(self.returns, schema=RETURNS), **before}

    def tables(self, as_of: date = AS_OF, warehouse: DuckDbWarehouse | None = None) -> Mapping[str, pa.Table]:
        return (warehouse or DuckDbWarehouse(DEFINITIONS, threads=1)).tabulate(self.paths(), self.frames(), as_of)

    def rows(self, table: str, as_of: date = AS_OF, **where: str) -> list[Row]:
        """Make one table, give the rows that hold the given values, sorted by key. All but performance are made without the others: it is quicker."""
        filled = sum(len(rows) for rows in (*self.register.values(), *self.facts.values(), self.returns))
        if (table, filled, as_of) not in self._made:
            self._made[table, filled, as_of] = (self.tables(as_of)[table] if table == "performance" else self._alone(table, as_of)).to_pylist()
        return [row for row in self._made[table, filled, as_of] if all(row[name] == value for name, value in where.items())]

    def _alone(self, table: str, as_of: date) -> pa.Table:
        database = ibis.duckdb.connect()
        try:
            made = _expression(table, *self.lend(database), as_of)
            return made.order_by(*DEFINITIONS.table("published", table).primary_key).to_pyarrow()
        finally:
            database.disconnect()

    def lend(self, database: Any) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Let a database see the facts and the register."""
        facts = {name: _lend(database, f"fact_{name}", from_rows(DEFINITIONS.table("facts", name), rows)) for name, rows in self.facts.items()}
        return facts, {name: _lend(database, name, frame) for name, frame in self.frames().items()}

    def column(self, table: str, name: str, as_of: date = AS_OF, **where: str) -> list[Any]:
        return [row[name] for row in self.rows(table, as_of, **where)]


def _lend(database: Any, name: str, frame: pa.Table) -> Any:
    database.con.register(name, frame)
    return database.table(name)


def _expression(table: str, facts: Mapping[str, Any], register: Mapping[str, Any], as_of: date) -> Any:
    if table == "projects":
        return tabulate_projects(register)
    if table == "outcome_metrics":
        return tabulate_outcome_metrics(register, as_of)
    if table == "completeness":
        return tabulate_completeness(register, as_of)
    sums = sum_facts(facts["outcomes"], facts["service_starts"], facts["payments"], tabulation.as_written)
    contracts = read_contracts(register, sums, as_of, tabulation.as_written)
    if table == "outcomes_by_quarter":
        return tabulate_outcomes(sums, contracts, register["metrics"])
    if table == "payments_by_quarter":
        return tabulate_payments(sums, contracts, register["payers"], register["paid_before"])
    return tabulate_service_users(sums, contracts, register["started_before"])


@pytest.fixture
def fund(tmp_path: Path) -> Fund:
    return Fund(tmp_path)


def _money(*amounts: str | None) -> list[Decimal | None]:
    return [None if amount is None else Decimal(amount) for amount in amounts]


# --- outcomes -----------------------------------------------------------------------------------------------------------------------------------


def test_outcomes_are_shown_for_every_quarter_of_the_contract_that_has_ended(fund: Fund) -> None:
    fund.project(starts_on=date(2023, 11, 30), ends_on=date(2024, 12, 31))
    assert fund.column("outcomes_by_quarter", "quarter") == ["2023-Q4", "2024-Q1", "2024-Q2", "2024-Q3"]


def test_outcomes_are_shown_to_the_last_day_of_claims_when_it_comes_after_the_service(fund: Fund) -> None:
    fund.project(ends_on=date(2024, 3, 31), claims_until=date(2024, 4, 1))
    assert fund.column("outcomes_by_quarter", "quarter") == ["2024-Q1", "2024-Q2"]


def test_a_quarter_that_ends_on_the_as_of_day_has_ended(fund: Fund) -> None:
    fund.project()
    assert fund.column("outcomes_by_quarter", "quarter", date(2024, 3, 30)) == []
    assert fund.column("outcomes_by_quarter", "quarter", date(2024, 3, 31)) == ["2024-Q1"]


def test_quarters_stretch_to_hold_every_fact_before_and_after(fund: Fund) -> None:
    fund.project(ends_on=date(2024, 2, 1))
    fund.outcome("a", "2023-Q3")
    fund.payment("council", "2024-Q3", "10.00", 1)
    assert fund.column("outcomes_by_quarter", "quarter") == ["2023-Q3", "2023-Q4", "2024-Q1", "2024-Q2", "2024-Q3"]


def test_only_verified_outcomes_are_achieved(fund: Fund) -> None:
    fund.project()
    fund.returned("2024-Q1")
    fund.outcome("a", "2024-Q1", quantity=3)
    fund.outcome("b", "2024-Q1", status="claimed")
    fund.outcome("c", "2024-Q1", status="rejected")
    first = fund.rows("outcomes_by_quarter")[0]
    assert (first["achieved_quantity"], first[f"achieved_quantity{PEOPLE}"]) == (3, 1)


def test_a_quarter_without_facts_is_zero_with_a_return_and_unavailable_without(fund: Fund) -> None:
    fund.project()
    fund.returned("2024-Q2")
    rows = fund.rows("outcomes_by_quarter")
    assert [row["achieved_quantity"] for row in rows] == [None, 0, None]
    assert [row["achieved_quantity_status"] for row in rows] == ["x", "published", "x"]
    assert [row[f"achieved_quantity{PEOPLE}"] for row in rows] == [None, 0, None]
    assert [row["cumulative_quantity"] for row in rows] == [None, 0, 0]
    assert [row["cumulative_quantity_status"] for row in rows] == ["x", "published", "published"]


def test_a_rejected_or_withdrawn_return_is_no_return(fund: Fund) -> None:
    fund.project()
    fund.returned("2024-Q1", state="rejected", revision=None)
    fund.returned("2024-Q2", state="withdrawn", revision=None)
    assert fund.column("outcomes_by_quarter", "achieved_quantity") == [None, None, None]


def test_a_late_outcome_counts_in_the_quarter_in_which_it_happened(fund: Fund) -> None:
    fund.project()
    fund.returned("2024-Q1", "2024-Q3")
    fund.outcome("a", "2024-Q1", return_quarter="2024-Q3")
    fund.outcome("b", "2024-Q2", return_quarter="2024-Q3")
    fund.outcome("c", "2024-Q3")
    assert fund.column("outcomes_by_quarter", "achieved_quantity") == [1, 1, 1]
    assert fund.column("outcomes_by_quarter", "cumulative_quantity") == [1, 2, 3]


def test_a_late_outcome_says_nothing_about_the_other_metrics_of_a_quarter_without_return(fund: Fund) -> None:
    fund.project(metrics=("M", "N"))
    fund.returned("2024-Q2")
    fund.outcome("a", "2024-Q1", return_quarter="2024-Q2")
    assert fund.column("outcomes_by_quarter", "achieved_quantity", metric_id="M") == [1, 0, None]
    assert fund.column("outcomes_by_quarter", "achieved_quantity", metric_id="N") == [None, 0, None]


def test_a_person_with_several_outcomes_counts_once_in_a_quarter_and_once_to_date(fund: Fund) -> None:
    fund.project()
    fund.returned("2024-Q1", "2024-Q2", "2024-Q3")
    for person, quarter in (("a", "2024-Q1"), ("a", "2024-Q1"), ("b", "2024-Q1"), ("a", "2024-Q2"), ("b", "2024-Q3"), ("c", "2024-Q3")):
        fund.outcome(person, quarter)
    rows = fund.rows("outcomes_by_quarter")
    assert [row["achieved_quantity"] for row in rows] == [3, 1, 2]
    assert [row[f"achieved_quantity{PEOPLE}"] for row in rows] == [2, 1, 2]
    assert [row[f"cumulative_quantity{PEOPLE}"] for row in rows] == [2, 2, 3]


def test_outcomes_without_a_participant_count_as_many_people_as_units(fund: Fund) -> None:
    fund.project()
    fund.returned("2024-Q1", "2024-Q2")
    fund.outcome("a", "2024-Q1")
    fund.outcome(None, "2024-Q1", quantity=7)
    fund.outcome(None, "2024-Q2", quantity=2)
    rows = fund.rows("outcomes_by_quarter")
    assert [row["achieved_quantity"] for row in rows] == [8, 2, None]
    assert [row[f"achieved_quantity{PEOPLE}"] for row in rows] == [8, 2, None]
    assert [row[f"cumulative_quantity{PEOPLE}"] for row in rows] == [8, 10, 10]


# --- plans --------------------------------------------------------------------------------------------------------------------------------------


def test_outcomes_are_held_against_the_latest_plan_agreed_by_the_as_of_day(fund: Fund) -> None:
    fund.project()
    fund.returned("2024-Q1")
    fund.outcome("a", "2024-Q1", quantity=6)
    fund.plan("2024-Q1", "outcomes", 10, agreed_on=date(2023, 12, 1))
    fund.plan("2024-Q1", "outcomes", 8, plan_version=2, agreed_on=date(2024, 11, 15))
    fund.plan("2024-Q1", "outcomes", 5, plan_version=3, agreed_on=date(2024, 11, 16))
    first = fund.rows("outcomes_by_quarter")[0]
    assert (first["plan_version"], first["planned_quantity"], first["share_of_plan"]) == (2, 8, Decimal("0.7500"))


def test_a_plan_without_a_date_counts_as_agreed(fund: Fund) -> None:
    fund.project()
    fund.plan("2024-Q1", "outcomes", 10)
    assert fund.column("outcomes_by_quarter", "planned_quantity") == [10, None, None]


@pytest.mark.parametrize(("scenarios", "chosen"), [(("low", "high", "medium"), "high"), (("low", "medium"), "medium"), (("low",), "low")])
def test_the_best_scenario_of_the_latest_version_is_the_target(fund: Fund, scenarios: Sequence[str], chosen: str) -> None:
    fund.project()
    fund.plan("2024-Q1", "outcomes", 99, scenario="high")
    for place, scenario in enumerate(scenarios):
        fund.plan("2024-Q1", "outcomes", place, scenario=scenario, plan_version=2)
    first = fund.rows("outcomes_by_quarter")[0]
    assert (first["scenario"], first["planned_quantity"]) == (chosen, scenarios.index(chosen))
    assert fund.column("performance", "scenario") == [chosen] * 7


def test_the_plan_to_date_counts_planned_quarters_that_are_not_shown(fund: Fund) -> None:
    fund.project()
    fund.returned("2024-Q1")
    fund.outcome("a", "2024-Q1", quantity=4)
    for quarter, expected in (("2023-Q4", 5), ("2024-Q1", 1), ("2024-Q3", 2)):
        fund.plan(quarter, "outcomes", expected)
    rows = fund.rows("outcomes_by_quarter")
    assert [row["planned_quantity"] for row in rows] == [1, None, 2]
    assert [row["planned_cumulative_quantity"] for row in rows] == [6, 6, 8]
    assert [row["share_of_plan"] for row in rows] == _money("0.6667", "0.6667", "0.5000")


def test_a_share_of_no_plan_does_not_apply_and_a_share_of_an_unknown_is_unavailable(fund: Fund) -> None:
    fund.project("P")
    fund.project("Q")
    fund.project("R")
    fund.returned("2024-Q1", project="P")
    fund.returned("2024-Q1", project="Q")
    fund.plan("2024-Q1", "outcomes", 0, project="Q")
    fund.plan("2024-Q1", "outcomes", 3, project="R")
    first = {row["project_id"]: row["share_of_plan_status"] for row in fund.rows("outcomes_by_quarter", quarter="2024-Q1")}
    assert first == {"P": "z", "Q": "z", "R": "x"}


# --- payments -----------------------------------------------------------------------------------------------------------------------------------


def test_payments_are_added_by_payer_and_basis_and_the_total_is_their_sum(fund: Fund) -> None:
    fund.project()
    fund.returned("2024-Q1", "2024-Q2")
    fund.payment("council", "2024-Q1", "100.10", 5)
    fund.payment("council", "2024-Q1", "20.20", 1)
    fund.payment("top_up", "2024-Q1", "50.05", 6)
    fund.payment("council", "2024-Q1", "1000.00", basis="activity")
    fund.payment("council", "2024-Q2", "-20.20", -1, basis="correction", reason="overpaid")
    rows = fund.rows("payments_by_quarter")
    assert [(row["payer_id"], row["basis"], row["quarter"], row["payer_kind"], row["paid_gbp"], row[f"paid_gbp{PEOPLE}"]) for row in rows] == [
        ("all", "all", "2024-Q1", "all", Decimal("1170.35"), 6),
        ("all", "all", "2024-Q2", "all", Decimal("-20.20"), 1),
        ("all", "all", "2024-Q3", "all", None, None),
        ("council", "activity", "2024-Q1", "local", Decimal("1000.00"), None),
        ("council", "correction", "2024-Q2", "local", Decimal("-20.20"), 1),
        ("council", "outcome", "2024-Q1", "local", Decimal("120.30"), 6),
        ("top_up", "outcome", "2024-Q1", "fund", Decimal("50.05"), 6),
    ]
    assert [row["paid_gbp_status"] for row in rows[:3]] == ["published", "published", "x"]


def test_the_payer_with_the_most_people_stands_behind_a_total(fund: Fund) -> None:
    fund.project()
    fund.payment("council", "2024-Q1", "1.00", 3)
    fund.payment("top_up", "2024-Q1", "1.00", 4)
    fund.payment("top_up", "2024-Q1", "-1.00", -9, basis="correction", reason="overpaid")
    fund.payment("central", "2024-Q2", "5.00", basis="activity")
    assert fund.column("payments_by_quarter", f"paid_gbp{PEOPLE}", payer_id="all") == [4, None, None]
    assert fund.column("performance", f"paid_gbp{PEOPLE}", level="project") == [4]


def test_a_quarter_with_a_return_and_no_payment_is_nought_pounds(fund: Fund) -> None:
    fund.project()
    fund.returned("2024-Q1")
    assert fund.column("payments_by_quarter", "paid_gbp") == _money("0.00", None, None)


def test_payment_plans_stand_on_the_total_and_on_outcome_rows_of_the_payers_that_they_name(fund: Fund) -> None:
    fund.project()
    fund.payment("council", "2024-Q1", "5.00", 1)
    fund.payment("top_up", "2024-Q1", "5.00", 1)
    fund.payment("council", "2024-Q1", "5.00", basis="activity")
    fund.plan("2024-Q1", "payments", "70.50", payer_id="council", metric_id="M")
    fund.plan("2024-Q1", "payments", "9.50", payer_id="council", metric_id="N")
    fund.plan("2024-Q1", "payments", "20.00")
    rows = {(row["payer_id"], row["basis"]): row["planned_gbp"] for row in fund.rows("payments_by_quarter", quarter="2024-Q1")}
    assert rows == {
        ("all", "all"): Decimal("100.00"),
        ("council", "activity"): None,
        ("council", "outcome"): Decimal("80.00"),
        ("top_up", "outcome"): None,
    }


def test_a_planned_quarter_that_has_ended_is_shown_and_a_later_one_is_not(fund: Fund) -> None:
    fund.project(ends_on=date(2024, 3, 31))
    for quarter in ("2024-Q3", "2024-Q4"):
        fund.plan(quarter, "payments", "10.00")
    rows = fund.rows("payments_by_quarter")
    assert [(row["quarter"], row["planned_gbp"], row["paid_gbp_status"]) for row in rows] == [
        ("2024-Q1", None, "x"),
        ("2024-Q3", Decimal("10.00"), "x"),
    ]


# --- service users ------------------------------------------------------------------------------------------------------------------------------


def test_a_participant_counts_once_as_the_latest_return_has_them(fund: Fund) -> None:
    fund.project()
    fund.returned("2024-Q1", "2024-Q2")
    fund.start("a", "2024-Q2", return_quarter="2024-Q2", gender="another")
    fund.start("a", "2024-Q1", gender="male")
    fund.start("b", "2024-Q1", gender="female")
    assert fund.column("service_users_by_quarter", "starts_count", characteristic="all") == [1, 1]
    genders = fund.rows("service_users_by_quarter", characteristic="gender")
    assert [(row["quarter"], row["category"], row["starts_count"]) for row in genders] == [
        ("2024-Q1", "another", 0),
        ("2024-Q1", "female", 1),
        ("2024-Q2", "another", 1),
        ("2024-Q2", "female", 0),
    ]


def test_a_category_of_an_earlier_release_keeps_its_row_when_nobody_is_left_in_it(fund: Fund) -> None:
    fund.project()
    fund.returned("2024-Q1", "2024-Q2")
    fund.start("a", "2024-Q1", gender="female")
    fund.before["started_before"] = [{"project_id": "P", "characteristic": "gender", "category": code} for code in ("female", "male")]
    fund.before["started_before"] += [{"project_id": "GONE", "characteristic": "gender", "category": "male"}]
    rows = fund.rows("service_users_by_quarter", characteristic="gender")
    assert [(row["quarter"], row["category"], row["starts_count"]) for row in rows] == [
        ("2024-Q1", "female", 1),
        ("2024-Q1", "male", 0),
        ("2024-Q2", "female", 0),
        ("2024-Q2", "male", 0),
    ]


def test_a_payer_of_an_earlier_release_keeps_its_row_as_long_as_there_is_a_return(fund: Fund) -> None:
    fund.project()
    fund.returned("2024-Q1")
    fund.payment("central", "2024-Q1", "10.00")
    key = {"project_id": "P", "basis": "outcome"}
    fund.before["paid_before"] = [
        {**key, "payer_id": payer, "quarter": quarter} for payer, quarter in (("central", "2024-Q1"), ("council", "2024-Q1"), ("council", "2024-Q2"))
    ]
    fund.before["paid_before"].append({"project_id": "P", "payer_id": "all", "basis": "all", "quarter": "2024-Q2"})
    found = fund.rows("payments_by_quarter")
    assert [(row["payer_id"], row["quarter"], row["paid_gbp"], row["paid_gbp__people"]) for row in found if row["payer_id"] != "all"] == [
        ("central", "2024-Q1", Decimal("10.00"), None),
        ("council", "2024-Q1", Decimal("0.00"), 0),
    ]


def test_two_projects_may_have_the_same_pseudonym(fund: Fund) -> None:
    for project in ("P", "Q"):
        fund.project(project)
        fund.returned("2024-Q1", project=project)
        fund.start("a", "2024-Q1", project=project)
    assert fund.column("service_users_by_quarter", "starts_count", characteristic="all") == [1, 1]


def test_starts_are_shown_where_a_return_is_in_force_or_a_late_fact_speaks(fund: Fund) -> None:
    fund.project()
    fund.returned("2024-Q3")
    fund.start("a", "2024-Q1", return_quarter="2024-Q3")
    rows = fund.rows("service_users_by_quarter", characteristic="all")
    assert [(row["quarter"], row["starts_count"]) for row in rows] == [("2024-Q1", 1), ("2024-Q3", 0)]


def test_a_project_that_returns_counts_has_unavailable_totals_and_no_categories(fund: Fund) -> None:
    fund.project(return_kind="counts")
    fund.returned("2024-Q1")
    fund.outcome(None, "2024-Q1", quantity=40)
    rows = fund.rows("service_users_by_quarter")
    assert [(row["quarter"], row["characteristic"], row["starts_count"], row["starts_count_status"]) for row in rows] == [
        ("2024-Q1", "all", None, "x")
    ]
    assert fund.column("outcomes_by_quarter", "achieved_quantity") == [40, None, None]


# --- performance --------------------------------------------------------------------------------------------------------------------------------


def _two_projects(fund: Fund) -> None:
    """P: 1 of 2 outcomes for £30.00. Q: 30 of 40 outcomes for £600.00. Pooled 31 of 42."""
    for project, achieved, planned, paid in (("P", 1, 2, "30.00"), ("Q", 30, 40, "600.00")):
        fund.project(project)
        fund.returned("2024-Q1", project=project)
        fund.outcome(None, "2024-Q1", project=project, quantity=achieved)
        fund.payment("council", "2024-Q1", paid, achieved, project=project)
        fund.plan("2024-Q1", "outcomes", planned, project=project)
        fund.plan("2024-Q4", "outcomes", 1000, project=project)


def test_the_mean_of_ratios_is_not_the_ratio_of_sums(fund: Fund) -> None:
    _two_projects(fund)
    rows = {row["aggregation"]: row for row in fund.rows("performance", level="fund")}
    assert rows["pooled"]["outcomes_share_of_plan"] == Decimal("0.7381")
    assert rows["mean"]["outcomes_share_of_plan"] == Decimal("0.6250")
    assert rows["median"]["outcomes_share_of_plan"] == Decimal("0.6250")
    assert rows["pooled"]["cost_per_outcome_gbp"] == Decimal("20.32")
    assert rows["mean"]["cost_per_outcome_gbp"] == Decimal("25.00")
    assert (rows["pooled"]["outcomes_quantity"], rows["pooled"]["outcomes_planned_quantity"]) == (31, 42)
    assert (rows["pooled"][f"outcomes_quantity{PEOPLE}"], rows["pooled"][f"paid_gbp{PEOPLE}"]) == (31, 31)


def test_the_median_of_three_is_the_middle_one_and_unknown_ratios_are_left_out(fund: Fund) -> None:
    _two_projects(fund)
    fund.project("R")
    fund.returned("2024-Q1", project="R")
    fund.outcome("a", "2024-Q1", project="R", quantity=9)
    fund.plan("2024-Q1", "outcomes", 3, project="R")
    fund.project("S")
    rows = {row["aggregation"]: row for row in fund.rows("performance", level="fund")}
    assert rows["median"]["outcomes_share_of_plan"] == Decimal("0.7500")
    assert rows["mean"]["outcomes_share_of_plan"] == Decimal("1.4167")
    assert rows["mean"]["projects_count"] == 4


def test_mean_and_median_rows_have_no_sums(fund: Fund) -> None:
    _two_projects(fund)
    for row in fund.rows("performance"):
        if row["aggregation"] != "pooled":
            for name in ("users_count", "outcomes_quantity", "paid_gbp"):
                assert (row[name], row[f"{name}_status"]) == (None, "z")
            for name in ("users_planned_count", "outcomes_planned_quantity", "planned_gbp", "invested_gbp", "returned_gbp", "plan_version"):
                assert row[name] is None
            assert row[f"outcomes_quantity{PEOPLE}"] is None


def test_every_level_has_its_rows_and_sectors_add_up_to_the_fund(fund: Fund) -> None:
    _two_projects(fund)
    fund.project("R", policy_sector="education")
    fund.returned("2024-Q1", project="R")
    fund.outcome("a", "2024-Q1", project="R")
    rows = fund.rows("performance", aggregation="pooled")
    assert [(row["level"], row["policy_sector"], row["project_id"], row["projects_count"], row["outcomes_quantity"]) for row in rows] == [
        ("fund", "all", "all", 3, 32),
        ("project", "education", "R", 1, 1),
        ("project", "health", "P", 1, 1),
        ("project", "health", "Q", 1, 30),
        ("sector", "education", "all", 1, 1),
        ("sector", "health", "all", 2, 31),
    ]
    assert [row["aggregation"] for row in fund.rows("performance", level="sector", policy_sector="health")] == ["mean", "median", "pooled"]


def test_a_person_with_outcomes_of_two_metrics_counts_once_in_the_project(fund: Fund) -> None:
    fund.project(metrics=("M", "N"))
    fund.returned("2024-Q1")
    for metric in ("M", "N"):
        fund.outcome("a", "2024-Q1", metric_id=metric)
    fund.outcome(None, "2024-Q1", quantity=5)
    (row,) = fund.rows("performance", level="project")
    assert (row["outcomes_quantity"], row[f"outcomes_quantity{PEOPLE}"]) == (7, 6)


def test_users_are_counted_against_plan_and_cost(fund: Fund) -> None:
    fund.project()
    fund.returned("2024-Q1", "2024-Q2")
    for person in "abc":
        fund.start(person, "2024-Q1")
    fund.payment("council", "2024-Q1", "100.00", 3)
    fund.plan("2024-Q2", "service_users", 4)
    fund.plan("2024-Q2", "payments", "400.00")
    (row,) = fund.rows("performance", level="project")
    assert (row["users_count"], row["users_planned_count"], row["users_share_of_plan"]) == (3, 4, Decimal("0.7500"))
    assert (row["paid_gbp"], row["planned_gbp"], row["paid_share_of_plan"]) == (Decimal("100.00"), Decimal("400.00"), Decimal("0.2500"))
    assert (row["cost_per_person_gbp"], row["cost_per_outcome_gbp"], row["cost_per_outcome_gbp_status"]) == (Decimal("33.33"), None, "z")


def test_sums_over_projects_leave_out_what_is_unavailable_and_its_plan(fund: Fund) -> None:
    fund.project("P")
    fund.project("Q", return_kind="counts")
    for project in ("P", "Q"):
        fund.returned("2024-Q1", project=project)
        fund.plan("2024-Q1", "service_users", 2, project=project)
        fund.payment("council", "2024-Q1", "10.00", 1, project=project)
    fund.start("a", "2024-Q1")
    projects = {row["project_id"]: row for row in fund.rows("performance", level="project")}
    assert (projects["Q"]["users_count"], projects["Q"]["users_count_status"], projects["Q"]["users_planned_count"]) == (None, "x", 2)
    assert projects["Q"]["users_share_of_plan_status"] == "x"
    pooled = fund.rows("performance", level="fund", aggregation="pooled")[0]
    assert (pooled["users_count"], pooled["users_planned_count"], pooled["users_share_of_plan"]) == (1, 2, Decimal("0.5000"))
    assert (pooled["paid_gbp"], pooled["cost_per_person_gbp"], pooled["cost_per_person_gbp_status"]) == (Decimal("20.00"), None, "x")
    mean = fund.rows("performance", level="fund", aggregation="mean")[0]
    assert mean["cost_per_person_gbp"] == Decimal("10.00")


def test_a_pooled_share_is_unavailable_where_a_project_achieved_without_a_plan(fund: Fund) -> None:
    _two_projects(fund)
    fund.project("R")
    fund.returned("2024-Q1", project="R")
    pooled = fund.rows("performance", level="fund", aggregation="pooled")[0]
    assert pooled["outcomes_share_of_plan"] == Decimal("0.7381")
    fund.outcome("a", "2024-Q1", project="R")
    pooled = fund.rows("performance", level="fund", aggregation="pooled")[0]
    assert (pooled["outcomes_share_of_plan"], pooled["outcomes_share_of_plan_status"]) == (None, "x")


def test_a_ratio_that_applies_to_no_project_does_not_apply_to_their_mean(fund: Fund) -> None:
    fund.project("P")
    fund.returned("2024-Q1")
    fund.project("Q")
    mean = fund.rows("performance", level="fund", aggregation="mean")[0]
    assert mean["outcomes_share_of_plan_status"] == "z"
    assert mean["cost_per_outcome_gbp_status"] == "x"


def test_the_mean_money_multiple_is_not_the_pooled_one(fund: Fund) -> None:
    fund.project("P")
    fund.project("Q")
    fund.project("R")
    for project, drawn, returned in (("P", "100.00", "200.00"), ("Q", "600.00", "300.00"), ("Q", "300.00", "150.00"), ("R", "0.00", None)):
        number = len(fund.register["investments"])
        amounts = {"drawn_gbp": Decimal(drawn), "returned_gbp": None if returned is None else Decimal(returned)}
        fund.register["investments"].append({"investment_id": f"i{number}", "project_id": project, **amounts})
    rows = {(row["level"], row["project_id"], row["aggregation"]): row for row in fund.rows("performance")}
    assert rows["fund", "all", "pooled"]["money_multiple"] == Decimal("0.6500")
    assert rows["fund", "all", "mean"]["money_multiple"] == Decimal("1.2500")
    assert rows["project", "R", "pooled"]["money_multiple"] is None


def test_a_project_without_return_has_unavailable_figures_and_the_rule_of_its_scenario(fund: Fund) -> None:
    fund.project()
    (row,) = fund.rows("performance", level="project")
    assert [row[f"{name}_status"] for name in ("users_count", "outcomes_quantity", "paid_gbp", "cost_per_person_gbp")] == ["x"] * 4
    assert (row["scenario"], row["plan_version"], row["users_share_of_plan_status"]) == ("high", None, "z")


# --- completeness, metrics, projects ------------------------------------------------------------------------------------------------------------


def test_completeness_says_what_was_due_what_came_and_what_counts(fund: Fund) -> None:
    fund.project()
    fund.returned("2024-Q1", first_received_on=date(2024, 5, 2), revisions_count=2, revision=2)
    fund.returned("2024-Q2", first_received_on=date(2024, 7, 1), state="rejected", revision=None)
    rows = fund.rows("completeness")
    assert [
        (row["quarter"], row["due_on"], row["is_expected"], row["state"], row["days_late"], row["revision"], row["is_in_release"]) for row in rows
    ] == [
        ("2024-Q1", date(2024, 4, 30), True, "accepted", 2, 2, True),
        ("2024-Q2", date(2024, 7, 30), True, "rejected", 0, None, False),
        ("2024-Q3", date(2024, 10, 30), True, "missing", None, None, False),
        ("2024-Q4", date(2025, 1, 30), False, "not_due", None, None, False),
    ]
    assert [row["revisions_count"] for row in rows] == [2, 1, 0, 0]
    assert [row["is_excluded"] for row in rows] == [False, True, False, False]


def test_a_return_that_its_report_queries_is_said_to_be_queried(fund: Fund) -> None:
    fund.project()
    fund.returned("2024-Q1", is_queried=True)
    fund.returned("2024-Q2", is_queried=False)
    assert fund.column("completeness", "is_queried")[:3] == [True, False, None]


def test_performance_says_how_many_of_the_returns_that_were_due_it_is_built_without(fund: Fund) -> None:
    fund.project()
    fund.project("Q")
    fund.returned("2024-Q1")
    fund.returned("2024-Q1", "2024-Q2", project="Q")
    fund.returned("2024-Q2", state="rejected", revision=None)
    told = {
        (row["level"], row["project_id"], row["aggregation"]): (row["returns_expected_count"], row["returns_missing_count"])
        for row in fund.rows("performance")
    }
    assert (told["project", "P", "pooled"], told["project", "Q", "pooled"]) == ((3, 2), (3, 1))
    assert told["fund", "all", "pooled"] == told["fund", "all", "mean"] == (6, 3)


def test_a_return_is_expected_from_its_due_day_on(fund: Fund) -> None:
    fund.project(ends_on=date(2024, 3, 31))
    assert fund.column("completeness", "is_expected", date(2024, 4, 29)) == [False]
    assert fund.column("completeness", "is_expected", date(2024, 4, 30)) == [True]


def test_a_return_for_a_quarter_outside_the_contract_is_listed_and_was_never_expected(fund: Fund) -> None:
    fund.project(ends_on=date(2024, 3, 31))
    fund.returned("2024-Q3")
    rows = fund.rows("completeness")
    assert [(row["quarter"], row["is_expected"], row["state"]) for row in rows] == [("2024-Q1", True, "missing"), ("2024-Q3", False, "accepted")]


def test_a_metric_has_a_row_per_agreed_plan_version_and_version_0_without_a_plan(fund: Fund) -> None:
    fund.project(metrics=("M", "N"))
    for quarter, scenario, expected in (("2024-Q1", "high", 5), ("2024-Q4", "high", 6), ("2024-Q1", "low", 2)):
        fund.plan(quarter, "outcomes", expected, scenario=scenario, agreed_on=date(2023, 12, 1))
    fund.plan("2024-Q1", "outcomes", 7, plan_version=2, plan_kind="variation_agreement", agreed_on=date(2024, 6, 1))
    fund.plan("2024-Q1", "outcomes", 8, plan_version=3, agreed_on=date(2025, 6, 1))
    targets = [f"target_{scenario}_quantity" for scenario in ("high", "medium", "low")]
    rows = [[row[name] for name in ("metric_id", "plan_version", "plan_kind", "agreed_on", *targets)] for row in fund.rows("outcome_metrics")]
    assert rows == [
        ["M", 1, "final_award_offer", date(2023, 12, 1), 11, None, 2],
        ["M", 2, "variation_agreement", date(2024, 6, 1), 7, None, None],
        ["N", 0, None, None, None, None, None],
    ]


def _rate(fund: Fund, payer: str, price: str, valid_from: date, valid_to: date | None = None, cap: int | None = None) -> None:
    row = {"project_id": "P", "metric_id": "M", "payer_id": payer, "price_gbp": Decimal(price), "cap_quantity": cap}
    fund.register["rate_card"].append({**row, "valid_from": valid_from, "valid_to": valid_to})


def test_the_price_of_a_unit_is_what_all_payers_pay_at_the_end_of_the_contract(fund: Fund) -> None:
    fund.project()
    _rate(fund, "central", "900.00", date(2024, 1, 1), date(2024, 6, 30))
    _rate(fund, "council", "70.00", date(2024, 1, 1), cap=10)
    _rate(fund, "council", "80.00", date(2024, 7, 1), cap=12)
    _rate(fund, "top_up", "20.50", date(2024, 7, 1), date(2024, 12, 31), cap=40)
    _rate(fund, "top_up", "5000.00", date(2025, 1, 1))
    (row,) = fund.rows("outcome_metrics")
    assert (row["price_per_unit_gbp"], row["cap_quantity"]) == (Decimal("100.50"), 40)


def test_a_rate_card_that_ran_out_gives_the_price_of_its_last_day(fund: Fund) -> None:
    fund.project()
    _rate(fund, "council", "10.00", date(2024, 1, 1), date(2024, 3, 31))
    _rate(fund, "top_up", "15.00", date(2024, 1, 1), date(2024, 6, 30))
    assert fund.column("outcome_metrics", "price_per_unit_gbp") == _money("15.00")


def test_a_metric_without_a_rate_card_has_no_price(fund: Fund) -> None:
    fund.project()
    assert fund.column("outcome_metrics", "price_per_unit_gbp") == [None]


def test_capital_raised_is_what_was_committed_and_empty_when_nothing_was(fund: Fund) -> None:
    fund.project("P")
    fund.project("Q")
    for number, committed in enumerate(("100.25", "0.50")):
        fund.register["investments"].append({"investment_id": f"i{number}", "project_id": "P", "committed_gbp": Decimal(committed)})
    assert fund.column("projects", "capital_raised_gbp") == _money("100.75", None)
    assert fund.column("projects", "project_name") == ["Project P", "Project Q"]


# --- the warehouse ------------------------------------------------------------------------------------------------------------------------------


def _people_columns() -> Mapping[str, set[str]]:
    rules = DEFINITIONS.disclosure["tables"]
    return {name: {cell["people"] for cell in table["cells"] if cell["people"].endswith(PEOPLE)} for name, table in rules.items()}


def test_every_table_has_its_declared_columns_then_its_people_in_declared_types_sorted_by_key(fund: Fund) -> None:
    _two_projects(fund)
    tables = fund.tables()
    assert set(tables) == set(DEFINITIONS.tables["published"])
    for name, table in tables.items():
        schema = DEFINITIONS.table("published", name)
        people = sorted(_people_columns()[name])
        assert table.column_names == [*schema.columns, *people]
        assert table.select(list(schema.columns)).schema == arrow_schema(schema)
        assert all(table.schema.field(column).type == pa.int64() for column in people)
        keys = [tuple(row[key] for key in schema.primary_key) for row in table.to_pylist()]
        assert keys == sorted(keys)
        assert len(keys) > 0


def test_a_fund_without_projects_gives_empty_tables(fund: Fund) -> None:
    assert all(table.num_rows == 0 for table in fund.tables().values())


def test_expressions_give_the_same_whether_intermediates_are_kept_or_not(fund: Fund) -> None:
    _two_projects(fund)
    fund.start("a", "2024-Q1")
    database = ibis.duckdb.connect()
    lazy = tabulation.tables(*fund.lend(database), AS_OF)
    kept = fund.tables()
    for name, expression in lazy.items():
        found = expression.to_pyarrow().select(kept[name].column_names).to_pylist()
        assert sorted(found, key=repr) == sorted(kept[name].to_pylist(), key=repr)
    database.disconnect()


def test_several_files_of_one_table_are_read_together(fund: Fund, tmp_path: Path) -> None:
    fund.project()
    fund.outcome("a", "2024-Q1")
    folder = tmp_path / "odd [name] *?"
    folder.mkdir()
    paths = [folder / "1.parquet", folder / "2.parquet"]
    for path in paths:
        pq.write_table(from_rows(DEFINITIONS.table("facts", "outcomes"), fund.facts["outcomes"]), path)
    tables = DuckDbWarehouse(DEFINITIONS, threads=2, memory="500MB", spill=tmp_path).tabulate({"outcomes": paths}, fund.frames(), AS_OF)
    assert tables["outcomes_by_quarter"]["achieved_quantity"].to_pylist() == [2, None, None]


@pytest.mark.parametrize("stray", ["metric", "payer"])
def test_facts_of_a_metric_or_payer_that_the_register_lacks_are_not_left_out_in_silence(fund: Fund, stray: str) -> None:
    fund.project()
    if stray == "metric":
        fund.outcome("a", "2024-Q1", metric_id="GONE")
    else:
        fund.payment("gone", "2024-Q1", "1.00", 1)
    with pytest.raises(IntegrityError, match="register does not hold"):
        fund.tables()


def test_a_fact_file_that_is_gone_makes_the_warehouse_unavailable(fund: Fund, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="could not read"):
        DuckDbWarehouse(DEFINITIONS).tabulate({"outcomes": [tmp_path / "gone.parquet"]}, fund.frames(), AS_OF)


def test_a_fact_file_that_is_not_parquet_is_a_broken_record(fund: Fund, tmp_path: Path) -> None:
    path = tmp_path / "broken.parquet"
    path.write_bytes(b"PAR1 this is not it PAR1")
    with pytest.raises(IntegrityError, match="fact file"):
        DuckDbWarehouse(DEFINITIONS).tabulate({"outcomes": [path]}, fund.frames(), AS_OF)


def test_a_value_that_breaks_an_expression_is_named_nowhere(fund: Fund) -> None:
    fund.project()
    fund.outcome("a", "2024-Q1")
    fund.facts["outcomes"][0]["quarter"] = "SECRET-Q1"
    with pytest.raises(RuleError) as caught:
        fund.tables()
    assert "SECRET" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_running_out_of_memory_without_a_spill_folder_is_said_plainly(fund: Fund) -> None:
    fund.project()
    for person in range(20_000):
        fund.outcome(f"person-with-a-long-pseudonym-{person:030d}", "2024-Q1")
    with pytest.raises(UnavailableError, match="out of memory"):
        fund.tables(warehouse=DuckDbWarehouse(DEFINITIONS, threads=1, memory="1MB"))


# --- reckoning ----------------------------------------------------------------------------------------------------------------------------------


def _lent(columns: Mapping[str, object]) -> Any:
    return _lend(ibis.duckdb.connect(), "lent", pa.table(columns))


@pytest.mark.parametrize(
    ("numerator", "denominator", "decimals", "expected"),
    [
        (1, 8, 2, 12),
        (3, 8, 2, 38),
        (-1, 8, 2, -12),
        (-3, 8, 2, -38),
        (2, 3, 4, 6667),
        (5, 2, 0, 2),
        (7, 2, 0, 4),
        (0, 7, 4, 0),
        (900_000_000_000_001, 7, 0, 128_571_428_571_429),
        (5, 0, 4, None),
        (None, 3, 4, None),
        (3, None, 4, None),
    ],
)
def test_quotients_round_half_to_even(numerator: int | None, denominator: int | None, decimals: int, expected: int | None) -> None:
    parts = _lent({"numerator": pa.array([numerator], pa.int64()), "denominator": pa.array([denominator], pa.int64())})
    found = parts.select(quotient=figures.quotient(parts.numerator, parts.denominator, decimals)).to_pyarrow()
    assert found["quotient"].to_pylist() == [expected]


@pytest.mark.parametrize("text", ["0999-Q4", "2023-Q4", "2024-Q1", "2024-Q2", "2024-Q3", "9998-Q4"])
def test_quarters_are_read_and_written_alike_and_end_on_their_last_day(text: str) -> None:
    rows = _lent({"quarter": [text], "day": [Quarter.parse(text).end]})
    number = figures.number_of(rows.quarter)
    made = rows.select(written=figures.written(number), ends=figures.last_day(number), same=figures.number_of_day(rows.day) == number)
    assert made.to_pyarrow().to_pylist() == [{"written": text, "ends": Quarter.parse(text).end, "same": True}]
