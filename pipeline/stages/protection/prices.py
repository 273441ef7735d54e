"""Which payments are made by the published price: those whose amounts an outsider would divide by it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from pipeline.stages.protection.cells import Cell
from pipeline.stages.protection.equations import Equation, Priced, Series


def find_series(priced: Sequence[Priced], values: Sequence[int]) -> frozenset[Series]:
    """Return the series whose payments are more often than not made by price; payments of nothing decide where there are no others."""
    votes: Counter[Series] = Counter()
    nothings: Counter[Series] = Counter()
    for each in priced:
        found = votes if values[each.payment] else nothings
        found[each.series] += 1 if _agrees(each, values) else -1
    return frozenset(series for series in {*votes, *nothings} if (votes[series] or (nothings[series] if series not in votes else 0)) > 0)


def link_prices(priced: Sequence[Priced], values: Sequence[int], series: Collection[Series]) -> Sequence[Equation]:
    """Return the equations of payments that are made by price: those of such a series that come out. Another is paid for something else as well."""
    return [Equation(each.relation, each.terms) for each in priced if each.series in series and _agrees(each, values)]


def find_nothings(priced: Sequence[Priced], cells: Sequence[Cell]) -> frozenset[int]:
    """Return the payments of nothing for nothing: whatever the price, they would say that the hidden count beside them is 0."""
    return frozenset(each.payment for each in priced if not cells[each.payment].value and not any(cells[count].value for count, _ in each.counts))


def find_doubtful(priced: Sequence[Priced], cells: Sequence[Cell], hidden: Collection[int]) -> frozenset[int]:
    """Return payments that are shown beside a hidden count while no payment that is shown refutes that they are made by price.

    An outsider would divide there and might believe the result, right or wrong.
    """
    votes: Counter[Series] = Counter()
    exposed: dict[int, Series] = {}
    values = [cell.value for cell in cells]
    for each in priced:
        if each.payment in hidden:
            continue
        if any(count in hidden for count, _ in each.counts):
            exposed[each.payment] = each.series
        elif values[each.payment]:
            votes[each.series] += 1 if _agrees(each, values) else -1
    return frozenset(payment for payment, series in exposed.items() if votes[series] >= 0)


def _agrees(priced: Priced, values: Sequence[int]) -> bool:
    return sum(price * values[count] for count, price in priced.counts) == values[priced.payment]
