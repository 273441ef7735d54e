"""What is looked at before a release goes out: the items, which are data in `schemas/checklist.json`, and what was found of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from pipeline.errors import RuleError

Weight = Literal["error", "warning"]
WEIGHTS: tuple[Weight, ...] = get_args(Weight)


@dataclass(frozen=True, kw_only=True)
class Item:
    """One item: `severity` says whether it keeps a release from being approved, `mend` the command that puts it right."""

    code: str
    severity: Weight
    title: str
    message: str
    mend: str

    def __post_init__(self) -> None:
        if self.severity not in WEIGHTS:
            raise RuleError(f"The item {self.code} of the checklist has a severity that there is not; there are {' and '.join(WEIGHTS)}.")


@dataclass(frozen=True, kw_only=True)
class Check:
    """An item that was found, and where: projects, quarters, metrics, tables. Never a value."""

    code: str
    severity: Weight
    title: str
    message: str
    mend: str
    places: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Checklist:
    """What stands in the way of a release, and who may approve it. `needed` people have to; those of `approvals` have."""

    version: str
    state: str
    manifest: str
    checks: Sequence[Check]
    drafted_by: str
    submitters: Sequence[str]
    approvals: Sequence[str]
    needed: int

    @property
    def errors(self) -> Sequence[Check]:
        """What keeps it from being approved."""
        return [check for check in self.checks if check.severity == "error"]


def found(items: Mapping[str, Item], places: Mapping[str, Collection[str]], **values: str) -> Sequence[Check]:
    """Return what was found, gravest first, in the order of the items.

    Args: places, by the code of an item, where it was found; an item that is not in it was not found.
    Raises: RuleError when there is no item of a code.
    """
    unknown = sorted(places.keys() - items.keys())
    if unknown:
        raise RuleError(f"The checklist has no item {unknown[0]}.")
    checks = [
        Check(
            code=item.code,
            severity=item.severity,
            title=item.title,
            message=item.message,
            mend=_filled(item.mend, values),
            places=sorted(places[item.code]),
        )
        for item in items.values()
        if item.code in places
    ]
    return sorted(checks, key=lambda check: WEIGHTS.index(check.severity))


def merge(*parts: Iterable[tuple[str, str]]) -> Mapping[str, Collection[str]]:
    """Return places by code from pairs of code and place; an item that was found at no place in particular has the place ''."""
    places: dict[str, set[str]] = {}
    for part in parts:
        for code, place in part:
            places.setdefault(code, set()).update({place} - {""})
    return places


def _filled(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text
