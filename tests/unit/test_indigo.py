"""The import of an INDIGO export, rule by rule, on one small synthetic fund."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from pipeline.adapters.definitions import load_definitions
from pipeline.domain.findings import Severity
from pipeline.domain.submission import SubmissionKey
from pipeline.errors import RuleError
from pipeline.stages import frames
from pipeline.stages.indigo import HEADINGS, ExportRow, IndigoExport, IndigoImport, convert
from pipeline.stages.indigo.accounting import Judgements, account
from pipeline.stages.indigo.parties import joint_id
from pipeline.stages.indigo.scope import shape

ROOT = Path(__file__).resolve().parents[2]
DEFINITIONS = load_definitions(ROOT)
FUND, PROJECT, HOST, COUNCIL = "INDIGO-FUND-9001", "INDIGO-POJ-9001", "INDIGO-ORG-9001", "INDIGO-ORG-9002"
PAID, PLANNED = 0, 1
Tables = dict[str, list[dict[str, str]]]
Change = dict[str, str]


def small_fund() -> Tables:
    """One fund, one project, one row of every kind (payments: one actual, then one planned), with nothing wrong but dates without a day."""
    owned = {"project_id": PROJECT}
    payment = {**owned, "start": "2023-04", "end": "2023-06", "payer": HOST, "currency": "GBP", "amount": "1200"}
    return {
        "funds": [{"fund_id": FUND, "name": "Second Chances Fund", "host": HOST}],
        "organisations": [{"organisation_id": HOST, "name": "Ministry of Outcomes"}, {"organisation_id": COUNCIL, "name": "Anytown Council"}],
        "projects": [
            {
                **owned,
                "name": "Homes First",
                "stage": "Implementation",
                "policy_sector": "Homelessness",
                "service_start": "2023-01",
                "service_end_anticipated": "2024-09",
                "completion_anticipated": "2025-03",
                "contract_signed": "2022-12",
                "cap_currency": "GBP",
                "cap": "50000",
                "invested_currency": "GBP",
                "invested_exact": "9000",
            }
        ],
        "projects_outcome_funds": [{**owned, "fund_id": FUND}],
        "projects_service_provisions": [{**owned, "organisation_id": COUNCIL}],
        "projects_outcome_payment_commitments": [{**owned, "organisation_id": HOST}, {**owned, "organisation_id": COUNCIL}],
        "projects_investments": [{**owned, "investment_id": "investment1", "organisation_id": COUNCIL, "currency": "GBP", "exact": "9000"}],
        "projects_outcome_metrics": [
            {**owned, "metric_id": "outcomemetric1", "definition": "A home is kept for six months", "unit_type": "Individual", "target": "40"}
        ],
        "projects_outcome_pricings": [{**owned, "metric_id": "outcomemetric1", "currency": "GBP", "price": "300"}],
        "projects_outcome_payment_plans": [{**owned, "plan_id": "plan1", "start": "2023-01-15"}],
        "projects_outcome_payments": [{**payment, "type": "Actual"}, {**payment, "type": "Planned", "plan_id": "plan1", "amount": "1500"}],
        "projects_results": [{**owned, "metric_id": "outcomemetric1", "start": "2023-01", "end": "2023-12", "achieved": "12"}],
    }


def as_export(tables: Tables) -> IndigoExport:
    def row(table: str, number: int, cells: Mapping[str, str]) -> ExportRow:
        whole = {column: cells.get(column, "") for column in HEADINGS[table]}
        return ExportRow(number, whole, is_ragged="ragged" in cells)

    return IndigoExport(tables={name: [row(name, number, cells) for number, cells in enumerate(rows, 2)] for name, rows in tables.items()})


def imported(tables: Tables) -> IndigoImport:
    return convert(as_export(tables), FUND, DEFINITIONS)


def changed(table: str, change: Change, at: int = 0, more: tuple[Change, ...] = ()) -> Tables:
    """The small fund with one row changed, and further rows that differ from that row as it then is."""
    tables = small_fund()
    tables[table][at].update(change)
    tables[table] += [{**tables[table][at], **other} for other in more]
    return tables


def rules_on(result: IndigoImport, table: str, row: int) -> tuple[str, ...]:
    return next(outcome.rules for outcome in result.accounting.outcomes if (outcome.table, outcome.row) == (table, row))


PAYMENTS, PLANS, METRICS = "projects_outcome_payments", "projects_outcome_payment_plans", "projects_outcome_metrics"
RESULTS, PRICES, INVESTED, MEMBERS = "projects_results", "projects_outcome_pricings", "projects_investments", "projects_outcome_funds"
COMMITTED = "projects_outcome_payment_commitments"
NO_CHANGE: Change = {}

# rule, table, change to a row of the small fund, which row, further rows like it; the finding is expected on the last of them
CASES: list[tuple[str, str, Change, int, tuple[Change, ...]]] = [
    ("I-505", PAYMENTS, {"ragged": "yes"}, PAID, ()),
    ("I-506", "funds", NO_CHANGE, 0, ()),
    ("I-507", MEMBERS, {"fund_id": f"{FUND.lower()}\t"}, 0, ()),
    ("I-507", MEMBERS, {"project_id": f" {PROJECT}"}, 0, ()),
    ("I-507", PAYMENTS, {"plan_id": " Plan1"}, PLANNED, ()),
    ("I-507", PAYMENTS, {"payer": HOST.lower()}, PAID, ()),
    ("I-507", PAYMENTS, {"project_id": PROJECT.lower()}, PAID, ()),
    ("I-507", COMMITTED, {"organisation_id": f"{COUNCIL} "}, 1, ()),
    ("I-507", INVESTED, {"investment_id": "Big Investor"}, 0, ()),
    ("I-507", METRICS, {"metric_id": "OutcomeMetric1"}, 0, ()),
    ("I-508", METRICS, {"definition": "A home is kept\nfor six months "}, 0, ()),
    ("I-508", "projects", {"name": "Homes  First"}, 0, ()),
    ("I-508", "projects", {"name": "Homes\u200b First"}, 0, ()),
    ("I-509", PAYMENTS, NO_CHANGE, PAID, ()),
    ("I-509", PLANS, {"start": "2023-01"}, 0, ()),
    ("I-510", PAYMENTS, {"type": "actual "}, PAID, ()),
    ("I-510", PAYMENTS, {"currency": "GBP "}, PAID, ()),
    ("I-510", RESULTS, {"achieved": "12.0"}, 0, ()),
    ("I-511", PAYMENTS, {"sandboxes": "preview"}, PAID, ()),
    ("I-512", MEMBERS, {"ragged": "yes"}, 0, ()),
    ("I-513", MEMBERS, NO_CHANGE, 0, ({},)),
    ("I-515", "projects", {"service_end_actual": "soon"}, 0, ()),
    ("I-515", PLANS, {"start": "current"}, 0, ()),
    ("I-516", PAYMENTS, {"start": "2022-07", "end": "2022-09"}, PAID, ()),
    ("I-516", RESULTS, {"start": "2022-07", "end": "2022-09"}, 0, ()),
    ("I-517", PAYMENTS, {"start": "2022-11", "end": "2023-01"}, PAID, ()),
    ("I-518", PAYMENTS, {"type": ""}, PAID, ()),
    ("I-519", METRICS, NO_CHANGE, 0, ()),
    ("I-521", "projects", NO_CHANGE, 0, ({"name": "Homes Second"},)),
    ("I-525", "projects", {"service_start": ""}, 0, ()),
    ("I-526", "projects", {"service_end_anticipated": ""}, 0, ()),
    ("I-523", "projects", {"service_start": "", "contract_signed": ""}, 0, ()),
    ("I-524", "projects", {"service_end_anticipated": "", "completion_anticipated": ""}, 0, ()),
    ("I-527", "projects", {"service_end_actual": "2022-06"}, 0, ()),
    ("I-528", "projects", {"policy_sector": "Space travel"}, 0, ()),
    ("I-529", "projects", {"stage": ""}, 0, ()),
    ("I-530", "projects", {"cap": "1.2m (estimate)"}, 0, ()),
    ("I-530", "projects", {"cap_currency": "USD"}, 0, ()),
    ("I-531", "projects", {"invested_exact": "", "invested_min": "12000"}, 0, ()),
    ("I-532", "projects", {"invested_exact": "8000"}, 0, ()),
    ("I-533", "projects", {"name": " "}, 0, ()),
    ("I-534", COMMITTED, {"organisation_id": "INDIGO-ORG-7777"}, 0, ()),
    ("I-534", "projects_service_provisions", {"organisation_id": "INDIGO-ORG-7777"}, 0, ()),
    ("I-534", INVESTED, {"organisation_id": "INDIGO-ORG-7777"}, 0, ()),
    ("I-535", "projects", {"service_end_actual": "2023-05-31"}, 0, ()),
    ("I-536", COMMITTED, NO_CHANGE, 1, ()),
    ("I-537", PAYMENTS, {"plan_id": "plan2"}, PLANNED, ()),
    ("I-538", INVESTED, {"investment_id": " "}, 0, ()),
    ("I-539", INVESTED, NO_CHANGE, 0, ({},)),
    ("I-540", INVESTED, {"exact": ""}, 0, ()),
    ("I-541", INVESTED, {"exact": "C$2.5M"}, 0, ()),
    ("I-542", INVESTED, {"exact": "", "min": "4000"}, 0, ()),
    ("I-543", INVESTED, {"currency": ""}, 0, ()),
    ("I-544", INVESTED, {"currency": "EUR"}, 0, ()),
    ("I-544", PAYMENTS, {"currency": ""}, PAID, ()),
    ("I-544", PRICES, {"currency": "USD"}, 0, ()),
    ("I-545", PAYMENTS, {"amount": "1200.2900000000001"}, PAID, ()),
    ("I-545", "projects", {"cap": "50000.2900000000001"}, 0, ()),
    ("I-545", INVESTED, {"exact": "9000.0000000001"}, 0, ()),
    ("I-546", PAYMENTS, {"amount": "1200.0312345678"}, PAID, ()),
    ("I-546", PRICES, {"price": "33.333"}, 0, ()),
    ("I-547", METRICS, {"metric_id": ""}, 0, ()),
    ("I-548", METRICS, NO_CHANGE, 0, ({},)),
    ("I-549", METRICS, {"definition": ""}, 0, ()),
    ("I-550", METRICS, {"definition": "A home is kept " * 10}, 0, ()),
    ("I-551", METRICS, {"unit_type": ""}, 0, ()),
    ("I-553", METRICS, {"target": "", "targeted_number": "30"}, 0, ()),
    ("I-554", METRICS, {"target": ""}, 0, ()),
    ("I-555", METRICS, {"target": "most of them"}, 0, ()),
    ("I-556", METRICS, {"target": "0"}, 0, ()),
    ("I-557", PRICES, {"metric_id": "outcomemetric9"}, 0, ()),
    ("I-558", PRICES, NO_CHANGE, 0, ({"price": "400"},)),
    ("I-559", PRICES, {"price": "by agreement"}, 0, ()),
    ("I-559", PRICES, {"price": "-3"}, 0, ()),
    ("I-560", PRICES, NO_CHANGE, 0, ()),
    ("I-562", PAYMENTS, {"end": "2023-13"}, PAID, ()),
    ("I-562", RESULTS, {"start": ""}, 0, ()),
    ("I-563", PAYMENTS, {"start": "2023-12", "end": "2023-02"}, PAID, ()),
    ("I-564", PAYMENTS, {"end": "2023-09"}, PAID, ()),
    ("I-565", PAYMENTS, {"start": "2023-05", "end": "2023-07"}, PAID, ()),
    ("I-566", PAYMENTS, {"amount": ""}, PLANNED, ()),
    ("I-567", PAYMENTS, {"amount": "=A7"}, PAID, ()),
    ("I-568", PAYMENTS, {"amount": "1,200"}, PAID, ()),
    ("I-569", PAYMENTS, {"amount": "-1200"}, PAID, ()),
    ("I-569", PAYMENTS, {"amount": "1000000000"}, PAID, ()),
    ("I-570", PAYMENTS, {"amount": "0"}, PAID, ()),
    ("I-571", PAYMENTS, {"plan_id": "plan1"}, PAID, ()),
    ("I-572", PAYMENTS, {"metric_id": "outcomemetric9"}, PAID, ()),
    ("I-573", PAYMENTS, {"notes": "COVID claim payment"}, PAID, ()),
    ("I-574", PAYMENTS, {"notes": "part of this is another matter"}, PAID, ()),
    ("I-574", PAYMENTS, {"notes": "this is plan 3 originally"}, PLANNED, ()),
    ("I-575", PAYMENTS, {"payer": f"{COUNCIL}, {HOST}"}, PAID, ()),
    ("I-576", PAYMENTS, {"payer": ""}, PAID, ()),
    ("I-577", PAYMENTS, {"payer": "INDIGO-ORG-7777"}, PAID, ()),
    ("I-579", PAYMENTS, NO_CHANGE, PAID, ({},)),
    ("I-580", PAYMENTS, {"notes": "covid claim payment"}, PAID, ({"amount": "2400"},)),
    ("I-581", PAYMENTS, NO_CHANGE, PAID, ({"amount": "900"},)),
    ("I-582", PAYMENTS, NO_CHANGE, PAID, ({"start": "2023-06", "end": "2023-08"},)),
    ("I-583", RESULTS, {"metric_id": ""}, 0, ()),
    ("I-584", RESULTS, {"metric_id": "outcomemetric9"}, 0, ()),
    ("I-585", RESULTS, {"achieved": "about a dozen"}, 0, ()),
    ("I-586", RESULTS, {"achieved": "1000001"}, 0, ()),
    ("I-587", RESULTS, {"achieved": "0"}, 0, ()),
    ("I-588", RESULTS, NO_CHANGE, 0, ()),
    ("I-589", RESULTS, NO_CHANGE, 0, ({"end": "2023-06"},)),
    ("I-590", PAYMENTS, {"metric_id": "outcomemetric1"}, PLANNED, ()),
    ("I-591", PAYMENTS, {"amount": "1500.005"}, PLANNED, ()),
    ("I-592", PAYMENTS, {"plan_id": "forecast"}, PLANNED, ()),
    ("I-592", PLANS, {"plan_id": ""}, 0, ()),
    ("I-593", PAYMENTS, NO_CHANGE, PLANNED, ({"amount": "1600"},)),
    ("I-594", PAYMENTS, NO_CHANGE, PLANNED, ({"start": "2023-05", "amount": "10"},)),
    ("I-595", PAYMENTS, NO_CHANGE, PLANNED, ({"plan_id": "plan2"},)),
    ("I-596", PLANS, NO_CHANGE, 0, ({},)),
    ("I-597", PLANS, {"plan_id": "plan2"}, 0, ()),
    ("I-598", PLANS, NO_CHANGE, 0, ()),
    ("I-599", METRICS, NO_CHANGE, 0, ()),
]
"""Rules that need more than one file to be changed have tests of their own below; the files' own rules (I-501 to I-504, I-514) too."""
APART = {"I-501", "I-502", "I-503", "I-504", "I-514", "I-520", "I-522", "I-552", "I-561", "I-578"}


