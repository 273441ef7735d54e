"""Small valid things for tests: a fund of two projects, their returns, and the services that take them in, all in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import pyarrow as pa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pipeline.adapters.definitions import load_definitions
from pipeline.adapters.pseudonyms import KeyedPseudonymiser
from pipeline.adapters.signing import Ed25519Signer
from pipeline.adapters.warehouse import DuckDbWarehouse
from pipeline.application import register, releases, submissions
from pipeline.application.services import Services
from pipeline.domain.events import DomainEvent, FactFile, Recorded, ReleaseDrafted, ReleaseFile, RowChanges, RowCounts, to_payload
from pipeline.domain.findings import Finding
from pipeline.domain.release import Release
from pipeline.domain.submission import RevisionKey, SubmissionKey
from pipeline.domain.tables import Definitions
from pipeline.errors import StaleStreamError
from pipeline.ports import Append, ReadReturn, ReturnTable, idle
from pipeline.stages import frames
from pipeline.stages.registration import REGISTER_TABLES
from tests.fakes import FixedClock, MemoryLog, MemoryStore, RestrictedMemoryStore

Row = dict[str, Any]

ROOT = Path(__file__).parents[1]
DEFINITIONS = load_definitions(ROOT)
FUND = "F1"
KEY, SECOND = SubmissionKey("P1", "2024-Q1"), SubmissionKey("P2", "2024-Q1")
NOW = datetime(2024, 6, 3, 9, 30, tzinfo=UTC)
SECRET = "Zebedee"
"""Stands in every reference of a project: the one word that must never be seen behind the door."""


def digest(word: str) -> str:
    """Return a hash that a person can tell from another by the word that it is of."""
    return sha256(word.encode()).hexdigest()


def recorded(
    event: DomainEvent, *, stream: str = "release/F1", version: int = 1, position: int = 1, actor: str = "ann", at: datetime = NOW
) -> Recorded:
    """Return an event as it stands in a log."""
    place: Row = {"position": position, "stream": stream, "version": version}
    return Recorded(**place, event=event, recorded_at=at, actor=actor, previous="0" * 64, hash=digest(f"{position}"))


def drafted(version: str = "1.0.0", **others: Any) -> ReleaseDrafted:
    given: Row = {"version": version, "round": 1, "base_version": None, "position": 7, "chain_head": digest("head"), "as_of": date(2024, 6, 3)}
    given |= {"ledger": digest("ledger"), "rules": digest("rules"), "schemas": digest("schemas"), "code": "0.1.0"}
    return ReleaseDrafted(**{**given, **others})


def release_file(path: str = "MANIFEST", word: str = "manifest") -> ReleaseFile:
    return ReleaseFile(path=path, sha256=digest(word), size_bytes=len(word))


def fact_file(table: str = "outcomes", word: str = "facts", rows: int = 1) -> FactFile:
    return FactFile(table=table, sha256=digest(word), rows=rows, size_bytes=100, number=1)


def row_counts(accepted: int = 1) -> RowCounts:
    return RowCounts(delivered=accepted, accepted=accepted, blank=0, late=0)


def row_changes(added: int = 1) -> RowChanges:
    return RowChanges(added=added, changed=0, removed=0)


def project_row(project_id: str = "P1", **others: Any) -> Row:
    row: Row = {"project_id": project_id, "fund_id": FUND, "name": f"Project {project_id}", "policy_sector": "homelessness"}
    row |= {
        "stage": "implementation",
        "starts_on": date(2023, 7, 1),
        "ends_on": date(2025, 6, 30),
        "contract_cap_gbp": Decimal("50000.00"),
        "return_kind": "participants",
    }
    return row | others


def plan_row(project_id: str, **others: Any) -> Row:
    row: Row = {"project_id": project_id, "plan_version": 1, "plan_kind": "final_award_offer", "agreed_on": date(2023, 5, 1), "scenario": "medium"}
    return row | {"quarter": "2024-Q1"} | others


def register_rows(*project_ids: str) -> dict[str, list[Row]]:
    """Return the rows of a register by table: one payer, and for each project one metric with a price and a plan of one quarter."""
    projects = project_ids or ("P1", "P2")
    metric = {"definition": "Keeps the home for 13 weeks.", "unit": "individual", "is_once_per_person": True}
    price = {"payer_id": "PAYER", "price_gbp": Decimal("100.00"), "valid_from": date(2023, 7, 1)}
    return {
        "funds": [{"fund_id": FUND, "name": "A fund", "publisher": "A department", "return_due_days": 30, "licence": "OGL-UK-3.0"}],
        "payers": [{"payer_id": "PAYER", "name": "A council", "kind": "local"}],
        "projects": [project_row(project_id) for project_id in projects],
        "metrics": [{"project_id": p, "metric_id": f"{p}-M1", "name": "Keeps the home"} | metric for p in projects],
        "rate_card": [{"project_id": p, "metric_id": f"{p}-M1"} | price for p in projects],
        "plans": [
            plan_row(p, **measure)
            for p in projects
            for measure in (
                {"measure": "service_users", "expected_quantity": 20},
                {"measure": "outcomes", "metric_id": f"{p}-M1", "expected_quantity": 10},
                {"measure": "payments", "metric_id": f"{p}-M1", "payer_id": "PAYER", "expected_gbp": Decimal("1000.00")},
            )
        ],
        "investments": [],
    }


def register_tables(rows: Mapping[str, Sequence[Row]]) -> dict[str, pa.Table]:
    return {name: frames.from_rows(DEFINITIONS.table("register", name), rows.get(name, ())) for name in REGISTER_TABLES}


def return_tables(key: SubmissionKey = KEY, *, people: int = 12, outcomes: int = 8, first: int = 1) -> dict[str, list[Row]]:
    """Return the rows of a return: people who start in its quarter, some with a verified outcome, and one payment for those."""
    year, quarter = key.quarter.split("-Q")
    month = f"{year}-{3 * int(quarter) - 2:02d}"
    references = [f"{SECRET}-{number}" for number in range(first, first + people)]
    person = {"started_on": f"{month}-10", "age_band": "18_to_24", "gender": "female", "ethnicity": "white", "local_authority": "E08000003"}
    outcome = {"metric_id": f"{key.project_id}-M1", "achieved_on": f"{month}-20", "quantity": "1", "status": "verified", "verified_on": f"{month}-25"}
    outcome |= {"evidence_type": "tenancy_agreement"}
    payment = {"payment_ref": f"{SECRET}-{key.quarter}", "payer_id": "PAYER", "metric_id": f"{key.project_id}-M1", "basis": "outcome"}
    payment |= {"period_start": f"{month}-01", "period_end": f"{month}-28", "quantity": str(outcomes), "amount_gbp": f"{outcomes * 100}.00"}
    return {
        "cover": [{"project_id": key.project_id, "quarter": key.quarter, "template_version": "1", "is_nil_return": "no"}],
        "participants": [person | {"participant_ref": reference} for reference in references],
        "outcomes": [outcome | {"outcome_ref": f"{key.quarter}/{reference}", "participant_ref": reference} for reference in references[:outcomes]],
        "payments": [payment] if outcomes else [],
    }


def write_return(folder: Path, tables: Mapping[str, Sequence[Row]], name: str = "P1_2024-Q1.json") -> Path:
    """Write a return in the form that `JsonReader` reads."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tables))
    return path


