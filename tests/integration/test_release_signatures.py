"""A release is verified as a stranger would: by the line of its own README, with OpenSSH and coreutils, and by the verifier in one file.

The releases are published by the real verbs and lie in a folder as a stranger downloads them: `allowed_signers` and two versions, the key replaced
between them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pipeline import verifier
from pipeline.adapters.signing import Ed25519Signer, FileSigner, make_signing_key
from pipeline.application import signing
from pipeline.domain.signing import fingerprint_of
from pipeline.errors import ConfigurationError, IntegrityError
from pipeline.site import build_site
from pipeline.stages.verification import verify_folder
from pipeline.verifier import MANIFEST, PROOFS
from tests.factories import FUND, at, publish_next, take_in

OLD, NEW = "v1.0.0", "v1.1.0"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with two versions, between which the key was replaced."""
    world = at("published")
    signing.rotate(world.services("operator"))
    world.clock.advance(timedelta(days=30))
    take_in(world, people=13)
    assert publish_next(world) == NEW[1:]
    folder = tmp_path_factory.mktemp("published")
    for name, content in world.public.objects.items():
        path = folder / name.removeprefix(f"datasets/{FUND}/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published, tmp_path / "datasets"))


def readme_line(version: Path) -> str:
    """Return the command that the README of a version gives."""
    (line,) = re.findall(r"(?m)^    (ssh-keygen .*)$", (version / "README.md").read_text())
    return str(line)


def run(line: str, version: Path, *before: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("ssh-keygen") is None:
        pytest.fail("ssh-keygen was not found: install openssh-client (`make system`).")
    # Nothing but the programs' own folders on the path, another time zone than ours, and no home.
    environment = {"PATH": os.defpath, "TZ": "Pacific/Auckland", "LC_ALL": "C"}
    return subprocess.run([*before, "sh", "-c", line], cwd=version, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("version", [OLD, NEW])
def test_the_line_of_the_readme_verifies_each_version_also_after_its_key_was_replaced(folder: Path, version: str) -> None:
    done = run(readme_line(folder / version), folder / version)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f'Good "openoutcomes-release" signature for {FUND} with ED25519 key SHA256:' in done.stdout
    assert done.stdout.count(": OK") == len((folder / version / MANIFEST).read_text().splitlines())


def test_the_statement_is_signed_in_the_same_form(folder: Path) -> None:
    line = readme_line(folder / NEW).split(" && ")[0].replace("MANIFEST.sig < MANIFEST", "release.json.sig < release.json")
    assert run(line, folder / NEW).returncode == 0


def namespace() -> list[str]:
    """Return how to enter a network namespace without routes here, or fail: a check that cannot run is no check."""
    for command in (["unshare", "-n"], ["unshare", "-rn"]):
        if shutil.which("unshare") and subprocess.run([*command, "true"], capture_output=True).returncode == 0:
            return command
    return []


def test_the_line_of_the_readme_needs_no_network(folder: Path) -> None:
    """Where this machine lets nobody make a namespace, the proxies of a network that is not there must do."""
    enter = namespace()
    routes = run("cat /proc/net/route | wc -l", folder / NEW, *enter)
    assert routes.stdout.strip() in ("0", "1") or not enter
    done = run(readme_line(folder / NEW), folder / NEW, *enter)
    assert done.returncode == 0, done.stderr


def verify_alone(version: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the verifier as a stranger does: one copied file, no package, no site packages, no environment."""
    program = version.parent / "verifier.py"
    shutil.copyfile(verifier.__file__, program)
    command = [sys.executable, "-I", "-S", "-W", "error", str(program), *map(str, arguments or (version,))]
    return subprocess.run(command, cwd=version.parent, env={}, capture_output=True, text=True)


@pytest.mark.parametrize("version", [OLD, NEW])
def test_the_verifier_in_one_file_verifies_each_version_without_the_package(folder: Path, version: str) -> None:
    done = verify_alone(folder / version)
    assert (done.returncode, done.stdout, done.stderr) == (0, "This is what was published.\n", "")


def flip(path: Path, place: float = 0.5) -> None:
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    path.write_bytes(bytes(content))


def both(version: Path) -> tuple[bool, list[str]]:
    """Return whether the line of the README (as published, before anybody touched the folder) passes, and which files the verifier names."""
    line = readme_line(version) if (version / "README.md").is_file() else ""
    done = verify_alone(version)
    assert not done.stderr, done.stderr
    return run(line or "false", version).returncode == 0, [said.split(":")[0] for said in done.stdout.splitlines()[:-1]]


def test_one_altered_byte_in_any_file_is_found_by_both(folder: Path) -> None:
    version = folder / NEW
    line = readme_line(version)
    names = sorted(path.name for path in version.iterdir())
    assert len(names) > 20
    for name in names:
        kept = (version / name).read_bytes()
        flip(version / name)
        said = [line.split(":")[0] for line in verify_alone(version).stdout.splitlines()[:-1]]
        assert name in said or f"{name}.sig" in said, name
        if not name.startswith("release.json") and name != "MANIFEST.time":  # of the statement and what it says the line does not speak
            assert run(line, version).returncode != 0, name
        (version / name).write_bytes(kept)
    assert both(version) == (True, [])


def sign_again(version: Path, signer: Ed25519Signer) -> None:
    for name in (MANIFEST, "release.json"):
        (version / f"{name}.sig").write_bytes(signer.sign((version / name).read_bytes()))


def test_a_wrong_key_is_found_by_both(folder: Path) -> None:
    sign_again(folder / NEW, Ed25519Signer(Ed25519PrivateKey.generate()))
    passes, named = both(folder / NEW)
    assert (passes, named) == (False, ["MANIFEST.sig", "release.json"])


def test_swapped_signatures_are_found_by_both(folder: Path) -> None:
    for name in ("MANIFEST.sig", "release.json.sig"):
        shutil.copyfile(folder / OLD / name, folder / NEW / name)
    assert both(folder / NEW) == (False, ["MANIFEST.sig", "release.json.sig"])


def test_the_signatures_of_manifest_and_statement_cannot_stand_for_one_another(folder: Path) -> None:
    first, second = (folder / NEW / name for name in ("MANIFEST.sig", "release.json.sig"))
    kept = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(kept)
    assert both(folder / NEW) == (False, ["MANIFEST.sig", "release.json.sig"])


def test_a_signature_outside_the_validity_of_its_key_is_found_by_both(folder: Path) -> None:
    """The old key was replaced before the new version was signed."""
    lines = (folder / "allowed_signers").read_text().splitlines()
    assert [("valid-before" in line) for line in lines] == [True, False]
    new_key = lines[1].rpartition("ssh-ed25519")[2]
    closed = lines[0].rpartition("ssh-ed25519")[0] + "ssh-ed25519" + new_key
    (folder / "allowed_signers").write_text(f"{closed}\n")
    assert both(folder / NEW) == (False, ["MANIFEST.sig"])
    assert "not in force at the time of signing" in verify_alone(folder / NEW).stdout


def test_another_time_of_signing_does_not_help_a_key_that_was_replaced(folder: Path) -> None:
    (folder / OLD / "MANIFEST.time").write_text("20240604093001Z\n")
    assert both(folder / OLD)[1] == ["MANIFEST.time"]


def test_a_version_without_its_proofs_is_not_believed(folder: Path) -> None:
    for name in PROOFS:
        (folder / NEW / name).unlink()
    assert both(folder / NEW) == (False, sorted(PROOFS))


def test_a_signature_for_another_fund_is_not_believed(folder: Path) -> None:
    done = verify_alone(folder / NEW, folder / NEW, "--principal", "F2")
    assert (done.returncode, "allowed_signers has no such key for F2" in done.stdout) == (1, True)


def test_the_verifier_says_when_it_is_called_without_signers_or_for_no_version(folder: Path, tmp_path: Path) -> None:
    done = verify_alone(folder / NEW, folder / NEW, "--signers", tmp_path / "none")
    assert (done.returncode, "cannot be read" in done.stderr) == (2, True)
    done = verify_alone(folder / NEW, folder, "--signers", folder / "allowed_signers")
    assert (done.returncode, done.stdout.splitlines()[0]) == (1, "MANIFEST: missing, or not in the form of a MANIFEST")


def forge(version: Path, change: Callable[[dict[str, object]], object]) -> list[str]:
    """Return what is said of a version whose statement was changed by somebody who has the key."""
    signer = Ed25519Signer(Ed25519PrivateKey.from_private_bytes(b"f" * 32))
    statement = json.loads((version / "release.json").read_text())
    statement["key"] = fingerprint_of(signer.public_key())
    change(statement)
    (version / "release.json").write_text(json.dumps(statement))
    sign_again(version, signer)
    (version.parent / "allowed_signers").write_text(f'{FUND} namespaces="openoutcomes-release" {signer.public_key()}\n')
    return verify_alone(version).stdout.splitlines()[:-1]


def test_a_forged_statement_that_is_consistent_passes_only_because_its_key_is_trusted(folder: Path) -> None:
    assert forge(folder / NEW, lambda statement: None) == []


LIES: dict[str, Callable[[dict[str, object]], object]] = {
    "passed its audit and was approved": lambda s: s["audit"].update(passed=False),  # type: ignore[attr-defined]
    "was approved": lambda s: s["approvals"].clear(),  # type: ignore[attr-defined]
    "is not in the log whose root it gives": lambda s: s["approvals"][0].update(event="0" * 64),  # type: ignore[index]
    "grown longer": lambda s: s["earlier"].update(merkle_root="0" * 64),  # type: ignore[attr-defined]
    "that version's own statement": lambda s: s["earlier"].update(manifest="0" * 64),  # type: ignore[attr-defined]
    "another version, log position or chain head": lambda s: s["pinned"].update(position=1),  # type: ignore[attr-defined]
    "names another version": lambda s: s.update(version="9.9.9"),
    "of another format": lambda s: s.update(format="other/1"),
    "does not have the shape": lambda s: s.pop("log"),
    "not the time that the statement gives": lambda s: s.update(signed_at="2030-01-01T00:00:00Z"),
    "shape of a release statement": lambda s: s.update(signed_at="soon"),
    "does not say that this MANIFEST": lambda s: s.update(manifest="0" * 64),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_statement_that_lies_is_found_out_even_when_the_right_key_signed_it(folder: Path, lie: str) -> None:
    assert lie in "\n".join(forge(folder / NEW, LIES[lie]))


@pytest.mark.parametrize("version", [OLD, NEW])
def test_the_pipeline_and_the_verifier_agree_on_what_is_whole(folder: Path, version: str) -> None:
    def found() -> list[str]:
        there = folder / version
        signers = (folder / "allowed_signers").read_bytes()
        result = verify_folder(lambda: [path.name for path in there.iterdir()], lambda name: (there / name).read_bytes(), signers=signers)
        return sorted({problem.path for problem in result.problems})

    assert found() == both(folder / version)[1] == []
    flip(folder / version / "projects.csv")
    flip(folder / version / "MANIFEST.time")
    assert found() == both(folder / version)[1] == ["MANIFEST.time", "projects.csv"]


def test_openssh_and_our_signer_write_the_same_signature_with_the_same_key(tmp_path: Path) -> None:
    key, content = tmp_path / "secrets" / "release.key", tmp_path / "content"
    assert make_signing_key(key)
    content.write_bytes(b"some bytes\n")
    done = run(f"ssh-keygen -Y sign -f {key} -n openoutcomes-release {content}", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "content.sig").read_bytes() == FileSigner(key).sign(content.read_bytes())
    public = run(f"ssh-keygen -y -f {key}", tmp_path).stdout.split()
    assert " ".join(public[:2]) == FileSigner(key).public_key()
    assert fingerprint_of(FileSigner(key).public_key()) in run(f"ssh-keygen -l -f {key}", tmp_path).stdout


def test_a_key_with_a_passphrase_is_refused_because_nobody_is_there_to_type_it(tmp_path: Path) -> None:
    key = tmp_path / "release.key"
    assert run(f"ssh-keygen -q -t ed25519 -N secret -f {key}", tmp_path).returncode == 0
    with pytest.raises(ConfigurationError, match="without a passphrase"):
        FileSigner(key).public_key()


def test_whoever_takes_the_files_from_the_site_verifies_them_by_the_same_line(tmp_path: Path) -> None:
    world = at("published")
    build_site(world.public, tmp_path / "site")
    version = tmp_path / "site" / "datasets" / FUND / OLD
    assert run(readme_line(version), version).returncode == 0
    world.public.objects[f"datasets/{FUND}/{OLD}/MANIFEST.sig"] = b"?"
    with pytest.raises(IntegrityError, match=r"MANIFEST\.sig is unreadable"):
        build_site(world.public, tmp_path / "other")