def catalogue() -> set[str]:
    return {rule.id for rule in DEFINITIONS.rules.values() if rule.id.startswith("I-5")}


@pytest.mark.parametrize(("rule", "table", "change", "at", "more"), CASES, ids=[f"{case[0]}-{case[1]}-{n}" for n, case in enumerate(CASES)])
def test_each_rule_fires_on_the_row_that_breaks_it_and_decides_what_becomes_of_it(
    rule: str, table: str, change: Change, at: int, more: tuple[Change, ...]
) -> None:
    tables = changed(table, change, at, more)
    row = len(tables[table]) + 1 if more else at + 2

    result = imported(tables)
    outcome = next(o for o in result.accounting.outcomes if (o.table, o.row) == (table, row))

    assert rule in outcome.rules
    assert all(DEFINITIONS.rule(finding.rule).message.format(**dict(finding.values)) for finding in result.findings)
    severities = {DEFINITIONS.rule(found).severity for found in outcome.rules}
    assert outcome.disposition == ("refused" if Severity.REFUSE in severities else "queried" if Severity.QUERY in severities else "taken")


def test_every_rule_of_the_catalogue_has_a_case_in_which_it_fires() -> None:
    assert {case[0] for case in CASES} | APART == catalogue()


def test_the_small_fund_becomes_register_rows_of_the_declared_shape() -> None:
    register = imported(small_fund()).register

    for name, rows in register.items():
        schema = DEFINITIONS.table("register", name)
        assert frames.conform(schema, frames.from_rows(schema, rows)).num_rows == len(rows)
    assert register["funds"] == [
        {
            "fund_id": FUND,
            "name": "Second Chances Fund",
            "publisher": "Ministry of Outcomes",
            "return_due_days": 90,
            "licence": "NOASSERTION",
            "next_release_on": None,
        }
    ]
    assert register["projects"][0] == {
        "project_id": PROJECT,
        "fund_id": FUND,
        "name": "Homes First",
        "policy_sector": "homelessness",
        "stage": "implementation",
        "service_providers": "Anytown Council",
        "commissioners": "Ministry of Outcomes; Anytown Council",
        "investors": "Anytown Council",
        "starts_on": date(2023, 1, 1),
        "ends_on": date(2024, 9, 30),
        "claims_until": None,
        "contract_cap_gbp": Decimal("50000.00"),
        "return_kind": "counts",
    }
    assert [(row["payer_id"], row["kind"]) for row in register["payers"]] == [
        (HOST, "fund"),
        (f"{HOST}.{COUNCIL}", "joint"),
        (COUNCIL, "local"),
    ]
    assert [(row["payer_id"], row["price_gbp"]) for row in register["rate_card"]] == [(f"{HOST}.{COUNCIL}", Decimal("300.00"))]
    plans = [(row["quarter"], row["measure"], row["expected_quantity"], row["expected_gbp"], row["agreed_on"]) for row in register["plans"]]
    assert plans == [("2023-Q2", "payments", None, Decimal("1500.00"), date(2023, 1, 15)), ("2024-Q3", "outcomes", 40, None, date(2023, 1, 15))]


