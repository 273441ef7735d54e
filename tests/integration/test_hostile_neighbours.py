"""Hostile files hurt nobody: each is contained in memory and time, in a process of its own, while the return of another project is accepted."""

from __future__ import annotations

import io
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from pipeline.adapters.frictionless_checks import FrictionlessChecker
from pipeline.adapters.reader import ContainedReader
from pipeline.application import register, submissions
from pipeline.application.services import Services
from pipeline.domain.submission import SubmissionKey
from tests.corpus.delivered import SHEET, laughs, overlapping
from tests.corpus.making import CANARY, archive, book_bytes, csv_bytes, good_tables, with_parts, zip_bytes
from tests.factories import DEFINITIONS, World

MEMORY_MB, SECONDS = 1024, 30
MEGABYTE = 1024 * 1024
PATIENT = SubmissionKey("P2", "2024-Q1")


def dimension_bomb() -> bytes:
    """A few kilobytes that say they are 17 billion cells."""
    far = b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>'
    return with_parts(book_bytes(), {SHEET: lambda part: part.replace(b'ref="A1:H3"', b'ref="A1:XFD1048576"').replace(b"</sheetData>", far)})


def tall_sheet() -> bytes:
    """A sheet within what a sheet may span, whose grid does not fit into the memory of a reader."""
    return with_parts(
        book_bytes(), {SHEET: lambda part: part.replace(b"</sheetData>", b'<row r="1048576"><c r="S1048576"><v>1</v></c></row></sheetData>')}
    )


def zip_bomb() -> bytes:
    """Four hundred megabytes of blanks in four hundred kilobytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed, packed.open("outcomes.csv", "w", force_zip64=True) as member:
        for _ in range(400):
            member.write(b" " * MEGABYTE)
    return buffer.getvalue()


def billion_laughs() -> bytes:
    return with_parts(book_bytes(), {SHEET: lambda part: b"<!DOCTYPE worksheet [" + laughs() + b"]>" + part.replace(f"{CANARY}-1".encode(), b"&l9;")})


def wrong_dimension() -> bytes:
    rows = good_tables()["outcomes"]
    tables = {**good_tables(), "outcomes": [rows[0], *([f"{CANARY}-O{at}", *rows[1][1:]] for at in range(999))]}
    return with_parts(book_bytes(tables), {SHEET: lambda part: part.replace(b'ref="A1:H1000"', b'ref="A1:H2"')})


def unclosed_quote() -> bytes:
    rows = good_tables()["outcomes"]
    return csv_bytes([rows[0], rows[1]]) + b'"' + csv_bytes([rows[2], rows[1]])


def one_long_line() -> bytes:
    """A megabyte of columns."""
    return archive({"outcomes.csv": b"outcome_ref" + b"," * MEGABYTE})


HOSTILE: dict[Callable[[], bytes], set[str]] = {
    dimension_bomb: {"F-017"},
    tall_sheet: {"F-014", "F-015", "F-031"},
    zip_bomb: {"F-018"},
    billion_laughs: {"F-016"},
    overlapping: {"F-013"},
    wrong_dimension: {"F-078"},
    unclosed_quote: {"F-022"},
    one_long_line: {"F-034"},
}
"""The rules of which one must be found. Whether a grid is too much for the memory, or only for the sheet, depends on the machine."""


@contextmanager
def watching_memory() -> Iterator[list[int]]:
    """Give a list that holds, at its end, the most memory that a child process was seen to hold, in MB."""
    most, is_over = [0], threading.Event()

    def watch() -> None:
        while not is_over.wait(0.02):
            for process in psutil.Process().children():
                try:
                    most[0] = max(most[0], process.memory_info().rss // MEGABYTE)
                except psutil.Error:
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield most
    finally:
        is_over.set()
        watcher.join()


def send_all(services: Services, folder: Path, seen: dict[str, tuple[set[str], float]], is_first: threading.Event) -> None:
    for number, make in enumerate(HOSTILE):
        delivery = folder / f"{number}.upload"
        delivery.write_bytes(make())
        start = time.monotonic()
        is_first.set()
        _, judged = submissions.submit(services, delivery, SubmissionKey("P1", "2024-Q1"))
        seen[make.__name__] = (set(judged.report.counts), time.monotonic() - start)


def test_hostile_files_are_contained_while_another_return_is_accepted(tmp_path: Path) -> None:
    world = World()
    register.load_register(world.services("steward"), tmp_path)
    services = world.services("team", reader=ContainedReader(DEFINITIONS, MEMORY_MB, SECONDS), structure=FrictionlessChecker(DEFINITIONS))
    good = tmp_path / "good.zip"
    tables = good_tables()
    tables["cover"][1][0] = "P2"
    for table in ("outcomes", "payments"):
        for row in tables[table][1:]:
            row[2] = "P2-M1"
    good.write_bytes(zip_bytes(tables))

    seen: dict[str, tuple[set[str], float]] = {}
    is_first = threading.Event()
    attacker = threading.Thread(target=send_all, args=(services, tmp_path, seen, is_first))
    with watching_memory() as most:
        attacker.start()
        is_first.wait()
        start = time.monotonic()
        _, judged = submissions.submit(services, good, PATIENT)
        taken, was_under_attack = time.monotonic() - start, attacker.is_alive()
        attacker.join()

    assert judged.report.passed, judged.report.counts
    assert was_under_attack
    assert taken < SECONDS
    assert seen.keys() == {make.__name__ for make in HOSTILE}
    for make, rules in HOSTILE.items():
        found, seconds = seen[make.__name__]
        assert found & rules, (make.__name__, found)
        assert seconds < SECONDS, make.__name__
    assert 10 < most[0] < MEMORY_MB
    assert PATIENT.stream in {recorded.stream for recorded in world.events if recorded.event.name == "submission.accepted"}
