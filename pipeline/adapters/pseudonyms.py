"""Keyed pseudonyms: a project's own references become names that nobody can turn back, or link to another project's, without the key.

The key file belongs to an installation. It is made once, is never overwritten, and stays outside the log and the stores: whoever loses it can
no longer recognise people that came in before, and whoever has it can test guesses.
"""

from __future__ import annotations

import hashlib
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
VERSION = b"v1"
_ALPHABET = b"abcdefghijklmnopqrstuvwxyz234567"
_WRITTEN_KEY = re.compile("[0-9a-f]{64}", re.ASCII)


class KeyedPseudonymiser:
    """Fulfils `ports.Pseudonymiser` with keyed BLAKE2b under a key per project: a MAC by itself, and half the time of HMAC-SHA256 on short texts.

    Source: RFC 7693 section 2.9 (keyed hashing); RFC 4648 section 6 (base32, lower case).
    """

    def __init__(self, root: bytes) -> None:
        if len(root) < KEY_SIZE:
            raise ConfigurationError(f"The pseudonym key must have at least {KEY_SIZE} bytes.")
        self._root = root

    def pseudonyms(self, project_id: str, kind: str, references: pa.Array) -> pa.Array:
        """Return one pseudonym per reference (nulls stay null), the same for the same project, kind and reference."""
        import pyarrow as pa

        if isinstance(references, pa.ChunkedArray):
            references = references.combine_chunks()
        texts = references.cast(pa.string())
        key = hashlib.blake2b(project_id.encode(), key=self._root, digest_size=KEY_SIZE, person=b"project").digest()
        # Hashing a reference again costs no more than finding out that it was hashed before.
        names = _base32(_hash_all(key, kind, texts.drop_null().cast(pa.binary()).to_pylist()))
        return names if texts.null_count == 0 else names.take(_places(texts.is_valid()))


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


def _hash_all(key: bytes, kind: str, references: Iterable[bytes]) -> bytes:
    """Return the keyed hashes of references, one after the other; the state after the key is computed once and copied."""
    keyed = hashlib.blake2b(key=key, digest_size=NAME_SIZE, person=kind.encode(), salt=VERSION)
    digests = bytearray()
    for reference in references:
        state = keyed.copy()
        state.update(reference)
        digests += state.digest()
    return bytes(digests)


def _places(is_valid: pa.BooleanArray) -> pa.Array:
    """Return for each place how many valid ones stand before it, null where it is not valid itself."""
    import pyarrow as pa
    import pyarrow.compute as pc

    before = pc.subtract(pc.cumulative_sum(is_valid.cast(pa.int64())), 1)
    return pc.if_else(is_valid, before, pa.scalar(None, pa.int64()))


def _base32(digests: bytes) -> pa.Array:
    """Return the names of digests that stand one after the other: five bytes become eight characters, two at a time and whole columns at once."""
    import numpy as np
    import pyarrow as pa

    count, width = len(digests) // NAME_SIZE, NAME_SIZE * 8 // 5
    padded = np.zeros((count * NAME_SIZE // 5, 8), np.uint8)
    padded[:, 3:] = np.frombuffer(digests, np.uint8).reshape(-1, 5)
    numbers = padded.view(">u8").reshape(-1).astype(np.uint64)
    alphabet = np.frombuffer(_ALPHABET, np.uint8)
    pairs = np.stack([np.repeat(alphabet, 32), np.tile(alphabet, 32)], axis=1).copy().view(np.uint16).reshape(-1)
    characters = np.empty((len(numbers), 4), np.uint16)
    for place in range(4):
        characters[:, place] = pairs[(numbers >> np.uint64(30 - 10 * place)) & np.uint64(1023)]
    offsets = np.arange(count + 1, dtype=np.int32) * np.int32(width)
    return pa.Array.from_buffers(pa.string(), count, [None, pa.py_buffer(offsets), pa.py_buffer(characters)])
