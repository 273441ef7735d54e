"""What holds of a report whatever was found: nothing that fails passes, no row falls silent, and the order of the findings is no matter."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.adapters.definitions import find_definitions, load_definitions
from pipeline.domain.findings import Finding, is_blocking
from pipeline.stages.follow_ons import CAUSES, without_follow_ons

DEFINITIONS = load_definitions(find_definitions())
NAMED = sorted({*CAUSES, *(rule for found in CAUSES.values() for rule in found.in_row | found.in_cell)})
OTHERS = [rule.id for rule in DEFINITIONS.rules.values() if rule.stage in {"content", "contract"} and rule.id not in NAMED]
COLUMNS = ("metric_id", "payer_id", "quantity", "amount_gbp", "achieved_on", "period_start", "period_end", "outcome_ref")


@st.composite
def some_findings(draw: st.DrawFn) -> list[Finding]:
    rules = st.sampled_from([*NAMED, *OTHERS]).map(DEFINITIONS.rule)
    places = st.tuples(st.sampled_from(("outcomes", "payments")), st.integers(2, 5), st.sampled_from(COLUMNS))
    found = draw(st.lists(st.tuples(rules, places, st.sampled_from(({}, {"count": "9"}))), max_size=20))
    return [rule.found(*place, **values) for rule, place, values in found]


def place(finding: Finding) -> tuple[str, str, int, str]:
    return finding.rule, finding.table, finding.row, finding.column


@settings(max_examples=400)
@given(some_findings())
def test_leaving_out_what_follows_changes_no_verdict_and_silences_no_row(found: list[Finding]) -> None:
    kept = without_follow_ons(found, DEFINITIONS, {})
    assert is_blocking(kept) == is_blocking(found)
    assert {(finding.table, finding.row) for finding in kept} == {(finding.table, finding.row) for finding in found}
    assert {place(finding) for finding in kept} <= {place(finding) for finding in found}


@given(some_findings(), st.randoms())
def test_the_order_in_which_things_were_found_is_no_matter(found: list[Finding], chance: object) -> None:
    again = list(found)
    chance.shuffle(again)  # type: ignore[attr-defined]
    assert sorted(without_follow_ons(found, DEFINITIONS, {})) == sorted(without_follow_ons(again, DEFINITIONS, {}))