class JsonReader:
    """A `ReturnReader` of rows written as JSON; `findings` is what it has to say of every delivery."""

    def __init__(self) -> None:
        self.findings: Sequence[Finding] = ()

    def read(self, delivery: Path, meanwhile: Callable[[], object] = idle) -> ReadReturn:
        if self.findings:
            return ReadReturn({}, self.findings)
        tables = {name: self._table(name, rows) for name, rows in json.loads(delivery.read_bytes()).items()}
        return ReadReturn(tables)

    @staticmethod
    def _table(name: str, rows: Sequence[Row]) -> ReturnTable:
        columns = {column: pa.array([row.get(column) for row in rows], pa.string()) for column in DEFINITIONS.table("submission", name).columns}
        return ReturnTable(name, f"{name}.csv", pa.table({"row": pa.array(range(2, len(rows) + 2), pa.int64()), **columns}))


@dataclass
class Checker:
    """A `StructureChecker` and `ContentChecker` that says what it was told to say, of everything or of one suite."""

    found: Mapping[str, Sequence[Finding]] = field(default_factory=dict)

    def prepare(self) -> None:
        """There is nothing to load."""

    def check(self, subject: Any, table: Any = None, rows: Any = None) -> Sequence[Finding]:
        return self.found.get(subject if isinstance(subject, str) else "structure", ())