def test_the_small_fund_becomes_one_return_per_quarter_with_something_to_report() -> None:
    returns = imported(small_fund()).returns

    assert list(returns) == [SubmissionKey(PROJECT, "2023-Q2"), SubmissionKey(PROJECT, "2023-Q4")]
    paid, achieved = returns.values()
    assert paid["cover"] == [
        {"project_id": PROJECT, "quarter": "2023-Q2", "template_version": "1", "is_nil_return": "no", "comment": None, "correction_reason": None}
    ]
    assert (paid["participants"], paid["outcomes"], achieved["payments"]) == ([], [], [])
    assert paid["payments"] == [
        {
            "payment_ref": "pay-2",
            "payer_id": HOST,
            "metric_id": None,
            "basis": "outcome",
            "period_start": date(2023, 4, 1),
            "period_end": date(2023, 6, 30),
            "quantity": None,
            "amount_gbp": Decimal("1200.00"),
            "paid_on": None,
            "reason": None,
        }
    ]
    assert achieved["outcomes"] == [
        {
            "outcome_ref": "res-2",
            "participant_ref": None,
            "metric_id": f"{PROJECT}.outcomemetric1",
            "achieved_on": date(2023, 12, 31),
            "quantity": 12,
            "status": "verified",
            "verified_on": None,
            "evidence_type": "not_known",
        }
    ]


