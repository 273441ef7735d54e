"""The rules of the contract: a return is checked against the register, and against what other quarters' returns have said.

`check_delivery` judges a delivery as a whole, before its structure; `check` judges typed rows. Offending rows are found a column at a time;
only what is listed is looped over.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.domain.findings import Finding, Rule, in_order
from pipeline.domain.quarters import Quarter
from pipeline.domain.submission import UNIDENTIFIED, SubmissionKey
from pipeline.domain.tables import Definitions
from pipeline.errors import RuleError, UsageError
from pipeline.ports import ReturnTable
from pipeline.stages.acceptance import SOURCES, Pseudonyms, no_rows
from pipeline.stages.frames import equal_to
from pipeline.stages.validation import MAX_PLACES, found_at, rows_where

Record = Mapping[str, Any]
_LISTED_CODES = 20
_YEARS = range(1900, 2200)
_CODE_SEPARATOR = "\n"


@dataclass(frozen=True, kw_only=True)
class ContractContext:
    """What a return is judged against: the register's records, and what the returns in force of the project's OTHER quarters say.

    `fund` and `project` are sealed register records, None when there is none. `known_participants` are pseudonyms. The tables have the columns of
    the facts: `earlier_outcomes` outcome, participant, metric_id, achieved_on, status; `earlier_payments` payment, metric_id, payer_id, basis,
    quantity, amount_gbp; `earlier_starts` participant, started_on, return_quarter.
    """

    key: SubmissionKey
    received_on: date
    fund: Record | None
    project: Record | None
    known_participants: pa.Array
    earlier_outcomes: pa.Table
    earlier_payments: pa.Table
    earlier_starts: pa.Table


@dataclass(frozen=True, kw_only=True)
class _Terms:
    """What the register says of the contract."""

    starts_on: date
    claims_until: date
    cap: Decimal | None
    is_counts: bool
    metrics: Mapping[str, Record]
    rate_card: Sequence[Record]

    @classmethod
    def of(cls, record: Record) -> _Terms:
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


def check_delivery(context: ContractContext, definitions: Definitions, tables: Mapping[str, ReturnTable]) -> list[Finding]:
    """Return what is wrong with a delivery as a whole: its project, its quarter, its cover. No tables (nothing could be read): only the first two."""
    if context.key.project_id == UNIDENTIFIED:
        return [definitions.rule("D-001").found()]
    found = _check_place(context, definitions)
    if tables:
        found += _check_cover(context, definitions, tables) + _check_nil(definitions, tables)
    return list(in_order(found))


def check(context: ContractContext, definitions: Definitions, typed: Mapping[str, pa.Table], pseudonyms: Pseudonyms) -> list[Finding]:
    """Return where typed rows break the contract, at most MAX_PLACES for each rule and column, of which the last says how many there are.

    Args: typed, the tables of `acceptance.type_cells`; pseudonyms, of the project.
    Raises: RuleError when the register has no project or fund for the return: `check_delivery` refuses such a delivery.
    """
    if context.project is None or context.fund is None:
        raise RuleError("Contract rules were asked to judge a return of no registered project; check the delivery first.")
    terms = _Terms.of(context.project)
    participants, outcomes, payments = (
        typed[name] if name in typed else no_rows(definitions.table("submission", name)) for name in ("participants", "outcomes", "payments")
    )
    found = _check_codes(context.fund, terms, definitions, outcomes, payments)
    found += _check_dates(context, terms, definitions, {"participants": participants, "outcomes": outcomes, "payments": payments})
    if terms.is_counts:
        for name, frame in (("participants", participants), ("outcomes", outcomes)):
            found += found_at(definitions.rule("K-310"), name, "participant_ref", rows_where(frame, frame["participant_ref"].is_valid()))
    else:
        people = _people(context, participants, outcomes, pseudonyms)
        found += _check_people(definitions, outcomes, people) + _check_claims(context, terms, definitions, outcomes, people)
    found += _check_repeats(context, definitions, outcomes, payments, pseudonyms)
    found += _check_prices(context, terms, definitions, payments) + _check_contract_cap(context, terms, definitions, payments)
    return list(in_order(found))


def _check_place(context: ContractContext, definitions: Definitions) -> list[Finding]:
    quarter = _quarter(context.key)
    found = [] if quarter else [definitions.rule("D-004").found()]
    if context.project is None:
        return [*found, definitions.rule("D-002").found()]
    if context.fund is None:
        found.append(definitions.rule("D-003").found())
    if quarter is None:
        return found
    terms = _Terms.of(context.project)
    if quarter.end < terms.starts_on:
        found.append(definitions.rule("D-005").found(starts_on=str(terms.starts_on)))
    if quarter.start > terms.claims_until:
        found.append(definitions.rule("D-006").found(claims_until=str(terms.claims_until)))
    if quarter.start > context.received_on:
        found.append(definitions.rule("D-007").found(quarter_start=str(quarter.start), received_on=str(context.received_on)))
    return found


def _quarter(key: SubmissionKey) -> Quarter | None:
    try:
        quarter = Quarter.parse(key.quarter)
    except UsageError:
        return None
    return quarter if quarter.year in _YEARS else None


def _check_cover(context: ContractContext, definitions: Definitions, tables: Mapping[str, ReturnTable]) -> list[Finding]:
    cover = tables.get("cover")
    if cover is None:
        return [definitions.rule("D-008" if len(tables) > 1 else "D-014").found()]
    if cover.cells.num_rows != 1:
        return [definitions.rule("D-009").found("cover", rows=str(cover.cells.num_rows))]
    found = []
    for rule, column, expected in (("D-010", "project_id", context.key.project_id), ("D-011", "quarter", context.key.quarter)):
        cell = _cover_cell(cover, column)
        if cell is not None and cell != expected:
            found.append(definitions.rule(rule).found("cover", cover.cells["row"][0].as_py(), column, **{column: expected}))
    return found


def _check_nil(definitions: Definitions, tables: Mapping[str, ReturnTable]) -> list[Finding]:
    rows = sum(tables[source.table].cells.num_rows for source in SOURCES.values() if source.table in tables)
    cover = tables.get("cover")
    if cover is not None and (cover.cells.num_rows != 1 or _cover_cell(cover, "is_nil_return") is None):
        return []
    is_nil = cover is not None and _cover_cell(cover, "is_nil_return") == "yes"
    if cover is not None and is_nil and rows:
        return [definitions.rule("D-013").found("cover", cover.cells["row"][0].as_py(), "is_nil_return", rows=str(rows))]
    return [definitions.rule("D-012").found()] if not is_nil and not rows else []


def _cover_cell(cover: ReturnTable, column: str) -> str | None:
    """Return a cell of the cover's only row; None when it is empty, missing or doubled, which the structure check says."""
    if cover.cells.column_names.count(column) != 1:
        return None
    cell: str | None = cover.cells[column][0].as_py()
    return cell


