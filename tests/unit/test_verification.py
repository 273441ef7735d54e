"""A folder is checked against its MANIFEST, and its files against each other; whatever is wrong is named."""

import hashlib
import json
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.domain.tables import Definitions, Field, TableSchema
from pipeline.errors import IntegrityError, NotFoundError
from pipeline.stages.frames import from_rows
from pipeline.stages.publication import ReleaseAbout, render
from pipeline.stages.verification import manifest_bytes, parse_manifest, read_csv, read_parquet, sha256, verify_folder
from pipeline.verifier import content_hash

PROJECTS = TableSchema(
    name="projects",
    title="Projects",
    description="The projects.",
    grain="one row per project",
    version=1,
    primary_key=["project_id"],
    fields=[
        Field(name="project_id", type="string", title="Project", description="Id.", constraints={"required": True}),
        Field(name="cap_gbp", type="number", title="Cap", description="Cap.", unit="GBP", decimals=2),
        Field(name="starts_on", type="date", title="Starts", description="First day."),
    ],
)
DEFINITIONS = Definitions(
    tables={"submission": {}, "register": {}, "facts": {}, "published": {"projects": PROJECTS}},
    codelists={"stage": {"contracted": "Contracted"}},
    rules={},
    disclosure={},
    suites={},
    digests={},
)
ABOUT = ReleaseAbout(
    fund_id="F",
    fund_name="A fund",
    publisher="A department",
    licence="OGL-UK-3.0",
    version="1.0.0",
    base_version=None,
    as_of=date(2024, 6, 30),
    drafted_on=date(2024, 7, 15),
    log_position=1,
    chain_head="a" * 64,
    ledger="b" * 64,
    rules="c" * 64,
    schemas="d" * 64,
    disclosure="e" * 64,
    code="0.1.0",
    threshold=5,
)
ROWS = [
    {"project_id": "P1", "cap_gbp": Decimal("10.00"), "starts_on": date(2020, 1, 1)},
    {"project_id": "P2", "cap_gbp": None, "starts_on": None},
]
FILES = render({"projects": from_rows(PROJECTS, ROWS)}, DEFINITIONS, ABOUT, None)
SEAL = sha256(FILES["MANIFEST"])


def verify(files, expected=None):
    def get(path):
        if path not in files:
            raise NotFoundError(path)
        return files[path]

    return verify_folder(lambda: list(files), get, expected)


def problems(files, expected=None):
    return {problem.path: problem.what for problem in verify(files, expected).problems}


def sealed(files):
    """Return files with a MANIFEST that fits them, as a forger would leave them."""
    rest = {path: content for path, content in files.items() if path != "MANIFEST"}
    return rest | {"MANIFEST": manifest_bytes(rest)}


def described(files, **changes):
    """Return files whose data package and MANIFEST fit them, but for `changes` to the entry of projects.csv."""
    package = json.loads(files["datapackage.json"])
    for resource in package["resources"]:
        content = files[resource["path"]]
        resource.update(hash=f"sha256:{sha256(content)}", bytes=len(content))
        if resource["path"] == "projects.csv":
            resource.update(changes)
    package["openoutcomes"]["content"] = content_hash({"projects.csv": sha256(files["projects.csv"])}, ["projects.csv"])
    return sealed(files | {"datapackage.json": json.dumps(package).encode()})


def test_an_untouched_folder_passes_and_says_how_much_was_read():
    result = verify(FILES, SEAL)
    assert result.ok
    assert result.problems == ()
    assert result.files == len(FILES) - 1
    assert result.size_bytes == sum(len(content) for content in FILES.values())


@pytest.mark.parametrize("path", sorted(FILES))
@pytest.mark.parametrize("place", [0.0, 0.3, 0.7, 1.0])
def test_one_altered_byte_names_its_file(path, place):
    content = bytearray(FILES[path])
    content[int(place * (len(content) - 1))] ^= 1
    assert path in problems(FILES | {path: bytes(content)}, SEAL)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_one_altered_bit_anywhere_names_its_file(data):
    path = data.draw(st.sampled_from(sorted(FILES.keys() - {"MANIFEST"})))
    content = bytearray(FILES[path])
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert set(problems(FILES | {path: bytes(content)})) == {path}


@pytest.mark.parametrize("path", sorted(FILES.keys() - {"MANIFEST"}))
def test_a_missing_a_shortened_and_a_lengthened_file_are_named(path):
    assert problems({name: content for name, content in FILES.items() if name != path})[path].startswith("missing")
    assert problems(FILES | {path: FILES[path][:-1]})[path].startswith("altered")
    assert problems(FILES | {path: FILES[path] + b"\n"})[path].startswith("altered")


def test_a_file_that_the_manifest_does_not_list_is_named():
    assert problems(FILES | {"draft/notes.txt": b"x"}) == {"draft/notes.txt": "extra: it stands in the folder but not in MANIFEST"}


def test_a_folder_on_disk_can_be_checked_too(tmp_path):
    for path, content in FILES.items():
        (tmp_path / path).write_bytes(content)
    (tmp_path / "README.md").unlink()
    result = verify_folder(lambda: [path.name for path in tmp_path.iterdir()], lambda path: (tmp_path / path).read_bytes())
    assert [problem.path for problem in result.problems] == ["README.md"]


def test_without_a_manifest_nothing_is_believed():
    assert problems({path: content for path, content in FILES.items() if path != "MANIFEST"}) == {
        "MANIFEST": "missing: without it nothing can be verified"
    }


