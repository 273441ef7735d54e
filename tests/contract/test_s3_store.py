"""What an object store behind the S3 API must survive: lost answers, conflicts, broken connections, refusals."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters import s3_store
from pipeline.adapters.object_store import open_store
from pipeline.adapters.s3_store import S3Store
from pipeline.errors import (
    ConfigurationError,
    IntegrityError,
    NotFoundError,
    ObjectConflictError,
    OpenOutcomesError,
    UnavailableError,
    UsageError,
)

NAME = "sha256/ab/" + "c" * 64


def fail_after_landing(store: S3Store, times: int) -> list[str]:
    """Let the answers to writes be lost: the bytes are stored, and boto3 is told 503."""
    lost: list[str] = []

    def before_parse(response_dict: dict[str, Any], **event: Any) -> None:
        if len(lost) < times:
            lost.append("lost")
            response_dict["status_code"] = 503
            response_dict["body"] = b"<Error><Code>SlowDown</Code></Error>"

    store.client.meta.events.register("before-parse.s3.PutObject", before_parse)
    return lost


def answer(store: S3Store, operation: str, status: int, code: str, times: int = 1000) -> list[str]:
    """Answer requests before they are sent."""
    from botocore.awsrequest import AWSResponse, HTTPHeaders

    class Raw:
        def stream(self, *arguments: object, **settings: object) -> Iterator[bytes]:
            yield f"<Error><Code>{code}</Code></Error>".encode()

    answered: list[str] = []

    def before_send(request: Any, **event: Any) -> Any:
        if len(answered) >= times:
            return None
        answered.append(request.method)
        return AWSResponse(request.url, status, HTTPHeaders(), Raw())

    store.client.meta.events.register(f"before-send.s3.{operation}", before_send)
    return answered


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let boto3 try again at once."""
    from botocore.retries.standard import ExponentialBackoff

    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda self, context: 0)
    monkeypatch.setattr(s3_store, "FIRST_PAUSE", 0)


def test_a_lost_answer_to_bytes_that_landed_is_a_success(s3: S3Store) -> None:
    lost = fail_after_landing(s3, 1)

    assert not s3.put(NAME, b"bytes")

    assert lost == ["lost"]
    assert s3.get(NAME) == b"bytes"


def test_a_lost_answer_to_a_file_that_landed_is_a_success(s3: S3Store, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"bytes" * 100_000)
    fail_after_landing(s3, 2)

    assert not s3.put(NAME, tmp_path / "source")

    assert s3.local(NAME).read_bytes() == b"bytes" * 100_000


def test_a_store_that_never_recovers_is_unavailable_after_a_bounded_number_of_tries(s3: S3Store) -> None:
    answered = answer(s3, "PutObject", 503, "SlowDown")

    with pytest.raises(UnavailableError, match="SlowDown"):
        s3.put(NAME, b"bytes")

    assert answered == ["PUT"] * 4


def test_a_conflict_with_another_write_at_the_same_time_is_tried_again(s3: S3Store) -> None:
    answered = answer(s3, "PutObject", 409, "ConditionalRequestConflict", times=2)

    assert s3.put(NAME, b"bytes")
    assert answered == ["PUT", "PUT"]


def test_a_conflict_that_does_not_end_is_unavailable(s3: S3Store) -> None:
    answer(s3, "PutObject", 409, "ConditionalRequestConflict")

    with pytest.raises(UnavailableError, match="others wrote there"):
        s3.put(NAME, b"bytes")


def test_bytes_that_were_stored_wrong_are_noticed_at_once(s3: S3Store) -> None:
    real_put = s3.client.put_object

    def put_something_else(**request: Any) -> Any:
        return real_put(**{**request, "Body": b"other", "ChecksumSHA256": s3_store._base64(hashlib.sha256(b"other").hexdigest())})

    s3.client.put_object = put_something_else  # type: ignore[method-assign]

    with pytest.raises(IntegrityError, match="just stored"):
        s3.put(NAME, b"bytes")


@pytest.mark.parametrize("stored", [b"bytes", b"bytez"])
def test_where_the_store_keeps_no_checksum_the_bytes_are_compared(s3: S3Store, s3_url: str, stored: bytes) -> None:
    s3.client.put_object(Bucket=s3_url.split("/")[2], Key=f"store/{NAME}", Body=stored)

    if stored == b"bytes":
        assert not s3.put(NAME, b"bytes")
    else:
        with pytest.raises(ObjectConflictError):
            s3.put(NAME, b"bytes")


def test_an_object_that_is_too_large_for_one_upload_is_refused(s3: S3Store, tmp_path: Path) -> None:
    source = tmp_path / "source"
    with source.open("wb") as file:
        file.truncate(s3_store.LARGEST_BYTES + 1)

    with pytest.raises(UsageError, match="5 GiB"):
        s3.put(NAME, source)


def test_names_are_listed_page_by_page(s3_url: str, s3_endpoint: str, tmp_path: Path) -> None:
    store = S3Store(s3_url.split("/")[2], "store", tmp_path, endpoint_url=s3_endpoint, region="eu-west-2", page_size=7)
    names = [f"facts/{number:04}" for number in range(30)]
    for name in names:
        store.put(name, b"bytes")
    pages: list[int] = []
    store.client.meta.events.register("before-call.s3.ListObjectsV2", lambda **event: pages.append(1))

    assert list(store.names("facts/")) == names
    assert len(pages) == 5
    store.client.close()


