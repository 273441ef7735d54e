"""An import over what is published already: what it would alter is held until somebody says why, and the rest goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.adapters.indigo_export import read_export
from pipeline.adapters.reader import ContainedReader
from pipeline.application import importing, releases
from pipeline.application.importing import Imported
from pipeline.errors import UsageError
from tests.factories import DEFINITIONS, World
from tests.indigo_twin import TWIN_FUND, Twin, make_twin, write_twin

PROJECT = "INDIGO-POJ-9000"


@contextmanager
def unseen(title: str, total: int) -> Iterator[Callable[[int], None]]:
    yield lambda done: None


def small_twin() -> Twin:
    """Return an export in which one project was paid in two quarters."""
    twin = make_twin(projects=3)
    paid = [
        row
        for row in twin.tables["projects_outcome_payments"]
        if row["project_id"] == PROJECT and row["type"] == "Actual" and row["start"] in ("2019-01", "2019-04")
    ]
    for number, row in enumerate(sorted(paid, key=lambda row: row["start"])):
        row["amount"] = str(1000 + number)
    twin.tables["projects_outcome_payments"] = paid
    return twin


def imported(world: World, twin: Twin, folder: Path, reason: str | None = None) -> Imported:
    folder.mkdir(parents=True, exist_ok=True)
    write_twin(folder, twin)
    services = world.services(reader=ContainedReader(DEFINITIONS, 1024, 60))
    return importing.import_indigo(services, read_export(folder), TWIN_FUND, unseen, reason)


def test_a_later_export_that_alters_published_quarters_is_held_until_it_has_a_reason(tmp_path: Path) -> None:
    world, twin = World(), small_twin()
    assert imported(world, twin, tmp_path).summary.returns_held == []
    candidate = releases.make(world.services(), TWIN_FUND)
    assert candidate is not None
    releases.approve(world.services("bob"), TWIN_FUND, candidate.version, str(candidate.manifest))
    releases.publish(world.services("worker"), TWIN_FUND, candidate.version)
    (first,) = [row for row in twin.tables["projects_outcome_payments"] if row["start"] == "2019-01"]
    first["amount"] = "999"

    again = imported(world, twin, tmp_path)

    assert (again.summary.returns_new, again.summary.returns_held, again.summary.returns_rejected) == (1, [f"{PROJECT}/2019-Q1/2"], [])
    assert f"1 alter published quarters and wait for a reason: {PROJECT}/2019-Q1/2" in again.lines
    with pytest.raises(UsageError, match="one of overpaid"):
        imported(world, twin, tmp_path, reason="because")
    assert imported(world, twin, tmp_path, reason="entered_wrong").summary.returns_held == []
    head = world.log.head()
    assert imported(world, twin, tmp_path).summary.returns_held == []
    assert world.log.head() == head
