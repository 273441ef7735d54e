"""Somebody alters the log or a release: every single byte, cut, swap and deletion is found, and the first bad place is named.

`make test` tries some hundreds, `make faults` ten thousand. Each alteration comes from a number, so that one that slipped through can be tried again.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import cache
from pathlib import Path

import pytest

from pipeline.adapters.event_log import RecorderLog, migrate_log, open_log
from pipeline.application import proofs
from pipeline.ports import Append, Head
from pipeline.stages.verification import verify_folder
from pipeline.verifier import PROOFS
from tests.contract.given import WHO, received
from tests.factories import FUND, World, at, published_objects

SIGNERS = f"datasets/{FUND}/allowed_signers"
COLUMNS = ("originator_id", "originator_version", "topic", "state")
Files = dict[str, bytes]


@cache
def release() -> Files:
    return dict(sorted(published_objects(at("published")).items()))


@cache
def signers() -> bytes:
    return at("published").public.objects[SIGNERS]


def other_byte(chance: random.Random, content: bytes) -> bytes:
    place = chance.randrange(len(content))
    return content[:place] + bytes([(content[place] + chance.randrange(1, 256)) % 256]) + content[place + 1 :]


def alter_release(chance: random.Random) -> tuple[str, Files, set[str]]:
    """Return what was done, the altered files, and the files that were touched."""
    files = dict(release())
    path = chance.choice(list(files))
    kind = chance.choice(("byte", "cut", "swap", "deletion", "addition"))
    if kind == "byte":
        files[path] = other_byte(chance, files[path])
    elif kind == "cut":
        files[path] = files[path][: chance.randrange(len(files[path]))]
    elif kind == "swap":
        other = chance.choice([name for name in files if files[name] != files[path]])
        files[path], files[other] = files[other], files[path]
        return kind, files, {path, other}
    elif kind == "deletion":
        del files[path]
    else:
        path = f"extra/{path}"
        files[path] = b"x"
    return kind, files, {path}


def problems(files: Mapping[str, bytes]) -> list[str]:
    """Return the files that a stranger with the publisher's signers is told of, in order."""
    return [problem.path for problem in verify_folder(lambda: list(files), files.__getitem__, signers=signers()).problems]


def check_releases(count: int, first: int = 0) -> None:
    done = set()
    for number in range(first, first + count):
        kind, files, touched = alter_release(random.Random(number))
        named = problems(OrMissing(files))
        done.add(kind)
        # A file and its signature that disagree are one place: nobody can say which of the two was altered.
        places = touched | {f"{path}.sig" for path in touched}
        assert named, f"alteration {number} of a release, {kind} of {touched}, was not found"
        assert set(named) & places, f"alteration {number} of a release, {kind} of {touched}, was taken for one of {named}"
    assert len(done) == 5


class OrMissing(dict[str, bytes]):
    """Files that answer as a folder does when there is none."""

    def __missing__(self, path: str) -> bytes:
        raise FileNotFoundError(path)


