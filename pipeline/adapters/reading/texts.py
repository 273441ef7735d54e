"""What a CSV file is written in: its encoding, its line ends, the sign between its columns. Says what it found, and never guesses in silence.

UTF-16 and Windows-1252 are written out as UTF-8 first, so that both readers of the rows see the same bytes.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from pipeline.adapters.reading.canonical import Findings

Opener = Callable[[], IO[bytes]]

BLOCK_BYTES = 8 * 1024 * 1024
UTF8_MARK, UTF32_MARKS = codecs.BOM_UTF8, (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
UTF16_MARKS = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
WINDOWS = "cp1252"
UNDEFINED_IN_WINDOWS = frozenset(b"\x81\x8d\x8f\x90\x9d")
SEPARATOR_LINE = re.compile(rb"(?:\xef\xbb\xbf)?sep=([^\r\n])(?:\r\n|\r|\n)", re.IGNORECASE)
SIGNS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a vertical bar"}
"""Our words for the signs that may stand between columns."""


@dataclass(frozen=True, kw_only=True)
class Text:
    """A CSV file as both readers get it: UTF-8, from its first heading on. `separator` is what its first line announced, if it announced one."""

    opener: Opener
    separator: str | None
    has_unusual_ends: bool


@dataclass
class _Look:
    """What one pass over the bytes saw. Rows count lines from 1; 0 is none."""

    lines: int = 1
    is_blank: bool = True
    first_foreign: int = 0
    is_windows: bool = True
    has_multibyte: bool = False
    ends: dict[bytes, int] = field(default_factory=lambda: {b"\r\n": 0, b"\n": 0, b"\r": 0})


def prepare(opener: Opener, table: str, folder: Path, findings: Findings) -> Text:
    """Return the text of a file, or refuse what is not text with something in it."""
    with opener() as file:
        head = file.read(4)
    if head.startswith(UTF32_MARKS):
        findings.refuse("F-021", table=table)
    for mark, encoding in UTF16_MARKS.items():
        if head.startswith(mark):
            findings.add("F-051", table=table, row=1)
            opener = _written_anew(opener, encoding, len(mark), table, folder, findings)
    look = _look_through(opener, table, findings)
    if look.is_blank:
        findings.refuse("F-001", table=table)
    if look.first_foreign:
        if look.has_multibyte or not look.is_windows or look.first_foreign == 1:
            findings.refuse("F-020", table=table, row=look.first_foreign)
        findings.add("F-052", table=table, row=look.first_foreign)
        opener = _written_anew(opener, WINDOWS, 0, table, folder, findings)
    if head.startswith(UTF8_MARK):
        findings.add("F-050", table=table, row=1)
    opener, separator = _without_separator_line(opener, table, findings)
    has_unusual_ends = bool(look.ends[b"\r"] or (look.ends[b"\r\n"] and look.ends[b"\n"]))
    return Text(opener=opener, separator=separator, has_unusual_ends=has_unusual_ends)


def _look_through(opener: Opener, table: str, findings: Findings) -> _Look:
    """Go over all bytes once. A file that holds no byte beyond ASCII is only counted."""
    look, rest = _Look(), b""
    with opener() as file:
        while block := file.read(BLOCK_BYTES):
            block = rest + block
            # A block ends where a line does, so that no sign and no line end is cut in two.
            cut = max(block.rfind(b"\n"), block.rfind(b"\r", 0, -1)) + 1
            block, rest = block[:cut], block[cut:]
            _look_at(block, look, table, findings)
    _look_at(rest, look, table, findings)
    return look


def _look_at(block: bytes, look: _Look, table: str, findings: Findings) -> None:
    if b"\0" in block:
        findings.refuse("F-021", table=table, row=look.lines + _lines_in(block[: block.index(b"\0")]))
    if not block.isascii():
        _look_at_foreign(block, look)
    look.is_blank = look.is_blank and not block.removeprefix(UTF8_MARK).strip()
    feeds, returns = block.count(b"\n"), block.count(b"\r")
    both = block.count(b"\r\n") if returns else 0
    look.ends[b"\r\n"] += both
    look.ends[b"\n"] += feeds - both
    look.ends[b"\r"] += returns - both
    look.lines += feeds or returns


def _lines_in(block: bytes) -> int:
    return block.count(b"\n") or block.count(b"\r")


def _look_at_foreign(block: bytes, look: _Look) -> None:
    """Take down where the first byte stands that is not UTF-8, and whether all such bytes mean something in Windows-1252."""
    try:
        text = block.decode("utf-8")
    except UnicodeDecodeError as error:
        look.first_foreign = look.first_foreign or look.lines + _lines_in(block[: error.start])
    else:
        look.has_multibyte = look.has_multibyte or not text.removeprefix("\ufeff").isascii()
        return
    kept = block.removeprefix(UTF8_MARK)
    look.has_multibyte = look.has_multibyte or kept is not block or not kept.decode("utf-8", "ignore").isascii()
    look.is_windows = look.is_windows and not UNDEFINED_IN_WINDOWS & set(kept)


def _written_anew(opener: Opener, encoding: str, skipped: int, table: str, folder: Path, findings: Findings) -> Opener:
    """Write a file out as UTF-8 beside the answer, and return what opens that."""
    path = folder / f"{table or 'delivery'}.utf-8"
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    lines = 1
    with opener() as file, path.open("wb") as copy:
        file.read(skipped)
        while True:
            block = file.read(BLOCK_BYTES)
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError:
                findings.refuse("F-020", table=table, row=lines)
            lines += text.count("\n")
            copy.write(text.encode("utf-8", "strict"))
            if not block:
                return lambda: path.open("rb")


def _without_separator_line(opener: Opener, table: str, findings: Findings) -> tuple[Opener, str | None]:
    """Leave out a first line such as `sep=;`, which a spreadsheet program takes as a hint and does not show."""
    with opener() as file:
        line = SEPARATOR_LINE.match(file.read(16))
    if line is None:
        return opener, None
    separator, offset = line[1].decode("latin-1"), line.end()
    if separator not in SIGNS:
        findings.refuse("F-026", table=table, row=1)
    findings.add("F-055", table=table, row=1)

    def after_line() -> IO[bytes]:
        file = opener()
        file.read(offset)
        return file

    return after_line, separator