class RememberingWarehouse:
    """The real `Warehouse`, asked once for each set of facts and register: what it takes a second for does not change between tests."""

    _known: ClassVar[dict[str, Mapping[str, pa.Table]]] = {}

    def __init__(self, definitions: Definitions) -> None:
        self._real = DuckDbWarehouse(definitions, threads=1)

    def tabulate(self, facts: Mapping[str, Sequence[Path]], register: Mapping[str, pa.Table], as_of: date) -> Mapping[str, pa.Table]:
        named = {name: sorted(path.name for path in paths) for name, paths in facts.items()}
        asked = repr((sorted(named.items()), sorted((name, table.to_pylist()) for name, table in register.items()), as_of))
        if asked not in self._known:
            self._known[asked] = self._real.tabulate(facts, register, as_of)
        return self._known[asked]


@dataclass
class RacingLog(MemoryLog):
    """A log to which somebody else comes first: before an append goes through, the next of `others` is done."""

    others: list[Callable[[], object]] = field(default_factory=list)

    def append(self, appends: Sequence[Append], *, actor: str, recorded_at: datetime) -> Sequence[Recorded]:
        if self.others:
            self.others.pop(0)()
        return super().append(appends, actor=actor, recorded_at=recorded_at)


@dataclass
class CrowdedLog(MemoryLog):
    """A log on which somebody else is always faster."""

    attempts: int = 0

    def append(self, appends: Sequence[Append], *, actor: str, recorded_at: datetime) -> Sequence[Recorded]:
        self.attempts += 1
        raise StaleStreamError("Somebody else was there first.")


class Crash(Exception):  # noqa: N818 - it stands for a dying process, which is no error of ours
    """The end of a process, in the middle of what it did."""


class FragileStore(MemoryStore):
    """A store that notes what is put into it, and dies at the put that it was told to die at, before or after it is done."""

    def __init__(self) -> None:
        super().__init__()
        self.puts: list[str] = []
        self.dies_before = self.dies_after = 0

    def put(self, name: str, content: bytes | Path) -> bool:
        self._write(name)
        is_new = super().put(name, content)
        self._wrote()
        return is_new

    def replace(self, name: str, content: bytes) -> None:
        self._write(name)
        super().replace(name, content)
        self._wrote()

    def _write(self, name: str) -> None:
        self.puts.append(name)
        if len(self.puts) == self.dies_before:
            raise Crash

    def _wrote(self) -> None:
        if len(self.puts) == self.dies_after:
            raise Crash


