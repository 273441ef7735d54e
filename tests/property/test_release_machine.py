"""Laws of a fund's versions, whatever is done to them and in whatever order, by people and by workers that come late."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pipeline.application.services import decide
from pipeline.domain import release
from pipeline.domain.events import DomainEvent, Recorded, ReleaseApproved, ReleaseDrafted, ReleasePublished
from pipeline.domain.release import OPEN, RETRACTION_REASONS, RETURN_REASONS, Change, Release, Releases, Version
from pipeline.errors import ConflictError, NotAllowedError
from tests.factories import FUND, World, digest, release_file

people = st.sampled_from(["ann", "bob", "cleo"])
changes = st.sampled_from(["major", "minor", "patch"])
Decide = Callable[[Releases], Sequence[DomainEvent]]


class ReleaseMachine(RuleBasedStateMachine):
    """Does things to a fund's releases over a log, each of them twice; `asked_by` says who wanted a draft, by the data that it pins."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.data = 0
        self.asked_by: dict[tuple[str, int], str] = {}
        self.old_drafts: list[ReleaseDrafted] = []

    @property
    def state(self) -> Releases:
        return release.fold(FUND, self.world.log.read_stream(release.release_stream(FUND)))

    def act(self, actor: str, decision: Decide) -> bool:
        """Decide twice and say whether the first appended; whatever the first was allowed to do, the second appends nothing."""
        stream = release.release_stream(FUND)
        appended: list[bool] = []
        for _ in range(2):
            before = len(self.world.log.documents)
            try:
                decide(self.world.services(actor), stream, lambda events: release.fold(FUND, events), decision)
            except (NotAllowedError, ConflictError):
                assert len(self.world.log.documents) == before
                assert not any(appended), "what was done could not be done again"
            appended.append(len(self.world.log.documents) > before)
        assert not appended[1], "what was done twice was appended twice"
        return appended[0]

    def last(self) -> Release:
        state = self.state
        return state.open or state.all[-1]

    @initialize(actor=people, versions=st.integers(0, 2))
    def publish_some(self, actor: str, versions: int) -> None:
        for _ in range(versions):
            self.draft(actor, "patch", is_new=True, steps=2, passed=True)
            self.approve(["ann", "bob"], is_seen=True)
            self.publish()
        self.draft(actor, "patch", is_new=True, steps=0, passed=True)

    @rule(actor=people, change=changes, is_new=st.booleans(), steps=st.integers(0, 2), passed=st.sampled_from([True, True, False]))
    def draft(self, actor: str, change: Change, is_new: bool, steps: int, passed: bool) -> None:
        """Draft what there is, with data that came in just now or not, and perhaps build and audit it."""
        self.data += is_new
        version, ledger = release.next_version(self.state, change), digest(f"data {self.data}")
        position = 7 + len(self.world.log.documents)
        pins: dict[str, Any] = {"rules": digest("rules"), "schemas": digest("schemas"), "code": "0.1.0", "chain_head": digest("head")}
        pins |= {"as_of": self.world.clock.now.date(), "position": position, "ledger": ledger}
        if self.act(actor, lambda state: release.decide_draft(state, version=version, **pins)):
            pinned = self.last().draft
            self.asked_by[pinned.version, pinned.round] = actor
            self.old_drafts.append(pinned)
        self.build("straggler", late=1)
        if steps > 0:
            self.build("worker", late=0)
        if steps > 1:
            self.audit("worker", passed)

    @rule(actor=people, change=changes, late=st.sampled_from([0, 0, 0, 1]))
    def renumber(self, actor: str, change: Change, late: int) -> None:
        pinned = self.pinned(late)
        version = release.next_version(self.state, change)
        if version > Version.parse(pinned.version) and self.act(actor, lambda state: release.decide_renumber(state, pinned, version)):
            renumbered = self.last().draft
            self.asked_by[renumbered.version, renumbered.round] = self.asked_by[pinned.version, pinned.round]
            self.old_drafts.append(renumbered)
            self.build("worker", late=0)
            self.audit("worker", passed=True)
            self.approve([self.asked_by[renumbered.version, renumbered.round]], is_seen=True)

    @rule(actor=people, late=st.integers(0, 2))
    def build(self, actor: str, late: int) -> None:
        pinned = self.pinned(late)
        word = f"{pinned.version} {pinned.ledger}"
        files = [release_file(word=word)]
        self.act(actor, lambda state: release.decide_build(state, pinned, manifest=digest(word), files=files, suppressed={}))

    @rule(actor=people, passed=st.sampled_from([True, True, False]))
    def audit(self, actor: str, passed: bool) -> None:
        found = self.last()
        given: dict[str, Any] = {"passed": passed, "report": digest("audit"), "attacks": {"linear": 1}}
        self.act(actor, lambda state: release.decide_audit(state, found.version, manifest=str(found.manifest), **given))

    @rule(actors=st.permutations(["ann", "bob", "cleo"]), is_seen=st.sampled_from([True, True, True, False]))
    def approve(self, actors: Sequence[str], is_seen: bool) -> None:
        """Let one after the other try to approve."""
        found = self.last()
        manifest = str(found.manifest) if is_seen else digest("what they saw before")
        for actor in actors:
            decision = partial(release.decide_approve, version=found.version, manifest=manifest, actor=actor)
            self.act(actor, decision)

    @rule(actor=people, reason=st.sampled_from(RETURN_REASONS), is_approved=st.booleans())
    def return_(self, actor: str, reason: str, is_approved: bool) -> None:
        if is_approved:
            self.build("worker", late=0)
            self.audit("worker", passed=True)
            self.approve(["ann", "bob"], is_seen=True)
        found = self.last()
        self.act(actor, lambda state: release.decide_return(state, found.version, manifest=str(found.manifest), reason=reason))

    @rule()
    def publish(self) -> None:
        found = self.last()
        self.act("worker", lambda state: release.decide_publish(state, found.version, manifest=str(found.manifest)))

    @rule(reason=st.sampled_from(RETRACTION_REASONS))
    def withdraw(self, reason: str) -> None:
        newest = self.state.newest
        if newest is not None:
            self.act("ann", lambda state: release.decide_withdraw(state, newest.version, reason))

    def pinned(self, late: int) -> ReleaseDrafted:
        """Return what a worker holds that read the log `late` drafts ago."""
        return self.old_drafts[max(0, len(self.old_drafts) - 1 - late)]

    def teardown(self) -> None:
        """Read the whole log once at the end: its laws hold of every prefix or of none."""
        events = list(self.world.log.read())
        self.published_versions_increase_and_each_stands_on_the_one_before(events)
        self.whoever_approves_is_not_whoever_asked_for_it(events)

    def published_versions_increase_and_each_stands_on_the_one_before(self, events: Sequence[Recorded]) -> None:
        drafts: dict[str, ReleaseDrafted] = {}
        published: list[str] = []
        for event in (recorded.event for recorded in events):
            if isinstance(event, ReleaseDrafted):
                drafts[event.version] = event
            elif isinstance(event, ReleasePublished):
                assert drafts[event.version].base_version == (published[-1] if published else None)
                published.append(event.version)
        versions = [Version.parse(version) for version in published]
        assert versions == sorted(set(versions))

    def whoever_approves_is_not_whoever_asked_for_it(self, events: Sequence[Recorded]) -> None:
        approved: set[str] = set()
        for recorded in events:
            if isinstance(recorded.event, ReleaseDrafted):
                assert recorded.event.version not in approved, "a number whose files may be public was given out again"
            if isinstance(recorded.event, ReleaseApproved):
                assert recorded.actor != self.asked_by[recorded.event.version, recorded.event.round]
                approved.add(recorded.event.version)

    @invariant()
    def at_most_one_is_open_each_is_what_its_draft_led_to_and_only_what_passed_its_audit_goes_on(self) -> None:
        releases = self.state.all
        assert sum(item.state in OPEN for item in releases) <= 1
        for item in releases:
            assert item.manifest in (None, digest(f"{item.version} {item.draft.ledger}")), "a candidate was recorded that another draft led to"
            if item.state in ("approved", "published", "withdrawn"):
                assert (item.audit_passed, item.approved_by is not None) == (True, True)
                assert item.draft.round == max(number for version, number in self.asked_by if version == item.version)


TestReleases = ReleaseMachine.TestCase
TestReleases.settings = settings(max_examples=200, stateful_step_count=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
