"""Is a version folder what its MANIFEST says? The format of MANIFEST, and the check that a stranger or a nightly run makes of a folder.

The first half can be done with no tool of ours: `sha256sum -c MANIFEST`. The second half asks whether the files that carry the right hash also
agree with each other: every CSV with its Parquet, cell by cell, and both with what `datapackage.json` says of them.

Nothing but MANIFEST is believed, and MANIFEST itself only as far as its signature goes, and the hash that the log holds of it, when the caller has
that hash. Signatures and the statement are checked by `pipeline/verifier.py`, the program that strangers check with.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from pipeline import verifier
from pipeline.errors import IntegrityError, NotFoundError, RuleError

MANIFEST, DESCRIPTOR = verifier.MANIFEST, verifier.DESCRIPTOR

_PATH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*", re.ASCII)
_LINE = re.compile(rf"([0-9a-f]{{64}})  ({_PATH.pattern})", re.ASCII)


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong with a folder: the file, and what is wrong with it in words."""

    path: str
    what: str


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What came of checking a folder: its problems in the order of paths, and how much was read to find them."""

    problems: Sequence[Problem]
    files: int
    size_bytes: int

    @property
    def ok(self) -> bool:
        """Whether the folder is what its MANIFEST says."""
        return not self.problems


def sha256(content: bytes) -> str:
    """Return the SHA-256 of bytes, as MANIFEST writes it."""
    return hashlib.sha256(content).hexdigest()


def manifest_bytes(files: Mapping[str, bytes]) -> bytes:
    """Return the MANIFEST of files: one line per file but itself, sorted by path, in the format of `sha256sum`.

    Raises: RuleError when a path is not made of plain letters, digits, `.`, `_`, `-` and `/`.
    """
    for path in files:
        if _PATH.fullmatch(path) is None:
            raise RuleError("A file of a release has a path that cannot be written in MANIFEST.")
    lines = [f"{sha256(files[path])}  {path}\n" for path in sorted(files) if path != MANIFEST]
    return "".join(lines).encode("ascii")


def parse_manifest(content: bytes) -> Mapping[str, str]:
    """Return the SHA-256 of every file that a MANIFEST lists, by path.

    Raises: IntegrityError when it is not exactly what `manifest_bytes` writes: another format, an unsafe path, out of order, a path twice, nothing.
    """
    try:
        text = content.decode("ascii")
    except UnicodeDecodeError as error:
        raise IntegrityError("MANIFEST is not plain text.") from error
    if not text.endswith("\n"):
        raise IntegrityError("MANIFEST is empty or breaks off in its last line.")
    listed: dict[str, str] = {}
    last = ""
    for number, line in enumerate(text[:-1].split("\n"), start=1):
        found = _LINE.fullmatch(line)
        if found is None or found[2] == MANIFEST:
            raise IntegrityError(f"MANIFEST cannot be read: line {number} is not a hash, two spaces and a path.")
        if found[2] <= last:
            raise IntegrityError(f"MANIFEST cannot be read: line {number} is out of order.")
        last = found[2]
        listed[last] = found[1]
    return listed


def read_parquet(content: bytes) -> pa.Table:
    """Return a Parquet file's table, its page checksums verified. Raises: IntegrityError when it is not readable."""
    try:
        return pyarrow.parquet.ParquetFile(pa.BufferReader(content), page_checksum_verification=True).read(use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise IntegrityError("A Parquet file cannot be read, or a page of it does not match its checksum.") from error


def read_csv(content: bytes, schema: pa.Schema) -> pa.Table:
    """Return a CSV file's table in the types of a schema; an empty cell is null. Raises: IntegrityError when it does not have that shape."""
    options = pyarrow.csv.ConvertOptions(
        column_types={field.name: field.type for field in schema},
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        true_values=["true"],
        false_values=["false"],
    )
    try:
        return pyarrow.csv.read_csv(
            pa.BufferReader(content),
            read_options=pyarrow.csv.ReadOptions(use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
            convert_options=options,
        )
    except pa.ArrowException as error:
        raise IntegrityError("A CSV file cannot be read, or holds other types than its Parquet twin.") from error


def verify_folder(
    names: Callable[[], Iterable[str]],
    get: Callable[[str], bytes],
    expected_manifest: str | None = None,
    signers: bytes | None = None,
    earlier: Callable[[str], bytes] | None = None,
) -> Verification:
    """Check a version folder against its MANIFEST, and its files against each other.

    Args: `names` lists the paths in the folder, `get` returns a file's bytes and raises NotFoundError or FileNotFoundError when there is none;
    `expected_manifest` is the SHA-256 of MANIFEST that the log holds; `signers` are the allowed signers, one of whom must have signed. Without them a
    signature, if there is any, is checked by the key that it carries. `earlier` returns the statement of another version, if that version is at hand.
    """
    try:
        manifest = get(MANIFEST)
    except (NotFoundError, FileNotFoundError):
        return Verification(problems=(Problem(MANIFEST, "missing: without it nothing can be verified"),), files=0, size_bytes=0)
    problems: list[Problem] = []
    if expected_manifest is not None and sha256(manifest) != expected_manifest:
        problems.append(Problem(MANIFEST, "altered: its hash is not the one that the log holds"))
    try:
        listed = parse_manifest(manifest)
    except IntegrityError as error:
        return Verification(problems=(*problems, Problem(MANIFEST, f"unreadable: {error}")), files=0, size_bytes=len(manifest))
    intact, size_bytes = _check_files(listed, get, problems)
    there = set(names())
    problems += [
        Problem(path, "extra: it stands in the folder but not in MANIFEST") for path in sorted(there - listed.keys() - {MANIFEST, *verifier.PROOFS})
    ]
    problems += _check_agreement(listed, intact)
    if signers is not None or there & set(verifier.PROOFS):
        proof = verifier.check_proof(_or_key_error(get), manifest, intact.get(DESCRIPTOR), signers, earlier=earlier)
        problems += [Problem(*found) for found in proof]
    return Verification(problems=tuple(sorted(set(problems))), files=len(listed), size_bytes=size_bytes + len(manifest))


def _or_key_error(get: Callable[[str], bytes]) -> Callable[[str], bytes]:
    def found(path: str) -> bytes:
        try:
            return get(path)
        except NotFoundError as error:
            raise KeyError(path) from error

    return found


def _check_files(listed: Mapping[str, str], get: Callable[[str], bytes], problems: list[Problem]) -> tuple[Mapping[str, bytes], int]:
    """Return the files that carry the hash of MANIFEST, and the number of bytes read; what else was found joins the problems."""
    intact: dict[str, bytes] = {}
    size_bytes = 0
    for path, expected in listed.items():
        try:
            content = get(path)
        except (NotFoundError, FileNotFoundError):
            problems.append(Problem(path, "missing: MANIFEST lists it"))
            continue
        size_bytes += len(content)
        if sha256(content) == expected:
            intact[path] = content
        else:
            problems.append(Problem(path, "altered: its bytes do not match the hash in MANIFEST"))
    return intact, size_bytes


def _check_agreement(listed: Mapping[str, str], intact: Mapping[str, bytes]) -> Iterator[Problem]:
    """Yield where files that carry the right hash contradict each other. Files that do not are named already."""
    if DESCRIPTOR not in listed:
        yield Problem(DESCRIPTOR, "missing: MANIFEST does not list it")
    elif DESCRIPTOR in intact:
        try:
            resources = _resources(intact[DESCRIPTOR])
        except (ValueError, TypeError, KeyError):
            yield Problem(DESCRIPTOR, "unreadable: it is no list of resources with path, hash and bytes")
        else:
            yield from _check_resources(resources, listed, intact)
            if resources.keys() <= listed.keys():
                yield from (Problem(*found) for found in verifier.check_content(intact[DESCRIPTOR], listed))
    for path in listed:
        if path.endswith(".parquet"):
            yield from _check_twins(path, listed, intact)


def _resources(content: bytes) -> Mapping[str, Mapping[str, Any]]:
    """Return the resources of a data package by path. Raises: ValueError, TypeError or KeyError when it has another shape."""
    resources = {resource["path"]: resource for resource in json.loads(content)["resources"]}
    for resource in resources.values():
        if not isinstance(resource["path"], str) or not isinstance(resource["hash"], str) or not isinstance(resource["bytes"], int):
            raise TypeError("A resource has a path, a hash or a size of the wrong type.")
    return resources


def _check_resources(resources: Mapping[str, Mapping[str, Any]], listed: Mapping[str, str], intact: Mapping[str, bytes]) -> Iterator[Problem]:
    if not resources.keys() <= listed.keys():
        yield Problem(DESCRIPTOR, "disagrees: it describes a file that MANIFEST does not list")
    for path in sorted(listed):
        if path not in resources:
            if path.endswith((".csv", ".parquet")):
                yield Problem(path, f"disagrees: {DESCRIPTOR} does not describe it")
            continue
        if resources[path]["hash"] != f"sha256:{listed[path]}":
            yield Problem(path, f"disagrees: its hash in {DESCRIPTOR} is not the one in MANIFEST")
        if path not in intact:
            continue
        if resources[path]["bytes"] != len(intact[path]):
            yield Problem(path, f"disagrees: its size in {DESCRIPTOR} is not its size")
        if "rows" in resources[path] and resources[path]["rows"] != _row_count(path, intact):
            yield Problem(path, f"disagrees: its number of rows in {DESCRIPTOR} is not its number of rows")


def _row_count(path: str, intact: Mapping[str, bytes]) -> int | None:
    """Return the number of data rows of a file, by its own reading; None when it cannot be read (its twin check says so)."""
    try:
        if path.endswith(".parquet"):
            return int(pyarrow.parquet.read_metadata(pa.BufferReader(intact[path])).num_rows)
        as_text = pyarrow.csv.read_csv(pa.BufferReader(intact[path]), parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True))
        return int(as_text.num_rows)
    except (pa.ArrowException, OSError):
        return None


def _check_twins(path: str, listed: Mapping[str, str], intact: Mapping[str, bytes]) -> Iterator[Problem]:
    """Yield the problem of a Parquet file and its CSV when they do not hold the same table."""
    twin = path.removesuffix(".parquet") + ".csv"
    if twin not in listed:
        yield Problem(path, "disagrees: there is no CSV file of the same table")
        return
    if path not in intact or twin not in intact:
        return
    try:
        table = read_parquet(intact[path])
    except IntegrityError:
        yield Problem(path, "unreadable: it is no Parquet file, or a page of it does not match its checksum")
        return
    try:
        same = read_csv(intact[twin], table.schema)
    except IntegrityError:
        yield Problem(twin, f"unreadable: it does not have the columns and types of {path}")
        return
    if same.column_names != table.column_names or same.num_rows != table.num_rows:
        yield Problem(twin, f"disagrees: it has other columns or another number of rows than {path}")
        return
    for name in table.column_names:
        if not same[name].equals(table[name]):
            yield Problem(twin, f"disagrees: it holds other values than {path} in column {name}")
