"""What every event log must do, in memory, on SQLite and on a real PostgreSQL; and what writers who meet in a database are told."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters import event_log
from pipeline.adapters.event_databases import parse_log_url
from pipeline.adapters.event_log import ATTEMPTS, RecorderLog, migrate_log, open_log
from pipeline.domain import events as ev
from pipeline.errors import ConfigurationError, StaleStreamError, UnavailableError, UsageError
from pipeline.ports import Append, EventLog, Head
from tests.contract.given import NOW, OTHER, STREAM, WHO, fill, one, received, run_sql, run_together

# What every log does.


def test_an_empty_log_has_no_events_and_verifies(log: EventLog) -> None:
    assert log.head() == Head(0, "0" * 64)
    assert list(log.read()) == list(log.read_stream(STREAM)) == []
    assert log.verify() is None


def test_what_is_appended_is_read_back_the_same(log: EventLog) -> None:
    appended = log.append(one(STREAM, 0, 1, 2), **WHO)

    assert [(r.position, r.version, r.stream, r.actor, r.recorded_at) for r in appended] == [(1, 1, STREAM, "alex", NOW), (2, 2, STREAM, "alex", NOW)]
    assert list(log.read_stream(STREAM)) == list(log.read()) == appended
    assert [r.event for r in appended] == [received(1), received(2)]
    assert log.head() == Head(2, appended[1].hash)


def test_each_event_carries_the_hash_of_the_one_before_whatever_its_stream(log: EventLog) -> None:
    fill(log, 4)

    found = list(log.read())

    assert [r.previous for r in found] == ["0" * 64, *(r.hash for r in found[:-1])]
    assert log.verify() is None


def test_the_same_events_give_the_same_head_on_every_log(log: EventLog) -> None:
    fill(log, 5)

    assert log.head().hash == "9c88a2a628151aeb55ac233078b3923303192d81e4daeea99b72ee2dc05f54ee"


def test_a_writer_who_read_too_early_is_told_and_nothing_is_written(log: EventLog) -> None:
    log.append(one(STREAM, 0), **WHO)

    for wrong in (0, 2):
        with pytest.raises(StaleStreamError, match="1, not at"):
            log.append(one(STREAM, wrong), **WHO)

    assert log.head().position == 1


def test_an_append_to_several_streams_is_all_or_nothing(log: EventLog) -> None:
    log.append(one(OTHER, 0), **WHO)

    with pytest.raises(StaleStreamError):
        log.append([*one(STREAM, 0), *one(OTHER, 0)], **WHO)
    assert list(log.read_stream(STREAM)) == []

    log.append([*one(STREAM, 0, 1, 2), *one(OTHER, 1)], **WHO)
    assert [(r.position, r.stream, r.version) for r in log.read()] == [(1, OTHER, 1), (2, STREAM, 1), (3, STREAM, 2), (4, OTHER, 2)]
    assert log.verify() is None


def test_an_append_of_nothing_writes_nothing_but_still_minds_the_version(log: EventLog) -> None:
    log.append(one(STREAM, 0), **WHO)

    assert list(log.append([], **WHO)) == list(log.append([Append(STREAM, 1, [])], **WHO)) == []
    with pytest.raises(StaleStreamError):
        log.append([Append(STREAM, 0, [])], **WHO)
    assert log.head().position == 1


@pytest.mark.parametrize(
    "stream", ["chain", "chain#1", "", "Submission/A", "submission/", "submission//A", "submission/../A", "submission/é", "a/b\n"]
)
def test_a_stream_that_is_not_named_like_one_cannot_be_written_or_read(log: EventLog, stream: str) -> None:
    with pytest.raises(UsageError):
        log.append(one(stream, 0), **WHO)
    with pytest.raises(UsageError):
        log.read_stream(stream)


def test_one_append_cannot_name_a_stream_twice(log: EventLog) -> None:
    with pytest.raises(UsageError, match="twice"):
        log.append([*one(STREAM, 0), *one(STREAM, 1)], **WHO)


def test_instants_are_kept_in_utc_and_must_have_a_time_zone(log: EventLog) -> None:
    log.append(one(STREAM, 0), actor="alex", recorded_at=NOW.astimezone(timezone(timedelta(hours=5))))

    assert next(log.read()).recorded_at.isoformat() == NOW.isoformat()
    with pytest.raises(UsageError, match="time zone"):
        log.append(one(STREAM, 1), actor="alex", recorded_at=NOW.replace(tzinfo=None))


@pytest.mark.parametrize(
    ("after", "up_to", "positions"),
    [(0, None, [1, 2, 3, 4, 5]), (2, None, [3, 4, 5]), (1, 3, [2, 3]), (0, 0, []), (5, None, []), (9, None, []), (3, 99, [4, 5]), (-1, 1, [1])],
)
def test_events_are_read_between_two_positions(log: EventLog, after: int, up_to: int | None, positions: list[int]) -> None:
    fill(log, 5)

    assert [r.position for r in log.read(after, up_to)] == positions


def test_an_event_of_an_old_number_is_raised_when_it_is_read(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    log.append([Append(STREAM, 0, [ev.SubmissionWithdrawn(revision=1, reason="old words")])], **WHO)
    head = log.head()

    monkeypatch.setattr(ev.SubmissionWithdrawn, "number", 2)
    monkeypatch.setitem(ev.UPCASTERS, ("submission.withdrawn", 1), lambda payload: {**payload, "reason": "sent_in_error"})
    log.append([Append(STREAM, 1, [ev.SubmissionWithdrawn(revision=2, reason="wrong_quarter")])], **WHO)

    for found in (list(log.read()), list(log.read_stream(STREAM))):
        assert [r.event for r in found] == [
            ev.SubmissionWithdrawn(revision=1, reason="sent_in_error"),
            ev.SubmissionWithdrawn(revision=2, reason="wrong_quarter"),
        ]
        assert found[0].hash == head.hash
    assert log.verify() is None


def test_a_noted_head_shows_whether_the_log_still_holds_it(log: EventLog) -> None:
    fill(log, 3)
    noted = log.head()
    log.append(one(OTHER, 1), **WHO)

    assert log.verify(noted) is None
    assert log.verify(Head(0, "0" * 64)) is None
    rewritten, cut = log.verify(Head(3, "f" * 64)), log.verify(Head(9, "f" * 64))
    assert rewritten is not None
    assert rewritten.position == 3
    assert cut is not None
    assert cut.position == 5


def test_of_threads_that_write_to_one_stream_one_wins_each_version(log: EventLog) -> None:
    barrier, won, stale = threading.Barrier(4), [], []

    def write(actor: str) -> None:
        barrier.wait()
        for version in range(5):
            try:
                won.append(log.append(one(STREAM, version), actor=actor, recorded_at=NOW)[0].version)
            except StaleStreamError:
                stale.append(version)

    run_together([partial(write, f"writer {number}") for number in range(4)])

    assert sorted(won) == sorted(set(won))
    assert len(won) + len(stale) == 20
    assert log.head().position == len(won) >= 1
    assert log.verify() is None


def test_writers_with_the_same_words_at_the_same_instant_do_not_take_each_others_append_for_their_own(log: EventLog) -> None:
    barrier, won, stale = threading.Barrier(4), [], []

    def write() -> None:
        barrier.wait()
        try:
            won.append(log.append(one(STREAM, 0), **WHO))
        except StaleStreamError as error:
            stale.append(error)

    run_together([write] * 4)

    assert (len(won), len(stale), log.head().position) == (1, 3, 1)


# What a log in a database does.


def test_a_log_outlives_the_process_that_wrote_it(made_url: str) -> None:
    with open_log(made_url) as log:
        fill(log, 3)
        head = log.head()

    with open_log(made_url) as log:
        assert log.head() == head
        assert log.verify(head) is None


def test_a_long_log_is_read_in_pages(stored: RecorderLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_log, "PAGE_ROWS", 3)
    fill(stored, 10)

    assert [r.position for r in stored.read()] == list(range(1, 11))
    assert [r.position for r in stored.read(4, 8)] == [5, 6, 7, 8]
    assert stored.verify() is None


def test_a_large_append_arrives(stored: RecorderLog) -> None:
    events = [ev.SubmissionWithdrawn(revision=number, reason="x" * 500_000) for number in range(1, 21)]

    run_together([lambda: stored.append([Append(STREAM, 0, events)], **WHO)])

    assert [r.event for r in stored.read()] == events


def test_tables_are_made_once(url: str) -> None:
    assert migrate_log(url)
    assert not migrate_log(url)


def test_several_who_make_the_tables_at_once_do_not_get_into_each_others_way(url: str) -> None:
    made: list[bool] = []

    run_together([lambda: made.append(migrate_log(url))] * 4)

    assert sorted(made) == [False, False, False, True]
    with open_log(url) as log:
        fill(log, 1)


def test_a_log_whose_tables_were_not_made_says_what_to_do(url: str) -> None:
    with pytest.raises(ConfigurationError, match="outcomes init"):
        open_log(url)


def test_a_log_that_lost_its_table_while_open_says_what_to_do(made_url: str) -> None:
    with open_log(made_url) as log:
        if made_url.startswith("sqlite"):
            with closing(sqlite3.connect(made_url.removeprefix("sqlite:///"))) as connection, connection:
                connection.execute("DROP TABLE stored_events")
        else:
            run_sql(made_url, "DROP TABLE stored_events")
        with pytest.raises(ConfigurationError, match="outcomes init"):
            log.head()


def test_a_closed_log_is_not_used_any_more(made_url: str) -> None:
    log = open_log(made_url)
    log.close()

    with pytest.raises((UsageError, UnavailableError)):
        log.head()


REPOSITORY = Path(__file__).parents[2]
WRITER = """
import sys
from datetime import datetime, UTC
from pipeline.adapters.event_log import open_log
from pipeline.domain.events import SubmissionReceived
from pipeline.errors import StaleStreamError
from pipeline.ports import Append
url, stream, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
won = 0
with open_log(url) as log:
    print("ready", flush=True)
    sys.stdin.readline()
    for version in range(count):
        event = SubmissionReceived(project_id="PROJECT-1", quarter="2024-Q1", revision=version + 1, content="a" * 64, size_bytes=1)
        try:
            log.append([Append(stream, version, [event])], actor=stream, recorded_at=datetime.now(UTC))
            won += 1
        except StaleStreamError:
            pass