Row = tuple[int, str, int, str, bytes]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """Give the rows of a log of forty events in five streams."""
    path = tmp_path_factory.mktemp("log") / "log.sqlite"
    migrate_log(f"sqlite:///{path}")
    with open_log(f"sqlite:///{path}") as log:
        for number in range(40):
            stream = f"submission/PROJECT-{number % 5}/2024-Q1"
            log.append([Append(stream, number // 5, [received(number + 1)])], **WHO)
    with closing(sqlite3.connect(path)) as file:
        return list(file.execute(f"SELECT rowid, {', '.join(COLUMNS)} FROM stored_events ORDER BY rowid"))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[tuple[RecorderLog, Path]]:
    path = tmp_path / "log.sqlite"
    migrate_log(f"sqlite:///{path}")
    with open_log(f"sqlite:///{path}") as opened:
        yield opened, path


def write_rows(path: Path, rows: list[Row]) -> None:
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("PRAGMA synchronous=OFF")
        file.execute("DELETE FROM stored_events")
        file.executemany(f"INSERT INTO stored_events (rowid, {', '.join(COLUMNS)}) VALUES (?, ?, ?, ?, ?)", rows)


def alter_log(chance: random.Random, rows: list[Row]) -> tuple[str, list[Row], int]:
    """Return what was done, the altered rows, and the position of the first event that was touched."""
    altered, place = list(rows), chance.randrange(len(rows))
    kind = chance.choice(("byte", "cut", "swap", "deletion", "deletion of an event", "version", "stream"))
    row, stream, version, topic, state = rows[place]
    touched = place
    if kind == "byte":
        altered[place] = (row, stream, version, topic, other_byte(chance, state))
    elif kind == "cut":
        altered[place] = (row, stream, version, topic, state[: chance.randrange(len(state))])
    elif kind == "swap":
        other = chance.choice([number for number in range(len(rows)) if number != place and rows[number][4] != state])
        altered[place], altered[other] = (*rows[place][:4], rows[other][4]), (*rows[other][:4], state)
        touched = min(place, other)
    elif kind == "deletion":
        del altered[place]
    elif kind == "deletion of an event":
        touched = place - place % 2
        del altered[touched : touched + 2]
    elif kind == "version":
        altered[place] = (row, stream, version + 1000 * chance.randrange(1, 9), topic, state)
    else:
        text = chance.choice((f"{stream}0", stream.swapcase(), stream[:-1]))
        altered[place] = (row, text, version, topic, state) if chance.random() < 0.5 else (row, stream, version, f"{topic}0", state)
    return kind, altered, touched // 2 + 1


def check_log(log: RecorderLog, path: Path, rows: list[Row], head: Head, count: int) -> None:
    done = set()
    for number in range(count):
        kind, altered, position = alter_log(random.Random(number), rows)
        write_rows(path, altered)
        fault = log.verify(head)
        done.add(kind)
        assert fault is not None, f"alteration {number} of the log, {kind} at position {position}, was not found"
        assert fault.position == position, f"alteration {number} of the log, {kind} at position {position}, was named at {fault.position}"
    assert len(done) == 7


def noted_head(log: RecorderLog, path: Path, rows: list[Row]) -> Head:
    write_rows(path, rows)
    return log.head()


def test_some_alterations_of_a_release_are_all_found_and_their_place_is_named() -> None:
    check_releases(150)


def test_some_alterations_of_the_log_are_all_found_and_the_first_bad_position_is_named(log: tuple[RecorderLog, Path], rows: list[Row]) -> None:
    check_log(*log, rows, noted_head(*log, rows), 150)


def test_clean_releases_and_logs_raise_no_alarm(log: tuple[RecorderLog, Path], rows: list[Row]) -> None:
    head = noted_head(*log, rows)
    for _ in range(10):
        assert problems(release()) == []
        assert log[0].verify(head) is None


def world_with_another_byte(number: int) -> tuple[World, str]:
    """Return an installation in whose public store one byte of anything that was published is another."""
    world, chance = at("published"), random.Random(number)
    name = chance.choice(sorted(world.public.objects))
    world.public.objects[name] = other_byte(chance, world.public.objects[name])
    return world, name


def check_worlds(count: int) -> None:
    for number in range(count):
        world, name = world_with_another_byte(number)
        proof = proofs.verify(world.services(), FUND, with_rebuild=False)
        assert not proof.is_whole, f"alteration {number}, of {name}, was not found"
        named = {problem.path for _, found in proof.versions for problem in found.problems}
        path = name.rpartition("/")[2]
        if name == SIGNERS:
            assert not proof.signers_stand, (number, name)
        else:
            assert named & {path, f"{path}.sig"} or list(proof.lists) == [name], (number, name)


def test_some_altered_bytes_of_the_public_store_are_found_on_the_installation_too() -> None:
    check_worlds(40)


def test_every_kind_of_file_is_among_those_that_are_altered() -> None:
    assert {"MANIFEST", "README.md", "datapackage.json", "projects.csv", "projects.parquet", *PROOFS} <= release().keys()


@pytest.mark.faults
def test_five_thousand_alterations_of_a_release_are_all_found_and_their_place_is_named() -> None:
    check_releases(5000, first=1000)


@pytest.mark.faults
def test_five_thousand_alterations_of_the_log_are_all_found_and_the_first_bad_position_is_named(
    log: tuple[RecorderLog, Path], rows: list[Row]
) -> None:
    check_log(*log, rows, noted_head(*log, rows), 5000)


@pytest.mark.faults
def test_a_thousand_clean_checks_raise_no_alarm(log: tuple[RecorderLog, Path], rows: list[Row]) -> None:
    head = noted_head(*log, rows)
    for _ in range(500):
        assert problems(release()) == []
        assert log[0].verify(head) is None
