"""The canonical shape of a table of a return: headings matched to our columns, every cell trimmed text or null, rows numbered as people see them."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.stages.personal_data import kind_of_heading

ASCII_BLANKS = " \t\n\v\f\r"
BLANKS = ASCII_BLANKS + "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000\ufeff"
"""What is trimmed from both ends of a cell: the spaces of Unicode and the characters that move the cursor."""

CLOSE = 0.8
"""How much a misspelt heading must have in common with one of ours to be taken for it (1 is everything)."""

MOST_PLACES = 1000
"""How many places of one rule in one column are named; all are counted."""


@dataclass(frozen=True, kw_only=True)
class ColumnForm:
    """What a heading may say: a column's name or its title."""

    name: str
    title: str
    is_required: bool


@dataclass(frozen=True, kw_only=True)
class TableForm:
    """What a table of a return looks like. `free_text` names the columns in which a person writes what they like, over several lines too."""

    name: str
    columns: Sequence[ColumnForm]
    free_text: frozenset[str]

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> TableForm:
        """Read the form from the request that the parent wrote."""
        columns = [ColumnForm(name=name, title=title, is_required=required) for name, title, required in document["columns"]]
        return cls(name=document["name"], columns=columns, free_text=frozenset(document["free_text"]))


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where each column of ours stands in the delivered table, from left to right; `spare` are columns to their right without a heading.

    There are no gaps between them, so that the order of the columns says where a cell stands in the file.
    """

    positions: Mapping[str, int]
    headings: Sequence[str] = ()
    spare: Sequence[int] = ()


@dataclass(frozen=True, kw_only=True)
class WrittenTable:
    """One canonical table as it stands in the hand-over folder."""

    name: str
    place: str
    rows: int
    blank_rows: int


class RefusedError(Exception):
    """The delivery cannot be read any further; its findings say why."""


@dataclass
class Findings:
    """Collects what is wrong with a delivery: rule, place and words of ours, never what a cell said."""

    found: list[dict[str, Any]] = field(default_factory=list)
    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def add(self, rule: str, *, table: str = "", row: int = 0, column: str = "", times: int = 1, **values: object) -> None:
        """Take down one breach of a rule, or the first of several; past MOST_PLACES it is only counted."""
        place = (rule, table, column)
        is_listed = self.counts[place] < MOST_PLACES
        self.counts[place] += times
        if is_listed:
            words = {name: str(value) for name, value in values.items()}
            self.found.append({"rule": rule, "table": table, "row": row, "column": column, "values": words})

    def refuse(self, rule: str, *, table: str = "", row: int = 0, column: str = "", **values: object) -> NoReturn:
        """Take down a breach after which nothing more can be read."""
        self.add(rule, table=table, row=row, column=column, times=1, **values)
        raise RefusedError(rule)

    def as_documents(self) -> list[dict[str, Any]]:
        """Return the findings, each with the count of all places of its rule in its column."""
        for finding in self.found:
            finding["values"]["count"] = str(self.counts[finding["rule"], finding["table"], finding["column"]])
        return self.found


def letter(position: int) -> str:
    """Return the letters of a column as a spreadsheet shows them; 0 is A."""
    letters, number = "", position + 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def key(text: str) -> str:
    """Return what two ways of writing a heading or a sheet name have in common: its letters and digits, whatever the case."""
    return "".join(sign for sign in unicodedata.normalize("NFKC", text).casefold() if sign.isalnum())


def heading_names(form: TableForm) -> Mapping[str, str]:
    """Return our column for every key that a heading may have; names come before titles."""
    names = {key(column.name): column.name for column in form.columns}
    for column in form.columns:
        names.setdefault(key(column.title), column.name)
    return names


def known_headings(form: TableForm, headings: Sequence[str]) -> int:
    """Return how many of a row's cells are headings of a table."""
    names = heading_names(form)
    return sum(key(heading) in names for heading in headings)


