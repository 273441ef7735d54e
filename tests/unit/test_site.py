"""The public site shows what was published, all of it and nothing else, in pages that everybody can read."""

import json
import re
import shutil
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element

import pytest
from defusedxml.ElementTree import fromstring

from pipeline.adapters.folder_store import FolderStore
from pipeline.errors import IntegrityError, NotFoundError, UsageError
from pipeline.site import build_site
from pipeline.site.archive import read_funds
from pipeline.site.render import render_site
from pipeline.stages.verification import parse_manifest, sha256
from tests.fakes import MemoryStore
from tests.site_pages import Page, read_page
from tests.site_store import (
    ABOUT,
    FUND,
    HOSTILE_FUND,
    HOSTILE_METRIC,
    HOSTILE_PROJECT,
    WITHDRAWN_FIGURE,
    public_store,
    put_index,
    put_version,
    reseal,
    tables,
)

NEWEST = f"datasets/{FUND}/v1.0.1/"
PROJECT = f"funds/{FUND}/projects/P1/index.html"
KINDS = 11
"""Kinds of page: home, fund, compare, project (2), dataset, version (2), method, revisions, accessibility."""


@pytest.fixture(scope="module")
def store() -> MemoryStore:
    return public_store()


@pytest.fixture(scope="module")
def site(store: MemoryStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "site"
    build_site(store, folder)
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Page]:
    found = {path.relative_to(site).as_posix(): read_page(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))}
    assert len(found) == KINDS
    return found


def test_every_page_is_well_formed_html(pages: dict[str, Page]) -> None:
    for path, page in pages.items():
        assert page.faults == [], path


def test_every_page_has_what_a_screen_reader_goes_by(pages: dict[str, Page]) -> None:
    assert len({page.title for page in pages.values()}) == len(pages)
    for path, page in pages.items():
        assert page.language == "en-GB", path
        assert [level for level, _ in page.headings].count(1) == 1, path
        assert page.landmarks >= {"header", "nav", "main", "footer"}, path
        assert page.links[0] == "#main", path
        assert "main" in page.ids, path
        assert not [name for name, times in Counter(page.ids).items() if times > 1], path
        assert set(page.references) <= set(page.ids), path


def test_headings_never_skip_a_level(pages: dict[str, Page]) -> None:
    for path, page in pages.items():
        levels = [level for level, _ in page.headings]
        assert all(after - before <= 1 for before, after in pairwise(levels)), path
        assert all(words for _, words in page.headings), path


def test_every_table_has_a_caption_and_marked_headings(pages: dict[str, Page]) -> None:
    found = [(path, table) for path, page in pages.items() for table in page.tables]
    assert len(found) > 20
    for path, table in found:
        assert table.caption, path
        assert table.rows, (path, table.caption)
        assert table.headings, (path, table.caption)
        assert all(scope in ("col", "row") for scope in table.scopes), (path, table.caption)
        assert {len(row) for row in table.rows} == {len(table.headings)}, (path, table.caption)
        assert [scope for scope in table.scopes if scope == "row"], (path, table.caption)


def test_every_bar_is_silent_and_has_its_figures_beside_it(pages: dict[str, Page]) -> None:
    bars = [(path, bar) for path, page in pages.items() for bar in page.bars]
    assert len(bars) > 10
    for path, bar in bars:
        assert bar.is_hidden_from_readers, path
        assert re.search(r"\d|hidden to protect people|not available|not applicable", bar.words), (path, bar.words)


def test_nothing_is_fetched_and_nothing_runs(pages: dict[str, Page]) -> None:
    for path, page in pages.items():
        assert page.tags.isdisjoint({"script", "img", "iframe", "object", "embed", "form", "style", "base", "video", "audio"}), path
        assert not [name for name in page.attributes if name.startswith("on") or name == "style"], path
        assert all(not urlsplit(source).scheme and not source.startswith("/") for source in page.sources), path
        assert len(page.sources) == 4, path
        assert page.policy == "default-src 'none'; style-src 'self'; img-src 'self'", path


