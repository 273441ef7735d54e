"""What every object store must do, in memory, in a folder and behind the S3 API; and which URLs name one."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from pipeline.adapters.object_store import open_store
from pipeline.adapters.s3_store import S3Store
from pipeline.errors import (
    ConfigurationError,
    NotFoundError,
    ObjectConflictError,
    UsageError,
)
from pipeline.ports import ObjectStore
from tests.contract.given import run_together

NAME = "sha256/ab/" + "c" * 64


# What every store does.


def test_what_is_put_is_got_back(store: ObjectStore) -> None:
    assert not store.exists(NAME)

    assert store.put(NAME, b"bytes \x00\xff")

    assert store.exists(NAME)
    assert store.get(NAME) == store.local(NAME).read_bytes() == b"bytes \x00\xff"


def test_the_same_bytes_again_are_no_news(store: ObjectStore) -> None:
    assert store.put(NAME, b"bytes")
    assert not store.put(NAME, b"bytes")


@pytest.mark.parametrize("other", [b"other", b"byte", b"", b"bytes and more"])
def test_other_bytes_are_refused_and_those_that_stand_stay(store: ObjectStore, other: bytes) -> None:
    store.put(NAME, b"bytes")

    with pytest.raises(ObjectConflictError, match="never overwritten"):
        store.put(NAME, other)

    assert store.get(NAME) == b"bytes"


def test_an_empty_object_is_an_object(store: ObjectStore) -> None:
    assert store.put(NAME, b"")
    assert not store.put(NAME, b"")
    assert store.exists(NAME)
    assert store.get(NAME) == store.local(NAME).read_bytes() == b""


def test_a_file_is_stored_by_its_bytes_and_stays_where_it_is(store: ObjectStore, tmp_path: Path) -> None:
    source = tmp_path / "delivery.bin"
    source.write_bytes(os.urandom(3_000_000))

    assert store.put(NAME, source)
    assert not store.put(NAME, source)
    assert not store.put(NAME, source.read_bytes())

    assert store.get(NAME) == store.local(NAME).read_bytes() == source.read_bytes()


def test_a_file_that_is_gone_is_not_found(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="not there"):
        store.put(NAME, tmp_path / "gone")


def test_what_does_not_stand_is_not_found(store: ObjectStore) -> None:
    store.put("a/b/c", b"bytes")

    for name in ("a/b/d", "a/b", "a", "a/b/c/d"):
        assert not store.exists(name)
        with pytest.raises(NotFoundError):
            store.get(name)
        with pytest.raises(NotFoundError):
            store.local(name)


def test_a_derived_document_can_be_replaced(store: ObjectStore) -> None:
    store.replace("datasets/FUND-1/latest.json", b"first")
    assert store.local("datasets/FUND-1/latest.json").read_bytes() == b"first"

    store.replace("datasets/FUND-1/latest.json", b"second, longer")

    assert store.get("datasets/FUND-1/latest.json") == store.local("datasets/FUND-1/latest.json").read_bytes() == b"second, longer"


def test_names_come_in_order_and_by_prefix(store: ObjectStore) -> None:
    names = ["a/b/c", "a-b", "a.txt", "a/b.txt", "a/b-c/d", "b/a", "A/z", "a/bb"]
    for name in names:
        store.put(name, name.encode())

    assert list(store.names()) == sorted(names)
    for prefix in ("a", "a/", "a/b", "a/b/", "a/b/c", "b/a", "c", "a/b/c/d"):
        assert list(store.names(prefix)) == sorted(name for name in names if name.startswith(prefix))


def test_an_empty_store_has_no_names(store: ObjectStore) -> None:
    assert list(store.names()) == list(store.names("a/")) == []


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/a",
        "a/",
        "a//b",
        "..",
        "../a",
        "a/../b",
        ".",
        "a/./b",
        ".tmp/a",
        "a/.hidden",
        "-a",
        "é",
        "a b",
        "a\n",
        "a\\b",
        "a\x00",
        "~/a",
        "a" * 201,
        "a/" * 300 + "a",
    ],
    ids=lambda name: ascii(name)[:20],
)
def test_a_name_that_could_lead_astray_is_refused_everywhere(store: ObjectStore, name: str) -> None:
    uses: list[Callable[[], object]] = [
        lambda: store.put(name, b""),
        lambda: store.replace(name, b""),
        lambda: store.get(name),
        lambda: store.local(name),
        lambda: store.exists(name),
    ]
    for use in uses:
        with pytest.raises(UsageError, match="named by a relative path"):
            use()


def test_of_sixteen_who_put_the_same_bytes_one_is_told_that_they_were_new(store: ObjectStore) -> None:
    barrier, told = threading.Barrier(16), []

    def put() -> None:
        barrier.wait()
        told.append(store.put(NAME, b"bytes"))

    run_together([put] * 16)

    assert sorted(told) == [False] * 15 + [True]


def test_of_sixteen_who_put_different_bytes_one_wins_and_the_others_are_told(store: ObjectStore) -> None:
    barrier, won, lost = threading.Barrier(16), [], []

    def put(content: bytes) -> None:
        barrier.wait()
        try:
            assert store.put(NAME, content)
            won.append(content)
        except ObjectConflictError:
            lost.append(content)

    run_together([partial(put, b"bytes %d" % number) for number in range(16)])

    assert (len(won), len(lost)) == (1, 15)
    assert store.get(NAME) == won[0]


# Addresses.


@pytest.mark.parametrize(
    "url",
    [
        "",
        "store",
        "http://example.org/store",
        "file://elsewhere/store",
        "file:relative",
        "s3://",
        "s3://ab",
        "s3://key:secret@bucket/prefix",
        "s3://bucket/prefix?acl=public",
        "s3://bucket?endpoint_url=nonsense",
        "http://[",
    ],
)
def test_a_url_that_names_no_store_is_refused_without_repeating_it(url: str, tmp_path: Path, aws_environment: None) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_store(url, tmp_path)

    assert "secret" not in str(caught.value)


def test_a_prefix_must_be_a_name_too(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        open_store("s3://bucket/../elsewhere", tmp_path)


def test_a_folder_may_have_spaces_and_signs_in_its_name(tmp_path: Path) -> None:
    root = tmp_path / "über store #1%"

    open_store(root.as_uri(), tmp_path).put("a", b"bytes")

    assert (root / "a").read_bytes() == b"bytes"


def test_a_file_is_no_folder_for_a_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigurationError, match="is a file"):
        open_store((tmp_path / "file").as_uri(), tmp_path)


def test_a_store_at_the_root_of_a_bucket_uses_plain_keys(s3_url: str, tmp_path: Path) -> None:
    opened = open_store(s3_url.replace("/store?", "?"), tmp_path)
    assert isinstance(opened, S3Store)

    opened.put("a/b", b"bytes")

    assert list(opened.names()) == ["a/b"]
    opened.client.close()
