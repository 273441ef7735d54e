"""What was altered by hand in the tables of a log is found, by position and reason, and not read any more."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from pipeline.adapters.event_databases import parse_log_url
from pipeline.adapters.event_log import RecorderLog
from pipeline.domain import events as ev
from pipeline.errors import IntegrityError
from pipeline.ports import Append, Head
from tests.contract.given import OTHER, STREAM, WHO, fill, one, run_sql

EDIT = "UPDATE stored_events SET state = {state} WHERE originator_id = '{stream}' AND originator_version = {version}"


def text_as_state(url: str, text: str) -> str:
    return f"CAST('{text}' AS BLOB)" if url.startswith("sqlite") else f"convert_to('{text}', 'UTF8')"


def states(url: str) -> dict[tuple[str, int], bytes]:
    opened = parse_log_url(url).open()
    try:
        return {(str(row.originator_id), row.originator_version): row.state for row in opened.recorder.select_notifications(None, 1000)}
    finally:
        opened.close()


def fault_after(log: RecorderLog, url: str, *statements: str, expected: Head | None = None) -> tuple[int, str]:
    for statement in statements:
        run_sql(url, statement)
    fault = log.verify(expected)
    assert fault is not None
    return fault.position, fault.reason


@pytest.fixture
def six(stored: RecorderLog) -> RecorderLog:
    """Give a log of six events, taking turns in two streams: position 3 is version 2 of the first."""
    fill(stored, 6)
    assert stored.verify() is None
    return stored


def test_an_edited_event_is_named_and_not_read_any_more(six: RecorderLog, made_url: str) -> None:
    document = states(made_url)[STREAM, 2].decode()
    edited = text_as_state(made_url, document.replace('"size_bytes":10', '"size_bytes":11'))

    assert fault_after(six, made_url, EDIT.format(state=edited, stream=STREAM, version=2)) == (3, "the event row was edited")
    with pytest.raises(IntegrityError, match="position 3"):
        list(six.read())
    assert [r.position for r in six.read(up_to=2)] == [1, 2]


@pytest.mark.parametrize("content", ["", "not json", "[1, 2]"])
def test_an_event_that_is_no_document_any_more_is_named(six: RecorderLog, made_url: str, content: str) -> None:
    state = text_as_state(made_url, content)

    assert fault_after(six, made_url, EDIT.format(state=state, stream=STREAM, version=2)) == (3, "the event row was edited")
    with pytest.raises(IntegrityError):
        list(six.read())
    with pytest.raises(IntegrityError):
        six.read_stream(STREAM)


def test_an_event_that_was_emptied_is_named(six: RecorderLog, made_url: str) -> None:
    position, reason = fault_after(six, made_url, EDIT.format(state="NULL", stream=STREAM, version=2))

    assert position == 3
    assert reason in ("the event row was edited", "a row has lost its content")
    with pytest.raises(IntegrityError):
        list(six.read())


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)  # on PostgreSQL a column holds one type only
def test_an_event_that_an_editor_stored_as_text_is_named(six: RecorderLog, made_url: str) -> None:
    state = "replace(CAST(state AS TEXT), 'alex', 'alix')"

    assert fault_after(six, made_url, EDIT.format(state=state, stream=STREAM, version=2)) == (3, "the event row was edited")


def test_of_two_neighbours_that_were_edited_the_first_is_named(six: RecorderLog, made_url: str) -> None:
    statements = [EDIT.format(state=text_as_state(made_url, "?"), stream=stream, version=2) for stream in (STREAM, OTHER)]

    assert fault_after(six, made_url, *statements) == (3, "the event row or its chain row was edited")


def test_an_edited_chain_row_is_named(six: RecorderLog, made_url: str) -> None:
    link = json.loads(states(made_url)["chain", 3])
    edited = text_as_state(made_url, json.dumps({**link, "hash": "f" * 64}))

    assert fault_after(six, made_url, EDIT.format(state=edited, stream="chain", version=3)) == (3, "the chain row was edited")
    assert fault_after(six, made_url, EDIT.format(state=text_as_state(made_url, "?"), stream="chain", version=3)) == (3, "the chain row was edited")


@pytest.mark.parametrize("change", [{"attempt": "f" * 32}, {"attempt": None}, {"more": 1}, {"sum": "f" * 64}])
def test_a_chain_row_is_named_when_anything_else_in_it_was_edited(six: RecorderLog, made_url: str, change: dict[str, object]) -> None:
    edited = ev.write_document({**json.loads(states(made_url)["chain", 3]), **change}).decode()

    fault = fault_after(six, made_url, EDIT.format(state=text_as_state(made_url, edited), stream="chain", version=3))
    assert fault == (3, "the chain row was edited")


def test_a_chain_row_without_a_sum_of_its_own_is_one_of_the_first_logs_and_no_fault(six: RecorderLog, made_url: str) -> None:
    link = json.loads(states(made_url)["chain", 3])
    del link["sum"]
    run_sql(made_url, EDIT.format(state=text_as_state(made_url, ev.write_document(link).decode()), stream="chain", version=3))

    assert six.verify() is None


def test_an_edit_of_the_last_event_is_named_though_no_later_event_bears_witness(six: RecorderLog, made_url: str) -> None:
    edited = text_as_state(made_url, states(made_url)[OTHER, 3].decode().replace("alex", "alix"))

    assert fault_after(six, made_url, EDIT.format(state=edited, stream=OTHER, version=3)) == (6, "the event row or its chain row was edited")


def test_an_event_rewritten_with_a_new_hash_breaks_the_chain_after_it(six: RecorderLog, made_url: str) -> None:
    found = states(made_url)
    document = found[STREAM, 2].replace(b'"size_bytes":10', b'"size_bytes":11')
    link = {**json.loads(found["chain", 3]), "hash": ev.hash_document(document)}
    del link["sum"]
    link["sum"] = ev.hash_document(ev.write_document(link))
    statements = [
        EDIT.format(state=text_as_state(made_url, document.decode()), stream=STREAM, version=2),
        EDIT.format(state=text_as_state(made_url, ev.write_document(link).decode()), stream="chain", version=3),
    ]

    position, reason = fault_after(six, made_url, *statements)

    assert position == 4
    assert "hash of the event before it" in reason
    with pytest.raises(IntegrityError, match="position 4"):
        list(six.read())


def test_a_removed_event_is_named(six: RecorderLog, made_url: str) -> None:
    statement = f"DELETE FROM stored_events WHERE originator_id = '{STREAM}' AND originator_version = 2"

    assert fault_after(six, made_url, statement) == (3, "the event row was removed")


def test_a_removed_chain_row_is_named(six: RecorderLog, made_url: str) -> None:
    position, reason = fault_after(six, made_url, "DELETE FROM stored_events WHERE originator_id = 'chain' AND originator_version = 3")

    assert position == 3
    assert reason.startswith("the chain row is missing")


def test_an_event_removed_with_its_chain_row_is_named(six: RecorderLog, made_url: str) -> None:
    statements = [
        f"DELETE FROM stored_events WHERE originator_id = '{STREAM}' AND originator_version = 2",
        "DELETE FROM stored_events WHERE originator_id = 'chain' AND originator_version = 3",
    ]

    assert fault_after(six, made_url, *statements) == (3, "the event was removed with its chain row")
    with pytest.raises(IntegrityError, match="position 3"):
        list(six.read())


def test_rows_that_were_put_in_another_order_are_named(six: RecorderLog, made_url: str) -> None:
    swaps = [(5, 105), (6, 106), (7, 5), (8, 6), (105, 7), (106, 8)]
    statements = [f"UPDATE stored_events SET rowid = {new} WHERE rowid = {old}" for old, new in swaps]

    position, reason = fault_after(six, made_url, *statements)

    assert position == 3
    assert "not in their order" in reason


def test_an_inserted_event_is_named(six: RecorderLog, made_url: str) -> None:
    opened = parse_log_url(made_url).open()
    state = text_as_state(made_url, states(made_url)[STREAM, 2].decode())
    opened.close()
    statement = (
        f"INSERT INTO stored_events (originator_id, originator_version, topic, state) VALUES ('{STREAM}', 4, 'submission.received#1', {state})"
    )

    position, reason = fault_after(six, made_url, statement)

    assert position == 7
    assert "inserted" in reason


def test_an_inserted_chain_row_is_named(six: RecorderLog, made_url: str) -> None:
    state = text_as_state(made_url, states(made_url)["chain", 6].decode())
    statement = f"INSERT INTO stored_events (originator_id, originator_version, topic, state) VALUES ('chain', 9, 'chain#1', {state})"

    assert fault_after(six, made_url, statement) == (7, "a chain row that belongs to no event was inserted")


def test_an_event_moved_to_another_stream_is_named(six: RecorderLog, made_url: str) -> None:
    statement = f"UPDATE stored_events SET originator_id = 'submission/PROJECT-9/2024-Q1' WHERE originator_id = '{STREAM}' AND originator_version = 2"

    position, reason = fault_after(six, made_url, statement)

    assert position == 3
    assert "moved" in reason


def test_an_event_given_another_name_is_named(six: RecorderLog, made_url: str) -> None:
    statement = f"UPDATE stored_events SET topic = 'submission.rejected#1' WHERE originator_id = '{STREAM}' AND originator_version = 2"

    position, reason = fault_after(six, made_url, statement)

    assert position == 3
    assert "rewritten" in reason


def test_a_version_that_does_not_follow_in_its_stream_is_named(stored: RecorderLog, made_url: str) -> None:
    class Trusting(RecorderLog):
        def _check_versions(self, appends: Sequence[Append]) -> None:
            """Let a writer skip versions, as one who writes to the tables by hand would."""

    opened = parse_log_url(made_url).open()
    with Trusting(opened.recorder, place="here", close=opened.close) as careless:
        careless.append(one(STREAM, 0), **WHO)
        careless.append(one(STREAM, 2), **WHO)

    fault = stored.verify()

    assert fault is not None
    assert fault.position == 2
    assert "does not follow 1" in fault.reason


def test_a_cut_off_end_is_seen_only_with_a_noted_head(six: RecorderLog, made_url: str) -> None:
    noted = six.head()
    run_sql(made_url, f"DELETE FROM stored_events WHERE originator_id = '{OTHER}' AND originator_version = 3")
    run_sql(made_url, "DELETE FROM stored_events WHERE originator_id = 'chain' AND originator_version = 6")

    assert six.verify() is None
    fault = six.verify(noted)
    assert fault is not None
    assert fault.position == 6
    assert "end was removed" in fault.reason