def test_every_link_leads_somewhere_inside_the_site_or_to_the_licence(pages: dict[str, Page], site: Path) -> None:
    seen = 0
    for path, page in pages.items():
        for link in [*page.links, *page.sources]:
            target = urlsplit(link)
            if target.scheme:
                assert link.startswith("https://www.nationalarchives.gov.uk/doc/open-government-licence/"), (path, link)
                continue
            assert not link.startswith("/"), (path, link)
            folder = PurePosixPath(path).parent
            there = site / path if not target.path else site / folder / target.path
            assert there.resolve().is_relative_to(site.resolve()), (path, link)
            assert there.is_file(), (path, link)
            if target.fragment:
                assert target.fragment in read_page(there.read_text("utf-8")).ids, (path, link)
            seen += 1
    assert seen > 200


def test_the_links_of_feeds_and_documents_lead_somewhere(site: Path) -> None:
    feed = fromstring((site / "feed.xml").read_text("utf-8"))
    assert isinstance(feed, Element)
    atom = "{http://www.w3.org/2005/Atom}"
    entries = feed.findall(f"{atom}entry")
    assert [entry.findtext(f"{atom}title", "").rpartition("version ")[2] for entry in entries] == ["1.0.1", "1.0.0 (withdrawn)"]
    targets = [link.attrib["href"] for link in feed.iter(f"{atom}link")]
    items = json.loads((site / "feed.json").read_text("utf-8"))["items"]
    assert [item["_open_outcomes"]["status"] for item in items] == ["published", "withdrawn"]
    targets += [item["url"] for item in items]
    assert len(targets) == 6
    assert all((site / target).is_file() for target in targets)


def test_hostile_names_stay_words(pages: dict[str, Page], site: Path) -> None:
    project = pages[PROJECT]
    assert project.headings[0][1] == HOSTILE_PROJECT
    assert HOSTILE_FUND in project.title or HOSTILE_PROJECT in project.title
    assert HOSTILE_METRIC in project.text
    assert HOSTILE_FUND in pages["index.html"].text
    assert fromstring((site / "feed.xml").read_text("utf-8")) is not None
    for path in sorted(site.rglob("*.html")):
        text = path.read_text("utf-8")
        assert "<script" not in text
        assert "onerror=alert" not in re.sub(r"&lt;.*?&gt;", "", text)
        assert "49" not in re.findall(r"'Home' &amp; (\S+)", text)


def test_the_changelog_is_shown_as_words_without_links_pictures_or_raw_html(pages: dict[str, Page]) -> None:
    page = pages[f"data/{FUND}/v1.0.1/index.html"]
    assert "raw</b>" in page.text
    assert not [link for link in page.links if "javascript" in link or "elsewhere.example" in link]
    assert any(level == 3 and "Outcomes by quarter" in words for level, words in page.headings)


def test_a_hidden_figure_reads_as_hidden_and_a_missing_one_as_not_available(pages: dict[str, Page]) -> None:
    metrics = pages[PROJECT].table("Outcome metrics: achieved against lifetime expectation")
    assert [row[2:5] for row in metrics.rows] == [["11", "40", "27.5%"], ["hidden to protect people", "20", "hidden to protect people"]]
    second = pages[f"funds/{FUND}/projects/P2/index.html"].table("Outcome metrics: achieved against lifetime expectation")
    assert second.rows[0][2:5] == ["not available", "30", "not available"]
    starts = pages[PROJECT].table("People who started, by one characteristic at a time")
    assert [row[3] for row in starts.rows] == ["1,227", "hidden to protect people"]


def test_a_true_zero_stays_a_zero(pages: dict[str, Page]) -> None:
    quarters = pages[PROJECT].table("Outcomes by metric and quarter")
    assert [row[1:3] for row in quarters.rows][:2] == [["2024-Q1", "11"], ["2024-Q2", "0"]]


def test_a_bar_without_a_figure_is_dotted_and_not_empty(pages: dict[str, Page]) -> None:
    bars = {bar.name: bar for bar in pages[PROJECT].bars}
    assert bars["Holds a job"].is_dotted
    assert not bars[HOSTILE_METRIC].is_dotted
    assert bars[HOSTILE_METRIC].widths == ["100", "27.5"]
    assert bars["2024-Q2"].is_dotted


