"""What stands in a workbook beside its tables: comments, links to elsewhere, hidden and foreign sheets, styles that nobody sees.

None of it is taken in. It is looked through for personal data, because it travels with the file and people do not see it.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence

from pipeline.adapters.reading.canonical import BLANKS, Findings, TableForm, key
from pipeline.adapters.reading.delimited import check_name, is_ours
from pipeline.adapters.reading.sheet_scan import TRUE, Sheet, list_relations, local, make_parser, parse
from pipeline.stages.personal_data import find_in_texts

COMMENTS = ("xl/comments", "xl/threadedcomments", "xl/notes")
COPIES = {
    "xl/externallinks": "links to other files",
    "xl/connections": "connections to data elsewhere",
    "xl/querytables": "connections to data elsewhere",
    "xl/pivotcache": "pivot tables, which carry a copy of the data that they were made of",
    "xl/embeddings": "embedded files",
    "xl/model": "a data model, which carries a copy of the data that it was made of",
    "xl/media": "pictures",
}
"""Parts that bring in more than the sheets show, by how their names begin, in our words."""

PROPERTIES = ("customxml/",)
WHITE = frozenset({"FFFFFFFF", "00FFFFFF", "FFFFFF"})
WHITE_THEME = "0"
NOTHING = ";;;"
"""The number format that shows nothing."""


def look_around(archive: zipfile.ZipFile, sheets: Sequence[Sheet], forms: Mapping[str, TableForm], findings: Findings) -> None:
    """Find what stands beside the tables of a workbook, and personal data in it."""
    names = [name for name in archive.namelist() if not name.endswith("/")]
    plain = {name: name.casefold().lstrip("/") for name in names}
    comments = [name for name in names if plain[name].startswith(COMMENTS) and plain[name].endswith(".xml")]
    if comments:
        findings.add("F-044")
    for words in dict.fromkeys(words for part, words in COPIES.items() if any(name.startswith(part) for name in plain.values())):
        findings.add("F-048", kind=words)
    if any(name.startswith(PROPERTIES) for name in plain.values()):
        findings.add("F-049")
    if _counts_from_1904(archive):
        findings.add("F-079")
    for name in comments:
        _check_texts("A comment", list(_texts_of(archive, name, frozenset({"t", "text"}))), findings)
    _check_sheets(archive, sheets, {key(name) for name in forms}, findings)


def _check_sheets(archive: zipfile.ZipFile, sheets: Sequence[Sheet], known: set[str], findings: Findings) -> None:
    shared: list[str] | None = None
    for sheet in sheets:
        is_table = key(sheet.name) in known
        if not is_table:
            check_name(sheet.name, f"The name of sheet {sheet.position}", findings)
        if is_ours(sheet.name) or (is_table and sheet.is_visible):
            continue
        if shared is None:
            shared = _shared_strings(archive)
        _check_texts(f"Sheet {sheet.position}", list(_sheet_texts(archive, sheet.part, shared)), findings)


def _check_texts(where: str, texts: Sequence[str], findings: Findings) -> None:
    for kind in find_in_texts(texts):
        findings.add("H-020", where=where, kind=kind)


def _counts_from_1904(archive: zipfile.ZipFile) -> bool:
    found: list[str] = []

    def start(name: str, attributes: Mapping[str, str]) -> None:
        if local(name) == "workbookPr":
            found.append(attributes.get("date1904", ""))

    _walk(archive, "xl/workbook.xml", start)
    return bool(TRUE.intersection(found))


def _texts_of(archive: zipfile.ZipFile, part: str, elements: frozenset[str], whole: frozenset[str] = frozenset({"comment"})) -> Iterator[str]:
    """Yield the texts of a part, those in one of `whole` as one."""
    texts: list[str] = []
    pieces: list[str] = []
    depth = 0

    def start(name: str, _: Mapping[str, str]) -> None:
        nonlocal depth
        depth += local(name) in elements

    def end(name: str) -> None:
        nonlocal depth
        depth -= local(name) in elements
        if local(name) in whole or (local(name) in elements and not whole):
            texts.append("".join(pieces))
            pieces.clear()

    def text(characters: str) -> None:
        if depth:
            pieces.append(characters)

    parser = make_parser()
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    parse(parser, archive, part)
    yield from texts
    yield "".join(pieces)


def _shared_strings(archive: zipfile.ZipFile) -> list[str]:
    for relation in list_relations(archive):
        if relation.kind == "sharedStrings":
            return list(_texts_of(archive, relation.part, frozenset({"t"}), frozenset({"si"})))
    return []


def _sheet_texts(archive: zipfile.ZipFile, part: str, shared: Sequence[str]) -> Iterator[str]:
    """Yield what the cells of a sheet say, numbers as they are stored."""
    found: list[str] = []
    kind, pieces, is_value = "n", list[str](), False

    def start(name: str, attributes: Mapping[str, str]) -> None:
        nonlocal kind, is_value
        if local(name) == "c":
            kind = attributes.get("t", "n")
            pieces.clear()
        is_value = is_value or local(name) in ("v", "t")

    def end(name: str) -> None:
        nonlocal is_value
        if local(name) in ("v", "t"):
            is_value = False
        elif local(name) == "c" and (value := "".join(pieces).strip(BLANKS)):
            found.append(shared[int(value)] if kind == "s" else value)

    def text(characters: str) -> None:
        if is_value:
            pieces.append(characters)

    parser = make_parser()
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    parse(parser, archive, part)
    yield from found


def find_unseen_styles(archive: zipfile.ZipFile) -> frozenset[str]:
    """Return the numbers of the cell styles in which a text cannot be seen: white on no colour, or a format that shows nothing."""
    if "xl/styles.xml" not in archive.namelist():
        return frozenset()
    reader = _StyleReader()
    _walk(archive, "xl/styles.xml", reader.start, reader.end)
    return frozenset(reader.unseen)


class _StyleReader:
    """Walks through the styles: fonts, fills and formats are numbered by their order, and a cell style names one of each."""

    def __init__(self) -> None:
        self.unseen: list[str] = []
        self._inside: list[str] = []
        self._white_fonts: list[bool] = []
        self._plain_fills: list[bool] = []
        self._empty_formats: set[str] = set()
        self._styles = 0

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        name = local(name)
        within = self._inside[-1] if self._inside else ""
        self._inside.append(name)
        if name == "font" and within == "fonts":
            self._white_fonts.append(False)
        elif name == "color" and within == "font" and self._white_fonts:
            self._white_fonts[-1] = attributes.get("rgb", "").upper() in WHITE or attributes.get("theme") == WHITE_THEME
        elif name == "fill" and within == "fills":
            self._plain_fills.append(True)
        elif name == "patternFill" and within == "fill" and self._plain_fills:
            self._plain_fills[-1] = attributes.get("patternType", "none") == "none"
        elif name == "numFmt" and within == "numFmts" and attributes.get("formatCode") == NOTHING:
            self._empty_formats.add(attributes["numFmtId"])
        elif name == "xf" and within == "cellXfs":
            self._add_style(attributes)

    def end(self, _: str) -> None:
        self._inside.pop()

    def _add_style(self, attributes: Mapping[str, str]) -> None:
        font, fill = int(attributes.get("fontId", 0)), int(attributes.get("fillId", 0))
        is_white = font < len(self._white_fonts) and self._white_fonts[font] and (fill >= len(self._plain_fills) or self._plain_fills[fill])
        if is_white or attributes.get("numFmtId") in self._empty_formats:
            self.unseen.append(str(self._styles))
        self._styles += 1


def _walk(archive: zipfile.ZipFile, part: str, start: Callable[[str, dict[str, str]], None], end: Callable[[str], None] | None = None) -> None:
    parser = make_parser()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parse(parser, archive, part)
