"""What the rules of the contract are given: the terms of the register, the rows of the return, and what other returns in force say."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.domain.findings import Finding
from pipeline.domain.quarters import Quarter
from pipeline.domain.submission import SubmissionKey
from pipeline.domain.tables import Definitions
from pipeline.stages.acceptance import SOURCES, Pseudonyms, no_rows
from pipeline.stages.validation import found_at, rows_where

Record = Mapping[str, Any]
EARLIER_COLUMNS: Mapping[str, Sequence[str]] = {
    "service_starts": ("participant", "started_on", "age_band", "gender", "return_quarter"),
    "outcomes": ("outcome", "participant", "metric_id", "achieved_on", "quantity", "status", "verified_on", "evidence_type", "return_quarter"),
    "payments": (
        *("payment", "payer_id", "metric_id", "basis", "period_start", "period_end", "quantity", "amount_gbp", "paid_on", "reason"),
        "return_quarter",
    ),
}
"""The columns of the facts of other quarters, and of the revision that is replaced, that the rules look at."""


@dataclass(frozen=True, kw_only=True)
class ContractContext:
    """What a return is judged against: the register's records, and what the returns in force of the project say.

    `fund` and `project` are sealed register records, None when there is none. `known_participants` are pseudonyms. The `earlier_` tables are facts of
    the project's OTHER quarters, before and after this one, with the columns of EARLIER_COLUMNS; `replaced` are those of this quarter, by fact table,
    empty when no revision of it is in force. `accepted_as` names the other returns for which the same file is in force. `metrics_elsewhere` gives the
    metrics of the fund's other projects; it is asked only when a metric is not known.
    """

    key: SubmissionKey
    received_on: date
    fund: Record | None
    project: Record | None
    known_participants: pa.Array
    earlier_outcomes: pa.Table
    earlier_payments: pa.Table
    earlier_starts: pa.Table
    replaced: Mapping[str, pa.Table] = field(default_factory=dict)
    accepted_as: Sequence[SubmissionKey] = ()
    metrics_elsewhere: Callable[[], Collection[str]] = tuple


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What the register says of the contract."""

    starts_on: date
    claims_until: date
    cap: Decimal | None
    is_counts: bool
    metrics: Mapping[str, Record]
    rate_card: Sequence[Record]

    @classmethod
    def of(cls, record: Record) -> Terms:
        """Read the terms from a sealed record of a project."""
        project = record["project"]
        return cls(
            starts_on=date.fromisoformat(project["starts_on"]),
            claims_until=date.fromisoformat(project["claims_until"] or project["ends_on"]),
            cap=None if project["contract_cap_gbp"] is None else Decimal(project["contract_cap_gbp"]),
            is_counts=project["return_kind"] == "counts",
            metrics={metric["metric_id"]: metric for metric in record["metrics"]},
            rate_card=sorted(record["rate_card"], key=lambda rate: (rate["metric_id"], rate["payer_id"], rate["valid_from"])),
        )

    @property
    def once(self) -> list[str]:
        """The metrics that can be claimed once per participant."""
        return [metric_id for metric_id, metric in self.metrics.items() if metric["is_once_per_person"]]


@dataclass(frozen=True, kw_only=True)
class People:
    """Whom the outcomes speak of: distinct pseudonyms, when they started (null: not known), and for each outcome which of them (null: nobody)."""

    names: pa.Array
    started_on: pa.Array
    is_known: pa.Array
    of_outcome: pa.Array

    @classmethod
    def of(cls, given: Given) -> People:
        """Find out who the people behind a return's outcomes are; this return's word on a start wins over that of the latest other."""
        encoded = given.outcomes["participant_ref"].combine_chunks().dictionary_encode()
        references = encoded.dictionary
        names = given.pseudonyms("participant", references)
        here = look_up(references, given.participants["participant_ref"], given.participants["started_on"])
        starts = given.starts_latest_first
        started_on = pc.coalesce(here, look_up(names, starts["participant"], starts["started_on"]))
        is_known = pc.or_(started_on.is_valid(), pc.is_in(names, value_set=given.context.known_participants))
        return cls(names=names, started_on=started_on, is_known=is_known, of_outcome=encoded.indices.cast(pa.int64()))


