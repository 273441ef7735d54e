"""How the bad files of the corpus are made: a good return, one mistake, and the formats that it can be made in. Nothing is stored."""

from __future__ import annotations

import base64
import copy
import io
import json
import urllib.parse
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import openpyxl

CANARY = "Zebedee"
"""Stands in every reference and every text of a bad file, beside what is planted in it."""

SINGLE, ZIP, BOOK = "csv", "zip", "xlsx"
Rows = list[list[Any]]
Tables = dict[str, Rows]
Change = Callable[[Tables], Any]

COVER = ["project_id", "quarter", "template_version", "is_nil_return", "comment"]
PARTICIPANTS = ["participant_ref", "started_on", "left_on", "cohort", "age_band", "gender", "ethnicity", "local_authority"]
OUTCOMES = ["outcome_ref", "participant_ref", "metric_id", "achieved_on", "quantity", "status", "verified_on", "evidence_type"]
PAYMENTS = ["payment_ref", "payer_id", "metric_id", "basis", "period_start", "period_end", "quantity", "amount_gbp", "paid_on", "reason"]


@dataclass(frozen=True, kw_only=True)
class BadFile:
    """One file with one mistake, and what must be found: a rule of a severity, at a place. None is a place that the case leaves open.

    `rows` is what an independent count of its filled rows gives, headings and cover apart; None where the file has no rows to count.
    """

    case: str
    kind: str
    content: bytes
    rule: str
    severity: str
    table: str | None = None
    row: int | None = None
    column: str | None = None
    rows: int | None = None
    planted: tuple[str, ...] = ()
    accepted: bool = False

    @property
    def name(self) -> str:
        return f"{self.case}-{self.kind}-{self.rule}"


def good_tables() -> Tables:
    """Return the tables of a return of P1 for 2024-Q1 that passes: three people, two outcomes, one payment."""
    people = [[f"{CANARY}-{at}", "2024-01-10", "", "", "18_to_24", "female", "white", "E08000003"] for at in range(1, 4)]
    outcomes = [
        [f"{CANARY}-O{at}", f"{CANARY}-{at}", "P1-M1", "2024-01-20", "1", "verified", "2024-01-25", "tenancy_agreement"] for at in range(1, 3)
    ]
    payments = [[f"{CANARY}-P1", "PAYER", "P1-M1", "outcome", "2024-01-01", "2024-01-28", "2", "200.00", "", ""]]
    return {
        "cover": [COVER, ["P1", "2024-Q1", "1", "no", ""]],
        "participants": [PARTICIPANTS, *people],
        "outcomes": [OUTCOMES, *outcomes],
        "payments": [PAYMENTS, *payments],
    }


def changed(*changes: Change) -> Tables:
    tables = copy.deepcopy(good_tables())
    for change in changes:
        change(tables)
    return tables


def put(table: str, row: int, column: str, value: Any) -> Change:
    """Put a value into a cell; the heading is row 1."""

    def change(tables: Tables) -> None:
        tables[table][row - 1][good_tables()[table][0].index(column)] = value

    return change


def csv_bytes(rows: Rows, separator: str = ",", line_end: str = "\r\n", encoding: str = "utf-8") -> bytes:
    def cell(value: Any) -> str:
        text = str(value)
        return f'"{text.replace(chr(34), chr(34) * 2)}"' if any(sign in text for sign in (separator, '"', "\n", "\r")) else text

    return "".join(separator.join(map(cell, row)) + line_end for row in rows).encode(encoding)


def archive(members: Mapping[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", how) as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return buffer.getvalue()


def zip_bytes(tables: Tables, replaced: Mapping[str, bytes] | None = None) -> bytes:
    members = {f"{name}.csv": csv_bytes(rows) for name, rows in tables.items()}
    return archive({**members, **(replaced or {})})


def book_of(tables: Tables) -> openpyxl.Workbook:
    book = openpyxl.Workbook()
    del book["Sheet"]
    for name, rows in tables.items():
        sheet = book.create_sheet(name)
        for row, cells in enumerate(rows, start=1):
            for column, value in enumerate(cells, start=1):
                if value != "":
                    cell = sheet.cell(row, column)
                    if isinstance(value, str):
                        cell.data_type, cell._value = "s", value  # as text, whatever it begins with
                    else:
                        cell.value = value
    return book


def saved(book: openpyxl.Workbook) -> bytes:
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def book_bytes(tables: Tables | None = None, change: Callable[[openpyxl.Workbook], Any] = lambda _: None) -> bytes:
    book = book_of(tables or good_tables())
    change(book)
    return saved(book)


def with_parts(content: bytes, parts: Mapping[str, Callable[[bytes], bytes] | bytes]) -> bytes:
    """Return a workbook with parts rewritten or added."""
    buffer, done = io.BytesIO(), set()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            part = parts.get(name)
            done.add(name)
            new.writestr(name, old.read(name) if part is None else part if isinstance(part, bytes) else part(old.read(name)))
        for name, part in parts.items():
            if name not in done and isinstance(part, bytes):
                new.writestr(name, part)
    return buffer.getvalue()


def count_rows(tables: Tables) -> int:
    return sum(any(str(cell).strip() for cell in row) for name, rows in tables.items() if name != "cover" for row in rows[1:])


def in_formats(
    case: str,
    change: Change | Sequence[Change],
    rule: str,
    severity: str,
    table: str | None,
    *,
    kinds: Sequence[str] = (SINGLE, ZIP, BOOK),
    **expected: Any,
) -> Iterator[BadFile]:
    """Yield one mistake in the cells of a table, in each format; a single CSV is that table alone."""
    tables = changed(*([change] if callable(change) else change))
    for kind in kinds:
        given = {table: tables[table]} if kind == SINGLE and table else tables
        content = csv_bytes(given[table]) if kind == SINGLE and table else zip_bytes(tables) if kind == ZIP else book_bytes(tables)
        yield BadFile(case=case, kind=kind, content=content, rule=rule, severity=severity, table=table, rows=count_rows(given), **expected)


def as_text(case: str, change: Callable[[bytes], bytes], rule: str, severity: str, table: str = "outcomes", **expected: Any) -> Iterator[BadFile]:
    """Yield one mistake in the bytes of a CSV file, alone and in an archive."""
    tables = good_tables()
    content = change(csv_bytes(tables[table]))
    yield BadFile(case=case, kind=SINGLE, content=content, rule=rule, severity=severity, **expected)
    yield BadFile(case=case, kind=ZIP, content=zip_bytes(tables, {f"{table}.csv": content}), rule=rule, severity=severity, **expected)


def spellings(secret: str) -> Iterator[bytes]:
    """Yield the forms in which a text may come through."""
    for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
        plain = secret.encode(encoding)
        yield from (plain, plain.hex().encode(), base64.b64encode(plain).rstrip(b"=")[:-1])
    yield urllib.parse.quote(secret).encode()
    yield urllib.parse.quote_plus(secret).encode()
    yield json.dumps(secret)[1:-1].encode()
    yield repr(secret)[1:-1].encode()