def find_heading_row(form: TableForm, rows: Sequence[Sequence[str]]) -> int:
    """Return the row, from 1, in which most of a table's required headings stand together; 0 when there is none."""
    needed = max(2, sum(column.is_required for column in form.columns) // 2)
    return next((row for row, cells in enumerate(rows, start=1) if known_headings(form, cells) >= needed), 0)


def match_headings(form: TableForm, headings: Sequence[str], findings: Findings) -> Layout | None:
    """Return where our columns stand, or None when the headings do not fit; then the findings say which and where."""
    standing, unknown, spare = _sort_out(form, headings)
    if not standing:
        findings.add("F-030", table=form.name, row=1)
        return None
    nearest = {position: _nearest(form, headings[position], standing) for position in unknown}
    missing = [c.name for c in form.columns if c.is_required and c.name not in standing and c.name not in nearest.values()]
    repeated = {name: positions for name, positions in standing.items() if len(positions) > 1}
    gaps = [position for position in spare if position < max(max(positions) for positions in standing.values())]
    for position in unknown:
        _add_unknown(form, headings[position], position, nearest[position], findings)
    for position in gaps:
        findings.add("F-035", table=form.name, row=1, column=letter(position))
    for name in missing:
        findings.add("F-032", table=form.name, row=1, column=name)
    for name, positions in repeated.items():
        findings.add("F-033", table=form.name, row=1, column=name, positions=", ".join(map(letter, positions)))
    if unknown or gaps or missing or repeated:
        return None
    layout = Layout(positions={name: positions[0] for name, positions in standing.items()}, headings=tuple(headings), spare=spare)
    _note_headings(form, layout, findings)
    return layout


def _sort_out(form: TableForm, headings: Sequence[str]) -> tuple[dict[str, list[int]], list[int], list[int]]:
    """Return where each of our columns stands, where headings stand that are none of ours, and where there is no heading."""
    names = heading_names(form)
    standing: dict[str, list[int]] = {}
    unknown: list[int] = []
    spare: list[int] = []
    for position, heading in enumerate(headings):
        name = names.get(key(heading))
        if name is not None:
            standing.setdefault(name, []).append(position)
        else:
            (unknown if heading.strip(BLANKS) else spare).append(position)
    return standing, unknown, spare


def _nearest(form: TableForm, heading: str, standing: Collection[str]) -> str | None:
    """Return the column that a heading which is none of ours was probably meant for, among those that are not there."""
    candidates = {plain: name for plain, name in heading_names(form).items() if name not in standing}
    close = get_close_matches(key(heading), candidates, n=1, cutoff=CLOSE)
    return candidates[close[0]] if close else None


def _add_unknown(form: TableForm, heading: str, position: int, nearest: str | None, findings: Findings) -> None:
    if nearest is not None:
        findings.add("F-046", table=form.name, row=1, column=letter(position), nearest=nearest)
        return
    kind = kind_of_heading(heading)
    if kind is not None:
        findings.add("H-010", table=form.name, row=1, column=letter(position), kind=kind)
    findings.add("F-031", table=form.name, row=1, column=letter(position))


def _note_headings(form: TableForm, layout: Layout, findings: Findings) -> None:
    """Say which headings were read although they are written in another way, and that their order is another."""
    for column in form.columns:
        if column.name in layout.positions and layout.headings[layout.positions[column.name]] not in (column.name, column.title):
            findings.add("F-057", table=form.name, row=1, column=column.name)
    ordered = [column.name for column in form.columns if column.name in layout.positions]
    if ordered != sorted(layout.positions, key=lambda name: layout.positions[name]):
        findings.add("F-058", table=form.name, row=1)


def compose(cells: pa.StringArray) -> pa.StringArray:
    """Return cells with every letter and its accents as one sign (NFC)."""
    return cells if pc.all(pc.string_is_ascii(cells), min_count=0).as_py() else pc.utf8_normalize(cells, form="NFC")


def trim(cells: pa.StringArray) -> pa.StringArray:
    """Return cells without blanks at both ends."""
    if pc.all(pc.string_is_ascii(cells), min_count=0).as_py():
        return pc.ascii_trim(cells, characters=ASCII_BLANKS)
    return pc.utf8_trim(cells, characters=BLANKS)


def tidy(cells: pa.StringArray) -> pa.StringArray:
    """Return cells as they are compared and kept: composed (NFC), trimmed at both ends, null when nothing is left."""
    cells = trim(compose(cells))
    return pc.if_else(pc.equal(pc.binary_length(cells), 0), pa.scalar(None, pa.string()), cells)
