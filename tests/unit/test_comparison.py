"""Two versions are told apart: which number follows, and in which words. What was or is hidden is counted and never shown."""

import time
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pyarrow as pa
import pytest

from pipeline.domain.tables import Definitions, Field, TableSchema
from pipeline.errors import IntegrityError, RuleError
from pipeline.stages.changelog import changelog
from pipeline.stages.comparison import compare, describe, read_published, required_change
from pipeline.stages.frames import from_rows
from pipeline.stages.publication import ReleaseAbout, render

REQUIRED = {"required": True}
USERS = TableSchema(
    name="users",
    title="Service users",
    description="People who started.",
    grain="one row per project, quarter and category",
    version=1,
    primary_key=["project_id", "quarter", "category"],
    fields=[
        Field(name="project_id", type="string", title="Project", description="Id.", constraints=REQUIRED),
        Field(name="quarter", type="string", title="Quarter", description="Quarter.", constraints=REQUIRED),
        Field(name="category", type="string", title="Category", description="Code.", constraints=REQUIRED),
        Field(name="starts_count", type="integer", title="Starts", description="People.", unit="people"),
        Field(name="starts_count_status", type="string", title="Status", description="Status.", constraints=REQUIRED),
        Field(name="paid_gbp", type="number", title="Paid", description="Sum.", unit="GBP", decimals=2),
        Field(name="plan_version", type="integer", title="Plan version", description="Version."),
        Field(name="state", type="string", title="State", description="State.", constraints={"enum": ["missing", "accepted"]}),
        Field(name="comment", type="string", title="Comment", description="Text."),
        Field(name="as_of", type="date", title="As of", description="Day.", constraints=REQUIRED),
    ],
)
SCHEMAS = {"users": USERS}
ABOUT = ReleaseAbout(
    fund_id="F",
    fund_name="A fund",
    publisher="A department",
    licence="OGL-UK-3.0",
    version="1.0.1",
    base_version="1.0.0",
    as_of=date(2024, 6, 30),
    drafted_on=date(2024, 7, 15),
    log_position=1,
    chain_head="a" * 64,
    ledger="b" * 64,
    rules="c" * 64,
    schemas="d" * 64,
    disclosure="e" * 64,
    code="0.1.0",
    threshold=5,
)


def row(project_id="P1", quarter="2024-Q1", category="all", starts_count=12, status="published", **others):
    cells = {"project_id": project_id, "quarter": quarter, "category": category, "starts_count": starts_count, "starts_count_status": status}
    rest = {"paid_gbp": Decimal("10.00"), "plan_version": 1, "state": "accepted", "comment": "as it was", "as_of": date(2024, 6, 30)}
    return cells | rest | others


def users(*rows):
    return from_rows(USERS, rows)


BASE = (row(), row(category="female", starts_count=7), row(category="male", starts_count=None, status="c"), row("P2", starts_count=20))


def between(after, before=BASE):
    return compare({"users": users(*before)}, {"users": users(*after)}, SCHEMAS)


def with_row(number, **cells):
    return tuple(old | cells if place == number else old for place, old in enumerate(BASE))


def cells_of(differences):
    return differences.tables["users"].cells.to_pylist()


def told(differences, **about):
    return changelog(differences, replace(ABOUT, **about))


def test_the_same_tables_do_not_differ():
    differences = between(tuple(reversed(BASE)))
    assert differences.is_empty
    assert required_change(differences, method_changed=False) is None
    assert "Without change: `users`." in told(differences)


def test_everybody_who_is_missing_is_named_for_the_last_ten_quarters():
    quarters = [f"{year}-Q{number}" for year in (2021, 2022, 2023) for number in (1, 2, 3, 4)]
    rows = [{"quarter": quarter, "project_id": f"P{n:02d}"} for quarter in quarters for n in range(12)]
    table = pa.Table.from_pylist([row | {"state": "missing", "is_expected": True, "is_in_release": False} for row in rows])
    text = changelog(between(BASE), ABOUT, None, table)
    assert "- 2023-Q4: " + ", ".join(f"P{n:02d} (missing)" for n in range(12)) in text
    assert "2021-Q2" not in text
    assert "- and 2 earlier quarters: see `completeness.csv`" in text
    here = table.set_column(table.column_names.index("is_in_release"), "is_in_release", pa.array([True] * len(rows)))
    assert "Returns that were due" not in changelog(between(BASE), ABOUT, None, here)


