"""What kind of file a delivery is, by its first bytes and never by its name, and whether an archive may be opened at all."""

from __future__ import annotations

import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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
    (b"SQLite format 3", "an SQLite database"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
    (b"\x7fELF", "a program"),
    (b"MZ\x90\x00", "a program"),
    (b"{\\rtf", "a text document"),
)
TEXT_SIGNATURES: tuple[tuple[bytes, str], ...] = ((b"<", "a web page or XML document"), (b"{", "a JSON document"), (b"[", "a JSON document"))
OFFICE_PARTS: tuple[tuple[str, str], ...] = (
    ("xl/workbook.bin", "a binary Excel workbook (.xlsb)"),
    ("word/document.xml", "a Word document"),
    ("ppt/presentation.xml", "a presentation"),
    ("content.xml", "an OpenDocument file (.ods)"),
)
COMPOUND = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
ENCRYPTED_PART = "EncryptedPackage".encode("utf-16-le")
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


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
    for signature, kind in SIGNATURES:
        if head.startswith(signature):
            findings.refuse("F-002", kind=kind)
    if head.startswith(UTF16_MARKS):
        findings.refuse("F-021")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for signature, kind in TEXT_SIGNATURES:
        if text.startswith(signature):
            findings.refuse("F-002", kind=kind)
    return "csv"


def _refuse_compound(delivery: Path, findings: Findings) -> None:
    """Refuse the container of Office before 2007, which also holds workbooks that are locked with a password."""
    if ENCRYPTED_PART in delivery.read_bytes():
        findings.refuse("F-004")
    findings.refuse("F-002", kind="an Excel workbook of before 2007 (.xls) or another old Office file")


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
            findings.refuse("F-002", kind=kind)
    if not any(name.endswith(".csv") for name in names):
        findings.refuse("F-002", kind="an archive without CSV files")
    return "archive"


def check_archive(archive: zipfile.ZipFile, size: int, caps: Caps, findings: Findings) -> None:
    """Refuse an archive that would unpack to too much, or whose entries are not plain files with plain names; nothing is unpacked."""
    entries = archive.infolist()
    if len(entries) > caps.members:
        findings.refuse("F-011", limit=caps.members)
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > caps.unpacked_mb * MEGABYTE:
        findings.refuse("F-012", limit=caps.unpacked_mb)
    if unpacked > SMALL_ARCHIVE_MB * MEGABYTE and unpacked > caps.ratio * size:
        findings.refuse("F-012", limit=caps.unpacked_mb)
    if sum(entry.compress_size for entry in entries) > size or len({entry.filename.casefold() for entry in entries}) < len(entries):
        findings.refuse("F-013", position=0)
    for position, entry in enumerate(entries, start=1):
        if not _is_plain(entry):
            findings.refuse("F-013", position=position)


def _is_plain(entry: zipfile.ZipInfo) -> bool:
    name, mode = entry.filename.replace("\\", "/"), entry.external_attr >> 16
    is_inside = not name.startswith("/") and ":" not in name and ".." not in name.split("/") and "\0" not in entry.orig_filename
    is_regular = stat.S_IFMT(mode) in (0, stat.S_IFREG, stat.S_IFDIR)
    return is_inside and is_regular and not entry.flag_bits & 0x1
