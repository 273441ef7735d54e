"""How public figures came to be what they are: the changes between any two versions, and the revision triangles. From public files alone.

Only what a candidate would change is read from its sealed files: nobody but the steward sees it before it is approved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.application.catalogue import files_of
from pipeline.application.known import Listed, find_version, read_tables, versions
from pipeline.application.services import Services, unseal
from pipeline.domain import release
from pipeline.domain.release import Version
from pipeline.domain.tables import Definitions, TableSchema
from pipeline.errors import IntegrityError, NotAllowedError, NotFoundError, UsageError
from pipeline.ports import ObjectStore
from pipeline.stages import changes, triangles
from pipeline.stages.causes import Cause
from pipeline.stages.comparison import Differences, compare, without_old
from pipeline.stages.publication import csv_bytes, parquet_bytes
from pipeline.stages.triangles import Edition
from pipeline.stages.verification import read_parquet

ROWS_PER_PART = 100_000
UNTRACED = Cause(("recomputed",))
Place = tuple[str, str, str]
"""Table, key of the row, column."""


@dataclass(frozen=True, kw_only=True)
class Between:
    """What changed from one published version to a later one; `steps` are the versions on the way, the later one last."""

    fund_id: str
    old: str
    new: str
    steps: Sequence[str]
    differences: Differences
    cells: pa.Table


def compare_versions(public: ObjectStore, definitions: Definitions, fund_id: str, old: str, new: str) -> Between:
    """Return the changes between two published versions, with the causes that the versions on the way give for each cell.

    Raises: UsageError when the second is not after the first; NotFoundError when one was never published; IntegrityError when a file is not what was
    published.
    """
    first, last = find_version(public, fund_id, old), find_version(public, fund_id, new)
    if Version.parse(first.version) >= Version.parse(last.version):
        raise UsageError(f"Version {last.version} is not after {first.version}. Name the older version first.")
    before, after = (read_tables(files_of(public, fund_id, item.version, item.manifest)) for item in (first, last))
    schemas = {name: _cut(schema, after[name]) for name, schema in definitions.tables["published"].items() if name in after}
    differences = compare(before, {name: after[name] for name in schemas}, schemas)
    if first.reason in release.SILENCING_REASONS:
        differences = without_old(differences)
    steps = [item for item in versions(public, fund_id) if Version.parse(first.version) < Version.parse(item.version) <= Version.parse(last.version)]
    told = _told(public, fund_id, steps, changes.list_changes(differences, definitions, lambda *_: UNTRACED))
    return Between(
        fund_id=fund_id,
        old=first.version,
        new=last.version,
        steps=[item.version for item in steps],
        differences=differences,
        cells=changes.list_changes(differences, definitions, lambda table, column, row, change: _why(told, definitions, table, column, row, change)),
    )


def _cut(schema: TableSchema, table: pa.Table) -> TableSchema:
    """Return a schema with the columns that a version has: it may be older than what is installed."""
    return replace(schema, fields=[column for column in schema.fields if column.name in table.column_names])


def _told(public: ObjectStore, fund_id: str, steps: Sequence[Listed], cells: pa.Table) -> Mapping[Place, Sequence[Cause]]:
    """Return the causes that the versions on the way give for the cells that changed."""
    wanted = _places(cells)
    found: dict[Place, list[Cause]] = {}
    for item in steps:
        get = files_of(public, fund_id, item.version, item.manifest)
        if f"{changes.NAME}.parquet" not in get.paths:
            continue
        rows = read_parquet(get(f"{changes.NAME}.parquet"))
        rows = rows.filter(pc.is_in(_places(rows), value_set=wanted))
        columns = [rows[name].to_pylist() for name in ("table_name", "row_key", "column_name", "causes", "reasons", "sources")]
        for table, row, column, *why in zip(*columns, strict=True):
            found.setdefault((table, row, column), []).append(Cause(*(tuple(codes.split(changes.JOINT)) if codes else () for codes in why)))
    return found


def _places(cells: pa.Table) -> pa.Array:
    return pc.binary_join_element_wise(*(cells[name].combine_chunks() for name in ("table_name", "row_key", "column_name")), "\x1f")


def _why(
    told: Mapping[Place, Sequence[Cause]], definitions: Definitions, table: str, column: str, row: Mapping[str, str | None], change: str
) -> Cause:
    """Return all causes on the way; beside a figure that is hidden in one of the two versions no more than its status says."""
    found = told.get((table, changes.row_key(row.values()), column), (UNTRACED,))
    codes = {code for cause in found for code in cause.causes}
    order = list(definitions.codelists["change_cause"])
    if change in changes.MASKED:
        return Cause(tuple(code for code in order if code == "suppression" or (code == "method" and code in codes)))
    return Cause(
        tuple(code for code in order if code in codes),
        tuple(sorted({reason for cause in found for reason in cause.reasons})),
        tuple(sorted({source for cause in found for source in cause.sources})),
    )


def read_candidate_changes(services: Services, fund_id: str, version: str) -> pa.Table:
    """Return what a candidate says has changed since the version before, from its sealed files: what a steward looks at before approving.

    Raises: NotFoundError when there is no such release; NotAllowedError when it was not built, or is from before versions said that.
    """
    built = release.fold(fund_id, services.log.read_stream(release.release_stream(fund_id))).release(version)
    sealed = next((file.sha256 for file in built.files if file.path == f"{changes.NAME}.parquet"), None)
    if sealed is None:
        raise NotAllowedError(f"Release {version} has no list of changes: it was not built yet, or before versions had one.")
    return read_parquet(unseal(services.restricted, sealed))


def describe(found: Between) -> Sequence[str]:
    """Return the changes between two versions as lines for a terminal: how many cells of each table, and why."""
    over = f"{len(found.steps)} {'version' if len(found.steps) == 1 else 'versions'}"
    return [f"{found.new} against {found.old}, over {over}: {found.cells.num_rows:,} cells.", *describe_cells(found.cells)]


def describe_cells(cells: pa.Table) -> Sequence[str]:
    """Return changes as lines for a terminal: how many cells of each table, and why."""
    counted = pa.TableGroupBy(cells, ["table_name", "change"], use_threads=False).aggregate([([], "count_all")])
    rows = counted.sort_by([("table_name", "ascending"), ("change", "ascending")]).to_pylist()
    lines = [f"  {row['table_name']}: {row['count_all']:,} {row['change']}" for row in rows]
    for cause, number in changes.count_causes(cells):
        traced = f" ({', '.join((*cause.sources, *cause.reasons))})" if cause.sources or cause.reasons else ""
        lines.append(f"  {number:,} of {' and '.join(cause.causes)}{traced}")
    return lines


def make_triangles(public: ObjectStore, definitions: Definitions, fund_id: str) -> pa.Table:
    """Return every figure of every version that stands. Raises: IntegrityError when a file is not what was published."""
    return triangles.make_triangles([_edition(public, fund_id, item) for item in _standing(public, fund_id)], definitions)


def write_triangles(public: ObjectStore, definitions: Definitions, fund_id: str) -> int:
    """Write the revision triangles of a fund beside its list of versions, as CSV and Parquet; return how many figures they hold."""
    rows, files = make_triangle_files(public, definitions, fund_id)
    for path, content in files.items():
        public.replace(path, content)
    return rows


def make_triangle_files(public: ObjectStore, definitions: Definitions, fund_id: str) -> tuple[int, Mapping[str, bytes]]:
    """Return how many figures the revision triangles of a fund hold, and their files by name in the public store.

    A version whose files are damaged is left out: what was withdrawn must leave the triangles all the same. `outcomes verify` names the damage.
    """
    editions = []
    for item in _standing(public, fund_id):
        try:
            editions.append(_edition(public, fund_id, item))
        except (NotFoundError, IntegrityError):
            continue
    rows = triangles.make_triangles(editions, definitions)
    path = f"datasets/{fund_id}/{triangles.NAME}"
    as_parquet = parquet_bytes(definitions.table("history", triangles.NAME), rows)
    return int(rows.num_rows), {f"{path}.parquet": as_parquet, f"{path}.csv": _csv_in_parts(rows)}


def _csv_in_parts(rows: pa.Table) -> bytes:
    """Return rows as CSV, a part at a time: as Python text all at once, millions of rows take gigabytes."""
    parts = [csv_bytes(rows.slice(first, ROWS_PER_PART)) for first in range(0, max(rows.num_rows, 1), ROWS_PER_PART)]
    return b"".join([parts[0], *(part.partition(b"\r\n")[2] for part in parts[1:])])


def _standing(public: ObjectStore, fund_id: str) -> Sequence[Listed]:
    return [item for item in versions(public, fund_id) if item.is_standing]


def _edition(public: ObjectStore, fund_id: str, item: Listed) -> Edition:
    return Edition(version=item.version, as_of=item.as_of, tables=read_tables(files_of(public, fund_id, item.version, item.manifest)))
