"""`outcomes keys` and `outcomes verify FOLDER`: what people at a terminal see of signatures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli.app import app
from tests.factories import FUND, World, at

VERSION = "v1.0.0"


def run(home: Path, *arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [*map(str, arguments)], env={"OUTCOMES_HOME": str(home)})
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def downloaded(tmp_path: Path) -> Path:
    """Give the folder of a fund as somebody downloads it."""
    world: World = at("published")
    for name, content in world.public.objects.items():
        path = tmp_path / "downloaded" / name.removeprefix(f"datasets/{FUND}/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "downloaded"


def test_a_key_is_made_by_init_and_listed_when_the_log_knows_it(tmp_path: Path) -> None:
    code, said, _ = run(tmp_path, "init", "--json")
    assert (code, json.loads(said)["key"]) == (0, True)
    assert (tmp_path / "secrets" / "release.key").stat().st_mode & 0o777 == 0o600
    assert run(tmp_path, "keys", "list")[1] == "No key has signed anything yet.\n"
    code, said, _ = run(tmp_path, "keys", "rotate", "--as", "operator")
    assert (code, said.endswith("signs from now on.\n")) == (0, True)
    first = json.loads(run(tmp_path, "keys", "list", "--json")[1])
    code, said, _ = run(tmp_path, "keys", "rotate")
    assert (code, f"in place of {first[0]['fingerprint']}" in said) == (0, True)
    listed = json.loads(run(tmp_path, "keys", "list", "--json")[1])
    assert [key["valid_until"] is None for key in listed] == [False, True]
    assert "in force" in run(tmp_path, "keys", "list")[1]
    assert (tmp_path / "secrets" / "release.key.next").exists() is False
    assert "PRIVATE" not in run(tmp_path, "events", "list", "--json")[1]


def test_an_installation_from_before_there_were_keys_gets_one_by_init(tmp_path: Path) -> None:
    run(tmp_path, "init")
    (tmp_path / "secrets" / "release.key").unlink()
    code, said, _ = run(tmp_path, "init", "--json")
    assert (code, json.loads(said)) == (0, {"log": False, "key": True, "folders": False})
    assert json.loads(run(tmp_path, "init", "--json")[1])["key"] is False


def test_a_downloaded_version_is_verified_with_the_signers_beside_it(downloaded: Path, tmp_path: Path) -> None:
    code, said, _ = run(tmp_path, "verify", downloaded / VERSION)
    assert (code, said) == (0, "All files are those of the manifest; signed by a key of the publisher.\n")


def test_signers_from_elsewhere_are_asked_when_they_are_named(downloaded: Path, tmp_path: Path) -> None:
    trusted = tmp_path / "trusted"
    trusted.write_text(f'{FUND} namespaces="openoutcomes-release" ssh-ed25519 {"A" * 68}\n')
    code, said, _ = run(tmp_path, "verify", downloaded / VERSION, "--signers", trusted)
    assert (code, "by a stranger" in said) == (7, True)
    code, _, said = run(tmp_path, "verify", downloaded / VERSION, "--signers", tmp_path / "none")
    assert (code, "is no file" in said) == (2, True)


def test_without_signers_it_is_said_that_nobody_asked_whose_signature_it_is(downloaded: Path, tmp_path: Path) -> None:
    (downloaded / "allowed_signers").unlink()
    code, said, _ = run(tmp_path, "verify", downloaded / VERSION)
    assert (code, "who signed them was not asked" in said) == (0, True)
    (downloaded / VERSION / "MANIFEST.sig").write_bytes(b"")
    code, said, _ = run(tmp_path, "verify", downloaded / VERSION)
    assert (code, said.splitlines()[0]) == (7, "MANIFEST.sig: unreadable: it is no signature of OpenSSH's form")
