#!/usr/bin/env python3
"""Checks one published version offline, with Python's standard library and nothing else: copy this file, read it, run it anywhere.

    python3 verifier.py FOLDER [--signers FILE]       where FOLDER is the version's, and FILE the publisher's allowed_signers (default: beside it)

It asks: are the files those of MANIFEST; did a key of the publisher sign MANIFEST and the statement while it was in force; does the statement speak
of this MANIFEST; do the tables have the hash of content that `datapackage.json` gives; did the log only grow since the version before.
It believes nothing but `allowed_signers`: get that file from the publisher once, and keep it. The pipeline itself checks with these functions, and
`ssh-keygen -Y verify` and `sha256sum -c` are a second opinion on the first two questions. This file imports nothing of the pipeline.

Source: RFC 8032 (Ed25519), OpenSSH PROTOCOL.sshsig and ssh-keygen(1) ALLOWED SIGNERS, RFC 9162 section 2.1 (Merkle trees).
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

MANIFEST, STATEMENT, DESCRIPTOR = "MANIFEST", "release.json", "datapackage.json"
SIGNATURE, STATEMENT_SIGNATURE, SIGNING_TIME = "MANIFEST.sig", "release.json.sig", "MANIFEST.time"
PROOFS = (SIGNATURE, SIGNING_TIME, STATEMENT, STATEMENT_SIGNATURE)
"""The files that speak of MANIFEST and so cannot stand in it."""

NAMESPACE = "openoutcomes-release"
FORMAT = "openoutcomes-release/1"
KEY_TYPE = b"ssh-ed25519"

Get = Callable[[str], bytes]
"""Returns the bytes of a file by its path inside the version's folder; raises KeyError or an OSError when it is not there."""

Problem = tuple[str, str]
"""A file, and what is wrong with it in words."""

_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*)", re.ASCII)
_INSTANT = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)Z", re.ASCII)
_SIGNER = re.compile(r'(\S+) ((?:[a-z-]+="[^"]*",?)+) (ssh-ed25519) ([A-Za-z0-9+/]+=*)', re.ASCII)

