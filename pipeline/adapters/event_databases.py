"""The databases under the log: a URL becomes an opened recorder of the `eventsourcing` library, or a made table.

SQLite lives in one file (`sqlite:////absolute/path`), PostgreSQL behind `postgresql://user:password@host:port/database`. Tables are made by one
deliberate step, never at first use. Driver errors leave this room as ours, without the password.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from eventsourcing import persistence
from eventsourcing.domain import EventSourcingError
from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteDatastore

from pipeline.errors import ConfigurationError, IntegrityError, OpenOutcomesError, UnavailableError, UsageError

if TYPE_CHECKING:
    from eventsourcing.postgres import PostgresDatastore

TABLE = "stored_events"
BUSY_SECONDS = 30
CONNECT_SECONDS = 5
MIGRATION_LOCK = 0x6F7574636F6D6573
"""The key of the advisory lock on PostgreSQL: `outcomes` in ASCII."""
POSTGRES_OPTIONS = ("application_name", "passfile", "sslcert", "sslcrl", "sslkey", "sslmode", "sslrootcert", "target_session_attrs")
NOT_MADE = "The log at {place} has no tables yet. Run `outcomes init`."

_SQLITE_FAULTS: tuple[tuple[str, type[OpenOutcomesError], str], ...] = (
    ("SQLITE_NOTADB", IntegrityError, "The file {place} is not an SQLite database. Put back the log from the last backup."),
    ("SQLITE_CORRUPT", IntegrityError, "The log file {place} is damaged. Put it back from the last backup and run `outcomes events verify`."),
    ("SQLITE_CANTOPEN", UnavailableError, "The log file {place} cannot be opened. Check that its folder exists and may be read and written."),
    ("SQLITE_READONLY", UnavailableError, "The log file {place} may not be written. Check the owner and the rights of the file and its folder."),
    ("SQLITE_FULL", UnavailableError, "There is no room on the disk for the log {place}. Make room and run the command again."),
    ("SQLITE_BUSY", UnavailableError, f"Another process held the log {{place}} for over {BUSY_SECONDS} seconds. Run the command again."),
)
_POSTGRES_FAULTS: tuple[tuple[str, type[OpenOutcomesError], str], ...] = (
    ("42P01", ConfigurationError, NOT_MADE),
    ("42501", ConfigurationError, "The database user may not use the log's tables at {place}. Grant it the rights, or run `outcomes init` as owner."),
    ("53100", UnavailableError, "There is no room on the disk of the log's database at {place}. Make room and run the command again."),
    ("55P03", UnavailableError, "Another process held the log at {place} for too long. Run the command again."),
)


@dataclass(frozen=True)
class OpenedRecorder:
    """A recorder that stands ready. `place` names the log in messages and holds no password."""

    recorder: persistence.ApplicationRecorder
    place: str
    close: Callable[[], None]


@dataclass(frozen=True)
class SQLiteDatabase:
    """The log in one file of this machine."""

    path: Path

    @property
    def place(self) -> str:
        """The file."""
        return str(self.path)

    def open(self) -> OpenedRecorder:
        """Open the file. Raises: ConfigurationError when it was not made; UnavailableError when it cannot be used."""
        if not self.path.is_file():
            raise ConfigurationError(NOT_MADE.format(place=self.place))
        datastore = self._datastore("rw")
        try:
            with driver_faults(self.place):
                self._configure(datastore)
                recorder = SQLiteApplicationRecorder(datastore, TABLE)
                recorder.select_events("", limit=1)
        except BaseException:
            datastore.close()
            raise
        return OpenedRecorder(recorder, self.place, datastore.close)

    def migrate(self) -> bool:
        """Make the file and its table where they are missing. Returns: whether there was something to make."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UnavailableError(f"The folder {self.path.parent} cannot be made: {error.strerror}.") from error
        datastore = self._datastore("rwc")
        try:
            with driver_faults(self.place):
                self._configure(datastore)
                return self._make_table(datastore)
        finally:
            datastore.close()

    def _make_table(self, datastore: SQLiteDatastore) -> bool:
        statements = SQLiteApplicationRecorder(datastore, TABLE).create_table_statements
        with datastore.get_connection(commit=True) as connection:
            cursor = connection.cursor()
            # The write lock is taken before looking, so that of two who make the table at once only one says that it did.
            cursor.execute("BEGIN IMMEDIATE")
            cursor.execute("SELECT count(*) FROM sqlite_master WHERE name = ?", (TABLE,))
            is_new: bool = cursor.fetchone()[0] == 0
            for statement in statements:
                cursor.execute(statement)
            connection.commit()
        return is_new

    def _datastore(self, mode: str) -> SQLiteDatastore:
        datastore = SQLiteDatastore(
            f"file:{quote(str(self.path))}?mode={mode}",
            lock_timeout=BUSY_SECONDS,
            pool_size=1,  # one connection, so that the pragmas set on it hold for everything that is read and written
            max_overflow=0,
            pool_timeout=2.0 * BUSY_SECONDS,
            originator_id_type="text",
        )
        # The library would switch the file to write-ahead logging, in which SQLite 3.7.0 to 3.51.2 can corrupt it when two connections write and
        # checkpoint together (https://sqlite.org/wal.html#walresetbug), and most systems carry such a version. Airflow's tasks are such connections.
        # A log of decisions, thousands a day at most, does not need it: a rollback journal, synced with its folder, is enough.
        datastore.pool.is_journal_mode_wal = True
        return datastore

    def _configure(self, datastore: SQLiteDatastore) -> None:
        with datastore.get_connection(commit=True) as connection:
            cursor = connection.cursor()
            cursor.execute("PRAGMA journal_mode=DELETE")
            journal_mode = cursor.fetchone()[0]
            cursor.execute("PRAGMA synchronous=EXTRA")  # FULL, and the folder too: else a power cut can bring the journal back and undo the commit
            cursor.execute("PRAGMA synchronous")
            synchronous = cursor.fetchone()[0]
        if (journal_mode, synchronous) != ("delete", 3):
            raise UnavailableError(f"SQLite will not sync the log file {self.place} as it must. Use another build of SQLite, or another disk.")


