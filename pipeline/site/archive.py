"""What stands in the public store, verified: funds, their versions, and the tables of the newest version that stands.

This is the only place of the site that reads. A version that is not what its MANIFEST says stops everything, and the file is named.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Protocol

from pipeline.errors import IntegrityError, NotFoundError
from pipeline.stages.verification import DESCRIPTOR, MANIFEST, parse_manifest, read_parquet, sha256, verify_folder
from pipeline.verifier import PROOFS

ROOT = "datasets/"
CHANGELOG = "CHANGELOG.md"
CHANGES = "changes.json"
CODELISTS = "codelists.csv"
STANDING = "published"
NO_LICENCE, NO_LICENCE_WORDS = "NOASSERTION", "none stated: ask the publisher before you use it"
"""What a package writes when nobody has said under which licence it is. Source: SPDX."""

_INDEX = re.compile(r"datasets/([^/]+)/versions\.json")

NEEDED: Mapping[str, str] = {
    "projects": (
        "project_id project_name policy_sector stage service_providers commissioners investors starts_on ends_on contract_cap_gbp capital_raised_gbp"
    ),
    "outcome_metrics": (
        "project_id metric_id plan_version metric_name definition unit supersedes_metric_id plan_kind agreed_on price_per_unit_gbp cap_quantity"
        " target_high_quantity target_medium_quantity target_low_quantity"
    ),
    "outcomes_by_quarter": (
        "project_id metric_id quarter scenario plan_version achieved_quantity cumulative_quantity planned_quantity planned_cumulative_quantity"
        " share_of_plan"
    ),
    "payments_by_quarter": "project_id payer_id basis quarter payer_kind paid_gbp planned_gbp",
    "service_users_by_quarter": "project_id quarter characteristic category starts_count",
    "performance": (
        "level policy_sector project_id aggregation scenario plan_version projects_count users_count users_planned_count users_share_of_plan"
        " outcomes_quantity outcomes_planned_quantity outcomes_share_of_plan paid_gbp planned_gbp paid_share_of_plan cost_per_outcome_gbp"
        " cost_per_person_gbp invested_gbp returned_gbp money_multiple"
    ),
    "completeness": "project_id quarter due_on is_expected received_on days_late revisions_count state is_in_release",
}
"""The tables that pages are made of, and the columns that they read. Other tables and columns are offered for download and not shown."""

Row = Mapping[str, Any]
"""One row of a published table, by column: text, whole number, Decimal, date, truth or None."""


class PublicReader(Protocol):
    """Reads the public store."""

    def get(self, name: str) -> bytes:
        """Return a file's bytes. Raises: NotFoundError."""
        ...

    def names(self, prefix: str = "") -> Iterator[str]:
        """Yield the names that start with a prefix, in order."""
        ...


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column as the data package describes it."""

    name: str
    type: str
    title: str
    description: str
    unit: str | None
    codelist: str | None
    allowed: Sequence[str]
    decimals: int | None
    is_required: bool


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table as the data package describes it."""

    name: str
    title: str
    description: str
    rows: int
    primary_key: Sequence[str]
    columns: Sequence[Column]


@dataclass(frozen=True, kw_only=True)
class Package:
    """What `datapackage.json` says of a version; `provenance` is what the version is a function of, for people who check."""

    id: str
    title: str
    description: str
    publisher: str
    licence: str
    licence_url: str | None
    drafted_on: date
    base_version: str | None
    threshold: int
    provenance: Mapping[str, str]
    tables: Sequence[Table]


@dataclass(frozen=True, kw_only=True)
class ListedFile:
    """One file of a version: its path in the version's folder, its size, and its hash by MANIFEST."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version of a fund's data.

    `files` is everything that MANIFEST lists, MANIFEST last; `proofs` are the hashes of its signature and its like; `changelog` is Markdown;
    `changes` are the structured changes where the package has them.
    """

    fund_id: str
    number: str
    as_of: date
    published_at: datetime | None
    status: str
    reason: str | None
    files: Sequence[ListedFile]
    proofs: Mapping[str, str]
    package: Package
    changelog: str
    changes: Any

    @property
    def folder(self) -> str:
        """The folder of the public store that holds it."""
        return f"{ROOT}{self.fund_id}/v{self.number}/"

    @property
    def is_standing(self) -> bool:
        """Whether it was not withdrawn."""
        return self.status == STANDING

    @property
    def kind(self) -> str:
        """How it differs from the version before, by its number: first, major, minor or patch."""
        if self.package.base_version is None:
            return "first"
        before, now = (text.split(".") for text in (self.package.base_version, self.number))
        return "major" if before[0] != now[0] else "minor" if before[1] != now[1] else "patch"


