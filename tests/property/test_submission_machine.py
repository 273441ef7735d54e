"""Laws of one return, whatever is done to it and in whatever order: what is in force, what is appended, and that the past stays as it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pipeline.application.services import Services, decide, read_ledger
from pipeline.domain import submission
from pipeline.domain.events import DomainEvent, FundRegistered, ProjectRegistered, RowChanges, RowCounts
from pipeline.domain.ledger import Ledger
from pipeline.domain.submission import WITHDRAWAL_REASONS, Submission
from pipeline.errors import NotAllowedError
from pipeline.ports import Append
from tests.factories import FUND, KEY, NOW, World, digest, fact_file

words = st.sampled_from(["one", "two", "three", "four"])
numbers = st.integers(1, 4)


@dataclass
class Expected:
    """One revision as a person with pencil and paper would keep it."""

    word: str
    state: str = "received"
    passed: bool = False
    report: str = ""
    held: str | None = None
    explanation: str = ""


class SubmissionMachine(RuleBasedStateMachine):
    """Does things to one submission over a log, each of them twice, and keeps a plain list beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.services: Services = self.world.services()
        events = [FundRegistered(fund_id=FUND, record=digest("fund")), ProjectRegistered(fund_id=FUND, project_id="P1", record=digest("P1"))]
        appends = [Append("fund/F1", 0, events[:1]), Append("project/P1", 0, events[1:])]
        self.world.log.append(appends, actor="steward", recorded_at=NOW)
        self.expected: list[Expected] = []
        self.seen: list[Ledger] = [read_ledger(self.services)]

    def act(self, decision: Callable[[Submission], Sequence[DomainEvent]], *, appends: int | None) -> None:
        """Decide twice; `appends` is how many events the first is to append, None when it is to be refused."""
        for times, expected in enumerate((appends, appends and 0)):
            before = len(self.world.log.documents)
            try:
                decide(self.services, KEY.stream, lambda events: submission.fold(KEY, events), decision)
                found: int | None = len(self.world.log.documents) - before
            except NotAllowedError:
                found = None
            assert found == expected, (times, expected, found)
        self.seen.append(read_ledger(self.services))

    def chosen(self, number: int) -> tuple[int, Expected]:
        """Return one of the revisions that there are."""
        number = (number - 1) % len(self.expected) + 1
        return number, self.expected[number - 1]

    @initialize()
    def deliver_one(self) -> None:
        self.deliver("one")

    @rule(word=words)
    def deliver(self, word: str) -> None:
        is_new = word not in [item.word for item in self.expected]
        if is_new:
            self.expected.append(Expected(word))
        self.act(lambda state: submission.decide_receive(state, digest(word), len(word)), appends=int(is_new))

    @rule(word=words, passed=st.booleans())
    def take_in(self, word: str, passed: bool) -> None:
        """Go the whole way with one delivery, so that a few steps lead to several accepted revisions."""
        self.deliver(word)
        number = [item.word for item in self.expected].index(word) + 1
        self.judge(number, passed)
        self.accept(number)

    @rule(number=numbers, passed=st.booleans())
    def judge(self, number: int, passed: bool) -> None:
        number, item = self.chosen(number)
        report = f"{item.word} {passed}"
        is_open = item.state in ("received", "validated") or (item.state == "rejected" and passed and not item.passed)
        changes = is_open and item.report != report
        if changes:
            item.state, item.passed, item.report, item.held = "validated", passed, report, None
        self.act(
            lambda state: submission.decide_validate(
                state, number, passed=passed, report=digest(report), findings={} if passed else {"S-101": 1}, rules=digest("rules")
            ),
            appends=int(changes),
        )

    @rule(number=numbers)
    def accept(self, number: int) -> None:
        number, item = self.chosen(number)
        is_allowed = item.state == "accepted" or (item.state == "validated" and item.passed)
        appends = int(item.state != "accepted") if is_allowed else None
        if is_allowed:
            item.state, item.held = "accepted", None
        rows, changes = RowCounts(delivered=1, accepted=1, blank=0, late=0), RowChanges(added=1, changed=0, removed=0)
        self.act(
            lambda state: submission.decide_accept(state, number, facts=[fact_file(word=item.word)], rows=rows, replaces=None, changes=changes),
            appends=appends,
        )

    @rule(number=numbers, why=st.sampled_from(submission.HOLD_REASONS))
    def hold(self, number: int, why: str) -> None:
        """Let one wait; it stays what it is, and can still be accepted, refused or judged again."""
        number, item = self.chosen(number)
        is_new = item.state == "validated" and item.passed and item.held != why
        item.held = why if is_new else item.held
        self.act(lambda state: submission.decide_hold(state, number, why), appends=int(is_new))

    @rule(number=numbers, words=st.sampled_from(["because", "for another reason"]))
    def explain(self, number: int, words: str) -> None:
        number, item = self.chosen(number)
        is_allowed = item.state in ("validated", "accepted") and not item.passed
        appends = int(item.explanation != words) if is_allowed else None
        item.explanation = words if is_allowed else item.explanation
        self.act(lambda state: submission.decide_explain(state, number, "S-101", digest(words)), appends=appends)

    @rule(number=numbers)
    def reject(self, number: int) -> None:
        number, item = self.chosen(number)
        is_allowed = item.state in ("validated", "rejected")
        appends = int(item.state != "rejected") if is_allowed else None
        if is_allowed:
            item.state, item.held = "rejected", None
        self.act(lambda state: submission.decide_reject(state, number), appends=appends)

    @rule(number=numbers, reason=st.sampled_from(WITHDRAWAL_REASONS))
    def withdraw(self, number: int, reason: str) -> None:
        number, item = self.chosen(number)
        is_allowed = item.state in ("accepted", "withdrawn")
        appends = int(item.state != "withdrawn") if is_allowed else None
        if is_allowed:
            item.state = "withdrawn"
        self.act(lambda state: submission.decide_withdraw(state, number, reason), appends=appends)

    @invariant()
    def every_revision_is_where_it_is_expected(self) -> None:
        state = submission.fold(KEY, self.world.log.read_stream(KEY.stream))
        assert [(item.content, item.state) for item in state.revisions] == [(digest(item.word), item.state) for item in self.expected]
        assert [item.held for item in state.revisions] == [item.held for item in self.expected]
        assert [item.number for item in state.revisions] == list(range(1, len(self.expected) + 1))
        assert state.version == len(self.world.log.read_stream(KEY.stream))

    @invariant()
    def the_highest_accepted_revision_is_in_force(self) -> None:
        accepted = [number for number, item in enumerate(self.expected, start=1) if item.state == "accepted"]
        ledger = read_ledger(self.services)
        assert [revision.number for revision in ledger.in_force(FUND).values()] == accepted[-1:]
        assert ledger.facts(FUND, "outcomes") == tuple(fact_file(word=self.expected[number - 1].word) for number in accepted[-1:])

    @invariant()
    def the_ledger_at_a_position_stays_what_it_was(self) -> None:
        for ledger in self.seen:
            assert read_ledger(self.services, ledger.position) == ledger
            assert read_ledger(self.services, ledger.position).digest(FUND) == ledger.digest(FUND)

    @invariant()
    def the_chain_holds(self) -> None:
        assert self.world.log.verify(self.world.log.head()) is None


TestSubmissions = SubmissionMachine.TestCase
TestSubmissions.settings = settings(max_examples=60, stateful_step_count=14, deadline=None, suppress_health_check=[HealthCheck.too_slow])
