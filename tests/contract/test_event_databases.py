"""The addresses and the faults of the databases under the log: what is refused, what is advised, and that no password is told."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from eventsourcing.sqlite import SQLiteCursor, SQLiteDatastore

from pipeline.adapters import event_databases
from pipeline.adapters.event_databases import parse_log_url
from pipeline.adapters.event_log import migrate_log, open_log
from pipeline.errors import ConfigurationError, IntegrityError, UnavailableError
from tests.contract.given import STREAM, WHO, one, run_sql


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mysql://user:secret@host/db",
        "sqlite:///relative.sqlite",
        "postgresql://user:secret@/db",
        "postgresql://host/db",
        "postgresql://user:secret@host",
        "postgresql://user:secret@host:port/db",
        "postgresql://user:secret@host/db?password=secret",
    ],
)
def test_a_url_that_names_no_log_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_log(url)

    assert "secret" not in str(caught.value)


def test_a_password_appears_in_no_representation_and_no_error(postgres_url: str) -> None:
    password = unquote(urlsplit(postgres_url).password or "")
    wrong = postgres_url.replace(urlsplit(postgres_url).password or "", "not-the-password")

    assert password not in repr(parse_log_url(postgres_url))
    with pytest.raises(UnavailableError) as caught:
        open_log(wrong)
    assert "not-the-password" not in str(caught.value)
    assert "password authentication failed" in str(caught.value)


def test_a_password_that_is_repeated_by_the_server_is_still_not_told(postgres_url: str) -> None:
    with pytest.raises(UnavailableError) as caught:
        open_log(postgres_url.replace(urlsplit(postgres_url).password or "", "outcomes"))

    assert "the server refused the connection" in str(caught.value)


@pytest.mark.parametrize("wanted", [open_log, migrate_log])
def test_a_server_that_is_not_there_is_unavailable(wanted: Callable[[str], object]) -> None:
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1/db cannot be reached"):
        wanted("postgresql://user@127.0.0.1:1/db")


def test_a_server_that_goes_away_while_the_log_is_opened_is_unavailable(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from eventsourcing import postgres
    from eventsourcing.persistence import OperationalError

    def gone(*arguments: object, **settings: object) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    migrate_log(postgres_url)
    monkeypatch.setattr(postgres, "PostgresApplicationRecorder", gone)

    with pytest.raises(UnavailableError, match="does not answer"):
        open_log(postgres_url)


def test_a_user_without_rights_is_told(postgres_url: str) -> None:
    migrate_log(postgres_url)
    run_sql(
        postgres_url,
        "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'guest') THEN CREATE ROLE guest LOGIN PASSWORD 'guest1'; END IF; END $$",
    )
    parts = urlsplit(postgres_url)

    with (
        open_log(postgres_url.replace(f"{parts.username}:{parts.password}", "guest:guest1")) as log,
        pytest.raises(ConfigurationError, match="rights"),
    ):
        log.head()


def test_a_killed_connection_does_not_lose_or_double_an_append(postgres_url: str) -> None:
    migrate_log(postgres_url)
    with open_log(postgres_url) as log:
        log.append(one(STREAM, 0), **WHO)
        run_sql(postgres_url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
        log.append(one(STREAM, 1), **WHO)

        assert [r.version for r in log.read_stream(STREAM)] == [1, 2]
        assert log.verify() is None


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    path.write_text("a letter, and by no means a database; long enough to have a header" * 20)

    with pytest.raises(IntegrityError, match="not an SQLite database"):
        open_log(f"sqlite:///{path}")


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(UnavailableError, match="cannot be made"):
        migrate_log(f"sqlite:///{tmp_path / 'file' / 'log.sqlite'}")


def test_sqlite_does_not_use_write_ahead_logging_and_syncs_file_and_folder(tmp_path: Path) -> None:
    path = tmp_path / "log #1?.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    migrate_log(f"sqlite:///{path}")

    opened = parse_log_url(f"sqlite:///{path}").open()
    with opened.recorder.datastore.get_connection(commit=False) as pooled:  # type: ignore[attr-defined]
        cursor = pooled.cursor()
        found = []
        for name in ("journal_mode", "synchronous", "busy_timeout"):
            cursor.execute(f"PRAGMA {name}")
            found.append(cursor.fetchone()[0])
    opened.close()

    assert found == ["delete", 3, 30000]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["log #1?.sqlite"]


def test_a_file_that_another_program_holds_in_wal_mode_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_databases, "BUSY_SECONDS", 1)
    path = tmp_path / "log.sqlite"
    migrate_log(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("BEGIN")
        connection.execute("SELECT * FROM stored_events").fetchall()
        with pytest.raises(UnavailableError, match="Another process"):
            open_log(f"sqlite:///{path}")


def test_a_database_that_will_not_sync_as_told_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class DeafCursor(SQLiteCursor):
        def execute(self, *args: Any, **kwargs: Any) -> None:
            super().execute(*("SELECT 1" if argument == "PRAGMA synchronous=EXTRA" else argument for argument in args), **kwargs)

    class DeafDatastore(SQLiteDatastore):
        @contextmanager
        def get_connection(self, *, commit: bool) -> Iterator[Any]:
            with super().get_connection(commit=commit) as connection:
                plain = connection.cursor
                connection.cursor = lambda: DeafCursor(plain().sqlite_cursor)  # type: ignore[method-assign]
                yield connection

    monkeypatch.setattr(event_databases, "SQLiteDatastore", DeafDatastore)

    with pytest.raises(UnavailableError, match="sync"):
        migrate_log(f"sqlite:///{tmp_path / 'log.sqlite'}")


def test_a_file_that_another_process_locks_for_too_long_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_databases, "BUSY_SECONDS", 1)
    url = f"sqlite:///{tmp_path / 'log.sqlite'}"
    migrate_log(url)
    with open_log(url) as log, closing(sqlite3.connect(tmp_path / "log.sqlite")) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UnavailableError, match="Another process"):
            log.append(one(STREAM, 0), **WHO)
        connection.rollback()

        log.append(one(STREAM, 0), **WHO)
        assert log.verify() is None
