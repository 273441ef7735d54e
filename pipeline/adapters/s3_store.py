"""An object store in an S3 bucket, or behind anything that speaks S3 with conditional writes.

A put carries `If-None-Match: *` and the SHA-256 of its bytes: the bucket takes it whole, unless the name is taken. When an answer is lost, boto3
sends again and is told 412, that the name is taken, by our own bytes; so after a 412 we look what stands there. Objects up to 5 GiB go in one
request; nothing that the pipeline stores comes near, so uploads in parts are not needed. Credentials come from boto3's default chain.
"""

from __future__ import annotations

import base64
import hashlib
import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from uuid import uuid4

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, FlexibleChecksumError, NoCredentialsError, NoRegionError, PartialCredentialsError

from pipeline.adapters.object_store import check_name, check_source, sha256_of, size_of, sync
from pipeline.errors import ConfigurationError, IntegrityError, NotFoundError, ObjectConflictError, OpenOutcomesError, UnavailableError, UsageError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

LARGEST_BYTES = 5 * 1024**3
ATTEMPTS = 6
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
_PIECE = 1 << 20
_MISSING = ("404", "NoSuchKey", "NotFound")
_REFUSED = ("401", "403", "AccessDenied", "ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch")


class _BrokenOffError(UnavailableError):
    """The connection broke within an object; boto3 tries again only before that."""


