"""`outcomes submission`: what happens to one return, step by step or in a row."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pipeline.cli.output import DATA_HAS_ERRORS, Printer, exit_codes, write_new
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.application.services import Services
    from pipeline.application.submissions import Judged, Received
    from pipeline.domain.submission import Revision, SubmissionKey

app = typer.Typer(no_args_is_help=True, help="Returns: receive, validate, accept or reject, withdraw; list and explain.")

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Actor = Annotated[str | None, typer.Option("--as", help="Who acts; otherwise OUTCOMES_ACTOR or your user name.")]
FileArgument = Annotated[Path, typer.Argument(help="The return: .xlsx, .csv, or .zip of CSV files.")]
RevisionArgument = Annotated[str, typer.Argument(metavar="PROJECT/QUARTER/REVISION", help="A delivery, as `list` names it.")]
Project = Annotated[str | None, typer.Option(help="Project, when the file's name or folder does not say it.")]
Reason = Annotated[str | None, typer.Option(metavar="CODE", help="Why it corrects what is published; a code of correction_reason.")]
QuarterOption = Annotated[str | None, typer.Option("--quarter", help="Quarter, like 2024-Q1.")]


@app.command()
def submit(
    files: Annotated[list[Path], typer.Argument(help="Returns; named PROJECT_QUARTER.xlsx or lying in PROJECT/QUARTER/.")],
    project: Project = None,
    quarter: QuarterOption = None,
    reason: Reason = None,
    actor: Actor = None,
    as_json: Json = False,
) -> None:
    """Receive, validate and accept (or reject) returns in a row. One that alters a published quarter waits until it has a reason.

    Exit code 1 when any was rejected. The same bytes again are "already received".

    Example: outcomes submission submit fund/deliveries/SYN-01/2021-Q2/*.xlsx
    """
    from pipeline import bootstrap
    from pipeline.application import submissions

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ, actor) as services:
        key = _key(project, quarter)
        documents: list[Mapping[str, object]] = []
        lines: list[str] = []
        failed = False
        with printer.progress("Returns", len(files)) as advance:
            for file in files:
                received, judged = submissions.submit(services, _existing(file), key, reason=reason)
                documents.append(_document(received, judged))
                lines += _lines(received, judged)
                lines += _held_lines(services, received)
                failed = failed or not judged.report.passed
                advance(1)
        printer.result(documents, *lines)
    if failed:
        raise typer.Exit(DATA_HAS_ERRORS)


@app.command()
def receive(file: FileArgument, project: Project = None, quarter: QuarterOption = None, actor: Actor = None, as_json: Json = False) -> None:
    """Seal a return's bytes; nothing is read yet.

    Example: outcomes submission receive SYN-01_2021-Q2.xlsx
    """
    from pipeline import bootstrap
    from pipeline.application import submissions

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ, actor) as services:
        received = submissions.receive(services, _existing(file), _key(project, quarter))
        printer.result(received, _received_line(received))


@app.command()
def validate(revision: RevisionArgument, actor: Actor = None, as_json: Json = False) -> None:
    """Judge a received return and print its report. Exit code 1 when it does not pass.

    Example: outcomes submission validate SYN-01/2021-Q2/1
    """
    from pipeline import bootstrap
    from pipeline.application import submissions
    from pipeline.domain.submission import RevisionKey

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ, actor) as services:
        judged = submissions.validate(services, RevisionKey.parse(revision))
        _print_report(printer, judged)
    if not judged.report.passed:
        raise typer.Exit(DATA_HAS_ERRORS)


@app.command()
def report(
    revision: RevisionArgument,
    form: Annotated[
        Literal["json", "csv", "html", "xlsx"] | None,
        typer.Option("--format", help="Write it as JSON, CSV (a line a place), a web page, or a workbook with the cells marked."),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="File to write; otherwise PROJECT_QUARTER_REVISION_report in the form's ending, here.")] = None,
    as_json: Json = False,
) -> None:
    """Print the report on a return that was judged, or write it in a form to pass on.

    Examples: outcomes submission report SYN-01/2021-Q2/1 · outcomes submission report SYN-01/2021-Q2/1 --format html --output report.html
    """
    from pipeline import bootstrap, queries
    from pipeline.application import submissions
    from pipeline.domain.submission import RevisionKey

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ) as services:
        if output is not None and form is None:
            raise UsageError("Say with --format which form the file shall have: json, csv, html or xlsx.")
        key = RevisionKey.parse(revision)
        judged = queries.revision(services.log, key)
        found = submissions.read_report(services, judged)
        if form is not None:
            from pipeline.stages.reports import write_report

            path = output or Path(f"{str(key).replace('/', '_')}_report.{form}")
            write_new(path, write_report(found, form))
            printer.result({"file": path, "form": form}, f"Wrote {path}.")
            return
        _print_report(printer, submissions.Judged(key=key, report=found), judged)


@app.command()
def accept(
    revision: RevisionArgument,
    reason: Reason = None,
    actor: Actor = None,
    as_json: Json = False,
) -> None:
    """Turn the rows of a return that passed into facts. One that alters a published quarter needs a reason, here or on its cover.

    Examples: outcomes submission accept SYN-01/2021-Q2/1 · outcomes submission accept SYN-01/2021-Q2/2 --reason left_out
    """
    from pipeline import bootstrap
    from pipeline.application import submissions
    from pipeline.domain.submission import RevisionKey

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ, actor) as services:
        key = RevisionKey.parse(revision)
        accepted = submissions.accept(services, key, reason).revision(key.revision)
        rows = accepted.rows.accepted if accepted.rows else 0
        printer.result(accepted, f"{key}: {accepted.standing}, {rows} rows in force.")


@app.command()
def reject(revision: RevisionArgument, actor: Actor = None, as_json: Json = False) -> None:
    """Refuse a judged return with its report.

    Example: outcomes submission reject SYN-01/2021-Q2/1
    """
    from pipeline import bootstrap
    from pipeline.application import submissions
    from pipeline.domain.submission import RevisionKey

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ, actor) as services:
        key = RevisionKey.parse(revision)
        printer.result(submissions.reject(services, key).revision(key.revision), f"{key}: rejected.")


@app.command()
def withdraw(
    revision: RevisionArgument,
    reason: Annotated[str, typer.Option(help="sent_in_error, wrong_project, wrong_quarter, found_wrong_after_acceptance or requested_by_payer.")],
    actor: Actor = None,
    as_json: Json = False,
) -> None:
    """Take an accepted return back; the accepted one before it is in force again.

    Example: outcomes submission withdraw SYN-01/2021-Q2/2 --reason sent_in_error
    """
    from pipeline import bootstrap
    from pipeline.application import submissions
    from pipeline.domain.submission import RevisionKey

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ, actor) as services:
        key = RevisionKey.parse(revision)
        state = submissions.withdraw(services, key, reason)
        now = f"revision {state.in_force.number} is in force" if state.in_force else "no revision is in force"
        printer.result(state, f"{key}: withdrawn; {now}.")


@app.command(name="list")
def list_(
    project: Annotated[str | None, typer.Option(help="Only this project.")] = None,
    state: Annotated[str | None, typer.Option(help="Only received, validated, accepted, rejected or withdrawn.")] = None,
    as_json: Json = False,
) -> None:
    """List what was delivered and what became of it.

    Example: outcomes submission list --state rejected
    """
    from pipeline import bootstrap, queries

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ) as services:
        found = queries.revisions(services.log, project, state)
        rows = [
            (
                row.key,
                row.standing + (" (in force)" if row.is_in_force else ""),
                f"{row.received_at:%Y-%m-%d %H:%M}",
                row.rows,
                sum(row.findings.values()),
            )
            for row in found
        ]
        printer.table(found, "Returns", ("Return", "State", "Received (UTC)", "Rows", "Findings"), rows, "Nothing was delivered yet.")


@app.command()
def inbox(as_json: Json = False) -> None:
    """List the files of the inbox and how far each has come.

    Example: outcomes submission inbox
    """
    from pipeline import bootstrap, queries

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ) as services:
        found = queries.deliveries(services.log, bootstrap.inbox_of(os.environ))
        printer.table(found, "Inbox", ("Delivery", "State"), [(item.id, item.standing) for item in found], "The inbox is empty.")


def _key(project: str | None, quarter: str | None) -> SubmissionKey | None:
    from pipeline.domain.quarters import Quarter
    from pipeline.domain.submission import SubmissionKey

    if project is None and quarter is None:
        return None
    if project is None or quarter is None:
        raise UsageError("Give --project and --quarter together.")
    return SubmissionKey(project, str(Quarter.parse(quarter)))


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise UsageError(f"{file} is no file.")
    return file.absolute()


def _received_line(received: Received) -> str:
    if received.is_new:
        return f"{received.key}: received."
    return f"{received.key}: already received on {received.received_at:%d %B %Y at %H:%M} UTC."


def _document(received: Received, judged: Judged) -> dict[str, object]:
    return {"revision": str(received.key), "content": received.content, "is_new": received.is_new, "report": judged.report.to_document()}


def _lines(received: Received, judged: Judged) -> Sequence[str]:
    from pipeline.stages.validation import describe

    if not received.is_new:
        return [_received_line(received)]
    return describe(judged.report)


def _held_lines(services: Services, received: Received) -> Sequence[str]:
    from pipeline import queries

    revision = queries.revision(services.log, received.key)
    return [f"{received.key}: {revision.standing}. `outcomes submission changes {received.key}` shows what it changes."] if revision.held else []


def _print_report(printer: Printer, judged: Judged, revision: Revision | None = None) -> None:
    from pipeline.stages.validation import describe

    document, lines = judged.report.to_document(), list(describe(judged.report))
    if revision is not None:
        document |= {"standing": revision.standing, "explained": sorted(revision.explanations), "unanswered": list(revision.unanswered)}
        lines += ["", f"Now: {revision.standing}."]
        lines += ["  It is set apart, and nobody reads it again. Send a corrected file; it is a new revision."] if revision.is_quarantined else []
        lines += [f"  {rule}: explained." for rule in sorted(revision.explanations)]
        lines += [f"  {rule}: not explained yet; `outcomes submission answer {judged.key} {rule} --because ...`." for rule in revision.unanswered]
    printer.result(document, *lines)
