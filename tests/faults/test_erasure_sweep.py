"""Kill -9 before and after every durable act of an erasure: run again, it always ends the same, and the person is in no byte of the workspace.

A real installation over real uploads: workbooks and zips, accepted, replaced and refused, with copies in the inbox and a published release.
`make test` runs a spread of kills; `make faults` runs every one,.
"""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import os
import shutil
import signal
import traceback
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import bootstrap, queries
from pipeline.adapters.definitions import find_definitions, load_definitions
from pipeline.application import erasure, proofs, register, releases, submissions
from pipeline.domain.quarters import Quarter
from pipeline.errors import ErasedError
from pipeline.samples import write_sample

FUND, PROJECT = "SYN-LCF", "SYN-P02"
REFERENCE = "P02-0000007"
ENCODINGS = ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le")
ACTS = ("append", "put", "replace", "destroy")


class Killer:
    """Counts durable acts and kills the process before or after the one that was asked for."""

    def __init__(self, side: str = "", at: int = 0) -> None:
        self.side, self.at, self.acts = side, at, 0

    def around(self, act: Callable[[], Any]) -> Any:
        self.acts += 1
        if (self.side, self.at) == ("before", self.acts):
            os.kill(os.getpid(), signal.SIGKILL)
        result = act()
        if (self.side, self.at) == ("after", self.acts):
            os.kill(os.getpid(), signal.SIGKILL)
        return result


class Deadly:
    """A log or store whose durable acts go through the killer."""

    def __init__(self, real: Any, killer: Killer) -> None:
        self._real, self._killer = real, killer

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._real, name)
        return value if name not in ACTS else lambda *given, **named: self._killer.around(lambda: value(*given, **named))


def environment_of(home: Path) -> dict[str, str]:
    return {"OUTCOMES_HOME": str(home), "OUTCOMES_NOW": "2024-06-30T12:00:00+00:00", "OUTCOMES_ACTOR": "steward.one"}


def prepare(home: Path, sample: Path) -> None:
    """Take in every return, corrections and a broken one too, through the inbox, and publish a release."""
    environment = environment_of(home)
    bootstrap.initialise(bootstrap.Settings.parse(environment))
    inbox = bootstrap.inbox_of(environment)
    with bootstrap.open_services(environment) as services:
        register.load_register(services, sample / "register")
        for folder in ("deliveries", "broken", "corrections"):
            shutil.copytree(sample / folder, inbox, dirs_exist_ok=True)
        for delivery in queries.deliveries(services.log, inbox):
            submissions.submit(services, delivery.path, delivery.key, reason="other")
        # What somebody sent without saying whose it is.
        stray = home / "results.zip"
        shutil.copyfile(next((sample / "deliveries" / PROJECT).rglob("*.zip")), stray)
        with zipfile.ZipFile(stray, "a") as archive:
            archive.writestr("readme.txt", "as agreed")
        submissions.submit(services, stray, name=Path("results.zip"))
        stray.unlink()
        made = releases.make(services, FUND)
        assert made is not None
        releases.approve(dataclasses.replace(services, actor="steward.two"), FUND, made.version, str(made.manifest))
        releases.publish(services, FUND, made.version)


def erase(home: Path, killer: Killer) -> dict[str, int]:
    environment = environment_of(home)
    with bootstrap.open_services(environment) as opened:
        deadly: dict[str, Any] = {name: Deadly(getattr(opened, name), killer) for name in ("log", "restricted", "public")}
        erasure.erase(dataclasses.replace(opened, **deadly), PROJECT, REFERENCE, "requested_by_person", bootstrap.inbox_of(environment))
    return {"acts": killer.acts}


def outcome(home: Path) -> Mapping[str, Any]:
    """Return what stands in the end: the log, the sealed objects, the public files, and what is said of the release."""
    environment = environment_of(home)
    with bootstrap.open_services(environment) as services:
        try:
            proofs.rebuild(services, FUND, "1.0.0")
            rebuilt = "built again"
        except ErasedError as error:
            rebuilt = str(error)
        return {
            "head": services.log.head().hash,
            "chain": str(services.log.verify()),
            "sealed": list(services.restricted.names()),
            "public": {name: services.public.get(name).hex()[:64] for name in services.public.names()},
            "whole": proofs.verify(services, FUND).is_whole,
            "rebuilt": rebuilt,
            "remaining": [one.remaining for one in erasure.certificates(services)],
            "inbox": sorted(path.name for path in bootstrap.inbox_of(environment).rglob("*") if path.is_file()),
        }


