"""The versions of a fund's published data: numbers, states, and the rules that keep published data honest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from pipeline.domain.events import DomainEvent, ReleaseDrafted
from pipeline.domain.release import (
    RETRACTION_REASONS,
    RETURN_REASONS,
    Change,
    Release,
    Releases,
    Version,
    check_publishable,
    decide_approve,
    decide_audit,
    decide_build,
    decide_draft,
    decide_publish,
    decide_renumber,
    decide_return,
    decide_withdraw,
    evolve,
    fold,
    next_version,
    release_stream,
)
from pipeline.errors import ConflictError, NotAllowedError, NotFoundError, UsageError
from tests.factories import FUND, NOW, digest, drafted, recorded, release_file


class Fund:
    """A fund's releases, to which things happen. What a draft pins and what a build gives is named by a word."""

    def __init__(self) -> None:
        self.state = Releases(fund_id=FUND)

    def tell(self, decided: Sequence[DomainEvent], actor: str = "ann") -> int:
        for event in decided:
            self.state = evolve(self.state, recorded(event, version=self.state.stream_version + 1, actor=actor))
        return len(decided)

    def draft(self, ledger: str = "data 1", change: Change = "patch", actor: str = "ann", **others: Any) -> int:
        pins: dict[str, Any] = {"position": 7, "chain_head": digest("head"), "as_of": date(2024, 6, 3), "code": "0.1.0"}
        pins |= {"rules": digest("rules"), "schemas": digest("schemas"), "version": next_version(self.state, change)}
        return self.tell(decide_draft(self.state, ledger=digest(ledger), **{**pins, **others}), actor)

    def build(self, word: str = "bytes", pinned: ReleaseDrafted | None = None) -> int:
        pinned = pinned or self.open.draft
        return self.tell(decide_build(self.state, pinned, manifest=digest(word), files=[release_file(word=word)], suppressed={"projects": 0}))

    def audit(self, word: str = "bytes", *, passed: bool = True) -> int:
        return self.tell(decide_audit(self.state, self.last, manifest=digest(word), passed=passed, report=digest("audit"), attacks={"linear": 3}))

    def approve(self, word: str = "bytes", actor: str = "bob") -> int:
        return self.tell(decide_approve(self.state, self.last, manifest=digest(word), actor=actor), actor)

    def return_(self, word: str = "bytes", reason: str = "figures_wrong") -> int:
        return self.tell(decide_return(self.state, self.last, manifest=digest(word), reason=reason), "bob")

    def publish(self, word: str = "bytes") -> int:
        return self.tell(decide_publish(self.state, self.last, manifest=digest(word)))

    def withdraw(self, version: str, reason: str = "figures_wrong") -> int:
        return self.tell(decide_withdraw(self.state, version, reason))

    @property
    def open(self) -> Release:
        assert self.state.open is not None
        return self.state.open

    @property
    def last(self) -> str:
        """The version that was last worked on: the open one, or else the greatest number."""
        return self.state.open.version if self.state.open else self.state.all[-1].version

    @property
    def states(self) -> dict[str, str]:
        return {item.version: item.state for item in self.state.all}


def audited(*, passed: bool = True, **draft: Any) -> Fund:
    fund = Fund()
    fund.draft(**draft)
    fund.build()
    fund.audit(passed=passed)
    return fund


def approved(**draft: Any) -> Fund:
    fund = audited(**draft)
    fund.approve()
    return fund


def published(*changes: Change) -> Fund:
    """Return a fund that published once, and again for each change, each time with other data."""
    fund = Fund()
    for number, change in enumerate(("major", *changes)):
        fund.draft(f"data {number}", change)
        fund.build(f"bytes {number}")
        fund.audit(f"bytes {number}")
        fund.approve(f"bytes {number}")
        fund.publish(f"bytes {number}")
    return fund