def test_a_bar_beyond_its_plan_goes_on_behind_a_mark(pages: dict[str, Page]) -> None:
    chart = {bar.name: bar for bar in pages[f"funds/{FUND}/compare/index.html"].bars}
    assert chart[HOSTILE_PROJECT].widths == ["80", "100"]
    assert chart[HOSTILE_PROJECT].is_marked
    assert chart["The second"].is_dotted
    assert not any(bar.is_marked for bar in pages[PROJECT].bars if bar.name == HOSTILE_METRIC)


def test_a_target_names_its_scenario_and_plan_version(pages: dict[str, Page]) -> None:
    assert "Target: High case, Variation Agreement, plan version 2, agreed 2 November 2023" in pages[PROJECT].text
    assert "Target: High case, Final Award Offer, plan version 1, agreed 1 November 2023" in pages[f"funds/{FUND}/projects/P2/index.html"].text


def test_every_number_on_a_page_is_one_of_the_files_or_a_named_sum_of_them(pages: dict[str, Page], store: MemoryStore) -> None:
    fund = read_funds(store)[0]
    cells = [value for rows in fund.tables.values() for row in rows for value in row.values()]
    published = {Decimal(value) for value in cells if isinstance(value, int | Decimal)}
    shown = [figure for page in pages.values() for figure in page.figures]
    assert len(shown) > 100
    for figure in shown:
        if not figure.is_derived:
            assert Decimal(figure.value) in published, figure
        number = Decimal(re.sub(r"[£,%]", "", figure.words).replace("\N{MINUS SIGN}", "-"))
        exact = Decimal(figure.value) * (100 if figure.words.endswith("%") else 1)
        assert abs(number - exact) <= Decimal("0.5") if "£" in figure.words else abs(number - exact) <= Decimal("0.05"), figure
    share_of_lifetime, paid, planned, local, fund_share = (Decimal(text) for text in ("0.2750", "10500.50", "33000", "7900.50", "2500.50"))
    assert {Decimal(figure.value) for figure in shown if figure.is_derived} == {share_of_lifetime, paid, planned, local, fund_share}


def test_a_sum_says_what_is_not_in_it_and_a_share_is_given_of_whole_sums_only(pages: dict[str, Page]) -> None:
    fund = pages[f"funds/{FUND}/index.html"]
    year = fund.table("Payments by calendar year").rows[0]
    assert year == ["2024", "£33,000", "£10,501", "without 1 hidden to protect people, without 1 not available"]
    payers = fund.table("Payments by kind of payer, sums of the published figures").rows
    assert [row[0] for row in payers] == ["The fund's top-up", "Local commissioner"]
    assert [row[3] for row in payers] == ["not available", "not available"]
    assert payers[1][4] == "without 1 hidden to protect people"


def test_the_rule_of_aggregation_stands_beside_the_figures(pages: dict[str, Page]) -> None:
    table = pages[f"funds/{FUND}/index.html"].table("Performance against plan by rule of aggregation, as of 30 September 2024")
    assert table.headings[3:] == ["Share of plan, pooled", "Share, mean of projects", "Share, median of projects"]
    assert table.rows[0] == ["Service users", "1,234", "1,500", "82.0%", "75.0%", "75.0%"]
    assert table.rows[1] == ["Outcomes", "hidden to protect people", "45", "hidden to protect people", "75.0%", "75.0%"]


def test_no_figure_of_a_withdrawn_version_is_anywhere_in_the_site(site: Path) -> None:
    written = f"{WITHDRAWN_FIGURE:,}"
    files = [path for path in site.rglob("*") if path.is_file()]
    assert len(files) > 40
    for path in files:
        content = path.read_bytes()
        assert str(WITHDRAWN_FIGURE).encode() not in content, path
        assert written.encode() not in content, path
    assert not (site / f"datasets/{FUND}/v1.0.0").exists()


def test_a_withdrawn_version_keeps_its_page_with_the_reason_and_the_hashes(pages: dict[str, Page], store: MemoryStore) -> None:
    page = pages[f"data/{FUND}/v1.0.0/index.html"]
    assert "Version 1.0.0 was withdrawn because its figures were wrong" in page.text
    assert sha256(store.get(f"datasets/{FUND}/v1.0.0/performance.csv")) in page.text
    assert pages["revisions/index.html"].table("Withdrawn versions").rows == [[HOSTILE_FUND, "1.0.0", "its figures were wrong"]]