@dataclass(frozen=True)
class PostgresDatabase:
    """The log on a PostgreSQL server."""

    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """Server and database, without user and password."""
        return f"{self.host}:{self.port}/{self.database}"

    def open(self) -> OpenedRecorder:
        """Connect. Raises: ConfigurationError when the tables were not made; UnavailableError when the server cannot be reached."""
        from eventsourcing.postgres import PostgresApplicationRecorder

        if not self._has_table():
            raise ConfigurationError(NOT_MADE.format(place=self.place))
        datastore = self._datastore()
        try:
            with driver_faults(self.place):
                recorder = PostgresApplicationRecorder(datastore, events_table_name=TABLE)
        except BaseException:
            datastore.close()
            raise
        return OpenedRecorder(recorder, self.place, datastore.close)

    def migrate(self) -> bool:
        """Make the table where it is missing. Returns: whether there was something to make."""
        from eventsourcing.postgres import PostgresApplicationRecorder

        self._has_table()
        datastore = self._datastore()
        try:
            with driver_faults(self.place):
                recorder = PostgresApplicationRecorder(datastore, events_table_name=TABLE)
                # Making types and functions twice at once fails on PostgreSQL, so one connection holds a lock while another makes them.
                with datastore.transaction(commit=True) as cursor:
                    cursor.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
                    cursor.execute("SELECT to_regclass(%s) IS NOT NULL AS made", (f"public.{TABLE}",))
                    row = cursor.fetchone()
                    if row is not None and row["made"]:
                        return False
                    recorder.create_table()
                return True
        finally:
            datastore.close()

    def _has_table(self) -> bool:
        """Ask by a connection of its own: the pool of the library only says that it waited too long, not why."""
        import psycopg

        try:
            with psycopg.connect(**self._connection(), connect_timeout=CONNECT_SECONDS) as connection:
                row = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (f"public.{TABLE}",)).fetchone()
        except psycopg.Error as error:
            reason = str(error).strip().splitlines()[-1] if str(error).strip() else "no answer"
            if self.password and self.password in reason:
                reason = "the server refused the connection"
            raise UnavailableError(
                f"The log's database at {self.place} cannot be reached ({reason}). Check OUTCOMES_LOG_URL and that the server runs."
            ) from None
        return bool(row and row[0])

    def _connection(self) -> dict[str, Any]:
        given = {"host": self.host, "port": self.port, "dbname": self.database, "user": self.user, "password": self.password, **self.options}
        return {name: value for name, value in given.items() if value != ""}

    def _datastore(self) -> PostgresDatastore:
        from eventsourcing.postgres import PostgresDatastore
        from psycopg.rows import dict_row

        datastore = PostgresDatastore(
            dbname=self.database,
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            connect_timeout=CONNECT_SECONDS,
            idle_in_transaction_session_timeout=BUSY_SECONDS,
            pool_size=1,
            max_overflow=4,
            lock_timeout=CONNECT_SECONDS,  # the library tries ten times
            originator_id_type="text",
            # Insert by one call of a function. The library's other way sends the rows in psycopg's pipeline mode, which can wait for ever when an
            # append is larger than the socket's buffers. That way locks the table; here the chain does: whoever inserts has seen the row before.
            enable_db_functions=True,
        )
        # The datastore knows five settings; the pool under it takes all, and no empty password, so that a password file is asked where there is none.
        datastore.pool.kwargs = {**self._connection(), "row_factory": dict_row}
        return datastore