@pytest.mark.parametrize("text", ["1.2.3", "v1.2.3"])
def test_a_version_is_read_with_and_without_its_letter(text: str) -> None:
    assert (Version.parse(text), str(Version.parse(text))) == (Version(1, 2, 3), "1.2.3")


@pytest.mark.parametrize("text", ["", "1.2", "1.2.3.4", "01.2.3", "1.2.x", "1.2.3\n", "V1.2.3", "1.2.-3", "\u0661.2.3", "1.2." + "9" * 5000])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"written like 1\.2\.0"):
        Version.parse(text)


def test_versions_are_ordered_by_number_and_not_by_letter() -> None:
    assert Version.parse("1.9.0") < Version.parse("1.10.0") < Version.parse("2.0.0")


@pytest.mark.parametrize(("change", "raised"), [("major", "2.0.0"), ("minor", "1.3.0"), ("patch", "1.2.4")])
def test_a_change_raises_the_number_by_its_weight(change: Change, raised: str) -> None:
    assert str(Version(1, 2, 3).raised(change)) == raised


@pytest.mark.parametrize("change", ["major", "minor", "patch"])
def test_the_first_version_is_one_whatever_the_change(change: Change) -> None:
    assert next_version(Releases(fund_id=FUND), change) == Version(1, 0, 0)


def test_the_next_version_follows_the_newest_published_one_also_when_it_was_withdrawn() -> None:
    fund = published("minor")
    fund.withdraw("1.1.0")
    assert [str(next_version(fund.state, change)) for change in ("major", "minor", "patch")] == ["2.0.0", "1.2.0", "1.1.1"]


def test_a_fund_has_one_stream() -> None:
    assert Releases(fund_id=FUND).stream == release_stream(FUND) == "release/F1"


def test_a_release_that_is_not_there_is_not_found() -> None:
    with pytest.raises(NotFoundError, match=r"no release 1\.0\.0"):
        Releases(fund_id=FUND).release("1.0.0")


def test_a_draft_pins_what_it_was_given_on_the_newest_published_version() -> None:
    fund = published()
    fund.draft("more data", "minor", position=20)
    assert fund.open.draft == drafted("1.1.0", base_version="1.0.0", ledger=digest("more data"), position=20)
    assert (fund.open.drafted_by, fund.open.drafted_at, fund.open.draft.base_version) == ("ann", NOW, "1.0.0")


def test_the_same_data_again_are_no_news_even_at_a_later_position_of_the_log() -> None:
    fund = Fund()
    assert [fund.draft(), fund.draft(position=99, as_of=date(2024, 7, 1), chain_head=digest("later"), actor="bob")] == [1, 0]
    assert (fund.open.drafted_by, fund.open.draft.position) == ("ann", 7)


@pytest.mark.parametrize("pins", [{"rules": digest("other")}, {"schemas": digest("other")}, {"ledger": "data 2"}])
def test_other_data_rules_or_schemas_make_another_round_of_the_same_number(pins: dict[str, Any]) -> None:
    fund = audited()
    assert fund.draft(**pins) == 1
    assert (fund.states, fund.open.draft.round, fund.open.manifest, fund.open.audit_passed) == ({"1.0.0": "drafted"}, 2, None, None)


def test_a_new_draft_of_another_number_replaces_the_open_one() -> None:
    fund = published()
    fund.draft("data 2", "patch")
    fund.draft("data 3", "minor")
    assert fund.states == {"1.0.0": "published", "1.0.1": "returned", "1.1.0": "drafted"}
    assert fund.state.release("1.0.1").reason == "replaced_by_draft"


def test_a_number_that_was_replaced_can_be_drafted_again() -> None:
    fund = published()
    fund.draft("data 2", "patch")
    fund.draft("data 3", "minor")
    fund.draft("data 2", "patch")
    assert (fund.states, fund.open.draft.round) == ({"1.0.0": "published", "1.0.1": "drafted", "1.1.0": "returned"}, 2)


