"""The canonical shape of a table of a return: headings matched to our columns, every cell trimmed text or null, rows numbered as people see them."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

import pyarrow as pa
import pyarrow.compute as pc

ASCII_BLANKS = " \t\n\v\f\r"
BLANKS = ASCII_BLANKS + "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000\ufeff"
"""What is trimmed from both ends of a cell: the spaces of Unicode and the characters that move the cursor."""

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
    """What a table of a return looks like. `has_free_text` allows line breaks inside cells."""

    name: str
    columns: Sequence[ColumnForm]
    has_free_text: bool

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> TableForm:
        """Read the form from the request that the parent wrote."""
        columns = [ColumnForm(name=name, title=title, is_required=required) for name, title, required in document["columns"]]
        return cls(name=document["name"], columns=columns, has_free_text=document["has_free_text"])


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where each column of ours stands in the delivered table, from left to right; `spare` are columns to their right without a heading.

    There are no gaps between them, so that the order of the columns says where a cell stands in the file.
    """

    positions: Mapping[str, int]
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

    def add(self, rule: str, *, table: str = "", row: int = 0, column: str = "", **values: object) -> None:
        """Take down one breach of a rule; past MOST_PLACES it is only counted."""
        place = (rule, table, column)
        self.counts[place] += 1
        if self.counts[place] <= MOST_PLACES:
            words = {name: str(value) for name, value in values.items()}
            self.found.append({"rule": rule, "table": table, "row": row, "column": column, "values": words})

    def refuse(self, rule: str, *, table: str = "", row: int = 0, column: str = "", **values: object) -> NoReturn:
        """Take down a breach after which nothing more can be read."""
        self.add(rule, table=table, row=row, column=column, **values)
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


def match_headings(form: TableForm, headings: Sequence[str], findings: Findings) -> Layout | None:
    """Return where our columns stand, or None when the headings do not fit; then the findings say which and where."""
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
    if not standing:
        findings.add("F-030", table=form.name, row=1)
        return None
    missing = [column.name for column in form.columns if column.is_required and column.name not in standing]
    repeated = {name: positions for name, positions in standing.items() if len(positions) > 1}
    gaps = [position for position in spare if position < max(max(positions) for positions in standing.values())]
    for position in unknown:
        findings.add("F-031", table=form.name, row=1, column=letter(position))
    for position in gaps:
        findings.add("F-035", table=form.name, row=1, column=letter(position))
    for name in missing:
        findings.add("F-032", table=form.name, row=1, column=name)
    for name, positions in repeated.items():
        findings.add("F-033", table=form.name, row=1, column=name, positions=", ".join(map(letter, positions)))
    if unknown or gaps or missing or repeated:
        return None
    return Layout(positions={name: positions[0] for name, positions in standing.items()}, spare=spare)


def tidy(cells: pa.StringArray) -> pa.StringArray:
    """Return cells as they are compared and kept: composed (NFC), trimmed at both ends, null when nothing is left."""
    if pc.all(pc.string_is_ascii(cells), min_count=0).as_py():
        cells = pc.ascii_trim(cells, characters=ASCII_BLANKS)
    else:
        cells = pc.utf8_trim(pc.utf8_normalize(cells, form="NFC"), characters=BLANKS)
    return pc.if_else(pc.equal(pc.binary_length(cells), 0), pa.scalar(None, pa.string()), cells)


class TableWriter:
    """Writes one canonical table into the hand-over folder, batch by batch, so that memory stays bounded."""

    def __init__(self, folder: Path, form: TableForm, layout: Layout) -> None:
        self._form = form
        self._layout = layout
        self._schema = pa.schema([("row", pa.int64()), *((name, pa.string()) for name in layout.positions)])
        self._sink = pa.OSFile(str(folder / f"{form.name}.arrow"), "wb")
        self._writer = pa.ipc.new_file(self._sink, self._schema)
        self._rows = 0
        self._last_row = 1
        self.filled_spares: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._writer.close()
        self._sink.close()

    def write(self, rows: pa.Int64Array, columns: Mapping[int, pa.StringArray]) -> None:
        """Write the rows that hold anything. `columns` maps the delivered position to the cells."""
        for position in self._layout.spare:
            if tidy(columns[position]).null_count < len(rows):
                self.filled_spares.add(position)
        cells = [tidy(columns[position]) for position in self._layout.positions.values()]
        batch = pa.RecordBatch.from_arrays([rows, *cells], schema=self._schema)
        is_filled = cells[0].is_valid()
        for column in cells[1:]:
            is_filled = pc.or_(is_filled, column.is_valid())
        batch = batch.filter(is_filled)
        if batch.num_rows:
            self._writer.write_batch(batch)
            self._rows += batch.num_rows
            self._last_row = batch.column(0)[-1].as_py()

    def written(self, place: str, findings: Findings) -> WrittenTable:
        """Return what was written. Columns without a heading that hold something become findings: they must not travel."""
        for position in sorted(self.filled_spares):
            findings.add("F-031", table=self._form.name, row=1, column=letter(position))
        return WrittenTable(name=self._form.name, place=place, rows=self._rows, blank_rows=self._last_row - 1 - self._rows)
