"""The import on a whole export: the real snapshot of 15 April 2024 when it is there, and always a synthetic twin with the same kinds of dirt.

The real data are not part of the project: they are looked for beside it, in ../shared/data. In CI they must be there.
"""

import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from pipeline.adapters.definitions import load_definitions
from pipeline.adapters.indigo_export import read_export
from pipeline.domain.findings import Severity
from pipeline.domain.quarters import Quarter
from pipeline.domain.tables import Group
from pipeline.stages import frames, registration
from pipeline.stages.indigo import Accounting, IndigoImport, Tally, convert
from tests.indigo_twin import TWIN_FUND, Twin, make_twin, write_twin

ROOT = Path(__file__).resolve().parents[2]
SNAPSHOT = ROOT.parent / "shared" / "data" / "indigo-2024-04-15"
LIFE_CHANCES_FUND = "INDIGO-FUND-0012"
DEFINITIONS = load_definitions(ROOT)


@pytest.fixture(scope="module")
def snapshot() -> IndigoImport:
    if not SNAPSHOT.is_dir():
        missing = "The INDIGO export of 15 April 2024 is not in ../shared/data/indigo-2024-04-15."
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(f"{missing} It is not part of the project; the synthetic twin was tried instead.")
    return convert(read_export(SNAPSHOT), LIFE_CHANCES_FUND, DEFINITIONS)


DEFECTS = {
    "a period ends before it starts": "I-563",
    "a period is not three months long": "I-564",
    "a month is the thirteenth": "I-562",
    "periods overlap": "I-582",
    "payments share project and period": "I-581",
    "a payment may be entered twice": "I-580",
    "one period stands twice in one plan": "I-593",
    "several payers stand in one cell without a split": "I-575",
    "an id is written in another case or with a tab": "I-507",
    "an amount has float noise": "I-545",
    "a planned amount comes out of a division": "I-591",
    "a metric id stands twice": "I-548",
    "a payment or result names a metric that is not there": "I-572",
    "a result names a metric that is not there": "I-584",
    "a commitment names an organisation that is not there": "I-534",
    "a target is zero": "I-556",
    "an amount is missing": "I-566",
    "an amount is an explicit zero": "I-570",
}
"""Defects of the real export, and the rule that finds each in the projects of some fund."""


@pytest.fixture(scope="module")
def twin() -> Twin:
    return make_twin()


@pytest.fixture(scope="module")
def twin_folder(tmp_path_factory: pytest.TempPathFactory, twin: Twin) -> Path:
    folder = tmp_path_factory.mktemp("twin")
    write_twin(folder, twin)
    return folder


@pytest.fixture(scope="module")
def twin_import(twin_folder: Path) -> IndigoImport:
    return convert(read_export(twin_folder), TWIN_FUND, DEFINITIONS)


@pytest.fixture(params=["twin", "snapshot"])
def imported(request: pytest.FixtureRequest) -> IndigoImport:
    found: IndigoImport = request.getfixturevalue("twin_import" if request.param == "twin" else "snapshot")
    return found


def adds_up(tally: Tally) -> bool:
    rows = tally.rows_taken + tally.rows_queried + tally.rows_refused
    return (tally.rows_in, tally.pounds_in) == (rows, tally.pounds_taken + tally.pounds_queried + tally.pounds_refused)


def counts(tally: Tally) -> tuple[int, int, int, int]:
    return (tally.rows_in, tally.rows_taken, tally.rows_queried, tally.rows_refused)


def misfits(group: Group, table: str, rows: Sequence[Mapping[str, object]]) -> list[str]:
    """Return where rows break what their schema says of type, presence, pattern, bounds, choice, code list and key."""
    schema, wrong = DEFINITIONS.table(group, table), []
    frames.conform(schema, frames.from_rows(schema, rows))
    for row in rows:
        assert list(row) == list(schema.columns)
        for column in schema.fields:
            value, limits = row[column.name], column.constraints
            if value is None:
                wrong += [f"{table}.{column.name} is empty"] if column.is_required else []
                continue
            fits = [
                re.fullmatch(limits.get("pattern", ".*"), str(value), re.ASCII | re.DOTALL) is not None,
                value in limits.get("enum", [value]),
                column.codelist is None or value in DEFINITIONS.codelists[column.codelist],
                not isinstance(value, int | Decimal) or limits.get("minimum", value) <= value <= limits.get("maximum", value),
                not isinstance(value, Decimal) or -int(value.as_tuple().exponent) == column.decimals,
            ]
            wrong += [] if all(fits) else [f"{table}.{column.name} does not fit"]
    return wrong