def parse_log_url(url: str) -> SQLiteDatabase | PostgresDatabase:
    """Return the database that a URL names. The path of an SQLite URL is taken as it stands, without decoding.

    Raises: ConfigurationError, which never repeats the URL, as it may hold a password.
    """
    if url.startswith("sqlite:///"):
        path = Path(url.removeprefix("sqlite:///"))
        if not path.is_absolute():
            raise ConfigurationError("An SQLite log is named by an absolute path: sqlite:////absolute/path/log.sqlite (four slashes).")
        return SQLiteDatabase(path)
    if url.startswith(("postgresql://", "postgres://")):
        return _parse_postgres_url(url)
    raise ConfigurationError("OUTCOMES_LOG_URL must start with sqlite:/// or postgresql://.")


def _parse_postgres_url(url: str) -> PostgresDatabase:
    try:
        parts = urlsplit(url)
        port = parts.port or 5432
    except ValueError:
        raise ConfigurationError("OUTCOMES_LOG_URL is not a URL like postgresql://user:password@host:5432/database.") from None
    options = dict(parse_qsl(parts.query))
    host = parts.hostname or options.pop("host", "")
    database = unquote(parts.path.removeprefix("/"))
    if not host or not database or not parts.username:
        raise ConfigurationError("OUTCOMES_LOG_URL must name user, host and database: postgresql://user:password@host:5432/database.")
    unknown = sorted(set(options) - set(POSTGRES_OPTIONS))
    if unknown:
        raise ConfigurationError(f"OUTCOMES_LOG_URL has an option that is not known. Known are {', '.join(POSTGRES_OPTIONS)}.")
    return PostgresDatabase(host, port, database, unquote(parts.username), unquote(parts.password or ""), options)


@contextmanager
def driver_faults(place: str) -> Iterator[None]:
    """Turn what the driver raises into our errors; a broken unique key passes, because it is an answer and no fault."""
    try:
        yield
    except persistence.IntegrityError:
        raise
    except (persistence.PersistenceError, sqlite3.Error) as error:
        raise _translate(error, place) from error
    except EventSourcingError as error:
        raise UsageError(f"The log at {place} was closed and cannot be used any more.") from error


def _translate(error: Exception, place: str) -> OpenOutcomesError:
    cause = error.__cause__ or error
    sqlite_code = str(getattr(cause, "sqlite_errorname", ""))
    sqlstate = str(getattr(cause, "sqlstate", ""))
    for code, kind, message in _SQLITE_FAULTS:
        if sqlite_code.startswith(code):
            return kind(message.format(place=place))
    for code, kind, message in _POSTGRES_FAULTS:
        if sqlstate == code:
            return kind(message.format(place=place))
    if "no such table" in str(cause) or "Composite type" in str(cause):
        return ConfigurationError(NOT_MADE.format(place=place))
    return UnavailableError(
        f"The log at {place} does not answer. Check that it runs and has room, then run the command again: what was written already is known again."
    )