@dataclass(frozen=True, kw_only=True)
class Fund:
    """One fund: its versions in the order of publication, and the tables and code lists of the newest that stands (none when all are withdrawn)."""

    id: str
    versions: Sequence[Version]
    tables: Mapping[str, Sequence[Row]]
    codelists: Mapping[str, Mapping[str, str]]
    index: Mapping[str, bytes]

    @property
    def newest(self) -> Version | None:
        """The newest version that stands."""
        return next((version for version in reversed(self.versions) if version.is_standing), None)

    @property
    def name(self) -> str:
        """The fund's name, as the newest package writes it before the colon."""
        return (self.newest or self.versions[-1]).package.title.rpartition(":")[0] or self.id

    def label(self, codelist: str, code: str | None) -> str:
        """Return what a code means; a code that the lists do not know reads as itself."""
        if code is None:
            return ""
        return self.codelists.get(codelist, {}).get(code) or code.replace("_", " ")


def read_funds(reader: PublicReader, only: str | None = None) -> Sequence[Fund]:
    """Return the funds of the public store, or the one that is named, every version verified.

    Raises: NotFoundError when nothing was published; IntegrityError naming the first file that is not what was published.
    """
    names = [only] if only is not None else sorted({found[1] for name in reader.names(ROOT) if (found := _INDEX.fullmatch(name))})
    funds = [fund for name in names if (fund := _read_fund(reader, name)) is not None]
    if not funds:
        raise NotFoundError("Nothing was published yet; there is nothing to show.")
    return funds


def _read_fund(reader: PublicReader, fund_id: str) -> Fund | None:
    path = f"{ROOT}{fund_id}/versions.json"
    index = {path: reader.get(path)}
    signers = f"{ROOT}{fund_id}/allowed_signers"
    if signers in reader.names(signers):
        index[signers] = reader.get(signers)
    try:
        entries = [dict(entry) for entry in json.loads(index[path])["versions"]]
        versions = [_read_version(reader, fund_id, entry) for entry in entries]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise IntegrityError(f"{path} cannot be read as a list of versions.") from error
    if not versions:
        return None
    fund = Fund(id=fund_id, versions=versions, tables={}, codelists={}, index={**index, **_read_latest(reader, fund_id, versions)})
    shown = fund.newest
    if shown is None:
        return fund
    tables = {name: _read_rows(reader, shown, name) for name in NEEDED}
    return Fund(id=fund_id, versions=versions, tables=tables, codelists=_read_codelists(reader, shown), index=fund.index)


def _read_latest(reader: PublicReader, fund_id: str, versions: Sequence[Version]) -> Mapping[str, bytes]:
    """Return the alias of the newest version. Raises: IntegrityError when it leads readers to another one than the list of versions does."""
    path = f"{ROOT}{fund_id}/latest.json"
    content = reader.get(path)
    newest = next((version for version in reversed(versions) if version.is_standing), None)
    expected = (newest.number, newest.files[-1].sha256) if newest else (None, None)
    try:
        named = json.loads(content)
        if (named["version"], named["manifest"]) == expected:
            return {path: content}
    except (ValueError, TypeError, KeyError) as error:
        raise IntegrityError(f"{path} cannot be read.") from error
    raise IntegrityError(f"{path} does not name the newest version of versions.json that stands. Publish again, or wait for a publication to finish.")


def _read_rows(reader: PublicReader, version: Version, name: str) -> Sequence[Row]:
    described = {table.name: {column.name for column in table.columns} for table in version.package.tables}
    lacking = [column for column in NEEDED[name].split() if column not in described.get(name, ())]
    if lacking:
        raise IntegrityError(
            f"Version {version.number} of {version.fund_id} has no {name} with {', '.join(lacking)}: this site shows versions in another shape."
        )
    rows: list[Row] = read_parquet(_read_again(reader, version, f"{name}.parquet")).to_pylist()
    return rows