def test_every_row_and_pound_is_taken_queried_or_refused(imported: IndigoImport) -> None:
    accounting = imported.accounting

    for kind, tally in accounting.kinds.items():
        assert adds_up(tally)
        of_projects = accounting.projects[kind].values()
        assert all(adds_up(part) for part in of_projects)
        assert sum(part.rows_in for part in of_projects) == tally.rows_in
        assert sum(part.pounds_in for part in of_projects) == tally.pounds_in
    assert len({(outcome.table, outcome.row) for outcome in accounting.outcomes}) == len(accounting.outcomes)


def test_every_row_that_is_not_taken_names_a_rule_that_says_so(imported: IndigoImport) -> None:
    for outcome in imported.accounting.outcomes:
        severities = {DEFINITIONS.rule(rule).severity for rule in outcome.rules}
        assert (outcome.disposition == "taken") == (severities <= {Severity.NOTE})
    assert {DEFINITIONS.rule(finding.rule).stage for finding in imported.findings} == {"import"}


def test_the_findings_are_those_of_the_rows_and_of_the_files(imported: IndigoImport) -> None:
    found = {(finding.table, finding.row, finding.rule) for finding in imported.findings if finding.row and finding.table != "organisations"}

    assert found == {(outcome.table, outcome.row, rule) for outcome in imported.accounting.outcomes for rule in outcome.rules}


def test_register_and_returns_fit_their_schemas(imported: IndigoImport) -> None:
    for table, rows in imported.register.items():
        assert misfits("register", table, rows) == []
    for tables in imported.returns.values():
        for table, rows in tables.items():
            assert misfits("submission", table, rows) == []


def test_the_register_takes_what_the_import_makes(imported: IndigoImport) -> None:
    tables = {name: frames.from_rows(DEFINITIONS.table("register", name), rows) for name, rows in imported.register.items()}

    records, findings = registration.make_records(tables, DEFINITIONS)

    assert findings == []
    assert len(records.projects) == 30


def test_returns_speak_only_of_what_is_registered_and_lie_inside_the_contract(imported: IndigoImport) -> None:
    register = imported.register
    projects = {row["project_id"]: row for row in register["projects"]}
    payers = {row["payer_id"] for row in register["payers"]}
    metrics = {(row["project_id"], row["metric_id"]) for row in register["metrics"]}

    for key, tables in imported.returns.items():
        project = projects[key.project_id]
        last = project["claims_until"] or project["ends_on"]
        assert isinstance(project["starts_on"], date)
        assert isinstance(last, date)
        assert Quarter.of(project["starts_on"]) <= Quarter.parse(key.quarter) <= Quarter.of(last)
        assert {row["payer_id"] for row in tables["payments"]} <= payers
        assert {(key.project_id, row["metric_id"]) for row in tables["outcomes"]} <= metrics
        ends = [row["period_end"] for row in tables["payments"]] + [row["achieved_on"] for row in tables["outcomes"]]
        assert ends
        assert {str(Quarter.of(day)) for day in ends if isinstance(day, date)} == {key.quarter}


def test_plans_and_returns_hold_exactly_the_pounds_that_were_taken(imported: IndigoImport) -> None:
    accounting = imported.accounting
    paid: dict[str, Decimal] = defaultdict(Decimal)
    for key, tables in imported.returns.items():
        for row in tables["payments"]:
            assert isinstance(row["amount_gbp"], Decimal)
            paid[key.project_id] += row["amount_gbp"]
    planned = [row["expected_gbp"] for row in imported.register["plans"] if isinstance(row["expected_gbp"], Decimal)]
    rows = sum(len(tables["payments"]) for tables in imported.returns.values())

    assert rows == accounting.kinds["actual payments"].rows_taken
    for project_id, tally in accounting.projects["actual payments"].items():
        assert abs(paid[project_id] - tally.pounds_taken) <= abs(accounting.rounding["actual payments"])
    assert sum(planned) == accounting.kinds["planned payments"].pounds_taken + accounting.rounding["planned payments"]
    assert abs(accounting.rounding["planned payments"]) < Decimal("1.00")