def test_a_queried_or_refused_payment_stays_out_of_the_returns_but_in_the_account() -> None:
    result = imported(changed(PAYMENTS, NO_CHANGE, PAID, ({"amount": "-5"}, {"amount": "=A1"}, {"amount": "7.25", "start": "2023-09"})))

    tally = result.accounting.kinds["actual payments"]
    assert (tally.rows_in, tally.rows_taken, tally.rows_queried, tally.rows_refused) == (4, 1, 1, 2)
    assert (tally.pounds_in, tally.pounds_taken, tally.pounds_queried, tally.pounds_refused) == tuple(map(Decimal, ("1202.25", "1200", "-5", "7.25")))
    assert [row["payment_ref"] for tables in result.returns.values() for row in tables["payments"]] == ["pay-2"]
    assert result.accounting.projects["actual payments"][PROJECT] == tally
    assert result.accounting.rules["actual payments"]["I-569"].pounds == Decimal(-5)


def test_pounds_are_accounted_for_exactly_and_rounding_is_stated() -> None:
    result = imported(changed(PAYMENTS, {"amount": "0.123456789012345678901234567891"}, PLANNED, ({"amount": "100000000000.005", "end": "2023-09"},)))

    assert result.accounting.kinds["planned payments"].pounds_in == Decimal("100000000000.128456789012345678901234567891")
    taken = imported(changed(PAYMENTS, {"amount": "2000.128"}, PLANNED)).accounting
    assert taken.rounding == {"actual payments": Decimal(0), "planned payments": Decimal("0.002")}