def test_another_as_of_day_is_no_change():
    later = tuple(old | {"as_of": date(2024, 9, 30)} for old in BASE)
    assert between(later).is_empty


def test_a_changed_figure_is_found_by_its_key_with_its_old_and_new_value():
    differences = between(with_row(3, starts_count=21, paid_gbp=Decimal("12.5")))
    key = {"project_id": "P2", "quarter": "2024-Q1", "category": "all"}
    assert cells_of(differences) == [
        key | {"column": "starts_count", "change": "changed", "old": "20", "new": "21", "old_status": "published", "new_status": "published"},
        key | {"column": "paid_gbp", "change": "changed", "old": "10.00", "new": "12.50", "old_status": None, "new_status": None},
    ]
    found = differences.tables["users"]
    assert (found.projects, found.quarters, found.rows_added, found.rows_removed) == (("P2",), ("2024-Q1",), 0, 0)


def test_a_figure_that_goes_into_hiding_is_counted_without_its_value():
    differences = between(with_row(1, starts_count=None, starts_count_status="c"))
    assert [(cell["change"], cell["old"], cell["new"]) for cell in cells_of(differences)] == [("hidden", None, None)]
    text = told(differences)
    assert "Figures that were published and are now hidden to protect people: 1" in text
    assert "7" not in text.replace("2024-", "")


def test_a_figure_that_comes_out_of_hiding_is_counted_without_its_value():
    differences = between(with_row(2, starts_count=9173, starts_count_status="published"))
    assert [(cell["change"], cell["old"], cell["new"]) for cell in cells_of(differences)] == [("shown", None, None)]
    assert "Figures that were hidden and are now published: 1" in told(differences)
    assert "9173" not in told(differences)


def test_a_figure_that_stays_hidden_is_no_change():
    assert between(with_row(2)).is_empty


@pytest.mark.parametrize(
    ("cells", "change"),
    [
        ({"starts_count_status": "p"}, "status"),
        ({"starts_count": None, "starts_count_status": "x"}, "changed"),
        ({"starts_count": 0}, "changed"),
        ({"paid_gbp": None}, "changed"),
        ({"state": "missing"}, "changed"),
    ],
)
def test_each_change_of_value_or_status_counts(cells, change):
    counts = between(with_row(0, **cells)).tables["users"].counts
    assert counts == {"changed": 0, "hidden": 0, "shown": 0, "status": 0} | {change: 1}


def test_rows_that_come_and_go_are_counted_with_their_figures():
    differences = between((*BASE[1:], row("P3"), row("P3", category="male", starts_count=None, status="c")))
    found = differences.tables["users"]
    assert (found.rows_added, found.figures_added, found.hidden_added) == (2, 3, 1)
    assert (found.rows_removed, found.figures_removed) == (1, 2)
    assert found.projects == ("P1", "P3")
    assert "- Rows added: 2, with 3 published figures and 1 hidden to protect people" in told(differences)
    assert "- Rows removed: 1, with 2 published figures" in told(differences)


def test_new_and_vanished_codes_and_new_quarters_are_named():
    differences = between((*BASE[:3], row("P3", "2024-Q2", "another")))
    found = differences.tables["users"]
    assert found.codes_added == {"project_id": ("P3",), "category": ("another",)}
    assert found.codes_removed == {"project_id": ("P2",)}
    assert found.quarters_added == ("2024-Q2",)
    text = told(differences)
    assert "New codes in category: another" in text
    assert "Codes that no longer occur in project_id: P2" in text
    assert "New quarters: 2024-Q2" in text


def written(table, **changes):
    """Return a table as it comes back from a Parquet file, whose schema then was another one."""
    return table.replace_schema_metadata(describe(replace(USERS, **changes)))


MIDDLE = users(*BASE).drop_columns(["paid_gbp"])
SWAPPED = users(*BASE).select([*USERS.columns[:3], "comment", *USERS.columns[3:8], "as_of"])
RETYPED = users(*BASE).set_column(6, "plan_version", pa.array(["1"] * 4))
RESCALED = users(*BASE).set_column(5, "paid_gbp", pa.array([Decimal("10.0000")] * 4, pa.decimal128(18, 4)))
MORE = users(*BASE).append_column("gone", pa.array([1] * 4))
COARSER = users(BASE[0], BASE[3]).drop_columns(["category"])
DOUBLED = pa.concat_tables([users(*BASE), users(BASE[0])])
ENDING = replace(USERS, fields=[*USERS.fields, Field(name="new_count", type="integer", title="New", description="New.", unit="people")])


