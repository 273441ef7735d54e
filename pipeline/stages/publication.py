"""Protected tables become the files of one version: CSV, Parquet, a data package, code lists, a changelog, a readme, and MANIFEST over them all.

The same tables, definitions and release give the same bytes (Parquet: with one version of pyarrow; the CSV files and the content hash in
`datapackage.json` survive its upgrades). This is the last gate before the public: only declared columns pass, no cell whose status says that there
is no figure holds one, and no text stands in a cell that a spreadsheet would take for a formula. Nothing is mended here in silence.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from pipeline.domain.tables import Definitions, Field, TableSchema
from pipeline.errors import RuleError
from pipeline.stages.changelog import changelog, plain
from pipeline.stages.changes import NAME, SUMMARY, summarise
from pipeline.stages.comparison import STATUS, Differences, compare, describe
from pipeline.stages.frames import conform
from pipeline.stages.metadata import Described, cite, describe_files, version_id
from pipeline.stages.verification import DESCRIPTOR, MANIFEST, manifest_bytes, parse_manifest, sha256
from pipeline.verifier import NAMESPACE, SIGNATURE, SIGNING_TIME, content_hash

__all__ = ["CODELISTS", "ReleaseAbout", "csv_bytes", "manifest_bytes", "parquet_bytes", "parse_manifest", "render"]

CODELISTS = "codelists"
PROFILE = "https://datapackage.org/profiles/2.0/datapackage.json"
ROWS_PER_GROUP = 100_000
BYTES_PER_PAGE = 1 << 20
FIGURE_STATUSES = ("published", "p", "r")
"""The statuses with which a figure stands in its cell. Source: schemas/codelists/cell_status.csv."""

RISKY_TEXT = r"^[=+\-@\t\r\n]"
"""How a text begins that a spreadsheet runs as a formula or hides. Source: OWASP, CSV injection."""

DIALECT = {"header": True, "delimiter": ",", "lineTerminator": "\r\n", "quoteChar": '"', "doubleQuote": True, "skipInitialSpace": False}
"""How the CSV files are written, said in full: readers that are not told guess, and guess wrong where names are joined by semicolons."""

LICENCES: Mapping[str, tuple[str, str]] = {
    "OGL-UK-3.0": ("Open Government Licence v3.0", "https://www.nationalarchives.gov.uk/doc/open-government-licence/version/3/"),
    "CC-BY-4.0": ("Creative Commons Attribution 4.0 International", "https://creativecommons.org/licenses/by/4.0/"),
    "CC0-1.0": ("Creative Commons Zero v1.0 Universal", "https://creativecommons.org/publicdomain/zero/1.0/"),
}


@dataclass(frozen=True, kw_only=True)
class ReleaseAbout:
    """What a version says of itself.

    `licence` is an SPDX id; `ledger`, `rules`, `schemas` and `disclosure` are digests, `code` the version of this software; `threshold` is the number
    of people below which a figure is hidden; `public_notes` are sentences for the readers of the changelog.
    """

    fund_id: str
    fund_name: str
    publisher: str
    licence: str
    version: str
    base_version: str | None
    as_of: date
    drafted_on: date
    log_position: int
    chain_head: str
    ledger: str
    rules: str
    schemas: str
    disclosure: str
    code: str
    threshold: int
    public_notes: Sequence[str] = ()


def render(
    tables: Mapping[str, pa.Table],
    definitions: Definitions,
    about: ReleaseAbout,
    changes: Differences | None,
    cells: pa.Table | None = None,
) -> Mapping[str, bytes]:
    """Return the files of a version by their path inside its folder, MANIFEST last.

    Args: `tables` has every published table, protected; `changes` is None for a fund's first version only; `cells` are the changes cell by cell, as
    `stages.changes` lists them.
    Raises: RuleError when a table is missing or unknown, or holds what must not be published.
    """
    schemas = definitions.tables["published"]
    if tables.keys() != schemas.keys():
        raise RuleError(f"A release has the tables {', '.join(sorted(schemas))}, each of them and no other.")
    if changes is None and about.base_version is not None:
        raise RuleError(f"Version {about.version} follows {about.base_version}: its changelog needs the differences between them.")
    frames = {name: _publishable(schemas[name], tables[name]) for name in sorted(tables)}
    files: dict[str, bytes] = {}
    for name, frame in frames.items():
        files[f"{name}.csv"] = csv_bytes(frame)
        files[f"{name}.parquet"] = parquet_bytes(schemas[name], frame)
    rows = {name: frame.num_rows for name, frame in frames.items()}
    differences = changes or compare(None, frames, schemas)
    if cells is not None:
        schemas = {**schemas, NAME: definitions.table("history", NAME)}
        rows[NAME] = cells.num_rows
        files[f"{NAME}.csv"], files[f"{NAME}.parquet"] = csv_bytes(cells), parquet_bytes(schemas[NAME], cells)
        files[SUMMARY] = summarise(cells, differences, about.version, about.base_version)
    files[f"{CODELISTS}.csv"] = csv_bytes(_codelist_table(definitions.codelists))
    files[DESCRIPTOR] = _descriptor(files, schemas, rows, definitions, about)
    files |= describe_files([schemas[name] for name in rows], _described(files, about))
    files["CHANGELOG.md"] = changelog(differences, about, cells, frames.get("completeness")).encode()
    files["README.md"] = _readme(schemas, definitions, about).encode()
    return {**dict(sorted(files.items())), MANIFEST: manifest_bytes(files)}


def _described(files: Mapping[str, bytes], about: ReleaseAbout) -> Described:
    return Described(
        fund_id=about.fund_id,
        version=about.version,
        base_version=about.base_version,
        title=_title(about),
        description=_description(about),
        publisher=about.publisher,
        licence=about.licence,
        licence_url=LICENCES.get(about.licence, ("", None))[1],
        as_of=about.as_of,
        drafted_on=about.drafted_on,
        files={path: (len(content), sha256(content)) for path, content in files.items()},
    )


def _publishable(schema: TableSchema, table: pa.Table) -> pa.Table:
    """Return exactly the declared columns in their order, sorted by the key. Raises: RuleError naming the place of a cell that must not go out."""
    frame = conform(schema, table)
    for column in schema.fields:
        cells = frame[column.name]
        if column.type == "string":
            _refuse(schema, column, pc.match_substring_regex(cells, RISKY_TEXT), "begins like a formula")
            _refuse(schema, column, pc.equal(cells, ""), "is an empty text where it should be null")
        if column.name + STATUS in frame.column_names:
            has_figure = pc.is_in(frame[column.name + STATUS], value_set=pa.array(FIGURE_STATUSES))
            _refuse(schema, column, pc.and_not(pc.is_valid(cells), has_figure), "holds a figure although its status says that there is none")
            _refuse(schema, column, pc.and_not(has_figure, pc.is_valid(cells)), "is empty although its status says that there is a figure")
    return frame


def _refuse(schema: TableSchema, column: Field, breach: pa.ChunkedArray, what: str) -> None:
    row = pc.index(breach, True).as_py()
    if row >= 0:
        raise RuleError(f"Table {schema.name} cannot be published: column {column.name} in row {row + 1} by the order of its key {what}.")


def csv_bytes(table: pa.Table) -> bytes:
    """Return a table as CSV by RFC 4180: UTF-8, no byte order mark, CRLF, decimals at their scale, ISO dates, true and false, null as nothing."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(table.column_names)
    writer.writerows(zip(*(column.cast(pa.string()).to_pylist() for column in table.columns), strict=True))
    return out.getvalue().encode()