def in_child(work: Callable[[], Any], answer: Path) -> Any:
    """Run work in a forked child; return what it returned, or None when it was killed."""
    child = os.fork()
    if child == 0:
        try:
            answer.write_text(json.dumps(work()), "utf-8")
        except BaseException:
            traceback.print_exc()
            os._exit(70)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return None
    assert status == 0, f"the child ended with {status}"
    return json.loads(answer.read_text("utf-8"))


def signs_of(home: Path) -> list[bytes]:
    """Return how the reference and the pseudonym may be written."""
    with bootstrap.open_services(environment_of(home)) as services:
        pseudonym = str(services.pseudonymiser.pseudonyms(PROJECT, "participant", pa.array([REFERENCE]))[0])
    signs = []
    for name in (REFERENCE, pseudonym):
        signs += [name.encode(encoding) for encoding in ENCODINGS]
        signs += [name.encode().hex().encode(), name.encode()[::-1]]
        # Of base64 what does not depend on the neighbours, at each of the three places at which it may begin.
        signs += [base64.b64encode(b"x" * shift + name.encode())[4 if shift else 0 : -4] for shift in range(3)]
    return signs


def contents(path: Path) -> Iterator[bytes]:
    """Yield a file's bytes and, where they are packed, what is in them."""
    content = path.read_bytes()
    yield content
    yield from packed(content)


def packed(content: bytes) -> Iterator[bytes]:
    if content.startswith(b"PAR1"):
        yield json.dumps(pq.read_table(pa.BufferReader(content)).to_pylist(), default=str).encode()
    elif content.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                member = archive.read(name)
                yield member
                yield from packed(member)


def traces(home: Path) -> list[str]:
    """Return the files of a workspace in which somebody can still be found: the key is left out, because it names nobody by itself."""
    signs = signs_of(home)
    files = [path for path in home.rglob("*") if path.is_file() and path.name != "pseudonym.key"]
    assert len(files) > 30
    return [str(path.relative_to(home)) for path in files if any(sign in content for content in contents(path) for sign in signs)]


@pytest.fixture(scope="module")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("erasure")
    sample = folder / "sample"
    definitions = load_definitions(find_definitions())
    write_sample(sample, definitions=definitions, projects=2, quarters=2, participants=120, seed=1, first_quarter=Quarter.parse("2023-Q3"))
    home = folder / "seed"
    in_child(lambda: prepare(home, sample), folder / "answer.json")
    return home


def run(seed: Path, folder: Path, side: str = "", at: int = 0) -> tuple[Mapping[str, Any], int | None]:
    """Erase with a kill, erase again, and return what stands; with the number of acts when nothing was killed."""
    home = folder / f"{side}-{at}"
    shutil.copytree(seed, home)
    answer = folder / "answer.json"
    first = in_child(lambda: erase(home, Killer(side, at)), answer)
    if side:
        assert first is None, f"nothing was killed {side} act {at}"
        in_child(lambda: erase(home, Killer()), answer)
    found = in_child(lambda: dict(outcome(home)), answer)
    found["traces"] = in_child(lambda: traces(home), answer)
    shutil.rmtree(home)
    return found, first["acts"] if first else None


def sweep(seed: Path, folder: Path, step: int) -> int:
    """Kill at every `step`-th act, on both sides; return how many kills there were."""
    clean, acts = run(seed, folder)
    assert acts is not None
    assert clean["traces"] == []
    assert (clean["chain"], clean["whole"], clean["remaining"]) == ("None", True, [[]])
    assert "can be verified and no longer rebuilt" in clean["rebuilt"]
    kills = 0
    for at in range(1, acts + 1, step):
        for side in ("before", "after"):
            found, _ = run(seed, folder, side, at)
            assert found == clean, f"{side} act {at}"
            kills += 1
    return kills


def test_before_the_erasure_the_person_is_found_in_uploads_facts_and_inbox(seed: Path, tmp_path: Path) -> None:
    found = in_child(lambda: traces(seed), tmp_path / "answer.json")
    assert sum(name.startswith("restricted/") for name in found) > 4
    assert any(name.startswith("inbox/") for name in found)
    assert not any(name.startswith(("public/", "log")) for name in found)


def test_killed_at_a_spread_of_acts_an_erasure_ends_the_same_and_the_person_is_in_no_byte(seed: Path, tmp_path: Path) -> None:
    assert sweep(seed, tmp_path, step=7) >= 4


@pytest.mark.faults
def test_killed_at_every_act_an_erasure_ends_the_same_and_the_person_is_in_no_byte(seed: Path, tmp_path: Path) -> None:
    assert sweep(seed, tmp_path, step=1) >= 20