SAME = users(*BASE)


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        pytest.param(SAME, SAME, None, id="nothing"),
        pytest.param(written(SAME), SAME, None, id="nothing, read back"),
        pytest.param(written(SAME, title="Users"), SAME, "patch", id="title"),
        pytest.param(SAME, users(*with_row(0, starts_count=13)), "patch", id="value"),
        pytest.param(SAME, users(*with_row(0, comment="reworded")), "patch", id="text"),
        pytest.param(SAME, users(*with_row(0, starts_count=None, starts_count_status="c")), "patch", id="hidden"),
        pytest.param(SAME, users(*with_row(0, starts_count_status="r")), "patch", id="status"),
        pytest.param(SAME, users(*BASE, row("P2", category="male")), "patch", id="row of known codes and quarter"),
        pytest.param(SAME, users(*BASE[:3]), "patch", id="row gone"),
        pytest.param(SAME, users(*BASE, row("P3")), "minor", id="project"),
        pytest.param(SAME, users(*BASE, row("P2", category="another")), "minor", id="code"),
        pytest.param(SAME, users(*BASE, row("P2", "2024-Q2")), "minor", id="quarter"),
        pytest.param(MIDDLE, SAME, "major", id="column in the middle"),
        pytest.param(MORE, SAME, "major", id="column gone"),
        pytest.param(SWAPPED, SAME, "major", id="columns swapped"),
        pytest.param(RETYPED, SAME, "major", id="type"),
        pytest.param(RESCALED, SAME, "major", id="scale"),
        pytest.param(COARSER, SAME, "major", id="grain, seen in the columns"),
        pytest.param(DOUBLED, SAME, "major", id="grain, seen in the rows"),
        pytest.param(written(SAME, primary_key=["project_id", "quarter"]), SAME, "major", id="grain, as written"),
    ],
)
def test_the_version_rule(before, after, change):
    assert required_change(compare({"users": before}, {"users": after}, SCHEMAS), method_changed=False) == change


def test_a_column_at_the_end_is_minor():
    after = users(*BASE).append_column("new_count", pa.array([1, 2, 3, 4]))
    differences = compare({"users": users(*BASE)}, {"users": after}, {"users": ENDING})
    assert required_change(differences, method_changed=False) == "minor"
    assert "Columns added: new_count" in told(differences)


def test_a_new_table_is_minor_and_a_lost_one_major():
    table = users(*BASE)
    grown = compare({"users": table}, {"users": table, "more": table}, {"users": USERS, "more": replace(USERS, name="more")})
    lost = compare({"users": table, "more": table}, {"users": table}, SCHEMAS)
    assert required_change(grown, method_changed=False) == "minor"
    assert "This table is new." in told(grown)
    assert required_change(lost, method_changed=False) == "major"
    assert "This table is no longer published." in told(lost)


def test_another_method_of_suppression_is_major_whatever_the_figures():
    assert required_change(between(BASE), method_changed=True) == "major"


def test_a_first_version_is_major_and_says_so():
    first = compare(None, {"users": users(*BASE)}, SCHEMAS)
    assert first.is_first
    assert not first.is_empty
    assert required_change(first, method_changed=False) == "major"
    text = told(first, version="1.0.0", base_version=None)
    assert "This is the first version." in text
    assert "- Rows added: 4, with 7 published figures and 1 hidden to protect people" in text


@pytest.mark.parametrize(("version", "word"), [("2.0.0", "a major version"), ("1.1.0", "a minor version"), ("1.0.1", "a patch")])
def test_the_changelog_says_what_the_number_means(version, word):
    assert f"Version {version} follows version 1.0.0. It is {word}" in told(between(with_row(0, starts_count=13)), version=version)


