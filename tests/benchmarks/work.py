"""The work that is measured, each in a process of its own: prints one JSON line with seconds and the most memory that the process held.

python -m tests.benchmarks.work TASK ARGUMENT...
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from pipeline import bootstrap
from pipeline.adapters.definitions import find_definitions, load_definitions
from pipeline.application import register, releases, submissions
from pipeline.application.facts import TYPED_TABLES, pseudonyms_of, seal_facts
from pipeline.application.services import Services, seal
from pipeline.domain import submission
from pipeline.domain.events import DomainEvent, RowChanges, RowCounts
from pipeline.domain.quarters import Quarter
from pipeline.domain.submission import RevisionKey, SubmissionKey
from pipeline.ports import Append
from pipeline.samples import write_sample
from pipeline.samples.facts import decide_claims, draw_facts
from pipeline.samples.fund import draw_fund
from pipeline.samples.register import Achieved, register_rows, write_register
from pipeline.samples.returns import make_return
from pipeline.settings import Settings
from pipeline.stages import acceptance

FUND = "SYN-LCF"
FIRST = Quarter.parse("2023-Q1")
ACHIEVED_PER_PERSON = 0.5067
"""How many outcome rows the sample has for each participant when everybody started in one quarter."""
FACTS_PER_PERSON = 2.9
"""How many fact rows the sample has for each participant over twelve quarters."""


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def prepare_return(home: str, rows: str) -> Mapping[str, Any]:
    """Make a return with so many outcome rows, take it in, and unpack its CSV files beside the workspace."""
    folder = Path(home)
    people = int(int(rows) / ACHIEVED_PER_PERSON)
    definitions = load_definitions(find_definitions())
    summary = write_sample(folder / "sample", projects=1, quarters=1, participants=people, seed=1, first_quarter=FIRST, definitions=definitions)
    environment = _environment(folder)
    bootstrap.initialise(Settings.parse(environment))
    with bootstrap.open_services(environment, "bench") as services:
        register.load_register(services, folder / "sample" / "register")
        received = submissions.receive(services, summary.deliveries[0])
        validating = _seconds(lambda: submissions.validate(services, received.key))
    with zipfile.ZipFile(summary.deliveries[0]) as archive:
        archive.extractall(folder / "csv")
    shutil.copyfile(folder / "workspace" / "log.sqlite", folder / "validated.sqlite")
    return {"outcomes": summary.outcomes, "participants": people, "revision": str(received.key), "validate_seconds": validating}


def accept_return(home: str, revision: str) -> Mapping[str, Any]:
    """Accept a validated return."""
    folder = Path(home)
    shutil.copyfile(folder / "validated.sqlite", folder / "workspace" / "log.sqlite")
    with bootstrap.open_services(_environment(folder), "bench") as services:
        return {"seconds": _seconds(lambda: submissions.accept(services, RevisionKey.parse(revision)))}


def convert_csv(home: str) -> Mapping[str, Any]:
    """Let DuckDB turn the CSV files of the return into Parquet."""
    folder = Path(home) / "csv"
    duckdb.sql("select 1")

    def convert() -> None:
        for name in ("participants", "outcomes", "payments"):
            duckdb.sql(f"copy (from read_csv('{folder / name}.csv')) to '{folder / name}.parquet' (format parquet, compression zstd)")

    return {"seconds": _seconds(convert)}


def prepare_facts(home: str, rows: str) -> Mapping[str, Any]:
    """Make a fund with about so many facts in force: the samples' rows through the acceptance stage, without the files of returns between."""
    folder = Path(home)
    definitions = load_definitions(find_definitions())
    fund = draw_fund(projects=30, quarters=12, participants=int(int(rows) / FACTS_PER_PERSON), seed=1, first_quarter=FIRST)
    environment = _environment(folder)
    bootstrap.initialise(Settings.parse(environment))
    achieved, count = {}, 0
    with bootstrap.open_services(environment, "bench") as services:
        drawn = {project.project_id: decide_claims(draw_facts(fund, project)) for project in fund.projects}
        for project_id, facts in drawn.items():
            achieved[project_id] = Achieved(units=facts.units(), paid_gbp=0)  # type: ignore[arg-type]
        write_register(folder / "register", register_rows(fund, achieved), definitions)
        if not register.load_register(services, folder / "register").is_loaded:
            raise SystemExit("The register of the benchmark does not load.")
        for project_id, facts in drawn.items():
            for quarter in range(facts.project.first, 12):
                key = SubmissionKey(project_id, str(fund.quarters[quarter]))
                count += _take_in(services, key, make_return(facts, quarter))
    shutil.copyfile(folder / "workspace" / "log.sqlite", folder / "taken-in.sqlite")
    return {"facts": count}


