"""What an object store in a folder must survive: full disks, dead writers, names that meet."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.folder_store import FolderStore
from pipeline.errors import (
    ObjectConflictError,
    UnavailableError,
)


def test_nothing_is_left_behind_beside_the_objects(folder: FolderStore, tmp_path: Path) -> None:
    folder.put("a/b", b"bytes")
    folder.put("a/b", b"bytes")
    folder.replace("a/c", b"bytes")
    with pytest.raises(ObjectConflictError):
        folder.put("a/b", b"other")

    root = tmp_path / "new" / "store"
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()) == ["a/b", "a/c"]


def test_unfinished_files_of_a_writer_who_died_are_not_objects(folder: FolderStore, tmp_path: Path) -> None:
    folder.put("a", b"bytes")
    (tmp_path / "new" / "store" / ".tmp" / "left").write_bytes(b"half")

    assert list(folder.names()) == ["a"]


def test_an_object_gets_its_name_only_when_its_bytes_and_then_the_folder_are_on_the_disk(
    folder: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    real_fsync, real_link = os.fsync, os.link

    def fsync(descriptor: int) -> None:
        calls.append("fsync folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "fsync file")
        real_fsync(descriptor)

    def link(source: Any, target: Any) -> None:
        calls.append("link")
        real_link(source, target)

    folder.put("a/first", b"makes the folders")
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", link)

    folder.put("a/b", b"bytes")
    assert calls == ["fsync file", "link", "fsync folder", "fsync folder"]

    calls.clear()
    folder.put("new/folder/b", b"bytes")
    assert calls == ["fsync folder", "fsync folder", "fsync file", "link", "fsync folder", "fsync folder", "fsync folder"]

    calls.clear()
    folder.put("a/b", b"bytes")
    assert calls == ["fsync folder", "fsync folder"]  # whoever put them first may have died before this


def test_a_name_below_an_object_or_of_a_folder_is_a_conflict(folder: FolderStore) -> None:
    folder.put("a/b", b"bytes")

    for name in ("a/b/c", "a/b/c/d", "a"):
        with pytest.raises(ObjectConflictError):
            folder.put(name, b"bytes")
    with pytest.raises(ObjectConflictError):
        folder.replace("a/b/c", b"bytes")


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "no room on the disk"),
        (errno.EACCES, "check the owner"),
        (errno.EROFS, "reading only"),
        (errno.EPERM, "hard links"),
        (errno.EIO, "input/output error"),
    ],
)
@pytest.mark.parametrize("call", ["fsync", "link"])
def test_a_disk_that_fails_is_unavailable_and_nothing_is_half_done(
    folder: FolderStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, call: str, number: int, says: str
) -> None:
    folder.put("a/first", b"makes the folders")

    def fail(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as broken:
        broken.setattr(os, call, fail)
        with pytest.raises(UnavailableError, match=says):
            folder.put("a/b", b"bytes")

    assert not folder.exists("a/b")
    assert list((tmp_path / "new" / "store" / ".tmp").iterdir()) == []
    assert folder.put("a/b", b"bytes")


def test_a_full_disk_in_the_middle_of_the_bytes_leaves_nothing(folder: FolderStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"bytes")

    def fail(source: Any, target: Any, piece: int) -> None:
        target.write(b"by")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(shutil, "copyfileobj", fail)
        with pytest.raises(UnavailableError, match="no room"):
            folder.put("a", source)

    assert not folder.exists("a")
    assert folder.put("a", source)


def test_a_name_that_is_taken_while_the_bytes_are_written_is_compared(folder: FolderStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real_link = os.link

    def another_is_faster(source: Any, target: Any) -> None:
        Path(target).write_bytes(b"bytes")
        real_link(source, target)

    monkeypatch.setattr(os, "link", another_is_faster)

    assert not folder.put("a", b"bytes")
    with pytest.raises(ObjectConflictError):
        folder.put("b", b"other")
