"""Reads a page of the site as a browser and a screen reader would, and says what is wrong with its markup."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}
NO_BLOCKS_INSIDE = {"p", "h1", "h2", "h3", "h4", "span", "strong", "a", "summary", "dt", "caption"}
BLOCKS = {"p", "h1", "h2", "h3", "h4", "div", "ul", "ol", "dl", "table", "section", "main", "details", "pre"}
LANDMARKS = {"header", "nav", "main", "footer"}


@dataclass
class TableOnPage:
    caption: str = ""
    headings: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    scopes: list[str | None] = field(default_factory=list)


@dataclass
class Bar:
    name: str = ""
    words: str = ""
    is_hidden_from_readers: bool = False
    is_dotted: bool = False
    is_marked: bool = False
    widths: list[str] = field(default_factory=list)


@dataclass
class Figure:
    value: str
    is_derived: bool
    words: str = ""


@dataclass
class Page:
    title: str = ""
    language: str | None = None
    policy: str | None = None
    text: str = ""
    faults: list[str] = field(default_factory=list)
    headings: list[tuple[int, str]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    references: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    landmarks: set[str] = field(default_factory=set)
    tags: set[str] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    tables: list[TableOnPage] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)

    def table(self, caption: str) -> TableOnPage:
        """Return the table with a caption."""
        return next(table for table in self.tables if table.caption == caption)


def read_page(text: str) -> Page:
    """Parse a page; what is not well formed is among its faults."""
    reader = _Reader()
    if not text.startswith("<!DOCTYPE html>\n"):
        reader.page.faults.append("no doctype")
    reader.feed(text)
    reader.close()
    reader.page.faults += [f"{tag} is not closed" for tag in reader.open]
    reader.page.text = " ".join(reader.page.text.split())
    return reader.page


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page = Page()
        self.open: list[str] = []
        self.sinks: list[tuple[str, list[str]]] = []
        self.row: Bar | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if len(given) != len(attrs):
            self.page.faults.append(f"{tag} has an attribute twice")
        if tag in BLOCKS and self.open and self.open[-1] in NO_BLOCKS_INSIDE:
            self.page.faults.append(f"{tag} stands in {self.open[-1]}")
        if tag not in VOID:
            self.open.append(tag)
            self.sinks.append((tag, []))
        self._note(tag, given)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("rect", "line"):
            self._note(tag, dict(attrs))
        else:
            self.page.faults.append(f"{tag} closes itself")

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1] != tag:
            self.page.faults.append(f"{tag} is closed while {self.open[-1:]} is open")
            return
        self.open.pop()
        words = " ".join("".join(self.sinks.pop()[1]).split())
        self._end(tag, words)

    def handle_data(self, data: str) -> None:
        for _, sink in self.sinks:
            sink.append(data)
        if "title" not in self.open:
            self.page.text += data

    def _note(self, tag: str, given: dict[str, str | None]) -> None:
        page = self.page
        page.tags.add(tag)
        page.attributes |= set(given)
        classes = (given.get("class") or "").split()
        if tag == "html":
            page.language = given.get("lang")
        if given.get("http-equiv") == "Content-Security-Policy":
            page.policy = given.get("content")
        if tag in LANDMARKS:
            page.landmarks.add(tag)
        if given.get("id"):
            page.ids.append(given["id"] or "")
        page.references += (given.get("aria-labelledby") or "").split()
        if tag == "a":
            page.links.append(given.get("href") or "")
        if tag == "link":
            page.sources.append(given.get("href") or "")
        if given.get("src"):
            page.sources.append(given["src"] or "")
        self._note_figures(tag, given, classes)

    def _note_figures(self, tag: str, given: dict[str, str | None], classes: list[str]) -> None:
        page = self.page
        if tag == "table":
            page.tables.append(TableOnPage())
        if tag == "th":
            page.tables[-1].scopes.append(given.get("scope"))
        if tag == "tr" and "tbody" in self.open:
            page.tables[-1].rows.append([])
        if tag == "data":
            page.figures.append(Figure(given.get("value") or "", "derived" in classes))
        if "chart__row" in classes:
            self.row = Bar()
            page.bars.append(self.row)
        if self.row is not None and tag == "svg":
            self.row.is_hidden_from_readers = given.get("aria-hidden") == "true"
        if self.row is not None and tag == "rect":
            self.row.widths.append(given.get("width") or "")
        if self.row is not None and tag == "line":
            self.row.is_dotted |= "bar__unknown" in classes
            self.row.is_marked |= "bar__mark" in classes

    def _end(self, tag: str, words: str) -> None:
        page = self.page
        if tag == "title":
            page.title = words
        elif tag in ("h1", "h2", "h3", "h4"):
            page.headings.append((int(tag[1]), words))
        elif tag == "caption":
            page.tables[-1].caption = words
        elif tag == "th" and "thead" in self.open:
            page.tables[-1].headings.append(words)
        elif tag in ("th", "td"):
            page.tables[-1].rows[-1].append(words)
        elif tag == "data":
            page.figures[-1].words = words
        elif self.row is not None and tag == "span" and not self.row.name:
            self.row.name = words
        elif self.row is not None and tag == "li":
            self.row.words = words
            self.row = None
