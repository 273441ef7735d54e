"""The object stores by URL, and what both kinds share: which names an object may have, and the hash that says whether bytes are the same.

`file:///absolute/folder` is a folder of this machine (`folder_store`), `s3://bucket/prefix?endpoint_url=...&region=...` a bucket (`s3_store`).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from pipeline.errors import ConfigurationError, NotFoundError, UsageError
from pipeline.ports import ObjectStore, RestrictedStore

Folder = TypeVar("Folder")
Bucket = TypeVar("Bucket")

LONGEST_NAME = 512
LONGEST_SEGMENT = 200
_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=+@-]*", re.ASCII)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_S3_SETTINGS = ("endpoint_url", "region")


def open_store(url: str, cache: Path) -> ObjectStore:
    """Open the store that a URL names; `cache` is the folder in which objects of a remote store are kept for reading.

    Raises: ConfigurationError when the URL is none.
    """
    from pipeline.adapters.folder_store import FolderStore
    from pipeline.adapters.s3_store import S3Store

    return _open(url, cache, FolderStore, S3Store)


def open_restricted_store(url: str, cache: Path) -> RestrictedStore:
    """Open a store of which objects can be destroyed. Raises: ConfigurationError when the URL is none."""
    from pipeline.adapters.destruction import RestrictedFolderStore, RestrictedS3Store

    return _open(url, cache, RestrictedFolderStore, RestrictedS3Store)


def _open(url: str, cache: Path, folder: Callable[[Path], Folder], bucket: Callable[..., Bucket]) -> Folder | Bucket:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ConfigurationError("A store's URL cannot be read. It looks like file:///absolute/folder or s3://bucket/prefix.") from None
    if parts.scheme == "file":
        return folder(_folder(parts.netloc, unquote(parts.path)))
    if parts.scheme == "s3":
        name, prefix, settings = parts.netloc, parts.path.strip("/"), dict(parse_qsl(parts.query))
        _check_bucket(name, prefix, settings)
        return bucket(name, prefix, cache, endpoint_url=settings.get("endpoint_url"), region=settings.get("region"))
    raise ConfigurationError("A store's URL must start with file:/// or s3://.")


def _folder(host: str, path: str) -> Path:
    if host not in ("", "localhost") or not path.startswith("/"):
        raise ConfigurationError("A folder is named by an absolute path: file:///absolute/folder (three slashes).")
    return Path(path)


def _check_bucket(bucket: str, prefix: str, settings: dict[str, str]) -> None:
    if not _BUCKET.fullmatch(bucket):
        raise ConfigurationError(
            "A bucket is named like s3://bucket/prefix. Credentials never stand in the URL: boto3 finds them in its usual places."
        )
    if set(settings) - set(_S3_SETTINGS):
        raise ConfigurationError(f"The URL of an S3 store has a setting that is not known. Known are {' and '.join(_S3_SETTINGS)}.")
    if prefix:
        check_name(prefix)


def check_name(name: str) -> None:
    """Raise UsageError unless an object may have this name.

    A name is relative, has no empty segment and none that starts with a dot, so it can neither leave the store nor meet what the store keeps for
    itself; the letters are those that mean the same in a path, a URL and an S3 key.
    """
    segments = name.split("/")
    if len(name) > LONGEST_NAME or not all(len(segment) <= LONGEST_SEGMENT and _SEGMENT.fullmatch(segment) for segment in segments):
        raise UsageError("An object is named by a relative path of letters, digits and _ . = + @ -, in which no part is empty or starts with a dot.")


def check_source(content: bytes | Path) -> None:
    """Raise NotFoundError when the file that is to be stored is not there."""
    if isinstance(content, Path) and not content.is_file():
        raise NotFoundError("The file that was to be stored is not there (any more).")


def sha256_of(content: bytes | Path) -> str:
    """Return the SHA-256 of bytes, or of a file read piece by piece, in hexadecimal."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def size_of(content: bytes | Path) -> int:
    """Return the number of bytes."""
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def sync(path: Path) -> None:
    """Bring a file's bytes, or a folder's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
