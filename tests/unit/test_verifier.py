"""The verifier for strangers: Ed25519 by the vectors of its standard, Merkle proofs at every size, and what a signature must be to be believed."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import verifier
from pipeline.adapters.signing import Ed25519Signer
from pipeline.domain.merkle import MerkleTree
from pipeline.errors import UsageError

VECTORS = (
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
)
"""Secret key, public key, message, signature. Source: RFC 8032 section 7.1, TEST 1, 2, 3 and SHA(abc)."""

ORDER = 2**252 + 27742317777372353535851937790883648493
SIGNER = Ed25519Signer(Ed25519PrivateKey.from_private_bytes(b"s" * 32))


@pytest.mark.parametrize("vector", VECTORS)
def test_the_signatures_of_the_standard_hold_and_fall_with_any_bit(vector: tuple[str, ...]) -> None:
    _, public, message, signature = map(bytes.fromhex, vector)
    assert verifier.verify_ed25519(public, message, signature)
    for place in (0, 31, 32, 63):
        altered = bytearray(signature)
        altered[place] ^= 1
        assert not verifier.verify_ed25519(public, message, bytes(altered))
    assert not verifier.verify_ed25519(public, message + b"\0", signature)
    assert not verifier.verify_ed25519(bytes.fromhex(VECTORS[0][1] if vector != VECTORS[0] else VECTORS[1][1]), message, signature)


@pytest.mark.parametrize("vector", VECTORS)
def test_our_signer_makes_the_signatures_of_the_standard(vector: tuple[str, ...]) -> None:
    secret, public, message, signature = map(bytes.fromhex, vector)
    key = Ed25519PrivateKey.from_private_bytes(secret)
    assert (key.public_key().public_bytes_raw(), key.sign(message)) == (public, signature)


def test_a_second_form_of_the_same_signature_is_refused() -> None:
    """Source: RFC 8032 section 5.1.7: the scalar must be below the order, else every signature has others that hold as well."""
    _, public, message, signature = map(bytes.fromhex, VECTORS[1])
    scalar = int.from_bytes(signature[32:], "little") + ORDER
    assert not verifier.verify_ed25519(public, message, signature[:32] + scalar.to_bytes(32, "little"))


@pytest.mark.parametrize("public", [b"", b"\xff" * 32, (1).to_bytes(31, "little") + b"\x80", b"\x02" + bytes(31)])
def test_what_is_no_point_of_the_curve_signed_nothing(public: bytes) -> None:
    signature = bytes.fromhex(VECTORS[0][3])
    assert not verifier.verify_ed25519(public, b"", signature)
    assert not verifier.verify_ed25519(bytes.fromhex(VECTORS[0][1]), b"", public.ljust(32, b"\1")[:32] + signature[32:])
    assert not verifier.verify_ed25519(bytes.fromhex(VECTORS[0][1]), b"", signature[:63])


@given(secret=st.binary(min_size=32, max_size=32), message=st.binary(max_size=200))
@settings(max_examples=25, deadline=None)
def test_what_another_library_signs_is_verified_here(secret: bytes, message: bytes) -> None:
    key = Ed25519PrivateKey.from_private_bytes(secret)
    assert verifier.verify_ed25519(key.public_key().public_bytes_raw(), message, key.sign(message))


def test_a_signature_gives_the_key_that_made_it() -> None:
    signature = SIGNER.sign(b"a manifest")
    key = verifier.read_signature(signature, b"a manifest")
    assert base64.b64decode(SIGNER.public_key().split()[1])[-32:] == key
    assert SIGNER.sign(b"a manifest") == signature


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_no_byte_of_a_signature_can_be_another(data: st.DataObject) -> None:
    signature = bytearray(SIGNER.sign(b"a manifest"))
    place = data.draw(st.integers(0, len(signature) - 1))
    signature[place] = data.draw(st.integers(0, 255).filter(lambda byte: byte != signature[place]))
    with pytest.raises(ValueError, match=r"^(unreadable|false|not for this)"):
        verifier.read_signature(bytes(signature), b"a manifest")


@pytest.mark.parametrize(
    "spoil", [lambda s: b"", lambda s: s[:-1], lambda s: s + b"\n", lambda s: s.replace(b"\n", b"\r\n"), lambda s: s[:60] + s[130:]]
)
def test_a_signature_that_was_cut_or_written_otherwise_is_none(spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(ValueError, match="unreadable"):
        verifier.read_signature(spoil(SIGNER.sign(b"a")), b"a")


def test_a_signature_for_something_else_is_not_for_this() -> None:
    key = Ed25519PrivateKey.from_private_bytes(b"s" * 32)
    mail = verifier.armour(key.public_key().public_bytes_raw(), "email", key.sign(verifier.to_be_signed("email", b"a")))
    with pytest.raises(ValueError, match="not for this"):
        verifier.read_signature(mail, b"a")
    with pytest.raises(ValueError, match="false"):
        verifier.read_signature(SIGNER.sign(b"b"), b"a")


def test_a_key_of_another_kind_is_not_believed() -> None:
    parts = [verifier.ssh_string(b"ssh-rsa") + verifier.ssh_string(b"k"), b"openoutcomes-release", b"", b"sha512"]
    parts.append(verifier.ssh_string(b"ssh-rsa") + verifier.ssh_string(b"s"))
    text = base64.b64encode(b"SSHSIG\0\0\0\1" + b"".join(map(verifier.ssh_string, parts))).decode()
    lines = [text[start : start + 70] for start in range(0, len(text), 70)]
    armoured = "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""]).encode()
    with pytest.raises(ValueError, match="no signature by Ed25519"):
        verifier.read_signature(armoured, b"a")


KEY = base64.b64decode(SIGNER.public_key().split()[1])[-32:]
OTHER = b"o" * 32


def signers(
    options: str = 'namespaces="openoutcomes-release",valid-after="20240101000000Z",valid-before="20241231000000Z"', who: str = "F1"
) -> bytes:
    return f"# keys\n{who} {options} {SIGNER.public_key()}\n".encode()


def test_a_key_signs_for_its_fund_and_in_its_time() -> None:
    assert verifier.check_signer(signers(), "F1", KEY, "20240630000000Z") == ""
    for edge in ("20240101000000Z", "20241231000000Z"):
        assert verifier.check_signer(signers(), "F1", KEY, edge) == ""
    assert verifier.check_signer(signers('namespaces="openoutcomes-release"'), "F1", KEY, "19700101000000Z") == ""


@pytest.mark.parametrize("instant", ["20231231235959Z", "20241231000001Z"])
def test_a_key_outside_its_time_does_not_sign(instant: str) -> None:
    assert verifier.check_signer(signers(), "F1", KEY, instant) == "by a key that was not in force at the time of signing"


@pytest.mark.parametrize(
    ("allowed", "key"), [(signers(), OTHER), (signers(who="F2"), KEY), (signers('namespaces="email"'), KEY), (b"", KEY), (b"\xff", KEY)]
)
def test_a_key_that_is_not_the_funds_own_for_releases_is_a_strangers(allowed: bytes, key: bytes) -> None:
    assert verifier.check_signer(allowed, "F1", key, "20240630000000Z").startswith("by a stranger")


def hashes(count: int) -> list[str]:
    return [sha256(f"event {number}".encode()).hexdigest() for number in range(count)]


def plain_root(leaves: list[bytes]) -> bytes:
    """Return the root as section 2.1.1 of RFC 9162 defines it, word for word."""
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\1" + plain_root(leaves[:k]) + plain_root(leaves[k:])).digest()


def test_roots_are_those_of_the_definition_and_every_event_and_every_beginning_is_proven() -> None:
    events = hashes(33)
    tree = MerkleTree(events)
    leaves = [sha256(b"\0" + bytes.fromhex(event)).digest() for event in events]
    for size in range(1, 34):
        root = tree.root(size)
        assert root == plain_root(leaves[:size]).hex()
        for position in range(1, size + 1):
            path = tree.inclusion(position, size)
            assert verifier.is_included(events[position - 1], position, size, root, path)
            assert not verifier.is_included(events[position % 33], position, size, root, path) or position % 33 == position - 1
            assert not verifier.is_included(events[position - 1], position, size, root, [*path, root])
            proof = tree.consistency(position, size)
            assert verifier.has_grown(position, tree.root(position), size, root, proof)
            assert not verifier.has_grown(position, events[0], size, root, proof)
            assert not verifier.has_grown(position, tree.root(position), size, events[0], proof)
            assert not verifier.has_grown(position, tree.root(position), size, root, [*proof, root])
            assert not proof or not verifier.has_grown(position, tree.root(position), size, root, proof[:-1])


def test_a_log_whose_past_was_rewritten_did_not_grow_from_the_one_before() -> None:
    events = hashes(20)
    rewritten = MerkleTree([*events[:4], events[19], *events[5:]])
    before = MerkleTree(events)
    assert not verifier.has_grown(11, before.root(11), 20, rewritten.root(20), rewritten.consistency(11, 20))


@pytest.mark.parametrize(("position", "size"), [(0, 3), (4, 3), (-1, 3)])
def test_a_place_outside_the_log_is_not_in_it(position: int, size: int) -> None:
    tree = MerkleTree(hashes(3))
    assert not verifier.is_included(hashes(3)[0], position, size, tree.root(3), [])
    assert not verifier.has_grown(position, tree.root(3), size, tree.root(3), [tree.root(3)])
    with pytest.raises(UsageError, match="there is nothing to prove"):
        tree.inclusion(position, size)


def test_a_log_with_one_event_is_its_own_proof() -> None:
    tree = MerkleTree(hashes(1))
    assert (tree.inclusion(1, 1), tree.consistency(1, 1)) == ([], [])
    assert verifier.is_included(hashes(1)[0], 1, 1, tree.root(1), [])
    assert not verifier.is_included(hashes(1)[0], 1, 1, tree.root(1), [tree.root(1)])


LISTED = {"a.csv": "a" * 64, "a.parquet": "b" * 64, "codelists.csv": "c" * 64}


def test_the_hash_of_the_content_is_that_of_the_tables_and_not_of_their_parquet() -> None:
    content = verifier.content_hash(LISTED, ["a.csv"])
    assert content == "sha256:" + sha256(f"{'a' * 64}  a.csv\n".encode()).hexdigest()
    for about in ({"content": content}, {"content": content, "content_files": ["a.csv"]}):
        assert list(verifier.check_content(json.dumps({"openoutcomes": about}).encode(), LISTED)) == []


@pytest.mark.parametrize(
    ("document", "what"),
    [
        ({"openoutcomes": {"content": "sha256:0"}}, "disagrees"),
        ({"openoutcomes": {"content": "sha256:0", "content_files": ["no.csv"]}}, "unreadable"),
        ({"openoutcomes": {}}, "unreadable"),
        ([], "unreadable"),
    ],
)
def test_another_hash_of_the_content_is_found(document: object, what: str) -> None:
    ((path, said),) = verifier.check_content(json.dumps(document).encode(), LISTED)
    assert (path, said.split(":")[0]) == ("datapackage.json", what)


@pytest.mark.parametrize("text", ["2024-06-30T12:00:00+00:00", "2024-06-30", "", "2024-06-30T12:00:00Z\n"])
def test_an_instant_is_written_in_one_way(text: str) -> None:
    assert verifier.compact_instant("2024-06-30T12:00:00Z") == "20240630120000Z"
    with pytest.raises(ValueError, match="no instant"):
        verifier.compact_instant(text)