print(won, flush=True)
"""


def write_in_processes(url: str, streams: Sequence[str], count: int) -> list[int]:
    """Let one process for each stream append at the same time; return how many appends each got through."""
    command = [sys.executable, "-c", WRITER, url]
    started = [
        subprocess.Popen([*command, stream, str(count)], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for stream in streams
    ]
    try:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in started:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        answers = [process.communicate(timeout=120)[0] for process in started]
    finally:
        for process in started:
            process.kill()
            process.communicate()
    assert [process.returncode for process in started] == [0] * len(started)
    return [int(answer) for answer in answers]


def test_two_processes_that_append_to_two_streams_lose_nothing(made_url: str) -> None:
    assert write_in_processes(made_url, [STREAM, OTHER], 100) == [100, 100]

    with open_log(made_url) as log:
        assert [r.position for r in log.read()] == list(range(1, 201))
        assert [r.version for r in log.read_stream(STREAM)] == [r.version for r in log.read_stream(OTHER)] == list(range(1, 101))
        assert log.verify() is None


def test_two_processes_that_append_to_one_stream_win_each_version_once(made_url: str) -> None:
    won = write_in_processes(made_url, [STREAM, STREAM], 30)

    with open_log(made_url) as log:
        assert sum(won) == log.head().position == len(log.read_stream(STREAM)) >= 1
        assert log.verify() is None


# Writers who meet at a known moment.


class MeddledRecorder:
    """The recorder of a log, to whose inserts something happens."""

    def __init__(self, real: Any, meddle: Callable[[Any, Sequence[Any]], Any]) -> None:
        self.real, self.meddle = real, meddle

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def insert_events(self, rows: Sequence[Any]) -> Any:
        return self.meddle(self.real, rows)


@pytest.fixture
def meddled(made_url: str) -> Iterator[Callable[[Callable[[Any, Sequence[Any]], Any]], RecorderLog]]:
    opened = parse_log_url(made_url).open()
    yield lambda meddle: RecorderLog(MeddledRecorder(opened.recorder, meddle), place="here", close=opened.close, pause=lambda seconds: None)  # type: ignore[arg-type]
    opened.close()


Meddled = Callable[[Callable[[Any, Sequence[Any]], Any]], RecorderLog]


def test_when_only_the_head_has_moved_the_append_is_tried_again(meddled: Meddled, made_url: str) -> None:
    tries: list[int] = []

    def another_is_faster_twice(real: Any, rows: Sequence[Any]) -> Any:
        tries.append(1)
        if len(tries) <= 2:
            with open_log(made_url) as another:
                another.append(one(OTHER, len(tries) - 1), **WHO)
        return real.insert_events(rows)

    appended = meddled(another_is_faster_twice).append(one(STREAM, 0), **WHO)

    assert (len(tries), appended[0].position, appended[0].version) == (3, 3, 1)
    with open_log(made_url) as log:
        assert [r.stream for r in log.read()] == [OTHER, OTHER, STREAM]
        assert [r.stream for r in log.read(2)] == [STREAM]  # on PostgreSQL the refused inserts left gaps in the row numbers
        assert log.verify() is None


def test_when_the_stream_has_moved_between_reading_and_writing_the_writer_is_told(meddled: Meddled, made_url: str) -> None:
    def another_is_faster(real: Any, rows: Sequence[Any]) -> Any:
        with open_log(made_url) as another:
            another.append(one(STREAM, 0), **WHO)
        return real.insert_events(rows)

    with pytest.raises(StaleStreamError):
        meddled(another_is_faster).append(one(STREAM, 0), **WHO)


def test_a_lost_answer_to_an_append_that_landed_is_a_success(meddled: Meddled, made_url: str) -> None:
    def the_library_sends_again(real: Any, rows: Sequence[Any]) -> Any:
        real.insert_events(rows)
        return real.insert_events(rows)

    appended = meddled(the_library_sends_again).append(one(STREAM, 0, 1, 2), **WHO)

    with open_log(made_url) as log:
        assert list(log.read()) == appended


def test_a_log_that_stays_too_busy_says_so_after_a_bounded_number_of_tries(meddled: Meddled) -> None:
    from eventsourcing.persistence import IntegrityError as KeyTakenError

    tries: list[int] = []

    def always_too_late(real: Any, rows: Sequence[Any]) -> Any:
        tries.append(1)
        raise KeyTakenError

    with pytest.raises(UnavailableError, match="too busy"):
        meddled(always_too_late).append(one(STREAM, 0), **WHO)
    assert len(tries) == ATTEMPTS
