"""What a restricted store must do beyond any other: destroy an object for good, in memory, in a folder, and in buckets with and without versions."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.destruction import RestrictedFolderStore, RestrictedS3Store
from pipeline.adapters.object_store import open_restricted_store, open_store
from pipeline.errors import NotFoundError, UnavailableError, UsageError
from pipeline.ports import RestrictedStore
from tests.fakes import RestrictedMemoryStore

NAME = "sha256/ab/" + "c" * 64
LONGER = NAME + ".more"


@pytest.fixture
def bucket(s3_url: str, tmp_path: Path) -> Iterator[RestrictedS3Store]:
    opened = open_restricted_store(s3_url, tmp_path / "cache")
    assert isinstance(opened, RestrictedS3Store)
    yield opened
    opened.client.close()


@pytest.fixture
def versioned(bucket: RestrictedS3Store) -> RestrictedS3Store:
    bucket.client.put_bucket_versioning(Bucket=bucket._bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


@pytest.fixture
def folder(tmp_path: Path) -> RestrictedFolderStore:
    opened = open_restricted_store((tmp_path / "store").as_uri(), tmp_path / "cache")
    assert isinstance(opened, RestrictedFolderStore)
    return opened


@pytest.fixture(params=["memory", "folder", "bucket", "versioned"])
def store(request: pytest.FixtureRequest) -> RestrictedStore:
    if request.param == "memory":
        return RestrictedMemoryStore()
    found: RestrictedStore = request.getfixturevalue(request.param)
    return found


def test_what_is_destroyed_is_gone_and_others_stay(store: RestrictedStore) -> None:
    store.put(NAME, b"bytes")
    store.put(LONGER, b"others")
    kept = store.local(NAME)
    assert store.destroy(NAME)
    assert (store.exists(NAME), kept.exists(), list(store.names())) == (False, False, [LONGER])
    with pytest.raises(NotFoundError):
        store.get(NAME)
    with pytest.raises(NotFoundError):
        store.local(NAME)


def test_destroying_again_or_what_never_was_finds_nothing(store: RestrictedStore) -> None:
    assert not store.destroy(NAME)
    store.put(NAME, b"bytes")
    assert [store.destroy(NAME), store.destroy(NAME)] == [True, False]


def test_a_name_that_was_destroyed_can_be_put_again(store: RestrictedStore) -> None:
    store.put(NAME, b"bytes")
    store.destroy(NAME)
    assert store.put(NAME, b"bytes")
    assert store.get(NAME) == b"bytes"


def test_a_name_that_cannot_be_is_refused(store: RestrictedStore) -> None:
    with pytest.raises(UsageError, match="named by a relative path"):
        store.destroy("../secrets")


def test_every_version_in_a_bucket_is_destroyed_also_those_that_somebody_deleted(versioned: RestrictedS3Store) -> None:
    key = versioned._key(NAME)
    versioned.put(NAME, b"bytes")
    versioned.client.delete_object(Bucket=versioned._bucket, Key=key)
    versioned.put(NAME, b"bytes")
    found: Any = versioned.client.list_object_versions(Bucket=versioned._bucket)
    assert (len(found["Versions"]), len(found["DeleteMarkers"])) == (2, 1)
    assert versioned.destroy(NAME)
    after: Any = versioned.client.list_object_versions(Bucket=versioned._bucket)
    assert "Versions" not in after
    assert "DeleteMarkers" not in after


def test_an_object_that_a_bucket_keeps_all_the_same_is_an_alarm(bucket: RestrictedS3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.put(NAME, b"bytes")
    monkeypatch.setattr(bucket.client, "delete_object", lambda **given: {})
    with pytest.raises(UnavailableError, match="keeps an object that was to be destroyed"):
        bucket.destroy(NAME)


def test_the_copy_on_another_machine_goes_when_it_is_destroyed_there_again(bucket: RestrictedS3Store, s3_url: str, tmp_path: Path) -> None:
    bucket.put(NAME, b"bytes")
    other = open_restricted_store(s3_url, tmp_path / "other")
    kept = other.local(NAME)
    bucket.destroy(NAME)
    assert kept.exists()
    assert not other.destroy(NAME)
    assert not kept.exists()


def test_what_a_writer_left_when_it_died_goes_and_what_another_is_writing_stays(folder: RestrictedFolderStore, tmp_path: Path) -> None:
    """The writer is a process of its own that is killed between the bytes and the name."""
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from pipeline.adapters.folder_store import FolderStore\n"
        "os.link = lambda *given: os.kill(os.getpid(), signal.SIGKILL)\n"
        "FolderStore(Path(sys.argv[1])).put(sys.argv[2], b'left behind')\n"
    )
    root = tmp_path / "store"
    done = subprocess.run([sys.executable, "-c", script, str(root), NAME], env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])})
    assert done.returncode == -9
    (left,) = (root / ".tmp").iterdir()
    assert left.read_bytes() == b"left behind"
    with folder._written(b"being written") as unfinished:
        folder.destroy(NAME)
        assert not left.exists()
        assert unfinished.read_bytes() == b"being written"


def test_the_public_store_has_no_way_to_destroy(tmp_path: Path, s3_url: str) -> None:
    for url in ((tmp_path / "store").as_uri(), s3_url):
        opened: Any = open_store(url, tmp_path / "cache")
        assert not hasattr(opened, "destroy")
        if hasattr(opened, "client"):
            opened.client.close()
