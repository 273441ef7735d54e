"""Settings: what an installation can set, and what it is told when a setting cannot be used."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.errors import ConfigurationError
from pipeline.settings import Settings


def test_everything_has_a_place_under_home(tmp_path: Path) -> None:
    settings = Settings.parse({"OUTCOMES_HOME": str(tmp_path / "my work")})
    assert settings == Settings(
        home=tmp_path / "my work",
        log_url=f"sqlite:///{tmp_path}/my work/log.sqlite",
        restricted_url=f"file://{tmp_path}/my%20work/restricted",
        public_url=f"file://{tmp_path}/my%20work/public",
        inbox=tmp_path / "my work" / "inbox",
        key_file=tmp_path / "my work" / "secrets" / "pseudonym.key",
        signing_key_file=tmp_path / "my work" / "secrets" / "release.key",
        definitions=None,
        actor="",
        fixed_now=None,
        reader_memory_mb=2048,
        reader_seconds=120,
    )


def test_home_is_a_folder_of_where_one_stands_when_nothing_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings.parse({"HOME": "/elsewhere", "OUTCOMES_HOME": ""}).home == tmp_path / "workspace"


def test_each_part_can_be_moved_elsewhere(tmp_path: Path) -> None:
    settings = Settings.parse(
        {
            "OUTCOMES_LOG_URL": "postgresql://somewhere/log",
            "OUTCOMES_RESTRICTED_URL": "s3://closed/a",
            "OUTCOMES_PUBLIC_URL": "s3://open/a",
            "OUTCOMES_INBOX": str(tmp_path / "drop"),
            "OUTCOMES_KEY_FILE": str(tmp_path / "key"),
            "OUTCOMES_SIGNING_KEY_FILE": str(tmp_path / "release"),
            "OUTCOMES_DEFINITIONS": str(tmp_path / "rules"),
            "OUTCOMES_ACTOR": "ann",
            "OUTCOMES_READER_MEMORY_MB": "512",
            "OUTCOMES_READER_SECONDS": "7",
        }
    )
    assert (settings.log_url, settings.restricted_url, settings.public_url) == ("postgresql://somewhere/log", "s3://closed/a", "s3://open/a")
    assert (settings.inbox, settings.key_file, settings.definitions) == (tmp_path / "drop", tmp_path / "key", tmp_path / "rules")
    assert settings.signing_key_file == tmp_path / "release"
    assert (settings.actor, settings.reader_memory_mb, settings.reader_seconds) == ("ann", 512, 7)


def test_the_log_url_can_lie_in_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("postgresql://user:password@host/log\n")
    assert (
        Settings.parse({"OUTCOMES_LOG_URL_FILE": str(secret), "OUTCOMES_LOG_URL": "sqlite:////other"}).log_url
        == "postgresql://user:password@host/log"
    )


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_of_the_log_url_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "url").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"OUTCOMES_LOG_URL_FILE names .*url, which cannot be read"):
        Settings.parse({"OUTCOMES_LOG_URL_FILE": str(tmp_path / "url")})


@pytest.mark.parametrize("text", ["2025-01-31T09:30:00+00:00", "2025-01-31T09:30Z", "2025-01-31T14:30:00+05:00"])
def test_the_instant_of_the_clock_is_taken_in_utc(text: str) -> None:
    now = Settings.parse({"OUTCOMES_NOW": text}).fixed_now
    assert now == datetime(2025, 1, 31, 9, 30, tzinfo=UTC)
    assert now.tzinfo is UTC


def test_the_day_of_the_clock_is_the_day_in_utc() -> None:
    now = Settings.parse({"OUTCOMES_NOW": "2025-01-31T00:30:00+05:00"}).fixed_now
    assert now is not None
    assert now.date().isoformat() == "2025-01-30"


@pytest.mark.parametrize("text", ["yesterday", "2025-02-30T00:00:00+00:00", "0001-01-01T00:00:00+12:00"])
def test_an_instant_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="OUTCOMES_NOW must be an instant like"):
        Settings.parse({"OUTCOMES_NOW": text})


@pytest.mark.parametrize("text", ["2025-01-31", "2025-01-31T09:30:00"])
def test_an_instant_without_a_time_zone_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="must carry a time zone"):
        Settings.parse({"OUTCOMES_NOW": text})


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", "\u00b2", "\u0663", "9" * 5000])
@pytest.mark.parametrize("name", ["OUTCOMES_READER_MEMORY_MB", "OUTCOMES_READER_SECONDS"])
def test_a_limit_that_is_no_whole_number_above_zero_is_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} must be a whole number above 0"):
        Settings.parse({name: text})
