"""The folder that a site is written to: only what differs is written, and only what an earlier build wrote is ever removed.

The folder has a MANIFEST of its own in sha256sum format, written last: `sha256sum -c MANIFEST` checks the whole site, and the next build knows by it
which files are the site's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import IntegrityError, UsageError
from pipeline.site.archive import Fund, PublicReader, read_funds
from pipeline.site.render import render_site
from pipeline.stages.verification import MANIFEST, parse_manifest, sha256


@dataclass(frozen=True, kw_only=True)
class SiteBuilt:
    """What a build did: how many funds, pages and files the site has, and how many files were written and removed."""

    funds: int
    pages: int
    files: int
    written: int
    removed: int
    size_bytes: int


def build_site(reader: PublicReader, output: Path, only: str | None = None) -> SiteBuilt:
    """Build the site of everything that was published, or of one fund, into a folder that is new, empty, or holds an earlier build.

    Nothing is written before every public file was verified and every page rendered.
    Raises: UsageError when the folder holds something else; NotFoundError when nothing was published; IntegrityError naming an altered file.
    """
    before = _earlier_build(output)
    funds = read_funds(reader, only)
    pages = render_site(funds)
    copies = _copies(funds)
    hashes = {path: sha256(content) for path, content in pages.items()} | dict(copies)
    # Said beforehand, so that a build that was killed can be run again: what is there under its old hash will be written, what is new is ours.
    _write(output / MANIFEST, _manifest({**hashes, **before}))
    written = 0
    for path in sorted(hashes):
        if before.get(path) == hashes[path] and (output / path).is_file():
            continue
        content = pages[path] if path in pages else reader.get(path)
        if sha256(content) != hashes[path]:
            raise IntegrityError(f"The site is not whole: {path} changed while it was being copied.")
        _write(output / path, content)
        written += 1
    removed = _remove(output, sorted(before.keys() - hashes.keys()))
    manifest = _manifest(hashes)
    _write(output / MANIFEST, manifest)
    return SiteBuilt(
        funds=len(funds),
        pages=sum(path.endswith(".html") for path in pages),
        files=len(hashes) + 1,
        written=written,
        removed=removed,
        size_bytes=sum((output / path).stat().st_size for path in hashes) + len(manifest),
    )


def _copies(funds: Sequence[Fund]) -> Mapping[str, str]:
    """Return the hash of every public file that stands in the site as it is. The files of a withdrawn version do not: they are not spread further."""
    standing = [version for fund in funds for version in fund.versions if version.is_standing]
    files = {f"{version.folder}{file.path}": file.sha256 for version in standing for file in version.files}
    files |= {f"{version.folder}{path}": digest for version in standing for path, digest in version.proofs.items()}
    return files | {path: sha256(content) for fund in funds for path, content in fund.index.items()}


def _manifest(hashes: Mapping[str, str]) -> bytes:
    return "".join(f"{hashes[path]}  {path}\n" for path in sorted(hashes)).encode("ascii")


def _earlier_build(output: Path) -> Mapping[str, str]:
    """Return the hash of every file that an earlier build wrote."""
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return {}
    try:
        return parse_manifest((output / MANIFEST).read_bytes())
    except (OSError, IntegrityError) as error:
        raise UsageError(f"{output} is not empty and holds no site of ours. Name a new folder, or one that was built before.") from error


def _write(path: Path, content: bytes) -> None:
    """Put a file in its place in one step: who reads the folder meanwhile sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.write_bytes(content)
    unfinished.replace(path)


def _remove(output: Path, paths: list[str]) -> int:
    for path in paths:
        (output / path).unlink(missing_ok=True)
        folder = (output / path).parent
        while folder != output and not (folder.is_dir() and any(folder.iterdir())):
            if folder.is_dir():  # else a build that was killed had removed it already
                folder.rmdir()
            folder = folder.parent
    return len(paths)