def test_a_forged_folder_with_a_new_manifest_is_found_out_by_the_hash_in_the_log():
    forged = sealed(FILES | {"README.md": b"Send money."})
    assert verify(forged).ok
    assert problems(forged, SEAL) == {"MANIFEST": "altered: its hash is not the one that the log holds"}


HASH = hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"\n",
        b"\xff\n",
        f"{HASH}  a".encode(),
        f"{HASH} a\n".encode(),
        f"{HASH} *a\n".encode(),
        f"{HASH.upper()}  a\n".encode(),
        f"{HASH}  b\n{HASH}  a\n".encode(),
        f"{HASH}  a\n{HASH}  a\n".encode(),
        f"{HASH}  ../a\n".encode(),
        f"{HASH}  /a\n".encode(),
        f"{HASH}  a/../b\n".encode(),
        f"{HASH}  MANIFEST\n".encode(),
        f"{HASH}  a\r\n".encode(),
    ],
)
def test_a_manifest_that_is_not_exactly_as_written_is_unreadable(manifest):
    with pytest.raises(IntegrityError, match="MANIFEST"):
        parse_manifest(manifest)
    found = verify(FILES | {"MANIFEST": manifest})
    assert [problem.path for problem in found.problems] == ["MANIFEST"]
    assert found.problems[0].what.startswith("unreadable")
    assert found.files == 0


def test_a_csv_with_another_value_than_its_parquet_is_named_with_the_column():
    files = described(FILES | {"projects.csv": FILES["projects.csv"].replace(b"10.00", b"11.00")})
    assert problems(files) == {"projects.csv": "disagrees: it holds other values than projects.parquet in column cap_gbp"}


def test_a_null_and_a_zero_are_two_values():
    files = described(FILES | {"projects.csv": FILES["projects.csv"].replace(b"P2,,", b"P2,0.00,")})
    assert problems(files) == {"projects.csv": "disagrees: it holds other values than projects.parquet in column cap_gbp"}


def test_a_csv_with_fewer_rows_than_its_parquet_is_named():
    files = described(FILES | {"projects.csv": FILES["projects.csv"].replace(b"P2,,\r\n", b"")}, rows=1)
    assert problems(files) == {"projects.csv": "disagrees: it has other columns or another number of rows than projects.parquet"}


@pytest.mark.parametrize(
    "content", [b"", b"project_id,cap_gbp,starts_on\r\nP1,ten,2020-01-01\r\nP2,,\r\n", b"project_id,cap_gbp,starts_on\r\nP1\r\n"]
)
def test_a_csv_of_another_shape_than_its_parquet_is_named(content):
    assert problems(described(FILES | {"projects.csv": content}, rows=None))["projects.csv"].startswith("unreadable")


def test_a_parquet_that_is_none_is_named():
    assert problems(described(FILES | {"projects.parquet": b"PAR1 but no more"}))["projects.parquet"].startswith("unreadable")


def test_a_table_without_its_twin_is_named():
    files = described(FILES)
    del files["projects.csv"]
    found = problems(sealed(files))
    assert found["projects.parquet"] == "disagrees: there is no CSV file of the same table"
    assert found["datapackage.json"] == "disagrees: it describes a file that MANIFEST does not list"


@pytest.mark.parametrize(
    ("changes", "what"),
    [({"hash": "sha256:" + HASH}, "hash"), ({"bytes": 1}, "size"), ({"rows": 3}, "number of rows")],
)
def test_a_data_package_that_contradicts_a_file_names_it(changes, what):
    found = problems(described(FILES, **changes))
    assert list(found) == ["projects.csv"]
    assert what in found["projects.csv"]


def test_the_rows_of_a_parquet_file_are_counted_when_the_data_package_gives_them():
    package = json.loads(FILES["datapackage.json"])
    parquet = next(resource for resource in package["resources"] if resource["path"] == "projects.parquet")
    for rows, expected in ((2, []), (3, ["projects.parquet"])):
        parquet["rows"] = rows
        assert list(problems(sealed(FILES | {"datapackage.json": json.dumps(package).encode()}))) == expected


def test_a_table_that_the_data_package_does_not_describe_is_named():
    files = sealed(FILES | {"more.csv": b"a\r\n"})
    assert problems(files) == {"more.csv": "disagrees: datapackage.json does not describe it"}


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"resources": [{}]}', b'{"resources": [{"path": "a", "hash": 1, "bytes": 1}]}', b"\xff\xfe\xfd"])
def test_a_data_package_of_another_shape_is_named(content):
    assert problems(sealed(FILES | {"datapackage.json": content}))["datapackage.json"].startswith("unreadable")


def test_a_folder_without_a_data_package_is_named():
    assert problems(sealed({path: content for path, content in FILES.items() if path != "datapackage.json"})) == {
        "datapackage.json": "missing: MANIFEST does not list it"
    }


def test_tables_with_another_hash_of_content_than_the_data_package_gives_are_named():
    files = described(FILES)
    package = json.loads(files["datapackage.json"])
    package["openoutcomes"]["content"] = f"sha256:{HASH}"
    assert problems(sealed(files | {"datapackage.json": json.dumps(package).encode()})) == {
        "datapackage.json": "disagrees: the tables do not have the hash of content that it gives"
    }


def test_a_csv_read_by_a_schema_keeps_null_and_text_apart():
    schema = read_parquet(FILES["projects.parquet"]).schema
    assert read_csv(FILES["projects.csv"], schema).to_pylist() == ROWS
