"""The attack by division: a payment that was made by the published price tells how many outcomes it was made for."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.stages.audit.evidence import Evidence, Figure, PublicTable, Statement, gather_evidence
from pipeline.stages.audit.lookups import Outcome, point_at

Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Instance:
    """One payment with the counts that it may be for; `kind` is its series through the quarters, `place` tells it from the others of its release."""

    kind: Key
    place: Key
    statement: Statement


@dataclass(frozen=True)
class Prices:
    """Every payment beside counts with a published price, and how often each kind of payment agrees with its price where all is shown.

    `told` are the places of which an outsider who knows the contracts is told that they are made by price; None when nothing is told.
    """

    instances: Sequence[Instance]
    votes: Mapping[Key, int]
    told: frozenset[Key] | None = None

    @property
    def statements(self) -> Sequence[Statement]:
        """The payments that are made by price: as told, else those of kinds that are shown to be."""
        if self.told is not None:
            return [each.statement for each in self.instances if each.place in self.told]
        return [each.statement for each in self.instances if self.votes.get(each.kind, 0) > 0]


def find_made_by_price(releases: Sequence[Mapping[str, pa.Table]], disclosure: Mapping[str, Any]) -> Sequence[frozenset[Key]]:
    """Return for each release the places of its payments that are made by the published price, of kinds that are so more often than not in any.

    Args: the tables of releases before protection. Nothing but this one fact of each payment is told to the audit: whoever knows the contract and
    what else was paid for knows it too.
    """
    judged = [judge_prices(gather_evidence(tables, disclosure), tables, disclosure) for tables in releases]
    kinds = {kind for prices in judged for kind, balance in prices.votes.items() if balance > 0}
    found = []
    for tables, prices in zip(releases, judged, strict=True):
        figures = gather_evidence(tables, disclosure).figures
        found.append(frozenset(each.place for each in prices.instances if each.kind in kinds and _agrees(each.statement, figures)))
    return found


def judge_prices(evidence: Evidence, tables: Mapping[str, pa.Table], disclosure: Mapping[str, Any], told: frozenset[Key] | None = None) -> Prices:
    """Return what an outsider with the rate card makes of the payments."""
    instances: list[Instance] = []
    for relation in disclosure.get("prices", []):
        card = relation["prices"]["table"]
        if card in tables:
            prices = _read_card(PublicTable(card, tables[card]), relation["prices"])
            instances += _pair(relation, evidence.tables, prices)
    votes: Counter[Key] = Counter()
    for each in instances:
        counts = [evidence.figures[addend].value for addend in each.statement.addends]
        if evidence.figures[each.statement.total].value and all(count is not None for count in counts):
            votes[each.kind] += 1 if _agrees(each.statement, evidence.figures) else -1
    return Prices(instances, votes, told)


def _agrees(statement: Statement, figures: Sequence[Figure]) -> bool:
    counts = zip(statement.factors, statement.addends, strict=True)
    return figures[statement.total].value == sum(price * (figures[addend].value or 0) for price, addend in counts)


def find_divisions(evidence: Evidence, prices: Prices, shown_before: Collection[int] = ()) -> Outcome:
    """Divide each shown payment beside hidden counts by the price; where nothing shown speaks against it, whole numbers are believed.

    A payment that an earlier release showed cannot be taken back; what it tells is left to the lines of all releases together.
    """
    tried = 0
    found = []
    for each in prices.instances:
        statement = each.statement
        paid = evidence.figures[statement.total].value
        hidden = [(addend, price) for addend, price in zip(statement.addends, statement.factors, strict=True) if _is_hidden(evidence, addend)]
        if paid is None or not hidden or statement.total in shown_before:
            continue
        tried += len(hidden)
        rest = paid - sum(price * (evidence.figures[addend].value or 0) for addend, price in zip(statement.addends, statement.factors, strict=True))
        comes_out = rest >= 0 and rest % math.gcd(*(price for _, price in hidden)) == 0
        if rest == 0 or (comes_out and prices.votes.get(each.kind, 0) >= 0):
            found += [point_at("price", evidence.figures[addend]) for addend, _ in hidden]
    return tried, found


def _is_hidden(evidence: Evidence, figure: int) -> bool:
    return evidence.figures[figure].value is None


def _read_card(table: PublicTable, rule: Mapping[str, Any]) -> Mapping[Key, int]:
    """Return the price of each metric in the smallest unit of money, the newest where there are several."""
    found: dict[Key, int] = {}
    for row in sorted(range(table.frame.num_rows), key=lambda row: table.column(rule["newest"])[row]):
        price = table.column(rule["column"])[row]
        if price:
            found[tuple(table.column(name)[row] for name in rule["match"])] = int(price.scaleb(2))
    return found


def _pair(relation: Mapping[str, Any], tables: Mapping[str, PublicTable], prices: Mapping[Key, int]) -> Sequence[Instance]:
    """Return each payment with the counts that it may be for, where all of them have a price."""
    counts, payments = tables[relation["counts"]["table"]], tables[relation["payments"]["table"]]
    paid_for: dict[Key, list[tuple[int, int | None]]] = {}
    for row in counts.rows(relation["counts"].get("where", {})):
        figure = counts.figures[relation["counts"]["column"]][row]
        if figure is not None:
            price = prices.get(tuple(counts.column(name)[row] for name in relation["prices"]["match"]))
            paid_for.setdefault(tuple(counts.column(name)[row] for name in relation["match"]), []).append((figure, price))
    found = []
    for row in payments.rows(relation["payments"].get("where", {})):
        payment = payments.figures[relation["payments"]["column"]][row]
        beside = paid_for.get(tuple(payments.column(name)[row] for name in relation["match"]), [])
        priced = [(figure, price) for figure, price in beside if price is not None]
        if payment is not None and priced and len(priced) == len(beside):
            kind = (relation["id"], *(payments.column(name)[row] for name in relation["series"]))
            place = (*kind, *(payments.column(name)[row] for name in relation["match"]))
            statement = Statement(relation["id"], payment, [figure for figure, _ in priced], [price for _, price in priced])
            found.append(Instance(kind, place, statement))
    return found
