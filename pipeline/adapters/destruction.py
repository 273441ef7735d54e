"""Restricted stores: those of which an object can be destroyed, in a folder and in a bucket. The public store has none of this."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

from pipeline.adapters.folder_store import UNFINISHED, FolderStore
from pipeline.adapters.object_store import sync
from pipeline.adapters.s3_store import S3Store
from pipeline.errors import UnavailableError


class RestrictedFolderStore(FolderStore):
    """A `RestrictedStore` in a folder."""

    def destroy(self, name: str) -> bool:
        """Destroy an object, and whatever writers that died have left unfinished; durable on return. Returns: whether the object was there."""
        path = self._path(name)
        with self._faults():
            stood = path.is_file()
            path.unlink(missing_ok=True)
            for folder in [place for place in (path.parent, *path.parents) if place.is_dir()][:1]:
                sync(folder)
            for unfinished in (self._root / UNFINISHED).glob("*"):
                _unlink_dead(unfinished)
        return stood


class RestrictedS3Store(S3Store):
    """A `RestrictedStore` in a bucket, versioned or not. Give it the right to list and delete versions, and no lock on the bucket."""

    def destroy(self, name: str) -> bool:
        """Destroy every version of an object and every mark that it was deleted, and the copy on this machine. Returns: whether there was any."""
        key = self._key(name)
        found = 0
        with self._faults():
            pages = self.client.get_paginator("list_object_versions").paginate(Bucket=self._bucket, Prefix=key)
            for page in pages:
                for entry in [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]:
                    if entry["Key"] == key:
                        self.client.delete_object(Bucket=self._bucket, Key=key, VersionId=entry["VersionId"])
                        found += 1
        shutil.rmtree(self._kept(name), ignore_errors=True)
        if self.exists(name) or self._kept(name).exists():
            raise UnavailableError(
                f"{self._place} keeps an object that was to be destroyed. Look for a retention lock on the bucket, then run it again."
            )
        return found > 0


def _unlink_dead(unfinished: Path) -> None:
    """Take away an unfinished file unless somebody writes it: a writer holds its lock until it has its name."""
    try:
        descriptor = os.open(unfinished, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unfinished.unlink(missing_ok=True)
    except BlockingIOError:
        return
    finally:
        os.close(descriptor)
