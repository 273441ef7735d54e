"""What the public knew, from public files alone: as of a day or a version, between two versions, over all versions; and the lists that lead there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from pipeline.adapters.object_store import open_store
from pipeline.application import catalogue, history, known, releases
from pipeline.cli.app import app
from pipeline.domain.submission import SubmissionKey
from pipeline.errors import IntegrityError, NotAllowedError, NotFoundError, UsageError
from pipeline.site import build_site
from pipeline.stages import triangles
from pipeline.stages.catalogue import ATOM, OURS
from pipeline.stages.summary import told_changes
from pipeline.stages.triangles import Edition, make_triangles, measure
from pipeline.stages.verification import read_csv, read_parquet
from tests.factories import DEFINITIONS, FUND, Row, World, at, digest, published_objects, take_in
from tests.fakes import MemoryStore
from tests.unit.test_causes import publish_next

FOLDER = f"datasets/{FUND}"
WINTER = SubmissionKey("P2", "2023-Q4")
LISTS = ("versions.json", "latest.json", "pins.json", "feed.json", "feed.xml")


@cache
def told() -> World:
    """Return a world of four versions: the first; 13 people, not 12; 3 outcomes (hidden), not 8; a late return. 1.0.1 is withdrawn at the end."""
    world = at("published")
    take_in(world, people=13)
    publish_next(world)
    take_in(world, people=13, outcomes=3)
    publish_next(world)
    take_in(world, WINTER, first=50)
    world.clock.advance(timedelta(days=60))
    publish_next(world)
    releases.withdraw(world.services(), FUND, "1.0.1", "figures_wrong")
    return world


def copied() -> MemoryStore:
    """Return a copy of the public store that can be broken."""
    store = MemoryStore()
    store.objects.update(told().public.objects)
    return store


def days() -> dict[str, date]:
    return {item.version: item.published_at.date() for item in known.versions(told().public, FUND)}


def starts_of(found: known.Known) -> dict[tuple[str, str], int | None]:
    return {(row["project_id"], row["quarter"]): row["starts_count"] for row in found.rows.to_pylist() if row["characteristic"] == "all"}


class TestAsOf:
    def test_a_version_gives_what_it_published(self) -> None:
        found = known.read_data(told().public, FUND, "service_users_by_quarter", "1.0.0")
        assert (found.version, found.status, found.note, starts_of(found)["P1", "2024-Q1"]) == ("1.0.0", "published", "", 12)

    def test_a_day_gives_the_version_that_stood_at_its_end(self) -> None:
        by_version = days()
        for version, day in by_version.items():
            found = known.read_data(told().public, FUND, "service_users_by_quarter", day.isoformat())
            assert found.version == version
        between = by_version["1.1.0"] - timedelta(days=1)
        assert known.read_data(told().public, FUND, "projects", between.isoformat()).version == "1.0.2"
        assert known.read_data(told().public, FUND, "projects", "2031-01-01").version == "1.1.0"

    def test_without_a_day_it_is_the_newest_that_stands(self) -> None:
        assert known.read_data(told().public, FUND, "projects").version == "1.1.0"

    def test_a_version_that_was_withdrawn_later_was_known_then_and_says_so(self) -> None:
        found = known.read_data(told().public, FUND, "service_users_by_quarter", days()["1.0.1"].isoformat())
        assert (found.version, found.status, starts_of(found)["P1", "2024-Q1"]) == ("1.0.1", "withdrawn", 13)
        assert "Version 1.0.1 was withdrawn on" in found.note
        assert "(figures_wrong)" in found.note

    def test_after_its_withdrawal_a_version_was_no_longer_what_the_public_knew(self) -> None:
        world = at("published")
        take_in(world, people=13)
        publish_next(world)
        releases.withdraw(world.services(), FUND, "1.0.1", "figures_wrong")
        today = world.clock.now.date()
        assert known.read_data(world.public, FUND, "projects", today.isoformat()).version == "1.0.0"
        assert known.read_data(world.public, FUND, "projects", (today - timedelta(days=1)).isoformat()).version == "1.0.1"

    @pytest.mark.parametrize(
        ("as_of", "error", "advice"),
        [
            ("2020-01-01", NotFoundError, "The first version was published on 2024-06-0"),
            ("9.9.9", NotFoundError, r"has published no version 9\.9\.9\. It has 1\.0\.0, 1\.0\.1, 1\.0\.2, 1\.1\.0"),
            ("yesterday", UsageError, "is a day like 2024-06-30 or a version like"),
            ("2024-13-01", UsageError, "is a day like 2024-06-30 or a version like"),
            ("20240601", UsageError, "is a day like 2024-06-30 or a version like"),
        ],
    )
    def test_what_cannot_be_answered_is_refused_with_advice(self, as_of: str, error: type[Exception], advice: str) -> None:
        with pytest.raises(error, match=advice):
            known.read_data(told().public, FUND, "projects", as_of)

    def test_an_unknown_table_is_refused_with_those_that_there_are(self) -> None:
        with pytest.raises(NotFoundError, match=r"has no table nothing\. It has changes, completeness, outcome_metrics"):
            known.read_data(told().public, FUND, "nothing")

    def test_a_file_that_was_altered_is_not_read(self) -> None:
        for path in ("MANIFEST", "projects.parquet"):
            store = copied()
            store.objects[f"{FOLDER}/v1.0.0/{path}"] += b"\n"
            with pytest.raises(IntegrityError, match=r"v1\.0\.0"):
                known.read_data(store, FUND, "projects", "1.0.0")

    def test_when_every_version_was_withdrawn_none_is_the_newest(self) -> None:
        world = at("published")
        releases.withdraw(world.services(), FUND, "1.0.0", "legal_request")
        with pytest.raises(NotFoundError, match="all were withdrawn"):
            known.read_data(world.public, FUND, "projects")
        with pytest.raises(NotFoundError, match="stood on"):
            known.read_data(world.public, FUND, "projects", "2031-01-01")

    def test_the_fund_is_named_or_the_only_one(self) -> None:
        assert known.sole_fund(told().public, None) == known.sole_fund(told().public, FUND) == FUND
        with pytest.raises(NotFoundError, match="Published: F1"):
            known.sole_fund(told().public, "F2")
        with pytest.raises(NotFoundError, match="none yet"):
            known.sole_fund(MemoryStore(), None)

    def test_lists_that_cannot_be_read_are_damage(self) -> None:
        for name, read in (("versions", known.versions), ("feed", known.read_feed)):
            store = copied()
            store.replace(f"{FOLDER}/{name}.json", b"[]")
            with pytest.raises(IntegrityError, match="outcomes release index"):
                read(store, FUND)


def plain_cells(version: str) -> dict[tuple[str, str, str], tuple[Any, Any, bool]]:
    """Return every cell that a version publishes, read row by row: value, status, and whether it is a figure."""
    found = {}
    for name, schema in DEFINITIONS.tables["published"].items():
        for row in read_parquet(published_objects(told(), version)[f"{name}.parquet"]).to_pylist():
            key = "/".join(str(row[column]) for column in schema.primary_key)
            for column in schema.fields:
                if column.name not in (*schema.primary_key, "as_of") and not column.name.endswith("_status"):
                    found[name, key, column.name] = (row[column.name], row.get(f"{column.name}_status"), column.unit is not None)
    return found


class TestBetween:
    @pytest.mark.parametrize(("old", "new"), [("1.0.0", "1.0.1"), ("1.0.1", "1.0.2"), ("1.0.2", "1.1.0"), ("1.0.0", "1.1.0")])
    def test_exactly_the_cells_are_listed_that_differ_row_by_row(self, old: str, new: str) -> None:
        before, after = plain_cells(old), plain_cells(new)
        rows = {place[:2] for place in before} & {place[:2] for place in after}
        expected = set()
        for place in before.keys() | after.keys():
            was, now = before.get(place), after.get(place)
            if place[:2] in rows and was is not None and now is not None:
                expected |= {place} if was[:2] != now[:2] else set()
            else:  # of rows that came or went, the figures that are published
                value, status, is_figure = now or was or (None, None, False)
                expected |= {place} if is_figure and value is not None and status != "c" else set()
        listed = history.compare_versions(told().public, DEFINITIONS, FUND, old, new).cells.to_pylist()
        assert {(row["table_name"], row["row_key"], row["column_name"]) for row in listed} == expected
        assert len(expected) > 20

    def test_neighbours_differ_as_the_later_one_says(self) -> None:
        for old, new in (("1.0.0", "1.0.1"), ("1.0.1", "1.0.2"), ("1.0.2", "1.1.0")):
            found = history.compare_versions(told().public, DEFINITIONS, FUND, old, new)
            assert found.cells.equals(read_parquet(published_objects(told(), new)["changes.parquet"]))

    def test_over_several_versions_a_cell_has_all_causes_on_the_way(self) -> None:
        found = history.compare_versions(told().public, DEFINITIONS, FUND, "1.0.0", "1.1.0")
        assert found.steps == ["1.0.1", "1.0.2", "1.1.0"]
        cells = {(row["table_name"], row["row_key"], row["column_name"]): row for row in found.cells.to_pylist()}
        users = cells["performance", "fund/all/all/pooled", "users_count"]
        assert (users["old"], users["new"], users["causes"]) == ("24", "37", "late_return;correction")
        assert (users["sources"], users["reasons"]) == ("P1/2024-Q1/2;P2/2023-Q4/1", "other")

    def test_a_figure_that_was_hidden_on_the_way_or_is_hidden_now_tells_nothing(self) -> None:
        found = history.compare_versions(told().public, DEFINITIONS, FUND, "1.0.0", "1.1.0")
        hidden = [row for row in found.cells.to_pylist() if "c" in (row["old_status"], row["new_status"])]
        assert hidden
        assert {(row["old"], row["new"], row["causes"], row["reasons"], row["sources"]) for row in hidden} == {
            (None, None, "suppression", None, None)
        }

    def test_a_version_of_before_there_were_changes_gives_no_cause(self) -> None:
        store = copied()
        folder = f"{FOLDER}/v1.0.1/"
        manifest = b"".join(line for line in store.objects[f"{folder}MANIFEST"].splitlines(keepends=True) if b"changes." not in line)
        versions = json.loads(store.objects[f"{FOLDER}/versions.json"])
        for entry in versions["versions"]:
            if entry["version"] == "1.0.1":
                from pipeline.stages.verification import sha256

                entry["manifest"] = sha256(manifest)
        store.replace(f"{folder}MANIFEST", manifest)
        store.replace(f"{FOLDER}/versions.json", json.dumps(versions).encode())
        found = history.compare_versions(store, DEFINITIONS, FUND, "1.0.0", "1.0.1")
        assert set(found.cells["causes"].to_pylist()) == {"recomputed"}

    def test_the_older_version_is_named_first(self) -> None:
        for old, new in (("1.1.0", "1.0.0"), ("1.0.0", "1.0.0")):
            with pytest.raises(UsageError, match="Name the older version first"):
                history.compare_versions(told().public, DEFINITIONS, FUND, old, new)


class TestCandidate:
    def test_a_steward_sees_what_a_candidate_changes_before_anybody_approves(self) -> None:
        world = at("published")
        take_in(world, people=13)
        made = releases.make(world.services("ann"), FUND)
        assert made is not None
        cells = history.read_candidate_changes(world.services(), FUND, made.version)
        assert set(cells["causes"].to_pylist()) == {"correction"}
        assert "  24 of correction (P1/2024-Q1/2, other)" in history.describe_cells(cells)

    def test_a_draft_has_no_changes_to_show_yet(self) -> None:
        with pytest.raises(NotAllowedError, match="has no list of changes"):
            history.read_candidate_changes(at("drafted").services(), FUND, "1.0.0")


def edition(version: str, day: str, *figures: tuple[str, int | None]) -> Edition:
    """Return a version with the people who started at P1, by quarter; None is hidden."""
    rows = [
        {"fund_id": FUND, "project_id": "P1", "quarter": quarter, "characteristic": "all", "category": "all", "starts_count": count}
        | {"starts_count_status": "c" if count is None else "published", "as_of": date.fromisoformat(day)}
        for quarter, count in figures
    ]
    schema = DEFINITIONS.table("published", "service_users_by_quarter")
    from pipeline.stages.frames import from_rows

    return Edition(version=version, as_of=date.fromisoformat(day), tables={schema.name: from_rows(schema, rows)})


TRIANGLE: Sequence[Edition] = (
    edition("1.0.0", "2023-05-01", ("2023-Q1", 10)),
    edition("1.1.0", "2023-08-01", ("2023-Q1", 12), ("2023-Q2", 20)),
    edition("1.2.0", "2023-11-01", ("2023-Q1", None), ("2023-Q2", 20)),
    edition("1.10.0", "2024-04-01", ("2023-Q1", 15), ("2023-Q2", 20)),
)


class TestTriangles:
    def test_every_figure_of_every_version_has_its_revision_and_standing(self) -> None:
        rows = make_triangles(TRIANGLE, DEFINITIONS).to_pylist()
        first = [(row["version"], row["value"], row["value_status"], row["revision"], row["standing"]) for row in rows if row["quarter"] == "2023-Q1"]
        assert first == [
            ("1.0.0", Decimal(10), "published", None, "provisional"),
            ("1.1.0", Decimal(12), "published", Decimal(2), "revised"),
            ("1.2.0", None, "c", None, None),
            ("1.10.0", Decimal(15), "published", Decimal(3), "final"),
        ]
        second = [(row["version_number"], row["revision"], row["standing"]) for row in rows if row["quarter"] == "2023-Q2"]
        assert second == [(2, None, "provisional"), (3, Decimal(0), "provisional"), (4, Decimal(0), "provisional")]

    def test_what_revisions_come_to(self) -> None:
        (found,) = measure(make_triangles(TRIANGLE, DEFINITIONS))
        assert (found.table, found.column, found.figures) == ("service_users_by_quarter", "starts_count", 2)
        assert (found.revised_share, found.mean_revision, found.mean_absolute_revision) == (0.5, 2.5, 2.5)
        assert found.mean_versions_to_last == 2.0

    def test_nothing_published_gives_no_triangles_and_no_statistics(self) -> None:
        empty = make_triangles([], DEFINITIONS)
        assert (empty.num_rows, empty.column_names) == (0, list(DEFINITIONS.table("history", "revisions").columns))
        assert measure(empty) == []

    def test_a_table_in_another_shape_is_left_out(self) -> None:
        odd = Edition(version="0.1.0", as_of=date(2020, 1, 1), tables={"projects": pa.table({"name": ["a"]}), "gone": pa.table({"a": [1]})})
        assert make_triangles([odd], DEFINITIONS).num_rows == 0

    def test_the_public_store_has_them_of_what_stands_and_nothing_of_what_was_withdrawn(self) -> None:
        found = read_parquet(told().public.objects[f"{FOLDER}/revisions.parquet"])
        assert found.equals(history.make_triangles(told().public, DEFINITIONS, FUND))
        assert set(found["version"].to_pylist()) == {"1.0.0", "1.0.2", "1.1.0"}
        assert read_csv(told().public.objects[f"{FOLDER}/revisions.csv"], found.schema).equals(found)

    def test_they_are_written_in_parts_as_they_would_be_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        store = copied()
        monkeypatch.setattr(history, "ROWS_PER_PART", 7)
        history.write_triangles(store, DEFINITIONS, FUND)
        assert store.objects == told().public.objects

    def test_they_say_of_every_figure_what_its_version_published_and_of_a_hidden_one_nothing(self) -> None:
        found = history.make_triangles(told().public, DEFINITIONS, FUND).to_pylist()
        looked_at = 0
        for row in found:
            assert (row["value"] is None) == (row["value_status"] in ("c", "x", "z"))
            assert row["value"] is not None or (row["revision"], row["standing"]) == (None, None)
            looked_at += row["value_status"] == "c"
        assert looked_at > 5

    def test_a_damaged_version_does_not_keep_a_withdrawn_one_in_the_triangles(self) -> None:
        store = copied()
        store.objects[f"{FOLDER}/v1.0.0/projects.parquet"] += b"\n"
        with pytest.raises(IntegrityError):
            history.make_triangles(store, DEFINITIONS, FUND)
        history.write_triangles(store, DEFINITIONS, FUND)
        assert set(read_parquet(store.objects[f"{FOLDER}/revisions.parquet"])["version"].to_pylist()) == {"1.0.2", "1.1.0"}


def document(store: MemoryStore, name: str) -> Any:
    return json.loads(store.objects[f"{FOLDER}/{name}.json"])


class TestLists:
    def test_they_are_made_again_from_the_public_store_alone_byte_for_byte(self) -> None:
        store = copied()
        for name in LISTS:
            del store.objects[f"{FOLDER}/{name}"]
        found = catalogue.rebuild_index(store, FUND)
        assert (found.changed, found.versions) == (list(LISTS), ["1.0.0", "1.0.1", "1.0.2", "1.1.0"])
        assert store.objects == told().public.objects
        assert catalogue.rebuild_index(store, FUND).changed == []

    def test_pins_name_the_newest_that_stands_of_each_line(self) -> None:
        pins = document(told().public, "pins")["pins"]
        assert {line: pin["version"] for line, pin in pins.items()} == {"1.x": "1.1.0", "1.0.x": "1.0.2", "1.1.x": "1.1.0"}
        assert pins["1.x"]["manifest"] == document(told().public, "latest")["manifest"]

    def test_the_list_of_versions_says_when_one_was_withdrawn(self) -> None:
        entry = next(item for item in document(told().public, "versions")["versions"] if item["version"] == "1.0.1")
        assert (entry["status"], entry["reason"]) == ("withdrawn", "figures_wrong")
        assert entry["withdrawn_at"] > entry["published_at"]

    def test_a_file_that_a_version_does_not_have_is_not_found(self) -> None:
        first = known.find_version(told().public, FUND, "1.0.0")
        with pytest.raises(NotFoundError, match=r"datasets/F1/v1\.0\.0/ has no nothing\.txt"):
            catalogue.files_of(told().public, FUND, "1.0.0", first.manifest)("nothing.txt")

    def test_a_store_without_notices_or_with_a_broken_one_says_so(self) -> None:
        with pytest.raises(NotFoundError, match="Nothing of fund F1 stands in the public store"):
            catalogue.rebuild_index(MemoryStore(), FUND)
        store = copied()
        store.replace(f"{FOLDER}/notices/1.0.0.json", b"{}")
        with pytest.raises(IntegrityError, match="A notice in"):
            catalogue.rebuild_index(store, FUND)

    def test_a_manifest_that_is_not_the_one_that_was_approved_is_not_listed(self) -> None:
        store = copied()
        notice = document(store, "notices/1.0.0") | {"manifest": digest("other")}
        store.replace(f"{FOLDER}/notices/1.0.0.json", json.dumps(notice).encode())
        with pytest.raises(IntegrityError, match="is not the one that was approved"):
            catalogue.rebuild_index(store, FUND)

    def test_a_version_whose_files_are_gone_can_be_withdrawn_and_everybody_reads_that(self) -> None:
        world = at("published")
        for name in [name for name in world.public.objects if "/v1.0.0/" in name]:
            del world.public.objects[name]
        releases.withdraw(world.services(), FUND, "1.0.0", "legal_request")
        (entry,) = document(world.public, "versions")["versions"]
        assert (entry["version"], entry["status"], entry["as_of"]) == ("1.0.0", "withdrawn", "2024-06-03")
        assert document(world.public, "feed")["items"][0]["content_text"].startswith("Withdrawn: legal request")


class TestFeeds:
    def test_each_version_says_whether_it_breaks_how_many_cells_changed_and_why(self) -> None:
        items = {item["_open_outcomes"]["version"]: item for item in document(told().public, "feed")["items"]}
        ours = items["1.1.0"]["_open_outcomes"]
        assert (ours["breaking"], ours["base_version"], ours["status"]) == (False, "1.0.2", "published")
        assert ours["cells_changed"] == read_parquet(published_objects(told(), "1.1.0")["changes.parquet"]).num_rows
        assert {cause for entry in ours["causes"] for cause in entry["causes"]} >= {"late_return", "suppression"}
        assert "cells changed (" in items["1.1.0"]["content_text"]
        assert items["1.0.0"]["content_text"].endswith("It is the first version.")
        assert items["1.0.1"]["title"].endswith("version 1.0.1 (withdrawn)")
        assert items["1.0.1"]["date_modified"] > items["1.0.1"]["date_published"]

    def test_a_cursor_gives_what_happened_since(self) -> None:
        everything = known.read_feed(told().public, FUND)
        cursors = [item["_open_outcomes"]["cursor"] for item in everything]
        assert cursors == sorted(set(cursors))
        assert document(told().public, "feed")["_open_outcomes"]["cursor"] == cursors[-1]
        assert everything[-1]["_open_outcomes"]["version"] == "1.0.1"  # its withdrawal is the last that happened
        assert known.read_feed(told().public, FUND, cursors[1]) == everything[2:]
        assert known.read_feed(told().public, FUND, cursors[-1]) == []

    def test_the_atom_feed_has_what_rfc_4287_asks_for_and_says_the_same(self) -> None:
        feed = ET.fromstring(told().public.objects[f"{FOLDER}/feed.xml"].decode())
        items = document(told().public, "feed")["items"]
        assert feed.tag == f"{{{ATOM}}}feed"
        for parent in (feed, *feed.findall(f"{{{ATOM}}}entry")):
            assert all(len(parent.findall(f"{{{ATOM}}}{name}")) == 1 for name in ("id", "title", "updated")), parent.tag
        entries = feed.findall(f"{{{ATOM}}}entry")
        assert [entry.findtext(f"{{{ATOM}}}id") for entry in entries] == [item["id"] for item in items]
        assert [entry.findtext(f"{{{OURS}}}cursor") for entry in entries] == [str(item["_open_outcomes"]["cursor"]) for item in items]
        assert all(entry.findtext(f"{{{ATOM}}}author/{{{ATOM}}}name") == "A department" for entry in entries)
        newest = entries[1]
        assert (newest.findtext(f"{{{OURS}}}version"), newest.findtext(f"{{{OURS}}}breaking")) == ("1.1.0", "false")
        cells = sum(int(cause.attrib["cells"]) for cause in newest.findall(f"{{{OURS}}}cause"))
        assert str(cells) == newest.findtext(f"{{{OURS}}}cells_changed")

    def test_a_major_version_breaks(self) -> None:
        world = at("published")
        take_in(world, people=13)
        made = releases.make(world.services("ann"), FUND, "major")
        assert made is not None
        releases.approve(world.services("bob"), FUND, made.version, str(made.manifest))
        releases.publish(world.services("worker"), FUND, made.version)
        newest = document(world.public, "feed")["items"][0]
        assert (newest["_open_outcomes"]["version"], newest["_open_outcomes"]["breaking"]) == ("2.0.0", True)
        assert "It may break programs" in newest["content_text"]

    def test_the_feed_of_the_site_says_the_same(self, tmp_path: Path) -> None:
        build_site(told().public, tmp_path / "site")
        site = {item["id"]: item for item in json.loads((tmp_path / "site/feed.json").read_text("utf-8"))["items"]}
        for item in document(told().public, "feed")["items"]:
            ours, theirs = item["_open_outcomes"], site[item["id"]]["_open_outcomes"]
            assert {name: theirs[name] for name in ("breaking", "status", "cells_changed", "causes")} == {
                name: ours[name] for name in ("breaking", "status", "cells_changed", "causes")
            }
            if ours["status"] == "published" and ours["base_version"]:
                assert (
                    told_changes({"base_version": "1.0.0", "cells": ours["cells_changed"], "causes": ours["causes"]})
                    in site[item["id"]]["content_text"]
                )

    def test_changes_in_a_sentence(self) -> None:
        assert told_changes(None) == told_changes({"base_version": None}) == ""
        causes = [{"causes": ["late_return"], "cells": 2}, {"causes": ["late_return", "correction"], "cells": 1}]
        assert told_changes({"base_version": "1.0.0", "cells": 3, "causes": causes}) == "3 cells changed (late return 3, correction 1)."
        assert told_changes({"base_version": "1.0.0", "cells": 0, "causes": []}) == "0 cells changed."


@pytest.fixture
def environment(tmp_path: Path) -> Row:
    """Give the settings of somebody who has a copy of the public store and nothing else."""
    store = open_store((tmp_path / "public").as_uri(), tmp_path / "cache")
    for name, content in told().public.objects.items():
        store.put(name, content)
    return {"OUTCOMES_HOME": str(tmp_path / "home"), "OUTCOMES_PUBLIC_URL": (tmp_path / "public").as_uri()}


def run(environment: Row, *arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(arguments), env=environment)
    return done.exit_code, done.stdout, done.stderr


class TestCommands:
    def test_data_is_printed_for_people_for_programs_and_as_csv(self, environment: Row) -> None:
        code, said, _ = run(environment, "data", "service_users_by_quarter", "--as-of", "1.0.0", "--json")
        document = json.loads(said)
        assert (code, document["version"], document["rows"][0]["project_id"]) == (0, "1.0.0", "P1")
        code, said, _ = run(environment, "data", "projects", "--as-of", "1.0.0", "--csv")
        assert (code, said.replace("\r\n", "\n")) == (0, published_objects(told(), "1.0.0")["projects.csv"].decode().replace("\r\n", "\n"))
        code, said, _ = run(environment, "data", "projects")
        assert (code, "projects, version 1.1.0" in said) == (0, True)

    def test_a_withdrawn_version_says_so_beside_the_data(self, environment: Row) -> None:
        code, _, told_beside = run(environment, "data", "projects", "--as-of", "1.0.1", "--csv")
        assert (code, "was withdrawn on" in told_beside) == (0, True)

    def test_a_wrong_call_ends_with_advice_and_its_code(self, environment: Row) -> None:
        assert run(environment, "data", "projects", "--as-of", "soon")[0] == 2
        assert run(environment, "data", "nothing")[0] == 4
        assert run(environment, "data", "projects", "--json", "--csv")[0] == 2
        assert run(environment, "data", "projects", "--fund", "../x")[0] == 2

    def test_changes_between_versions_are_told_counted_or_listed(self, environment: Row) -> None:
        code, said, _ = run(environment, "changes", "1.0.0", "1.1.0")
        assert (code, "1.1.0 against 1.0.0, over 3 versions" in said, "of suppression" in said) == (0, True, True)
        code, said, _ = run(environment, "changes", "1.0.2", "1.1.0", "--csv")
        assert (code, said.splitlines()[0].startswith("table_name,row_key,column_name")) == (0, True)
        code, said, _ = run(environment, "changes", "1.0.0", "1.0.1", "--json")
        assert (code, {cell["causes"] for cell in json.loads(said)["cells"]}) == (0, {"correction"})

    def test_revisions_are_summed_up(self, environment: Row) -> None:
        code, said, _ = run(environment, "revisions", "--json")
        assert code == 0
        assert {entry["table"] for entry in json.loads(said)} >= {"performance", "service_users_by_quarter"}

    def test_the_index_is_written_again_and_the_feed_is_read_from_a_cursor(self, environment: Row, tmp_path: Path) -> None:
        (tmp_path / "public" / FOLDER / "pins.json").unlink()
        code, said, _ = run(environment, "release", "index")
        assert (code, said.strip()) == (0, "F1: 4 versions; pins.json written anew.")
        assert "nothing differed" in run(environment, "release", "index")[1]
        code, said, _ = run(environment, "release", "feed", "--json")
        last = json.loads(said)[-1]["_open_outcomes"]["cursor"]
        assert "Nothing happened since." in run(environment, "release", "feed", "--after", str(last))[1]


def test_the_name_of_the_triangles_is_that_of_their_schema() -> None:
    assert triangles.NAME in DEFINITIONS.tables["history"]
