"""The certificate of a release and its check: what proves that hidden figures cannot be known, and everything that must not pass for a proof."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from pipeline.errors import IntegrityError
from pipeline.stages.audit import Certificate, audit, check, find_made_by_price
from pipeline.stages.audit.certificate import certify
from pipeline.stages.audit.equations import Line
from pipeline.stages.audit.witnesses import Witnesses, check_certificate, digest_lines
from tests.unit.test_audit import BY_GROUP, attack, counts, found, rules, sums_of

THRESHOLD = 5
LINES = [Line({0: 1, 1: 1, 2: 1}, 12), Line({2: 1, 3: -1}, 0)]
"""Three hidden counts make 12 together, and a fourth is the same as the third."""
EVERY = {0, 1, 2, 3}


def problems(certificate: Certificate, lines: list[Line] = LINES, wanted: set[int] = EVERY) -> str:
    return " ".join(check_certificate(certificate, lines, EVERY, wanted, THRESHOLD))


def made() -> Certificate:
    certificate, missing = certify(LINES, EVERY, EVERY, THRESHOLD)
    assert not missing
    return certificate


def with_group(**changed: Any) -> Certificate:
    certificate = made()
    return replace(certificate, groups=[replace(certificate.groups[0], **changed)])


def test_every_hidden_figure_gets_two_whole_tables_that_say_the_same_in_public() -> None:
    certificate = made()
    (group,) = certificate.groups

    assert problems(certificate) == ""
    assert group.pairs.keys() == EVERY
    for figure, (one, other) in group.pairs.items():
        assert group.tables[one][figure] != group.tables[other][figure]
    assert all(sum(table[:3]) == 12 and table[2] == table[3] and min(table) >= 0 for table in group.tables)


def test_a_certificate_is_read_back_as_it_was_written() -> None:
    certificate = made()

    assert Certificate.parse(certificate.to_bytes()).to_bytes() == certificate.to_bytes()
    assert problems(Certificate.parse(certificate.to_bytes())) == ""


@pytest.mark.parametrize("content", [b"", b"[]", b'{"lines": "x"}', b'{"lines": "x", "groups": [{"figures": ["a"], "tables": [], "pairs": []}]}'])
def test_what_is_no_certificate_is_not_read_as_one(content: bytes) -> None:
    with pytest.raises(IntegrityError):
        Certificate.parse(content)


def test_a_table_that_breaks_a_line_is_no_witness() -> None:
    tables = [list(table) for table in made().groups[0].tables]
    tables[0][0] += 1

    assert "does not agree with what is published" in problems(with_group(tables=tables))


def test_a_table_with_a_count_below_zero_is_no_witness() -> None:
    tables = [[-1, 13, 0, 0], [13, -1, 0, 0], [0, 0, 12, 12]]

    assert "count below zero" in problems(with_group(tables=tables, pairs=dict.fromkeys(EVERY, (0, 2))))


def test_two_tables_that_agree_in_a_figure_do_not_hide_it() -> None:
    tables = [[4, 4, 4, 4], [3, 5, 4, 4]]

    assert problems(with_group(tables=tables, pairs=dict.fromkeys(EVERY, (0, 1)))).count("leave figure") == 3


def test_a_small_count_needs_values_further_apart_than_a_large_one() -> None:
    tables = [[4, 4, 4, 4], [3, 6, 3, 3], [1, 9, 2, 2]]

    assert "leave figure 2 open" in problems(with_group(tables=tables, pairs=dict.fromkeys(EVERY, (0, 1))))
    assert problems(with_group(tables=tables, pairs=dict.fromkeys(EVERY, (0, 2)))) == ""


def test_a_pair_that_points_nowhere_hides_nothing() -> None:
    assert problems(with_group(pairs=dict.fromkeys(EVERY, (0, 99)))).count("leave figure") == 4
    assert problems(with_group(pairs={})).count("leave figure") == 4


def test_a_group_that_leaves_out_what_hangs_together_with_it_is_refused() -> None:
    certificate = Certificate(digest_lines(LINES), [Witnesses([0, 1, 2], [[4, 4, 4], [0, 6, 6]], dict.fromkeys((0, 1, 2), (0, 1)))])

    assert "leaves out figures" in problems(certificate)


def test_a_figure_without_a_group_is_missed() -> None:
    assert problems(replace(made(), groups=[])).count("has no witness") == 4


def test_a_certificate_of_other_public_files_is_refused() -> None:
    assert "other lines" in problems(made(), lines=[Line({0: 1, 1: 1, 2: 1}, 13), LINES[1]])


def test_what_nothing_public_ties_down_needs_no_witness() -> None:
    assert problems(made(), wanted={*EVERY, 99}) == ""


def test_a_certificate_is_the_same_when_it_is_made_again() -> None:
    assert made().to_bytes() == made().to_bytes()


def test_an_audit_that_passes_leaves_a_certificate_that_holds_for_these_files_only() -> None:
    figures = {"all": 59, "a": "c", "b": 40, "c": "c"}
    report = attack(figures, BY_GROUP)

    assert report.passed
    assert check(report.certificate, {"counts": counts(figures)}, rules(BY_GROUP)) == []
    assert check(report.certificate, {"counts": counts({**figures, "all": 60})}, rules(BY_GROUP)) != []


def test_figures_that_only_whole_numbers_settle_are_found_by_their_missing_witnesses() -> None:
    """Any two of three add up to an even number plus one: halves would do, whole numbers do not; and 3 a + 5 b = 11 has the one answer 2 and 1."""
    payments = {
        "id": "by_price",
        "payments": {"table": "paid", "column": "paid_gbp"},
        "counts": {"table": "counts", "column": "people_count", "where_not": {"group": ["all"]}},
        "prices": {"table": "card", "column": "price_gbp", "match": ["group"], "newest": "version"},
        "match": ["group"],
        "series": ["area"],
    }
    known = rules(BY_GROUP)
    known["tables"] |= {"card": {"cells": []}, "paid": {"cells": [{"column": "paid_gbp", "people": "paid_gbp", "importance": 1}]}}
    whole = {"table": "paid", "column": "paid_gbp", "where": {"group": ["all"]}}
    parts = {"table": "paid", "column": "paid_gbp", "where_not": {"group": ["all"]}}
    known["relations"].append({"id": "paid_in_all", "kind": "sum", "total": whole, "parts": parts, "match": ["area"], "each": []})
    known["prices"] = [payments]
    kind = pa.decimal128(18, 2)
    tables = {
        "counts": counts({"all": "c", "a": "c", "b": "c"}),
        "card": pa.table({"group": ["a", "b"], "version": [1, 1], "price_gbp": pa.array([Decimal(3), Decimal(5)], kind)}),
        "paid": pa.table(
            {
                "area": ["A"] * 3,
                "group": ["all", "a", "b"],
                "paid_gbp": pa.array([Decimal(11), None, None], kind),
                "paid_gbp_status": ["published", "c", "c"],
            }
        ),
    }

    report = audit(tables, known, by_price=[frozenset({("by_price", "A", group) for group in "ab"})])

    assert not report.passed
    assert {weakness.attack for weakness in report.weaknesses} == {"certificate"}
    assert found(report, "certificate") == ["a", "all", "b"]
    assert audit(tables, known).passed, "whoever does not know that payments are made by price has nothing to go by"


def test_only_payments_that_come_out_are_told_to_be_made_by_price() -> None:
    """Of a kind that mostly is: the payment of the third group is for something else as well."""
    relation = {
        "id": "by_price",
        "payments": {"table": "paid", "column": "paid_gbp"},
        "counts": {"table": "counts", "column": "people_count"},
        "prices": {"table": "card", "column": "price_gbp", "match": ["group"], "newest": "version"},
        "match": ["group"],
        "series": ["area"],
    }
    known = rules() | {"prices": [relation]}
    known["tables"] |= {"card": {"cells": []}, "paid": {"cells": [{"column": "paid_gbp", "people": "paid_gbp", "importance": 1}]}}
    kind = pa.decimal128(18, 2)
    groups = ["a", "b", "c"]

    def tables(area: str, *paid: int) -> dict[str, pa.Table]:
        amounts = pa.array([Decimal(amount) for amount in paid], kind)
        return {
            "counts": counts({"a": 6, "b": 7, "c": 8}),
            "card": pa.table({"group": groups, "version": [1] * 3, "price_gbp": pa.array([Decimal(3)] * 3, kind)}),
            "paid": pa.table({"area": [area] * 3, "group": groups, "paid_gbp": amounts, "paid_gbp_status": ["published"] * 3}),
        }

    made = find_made_by_price([tables("A", 18, 21, 99), tables("A", 18, 0, 1), tables("B", 18, 1, 1)], known)

    assert made == [{("by_price", "A", "a"), ("by_price", "A", "b")}, {("by_price", "A", "a")}, frozenset()]


def test_whole_tables_are_looked_for_where_the_corners_are_halves() -> None:
    """The corners of three sums of two are halves, and whole tables lie between them."""
    figures: dict[str, int | str] = {"a": "c", "b": "c", "c": "c", "d": "c", "abc": 31, "abd": 30, "bcd": 30}
    report = attack(figures, *sums_of(abc=["a", "b", "c"], abd=["a", "b", "d"], bcd=["b", "c", "d"]))

    assert report.passed
    assert report.attacks["certificate"] == 4