def _read_version(reader: PublicReader, fund_id: str, entry: Mapping[str, Any]) -> Version:
    number, manifest = str(entry["version"]), str(entry["manifest"])
    folder = f"{ROOT}{fund_id}/v{number}/"
    sizes: dict[str, int] = {}

    def get(path: str) -> bytes:
        content = reader.get(folder + path)
        sizes[path] = len(content)
        return content

    found = verify_folder(lambda: [name.removeprefix(folder) for name in reader.names(folder)], get, expected_manifest=manifest)
    if not found.ok:
        raise IntegrityError("The site is not built: " + "; ".join(f"{folder}{problem.path} is {problem.what}" for problem in found.problems) + ".")
    listed = {**parse_manifest(_checked(folder + MANIFEST, get(MANIFEST), manifest)), MANIFEST: manifest}

    def document(path: str) -> bytes:
        return _checked(folder + path, get(path), listed[path])

    return Version(
        fund_id=fund_id,
        number=number,
        as_of=date.fromisoformat(entry["as_of"]),
        published_at=datetime.fromisoformat(entry["published_at"]).astimezone(UTC) if entry["published_at"] else None,
        status=str(entry["status"]),
        reason=entry["reason"],
        files=[ListedFile(path=path, size_bytes=sizes[path], sha256=digest) for path, digest in listed.items()],
        proofs={path: sha256(get(path)) for path in PROOFS if path in sizes},
        package=_read_package(folder, document(DESCRIPTOR)),
        changelog=document(CHANGELOG).decode(),
        changes=json.loads(document(CHANGES)) if CHANGES in listed else None,
    )


def _checked(name: str, content: bytes, digest: str) -> bytes:
    """Return bytes that were read again after the folder was verified, if they are still those that were verified."""
    if sha256(content) != digest:
        raise IntegrityError(f"{name} changed while it was being read.")
    return content


def _read_again(reader: PublicReader, version: Version, path: str) -> bytes:
    digest = next(file.sha256 for file in version.files if file.path == path)
    return _checked(version.folder + path, reader.get(version.folder + path), digest)


def _read_codelists(reader: PublicReader, version: Version) -> Mapping[str, Mapping[str, str]]:
    lists: dict[str, dict[str, str]] = {}
    for row in csv.DictReader(io.StringIO(_read_again(reader, version, CODELISTS).decode(), newline="")):
        lists.setdefault(row["list"], {})[row["code"]] = row["label"]
    return lists


def _read_package(folder: str, content: bytes) -> Package:
    try:
        document = json.loads(content)
        licence, about = document["licenses"][0], document["openoutcomes"]
        return Package(
            id=document["id"],
            title=document["title"],
            description=document["description"],
            publisher=document["contributors"][0]["title"],
            licence=licence.get("title") or (NO_LICENCE_WORDS if licence["name"] == NO_LICENCE else licence["name"]),
            licence_url=licence.get("path"),
            drafted_on=date.fromisoformat(about["drafted_on"]),
            base_version=about["base_version"],
            threshold=int(about["threshold"]),
            provenance={name: str(value) for name, value in about.items() if isinstance(value, str | int)},
            tables=[_read_table(resource) for resource in document["resources"] if "schema" in resource and resource["path"] != CODELISTS],
        )
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise IntegrityError(f"{folder}{DESCRIPTOR} does not have the shape of a data package of ours.") from error


def _read_table(resource: Mapping[str, Any]) -> Table:
    schema = resource["schema"]
    return Table(
        name=resource["name"],
        title=resource["title"],
        description=resource["description"],
        rows=resource["rows"],
        primary_key=schema["primaryKey"],
        columns=[
            Column(
                name=field["name"],
                type=field["type"],
                title=field["title"],
                description=field["description"],
                unit=field.get("unit"),
                codelist=field.get("codelist"),
                allowed=field.get("constraints", {}).get("enum", []),
                decimals=field.get("decimals"),
                is_required=bool(field.get("constraints", {}).get("required")),
            )
            for field in schema["fields"]
        ],
    )
