"""`outcomes import`: bring in what others have published."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.output import DATA_HAS_ERRORS, Printer, exit_codes

app = typer.Typer(no_args_is_help=True, help="Import data that others published.")

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Actor = Annotated[str | None, typer.Option("--as", help="Who acts; otherwise OUTCOMES_ACTOR or your user name.")]


@app.callback()
def group() -> None:
    """Import data that others published."""


@app.command()
def indigo(
    folder: Annotated[Path, typer.Argument(help="Folder with the CSV files of an INDIGO export.")],
    fund: Annotated[str, typer.Option(help="The fund whose projects are imported, like INDIGO-FUND-0012.")],
    report: Annotated[Path | None, typer.Option(help="Write the full account, one line per row of the export, to this CSV file.")] = None,
    reason: Annotated[str | None, typer.Option(metavar="CODE", help="Why it alters what is published; a code of correction_reason.")] = None,
    actor: Actor = None,
    as_json: Json = False,
) -> None:
    """Import an INDIGO export: register, plans, and returns of counts and payments; account for every row and pound.

    Example: outcomes import indigo indigo-2024-04-15 --fund INDIGO-FUND-0012 --report account.csv
    """
    from pipeline import bootstrap
    from pipeline.application import importing

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ, actor) as services:
        export = bootstrap.read_indigo_export(folder)
        done = importing.import_indigo(services, export, fund, printer.progress, reason)
        if report is not None:
            report.write_bytes(done.account)
        printer.result(done.summary, *done.lines)
    if not done.summary.is_loaded:
        raise typer.Exit(DATA_HAS_ERRORS)
