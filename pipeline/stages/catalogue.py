"""The lists that lead a stranger to the versions of a fund: all of them, the newest that stands, pins like 2.x, and feeds in Atom and JSON.

All are functions of what is known of each version, and can be made again from the public store alone: from each version's own files, and from its
notice, which holds the few words that only the log knows (when it was published, and when and why it was withdrawn).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from xml.etree import ElementTree as ET

from pipeline.domain.release import Version
from pipeline.stages.summary import told_changes

ATOM, OURS = "http://www.w3.org/2005/Atom", "urn:open-outcomes:feed:1"
JSON_FEED = "https://jsonfeed.org/version/1.1"


@dataclass(frozen=True, kw_only=True)
class Notice:
    """What only the log knows of a version; instants as ISO text, `cursor` is the log position of the last thing that happened to it.

    `notes` say that a return in it was taken back since, or that it can no longer be rebuilt.
    """

    version: str
    manifest: str
    published_at: str
    cursor: int
    withdrawn_at: str | None = None
    reason: str | None = None
    notes: Sequence[Mapping[str, Any]] = ()

    @property
    def status(self) -> str:
        """Whether the version stands, in the word of the list of versions."""
        return "published" if self.withdrawn_at is None else "withdrawn"

    @property
    def updated_at(self) -> str:
        """When something happened to it last."""
        return self.withdrawn_at or self.published_at


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One version: its notice, what its data package says of it, and its `changes.json` (None for versions from before there was one)."""

    notice: Notice
    package: Mapping[str, Any]
    changes: Mapping[str, Any] | None

    @property
    def path(self) -> str:
        """Its folder, beside the lists."""
        return f"v{self.notice.version}/"

    @property
    def provenance(self) -> Mapping[str, Any]:
        """What it is a function of, as its package says."""
        found: Mapping[str, Any] = self.package["openoutcomes"]
        return found

    @property
    def is_breaking(self) -> bool:
        """Whether what reads the version before may break on it, by its number."""
        base = self.provenance["base_version"]
        return base is not None and Version.parse(base).major != Version.parse(self.notice.version).major


def bare_entry(fund_id: str, notice: Notice, as_of: date, base_version: str | None) -> Entry:
    """Return what the log alone knows of a version whose files cannot be read."""
    package = {
        "id": f"urn:open-outcomes:{fund_id}:{notice.version}",
        "title": fund_id,
        "contributors": [{"title": fund_id}],
        "openoutcomes": {"as_of": as_of.isoformat(), "base_version": base_version},
    }
    return Entry(notice=notice, package=package, changes=None)


def documents(fund_id: str, entries: Sequence[Entry]) -> Mapping[str, bytes]:
    """Return the lists of a fund by file name, in the order in which they are written: the list of versions first, then what is derived of it."""
    ordered = sorted(entries, key=lambda entry: Version.parse(entry.notice.version))
    return {
        "versions.json": write({"fund_id": fund_id, "versions": [_listed(entry) for entry in ordered]}),
        "latest.json": write({"fund_id": fund_id, "version": None, "path": None, "manifest": None} | _pin(_standing(ordered)[-1:])),
        "pins.json": write({"fund_id": fund_id, "pins": _pins(_standing(ordered))}),
        "feed.json": _feed_json(fund_id, _newest_first(ordered)),
        "feed.xml": _feed_atom(fund_id, _newest_first(ordered)),
    }


def _standing(entries: Sequence[Entry]) -> Sequence[Entry]:
    return [entry for entry in entries if entry.notice.status == "published"]


def _newest_first(entries: Sequence[Entry]) -> Sequence[Entry]:
    return sorted(entries, key=lambda entry: entry.notice.cursor, reverse=True)


def _listed(entry: Entry) -> Mapping[str, Any]:
    notice = entry.notice
    return {
        "version": notice.version,
        "path": entry.path,
        "as_of": entry.provenance["as_of"],
        "published_at": notice.published_at,
        "manifest": notice.manifest,
        "status": notice.status,
        "reason": notice.reason,
        "withdrawn_at": notice.withdrawn_at,
        "notes": list(notice.notes),
    }


def _pin(entries: Sequence[Entry]) -> dict[str, str]:
    return {name: value for entry in entries for name, value in _pin_of(entry).items()}


def _pin_of(entry: Entry) -> Mapping[str, str]:
    return {"version": entry.notice.version, "path": entry.path, "manifest": entry.notice.manifest}


def _pins(standing: Sequence[Entry]) -> Mapping[str, Mapping[str, str]]:
    """Return the newest version that stands of each line: `2.x` and `2.1.x`. Args: standing, oldest first."""
    found: dict[str, Mapping[str, str]] = {}
    for entry in standing:
        number = Version.parse(entry.notice.version)
        found[f"{number.major}.x"] = found[f"{number.major}.{number.minor}.x"] = _pin_of(entry)
    return found