def parquet_bytes(schema: TableSchema, table: pa.Table) -> bytes:
    """Return a table as Parquet with page checksums, and its words as plain key-value pairs.

    No dictionaries, because they keep labels whose rows are gone; no statistics, because they say what is in a column; no Arrow or pandas schema.
    """
    sink = pa.BufferOutputStream()
    with pyarrow.parquet.ParquetWriter(
        sink,
        table.schema.remove_metadata(),
        version="2.6",
        data_page_version="1.0",
        compression="zstd",
        compression_level=3,
        data_page_size=BYTES_PER_PAGE,
        use_dictionary=False,
        write_statistics=False,
        write_page_checksum=True,
        store_schema=False,
    ) as writer:
        writer.write_table(table.replace_schema_metadata(None), row_group_size=ROWS_PER_GROUP)
        writer.add_key_value_metadata(dict(describe(schema)))
    return bytes(sink.getvalue().to_pybytes())


def _codelist_table(codelists: Mapping[str, Mapping[str, str]]) -> pa.Table:
    rows = [(name, code, label) for name in sorted(codelists) for code, label in codelists[name].items()]
    return pa.table([pa.array(column, pa.string()) for column in zip(*rows, strict=True)], names=["list", "code", "label"])


def _descriptor(
    files: Mapping[str, bytes], schemas: Mapping[str, TableSchema], rows: Mapping[str, int], definitions: Definitions, about: ReleaseAbout
) -> bytes:
    """Return `datapackage.json` by Data Package v2. Source: https://datapackage.org/standard/data-package/."""
    title, path = LICENCES.get(about.licence, ("", ""))
    document = {
        "$schema": PROFILE,
        "name": about.fund_id.lower(),
        "id": version_id(about.fund_id, about.version),
        "title": _title(about),
        "description": _description(about),
        "version": about.version,
        "created": f"{about.drafted_on.isoformat()}T00:00:00Z",
        "licenses": [{"name": about.licence} | ({"path": path, "title": title} if path else {})],
        "contributors": [{"title": about.publisher, "roles": ["publisher"]}],
        "sources": [{"title": f"Returns of the projects of {about.fund_name}", "version": f"log position {about.log_position}"}],
        "resources": [resource for name in rows for resource in _resources(schemas[name], rows[name], files)]
        + [_codelist_resource(files, definitions.codelists)],
        "openoutcomes": _provenance(files, rows, about),
    }
    return (json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _provenance(files: Mapping[str, bytes], tables: Iterable[str], about: ReleaseAbout) -> Mapping[str, Any]:
    """Return what a release is a function of, and the hash of its content that does not depend on how Parquet is written.

    That hash is the one of the lines of MANIFEST that speak of `content_files`.
    """
    content = sorted(f"{name}.csv" for name in tables)
    return {
        "fund_id": about.fund_id,
        "version": about.version,
        "base_version": about.base_version,
        "as_of": about.as_of.isoformat(),
        "drafted_on": about.drafted_on.isoformat(),
        "log_position": about.log_position,
        "chain_head": about.chain_head,
        "ledger": about.ledger,
        "rules": about.rules,
        "schemas": about.schemas,
        "disclosure": about.disclosure,
        "threshold": about.threshold,
        "code": about.code,
        "parquet_writer": f"pyarrow {pa.__version__}",
        "content": content_hash({path: sha256(files[path]) for path in content}, content),
        "content_files": content,
    }


def _resources(schema: TableSchema, rows: int, files: Mapping[str, bytes]) -> Sequence[Mapping[str, Any]]:
    """Return the entries of a table's two files.

    The Parquet file has no `type` and no `schema`, and its format is written with a capital: by the standard it then is a plain file, and the stock
    `frictionless` compares its hash and size. Written as a table, that program reads it through pandas, finds no size and takes empty whole
    numbers for the text nan, and calls the package invalid (frictionless 5.21, its issue 1637).
    """
    words = f"{schema.description} {schema.grain[:1].upper()}{schema.grain[1:]}."
    table_schema = {
        "fields": [_field(column) for column in schema.fields],
        "primaryKey": list(schema.primary_key),
        "missingValues": [""],
    }
    as_csv = _file(schema.name, f"{schema.name}.csv", files) | {"title": schema.title, "description": words}
    as_parquet = _file(f"{schema.name}.parquet", f"{schema.name}.parquet", files)
    as_parquet |= {"title": f"{schema.title} (Parquet)", "description": f"The same table as {schema.name}.csv. {words}"}
    return (
        as_csv | _as_csv(table_schema, rows),
        as_parquet | {"format": "Parquet", "mediatype": "application/vnd.apache.parquet"},
    )


def _codelist_resource(files: Mapping[str, bytes], codelists: Mapping[str, Mapping[str, str]]) -> Mapping[str, Any]:
    words = (("list", "List", "Name of the code list."), ("code", "Code", "Code as it stands in the tables."), ("label", "Label", "What it means."))
    fields = [{"name": name, "type": "string", "title": title, "description": text, "constraints": {"required": True}} for name, title, text in words]
    return _file(CODELISTS, f"{CODELISTS}.csv", files) | {
        "title": "Code lists",
        "description": "What the codes in the tables mean. One row per list and code.",
        **_as_csv({"fields": fields, "primaryKey": ["list", "code"], "missingValues": [""]}, sum(len(codes) for codes in codelists.values())),
    }


def _as_csv(schema: Mapping[str, Any], rows: int) -> dict[str, Any]:
    table = {"type": "table", "format": "csv", "mediatype": "text/csv", "encoding": "utf-8", "dialect": DIALECT}
    return table | {"rows": rows, "schema": schema}


def _file(name: str, path: str, files: Mapping[str, bytes]) -> dict[str, Any]:
    return {"name": name, "path": path, "bytes": len(files[path]), "hash": f"sha256:{sha256(files[path])}"}


def _field(column: Field) -> Mapping[str, Any]:
    entry: dict[str, Any] = {"name": column.name, "type": column.type, "title": column.title, "description": column.description}
    custom = {"unit": column.unit, "decimals": column.decimals, "codelist": column.codelist}
    entry |= {name: value for name, value in custom.items() if value is not None}
    if column.constraints:
        entry["constraints"] = dict(column.constraints)
    return entry


def _title(about: ReleaseAbout) -> str:
    return f"{about.fund_name}: outcomes and payments"


def _description(about: ReleaseAbout) -> str:
    return f"Outcomes, payments and service users of the projects of {about.fund_name}, as of {about.as_of.isoformat()}."


def _readme(schemas: Mapping[str, TableSchema], definitions: Definitions, about: ReleaseAbout) -> str:
    """Return what a stranger needs to know to check, open, read and cite the files."""
    licence, path = LICENCES.get(about.licence, (about.licence, ""))
    example = next(iter(sorted(schemas)))
    tables = [f"| `{name}` | {schemas[name].grain} | {schemas[name].description} |" for name in sorted(schemas)]
    statuses = [f"| `{code}` | {label} |" for code, label in definitions.codelists.get("cell_status", {}).items()]
    return README.format(
        title=plain(_title(about)),
        version=about.version,
        as_of=about.as_of.isoformat(),
        publisher=plain(about.publisher),
        citation=plain(cite(_described({}, about))),
        licence=f"{plain(licence)}, {path}" if path else plain(licence),
        tables="\n".join(tables),
        statuses="\n".join(statuses),
        example=example,
        threshold=about.threshold,
        log_position=about.log_position,
        check=CHECK.format(principal=about.fund_id),
    )


CHECK = (
    f"ssh-keygen -Y verify -f ../allowed_signers -I {{principal}} -n {NAMESPACE} -O verify-time=$(cat {SIGNING_TIME}) -s {SIGNATURE} < {MANIFEST}"
    f" && sha256sum -c {MANIFEST}"
)
"""The one line by which a stranger verifies a version in its folder. Without that time ssh-keygen asks whether the key is in force today."""

README = """\
# {title}

Version {version}, figures as of {as_of}, published by {publisher}.

| table | rows | what it holds |
|---|---|---|
{tables}

Each table is there twice, as `.csv` and as `.parquet`, with the same rows and columns. `datapackage.json` explains every column, `codelists.csv`
every code, and `CHANGELOG.md` says what is new since the version before. `*.csv-metadata.json` (CSVW), `croissant.json`, `dcat.jsonld` and
`CITATION.cff` say the same as `datapackage.json` to programs that ask for those.

## Check that nobody altered it

    {check}

(on a Mac: `shasum -a 256 -c MANIFEST`). It needs OpenSSH 9.1 or later, coreutils, and no network. `../allowed_signers` holds the keys by which the
publisher signs, and when each was in force: get it once, from the publisher, and keep it. `release.json`, signed in the same way, says who approved
this MANIFEST and proves that the publisher's log only grew since the version before; the software's `verifier.py`, one file for Python 3, checks that
as well. `datapackage.json` names the log position ({log_position}), the rules and the code that the version was made from, under `openoutcomes`.

## Open it

- DuckDB: `SELECT * FROM '{example}.parquet';`
- pandas: `pandas.read_parquet("{example}.parquet")`
- A spreadsheet: open `{example}.csv` as UTF-8 with commas, and let columns whose name ends in `_id` be text.

## Read the figures

Beside a figure that may be missing for a reason stands a column `<figure>_status`. An empty cell is never a zero: its status says why it is empty.

| status | meaning |
|---|---|
{statuses}

Some figures are hidden to protect people: those that fewer than {threshold} people stand behind, and others from which these could be worked out, for
instance with the help of a total. Do not try to work out hidden figures or to find out whom a figure speaks of.

Columns that end in `_gbp` are pounds sterling, `_count` and `_quantity` are numbers of the unit that `datapackage.json` names, `_on` and `as_of` are
dates. A quarter like 2024-Q1 is a calendar quarter.

## Cite it

{citation}

## Licence

{licence}
"""
