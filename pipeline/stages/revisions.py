"""Which figures changed from one release to the next: what the log knows and an attacker may know too. No values come out of here.

The audit is told this and nothing else of what is hidden: an attacker who knows it is the strongest that is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.domain.tables import Definitions

Tables = Mapping[str, pa.Table]
Place = tuple[Any, ...]
"""Table, column and the values of the key."""


@dataclass(frozen=True, kw_only=True)
class Revisions:
    """How often each figure has changed by the time of one release; `keys` are the columns whose values stand in a place."""

    keys: Mapping[str, Sequence[str]]
    changes: Mapping[Place, int]


def add_revisions(one: Sequence[Revisions], other: Sequence[Revisions]) -> Sequence[Revisions]:
    """Return how often each figure has changed in one telling of the releases or in the other: it is the same only where it is in both."""
    return [
        Revisions(
            keys=mine.keys,
            changes={place: mine.changes.get(place, 0) + theirs.changes.get(place, 0) for place in {*mine.changes, *theirs.changes}},
        )
        for mine, theirs in zip(one, other, strict=True)
    ]


def count_revisions(releases: Sequence[Tables], definitions: Definitions) -> Sequence[Revisions]:
    """Return the revisions of each release, from the tables before protection, oldest first.

    A figure that was away for some releases and comes back with its value has not changed.
    """
    last: dict[Place, Any] = {}
    counts: dict[Place, int] = {}
    keys = {name: schema.primary_key for name, schema in definitions.tables["published"].items()}
    found = []
    for tables in releases:
        for name, rules in definitions.disclosure["tables"].items():
            if name not in tables:
                continue
            rows = list(zip(*(tables[name][key].to_pylist() for key in keys[name]), strict=True))
            for cell in rules["cells"]:
                for row, value in zip(rows, tables[name][cell["column"]].to_pylist(), strict=True):
                    place = (name, cell["column"], *row)
                    if value is not None:
                        counts[place] = counts.get(place, 0) + (place in last and last[place] != value)
                        last[place] = value
        found.append(Revisions(keys=keys, changes=dict(counts)))
    return found