def test_when_the_newest_version_is_withdrawn_the_one_before_is_shown_with_a_warning(tmp_path: Path) -> None:
    store = public_store()
    put_index(store, FUND, {"1.0.0": None, "1.0.1": "published_in_error"})
    build_site(store, tmp_path / "site")
    page = read_page((tmp_path / f"site/funds/{FUND}/index.html").read_text("utf-8"))
    assert "Version 1.0.1 was withdrawn because it was published in error" in page.text
    assert f"{WITHDRAWN_FIGURE:,}" in page.text
    assert not (tmp_path / "site" / NEWEST).exists()


def test_a_fund_page_shows_the_performance_of_a_fund_as_this_field_publishes_it(store: MemoryStore) -> None:
    """The figures of the Commissioning Better Outcomes fund: pooled sums, shares as means of projects, and both money multiples."""
    fund = read_funds(store)[0]
    pooled = {"users_count": 61_903, "outcomes_quantity": 80_408, "paid_gbp": Decimal("43300000.00"), "outcomes_quantity_status": "published"}
    pooled |= {"invested_gbp": Decimal("11300000.00"), "returned_gbp": Decimal("11600000.00"), "money_multiple": Decimal("1.0265")}
    mean = {"users_share_of_plan": Decimal("0.75"), "outcomes_share_of_plan": Decimal("0.83"), "paid_share_of_plan": Decimal("0.90")}
    given = {"pooled": pooled, "mean": mean | {"money_multiple": Decimal("1.01")}}
    rows = [dict(row) | given.get(row["aggregation"], {}) if row["level"] == "fund" else row for row in fund.tables["performance"]]
    page = read_page(render_site([replace(fund, tables={**fund.tables, "performance": rows})])[f"funds/{FUND}/index.html"].decode())
    against = page.table("Performance against plan by rule of aggregation, as of 30 September 2024").rows
    assert [(row[0], row[1], row[4]) for row in against] == [
        ("Service users", "61,903", "75.0%"),
        ("Outcomes", "80,408", "83.0%"),
        ("Payments", "£43,300,000", "90.0%"),
    ]
    returns = {row[0]: row[1:] for row in page.table("Cost per outcome and person, and returns to investors").rows}
    assert returns["Investment drawn down"][0] == "£11,300,000"
    assert returns["Returned to investors"][0] == "£11,600,000"
    assert returns["Money multiple (returned for each pound invested)"] == ["1.03", "1.01"]


def test_a_project_page_says_up_to_when_its_figures_reach_and_whether_they_are_final(pages: dict[str, Page], store: MemoryStore) -> None:
    assert "with returns up to the quarter April to June 2024. These are interim results" in pages[PROJECT].text
    assert "Version 1.0.1, published 17 October 2024; last new return received 31 July 2024" in pages[PROJECT].text
    second = pages[f"funds/{FUND}/projects/P2/index.html"]
    assert "No return of this project is in this release." in second.text
    fund = read_funds(store)[0]
    rows = [dict(row) | {"stage": "complete"} for row in fund.tables["projects"]]
    assert "The project is complete." in read_page(render_site([replace(fund, tables={**fund.tables, "projects": rows})])[PROJECT].decode()).text


def test_a_fund_whose_versions_were_all_withdrawn_shows_why_and_no_figure(tmp_path: Path) -> None:
    build_site(public_store(is_all_withdrawn=True), tmp_path / "site")
    page = read_page((tmp_path / f"site/funds/{FUND}/index.html").read_text("utf-8"))
    assert "could have told something about a single person" in page.text
    for path in (tmp_path / "site").rglob("*.html"):
        assert read_page(path.read_text("utf-8")).figures == []
    assert not (tmp_path / "site/datasets" / FUND / "v1.0.1").exists()


def test_the_newest_version_page_lists_every_file_with_size_and_hash(pages: dict[str, Page], store: MemoryStore) -> None:
    rows = pages[f"data/{FUND}/v1.0.1/index.html"].table("Files with size and SHA-256").rows
    listed = parse_manifest(store.get(f"{NEWEST}MANIFEST"))
    assert {row[0]: row[2] for row in rows} == {**listed, "MANIFEST": sha256(store.get(f"{NEWEST}MANIFEST"))}
    assert rows[0][1] == "2.0 kB" or rows[0][1].endswith((" kB", " bytes"))


