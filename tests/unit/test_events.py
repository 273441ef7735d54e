"""The written form of events: pinned by golden files, hashed canonically, and read again whatever number it was written with."""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from pipeline.domain import events as ev
from pipeline.domain.erasure import DestroyedObject, RedactedFile
from pipeline.domain.events import EVENT_TYPES, UPCASTERS, Recorded, from_document, from_payload, hash_document, to_document, write_document
from pipeline.errors import IntegrityError, RuleError

GOLDEN = Path(__file__).parents[1] / "golden" / "events"
A, B, C = "a" * 64, "b" * 64, "c" * 64

EXAMPLES: Mapping[str, ev.DomainEvent] = {
    example.name: example
    for example in (
        ev.FundRegistered(fund_id="FUND-1", record=A),
        ev.ProjectRegistered(fund_id="FUND-1", project_id="PROJECT-1", record=A),
        ev.ProjectRevised(fund_id="FUND-1", project_id="PROJECT-1", record=B, replaces=A),
        ev.RegisterRefused(fund_id="FUND-1", findings={"R-441": 1}, report=A),
        ev.RegisterConfirmed(fund_id="FUND-1"),
        ev.SubmissionReceived(project_id="PROJECT-1", quarter="2024-Q1", revision=1, content=A, size_bytes=4096),
        ev.SubmissionValidated(revision=1, content=A, passed=False, report=B, findings={"STR-001": 2, "CON-007": 1}, rules=C, queries=["CON-007"]),
        ev.SubmissionAccepted(
            revision=2,
            content=A,
            report=B,
            facts=[ev.FactFile(table="outcomes", sha256=C, rows=3, size_bytes=1024, number=1)],
            rows=ev.RowCounts(delivered=5, accepted=4, blank=1, late=1),
            replaces=1,
            changes=ev.RowChanges(added=1, changed=2, removed=0),
            difference="d" * 64,
            reason="left_out",
        ),
        ev.SubmissionHeld(revision=2, content=A, why="reason_needed"),
        ev.SubmissionExplained(revision=2, rule="CON-007", explanation=B),
        ev.SubmissionRejected(revision=1, content=A, report=B),
        ev.SubmissionWithdrawn(revision=2, reason="sent_in_error"),
        ev.SubmissionRedacted(revision=2, files=[RedactedFile(old=A, new=None, table="outcomes", rows=3)], rows=3),
        ev.ParticipantErased(
            project_id="PROJECT-1",
            reason="requested_by_person",
            files=[
                RedactedFile(
                    old=A, new=ev.FactFile(table="service_starts", sha256=B, rows=2, size_bytes=900, number=1), table="service_starts", rows=1
                )
            ],
            destroyed=[
                DestroyedObject(sha256=A, kind="facts", of="PROJECT-1/2024-Q1/2"),
                DestroyedObject(sha256=C, kind="delivery", of="PROJECT-1/2024-Q1/2"),
            ],
        ),
        ev.ReleaseDrafted(
            version="1.1.0",
            round=2,
            base_version="1.0.0",
            position=41,
            chain_head=A,
            as_of=date(2024, 6, 30),
            ledger=B,
            rules=C,
            schemas="d" * 64,
            code="0.1.0",
        ),
        ev.ReleaseBuilt(
            version="1.1.0",
            round=2,
            manifest=A,
            files=[
                ev.ReleaseFile(path="outcomes_by_quarter.csv", sha256=B, size_bytes=2048, rows=12),
                ev.ReleaseFile(path="datapackage.json", sha256=C, size_bytes=512),
            ],
            suppressed={"service_users_by_quarter": 7},
        ),
        ev.ReleaseAudited(version="1.1.0", round=2, manifest=A, passed=True, report=B, attacks={"differencing": 0}),
        ev.ReleaseApproved(version="1.1.0", round=2, manifest=A, audit=B, rules=C, position=41, needed=2),
        ev.ReleaseReturned(version="1.1.0", round=2, manifest=A, reason="figures_wrong"),
        ev.ReleasePublished(version="1.1.0", round=2, manifest=A),
        ev.ReleaseWithdrawn(version="1.1.0", reason="legal_request"),
        ev.SigningKeyAnnounced(public_key="ssh-ed25519 AAAA", fingerprint="SHA256:first"),
        ev.SigningKeyReplaced(public_key="ssh-ed25519 BBBB", fingerprint="SHA256:second", replaces="SHA256:first"),
    )
}

EARLIER: Mapping[tuple[str, int], ev.DomainEvent] = {
    ("submission.validated", 1): dataclasses.replace(EXAMPLES["submission.validated"], queries=[], quarantined=False),  # type: ignore[call-arg]
    ("release.approved", 1): dataclasses.replace(EXAMPLES["release.approved"], audit=None, rules=None, position=None, needed=1),  # type: ignore[call-arg]
    ("submission.accepted", 1): dataclasses.replace(EXAMPLES["submission.accepted"], difference=None, reason=None),  # type: ignore[call-arg]
}
"""What the documents of earlier numbers are read as: what they could not say is empty."""


def recorded(event: ev.DomainEvent, **changes: Any) -> Recorded:
    envelope: dict[str, Any] = {
        "position": 7,
        "stream": "submission/PROJECT-1/2024-Q1",
        "version": 3,
        "recorded_at": datetime(2024, 7, 1, 8, 15, 30, 250000, tzinfo=UTC),
        "actor": "alex@example.org",
        "previous": "0" * 64,
    }
    return Recorded(event=event, **{**envelope, **changes})


def every_number() -> list[tuple[str, int]]:
    return [(kind.name, number) for kind in EVENT_TYPES for number in range(1, kind.number + 1)]