def test_more_names_than_one_answer_holds_are_all_listed(s3: S3Store, s3_url: str) -> None:
    from moto.core.models import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    bucket = s3_url.split("/")[2]
    backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]  # the server runs in this process: putting 2,100 objects by HTTP would take half a minute
    for number in range(2100):
        backend.put_object(bucket, f"store/facts/{number:05}", b"")

    assert list(s3.names()) == [f"facts/{number:05}" for number in range(2100)]


def test_a_copy_is_kept_and_fetched_again_only_when_the_object_changed(s3: S3Store) -> None:
    fetched: list[str] = []
    s3.client.meta.events.register("before-call.s3.GetObject", lambda **event: fetched.append("fetched"))
    s3.put(NAME, b"bytes")
    s3.replace("latest.json", b"first")

    assert s3.local(NAME) == s3.local(NAME)
    assert s3.local(NAME).name == NAME.rpartition("/")[2]
    assert len(fetched) == 1
    before = s3.local("latest.json")
    s3.replace("latest.json", b"other")
    assert (before.read_bytes(), s3.local("latest.json").read_bytes()) == (b"first", b"other")


def test_a_copy_that_was_cut_short_is_fetched_again(s3: S3Store) -> None:
    s3.put(NAME, b"bytes")
    s3.local(NAME).write_bytes(b"by")

    assert s3.local(NAME).read_bytes() == b"bytes"


def test_the_copies_of_a_destroyed_object_are_removed(s3: S3Store, s3_url: str, tmp_path: Path) -> None:
    s3.put(NAME, b"bytes")
    copy = s3.local(NAME)
    s3.client.delete_object(Bucket=s3_url.split("/")[2], Key=f"store/{NAME}")

    with pytest.raises(NotFoundError):
        s3.local(NAME)
    assert not copy.exists()


def test_a_copy_that_cannot_be_kept_is_unavailable(s3: S3Store, tmp_path: Path) -> None:
    s3.put(NAME, b"bytes")
    (tmp_path / "cache").write_text("in the way")

    with pytest.raises(UnavailableError, match="cannot be kept"):
        s3.local(NAME)


def test_bytes_that_were_altered_in_the_store_are_not_handed_on(s3: S3Store, s3_url: str) -> None:
    from moto.core.models import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    s3.put(NAME, b"bytes")
    key = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[s3_url.split("/")[2]].keys[f"store/{NAME}"]
    key.value = b"bytez"

    with pytest.raises(IntegrityError, match="other bytes"):
        s3.get(NAME)
    with pytest.raises(IntegrityError, match="other bytes"):
        s3.local(NAME)


@pytest.mark.parametrize("times", [2, 1000])
def test_a_connection_that_breaks_within_an_object_starts_again_and_gives_up_in_the_end(s3: S3Store, times: int) -> None:
    from botocore.exceptions import ResponseStreamingError
    from botocore.response import StreamingBody

    s3.put(NAME, b"bytes")
    broken: list[int] = []

    class BreakingBody(StreamingBody):
        def read(self, amt: int | None = None) -> bytes:
            if len(broken) < times:
                broken.append(1)
                raise ResponseStreamingError(error="connection reset")
            return super().read(amt)

    def after_call(parsed: dict[str, Any], **event: Any) -> None:
        parsed["Body"] = BreakingBody(parsed["Body"]._raw_stream, 5)

    s3.client.meta.events.register("after-call.s3.GetObject", after_call)

    if times == 2:
        assert s3.get(NAME) == b"bytes"
    else:
        with pytest.raises(UnavailableError):
            s3.get(NAME)
        assert len(broken) == s3_store.ATTEMPTS


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AccessDenied", UnavailableError),
        (400, "ExpiredToken", UnavailableError),
        (500, "InternalError", UnavailableError),
        (404, "NoSuchBucket", ConfigurationError),
    ],
)
def test_a_refusal_of_the_store_becomes_an_error_of_ours(s3: S3Store, status: int, code: str, kind: type[OpenOutcomesError]) -> None:
    for operation in ("PutObject", "GetObject", "ListObjectsV2"):
        answer(s3, operation, status, code)

    uses: list[Callable[[], object]] = [lambda: s3.put(NAME, b""), lambda: s3.replace(NAME, b""), lambda: s3.get(NAME), lambda: list(s3.names())]
    for use in uses:
        with pytest.raises(kind):
            use()


def test_a_bucket_that_is_not_there_is_told_apart_from_an_object_that_is_not(s3_url: str, tmp_path: Path) -> None:
    store = open_store(s3_url.replace("s3://outcomes-", "s3://no-such-"), tmp_path)
    assert isinstance(store, S3Store)

    uses: list[Callable[[], object]] = [
        lambda: store.exists(NAME),
        lambda: store.put(NAME, b""),
        lambda: store.get(NAME),
        lambda: store.local(NAME),
        lambda: list(store.names()),
    ]
    for use in uses:
        with pytest.raises(ConfigurationError, match="no bucket no-such-"):
            use()
    store.client.close()


def test_a_store_without_credentials_says_so(s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    store = open_store(s3_url, tmp_path)

    with pytest.raises(ConfigurationError, match="credentials"):
        store.exists(NAME)


def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path, aws_environment: None) -> None:
    store = open_store("s3://bucket/prefix?endpoint_url=http://127.0.0.1:1&region=eu-west-2", tmp_path)

    with pytest.raises(UnavailableError, match="does not answer"):
        store.exists(NAME)
