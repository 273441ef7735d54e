"""The same words as in `datapackage.json`, in the other forms that machines ask for: CSVW, Croissant, DCAT and a citation.

All are made from the table schemas and from what the version says of itself, so that none can say anything else than another. Files are named by
relative addresses, because a version does not know where it is published. `publication` puts them into the folder and under MANIFEST.

Source: W3C Tabular Data on the Web (CSVW) 2015; MLCommons Croissant 1.0; W3C DCAT 3 with dataset series; Citation File Format 1.2.0.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from pipeline.domain.events import EVENT_NAMESPACE
from pipeline.domain.tables import Field, TableSchema

CSVW_TYPES = {"string": "string", "integer": "integer", "number": "decimal", "boolean": "boolean", "date": "date"}
CROISSANT_TYPES = {"string": "sc:Text", "integer": "sc:Integer", "number": "sc:Float", "boolean": "sc:Boolean", "date": "sc:Date"}
MEDIA_TYPES = {".csv": "text/csv", ".parquet": "application/vnd.apache.parquet"}
IANA = "https://www.iana.org/assignments/media-types/"
FILE_TYPES = {".csv": "CSV", ".parquet": "PARQUET"}
EU_FILE_TYPE = "http://publications.europa.eu/resource/authority/file-type/"
EU_LANGUAGE = "http://publications.europa.eu/resource/authority/language/ENG"

CROISSANT_CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "equivalentProperty": "cr:equivalentProperty",
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context that the standard gives, word for word as far as it speaks of what is used here and of what readers look for."""

DCAT_CONTEXT: Mapping[str, str] = {
    "adms": "http://www.w3.org/ns/adms#",
    "dcat": "http://www.w3.org/ns/dcat#",
    "dct": "http://purl.org/dc/terms/",
    "foaf": "http://xmlns.com/foaf/0.1/",
    "prov": "http://www.w3.org/ns/prov#",
    "spdx": "http://spdx.org/rdf/terms#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}


@dataclass(frozen=True, kw_only=True)
class Described:
    """What the metadata say of a version as a whole. `licence` is an SPDX id, `licence_url` its text if we know it; `files` gives size and hash."""

    fund_id: str
    version: str
    base_version: str | None
    title: str
    description: str
    publisher: str
    licence: str
    licence_url: str | None
    as_of: date
    drafted_on: date
    files: Mapping[str, tuple[int, str]]


def version_id(fund_id: str, version: str) -> str:
    """Return the name of a version for ever, in every form of metadata."""
    return f"urn:uuid:{uuid.uuid5(EVENT_NAMESPACE, f'{fund_id}/{version}')}"


def describe_files(tables: Sequence[TableSchema], about: Described) -> Mapping[str, bytes]:
    """Return the metadata files of a version by path."""
    return {
        **{f"{table.name}.csv-metadata.json": _document(_csvw(table, about)) for table in tables},
        "croissant.json": _document(_croissant(tables, about)),
        "dcat.jsonld": _document(_dcat(tables, about)),
        "CITATION.cff": _citation(about),
    }


def _csvw(table: TableSchema, about: Described) -> Mapping[str, Any]:
    return {
        "@context": ["http://www.w3.org/ns/csvw", {"@language": "en"}],
        "url": f"{table.name}.csv",
        "dc:title": table.title,
        "dc:description": _words(table),
        "dc:publisher": about.publisher,
        "dc:issued": {"@value": about.drafted_on.isoformat(), "@type": "xsd:date"},
        **({"dc:license": {"@id": about.licence_url}} if about.licence_url else {}),
        "dialect": {
            "encoding": "utf-8",
            "lineTerminators": ["\r\n"],
            "delimiter": ",",
            "quoteChar": '"',
            "doubleQuote": True,
            "header": True,
            "headerRowCount": 1,
            "skipInitialSpace": False,
            "trim": False,
        },
        "tableSchema": {"columns": [_csvw_column(column) for column in table.fields], "primaryKey": list(table.primary_key)},
    }


def _csvw_column(column: Field) -> Mapping[str, Any]:
    datatype: dict[str, Any] = {"base": CSVW_TYPES[column.type]}
    constraints = column.constraints
    if column.type == "string" and "enum" in constraints:
        datatype["format"] = "|".join(re.escape(code) for code in constraints["enum"])
    elif "pattern" in constraints:
        datatype["format"] = constraints["pattern"]
    elif column.type == "date":
        datatype["format"] = "yyyy-MM-dd"
    elif column.type == "boolean":
        datatype["format"] = "true|false"
    datatype |= {name: constraints[name] for name in ("minimum", "maximum") if name in constraints}
    entry: dict[str, Any] = {"name": column.name, "titles": column.name, "dc:title": column.title, "dc:description": column.description}
    if column.unit:
        entry["schema:unitText"] = column.unit
    return entry | {"datatype": datatype, "required": column.is_required}


def _croissant(tables: Sequence[TableSchema], about: Described) -> Mapping[str, Any]:
    return {
        "@context": CROISSANT_CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "@id": version_id(about.fund_id, about.version),
        "name": f"{about.fund_id}-{about.version}",
        "alternateName": about.title,
        "description": about.description,
        "version": about.version,
        "datePublished": about.drafted_on.isoformat(),
        "license": about.licence_url or about.licence,
        "url": "README.md",
        "creator": {"@type": "sc:Organization", "name": about.publisher},
        "publisher": {"@type": "sc:Organization", "name": about.publisher},
        "inLanguage": "en",
        "isLiveDataset": False,
        "citeAs": cite(about),
        "distribution": [_file_object(path, about) for path in _data_files(about)],
        "recordSet": [_record_set(table) for table in tables],
    }


def _file_object(path: str, about: Described) -> Mapping[str, Any]:
    size, digest = about.files[path]
    return {
        "@type": "cr:FileObject",
        "@id": path,
        "name": path,
        "contentUrl": path,
        "contentSize": f"{size} B",
        "encodingFormat": "application/x-parquet" if path.endswith(".parquet") else "text/csv",
        "sha256": digest,
    }


def _record_set(table: TableSchema) -> Mapping[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": table.name,
        "name": table.name,
        "description": _words(table),
        "key": [{"@id": f"{table.name}/{name}"} for name in table.primary_key],
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{table.name}/{column.name}",
                "name": column.name,
                "description": column.description + (f" Unit: {column.unit}." if column.unit else ""),
                "dataType": CROISSANT_TYPES[column.type],
                "source": {"fileObject": {"@id": f"{table.name}.csv"}, "extract": {"column": column.name}},
            }
            for column in table.fields
        ],
    }


