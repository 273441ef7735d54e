"""`outcomes submission`, the other half: what a return changes, what its report asks, and what became of its rows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.output import Printer, exit_codes, write_new
from pipeline.cli.submission import Actor, Json, RevisionArgument, app

__all__ = ["app"]


@app.command()
def changes(revision: RevisionArgument, as_json: Json = False) -> None:
    """Show what a return changes against the one in force: rows by sheet and number, columns, pounds by payer.

    Example: outcomes submission changes SYN-01/2021-Q2/2
    """
    from pipeline import bootstrap
    from pipeline.application import corrections
    from pipeline.domain.submission import RevisionKey

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ) as services:
        found = corrections.show(services, RevisionKey.parse(revision))
        printer.result(found.to_document(), *corrections.describe(found))


@app.command()
def answer(
    revision: RevisionArgument,
    rule: Annotated[str, typer.Argument(help="Rule whose query is explained, as the report names it.")],
    because: Annotated[str, typer.Option(help="The explanation; kept with the return, never published, without personal data.")],
    actor: Actor = None,
    as_json: Json = False,
) -> None:
    """Explain a query of a report. The words are sealed beside the return; the log holds their hash only.

    Example: outcomes submission answer SYN-01/2021-Q2/1 K-305 --because "The evidence came in May."
    """
    from pipeline import bootstrap
    from pipeline.application import explanations
    from pipeline.domain.submission import RevisionKey

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ, actor) as services:
        key = RevisionKey.parse(revision)
        found = explanations.answer(services, key, rule, because).revision(key.revision)
        left = f"not explained yet: {', '.join(found.unanswered)}" if found.unanswered else "every query is explained"
        printer.result(
            {"revision": str(key), "explained": sorted(found.explanations), "unanswered": found.unanswered}, f"{key}: {rule} explained; {left}."
        )


@app.command()
def queries(revision: RevisionArgument, as_json: Json = False) -> None:
    """List what a report asks, and the team's answers.

    Example: outcomes submission queries SYN-01/2021-Q2/1
    """
    from pipeline import bootstrap
    from pipeline.application import explanations
    from pipeline.domain.submission import RevisionKey

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ) as services:
        found = explanations.queries(services, RevisionKey.parse(revision))
        lines = []
        for query in found:
            lines.append(f"{query.rule} ({query.count:,}): {query.message}")
            who = f" ({query.answered_by}, {query.answered_at:%Y-%m-%d})" if query.answered_at else ""
            lines.append(f"  {query.explanation or 'Not explained yet.'}{who}")
        printer.result(found, *(lines or ["The report asks nothing."]))


@app.command()
def retract(
    project: Annotated[str, typer.Argument(help="Project, as in the register.")],
    quarter: Annotated[str, typer.Argument(help="Quarter, like 2024-Q1.")],
    reason: Annotated[str, typer.Option(help="sent_in_error, wrong_project, wrong_quarter, found_wrong_after_acceptance or requested_by_payer.")],
    notice: Annotated[Path | None, typer.Option(help="Write the draft of the public notice to this file.")] = None,
    actor: Actor = None,
    as_json: Json = False,
) -> None:
    """Take a whole return back in one act: withdraw it, list all that it touched, build and audit the correcting release, draft the notice.

    The versions that hold it stay published and are marked. Exit code 1 when the correcting release failed its audit.

    Example: outcomes submission retract SYN-01 2021-Q2 --reason wrong_quarter --notice notice.md --as steward.one
    """
    from pipeline import bootstrap
    from pipeline.application import retractions
    from pipeline.domain.quarters import Quarter
    from pipeline.domain.submission import SubmissionKey

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ, actor) as services:
        made = retractions.retract(services, SubmissionKey(project, str(Quarter.parse(quarter))), reason)
        if notice is not None:
            write_new(notice, made.notice.encode())
        printer.result(made, *retractions.describe(made))
    if made.candidate is not None and not made.candidate.audit_passed:
        raise typer.Exit(1)


@app.command()
def receipt(
    submission: Annotated[str, typer.Argument(metavar="PROJECT/QUARTER[/REVISION]", help="A return, or one delivery of it.")],
    rows: Annotated[bool, typer.Option("--rows", help="Row by row, by sheet and number.")] = False,
    as_json: Json = False,
) -> None:
    """Say what became of every row of a return, which published versions it reached, and whether its cells are published or suppressed there.

    Example: outcomes submission receipt SYN-01/2021-Q2 --rows
    """
    from pipeline import bootstrap
    from pipeline.application import receipts
    from pipeline.domain.submission import RevisionKey, SubmissionKey

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ) as services:
        if submission.count("/") > 1:
            named = RevisionKey.parse(submission)
            made = receipts.make(services, named.submission, named.revision, with_rows=rows)
        else:
            made = receipts.make(services, SubmissionKey.parse(submission), with_rows=rows)
        printer.result(made, *receipts.describe(made))
