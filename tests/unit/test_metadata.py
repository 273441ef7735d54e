"""Every form of metadata says the same as the schemas and the data package: columns, types, keys, hashes, who published what under which licence."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from typing import Any

import pytest
import yaml

from pipeline.application import releases
from pipeline.domain.tables import Field
from pipeline.stages.metadata import _csvw_column, version_id
from pipeline.stages.publication import parse_manifest, render
from tests.factories import DEFINITIONS, FUND, at, publish_next, published_objects
from tests.site_store import ABOUT, HOSTILE_FUND, public_store, tables

TABLES = DEFINITIONS.tables["published"]


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return published_objects(at("published"))


def read(files: dict[str, bytes], path: str) -> Any:
    return json.loads(files[path])


@pytest.mark.parametrize("name", TABLES)
def test_csvw_has_the_columns_of_the_file_with_the_types_and_the_key_of_the_schema(files: dict[str, bytes], name: str) -> None:
    document, schema = read(files, f"{name}.csv-metadata.json"), TABLES[name]
    heading = next(csv.reader(io.StringIO(files[f"{name}.csv"].decode())))
    columns = document["tableSchema"]["columns"]
    assert document["@context"][0] == "http://www.w3.org/ns/csvw"
    assert document["url"] == f"{name}.csv"
    assert [column["titles"] for column in columns] == [column["name"] for column in columns] == heading == list(schema.columns)
    assert document["tableSchema"]["primaryKey"] == list(schema.primary_key)
    assert [column["required"] for column in columns] == [field.is_required for field in schema.fields]
    assert [column["datatype"]["base"] for column in columns] == [field.type.replace("number", "decimal") for field in schema.fields]
    assert document["dialect"]["lineTerminators"] == ["\r\n"]


@pytest.mark.parametrize("name", TABLES)
def test_every_text_of_a_column_with_codes_or_a_pattern_matches_its_csvw_format(files: dict[str, bytes], name: str) -> None:
    formats = {
        column["name"]: column["datatype"]["format"]
        for column in read(files, f"{name}.csv-metadata.json")["tableSchema"]["columns"]
        if column["datatype"]["base"] == "string" and "format" in column["datatype"]
    }
    constrained = [field.name for field in TABLES[name].fields if field.type == "string" and {"enum", "pattern"} & field.constraints.keys()]
    assert sorted(formats) == sorted(constrained)
    for row in csv.DictReader(io.StringIO(files[f"{name}.csv"].decode())):
        for column, pattern in formats.items():
            assert row[column] == "" or re.fullmatch(pattern, row[column]), column


def test_croissant_names_every_data_file_with_its_hash_and_every_column_with_its_source(files: dict[str, bytes]) -> None:
    document, listed = read(files, "croissant.json"), parse_manifest(files["MANIFEST"])
    assert document["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    data = {path: digest for path, digest in listed.items() if path.endswith((".csv", ".parquet"))}
    assert {entry["contentUrl"]: entry["sha256"] for entry in document["distribution"]} == data
    assert {entry["contentUrl"]: entry["contentSize"] for entry in document["distribution"]} == {path: f"{len(files[path])} B" for path in data}
    assert [record["@id"] for record in document["recordSet"]] == [*sorted(TABLES), "changes"]
    for record in document["recordSet"]:
        schema = TABLES.get(record["@id"]) or DEFINITIONS.table("history", record["@id"])
        assert [field["source"]["extract"]["column"] for field in record["field"]] == list(schema.columns)
        assert {field["source"]["fileObject"]["@id"] for field in record["field"]} == {f"{schema.name}.csv"}
        assert [key["@id"] for key in record["key"]] == [f"{schema.name}/{column}" for column in schema.primary_key]


def test_dcat_has_the_version_in_the_series_of_its_fund_with_a_checksum_for_every_file(files: dict[str, bytes]) -> None:
    series, publisher, dataset = read(files, "dcat.jsonld")["@graph"]
    listed = parse_manifest(files["MANIFEST"])
    assert (series["@type"], dataset["@type"], dataset["dcat:inSeries"]["@id"]) == ("dcat:DatasetSeries", "dcat:Dataset", series["@id"])
    assert dataset["dct:publisher"]["@id"] == publisher["@id"]
    assert "dcat:prev" not in dataset
    found = {part["dcat:downloadURL"]["@id"]: part for part in dataset["dcat:distribution"]}
    assert found.keys() == {path for path in listed if path.endswith((".csv", ".parquet"))}
    for path, part in found.items():
        assert part["spdx:checksum"]["spdx:checksumValue"]["@value"] == listed[path]
        assert part["dcat:byteSize"]["@value"] == str(len(files[path]))
        assert part["dct:license"]["@id"].startswith("https://www.nationalarchives.gov.uk/")


def test_all_forms_speak_of_the_same_version_by_the_same_name(files: dict[str, bytes]) -> None:
    name = version_id(FUND, "1.0.0")
    package, citation = read(files, "datapackage.json"), yaml.safe_load(files["CITATION.cff"])
    croissant, dataset = read(files, "croissant.json"), read(files, "dcat.jsonld")["@graph"][2]
    assert package["id"] == croissant["@id"] == dataset["@id"] == citation["identifiers"][0]["value"] == name
    assert package["version"] == croissant["version"] == dataset["dcat:version"] == citation["version"] == "1.0.0"
    assert package["title"] == croissant["alternateName"] == dataset["dct:title"]["@value"] == citation["title"]
    assert package["licenses"][0]["name"] == citation["license"]
    assert croissant["citeAs"] in files["README.md"].decode().replace("\\", "")


def test_a_later_version_names_the_one_before_it_in_the_series() -> None:
    world = at("published")
    releases.withdraw(world.services(), FUND, "1.0.0", "published_in_error")
    version = publish_next(world)
    dataset = read(published_objects(world, version), "dcat.jsonld")["@graph"][2]
    assert dataset["dcat:prev"]["@id"] == dataset["dcat:previousVersion"]["@id"] == version_id(FUND, "1.0.0")


def test_the_citation_is_of_the_citation_file_format(files: dict[str, bytes]) -> None:
    citation = yaml.safe_load(files["CITATION.cff"])
    assert citation.keys() >= {"cff-version", "message", "title", "authors"}
    assert (citation["cff-version"], citation["type"]) == ("1.2.0", "dataset")
    assert citation["authors"] == [{"name": "A department"}]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", citation["date-released"])


def test_a_hostile_name_stays_a_text_in_every_form() -> None:
    store = public_store()
    files = {name.rpartition("/")[2]: content for name, content in store.objects.items() if "/v1.0.1/" in name}
    title = f"{HOSTILE_FUND}: outcomes and payments"
    assert yaml.safe_load(files["CITATION.cff"])["title"] == read(files, "croissant.json")["alternateName"] == title
    assert read(files, "dcat.jsonld")["@graph"][1]["foaf:name"] == ABOUT.publisher


def test_a_licence_that_we_do_not_know_is_named_and_not_linked() -> None:
    made = dict(render(tables("F", users=20), DEFINITIONS, replace(ABOUT, licence="NOASSERTION"), None))
    assert "license" not in yaml.safe_load(made["CITATION.cff"])
    assert read(made, "croissant.json")["license"] == "NOASSERTION"
    assert {part["dct:rights"] for part in read(made, "dcat.jsonld")["@graph"][2]["dcat:distribution"]} == {"NOASSERTION"}
    assert "dc:license" not in read(made, "projects.csv-metadata.json")


def test_limits_of_a_column_stand_in_its_csvw_type() -> None:
    made = _csvw_column(Field(name="n", type="integer", title="N", description="N.", constraints={"minimum": 0, "maximum": 9}))
    assert made["datatype"] == {"base": "integer", "minimum": 0, "maximum": 9}
    assert _csvw_column(Field(name="b", type="boolean", title="B", description="B."))["datatype"]["format"] == "true|false"


def test_a_version_is_cited_by_publisher_year_title_and_number(files: dict[str, bytes]) -> None:
    assert read(files, "croissant.json")["citeAs"] == ("A department (2024). A fund: outcomes and payments. Version 1.0.0, figures as of 2024-06-03.")
