"""What the public knew: a table as of a day or a version, every figure of every version, and what changed between any two. From public files alone.

No log, no restricted store and no key are asked here: anybody with a copy of the public store gets the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pyarrow as pa

from pipeline.application.catalogue import VersionFiles, files_of
from pipeline.domain.release import Version
from pipeline.errors import IntegrityError, NotFoundError, UsageError
from pipeline.ports import ObjectStore
from pipeline.stages.comparison import BESIDE
from pipeline.stages.verification import read_parquet

_LIST = re.compile(r"datasets/([^/]+)/versions\.json")
_VERSION = re.compile(r"v?[0-9]+\.[0-9]+\.[0-9]+")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One version as `versions.json` has it."""

    version: str
    as_of: date
    published_at: datetime
    manifest: str
    status: str
    reason: str | None
    withdrawn_at: datetime | None

    @property
    def is_standing(self) -> bool:
        """Whether it was not withdrawn."""
        return self.status == "published"

    def stood_at(self, instant: datetime) -> bool:
        """Say whether it had been published and not yet withdrawn."""
        return self.published_at <= instant and (self.is_standing or self.withdrawn_at is None or self.withdrawn_at > instant)


@dataclass(frozen=True, kw_only=True)
class Known:
    """A table as a version published it; `note` says what a reader must be told of that version, empty when nothing."""

    fund_id: str
    table: str
    version: str
    as_of: date
    published_at: datetime
    status: str
    note: str
    rows: pa.Table


def funds(public: ObjectStore) -> Sequence[str]:
    """Return the funds that have published something."""
    return sorted({found[1] for name in public.names("datasets/") if (found := _LIST.fullmatch(name))})


def sole_fund(public: ObjectStore, fund_id: str | None) -> str:
    """Return the fund that is meant: the one named, or the only one there is.

    Raises: NotFoundError when there is no such fund, or none or several and none was named.
    """
    if fund_id is not None and public.exists(f"datasets/{fund_id}/versions.json"):
        return fund_id
    found = funds(public)
    if fund_id is None and len(found) == 1:
        return found[0]
    raise NotFoundError(f"Say which fund with --fund. Published: {', '.join(found) or 'none yet'}.")


def versions(public: ObjectStore, fund_id: str) -> Sequence[Listed]:
    """Return the published versions of a fund, oldest first, withdrawn ones too. Raises: IntegrityError when the list cannot be read."""
    try:
        listed = json.loads(public.get(f"datasets/{fund_id}/versions.json"))["versions"]
        found = [_listed(entry) for entry in listed]
    except (ValueError, TypeError, KeyError) as error:
        raise IntegrityError(f"datasets/{fund_id}/versions.json cannot be read. `outcomes release index` writes it again.") from error
    return sorted(found, key=lambda item: Version.parse(item.version))


def _listed(entry: Mapping[str, Any]) -> Listed:
    withdrawn = entry.get("withdrawn_at")
    return Listed(
        version=entry["version"],
        as_of=date.fromisoformat(entry["as_of"]),
        published_at=datetime.fromisoformat(entry["published_at"]),
        manifest=entry["manifest"],
        status=entry["status"],
        reason=entry["reason"],
        withdrawn_at=datetime.fromisoformat(withdrawn) if withdrawn else None,
    )


def read_data(public: ObjectStore, fund_id: str, table: str, as_of: str | None = None) -> Known:
    """Return a table as the public knew it: as a version has it, or as the version had it that stood at the end of a day; the newest without either.

    Raises: UsageError when `as_of` is neither a day nor a version; NotFoundError when nothing stood then, or the version has no such table;
    IntegrityError when a file is not what was published.
    """
    listed = versions(public, fund_id)
    found = _choose(fund_id, listed, as_of)
    get = files_of(public, fund_id, found.version, found.manifest)
    if f"{table}.parquet" not in get.paths:
        names = ", ".join(sorted(path.removesuffix(".parquet") for path in get.paths if path.endswith(".parquet")))
        raise NotFoundError(f"Version {found.version} has no table {table}. It has {names}.")
    return Known(
        fund_id=fund_id,
        table=table,
        version=found.version,
        as_of=found.as_of,
        published_at=found.published_at,
        status=found.status,
        note=_note(found),
        rows=read_parquet(get(f"{table}.parquet")),
    )


def find_version(public: ObjectStore, fund_id: str, version: str) -> Listed:
    """Return one published version. Raises: NotFoundError when there is none of that number."""
    return _of_number(fund_id, versions(public, fund_id), version)


def read_tables(get: VersionFiles) -> Mapping[str, pa.Table]:
    """Return every published table of a version, by name."""
    names = [path.removesuffix(".parquet") for path in get.paths if path.endswith(".parquet")]
    return {name: read_parquet(get(f"{name}.parquet")) for name in names if name not in BESIDE}


def read_feed(public: ObjectStore, fund_id: str, after: int = 0) -> Sequence[Mapping[str, Any]]:
    """Return the items of the public feed that happened after a cursor, oldest first: so the last one's cursor is the next to ask with.

    Raises: IntegrityError when the feed cannot be read.
    """
    try:
        items = json.loads(public.get(f"datasets/{fund_id}/feed.json"))["items"]
        return sorted((item for item in items if item["_open_outcomes"]["cursor"] > after), key=lambda item: int(item["_open_outcomes"]["cursor"]))
    except (ValueError, TypeError, KeyError) as error:
        raise IntegrityError(f"datasets/{fund_id}/feed.json cannot be read. `outcomes release index` writes it again.") from error


def _choose(fund_id: str, listed: Sequence[Listed], as_of: str | None) -> Listed:
    if as_of is not None and _VERSION.fullmatch(as_of):
        return _of_number(fund_id, listed, as_of)
    if as_of is None:
        standing = [item for item in listed if item.is_standing]
        if not standing:
            raise NotFoundError(f"No version of {fund_id} stands: all were withdrawn. `--as-of VERSION` still reads one.")
        return standing[-1]
    instant = datetime.combine(_day(as_of) + timedelta(days=1), time(), UTC) - timedelta(microseconds=1)
    known = [item for item in listed if item.stood_at(instant)]
    if not known:
        first = min((item.published_at for item in listed), default=None)
        told = f"The first version was published on {first.date().isoformat()}." if first else "Nothing was published yet."
        raise NotFoundError(f"Nothing of {fund_id} stood on {as_of}. {told}")
    return max(known, key=lambda item: (item.published_at, Version.parse(item.version)))


def _day(text: str) -> date:
    try:
        if not _DAY.fullmatch(text):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError("--as-of is a day like 2024-06-30 or a version like 1.2.0.") from None


def _of_number(fund_id: str, listed: Sequence[Listed], version: str) -> Listed:
    wanted = str(Version.parse(version))
    for item in listed:
        if item.version == wanted:
            return item
    raise NotFoundError(f"Fund {fund_id} has published no version {wanted}. It has {', '.join(item.version for item in listed)}.")


def _note(found: Listed) -> str:
    if found.is_standing:
        return ""
    on = f" on {found.withdrawn_at.date().isoformat()}" if found.withdrawn_at else ""
    return f"Version {found.version} was withdrawn{on} ({found.reason}). This is what was known then; do not use it as it is."
