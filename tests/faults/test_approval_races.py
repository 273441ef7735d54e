"""Many people approve one release at once, twice, and while it is drafted over: one release comes of it, and nobody approved their own or unseen.

`make test` runs some races; `make faults` runs 2,000. The log is a real SQLite file, opened by each of the racers for themselves.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest

from pipeline.adapters.destruction import RestrictedFolderStore
from pipeline.adapters.event_log import migrate_log, open_log
from pipeline.adapters.folder_store import FolderStore
from pipeline.application import releases
from pipeline.application.services import Services
from pipeline.domain import release
from pipeline.domain.events import Recorded, ReleaseApproved, ReleaseBuilt, ReleaseDrafted, ReleasePublished
from pipeline.errors import ConflictError, NotAllowedError
from pipeline.ports import Append
from tests.factories import FUND, World, at, manifest_of, take_in

STALE = "0" * 64


@dataclass
class Race:
    """One fund on disk whose first release is audited, with a correction in the log that a new draft would bring."""

    folder: Path
    world: World
    seen: dict[str, set[str]] = field(default_factory=dict)

    @contextmanager
    def services(self, actor: str, needed: int = 1) -> Iterator[Services]:
        with open_log(f"sqlite:///{self.folder / 'log.sqlite'}") as log:
            stores: Any = {"restricted": RestrictedFolderStore(self.folder / "restricted"), "public": FolderStore(self.folder / "public")}
            yield replace(self.world.services(actor), log=log, approvals_needed=needed, **stores)

    def approve(self, actor: str, manifest: str, needed: int) -> None:
        with self.services(actor, needed) as services:
            self.seen.setdefault(actor, set()).add(manifest)
            releases.approve(services, FUND, "1.0.0", manifest)

    def draft_over(self) -> None:
        with self.services("ann") as services:
            releases.make(services, FUND)

    def publish(self) -> None:
        with self.services("worker") as services:
            releases.publish(services, FUND, "1.0.0")


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Race:
    """Give a fund on disk to copy: a whole history, as a log of documents and two folders."""
    world = at("audited")
    take_in(world, people=13)
    folder = tmp_path_factory.mktemp("course")
    race = Race(folder, world)
    migrate_log(f"sqlite:///{folder / 'log.sqlite'}")
    with race.services("ann") as services:
        for recorded in world.events:
            services.log.append(
                [Append(recorded.stream, recorded.version - 1, [recorded.event])], actor=recorded.actor, recorded_at=recorded.recorded_at
            )
        assert services.log.head() == world.log.head()
        for name, content in world.restricted.objects.items():
            services.restricted.put(name, content)
    return race


def run(course: Race, folder: Path, chance: random.Random) -> list[Recorded]:
    """Run one race and, when nobody has won it, let two people approve what stands then; return the events of that release."""
    shutil.copytree(course.folder, folder)
    race = Race(folder, course.world)
    manifest, needed = manifest_of(course.world), chance.choice([1, 2])
    works: list[Callable[[], None]] = [lambda actor=actor: race.approve(actor, manifest, needed) for actor in ("bob", "bob", "cleo", "ann", "team")]  # type: ignore[misc]
    works.append(lambda: race.approve("dora", STALE, needed))
    works += [race.publish, race.publish]
    if chance.random() < 0.5:
        works.append(race.draft_over)
    chance.shuffle(works)
    together(works)
    with race.services("worker") as services:
        state = releases.load(services, FUND).release("1.0.0")
        if state.state not in ("approved", "published"):
            candidate = releases.audit(services, FUND, releases.build(services, FUND, "1.0.0").version)
            for actor in ("bob", "cleo"):
                if releases.load(services, FUND).release("1.0.0").state == "audited":
                    race.approve(actor, str(candidate.manifest), needed)
    together([race.publish, race.publish])
    with race.services("worker") as services:
        told = services.log.read_stream(release.release_stream(FUND))
        events = [recorded for recorded in told if getattr(recorded.event, "version", "") == "1.0.0"]
        assert services.log.verify() is None
        published = releases.load(services, FUND).release("1.0.0")
        public = services.public.get(f"{releases.version_folder(FUND, '1.0.0')}/MANIFEST")
        assert sha256(public).hexdigest() == published.manifest
        check(events, race, needed, str(published.manifest))
    shutil.rmtree(folder)
    return events


def together(works: list[Callable[[], None]]) -> None:
    """Do several things at the same instant; being told that one may not, or was late, is an answer."""
    start, unexpected = Barrier(len(works)), []

    def one(work: Callable[[], None]) -> None:
        start.wait()
        try:
            work()
        except (NotAllowedError, ConflictError):
            pass
        except BaseException as error:
            unexpected.append(error)

    threads = [Thread(target=one, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    assert not unexpected, unexpected


def check(events: list[Recorded], race: Race, needed: int, manifest: str) -> None:
    """Fail unless one release came out, approved by enough people who saw its bytes and had no part in them."""
    built, drafter, approvals = "", "", []
    for recorded in events:
        event = recorded.event
        if isinstance(event, ReleaseDrafted):
            built, drafter, approvals = "", recorded.actor, []
        elif isinstance(event, ReleaseBuilt):
            built = event.manifest
        elif isinstance(event, ReleaseApproved):
            assert recorded.actor not in (drafter, "team", *approvals)
            assert event.manifest == built
            assert event.manifest in race.seen[recorded.actor]
            approvals.append(recorded.actor)
    assert sum(isinstance(recorded.event, ReleasePublished) for recorded in events) == 1
    assert (len(approvals), built) == (needed, manifest)


def race_many(course: Race, folder: Path, count: int) -> tuple[int, int]:
    """Run races; return how many of them were drafted over, and how many were not."""
    chance = random.Random(count)
    rounds = [sum(isinstance(recorded.event, ReleaseDrafted) for recorded in run(course, folder / str(number), chance)) for number in range(count)]
    return sum(number > 1 for number in rounds), sum(number == 1 for number in rounds)


def test_of_twenty_races_each_ends_in_one_release(course: Race, tmp_path: Path) -> None:
    over, not_over = race_many(course, tmp_path, 20)
    assert over + not_over == 20
    assert not_over > 0


@pytest.mark.faults
def test_of_two_thousand_races_each_ends_in_one_release(course: Race, tmp_path: Path) -> None:
    over, not_over = race_many(course, tmp_path, 2000)
    assert over + not_over == 2000
    assert min(over, not_over) > 100