def test_asking_for_a_greater_number_drafts_the_same_data_again() -> None:
    fund = published()
    fund.draft("data 2", "patch")
    assert fund.draft("data 2", "major") == 1
    assert fund.states == {"1.0.0": "published", "1.0.1": "returned", "2.0.0": "drafted"}


def test_a_smaller_number_for_the_same_data_is_no_news() -> None:
    fund = published()
    fund.draft("data 2", "minor")
    assert fund.draft("data 2", "patch") == 0
    assert fund.open.version == "1.1.0"


def test_nothing_is_drafted_while_an_approved_release_waits() -> None:
    fund = approved()
    with pytest.raises(NotAllowedError, match=r"1\.0\.0 is approved and waits for publication"):
        fund.draft("data 2")
    assert fund.draft("data 1") == 0


@pytest.mark.parametrize("version", [Version(1, 0, 0), Version(0, 9, 0)])
def test_a_number_that_is_not_after_the_newest_is_refused(version: Version) -> None:
    with pytest.raises(NotAllowedError, match=r"not after 1\.0\.0"):
        published().draft("data 2", version=version)


def test_a_renumbered_draft_pins_the_same_and_keeps_who_asked_for_it() -> None:
    fund = published()
    fund.draft("data 2", "patch", actor="ann")
    pinned = fund.open.draft
    assert fund.tell(decide_renumber(fund.state, pinned, Version(1, 1, 0)), "worker") == 1
    assert (fund.open.draft, fund.open.drafted_by) == (replace(pinned, version="1.1.0"), "ann")
    assert fund.states == {"1.0.0": "published", "1.0.1": "returned", "1.1.0": "drafted"}


def test_who_drafts_other_data_over_an_open_draft_is_who_asked_for_it() -> None:
    fund = published()
    fund.draft("data 2", "patch", actor="ann")
    fund.draft("data 3", "minor", actor="bob")
    assert fund.open.drafted_by == "bob"


def test_renumbering_again_appends_nothing() -> None:
    fund = published()
    fund.draft("data 2", "patch")
    pinned = fund.open.draft
    assert [fund.tell(decide_renumber(fund.state, pinned, Version(1, 1, 0))) for _ in range(2)] == [1, 0]


def test_renumbering_takes_up_the_rounds_of_a_number_that_was_used_before() -> None:
    fund = published()
    fund.draft("data 2", "minor")
    fund.draft("data 3", "patch")
    fund.tell(decide_renumber(fund.state, fund.open.draft, Version(1, 1, 0)))
    assert fund.open.draft.round == 2


def test_only_a_draft_gets_another_number() -> None:
    fund = audited()
    with pytest.raises(NotAllowedError, match="only a draft gets another number"):
        decide_renumber(fund.state, fund.open.draft, Version(2, 0, 0))


def test_a_draft_that_was_drafted_anew_meanwhile_is_not_renumbered() -> None:
    fund = Fund()
    fund.draft("data 1")
    pinned = fund.open.draft
    fund.draft("data 2")
    with pytest.raises(ConflictError, match="drafted anew"):
        decide_renumber(fund.state, pinned, Version(2, 0, 0))


def test_building_records_the_candidate_and_the_same_bytes_again_append_nothing() -> None:
    fund = Fund()
    fund.draft()
    assert [fund.build(), fund.build()] == [1, 0]
    assert (fund.open.state, fund.open.manifest, fund.open.files, fund.open.suppressed) == (
        "built",
        digest("bytes"),
        (release_file(word="bytes"),),
        {"projects": 0},
    )


def test_other_bytes_from_the_same_draft_are_a_conflict() -> None:
    fund = Fund()
    fund.draft()
    fund.build()
    with pytest.raises(ConflictError, match="other bytes from the same draft"):
        fund.build("other bytes")


def test_what_was_built_from_a_draft_that_is_no_longer_there_is_not_recorded() -> None:
    fund = Fund()
    fund.draft("data 1")
    pinned = fund.open.draft
    fund.draft("data 2")
    with pytest.raises(ConflictError, match="drafted anew while it was built"):
        fund.build(pinned=pinned)


