"""The key that signs releases: Ed25519 in a file of OpenSSH's own form, so that `ssh-keygen` can use it as well.

It is made once, is never overwritten but by a rotation, and stays outside the log and the stores. A rotation keeps the new key beside the old one
(`.next`) until the log knows it, so that it can die anywhere and be run again.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.domain.signing import write_public_key
from pipeline.errors import ConfigurationError
from pipeline.verifier import NAMESPACE, armour, to_be_signed

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class Ed25519Signer:
    """Fulfils `ports.Signer` with keys in memory: the base of the one in a file, and enough for a test."""

    def __init__(self, key: Ed25519PrivateKey | None = None) -> None:
        self._key = key
        self._next: Ed25519PrivateKey | None = None

    def public_key(self) -> str:
        """Return the public half of the key as OpenSSH writes it."""
        return write_public_key(_raw(self._private()))

    def sign(self, content: bytes) -> bytes:
        """Return the signature of bytes in the form of `ssh-keygen -Y sign`."""
        key = self._private()
        return armour(_raw(key), NAMESPACE, key.sign(to_be_signed(NAMESPACE, content)))

    def prepare_next(self) -> str:
        """Make the key that is to come, unless it waits already; return its public half."""
        self._next = self._next or _new_key()
        return write_public_key(_raw(self._next))

    def adopt_next(self) -> None:
        """Put the key that waits in the place of the present one."""
        self._key, self._next = self._next or self._key, None

    def _private(self) -> Ed25519PrivateKey:
        if self._key is None:
            raise ConfigurationError("There is no key to sign releases with. `outcomes init` makes one.")
        return self._key


class FileSigner(Ed25519Signer):
    """A key in a file, read when it is first needed: who never publishes needs none."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._waiting = path.with_name(f"{path.name}.next")

    def prepare_next(self) -> str:
        """Make the key that is to come, unless it waits already; return its public half."""
        make_signing_key(self._waiting)
        return write_public_key(_raw(_read(self._waiting)))

    def adopt_next(self) -> None:
        """Put the key that waits in the place of the present one, which is destroyed; nothing when none waits."""
        try:
            self._waiting.replace(self._path)
            _sync_folder(self._path.parent)
        except FileNotFoundError:
            return
        except OSError as error:
            raise ConfigurationError(f"{self._waiting} cannot take the place of {self._path}: {error.strerror}.") from error
        self._key = None

    def _private(self) -> Ed25519PrivateKey:
        self._key = self._key or _read(self._path)
        return self._key


def make_signing_key(path: Path) -> bool:
    """Write a new key that only its owner can read; a key that is there is left as it is.

    Returns: whether it was made now.
    Raises: ConfigurationError when it cannot be written there.
    """
    if path.exists():
        return False
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_durably(draft, _to_text(_new_key()))
        try:
            os.link(draft, path)  # whole or not at all, so that two at once leave one key
        except FileExistsError:
            return False
        finally:
            draft.unlink()
        _sync_folder(path.parent)
    except OSError as error:
        raise ConfigurationError(
            f"The key that signs releases cannot be written to {path}: {error.strerror}. Set OUTCOMES_SIGNING_KEY_FILE."
        ) from error
    return True


def _read(path: Path) -> Ed25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key

    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(65536)
    except FileNotFoundError:
        raise ConfigurationError(f"There is no key to sign releases with at {path}. `outcomes init` makes the first; put a lost one back.") from None
    except OSError as error:
        raise ConfigurationError(f"The key that signs releases at {path} cannot be read: {error.strerror}.") from error
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise ConfigurationError(f"Everybody on this machine can read or change the key that signs releases at {path}. Run: chmod 600 {path}")
    try:
        key = load_ssh_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(f"{path} holds no Ed25519 key of OpenSSH's form without a passphrase. Put the key back from a copy.")
    return key


def _new_key() -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.generate()


def _raw(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


def _to_text(key: Ed25519PrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def _write_durably(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
