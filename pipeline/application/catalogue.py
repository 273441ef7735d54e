"""The verb that writes the lists of a fund's versions: after publishing from the log, at any time from the public store alone. Both give the same."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from pipeline.application.notes import of_versions
from pipeline.application.services import Services
from pipeline.domain import release
from pipeline.domain.events import Recorded, ReleasePublished, ReleaseWithdrawn
from pipeline.domain.release import release_stream
from pipeline.errors import IntegrityError, NotFoundError
from pipeline.ports import ObjectStore
from pipeline.stages import catalogue
from pipeline.stages.catalogue import Entry, Notice
from pipeline.stages.changes import SUMMARY
from pipeline.stages.verification import DESCRIPTOR, MANIFEST, parse_manifest, sha256


@dataclass(frozen=True, kw_only=True)
class Indexed:
    """What writing the lists did: which versions they name, and which files were other before."""

    fund_id: str
    versions: Sequence[str]
    changed: Sequence[str]


def write_index(services: Services, fund_id: str) -> Indexed:
    """Write the notices of all versions, and the lists, from the log.

    A version whose files are damaged or gone is listed all the same, by what the log knows: that it was withdrawn must be read by everybody.
    """
    entries = _entries(services, fund_id)
    for path, content in _notices(fund_id, entries).items():
        services.public.replace(path, content)
    return _write(services.public, fund_id, entries)


def make_index(services: Services, fund_id: str) -> Mapping[str, bytes]:
    """Return what `write_index` writes, by name in the public store."""
    entries = _entries(services, fund_id)
    lists = catalogue.documents(fund_id, entries)
    return {**_notices(fund_id, entries), **{f"{_folder(fund_id)}{name}": content for name, content in lists.items()}}


def _notices(fund_id: str, entries: Sequence[Entry]) -> Mapping[str, bytes]:
    return {f"{_folder(fund_id)}notices/{entry.notice.version}.json": catalogue.write(asdict(entry.notice)) for entry in entries}


def _entries(services: Services, fund_id: str) -> Sequence[Entry]:
    events = services.log.read_stream(release_stream(fund_id))
    versions = release.fold(fund_id, events).all
    drafts = {item.version: item.draft for item in versions}
    notes = of_versions(services, fund_id, [item for item in versions if item.state in release.FINAL])
    entries = []
    for told in notices_of(events):
        notice = replace(told, notes=notes.get(told.version, ()))
        try:
            entries.append(read_entry(services.public, fund_id, notice))
        except (NotFoundError, IntegrityError):
            entries.append(catalogue.bare_entry(fund_id, notice, drafts[notice.version].as_of, drafts[notice.version].base_version))
    return entries


def rebuild_index(public: ObjectStore, fund_id: str) -> Indexed:
    """Write the lists again from the public store alone: from the versions' own files and their notices.

    Raises: NotFoundError when the store has no notice of that fund; IntegrityError when a version's MANIFEST is not the one that its notice names.
    """
    return _write(public, fund_id, [read_entry(public, fund_id, notice) for notice in read_notices(public, fund_id)])


def notices_of(events: Sequence[Recorded]) -> Sequence[Notice]:
    """Return what only the log knows of each version that was published, in the order of publication."""
    found: dict[str, Notice] = {}
    for recorded in events:
        event, at = recorded.event, recorded.recorded_at.isoformat()
        if isinstance(event, ReleasePublished):
            found[event.version] = Notice(version=event.version, manifest=event.manifest, published_at=at, cursor=recorded.position)
        elif isinstance(event, ReleaseWithdrawn):
            before = found[event.version]
            found[event.version] = Notice(**{**asdict(before), "cursor": recorded.position, "withdrawn_at": at, "reason": event.reason})
    return list(found.values())


def read_notices(public: ObjectStore, fund_id: str) -> Sequence[Notice]:
    """Return the notices of a fund's versions, in the order of publication. Raises: NotFoundError; IntegrityError when one cannot be read."""
    names = list(public.names(f"{_folder(fund_id)}notices/"))
    if not names:
        raise NotFoundError(f"Nothing of fund {fund_id} stands in the public store.")
    try:
        notices = [Notice(**json.loads(public.get(name))) for name in names]
    except (ValueError, TypeError) as error:
        raise IntegrityError(
            f"A notice in {_folder(fund_id)}notices/ cannot be read. `outcomes release index` writes them again from the log."
        ) from error
    return sorted(notices, key=lambda notice: (notice.published_at, notice.cursor))


def read_entry(public: ObjectStore, fund_id: str, notice: Notice) -> Entry:
    """Return what the lists say of one version, read from its own files.

    Raises: NotFoundError; IntegrityError when a file is not what was published.
    """
    get = files_of(public, fund_id, notice.version, notice.manifest)
    return Entry(notice=notice, package=json.loads(get(DESCRIPTOR)), changes=json.loads(get(SUMMARY)) if SUMMARY in get.paths else None)


@dataclass(frozen=True)
class VersionFiles:
    """The files of one published version, each checked against its MANIFEST when it is read."""

    public: ObjectStore
    folder: str
    paths: Mapping[str, str]

    def __call__(self, path: str) -> bytes:
        """Return the bytes of a file. Raises: NotFoundError; IntegrityError when they are not what was published."""
        if path not in self.paths:
            raise NotFoundError(f"{self.folder} has no {path}.")
        content = self.public.get(f"{self.folder}{path}")
        if sha256(content) != self.paths[path]:
            raise IntegrityError(f"{self.folder}{path} is not the file that was published. Restore it from a copy.")
        return content


def files_of(public: ObjectStore, fund_id: str, version: str, manifest: str) -> VersionFiles:
    """Return the files of a version. Raises: IntegrityError when its MANIFEST does not have the hash that was approved."""
    folder = f"{_folder(fund_id)}v{version}/"
    content = public.get(f"{folder}{MANIFEST}")
    if sha256(content) != manifest:
        raise IntegrityError(f"The public MANIFEST of release {version} is not the one that was approved. Restore {folder} from a copy.")
    return VersionFiles(public, folder, parse_manifest(content))


def _write(public: ObjectStore, fund_id: str, entries: Sequence[Entry]) -> Indexed:
    changed = []
    for name, content in catalogue.documents(fund_id, entries).items():
        path = f"{_folder(fund_id)}{name}"
        if not public.exists(path) or public.get(path) != content:
            changed.append(name)
        public.replace(path, content)
    return Indexed(fund_id=fund_id, versions=[entry.notice.version for entry in entries], changed=changed)


def _folder(fund_id: str) -> str:
    return f"datasets/{fund_id}/"
