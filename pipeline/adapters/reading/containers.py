"""What kind of file a delivery is, by its first bytes and never by its name, and whether an archive may be opened at all."""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal, NoReturn

from pipeline.adapters.reading.canonical import Findings

Kind = Literal["workbook", "archive", "csv"]

MEGABYTE = 1024 * 1024
HEAD_BYTES = 8192
SMALL_ARCHIVE_MB = 10
"""Below this an archive may be as dense as it likes: nothing that small can hurt."""

SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "a PDF document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"\x80\x02", "a pickle of Python"),
    (b"\x80\x03", "a pickle of Python"),
    (b"\x80\x04", "a pickle of Python"),
    (b"\x80\x05", "a pickle of Python"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
    (b"{\\rtf", "a text document"),
)
PROGRAMS = (b"\x7fELF", b"MZ\x90\x00", b"MZ\x00", b"#!", b"\xca\xfe\xba\xbe", b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe")
TEXT_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"<", "a web page or XML document"),
    (b"{", "a JSON document or the link to an online spreadsheet"),
    (b"[", "a JSON document"),
    (b"---", "a YAML document"),
    (b"%YAML", "a YAML document"),
)
ADVICE: Mapping[str, str] = {
    "a binary Excel workbook (.xlsb)": "In Excel: Save as, Excel workbook (.xlsx).",
    "an OpenDocument file (.ods)": "In LibreOffice: Save as, Excel 2007-365 (.xlsx).",
    "an Excel workbook of before 2007 (.xls) or another old Office file": "In Excel: Save as, Excel workbook (.xlsx).",
    "a PDF document": "Send the workbook from which it was made.",
    "a picture": "Send the workbook, not a picture of it.",
    "a Word document": "Copy the tables into the template.",
    "a JSON document or the link to an online spreadsheet": "In Google Sheets: File, Download, Microsoft Excel (.xlsx).",
    "a web page or XML document": "Open it in a spreadsheet program: Save as, Excel workbook (.xlsx).",
    "an archive without CSV files": "Put the CSV files of the return into it, and nothing else.",
}
"""What to do with a kind of file that people send in good faith."""
OFFICE_PARTS: tuple[tuple[str, str], ...] = (
    ("xl/workbook.bin", "a binary Excel workbook (.xlsb)"),
    ("word/document.xml", "a Word document"),
    ("ppt/presentation.xml", "a presentation"),
    ("content.xml", "an OpenDocument file (.ods)"),
)
COMPOUND = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
ENCRYPTED_PART = "EncryptedPackage".encode("utf-16-le")
DIRECTORY_BYTES = 65_557
"""How far from the end of an archive its directory may end: 22 bytes and the longest comment."""
LOCAL_HEADER_BYTES = 30


@dataclass(frozen=True, kw_only=True)
class Caps:
    """What a delivery may hold at most. Not policy but protection: a real return of a million rows stays well below."""

    file_mb: int = 200
    members: int = 100
    unpacked_mb: int = 500
    ratio: int = 200
    columns: int = 200
    cells: int = 20_000_000


def recognise(delivery: Path, caps: Caps, findings: Findings) -> Kind:
    """Return the kind of a delivery that can be read; anything else is refused with what it is."""
    if delivery.stat().st_size > caps.file_mb * MEGABYTE:
        findings.refuse("F-010", limit=caps.file_mb)
    with delivery.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if head.startswith(COMPOUND):
        _refuse_compound(delivery, findings)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _recognise_archive(delivery, caps, findings)
    if head.startswith(PROGRAMS):
        findings.refuse("F-006")
    for signature, kind in SIGNATURES:
        if head.startswith(signature):
            _refuse_kind(kind, findings)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for signature, kind in TEXT_SIGNATURES:
        if text.startswith(signature):
            _refuse_kind(kind, findings)
    if _has_archive_at_end(delivery):
        findings.refuse("F-007")
    return "csv"


def _refuse_kind(kind: str, findings: Findings) -> NoReturn:
    findings.refuse("F-002", kind=kind, advice=ADVICE.get(kind, "Send the workbook or the CSV files of the return themselves."))


def _has_archive_at_end(delivery: Path) -> bool:
    """Say whether an archive was hidden behind something else: its directory stands in the last 64 kB of a file, wherever the file begins."""
    with delivery.open("rb") as file:
        file.seek(-min(delivery.stat().st_size, DIRECTORY_BYTES), os.SEEK_END)
        return b"PK\x05\x06" in file.read()


def _refuse_compound(delivery: Path, findings: Findings) -> NoReturn:
    """Refuse the container of Office before 2007, which also holds workbooks that are locked with a password."""
    if ENCRYPTED_PART in delivery.read_bytes():
        findings.refuse("F-004")
    _refuse_kind("an Excel workbook of before 2007 (.xls) or another old Office file", findings)


def _recognise_archive(delivery: Path, caps: Caps, findings: Findings) -> Kind:
    with zipfile.ZipFile(delivery) as archive:
        check_archive(archive, delivery.stat().st_size, caps, findings)
        names = {name.casefold() for name in archive.namelist()}
    if any(name.endswith("vbaproject.bin") for name in names):
        findings.refuse("F-003")
    if {"[content_types].xml", "xl/workbook.xml"} <= names:
        return "workbook"
    for part, kind in OFFICE_PARTS:
        if part in names:
            _refuse_kind(kind, findings)
    if not any(name.endswith(".csv") for name in names):
        _refuse_kind("an archive without CSV files", findings)
    return "archive"


def check_archive(archive: zipfile.ZipFile, size: int, caps: Caps, findings: Findings) -> None:
    """Refuse an archive that would unpack to too much, or whose entries are not plain files with plain names; nothing is unpacked."""
    entries = archive.infolist()
    if len(entries) > caps.members:
        findings.refuse("F-011", limit=caps.members)
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > SMALL_ARCHIVE_MB * MEGABYTE and unpacked > caps.ratio * size:
        findings.refuse("F-018", limit=caps.ratio)
    if unpacked > caps.unpacked_mb * MEGABYTE:
        findings.refuse("F-012", limit=caps.unpacked_mb)
    if len({entry.filename.casefold() for entry in entries}) < len(entries) or _overlap(entries, size):
        findings.refuse("F-013", position=0)
    if min((entry.header_offset for entry in entries), default=0) > 0:
        findings.refuse("F-007")
    for position, entry in enumerate(entries, start=1):
        if entry.flag_bits & 0x1:
            findings.refuse("F-005", position=position)
        if not _is_plain(entry):
            findings.refuse("F-013", position=position)


def _overlap(entries: Sequence[zipfile.ZipInfo], size: int) -> bool:
    """Say whether two entries share bytes, so that a small archive unpacks to a large one."""
    stretches = sorted((entry.header_offset, entry.header_offset + LOCAL_HEADER_BYTES + entry.compress_size) for entry in entries)
    return any(before[1] > after[0] for before, after in pairwise([*stretches, (size, size)]))


def _is_plain(entry: zipfile.ZipInfo) -> bool:
    name, mode = entry.filename.replace("\\", "/"), entry.external_attr >> 16
    is_inside = not name.startswith("/") and ":" not in name and ".." not in name.split("/") and "\0" not in entry.orig_filename
    is_regular = stat.S_IFMT(mode) in (0, stat.S_IFREG, stat.S_IFDIR)
    return is_inside and is_regular