@dataclass
class World:
    """An installation in memory: `services` for whoever acts, and its parts by their own types."""

    definitions: Definitions = DEFINITIONS
    log: MemoryLog = field(default_factory=MemoryLog)
    restricted: RestrictedMemoryStore = field(default_factory=RestrictedMemoryStore)
    public: FragileStore = field(default_factory=FragileStore)
    clock: FixedClock = field(default_factory=lambda: FixedClock(NOW))
    reader: JsonReader = field(default_factory=JsonReader)
    structure: Checker = field(default_factory=Checker)
    content: Checker = field(default_factory=Checker)
    signer: Ed25519Signer = field(default_factory=lambda: Ed25519Signer(Ed25519PrivateKey.from_private_bytes(b"s" * 32)))
    register: tuple[Mapping[str, pa.Table], Sequence[Finding]] = field(default_factory=lambda: (register_tables(register_rows()), ()))

    def services(self, actor: str = "ann", **others: Any) -> Services:
        made = Services(
            log=self.log,
            restricted=self.restricted,
            public=self.public,
            reader=self.reader,
            structure=self.structure,
            content=self.content,
            pseudonymiser=KeyedPseudonymiser(b"k" * 32),
            signer=self.signer,
            warehouse=RememberingWarehouse(self.definitions),
            read_register=lambda folder: self.register,
            definitions=self.definitions,
            clock=self.clock,
            actor=actor,
            code="0.1.0",
        )
        return replace(made, **others)

    def copy(self, log: MemoryLog | None = None) -> World:
        """Return a world in which the same has happened so far."""
        other = World(definitions=self.definitions, log=log or MemoryLog(), register=self.register, clock=FixedClock(self.clock.now))
        other.log.documents.extend(self.log.documents)
        other.restricted.objects.update(self.restricted.objects)
        other.public.objects.update(self.public.objects)
        return other

    @property
    def events(self) -> list[Recorded]:
        return list(self.log.read())

    @property
    def names(self) -> list[str]:
        return [recorded.event.name for recorded in self.events]

    @property
    def payloads(self) -> str:
        """Everything that the log says, as text."""
        return json.dumps([to_payload(recorded.event) for recorded in self.events])


def revision(number: int, key: SubmissionKey = KEY) -> RevisionKey:
    return RevisionKey(key, number)


def published_objects(world: World, version: str = "1.0.0") -> dict[str, bytes]:
    """Return the public files of a version by their path inside its folder."""
    folder = f"datasets/{FUND}/v{version}/"
    return {name.removeprefix(folder): content for name, content in world.public.objects.items() if name.startswith(folder)}


def take_in(world: World, key: SubmissionKey = KEY, change: Callable[[dict[str, list[Row]]], Any] = lambda tables: None, **tables: int) -> None:
    """Receive, validate and accept a return, with a reason for what it corrects; `change` is done to its rows before."""
    rows = return_tables(key, **tables)
    change(rows)
    with TemporaryDirectory() as folder:
        _, judged = submissions.submit(world.services("team"), write_return(Path(folder), rows), key, reason="other")
    assert judged.report.passed, judged.report.counts


@cache
def world_at(step: str) -> World:
    """Return a world in which one release of two returns has come as far as a step; copy it before anything is done to it."""
    if step == "returned in":
        world = World()
        register.load_register(world.services("steward"), Path())
        take_in(world)
        take_in(world, SECOND)
        return world
    before = {"drafted": "returned in", "built": "drafted", "audited": "built", "approved": "audited", "published": "approved"}
    world = world_at(before[step]).copy()
    verbs: dict[str, Callable[[], object]] = {
        "drafted": lambda: releases.draft(world.services("ann"), FUND),
        "built": lambda: releases.build(world.services("ann"), FUND, "1.0.0"),
        "audited": lambda: releases.audit(world.services("ann"), FUND, "1.0.0"),
        "approved": lambda: releases.approve(world.services("bob"), FUND, "1.0.0", manifest_of(world)),
        "published": lambda: releases.publish(world.services("worker"), FUND, "1.0.0"),
    }
    verbs[step]()
    world.clock.advance(timedelta(days=1))
    return world


def at(step: str) -> World:
    """Return a world of its own at a step: returned in, drafted, built, audited, approved or published."""
    return world_at(step).copy()


def release_of(world: World, version: str = "1.0.0") -> Release:
    return releases.load(world.services(), FUND).release(version)


def manifest_of(world: World, version: str = "1.0.0") -> str:
    manifest = release_of(world, version).manifest
    assert manifest is not None
    return manifest


def publish_next(world: World) -> str:
    """Make, approve and publish the next release of what is in force, a minute between the acts; return its version."""
    made = releases.make(world.services("ann"), FUND)
    assert made is not None
    world.clock.advance()
    releases.approve(world.services("bob"), FUND, made.version, str(made.manifest))
    world.clock.advance()
    releases.publish(world.services("worker"), FUND, made.version)
    return made.version