@dataclass(frozen=True, kw_only=True)
class Given:
    """A return, typed, with everything that it is judged against. `pseudonyms` are of its project."""

    context: ContractContext
    terms: Terms
    definitions: Definitions
    participants: pa.Table
    outcomes: pa.Table
    payments: pa.Table
    pseudonyms: Pseudonyms

    @classmethod
    def of(cls, context: ContractContext, definitions: Definitions, typed: Mapping[str, pa.Table], pseudonyms: Pseudonyms) -> Given:
        """Put together what the rules need; a table that was not delivered is empty."""
        tables = {name: typed[name] if name in typed else no_rows(definitions.table("submission", name)) for name in _TABLES}
        return cls(context=context, terms=Terms.of(context.project or {}), definitions=definitions, pseudonyms=pseudonyms, **tables)

    @property
    def quarter(self) -> Quarter:
        """The quarter of the return."""
        return Quarter.parse(self.context.key.quarter)

    @cached_property
    def outcome_names(self) -> pa.Array:
        """The pseudonym of each outcome."""
        return self.pseudonyms("outcome", self.outcomes["outcome_ref"].combine_chunks())

    @cached_property
    def payment_names(self) -> pa.Array:
        """The pseudonym of each payment."""
        return self.pseudonyms("payment", self.payments["payment_ref"].combine_chunks())

    @cached_property
    def participant_names(self) -> pa.Array:
        """The pseudonym of each participant of the participants table."""
        return self.pseudonyms("participant", self.participants["participant_ref"].combine_chunks())

    @cached_property
    def people(self) -> People:
        """The people behind the outcomes."""
        return People.of(self)

    @cached_property
    def starts_latest_first(self) -> pa.Table:
        """The participants of other returns, those of the latest return first."""
        return self.context.earlier_starts.sort_by([("return_quarter", "descending"), ("participant", "ascending")])

    @property
    def payers(self) -> list[str]:
        """The payers that the register knows."""
        return sorted(payer["payer_id"] for payer in (self.context.fund or {})["payers"])

    def named(self, fact: str) -> pa.Array:
        """Return the pseudonyms of the rows of a fact table's return table."""
        names: pa.Array = getattr(self, f"{SOURCES[fact].key}_names")
        return names

    def table(self, name: str) -> pa.Table:
        """Return a table of the return by its name."""
        frame: pa.Table = getattr(self, name)
        return frame

    def found(self, rule: str, table: str, column: str, mask: pa.ChunkedArray | pa.Array, **values: str) -> list[Finding]:
        """Return the findings of a rule in a table's column, for the rows where a mask is true."""
        return self.found_in(self.table(table), rule, table, column, mask, **values)

    def found_in(self, frame: pa.Table, rule: str, table: str, column: str, mask: pa.ChunkedArray | pa.Array, **values: str) -> list[Finding]:
        """Return the findings of a rule for the rows of a frame, made of a table's rows, for which a mask is true."""
        return found_at(self.definitions.rule(rule), table, column, rows_where(frame, mask), values)

    def found_first(self, rule: str, table: str, column: str, frame: pa.Table, mask: pa.ChunkedArray | pa.Array, **values: str) -> list[Finding]:
        """Return one finding, at the first row of a frame for which a mask is true; none when it is true for none."""
        place = pc.index(mask, True).as_py()
        return [] if place < 0 else [self.definitions.rule(rule).found(table, frame["row"][place].as_py(), column, **values)]


_TABLES = ("participants", "outcomes", "payments")


def look_up(wanted: pa.Array, keys: pa.ChunkedArray, values: pa.ChunkedArray) -> pa.Array:
    """Return the value that stands beside each wanted key, the first if it stands there more than once; null when it does not."""
    return values.combine_chunks().take(pc.index_in(wanted, value_set=keys.combine_chunks()))


def pence(amounts: pa.ChunkedArray) -> pa.Array:
    """Return pounds as whole pence: Arrow adds up running totals of whole numbers only."""
    return pc.multiply(amounts.combine_chunks(), pa.scalar(Decimal(100), pa.decimal128(3, 0))).cast(pa.int64())


def pounds(amount: int) -> str:
    """Return whole pence as pounds with two decimals."""
    return f"{Decimal(amount) / 100:.2f}"


def total(amounts: pa.Array | pa.ChunkedArray) -> int:
    """Return the sum of whole numbers, 0 for none."""
    found: int = pc.sum(amounts, min_count=0).as_py()
    return found
