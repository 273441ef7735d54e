"""Runs the whole way with a kill -9 before or after the k-th durable act, then runs it again, and prints the digest that each case ends in.

A program of its own: it imports everything once and forks a child per run, so that a sweep of a hundred kills does not pay a hundred imports.

    python crash_runner.py FOLDER SAMPLE CASE...        where CASE is `clean`, `before:K` or `after:K` of all acts, `before:append:K` or
                                                        `after:append:K` of the appends to the log, in each of which one step ends
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# Imported once, before any fork: the adapters import these at their first use, which would cost every child seconds.
import frictionless.resources  # noqa: F401
import great_expectations  # noqa: F401

from pipeline import bootstrap, queries
from pipeline.adapters import expectation_checks, frictionless_checks, reader, warehouse  # noqa: F401
from pipeline.application import register, releases, submissions
from pipeline.application.services import Services

FUND = "SYN-LCF"


class Killer:
    """Counts durable acts and kills the process at the one that was asked for."""

    def __init__(self, side: str, at: int, only: str = "") -> None:
        self.side, self.at, self.only = side, at, only
        self.acts = self.appends = 0

    @classmethod
    def parse(cls, case: str) -> Killer:
        side, *kind, at = case.split(":") if ":" in case else (case, "0")
        return cls(side, int(at), *kind)

    def around(self, name: str, act: Callable[[], Any]) -> Any:
        self.acts += 1
        self.appends += name == "append"
        is_there = (self.appends == self.at and name == "append") if self.only else self.acts == self.at
        if self.side == "before" and is_there:
            os.kill(os.getpid(), signal.SIGKILL)
        result = act()
        if self.side == "after" and is_there:
            os.kill(os.getpid(), signal.SIGKILL)
        return result


class Deadly:
    """A log or store whose writes go through the killer."""

    def __init__(self, real: Any, killer: Killer) -> None:
        self._real, self._killer = real, killer

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._real, name)
        if name not in ("append", "put", "replace"):
            return value
        return lambda *given, **named: self._killer.around(name, lambda: value(*given, **named))


def run_whole_way(environment: Mapping[str, str], sample: Path, killer: Killer) -> None:
    """Load the register, take in every delivery and correction, and publish a release after each, as one process that may die anywhere."""
    bootstrap.initialise(bootstrap.Settings.parse(environment))
    with bootstrap.open_services(environment, "steward.one") as opened:
        services = dataclasses.replace(
            opened, log=Deadly(opened.log, killer), restricted=Deadly(opened.restricted, killer), public=Deadly(opened.public, killer)
        )
        register.load_register(services, sample / "register")
        _take_in(services, sample / "deliveries")
        _release(services, nth=1)
        _take_in(services, sample / "corrections")
        _release(services, nth=2)


def _take_in(services: Services, folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            submissions.submit(services, path, name=path.relative_to(folder))


def _release(services: Services, *, nth: int) -> None:
    """Publish the fund's n-th release. One that an earlier run published is published again, which finishes what stands beside it.

    Made again now, it would be another release, of what has come in since.
    """
    known = queries.releases(services.log, FUND)
    published = [item.version for item in known.all if item.state == "published"]
    if len(published) >= nth:
        releases.publish(services, FUND, published[nth - 1])
        return
    waiting = known.open
    made = waiting if waiting is not None and waiting.state == "approved" else releases.make(services, FUND)
    if made is None:
        return
    if made.state == "audited":
        made = releases.approve(dataclasses.replace(services, actor="steward.two"), FUND, made.version, str(made.manifest))
    releases.publish(services, FUND, made.version)


def outcome(environment: Mapping[str, str]) -> Mapping[str, Any]:
    """Return what a finished run left behind: the manifests, the number of events, and whether the chain holds."""
    with bootstrap.open_services(environment) as services:
        state = queries.releases(services.log, FUND)
        return {
            "manifests": {item.version: item.manifest for item in state.all if item.state == "published"},
            "events": services.log.head().position,
            "head": services.log.head().hash,
            "chain": str(services.log.verify()),
            "public": sorted(services.public.names()),
        }


def _in_child(work: Callable[[], Any], answer: Path) -> int:
    """Run work in a forked child; return its wait status. What it returns is left in `answer`."""
    child = os.fork()
    if child == 0:
        try:
            answer.write_text(json.dumps(work()), "utf-8")
        except BaseException:
            traceback.print_exc()
            os._exit(70)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def run_case(folder: Path, sample: Path, case: str) -> Mapping[str, Any]:
    """Kill a run where the case says, run again until the end, and return what it left behind."""
    home = folder / case.replace(":", "-")
    shutil.copytree(folder / "seed", home)
    environment = {**os.environ, "OUTCOMES_HOME": str(home), "OUTCOMES_NOW": "2024-06-30T12:00:00+00:00"}
    answer = home / "answer.json"
    killer = Killer.parse(case)

    def once() -> Any:
        run_whole_way(environment, sample, killer)
        return {"acts": killer.acts, "appends": killer.appends}

    status = _in_child(once, answer)
    was_killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    acts = {"acts": None} if was_killed else json.loads(answer.read_text("utf-8"))
    if was_killed:
        again = _in_child(lambda: run_whole_way(environment, sample, Killer("", 0)), answer)
        if again:
            raise SystemExit(f"{case}: the run after the kill ended with {again}")
    elif status:
        raise SystemExit(f"{case}: the run ended with {status}")
    if _in_child(lambda: dict(outcome(environment)), answer):
        raise SystemExit(f"{case}: the outcome could not be read")
    found = json.loads(answer.read_text("utf-8"))
    shutil.rmtree(home)
    return {"case": case, "was_killed": was_killed, **acts, **found}


def main(arguments: list[str]) -> None:
    """Run the cases and print one JSON line for each."""
    folder, sample = Path(arguments[0]), Path(arguments[1])
    seed = folder / "seed"
    if not seed.exists():
        bootstrap.initialise(bootstrap.Settings.parse({**os.environ, "OUTCOMES_HOME": str(seed)}))
        # The log's own file is made by each run: only the key has to be the same for all.
        for path in seed.glob("log.sqlite*"):
            path.unlink()
    for case in arguments[2:]:
        print(json.dumps(run_case(folder, sample, case)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