def test_a_draft_that_was_replaced_cannot_be_built() -> None:
    fund = published()
    fund.draft("data 2", "patch")
    pinned = fund.open.draft
    fund.draft("data 3", "minor")
    with pytest.raises(NotAllowedError, match=r"1\.0\.1 is returned and cannot become built"):
        fund.build(pinned=pinned)


def test_an_audit_is_recorded_once() -> None:
    fund = Fund()
    fund.draft()
    fund.build()
    assert [fund.audit(), fund.audit(passed=False)] == [1, 0]
    assert (fund.open.state, fund.open.audit_passed, fund.open.audit_report) == ("audited", True, digest("audit"))


def test_an_audit_of_other_bytes_is_a_conflict() -> None:
    fund = Fund()
    fund.draft()
    fund.build()
    with pytest.raises(ConflictError, match="changed while it was audited"):
        fund.audit("other bytes")


def test_a_draft_cannot_be_audited_before_it_is_built() -> None:
    fund = Fund()
    fund.draft()
    with pytest.raises(NotAllowedError, match="is drafted and cannot become audited"):
        fund.audit()


def test_another_person_approves_the_bytes_that_they_saw() -> None:
    fund = audited()
    assert [fund.approve(), fund.approve()] == [1, 0]
    assert (fund.open.state, fund.open.approved_by) == ("approved", "bob")


def test_nobody_approves_their_own_draft() -> None:
    with pytest.raises(NotAllowedError, match="was drafted by ann; another person must approve it"):
        audited().approve(actor="ann")


def test_nobody_approves_their_own_draft_by_letting_another_build_it_under_a_greater_number() -> None:
    fund = published()
    fund.draft("data 2", "patch", actor="ann")
    fund.tell(decide_renumber(fund.state, fund.open.draft, Version(1, 1, 0)), "bob")
    fund.build()
    fund.audit()
    with pytest.raises(NotAllowedError, match="drafted by ann"):
        fund.approve(actor="ann")
    assert fund.approve(actor="bob") == 1


def test_a_hash_that_is_not_the_candidates_is_a_conflict() -> None:
    with pytest.raises(ConflictError, match="Look at it again before you approve"):
        audited().approve("other bytes")


def test_what_failed_its_audit_cannot_be_approved() -> None:
    with pytest.raises(NotAllowedError, match="failed its disclosure audit"):
        audited(passed=False).approve()


def test_a_release_is_approved_by_one_person() -> None:
    with pytest.raises(NotAllowedError, match="is approved and cannot become approved"):
        approved().approve(actor="cleo")


@pytest.mark.parametrize("reason", RETURN_REASONS)
def test_a_candidate_is_sent_back_for_a_coded_reason_once(reason: str) -> None:
    fund = audited()
    assert [fund.return_(reason=reason), fund.return_(reason=reason)] == [1, 0]
    assert (fund.states, fund.state.release("1.0.0").reason, fund.state.open) == ({"1.0.0": "returned"}, reason, None)


def test_a_return_for_another_reason_is_refused() -> None:
    with pytest.raises(UsageError, match="one of figures_wrong"):
        audited().return_(reason="because")


def test_a_return_of_other_bytes_is_a_conflict() -> None:
    with pytest.raises(ConflictError, match="Look at it again"):
        audited().return_("other bytes")


def test_what_was_published_cannot_be_returned() -> None:
    with pytest.raises(NotAllowedError, match="is published and cannot become returned"):
        published().return_("bytes 0")


def test_what_was_returned_is_not_drafted_again_before_something_has_changed() -> None:
    fund = audited()
    fund.return_()
    with pytest.raises(NotAllowedError, match=r"1\.0\.0 was returned \(figures_wrong\) and nothing has changed since"):
        fund.draft("data 1")
    assert fund.draft("data 2") == 1
    assert fund.open.draft.round == 2


