"""The bad files of the catalogue that are bad as files: their kind, encoding, headings, rows, cells, archive or workbook."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import openpyxl
from openpyxl.comments import Comment
from openpyxl.styles import Font
from openpyxl.utils.datetime import CALENDAR_MAC_1904

from tests.corpus.making import (
    BOOK,
    CANARY,
    OUTCOMES,
    SINGLE,
    ZIP,
    BadFile,
    archive,
    as_text,
    book_bytes,
    csv_bytes,
    good_tables,
    in_formats,
    put,
    with_parts,
    zip_bytes,
)

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
SHEET = "xl/worksheets/sheet3.xml"
ROWS = good_tables()["outcomes"]
TEXT = csv_bytes(ROWS)


def one(case: str, kind: str, content: bytes, rule: str, severity: str, **expected: Any) -> BadFile:
    return BadFile(case=case, kind=kind, content=content, rule=rule, severity=severity, **expected)


def encodings() -> Iterator[BadFile]:
    for name, content in {"empty": b"", "mark": b"\xef\xbb\xbf", "blanks": b" \r\n\t\r\n"}.items():
        yield one("B001" if not content else "B002", f"csv-{name}", content, "F-001", "refuse")
        yield one("B002", f"zip-{name}", zip_bytes(good_tables(), {"outcomes.csv": content}), "F-001", "refuse", table="outcomes")
    yield from as_text("B004", lambda text: b"\xef\xbb\xbf" + text, "F-050", "note")
    for encoding in ("utf-16", "utf-16-be"):
        mark = b"\xfe\xff" if encoding == "utf-16-be" else b""

        def in_utf16(text: bytes, mark: bytes = mark, encoding: str = encoding) -> bytes:
            return mark + text.decode().encode(encoding)

        yield from as_text("B005", in_utf16, "F-051", "note")
    for encoding in ("utf-16-le", "utf-16-be"):
        yield from as_text("B006", lambda text, encoding=encoding: text.decode().encode(encoding), "F-021", "refuse", row=1)
    for encoding in ("utf-32", "utf-32-be"):
        mark = b"\0\0\xfe\xff" if encoding == "utf-32-be" else b""
        yield from as_text("B011", lambda text, e=encoding, m=mark: m + text.decode().encode(e), "F-021", "refuse")
    yield from as_text("B011-ebcdic", lambda text: text.decode().encode("cp500"), "F-020", "refuse", row=1)
    yield from as_text("B007", lambda text: text.replace(b"-O2", b"-\xa35"), "F-052", "query", row=3)
    many = [*ROWS, *([f"{CANARY}-\u00e9{at}", *ROWS[1][1:]] for at in range(2000))]
    late = csv_bytes(many) + b"\xa3" + csv_bytes([ROWS[1]])
    yield one("B008", SINGLE, late, "F-020", "refuse", row=len(many) + 1)
    yield one("B009", ZIP, zip_bytes(good_tables(), {"outcomes.csv": late}), "F-020", "refuse", table="outcomes", row=len(many) + 1)
    for text in ("caf\u00c3\u00a9 " + CANARY, "it\u00e2\u20ac\u2122s " + CANARY, "\u00c2\u00a3 " + CANARY):
        yield from in_formats("B010", put("cover", 2, "comment", text), "F-053", "query", "cover", kinds=(ZIP, BOOK), row=2, column="comment")
    for separator, sign in ((";", "B012"), ("\t", "B013"), ("|", "B012-bar")):
        yield from as_text(sign, lambda _, s=separator: csv_bytes(ROWS, s), "F-054", "note", row=1)
        yield from as_text(f"{sign}-named", lambda _, s=separator: f"sep={s}\r\n".encode() + csv_bytes(ROWS, s), "F-055", "note", row=1)
    yield from as_text("B014", lambda text: b"sep=,\r\n" + text, "F-055", "note")
    yield from as_text("B014-unknown", lambda text: b"sep=:\r\n" + text, "F-026", "refuse", row=1)
    yield from as_text("B015", lambda text: text.replace(b"\r\n", b"\r"), "F-056", "note")
    yield from as_text("B015-mixed", lambda text: text.replace(b"\r\n", b"\n", 1), "F-056", "note")


def quotes_and_rows() -> Iterator[BadFile]:
    row = csv_bytes([ROWS[2]])
    yield from as_text("B016", lambda text: text.replace(b"-O2", b'-"O\n2"').replace(b'Zebedee-"O\n2"', b'"Zebedee\nO2"'), "F-023", "refuse", row=3)
    yield from as_text("B017", lambda text: text.replace(row, b'"' + row + row), "F-022", "refuse", row=3)
    yield from as_text("B017-two", lambda text: text + b'"x,\r\n' + row + b'y",' + b",".join([b"1"] * 7) + b"\r\n", "F-023", "refuse", row=4)
    yield from as_text("B018", lambda text: text.replace(b"-O2", b'-O"2'), "F-028", "refuse", table="outcomes", row=3, column="outcome_ref")
    yield from as_text("B018-after", lambda text: text.replace(b"Zebedee-O2", b'"Zebedee"-O2'), "F-022", "refuse", row=3)
    yield from as_text("B019", lambda text: text.replace(b"Zebedee-O2", b'"Zebedee\\"-O2"'), "F-022", "refuse", row=3)
    yield from as_text("B019-bare", lambda text: text.replace(b"Zebedee-O2", b'Zebedee\\"-O2'), "F-028", "refuse", row=3)
    yield from as_text("B020-short", lambda text: text.replace(b",tenancy_agreement", b"", 1), "F-024", "refuse", table="outcomes", row=2)
    yield from as_text("B020-long", lambda text: text.replace(b"tenancy_agreement", b"tenancy_agreement,x", 1), "F-024", "refuse", row=2)
    yield from as_text("B021", lambda text: text.replace(b"200.00", b"1,200.00"), "F-029", "refuse", table="payments", row=2)
    yield from as_text("B021-pounds", lambda text: text.replace(b"200.00", "\u00a31,200".encode()), "F-029", "refuse", table="payments", row=2)
    blank = [""] * len(OUTCOMES)
    yield from in_formats("B032", lambda tables: tables["outcomes"].insert(2, blank), "F-059", "note", "outcomes", accepted=True, kinds=(ZIP, BOOK))
    repeated = lambda tables: tables["outcomes"].insert(2, OUTCOMES)  # noqa: E731
    yield from in_formats("B031", repeated, "F-060", "error", "outcomes", row=3)
    for text in ("TOTAL", "Grand total", "Sub-total:", "Totals"):
        total = [text, *[""] * 6, f"{CANARY}-x"]
        yield from in_formats("B033", lambda tables, t=total: tables["outcomes"].append(t), "F-062", "error", "outcomes", row=4, column="outcome_ref")
    for text in ("EXAMPLE-1", "Example", "e.g. 17"):
        yield from in_formats("B034", put("outcomes", 2, "outcome_ref", text), "F-063", "error", "outcomes", row=2, column="outcome_ref")


def headings() -> Iterator[BadFile]:
    def heading(old: str, new: str, table: str = "outcomes") -> Any:
        return put(table, 1, old, new)

    yield from in_formats(
        "B003", lambda tables: [tables.update({n: tables[n][:1]}) for n in list(tables)[1:]], "D-012", "error", None, kinds=(ZIP, BOOK)
    )
    yield from in_formats("B022", heading("verified_on", "Outcome_Ref"), "F-033", "refuse", "outcomes", row=1, column="outcome_ref")
    for new in ("Outcome REF", " outcome_ref", "outcome\u00a0ref", "Outcome ref:", "outcome\nref"):
        case = "B023" if new == "Outcome REF" else "B024"
        kinds = (ZIP, BOOK) if "\n" not in new else (BOOK,)
        yield from in_formats(case, heading("outcome_ref", new), "F-057", "note", "outcomes", row=1, column="outcome_ref", kinds=kinds, accepted=True)
    reorder = lambda tables: [row.append(row.pop(0)) for row in tables["outcomes"]]  # noqa: E731
    yield from in_formats("B025", reorder, "F-058", "note", "outcomes", row=1, kinds=(ZIP, BOOK), accepted=True)
    for new in ("outcom_ref", "outcome_reff", "oucome_ref"):
        yield from in_formats("B026", heading("outcome_ref", new), "F-046", "refuse", "outcomes", row=1, column="A")
    missing = lambda tables: [row.pop() for row in tables["outcomes"]]  # noqa: E731
    yield from in_formats("B027", missing, "F-032", "refuse", "outcomes", row=1, column="evidence_type")

    def extra(name: str) -> Any:
        return lambda tables: [row.append(name if at == 0 else f"{CANARY} Smith") for at, row in enumerate(tables["outcomes"])]

    for name in (f"{CANARY}", "weather"):
        yield from in_formats("B028", extra(name), "F-031", "refuse", "outcomes", row=1, column="I")
    for name in ("client_name", "Surname", "DOB", "E-mail", "Telephone", "NI number", "NHS No", "Postcode", "Case notes", "dateOfBirth"):
        yield from in_formats("B028-personal", extra(name), "H-010", "refuse", "outcomes", row=1, column="I", kinds=(SINGLE, BOOK))
    yield from in_formats("B029", lambda tables: tables["outcomes"].pop(0), "F-030", "refuse", "outcomes", row=1, kinds=(ZIP, BOOK))
    yield one("B029", SINGLE, csv_bytes(ROWS[1:]), "F-030", "refuse", row=1)
    titles = lambda tables: tables["outcomes"].__setitem__(slice(0, 0), [[f"Return of {CANARY}"], [""], ["2024-Q1"]])  # noqa: E731
    yield from in_formats("B030", titles, "F-047", "refuse", "outcomes", row=4)
    for version in ("0", "2024"):
        yield from in_formats(
            "B035", put("cover", 2, "template_version", version), "S-110", "error", "cover", row=2, column="template_version", kinds=(ZIP, BOOK)
        )


def cells() -> Iterator[BadFile]:
    def outcome(case: str, text: str, rule: str, severity: str, **more: Any) -> Iterator[BadFile]:
        return in_formats(case, put("outcomes", 2, "outcome_ref", text), rule, severity, "outcomes", row=2, column="outcome_ref", **more)

    def comment(case: str, text: str, rule: str, severity: str) -> Iterator[BadFile]:
        return in_formats(case, put("cover", 2, "comment", text), rule, severity, "cover", row=2, column="comment", kinds=(ZIP, BOOK))

    for error in ("#REF!", "#N/A", "#DIV/0!", "#NAME?", "#VALUE!"):
        yield from in_formats("B059", put("payments", 2, "amount_gbp", error), "F-041", "refuse", "payments", row=2, column="amount_gbp")
    yield from outcome("B064", f" {CANARY}-O1", "F-064", "note")
    yield from outcome("B064-nbsp", f"{CANARY}-O1\u00a0", "F-064", "note")
    yield from outcome("B065", f"{CANARY}-\u0410\u0031", "F-065", "error")
    yield from outcome("B065-wide", f"{CANARY}-\uff11", "F-065", "error")
    yield from comment("B066", f"Zoe\u0301 {CANARY}", "F-066", "note")
    for sign in ("\u200b", "\u00ad", "\u2066", "\ufeff", "\u200e"):
        yield from outcome("B067", f"{CANARY}{sign}1", "F-067", "error", kinds=(SINGLE, BOOK))
    yield from comment("B078", f"{CANARY} \u202efdp.exe", "F-067", "error")
    for text in (f"=1+1+{CANARY}", f"+1+1{CANARY}", f"-2+3+{CANARY}", f"@SUM({CANARY})", f"\uff1d1+{CANARY}", f"\t=2*{CANARY}"):
        yield from outcome("B073", text, "F-070", "error", kinds=(SINGLE, BOOK))
        yield from comment("B073", text, "F-070", "error")
    for text in (
        f"=cmd|' /C calc'!{CANARY}",
        f'=HYPERLINK("http://x/?{CANARY}")',
        f'=WEBSERVICE("{CANARY}")',
        f"@x|'{CANARY}'!A0",
        f"-1+cmd|' {CANARY}'!A0",
    ):
        yield from outcome("B073-command", text, "F-071", "refuse", kinds=(ZIP, BOOK))
        yield from comment("B073-command", text, "F-071", "refuse")
    for text in (
        f"<script>{CANARY}</script>", f"<img src=x onerror={CANARY}>", f"{{{{7*7}}}} {CANARY}", f"${{{CANARY}}}",
        f"[{CANARY}](javascript:alert)", f"'; DROP TABLE {CANARY}", f"' or '1'='1 {CANARY}",
    ):  # fmt: skip
        yield from comment("B074", text, "F-072", "error")
    yield from in_formats("B075", put("outcomes", 2, "outcome_ref", f"{CANARY}\r\nADMIN ok"), "F-073", "error", "outcomes", kinds=(BOOK,), row=2)
    yield from as_text("B076", lambda text: text.replace(b"-O2", b"-\0O2"), "F-021", "refuse", row=3)
    for sign in ("\x1b", "\x07", "\x7f", "\x9b"):
        yield from outcome("B077", f"{CANARY}{sign}[2J", "F-068", "error", kinds=(SINGLE, ZIP))
    yield from as_text("B079", lambda text: text.replace(b"-O2", CANARY.encode() * 30_000), "F-025", "refuse", row=3)
    yield from comment("B079-short", f"{CANARY} " * 100, "S-112", "error")
    wide = lambda tables: [row.extend(["x"] * 300) for row in tables["outcomes"]]  # noqa: E731
    yield from in_formats("B080", wide, "F-034", "refuse", "outcomes")


def kinds() -> Iterator[BadFile]:
    compound = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
    refused = {
        "pdf": b"%PDF-1.7 " + CANARY.encode(), "html": b"<html>" + CANARY.encode(), "xml": b'<?xml version="1.0"?><a/>', "json": b'{"resources": []}',
        "gsheet": b'{"url": "https://docs.example/' + CANARY.encode() + b'"}', "list": b'[{"path": "/etc/passwd"}]', "yaml": b"---\nresources: []\n",
        "parquet": b"PAR1" + CANARY.encode(), "arrow": b"ARROW1\0\0", "pickle": b"\x80\x04\x95" + CANARY.encode(), "gzip": b"\x1f\x8b\x08\0",
        "7z": b"7z\xbc\xaf\x27\x1c", "rar": b"Rar!\x1a\x07", "bzip2": b"BZh91AY", "xz": b"\xfd7zXZ\0", "zstd": b"\x28\xb5\x2f\xfd",
        "png": b"\x89PNG\r\n", "jpeg": b"\xff\xd8\xff\xe0", "rtf": b"{\\rtf1 x}",
        "sqlite": b"SQLite format 3\0", "xls": compound + b"\0" * 600,
        "xlsb": archive({"xl/workbook.bin": b""}), "ods": archive({"mimetype": b"", "content.xml": b""}), "docx": archive({"word/document.xml": b""}),
        "pptx": archive({"ppt/presentation.xml": b""}), "zip": archive({f"{CANARY}.png": b""}), "nothing": archive({}),
    }  # fmt: skip
    for kind, content in refused.items():
        yield one("B100" if kind not in ("xls", "xlsb", "ods", "gsheet") else "B097", kind, content, "F-002", "refuse")
    yield one("B097", "xlsm", with_parts(book_bytes(), {"xl/vbaProject.bin": CANARY.encode()}), "F-003", "refuse")
    yield one("B098", "xlsx-locked", compound + "EncryptedPackage".encode("utf-16-le"), "F-004", "refuse")
    yield one(
        "B099", "xlsx-label", compound + b"\0" * 90 + "DataSpaces".encode("utf-16-le") + "EncryptedPackage".encode("utf-16-le"), "F-004", "refuse"
    )
    for kind, content in {"exe": b"MZ\x90\x00\x03", "elf": b"\x7fELF\x02", "script": b"#!/bin/sh\necho " + CANARY.encode()}.items():
        yield one("B100", kind, content, "F-006", "refuse")
    yield one("B101", "csv-zip", TEXT + archive({"x.txt": CANARY.encode()}), "F-007", "refuse")
    yield one("B101", "zip-zip", zip_bytes(good_tables())[:30] + zip_bytes(good_tables()), "F-007", "refuse")


def archives() -> Iterator[BadFile]:
    yield one("B094-nested", ZIP, zip_bytes(good_tables(), {"more.zip": archive({"a.csv": b"x"})}), "F-019", "refuse")
    yield one("B094-book", ZIP, zip_bytes(good_tables(), {"return.xlsx": book_bytes()}), "F-019", "refuse")
    yield one("B094-members", ZIP, archive({f"{at}.csv": b"" for at in range(2000)}, zipfile.ZIP_STORED), "F-011", "refuse")
    for name in ("../outcomes.csv", "/outcomes.csv", "c:\\outcomes.csv", "a/../../outcomes.csv", "OUTCOMES.csv"):
        yield one("B094-name", ZIP, zip_bytes(good_tables(), {name: b"x"}), "F-013", "refuse")
    link = zipfile.ZipInfo("participants.csv")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        packed.writestr(link, "/etc/passwd")
    yield one("B094-link", ZIP, buffer.getvalue(), "F-013", "refuse")
    locked = bytearray(archive({"outcomes.csv": TEXT}))
    locked[6] |= 1
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    yield one("B094-locked", ZIP, bytes(locked), "F-005", "refuse")
    spoiled = bytearray(archive({"outcomes.csv": TEXT}, zipfile.ZIP_STORED))
    spoiled[60] ^= 1
    yield one("B094-crc", ZIP, bytes(spoiled), "F-015", "refuse")
    whole = zip_bytes(good_tables())
    yield one("B094-cut", ZIP, whole[: len(whole) // 2], "F-015", "refuse")
    yield one("B094-overlap", ZIP, overlapping(), "F-013", "refuse")
    yield one("B093", ZIP, archive({"outcomes.csv": b" " * 20_000_000}), "F-018", "refuse")
    yield one("B093", BOOK, with_parts(book_bytes(), {"xl/worksheets/big.xml": b" " * 20_000_000}), "F-018", "refuse")
    yield one("B090", ZIP, zip_bytes(good_tables(), {"old/outcomes.csv": TEXT}), "F-037", "refuse", table="outcomes")
    yield one("B090", BOOK, book_bytes({**good_tables(), "Outcomes ": ROWS}), "F-037", "refuse", table="outcomes")
    yield one("B028-file", ZIP, zip_bytes(good_tables(), {f"{CANARY}.txt": b"x"}), "F-036", "error")


def overlapping() -> bytes:
    """Return an archive of two entries that share one stretch of bytes."""
    content = bytearray(archive({"outcomes.csv": TEXT, "payments.csv": b"payment_ref"}))
    second = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 4)
    struct.pack_into("<I", content, second + 42, 0)
    return bytes(content)


def workbooks() -> Iterator[BadFile]:
    def book(case: str, change: Any, rule: str, severity: str, **expected: Any) -> BadFile:
        return one(case, BOOK, book_bytes(change=change), rule, severity, **expected)

    def sheet(case: str, change: Any, rule: str, severity: str, **expected: Any) -> BadFile:
        return one(case, BOOK, with_parts(book_bytes(), {SHEET: change}), rule, severity, **expected)

    def formula(text: str) -> Any:
        return lambda book: setattr(book["outcomes"]["E2"], "value", text)

    def result(text: bytes) -> Any:
        return lambda part: part.replace(b'<c r="E2" t="inlineStr"><is><t>1</t></is></c>', b'<c r="E2"><f>' + text + b"</f><v>1</v></c>")

    place = {"table": "outcomes", "row": 2, "column": "E"}
    yield book("B082", formula("=1+1"), "F-042", "refuse", **place)
    yield sheet("B083", result(b"1"), "F-074", "query", **place)
    yield sheet("B073-formula", result(b'HYPERLINK("http://x")'), "F-071", "refuse", **place)
    yield book("B059-cell", error_cell, "F-041", "refuse", **place)
    yield book("B084", lambda b: b["outcomes"].merge_cells("A2:A3"), "F-043", "refuse", table="outcomes")
    yield book("B085-plain", hidden_sheet("lists of ours", [["nothing"]]), "F-038", "query")
    yield book("B036-sheet", lambda b: b.create_sheet(CANARY).append(["x"]), "F-036", "error")
    yield book("B086-very", lambda b: setattr(b["outcomes"], "sheet_state", "veryHidden"), "F-038", "query", table="outcomes", accepted=True)
    yield book("B086-rows", lambda b: setattr(b["outcomes"].row_dimensions[3], "hidden", True), "F-075", "query", table="outcomes", accepted=True)
    yield book(
        "B086-columns", lambda b: setattr(b["outcomes"].column_dimensions["C"], "hidden", True), "F-075", "query", table="outcomes", accepted=True
    )
    yield book("B086-filter", filtered, "F-076", "query", table="outcomes", accepted=True)
    yield book(
        "B086-white", lambda b: setattr(b["outcomes"]["A2"], "font", Font(color="FFFFFFFF")), "F-077", "query", table="outcomes", accepted=True
    )
    yield book("B086-format", lambda b: setattr(b["outcomes"]["A2"], "number_format", ";;;"), "F-077", "query", table="outcomes", accepted=True)
    yield book("B087-plain", lambda b: setattr(b["outcomes"]["A2"], "comment", Comment("checked", CANARY)), "F-044", "query", accepted=True)
    yield book("B040", lambda b: setattr(b, "epoch", CALENDAR_MAC_1904), "F-079", "query")
    for part in (
        "xl/externalLinks/externalLink1.xml",
        "xl/connections.xml",
        "xl/pivotCache/pivotCacheDefinition1.xml",
        "xl/embeddings/a.bin",
        "xl/model/item.data",
        "xl/media/image1.png",
        "xl/queryTables/q1.xml",
    ):
        yield one("B088", BOOK, with_parts(book_bytes(), {part: CANARY.encode()}), "F-048", "refuse")
    yield one("B088-properties", BOOK, with_parts(book_bytes(), {"customXml/item1.xml": CANARY.encode()}), "F-049", "note", accepted=True)
    yield sheet(
        "B091", lambda part: part.replace(b'<dimension ref="A1:H3"', b'<dimension ref="A1:H2"'), "F-078", "note", table="outcomes", accepted=True
    )
    far = b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>'
    yield sheet("B092", lambda part: part.replace(b"</sheetData>", far), "F-017", "refuse", table="outcomes")
    tall = b'<row r="1048576"><c r="Z1048576"><v>1</v></c></row></sheetData>'
    yield sheet("B080-far", lambda part: part.replace(b"</sheetData>", tall), "F-034", "refuse", table="outcomes")
    for name, entities in {"laughs": laughs(), "xxe": b'<!ENTITY x SYSTEM "file:///etc/passwd">'}.items():
        head = b"<!DOCTYPE worksheet [" + entities + b"]>"
        yield one("B095", f"xlsx-{name}", with_parts(book_bytes(), {SHEET: lambda part, head=head: head + part}), "F-016", "refuse")
    yield sheet("B095-dtd", lambda part: b'<!DOCTYPE worksheet SYSTEM "http://127.0.0.1/x.dtd">' + part, "F-016", "refuse")
    yield sheet("B096-string", lambda part: part.replace(b't="inlineStr"><is><t>1</t></is>', b't="s"><v>99999</v>', 1), "F-015", "refuse")
    yield sheet("B096-cut", lambda part: part[: len(part) // 2], "F-015", "refuse")
    yield one(
        "B096-types",
        BOOK,
        with_parts(book_bytes(), {"[Content_Types].xml": b"<Types/>", "xl/_rels/workbook.xml.rels": b"<Relationships/>"}),
        "F-015",
        "refuse",
    )
    yield sheet("B091-twice", twice, "F-027", "refuse", table="outcomes")
    yield book("B039-cover", lambda b: b.remove(b["cover"]), "F-040", "refuse", table="cover")
    yield book("B039-none", rename_all, "F-039", "refuse")


def error_cell(book: openpyxl.Workbook) -> None:
    cell = book["outcomes"]["E2"]
    cell.data_type, cell._value = "e", "#N/A"


def hidden_sheet(name: str, rows: list[list[str]]) -> Any:
    def change(book: openpyxl.Workbook) -> None:
        sheet = book.create_sheet(name)
        sheet.sheet_state = "hidden"
        for row in rows:
            sheet.append(row)

    return change


def filtered(book: openpyxl.Workbook) -> None:
    book["outcomes"].auto_filter.ref = "A1:H3"
    book["outcomes"].auto_filter.add_filter_column(5, ["verified"])


def rename_all(book: openpyxl.Workbook) -> None:
    for sheet in book.worksheets:
        sheet.title = f"{CANARY}{sheet.title}"


def laughs() -> bytes:
    names = [f"l{at}" for at in range(10)]
    return b'<!ENTITY l0 "lol">' + b"".join(f'<!ENTITY {name} "{f"&{before};" * 10}">'.encode() for before, name in pairwise(names))


def twice(part: bytes) -> bytes:
    row = part[part.index(b'<row r="2"') : part.index(b'<row r="3"')]
    return part.replace(row, row + row)


def bad_files() -> list[BadFile]:
    return [*encodings(), *quotes_and_rows(), *headings(), *cells(), *kinds(), *archives(), *workbooks()]
