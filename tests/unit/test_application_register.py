"""The verbs of the register, over an installation in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.application import refusals, register
from pipeline.application.register import RegisterLoad, fund_record, load_tables, project_records, sole_fund
from pipeline.application.services import read_ledger
from pipeline.domain.events import ProjectRegistered, ProjectRevised
from pipeline.domain.findings import Finding
from pipeline.errors import NotAllowedError, NotFoundError, StaleStreamError
from pipeline.stages.intake import content_name
from tests.factories import DEFINITIONS, FUND, RacingLog, Row, World, register_rows, register_tables


def load(world: World, rows: dict[str, list[Row]] | None = None, found: Sequence[Finding] = ()) -> RegisterLoad:
    world.register = (register_tables(rows or register_rows()), found)
    return register.load_register(world.services("steward"), Path())


def changed(table: str, place: int = 0, **values: Any) -> dict[str, list[Row]]:
    rows = register_rows()
    rows[table][place] |= values
    return rows


def test_a_register_enters_the_log_fund_first_then_its_projects_in_order() -> None:
    world = World()
    loaded = load(world, register_rows("P2", "P1"))
    assert [recorded.stream for recorded in world.events] == ["fund/F1", "project/P1", "project/P2"]
    assert (loaded.fund_id, loaded.registered, loaded.revised, loaded.unchanged, loaded.is_loaded) == (FUND, ["P1", "P2"], [], 0, True)
    assert {recorded.actor for recorded in world.events} == {"steward"}


def test_loading_the_same_again_appends_nothing() -> None:
    world = World()
    load(world)
    again = load(world)
    assert (again.registered, again.revised, again.unchanged, again.is_loaded) == ([], [], 2, True)
    assert len(world.events) == 3


def test_the_order_of_rows_in_the_files_is_no_change() -> None:
    world = World()
    load(world)
    rows = {name: list(reversed(found)) for name, found in register_rows().items()}
    assert load(world, rows).unchanged == 2
    assert len(world.events) == 3


def test_a_change_in_one_project_revises_that_project_only() -> None:
    world = World()
    load(world)
    before = read_ledger(world.services()).projects
    loaded = load(world, changed("projects", 1, stage="complete"))
    event = world.events[-1].event
    assert isinstance(event, ProjectRevised)
    assert (loaded.revised, loaded.unchanged, world.names[3:]) == (["P2"], 1, ["project.revised"])
    assert (event.project_id, event.replaces) == ("P2", before["P2"])
    assert read_ledger(world.services()).projects == {**before, "P2": event.record}


def test_the_record_before_stays_readable_under_its_own_hash() -> None:
    world = World()
    load(world)
    load(world, changed("projects", stage="complete"))
    event = world.events[-1].event
    assert isinstance(event, ProjectRevised)
    assert {content_name(event.record), content_name(event.replaces)} <= set(world.restricted.objects)


def test_a_change_of_the_fund_or_its_payers_registers_the_fund_again() -> None:
    world = World()
    load(world)
    load(world, changed("payers", name="Another council"))
    assert world.names[3:] == ["fund.registered"]
    assert fund_record(world.services(), read_ledger(world.services()), FUND)["payers"][0]["name"] == "Another council"


def test_a_new_project_is_registered_beside_the_others() -> None:
    world = World()
    load(world, register_rows("P1"))
    loaded = load(world, register_rows("P1", "P2"))
    assert (loaded.registered, loaded.unchanged) == (["P2"], 1)
    assert isinstance(world.events[-1].event, ProjectRegistered)


def test_a_project_that_is_left_out_stays_as_it_was() -> None:
    world = World()
    load(world)
    before = read_ledger(world.services())
    assert load(world, register_rows("P1")).unchanged == 1
    assert read_ledger(world.services()) == before


def test_a_blocking_finding_in_the_files_loads_nothing() -> None:
    world = World()
    finding = DEFINITIONS.rule("R-407").found("payers", 2, "name")
    loaded = load(world, found=[finding])
    assert (loaded.is_loaded, loaded.fund_id, loaded.findings, world.events) == (False, "", [finding], [])


def test_a_blocking_finding_in_what_the_files_say_loads_nothing() -> None:
    world = World()
    loaded = load(world, changed("metrics", project_id="P7"))
    assert ("R-422", "metrics", 2, "project_id") in [(found.rule, found.table, found.row, found.column) for found in loaded.findings]
    assert (loaded.is_loaded, world.events) == (False, [])


def test_a_metric_that_gets_another_meaning_loads_nothing() -> None:
    world = World()
    load(world)
    for _ in range(2):
        loaded = load(world, changed("metrics", definition="Something easier."))
        assert ([found.rule for found in loaded.findings], loaded.is_loaded) == (["R-441"], False)
    assert world.names[3:] == ["register.refused"]
    assert "Something easier" not in world.payloads


def test_a_refused_load_stands_until_the_register_is_loaded_again() -> None:
    world = World()
    load(world)
    load(world, changed("metrics", definition="Something easier."))
    assert refusals.standing(world.services(), FUND) is not None
    for _ in range(2):
        load(world)
    assert world.names[3:] == ["register.refused", "register.confirmed"]
    assert refusals.standing(world.services(), FUND) is None
    load(world, changed("metrics", definition="Something else."))
    load(world, changed("funds", name="Another name"))
    assert world.names[5:] == ["register.refused", "fund.registered", "register.confirmed"]
    assert refusals.standing(world.services(), FUND) is None


def test_a_load_that_is_broken_in_itself_is_no_refusal() -> None:
    world = World()
    load(world)
    load(world, changed("metrics", project_id="P7"))
    assert world.names[3:] == []


def test_a_refusal_that_races_with_another_append_is_recorded_after_it() -> None:
    log = RacingLog()
    world = World(log=log)
    load(world)
    log.others = [lambda: load(world, changed("funds", name="Another name"))]
    load(world, changed("metrics", definition="Something easier."))
    assert world.names[3:] == ["fund.registered", "register.refused"]


def test_findings_that_do_not_block_are_told_and_the_register_is_loaded() -> None:
    world = World()
    note = DEFINITIONS.rule("R-410").found(count="1")
    load(world)
    loaded = load(world, changed("plans", expected_quantity=21), [note])
    assert ([found.rule for found in loaded.findings], loaded.revised) == (["R-445", "R-410"], ["P1"])


def test_a_project_of_another_fund_is_not_taken_over() -> None:
    world = World()
    load(world)
    rows = changed("funds", fund_id="F2")
    rows["projects"] = [row | {"fund_id": "F2"} for row in rows["projects"]]
    with pytest.raises(NotAllowedError, match="Project P1 belongs to fund F1; a project keeps its fund"):
        load(world, rows)
    assert len(world.events) == 3


def test_two_who_load_at_once_do_not_register_a_project_twice() -> None:
    log = RacingLog()
    world = World(log=log)
    log.others = [lambda: load(world)]
    with pytest.raises(StaleStreamError, match="fund/F1 stands at version 1, not at 0"):
        load(world)
    assert world.names == ["fund.registered", "project.registered", "project.registered"]


def test_whoever_loads_after_the_ledger_was_read_makes_the_load_fail() -> None:
    """The other load goes through between the reading of the ledger and that of the stream: the hardest moment."""
    world = World()
    load(world)
    services = world.services()
    other, mine = register_tables(changed("projects", stage="complete")), register_tables(changed("projects", stage="contracted"))

    class Overtaken:
        """A store in which nothing is slow but the first look at it."""

        is_first = True

        def __getattr__(self, name: str) -> Any:
            if self.is_first:
                type(self).is_first = False
                load_tables(services, other)
            return getattr(world.restricted, name)

    with pytest.raises(StaleStreamError, match="project/P1 stands at version 2, not at 1"):
        load_tables(world.services(restricted=Overtaken()), mine)
    assert world.names.count("project.revised") == 1


def test_records_are_read_back_by_project_in_order() -> None:
    world = World()
    load(world, register_rows("P2", "P1"))
    records = project_records(world.services(), read_ledger(world.services()), FUND)
    found = [(name, record["project"]["name"], len(record["plans"])) for name, record in records.items()]
    assert found == [("P1", "Project P1", 3), ("P2", "Project P2", 3)]


def test_a_fund_that_is_not_registered_is_not_found() -> None:
    world = World()
    with pytest.raises(NotFoundError, match="There is no fund F1 in the register"):
        fund_record(world.services(), read_ledger(world.services()), FUND)


def test_the_only_fund_need_not_be_named() -> None:
    world = World()
    with pytest.raises(NotFoundError, match="Registered: none yet"):
        sole_fund(read_ledger(world.services()), None)
    load(world)
    assert [sole_fund(read_ledger(world.services()), name) for name in (None, FUND)] == [FUND, FUND]
    with pytest.raises(NotFoundError, match=r"Registered: F1\."):
        sole_fund(read_ledger(world.services()), "F7")


def test_of_several_funds_one_must_be_named() -> None:
    world = World()
    load(world)
    rows = register_rows("P3")
    rows["funds"][0] |= {"fund_id": "F2"}
    rows["projects"][0] |= {"fund_id": "F2"}
    load(world, rows)
    with pytest.raises(NotFoundError, match="Registered: F1, F2"):
        sole_fund(read_ledger(world.services()), None)
    assert read_ledger(world.services()).records("F2").keys() == {"P3"}