def test_the_data_dictionary_has_every_column(pages: dict[str, Page], store: MemoryStore) -> None:
    page = pages[f"data/{FUND}/v1.0.1/index.html"]
    package = json.loads(store.get(f"{NEWEST}datapackage.json"))
    for resource in package["resources"]:
        if "schema" in resource and resource["name"] != "codelists":
            columns = [row[0] for row in page.table(f"Columns of {resource['name']}").rows]
            assert columns == [field["name"] for field in resource["schema"]["fields"]]


def test_the_api_lists_data_sets_tables_versions_and_changes(site: Path) -> None:
    def read(path: str) -> dict:
        return json.loads((site / path).read_text("utf-8"))

    listed = read("v1/data-sets.json")
    assert listed["paging"] == {"page": 1, "pageSize": 1, "totalResults": 1, "totalPages": 1}
    assert listed["results"][0] == read(f"v1/data-sets/{FUND}/index.json")
    assert listed["results"][0]["latestVersion"]["version"] == "1.0.1"
    assert listed["results"][0]["latestVersion"]["timePeriods"] == {"start": "2024-Q1", "end": "2024-Q2"}
    meta = read(f"v1/data-sets/{FUND}/meta/index.json")
    assert len(meta["tables"]) == 7
    scenario = next(item for table in meta["tables"] if table["id"] == "performance" for item in table["filters"] if item["id"] == "scenario")
    assert scenario["options"][0] == {"id": "high", "label": "High case"}
    versions = read(f"v1/data-sets/{FUND}/versions/index.json")["results"]
    assert [(item["version"], item["status"], item["withdrawnReason"]) for item in versions] == [
        ("1.0.1", "Published", None),
        ("1.0.0", "Withdrawn", "figures_wrong"),
    ]
    assert "Outcomes by quarter" in read(f"v1/data-sets/{FUND}/versions/1.0.1/changes/index.json")["words"]
    assert read(f"v1/data-sets/{FUND}/versions/1.0.0/changes/index.json")["words"] is None


def test_the_same_public_files_give_the_same_bytes(store: MemoryStore, site: Path, tmp_path: Path) -> None:
    folder = FolderStore(tmp_path / "store")
    for name, content in sorted(store.objects.items(), reverse=True):
        folder.put(name, content)
    build_site(folder, tmp_path / "site")
    first, second = ({path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()} for root in (site, tmp_path / "site"))
    assert first == second


def test_the_files_of_the_version_are_copied_as_they_are(store: MemoryStore, site: Path) -> None:
    names = list(store.names(NEWEST))
    assert len(names) == 29
    for name in [*names, f"datasets/{FUND}/latest.json", f"datasets/{FUND}/versions.json"]:
        assert (site / name).read_bytes() == store.get(name)


def test_the_site_has_a_manifest_of_its_own_over_all_its_files(site: Path) -> None:
    listed = parse_manifest((site / "MANIFEST").read_bytes())
    there = {path.relative_to(site).as_posix(): sha256(path.read_bytes()) for path in site.rglob("*") if path.is_file()}
    assert {**listed, "MANIFEST": there["MANIFEST"]} == there