def test_what_was_returned_under_a_greater_number_does_not_come_back_under_a_smaller_one() -> None:
    fund = published()
    fund.draft("data 2", "patch")
    fund.tell(decide_renumber(fund.state, fund.open.draft, Version(1, 1, 0)))
    fund.build()
    fund.audit()
    fund.return_()
    with pytest.raises(NotAllowedError, match=r"1\.1\.0 was returned"):
        fund.draft("data 2", "patch")
    assert fund.draft("data 2", "major") == 1


def test_the_number_of_a_release_that_was_approved_and_returned_is_never_given_out_again() -> None:
    fund = approved()
    fund.return_()
    with pytest.raises(NotAllowedError, match=r"1\.0\.0 was approved once"):
        fund.draft("data 2", version=Version(1, 0, 0))
    fund.draft("data 2")
    assert fund.open.version == "1.0.1"


def test_the_same_data_do_not_come_back_under_the_number_after_a_spent_one() -> None:
    fund = approved()
    fund.return_()
    with pytest.raises(NotAllowedError, match="nothing has changed since"):
        fund.draft("data 1")


def test_publishing_is_recorded_once() -> None:
    fund = approved()
    assert [fund.publish(), fund.publish()] == [1, 0]
    newest = fund.state.newest
    assert newest is not None
    assert (newest.state, newest.published_at) == ("published", NOW)


def test_what_nobody_approved_cannot_be_published() -> None:
    with pytest.raises(NotAllowedError, match="is audited and cannot become published"):
        audited().publish()


def test_other_bytes_than_those_approved_are_not_published() -> None:
    with pytest.raises(ConflictError, match="approved with another manifest"):
        approved().publish("other bytes")


def test_a_release_is_published_on_the_version_that_it_was_drafted_on_only() -> None:
    fund = approved()
    (waiting,) = fund.state.all
    newer = published("minor")
    moved = replace(newer.state, by_version={**(newer.state.by_version or {}), "1.0.1": replace(waiting, version="1.0.1")})
    with pytest.raises(NotAllowedError, match="not the newest any more"):
        check_publishable(moved, moved.release("1.0.1"))


@pytest.mark.parametrize("reason", RETRACTION_REASONS)
def test_a_published_version_is_withdrawn_for_a_public_reason_once(reason: str) -> None:
    fund = published()
    assert [fund.withdraw("1.0.0", reason), fund.withdraw("1.0.0", reason)] == [1, 0]
    assert (fund.states, fund.state.release("1.0.0").reason) == ({"1.0.0": "withdrawn"}, reason)


def test_a_withdrawal_for_another_reason_is_refused() -> None:
    with pytest.raises(UsageError, match="one of figures_wrong"):
        published().withdraw("1.0.0", "because")


def test_only_what_was_published_can_be_withdrawn() -> None:
    with pytest.raises(NotAllowedError, match="is approved and cannot become withdrawn"):
        approved().withdraw("1.0.0")


def test_a_withdrawn_version_cannot_be_published_again() -> None:
    fund = published()
    fund.withdraw("1.0.0")
    with pytest.raises(NotAllowedError, match="is withdrawn and cannot become published"):
        decide_publish(fund.state, "1.0.0", manifest=digest("bytes 0"))


def test_versions_are_listed_oldest_first_and_the_newest_counts_also_when_withdrawn() -> None:
    changes: list[Change] = ["minor"] * 10
    fund = published(*changes)
    fund.withdraw("1.10.0")
    assert [item.version for item in fund.state.all][-3:] == ["1.8.0", "1.9.0", "1.10.0"]
    assert fund.state.newest is not None
    assert fund.state.newest.version == "1.10.0"


def test_a_stream_folds_to_the_state_that_it_led_to() -> None:
    draft = drafted()
    events = [recorded(draft, version=1), recorded(DomainEvent(), version=2)]
    state = fold(FUND, events)
    assert (state.stream_version, state.open and state.open.draft) == (2, draft)
