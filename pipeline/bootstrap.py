"""The composition root: settings become adapters, adapters become services. The only place that knows which technology stands behind a port."""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pipeline
from pipeline.adapters.definitions import find_definitions, find_lock, load_definitions, with_rules
from pipeline.adapters.event_log import migrate_log, open_log
from pipeline.adapters.object_store import open_restricted_store, open_store
from pipeline.adapters.pseudonyms import KeyedPseudonymiser, make_key, read_key
from pipeline.adapters.signing import FileSigner, make_signing_key
from pipeline.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.application.services import Services
    from pipeline.domain.tables import Definitions
    from pipeline.ports import Clock, ObjectStore
    from pipeline.stages.indigo import IndigoExport


@dataclass(frozen=True, kw_only=True)
class Initialised:
    """What `initialise` made; all False when everything was there already."""

    log: bool
    key: bool
    folders: bool


@dataclass(frozen=True)
class LaterWarehouse:
    """The warehouse, whose libraries take a third of a second to load: only the verbs that tabulate pay for that."""

    definitions: Definitions

    def tabulate(self, facts: Mapping[str, Sequence[Path]], register: Mapping[str, pa.Table], as_of: date) -> Mapping[str, pa.Table]:
        """Return every published table, unprotected."""
        from pipeline.adapters.warehouse import DuckDbWarehouse

        return DuckDbWarehouse(self.definitions).tabulate(facts, register, as_of)


def initialise(settings: Settings) -> Initialised:
    """Make the log's tables, the two keys (for pseudonyms, for signing releases) and the folders. Safe to run again, and by two at once."""
    folders = [folder for folder in (settings.home, settings.inbox) if not folder.is_dir()]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    made_keys = [make_key(settings.key_file), make_signing_key(settings.signing_key_file)]
    return Initialised(log=migrate_log(settings.log_url), key=any(made_keys), folders=bool(folders))


def definitions_of(settings: Settings) -> Definitions:
    """Return the schemas, code lists, rules and suites of an installation."""
    return load_definitions(settings.definitions or find_definitions())


def code_version() -> str:
    """Return the version of this code and, where its lock file is at hand, the hash of that: what a release says it was made with."""
    lock = find_lock()
    return f"{pipeline.__version__}+lock.{lock}" if lock else pipeline.__version__


def clock_of(settings: Settings) -> Clock:
    """Return the clock of an installation: the system's, or one that stands still at OUTCOMES_NOW (for tests and demonstrations)."""
    fixed = settings.fixed_now
    if fixed is not None:
        return lambda: fixed
    return lambda: datetime.now(UTC)


@contextmanager
def open_services(environment: Mapping[str, str], actor: str | None = None, rules: Path | None = None) -> Iterator[Services]:
    """Open everything that the verbs need, and close it again.

    `actor` is who acts; without it OUTCOMES_ACTOR or the name of the operating system's user. `rules` is a catalogue file whose rules are tried
    in place of those installed.
    Raises: ConfigurationError when a setting is unusable or the workspace was not initialised.
    """
    from pipeline.adapters.duckdb_checks import DuckDbChecker
    from pipeline.adapters.expectation_checks import ExpectationChecker
    from pipeline.adapters.reader import ContainedReader
    from pipeline.adapters.register_files import read_register
    from pipeline.application.services import Services

    settings = Settings.parse(environment)
    definitions = with_rules(definitions_of(settings), rules) if rules is not None else definitions_of(settings)
    with open_log(settings.log_url) as log:
        yield Services(
            log=log,
            restricted=open_restricted_store(settings.restricted_url, settings.home / "cache" / "restricted"),
            public=open_store(settings.public_url, settings.home / "cache" / "public"),
            reader=ContainedReader(definitions, settings.reader_memory_mb, settings.reader_seconds),
            structure=DuckDbChecker(definitions),
            content=ExpectationChecker(definitions),
            pseudonymiser=KeyedPseudonymiser(read_key(settings.key_file)),
            signer=FileSigner(settings.signing_key_file),
            warehouse=LaterWarehouse(definitions),
            read_register=lambda folder: read_register(folder, definitions),
            definitions=definitions,
            clock=clock_of(settings),
            actor=actor or settings.actor or getpass.getuser(),
            code=code_version(),
            approvals_needed=settings.approvals,
        )


def read_indigo_export(folder: Path) -> IndigoExport:
    """Read the CSV files of an INDIGO export. Raises: UsageError when there is no such folder."""
    from pipeline.adapters.indigo_export import read_export

    return read_export(folder)


def inbox_of(environment: Mapping[str, str]) -> Path:
    """Return the folder into which deliveries are dropped."""
    return Settings.parse(environment).inbox


def public_store_of(environment: Mapping[str, str]) -> ObjectStore:
    """Open the public store alone, for those who must see nothing else: no log, no restricted store, no key."""
    settings = Settings.parse(environment)
    return open_store(settings.public_url, settings.home / "cache" / "public")