def _check_codes(fund: Record, terms: _Terms, definitions: Definitions, outcomes: pa.Table, payments: pa.Table) -> list[Finding]:
    payers = sorted(payer["payer_id"] for payer in fund["payers"])
    return [
        *_unknown(definitions.rule("K-301"), "outcomes", "metric_id", outcomes, sorted(terms.metrics)),
        *_unknown(definitions.rule("K-301"), "payments", "metric_id", payments, sorted(terms.metrics)),
        *_unknown(definitions.rule("K-302"), "payments", "payer_id", payments, payers),
    ]


def _unknown(rule: Rule, table: str, column: str, frame: pa.Table, codes: Sequence[str]) -> list[Finding]:
    is_unknown = pc.and_(frame[column].is_valid(), pc.invert(pc.is_in(frame[column], value_set=pa.array(codes, pa.string()))))
    bad = frame.filter(is_unknown)
    hints = [{"hint": _hint(cell, codes)} for cell in bad[column].slice(0, MAX_PLACES).to_pylist()]
    return found_at(rule, table, column, bad["row"].combine_chunks(), hints)


def _hint(cell: str, codes: Sequence[str]) -> str:
    """Return a sentence that names codes of the register only: the one most like the cell, or else those that there are."""
    nearest = difflib.get_close_matches(cell, codes, n=1)
    if nearest:
        return f"Is {nearest[0]} meant?"
    more = f" and {len(codes) - _LISTED_CODES} more" if len(codes) > _LISTED_CODES else ""
    return f"There are: {', '.join(codes[:_LISTED_CODES])}{more}." if codes else "There is none."