@pytest.mark.parametrize("name", ["payments_by_quarter.csv", "performance.parquet", "datapackage.json", "CHANGELOG.md", "README.md", "MANIFEST"])
def test_an_altered_public_file_stops_the_build_and_is_named(name: str, tmp_path: Path) -> None:
    store = public_store()
    store.replace(NEWEST + name, store.get(NEWEST + name) + b" ")
    with pytest.raises(IntegrityError, match=re.escape(NEWEST + name)):
        build_site(store, tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_an_altered_file_of_a_withdrawn_version_stops_the_build_too(tmp_path: Path) -> None:
    store = public_store()
    store.replace(f"datasets/{FUND}/v1.0.0/performance.csv", b"other")
    with pytest.raises(IntegrityError, match=r"v1\.0\.0/performance\.csv"):
        build_site(store, tmp_path / "site")


def test_a_missing_and_an_extra_public_file_stop_the_build(tmp_path: Path) -> None:
    store = public_store()
    del store.objects[f"{NEWEST}projects.csv"]
    store.put(f"{NEWEST}more.csv", b"a\r\n")
    with pytest.raises(IntegrityError, match=r"more\.csv is extra.*projects\.csv is missing"):
        build_site(store, tmp_path / "site")


def test_an_unreadable_list_of_versions_stops_the_build(tmp_path: Path) -> None:
    store = public_store()
    store.replace(f"datasets/{FUND}/versions.json", b"[]")
    with pytest.raises(IntegrityError, match=r"versions\.json cannot be read"):
        build_site(store, tmp_path / "site")


@pytest.mark.parametrize(
    ("latest", "said"),
    [(b"[]", "cannot be read"), (b"{}", "cannot be read"), (b'{"version": "1.0.0", "manifest": "0"}', r"does not name the newest version")],
)
def test_an_alias_that_leads_to_another_version_stops_the_build(latest: bytes, said: str, tmp_path: Path) -> None:
    store = public_store()
    store.replace(f"datasets/{FUND}/latest.json", latest)
    with pytest.raises(IntegrityError, match=rf"latest\.json {said}"):
        build_site(store, tmp_path / "site")


def test_a_version_in_another_shape_stops_the_build_and_names_what_it_lacks(tmp_path: Path) -> None:
    store = public_store()
    path = f"{NEWEST}datapackage.json"
    package = json.loads(store.get(path))
    fields = next(resource["schema"]["fields"] for resource in package["resources"] if resource["name"] == "performance")
    fields[:] = [field for field in fields if field["name"] != "money_multiple"]
    reseal(store, {path: json.dumps(package).encode()})
    with pytest.raises(IntegrityError, match=r"no performance with money_multiple"):
        build_site(store, tmp_path / "site")


def test_a_table_that_no_page_shows_is_offered_all_the_same(tmp_path: Path) -> None:
    store = public_store()
    path = f"{NEWEST}datapackage.json"
    package = json.loads(store.get(path))
    content = b"project_id\r\nP1\r\n"
    package["resources"].append(
        next(resource for resource in package["resources"] if resource["name"] == "projects")
        | {"name": "more", "path": "more.csv", "bytes": len(content), "hash": f"sha256:{sha256(content)}", "rows": 1, "title": "More"}
    )
    reseal(store, {path: json.dumps(package).encode(), f"{NEWEST}more.csv": content})
    build_site(store, tmp_path / "site")
    assert (tmp_path / "site" / NEWEST / "more.csv").read_bytes() == content
    page = read_page((tmp_path / f"site/data/{FUND}/index.html").read_text("utf-8"))
    assert page.table("Tables of version 1.0.1").rows[-1][0] == "More"
    assert all((tmp_path / f"site/data/{FUND}" / link).is_file() for link in page.links if "more" in link)


class ChangingStore(MemoryStore):
    """A store in which a file changes after it was read a number of times."""

    def __init__(self, store: MemoryStore, name: str, reads: int) -> None:
        super().__init__()
        self.objects, self.name, self.left = dict(store.objects), name, reads

    def get(self, name: str) -> bytes:
        if name == self.name:
            self.left -= 1
        return super().get(name) + (b" " if name == self.name and self.left < 0 else b"")


@pytest.mark.parametrize(
    ("name", "reads"), [("CHANGELOG.md", 1), ("performance.parquet", 1), ("codelists.csv", 1), ("MANIFEST", 1), ("README.md", 1), ("MANIFEST", 2)]
)
def test_a_file_that_changes_after_it_was_verified_stops_the_build(name: str, reads: int, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=rf"{re.escape(NEWEST + name)} changed"):
        build_site(ChangingStore(public_store(), NEWEST + name, reads), tmp_path / "site")


def test_a_data_package_of_another_shape_stops_the_build_and_is_named(tmp_path: Path) -> None:
    store = public_store()
    path = f"{NEWEST}datapackage.json"
    package = json.loads(store.get(path))
    del package["contributors"]
    reseal(store, {path: json.dumps(package).encode()})
    with pytest.raises(IntegrityError, match=re.escape(f"{path} does not have the shape")):
        build_site(store, tmp_path / "site")


def test_a_release_without_the_row_of_a_project_stops_the_build(store: MemoryStore) -> None:
    fund = read_funds(store)[0]
    rows = [row for row in fund.tables["performance"] if row["project_id"] != "P1"]
    with pytest.raises(IntegrityError, match="no pooled row of a project"):
        render_site([replace(fund, tables={**fund.tables, "performance": rows})])


def test_a_metric_that_is_in_no_plan_says_so(store: MemoryStore) -> None:
    fund = read_funds(store)[0]
    none = {"plan_version": 0, "plan_kind": None, "agreed_on": None, "target_high_quantity": None}
    rows = [dict(row) | none if row["metric_id"] == "P2-M1" else row for row in fund.tables["outcome_metrics"]]
    rows = [dict(row) | {"plan_kind": None} if row["metric_id"] == "P1-M2" else row for row in rows]
    pages = render_site([replace(fund, tables={**fund.tables, "outcome_metrics": rows})])
    page = read_page(pages[f"funds/{FUND}/projects/P2/index.html"].decode())
    assert "Lifetime expectation: not available" in page.text
    assert "Target: in no plan" in page.text
    assert "Target: High case, plan version 2" in read_page(pages[PROJECT].decode()).text


def test_a_share_of_payments_is_given_where_every_payment_is_published(store: MemoryStore) -> None:
    fund = read_funds(store)[0]
    rows = [row for row in fund.tables["payments_by_quarter"] if row["paid_gbp"] is not None]
    pages = render_site([replace(fund, tables={**fund.tables, "payments_by_quarter": rows})])
    payers = read_page(pages[f"funds/{FUND}/index.html"].decode()).table("Payments by kind of payer, sums of the published figures").rows
    assert [row[3:] for row in payers] == [["24.0%", "all figures"], ["76.0%", "all figures"]]


def test_a_version_without_a_licence_says_so_in_words(tmp_path: Path) -> None:
    store = MemoryStore()
    put_version(store, replace(ABOUT, licence="NOASSERTION"), tables(FUND, users=1_234))
    put_index(store, FUND, {"1.0.0": None})
    build_site(store, tmp_path / "site")
    page = read_page((tmp_path / f"site/data/{FUND}/v1.0.0/index.html").read_text("utf-8"))
    assert "none stated: ask the publisher before you use it" in page.text
    assert "NOASSERTION" not in page.text


def test_each_version_says_what_kind_of_change_it_is(tmp_path: Path) -> None:
    store, before = MemoryStore(), None
    for version in ("1.0.0", "1.0.1", "1.1.0", "2.0.0"):
        put_version(store, replace(ABOUT, version=version, base_version=before), tables(FUND, users=1_234))
        before = version
    put_index(store, FUND, dict.fromkeys(("1.0.0", "1.0.1", "1.1.0", "2.0.0")))
    build_site(store, tmp_path / "site")
    rows = read_page((tmp_path / f"site/data/{FUND}/index.html").read_text("utf-8")).table("Versions, the newest first").rows
    assert [(row[0], row[3], row[4]) for row in rows] == [
        ("2.0.0", "major", "Newest"),
        ("1.1.0", "minor", "Superseded"),
        ("1.0.1", "patch", "Superseded"),
        ("1.0.0", "first", "Superseded"),
    ]
    items = json.loads((tmp_path / "site/feed.json").read_text("utf-8"))["items"]
    assert [item["_open_outcomes"]["breaking"] for item in items] == [True, False, False, False]
    assert "It may break programs" in items[0]["content_text"]


def test_structured_changes_are_passed_on_where_a_version_has_them(tmp_path: Path) -> None:
    store = public_store()
    reseal(store, {f"{NEWEST}changes.json": b'{"tables": []}'})
    build_site(store, tmp_path / "site")
    changes = json.loads((tmp_path / f"site/v1/data-sets/{FUND}/versions/1.0.1/changes/index.json").read_text("utf-8"))
    assert changes["changes"] == {"tables": []}


def test_an_id_that_could_leave_the_folder_stops_the_build(store: MemoryStore) -> None:
    fund = read_funds(store)[0]
    rows = [dict(row) | {"project_id": "../../up"} for row in fund.tables["projects"]]
    with pytest.raises(IntegrityError, match="cannot stand in a path"):
        render_site([replace(fund, tables={**fund.tables, "projects": rows})])


def test_an_empty_store_and_an_unknown_fund_are_not_found(store: MemoryStore, tmp_path: Path) -> None:
    empty = MemoryStore()
    with pytest.raises(NotFoundError, match="Nothing was published"):
        build_site(empty, tmp_path / "site")
    put_index(empty, FUND, {})
    with pytest.raises(NotFoundError, match="Nothing was published"):
        build_site(empty, tmp_path / "site")
    with pytest.raises(NotFoundError):
        build_site(store, tmp_path / "site", "NO-SUCH-FUND")


def test_one_fund_of_two_can_be_shown_alone(tmp_path: Path) -> None:
    store = public_store()
    store.objects |= public_store(fund_id="OTHER").objects
    assert build_site(store, tmp_path / "both").funds == 2
    assert build_site(store, tmp_path / "one", "OTHER").funds == 1
    assert (tmp_path / f"both/funds/{FUND}").is_dir()
    assert [path.name for path in (tmp_path / "one/funds").iterdir()] == ["OTHER"]


def test_a_second_build_writes_nothing_and_a_withdrawal_takes_the_files_away(tmp_path: Path) -> None:
    first = build_site(public_store(), tmp_path / "site")
    again = build_site(public_store(), tmp_path / "site")
    assert (first.written, again.written, again.removed) == (first.files - 1, 0, 0)
    assert (tmp_path / "site" / NEWEST).is_dir()
    shutil.rmtree(tmp_path / f"site/funds/{FUND}/projects/P2")  # as a build that was killed while it removed would leave it
    gone = build_site(public_store(is_all_withdrawn=True), tmp_path / "site")
    assert gone.removed > 19
    assert not (tmp_path / "site" / NEWEST).exists()
    assert not (tmp_path / f"site/funds/{FUND}/projects").exists()


def test_a_build_that_was_killed_can_be_run_again(tmp_path: Path, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.site import output

    write, calls = output._write, []

    def killed(path: Path, content: bytes) -> None:
        calls.append(path)
        if len(calls) == 20:
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(output, "_write", killed)
    with pytest.raises(KeyboardInterrupt):
        build_site(public_store(), tmp_path / "site")
    monkeypatch.setattr(output, "_write", write)
    build_site(public_store(), tmp_path / "site")
    assert (tmp_path / "site/MANIFEST").read_bytes() == (site / "MANIFEST").read_bytes()
    assert (tmp_path / "site/v1/data-sets.json").is_file()


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="holds no site of ours"):
        build_site(public_store(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_the_colours_of_words_have_the_contrast_that_wcag_asks_for(site: Path) -> None:
    css = (site / "assets/site.css").read_text("utf-8")
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", css))
    assert len(colours) == 13

    def luminance(colour: str) -> float:
        parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    def contrast(one: str, other: str) -> float:
        light, dark = sorted((luminance(colours[one]), luminance(colours[other])), reverse=True)
        return (light + 0.05) / (dark + 0.05)

    words = [("text", "page"), ("text", "panel"), ("quiet", "page"), ("quiet", "panel"), ("link", "page"), ("link-visited", "page")]
    words += [("link-hover", "page"), ("page", "text"), ("page", "good"), ("page", "bad"), ("text", "focus"), ("link", "panel")]
    for one, other in words:
        assert contrast(one, other) >= 4.5, (one, other)
    for one, other in (("done", "page"), ("done", "panel"), ("text", "page"), ("quiet", "panel")):
        assert contrast(one, other) >= 3, (one, other)


def test_the_style_sheet_fetches_nothing_and_keeps_the_focus_visible(site: Path) -> None:
    css = (site / "assets/site.css").read_text("utf-8")
    assert "url(" not in css
    assert "@import" not in css
    assert "outline: none" not in css.replace(".main:focus { outline: none; }", "")
    assert ":focus-visible" in css


def test_pages_stay_light(site: Path) -> None:
    for path in site.rglob("*.html"):
        assert path.stat().st_size < 300_000, path
    assert (site / "assets/site.css").stat().st_size < 20_000
