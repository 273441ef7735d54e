"""The second reader of a workbook: goes over the XML of its parts with expat and takes down where something stands, not what.

It knows nothing of the first reader, builds no grid, and does not believe what a sheet says of its own size. It also sees what a reader of values
cannot: formulas, error cells, merged cells, and what is hidden.
"""

from __future__ import annotations

import posixpath
import re
import zipfile
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO
from xml.parsers import expat

from pipeline.adapters.reading.canonical import BLANKS, RefusedError

VALUE_PARTS = frozenset({"v", "t"})
TRUE = frozenset({"1", "true"})
COMMANDS = re.compile(r"\||\b(?:HYPERLINK|WEBSERVICE|FILTERXML|RTD|CALL|EXEC|REGISTER\.ID|DDE\w*|IMAGE)\s*\(|https?:|file:|\\\\", re.IGNORECASE)
"""What a formula says that starts a program or fetches something."""


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

    `formulas` have a result, `uncalculated` ones have none, `commands` start or fetch something; `unseen` counts cells in the colour of the paper;
    `stated_rows` is how many rows the sheet itself says that it has, 0 when it does not say. `is_disordered` says that a cell stands before or on
    another that came earlier: one would hide the other.
    """

    filled: array[int] = field(default_factory=lambda: array("q"))
    last_row: int = 0
    columns: int = 0
    cells: int = 0
    errors: list[tuple[int, int]] = field(default_factory=list)
    uncalculated: list[tuple[int, int]] = field(default_factory=list)
    formulas: list[tuple[int, int]] = field(default_factory=list)
    commands: list[tuple[int, int]] = field(default_factory=list)
    merged: int = 0
    hidden_rows: int = 0
    hidden_columns: list[tuple[int, int]] = field(default_factory=list)
    unseen: int = 0
    is_filtered: bool = False
    stated_rows: int = 0
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
        if local(name) == "Relationship":
            target = attributes.get("Target", "")
            part = target.lstrip("/") if target.startswith("/") else posixpath.normpath(posixpath.join("xl", target))
            relations.append(Relation(id=attributes["Id"], kind=attributes["Type"].rpartition("/")[2], part=part))

    parser = make_parser()
    parser.StartElementHandler = start
    parse(parser, archive, "xl/_rels/workbook.xml.rels")
    return relations


def list_sheets(archive: zipfile.ZipFile) -> list[Sheet]:
    """Return the sheets of a workbook in their order."""
    parts = {relation.id: relation.part for relation in list_relations(archive)}
    sheets: list[Sheet] = []

    def start(name: str, attributes: Mapping[str, str]) -> None:
        if local(name) == "sheet":
            relation = next(value for key, value in attributes.items() if local(key) == "id")
            is_visible = attributes.get("state", "visible") == "visible"
            sheets.append(Sheet(position=len(sheets) + 1, name=attributes["name"], is_visible=is_visible, part=parts[relation]))

    parser = make_parser()
    parser.StartElementHandler = start
    parse(parser, archive, "xl/workbook.xml")
    return sheets


def find_blank_strings(archive: zipfile.ZipFile) -> bytearray:
    """Return, for each shared string of a workbook, 1 when nothing but blanks stands in it."""
    blank = bytearray()
    texts: list[str] = []
    depth = 0

    def start(name: str, _: Mapping[str, str]) -> None:
        nonlocal depth
        if local(name) == "si":
            texts.clear()
        elif local(name) == "t":
            depth += 1

    def end(name: str) -> None:
        nonlocal depth
        if local(name) == "t":
            depth -= 1
        elif local(name) == "si":
            blank.append(not "".join(texts).strip(BLANKS))

    def text(characters: str) -> None:
        if depth:
            texts.append(characters)

    for relation in list_relations(archive):
        if relation.kind == "sharedStrings":
            parser = make_parser()
            parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
            parse(parser, archive, relation.part)
    return blank


def scan_sheet(archive: zipfile.ZipFile, part: str, blank_strings: bytearray, unseen_styles: frozenset[str] = frozenset()) -> SheetScan:
    """Return where something stands in one sheet. `unseen_styles` are those whose text nobody sees."""
    scanner = _Scanner(blank_strings, unseen_styles)
    parser = make_parser()
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = scanner.start, scanner.end, scanner.text
    parse(parser, archive, part)
    return scanner.found


class _Scanner:
    """The state between the elements of one sheet."""

    def __init__(self, blank_strings: bytearray, unseen_styles: frozenset[str]) -> None:
        self.found = SheetScan()
        self._unseen_styles = unseen_styles
        self._blank_strings = blank_strings
        self._numbers: dict[str, int] = {}
        self._row = self._column = 0
        self._last = (0, 0)
        self._kind = ""
        self._texts: list[str] = []
        self._is_value = self._has_formula = self._is_formula = self._is_hidden = self._is_unseen = False
        self._formula: list[str] = []

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        name = local(name)
        if name == "c":
            self._start_cell(attributes)
        elif name in VALUE_PARTS:
            self._is_value = True
        elif name == "row":
            self._row, self._column = int(attributes.get("r") or self._row + 1), -1
            self._is_hidden = attributes.get("hidden") in TRUE
        elif name == "f":
            self._has_formula = self._is_formula = True
        else:
            self._start_other(name, attributes)

    def end(self, name: str) -> None:
        name = local(name)
        if name == "c":
            self._end_cell()
        elif name in VALUE_PARTS:
            self._is_value = False
        elif name == "f":
            self._is_formula = False

    def text(self, characters: str) -> None:
        if self._is_value:
            self._texts.append(characters)
        elif self._is_formula:
            self._formula.append(characters)

    def _start_other(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "mergeCell":
            self.found.merged += 1
        elif name == "col" and attributes.get("hidden") in TRUE:
            self.found.hidden_columns.append((int(attributes["min"]) - 1, int(attributes["max"]) - 1))
        elif name == "filterColumn":
            self.found.is_filtered = True
        elif name == "dimension":
            last = attributes.get("ref", "").rpartition(":")[2].lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ$")
            self.found.stated_rows = int(last) if last.isascii() and last.isdigit() else 0

    def _start_cell(self, attributes: Mapping[str, str]) -> None:
        self._kind, self._has_formula = attributes.get("t", "n"), False
        self._is_unseen = attributes.get("s") in self._unseen_styles
        self._texts.clear()
        self._formula.clear()
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
        elif self._has_formula:
            self._end_formula(value)
        if not value or (self._kind == "s" and self._blank_strings[int(value)]):
            return
        self.found.cells += 1
        self.found.unseen += self._is_unseen
        self.found.last_row = max(self.found.last_row, self._row)
        self.found.columns = max(self.found.columns, self._column + 1)
        if not self.found.filled or self.found.filled[-1] != self._row:
            self.found.filled.append(self._row)
            self.found.hidden_rows += self._is_hidden

    def _end_formula(self, value: str) -> None:
        place = (self._row, self._column)
        if COMMANDS.search("".join(self._formula)):
            self.found.commands.append(place)
        elif not value and self._kind != "str":
            self.found.uncalculated.append(place)
        else:
            self.found.formulas.append(place)


def _column_number(letters: str) -> int:
    number = 0
    for sign in letters.upper():
        number = number * 26 + ord(sign) - ord("A") + 1
    return number - 1


def local(name: str) -> str:
    """Return the name of an element without the prefix of its namespace."""
    return name.rpartition(":")[2] if ":" in name else name


def make_parser() -> expat.XMLParserType:
    """Return a parser that refuses document types and entities."""
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse_declaration
    parser.EntityDeclHandler = _refuse_declaration
    return parser


def _refuse_declaration(*_: object) -> None:
    raise DeclarationError("document type")


def parse(parser: expat.XMLParserType, archive: zipfile.ZipFile, part: str) -> None:
    """Go over one part of a workbook."""
    with archive.open(part) as file:
        stream: IO[bytes] = file
        parser.ParseFile(stream)
