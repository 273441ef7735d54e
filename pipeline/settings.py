"""What an installation can set, read once from a mapping (the environment, in practice) and handed on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline.errors import ConfigurationError

PREFIX = "OUTCOMES_"
_POSITIVE = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One installation. Everything has an embedded default under `home`; URLs move a part elsewhere."""

    home: Path
    log_url: str
    restricted_url: str
    public_url: str
    inbox: Path
    key_file: Path
    signing_key_file: Path
    definitions: Path | None
    actor: str
    fixed_now: datetime | None
    reader_memory_mb: int
    reader_seconds: int
    approvals: int = 1

    @classmethod
    def parse(cls, environment: Mapping[str, str]) -> Settings:
        """Read the settings that start with OUTCOMES_.

        Raises: ConfigurationError naming the setting that cannot be used.
        """
        given = {name.removeprefix(PREFIX): value for name, value in environment.items() if name.startswith(PREFIX) and value}
        if "LOG_URL_FILE" in given:
            given["LOG_URL"] = _secret("LOG_URL_FILE", Path(given["LOG_URL_FILE"]))
        home = Path(given.get("HOME", "workspace")).expanduser().absolute()
        return cls(
            home=home,
            log_url=given.get("LOG_URL", f"sqlite:///{home / 'log.sqlite'}"),
            restricted_url=given.get("RESTRICTED_URL", (home / "restricted").as_uri()),
            public_url=given.get("PUBLIC_URL", (home / "public").as_uri()),
            inbox=Path(given.get("INBOX", home / "inbox")).expanduser().absolute(),
            key_file=Path(given.get("KEY_FILE", home / "secrets" / "pseudonym.key")).expanduser().absolute(),
            signing_key_file=Path(given.get("SIGNING_KEY_FILE", home / "secrets" / "release.key")).expanduser().absolute(),
            definitions=Path(given["DEFINITIONS"]).expanduser().absolute() if "DEFINITIONS" in given else None,
            actor=given.get("ACTOR", ""),
            fixed_now=_instant(given.get("NOW")),
            reader_memory_mb=_positive("READER_MEMORY_MB", given.get("READER_MEMORY_MB", "2048")),
            reader_seconds=_positive("READER_SECONDS", given.get("READER_SECONDS", "120")),
            approvals=_positive("APPROVALS", given.get("APPROVALS", "1")),
        )


def _secret(name: str, path: Path) -> str:
    """Read a setting that holds a password from the file that it lies in, as container platforms hand secrets over."""
    try:
        return path.read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{PREFIX}{name} names {path}, which cannot be read.") from error


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is not None:
            return instant.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ConfigurationError("OUTCOMES_NOW must be an instant like 2025-01-31T09:30:00+00:00.") from error
    raise ConfigurationError("OUTCOMES_NOW must carry a time zone, like 2025-01-31T09:30:00+00:00.")


def _positive(name: str, text: str) -> int:
    if not _POSITIVE.fullmatch(text):
        raise ConfigurationError(f"{PREFIX}{name} must be a whole number above 0.")
    return int(text)
