"""Protected tables become files: the same bytes every time, only what is declared, nothing that harms a reader."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.domain.tables import Definitions, Field, TableSchema
from pipeline.errors import RuleError
from pipeline.stages import comparison
from pipeline.stages.frames import from_rows
from pipeline.stages.publication import ReleaseAbout, csv_bytes, manifest_bytes, parquet_bytes, parse_manifest, render
from pipeline.stages.verification import read_csv, read_parquet

REQUIRED = {"required": True}
RESULTS = TableSchema(
    name="results",
    title="Results",
    description="What was achieved.",
    grain="one row per project and quarter",
    version=1,
    primary_key=["project_id", "quarter"],
    fields=[
        Field(name="project_id", type="string", title="Project", description="Id of the project.", constraints=REQUIRED),
        Field(name="quarter", type="string", title="Quarter", description="Quarter.", constraints=REQUIRED | {"pattern": "[0-9]{4}-Q[1-4]"}),
        Field(name="achieved_count", type="integer", title="Achieved", description="People.", unit="people"),
        Field(name="achieved_count_status", type="string", title="Status", description="Status.", constraints=REQUIRED),
        Field(name="paid_gbp", type="number", title="Paid", description="Sum.", unit="GBP", decimals=2),
        Field(name="is_late", type="boolean", title="Late", description="Whether it was late."),
        Field(name="comment", type="string", title="Comment", description="A comment."),
        Field(name="as_of", type="date", title="As of", description="Day.", constraints=REQUIRED),
    ],
)
DEFINITIONS = Definitions(
    tables={"submission": {}, "register": {}, "facts": {}, "published": {"results": RESULTS}},
    codelists={
        "cell_status": {"published": "The figure is published", "c": "Hidden to protect people"},
        "age_band": {"under_11": "Under 11", "11_to_15": "11 to 15"},
    },
    rules={},
    disclosure={},
    suites={},
    digests={},
)
ABOUT = ReleaseAbout(
    fund_id="Fund-1",
    fund_name="A fund",
    publisher="A department",
    licence="OGL-UK-3.0",
    version="1.0.0",
    base_version=None,
    as_of=date(2024, 6, 30),
    drafted_on=date(2024, 7, 15),
    log_position=42,
    chain_head="a" * 64,
    ledger="b" * 64,
    rules="c" * 64,
    schemas="d" * 64,
    disclosure="e" * 64,
    code="0.1.0",
    threshold=5,
)


def row(project_id="P1", quarter="2024-Q1", achieved_count=12, status="published", **others):
    cells = {"project_id": project_id, "quarter": quarter, "achieved_count": achieved_count, "achieved_count_status": status}
    return cells | {"paid_gbp": Decimal("1200.5"), "is_late": False, "comment": None, "as_of": date(2024, 6, 30)} | others


def results(*rows):
    return from_rows(RESULTS, rows)


def rendered(*rows, about=ABOUT):
    return render({"results": results(*(rows or (row(),)))}, DEFINITIONS, about, None)


def descriptor(files):
    return json.loads(files["datapackage.json"])


def test_a_version_has_its_tables_twice_its_papers_and_a_manifest_last():
    files = rendered()
    metadata = ["CITATION.cff", "croissant.json", "dcat.jsonld", "results.csv-metadata.json"]
    papers = ["CHANGELOG.md", "README.md", "codelists.csv", "datapackage.json", *metadata]
    assert list(files) == [*sorted([*papers, "results.csv", "results.parquet"]), "MANIFEST"]


def test_a_csv_file_is_rfc_4180_with_fixed_scale_iso_dates_and_nothing_for_null():
    files = rendered(
        row("P2", comment='said "no", then left'),
        row("P1", achieved_count=None, status="c", paid_gbp=None, is_late=None),
        row("P1", "2023-Q4", achieved_count=0, paid_gbp=Decimal("-0.10"), is_late=True, comment="two\r\nlines, é"),
    )
    assert files["results.csv"].decode() == (
        "project_id,quarter,achieved_count,achieved_count_status,paid_gbp,is_late,comment,as_of\r\n"
        'P1,2023-Q4,0,published,-0.10,true,"two\r\nlines, é",2024-06-30\r\n'
        "P1,2024-Q1,,c,,,,2024-06-30\r\n"
        'P2,2024-Q1,12,published,1200.50,false,"said ""no"", then left",2024-06-30\r\n'
    )


def test_a_small_decimal_is_never_written_with_an_exponent():
    column = pa.array([Decimal("0.0000"), Decimal("0.0001")], pa.decimal128(18, 4))
    assert csv_bytes(pa.table({"share": column, "n": [1, 2]})) == b"share,n\r\n0.0000,1\r\n0.0001,2\r\n"


def test_csv_and_parquet_read_back_as_the_same_table():
    rows = (row(), row("P2", achieved_count=None, status="c", comment="a, b"), row("P3", paid_gbp=Decimal("0.01")))
    files = rendered(*rows)
    from_parquet = read_parquet(files["results.parquet"])
    assert from_parquet.replace_schema_metadata(None).equals(results(*rows))
    assert read_csv(files["results.csv"], from_parquet.schema).to_pylist() == from_parquet.to_pylist()


def test_a_table_without_rows_is_published_with_its_headings():
    files = render({"results": RESULTS_EMPTY}, DEFINITIONS, ABOUT, None)
    assert files["results.csv"].startswith(b"project_id,quarter,")
    assert files["results.csv"].count(b"\r\n") == 1
    assert read_parquet(files["results.parquet"]).num_rows == 0


RESULTS_EMPTY = from_rows(RESULTS, [])


def test_rows_in_another_order_give_the_same_bytes():
    rows = [row("P2"), row("P1"), row("P1", "2023-Q4")]
    assert rendered(*rows) == rendered(*reversed(rows))


@pytest.mark.parametrize("seed", ["0", "1", "4242"])
def test_another_process_hash_seed_time_zone_and_locale_give_the_same_bytes(seed):
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONHASHSEED": seed, "TZ": f"Etc/GMT+{len(seed)}", "LC_ALL": "C", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    run = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == digest_of_a_sample()


def digest_of_a_sample():
    rows = [row(f"P{number:04}", achieved_count=number, paid_gbp=Decimal(number) / 100, comment=f"text {number}") for number in range(3000)]
    return hashlib.sha256(rendered(*rows)["MANIFEST"]).hexdigest()


def test_a_column_that_no_schema_declares_reaches_no_file():
    table = results(row()).append_column("achieved_count__people", pa.array([731_731]))
    assert render({"results": table}, DEFINITIONS, ABOUT, None) == rendered()


def test_a_label_whose_rows_were_dropped_reaches_no_file():
    rows = results(row("P1", comment="stays"), row("P2", comment="canary"))
    encoded = rows.set_column(6, "comment", rows["comment"].dictionary_encode().combine_chunks()).slice(0, 1)
    assert "canary" in encoded["comment"].chunk(0).dictionary.to_pylist()
    assert render({"results": encoded}, DEFINITIONS, ABOUT, None) == rendered(row("P1", comment="stays"))


def test_parquet_has_page_checksums_and_neither_dictionaries_nor_statistics_nor_a_pandas_schema():
    content = parquet_bytes(RESULTS, results(row()))
    file = pq.ParquetFile(pa.BufferReader(content))
    columns = [file.metadata.row_group(0).column(number) for number in range(file.metadata.num_columns)]
    assert not any(column.has_dictionary_page or column.is_stats_set for column in columns)
    assert {column.compression for column in columns} == {"ZSTD"}
    assert set(file.metadata.metadata) == {b"title", b"description", b"grain", b"primary_key", b"columns"}
    page_start = columns[0].data_page_offset
    spoilt = bytearray(content)
    spoilt[page_start + columns[0].total_compressed_size - 1] ^= 1
    with pytest.raises(OSError, match=r"(?i)checksum|crc"):
        pq.ParquetFile(pa.BufferReader(bytes(spoilt)), page_checksum_verification=True).read()


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx"])
def test_a_text_that_a_spreadsheet_would_run_is_refused_by_its_place_and_not_by_its_value(text):
    with pytest.raises(RuleError) as caught:
        rendered(row("P1"), row("P2", comment=text))
    assert "results" in str(caught.value)
    assert "comment" in str(caught.value)
    assert "row 2" in str(caught.value)
    assert text not in str(caught.value)


def test_a_negative_figure_is_no_formula():
    assert b",-5.00," in rendered(row(paid_gbp=Decimal(-5)))["results.csv"]


def test_an_empty_text_is_refused_because_csv_cannot_tell_it_from_null():
    with pytest.raises(RuleError, match="comment in row 1"):
        rendered(row(comment=""))


@pytest.mark.parametrize("status", ["c", "x", "z"])
def test_a_figure_whose_status_says_that_there_is_none_never_goes_out(status):
    with pytest.raises(RuleError, match="achieved_count in row 1"):
        rendered(row(achieved_count=731, status=status))


def test_a_status_that_promises_a_figure_which_is_not_there_is_refused():
    with pytest.raises(RuleError, match="achieved_count in row 1"):
        rendered(row(achieved_count=None, status="published"))


def test_a_missing_or_unknown_table_is_refused():
    with pytest.raises(RuleError, match="each of them and no other"):
        render({}, DEFINITIONS, ABOUT, None)
    with pytest.raises(RuleError, match="each of them and no other"):
        render({"results": results(row()), "secrets": results(row())}, DEFINITIONS, ABOUT, None)


def test_a_later_version_needs_its_differences():
    with pytest.raises(RuleError, match=r"1\.0\.1 follows 1\.0\.0"):
        rendered(about=replace(ABOUT, version="1.0.1", base_version="1.0.0"))


def test_a_first_version_says_so_and_a_later_one_says_what_changed():
    before, after = {"results": results(row())}, {"results": results(row(achieved_count=15))}
    changes = comparison.compare(before, after, DEFINITIONS.tables["published"])
    later = render(after, DEFINITIONS, replace(ABOUT, version="1.0.1", base_version="1.0.0"), changes)
    assert b"This is the first version." in rendered()["CHANGELOG.md"]
    assert b"from 12 to 15" in later["CHANGELOG.md"]


def test_the_data_package_names_hash_size_rows_and_schema_of_every_table():
    files = rendered(row(), row("P2"))
    package = descriptor(files)
    as_csv, as_parquet, codelists = package["resources"]
    for resource in package["resources"]:
        content = files[resource["path"]]
        assert resource["hash"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
        assert resource["bytes"] == len(content)
    assert as_csv["rows"] == 2
    assert as_csv["schema"]["primaryKey"] == ["project_id", "quarter"]
    assert as_csv["schema"]["missingValues"] == [""]
    assert [field["name"] for field in as_csv["schema"]["fields"]] == list(RESULTS.columns)
    assert as_csv["schema"]["fields"][4] == {
        "name": "paid_gbp",
        "type": "number",
        "title": "Paid",
        "description": "Sum.",
        "unit": "GBP",
        "decimals": 2,
    }
    assert (as_parquet["format"], "schema" in as_parquet, "type" in as_parquet) == ("Parquet", False, False)
    assert codelists["rows"] == 4


def test_the_data_package_says_what_the_release_is_a_function_of():
    package = descriptor(rendered())
    assert package["$schema"] == "https://datapackage.org/profiles/2.0/datapackage.json"
    assert (package["name"], package["version"], package["created"]) == ("fund-1", "1.0.0", "2024-07-15T00:00:00Z")
    assert package["licenses"][0]["name"] == "OGL-UK-3.0"
    assert package["licenses"][0]["path"].startswith("https://www.nationalarchives.gov.uk/")
    provenance = package["openoutcomes"]
    assert (provenance["log_position"], provenance["chain_head"], provenance["threshold"]) == (42, "a" * 64, 5)
    assert provenance["code"] == "0.1.0"


def test_a_licence_that_is_not_known_is_named_without_an_address():
    assert descriptor(rendered(about=replace(ABOUT, licence="Etalab-2.0")))["licenses"] == [{"name": "Etalab-2.0"}]
    assert rendered(about=replace(ABOUT, licence="Etalab-2.0"))["README.md"].endswith(b"## Licence\n\nEtalab-2.0\n")


def test_the_content_hash_changes_with_the_figures_and_not_with_the_papers():
    first, renamed, changed = rendered(), rendered(about=replace(ABOUT, publisher="Another")), rendered(row(achieved_count=13))
    contents = [descriptor(files)["openoutcomes"]["content"] for files in (first, renamed, changed)]
    assert contents[0] == contents[1] != contents[2]


def test_code_lists_are_published_by_name_and_in_their_own_order():
    assert rendered()["codelists.csv"].decode().split("\r\n")[:3] == ["list,code,label", "age_band,under_11,Under 11", "age_band,11_to_15,11 to 15"]


def test_the_readme_tells_how_to_check_open_read_and_cite():
    text = rendered()["README.md"].decode()
    for words in ("sha256sum -c MANIFEST", "SELECT * FROM 'results.parquet'", "read_parquet", "spreadsheet", "| `c` | Hidden to protect people |"):
        assert words in text
    assert "fewer than 5 people" in text
    assert "A department (2024). A fund: outcomes and payments. Version 1.0.0, figures as of 2024-06-30." in text


def test_a_name_cannot_act_as_markdown():
    assert b"\\[x\\](http://a.example)" in rendered(about=replace(ABOUT, fund_name="[x](http://a.example)"))["README.md"]


def test_the_manifest_lists_every_other_file_in_the_order_of_paths_as_sha256sum_does():
    files = rendered()
    lines = files["MANIFEST"].decode().splitlines()
    assert lines == [f"{hashlib.sha256(files[path]).hexdigest()}  {path}" for path in sorted(files.keys() - {"MANIFEST"})]
    assert parse_manifest(files["MANIFEST"]) == {line[66:]: line[:64] for line in lines}


def test_a_path_that_a_shell_could_misread_gets_no_manifest():
    with pytest.raises(RuleError, match="path"):
        manifest_bytes({"../a": b""})


if __name__ == "__main__":
    print(digest_of_a_sample())