def golden(name: str, number: int) -> tuple[dict[str, Any], str]:
    content = json.loads((GOLDEN / f"{name}.{number}.json").read_text("utf-8"))
    return content["document"], content["hash"]


def test_every_event_type_and_number_has_a_golden_file_and_nothing_else_has() -> None:
    assert sorted(path.name for path in GOLDEN.iterdir()) == sorted(f"{name}.{number}.json" for name, number in every_number())


@pytest.mark.parametrize(("name", "number"), every_number())
def test_a_golden_document_still_reads_as_the_event_that_it_was_written_from(name: str, number: int) -> None:
    document, digest = golden(name, number)

    assert from_document(document, digest) == dataclasses.replace(recorded(EARLIER.get((name, number), EXAMPLES[name])), hash=digest)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_an_event_is_still_written_with_the_bytes_and_the_hash_of_its_golden_file(name: str) -> None:
    document, digest = golden(name, EXAMPLES[name].number)

    assert to_document(recorded(EXAMPLES[name])) == document
    assert hash_document(write_document(document)) == digest


def test_event_names_are_used_once() -> None:
    assert len({kind.name for kind in EVENT_TYPES}) == len(EVENT_TYPES) == len(EXAMPLES)


def test_the_canonical_form_does_not_depend_on_the_order_of_fields() -> None:
    document = to_document(recorded(EXAMPLES["submission.validated"]))

    assert write_document(dict(reversed(document.items()))) == write_document(document)


@pytest.mark.parametrize(
    "changes",
    [
        {"position": 8},
        {"stream": "submission/PROJECT-2/2024-Q1"},
        {"version": 4},
        {"actor": "sam@example.org"},
        {"previous": "1" * 64},
        {"recorded_at": datetime(2024, 7, 1, 8, 15, 30, 250001, tzinfo=UTC)},
        {"event": ev.SubmissionWithdrawn(revision=2, reason="wrong_quarter")},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_the_hash_covers_every_part_of_the_envelope_and_the_event(changes: dict[str, Any]) -> None:
    before = recorded(EXAMPLES["submission.withdrawn"])
    after = dataclasses.replace(before, **changes)

    assert hash_document(write_document(to_document(before))) != hash_document(write_document(to_document(after)))


def test_an_events_identity_comes_from_where_it_stands() -> None:
    here = recorded(EXAMPLES["submission.withdrawn"])

    assert here.id == recorded(EXAMPLES["submission.rejected"]).id
    assert here.id != dataclasses.replace(here, version=4).id


def test_a_payload_of_an_old_number_is_raised_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ev.SubmissionWithdrawn, "number", 3)
    monkeypatch.setitem(UPCASTERS, ("submission.withdrawn", 1), lambda payload: {"revision": payload["revision"], "why": payload["cause"]})
    monkeypatch.setitem(UPCASTERS, ("submission.withdrawn", 2), lambda payload: {"revision": payload["revision"], "reason": payload["why"]})

    event = from_payload("submission.withdrawn", 1, {"revision": 2, "cause": "sent_in_error"})

    assert event == ev.SubmissionWithdrawn(revision=2, reason="sent_in_error")


def test_a_missing_upcaster_is_a_broken_rule_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ev.SubmissionWithdrawn, "number", 2)

    with pytest.raises(RuleError, match=r"no upcaster for submission\.withdrawn from schema number 1"):
        from_payload("submission.withdrawn", 1, {"revision": 2, "reason": "sent_in_error"})


@pytest.mark.parametrize(
    ("name", "number", "payload", "says"),
    [
        ("submission.vanished", 1, {}, "does not know"),
        ("submission.withdrawn", 2, {"revision": 2, "reason": "sent_in_error"}, "Upgrade"),
        ("submission.withdrawn", 1, {"revision": 2}, "1 fields do not fit"),
    ],
)
def test_what_cannot_be_read_is_refused(name: str, number: int, payload: dict[str, Any], says: str) -> None:
    with pytest.raises(IntegrityError, match=says):
        from_payload(name, number, payload)


def values(annotation: Any) -> SearchStrategy[Any]:
    """Give a strategy for what a field of an event may hold."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (types.UnionType, Union):
        return st.one_of(*(values(argument) for argument in arguments))
    if origin is Sequence:
        return st.lists(values(arguments[0]), max_size=3)
    if origin is Mapping:
        return st.dictionaries(values(arguments[0]), values(arguments[1]), max_size=3)
    if dataclasses.is_dataclass(annotation):
        return whole(annotation)
    plain = {
        str: st.text(max_size=20),
        int: st.integers(-(2**53) + 1, 2**53 - 1),
        bool: st.booleans(),
        date: st.dates(),
        type(None): st.none(),
    }
    return plain[annotation]


def whole(kind: Any) -> SearchStrategy[Any]:
    hints = get_type_hints(kind)
    return st.builds(kind, **{field.name: values(hints[field.name]) for field in dataclasses.fields(kind)})


@pytest.mark.parametrize("kind", EVENT_TYPES, ids=lambda kind: kind.name)
def test_any_event_comes_back_from_its_document_as_it_was(kind: type[ev.DomainEvent]) -> None:
    instants = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]))

    @settings(max_examples=15, deadline=None)
    @given(event=whole(kind), actor=st.text(max_size=30), recorded_at=instants, position=st.integers(1, 2**40))
    def comes_back(event: ev.DomainEvent, actor: str, recorded_at: datetime, position: int) -> None:
        before = recorded(event, actor=actor, recorded_at=recorded_at, position=position)
        written = write_document(to_document(before))

        after = from_document(json.loads(written), hash_document(written))

        assert after == dataclasses.replace(before, hash=hash_document(written))
        assert write_document(to_document(after)) == written

    comes_back()
