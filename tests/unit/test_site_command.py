"""`outcomes site build` needs the public store and nothing else: no log, no key, no restricted store."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.adapters.object_store import open_store
from pipeline.cli.app import app
from pipeline.site import build_site
from tests.fakes import MemoryStore
from tests.site_store import FUND, public_store


def fill(url: str, cache: Path, store: MemoryStore) -> None:
    to = open_store(url, cache)
    for name, content in store.objects.items():
        to.put(name, content)


def build(tmp_path: Path, url: str, *arguments: str) -> tuple[int, str, str]:
    environment = {"OUTCOMES_HOME": str(tmp_path / "home"), "OUTCOMES_PUBLIC_URL": url}
    done = CliRunner().invoke(app, ["site", "build", *arguments], env=environment)
    return done.exit_code, done.stdout, done.stderr


def test_the_command_builds_the_site_from_the_public_store_alone(tmp_path: Path) -> None:
    url = (tmp_path / "public").as_uri()
    fill(url, tmp_path / "cache", public_store())
    code, said, _ = build(tmp_path, url, "--output", str(tmp_path / "site"), "--json")
    assert code == 0
    assert json.loads(said)["pages"] == 11
    assert (tmp_path / "site/index.html").is_file()
    assert not (tmp_path / "home/log.sqlite").exists()
    code, said, _ = build(tmp_path, url, "--output", str(tmp_path / "site"), "--fund", FUND)
    assert (code, said.splitlines()[0].endswith("0 written, 0 removed.")) == (0, True)


def test_the_command_says_in_one_line_what_is_wrong_and_returns_its_code(tmp_path: Path) -> None:
    url = (tmp_path / "public").as_uri()
    store = public_store()
    store.replace(f"datasets/{FUND}/v1.0.1/README.md", b"altered")
    fill(url, tmp_path / "cache", store)
    code, _, said = build(tmp_path, url, "--output", str(tmp_path / "site"))
    assert code == 7
    assert f"datasets/{FUND}/v1.0.1/README.md is altered" in said
    code, _, said = build(tmp_path, (tmp_path / "empty").as_uri(), "--output", str(tmp_path / "site"))
    assert (code, "Nothing was published yet" in said) == (4, True)


@pytest.mark.usefixtures("aws_environment")
def test_the_site_from_a_bucket_is_the_one_from_the_folder_byte_for_byte(tmp_path: Path, s3_url: str) -> None:
    fill(s3_url, tmp_path / "cache", public_store())
    code, _, said = build(tmp_path, s3_url, "--output", str(tmp_path / "from-bucket"))
    assert (code, said) == (0, "")
    build_site(public_store(), tmp_path / "from-memory")
    assert (tmp_path / "from-bucket/MANIFEST").read_bytes() == (tmp_path / "from-memory/MANIFEST").read_bytes()
