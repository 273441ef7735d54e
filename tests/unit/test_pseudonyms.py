"""Keyed pseudonyms and their key file."""

import base64
import hashlib
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.adapters.pseudonyms import KeyedPseudonymiser, make_key, read_key
from pipeline.errors import ConfigurationError

ROOT = bytes(range(32))


def names(*references: str | None, project: str = "P1", kind: str = "participant", root: bytes = ROOT) -> list[str | None]:
    found: list[str | None] = KeyedPseudonymiser(root).pseudonyms(project, kind, pa.array(references, pa.string())).to_pylist()
    return found


def test_a_pseudonym_is_the_keyed_hash_of_project_kind_and_reference() -> None:
    key = hashlib.blake2b(b"P1", key=ROOT, digest_size=32, person=b"project").digest()
    digest = hashlib.blake2b("Zoë/7".encode(), key=key, digest_size=15, person=b"participant", salt=b"v1").digest()
    assert names("Zoë/7") == [base64.b32encode(digest).decode().lower()]


def test_the_same_reference_has_one_pseudonym_and_nulls_stay_null() -> None:
    first, nothing, second, other = names("A-1", None, "A-1", "A-2")
    assert first == second != other
    assert nothing is None
    assert [len(name) for name in (first, other) if name] == [24, 24]


def test_pseudonyms_differ_between_projects_kinds_and_keys() -> None:
    assert len({*names("A-1"), *names("A-1", project="P2"), *names("A-1", kind="outcome"), *names("A-1", root=bytes(32))}) == 4


def test_chunked_and_empty_columns_are_named_too() -> None:
    pseudonymiser = KeyedPseudonymiser(ROOT)
    chunked = pseudonymiser.pseudonyms("P1", "participant", pa.chunked_array([["A-1"], [None, "A-2"]]))
    assert chunked.to_pylist() == names("A-1", None, "A-2")
    assert pseudonymiser.pseudonyms("P1", "participant", pa.array([], pa.string())).to_pylist() == []
    assert pseudonymiser.pseudonyms("P1", "participant", pa.nulls(2, pa.string())).to_pylist() == [None, None]


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="32 bytes"):
        KeyedPseudonymiser(b"short")


def test_the_key_does_not_show_in_the_representation() -> None:
    assert ROOT.hex() not in repr(KeyedPseudonymiser(ROOT))
    assert str(ROOT) not in repr(KeyedPseudonymiser(ROOT))


def test_a_key_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "pseudonym.key"
    assert make_key(path) is True
    written = path.read_text()
    assert make_key(path) is False
    assert path.read_text() == written
    assert read_key(path) == bytes.fromhex(written.strip())
    assert len(read_key(path)) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [item.name for item in path.parent.iterdir()] == ["pseudonym.key"]


def test_many_who_make_a_key_at_once_leave_one(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "pseudonym.key"
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(make_key, [path] * 16))
    assert made.count(True) == 1
    assert [item.name for item in path.parent.iterdir()] == ["pseudonym.key"]


def test_a_key_that_cannot_be_written_is_a_matter_of_configuration(tmp_path: Path) -> None:
    (tmp_path / "secrets").write_text("a file where the folder should be")
    with pytest.raises(ConfigurationError, match="OUTCOMES_KEY_FILE"):
        make_key(tmp_path / "secrets" / "pseudonym.key")


def test_a_missing_key_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="outcomes init"):
        read_key(tmp_path / "pseudonym.key")


def test_a_key_that_is_a_folder_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_key(tmp_path)


@pytest.mark.parametrize("mode", [0o404, 0o602])
def test_a_key_that_everybody_can_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "pseudonym.key"
    make_key(path)
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match="chmod 400"):
        read_key(path)


@pytest.mark.parametrize("written", ["", "00" * 31, "00" * 33, "zz" * 32, "é" * 64])
def test_what_is_no_key_is_refused_without_repeating_it(tmp_path: Path, written: str) -> None:
    path = tmp_path / "pseudonym.key"
    path.write_text(written, "utf-8")
    path.chmod(0o400)
    with pytest.raises(ConfigurationError, match="64 hexadecimal digits") as caught:
        read_key(path)
    assert not written or written not in str(caught.value)