def _check_dates(context: ContractContext, terms: _Terms, definitions: Definitions, tables: Mapping[str, pa.Table]) -> list[Finding]:
    quarter = Quarter.parse(context.key.quarter)
    found = []
    for source in SOURCES.values():
        frame, column = tables[source.table], source.dated_by
        at = partial(_found_where, definitions, source.table, column, frame)
        found += at("K-304", pc.greater(frame[column], quarter.end), quarter_end=str(quarter.end))
        found += at("K-306", pc.less(frame[column], terms.starts_on), starts_on=str(terms.starts_on))
        if source.table != "participants":
            # Participants whose record changed come again with the start that they always had.
            found += at("K-305", pc.less(frame[column], quarter.start), quarter_start=str(quarter.start))
    # A claim period often ends with the quarter, after the contract has: only one that begins after the contract lies outside it.
    for table, column in (("participants", "started_on"), ("outcomes", "achieved_on"), ("payments", "period_start")):
        mask = pc.greater(tables[table][column], terms.claims_until)
        found += _found_where(definitions, table, column, tables[table], "K-307", mask, claims_until=str(terms.claims_until))
    return found


def _found_where(
    definitions: Definitions, table: str, column: str, frame: pa.Table, rule: str, mask: pa.ChunkedArray | pa.Array, **values: str
) -> list[Finding]:
    return found_at(definitions.rule(rule), table, column, rows_where(frame, mask), values)


@dataclass(frozen=True, kw_only=True)
class _People:
    """Whom the outcomes speak of: distinct pseudonyms, when they started (null: not known), and for each outcome which of them (null: nobody)."""

    names: pa.Array
    started_on: pa.Array
    is_known: pa.Array
    of_outcome: pa.Array


def _people(context: ContractContext, participants: pa.Table, outcomes: pa.Table, pseudonyms: Pseudonyms) -> _People:
    encoded = outcomes["participant_ref"].combine_chunks().dictionary_encode()
    references = encoded.dictionary
    names = pseudonyms("participant", references)
    here = _look_up(references, participants["participant_ref"], participants["started_on"])
    latest_first = context.earlier_starts.sort_by([("return_quarter", "descending"), ("participant", "ascending")])
    earlier = _look_up(names, latest_first["participant"], latest_first["started_on"])
    started_on = pc.coalesce(here, earlier)
    is_known = pc.or_(started_on.is_valid(), pc.is_in(names, value_set=context.known_participants))
    return _People(names=names, started_on=started_on, is_known=is_known, of_outcome=encoded.indices.cast(pa.int64()))


def _look_up(wanted: pa.Array, keys: pa.ChunkedArray, values: pa.ChunkedArray) -> pa.Array:
    """Return the value that stands beside each wanted key, the first if it stands there more than once; null when it does not."""
    return values.combine_chunks().take(pc.index_in(wanted, value_set=keys.combine_chunks()))


def _check_people(definitions: Definitions, outcomes: pa.Table, people: _People) -> list[Finding]:
    at = partial(_found_where, definitions, "outcomes")
    return [
        *at("participant_ref", outcomes, "K-309", people.of_outcome.is_null()),
        *at("participant_ref", outcomes, "K-308", pc.invert(people.is_known.take(people.of_outcome))),
        *at("achieved_on", outcomes, "K-303", pc.less(outcomes["achieved_on"], people.started_on.take(people.of_outcome))),
    ]


def _check_claims(context: ContractContext, terms: _Terms, definitions: Definitions, outcomes: pa.Table, people: _People) -> list[Finding]:
    """Check what a person's outcomes allow each other: claims that stand once, and metrics that follow one another."""
    is_once = pc.is_in(outcomes["metric_id"], value_set=pa.array(terms.once, pa.string()))
    is_many = pc.and_(is_once, pc.greater(outcomes["quantity"], 1))
    found = _found_where(definitions, "outcomes", "quantity", outcomes, "K-315", is_many)
    here = _claims(outcomes.append_column("person", people.of_outcome), terms)
    before = context.earlier_outcomes
    earlier = _claims(before.append_column("person", pc.index_in(before["participant"], value_set=people.names).cast(pa.int64())), terms)
    found += _check_once(terms, definitions, here, earlier)
    for metric_id, metric in terms.metrics.items():
        if metric["after_metric_id"] is not None:
            found += _check_sequence(metric_id, metric, definitions, here, earlier)
    return found


