"""What the contract tests start from: events, appends, and the means to get at a log from outside or from several sides at once."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import TypedDict

from pipeline.domain import events as ev
from pipeline.ports import Append, EventLog

NOW = datetime(2024, 7, 1, 8, 15, 30, 250000, tzinfo=UTC)
STREAM, OTHER = "submission/PROJECT-1/2024-Q1", "submission/PROJECT-2/2024-Q1"


class Who(TypedDict):
    """The envelope that most appends here share."""

    actor: str
    recorded_at: datetime


WHO: Who = {"actor": "alex", "recorded_at": NOW}


def received(revision: int = 1) -> ev.SubmissionReceived:
    return ev.SubmissionReceived(project_id="PROJECT-1", quarter="2024-Q1", revision=revision, content="a" * 64, size_bytes=10)


def one(stream: str, expected_version: int, *revisions: int) -> list[Append]:
    return [Append(stream, expected_version, [received(revision) for revision in revisions or (expected_version + 1,)])]


def fill(log: EventLog, count: int) -> None:
    for number in range(count):
        stream = (STREAM, OTHER)[number % 2]
        log.append(one(stream, number // 2), **WHO)


def run_sql(url: str, statement: str) -> None:
    """Do to the table what only somebody with the database's own tools can do."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file, file:
            assert file.execute(statement).rowcount != 0
        return
    import psycopg

    with psycopg.connect(url) as server:
        assert server.execute(statement.replace("rowid", "notification_id").encode()).rowcount != 0


def run_together(works: Sequence[Callable[[], object]]) -> None:
    """Do several things at the same time; fail when one does not end."""
    threads = [threading.Thread(target=work, daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
