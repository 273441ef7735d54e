"""The certificate of a release: whole alternative tables that say the same in public, and the check of them without a solver.

For every hidden figure there are two tables of figures in which it has different values and which both agree with everything that all releases
publish. Whoever holds the public files cannot tell which of the two is true, nor whether either is. The tables are made from public files: none need
be the true one. They stay private all the same, because together they draw the borders of what is possible.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pipeline.domain.events import write_document
from pipeline.errors import IntegrityError
from pipeline.stages.audit.equations import Line

WIDTH = 2
"""A count that is known to be small must be able to have values so far apart. Source: disclosure.json, `interval`."""


@dataclass(frozen=True)
class Witnesses:
    """Hidden figures that hang together, whole tables of their values in the same order, and for each figure the two tables that differ in it."""

    figures: Sequence[int]
    tables: Sequence[Sequence[int]]
    pairs: Mapping[int, tuple[int, int]]


@dataclass(frozen=True)
class Certificate:
    """The witnesses of every group of hidden figures; `lines` is the digest of the lines that they keep."""

    lines: str
    groups: Sequence[Witnesses]

    def to_bytes(self) -> bytes:
        """Return the certificate as canonical JSON. Source: RFC 8785."""
        groups = [
            {
                "figures": list(group.figures),
                "tables": [[str(value) for value in table] for table in group.tables],
                "pairs": [[figure, *pair] for figure, pair in sorted(group.pairs.items())],
            }
            for group in self.groups
        ]
        return write_document({"lines": self.lines, "groups": groups})

    @classmethod
    def parse(cls, content: bytes) -> Certificate:
        """Read a certificate. Raises: IntegrityError when it is none."""
        try:
            document = json.loads(content)
            groups = [
                Witnesses(
                    [int(figure) for figure in group["figures"]],
                    [[int(value) for value in table] for table in group["tables"]],
                    {int(figure): (int(one), int(other)) for figure, one, other in group["pairs"]},
                )
                for group in document["groups"]
            ]
            return cls(str(document["lines"]), groups)
        except (ValueError, TypeError, KeyError) as error:
            raise IntegrityError("The certificate cannot be read: it is not what the audit wrote.") from error


def digest_lines(lines: Sequence[Line]) -> str:
    """Return the digest of lines: what a certificate is bound to."""
    document = [[line.sum, sorted(line.signs.items())] for line in lines]
    return hashlib.sha256(json.dumps(document, separators=(",", ":")).encode()).hexdigest()


def check_certificate(
    certificate: Certificate, lines: Sequence[Line], counts: Collection[int], wanted: Collection[int], threshold: int
) -> Sequence[str]:
    """Return what is wrong with a certificate, nothing when it proves that each wanted figure is hidden.

    Args: `lines` are drawn anew from public files; `counts` are the hidden figures that are whole and not below zero; `wanted` those of which two
    values are to be shown, and of a count below `threshold` two that are WIDTH apart.
    """
    if certificate.lines != digest_lines(lines):
        return ["It speaks of other lines than the public files give."]
    problems = []
    for number, group in enumerate(certificate.groups):
        place = {figure: column for column, figure in enumerate(group.figures)}
        mine = [line for line in lines if not place.keys().isdisjoint(line.signs)]
        if any(not place.keys() >= line.signs.keys() for line in mine):
            problems.append(f"Group {number} leaves out figures that hang together with it.")
            continue
        for table in group.tables:
            if len(table) != len(place) or any(sum(sign * table[place[figure]] for figure, sign in line.signs.items()) != line.sum for line in mine):
                problems.append(f"A table of group {number} does not agree with what is published.")
            elif any(table[column] < 0 for figure, column in place.items() if figure in counts):
                problems.append(f"A table of group {number} has a count below zero.")
        for figure in sorted(place.keys() & {*wanted}):
            if not _is_open(group, place[figure], figure, threshold if figure in counts else None):
                problems.append(f"Group {number} has no two tables that leave figure {figure} open.")
    covered = {figure for group in certificate.groups for figure in group.figures}
    tied = {figure for line in lines for figure in line.signs}
    return [*problems, *(f"Figure {figure} has no witness." for figure in sorted((tied & {*wanted}) - covered))]


def _is_open(group: Witnesses, column: int, figure: int, threshold: int | None) -> bool:
    pair = group.pairs.get(figure, ())
    values = sorted(group.tables[table][column] for table in pair if table < len(group.tables))
    return len(values) == 2 and leaves_open(values[0], values[1], threshold)


def leaves_open(low: int, high: int, threshold: int | None) -> bool:
    """Say whether two values hide a figure well enough: of a count (with a threshold) that might be small, they must be WIDTH apart."""
    return low < high and (threshold is None or high >= threshold or high - low >= WIDTH)