# --- Ed25519, RFC 8032 section 5.1. Points are (X, Y, Z, T) with x = X/Z, y = Y/Z, xy = T/Z. No secret is held here, so no time need be equal.

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_ROOT = pow(2, (_P - 1) // 4, _P)
_Point = tuple[int, int, int, int]


def _add(a: _Point, b: _Point) -> _Point:
    first, second = (a[1] - a[0]) * (b[1] - b[0]) % _P, (a[1] + a[0]) * (b[1] + b[0]) % _P
    third, fourth = 2 * a[3] * b[3] * _D % _P, 2 * a[2] * b[2] % _P
    e, f, g, h = second - first, fourth - third, fourth + third, second + first
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _times(scalar: int, point: _Point) -> _Point:
    found: _Point = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            found = _add(found, point)
        point = _add(point, point)
        scalar >>= 1
    return found


def _point(encoded: bytes) -> _Point:
    """Return the point of 32 bytes. Raises: ValueError when they are the only written form of none."""
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, number & ((1 << 255) - 1)
    square = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _ROOT % _P
    if y >= _P or (x * x - square) % _P or (x == 0 and sign):
        raise ValueError("no point of the curve")
    x = _P - x if x & 1 != sign else x
    return x, y, 1, x * y % _P


_BASE = _point((4 * pow(5, _P - 2, _P) % _P).to_bytes(32, "little"))


def verify_ed25519(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Say whether a signature of 64 bytes is that of a message by a key of 32 bytes."""
    if len(public_key) != 32 or len(signature) != 64:
        return False
    s = int.from_bytes(signature[32:], "little")
    if s >= _L:
        return False
    try:
        key, r = _point(public_key), _point(signature[:32])
    except ValueError:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public_key + message).digest(), "little") % _L
    left, right = _times(s, _BASE), _add(r, _times(k, key))
    return (left[0] * right[2] - right[0] * left[2]) % _P == 0 and (left[1] * right[2] - right[1] * left[2]) % _P == 0


# --- Signatures as OpenSSH writes them.


def ssh_string(content: bytes) -> bytes:
    """Return bytes with their length before them."""
    return len(content).to_bytes(4, "big") + content


def _read_strings(content: bytes, count: int) -> Sequence[bytes]:
    """Return exactly so many strings. Raises: ValueError when there are fewer, or anything is left."""
    found = []
    for _ in range(count):
        size = int.from_bytes(content[:4], "big")
        if len(content) < 4 + size:
            raise ValueError("breaks off")
        found.append(content[4 : 4 + size])
        content = content[4 + size :]
    if content:
        raise ValueError("goes on after its end")
    return found


def to_be_signed(namespace: str, message: bytes) -> bytes:
    """Return what a key signs in place of a message."""
    return b"SSHSIG" + b"".join(map(ssh_string, (namespace.encode(), b"", b"sha512", hashlib.sha512(message).digest())))


def armour(public_key: bytes, namespace: str, signature: bytes) -> bytes:
    """Return a signature in the form of `ssh-keygen -Y sign`."""
    parts = (ssh_string(KEY_TYPE) + ssh_string(public_key), namespace.encode(), b"", b"sha512", ssh_string(KEY_TYPE) + ssh_string(signature))
    text = base64.b64encode(b"SSHSIG\0\0\0\1" + b"".join(map(ssh_string, parts))).decode()
    lines = [text[start : start + 70] for start in range(0, len(text), 70)]
    return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""]).encode()


def read_signature(content: bytes, message: bytes, namespace: str = NAMESPACE) -> bytes:
    """Return the public key whose signature of a message this is. Raises: ValueError saying what is wrong with it."""
    try:
        lines = content.decode("ascii").split("\n")
        blob = base64.b64decode("".join(lines[1:-2]), validate=True)
        if blob[:10] != b"SSHSIG\0\0\0\1":
            raise ValueError("another format")
        key, given, _, _, signed = _read_strings(blob[10:], 5)
        (kind, public_key), (_, signature) = _read_strings(key, 2), _read_strings(signed, 2)
    except (ValueError, binascii.Error):
        raise ValueError("unreadable: it is no signature of OpenSSH's form") from None
    if given != namespace.encode():
        raise ValueError(f"not for this: it was not made in the namespace {namespace}")
    if armour(public_key, namespace, signature) != content:
        raise ValueError("unreadable: it is no signature by Ed25519 in the one written form")
    if kind != KEY_TYPE or not verify_ed25519(public_key, to_be_signed(namespace, message), signature):
        raise ValueError("false: it is not the signature of the file as it stands; one of the two was altered")
    return public_key


def fingerprint(public_key: bytes) -> str:
    """Return a key's fingerprint as `ssh-keygen -l` prints it."""
    digest = hashlib.sha256(ssh_string(KEY_TYPE) + ssh_string(public_key)).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def check_signer(signers: bytes, principal: str, public_key: bytes, signed_at: str) -> str:
    """Return what speaks against a key's having signed for a principal at an instant (`YYYYMMDDHHMMSSZ`); nothing when it was in force."""
    reason = f"by a stranger: allowed_signers has no such key for {principal}"
    for line in signers.decode("utf-8", "replace").splitlines():
        found = _SIGNER.fullmatch(line)
        if found is None or principal not in found[1].split(","):
            continue
        options = dict(re.findall(r'([a-z-]+)="([^"]*)"', found[2]))
        is_key = found[4] == base64.b64encode(ssh_string(KEY_TYPE) + ssh_string(public_key)).decode()
        if not is_key or NAMESPACE not in options.get("namespaces", "").split(","):
            continue
        # Instants of one length and one zone are in the order of their letters.
        if options.get("valid-after", "0") <= signed_at <= options.get("valid-before", "9"):
            return ""
        reason = "by a key that was not in force at the time of signing"
    return reason


# --- The log as a Merkle tree whose leaves are the hashes of its events.


def leaf_hash(event: str) -> bytes:
    """Return the leaf of an event's hash (hexadecimal)."""
    return hashlib.sha256(b"\0" + bytes.fromhex(event)).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the node over two."""
    return hashlib.sha256(b"\1" + left + right).digest()


def is_included(event: str, position: int, size: int, root: str, path: Sequence[str]) -> bool:
    """Say whether an event stands at a position (from 1) of the log of a size and root. Source: RFC 9162 section 2.1.3.2."""
    if not 1 <= position <= size:
        return False
    place, last, found = position - 1, size - 1, leaf_hash(event)
    for node in map(bytes.fromhex, path):
        if last == 0:
            return False
        if place & 1 or place == last:
            found = node_hash(node, found)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            found = node_hash(found, node)
        place, last = place >> 1, last >> 1
    return last == 0 and found.hex() == root


def has_grown(size: int, root: str, later_size: int, later_root: str, proof: Sequence[str]) -> bool:
    """Say whether a log of a size and root only grew to become the later one. Source: RFC 9162 section 2.1.4.2."""
    if size == later_size:
        return root == later_root and not proof
    if not 1 <= size < later_size or not proof:
        return False
    nodes = [bytes.fromhex(node) for node in proof]
    if size & (size - 1) == 0:
        nodes.insert(0, bytes.fromhex(root))
    place, last = size - 1, later_size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    first = second = nodes[0]
    for node in nodes[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            first, second = node_hash(node, first), node_hash(node, second)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            second = node_hash(second, node)
        place, last = place >> 1, last >> 1
    return last == 0 and first.hex() == root and second.hex() == later_root


# --- One version.


def read_manifest(content: bytes) -> Mapping[str, str]:
    """Return the hashes that a MANIFEST lists, by path. Raises: ValueError when it is not exactly as it is written: sorted, each path once."""
    text = content.decode("ascii")
    found = [_LINE.fullmatch(line) for line in text.removesuffix("\n").split("\n")]
    listed = {match[2]: match[1] for match in found if match is not None}
    if not text.endswith("\n") or len(listed) < len(found) or list(listed) != sorted(listed) or MANIFEST in listed:
        raise ValueError("not in the form of a MANIFEST")
    return listed


def content_hash(listed: Mapping[str, str], files: Iterable[str]) -> str:
    """Return the hash of the tables' content that does not depend on how Parquet is written."""
    text = "".join(f"{listed[path]}  {path}\n" for path in sorted(files))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def check_content(descriptor: bytes, listed: Mapping[str, str]) -> Iterator[Problem]:
    """Yield whether the tables have another hash of content than the data package gives."""
    try:
        about = json.loads(descriptor)["openoutcomes"]
        tables = [path for path in listed if path.endswith(".csv") and path.removesuffix(".csv") + ".parquet" in listed]
        if about["content"] != content_hash(listed, about.get("content_files", tables)):
            yield DESCRIPTOR, "disagrees: the tables do not have the hash of content that it gives"
    except (ValueError, TypeError, KeyError, AttributeError):
        yield DESCRIPTOR, "unreadable: it does not say what the hash of the content is"


def check_proof(
    get: Get,
    manifest: bytes,
    descriptor: bytes | None,
    signers: bytes | None,
    principal: str | None = None,
    earlier: Get | None = None,
) -> Iterator[Problem]:
    """Yield what is wrong with the signatures and the statement beside a MANIFEST.

    Args: `signers` are the publisher's allowed signers; without them a signature is checked by the key that it carries, whoever's that is;
    `principal` is the fund, by default the one that the statement names; `earlier` returns the statement of another version, by its number.
    """
    files = {}
    for path in PROOFS:
        try:
            files[path] = get(path)
        except (KeyError, OSError):
            yield path, "missing: the version is not signed, or its signature was taken away"
    keys = set()
    for path, signed in ((SIGNATURE, manifest), (STATEMENT_SIGNATURE, files.get(STATEMENT))):
        if path in files and signed is not None:
            try:
                keys.add(read_signature(files[path], signed))
            except ValueError as error:
                yield path, str(error)
    if len(files) < len(PROOFS) or len(keys) != 1:
        if len(keys) > 1:
            yield STATEMENT_SIGNATURE, "disagrees: it is by another key than the signature of MANIFEST"
        return
    try:
        statement = json.loads(files[STATEMENT])
        problems = [
            *_check_statement(statement, files[SIGNING_TIME], manifest, keys.pop(), signers, principal),
            *_check_log(statement, descriptor),
            *(_check_earlier(statement["earlier"], earlier) if earlier and statement["earlier"] else ()),
        ]
    except (ValueError, TypeError, KeyError, AttributeError):
        problems = [(STATEMENT, "unreadable: it does not have the shape of a release statement")]
    yield from problems


def compact_instant(text: str) -> str:
    """Return an instant like 2024-06-30T12:00:00Z as ssh-keygen takes it. Raises: ValueError when it is of another form."""
    found = _INSTANT.fullmatch(text)
    if found is None:
        raise ValueError("no instant in UTC")
    return "".join(found.groups()) + "Z"


def _check_statement(
    statement: Mapping[str, Any], time: bytes, manifest: bytes, key: bytes, signers: bytes | None, principal: str | None
) -> Iterator[Problem]:
    signed_at = compact_instant(statement["signed_at"])
    if time != f"{signed_at}\n".encode():
        yield SIGNING_TIME, "disagrees: it is not the time that the statement gives"
    if (statement["format"], statement["key"]) != (FORMAT, fingerprint(key)):
        yield STATEMENT, "disagrees: it is of another format, or names another key than the one that signed it"
    digest = hashlib.sha256(manifest).hexdigest()
    approvals = [approval["manifest"] for approval in statement["approvals"]]
    if statement["manifest"] != digest or not approvals or set(approvals) != {digest} or statement["audit"]["passed"] is not True:
        yield STATEMENT, "disagrees: it does not say that this MANIFEST passed its audit and was approved"
    reason = check_signer(signers, principal or statement["fund_id"], key, signed_at) if signers is not None else ""
    if reason:
        yield SIGNATURE, reason


def _check_log(statement: Mapping[str, Any], descriptor: bytes | None) -> Iterator[Problem]:
    log, pinned, earlier = statement["log"], statement["pinned"], statement["earlier"]
    size, root = log["position"], log["merkle_root"]
    if descriptor is not None:
        about = json.loads(descriptor)["openoutcomes"]
        named = (about["fund_id"], about["version"], about["log_position"], about["chain_head"], about["base_version"])
        stated = (statement["fund_id"], statement["version"], pinned["position"], pinned["event"], earlier["version"] if earlier else None)
        if named != stated:
            yield STATEMENT, f"disagrees: {DESCRIPTOR} names another version, log position or chain head"
    for event in (log, pinned, statement["audit"], *statement["approvals"]):
        if not is_included(event["event"], event["position"], size, root, event["inclusion"]):
            yield STATEMENT, f"disagrees: the event at position {event['position']} is not in the log whose root it gives"
    if earlier and not has_grown(earlier["position"], earlier["merkle_root"], size, root, earlier["consistency"]):
        yield STATEMENT, f"disagrees: its log is not the one of version {earlier['version']}, grown longer"


def _check_earlier(named: Mapping[str, Any], get: Get) -> Iterator[Problem]:
    """Yield whether the version before, if it is at hand, says of itself another thing than is said of it."""
    try:
        own = json.loads(get(named["version"]))
        said = (own["version"], own["manifest"], own["log"]["position"], own["log"]["merkle_root"])
    except (KeyError, OSError):
        return
    if said != (named["version"], named["manifest"], named["position"], named["merkle_root"]):
        yield STATEMENT, f"disagrees: what it says of version {named['version']} is not what that version's own statement says"


def check_folder(folder: Path, signers: bytes, principal: str | None = None) -> Sequence[Problem]:
    """Return everything that is wrong with a version's folder, in the order of paths."""

    def get(path: str) -> bytes:
        return (folder / path).read_bytes()

    try:
        manifest = get(MANIFEST)
        listed = read_manifest(manifest)
    except (OSError, ValueError):
        return [(MANIFEST, "missing, or not in the form of a MANIFEST")]
    problems = list(_check_files(folder, listed))
    descriptor = None if any(path == DESCRIPTOR for path, _ in problems) or DESCRIPTOR not in listed else get(DESCRIPTOR)
    problems += check_proof(get, manifest, descriptor, signers, principal, lambda version: get(f"../v{version}/{STATEMENT}"))
    problems += check_content(descriptor, listed) if descriptor is not None else [(DESCRIPTOR, "missing, altered, or not in MANIFEST")]
    return sorted(set(problems))


def _check_files(folder: Path, listed: Mapping[str, str]) -> Iterator[Problem]:
    for path, digest in listed.items():
        try:
            if hashlib.sha256((folder / path).read_bytes()).hexdigest() != digest:
                yield path, "altered: its bytes do not match the hash in MANIFEST"
        except OSError:
            yield path, "missing: MANIFEST lists it"
    for found in folder.rglob("*"):
        path = found.relative_to(folder).as_posix()
        if not found.is_dir() and path not in listed and path not in (MANIFEST, *PROOFS):
            yield path, "extra: it stands in the folder but not in MANIFEST"


def main(arguments: Sequence[str] | None = None) -> int:
    """Check a folder and say what was found. Returns: 0 when all is well, 1 when something is wrong, 2 when the call is."""
    parser = argparse.ArgumentParser(description="Check one published version offline.")
    parser.add_argument("folder", type=Path, help="folder of the version, the one that holds MANIFEST")
    parser.add_argument("--signers", type=Path, help="the publisher's allowed_signers; by default the one beside the folder")
    parser.add_argument("--principal", help="the fund that must have signed; by default the one that the statement names")
    given = parser.parse_args(arguments)
    path = given.signers or given.folder.resolve().parent / "allowed_signers"
    try:
        signers = path.read_bytes()
    except OSError:
        sys.stderr.write(f"{path} cannot be read. Name the publisher's allowed_signers with --signers.\n")
        return 2
    problems = check_folder(given.folder, signers, given.principal)
    for place, what in problems:
        sys.stdout.write(f"{place}: {what}\n")
    sys.stdout.write("This is what was published.\n" if not problems else f"{len(problems)} problems: this is not what was published.\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
