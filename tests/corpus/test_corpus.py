"""Every bad file is found out by its rule, at its place, as gravely as stated. Nothing crashes, no row is lost, nothing is repeated."""

from __future__ import annotations

import base64
import json
import logging
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from pipeline.adapters.frictionless_checks import FrictionlessChecker
from pipeline.adapters.reader import ContainedReader
from pipeline.adapters.reading import child
from pipeline.application import register, submissions
from pipeline.domain.events import SubmissionAccepted
from pipeline.domain.findings import BLOCKING, Severity
from pipeline.stages import validation
from tests.corpus import delivered, personal
from tests.corpus.making import BOOK, CANARY, SINGLE, ZIP, BadFile, book_bytes, changed, count_rows, csv_bytes, good_tables, spellings, zip_bytes
from tests.factories import DEFINITIONS, KEY, Checker, World

FILES = [*delivered.bad_files(), *personal.bad_files()]
EVERY = 20
"""How many files go by for each that is read in the real child process."""


class InProcessReader(ContainedReader):
    """The same reader without the containment: starting a process for each of hundreds of files would take minutes."""

    def _run(self, folder: Path, *_: object) -> None:
        child.answer_request(folder, json.loads((folder / child.REQUEST).read_text("utf-8")))


@cache
def registered() -> World:
    world = World()
    register.load_register(world.services("steward"), Path())
    return world


def submit(content: bytes, folder: Path, *, contained: bool = False, is_structured: bool = True) -> tuple[World, submissions.Judged]:
    world = registered().copy()
    reader = (ContainedReader if contained else InProcessReader)(DEFINITIONS, memory_mb=1024, seconds=30)
    delivery = folder / "P1_2024-Q1.upload"
    delivery.write_bytes(content)
    services = world.services("team", reader=reader, structure=FrictionlessChecker(DEFINITIONS) if is_structured else Checker())
    _, judged = submissions.submit(services, delivery, KEY)
    return world, judged


def assert_nothing_is_repeated(bad: BadFile, world: World, judged: submissions.Judged, caplog: pytest.LogCaptureFixture) -> None:
    said = b"\n".join(
        [
            judged.report.to_bytes(),
            "\n".join(validation.describe(judged.report)).encode(),
            json.dumps(judged.report.to_document()).encode(),
            *world.log.documents,
            *(record.getMessage().encode() for record in caplog.records),
        ]
    )
    for secret in (CANARY, *bad.planted):
        for spelling in spellings(secret):
            assert spelling not in said, f"{bad.name} repeats what it was given"


def assert_rows_are_conserved(bad: BadFile, world: World, judged: submissions.Judged) -> None:
    """Every row became a fact or was blank, or the whole return was refused and none did."""
    accepted = [recorded.event for recorded in world.events if isinstance(recorded.event, SubmissionAccepted)]
    assert bool(accepted) == judged.report.passed
    counted = sum(table.delivered - table.blank for table in judged.report.tables if table.table != "cover")
    if bad.rows is not None and not any(finding.severity is Severity.REFUSE for finding in judged.report.findings if finding.rule.startswith("F-")):
        assert counted == bad.rows
    for event in accepted:
        assert event.rows.delivered == event.rows.accepted + event.rows.blank
        assert event.rows.accepted == counted


@pytest.mark.parametrize(("number", "bad"), list(enumerate(FILES)), ids=[f"{at}-{file.name}" for at, file in enumerate(FILES)])
def test_a_bad_file_is_found_out(number: int, bad: BadFile, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    # Structure has tests of its own; it is judged here where the case is about it, or must be accepted.
    is_structured = bad.accepted or bad.rule.startswith("S-")
    world, judged = submit(bad.content, tmp_path, contained=number % EVERY == 0, is_structured=is_structured)

    found = [finding for finding in judged.report.findings if finding.rule == bad.rule]
    assert found, f"{judged.report.counts} instead of {bad.rule}"
    assert {str(finding.severity) for finding in found} == {bad.severity}
    places = [place for finding in found for place in finding.places]
    for name in ("table", "row", "column"):
        expected = getattr(bad, name)
        if expected is not None:
            assert expected in [getattr(place, name) for place in places] or (name != "table" and not places), (name, places)
    assert judged.report.passed == (not any(finding.severity in BLOCKING for finding in judged.report.findings))
    if bad.severity in ("refuse", "error"):
        assert not judged.report.passed
    if bad.accepted:
        assert judged.report.passed, judged.report.counts
    assert_rows_are_conserved(bad, world, judged)
    assert_nothing_is_repeated(bad, world, judged, caplog)


def test_the_corpus_is_large_and_wide() -> None:
    assert len(FILES) >= 200
    assert len({file.case.partition("-")[0] for file in FILES}) >= 60
    assert {SINGLE, ZIP, BOOK} <= {file.kind for file in FILES}
    assert len({file.rule for file in FILES}) >= 50
    assert len({(file.content, file.rule) for file in FILES}) > len(FILES) - 10
    assert min(Counter(file.severity for file in FILES).values()) >= 10


def test_what_must_not_travel_sets_a_delivery_apart() -> None:
    apart = {rule.id for rule in DEFINITIONS.rules.values() if rule.quarantine}
    attacks = {"F-006", "F-007", "F-013", "F-016", "F-017", "F-018", "F-048", "F-071"}
    people = {"H-001", "H-002", "H-003", "H-004", "H-005", "H-006", "H-007", "H-008", "H-010", "H-020"}

    assert attacks | people <= apart
    assert attacks | people <= {file.rule for file in FILES}
    assert all(DEFINITIONS.rule(rule).severity is Severity.REFUSE for rule in attacks | people)


def test_the_return_that_the_corpus_spoils_is_good(tmp_path: Path) -> None:
    for content in (zip_bytes(good_tables()), book_bytes()):
        world, judged = submit(content, tmp_path)

        assert judged.report.counts == {}
        assert world.names[-1] == "submission.accepted"
    assert count_rows(changed()) == 6
    assert csv_bytes(good_tables()["payments"]).startswith(b"payment_ref,")


def test_the_search_for_what_was_planted_would_find_it() -> None:
    """A check that can find nothing is none."""
    for said in (CANARY.encode(), CANARY.encode("utf-16-le"), base64.b64encode(CANARY.encode()), CANARY.encode().hex().encode()):
        assert any(spelling in said for spelling in spellings(CANARY))
    assert any(spelling in b"na\\u00efve" for spelling in spellings("na\u00efve"))
