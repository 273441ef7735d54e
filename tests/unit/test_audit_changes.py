"""The attack on the file of changes fires on every kind of planted leak, and lets a true file pass."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pyarrow as pa
import pytest

from pipeline.application import releases
from pipeline.application.candidates import read_published
from pipeline.errors import RuleError
from pipeline.stages.audit.changes import ChangesFile, attack_changes
from pipeline.stages.verification import read_parquet
from tests.factories import DEFINITIONS, FUND, World, at, published_objects, release_of, take_in

KEYS = {name: schema.primary_key for name, schema in DEFINITIONS.tables["published"].items()}
PLACE = {"table_name": "outcomes_by_quarter", "row_key": "P1/P1-M1/2024-Q1", "column_name": "achieved_quantity"}
STAYS = {"table_name": "outcomes_by_quarter", "row_key": "P2/P2-M1/2024-Q1", "column_name": "achieved_quantity"}


@cache
def world() -> World:
    """Return a world whose version 1.0.1 hides the outcomes of P1, corrects its people, and in which P2 was never in question."""
    made = at("published")
    take_in(made, people=13, outcomes=3)
    built = releases.make(made.services("ann"), FUND)
    assert built is not None
    assert built.audit_passed
    releases.approve(made.services("bob"), FUND, built.version, str(built.manifest))
    releases.publish(made.services("worker"), FUND, built.version)
    return made


def true_file() -> ChangesFile:
    files = published_objects(world(), "1.0.1")
    return ChangesFile(read_parquet(files["changes.parquet"]), files["changes.json"], files["CHANGELOG.md"])


def with_rows(rows: list[dict[str, Any]]) -> ChangesFile:
    """Return a file with other rows, whose sum is theirs."""
    file = true_file()
    table = pa.Table.from_pylist(rows, schema=file.table.schema)
    document = json.loads(file.summary)
    counts: dict[str, dict[str, int]] = {name: {} for name in document["tables"]}
    causes: dict[tuple[str, ...], int] = {}
    for row in rows:
        kinds = counts.setdefault(row["table_name"], {})
        kinds[row["change"]] = kinds.get(row["change"], 0) + 1
        key = tuple(row[name] or "" for name in ("causes", "reasons", "sources"))
        causes[key] = causes.get(key, 0) + 1
    document["tables"] = {name: {"cells": kinds} for name, kinds in counts.items()}
    document["cells"] = len(rows)
    document["causes"] = [
        {"causes": why.split(";"), "reasons": reasons.split(";") if reasons else [], "sources": sources.split(";") if sources else [], "cells": cells}
        for (why, reasons, sources), cells in causes.items()
    ]
    return ChangesFile(table, json.dumps(document).encode(), file.words)


def changed(place: dict[str, str], **cells: Any) -> ChangesFile:
    """Return the file with other cells in one of its rows; the row joins when it was not there."""
    rows = true_file().table.to_pylist()
    ours = [row for row in rows if all(row[name] == value for name, value in place.items())]
    if not ours:
        ours = [dict.fromkeys(true_file().table.column_names) | place | {"change": "changed", "causes": "correction"}]
        rows += ours
    ours[0].update(cells)
    return with_rows(rows)


def attack(file: ChangesFile) -> set[str]:
    services = world().services()
    now, before = (read_published(services, FUND, release_of(world(), version)) for version in ("1.0.1", "1.0.0"))
    tried, weaknesses = attack_changes(file, now, before, KEYS, "c")
    assert tried == file.table.num_rows
    return {weakness.attack for weakness in weaknesses}


def test_a_true_file_passes_and_something_was_looked_at() -> None:
    assert true_file().table.num_rows > 20
    assert attack(true_file()) == set()
    assert attack(with_rows(true_file().table.to_pylist())) == set()


def test_the_audit_of_a_candidate_counts_this_attack() -> None:
    attacks = json.loads(world().restricted.objects[_report()])["attacks"]
    assert attacks["changes"] == true_file().table.num_rows


def _report() -> str:
    from pipeline.stages.intake import content_name

    return content_name(str(release_of(world(), "1.0.1").audit_report))


USERS = {"table_name": "service_users_by_quarter", "row_key": "P1/2024-Q1/all/all", "column_name": "starts_count"}


@pytest.mark.parametrize(
    ("place", "cells", "expected"),
    [
        pytest.param(PLACE, {"old": "8"}, {"changes_old"}, id="the value that a hidden figure had"),
        pytest.param(PLACE, {"new": "3"}, {"changes_new"}, id="the value that a hidden figure has"),
        pytest.param(PLACE, {"causes": "correction"}, {"changes_cause"}, id="why a hidden figure changed"),
        pytest.param(PLACE, {"reasons": "outcome_rejected"}, {"changes_cause"}, id="the reason beside a hidden figure"),
        pytest.param(PLACE, {"sources": "P1/2024-Q1/2"}, {"changes_cause"}, id="the return beside a hidden figure"),
        pytest.param(PLACE, {"new_status": "published"}, {"changes_status"}, id="another status than the tables give"),
        pytest.param(USERS, {"old": "11"}, {"changes_old"}, id="an old value that was never published"),
        pytest.param(USERS, {"new": "14"}, {"changes_new"}, id="a new value that is not published"),
        pytest.param(STAYS | {"row_key": "P1/nothing/2024-Q1"}, {"old": "1"}, {"changes_old"}, id="a row that there is not"),
        pytest.param(STAYS | {"table_name": "gone"}, {"new": "1"}, {"changes_new"}, id="a table that there is not"),
        pytest.param(STAYS | {"column_name": "nothing"}, {"new": "1"}, {"changes_new"}, id="a column that there is not"),
    ],
)
def test_a_planted_leak_is_found(place: dict[str, str], cells: dict[str, Any], expected: set[str]) -> None:
    assert attack(changed(place, **cells)) == expected


def test_a_figure_that_is_hidden_in_both_versions_must_not_be_there() -> None:
    hidden = {**PLACE, "change": "status", "old_status": "c", "new_status": "c", "causes": "suppression"}
    services = world().services()
    table = read_published(services, FUND, release_of(world(), "1.0.1"))
    row = dict.fromkeys(true_file().table.column_names) | hidden
    tried, weaknesses = attack_changes(with_rows([row]), table, table, KEYS, "c")
    assert (tried, {weakness.attack for weakness in weaknesses} - {"changes_words"}) == (1, {"changes_hidden"})


def test_a_hidden_figure_in_a_row_that_came_must_not_be_there() -> None:
    services = world().services()
    row = dict.fromkeys(true_file().table.column_names) | {**PLACE, "change": "added", "new_status": "c", "causes": "suppression"}
    _, weaknesses = attack_changes(with_rows([row]), read_published(services, FUND, release_of(world(), "1.0.1")), None, KEYS, "c")
    assert "changes_hidden" in {weakness.attack for weakness in weaknesses}


def test_a_total_that_leaves_out_a_return_whose_own_figure_is_hidden_is_found() -> None:
    total = {"table_name": "performance", "row_key": "fund/all/all/pooled", "column_name": "users_count"}
    assert attack(changed(total)) == set()
    outcomes = {**total, "column_name": "outcomes_quantity"}
    assert attack(changed(outcomes, causes="register", sources="register/P2")) >= {"changes_omission"}
    assert "changes_omission" not in attack(changed(outcomes, causes="correction", sources="P1/2024-Q1/2;register/P2"))


def test_a_sum_that_is_not_the_sum_of_the_rows_is_found() -> None:
    file = true_file()
    for path, value in (("cells", 99), ("tables", {"completeness": {"cells": {"hidden": 7}}}), ("causes", [])):
        document = json.loads(file.summary) | {path: value}
        assert attack(ChangesFile(file.table, json.dumps(document).encode(), file.words)) == {"changes_summary"}


def test_words_that_tell_a_value_that_the_rows_do_not_are_found() -> None:
    file = true_file()
    assert b"`starts_count` from 12 to 13" in file.words
    leak = b"- P1, P1-M1, 2024-Q1: `achieved_quantity` from 8 to 3\n"
    assert attack(ChangesFile(file.table, file.summary, file.words + leak)) == {"changes_words"}


def test_a_table_whose_key_is_not_known_is_not_passed_over() -> None:
    services = world().services()
    now = read_published(services, FUND, release_of(world(), "1.0.1"))
    with pytest.raises(RuleError, match="whose key is not known: it cannot be audited"):
        attack_changes(true_file(), now, now, {}, "c")


def test_a_candidate_of_before_there_were_changes_is_audited_without_them() -> None:
    from dataclasses import replace

    from pipeline.application.releases import _read_changes

    built = release_of(world(), "1.0.1")
    old = replace(built, files=tuple(file for file in built.files if not file.path.startswith("changes")))
    assert _read_changes(world().services(), old) is None