def _summary(entry: Entry) -> str:
    if entry.notice.status != "published":
        return f"Withdrawn: {(entry.notice.reason or 'no reason given').replace('_', ' ')}. Its files stay; do not use them."
    base = entry.provenance["base_version"]
    sentences = [
        f"Figures as of {entry.provenance['as_of']}.",
        f"It follows version {base}." if base else "It is the first version.",
        "It may break programs that read the version before." if entry.is_breaking else "",
        told_changes(entry.changes),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _title(entry: Entry) -> str:
    return f"{entry.package['title']}, version {entry.notice.version}{'' if entry.notice.status == 'published' else ' (withdrawn)'}"


def _ours(entry: Entry, fund_id: str) -> Mapping[str, Any]:
    """Return what a program wants to know of a version; `cursor` is greater than that of everything that happened before."""
    changes = entry.changes or {}
    return {
        "cursor": entry.notice.cursor,
        "fund_id": fund_id,
        "version": entry.notice.version,
        "base_version": entry.provenance["base_version"],
        "path": entry.path,
        "manifest": entry.notice.manifest,
        "status": entry.notice.status,
        "reason": entry.notice.reason,
        "breaking": entry.is_breaking,
        "cells_changed": changes.get("cells"),
        "causes": changes.get("causes"),
    }


def _feed_json(fund_id: str, entries: Sequence[Entry]) -> bytes:
    """Return the feed in the form of JSON Feed 1.1. Source: https://www.jsonfeed.org/version/1.1/."""
    items = [
        {
            "id": entry.package["id"],
            "url": f"{entry.path}README.md",
            "title": _title(entry),
            "content_text": _summary(entry),
            "date_published": entry.notice.published_at,
            "date_modified": entry.notice.updated_at,
            "_open_outcomes": _ours(entry, fund_id),
        }
        for entry in entries
    ]
    return write(
        {
            "version": JSON_FEED,
            "title": f"{fund_id}: versions of its open data",
            "language": "en-GB",
            "_open_outcomes": {"cursor": max((entry.notice.cursor for entry in entries), default=0)},
            "items": items,
        },
        is_sorted=False,
    )


def _feed_atom(fund_id: str, entries: Sequence[Entry]) -> bytes:
    """Return the feed in the form of Atom. Source: RFC 4287; `oo:` is an extension in our own namespace."""
    ET.register_namespace("", ATOM)
    ET.register_namespace("oo", OURS)
    feed = ET.Element(f"{{{ATOM}}}feed")
    updated = max((entry.notice.updated_at for entry in entries), key=datetime.fromisoformat, default="1970-01-01T00:00:00+00:00")
    _add(feed, "id", f"urn:open-outcomes:{fund_id}:versions")
    _add(feed, "title", f"{fund_id}: versions of its open data")
    _add(feed, "updated", updated)
    _add(feed, "link", rel="self", type="application/atom+xml", href="feed.xml")
    _add(feed, "link", rel="alternate", type="application/json", href="versions.json")
    _ours_element(feed, "cursor", str(max((entry.notice.cursor for entry in entries), default=0)))
    for entry in entries:
        item = ET.SubElement(feed, f"{{{ATOM}}}entry")
        _add(item, "id", entry.package["id"])
        _add(item, "title", _title(entry))
        _add(item, "published", entry.notice.published_at)
        _add(item, "updated", entry.notice.updated_at)
        _add(ET.SubElement(item, f"{{{ATOM}}}author"), "name", entry.package["contributors"][0]["title"])
        _add(item, "link", rel="alternate", type="text/markdown", href=f"{entry.path}README.md")
        _add(item, "summary", _summary(entry))
        ours = _ours(entry, fund_id)
        for name in ("cursor", "version", "base_version", "manifest", "status", "reason", "breaking", "cells_changed"):
            if ours[name] is not None:
                _ours_element(item, name, str(ours[name]).lower() if isinstance(ours[name], bool) else str(ours[name]))
        for cause in ours["causes"] or ():
            _ours_element(item, "cause", " ".join(cause["causes"]), cells=str(cause["cells"]))
    ET.indent(feed)
    return b'<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(feed, encoding="unicode").encode() + b"\n"


def _add(parent: ET.Element, name: str, text: str | None = None, **attributes: str) -> None:
    ET.SubElement(parent, f"{{{ATOM}}}{name}", attributes).text = text


def _ours_element(parent: ET.Element, name: str, text: str, **attributes: str) -> None:
    ET.SubElement(parent, f"{{{OURS}}}{name}", attributes).text = text


def write(content: Mapping[str, Any], *, is_sorted: bool = True) -> bytes:
    """Return a document as JSON."""
    return (json.dumps(content, indent=2, sort_keys=is_sorted, ensure_ascii=False, allow_nan=False) + "\n").encode()