class S3Store:
    """An `ObjectStore` in a bucket, under a prefix. Threads may share it."""

    def __init__(
        self,
        bucket: str,
        prefix: str,
        cache: Path,
        *,
        endpoint_url: str | None = None,
        region: str | None = None,
        page_size: int = 1000,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._cache = cache / hashlib.sha256(f"{endpoint_url or ''} {bucket} {prefix}".encode()).hexdigest()[:16]
        self._place = f"s3://{bucket}/{prefix}".rstrip("/")
        self._page_size = page_size
        self._pause = pause
        self._has_bucket = False
        try:
            self.client: S3Client = boto3.session.Session().client("s3", endpoint_url=endpoint_url, region_name=region, config=_config(endpoint_url))
        except (BotoCoreError, ValueError) as error:
            raise ConfigurationError(f"The endpoint or the region of {self._place} cannot be used. Correct the URL of the store.") from error

    def put(self, name: str, content: bytes | Path) -> bool:
        """Store bytes, or the bytes of a file, under a name; visible whole or not at all, and durable on return.

        Returns: True when they were new, False when the same bytes stood there already.
        Raises: ObjectConflictError when other bytes stand there; UnavailableError when the store cannot be written.
        """
        key = self._key(name)
        check_source(content)
        size = size_of(content)
        if size > LARGEST_BYTES:
            raise UsageError(f"An object of {size} bytes is too large for one upload to S3 (5 GiB). Split what is stored under {name}.")
        digest = sha256_of(content)
        for number in range(1, ATTEMPTS + 1):
            # Looked for first: bytes that stand there already are not sent again.
            standing = self._head(key)
            if standing is not None:
                if self._is_same(key, standing, size, digest):
                    return False
                raise ObjectConflictError(f"Other bytes stand under {name} already; stored objects are never overwritten.")
            if self._was_accepted(key, content, digest):
                self._check_stored(name, size, digest)
                return True
            self._rest(number)
        raise UnavailableError(f"{self._place} refused to store {name} {ATTEMPTS} times because others wrote there. Run the command again.")

    def replace(self, name: str, content: bytes) -> None:
        """Write a derived document (an index, an alias) that can be made again from what is immutable."""
        with self._faults():
            self.client.put_object(Bucket=self._bucket, Key=self._key(name), Body=content, **_checksum(sha256_of(content)))

    def get(self, name: str) -> bytes:
        """Return an object's bytes. Raises: NotFoundError."""
        target = BytesIO()
        self._download(name, lambda: nullcontext(target))
        return target.getvalue()

    def local(self, name: str) -> Path:
        """Return the path of a copy on this machine, fetched unless the copy that is kept is of the very object. Raises: NotFoundError.

        The store is asked every time, so that an object that was destroyed or replaced is not served from the copies.
        """
        folder = self._kept(name)
        standing = self._head(self._key(name))
        if standing is None:
            shutil.rmtree(folder, ignore_errors=True)
            raise NotFoundError(f"{self._place} holds no object {name}.")
        path = folder / hashlib.sha256(standing["ETag"].encode()).hexdigest()[:32] / name.rpartition("/")[2]
        if not path.is_file() or path.stat().st_size != standing["ContentLength"]:
            self._fetch(name, path)
        return path

    def exists(self, name: str) -> bool:
        """Say whether an object stands under a name."""
        return self._head(self._key(name)) is not None

    def names(self, prefix: str = "") -> Iterator[str]:
        """Yield the names that start with a prefix, in order. Nothing that must be right depends on this."""
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix + prefix, PaginationConfig={"PageSize": self._page_size}
        )
        with self._faults():
            for page in pages:
                for entry in page.get("Contents", ()):
                    yield entry["Key"].removeprefix(self._prefix)

    def _kept(self, name: str) -> Path:
        """Return the folder in which copies of an object are kept on this machine."""
        return self._cache / hashlib.sha256(name.encode()).hexdigest()[:32]

    def _key(self, name: str) -> str:
        check_name(name)
        return self._prefix + name

    def _was_accepted(self, key: str, content: bytes | Path, digest: str) -> bool:
        """Send the bytes on the condition that the name is free; say whether the bucket took them."""
        with self._faults(), _opened(content) as body:
            try:
                self.client.put_object(Bucket=self._bucket, Key=key, Body=body, IfNoneMatch="*", **_checksum(digest))
            except ClientError as error:
                if _status(error) in (409, 412):
                    return False
                raise
        return True

    def _check_stored(self, name: str, size: int, digest: str) -> None:
        key = self._key(name)
        standing = self._head(key)
        if standing is None or not self._is_same(key, standing, size, digest):
            raise IntegrityError(f"{self._place} does not hold under {name} what was just stored there. Look at the bucket before you go on.")

    def _head(self, key: str) -> HeadObjectOutputTypeDef | None:
        try:
            with self._faults():
                return self.client.head_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED")
        except NotFoundError:
            self._check_bucket()
            return None

    def _check_bucket(self) -> None:
        """Tell, once, a missing bucket from a missing object: the answer to a HEAD does not say which it is."""
        if not self._has_bucket:
            with self._faults():
                self.client.head_bucket(Bucket=self._bucket)
            self._has_bucket = True

    def _is_same(self, key: str, standing: HeadObjectOutputTypeDef, size: int, digest: str) -> bool:
        if standing["ContentLength"] != size:
            return False
        stored = standing.get("ChecksumSHA256", "")
        if stored and "-" not in stored:  # a hyphen marks the checksum of an upload in parts, which is not that of the bytes
            return stored == _base64(digest)
        hashed = hashlib.sha256()
        for piece in self._pieces(key):
            hashed.update(piece)
        return hashed.hexdigest() == digest

    def _pieces(self, key: str) -> Iterator[bytes]:
        """Yield an object's bytes; boto3 compares their checksum with the stored one at the end."""
        with self._faults():
            body = self.client.get_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED")["Body"]
        pieces = body.iter_chunks(_PIECE)
        while True:
            try:
                with self._faults():
                    piece = next(pieces, b"")
            except UnavailableError as error:
                raise _BrokenOffError(str(error)) from error
            if not piece:
                return
            yield piece

    def _fetch(self, name: str, path: Path) -> None:
        unfinished = path.parent.parent / f".{uuid4().hex}"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._download(name, lambda: unfinished.open("wb"))
                sync(unfinished)
                unfinished.replace(path)
            finally:
                unfinished.unlink(missing_ok=True)
        except OSError as error:
            raise UnavailableError(f"An object of {self._place} cannot be kept in {self._cache}: {(error.strerror or '').lower()}.") from error

    def _download(self, name: str, opened: Callable[[], Any]) -> None:
        """Copy an object's bytes, from the start again when the connection breaks within."""
        key = self._key(name)
        number = 0
        while True:
            number += 1
            try:
                with opened() as target:
                    target.seek(0)
                    target.truncate()
                    for piece in self._pieces(key):
                        target.write(piece)
            except _BrokenOffError:
                if number == ATTEMPTS:
                    raise
                self._rest(number)
            else:
                return

    def _rest(self, number: int) -> None:
        self._pause(random.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2**number)))  # noqa: S311 spreads writers, guards no secret

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            raise self._translate(error) from error
        except FlexibleChecksumError as error:
            raise IntegrityError(f"{self._place} gave other bytes than were stored there. Look at the bucket before you go on.") from error
        except (NoCredentialsError, PartialCredentialsError, NoRegionError) as error:
            raise ConfigurationError(f"boto3 found no credentials or no region for {self._place}. Set AWS_ACCESS_KEY_ID and its fellows.") from error
        except (BotoCoreError, OSError) as error:
            raise UnavailableError(f"{self._place} does not answer. Check the network and the endpoint, then run the command again.") from error

    def _translate(self, error: ClientError) -> OpenOutcomesError:
        code, status = error.response["Error"]["Code"], _status(error)
        if code == "NoSuchBucket" or (error.operation_name == "HeadBucket" and status == 404):
            return ConfigurationError(f"There is no bucket {self._bucket}. Make it, or correct the URL of the store.")
        if code in _MISSING:
            return NotFoundError(f"{self._place} holds no such object.")
        if code in _REFUSED:
            return UnavailableError(f"{self._place} refused the credentials ({code}). Check that they are valid and may read, write and list there.")
        return UnavailableError(f"{self._place} cannot be used at the moment ({code}). Run the command again.")


def _status(error: ClientError) -> int:
    return error.response["ResponseMetadata"]["HTTPStatusCode"]


def _config(endpoint_url: str | None) -> Config:
    return Config(
        connect_timeout=10,
        read_timeout=30,
        retries={"mode": "standard", "total_max_attempts": 4},
        max_pool_connections=16,
        # Servers other than Amazon's have one host name, so the bucket goes into the path.
        s3={"addressing_style": "path" if endpoint_url else "auto"},
    )


def _checksum(digest: str) -> dict[str, Any]:
    return {"ChecksumAlgorithm": "SHA256", "ChecksumSHA256": _base64(digest)}


def _base64(digest: str) -> str:
    return base64.b64encode(bytes.fromhex(digest)).decode("ascii")


@contextmanager
def _opened(content: bytes | Path) -> Iterator[bytes | BinaryIO]:
    if isinstance(content, bytes):
        yield content
    else:
        with content.open("rb") as file:
            yield file
