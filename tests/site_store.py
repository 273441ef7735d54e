"""A small public store for the tests of the site: hostile names, a hidden figure, a missing one, a withdrawn version. Made by the real renderer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa

from pipeline.adapters.definitions import find_definitions, load_definitions
from pipeline.stages.comparison import compare
from pipeline.stages.frames import from_rows
from pipeline.stages.publication import ReleaseAbout, render
from pipeline.stages.verification import manifest_bytes, sha256
from tests.fakes import MemoryStore

FUND = "TEST-FUND"
HOSTILE_FUND = 'Fund <script>alert(1)</script> & "Sons"'
HOSTILE_PROJECT = "<img src=x onerror=alert(2)> 'Home' & {{ 7*7 }}"
HOSTILE_METRIC = "</title><svg onload=alert(3)> Keeps a home"
WITHDRAWN_FIGURE = 98_765
AS_OF = date(2024, 9, 30)
ABOUT = ReleaseAbout(
    fund_id=FUND,
    fund_name=HOSTILE_FUND,
    publisher="A department <b>",
    licence="OGL-UK-3.0",
    version="1.0.0",
    base_version=None,
    as_of=AS_OF,
    drafted_on=date(2024, 10, 15),
    log_position=42,
    chain_head="a" * 64,
    ledger="b" * 64,
    rules="c" * 64,
    schemas="d" * 64,
    disclosure="e" * 64,
    code="0.1.0",
    threshold=5,
    public_notes=("[a link](javascript:alert(4)) and <b>raw</b> ![picture](http://elsewhere.example/x.png)",),
)
DEFINITIONS = load_definitions(find_definitions())
MEASURES = ("users_count", "outcomes_quantity", "paid_gbp", "users_share_of_plan", "outcomes_share_of_plan", "paid_share_of_plan")


def public_store(*, fund_id: str = FUND, is_all_withdrawn: bool = False) -> MemoryStore:
    """Return a store with version 1.0.0 (withdrawn) and 1.0.1 (the newest that stands, unless all are withdrawn)."""
    store = MemoryStore()
    put_version(store, replace(ABOUT, fund_id=fund_id), tables(fund_id, users=WITHDRAWN_FIGURE))
    put_version(store, replace(ABOUT, fund_id=fund_id, version="1.0.1"), tables(fund_id, users=1_234))
    put_index(store, fund_id, {"1.0.0": "figures_wrong", "1.0.1": "disclosure_risk" if is_all_withdrawn else None})
    return store


def put_version(store: MemoryStore, about: ReleaseAbout, content: Mapping[str, pa.Table]) -> None:
    """Put the files of a version where publishing puts them."""
    changes = compare(None, content, DEFINITIONS.tables["published"])
    for path, data in render(content, DEFINITIONS, about, changes).items():
        store.put(f"datasets/{about.fund_id}/v{about.version}/{path}", data)


def put_index(store: MemoryStore, fund_id: str, reasons: Mapping[str, str | None]) -> None:
    """Write the list of versions; a version with a reason is withdrawn."""
    versions = [
        {
            "version": version,
            "path": f"v{version}/",
            "as_of": AS_OF.isoformat(),
            "published_at": f"2024-10-{16 + number}T09:30:00+00:00",
            "manifest": sha256(store.get(f"datasets/{fund_id}/v{version}/MANIFEST")),
            "status": "withdrawn" if reason else "published",
            "reason": reason,
        }
        for number, (version, reason) in enumerate(reasons.items())
    ]
    standing = [entry for entry in versions if entry["status"] == "published"]
    newest = standing[-1] if standing else {"version": None, "path": None, "manifest": None}
    latest = {"fund_id": fund_id} | {name: newest[name] for name in ("version", "path", "manifest")}
    store.replace(f"datasets/{fund_id}/versions.json", json.dumps({"fund_id": fund_id, "versions": versions}).encode())
    store.replace(f"datasets/{fund_id}/latest.json", json.dumps(latest).encode())


def reseal(store: MemoryStore, files: Mapping[str, bytes]) -> None:
    """Put other files into the newest version and make its MANIFEST and the list of versions fit, as another release of this software might."""
    folder = f"datasets/{FUND}/v1.0.1/"
    for name, content in files.items():
        store.replace(name, content)
    store.replace(f"{folder}MANIFEST", manifest_bytes({name.removeprefix(folder): store.get(name) for name in store.names(folder)}))
    put_index(store, FUND, {"1.0.0": "figures_wrong", "1.0.1": None})


def tables(fund_id: str, *, users: int) -> Mapping[str, pa.Table]:
    """Return the seven tables. P1 has a hidden outcome and a hidden payment, P2 has returned nothing; `users` are the users of P1."""
    rows: dict[str, Sequence[Mapping[str, Any]]] = {
        "projects": [_project("P1", HOSTILE_PROJECT, "homelessness"), _project("P2", "The second", "education")],
        "outcome_metrics": [
            _metric("P1", "P1-M1", 1, HOSTILE_METRIC, 50),
            _metric("P1", "P1-M1", 2, HOSTILE_METRIC, 40),
            _metric("P1", "P1-M2", 2, "Holds a job", 20),
            _metric("P2", "P2-M1", 1, "Passes an exam", 30),
        ],
        "outcomes_by_quarter": [
            _outcome("P1", "P1-M1", "2024-Q1", 11, 11, 10),
            _outcome("P1", "P1-M1", "2024-Q2", 0, 11, 20),
            _outcome("P1", "P1-M2", "2024-Q2", "c", "c", 10),
            _outcome("P2", "P2-M1", "2024-Q2", "x", "x", 15, version=1),
        ],
        "payments_by_quarter": [
            *(_payment("P1", "all", "all", quarter, "all", paid, "12000.00") for quarter, paid in (("2024-Q1", "10500.50"), ("2024-Q2", "c"))),
            _payment("P1", "COUNCIL", "outcome", "2024-Q1", "local", "8000.00", None),
            _payment("P1", "TOP-UP", "outcome", "2024-Q1", "fund", "2500.50", None),
            _payment("P1", "COUNCIL", "outcome", "2024-Q2", "local", "c", None),
            _payment("P1", "COUNCIL", "correction", "2024-Q1", "local", "-99.50", None),
            _payment("P2", "all", "all", "2024-Q2", "all", "x", "9000.00"),
        ],
        "service_users_by_quarter": [
            _starts("P1", "2024-Q1", "all", "all", users),
            _starts("P1", "2024-Q1", "gender", "female", users - 7),
            _starts("P1", "2024-Q1", "gender", "male", "c"),
        ],
        "performance": [
            _performance("project", "homelessness", "P1", users=users, outcomes="c", paid="10500.50"),
            _performance("project", "education", "P2", users="x", outcomes="x", paid="x"),
            *(_performance("sector", sector, "all", users=users, outcomes="c", paid="x") for sector in ("homelessness", "education")),
            _performance("fund", "all", "all", users=users, outcomes="c", paid="10500.50"),
            *(_performance("fund", "all", "all", rule=rule, share="0.7500") for rule in ("mean", "median")),
        ],
        "completeness": [_return("P1", "2024-Q1", "accepted"), _return("P1", "2024-Q2", "accepted"), _return("P2", "2024-Q2", "missing")],
    }
    schemas = DEFINITIONS.tables["published"]
    common = {"fund_id": fund_id, "as_of": AS_OF, "scenario": "high"}
    return {name: from_rows(schemas[name], [common | dict(row) for row in content]) for name, content in rows.items()}


def _figure(column: str, value: Any) -> Mapping[str, Any]:
    """Return a figure with its status; one letter stands for a status without a figure."""
    if isinstance(value, str) and len(value) == 1:
        return {column: None, f"{column}_status": value}
    return {column: Decimal(value) if isinstance(value, str) else value, f"{column}_status": "published"}


def _project(project_id: str, name: str, sector: str) -> Mapping[str, Any]:
    return {
        "project_id": project_id,
        "project_name": name,
        "policy_sector": sector,
        "stage": "implementation",
        "service_providers": "A provider <i>",
        "starts_on": date(2024, 1, 1),
        "contract_cap_gbp": Decimal("100000.00"),
    }


def _metric(project_id: str, metric_id: str, version: int, name: str, target: int) -> Mapping[str, Any]:
    return {
        "project_id": project_id,
        "metric_id": metric_id,
        "plan_version": version,
        "metric_name": name,
        "unit": "individual",
        "plan_kind": "final_award_offer" if version == 1 else "variation_agreement",
        "agreed_on": date(2023, 11, version),
        "price_per_unit_gbp": Decimal("950.00"),
        "target_high_quantity": target,
    }


def _outcome(project_id: str, metric_id: str, quarter: str, achieved: Any, to_date: Any, planned: int, version: int = 2) -> Mapping[str, Any]:
    share: Any = to_date if isinstance(to_date, str) else f"{to_date / planned:.4f}"
    row = {"project_id": project_id, "metric_id": metric_id, "quarter": quarter, "unit": "individual", "plan_version": version}
    figures = _figure("achieved_quantity", achieved) | _figure("cumulative_quantity", to_date) | _figure("share_of_plan", share)
    return row | figures | {"planned_quantity": 10, "planned_cumulative_quantity": planned}


def _payment(project_id: str, payer: str, basis: str, quarter: str, kind: str, paid: str, planned: str | None) -> Mapping[str, Any]:
    row = {"project_id": project_id, "payer_id": payer, "basis": basis, "quarter": quarter, "payer_kind": kind, "plan_version": 2}
    return row | _figure("paid_gbp", paid) | {"planned_gbp": Decimal(planned) if planned else None}


def _starts(project_id: str, quarter: str, characteristic: str, category: str, starts: Any) -> Mapping[str, Any]:
    row = {"project_id": project_id, "quarter": quarter, "characteristic": characteristic, "category": category}
    return row | _figure("starts_count", starts)


def _performance(
    level: str, sector: str, project_id: str, *, rule: str = "pooled", users: Any = "z", outcomes: Any = "z", paid: Any = "z", share: str = ""
) -> Mapping[str, Any]:
    row = {"level": level, "policy_sector": sector, "project_id": project_id, "aggregation": rule, "projects_count": 1 if level == "project" else 2}
    figures = _figure("users_count", users) | _figure("outcomes_quantity", outcomes) | _figure("paid_gbp", paid)
    of_payments = "x" if paid == "x" else "1.2500" if level == "project" else "0.7778"
    shares = (share,) * 3 if share else ("0.8200", "c", of_payments)
    for measure, value in zip(("users", "outcomes", "paid"), shares, strict=True):
        figures |= _figure(f"{measure}_share_of_plan", value)
    plans = {"users_planned_count": 1500, "outcomes_planned_quantity": 45, "planned_gbp": Decimal("13500.00")} if rule == "pooled" else {}
    return row | figures | plans | _figure("cost_per_outcome_gbp", "c") | _figure("cost_per_person_gbp", "8.51")


def _return(project_id: str, quarter: str, state: str) -> Mapping[str, Any]:
    came = state == "accepted"
    return {
        "project_id": project_id,
        "quarter": quarter,
        "due_on": date(2024, 7, 30),
        "is_expected": True,
        "received_on": date(2024, 7, 31) if came else None,
        "days_late": 1 if came else None,
        "revisions_count": 1 if came else 0,
        "state": state,
        "revision": 1 if came else None,
        "is_in_release": came,
    }