def test_of_equal_payments_the_first_is_taken_and_of_rival_activity_payments_none() -> None:
    repeated = imported(changed(PAYMENTS, NO_CHANGE, PAID, ({},)))
    rivals = imported(changed(PAYMENTS, {"notes": "covid claim payment"}, PAID, ({"amount": "2400"},)))

    assert [len(tables["payments"]) for tables in repeated.returns.values()] == [1, 0]
    assert [len(tables["payments"]) for tables in rivals.returns.values()] == [0]


def test_an_activity_payment_beside_one_for_outcomes_of_the_same_period_is_no_rival() -> None:
    result = imported(changed(PAYMENTS, {"notes": "covid claim payment", "metric_id": "outcomemetric1"}, PAID, ({"notes": "", "amount": "0"},)))

    payments = result.returns[SubmissionKey(PROJECT, "2023-Q2")]["payments"]
    assert [(row["basis"], row["metric_id"], row["amount_gbp"]) for row in payments] == [
        ("activity", None, Decimal("1200.00")),
        ("outcome", f"{PROJECT}.outcomemetric1", Decimal("0.00")),
    ]


def test_planned_payments_of_one_quarter_are_added_up_and_versions_kept_apart() -> None:
    more = ({"start": "2023-05", "amount": "10"}, {"plan_id": "plan2", "amount": "7"})
    plans = imported(changed(PAYMENTS, NO_CHANGE, PLANNED, more)).register["plans"]

    paid = [(row["plan_version"], row["plan_kind"], row["expected_gbp"]) for row in plans if row["measure"] == "payments"]
    assert paid == [(1, "final_award_offer", Decimal("1510.00")), (2, "variation_agreement", Decimal("7.00"))]
    assert [row["plan_version"] for row in plans if row["measure"] == "outcomes"] == [2]


