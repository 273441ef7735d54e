"""Cuts the reading process off: no network, no program of its own, nothing gained by what it runs. For good, and before anything else is imported.

Where the kernel allows it, the process gets a network of its own in which there is nothing. Everywhere an audit hook makes Python itself refuse; that
alone would not stop machine code.
"""

from __future__ import annotations

import ctypes
import sys
from typing import NoReturn

CLONE_NEWUSER, CLONE_NEWNET = 0x1000_0000, 0x4000_0000
NO_NEW_PRIVILEGES = 38
FORBIDDEN = (
    "socket.",
    "subprocess.",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "os.system",
    "pty.",
    "urllib.",
    "http.",
    "ftplib.",
    "smtplib.",
)
"""What the process does not need, as the names of Python's audit events begin."""


def isolate() -> bool:
    """Give up the network and other programs. Returns: whether the kernel gave the process a network of its own."""
    is_unshared = _unshare_network()
    sys.addaudithook(_refuse)
    return is_unshared


def _unshare_network() -> bool:
    """Leave the machine's network: as a privileged process at once, as another by way of a user namespace of its own."""
    if sys.platform != "linux":
        return False
    kernel = ctypes.CDLL(None, use_errno=True)
    is_unshared = any(kernel.unshare(flags) == 0 for flags in (CLONE_NEWNET, CLONE_NEWUSER | CLONE_NEWNET))
    kernel.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    return is_unshared


def _refuse(event: str, _: tuple[object, ...]) -> None:
    if event.startswith(FORBIDDEN):
        _deny()


def _deny() -> NoReturn:
    raise PermissionError("The reading process has no network and starts no programs.")
