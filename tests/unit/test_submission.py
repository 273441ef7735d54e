"""One return: its revisions, what may happen to them, and which of them is in force."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pipeline.domain.events import DomainEvent, SubmissionAccepted, SubmissionReceived, SubmissionRejected, SubmissionValidated, SubmissionWithdrawn
from pipeline.domain.submission import (
    TRANSITIONS,
    WITHDRAWAL_REASONS,
    RevisionKey,
    Submission,
    SubmissionKey,
    decide_accept,
    decide_receive,
    decide_reject,
    decide_validate,
    decide_withdraw,
    evolve,
    fold,
)
from pipeline.errors import NotAllowedError, NotFoundError, UsageError
from tests.factories import KEY, NOW, digest, fact_file, recorded, row_changes, row_counts


class Return:
    """A submission to which things happen."""

    def __init__(self) -> None:
        self.state = Submission(key=KEY)

    def tell(self, decided: Sequence[DomainEvent]) -> int:
        for event in decided:
            self.state = evolve(self.state, recorded(event, stream=KEY.stream, version=self.state.version + 1))
        return len(decided)

    def receive(self, word: str = "one") -> int:
        return self.tell(decide_receive(self.state, digest(word), len(word)))

    def validate(self, number: int = 1, *, passed: bool = True, report: str = "report") -> int:
        counts = {} if passed else {"S-101": 2}
        return self.tell(decide_validate(self.state, number, passed=passed, report=digest(report), findings=counts, rules=digest("rules")))

    def accept(self, number: int = 1) -> int:
        files = [fact_file(word=f"facts {number}")]
        return self.tell(decide_accept(self.state, number, facts=files, rows=row_counts(), replaces=None, changes=row_changes()))

    def reject(self, number: int = 1) -> int:
        return self.tell(decide_reject(self.state, number))

    def withdraw(self, number: int = 1, reason: str = "sent_in_error") -> int:
        return self.tell(decide_withdraw(self.state, number, reason))

    @property
    def states(self) -> list[str]:
        return [revision.state for revision in self.state.revisions]

    @property
    def in_force(self) -> int | None:
        found = self.state.in_force
        return found.number if found else None


def accepted(*words: str) -> Return:
    told = Return()
    for number, word in enumerate(words or ("one",), start=1):
        told.receive(word)
        told.validate(number)
        told.accept(number)
    return told


def test_a_submission_is_named_by_its_project_and_quarter() -> None:
    key = SubmissionKey.parse("SYN-P01/2024-Q1")
    assert (key.project_id, key.quarter, key.stream, str(key)) == ("SYN-P01", "2024-Q1", "submission/SYN-P01/2024-Q1", "SYN-P01/2024-Q1")
    assert SubmissionKey.parse("unidentified/0123456789abcdef").project_id == "unidentified"


@pytest.mark.parametrize(
    "text", ["", "P1", "P1/", "/2024-Q1", "P1/2024-Q5", "P1/2024-Q1/1", "P1 /2024-Q1", "../2024-Q1", f"{'P' * 65}/2024-Q1", "é/2024-Q1"]
)
def test_what_names_no_submission_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="named by a project id"):
        SubmissionKey.parse(text)


def test_a_revision_is_named_by_its_submission_and_number() -> None:
    key = RevisionKey.parse("P1/2024-Q1/12")
    assert (key, str(key)) == (RevisionKey(KEY, 12), "P1/2024-Q1/12")
    assert RevisionKey(KEY, 2) < RevisionKey(KEY, 10)


@pytest.mark.parametrize(
    "text", ["P1/2024-Q1", "P1/2024-Q1/", "P1/2024-Q1/one", "P1/2024-Q1/-1", "P1/2024-Q1/\u0661", "P1/2024-Q1/1.0", "P1/2024-Q1/" + "9" * 5000]
)
def test_what_names_no_revision_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="named like PROJECT/2024-Q1/1"):
        RevisionKey.parse(text)


def test_a_delivery_becomes_the_first_revision_with_who_brought_it_and_when() -> None:
    told = Return()
    assert decide_receive(told.state, digest("one"), 3) == (
        SubmissionReceived(project_id="P1", quarter="2024-Q1", revision=1, content=digest("one"), size_bytes=3),
    )
    told.receive()
    revision = told.state.revision(1)
    assert (revision.state, revision.received_at, revision.received_by, revision.size_bytes) == ("received", NOW, "ann", 3)


def test_the_same_bytes_again_are_no_new_revision() -> None:
    told = Return()
    assert [told.receive("one"), told.receive("two"), told.receive("one"), told.receive("two")] == [1, 1, 0, 0]
    assert [revision.content for revision in told.state.revisions] == [digest("one"), digest("two")]


def test_bytes_that_were_withdrawn_or_rejected_keep_their_revision() -> None:
    told = accepted("one")
    told.withdraw()
    assert told.receive("one") == 0
    found = told.state.with_content(digest("one"))
    assert found is not None
    assert found.state == "withdrawn"


@pytest.mark.parametrize("number", [0, 2, -1])
def test_a_revision_that_is_not_there_is_not_found(number: int) -> None:
    told = Return()
    told.receive()
    with pytest.raises(NotFoundError, match=r"P1/2024-Q1 has no revision -?\d; it has 1"):
        told.validate(number)


def test_a_judgement_is_recorded_with_its_report_and_counts() -> None:
    told = Return()
    told.receive()
    told.validate(passed=False)
    revision = told.state.revision(1)
    assert (revision.state, revision.passed, revision.report, revision.findings) == ("validated", False, digest("report"), {"S-101": 2})


def test_the_same_judgement_again_appends_nothing_and_another_replaces_it() -> None:
    told = Return()
    told.receive()
    assert [told.validate(), told.validate(), told.validate(passed=False, report="other"), told.validate()] == [1, 0, 1, 1]
    assert told.state.revision(1).passed is True


def test_a_judgement_that_comes_after_the_decision_changes_nothing() -> None:
    told = accepted()
    assert told.validate(passed=False, report="late") == 0
    assert told.states == ["accepted"]


def test_accepting_makes_the_facts_count() -> None:
    told = accepted()
    (event,) = decide_accept(validated().state, 1, facts=[fact_file()], rows=row_counts(), replaces=None, changes=row_changes())
    assert event == SubmissionAccepted(
        revision=1, content=digest("one"), report=digest("report"), facts=[fact_file()], rows=row_counts(), replaces=None, changes=row_changes()
    )
    assert (told.in_force, told.state.revision(1).facts) == (1, (fact_file(word="facts 1"),))


def validated(*, passed: bool = True) -> Return:
    told = Return()
    told.receive()
    told.validate(passed=passed)
    return told


def test_accepting_again_appends_nothing() -> None:
    assert accepted().accept() == 0


def test_a_revision_that_was_not_validated_cannot_be_accepted() -> None:
    told = Return()
    told.receive()
    with pytest.raises(NotAllowedError, match="P1/2024-Q1/1 is received and cannot become accepted"):
        told.accept()


def test_a_revision_that_did_not_pass_cannot_be_accepted() -> None:
    with pytest.raises(NotAllowedError, match="did not pass validation"):
        validated(passed=False).accept()


def test_the_last_judgement_is_the_one_that_counts() -> None:
    told = validated()
    told.validate(passed=False, report="under stricter rules")
    with pytest.raises(NotAllowedError, match="did not pass"):
        told.accept()


@pytest.mark.parametrize("end", ["reject", "withdraw"])
def test_a_revision_that_was_rejected_or_withdrawn_cannot_be_accepted(end: str) -> None:
    told = validated() if end == "reject" else accepted()
    getattr(told, end)()
    with pytest.raises(NotAllowedError, match="cannot become accepted"):
        told.accept()


def test_a_revision_is_refused_with_its_report_and_refusing_again_appends_nothing() -> None:
    told = validated(passed=False)
    assert decide_reject(told.state, 1) == (SubmissionRejected(revision=1, content=digest("one"), report=digest("report")),)
    assert [told.reject(), told.reject()] == [1, 0]
    assert (told.states, told.in_force) == (["rejected"], None)


def test_a_revision_that_passed_can_be_refused_too() -> None:
    assert validated().reject() == 1


def test_a_revision_that_was_never_judged_cannot_be_refused() -> None:
    told = Return()
    told.receive()
    with pytest.raises(NotAllowedError, match="has no report yet"):
        told.reject()


def test_a_revision_that_counts_cannot_be_refused() -> None:
    with pytest.raises(NotAllowedError, match="is accepted and cannot become rejected"):
        accepted().reject()


@pytest.mark.parametrize("reason", WITHDRAWAL_REASONS)
def test_withdrawing_takes_a_coded_reason_and_again_appends_nothing(reason: str) -> None:
    told = accepted()
    assert decide_withdraw(told.state, 1, reason) == (SubmissionWithdrawn(revision=1, reason=reason),)
    assert [told.withdraw(reason=reason), told.withdraw(reason=reason)] == [1, 0]
    assert (told.state.revision(1).withdrawal_reason, told.in_force) == (reason, None)


def test_a_withdrawal_for_another_reason_is_refused() -> None:
    with pytest.raises(UsageError, match="one of sent_in_error, wrong_project"):
        accepted().withdraw(reason="because")


@pytest.mark.parametrize("told", [validated(), validated(passed=False)])
def test_only_what_was_accepted_can_be_withdrawn(told: Return) -> None:
    with pytest.raises(NotAllowedError, match="is validated and cannot become withdrawn"):
        told.withdraw()


def test_a_later_revision_supersedes_an_earlier_one() -> None:
    told = accepted("one", "two")
    assert (told.states, told.in_force) == (["accepted", "accepted"], 2)


def test_an_earlier_revision_accepted_later_does_not_come_into_force() -> None:
    told = Return()
    for number, word in enumerate(("one", "two"), start=1):
        told.receive(word)
        told.validate(number)
    told.accept(2)
    told.accept(1)
    assert (told.states, told.in_force) == (["accepted", "accepted"], 2)


def test_withdrawing_brings_the_accepted_revision_before_it_into_force_again() -> None:
    told = accepted("one", "two", "three")
    told.withdraw(2)
    assert told.in_force == 3
    told.withdraw(3)
    assert told.in_force == 1


def test_a_rejected_revision_leaves_the_one_before_in_force() -> None:
    told = accepted("one")
    told.receive("two")
    told.validate(2, passed=False)
    told.reject(2)
    assert told.in_force == 1


def test_the_stream_version_counts_every_event_also_one_that_is_not_understood() -> None:
    strange = recorded(SubmissionValidated(revision=1, content="", passed=True, report="", findings={}, rules=""), version=2)
    received = recorded(SubmissionReceived(project_id="P1", quarter="2024-Q1", revision=1, content=digest("one"), size_bytes=1), version=1)
    assert fold(KEY, [received, strange]).version == 2
    assert evolve(Submission(key=KEY), recorded(DomainEvent(), version=5)) == Submission(key=KEY, version=5)


def test_a_revision_that_was_refused_is_open_again_when_it_passes_now() -> None:
    told = validated(passed=False)
    told.reject()
    assert told.validate(passed=False, report="still failing") == 0
    assert told.validate(passed=True, report="what was missing is there") == 1
    told.accept()
    assert told.in_force == 1


def test_what_a_person_refused_although_it_passed_stays_refused() -> None:
    told = validated(passed=True)
    told.reject()
    assert told.validate(passed=True, report="under other rules") == 0
    assert told.states == ["rejected"]


def test_only_what_was_withdrawn_has_no_way_on() -> None:
    assert [state for state, following in TRANSITIONS.items() if not following] == ["withdrawn"]