def test_claims_may_be_made_until_the_last_claim_that_was_taken() -> None:
    tables = changed("projects", {"service_end_actual": "2023-05-31"})
    tables[PAYMENTS].append({**tables[PAYMENTS][PAID], "start": "2024-01", "end": "2024-03", "amount": "=A1"})

    assert imported(tables).register["projects"][0]["claims_until"] == date(2023, 12, 31)


def test_the_rest_of_an_investment_is_registered_without_an_investor() -> None:
    investments = imported(changed("projects", {"invested_exact": "10000.50"})).register["investments"]

    assert [(row["investment_id"], row["investor"], row["committed_gbp"]) for row in investments] == [
        ("investment1", "Anytown Council", Decimal("9000.00")),
        ("not-itemised", None, Decimal("1000.50")),
    ]


def test_a_unit_that_only_the_results_name_is_the_metrics_unit() -> None:
    result = imported(changed(RESULTS, {"description": "weeks"}))

    assert "I-552" in rules_on(result, METRICS, 2)
    assert result.register["metrics"][0]["unit"] == "week"
    families = imported(changed(METRICS, {"unit_type": "Other", "unit_description": "Families"}))
    assert families.register["metrics"][0]["unit"] == "family"


def test_without_committed_payers_a_price_or_payment_that_names_none_is_refused() -> None:
    tables = changed(PAYMENTS, {"payer": ""})
    tables[COMMITTED] = []
    result = imported(tables)

    assert "I-561" in rules_on(result, PRICES, 2)
    assert "I-578" in rules_on(result, PAYMENTS, 2)
    assert result.register["rate_card"] == []