def _take_in(services: Services, key: SubmissionKey, tables: Mapping[str, pa.Table]) -> int:
    typed = {}
    for name in TYPED_TABLES:
        schema = acceptance.no_rows(services.definitions.table("submission", name)).schema
        table = tables[name].append_column("row", pa.array(range(2, tables[name].num_rows + 2), pa.int64()))
        typed[name] = table.select(schema.names).cast(schema).combine_chunks()
    facts = acceptance.to_facts(key, services.definitions, typed, pseudonyms_of(services, key))
    files = seal_facts(services, facts)
    rows = sum(table.num_rows for table in facts.values())
    state = submission.fold(key, [])
    content = seal(services.restricted, str(key).encode())
    report = seal(services.restricted, b"report " + str(key).encode())
    events: list[DomainEvent] = [*submission.decide_receive(state, content, 1)]
    for decision in (
        lambda now: submission.decide_validate(now, 1, passed=True, report=report, findings={}, rules="0" * 64),
        lambda now: submission.decide_accept(
            now,
            1,
            facts=files,
            rows=RowCounts(delivered=rows, accepted=rows, blank=0, late=0),
            replaces=None,
            changes=RowChanges(added=rows, changed=0, removed=0),
        ),
    ):
        services.log.append([Append(key.stream, len(services.log.read_stream(key.stream)), events)], actor="bench", recorded_at=services.clock())
        events = list(decision(submission.fold(key, services.log.read_stream(key.stream))))
    services.log.append([Append(key.stream, len(services.log.read_stream(key.stream)), events)], actor="bench", recorded_at=services.clock())
    return rows


def release_facts(home: str) -> Mapping[str, Any]:
    """Draft, build, audit, approve and publish a release; say where the time went."""
    folder = Path(home)
    shutil.copyfile(folder / "taken-in.sqlite", folder / "workspace" / "log.sqlite")
    shutil.rmtree(folder / "workspace" / "public", ignore_errors=True)
    environment = _environment(folder)
    with bootstrap.open_services(environment, "bench") as services, bootstrap.open_services(environment, "other") as approver:
        version = "1.0.0"
        seconds = {"draft": _seconds(lambda: releases.draft(services, FUND))}
        seconds["build"] = _seconds(lambda: releases.build(services, FUND, version))
        seconds["audit"] = _seconds(lambda: releases.audit(services, FUND, version))
        manifest = str(releases.load(services, FUND).release(version).manifest)
        seconds["approve"] = _seconds(lambda: releases.approve(approver, FUND, version, manifest))
        seconds["publish"] = _seconds(lambda: releases.publish(services, FUND, version))
    return {"seconds": sum(seconds.values()), "steps": seconds}


def group_facts(home: str) -> Mapping[str, Any]:
    """Let DuckDB group the same fact files by what is published: outcomes and people per project, metric and quarter; starts; payments."""
    with bootstrap.open_services(_environment(Path(home)), "bench") as services:
        from pipeline.application.services import read_ledger, unseal_path

        ledger = read_ledger(services)
        files = {name: [str(unseal_path(services.restricted, file.sha256)) for file in ledger.facts(FUND, name)] for name in acceptance.SOURCES}

    def group() -> None:
        for query in (
            f"select project_id, metric_id, quarter, sum(quantity), count(distinct participant) from read_parquet({files['outcomes']}) "
            "where status = 'verified' group by all",
            "select project_id, quarter, age_band, gender, ethnicity, local_authority, count(distinct participant) "
            f"from read_parquet({files['service_starts']}) group by all",
            f"select project_id, payer_id, basis, quarter, sum(amount_gbp) from read_parquet({files['payments']}) group by all",
        ):
            duckdb.sql(query).fetchall()

    duckdb.sql("select 1")
    return {"seconds": _seconds(group)}


def _environment(folder: Path) -> Mapping[str, str]:
    return {**os.environ, "OUTCOMES_HOME": str(folder / "workspace"), "OUTCOMES_NOW": "2026-06-30T12:00:00+00:00"}


TASKS = {task.__name__: task for task in (prepare_return, accept_return, convert_csv, prepare_facts, release_facts, group_facts)}

if __name__ == "__main__":
    found = TASKS[sys.argv[1]](*sys.argv[2:])
    print(json.dumps({**found, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}))
