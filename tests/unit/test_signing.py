"""The key that signs releases: made once, kept from others, announced when it first signs, replaced on purpose and never by accident."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pipeline.adapters.signing import Ed25519Signer, FileSigner, make_signing_key
from pipeline.application import proofs, releases, signing
from pipeline.domain.events import SigningKeyAnnounced, SigningKeyReplaced
from pipeline.domain.signing import allowed_signers, decide_announce, decide_replace, fingerprint_of, fold
from pipeline.errors import ConfigurationError, IntegrityError, NotAllowedError
from pipeline.ports import Append, Signer
from pipeline.verifier import PROOFS
from tests.factories import FUND, Crash, World, at, manifest_of, published_objects, recorded, release_of

SIGNERS = f"datasets/{FUND}/allowed_signers"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "secrets" / "release.key"


class TestTheFile:
    def test_a_key_is_made_once_and_only_its_owner_can_read_it(self, path: Path) -> None:
        assert make_signing_key(path)
        before = path.read_bytes()
        assert not make_signing_key(path)
        assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (before, 0o600)
        assert (stat.S_IMODE(path.parent.stat().st_mode), [other.name for other in path.parent.iterdir()]) == (0o700, ["release.key"])

    def test_two_who_make_it_at_once_leave_one_key(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        make_signing_key(path)
        before = path.read_bytes()
        monkeypatch.setattr(Path, "exists", lambda self: False)
        assert not make_signing_key(path)
        assert (path.read_bytes(), len(list(path.parent.iterdir()))) == (before, 1)

    def test_a_place_where_it_cannot_be_written_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "secrets").write_text("a file")
        with pytest.raises(ConfigurationError, match="OUTCOMES_SIGNING_KEY_FILE"):
            make_signing_key(tmp_path / "secrets" / "release.key")

    def test_who_never_publishes_needs_no_key_and_who_does_is_told_so(self, path: Path) -> None:
        signer = FileSigner(path)
        with pytest.raises(ConfigurationError, match="`outcomes init` makes the first"):
            signer.public_key()
        with pytest.raises(ConfigurationError, match="no key to sign releases with"):
            Ed25519Signer().sign(b"")

    def test_a_key_that_everybody_can_read_is_refused(self, path: Path) -> None:
        make_signing_key(path)
        path.chmod(0o604)
        with pytest.raises(ConfigurationError, match="chmod 600"):
            FileSigner(path).public_key()

    def test_a_folder_in_its_place_is_named(self, path: Path) -> None:
        path.mkdir(parents=True)
        with pytest.raises(ConfigurationError, match="cannot be read"):
            FileSigner(path).public_key()

    def test_what_is_no_key_of_ours_is_refused_without_a_word_of_it(self, path: Path) -> None:
        path.parent.mkdir()
        form = (Encoding.PEM, PrivateFormat.OpenSSH)
        for content in (
            b"secret",
            ec.generate_private_key(ec.SECP256R1()).private_bytes(*form, NoEncryption()),
            Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        ):
            path.write_bytes(content)
            path.chmod(0o600)
            with pytest.raises(ConfigurationError, match="no Ed25519 key") as caught:
                FileSigner(path).public_key()
            assert "secret" not in str(caught.value).replace("secrets/", "")

    def test_the_key_that_is_to_come_waits_until_it_is_adopted(self, path: Path) -> None:
        make_signing_key(path)
        signer: Signer = FileSigner(path)
        first, second = signer.public_key(), signer.prepare_next()
        assert FileSigner(path).prepare_next() == second != first == signer.public_key()
        signer.adopt_next()
        assert signer.public_key() == FileSigner(path).public_key() == second
        signer.adopt_next()
        assert (signer.public_key(), [other.name for other in path.parent.iterdir()]) == (second, ["release.key"])

    def test_a_key_that_cannot_be_put_in_place_is_named(self, path: Path) -> None:
        signer = FileSigner(path)
        signer.prepare_next()
        path.mkdir()
        with pytest.raises(ConfigurationError, match="cannot take the place"):
            signer.adopt_next()


FIRST, SECOND = (Ed25519Signer(Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)).public_key() for number in (1, 2))
START = datetime(2024, 1, 1, 12, 30, 15, 999_999, tzinfo=UTC)


def keys_of(*public: str) -> tuple[signing.SigningKey, ...]:
    events = [SigningKeyAnnounced(public_key=public[0], fingerprint=fingerprint_of(public[0]))] if public else []
    events += [SigningKeyReplaced(public_key=key, fingerprint=fingerprint_of(key), replaces="") for key in public[1:]]  # type: ignore[misc]
    return fold(recorded(event, position=place + 1, at=START + timedelta(days=place)) for place, event in enumerate(events))


def test_a_key_is_in_force_until_another_takes_its_place() -> None:
    first, second = keys_of(FIRST, SECOND)
    assert (first.valid_from, first.valid_until, second.valid_from, second.valid_until) == (
        START,
        START + timedelta(days=1),
        START + timedelta(days=1),
        None,
    )
    assert fold([]) == ()


def test_the_allowed_signers_name_every_key_and_its_time() -> None:
    assert allowed_signers(keys_of(FIRST, SECOND), "F1").decode().splitlines() == [
        f'F1 namespaces="openoutcomes-release",valid-after="20240101123015Z",valid-before="20240102123015Z" {FIRST}',
        f'F1 namespaces="openoutcomes-release",valid-after="20240102123015Z" {SECOND}',
    ]


def test_a_key_is_announced_once_and_another_is_not_taken_for_it() -> None:
    assert decide_announce((), FIRST) == (SigningKeyAnnounced(public_key=FIRST, fingerprint=fingerprint_of(FIRST)),)
    assert decide_announce(keys_of(FIRST), FIRST) == ()
    with pytest.raises(ConfigurationError, match="outcomes keys rotate"):
        decide_announce(keys_of(FIRST), SECOND)
    with pytest.raises(ConfigurationError, match="Put that key back"):
        decide_announce(keys_of(FIRST, SECOND), FIRST)


def test_a_key_is_replaced_once() -> None:
    assert decide_replace((), FIRST) == decide_announce((), FIRST)
    assert decide_replace(keys_of(FIRST), FIRST) == ()
    assert decide_replace(keys_of(FIRST), SECOND) == (
        SigningKeyReplaced(public_key=SECOND, fingerprint=fingerprint_of(SECOND), replaces=fingerprint_of(FIRST)),
    )


def statement(world: World, version: str = "1.0.0") -> dict[str, object]:
    found: dict[str, object] = json.loads(published_objects(world, version)["release.json"])
    return found


class TestPublishing:
    def test_the_key_enters_the_log_when_it_first_signs_and_its_private_half_never_does(self) -> None:
        world = at("approved")
        assert signing.load_keys(world.services()) == ()
        releases.publish(world.services("worker"), FUND, "1.0.0")
        assert world.names[-2:] == ["signing_key.announced", "release.published"]
        assert (b"s" * 32).hex() not in world.payloads
        assert world.public.objects[SIGNERS].decode().count("\n") == 1

    def test_the_statement_says_who_approved_what_and_when_and_what_made_it(self) -> None:
        said = statement(at("published"))
        world = at("published")
        manifest = manifest_of(world)
        (approval,) = [event for event in world.events if event.event.name == "release.approved"]
        assert (said["format"], said["fund_id"], said["version"], said["manifest"]) == ("openoutcomes-release/1", FUND, "1.0.0", manifest)
        (approved,) = said["approvals"]  # type: ignore[misc]
        assert {name: approved[name] for name in ("actor", "approved_at", "manifest", "position", "event")} == {  # type: ignore[has-type]
            "actor": "bob",
            "approved_at": approval.recorded_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "manifest": manifest,
            "position": approval.position,
            "event": approval.hash,
        }
        assert said["log"]["position"] == approval.position  # type: ignore[index]
        assert said["audit"]["passed"] is True  # type: ignore[index]
        assert said["code"] == {"version": "0.1.0", "lock": None}
        assert said["earlier"] is None

    def test_the_hash_of_the_lock_file_is_told_apart_from_the_version(self) -> None:
        world = at("returned in")
        services = world.services("ann", code=f"0.1.0+lock.{'a' * 64}")
        made = releases.make(services, FUND)
        assert made is not None
        releases.approve(world.services("bob"), FUND, made.version, str(made.manifest))
        releases.publish(world.services(), FUND, made.version)
        assert statement(world)["code"] == {"version": "0.1.0", "lock": f"sha256:{'a' * 64}"}

    def test_what_came_into_the_log_since_the_approval_changes_nothing_of_what_is_signed(self) -> None:
        world, later = at("approved"), at("approved")
        later.clock.advance(timedelta(days=9))
        signing.announce(world.services())
        later.log.documents[:] = world.log.documents
        for number in range(3):
            stream = f"submission/P{number}/2030-Q1"
            event = SigningKeyAnnounced(public_key="", fingerprint="")
            later.log.append([Append(stream, 0, [event])], actor="x", recorded_at=later.clock())
        for one in (world, later):
            releases.publish(one.services("worker"), FUND, "1.0.0")
        assert {path: published_objects(world)[path] for path in PROOFS} == {path: published_objects(later)[path] for path in PROOFS}

    def test_another_key_file_than_the_log_knows_signs_nothing(self) -> None:
        world = at("approved")
        signing.announce(world.services())
        world.signer = Ed25519Signer(Ed25519PrivateKey.generate())
        with pytest.raises(ConfigurationError, match="Put that key back"):
            releases.publish(world.services(), FUND, "1.0.0")
        assert not published_objects(world).keys() & {"MANIFEST", *PROOFS}

    def test_a_later_version_proves_that_its_log_is_the_earlier_one_grown_longer(self) -> None:
        world = next_version()
        said, before = statement(world, "1.0.1"), statement(world)
        assert said["earlier"]["merkle_root"] == before["log"]["merkle_root"]  # type: ignore[index]
        assert said["earlier"]["manifest"] == manifest_of(world)  # type: ignore[index]
        assert len(said["earlier"]["consistency"]) > 0  # type: ignore[index]


def next_version(world: World | None = None) -> World:
    """Return a world in which the published version was withdrawn and published again under the next number."""
    world = world or at("published")
    releases.withdraw(world.services(), FUND, "1.0.0", "published_in_error")
    made = releases.make(world.services("ann"), FUND)
    assert made is not None
    releases.approve(world.services("bob"), FUND, made.version, str(made.manifest))
    releases.publish(world.services("worker"), FUND, made.version)
    return world


class TestRotation:
    def test_what_the_old_key_signed_stays_verifiable_and_the_new_one_signs_from_then_on(self) -> None:
        world = at("published")
        rotated = signing.rotate(world.services("operator"))
        assert rotated.replaced is not None
        assert rotated.key.fingerprint == fingerprint_of(world.signer.public_key()) != rotated.replaced.fingerprint
        assert proofs.verify(world.services(), FUND).is_whole
        world.clock.advance()
        next_version(world)
        assert proofs.verify(world.services(), FUND).is_whole
        keys = [statement(world, version)["key"] for version in ("1.0.0", "1.0.1")]
        assert keys == [rotated.replaced.fingerprint, rotated.key.fingerprint]
        assert world.public.objects[SIGNERS].decode().count("valid-before") == 1

    def test_a_key_that_never_signed_can_be_replaced_too(self) -> None:
        world = at("returned in")
        rotated = signing.rotate(world.services())
        assert (rotated.replaced, world.names[-1], SIGNERS in world.public.objects) == (None, "signing_key.announced", False)

    def test_no_key_is_replaced_while_an_approved_release_waits(self) -> None:
        world = at("approved")
        before = world.log.head()
        with pytest.raises(NotAllowedError, match=r"1\.0\.0 of F1 is approved and waits"):
            signing.rotate(world.services())
        assert world.log.head() == before

    @pytest.mark.parametrize("place", ["before the event", "after the event", "after the public file"])
    def test_a_rotation_that_dies_is_finished_by_running_it_again(self, place: str) -> None:
        world = at("published")
        before = len(world.events)

        class Dying(type(world.signer)):  # type: ignore[misc]
            def adopt_next(self) -> None:
                raise Crash

        dying = Dying(Ed25519PrivateKey.from_private_bytes(b"s" * 32))
        if place == "before the event":
            waiting = dying.prepare_next()
        else:
            world.public.puts.clear()
            world.public.dies_before = 1 if place == "after the event" else 0
            with pytest.raises(Crash):
                signing.rotate(world.services(signer=dying))
            world.public.dies_before = 0
            waiting = dying.prepare_next()
            with pytest.raises(ConfigurationError, match="outcomes keys rotate"):
                signing.announce(world.services(signer=dying))
        dying.__class__ = Ed25519Signer
        rotated = signing.rotate(world.services(signer=dying))
        assert (rotated.key.public_key, dying.public_key(), len(world.events)) == (waiting, waiting, before + 1)
        assert world.public.objects[SIGNERS].decode().count("\n") == 2


def rewrite(world: World, *, without: str) -> None:
    """Write the whole log anew, without the events of a name: it holds in itself."""
    events = [event for event in world.events if event.event.name != without]
    world.log.documents.clear()
    for event in events:
        version = len(world.log.read_stream(event.stream))
        world.log.append([Append(event.stream, version, [event.event])], actor=event.actor, recorded_at=event.recorded_at)


class TestVerifying:
    @pytest.mark.parametrize("path", PROOFS)
    @pytest.mark.parametrize("damage", ["a byte more", "no longer there", "garbage", "another version's"])
    def test_a_proof_that_is_not_what_was_published_is_named(self, path: str, damage: str) -> None:
        world = next_version()
        name = f"datasets/{FUND}/v1.0.1/{path}"
        content = world.public.objects.pop(name)
        others = world.public.objects[f"datasets/{FUND}/v1.0.0/{path}"]
        spoilt = {"a byte more": content + b" ", "garbage": b"\xff{", "another version's": others}
        if damage != "no longer there":
            world.public.objects[name] = spoilt[damage]
        proof = proofs.verify(world.services(), FUND)
        assert (proof.is_whole, proof.rebuilt) == (False, None)
        assert {problem.path for _, found in proof.versions for problem in found.problems} & {path, f"{path}.sig"}

    def test_a_statement_signed_with_the_right_key_that_is_not_what_the_log_says_is_named(self) -> None:
        world = at("published")
        folder = f"datasets/{FUND}/v1.0.0"
        said = world.public.objects[f"{folder}/release.json"].replace(b'"bob"', b'"eve"')
        world.public.objects[f"{folder}/release.json"] = said
        world.public.objects[f"{folder}/release.json.sig"] = world.signer.sign(said)
        proof = proofs.verify(world.services(), FUND)
        assert [problem.what for _, found in proof.versions for problem in found.problems] == [
            "disagrees: it is signed, but it is not what the log says of this version"
        ]

    @pytest.mark.parametrize("content", [None, b"", b"F1 ssh-ed25519 AAAA\n"])
    def test_public_signers_that_the_log_does_not_know_are_found_and_publishing_again_mends_them(self, content: bytes | None) -> None:
        world = at("published")
        right = world.public.objects.pop(SIGNERS)
        if content is not None:
            world.public.objects[SIGNERS] = content
        proof = proofs.verify(world.services(), FUND)
        assert (proof.signers_stand, proof.is_whole) == (False, False)
        releases.publish(world.services(), FUND, "1.0.0")
        assert (world.public.objects[SIGNERS], proofs.verify(world.services(), FUND).is_whole) == (right, True)

    def test_a_log_rewritten_after_the_draft_is_found_by_the_head_that_the_statement_names(self) -> None:
        """What the data package names stands before the draft, and is as it was."""
        world = at("published")
        rewrite(world, without="release.audited")
        assert (world.log.verify(), release_of(world).state) == (None, "published")
        fault = proofs.verify(world.services(), FUND).chain
        assert fault is not None
        assert fault.position > release_of(world).draft.position

    def test_a_public_version_that_the_log_does_not_know_is_found(self) -> None:
        world = next_version()
        for path, content in published_objects(world, "1.0.1").items():
            world.public.objects[f"datasets/{FUND}/v7.0.0/{path}"] = content
        proof = proofs.verify(world.services(), FUND)
        assert (proof.unknown, proof.is_whole, proof.rebuilt) == (["7.0.0"], False, None)

    def test_a_log_whose_end_is_gone_up_to_before_the_first_release_is_not_taken_for_a_new_one(self) -> None:
        world = at("published")
        world.log.documents[:] = at("drafted").log.documents
        with pytest.raises(IntegrityError, match="the end of the log is gone"):
            proofs.verify(world.services(), FUND)

    def test_a_version_from_before_releases_were_signed_is_whole_without_signature(self) -> None:
        world = at("published")
        rewrite(world, without="signing_key.announced")
        for path in PROOFS:
            del world.public.objects[f"datasets/{FUND}/v1.0.0/{path}"]
        del world.public.objects[SIGNERS]
        releases.tell(world.services(), FUND)
        assert proofs.verify(world.services(), FUND).is_whole
        next_version(world)
        assert proofs.verify(world.services(), FUND).is_whole
        assert "release.json" not in published_objects(world)
        assert "release.json" in published_objects(world, "1.0.1")