def test_a_member_that_is_not_described_or_has_no_usable_id_takes_its_rows_with_it() -> None:
    missing = small_fund()
    missing["projects"] = []
    odd = {name: [{**row, "project_id": "a b"} if "project_id" in row else row for row in rows] for name, rows in small_fund().items()}
    missing_result, odd_result = imported(missing), imported(odd)

    assert rules_on(missing_result, MEMBERS, 2) == ("I-522",)
    assert "I-520" in rules_on(odd_result, "projects", 2)
    for result in (missing_result, odd_result):
        assert rules_on(result, PAYMENTS, 2) == ("I-512",)
        assert (result.register["projects"], result.returns) == ([], {})
        assert result.accounting.kinds["actual payments"].pounds_refused == Decimal(1200)


def test_a_project_registers_although_nothing_was_planned_paid_or_achieved() -> None:
    tables = {name: rows if name in {"funds", "organisations", "projects", MEMBERS} else [] for name, rows in small_fund().items()}
    result = imported(tables)

    assert [row["project_id"] for row in result.register["projects"]] == [PROJECT]
    assert (result.returns, result.register["plans"]) == ({}, [])


def test_rows_of_other_funds_are_left_alone() -> None:
    tables = small_fund()
    for name, rows in small_fund().items():
        tables[name] += [{**row, "project_id": "INDIGO-POJ-8001", "fund_id": "INDIGO-FUND-8001"} for row in rows if "project_id" in row]

    assert imported(tables).accounting == imported(small_fund()).accounting


def test_a_period_given_to_the_day_that_is_one_quarter_needs_no_note() -> None:
    assert rules_on(imported(changed(PAYMENTS, {"start": "2023-04-01", "end": "2023-06-30"})), PAYMENTS, 2) == ()


def test_names_of_organisations_are_cleaned_on_record_and_empty_ones_are_no_names() -> None:
    tables = small_fund()
    tables["organisations"] += [{"organisation_id": "INDIGO-ORG-9003", "name": "Othertown\nCouncil "}, {"organisation_id": "INDIGO-ORG-9004"}]
    tables[COMMITTED] = [{"project_id": PROJECT, "organisation_id": f"INDIGO-ORG-900{number}"} for number in (1, 3, 3, 4)]
    result = imported(tables)

    assert result.register["projects"][0]["commissioners"] == "Ministry of Outcomes; Othertown Council"
    assert [finding.row for finding in result.findings if (finding.rule, finding.table) == ("I-508", "organisations")] == [4]
    assert rules_on(result, COMMITTED, 5) == ("I-534",)


