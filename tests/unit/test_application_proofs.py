"""The verbs that prove: each fires when what it proves is no longer so, and none falls over what it finds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.application import proofs, register, releases
from pipeline.application.services import read_ledger
from pipeline.errors import IntegrityError, NotAllowedError, NotFoundError
from pipeline.ports import Append
from pipeline.stages.intake import content_name
from tests.factories import DEFINITIONS, FUND, World, at, digest, register_rows, register_tables, release_of

FOLDER = f"datasets/{FUND}/v1.0.0"


def problems(proof: proofs.Proof) -> list[str]:
    return [problem.path for _, found in proof.versions for problem in found.problems]


def test_what_was_published_and_left_alone_is_whole() -> None:
    proof = proofs.verify(at("published").services(), FUND)
    assert proof.is_whole
    assert (proof.chain, [version for version, _ in proof.versions], proof.rebuilt) == (
        None,
        ["1.0.0"],
        proofs.Rebuilt(version="1.0.0", files=33, differing=[]),
    )


def test_the_release_is_not_built_again_when_nobody_asks_for_it() -> None:
    proof = proofs.verify(at("published").services(), FUND, with_rebuild=False)
    assert (proof.is_whole, proof.rebuilt) == (True, None)


def test_a_withdrawn_version_is_verified_too() -> None:
    world = at("published")
    releases.withdraw(world.services(), FUND, "1.0.0", "figures_wrong")
    world.public.objects[f"{FOLDER}/projects.csv"] += b"\n"
    assert "projects.csv" in problems(proofs.verify(world.services(), FUND))


def test_a_fund_that_published_nothing_has_nothing_to_verify() -> None:
    with pytest.raises(NotFoundError, match="has published nothing yet"):
        proofs.verify(at("approved").services(), FUND)


@pytest.mark.parametrize("path", ["projects.csv", "performance.parquet", "datapackage.json", "README.md", "MANIFEST"])
@pytest.mark.parametrize("damage", ["a byte more", "no longer there", "garbage"])
def test_a_public_file_that_is_not_what_was_approved_is_named(path: str, damage: str) -> None:
    world = at("published")
    name = f"{FOLDER}/{path}"
    content = world.public.objects.pop(name)
    if damage != "no longer there":
        world.public.objects[name] = content + b" " if damage == "a byte more" else b"\xff{"
    proof = proofs.verify(world.services(), FUND)
    assert (proof.is_whole, proof.rebuilt, path in problems(proof)) == (False, None, True)


def test_a_public_folder_that_somebody_wrote_anew_with_its_manifest_is_not_what_was_approved() -> None:
    world, other = at("published"), at("published")
    register.load_tables(other.services(), register_tables(register_rows("P1", "P2", "P3")))
    made = releases.make(other.services("ann"), FUND)
    assert made is not None
    releases.approve(other.services("bob"), FUND, made.version, str(made.manifest))
    releases.publish(other.services(), FUND, made.version)
    for name, content in other.public.objects.items():
        if name.startswith(f"datasets/{FUND}/v{made.version}/"):
            world.public.objects[name.replace(f"v{made.version}", "v1.0.0")] = content
    assert "MANIFEST" in problems(proofs.verify(world.services(), FUND))


def test_a_log_that_was_written_anew_does_not_agree_with_what_is_public() -> None:
    """The other log is whole in itself: only what was published before can tell that it is another."""
    world, other = at("published"), World()
    other.clock.advance()
    register.load_register(other.services("somebody else"), Path())
    for recorded in list(world.log.read(after=3)):
        version = len(other.log.read_stream(recorded.stream))
        other.log.append([Append(recorded.stream, version, [recorded.event])], actor=recorded.actor, recorded_at=recorded.recorded_at)
    assert other.log.verify() is None
    services = replace(world.services(), log=other.log)
    proof = proofs.verify(services, FUND)
    assert proof.chain is not None
    assert (proof.is_whole, proof.rebuilt) == (False, None)


def test_a_log_from_which_events_were_taken_is_not_whole() -> None:
    world = at("published")
    position = release_of(world).draft.position
    events = [document for document in world.log.documents if b'"stream":"submission/P2' not in document]
    world.log.documents[:] = events
    proof = proofs.verify(world.services(), FUND)
    assert proof.chain is not None
    assert proof.chain.position <= position


def test_facts_that_somebody_altered_are_found_when_the_release_is_built_again() -> None:
    world = at("published")
    ledger = read_ledger(world.services())
    (file, *_) = ledger.facts(FUND, "outcomes")
    world.restricted.objects[content_name(file.sha256)] = b"PAR1"
    with pytest.raises(IntegrityError, match="no longer has the bytes that were sealed"):
        proofs.rebuild(world.services(), FUND, "1.0.0")


def test_a_release_built_again_with_other_code_words_names_the_files_that_differ() -> None:
    world = at("published")
    codelists = {**DEFINITIONS.codelists, "unit": {**DEFINITIONS.codelists["unit"], "week": "A week"}}
    again = proofs.rebuild(world.services(definitions=replace(DEFINITIONS, codelists=codelists)), FUND, "1.0.0")
    assert again.differing == ["MANIFEST", "codelists.csv", "croissant.json", "datapackage.json", "dcat.jsonld"]
    assert not proofs.Proof(fund_id=FUND, chain=None, versions=[], rebuilt=again).is_whole


def test_every_version_is_verified_and_any_of_them_can_be_built_again() -> None:
    world = at("published")
    register.load_tables(world.services(), register_tables(register_rows("P1", "P2", "P3")))
    made = releases.make(world.services("ann"), FUND)
    assert made is not None
    releases.approve(world.services("bob"), FUND, made.version, str(made.manifest))
    releases.publish(world.services(), FUND, made.version)
    proof = proofs.verify(world.services(), FUND)
    assert ([version for version, _ in proof.versions], proof.is_whole) == (["1.0.0", "1.1.0"], True)
    assert [proofs.rebuild(world.services(), FUND, version).differing for version in ("1.0.0", "1.1.0")] == [[], []]


def test_a_release_that_was_never_built_has_nothing_to_compare_with() -> None:
    with pytest.raises(NotAllowedError, match="there is nothing to compare with"):
        proofs.rebuild(at("drafted").services(), FUND, "1.0.0")


@pytest.mark.parametrize("kind", ["schemas", "disclosure"])
def test_a_release_is_not_built_again_with_other_definitions(kind: str) -> None:
    services = at("published").services(definitions=replace(DEFINITIONS, digests={**DEFINITIONS.digests, kind: digest("other")}))
    with pytest.raises(NotAllowedError, match="other schemas or disclosure rules"):
        proofs.rebuild(services, FUND, "1.0.0")


def test_a_rule_that_got_other_words_does_not_keep_a_release_from_being_built_again() -> None:
    services = at("published").services(definitions=replace(DEFINITIONS, digests={**DEFINITIONS.digests, "rules": digest("other")}))
    assert proofs.rebuild(services, FUND, "1.0.0").differing == []


def test_the_head_of_the_log_stands_in_what_is_published() -> None:
    world = at("published")
    package = json.loads(world.public.objects[f"{FOLDER}/datapackage.json"])["openoutcomes"]
    pinned = release_of(world).draft
    assert (package["log_position"], package["chain_head"]) == (pinned.position, pinned.chain_head)
