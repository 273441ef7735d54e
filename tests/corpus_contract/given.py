"""Two good returns, the register and the returns before them, and the whole judgement of a return in process.

Small enough to check by eye: project P1 returns people, project C1 returns counts. Rows stand in their tables as in the file: the first is row 2.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.adapters.definitions import load_definitions
from pipeline.adapters.expectation_checks import ExpectationChecker
from pipeline.adapters.frictionless_checks import FrictionlessChecker
from pipeline.domain.findings import Finding, is_blocking
from pipeline.domain.ledger import FACT_TABLES
from pipeline.domain.quarters import Quarter
from pipeline.domain.submission import SubmissionKey
from pipeline.ports import ReturnTable
from pipeline.stages import frames
from pipeline.stages.acceptance import to_facts, type_cells
from pipeline.stages.contract import EARLIER_COLUMNS, ContractContext, check, check_delivery
from pipeline.stages.registration import make_records

Row = dict[str, Any]
Rows = dict[str, list[Row]]
TABLES = ("cover", "participants", "outcomes", "payments")
DEFINITIONS = load_definitions(Path(__file__).parents[2])
CHECKER, STRUCTURE = ExpectationChecker(DEFINITIONS), FrictionlessChecker(DEFINITIONS)
BEFORE, LAST, NOW = "2023-Q4", "2024-Q1", "2024-Q2"
RECEIVED = date(2024, 7, 10)
ROOM = 1_000
"""More rows than a table of the corpus has."""
PRICES = {"START": (600, 200), "KEEP": (900, 300), "HOURS": (9, 3), "OLD": (60, 20), "NEW": (60, 20)}


def register() -> dict[str, list[Row]]:
    """Return the rows of the register: two payers, two projects, and every term that a contract can have."""
    contract = {"fund_id": "F", "policy_sector": "homelessness", "stage": "implementation", "starts_on": date(2023, 7, 1)}
    contract |= {"ends_on": date(2024, 6, 15), "claims_until": date(2024, 9, 30), "contract_cap_gbp": Decimal("40000.00")}
    metric = {"project_id": "P1", "name": "Outcome", "definition": "Is achieved.", "unit": "individual", "is_once_per_person": True}
    many, last, first = {"is_once_per_person": False}, date(2024, 3, 31), date(2024, 4, 1)
    prices = [("P1", *price, 2023) for price in PRICES.items()] + [("C1", "BEDS", (50, 25), 2023)]
    return {
        "funds": [{"fund_id": "F", "name": "A fund", "publisher": "A publisher", "return_due_days": 30, "licence": "OGL-UK-3.0"}],
        "payers": [{"payer_id": "COUNCIL", "name": "A council", "kind": "local"}, {"payer_id": "FUND", "name": "The fund", "kind": "fund"}],
        "projects": [
            contract | {"project_id": "P1", "name": "People", "return_kind": "participants"},
            contract | {"project_id": "C1", "name": "Counts", "return_kind": "counts"},
        ],
        "metrics": [
            metric | {"metric_id": "START"},
            metric | {"metric_id": "KEEP", "after_metric_id": "START", "after_days": 91},
            metric | many | {"metric_id": "HOURS", "cap_per_person": 40},
            metric | {"metric_id": "OLD", "valid_to": last},
            metric | {"metric_id": "NEW", "valid_from": first, "supersedes_metric_id": "OLD"},
            metric | many | {"project_id": "C1", "metric_id": "BEDS"},
            metric | many | {"project_id": "C1", "metric_id": "MEALS"},
        ],
        "rate_card": [
            {
                "project_id": project_id,
                "metric_id": metric_id,
                "payer_id": payer_id,
                "price_gbp": Decimal(price),
                "cap_quantity": 30 if metric_id == "START" else None,
                "valid_from": date(year, 7, 1),
                "payer_cap_gbp": Decimal("30000.00") if payer_id == "COUNCIL" else None,
                "payer_cap_share": Decimal("0.35") if payer_id == "FUND" and project_id == "P1" else None,
            }
            for project_id, metric_id, both, year in prices
            for payer_id, price in zip(("COUNCIL", "FUND"), both, strict=True)
        ],
    }


@cache
def records() -> Any:
    tables = {name: frames.from_rows(DEFINITIONS.table("register", name), rows) for name, rows in register().items()}
    made, findings = make_records(tables, DEFINITIONS)
    assert findings == []
    return made


def person(reference: str, day: str) -> Row:
    row = {"participant_ref": reference, "started_on": day, "left_on": None, "cohort": None, "age_band": "25_to_34", "gender": "female"}
    return row | {"ethnicity": "white", "local_authority": "E08000003"}


def outcome(reference: str, who: str | None, metric: str, day: str, quantity: int = 1, status: str = "verified") -> Row:
    row = {"outcome_ref": reference, "participant_ref": who, "metric_id": metric, "achieved_on": day, "quantity": str(quantity), "status": status}
    return row | {"verified_on": None if status == "claimed" else day, "evidence_type": "provider_record"}


def payment(reference: str, payer: str, metric: str | None, quantity: int | None, amount: str, quarter: str = NOW, **others: str | None) -> Row:
    period = Quarter.parse(quarter)
    row = {"payment_ref": reference, "payer_id": payer, "metric_id": metric, "basis": "outcome", "period_start": str(period.start)}
    row |= {"period_end": str(period.end), "quantity": None if quantity is None else str(quantity), "amount_gbp": amount}
    return row | {"paid_on": str(period.end), "reason": None} | others


def paid(quarter: str, *units: tuple[str, int]) -> list[Row]:
    """Return what both payers pay for units of metrics."""
    return [
        payment(f"{quarter}-{metric}-{payer}", payer, metric, count, f"{count * price}.00", quarter)
        for metric, count in units
        for payer, price in zip(("COUNCIL", "FUND"), PRICES[metric], strict=True)
    ]


def cover(project: str, quarter: str) -> Row:
    return {"project_id": project, "quarter": quarter, "template_version": "1", "is_nil_return": "no", "comment": None}


def people_return(quarter: str) -> Rows:
    """Return a return of P1: who starts (4 to 7 in each quarter), what they achieve, and what is paid for it."""
    mark, month = {BEFORE: ("B", "2023-10"), LAST: ("C", "2024-01"), NOW: ("D", "2024-04")}[quarter]
    people = {BEFORE: 6, LAST: 7, NOW: 7}[quarter]
    rows: Rows = {"cover": [cover("P1", quarter)], "participants": [person(f"{mark}-{n}", f"{month}-0{n}") for n in range(1, people + 1)]}
    started = {BEFORE: 5, LAST: 6, NOW: 6}[quarter]
    rows["outcomes"] = [outcome(f"{mark}-S{n}", f"{mark}-{n}", "START", f"{month}-1{n}") for n in range(1, started + 1)]
    units = [("START", started)]
    if quarter == BEFORE:
        rows["outcomes"] += [outcome("B-H1", "B-1", "HOURS", "2023-12-20", 20), outcome("B-H2", "B-2", "HOURS", "2023-12-20", 10)]
        units += [("HOURS", 30)]
    if quarter == LAST:
        rows["outcomes"] += [outcome(f"C-K{n}", f"B-{n}", "KEEP", f"2024-01-2{n}") for n in range(1, 4)]
        rows["outcomes"] += [outcome("C-H1", "C-1", "HOURS", "2024-03-20", 12), outcome("C-H2", "C-2", "HOURS", "2024-03-20", 14)]
        rows["outcomes"] += [outcome("C-O1", "C-1", "OLD", "2024-03-11"), outcome("C-O2", "C-2", "OLD", "2024-03-12")]
        units += [("KEEP", 3), ("HOURS", 26), ("OLD", 2)]
    if quarter == NOW:
        rows["outcomes"] += [outcome(f"D-K{n}", f"C-{n}", "KEEP", f"2024-05-2{n}") for n in range(1, 5)]
        rows["outcomes"] += [outcome("D-H1", "D-1", "HOURS", "2024-06-03", 8), outcome("D-H2", "D-2", "HOURS", "2024-06-03", 15)]
        rows["outcomes"] += [outcome("D-H3", "B-1", "HOURS", "2024-06-04", 11)]
        rows["outcomes"] += [outcome("D-N1", "D-1", "NEW", "2024-06-11"), outcome("D-N2", "D-2", "NEW", "2024-06-12")]
        rows["outcomes"] += [
            outcome("D-S8", "B-6", "START", "2024-06-13", status="claimed"),
            outcome("D-R1", "D-3", "NEW", "2024-06-14", status="rejected"),
        ]
        units += [("KEEP", 4), ("HOURS", 34), ("NEW", 2)]
    rows["payments"] = paid(quarter, *units)
    if quarter == NOW:
        activity = {"basis": "activity"}
        rows["payments"] += [payment("D-A1", "COUNCIL", None, None, "150.00", **activity)]
        rows["payments"] += [payment("D-C1", "COUNCIL", "START", 6, "-33.00", **activity | {"basis": "correction", "reason": "overpaid"})]
    return rows


def counts_return(quarter: str) -> Rows:
    """Return a return of C1: counts of two metrics, of which one has a price, and payments for activity."""
    day = str(Quarter.parse(quarter).end)
    beds, meals = {BEFORE: (11, 31), LAST: (14, 37), NOW: (13, 33)}[quarter]
    rows: Rows = {"cover": [cover("C1", quarter)], "participants": []}
    rows["outcomes"] = [outcome(f"{quarter}-1", None, "BEDS", day, beds), outcome(f"{quarter}-2", None, "MEALS", day, meals)]
    rows["outcomes"] += [outcome(f"{quarter}-{n}", None, "MEALS", day, n, "rejected") for n in (3, 4, 5, 6)]
    rows["payments"] = [payment(f"{quarter}-C", "COUNCIL", "BEDS", beds, f"{50 * beds}.00", quarter)]
    rows["payments"] += [payment(f"{quarter}-F", "FUND", "BEDS", beds, f"{25 * beds}.00", quarter)]
    months = Quarter.parse(quarter)
    rows["payments"] += [
        payment(f"{quarter}-A{n}", "COUNCIL", None, None, f"{400 + 7 * n}.00", quarter, basis="activity", paid_on=str(months.start.replace(day=n)))
        for n in range(2, 8)
    ]
    return rows


GOOD: Mapping[str, Callable[[str], Rows]] = {"P1": people_return, "C1": counts_return}


def named(kind: str, references: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(kind, references.cast(pa.string()), ":")


def as_cells(name: str, rows: Sequence[Row]) -> pa.Table:
    columns = {column: pa.array([row.get(column) for row in rows], pa.string()) for column in DEFINITIONS.table("submission", name).columns}
    return pa.table({"row": pa.array(range(2, len(rows) + 2), pa.int64()), **columns})


def as_typed(rows: Rows) -> dict[str, pa.Table]:
    return {name: type_cells(DEFINITIONS.table("submission", name), as_cells(name, rows[name])) for name in TABLES[1:] if name in rows}


def as_facts(key: SubmissionKey, rows: Rows) -> dict[str, pa.Table]:
    facts = to_facts(key, DEFINITIONS, as_typed(rows), named)
    return {name: facts[name].select(list(EARLIER_COLUMNS[name])) for name in FACT_TABLES}


@dataclass
class Return:
    """A good return of the newest quarter, for a mistake to be made in: its rows, its key, and what it is judged against.

    `earlier` are the rows of the project's other quarters, `replaced` those of the revision in force of this one.
    """

    project: str
    quarter: str = NOW
    rows: Rows = field(default_factory=dict)
    earlier: dict[str, Rows] = field(default_factory=dict)
    replaced: Rows | None = None
    received_on: date = RECEIVED
    accepted_as: tuple[SubmissionKey, ...] = ()
    terms: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def good(cls, project: str = "P1") -> Return:
        good = GOOD[project]
        terms = json.loads(json.dumps(records().projects[project]))
        return cls(project=project, rows=good(NOW), earlier={quarter: good(quarter) for quarter in (BEFORE, LAST)}, terms=terms)

    def cell(self, table: str, row: int, column: str, text: str | None) -> None:
        self.rows[table][row - 2][column] = text

    def again(self, table: str, row: int, **changes: str | None) -> None:
        """Add a row at the end of a table: one that is there, with changes."""
        self.rows[table].append(self.rows[table][row - 2] | changes)

    def context(self) -> ContractContext:
        key = SubmissionKey(self.project, self.quarter)
        before = [as_facts(SubmissionKey(self.project, quarter), rows) for quarter, rows in self.earlier.items()]
        none = {name: frames.arrow_schema(DEFINITIONS.table("facts", name)).empty_table().select(list(EARLIER_COLUMNS[name])) for name in FACT_TABLES}
        earlier = {name: pa.concat_tables([none[name], *(facts[name] for facts in before)]) for name in FACT_TABLES}
        known = self.project in records().projects
        return ContractContext(
            key=key,
            received_on=self.received_on,
            fund=records().fund if known else None,
            project=self.terms if known else None,
            known_participants=pc.unique(earlier["service_starts"]["participant"]),
            earlier_outcomes=earlier["outcomes"],
            earlier_payments=earlier["payments"],
            earlier_starts=earlier["service_starts"],
            replaced=as_facts(key, self.replaced) if self.replaced else {},
            accepted_as=self.accepted_as,
            metrics_elsewhere=lambda: {row["metric_id"] for row in register()["metrics"] if row["project_id"] != self.project},
        )


_JUDGED: dict[str, Sequence[Finding]] = {}
"""What Frictionless and Great Expectations said of a table that was judged before: most mistakes leave two of three tables as they were."""


def judge(given: Return) -> list[Finding]:
    """Judge a return as `validate` does: as a whole, then structure, then content and contract."""
    context, findings = given.context(), _before_content(given)
    if not is_blocking(findings):
        typed = as_typed(given.rows)
        for name, frame in typed.items():
            findings += _once(_content_of(name, frame), lambda name=name, frame=frame: _check_content(name, frame))  # type: ignore[misc]
        findings += check(context, DEFINITIONS, typed, named)
    return findings


def _before_content(given: Return) -> list[Finding]:
    tables = {name: ReturnTable(name=name, place=f"{name}.csv", cells=as_cells(name, rows)) for name, rows in given.rows.items()}
    findings = check_delivery(given.context(), DEFINITIONS, tables)
    if is_blocking(findings):
        return findings
    return findings + [finding for table in tables.values() for finding in _structure(table)]


def judge_content_at_once(returns: Sequence[Return]) -> None:
    """Let Great Expectations judge the tables of many returns as one: to start it takes longer than many rows, and its suites judge row by row."""
    waiting: dict[str, dict[str, pa.Table]] = {}
    for given in returns:
        if not is_blocking(_before_content(given)):
            for name, frame in as_typed(given.rows).items():
                waiting.setdefault(name, {})[_content_of(name, frame)] = frame
    for name, frames_by_text in waiting.items():
        moved = [_with_rows(frame, number * ROOM) for number, frame in enumerate(frames_by_text.values())]
        found = _check_content(name, pa.concat_tables(moved))
        for number, asked in enumerate(frames_by_text):
            own = [finding for finding in found if finding.row // ROOM == number]
            _JUDGED[asked] = [replace(finding, row=finding.row % ROOM) for finding in own]


def _with_rows(frame: pa.Table, first: int) -> pa.Table:
    return frame.set_column(0, frame.schema.field("row"), pc.add(frame["row"], first))


def _structure(table: ReturnTable) -> Sequence[Finding]:
    return _once(f"structure {table.name} {table.cells.to_pylist()}", lambda: STRUCTURE.check({table.name: table}))


def _content_of(name: str, frame: pa.Table) -> str:
    return f"content {name} {frame.to_pylist()}"


def _check_content(name: str, frame: pa.Table) -> Sequence[Finding]:
    return CHECKER.check(f"submission_{name}", frame, frame["row"].to_pylist()) if frame.num_rows else ()


def _once(asked: str, judged: Callable[[], Sequence[Finding]]) -> Sequence[Finding]:
    if asked not in _JUDGED:
        _JUDGED[asked] = judged()
    return _JUDGED[asked]


def revised(given: Return) -> Return:
    """Return the same return as a new revision of itself."""
    return replace(given, replaced=json.loads(json.dumps(given.rows)))
