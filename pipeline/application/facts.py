"""Deliveries as facts, and facts as sealed files: what accepting, comparing and receipts share.

Called by the verbs of a return. Nothing here decides or appends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.application.erasures import Erasures, check_kept, read_erasures
from pipeline.application.services import Services, seal, unseal_path
from pipeline.domain.events import FactFile, RowCounts
from pipeline.domain.findings import is_blocking
from pipeline.domain.ledger import FACT_TABLES
from pipeline.domain.submission import Revision, RevisionKey, SubmissionKey
from pipeline.errors import NotAllowedError, NotFoundError, UnavailableError
from pipeline.ports import ReadReturn, ReturnTable
from pipeline.stages import acceptance, frames

TYPED_TABLES: tuple[str, ...] = ("participants", "outcomes", "payments")


@dataclass(frozen=True, kw_only=True)
class DeliveredFacts:
    """What a delivery that passed would bring into force; `reason` is the coded reason of a correction that its cover gives."""

    facts: Mapping[str, pa.Table]
    rows: RowCounts
    reason: str | None


def make_facts(services: Services, key: RevisionKey, revision: Revision) -> DeliveredFacts:
    """Read a revision that passed and turn its rows into facts, in pseudonyms only; nothing is stored.

    Raises: NotAllowedError when it is quarantined; UnavailableError when the delivery cannot be read now, although it could be when it was validated.
    """
    if revision.is_quarantined:
        raise NotAllowedError(f"Revision {key} is quarantined; its bytes are not read again. Send a corrected file, which is a new revision.")
    if revision.is_erased:
        check_kept(services, revision.content, f"The file of revision {key}")
    read = services.reader.read(unseal_path(services.restricted, revision.content))
    if is_blocking(read.findings):
        rules = ", ".join(sorted({finding.rule for finding in read.findings}))
        raise UnavailableError(f"Revision {key} was read when it was validated, and cannot be read now ({rules}). Nothing was accepted; try again.")
    facts = acceptance.to_facts(key.submission, services.definitions, type_tables(services, read), pseudonyms_of(services, key.submission))
    return DeliveredFacts(facts=facts, rows=acceptance.count_rows(read.tables, facts), reason=_cover_reason(read.tables))


def seal_facts(services: Services, facts: Mapping[str, pa.Table]) -> Sequence[FactFile]:
    """Seal facts, one file for each table that has any."""

    def seal_table(name: str) -> FactFile:
        schema = services.definitions.table("facts", name)
        content = acceptance.write_facts(facts[name], schema)
        return FactFile(
            table=name, sha256=seal(services.restricted, content), rows=facts[name].num_rows, size_bytes=len(content), number=schema.version
        )

    return list(frames.at_once(seal_table, [name for name, table in facts.items() if table.num_rows]).values())


def read_facts(services: Services, files: Sequence[FactFile], columns: Mapping[str, Sequence[str]] | None = None) -> Mapping[str, pa.Table]:
    """Return facts by table from their sealed files; every fact table is there, empty when it has no file.

    Args: columns, by table, those that are wanted; all of them when None.
    """
    schemas = {name: frames.arrow_schema(services.definitions.table("facts", name)) for name in FACT_TABLES}
    wanted = {name: list(columns[name]) if columns is not None else schema.names for name, schema in schemas.items()}
    found = {name: [schema.empty_table().select(wanted[name])] for name, schema in schemas.items()}
    for file, path in fact_paths(services, files):
        found[file.table].append(pq.read_table(path, columns=wanted[file.table], page_checksum_verification=True))
    return {name: pa.concat_tables(tables) for name, tables in found.items()}


def fact_paths(services: Services, files: Sequence[FactFile]) -> Iterator[tuple[FactFile, Path]]:
    """Yield fact files with a local path of each; one that was redacted by an erasure is the one in its place, or none when no row was left."""
    gone: Erasures | None = None
    for file in files:
        try:
            yield file, unseal_path(services.restricted, file.sha256)
        except NotFoundError:
            gone = gone or read_erasures(services)
            if file.sha256 not in gone.by_file:
                raise
            for kept in gone.resolve_all([file]):
                yield kept, unseal_path(services.restricted, kept.sha256)


def type_tables(services: Services, read: ReadReturn) -> Mapping[str, pa.Table]:
    """Return the typed tables of a delivery; those that it does not have are empty."""

    def type_table(name: str) -> pa.Table:
        schema = services.definitions.table("submission", name)
        return acceptance.type_cells(schema, read.tables[name].cells) if name in read.tables else acceptance.no_rows(schema)

    return frames.at_once(type_table, TYPED_TABLES)


def pseudonyms_of(services: Services, key: SubmissionKey) -> Callable[[str, pa.Array], pa.Array]:
    """Return the function that names a project's references by pseudonym."""
    return lambda kind, references: services.pseudonymiser.pseudonyms(key.project_id, kind, references)


def _cover_reason(tables: Mapping[str, ReturnTable]) -> str | None:
    cells = tables["cover"].cells if "cover" in tables else None
    if cells is None or "correction_reason" not in cells.column_names or cells.num_rows != 1:
        return None
    reason: str | None = cells["correction_reason"][0].as_py()
    return reason
