"""`outcomes release`: what happens to one version of the published data."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.output import Printer, exit_codes
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.application.services import Services
    from pipeline.domain.release import Change, Release

app = typer.Typer(no_args_is_help=True, help="Releases: draft, build, audit, approve or return, publish, withdraw; rebuild and compare.")

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Actor = Annotated[str | None, typer.Option("--as", help="Who acts; otherwise OUTCOMES_ACTOR or your user name.")]
Fund = Annotated[str | None, typer.Option(help="Fund; needed when there are several.")]
VersionArgument = Annotated[str, typer.Argument(help="Version, like 1.2.0.")]
ChangeOption = Annotated[str | None, typer.Option("--change", help="Ask for at least this weight: major, minor or patch.")]
ManifestOption = Annotated[str, typer.Option(help="Hash of the manifest that you looked at; `show` prints it.")]


@app.command()
def draft(fund: Fund = None, change: ChangeOption = None, actor: Actor = None, as_json: Json = False) -> None:
    """Pin a release to the log as it stands.

    Example: outcomes release draft --as steward.one
    """
    from pipeline import bootstrap
    from pipeline.application import releases

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ, actor) as services:
        drafted = releases.draft(services, _fund(services, fund), _change(change))
        if drafted.release is None:
            printer.result(drafted, "Nothing differs from what is published; nothing was drafted.")
        else:
            said = "drafted" if drafted.is_new else "was drafted already"
            printer.result(drafted, f"{drafted.release.version}: {said}, at log position {drafted.release.draft.position}.")


@app.command()
def make(fund: Fund = None, change: ChangeOption = None, actor: Actor = None, as_json: Json = False) -> None:
    """Draft, build and audit in a row; then a person approves.

    Example: outcomes release make --as steward.one
    """
    from pipeline import bootstrap
    from pipeline.application import releases

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ, actor) as services:
        made = releases.make(services, _fund(services, fund), _change(change))
        if made is None:
            printer.result({"release": None}, "Nothing differs from what is published; nothing was made.")
            return
        printer.result(made, *_describe(made))
    if not made.audit_passed:
        raise typer.Exit(1)


@app.command()
def build(version: VersionArgument, fund: Fund = None, actor: Actor = None, as_json: Json = False) -> None:
    """Tabulate and protect a draft.

    Example: outcomes release build 1.0.0
    """
    from pipeline import bootstrap
    from pipeline.application import releases

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ, actor) as services:
        built = releases.build(services, _fund(services, fund), version)
        printer.result(built, *_describe(built))


@app.command()
def audit(version: VersionArgument, fund: Fund = None, actor: Actor = None, as_json: Json = False) -> None:
    """Attack a candidate as an outsider would. Exit code 1 when something can be worked out.

    Example: outcomes release audit 1.0.0
    """
    from pipeline import bootstrap
    from pipeline.application import releases

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ, actor) as services:
        audited = releases.audit(services, _fund(services, fund), version)
        printer.result(audited, *_describe(audited))
    if not audited.audit_passed:
        raise typer.Exit(1)


@app.command()
def checklist(version: VersionArgument, fund: Fund = None, as_json: Json = False) -> None:
    """Say what stands in the way of approving a release, and how each is mended. Exit code 1 when an error keeps it from being approved.

    Example: outcomes release checklist 1.1.0
    """
    from pipeline import bootstrap
    from pipeline.application import checklist as checklists

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ) as services:
        made = checklists.make(services, _fund(services, fund), version)
        printer.result(made, *checklists.describe(made))
    if made.errors:
        raise typer.Exit(1)


@app.command(name="what-if")
def what_if(
    threshold: Annotated[int | None, typer.Option(help="Hide figures that fewer people than this stand behind.")] = None,
    without: Annotated[list[str] | None, typer.Option(help="Leave a project out; may be given several times.")] = None,
    including: Annotated[
        list[str] | None, typer.Option("--with", metavar="REVISION", help="Take in a return that passed and waits; may be given several times.")
    ] = None,
    fund: Fund = None,
    as_json: Json = False,
) -> None:
    """Show which cells would appear, vanish or change if the inputs were others. Nothing is drafted, recorded or kept.

    Examples: outcomes release what-if --threshold 10 · outcomes release what-if --without SYN-P01 --with SYN-P02/2021-Q3/2
    """
    from pipeline import bootstrap
    from pipeline.application import what_if as questions
    from pipeline.domain.submission import RevisionKey

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ) as services:
        keys = [RevisionKey.parse(text) for text in including or ()]
        question = questions.Question(threshold=threshold, without=without or (), including=keys)
        answer = questions.what_if(services, _fund(services, fund), question)
        printer.result(answer, *questions.describe(answer))


@app.command()
def approve(version: VersionArgument, manifest: ManifestOption, fund: Fund = None, actor: Actor = None, as_json: Json = False) -> None:
    """Approve a candidate; not for who drafted it or sent a return in it, and not while an error of its checklist stands.

    Example: outcomes release approve 1.0.0 --manifest 3b1f... --as steward.two
    """
    from pipeline import bootstrap
    from pipeline.application import releases

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ, actor) as services:
        approved = releases.approve(services, _fund(services, fund), version, manifest)
        if approved.approved_by is None:
            signed = f"{len(approved.approvals)} of {services.approvals_needed} people approved it; another person has to."
            printer.result(approved, f"{approved.version}: {signed}")
            return
        printer.result(approved, f"{approved.version}: approved by {approved.approved_by}. `outcomes release publish {version}` publishes it.")


@app.command(name="return")
def return_(
    version: VersionArgument,
    manifest: ManifestOption,
    reason: Annotated[str, typer.Option(help="figures_wrong, returns_missing, disclosure_risk, rules_to_change or not_now.")],
    fund: Fund = None,
    actor: Actor = None,
    as_json: Json = False,
) -> None:
    """Send a candidate back.

    Example: outcomes release return 1.1.0 --manifest 3b1f... --reason returns_missing --as steward.two
    """
    from pipeline import bootstrap
    from pipeline.application import releases

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ, actor) as services:
        returned = releases.return_(services, _fund(services, fund), version, manifest, reason)
        printer.result(returned, f"{returned.version}: returned ({returned.reason}).")


@app.command()
def publish(version: VersionArgument, fund: Fund = None, actor: Actor = None, as_json: Json = False) -> None:
    """Put an approved release into the public store.

    Example: outcomes release publish 1.0.0
    """
    from pipeline import bootstrap
    from pipeline.application import releases

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ, actor) as services:
        fund_id = _fund(services, fund)
        published = releases.publish(services, fund_id, version)
        printer.result(published, f"{published.version}: published as {releases.version_folder(fund_id, published.version)}/ in the public store.")


@app.command()
def withdraw(
    version: VersionArgument,
    reason: Annotated[str, typer.Option(help="figures_wrong, disclosure_risk, legal_request or published_in_error.")],
    fund: Fund = None,
    actor: Actor = None,
    as_json: Json = False,
) -> None:
    """Withdraw a published release with a public reason; its files stay.

    Example: outcomes release withdraw 1.0.0 --reason figures_wrong --as steward.one
    """
    from pipeline import bootstrap
    from pipeline.application import releases

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ, actor) as services:
        withdrawn = releases.withdraw(services, _fund(services, fund), version, reason)
        printer.result(withdrawn, f"{withdrawn.version}: withdrawn ({withdrawn.reason}).")


@app.command()
def rebuild(version: VersionArgument, fund: Fund = None, as_json: Json = False) -> None:
    """Build a release again from the log and compare every byte. Exit code 7 when a file differs, 10 when rows that it was made of were erased.

    Example: outcomes release rebuild 1.0.0
    """
    from pipeline import bootstrap
    from pipeline.application import proofs

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ) as services:
        again = proofs.rebuild(services, _fund(services, fund), version)
        said = f"{again.files} files, every byte the same." if not again.differing else f"These files differ: {', '.join(again.differing)}."
        printer.result(again, f"{version} built again: {said}")
    if again.differing:
        raise typer.Exit(7)


@app.command(name="list")
def list_(fund: Fund = None, as_json: Json = False) -> None:
    """List the versions of a fund's data.

    Example: outcomes release list --json
    """
    from pipeline import bootstrap, queries

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ) as services:
        found = queries.releases(services.log, _fund(services, fund)).all
        rows = [(item.version, item.state, item.draft.as_of, item.drafted_by, item.approved_by) for item in found]
        printer.table(found, "Releases", ("Version", "State", "As of", "Drafted by", "Approved by"), rows, "Nothing was drafted yet.")


@app.command()
def show(version: VersionArgument, fund: Fund = None, as_json: Json = False) -> None:
    """Show one release: its state, manifest hash, hidden cells, and what its audit found.

    Example: outcomes release show 1.0.0
    """
    from pipeline import bootstrap, queries
    from pipeline.application.services import unseal
    from pipeline.cli.output import to_plain

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ) as services:
        found = queries.releases(services.log, _fund(services, fund)).release(version)
        report = unseal(services.restricted, found.audit_report) if found.audit_report else b"{}"
        import json

        audit_report = json.loads(report)
        printer.result({**to_plain(found), "audit": audit_report}, *_describe(found), *describe_weaknesses(audit_report))


@app.command()
def changes(version: VersionArgument, fund: Fund = None, as_json: Json = False) -> None:
    """Show what a candidate or a published version changes against the version before: cells by table, and why. `outcomes changes` compares any two.

    Example: outcomes release changes 1.1.0
    """
    from pipeline import bootstrap
    from pipeline.application import history

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ) as services:
        cells = history.read_candidate_changes(services, _fund(services, fund), version)
        printer.result(cells.to_pylist(), f"{version} changes {cells.num_rows:,} cells.", *history.describe_cells(cells))


@app.command()
def index(fund: Fund = None, as_json: Json = False) -> None:
    """Write the lists of versions, the pins, the feeds and the revision triangles again, from the public store alone.

    Publishing writes the same. Needed when they were lost or altered, or the store was copied.

    Example: outcomes release index --fund SYN-LCF
    """
    from pipeline import bootstrap
    from pipeline.application import catalogue, history, known
    from pipeline.settings import Settings

    printer = Printer(as_json=as_json)
    with exit_codes(printer):
        public, definitions = bootstrap.public_store_of(os.environ), bootstrap.definitions_of(Settings.parse(os.environ))
        found = catalogue.rebuild_index(public, known.sole_fund(public, fund))
        history.write_triangles(public, definitions, found.fund_id)
        said = f"{', '.join(found.changed)} written anew." if found.changed else "nothing differed."
        printer.result(found, f"{found.fund_id}: {len(found.versions)} versions; {said}")


@app.command()
def feed(
    after: Annotated[int, typer.Option(help="Cursor: only what happened after it; the feed and each item name theirs.")] = 0,
    fund: Fund = None,
    as_json: Json = False,
) -> None:
    """List what happened to versions since a cursor, from the public feed: published or withdrawn, breaking or not, cells changed.

    Example: outcomes release feed --after 120 --json
    """
    from pipeline import bootstrap
    from pipeline.application import known

    printer = Printer(as_json=as_json)
    with exit_codes(printer):
        public = bootstrap.public_store_of(os.environ)
        items = known.read_feed(public, known.sole_fund(public, fund), after)
        rows = [(item["_open_outcomes"]["cursor"], item["title"], item["content_text"]) for item in items]
        printer.table(items, "Versions", ("Cursor", "Version", "What happened"), rows, "Nothing happened since.")


def describe_weaknesses(audit_report: Mapping[str, Any]) -> Sequence[str]:
    """Return the places at which an attack got through, a line each, the first twenty of them; never a value."""
    found = audit_report["weaknesses"]
    lines = ["  " + " ".join(filter(None, (f"{item['attack']}:", item["table"], item["row"], item["column"]))) for item in found[:20]]
    return [*lines, f"  and {len(found) - 20} more"] if len(found) > 20 else lines


@app.command()
def suppression(version: VersionArgument, fund: Fund = None, as_json: Json = False) -> None:
    """Show what a release hides and why: by table, cells and part of the totals. For the steward; not for publication.

    Example: outcomes release suppression 1.0.0 --json
    """
    from pipeline import bootstrap
    from pipeline.application import releases

    reasons = ("hidden", "few_people", "protects_others", "hidden_before", "revision_deferred", "made_of_hidden")
    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ) as services:
        found = releases.suppression(services, _fund(services, fund), version)
        rows = [(name, *(str(table[reason]) for reason in reasons)) for name, table in found.items()]
        titles = ("Table", "Hidden", "Few people", "For others", "Hidden before", "Deferred", "Made of hidden")
        printer.table(found, f"Hidden cells of {version}", titles, rows, "There are no tables.")


@app.command()
def certificate(version: VersionArgument, fund: Fund = None, as_json: Json = False) -> None:
    """Check the certificate of an audited release without a solver: that every hidden figure could be another. Exit code 7 when it does not hold.

    Example: outcomes release certificate 1.0.0
    """
    from pipeline import bootstrap
    from pipeline.application import releases

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ) as services:
        problems = releases.check_certificate(services, _fund(services, fund), version)
        said = "The certificate holds: every hidden figure could be another." if not problems else "The certificate does NOT hold."
        printer.result({"version": version, "holds": not problems, "problems": problems}, said, *problems[:20])
    if problems:
        raise typer.Exit(7)


def _fund(services: Services, fund: str | None) -> str:
    from pipeline.application.register import sole_fund
    from pipeline.application.services import read_ledger

    return sole_fund(read_ledger(services), fund)


def _change(text: str | None) -> Change | None:
    if text is None or text in ("major", "minor", "patch"):
        return text  # type: ignore[return-value]
    raise UsageError("--change is major, minor or patch.")


def _describe(found: Release) -> list[str]:
    hidden = sum((found.suppressed or {}).values())
    lines = [f"{found.version}: {found.state}, as of {found.draft.as_of}, log position {found.draft.position}."]
    if found.manifest is not None:
        lines += [f"Manifest: {found.manifest}", f"Files: {len(found.files)}; cells hidden to protect people: {hidden}."]
    if found.audit_passed is not None:
        lines.append("Audit: nothing hidden can be worked out." if found.audit_passed else "Audit: FAILED; hidden cells can be worked out.")
    return lines
