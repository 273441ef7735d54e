"""The synthetic fund is the same for the same seed, keeps to its contracts, and holds every kind of thing that real returns hold."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.csv as pa_csv
import pytest
from openpyxl import load_workbook

from pipeline.adapters.definitions import find_definitions, load_definitions
from pipeline.adapters.register_files import read_register
from pipeline.domain.quarters import Quarter
from pipeline.domain.submission import SubmissionKey
from pipeline.errors import UsageError
from pipeline.samples import SampleSummary, write_sample
from pipeline.samples.fund import draw_fund, letters_of
from pipeline.stages.intake import identify
from pipeline.stages.registration import make_records
from pipeline.stages.return_files import RETURN_TABLES, write_workbook, write_zip

DEFINITIONS = load_definitions(find_definitions())
FIRST = Quarter(2021, 2)
Row = dict[str, Any]


@dataclass(frozen=True)
class Return:
    """One file of the sample as its rows, typed."""

    path: Path
    project_id: str
    quarter: Quarter
    tables: Mapping[str, Sequence[Row]]


@dataclass(frozen=True)
class Sample:
    """A sample that has been read back, without any code of the pipeline."""

    folder: Path
    summary: SampleSummary
    register: Mapping[str, Sequence[Row]]
    deliveries: Sequence[Return]
    corrections: Sequence[Return]


def read_return(path: Path) -> Return:
    return Return(path, path.parts[-3], Quarter.parse(path.parts[-2]), read_workbook(path) if path.suffix == ".xlsx" else read_zip(path))


def read_workbook(path: Path) -> Mapping[str, Sequence[Row]]:
    book = load_workbook(path)
    tables = {}
    for name in RETURN_TABLES:
        headings, *rows = book[name].iter_rows(values_only=True)
        tables[name] = [{str(heading): plain(cell) for heading, cell in zip(headings, row, strict=True)} for row in rows]
    return tables


def plain(cell: Any) -> Any:
    if isinstance(cell, datetime):
        return cell.date()
    return Decimal(f"{cell:.2f}") if isinstance(cell, float) else cell


def read_zip(path: Path) -> Mapping[str, Sequence[Row]]:
    with zipfile.ZipFile(path) as archive:
        return {name.removesuffix(".csv"): read_csv(archive.read(name)) for name in archive.namelist()}


def read_csv(content: bytes) -> Sequence[Row]:
    """Read with the csv module of Python; days, whole numbers and money by their look."""
    return [{name: by_its_look(cell) for name, cell in row.items()} for row in csv.DictReader(io.StringIO(content.decode()))]


def by_its_look(cell: str) -> Any:
    if not cell:
        return None
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", cell):
        return date.fromisoformat(cell)
    if re.fullmatch(r"-?\d+\.\d{2}", cell):
        return Decimal(cell)
    return int(cell) if re.fullmatch(r"[1-9]\d*", cell) else cell


def make(folder: Path, **arguments: Any) -> Sample:
    summary = write_sample(folder, **{"projects": 8, "quarters": 8, "seed": 1, "first_quarter": FIRST, "definitions": DEFINITIONS, **arguments})
    register = {path.stem: read_csv(path.read_bytes()) for path in sorted((folder / "register").glob("*.csv"))}
    return Sample(folder, summary, register, [read_return(path) for path in summary.deliveries], [read_return(path) for path in summary.corrections])


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return make(tmp_path_factory.mktemp("sample"))


def contents(folder: Path) -> Mapping[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("one", 7), ("two", 7), ("three", 8)):
        make(tmp_path / name, projects=3, quarters=2, participants=40, seed=seed)
    one, two, three = (contents(tmp_path / name) for name in ("one", "two", "three"))
    assert one == two
    assert len(one) > 10
    assert one != three


def test_files_stand_in_folders_and_under_names_that_say_whose_they_are(sample: Sample) -> None:
    paths = [*sample.summary.deliveries, *sample.summary.corrections, *sample.summary.broken]
    names = [str(path.relative_to(sample.folder).relative_to(path.relative_to(sample.folder).parts[0])) for path in paths]
    assert len(set(names)) == len(names), "all folders can be copied into one inbox"
    for path in paths:
        key = SubmissionKey(path.parts[-3], path.parts[-2])
        assert identify(Path(path.name), "0" * 64) == identify(path, "0" * 64) == key
    assert {path.suffix for path in sample.summary.deliveries} == {".xlsx", ".zip"}


def test_the_register_has_no_findings_at_all(sample: Sample) -> None:
    tables, findings = read_register(sample.folder / "register", DEFINITIONS)
    records, more = make_records(tables, DEFINITIONS)
    assert [*findings, *more] == []
    assert len(records.projects) == 8
    assert records.fund["fund"] == {
        "fund_id": "SYN-LCF",
        "name": "Synthetic Life Chances Fund",
        "publisher": "Example Outcomes Fund",
        "return_due_days": 30,
        "licence": "OGL-UK-3.0",
    }


def test_the_register_holds_every_kind_of_agreement(sample: Sample) -> None:
    register = sample.register
    assert {row["policy_sector"] for row in register["projects"]} == {
        "child_and_family_welfare",
        "criminal_justice",
        "education",
        "employment_and_training",
        "health",
        "homelessness",
    }
    assert {row["return_kind"] for row in register["projects"]} == {"participants", "counts"}
    assert {"individual", "family", "week"} <= {row["unit"] for row in register["metrics"]}
    counts = Counter(row["project_id"] for row in register["metrics"])
    assert min(counts.values()) >= 2
    assert max(counts.values()) <= 6
    assert {row["kind"] for row in register["payers"]} == {"fund", "local"}
    assert {row["scenario"] for row in register["plans"]} == {"high", "medium", "low"}
    assert {row["measure"] for row in register["plans"]} == {"service_users", "outcomes", "payments"}
    varied = {row["project_id"] for row in register["plans"] if row["plan_version"] == 2}
    assert 0 < len(varied) < 8
    assert any(row["cap_quantity"] for row in register["rate_card"])
    assert all(row["drawn_gbp"] <= row["committed_gbp"] for row in register["investments"])


def test_the_fund_tops_up_between_14_and_45_per_cent_of_each_price(sample: Sample) -> None:
    prices: dict[tuple[str, date], dict[bool, Decimal]] = defaultdict(dict)
    for row in sample.register["rate_card"]:
        prices[row["metric_id"], row["valid_from"]][row["payer_id"] == "SYN-LCF-FUND"] = row["price_gbp"]
    for pair in prices.values():
        assert Decimal("0.139") < pair[True] / (pair[True] + pair[False]) < Decimal("0.451")


def test_some_prices_change_once_and_at_the_end_of_a_year(sample: Sample) -> None:
    ends = [row["valid_to"] for row in sample.register["rate_card"] if row["valid_to"] is not None]
    assert ends
    assert {(end.month, end.day) for end in ends} == {(12, 31)}
    starts = Counter((row["metric_id"], row["payer_id"]) for row in sample.register["rate_card"])
    assert set(starts.values()) == {1, 2}


def test_covers_say_what_a_return_is_and_nil_returns_are_empty(sample: Sample) -> None:
    nil = 0
    for item in sample.deliveries:
        (cover,) = item.tables["cover"]
        assert (cover["project_id"], cover["quarter"], str(cover["template_version"])) == (item.project_id, str(item.quarter), "1")
        rows = sum(len(item.tables[name]) for name in ("participants", "outcomes", "payments"))
        assert (cover["is_nil_return"] == "yes") == (rows == 0)
        nil += rows == 0
    assert nil == sample.summary.nil_returns > 0


def test_tables_have_the_columns_of_the_schemas_and_codes_of_the_code_lists(sample: Sample) -> None:
    for item in sample.deliveries:
        for name, rows in item.tables.items():
            schema = DEFINITIONS.table("submission", name)
            for row in rows:
                assert tuple(row) == schema.columns
                for column in schema.fields:
                    assert row[column.name] is not None or not column.is_required
                    if column.codelist is not None and row[column.name] is not None:
                        assert row[column.name] in DEFINITIONS.codelists[column.codelist]


def test_references_are_used_once_in_a_project(sample: Sample) -> None:
    for reference, table in (("outcome_ref", "outcomes"), ("payment_ref", "payments")):
        used = [(item.project_id, row[reference]) for item in sample.deliveries for row in item.tables[table]]
        assert len(used) > 100
        assert len(set(used)) == len(used)


def project_of(sample: Sample, project_id: str) -> Row:
    return next(row for row in sample.register["projects"] if row["project_id"] == project_id)


def test_people_start_in_the_quarter_or_come_again_when_they_leave(sample: Sample) -> None:
    seen: dict[tuple[str, str], Row] = {}
    again = 0
    for item in sample.deliveries:
        project = project_of(sample, item.project_id)
        for row in item.tables["participants"]:
            key = (item.project_id, row["participant_ref"])
            assert project["starts_on"] <= row["started_on"] <= min(item.quarter.end, project["ends_on"])
            assert row["left_on"] is None or row["started_on"] <= row["left_on"] <= item.quarter.end
            assert re.fullmatch(r"E99\d{6}", row["local_authority"])
            if key in seen:
                again += 1
                assert Quarter.of(row["left_on"]) == item.quarter
                assert {**row, "left_on": None} == seen[key]
            else:
                assert Quarter.of(row["started_on"]) == item.quarter
            seen[key] = {**row, "left_on": None}
    assert again > 0
    forgotten = 0
    for item in sample.corrections:
        forgotten += sum((item.project_id, row["participant_ref"]) not in seen for row in item.tables["participants"])
    fund = draw_fund(projects=8, quarters=8, participants=None, seed=1, first_quarter=FIRST)
    not_returned = int(fund.projects[4].starts[-1])
    assert sample.summary.participants == len(seen) + forgotten + not_returned


def test_outcomes_keep_to_the_contract(sample: Sample) -> None:
    """After the start, in the order of progressions, once per person, within the time for claims, late or in the quarter."""
    metrics = {row["metric_id"]: row for row in sample.register["metrics"]}
    started = {(item.project_id, row["participant_ref"]): row["started_on"] for item in sample.deliveries for row in item.tables["participants"]}
    standing: dict[tuple[str, str], date] = {}
    late = 0
    for item in sample.deliveries:
        project = project_of(sample, item.project_id)
        for row in item.tables["outcomes"]:
            metric, person = metrics[row["metric_id"]], row["participant_ref"]
            assert metric["project_id"] == item.project_id
            assert row["achieved_on"] <= min(item.quarter.end, project["claims_until"] or project["ends_on"])
            late += row["achieved_on"] < item.quarter.start
            assert (person is None) == (project["return_kind"] == "counts")
            if person is not None:
                assert started[item.project_id, person] <= row["achieved_on"]
            if metric["is_once_per_person"] == "true":
                assert row["quantity"] == 1
                assert (row["metric_id"], person) not in standing
            if row["status"] != "rejected":
                standing[row["metric_id"], person] = row["achieved_on"]
    assert late > 0
    followed = 0
    for (metric_id, person), achieved_on in standing.items():
        before = metrics[metric_id]["after_metric_id"]
        if before is not None:
            followed += 1
            assert standing[before, person] + timedelta(days=metrics[metric_id]["after_days"]) <= achieved_on
    assert followed > 50


def test_decisions_have_a_day_and_open_claims_have_none(sample: Sample) -> None:
    statuses: Counter[str] = Counter()
    for item in [*sample.deliveries, *sample.corrections]:
        for row in item.tables["outcomes"]:
            statuses[row["status"]] += 1
            assert (row["verified_on"] is None) == (row["status"] == "claimed")
            if row["verified_on"] is not None:
                assert max(row["achieved_on"], item.quarter.start) <= row["verified_on"] <= item.quarter.end
    assert set(statuses) == {"verified", "rejected", "claimed"}


def test_payments_are_price_times_verified_units_for_every_payer(sample: Sample) -> None:
    for item in [*sample.deliveries, *sample.corrections]:
        units: Counter[tuple[str, Quarter]] = Counter()
        for row in item.tables["outcomes"]:
            if row["status"] == "verified":
                units[row["metric_id"], Quarter.of(row["achieved_on"])] += row["quantity"]
        due = {}
        for price in sample.register["rate_card"]:
            for (metric_id, quarter), quantity in units.items():
                if price["metric_id"] == metric_id and price["valid_from"] <= quarter.end <= (price["valid_to"] or date.max):
                    due[metric_id, quarter, price["payer_id"]] = (quantity, quantity * price["price_gbp"])
        paid = {
            (row["metric_id"], Quarter.of(row["period_end"]), row["payer_id"]): (row["quantity"], row["amount_gbp"])
            for row in item.tables["payments"]
            if row["basis"] == "outcome"
        }
        assert len(due) == 2 * len(units)
        assert paid == due
        for row in item.tables["payments"]:
            assert (row["period_start"], row["period_end"]) == (Quarter.of(row["period_end"]).start, Quarter.of(row["period_end"]).end)
            assert row["period_end"] <= row["paid_on"] <= item.quarter.end


def test_caps_are_never_passed(sample: Sample) -> None:
    corrected = {(item.project_id, item.quarter) for item in sample.corrections}
    final = [*sample.corrections, *(item for item in sample.deliveries if (item.project_id, item.quarter) not in corrected)]
    units: Counter[tuple[str, str]] = Counter()
    pounds: defaultdict[str, Decimal] = defaultdict(Decimal)
    for item in final:
        for row in item.tables["payments"]:
            pounds[item.project_id] += row["amount_gbp"]
            if row["basis"] == "outcome":
                units[row["metric_id"], row["payer_id"]] += row["quantity"]
    for price in sample.register["rate_card"]:
        assert price["cap_quantity"] is None or units[price["metric_id"], price["payer_id"]] <= price["cap_quantity"]
    for project in sample.register["projects"]:
        assert pounds[project["project_id"]] <= project["contract_cap_gbp"]


def test_one_quarter_was_paid_for_activity_without_outcomes_in_it(sample: Sample) -> None:
    paused = {(item.project_id, item.quarter) for item in sample.deliveries for row in item.tables["payments"] if row["basis"] == "activity"}
    assert len({quarter for _, quarter in paused}) == 1
    for item in sample.deliveries:
        for row in item.tables["payments"]:
            if row["basis"] == "activity":
                assert (row["metric_id"], row["quantity"], row["reason"]) == (None, None, None)
                assert row["amount_gbp"] > 0
        for row in item.tables["outcomes"]:
            assert (item.project_id, Quarter.of(row["achieved_on"])) not in paused


def test_corrections_of_payments_have_a_reason_and_only_they_can_be_negative(sample: Sample) -> None:
    payments = [row for item in sample.deliveries for row in item.tables["payments"]]
    corrections = [row for row in payments if row["basis"] == "correction"]
    assert {row["reason"] for row in corrections} == {"overpaid", "wrong_payer"}
    assert all(row["reason"] is None for row in payments if row["basis"] != "correction")
    assert any(row["amount_gbp"] < 0 for row in corrections)
    assert all(row["amount_gbp"] > 0 for row in payments if row["basis"] != "correction")
    moved = [row["amount_gbp"] for row in corrections if row["reason"] == "wrong_payer"]
    assert sum(moved) == 0


def test_a_corrected_return_adds_people_and_decides_what_was_claimed(sample: Sample) -> None:
    assert len(sample.corrections) == 2
    for item in sample.corrections:
        first = next(other for other in sample.deliveries if (other.project_id, other.quarter) == (item.project_id, item.quarter))
        assert item.quarter == Quarter(2023, 1)
        before, after = ({row["participant_ref"]: row for row in one.tables["participants"]} for one in (first, item))
        assert set(before) < set(after)
        claimed = {row["outcome_ref"] for row in first.tables["outcomes"] if row["status"] == "claimed"}
        decided = {row["outcome_ref"]: row["status"] for row in item.tables["outcomes"]}
        assert {decided[reference] for reference in claimed} <= {"verified"}
    assert sum(row["status"] == "claimed" for item in sample.deliveries for row in item.tables["outcomes"]) > 0


def test_the_broken_return_is_broken_in_four_ways(sample: Sample) -> None:
    (path,) = sample.summary.broken
    tables = read_return(path).tables
    known = {row["metric_id"] for row in sample.register["metrics"]}
    references = [row["outcome_ref"] for row in tables["outcomes"]]
    assert {row["metric_id"] for row in tables["outcomes"]} - known
    assert len(set(references)) < len(references)
    assert any(row["payer_id"] is None for row in tables["payments"])
    assert any(isinstance(row["started_on"], str) for row in tables["participants"])


def test_one_project_has_not_returned_its_last_quarter(sample: Sample) -> None:
    returned: defaultdict[str, set[Quarter]] = defaultdict(set)
    for item in sample.deliveries:
        returned[item.project_id].add(item.quarter)
    due = {row["project_id"]: set(Quarter.of(row["starts_on"]).until(Quarter(2023, 1))) for row in sample.register["projects"]}
    assert [project_id for project_id in due if due[project_id] - returned[project_id]] == ["SYN-P05"]


def test_the_categories_are_skewed_so_that_published_cells_are_large_and_very_small(sample: Sample) -> None:
    cells: Counter[tuple[str, Quarter, str]] = Counter()
    for item in sample.deliveries:
        for row in item.tables["participants"]:
            if Quarter.of(row["started_on"]) == item.quarter:
                cells[item.project_id, item.quarter, row["ethnicity"]] += 1
    assert sum(1 <= count < 5 for count in cells.values()) > 20
    assert max(cells.values()) > 40


def test_the_number_of_participants_is_exactly_what_was_asked_for(tmp_path: Path) -> None:
    assert make(tmp_path, projects=2, quarters=3, participants=97).summary.participants == 97


def test_the_smallest_sample_has_one_return(tmp_path: Path) -> None:
    sample = make(tmp_path, projects=1, quarters=1)
    assert len(sample.deliveries) == 1
    assert sample.summary.describe()[0].startswith("1 returns of fund SYN-LCF")


def test_a_sample_with_hardly_anybody_is_still_sound(tmp_path: Path) -> None:
    sample = make(tmp_path, projects=4, quarters=2, participants=1)
    tables, findings = read_register(sample.folder / "register", DEFINITIONS)
    assert [*findings, *make_records(tables, DEFINITIONS)[1]] == []
    assert any(row["payer_id"] is None for row in read_return(sample.summary.broken[0]).tables["payments"])


def test_returns_of_very_many_rows_are_zipped_csv(tmp_path: Path) -> None:
    sample = make(tmp_path, projects=1, quarters=1, participants=6000)
    assert [item.path.suffix for item in sample.deliveries] == [".zip"]
    assert len(sample.deliveries[0].tables["participants"]) == 5400


def test_progress_counts_every_project_and_quarter(tmp_path: Path) -> None:
    bars: list[tuple[str, int]] = []
    done: list[int] = []

    def progress(title: str, total: int) -> AbstractContextManager[Any]:
        bars.append((title, total))
        return nullcontext(done.append)

    make(tmp_path, projects=3, quarters=2, participants=10, progress=progress)
    assert bars == [("Writing returns", 6)]
    assert sum(done) == 6


@pytest.mark.parametrize("wrong", [{"projects": 0}, {"quarters": 0}, {"participants": -1}, {"seed": -1}])
def test_a_sample_of_nothing_is_refused(tmp_path: Path, wrong: Mapping[str, int]) -> None:
    with pytest.raises(UsageError):
        make(tmp_path, **wrong)
    assert list(tmp_path.iterdir()) == []


def test_councils_are_named_like_columns_of_a_spreadsheet() -> None:
    assert [letters_of(number) for number in (1, 26, 27, 52, 53, 703)] == ["A", "Z", "AA", "AZ", "BA", "AAA"]


def test_a_template_has_the_headings_and_says_whose_it_is(tmp_path: Path) -> None:
    path = tmp_path / "template.xlsx"
    path.write_bytes(write_workbook({}, "P1", "2024-Q1", DEFINITIONS))
    book = load_workbook(path)
    assert book.sheetnames == ["guidance", "cover", "participants", "outcomes", "payments", "lists"]
    for name in RETURN_TABLES:
        assert next(book[name].iter_rows(max_row=1, values_only=True)) == DEFINITIONS.table("submission", name).columns
    assert [cell.value for cell in book["cover"][2]][:4] == ["P1", "2024-Q1", "1", None]
    choice = book["participants"].data_validations.dataValidation[0]
    column = next(book["lists"].iter_cols(max_col=1, values_only=True))
    assert choice.formula1 == f"lists!$A$2:$A${len(DEFINITIONS.codelists['age_band']) + 1}"
    assert [code for code in column[1:] if code is not None] == list(DEFINITIONS.codelists["age_band"])


def test_days_and_money_are_days_and_numbers_in_a_workbook_and_what_is_none_stays_text(tmp_path: Path) -> None:
    path = tmp_path / "return.xlsx"
    payments: list[dict[str, object]] = [
        {"payment_ref": "A", "period_start": date(2024, 1, 1), "amount_gbp": Decimal("1250.50")},
        {"payment_ref": "B", "period_start": "spring", "amount_gbp": "about 5"},
    ]
    path.write_bytes(write_workbook({"payments": payments}, "P1", "2024-Q1", DEFINITIONS))
    headings, good, bad = load_workbook(path)["payments"].iter_rows()
    row = {heading.value: cell for heading, cell in zip(headings, good, strict=True)}
    assert (row["period_start"].value, row["period_start"].number_format) == (datetime(2024, 1, 1), "yyyy-mm-dd")
    assert (row["amount_gbp"].value, row["amount_gbp"].number_format) == (1250.5, "#,##0.00")
    assert [cell.value for cell in bad if cell.value is not None] == ["B", "spring", "about 5"]


def test_files_carry_no_time_at_which_they_were_made(tmp_path: Path) -> None:
    for content in (write_workbook({}, "P1", "2024-Q1", DEFINITIONS), write_zip({}, "P1", "2024-Q1", DEFINITIONS)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
            if "docProps/core.xml" in archive.namelist():
                assert set(re.findall(rb"\d{4}-\d\d-\d\dT[\d:]+Z", archive.read("docProps/core.xml"))) == {b"2021-01-01T00:00:00Z"}


def test_a_zip_of_rows_and_one_of_a_table_say_the_same() -> None:
    rows: list[dict[str, object]] = [{"outcome_ref": "O1", "quantity": 3, "achieved_on": date(2024, 1, 2), "evidence_type": "payslip"}]
    content = write_zip({"outcomes": rows}, "P1", "2024-Q1", DEFINITIONS)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == ["cover.csv", "participants.csv", "outcomes.csv", "payments.csv"]
        text = archive.read("outcomes.csv")
    table = pa_csv.read_csv(io.BytesIO(text))
    with zipfile.ZipFile(io.BytesIO(write_zip({"outcomes": table}, "P1", "2024-Q1", DEFINITIONS))) as archive:
        assert read_csv(archive.read("outcomes.csv")) == read_csv(text)
