"""The attack by division: a payment that was made by the published price tells how many outcomes it was made for."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.stages.audit.evidence import Evidence, PublicTable, Statement, gather_evidence
from pipeline.stages.audit.lookups import Outcome, point_at

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Prices:
    """Every payment beside counts with a published price, and how often each kind of payment agrees with its price where all is shown.

    `by_price` are the kinds of which an outsider who knows the contracts is told that they are made so.
    """

    instances: Sequence[tuple[Key, Statement]]
    votes: Mapping[Key, int]
    by_price: frozenset[Key] = frozenset()

    @property
    def statements(self) -> Sequence[Statement]:
        """The payments of kinds that are made by price, as shown or told."""
        return [statement for kind, statement in self.instances if self.votes.get(kind, 0) > 0 or kind in self.by_price]


def find_kinds_by_price(tables: Mapping[str, pa.Table], disclosure: Mapping[str, Any]) -> frozenset[Key]:
    """Return the kinds of payments that are more often than not made by the published price.

    Args: `tables` before protection. Nothing but this one fact about each kind is told to the audit: whoever knows the contract knows it too.
    """
    votes = judge_prices(gather_evidence(tables, disclosure), tables, disclosure).votes
    return frozenset(kind for kind, balance in votes.items() if balance > 0)


def judge_prices(evidence: Evidence, tables: Mapping[str, pa.Table], disclosure: Mapping[str, Any], by_price: frozenset[Key] = frozenset()) -> Prices:
    """Return what an outsider with the rate card makes of the payments."""
    instances: list[tuple[Key, Statement]] = []
    for relation in disclosure.get("prices", []):
        card = relation["prices"]["table"]
        if card in tables:
            prices = _read_card(PublicTable(card, tables[card]), relation["prices"])
            instances += _pair(relation, evidence.tables, prices)
    votes: Counter[Key] = Counter()
    for kind, statement in instances:
        paid = evidence.figures[statement.total].value
        counts = [evidence.figures[addend].value for addend in statement.addends]
        if paid and all(count is not None for count in counts):
            agrees = paid == sum(price * (count or 0) for price, count in zip(statement.factors, counts, strict=True))
            votes[kind] += 1 if agrees else -1
    return Prices(instances, votes, by_price)


def find_divisions(evidence: Evidence, prices: Prices, shown_before: Collection[int] = ()) -> Outcome:
    """Divide each shown payment beside hidden counts by the price; where nothing shown speaks against it, whole numbers are believed.

    A payment that an earlier release showed cannot be taken back; what it tells is left to the lines of all releases together.
    """
    tried = 0
    found = []
    for kind, statement in prices.instances:
        paid = evidence.figures[statement.total].value
        hidden = [(addend, price) for addend, price in zip(statement.addends, statement.factors, strict=True) if _is_hidden(evidence, addend)]
        if paid is None or not hidden or statement.total in shown_before:
            continue
        tried += len(hidden)
        rest = paid - sum(price * (evidence.figures[addend].value or 0) for addend, price in zip(statement.addends, statement.factors, strict=True))
        comes_out = rest >= 0 and rest % math.gcd(*(price for _, price in hidden)) == 0
        if rest == 0 or (comes_out and prices.votes.get(kind, 0) >= 0):
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


def _pair(relation: Mapping[str, Any], tables: Mapping[str, PublicTable], prices: Mapping[Key, int]) -> Sequence[tuple[Key, Statement]]:
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
            found.append((kind, Statement(relation["id"], payment, [figure for figure, _ in priced], [price for _, price in priced])))
    return found
