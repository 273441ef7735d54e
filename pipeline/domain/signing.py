"""The keys that sign releases, as the log knows them: which was in force when.

One stream for the installation, `signing/release`. The log holds public keys only. A key that was replaced keeps its time, so that what it signed
in that time stays verifiable for ever.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pipeline.domain.events import DomainEvent, Recorded, SigningKeyAnnounced, SigningKeyReplaced
from pipeline.errors import ConfigurationError
from pipeline.verifier import KEY_TYPE, NAMESPACE, fingerprint, ssh_string

STREAM = "signing/release"


@dataclass(frozen=True, kw_only=True)
class SigningKey:
    """One key: `ssh-ed25519` and its public half as OpenSSH writes it, and when it was in force. `position` is that of the event that brought it."""

    public_key: str
    fingerprint: str
    position: int
    valid_from: datetime
    valid_until: datetime | None = None


def fold(events: Iterable[Recorded]) -> tuple[SigningKey, ...]:
    """Return all keys that the log knows, the one in force last."""
    keys: tuple[SigningKey, ...] = ()
    for recorded in events:
        event = recorded.event
        if isinstance(event, SigningKeyAnnounced | SigningKeyReplaced):
            retired = tuple(key if key.valid_until else replace(key, valid_until=recorded.recorded_at) for key in keys)
            key = SigningKey(public_key=event.public_key, fingerprint=event.fingerprint, position=recorded.position, valid_from=recorded.recorded_at)
            keys = (*retired, key)
    return keys


def write_public_key(raw: bytes) -> str:
    """Return the 32 bytes of a public key as OpenSSH writes it."""
    return f"{KEY_TYPE.decode()} {base64.b64encode(ssh_string(KEY_TYPE) + ssh_string(raw)).decode()}"


def fingerprint_of(public_key: str) -> str:
    """Return the fingerprint of a public key as OpenSSH writes it."""
    return fingerprint(base64.b64decode(public_key.split(" ")[1])[-32:])


def decide_announce(keys: Sequence[SigningKey], public_key: str) -> Sequence[DomainEvent]:
    """Announce the first key; the key in force again appends nothing.

    Raises: ConfigurationError when another key is in force: a key is replaced on purpose, never by changing a file.
    """
    if not keys:
        return (SigningKeyAnnounced(public_key=public_key, fingerprint=fingerprint_of(public_key)),)
    if keys[-1].public_key != public_key:
        raise ConfigurationError(
            f"The key at hand is {fingerprint_of(public_key)}, but by the log {keys[-1].fingerprint} signs releases. Put that key back; "
            "if it is lost, or its replacement was interrupted, run `outcomes keys rotate`."
        )
    return ()


def decide_replace(keys: Sequence[SigningKey], public_key: str) -> Sequence[DomainEvent]:
    """Put another key in force; the same again appends nothing."""
    if not keys:
        return (SigningKeyAnnounced(public_key=public_key, fingerprint=fingerprint_of(public_key)),)
    if keys[-1].public_key == public_key:
        return ()
    return (SigningKeyReplaced(public_key=public_key, fingerprint=fingerprint_of(public_key), replaces=keys[-1].fingerprint),)


def allowed_signers(keys: Iterable[SigningKey], principal: str) -> bytes:
    """Return the file by which `ssh-keygen -Y verify` knows the keys of a fund. Source: ssh-keygen(1), ALLOWED SIGNERS."""
    return "".join(f"{principal} {_options(key)} {key.public_key}\n" for key in keys).encode("ascii")


def _options(key: SigningKey) -> str:
    until = f',valid-before="{compact(key.valid_until)}"' if key.valid_until else ""
    return f'namespaces="{NAMESPACE}",valid-after="{compact(key.valid_from)}"{until}'


def compact(instant: datetime) -> str:
    """Return an instant as ssh-keygen takes it, to the second, in UTC."""
    return instant.astimezone(UTC).strftime("%Y%m%d%H%M%SZ")
