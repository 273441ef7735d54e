"""The rules of the contract say nothing against a fund that keeps its contracts, whatever the seed that it was drawn from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipeline.adapters.definitions import load_definitions
from pipeline.domain.findings import Finding, Severity
from pipeline.domain.ledger import FACT_TABLES
from pipeline.domain.quarters import Quarter
from pipeline.domain.submission import SubmissionKey
from pipeline.samples.facts import ProjectFacts, decide_claims, draw_facts
from pipeline.samples.fund import SampleFund, draw_fund
from pipeline.samples.register import Achieved, register_rows
from pipeline.samples.returns import forget, make_return
from pipeline.stages import frames
from pipeline.stages.acceptance import ROW, to_facts
from pipeline.stages.contract import EARLIER_COLUMNS, ContractContext, check
from pipeline.stages.registration import RegisterRecords, make_records

DEFINITIONS = load_definitions(Path(__file__).parents[2])
Tables = Mapping[str, pa.Table]


def named(kind: str, references: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(kind, references.cast(pa.string()), ":")


def as_typed(tables: Tables) -> Tables:
    """Return the tables of a sample's return as validation types them."""
    typed = {}
    for name in ("participants", "outcomes", "payments"):
        rows = pa.array(range(2, tables[name].num_rows + 2), pa.int64())
        schema = pa.schema([ROW, *frames.arrow_schema(DEFINITIONS.table("submission", name))])
        typed[name] = tables[name].add_column(0, ROW, rows).cast(schema)
    return typed


def register_of(fund: SampleFund, drawn: Sequence[ProjectFacts]) -> RegisterRecords:
    achieved = {}
    for facts in drawn:
        settled, paid = decide_claims(facts), Decimal(0)
        for quarter in range(facts.project.first, len(fund.quarters)):
            paid += pc.sum(make_return(settled, quarter)["payments"]["amount_gbp"], min_count=0).as_py()
        achieved[facts.project.project_id] = Achieved(units=facts.units(), paid_gbp=paid)
    tables = {name: frames.from_rows(DEFINITIONS.table("register", name), rows) for name, rows in register_rows(fund, achieved).items()}
    records, findings = make_records(tables, DEFINITIONS)
    assert findings == []
    return records


def selected(facts: Tables) -> Tables:
    return {name: facts[name].select(list(EARLIER_COLUMNS[name])) for name in FACT_TABLES}


def judge_fund(
    seed: int, *, projects: int = 8, quarters: int = 8, participants: int | None = None
) -> Iterator[tuple[SubmissionKey, Tables, list[Finding]]]:
    """Yield each return of a sample fund with what the rules say of it, judged in the order of quarters, the last one twice where it is corrected."""
    fund = draw_fund(projects=projects, quarters=quarters, participants=participants, seed=seed, first_quarter=Quarter(2021, 2))
    drawn = [draw_facts(fund, project) for project in fund.projects]
    records = register_of(fund, drawn)
    for facts in drawn:
        accepted: list[Tables] = []
        last = len(fund.quarters) - 1
        for quarter in range(facts.project.first, last + 1):
            deliveries = [as_typed(make_return(decide_claims(facts), quarter))]
            if quarter == last:
                is_corrected = facts.project.return_kind == "participants"
                deliveries.insert(0, as_typed(make_return(facts, quarter, forget(facts, quarter) if is_corrected else None)))
            key, replaced = SubmissionKey(facts.project.project_id, str(fund.quarters[quarter])), None
            for typed in deliveries:
                earlier = {name: pa.concat_tables([*(one[name] for one in accepted), _none(name)]) for name in FACT_TABLES}
                context = ContractContext(
                    key=key,
                    received_on=fund.quarters[quarter].next().start,
                    fund=records.fund,
                    project=records.projects[facts.project.project_id],
                    known_participants=pc.unique(earlier["service_starts"]["participant"]),
                    earlier_outcomes=earlier["outcomes"],
                    earlier_payments=earlier["payments"],
                    earlier_starts=earlier["service_starts"],
                    replaced=replaced or {},
                )
                yield key, typed, check(context, DEFINITIONS, typed, named)
                replaced = selected(to_facts(key, DEFINITIONS, typed, named))
            accepted.append(replaced or {})


def _none(name: str) -> pa.Table:
    return frames.arrow_schema(DEFINITIONS.table("facts", name)).empty_table().select(list(EARLIER_COLUMNS[name]))


@pytest.mark.parametrize("seed", range(1, 9))
def test_a_fund_that_keeps_its_contracts_has_no_errors_and_no_queries(seed: int) -> None:
    judged = list(judge_fund(seed))
    assert len(judged) > 50
    assert [(key, finding) for key, _, findings in judged for finding in findings if finding.severity is not Severity.NOTE] == []
    notes = {finding.rule for _, _, findings in judged for finding in findings}
    assert notes == {"K-305"}
    assert date(2021, 4, 1) == Quarter(2021, 2).start


@pytest.mark.parametrize(("seed", "participants"), [(11, 1), (12, 60), (13, 20_000)])
def test_so_does_a_fund_with_hardly_anybody_and_one_with_very_many(seed: int, participants: int) -> None:
    judged = list(judge_fund(seed, projects=5, quarters=6, participants=participants))
    assert [(key, finding) for key, _, findings in judged for finding in findings if finding.severity is not Severity.NOTE] == []