def _dcat(tables: Sequence[TableSchema], about: Described) -> Mapping[str, Any]:
    """Return the version as a dataset of the series of all the fund's versions."""
    series, publisher = f"urn:uuid:{uuid.uuid5(EVENT_NAMESPACE, about.fund_id)}", f"urn:uuid:{uuid.uuid5(EVENT_NAMESPACE, about.publisher)}"
    dataset: dict[str, Any] = {
        "@id": version_id(about.fund_id, about.version),
        "@type": "dcat:Dataset",
        "dct:title": _english(about.title),
        "dct:description": _english(about.description),
        "dct:identifier": f"{about.fund_id}/{about.version}",
        "dcat:version": about.version,
        "dct:issued": _day(about.drafted_on),
        "dct:modified": _day(about.as_of),
        "dct:publisher": {"@id": publisher},
        "dct:language": {"@id": EU_LANGUAGE},
        "dcat:keyword": [_english(word) for word in ("social outcomes", "outcomes contracts", *(table.title.lower() for table in tables))],
        "dcat:inSeries": {"@id": series},
        "dcat:distribution": [_distribution(path, about) for path in _data_files(about)],
    }
    if about.base_version:
        before = {"@id": version_id(about.fund_id, about.base_version)}
        dataset |= {"dcat:prev": before, "dcat:previousVersion": before}
    return {
        "@context": DCAT_CONTEXT,
        "@graph": [
            {
                "@id": series,
                "@type": "dcat:DatasetSeries",
                "dct:title": _english(about.title),
                "dct:description": _english("All versions of this data, each final: a mistake is corrected by a later version."),
                "dct:publisher": {"@id": publisher},
            },
            {"@id": publisher, "@type": ["foaf:Agent", "foaf:Organization"], "foaf:name": about.publisher},
            dataset,
        ],
    }


def _distribution(path: str, about: Described) -> Mapping[str, Any]:
    size, digest = about.files[path]
    ending = path[path.rindex(".") :]
    entry: dict[str, Any] = {
        "@id": f"{version_id(about.fund_id, about.version)}#{path}",
        "@type": "dcat:Distribution",
        "dct:title": _english(path),
        "dcat:accessURL": {"@id": path},
        "dcat:downloadURL": {"@id": path},
        "dcat:mediaType": {"@id": f"{IANA}{MEDIA_TYPES[ending]}"},
        "dct:format": {"@id": f"{EU_FILE_TYPE}{FILE_TYPES[ending]}"},
        "dcat:byteSize": {"@value": str(size), "@type": "xsd:nonNegativeInteger"},
        "spdx:checksum": {
            "@type": "spdx:Checksum",
            "spdx:algorithm": {"@id": "spdx:checksumAlgorithm_sha256"},
            "spdx:checksumValue": {"@value": digest, "@type": "xsd:hexBinary"},
        },
    }
    return entry | ({"dct:license": {"@id": about.licence_url}} if about.licence_url else {"dct:rights": about.licence})


def cite(about: Described) -> str:
    """Return how a version is cited."""
    return f"{about.publisher} ({about.drafted_on.year}). {about.title}. Version {about.version}, figures as of {about.as_of.isoformat()}."


def _citation(about: Described) -> bytes:
    """Return CITATION.cff. A text in JSON is a text in YAML, whatever stands in it."""
    lines = {
        "cff-version": "1.2.0",
        "message": "Please cite this version of the data as below.",
        "type": "dataset",
        "title": about.title,
        "version": about.version,
        "date-released": about.drafted_on.isoformat(),
    }
    text = "".join(f"{name}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in lines.items())
    text += f"authors:\n  - name: {json.dumps(about.publisher, ensure_ascii=False)}\n"
    text += f'identifiers:\n  - type: other\n    value: "{version_id(about.fund_id, about.version)}"\n'
    if about.licence_url:
        text += f'license: "{about.licence}"\nlicense-url: "{about.licence_url}"\n'
    return text.encode()


def _data_files(about: Described) -> Sequence[str]:
    return sorted(path for path in about.files if path.endswith(tuple(MEDIA_TYPES)))


def _words(table: TableSchema) -> str:
    return f"{table.description} {table.grain[:1].upper()}{table.grain[1:]}."


def _english(text: str) -> Mapping[str, str]:
    return {"@value": text, "@language": "en"}


def _day(day: date) -> Mapping[str, str]:
    return {"@value": day.isoformat(), "@type": "xsd:date"}


def _document(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