def _claims(outcomes: pa.Table, terms: _Terms) -> pa.Table:
    """Return the outcomes that were not rejected and have a person and a known metric, with `claim`: a number for each person and metric."""
    metrics = list(terms.metrics)
    number = pc.index_in(outcomes["metric_id"], value_set=pa.array(metrics, pa.string())).cast(pa.int64())
    claim = pc.add(pc.multiply(outcomes["person"], len(metrics)), number)
    return outcomes.append_column("claim", claim).filter(pc.and_(claim.is_valid(), pc.not_equal(outcomes["status"], "rejected")))


def _check_once(terms: _Terms, definitions: Definitions, here: pa.Table, earlier: pa.Table) -> list[Finding]:
    claims = here.filter(pc.is_in(here["metric_id"], value_set=pa.array(terms.once, pa.string())))
    firsts = claims.group_by("claim").aggregate([("row", "min")])["row_min"]
    is_again = pc.invert(pc.is_in(claims["row"], value_set=firsts.combine_chunks()))
    is_claimed = pc.is_in(claims["claim"], value_set=earlier["claim"].combine_chunks())
    return [
        *_found_where(definitions, "outcomes", "metric_id", claims, "K-312", is_again),
        *_found_where(definitions, "outcomes", "metric_id", claims, "K-313", is_claimed),
    ]


def _check_sequence(metric_id: str, metric: Record, definitions: Definitions, here: pa.Table, earlier: pa.Table) -> list[Finding]:
    columns = ["person", "achieved_on"]
    firsts = [frame.filter(equal_to(frame["metric_id"], metric["after_metric_id"])).select(columns) for frame in (here, earlier)]
    before = pa.concat_tables(firsts, promote_options="default")
    first = before.group_by("person").aggregate([("achieved_on", "min")])
    claims = here.filter(equal_to(here["metric_id"], metric_id))
    earliest = _look_up(claims["person"].combine_chunks(), first["person"], first["achieved_on_min"])
    days = metric["after_days"] or 0
    due = pc.add(earliest.cast(pa.int32()), pa.scalar(days, pa.int32())).cast(pa.date32())
    is_early = pc.fill_null(pc.less(claims["achieved_on"], due), True)
    values = {"after_metric_id": metric["after_metric_id"], "after_days": str(days)}
    return _found_where(definitions, "outcomes", "achieved_on", claims, "K-314", is_early, **values)


def _check_repeats(
    context: ContractContext, definitions: Definitions, outcomes: pa.Table, payments: pa.Table, pseudonyms: Pseudonyms
) -> list[Finding]:
    found = []
    for rule, table, kind, frame, earlier in (
        ("K-311", "outcomes", "outcome", outcomes, context.earlier_outcomes),
        ("K-320", "payments", "payment", payments, context.earlier_payments),
    ):
        if earlier.num_rows:
            names = pseudonyms(kind, frame[f"{kind}_ref"].combine_chunks())
            found += _found_where(definitions, table, f"{kind}_ref", frame, rule, pc.is_in(names, value_set=earlier[kind].combine_chunks()))
    return found


def _check_prices(context: ContractContext, terms: _Terms, definitions: Definitions, payments: pa.Table) -> list[Finding]:
    """Check payments for outcomes against the rate card: the price at the end of the claim period, and the most units ever paid."""
    paid = payments.filter(pc.and_(equal_to(payments["basis"], "outcome"), payments["metric_id"].is_valid()))
    paid = paid.append_column("code", _rate_code(paid))
    paid = paid.append_column("rate", _find_rates(terms.rate_card, paid))
    prices = pa.array([Decimal(rate["price_gbp"]) for rate in terms.rate_card], pa.decimal128(18, 2))
    due = pc.multiply(prices.take(paid["rate"].combine_chunks()), paid["quantity"].combine_chunks())
    is_wrong = pc.and_(paid["rate"].is_valid(), pc.invert(pc.fill_null(pc.equal(due, paid["amount_gbp"]), False)))
    wrong = paid.filter(is_wrong)
    rates = [terms.rate_card[number] for number in wrong["rate"].slice(0, MAX_PLACES).to_pylist()]
    each = [{"price_gbp": rate["price_gbp"], "valid_from": rate["valid_from"]} for rate in rates]
    return [
        *found_at(definitions.rule("K-316"), "payments", "amount_gbp", wrong["row"].combine_chunks(), each),
        *_found_where(definitions, "payments", "metric_id", paid, "K-317", paid["rate"].is_null()),
        *_check_metric_caps(context, terms, definitions, paid),
    ]


