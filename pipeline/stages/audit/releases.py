"""All releases as an outsider has them: one list of unknowns, in which a figure that did not change from release to release stands once.

Built from public files, the rules, and the knowledge of what changed (never to what): the audit supposes an attacker who knows that too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from pipeline.errors import RuleError
from pipeline.stages.audit.evidence import Evidence, Figure, Statement, gather_evidence, gather_past
from pipeline.stages.audit.prices import Key, judge_prices
from pipeline.stages.revisions import Place, Revisions

Tables = Mapping[str, pa.Table]
Seen = tuple[Evidence, Revisions, Sequence[int]]
"""One release: its evidence, what had changed by then, and the unknown that each of its figures is."""


@dataclass(frozen=True)
class Union:
    """The evidence of all releases. The unknowns of the candidate come first, `candidate` of them.

    `old` is what earlier releases make of the same unknowns when the candidate shows nothing: how its figures hang together is known, so a new total
    over old parts may be known as well. `readable` are unknowns whose row is not there in another release that has their total: if they are zero,
    everybody could read that. A total without any row of a part is nothing for certain, and stands as a 0 in both.
    """

    evidence: Evidence
    candidate: int
    old: Evidence
    readable: frozenset[int] = frozenset()


def unite(
    tables: Tables, disclosure: Mapping[str, Any], earlier: Sequence[Tables], revisions: Sequence[Revisions], by_price: Sequence[frozenset[Key]] = ()
) -> Union:
    """Return all releases as one system of statements; `revisions` has one entry for each earlier release and one for the candidate.

    Args: `by_price` has for each release the places of payments that are made by price: of earlier releases they join the statements here.

    Raises: RuleError when there are not as many revisions as releases.
    """
    now = gather_evidence(tables, disclosure)
    if not earlier:
        return Union(now, len(now.figures), replace(now, figures=[replace(figure, value=None) for figure in now.figures], statements=[]))
    if len(revisions) != len(earlier) + 1:
        raise RuleError("The audit was not told what changed between all releases: the candidate was not audited.")
    past = [gather_past(release, disclosure) for release in earlier]
    mixer = _Mixer(disclosure)
    mixed = [mixer.number(evidence, changes) for evidence, changes in zip([now, *past], [revisions[-1], *revisions[:-1]], strict=True)]
    figures = list(now.figures)
    where = {identity: number for number, identity in enumerate(mixed[0])}
    alone: list[Figure] = [replace(figure, value=None) for figure in now.figures]
    old: dict[tuple[str, int, tuple[int, ...]], Statement] = {}
    theirs: list[Sequence[int]] = []
    told: Sequence[frozenset[Key] | None] = by_price[:-1] or [None] * len(earlier)
    for release, evidence, identities, prices in zip(earlier, past, mixed[1:], told, strict=True):
        for figure, identity in zip(evidence.figures, identities, strict=True):
            if identity not in where:
                where[identity] = len(figures)
                figures.append(figure)
                alone.append(figure)
            elif figure.value is not None:
                figures[where[identity]] = _told(figures[where[identity]], figure.value)
                alone[where[identity]] = _told(alone[where[identity]], figure.value)
        theirs.append([where[identity] for identity in identities])
        for statement in (*evidence.statements, *judge_prices(evidence, release, disclosure, prices).statements):
            total, addends = where[identities[statement.total]], tuple(where[identities[addend]] for addend in statement.addends)
            old[statement.relation, total, addends] = Statement(statement.relation, total, addends, statement.factors)
    seen = [*zip(past, revisions, theirs, strict=False), (now, revisions[-1], range(len(now.figures)))]
    for unknown in mixer.bare(seen, disclosure):
        figures[unknown], alone[unknown] = _told(figures[unknown], 0), _told(alone[unknown], 0)
    return Union(
        evidence=replace(now, figures=figures, statements=[*now.statements, *old.values()]),
        candidate=len(now.figures),
        old=replace(now, figures=alone, statements=[*now.statements, *old.values()]),
        readable=frozenset(mixer.readable(seen)),
    )


def _told(figure: Figure, value: int) -> Figure:
    """Return a figure with what another release told of it."""
    if figure.value is not None and figure.value != value:
        raise RuleError(
            f"Table {figure.table} shows a figure of which it is said that it did not change and which has changed: it cannot be audited."
        )
    return replace(figure, value=value)


class _Mixer:
    """Gives figures of different releases the same identity when they are the same unknown."""

    def __init__(self, disclosure: Mapping[str, Any]) -> None:
        self._coming = {relation["id"] for relation in disclosure["relations"] if relation.get("absent_parts") == "zero"}
        self._prices = {relation["id"] for relation in disclosure.get("prices", [])}
        self._numbers: dict[object, int] = {}

    def number(self, evidence: Evidence, revisions: Revisions) -> Sequence[int]:
        """Return the identity of each figure: its place, how often it changed, and of what it is made where time adds to that."""
        places = self._places(evidence, revisions)
        made_of: dict[int, list[int]] = {}
        for statement in evidence.statements:
            if statement.relation not in self._coming | self._prices:
                made_of.setdefault(statement.total, []).extend(statement.addends)
        found: dict[int, int] = {}

        def identify(figure: int) -> int:
            if figure not in found:
                content = tuple(sorted(identify(addend) for addend in made_of.get(figure, ())))
                key = (places[figure], revisions.changes.get(places[figure], 0), content)
                found[figure] = self._numbers.setdefault(key, len(self._numbers))
            return found[figure]

        return [identify(figure) for figure in range(len(evidence.figures))]

    def _places(self, evidence: Evidence, revisions: Revisions) -> Sequence[Place]:
        return [
            (figure.table, figure.column, *(evidence.tables[figure.table].column(key)[figure.row] for key in revisions.keys[figure.table]))
            for figure in evidence.figures
        ]

    def readable(self, releases: Sequence[Seen]) -> set[int]:
        """Return the parts of which another release has the total and no row: of releases from the oldest to the candidate."""
        found: set[int] = set()
        everywhere = [set(self._places(evidence, revisions)) for evidence, revisions, _ in releases]
        for evidence, revisions, unknowns in releases:
            places = self._places(evidence, revisions)
            for statement in evidence.statements:
                if statement.relation in self._coming:
                    have = [there for there in everywhere if places[statement.total] in there]
                    found.update(unknowns[addend] for addend in statement.addends if any(places[addend] not in there for there in have))
        return found

    def bare(self, releases: Sequence[Seen], disclosure: Mapping[str, Any]) -> set[int]:
        """Return the counts of which their release has no row of any part: nobody is in any."""
        coming = [relation for relation in disclosure["relations"] if relation["id"] in self._coming]
        found: set[int] = set()
        for evidence, _, unknowns in releases:
            with_parts = {statement.total for statement in evidence.statements if statement.relation in self._coming}
            for relation in coming:
                table = evidence.tables.get(relation["total"]["table"])
                if table is not None:
                    rows = table.rows(relation["total"].get("where", {}), relation["total"].get("where_not"))
                    totals = {number for row in rows if (number := table.figures[relation["total"]["column"]][row]) is not None}
                    found.update(unknowns[total] for total in totals - with_parts if evidence.figures[total].is_count)
        return found
