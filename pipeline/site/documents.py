"""What programs read: the feeds of versions, and a static API in the shape of the one of England's explore education statistics service.

The paths are those of its `/v1/data-sets/{id}`, `/meta`, `/versions` and `/versions/{version}/changes`; each is the folder of an `index.json`, so
that a static host serves them as they are. Paths in them are relative to the root of the site.
Source: dfe-analytical-services/explore-education-statistics, public API version 1.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, time
from typing import Any

from pipeline.site.archive import Column, Fund, Table, Version

KINDS = {"first": "Major", "major": "Major", "minor": "Minor", "patch": "Patch"}
STATUSES = {"published": "Published", "withdrawn": "Withdrawn"}
DIMENSIONS = ("string", "boolean")


def api_documents(funds: Sequence[Fund]) -> Iterator[tuple[str, bytes]]:
    """Yield the documents of the API by path."""
    yield "v1/data-sets.json", _document({"paging": _paging(len(funds)), "results": [_data_set(fund) for fund in funds]})
    for fund in funds:
        folder = f"v1/data-sets/{fund.id}"
        yield f"{folder}/index.json", _document(_data_set(fund))
        yield f"{folder}/meta/index.json", _document(_meta(fund))
        versions = [_version(fund, version) for version in reversed(fund.versions)]
        yield f"{folder}/versions/index.json", _document({"paging": _paging(len(versions)), "results": versions})
        for version in fund.versions:
            yield f"{folder}/versions/{version.number}/index.json", _document(_version(fund, version))
            yield f"{folder}/versions/{version.number}/changes/index.json", _document(_changes(version))


def feed_items(funds: Sequence[Fund]) -> Sequence[Version]:
    """Return all versions, the newest first."""
    return sorted((version for fund in funds for version in fund.versions), key=lambda item: (instant(item), item.fund_id, item.number), reverse=True)


def instant(version: Version) -> datetime:
    """Return when a version was published, or the start of its as-of day where the index does not say."""
    return version.published_at or datetime.combine(version.as_of, time(), UTC)


def feed_json(funds: Sequence[Fund], page_of: Mapping[str, str], summaries: Mapping[str, str]) -> bytes:
    """Return the feed in the form of JSON Feed 1.1. Source: https://www.jsonfeed.org/version/1.1/."""
    items = [
        {
            "id": version.package.id,
            "url": page_of[version.package.id],
            "title": f"{version.package.title}, version {version.number}",
            "content_text": summaries[version.package.id],
            "date_published": instant(version).isoformat(),
            "_open_outcomes": {
                "fund_id": version.fund_id,
                "version": version.number,
                "base_version": version.package.base_version,
                "type": KINDS[version.kind],
                "breaking": version.kind == "major",
                "status": version.status,
                "reason": version.reason,
                "cells_changed": (version.changes or {}).get("cells"),
                "causes": (version.changes or {}).get("causes"),
            },
        }
        for version in feed_items(funds)
    ]
    return _document({"version": "https://jsonfeed.org/version/1.1", "title": "Open outcomes data: versions", "language": "en-GB", "items": items})


def _paging(results: int) -> Mapping[str, int]:
    return {"page": 1, "pageSize": max(results, 1), "totalResults": results, "totalPages": 1}


def _data_set(fund: Fund) -> Mapping[str, Any]:
    newest = fund.newest
    shown = newest or fund.versions[-1]
    return {
        "id": fund.id,
        "title": shown.package.title,
        "summary": shown.package.description,
        "status": STATUSES["published"] if newest else STATUSES["withdrawn"],
        "latestVersion": _version(fund, newest) if newest else None,
    }


def _version(fund: Fund, version: Version) -> Mapping[str, Any]:
    is_newest = version is fund.newest
    quarters = sorted({row["quarter"] for row in fund.tables.get("outcomes_by_quarter", ())}) if is_newest else []
    return {
        "version": version.number,
        "type": KINDS[version.kind],
        "status": STATUSES.get(version.status, version.status),
        "published": version.published_at.isoformat() if version.published_at else None,
        "withdrawnReason": version.reason,
        "asOf": version.as_of.isoformat(),
        "previousVersion": version.package.base_version,
        "totalResults": sum(table.rows for table in version.package.tables),
        "timePeriods": {"start": quarters[0], "end": quarters[-1]} if quarters else None,
        "folder": f"datasets/{fund.id}/v{version.number}/" if version.is_standing else None,
        "files": [{"path": file.path, "bytes": file.size_bytes, "sha256": file.sha256} for file in version.files],
    }


def _meta(fund: Fund) -> Mapping[str, Any]:
    shown = fund.newest or fund.versions[-1]
    quarters = sorted({row["quarter"] for rows in fund.tables.values() for row in rows if row.get("quarter")})
    return {
        "version": shown.number,
        "timePeriods": [{"code": f"CYQ{quarter[-1]}", "period": quarter[:4], "label": quarter} for quarter in quarters],
        "tables": [_table_meta(fund, table) for table in shown.package.tables],
    }


def _table_meta(fund: Fund, table: Table) -> Mapping[str, Any]:
    return {
        "id": table.name,
        "label": table.title,
        "description": table.description,
        "totalResults": table.rows,
        "primaryKey": list(table.primary_key),
        "filters": [_filter(fund, column) for column in table.columns if column.type in DIMENSIONS],
        "indicators": [_indicator(column) for column in table.columns if column.type in ("integer", "number")],
        "dates": [{"column": column.name, "label": column.title} for column in table.columns if column.type == "date"],
    }


def _filter(fund: Fund, column: Column) -> Mapping[str, Any]:
    codes = fund.codelists.get(column.codelist or column.name, {})
    options = [{"id": code, "label": codes.get(code, code)} for code in column.allowed or codes]
    entry: dict[str, Any] = {"id": column.name, "column": column.name, "label": column.title, "hint": column.description}
    return entry | ({"options": options} if options else {})


def _indicator(column: Column) -> Mapping[str, Any]:
    return {
        "id": column.name,
        "column": column.name,
        "label": column.title,
        "hint": column.description,
        "unit": column.unit,
        "decimalPlaces": column.decimals or 0,
    }


def _changes(version: Version) -> Mapping[str, Any]:
    """Return what changed: as the version's own structured changes where it has them, and in its own words. None for one that was withdrawn."""
    return {
        "version": version.number,
        "previousVersion": version.package.base_version,
        "type": KINDS[version.kind],
        "breaking": version.kind == "major",
        "changes": version.changes if version.is_standing else None,
        "words": version.changelog if version.is_standing else None,
        "withdrawnReason": version.reason,
    }


def _document(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