def test_a_project_without_a_total_investment_has_no_rest() -> None:
    assert len(imported(changed("projects", {"invested_exact": ""})).register["investments"]) == 1


def test_an_organisation_listed_twice_keeps_its_first_name() -> None:
    tables = small_fund()
    tables["organisations"] += [{"organisation_id": HOST, "name": "Ministry of Other Things"}, {"organisation_id": "x", "ragged": "yes"}]
    result = imported(tables)

    assert {("I-514", 4), ("I-505", 5)} <= {(finding.rule, finding.row) for finding in result.findings}
    assert result.register["funds"][0]["publisher"] == "Ministry of Outcomes"


def test_a_fund_that_the_export_does_not_have_or_has_twice_imports_nothing() -> None:
    absent = convert(as_export(small_fund()), "INDIGO-FUND-0000", DEFINITIONS)
    twice = imported(changed("funds", NO_CHANGE, 0, ({},)))

    for result in (absent, twice):
        assert result.findings[0].rule == "I-504"
        assert (result.register, result.returns) == ({}, {})
    assert "I-521" in {finding.rule for finding in twice.findings}


def test_no_cell_of_the_export_reaches_a_finding() -> None:
    tables = copy.deepcopy(small_fund())
    for rows in tables.values():
        for row in rows:
            for column in row:
                if column not in {"project_id", "fund_id", "type", "organisation_id"}:
                    row[column] = f"zebra {row[column]}"
    result = imported(tables)

    assert len(result.findings) > 20
    assert "zebra" not in repr([*result.findings, *result.accounting.outcomes])


def test_an_import_that_loses_a_row_or_a_pound_is_stopped() -> None:
    outcomes = imported(small_fund()).accounting.outcomes
    paid = [outcome for outcome in outcomes if outcome.kind == "actual payments"]

    with pytest.raises(RuleError, match="does not account for every row of the actual payments"):
        account(paid, {"actual payments": [Decimal(1200), Decimal(1)]}, {})
    with pytest.raises(RuleError, match="does not account"):
        account(paid, {"actual payments": [Decimal("1200.01")]}, {})


def test_a_rule_found_on_rows_in_use_can_only_be_a_note() -> None:
    row = as_export(small_fund()).rows(PAYMENTS)[0]
    judgement = Judgements(DEFINITIONS).open("actual payments", PAYMENTS, row, PROJECT)

    judgement.find("I-574", "notes")
    judgement.find("I-574", "notes")

    assert len(judgement.findings) == 1
    with pytest.raises(RuleError, match="only be note"):
        judgement.note("I-566")


def test_the_catalogue_decides_whether_a_planned_amount_finer_than_a_penny_is_used() -> None:
    rule = replace(DEFINITIONS.rule("I-591"), severity=Severity.QUERY)
    strict = replace(DEFINITIONS, rules={**DEFINITIONS.rules, "I-591": rule})
    result = convert(as_export(changed(PAYMENTS, {"amount": "1500.005"}, PLANNED)), FUND, strict)

    assert result.accounting.kinds["planned payments"].rows_queried == 1
    assert [row for row in result.register["plans"] if row["measure"] == "payments"] == []


def test_a_column_that_the_schema_lacks_is_our_fault() -> None:
    with pytest.raises(RuleError, match="colour"):
        shape(DEFINITIONS, "register", "payers", {"colour": "red"})


def test_the_id_of_many_payers_is_short_and_depends_only_on_who_they_are() -> None:
    many = [f"INDIGO-ORG-{number:04d}" for number in range(24)]

    assert joint_id([COUNCIL, HOST]) == joint_id([HOST, COUNCIL]) == f"{HOST}.{COUNCIL}"
    assert joint_id(many) == joint_id(many[::-1])
    assert joint_id(many).startswith("joint.24.")
    assert joint_id(many) != joint_id(many[1:])