def test_the_twin_is_accounted_for_as_it_was_planted(twin: Twin, twin_import: IndigoImport) -> None:
    accounting: Accounting = twin_import.accounting

    for tally, name in ((accounting.kinds["actual payments"], "Actual"), (accounting.kinds["planned payments"], "Planned")):
        assert (tally.rows_in, tally.pounds_in) == (twin.rows[name], twin.pounds[name])
    assert counts(accounting.kinds["actual payments"]) == (252, 244, 4, 4)
    assert accounting.kinds["actual payments"].pounds_refused == Decimal(60517)
    assert accounting.kinds["actual payments"].pounds_queried == Decimal("451415.125")
    assert counts(accounting.kinds["planned payments"]) == (723, 720, 2, 1)
    assert len(twin_import.register["projects"]) == 30
    for rule, rows in twin.planted.items():
        if DEFINITIONS.rule(rule).severity is not Severity.NOTE:
            found = [outcome for outcome in accounting.outcomes if rule in outcome.rules]
            assert (rule, len(found)) == (rule, rows)
        assert any(rule in outcome.rules for outcome in accounting.outcomes)


def test_contact_columns_never_get_past_the_reader(twin_folder: Path, twin_import: IndigoImport) -> None:
    assert "somebody@example.org" in (twin_folder / "organisations.csv").read_text("utf-8-sig")
    assert "example.org" not in repr(read_export(twin_folder))
    assert "example.org" not in repr(twin_import)


def test_the_same_export_leads_to_the_same_import_whatever_the_hash_seed(twin_folder: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from pipeline.adapters.definitions import load_definitions;"
        "from pipeline.adapters.indigo_export import read_export; from pipeline.stages.indigo import convert;"
        f"print(convert(read_export(Path(sys.argv[1])), '{TWIN_FUND}', load_definitions(Path(sys.argv[2]))))"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", script, str(twin_folder), str(ROOT)],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }

    assert len(printed) == 1


def test_the_snapshot_registers_the_thirty_projects_of_the_life_chances_fund(snapshot: IndigoImport) -> None:
    register = snapshot.register

    assert len(register["projects"]) == 30
    assert {row["return_kind"] for row in register["projects"]} == {"counts"}
    assert (len(register["metrics"]), len(register["rate_card"]), len(register["investments"])) == (160, 6, 154)
    for kind in ("memberships", "projects", "metrics", "prices", "payment commitments", "investments", "service provisions", "payment plans"):
        tally = snapshot.accounting.kinds[kind]
        assert tally.rows_in == tally.rows_taken > 0


def test_the_snapshot_accounts_for_all_actual_payments_to_the_penny(snapshot: IndigoImport) -> None:
    tally = snapshot.accounting.kinds["actual payments"]

    assert counts(tally) == (297, 293, 2, 2)
    assert tally.pounds_in == Decimal("94755758")
    assert (tally.pounds_taken, tally.pounds_queried, tally.pounds_refused) == (Decimal(94199228), Decimal(484530), Decimal(72000))
    assert snapshot.accounting.rounding["actual payments"] == 0
    assert len(snapshot.accounting.projects["actual payments"]) == 20
    rules = {rule: found.rows for rule, found in snapshot.accounting.rules["actual payments"].items()}
    assert {rule: rules[rule] for rule in ("I-563", "I-564", "I-573", "I-580", "I-581", "I-582")} == {
        "I-563": 2,
        "I-564": 38,
        "I-573": 16,
        "I-580": 2,
        "I-581": 31,
        "I-582": 15,
    }


def test_the_snapshot_accounts_for_all_planned_payments_and_results(snapshot: IndigoImport) -> None:
    planned, results = (snapshot.accounting.kinds[kind] for kind in ("planned payments", "results"))

    assert counts(planned) == (1079, 1071, 2, 6)
    assert planned.pounds_in == Decimal("305509201.83330882933")
    assert (planned.pounds_queried, planned.pounds_refused) == (Decimal(1173780), Decimal(0))
    assert counts(results) == (117, 117, 0, 0)
    assert snapshot.accounting.rules["results"]["I-587"].rows == 4
    assert sum(len(tables["outcomes"]) for tables in snapshot.returns.values()) == 113


def test_each_known_defect_of_the_export_is_found_in_some_fund(snapshot: IndigoImport) -> None:
    export = read_export(SNAPSHOT)
    funds = sorted({row.cells["fund_id"].strip() for row in export.rows("projects_outcome_funds")})
    assert len(funds) > 10

    found = {finding.rule for fund in funds for finding in convert(export, fund, DEFINITIONS).findings}

    assert {defect: rule for defect, rule in DEFECTS.items() if rule not in found} == {}