def test_the_changelog_says_which_grain_order_types_and_words_changed():
    text = told(compare({"users": COARSER}, {"users": users(*BASE)}, SCHEMAS))
    assert "A row now means another thing: one row per project, quarter and category." in text
    assert "The columns stand in another order." in told(compare({"users": SWAPPED}, {"users": users(*BASE)}, SCHEMAS))
    assert "Columns with another type: plan_version" in told(compare({"users": RETYPED}, {"users": users(*BASE)}, SCHEMAS))
    assert "Columns removed: gone" in told(compare({"users": MORE}, {"users": users(*BASE)}, SCHEMAS))
    assert "Titles or descriptions were reworded." in told(compare({"users": written(users(*BASE), grain="x")}, {"users": users(*BASE)}, SCHEMAS))


def test_the_changelog_tells_figures_and_codes_and_not_free_text():
    text = told(between(with_row(0, starts_count=13, state="missing", comment="long prose", paid_gbp=None)))
    assert "- P1, 2024-Q1, all: `starts_count` from 12 to 13" in text
    assert "`state` from accepted to missing" in text
    assert "`paid_gbp` from 10.00 to empty" in text
    assert "`comment` was reworded" in text
    assert "long prose" not in text
    assert "`comment` from a text to empty" in told(between(with_row(0, comment=None)))


def test_the_changelog_lists_twenty_cells_and_counts_the_rest():
    before = tuple(row(f"P{number:02}") for number in range(50))
    after = tuple(old | {"starts_count": 13} for old in before)
    text = told(between(after, before))
    assert text.count("from 12 to 13") == 20
    assert "- and 30 more" in text
    assert "Cells with another value: 50" in text
    assert "Projects concerned: 50, from P00 to P49" in text


def test_public_notes_and_names_stand_in_the_changelog_as_plain_text():
    text = told(between(with_row(0, starts_count=13)), fund_name="<b>fund</b>", public_notes=("One\n# note",))
    assert text.startswith("# \\<b\\>fund\\</b\\>: changes in version 1.0.1\n")
    assert "- One \\# note" in text


def test_no_hidden_value_is_in_the_changelog_whatever_else_changed():
    before = (row(starts_count=731_731), row("P2", starts_count=None, status="c"), row("P3"))
    after = (row(starts_count=None, status="c"), row("P2", starts_count=914_914), row("P4", starts_count=None, status="c"))
    text = told(between(after, before))
    assert "731731" not in text
    assert "914914" not in text


def test_a_table_that_no_schema_declares_is_refused():
    with pytest.raises(RuleError, match="no schema"):
        compare(None, {"users": users(*BASE), "more": users(*BASE)}, SCHEMAS)


DEFINITIONS = Definitions(
    tables={"submission": {}, "register": {}, "facts": {}, "published": SCHEMAS},
    codelists={"state": {"missing": "Missing"}},
    rules={},
    disclosure={},
    suites={},
    digests={},
)


def published():
    return dict(render({"users": users(*BASE)}, DEFINITIONS, replace(ABOUT, version="1.0.0", base_version=None), None))


def test_a_published_version_is_read_back_and_does_not_differ_from_what_it_was_made_of():
    files = published()
    tables = read_published(files.__getitem__)
    assert compare(tables, {"users": users(*BASE)}, SCHEMAS).is_empty
    assert tables["users"].schema.metadata[b"title"] == b"Service users"


def test_a_published_version_that_was_altered_is_not_read():
    files = published()
    files["users.parquet"] = files["users.parquet"][:-1] + b"X"
    with pytest.raises(IntegrityError, match=r"users\.parquet"):
        read_published(files.__getitem__)


def test_a_hundred_thousand_changed_rows_are_compared_in_seconds():
    rows = 100_000
    columns = {
        "project_id": [f"P{number // 1000}" for number in range(rows)],
        "quarter": ["2024-Q1"] * rows,
        "category": [str(number % 1000) for number in range(rows)],
        "starts_count": list(range(rows)),
        "starts_count_status": ["published"] * rows,
        "paid_gbp": pa.array([Decimal("1.00")] * rows, pa.decimal128(18, 2)),
        "plan_version": [1] * rows,
        "state": ["accepted"] * rows,
        "comment": ["a"] * rows,
        "as_of": [date(2024, 6, 30)] * rows,
    }
    before = pa.table(columns)
    after = pa.table(columns | {"starts_count": list(range(1, rows + 1))})
    started = time.perf_counter()
    differences = compare({"users": before}, {"users": after}, SCHEMAS)
    assert differences.tables["users"].counts["changed"] == rows
    assert len(told(differences)) < 5000
    assert time.perf_counter() - started < 10