def _rate_code(frame: pa.Table) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(frame["metric_id"], frame["payer_id"], _CODE_SEPARATOR)


def _find_rates(rate_card: Sequence[Record], paid: pa.Table) -> pa.Array:
    """Return for each payment the number of the rate that stood when its claim period ended; of several the one that began last; null for none."""
    generations: dict[int, list[int]] = {}
    for number, rate in enumerate(rate_card):
        same = [other for other in rate_card[:number] if (other["metric_id"], other["payer_id"]) == (rate["metric_id"], rate["payer_id"])]
        generations.setdefault(len(same), []).append(number)
    ended = paid["period_end"].combine_chunks()
    chosen = pa.nulls(paid.num_rows, pa.int64())
    for _, numbers in sorted(generations.items()):
        codes = pa.array([_CODE_SEPARATOR.join((rate_card[n]["metric_id"], rate_card[n]["payer_id"])) for n in numbers], pa.string())
        place = pc.index_in(paid["code"].combine_chunks(), value_set=codes)
        valid_from, valid_to = (_days(rate_card[n][column] for n in numbers).take(place) for column in ("valid_from", "valid_to"))
        stands = pc.and_(pc.greater_equal(ended, valid_from), pc.fill_null(pc.less_equal(ended, valid_to), True))
        chosen = pc.if_else(pc.fill_null(stands, False), pa.array(numbers, pa.int64()).take(place), chosen)
    return chosen


def _check_metric_caps(context: ContractContext, terms: _Terms, definitions: Definitions, paid: pa.Table) -> list[Finding]:
    earlier = context.earlier_payments.filter(equal_to(context.earlier_payments["basis"], "outcome"))
    earlier_codes = _rate_code(earlier)
    caps = pa.array([rate["cap_quantity"] for rate in terms.rate_card], pa.int64())
    found = []
    for metric_id, payer_id in _pairs(terms.rate_card):
        code = _CODE_SEPARATOR.join((metric_id, payer_id))
        mine = paid.filter(equal_to(paid["code"], code))
        before = pc.sum(earlier["quantity"].filter(equal_to(earlier_codes, code)), min_count=0)
        running = pc.add(pc.cumulative_sum(pc.fill_null(mine["quantity"], 0)), before)
        over = pc.index(pc.greater(running, caps.take(mine["rate"].combine_chunks())), True).as_py()
        if over >= 0:
            limit = terms.rate_card[mine["rate"][over].as_py()]["cap_quantity"]
            values = {"metric_id": metric_id, "payer_id": payer_id, "cap_quantity": str(limit)}
            found.append(definitions.rule("K-318").found("payments", mine["row"][over].as_py(), "quantity", **values))
    return found


def _check_contract_cap(context: ContractContext, terms: _Terms, definitions: Definitions, payments: pa.Table) -> list[Finding]:
    if terms.cap is None:
        return []
    running = pc.add(pc.cumulative_sum(_pence(payments["amount_gbp"])), pc.sum(_pence(context.earlier_payments["amount_gbp"]), min_count=0))
    is_over = pc.greater(running, int(terms.cap * 100))
    # A correction further down may bring the sum back under the cap.
    if not payments.num_rows or not is_over[-1].as_py():
        return []
    first = payments["row"][pc.index(is_over, True).as_py()].as_py()
    return [definitions.rule("K-319").found("payments", first, "amount_gbp", contract_cap_gbp=f"{terms.cap:.2f}")]


def _pairs(rate_card: Sequence[Record]) -> Sequence[tuple[str, str]]:
    return sorted({(rate["metric_id"], rate["payer_id"]) for rate in rate_card if rate["cap_quantity"] is not None})


def _days(texts: Iterable[str | None]) -> pa.Array:
    return pa.array([None if text is None else date.fromisoformat(text) for text in texts], pa.date32())


def _pence(amounts: pa.ChunkedArray) -> pa.Array:
    """Return pounds as whole pence: Arrow adds up running totals of whole numbers only."""
    return pc.multiply(amounts.combine_chunks(), pa.scalar(Decimal(100), pa.decimal128(3, 0))).cast(pa.int64())
