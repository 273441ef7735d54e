"""The logs and stores of the contract suites: which one a test runs on stands in its name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.adapters.event_log import RecorderLog, migrate_log, open_log
from pipeline.adapters.folder_store import FolderStore
from pipeline.adapters.object_store import open_store
from pipeline.adapters.s3_store import S3Store
from pipeline.ports import EventLog, ObjectStore
from tests.fakes import MemoryLog, MemoryStore


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of a log whose tables were not made yet."""
    if request.param == "postgresql":
        found: str = request.getfixturevalue("postgres_url")
        return found
    return f"sqlite:///{tmp_path / 'log.sqlite'}"


@pytest.fixture
def made_url(url: str) -> str:
    migrate_log(url)
    return url


@pytest.fixture
def stored(made_url: str) -> Iterator[RecorderLog]:
    """Open a log in a database."""
    with open_log(made_url) as log:
        yield log


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EventLog]:
    if request.param == "memory":
        yield MemoryLog()
        return
    found = request.getfixturevalue("postgres_url") if request.param == "postgresql" else f"sqlite:///{tmp_path / 'log.sqlite'}"
    migrate_log(found)
    with open_log(found) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> FolderStore:
    opened = open_store((tmp_path / "new" / "store").as_uri(), tmp_path / "cache")
    assert isinstance(opened, FolderStore)
    return opened


@pytest.fixture
def s3(s3_url: str, tmp_path: Path) -> Iterator[S3Store]:
    opened = open_store(s3_url, tmp_path / "cache")
    assert isinstance(opened, S3Store)
    yield opened
    opened.client.close()


@pytest.fixture(params=["memory", "folder", "s3"])
def store(request: pytest.FixtureRequest) -> ObjectStore:
    """Give an empty store; which one stands in the test's name."""
    if request.param == "memory":
        return MemoryStore()
    found: ObjectStore = request.getfixturevalue(request.param)
    return found
