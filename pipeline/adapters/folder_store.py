"""An object store in a folder of this machine.

Bytes are written under another name in the same file system, synced, and linked to their own name, which fails when the name is taken: so an object
is whole or not there, and never overwritten. Folders are synced as well, or a power cut could forget the name and keep the bytes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from pipeline.adapters.object_store import check_name, check_source, sha256_of, size_of, sync
from pipeline.errors import ConfigurationError, NotFoundError, ObjectConflictError, UnavailableError

UNFINISHED = ".tmp"
_PIECE = 1 << 20
_ADVICE = {
    errno.ENOSPC: "there is no room on the disk; make room and run the command again",
    errno.EDQUOT: "the disk quota is used up; make room and run the command again",
    errno.EACCES: "its rights do not allow it; check the owner of the folder",
    errno.EPERM: "the file system does not allow it; the store needs one with hard links, and the right to write",
    errno.ENOTSUP: "the file system has no hard links; choose a folder on another",
    errno.EROFS: "it is mounted for reading only",
}


class FolderStore:
    """An `ObjectStore` in a folder. Nothing is made before the first object is put."""

    def __init__(self, root: Path) -> None:
        if root.exists() and not root.is_dir():
            raise ConfigurationError(f"{root} is to be the folder of a store, but it is a file. Correct the URL of the store.")
        self._root = root

    def put(self, name: str, content: bytes | Path) -> bool:
        """Store bytes, or the bytes of a file, under a name; visible whole or not at all, and durable on return.

        Returns: True when they were new, False when the same bytes stood there already.
        Raises: ObjectConflictError when other bytes stand there; UnavailableError when the store cannot be written.
        """
        path = self._path(name)
        check_source(content)
        with self._faults():
            is_new = not os.path.lexists(path) and self._link(path, content)
            if not is_new:
                self._compare(name, path, content)
            # Also when the bytes stood there: whoever put them may have died before the folders were synced.
            self._sync_folders(path.parent)
        return is_new

    def replace(self, name: str, content: bytes) -> None:
        """Write a derived document (an index, an alias) that can be made again from what is immutable."""
        path = self._path(name)
        with self._faults():
            self._make_folders(name, path.parent)
            with self._written(content) as unfinished:
                unfinished.replace(path)
            self._sync_folders(path.parent)

    def get(self, name: str) -> bytes:
        """Return an object's bytes. Raises: NotFoundError."""
        with self._faults(), self._found(name):
            return self._path(name).read_bytes()

    def local(self, name: str) -> Path:
        """Return the path at which the object stands. Raises: NotFoundError."""
        if not self.exists(name):
            raise NotFoundError(f"The store holds no object {name}.")
        return self._path(name)

    def exists(self, name: str) -> bool:
        """Say whether an object stands under a name."""
        with self._faults():
            return self._path(name).is_file()

    def names(self, prefix: str = "") -> Iterator[str]:
        """Yield the names that start with a prefix, in order. Nothing that must be right depends on this."""
        yield from self._walk("", prefix)

    def _path(self, name: str) -> Path:
        check_name(name)
        return self._root / name

    def _walk(self, folder: str, prefix: str) -> Iterator[str]:
        with self._faults():
            try:
                with os.scandir(self._root / folder) as found:
                    entries = sorted(entry.name + "/" if entry.is_dir() else entry.name for entry in found)
            except (FileNotFoundError, NotADirectoryError):
                return
        # Sorted with the slash, folders fall where their objects' whole names belong.
        for entry in entries:
            name = folder + entry
            if entry.startswith("."):
                continue
            if entry.endswith("/") and (name.startswith(prefix) or prefix.startswith(name)):
                yield from self._walk(name, prefix)
            elif not entry.endswith("/") and name.startswith(prefix):
                yield name

    def _link(self, path: Path, content: bytes | Path) -> bool:
        """Say whether the bytes now stand under the path; False when the name was taken meanwhile."""
        self._make_folders(str(path.relative_to(self._root)), path.parent)
        with self._written(content) as unfinished:
            try:
                os.link(unfinished, path)
            except FileExistsError:
                return False
        return True

    @contextmanager
    def _written(self, content: bytes | Path) -> Iterator[Path]:
        """Give the path of a synced file with the content, in the store's file system, that is gone afterwards."""
        folder = self._root / UNFINISHED
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = folder / uuid4().hex
        try:
            with unfinished.open("xb") as file, unfinished.open("rb") as held:
                fcntl.flock(held, fcntl.LOCK_EX)  # says until it has its name that somebody is at it: what a dead writer left has no lock
                if isinstance(content, bytes):
                    file.write(content)
                else:
                    with content.open("rb") as source:
                        shutil.copyfileobj(source, file, _PIECE)
                file.flush()
                os.fsync(file.fileno())
                file.close()
                yield unfinished
        finally:
            unfinished.unlink(missing_ok=True)

    def _compare(self, name: str, path: Path, content: bytes | Path) -> None:
        if not path.is_file() or path.stat().st_size != size_of(content) or sha256_of(path) != sha256_of(content):
            raise ObjectConflictError(f"Other bytes stand under {name} already; stored objects are never overwritten.")

    def _make_folders(self, name: str, folder: Path) -> None:
        missing = [place for place in (folder, *folder.parents) if not place.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise ObjectConflictError(f"A part of the name {name} is the name of an object already.") from error
        for place in missing:
            sync(place.parent)

    def _sync_folders(self, folder: Path) -> None:
        """Make the entries of a folder durable, and those of the folders above it up to the root."""
        sync(folder)
        while folder != self._root:
            folder = folder.parent
            sync(folder)

    @contextmanager
    def _found(self, name: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise NotFoundError(f"The store holds no object {name}.") from error

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            advice = _ADVICE.get(error.errno or 0, (error.strerror or "the reason is not known").lower())
            raise UnavailableError(f"The store {self._root} cannot be used: {advice}.") from error
