"""The second reader of a workbook: goes over the XML of its parts with expat and takes down where something stands, not what.

It knows nothing of the first reader, builds no grid, and does not believe what a sheet says of its own size. It also sees what a reader of values
cannot: formulas without a result, error cells, merged cells.
"""

from __future__ import annotations

import posixpath
import zipfile
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO
from xml.parsers import expat

from pipeline.adapters.reading.canonical import BLANKS, RefusedError

VALUE_PARTS = frozenset({"v", "t"})


class DeclarationError(RefusedError):
    """A part declares a document type or entities: no workbook does, and attacks do."""


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """One sheet as the workbook lists it: its position from 1, its name, whether people see it, and the part that holds it."""

    position: int
    name: str
    is_visible: bool
    part: str


@dataclass
class SheetScan:
    """Where something stands in one sheet. Rows count from 1, columns from 0.

    `is_disordered` says that a cell stands before or on another that came earlier: one would hide the other.
    """

    filled: array[int] = field(default_factory=lambda: array("q"))
    last_row: int = 0
    columns: int = 0
    errors: list[tuple[int, int]] = field(default_factory=list)
    uncalculated: list[tuple[int, int]] = field(default_factory=list)
    merged: int = 0
    is_disordered: bool = False


@dataclass(frozen=True, kw_only=True)
class Relation:
    """Where the workbook keeps one of its parts."""

    id: str
    kind: str
    part: str


def list_relations(archive: zipfile.ZipFile) -> list[Relation]:
    """Return the parts that the workbook refers to."""
    relations: list[Relation] = []

    def start(name: str, attributes: Mapping[str, str]) -> None:
        if _local(name) == "Relationship":
            target = attributes.get("Target", "")
            part = target.lstrip("/") if target.startswith("/") else posixpath.normpath(posixpath.join("xl", target))
            relations.append(Relation(id=attributes["Id"], kind=attributes["Type"].rpartition("/")[2], part=part))

    parser = _parser()
    parser.StartElementHandler = start
    _parse(parser, archive, "xl/_rels/workbook.xml.rels")
    return relations


def list_sheets(archive: zipfile.ZipFile) -> list[Sheet]:
    """Return the sheets of a workbook in their order."""
    parts = {relation.id: relation.part for relation in list_relations(archive)}
    sheets: list[Sheet] = []

    def start(name: str, attributes: Mapping[str, str]) -> None:
        if _local(name) == "sheet":
            relation = next(value for key, value in attributes.items() if _local(key) == "id")
            is_visible = attributes.get("state", "visible") == "visible"
            sheets.append(Sheet(position=len(sheets) + 1, name=attributes["name"], is_visible=is_visible, part=parts[relation]))

    parser = _parser()
    parser.StartElementHandler = start
    _parse(parser, archive, "xl/workbook.xml")
    return sheets


def find_blank_strings(archive: zipfile.ZipFile) -> bytearray:
    """Return, for each shared string of a workbook, 1 when nothing but blanks stands in it."""
    blank = bytearray()
    texts: list[str] = []
    depth = 0

    def start(name: str, _: Mapping[str, str]) -> None:
        nonlocal depth
        local = _local(name)
        if local == "si":
            texts.clear()
        elif local == "t":
            depth += 1

    def end(name: str) -> None:
        nonlocal depth
        local = _local(name)
        if local == "t":
            depth -= 1
        elif local == "si":
            blank.append(not "".join(texts).strip(BLANKS))

    def text(characters: str) -> None:
        if depth:
            texts.append(characters)

    for relation in list_relations(archive):
        if relation.kind == "sharedStrings":
            parser = _parser()
            parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
            _parse(parser, archive, relation.part)
    return blank


def scan_sheet(archive: zipfile.ZipFile, part: str, blank_strings: bytearray) -> SheetScan:
    """Return where something stands in one sheet."""
    scanner = _Scanner(blank_strings)
    parser = _parser()
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = scanner.start, scanner.end, scanner.text
    _parse(parser, archive, part)
    return scanner.found


class _Scanner:
    """The state between the elements of one sheet."""

    def __init__(self, blank_strings: bytearray) -> None:
        self.found = SheetScan()
        self._blank_strings = blank_strings
        self._numbers: dict[str, int] = {}
        self._row = self._column = 0
        self._last = (0, 0)
        self._kind = ""
        self._texts: list[str] = []
        self._is_value = self._has_formula = False

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        name = _local(name)
        if name == "c":
            self._start_cell(attributes)
        elif name in VALUE_PARTS:
            self._is_value = True
        elif name == "row":
            self._row, self._column = int(attributes.get("r") or self._row + 1), -1
        elif name == "f":
            self._has_formula = True
        elif name == "mergeCell":
            self.found.merged += 1

    def end(self, name: str) -> None:
        name = _local(name)
        if name == "c":
            self._end_cell()
        elif name in VALUE_PARTS:
            self._is_value = False

    def text(self, characters: str) -> None:
        if self._is_value:
            self._texts.append(characters)

    def _start_cell(self, attributes: Mapping[str, str]) -> None:
        self._kind, self._has_formula = attributes.get("t", "n"), False
        self._texts.clear()
        reference = attributes.get("r")
        if reference is None:
            self._column += 1
        else:
            letters = reference.rstrip("0123456789")
            column = self._numbers.get(letters)
            if column is None:
                column = self._numbers[letters] = _column_number(letters)
            self._row, self._column = int(reference[len(letters) :]), column
        place = (self._row, self._column)
        if place <= self._last:
            self.found.is_disordered = True
        self._last = place

    def _end_cell(self) -> None:
        value = "".join(self._texts).strip(BLANKS)
        if self._kind == "e":
            self.found.errors.append((self._row, self._column))
        elif self._has_formula and not value and self._kind != "str":
            self.found.uncalculated.append((self._row, self._column))
        if not value or (self._kind == "s" and self._blank_strings[int(value)]):
            return
        self.found.last_row = max(self.found.last_row, self._row)
        self.found.columns = max(self.found.columns, self._column + 1)
        if not self.found.filled or self.found.filled[-1] != self._row:
            self.found.filled.append(self._row)


def _column_number(letters: str) -> int:
    number = 0
    for sign in letters.upper():
        number = number * 26 + ord(sign) - ord("A") + 1
    return number - 1


def _local(name: str) -> str:
    return name.rpartition(":")[2] if ":" in name else name


def _parser() -> expat.XMLParserType:
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse_declaration
    parser.EntityDeclHandler = _refuse_declaration
    return parser


def _refuse_declaration(*_: object) -> None:
    raise DeclarationError("document type")


def _parse(parser: expat.XMLParserType, archive: zipfile.ZipFile, part: str) -> None:
    with archive.open(part) as file:
        stream: IO[bytes] = file
        parser.ParseFile(stream)
