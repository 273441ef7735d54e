"""Keyed pseudonyms: a project's own references become names that nobody can turn back, or link to another project's, without the key.

The key file belongs to an installation. It is made once, is never overwritten, and stays outside the log and the stores: whoever loses it can
no longer recognise people that came in before, and whoever has it can test guesses.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa

KEY_SIZE = 32
"""Bytes of an installation's key."""
NAME_SIZE = 15
"""Bytes of a hash that a pseudonym keeps: 120 bits, 24 characters of base32 without padding."""
VERSION = "v1"
_ALPHABET = b"abcdefghijklmnopqrstuvwxyz234567"
_BLOCK_SIZE = 64
_WRITTEN_KEY = re.compile("[0-9a-f]{64}", re.ASCII)


class KeyedPseudonymiser:
    """Fulfils `ports.Pseudonymiser` with HMAC-SHA256 under a key per project. Source: RFC 2104; RFC 4648 section 6 (base32, lower case)."""

    def __init__(self, root: bytes) -> None:
        if len(root) < KEY_SIZE:
            raise ConfigurationError(f"The pseudonym key must have at least {KEY_SIZE} bytes.")
        self._root = root

    def pseudonyms(self, project_id: str, kind: str, references: pa.Array) -> pa.Array:
        """Return one pseudonym per reference (nulls stay null), the same for the same project, kind and reference."""
        import pyarrow as pa

        if isinstance(references, pa.ChunkedArray):
            references = references.combine_chunks()
        encoded = references.cast(pa.string()).dictionary_encode()
        key = hmac.digest(self._root, project_id.encode(), "sha256")
        digests = _hash_all(key, f"{kind}|{VERSION}|".encode(), encoded.dictionary.cast(pa.binary()).to_pylist())
        return _base32(digests).take(encoded.indices)


def make_key(path: Path) -> bool:
    """Write a new random key that only its owner can read; a key that is there is left as it is.

    Returns: whether it was made now.
    Raises: ConfigurationError when it cannot be written there.
    """
    if path.exists():
        return False
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_durably(draft, secrets.token_hex(KEY_SIZE) + "\n")
        is_made = _link(draft, path)
        draft.unlink()
        _sync_folder(path.parent)
    except OSError as error:
        raise ConfigurationError(f"The pseudonym key cannot be written to {path}: {error.strerror}. Set OUTCOMES_KEY_FILE.") from error
    return is_made


def read_key(path: Path) -> bytes:
    """Return the key of an installation.

    Raises: ConfigurationError when it is missing, can be read by everybody, or is not 64 hexadecimal digits.
    """
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            mode = os.fstat(file.fileno()).st_mode
            written = file.read(4096).strip()
    except FileNotFoundError:
        raise ConfigurationError(f"There is no pseudonym key at {path}. `outcomes init` makes one; restore the old one if there was one.") from None
    except OSError as error:
        raise ConfigurationError(f"The pseudonym key at {path} cannot be read: {error.strerror}.") from error
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise ConfigurationError(f"Everybody on this machine can read or change the pseudonym key at {path}. Run: chmod 400 {path}")
    if not _WRITTEN_KEY.fullmatch(written):
        raise ConfigurationError(f"The pseudonym key at {path} is not 64 hexadecimal digits. Restore it from a copy.")
    return bytes.fromhex(written)


def _link(draft: Path, path: Path) -> bool:
    """Give a file its name, unless another has it: a link is made whole or not at all, so two at once leave one key."""
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    return True


def _write_durably(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    try:
        os.write(descriptor, text.encode("ascii"))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _hash_all(key: bytes, prefix: bytes, references: Iterable[bytes]) -> bytes:
    """Return the first NAME_SIZE bytes of HMAC-SHA256 of each prefixed reference, one after the other.

    The two padded-key states of HMAC are computed once and copied: twice as fast as `hmac.digest` for each.
    """
    padded = key.ljust(_BLOCK_SIZE, b"\0")
    inner = hashlib.sha256(bytes(octet ^ 0x36 for octet in padded) + prefix)
    outer = hashlib.sha256(bytes(octet ^ 0x5C for octet in padded))
    digests = bytearray()
    for reference in references:
        first = inner.copy()
        first.update(reference)
        second = outer.copy()
        second.update(first.digest())
        digests += second.digest()[:NAME_SIZE]
    return bytes(digests)


def _base32(digests: bytes) -> pa.Array:
    """Return the names of digests that stand one after the other: five bytes become eight characters, whole columns at a time."""
    import numpy as np
    import pyarrow as pa

    count, width = len(digests) // NAME_SIZE, NAME_SIZE * 8 // 5
    groups = np.frombuffer(digests, np.uint8).reshape(-1, 5)
    numbers = np.zeros(len(groups), np.uint64)
    for place in range(5):
        numbers = (numbers << np.uint64(8)) | groups[:, place]
    characters = np.empty((len(groups), 8), np.uint8)
    alphabet = np.frombuffer(_ALPHABET, np.uint8)
    for place in range(8):
        characters[:, place] = alphabet[(numbers >> np.uint64(35 - 5 * place)) & np.uint64(31)]
    fixed = pa.Array.from_buffers(pa.binary(width), count, [None, pa.py_buffer(characters.tobytes())])
    return fixed.cast(pa.binary()).cast(pa.string())
